//! The aborted transactions that a reader of what is committed is told of, with its bytes.
//!
//! They are looked for from the segment of the offset that was asked for on, until an entry says that none further on can have records among the
//! bytes. Segments without any cost nothing. Of those of an earlier run the index is read by the files thread when it is first asked for; the bytes
//! wait for it.

use std::collections::{HashMap, VecDeque};

use super::ReadId;
use super::walk::out_of_range;
use crate::background::{FileJob, JobOutput};
use crate::error::Error;
use crate::io::Io;
use crate::ops::Op;
use crate::segment::{Phase, Segment};
use crate::shard::{Isolation, ReadData, ReadError, ReadOutcome, ReadRequest, Shard, ShardEvent, Slot};

/// Entries of sealed segments in memory, of all partitions of a core, unless a single segment has more: 8 MiB.
const MOST_ENTRIES: usize = 1 << 18;
/// Entries of an active segment in memory, once they are in its file.
const MOST_ACTIVE_ENTRIES: usize = 1 << 16;
/// Those that stay where there are more: readers are mostly close to the end.
const KEPT_ACTIVE_ENTRIES: u32 = 1 << 12;
/// Answers that wait at most.
const MOST_WAITING: usize = 4096;

/// An answer whose aborted transactions are not all known yet.
struct Answer {
    slot: Slot,
    request: ReadRequest,
    data: ReadData,
    /// No record of it is at or behind this offset.
    end: i64,
    /// The segment to go on with.
    segment_base: i64,
}

/// The answers that wait for an index, and the sealed segments that have entries in memory.
#[derive(Default)]
pub(super) struct Answers {
    waiting: HashMap<ReadId, Answer>,
    next_id: ReadId,
    /// The one that was taken in first is forgotten first.
    in_memory: VecDeque<(Slot, i64)>,
}

impl Answers {
    pub(super) fn has_any_of(&self, slot: Slot) -> bool {
        self.waiting.values().any(|answer| answer.slot == slot)
    }
}

/// What became of the search for aborted transactions.
enum Search {
    Done,
    /// So many entries of a segment's file are needed.
    Missing(u32),
    /// The bytes are below the log start by now.
    Gone,
}

impl Shard {
    /// Gives a reader its bytes, which end before `end`, and what it must know of them.
    pub(super) fn answer(
        &mut self,
        io: &mut dyn Io,
        slot: Slot,
        request: &ReadRequest,
        data: ReadData,
        end: i64,
    ) -> ReadOutcome {
        if request.isolation == Isolation::Uncommitted || data.bytes == 0 {
            return ReadOutcome::Now(data);
        }
        let Some(log) = self.log(slot) else {
            return ReadOutcome::Error(ReadError::NoSuchPartition);
        };
        let segment_base = log.state.segment_of(request.offset).base_offset;
        self.add_aborted(
            io,
            Answer {
                slot,
                request: *request,
                data,
                end,
                segment_base,
            },
        )
    }

    fn add_aborted(&mut self, io: &mut dyn Io, mut answer: Answer) -> ReadOutcome {
        match self.search_aborted(&mut answer) {
            Err(error) => ReadOutcome::Error(error),
            Ok(Search::Done) => ReadOutcome::Now(answer.data),
            Ok(Search::Gone) => match self.log(answer.slot) {
                Some(log) => ReadOutcome::Error(out_of_range(log)),
                None => ReadOutcome::Error(ReadError::NoSuchPartition),
            },
            Ok(Search::Missing(count)) => match self.load_aborted(io, answer, count) {
                Ok(()) => ReadOutcome::Later,
                Err(error) => ReadOutcome::Error(error),
            },
        }
    }

    fn search_aborted(&self, answer: &mut Answer) -> Result<Search, ReadError> {
        let log = self.log(answer.slot).ok_or(ReadError::NoSuchPartition)?;
        let segments = &log.state.segments;
        let from = answer.request.offset;
        if segments.front().is_some_and(|first| first.base_offset > from) {
            return Ok(Search::Gone);
        }
        let next = segments.partition_point(|s| s.base_offset < answer.segment_base);
        for segment in segments.range(next..).filter(|s| !s.aborted.is_empty()) {
            answer.segment_base = segment.base_offset;
            if let Some(count) = segment.aborted.missing_for(from) {
                return Ok(Search::Missing(count));
            }
            if segment
                .aborted
                .collect(from, answer.end, &mut answer.data.aborted)
            {
                break;
            }
        }
        Ok(Search::Done)
    }

    /// Has a segment's entries read.
    fn load_aborted(&mut self, io: &mut dyn Io, answer: Answer, count: u32) -> Result<(), ReadError> {
        if self.reads.aborted.waiting.len() >= MOST_WAITING {
            self.was_busy = true;
            return Err(ReadError::Busy);
        }
        let log = self.log(answer.slot).ok_or(ReadError::NoSuchPartition)?;
        let base_offset = answer.segment_base;
        let segment = log.state.segment(base_offset).ok_or(out_of_range(log))?;
        let job = FileJob::LoadAborted {
            folder: log.folder.clone(),
            base_offset,
            size_bytes: segment.size_bytes,
            count,
            is_first: log
                .state
                .segments
                .front()
                .is_some_and(|s| s.base_offset == base_offset),
        };
        let answers = &mut self.reads.aborted;
        answers.next_id += 1;
        let id = answers.next_id;
        answers.waiting.insert(id, answer);
        let token = self.ops.start(Op::Aborted(id));
        self.submit_job(io, token, job);
        Ok(())
    }

    /// A segment's entries are read: the answer goes on.
    pub(crate) fn aborted_loaded(&mut self, io: &mut dyn Io, id: ReadId, result: Result<JobOutput, Error>) {
        let Some(answer) = self.reads.aborted.waiting.remove(&id) else {
            return;
        };
        let (token, slot, base) = (answer.request.token, answer.slot, answer.segment_base);
        let outcome = match result {
            Ok(JobOutput::Aborted(entries)) => {
                let segment = self.log_mut(slot).and_then(|l| l.state.segment_mut(base));
                let added = segment.map_or(0, |s| s.aborted.put_back(entries));
                let outcome = self.add_aborted(io, answer);
                if added > 0 {
                    self.note_aborted(slot, base);
                }
                outcome
            }
            Ok(_) => return,
            // It was removed meanwhile, and perhaps its files were.
            Err(_) if !self.has_segment(slot, base) => self.add_aborted(io, answer),
            Err(error) => ReadOutcome::Error(self.unreadable(&answer, &error)),
        };
        let result = match outcome {
            ReadOutcome::Later => return,
            ReadOutcome::Now(data) => Ok(data),
            ReadOutcome::Error(error) => Err(error),
        };
        self.stats.counters.cold_reads += 1;
        self.events.push(ShardEvent::ReadDone { token, result });
    }

    fn has_segment(&self, slot: Slot, base: i64) -> bool {
        self.log(slot)
            .is_some_and(|log| log.state.segment(base).is_some())
    }

    fn unreadable(&mut self, answer: &Answer, error: &Error) -> ReadError {
        let Error::Corrupt { path, detail } = error else {
            return ReadError::Io(error.to_string());
        };
        let offset = answer.request.offset;
        let location = format!("{}: {detail}", path.display());
        self.note_damage(answer.slot, offset, &location);
        ReadError::Corrupt { offset, location }
    }

    /// A sealed segment may have entries in memory. Those of others are forgotten where there are too many.
    pub(crate) fn note_aborted(&mut self, slot: Slot, base: i64) {
        let Some(segment) = self.log(slot).and_then(|l| l.state.segment(base)) else {
            return;
        };
        if segment.phase == Phase::Active || segment.aborted.in_memory() == 0 {
            return;
        }
        let mut in_memory = std::mem::take(&mut self.reads.aborted.in_memory);
        in_memory.retain(|at| *at != (slot, base) && self.aborted_in_memory(*at) > 0);
        in_memory.push_back((slot, base));
        let mut entries: usize = in_memory.iter().map(|at| self.aborted_in_memory(*at)).sum();
        while entries > MOST_ENTRIES
            && in_memory.len() > 1
            && let Some((slot, base)) = in_memory.pop_front()
        {
            let segment = self.log_mut(slot).and_then(|l| l.state.segment_mut(base));
            entries -= segment.map_or(0, |s| s.aborted.forget(0));
        }
        self.reads.aborted.in_memory = in_memory;
    }

    fn aborted_in_memory(&self, (slot, base): (Slot, i64)) -> usize {
        let segment = self.log(slot).and_then(|l| l.state.segment(base));
        segment.map_or(0, |s| s.aborted.in_memory())
    }

    /// The same for all segments of a partition that has come from another core.
    pub(crate) fn note_all_aborted(&mut self, slot: Slot) {
        let Some(log) = self.log(slot) else { return };
        let bases: Vec<i64> = log.state.segments.iter().map(|s| s.base_offset).collect();
        bases.into_iter().for_each(|base| self.note_aborted(slot, base));
    }
}

/// Forgets most entries of an active segment that has very many, as far as they are in its file.
pub(crate) fn trim_aborted(segment: &mut Segment) {
    if segment.aborted.in_memory() > MOST_ACTIVE_ENTRIES {
        segment.aborted.forget(KEPT_ACTIVE_ENTRIES);
    }
}
