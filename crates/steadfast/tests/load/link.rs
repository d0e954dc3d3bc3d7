//! A connection that is made again whenever it is lost, or the server is elsewhere, to wherever the server is then.

use std::net::SocketAddr;
use std::time::Duration;

use steadfast_net::client::{Client, ClientError, Response};
use steadfast_wire::frame::Serialize;
use steadfast_wire::header::{ExtFields, Header};
use tokio::sync::{Mutex, watch};

use super::{PATIENCE, is_elsewhere};

/// Pause before a connection that was refused is tried again.
const PAUSE: Duration = Duration::from_millis(2);

/// The connection, shared by those who ask over it.
pub(crate) struct Link {
    server: watch::Receiver<Option<SocketAddr>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Where it leads to.
    client: Option<(SocketAddr, Client)>,
    /// Connections made so far.
    number: u64,
}

/// The connection of the moment.
pub(crate) struct Session<'a> {
    link: &'a Link,
    client: Client,
    number: u64,
}

impl Link {
    pub(crate) fn new(server: watch::Receiver<Option<SocketAddr>>) -> Link {
        Link { server, state: Mutex::default() }
    }

    /// Waits until there is a server to talk to.
    pub(crate) async fn session(&self) -> Session<'_> {
        let mut state = self.state.lock().await;
        let client = loop {
            let there = *self.server.borrow();
            if let Some((_, client)) =
                state.client.as_ref().filter(|(at, _)| there.is_none_or(|there| there == *at))
            {
                break client.clone();
            }
            let addr = *self.server.clone().wait_for(Option::is_some).await.expect("the run goes on");
            let addr = addr.expect("waited for");
            // Both encodings of headers have their turn.
            let form = if state.number.is_multiple_of(2) { Serialize::RocketMq } else { Serialize::Json };
            match Client::connect(&addr.to_string(), form, PATIENCE).await {
                Ok(client) => {
                    state.client = Some((addr, client));
                    state.number += 1;
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        };
        Session { link: self, client, number: state.number }
    }

    /// Asks until there is an answer of who knows it; only for questions that change nothing.
    pub(crate) async fn ask(&self, code: i32, ext: ExtFields<'static>) -> Response {
        loop {
            match self.session().await.ask(code, ext.clone(), &[]).await {
                Some(answer) if is_elsewhere(&answer) => tokio::time::sleep(PAUSE).await,
                Some(answer) => return answer,
                None => {}
            }
        }
    }
}

impl Session<'_> {
    /// Asks once. None: the connection was lost, so that nobody knows what the server did.
    pub(crate) async fn ask(&self, code: i32, ext: ExtFields<'_>, body: &[u8]) -> Option<Response> {
        let header = Header { ext, ..Header::request(code, 0) };
        match self.client.request(header, body, PATIENCE).await {
            Ok(response) => Some(response),
            Err(ClientError::Closed { .. }) => {
                let mut state = self.link.state.lock().await;
                if state.number == self.number {
                    state.client = None;
                }
                None
            }
            Err(error) => panic!("every request must be answered while the connection is open: {error}"),
        }
    }
}
