//! What is served over HTTP: `/healthz` and `/readyz` for probes, `/metrics` for Prometheus.

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
use crate::metrics::exposition::CONTENT_TYPE;
use crate::metrics::{self, Node, Telemetry};
use crate::register::Registered;

/// How long the core may take to show a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);
/// How long the figures may take: some are read from the disk. Prometheus waits for 10 s.
const FIGURES: Duration = Duration::from_secs(8);

/// The pages; most of them need a broker that runs.
#[derive(Default)]
pub(crate) struct Pages {
    /// None until the broker's data is open.
    pub(crate) broker: OnceLock<Watched>,
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
        match (path, self.broker.get()) {
            ("/healthz", None) => Answer::text("200 OK", "starting: the log is being read\n"),
            ("/healthz", Some(broker)) => broker.health().await,
            ("/readyz", None) => unavailable("the log is being read"),
            ("/readyz", Some(broker)) => broker.readiness(),
            ("/metrics", None) => unavailable("the log is being read"),
            ("/metrics", Some(broker)) => broker.metrics().await,
            _ => Answer::text("404 Not Found", "there are /metrics, /healthz and /readyz\n"),
        }
    }
}

fn unavailable(cause: &str) -> Answer {
    Answer::text("503 Service Unavailable", format!("{cause}\n"))
}

impl Watched {
    /// The process lives: the core takes steps, and the log can be written. A restart would help otherwise.
    async fn health(&self) -> Answer {
        if let Some(Milestone::Poisoned(cause)) = &*self.milestone.borrow() {
            return unavailable(&format!("nothing is written until a restart: {cause}"));
        }
        let (sign, seen) = oneshot::channel();
        self.core.push(Event::Ping(sign));
        match timeout(SIGN_OF_LIFE, seen).await {
            Ok(Ok(())) => Answer::text("200 OK", "ok\n"),
            _ => unavailable("the core gave no sign of life"),
        }
    }

    /// Clients can be sent here: it takes messages, or follows a replica that does, and a name server knows it.
    fn readiness(&self) -> Answer {
        let trouble = self.standing.as_ref().and_then(Standing::trouble);
        match &*self.milestone.borrow() {
            Some(Milestone::Serving) | None if let Some(trouble) = trouble => unavailable(&trouble),
            None => unavailable("the broker is starting"),
            Some(Milestone::Stopped) => unavailable("the broker is stopping"),
            Some(Milestone::Poisoned(cause)) => unavailable(&format!("no messages are taken: {cause}")),
            Some(Milestone::Serving) if self.registered.count() == 0 => {
                unavailable("no name server knows the broker yet")
            }
            Some(Milestone::Serving) => Answer::text("200 OK", "ready\n"),
        }
    }

    async fn metrics(&self) -> Answer {
        let Some(measures) = self.measures().await else {
            return unavailable("the core did not tell its figures in time");
        };
        let node = Node {
            disk_free: self.disk.space().ok().map(|space| space.free),
            registered: self.registered.count(),
            replica: self.standing.as_ref().map(|standing| (standing.role().1, standing.links())),
            ..self.node.clone()
        };
        let body = metrics::page(&node, &measures, &self.telemetry);
        Answer { status: "200 OK", content_type: CONTENT_TYPE, body }
    }

    async fn measures(&self) -> Option<Box<Measures>> {
        let (tell, told) = oneshot::channel();
        self.core.push(Event::Measure(tell));
        timeout(FIGURES, told).await.ok()?.ok()
    }
}
