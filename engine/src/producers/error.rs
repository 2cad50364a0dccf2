//! Why a producer's batch, or a marker for it, is refused.

use std::fmt;

/// Why a producer's batch may not be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProducerError {
    /// The batch does not begin where the last one ended. OUT_OF_ORDER_SEQUENCE_NUMBER.
    OutOfOrderSequence {
        /// Id of the producer.
        producer_id: i64,
        /// Epoch in the batch.
        epoch: i16,
        /// Epoch known so far.
        current_epoch: i16,
        /// Sequence number of the batch's first record.
        sequence: i32,
        /// Sequence number of the last record known; -1 when the batch's epoch has none.
        last_sequence: i32,
    },
    /// The batch is of an epoch before the one known. INVALID_PRODUCER_EPOCH.
    InvalidEpoch {
        /// Id of the producer.
        producer_id: i64,
        /// Epoch in the batch.
        epoch: i16,
        /// Epoch known so far.
        current_epoch: i16,
    },
    /// The producer has a transaction open here, and the batch is not part of one. INVALID_TXN_STATE.
    OutsideTransaction {
        /// Id of the producer.
        producer_id: i64,
        /// Offset of the transaction's first record.
        txn_first_offset: i64,
    },
    /// The batch would begin a transaction, and nobody has asked the transaction coordinator whether the partition takes part in it.
    /// INVALID_TXN_STATE, unless the server asks and tries again (KIP-890).
    NotVerified {
        /// Id of the producer.
        producer_id: i64,
    },
    /// The marker comes from a coordinator that is none any more. TRANSACTION_COORDINATOR_FENCED.
    CoordinatorFenced {
        /// Epoch of the coordinator that sent it.
        coordinator_epoch: i32,
        /// Epoch of the one that sent the last.
        current_epoch: i32,
    },
    /// All producers that can be remembered have a transaction open. Passes when one of these ends.
    TooManyTransactions {
        /// The producer that has to wait.
        producer_id: i64,
    },
}

impl fmt::Display for ProducerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProducerError::OutOfOrderSequence {
                producer_id,
                epoch,
                current_epoch,
                sequence,
                last_sequence,
            } => write!(
                f,
                "producer {producer_id} sent sequence {sequence} in epoch {epoch}; \
                 the last one known is {last_sequence} in epoch {current_epoch}"
            ),
            ProducerError::InvalidEpoch {
                producer_id,
                epoch,
                current_epoch,
            } => {
                write!(
                    f,
                    "producer {producer_id} sent epoch {epoch}, but {current_epoch} is known"
                )
            }
            ProducerError::OutsideTransaction {
                producer_id,
                txn_first_offset,
            } => write!(
                f,
                "producer {producer_id} sent a batch outside its transaction, open since offset {txn_first_offset}"
            ),
            ProducerError::NotVerified { producer_id } => {
                write!(
                    f,
                    "the batch of producer {producer_id} is not part of an ongoing transaction"
                )
            }
            ProducerError::CoordinatorFenced {
                coordinator_epoch,
                current_epoch,
            } => write!(
                f,
                "the marker is of coordinator epoch {coordinator_epoch}, and {current_epoch} is known"
            ),
            ProducerError::TooManyTransactions { producer_id } => write!(
                f,
                "producer {producer_id} cannot begin a transaction: as many as can be are open"
            ),
        }
    }
}

impl std::error::Error for ProducerError {}
