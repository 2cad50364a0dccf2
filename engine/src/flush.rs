//! From the tails to the segment files: large aligned writes, few at a time, so that they stay out of the journal's way.
//!
//! A partition takes one step at a time: open the file, get space for it, write a piece, sync. A full segment is sealed: its
//! rest is written, the file cut to its exact length, its indexes completed. Nothing here is on the path of an acknowledgement.

use crate::aborted::AbortedTail;
use crate::background::{FileJob, IndexTail, JobOutput};
use crate::error::{Error, is_disk_full};
use crate::io::files;
use crate::io::{ALIGN, Durability, FileId, Io, Open};
use crate::log::PartitionLog;
use crate::ops::Op;
use crate::segment::{Handle, Phase, Segment};
use crate::shard::{Shard, ShardEvent, Slot, open_file};
use crate::spares::Spares;
use crate::tail::Place;

/// A piece written at once; larger ones triple the journal's p99 beside them.
pub const WRITE_BYTES: usize = 256 << 10;
/// Steps under way per core.
const MAX_IN_FLIGHT: usize = 2;
/// The same while a checkpoint waits for many small partitions.
const MAX_IN_FLIGHT_CHECKPOINT: usize = 16;
/// Files kept open per core.
const MAX_OPEN_FILES: usize = 1024;
/// The first piece of disk space a segment gets; each next one doubles the file, up to [`MAX_ALLOCATE_BYTES`].
const MIN_ALLOCATE_BYTES: u64 = 64 << 10;
/// The largest piece of disk space taken at once.
const MAX_ALLOCATE_BYTES: u64 = 32 << 20;

/// The next thing to do for a partition.
enum Step {
    Nothing,
    Recycle(i64),
    Open(i64),
    Allocate(i64, FileId, u64, u64),
    Write(FileId, crate::io::Slice, Place, Place),
    Seal(i64),
    Sync(i64, FileId),
}

impl Shard {
    /// Puts the partition in the queue if there is something to do for it.
    pub(crate) fn want_flush(&mut self, slot: Slot) {
        let Some(log) = self.log_mut(slot) else { return };
        if log.flush.queued || log.flush.busy || !has_work(log) {
            return;
        }
        log.flush.queued = true;
        self.flush_queue.push_back(slot);
    }

    /// Everything before `target` goes to disk, partial pages included, and is synced.
    pub(crate) fn force_flush(&mut self, slot: Slot, target: Place) {
        if let Some(log) = self.log_mut(slot)
            && (log.flush.written < target || log.flush.unsynced)
        {
            log.flush.wanted = log.flush.wanted.max(Some(target));
        }
        self.want_flush(slot);
    }

    /// Takes as many steps as may be under way at once.
    pub(crate) fn run_flushes(&mut self, io: &mut dyn Io) {
        let most = if self.checkpointer.is_running() {
            MAX_IN_FLIGHT_CHECKPOINT
        } else {
            MAX_IN_FLIGHT
        };
        while self.flushes_in_flight < most
            && let Some(slot) = self.flush_queue.pop_front()
        {
            self.step(io, slot);
        }
    }

    fn step(&mut self, io: &mut dyn Io, slot: Slot) {
        let Some(log) = self.logs.get_mut(slot.0 as usize).and_then(Option::as_mut) else {
            return;
        };
        log.flush.queued = false;
        if log.flush.busy {
            return;
        }
        let step = next_step(log, self.background.spares());
        if matches!(step, Step::Nothing) {
            return;
        }
        log.flush.busy = true;
        self.flushes_in_flight += 1;
        match step {
            Step::Nothing => {}
            Step::Recycle(base) => self.recycle(io, slot, base),
            Step::Open(base) => self.open_to_flush(io, slot, base),
            Step::Allocate(base, file, from, to) => {
                let token = self.ops.start(Op::Allocate(slot, base, to));
                io.allocate(file, from, to - from, token);
            }
            Step::Write(file, slice, from, reached) => {
                self.stats.flushed(slice.padded_len());
                let token = self
                    .ops
                    .start(Op::Flush(slot, reached.segment_base, reached.position));
                io.write(file, from.position, slice, Durability::Written, token);
            }
            Step::Seal(base) => self.seal(io, slot, base),
            Step::Sync(base, file) => {
                let token = self.ops.start(Op::Sync(slot, base));
                io.sync(file, token);
            }
        }
    }

    /// The partition's step ended; on to the next.
    fn step_done(&mut self, slot: Slot) {
        self.flushes_in_flight -= 1;
        let Some(log) = self.log_mut(slot) else {
            self.background.spares().stray_ended();
            return;
        };
        log.flush.busy = false;
        // Memory may have been asked for while the step was under way, when it could not be given.
        self.note_evictable(slot);
        self.want_flush(slot);
    }

    /// The partition goes on before all others: they would have its file closed again before it is used.
    fn step_done_go_on(&mut self, slot: Slot) {
        self.step_done(slot);
        if self.flush_queue.back() == Some(&slot) {
            self.flush_queue.rotate_right(1);
        }
    }

    /// The partition may have memory to give back.
    fn note_evictable(&mut self, slot: Slot) {
        let Some(log) = self.log_mut(slot) else { return };
        if log.tail.start().is_some_and(|start| start < log.flush.written)
            && !std::mem::replace(&mut log.flush.evictable, true)
        {
            self.evictable.push_back(slot);
        }
    }

    /// Asks for a spare file to be the segment's log.
    fn recycle(&mut self, io: &mut dyn Io, slot: Slot, base: i64) {
        let Some(log) = self.log_mut(slot) else { return };
        let job = FileJob::Recycle {
            folder: log.folder.clone(),
            base_offset: base,
            segment_bytes: u64::from(log.options.segment_bytes),
        };
        if let Some(segment) = log.state.segment_mut(base) {
            segment.spare_asked = true;
        }
        let token = self.ops.start(Op::Recycle(slot, base));
        self.submit_job(io, token, job);
    }

    pub(crate) fn recycled(
        &mut self,
        io: &mut dyn Io,
        slot: Slot,
        base: i64,
        result: Result<JobOutput, Error>,
    ) {
        match result {
            Ok(JobOutput::Recycled(bytes)) => {
                if let Some(segment) = self.log_mut(slot).and_then(|l| l.state.segment_mut(base)) {
                    segment.allocated_bytes = segment.allocated_bytes.max(bytes);
                }
            }
            Ok(_) => {}
            Err(e) => {
                // Which file has the name after a power cut is unknown: not even a full disk may be tried again.
                let e = std::io::Error::other(e.to_string());
                self.flush_failed(io, slot, base, "recycled", &e);
            }
        }
        self.step_done_go_on(slot);
    }

    fn open_to_flush(&mut self, io: &mut dyn Io, slot: Slot, base: i64) {
        let Some(log) = self.logs.get_mut(slot.0 as usize).and_then(Option::as_mut) else {
            return;
        };
        let path = log.file(base, ".log");
        if let Some(segment) = log.state.segment_mut(base) {
            segment.handle = Handle::Opening;
        }
        let token = self.ops.start(Op::OpenToFlush(slot, base));
        io.open(path, Open::Create, token);
    }

    pub(crate) fn opened_to_flush(
        &mut self,
        io: &mut dyn Io,
        slot: Slot,
        base: i64,
        result: std::io::Result<FileId>,
    ) {
        match result {
            Ok(file) => self.keep_open(io, slot, base, file),
            Err(e) => {
                if let Some(segment) = self.log_mut(slot).and_then(|l| l.state.segment_mut(base)) {
                    segment.handle = Handle::Closed;
                }
                self.flush_failed(io, slot, base, "opened", &e);
            }
        }
        self.step_done_go_on(slot);
    }

    /// Remembers an open file, and closes the one opened longest ago when there are too many.
    pub(crate) fn keep_open(&mut self, io: &mut dyn Io, slot: Slot, base: i64, file: FileId) {
        match self.log_mut(slot).and_then(|l| l.state.segment_mut(base)) {
            Some(segment) => {
                // Opened twice at the same time, once for a read: one is enough.
                if let Handle::Open(twice) = std::mem::replace(&mut segment.handle, Handle::Open(file)) {
                    io.close(twice);
                } else {
                    self.open_files.push_back((slot, base));
                }
            }
            None => io.close(file),
        }
        // Not the one that was just opened for somebody.
        let mut tries = self.open_files.len().saturating_sub(1);
        while self.open_files.len() > MAX_OPEN_FILES && tries > 0 {
            tries -= 1;
            let Some((slot, base)) = self.open_files.pop_front() else {
                break;
            };
            if !self.close_unused(io, slot, base) {
                self.open_files.push_back((slot, base));
            }
        }
    }

    /// Closes a segment's file unless it is being flushed. True when it is not open afterwards.
    fn close_unused(&mut self, io: &mut dyn Io, slot: Slot, base: i64) -> bool {
        let Some(log) = self.log_mut(slot) else {
            return true;
        };
        if log.flush.busy || (log.flush.unsynced && log.flush.written.segment_base == base) {
            return false;
        }
        if let Some(segment) = log.state.segment_mut(base)
            && let Some(file) = open_file(segment.handle)
        {
            segment.handle = Handle::Closed;
            io.close(file);
        }
        true
    }

    pub(crate) fn allocated(
        &mut self,
        io: &mut dyn Io,
        slot: Slot,
        base: i64,
        to: u64,
        result: std::io::Result<()>,
    ) {
        match result {
            Ok(()) => {
                if let Some(segment) = self.log_mut(slot).and_then(|l| l.state.segment_mut(base)) {
                    segment.allocated_bytes = segment.allocated_bytes.max(to);
                }
                self.note_disk_room();
            }
            Err(e) => self.flush_failed(io, slot, base, "extended", &e),
        }
        self.step_done_go_on(slot);
    }

    /// A full disk passes: the partition tries again later. Anything else is final.
    fn flush_failed(&mut self, io: &dyn Io, slot: Slot, base: i64, what: &str, e: &std::io::Error) {
        let Some(log) = self.log_mut(slot) else { return };
        let path = log.file(base, ".log");
        if is_disk_full(e) {
            log.flush.starved = true;
            self.note_disk_full(io, e);
        } else {
            log.flush.failed = true;
            let reason = format!("{} cannot be {what}: {e}", path.display());
            self.journal.fail(reason.clone());
            self.events.push(ShardEvent::Failed(reason));
        }
    }

    pub(crate) fn flushed(
        &mut self,
        io: &dyn Io,
        slot: Slot,
        base: i64,
        reached: u64,
        result: std::io::Result<()>,
    ) {
        match result {
            Ok(()) => {
                if let Some(log) = self.log_mut(slot) {
                    let place = Place {
                        segment_base: base,
                        position: reached,
                    };
                    log.flush.written = log.flush.written.max(place);
                    log.flush.unsynced = true;
                }
            }
            Err(e) => self.flush_failed(io, slot, base, "written", &e),
        }
        if self.log(slot).is_some_and(|l| l.flush.wanted.is_some()) {
            self.step_done_go_on(slot);
        } else {
            self.step_done(slot);
        }
        self.note_progress();
    }

    fn seal(&mut self, io: &mut dyn Io, slot: Slot, base: i64) {
        let Some(log) = self.logs.get_mut(slot.0 as usize).and_then(Option::as_mut) else {
            return;
        };
        let (folder, epochs) = (log.folder.clone(), log.state.epochs.encode());
        let next_base = log
            .state
            .segments
            .iter()
            .map(|s| s.base_offset)
            .find(|b| *b > base);
        let Some(segment) = log.state.segment_mut(base) else {
            return;
        };
        if let Some(file) = open_file(segment.handle) {
            io.close(file);
        }
        segment.handle = Handle::Closed;
        let job = FileJob::Seal {
            folder,
            base_offset: base,
            size_bytes: segment.size_bytes,
            index: take_index(segment),
            snapshot: segment.snapshot.clone().unwrap_or_default(),
            epochs,
            next_base,
            sync: if self.stopping {
                files::Sync::Later
            } else {
                files::Sync::Now
            },
        };
        let token = self.ops.start(Op::Seal(slot, base));
        self.submit_job(io, token, job);
    }

    pub(crate) fn sealed(
        &mut self,
        io: &mut dyn Io,
        slot: Slot,
        base: i64,
        result: Result<JobOutput, Error>,
    ) {
        match result {
            Ok(_) => {
                if let Some(log) = self.log_mut(slot) {
                    finish_seal(log, base);
                }
                self.note_aborted(slot, base);
            }
            Err(Error::Io {
                operation: "sync",
                source,
                ..
            }) => {
                // Also when the disk was full: it may have dropped what it had no room for, and says so only once.
                let e = std::io::Error::other(source);
                self.flush_failed(io, slot, base, "synced", &e);
            }
            Err(Error::Io { source, .. }) => self.flush_failed(io, slot, base, "sealed", &source),
            Err(other) => {
                let e = std::io::Error::other(other.to_string());
                self.flush_failed(io, slot, base, "sealed", &e);
            }
        }
        self.step_done(slot);
        self.remove_old_segments(slot);
        self.checkpoint_step_done(io, slot);
    }

    pub(crate) fn synced(&mut self, io: &mut dyn Io, slot: Slot, base: i64, result: std::io::Result<()>) {
        match result {
            Ok(()) => {
                if let Some(log) = self.log_mut(slot) {
                    log.flush.unsynced = false;
                    if log.flush.wanted.is_some_and(|w| w <= log.flush.written) {
                        log.flush.wanted = None;
                    }
                }
            }
            Err(e) => {
                // Never tried again as if clean: what the file holds is unknown.
                let e = std::io::Error::other(e);
                self.flush_failed(io, slot, base, "synced", &e);
            }
        }
        self.step_done(slot);
        self.note_progress();
        self.checkpoint_step_done(io, slot);
    }

    /// After a restart: reads the unaligned end of the active segment, which the next aligned write starts with.
    pub(crate) fn load_prefix(&mut self, io: &mut dyn Io, slot: Slot) {
        let Some(log) = self.logs.get_mut(slot.0 as usize).and_then(Option::as_mut) else {
            return;
        };
        if std::mem::replace(&mut log.loading_prefix, true) {
            return;
        }
        let base = log.state.active().base_offset;
        let path = log.file(base, ".log");
        let token = self.ops.start(Op::Prefix(slot, base));
        // It has bytes. Where it was removed meanwhile, because all of the log was, nobody must make it again.
        io.open(path, Open::Write, token);
    }

    /// Where the end of the log is missing in memory, if it is in this segment still.
    fn missing_prefix(&self, slot: Slot, base: i64) -> Option<Place> {
        let log = self.log(slot)?;
        let missing = log.tail.missing_prefix(log.state.end());
        missing.filter(|place| place.segment_base == base)
    }

    pub(crate) fn prefix_opened(
        &mut self,
        io: &mut dyn Io,
        slot: Slot,
        base: i64,
        result: std::io::Result<FileId>,
    ) {
        let place = self.missing_prefix(slot, base);
        match (result, place, self.read_block(io, ALIGN)) {
            (Ok(file), Some(place), Some(block)) => {
                self.keep_open(io, slot, place.segment_base, file);
                let token = self.ops.start(Op::Prefix(slot, base));
                io.read(file, place.position, ALIGN, block, token);
            }
            (result, place, block) => {
                if let Some(log) = self.log_mut(slot) {
                    log.loading_prefix = false;
                }
                // Trying again at once would never end.
                let is_passing = result.as_ref().is_err_and(is_short_of_files);
                if let (Err(e), Some(place)) = (&result, place)
                    && !is_passing
                {
                    self.flush_failed(io, slot, place.segment_base, "opened", e);
                }
                self.close_if_open(io, result);
                // What memory or files are wanting for waits until there are some again.
                if block.is_some() && !is_passing {
                    self.note_progress();
                }
            }
        }
    }

    pub(crate) fn prefix_read(
        &mut self,
        io: &mut dyn Io,
        slot: Slot,
        base: i64,
        block: &crate::io::Block,
        result: std::io::Result<()>,
    ) {
        let missing = self.missing_prefix(slot, base);
        let Some(log) = self.log_mut(slot) else { return };
        log.loading_prefix = false;
        let end = log.state.end();
        if let (Ok(()), Some(start)) = (&result, missing) {
            let bytes = (end.position - start.position) as usize;
            match block.bytes().get(..bytes) {
                Some(prefix) => log.tail.set_remainder(start, prefix),
                None => {
                    let e = std::io::Error::other("the file is shorter than the log");
                    self.flush_failed(io, slot, start.segment_base, "read back", &e);
                }
            }
        } else if let (Err(e), Some(start)) = (result, missing) {
            self.flush_failed(io, slot, start.segment_base, "read back", &e);
        }
        self.note_progress();
    }
}

/// Whether the system has no more files to give now.
fn is_short_of_files(e: &std::io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// Whether a step is due: a full piece waits, a segment waits to be sealed, or somebody waits for the bytes to be on disk.
fn has_work(log: &PartitionLog) -> bool {
    if log.flush.starved || log.flush.failed {
        return false;
    }
    let (written, end) = (log.flush.written, log.state.end());
    if log
        .state
        .segment(written.segment_base)
        .is_some_and(|s| s.phase == Phase::Sealing)
    {
        return true;
    }
    match log.flush.wanted {
        Some(wanted) => written < wanted || log.flush.unsynced,
        None => end.position - written.position >= WRITE_BYTES as u64,
    }
}

fn next_step(log: &mut PartitionLog, spares: &Spares) -> Step {
    if !has_work(log) {
        return Step::Nothing;
    }
    let written = log.flush.written;
    let Some(segment) = log.state.segment(written.segment_base) else {
        return Step::Nothing;
    };
    let (base, size, handle) = (segment.base_offset, segment.size_bytes, segment.handle);
    let (sealing, allocated) = (segment.phase == Phase::Sealing, segment.allocated_bytes);
    if sealing && written.position >= size {
        return Step::Seal(base);
    }
    let wanted = log.flush.wanted.is_some_and(|w| written < w);
    let more =
        (sealing && written.position < size) || wanted || size - written.position >= WRITE_BYTES as u64;
    let file = match handle {
        Handle::Open(file) => file,
        Handle::Opening => return Step::Nothing,
        Handle::Closed if more && wants_spare(log, segment, spares) => return Step::Recycle(base),
        Handle::Closed if more => return Step::Open(base),
        Handle::Closed => return Step::Nothing,
    };
    // Whoever waits for what is written already is not kept waiting for what is newer.
    let only_sync = log.flush.unsynced && !sealing && log.flush.wanted.is_some() && !wanted;
    if !more || only_sync {
        return if log.flush.unsynced {
            Step::Sync(base, file)
        } else {
            Step::Nothing
        };
    }
    if size.next_multiple_of(ALIGN as u64) > allocated {
        let (from, to) = next_allocation(allocated, size, log.options.segment_bytes);
        return Step::Allocate(base, file, from, to);
    }
    match log.tail.next_write(written, WRITE_BYTES, sealing || wanted) {
        Some((slice, from, reached)) => Step::Write(file, slice, from, reached),
        None => Step::Nothing,
    }
}

/// Whether a spare should be the segment's log: nothing of it is in a file, and more than a little is to be. A restart must know where the log
/// ends without looking for it.
fn wants_spare(log: &PartitionLog, segment: &Segment, spares: &Spares) -> bool {
    let is_new = log.flush.written.position == 0 && segment.allocated_bytes == 0 && !segment.spare_asked;
    let segment_bytes = u64::from(log.options.segment_bytes);
    let is_much = segment.size_bytes >= (WRITE_BYTES as u64).min(segment_bytes / 4);
    is_new && is_much && log.in_checkpoint && spares.has_one_for(segment_bytes)
}

/// The next piece of disk space: the file doubles, within limits, and holds at least what there is.
fn next_allocation(allocated: u64, size: u64, segment_bytes: u32) -> (u64, u64) {
    let step = allocated.clamp(MIN_ALLOCATE_BYTES, MAX_ALLOCATE_BYTES);
    let most = u64::from(segment_bytes).next_multiple_of(ALIGN as u64);
    let to = (allocated + step)
        .min(most)
        .max(size.next_multiple_of(ALIGN as u64));
    (allocated, to)
}

/// Index entries that are not known to be in the files, and where they go. The segment keeps them until
/// [`Segment::index_written`] says that they are: a full disk may ask for them twice.
pub(crate) fn take_index(segment: &mut Segment) -> IndexTail {
    let Some(index) = segment.index.as_mut() else {
        return IndexTail::default();
    };
    let (unwritten, aborted) = (index.take_unwritten(), segment.aborted.take_unwritten());
    let mut tail = segment.index_on_the_way.take().unwrap_or(IndexTail {
        offset_at: unwritten.offset_position,
        time_at: unwritten.time_position,
        aborted: AbortedTail {
            at: aborted.at,
            bytes: Vec::new(),
        },
        ..IndexTail::default()
    });
    tail.offset_bytes.extend(unwritten.offset_bytes);
    tail.time_bytes.extend(unwritten.time_bytes);
    tail.aborted.bytes.extend(aborted.bytes);
    segment.index_on_the_way = Some(tail.clone());
    tail
}

fn finish_seal(log: &mut PartitionLog, base: i64) {
    let next = log
        .state
        .segments
        .iter()
        .find(|s| s.base_offset > base)
        .map(|s| s.base_offset);
    if let Some(segment) = log.state.segment_mut(base) {
        segment.phase = Phase::Sealed;
        segment.snapshot = None;
        segment.allocated_bytes = segment.size_bytes;
        segment.index_written();
    }
    if log.flush.written.segment_base == base
        && let Some(next) = next
    {
        log.flush.written = Place {
            segment_base: next,
            position: 0,
        };
        log.flush.wanted = log.flush.wanted.filter(|w| *w > log.flush.written);
    }
    if log.flush.written.segment_base >= base {
        log.flush.unsynced = false;
        log.flush.wanted = log.flush.wanted.filter(|w| *w > log.flush.written);
    }
    log.dirty = true;
}
