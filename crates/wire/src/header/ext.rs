//! The ext fields of a header: an insertion-ordered string map.

use std::borrow::Cow;

/// String map in the order of the wire; unknown keys are kept, since an ACL signature covers all of them.
///
/// A repeated key is kept too; the last one wins in [`ExtFields::get`] and in the typed headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtFields<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> ExtFields<'a> {
    /// An empty map with room for `capacity` fields.
    pub fn with_capacity(capacity: usize) -> Self {
        ExtFields(Vec::with_capacity(capacity))
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(k, _)| k == key).map(|(_, value)| value.as_ref())
    }

    /// Appends a field.
    pub fn push(&mut self, key: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) {
        self.0.push((key.into(), value.into()));
    }

    /// Makes room for `additional` more fields.
    pub fn reserve(&mut self, additional: usize) {
        self.0.reserve(additional);
    }

    /// The fields in insertion order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), value.as_ref()))
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same map, independent of the frame it was read from.
    pub fn into_owned(self) -> ExtFields<'static> {
        let own = |text: Cow<'a, str>| Cow::Owned(text.into_owned());
        ExtFields(self.0.into_iter().map(|(key, value)| (own(key), own(value))).collect())
    }
}

impl<'a, K: Into<Cow<'a, str>>, V: Into<Cow<'a, str>>> FromIterator<(K, V)> for ExtFields<'a> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(fields: I) -> Self {
        ExtFields(fields.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}
