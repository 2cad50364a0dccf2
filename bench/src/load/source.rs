//! Where a lane's batches come from: a schedule (open loop), or as many as go (closed loop).

use super::schedule::{Due, Plan, Schedule};

/// Records of a closed loop.
#[derive(Clone, Copy, Debug)]
pub struct Saturate {
    /// Records in a full batch.
    pub batch_records: usize,
    /// Partitions of the lane.
    pub slots: u32,
    /// No batch begins at or after this.
    pub end_ns: u64,
    /// Records still to send; `u64::MAX` without a limit.
    pub left: u64,
    /// Partition of the next batch.
    pub next_slot: u32,
}

/// See the module.
pub enum Source {
    /// Open loop.
    Schedule(Box<Schedule>),
    /// Closed loop.
    Saturate(Saturate),
}

impl Source {
    /// An open loop.
    pub fn open(plan: Plan) -> Source {
        Source::Schedule(Box::new(Schedule::new(plan)))
    }

    /// Whether records have a due time of their own.
    pub fn is_open(&self) -> bool {
        matches!(self, Source::Schedule(_))
    }

    /// When the next send is to happen, `None` when all was sent.
    pub fn ready_at(&mut self, now_ns: u64) -> Option<u64> {
        match self {
            Source::Schedule(schedule) => schedule.ready_at(),
            Source::Saturate(saturate) => (saturate.left > 0 && now_ns < saturate.end_ns).then_some(now_ns),
        }
    }

    /// What a send at `now_ns` takes.
    pub fn take(&mut self, now_ns: u64) -> Vec<Due> {
        let saturate = match self {
            Source::Schedule(schedule) => return schedule.take(now_ns),
            Source::Saturate(saturate) => saturate,
        };
        let records = saturate.left.min(saturate.batch_records as u64);
        saturate.left -= records;
        let slot = saturate.next_slot;
        saturate.next_slot = (slot + 1) % saturate.slots;
        let times_ns = vec![now_ns; records as usize].into();
        vec![Due { slot, times_ns }]
    }

    /// Due times before `end_ns` of what was never taken, each with how many records are meant.
    pub fn rest(self, end_ns: u64) -> Vec<(u64, u64)> {
        match self {
            Source::Schedule(schedule) => schedule.rest(end_ns),
            Source::Saturate(_) => Vec::new(),
        }
    }
}
