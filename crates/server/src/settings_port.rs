//! UPDATE_BROKER_CONFIG: checked and stored beside the core, which then uses the new settings and answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use steadfast_broker::io::{Input, Origin};
use steadfast_net::Connection;
use tokio::task::spawn_blocking;

use crate::config::Change;
use crate::core::{Core, Event};
use crate::options::options;
use crate::settings::Settings;

/// Changes the settings of a broker that runs.
#[derive(Clone)]
pub(crate) struct SettingsPort {
    pub(crate) settings: Arc<Settings>,
    pub(crate) core: Arc<Core>,
    /// What clients are told.
    pub(crate) advertised: SocketAddr,
    /// The edge's copy of `maxMessageSize`.
    pub(crate) max_body: Arc<AtomicUsize>,
}

impl SettingsPort {
    /// Handles one request; its answer comes when the change is stored and used.
    pub(crate) fn update(&self, conn: &Arc<Connection>, origin: Origin, body: Bytes) {
        if !origin.oneway {
            conn.expect_replies(1, body.len());
        }
        let (this, conn) = (self.clone(), Arc::clone(conn));
        spawn_blocking(move || {
            let changed = this.settings.update(&body, |config| {
                this.max_body.store(config.max_message_size.0 as usize, Relaxed);
                let options = Box::new(options(config, this.advertised));
                this.core.push(Event::Input(Input::Reconfigure(origin, options)));
            });
            match changed {
                Ok(changes) => {
                    for Change { key, before, value } in changes {
                        tracing::info!(peer = %origin.peer, "setting changed: {key}={value} (was {before})");
                    }
                }
                Err(_) if origin.oneway => {}
                Err(refusal) => {
                    conn.reply(|out| refusal.encode(&origin, out));
                    conn.flush();
                }
            }
        });
    }
}
