//! One segment of a log: where it starts, how long it is, its index, and how far it is on its way to disk.

use crate::aborted::AbortedTxns;
use crate::background::IndexTail;
use crate::batch::BatchHeader;
use crate::index::SparseIndex;
use crate::io::FileId;

/// What may still happen to a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Batches are appended to it: the last of its log.
    Active,
    /// Full; its last bytes, exact length and indexes are on their way to disk.
    Sealing,
    /// On disk, with the exact length and whole indexes.
    Sealed,
}

/// A segment's file as this core has it open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Handle {
    /// Not open.
    #[default]
    Closed,
    /// Being opened.
    Opening,
    /// Open.
    Open(FileId),
}

/// See the module's text.
pub struct Segment {
    /// Offset of the first record the segment may hold; the name of its files.
    pub base_offset: i64,
    /// Bytes of batches, flushed or not.
    pub size_bytes: u64,
    /// Index entries in memory, and where to look in the files. `None` for a sealed segment of an earlier run
    /// until a lookup needs it.
    pub index: Option<SparseIndex>,
    /// Transactions aborted by a marker in it.
    pub aborted: AbortedTxns,
    /// Entries handed out to be written and not known to be in the files.
    pub index_on_the_way: Option<IndexTail>,
    /// Largest timestamp in the first batch: what rolling by time counts from.
    pub first_timestamp_ms: Option<i64>,
    /// The largest timestamp in it, or when its file was changed last where no record has one, once the files thread has looked. Of what is
    /// appended in this run the index knows it.
    pub newest_ms: Option<i64>,
    /// When the segment was made, by the wall clock.
    pub created_ms: i64,
    /// What may still happen to it.
    pub phase: Phase,
    /// Its file.
    pub handle: Handle,
    /// Bytes of the file that have space on disk.
    pub allocated_bytes: u64,
    /// A spare file was asked for.
    pub spare_asked: bool,
    /// The file has exactly `size_bytes`, its indexes are whole, and a snapshot was taken at its end: a clean stop
    /// has nothing to do for it.
    pub is_exact: bool,
    /// Producers' snapshot as of the segment's end, from the roll until the segment is sealed.
    pub snapshot: Option<(i64, Vec<u8>)>,
}

/// The settings that decide when a segment is full.
#[derive(Clone, Copy, Debug)]
pub struct RollRules {
    /// Most bytes of a log file.
    pub segment_bytes: u32,
    /// Longest time between the first record's timestamp and the newest, in milliseconds.
    pub segment_ms: i64,
    /// Most bytes of an index file.
    pub index_max_bytes: u32,
}

impl Segment {
    /// An empty segment that will be appended to.
    pub fn new(base_offset: i64, interval_bytes: u32, now_ms: i64) -> Segment {
        Segment {
            base_offset,
            size_bytes: 0,
            index: Some(SparseIndex::new(interval_bytes)),
            aborted: AbortedTxns::default(),
            index_on_the_way: None,
            first_timestamp_ms: None,
            newest_ms: None,
            created_ms: now_ms,
            phase: Phase::Active,
            handle: Handle::Closed,
            allocated_bytes: 0,
            spare_asked: false,
            is_exact: true,
            snapshot: None,
        }
    }

    /// Whether a batch must go to a new segment (Kafka's `LogSegment.shouldRoll`): the size, the age by record time, the
    /// index, or an offset too far from the base.
    pub fn must_roll(
        &self,
        batch_bytes: usize,
        last_offset: i64,
        timestamp_ms: i64,
        now_ms: i64,
        rules: &RollRules,
    ) -> bool {
        let waited_ms = match self.first_timestamp_ms {
            Some(first_ms) => timestamp_ms.saturating_sub(first_ms),
            None => now_ms.saturating_sub(self.created_ms),
        };
        self.size_bytes + batch_bytes as u64 > u64::from(rules.segment_bytes)
            || (self.size_bytes > 0 && waited_ms > rules.segment_ms)
            || self
                .index
                .as_ref()
                .is_some_and(|i| i.is_full(rules.index_max_bytes))
            || last_offset - self.base_offset > i64::from(i32::MAX)
    }

    /// Counts a batch that was appended at the segment's end.
    pub fn note_batch(&mut self, header: &BatchHeader) {
        let last_offset = (header.last_offset() - self.base_offset) as u32;
        if let Some(index) = self.index.as_mut() {
            index.append(
                last_offset,
                self.size_bytes as u32,
                header.size_bytes() as u32,
                header.max_timestamp_ms,
            );
        }
        self.first_timestamp_ms.get_or_insert(header.max_timestamp_ms);
        self.size_bytes += header.size_bytes() as u64;
        self.is_exact = false;
    }

    /// The largest timestamp in the segment as far as that is in memory.
    pub fn largest_timestamp_ms(&self) -> Option<i64> {
        let largest = self.index.as_ref().and_then(SparseIndex::largest_timestamp);
        largest.map(|entry| entry.timestamp_ms)
    }

    /// The entries handed out last are in the index files.
    pub fn index_written(&mut self) {
        let Some(tail) = self.index_on_the_way.take() else {
            return;
        };
        self.aborted.note_written(tail.aborted.end_count());
        if let Some(index) = self.index.as_mut() {
            let (offsets, times) = tail.end_counts();
            index.forget_written(offsets, times);
        }
    }

    /// A segment of an earlier run: everything about it is on disk, so many aborted transactions among it.
    pub fn sealed(base_offset: i64, size_bytes: u64, aborted: u32) -> Segment {
        Segment {
            size_bytes,
            index: None,
            aborted: AbortedTxns::in_file(aborted),
            phase: Phase::Sealed,
            allocated_bytes: size_bytes,
            ..Segment::new(base_offset, 0, 0)
        }
    }
}
