//! The properties string of a message: `name \x01 value \x02`, repeated (RocketMQ's
//! `MessageDecoder.messageProperties2String`).

/// Separates a name from its value.
pub const NAME_VALUE_SEPARATOR: char = '\u{1}';
/// Ends a property.
pub const PROPERTY_SEPARATOR: char = '\u{2}';

/// Space-separated business keys.
pub const KEYS: &str = "KEYS";
/// The tag.
pub const TAGS: &str = "TAGS";
/// The client's unique message id.
pub const UNIQ_KEY: &str = "UNIQ_KEY";
/// Whether the sender waits for the store.
pub const WAIT: &str = "WAIT";
/// Name of the cluster that stored the message.
pub const CLUSTER: &str = "CLUSTER";
/// Region of the server.
pub const MSG_REGION: &str = "MSG_REGION";
/// Whether clients trace the message.
pub const TRACE_ON: &str = "TRACE_ON";
/// Delay level of a delayed message.
pub const DELAY: &str = "DELAY";
/// Messages with the same one are to be consumed in order.
pub const SHARDING_KEY: &str = "__SHARDINGKEY";
/// Topic that a delayed message is for.
pub const REAL_TOPIC: &str = "REAL_TOPIC";
/// Queue that a delayed message is for.
pub const REAL_QID: &str = "REAL_QID";
/// Topic that a retried message had at first.
pub const RETRY_TOPIC: &str = "RETRY_TOPIC";
/// `offsetMsgId` that a retried message had at first.
pub const ORIGIN_MESSAGE_ID: &str = "ORIGIN_MESSAGE_ID";
/// Topic that a dead letter had at first.
pub const DLQ_ORIGIN_TOPIC: &str = "DLQ_ORIGIN_TOPIC";
/// `offsetMsgId` that a dead letter had at first.
pub const DLQ_ORIGIN_MESSAGE_ID: &str = "DLQ_ORIGIN_MESSAGE_ID";
/// `true` on a half message.
pub const TRAN_MSG: &str = "TRAN_MSG";
/// Set by servers on delivery by POP; removed when a client supplies it.
pub const POP_CK: &str = "POP_CK";
/// The timer properties, which ask for delivery at a later time.
pub const TIMER: [&str; 3] = ["TIMER_DELAY_SEC", "TIMER_DELAY_MS", "TIMER_DELIVER_MS"];

/// The pairs of a properties string, in order. Malformed pairs (no separator, empty name or value) are
/// skipped as RocketMQ's parser does.
pub fn iter(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(PROPERTY_SEPARATOR)
        .filter_map(|pair| pair.split_once(NAME_VALUE_SEPARATOR))
        .filter(|(name, value)| !name.is_empty() && !value.is_empty())
}

/// The value of the property called `name`; of several the last counts, as for RocketMQ's clients.
pub fn get<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    iter(text).filter(|(n, _)| *n == name).last().map(|(_, v)| v)
}

/// Appends one property, ending an unterminated predecessor first.
pub fn push(text: &mut String, name: &str, value: &str) {
    if !text.is_empty() && !text.ends_with(PROPERTY_SEPARATOR) {
        text.push(PROPERTY_SEPARATOR);
    }
    text.push_str(name);
    text.push(NAME_VALUE_SEPARATOR);
    text.push_str(value);
    text.push(PROPERTY_SEPARATOR);
}

/// The properties with some of them changed: those named are dropped, those with a value are added at the end. All
/// others stay as they are, in their order.
pub fn edit(text: &str, changes: &[(&str, Option<&str>)]) -> String {
    let added: usize = changes.iter().map(|(name, value)| name.len() + value.map_or(0, str::len) + 2).sum();
    let mut edited = String::with_capacity(text.len() + added);
    let kept = iter(text).filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    let new = changes.iter().filter_map(|(name, value)| value.map(|value| (*name, value)));
    for (name, value) in kept.chain(new) {
        push(&mut edited, name, value);
    }
    edited
}

/// What the store derives from a message's properties.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lookup<'a> {
    /// TAGS.
    pub tags: Option<&'a str>,
    /// KEYS, still joined by spaces.
    pub keys: Option<&'a str>,
    /// UNIQ_KEY.
    pub uniq_key: Option<&'a str>,
}

impl<'a> Lookup<'a> {
    /// Reads the three properties in one pass. Of a name that is there twice the last one counts, as for RocketMQ's clients.
    pub fn parse(text: &'a str) -> Self {
        let mut found = Self::default();
        for (name, value) in iter(text) {
            match name {
                TAGS => found.tags = Some(value),
                KEYS => found.keys = Some(value),
                UNIQ_KEY => found.uniq_key = Some(value),
                _ => {}
            }
        }
        found
    }

    /// Every text under which the message can be found: UNIQ_KEY, then each item of KEYS.
    pub fn lookup_keys(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let keys = self.keys.unwrap_or("");
        self.uniq_key.into_iter().chain(keys.split(' ').filter(|key| !key.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_pairs_are_skipped() {
        let text = "A\u{1}1\u{2}junk\u{2}\u{1}x\u{2}B\u{1}\u{2}C\u{1}3";
        assert_eq!(iter(text).collect::<Vec<_>>(), [("A", "1"), ("C", "3")]);
    }

    #[test]
    fn push_ends_an_open_predecessor() {
        let mut text = "A\u{1}1".to_owned();
        push(&mut text, "B", "2");
        assert_eq!(iter(&text).collect::<Vec<_>>(), [("A", "1"), ("B", "2")]);
    }

    #[test]
    fn an_edit_leaves_the_rest_as_it_is() {
        let text = "A\u{1}1\u{2}DELAY\u{1}3\u{2}B\u{1}2\u{2}";
        let edited = edit(text, &[("DELAY", None), ("A", Some("4")), ("absent", None)]);
        assert_eq!(iter(&edited).collect::<Vec<_>>(), [("B", "2"), ("A", "4")]);
    }

    #[test]
    fn lookup_keys_are_the_unique_key_and_every_business_key() {
        let text = "KEYS\u{1}k1  k2\u{2}UNIQ_KEY\u{1}u\u{2}TAGS\u{1}t\u{2}";
        let lookup = Lookup::parse(text);
        assert_eq!(lookup.lookup_keys().collect::<Vec<_>>(), ["u", "k1", "k2"]);
        assert_eq!(lookup.tags, Some("t"));
    }

    #[test]
    fn of_a_name_that_is_there_twice_the_last_counts() {
        let lookup = Lookup::parse("UNIQ_KEY\u{1}a\u{2}UNIQ_KEY\u{1}b\u{2}");
        assert_eq!(lookup.lookup_keys().collect::<Vec<_>>(), ["b"]);
    }
}
