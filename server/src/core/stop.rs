//! The end: requests in progress are answered, then the shards stop, then the threads.
//!
//! ```text
//! Stop -> no new connections or requests; parked fetches answered -> Drained to core 0
//! all drained -> StopShard to all -> connections closed, shard stops -> the thread ends
//! ```

use std::time::{Duration, Instant};

use ringlog_engine::recover::boot::Stopped;

use super::Core;
use super::groups::Groups;
use super::mail::Mail;
use super::transactions::Transactions;

/// How long requests in progress may take once the broker stops.
pub const DRAIN_FOR: Duration = Duration::from_secs(5);

/// How long a shard may take to bring everything to disk.
pub const SHARD_STOP_FOR: Duration = Duration::from_secs(60);

/// How far the end has come.
#[derive(Debug, Default)]
pub struct Stop {
    phase: Phase,
    /// Core 0: cores that have drained.
    drained: usize,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Running,
    /// Answering what is in progress, until then at the latest.
    Draining(Instant),
    /// Waiting for the other cores.
    Drained,
    /// The shard writes what it still has, until then at the latest: after an I/O error it never ends.
    Shard(Instant),
}

/// How a core ended.
#[derive(Debug)]
pub struct Ended {
    /// Every partition; nothing when the shard could not bring all to disk, and the next start has to recover.
    pub stopped: Option<Vec<Stopped>>,
    /// The epoch of this run's registration, for the clean-shutdown file.
    pub broker_epoch: i64,
}

impl Stop {
    /// Whether no new work is taken.
    pub fn is_stopping(&self) -> bool {
        self.phase != Phase::Running
    }

    /// When draining ends at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Draining(until) | Phase::Shard(until) => Some(until),
            _ => None,
        }
    }
}

impl Core {
    /// Takes no new work from now on.
    pub(super) fn begin_stop(&mut self) {
        if self.stop.is_stopping() {
            return;
        }
        self.stop.phase = Phase::Draining(self.io.now() + DRAIN_FOR);
        self.io.stop_listening();
        self.stop_reading();
        self.finish_parked_fetches();
        self.end_waiting();
        self.resign_machines::<Groups>();
        self.resign_machines::<Transactions>();
    }

    /// Tells core 0 once everything in progress is answered, or time is up.
    pub(super) fn check_drained(&mut self) {
        let Phase::Draining(until) = self.stop.phase else {
            return;
        };
        let done = self.calls.count() == 0
            && self.appends.is_idle()
            && self.groups.is_idle()
            && self.transactions.is_idle()
            && self.markers.is_idle()
            && self.conns.all_quiet()
            && self.control_is_idle();
        if done || self.io.now() >= until {
            if !done {
                crate::warn!("stopping with {} requests in progress", self.calls.count());
            }
            self.stop.phase = Phase::Drained;
            self.post(0, Mail::Drained);
        }
    }

    /// Core 0: one more core has drained.
    pub(super) fn on_drained(&mut self) {
        self.stop.drained += 1;
        if self.stop.drained == self.cores {
            (0..self.cores).for_each(|core| self.post(core, Mail::StopShard));
        }
    }

    pub(super) fn stop_shard(&mut self) {
        self.stop.phase = Phase::Shard(self.io.now() + SHARD_STOP_FOR);
        self.close_all();
        self.shard.begin_stop(&mut *self.io);
    }

    /// Every partition as it was stopped; nothing when the shard could not finish.
    pub(super) fn ended(&self) -> Ended {
        let is_whole = self.shard.is_stopped() && !self.relocating.has_one_in_transit();
        let stopped = is_whole.then(|| self.shard.stopped());
        Ended {
            stopped,
            broker_epoch: self.broker_epoch(),
        }
    }

    fn broker_epoch(&self) -> i64 {
        self.image
            .broker(self.shared.node.id)
            .map_or(-1, |broker| broker.epoch)
    }

    /// Whether the thread may end.
    pub(super) fn is_stopped(&self) -> bool {
        match self.stop.phase {
            Phase::Shard(until) => self.shard.is_stopped() || self.io.now() >= until,
            _ => false,
        }
    }
}
