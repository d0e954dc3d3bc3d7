//! What is served over HTTP: `/healthz` and `/readyz` for probes, `/metrics` for Prometheus.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use steadfast_broker::measures::Measures;
use steadfast_store::disk::Disk;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::core::{Core, Event, Milestone};
use crate::disk::RealDisk;
use crate::group::Standing;
use crate::http::{self, Answer};
use crate::metrics::exposition::{CONTENT_TYPE, Page};
use crate::metrics::{self, Node, Telemetry};
use crate::register::Registered;

/// How long the core may take to show a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);
/// How long the figures may take: some are read from the disk. Prometheus waits for 10 s.
const FIGURES: Duration = Duration::from_secs(8);

/// The pages; most of them need a broker that runs.
#[derive(Default)]
pub(crate) struct Pages {
    /// None until the data of all brokers of this process is open.
    pub(crate) brokers: OnceLock<Vec<Watched>>,
}

/// A broker that runs, as the pages see it.
#[derive(Clone)]
pub(crate) struct Watched {
    pub(crate) core: Arc<Core>,
    pub(crate) milestone: watch::Receiver<Option<Milestone>>,
    pub(crate) registered: Registered,
    /// None in a group of one.
    pub(crate) standing: Option<Standing>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) disk: RealDisk,
    /// What does not change.
    pub(crate) node: Node,
}

impl http::Pages for Pages {
    async fn get(&self, path: &str) -> Answer {
        match (path, self.brokers.get()) {
            ("/healthz", None) => Answer::text("200 OK", "starting: the log is being read\n"),
            ("/healthz", Some(brokers)) => {
                let mut all = Vec::new();
                for broker in brokers {
                    all.push((broker.name(), broker.health().await));
                }
                together(all, "ok")
            }
            ("/readyz", None) => unavailable("the log is being read"),
            ("/readyz", Some(brokers)) => {
                together(brokers.iter().map(|broker| (broker.name(), broker.readiness())), "ready")
            }
            ("/metrics", None) => unavailable("the log is being read"),
            ("/metrics", Some(brokers)) => metrics(brokers).await,
            _ => Answer::text("404 Not Found", "there are /metrics, /healthz and /readyz\n"),
        }
    }
}

/// One answer for all brokers: `fine` if all are, or else what is wrong with each. One alone is not named.
fn together<'a>(all: impl IntoIterator<Item = (&'a str, Result<(), String>)>, fine: &str) -> Answer {
    let all: Vec<_> = all.into_iter().collect();
    let line = |(name, state): &(&str, Result<(), String>)| {
        let text = state.as_ref().map_or_else(String::as_str, |()| fine);
        if all.len() == 1 { text.to_owned() } else { format!("{name}: {text}") }
    };
    let lines = all.iter().map(line).collect::<Vec<_>>().join("\n");
    match all.iter().all(|(_, state)| state.is_ok()) {
        true => Answer::text("200 OK", format!("{lines}\n")),
        false => unavailable(&lines),
    }
}

async fn metrics(brokers: &[Watched]) -> Answer {
    let mut page = Page::default();
    for broker in brokers {
        if !broker.metrics(&mut page).await {
            return unavailable("the core did not tell its figures in time");
        }
    }
    Answer { status: "200 OK", content_type: CONTENT_TYPE, body: page.finish() }
}

fn unavailable(cause: &str) -> Answer {
    Answer::text("503 Service Unavailable", format!("{cause}\n"))
}

impl Watched {
    fn name(&self) -> &str {
        &self.node.broker_name
    }

    /// The process lives: the core takes steps, and the log can be written. A restart would help otherwise.
    async fn health(&self) -> Result<(), String> {
        if let Some(Milestone::Poisoned(cause)) = &*self.milestone.borrow() {
            return Err(format!("nothing is written until a restart: {cause}"));
        }
        let (sign, seen) = oneshot::channel();
        self.core.push(Event::Ping(sign));
        match timeout(SIGN_OF_LIFE, seen).await {
            Ok(Ok(())) => Ok(()),
            _ => Err("the core gave no sign of life".to_owned()),
        }
    }

    /// A replica that cannot write answers nobody, and so takes no part in elections; a single server still serves readers.
    fn full_disk(&self) -> Option<String> {
        let is_full = self.standing.is_some() && self.telemetry.disk_full.load(Relaxed);
        is_full.then(|| {
            "the disk is full: this replica takes nothing that is new and helps no election, so that the group bears no further \
             loss; free space or add some, it goes on by itself"
                .to_owned()
        })
    }

    /// Clients can be sent here: it takes messages, or follows a replica that does, and a name server knows it.
    fn readiness(&self) -> Result<(), String> {
        let trouble = self.full_disk().or_else(|| self.standing.as_ref().and_then(Standing::trouble));
        match &*self.milestone.borrow() {
            Some(Milestone::Serving) | None if let Some(trouble) = trouble => Err(trouble),
            None => Err("the broker is starting".to_owned()),
            Some(Milestone::Stopped) => Err("the broker is stopping".to_owned()),
            Some(Milestone::Poisoned(cause)) => Err(format!("no messages are taken: {cause}")),
            Some(Milestone::Serving) if self.registered.count() == 0 => {
                Err("no name server knows the broker yet".to_owned())
            }
            Some(Milestone::Serving) => Ok(()),
        }
    }

    /// Adds its figures to the page; false if it does not tell them.
    async fn metrics(&self, page: &mut Page) -> bool {
        let Some(measures) = self.measures().await else { return false };
        let node = Node {
            disk_free: self.disk.space().ok().map(|space| space.free),
            registered: self.registered.count(),
            replica: self.standing.as_ref().map(|standing| (standing.role().1, standing.links())),
            ..self.node.clone()
        };
        metrics::add(page, &node, &measures, &self.telemetry);
        true
    }

    async fn measures(&self) -> Option<Box<Measures>> {
        let (tell, told) = oneshot::channel();
        self.core.push(Event::Measure(tell));
        timeout(FIGURES, told).await.ok()?.ok()
    }
}
