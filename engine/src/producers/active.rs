//! What people are told of a partition's producers, who look for one that hangs (KIP-664).

use std::collections::HashMap;

use super::ProducerStates;
use super::window::Producer;
use crate::cleaner::LastBatch;

/// A producer that is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Its id.
    pub producer_id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// Sequence number of the last record of its last batch, [`NO_SEQUENCE`](crate::batch::NO_SEQUENCE) when its epoch has none.
    pub last_sequence: i32,
    /// Largest timestamp of its last batch, -1 when unknown.
    pub last_timestamp_ms: i64,
    /// Epoch of the transaction coordinator that wrote its last marker, -1 when there was none.
    pub coordinator_epoch: i32,
    /// Where its open transaction begins, [`NO_TXN_OFFSET`](super::NO_TXN_OFFSET) when none is open.
    pub txn_first_offset: i64,
}

impl ProducerStates {
    /// What a log's compaction must keep for each producer to be remembered as it is (Kafka's `lastRecordsOfActiveProducers`).
    pub fn last_batches(&self) -> HashMap<i64, LastBatch> {
        let last = |known: &Producer| match known.window.last() {
            Some(sent) => LastBatch::Data(sent.last_offset),
            None => LastBatch::Marker(known.epoch),
        };
        self.producers
            .iter()
            .map(|(id, known)| (*id, last(known)))
            .collect()
    }

    /// Every producer that is remembered, in no order.
    pub fn active(&self) -> impl Iterator<Item = ActiveProducer> {
        self.producers.iter().map(|(id, known)| ActiveProducer {
            producer_id: *id,
            epoch: known.epoch,
            last_sequence: known.last_sequence(),
            last_timestamp_ms: known.last_timestamp_ms,
            coordinator_epoch: known.coordinator_epoch,
            txn_first_offset: known.txn_first_offset,
        })
    }
}
