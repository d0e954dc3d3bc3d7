//! A queue into a thread or a few: many push; one takes everything at once, or several one item each. A push wakes a
//! thread only if one sleeps and none is on the watch, and of several the one that fell asleep last: its core and its
//! caches are the warmest.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// The queue.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    queue: Mutex<Queue<T>>,
    /// How often something was pushed.
    pushes: AtomicUsize,
}

#[derive(Debug)]
struct Queue<T> {
    items: VecDeque<T>,
    /// Threads that sleep and that nobody woke yet.
    sleepers: Vec<Thread>,
    /// Threads on the watch: they take what comes without being woken.
    watchers: usize,
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        let queue = Queue { items: VecDeque::new(), sleepers: Vec::new(), watchers: 0 };
        Inbox { queue: Mutex::new(queue), pushes: AtomicUsize::new(0) }
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
        self.pushes.fetch_add(1, Relaxed);
        let is_awaited = queue.items.is_empty() || queue.watchers > 0;
        let sleeper = if is_awaited { None } else { queue.sleepers.pop() };
        drop(queue);
        if let Some(thread) = sleeper {
            thread.unpark();
        }
    }

    /// How many items wait.
    pub(crate) fn len(&self) -> usize {
        self.queue().items.len()
    }

    /// Whether nothing has arrived.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue().items.is_empty()
    }

    /// Moves what has arrived to `into`, which is empty.
    pub(crate) fn take_now(&self, into: &mut VecDeque<T>) {
        self.queue().give(into);
    }

    /// Waits until there is something or `limit` has passed, without sleeping: the one who brings it need not wake this
    /// thread, which takes tens of microseconds. Whoever watched must take next.
    pub(crate) fn watch(&self, limit: Duration) {
        let mut queue = self.queue();
        if !queue.items.is_empty() {
            return;
        }
        queue.watchers += 1;
        let pushes = self.pushes.load(Relaxed);
        drop(queue);
        let begun = Instant::now();
        while self.pushes.load(Relaxed) == pushes && begun.elapsed() < limit {
            // Whoever else wants this processor, such as the one who brings the item, has it at once.
            thread::yield_now();
        }
        self.queue().watchers -= 1;
    }

    /// Waits until there is something, or until `limit` has passed; moves all of it to `into`, which is empty.
    pub(crate) fn take(&self, into: &mut VecDeque<T>, limit: Option<Duration>) {
        self.wait(limit).give(into);
    }

    /// Waits until there is something; takes the oldest item.
    pub(crate) fn take_one(&self) -> T {
        loop {
            if let Some(item) = self.wait(None).items.pop_front() {
                return item;
            }
        }
    }

    /// Waits until there is something, or until `limit` has passed.
    fn wait(&self, limit: Option<Duration>) -> MutexGuard<'_, Queue<T>> {
        let until = limit.map(|limit| Instant::now() + limit);
        let mut queue = self.queue();
        while queue.items.is_empty() {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                break;
            }
            let this = thread::current();
            let id = this.id();
            queue.sleepers.push(this);
            drop(queue);
            match left {
                Some(left) => thread::park_timeout(left),
                None => thread::park(),
            }
            queue = self.queue();
            // Whoever wakes a thread takes it off the list; one that woke by itself does it itself.
            queue.sleepers.retain(|sleeper| sleeper.id() != id);
        }
        queue
    }

    fn queue(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Queue<T> {
    fn give(&mut self, into: &mut VecDeque<T>) {
        if into.capacity() > Inbox::<T>::KEEP {
            *into = VecDeque::new();
        }
        std::mem::swap(&mut self.items, into);
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
        let (mut all, mut some) = (VecDeque::new(), VecDeque::new());
        while all.len() < 100_000 {
            inbox.take(&mut some, None);
            assert!(!some.is_empty());
            all.append(&mut some);
        }
        assert!(all.iter().is_sorted());
        pusher.join().unwrap();
    }

    #[test]
    fn a_thread_that_watches_at_times_misses_nothing() {
        let inbox = Arc::new(Inbox::default());
        let (pushing, taken) = (Arc::clone(&inbox), Arc::new(AtomicUsize::new(0)));
        let seen = Arc::clone(&taken);
        // Each item only after the one before was taken: a wake-up that got lost would end this for good.
        let pusher = std::thread::spawn(move || {
            for i in 0..20_000 {
                while seen.load(Relaxed) < i {
                    thread::yield_now();
                }
                pushing.push(i);
            }
        });
        let mut some = VecDeque::new();
        for i in 0..20_000 {
            if i % 3 > 0 {
                inbox.watch(Duration::from_micros(i as u64 % 7));
            }
            inbox.take(&mut some, None);
            assert_eq!(some.drain(..).collect::<Vec<_>>(), [i]);
            taken.store(i + 1, Relaxed);
        }
        pusher.join().unwrap();
    }

    #[test]
    fn several_threads_share_the_items() {
        let inbox = Arc::new(Inbox::default());
        let takers: Vec<_> = (0..4)
            .map(|_| {
                let inbox = Arc::clone(&inbox);
                std::thread::spawn(move || (0..1_000).map(|_| inbox.take_one()).sum::<u64>())
            })
            .collect();
        (0..4_000).for_each(|i| inbox.push(i));
        let sum: u64 = takers.into_iter().map(|taker| taker.join().unwrap()).sum();
        assert_eq!((sum, inbox.len()), ((0..4_000).sum(), 0));
    }

    #[test]
    fn a_take_ends_at_its_limit() {
        let inbox = Inbox::<u32>::default();
        let mut items = VecDeque::new();
        inbox.take(&mut items, Some(Duration::from_millis(1)));
        assert!(items.is_empty());
        inbox.push(1);
        inbox.take(&mut items, Some(Duration::ZERO));
        assert_eq!(items, [1]);
    }
}
