//! The engine's view of the log: the terms of all entries, the places of some, and the newest entries themselves.
//! Entries that are not applied are always held; of the applied ones as many as fit into a budget. Older ones have to be
//! fetched from the log.

use std::cell::RefCell;
use std::collections::VecDeque;

use raft::eraftpb::{Entry as EngineEntry, EntryType};
use raft::{GetEntriesContext, RaftState};
use steadfast_store::log::{Entry, Keep, Layout, Mark, Place, frame_len};
use steadfast_types::{LogIndex, LogOffset, Position, Term};

use crate::engine::entry_to_engine;
use crate::fetch::Fetch;
use crate::members::{Change, Members, Roll};
use crate::recovery::Standing;

/// Distance in bytes between entries whose places are known though they are not held.
const STRIDE: u64 = 1 << 20;
/// Bytes of applied entries held while a log is read.
const READING: u64 = 8 << 20;
/// Peers that wait for one fetch; others ask again.
const WAITING: usize = 8;

/// What a replica knows of its log. Recovery makes one: it begins with the mark after which the log is read, and takes
/// what is found.
pub struct LogView {
    pub(crate) state: RaftState,
    /// What recovery found of the replica's past.
    pub(crate) standing: Standing,
    /// The group's members.
    pub(crate) roll: Roll,
    /// First index of each stretch of entries with the same term, and that term. The first stretch begins with the
    /// entry before the first one of the log.
    terms: Vec<(u64, u64)>,
    /// Index and place of some entries, ascending.
    places: Vec<(u64, LogOffset)>,
    /// The entry before the first one held, and where it ends.
    before: (Keep, LogOffset),
    held: VecDeque<(EngineEntry, LogOffset)>,
    held_bytes: u64,
    end: LogOffset,
    /// Highest commit index that an entry tells.
    committed: LogIndex,
    fetches: RefCell<Fetches>,
    /// Bytes to read at a time; 0 if there is nobody who could need old entries.
    fetch_bytes: u64,
}

/// Entries that are being fetched.
#[derive(Default)]
struct Fetches {
    last_number: u64,
    /// What was asked for and not handed out yet.
    wanted: Vec<Fetch>,
    /// First index and number of each fetch under way, and who waits for it.
    under_way: Vec<(u64, u64, Vec<GetEntriesContext>)>,
    /// What has been read, while the engine takes it.
    read: Vec<(EngineEntry, LogOffset)>,
}

impl LogView {
    /// Of a log whose entries follow `mark`, which ends with an entry of `term`.
    pub fn after(mark: Mark, term: Term) -> Self {
        Self {
            state: RaftState::default(),
            standing: Standing::default(),
            roll: Roll::default(),
            terms: vec![(mark.index.get(), term.get())],
            places: Vec::new(),
            before: (Keep::Mark(mark), mark.end),
            held: VecDeque::new(),
            held_bytes: 0,
            end: mark.end,
            committed: mark.index,
            fetches: RefCell::default(),
            fetch_bytes: u64::MAX,
        }
    }

    /// As [`LogView::after`], of a log that is known back to its first entry: the first index of each stretch of entries
    /// with the same term, and the places of some entries, both ascending and of entries up to the mark; and the members
    /// of the group after it.
    pub fn with_history(
        mark: Mark,
        terms: Vec<(LogIndex, Term)>,
        places: Vec<(LogIndex, LogOffset)>,
        members: Members,
    ) -> Self {
        let terms = terms.into_iter().map(|(index, term)| (index.get(), term.get()));
        let places = places.into_iter().map(|(index, at)| (index.get(), at));
        Self {
            // Before the first entry there is nothing, which has term 0.
            terms: std::iter::once((0, 0)).chain(terms).collect(),
            places: places.collect(),
            roll: Roll::new(members),
            ..Self::after(mark, Term::ZERO)
        }
    }

    /// Takes the next entry that was found in the log, with the log offset of its frame.
    pub fn push(&mut self, entry: Entry, at: LogOffset) {
        self.committed = self.committed.max(entry.commit());
        self.append(entry_to_engine(entry), at);
        self.trim(self.committed.get(), READING);
    }

    /// The last entry's index.
    pub fn last(&self) -> LogIndex {
        LogIndex::new(self.last_held())
    }

    /// The last entry.
    pub(crate) fn position(&self) -> Position {
        Position { term: Term::new(self.term_of(self.last_held())), index: self.last() }
    }

    /// Highest index that the entries tell to be committed.
    pub fn committed(&self) -> LogIndex {
        self.committed
    }

    /// Bytes to read from the log at a time; with 0 nobody will ever ask for old entries.
    pub(crate) fn set_fetch_bytes(&mut self, bytes: u64) {
        self.fetch_bytes = bytes;
        if bytes == 0 {
            self.places = Vec::new();
        }
    }

    pub(crate) fn end(&self) -> LogOffset {
        self.end
    }

    pub(crate) fn place(&self, layout: Layout, payload_len: usize) -> Place {
        layout.place(self.end, payload_len)
    }

    pub(crate) fn append(&mut self, entry: EngineEntry, at: LogOffset) {
        debug_assert_eq!(entry.index, self.last_held() + 1, "entries follow each other");
        if self.terms.last().is_none_or(|(_, term)| *term != entry.term) {
            self.terms.push((entry.index, entry.term));
        }
        let is_far = self.places.last().is_none_or(|(_, last)| at.get() - last.get() >= STRIDE);
        if is_far && self.fetch_bytes > 0 {
            self.places.push((entry.index, at));
        }
        // Whoever applies the log refuses one that cannot be read.
        if entry.get_entry_type() != EntryType::EntryNormal
            && let Ok(change) = Change::decode(&entry.data)
        {
            self.roll.append(entry.index, change);
        }
        self.end = at + frame_len(entry.data.len());
        self.held_bytes += entry.data.len() as u64;
        self.held.push_back((entry, at));
    }

    /// Forgets all entries after this one, which is applied or held.
    pub(crate) fn truncate(&mut self, last: u64) -> Keep {
        while let Some((entry, _)) = self.held.pop_back_if(|(entry, _)| entry.index > last) {
            self.held_bytes -= entry.data.len() as u64;
        }
        self.terms.truncate(self.terms.partition_point(|(first, _)| *first <= last).max(1));
        self.places.truncate(self.places.partition_point(|(index, _)| *index <= last));
        self.roll.truncate(last);
        match self.held.back() {
            Some((entry, at)) => {
                self.end = *at + frame_len(entry.data.len());
                Keep::Through { index: LogIndex::new(entry.index), at: *at }
            }
            None => {
                self.end = self.before.1;
                self.before.0
            }
        }
    }

    /// Forgets applied entries that are too much.
    pub(crate) fn trim(&mut self, applied: u64, budget: u64) {
        while self.held_bytes > budget || budget == 0 {
            let Some((entry, at)) = self.held.pop_front_if(|(entry, _)| entry.index <= applied) else {
                break;
            };
            self.held_bytes -= entry.data.len() as u64;
            let keep = Keep::Through { index: LogIndex::new(entry.index), at };
            self.before = (keep, at + frame_len(entry.data.len()));
        }
    }

    /// The log begins after this entry now. What is held stays.
    pub(crate) fn drop_head(&mut self, last: u64) {
        let last = last.min(self.before_held());
        if last <= self.head() {
            return;
        }
        let term = self.term_of(last);
        self.terms.retain(|(first, _)| *first > last);
        self.terms.insert(0, (last, term));
        self.places.retain(|(index, _)| *index > last);
    }

    /// The place of an entry that is held or was just read.
    pub(crate) fn place_of(&self, index: u64) -> Option<LogOffset> {
        if let Some((_, at)) = self.get(index) {
            return Some(*at);
        }
        let fetches = self.fetches.borrow();
        fetches.read.iter().find(|(entry, _)| entry.index == index).map(|(_, at)| *at)
    }

    /// How many bytes of log follow an entry, or a little more if it is not held: at most [`STRIDE`].
    pub(crate) fn bytes_after(&self, index: u64) -> u64 {
        if index >= self.last_held() {
            return 0;
        }
        let before = self.places.partition_point(|(known, _)| *known <= index + 1);
        let known = || before.checked_sub(1).map_or(LogOffset::ZERO, |at| self.places[at].1);
        let start = self.get(index + 1).map_or_else(known, |(_, at)| *at);
        self.end.get() - start.get()
    }

    pub(crate) fn get(&self, index: u64) -> Option<&(EngineEntry, LogOffset)> {
        self.held.get(index.checked_sub(self.before_held() + 1)? as usize)
    }

    /// Index of the entry before the first one of the log.
    pub(crate) fn head(&self) -> u64 {
        self.terms[0].0
    }

    /// Index of the entry before the first one held.
    pub(crate) fn before_held(&self) -> u64 {
        self.before.0.index().get()
    }

    pub(crate) fn last_held(&self) -> u64 {
        self.before_held() + self.held.len() as u64
    }

    /// The term of an entry, which is neither before the head nor after the end.
    pub(crate) fn term_of(&self, index: u64) -> u64 {
        let after = self.terms.partition_point(|(first, _)| *first <= index);
        self.terms[after.saturating_sub(1)].1
    }

    /// Held entries in the range, which must be held: at least one, and no more than so many bytes.
    pub(crate) fn held_entries(&self, low: u64, high: u64, max_bytes: u64) -> Vec<EngineEntry> {
        let first = (low - self.before_held() - 1) as usize;
        let last = (high - self.before_held() - 1) as usize;
        bounded(self.held.range(first..last).map(|(entry, _)| entry), max_bytes)
    }

    /// Entries that were fetched, if these are the ones.
    pub(crate) fn read_entries(&self, low: u64, high: u64, max_bytes: u64) -> Option<Vec<EngineEntry>> {
        let fetches = self.fetches.borrow();
        let found = fetches.read.iter().map(|(entry, _)| entry);
        let found = bounded(found.filter(|entry| (low..high).contains(&entry.index)), max_bytes);
        found.first().is_some_and(|first| first.index == low).then_some(found)
    }

    /// Asks for entries that are not held, unless they are being fetched already.
    pub(crate) fn want(&self, low: u64, high: u64, context: GetEntriesContext) {
        let mut fetches = self.fetches.borrow_mut();
        if let Some((_, _, waiting)) = fetches.under_way.iter_mut().find(|(first, ..)| *first == low) {
            if waiting.len() < WAITING {
                waiting.push(context);
            }
            return;
        }
        let before = self.places.partition_point(|(index, _)| *index <= low);
        // The first entry of the log has a place.
        let Some((_, start)) = before.checked_sub(1).map(|at| self.places[at]) else { return };
        fetches.last_number += 1;
        let number = fetches.last_number;
        let indexes = LogIndex::new(low)..LogIndex::new(high.min(self.before_held() + 1));
        let stretch = start..self.before.1;
        fetches.wanted.push(Fetch { number, indexes, stretch, max_bytes: self.fetch_bytes });
        fetches.under_way.push((low, number, vec![context]));
    }

    pub(crate) fn take_wanted(&mut self) -> Vec<Fetch> {
        std::mem::take(&mut self.fetches.get_mut().wanted)
    }

    /// Entries have been read: who waits for them can have them until they are forgotten.
    pub(crate) fn offer(&mut self, number: u64, entries: Vec<(Entry, LogOffset)>) -> Vec<GetEntriesContext> {
        let fetches = self.fetches.get_mut();
        let Some(found) = fetches.under_way.iter().position(|(_, of, _)| *of == number) else {
            return Vec::new();
        };
        fetches.read = entries.into_iter().map(|(entry, at)| (entry_to_engine(entry), at)).collect();
        let last = fetches.read.last().map(|(entry, at)| (entry.index, *at));
        let waiting = fetches.under_way.swap_remove(found).2;
        if let Some((index, at)) = last {
            self.learn_place(index, at);
        }
        waiting
    }

    /// An entry was met here: the next fetch need not look for its place from further away.
    fn learn_place(&mut self, index: u64, at: LogOffset) {
        let after = self.places.partition_point(|(known, _)| *known <= index);
        let before = after.checked_sub(1).map(|before| self.places[before].1);
        if before.is_none_or(|before| at.get() - before.get() >= STRIDE) {
            self.places.insert(after, (index, at));
        }
    }

    pub(crate) fn forget_read(&mut self) {
        self.fetches.get_mut().read = Vec::new();
    }
}

/// At least one, as the engine's contract wants, and no more than so many bytes.
fn bounded<'a>(entries: impl Iterator<Item = &'a EngineEntry>, max_bytes: u64) -> Vec<EngineEntry> {
    let mut bytes = 0;
    let mut out = Vec::new();
    for entry in entries {
        bytes += entry.data.len() as u64;
        if !out.is_empty() && bytes > max_bytes {
            break;
        }
        out.push(entry.clone());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Places that are remembered once so many entries, each as far from the next as places are, were appended and applied.
    fn places(fetch_bytes: u64, entries: u64) -> usize {
        let mut log = LogView::after(Mark::default(), Term::ZERO);
        log.set_fetch_bytes(fetch_bytes);
        for index in 1..=entries {
            let entry = EngineEntry { index, term: 1, ..EngineEntry::default() };
            log.append(entry, LogOffset::new(index * STRIDE));
            log.trim(index, 0);
        }
        log.places.len()
    }

    #[test]
    fn a_head_that_is_dropped_takes_its_places_and_terms_along() {
        let mut log = LogView::after(Mark::default(), Term::ZERO);
        for index in 1..=100 {
            let entry = EngineEntry { index, term: 1 + index / 10, ..EngineEntry::default() };
            log.append(entry, LogOffset::new(index * STRIDE));
        }
        log.drop_head(50);
        assert_eq!((log.head(), log.places.len()), (0, 100), "all of them are held");
        log.trim(90, 0);
        log.drop_head(55);
        assert_eq!((log.head(), log.terms.len(), log.places.len()), (55, 6, 45));
        assert_eq!((log.term_of(55), log.term_of(59), log.term_of(60), log.term_of(100)), (6, 6, 7, 11));
        log.drop_head(20);
        assert_eq!(log.head(), 55);
    }

    #[test]
    fn a_log_that_nobody_fetches_from_takes_no_memory_as_it_grows() {
        assert_eq!(places(1 << 20, 100), 100);
        assert_eq!(places(0, 100), 0);
    }
}
