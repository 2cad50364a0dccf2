//! Segments that have outlived their time or their room: found when the server asks for it, and deleted as [`Shard::delete_records`] deletes.
//!
//! ```text
//!   check_retention ─▶ every partition: decide ─▶ log start moves (journal) ─▶ checkpoint ─▶ files go (files thread)
//!                        ▲  │ how old is it?        │                                           │
//!                        │  └──▶ files thread       └ all of it: another segment is begun       │
//!                        └───────────────── more than go at once ◀──────────────────────────────┘
//! ```
//!
//! Few partitions are looked at in a turn, and few segments of one go at once: the next ones when the files of those are gone. So producers
//! hardly feel it, and the disk is never far behind.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::{AppendError, Limits, Shard, ShardEvent, Slot};
use crate::background::{FileJob, JobOutput};
use crate::error::Error;
use crate::io::Io;
use crate::log::PartitionLog;
use crate::ops::Op;
use crate::retention::{Candidate, Decision, Situation, Stop, decide};
use crate::segment::Phase;

/// Most partitions looked at in a turn.
const PARTITIONS_A_TURN: usize = 64;
/// Most segments of a partition that go at once.
pub const SEGMENTS_AT_ONCE: usize = 16;
/// Most segments whose age is asked of the files thread at once.
const AGES_AT_ONCE: usize = 256;
/// Most lines a round writes of single partitions.
const LINES_A_ROUND: usize = 20;
/// Between two turns of a round.
const PAUSE: Duration = Duration::from_millis(1);
/// How long the round rests when the shard is busy.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// What went of one partition in a round.
#[derive(Clone, Copy, Debug, Default)]
struct Gone {
    by_size: usize,
    by_time: usize,
    bytes: u64,
}

/// A look at all partitions, while it lasts.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// To be looked at, again perhaps.
    queue: VecDeque<Slot>,
    /// Not before the files thread has done something for them.
    waiting: HashSet<Slot>,
    gone: HashMap<Slot, Gone>,
    lines: usize,
    /// Partitions and segments that no line was written of.
    unsaid: (usize, usize),
    resume_at: Option<Instant>,
}

impl Round {
    /// When it goes on though nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.resume_at.filter(|_| !self.queue.is_empty())
    }

    fn may_say(&mut self) -> bool {
        self.lines += 1;
        self.lines <= LINES_A_ROUND
    }
}

/// What a look at a partition led to.
enum Look {
    /// There is nothing to do for now.
    Over,
    /// It goes on when the files thread has done its part.
    Waits,
    /// The shard is busy.
    Busy,
}

impl Shard {
    /// Looks at every partition for segments past its [`Limits`] and deletes them, in this and the next turns. To be called from time to time;
    /// what is still under way of the last call goes on.
    pub fn check_retention(&mut self) {
        let round = &mut self.retention;
        round.waiting.clear();
        let is_open = |slot: &Slot| self.logs.get(slot.0 as usize).is_some_and(Option::is_some);
        round.gone.retain(|slot, _| is_open(slot));
        round.lines = 0;
        let queued: HashSet<Slot> = round.queue.iter().copied().collect();
        let open = self.logs.iter().enumerate().filter(|(_, log)| log.is_some());
        let slots = open.map(|(i, _)| Slot(i as u32));
        round.queue.extend(slots.filter(|slot| !queued.contains(slot)));
        round.resume_at = None;
    }

    /// Looks at one partition too, in the turns that follow.
    pub(super) fn look_at_retention_of(&mut self, slot: Slot) {
        let round = &mut self.retention;
        if !round.queue.contains(&slot) && !round.waiting.contains(&slot) {
            round.queue.push_back(slot);
        }
    }

    /// To be called once a turn.
    pub(super) fn run_retention(&mut self, io: &mut dyn Io) {
        let now = io.now();
        if self.stopping {
            self.retention.queue.clear();
        }
        if self.retention.queue.is_empty() || self.retention.resume_at.is_some_and(|at| now < at) {
            return;
        }
        let mut pause = PAUSE;
        for _ in 0..PARTITIONS_A_TURN {
            let Some(slot) = self.retention.queue.pop_front() else {
                break;
            };
            match self.look_at(io, slot) {
                Look::Over => self.say_what_went(slot),
                Look::Waits => drop(self.retention.waiting.insert(slot)),
                Look::Busy => {
                    self.retention.queue.push_front(slot);
                    pause = BUSY_PAUSE;
                    break;
                }
            }
        }
        self.retention.resume_at = Some(now + pause);
        self.say_what_was_not_said();
    }

    /// The files of what went last are gone, or its age is known.
    pub(super) fn retention_goes_on(&mut self, slot: Slot) {
        if self.retention.waiting.remove(&slot) {
            self.retention.queue.push_back(slot);
        }
    }

    fn look_at(&mut self, io: &mut dyn Io, slot: Slot) -> Look {
        // Those below the log start, which another run may have left.
        self.remove_old_segments(slot);
        let Some(log) = self.log(slot) else {
            return Look::Over;
        };
        let limits = log.options.retention;
        // What is being cleaned is looked at again when that is over.
        if !limits.is_any() || self.handovers.holds(slot) || self.cleaning.has(slot) {
            return Look::Over;
        }
        let segments = candidates(log, io);
        let situation = Situation {
            segments: &segments,
            end_offset: log.state.end_offset,
            high_watermark: log.committed_offset,
            now_ms: io.wall_ms(),
        };
        let decision = decide(&situation, limits, SEGMENTS_AT_ONCE);
        if decision.count() > 0
            && let Err(look) = self.delete_oldest(io, slot, &situation, decision)
        {
            return look;
        }
        match decision.stop {
            Stop::Stays => Look::Over,
            Stop::Future(base_offset) => {
                self.say_future(slot, base_offset);
                Look::Over
            }
            Stop::Unknown => self.ask_ages(io, slot, &segments[decision.count()..]),
            Stop::Most => Look::Waits,
        }
    }

    /// Moves the log start behind the segments that go. Where that is all of them, another one is begun first, for their files to go.
    fn delete_oldest(
        &mut self,
        io: &mut dyn Io,
        slot: Slot,
        situation: &Situation<'_>,
        decision: Decision,
    ) -> Result<(), Look> {
        let count = decision.count();
        match self.delete_records(io, slot, situation.end_of(count - 1)) {
            Ok(_) => {}
            Err(AppendError::Busy) => return Err(Look::Busy),
            // The next round tries again.
            Err(_) => return Err(Look::Over),
        }
        let now_ms = io.wall_ms();
        if count == situation.segments.len()
            && let Some(log) = self.log_mut(slot)
        {
            log.state.roll(log.options.index_interval_bytes, now_ms);
            log.dirty = true;
            self.want_flush(slot);
        }
        let gone = self.retention.gone.entry(slot).or_default();
        gone.by_size += decision.by_size;
        gone.by_time += decision.by_time;
        gone.bytes += situation.segments[..count]
            .iter()
            .map(|s| s.size_bytes)
            .sum::<u64>();
        Ok(())
    }

    fn ask_ages(&mut self, io: &dyn Io, slot: Slot, segments: &[Candidate]) -> Look {
        let Some(log) = self.log(slot) else {
            return Look::Over;
        };
        let unknown = segments.iter().filter(|s| s.newest_ms.is_none());
        let wanted = unknown.take(AGES_AT_ONCE);
        let job = FileJob::NewestTimes {
            folder: log.folder.clone(),
            segments: wanted.map(|s| (s.base_offset, s.size_bytes)).collect(),
            interval_bytes: log.options.index_interval_bytes,
        };
        let token = self.ops.start(Op::NewestTimes(slot));
        self.submit_job(io, token, job);
        Look::Waits
    }

    pub(super) fn newest_known(&mut self, slot: Slot, result: Result<JobOutput, Error>) {
        match result {
            Ok(JobOutput::Newest(found)) => {
                for (base_offset, newest_ms) in found {
                    if let Some(segment) = self.log_mut(slot).and_then(|l| l.state.segment_mut(base_offset)) {
                        segment.newest_ms = Some(newest_ms);
                    }
                }
                self.retention_goes_on(slot);
            }
            Ok(_) => {}
            // The next round asks again.
            Err(e) if self.log(slot).is_some() => {
                self.note_error("segments stay, their age is not known", Err(e))
            }
            Err(_) => {}
        }
    }

    fn say_what_went(&mut self, slot: Slot) {
        let Some(gone) = self.retention.gone.remove(&slot) else {
            return;
        };
        let count = gone.by_size + gone.by_time;
        if !self.retention.may_say() {
            self.retention.unsaid.0 += 1;
            self.retention.unsaid.1 += count;
            return;
        }
        let Some(log) = self.log(slot) else { return };
        let Limits { ms, bytes } = log.options.retention;
        let parts = [
            ("retention.bytes", bytes, gone.by_size),
            ("retention.ms", ms, gone.by_time),
        ];
        let parts = parts.iter().filter(|(_, _, count)| *count > 0);
        let why: Vec<String> = parts
            .map(|(name, value, count)| format!("{count} past {name}={value}"))
            .collect();
        let line = format!(
            "{}: {} deleted ({}), {} bytes; the log starts at offset {}",
            log.state.name,
            segments(count),
            why.join(", "),
            gone.bytes,
            log.state.log_start_offset
        );
        self.events.push(ShardEvent::Info(line));
    }

    /// At the end of a round: how much was left out.
    fn say_what_was_not_said(&mut self) {
        if !self.retention.queue.is_empty() || !self.retention.waiting.is_empty() {
            return;
        }
        let (partitions, count) = std::mem::take(&mut self.retention.unsaid);
        if partitions > 0 {
            let line = format!(
                "{} of {partitions} more partitions deleted, past retention limits",
                segments(count)
            );
            self.events.push(ShardEvent::Info(line));
        }
    }

    /// Kafka warns of it too: such a segment stays, and all behind it, however old they are.
    fn say_future(&mut self, slot: Slot, base_offset: i64) {
        let is_known = |log: &PartitionLog| log.kept_by_future == Some(base_offset);
        if self.log(slot).is_none_or(is_known) || !self.retention.may_say() {
            return;
        }
        let Some(log) = self.log_mut(slot) else { return };
        log.kept_by_future = Some(base_offset);
        let line = format!(
            "{}: the segment at offset {base_offset} has a timestamp in the future; it and those behind it stay until then, unless the log grows past retention.bytes",
            log.state.name
        );
        self.events.push(ShardEvent::Notice(line));
    }
}

fn segments(count: usize) -> String {
    match count {
        1 => "1 segment".to_owned(),
        count => format!("{count} segments"),
    }
}

/// The log's segments, but for those that wait to go.
fn candidates(log: &PartitionLog, io: &dyn Io) -> Vec<Candidate> {
    let state = &log.state;
    let ends = state
        .segments
        .iter()
        .skip(1)
        .map(|s| Some(s.base_offset))
        .chain([None]);
    let is_there = |end: Option<i64>| end.is_none_or(|end| end > state.log_start_offset);
    let there = state.segments.iter().zip(ends).filter(|(_, end)| is_there(*end));
    // A record without a timestamp is as old as its file. That of a segment that is still written to is as new as its last batch.
    let idle_ms = io.now().saturating_duration_since(log.last_append).as_millis();
    let last_append_ms = io
        .wall_ms()
        .saturating_sub(i64::try_from(idle_ms).unwrap_or(i64::MAX));
    there
        .map(|(segment, _)| Candidate {
            base_offset: segment.base_offset,
            size_bytes: segment.size_bytes,
            newest_ms: segment
                .largest_timestamp_ms()
                .or(segment.newest_ms)
                .or((segment.phase != Phase::Sealed).then_some(last_append_ms)),
        })
        .collect()
}
