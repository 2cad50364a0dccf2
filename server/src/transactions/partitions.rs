//! AddPartitionsToTxn: partitions that take part in a transaction, and whether some do (KIP-890).

use crate::wire::ErrorCode;
use crate::wire::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult, AddPartitionsToTxnTransaction,
};

use super::init::known_to;
use super::state::TxnState;
use super::step::all_partitions;
use super::transaction::{BUMPS_EPOCH, Transaction, topic_bytes};
use super::{Coordinator, Ctx, Outcome, Step, TxnResponse};

/// From this version on clients know PRODUCER_FENCED.
const FENCED_FROM: i16 = 2;
/// The most bytes of partitions that a transaction takes. All of them stand in one record, which must fit into a batch of the topic.
const MAX_PARTITIONS_BYTES: usize = 512 << 10;
/// From this version on the partition's owner asks, for a client of transaction version 2.
const BUMPS_EPOCH_FROM: i16 = 4;

impl<T: Clone> Coordinator<T> {
    /// Partitions come to a transaction, all or none: the first begin it.
    pub(super) fn add_partitions(
        &mut self,
        ctx: &mut Ctx<'_>,
        to: T,
        version: i16,
        asked: &AddPartitionsToTxnTransaction,
    ) -> Step<T> {
        let mut step = Step::default();
        let error = match self.check_producer(asked) {
            Err(error) => known_to(version, FENCED_FROM, error),
            Ok(transaction) => {
                // Nothing is put down for partitions that take part already.
                let is_known = transaction.state == TxnState::Ongoing
                    && partitions(asked).all(|(topic, partition)| transaction.has(topic, partition));
                let asked_bytes: usize = asked
                    .topics
                    .iter()
                    .map(|topic| topic_bytes(&topic.name, topic.partitions.len()))
                    .sum();
                if is_known {
                    ErrorCode::None
                } else if transaction.partitions_bytes().saturating_add(asked_bytes) > MAX_PARTITIONS_BYTES {
                    // What Kafka says when the record is too large for its log.
                    ErrorCode::UnknownServerError
                } else {
                    let client_version = match version >= BUMPS_EPOCH_FROM {
                        true => BUMPS_EPOCH,
                        false => 0,
                    };
                    let id = asked.transactional_id.as_str();
                    self.change(ctx, id, &mut step, |transaction, wall_ms| {
                        transaction.add(partitions(asked), client_version, wall_ms);
                    });
                    ErrorCode::None
                }
            }
        };
        let answer = TxnResponse::AddPartitions(all_partitions(asked, error));
        step.outcomes.push(Outcome::Reply(to, answer));
        step
    }

    /// Whether partitions take part. One that does not is TRANSACTION_ABORTABLE: its producer believes that it does.
    pub(super) fn verify_partitions(
        &self,
        asked: &AddPartitionsToTxnTransaction,
    ) -> Vec<AddPartitionsToTxnTopicResult> {
        let transaction = match self.check_producer(asked) {
            Ok(transaction) => transaction,
            Err(error) => return all_partitions(asked, error),
        };
        let topics = asked.topics.iter().map(|topic| {
            let of = |partition: &i32| match transaction.has(&topic.name, *partition) {
                true => ErrorCode::None,
                false => ErrorCode::TransactionAbortable,
            };
            let rows = topic.partitions.iter();
            AddPartitionsToTxnTopicResult {
                name: topic.name.clone(),
                results_by_partition: rows
                    .map(|partition| AddPartitionsToTxnPartitionResult {
                        partition_index: *partition,
                        partition_error_code: of(partition).code(),
                    })
                    .collect(),
            }
        });
        topics.collect()
    }

    fn check_producer(&self, asked: &AddPartitionsToTxnTransaction) -> Result<&Transaction, ErrorCode> {
        let id = asked.transactional_id.as_str();
        if id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        match self.transactions.get(id) {
            Some(transaction) if transaction.producer_id == asked.producer_id => {
                if transaction.producer_epoch != asked.producer_epoch {
                    Err(ErrorCode::ProducerFenced)
                } else if transaction.state.is_ending() {
                    Err(ErrorCode::ConcurrentTransactions)
                } else {
                    Ok(transaction)
                }
            }
            _ => Err(ErrorCode::InvalidProducerIdMapping),
        }
    }
}

fn partitions(asked: &AddPartitionsToTxnTransaction) -> impl Iterator<Item = (&str, i32)> {
    let topics = asked.topics.iter();
    topics.flat_map(|topic| {
        topic
            .partitions
            .iter()
            .map(|partition| (topic.name.as_str(), *partition))
    })
}
