//! Record batches of Kafka's format, version 2, with their records: what a client looks into, and the broker only where it must, in
//! compacted topics and for timestamps.
//!
//! [`Batches`] cuts fetched or stored bytes into [`Batch`]es; [`Batch::records`] unpacks one and walks its
//! [`Record`]s; [`BatchBuilder`] makes one. [`RawRecords`] walks unpacked records where they lie. All input is hostile: every length is
//! checked against the bytes that are there, and unpacking stops at a limit.

mod batch;
mod build;
mod compress;
pub mod header;
mod raw;
mod record;
mod varint;

use std::fmt::{self, Display};

pub use batch::{Batch, Batches, whole_size_bytes};
pub use build::{BatchBuilder, NewRecord, Producer};
pub use compress::{Codec, compress, unpack, unpack_slice};
pub use raw::{RawRecord, RawRecords};
pub use record::{ControlKind, Headers, Record, Records};

/// How many bytes one batch may unpack to unless the user says otherwise.
pub const DEFAULT_MAX_UNPACKED_BYTES: u64 = 1 << 30;

/// Why a batch or its records cannot be read.
#[allow(missing_docs)] // the fields: said by their variant
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// A magic byte other than 2: message sets of Kafka before 0.11, or garbage.
    Magic(i8),
    /// A length field no batch can have.
    Length(i32),
    /// The CRC-32C of the bytes is not the one stored.
    Crc { stored: u32, computed: u32 },
    /// Bits 0 to 2 of the attributes name no codec.
    UnknownCodec(u8),
    /// The codec could not unpack the bytes.
    Unpack { codec: Codec, reason: String },
    /// Unpacking was stopped at the limit.
    TooLarge { codec: Codec, limit_bytes: u64 },
    /// The record at this place in the batch contradicts its own lengths.
    Malformed { index: usize, what: &'static str },
    /// Bytes remain after as many records as the header counts.
    TrailingBytes(usize),
}

impl Display for RecordError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic(magic @ 0..=1) => {
                write!(
                    out,
                    "magic {magic}: a message set of Kafka before 0.11, which is not read here"
                )
            }
            Self::Magic(magic) => write!(out, "magic {magic}, which no record batch has"),
            Self::Length(length) => write!(out, "batch length {length}, which no record batch has"),
            Self::Crc { stored, computed } => {
                write!(
                    out,
                    "CRC mismatch: the header says {stored:#010x}, the bytes give {computed:#010x}"
                )
            }
            Self::UnknownCodec(bits) => write!(out, "unknown compression codec {bits}"),
            Self::Unpack { codec, reason } => write!(out, "cannot unpack {codec}: {reason}"),
            Self::TooLarge { codec, limit_bytes } => {
                write!(out, "{codec} batch unpacks to more than {limit_bytes} bytes")
            }
            Self::Malformed { index, what } => {
                write!(out, "record {index} of the batch is malformed: {what}")
            }
            Self::TrailingBytes(count) => write!(out, "{count} bytes are left after the batch's last record"),
        }
    }
}

impl std::error::Error for RecordError {}

#[cfg(test)]
mod tests;
