//! Looking for the dirtiest partition, and what the cleaner is told of it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{Pass, Stage, TURN_PAUSE};
use crate::aborted::AbortedTxn;
use crate::background::{FileJob, JobOutput};
use crate::cleaner::choice::{Candidate, Compaction, Need, Plan, Situation, look};
use crate::cleaner::{CleanLimits, CleanOrder, CleanSegment};
use crate::error::Error;
use crate::io::Io;
use crate::log::PartitionLog;
use crate::ops::Op;
use crate::segment::{Phase, Segment};
use crate::shard::{Shard, Slot};

/// Most segments of which times are asked of the files thread at once.
const TIMES_AT_ONCE: usize = 256;

impl Shard {
    /// Hands the dirtiest partitions to the cleaner, as long as it has threads for them.
    pub(super) fn look_for_dirt(&mut self, io: &dyn Io) {
        let Some(crew) = self.cleaning.crew.clone() else {
            return;
        };
        if self.stopping || self.journal.failure().is_some() {
            return crew.leave(self.config.core);
        }
        let mut due = self.due(io);
        due.sort_by(|a, b| a.1.ratio.total_cmp(&b.1.ratio));
        while let Some((slot, plan)) = due.pop() {
            if !crew.take(self.config.core) {
                self.cleaning.waits = true;
                self.cleaning.look_at = Some(io.now() + TURN_PAUSE);
                return;
            }
            self.cleaning.waits = false;
            match self.order(io, slot, plan) {
                Some((token, order)) => {
                    let (inbox, waker) = (&self.cleaning.inbox, io.waker());
                    crew.cleaners.submit(token, order, inbox, Some(waker));
                }
                // Looked at again when what is missing is known.
                None => crew.give_back(),
            }
        }
        if std::mem::take(&mut self.cleaning.waits) {
            crew.leave(self.config.core);
        }
    }

    /// The partitions that need cleaning. Of others that may it is asked what is to be known.
    fn due(&mut self, io: &dyn Io) -> Vec<(Slot, Plan)> {
        let (now, now_ms) = (io.now(), io.wall_ms());
        let mut due = Vec::new();
        for slot in (0..self.logs.len() as u32).map(Slot) {
            let Some(log) = self.log(slot) else { continue };
            let Some(rules) = log.options.compaction else {
                continue;
            };
            let may = !log.cleaning.is_uncleanable
                && log.cleaning.not_before.is_none_or(|at| now >= at)
                && !log.flush.failed
                && !self.handovers.holds(slot)
                && !self.cleaning.has(slot)
                && !self.cleaning.asking.contains(&slot);
            if !may {
                continue;
            }
            let segments: Vec<Candidate> = log.state.segments.iter().map(candidate).collect();
            let situation = situation(log, &segments, now_ms);
            let checkpointed_base = log.cleaning.checkpointed_base;
            let need = match look(&situation, &rules) {
                // Until then a power cut may bring back what was deleted from the front, without what this pass would take away of it.
                Need::Pass(_) if log.cleaning.checkpointed_start < log.state.log_start_offset => {
                    self.want_checkpoint_of(slot);
                    continue;
                }
                // More of it could be, were there a checkpoint. While something is appended all the time none is made for long.
                Need::Pass(plan) if plan.first_uncleanable_offset > checkpointed_base => {
                    self.want_checkpoint_of(slot);
                    let first_busy_offset = situation.first_busy_offset.min(checkpointed_base);
                    look(
                        &Situation {
                            first_busy_offset,
                            ..situation
                        },
                        &rules,
                    )
                }
                need => need,
            };
            match need {
                Need::Nothing => {}
                Need::Pass(plan) => due.push((slot, plan)),
                Need::NewestFrom(base) => self.ask_newest(io, slot, base),
                Need::FirstFrom(base) => self.ask_firsts(io, slot, base),
            }
        }
        due
    }

    /// A partition that has come from another core may not have changed since, and would be left out.
    fn want_checkpoint_of(&mut self, slot: Slot) {
        if let Some(log) = self.log_mut(slot) {
            log.dirty = true;
        }
        self.checkpointer.want();
    }

    fn ask_newest(&mut self, io: &dyn Io, slot: Slot, base: i64) {
        let Some(log) = self.log(slot) else { return };
        let segments = wanted(log, base, |s| s.newest_ms.is_none());
        let job = FileJob::NewestTimes {
            folder: log.folder.clone(),
            segments: segments.map(|s| (s.base_offset, s.size_bytes)).collect(),
            interval_bytes: log.options.index_interval_bytes,
        };
        self.ask(io, slot, job);
    }

    fn ask_firsts(&mut self, io: &dyn Io, slot: Slot, base: i64) {
        let Some(log) = self.log(slot) else { return };
        let segments = wanted(log, base, |s| s.first_timestamp_ms.is_none());
        let job = FileJob::FirstTimes {
            folder: log.folder.clone(),
            segments: segments.map(|s| s.base_offset).collect(),
        };
        self.ask(io, slot, job);
    }

    fn ask(&mut self, io: &dyn Io, slot: Slot, job: FileJob) {
        self.cleaning.asking.insert(slot);
        let token = self.ops.start(Op::CleanTimes(slot));
        self.submit_job(io, token, job);
    }

    /// The files thread has looked.
    pub(in crate::shard) fn clean_times_known(
        &mut self,
        io: &dyn Io,
        slot: Slot,
        result: Result<JobOutput, Error>,
    ) {
        self.cleaning.asking.remove(&slot);
        let Some(log) = self.log_mut(slot) else { return };
        match result {
            Ok(JobOutput::Newest(found)) => {
                for (base, newest_ms) in found {
                    if let Some(segment) = log.state.segment_mut(base) {
                        segment.newest_ms = Some(newest_ms);
                    }
                }
            }
            Ok(JobOutput::Firsts(found)) => {
                for (base, first_ms) in found {
                    if let Some(segment) = log.state.segment_mut(base) {
                        segment.first_timestamp_ms = Some(first_ms);
                    }
                }
            }
            Ok(_) => return,
            Err(error) => return self.pass_failed(io, slot, &error),
        }
        self.cleaning.look_at = Some(io.now());
    }

    /// What the cleaner is to do. `None` where something must be read for it first.
    fn order(&mut self, io: &dyn Io, slot: Slot, plan: Plan) -> Option<(u64, CleanOrder)> {
        let later_aborted = match self.later_aborted(slot, plan.first_uncleanable_offset) {
            Ok(later) => later,
            Err((base, count)) => {
                self.ask_aborted(io, slot, base, count);
                return None;
            }
        };
        let log = self.log(slot)?;
        let rules = log.options.compaction?;
        let segments: Vec<CleanSegment> = log
            .state
            .segments
            .iter()
            .filter(|s| s.base_offset < plan.first_uncleanable_offset)
            .map(|s| CleanSegment {
                base_offset: s.base_offset,
                size_bytes: s.size_bytes,
                aborted: s.aborted.count(),
            })
            .collect();
        let cancelled = Arc::new(AtomicBool::new(false));
        let order = CleanOrder {
            folder: log.folder.clone(),
            log_start_offset: log.state.log_start_offset,
            first_dirty_offset: plan.first_dirty_offset,
            first_uncleanable_offset: plan.first_uncleanable_offset,
            limits: limits(log, &rules),
            now_ms: io.wall_ms(),
            last_batches: log.state.producers.last_batches(),
            later_aborted,
            cancelled: cancelled.clone(),
            segments,
        };
        self.cleaning.next_number += 1;
        let number = self.cleaning.next_number;
        self.cleaning.passes.push(Pass {
            number,
            slot,
            folder: order.folder.clone(),
            cancelled,
            begun: io.now(),
            first_dirty_offset: order.first_dirty_offset,
            segments: order.segments.clone(),
            stage: Stage::Cleaning,
        });
        Some((number, order))
    }

    /// The aborted transactions that began before this offset and have their markers behind it; or the segment of which so many entries must be read.
    fn later_aborted(&self, slot: Slot, end: i64) -> Result<Vec<AbortedTxn>, (i64, u32)> {
        let mut later = Vec::new();
        let segments = self.log(slot).into_iter().flat_map(|log| &log.state.segments);
        for segment in segments.filter(|s| s.base_offset >= end && !s.aborted.is_empty()) {
            if let Some(count) = segment.aborted.missing_for(end) {
                return Err((segment.base_offset, count));
            }
            if segment.aborted.collect(i64::MIN, end, &mut later) {
                break;
            }
        }
        Ok(later)
    }

    fn ask_aborted(&mut self, io: &dyn Io, slot: Slot, base: i64, count: u32) {
        let Some(log) = self.log(slot) else { return };
        let Some(segment) = log.state.segment(base) else {
            return;
        };
        let job = FileJob::LoadAborted {
            folder: log.folder.clone(),
            base_offset: base,
            size_bytes: segment.size_bytes,
            count,
            is_first: log.state.segments.front().is_some_and(|s| s.base_offset == base),
        };
        self.cleaning.asking.insert(slot);
        let token = self.ops.start(Op::CleanAborted(slot, base));
        self.submit_job(io, token, job);
    }

    /// A segment's aborted transactions are read.
    pub(in crate::shard) fn clean_aborted_known(
        &mut self,
        io: &dyn Io,
        slot: Slot,
        base: i64,
        result: Result<JobOutput, Error>,
    ) {
        self.cleaning.asking.remove(&slot);
        match result {
            Ok(JobOutput::Aborted(entries)) => {
                if let Some(segment) = self.log_mut(slot).and_then(|l| l.state.segment_mut(base)) {
                    segment.aborted.put_back(entries);
                }
                // Before others can make it forgotten again.
                self.look_for_dirt(io);
                self.note_aborted(slot, base);
            }
            Ok(_) => {}
            Err(error) => self.pass_failed(io, slot, &error),
        }
    }
}

fn candidate(segment: &Segment) -> Candidate {
    Candidate {
        base_offset: segment.base_offset,
        size_bytes: segment.size_bytes,
        newest_ms: segment.largest_timestamp_ms().or(segment.newest_ms),
        first_ms: segment.first_timestamp_ms,
    }
}

fn situation<'a>(log: &PartitionLog, segments: &'a [Candidate], now_ms: i64) -> Situation<'a> {
    let state = &log.state;
    let unsealed = state.segments.iter().find(|s| s.phase != Phase::Sealed);
    let first_unsealed = unsealed.map_or(i64::MAX, |s| s.base_offset);
    Situation {
        segments,
        log_start_offset: state.log_start_offset,
        end_offset: state.end_offset,
        last_stable_offset: log.last_stable_offset(),
        first_busy_offset: first_unsealed,
        cleaned_to: state.cleaned_to,
        now_ms,
    }
}

fn limits(log: &PartitionLog, rules: &Compaction) -> CleanLimits {
    CleanLimits {
        segment_bytes: log.options.segment_bytes,
        index_max_bytes: log.options.index_max_bytes,
        index_interval_bytes: log.options.index_interval_bytes,
        max_message_bytes: log.options.max_message_bytes,
        delete_retention_ms: rules.delete_retention_ms,
    }
}

/// The sealed segments from this one on of which something is not known.
fn wanted<'a>(
    log: &'a PartitionLog,
    base: i64,
    is_unknown: impl Fn(&Segment) -> bool + 'a,
) -> impl Iterator<Item = &'a Segment> {
    let sealed = log.state.segments.iter().filter(|s| s.phase == Phase::Sealed);
    let from = sealed.filter(move |s| s.base_offset >= base && s.size_bytes > 0);
    from.filter(move |s| is_unknown(s)).take(TIMES_AT_ONCE)
}
