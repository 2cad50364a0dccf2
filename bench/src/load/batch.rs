//! Pre-built record batches: records are laid out (and compressed) once, a send patches the header and checks the sum.
//!
//! A batch is told apart from all others of its partition by its [`Identity`]: the checksum that covers every byte after it,
//! and its first timestamp. Uncompressed batches carry a stamp (lane and sequence) in their first value; compressed ones,
//! whose records cannot be touched, differ by their timestamp, which never repeats within a partition of one thread.

use std::collections::HashMap;

use super::codec::Codec;
use super::text::Text;

/// Bytes of a batch before its records.
pub const HEADER_BYTES: usize = 61;
const CRC_AT: usize = 17;
const SUMMED_FROM: usize = 21;
const ATTRIBUTES_AT: usize = 21;
const PRODUCER_ID_AT: usize = 43;
/// Attributes of batches of a transaction, and of its marker.
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;
/// Bytes of the stamp in the first value.
const STAMP_BYTES: usize = 16;
/// Compressed sections kept for batches of other lengths than the usual; forgotten when there are more.
const MAX_COMPRESSED_BYTES: usize = 32 << 20;

/// What tells a batch apart from every other in its partition: CRC-32C, then the low half of its base timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity(pub u64);

impl Identity {
    /// From the two header fields of a batch.
    pub fn new(crc: u32, base_timestamp_ms: i64) -> Identity {
        Identity(u64::from(crc) << 32 | u64::from(base_timestamp_ms as u32))
    }
}

/// The fields of one send.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Producer id, or -1.
    pub producer_id: i64,
    /// Its epoch, or -1.
    pub producer_epoch: i16,
    /// Sequence of the first record, or -1.
    pub base_sequence: i32,
    /// Whether it is part of a transaction.
    pub transactional: bool,
    /// When the first record was due, milliseconds since 1970; a compressed batch may get a later one.
    pub timestamp_ms: i64,
    /// Which lane sends.
    pub lane: u32,
    /// Its how-manieth batch this is.
    pub batch: u64,
}

/// Records of one shape for one partition's keys, ready to be cut at any count.
pub struct Template {
    codec: Codec,
    /// Uncompressed records, `capacity` of them.
    records: Vec<u8>,
    /// End of the n-th record in `records`, from n = 0.
    ends: Vec<u32>,
    /// Where the first record's value begins, if a stamp fits.
    stamp_at: Option<usize>,
    /// Where the key of a template's only record begins; and the keys that records take in turn there.
    key_at: Option<usize>,
    keys: Vec<Vec<u8>>,
    compressed: HashMap<usize, Vec<u8>>,
    compressed_bytes: usize,
    last_timestamp_ms: HashMap<i32, i64>,
}

impl Template {
    /// Lays out as many records as fit `batch_bytes` (at least one, at most `records` unless that is 0): `value_bytes` of text each,
    /// keys taken in turn from `keys` (none: no key), which are all of one length.
    pub fn new(
        codec: Codec,
        batch_bytes: usize,
        records: usize,
        value_bytes: usize,
        keys: &[Vec<u8>],
        text: &mut Text,
    ) -> Template {
        let mut template = Template {
            codec,
            records: Vec::with_capacity(batch_bytes),
            ends: Vec::new(),
            stamp_at: None,
            key_at: None,
            keys: Vec::new(),
            compressed: HashMap::new(),
            compressed_bytes: 0,
            last_timestamp_ms: HashMap::new(),
        };
        let mut record = Vec::new();
        for offset_delta in 0.. {
            record.clear();
            let key = (!keys.is_empty()).then(|| keys[offset_delta % keys.len()].as_slice());
            let value_at = encode_record(&mut record, offset_delta as i64, key, value_bytes, text);
            let end = template.records.len() + record.len();
            if offset_delta > 0 && (HEADER_BYTES + end > batch_bytes || offset_delta == records) {
                break;
            }
            if offset_delta == 0 && codec == Codec::None && value_bytes >= STAMP_BYTES {
                template.stamp_at = Some(value_at);
            }
            template.records.extend_from_slice(&record);
            template.ends.push(end as u32);
        }
        let of_one_length = keys.windows(2).all(|pair| pair[0].len() == pair[1].len());
        if template.capacity() == 1 && codec == Codec::None && keys.len() > 1 && of_one_length {
            // attributes, two deltas, and two lengths of which the value's is right before the value
            let mut length = Vec::new();
            varint(&mut length, value_bytes as i64);
            template.key_at = template
                .stamp_at
                .map(|value_at| value_at - length.len() - keys[0].len());
            template.keys = keys.to_vec();
        }
        template
    }

    /// Records that a full batch holds.
    pub fn capacity(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of a batch of the first `count` records.
    pub fn batch_bytes(&mut self, count: usize) -> usize {
        let count = count.clamp(1, self.capacity());
        HEADER_BYTES
            + match self.codec {
                Codec::None => self.ends[count - 1] as usize,
                _ => self.compressed(count).len(),
            }
    }

    /// Appends a batch of the first `count` records (1 to [`Template::capacity`]) for `partition` to `out`.
    pub fn write(&mut self, out: &mut Vec<u8>, partition: i32, count: usize, stamp: Stamp) -> Identity {
        let count = count.clamp(1, self.capacity());
        let timestamp_ms = self.timestamp(partition, stamp.timestamp_ms);
        let from = out.len();
        out.extend_from_slice(&[0; HEADER_BYTES]);
        match self.codec {
            Codec::None => out.extend_from_slice(&self.records[..self.ends[count - 1] as usize]),
            _ => out.extend_from_slice(self.compressed(count)),
        }
        let batch = &mut out[from..];
        if let Some(at) = self.stamp_at {
            let value = &mut batch[HEADER_BYTES + at..][..STAMP_BYTES];
            value[..4].copy_from_slice(&stamp.lane.to_be_bytes());
            value[4..12].copy_from_slice(&stamp.batch.to_be_bytes());
            value[12..].copy_from_slice(&partition.to_be_bytes());
        }
        if let Some(at) = self.key_at {
            let key = &self.keys[stamp.batch as usize % self.keys.len()];
            batch[HEADER_BYTES + at..][..key.len()].copy_from_slice(key);
        }
        let crc = write_header(batch, self.codec, count, timestamp_ms, stamp);
        Identity::new(crc, timestamp_ms)
    }

    /// The due time where a stamp tells batches apart; otherwise never the same twice in a partition.
    fn timestamp(&mut self, partition: i32, due_ms: i64) -> i64 {
        if self.stamp_at.is_some() {
            return due_ms;
        }
        let last = self.last_timestamp_ms.entry(partition).or_insert(i64::MIN);
        *last = due_ms.max(last.saturating_add(1));
        *last
    }

    fn compressed(&mut self, count: usize) -> &[u8] {
        if self.compressed_bytes > MAX_COMPRESSED_BYTES {
            self.compressed.clear();
            self.compressed_bytes = 0;
        }
        let (codec, records, kept) = (self.codec, &self.records, &mut self.compressed_bytes);
        let end = self.ends[count - 1] as usize;
        self.compressed.entry(count).or_insert_with(|| {
            // compressing memory to memory has no failure; an empty section would be refused by any broker
            let section = codec.compress(&records[..end]).unwrap_or_default();
            *kept += section.len();
            section
        })
    }
}

/// Writes the 61 header bytes of `batch` and returns its CRC-32C. Offsets start at 0: the broker assigns them.
fn write_header(batch: &mut [u8], codec: Codec, count: usize, timestamp_ms: i64, stamp: Stamp) -> u32 {
    let length = (batch.len() - 12) as i32;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[12..16].copy_from_slice(&(-1i32).to_be_bytes());
    batch[16] = 2;
    let attributes = codec as i16 | if stamp.transactional { TRANSACTIONAL } else { 0 };
    batch[ATTRIBUTES_AT..23].copy_from_slice(&attributes.to_be_bytes());
    batch[23..27].copy_from_slice(&(count as i32 - 1).to_be_bytes());
    batch[27..35].copy_from_slice(&timestamp_ms.to_be_bytes());
    batch[35..43].copy_from_slice(&timestamp_ms.to_be_bytes());
    batch[43..51].copy_from_slice(&stamp.producer_id.to_be_bytes());
    batch[51..53].copy_from_slice(&stamp.producer_epoch.to_be_bytes());
    batch[53..57].copy_from_slice(&stamp.base_sequence.to_be_bytes());
    batch[57..61].copy_from_slice(&(count as i32).to_be_bytes());
    let crc = crc_fast::crc32_iscsi(&batch[SUMMED_FROM..]);
    batch[CRC_AT..SUMMED_FROM].copy_from_slice(&crc.to_be_bytes());
    crc
}

/// Appends a record (KIP-98 layout, no headers) and returns where its value begins.
fn encode_record(
    out: &mut Vec<u8>,
    offset_delta: i64,
    key: Option<&[u8]>,
    value_bytes: usize,
    text: &mut Text,
) -> usize {
    let mut body = vec![0];
    varint(&mut body, 0);
    varint(&mut body, offset_delta);
    match key {
        Some(key) => {
            varint(&mut body, key.len() as i64);
            body.extend_from_slice(key);
        }
        None => varint(&mut body, -1),
    }
    varint(&mut body, value_bytes as i64);
    let value_at = body.len();
    text.write(&mut body, value_bytes);
    varint(&mut body, 0);
    varint(out, body.len() as i64);
    let value_at = out.len() + value_at;
    out.extend_from_slice(&body);
    value_at
}

/// Zig-zag variable-length integer.
pub fn varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// A batch in a fetched section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Offset of its first record.
    pub base_offset: i64,
    /// Offset after its last record.
    pub next_offset: i64,
    /// Records it claims.
    pub records: u32,
    /// Bytes of the whole batch.
    pub bytes: usize,
    /// By its header.
    pub identity: Identity,
    /// Whether it is a transaction's marker and no data (attribute bit 5).
    pub control: bool,
    /// Who wrote it, if that was in a transaction (attribute bit 4).
    pub transaction_of: Option<i64>,
}

/// Splits a fetched section into batches. A last one that is cut short (the fetch's limit) ends it. Checksums are checked
/// by [`intact`], apart, so that the next fetch can be sent first.
pub struct Batches<'a>(pub &'a [u8]);

impl<'a> Iterator for Batches<'a> {
    /// The batch and its bytes.
    type Item = (Fetched, &'a [u8]);

    fn next(&mut self) -> Option<(Fetched, &'a [u8])> {
        if self.0.len() < HEADER_BYTES {
            return None;
        }
        let int = |at: usize| i32::from_be_bytes(self.0[at..at + 4].try_into().unwrap_or_default());
        let long = |at: usize| i64::from_be_bytes(self.0[at..at + 8].try_into().unwrap_or_default());
        let bytes = 12 + usize::try_from(int(8)).ok()?;
        if bytes < HEADER_BYTES || bytes > self.0.len() {
            return None;
        }
        let (base_offset, last_offset_delta) = (long(0), int(23).max(0));
        let attributes = i16::from_be_bytes([self.0[ATTRIBUTES_AT], self.0[ATTRIBUTES_AT + 1]]);
        let fetched = Fetched {
            base_offset,
            next_offset: base_offset.saturating_add(i64::from(last_offset_delta) + 1),
            records: int(57).max(0) as u32,
            bytes,
            identity: Identity::new(int(CRC_AT) as u32, long(27)),
            control: attributes & CONTROL != 0,
            transaction_of: (attributes & TRANSACTIONAL != 0).then(|| long(PRODUCER_ID_AT)),
        };
        let (batch, rest) = self.0.split_at(bytes);
        self.0 = rest;
        Some((fetched, batch))
    }
}

/// Whether a batch's checksum matches its bytes.
pub fn intact(batch: &[u8]) -> bool {
    batch.len() >= HEADER_BYTES
        && batch[CRC_AT..SUMMED_FROM] == crc_fast::crc32_iscsi(&batch[SUMMED_FROM..]).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(batch: u64) -> Stamp {
        Stamp {
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            transactional: false,
            timestamp_ms: 1_000,
            lane: 3,
            batch,
        }
    }

    fn template(codec: Codec, value_bytes: usize) -> Template {
        Template::new(codec, 16 << 10, 0, value_bytes, &[], &mut Text::new(1))
    }

    #[test]
    fn a_full_batch_fits_its_limit_and_reads_back_whole() {
        for codec in [Codec::None, Codec::Lz4, Codec::Zstd, Codec::Gzip, Codec::Snappy] {
            let mut template = template(codec, 1000);
            let count = template.capacity();
            assert_eq!(count, 16);
            let mut out = Vec::new();
            let identity = template.write(&mut out, 0, count, stamp(0));
            assert!(out.len() <= 16 << 10 && intact(&out));
            let found: Vec<_> = Batches(&out).collect();
            assert_eq!(found.len(), 1);
            assert_eq!((found[0].0.records, found[0].0.next_offset), (16, 16));
            assert_eq!(found[0].0.identity, identity);
        }
    }

    #[test]
    fn the_library_of_another_project_reads_our_batches() {
        use kafka_protocol::records::RecordBatchDecoder;
        let keys = [b"a".to_vec(), b"bc".to_vec()];
        let mut template = Template::new(Codec::None, 4096, 0, 100, &keys, &mut Text::new(7));
        let mut out = Vec::new();
        template.write(&mut out, 0, 5, stamp(9));
        let decoded = RecordBatchDecoder::decode(&mut bytes::Bytes::from(out)).expect("decode");
        assert_eq!(decoded.records.len(), 5);
        let keys: Vec<_> = decoded
            .records
            .iter()
            .filter_map(|record| record.key.clone())
            .collect();
        assert_eq!(keys, ["a", "bc", "a", "bc", "a"]);
        assert!(
            decoded
                .records
                .iter()
                .all(|record| record.value.as_ref().is_some_and(|value| value.len() == 100))
        );
    }

    #[test]
    fn batches_of_one_record_take_their_keys_in_turn() {
        use kafka_protocol::records::RecordBatchDecoder;
        let keys = [b"k0".to_vec(), b"k1".to_vec(), b"k2".to_vec()];
        let mut template = Template::new(Codec::None, 4096, 1, 100, &keys, &mut Text::new(7));
        assert_eq!(template.capacity(), 1);
        for batch in 0..6 {
            let mut out = Vec::new();
            template.write(&mut out, 0, 1, stamp(batch));
            assert!(intact(&out));
            let decoded = RecordBatchDecoder::decode(&mut bytes::Bytes::from(out)).expect("decode");
            let record = &decoded.records[0];
            assert_eq!(record.key.as_deref(), Some(&keys[batch as usize % 3][..]));
            assert_eq!(record.value.as_ref().map(|value| value.len()), Some(100));
        }
    }

    #[test]
    fn no_two_batches_look_alike_even_within_a_millisecond() {
        for (codec, value_bytes) in [(Codec::None, 100), (Codec::None, 4), (Codec::Zstd, 100)] {
            let mut template = template(codec, value_bytes);
            let mut seen = std::collections::HashSet::new();
            for batch in 0..1000 {
                let identity = template.write(&mut Vec::new(), 0, 2, stamp(batch));
                assert!(seen.insert(identity), "{codec:?} {value_bytes} batch {batch}");
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed_and_a_cut_batch_is_left() {
        let mut out = Vec::new();
        template(Codec::None, 100).write(&mut out, 0, 2, stamp(0));
        let whole = out.len();
        template(Codec::None, 100).write(&mut out, 0, 2, stamp(1));
        assert_eq!(Batches(&out[..out.len() - 1]).count(), 1);
        out[whole - 3] ^= 1;
        let verdicts: Vec<bool> = Batches(&out).map(|(_, batch)| intact(batch)).collect();
        assert_eq!(verdicts, [false, true]);
    }

    #[test]
    fn hostile_lengths_end_the_section() {
        let mut section = vec![0; 200];
        section[8..12].copy_from_slice(&(-5i32).to_be_bytes());
        assert_eq!(Batches(&section).count(), 0);
        section[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
        assert_eq!(Batches(&section).count(), 0);
        section[8..12].copy_from_slice(&3i32.to_be_bytes());
        assert_eq!(Batches(&section).count(), 0);
    }
}
