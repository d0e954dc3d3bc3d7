//! The header of a remoting frame, the same in both serializations.

mod binary;
mod ext;
mod json_read;
mod json_write;

use std::borrow::Cow;

use bytes::BytesMut;

pub use ext::ExtFields;

use crate::frame::Serialize;

/// Ordinal of RocketMQ's `MQVersion` enum that our own headers carry: V5_5_0.
pub const VERSION: i32 = 513;

/// Most ext fields accepted in one header; clients send fewer than 30.
pub const MAX_EXT_FIELDS: usize = 1024;

const FLAG_RESPONSE: i32 = 1;
const FLAG_ONEWAY: i32 = 2;

/// A decoded header. Borrows its strings from the frame where they need no unescaping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header<'a> {
    /// Request code, or response code when [`Header::is_response`]; see [`crate::code`]. The binary form carries
    /// only its low 16 bits (sign-extended when read), as in RocketMQ.
    pub code: i32,
    /// Implementation language of the sender.
    pub language: Language,
    /// Ordinal of RocketMQ's `MQVersion` enum; 16 bits in the binary form.
    pub version: i32,
    /// Request id, echoed by the response. Both peers count independently.
    pub opaque: i32,
    /// Bit 0: response, bit 1: oneway.
    pub flag: i32,
    /// Error text. The binary form cannot tell an empty one from none.
    pub remark: Option<Cow<'a, str>>,
    /// The string map that holds the request's own fields; see [`crate::headers`].
    pub ext: ExtFields<'a>,
}

impl<'a> Header<'a> {
    /// A request of ours.
    pub fn request(code: i32, opaque: i32) -> Self {
        let ext = ExtFields::default();
        Header { code, language: Language::Java, version: VERSION, opaque, flag: 0, remark: None, ext }
    }

    /// A response of ours to the request with id `opaque`.
    pub fn response(code: i32, opaque: i32) -> Self {
        Header { flag: FLAG_RESPONSE, ..Header::request(code, opaque) }
    }

    /// Marks a request as oneway: it never gets a response.
    pub fn oneway(mut self) -> Self {
        self.flag |= FLAG_ONEWAY;
        self
    }

    /// Sets the error text.
    pub fn with_remark(mut self, remark: impl Into<Cow<'a, str>>) -> Self {
        self.remark = Some(remark.into());
        self
    }

    /// Whether this answers a request; decided by the flag alone, since opaque ids of both peers overlap.
    pub fn is_response(&self) -> bool {
        self.flag & FLAG_RESPONSE != 0
    }

    /// Whether the sender expects no response, not even for errors.
    pub fn is_oneway(&self) -> bool {
        self.flag & FLAG_ONEWAY != 0
    }

    /// Decodes the header bytes of a frame.
    pub fn decode(serialize: Serialize, bytes: &'a [u8]) -> Result<Header<'a>, HeaderError> {
        match serialize {
            Serialize::Json => json_read::decode(bytes),
            Serialize::RocketMq => binary::decode(bytes),
        }
    }

    /// Appends the encoded header, without the frame around it (see [`crate::frame::encode`]).
    pub fn encode(&self, serialize: Serialize, out: &mut BytesMut) {
        match serialize {
            Serialize::Json => json_write::encode(self, out),
            Serialize::RocketMq => binary::encode(self, out),
        }
    }

    /// The same header, independent of the frame it was read from.
    pub fn into_owned(self) -> Header<'static> {
        Header {
            code: self.code,
            language: self.language,
            version: self.version,
            opaque: self.opaque,
            flag: self.flag,
            remark: self.remark.map(|remark| Cow::Owned(remark.into_owned())),
            ext: self.ext.into_owned(),
        }
    }
}

/// Why a header, or a typed view of its ext fields, cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The JSON text is malformed.
    #[error("header JSON: {what} at byte {at}")]
    Json {
        /// What is wrong.
        what: &'static str,
        /// Byte offset in the header.
        at: usize,
    },
    /// The binary header is malformed.
    #[error("binary header: {0}")]
    Binary(&'static str),
    /// A string is not UTF-8.
    #[error("header text is not UTF-8")]
    NotUtf8,
    /// More than [`MAX_EXT_FIELDS`].
    #[error("header has more than {MAX_EXT_FIELDS} ext fields")]
    TooManyFields,
    /// A required field is not there.
    #[error("header field {field} is missing")]
    Missing {
        /// Name on the wire.
        field: &'static str,
    },
    /// A field's text is not of its type.
    #[error("header field {field} has the invalid value {value:?}")]
    Invalid {
        /// Name on the wire.
        field: &'static str,
        /// The text found, shortened when long.
        value: String,
    },
}

impl HeaderError {
    /// An [`HeaderError::Invalid`] that keeps at most 64 characters of the value: it ends in logs and remarks.
    pub(crate) fn invalid(field: &'static str, value: &str) -> Self {
        HeaderError::Invalid { field, value: value.chars().take(64).collect() }
    }
}

/// The language table: variant, code in the binary header, name in the JSON header.
macro_rules! languages {
    ($($variant:ident = $code:literal $name:literal),+ $(,)?) => {
        /// Implementation language of a peer; an unknown one reads as [`Language::Other`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        #[allow(missing_docs)]
        pub enum Language { $($variant = $code),+ }

        impl Language {
            /// The code of the binary header.
            pub fn from_code(code: u8) -> Self {
                match code { $($code => Language::$variant,)+ _ => Language::Other }
            }

            /// The name of the JSON header.
            pub fn from_name(name: &str) -> Self {
                match name { $($name => Language::$variant,)+ _ => Language::Other }
            }

            /// The name as the JSON header has it.
            pub fn name(self) -> &'static str {
                match self { $(Language::$variant => $name),+ }
            }
        }
    };
}

languages! {
    Java = 0 "JAVA", Cpp = 1 "CPP", Dotnet = 2 "DOTNET", Python = 3 "PYTHON", Delphi = 4 "DELPHI",
    Erlang = 5 "ERLANG", Ruby = 6 "RUBY", Other = 7 "OTHER", Http = 8 "HTTP", Go = 9 "GO", Php = 10 "PHP",
    Oms = 11 "OMS", Rust = 12 "RUST", NodeJs = 13 "NODE_JS",
}
