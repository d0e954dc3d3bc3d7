//! A server and the tool that asks it.

use std::path::Path;
use std::process::{Command, Stdio};

use steadfast_wire::code::{request, response};
use steadfast_wire::header::ExtFields;
use steadfast_wire::headers::{SendMessage, SendMessageResponse};

use crate::client::Client;
use crate::process::{self, Server};

/// A server with its data, and the tool pointed at it.
pub(crate) struct World {
    pub(crate) server: Server,
    _data: tempfile::TempDir,
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Output {
    /// Exit code.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// The output of a command that must succeed and complain about nothing.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "{}", self.stdout);
        self.stdout
    }

    /// The one line of JSON of a command that must succeed.
    #[track_caller]
    pub(crate) fn json(self) -> serde_json::Value {
        let text = self.ok();
        assert_eq!(text.lines().count(), 1, "{text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// The message of a command that must find nothing or be refused, and print nothing else.
    #[track_caller]
    pub(crate) fn refused(self) -> String {
        assert_eq!((self.code, self.stdout.as_str()), (1, ""), "{}", self.stderr);
        self.stderr
    }
}

/// A message to send.
#[derive(Clone, Copy)]
pub(crate) struct Sent<'a> {
    pub(crate) topic: &'a str,
    pub(crate) queue: i32,
    /// Properties, as text: `name=value name=value`.
    pub(crate) properties: &'a str,
    pub(crate) sys_flag: i32,
    pub(crate) body: &'a [u8],
}

impl World {
    pub(crate) fn start(settings: &[&str]) -> World {
        let data = tempfile::tempdir().expect("a directory");
        let server = Server::start(data.path(), settings);
        World { server, _data: data }
    }

    pub(crate) fn broker(&self) -> String {
        self.server.broker().to_string()
    }

    pub(crate) fn namesrv(&self) -> String {
        self.server.namesrv().to_string()
    }

    /// `steadfast admin COMMAND -n NAMESRV ...`.
    pub(crate) fn admin(&self, command: &str, args: &[&str]) -> Output {
        let namesrv = self.namesrv();
        let mut all = vec!["admin", command, "-n", &namesrv];
        all.extend(args);
        steadfast(&all)
    }

    /// The same in a directory where the command may write.
    pub(crate) fn admin_in(&self, directory: &Path, command: &str, args: &[&str]) -> Output {
        let program = Path::new(env!("CARGO_BIN_EXE_steadfast"));
        run(Command::new(program)
            .current_dir(directory)
            .args(["admin", command, "-n", &self.namesrv()])
            .args(args))
    }

    /// [`World::admin`] with `{broker}` in its output for the broker's address and `{time}` for times.
    pub(crate) fn masked(&self, command: &str, args: &[&str]) -> String {
        self.mask(&self.admin(command, args).ok())
    }

    /// Masks what differs between runs.
    pub(crate) fn mask(&self, text: &str) -> String {
        mask_times(&text.replace(&self.broker(), "{broker}"))
    }

    /// Sends a message; returns its offset id.
    pub(crate) fn send(&self, sent: Sent<'_>) -> String {
        let mut ext = ExtFields::default();
        let properties = sent.properties.replace('=', "\u{1}").replace(' ', "\u{2}");
        SendMessage {
            producer_group: "test".into(),
            topic: sent.topic.to_owned().into(),
            default_topic: "TBW102".into(),
            default_topic_queue_nums: 4,
            queue_id: sent.queue,
            sys_flag: sent.sys_flag,
            born_timestamp: 1_700_000_000_000,
            properties: Some(properties.into()),
            ..SendMessage::default()
        }
        .encode_v2(&mut ext);
        let answer = Client::connect(self.server.broker()).ask(request::SEND_MESSAGE_V2, ext, sent.body);
        assert_eq!(answer.code(), response::SUCCESS, "{answer:?}");
        SendMessageResponse::decode(&answer.header.ext).expect("an acknowledgement").msg_id.into_owned()
    }
}

/// Runs the binary with an environment that names no name server.
pub(crate) fn steadfast(args: &[&str]) -> Output {
    run(Command::new(env!("CARGO_BIN_EXE_steadfast")).args(args))
}

/// Runs the binary under another name.
pub(crate) fn named(path: &Path, namesrv: &str, args: &[&str]) -> Output {
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_steadfast"), path).expect("a link");
    run(Command::new(path).args(args).env("NAMESRV_ADDR", namesrv))
}

fn run(command: &mut Command) -> Output {
    if !command.get_envs().any(|(name, _)| name == "NAMESRV_ADDR") {
        command.env_remove("NAMESRV_ADDR");
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (status, stdout, stderr) = process::run(command);
    Output { code: status.code().expect("it was not killed"), stdout, stderr }
}

/// Replaces times such as `2026-11-23 09:30:00,123`.
fn mask_times(text: &str) -> String {
    const FORM: &str = "0000-00-00 00:00:00,000";
    let form =
        |text: &str| text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect::<String>();
    let mut masked = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match rest.get(..FORM.len()) {
            Some(time) if form(time) == FORM => {
                masked.push_str("{time}");
                rest = &rest[FORM.len()..];
            }
            _ => {
                masked.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    masked
}
