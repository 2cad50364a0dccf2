//! The faults a sink can be given, and when each of them strikes.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::lock;

/// One way of not keeping one's word. `every` counts the batches of each partition from 1: the n-th, the 2n-th and so on are
/// struck. `after_batches` counts the batches of all partitions together, and strikes once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Acknowledges the batch and forgets it. Its offsets stay empty.
    Drop {
        /// In batches of a partition.
        every: u64,
    },
    /// Stores the batch twice; the second copy takes the offsets that follow.
    Duplicate {
        /// In batches of a partition.
        every: u64,
    },
    /// Stores the batch behind the one that follows it, and answers both as if it had not. The batch cannot be read before
    /// its neighbour has come; when a fetch at the end of the log has waited in vain it is stored in its place after all.
    Swap {
        /// In batches of a partition.
        every: u64,
    },
    /// Inverts a bit of the stored batch and leaves its checksum as it was: in the middle of the first record's value, or of
    /// the compressed records.
    FlipBit {
        /// In batches of a partition.
        every: u64,
    },
    /// Stores the batch and answers with the offset after the one it has.
    WrongOffset {
        /// In batches of a partition.
        every: u64,
    },
    /// Answers with an error and stores nothing.
    Refuse {
        /// In batches of a partition.
        every: u64,
        /// Kafka's number for the error.
        error: i16,
    },
    /// Answers with an error and stores the batch all the same.
    RefuseButStore {
        /// In batches of a partition.
        every: u64,
        /// Kafka's number for the error.
        error: i16,
    },
    /// Closes all connections when the batch after so many comes. That batch is not stored; batches stored just before it may
    /// have lost their answers.
    Disconnect {
        /// In batches of all partitions.
        after_batches: u64,
    },
    /// Answers nobody for a while from the moment the batch after so many comes, as a broker that was stopped.
    Stall {
        /// In batches of all partitions.
        after_batches: u64,
        /// How long no answer is written, in milliseconds.
        stall_ms: u64,
    },
}

impl Fault {
    /// The period of a fault that returns.
    pub(super) fn every(self) -> Option<u64> {
        match self {
            Fault::Drop { every }
            | Fault::Duplicate { every }
            | Fault::Swap { every }
            | Fault::FlipBit { every }
            | Fault::WrongOffset { every }
            | Fault::Refuse { every, .. }
            | Fault::RefuseButStore { every, .. } => Some(every),
            Fault::Disconnect { .. } | Fault::Stall { .. } => None,
        }
    }

    /// Whether the fault is one of stored batches, which a sink that stores none cannot have.
    pub(super) fn needs_storage(self) -> bool {
        matches!(
            self,
            Fault::Drop { .. } | Fault::Duplicate { .. } | Fault::Swap { .. } | Fault::FlipBit { .. }
        )
    }

    /// Whether it strikes the `number`-th batch of a partition, counted from 1.
    pub(super) fn strikes(self, number: u64) -> bool {
        self.every().is_some_and(|every| number.is_multiple_of(every))
    }
}

/// What a batch meant for the whole sink sets off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strike {
    /// Close all connections.
    Disconnect,
    /// Keep still; [`Trouble::stalled_until`] says how long.
    Stall,
}

/// The faults that strike all connections at once.
#[derive(Default)]
pub(super) struct Trouble {
    batches: AtomicU64,
    stalled_until: Mutex<Option<Instant>>,
}

impl Trouble {
    /// Counts one batch; says so when it is the one that sets the fault off.
    pub(super) fn count(&self, fault: Option<Fault>) -> Option<Strike> {
        let (after_batches, stall_ms) = match fault? {
            Fault::Disconnect { after_batches } => (after_batches, None),
            Fault::Stall {
                after_batches,
                stall_ms,
            } => (after_batches, Some(stall_ms)),
            _ => return None,
        };
        if self.batches.fetch_add(1, Ordering::Relaxed) != after_batches {
            return None;
        }
        let Some(stall_ms) = stall_ms else {
            return Some(Strike::Disconnect);
        };
        // At most 49 days, so that no clock overflows.
        let stall = Duration::from_millis(stall_ms.min(u64::from(u32::MAX)));
        *lock(&self.stalled_until) = Some(Instant::now() + stall);
        Some(Strike::Stall)
    }

    /// When answers may be written again, if a stall is under way.
    pub(super) fn stalled_until(&self, fault: Option<Fault>) -> Option<Instant> {
        matches!(fault, Some(Fault::Stall { .. }))
            .then(|| *lock(&self.stalled_until))?
            .filter(|until| *until > Instant::now())
    }
}
