//! Requests about transactions, taken apart into a question for each transactional id and put together again. Pure.
//!
//! The partition of `__transaction_state` that an id hashes to says whose question it is; which partitions take part in a transaction is
//! checked here, before any coordinator hears of them.

use std::collections::HashSet;

use crate::handlers::groups::{self, OFFSETS_TOPIC};
use crate::metadata::controller::names;
use crate::metadata::image::{MetadataImage, Topic};
use crate::transactions::step::all_partitions;
use crate::transactions::{TxnRequest, TxnResponse};
use crate::wire::add_offsets_to_txn::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};
use crate::wire::add_partitions_to_txn::*;
use crate::wire::describe_transactions::{DescribeTransactionsRequest, DescribeTransactionsResponse};
use crate::wire::end_txn::EndTxnRequest;
use crate::wire::init_producer_id::InitProducerIdRequest;
use crate::wire::list_transactions::{ListTransactionsRequest, ListTransactionsResponse};
use crate::wire::{ApiKey, Decoder, ErrorCode, Message, WireError};

/// The topic in which transactions are kept.
pub const TRANSACTIONS_TOPIC: &str = "__transaction_state";
/// The first version that brokers ask, for many transactions at once (KIP-890).
const PARTITIONS_MANY_FROM: i16 = 4;
/// The first versions whose clients know PRODUCER_FENCED. For older ones it is INVALID_PRODUCER_EPOCH.
const INIT_FENCED_FROM: i16 = 4;
const FENCED_FROM: i16 = 2;
/// Transactions that one request may name.
const MAX_QUESTIONS: usize = 100_000;

/// A request in parts.
#[derive(Debug)]
pub struct Apart {
    /// What is to be asked or is answered already, in order.
    pub questions: Vec<Question>,
    /// How the answers are put together.
    pub form: Form,
}

/// One part of a request.
#[derive(Debug)]
pub enum Question {
    /// For the coordinator of its id.
    Ask(TxnRequest),
    /// For the coordinator with this index, whatever ids it has.
    AskAt(i32, TxnRequest),
    /// Answered.
    Settled(TxnResponse),
}

/// How a response is put together.
#[derive(Debug)]
pub enum Form {
    /// The answer itself.
    One,
    /// An error for each of the partitions of the one transaction.
    Partitions,
    /// One code for all partitions: AddOffsetsToTxn.
    Offsets,
    /// The ids of transactions, in the order of their answers.
    Many(Vec<String>),
    /// A row for each answer.
    Rows,
    /// The rows of all coordinators, and the states that were asked for.
    List(Vec<String>),
}

/// The partition of a transactional id's coordinator.
pub fn partition_of(transactional_id: &str, partitions: usize) -> i32 {
    groups::partition_of(transactional_id, partitions)
}

/// The version that a coordinator is told. To it AddOffsetsToTxn is AddPartitionsToTxn, which clients stop sending with version 3: what comes
/// later is from brokers, for producers of the newest kind.
pub fn coordinators_version(key: ApiKey, version: i16) -> i16 {
    match key {
        ApiKey::AddOffsetsToTxn => version.min(PARTITIONS_MANY_FROM - 1),
        _ => version,
    }
}

/// The topic in which transactions are kept, if it is there.
pub fn transactions_topic(image: &MetadataImage) -> Option<&Topic> {
    image.topic(TRANSACTIONS_TOPIC)
}

/// Decodes a request about transactions and takes it apart. `coordinators` is the number of partitions of their topic, `offsets_partitions` that of
/// the groups', there or still to be made.
///
/// # Errors
/// It is malformed, or about something else.
pub fn apart(
    key: ApiKey,
    version: i16,
    body: &mut Decoder<'_>,
    image: &MetadataImage,
    coordinators: usize,
    offsets_partitions: usize,
) -> Result<Apart, WireError> {
    let one = |request| Apart {
        questions: vec![Question::Ask(request)],
        form: Form::One,
    };
    let apart = match key {
        ApiKey::EndTxn => one(TxnRequest::End(EndTxnRequest::decode_as(body, version)?)),
        ApiKey::AddPartitionsToTxn => partitions(
            AddPartitionsToTxnRequest::decode_as(body, version)?,
            version,
            image,
        ),
        ApiKey::AddOffsetsToTxn => offsets(
            AddOffsetsToTxnRequest::decode_as(body, version)?,
            offsets_partitions,
        ),
        ApiKey::DescribeTransactions => {
            let request = DescribeTransactionsRequest::decode_as(body, version)?;
            // An id that is named twice is told once.
            let mut named = HashSet::new();
            let ids = request.transactional_ids.into_iter();
            let ids = ids.filter(|id| named.insert(id.clone()));
            Apart {
                questions: ids
                    .map(|id| match id.is_empty() {
                        true => Question::Settled(TxnRequest::Describe(id).refuse(ErrorCode::InvalidRequest)),
                        false => Question::Ask(TxnRequest::Describe(id)),
                    })
                    .collect(),
                form: Form::Rows,
            }
        }
        ApiKey::ListTransactions => {
            let request = ListTransactionsRequest::decode_as(body, version)?;
            let states = request.state_filters.clone();
            let question = |index| Question::AskAt(index, TxnRequest::List(request.clone()));
            Apart {
                questions: (0..coordinators as i32).map(question).collect(),
                form: Form::List(states),
            }
        }
        other => return Err(WireError::UnknownType(i32::from(other as i16))),
    };
    match apart.questions.len() {
        ..=MAX_QUESTIONS => Ok(apart),
        count => Err(WireError::TooManyElements(count)),
    }
}

/// InitProducerId with a transactional id, decoded and checked already.
pub fn init(request: InitProducerIdRequest) -> Apart {
    Apart {
        questions: vec![Question::Ask(TxnRequest::InitProducerId(request))],
        form: Form::One,
    }
}

fn partitions(request: AddPartitionsToTxnRequest, version: i16, image: &MetadataImage) -> Apart {
    if version < PARTITIONS_MANY_FROM {
        let transaction = AddPartitionsToTxnTransaction {
            transactional_id: request.v3_and_below_transactional_id,
            producer_id: request.v3_and_below_producer_id,
            producer_epoch: request.v3_and_below_producer_epoch,
            verify_only: false,
            topics: request.v3_and_below_topics,
        };
        return Apart {
            questions: vec![checked(transaction, image, |topic| !names::is_internal(topic))],
            form: Form::Partitions,
        };
    }
    let ids = request.transactions.iter();
    let ids = ids
        .map(|transaction| transaction.transactional_id.clone())
        .collect();
    let transactions = request.transactions.into_iter();
    Apart {
        questions: transactions
            .map(|transaction| checked(transaction, image, |_| true))
            .collect(),
        form: Form::Many(ids),
    }
}

/// Asks only if every partition is there and may be written to. Otherwise those that are were not tried.
fn checked(
    transaction: AddPartitionsToTxnTransaction,
    image: &MetadataImage,
    may_write: impl Fn(&str) -> bool,
) -> Question {
    let fault = |topic: &str, index: i32| match image.topic(topic) {
        _ if !may_write(topic) => Some(ErrorCode::TopicAuthorizationFailed),
        Some(found) if found.partitions.contains_key(&index) => None,
        _ => Some(ErrorCode::UnknownTopicOrPartition),
    };
    let mut results = all_partitions(&transaction, ErrorCode::OperationNotAttempted);
    let mut is_sound = true;
    for topic in &mut results {
        for partition in &mut topic.results_by_partition {
            if let Some(code) = fault(&topic.name, partition.partition_index) {
                partition.partition_error_code = code.code();
                is_sound = false;
            }
        }
    }
    match is_sound {
        true => Question::Ask(TxnRequest::AddPartitions(transaction)),
        false => Question::Settled(TxnResponse::AddPartitions(results)),
    }
}

/// Offsets of a group are in a partition like any other.
fn offsets(request: AddOffsetsToTxnRequest, partitions: usize) -> Apart {
    let transaction = AddPartitionsToTxnTransaction {
        transactional_id: request.transactional_id,
        producer_id: request.producer_id,
        producer_epoch: request.producer_epoch,
        verify_only: false,
        topics: vec![AddPartitionsToTxnTopic {
            name: OFFSETS_TOPIC.to_owned(),
            partitions: vec![groups::partition_of(&request.group_id, partitions)],
        }],
    };
    Apart {
        questions: vec![Question::Ask(TxnRequest::AddPartitions(transaction))],
        form: Form::Offsets,
    }
}

/// The body of the response, appended to `out`, from one answer for each question, in their order.
pub fn together(key: ApiKey, version: i16, form: &Form, told: Vec<TxnResponse>, out: &mut Vec<u8>) {
    match form {
        Form::One => match told.into_iter().next() {
            Some(TxnResponse::InitProducerId(mut response)) => {
                response.error_code = fenced(response.error_code, version >= INIT_FENCED_FROM);
                response.encode(out, version);
            }
            Some(TxnResponse::End(mut response)) => {
                response.error_code = fenced(response.error_code, version >= FENCED_FROM);
                response.encode(out, version);
            }
            _ => {}
        },
        Form::Partitions => {
            let mut results = partition_results(told.into_iter().next());
            for partition in results
                .iter_mut()
                .flat_map(|topic| &mut topic.results_by_partition)
            {
                partition.partition_error_code =
                    fenced(partition.partition_error_code, version >= FENCED_FROM);
            }
            let response = AddPartitionsToTxnResponse {
                results_by_topic_v3_and_below: results,
                ..Default::default()
            };
            response.encode(out, version);
        }
        Form::Offsets => {
            let results = partition_results(told.into_iter().next());
            let first = results
                .iter()
                .flat_map(|topic| &topic.results_by_partition)
                .next();
            let code = first.map_or(0, |partition| partition.partition_error_code);
            let response = AddOffsetsToTxnResponse {
                error_code: fenced(code, version >= FENCED_FROM),
                ..Default::default()
            };
            response.encode(out, version);
        }
        Form::Many(ids) => {
            let results = ids.iter().zip(told).map(|(id, told)| AddPartitionsToTxnResult {
                transactional_id: id.clone(),
                topic_results: partition_results(Some(told)),
            });
            let response = AddPartitionsToTxnResponse {
                results_by_transaction: results.collect(),
                ..Default::default()
            };
            response.encode(out, version);
        }
        Form::Rows => {
            let states = told.into_iter().filter_map(|told| match told {
                TxnResponse::Describe(state) => Some(state),
                _ => None,
            });
            let response = DescribeTransactionsResponse {
                transaction_states: states.collect(),
                ..Default::default()
            };
            response.encode(out, version);
        }
        Form::List(states) => list(states, told).encode(out, version),
    }
    debug_assert!(!out.is_empty(), "{key} is answered");
}

fn partition_results(told: Option<TxnResponse>) -> Vec<AddPartitionsToTxnTopicResult> {
    match told {
        Some(TxnResponse::AddPartitions(results)) => results,
        _ => Vec::new(),
    }
}

/// The rows of all coordinators. When one of them could not tell, nothing is told.
fn list(states: &[String], told: Vec<TxnResponse>) -> ListTransactionsResponse {
    let mut response = ListTransactionsResponse {
        unknown_state_filters: crate::transactions::unknown_states(states),
        ..Default::default()
    };
    for told in told {
        let TxnResponse::List(mut rows) = told else {
            continue;
        };
        if rows.error_code != 0 {
            return ListTransactionsResponse {
                error_code: rows.error_code,
                ..Default::default()
            };
        }
        response.transaction_states.append(&mut rows.transaction_states);
    }
    response
}

/// What a client that does not know PRODUCER_FENCED is told.
fn fenced(code: i16, knows: bool) -> i16 {
    match code == ErrorCode::ProducerFenced.code() && !knows {
        true => ErrorCode::InvalidProducerEpoch.code(),
        false => code,
    }
}

/// How the partition that a batch or an offset is for comes into a transaction (KIP-890). What the newest clients leave to the broker,
/// older ones have done before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enlisting {
    /// It must be in the transaction; the client knows no TRANSACTION_ABORTABLE.
    Old,
    /// It must be in the transaction.
    Verified,
    /// It is added now, and the producer's epoch grows with each transaction.
    Added,
}

impl Enlisting {
    /// By the version of a produce.
    pub fn of_produce(version: i16) -> Enlisting {
        match version {
            12.. => Enlisting::Added,
            11 => Enlisting::Verified,
            _ => Enlisting::Old,
        }
    }

    /// By the version of a TxnOffsetCommit.
    pub fn of_offsets(version: i16) -> Enlisting {
        match version {
            5.. => Enlisting::Added,
            4 => Enlisting::Verified,
            _ => Enlisting::Old,
        }
    }

    /// What the coordinator's answer about the partition comes to: nothing when it is in the transaction.
    pub fn verdict(self, code: i16) -> Option<ErrorCode> {
        match ErrorCode::from_code(code) {
            ErrorCode::None => None,
            // What producers expect here.
            ErrorCode::ProducerFenced => Some(ErrorCode::InvalidProducerEpoch),
            ErrorCode::TransactionAbortable if self == Enlisting::Old => Some(ErrorCode::InvalidTxnState),
            // Tried again by every client, and without looking for another leader.
            ErrorCode::NetworkException
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator => Some(ErrorCode::NotEnoughReplicas),
            ErrorCode::ConcurrentTransactions if self != Enlisting::Added => {
                Some(ErrorCode::NotEnoughReplicas)
            }
            code => Some(code),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::controller::testing::{image, topic};
    use crate::wire::end_txn::EndTxnResponse;
    use crate::wire::list_transactions::TransactionState;

    fn world() -> MetadataImage {
        image(&[topic("t", 2), topic(OFFSETS_TOPIC, 50)].concat())
    }

    fn questions<M: Message>(key: ApiKey, version: i16, request: &M, coordinators: usize) -> Apart {
        let mut bytes = Vec::new();
        request.encode_as(&mut bytes, version);
        let bytes = bytes.into();
        let mut body = Decoder::new(&bytes);
        apart(key, version, &mut body, &world(), coordinators, 50).expect("a good request")
    }

    fn named(name: &str, partitions: &[i32]) -> AddPartitionsToTxnTopic {
        AddPartitionsToTxnTopic {
            name: name.into(),
            partitions: partitions.to_vec(),
        }
    }

    /// The codes of all partitions, when the coordinator is not asked.
    fn settled(question: &Question) -> Option<Vec<i16>> {
        match question {
            Question::Settled(TxnResponse::AddPartitions(topics)) => {
                let partitions = topics.iter().flat_map(|topic| &topic.results_by_partition);
                Some(
                    partitions
                        .map(|partition| partition.partition_error_code)
                        .collect(),
                )
            }
            _ => None,
        }
    }

    #[test]
    fn one_unknown_partition_keeps_the_others_out() {
        let ask = |topics: &[AddPartitionsToTxnTopic]| {
            let request = AddPartitionsToTxnRequest {
                v3_and_below_transactional_id: "id".into(),
                v3_and_below_topics: topics.to_vec(),
                ..Default::default()
            };
            settled(&questions(ApiKey::AddPartitionsToTxn, 3, &request, 50).questions[0])
        };
        assert_eq!(ask(&[named("t", &[0, 1])]), None);
        assert_eq!(
            ask(&[named("t", &[0, 2]), named("u", &[0])]),
            Some(vec![55, 3, 3])
        );
        assert_eq!(
            ask(&[named("t", &[0]), named(OFFSETS_TOPIC, &[0])]),
            Some(vec![55, 29])
        );
    }

    #[test]
    fn brokers_ask_for_many_and_may_name_internal_topics() {
        let transaction = |id: &str, topics: &[AddPartitionsToTxnTopic]| AddPartitionsToTxnTransaction {
            transactional_id: id.into(),
            topics: topics.to_vec(),
            ..Default::default()
        };
        let request = AddPartitionsToTxnRequest {
            transactions: vec![
                transaction("a", &[named(OFFSETS_TOPIC, &[3])]),
                transaction("b", &[named("no", &[0])]),
            ],
            ..Default::default()
        };
        let apart = questions(ApiKey::AddPartitionsToTxn, 5, &request, 50);
        let found: Vec<_> = apart.questions.iter().map(settled).collect();
        assert_eq!(found, [None, Some(vec![3])]);
        let told = vec![
            TxnResponse::AddPartitions(all_partitions(
                &request.transactions[0],
                ErrorCode::ProducerFenced,
            )),
            TxnResponse::AddPartitions(all_partitions(&request.transactions[1], ErrorCode::None)),
        ];
        let mut out = Vec::new();
        together(ApiKey::AddPartitionsToTxn, 5, &apart.form, told, &mut out);
        let response =
            AddPartitionsToTxnResponse::decode(&mut Decoder::new(&out.into()), 5).expect("an answer");
        let rows: Vec<_> = response
            .results_by_transaction
            .iter()
            .map(|row| {
                let first = &row.topic_results[0].results_by_partition[0];
                (row.transactional_id.as_str(), first.partition_error_code)
            })
            .collect();
        assert_eq!(rows, [("a", 90), ("b", 0)]);
    }

    #[test]
    fn offsets_are_a_partition_of_the_transaction() {
        let request = AddOffsetsToTxnRequest {
            transactional_id: "id".into(),
            group_id: "group".into(),
            ..Default::default()
        };
        let apart = questions(ApiKey::AddOffsetsToTxn, 3, &request, 50);
        let Question::Ask(TxnRequest::AddPartitions(asked)) = &apart.questions[0] else {
            panic!("{apart:?}");
        };
        assert_eq!(asked.topics, [named(OFFSETS_TOPIC, &[47])]);
        let told = vec![TxnResponse::AddPartitions(all_partitions(
            asked,
            ErrorCode::ProducerFenced,
        ))];
        let code = |version| {
            let mut out = Vec::new();
            together(
                ApiKey::AddOffsetsToTxn,
                version,
                &apart.form,
                told.clone(),
                &mut out,
            );
            let response = AddOffsetsToTxnResponse::decode(&mut Decoder::new(&out.into()), version);
            response.expect("an answer").error_code
        };
        assert_eq!(
            [code(1), code(2)],
            [47, 90],
            "older clients do not know what fenced is"
        );
        let version = |key| coordinators_version(key, 4);
        assert_eq!([ApiKey::AddOffsetsToTxn, ApiKey::EndTxn].map(version), [3, 4]);
    }

    #[test]
    fn a_list_is_that_of_all_coordinators_or_of_none() {
        let request = ListTransactionsRequest {
            state_filters: vec!["Ongoing".into(), "Strange".into()],
            ..Default::default()
        };
        let rows = |code: ErrorCode| {
            let apart = questions(ApiKey::ListTransactions, 2, &request, 2);
            assert_eq!(apart.questions.len(), 2);
            let one = |id: &str, code: ErrorCode| {
                TxnResponse::List(ListTransactionsResponse {
                    error_code: code.code(),
                    transaction_states: vec![TransactionState {
                        transactional_id: id.into(),
                        ..Default::default()
                    }],
                    ..Default::default()
                })
            };
            let told = vec![one("a", ErrorCode::None), one("b", code)];
            let mut out = Vec::new();
            together(ApiKey::ListTransactions, 2, &apart.form, told, &mut out);
            ListTransactionsResponse::decode(&mut Decoder::new(&out.into()), 2).expect("an answer")
        };
        let whole = rows(ErrorCode::None);
        assert_eq!((whole.error_code, whole.transaction_states.len()), (0, 2));
        assert_eq!(whole.unknown_state_filters, ["Strange"]);
        let broken = rows(ErrorCode::CoordinatorLoadInProgress);
        assert_eq!((broken.error_code, broken.transaction_states.len()), (14, 0));
    }

    #[test]
    fn a_fenced_producer_of_old_is_told_that_its_epoch_is_wrong() {
        let told = || {
            vec![TxnResponse::End(EndTxnResponse {
                error_code: 90,
                ..Default::default()
            })]
        };
        for (version, want) in [(1, 47), (2, 90), (5, 90)] {
            let mut out = Vec::new();
            together(ApiKey::EndTxn, version, &Form::One, told(), &mut out);
            let response = EndTxnResponse::decode(&mut Decoder::new(&out.into()), version);
            assert_eq!(response.expect("an answer").error_code, want, "{version}");
        }
    }

    #[test]
    fn what_the_coordinator_says_about_a_partition_is_worded_for_its_producer() {
        use Enlisting::*;
        let verdict = |enlisting: Enlisting, code: ErrorCode| enlisting.verdict(code.code());
        for version in [3, 10, 11, 12, 13] {
            assert_eq!(verdict(Enlisting::of_produce(version), ErrorCode::None), None);
        }
        assert_eq!([10, 11, 12].map(Enlisting::of_produce), [Old, Verified, Added]);
        assert_eq!([3, 4, 5].map(Enlisting::of_offsets), [Old, Verified, Added]);
        let cases = [
            (Old, ErrorCode::TransactionAbortable, ErrorCode::InvalidTxnState),
            (
                Verified,
                ErrorCode::TransactionAbortable,
                ErrorCode::TransactionAbortable,
            ),
            (Old, ErrorCode::ProducerFenced, ErrorCode::InvalidProducerEpoch),
            (
                Added,
                ErrorCode::ConcurrentTransactions,
                ErrorCode::ConcurrentTransactions,
            ),
            (
                Verified,
                ErrorCode::ConcurrentTransactions,
                ErrorCode::NotEnoughReplicas,
            ),
            (Added, ErrorCode::NotCoordinator, ErrorCode::NotEnoughReplicas),
            (
                Added,
                ErrorCode::InvalidProducerIdMapping,
                ErrorCode::InvalidProducerIdMapping,
            ),
        ];
        for (enlisting, told, want) in cases {
            assert_eq!(verdict(enlisting, told), Some(want), "{enlisting:?} {told}");
        }
    }
}
