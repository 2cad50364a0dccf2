//! Cleaning by key: which partition is next ([`look`]), the pass, which the cleaner's threads make beside the cores, and how what they wrote takes the
//! place of the old segments ([`swapping`]).
//!
//! ```text
//!   check_cleaning ─▶ the dirtiest ─▶ cleaner's thread ─▶ for each group:  prepare ─▶ no reader in the old segments ─▶ exchange ─▶ note ─▶ look again
//!                         ▲  │ how old?                                    (files thread)    others wait               (files thread)
//!                         └──┴─▶ files thread
//! ```
//!
//! A partition that is being cleaned is not deleted from: retention looks at it again when the pass is over. One that leaves for another core, is
//! removed, or is not to be cleaned any more cancels its pass; what was prepared is brought to its end first.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Shard, ShardEvent, Slot};
use crate::cleaner::{CleanDone, CleanError, CleanInbox, CleanSegment, Crew};
use crate::error::Error;
use crate::io::Io;

mod look;
mod parked;
mod swapping;

pub(crate) use parked::Question;
use swapping::Swapping;

/// How soon a core that waits for a thread of the cleaner asks again.
const TURN_PAUSE: Duration = Duration::from_millis(200);
/// How long a partition is left alone when a pass could not be made for now.
const RETRY: Duration = Duration::from_secs(15);

/// A partition that is being cleaned.
struct Pass {
    /// Never used again.
    number: u64,
    slot: Slot,
    folder: PathBuf,
    cancelled: Arc<AtomicBool>,
    begun: Instant,
    first_dirty_offset: i64,
    /// What it reads.
    segments: Vec<CleanSegment>,
    stage: Stage,
}

enum Stage {
    /// A thread of the cleaner has it.
    Cleaning,
    Swapping(Swapping),
    /// What was written is being removed.
    Dropping,
    /// Up to where it is clean is being written down.
    Noting(Box<CleanDone>),
}

impl Pass {
    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

/// What of a shard is being cleaned.
#[derive(Default)]
pub(crate) struct Cleaning {
    crew: Option<Crew>,
    inbox: CleanInbox,
    passes: Vec<Pass>,
    next_number: u64,
    /// When to look for something to clean.
    look_at: Option<Instant>,
    /// Partitions of whose segments something is being asked.
    asking: HashSet<Slot>,
    /// The core waits for a thread.
    waits: bool,
    /// A full disk was told of.
    told_full: bool,
    parked: parked::Parked,
}

impl Cleaning {
    /// Whether the partition is being cleaned.
    pub(crate) fn has(&self, slot: Slot) -> bool {
        self.passes.iter().any(|pass| pass.slot == slot)
    }

    /// Whether nothing is.
    pub(crate) fn is_idle(&self) -> bool {
        self.passes.is_empty()
    }

    /// Whether a pass has ended since the last tick.
    pub(super) fn has_mail(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// When it goes on though nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let passes = self.passes.iter().filter_map(|pass| match &pass.stage {
            Stage::Swapping(swapping) => swapping.deadline(),
            _ => None,
        });
        passes.chain(self.look_at).min()
    }

    fn pass_mut(&mut self, number: u64) -> Option<&mut Pass> {
        self.passes.iter_mut().find(|pass| pass.number == number)
    }

    /// The partition's pass, if there is one, is to end soon.
    fn cancel(&self, slot: Slot) {
        let of_slot = self.passes.iter().filter(|pass| pass.slot == slot);
        of_slot.for_each(|pass| pass.cancelled.store(true, Ordering::Relaxed));
    }
}

impl Shard {
    /// Has this crew clean what is to be cleaned. Without one nothing is.
    pub fn set_crew(&mut self, crew: Crew) {
        self.cleaning.crew = Some(crew);
    }

    /// Whether the partition is being cleaned: nothing is deleted from it meanwhile.
    pub fn is_cleaning(&self, slot: Slot) -> bool {
        self.cleaning.has(slot)
    }

    /// Looks for partitions to clean, in the turns that follow. To be called from time to time; after a pass the shard looks by itself.
    pub fn check_cleaning(&mut self, io: &dyn Io) {
        self.cleaning.look_at = Some(io.now());
    }

    /// To be called once a turn.
    pub(super) fn run_cleaning(&mut self, io: &mut dyn Io) {
        while let Some(report) = self.cleaning.inbox.pop() {
            if let Some(crew) = &self.cleaning.crew {
                crew.give_back();
            }
            self.pass_made(io, report.token, report.result);
        }
        self.run_swaps(io);
        if self.cleaning.look_at.is_some_and(|at| io.now() >= at) {
            self.cleaning.look_at = None;
            self.look_for_dirt(io);
        }
    }

    /// The partition is not to be cleaned now: its pass, if there is one, ends soon.
    pub(crate) fn cancel_cleaning(&mut self, slot: Slot) {
        self.cleaning.cancel(slot);
    }

    /// All passes end soon, and none begins.
    pub(crate) fn stop_cleaning(&mut self) {
        self.cleaning.look_at = None;
        if let Some(crew) = &self.cleaning.crew {
            crew.leave(self.config.core);
        }
        let passes = self.cleaning.passes.iter();
        passes.for_each(|pass| pass.cancelled.store(true, Ordering::Relaxed));
    }

    /// The partition is closed. What a thread of the cleaner still writes of it goes with its folder.
    pub(super) fn forget_cleaning(&mut self, slot: Slot) {
        self.cleaning.cancel(slot);
        self.cleaning.asking.remove(&slot);
        let is_made = |pass: &Pass| pass.slot == slot && !matches!(pass.stage, Stage::Cleaning);
        self.cleaning.passes.retain(|pass| !is_made(pass));
        self.refuse_parked(slot);
    }

    /// A thread of the cleaner is done with a pass.
    fn pass_made(&mut self, io: &mut dyn Io, number: u64, result: Result<CleanDone, CleanError>) {
        let Some(pass) = self.cleaning.pass_mut(number) else {
            return;
        };
        let (slot, folder) = (pass.slot, pass.folder.clone());
        let is_wanted = !pass.is_cancelled();
        if self.log(slot).is_none() {
            // Of a partition that has its name by now there is nothing to remove: it has not been cleaned.
            return self.pass_over(io, number);
        }
        match result {
            Ok(done) if is_wanted => self.begin_swapping(io, number, done),
            Ok(done) => {
                let base_offsets = done.groups.iter().filter_map(|group| group.replaces.first());
                let base_offsets = base_offsets.copied().collect();
                self.drop_cleaned(io, number, folder, base_offsets);
            }
            Err(CleanError::Cancelled) => self.pass_over(io, number),
            Err(CleanError::Failed(error)) => {
                self.pass_failed(io, slot, &error);
                self.pass_over(io, number);
            }
        }
    }

    /// A full disk, or one that has no more files to give, passes; anything else keeps the partition from being cleaned until the next start, as in
    /// Kafka.
    fn pass_failed(&mut self, io: &dyn Io, slot: Slot, error: &Error) {
        let is_full = error.is_disk_full();
        let retry_at = io.now() + RETRY;
        let Some(log) = self.log_mut(slot) else { return };
        let name = log.state.name.clone();
        if is_full || is_passing(error) {
            log.cleaning.not_before = Some(retry_at);
            if is_full {
                self.give_spare_back(io);
            }
            if !std::mem::replace(&mut self.cleaning.told_full, true) {
                let line =
                    format!("{name} is not cleaned for now, and its segments stay as they are: {error}");
                self.events.push(ShardEvent::Notice(line));
            }
            return;
        }
        log.cleaning.is_uncleanable = true;
        let line = format!("{name} is not cleaned any more before the next start: {error}");
        self.events.push(ShardEvent::Notice(line));
    }

    /// Nothing is under way for the partition any more.
    fn pass_over(&mut self, io: &dyn Io, number: u64) {
        let Some(at) = self.cleaning.passes.iter().position(|pass| pass.number == number) else {
            return;
        };
        let slot = self.cleaning.passes.swap_remove(at).slot;
        if self.log(slot).is_some() {
            self.remove_old_segments(slot);
            self.look_at_retention_of(slot);
        }
        if !self.stopping {
            self.cleaning.look_at = Some(io.now());
        }
    }
}

/// What a pass has done, for the log. `before`: the segments that it read.
fn said(name: &str, before: &[CleanSegment], done: &CleanDone, took: Duration) -> String {
    let is_replaced = |base: &i64| {
        done.groups
            .iter()
            .any(|group| group.replaces.binary_search(base).is_ok())
    };
    let kept = before.iter().filter(|s| !is_replaced(&s.base_offset));
    let kept: Vec<u64> = kept.map(|s| s.size_bytes).collect();
    let new: u64 = done.groups.iter().map(|group| group.size_bytes).sum();
    let (left, segments) = (kept.iter().sum::<u64>() + new, kept.len() + done.groups.len());
    let (bytes, stats) = (before.iter().map(|s| s.size_bytes).sum::<u64>(), &done.stats);
    format!(
        "{name} is clean up to offset {}: {bytes} bytes in {} segments have become {left} in {segments}, with {} of {} records, in {} ms",
        done.cleaned_to,
        before.len(),
        stats.records_kept,
        stats.records_read,
        took.as_millis()
    )
}

/// Whether the system was short of something that comes back.
fn is_passing(error: &Error) -> bool {
    let Error::Io { source, .. } = error else {
        return false;
    };
    matches!(
        source.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM)
    )
}
