//! Pure codecs: remoting frames, JSON and binary headers, request and response codes and bodies.
//!
//! The formats are those of Apache RocketMQ's remoting protocol. Nothing here does I/O, reads a clock or keeps
//! state: a frame is split off a byte buffer ([`frame::split`]), its header is decoded ([`header::Header`]), the
//! header's string map is read as a typed struct ([`headers`]), and its body as JSON ([`body`]) or as a batch of
//! messages ([`batch`]). All decoders take untrusted bytes: they return errors, never panic, and never reserve
//! memory because a length field says so.

pub mod batch;
pub mod body;
pub mod code;
pub mod frame;
pub mod header;
pub mod headers;
pub mod version;
