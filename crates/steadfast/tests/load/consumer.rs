//! Consumers: pull a queue from where the group's position is, and move it; a new connection begins with asking for it.

use std::sync::Arc;
use std::time::Duration;

use steadfast_audit::{Name, Position};
use steadfast_sim::rng::Rng;
use steadfast_types::QueueOffset;
use steadfast_types::sys_flag::{PULL_SUBSCRIPTION, PULL_SUSPEND};
use steadfast_wire::code::{request, response};
use steadfast_wire::header::ExtFields;
use steadfast_wire::headers::{
    OffsetResponse, PullMessage, PullMessageResponse, QueryConsumerOffset, UpdateConsumerOffset,
};
use tokio::sync::watch;

use super::link::{Link, Session};
use super::message;
use super::{Journal, Phase, is_elsewhere};

/// How long the server holds a pull.
const HOLD: i64 = 50;
/// Pause after an answer that says to come again.
const PAUSE: Duration = Duration::from_millis(5);

/// Consumes one queue for one group.
pub(crate) struct Consumer {
    position: Position,
    rng: Rng,
    link: Arc<Link>,
    journal: Arc<Journal>,
    phase: watch::Receiver<Phase>,
}

/// Why a session ended.
enum Ended {
    Lost,
    Drained,
}

impl Consumer {
    pub(crate) fn new(
        position: Position,
        rng: Rng,
        link: Arc<Link>,
        journal: Arc<Journal>,
        phase: watch::Receiver<Phase>,
    ) -> Consumer {
        Consumer { position, rng, link, journal, phase }
    }

    pub(crate) async fn run(mut self) {
        let link = Arc::clone(&self.link);
        loop {
            let session = link.session().await;
            match self.consume(&session).await {
                None | Some(Ended::Lost) => {}
                Some(Ended::Drained) => return,
            }
        }
    }

    /// None when the connection is lost.
    async fn consume(&mut self, session: &Session<'_>) -> Option<Ended> {
        let mut next = self.begin(session).await?;
        loop {
            let draining = *self.phase.borrow() == Phase::Drain;
            let Some(after) = self.pull(session, next).await? else {
                if draining {
                    return Some(Ended::Drained);
                }
                continue;
            };
            // Somebody resets the group now and then.
            let back = if !draining && self.rng.one_in(50) { self.rng.below(100) } else { 0 };
            next = after.saturating_sub(back);
            self.commit(session, next).await?;
        }
    }

    fn topic(&self) -> Name {
        Name::clone(&self.position.queue.topic)
    }

    fn queue_id(&self) -> i32 {
        self.position.queue.id.get() as i32
    }

    /// Where the server says that the group is.
    async fn begin(&self, session: &Session<'_>) -> Option<u64> {
        loop {
            let begun = self.journal.ledger().now();
            let (group, topic) = (Name::clone(&self.position.group), self.topic());
            let mut ext = ExtFields::default();
            QueryConsumerOffset {
                consumer_group: (&*group).into(),
                topic: (&*topic).into(),
                queue_id: self.queue_id(),
                set_zero_if_not_found: None,
            }
            .encode(&mut ext);
            let answer = session.ask(request::QUERY_CONSUMER_OFFSET, ext, &[]).await?;
            match answer.code {
                response::SUCCESS => {
                    let header = answer.header().expect("a header");
                    let offset = OffsetResponse::decode(&header.ext).expect("an offset").offset as u64;
                    let read = Some(QueueOffset::new(offset));
                    self.journal.ledger().position_read(begun, &self.position, read);
                    return Some(offset);
                }
                _ if is_elsewhere(&answer) => return self.look_elsewhere().await,
                // Nothing was sent yet.
                response::TOPIC_NOT_EXIST => tokio::time::sleep(PAUSE).await,
                code => panic!("the position of {}: {code} {}", self.position, answer.remark()),
            }
        }
    }

    /// Somebody else leads, or will: as if the connection were lost.
    async fn look_elsewhere<T>(&self) -> Option<T> {
        tokio::time::sleep(PAUSE).await;
        None
    }

    /// Takes what is there; returns where to go on, or None at the end of the queue.
    async fn pull(&self, session: &Session<'_>, next: u64) -> Option<Option<u64>> {
        let topic = self.topic();
        let mut ext = ExtFields::default();
        PullMessage {
            consumer_group: (&*self.position.group).into(),
            topic: (&*topic).into(),
            queue_id: self.queue_id(),
            queue_offset: next as i64,
            max_msg_nums: 32,
            sys_flag: PULL_SUSPEND | PULL_SUBSCRIPTION,
            suspend_timeout_millis: HOLD,
            subscription: Some("*".into()),
            ..PullMessage::default()
        }
        .encode(&mut ext);
        let answer = session.ask(request::PULL_MESSAGE, ext, &[]).await?;
        match answer.code {
            response::SUCCESS => {}
            response::PULL_NOT_FOUND => return Some(None),
            _ if is_elsewhere(&answer) => return self.look_elsewhere().await,
            code => panic!("pull of {} at {next}: {code} {}", self.position, answer.remark()),
        }
        let found = message::found(answer.body());
        let mut ledger = self.journal.ledger();
        for (i, (queue, found)) in found.iter().enumerate() {
            assert_eq!((queue, found.offset.get()), (&self.position.queue, next + i as u64));
            let place = queue.place(found.offset.get(), found.log_offset.get());
            ledger.delivered(&found.id, &place, found.digest, &self.position.group);
        }
        let header = answer.header().expect("a header");
        let fields = PullMessageResponse::decode(&header.ext).expect("the fields of a pull");
        assert_eq!(fields.next_begin_offset as u64, next + found.len() as u64, "nothing is filtered");
        Some(Some(fields.next_begin_offset as u64))
    }

    async fn commit(&self, session: &Session<'_>, offset: u64) -> Option<()> {
        let ticket = self.journal.ledger().committing(&self.position, QueueOffset::new(offset));
        let topic = self.topic();
        let mut ext = ExtFields::default();
        UpdateConsumerOffset {
            consumer_group: (&*self.position.group).into(),
            topic: (&*topic).into(),
            queue_id: self.queue_id(),
            commit_offset: offset as i64,
        }
        .encode(&mut ext);
        let answer = session.ask(request::UPDATE_CONSUMER_OFFSET, ext, &[]).await?;
        match answer.code {
            response::SUCCESS => self.journal.ledger().acknowledge(&ticket),
            code => assert!(answer.remark().starts_with("stored="), "{code} {}", answer.remark()),
        }
        Some(())
    }
}
