//! A queue into a thread or a few: many push, one takes everything at once. A push wakes a thread only if one
//! sleeps.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The queue.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    queue: Mutex<Queue<T>>,
    arrived: Condvar,
}

#[derive(Debug)]
struct Queue<T> {
    items: Vec<T>,
    /// Threads that sleep and that nobody woke yet.
    sleeping: usize,
    /// Threads that were woken and do not know yet.
    woken: usize,
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        Inbox {
            queue: Mutex::new(Queue { items: Vec::new(), sleeping: 0, woken: 0 }),
            arrived: Condvar::new(),
        }
    }
}

impl<T> Inbox<T> {
    /// Room kept between two takes.
    const KEEP: usize = 16 * 1024;

    /// Appends one item.
    pub(crate) fn push(&self, item: T) {
        self.extend(std::iter::once(item));
    }

    /// Appends items.
    pub(crate) fn extend(&self, items: impl IntoIterator<Item = T>) {
        let mut queue = self.queue();
        queue.items.extend(items);
        let wake = queue.sleeping > 0 && !queue.items.is_empty();
        if wake {
            queue.sleeping -= 1;
            queue.woken += 1;
        }
        drop(queue);
        if wake {
            self.arrived.notify_one();
        }
    }

    /// Whether nothing has arrived.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue().items.is_empty()
    }

    /// Moves what has arrived to `into`, which is empty.
    pub(crate) fn take_now(&self, into: &mut Vec<T>) {
        if into.capacity() > Self::KEEP {
            *into = Vec::new();
        }
        std::mem::swap(&mut self.queue().items, into);
    }

    /// Waits until there is something, or until `limit` has passed; moves all of it to `into`, which is empty.
    pub(crate) fn take(&self, into: &mut Vec<T>, limit: Option<Duration>) {
        let until = limit.map(|limit| Instant::now() + limit);
        let mut queue = self.queue();
        while queue.items.is_empty() {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                break;
            }
            queue.sleeping += 1;
            queue = match left {
                Some(left) => {
                    self.arrived.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
            // Whoever wakes a thread has counted it out already; one whose time ran out counts itself.
            if queue.woken > 0 {
                queue.woken -= 1;
            } else {
                queue.sleeping -= 1;
            }
        }
        if into.capacity() > Self::KEEP {
            *into = Vec::new();
        }
        std::mem::swap(&mut queue.items, into);
    }

    fn queue(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn everything_arrives_once_and_in_order() {
        let inbox = Arc::new(Inbox::default());
        let pushing = Arc::clone(&inbox);
        let pusher = std::thread::spawn(move || (0..100_000_u32).for_each(|i| pushing.push(i)));
        let (mut all, mut some) = (Vec::new(), Vec::new());
        while all.len() < 100_000 {
            inbox.take(&mut some, None);
            assert!(!some.is_empty());
            all.append(&mut some);
        }
        assert!(all.is_sorted());
        pusher.join().unwrap();
    }

    #[test]
    fn a_take_ends_at_its_limit() {
        let inbox = Inbox::<u32>::default();
        let mut items = Vec::new();
        inbox.take(&mut items, Some(Duration::from_millis(1)));
        assert!(items.is_empty());
        inbox.push(1);
        inbox.take(&mut items, Some(Duration::ZERO));
        assert_eq!(items, [1]);
    }
}
