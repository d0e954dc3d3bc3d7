//! Java's properties, the format of RocketMQ's configuration files and of the bodies of UPDATE_BROKER_CONFIG: lines of
//! a key, a separator (`=`, `:` or blanks) and a value; `#` and `!` begin comments; a backslash joins lines and escapes.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

/// One setting of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Property {
    /// Line on which it begins, from 1.
    pub(super) line: usize,
    pub(super) key: String,
    /// Without the blanks at its end, which Java would keep and then refuse in a number.
    pub(super) value: String,
}

/// All settings in the order of the text.
pub(super) fn parse(text: &str) -> Vec<Property> {
    let mut properties = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, first)) = lines.next() {
        let mut logical = first.trim_start().to_owned();
        if logical.is_empty() || logical.starts_with(['#', '!']) {
            continue;
        }
        while goes_on(&logical) {
            logical.pop();
            let Some((_, next)) = lines.next() else { break };
            logical.push_str(next.trim_start());
        }
        let mut chars = logical.chars().peekable();
        let key = unescape(&mut chars, |c| c == '=' || c == ':' || c.is_whitespace());
        skip_blanks(&mut chars);
        if chars.next_if(|c| matches!(c, '=' | ':')).is_some() {
            skip_blanks(&mut chars);
        }
        let value = unescape(&mut chars, |_| false).trim_end().to_owned();
        properties.push(Property { line: at + 1, key, value });
    }
    properties
}

/// Writes a value so that `parse` and Java read it.
pub fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(c),
            // Java reads properties as Latin-1.
            other => other.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }),
        }
    }
    out
}

/// Whether a line ends in a backslash that is not itself escaped.
fn goes_on(line: &str) -> bool {
    line.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1
}

fn skip_blanks(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|c| c.is_whitespace()).is_some() {}
}

/// Reads up to an unescaped character that ends it, which stays.
fn unescape(chars: &mut Peekable<Chars<'_>>, ends: impl Fn(char) -> bool) -> String {
    let mut out: Vec<u16> = Vec::new();
    while let Some(c) = chars.next_if(|c| !ends(*c)) {
        let plain = if c == '\\' { chars.next() } else { Some(c) };
        let plain = match plain {
            Some(other) if c != '\\' => other,
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('f') => '\u{c}',
            Some('u') => {
                // One unit of UTF-16; two of them may be one character.
                let code: String = chars.by_ref().take(4).collect();
                out.push(u16::from_str_radix(&code, 16).unwrap_or(0xFFFD));
                continue;
            }
            Some(other) => other,
            None => continue,
        };
        out.extend_from_slice(plain.encode_utf16(&mut [0; 2]));
    }
    String::from_utf16_lossy(&out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(usize, String, String)> {
        parse(text).into_iter().map(|p| (p.line, p.key, p.value)).collect()
    }

    #[test]
    fn what_java_reads_is_read() {
        let text =
            "# comment\n\n! another\n a = 1 \nb:2\nc 3\nd\ne=\r\nf=x\\\n   y\\\n  z\ng=\\u4f60\\=\\\\\n";
        let expected = [
            (4, "a", "1"),
            (5, "b", "2"),
            (6, "c", "3"),
            (7, "d", ""),
            (8, "e", ""),
            (9, "f", "xyz"),
            (12, "g", "\u{4f60}=\\"),
        ];
        let expected: Vec<_> = expected.map(|(l, k, v)| (l, k.to_owned(), v.to_owned())).into();
        assert_eq!(pairs(text), expected);
    }

    #[test]
    fn what_is_written_is_read() {
        for value in ["", "a b", "C:\\store", "a\nb\tc", "#x", "1=2:3", "\u{4f60}\u{1f600}"] {
            let read = parse(&format!("key={}", escape(value)));
            assert_eq!(read, [Property { line: 1, key: "key".to_owned(), value: value.to_owned() }]);
        }
    }

    #[test]
    fn anything_is_read_without_a_panic() {
        for text in ["\\", "=", "a=\\u12", "a=\\uzzzz", "\\\n\\\n", "a\\", "\u{feff}a=1", ":::", "a=\\ud800"]
        {
            parse(text);
        }
    }
}
