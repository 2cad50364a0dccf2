//! Metadata records in record batches (magic 2), to and from bytes.
//!
//! ```text
//!  0 base offset i64 | 8 length i32, of what follows | 12 leader epoch i32 | 16 magic i8 | 17 CRC-32C u32, from 21 on
//! 21 attributes i16  | 23 last offset delta i32      | 27 base time i64    | 35 max time i64
//! 43 producer id i64 | 51 producer epoch i16         | 53 base sequence i32 | 57 count i32 | 61 records
//! record | length | attributes i8 | time delta | offset delta | key length | key | value length | value | headers |
//! ```
//! Lengths and deltas of a record are signed (zigzag) varints. Kafka never compresses this log. Control batches
//! (attribute bit 5) belong to the quorum, not to the metadata; they are passed over.

use std::fmt;

use bytes::Bytes;

use super::records::{self, Record};
use crate::wire::WireError;

/// Bytes before a batch's records.
pub const HEADER_BYTES: usize = 61;
/// The largest batch of this log. Kafka's quorum has the same limit.
pub const MAX_BATCH_BYTES: usize = 8 << 20;

const CRC_FROM: usize = 21;
const COMPRESSION: i16 = 0b111;
const CONTROL: i16 = 1 << 5;

/// A record with the place it has in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// Offset of the record.
    pub offset: i64,
    /// Leader epoch of its batch.
    pub epoch: i32,
    /// Time of its batch, milliseconds since 1970.
    pub timestamp_ms: i64,
    /// The record.
    pub record: Record,
}

/// Why bytes are not a metadata log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogError {
    /// A batch that is damaged; the text says how.
    Batch {
        /// The base offset its header claims.
        offset: i64,
        /// What is wrong.
        reason: String,
    },
    /// A record this broker cannot read.
    Record {
        /// Its offset.
        offset: i64,
        /// What is wrong.
        error: WireError,
    },
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch { offset, reason } => write!(f, "metadata log, batch at offset {offset}: {reason}"),
            Self::Record { offset, error } => write!(f, "metadata log, offset {offset}: {error}"),
        }
    }
}

impl std::error::Error for LogError {}

/// One batch holding the records in order, with base offset 0 and leader epoch `epoch`; appending stamps both.
/// The records should fit [`MAX_BATCH_BYTES`]; the limits on requests see to that.
pub fn encode(list: &[Record], metadata_version: i16, epoch: i32, now_ms: i64) -> Vec<u8> {
    let mut out = vec![0; HEADER_BYTES];
    let mut value = Vec::new();
    let mut entry = Vec::new();
    for (delta, record) in list.iter().enumerate() {
        value.clear();
        records::encode(record, &mut value, metadata_version);
        entry.clear();
        entry.push(0);
        put_varint(&mut entry, 0);
        put_varint(&mut entry, delta as i64);
        put_varint(&mut entry, -1);
        put_varint(&mut entry, value.len() as i64);
        entry.extend_from_slice(&value);
        put_varint(&mut entry, 0);
        put_varint(&mut out, entry.len() as i64);
        out.extend_from_slice(&entry);
    }
    stamp(&mut out, list.len(), 0, epoch, now_ms);
    out
}

/// Fills in the header of a batch whose records are in place.
pub(super) fn stamp(out: &mut [u8], count: usize, attributes: i16, epoch: i32, now_ms: i64) {
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(12, &epoch.to_be_bytes());
    put(16, &[2]);
    put(21, &attributes.to_be_bytes());
    put(23, &(count as i32 - 1).to_be_bytes());
    put(27, &now_ms.to_be_bytes());
    put(35, &now_ms.to_be_bytes());
    put(43, &(-1i64).to_be_bytes());
    put(51, &(-1i16).to_be_bytes());
    put(53, &(-1i32).to_be_bytes());
    put(57, &(count as i32).to_be_bytes());
    let length = (out.len() - 12) as i32;
    out[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&out[CRC_FROM..]);
    out[17..21].copy_from_slice(&crc.to_be_bytes());
}

fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// Reads whole batches from the front of `bytes` and hands every record to `each`. Returns how many bytes the whole
/// batches took: a batch cut off at the end is left for the next call, or is the torn tail of a log.
///
/// # Errors
/// A damaged batch, or a record this broker cannot read. Records before it have been handed over. Errors of `each`.
pub fn decode<E: From<LogError>>(
    bytes: &Bytes,
    each: &mut dyn FnMut(Placed) -> Result<(), E>,
) -> Result<usize, E> {
    let mut position = 0;
    while let Some(header) = Header::read(&bytes[position..])? {
        if position + header.total_bytes > bytes.len() {
            break;
        }
        let batch = bytes.slice(position..position + header.total_bytes);
        header.check(&batch)?;
        if header.attributes & CONTROL == 0 {
            header.records(&batch, each)?;
        }
        position += header.total_bytes;
    }
    Ok(position)
}

/// The offset after the last whole batch and its leader epoch, or `None` when there is no whole batch.
pub fn end(bytes: &[u8]) -> Result<Option<(i64, i32)>, LogError> {
    let mut position = 0;
    let mut found = None;
    while let Some(header) = Header::read(&bytes[position..])? {
        position += header.total_bytes;
        if position > bytes.len() {
            break;
        }
        found = Some((
            header.base_offset + i64::from(header.last_delta) + 1,
            header.epoch,
        ));
    }
    Ok(found)
}

/// Length in bytes, base offset and end offset of the first batch, which is whole and undamaged; `None` when the
/// bytes end before it does.
///
/// # Errors
/// The batch is damaged.
pub fn first(bytes: &[u8]) -> Result<Option<(usize, i64, i64)>, LogError> {
    let Some(header) = Header::read(bytes)? else {
        return Ok(None);
    };
    let Some(batch) = bytes.get(..header.total_bytes) else {
        return Ok(None);
    };
    header.check(batch)?;
    let end = header.base_offset + i64::from(header.last_delta) + 1;
    Ok(Some((header.total_bytes, header.base_offset, end)))
}

struct Header {
    base_offset: i64,
    total_bytes: usize,
    epoch: i32,
    crc: u32,
    attributes: i16,
    last_delta: i32,
    timestamp_ms: i64,
    count: i32,
}

impl Header {
    /// `None` when the bytes end before the header does, or when only the zeroes of a preallocated file follow.
    fn read(bytes: &[u8]) -> Result<Option<Header>, LogError> {
        let Some(head) = bytes.get(..HEADER_BYTES) else {
            return Ok(None);
        };
        let i64_at = |at: usize| head[at..at + 8].iter().fold(0u64, |n, b| n << 8 | u64::from(*b)) as i64;
        let i32_at = |at: usize| head[at..at + 4].iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) as i32;
        let (base_offset, length) = (i64_at(0), i32_at(8));
        if length == 0 && base_offset == 0 {
            return Ok(None);
        }
        let wrong = |reason: String| {
            Err(LogError::Batch {
                offset: base_offset,
                reason,
            })
        };
        let Ok(length) = usize::try_from(length) else {
            return wrong(format!("a length of {length}"));
        };
        if !(HEADER_BYTES - 12..=4 * MAX_BATCH_BYTES).contains(&length) {
            return wrong(format!("a length of {length} bytes"));
        }
        if head[16] != 2 {
            return wrong(format!("magic {}", head[16]));
        }
        Ok(Some(Header {
            base_offset,
            total_bytes: length + 12,
            epoch: i32_at(12),
            crc: i32_at(17) as u32,
            attributes: i16::from_be_bytes([head[21], head[22]]),
            last_delta: i32_at(23),
            timestamp_ms: i64_at(35),
            count: i32_at(57),
        }))
    }

    fn check(&self, batch: &[u8]) -> Result<(), LogError> {
        let wrong = |reason: &str| {
            Err(LogError::Batch {
                offset: self.base_offset,
                reason: reason.to_owned(),
            })
        };
        if crc32c(&batch[CRC_FROM..]) != self.crc {
            wrong("its checksum is wrong")
        } else if self.attributes & COMPRESSION != 0 {
            wrong("it is compressed, which this log never is")
        } else if self.count < 0 || self.last_delta != self.count - 1 {
            wrong("its count and offsets contradict each other")
        } else {
            Ok(())
        }
    }

    fn records<E: From<LogError>>(
        &self,
        batch: &Bytes,
        each: &mut dyn FnMut(Placed) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut from = Cursor {
            bytes: batch,
            position: HEADER_BYTES,
        };
        for delta in 0..self.count {
            let offset = self.base_offset + i64::from(delta);
            let value = from.value().ok_or_else(|| LogError::Batch {
                offset: self.base_offset,
                reason: format!("record {delta} is malformed"),
            })?;
            let record = Record::decode(&value).map_err(|error| LogError::Record { offset, error })?;
            each(Placed {
                offset,
                epoch: self.epoch,
                timestamp_ms: self.timestamp_ms,
                record,
            })?;
        }
        Ok(())
    }
}

struct Cursor<'a> {
    bytes: &'a Bytes,
    position: usize,
}

impl Cursor<'_> {
    /// The value of the next record; `None` when its bytes make no sense.
    fn value(&mut self) -> Option<Bytes> {
        let length = usize::try_from(self.varint()?).ok()?;
        let end = self
            .position
            .checked_add(length)
            .filter(|end| *end <= self.bytes.len())?;
        self.position += 1;
        self.varint()?;
        self.varint()?;
        let key = self.varint()?;
        self.position = self.position.checked_add(usize::try_from(key.max(0)).ok()?)?;
        let length = usize::try_from(self.varint()?).ok()?;
        let stop = self.position.checked_add(length).filter(|stop| *stop <= end)?;
        let value = self.bytes.slice(self.position..stop);
        self.position = end;
        Some(value)
    }

    fn varint(&mut self) -> Option<i64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.position)?;
            self.position += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        None
    }
}

fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metadata::records::level;
    use crate::wire::Uuid;
    use crate::wire::metadata_records::*;

    fn sample() -> Vec<Record> {
        vec![
            FeatureLevelRecord {
                name: "metadata.version".into(),
                feature_level: 30,
            }
            .into(),
            TopicRecord {
                name: "t".into(),
                topic_id: Uuid([1; 16]),
            }
            .into(),
            PartitionRecord {
                replicas: vec![1; 70],
                ..Default::default()
            }
            .into(),
        ]
    }

    fn read(bytes: &Bytes) -> Result<(Vec<Placed>, usize), LogError> {
        let mut found = Vec::new();
        let used = decode::<LogError>(bytes, &mut |placed| {
            found.push(placed);
            Ok(())
        })?;
        Ok((found, used))
    }

    #[test]
    fn batches_are_read_back() {
        let mut log = encode(&sample(), level::V4_3, 5, 1000);
        let mut second = encode(&sample()[..1], level::V4_3, 6, 2000);
        second[..8].copy_from_slice(&3i64.to_be_bytes());
        let first_bytes = log.len();
        log.extend_from_slice(&second);
        let (found, used) = read(&Bytes::from(log.clone())).expect("valid");
        assert_eq!((found.len(), used), (4, log.len()));
        assert_eq!(
            (found[3].offset, found[3].epoch, found[3].timestamp_ms),
            (3, 6, 2000)
        );
        assert_eq!(
            found.iter().map(|p| p.record.clone()).collect::<Vec<_>>()[..3],
            sample()
        );
        assert_eq!(end(&log), Ok(Some((4, 6))));
        let torn = Bytes::from(log[..log.len() - 1].to_vec());
        assert_eq!(read(&torn).expect("valid").1, first_bytes);
    }

    #[test]
    fn damage_is_found() {
        let log = encode(&sample(), level::V4_3, 5, 1000);
        for at in [8, 16, 17, 22, 30, 61, log.len() - 1] {
            let mut broken = log.clone();
            broken[at] ^= 0x41;
            assert!(read(&broken.into()).is_err(), "byte {at}");
        }
    }

    #[test]
    fn preallocated_zeroes_end_the_log() {
        let mut log = encode(&sample(), level::V4_3, 5, 1000);
        let whole = log.len();
        log.resize(whole + 4096, 0);
        assert_eq!(read(&log.into()).expect("valid").1, whole);
    }

    #[test]
    fn control_batches_are_passed_over() {
        let mut log = encode(&sample(), level::V4_3, 5, 1000);
        stamp(&mut log, 3, CONTROL, 5, 1000);
        let (found, used) = read(&Bytes::from(log.clone())).expect("valid");
        assert_eq!((found.len(), used), (0, log.len()));
    }

    proptest! {
        #[test]
        fn hostile_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), count in 0usize..40) {
            let mut batch = vec![0; HEADER_BYTES];
            batch.extend_from_slice(&bytes);
            stamp(&mut batch, count, 0, 0, 0);
            let _ = read(&batch.into());
            let _ = read(&bytes.into());
        }
    }
}
