//! Holds the workspace to its architecture: which crate may use which.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The table of ARCHITECTURE.md: crate, and the crates of this workspace that it may use.
const MAY_USE: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("wire", &["types"]),
    ("store", &["types"]),
    ("consensus", &["types", "store"]),
    ("broker", &["types", "wire", "store", "consensus"]),
    ("namesrv", &["types", "wire"]),
    ("audit", &["types"]),
    ("net", &["types", "wire"]),
    ("server", &["types", "wire", "store", "consensus", "broker", "namesrv", "audit", "net"]),
    ("cli", &["types", "wire", "store", "net", "audit"]),
    ("sim", &["types", "wire", "store", "consensus", "broker", "namesrv", "audit"]),
    ("steadfast", &["types", "wire", "net", "server", "cli", "sim", "audit"]),
];

/// Crates that the deterministic simulator runs: nothing with a thread, a socket or a clock of its own.
const WITHOUT_RUNTIME: &[&str] =
    &["types", "wire", "store", "consensus", "broker", "namesrv", "audit", "sim"];

/// Packages that bring a runtime or a clock.
const RUNTIMES: &[&str] = &["tokio", "mio", "async-std", "smol", "chrono", "time"];

fn metadata() -> Value {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path", manifest])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Normal and build dependencies of each package of the workspace.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| {
            let used = package["dependencies"].as_array().unwrap().iter();
            let used = used.filter(|dependency| dependency["kind"] != "dev");
            let names = used.map(|dependency| dependency["name"].as_str().unwrap().to_owned()).collect();
            (short(package["name"].as_str().unwrap()), names)
        })
        .collect()
}

fn short(package: &str) -> String {
    package.strip_prefix("steadfast-").unwrap_or(package).to_owned()
}

#[test]
fn crates_use_only_what_the_table_allows() {
    for (name, used) in dependencies() {
        let (_, allowed) = MAY_USE.iter().find(|(known, _)| *known == name).unwrap_or_else(|| {
            panic!("crate {name} is not in the table: add it here and in ARCHITECTURE.md")
        });
        let used: BTreeSet<String> =
            used.iter().filter(|u| u.starts_with("steadfast")).map(|u| short(u)).collect();
        let allowed: BTreeSet<String> = allowed.iter().map(|a| (*a).to_owned()).collect();
        let forbidden: Vec<_> = used.difference(&allowed).collect();
        assert!(forbidden.is_empty(), "{name} must not use {forbidden:?}");
    }
}

#[test]
fn the_core_has_no_runtime() {
    let all = dependencies();
    for name in WITHOUT_RUNTIME {
        let found: Vec<_> = RUNTIMES.iter().filter(|runtime| all[*name].contains(**runtime)).collect();
        assert!(found.is_empty(), "{name} must not use {found:?}");
    }
}

/// The engine's own dependencies are old (docs/adr/0004-raft-crate-dependencies.md): what makes them harmless is that
/// nothing is parsed by them.
#[test]
fn nothing_is_parsed_as_protobuf() {
    for (name, used) in dependencies() {
        assert!(!used.contains("protobuf"), "{name} must not use protobuf but in tests");
    }
    let crates = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut sources = 0;
    let packages = std::fs::read_dir(crates).unwrap().map(|entry| entry.unwrap().path().join("src"));
    for package in packages.filter(|source| source.is_dir()) {
        let mut folders = vec![package];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                sources += 1;
                let text = std::fs::read_to_string(&path).unwrap();
                for parser in [
                    "merge_from",
                    "parse_from_bytes",
                    "parse_from_carllerche",
                    "CodedInputStream",
                    "ConfChange::",
                ] {
                    assert!(!text.contains(parser), "{} calls {parser}", path.display());
                }
            }
        }
    }
    assert!(sources > 100, "the sources were read");
}

#[test]
fn only_consensus_names_the_raft_engine() {
    for (name, used) in dependencies() {
        assert!(name == "consensus" || !used.contains("raft"), "{name} must not use the Raft engine itself");
    }
}
