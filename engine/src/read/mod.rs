//! Reading: from the tail when the bytes are in memory, else from the cache of what was read from the segment files, else from a file,
//! with direct reads into pool buffers, from which the answer is sent.
//!
//! ```text
//!   read ─▶ tail ─▶ cache ─┬─▶ whole chunks, once for all who wait for them     sequential readers; more is read ahead of them
//!                          └─▶ exactly what is wanted, past the cache           readers that jump about, very large batches
//! ```
//!
//! A cold lookup costs at most one page of the index file and one read of the log, however large the log is. The indexes of a segment
//! of an earlier run are loaded when it is first read. Every batch that comes from disk is checked before anybody sees it: its
//! checksum, and what the checksum does not cover, its offset and its leader epoch, against what must stand there. A chunk remembers
//! what of it was checked.

use std::collections::HashMap;
use std::time::Instant;

use crate::background::{FileJob, JobOutput};
use crate::error::Error;
use crate::index::{IndexPage, search_page};
use crate::io::{Block, Class, FileId, Io, Open};
use crate::ops::Op;
use crate::segment::Handle;
use crate::shard::cleaning::Question;
use crate::shard::{ReadData, ReadError, ReadOutcome, ReadRequest, Shard, ShardEvent, Slot};
use crate::tail::Place;

mod aborted;
mod alone;
mod cache;
mod chunks;
mod cursors;
mod pace;
mod span;
mod walk;

pub(crate) use aborted::trim_aborted;
pub use cache::{Key, ReadCounters};
pub use cursors::Cursors;
use walk::*;

/// Bytes of a batch header up to the last offset delta.
const PEEK_BYTES: usize = 27;

/// A cold read under way. Never used again.
pub type ReadId = u64;

/// What a cold read waits for.
#[derive(Clone, Copy, Debug)]
enum Stage {
    LoadIndex,
    OpenIndex(IndexPage),
    ReadIndex(FileId, IndexPage),
    OpenLog,
    /// So many chunks of the cache.
    Chunks {
        missing: usize,
    },
    /// Bytes of its own from this position, when the log could be read up to `limit`; behind it the bytes are not what they are now.
    ReadLog {
        from: u64,
        limit: u64,
    },
}

#[derive(Clone, Copy, Debug)]
struct ColdRead {
    slot: Slot,
    request: ReadRequest,
    segment_base: i64,
    /// Where the next read of the log starts, once it is known: the start of a batch.
    position: u64,
    /// The offset the batch there must have, where that is known.
    expected: Option<i64>,
    /// The batch to be read is larger than usual.
    batch_bytes: usize,
    /// The reader goes from front to back.
    is_sequential: bool,
    /// How often it has waited for chunks: if they are always gone again it reads for itself.
    waits: u32,
    /// Bytes that it reads for itself.
    len: usize,
    stage: Stage,
}

impl ColdRead {
    fn place(&self) -> Place {
        Place {
            segment_base: self.segment_base,
            position: self.position,
        }
    }
}

/// The cold reads under way, and what they have brought.
#[derive(Default)]
pub struct ColdReads {
    reads: HashMap<ReadId, ColdRead>,
    next_id: ReadId,
    cache: cache::Cache,
    queue: chunks::Queue,
    aborted: aborted::Answers,
}

impl ColdReads {
    fn insert(&mut self, read: ColdRead) -> ReadId {
        self.next_id += 1;
        self.reads.insert(self.next_id, read);
        self.next_id
    }

    /// Whether one of the partition's is under way.
    pub(crate) fn has_any_of(&self, slot: Slot) -> bool {
        self.reads.values().any(|read| read.slot == slot) || self.aborted.has_any_of(slot)
    }

    /// Whether one of the partition's is under way that is about this segment, or one before it.
    pub(crate) fn has_any_to(&self, slot: Slot, last_base: i64) -> bool {
        let reads = |read: &ColdRead| read.slot == slot && read.segment_base <= last_base;
        self.reads.values().any(reads)
            || self.aborted.has_any_of(slot)
            || self
                .cache
                .is_reading(|key| key.slot == slot && key.segment_base <= last_base)
    }

    /// Nothing more is read ahead of this segment, and those before it.
    pub(crate) fn give_up_unbegun(&mut self, slot: Slot, last_base: i64) {
        self.cache
            .give_up_unbegun(|key| key.slot == slot && key.segment_base <= last_base);
    }

    fn take(&mut self, id: ReadId) -> Option<ColdRead> {
        self.reads.remove(&id)
    }

    fn get(&self, id: ReadId) -> Option<&ColdRead> {
        self.reads.get(&id)
    }

    fn get_mut(&mut self, id: ReadId) -> Option<&mut ColdRead> {
        self.reads.get_mut(&id)
    }

    fn len(&self) -> usize {
        self.reads.len()
    }

    /// When somebody who waits may go on though nothing happens.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.queue.deadline()
    }

    /// A commit begins: reads of log files make way for it.
    pub(crate) fn commit_begun(&mut self, now: Instant) {
        self.queue.pace.commit_begun(now);
    }

    /// The commit under way is done.
    pub(crate) fn commit_done(&mut self, now: Instant) {
        self.queue.pace.commit_done(now);
    }

    pub(crate) fn counters(&self) -> ReadCounters {
        self.cache.counters
    }
}

impl Shard {
    /// Reads batches from the one that holds the offset on, below the high watermark or the last stable offset.
    pub fn read(&mut self, io: &mut dyn Io, slot: Slot, request: ReadRequest) -> ReadOutcome {
        let Some(log) = self.log(slot) else {
            return ReadOutcome::Error(ReadError::NoSuchPartition);
        };
        let (log_start_offset, high_watermark) = (log.state.log_start_offset, log.committed_offset);
        if request.offset < log_start_offset || request.offset > high_watermark {
            return ReadOutcome::Error(out_of_range(log));
        }
        let (end, _) = log.readable_to(request.isolation);
        if request.offset >= end || (request.max_bytes == 0 && !request.at_least_one) {
            return ReadOutcome::Now(data(log, Vec::new()));
        }
        let segment_base = log.state.segment_of(request.offset).base_offset;
        if let Some(parked) = self.park(slot, segment_base, Question::Read(request)) {
            return parked.map_or_else(ReadOutcome::Error, |()| ReadOutcome::Later);
        }
        let Some(log) = self.log(slot) else {
            return ReadOutcome::Error(ReadError::NoSuchPartition);
        };
        match find(log, segment_base, request.offset) {
            Found::InMemory(place) => self.tail_answer(io, slot, place, &request),
            found => self.begin_cold(io, slot, request, segment_base, found),
        }
    }

    /// Answers from memory.
    fn tail_answer(
        &mut self,
        io: &mut dyn Io,
        slot: Slot,
        place: Place,
        request: &ReadRequest,
    ) -> ReadOutcome {
        let now = self.reads.queue.now();
        let Some(log) = self.log_mut(slot) else {
            return ReadOutcome::Error(ReadError::NoSuchPartition);
        };
        let InTail { answer, end, next } = read_tail(log, place, request);
        if let (Some((next_offset, place)), Some(now)) = (next, now) {
            log.cursors.advance(request.offset, next_offset, place, now);
        }
        self.answer(io, slot, request, answer, end)
    }

    fn begin_cold(
        &mut self,
        io: &mut dyn Io,
        slot: Slot,
        request: ReadRequest,
        segment_base: i64,
        found: Found,
    ) -> ReadOutcome {
        let mut read = ColdRead {
            slot,
            request,
            segment_base,
            position: 0,
            expected: None,
            batch_bytes: 0,
            is_sequential: false,
            waits: 0,
            len: 0,
            stage: Stage::OpenLog,
        };
        self.reads.cache.set_budget(io.memory().1);
        match found {
            Found::InMemory(_) => {}
            Found::OnDisk(place, expected) => {
                read.position = place.position;
                read.expected = expected;
                read.is_sequential = expected.is_some();
            }
            Found::AskPage(page) => read.stage = Stage::OpenIndex(page),
            Found::AskIndex => read.stage = Stage::LoadIndex,
        }
        let begun = match read.stage {
            Stage::LoadIndex => self.load_index(io, read),
            Stage::OpenIndex(_) => self.open_index(io, read),
            _ => return self.read_on(io, read),
        };
        begun.map_or_else(ReadOutcome::Error, |()| ReadOutcome::Later)
    }

    fn finish_read(&mut self, read: &ColdRead, result: Result<ReadData, ReadError>) {
        self.stats.counters.cold_reads += 1;
        self.events.push(ShardEvent::ReadDone {
            token: read.request.token,
            result,
        });
    }

    /// A read under way has come to this.
    fn finish(&mut self, read: &ColdRead, outcome: ReadOutcome) {
        match outcome {
            ReadOutcome::Later => {}
            ReadOutcome::Now(data) => self.finish_read(read, Ok(data)),
            ReadOutcome::Error(error) => self.finish_read(read, Err(error)),
        }
    }

    /// Reads the log for a read under way.
    fn go_on(&mut self, io: &mut dyn Io, read: ColdRead) {
        let outcome = self.read_on(io, read);
        self.finish(&read, outcome);
    }

    fn out_of_range(&self, read: &ColdRead) -> ReadOutcome {
        ReadOutcome::Error(match self.log(read.slot) {
            Some(log) => out_of_range(log),
            None => ReadError::NoSuchPartition,
        })
    }

    fn load_index(&mut self, io: &mut dyn Io, read: ColdRead) -> Result<(), ReadError> {
        let log = self.log(read.slot).ok_or(ReadError::NoSuchPartition)?;
        let segment = log.state.segment(read.segment_base).ok_or(out_of_range(log))?;
        let job = FileJob::LoadIndex {
            folder: log.folder.clone(),
            base_offset: read.segment_base,
            size_bytes: segment.size_bytes,
            interval_bytes: log.options.index_interval_bytes,
        };
        let token = self.ops.start(Op::Read(self.reads.insert(read)));
        self.submit_job(io, token, job);
        Ok(())
    }

    pub(crate) fn index_loaded(&mut self, io: &mut dyn Io, id: ReadId, result: Result<JobOutput, Error>) {
        let Some(read) = self.reads.take(id) else { return };
        let index = match result {
            Ok(JobOutput::Index(index)) => index,
            Ok(_) => return,
            Err(e) => return self.finish_read(&read, Err(ReadError::Io(e.to_string()))),
        };
        let Some(log) = self.log_mut(read.slot) else {
            return self.finish_read(&read, Err(ReadError::NoSuchPartition));
        };
        if let Some(segment) = log.state.segment_mut(read.segment_base) {
            segment.index.get_or_insert(*index);
        }
        let outcome = self.read(io, read.slot, read.request);
        self.finish(&read, outcome);
    }

    fn open_index(&mut self, io: &mut dyn Io, read: ColdRead) -> Result<(), ReadError> {
        let log = self.log(read.slot).ok_or(ReadError::NoSuchPartition)?;
        let path = log.file(read.segment_base, ".index");
        let token = self.ops.start(Op::Read(self.reads.insert(read)));
        io.open(path, Open::Read, token);
        Ok(())
    }

    /// The read's log file. When it is not open it is being opened for the read, which goes on then; `None` when its segment is no more.
    fn open_log(&mut self, io: &mut dyn Io, read: &ColdRead) -> Option<Handle> {
        let log = self.log(read.slot)?;
        let handle = log.state.segment(read.segment_base)?.handle;
        if !matches!(handle, Handle::Open(_)) {
            let path = log.file(read.segment_base, ".log");
            let read = ColdRead {
                stage: Stage::OpenLog,
                ..*read
            };
            let token = self.ops.start(Op::Read(self.reads.insert(read)));
            io.open(path, Open::Write, token);
        }
        Some(handle)
    }

    /// A buffer for `len` bytes, given up by something older where the budget is spent.
    pub(crate) fn read_block(&mut self, io: &mut dyn Io, len: usize) -> Option<Block> {
        loop {
            let block = match Class::fitting(len) {
                Some(class) => io.block(class),
                None => io.large_block(len),
            };
            if block.is_some() {
                return block;
            }
            if !self.relieve() {
                self.was_busy = true;
                self.checkpointer.hurry();
                return None;
            }
        }
    }

    pub(crate) fn read_opened(&mut self, io: &mut dyn Io, id: ReadId, result: std::io::Result<FileId>) {
        let Some(mut read) = self.reads.take(id) else {
            return;
        };
        let file = match result {
            Ok(file) => file,
            Err(e) => {
                let suffix = match read.stage {
                    Stage::OpenIndex(_) => ".index",
                    _ => ".log",
                };
                let path = self.log(read.slot).map(|l| l.file(read.segment_base, suffix));
                let line = format!("{}: {e}", path.unwrap_or_default().display());
                return self.finish_read(&read, Err(ReadError::Io(line)));
            }
        };
        match read.stage {
            Stage::OpenIndex(page) => match self.read_block(io, page.read_bytes) {
                Some(block) => {
                    read.stage = Stage::ReadIndex(file, page);
                    let token = self.ops.start(Op::Read(self.reads.insert(read)));
                    io.read(file, page.position, page.read_bytes, block, token);
                }
                None => {
                    io.close(file);
                    self.finish_read(&read, Err(ReadError::Busy));
                }
            },
            _ => {
                self.adopt(io, &read, file);
                self.go_on(io, read);
            }
        }
    }

    /// Keeps a log file that was opened for a read, unless a flush has opened it meanwhile.
    fn adopt(&mut self, io: &mut dyn Io, read: &ColdRead, file: FileId) {
        let segment = self
            .log(read.slot)
            .and_then(|l| l.state.segment(read.segment_base));
        match segment.map(|s| s.handle) {
            Some(Handle::Closed) => self.keep_open(io, read.slot, read.segment_base, file),
            Some(Handle::Opening) | Some(Handle::Open(_)) | None => io.close(file),
        }
    }

    pub(crate) fn read_finished(
        &mut self,
        io: &mut dyn Io,
        id: ReadId,
        block: Block,
        result: std::io::Result<()>,
    ) {
        let Some(mut read) = self.reads.take(id) else {
            return;
        };
        match read.stage {
            Stage::ReadIndex(file, page) => {
                io.close(file);
                if let Err(e) = result {
                    return self.finish_read(&read, Err(ReadError::Io(e.to_string())));
                }
                if let Some(log) = self.log(read.slot)
                    && log.state.segment(read.segment_base).is_none()
                {
                    let gone = out_of_range(log);
                    return self.finish_read(&read, Err(gone));
                }
                let bytes = block.bytes();
                let entries = &bytes[..page.valid_bytes.min(bytes.len())];
                let relative = (read.request.offset - read.segment_base).clamp(0, i64::from(i32::MAX)) as u32;
                read.position = search_page(entries, relative).map_or(0, |e| u64::from(e.position));
                self.go_on(io, read);
            }
            Stage::ReadLog { from, limit } => {
                let outcome = self.alone_read(io, read, block, result, from, limit);
                self.finish(&read, outcome);
                self.run_cold(io);
            }
            _ => {}
        }
    }

    /// What is told of a batch that is damaged, `at` bytes behind the read's position.
    fn damaged(&mut self, read: &ColdRead, at: usize, why: &str) -> ReadError {
        let offset = read.request.offset;
        let Some(log) = self.log(read.slot) else {
            return ReadError::NoSuchPartition;
        };
        let (path, place) = (log.file(read.segment_base, ".log"), read.position + at as u64);
        let location = format!("{} at byte {place}: {why}", path.display());
        self.note_damage(read.slot, offset, &location);
        ReadError::Corrupt { offset, location }
    }

    /// Says once per partition and place that stored bytes are damaged.
    fn note_damage(&mut self, slot: Slot, offset: i64, location: &str) {
        let Some(log) = self.log_mut(slot) else { return };
        let place = Place {
            segment_base: offset,
            position: 0,
        };
        if log.damaged.replace((offset, place)).is_none_or(|d| d.0 != offset) {
            let name = &log.state.name;
            let line = format!("{name} cannot be read at offset {offset}: damaged on disk, {location}");
            self.events.push(ShardEvent::Notice(line));
        }
    }
}
