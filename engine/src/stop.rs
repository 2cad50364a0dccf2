//! A clean stop: what is in flight is finished, every segment gets its exact length, whole indexes and a producers' snapshot.

use crate::index::SparseIndex;
use crate::io::Io;
use crate::log::PartitionLog;
use crate::recover::boot::Stopped;
use crate::segment::{Phase, Segment};
use crate::shard::{Shard, Slot};

impl Shard {
    /// Refuses appends from now on and brings everything to disk. [`Shard::is_stopped`] says when it is done; until then
    /// events and ticks go on.
    pub fn begin_stop(&mut self, io: &mut dyn Io) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        self.stop_handovers();
        self.stop_cleaning();
        self.background.spares().close();
        (0..self.logs.len() as u32).for_each(|i| self.close_for_stop(Slot(i)));
        self.run_flushes(io);
    }

    /// The partition's active segment is sealed as all others are.
    pub(crate) fn close_for_stop(&mut self, slot: Slot) {
        if let Some(log) = self.log_mut(slot) {
            close_active(log);
        }
        self.want_flush(slot);
    }

    /// Whether everything is on disk after [`Shard::begin_stop`]. After a failure that is never so: the caller stops waiting,
    /// and the next start replays the journal.
    pub fn is_stopped(&self) -> bool {
        // A file of ours that is written after all others were taken away would be believed by the next start.
        let writes_own_files = self.checkpointer.is_running() || self.journal_growing;
        self.stopping
            && self.journal.is_idle()
            && self.flushes_in_flight == 0
            && !writes_own_files
            && self.cleaning.is_idle()
            && self.logs.iter().flatten().all(is_exact)
    }

    /// Every partition as it was stopped.
    pub fn stopped(&self) -> Vec<Stopped> {
        let stopped = |log: &PartitionLog| Stopped {
            name: log.state.name.clone(),
            end_offset: log.state.end_offset,
            high_watermark: log.state.end_offset,
            log_start_offset: log.state.log_start_offset,
        };
        self.logs.iter().flatten().map(stopped).collect()
    }
}

/// Every segment is on disk as Kafka wants it.
fn is_exact(log: &PartitionLog) -> bool {
    let is_done = |s: &Segment| s.phase == Phase::Sealed || (s.phase == Phase::Active && s.is_exact);
    log.state.segments.iter().all(is_done)
}

/// The active segment is to be sealed, unless nothing was appended to it since it was opened exact.
fn close_active(log: &mut PartitionLog) {
    let snapshot = (log.state.end_offset, log.state.producers.encode_snapshot());
    let active = log.state.active_mut();
    if active.is_exact {
        return;
    }
    active.phase = Phase::Sealing;
    active.snapshot = Some(snapshot);
    if let Some(index) = active.index.as_mut() {
        SparseIndex::close(index);
    }
}
