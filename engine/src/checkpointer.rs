//! Checkpoints: from time to time everything appended so far is brought to the segment files and synced, and a small file says so.
//! Then the journal's frames before that point are free, and a restart replays only what came after.
//!
//! ```text
//!   begin: note every partition's end ─▶ flush, sync, extend indexes ─▶ replace ringlog-checkpoint-<core> ─▶ free the frames
//! ```
//!
//! Appends go on meanwhile. What a partition looked like at the beginning is encoded then ([`states`]); a partition that has not
//! changed since its last checkpoint keeps its bytes.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::background::{FileJob, JobOutput};
use crate::error::Error;
use crate::io::Io;
use crate::journal::states;
use crate::ops::Op;
use crate::shard::{Shard, ShardEvent, Slot, Ticket};
use crate::tail::Place;

/// How long after a failed checkpoint the next one may begin.
const RETRY: Duration = Duration::from_millis(500);

enum Stage {
    Idle,
    /// Partitions whose bytes are not all on disk yet, with the end they are waited for.
    Flushing {
        start: Ticket,
        waiting: HashMap<Slot, Place>,
        indexes: HashSet<Slot>,
    },
    /// The file is being replaced.
    Writing {
        start: Ticket,
    },
}

/// See the module's text.
pub struct Checkpointer {
    stage: Stage,
    /// When something was appended last, if no checkpoint began since.
    appended: Option<Instant>,
    hurried: bool,
    not_before: Option<Instant>,
    /// Counts checkpoints begun: what comes back late from one that was abandoned is told from the one under way.
    number: u64,
    /// Something besides appends waits for a checkpoint.
    wanted: bool,
    /// The last attempt found the disk full.
    disk_full: bool,
}

impl Default for Checkpointer {
    fn default() -> Checkpointer {
        Checkpointer {
            stage: Stage::Idle,
            appended: None,
            hurried: false,
            not_before: None,
            number: 0,
            wanted: false,
            disk_full: false,
        }
    }
}

impl Checkpointer {
    /// Something was appended: sooner or later a checkpoint is due.
    pub fn note_append(&mut self, now: Instant) {
        self.appended = Some(now);
    }

    /// Begin as soon as possible: journal or memory are short.
    pub fn hurry(&mut self) {
        self.hurried = true;
    }

    /// Files wait to be removed after the next one.
    pub fn want(&mut self) {
        self.wanted = true;
        self.hurried = true;
    }

    /// The number of the next one to begin.
    pub fn next_number(&self) -> u64 {
        self.number + 1
    }

    /// The number of the first one that has all partitions that are open now.
    pub fn next_with_all(&self) -> u64 {
        match self.stage {
            Stage::Flushing { .. } => self.number,
            Stage::Idle | Stage::Writing { .. } => self.number + 1,
        }
    }

    /// Whether the last attempt found the disk full.
    pub fn is_disk_full(&self) -> bool {
        self.disk_full
    }

    /// Whether one is under way.
    pub fn is_running(&self) -> bool {
        !matches!(self.stage, Stage::Idle)
    }

    /// Nobody waits for this partition any more.
    pub fn forget(&mut self, slot: Slot) {
        if let Stage::Flushing { waiting, indexes, .. } = &mut self.stage {
            waiting.remove(&slot);
            indexes.remove(&slot);
        }
    }

    /// When the next one begins if nothing is appended until then.
    pub fn deadline(&self, idle: Duration) -> Option<Instant> {
        match self.stage {
            Stage::Idle => self
                .appended
                .map(|at| if self.hurried { at } else { at + idle })
                .map(|at| at.max(self.not_before.unwrap_or(at))),
            _ => None,
        }
    }

    fn is_due(&self, now: Instant, idle: Duration, journal_crowded: bool, starved: bool) -> bool {
        let allowed = self.not_before.is_none_or(|at| now >= at);
        let wanted = journal_crowded || self.hurried || self.deadline(idle).is_some_and(|at| now >= at);
        let needed = self.appended.is_some() || self.wanted || starved;
        matches!(self.stage, Stage::Idle) && allowed && needed && wanted
    }
}

impl Shard {
    /// Begins a checkpoint when one is due, and goes on with the one under way.
    pub(crate) fn run_checkpoint(&mut self, io: &mut dyn Io) {
        let idle = Duration::from_millis(self.config.checkpoint_idle_ms);
        let space = self.journal.space();
        let crowded = space.used_bytes() > space.capacity() / 2;
        // Frames that wait for those before them to be freed: though nothing was appended since the last checkpoint.
        let starved = self.journal.is_starved() && space.used_bytes() > 0;
        let allowed = !self.stopping || starved;
        if allowed && self.checkpointer.is_due(io.now(), idle, crowded, starved) {
            self.begin_checkpoint(io);
        }
        self.finish_flushing(io);
    }

    fn begin_checkpoint(&mut self, io: &mut dyn Io) {
        let start = self.journal.checkpoint_sequence();
        self.checkpointer.appended = None;
        self.checkpointer.hurried = false;
        self.checkpointer.wanted = false;
        self.checkpointer.number += 1;
        self.stats.counters.checkpoints += 1;
        let number = self.checkpointer.number;
        let mut waiting = HashMap::new();
        let mut indexes = HashSet::new();
        for i in 0..self.logs.len() {
            let Some(log) = self.logs[i].as_mut() else {
                continue;
            };
            if !std::mem::take(&mut log.dirty) {
                continue;
            }
            let slot = Slot(i as u32);
            let base_offset = log.state.active().base_offset;
            let index = crate::flush::take_index(log.state.active_mut());
            log.checkpointed = Some(Rc::from(states::encode(&log.state)));
            log.cleaning.note_encoded(&log.state);
            let (end, folder) = (log.state.end(), log.folder.clone());
            if !is_on_disk(log, end) {
                waiting.insert(slot, end);
            }
            if !index.is_empty() {
                indexes.insert(slot);
                let token = self.ops.start(Op::ExtendIndex(slot, base_offset, number));
                self.submit_job(
                    io,
                    token,
                    FileJob::ExtendIndex {
                        folder,
                        base_offset,
                        index,
                    },
                );
            }
            self.force_flush(slot, end);
        }
        self.checkpointer.stage = Stage::Flushing {
            start,
            waiting,
            indexes,
        };
    }

    pub(crate) fn index_extended(
        &mut self,
        io: &mut dyn Io,
        slot: Slot,
        base: i64,
        number: u64,
        result: Result<JobOutput, Error>,
    ) {
        if number != self.checkpointer.number {
            return;
        }
        if let Stage::Flushing { indexes, .. } = &mut self.checkpointer.stage {
            indexes.remove(&slot);
        }
        match result {
            Ok(_) => {
                // A segment that is being sealed meanwhile has more on the way.
                if let Some(log) = self.log_mut(slot)
                    && log.state.active().base_offset == base
                {
                    log.state.active_mut().index_written();
                    crate::read::trim_aborted(log.state.active_mut());
                }
            }
            Err(e) => self.abandon_checkpoint(io, &e),
        }
    }

    /// A step of a partition's flush ended: perhaps the checkpoint need not wait for it any more.
    pub(crate) fn checkpoint_step_done(&mut self, io: &mut dyn Io, slot: Slot) {
        let log = self.logs.get(slot.0 as usize).and_then(Option::as_ref);
        if let Stage::Flushing { waiting, .. } = &mut self.checkpointer.stage
            && let Some(end) = waiting.get(&slot)
            && log.is_none_or(|l| is_on_disk(l, *end))
        {
            waiting.remove(&slot);
            self.finish_flushing(io);
        }
    }

    fn finish_flushing(&mut self, io: &mut dyn Io) {
        let Stage::Flushing {
            start,
            waiting,
            indexes,
        } = &mut self.checkpointer.stage
        else {
            return;
        };
        let start = *start;
        let ready = waiting.is_empty() && indexes.is_empty();
        if !ready {
            return;
        }
        let (start, position) = self.journal.replay_start(start);
        let parts: Vec<&[u8]> = self
            .logs
            .iter()
            .flatten()
            .filter_map(|l| l.checkpointed.as_deref())
            .chain(self.handovers.departed())
            .collect();
        let content = states::encode_file(self.journal.id(), start, position, &parts);
        let path = crate::recover::checkpoint_path(&self.config.data_dir, self.config.core);
        let token = self.ops.start(Op::Checkpoint(self.checkpointer.number));
        self.submit_job(
            io,
            token,
            FileJob::Replace {
                path,
                content,
                after_sync: self.stopping,
            },
        );
        self.checkpointer.stage = Stage::Writing { start };
    }

    pub(crate) fn checkpoint_written(
        &mut self,
        io: &mut dyn Io,
        number: u64,
        result: Result<JobOutput, Error>,
    ) {
        if number != self.checkpointer.number {
            return;
        }
        let stage = std::mem::replace(&mut self.checkpointer.stage, Stage::Idle);
        match (stage, result) {
            (Stage::Writing { start }, Ok(_)) => {
                self.journal.space_mut().release_before(start);
                if self.journal.space().used_bytes() > 0 {
                    // A frame that was being filled when this one began. Nobody need append anything for it to be freed.
                    self.checkpointer.appended.get_or_insert(io.now());
                }
                for log in self.logs.iter_mut().flatten() {
                    log.in_checkpoint |= log.checkpointed.is_some();
                    log.cleaning.note_checkpoint();
                }
                self.checkpointer.disk_full = false;
                self.remove_doomed(io, number);
                self.note_adopted(number);
                self.note_progress();
            }
            (_, Err(e)) => self.abandon_checkpoint(io, &e),
            _ => {}
        }
    }

    /// Nothing is freed; all of it is tried again later.
    fn abandon_checkpoint(&mut self, io: &mut dyn Io, e: &Error) {
        let now = io.now();
        self.give_back_arriving(io, &e.to_string());
        // Spares go first.
        let is_full = e.is_disk_full() && !self.give_spare_back(io);
        // A full disk is told once.
        if !std::mem::replace(&mut self.checkpointer.disk_full, is_full) {
            self.events
                .push(ShardEvent::Notice(format!("a checkpoint is put off: {e}")));
        }
        self.note_progress();
        self.checkpointer.stage = Stage::Idle;
        self.checkpointer.hurried = true;
        self.checkpointer.appended = Some(now);
        self.checkpointer.not_before = Some(now + RETRY);
        for log in self.logs.iter_mut().flatten() {
            log.dirty = true;
        }
    }
}

/// Whether everything before `end` is in synced files.
pub(crate) fn is_on_disk(log: &crate::log::PartitionLog, end: Place) -> bool {
    let flush = &log.flush;
    if flush.written.segment_base > end.segment_base {
        return true;
    }
    flush.written >= end && !flush.unsynced
}
