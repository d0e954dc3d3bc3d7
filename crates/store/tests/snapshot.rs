//! Snapshots: two generations, and nothing that happens to one loses the other.

mod common;

use bytes::Bytes;
use common::MemDisk;
use proptest::prelude::*;
use steadfast_store::snapshot::{self, Loaded, SnapshotError, Undecodable};
use steadfast_types::LogIndex;

const DIR: &str = "group/snapshot";

fn path(index: u64) -> String {
    format!("{DIR}/{index:020}")
}

fn state_of(index: u64) -> Vec<u8> {
    format!("state at {index}").into_bytes()
}

/// A disk on which snapshots of these indexes were written in this order.
fn disk_with(indexes: &[u64]) -> MemDisk {
    let disk = MemDisk::default();
    for index in indexes {
        snapshot::write(&disk, DIR, LogIndex::new(*index), &state_of(*index)).expect("the disk works");
    }
    disk
}

fn load(disk: &MemDisk) -> Result<Option<Loaded<Bytes>>, SnapshotError> {
    snapshot::load(disk, DIR, Ok)
}

fn loaded_index(disk: &MemDisk) -> u64 {
    let loaded = load(disk).expect("loads").expect("is there");
    assert_eq!(loaded.content, state_of(loaded.index.get()));
    loaded.index.get()
}

#[test]
fn there_may_be_none() {
    assert!(load(&MemDisk::default()).unwrap().is_none());
}

#[test]
fn the_newest_two_generations_stay() {
    let disk = disk_with(&[1, 20, 300]);
    assert_eq!(disk.paths(), [path(20), path(300)]);
    assert_eq!(loaded_index(&disk), 300);
    assert_eq!(snapshot::read(&disk, DIR, LogIndex::new(20)).unwrap(), state_of(20));
}

#[test]
fn a_damaged_newest_generation_is_passed_over_and_named() {
    let disk = disk_with(&[1, 2]);
    disk.flip(&path(2), 30);
    let loaded = load(&disk).unwrap().unwrap();
    assert_eq!(loaded.index, LogIndex::new(1));
    assert_eq!(loaded.damaged.len(), 1);
    assert_eq!(loaded.damaged[0].file, path(2));
}

#[test]
fn a_damaged_generation_is_not_one_of_the_two() {
    let disk = disk_with(&[1, 5]);
    disk.flip(&path(5), 30);
    snapshot::write(&disk, DIR, LogIndex::new(3), &state_of(3)).unwrap();
    assert_eq!(disk.paths(), [path(1), path(3)]);
}

#[test]
fn when_all_are_damaged_all_are_named() {
    let disk = disk_with(&[1, 2]);
    disk.flip(&path(1), 0);
    disk.flip(&path(2), 0);
    let Err(SnapshotError::AllDamaged(damaged)) = load(&disk) else { panic!("not refused") };
    assert_eq!(damaged.iter().map(|d| d.file.clone()).collect::<Vec<_>>(), [path(2), path(1)]);
}

#[test]
fn every_flipped_byte_and_every_truncation_is_damage() {
    let disk = disk_with(&[7]);
    let whole = disk.get(&path(7));
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        disk.put(&path(7), &bytes);
        assert!(matches!(load(&disk), Err(SnapshotError::AllDamaged(_))), "byte {at}");
        disk.put(&path(7), &whole[..at]);
        assert!(matches!(load(&disk), Err(SnapshotError::AllDamaged(_))), "length {at}");
    }
    disk.put(&path(7), &[whole, vec![0]].concat());
    assert!(matches!(load(&disk), Err(SnapshotError::AllDamaged(_))));
}

#[test]
fn a_snapshot_under_another_name_is_damage() {
    let disk = disk_with(&[7]);
    let bytes = disk.get(&path(7));
    disk.put(&path(8), &bytes);
    assert_eq!(loaded_index(&disk), 7);
}

#[test]
fn a_newer_format_is_refused_though_an_older_generation_is_there() {
    let disk = disk_with(&[1, 2]);
    let mut bytes = disk.get(&path(2));
    bytes[7] += 1;
    let content_len = bytes.len() - 4;
    let crc = crc32c::crc32c(&bytes[..content_len]);
    bytes[content_len..].copy_from_slice(&crc.to_be_bytes());
    disk.put(&path(2), &bytes);
    let result = load(&disk);
    assert!(matches!(result, Err(SnapshotError::NewerFormat { found: 2, known: 1, .. })), "{result:?}");
}

/// A generation that was wrong already when its checksum was made is no better than a damaged one.
#[test]
fn a_generation_that_does_not_decode_is_passed_over_and_named() {
    let disk = disk_with(&[1, 2]);
    let decode = |payload: Bytes| match &payload[..] {
        b"state at 1" => Ok("one"),
        _ => Err(Undecodable::Malformed),
    };
    let loaded = snapshot::load(&disk, DIR, decode).unwrap().unwrap();
    assert_eq!((loaded.index, loaded.content), (LogIndex::new(1), "one"));
    assert_eq!(loaded.damaged[0].file, path(2));
    let newer = snapshot::load(&disk, DIR, |_| Err::<(), _>(Undecodable::Newer { found: 9, known: 5 }));
    assert!(matches!(newer, Err(SnapshotError::NewerFormat { found: 9, known: 5, .. })), "{newer:?}");
}

/// How far the log was committed is taken from a name only if what it names verifies.
#[test]
fn the_name_of_a_file_that_does_not_verify_counts_for_nothing() {
    let disk = disk_with(&[1, 2]);
    disk.put(&path(999), &[7; 700]);
    disk.put(&path(998), &disk.get(&path(2)));
    assert_eq!(snapshot::newest_intact(&disk, DIR).unwrap(), Some(LogIndex::new(2)));
    assert_eq!(snapshot::newest_intact(&MemDisk::default(), DIR).unwrap(), None);
}

#[test]
fn leftovers_are_removed_and_other_files_are_left_alone() {
    let disk = disk_with(&[1]);
    disk.put(&format!("{}.tmp", path(2)), b"half");
    disk.put(&format!("{DIR}/README"), b"not ours");
    assert_eq!(loaded_index(&disk), 1);
    assert_eq!(disk.paths(), [path(1), format!("{DIR}/README")]);
}

#[test]
fn a_longer_leftover_does_not_show_through() {
    let disk = disk_with(&[1]);
    disk.put(&format!("{}.tmp", path(2)), &[9; 1000]);
    snapshot::write(&disk, DIR, LogIndex::new(2), &state_of(2)).unwrap();
    assert_eq!(loaded_index(&disk), 2);
}

#[test]
fn what_reads_back_otherwise_gets_no_name() {
    let disk = disk_with(&[1, 2]);
    let before = disk.dump();
    disk.lie(true);
    assert!(matches!(
        snapshot::write(&disk, DIR, LogIndex::new(3), &state_of(3)),
        Err(SnapshotError::Damaged(_))
    ));
    assert_eq!(disk.dump(), before);
}

#[test]
fn a_stop_at_any_operation_leaves_a_valid_generation() {
    let disk = disk_with(&[1, 2]);
    for operations in 0.. {
        let disk = disk.copy();
        disk.stop_after(operations);
        let written = snapshot::write(&disk, DIR, LogIndex::new(3), &state_of(3));
        disk.stop_after(-1);
        let index = loaded_index(&disk);
        assert!(index >= 2, "after {operations} operations");
        assert!(written.is_err() || index == 3);
        snapshot::write(&disk, DIR, LogIndex::new(4), &state_of(4)).unwrap();
        assert_eq!(disk.paths().len(), 2);
        assert_eq!(loaded_index(&disk), 4);
        if written.is_ok() {
            return;
        }
    }
}

proptest! {
    #[test]
    fn any_payload_survives(index: u64, payload: Vec<u8>) {
        let disk = MemDisk::default();
        snapshot::write(&disk, DIR, LogIndex::new(index), &payload).unwrap();
        let loaded = load(&disk).unwrap().unwrap();
        prop_assert_eq!(loaded.index.get(), index);
        prop_assert_eq!(loaded.content, payload);
        prop_assert!(loaded.damaged.is_empty());
    }
}
