//! Tag filters: the broker compares hashes, the client the text (RocketMQ's `DefaultMessageFilter`).

use steadfast_types::java_hash::hash_code;

/// Which messages of a queue a consumer wants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TagFilter {
    /// All of them (`*`).
    #[default]
    All,
    /// Those whose tag has one of these hashes, ascending.
    Tags(Vec<i32>),
}

impl TagFilter {
    /// Parses a subscription such as `*` or `TagA || TagB`; nothing at all means everything, as in RocketMQ.
    pub fn parse(expression: &str) -> Self {
        let expression = expression.trim();
        if expression.is_empty() || expression == "*" {
            return Self::All;
        }
        let mut codes: Vec<i32> =
            expression.split("||").map(str::trim).filter(|tag| !tag.is_empty()).map(hash_code).collect();
        codes.sort_unstable();
        codes.dedup();
        if codes.is_empty() { Self::All } else { Self::Tags(codes) }
    }

    /// Whether a message with this tag code is wanted, as far as the hash can tell.
    pub fn matches(&self, tag: i32) -> bool {
        match self {
            Self::All => true,
            Self::Tags(codes) => codes.binary_search(&tag).is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        assert_eq!(TagFilter::parse(" * "), TagFilter::All);
        assert_eq!(TagFilter::parse(""), TagFilter::All);
        let filter = TagFilter::parse("TagA || TagB||");
        assert!(filter.matches(hash_code("TagA")) && filter.matches(hash_code("TagB")));
        assert!(!filter.matches(hash_code("TagC")) && !filter.matches(0));
    }
}
