//! What goes into a coordinator of transactions and what comes out.

use crate::wire::ErrorCode;
use crate::wire::add_partitions_to_txn::{AddPartitionsToTxnTopicResult, AddPartitionsToTxnTransaction};
use crate::wire::describe_transactions::TransactionState as DescribedTransaction;
use crate::wire::end_txn::{EndTxnRequest, EndTxnResponse};
use crate::wire::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::wire::list_transactions::{ListTransactionsRequest, ListTransactionsResponse};
use crate::wire::transaction_records::TransactionRecord;

use super::TransactionSettings;

/// The world as a coordinator sees it during one step.
pub struct Ctx<'a> {
    /// Now, in milliseconds on a clock that nobody sets: deadlines are told by it.
    pub now_ms: i64,
    /// The time of day, in milliseconds since 1970: it stands in records, and says what is old after a restart.
    pub wall_ms: i64,
    /// The broker's settings.
    pub settings: &'a TransactionSettings,
    /// Epoch of this coordinator: the leader epoch of its partition. Markers carry it.
    pub coordinator_epoch: i32,
    /// The finalized `transaction.version`: 0, 1 or 2.
    pub transaction_version: i16,
    /// Takes a producer id nobody has; nothing when none is at hand, which passes: the request is COORDINATOR_LOAD_IN_PROGRESS then, as in
    /// Kafka, and what a deadline wanted is tried again later.
    pub new_producer_id: &'a mut dyn FnMut() -> Option<i64>,
}

/// Who asks, and where the answer goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller<T> {
    /// Where the answer goes; means nothing to a coordinator.
    pub to: T,
    /// Version of the request.
    pub version: i16,
}

/// A request about one transactional id, or, to list them, about all of a coordinator. Requests about several are taken apart before they
/// come here.
#[derive(Clone, Debug, PartialEq)]
pub enum TxnRequest {
    /// InitProducerId with a transactional id that is not empty.
    InitProducerId(InitProducerIdRequest),
    /// AddPartitionsToTxn of one transaction, in the form of version 4 and later whatever the version is; `verify_only` only looks.
    /// AddOffsetsToTxn is this, too, with the partition of the group's offsets; and so is what the owner of a partition asks before it takes
    /// the first batch of a transaction (KIP-890).
    AddPartitions(AddPartitionsToTxnTransaction),
    /// EndTxn.
    End(EndTxnRequest),
    /// DescribeTransactions of one id.
    Describe(String),
    /// ListTransactions.
    List(ListTransactionsRequest),
}

/// The answer to the [`TxnRequest`] of the same name.
#[derive(Clone, Debug, PartialEq)]
pub enum TxnResponse {
    /// InitProducerId.
    InitProducerId(InitProducerIdResponse),
    /// The partitions of one transaction, each with its code: an error that concerns the transaction stands at every partition.
    AddPartitions(Vec<AddPartitionsToTxnTopicResult>),
    /// EndTxn.
    End(EndTxnResponse),
    /// DescribeTransactions of one id.
    Describe(DescribedTransaction),
    /// ListTransactions of one coordinator.
    List(ListTransactionsResponse),
}

/// A transaction whose end is decided: its markers are to be written into all its partitions, and then
/// [`Coordinator::completed`](super::Coordinator::completed) is to be told, with the same `Ending`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The transactional id.
    pub transactional_id: String,
    /// The producer whose batches end.
    pub producer_id: i64,
    /// The epoch that stands in the markers: with transaction version 2 the one after that of the batches.
    pub producer_epoch: i16,
    /// Epoch of the coordinator.
    pub coordinator_epoch: i32,
    /// Committed or aborted.
    pub is_commit: bool,
    /// The transaction version of the client that wrote, which says how partitions fence: 0, 1 or 2.
    pub transaction_version: i16,
    /// The partitions: topic and index, sorted, none twice.
    pub partitions: Vec<(String, i32)>,
}

impl Ending {
    /// Whether it is the same end, whichever coordinator ordered it.
    pub fn is_that_of(&self, other: &Ending) -> bool {
        let coordinator_epoch = self.coordinator_epoch;
        *self
            == Ending {
                coordinator_epoch,
                ..other.clone()
            }
    }
}

/// What is to be done once the records of a step, and all before them, are durable.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome<T> {
    /// Send this answer.
    Reply(T, TxnResponse),
    /// Write these markers.
    Mark(Ending),
}

/// What follows from a request, a deadline, or the end of a load.
#[derive(Debug, PartialEq)]
pub struct Step<T> {
    /// To be appended, in order. The coordinator's state has them already.
    pub records: Vec<TransactionRecord>,
    /// To be done, in order, once these records and all before them are durable.
    pub outcomes: Vec<Outcome<T>>,
}

impl<T> Default for Step<T> {
    fn default() -> Self {
        Step {
            records: Vec::new(),
            outcomes: Vec::new(),
        }
    }
}

impl<T> Step<T> {
    /// One reply, and nothing to append.
    pub fn reply(to: T, response: TxnResponse) -> Self {
        Step {
            records: Vec::new(),
            outcomes: vec![Outcome::Reply(to, response)],
        }
    }

    /// Adds what follows from another.
    pub fn and(&mut self, other: Step<T>) {
        self.records.extend(other.records);
        self.outcomes.extend(other.outcomes);
    }
}

impl TxnRequest {
    /// The id the request is about; none when it is about all of a coordinator.
    pub fn transactional_id(&self) -> Option<&str> {
        match self {
            TxnRequest::InitProducerId(request) => request.transactional_id.as_deref(),
            TxnRequest::AddPartitions(transaction) => Some(&transaction.transactional_id),
            TxnRequest::End(request) => Some(&request.transactional_id),
            TxnRequest::Describe(transactional_id) => Some(transactional_id),
            TxnRequest::List(_) => None,
        }
    }

    /// The answer that nothing but an error is in, as Kafka forms it.
    pub fn refuse(&self, code: ErrorCode) -> TxnResponse {
        match self {
            TxnRequest::InitProducerId(_) => TxnResponse::InitProducerId(InitProducerIdResponse {
                error_code: code.code(),
                producer_epoch: -1,
                ..Default::default()
            }),
            TxnRequest::AddPartitions(transaction) => {
                TxnResponse::AddPartitions(all_partitions(transaction, code))
            }
            TxnRequest::End(_) => TxnResponse::End(EndTxnResponse {
                error_code: code.code(),
                ..Default::default()
            }),
            TxnRequest::Describe(transactional_id) => TxnResponse::Describe(DescribedTransaction {
                error_code: code.code(),
                transactional_id: transactional_id.clone(),
                ..Default::default()
            }),
            TxnRequest::List(_) => TxnResponse::List(ListTransactionsResponse {
                error_code: code.code(),
                ..Default::default()
            }),
        }
    }
}

/// The same code for every partition of a transaction's request.
pub fn all_partitions(
    transaction: &AddPartitionsToTxnTransaction,
    code: ErrorCode,
) -> Vec<AddPartitionsToTxnTopicResult> {
    use crate::wire::add_partitions_to_txn::AddPartitionsToTxnPartitionResult;
    let topics = transaction.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter();
        AddPartitionsToTxnTopicResult {
            name: topic.name.clone(),
            results_by_partition: partitions
                .map(|index| AddPartitionsToTxnPartitionResult {
                    partition_index: *index,
                    partition_error_code: code.code(),
                })
                .collect(),
        }
    });
    topics.collect()
}

impl TxnResponse {
    /// The same answer with an error instead of what it says: its records could not be stored.
    pub fn refused(self, code: ErrorCode) -> TxnResponse {
        match self {
            TxnResponse::InitProducerId(_) => TxnResponse::InitProducerId(InitProducerIdResponse {
                error_code: code.code(),
                producer_epoch: -1,
                ..Default::default()
            }),
            TxnResponse::AddPartitions(mut topics) => {
                let partitions = topics
                    .iter_mut()
                    .flat_map(|topic| &mut topic.results_by_partition);
                partitions.for_each(|partition| partition.partition_error_code = code.code());
                TxnResponse::AddPartitions(topics)
            }
            TxnResponse::End(_) => TxnResponse::End(EndTxnResponse {
                error_code: code.code(),
                ..Default::default()
            }),
            TxnResponse::Describe(described) => TxnResponse::Describe(DescribedTransaction {
                error_code: code.code(),
                transactional_id: described.transactional_id,
                ..Default::default()
            }),
            TxnResponse::List(_) => TxnResponse::List(ListTransactionsResponse {
                error_code: code.code(),
                ..Default::default()
            }),
        }
    }
}
