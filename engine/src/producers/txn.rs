//! Transactions of a partition's producers: what may begin one, and what may end it.

use std::cmp::Ordering;

use super::window::Producer;
use super::{NO_TXN_OFFSET, ProducerError, ProducerStates};
use crate::aborted::AbortedTxn;
use crate::batch::{BatchHeader, EndTxn, MarkerKind, NO_SEQUENCE};
use crate::shard::{Marker, Producing};

/// What a batch has done to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxnStep {
    /// Nothing.
    None,
    /// It is the first of one: its first offset.
    Began(i64),
    /// It is the marker that ended one.
    Ended {
        /// Offset of the transaction's first record.
        first_offset: i64,
        /// Offset of the marker.
        marker_offset: i64,
        /// For the index, when it was aborted.
        aborted: Option<AbortedTxn>,
    },
}

impl ProducerStates {
    /// First offset of the earliest open transaction.
    pub fn first_open(&self) -> Option<i64> {
        self.open.keys().next().copied()
    }

    /// First offsets of all open transactions, in order.
    pub fn open_firsts(&self) -> impl Iterator<Item = i64> {
        self.open.keys().copied()
    }

    /// Whether the producer has a transaction open, in this epoch.
    pub fn has_open_txn(&self, producer_id: i64, producer_epoch: i16) -> bool {
        let known = self.producers.get(&producer_id);
        known.is_some_and(|k| k.has_open_txn() && k.epoch == producer_epoch)
    }

    /// The epochs, its own and its coordinator's, of a producer with a transaction open.
    pub fn open_txn_epochs(&self, producer_id: i64) -> Option<(i16, i32)> {
        let known = self.producers.get(&producer_id)?;
        known
            .has_open_txn()
            .then_some((known.epoch, known.coordinator_epoch))
    }

    /// Whether a coordinator's records in a transaction of this producer would be taken.
    pub fn takes_txn(&self, producer_id: i64, epoch: i16) -> Result<(), ProducerError> {
        match self.producers.get(&producer_id) {
            Some(known) if epoch < known.epoch => Err(ProducerError::InvalidEpoch {
                producer_id,
                epoch,
                current_epoch: known.epoch,
            }),
            None if self.open.len() >= self.max_producers => {
                Err(ProducerError::TooManyTransactions { producer_id })
            }
            _ => Ok(()),
        }
    }

    /// Whether the batch may begin a transaction, if it does.
    pub(super) fn check_txn(
        &self,
        known: Option<&Producer>,
        header: &BatchHeader,
        producing: Producing,
    ) -> Result<(), ProducerError> {
        let producer_id = header.producer_id;
        let goes_on = known.is_some_and(|k| k.has_open_txn() && k.epoch == header.producer_epoch);
        if !header.is_transactional() || goes_on {
            return Ok(());
        }
        if !producing.is_verified {
            return Err(ProducerError::NotVerified { producer_id });
        }
        // A producer of this kind is never forgotten in the middle of a transaction, and begins each at sequence 0 or behind its last batch.
        let is_new = known.is_none_or(|k| k.window.last().is_none());
        if producing.bumps_epochs && is_new && header.base_sequence > 0 {
            return Err(ProducerError::OutOfOrderSequence {
                producer_id,
                epoch: header.producer_epoch,
                current_epoch: known.map_or(-1, |k| k.epoch),
                sequence: header.base_sequence,
                last_sequence: NO_SEQUENCE,
            });
        }
        if known.is_none() && self.open.len() >= self.max_producers {
            return Err(ProducerError::TooManyTransactions { producer_id });
        }
        Ok(())
    }

    /// Judges a marker. One for a producer without an open transaction is written too: whoever sent it may have lost the answer to an earlier one.
    pub fn check_marker(&self, marker: &Marker) -> Result<(), ProducerError> {
        let Some(known) = self.producers.get(&marker.producer_id) else {
            return Ok(());
        };
        let epoch = marker.producer_epoch;
        let is_newer = match epoch.cmp(&known.epoch) {
            Ordering::Greater => true,
            Ordering::Less => false,
            // The epoch grows before the marker is written, so this one is of the transaction before, unless that has ended: then it was sent
            // twice. At the end of all epochs it cannot grow (KIP-1228, KAFKA-19999).
            Ordering::Equal => marker.transaction_version < 2 || !known.has_open_txn() || epoch == i16::MAX,
        };
        if !is_newer {
            return Err(ProducerError::InvalidEpoch {
                producer_id: marker.producer_id,
                epoch,
                current_epoch: known.epoch,
            });
        }
        if known.coordinator_epoch > marker.coordinator_epoch {
            return Err(ProducerError::CoordinatorFenced {
                coordinator_epoch: marker.coordinator_epoch,
                current_epoch: known.coordinator_epoch,
            });
        }
        Ok(())
    }

    /// Notes a marker.
    pub(super) fn end_txn(
        &mut self,
        header: &BatchHeader,
        end: EndTxn,
        marker_offset: i64,
        append_ms: i64,
    ) -> TxnStep {
        let producer_id = header.producer_id;
        let known = self.entry(producer_id, header.producer_epoch);
        known.enter_epoch(header.producer_epoch);
        let first_offset = std::mem::replace(&mut known.txn_first_offset, NO_TXN_OFFSET);
        known.coordinator_epoch = end.coordinator_epoch;
        (known.last_timestamp_ms, known.last_append_ms) = (header.max_timestamp_ms, append_ms);
        if first_offset == NO_TXN_OFFSET {
            return TxnStep::None;
        }
        self.open.remove(&first_offset);
        let last_stable_offset = self.first_open().unwrap_or(marker_offset + 1);
        let aborted = (end.kind == MarkerKind::Abort).then_some(AbortedTxn {
            producer_id,
            first_offset,
            last_offset: marker_offset,
            last_stable_offset,
        });
        TxnStep::Ended {
            first_offset,
            marker_offset,
            aborted,
        }
    }
}
