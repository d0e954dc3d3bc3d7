//! The payload of an entry: parsing ends, and what it reports lies within the payload.

use bytes::Bytes;
use steadfast_store::log::{Batch, Entry, Kind, TableEntry, head_len};
use steadfast_types::record::records;
use steadfast_types::{LogIndex, Term};

pub(crate) fn run(data: &[u8]) {
    let payload = Bytes::copy_from_slice(data);
    let entry =
        Entry { index: LogIndex::new(1), term: Term::new(1), kind: Kind::Batch, payload: payload.clone() };
    let _ = entry.commit();
    let Ok(batch) = Batch::parse(payload) else { return };
    let damaged = batch.damaged();
    let mut end = 0;
    for (i, TableEntry { range, .. }) in batch.records().enumerate() {
        assert!(range.start >= end && range.end <= data.len());
        end = range.end;
        if !damaged.contains(&i) {
            let _ = records(&data[range]).count();
        }
    }
    assert_eq!(end.max(head_len(batch.len())), data.len());
}
