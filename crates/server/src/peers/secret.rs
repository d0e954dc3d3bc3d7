//! What all replicas of a group know and nobody else.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, ensure};

/// Fewest bytes of a secret: fewer could be guessed.
const LEN_MIN: usize = 16;
/// Most bytes of its file: more are some other file.
const LEN_MAX: u64 = 4096;

/// The secret. What it protects from, and what not, is said in `docs/replication.md`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Box<[u8]>);

impl Secret {
    /// Reads it from a file. White space around it does not count, so an editor's line end does no harm.
    ///
    /// # Errors
    /// The file cannot be read, or holds too little or too much.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let mut bytes = Vec::new();
        File::open(path).and_then(|file| file.take(LEN_MAX + 1).read_to_end(&mut bytes)).with_context(
            || format!("reading the secret of the replicas from {shown} (replicationSecretFile)"),
        )?;
        ensure!(
            bytes.len() as u64 <= LEN_MAX,
            "{shown} has more than {LEN_MAX} bytes, which is no secret; does replicationSecretFile name the right file?"
        );
        let secret = bytes.trim_ascii();
        ensure!(
            secret.len() >= LEN_MIN,
            "the secret in {shown} has {} bytes, at least {LEN_MIN} are needed; make one and copy it to all replicas: \
             head -c 32 /dev/urandom | base64 > {shown}",
            secret.len()
        );
        Ok(Secret(secret.into()))
    }

    #[cfg(test)]
    pub(super) fn of(bytes: &[u8]) -> Self {
        Secret(bytes.into())
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(not shown)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> anyhow::Result<Secret> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("secret");
        std::fs::write(&path, content)?;
        Secret::read(&path)
    }

    #[test]
    fn line_ends_do_not_count_and_it_is_never_shown() {
        let secret = read(b"  correct horse battery\r\n").unwrap();
        assert_eq!(secret.bytes(), b"correct horse battery");
        assert_eq!(secret, read(b"correct horse battery").unwrap());
        assert!(!format!("{secret:?}").contains("horse"));
    }

    #[test]
    fn what_is_no_secret_is_refused_with_the_next_step() {
        for (content, expected) in [
            (&b""[..], "has 0 bytes, at least 16 are needed; make one"),
            (b"\n  fifteen bytes !  \n", "has 15 bytes"),
            (&[b'x'; 5000], "more than 4096 bytes"),
        ] {
            let error = format!("{:#}", read(content).unwrap_err());
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("fifteen"), "{error}");
        }
        let error = format!("{:#}", Secret::read(Path::new("/nowhere/secret")).unwrap_err());
        assert!(error.contains("/nowhere/secret") && error.contains("replicationSecretFile"), "{error}");
    }
}
