//! Errors of the operating system at start, in words: the cause and what to do next.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use anyhow::anyhow;
use steadfast_broker::recovery::OpenError;
use steadfast_store::log::ScanError;
use steadfast_store::meta::MetaError;

/// A port that cannot be had; `key` is its setting.
pub(crate) fn port(error: &io::Error, addr: SocketAddr, key: &str) -> anyhow::Error {
    match error.kind() {
        ErrorKind::AddrInUse => anyhow!(
            "{addr} is in use by another process; stop it (ss -ltnp shows it), or choose another port: \
             --set {key}=PORT"
        ),
        ErrorKind::PermissionDenied => {
            anyhow!("{addr} may not be taken by this user; choose a port above 1023: --set {key}=PORT")
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

/// Data that cannot be opened, by the server or by a repair, which passes everything that is repairable.
pub(crate) fn open(error: OpenError) -> anyhow::Error {
    match error {
        OpenError::Meta(MetaError::NewerFormat { .. }) => anyhow!(error),
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
