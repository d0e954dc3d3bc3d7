//! The macro behind the tables of typed headers.

/// Declares typed headers: `"name on the wire" => field: Type` with an optional `= default`. A struct that has a
/// short form too (SEND_MESSAGE_V2) gives every field both names: `"long" | "short" => field: Type`.
macro_rules! header {
    ($(
        $(#[$doc:meta])*
        $name:ident $(<$a:lifetime>)? {
            $($wire:literal $(| $short:literal)? => $field:ident: $type:ty $(= $default:expr)?),* $(,)?
        }
    )+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Eq)]
            pub struct $name $(<$a>)? {
                $(
                    #[doc = concat!("`", $wire, "` on the wire", $(", `", $short, "` in the short form",)?
                        $(", by default `", stringify!($default), "`",)? ".")]
                    pub $field: $type,
                )*
            }

            impl $(<$a>)? Default for $name $(<$a>)? {
                fn default() -> Self {
                    $name { $($field: header!(@default $($default)?)),* }
                }
            }

            header!(@codec decode encode $name [$($a)?] {
                $($wire => $field: $type $(= $default)?),*
            });
            header!(@short $name [$($a)?] {
                $($wire $(| $short)? => $field: $type $(= $default)?),*
            });
        )+
    };

    (@default) => { Default::default() };
    (@default $default:expr) => { $default };

    (@missing $wire:literal) => { Field::missing($wire)? };
    (@missing $wire:literal $default:expr) => { $default };

    (@short $name:ident [$($a:lifetime)?] {
        $($wire:literal | $short:literal => $field:ident: $type:ty $(= $default:expr)?),+
    }) => {
        header!(@codec decode_v2 encode_v2 $name [$($a)?] {
            $($short => $field: $type $(= $default)?),*
        });
    };
    (@short $($no_short_form:tt)*) => {};

    (@codec $decode:ident $encode:ident $name:ident [$($a:lifetime)?] {
        $($wire:literal => $field:ident: $type:ty $(= $default:expr)?),*
    }) => {
        impl $(<$a>)? $name $(<$a>)? {
            /// Reads the fields in one pass over `ext`.
            pub fn $decode(ext: &$($a)? ExtFields<'_>) -> Result<Self, HeaderError> {
                $(let mut $field: Option<$type> = None;)*
                for (key, value) in ext.iter() {
                    match key {
                        $($wire => $field = Field::read($wire, value)?,)*
                        _ => {}
                    }
                }
                Ok($name {
                    $($field: match $field {
                        Some(value) => value,
                        None => header!(@missing $wire $($default)?),
                    }),*
                })
            }

            /// Appends the fields to `ext`.
            pub fn $encode<'ext>(self, ext: &mut ExtFields<'ext>)
            where
                Self: 'ext,
            {
                ext.reserve([$($wire),*].len());
                $(if let Some(text) = self.$field.write() {
                    ext.push($wire, text);
                })*
            }
        }
    };
}

pub(super) use header;
