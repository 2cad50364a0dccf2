//! What the server asks about transactions.

use super::{AppendError, Shard, Slot};
use crate::io::Io;

impl Shard {
    /// Whether the producer has a transaction open in the partition, in this epoch.
    pub fn has_open_txn(&self, slot: Slot, producer_id: i64, producer_epoch: i16) -> bool {
        let producers = self.producers(slot);
        producers.is_some_and(|p| p.has_open_txn(producer_id, producer_epoch))
    }

    /// Whether records of a coordinator, in a transaction of this producer that it knows to be under way, would be taken now.
    ///
    /// # Errors
    /// A later epoch is known, too many transactions are open, or the partition is.
    pub fn takes_txn(&self, slot: Slot, producer_id: i64, producer_epoch: i16) -> Result<(), AppendError> {
        let producers = self.producers(slot).ok_or(AppendError::NoSuchPartition)?;
        producers
            .takes_txn(producer_id, producer_epoch)
            .map_err(AppendError::Sequence)
    }

    /// The epochs, its own and its coordinator's, of a producer with a transaction open in the partition.
    pub fn open_txn_epochs(&self, slot: Slot, producer_id: i64) -> Option<(i16, i32)> {
        self.producers(slot)?.open_txn_epochs(producer_id)
    }

    /// Forgets producers of partitions from this one on that sent nothing for `expiration_ms`, at most of `most` partitions. Returns where to go on;
    /// nothing when all were looked at.
    pub fn expire_producers(
        &mut self,
        io: &dyn Io,
        expiration_ms: i64,
        from: u32,
        most: usize,
    ) -> Option<u32> {
        let now_ms = io.wall_ms();
        let logs = self.logs.iter_mut().skip(from as usize).take(most);
        for log in logs.flatten() {
            if log.state.producers.expire(now_ms, expiration_ms) > 0 {
                log.dirty = true;
            }
        }
        let next = from as usize + most;
        (next < self.logs.len()).then_some(next as u32)
    }
}
