//! Record batches as the sink looks at them: the few header fields it needs, checked.
//!
//! ```text
//! 0             8             12            16  17    21     23               27            57       61
//! | base offset | length      | leader epoch | 2 | crc | attr | last off delta | times, ids  | count  | records ...
//!                 (from 12 on)                       (over 21 to the end)
//! ```

use crc_fast::CrcAlgorithm;

/// The batch is damaged.
pub(super) const CORRUPT_MESSAGE: i16 = 2;
/// The batch is whole and means nothing we take.
pub(super) const INVALID_RECORD: i16 = 87;

const LENGTH_AT: usize = 8;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const CRC_FROM: usize = 21;
const ATTRIBUTES_AT: usize = 21;
const LAST_DELTA_AT: usize = 23;
const MAX_TIMESTAMP_AT: usize = 35;
const COUNT_AT: usize = 57;
const HEADER_BYTES: usize = 61;

/// The number of records of `records`, which must be exactly one batch: whole, of magic 2, with at least one record and no
/// gaps in its offsets. Otherwise Kafka's number for the error.
pub(super) fn check(records: &[u8]) -> Result<u32, i16> {
    if records.len() < HEADER_BYTES {
        return Err(CORRUPT_MESSAGE);
    }
    let said = i64::from(i32_at(records, LENGTH_AT)) + 12;
    let held = records.len() as i64;
    if said < HEADER_BYTES as i64 || said > held {
        return Err(CORRUPT_MESSAGE);
    }
    // More bytes than one batch are a second batch, which Produce does not allow.
    if said < held || records[MAGIC_AT] != 2 {
        return Err(INVALID_RECORD);
    }
    let count = i32_at(records, COUNT_AT);
    if count <= 0 || i32_at(records, LAST_DELTA_AT) != count - 1 {
        return Err(INVALID_RECORD);
    }
    Ok(count.unsigned_abs())
}

/// Whether the checksum of a checked batch holds.
pub(super) fn is_intact(batch: &[u8]) -> bool {
    let found = crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, &batch[CRC_FROM..]);
    u64::from(i32_at(batch, CRC_AT).cast_unsigned()) == found
}

/// The newest timestamp of a checked batch, in milliseconds since 1970.
pub(super) fn max_timestamp_ms(batch: &[u8]) -> i64 {
    let bytes = batch[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].try_into();
    i64::from_be_bytes(bytes.unwrap_or_default())
}

/// Writes the base offset and the leader epoch 0, both outside the checksum.
pub(super) fn stamp(batch: &mut [u8], base_offset: i64) {
    batch[..8].copy_from_slice(&base_offset.to_be_bytes());
    batch[12..16].fill(0);
}

/// Inverts a bit where it hurts: in the first record's value, or among compressed records.
pub(super) fn damage(batch: &mut [u8]) {
    let at = first_value(batch).unwrap_or(HEADER_BYTES + (batch.len() - HEADER_BYTES) / 2);
    if let Some(byte) = batch.get_mut(at) {
        *byte ^= 0x10;
    }
}

/// Where the middle of the first record's value is; `None` for compressed records and those without a value.
fn first_value(batch: &[u8]) -> Option<usize> {
    if batch[ATTRIBUTES_AT + 1] & 7 != 0 {
        return None;
    }
    let mut at = HEADER_BYTES;
    varint(batch, &mut at)?; // length
    at += 1; // attributes
    varint(batch, &mut at)?; // timestamp delta
    varint(batch, &mut at)?; // offset delta
    let key_bytes = varint(batch, &mut at)?.max(0);
    at = at.checked_add(usize::try_from(key_bytes).ok()?)?;
    let value_bytes = usize::try_from(varint(batch, &mut at)?).ok()?;
    let middle = at.checked_add(value_bytes / 2)?;
    (value_bytes > 0 && middle < batch.len()).then_some(middle)
}

/// The zigzag number at `at`, which moves behind it.
fn varint(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let mut raw = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        raw |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed());
        }
    }
    None
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(bytes[at..at + 4].try_into().unwrap_or_default())
}
