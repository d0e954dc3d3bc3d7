//! What strangers and broken clients send.

use std::net::SocketAddr;

use steadfast_types::limits::UNFINISHED_FRAMES;
use steadfast_wire::code::response;
use steadfast_wire::header::ExtFields;

use crate::client::Client;
use crate::process::Server;

#[test]
fn an_unknown_code_is_answered_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    for addr in [server.broker(), server.namesrv()] {
        let answer = Client::connect(addr).ask(4711, ExtFields::default(), b"body");
        assert_eq!(answer.code(), response::REQUEST_CODE_NOT_SUPPORTED);
        assert!(answer.remark().contains("4711"), "{answer:?}");
    }
}

/// Things that are no frame, or none that can be used.
fn garbage() -> Vec<Vec<u8>> {
    let random: Vec<u8> = (0..10_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    vec![
        random,
        vec![0xFF; 100],
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC],
        // 17 MiB announced.
        [&(17_u32 << 20).to_be_bytes()[..], &[0; 1000]].concat(),
        // A header longer than its frame.
        vec![0, 0, 0, 8, 0, 0, 0, 99, 0, 0, 0, 0],
        // A header that is no JSON.
        vec![0, 0, 0, 8, 0, 0, 0, 4, b'{', b'x', b'y', b'z'],
        // A binary header that ends early.
        vec![0, 0, 0, 8, 1, 0, 0, 4, 0, 10, 0, 1],
    ]
}

/// 15 MiB are announced and never sent.
const UNFINISHED: [u8; 8] = [0, 0xF0, 0, 0, 0, 0, 0, 200];

fn attack(addr: SocketAddr) {
    for _ in 0..20 {
        for bytes in garbage() {
            let mut client = Client::connect(addr);
            client.raw(&bytes);
            client.until_closed();
        }
        let mut client = Client::connect(addr);
        client.raw(&UNFINISHED);
    }
}

/// Not announced but really sent: 200 clients leave 4 MiB of a frame each, which no limit of one client forbids.
#[test]
fn frames_that_are_never_finished_take_a_bounded_part_of_memory() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    for addr in [server.broker(), server.namesrv()] {
        let before = server.memory();
        let part = [&UNFINISHED[..], &[b' '; 4 << 20]].concat();
        let unfinished: Vec<_> = (0..200)
            .map(|_| {
                let mut client = Client::connect(addr);
                client.raw(&part);
                client
            })
            .collect();
        assert_eq!(Client::connect(server.broker()).send("t", &[7; 1 << 20]).code(), 0, "others are served");
        assert!(Client::connect(server.namesrv()).route("t").is_some());
        let grown = server.memory().saturating_sub(before);
        assert!(grown < UNFINISHED_FRAMES / 2 + (64 << 20), "grown by {grown} bytes");
        drop(unfinished);
    }
    assert!(server.log().contains("unfinished frames of"), "{}", server.log());
}

#[test]
fn garbage_neither_kills_it_nor_takes_its_memory() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), &[]);
    attack(server.broker());
    attack(server.namesrv());
    let before = server.memory();
    // Announced bytes cost nothing: 200 times 15 MiB are open at once.
    let unfinished: Vec<_> = (0..200)
        .map(|_| {
            let mut client = Client::connect(server.broker());
            client.raw(&UNFINISHED);
            client
        })
        .collect();
    for _ in 0..5 {
        attack(server.broker());
        attack(server.namesrv());
    }
    let grown = server.memory().saturating_sub(before);
    assert!(grown < 16 << 20, "grown by {grown} bytes");
    assert_eq!(Client::connect(server.broker()).send("t", b"still here").code(), 0);
    assert!(Client::connect(server.namesrv()).route("t").is_some());
    assert!(server.is_running());
    drop(unfinished);
    let log = server.log();
    for part in ["speaks TLS", "speaks HTTP", "over the limit", "does not fit"] {
        assert!(log.contains(part), "{part} not in the log");
    }
}
