//! Group commit: appends of all partitions of a core gather in one frame while the frame before it is written; one write makes
//! a whole frame durable and releases everybody in it. Under load the disk sets the pace; a group of small appends is waited for
//! a little ([`super::gather`]).
//!
//! ```text
//!   append ─▶ open frame ─▶ queued frames ─▶ one write in flight ─▶ Committed(ticket), high watermarks
//! ```
//!
//! A ticket is the sequence number of the frame that holds the append. A failed write is final: what it would have
//! acknowledged is refused, and nothing is acknowledged after it, because nobody knows what the disk holds.

use std::collections::VecDeque;
use std::time::Instant;

use super::format::{self, FRAME_HEADER_BYTES, FrameHeader};
use super::gather::{Gathering, Start};
use super::space::Space;
use crate::io::{Block, Class, Durability, FileId, Io, Token};
use crate::shard::{Slot, Ticket};
use crate::tail::Place;

/// Frames that wait for the disk hold at most this many bytes; beyond it appends are refused as busy.
pub const MAX_QUEUED_BYTES: usize = 8 << 20;

/// Appends from this size on share frames of the largest class while a write is in flight.
const MANY_BYTES: usize = 16 << 10;

/// How far one partition's log is durable once a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommittedEnd {
    /// The partition.
    pub slot: Slot,
    /// One past the last offset in the frame.
    pub end_offset: i64,
    /// Where the log then ends.
    pub end: Place,
}

/// A frame being filled, or waiting to be written.
struct Gather {
    sequence: Ticket,
    block: Block,
    entries: u32,
    durability: Durability,
    ends: Vec<CommittedEnd>,
}

impl Gather {
    fn note_end(&mut self, end: CommittedEnd) {
        match self.ends.iter_mut().rev().take(8).find(|e| e.slot == end.slot) {
            Some(e) => *e = end,
            None => self.ends.push(end),
        }
    }
}

struct InFlight {
    sequence: Ticket,
    entries: u32,
    bytes: usize,
    since: Instant,
    ends: Vec<CommittedEnd>,
    /// The write is only part of it: a sync follows.
    to_sync: bool,
}

/// Why an append did not get into a frame. Nothing was changed.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too much is waiting for the disk: try again when a commit is done.
    Busy,
    /// No memory for a frame.
    NoMemory,
    /// The journal failed for good, with the reason.
    Failed(String),
}

/// Counters since start, for metrics and reports.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Frames written.
    pub commits: u64,
    /// Bytes written, padding included.
    pub bytes: u64,
    /// Entries in those frames.
    pub entries: u64,
}

/// One core's journal.
pub struct Journal {
    file: FileId,
    id: u64,
    space: Space,
    next_sequence: Ticket,
    /// The newest frame on disk: all before it are.
    committed: Ticket,
    open: Option<Gather>,
    queued: VecDeque<Gather>,
    queued_bytes: usize,
    in_flight: Option<InFlight>,
    gathering: Gathering,
    /// Frames were written and not synced since the last sync of the file.
    unsynced: bool,
    /// Somebody else is working on the file, and ends with a sync of it.
    growing: bool,
    starved: bool,
    failed: Option<String>,
    counters: Counters,
}

impl Journal {
    /// A journal on a file that holds its header page and is pre-written up to `capacity` bytes.
    pub fn new(file: FileId, id: u64, capacity: u64) -> Journal {
        Journal {
            file,
            id,
            space: Space::new(capacity),
            next_sequence: 1,
            committed: 0,
            open: None,
            queued: VecDeque::new(),
            queued_bytes: 0,
            in_flight: None,
            gathering: Gathering::default(),
            unsynced: false,
            growing: false,
            starved: false,
            failed: None,
            counters: Counters::default(),
        }
    }

    /// Puts an entry, given as `head` (see [`Entry::write_head`](format::Entry::write_head)) and the parts of its data, into the open frame.
    /// Nothing is durable before the ticket is committed.
    pub fn append(
        &mut self,
        io: &mut dyn Io,
        head: &[u8],
        data: &[&[u8]],
        durability: Durability,
        end: Option<CommittedEnd>,
    ) -> Result<Ticket, Refused> {
        if let Some(reason) = &self.failed {
            return Err(Refused::Failed(reason.clone()));
        }
        let bytes = head.len() + data.iter().map(|d| d.len()).sum::<usize>();
        let gather = self.gather_for(io, bytes, true)?;
        gather.block.append(head);
        for part in data {
            gather.block.append(part);
        }
        gather.entries += 1;
        if durability == Durability::Synced {
            gather.durability = Durability::Synced;
        }
        if let Some(end) = end {
            gather.note_end(end);
        }
        let ticket = gather.sequence;
        self.queued_bytes += bytes;
        Ok(ticket)
    }

    /// Makes sure that an entry of `bytes` can be appended next. A new frame is as large as suits the load, or with `any_size` as
    /// large as there is memory.
    pub fn make_room(&mut self, io: &mut dyn Io, bytes: usize, any_size: bool) -> Result<(), Refused> {
        match &self.failed {
            Some(reason) => Err(Refused::Failed(reason.clone())),
            None => self.gather_for(io, bytes, any_size).map(|_| ()),
        }
    }

    /// Whether a frame is to be written now: none is in flight, and nobody else is waited for.
    pub fn wants_write(&self, now: Instant) -> bool {
        let open = self.open.as_ref().map_or(0, |g| g.entries);
        let complete = !self.queued.is_empty() || self.gathering.start(now, open) == Start::Now;
        self.in_flight.is_none() && self.has_waiting() && complete && !self.is_held()
    }

    fn has_waiting(&self) -> bool {
        let open = self.open.as_ref().is_some_and(|g| g.entries > 0);
        self.failed.is_none() && (open || !self.queued.is_empty())
    }

    /// The open frame if the entry fits in it, else a new one.
    fn gather_for(&mut self, io: &mut dyn Io, bytes: usize, any_size: bool) -> Result<&mut Gather, Refused> {
        let fits = self
            .open
            .as_ref()
            .is_some_and(|g| g.block.len() + bytes <= g.block.capacity());
        if !fits {
            if self.queued_bytes > MAX_QUEUED_BYTES {
                return Err(Refused::Busy);
            }
            let gather = self.new_gather(io, bytes, any_size)?;
            match self.open.replace(gather) {
                Some(full) if full.entries > 0 => self.queued.push_back(full),
                Some(unused) => self.reuse_sequence(unused.sequence),
                None => {}
            }
        }
        self.open.as_mut().ok_or(Refused::Busy)
    }

    /// An open frame that got no entry gives its number to the one that replaces it: numbers have no gap.
    fn reuse_sequence(&mut self, sequence: Ticket) {
        if let Some(open) = self.open.as_mut() {
            open.sequence = sequence;
        }
        self.next_sequence = sequence + 1;
    }

    fn new_gather(&mut self, io: &mut dyn Io, bytes: usize, any_size: bool) -> Result<Gather, Refused> {
        let needed = FRAME_HEADER_BYTES + bytes;
        let mut block = self.take_block(io, needed, any_size).ok_or(Refused::NoMemory)?;
        block.append(&[0; FRAME_HEADER_BYTES]);
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        Ok(Gather {
            sequence,
            block,
            entries: 0,
            durability: Durability::Written,
            ends: Vec::new(),
        })
    }

    /// A lone append takes a small block. While a write is in flight many will share the frame, and the larger they are
    /// the more of them should: a commit costs little more for a megabyte than for a page.
    fn take_block(&self, io: &mut dyn Io, needed: usize, any_size: bool) -> Option<Block> {
        let wanted = match self.in_flight {
            None if self.gathering.group_bytes() < Class::Medium.bytes() / 2 => Class::Medium,
            None => Class::Large,
            Some(_) if needed < MANY_BYTES => Class::Large,
            Some(_) => Class::Huge,
        };
        let fitting = Class::ALL.into_iter().filter(|c| c.bytes() >= needed);
        let best = fitting.clone().find(|c| *c >= wanted).and_then(|c| io.block(c));
        if best.is_some() || !any_size && needed <= Class::Huge.bytes() {
            return best;
        }
        fitting
            .into_iter()
            .find_map(|c| io.block(c))
            .or_else(|| io.large_block(needed))
    }

    /// Starts the next write if none is in flight. `token` comes back with the disk's event.
    /// False when a frame waits for journal space.
    pub fn start_write(&mut self, io: &mut dyn Io, token: Token) -> bool {
        if self.in_flight.is_some() || self.failed.is_some() {
            return true;
        }
        let Some(next) = self.queued.front().or(self.open.as_ref()) else {
            return true;
        };
        let frame_bytes = format::frame_bytes(next.block.len() - FRAME_HEADER_BYTES);
        let Some(position) = self.space.reserve(next.sequence, frame_bytes as u64) else {
            self.starved = true;
            return false;
        };
        self.starved = false;
        if let Some(gather) = self.queued.pop_front().or_else(|| self.open.take()) {
            self.submit(io, gather, position, frame_bytes, token);
        }
        true
    }

    fn submit(
        &mut self,
        io: &mut dyn Io,
        mut gather: Gather,
        position: u64,
        frame_bytes: usize,
        token: Token,
    ) {
        let payload = gather.block.len() - FRAME_HEADER_BYTES;
        let header = FrameHeader {
            journal_id: self.id,
            sequence: gather.sequence,
            frame_bytes: frame_bytes as u32,
            payload_bytes: payload as u32,
            entries: gather.entries,
        };
        let head = header.encode(&gather.block.bytes()[FRAME_HEADER_BYTES..]);
        gather.block.patch(0, &head);
        gather.block.pad_to_align();
        let slice = gather.block.slice_padded(0..frame_bytes);
        self.queued_bytes -= payload;
        self.counters.commits += 1;
        self.counters.bytes += frame_bytes as u64;
        self.counters.entries += u64::from(gather.entries);
        // A synced write makes nothing durable but itself, and a replay gets to a frame only through those before it.
        let to_sync = gather.durability == Durability::Synced && self.unsynced;
        let durability = if to_sync {
            Durability::Written
        } else {
            gather.durability
        };
        self.unsynced |= durability == Durability::Written;
        io.write(self.file, position, slice, durability, token);
        self.gathering.started(gather.entries);
        self.in_flight = Some(InFlight {
            sequence: gather.sequence,
            entries: gather.entries,
            bytes: payload,
            since: io.now(),
            ends: gather.ends,
            to_sync,
        });
    }

    /// The write in flight ended well: whether a sync of the file must follow before it counts. Starts it; `token` comes back with the
    /// disk's event, and then [`Journal::wrote`] is called.
    pub fn sync_after(&mut self, io: &mut dyn Io, token: Token) -> bool {
        let to_sync = self.in_flight.as_ref().is_some_and(|f| f.to_sync);
        if to_sync {
            io.sync(self.file, token);
        }
        to_sync
    }

    /// The write in flight ended. Gives the ticket that is now committed, and how far each partition is;
    /// or fails the journal for good.
    pub fn wrote(
        &mut self,
        now: Instant,
        result: std::io::Result<()>,
    ) -> Result<(Ticket, Vec<CommittedEnd>), String> {
        let Some(done) = self.in_flight.take() else {
            return Ok((0, Vec::new()));
        };
        match result {
            Ok(()) => {
                // Nothing else is written meanwhile.
                self.unsynced &= !done.to_sync;
                self.committed = done.sequence;
                let (open, bytes) = match &self.open {
                    Some(open) => (open.entries, open.block.len()),
                    None => (0, 0),
                };
                let took = now.saturating_duration_since(done.since);
                self.gathering
                    .committed(now, took, (done.entries, done.bytes), (open, bytes));
                Ok((done.sequence, done.ends))
            }
            Err(e) => {
                let reason = format!("the journal cannot be written: {e}");
                self.fail(reason.clone());
                Err(reason)
            }
        }
    }

    /// When a frame that waits for more appends is to be written at the latest. One that waits for journal space has no such time.
    pub fn deadline(&self) -> Option<Instant> {
        let deadline = self.gathering.deadline();
        deadline.filter(|_| self.has_waiting() && !self.starved && !self.is_held())
    }

    /// The file begins to be made larger, by somebody else, who syncs it in the end. The system may tell a failure only once: a sync of the
    /// journal's own would then find nothing wrong with frames that are lost, so frames that need one wait. False when one is under way.
    pub fn begin_growing(&mut self) -> bool {
        let is_syncing = self.in_flight.as_ref().is_some_and(|f| f.to_sync);
        self.growing |= !is_syncing;
        !is_syncing
    }

    /// That has ended. `is_synced` is false when the sync failed: then frames that were not synced may be lost, and false comes back.
    pub fn end_growing(&mut self, is_synced: bool) -> bool {
        self.growing = false;
        is_synced || !self.unsynced
    }

    /// Whether the next frame waits for the file to be larger.
    fn is_held(&self) -> bool {
        let next = self.queued.front().or(self.open.as_ref());
        self.growing && self.unsynced && next.is_some_and(|g| g.durability == Durability::Synced)
    }

    /// Refuses everything from now on.
    pub fn fail(&mut self, reason: String) {
        self.failed.get_or_insert(reason);
        self.open = None;
        self.queued.clear();
    }

    /// The journal's free space and its use.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// The same, to release or extend.
    pub fn space_mut(&mut self) -> &mut Space {
        &mut self.space
    }

    /// Whether a frame waits because the journal is full.
    pub fn is_starved(&self) -> bool {
        self.starved
    }

    /// Bytes the largest waiting frame needs, or 0.
    pub fn largest_waiting_bytes(&self) -> u64 {
        let waiting = self.queued.iter().chain(&self.open).map(|g| g.block.len());
        waiting
            .max()
            .map_or(0, |b| format::frame_bytes(b - FRAME_HEADER_BYTES) as u64)
    }

    /// Why nothing is acknowledged any more, if so.
    pub fn failure(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// Whether what this ticket was given for is durable.
    pub fn is_committed(&self, ticket: Ticket) -> bool {
        ticket <= self.committed
    }

    /// Whether nothing waits and nothing is in flight.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_none() && !self.has_waiting()
    }

    /// The first frame that may hold an append made from now on: everything appended so far lies in frames up to and
    /// including it. A checkpoint of all partitions as they are now does without the frames before it.
    pub fn checkpoint_sequence(&self) -> Ticket {
        self.open.as_ref().map_or(self.next_sequence, |g| g.sequence)
    }

    /// Where a replay has to start that needs the frames from `sequence` on: at that frame, or at an earlier one that has no
    /// place in the file yet. Waiting for it to get one could be forever: the journal may be full until this checkpoint is done.
    pub fn replay_start(&self, sequence: Ticket) -> (Ticket, u64) {
        let first = self.queued.front().map_or(sequence, |g| g.sequence.min(sequence));
        (first, self.space.position_of(first))
    }

    /// The journal's random id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What was written since start.
    pub fn counters(&self) -> Counters {
        self.counters
    }
}
