//! Errors of the operating system at start, in words: the cause and what to do next.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use anyhow::anyhow;
use steadfast_broker::recovery::{Foreign, OpenError};
use steadfast_store::log::ScanError;
use steadfast_store::meta::MetaError;

/// A port that cannot be had; `key` is its setting.
pub(crate) fn port(error: &io::Error, addr: SocketAddr, key: &str) -> anyhow::Error {
    let other = match key {
        "dLegerPeers" => "in dLegerPeers of all replicas".to_owned(),
        "peers" => "HOST:PORT in peers of all processes moves all ports of one".to_owned(),
        key => format!("--set {key}=PORT"),
    };
    match error.kind() {
        ErrorKind::AddrInUse => anyhow!(
            "{addr} is in use by another process; stop it (ss -ltnp shows it), or choose another port: \
             {other}"
        ),
        ErrorKind::PermissionDenied => {
            anyhow!("{addr} may not be taken by this user; choose a port above 1023: {other}")
        }
        ErrorKind::AddrNotAvailable => {
            anyhow!("{addr}: this machine has no such address; see --set bindAddress=ADDRESS")
        }
        _ => anyhow!("listening on {addr} failed: {error}"),
    }
}

/// A data directory that cannot be used.
pub(crate) fn data(error: impl Into<anyhow::Error>) -> anyhow::Error {
    let error = error.into();
    let kind = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    let next = match kind {
        Some(ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
            "the data directory must be writable; give it to this user, or choose another: --data DIR"
        }
        Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
            "the disk is full; free space, or choose another disk: --data DIR"
        }
        Some(ErrorKind::NotADirectory | ErrorKind::AlreadyExists) => {
            "a file, or a link to nothing, is in the way; choose another directory: --data DIR"
        }
        _ => return error,
    };
    anyhow!("{error:#}\n{next}")
}

/// What to do about a data directory of somebody else.
fn next_step(foreign: Foreign) -> &'static str {
    match foreign {
        Foreign::Replica(_) => {
            "start it as that replica (enableDLegerCommitLog=true, with dLegerPeers and dLegerSelfId as they were), or choose \
             another directory: --data DIR. A replica needs no repair: what it has lost, the others give it again"
        }
        Foreign::Single => {
            "a new replica begins with an empty directory: --data DIR. A single server's messages stay with it: start it as it \
             was (without enableDLegerCommitLog) and let consumers finish them, or send them again"
        }
        Foreign::OtherGroup => {
            "brokerClusterName, dLegerGroup (brokerName if it is not set) and the ids in dLegerPeers are settled when a group \
             is made: set them as they were, or choose another directory: --data DIR"
        }
        Foreign::OtherReplica { .. } => {
            "each replica has a directory of its own, which is never another one's: correct dLegerSelfId, or --data DIR"
        }
    }
}

/// Data of a replica of several that cannot be opened: the others have what is lost.
pub(crate) fn open_replica(error: OpenError) -> anyhow::Error {
    match error {
        error @ (OpenError::Scan(
            ScanError::Damaged(_) | ScanError::Truncated(_) | ScanError::Missing { .. },
        )
        | OpenError::Unidentified { .. }) => {
            anyhow!(
                "{error}\nthe other replicas have it: move the data directory away and start with an empty one, which they fill"
            )
        }
        error => open(error),
    }
}

/// Data that cannot be opened, by the server or by a repair, which passes everything that is repairable.
pub(crate) fn open(error: OpenError) -> anyhow::Error {
    match error {
        OpenError::Meta(MetaError::NewerFormat { .. }) => anyhow!(error),
        OpenError::Foreign(foreign) => anyhow!("{foreign}\n{}", next_step(foreign)),
        OpenError::Disk(error) | OpenError::Meta(MetaError::Disk(error)) => data(error),
        error if error.is_repairable() => anyhow!(
            "{error}\nrestore the file from a copy; without one, `steadfast repair --data DIR` lists what is lost, as far as it \
             can be told"
        ),
        error @ (OpenError::Scan(
            ScanError::Damaged(_) | ScanError::Truncated(_) | ScanError::Missing { .. },
        )
        | OpenError::Unidentified { .. }) => {
            anyhow!(
                "{error}\nthis cannot be repaired: the file has to come from a copy of the data directory"
            )
        }
        error => data(anyhow!(error).context("the data directory cannot be opened")),
    }
}
