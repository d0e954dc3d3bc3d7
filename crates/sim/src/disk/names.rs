//! The names of files: those that are durable, and a journal of changes that are not yet.

use std::collections::{BTreeMap, BTreeSet};

use super::inode::InodeNo;
use super::window::{Stamp, WindowId};
use crate::rng::Rng;

/// The directory part of a path.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

#[derive(Debug, Clone)]
struct Change {
    stamp: Stamp,
    /// New meanings of names; None removes one. A rename has two and happens as a whole.
    names: Vec<(String, Option<InodeNo>)>,
}

impl Change {
    /// Whether syncing `dir` makes it durable: the directory of the name it is about in the end.
    fn is_in(&self, dir: &str) -> bool {
        self.names.last().is_some_and(|(path, _)| parent(path) == dir)
    }

    fn apply(&self, names: &mut BTreeMap<String, InodeNo>) {
        for (path, inode) in &self.names {
            match inode {
                Some(inode) => names.insert(path.clone(), *inode),
                None => names.remove(path),
            };
        }
    }
}

/// The names on a disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    durable: BTreeMap<String, InodeNo>,
    journal: Vec<Change>,
    visible: BTreeMap<String, InodeNo>,
}

impl Names {
    pub(super) fn get(&self, path: &str) -> Option<InodeNo> {
        self.visible.get(path).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, InodeNo)> {
        self.visible.iter().map(|(path, inode)| (path.as_str(), *inode))
    }

    /// Files that have a name, had one that may come back, or may get one.
    pub(super) fn referenced(&self) -> BTreeSet<InodeNo> {
        let journal = self.journal.iter().flat_map(|change| &change.names).filter_map(|(_, inode)| *inode);
        self.durable.values().chain(self.visible.values()).copied().chain(journal).collect()
    }

    /// Changes what names mean; all of it or nothing.
    pub(super) fn change(&mut self, stamp: Stamp, names: Vec<(String, Option<InodeNo>)>) {
        let change = Change { stamp, names };
        change.apply(&mut self.visible);
        self.journal.push(change);
    }

    /// Changes what a name means, durably and at once: damage or test set-up.
    pub(super) fn force(&mut self, path: &str, inode: Option<InodeNo>) {
        self.journal.retain(|change| change.names.iter().all(|(name, _)| name != path));
        Change { stamp: Stamp::default(), names: vec![(path.to_owned(), inode)] }.apply(&mut self.durable);
        self.replay();
    }

    /// Completes a sync of `dir` that was called at `seq`.
    pub(super) fn settle(&mut self, dir: &str, seq: u64) {
        let durable = &mut self.durable;
        self.journal.retain(|change| {
            let done = change.stamp.seq < seq && change.is_in(dir);
            if done {
                change.apply(durable);
            }
            !done
        });
    }

    /// Forgets what the window did after `seq`: it never happened.
    pub(super) fn undo_after(&mut self, window: WindowId, seq: u64) {
        self.journal.retain(|change| change.stamp.window != window || change.stamp.seq <= seq);
        self.replay();
    }

    /// Forgets one change.
    pub(super) fn undo(&mut self, seq: u64) {
        self.journal.retain(|change| change.stamp.seq != seq);
        self.replay();
    }

    fn replay(&mut self) {
        self.visible = self.durable.clone();
        for change in &self.journal {
            change.apply(&mut self.visible);
        }
    }

    /// The power goes: each change that is not durable has happened or not.
    pub(super) fn cut(&mut self, keep: u64, rng: &mut Rng) {
        for change in std::mem::take(&mut self.journal) {
            if rng.percent(keep) {
                change.apply(&mut self.durable);
            }
        }
        self.replay();
    }
}
