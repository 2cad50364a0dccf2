//! One core's storage: its journal, its partitions, and what is under way on the disk for them.
//!
//! Append: check, stamp, copy to the tail, copy to the journal's open frame; durable once [`ShardEvent::Committed`] reaches
//! the ticket. Behind it the tail goes to the segment files ([`crate::flush`]) and checkpoints free the journal
//! ([`crate::checkpointer`]). Read: from the tail at once, else from disk ([`crate::read`]).
//!
//! A shard never blocks and never calls back: disk events go in by [`Shard::on_event`], what follows comes out as [`ShardEvent`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::background::{Background, FileJob, Inbox, JobDone, JobOutput};
use crate::checkpointer::Checkpointer;
use crate::error::Error;
use crate::handover::Handovers;
use crate::io::{Event, FileId, Io};
use crate::journal::commit::Journal;
use crate::log::{LogState, PartitionLog};
use crate::ops::{Op, Ops};
use crate::producers::ProducerStates;
use crate::read::{ColdReads, ReadCounters};
use crate::stats::Stats;
use crate::times::Searches;

mod append;
pub(crate) mod cleaning;
mod delete;
mod full;
mod producing;
mod retention;
mod txns;
mod types;

pub use crate::aborted::AbortedTxn;
pub use crate::batch::MarkerKind;
pub use crate::cleaner::choice::Compaction;
pub use crate::retention::Limits;
pub use producing::{Marker, Origin, Producing};
pub use types::*;

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
    retention: retention::Round,
    pub(crate) cleaning: cleaning::Cleaning,
    pub(crate) reads: ColdReads,
    pub(crate) searches: Searches,
    /// Partitions on their way to or from other cores.
    pub(crate) handovers: Handovers,
    pub(crate) stats: Stats,
    pub(crate) events: Vec<ShardEvent>,
    pub(crate) room: full::DiskRoom,
    pub(crate) was_busy: bool,
    /// Somebody was told to wait: when to let them try again, if nothing else does before.
    busy_until: Option<Instant>,
    pub(crate) stopping: bool,
    entry_head: Vec<u8>,
}

/// See [`Shard::doomed`].
pub(crate) struct Doomed {
    /// The first checkpoint that does without them; no number is as large once they are being removed.
    pub(crate) checkpoint: u64,
    pub(crate) slot: Slot,
    pub(crate) base_offsets: Vec<i64>,
}

/// How long after a failed attempt the journal may be made larger.
const GROW_RETRY: Duration = Duration::from_secs(10);
/// How long somebody who was told to wait does so when nothing of the shard's own goes on. Memory comes back unannounced when a
/// client has taken an answer.
const BUSY_RETRY: Duration = Duration::from_millis(20);

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
            retention: retention::Round::default(),
            cleaning: cleaning::Cleaning::default(),
            reads: ColdReads::default(),
            searches: Searches::default(),
            handovers: Handovers::default(),
            stats: Stats::default(),
            events: Vec::new(),
            room: full::DiskRoom::default(),
            was_busy: false,
            busy_until: None,
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
        // The first checkpoint has all that recovery found.
        let in_checkpoint = state.is_some();
        let mut state = state.unwrap_or_else(|| LogState::empty(name, topic_id, interval, io.wall_ms()));
        state.producers.assume_active(io.wall_ms());
        if let Some(index) = state.active_mut().index.as_mut() {
            index.set_interval_bytes(interval);
        }
        let mut log = PartitionLog::new(state, folder, options, leader_epoch, io.now());
        log.in_checkpoint = in_checkpoint;
        log.cleaning.note_encoded(&log.state);
        log.cleaning.note_checkpoint();
        log.lead_in(leader_epoch);
        self.logs.push(Some(log));
        if !in_checkpoint && !self.background.spares().is_empty() {
            // Only with one does it get a spare.
            self.checkpointer.want();
        }
        Slot(self.logs.len() as u32 - 1)
    }

    /// Closes a partition: nothing more is read or written for it. Its files are the caller's to remove.
    pub fn remove_partition(&mut self, io: &mut dyn Io, slot: Slot) {
        if let Some(log) = self.logs.get_mut(slot.0 as usize).and_then(Option::take) {
            for file in log.state.segments.iter().filter_map(|s| open_file(s.handle)) {
                io.close(file);
            }
            self.forget_chunks(|key| key.slot == slot);
            if log.flush.busy {
                self.background.spares().stray_begins();
            }
            self.checkpointer.forget(slot);
            self.doomed.retain(|d| d.slot != slot);
            self.forget_cleaning(slot);
        }
    }

    /// Changes a partition's settings, for what is appended from now on.
    pub fn set_options(&mut self, slot: Slot, options: LogOptions) {
        if let Some(log) = self.log_mut(slot) {
            log.options = options;
        }
        if options.compaction.is_none() {
            self.cancel_cleaning(slot);
        }
    }

    /// Stamps this epoch into what is appended from now on.
    pub fn set_leader_epoch(&mut self, slot: Slot, leader_epoch: i32) {
        if let Some(log) = self.log_mut(slot) {
            log.lead_in(leader_epoch);
        }
    }

    /// The epoch in which the record at the log start was written, or will be; -1 when it is not known.
    pub fn earliest_epoch(&self, slot: Slot) -> i32 {
        let state = self.log(slot).map(|log| &log.state);
        let epoch = state.and_then(|state| state.epochs.epoch_for_offset(state.log_start_offset));
        epoch.unwrap_or(-1)
    }

    pub(crate) fn log(&self, slot: Slot) -> Option<&PartitionLog> {
        self.logs.get(slot.0 as usize)?.as_ref()
    }

    pub(crate) fn log_mut(&mut self, slot: Slot) -> Option<&mut PartitionLog> {
        self.logs.get_mut(slot.0 as usize)?.as_mut()
    }

    /// The partition's offsets, or `None` when it is not open.
    pub fn offsets(&self, slot: Slot) -> Option<Offsets> {
        let log = self.log(slot)?;
        Some(Offsets {
            log_start: log.state.log_start_offset,
            high_watermark: log.committed_offset,
            last_stable: log.last_stable_offset(),
            log_end: log.state.end_offset,
            leader_epoch: log.leader_epoch,
        })
    }

    /// Bytes of batches in all segments.
    pub fn size_bytes(&self, slot: Slot) -> u64 {
        self.log(slot).map_or(0, |l| l.state.size_bytes())
    }

    /// Base offset and bytes of batches of each segment, oldest first; none when the partition is not open.
    pub fn segment_sizes(&self, slot: Slot) -> impl Iterator<Item = (i64, u64)> {
        let segments = self.log(slot).into_iter().flat_map(|log| &log.state.segments);
        segments.map(|segment| (segment.base_offset, segment.size_bytes))
    }

    /// The largest epoch at or below the one asked for, and its end offset; (-1, -1) when unknown (KIP-320).
    pub fn epoch_end_offset(&self, slot: Slot, epoch: i32) -> (i32, i64) {
        self.log(slot).map_or((-1, -1), |l| {
            l.state.epochs.end_offset_for(epoch, l.committed_offset)
        })
    }

    /// The producers a partition remembers; none when it is not open.
    pub fn producers(&self, slot: Slot) -> Option<&ProducerStates> {
        self.log(slot).map(|log| &log.state.producers)
    }

    pub(crate) fn submit_job(&self, io: &dyn Io, token: crate::io::Token, job: FileJob) {
        self.background.submit(token, job, &self.inbox, Some(io.waker()));
    }

    /// Takes a disk event of this core's [`Io`]. What follows from it is appended to `out`.
    pub fn on_event(&mut self, io: &mut dyn Io, event: Event, out: &mut Vec<ShardEvent>) {
        match event {
            Event::Wrote { token, result } => match self.ops.finish(token) {
                Some(Op::JournalWrite) => self.journal_in_file(io, result),
                Some(Op::Flush(slot, base, reached)) => self.flushed(io, slot, base, reached, result),
                _ => {}
            },
            Event::Synced { token, result } => match self.ops.finish(token) {
                Some(Op::JournalSync) => self.journal_wrote(io.now(), result),
                Some(Op::Sync(slot, base)) => self.synced(io, slot, base, result),
                _ => {}
            },
            Event::Allocated { token, result } => {
                if let Some(Op::Allocate(slot, base, to)) = self.ops.finish(token) {
                    self.allocated(io, slot, base, to, result);
                }
            }
            Event::Opened { token, result } => match self.ops.finish(token) {
                Some(Op::OpenToFlush(slot, base)) => self.opened_to_flush(io, slot, base, result),
                Some(Op::Prefix(slot, base)) => self.prefix_opened(io, slot, base, result),
                Some(Op::Read(read)) => self.read_opened(io, read, result),
                _ => self.close_if_open(io, result),
            },
            Event::Read { token, block, result } => match self.ops.finish(token) {
                Some(Op::Prefix(slot, base)) => self.prefix_read(io, slot, base, &block, result),
                Some(Op::Read(read)) => self.read_finished(io, read, block, result),
                Some(Op::Chunk(key, valid)) => self.chunk_read(io, key, valid, block, result),
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

    fn journal_in_file(&mut self, io: &mut dyn Io, result: std::io::Result<()>) {
        let token = self.ops.start(Op::JournalSync);
        if result.is_err() || !self.journal.sync_after(io, token) {
            self.ops.finish(token);
            self.journal_wrote(io.now(), result);
        }
    }

    fn journal_wrote(&mut self, now: Instant, result: std::io::Result<()>) {
        self.reads.commit_done(now);
        match self.journal.wrote(now, result) {
            Ok((ticket, ends)) => {
                self.stats.committed(ticket);
                for end in ends {
                    if let Some(log) = self.log_mut(end.slot)
                        && end.end_offset > log.committed_offset
                    {
                        log.commit_to(end.end_offset, end.end);
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
        self.run_retention(io);
        self.run_cleaning(io);
        self.run_checkpoint(io);
        self.run_handovers(io);
        // Last: the others put partitions in its queue, and nothing else may happen for long.
        self.run_flushes(io);
        self.run_cold(io);
        self.retry_busy(io.now());
        out.append(&mut self.events);
    }

    /// Lets who waits try again after a while, for as long as somebody waits.
    fn retry_busy(&mut self, now: Instant) {
        match self.busy_until {
            _ if !self.was_busy => self.busy_until = None,
            Some(until) if now >= until => {
                self.busy_until = None;
                self.note_progress();
            }
            Some(_) => {}
            None => self.busy_until = Some(now + BUSY_RETRY),
        }
    }

    /// Whether a slow job has ended since the last tick: a core must not sleep over it.
    pub fn has_mail(&self) -> bool {
        !self.inbox.is_empty() || self.cleaning.has_mail()
    }

    /// Bytes of the journal that a restart would replay.
    pub fn journal_live_bytes(&self) -> u64 {
        self.journal.space().used_bytes()
    }

    /// What reads found in memory, and what they waited for.
    pub fn read_counters(&self) -> ReadCounters {
        self.reads.counters()
    }

    /// When [`Shard::tick`] wants to be called at the latest.
    pub fn next_deadline(&self) -> Option<Instant> {
        let retry = self.room.deadline();
        let checkpoint = self
            .checkpointer
            .deadline(Duration::from_millis(self.config.checkpoint_idle_ms));
        // A shard that stops begins none of its own accord.
        let checkpoint = checkpoint.filter(|_| !self.stopping);
        let grow = self.journal_grow_after.filter(|_| self.journal.is_starved());
        [
            retry,
            checkpoint,
            grow,
            self.busy_until,
            self.journal.deadline(),
            self.reads.deadline(),
            self.handovers.deadline(),
            self.retention.deadline().filter(|_| !self.stopping),
            self.cleaning.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn commit(&mut self, io: &mut dyn Io) {
        if self.journal.wants_write(io.now()) {
            let token = self.ops.start(Op::JournalWrite);
            if self.journal.start_write(io, token) {
                self.stats.submitted(io);
                self.reads.commit_begun(io.now());
            } else {
                self.ops.finish(token);
                self.checkpointer.hurry();
            }
        }
        self.grow_journal(io);
    }

    /// Doubles the journal while it is more than a quarter full, up to its largest size; beyond that only for a frame
    /// that would not fit otherwise.
    fn grow_journal(&mut self, io: &mut dyn Io) {
        self.journal_grow_after = self.journal_grow_after.filter(|at| io.now() < *at);
        let capacity = self.journal.space().capacity();
        let wanted = self.journal.largest_waiting_bytes() * 3;
        let crowded =
            self.journal.space().used_bytes() > capacity / 4 && capacity < self.config.journal_max_bytes;
        let put_off = self.journal_grow_after.is_some();
        if self.journal_growing || put_off || !(crowded || (self.journal.is_starved() && wanted > capacity)) {
            return;
        }
        let to = (capacity * 2)
            .min(self.config.journal_max_bytes)
            .max(wanted)
            .max(capacity)
            .next_multiple_of(1 << 20);
        if to <= capacity || !self.journal.begin_growing() {
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
            Op::JournalGrow(to) => self.journal_grown(io, to, done.result),
            Op::Seal(slot, base) => self.sealed(io, slot, base, done.result),
            Op::Recycle(slot, base) => self.recycled(io, slot, base, done.result),
            Op::GiveSpareBack => self.spare_given_back(io, done.result),
            Op::ExtendIndex(slot, base, number) => self.index_extended(io, slot, base, number, done.result),
            Op::HandOverIndex(slot, attempt) => self.hand_over_index_written(slot, attempt, done.result),
            Op::Checkpoint(number) => self.checkpoint_written(io, number, done.result),
            Op::HideSegments(slot, bases) => self.segments_hidden(io, slot, &bases, done.result),
            Op::RemoveFiles => self.note_error("files of old segments stay", done.result),
            Op::NewestTimes(slot) => self.newest_known(slot, done.result),
            Op::CleanTimes(slot) => self.clean_times_known(io, slot, done.result),
            Op::CleanAborted(slot, base) => self.clean_aborted_known(io, slot, base, done.result),
            Op::PrepareSwap(pass) => self.swap_prepared(io, pass, done.result),
            Op::Swap(pass) => self.swapped(io, pass, done.result),
            Op::NoteCleaned(pass) => self.cleaned_noted(io, pass, done.result),
            Op::DropCleaned(pass) => self.cleaned_dropped(io, pass, done.result),
            Op::FindTime(search) => self.time_found(io, search, done.result),
            Op::Read(read) => self.index_loaded(io, read, done.result),
            Op::Aborted(answer) => self.aborted_loaded(io, answer, done.result),
            _ => {}
        }
    }

    fn journal_grown(&mut self, io: &dyn Io, to: u64, result: Result<JobOutput, Error>) {
        self.journal_growing = false;
        let sync_failed = matches!(
            result,
            Err(Error::Io {
                operation: "sync",
                ..
            })
        );
        let is_safe = self.journal.end_growing(!sync_failed);
        match result {
            Ok(_) => {
                self.journal.space_mut().set_capacity(to);
                self.note_progress();
            }
            Err(e) if !is_safe => {
                let reason = format!("the journal cannot be synced: {e}");
                self.journal.fail(reason.clone());
                self.events.push(ShardEvent::Failed(reason));
            }
            Err(e) => {
                self.journal_grow_after = Some(io.now() + GROW_RETRY);
                if e.is_disk_full() {
                    self.give_spare_back(io);
                }
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
}

pub(crate) fn open_file(handle: crate::segment::Handle) -> Option<FileId> {
    match handle {
        crate::segment::Handle::Open(file) => Some(file),
        _ => None,
    }
}
