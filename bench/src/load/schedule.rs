//! When records are due: the open loop. Nothing here knows the time or the broker; it says what is due when, and what a send
//! at a given time takes with it.
//!
//! Records gather as in Kafka's own producer: the lane sends when its oldest record has waited `linger`, or a batch is full;
//! everything due goes along, one batch a partition. While earlier requests keep it from sending, batches grow.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::text::Text;

/// Records that [`Schedule::rest`] tells one by one.
const MAX_REST: u64 = 1 << 18;

/// How records are spaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Arrivals {
    /// Evenly.
    #[default]
    Constant,
    /// Independently of each other: exponential gaps.
    Poisson,
}

/// What a lane's schedule is made from. Times are nanoseconds since the run's epoch.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Spacing.
    pub arrivals: Arrivals,
    /// Records a second of this lane.
    pub per_second: f64,
    /// First record's due time, at the earliest.
    pub start_ns: u64,
    /// No record is due at or after this.
    pub end_ns: u64,
    /// What a record waits for company at most.
    pub linger_ns: u64,
    /// Records in a full batch.
    pub batch_records: usize,
    /// Records in a full request.
    pub request_records: usize,
    /// Partitions of the lane, called slots here.
    pub slots: u32,
    /// Slot of each key; empty when records have no key and fill one partition's batch after another.
    pub key_slots: Arc<[u32]>,
    /// Seed of arrivals and keys.
    pub seed: u64,
}

/// A batch's worth of due records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Which of the lane's partitions.
    pub slot: u32,
    /// Due time of each record, ascending.
    pub times_ns: Box<[u64]>,
}

/// The records of a lane, in the order they are due.
pub struct Schedule {
    plan: Plan,
    random: Text,
    next_due: f64,
    /// Generated and not taken: due time and slot.
    pending: VecDeque<(u64, u32)>,
    /// Pending records by slot.
    counts: Vec<u32>,
    /// When some slot's batch became full, if one did.
    full_at: Option<u64>,
    /// The slot that keyless records go to now.
    slot: u32,
}

impl Schedule {
    /// A schedule at its start.
    pub fn new(plan: Plan) -> Schedule {
        let mut random = Text::new(plan.seed);
        // lanes start at different points of their period, so that they do not all send at once
        let phase = random.fraction() * 1e9 / plan.per_second;
        Schedule {
            random,
            next_due: plan.start_ns as f64 + phase,
            pending: VecDeque::new(),
            counts: vec![0; plan.slots as usize],
            full_at: None,
            slot: (plan.seed % u64::from(plan.slots.max(1))) as u32,
            plan,
        }
    }

    /// When the next send is to happen; `None` when no record is left.
    pub fn ready_at(&mut self) -> Option<u64> {
        if self.pending.is_empty() && !self.generate() {
            return None;
        }
        let deadline = self.pending.front()?.0.saturating_add(self.plan.linger_ns);
        while self.full_at.is_none() && self.peek().is_some_and(|due| due <= deadline) {
            self.generate();
        }
        Some(self.full_at.map_or(deadline, |full| full.min(deadline)))
    }

    /// What a send at `now_ns` takes: all that is due, as far as it fits one request.
    pub fn take(&mut self, now_ns: u64) -> Vec<Due> {
        while self.pending.len() < self.plan.request_records && self.peek().is_some_and(|due| due <= now_ns) {
            self.generate();
        }
        let mut batches: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        let mut taken = 0;
        while let Some(&(due, slot)) = self.pending.front() {
            let batch = batches.entry(slot).or_default();
            let full = batch.len() == self.plan.batch_records || taken == self.plan.request_records;
            if due > now_ns || full {
                break;
            }
            batch.push(due);
            taken += 1;
            self.pending.pop_front();
            self.counts[slot as usize] -= 1;
        }
        self.after_take();
        let filled = batches.into_iter().filter(|(_, times)| !times.is_empty());
        filled
            .map(|(slot, times)| Due {
                slot,
                times_ns: times.into(),
            })
            .collect()
    }

    /// All that was not taken and is due before `end_ns`: due times, each with how many records are meant. Records are told one by one up to
    /// a quarter of a million; of more, neighbours go together under the first one's due time, so that a rate nobody can reach costs no memory.
    pub fn rest(mut self, end_ns: u64) -> Vec<(u64, u64)> {
        self.plan.end_ns = self.plan.end_ns.min(end_ns);
        self.pending.retain(|(due, _)| *due < end_ns);
        let mut rest: Vec<_> = self.pending.drain(..).map(|(due, _)| (due, 1)).collect();
        let mean_gap = 1e9 / self.plan.per_second;
        let left = ((self.plan.end_ns as f64 - self.next_due) / mean_gap)
            .ceil()
            .max(0.0) as u64;
        if left <= MAX_REST {
            while self.generate() {
                rest.extend(self.pending.pop_front().map(|(due, _)| (due, 1)));
            }
            return rest;
        }
        let together = left.div_ceil(MAX_REST);
        let group = |first: u64| {
            let due = self.next_due + first as f64 * mean_gap;
            (due as u64, together.min(left - first))
        };
        rest.extend((0..left).step_by(together as usize).map(group));
        rest
    }

    fn peek(&self) -> Option<u64> {
        let due = self.next_due as u64;
        (due < self.plan.end_ns).then_some(due)
    }

    /// Adds the next record to `pending`; false when there is none.
    fn generate(&mut self) -> bool {
        let Some(due) = self.peek() else { return false };
        let mean_gap = 1e9 / self.plan.per_second;
        self.next_due += match self.plan.arrivals {
            Arrivals::Constant => mean_gap,
            Arrivals::Poisson => -self.random.fraction().ln() * mean_gap,
        };
        let slot = self.pick();
        self.pending.push_back((due, slot));
        self.counts[slot as usize] += 1;
        if self.counts[slot as usize] as usize == self.plan.batch_records {
            self.full_at = self.full_at.or(Some(due));
            self.advance();
        }
        true
    }

    fn pick(&mut self) -> u32 {
        if self.plan.key_slots.is_empty() {
            return self.slot;
        }
        let key = self.random.random() % self.plan.key_slots.len() as u64;
        self.plan.key_slots[key as usize]
    }

    fn advance(&mut self) {
        self.slot = (self.slot + 1) % self.plan.slots.max(1);
    }

    /// Keyless records go to the next partition, and fullness is that of what stayed.
    fn after_take(&mut self) {
        self.advance();
        let full = self.plan.batch_records as u32;
        let mut left = self.pending.iter();
        self.full_at = left
            .find(|(_, slot)| self.counts[*slot as usize] >= full)
            .map(|(due, _)| *due);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(per_second: f64) -> Plan {
        Plan {
            arrivals: Arrivals::Constant,
            per_second,
            start_ns: 0,
            end_ns: 1_000_000_000,
            linger_ns: 5_000_000,
            batch_records: 10,
            request_records: 100,
            slots: 4,
            key_slots: Arc::default(),
            seed: 42,
        }
    }

    fn total(due: &[Due]) -> usize {
        due.iter().map(|batch| batch.times_ns.len()).sum()
    }

    #[test]
    fn every_record_is_sent_once_and_at_the_stated_rate() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            let mut schedule = Schedule::new(Plan {
                arrivals,
                ..plan(10_000.0)
            });
            let (mut sent, mut last) = (0, 0);
            while let Some(ready) = schedule.ready_at() {
                let due = schedule.take(ready);
                assert!(
                    due.iter()
                        .flat_map(|batch| &batch.times_ns)
                        .all(|at| *at <= ready)
                );
                assert!(ready >= last);
                (sent, last) = (sent + total(&due), ready);
            }
            assert!((9_700..=10_300).contains(&sent), "{arrivals:?}: {sent}");
        }
    }

    #[test]
    fn a_slow_lane_lingers_and_a_fast_one_sends_when_full() {
        let mut slow = Schedule::new(plan(100.0));
        let ready = slow.ready_at().expect("a record");
        let due = slow.take(ready);
        assert_eq!(total(&due), 1);
        assert_eq!(ready - due[0].times_ns[0], 5_000_000);
        let mut fast = Schedule::new(plan(100_000.0));
        let ready = fast.ready_at().expect("records");
        let due = fast.take(ready);
        assert_eq!((due.len(), total(&due)), (1, 10));
        assert_eq!(ready, *due[0].times_ns.last().expect("ten"));
    }

    #[test]
    fn a_lane_kept_waiting_sends_all_that_became_due_meanwhile_to_several_partitions() {
        let mut schedule = Schedule::new(plan(10_000.0));
        let ready = schedule.ready_at().expect("records");
        let due = schedule.take(ready + 3_000_000);
        assert!((35..=40).contains(&total(&due)), "{}", total(&due));
        assert_eq!(due.len(), 4);
        assert!(due.iter().all(|batch| batch.times_ns.len() <= 10));
    }

    #[test]
    fn a_stalled_lane_has_a_backlog_that_keeps_its_due_times() {
        let mut schedule = Schedule::new(plan(10_000.0));
        let first = schedule.take(500_000_000);
        assert!(total(&first) <= 100);
        let rest = schedule.rest(u64::MAX);
        assert_eq!(rest.len() + total(&first), 10_000);
        assert!(rest.iter().all(|(_, records)| *records == 1));
        let oldest = rest[0].0;
        assert!(
            oldest < 12_000_000,
            "the oldest waiting record is due at {oldest}"
        );
    }

    #[test]
    fn a_backlog_beyond_measure_is_told_in_groups_that_lose_no_record() {
        let mut schedule = Schedule::new(plan(1e9));
        let first = total(&schedule.take(10_000_000)) as u64;
        let rest = schedule.rest(u64::MAX);
        assert!(rest.len() as u64 <= MAX_REST + 1000, "{}", rest.len());
        let left: u64 = rest.iter().map(|(_, records)| records).sum();
        assert!((left + first).abs_diff(1_000_000_000) <= 1, "{left}");
        assert!(rest.is_sorted() && rest.iter().all(|(due, _)| *due < 1_000_000_000));
    }

    #[test]
    fn keys_decide_the_partition() {
        let key_slots = Arc::from([0, 0, 3]);
        let mut schedule = Schedule::new(Plan {
            key_slots,
            ..plan(10_000.0)
        });
        let mut counts = [0; 4];
        while let Some(ready) = schedule.ready_at() {
            for due in schedule.take(ready) {
                counts[due.slot as usize] += due.times_ns.len();
            }
        }
        assert_eq!((counts[1], counts[2]), (0, 0));
        assert!(counts[0] > counts[3] * 3 / 2 && counts[3] > 3_000, "{counts:?}");
    }
}
