//! Record batches, version 2: the 61 bytes in front of the records, what a produced batch must satisfy, and
//! the two fields the broker writes into it.
//!
//! ```text
//!  0        8        12       16 17      21      23        27        35       43       51      53      57      61
//!  | base   | batch  | leader |m | crc   | attri | last    | base    | max    | pro-   | pro-  | base  | re-   |
//!  | offset | length | epoch  |a | 32c   | butes | offset  | time-   | time-  | ducer  | ducer | se-   | cord  | records
//!  |        |        |        |g |       |       | delta   | stamp   | stamp  | id     | epoch | quence| count |
//!  | i64    | i32    | i32    |i8| u32   | i16   | i32     | i64     | i64    | i64    | i16   | i32   | i32   |
//! ```
//!
//! All big-endian. `batch length` counts the bytes after itself. The CRC-32C covers byte 21 to the end, so the
//! base offset and the leader epoch, which only the broker knows, can be written without computing it again.
//! The records behind the header are opaque here, and may be compressed.

mod builder;
mod error;
mod marker;

pub use builder::{BatchBuilder, control_key};
pub use error::{BatchError, Refusal, TimestampError};
pub use marker::{EndTxn, MarkerKind, marker_batch};

/// Bytes of the header of a version 2 batch, `batch length` field included.
pub const HEADER_BYTES: usize = 61;

/// Bytes up to and including the `batch length` field: what [`peek_size`] needs.
pub const LOG_OVERHEAD: usize = 12;

/// Bytes at the front of a batch that the broker writes: base offset, length (unchanged) and leader epoch.
pub const STAMPED_BYTES: usize = 16;

/// The only batch version served.
pub const MAGIC: i8 = 2;

/// "No producer id": the batch is neither idempotent nor transactional.
pub const NO_PRODUCER_ID: i64 = -1;

/// "No sequence": the batch is not idempotent.
pub const NO_SEQUENCE: i32 = -1;

/// "No timestamp": the producer set none.
pub const NO_TIMESTAMP: i64 = -1;

const LEADER_EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const MAX_TIMESTAMP_AT: usize = 35;

const COMPRESSION_MASK: i16 = 0b111;
const TIMESTAMP_TYPE_BIT: i16 = 1 << 3;
const TRANSACTIONAL_BIT: i16 = 1 << 4;
const CONTROL_BIT: i16 = 1 << 5;

/// The header of one batch, as read from its first 61 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record; 0 in what producers send.
    pub base_offset: i64,
    /// Bytes after this field: the batch takes 12 more.
    pub batch_length: i32,
    /// Epoch of the leader that appended the batch.
    pub partition_leader_epoch: i32,
    /// Version of the format; see [`MAGIC`].
    pub magic: i8,
    /// CRC-32C of byte 21 to the end.
    pub crc: u32,
    /// Codec, timestamp type, transactional and control bits.
    pub attributes: i16,
    /// Offset of the last record, counted from `base_offset`. Stays what it was when records are compacted away.
    pub last_offset_delta: i32,
    /// Timestamp of the first record, or the delete horizon when attribute bit 6 is set.
    pub base_timestamp_ms: i64,
    /// Largest timestamp in the batch, or the time of the append.
    pub max_timestamp_ms: i64,
    /// Producer id, or -1.
    pub producer_id: i64,
    /// Epoch of the producer, or -1.
    pub producer_epoch: i16,
    /// Sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// Number of records; 0 in a batch whose records were all compacted away.
    pub record_count: i32,
}

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not compressed.
    None,
    /// gzip.
    Gzip,
    /// snappy.
    Snappy,
    /// lz4 frame format.
    Lz4,
    /// Zstandard.
    Zstd,
    /// A codec number nobody defined: 5, 6 or 7.
    Unknown(u8),
}

/// What the timestamps of a batch mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// Set by the producer, per record.
    CreateTime,
    /// Set by the broker, one for the whole batch: `max_timestamp_ms`.
    LogAppendTime,
}

impl BatchHeader {
    /// Reads the header from the front of `bytes`; `None` when there are fewer than [`HEADER_BYTES`]. Nothing is checked.
    pub fn read(bytes: &[u8]) -> Option<BatchHeader> {
        let b: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        Some(BatchHeader {
            base_offset: i64::from_be_bytes(field(b, 0)),
            batch_length: i32::from_be_bytes(field(b, 8)),
            partition_leader_epoch: i32::from_be_bytes(field(b, LEADER_EPOCH_AT)),
            magic: i8::from_be_bytes(field(b, MAGIC_AT)),
            crc: u32::from_be_bytes(field(b, CRC_AT)),
            attributes: i16::from_be_bytes(field(b, ATTRIBUTES_AT)),
            last_offset_delta: i32::from_be_bytes(field(b, 23)),
            base_timestamp_ms: i64::from_be_bytes(field(b, 27)),
            max_timestamp_ms: i64::from_be_bytes(field(b, MAX_TIMESTAMP_AT)),
            producer_id: i64::from_be_bytes(field(b, 43)),
            producer_epoch: i16::from_be_bytes(field(b, 51)),
            base_sequence: i32::from_be_bytes(field(b, 53)),
            record_count: i32::from_be_bytes(field(b, 57)),
        })
    }

    /// The header's 61 bytes; the inverse of [`BatchHeader::read`].
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut b = [0; HEADER_BYTES];
        put(&mut b, 0, self.base_offset.to_be_bytes());
        put(&mut b, 8, self.batch_length.to_be_bytes());
        put(&mut b, LEADER_EPOCH_AT, self.partition_leader_epoch.to_be_bytes());
        put(&mut b, MAGIC_AT, self.magic.to_be_bytes());
        put(&mut b, CRC_AT, self.crc.to_be_bytes());
        put(&mut b, ATTRIBUTES_AT, self.attributes.to_be_bytes());
        put(&mut b, 23, self.last_offset_delta.to_be_bytes());
        put(&mut b, 27, self.base_timestamp_ms.to_be_bytes());
        put(&mut b, MAX_TIMESTAMP_AT, self.max_timestamp_ms.to_be_bytes());
        put(&mut b, 43, self.producer_id.to_be_bytes());
        put(&mut b, 51, self.producer_epoch.to_be_bytes());
        put(&mut b, 53, self.base_sequence.to_be_bytes());
        put(&mut b, 57, self.record_count.to_be_bytes());
        b
    }

    /// Bytes of the whole batch. 0 when the length field is negative beyond its own 12 bytes.
    pub fn size_bytes(&self) -> usize {
        usize::try_from(LOG_OVERHEAD as i64 + i64::from(self.batch_length)).unwrap_or(0)
    }

    /// Offset of the last record. Wraps rather than fails on a hostile header.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.wrapping_add(i64::from(self.last_offset_delta))
    }

    /// The codec of the records.
    pub fn compression(&self) -> Compression {
        match self.attributes & COMPRESSION_MASK {
            0 => Compression::None,
            1 => Compression::Gzip,
            2 => Compression::Snappy,
            3 => Compression::Lz4,
            4 => Compression::Zstd,
            other => Compression::Unknown(other as u8),
        }
    }

    /// Whether the batch holds a marker rather than data: the end of a transaction, a change of leader.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    /// What the timestamps mean.
    pub fn timestamp_type(&self) -> TimestampType {
        match self.attributes & TIMESTAMP_TYPE_BIT {
            0 => TimestampType::CreateTime,
            _ => TimestampType::LogAppendTime,
        }
    }

    /// Sequence number of the last record: after `i32::MAX` comes 0. -1 when the batch has none.
    pub fn last_sequence(&self) -> i32 {
        match self.base_sequence {
            NO_SEQUENCE => NO_SEQUENCE,
            base => advance_sequence(base, self.last_offset_delta),
        }
    }

    /// Whether an idempotent or transactional producer sent it.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }
}

/// The sequence number `by` (not negative) after `sequence`: after `i32::MAX` comes 0, not a negative number.
pub fn advance_sequence(sequence: i32, by: i32) -> i32 {
    sequence.wrapping_add(by) & i32::MAX
}

/// Size in bytes of the batch that `bytes` starts with, for walking along a log. `None` when there are fewer than
/// [`LOG_OVERHEAD`] bytes. The batch may reach beyond the end of `bytes`.
///
/// Zeroes, as they follow the last batch in a preallocated file, give [`BatchError::Length`].
pub fn peek_size(bytes: &[u8]) -> Option<Result<usize, BatchError>> {
    let front: &[u8; LOG_OVERHEAD] = bytes.first_chunk()?;
    let claimed_bytes = LOG_OVERHEAD as i64 + i64::from(i32::from_be_bytes(field(front, 8)));
    Some(match usize::try_from(claimed_bytes) {
        Ok(size) if size >= HEADER_BYTES => Ok(size),
        _ => Err(BatchError::Length {
            claimed_bytes,
            have_bytes: bytes.len(),
        }),
    })
}

/// Checks what a producer sent: `bytes` must be exactly one batch that the log may take as it is.
///
/// The order of the checks is Kafka's, so that a batch with several faults gets the same answer. The records themselves
/// are not looked at: fewer or more of them than the header counts, which Kafka refuses, pass here. The sizes a topic
/// allows, timestamps ([`check_timestamps`]) and sequence order (`producers`) are checked elsewhere.
pub fn validate(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    validate_from(bytes, true)
}

/// The same for what a coordinator of the broker's own writes, which may be part of a producer's transaction without being numbered by it.
pub fn validate_own(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    validate_from(bytes, false)
}

fn validate_from(bytes: &[u8], is_numbered: bool) -> Result<BatchHeader, BatchError> {
    let header = frame(bytes, bytes.len())?;
    if header.base_offset != 0 {
        return Err(BatchError::BaseOffset(header.base_offset));
    }
    check_crc(&header, &[bytes])?;
    if let Compression::Unknown(codec) = header.compression() {
        return Err(BatchError::Compression(i16::from(codec)));
    }
    check_produced(&header, is_numbered)?;
    Ok(header)
}

/// Checks a batch read back from disk: `bytes` must be exactly one batch with the right checksum.
///
/// Control batches are allowed here, and so is what compaction leaves: fewer records than offsets, even none.
pub fn check_stored(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    check_stored_pieces(&[bytes])
}

/// [`check_stored`] of a batch that lies in several pieces, one behind the other.
pub fn check_stored_pieces(pieces: &[&[u8]]) -> Result<BatchHeader, BatchError> {
    let mut front = [0; HEADER_BYTES];
    let mut filled = 0;
    for piece in pieces {
        let count = piece.len().min(HEADER_BYTES - filled);
        front[filled..filled + count].copy_from_slice(&piece[..count]);
        filled += count;
    }
    let header = frame(&front[..filled], pieces.iter().map(|p| p.len()).sum())?;
    check_crc(&header, pieces)?;
    if header.last_offset_delta < 0 || header.record_count < 0 {
        let BatchHeader {
            record_count,
            last_offset_delta,
            ..
        } = header;
        return Err(BatchError::Count {
            record_count,
            last_offset_delta,
        });
    }
    Ok(header)
}

/// Checks the timestamps of a batch for a CreateTime topic: within `[now - before_max, now + after_max]`.
///
/// Kafka looks at every record, and writes the largest timestamp it found into the header. Here the header is believed: it
/// has the first record's timestamp and the largest one, so that a record too old behind a good one passes, and a wrong
/// largest timestamp is judged as it stands. -1, no timestamp, passes.
pub fn check_timestamps(
    header: &BatchHeader,
    now_ms: i64,
    before_max_ms: i64,
    after_max_ms: i64,
) -> Result<(), TimestampError> {
    let earliest_ms = now_ms.saturating_sub(before_max_ms);
    let latest_ms = now_ms.saturating_add(after_max_ms);
    for timestamp_ms in [header.base_timestamp_ms, header.max_timestamp_ms] {
        if timestamp_ms != NO_TIMESTAMP && !(earliest_ms..=latest_ms).contains(&timestamp_ms) {
            return Err(TimestampError {
                timestamp_ms,
                earliest_ms,
                latest_ms,
            });
        }
    }
    Ok(())
}

/// Writes the offset and the leader's epoch into a batch. The checksum does not cover them.
///
/// # Panics
/// When `bytes` is shorter than [`STAMPED_BYTES`]: only checked batches are stamped.
pub fn stamp(bytes: &mut [u8], base_offset: i64, leader_epoch: i32) {
    put(bytes, 0, base_offset.to_be_bytes());
    put(bytes, LEADER_EPOCH_AT, leader_epoch.to_be_bytes());
}

/// The first 16 bytes of a batch as [`stamp`] would leave them, for copying a batch that must not be changed where
/// it lies: these, then `bytes[STAMPED_BYTES..]`.
pub fn stamped_prefix(header: &BatchHeader, base_offset: i64, leader_epoch: i32) -> [u8; STAMPED_BYTES] {
    let mut prefix = [0; STAMPED_BYTES];
    stamp(&mut prefix, base_offset, leader_epoch);
    put(&mut prefix, 8, header.batch_length.to_be_bytes());
    prefix
}

/// Makes `now_ms` the timestamp of every record of the batch, and computes the checksum again, over all of it.
///
/// # Panics
/// When `bytes` is shorter than a header: only checked batches are stamped.
pub fn stamp_log_append_time(bytes: &mut [u8], now_ms: i64) {
    bytes[ATTRIBUTES_AT + 1] |= TIMESTAMP_TYPE_BIT as u8;
    put(bytes, MAX_TIMESTAMP_AT, now_ms.to_be_bytes());
    let crc = crc_fast::crc32_iscsi(&bytes[ATTRIBUTES_AT..]);
    put(bytes, CRC_AT, crc.to_be_bytes());
}

/// Of `have_bytes` bytes that start with `front`: one whole version 2 batch and nothing else; returns its header.
fn frame(front: &[u8], have_bytes: usize) -> Result<BatchHeader, BatchError> {
    let size = match peek_size(front).ok_or(BatchError::TooShort { have_bytes })? {
        Err(BatchError::Length { claimed_bytes, .. }) => {
            return Err(BatchError::Length {
                claimed_bytes,
                have_bytes,
            });
        }
        other => other?,
    };
    let claimed_bytes = size as i64;
    let header = BatchHeader::read(front).ok_or(BatchError::Truncated {
        claimed_bytes,
        have_bytes,
    })?;
    if size > have_bytes {
        return Err(BatchError::Truncated {
            claimed_bytes,
            have_bytes,
        });
    }
    if header.magic != MAGIC {
        return Err(BatchError::Magic(header.magic));
    }
    if size < have_bytes {
        return Err(BatchError::MoreThanOneBatch {
            first_bytes: size,
            have_bytes,
        });
    }
    Ok(header)
}

/// The checksum of a batch in pieces, which are as long together as the header says.
fn check_crc(header: &BatchHeader, pieces: &[&[u8]]) -> Result<(), BatchError> {
    let computed = match pieces {
        [whole] => crc_fast::crc32_iscsi(&whole[ATTRIBUTES_AT..]),
        _ => crc_of_pieces(pieces),
    };
    if computed == header.crc {
        Ok(())
    } else {
        Err(BatchError::Crc {
            expected: header.crc,
            computed,
        })
    }
}

fn crc_of_pieces(pieces: &[&[u8]]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    let mut uncovered = ATTRIBUTES_AT;
    for piece in pieces {
        let skip = uncovered.min(piece.len());
        uncovered -= skip;
        digest.update(&piece[skip..]);
    }
    digest.finalize() as u32
}

/// `is_numbered`: whether a producer's batch must have a sequence number.
fn check_produced(header: &BatchHeader, is_numbered: bool) -> Result<(), BatchError> {
    let &BatchHeader {
        record_count,
        last_offset_delta,
        producer_id,
        base_sequence,
        ..
    } = header;
    if record_count <= 0 {
        return Err(BatchError::Empty { record_count });
    }
    if i64::from(last_offset_delta) + 1 != i64::from(record_count) {
        return Err(BatchError::Count {
            record_count,
            last_offset_delta,
        });
    }
    if header.is_control() {
        return Err(BatchError::Control);
    }
    if is_numbered && header.has_producer_id() && base_sequence < 0 {
        return Err(BatchError::Sequence {
            producer_id,
            base_sequence,
        });
    }
    if header.timestamp_type() == TimestampType::LogAppendTime {
        return Err(BatchError::LogAppendTime);
    }
    Ok(())
}

/// `N` bytes at a place the compiler can see to be inside.
fn field<const N: usize, const M: usize>(bytes: &[u8; M], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[at + i])
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}

#[cfg(test)]
mod tests;
