//! One partition's log in memory: its segments, its offsets, what its producers sent last, and its tail.
//! Decides where a batch goes; does no I/O. The writing to disk is [`crate::flush`]'s, the reading [`crate::read`]'s.
//!
//! ```text
//!   log start ≤ … ≤ high watermark ≤ log end
//!        │              │               └ next offset to be given out
//!        │              └ end of what is on stable storage: consumers read below it
//!        └ oldest offset served
//! ```

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use crate::batch::{self, BatchHeader, EndTxn};
use crate::epochs::{EpochEntry, LeaderEpochs};
use crate::io::{Block, Class, Durability};
use crate::producers::{ProducerStates, TxnStep, Verdict};
use crate::read::Cursors;
use crate::segment::{Phase, RollRules, Segment};
use crate::shard::{AppendError, LogOptions, Origin, Producing, Ticket};
use crate::stable::Undecided;
use crate::stats::Load;
use crate::tail::{Place, Tail};

mod cleaned;
mod txns;

pub use cleaned::CleanState;

/// What recovery found out about a partition, and what an open one keeps in memory besides its bytes.
pub struct LogState {
    /// The folder's name, `<topic>-<index>`.
    pub name: String,
    /// The topic's id.
    pub topic_id: [u8; 16],
    /// Oldest offset served.
    pub log_start_offset: i64,
    /// Next offset to be given out.
    pub end_offset: i64,
    /// Oldest first, each with a larger base offset than the one before; the last is active. Never empty.
    pub segments: VecDeque<Segment>,
    /// What each producer sent last.
    pub producers: ProducerStates,
    /// Where each leader epoch starts.
    pub epochs: LeaderEpochs,
    /// Below this offset the log was cleaned by key, as the file `cleaner-offset-checkpoint` says; `None` where nobody ever began to.
    pub cleaned_to: Option<i64>,
}

impl LogState {
    /// A log without a record.
    pub fn empty(name: String, topic_id: [u8; 16], interval_bytes: u32, now_ms: i64) -> LogState {
        LogState {
            name,
            topic_id,
            log_start_offset: 0,
            end_offset: 0,
            segments: VecDeque::from([Segment::new(0, interval_bytes, now_ms)]),
            producers: ProducerStates::default(),
            epochs: LeaderEpochs::default(),
            cleaned_to: None,
        }
    }

    /// The segment that is appended to.
    pub fn active(&self) -> &Segment {
        match self.segments.back() {
            Some(s) => s,
            None => unreachable!("a log has a segment"),
        }
    }

    /// The same, to change.
    pub fn active_mut(&mut self) -> &mut Segment {
        match self.segments.back_mut() {
            Some(s) => s,
            None => unreachable!("a log has a segment"),
        }
    }

    /// Where the next batch goes.
    pub fn end(&self) -> Place {
        let active = self.active();
        Place {
            segment_base: active.base_offset,
            position: active.size_bytes,
        }
    }

    /// The segment with this base offset.
    pub fn segment(&self, base_offset: i64) -> Option<&Segment> {
        let i = self.segments.partition_point(|s| s.base_offset < base_offset);
        self.segments.get(i).filter(|s| s.base_offset == base_offset)
    }

    /// The same, to change.
    pub fn segment_mut(&mut self, base_offset: i64) -> Option<&mut Segment> {
        let i = self.segments.partition_point(|s| s.base_offset < base_offset);
        self.segments.get_mut(i).filter(|s| s.base_offset == base_offset)
    }

    /// The segment that holds an offset at or after the log start.
    pub fn segment_of(&self, offset: i64) -> &Segment {
        let i = self.segments.partition_point(|s| s.base_offset <= offset);
        &self.segments[i.saturating_sub(1)]
    }

    /// Closes the active segment and opens one that starts at the log's end.
    pub fn roll(&mut self, interval_bytes: u32, now_ms: i64) {
        let end_offset = self.end_offset;
        let snapshot = (end_offset, self.producers.encode_snapshot());
        let active = self.active_mut();
        active.phase = Phase::Sealing;
        active.snapshot = Some(snapshot);
        if let Some(index) = active.index.as_mut() {
            index.close();
        }
        self.segments
            .push_back(Segment::new(end_offset, interval_bytes, now_ms));
    }

    /// The log starts there, or where it did if that is later. Epochs whose records are all gone are forgotten; producers are not, as in Kafka:
    /// they are forgotten when they have been silent for long.
    pub fn start_at(&mut self, offset: i64) {
        self.log_start_offset = self.log_start_offset.max(offset);
        self.epochs.truncate_from_start(self.log_start_offset);
    }

    /// Takes a stamped batch's header into account: the batch lies at [`LogState::end`].
    ///
    /// `marker` is what [`EndTxn::read`] found in it. Gives what has become of a transaction.
    pub fn note_batch(&mut self, header: &BatchHeader, marker: Option<EndTxn>, now_ms: i64) -> TxnStep {
        if header.partition_leader_epoch >= 0 {
            self.epochs
                .assign(header.partition_leader_epoch, header.base_offset);
        }
        let step = self.producers.record(header, header.base_offset, now_ms, marker);
        let active = self.active_mut();
        active.note_batch(header);
        if let TxnStep::Ended {
            aborted: Some(aborted),
            ..
        } = step
        {
            active.aborted.push(aborted);
        }
        self.end_offset = header.last_offset() + 1;
        step
    }

    /// Bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.size_bytes).sum()
    }
}

/// What is being done about a partition's bytes on disk. See [`crate::flush`].
pub struct FlushState {
    /// Bytes before this place are in the segment files, synced or not.
    pub written: Place,
    /// An operation on the partition's files is under way.
    pub busy: bool,
    /// The partition waits in the flush queue.
    pub queued: bool,
    /// Bytes before this place must be written even where that takes a partial page.
    pub wanted: Option<Place>,
    /// The active segment's file has writes that were not synced.
    pub unsynced: bool,
    /// The last attempt to get disk space failed.
    pub starved: bool,
    /// An operation failed for good: nothing is tried again before a restart.
    pub failed: bool,
    /// The partition is in the list of those whose memory can be given back.
    pub evictable: bool,
}

impl FlushState {
    /// Everything before `end` is on disk.
    fn at(end: Place) -> FlushState {
        FlushState {
            written: end,
            busy: false,
            queued: false,
            wanted: None,
            unsynced: false,
            starved: false,
            failed: false,
            evictable: false,
        }
    }
}

/// An open partition.
pub struct PartitionLog {
    /// Offsets, segments, producers.
    pub state: LogState,
    /// The newest bytes.
    pub tail: Tail,
    /// The partition's folder.
    pub folder: PathBuf,
    /// Settings.
    pub options: LogOptions,
    /// Epoch stamped into batches.
    pub leader_epoch: i32,
    /// End of what is on stable storage: the high watermark.
    pub committed_offset: i64,
    /// Where that is.
    pub committed: Place,
    /// Transactions that are undecided.
    pub undecided: Undecided,
    /// The frame that holds the newest append.
    pub last_ticket: Ticket,
    /// The frame that holds the newest move of the log start; 0 when it was made by another shard, or in an earlier run, and is durable.
    pub log_start_ticket: Ticket,
    /// On its way to disk.
    pub flush: FlushState,
    /// The unaligned end of the active segment is being read, after a restart.
    pub loading_prefix: bool,
    /// Changed since the last checkpoint.
    pub dirty: bool,
    /// A checkpoint on disk has the partition: a restart does not look for its end in its files.
    pub in_checkpoint: bool,
    /// The partition's part of the last checkpoint.
    pub checkpointed: Option<Rc<[u8]>>,
    /// Size of the largest batch appended since the partition was opened.
    pub largest_batch_bytes: u64,
    /// When something was appended last.
    pub last_append: Instant,
    /// What it was asked to carry since it was opened.
    pub load: Load,
    /// Where its sequential readers are.
    pub cursors: Cursors,
    /// The first stored batch found damaged, and where: told once.
    pub damaged: Option<(i64, Place)>,
    /// The oldest segment, if it was told that a record of the future keeps it.
    pub kept_by_future: Option<i64>,
    /// What cleaning it by key has to know.
    pub cleaning: CleanState,
}

/// The first bytes of a batch as stored.
pub enum Prefix {
    /// Base offset, length and leader epoch: all that differs from what the producer sent.
    Stamped([u8; batch::STAMPED_BYTES]),
    /// The whole batch: with the broker's time in it the checksum differs too.
    Whole(Vec<u8>),
}

impl std::ops::Deref for Prefix {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Prefix::Stamped(bytes) => bytes,
            Prefix::Whole(bytes) => bytes,
        }
    }
}

/// A batch that passed every check, ready to be placed.
pub struct Prepared {
    /// The batch's header as it will be stored.
    pub header: BatchHeader,
    /// Where it goes.
    pub place: Place,
    /// The marker in it.
    pub marker: Option<EndTxn>,
    /// The first bytes of the batch as stored; the rest is the producer's.
    pub prefix: Prefix,
    /// The broker's time if the topic asks for it, else -1.
    pub log_append_time_ms: i64,
}

/// What [`PartitionLog::prepare`] found.
pub enum Checked {
    /// To be appended.
    New(Prepared),
    /// Appended before: base offset, last offset, timestamp.
    Duplicate(i64, i64, i64),
}

impl PartitionLog {
    /// Opens what recovery found, with settings.
    pub fn new(
        state: LogState,
        folder: PathBuf,
        options: LogOptions,
        leader_epoch: i32,
        now: Instant,
    ) -> PartitionLog {
        let end = state.end();
        PartitionLog {
            committed_offset: state.end_offset,
            committed: end,
            undecided: Undecided::of(&state.producers),
            tail: Tail::default(),
            folder,
            options,
            leader_epoch,
            last_ticket: 0,
            log_start_ticket: 0,
            flush: FlushState::at(end),
            loading_prefix: false,
            dirty: true,
            in_checkpoint: false,
            checkpointed: None,
            largest_batch_bytes: 0,
            last_append: now,
            load: Load::default(),
            cursors: Cursors::default(),
            damaged: None,
            kept_by_future: None,
            cleaning: CleanState::default(),
            state,
        }
    }

    /// The partition's leader has this epoch now. It begins at the log's end, also while nothing is appended in it, unless the log knows a later
    /// one.
    pub fn lead_in(&mut self, leader_epoch: i32) {
        self.leader_epoch = leader_epoch;
        let is_new = |latest: EpochEntry| latest.epoch < leader_epoch;
        if self.state.epochs.latest().is_none_or(is_new) {
            self.state.epochs.assign(leader_epoch, self.state.end_offset);
        }
    }

    /// Checks a producer's batch against the log and its settings. Changes nothing.
    pub fn prepare(&self, bytes: &[u8], producing: Producing, now_ms: i64) -> Result<Checked, AppendError> {
        let validated = match producing.origin {
            Origin::Client => batch::validate(bytes),
            Origin::Coordinator => batch::validate_own(bytes),
        };
        let header = validated.map_err(AppendError::Batch)?;
        let size = bytes.len();
        if size > self.options.max_message_bytes as usize {
            return Err(AppendError::BatchTooLarge {
                bytes: size,
                most: self.options.max_message_bytes,
            });
        }
        if size > self.options.segment_bytes as usize {
            return Err(AppendError::LargerThanSegment {
                bytes: size,
                most: self.options.segment_bytes,
            });
        }
        if !self.options.log_append_time {
            let (before, after) = (
                self.options.timestamp_before_max_ms,
                self.options.timestamp_after_max_ms,
            );
            batch::check_timestamps(&header, now_ms, before, after).map_err(AppendError::Timestamp)?;
        }
        if header.has_producer_id() {
            match self
                .state
                .producers
                .check(&header, producing)
                .map_err(AppendError::Sequence)?
            {
                Verdict::Accept => {}
                Verdict::Duplicate {
                    base_offset,
                    last_offset,
                    timestamp_ms,
                } => {
                    return Ok(Checked::Duplicate(base_offset, last_offset, timestamp_ms));
                }
            }
        }
        Ok(Checked::New(self.prepared(bytes, header, None, now_ms)))
    }

    fn prepared(
        &self,
        bytes: &[u8],
        mut header: BatchHeader,
        marker: Option<EndTxn>,
        now_ms: i64,
    ) -> Prepared {
        let (prefix, log_append_time_ms) = self.stamp(bytes, &mut header, now_ms);
        Prepared {
            place: self.state.end(),
            header,
            marker,
            prefix,
            log_append_time_ms,
        }
    }

    /// The stored form of the batch: base offset and leader epoch, and the broker's time where the topic wants it.
    fn stamp(&self, bytes: &[u8], header: &mut BatchHeader, now_ms: i64) -> (Prefix, i64) {
        let (base_offset, leader_epoch) = (self.state.end_offset, self.leader_epoch);
        header.base_offset = base_offset;
        header.partition_leader_epoch = leader_epoch;
        if !self.options.log_append_time {
            return (
                Prefix::Stamped(batch::stamped_prefix(header, base_offset, leader_epoch)),
                -1,
            );
        }
        let mut whole = bytes.to_vec();
        batch::stamp(&mut whole, base_offset, leader_epoch);
        batch::stamp_log_append_time(&mut whole, now_ms);
        if let Some(stored) = BatchHeader::read(&whole) {
            *header = stored;
        }
        (Prefix::Whole(whole), now_ms)
    }

    /// Rolls if the batch must start a new segment; gives the place it then has.
    pub fn roll_for(&mut self, prepared: &mut Prepared, now_ms: i64) {
        let rules = self.options.roll_rules();
        let header = &prepared.header;
        let full = self.state.active().must_roll(
            header.size_bytes(),
            header.last_offset(),
            header.max_timestamp_ms,
            now_ms,
            &rules,
        );
        // An empty segment cannot give way to another one of the same name.
        if full && self.state.active().size_bytes > 0 {
            self.state.roll(self.options.index_interval_bytes, now_ms);
            prepared.place = self.state.end();
        }
    }

    /// Copies the batch into the tail and counts it. All or nothing.
    pub fn place(
        &mut self,
        prepared: &Prepared,
        bytes: &[u8],
        now_ms: i64,
        take: &mut dyn FnMut(Class) -> Option<Block>,
    ) -> Result<(), crate::tail::NoMemory> {
        let rest = &bytes[prepared.prefix.len()..];
        self.tail
            .append(prepared.place, &[&prepared.prefix, rest], take)?;
        let step = self.state.note_batch(&prepared.header, prepared.marker, now_ms);
        self.undecided.note(step, prepared.place);
        self.largest_batch_bytes = self.largest_batch_bytes.max(bytes.len() as u64);
        self.dirty = true;
        Ok(())
    }

    /// Memory before this place can be given back: every batch that starts before it is in the file to its end.
    pub fn evictable_to(&self) -> Place {
        let (written, end) = (self.flush.written, self.state.end());
        if written == end {
            return end;
        }
        Place {
            position: written.position.saturating_sub(self.largest_batch_bytes),
            ..written
        }
    }

    /// Whether acknowledgements wait for stable storage.
    pub fn durability(&self) -> Durability {
        self.options.durability
    }

    /// The path of one of a segment's files.
    pub fn file(&self, base_offset: i64, suffix: &str) -> PathBuf {
        crate::background::segment_file(&self.folder, base_offset, suffix)
    }

    /// The folder's path.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl LogOptions {
    /// The settings that decide when a segment is full.
    pub fn roll_rules(&self) -> RollRules {
        // What is appended to is never cleaned: it must not be for longer than a record may wait for that (KIP-354).
        let longest_ms = self
            .compaction
            .map_or(i64::MAX, |compaction| compaction.max_lag_ms);
        let segment_ms = self.segment_ms.min(longest_ms).max(0);
        // Half of the time is left at least: the jitter may be longer than all of it, and each new time would begin a segment.
        let jitter_ms = self.segment_jitter_ms.max(0) % (segment_ms / 2 + 1);
        RollRules {
            segment_bytes: self.segment_bytes,
            segment_ms: segment_ms - jitter_ms,
            index_max_bytes: self.index_max_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::Compaction;

    fn segment_ms(segment_ms: i64, segment_jitter_ms: i64, max_lag_ms: Option<i64>) -> i64 {
        let compaction = max_lag_ms.map(|max_lag_ms| Compaction {
            max_lag_ms,
            ..Compaction::default()
        });
        let options = LogOptions {
            segment_ms,
            segment_jitter_ms,
            compaction,
            ..LogOptions::default()
        };
        options.roll_rules().segment_ms
    }

    #[test]
    fn jitter_leaves_half_of_a_segments_time() {
        assert_eq!(segment_ms(1000, 0, None), 1000);
        assert_eq!(segment_ms(1000, 300, None), 700);
        assert_eq!(segment_ms(1000, 500, None), 500);
        assert_eq!(segment_ms(i64::MAX, i64::MAX, None), i64::MAX / 2 + 1);
        // What a record may wait for cleaning counts, and partitions still differ.
        assert_eq!(segment_ms(1000, 100, Some(400)), 300);
        assert_eq!(segment_ms(1000, 700, Some(400)), 303);
        assert_eq!(segment_ms(1000, 900, Some(400)), 304);
        for longest_ms in [1, 2, 3, 100] {
            for jitter_ms in 0..1000 {
                let (by_time, by_lag) = (
                    segment_ms(longest_ms, jitter_ms, None),
                    segment_ms(i64::MAX, jitter_ms, Some(longest_ms)),
                );
                assert!((longest_ms + 1) / 2 <= by_time && by_time <= longest_ms);
                assert_eq!(by_time, by_lag, "{longest_ms} {jitter_ms}");
            }
        }
    }
}
