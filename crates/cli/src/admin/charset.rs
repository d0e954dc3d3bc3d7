//! Encodings of message bodies, by the names that Java has for them (`-f GBK`).

use std::borrow::Cow;

use encoding_rs::{BIG5, Encoding, GBK, REPLACEMENT, SHIFT_JIS, UTF_8, UTF_16BE, UTF_16LE};

/// An encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charset {
    /// A byte is a character with that number.
    Latin1,
    /// The same for the first 128.
    Ascii,
    /// Big-endian, unless a mark at the beginning tells.
    Utf16,
    /// One of those that the web knows.
    Known(&'static Encoding),
}

impl Charset {
    /// The encoding with this name, in any case.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        let name = name.trim();
        let is = |names: &[&str]| names.iter().any(|one| one.eq_ignore_ascii_case(name));
        // The web takes these names for encodings that have more characters, and knows no code pages of Windows.
        let own = [
            (Charset::Latin1, &["ISO-8859-1", "ISO8859-1", "ISO8859_1", "latin1"][..]),
            (Charset::Ascii, &["US-ASCII", "ASCII"]),
            (Charset::Utf16, &["UTF-16", "UTF_16"]),
            (Charset::Known(UTF_16BE), &["UTF_16BE"]),
            (Charset::Known(UTF_16LE), &["UTF_16LE"]),
            (Charset::Known(GBK), &["CP936", "MS936"]),
            (Charset::Known(SHIFT_JIS), &["CP932"]),
            (Charset::Known(BIG5), &["CP950", "MS950"]),
        ];
        if let Some((charset, _)) = own.iter().find(|(_, names)| is(names)) {
            return Ok(*charset);
        }
        Encoding::for_label(name.as_bytes())
            .filter(|encoding| *encoding != REPLACEMENT)
            .map(Charset::Known)
            .ok_or_else(|| {
                format!(
                    "{name:?} is no encoding that is known here; there are UTF-8, GBK, GB18030, Big5, \
                                    Shift_JIS, EUC-JP, EUC-KR, UTF-16, ISO-8859-1 and others of the web"
                )
            })
    }

    /// The text; what is none in this encoding is replaced by U+FFFD, as in Java.
    pub(super) fn decode(self, bytes: &[u8]) -> Cow<'_, str> {
        match self {
            Charset::Latin1 => bytes.iter().copied().map(char::from).collect(),
            Charset::Ascii => {
                let ascii =
                    |byte: u8| if byte.is_ascii() { char::from(byte) } else { char::REPLACEMENT_CHARACTER };
                bytes.iter().copied().map(ascii).collect()
            }
            Charset::Utf16 => match bytes {
                [0xff, 0xfe, rest @ ..] => UTF_16LE.decode_without_bom_handling(rest).0,
                [0xfe, 0xff, rest @ ..] | rest => UTF_16BE.decode_without_bom_handling(rest).0,
            },
            Charset::Known(encoding) => encoding.decode_without_bom_handling(bytes).0,
        }
    }
}

/// What the tools of RocketMQ read bodies as when nothing else is said.
impl Default for Charset {
    fn default() -> Self {
        Charset::Known(UTF_8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_as_java_reads_them() {
        for (name, bytes, text) in [
            ("UTF-8", &b"\xe7\xba\xa2\xe5\x8c\x85"[..], "红包"),
            ("gbk", b"\xba\xec\xb0\xfc", "红包"),
            ("GB2312", b"\xba\xec\xb0\xfc", "红包"),
            ("GB18030", b"\xba\xec\xb0\xfc", "红包"),
            ("Big5", b"\xac\xf5\xa5\x5d", "紅包"),
            ("CP936", b"\xba\xec\xb0\xfc", "红包"),
            ("Shift_JIS", b"\x83e", "テ"),
            ("UTF-16", b"\x7e\xa2", "红"),
            ("UTF-16", b"\xff\xfe\xa2\x7e", "红"),
            ("UTF-16", b"\xfe\xff\x7e\xa2", "红"),
            ("UTF-16LE", b"\xa2\x7e", "红"),
            // On the web these two are windows-1252, where 0x80 is the euro sign.
            ("ISO-8859-1", b"\xe9\x80", "é\u{80}"),
            ("US-ASCII", b"a\xe9", "a\u{fffd}"),
            ("windows-1252", b"\x80", "€"),
            ("UTF-8", b"a\xff", "a\u{fffd}"),
        ] {
            assert_eq!(Charset::parse(name).unwrap().decode(bytes), text, "{name}");
        }
        for name in ["", "EBCDIC", "hz-gb-2312"] {
            assert!(Charset::parse(name).unwrap_err().contains("GB18030"), "{name}");
        }
    }
}
