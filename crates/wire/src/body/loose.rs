//! fastjson's loose JSON: maps whose keys are not strings.
//!
//! An integer key is written bare (`{0:"ip:port"}`), an object key as the object itself (`{{"queueId":0,..}:5}`).
//! Reading turns both into string keys, the object into its JSON text, which is also what fastjson writes in its
//! strict mode; [`QueueMap`] reads such keys.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::ser::{CharEscape, Formatter};

use super::{BodyError, MessageQueue};

/// Deepest nesting read.
const MAX_DEPTH: u32 = 64;

/// A map keyed by message queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueMap<V>(pub BTreeMap<MessageQueue, V>);

impl<V> Default for QueueMap<V> {
    fn default() -> Self {
        QueueMap(BTreeMap::new())
    }
}

impl<V> Deref for QueueMap<V> {
    type Target = BTreeMap<MessageQueue, V>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<V> DerefMut for QueueMap<V> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<V> FromIterator<(MessageQueue, V)> for QueueMap<V> {
    fn from_iter<I: IntoIterator<Item = (MessageQueue, V)>>(entries: I) -> Self {
        QueueMap(entries.into_iter().collect())
    }
}

impl<V: Serialize> Serialize for QueueMap<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let key = |queue| serde_json::to_string(queue).map_err(S::Error::custom);
        let entries: Vec<_> =
            self.iter().map(|(queue, value)| Ok((key(queue)?, value))).collect::<Result<_, _>>()?;
        serializer.collect_map(entries)
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for QueueMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(QueueMapVisitor(PhantomData))
    }
}

struct QueueMapVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for QueueMapVisitor<V> {
    type Value = QueueMap<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map keyed by message queue")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut map = QueueMap::default();
        while let Some((key, value)) = entries.next_entry::<String, V>()? {
            map.insert(serde_json::from_str(&key).map_err(A::Error::custom)?, value);
        }
        Ok(map)
    }
}

/// Writes compact JSON, but a key that is an object's text as that object.
#[derive(Debug, Default)]
pub(super) struct ObjectKeys {
    key: Key,
}

#[derive(Debug, Default, PartialEq)]
enum Key {
    /// Not in a key.
    #[default]
    Outside,
    /// In a key whose text has not begun.
    Begun,
    /// In a key that is an object.
    Object,
    /// In a key that is a plain string.
    Text,
}

impl Formatter for ObjectKeys {
    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.key = Key::Begun;
        if first { Ok(()) } else { out.write_all(b",") }
    }

    fn end_object_key<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.key = Key::Outside;
        Ok(())
    }

    fn begin_string<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        if self.key == Key::Begun { Ok(()) } else { out.write_all(b"\"") }
    }

    fn end_string<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        match self.key {
            Key::Object => Ok(()),
            Key::Begun => out.write_all(b"\"\""),
            Key::Text | Key::Outside => out.write_all(b"\""),
        }
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        if self.key == Key::Begun {
            self.key = if fragment.starts_with('{') { Key::Object } else { Key::Text };
            if self.key == Key::Text {
                out.write_all(b"\"")?;
            }
        }
        out.write_all(fragment.as_bytes())
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, out: &mut W, escape: CharEscape) -> io::Result<()> {
        match (&self.key, escape) {
            (Key::Object, CharEscape::Quote) => out.write_all(b"\""),
            (Key::Object, CharEscape::ReverseSolidus) => out.write_all(b"\\"),
            (Key::Begun, escape) => {
                self.key = Key::Text;
                out.write_all(b"\"")?;
                write_escape(out, escape)
            }
            (_, escape) => write_escape(out, escape),
        }
    }
}

fn write_escape<W: ?Sized + Write>(out: &mut W, escape: CharEscape) -> io::Result<()> {
    serde_json::ser::CompactFormatter.write_char_escape(out, escape)
}

/// Rewrites loose JSON with string keys. Checks no more than that takes; the result goes to a JSON reader.
pub(super) fn to_strict(bytes: &[u8]) -> Result<Vec<u8>, BodyError> {
    let mut loose = Loose { bytes, at: 0, out: Vec::with_capacity(bytes.len() + bytes.len() / 4) };
    loose.value(0)?;
    loose.white_space();
    if loose.at < bytes.len() {
        return loose.error("text after the value");
    }
    Ok(loose.out)
}

struct Loose<'a> {
    bytes: &'a [u8],
    at: usize,
    out: Vec<u8>,
}

impl Loose<'_> {
    fn error<T>(&self, what: &'static str) -> Result<T, BodyError> {
        Err(BodyError::Loose { what, at: self.at })
    }

    fn white_space(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn peek(&mut self) -> Option<u8> {
        self.white_space();
        self.bytes.get(self.at).copied()
    }

    /// Copies `byte` if it is next.
    fn copy(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.at += 1;
            self.out.push(byte);
        }
        found
    }

    fn value(&mut self, depth: u32) -> Result<(), BodyError> {
        if depth == MAX_DEPTH {
            return self.error("nested too deeply");
        }
        match self.peek() {
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => self.string(),
            _ => self.word(),
        }
    }

    fn object(&mut self, depth: u32) -> Result<(), BodyError> {
        self.copy(b'{');
        if self.copy(b'}') {
            return Ok(());
        }
        loop {
            self.key()?;
            if !self.copy(b':') {
                return self.error("expected a colon");
            }
            self.value(depth)?;
            if !self.copy(b',') {
                return if self.copy(b'}') { Ok(()) } else { self.error("expected a comma or a brace") };
            }
        }
    }

    fn array(&mut self, depth: u32) -> Result<(), BodyError> {
        self.copy(b'[');
        if self.copy(b']') {
            return Ok(());
        }
        loop {
            self.value(depth)?;
            if !self.copy(b',') {
                return if self.copy(b']') { Ok(()) } else { self.error("expected a comma or a bracket") };
            }
        }
    }

    fn key(&mut self) -> Result<(), BodyError> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'{') => self.object_key(),
            _ => {
                self.out.push(b'"');
                self.word()?;
                self.out.push(b'"');
                Ok(())
            }
        }
    }

    /// Copies a flat object as a string. Flat, because quoting nested keys again and again would grow the text
    /// exponentially.
    fn object_key(&mut self) -> Result<(), BodyError> {
        let start = self.at;
        let mut in_string = false;
        loop {
            let Some(&byte) = self.bytes.get(self.at) else { return self.error("the key does not end") };
            self.at += 1;
            match byte {
                b'"' => in_string = !in_string,
                b'\\' if in_string => self.at += 1,
                b'{' if !in_string && self.at > start + 1 => return self.error("nested object in a key"),
                b'}' if !in_string => break,
                _ => {}
            }
        }
        self.out.push(b'"');
        for &byte in &self.bytes[start..self.at] {
            if matches!(byte, b'"' | b'\\') {
                self.out.push(b'\\');
            }
            if byte >= 0x20 {
                self.out.push(byte);
            }
        }
        self.out.push(b'"');
        Ok(())
    }

    fn string(&mut self) -> Result<(), BodyError> {
        let start = self.at;
        self.at += 1;
        while let Some(&byte) = self.bytes.get(self.at) {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'"' {
                self.out.extend_from_slice(&self.bytes[start..self.at]);
                return Ok(());
            }
        }
        self.error("the string does not end")
    }

    /// Copies a number, `true`, `false`, `null` or a bare key.
    fn word(&mut self) -> Result<(), BodyError> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().take_while(|b| b.is_ascii_alphanumeric() || b"+-._$".contains(b)).count();
        if length == 0 {
            return self.error("expected a value");
        }
        self.out.extend_from_slice(&rest[..length]);
        self.at += length;
        Ok(())
    }
}
