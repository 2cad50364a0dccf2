//! Writing batches: the broker's own metadata and markers, and what tests produce.

use super::{
    ATTRIBUTES_AT, BatchHeader, CONTROL_BIT, CRC_AT, HEADER_BYTES, LOG_OVERHEAD, MAGIC, NO_PRODUCER_ID,
    NO_SEQUENCE, NO_TIMESTAMP, TRANSACTIONAL_BIT, put,
};

/// Writes an uncompressed batch: the broker's own metadata and markers, and what tests produce.
///
/// ```
/// use ringlog_engine::batch::{BatchBuilder, validate};
/// let batch = BatchBuilder::new().record(0, Some(b"key"), Some(b"value")).finish();
/// assert_eq!(validate(&batch).unwrap().record_count, 1);
/// ```
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    header: BatchHeader,
    max_delta_ms: i64,
    records: Vec<u8>,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchBuilder {
    /// A batch without records, producer or timestamps: base offset 0, leader epoch -1.
    pub fn new() -> BatchBuilder {
        let header = BatchHeader {
            base_offset: 0,
            batch_length: 0,
            partition_leader_epoch: -1,
            magic: MAGIC,
            crc: 0,
            attributes: 0,
            last_offset_delta: -1,
            base_timestamp_ms: NO_TIMESTAMP,
            max_timestamp_ms: NO_TIMESTAMP,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: -1,
            base_sequence: NO_SEQUENCE,
            record_count: 0,
        };
        BatchBuilder {
            header,
            max_delta_ms: 0,
            records: Vec::new(),
        }
    }

    /// Offset of the first record.
    pub fn base_offset(mut self, offset: i64) -> Self {
        self.header.base_offset = offset;
        self
    }

    /// Epoch of the leader.
    pub fn leader_epoch(mut self, epoch: i32) -> Self {
        self.header.partition_leader_epoch = epoch;
        self
    }

    /// What the records' timestamps are counted from; the timestamp of the first record when its delta is 0.
    pub fn timestamp(mut self, base_ms: i64) -> Self {
        self.header.base_timestamp_ms = base_ms;
        self
    }

    /// An idempotent producer and the sequence number of the first record.
    pub fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Self {
        (
            self.header.producer_id,
            self.header.producer_epoch,
            self.header.base_sequence,
        ) = (id, epoch, base_sequence);
        self
    }

    /// Marks it as a control batch; its record's key comes from [`control_key`].
    pub fn control(mut self) -> Self {
        self.header.attributes |= CONTROL_BIT;
        self
    }

    /// Marks it as part of a transaction.
    pub fn transactional(mut self) -> Self {
        self.header.attributes |= TRANSACTIONAL_BIT;
        self
    }

    /// Adds a record, `timestamp_delta_ms` after the base timestamp. `None` is null: a tombstone as a value.
    pub fn record(mut self, timestamp_delta_ms: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> Self {
        self.header.last_offset_delta += 1;
        self.header.record_count += 1;
        self.max_delta_ms = self.max_delta_ms.max(timestamp_delta_ms);
        let mut body = vec![0u8];
        put_varint(&mut body, timestamp_delta_ms);
        put_varint(&mut body, i64::from(self.header.last_offset_delta));
        put_nullable(&mut body, key);
        put_nullable(&mut body, value);
        put_varint(&mut body, 0);
        put_varint(&mut self.records, body.len() as i64);
        self.records.extend_from_slice(&body);
        self
    }

    /// The batch's bytes.
    ///
    /// # Panics
    /// When the batch is 2 GiB or more.
    pub fn finish(self) -> Vec<u8> {
        let BatchBuilder {
            mut header,
            max_delta_ms,
            records,
        } = self;
        let length = HEADER_BYTES - LOG_OVERHEAD + records.len();
        header.batch_length = i32::try_from(length).expect("a batch below 2 GiB");
        header.max_timestamp_ms = match header.base_timestamp_ms {
            NO_TIMESTAMP => NO_TIMESTAMP,
            base_ms => base_ms.saturating_add(max_delta_ms),
        };
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend_from_slice(&records);
        let crc = crc_fast::crc32_iscsi(&bytes[ATTRIBUTES_AT..]);
        put(&mut bytes, CRC_AT, crc.to_be_bytes());
        bytes
    }
}

/// Key of a control record: its version and its type (0 abort, 1 commit, 2 leader change, 3 and 4 snapshot header and
/// footer, 5 KRaft version, 6 voters).
pub fn control_key(kind: i16) -> [u8; 4] {
    let [high, low] = kind.to_be_bytes();
    [0, 0, high, low]
}

/// Zigzag, seven bits a byte, low ones first.
fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(out, -1),
        Some(bytes) => {
            put_varint(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
    }
}
