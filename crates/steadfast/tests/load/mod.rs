//! Load with a memory: producers and consumers whose connections follow a server through its restarts, and the ledger
//! of everything they were told (crate `audit`). In the end all queues are read back, and the ledger judges.

mod consumer;
mod link;
mod message;
mod producer;
mod read_back;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use steadfast_audit::{FinalState, Ledger, Name, Verdict};
use steadfast_net::client::Response;
use steadfast_sim::rng::Rng;
use steadfast_wire::code::{request, response};
use steadfast_wire::header::ExtFields;
use steadfast_wire::headers::UpdateConsumerOffset;
use tokio::runtime::{self, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::link::Link;
pub(crate) use self::producer::Outcome;

/// The broker's name, as the tests leave it.
const BROKER: &str = "broker-a";
/// Settings under which segments are switched and checkpoints written within rounds, and a replica that was away needs what
/// its leader has on disk only.
pub(crate) const SMALL: [&str; 2] = ["mappedFileSizeCommitLog=16MiB", "checkpointBytes=4MiB"];
/// Topics that producers and consumers use all the time.
const TOPICS: [&str; 2] = ["orders", "payments"];
/// Queues of each of them.
const QUEUES: u32 = 4;
/// Further topics, each made by the first message that is sent to it.
const PASSING_TOPICS: u64 = 64;
/// Groups that consume all of [`TOPICS`].
const GROUPS: [&str; 2] = ["billing", "shipping"];
/// How long a request may go without an answer while its connection is open.
const PATIENCE: Duration = Duration::from_secs(30);

/// What all clients write down.
#[derive(Default)]
pub(crate) struct Journal {
    ledger: Mutex<Ledger>,
    /// Send requests by how they ended.
    pub(crate) acked: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) answered_unknown: AtomicU64,
    pub(crate) cut_off: AtomicU64,
}

impl Journal {
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no client has panicked")
    }

    /// Send requests that have ended.
    pub(crate) fn ended(&self) -> u64 {
        [&self.acked, &self.refused, &self.answered_unknown, &self.cut_off]
            .iter()
            .map(|n| n.load(Relaxed))
            .sum()
    }
}

/// What the clients of a run are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Producers send, consumers follow.
    Load,
    /// Nothing more is sent; consumers go on until nothing is left.
    Drain,
}

/// The clients of a run.
pub(crate) struct Clients {
    runtime: Runtime,
    pub(crate) journal: Arc<Journal>,
    server: watch::Sender<Option<SocketAddr>>,
    phase: watch::Sender<Phase>,
    producers: JoinSet<()>,
    consumers: JoinSet<()>,
}

impl Clients {
    pub(crate) fn new() -> Self {
        let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Clients {
            runtime: runtime.expect("a runtime"),
            journal: Arc::default(),
            server: watch::Sender::new(None),
            phase: watch::Sender::new(Phase::Load),
            producers: JoinSet::new(),
            consumers: JoinSet::new(),
        }
    }

    /// Tells the clients where the server is.
    pub(crate) fn follow(&self, server: Option<SocketAddr>) {
        self.server.send_replace(server);
    }

    /// The same, for whoever goes on telling them.
    pub(crate) fn server(&self) -> watch::Sender<Option<SocketAddr>> {
        self.server.clone()
    }

    fn link(&self) -> Link {
        Link::new(self.server.subscribe())
    }

    /// Starts so many connections with so many lanes each; a lane has one request in flight.
    pub(crate) fn produce(&mut self, rng: &mut Rng, connections: u32, lanes: u32) {
        for connection in 0..connections {
            let link = Arc::new(self.link());
            for lane in 0..lanes {
                let name = format!("{connection}.{lane}");
                let (journal, phase) = (Arc::clone(&self.journal), self.phase.subscribe());
                let lane = producer::Lane::new(name, rng.split(), Arc::clone(&link), journal, phase);
                self.producers.spawn_on(lane.run(), self.runtime.handle());
            }
        }
    }

    /// Starts a consumer for each group and queue.
    pub(crate) fn consume(&mut self, rng: &mut Rng) {
        for group in GROUPS {
            let link = Arc::new(self.link());
            for topic in TOPICS {
                for queue in 0..QUEUES {
                    let position = message::position(group, topic, queue);
                    let (journal, phase) = (Arc::clone(&self.journal), self.phase.subscribe());
                    let rng = rng.split();
                    let consumer = consumer::Consumer::new(position, rng, Arc::clone(&link), journal, phase);
                    self.consumers.spawn_on(consumer.run(), self.runtime.handle());
                }
            }
        }
    }

    /// Ends the load; returns when every request that was sent is answered or lost.
    pub(crate) fn stop_producing(&mut self) {
        self.phase.send_replace(Phase::Drain);
        self.runtime.block_on(join(&mut self.producers));
    }

    /// Sends once over a connection of its own.
    pub(crate) fn send_once(&self, name: String) -> Outcome {
        let (link, journal) = (Arc::new(self.link()), Arc::clone(&self.journal));
        let lane = producer::Lane::new(name, Rng::new(0), link, journal, self.phase.subscribe());
        self.runtime.block_on(lane.send_once())
    }

    /// Moves the position of a group that nobody else uses.
    pub(crate) fn move_position(&self, offset: i64) -> Response {
        let (consumer_group, topic) = ("operator".into(), TOPICS[0].into());
        let mut ext = ExtFields::default();
        UpdateConsumerOffset { consumer_group, topic, queue_id: 0, commit_offset: offset }.encode(&mut ext);
        self.runtime.block_on(self.link().ask(request::UPDATE_CONSUMER_OFFSET, ext))
    }

    /// Ends the load, lets consumers come to the end, reads everything back from the server that runs now, and judges.
    /// Can be asked again, of another server.
    pub(crate) fn judge(&mut self) -> Verdict {
        self.stop_producing();
        let mut state = FinalState::default();
        let now = self.journal.ledger().now();
        if !self.consumers.is_empty() {
            for group in GROUPS {
                state.drained.extend(TOPICS.map(|topic| ((Name::from(group), Name::from(topic)), now)));
            }
        }
        self.runtime.block_on(async {
            join(&mut self.consumers).await;
            read_back::read_back(Link::new(self.server.subscribe()), &self.journal, &mut state).await;
        });
        self.journal.ledger().check(&state)
    }
}

/// Whether an answer says that another replica of the group is to be asked, or this one later: it did nothing.
fn is_elsewhere(answer: &Response) -> bool {
    answer.code == response::SERVICE_NOT_AVAILABLE && answer.remark().starts_with("replica ")
}

async fn join(clients: &mut JoinSet<()>) {
    while let Some(ended) = clients.join_next().await {
        ended.expect("a client that did not panic");
    }
}

/// How many rounds the environment asks for.
pub(crate) fn rounds(variable: &str, usual: u64) -> u64 {
    number(variable).unwrap_or(usual)
}

/// A seed from the environment, or of its own choice.
pub(crate) fn seed(variable: &str) -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    number(variable).unwrap_or_else(|| RandomState::new().build_hasher().finish() % 1_000_000)
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}

/// Goes past the capture of tests' output: a run that proves something should say so.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
