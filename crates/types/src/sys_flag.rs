//! Bits of a message's `sysFlag` and of a pull request's `sysFlag` (RocketMQ's `MessageSysFlag`, `PullSysFlag`).

/// The body is compressed.
pub const COMPRESSED: i32 = 1;
/// TAGS holds several tags.
pub const MULTI_TAGS: i32 = 1 << 1;
/// Both bits of the transaction type.
pub const TRANSACTION_MASK: i32 = 0b11 << 2;
/// Transaction type: a half message.
pub const TRANSACTION_PREPARED: i32 = 1 << 2;
/// Transaction type: rolled back.
pub const TRANSACTION_ROLLBACK: i32 = 0b11 << 2;
/// The born host is an IPv6 address.
pub const BORN_HOST_V6: i32 = 1 << 4;
/// The store host is an IPv6 address.
pub const STORE_HOST_V6: i32 = 1 << 5;
/// Inner-batch bits; such records are never written by this server.
pub const INNER_BATCH: i32 = 0b11 << 6;

/// How a compressed body is compressed; 0 stands for zlib.
pub const COMPRESSION_TYPE: i32 = 0b111 << 8;
/// Compression type: LZ4.
pub const COMPRESSION_LZ4: i32 = 1 << 8;
/// Compression type: Zstandard.
pub const COMPRESSION_ZSTD: i32 = 2 << 8;
/// Compression type: zlib.
pub const COMPRESSION_ZLIB: i32 = 3 << 8;

/// Pull: the request carries a position to commit.
pub const PULL_COMMIT_OFFSET: i32 = 1;
/// Pull: hold the request while there is nothing to return.
pub const PULL_SUSPEND: i32 = 1 << 1;
/// Pull: the request carries its subscription expression.
pub const PULL_SUBSCRIPTION: i32 = 1 << 2;
/// Pull: filter by an uploaded class (not supported by RocketMQ 5 any more).
pub const PULL_CLASS_FILTER: i32 = 1 << 3;
