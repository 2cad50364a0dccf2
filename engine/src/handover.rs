//! A partition goes from one core's shard to another's: all of it is brought to disk, then what is in memory of it is handed over.
//!
//! ```text
//!   giver    release ─▶ committed, flushed, synced, index written, no read under way ─▶ Released ─▶ …its state stays in the
//!                                                                                      giver's checkpoints ─▶ forget_released
//!   taker                                               take_over ─▶ a checkpoint that has it ─▶ Adopted ─▶ first append
//! ```
//!
//! # After a power cut
//!
//! Recovery takes the partition from the checkpoint, of any core, that knows most of it, and passes over journal entries that lie
//! below that. So it finds the partition right as long as two things hold:
//!
//! - *Some checkpoint knows of everything that was freed in a journal.* The giver's checkpoints carry the state it gave away until
//!   the taker's has it: between the two the partition is in no shard.
//! - *No journal has an entry whose predecessor is in another one and in no segment.* The taker appends only once its own checkpoint
//!   says how far the partition is on disk. Then each entry follows from a checkpoint or from an entry of the same journal, in
//!   whatever order the journals are gone through, and however often the partition went to and fro.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::background::{FileJob, JobOutput};
use crate::error::Error;
use crate::flush::take_index;
use crate::io::Io;
use crate::journal::states;
use crate::log::{CleanState, LogState, PartitionLog};
use crate::ops::Op;
use crate::segment::{Handle, Phase};
use crate::shard::{AppendError, Doomed, LogOptions, Shard, ShardEvent, Slot, open_file};
use crate::tail::Place;

/// How long a partition may take to get ready to leave, and again to be in the taker's checkpoint. Its clients wait meanwhile, and so does
/// whoever asked for the move: a disk that does not get on with it must not keep them longer.
pub const EACH_WAY_FOR: Duration = Duration::from_secs(10);

/// A partition that is in no shard: everything of it is in synced files, and this is what was in memory besides.
pub struct Released {
    state: LogState,
    options: LogOptions,
    leader_epoch: i32,
    largest_batch_bytes: u64,
    /// The unaligned end of the active segment, and where it starts, if it was in memory.
    remainder: Option<(Place, Box<[u8]>)>,
    /// Its part of a checkpoint.
    checkpointed: Box<[u8]>,
    /// Segments below the log start whose files have to go.
    doomed: Vec<i64>,
    cleaning: CleanState,
}

impl Released {
    /// The folder's name.
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// The topic's id.
    pub fn topic_id(&self) -> [u8; 16] {
        self.state.topic_id
    }

    /// Its settings.
    pub fn options(&self) -> &LogOptions {
        &self.options
    }

    /// Next offset to be given out.
    pub fn end_offset(&self) -> i64 {
        self.state.end_offset
    }
}

impl std::fmt::Debug for Released {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Released");
        shown.field("name", &self.state.name);
        shown.field("end_offset", &self.state.end_offset);
        shown.finish_non_exhaustive()
    }
}

const TOO_LONG: &str = "the disk takes too long";

/// What of a leaving partition's index is in its files.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IndexStep {
    NotBegun,
    UnderWay,
    Written,
}

struct Leaving {
    slot: Slot,
    /// Tells this attempt from earlier ones, whose index may still be on its way.
    attempt: u64,
    index: IndexStep,
    /// When it stays after all.
    until: Instant,
}

struct Departed {
    name: String,
    topic_id: [u8; 16],
    checkpointed: Rc<[u8]>,
}

struct Arriving {
    slot: Slot,
    /// The first checkpoint that has it.
    checkpoint: u64,
    /// When it goes back.
    until: Instant,
}

/// The partitions that one shard is giving away or taking in.
#[derive(Default)]
pub(crate) struct Handovers {
    attempts: u64,
    leaving: Vec<Leaving>,
    /// Given away, and in no other core's checkpoint as far as is known.
    departed: Vec<Departed>,
    arriving: Vec<Arriving>,
}

impl Handovers {
    /// Whether nothing may be appended to the partition now.
    pub(crate) fn holds(&self, slot: Slot) -> bool {
        self.leaving.iter().any(|l| l.slot == slot) || self.arriving.iter().any(|a| a.slot == slot)
    }

    /// When somebody has taken too long.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let leaving = self.leaving.iter().map(|l| l.until);
        leaving.chain(self.arriving.iter().map(|a| a.until)).min()
    }

    /// What belongs into this shard's checkpoints though the partitions have left.
    pub(crate) fn departed(&self) -> impl Iterator<Item = &[u8]> {
        self.departed.iter().map(|d| &*d.checkpointed)
    }

    fn forget(&mut self, topic_id: [u8; 16], name: &str) {
        self.departed
            .retain(|d| (d.topic_id, d.name.as_str()) != (topic_id, name));
    }
}

impl Shard {
    /// Begins to give a partition away. Nothing is appended to it from now on; what was is committed and brought to disk, reads under
    /// way end. Then [`ShardEvent::Released`] hands it over, or [`ShardEvent::Kept`] says why it stays. The caller begins no more reads.
    ///
    /// # Errors
    /// The partition is not open, is on its way already ([`AppendError::Busy`]), or the shard can bring nothing to disk.
    pub fn release(&mut self, io: &dyn Io, slot: Slot) -> Result<(), AppendError> {
        let end = self.log(slot).ok_or(AppendError::NoSuchPartition)?.state.end();
        if self.handovers.holds(slot) {
            return Err(AppendError::Busy);
        }
        if let Some(reason) = self.why_not_released(slot) {
            return Err(AppendError::Storage(reason));
        }
        self.handovers.attempts += 1;
        self.handovers.leaving.push(Leaving {
            slot,
            attempt: self.handovers.attempts,
            index: IndexStep::NotBegun,
            until: io.now() + EACH_WAY_FOR,
        });
        self.cancel_cleaning(slot);
        self.force_flush(slot, end);
        Ok(())
    }

    /// Takes in what another shard released. It can be read at once. [`ShardEvent::Adopted`] says when it can be appended to; where no
    /// checkpoint can be written it is taken out again, with [`ShardEvent::GivenBack`].
    pub fn take_over(&mut self, io: &dyn Io, released: Released) -> Slot {
        let slot = self.take_in(io, released);
        let checkpoint = self.checkpointer.next_with_all();
        self.handovers.arriving.push(Arriving {
            slot,
            checkpoint,
            until: io.now() + EACH_WAY_FOR,
        });
        self.checkpointer.want();
        if self.stopping {
            self.close_for_stop(slot);
            self.settle_arriving();
        }
        slot
    }

    /// Takes back what this shard released, when nobody else has appended to it: its own checkpoints and journal have all of it still.
    pub fn reinstate(&mut self, io: &dyn Io, released: Released) -> Slot {
        self.handovers.forget(released.topic_id(), released.name());
        let slot = self.take_in(io, released);
        if self.stopping {
            self.close_for_stop(slot);
        }
        slot
    }

    /// Another shard's checkpoint has what this one released.
    pub fn forget_released(&mut self, topic_id: [u8; 16], name: &str) {
        self.handovers.forget(topic_id, name);
    }

    fn take_in(&mut self, io: &dyn Io, released: Released) -> Slot {
        let Released {
            state,
            options,
            leader_epoch,
            largest_batch_bytes,
            remainder,
            checkpointed,
            doomed,
            cleaning,
        } = released;
        let folder = self.config.data_dir.join(&state.name);
        let mut log = PartitionLog::new(state, folder, options, leader_epoch, io.now());
        log.largest_batch_bytes = largest_batch_bytes;
        log.checkpointed = Some(Rc::from(checkpointed));
        log.dirty = false;
        // What the giver's next checkpoint would have said is not on disk, for all this shard knows.
        log.cleaning = cleaning;
        log.cleaning.forget_encoded();
        if let Some((start, bytes)) = remainder {
            log.tail.set_remainder(start, &bytes);
        }
        self.logs.push(Some(log));
        let slot = Slot(self.logs.len() as u32 - 1);
        self.note_all_aborted(slot);
        if !doomed.is_empty() {
            self.doomed.push(Doomed {
                checkpoint: self.checkpointer.next_number(),
                slot,
                base_offsets: doomed,
            });
            self.checkpointer.want();
        }
        slot
    }

    /// Goes on with what is under way; to be called once a turn.
    pub(crate) fn run_handovers(&mut self, io: &mut dyn Io) {
        if let Some(reason) = self.journal.failure().map(str::to_owned) {
            self.give_back_arriving(io, &reason);
        }
        // Nobody knows for how long: a checkpoint waits for all partitions of the shard.
        if self.room.is_full() {
            self.give_back_arriving(io, "the disk is full");
        }
        if self.handovers.arriving.iter().any(|a| a.until <= io.now()) {
            self.give_back_arriving(io, TOO_LONG);
        }
        for leaving in std::mem::take(&mut self.handovers.leaving) {
            self.go_on_leaving(io, leaving);
        }
    }

    fn go_on_leaving(&mut self, io: &mut dyn Io, mut leaving: Leaving) {
        let slot = leaving.slot;
        if self.log(slot).is_none() {
            return;
        }
        if let Some(reason) = self.why_not_released(slot) {
            return self.events.push(ShardEvent::Kept { slot, reason });
        }
        if leaving.until <= io.now() {
            let reason = TOO_LONG.to_owned();
            return self.events.push(ShardEvent::Kept { slot, reason });
        }
        if self.is_settled(slot) {
            match leaving.index {
                IndexStep::Written => return self.hand_over(io, slot),
                IndexStep::NotBegun => leaving.index = self.write_index(io, slot, leaving.attempt),
                IndexStep::UnderWay => {}
            }
            if leaving.index == IndexStep::Written {
                return self.hand_over(io, slot);
            }
        }
        self.handovers.leaving.push(leaving);
    }

    fn why_not_released(&self, slot: Slot) -> Option<String> {
        let flush = &self.log(slot)?.flush;
        match self.journal.failure() {
            Some(reason) => Some(reason.to_owned()),
            None if self.stopping => Some("the broker is stopping".to_owned()),
            None if flush.failed => Some("its files cannot be written".to_owned()),
            None if flush.starved || self.room.is_full() => Some("the disk is full".to_owned()),
            None => None,
        }
    }

    /// Whether everything of the partition is committed and in synced files, and nothing is under way for it.
    fn is_settled(&mut self, slot: Slot) -> bool {
        let Some(log) = self.log(slot) else { return false };
        let end = log.state.end();
        let is_on_disk = crate::checkpointer::is_on_disk(log, end);
        let before = log.state.segments.len() - 1;
        // A ticket means nothing to another shard: whoever is told there where the log starts must be able to count on it.
        let is_committed =
            log.committed_offset >= log.state.end_offset && self.journal.is_committed(log.log_start_ticket);
        let is_quiet = is_committed
            && !log.flush.busy
            && !log.loading_prefix
            && log
                .state
                .segments
                .iter()
                .take(before)
                .all(|s| s.phase == Phase::Sealed)
            && !self.cleaning.has(slot)
            && !self.reads.has_any_of(slot)
            && !self.searches.has_any_of(slot);
        if !is_on_disk {
            self.force_flush(slot, end);
        }
        is_on_disk && is_quiet
    }

    /// Completes the active segment's index files.
    fn write_index(&mut self, io: &mut dyn Io, slot: Slot, attempt: u64) -> IndexStep {
        let Some(log) = self.log_mut(slot) else {
            return IndexStep::Written;
        };
        let base_offset = log.state.active().base_offset;
        let index = take_index(log.state.active_mut());
        if index.is_empty() {
            return IndexStep::Written;
        }
        let folder = log.folder.clone();
        let token = self.ops.start(Op::HandOverIndex(slot, attempt));
        let job = FileJob::ExtendIndex {
            folder,
            base_offset,
            index,
        };
        self.submit_job(io, token, job);
        IndexStep::UnderWay
    }

    pub(crate) fn hand_over_index_written(
        &mut self,
        slot: Slot,
        attempt: u64,
        result: Result<JobOutput, Error>,
    ) {
        let Some(at) = self.handovers.leaving.iter().position(|l| l.attempt == attempt) else {
            return;
        };
        match result {
            Ok(_) => {
                if let Some(log) = self.log_mut(slot) {
                    log.state.active_mut().index_written();
                }
                self.handovers.leaving[at].index = IndexStep::Written;
            }
            Err(e) => {
                self.handovers.leaving.swap_remove(at);
                let reason = e.to_string();
                self.events.push(ShardEvent::Kept { slot, reason });
            }
        }
    }

    fn hand_over(&mut self, io: &mut dyn Io, slot: Slot) {
        if let Some(released) = self.take_out(io, slot) {
            self.handovers.forget(released.topic_id(), released.name());
            self.handovers.departed.push(Departed {
                name: released.name().to_owned(),
                topic_id: released.topic_id(),
                checkpointed: Rc::from(&*released.checkpointed),
            });
            let released = Box::new(released);
            self.events.push(ShardEvent::Released { slot, released });
        }
    }

    /// Takes a partition whose everything is on disk out of the shard.
    fn take_out(&mut self, io: &mut dyn Io, slot: Slot) -> Option<Released> {
        let log = self.logs.get_mut(slot.0 as usize)?.take()?;
        let PartitionLog {
            mut state,
            tail,
            options,
            leader_epoch,
            largest_batch_bytes,
            cleaning,
            ..
        } = log;
        for segment in &mut state.segments {
            if let Some(file) = open_file(segment.handle) {
                io.close(file);
            }
            segment.handle = Handle::Closed;
        }
        self.forget_chunks(|key| key.slot == slot);
        self.checkpointer.forget(slot);
        let (mine, others) = std::mem::take(&mut self.doomed)
            .into_iter()
            .partition::<Vec<Doomed>, _>(|d| d.slot == slot);
        self.doomed = others;
        Some(Released {
            remainder: tail.into_remainder(state.end()),
            checkpointed: states::encode(&state).into(),
            doomed: mine.into_iter().flat_map(|d| d.base_offsets).collect(),
            state,
            options,
            leader_epoch,
            largest_batch_bytes,
            cleaning,
        })
    }

    /// A checkpoint is on disk: what it has of other shards is this one's.
    pub(crate) fn note_adopted(&mut self, checkpoint: u64) {
        let (now, later) = std::mem::take(&mut self.handovers.arriving)
            .into_iter()
            .partition(|a: &Arriving| a.checkpoint <= checkpoint);
        self.handovers.arriving = later;
        for Arriving { slot, .. } in now {
            self.events.push(ShardEvent::Adopted {
                slot,
                is_durable: true,
            });
        }
    }

    /// The shard stops and writes no checkpoint any more: what has arrived stays, and whoever gave it keeps it in mind.
    fn settle_arriving(&mut self) {
        for Arriving { slot, .. } in std::mem::take(&mut self.handovers.arriving) {
            self.events.push(ShardEvent::Adopted {
                slot,
                is_durable: false,
            });
        }
    }

    /// No checkpoint can be written now: what waits for one goes back to where it was of use.
    pub(crate) fn give_back_arriving(&mut self, io: &mut dyn Io, why: &str) {
        for Arriving { slot, .. } in std::mem::take(&mut self.handovers.arriving) {
            if let Some(released) = self.take_out(io, slot) {
                self.events.push(ShardEvent::GivenBack {
                    slot,
                    released: Box::new(released),
                    reason: why.to_owned(),
                });
            }
        }
    }

    /// The shard stops: what has not left stays, what has arrived is stopped with the rest.
    pub(crate) fn stop_handovers(&mut self) {
        for Leaving { slot, .. } in std::mem::take(&mut self.handovers.leaving) {
            let reason = "the broker is stopping".to_owned();
            self.events.push(ShardEvent::Kept { slot, reason });
        }
        self.settle_arriving();
    }
}
