//! Where a lane's batches come from: a schedule (open loop), or as many as go (closed loop).

use std::sync::Arc;

use super::schedule::{Plan, Schedule};
use super::text::Text;
use super::times::Times;

/// Records of a closed loop.
pub struct Saturate {
    /// Records in a full batch.
    pub batch_records: usize,
    /// Partitions of the lane.
    pub slots: u32,
    /// No batch begins at or after this.
    pub end_ns: u64,
    /// Records still to send; `u64::MAX` without a limit.
    pub left: u64,
    /// Partition of the next batch of records without keys.
    pub next_slot: u32,
    /// Slot of each key; a batch goes where a key drawn at random does. Empty when records have no key.
    pub key_slots: Arc<[u32]>,
    /// Draws the keys.
    pub random: Text,
}

/// A batch's worth of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portion {
    /// Which of the lane's partitions.
    pub slot: u32,
    /// When its records were due.
    pub times: Times,
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

    /// Puts what one request sent at `now_ns` takes into `portions`, which is emptied first.
    pub fn take(&mut self, now_ns: u64, portions: &mut Vec<Portion>) {
        portions.clear();
        match self {
            Source::Schedule(schedule) => {
                let due = schedule.take(now_ns).into_iter();
                portions.extend(due.map(|due| Portion {
                    slot: due.slot,
                    times: Times::Each(due.times_ns),
                }));
            }
            Source::Saturate(saturate) => portions.push(saturate.next(now_ns)),
        }
    }

    /// Due times before `end_ns` of what was never taken, each with how many records are meant.
    pub fn rest(self, end_ns: u64) -> Vec<(u64, u64)> {
        match self {
            Source::Schedule(schedule) => schedule.rest(end_ns),
            Source::Saturate(_) => Vec::new(),
        }
    }
}

impl Saturate {
    fn next(&mut self, now_ns: u64) -> Portion {
        let records = self.left.min(self.batch_records as u64);
        self.left -= records;
        Portion {
            slot: self.pick(),
            times: Times::Together {
                at_ns: now_ns,
                records: records as u32,
            },
        }
    }

    fn pick(&mut self) -> u32 {
        if !self.key_slots.is_empty() {
            let key = self.random.random() % self.key_slots.len() as u64;
            return self.key_slots[key as usize];
        }
        let slot = self.next_slot;
        self.next_slot = (slot + 1) % self.slots;
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(key_slots: &[u32]) -> Source {
        Source::Saturate(Saturate {
            batch_records: 3,
            slots: 4,
            end_ns: 100,
            left: 1000,
            next_slot: 2,
            key_slots: key_slots.into(),
            random: Text::new(1),
        })
    }

    fn slots(mut source: Source, requests: usize) -> Vec<u32> {
        let mut portions = Vec::new();
        let slots = (0..requests).map(|_| {
            source.take(7, &mut portions);
            assert_eq!(portions.len(), 1);
            assert_eq!(portions[0].times, Times::Together { at_ns: 7, records: 3 });
            portions[0].slot
        });
        slots.collect()
    }

    #[test]
    fn a_closed_loop_goes_round_its_partitions_or_where_the_keys_are() {
        assert_eq!(slots(closed(&[]), 5), [2, 3, 0, 1, 2]);
        let keyed = slots(closed(&[0, 3, 3, 3]), 200);
        let of = |slot| keyed.iter().filter(|one| **one == slot).count();
        assert_eq!(of(0) + of(3), 200);
        assert!(of(0) > 20 && of(3) > 2 * of(0), "{} and {}", of(0), of(3));
    }

    #[test]
    fn a_closed_loop_ends_with_its_records_or_its_time() {
        let mut source = closed(&[]);
        assert_eq!((source.ready_at(99), source.ready_at(100)), (Some(99), None));
        slots(source, 333);
        let mut source = closed(&[]);
        let mut portions = Vec::new();
        (0..334).for_each(|_| source.take(7, &mut portions));
        assert_eq!(portions[0].times.records(), 1);
        assert_eq!(source.ready_at(7), None);
    }
}
