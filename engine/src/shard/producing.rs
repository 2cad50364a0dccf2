//! Who appends: clients, coordinators of the broker's own, and the markers that end transactions.

use crate::batch::MarkerKind;

/// Who appends, and what is known of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Producing {
    /// Who.
    pub origin: Origin,
    /// The transaction coordinator has said that the partition takes part in the producer's transaction (KIP-890). Without it no batch begins a
    /// transaction here.
    pub is_verified: bool,
    /// The producer's epoch grows with each transaction (transaction version 2, KIP-890): one that is not known begins at sequence 0.
    pub bumps_epochs: bool,
}

/// Where a batch comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// A client: the sequence is checked, and a batch sent twice is found.
    #[default]
    Client,
    /// A coordinator's own records: transactional batches without sequence numbers are allowed.
    Coordinator,
}

/// The end of a producer's transaction in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Whose transaction.
    pub producer_id: i64,
    /// The producer's epoch: that of the transaction, or with transaction version 2 the one after it.
    pub producer_epoch: i16,
    /// How it ended.
    pub kind: MarkerKind,
    /// Epoch of the coordinator that decided it.
    pub coordinator_epoch: i32,
    /// `transaction.version` of the coordinator: from 2 on the epoch must be above that of the transaction (KIP-1228).
    pub transaction_version: i8,
}

impl Marker {
    /// The same end for a transaction that is open in this epoch of its producer, or was touched by a later coordinator, as an administrator may
    /// have made it.
    pub fn forced(self, (producer_epoch, coordinator_epoch): (i16, i32)) -> Marker {
        Marker {
            producer_epoch: self.producer_epoch.max(producer_epoch),
            coordinator_epoch: self.coordinator_epoch.max(coordinator_epoch),
            // An epoch may be the one of the batches.
            transaction_version: 0,
            ..self
        }
    }
}
