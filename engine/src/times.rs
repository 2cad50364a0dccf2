//! Finding an offset by time: the first batch whose largest timestamp is at or after a target.
//!
//! An explicit question, asked rarely, so the part that lies on disk is searched by the files thread. The part that is only in memory is
//! searched here. Which record of the batch it is, is for the caller to say: the engine does not look inside batches.

use crate::background::{FileJob, JobOutput};
use crate::batch::{BatchHeader, HEADER_BYTES, NO_TIMESTAMP};
use crate::error::Error;
use crate::index::{Lookup, TimeEntry};
use crate::io::Io;
use crate::log::PartitionLog;
use crate::ops::Op;
use crate::scan::is_at_or_after;
use crate::segment::Phase;
use crate::shard::cleaning::Question;
use crate::shard::{ReadError, Shard, ShardEvent, Slot, TimeHit, TimeOutcome};
use crate::tail::Place;

/// A search under way on disk.
#[derive(Clone, Copy)]
struct Search {
    slot: Slot,
    /// The caller's.
    token: u64,
    wanted: Wanted,
}

#[derive(Clone, Copy)]
enum Wanted {
    /// The first batch that has a record at or after this time, in milliseconds, and reaches this offset.
    At(i64, i64),
    /// The first batch that has the largest timestamp; so far this one is known from memory.
    Largest(Option<i64>),
}

/// The searches under way on disk.
#[derive(Default)]
pub struct Searches {
    list: Vec<Option<Search>>,
}

impl Searches {
    /// Whether one of the partition's is under way.
    pub(crate) fn has_any_of(&self, slot: Slot) -> bool {
        self.list.iter().flatten().any(|search| search.slot == slot)
    }

    fn insert(&mut self, search: Search) -> usize {
        match self.list.iter().position(Option::is_none) {
            Some(i) => {
                self.list[i] = Some(search);
                i
            }
            None => {
                self.list.push(Some(search));
                self.list.len() - 1
            }
        }
    }
}

impl Shard {
    /// The first batch below the high watermark that has a record at or after `timestamp_ms`, going by its header, and reaches `from_offset`.
    pub fn offset_for_timestamp(
        &mut self,
        io: &mut dyn Io,
        slot: Slot,
        timestamp_ms: i64,
        from_offset: i64,
        token: u64,
    ) -> TimeOutcome {
        let Some(log) = self.log(slot) else {
            return TimeOutcome::Error(ReadError::NoSuchPartition);
        };
        let first = log.state.segments.front().map_or(0, |s| s.base_offset);
        let question = Question::Time {
            timestamp_ms,
            from_offset,
            token,
        };
        if let Some(parked) = self.park(slot, first, question) {
            return parked.map_or_else(TimeOutcome::Error, |()| TimeOutcome::Later);
        }
        let Some(log) = self.log(slot) else {
            return TimeOutcome::Error(ReadError::NoSuchPartition);
        };
        let segments = on_disk(log);
        if segments.is_empty() {
            return TimeOutcome::Now(search_memory(log, timestamp_ms, from_offset));
        }
        let job = FileJob::FindTime {
            folder: log.folder.clone(),
            segments,
            from_offset,
            timestamp_ms,
        };
        let wanted = Wanted::At(timestamp_ms, from_offset);
        let search = self.searches.insert(Search { slot, token, wanted });
        let job_token = self.ops.start(Op::FindTime(search));
        self.submit_job(io, job_token, job);
        TimeOutcome::Later
    }

    /// The first batch below the high watermark that has the log's largest timestamp. As in Kafka those before the log start count as long as
    /// their segment is there, and where no record has a timestamp the first one has the largest.
    pub fn offset_for_largest_timestamp(&mut self, io: &mut dyn Io, slot: Slot, token: u64) -> TimeOutcome {
        let Some(log) = self.log(slot) else {
            return TimeOutcome::Error(ReadError::NoSuchPartition);
        };
        let first = log.state.segments.front().map_or(0, |s| s.base_offset);
        if let Some(parked) = self.park(slot, first, Question::LargestTime { token }) {
            return parked.map_or_else(TimeOutcome::Error, |()| TimeOutcome::Later);
        }
        let Some(log) = self.log(slot) else {
            return TimeOutcome::Error(ReadError::NoSuchPartition);
        };
        let known = self.max_timestamp(slot).map(|(timestamp_ms, _)| timestamp_ms);
        let unknown = log
            .state
            .segments
            .iter()
            .filter(|s| s.index.is_none() && s.size_bytes > 0);
        let segments: Vec<(i64, u64)> = unknown.map(|s| (s.base_offset, s.size_bytes)).collect();
        if segments.is_empty() {
            return self.offset_for_timestamp(io, slot, known.unwrap_or(NO_TIMESTAMP), 0, token);
        }
        let job = FileJob::LargestTime {
            folder: log.folder.clone(),
            segments,
            interval_bytes: log.options.index_interval_bytes,
        };
        let wanted = Wanted::Largest(known);
        let search = self.searches.insert(Search { slot, token, wanted });
        let job_token = self.ops.start(Op::FindTime(search));
        self.submit_job(io, job_token, job);
        TimeOutcome::Later
    }

    pub(crate) fn time_found(&mut self, io: &mut dyn Io, search: usize, result: Result<JobOutput, Error>) {
        let Some(Search { slot, token, wanted }) = self.searches.list.get_mut(search).and_then(Option::take)
        else {
            return;
        };
        let outcome = match (result, wanted, self.log(slot)) {
            (_, _, None) => TimeOutcome::Error(ReadError::NoSuchPartition),
            (Ok(JobOutput::Largest(stored)), Wanted::Largest(known), Some(_)) => {
                let timestamp_ms = known.max(stored).unwrap_or(NO_TIMESTAMP);
                self.offset_for_timestamp(io, slot, timestamp_ms, 0, token)
            }
            (Ok(JobOutput::Batch(batch)), _, Some(log)) => TimeOutcome::Now(visible(log, batch)),
            (
                Ok(JobOutput::NoBatchBefore(segment_base, position)),
                Wanted::At(timestamp_ms, from_offset),
                Some(log),
            ) => {
                let place = Place {
                    segment_base,
                    position,
                };
                TimeOutcome::Now(search_behind(log, place, timestamp_ms, from_offset))
            }
            (Ok(_), _, Some(_)) => TimeOutcome::Now(None),
            (Err(e), _, Some(_)) => TimeOutcome::Error(ReadError::Io(e.to_string())),
        };
        let result = match outcome {
            TimeOutcome::Later => return,
            TimeOutcome::Now(hit) => Ok(hit),
            TimeOutcome::Error(error) => Err(error),
        };
        self.events.push(ShardEvent::TimeDone { token, result });
    }

    /// The largest timestamp of the newest segments in memory, and the last offset of the batch that has it; `None` when the log is
    /// empty or its segments are of an earlier run. Then [`Shard::offset_for_timestamp`] with it finds the batch.
    pub fn max_timestamp(&self, slot: Slot) -> Option<(i64, i64)> {
        let log = self.log(slot)?;
        let largest = log.state.segments.iter().filter_map(|s| {
            let TimeEntry {
                timestamp_ms,
                relative_offset,
            } = s.index.as_ref()?.largest_timestamp()?;
            Some((timestamp_ms, s.base_offset + i64::from(relative_offset)))
        });
        // The first of equal ones: Kafka answers the earliest offset that has the largest timestamp.
        largest.fold(None, |best: Option<(i64, i64)>, next| match best {
            Some(b) if b.0 >= next.0 => Some(b),
            _ => Some(next),
        })
    }
}

/// The segments, or parts of them, that must be searched on disk because they are not all in memory.
fn on_disk(log: &PartitionLog) -> Vec<(i64, u64)> {
    let (start, written) = (log.tail.start().unwrap_or(log.state.end()), log.flush.written);
    let bytes = |s: &crate::segment::Segment| match s.base_offset.cmp(&written.segment_base) {
        std::cmp::Ordering::Less => s.size_bytes,
        std::cmp::Ordering::Equal => written.position,
        std::cmp::Ordering::Greater => 0,
    };
    let is_cold = |s: &crate::segment::Segment| {
        Place {
            segment_base: s.base_offset,
            position: 0,
        } < start
    };
    let segments = log.state.segments.iter().filter(|s| is_cold(s));
    segments
        .map(|s| (s.base_offset, bytes(s)))
        .filter(|(_, bytes)| *bytes > 0)
        .collect()
}

fn visible(log: &PartitionLog, batch: Vec<u8>) -> Option<TimeHit> {
    let header = BatchHeader::read(&batch)?;
    (header.base_offset < log.committed_offset).then_some(TimeHit { batch })
}

/// Walks over the batches behind what was searched on disk. The index may not know where the first of them starts: small
/// ones get no entry, and those before them may be on disk only.
fn search_behind(
    log: &PartitionLog,
    searched_to: Place,
    timestamp_ms: i64,
    from_offset: i64,
) -> Option<TimeHit> {
    if !log.tail.holds(searched_to) {
        return search_memory(log, timestamp_ms, from_offset);
    }
    let behind = log
        .state
        .segments
        .iter()
        .filter(|s| s.base_offset >= searched_to.segment_base);
    behind
        .map(|s| {
            let start = Place {
                segment_base: s.base_offset,
                position: 0,
            };
            (start.max(searched_to), s.size_bytes)
        })
        .find_map(|(from, size)| walk_memory(log, from, size, timestamp_ms, from_offset))
}

/// Walks over the batches in memory, from the first that starts there.
fn search_memory(log: &PartitionLog, timestamp_ms: i64, from_offset: i64) -> Option<TimeHit> {
    let start = log.tail.start()?;
    for segment in log
        .state
        .segments
        .iter()
        .filter(|s| s.base_offset >= start.segment_base)
    {
        let index = segment.index.as_ref();
        let older = index.map(|i| i.lookup_time(timestamp_ms.saturating_sub(1)));
        let from = match (older, index) {
            (Some(Lookup::At(entry)), Some(index)) => match index.lookup(entry.relative_offset) {
                Lookup::At(entry) => u64::from(entry.position),
                _ => 0,
            },
            _ => 0,
        };
        let place = Place {
            segment_base: segment.base_offset,
            position: from,
        };
        let size = if segment.phase == Phase::Active {
            log.committed.position
        } else {
            segment.size_bytes
        };
        if let Some(hit) = walk_memory(log, place, size, timestamp_ms, from_offset) {
            return Some(hit);
        }
    }
    None
}

fn walk_memory(
    log: &PartitionLog,
    mut place: Place,
    size: u64,
    timestamp_ms: i64,
    from_offset: i64,
) -> Option<TimeHit> {
    let mut head = [0; HEADER_BYTES];
    if !log.tail.holds(place) {
        // The index points before what is in memory: start at the first batch that begins there.
        place = first_batch_in_memory(log, place)?;
    }
    while place.position < size && log.tail.copy(place, &mut head) {
        let header = BatchHeader::read(&head)?;
        if header.base_offset >= log.committed_offset {
            return None;
        }
        if is_at_or_after(&header, timestamp_ms, from_offset) {
            let mut batch = vec![0; header.size_bytes()];
            return log.tail.copy(place, &mut batch).then_some(TimeHit { batch });
        }
        place.position += header.size_bytes() as u64;
    }
    None
}

/// A batch that starts in memory, found by the offset index.
fn first_batch_in_memory(log: &PartitionLog, place: Place) -> Option<Place> {
    let index = log.state.segment(place.segment_base)?.index.as_ref()?;
    let start = log.tail.start()?;
    let mut relative = 0;
    loop {
        let entry = index.entry_after(relative)?;
        let at = Place {
            position: u64::from(entry.position),
            ..place
        };
        if at >= start {
            return log.tail.holds(at).then_some(at);
        }
        relative = entry.relative_offset;
    }
}
