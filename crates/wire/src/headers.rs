//! Typed views of the ext fields, one struct for each kind of request or response.
//!
//! The tables give each field its name on the wire and its type: a plain type is required, an `Option` may be
//! missing, `= value` is the default of a missing one. Keys a struct does not name (`bname`, `lo`, ACL keys, ...)
//! are ignored here and stay in [`ExtFields`](crate::header::ExtFields).

mod broker;
mod field;
mod namesrv;
mod table;

pub use broker::*;
pub use field::Boundary;
pub use namesrv::*;
