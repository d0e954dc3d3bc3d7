//! Reads a header from JSON in one pass over its bytes.
//!
//! Accepts all valid JSON headers, plus what peers are known to send or may send: numbers in quotes, ext values
//! that are numbers or booleans (kept as their text), raw control characters in strings. A lone surrogate escape
//! reads as U+FFFD.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use super::{ExtFields, Header, HeaderError, Language, MAX_EXT_FIELDS};

/// Deepest nesting of members that are skipped.
const MAX_DEPTH: u32 = 64;

pub(super) fn decode(bytes: &[u8]) -> Result<Header<'_>, HeaderError> {
    let text = std::str::from_utf8(bytes).map_err(|_| HeaderError::NotUtf8)?;
    let mut scan = Scanner { text, at: 0 };
    let mut header = Header { version: 0, ..Header::request(0, 0) };
    let mut code = None;
    scan.object(|scan, key| {
        if scan.null()? {
            return Ok(());
        }
        match key.as_ref() {
            "code" => code = Some(scan.integer("code")?),
            "language" => header.language = scan.language()?,
            "version" => header.version = scan.integer("version")?,
            "opaque" => header.opaque = scan.integer("opaque")?,
            "flag" => header.flag = scan.integer("flag")?,
            "remark" => header.remark = Some(scan.string()?),
            "extFields" => header.ext = scan.ext_fields()?,
            _ => scan.skip(0)?,
        }
        Ok(())
    })?;
    scan.end()?;
    header.code = code.ok_or(HeaderError::Missing { field: "code" })?;
    Ok(header)
}

/// A position in the text; `text` is valid UTF-8, so slices between ASCII bytes need no further check.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn error<T>(&self, what: &'static str) -> Result<T, HeaderError> {
        Err(HeaderError::Json { what, at: self.at })
    }

    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    /// The next byte that is not white space, without taking it.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = self.text.as_bytes().get(self.at).copied();
            if !matches!(byte, Some(b' ' | b'\t' | b'\n' | b'\r')) {
                return byte;
            }
            self.at += 1;
        }
    }

    /// Takes `byte` if it is next.
    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), HeaderError> {
        if self.take(byte) { Ok(()) } else { self.error(what) }
    }

    fn end(&mut self) -> Result<(), HeaderError> {
        if self.peek().is_none() { Ok(()) } else { self.error("text after the header") }
    }

    /// Reads an object, calling `member` at each value with its key.
    fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Cow<'a, str>) -> Result<(), HeaderError>,
    ) -> Result<(), HeaderError> {
        self.expect(b'{', "expected an object")?;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let key = self.string()?;
            self.expect(b':', "expected a colon")?;
            member(self, key)?;
            if !self.take(b',') {
                return self.expect(b'}', "expected a comma or the end of the object");
            }
        }
    }

    fn ext_fields(&mut self) -> Result<ExtFields<'a>, HeaderError> {
        let mut fields = ExtFields::with_capacity(16);
        self.object(|scan, key| {
            if fields.len() == MAX_EXT_FIELDS {
                return Err(HeaderError::TooManyFields);
            }
            if !scan.null()? {
                fields.push(key, scan.value_text()?);
            }
            Ok(())
        })?;
        Ok(fields)
    }

    /// The text of any value: of a string what it stands for, of all else the JSON itself.
    fn value_text(&mut self) -> Result<Cow<'a, str>, HeaderError> {
        if self.peek() == Some(b'"') {
            return self.string();
        }
        let start = self.at;
        self.skip(0)?;
        Ok(Cow::Borrowed(&self.text[start..self.at]))
    }

    fn integer(&mut self, field: &'static str) -> Result<i32, HeaderError> {
        let text = self.value_text()?;
        text.parse().map_err(|_| HeaderError::invalid(field, &text))
    }

    /// By name, or by the number that the binary header uses.
    fn language(&mut self) -> Result<Language, HeaderError> {
        let text = self.value_text()?;
        Ok(text.parse().map_or_else(|_| Language::from_name(&text), Language::from_code))
    }

    fn null(&mut self) -> Result<bool, HeaderError> {
        if self.peek() != Some(b'n') {
            return Ok(false);
        }
        self.word(b"null").map(|()| true)
    }

    fn word(&mut self, word: &[u8]) -> Result<(), HeaderError> {
        if !self.rest().starts_with(word) {
            return self.error("unknown word");
        }
        self.at += word.len();
        Ok(())
    }

    fn skip(&mut self, depth: u32) -> Result<(), HeaderError> {
        if depth == MAX_DEPTH {
            return self.error("nested too deeply");
        }
        match self.peek() {
            Some(b'"') => self.raw_string().map(|_| ()),
            Some(b'{') => self.object(|scan, _| scan.skip(depth + 1)),
            Some(b'[') => self.skip_array(depth + 1),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            _ => self.skip_number(),
        }
    }

    fn skip_array(&mut self, depth: u32) -> Result<(), HeaderError> {
        self.at += 1;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            self.skip(depth)?;
            if !self.take(b',') {
                return self.expect(b']', "expected a comma or the end of the array");
            }
        }
    }

    fn skip_number(&mut self) -> Result<(), HeaderError> {
        let digits = |scan: &mut Self| {
            let count = scan.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
            scan.at += count;
            if count > 0 { Ok(()) } else { scan.error("expected a value") }
        };
        let next_in = |scan: &mut Self, bytes: &[u8]| {
            let found = scan.rest().first().is_some_and(|next| bytes.contains(next));
            scan.at += usize::from(found);
            found
        };
        next_in(self, b"-");
        digits(self)?;
        if next_in(self, b".") {
            digits(self)?;
        }
        if next_in(self, b"eE") {
            next_in(self, b"+-");
            digits(self)?;
        }
        Ok(())
    }

    fn string(&mut self) -> Result<Cow<'a, str>, HeaderError> {
        let start = self.at;
        let (raw, escaped) = self.raw_string()?;
        if !escaped {
            return Ok(Cow::Borrowed(raw));
        }
        match unescape(raw) {
            Some(text) => Ok(Cow::Owned(text)),
            None => Err(HeaderError::Json { what: "a string with a bad escape", at: start }),
        }
    }

    /// What stands between the quotes, and whether it has escapes.
    fn raw_string(&mut self) -> Result<(&'a str, bool), HeaderError> {
        self.expect(b'"', "expected a string")?;
        let start = self.at;
        let mut escaped = false;
        while let Some(found) =
            self.text.as_bytes().get(self.at..).and_then(|rest| memchr2(b'"', b'\\', rest))
        {
            self.at += found + 1;
            if self.text.as_bytes()[self.at - 1] == b'"' {
                return Ok((&self.text[start..self.at - 1], escaped));
            }
            escaped = true;
            self.at += 1;
        }
        self.at = self.text.len();
        self.error("the string does not end")
    }
}

/// Resolves the escapes of a string; `None` if one is malformed.
fn unescape(mut raw: &str) -> Option<String> {
    let mut out = String::with_capacity(raw.len());
    while let Some(at) = memchr(b'\\', raw.as_bytes()) {
        out.push_str(&raw[..at]);
        let (symbol, used) = escape(&raw.as_bytes()[at + 1..])?;
        out.push(symbol);
        raw = &raw[at + 1 + used..];
    }
    out.push_str(raw);
    Some(out)
}

/// The character of the escape whose backslash precedes `bytes`, and how many bytes it takes (all of them ASCII).
fn escape(bytes: &[u8]) -> Option<(char, usize)> {
    let symbol = match bytes.first()? {
        b'u' => return unicode_escape(&bytes[1..]).map(|(symbol, used)| (symbol, used + 1)),
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        &byte @ (b'"' | b'\\' | b'/') => char::from(byte),
        _ => return None,
    };
    Some((symbol, 1))
}

fn unicode_escape(bytes: &[u8]) -> Option<(char, usize)> {
    let unit = hex4(bytes)?;
    if let Some(symbol) = char::from_u32(unit) {
        return Some((symbol, 4));
    }
    let low = bytes[4..].strip_prefix(b"\\u").and_then(hex4);
    match (unit, low) {
        (0xD800..=0xDBFF, Some(low @ 0xDC00..=0xDFFF)) => {
            let symbol = 0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
            char::from_u32(symbol).map(|symbol| (symbol, 10))
        }
        _ => Some((char::REPLACEMENT_CHARACTER, 4)),
    }
}

fn hex4(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.first_chunk::<4>()?;
    digits.iter().try_fold(0, |value, &digit| Some(value << 4 | char::from(digit).to_digit(16)?))
}
