//! A file: what is durable, and what was written since. Every sector keeps the versions that it went through,
//! because after a power cut any of them may be on the medium.

use std::collections::BTreeMap;
use std::ops::Range;

use steadfast_store::disk::SECTOR;

use super::image::{Image, Sector, sector, sectors};
use super::window::{Stamp, WindowId};
use crate::rng::Rng;

/// Number of a file, whatever its name.
pub(super) type InodeNo = u64;

/// How a version of a sector came about and what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// In the page cache; the next sync writes it.
    Cached,
    /// In the page cache, but taken for written after a sync that failed: no later sync writes it.
    Orphaned,
    /// On its way to the medium past the page cache.
    Direct,
}

#[derive(Debug, Clone)]
struct Version<T> {
    stamp: Stamp,
    kind: Kind,
    value: T,
}

/// The versions of a sector or of the length since the durable one, oldest first.
type Versions<T> = Vec<Version<T>>;

/// More old versions than these find nothing that fewer do not.
const VERSIONS: usize = 6;

/// Adds a version and forgets an old one if there are many. `horizon` is the first call that a crash may still
/// undo or cut off: what was the newest at any call since then must stay.
fn push<T>(versions: &mut Versions<T>, version: Version<T>, horizon: u64) {
    versions.push(version);
    let forgettable = versions.len() > VERSIONS && versions[1].kind == versions[2].kind;
    if forgettable && versions[2].stamp.seq < horizon {
        versions.remove(1);
    }
}

/// A file.
#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    pub(super) durable: Image,
    dirty: BTreeMap<u64, Versions<Sector>>,
    lens: Versions<u64>,
    /// Open handles.
    pub(super) opens: u32,
}

impl Inode {
    /// The length that a running process sees.
    pub(super) fn len(&self) -> u64 {
        self.lens.last().map_or(self.durable.len, |version| version.value)
    }

    fn visible(&self, number: u64) -> Option<&[u8; SECTOR]> {
        match self.dirty.get(&number).and_then(|versions| versions.last()) {
            Some(version) => version.value.as_deref(),
            None => self.durable.get(number),
        }
    }

    /// Reads what a running process sees.
    pub(super) fn read(&self, buf: &mut [u8], at: u64) -> usize {
        let len = (self.len().saturating_sub(at)).min(buf.len() as u64) as usize;
        let buf = &mut buf[..len];
        buf.fill(0);
        let range = sectors(at, len);
        for (number, bytes) in self.durable.range(range.clone()) {
            overlay(buf, at, number, bytes);
        }
        for (number, versions) in self.dirty.range(range) {
            let newest = versions.last().map(|version| &version.value);
            overlay(buf, at, *number, newest.and_then(|value| value.as_deref()).unwrap_or(&[0; SECTOR]));
        }
        len
    }

    /// Whether these sectors are all zeros, whatever happens: a write of zeros changes nothing.
    fn is_blank(&self, range: Range<u64>) -> bool {
        self.dirty.range(range.clone()).next().is_none() && self.durable.range(range).next().is_none()
    }

    /// Writes the sectors for which `take` says so. See [`push`] for `horizon`.
    pub(super) fn write(
        &mut self,
        (stamp, horizon): (Stamp, u64),
        kind: Kind,
        (buf, at): (&[u8], u64),
        mut take: impl FnMut() -> bool,
    ) {
        let end = at + buf.len() as u64;
        let range = sectors(at, buf.len());
        let blank = is_zero(buf) && self.is_blank(range.clone());
        for number in range {
            if !take() || blank {
                continue;
            }
            let start = number * SECTOR as u64;
            let (from, to) = (start.max(at), (start + SECTOR as u64).min(end));
            let mut bytes = self.visible(number).copied().unwrap_or([0; SECTOR]);
            bytes[(from - start) as usize..(to - start) as usize]
                .copy_from_slice(&buf[(from - at) as usize..(to - at) as usize]);
            let versions = self.dirty.entry(number).or_default();
            push(versions, Version { stamp, kind, value: sector(&bytes) }, horizon);
        }
        if end > self.len() {
            push(&mut self.lens, Version { stamp, kind, value: end }, horizon);
        }
    }

    /// Completes a direct write.
    pub(super) fn settle_direct(&mut self, seq: u64, range: Range<u64>) {
        for number in range {
            self.harden(number, |version| version.stamp.seq == seq);
        }
        self.harden_len(|version| version.stamp.seq == seq);
    }

    /// Completes a sync that was called at `seq`.
    pub(super) fn settle_sync(&mut self, seq: u64) {
        let dirty: Vec<u64> = self.dirty.keys().copied().collect();
        for number in dirty {
            self.harden(number, |version| version.kind == Kind::Cached && version.stamp.seq < seq);
        }
        self.harden_len(|version| version.kind == Kind::Cached && version.stamp.seq < seq);
    }

    /// Makes the last version that qualifies durable, and forgets the earlier ones.
    fn harden(&mut self, number: u64, qualifies: impl Fn(&Version<Sector>) -> bool) {
        let Some(versions) = self.dirty.get_mut(&number) else { return };
        if let Some(last) = versions.iter().rposition(qualifies)
            && let Some(version) = versions.drain(..=last).next_back()
        {
            self.durable.put(number, version.value);
        }
        if versions.is_empty() {
            self.dirty.remove(&number);
        }
    }

    fn harden_len(&mut self, qualifies: impl Fn(&Version<u64>) -> bool) {
        if let Some(last) = self.lens.iter().rposition(qualifies)
            && let Some(version) = self.lens.drain(..=last).next_back()
        {
            self.durable.len = version.value;
        }
    }

    /// A sync failed: the kernel takes the pages for clean from now on.
    pub(super) fn orphan(&mut self) {
        fn orphan<T>(versions: &mut Versions<T>) {
            for version in versions.iter_mut().filter(|version| version.kind == Kind::Cached) {
                version.kind = Kind::Orphaned;
            }
        }
        self.dirty.values_mut().for_each(orphan);
        orphan(&mut self.lens);
    }

    /// The page cache drops some of the pages that it takes for clean: the old content shows again.
    pub(super) fn evict(&mut self, rng: &mut Rng) {
        self.dirty.retain(|_, versions| {
            if rng.percent(50) {
                versions.retain(|version| version.kind != Kind::Orphaned);
            }
            !versions.is_empty()
        });
    }

    /// Forgets what the window did after `seq`: it never happened.
    pub(super) fn undo_after(&mut self, window: WindowId, seq: u64) {
        let keep = |stamp: Stamp| stamp.window != window || stamp.seq <= seq;
        self.dirty.retain(|_, versions| {
            versions.retain(|version| keep(version.stamp));
            !versions.is_empty()
        });
        self.lens.retain(|version| keep(version.stamp));
    }

    /// A direct write was cut off: each of its sectors is on the medium or not.
    pub(super) fn tear_direct(&mut self, seq: u64, range: Range<u64>, rng: &mut Rng) {
        let keep = keep_percent(rng);
        for number in range {
            if rng.percent(keep) {
                self.harden(number, |version| version.stamp.seq == seq);
            }
        }
        if rng.percent(keep) {
            self.harden_len(|version| version.stamp.seq == seq);
        }
        self.drop_version(seq, |_| true);
        self.lens.retain(|version| version.stamp.seq != seq);
    }

    /// A write into the page cache was cut off: its first sectors are there.
    pub(super) fn tear_cached(&mut self, seq: u64, range: Range<u64>, rng: &mut Rng) {
        let kept = range.start + rng.below(range.end - range.start + 1);
        if kept == range.end {
            return;
        }
        self.drop_version(seq, |number| number >= kept);
        let end = kept * SECTOR as u64;
        let before = self.lens.iter().rfind(|version| version.stamp.seq < seq);
        let before = before.map_or(self.durable.len, |version| version.value);
        if kept == range.start {
            self.lens.retain(|version| version.stamp.seq != seq);
        }
        for version in self.lens.iter_mut().filter(|version| version.stamp.seq == seq) {
            version.value = end.max(before);
        }
    }

    fn drop_version(&mut self, seq: u64, here: impl Fn(u64) -> bool) {
        self.dirty.retain(|number, versions| {
            if here(*number) {
                versions.retain(|version| version.stamp.seq != seq);
            }
            !versions.is_empty()
        });
    }

    /// The power goes: of each sector, and of the length, any version may be what stays.
    pub(super) fn cut(&mut self, keep: u64, rng: &mut Rng) {
        for (number, versions) in std::mem::take(&mut self.dirty) {
            if let Some(value) = survivor(versions, keep, rng) {
                self.durable.put(number, value);
            }
        }
        let len = survivor(std::mem::take(&mut self.lens), keep, rng).unwrap_or(self.durable.len);
        self.durable.set_len(len);
        self.opens = 0;
    }
}

/// Whether all bytes are zero.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    let (words, tail) = bytes.as_chunks::<64>();
    words.iter().all(|word| *word == [0; 64]) && tail.iter().all(|byte| *byte == 0)
}

/// Puts the bytes of a sector where `buf`, which begins at `at`, wants them.
fn overlay(buf: &mut [u8], at: u64, number: u64, bytes: &[u8; SECTOR]) {
    let start = number * SECTOR as u64;
    let (from, to) = (start.max(at), (start + SECTOR as u64).min(at + buf.len() as u64));
    buf[(from - at) as usize..(to - at) as usize]
        .copy_from_slice(&bytes[(from - start) as usize..(to - start) as usize]);
}

/// How much of what was not durable survives; the extremes are as interesting as the middle.
pub(super) fn keep_percent(rng: &mut Rng) -> u64 {
    *rng.pick(&[0, 0, 5, 50, 95, 100, 100])
}

/// The version that survives; None is the durable one.
fn survivor<T>(mut versions: Versions<T>, keep: u64, rng: &mut Rng) -> Option<T> {
    if versions.is_empty() || !rng.percent(keep) {
        return None;
    }
    // Mostly the last: older ones were written back before they were overwritten.
    let chosen = if rng.percent(75) { versions.len() - 1 } else { rng.index(versions.len()) };
    Some(versions.swap_remove(chosen).value)
}
