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

/// Warns of segments that have no file, and of those before the log's end whose files are not whole: no file is begun before
/// the one before it is full.
pub(super) fn incomplete<D: Disk>(
    disk: &D,
    bases: &[LogOffset],
    broker: &Broker,
    end: LogOffset,
) -> Result<Vec<String>, OpenError> {
    let (size, tail) = (broker.layout.segment_size, broker.layout.base_of(end));
    let (mut missing, mut short) = (Vec::new(), Vec::new());
    for (base, _) in broker.state.segments.iter() {
        let path = segment_path(base);
        if bases.binary_search(&base).is_err() {
            missing.push(path);
        } else if base < tail {
            let len = disk.open(&path, Mode::Read)?.len()?;
            if len < size {
                short.push(format!("{path} ({len} of {size} bytes)"));
            }
        }
    }
    let warning = |what: &str, files: &[String]| {
        let names = files[..files.len().min(NAMED)].join(", ");
        let more = files.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!files.is_empty()).then(|| {
            format!(
                "files of the log {what}, and with them acknowledged messages: {names}{more}; restore them from a copy, or see \
                 `steadfast repair`"
            )
        })
    };
    Ok(warning("are missing", &missing).into_iter().chain(warning("have lost their ends", &short)).collect())
}

/// Whether the log reaches back to the beginning.
pub(super) fn is_complete(bases: &[LogOffset], layout: Layout) -> bool {
    let adjacent = |pair: &[LogOffset]| pair[0] + layout.segment_size == pair[1];
    bases.first() == Some(&LogOffset::ZERO) && bases.windows(2).all(adjacent)
}
