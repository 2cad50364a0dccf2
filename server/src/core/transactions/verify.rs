//! The first batch of a transaction for a partition, and the first offsets for a group, wait on the owner until the coordinator has the
//! partition in the transaction (KIP-890): what follows them from the same producer waits behind them.
//!
//! The coordinator's answer and its markers come from one core, in order. So a batch that is appended at once when the answer comes is before
//! the marker, and one that finds no room then is asked about again.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringlog_engine::batch::BatchHeader;
use ringlog_engine::shard::Producing;

use super::Asker;
use crate::core::Core;
use crate::core::groups::{GroupOrder, Groups};
use crate::core::mail::{AppendItem, AppendOrder, PartitionKey};
use crate::groups::GroupRequest;
use crate::handlers::groups::OFFSETS_TOPIC;
use crate::handlers::produce::Refused;
use crate::handlers::transactions::Enlisting;
use crate::transactions::{Caller, TxnRequest, TxnResponse};
use crate::wire::ErrorCode;
use crate::wire::add_partitions_to_txn::{AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction};

/// How soon the coordinator is asked again while it ends the transaction before, if it does not tell that it has.
const RETRY: Duration = Duration::from_millis(2);
/// How long it is: `add.partitions.to.txn.retry.backoff.max.ms` of Kafka.
const RETRY_FOR: Duration = Duration::from_millis(100);

/// The transaction a request writes in, as its client names it.
#[derive(Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The transactional id.
    pub id: String,
    /// How partitions come into it.
    pub enlisting: Enlisting,
}

impl Transaction {
    /// Whether the producer's epoch grows with each transaction.
    pub fn bumps_epochs(&self) -> bool {
        self.enlisting == Enlisting::Added
    }
}

/// What waits for the coordinator.
#[derive(Debug)]
enum Held {
    Append(AppendOrder),
    Offsets(Box<GroupOrder>),
}

impl Held {
    /// Transactional id, and the producer's epoch. A verdict is for those it was asked about.
    fn writes_in(&self) -> Option<(&str, i16)> {
        match self {
            Held::Append(order) => {
                let header = order
                    .items
                    .first()
                    .and_then(|item| BatchHeader::read(&item.records))?;
                Some((&order.transaction.as_ref()?.id, header.producer_epoch))
            }
            Held::Offsets(order) => match &order.request {
                GroupRequest::TxnCommit(request) => Some((&request.transactional_id, request.producer_epoch)),
                _ => None,
            },
        }
    }
}

/// One question to a coordinator, and what waits for the answer.
#[derive(Debug)]
struct Check {
    key: PartitionKey,
    transaction: AddPartitionsToTxnTransaction,
    enlisting: Enlisting,
    held: Vec<Held>,
    /// When no answer but "not now" is taken as the answer.
    until: Instant,
    /// When it is asked again.
    retry_at: Option<Instant>,
}

/// How long a batch that was refused for now is expected to come again before those behind it.
const EXPECTED_FOR: Duration = Duration::from_secs(60);
/// The most producers and partitions of which that is remembered.
const MOST_EXPECTED: usize = 4096;

/// The most questions to coordinators that an owner has open. Beyond them batches are refused for now.
const MOST_CHECKS: usize = 16_384;

/// The first batch of a producer that was refused for now. A partition that does not know the producer would take any that comes first.
#[derive(Debug)]
struct Expected {
    producer_epoch: i16,
    sequence: i32,
    until: Instant,
}

/// What an owner asks coordinators.
#[derive(Debug, Default)]
pub struct Checks {
    next_id: u64,
    /// By number.
    open: BTreeMap<u64, Check>,
    /// Their numbers, by partition and producer.
    by_producer: HashMap<(PartitionKey, i64), u64>,
    /// When those are asked about again whose coordinator was busy.
    retries: BTreeSet<(Instant, u64)>,
    /// By partition and producer.
    expected: BTreeMap<(PartitionKey, i64), Expected>,
    /// When the last of them is not expected any more.
    expected_until: Option<Instant>,
}

impl Checks {
    /// Whether nothing waits.
    pub fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// When a coordinator is asked again.
    pub fn deadline(&self) -> Option<Instant> {
        self.retries.first().map(|(at, _)| *at)
    }

    /// Whether batches for the partition wait.
    pub fn has_any_of(&self, key: &PartitionKey) -> bool {
        self.open.values().any(|check| check.key == *key)
    }

    /// Notes that this batch, and not one behind it, is to come next.
    pub(in crate::core) fn expect(&mut self, key: PartitionKey, header: &BatchHeader, now: Instant) {
        self.expected.retain(|_, expected| expected.until > now);
        self.expected_until = Some(now + EXPECTED_FOR);
        if self.expected.len() < MOST_EXPECTED {
            let expected = Expected {
                producer_epoch: header.producer_epoch,
                sequence: header.base_sequence,
                until: now + EXPECTED_FOR,
            };
            let place = self.expected.entry((key, header.producer_id));
            let known = place.or_insert(expected);
            // The earliest counts.
            if known.producer_epoch == header.producer_epoch {
                known.sequence = known.sequence.min(header.base_sequence);
            }
        }
    }

    /// Whether one before this batch is to come first.
    pub(in crate::core) fn comes_too_early(
        &mut self,
        key: &PartitionKey,
        header: &BatchHeader,
        now: Instant,
    ) -> bool {
        if self.expected_until.is_none_or(|until| until <= now) {
            self.expected.clear();
            return false;
        }
        let Some(expected) = self.expected.get(&(*key, header.producer_id)) else {
            return false;
        };
        let is_before = expected.producer_epoch == header.producer_epoch
            && header.base_sequence > expected.sequence
            && now < expected.until;
        if !is_before {
            self.expected.remove(&(*key, header.producer_id));
        }
        is_before
    }

    /// Whether any batch is to come before others.
    pub(in crate::core) fn has_expected(&self) -> bool {
        !self.expected.is_empty()
    }

    fn has(&self, key: &PartitionKey, producer_id: i64) -> bool {
        self.by_producer.contains_key(&(*key, producer_id))
    }

    /// Opens one, and returns its number.
    fn begin(&mut self, check: Check) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.by_producer
            .insert((check.key, check.transaction.producer_id), id);
        self.open.insert(id, check);
        id
    }

    /// Closes one: what comes from its producer next opens another.
    fn end(&mut self, id: u64) -> Option<Check> {
        let check = self.open.remove(&id)?;
        self.by_producer
            .remove(&(check.key, check.transaction.producer_id));
        Some(check)
    }

    /// Takes out the batches that nobody waits for any more.
    pub fn take_expired(
        &mut self,
        mut is_expired: impl FnMut(&AppendOrder) -> bool,
    ) -> VecDeque<AppendOrder> {
        let mut expired = VecDeque::new();
        for check in self.open.values_mut() {
            for held in std::mem::take(&mut check.held) {
                match held {
                    Held::Append(order) if is_expired(&order) => expired.push_back(order),
                    held => check.held.push(held),
                }
            }
        }
        expired
    }
}

impl Core {
    /// Owner: what is known of a batch before any coordinator is asked. Where a client does not leave it to the broker to add partitions, and
    /// `transaction.partition.verification.enable` is off, nobody is.
    pub(in crate::core) fn producing_in(&self, transaction: Option<&Transaction>) -> Producing {
        let verifies = self.transaction_settings.partition_verification;
        let bumps_epochs = transaction.is_some_and(Transaction::bumps_epochs);
        Producing {
            is_verified: !verifies && !bumps_epochs,
            bumps_epochs,
            ..Producing::default()
        }
    }

    /// Owner: whether a batch has to wait behind one of the same producer.
    pub(in crate::core) fn waits_behind_check(&self, item: &AppendItem) -> bool {
        if self.checks.is_idle() {
            return false;
        }
        let header = BatchHeader::read(&item.records);
        header
            .is_some_and(|header| header.is_transactional() && self.checks.has(&item.key, header.producer_id))
    }

    /// Owner: one batch that waits for the coordinator.
    pub(in crate::core) fn hold_for_check(&mut self, order: AppendOrder) {
        let Some(item) = order.items.first() else { return };
        let (header, key) = (BatchHeader::read(&item.records), item.key);
        let image = self.image.clone();
        let topic = image.topic_by_id(key.topic_id);
        let (Some(transaction), Some(header), Some(topic)) = (order.transaction.clone(), header, topic)
        else {
            return self.refuse_append(order, &refused(ErrorCode::InvalidTxnState));
        };
        let now = self.io.now();
        if self.checks.comes_too_early(&key, &header, now) {
            return self.refuse_append(order, &refused(ErrorCode::OutOfOrderSequenceNumber));
        }
        let producer = (header.producer_id, header.producer_epoch);
        let (name, had_turn) = (topic.name.to_string(), order.turn.is_some());
        self.hold_back(key, name, producer, &transaction, Held::Append(order));
        // It had room, and gave that back: whoever is next would take it, each time it is asked about.
        if had_turn && let Some(id) = self.checks.by_producer.get(&(key, producer.0)) {
            self.stand_still(key.topic_id, *id);
        }
    }

    /// Owner: a question for one of its coordinators of groups. Offsets of a transaction may have to wait for the transaction's coordinator.
    pub(in crate::core) fn take_offsets(&mut self, order: Box<GroupOrder>) {
        let GroupRequest::TxnCommit(request) = &order.request else {
            return self.take_order::<Groups>(order.partition, *order);
        };
        if request.group_id.is_empty() {
            return self.refuse_order::<Groups>(order.partition, &order, ErrorCode::InvalidGroupId);
        }
        let host = self.groups.by_partition.get(&order.partition);
        let Some(host) = host.filter(|host| host.refuses().is_none()) else {
            return self.take_order::<Groups>(order.partition, *order);
        };
        let key = host.key;
        let producer = (request.producer_id, request.producer_epoch);
        let slot = self.partitions.slot(&key);
        let is_open = slot.is_some_and(|slot| self.shard.has_open_txn(slot, producer.0, producer.1));
        if is_open && !self.checks.has(&key, producer.0) {
            return self.take_order::<Groups>(order.partition, *order);
        }
        let transaction = Transaction {
            id: request.transactional_id.clone(),
            enlisting: Enlisting::of_offsets(order.caller.version),
        };
        let name = OFFSETS_TOPIC.to_owned();
        self.hold_back(key, name, producer, &transaction, Held::Offsets(order));
    }

    fn hold_back(
        &mut self,
        key: PartitionKey,
        topic: String,
        (producer_id, producer_epoch): (i64, i16),
        transaction: &Transaction,
        held: Held,
    ) {
        if let Some(id) = self.checks.by_producer.get(&(key, producer_id))
            && let Some(check) = self.checks.open.get_mut(id)
        {
            return check.held.push(held);
        }
        if self.checks.open.len() >= MOST_CHECKS {
            return self.refuse_held(held, ErrorCode::NotEnoughReplicas);
        }
        let enlisting = transaction.enlisting;
        let transaction = AddPartitionsToTxnTransaction {
            transactional_id: transaction.id.clone(),
            producer_id,
            producer_epoch,
            verify_only: enlisting != Enlisting::Added,
            topics: vec![AddPartitionsToTxnTopic {
                name: topic,
                partitions: vec![key.index],
            }],
        };
        let check = Check {
            key,
            transaction,
            enlisting,
            held: vec![held],
            until: self.io.now() + RETRY_FOR,
            retry_at: None,
        };
        let id = self.checks.begin(check);
        self.ask_about(id);
    }

    fn ask_about(&mut self, id: u64) {
        let Some(check) = self.checks.open.get_mut(&id) else {
            return;
        };
        check.retry_at = None;
        let request = TxnRequest::AddPartitions(check.transaction.clone());
        let caller = Caller {
            to: Asker::Owner {
                core: self.id,
                check: id,
            },
            version: CHECK_VERSION,
        };
        if let Err(request) = self.ask_coordinator(caller, None, request) {
            self.on_checked(id, request.refuse(ErrorCode::CoordinatorNotAvailable));
        }
    }

    /// Owner: the coordinator has answered.
    pub(in crate::core) fn on_checked(&mut self, id: u64, answer: TxnResponse) {
        let code = match answer {
            TxnResponse::AddPartitions(topics) => {
                let mut partitions = topics.iter().flat_map(|topic| &topic.results_by_partition);
                partitions
                    .next()
                    .map_or(0, |partition| partition.partition_error_code)
            }
            _ => ErrorCode::UnknownServerError.code(),
        };
        let now = self.io.now();
        let Some(check) = self.checks.open.get_mut(&id) else {
            return;
        };
        let is_ending = code == ErrorCode::ConcurrentTransactions.code();
        if is_ending && check.enlisting == Enlisting::Added && now < check.until {
            check.retry_at = Some(now + RETRY);
            self.checks.retries.insert((now + RETRY, id));
            return;
        }
        if let Some(check) = self.checks.end(id) {
            let topic_id = check.key.topic_id;
            self.settle_check(check, code, now);
            self.go_on_waiting(topic_id, id);
        }
    }

    /// Appends or refuses what waited. What is of another transaction than was asked about is asked about itself.
    fn settle_check(&mut self, check: Check, code: i16, now: Instant) {
        let verdict = check.enlisting.verdict(code);
        let producing = Producing {
            is_verified: true,
            bumps_epochs: check.enlisting == Enlisting::Added,
            ..Producing::default()
        };
        let asked = (
            check.transaction.transactional_id.as_str(),
            check.transaction.producer_epoch,
        );
        let mut without_room = Vec::new();
        for held in check.held {
            let is_meant = held.writes_in() == Some(asked);
            match (held, verdict) {
                // One of the same producer found no room: this one waits behind it.
                (Held::Append(order), _) if !without_room.is_empty() => without_room.push(order),
                (Held::Append(order), _) if !is_meant => self.retake_append(order),
                (Held::Offsets(order), _) if !is_meant => self.take_offsets(order),
                (Held::Append(order), None) => without_room.extend(self.append_checked(order, producing)),
                (Held::Offsets(order), None) => self.take_order::<Groups>(order.partition, *order),
                (held, Some(code)) => {
                    if let Held::Append(order) = &held
                        && let Some(item) = order.items.first()
                        && let Some(header) = BatchHeader::read(&item.records)
                        && code.is_retriable()
                    {
                        self.checks.expect(check.key, &header, now);
                    }
                    self.refuse_held(held, code);
                }
            }
        }
        self.park_first(without_room);
    }

    fn refuse_held(&mut self, held: Held, code: ErrorCode) {
        match held {
            Held::Append(order) => self.refuse_append(order, &refused(code)),
            Held::Offsets(order) => {
                // As a coordinator of groups words what is the log's.
                let code = match code {
                    ErrorCode::NotEnoughReplicas => ErrorCode::CoordinatorNotAvailable,
                    code => code,
                };
                self.refuse_order::<Groups>(order.partition, &order, code);
            }
        }
    }

    /// Owner: the transaction before has ended.
    pub(in crate::core) fn check_again(&mut self, id: u64) {
        let check = self.checks.open.get_mut(&id);
        // It may have been asked again already.
        if let Some(at) = check.and_then(|check| check.retry_at.take()) {
            self.checks.retries.remove(&(at, id));
            self.ask_about(id);
        }
    }

    /// Owner: asks those again that were ending a transaction.
    pub(in crate::core) fn retry_checks(&mut self, now: Instant) {
        while let Some((at, id)) = self.checks.retries.first().copied().filter(|(at, _)| *at <= now) {
            self.checks.retries.remove(&(at, id));
            self.ask_about(id);
        }
    }

    /// The transaction a produce names.
    pub(in crate::core) fn transaction_of(id: Option<String>, version: i16) -> Option<Arc<Transaction>> {
        let enlisting = Enlisting::of_produce(version);
        id.map(|id| Arc::new(Transaction { id, enlisting }))
    }
}

/// The version that brokers ask each other in.
const CHECK_VERSION: i16 = 5;

fn refused(code: ErrorCode) -> Refused {
    match code {
        ErrorCode::InvalidTxnState => Refused::because(code, "Partition was not added to the transaction"),
        ErrorCode::NotEnoughReplicas => Refused::because(
            code,
            "Unable to verify the partition has been added to the transaction.",
        ),
        code => Refused::new(code),
    }
}

#[cfg(test)]
mod tests {
    use ringlog_engine::batch::BatchBuilder;

    use super::*;
    use crate::wire::Uuid;

    fn header(epoch: i16, sequence: i32) -> BatchHeader {
        let batch = BatchBuilder::new().producer(7, epoch, sequence).transactional();
        let bytes = batch.record(0, None, Some(b"x")).finish();
        BatchHeader::read(&bytes).expect("a batch")
    }

    #[test]
    fn a_batch_that_was_refused_for_now_comes_before_those_behind_it() {
        let key = PartitionKey {
            topic_id: Uuid::ZERO,
            index: 0,
        };
        let (now, mut checks) = (Instant::now(), Checks::default());
        let early = |checks: &mut Checks, epoch, sequence, at| {
            checks.comes_too_early(&key, &header(epoch, sequence), at)
        };
        assert!(!early(&mut checks, 0, 5, now), "nothing is known");
        checks.expect(key, &header(0, 1), now);
        checks.expect(key, &header(0, 0), now);
        checks.expect(key, &header(0, 2), now);
        assert!(early(&mut checks, 0, 1, now) && early(&mut checks, 0, 3, now));
        assert!(!early(&mut checks, 0, 0, now), "it is here");
        assert!(!early(&mut checks, 0, 1, now), "and the next may follow");
        checks.expect(key, &header(0, 0), now);
        assert!(
            !early(&mut checks, 1, 4, now),
            "of a later epoch, to which it is nothing"
        );
        checks.expect(key, &header(0, 0), now);
        assert!(
            !early(&mut checks, 0, 1, now + EXPECTED_FOR),
            "it does not come any more"
        );
    }

    #[test]
    fn what_is_expected_is_bounded() {
        let (now, mut checks) = (Instant::now(), Checks::default());
        for index in 0..MOST_EXPECTED as i32 + 10 {
            let key = PartitionKey {
                topic_id: Uuid::ZERO,
                index,
            };
            checks.expect(key, &header(0, 0), now);
        }
        assert_eq!(checks.expected.len(), MOST_EXPECTED);
        let key = PartitionKey {
            topic_id: Uuid::ZERO,
            index: 0,
        };
        checks.expect(key, &header(0, 0), now + EXPECTED_FOR);
        assert_eq!(checks.expected.len(), 1);
    }
}
