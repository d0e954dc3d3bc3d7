//! Damage at rest.

use steadfast_store::disk::{BLOCK, write_all};

use super::*;

#[test]
fn a_flip_changes_one_bit_on_the_medium() {
    let disk = disk();
    durable_file(&disk, "f", &sectors(&[1, 0]));
    assert!(disk.flip("f", 700, 3));
    let mut expected = sectors(&[1, 0]);
    expected[700] = 8;
    assert_eq!(disk.peek("f").unwrap(), expected);
    assert!(!disk.flip("f", 1024, 0) && !disk.flip("g", 0, 0), "there is no such byte");

    let file = disk.open("f", Mode::Buffered).unwrap();
    write_all(&file, &sectors(&[5]), 0).unwrap();
    assert!(disk.flip("f", 0, 0));
    assert_eq!(disk.peek("f").unwrap()[0], 5, "the page cache hides it");
}

#[test]
fn random_flips_hit_content() {
    let disk = disk();
    let mut content = vec![0; 10 * BLOCK];
    content[5 * BLOCK..][..100].fill(1);
    durable_file(&disk, "log-1", &content);
    durable_file(&disk, "other", b"x");
    let mut rng = Rng::new(4);
    for _ in 0..50 {
        let flip = disk.flip_random("log", &mut rng).unwrap();
        assert_eq!((flip.path.as_str(), flip.byte / SECTOR as u64), ("log-1", 40));
    }
    assert_ne!(disk.peek("log-1").unwrap(), content);
    assert_eq!(disk.flip_random("other", &mut rng).unwrap().byte, 0, "within the file");
    assert_eq!(disk.flip_random("nothing", &mut rng), None);
}

#[test]
fn garbage_stays_in_its_sector() {
    let disk = disk();
    durable_file(&disk, "f", &sectors(&[1, 2, 3]));
    assert!(disk.garble("f", 1, &mut Rng::new(1)));
    assert_eq!(summary(&disk.peek("f").unwrap()), [Some(1), None, Some(3)]);
    assert!(!disk.garble("f", 3, &mut Rng::new(1)));
}

#[test]
fn files_vanish_and_come_back_old() {
    let disk = disk();
    disk.plant("a/f", b"old");
    assert_eq!(disk.list("a").unwrap(), ["f"]);
    let file = disk.open("a/f", Mode::Buffered).unwrap();
    write_all(&file, b"new", 0).unwrap();
    file.sync().unwrap();
    disk.lose("a/f");
    assert!(disk.paths().is_empty());
    disk.plant("a/f", b"old");
    let cut = |disk: &VirtualDisk, rng: &mut Rng| disk.power_cut(rng);
    assert_eq!(outcomes(&disk, "a/f", cut), [Some(b"old".to_vec())].into());
}

#[test]
fn a_new_disk_is_empty() {
    let disk = disk();
    durable_file(&disk, "f", b"x");
    let file = disk.open("f", Mode::Buffered).unwrap();
    disk.set_capacity(100);
    disk.wipe();
    assert!(disk.paths().is_empty());
    assert!(file.read_at(&mut [0], 0).is_err());
    assert_eq!(disk.space().unwrap().free, 100);
    assert!(disk.open("f", Mode::Read).is_err());
}

#[test]
fn an_old_copy_comes_back() {
    let disk = disk();
    durable_file(&disk, "f", b"old");
    let copy = disk.copy();
    let file = disk.open("f", Mode::Buffered).unwrap();
    write_all(&file, b"new", 0).unwrap();
    durable_file(&disk, "g", b"x");
    disk.restore(&copy);
    assert_eq!(disk.paths(), ["f"]);
    assert!(file.read_at(&mut [0], 0).is_err(), "handles from before are void");
    let mut found = [0; 3];
    disk.open("f", Mode::Read).unwrap().read_at(&mut found, 0).unwrap();
    assert_eq!(&found, b"old");
}
