//! One core's storage: its journal, its partitions, and what is under way on the disk for them.
//!
//! Append: check, stamp, copy to the tail, copy to the journal's open frame; durable once [`ShardEvent::Committed`] reaches
//! the ticket. Behind it the tail goes to the segment files ([`crate::flush`]) and checkpoints free the journal
//! ([`crate::checkpointer`]). Read: from the tail at once, else from disk ([`crate::read`]).
//!
//! A shard never blocks and never calls back: disk events go in by [`Shard::on_event`], what follows comes out as [`ShardEvent`].

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::background::{Background, FileJob, Inbox, JobDone, JobOutput};
use crate::batch::{BatchError, TimestampError};
use crate::checkpointer::Checkpointer;
use crate::error::{Error, is_disk_full};
use crate::io::{Class, Durability, Event, FileId, Io, Slice};
use crate::journal::commit::{CommittedEnd, Journal, Refused};
use crate::journal::format::{Entry, EntryKind};
use crate::log::{Checked, LogState, PartitionLog};
use crate::ops::{Op, Ops};
use crate::producers::ProducerError;
use crate::read::ColdReads;
use crate::times::Searches;

/// An open partition of one shard. Never used for another partition, even after it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

/// A commit: done once [`ShardEvent::Committed`] reports a ticket as large. 0 is done from the start.
pub type Ticket = u64;

/// Settings of one partition's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Most bytes of a segment.
    pub segment_bytes: u32,
    /// Longest a segment is appended to, in record time, in milliseconds.
    pub segment_ms: i64,
    /// Taken off `segment_ms`, so that many partitions do not roll at once.
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
    /// What an acknowledgement promises.
    pub durability: Durability,
    /// Whether batches may be missing in between, as compaction leaves them. Without it, a stored batch whose offset
    /// does not follow the one before counts as damaged.
    pub may_have_gaps: bool,
}

impl Default for LogOptions {
    /// Kafka's defaults.
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
            durability: Durability::Synced,
            may_have_gaps: false,
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
    /// The disk is full, or failed.
    Storage(String),
    /// The partition is not open.
    NoSuchPartition,
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
    /// Oldest offset.
    pub log_start_offset: i64,
}

/// What became of a read.
#[derive(Debug)]
pub enum ReadOutcome {
    /// Here it is. No bytes when the offset is the high watermark.
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
    /// Next offset to be given out.
    pub log_end: i64,
    /// Epoch stamped into batches.
    pub leader_epoch: i32,
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
    /// Something that was busy may go on.
    Progress,
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

/// One core's storage. See the module's text.
pub struct Shard {
    pub(crate) config: ShardConfig,
    pub(crate) journal: Journal,
    pub(crate) journal_growing: bool,
    /// The disk had no room for a larger journal: not to be tried before then.
    pub(crate) journal_grow_after: Option<Instant>,
    pub(crate) logs: Vec<Option<PartitionLog>>,
    pub(crate) ops: Ops,
    pub(crate) background: Background,
    pub(crate) inbox: Inbox,
    pub(crate) flush_queue: VecDeque<Slot>,
    pub(crate) flushes_in_flight: usize,
    pub(crate) open_files: VecDeque<(Slot, i64)>,
    pub(crate) evictable: VecDeque<Slot>,
    pub(crate) checkpointer: Checkpointer,
    /// Segments below the log start, whose files go once a checkpoint that does without them is on disk.
    pub(crate) doomed: Vec<Doomed>,
    /// Files of theirs to be closed.
    pub(crate) closing: Vec<FileId>,
    pub(crate) reads: ColdReads,
    pub(crate) searches: Searches,
    pub(crate) events: Vec<ShardEvent>,
    pub(crate) disk_full_since: Option<Instant>,
    pub(crate) was_busy: bool,
    pub(crate) stopping: bool,
    entry_head: Vec<u8>,
}

/// See [`Shard::doomed`].
pub(crate) struct Doomed {
    /// The first checkpoint that does without them.
    pub(crate) checkpoint: u64,
    pub(crate) slot: Slot,
    pub(crate) base_offsets: Vec<i64>,
}

/// How long after a failed attempt the journal may be made larger.
const GROW_RETRY: Duration = Duration::from_secs(10);
/// How long after a failed allocation the disk is asked again.
pub(crate) const DISK_FULL_RETRY: Duration = Duration::from_millis(500);

impl Shard {
    /// A shard on its journal's file, which [`crate::recover`] prepared.
    pub fn new(config: ShardConfig, journal: Journal, background: Background) -> Shard {
        Shard {
            checkpointer: Checkpointer::default(),
            config,
            journal,
            journal_growing: false,
            journal_grow_after: None,
            logs: Vec::new(),
            ops: Ops::default(),
            background,
            inbox: Inbox::default(),
            flush_queue: VecDeque::new(),
            flushes_in_flight: 0,
            open_files: VecDeque::new(),
            evictable: VecDeque::new(),
            doomed: Vec::new(),
            closing: Vec::new(),
            reads: ColdReads::default(),
            searches: Searches::default(),
            events: Vec::new(),
            disk_full_since: None,
            was_busy: false,
            stopping: false,
            entry_head: Vec::new(),
        }
    }

    /// Opens a partition whose folder exists: with what recovery found, or empty.
    pub fn add_partition(&mut self, io: &dyn Io, spec: PartitionSpec, state: Option<LogState>) -> Slot {
        let PartitionSpec {
            topic_id,
            name,
            leader_epoch,
            options,
        } = spec;
        let folder = self.config.data_dir.join(&name);
        let interval = options.index_interval_bytes;
        let mut state = state.unwrap_or_else(|| LogState::empty(name, topic_id, interval, io.wall_ms()));
        state.producers.assume_active(io.wall_ms());
        if let Some(index) = state.active_mut().index.as_mut() {
            index.set_interval_bytes(interval);
        }
        self.logs.push(Some(PartitionLog::new(
            state,
            folder,
            options,
            leader_epoch,
            io.now(),
        )));
        Slot(self.logs.len() as u32 - 1)
    }

    /// Closes a partition: nothing more is read or written for it. Its files are the caller's to remove.
    pub fn remove_partition(&mut self, io: &mut dyn Io, slot: Slot) {
        if let Some(log) = self.logs.get_mut(slot.0 as usize).and_then(Option::take) {
            for file in log.state.segments.iter().filter_map(|s| open_file(s.handle)) {
                io.close(file);
            }
            self.checkpointer.forget(slot);
            self.doomed.retain(|d| d.slot != slot);
        }
    }

    /// Changes a partition's settings, for what is appended from now on.
    pub fn set_options(&mut self, slot: Slot, options: LogOptions) {
        if let Some(log) = self.log_mut(slot) {
            log.options = options;
        }
    }

    /// Stamps this epoch into what is appended from now on.
    pub fn set_leader_epoch(&mut self, slot: Slot, leader_epoch: i32) {
        if let Some(log) = self.log_mut(slot) {
            log.leader_epoch = leader_epoch;
        }
    }

    pub(crate) fn log(&self, slot: Slot) -> Option<&PartitionLog> {
        self.logs.get(slot.0 as usize)?.as_ref()
    }

    pub(crate) fn log_mut(&mut self, slot: Slot) -> Option<&mut PartitionLog> {
        self.logs.get_mut(slot.0 as usize)?.as_mut()
    }

    /// Appends exactly one batch as a producer sent it. It is visible to readers and safe once its ticket is committed.
    pub fn append(&mut self, io: &mut dyn Io, slot: Slot, bytes: &[u8]) -> Result<Appended, AppendError> {
        let result = self.try_append(io, slot, bytes);
        self.refusal(result)
    }

    /// Being busy passes when something goes on; not so while everything waits for a full disk.
    fn refusal<T>(&mut self, result: Result<T, AppendError>) -> Result<T, AppendError> {
        match result {
            Err(AppendError::Busy) if self.disk_full_since.is_some() || self.checkpointer.is_disk_full() => {
                Err(AppendError::Storage("the disk is full".into()))
            }
            Err(AppendError::Busy) => {
                self.was_busy = true;
                Err(AppendError::Busy)
            }
            other => other,
        }
    }

    fn try_append(&mut self, io: &mut dyn Io, slot: Slot, bytes: &[u8]) -> Result<Appended, AppendError> {
        let now_ms = io.wall_ms();
        let log = self.log(slot).ok_or(AppendError::NoSuchPartition)?;
        let mut prepared = match log.prepare(bytes, now_ms)? {
            Checked::New(prepared) => prepared,
            Checked::Duplicate(base_offset, last_offset, timestamp_ms) => {
                let first = self.duplicate(slot, base_offset, last_offset, timestamp_ms);
                return match self.journal.failure() {
                    Some(reason) if first.ticket > 0 => Err(AppendError::Storage(reason.to_owned())),
                    _ => Ok(first),
                };
            }
        };
        self.admit(io, slot, bytes.len())?;
        self.reserve_frame(io, slot, bytes.len())?;
        self.with_memory(io, slot, |log, take| {
            log.roll_for(&mut prepared, now_ms);
            log.place(&prepared, bytes, now_ms, take)
        })?;
        let ticket = self.journal_batch(io, slot, &prepared, bytes)?;
        let now = io.now();
        let Some(log) = self.log_mut(slot) else {
            return Err(AppendError::NoSuchPartition);
        };
        log.last_ticket = ticket;
        log.last_append = now;
        let appended = Appended {
            base_offset: prepared.header.base_offset,
            last_offset: prepared.header.last_offset(),
            log_append_time_ms: prepared.log_append_time_ms,
            log_start_offset: log.state.log_start_offset,
            ticket,
            duplicate: false,
        };
        self.want_flush(slot);
        self.checkpointer.note_append(now);
        Ok(appended)
    }

    fn duplicate(&self, slot: Slot, base_offset: i64, last_offset: i64, timestamp_ms: i64) -> Appended {
        let log = self.log(slot);
        let committed = log.is_some_and(|l| last_offset < l.committed_offset);
        Appended {
            base_offset,
            last_offset,
            log_append_time_ms: if log.is_some_and(|l| l.options.log_append_time) {
                timestamp_ms
            } else {
                -1
            },
            log_start_offset: log.map_or(-1, |l| l.state.log_start_offset),
            ticket: if committed {
                0
            } else {
                log.map_or(0, |l| l.last_ticket)
            },
            duplicate: true,
        }
    }

    /// Whether the partition can take a batch now: it has disk space, and the bytes its next aligned write starts with.
    fn admit(&mut self, io: &mut dyn Io, slot: Slot, bytes: usize) -> Result<(), AppendError> {
        if self.stopping {
            return Err(AppendError::Storage("the broker is stopping".into()));
        }
        let disk_full = self.disk_full_since.is_some();
        let Some(log) = self.log(slot) else {
            return Err(AppendError::NoSuchPartition);
        };
        let active = log.state.active();
        if disk_full && active.size_bytes + bytes as u64 > active.allocated_bytes {
            return Err(AppendError::Storage("the disk is full".into()));
        }
        if log.loading_prefix || log.tail.missing_prefix(log.state.end()).is_some() {
            self.load_prefix(io, slot);
            return Err(AppendError::Busy);
        }
        Ok(())
    }

    /// Makes sure that the journal can take the entry, so that nothing has to be undone when it cannot.
    fn reserve_frame(&mut self, io: &mut dyn Io, slot: Slot, bytes: usize) -> Result<(), AppendError> {
        let name_bytes = self.log(slot).map_or(0, |l| l.state.name.len());
        let needed = Entry::size_bytes(name_bytes, bytes);
        self.make_room(io, needed)
    }

    fn make_room(&mut self, io: &mut dyn Io, needed: usize) -> Result<(), AppendError> {
        loop {
            match self.journal.make_room(io, needed) {
                Err(Refused::NoMemory) if self.relieve() => {}
                Err(Refused::NoMemory) => {
                    self.checkpointer.hurry();
                    return Err(AppendError::Busy);
                }
                other => return other.map_err(AppendError::from),
            }
        }
    }

    /// Runs `work` with a source of buffers that gives up what is on disk already when the budget is spent.
    fn with_memory(
        &mut self,
        io: &mut dyn Io,
        slot: Slot,
        mut work: impl FnMut(
            &mut PartitionLog,
            &mut dyn FnMut(Class) -> Option<crate::io::Block>,
        ) -> Result<(), crate::tail::NoMemory>,
    ) -> Result<(), AppendError> {
        loop {
            let Some(log) = self.logs.get_mut(slot.0 as usize).and_then(Option::as_mut) else {
                return Err(AppendError::NoSuchPartition);
            };
            if work(log, &mut |class| io.block(class)).is_ok() {
                return Ok(());
            }
            if !self.relieve() {
                self.checkpointer.hurry();
                return Err(AppendError::Busy);
            }
        }
    }

    fn journal_batch(
        &mut self,
        io: &mut dyn Io,
        slot: Slot,
        prepared: &crate::log::Prepared,
        bytes: &[u8],
    ) -> Result<Ticket, AppendError> {
        let Some(log) = self.logs.get(slot.0 as usize).and_then(Option::as_ref) else {
            return Err(AppendError::NoSuchPartition);
        };
        let entry = Entry {
            kind: EntryKind::Batch,
            name: &log.state.name,
            topic_id: log.state.topic_id,
            segment_base: prepared.place.segment_base,
            position: prepared.place.position as u32,
            base_offset: prepared.header.base_offset,
            data: bytes,
        };
        self.entry_head.clear();
        entry.write_head(&mut self.entry_head);
        let rest = &bytes[prepared.prefix.len()..];
        let end = CommittedEnd {
            slot,
            end_offset: log.state.end_offset,
            end: log.state.end(),
        };
        let durability = log.durability();
        self.journal
            .append(
                io,
                &self.entry_head,
                &[&prepared.prefix, rest],
                durability,
                Some(end),
            )
            .map_err(AppendError::from)
    }

    /// Gives back memory that is on disk already; true if some went.
    pub(crate) fn relieve(&mut self) -> bool {
        let mut tries = self.evictable.len();
        while tries > 0
            && let Some(slot) = self.evictable.pop_front()
        {
            tries -= 1;
            let Some(log) = self.log_mut(slot) else { continue };
            if log.tail.drop_oldest(log.evictable_to()) {
                self.evictable.push_back(slot);
                return true;
            }
            log.flush.evictable = false;
            let (end, written) = (log.state.end(), log.flush.written);
            if !log.flush.busy && log.tail.park(end, written) {
                return true;
            }
        }
        false
    }

    /// The partition's offsets, or `None` when it is not open.
    pub fn offsets(&self, slot: Slot) -> Option<Offsets> {
        let log = self.log(slot)?;
        Some(Offsets {
            log_start: log.state.log_start_offset,
            high_watermark: log.committed_offset,
            log_end: log.state.end_offset,
            leader_epoch: log.leader_epoch,
        })
    }

    /// Bytes of batches in all segments.
    pub fn size_bytes(&self, slot: Slot) -> u64 {
        self.log(slot).map_or(0, |l| l.state.size_bytes())
    }

    /// The largest epoch at or below the one asked for, and its end offset; (-1, -1) when unknown (KIP-320).
    pub fn epoch_end_offset(&self, slot: Slot, epoch: i32) -> (i32, i64) {
        self.log(slot).map_or((-1, -1), |l| {
            l.state.epochs.end_offset_for(epoch, l.committed_offset)
        })
    }

    /// Moves the log start up to `offset` (at most the high watermark; lower changes nothing) and removes the segments
    /// wholly below it. Durable once the ticket is committed.
    pub fn delete_records(
        &mut self,
        io: &mut dyn Io,
        slot: Slot,
        offset: i64,
    ) -> Result<(i64, Ticket), AppendError> {
        let result = self.try_delete_records(io, slot, offset);
        self.refusal(result)
    }

    fn try_delete_records(
        &mut self,
        io: &mut dyn Io,
        slot: Slot,
        offset: i64,
    ) -> Result<(i64, Ticket), AppendError> {
        let log = self.log(slot).ok_or(AppendError::NoSuchPartition)?;
        let offset = offset.min(log.committed_offset);
        if offset <= log.state.log_start_offset {
            return Ok((log.state.log_start_offset, 0));
        }
        let needed = Entry::size_bytes(log.state.name.len(), 0);
        self.make_room(io, needed)?;
        let Some(log) = self.logs.get_mut(slot.0 as usize).and_then(Option::as_mut) else {
            return Err(AppendError::NoSuchPartition);
        };
        let entry = Entry {
            kind: EntryKind::LogStart,
            name: &log.state.name,
            topic_id: log.state.topic_id,
            segment_base: 0,
            position: 0,
            base_offset: offset,
            data: &[],
        };
        self.entry_head.clear();
        entry.write_head(&mut self.entry_head);
        let ticket = self
            .journal
            .append(io, &self.entry_head, &[], log.options.durability, None)?;
        log.state.log_start_offset = offset;
        log.dirty = true;
        self.checkpointer.note_append(io.now());
        self.remove_old_segments(slot);
        Ok((offset, ticket))
    }

    /// Takes the sealed segments below the log start out of the log. Their files stay until a checkpoint says that the log
    /// starts behind them: a restart finds what its checkpoint speaks of.
    pub(crate) fn remove_old_segments(&mut self, slot: Slot) {
        let Some(log) = self.logs.get_mut(slot.0 as usize).and_then(Option::as_mut) else {
            return;
        };
        let start = log.state.log_start_offset;
        let mut base_offsets = Vec::new();
        while log.state.segments.len() > 1
            && log.state.segments[1].base_offset <= start
            && log.state.segments[0].phase == crate::segment::Phase::Sealed
        {
            let Some(old) = log.state.segments.pop_front() else {
                break;
            };
            base_offsets.push(old.base_offset);
            if let Some(file) = open_file(old.handle) {
                self.closing.push(file);
            }
        }
        if base_offsets.is_empty() {
            return;
        }
        log.dirty = true;
        let checkpoint = self.checkpointer.next_number();
        self.doomed.push(Doomed {
            checkpoint,
            slot,
            base_offsets,
        });
        self.checkpointer.want();
    }

    /// The checkpoint of this number is on disk: what it does without goes.
    pub(crate) fn remove_doomed(&mut self, io: &dyn Io, checkpoint: u64) {
        let (gone, stay) = std::mem::take(&mut self.doomed)
            .into_iter()
            .partition(|d: &Doomed| d.checkpoint <= checkpoint);
        self.doomed = stay;
        for Doomed {
            slot, base_offsets, ..
        } in gone
        {
            let Some(folder) = self.log(slot).map(|l| l.folder.clone()) else {
                continue;
            };
            let token = self.ops.start(Op::RemoveSegments);
            self.submit_job(io, token, FileJob::RemoveSegments { folder, base_offsets });
        }
    }

    pub(crate) fn submit_job(&self, io: &dyn Io, token: crate::io::Token, job: FileJob) {
        self.background.submit(token, job, &self.inbox, Some(io.waker()));
    }

    /// Takes a disk event of this core's [`Io`]. What follows from it is appended to `out`.
    pub fn on_event(&mut self, io: &mut dyn Io, event: Event, out: &mut Vec<ShardEvent>) {
        match event {
            Event::Wrote { token, result } => match self.ops.finish(token) {
                Some(Op::JournalWrite) => self.journal_wrote(result),
                Some(Op::Flush(slot, base, reached)) => self.flushed(slot, base, reached, result),
                _ => {}
            },
            Event::Synced { token, result } => {
                if let Some(Op::Sync(slot, base)) = self.ops.finish(token) {
                    self.synced(io, slot, base, result);
                }
            }
            Event::Allocated { token, result } => {
                if let Some(Op::Allocate(slot, base, to)) = self.ops.finish(token) {
                    self.allocated(io, slot, base, to, result);
                }
            }
            Event::Opened { token, result } => match self.ops.finish(token) {
                Some(Op::OpenToFlush(slot, base)) => self.opened_to_flush(io, slot, base, result),
                Some(Op::Prefix(slot)) => self.prefix_opened(io, slot, result),
                Some(Op::Read(read)) => self.read_opened(io, read, result),
                _ => self.close_if_open(io, result),
            },
            Event::Read { token, block, result } => match self.ops.finish(token) {
                Some(Op::Prefix(slot)) => self.prefix_read(io, slot, &block, result),
                Some(Op::Read(read)) => self.read_finished(io, read, block, result),
                _ => {}
            },
            _ => {}
        }
        out.append(&mut self.events);
    }

    pub(crate) fn close_if_open(&mut self, io: &mut dyn Io, result: std::io::Result<FileId>) {
        if let Ok(file) = result {
            io.close(file);
        }
    }

    fn journal_wrote(&mut self, result: std::io::Result<()>) {
        match self.journal.wrote(result) {
            Ok((ticket, ends)) => {
                for end in ends {
                    if let Some(log) = self.log_mut(end.slot)
                        && end.end_offset > log.committed_offset
                    {
                        log.committed_offset = end.end_offset;
                        log.committed = end.end;
                        self.events.push(ShardEvent::Advanced(end.slot));
                    }
                }
                self.events.push(ShardEvent::Committed(ticket));
                self.note_progress();
            }
            Err(reason) => self.events.push(ShardEvent::Failed(reason)),
        }
    }

    pub(crate) fn note_progress(&mut self) {
        if std::mem::take(&mut self.was_busy) {
            self.events.push(ShardEvent::Progress);
        }
    }

    /// To be called once a turn, after all events: takes the results of slow jobs, starts the next commit, flushes and checkpoints.
    pub fn tick(&mut self, io: &mut dyn Io, out: &mut Vec<ShardEvent>) {
        while let Some(done) = self.inbox.pop() {
            self.on_job(io, done);
        }
        self.closing.drain(..).for_each(|file| io.close(file));
        self.commit(io);
        self.retry_full_disk(io);
        self.run_flushes(io);
        self.run_checkpoint(io);
        out.append(&mut self.events);
    }

    /// Whether a slow job has ended since the last tick: a core must not sleep over it.
    pub fn has_mail(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// Bytes of the journal that a restart would replay.
    pub fn journal_live_bytes(&self) -> u64 {
        self.journal.space().used_bytes()
    }

    /// When [`Shard::tick`] wants to be called at the latest.
    pub fn next_deadline(&self) -> Option<Instant> {
        let retry = self.disk_full_since.map(|since| since + DISK_FULL_RETRY);
        let checkpoint = self
            .checkpointer
            .deadline(Duration::from_millis(self.config.checkpoint_idle_ms));
        let grow = self.journal_grow_after.filter(|_| self.journal.is_starved());
        [retry, checkpoint, grow].into_iter().flatten().min()
    }

    fn commit(&mut self, io: &mut dyn Io) {
        if self.journal.wants_write() {
            let token = self.ops.start(Op::JournalWrite);
            if !self.journal.start_write(io, token) {
                self.ops.finish(token);
                self.checkpointer.hurry();
            }
        }
        self.grow_journal(io);
    }

    /// Doubles the journal while it is more than a quarter full, up to its largest size; beyond that only for a frame
    /// that would not fit otherwise.
    fn grow_journal(&mut self, io: &mut dyn Io) {
        let capacity = self.journal.space().capacity();
        let wanted = self.journal.largest_waiting_bytes() * 3;
        let crowded =
            self.journal.space().used_bytes() > capacity / 4 && capacity < self.config.journal_max_bytes;
        let put_off = self.journal_grow_after.is_some_and(|at| io.now() < at);
        if self.journal_growing || put_off || !(crowded || (self.journal.is_starved() && wanted > capacity)) {
            return;
        }
        let to = (capacity * 2)
            .min(self.config.journal_max_bytes)
            .max(wanted)
            .max(capacity)
            .next_multiple_of(1 << 20);
        if to <= capacity {
            return;
        }
        self.journal_growing = true;
        let path = crate::recover::journal_path(&self.config.data_dir, self.config.core);
        let token = self.ops.start(Op::JournalGrow(to));
        self.submit_job(
            io,
            token,
            FileJob::Prewrite {
                path,
                from: capacity,
                to,
            },
        );
    }

    fn on_job(&mut self, io: &mut dyn Io, done: JobDone) {
        let Some(op) = self.ops.finish(done.token) else {
            return;
        };
        match op {
            Op::JournalGrow(to) => self.journal_grown(to, done.result),
            Op::Seal(slot, base) => self.sealed(io, slot, base, done.result),
            Op::ExtendIndex(slot, base, number) => self.index_extended(slot, base, number, done.result),
            Op::Checkpoint(number) => self.checkpoint_written(io, number, done.result),
            Op::RemoveSegments => self.note_error("old segments stay", done.result),
            Op::FindTime(search) => self.time_found(search, done.result),
            Op::Read(read) => self.index_loaded(io, read, done.result),
            _ => {}
        }
    }

    fn journal_grown(&mut self, to: u64, result: Result<JobOutput, Error>) {
        match result {
            Ok(_) => {
                self.journal.space_mut().set_capacity(to);
                self.journal_growing = false;
                self.note_progress();
            }
            Err(e) => {
                self.journal_grow_after = Some(Instant::now() + GROW_RETRY);
                self.journal_growing = false;
                self.events.push(ShardEvent::Notice(format!(
                    "the journal stays at its size for now: {e}"
                )));
            }
        }
    }

    pub(crate) fn note_error(&mut self, what: &str, result: Result<JobOutput, Error>) {
        if let Err(e) = result {
            self.events.push(ShardEvent::Notice(format!("{what}: {e}")));
        }
    }

    /// The disk had no room. Appends that need more are refused until it has.
    pub(crate) fn note_disk_full(&mut self, now: Instant, e: &std::io::Error) {
        debug_assert!(is_disk_full(e));
        if self.disk_full_since.is_none() {
            self.events.push(ShardEvent::Notice(format!(
                "the disk is full, producers are refused: {e}"
            )));
        }
        self.disk_full_since = Some(now);
        // Who waits is to hear of it.
        self.note_progress();
    }
}

impl From<Refused> for AppendError {
    fn from(refused: Refused) -> AppendError {
        match refused {
            Refused::Busy | Refused::NoMemory => AppendError::Busy,
            Refused::Failed(reason) => AppendError::Storage(reason),
        }
    }
}

pub(crate) fn open_file(handle: crate::segment::Handle) -> Option<FileId> {
    match handle {
        crate::segment::Handle::Open(file) => Some(file),
        _ => None,
    }
}
