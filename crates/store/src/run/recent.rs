//! The pages of a run that were used last. Who reads a queue asks for the same page again and again, some units each
//! time; so it is read and verified once and not for each answer.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Pages kept: as many queues can be read at a time without getting in each other's way.
const PAGES: usize = 8;

/// Verified pages with their numbers, the one used last at the end.
#[derive(Debug, Default)]
pub(super) struct RecentPages(Mutex<Vec<(u32, Bytes)>>);

impl RecentPages {
    pub(super) fn get(&self, number: u32) -> Option<Bytes> {
        let mut pages = self.pages();
        let at = pages.iter().rposition(|(known, _)| *known == number)?;
        pages[at..].rotate_left(1);
        pages.last().map(|(_, page)| page.clone())
    }

    /// Like [`RecentPages::get`], for a page that is not wanted again: another one is kept longer in its place.
    pub(super) fn take(&self, number: u32) -> Option<Bytes> {
        let mut pages = self.pages();
        let at = pages.iter().rposition(|(known, _)| *known == number)?;
        Some(pages.remove(at).1)
    }

    /// Keeps a page that verified.
    pub(super) fn put(&self, number: u32, page: Bytes) {
        let mut pages = self.pages();
        pages.retain(|(known, _)| *known != number);
        if pages.len() == PAGES {
            pages.remove(0);
        }
        pages.push((number, page));
    }

    fn pages(&self) -> MutexGuard<'_, Vec<(u32, Bytes)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_stays() {
        let recent = RecentPages::default();
        let page = |number: u32| Bytes::from(vec![number as u8]);
        (0..8).for_each(|number| recent.put(number, page(number)));
        assert_eq!(recent.get(0), Some(page(0)));
        recent.put(8, page(8));
        assert_eq!(recent.get(1), None, "it was not used for longest");
        for number in [0, 2, 3, 4, 5, 6, 7, 8] {
            assert_eq!(recent.get(number), Some(page(number)));
        }
        recent.put(2, page(9));
        assert_eq!(recent.get(2), Some(page(9)));
        assert_eq!(recent.pages().len(), 8);
    }

    #[test]
    fn what_is_not_wanted_again_makes_room() {
        let recent = RecentPages::default();
        (0..8).for_each(|number| recent.put(number, Bytes::new()));
        assert_eq!(recent.take(7), Some(Bytes::new()));
        assert_eq!(recent.take(7), None);
        recent.put(8, Bytes::new());
        assert_eq!(recent.get(0), Some(Bytes::new()));
    }
}
