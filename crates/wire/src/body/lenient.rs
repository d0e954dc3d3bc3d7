//! Field readers for what peers send besides the documented type.

use std::collections::BTreeSet;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// Reads `null` as the default value.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Reads a number that may be quoted, as the C++ client does; `null` is zero.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    deserializer.deserialize_any(Number)
}

/// Reads a set of numbers that may be quoted, as the Go client does; `null` is none.
pub(super) fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<i32>, D::Error> {
    #[derive(serde::Deserialize)]
    struct Quotable(#[serde(deserialize_with = "number")] i64);

    let numbers: Vec<Quotable> = or_default(deserializer)?;
    let narrow = |Quotable(number): Quotable| {
        i32::try_from(number)
            .map_err(|_| D::Error::invalid_value(Unexpected::Signed(number), &"a 32-bit integer"))
    };
    numbers.into_iter().map(narrow).collect()
}

struct Number;

impl<'de> Visitor<'de> for Number {
    type Value = i64;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an integer, quoted or not")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<i64, E> {
        Ok(number)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<i64, E> {
        i64::try_from(number).map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<i64, E> {
        text.parse().map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_unit<E: Error>(self) -> Result<i64, E> {
        Ok(0)
    }
}

/// An enum that travels by name, or by its ordinal when the sender is the C++ client.
pub(super) trait Named: Sized + Copy + 'static {
    /// Every value with its name, in the order of the ordinals.
    const VALUES: &'static [(Self, &'static str)];
}

/// Reads an enum by name or ordinal.
pub(super) fn named<'de, D: Deserializer<'de>, T: Named>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(NamedVisitor(PhantomData))
}

struct NamedVisitor<T>(PhantomData<T>);

impl<'de, T: Named> Visitor<'de> for NamedVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the name or the ordinal of one of")?;
        T::VALUES.iter().try_for_each(|(_, name)| write!(f, " {name}"))
    }

    fn visit_u64<E: Error>(self, ordinal: u64) -> Result<T, E> {
        let value = usize::try_from(ordinal).ok().and_then(|ordinal| T::VALUES.get(ordinal));
        value.map(|(value, _)| *value).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(ordinal), &self))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<T, E> {
        let value = T::VALUES.iter().find(|(_, known)| *known == name);
        value.map(|(value, _)| *value).ok_or_else(|| E::invalid_value(Unexpected::Str(name), &self))
    }
}

/// Declares an enum of the protocol: variants in the order of their Java ordinals, with their names.
macro_rules! named_enum {
    ($($(#[$doc:meta])* $enum:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal),+ $(,)? })+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub enum $enum {
                $($(#[$variant_doc])* #[doc = concat!("(`", $name, "`)")] $variant),+
            }

            impl $enum {
                /// The name on the wire.
                pub fn name(self) -> &'static str {
                    match self { $($enum::$variant => $name),+ }
                }
            }

            impl crate::body::lenient::Named for $enum {
                const VALUES: &'static [(Self, &'static str)] = &[$(($enum::$variant, $name)),+];
            }

            impl serde::Serialize for $enum {
                fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.serialize_str(self.name())
                }
            }

            impl<'de> serde::Deserialize<'de> for $enum {
                fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    crate::body::lenient::named(deserializer)
                }
            }
        )+
    };
}

pub(super) use named_enum;
