//! What the server asks about transactions.

use super::{Shard, Slot};

impl Shard {
    /// Whether the producer has a transaction open in the partition, in this epoch.
    pub fn has_open_txn(&self, slot: Slot, producer_id: i64, producer_epoch: i16) -> bool {
        let producers = self.producers(slot);
        producers.is_some_and(|p| p.has_open_txn(producer_id, producer_epoch))
    }
}
