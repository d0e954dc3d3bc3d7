//! What a person reads about replicas that do not come together: the cause and the next step, and not too often.

use std::fmt;
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::group::{PATIENCE, Replica, place, ports};
use crate::peers::handshake;

/// Keeps warnings.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

struct Text<'a>(&'a mut String);

impl Visit for Text<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            *self.0 = format!("{value:?}");
        }
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = String::new();
        event.record(&mut Text(&mut text));
        self.0.lock().unwrap().push(text);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl Log {
    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// One thread, so that all tasks log to the test.
#[tokio::test]
async fn one_that_dials_for_ever_with_another_secret_is_logged_once() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let (addrs, mut listeners) = ports(3).await;
    let _target =
        Replica::start(place(1, &addrs, Some("sixteen bytes or more")), listeners.remove(&1).unwrap());
    let stranger = place(2, &addrs, Some("sixteen other bytes"));
    for _ in 0..30 {
        let mut stream = tokio::net::TcpStream::connect(&addrs[&1]).await.unwrap();
        let dialed = handshake::dial(&mut stream, &stranger, 1).await;
        assert!(dialed.is_err());
    }
    // Another cause does not have to wait.
    let mut stream = tokio::net::TcpStream::connect(&addrs[&1]).await.unwrap();
    let dialed = handshake::dial(&mut stream, &place(2, &addrs, None), 1).await;
    assert!(dialed.is_err());
    let lines: Vec<_> = log.lines().into_iter().filter(|line| line.contains("connection of")).collect();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].contains("n1 of group 0x1122334455667788, looking for n0"), "{lines:?}");
    assert!(lines[0].contains("to group orders closed: the secrets differ; the files"), "{lines:?}");
    assert!(lines[1].contains("has no secret") && lines[1].contains("replicationSecretFile"), "{lines:?}");
}

#[tokio::test]
async fn one_that_is_refused_for_ever_says_so_once() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let (addrs, mut listeners) = ports(2).await;
    let listener: TcpListener = listeners.remove(&2).unwrap();
    let refused = Replica::start(place(1, &addrs, None), listeners.remove(&1).unwrap());
    let other = place(2, &addrs, Some("sixteen bytes or more"));
    for _ in 0..20 {
        let accepted = tokio::time::timeout(PATIENCE, listener.accept()).await.unwrap();
        let (mut stream, _) = accepted.unwrap();
        let Err(handshake::Failed::Refuse { cause, .. }) = handshake::accept(&mut stream, &other).await
        else {
            panic!("a replica without the secret is let in");
        };
        handshake::refuse(&mut stream, &other, cause).await.unwrap();
    }
    let lines = log.lines();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    let expected =
        format!("not connected to n1 ({}): it refuses this replica: the replica that dials", addrs[&2]);
    assert!(
        lines[0].contains(&expected) && lines[0].contains("set replicationSecretFile on both"),
        "{lines:?}"
    );
    let trouble = refused.peers.links().remove(0).trouble.unwrap();
    assert!(lines[0].ends_with(&trouble), "{trouble}");
}
