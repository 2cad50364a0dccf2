//! The declarations' macro: one line per field, from which encode, decode and the served versions follow.
//!
//! ```text
//! schema! {
//!     message MetadataRequest 0-13 flexible 9+ {
//!         topics: Option<Vec<MetadataRequestTopic>>, 0+ null 1+;
//!         allow_auto_topic_creation: bool = true, 4+;
//!         include_cluster_authorized_operations: bool, 8-10;
//!     }
//!     part MetadataRequestTopic {
//!         topic_id: Uuid, 10+;
//!         name: Option<String>, 0+ null 10+;
//!     }
//! }
//! ```
//!
//! A line reads: name, type, default where it is not zero, empty or null, the versions that carry the field
//! (`4+`, `8-10`), and where they differ from the field's own, the versions in which it may be null. `tag 2`
//! at the end makes it a tagged field; those stand last, in the order of their tags, which is the order on
//! the wire.
//!
//! A field that a version lacks is left out when encoded and has its default when decoded. A tagged field is
//! written only when it differs from its default. Kafka's default of a nullable field is sometimes empty
//! rather than null; here it is null always, because that is what Rust's `Default` for an `Option` promises.
//!
//! A `message` has versions of its own; a `part` stands inside a message; a `nullable` part may be missing.

use std::ops::RangeInclusive;

use super::error::{Result, WireError};
use super::field::{Field, Shape};
use super::primitives::Decoder;

/// A whole request, response or record: what knows its own versions.
pub trait Message: Field + Default {
    /// Kafka's name of the message.
    const NAME: &'static str;
    /// The oldest version there is.
    const MIN_VERSION: i16;
    /// The newest version there is.
    const MAX_VERSION: i16;
    /// The first version in the flexible encoding.
    const FLEXIBLE_FROM: i16;

    /// Reads the message as `version` from where the decoder stands.
    ///
    /// # Errors
    /// Any [`WireError`]; the decoder's position is meaningless afterwards.
    fn decode_as(from: &mut Decoder<'_>, version: i16) -> Result<Self> {
        if !versions::<Self>().contains(&version) {
            return Err(WireError::UnsupportedVersion {
                message: Self::NAME,
                version,
            });
        }
        Self::read(from, shape::<Self>(version))
    }

    /// Appends the message as `version`.
    fn encode_as(&self, out: &mut Vec<u8>, version: i16) {
        self.write(out, shape::<Self>(version));
    }
}

/// The versions of a message.
pub const fn versions<M: Message>() -> RangeInclusive<i16> {
    M::MIN_VERSION..=M::MAX_VERSION
}

/// The encoding of one version of a message.
pub const fn shape<M: Message>(version: i16) -> Shape {
    Shape {
        version,
        flexible: version >= M::FLEXIBLE_FROM,
    }
}

/// Declares messages and their parts; see the module's documentation.
macro_rules! schema {
    // One field's default.
    (@default $ty:ty) => { <$ty>::default() };
    (@default $ty:ty, $default:expr) => { $default };

    // Whether a version carries a field.
    (@carries $version:ident $from:literal) => { $version >= $from };
    (@carries $version:ident $from:literal $to:literal) => { ($from..=$to).contains(&$version) };

    // Ordinary fields, in the order of their declaration.
    (@read $this:ident $bytes:ident $shape:ident $field:ident [$($range:literal)+] []) => {
        let version = $shape.version;
        if schema!(@carries version $($range)+) {
            $this.$field = $crate::wire::field::Field::read($bytes, $shape)?;
        }
    };
    (@read $this:ident $bytes:ident $shape:ident $field:ident [$($range:literal)+] [null $null:literal]) => {
        let version = $shape.version;
        if schema!(@carries version $($range)+) {
            $this.$field = $crate::wire::field::read_nullable($bytes, $shape, version >= $null)?;
        }
    };
    (@read $this:ident $bytes:ident $shape:ident $field:ident [$($range:literal)+] [tag $tag:literal]) => {};

    (@write $this:ident $out:ident $shape:ident $field:ident [$($range:literal)+] []) => {
        let version = $shape.version;
        if schema!(@carries version $($range)+) {
            $crate::wire::field::Field::write(&$this.$field, $out, $shape);
        }
    };
    (@write $this:ident $out:ident $shape:ident $field:ident [$($range:literal)+] [null $null:literal]) => {
        let version = $shape.version;
        if schema!(@carries version $($range)+) {
            $crate::wire::field::write_nullable(&$this.$field, $out, $shape, version >= $null);
        }
    };
    (@write $this:ident $out:ident $shape:ident $field:ident [$($range:literal)+] [tag $tag:literal]) => {};

    // Tagged fields, in the order of their tags.
    (@read_tag $this:ident $bytes:ident $shape:ident $tag:ident $end:ident
        $field:ident [$($range:literal)+] [tag $number:literal]) => {
        let version = $shape.version;
        if $tag == $number && schema!(@carries version $($range)+) {
            $this.$field = $crate::wire::field::Field::read($bytes, $shape)?;
            $bytes.end_tag($tag, $end)?;
            continue;
        }
    };
    (@read_tag $this:ident $bytes:ident $shape:ident $tag:ident $end:ident
        $field:ident [$($range:literal)+] []) => {};

    (@count_tag $this:ident $shape:ident $count:ident $field:ident [$($range:literal)+] [tag $tag:literal]
        $($default:tt)*) => {
        let version = $shape.version;
        if schema!(@carries version $($range)+) && $this.$field != schema!(@default $($default)*) {
            $count += 1;
        }
    };
    (@count_tag $this:ident $shape:ident $count:ident $field:ident [$($range:literal)+] []
        $($default:tt)*) => {};

    (@write_tag $this:ident $out:ident $shape:ident $field:ident [$($range:literal)+] [tag $tag:literal]
        $($default:tt)*) => {
        let version = $shape.version;
        if schema!(@carries version $($range)+) && $this.$field != schema!(@default $($default)*) {
            let start = $crate::wire::primitives::open_tag($out, $tag);
            $crate::wire::field::Field::write(&$this.$field, $out, $shape);
            $crate::wire::primitives::close_tag($out, start);
        }
    };
    (@write_tag $this:ident $out:ident $shape:ident $field:ident [$($range:literal)+] []
        $($default:tt)*) => {};

    // A struct, its defaults, and both directions.
    (@struct [$($doc:tt)*] $name:ident { $(
        $(#[$note:meta])*
        $field:ident : $ty:ty $(= $default:expr)?, $from:literal $(- $to:literal)? $(+)?
            $(null $null:literal +)? $(tag $tag:literal)? ;
    )* }) => {
        $($doc)*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name { $(
            $(#[$note])*
            #[doc = concat!("From version ", $from $(, " to ", $to)? $(, ", tag ", $tag)?, ".")]
            pub $field: $ty,
        )* }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: schema!(@default $ty $(, $default)?), )* }
            }
        }

        impl $crate::wire::field::Field for $name {
            #[allow(unused_mut, unused_variables)]
            fn read(
                bytes: &mut $crate::wire::primitives::Decoder<'_>,
                shape: $crate::wire::field::Shape,
            ) -> $crate::wire::error::Result<Self> {
                let mut this = Self::default();
                $( schema!(@read this bytes shape $field [$from $($to)?] [$(null $null)? $(tag $tag)?]); )*
                if shape.flexible {
                    for _ in 0..bytes.get_tag_count()? {
                        let (tag, end) = bytes.get_tag()?;
                        $( schema!(@read_tag this bytes shape tag end
                            $field [$from $($to)?] [$(tag $tag)?]); )*
                        bytes.skip_to(end);
                    }
                }
                Ok(this)
            }

            #[allow(unused_mut, unused_variables)]
            fn write(&self, out: &mut Vec<u8>, shape: $crate::wire::field::Shape) {
                let this = self;
                $( schema!(@write this out shape $field [$from $($to)?] [$(null $null)? $(tag $tag)?]); )*
                if shape.flexible {
                    let mut count = 0;
                    $( schema!(@count_tag this shape count $field [$from $($to)?] [$(tag $tag)?]
                        $ty $(, $default)?); )*
                    $crate::wire::primitives::put_uvarint(out, count);
                    $( schema!(@write_tag this out shape $field [$from $($to)?] [$(tag $tag)?]
                        $ty $(, $default)?); )*
                }
            }
        }
    };
    (@message message $name:ident $min:literal $max:literal $flexible:literal) => {
        impl $crate::wire::schema::Message for $name {
            const NAME: &'static str = stringify!($name);
            const MIN_VERSION: i16 = $min;
            const MAX_VERSION: i16 = $max;
            const FLEXIBLE_FROM: i16 = $flexible;
        }

        impl $name {
            /// Reads the message as `version`; any malformed field is an error.
            pub fn decode(
                bytes: &mut $crate::wire::primitives::Decoder<'_>,
                version: i16,
            ) -> $crate::wire::error::Result<Self> {
                $crate::wire::schema::Message::decode_as(bytes, version)
            }

            /// Appends the message as `version`; fields the version lacks are left out.
            pub fn encode(&self, out: &mut Vec<u8>, version: i16) {
                $crate::wire::schema::Message::encode_as(self, out, version);
            }
        }
    };
    (@message part $name:ident) => {};
    // A part that may be missing as a whole: a sign before it says whether it is there.
    (@message nullable $name:ident) => {
        impl $crate::wire::field::Field for Option<$name> {
            fn read(
                bytes: &mut $crate::wire::primitives::Decoder<'_>,
                shape: $crate::wire::field::Shape,
            ) -> $crate::wire::error::Result<Self> {
                if bytes.get_i8()? < 0 { Ok(None) } else { $name::read(bytes, shape).map(Some) }
            }

            fn write(&self, out: &mut Vec<u8>, shape: $crate::wire::field::Shape) {
                match self {
                    None => out.push(0xff),
                    Some(part) => {
                        out.push(1);
                        part.write(out, shape);
                    }
                }
            }
        }
    };

    ($(
        $(#[$note:meta])*
        $kind:ident $name:ident $($min:literal - $max:literal flexible $flexible:literal +)?
            { $($fields:tt)* }
    )*) => { $(
        schema! { @struct
            [$(#[$note])*
            #[doc = concat!("Kafka's `", stringify!($name), "`", $(", versions ", $min, "-", $max,)? ".")]]
            $name { $($fields)* } }
        schema! { @message $kind $name $($min $max $flexible)? }
    )* };
}

pub(crate) use schema;
