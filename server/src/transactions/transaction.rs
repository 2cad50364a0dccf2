//! What is known of one transactional id: its producer, and the producer's transaction.

use std::collections::{BTreeMap, BTreeSet};

use crate::wire::transaction_records::{
    PartitionsSchema, TransactionLogKey, TransactionLogValue, TransactionRecord,
};

use super::Ending;
use super::state::TxnState;

/// No producer id.
pub(super) const NO_PRODUCER_ID: i64 = -1;
/// No producer epoch.
pub(super) const NO_PRODUCER_EPOCH: i16 = -1;
/// The last epoch a producer is given. The one after it stands in markers alone, and fences.
pub(super) const LAST_PRODUCER_EPOCH: i16 = i16::MAX - 1;
/// The transaction version from which each end brings the producer a new epoch (KIP-890).
pub(super) const BUMPS_EPOCH: i16 = 2;
/// A timeout that never passes: that of a producer of Kafka's two-phase commits.
const NEVER_MS: i32 = i32::MAX;

/// A transactional id's producer and its transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Transaction {
    /// The producer.
    pub producer_id: i64,
    /// The producer before the last change: another one right after the epochs of that one were used up.
    pub previous_producer_id: i64,
    /// The producer from the end of this transaction on, if its epochs are used up by then (transaction version 2).
    pub next_producer_id: i64,
    /// The epoch; while the transaction ends that of its markers.
    pub producer_epoch: i16,
    /// The epoch before, when the producer may ask again with it because it did not hear of the new one (KIP-360). No record has it: after a
    /// restart it is none.
    pub last_producer_epoch: i16,
    /// How long a transaction may take.
    pub timeout_ms: i32,
    /// How far it has come.
    pub state: TxnState,
    /// The partitions that take part, by topic.
    pub partitions: BTreeMap<String, BTreeSet<i32>>,
    /// When it began, in milliseconds since 1970, or -1.
    pub start_ms: i64,
    /// When it changed, in milliseconds since 1970.
    pub last_update_ms: i64,
    /// Transaction version of whoever changed it last.
    pub client_version: i16,
    /// When it has taken too long, on a clock that nobody sets. No record has it.
    pub due_ms: Option<i64>,
}

impl Transaction {
    /// A new id. No epoch was given yet.
    pub fn new(producer_id: i64, timeout_ms: i32) -> Transaction {
        Transaction {
            producer_id,
            previous_producer_id: NO_PRODUCER_ID,
            next_producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            last_producer_epoch: NO_PRODUCER_EPOCH,
            timeout_ms,
            state: TxnState::Empty,
            partitions: BTreeMap::new(),
            start_ms: -1,
            last_update_ms: -1,
            client_version: 0,
            due_ms: None,
        }
    }

    /// What a record says; nothing when it is of a state that is never stored.
    pub fn of(value: TransactionLogValue) -> Option<Transaction> {
        let mut partitions: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
        for topic in value.transaction_partitions.unwrap_or_default() {
            partitions
                .entry(topic.topic)
                .or_default()
                .extend(topic.partition_ids);
        }
        Some(Transaction {
            state: TxnState::of(value.transaction_status)?,
            producer_id: value.producer_id,
            previous_producer_id: value.previous_producer_id,
            next_producer_id: value.next_producer_id,
            producer_epoch: value.producer_epoch,
            last_producer_epoch: NO_PRODUCER_EPOCH,
            timeout_ms: value.transaction_timeout_ms,
            partitions,
            start_ms: value.transaction_start_timestamp_ms,
            last_update_ms: value.transaction_last_update_timestamp_ms,
            client_version: value.client_transaction_version,
            due_ms: None,
        })
    }

    /// All that a restart must not lose.
    pub fn record(&self, transactional_id: &str) -> TransactionRecord {
        let topics = self
            .partitions
            .iter()
            .map(|(topic, partitions)| PartitionsSchema {
                topic: topic.clone(),
                partition_ids: partitions.iter().copied().collect(),
            });
        let value = TransactionLogValue {
            producer_id: self.producer_id,
            previous_producer_id: self.previous_producer_id,
            next_producer_id: self.next_producer_id,
            client_transaction_version: self.client_version,
            producer_epoch: self.producer_epoch,
            transaction_timeout_ms: self.timeout_ms,
            transaction_status: self.state.number(),
            transaction_partitions: (self.state != TxnState::Empty).then(|| topics.collect()),
            transaction_last_update_timestamp_ms: self.last_update_ms,
            transaction_start_timestamp_ms: self.start_ms,
            ..Default::default()
        };
        TransactionRecord::State(key(transactional_id), Some(value))
    }

    /// Whether the producer has no epoch left.
    pub fn is_exhausted(&self) -> bool {
        self.producer_epoch >= LAST_PRODUCER_EPOCH
    }

    /// A producer is given the id: nothing is begun.
    pub fn begin_empty(
        &mut self,
        producer: (i64, i16),
        last_producer_epoch: i16,
        timeout_ms: i32,
        wall_ms: i64,
    ) {
        self.enter(TxnState::Empty, wall_ms);
        (self.producer_id, self.producer_epoch) = producer;
        self.last_producer_epoch = last_producer_epoch;
        self.timeout_ms = timeout_ms;
        self.partitions.clear();
        self.start_ms = -1;
    }

    /// Partitions take part. The first begin the transaction.
    pub fn add<'a>(
        &mut self,
        partitions: impl Iterator<Item = (&'a str, i32)>,
        client_version: i16,
        wall_ms: i64,
    ) {
        if self.state != TxnState::Ongoing {
            self.start_ms = wall_ms;
        }
        self.enter(TxnState::Ongoing, wall_ms);
        self.client_version = client_version;
        for (topic, partition) in partitions {
            match self.partitions.get_mut(topic) {
                Some(there) => {
                    there.insert(partition);
                }
                None => {
                    self.partitions
                        .insert(topic.to_owned(), BTreeSet::from([partition]));
                }
            }
        }
    }

    /// Whether the partition takes part.
    pub fn has(&self, topic: &str, partition: i32) -> bool {
        self.partitions
            .get(topic)
            .is_some_and(|partitions| partitions.contains(&partition))
    }

    /// About how many bytes the partitions take in a record.
    pub fn partitions_bytes(&self) -> usize {
        let topics = self.partitions.iter();
        topics
            .map(|(topic, partitions)| topic_bytes(topic, partitions.len()))
            .sum()
    }

    /// The end is decided. With transaction version 2 the epoch moves on, and its producer gets another id when there is no epoch after that one;
    /// with earlier versions it moves on only to fence.
    pub fn prepare(
        &mut self,
        is_commit: bool,
        client_version: i16,
        is_fence: bool,
        next_producer_id: i64,
        wall_ms: i64,
    ) {
        if self.state != TxnState::Ongoing {
            self.start_ms = wall_ms;
        }
        self.enter(TxnState::preparing(is_commit), wall_ms);
        let bumps = client_version >= BUMPS_EPOCH;
        if bumps {
            self.last_producer_epoch = self.producer_epoch;
        } else if is_fence {
            self.last_producer_epoch = NO_PRODUCER_EPOCH;
        }
        if bumps || is_fence {
            self.producer_epoch = self.producer_epoch.saturating_add(1);
        }
        self.next_producer_id = next_producer_id;
        self.client_version = client_version;
    }

    /// The producer from the end on.
    pub fn after_end(&self) -> (i64, i16) {
        let is_next = self.client_version >= BUMPS_EPOCH && self.next_producer_id != NO_PRODUCER_ID;
        match is_next {
            true => (self.next_producer_id, 0),
            false => (self.producer_id, self.producer_epoch),
        }
    }

    /// All markers are written.
    pub fn complete(&mut self, wall_ms: i64) {
        let producer = self.after_end();
        let state = match self.state {
            TxnState::PrepareCommit => TxnState::CompleteCommit,
            _ => TxnState::CompleteAbort,
        };
        self.enter(state, wall_ms);
        (self.producer_id, self.producer_epoch) = producer;
        self.next_producer_id = NO_PRODUCER_ID;
        self.partitions.clear();
    }

    /// The end that is under way.
    pub fn ending(&self, transactional_id: &str, coordinator_epoch: i32) -> Option<Ending> {
        let topics = self.partitions.iter();
        let partitions = topics
            .flat_map(|(topic, partitions)| partitions.iter().map(|partition| (topic.clone(), *partition)));
        self.state.is_ending().then(|| Ending {
            transactional_id: transactional_id.to_owned(),
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            coordinator_epoch,
            is_commit: self.state == TxnState::PrepareCommit,
            transaction_version: self.client_version,
            partitions: partitions.collect(),
        })
    }

    /// When it has taken too long, on a clock that shows `now_ms` when it is `wall_ms`. A clock that was set back does not make it last longer than
    /// its timeout from now.
    pub fn due_at(&self, now_ms: i64, wall_ms: i64) -> Option<i64> {
        if self.state != TxnState::Ongoing || self.timeout_ms == NEVER_MS {
            return None;
        }
        let most_ms = i64::from(self.timeout_ms.max(0)) + 1;
        let end_ms = self.start_ms.saturating_add(most_ms);
        let left_ms = end_ms.saturating_sub(wall_ms).clamp(0, most_ms);
        Some(now_ms.saturating_add(left_ms))
    }

    /// Kafka keeps the producer before every change, whether or not the change brings another.
    fn enter(&mut self, state: TxnState, wall_ms: i64) {
        self.previous_producer_id = self.producer_id;
        self.state = state;
        self.last_update_ms = wall_ms;
    }
}

/// About how many bytes partitions of a topic take in a record: more rather than less.
pub(super) fn topic_bytes(topic: &str, partitions: usize) -> usize {
    topic.len() + 16 + 4 * partitions
}

/// The key of an id's records.
pub(super) fn key(transactional_id: &str) -> TransactionLogKey {
    TransactionLogKey {
        transactional_id: transactional_id.to_owned(),
    }
}
