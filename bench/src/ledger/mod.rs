//! The ledger: every batch sent, what was said of it, and where it was found again.
//!
//! One [`Mutex`] a partition: a producer notes a batch before it is sent and its outcome after, a consumer what it finds, each in
//! a few dozen nanoseconds. Batches are told apart by their [`Identity`], so no record is decoded: its checksum covers
//! each byte of every record.

mod partition;
mod store;

use std::sync::{Mutex, PoisonError};

use partition::PartitionLedger;
pub use partition::{Entry, Finding, Outcome, Sent};

use crate::load::batch::{Fetched, Identity};
use crate::load::times::Times;
use crate::report::model::LedgerResult;

/// Lines of examples in a verdict.
const MAX_NOTES: usize = 12;

/// The batches of one topic.
pub struct Ledger {
    partitions: Vec<Mutex<PartitionLedger>>,
    acks: i16,
    /// Whether others may write to the topic: their batches are none of ours, and no damage.
    shared: bool,
}

impl Ledger {
    /// An empty ledger. With `acks` 0 nothing is acknowledged, and nothing that is missing counts as lost. In a `shared` topic
    /// whole batches that nobody here sent are others'.
    pub fn new(partitions: usize, acks: i16, shared: bool) -> Ledger {
        let partitions = (0..partitions)
            .map(|_| Mutex::new(PartitionLedger::new(acks)))
            .collect();
        Ledger {
            partitions,
            acks,
            shared,
        }
    }

    /// Notes a batch that is about to be sent; returns its place. `None` when one that looks exactly alike was sent before: stamp it
    /// anew.
    pub fn sent(&self, partition: i32, identity: Identity, sent: Sent) -> Option<Entry> {
        self.with(partition, Some(Entry::default()), |ledger| {
            ledger.sent(identity, sent)
        })
    }

    /// Notes what became of a batch.
    pub fn outcome(&self, partition: i32, entry: Entry, outcome: Outcome) {
        self.with(partition, (), |ledger| ledger.outcome(entry, outcome));
    }

    /// Notes a batch that was read. `intact`: its checksum holds.
    pub fn found(&self, partition: i32, batch: &Fetched, intact: bool) -> Finding {
        self.with(partition, Finding::Foreign, |ledger| {
            ledger.found(batch, intact, self.shared)
        })
    }

    /// Whether a batch that was read is one of ours, whole, and at the offset it was acknowledged at. Nothing is noted.
    pub fn is_as_sent(&self, partition: i32, batch: &Fetched, intact: bool) -> bool {
        intact && self.with(partition, false, |ledger| ledger.is_as_told(batch))
    }

    /// Acknowledged records (at acks=0: sent ones) that were not found yet.
    pub fn missing(&self) -> u64 {
        (0..self.partitions.len() as i32)
            .map(|partition| self.with(partition, 0, |ledger| ledger.missing()))
            .sum()
    }

    /// Hands over the due times of batches that no reader found, refused ones excepted; each only once.
    pub fn take_unread(&self, mut each: impl FnMut(&Times)) {
        for partition in 0..self.partitions.len() as i32 {
            self.with(partition, (), |ledger| ledger.take_unread(&mut each));
        }
    }

    /// The verdict. To be asked when all that can be read was.
    pub fn conclude(&self) -> LedgerResult {
        let mut result = LedgerResult {
            checked: true,
            ..LedgerResult::default()
        };
        for partition in 0..self.partitions.len() as i32 {
            self.with(partition, (), |ledger| ledger.conclude(partition, &mut result));
        }
        let damaged = result.duplicated + result.reordered + result.corrupt + result.aborted;
        result.passed = damaged == 0 && (self.acks == 0 || result.lost == 0);
        if self.acks == 0 && result.lost > 0 {
            let note = format!(
                "acks=0 promises nothing: {} of the records sent were not found",
                result.lost
            );
            result.notes.insert(0, note);
        }
        if result.notes.len() > MAX_NOTES {
            let more = result.notes.len() - MAX_NOTES;
            result.notes.truncate(MAX_NOTES);
            result.notes.push(format!("and {more} more"));
        }
        result
    }

    fn with<T>(&self, partition: i32, outside: T, act: impl FnOnce(&mut PartitionLedger) -> T) -> T {
        let ledger = usize::try_from(partition)
            .ok()
            .and_then(|at| self.partitions.get(at));
        match ledger {
            Some(ledger) => act(&mut ledger.lock().unwrap_or_else(PoisonError::into_inner)),
            None => outside,
        }
    }
}

#[cfg(test)]
mod tests;
