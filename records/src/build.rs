//! Making a batch of records to send.

use crate::header::{BatchHeader, HEADER_BYTES, LOG_OVERHEAD, MAGIC};

use super::batch::CRC_FROM;
use super::compress::{Codec, compress};
use super::{RecordError, varint};

/// A record to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRecord {
    /// ms since 1970.
    pub timestamp_ms: i64,
    /// The key; `None` is null.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Who sends a batch: what the broker recognises a repeated one by (KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Kafka's field names
pub struct Producer {
    pub id: i64,
    pub epoch: i16,
    pub base_sequence: i32,
}

impl Producer {
    /// A producer that is not idempotent.
    pub const NONE: Self = Self {
        id: -1,
        epoch: -1,
        base_sequence: -1,
    };
}

/// Gathers records of one partition.
#[derive(Clone, Debug, Default)]
pub struct BatchBuilder {
    packed: Vec<u8>,
    count: i32,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
}

impl BatchBuilder {
    /// How many records.
    pub fn count(&self) -> i32 {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the batch if it is not compressed.
    pub fn size_bytes(&self) -> usize {
        HEADER_BYTES + self.packed.len()
    }

    /// Adds a record.
    pub fn push(&mut self, record: &NewRecord) {
        if self.is_empty() {
            self.base_timestamp_ms = record.timestamp_ms;
            self.max_timestamp_ms = record.timestamp_ms;
        }
        self.max_timestamp_ms = self.max_timestamp_ms.max(record.timestamp_ms);
        let timestamp_delta_ms = record.timestamp_ms.wrapping_sub(self.base_timestamp_ms);
        varint::write(
            &mut self.packed,
            body_size(record, timestamp_delta_ms, self.count) as i64,
        );
        write_body(&mut self.packed, record, timestamp_delta_ms, self.count);
        self.count += 1;
    }

    /// The batch, with base offset 0 and no leader epoch: the broker sets both.
    pub fn finish(self, codec: Codec, producer: Producer) -> Result<Vec<u8>, RecordError> {
        let mut out = vec![0; HEADER_BYTES];
        compress(codec, &self.packed, &mut out)?;
        let mut header = BatchHeader {
            base_offset: 0,
            batch_length: i32::try_from(out.len() - LOG_OVERHEAD).map_err(|_| RecordError::TooLarge {
                codec,
                limit_bytes: i32::MAX as u64,
            })?,
            partition_leader_epoch: -1,
            magic: MAGIC,
            crc: 0,
            attributes: i16::from(codec.bits()),
            last_offset_delta: self.count - 1,
            base_timestamp_ms: self.base_timestamp_ms,
            max_timestamp_ms: self.max_timestamp_ms,
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            base_sequence: producer.base_sequence,
            record_count: self.count,
        };
        out[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        header.crc = crc_fast::crc32_iscsi(&out[CRC_FROM..]);
        out[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        Ok(out)
    }
}

/// Bytes of the record after its length field.
fn body_size(record: &NewRecord, timestamp_delta_ms: i64, offset_delta: i32) -> usize {
    let headers: usize = record
        .headers
        .iter()
        .map(|(key, value)| sized(Some(key.as_bytes())) + sized(value.as_deref()))
        .sum();
    1 + varint::size(timestamp_delta_ms)
        + varint::size(i64::from(offset_delta))
        + sized(record.key.as_deref())
        + sized(record.value.as_deref())
        + varint::size(record.headers.len() as i64)
        + headers
}

fn sized(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(varint::size(-1), |bytes| {
        varint::size(bytes.len() as i64) + bytes.len()
    })
}

fn write_body(out: &mut Vec<u8>, record: &NewRecord, timestamp_delta_ms: i64, offset_delta: i32) {
    out.push(0); // attributes: none are defined
    varint::write(out, timestamp_delta_ms);
    varint::write(out, i64::from(offset_delta));
    write_nullable(out, record.key.as_deref());
    write_nullable(out, record.value.as_deref());
    varint::write(out, record.headers.len() as i64);
    for (key, value) in &record.headers {
        write_nullable(out, Some(key.as_bytes()));
        write_nullable(out, value.as_deref());
    }
}

fn write_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    varint::write(out, bytes.map_or(-1, |bytes| bytes.len() as i64));
    out.extend_from_slice(bytes.unwrap_or_default());
}
