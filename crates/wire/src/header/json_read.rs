//! Reads a header from JSON in one pass over its bytes.
//!
//! Accepts all valid JSON headers, plus what peers are known to send or may send: numbers in quotes, ext values
//! that are numbers or booleans (kept as their text), raw control characters in strings. A lone surrogate escape
//! reads as U+FFFD.

use std::borrow::Cow;

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
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            if byte > b' ' || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Takes `byte` if it is next.
    #[inline]
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
    #[inline]
    fn value_text(&mut self) -> Result<Cow<'a, str>, HeaderError> {
        if self.peek() == Some(b'"') {
            return self.string();
        }
        let start = self.at;
        self.skip(0)?;
        Ok(Cow::Borrowed(&self.text[start..self.at]))
    }

    fn integer(&mut self, field: &'static str) -> Result<i32, HeaderError> {
        if self.peek() == Some(b'"') {
            let text = self.string()?;
            return text.parse().map_err(|_| HeaderError::invalid(field, &text));
        }
        let start = self.at;
        while self.rest().first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'-') {
            self.at += 1;
        }
        let text = &self.text[start..self.at];
        text.parse().map_err(|_| HeaderError::invalid(field, text))
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
            Some(b'"') => self.skip_string(),
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

    #[inline]
    fn string(&mut self) -> Result<Cow<'a, str>, HeaderError> {
        self.expect(b'"', "expected a string")?;
        match self.run()? {
            (text, b'"') => Ok(Cow::Borrowed(text)),
            (text, _) => self.escaped_string(text).map(Cow::Owned),
        }
    }

    /// The rest of a string behind its first backslash, appended to what stood `before`.
    fn escaped_string(&mut self, before: &str) -> Result<String, HeaderError> {
        let mut out = String::with_capacity(2 * before.len() + 64);
        out.push_str(before);
        loop {
            out.push(self.escape()?);
            let (text, end) = self.run()?;
            out.push_str(text);
            if end == b'"' {
                return Ok(out);
            }
        }
    }

    fn skip_string(&mut self) -> Result<(), HeaderError> {
        self.at += 1;
        while self.run()?.1 == b'\\' {
            self.escape()?;
        }
        Ok(())
    }

    /// Takes what stands before the next quote or backslash, and that byte.
    #[inline(always)]
    fn run(&mut self) -> Result<(&'a str, u8), HeaderError> {
        let start = self.at;
        let Some(found) = quote_or_backslash(self.rest()) else {
            return self.error("the string does not end");
        };
        let end = start + found;
        self.at = end + 1;
        Ok((&self.text[start..end], self.text.as_bytes()[end]))
    }

    /// Takes an escape whose backslash is taken, all of it ASCII.
    #[inline]
    fn escape(&mut self) -> Result<char, HeaderError> {
        match escape(self.rest()) {
            Some((symbol, length)) => {
                self.at += length;
                Ok(symbol)
            }
            None => self.error("malformed escape"),
        }
    }
}

/// Where the first quote or backslash is. Looks at eight bytes at a time: most strings of a header are too short
/// for a call of `memchr` to pay.
#[inline]
fn quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    // The high bit of the lowest zero byte is set, and of none below it.
    let zero_bytes = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let mut at = 0;
    while let Some(chunk) = bytes[at..].first_chunk() {
        let word = u64::from_le_bytes(*chunk);
        let found =
            zero_bytes(word ^ (ONES * u64::from(b'"'))) | zero_bytes(word ^ (ONES * u64::from(b'\\')));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let found = bytes[at..].iter().position(|&byte| byte == b'"' || byte == b'\\')?;
    Some(at + found)
}

/// The character of the escape whose backslash precedes `bytes`, and how many bytes it takes.
#[inline]
fn escape(bytes: &[u8]) -> Option<(char, usize)> {
    let symbol = match bytes {
        // The separators of a properties string, the commonest escapes by far.
        [b'u', b'0', b'0', b'0', digit @ b'0'..=b'7', ..] => return Some((char::from(digit - b'0'), 5)),
        [b'u', digits @ ..] => return unicode_escape(digits).map(|(symbol, length)| (symbol, length + 1)),
        [b'n', ..] => '\n',
        [b'r', ..] => '\r',
        [b't', ..] => '\t',
        [b'b', ..] => '\u{8}',
        [b'f', ..] => '\u{c}',
        [byte @ (b'"' | b'\\' | b'/'), ..] => char::from(*byte),
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
