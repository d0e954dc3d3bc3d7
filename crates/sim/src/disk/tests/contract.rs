//! Without faults it is an ordinary disk.

use std::io::ErrorKind;

use steadfast_store::disk::{BLOCK, read_exact, write_all};

use super::*;
use crate::disk::{Fault, Latency, Op};

#[test]
fn reads_return_what_was_written() {
    let disk = disk();
    let file = disk.open("f", Mode::Buffered).unwrap();
    assert!(file.is_empty().unwrap());
    write_all(&file, b"hello", 1000).unwrap();
    write_all(&file, b"J", 1000).unwrap();
    assert_eq!(file.len().unwrap(), 1005);
    let mut buf = [9; 8];
    assert_eq!(file.read_at(&mut buf, 998).unwrap(), 7);
    assert_eq!(&buf, b"\0\0Jello\x09");
    assert_eq!(file.read_at(&mut buf, 2000).unwrap(), 0);
    let again = disk.open("f", Mode::Read).unwrap();
    read_exact(&again, &mut buf[..5], 1000).unwrap();
    assert_eq!(again.write_at(b"x", 0).unwrap_err().kind(), ErrorKind::PermissionDenied);
}

#[test]
fn random_writes_read_back_like_a_plain_buffer() {
    let (disk, mut rng) = (disk(), Rng::new(5));
    let file = disk.open("f", Mode::Buffered).unwrap();
    let mut model: Vec<u8> = Vec::new();
    for round in 0..500 {
        let at = rng.below(5000) as usize;
        let mut bytes = vec![0; rng.within(1..1500) as usize];
        rng.fill(&mut bytes);
        write_all(&file, &bytes, at as u64).unwrap();
        model.resize(model.len().max(at + bytes.len()), 0);
        model[at..at + bytes.len()].copy_from_slice(&bytes);
        if round % 50 == 0 {
            file.sync().unwrap();
        }
    }
    assert_eq!(disk.peek("f").unwrap(), model);
}

#[test]
fn names_work_as_in_a_file_system() {
    let disk = disk();
    assert_eq!(disk.open("a/b/f", Mode::Buffered).unwrap_err().kind(), ErrorKind::NotFound);
    disk.create_dir("a/b").unwrap();
    for name in ["2", "1"] {
        disk.open(&format!("a/b/{name}"), Mode::Buffered).unwrap();
    }
    disk.open("a/x", Mode::Durable).unwrap();
    assert_eq!(disk.list("a/b").unwrap(), ["1", "2"]);
    assert_eq!(disk.list("a").unwrap(), ["x"]);
    assert_eq!(disk.list("z").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(disk.open("a/b/3", Mode::Read).unwrap_err().kind(), ErrorKind::NotFound);

    let one = disk.open("a/b/1", Mode::Buffered).unwrap();
    write_all(&one, b"one", 0).unwrap();
    disk.rename("a/b/1", "a/b/2").unwrap();
    assert_eq!(disk.list("a/b").unwrap(), ["2"]);
    assert_eq!(disk.peek("a/b/2").unwrap(), b"one");
    disk.remove("a/b/2").unwrap();
    assert_eq!(disk.remove("a/b/2").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(disk.rename("a/b/2", "a/b/1").unwrap_err().kind(), ErrorKind::NotFound);
    let mut buf = [0; 3];
    read_exact(&one, &mut buf, 0).unwrap();
    assert_eq!(&buf, b"one", "an open file outlives its name");
}

#[test]
#[should_panic(expected = "not aligned")]
fn durable_writes_must_be_aligned() {
    let file = disk().open("f", Mode::Durable).unwrap();
    drop(file.write_at(&[0; BLOCK], SECTOR as u64));
}

#[test]
#[should_panic(expected = "not aligned")]
fn durable_reads_must_be_aligned() {
    let file = disk().open("f", Mode::Durable).unwrap();
    drop(file.read_at(&mut [0; 100], 0));
}

#[test]
fn space_runs_out_and_comes_back() {
    let disk = disk();
    disk.set_capacity(10_000);
    let file = disk.open("f", Mode::Buffered).unwrap();
    write_all(&file, &[1; 6000], 0).unwrap();
    assert_eq!(disk.space().unwrap().free, 4000);
    assert_eq!(file.write_at(&[2; 6000], 6000).unwrap(), 4000, "what fits");
    assert_eq!(file.write_at(&[2; 1], 10_000).unwrap_err().kind(), ErrorKind::StorageFull);
    write_all(&file, &[3; 10_000], 0).unwrap();

    let direct = disk.open("d", Mode::Durable).unwrap();
    disk.set_capacity(15_000);
    assert_eq!(direct.write_at(&[4; 2 * BLOCK], 0).unwrap(), BLOCK, "whole blocks only");
    assert_eq!(direct.write_at(&[4; BLOCK], BLOCK as u64).unwrap_err().kind(), ErrorKind::StorageFull);
    disk.remove("f").unwrap();
    assert_eq!(disk.space().unwrap().free, 904, "an open file keeps its space");
    drop(file);
    assert_eq!(disk.space().unwrap().free, 10_904);
}

#[test]
fn calls_take_time() {
    let disk = disk();
    disk.set_latency(Latency { sync: 100..101, ..Latency::none() });
    let file = disk.open("f", Mode::Buffered).unwrap();
    write_all(&file, b"x", 0).unwrap();
    file.sync().unwrap();
    disk.sync_dir("").unwrap();
    disk.plan(Fault::once(Op::Sync, crate::disk::Effect::Stall(crate::clock::Micros::secs(30))));
    file.sync().unwrap();
    let submitted = disk.take_window();
    assert_eq!(submitted.latency.get(), 30_000_300);
    assert_eq!(submitted.changes, 0, "everything is done at once unless the world defers");
    assert_eq!(disk.take_window().latency.get(), 0);
}

#[test]
fn a_seed_is_one_history() {
    let run = |seed: u64| {
        let disk = VirtualDisk::new(Rng::stream(seed, "disk"));
        disk.defer();
        let mut rng = Rng::stream(seed, "world");
        let mut latencies = Vec::new();
        for round in 0..40u64 {
            if rng.one_in(6) {
                disk.plan(Fault::once(
                    *rng.pick(&[Op::Write, Op::Sync, Op::Read]),
                    crate::disk::Effect::Error,
                ));
            }
            let path = format!("f{}", rng.below(3));
            if let Ok(file) = disk.open(&path, *rng.pick(&[Mode::Buffered, Mode::Durable])) {
                let written = file.write_at(&vec![round as u8 + 1; BLOCK], BLOCK as u64 * rng.below(4));
                latencies.push((written.is_ok(), file.sync().is_ok(), disk.take_window()));
            }
            match rng.below(8) {
                0 => disk.power_cut(&mut rng),
                1 => disk.process_kill(&mut rng),
                2 => drop(disk.flip_random("f", &mut rng)),
                _ => {}
            }
            disk.settle_all();
        }
        (format!("{latencies:?}"), disk.history(), disk.digest())
    };
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed));
    }
    assert_ne!(run(1), run(2));
}
