//! Why bytes are not a message.

use std::fmt;

use super::primitives::{MAX_STRING_BYTES, MAX_TAGS};

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// The message ends before the field does.
    Truncated {
        /// Bytes the field needs.
        wanted: usize,
        /// Bytes there are.
        left: usize,
    },
    /// A length below -1, or below 0 where null is not allowed.
    NegativeLength(i32),
    /// A field is null in a version that does not allow it.
    Null,
    /// A string is longer than [`MAX_STRING_BYTES`].
    LongString(usize),
    /// A string is not UTF-8.
    NotUtf8,
    /// A varint that goes on after its last possible byte.
    LongVarint,
    /// More elements than a message may hold, or than its bytes can.
    TooManyElements(usize),
    /// More than [`MAX_TAGS`] tagged fields in one struct.
    TooManyTags(usize),
    /// Bytes follow where the message should end.
    BytesLeft(usize),
    /// A known tagged field does not fill the size it was announced with.
    TagSize(u32),
    /// This message has no such version.
    UnsupportedVersion {
        /// The message's name.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// No message has this number.
    UnknownType(i32),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated { wanted, left } => write!(f, "a field of {wanted} bytes where {left} are left"),
            Self::NegativeLength(length) => write!(f, "a length of {length}"),
            Self::Null => f.write_str("null where a value is required"),
            Self::LongString(length) => write!(f, "a string of {length} bytes, at most {MAX_STRING_BYTES}"),
            Self::NotUtf8 => f.write_str("a string that is not UTF-8"),
            Self::LongVarint => f.write_str("a varint without end"),
            Self::TooManyElements(count) => write!(f, "an array of {count} elements, more than can be there"),
            Self::TooManyTags(count) => write!(f, "{count} tagged fields, at most {MAX_TAGS}"),
            Self::BytesLeft(left) => write!(f, "{left} bytes after the end of the message"),
            Self::TagSize(tag) => write!(f, "tagged field {tag} does not fill its size"),
            Self::UnsupportedVersion { message, version } => write!(f, "{message} has no version {version}"),
            Self::UnknownType(number) => write!(f, "no message has the number {number}"),
        }
    }
}

impl std::error::Error for WireError {}

/// What decoding gives.
pub type Result<T> = std::result::Result<T, WireError>;
