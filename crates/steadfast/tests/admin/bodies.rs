//! Bodies: unpacked, and read in the encoding that is asked for.

use serde_json::{Value, json};

use crate::tool::{Sent, World};

const RED_PACKET: &str = "red packet, forty times red packet, red packet";

fn world() -> World {
    let world = World::start(&[]);
    world.admin("updateTopic", &["-c", "DefaultCluster", "-t", "SCANRECORD", "-r", "1", "-w", "1"]).ok();
    world
}

/// Sends a body with a key; returns its offset id.
fn send(world: &World, key: &str, sys_flag: i32, body: &[u8]) -> String {
    world.send(Sent { topic: "SCANRECORD", queue: 0, properties: &format!("KEYS={key}"), sys_flag, body })
}

fn found(world: &World, key: &str) -> Value {
    world.admin("queryMsgByKey", &["-t", "SCANRECORD", "-k", key, "--json"]).json()["messages"][0].take()
}

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("text"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal digits")).collect()
}

/// Clients pack bodies of more than 4 KiB: with zlib if nothing else is set.
#[test]
fn packed_bodies_are_unpacked() {
    let world = world();
    // `zlib.compress(b"a" * 40)` of Python, `lz4 -B7` and `-B7 -BX`, `zstd`.
    let packed = [
        ("zlib", 0x001, "789c4b4c240e0000 36eb0f29", "a".repeat(40)),
        ("zlib-named", 0x301, "789c4b4c240e0000 36eb0f29", "a".repeat(40)),
        (
            "lz4",
            0x101,
            "04224d186440a727000000f809726564207061636b65742c20666f7274792074696d6573201800a0726564207061636b6574\
             0000000052904c90",
            RED_PACKET.to_owned(),
        ),
        (
            "lz4-checked",
            0x101,
            "04224d187440bd27000000f809726564207061636b65742c20666f7274792074696d6573201800a0726564207061636b6574\
             36e702df0000000052904c90",
            RED_PACKET.to_owned(),
        ),
        (
            "zstd",
            0x201,
            "28b52ffd242e0d0100c0726564207061636b65742c20666f7274792074696d65732002002f1b60b93906789b7af7",
            RED_PACKET.to_owned(),
        ),
    ];
    for (key, sys_flag, hex, body) in packed {
        send(&world, key, sys_flag, &bytes(&hex.replace(' ', "")));
        let message = found(&world, key);
        assert_eq!(message["body"], body, "{key}");
        // As mqadmin shows it: the bit for compression is gone, what it was stays.
        assert_eq!(message["sysFlag"], sys_flag - 1, "{key}");
    }
    // They begin as they should, and go on with nonsense.
    for (key, sys_flag, kind, hex) in [
        ("a", 1, "ZLIB", "789cff00"),
        ("b", 0x101, "LZ4", "04224d18ff00"),
        ("c", 0x201, "ZSTD", "28b52ffdff00"),
    ] {
        send(&world, key, sys_flag, &bytes(hex));
        let message = found(&world, key);
        let shown = (&message["bodyHex"], &message["bodyPacked"]);
        assert_eq!(shown, (&json!(hex), &json!(format!("{kind}, damaged"))), "{message}");
        assert_eq!(message["sysFlag"], sys_flag);
    }
}

#[test]
fn bodies_are_read_in_the_encoding_that_is_asked_for() {
    let world = world();
    let id = send(&world, "orderId", 0, b"\xba\xec\xb0\xfc");
    assert_eq!(found(&world, "orderId")["bodyHex"], "baecb0fc");
    let shown = |command: &str, args: &[&str]| world.admin(command, &[&["-t", "SCANRECORD"], args].concat());
    let place = ["-b", "broker-a", "-i", "0", "-o", "0", "-f", "gb18030"];
    for (command, args) in [("queryMsgById", &["-i", &id, "-f", "GBK"][..]), ("queryMsgByOffset", &place)] {
        let text = shown(command, args).ok();
        assert!(text.contains("\nMessage Body:        红包\n"), "{command}: {text}");
        let json = shown(command, &[args, &["--json"]].concat()).json();
        assert_eq!(json["messages"][0]["body"], "红包", "{json}");
    }
    for (command, args) in [
        ("printMsg", &["-c", "GBK"][..]),
        ("printMsgByQueue", &["-a", "broker-a", "-i", "0", "-p", "TRUE", "-d", "true", "-c", "GBK"]),
    ] {
        let text = shown(command, args).ok();
        assert!(text.contains(" BODY: 红包\n"), "{command}: {text}");
    }
    let wrong = shown("queryMsgById", &["-i", &id, "-f", "EBCDIC"]);
    assert_eq!(wrong.code, 2);
    assert!(
        wrong.stderr.contains("no encoding that is known here; there are UTF-8, GBK"),
        "{}",
        wrong.stderr
    );
}
