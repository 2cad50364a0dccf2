//! What goes into a shard and what comes out of it.

use std::path::PathBuf;
use std::time::Duration;

use crate::aborted::AbortedTxn;
use crate::batch::{BatchError, TimestampError};
use crate::cleaner::choice::Compaction;
use crate::handover::Released;
use crate::io::{Durability, Slice};
use crate::journal::commit::Refused;
use crate::producers::ProducerError;
use crate::retention::Limits;

/// An open partition of one shard. Never used for another partition, even after it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

/// A commit: done once [`ShardEvent::Committed`] reports a ticket as large. 0 is done from the start.
pub type Ticket = u64;

/// Settings of one partition's log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogOptions {
    /// Most bytes of a segment.
    pub segment_bytes: u32,
    /// Longest a segment is appended to, in record time, in milliseconds.
    pub segment_ms: i64,
    /// Taken off `segment_ms`, as far as half of it is left, so that many partitions do not roll at once.
    pub segment_jitter_ms: i64,
    /// Bytes of log between two index entries.
    pub index_interval_bytes: u32,
    /// Most bytes of an index file.
    pub index_max_bytes: u32,
    /// Most bytes of one batch.
    pub max_message_bytes: u32,
    /// Whether records get the broker's time.
    pub log_append_time: bool,
    /// How far before now a record's time may lie, in milliseconds.
    pub timestamp_before_max_ms: i64,
    /// How far after now a record's time may lie, in milliseconds.
    pub timestamp_after_max_ms: i64,
    /// How much of the log is kept.
    pub retention: Limits,
    /// How long files of removed segments stay, under other names.
    pub file_delete_delay: Duration,
    /// What an acknowledgement promises.
    pub durability: Durability,
    /// How the log is cleaned by key, if it is.
    pub compaction: Option<Compaction>,
}

impl Default for LogOptions {
    /// Kafka's defaults, but that everything is kept, and that files of what is deleted go at once.
    fn default() -> LogOptions {
        LogOptions {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            segment_jitter_ms: 0,
            index_interval_bytes: 4096,
            index_max_bytes: 10 << 20,
            max_message_bytes: 1_048_588,
            log_append_time: false,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            retention: Limits::NONE,
            file_delete_delay: Duration::ZERO,
            durability: Durability::Synced,
            compaction: None,
        }
    }
}

/// A partition to open.
#[derive(Clone, Debug)]
pub struct PartitionSpec {
    /// The topic's id.
    pub topic_id: [u8; 16],
    /// The folder's name, `<topic>-<index>`.
    pub name: String,
    /// Epoch stamped into batches.
    pub leader_epoch: i32,
    /// Settings.
    pub options: LogOptions,
}

/// A batch that is in the log, durable once its ticket is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Offset of the last record.
    pub last_offset: i64,
    /// The broker's time if the topic asks for it, else -1.
    pub log_append_time_ms: i64,
    /// Oldest offset of the log.
    pub log_start_offset: i64,
    /// Its commit.
    pub ticket: Ticket,
    /// The producer had sent it before: this is the first one's offset.
    pub duplicate: bool,
}

/// Why a batch was not appended. Nothing was changed.
#[derive(Clone, Debug, PartialEq)]
pub enum AppendError {
    /// The batch itself is wrong.
    Batch(BatchError),
    /// The producer's epoch or sequence does not follow.
    Sequence(ProducerError),
    /// Larger than the topic's limit.
    BatchTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        most: u32,
    },
    /// Larger than a whole segment.
    LargerThanSegment {
        /// Its size.
        bytes: usize,
        /// The limit.
        most: u32,
    },
    /// A timestamp outside the topic's limits.
    Timestamp(TimestampError),
    /// Memory or journal are full right now: try again after [`ShardEvent::Progress`].
    Busy,
    /// The disk is full. It may pass, of which nobody tells.
    DiskFull,
    /// The disk failed, or the broker stops.
    Storage(String),
    /// The partition is not open.
    NoSuchPartition,
}

/// How far a reader sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Up to the high watermark.
    #[default]
    Uncommitted,
    /// Up to the last stable offset, and with the transactions among it that were aborted.
    Committed,
}

/// What to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// First offset wanted.
    pub offset: i64,
    /// Most bytes, unless `at_least_one` needs more.
    pub max_bytes: usize,
    /// Give the first batch whole however large it is.
    pub at_least_one: bool,
    /// Where the read ends.
    pub isolation: Isolation,
    /// Comes back with [`ShardEvent::ReadDone`].
    pub token: u64,
}

/// Batches from the one that holds the offset on. The last may be cut short, as in Kafka.
#[derive(Clone, Debug, Default)]
pub struct ReadData {
    /// The bytes, in order.
    pub slices: Vec<Slice>,
    /// Their sum.
    pub bytes: usize,
    /// End of what consumers see.
    pub high_watermark: i64,
    /// First offset that is undecided: of the earliest open transaction, or the high watermark.
    pub last_stable_offset: i64,
    /// Oldest offset.
    pub log_start_offset: i64,
    /// Aborted transactions that may have records among the bytes, in the order of their markers; for [`Isolation::Committed`] only.
    pub aborted: Vec<AbortedTxn>,
}

/// What became of a read.
#[derive(Debug)]
pub enum ReadOutcome {
    /// Here it is. No bytes when the offset is the high watermark, or for [`Isolation::Committed`] at or above the last stable offset.
    Now(ReadData),
    /// [`ShardEvent::ReadDone`] follows.
    Later,
    /// Not possible.
    Error(ReadError),
}

/// Why a read gave nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// Below the log start or above the high watermark.
    OutOfRange {
        /// Oldest offset.
        log_start_offset: i64,
        /// End of what consumers see.
        high_watermark: i64,
        /// First offset that is undecided.
        last_stable: i64,
    },
    /// The stored bytes are damaged; nothing at or after this offset of its segment can be read.
    Corrupt {
        /// First offset that cannot be read.
        offset: i64,
        /// The file and the byte position of the batch.
        location: String,
    },
    /// The system refused.
    Io(String),
    /// No memory right now: try again after [`ShardEvent::Progress`].
    Busy,
    /// The partition is not open.
    NoSuchPartition,
}

/// A partition's offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// Oldest offset served.
    pub log_start: i64,
    /// End of what is on stable storage.
    pub high_watermark: i64,
    /// First offset that is undecided: of the earliest transaction that is open, or whose end is not on stable storage; the high watermark when
    /// there is none.
    pub last_stable: i64,
    /// Next offset to be given out.
    pub log_end: i64,
    /// Epoch stamped into batches.
    pub leader_epoch: i32,
}

impl Offsets {
    /// End of what readers of this isolation see.
    pub fn visible_end(&self, isolation: Isolation) -> i64 {
        match isolation {
            Isolation::Uncommitted => self.high_watermark,
            Isolation::Committed => self.last_stable,
        }
    }
}

/// A batch found for a timestamp: whole, as stored.
#[derive(Clone, Debug)]
pub struct TimeHit {
    /// The batch.
    pub batch: Vec<u8>,
}

/// What became of a search for a timestamp.
#[derive(Debug)]
pub enum TimeOutcome {
    /// The first batch whose largest timestamp is at or after the one asked for, or none.
    Now(Option<TimeHit>),
    /// [`ShardEvent::TimeDone`] follows.
    Later,
    /// Not possible.
    Error(ReadError),
}

/// What a shard tells its server.
#[derive(Debug)]
pub enum ShardEvent {
    /// Every ticket up to this one is durable.
    Committed(Ticket),
    /// A partition's high watermark moved.
    Advanced(Slot),
    /// A partition's log start moved: it holds less than before.
    Shortened(Slot),
    /// A read that was [`ReadOutcome::Later`].
    ReadDone {
        /// The caller's.
        token: u64,
        /// What became of it.
        result: Result<ReadData, ReadError>,
    },
    /// A search that was [`TimeOutcome::Later`].
    TimeDone {
        /// The caller's.
        token: u64,
        /// What became of it.
        result: Result<Option<TimeHit>, ReadError>,
    },
    /// A partition has left, after [`Shard::release`](super::Shard::release): everything of it is in synced files.
    Released {
        /// What it was here.
        slot: Slot,
        /// For another shard to take in.
        released: Box<Released>,
    },
    /// A partition that was to leave stays.
    Kept {
        /// Which.
        slot: Slot,
        /// Why.
        reason: String,
    },
    /// A partition that was taken in with `Shard::adopt` can be appended to.
    Adopted {
        /// Which.
        slot: Slot,
        /// Whether a checkpoint of this shard has it. Else the shard writes none any more: it stops.
        is_durable: bool,
    },
    /// A partition that was taken in has left again, unchanged: no checkpoint could be written.
    GivenBack {
        /// What it was here.
        slot: Slot,
        /// For the shard that released it.
        released: Box<Released>,
        /// Why.
        reason: String,
    },
    /// Something that was busy may go on.
    Progress,
    /// For the log: one line of what is as it should be.
    Info(String),
    /// For the log: one line.
    Notice(String),
    /// Nothing can be acknowledged any more by this shard, with the reason. Reads go on.
    Failed(String),
}

/// Where and how a shard works.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// The data directory.
    pub data_dir: PathBuf,
    /// This core's number.
    pub core: usize,
    /// Largest size of the journal in bytes.
    pub journal_max_bytes: u64,
    /// Longest an append stays only in the journal, in milliseconds of idleness.
    pub checkpoint_idle_ms: u64,
}

impl From<Refused> for AppendError {
    fn from(refused: Refused) -> AppendError {
        match refused {
            Refused::Busy | Refused::NoMemory => AppendError::Busy,
            Refused::Failed(reason) => AppendError::Storage(reason),
        }
    }
}
