//! The 61 bytes in front of a batch's records.
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

/// Bytes of the header of a version 2 batch, `batch length` field included.
pub const HEADER_BYTES: usize = 61;

/// Bytes up to and including the `batch length` field: what says how long a batch is.
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

/// Where the leader epoch stands.
pub const LEADER_EPOCH_AT: usize = 12;
/// Where the version stands.
pub const MAGIC_AT: usize = 16;
/// Where the checksum stands.
pub const CRC_AT: usize = 17;
/// Where the attributes stand, and what the checksum covers begins.
pub const ATTRIBUTES_AT: usize = 21;
/// Where the largest timestamp stands.
pub const MAX_TIMESTAMP_AT: usize = 35;

/// Attributes: the codec.
pub const COMPRESSION_MASK: i16 = 0b111;
/// Attributes: the timestamps are the time of the append.
pub const TIMESTAMP_TYPE_BIT: i16 = 1 << 3;
/// Attributes: the batch belongs to a transaction.
pub const TRANSACTIONAL_BIT: i16 = 1 << 4;
/// Attributes: the batch holds a marker.
pub const CONTROL_BIT: i16 = 1 << 5;
/// Attributes: the base timestamp is the delete horizon (KIP-534).
pub const DELETE_HORIZON_BIT: i16 = 1 << 6;

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

    /// When the tombstones and markers of the batch may go, in ms since 1970: `None` until a pass of the cleaner has seen them (KIP-534).
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON_BIT != 0).then_some(self.base_timestamp_ms)
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

/// `N` bytes at a place the compiler can see to be inside.
fn field<const N: usize, const M: usize>(bytes: &[u8; M], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[at + i])
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}
