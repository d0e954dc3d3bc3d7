//! Calls in flight: a crash falls somewhere into a window, and keeps its order.

use steadfast_store::disk::{BLOCK, write_all};

use super::*;

/// A disk whose calls are done when the world says so, with an empty file that is durable.
fn deferred() -> (VirtualDisk, crate::disk::VirtualFile) {
    let disk = disk();
    durable_file(&disk, "d", &[]);
    disk.defer();
    let file = disk.open("d", Mode::Durable).unwrap();
    (disk, file)
}

/// The first and the second block of a file, where they are whole: old is 0, torn None.
fn blocks(content: Option<Vec<u8>>) -> Vec<Option<u8>> {
    let mut content = content.unwrap();
    content.resize(2 * BLOCK, 0);
    let whole = |block: &[u8]| block.iter().all(|byte| *byte == block[0]).then(|| block[0]);
    content.chunks(BLOCK).map(whole).collect()
}

fn block_outcomes(disk: &VirtualDisk, crash: fn(&VirtualDisk, &mut Rng)) -> BTreeSet<Vec<Option<u8>>> {
    outcomes(disk, "d", crash).into_iter().map(blocks).collect()
}

fn cut(disk: &VirtualDisk, rng: &mut Rng) {
    disk.power_cut(rng);
}

fn kill(disk: &VirtualDisk, rng: &mut Rng) {
    disk.process_kill(rng);
}

#[test]
fn a_durable_write_in_flight_lands_whole_partly_or_not() {
    let (disk, file) = deferred();
    write_all(&file, &[1; BLOCK], 0).unwrap();
    let submitted = disk.take_window();
    assert_eq!((submitted.changes, disk.in_flight()), (1, 1));
    assert!(submitted.latency.get() >= 50);
    assert_eq!(disk.peek("d").unwrap(), vec![1; BLOCK], "readers see it at once");
    for crash in [cut, kill] {
        let seen = block_outcomes(&disk, crash);
        assert_eq!(seen, [None, Some(0), Some(1)].map(|first| vec![first, Some(0)]).into());
    }
    assert!(disk.settle(submitted.window));
    for crash in [cut, kill] {
        assert_eq!(block_outcomes(&disk, crash), [vec![Some(1), Some(0)]].into());
    }
    assert!(!disk.settle(submitted.window), "only once");
}

#[test]
fn writes_of_one_window_land_in_their_order() {
    let (disk, file) = deferred();
    write_all(&file, &[1; BLOCK], 0).unwrap();
    write_all(&file, &[2; BLOCK], BLOCK as u64).unwrap();
    let seen = block_outcomes(&disk, cut);
    assert!(seen.iter().all(|blocks| blocks[1] == Some(0) || blocks[0] == Some(1)), "{seen:?}");
    let both = [[Some(0), Some(0)], [Some(1), Some(0)], [Some(1), Some(2)]];
    assert!(both.iter().all(|blocks| seen.contains(blocks.as_slice())), "{seen:?}");
}

#[test]
fn windows_of_different_writers_land_in_any_order() {
    let (disk, file) = deferred();
    write_all(&file, &[1; BLOCK], 0).unwrap();
    let first = disk.take_window();
    write_all(&file, &[2; BLOCK], BLOCK as u64).unwrap();
    let second = disk.take_window();
    let seen = block_outcomes(&disk, cut);
    assert!(seen.contains([Some(0), Some(2)].as_slice()) && seen.contains([Some(1), Some(0)].as_slice()));
    assert!(disk.settle(second.window));
    assert!(block_outcomes(&disk, cut).iter().all(|blocks| blocks[1] == Some(2)));
    assert!(disk.settle(first.window));
    assert_eq!(block_outcomes(&disk, kill), [vec![Some(1), Some(2)]].into());
}

#[test]
fn the_tail_block_can_be_written_again_once_it_is_settled() {
    let (disk, file) = deferred();
    write_all(&file, &[1; BLOCK], 0).unwrap();
    disk.settle_all();
    write_all(&file, &[2; BLOCK], 0).unwrap();
    let seen = block_outcomes(&disk, cut);
    assert_eq!(seen, [None, Some(1), Some(2)].map(|first| vec![first, Some(0)]).into());
}

#[test]
#[should_panic(expected = "are written again while")]
fn two_writes_in_flight_must_not_share_a_block() {
    let (disk, file) = deferred();
    write_all(&file, &[1; 2 * BLOCK], 0).unwrap();
    disk.take_window();
    write_all(&file, &[2; BLOCK], BLOCK as u64).unwrap();
}

#[test]
fn a_sync_in_flight_promises_nothing_yet() {
    let disk = disk();
    durable_file(&disk, "f", &sectors(&[1]));
    disk.defer();
    let file = disk.open("f", Mode::Buffered).unwrap();
    write_all(&file, &sectors(&[2]), 0).unwrap();
    file.sync().unwrap();
    write_all(&file, &sectors(&[3]), 0).unwrap();
    let all = [1, 2, 3].map(|byte| Some(sectors(&[byte])));
    assert_eq!(outcomes(&disk, "f", cut), all.clone().into());
    disk.settle_all();
    assert_eq!(outcomes(&disk, "f", cut), all[1..].iter().cloned().collect());
}

/// The classic way to replace a file; a crash at any point must leave the old or the new content, and once
/// the renamed name can be there, the content is, too.
#[test]
fn write_sync_rename_is_atomic() {
    let disk = disk();
    durable_file(&disk, "f", &sectors(&[1, 1]));
    disk.defer();
    let file = disk.open("f.tmp", Mode::Buffered).unwrap();
    write_all(&file, &sectors(&[2, 2]), 0).unwrap();
    file.sync().unwrap();
    disk.rename("f.tmp", "f").unwrap();
    disk.sync_dir("").unwrap();
    for crash in [cut, kill] {
        let seen = outcomes(&disk, "f", crash);
        assert_eq!(seen, [[1, 1], [2, 2]].map(|bytes| Some(sectors(&bytes))).into());
    }
    disk.settle_all();
    assert_eq!(outcomes(&disk, "f", cut), [Some(sectors(&[2, 2]))].into());
}

/// The same without the sync: the simulator must find what is wrong with it.
#[test]
fn rename_without_sync_is_found_out() {
    let disk = disk();
    durable_file(&disk, "f", &sectors(&[1, 1]));
    disk.defer();
    let file = disk.open("f.tmp", Mode::Buffered).unwrap();
    write_all(&file, &sectors(&[2, 2]), 0).unwrap();
    disk.rename("f.tmp", "f").unwrap();
    disk.sync_dir("").unwrap();
    disk.settle_all();
    let seen: BTreeSet<_> =
        outcomes(&disk, "f", cut).into_iter().map(|content| summary(&content.unwrap())).collect();
    assert!(seen.contains(&vec![]) && seen.contains(&vec![Some(0), Some(2)]), "{seen:?}");
}

#[test]
fn a_kill_falls_between_any_two_calls() {
    let disk = disk();
    durable_file(&disk, "f", &[]);
    disk.defer();
    let file = disk.open("f", Mode::Buffered).unwrap();
    for byte in 1..=3 {
        write_all(&file, &sectors(&[byte]), SECTOR as u64 * (u64::from(byte) - 1)).unwrap();
    }
    let prefixes = [&[][..], &[1], &[1, 2], &[1, 2, 3]].map(|bytes| Some(sectors(bytes)));
    assert_eq!(outcomes(&disk, "f", kill), prefixes.into());
}

#[test]
fn a_kill_undoes_names_that_were_never_made() {
    let disk = disk();
    disk.defer();
    for name in ["1", "2"] {
        disk.open(name, Mode::Buffered).unwrap();
    }
    let names = |seed| {
        let fork = disk.fork();
        fork.process_kill(&mut Rng::new(seed));
        fork.paths().concat()
    };
    let seen: BTreeSet<String> = (0..100).map(names).collect();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["", "1", "12"], "in order");
}

#[test]
fn settling_after_a_crash_changes_nothing() {
    let (disk, file) = deferred();
    write_all(&file, &[1; BLOCK], 0).unwrap();
    let submitted = disk.take_window();
    disk.power_cut(&mut Rng::new(3));
    let left = disk.digest();
    assert!(!disk.settle(submitted.window));
    assert_eq!((disk.digest(), disk.in_flight()), (left, 0));
}
