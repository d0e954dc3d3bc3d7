//! The pairs of a properties string survive being written and read again; every way to look one up agrees.

use steadfast_types::properties::{self, Lookup};

/// The data is a properties string.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let pairs: Vec<_> = properties::iter(text).collect();
    let mut again = String::new();
    for (name, value) in &pairs {
        assert!(!name.is_empty() && !value.is_empty());
        assert!(!name.contains(['\u{1}', '\u{2}']) && !value.contains('\u{2}'));
        properties::push(&mut again, name, value);
    }
    assert_eq!(properties::iter(&again).collect::<Vec<_>>(), pairs);

    let lookup = Lookup::parse(text);
    assert_eq!(lookup.tags, properties::get(text, properties::TAGS));
    assert_eq!(lookup.keys, properties::get(text, properties::KEYS));
    assert_eq!(lookup.uniq_key, properties::get(text, properties::UNIQ_KEY));
    assert!(lookup.lookup_keys().all(|key| !key.is_empty()));
}
