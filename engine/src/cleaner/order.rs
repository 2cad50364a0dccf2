//! What a pass is told, and what it tells.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::aborted::AbortedTxn;
use crate::error::Error;

/// One pass over a partition, as its core orders it. All of its segments are sealed, and stay as they are until the pass is over.
#[derive(Clone, Debug)]
pub struct CleanOrder {
    /// The partition's folder.
    pub folder: PathBuf,
    /// From the log's first to the last below `first_uncleanable_offset`, oldest first.
    pub segments: Vec<CleanSegment>,
    /// Oldest offset served. Batches wholly below it go.
    pub log_start_offset: i64,
    /// Below it the log is clean: where the map of keys begins.
    pub first_dirty_offset: i64,
    /// Where cleaning ends, at most: the base offset of the segment behind the last of `segments`.
    pub first_uncleanable_offset: i64,
    /// The topic's settings.
    pub limits: CleanLimits,
    /// ms since 1970: what delete horizons are counted from.
    pub now_ms: i64,
    /// What is known of each producer that has not expired. The batch that tells it stays, without records if need be.
    pub last_batches: HashMap<i64, LastBatch>,
    /// Aborted transactions that began below `first_uncleanable_offset` and whose markers lie at or above it, in the order of their markers: those
    /// of `segments` the pass reads itself.
    pub later_aborted: Vec<AbortedTxn>,
    /// Set from elsewhere to end the pass soon. It leaves no file then.
    pub cancelled: Arc<AtomicBool>,
}

impl CleanOrder {
    /// Whether the pass is to end.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

/// A sealed segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanSegment {
    /// Its base offset.
    pub base_offset: i64,
    /// Bytes of its log.
    pub size_bytes: u64,
    /// Entries of its `.txnindex`.
    pub aborted: u32,
}

/// The settings of a topic that a pass keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanLimits {
    /// Most bytes of segments that become one: `segment.bytes`.
    pub segment_bytes: u32,
    /// Most bytes of their offset indexes, and of their time indexes: `segment.index.bytes`.
    pub index_max_bytes: u32,
    /// Bytes of log between two index entries: `index.interval.bytes`.
    pub index_interval_bytes: u32,
    /// Most bytes of a batch as it was produced: `max.message.bytes`. A larger one is read all the same; it says how far unpacking may go, see
    /// [`CleanerSettings::max_unpacked_bytes`](super::CleanerSettings::max_unpacked_bytes).
    pub max_message_bytes: u32,
    /// How long tombstones and markers stay once they are clean: `delete.retention.ms`.
    pub delete_retention_ms: i64,
}

/// The last thing a log knows of a producer (Kafka's `LastRecord`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastBatch {
    /// Last offset of its last batch of data, which has its last sequence number.
    Data(i64),
    /// It has sent no data that is known; markers of this epoch tell the epoch.
    Marker(i16),
}

/// What one group of segments has become. The files are `<base>.log.cleaned`, `.index.cleaned`, `.timeindex.cleaned` and, where there is an aborted
/// transaction, `.txnindex.cleaned`; all of them durable, names included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cleaned {
    /// Base offsets of the segments it replaces, oldest first; the first is its own.
    pub replaces: Vec<i64>,
    /// Bytes of its log. 0 when nothing stayed: an empty segment, as in Kafka.
    pub size_bytes: u64,
    /// Entries of its `.txnindex`.
    pub aborted: u32,
    /// The largest timestamp in it; `None` when no batch has one.
    pub largest_timestamp_ms: Option<i64>,
}

/// What a pass has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanDone {
    /// The new segments, oldest first. A group that lost nothing and was alone is not among them: its segment stays.
    pub groups: Vec<Cleaned>,
    /// End of what the map held: the next pass's `first_dirty_offset`.
    pub cleaned_to: i64,
    /// Counts.
    pub stats: CleanStats,
    /// The earliest delete horizon left in what was cleaned, in ms since 1970: before it another pass has no tombstone or marker to remove. `None` when there
    /// is none.
    pub delete_horizon: Option<i64>,
}

/// What a pass has read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CleanStats {
    /// Bytes read to fill the map.
    pub map_bytes_read: u64,
    /// Records looked at to fill the map.
    pub map_records_read: u64,
    /// Keys in the map.
    pub keys: u64,
    /// Bytes read to be cleaned.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Records read to be cleaned.
    pub records_read: u64,
    /// Records that stayed.
    pub records_kept: u64,
    /// Records without a key, which a compacted log cannot hold: they go (Kafka's `invalidMessagesRead`).
    pub records_without_key: u64,
    /// How long it took, in ms.
    pub elapsed_ms: u64,
}

/// Why a pass did nothing.
#[derive(Debug)]
pub enum CleanError {
    /// The order was cancelled. Nothing is left of the pass.
    Cancelled,
    /// [`Error::Corrupt`] names the file and the byte of what cannot be read; [`Error::Io`] is the system's. Nothing is left of the pass.
    Failed(Error),
}

impl From<Error> for CleanError {
    fn from(error: Error) -> CleanError {
        CleanError::Failed(error)
    }
}

impl std::fmt::Display for CleanError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CleanError::Cancelled => f.write_str("cleaning was cancelled"),
            CleanError::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CleanError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            CleanError::Cancelled => None,
            CleanError::Failed(error) => Some(error),
        }
    }
}
