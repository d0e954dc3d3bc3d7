//! What crashes leave: everything that is durable, and any part of the rest.

use steadfast_store::disk::{BLOCK, write_all};

use super::*;

fn cut(disk: &VirtualDisk, rng: &mut Rng) {
    disk.power_cut(rng);
}

fn kill(disk: &VirtualDisk, rng: &mut Rng) {
    disk.process_kill(rng);
}

#[test]
fn what_was_synced_survives_every_crash() {
    let disk = disk();
    durable_file(&disk, "f", &sectors(&[1, 2, 3]));
    let durable = disk.open("d", Mode::Durable).unwrap();
    write_all(&durable, &[7; BLOCK], 0).unwrap();
    disk.sync_dir("").unwrap();
    for crash in [cut, kill] {
        assert_eq!(outcomes(&disk, "f", crash), [Some(sectors(&[1, 2, 3]))].into());
        assert_eq!(outcomes(&disk, "d", crash), [Some(vec![7; BLOCK])].into());
    }
}

#[test]
fn buffered_writes_survive_the_process_but_not_the_power() {
    let disk = disk();
    durable_file(&disk, "f", &sectors(&[1, 1]));
    let file = disk.open("f", Mode::Buffered).unwrap();
    write_all(&file, &sectors(&[2, 2]), 0).unwrap();
    assert_eq!(outcomes(&disk, "f", kill), [Some(sectors(&[2, 2]))].into());
    let all = [[1, 1], [1, 2], [2, 1], [2, 2]].map(|bytes| Some(sectors(&bytes)));
    assert_eq!(outcomes(&disk, "f", cut), all.into(), "every combination of old and new sectors");
}

#[test]
fn a_sector_may_show_any_version_since_the_last_sync() {
    let disk = disk();
    durable_file(&disk, "f", &sectors(&[1]));
    let file = disk.open("f", Mode::Buffered).unwrap();
    for byte in [2, 3] {
        write_all(&file, &sectors(&[byte]), 0).unwrap();
    }
    assert_eq!(outcomes(&disk, "f", cut), [1, 2, 3].map(|byte| Some(sectors(&[byte]))).into());
    file.sync().unwrap();
    write_all(&file, &sectors(&[4]), 0).unwrap();
    assert_eq!(outcomes(&disk, "f", cut), [3, 4].map(|byte| Some(sectors(&[byte]))).into());
}

#[test]
fn many_versions_keep_the_oldest_and_the_newest() {
    let disk = disk();
    durable_file(&disk, "f", &sectors(&[1]));
    let file = disk.open("f", Mode::Buffered).unwrap();
    for byte in 2..100 {
        write_all(&file, &sectors(&[byte]), 0).unwrap();
    }
    assert_eq!(disk.peek("f").unwrap(), sectors(&[99]));
    let seen = outcomes(&disk, "f", cut);
    assert!(seen.contains(&Some(sectors(&[1]))) && seen.contains(&Some(sectors(&[99]))));
    assert_eq!(outcomes(&disk, "f", kill), [Some(sectors(&[99]))].into());
    file.sync().unwrap();
    assert_eq!(outcomes(&disk, "f", cut), [Some(sectors(&[99]))].into());
}

#[test]
fn a_length_that_was_not_synced_may_be_old_or_new() {
    let disk = disk();
    durable_file(&disk, "f", &sectors(&[1]));
    let file = disk.open("f", Mode::Buffered).unwrap();
    write_all(&file, &sectors(&[2]), SECTOR as u64).unwrap();
    let (short, zeros, long) = (sectors(&[1]), sectors(&[1, 0]), sectors(&[1, 2]));
    assert_eq!(outcomes(&disk, "f", cut), [short, zeros, long].map(Some).into());

    // What was cut off does not come back when the file grows again.
    for seed in 0..50 {
        let fork = disk.fork();
        fork.power_cut(&mut Rng::new(seed));
        if fork.peek("f").unwrap().len() == SECTOR {
            let file = fork.open("f", Mode::Buffered).unwrap();
            write_all(&file, &[9], 3 * SECTOR as u64 - 1).unwrap();
            assert_eq!(fork.peek("f").unwrap()[SECTOR..3 * SECTOR - 1], [0; 2 * SECTOR - 1]);
        }
    }
}

#[test]
fn names_survive_the_power_only_when_synced() {
    let disk = disk();
    let file = disk.open("f", Mode::Buffered).unwrap();
    write_all(&file, b"x", 0).unwrap();
    file.sync().unwrap();
    assert_eq!(outcomes(&disk, "f", cut), [None, Some(b"x".to_vec())].into());
    assert_eq!(outcomes(&disk, "f", kill), [Some(b"x".to_vec())].into());
    disk.sync_dir("").unwrap();
    assert_eq!(outcomes(&disk, "f", cut), [Some(b"x".to_vec())].into());
    disk.remove("f").unwrap();
    assert_eq!(outcomes(&disk, "f", cut), [None, Some(b"x".to_vec())].into());
    disk.sync_dir("").unwrap();
    assert_eq!(outcomes(&disk, "f", cut), [None].into());
}

#[test]
fn only_the_synced_directory_is_durable() {
    let disk = disk();
    for dir in ["a", "b"] {
        disk.create_dir(dir).unwrap();
        disk.open(&format!("{dir}/f"), Mode::Durable).unwrap();
    }
    disk.sync_dir("a").unwrap();
    assert_eq!(outcomes(&disk, "a/f", cut), [Some(vec![])].into());
    assert_eq!(outcomes(&disk, "b/f", cut), [None, Some(vec![])].into());
}

#[test]
fn a_rename_happens_or_not_but_never_half() {
    let disk = disk();
    durable_file(&disk, "new", b"new");
    durable_file(&disk, "old", b"old");
    disk.rename("new", "old").unwrap();
    let mut seen = BTreeSet::new();
    for seed in 0..100 {
        let fork = disk.fork();
        fork.power_cut(&mut Rng::new(seed));
        seen.insert((fork.peek("new"), fork.peek("old")));
    }
    let (new, old) = (Some(b"new".to_vec()), Some(b"old".to_vec()));
    assert_eq!(seen, [(new.clone(), old), (None, new)].into());
}

#[test]
fn changes_of_different_names_survive_in_any_order() {
    let disk = disk();
    disk.open("1", Mode::Durable).unwrap();
    disk.open("2", Mode::Durable).unwrap();
    let names = |seed| {
        let fork = disk.fork();
        fork.power_cut(&mut Rng::new(seed));
        fork.paths().concat()
    };
    let seen: BTreeSet<String> = (0..100).map(names).collect();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["", "1", "12", "2"]);
}

#[test]
fn files_from_before_a_crash_are_void() {
    for crash in [cut, kill] {
        let disk = disk();
        durable_file(&disk, "f", b"x");
        let file = disk.open("f", Mode::Buffered).unwrap();
        crash(&disk, &mut Rng::new(1));
        assert!(file.read_at(&mut [0], 0).is_err());
        assert!(file.write_at(&[0], 0).is_err());
        assert!(file.sync().is_err() && file.len().is_err());
        assert!(disk.open("f", Mode::Read).unwrap().read_at(&mut [0], 0).is_ok());
    }
}

#[test]
fn forks_do_not_share_anything() {
    let disk = disk();
    durable_file(&disk, "f", b"x");
    let fork = disk.fork();
    write_all(&fork.open("f", Mode::Buffered).unwrap(), b"y", 0).unwrap();
    assert_eq!((disk.peek("f").unwrap(), fork.peek("f").unwrap()), (b"x".to_vec(), b"y".to_vec()));
}
