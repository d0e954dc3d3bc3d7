//! Attributes of a topic, as `updateTopic -a` gives them: `+name=value,-name`.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut};

use crate::bytes_ext::{Malformed, get_text, put_text};

/// A message of such a topic is kept until every consumer group with a position in the topic has processed it.
pub(crate) const PROTECTED: &str = "steadfast.protected";
/// Bytes of unprocessed messages above which a protected topic takes no more.
pub(crate) const QUOTA: &str = "steadfast.quota";
/// What producers of RocketMQ 5 check before they send.
const MESSAGE_TYPE: &str = "message.type";
const MESSAGE_TYPES: [&str; 5] = ["NORMAL", "FIFO", "DELAY", "TRANSACTION", "MIXED"];

/// Attributes that are set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes(BTreeMap<String, String>);

/// What a request sets (Some) and removes (None).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes(Vec<(String, Option<String>)>);

impl Changes {
    /// Reads the list of a request; the error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(Self::parse_item).collect::<Result<_, _>>().map(Self)
    }

    fn parse_item(item: &str) -> Result<(String, Option<String>), String> {
        if let Some(name) = item.strip_prefix('-') {
            return Ok((name.to_owned(), None));
        }
        let set = item.strip_prefix('+').and_then(|set| set.split_once('='));
        let Some((name, value)) = set else {
            return Err(format!("attribute {item:?} is neither +name=value nor -name"));
        };
        let (takes, fits) = match name {
            PROTECTED => ("true or false", matches!(value, "true" | "false")),
            QUOTA => ("a number of bytes", value.parse::<u64>().is_ok()),
            MESSAGE_TYPE => ("NORMAL, FIFO, DELAY, TRANSACTION or MIXED", MESSAGE_TYPES.contains(&value)),
            _ => {
                return Err(format!(
                    "there is no attribute {name}; there are {PROTECTED}, {QUOTA} and {MESSAGE_TYPE}"
                ));
            }
        };
        match fits {
            true => Ok((name.to_owned(), Some(value.to_owned()))),
            false => Err(format!("attribute {name} takes {takes}, not {value:?}")),
        }
    }
}

impl Attributes {
    /// With the changes of a request.
    #[must_use]
    pub(crate) fn with(mut self, changes: &Changes) -> Self {
        for (name, value) in &changes.0 {
            match value {
                Some(value) => self.0.insert(name.clone(), value.clone()),
                None => self.0.remove(name),
            };
        }
        self
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &String)> {
        self.0.iter()
    }

    /// See [`PROTECTED`].
    pub(crate) fn is_protected(&self) -> bool {
        self.0.get(PROTECTED).is_some_and(|value| value == "true")
    }

    /// See [`QUOTA`].
    pub(crate) fn quota(&self) -> Option<u64> {
        self.0.get(QUOTA)?.parse().ok()
    }

    pub(super) fn encode(&self, out: &mut impl BufMut) {
        out.put_u16(self.0.len() as u16);
        for (name, value) in &self.0 {
            put_text(out, name);
            put_text(out, value);
        }
    }

    pub(super) fn decode(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        let mut this = Self::default();
        for _ in 0..bytes.try_get_u16()? {
            this.0.insert(get_text(bytes)?.to_owned(), get_text(bytes)?.to_owned());
        }
        Ok(this)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_set_and_remove() {
        let set =
            Changes::parse("+steadfast.protected=true, +steadfast.quota=1000,+message.type=FIFO").unwrap();
        let attributes = Attributes::default().with(&set);
        assert!(attributes.is_protected());
        assert_eq!(attributes.quota(), Some(1000));
        let attributes = attributes.with(&Changes::parse("-steadfast.protected,-other").unwrap());
        assert!(!attributes.is_protected());
        assert_eq!(attributes.with(&Changes::parse("").unwrap()).quota(), Some(1000));
    }

    #[test]
    fn what_nobody_knows_is_refused_by_name() {
        for (text, part) in [
            ("steadfast.protected=true", "neither"),
            ("+steadfast.protect=true", "there is no attribute steadfast.protect;"),
            ("+steadfast.protected=yes", "takes true or false"),
            ("+steadfast.quota=1GiB", "a number of bytes"),
        ] {
            let error = Changes::parse(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
