//! The files of the log against what the log has: which are missing or have lost their ends, and which are to be freed.

use steadfast_store::disk::{Disk, DiskFile, Mode};
use steadfast_store::log::{Layout, segment_path};
use steadfast_types::LogOffset;

use super::OpenError;
use crate::broker::Broker;

/// How many files a warning names.
const NAMED: usize = 10;

/// Segments that the log has dropped and whose files are there.
pub(super) fn leftover(bases: &[LogOffset], broker: &Broker, end: LogOffset) -> Vec<LogOffset> {
    let tail = broker.layout.base_of(end);
    let is_leftover = |base: &LogOffset| *base < tail && !broker.state.segments.has(*base);
    bases.iter().copied().filter(is_leftover).collect()
}

/// Files of the log that are not what they were.
pub(super) struct Incomplete {
    missing: Vec<LogOffset>,
    /// With the length of each.
    short: Vec<(LogOffset, u64)>,
}

/// Looks for segments that have no file, and for those before the log's end whose files are not whole: no file is begun before
/// the one before it is full.
pub(super) fn incomplete<D: Disk>(
    disk: &D,
    bases: &[LogOffset],
    broker: &Broker,
    end: LogOffset,
) -> Result<Incomplete, OpenError> {
    let (size, tail) = (broker.layout.segment_size, broker.layout.base_of(end));
    let mut found = Incomplete { missing: Vec::new(), short: Vec::new() };
    for (base, _) in broker.state.segments.iter() {
        if bases.binary_search(&base).is_err() {
            found.missing.push(base);
        } else if base < tail {
            let len = disk.open(&segment_path(base), Mode::Read)?.len()?;
            if len < size {
                found.short.push((base, len));
            }
        }
    }
    Ok(found)
}

impl Incomplete {
    /// A place in each of them that lies behind all that is gone.
    pub(super) fn places(&self, layout: Layout) -> impl Iterator<Item = LogOffset> {
        let bases = self.missing.iter().chain(self.short.iter().map(|(base, _)| base));
        bases.map(move |base| *base + (layout.segment_size - 1))
    }

    /// What to tell of them.
    pub(super) fn warnings(&self, broker: &Broker) -> Vec<String> {
        let size = broker.layout.segment_size;
        let remedy = match broker.membership.is_alone() {
            true => "restore them from a copy, or see `steadfast repair`",
            false => "they are fetched from another replica",
        };
        let warning = |what: &str, files: Vec<String>| {
            let names = files[..files.len().min(NAMED)].join(", ");
            let more = files.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            (!files.is_empty()).then(|| {
                format!(
                    "files of the log {what}, and with them acknowledged messages: {names}{more}; {remedy}"
                )
            })
        };
        let missing = self.missing.iter().map(|base| segment_path(*base)).collect();
        let short =
            self.short.iter().map(|(base, len)| format!("{} ({len} of {size} bytes)", segment_path(*base)));
        let all = [warning("are missing", missing), warning("have lost their ends", short.collect())];
        all.into_iter().flatten().collect()
    }
}

/// Whether the log reaches back to the beginning.
pub(super) fn is_complete(bases: &[LogOffset], layout: Layout) -> bool {
    let adjacent = |pair: &[LogOffset]| pair[0] + layout.segment_size == pair[1];
    bases.first() == Some(&LogOffset::ZERO) && bases.windows(2).all(adjacent)
}
