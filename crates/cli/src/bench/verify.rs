//! Reads back what a run sent, and audits it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use steadfast_audit::compact::{AckBook, Audit};
use steadfast_audit::{Found, Invariant, MessageId, Place, Queue, Verdict};
use steadfast_types::QueueOffset;
use steadfast_types::record::StoredMessage;

use super::content::Content;
use super::pull::{self, How, Visit};
use super::stats::Stats;
use super::target::{Range, Target};

/// What the read found.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) verdict: Verdict,
    /// Where queues that lost messages of the run at their beginning begin now.
    pub(super) begins: BTreeMap<Queue, QueueOffset>,
    /// Messages that this run did not send.
    pub(super) foreign: u64,
    /// How long the read took.
    pub(super) took: Duration,
}

impl Verified {
    /// How many messages are missing as their queue does not reach back to them any more: retention removed them.
    pub(super) fn removed(&self) -> usize {
        let is_before_begin = |place: &Place| self.begins.get(&place.queue) > Some(&place.offset);
        let missing = self.verdict.of(Invariant::Acked);
        missing.filter(|violation| violation.place.as_ref().is_some_and(is_before_begin)).count()
    }
}

/// Reads everything after `tails`, which is where the queues ended before the run, and compares it with what was
/// acknowledged.
pub(super) async fn run(
    target: &Target,
    tails: &[Range],
    content: Content,
    stats: &Stats,
) -> anyhow::Result<Verified> {
    let start = Instant::now();
    let auditor = Auditor { audit: book(target, content, stats).audit(), content, foreign: 0 };
    let ranges = to_read(target, tails, stats).await?;
    let how = How::to_the_end(2, 32);
    let auditor = pull::read(target, &ranges, &how, auditor).await?;
    // Only now is it known what was removed before it was read.
    let begins = target.contents().await?.into_iter().filter(|now| begins_later(now, tails));
    let begins = begins.map(|now| (target.queue(&now).clone(), QueueOffset::new(now.from))).collect();
    let (verdict, foreign) = (auditor.audit.finish(), auditor.foreign);
    Ok(Verified { verdict, begins, foreign, took: start.elapsed() })
}

/// Whether a queue begins after the place where it ended before the run.
fn begins_later(now: &Range, tails: &[Range]) -> bool {
    tails.iter().any(|tail| (tail.broker, tail.queue) == (now.broker, now.queue) && now.from > tail.from)
}

/// What was acknowledged, message by message.
fn book(target: &Target, content: Content, stats: &Stats) -> AckBook {
    let mut book = AckBook::new();
    let mut scratch = Vec::new();
    for ack in &stats.acks {
        let queue = &target.brokers[usize::from(ack.broker)].queues[usize::from(ack.queue)];
        for i in 0..u64::from(ack.count) {
            let id = ack.first_id + i;
            let digest = content.digest(id, &mut scratch);
            book.acked(&MessageId::Number(id), digest, queue, QueueOffset::new(ack.offset + i));
        }
    }
    for id in &stats.unknown {
        book.unknown(&MessageId::Number(*id), content.digest(*id, &mut scratch));
    }
    (0..stats.refused).for_each(|_| book.refused());
    book
}

/// From where the queues ended before to where they end now, or to the last acknowledged message if the server does
/// not admit to having it.
async fn to_read(target: &Target, tails: &[Range], stats: &Stats) -> anyhow::Result<Vec<Range>> {
    let mut acked_to: BTreeMap<(usize, u32), u64> = BTreeMap::new();
    for ack in &stats.acks {
        let end = acked_to.entry((usize::from(ack.broker), u32::from(ack.queue))).or_default();
        *end = (*end).max(ack.offset + u64::from(ack.count));
    }
    let mut ranges = target.contents().await?;
    for range in &mut ranges {
        let key = (range.broker, range.queue);
        let tail = tails.iter().find(|tail| (tail.broker, tail.queue) == key);
        range.from = tail.map_or(range.from, |tail| tail.from);
        range.to = range.to.max(acked_to.get(&key).copied());
    }
    Ok(ranges)
}

struct Auditor {
    audit: Audit,
    content: Content,
    foreign: u64,
}

impl Visit for Auditor {
    fn message(&mut self, _: usize, queue: &Queue, message: &StoredMessage<'_>) {
        match self.content.number_of(message) {
            Some(id) => {
                let found = Found {
                    offset: message.stamp.queue_offset,
                    log_offset: message.stamp.log_offset,
                    id: MessageId::Number(id),
                    digest: Content::digest_of(message),
                };
                self.audit.found(queue, &found);
            }
            None => self.foreign += 1,
        }
    }
}
