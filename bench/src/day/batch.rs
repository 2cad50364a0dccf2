//! Record batches whose records have timestamps of their own, written and taken apart again.

use super::entry::{Found, Written};
use crate::load::batch::{HEADER_BYTES, varint};
use crate::load::codec::Codec;

/// No batch of ours unpacks to more.
const MAX_UNPACKED_BYTES: usize = 16 << 20;
const ATTRIBUTES_AT: usize = 21;
const SUMMED_FROM: usize = 21;
const CRC_AT: usize = 17;
const CODEC_BITS: u8 = 0b111;

/// A record to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// Its key.
    pub key: u64,
    /// Its value; `None` for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its timestamp.
    pub timestamp_ms: i64,
}

impl Draft<'_> {
    /// What the model is told.
    pub fn written(&self) -> Written {
        Written {
            key: self.key,
            value_crc: self.value.map(crc_fast::crc32_iscsi),
            timestamp_ms: self.timestamp_ms,
        }
    }
}

/// A batch of version 2 without a producer id; its base timestamp is that of the first record.
pub fn encode(drafts: &[Draft<'_>], codec: Codec) -> Vec<u8> {
    let first_ms = drafts.first().map_or(0, |draft| draft.timestamp_ms);
    let largest_ms = drafts.iter().map(|draft| draft.timestamp_ms).max().unwrap_or(0);
    let (mut records, mut body) = (Vec::new(), Vec::new());
    for (delta, draft) in drafts.iter().enumerate() {
        body.clear();
        body.push(0);
        varint(&mut body, draft.timestamp_ms - first_ms);
        varint(&mut body, delta as i64);
        varint(&mut body, 8);
        body.extend_from_slice(&draft.key.to_be_bytes());
        match draft.value {
            Some(value) => {
                varint(&mut body, value.len() as i64);
                body.extend_from_slice(value);
            }
            None => varint(&mut body, -1),
        }
        varint(&mut body, 0);
        varint(&mut records, body.len() as i64);
        records.extend_from_slice(&body);
    }
    // compressing memory to memory has no failure; an empty section would be refused by any broker
    let section = match codec {
        Codec::None => records,
        _ => codec.compress(&records).unwrap_or_default(),
    };
    let mut batch = vec![0; HEADER_BYTES];
    let length = (HEADER_BYTES - 12 + section.len()) as i32;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[12..16].copy_from_slice(&(-1i32).to_be_bytes());
    batch[16] = 2;
    batch[ATTRIBUTES_AT + 1] = codec as u8;
    batch[23..27].copy_from_slice(&(drafts.len() as i32 - 1).to_be_bytes());
    batch[27..35].copy_from_slice(&first_ms.to_be_bytes());
    batch[35..43].copy_from_slice(&largest_ms.to_be_bytes());
    batch[43..57].fill(0xff);
    batch[57..61].copy_from_slice(&(drafts.len() as i32).to_be_bytes());
    batch.extend_from_slice(&section);
    let crc = crc_fast::crc32_iscsi(&batch[SUMMED_FROM..]);
    batch[CRC_AT..SUMMED_FROM].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// The records of a whole batch, whose checksum is right. `None` where its bytes contradict themselves, or it has a record that nobody here sent.
pub fn decode(batch: &[u8]) -> Option<Vec<Found>> {
    let int = |at: usize| Some(i32::from_be_bytes(batch.get(at..at + 4)?.try_into().ok()?));
    let long = |at: usize| Some(i64::from_be_bytes(batch.get(at..at + 8)?.try_into().ok()?));
    let (base_offset, base_ms) = (long(0)?, long(27)?);
    let count = usize::try_from(int(57)?).ok()?;
    let codec = match batch.get(ATTRIBUTES_AT + 1)? & CODEC_BITS {
        0 => Codec::None,
        1 => Codec::Gzip,
        2 => Codec::Snappy,
        3 => Codec::Lz4,
        4 => Codec::Zstd,
        _ => return None,
    };
    let section = batch.get(HEADER_BYTES..)?;
    let unpacked = match codec {
        // cleaning may leave a batch without any
        _ if count == 0 => Vec::new(),
        Codec::None => section.to_vec(),
        _ => codec.decompress(section, MAX_UNPACKED_BYTES).ok()?,
    };
    let mut rest = &unpacked[..];
    let mut found = Vec::new();
    for _ in 0..count {
        let length = usize::try_from(take_varint(&mut rest)?).ok()?;
        let mut body = take(&mut rest, length)?;
        take(&mut body, 1)?;
        let (delta_ms, delta) = (take_varint(&mut body)?, take_varint(&mut body)?);
        let key = take_field(&mut body)??;
        let value = take_field(&mut body)?;
        found.push(Found {
            offset: base_offset.checked_add(delta)?,
            record: Written {
                key: u64::from_be_bytes(key.try_into().ok()?),
                value_crc: value.map(crc_fast::crc32_iscsi),
                timestamp_ms: base_ms.checked_add(delta_ms)?,
            },
        });
    }
    rest.is_empty().then_some(found)
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(bytes)?;
    *rest = left;
    Some(taken)
}

/// Bytes with their length before them; `Some(None)` for none at all.
fn take_field<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match take_varint(rest)? {
        -1 => Some(None),
        length => Some(Some(take(rest, usize::try_from(length).ok()?)?)),
    }
}

fn take_varint(rest: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *take(rest, 1)?.first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::batch::{Batches, intact};

    const VALUE: [u8; 300] = [b'v'; 300];

    fn drafts() -> Vec<Draft<'static>> {
        let value = |n: usize| (n % 3 != 1).then_some(&VALUE[..n * 10]);
        let draft = |n: usize| Draft {
            key: n as u64 / 2,
            value: value(n),
            timestamp_ms: 1_000 - 7 * n as i64,
        };
        (0..20).map(draft).collect()
    }

    #[test]
    fn what_is_written_is_found_again_whatever_it_is_packed_with() {
        let drafts = drafts();
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let mut batch = encode(&drafts, codec);
            batch[..8].copy_from_slice(&500i64.to_be_bytes());
            assert!(intact(&batch), "{codec:?}");
            let found = decode(&batch).expect("records");
            let sent: Vec<Found> = drafts
                .iter()
                .zip(500..)
                .map(|(draft, offset)| Found {
                    offset,
                    record: draft.written(),
                })
                .collect();
            assert_eq!(found, sent, "{codec:?}");
            let (head, _) = Batches(&batch).next().expect("a batch");
            assert_eq!((head.base_offset, head.next_offset, head.records), (500, 520, 20));
        }
    }

    #[test]
    fn the_library_of_another_project_reads_them() {
        use kafka_protocol::records::RecordBatchDecoder;
        let batch = encode(&drafts(), Codec::None);
        let decoded = RecordBatchDecoder::decode(&mut bytes::Bytes::from(batch)).expect("decode");
        assert_eq!(decoded.records.len(), 20);
        assert_eq!(
            (decoded.records[3].timestamp, decoded.records[1].value.is_none()),
            (979, true)
        );
    }

    #[test]
    fn bytes_that_contradict_themselves_are_no_records() {
        let batch = encode(&drafts(), Codec::None);
        assert!((0..batch.len()).all(|bytes| decode(&batch[..bytes]).is_none()));
        for at in HEADER_BYTES..batch.len() {
            let mut broken = batch.clone();
            broken[at] ^= 0x55;
            // whatever it is, it does not panic
            let _ = decode(&broken);
        }
        let mut many = batch.clone();
        many[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
        assert!(decode(&many).is_none());
    }

    #[test]
    fn a_batch_that_cleaning_has_emptied_has_no_records() {
        let mut batch = encode(&drafts(), Codec::Zstd);
        batch.truncate(HEADER_BYTES);
        batch[57..61].fill(0);
        assert_eq!(decode(&batch), Some(Vec::new()));
    }
}
