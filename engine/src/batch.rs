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
use ringlog_records::header::{
    ATTRIBUTES_AT, CONTROL_BIT, CRC_AT, LEADER_EPOCH_AT, MAX_TIMESTAMP_AT, TIMESTAMP_TYPE_BIT,
    TRANSACTIONAL_BIT,
};
pub use ringlog_records::header::{
    BatchHeader, Compression, HEADER_BYTES, LOG_OVERHEAD, MAGIC, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP,
    STAMPED_BYTES, TimestampType, advance_sequence,
};

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
