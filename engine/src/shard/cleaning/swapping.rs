//! What a pass has written takes the place of the old segments, group by group. The files are [`crate::background::swap`]'s; here is what is in memory
//! of them, and who must not read meanwhile.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{RETRY, Stage, said};
use crate::background::swap::replaced;
use crate::background::{FileJob, JobOutput};
use crate::cleaner::{CleanDone, Cleaned};
use crate::error::Error;
use crate::io::Io;
use crate::ops::Op;
use crate::segment::{Handle, Segment};
use crate::shard::{Shard, ShardEvent, Slot, open_file};
use crate::tail::Place;

/// How long new reads of the old segments wait for those under way to end, before they are let in again.
const DRAIN_FOR: Duration = Duration::from_secs(1);
/// How long after that, or after a failure, it is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// The groups of a pass on their way to their places.
pub(super) struct Swapping {
    /// The first of them is under way.
    groups: VecDeque<Cleaned>,
    done: Box<CleanDone>,
    step: Step,
}

enum Step {
    /// The files thread gives it the names of what is complete.
    Preparing,
    /// Reads of the old segments come to their ends, and no new ones begin, until then.
    Draining(Instant),
    /// Reads go on, until then.
    Resting(Instant),
    /// The files thread exchanges the files.
    Exchanging,
    /// That failed. Nobody can read the group before it succeeds.
    Failed(Instant, String),
}

impl Swapping {
    /// When it goes on though nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.step {
            Step::Draining(until) | Step::Resting(until) | Step::Failed(until, _) => Some(until),
            Step::Preparing | Step::Exchanging => None,
        }
    }

    /// Base offset of the last of the segments that cannot be read now, and why if that is not soon over.
    fn held_to(&self) -> Option<(i64, Option<&str>)> {
        let last = *self.groups.front()?.replaces.last()?;
        match &self.step {
            Step::Preparing | Step::Resting(_) => None,
            Step::Draining(_) | Step::Exchanging => Some((last, None)),
            Step::Failed(_, why) => Some((last, Some(why))),
        }
    }
}

impl super::Cleaning {
    /// Whether reads of this segment of the partition have to wait, and why they cannot where that is not soon over.
    pub(crate) fn holds(&self, slot: Slot, base: i64) -> Option<Option<&str>> {
        let held = self.passes.iter().filter(|pass| pass.slot == slot);
        let mut held = held.filter_map(|pass| match &pass.stage {
            Stage::Swapping(swapping) => swapping.held_to(),
            _ => None,
        });
        held.find(|(last, _)| base <= *last).map(|(_, why)| why)
    }

    /// The pass, if its groups are on their way.
    fn swapping(&mut self, number: u64) -> Option<(Slot, PathBuf, &mut Swapping)> {
        let pass = self.pass_mut(number)?;
        match &mut pass.stage {
            Stage::Swapping(swapping) => Some((pass.slot, pass.folder.clone(), swapping)),
            _ => None,
        }
    }
}

impl Shard {
    /// The pass is made.
    pub(super) fn begin_swapping(&mut self, io: &dyn Io, number: u64, done: CleanDone) {
        let Some(pass) = self.cleaning.pass_mut(number) else {
            return;
        };
        pass.stage = Stage::Swapping(Swapping {
            groups: done.groups.iter().cloned().collect(),
            done: Box::new(done),
            step: Step::Preparing,
        });
        self.next_group(io, number);
    }

    /// Goes on with the group that is first now, or ends the pass.
    fn next_group(&mut self, io: &dyn Io, number: u64) {
        let Some(pass) = self.cleaning.pass_mut(number) else {
            return;
        };
        let (slot, folder, first_dirty) = (pass.slot, pass.folder.clone(), pass.first_dirty_offset);
        let is_cancelled = pass.is_cancelled();
        let Stage::Swapping(swapping) = &mut pass.stage else {
            return;
        };
        let bases = swapping.groups.iter().filter_map(|group| group.replaces.first());
        let bases: Vec<i64> = bases.copied().collect();
        let Some(&base_offset) = bases.first() else {
            return self.note_cleaned(io, number);
        };
        if is_cancelled {
            return self.drop_cleaned(io, number, folder, bases);
        }
        swapping.step = Step::Preparing;
        let has_aborted = swapping.groups.front().is_some_and(|group| group.aborted > 0);
        let is_first_ever = self.log(slot).is_some_and(|log| log.state.cleaned_to.is_none());
        let job = FileJob::PrepareSwap {
            folder,
            base_offset,
            has_aborted,
            cleaned_to: is_first_ever.then_some(first_dirty),
        };
        let token = self.ops.start(Op::PrepareSwap(number));
        self.submit_job(io, token, job);
    }

    /// What was written has the names of what is complete.
    pub(in crate::shard) fn swap_prepared(
        &mut self,
        io: &mut dyn Io,
        number: u64,
        result: Result<JobOutput, Error>,
    ) {
        let until = io.now() + DRAIN_FOR;
        let Some(pass) = self.cleaning.pass_mut(number) else {
            return;
        };
        let (slot, folder, first_dirty) = (pass.slot, pass.folder.clone(), pass.first_dirty_offset);
        let Stage::Swapping(swapping) = &mut pass.stage else {
            return;
        };
        match result {
            Ok(_) => {
                swapping.step = Step::Draining(until);
                if let Some(log) = self.log_mut(slot) {
                    log.state.cleaned_to.get_or_insert(first_dirty);
                }
                self.run_swaps(io);
            }
            Err(error) if is_sync(&error) => self.swap_lost(&error),
            Err(error) => {
                let bases = swapping.groups.iter().filter_map(|group| group.replaces.first());
                let bases = bases.copied().collect();
                self.pass_failed(io, slot, &error);
                self.drop_cleaned(io, number, folder, bases);
            }
        }
    }

    /// Goes on with groups whose old segments nobody reads any more.
    pub(super) fn run_swaps(&mut self, io: &mut dyn Io) {
        let now = io.now();
        let numbers: Vec<u64> = self.cleaning.passes.iter().map(|pass| pass.number).collect();
        for number in numbers {
            let Some((slot, _, swapping)) = self.cleaning.swapping(number) else {
                continue;
            };
            let Some(group) = swapping.groups.front().cloned() else {
                continue;
            };
            match &swapping.step {
                Step::Resting(until) if now >= *until => {
                    swapping.step = Step::Draining(now + DRAIN_FOR);
                    self.try_exchange(io, number, slot, &group);
                }
                Step::Failed(until, _) if now >= *until => self.exchange(io, number, slot, &group),
                Step::Draining(_) => self.try_exchange(io, number, slot, &group),
                _ => {}
            }
        }
    }

    fn try_exchange(&mut self, io: &mut dyn Io, number: u64, slot: Slot, group: &Cleaned) {
        let last = group.replaces.last().copied().unwrap_or_default();
        self.reads.give_up_unbegun(slot, last);
        if !self.reads.has_any_to(slot, last) && !self.searches.has_any_of(slot) {
            return self.exchange(io, number, slot, group);
        }
        let now = io.now();
        if let Some((_, _, swapping)) = self.cleaning.swapping(number)
            && matches!(swapping.step, Step::Draining(until) if now >= until)
        {
            swapping.step = Step::Resting(now + PAUSE);
            self.go_on_parked(io, slot);
        }
    }

    /// Nobody reads the old segments: the files thread may exchange them.
    fn exchange(&mut self, io: &mut dyn Io, number: u64, slot: Slot, group: &Cleaned) {
        let Some(log) = self.logs.get_mut(slot.0 as usize).and_then(Option::as_mut) else {
            return;
        };
        for base in &group.replaces {
            if let Some(segment) = log.state.segment_mut(*base)
                && let Some(file) = open_file(std::mem::take(&mut segment.handle))
            {
                io.close(file);
            }
        }
        let Some((_, folder, swapping)) = self.cleaning.swapping(number) else {
            return;
        };
        swapping.step = Step::Exchanging;
        let job = FileJob::Swap {
            folder,
            replaces: group.replaces.clone(),
        };
        let token = self.ops.start(Op::Swap(number));
        self.submit_job(io, token, job);
    }

    /// The files are exchanged.
    pub(in crate::shard) fn swapped(
        &mut self,
        io: &mut dyn Io,
        number: u64,
        result: Result<JobOutput, Error>,
    ) {
        let retry_at = io.now() + PAUSE;
        let Some((slot, folder, swapping)) = self.cleaning.swapping(number) else {
            return;
        };
        match result {
            Ok(_) => {
                let Some(group) = swapping.groups.pop_front() else {
                    return;
                };
                // For the time until the next one is under way nobody is kept from reading.
                swapping.step = Step::Preparing;
                self.exchanged(slot, &group);
                let files = group
                    .replaces
                    .iter()
                    .map(|base| replaced(&folder, *base))
                    .collect();
                let log = self.log(slot);
                let delay = log.map_or(Duration::ZERO, |log| log.options.file_delete_delay);
                let token = self.ops.start(Op::RemoveFiles);
                self.submit_job(io, token, FileJob::RemoveFiles { files, delay });
                self.go_on_parked(io, slot);
                self.next_group(io, number);
            }
            Err(error) if is_sync(&error) => self.swap_lost(&error),
            Err(error) => {
                let why = error.to_string();
                let is_told = matches!(swapping.step, Step::Failed(..));
                swapping.step = Step::Failed(retry_at, why.clone());
                if !is_told && let Some(log) = self.log(slot) {
                    let name = &log.state.name;
                    let line = format!("{name} cannot be read in part before this succeeds: {why}");
                    self.events.push(ShardEvent::Notice(line));
                }
                if error.is_disk_full() {
                    self.give_spare_back(io);
                }
                self.go_on_parked(io, slot);
            }
        }
    }

    /// What is in memory of the old segments goes, and the new one is there.
    fn exchanged(&mut self, slot: Slot, group: &Cleaned) {
        let is_old = |base: i64| group.replaces.binary_search(&base).is_ok();
        self.forget_chunks(|key| key.slot == slot && is_old(key.segment_base));
        let Some(log) = self.log_mut(slot) else { return };
        let Some(&base_offset) = group.replaces.first() else {
            return;
        };
        let segments = &mut log.state.segments;
        let at = segments.partition_point(|s| s.base_offset < base_offset);
        segments.retain(|s| !is_old(s.base_offset));
        let new = Segment {
            newest_ms: group.largest_timestamp_ms.filter(|ms| *ms >= 0),
            handle: Handle::Closed,
            ..Segment::sealed(base_offset, group.size_bytes, group.aborted)
        };
        segments.insert(at, new);
        log.cursors.forget(is_old);
        if let Some(behind) = segments.get(at + 1) {
            let behind = Place {
                segment_base: behind.base_offset,
                position: 0,
            };
            log.tail.forget_before(behind);
            // All of it was committed.
            log.committed = log.committed.max(behind);
        }
        // Where it was damaged before it is not any more: a pass reads all of it.
        log.damaged = None;
        self.events.push(ShardEvent::Shortened(slot));
    }

    /// All groups are in their places: up to where the partition is clean is written down.
    fn note_cleaned(&mut self, io: &dyn Io, number: u64) {
        let Some(pass) = self.cleaning.pass_mut(number) else {
            return;
        };
        let folder = pass.folder.clone();
        let stage = std::mem::replace(&mut pass.stage, Stage::Dropping);
        let Stage::Swapping(Swapping { done, .. }) = stage else {
            return;
        };
        let cleaned_to = done.cleaned_to;
        pass.stage = Stage::Noting(done);
        let token = self.ops.start(Op::NoteCleaned(number));
        self.submit_job(io, token, FileJob::NoteCleaned { folder, cleaned_to });
    }

    /// It is written down, or will be after the next pass.
    pub(in crate::shard) fn cleaned_noted(
        &mut self,
        io: &dyn Io,
        number: u64,
        result: Result<JobOutput, Error>,
    ) {
        let Some(pass) = self.cleaning.pass_mut(number) else {
            return;
        };
        let (slot, took) = (pass.slot, io.now().saturating_duration_since(pass.begun));
        let (before, first_dirty) = (std::mem::take(&mut pass.segments), pass.first_dirty_offset);
        let Stage::Noting(done) = std::mem::replace(&mut pass.stage, Stage::Dropping) else {
            return;
        };
        self.note_error("the cleaner's checkpoint stays as it is", result);
        self.cleaning.told_full = false;
        if let Some(log) = self.log_mut(slot) {
            log.state.cleaned_to = Some(done.cleaned_to);
            if done.cleaned_to <= first_dirty {
                // Nothing was gained, and would not be at once.
                log.cleaning.not_before = Some(io.now() + RETRY);
            }
            let line = said(&log.state.name, &before, &done, took);
            self.events.push(ShardEvent::Info(line));
        }
        self.pass_over(io, number);
    }

    /// Has what was written removed, then the pass is over.
    pub(super) fn drop_cleaned(&mut self, io: &dyn Io, number: u64, folder: PathBuf, base_offsets: Vec<i64>) {
        if let Some(pass) = self.cleaning.pass_mut(number) {
            pass.stage = Stage::Dropping;
        }
        if base_offsets.is_empty() {
            return self.pass_over(io, number);
        }
        let token = self.ops.start(Op::DropCleaned(number));
        self.submit_job(io, token, FileJob::DropCleaned { folder, base_offsets });
    }

    /// It is gone; what is not goes with the next start.
    pub(in crate::shard) fn cleaned_dropped(
        &mut self,
        io: &dyn Io,
        number: u64,
        result: Result<JobOutput, Error>,
    ) {
        self.note_error("what a pass of the cleaner wrote stays", result);
        self.pass_over(io, number);
    }

    /// Which files a start finds is not known: nothing more is acknowledged.
    fn swap_lost(&mut self, error: &Error) {
        let reason = format!("cleaned segments cannot be put in their places: {error}");
        self.journal.fail(reason.clone());
        self.events.push(ShardEvent::Failed(reason));
    }
}

/// Whether a sync has failed: what the disk holds is not known then.
fn is_sync(error: &Error) -> bool {
    matches!(
        error,
        Error::Io {
            operation: "sync",
            ..
        }
    )
}
