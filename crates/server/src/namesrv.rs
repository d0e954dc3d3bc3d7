//! The name server's port.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use steadfast_namesrv::{Gone, Namesrv};
use steadfast_net::{ConnId, Connection, Handler};
use steadfast_wire::frame::{self, Frame};
use steadfast_wire::header::{Header, HeaderError};

use crate::clock::Clock;
use crate::config::Config;
use crate::kv_file;

/// The name server's state, shared by its port and the broker in the same process.
#[derive(Debug, Clone)]
pub(crate) struct SharedNamesrv {
    state: Arc<Mutex<Namesrv>>,
    clock: Clock,
}

impl SharedNamesrv {
    /// Reads the settings that were kept.
    pub(crate) fn open(config: &Config, clock: Clock) -> anyhow::Result<Self> {
        let settings = config.settings().map(|s| (s.key, s.value));
        // In RocketMQ each has its own `listenPort`.
        let shown = settings.filter(|(key, _)| *key != "listenPort").map(|(key, value)| match key {
            "namesrvPort" => ("listenPort".to_owned(), value),
            key => (key.to_owned(), value),
        });
        let shown = shown.collect();
        let state = Namesrv::with(kv_file::open(&config.data)?, shown);
        Ok(SharedNamesrv { state: Arc::new(Mutex::new(state)), clock })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Namesrv> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn ticks(&self) -> u64 {
        self.clock.ticks()
    }

    /// Looks for silent brokers in this interval and forgets them, for ever.
    pub(crate) async fn expire(self, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        loop {
            ticks.tick().await;
            let gone = self.lock().expire(self.ticks());
            report(&gone, "was silent for too long");
        }
    }

    fn answer(&self, conn: &Connection, frame: &Frame) -> Result<(), HeaderError> {
        let header = Header::decode(frame.serialize, &frame.header)?;
        if header.is_response() {
            return Ok(());
        }
        let answer = self.lock().handle(self.ticks(), conn.id(), &header, &frame.body);
        if !header.is_oneway() {
            conn.queue(|out| {
                frame::encode(frame.serialize, &answer.header, answer.body.len(), out);
                vec![answer.body]
            });
        }
        Ok(())
    }
}

impl Handler for SharedNamesrv {
    fn frames(&self, conn: &Arc<Connection>, frames: &mut Vec<Frame>) {
        for frame in frames.drain(..) {
            if let Err(error) = self.answer(conn, &frame) {
                tracing::warn!(peer = %conn.peer(), "connection closed: {error}");
                conn.close();
                return;
            }
        }
        conn.flush();
    }

    fn closed(&self, conn: ConnId) {
        let gone = self.lock().disconnected(conn);
        report(&gone, "disconnected");
    }
}

fn report(gone: &[Gone], why: &str) {
    for gone in gone {
        tracing::info!("{gone} {why}: no route names it any more");
    }
}
