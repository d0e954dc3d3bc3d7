//! The name server's port.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use steadfast_namesrv::{Gone, Namesrv, Registration, Rejected};
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

    fn lock(&self) -> MutexGuard<'_, Namesrv> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers the broker in this process, if it has something to say yet. `latest` is asked while nobody else can
    /// register, so that of two calls the later one does not bring back what the other one replaced.
    pub(crate) fn register(&self, latest: impl FnOnce() -> Option<Registration>) -> Result<(), Rejected> {
        let mut state = self.lock();
        if let Some(registration) = latest() {
            state.register(self.clock.ticks(), registration)?;
        }
        warn_of(state);
        Ok(())
    }

    /// Looks for silent brokers in this interval and forgets them, for ever.
    pub(crate) async fn expire(self, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        loop {
            ticks.tick().await;
            let gone = self.lock().expire(self.clock.ticks());
            report(&gone, "was silent for too long");
        }
    }

    fn answer(&self, conn: &Connection, frame: &Frame) -> Result<(), HeaderError> {
        let header = Header::decode(frame.serialize, &frame.header)?;
        if header.is_response() {
            return Ok(());
        }
        let mut state = self.lock();
        let answer = state.handle(self.clock.ticks(), conn.id(), &header, &frame.body);
        warn_of(state);
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

/// Warns of a replica that lost its place in this step.
fn warn_of(mut state: MutexGuard<'_, Namesrv>) {
    let displaced = state.routes.take_displaced();
    drop(state);
    if let Some(displaced) = displaced {
        tracing::warn!("{displaced}");
    }
}

fn report(gone: &[Gone], why: &str) {
    for gone in gone {
        tracing::info!("{gone} {why}: no route names it any more");
    }
}
