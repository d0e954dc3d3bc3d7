//! What waits to leave for one other replica, bounded.

use std::collections::VecDeque;
use std::sync::Mutex;

use steadfast_consensus::{Body, MESSAGE_MAX, Message, encoded_len};
use steadfast_store::log::Entry;
use tokio::sync::Notify;

use super::lock;

/// Messages without entries that may wait. More come only while the connection takes nothing; the newest count then.
const SMALL_MAX: usize = 1024;

/// Messages in two lanes: votes, heartbeats and answers do not wait behind entries. Each lane keeps its order.
#[derive(Debug)]
pub(super) struct Outbox {
    bytes_max: usize,
    queue: Mutex<Queue>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    connected: bool,
    small: VecDeque<Message>,
    /// All that is sent of the log. Of what a leader sends, with entries or without, one that overtook another would be
    /// refused.
    appends: VecDeque<Message>,
    appends_bytes: usize,
    dropped: u64,
}

/// How full an outbox is.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) connected: bool,
    pub(super) bytes: usize,
    pub(super) dropped: u64,
}

impl Outbox {
    /// One that holds so many bytes of entries. It takes nothing before it is opened.
    pub(super) fn new(bytes_max: usize) -> Self {
        Outbox { bytes_max, queue: Mutex::default(), news: Notify::new() }
    }

    /// Queues a message or drops it.
    pub(super) fn push(&self, message: Message) {
        let is_append = matches!(message.body, Body::Append(_) | Body::LogPart { .. });
        let cost = cost(&message);
        let mut queue = lock(&self.queue);
        if !queue.connected {
            queue.dropped += 1;
            return;
        }
        if is_append {
            let fits = queue.appends_bytes + cost <= self.bytes_max && encoded_len(&message) <= MESSAGE_MAX;
            if !fits {
                queue.dropped += 1;
                return;
            }
            queue.appends_bytes += cost;
            queue.appends.push_back(message);
        } else {
            if queue.small.len() == SMALL_MAX {
                queue.small.pop_front();
                queue.dropped += 1;
            }
            queue.small.push_back(message);
        }
        drop(queue);
        self.news.notify_one();
    }

    /// The next message to leave.
    pub(super) fn take(&self) -> Option<Message> {
        let mut queue = lock(&self.queue);
        if let Some(message) = queue.small.pop_front() {
            return Some(message);
        }
        let message = queue.appends.pop_front()?;
        queue.appends_bytes -= cost(&message);
        Some(message)
    }

    /// Waits until something may have been queued since the last call.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// Messages can leave from now on.
    pub(super) fn open(&self) {
        lock(&self.queue).connected = true;
    }

    /// No message can leave: what waits is dropped, as it will be of no use later.
    pub(super) fn close(&self) {
        let mut queue = lock(&self.queue);
        let waiting = queue.small.len() + queue.appends.len();
        *queue = Queue { dropped: queue.dropped + waiting as u64, ..Queue::default() };
    }

    /// How full it is.
    pub(super) fn waiting(&self) -> Waiting {
        let queue = lock(&self.queue);
        let small: usize = queue.small.iter().map(cost).sum();
        Waiting { connected: queue.connected, bytes: queue.appends_bytes + small, dropped: queue.dropped }
    }
}

/// Bytes that a message holds while it waits.
fn cost(message: &Message) -> usize {
    let entries = match &message.body {
        Body::Append(append) => append.entries.len(),
        _ => 0,
    };
    encoded_len(message) + size_of::<Message>() + entries * size_of::<Entry>()
}

#[cfg(test)]
mod tests {
    use steadfast_types::LogIndex;

    use super::*;
    use crate::peers::tests::group::{append, heartbeat, payload};

    fn outbox() -> Outbox {
        let outbox = Outbox::new(100_000);
        outbox.open();
        outbox
    }

    fn drain(outbox: &Outbox) -> Vec<Message> {
        std::iter::from_fn(|| outbox.take()).collect()
    }

    #[test]
    fn small_messages_overtake_appends_and_nothing_else() {
        let outbox = outbox();
        let appends: Vec<_> = (0..3).map(|i| append(1, 2, i, &[payload(10_000 * i as usize, i)])).collect();
        let beats: Vec<_> = (0..3).map(|i| heartbeat(1, 2, i)).collect();
        for (append, beat) in appends.iter().zip(&beats) {
            outbox.push(append.clone());
            outbox.push(beat.clone());
        }
        assert!(drain(&outbox) == [beats, appends].concat());
        assert_eq!((outbox.waiting().bytes, outbox.waiting().dropped), (0, 0));
    }

    #[test]
    fn appends_that_do_not_fit_are_dropped_and_small_messages_are_not() {
        let outbox = outbox();
        for i in 0..20 {
            outbox.push(append(1, 2, i, &[payload(30_000, i)]));
            assert!(outbox.waiting().bytes <= 100_000);
        }
        assert_eq!(outbox.waiting().dropped, 17);
        // Without entries they take memory, too.
        (0..10_000).for_each(|i| outbox.push(append(1, 2, i, &[])));
        assert!(outbox.waiting().bytes <= 100_000);
        let dropped = outbox.waiting().dropped;
        for i in 0..5_000 {
            outbox.push(heartbeat(1, 2, i));
        }
        assert_eq!(outbox.waiting().dropped, dropped + 5_000 - SMALL_MAX as u64);
        let newest: Vec<_> = drain(&outbox)
            .into_iter()
            .map_while(|message| match message.body {
                Body::Heartbeat { commit, .. } => Some(commit),
                _ => None,
            })
            .collect();
        assert!(newest.iter().copied().eq((5_000 - SMALL_MAX as u64..5_000).map(LogIndex::new)));
    }

    #[test]
    fn what_nobody_would_take_is_not_sent() {
        let outbox = Outbox::new(usize::MAX);
        outbox.open();
        let entry = payload(MESSAGE_MAX / 4, 0);
        outbox.push(append(1, 2, 0, &vec![entry.clone(); 4]));
        outbox.push(append(1, 2, 0, &vec![entry; 3]));
        assert_eq!((drain(&outbox).len(), outbox.waiting().dropped), (1, 1));
    }
}
