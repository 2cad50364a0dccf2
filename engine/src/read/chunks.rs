//! Reads through the cache: what is there is answered at once, what is missing is read in whole chunks, once for all who wait for it,
//! and what a sequential reader comes to next is read ahead.
//!
//! Few reads of log files are under way at a time, one beside producers (see [`super::pace`]), and what a reader waits for goes before what is read ahead.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::cache::{Cache, Key, Wish};
use super::pace::Pace;
use super::span::{Part, Span};
use super::walk::*;
use super::{ColdRead, ReadId, Stage};
use crate::io::{ALIGN, Block, Class, Io, Slice};
use crate::log::PartitionLog;
use crate::ops::Op;
use crate::segment::Handle;
use crate::shard::{ReadError, ReadOutcome, Shard, Slot};
use crate::tail::Place;

/// Bytes of one answer from disk at most, unless a single batch has more.
pub(super) const ANSWER_BYTES: usize = 1 << 20;
/// Bytes of log files being read at once.
const IN_FLIGHT_BYTES: usize = 4 << 20;
/// What is read ahead of a reader at first; doubled each time it goes on.
const FIRST_WINDOW_BYTES: usize = 1 << 20;
/// What is read ahead of a reader at most.
const MOST_WINDOW_BYTES: usize = 2 << 20;
/// Reads that wait for chunks or for their turn at most.
const MAX_WAITING: usize = 4096;
/// How often a read waits for chunks before it reads for itself.
const MOST_WAITS: u32 = 3;
/// How long a read waits for memory that answers hold before it looks again.
const MEMORY_RETRY: Duration = Duration::from_millis(2);
/// Blocks of the tails that one chunk may displace.
const MOST_DISPLACED: usize = 16;

/// What waits for its turn to be read from a log file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Demand {
    /// A chunk somebody waits for.
    Chunk(Key),
    /// A read past the cache.
    Alone(ReadId),
}

/// The reads of log files under way, and those that wait for their turn.
#[derive(Default)]
pub(super) struct Queue {
    pub demand: VecDeque<Demand>,
    pub ahead: VecDeque<Key>,
    in_flight_bytes: usize,
    /// When those who wait for memory look again.
    pub retry_at: Option<Instant>,
    pub pace: Pace,
    /// Time of the core's turn.
    now: Option<Instant>,
}

/// What became of the attempt to start a read.
enum Start {
    Begun,
    /// Nothing to do any more.
    Over,
    NoMemory,
}

/// What the cache has for a read.
enum Cached {
    Answer(ReadOutcome),
    /// Some of it is not there.
    Missing(Vec<Key>),
    /// What is wanted lies further on.
    ReadOn,
}

impl Queue {
    pub fn set_now(&mut self, now: Instant) {
        self.now = Some(now);
    }

    pub fn now(&self) -> Option<Instant> {
        self.now
    }

    /// When somebody who waits may go on though nothing happens.
    pub fn deadline(&self) -> Option<Instant> {
        let waits = !self.demand.is_empty() || !self.ahead.is_empty();
        let resume_at = self
            .pace
            .resume_at()
            .filter(|_| waits && self.in_flight_bytes == 0);
        self.retry_at.into_iter().chain(resume_at).min()
    }

    /// A read of this many bytes' memory has ended.
    pub fn ended(&mut self, bytes: usize) {
        self.in_flight_bytes -= bytes;
        if let Some(now) = self.now {
            self.pace.read_ended(now);
        }
    }

    fn has_room(&self) -> bool {
        match self.now.is_some_and(|now| self.pace.is_beside_appends(now)) {
            true => self.in_flight_bytes == 0 && self.now.is_some_and(|now| self.pace.may_read(now)),
            false => self.in_flight_bytes < IN_FLIGHT_BYTES,
        }
    }

    /// What is read ahead leaves half of the room to those who wait.
    fn has_room_ahead(&self) -> bool {
        self.demand.is_empty() && self.in_flight_bytes < IN_FLIGHT_BYTES / 2 && self.has_room()
    }
}

impl Shard {
    /// Goes on with a read whose position is known: from memory, through the cache, or past it.
    pub(super) fn read_on(&mut self, io: &mut dyn Io, mut read: ColdRead) -> ReadOutcome {
        loop {
            let Some(log) = self.log(read.slot) else {
                return ReadOutcome::Error(ReadError::NoSuchPartition);
            };
            // The index may be on disk before the log is.
            if log.tail.holds(read.place()) {
                return self.tail_answer(io, read.slot, read.place(), &read.request);
            }
            if !self.is_for_cache(&read) {
                return self.read_alone(io, read);
            }
            match self.cached(io, &mut read) {
                Cached::Answer(outcome) => return outcome,
                Cached::ReadOn => {}
                Cached::Missing(_) if read.waits >= MOST_WAITS => return self.read_alone(io, read),
                Cached::Missing(keys) => return self.await_chunks(io, read, keys),
            }
        }
    }

    /// Readers that go from front to back, and whoever finds the chunk there. Who jumps about would fill the cache with what is of no
    /// use to anybody.
    fn is_for_cache(&self, read: &ColdRead) -> bool {
        let cache = &self.reads.cache;
        read.batch_bytes <= cache.most_bytes() / 4
            && (read.is_sequential || cache.get(&cache.key(read.slot, read.place())).is_some())
    }

    /// Answers from the chunks that hold what is wanted, if all of them are in memory.
    fn cached(&mut self, io: &mut dyn Io, read: &mut ColdRead) -> Cached {
        let Some(log) = self.logs.get_mut(read.slot.0 as usize).and_then(Option::as_mut) else {
            return Cached::Answer(ReadOutcome::Error(ReadError::NoSuchPartition));
        };
        let cache = &mut self.reads.cache;
        let limit = readable_end(log, read.segment_base);
        let most = read
            .request
            .max_bytes
            .min(ANSWER_BYTES)
            .min(cache.most_bytes() / 4);
        let end = (read.position + most.max(read.batch_bytes).max(1) as u64).min(limit);
        let keys = keys(cache, read.slot, read.place(), end);
        let missing: Vec<Key> = keys
            .iter()
            .filter(|key| !reaches(cache, key, end))
            .copied()
            .collect();
        if !missing.is_empty() {
            return Cached::Missing(missing);
        }
        let (span, is_short) = span(cache, &keys, read.position, limit);
        let picked = pick(log, read, &span, limit, limit);
        let taken = span.len();
        match picked {
            Picked::Batches {
                start,
                end,
                next_offset,
            } => {
                let slices = take(cache, &keys, read.position, start, end);
                let place = Place {
                    position: read.position + end as u64,
                    ..read.place()
                };
                let run = log
                    .cursors
                    .advance(read.request.offset, next_offset, place, io.now());
                let answer = data(log, slices);
                self.read_ahead(io, read.slot, place, run);
                Cached::Answer(self.answer(io, read.slot, &read.request, answer, next_offset))
            }
            Picked::ReadOn { skip: 0, .. } if is_short || taken as u64 == limit - read.position => {
                let why = "the file is shorter than the log".to_owned();
                Cached::Answer(self.damaged_chunks(read, &keys, 0, &why))
            }
            Picked::ReadOn {
                skip,
                expected,
                batch_bytes,
            } => {
                read.position += skip as u64;
                read.expected = expected;
                read.batch_bytes = batch_bytes;
                Cached::ReadOn
            }
            Picked::Damaged { at, why } => Cached::Answer(self.damaged_chunks(read, &keys, at, &why)),
            other => Cached::Answer(self.settle(io, read, other)),
        }
    }

    /// What is damaged is asked of the disk again each time, as long as somebody asks.
    fn damaged_chunks(&mut self, read: &ColdRead, keys: &[Key], at: usize, why: &str) -> ReadOutcome {
        keys.iter().for_each(|key| self.reads.cache.remove(key));
        ReadOutcome::Error(self.damaged(read, at, why))
    }

    /// Waits for chunks, opening their file first where necessary.
    fn await_chunks(&mut self, io: &mut dyn Io, mut read: ColdRead, keys: Vec<Key>) -> ReadOutcome {
        if self.reads.len() >= MAX_WAITING {
            self.was_busy = true;
            return ReadOutcome::Error(ReadError::Busy);
        }
        match self.open_log(io, &read) {
            Some(Handle::Open(_)) => {}
            Some(_) => return ReadOutcome::Later,
            None => return self.out_of_range(&read),
        }
        read.waits += 1;
        read.stage = Stage::Chunks { missing: keys.len() };
        let id = self.reads.insert(read);
        for key in keys {
            match self.reads.cache.wish(key, Some(id)) {
                Wish::New | Wish::Queued => self.reads.queue.demand.push_back(Demand::Chunk(key)),
                Wish::Joined => {}
                Wish::Refused => {
                    self.reads.take(id);
                    self.was_busy = true;
                    return ReadOutcome::Error(ReadError::Busy);
                }
            }
        }
        self.run_cold(io);
        ReadOutcome::Later
    }

    /// Starts what waits for its turn, as far as the limits allow.
    pub(crate) fn run_cold(&mut self, io: &mut dyn Io) {
        self.reads.queue.set_now(io.now());
        if self.reads.queue.demand.is_empty() && self.reads.queue.ahead.is_empty() {
            self.reads.queue.retry_at = None;
            return;
        }
        self.reads.queue.retry_at = None;
        while self.reads.queue.has_room()
            && let Some(next) = self.reads.queue.demand.pop_front()
        {
            let start = match next {
                Demand::Chunk(key) => self.start_chunk(io, &key),
                Demand::Alone(id) => self.start_alone(io, id),
            };
            if let Start::NoMemory = start {
                self.reads.queue.demand.push_front(next);
                self.reads.queue.retry_at = Some(io.now() + MEMORY_RETRY);
                break;
            }
        }
        while self.reads.queue.has_room_ahead()
            && let Some(key) = self.reads.queue.ahead.pop_front()
        {
            if let Start::NoMemory = self.start_chunk(io, &key) {
                self.reads.cache.abandon(&key);
            }
        }
    }

    fn start_chunk(&mut self, io: &mut dyn Io, key: &Key) -> Start {
        if !self.reads.cache.is_queued(key) {
            return Start::Over;
        }
        let start = self.reads.cache.start_of(key);
        let log = self.log(key.slot);
        let segment = log.and_then(|l| l.state.segment(key.segment_base));
        let (Some(log), Some(Handle::Open(file))) = (log, segment.map(|s| s.handle)) else {
            // The file was closed meanwhile, in favour of others: who waits opens it again.
            self.give_up(io, key);
            return Start::Over;
        };
        let there = written_end(log, key.segment_base).saturating_sub(start);
        let valid = there.min(self.reads.cache.chunk_bytes() as u64) as usize;
        if valid == 0 {
            self.give_up(io, key);
            return Start::Over;
        }
        let len = valid.next_multiple_of(ALIGN);
        let Some(block) = self.cold_block(io, len) else {
            return Start::NoMemory;
        };
        self.reads.cache.begin(key);
        let token = self.ops.start(Op::Chunk(*key, valid));
        io.read(file, start, len, block, token);
        Start::Begun
    }

    fn give_up(&mut self, io: &mut dyn Io, key: &Key) {
        let waiters = self.reads.cache.abandon(key);
        self.wake(io, waiters);
    }

    /// A read past the cache has its turn.
    fn start_alone(&mut self, io: &mut dyn Io, id: ReadId) -> Start {
        let Some(read) = self.reads.get(id) else {
            return Start::Over;
        };
        let (Stage::ReadLog { from, .. }, len, slot, base) =
            (read.stage, read.len, read.slot, read.segment_base)
        else {
            return Start::Over;
        };
        let segment = self.log(slot).and_then(|l| l.state.segment(base));
        let Some(Handle::Open(file)) = segment.map(|s| s.handle) else {
            if let Some(read) = self.reads.take(id) {
                let outcome = self.read_alone(io, read);
                self.finish(&read, outcome);
            }
            return Start::Over;
        };
        let Some(block) = self.cold_block(io, len) else {
            return Start::NoMemory;
        };
        let token = self.ops.start(Op::Read(id));
        io.read(file, from, len, block, token);
        Start::Begun
    }

    /// Memory for `len` bytes from a log file, within the share of reads: of the tails' it takes only what is on disk, and not much of
    /// that.
    fn cold_block(&mut self, io: &mut dyn Io, len: usize) -> Option<Block> {
        let class = Class::fitting(len);
        let bytes = class.map_or(len, Class::bytes);
        self.reads.cache.sweep();
        // A batch larger than the share is read when nothing else is.
        while self.reads.cache.bytes() > 0 && self.reads.cache.bytes() + bytes > self.reads.cache.most_bytes()
        {
            if !self.evict_chunk() {
                return None;
            }
        }
        let mut displaced = 0;
        loop {
            let block = match class {
                Some(class) => io.block(class),
                None => io.large_block(len),
            };
            if let Some(block) = block {
                self.reads.cache.took(block.capacity());
                self.reads.queue.in_flight_bytes += block.capacity();
                return Some(block);
            }
            let is_small = self.reads.cache.bytes() < self.reads.cache.most_bytes() / 2;
            let may_displace = displaced < MOST_DISPLACED;
            displaced += 1;
            let went = (is_small && may_displace && self.relieve_tails())
                || self.evict_idle_chunk()
                || (may_displace && self.relieve_tails())
                || self.evict_chunk()
                || (self.reads.cache.bytes() == 0 && self.relieve_tails());
            if !went {
                if self.reads.cache.bytes() < self.reads.cache.most_bytes() / 2 {
                    self.checkpointer.hurry();
                }
                return None;
            }
        }
    }

    pub(crate) fn chunk_read(
        &mut self,
        io: &mut dyn Io,
        key: Key,
        valid: usize,
        block: Block,
        result: std::io::Result<()>,
    ) {
        self.reads.queue.ended(block.capacity());
        match result {
            Ok(()) => {
                if let Some(waiters) = self.reads.cache.loaded(key, block, valid) {
                    self.wake(io, waiters);
                }
            }
            Err(e) => {
                self.reads.cache.gave_back(block.capacity());
                drop(block);
                let reason = e.to_string();
                for id in self.reads.cache.abandon(&key) {
                    if let Some(read) = self.reads.take(id) {
                        self.finish_read(&read, Err(ReadError::Io(reason.clone())));
                    }
                }
            }
        }
        self.run_cold(io);
    }

    /// A chunk that these reads wait for is there, or will not come.
    fn wake(&mut self, io: &mut dyn Io, waiters: Vec<ReadId>) {
        for id in waiters {
            let Some(read) = self.reads.get_mut(id) else {
                continue;
            };
            let Stage::Chunks { missing } = &mut read.stage else {
                continue;
            };
            *missing -= 1;
            if *missing == 0
                && let Some(read) = self.reads.take(id)
            {
                self.go_on(io, read);
            }
        }
    }

    /// Reads ahead of a reader that stands at `place` and has come there in `run` steps.
    fn read_ahead(&mut self, io: &mut dyn Io, slot: Slot, place: Place, run: u32) {
        let cache = &mut self.reads.cache;
        let Some(log) = self.logs.get(slot.0 as usize).and_then(Option::as_ref) else {
            return;
        };
        if self.cleaning.holds(slot, place.segment_base).is_some() {
            return;
        }
        let window = FIRST_WINDOW_BYTES
            .checked_shl(run.min(8))
            .unwrap_or(MOST_WINDOW_BYTES);
        let window = window.min(MOST_WINDOW_BYTES).min(cache.most_bytes() / 16);
        let written = written_end(log, place.segment_base);
        let size = log.state.segment(place.segment_base).map_or(0, |s| s.size_bytes);
        let end = (place.position + window as u64).min(written);
        for key in keys(cache, slot, place, end) {
            let start = Place {
                position: cache.start_of(&key),
                ..place
            };
            let is_whole = start.position + cache.chunk_bytes() as u64 <= written || written == size;
            if !is_whole || log.tail.holds(start) || !cache.may_read_ahead() {
                break;
            }
            if !cache.knows(&key) {
                cache.wish(key, None);
                self.reads.queue.ahead.push_back(key);
            }
        }
        self.run_cold(io);
    }

    /// Gives up a chunk that nobody is coming to; true if one went.
    pub(crate) fn evict_idle_chunk(&mut self) -> bool {
        self.reads.cache.sweep() || self.evict(true)
    }

    /// Gives up a chunk; true if one went.
    pub(crate) fn evict_chunk(&mut self) -> bool {
        self.reads.cache.sweep() || self.evict(false)
    }

    fn evict(&mut self, idle_only: bool) -> bool {
        let (logs, now) = (&self.logs, self.reads.queue.now);
        let cache = &mut self.reads.cache;
        let reach_bytes = cache.most_bytes() as u64;
        cache.evict(idle_only, |key, end| {
            let log = logs.get(key.slot.0 as usize).and_then(Option::as_ref);
            let end = Place {
                segment_base: key.segment_base,
                position: end,
            };
            log.zip(now)
                .is_some_and(|(log, now)| log.cursors.comes_to(end, reach_bytes, now))
        })
    }

    /// The chunks that `is_gone` names are of files that are no more.
    pub(crate) fn forget_chunks(&mut self, is_gone: impl Fn(&Key) -> bool) {
        for id in self.reads.cache.forget(is_gone) {
            let Some(read) = self.reads.take(id) else { continue };
            let error = match self.log(read.slot) {
                Some(log) => out_of_range(log),
                None => ReadError::NoSuchPartition,
            };
            self.finish_read(&read, Err(error));
        }
    }
}

/// The chunks that hold a segment's bytes from `place` to `end`.
fn keys(cache: &Cache, slot: Slot, place: Place, end: u64) -> Vec<Key> {
    let first = cache.key(slot, place);
    let behind = match place.position < end {
        true => end.div_ceil(cache.chunk_bytes() as u64) as u32,
        false => 0,
    };
    let key = |number| Key { number, ..first };
    (first.number..behind).map(key).collect()
}

/// Whether the chunk is there, and not from before the bytes up to `end` were written.
fn reaches(cache: &Cache, key: &Key, end: u64) -> bool {
    let wanted = (end - cache.start_of(key)).min(cache.chunk_bytes() as u64) as usize;
    cache
        .get(key)
        .is_some_and(|chunk| chunk.valid >= wanted || chunk.is_short)
}

/// The bytes of the chunks from `position` on, up to `limit`, and whether they end because a file does.
fn span<'a>(cache: &'a Cache, keys: &[Key], position: u64, limit: u64) -> (Span<'a>, bool) {
    let mut span = Span::default();
    for key in keys {
        let Some(chunk) = cache.get(key) else { break };
        let start = cache.start_of(key);
        let from = position.saturating_sub(start) as usize;
        let to = chunk.valid.min((limit - start) as usize);
        let verified = chunk.verified.start.saturating_sub(from)..chunk.verified.end.saturating_sub(from);
        if from < to {
            span.push(Part {
                bytes: &chunk.block.bytes()[from..to],
                verified,
            });
        }
        if chunk.valid < cache.chunk_bytes() {
            return (span, chunk.is_short);
        }
    }
    (span, false)
}

/// The answer `[start, end)`, counted from `position`, as slices of the chunks, which are good from `position` on.
fn take(cache: &mut Cache, keys: &[Key], position: u64, start: usize, end: usize) -> Vec<Slice> {
    let mut slices = Vec::new();
    let (first, last) = (position + start as u64, position + end as u64);
    for key in keys {
        let at = cache.start_of(key);
        let Some(chunk) = cache.get(key) else { break };
        let part = |place: u64| place.saturating_sub(at).min(chunk.valid as u64) as usize;
        let (good, from, to) = (part(position), part(first), part(last));
        if from < to {
            slices.push(chunk.block.slice(from..to));
        }
        if good < to {
            cache.note_read(key, good, to);
        }
    }
    slices
}

/// How far the segment's file has what the log has.
fn written_end(log: &PartitionLog, segment_base: i64) -> u64 {
    let size = log.state.segment(segment_base).map_or(0, |s| s.size_bytes);
    match log.flush.written.segment_base.cmp(&segment_base) {
        std::cmp::Ordering::Less => 0,
        std::cmp::Ordering::Equal => size.min(log.flush.written.position),
        std::cmp::Ordering::Greater => size,
    }
}
