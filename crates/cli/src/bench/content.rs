//! What the messages of a run consist of. A message's number and the run's number say everything: its unique key
//! names both, its body is made from them, so that whoever reads a message can tell whether it is whole.

use std::hash::{BuildHasher, RandomState};

use steadfast_audit::Digest;
use steadfast_types::properties;
use steadfast_types::record::StoredMessage;

/// Digits of a unique key, as many as that of a Java client on IPv4 has.
pub(super) const UNIQUE_KEY_LEN: usize = 32;
/// Digits of a business key.
pub(super) const KEY_LEN: usize = 8;

/// The messages of one run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Content {
    /// Tells this run's messages from others in the same topic.
    pub(super) run: u64,
    /// Bytes in a body.
    pub(super) size: usize,
    /// Different business keys; 0 for messages without.
    pub(super) keys: u32,
}

impl Content {
    /// Messages of a run that nobody has made yet.
    pub(super) fn of_new_run(size: usize, keys: u32) -> Self {
        // The standard library's only source of randomness; it seeds nothing but the run's number.
        Self { run: RandomState::new().hash_one(0), size, keys }
    }

    /// Writes the unique key of message `id`: run and id in hex.
    pub(super) fn write_unique_key(&self, id: u64, out: &mut [u8]) {
        write_hex(self.run, &mut out[..16]);
        write_hex(id, &mut out[16..UNIQUE_KEY_LEN]);
    }

    /// Writes the business key of message `id`.
    pub(super) fn write_key(&self, id: u64, out: &mut [u8]) {
        // Neighbours in a queue get different keys; a run has at most 2^32 of them.
        let key = scramble(id) % u64::from(self.keys.max(1));
        write_hex(key, &mut out[..KEY_LEN]);
    }

    /// Digest of message `id` as it was sent. `scratch` is overwritten.
    pub(super) fn digest(&self, id: u64, scratch: &mut Vec<u8>) -> Digest {
        scratch.resize(self.size, 0);
        fill_body(self.run, id, scratch);
        let mut key = [0; KEY_LEN];
        self.write_key(id, &mut key);
        Digest::of(&[scratch, if self.keys == 0 { &[] } else { &key }])
    }

    /// Number of a message as it was read; None if it is not of this run.
    pub(super) fn number_of(&self, message: &StoredMessage<'_>) -> Option<u64> {
        let key = properties::get(message.properties, properties::UNIQ_KEY).unwrap_or_default();
        parse_unique_key(key).filter(|(run, _)| *run == self.run).map(|(_, id)| id)
    }

    /// Digest of a message as it was read.
    pub(super) fn digest_of(message: &StoredMessage<'_>) -> Digest {
        let keys = properties::get(message.properties, properties::KEYS).unwrap_or_default();
        Digest::of(&[message.body, keys.as_bytes()])
    }
}

/// Run and id of the message with this unique key; None if no bench made it.
pub(super) fn parse_unique_key(key: &str) -> Option<(u64, u64)> {
    if key.len() != UNIQUE_KEY_LEN || !key.is_ascii() {
        return None;
    }
    let (run, id) = key.split_at(16);
    Some((u64::from_str_radix(run, 16).ok()?, u64::from_str_radix(id, 16).ok()?))
}

/// Fills `body` with the bytes of message `id`; they depend on its length too.
pub(super) fn fill_body(run: u64, id: u64, body: &mut [u8]) {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut seed = scramble(run ^ scramble(id ^ scramble(body.len() as u64)));
    let (words, tail) = body.as_chunks_mut::<8>();
    for word in words {
        *word = (seed ^ (seed >> 29)).to_le_bytes();
        seed = seed.wrapping_add(ODD);
    }
    tail.copy_from_slice(&seed.to_le_bytes()[..tail.len()]);
}

/// SplitMix64's output function: a bijection whose results look random.
const fn scramble(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

fn write_hex(value: u64, out: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut rest = value;
    for digit in out.iter_mut().rev() {
        *digit = DIGITS[(rest & 15) as usize];
        rest >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unique_keys_tell_run_and_id() {
        let content = Content { run: 0xFEDC_BA98_7654_3210, size: 0, keys: 0 };
        let mut key = [0; UNIQUE_KEY_LEN];
        content.write_unique_key(42, &mut key);
        let key = std::str::from_utf8(&key).unwrap();
        assert_eq!(key, "FEDCBA9876543210000000000000002A");
        assert_eq!(parse_unique_key(key), Some((content.run, 42)));
        assert_eq!(parse_unique_key("orderId"), None);
        assert_eq!(parse_unique_key(&"Z".repeat(UNIQUE_KEY_LEN)), None);
    }

    #[test]
    fn bodies_depend_on_run_id_and_length() {
        let body = |run, id, len| {
            let mut body = vec![0; len];
            fill_body(run, id, &mut body);
            body
        };
        assert_eq!(body(1, 2, 100), body(1, 2, 100));
        assert_ne!(body(1, 2, 100), body(1, 3, 100));
        assert_ne!(body(1, 2, 100), body(2, 2, 100));
        assert_ne!(body(1, 2, 100)[..99], body(1, 2, 99));
    }
}
