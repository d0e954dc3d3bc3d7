//! The limits of a setting beyond its type. The table has them; what is refused, what errors say and what the help and
//! docs/settings.md tell all follow from the one value.

use std::ops::{RangeFrom, RangeInclusive};

use steadfast_types::{limits, topic};

use super::value::Value;

/// What of a type's values a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// A number of the type's unit.
    Number {
        from: u64,
        to: u64,
        /// It is a multiple of this.
        multiple_of: u64,
    },
    /// A name, which a topic may have too.
    Name,
    /// The same, or nothing.
    NameOrEmpty,
}

const AT_LEAST: &str = "at least";

impl Limit {
    const ANY: Self = Self::Number { from: 0, to: u64::MAX, multiple_of: 1 };

    pub(super) fn multiples(range: RangeInclusive<u64>, multiple_of: u64) -> Self {
        Self::Number { from: *range.start(), to: *range.end(), multiple_of }
    }

    /// Refuses what is beyond it.
    ///
    /// # Errors
    /// What the value must be, to be said after the key.
    pub(super) fn check<V: Value>(self, value: V) -> Result<V, String> {
        let refused = match self {
            Self::NameOrEmpty if value.text().is_empty() => None,
            Self::Name | Self::NameOrEmpty => {
                topic::check_topic(&value.text()).err().map(|error| format!("is refused: {error}"))
            }
            Self::Number { from, to, multiple_of } => {
                let holds = |number: u64| (from..=to).contains(&number) && number.is_multiple_of(multiple_of);
                let is_taken = value.number().is_none_or(holds);
                (!is_taken).then(|| format!("must be {}", self.numbers::<V>()))
            }
        };
        refused.map_or(Ok(value), Err)
    }

    /// All that a setting of type `V` takes, for people; `limit` is None if it takes every value of the type.
    pub(super) fn takes<V: Value>(limit: Option<Self>) -> String {
        let kind = V::kind();
        match limit.or(V::MAX.map(|_| Self::ANY)) {
            None => kind,
            Some(Self::Name) => format!("1 to {} {}", limits::TOPIC_LEN, topic::NAME_CHARACTERS),
            Some(Self::NameOrEmpty) => format!("{}; or nothing", Self::takes::<V>(Some(Self::Name))),
            Some(limit) => match limit.numbers::<V>() {
                numbers if numbers.is_empty() => kind,
                numbers if numbers.starts_with(AT_LEAST) => format!("{kind}, {numbers}"),
                numbers => format!("{kind} from {numbers}"),
            },
        }
    }

    /// The numbers that a setting of type `V` takes; empty if it is all that can be written.
    fn numbers<V: Value>(self) -> String {
        let Self::Number { from, to, multiple_of } = self else { return String::new() };
        let to = to.min(V::MAX.unwrap_or(u64::MAX));
        let range = match (from, to) {
            (0, u64::MAX) => String::new(),
            (_, u64::MAX) => format!("{AT_LEAST} {}", V::show(from)),
            _ => format!("{} to {}", V::show(from), V::show(to)),
        };
        if multiple_of > 1 { format!("{range}, a multiple of {}", V::show(multiple_of)) } else { range }
    }
}

impl From<RangeInclusive<u64>> for Limit {
    fn from(range: RangeInclusive<u64>) -> Self {
        Self::multiples(range, 1)
    }
}

impl From<RangeFrom<u64>> for Limit {
    fn from(range: RangeFrom<u64>) -> Self {
        Self::multiples(range.start..=u64::MAX, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::value::{Bytes, Millis};
    use super::*;

    #[test]
    fn what_is_refused_is_what_is_told() {
        let limit = Limit::multiples(1 << 20..=1 << 31, 4096);
        assert_eq!(
            Limit::takes::<Bytes>(Some(limit)),
            format!("{} from 1MiB to 2GiB, a multiple of 4KiB", Bytes::KIND)
        );
        let told = Err("must be 1MiB to 2GiB, a multiple of 4KiB".to_owned());
        for (number, taken) in
            [(0, false), (1 << 20, true), ((1 << 20) + 1, false), (1 << 31, true), (1 << 32, false)]
        {
            let expected = if taken { Ok(Bytes(number)) } else { told.clone() };
            assert_eq!(limit.check(Bytes(number)), expected, "{number}");
        }
        assert_eq!(Limit::takes::<Millis>(Some((1..).into())), "milliseconds from 1 to 4294967295");
        assert_eq!(Limit::from(1..).check(Millis(0)), Err("must be 1 to 4294967295".to_owned()));
        assert_eq!(
            Limit::takes::<Bytes>(Some((1 << 20..).into())),
            format!("{}, at least 1MiB", Bytes::KIND)
        );
        assert_eq!((Limit::takes::<Bytes>(None), Limit::takes::<bool>(None)), (Bytes::kind(), bool::kind()));
    }

    #[test]
    fn names_are_those_of_topics() {
        let takes = Limit::takes::<String>(Some(Limit::Name));
        assert!(takes.starts_with("1 to 127 letters, digits"), "{takes}");
        let longest = "x".repeat(limits::TOPIC_LEN);
        assert!(
            Limit::Name.check(longest.clone()).is_ok() && Limit::Name.check(format!("{longest}x")).is_err()
        );
        assert!(Limit::NameOrEmpty.check(String::new()).is_ok() && Limit::Name.check(String::new()).is_err());
    }
}
