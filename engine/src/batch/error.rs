//! Why a batch is refused, and what to answer.

use std::fmt;

use super::{HEADER_BYTES, MAGIC};

/// Why a batch was refused. Each variant names the answer Kafka gives; [`BatchError::refusal`] says it in code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchError {
    /// Fewer bytes than one header. INVALID_RECORD: there is no batch.
    TooShort {
        /// Bytes there are.
        have_bytes: usize,
    },
    /// The length field says more than there is. INVALID_RECORD: there is no whole batch.
    Truncated {
        /// Bytes of the whole batch according to its length field.
        claimed_bytes: i64,
        /// Bytes there are.
        have_bytes: usize,
    },
    /// The length field says less than a header. CORRUPT_MESSAGE.
    Length {
        /// Bytes of the whole batch according to its length field.
        claimed_bytes: i64,
        /// Bytes there are.
        have_bytes: usize,
    },
    /// Bytes follow the first batch. INVALID_RECORD. (Kafka passes over a tail shorter than 12 bytes, and calls one that is
    /// no batch CORRUPT_MESSAGE; here all of them are refused alike.)
    MoreThanOneBatch {
        /// Bytes of the first batch.
        first_bytes: usize,
        /// Bytes there are.
        have_bytes: usize,
    },
    /// Not version 2. INVALID_RECORD for the old versions 0 and 1, CORRUPT_MESSAGE for all others.
    Magic(i8),
    /// A producer must leave the base offset 0. INVALID_RECORD.
    BaseOffset(i64),
    /// The bytes are not those the checksum was computed over. CORRUPT_MESSAGE, which clients send again.
    Crc {
        /// What the header says.
        expected: u32,
        /// What the bytes give.
        computed: u32,
    },
    /// Codec 5, 6 or 7. UNSUPPORTED_COMPRESSION_TYPE. (Kafka fails with UNKNOWN_SERVER_ERROR.)
    Compression(i16),
    /// No records, or a negative number of them. INVALID_RECORD.
    Empty {
        /// The record count in the header.
        record_count: i32,
    },
    /// The offsets the header spans are not as many as its records. INVALID_RECORD.
    Count {
        /// The record count in the header.
        record_count: i32,
        /// The last offset delta in the header, which must be one less.
        last_offset_delta: i32,
    },
    /// Only the broker writes control batches. INVALID_RECORD.
    Control,
    /// A producer id without a sequence number. INVALID_RECORD.
    Sequence {
        /// The id of the producer.
        producer_id: i64,
        /// The base sequence in the header.
        base_sequence: i32,
    },
    /// Only the broker sets the type of the timestamps to the time of the append. INVALID_TIMESTAMP. (Kafka says so for
    /// LogAppendTime topics only; for others it clears the bit and computes the checksum again.)
    LogAppendTime,
}

/// The kinds of answer to a refused batch, named after Kafka's errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// CORRUPT_MESSAGE: damaged on the way, worth sending again.
    Corrupt,
    /// INVALID_RECORD: will never be accepted.
    InvalidRecord,
    /// INVALID_TIMESTAMP.
    InvalidTimestamp,
    /// UNSUPPORTED_COMPRESSION_TYPE.
    UnsupportedCompression,
}

impl BatchError {
    /// What to answer.
    pub fn refusal(&self) -> Refusal {
        match self {
            BatchError::Length { .. } | BatchError::Crc { .. } => Refusal::Corrupt,
            BatchError::Magic(magic) if !(0..=1).contains(magic) => Refusal::Corrupt,
            BatchError::LogAppendTime => Refusal::InvalidTimestamp,
            BatchError::Compression(_) => Refusal::UnsupportedCompression,
            _ => Refusal::InvalidRecord,
        }
    }
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BatchError::TooShort { have_bytes } => {
                write!(
                    f,
                    "{have_bytes} bytes are no record batch, whose header takes {HEADER_BYTES}"
                )
            }
            BatchError::Truncated {
                claimed_bytes,
                have_bytes,
            } => {
                write!(
                    f,
                    "the record batch says it has {claimed_bytes} bytes, but only {have_bytes} are there"
                )
            }
            BatchError::Length { claimed_bytes, .. } => {
                write!(
                    f,
                    "the record batch says it has {claimed_bytes} bytes, less than its header"
                )
            }
            BatchError::MoreThanOneBatch {
                first_bytes,
                have_bytes,
            } => {
                write!(
                    f,
                    "exactly one record batch is allowed: the first ends at {first_bytes} of {have_bytes} bytes"
                )
            }
            BatchError::Magic(magic) => write!(f, "record batch version {magic} is not served, only {MAGIC}"),
            BatchError::BaseOffset(offset) => write!(
                f,
                "the base offset must be 0 in what a producer sends, not {offset}"
            ),
            BatchError::Crc { expected, computed } => {
                write!(
                    f,
                    "the record batch is damaged: its CRC-32C is {computed:#010x}, not {expected:#010x}"
                )
            }
            BatchError::Compression(codec) => write!(f, "compression codec {codec} does not exist"),
            BatchError::Empty { record_count } => write!(f, "the record batch counts {record_count} records"),
            BatchError::Count {
                record_count,
                last_offset_delta,
            } => {
                write!(
                    f,
                    "the record batch counts {record_count} records, but its last offset delta is {last_offset_delta}"
                )
            }
            BatchError::Control => write!(f, "producers may not write control batches"),
            BatchError::Sequence {
                producer_id,
                base_sequence,
            } => {
                write!(f, "producer {producer_id} sent base sequence {base_sequence}")
            }
            BatchError::LogAppendTime => {
                write!(f, "producers may not set the timestamp type to LogAppendTime")
            }
        }
    }
}

impl std::error::Error for BatchError {}

/// A timestamp outside what the topic allows. INVALID_TIMESTAMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampError {
    /// The timestamp.
    pub timestamp_ms: i64,
    /// The earliest allowed, inclusive.
    pub earliest_ms: i64,
    /// The latest allowed, inclusive.
    pub latest_ms: i64,
}

impl fmt::Display for TimestampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TimestampError {
            timestamp_ms,
            earliest_ms,
            latest_ms,
        } = self;
        write!(
            f,
            "timestamp {timestamp_ms} is outside [{earliest_ms}, {latest_ms}], which the topic allows"
        )
    }
}

impl std::error::Error for TimestampError {}
