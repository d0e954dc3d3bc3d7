//! How a field's type is read from and written to its text.

use std::borrow::Cow;

use crate::header::HeaderError;

/// A type that a header field can have.
pub(super) trait Field<'a>: Sized {
    /// Reads the text of the field `name`; `Ok(None)` if the text counts as a missing field.
    fn read(name: &'static str, text: &'a str) -> Result<Option<Self>, HeaderError>;

    /// What a missing field reads as.
    fn missing(name: &'static str) -> Result<Self, HeaderError> {
        Err(HeaderError::Missing { field: name })
    }

    /// The text to write; `None` leaves the field out.
    fn write(self) -> Option<Cow<'a, str>>;
}

impl<'a> Field<'a> for Cow<'a, str> {
    fn read(_: &'static str, text: &'a str) -> Result<Option<Self>, HeaderError> {
        Ok(Some(Cow::Borrowed(text)))
    }

    fn write(self) -> Option<Cow<'a, str>> {
        Some(self)
    }
}

/// Numbers. Empty text counts as missing: the binary header writes a null that way.
macro_rules! number {
    ($($number:ty),+) => {
        $(impl<'a> Field<'a> for $number {
            fn read(name: &'static str, text: &'a str) -> Result<Option<Self>, HeaderError> {
                if text.is_empty() {
                    return Ok(None);
                }
                text.parse().map(Some).map_err(|_| HeaderError::invalid(name, text))
            }

            fn write(self) -> Option<Cow<'a, str>> {
                Some(Cow::Owned(self.to_string()))
            }
        })+
    };
}

number!(i32, i64);

/// `true` and `false` in any case, and the C++ client's `1` and `0`.
impl<'a> Field<'a> for bool {
    fn read(name: &'static str, text: &'a str) -> Result<Option<Self>, HeaderError> {
        match text {
            "" => Ok(None),
            "true" | "1" => Ok(Some(true)),
            "false" | "0" => Ok(Some(false)),
            _ if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            _ if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            _ => Err(HeaderError::invalid(name, text)),
        }
    }

    fn write(self) -> Option<Cow<'a, str>> {
        Some(Cow::Borrowed(if self { "true" } else { "false" }))
    }
}

/// Which message a search by time means when none has exactly that time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Boundary {
    /// The smallest offset at or after the time.
    #[default]
    Lower,
    /// The largest offset at or before the time.
    Upper,
}

impl<'a> Field<'a> for Boundary {
    fn read(name: &'static str, text: &'a str) -> Result<Option<Self>, HeaderError> {
        match text {
            "" => Ok(None),
            _ if text.eq_ignore_ascii_case("lower") => Ok(Some(Boundary::Lower)),
            _ if text.eq_ignore_ascii_case("upper") => Ok(Some(Boundary::Upper)),
            _ => Err(HeaderError::invalid(name, text)),
        }
    }

    fn write(self) -> Option<Cow<'a, str>> {
        Some(Cow::Borrowed(match self {
            Boundary::Lower => "LOWER",
            Boundary::Upper => "UPPER",
        }))
    }
}

impl<'a, F: Field<'a>> Field<'a> for Option<F> {
    fn read(name: &'static str, text: &'a str) -> Result<Option<Self>, HeaderError> {
        F::read(name, text).map(Some)
    }

    fn missing(_: &'static str) -> Result<Self, HeaderError> {
        Ok(None)
    }

    fn write(self) -> Option<Cow<'a, str>> {
        self.and_then(F::write)
    }
}
