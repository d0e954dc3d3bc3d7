//! The core: the broker, and whoever drives it. There is no thread of its own: the thread that brings news steps
//! the broker if nobody else does at the moment, and else leaves its news to the one who does. So a request costs
//! no handoff between threads but the one to the log's writer, and what arrives under load shares a step.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use steadfast_broker::Broker;
use steadfast_broker::io::Input;
use steadfast_broker::measures::Measures;
use steadfast_consensus::Write;
use steadfast_net::{ConnId, Connection};
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::failpoint::{self, Stage};
use crate::inbox::Inbox;
use crate::readers::Readers;
use crate::shell::Shell;

/// Longest sleep of the timer: it need not be woken for deadlines further away.
const TIMER_MAX: u64 = 500;

/// What the core is told.
pub(crate) enum Event {
    /// A client connected.
    Opened(Arc<Connection>),
    /// A client's connection is gone.
    Closed(ConnId),
    /// For the broker.
    Input(Input),
    /// Somebody wants a sign of life.
    Ping(oneshot::Sender<()>),
    /// Somebody wants the broker's figures.
    Measure(oneshot::Sender<Box<Measures>>),
}

/// What the thread that started everything waits for. Each is further than the ones before it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Milestone {
    /// The broker takes messages, and name servers know it; or it follows a replica that does.
    Serving,
    /// The broker takes no messages any more; the text says why.
    Poisoned(String),
    /// The process may end.
    Stopped,
}

/// Work for the log writer's threads.
pub(crate) enum WriterJob {
    /// Make entries durable.
    Write(Write),
    /// Everything is written: sync what ASYNC_FLUSH has not, then report the milestone.
    Finish,
}

/// The broker, its shell, and who reads for it.
struct Machine {
    broker: Broker,
    shell: Shell,
    readers: Arc<Readers>,
    events: VecDeque<Event>,
    inputs: Vec<Input>,
}

impl Machine {
    fn step(&mut self, inbox: &Inbox<Event>, clock: Clock) {
        let Machine { broker, shell, events, inputs, .. } = self;
        inbox.take_now(events);
        inputs.extend(events.drain(..).filter_map(|event| shell.receive(event)));
        let failure = failpoint::hit(Stage::Step).err();
        inputs.extend(failure.map(|failure| Input::WriteFailed(failure.to_string())));
        broker.step(clock.now(), inputs.drain(..), &mut |effect| shell.carry_out(effect));
        shell.flush();
    }
}

/// The core, shared by all threads.
pub(crate) struct Core {
    news: Inbox<Event>,
    /// None until it is started.
    machine: Mutex<Option<Machine>>,
    clock: Clock,
    /// Ticks at which the broker must be stepped even without news; `u64::MAX` for never.
    deadline: AtomicU64,
    /// Ticks at which the timer wakes up; `u64::MAX` while it makes up its mind.
    planned: AtomicU64,
    timer: Inbox<()>,
}

impl Core {
    pub(crate) fn new(clock: Clock) -> Self {
        Core {
            news: Inbox::default(),
            machine: Mutex::new(None),
            clock,
            deadline: AtomicU64::new(u64::MAX),
            planned: AtomicU64::new(u64::MAX),
            timer: Inbox::default(),
        }
    }

    /// Starts the broker; what arrived before is handled now.
    pub(crate) fn start(&self, broker: Broker, shell: Shell, readers: Readers) {
        let readers = Arc::new(readers);
        *self.machine() =
            Some(Machine { broker, shell, readers, events: VecDeque::new(), inputs: Vec::new() });
        self.step(self.machine());
        self.drive();
    }

    /// Brings news. Never blocks: somebody handles it at once, perhaps this thread.
    pub(crate) fn push(&self, event: Event) {
        self.news.push(event);
        self.drive();
    }

    /// Brings news; see [`Core::push`].
    pub(crate) fn extend(&self, events: impl IntoIterator<Item = Event>) {
        self.news.extend(events);
        self.drive();
    }

    /// Steps the broker while there is news. Whoever holds the lock looks again after letting it go, so nothing
    /// that was left to them is forgotten.
    fn drive(&self) {
        while !self.news.is_empty() {
            match self.machine.try_lock() {
                // Whoever starts it takes what has come until then.
                Ok(machine) if machine.is_none() => return,
                Ok(machine) => self.step(machine),
                Err(TryLockError::Poisoned(poisoned)) => self.step(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => return,
            }
        }
    }

    fn step(&self, mut guard: MutexGuard<'_, Option<Machine>>) {
        let Some(machine) = guard.as_mut() else { return };
        machine.step(&self.news, self.clock);
        let deadline = machine.broker.deadline().unwrap_or(u64::MAX);
        self.deadline.store(deadline, SeqCst);
        let reads = std::mem::take(&mut machine.shell.reads);
        let fetches = std::mem::take(&mut machine.shell.fetches);
        let is_asked = !reads.is_empty() || !fetches.is_empty();
        let readers = is_asked.then(|| Arc::clone(&machine.readers));
        drop(guard);
        if deadline < self.planned.load(SeqCst) {
            self.timer.push(());
        }
        if let Some(readers) = readers {
            // Whoever steps the broker looks for news afterwards.
            readers.take(reads, |result| self.news.push(result));
            readers.fetch(fetches);
        }
    }

    /// The timer's thread: steps the broker when a deadline has come and no news did it.
    pub(crate) fn keep_time(&self) {
        let mut woken = VecDeque::new();
        loop {
            let now = self.clock.ticks();
            if self.deadline.load(SeqCst) <= now {
                self.step(self.machine());
                self.drive();
            }
            let planned = self.deadline.load(SeqCst).min(now + TIMER_MAX);
            self.planned.store(planned, SeqCst);
            // A step that set an earlier deadline in between has not seen the plan: look once more.
            let planned = self.deadline.load(SeqCst).min(planned);
            self.timer.take(&mut woken, Some(Duration::from_millis(planned.saturating_sub(now))));
            woken.clear();
        }
    }

    fn machine(&self) -> MutexGuard<'_, Option<Machine>> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
