//! A clean stop: what is in flight is finished, every segment gets its exact length, whole indexes and a producers' snapshot.

use crate::index::SparseIndex;
use crate::io::Io;
use crate::log::PartitionLog;
use crate::recover::boot::Stopped;
use crate::segment::Phase;
use crate::shard::{Shard, Slot};

impl Shard {
    /// Refuses appends from now on and brings everything to disk. [`Shard::is_stopped`] says when it is done; until then
    /// events and ticks go on.
    pub fn begin_stop(&mut self, io: &mut dyn Io) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        for i in 0..self.logs.len() as u32 {
            let slot = Slot(i);
            if let Some(log) = self.log_mut(slot) {
                close_active(log);
            }
            self.want_flush(slot);
        }
        self.run_flushes(io);
    }

    /// Whether everything is on disk after [`Shard::begin_stop`]. After a failure that is never so: the caller stops waiting,
    /// and the next start replays the journal.
    pub fn is_stopped(&self) -> bool {
        let is_exact = |log: &PartitionLog| log.state.active().phase == Phase::Active || all_sealed(log);
        self.stopping
            && self.journal.is_idle()
            && self.flushes_in_flight == 0
            && self.logs.iter().flatten().all(is_exact)
    }

    /// Every partition as it was stopped.
    pub fn stopped(&self) -> Vec<Stopped> {
        let stopped = |log: &PartitionLog| Stopped {
            name: log.state.name.clone(),
            end_offset: log.state.end_offset,
            high_watermark: log.state.end_offset,
            log_start_offset: log.state.log_start_offset,
            first_base_offset: log.state.segments.front().map_or(0, |s| s.base_offset),
        };
        self.logs.iter().flatten().map(stopped).collect()
    }
}

fn all_sealed(log: &PartitionLog) -> bool {
    log.state.segments.iter().all(|s| s.phase == Phase::Sealed)
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
