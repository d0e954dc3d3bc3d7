//! `steadfast admin`: the real binary asks a real server. What it prints is compared with what RocketMQ's `mqadmin`
//! prints (columns, exit codes); times, ports and ids that a server chose are masked.

#[allow(dead_code, reason = "shared with other tests, each of which uses a part")]
#[path = "../server/client.rs"]
mod client;
#[allow(dead_code, reason = "shared with other tests, each of which uses a part")]
#[path = "../server/process.rs"]
mod process;
mod tool;

mod bodies;
mod brokers;
mod command_line;
mod find;
mod groups;
mod members;
mod messages;
mod settings;
mod topics;
