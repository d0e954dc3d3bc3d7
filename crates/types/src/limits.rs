//! Limits of the protocol, with their reasons. Sources: Apache RocketMQ's `Validators`, `MessageStoreConfig`
//! and `MessageDecoder`.

/// Longest topic name a client may create, in bytes.
pub const TOPIC_LEN: usize = 127;
/// Longest topic name with a `%RETRY%` or `%DLQ%` prefix, in bytes.
pub const DERIVED_TOPIC_LEN: usize = 255;
/// Longest consumer or producer group name, in bytes (`Validators.CHARACTER_MAX_LENGTH`).
pub const GROUP_LEN: usize = 255;
/// Longest name of anything that a request may carry, in bytes: what is longer is no name of a topic, a group or a
/// client.
pub const NAME_LEN: usize = 1024;
/// Most producer and consumer groups that one heartbeat names.
pub const HEARTBEAT_GROUPS: usize = 4096;
/// Most bytes that unfinished frames of all connections hold; the ports of a server share it alike. A frame has 16 MiB at
/// most, and takes up to twice what has come of it.
pub const UNFINISHED_FRAMES: usize = 512 * 1024 * 1024;
/// Most bytes of answers that wait for clients to read them, over all connections; the ports of a server share it alike.
pub const UNREAD_ANSWERS: usize = 512 * 1024 * 1024;
/// Most brokers, each replica counted, that a name server knows.
pub const NAMESRV_BROKERS: usize = 4096;
/// Most topics that a name server knows; a topic counts once for every broker that has it.
pub const NAMESRV_TOPICS: usize = 1_000_000;
/// Most bytes of keys and values in the settings (KV configuration) that clients put at a name server.
pub const NAMESRV_KV: usize = 4 * 1024 * 1024;
/// Largest message body by default (`maxMessageSize`), in bytes.
pub const BODY_LEN: usize = 4 * 1024 * 1024;
/// Longest encoded properties string: its length is stored in a signed 16-bit field.
pub const PROPERTIES_LEN: usize = i16::MAX as usize;
/// Most queues a topic may have.
pub const QUEUES: u32 = 1024;
/// Most messages that one lookup by key returns (`maxMsgsNumBatch`).
pub const QUERY_RESULTS: usize = 64;
/// Most messages in one pull answer from memory (`maxTransferCountOnMessageInMemory`).
pub const PULL_MESSAGES: usize = 32;
/// Most bytes in one pull answer (`maxTransferBytesOnMessageInMemory`); one message is always returned.
pub const PULL_BYTES: usize = 256 * 1024;
/// Units of a queue that one QUERY_CONSUME_QUEUE returns.
pub const CONSUME_QUEUE_UNITS: usize = 1024;

// A message of the largest size must fit into one remoting frame of 16 MiB.
const _: () = assert!(BODY_LEN + PROPERTIES_LEN + DERIVED_TOPIC_LEN < 16 * 1024 * 1024);
