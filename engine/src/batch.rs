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

use std::fmt;

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
    /// Bytes follow the first batch. INVALID_RECORD. (Kafka passes over a tail too short to be a batch; here it is refused.)
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
    /// Only the broker sets the type of the timestamps to the time of the append. INVALID_TIMESTAMP.
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
/// The order of the checks is Kafka's, so that a batch with several faults gets the same answer. The sizes a topic
/// allows, timestamps ([`check_timestamps`]) and sequence order (`producers`) are checked elsewhere.
pub fn validate(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    let header = frame(bytes)?;
    if header.base_offset != 0 {
        return Err(BatchError::BaseOffset(header.base_offset));
    }
    check_crc(&header, bytes)?;
    if let Compression::Unknown(codec) = header.compression() {
        return Err(BatchError::Compression(i16::from(codec)));
    }
    check_produced(&header)?;
    Ok(header)
}

/// Checks a batch read back from disk: `bytes` must be exactly one batch with the right checksum.
///
/// Control batches are allowed here, and so is what compaction leaves: fewer records than offsets, even none.
pub fn check_stored(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    let header = frame(bytes)?;
    check_crc(&header, bytes)?;
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

/// Checks the timestamps of a batch for a CreateTime topic: within `[now - before_max, now + after_max]`.
///
/// Kafka looks at every record. The header has the first record's timestamp and the largest one: what this misses is a
/// record in the middle that is too old in a batch that starts with a good one. -1, no timestamp, passes.
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

/// One whole version 2 batch and nothing else; returns its header.
fn frame(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    let have_bytes = bytes.len();
    let size = peek_size(bytes).ok_or(BatchError::TooShort { have_bytes })??;
    let claimed_bytes = size as i64;
    let header = BatchHeader::read(bytes).ok_or(BatchError::Truncated {
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

fn check_crc(header: &BatchHeader, bytes: &[u8]) -> Result<(), BatchError> {
    let computed = crc_fast::crc32_iscsi(&bytes[ATTRIBUTES_AT..]);
    if computed == header.crc {
        Ok(())
    } else {
        Err(BatchError::Crc {
            expected: header.crc,
            computed,
        })
    }
}

fn check_produced(header: &BatchHeader) -> Result<(), BatchError> {
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
    if header.has_producer_id() && base_sequence < 0 {
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

#[cfg(test)]
mod tests;
