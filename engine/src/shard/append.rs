//! Appending: check, make room everywhere, place, journal. Nothing has to be undone, because room is made before anything is changed.

use super::{AppendError, Appended, Marker, Producing, Shard, Slot, Ticket};
use crate::batch::{EndTxn, marker_batch};
use crate::io::{Class, Durability, Io};
use crate::journal::commit::{CommittedEnd, Refused};
use crate::journal::format::{Entry, EntryKind};
use crate::log::{Checked, PartitionLog, Prepared};

/// Pieces of memory given up for one block of the size that is wanted, before one of any size will do: once the budget is spent, small
/// blocks would make each commit and each write to a segment small as well.
const MOST_GIVEN_UP_FOR_SIZE: u32 = 8;

/// A search for memory within the budget.
#[derive(Default)]
struct Search {
    given_up: u32,
}

impl Search {
    /// Whether a block of any size will do.
    fn any_size(&self) -> bool {
        self.given_up >= MOST_GIVEN_UP_FOR_SIZE
    }
}

impl Shard {
    /// Appends exactly one batch as a client sent it. It is visible to readers and safe once its ticket is committed.
    pub fn append(&mut self, io: &mut dyn Io, slot: Slot, bytes: &[u8]) -> Result<Appended, AppendError> {
        self.append_as(io, slot, bytes, Producing::default())
    }

    /// The same for who else appends, or a client of whom more is known.
    pub fn append_as(
        &mut self,
        io: &mut dyn Io,
        slot: Slot,
        bytes: &[u8],
        producing: Producing,
    ) -> Result<Appended, AppendError> {
        let result = self.try_append(io, slot, bytes, producing);
        self.refusal(result)
    }

    /// Ends a producer's transaction in the partition. A marker for a producer that has none open is written too.
    ///
    /// # Errors
    /// As [`Shard::append`], and [`ProducerError::CoordinatorFenced`](crate::producers::ProducerError).
    pub fn append_marker(
        &mut self,
        io: &mut dyn Io,
        slot: Slot,
        marker: &Marker,
    ) -> Result<Appended, AppendError> {
        let result = self.try_append_marker(io, slot, marker);
        self.refusal(result)
    }

    /// Being busy passes when something goes on; not so while everything waits for a full disk.
    pub(super) fn refusal<T>(&mut self, result: Result<T, AppendError>) -> Result<T, AppendError> {
        match result {
            Err(AppendError::Busy) if self.room.is_full() || self.checkpointer.is_disk_full() => {
                Err(AppendError::DiskFull)
            }
            Err(AppendError::Busy) => {
                self.was_busy = true;
                Err(AppendError::Busy)
            }
            other => other,
        }
    }

    fn try_append(
        &mut self,
        io: &mut dyn Io,
        slot: Slot,
        bytes: &[u8],
        producing: Producing,
    ) -> Result<Appended, AppendError> {
        let now_ms = io.wall_ms();
        let log = self.log(slot).ok_or(AppendError::NoSuchPartition)?;
        match log.prepare(bytes, producing, now_ms)? {
            Checked::New(prepared) => self.append_prepared(io, slot, prepared, bytes, now_ms),
            Checked::Duplicate(base_offset, last_offset, timestamp_ms) => {
                let first = self.duplicate(slot, base_offset, last_offset, timestamp_ms);
                match self.journal.failure() {
                    Some(reason) if first.ticket > 0 => Err(AppendError::Storage(reason.to_owned())),
                    _ => Ok(first),
                }
            }
        }
    }

    /// What [`Shard::append_as`] would make of a batch if there were room: whether it was appended before. Changes nothing.
    ///
    /// # Errors
    /// As [`Shard::append`], but for what depends on room.
    pub fn is_duplicate(
        &self,
        io: &dyn Io,
        slot: Slot,
        bytes: &[u8],
        producing: Producing,
    ) -> Result<bool, AppendError> {
        let log = self.log(slot).ok_or(AppendError::NoSuchPartition)?;
        let checked = log.prepare(bytes, producing, io.wall_ms())?;
        Ok(matches!(checked, Checked::Duplicate(..)))
    }

    fn try_append_marker(
        &mut self,
        io: &mut dyn Io,
        slot: Slot,
        marker: &Marker,
    ) -> Result<Appended, AppendError> {
        let now_ms = io.wall_ms();
        let log = self.log(slot).ok_or(AppendError::NoSuchPartition)?;
        let end = EndTxn {
            kind: marker.kind,
            coordinator_epoch: marker.coordinator_epoch,
        };
        let bytes = marker_batch(marker.producer_id, marker.producer_epoch, end, now_ms);
        let prepared = log.prepare_marker(marker, &bytes, now_ms)?;
        self.append_prepared(io, slot, prepared, &bytes, now_ms)
    }

    /// Appends what passed every check.
    fn append_prepared(
        &mut self,
        io: &mut dyn Io,
        slot: Slot,
        mut prepared: Prepared,
        bytes: &[u8],
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
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
        self.note_append(slot, bytes.len());
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
        if self.handovers.holds(slot) {
            return Err(AppendError::Busy);
        }
        let disk_full = self.room.is_full();
        let Some(log) = self.log(slot) else {
            return Err(AppendError::NoSuchPartition);
        };
        let active = log.state.active();
        if disk_full && active.size_bytes + bytes as u64 > active.allocated_bytes {
            return Err(AppendError::DiskFull);
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

    pub(super) fn make_room(&mut self, io: &mut dyn Io, needed: usize) -> Result<(), AppendError> {
        let mut search = Search::default();
        loop {
            match self.journal.make_room(io, needed, search.any_size()) {
                Err(Refused::NoMemory) => self.search_on(&mut search)?,
                other => return other.map_err(AppendError::from),
            }
        }
    }

    /// There was no memory as it was searched for: gives up some that is on disk already, or else the wish for its size.
    fn search_on(&mut self, search: &mut Search) -> Result<(), AppendError> {
        match self.relieve() {
            true => search.given_up += 1,
            false if !search.any_size() => search.given_up = MOST_GIVEN_UP_FOR_SIZE,
            false => {
                self.checkpointer.hurry();
                return Err(AppendError::Busy);
            }
        }
        Ok(())
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
        let mut search = Search::default();
        loop {
            let Some(log) = self.logs.get_mut(slot.0 as usize).and_then(Option::as_mut) else {
                return Err(AppendError::NoSuchPartition);
            };
            let any_size = search.any_size();
            let smallest = |io: &mut dyn Io| any_size.then(|| io.block(Class::Small)).flatten();
            if work(log, &mut |class| io.block(class).or_else(|| smallest(io))).is_ok() {
                return Ok(());
            }
            self.search_on(&mut search)?;
        }
    }

    fn journal_batch(
        &mut self,
        io: &mut dyn Io,
        slot: Slot,
        prepared: &Prepared,
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
        // The end of a transaction is told its coordinator, which never sends it again: it is stable in a topic of any durability.
        let durability = match prepared.header.is_control() {
            true => Durability::Synced,
            false => log.durability(),
        };
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

    /// Gives back memory that is on disk already; true if some went. What was read from disk and nobody is coming to goes first, then
    /// what the tails have written, then whatever else the cache of reads has.
    pub(crate) fn relieve(&mut self) -> bool {
        self.evict_idle_chunk() || self.relieve_tails() || self.evict_chunk()
    }

    /// Gives back the oldest part of a tail that is on disk already; true if some went.
    pub(crate) fn relieve_tails(&mut self) -> bool {
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
}
