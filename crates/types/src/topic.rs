//! Topic and group names: what is legal, what the system reserves, and the permission bits.

use crate::limits;

/// Topic that producers name as template when theirs does not exist yet (`autoCreateTopicEnable`).
pub const AUTO_CREATE: &str = "TBW102";
/// Prefix of a group's retry topic.
pub const RETRY_PREFIX: &str = "%RETRY%";
/// Prefix of a group's dead-letter topic.
pub const DLQ_PREFIX: &str = "%DLQ%";

/// Topic that holds delayed messages until they are due, one queue for each delay level.
pub const SCHEDULE: &str = "SCHEDULE_TOPIC_XXXX";

/// Permission bit: a topic created from this one inherits its settings.
pub const PERM_INHERIT: u32 = 1;
/// Permission bit: writable.
pub const PERM_WRITE: u32 = 2;
/// Permission bit: readable.
pub const PERM_READ: u32 = 4;

/// Topics that belong to the system and take no messages from clients (RocketMQ's `TopicValidator`).
const NOT_ALLOWED_TO_SEND: [&str; 6] = [
    SCHEDULE,
    "RMQ_SYS_TRANS_HALF_TOPIC",
    "RMQ_SYS_TRANS_OP_HALF_TOPIC",
    "TRANS_CHECK_MAX_TIME_TOPIC",
    "SELF_TEST_TOPIC",
    "OFFSET_MOVED_EVENT",
];

/// Further topics of the system, which an operator may not create or delete.
const SYSTEM: [&str; 4] = [AUTO_CREATE, "BenchmarkTest", "RMQ_SYS_TRACE_TOPIC", "CHECKPOINT_TOPIC"];

/// What a name consists of, for people.
pub const NAME_CHARACTERS: &str = "letters, digits, and % | _ -";

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name is empty.
    #[error("the name is empty")]
    Empty,
    /// The name is too long.
    #[error("the name has {len} bytes, the limit is {max}")]
    TooLong {
        /// Bytes in the name.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The name has a character outside `[%|a-zA-Z0-9_-]`.
    #[error("the name has the character {0:?}; allowed are {all}", all = NAME_CHARACTERS)]
    Character(char),
}

/// Checks a topic's name against RocketMQ's rules.
pub fn check_topic(name: &str) -> Result<(), NameError> {
    let derived = name.starts_with(RETRY_PREFIX) || name.starts_with(DLQ_PREFIX);
    check(name, if derived { limits::DERIVED_TOPIC_LEN } else { limits::TOPIC_LEN })
}

/// Checks a group's name against RocketMQ's rules.
pub fn check_group(name: &str) -> Result<(), NameError> {
    check(name, limits::GROUP_LEN)
}

fn check(name: &str, max: usize) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > max {
        return Err(NameError::TooLong { len: name.len(), max });
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '%' | '|' | '_' | '-');
    name.chars().find(|c| !legal(*c)).map_or(Ok(()), |c| Err(NameError::Character(c)))
}

/// Whether clients may send to this topic at all.
pub fn may_send(name: &str) -> bool {
    !NOT_ALLOWED_TO_SEND.contains(&name)
}

/// Whether the topic belongs to the system.
pub fn is_system(name: &str) -> bool {
    SYSTEM.contains(&name) || NOT_ALLOWED_TO_SEND.contains(&name) || name.starts_with("rmq_sys_")
}

/// The topics of the system, except those whose name only begins like theirs (`rmq_sys_`).
pub fn system_topics() -> impl Iterator<Item = &'static str> {
    SYSTEM.into_iter().chain(NOT_ALLOWED_TO_SEND)
}

/// Name of the topic for answers to request messages in a cluster.
pub fn reply_topic(cluster: &str) -> String {
    format!("{cluster}_REPLY_TOPIC")
}

/// Name of the retry topic of `group`.
pub fn retry_topic(group: &str) -> String {
    format!("{RETRY_PREFIX}{group}")
}

/// Name of the topic of `group`'s dead letters.
pub fn dlq_topic(group: &str) -> String {
    format!("{DLQ_PREFIX}{group}")
}

/// Consumer groups of tools and of the system itself, which need no settings (RocketMQ's
/// `SubscriptionGroupManager`).
const SYSTEM_GROUPS: [&str; 4] =
    ["TOOLS_CONSUMER", "FILTERSRV_CONSUMER", "SELF_TEST_C_GROUP", "__MONITOR_CONSUMER"];

/// Whether the consumer group belongs to the system.
pub fn is_system_group(name: &str) -> bool {
    SYSTEM_GROUPS.contains(&name) || name.starts_with("CID_RMQ_SYS_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(check_topic("%RETRY%a|b_c-9"), Ok(()));
        assert_eq!(check_topic(""), Err(NameError::Empty));
        assert_eq!(check_topic("a b"), Err(NameError::Character(' ')));
        assert!(matches!(check_topic(&"x".repeat(128)), Err(NameError::TooLong { len: 128, max: 127 })));
        assert_eq!(check_topic(&format!("%DLQ%{}", "x".repeat(200))), Ok(()));
    }
}
