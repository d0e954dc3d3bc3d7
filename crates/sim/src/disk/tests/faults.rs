//! Errors, short writes and lies.

use steadfast_store::disk::{BLOCK, write_all};

use super::*;
use crate::disk::{Effect, Fault, Op};

fn cut(disk: &VirtualDisk, rng: &mut Rng) {
    disk.power_cut(rng);
}

#[test]
fn faults_strike_where_when_and_as_often_as_planned() {
    let disk = disk();
    durable_file(&disk, "1", b"x");
    let file = disk.open("1", Mode::Buffered).unwrap();
    let reads = |n: usize| (0..n).map(|_| file.read_at(&mut [0], 0).is_ok()).collect::<Vec<_>>();
    disk.plan(Fault::once(Op::Read, Effect::Error).on("1").after(1).times(2));
    assert_eq!(reads(4), [true, false, false, true]);
    assert_eq!(disk.faults(), 0);
    disk.plan(Fault::once(Op::Read, Effect::Error).on("other"));
    assert_eq!(reads(1), [true]);
    disk.plan(Fault::sticky(Op::Any, Effect::Error).on("1"));
    assert_eq!(reads(3), [false; 3]);
    assert!(file.write_at(b"y", 0).is_err() && file.sync().is_err());
    assert!(
        disk.open("1", Mode::Read).is_err() && disk.remove("1").is_err() && disk.rename("1", "2").is_err()
    );
    assert!(disk.list("").is_ok() && disk.sync_dir("").is_ok(), "of another path");
    disk.heal();
    assert_eq!(reads(1), [true]);
}

#[test]
fn every_kind_of_call_can_fail() {
    let disk = disk();
    durable_file(&disk, "f", b"x");
    for op in [Op::Open, Op::Rename, Op::Remove, Op::SyncDir, Op::List] {
        disk.plan(Fault::once(op, Effect::Error));
    }
    assert!(disk.open("f", Mode::Read).is_err());
    assert!(disk.rename("f", "g").is_err() && disk.remove("f").is_err());
    assert!(disk.sync_dir("").is_err() && disk.list("").is_err());
    assert_eq!(disk.list("").unwrap(), ["f"], "once, and without effect");
}

/// fsyncgate: the second sync succeeds, and the data is gone all the same.
#[test]
fn a_sync_after_a_failed_sync_proves_nothing() {
    let disk = disk();
    durable_file(&disk, "f", &sectors(&[1]));
    let file = disk.open("f", Mode::Buffered).unwrap();
    write_all(&file, &sectors(&[2]), 0).unwrap();
    disk.plan(Fault::once(Op::Sync, Effect::Error));
    file.sync().unwrap_err();
    file.sync().unwrap();
    assert_eq!(disk.peek("f").unwrap(), sectors(&[2]), "the page cache still has it");
    let both = [1, 2].map(|byte| Some(sectors(&[byte])));
    assert_eq!(outcomes(&disk, "f", cut), both.clone().into());
    assert_eq!(outcomes(&disk, "f", |disk, rng| disk.evict(rng)), both.clone().into());
    assert_eq!(outcomes(&disk, "f", |disk, rng| disk.process_kill(rng)), both.into());
    // What is written anew is dirty again.
    write_all(&file, &sectors(&[3]), 0).unwrap();
    file.sync().unwrap();
    assert_eq!(outcomes(&disk, "f", cut), [Some(sectors(&[3]))].into());
}

#[test]
fn a_failed_write_leaves_any_of_its_sectors() {
    for (mode, path) in [(Mode::Durable, "d"), (Mode::Buffered, "b")] {
        let mut seen = BTreeSet::new();
        for seed in 0..20 {
            let disk = VirtualDisk::new(Rng::new(seed));
            durable_file(&disk, path, &[0; BLOCK]);
            let file = disk.open(path, mode).unwrap();
            disk.plan(Fault::once(Op::Write, Effect::Error));
            file.write_at(&[1; BLOCK], 0).unwrap_err();
            seen.extend(summary(&disk.peek(path).unwrap()));
        }
        assert_eq!(seen, [Some(0), Some(1)].into(), "old and new sectors, none mixed");
    }
}

#[test]
fn short_writes_say_how_much_they_took() {
    let disk = disk();
    let file = disk.open("f", Mode::Durable).unwrap();
    disk.plan(Fault::once(Op::Write, Effect::Short));
    let written = file.write_at(&[1; 2 * BLOCK], 0).unwrap();
    assert!(written > 0 && written < 2 * BLOCK && written.is_multiple_of(SECTOR), "{written}");
    assert_eq!(disk.peek("f").unwrap(), vec![1; written]);
    let file = disk.open("g", Mode::Buffered).unwrap();
    disk.plan(Fault::once(Op::Write, Effect::Short));
    assert!((1..10).contains(&file.write_at(&[1; 10], 0).unwrap()));
}

#[test]
fn a_lying_disk_says_yes_and_does_nothing() {
    let disk = disk();
    durable_file(&disk, "f", &sectors(&[1]));
    disk.plan(Fault::once(Op::Write, Effect::Lost));
    let file = disk.open("f", Mode::Buffered).unwrap();
    write_all(&file, &sectors(&[2]), 0).unwrap();
    file.sync().unwrap();
    assert_eq!(disk.peek("f").unwrap(), sectors(&[2]));
    assert!(outcomes(&disk, "f", cut).contains(&Some(sectors(&[1]))));

    durable_file(&disk, "s", &sectors(&[1]));
    let file = disk.open("s", Mode::Buffered).unwrap();
    write_all(&file, &sectors(&[2]), 0).unwrap();
    disk.plan(Fault::once(Op::Sync, Effect::Lost));
    file.sync().unwrap();
    assert!(outcomes(&disk, "s", cut).contains(&Some(sectors(&[1]))));

    durable_file(&disk, "d", &[0; BLOCK]);
    disk.plan(Fault::once(Op::Write, Effect::Lost));
    let file = disk.open("d", Mode::Durable).unwrap();
    write_all(&file, &[1; BLOCK], 0).unwrap();
    assert_eq!(disk.peek("d").unwrap(), vec![0; BLOCK]);
}
