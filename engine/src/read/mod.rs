//! Reading: from the tail when the bytes are in memory, else from the segment file with one direct read into a pool buffer, from
//! which the answer is sent.
//!
//! A cold lookup costs at most one page of the index file and one read of the log, however large the log is. The indexes of a segment
//! of an earlier run are loaded when it is first read. Every batch that comes from disk is checked before anybody sees it: its
//! checksum, and what the checksum does not cover, its offset and its leader epoch, against what must stand there.

use crate::background::{FileJob, JobOutput};
use crate::error::Error;
use crate::index::{IndexPage, search_page};
use crate::io::{ALIGN, Block, Class, FileId, Io, Open};
use crate::ops::Op;
use crate::segment::Handle;
use crate::shard::{ReadData, ReadError, ReadOutcome, ReadRequest, Shard, ShardEvent, Slot};
use crate::tail::Place;

mod walk;

use walk::*;

/// Sequential readers remembered per partition.
const CURSORS: usize = 4;
/// Bytes of a batch header up to the last offset delta.
const PEEK_BYTES: usize = 27;

/// What a cold read waits for.
#[derive(Clone, Copy, Debug)]
enum Stage {
    LoadIndex,
    OpenIndex(IndexPage),
    ReadIndex(FileId, IndexPage),
    OpenLog,
    /// From this position, when the log could be read up to `limit`; behind it the bytes are not what they are now.
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
    stage: Stage,
}

/// The cold reads under way.
#[derive(Default)]
pub struct ColdReads {
    reads: Vec<Option<ColdRead>>,
    free: Vec<usize>,
}

impl ColdReads {
    fn insert(&mut self, read: ColdRead) -> usize {
        match self.free.pop() {
            Some(i) => {
                self.reads[i] = Some(read);
                i
            }
            None => {
                self.reads.push(Some(read));
                self.reads.len() - 1
            }
        }
    }

    /// Whether one of the partition's is under way.
    pub(crate) fn has_any_of(&self, slot: Slot) -> bool {
        self.reads.iter().flatten().any(|read| read.slot == slot)
    }

    fn take(&mut self, i: usize) -> Option<ColdRead> {
        let read = self.reads.get_mut(i)?.take()?;
        self.free.push(i);
        Some(read)
    }
}

impl Shard {
    /// Reads batches from the one that holds the offset on, below the high watermark.
    pub fn read(&mut self, io: &mut dyn Io, slot: Slot, request: ReadRequest) -> ReadOutcome {
        let Some(log) = self.log(slot) else {
            return ReadOutcome::Error(ReadError::NoSuchPartition);
        };
        let (log_start_offset, high_watermark) = (log.state.log_start_offset, log.committed_offset);
        if request.offset < log_start_offset || request.offset > high_watermark {
            return ReadOutcome::Error(out_of_range(log));
        }
        if request.offset == high_watermark || (request.max_bytes == 0 && !request.at_least_one) {
            return ReadOutcome::Now(data(log, Vec::new()));
        }
        let segment_base = log.state.segment_of(request.offset).base_offset;
        match find(log, segment_base, request.offset) {
            Found::InMemory(place) => ReadOutcome::Now(read_tail(log, place, &request)),
            found => self.begin_cold(io, slot, request, segment_base, found),
        }
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
            stage: Stage::OpenLog,
        };
        match found {
            Found::InMemory(_) => {}
            Found::OnDisk(place, expected) => {
                read.position = place.position;
                read.expected = expected;
            }
            Found::AskPage(page) => read.stage = Stage::OpenIndex(page),
            Found::AskIndex => read.stage = Stage::LoadIndex,
        }
        let failed = match read.stage {
            Stage::LoadIndex => self.load_index(io, read),
            Stage::OpenIndex(_) => self.open_index(io, read),
            _ => self.read_log(io, read),
        };
        match failed {
            Ok(()) => ReadOutcome::Later,
            Err(error) => ReadOutcome::Error(error),
        }
    }

    fn finish_read(&mut self, read: &ColdRead, result: Result<ReadData, ReadError>) {
        self.stats.counters.cold_reads += 1;
        if let Err(ReadError::Corrupt { offset, location }) = &result {
            self.note_damage(read.slot, *offset, location);
        }
        self.events.push(ShardEvent::ReadDone {
            token: read.request.token,
            result,
        });
    }

    /// Reads the log for a read under way; one that cannot go on is answered.
    fn go_on(&mut self, io: &mut dyn Io, read: ColdRead) {
        // The index may be on disk before the log is.
        if let Some(log) = self.log(read.slot) {
            let place = Place {
                segment_base: read.segment_base,
                position: read.position,
            };
            if log.tail.holds(place) {
                let answer = read_tail(log, place, &read.request);
                return self.finish_read(&read, Ok(answer));
            }
        }
        if let Err(error) = self.read_log(io, read) {
            self.finish_read(&read, Err(error));
        }
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

    pub(crate) fn index_loaded(&mut self, io: &mut dyn Io, i: usize, result: Result<JobOutput, Error>) {
        let Some(read) = self.reads.take(i) else { return };
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
        let (slot, request) = (read.slot, read.request);
        match self.read(io, slot, request) {
            ReadOutcome::Later => {}
            ReadOutcome::Now(data) => self.finish_read(&read, Ok(data)),
            ReadOutcome::Error(error) => self.finish_read(&read, Err(error)),
        }
    }

    fn open_index(&mut self, io: &mut dyn Io, read: ColdRead) -> Result<(), ReadError> {
        let log = self.log(read.slot).ok_or(ReadError::NoSuchPartition)?;
        let path = log.file(read.segment_base, ".index");
        let token = self.ops.start(Op::Read(self.reads.insert(read)));
        io.open(path, Open::Read, token);
        Ok(())
    }

    /// Reads the log at the read's position, opening its file first where necessary.
    fn read_log(&mut self, io: &mut dyn Io, mut read: ColdRead) -> Result<(), ReadError> {
        let log = self.log(read.slot).ok_or(ReadError::NoSuchPartition)?;
        let segment = log.state.segment(read.segment_base).ok_or(out_of_range(log))?;
        let file = match segment.handle {
            Handle::Open(file) => file,
            _ => {
                let path = log.file(read.segment_base, ".log");
                read.stage = Stage::OpenLog;
                let token = self.ops.start(Op::Read(self.reads.insert(read)));
                io.open(path, Open::Write, token);
                return Ok(());
            }
        };
        let from = read.position / ALIGN as u64 * ALIGN as u64;
        let limit = readable_end(log, read.segment_base);
        let end = limit.next_multiple_of(ALIGN as u64);
        let lead = (read.position - from) as usize;
        let wanted =
            (read.request.max_bytes.min(Class::Huge.bytes() - ALIGN) + lead).max(read.batch_bytes + lead);
        let len = wanted
            .next_multiple_of(ALIGN)
            .min(end.saturating_sub(from) as usize);
        if len > io.memory().1 {
            return Err(ReadError::Io(format!(
                "a batch of {len} bytes is larger than all memory"
            )));
        }
        let block = self.read_block(io, len).ok_or(ReadError::Busy)?;
        let len = len.min(block.capacity() / ALIGN * ALIGN);
        read.stage = Stage::ReadLog { from, limit };
        let token = self.ops.start(Op::Read(self.reads.insert(read)));
        io.read(file, from, len, block, token);
        Ok(())
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

    pub(crate) fn read_opened(&mut self, io: &mut dyn Io, i: usize, result: std::io::Result<FileId>) {
        let Some(mut read) = self.reads.take(i) else {
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
        i: usize,
        block: Block,
        result: std::io::Result<()>,
    ) {
        let Some(mut read) = self.reads.take(i) else {
            return;
        };
        if let Stage::ReadIndex(file, _) = read.stage {
            io.close(file);
        }
        if let Err(e) = result {
            return self.finish_read(&read, Err(ReadError::Io(e.to_string())));
        }
        match read.stage {
            Stage::ReadIndex(_, page) => {
                let bytes = block.bytes();
                let entries = &bytes[..page.valid_bytes.min(bytes.len())];
                let relative = (read.request.offset - read.segment_base).clamp(0, i64::from(i32::MAX)) as u32;
                read.position = search_page(entries, relative).map_or(0, |e| u64::from(e.position));
                self.go_on(io, read);
            }
            Stage::ReadLog { from, limit } => self.log_read(io, read, block, from, limit),
            _ => {}
        }
    }

    /// Bytes of the log arrived: answers, or reads on where the wanted batch is not among them.
    fn log_read(&mut self, io: &mut dyn Io, mut read: ColdRead, block: Block, from: u64, limit: u64) {
        let Some(log) = self.logs.get_mut(read.slot.0 as usize).and_then(Option::as_mut) else {
            return self.finish_read(&read, Err(ReadError::NoSuchPartition));
        };
        let now_limit = readable_end(log, read.segment_base);
        let have = (from + block.len() as u64).min(limit);
        let lead = (read.position - from) as usize;
        let bytes = block
            .bytes()
            .get(lead..have.saturating_sub(from) as usize)
            .unwrap_or_default();
        let mut picked = pick(log, &read, bytes, limit, now_limit);
        if let Picked::ReadOn {
            skip: 0, batch_bytes, ..
        } = picked
            && batch_bytes <= read.batch_bytes
            && limit == now_limit
        {
            let why = "the file is shorter than the log".to_owned();
            picked = Picked::Damaged { at: 0, why };
        }
        match picked {
            Picked::Batches {
                start,
                end,
                next_offset,
            } => {
                let slice = block.slice(lead + start..lead + end);
                remember(
                    &mut log.cursors,
                    next_offset,
                    Place {
                        segment_base: read.segment_base,
                        position: read.position + end as u64,
                    },
                );
                let answer = data(log, vec![slice]);
                self.finish_read(&read, Ok(answer));
            }
            Picked::InMemory(place) => {
                let answer = read_tail(log, place, &read.request);
                self.finish_read(&read, Ok(answer));
            }
            Picked::TooLarge => {
                let answer = data(log, Vec::new());
                self.finish_read(&read, Ok(answer));
            }
            Picked::ReadOn {
                skip,
                expected,
                batch_bytes,
            } => {
                read.position += skip as u64;
                read.expected = expected;
                read.batch_bytes = batch_bytes;
                drop(block);
                self.go_on(io, read);
            }
            Picked::SegmentEnd => {
                let next = log
                    .state
                    .segments
                    .iter()
                    .find(|s| s.base_offset > read.segment_base)
                    .map(|s| s.base_offset);
                match next {
                    Some(base) if base < log.committed_offset => {
                        let request = ReadRequest {
                            offset: base.max(read.request.offset),
                            ..read.request
                        };
                        match self.read(io, read.slot, request) {
                            ReadOutcome::Later => {}
                            ReadOutcome::Now(data) => self.finish_read(&read, Ok(data)),
                            ReadOutcome::Error(error) => self.finish_read(&read, Err(error)),
                        }
                    }
                    _ => {
                        let answer = data(log, Vec::new());
                        self.finish_read(&read, Ok(answer));
                    }
                }
            }
            Picked::Damaged { at, why } => {
                let place = read.position + at as u64;
                let location = format!(
                    "{} at byte {place}: {why}",
                    log.file(read.segment_base, ".log").display()
                );
                let offset = read.request.offset;
                self.finish_read(&read, Err(ReadError::Corrupt { offset, location }));
            }
        }
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
