//! Transactions by hand: each request of a transactional producer, and what a reader of either isolation level gets.

use std::io;

use bytes::Bytes;
use kafka_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, BrokerId, DescribeTransactionsRequest, EndTxnRequest,
    FetchRequest, FindCoordinatorRequest, InitProducerIdRequest, ListOffsetsRequest, OffsetFetchRequest,
    ProduceRequest, ProducerId, TransactionalId, TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::Request;

use crate::group::{group_id, text};
use crate::raw::{Batch, Connection, Want, fetch_request, name, produce_request};
use crate::{PATIENCE, code, wait_for};

/// A fetch or lookup that sees everything below the high watermark.
pub const READ_UNCOMMITTED: i8 = 0;
/// A fetch or lookup that sees what is below the last stable offset.
pub const READ_COMMITTED: i8 = 1;
/// The bit in a batch's attributes: part of a transaction.
pub const TRANSACTIONAL: i16 = 0x10;
/// The bit in a batch's attributes: a marker, not records.
pub const CONTROL: i16 = 0x20;

/// Errors after which a client asks again: the coordinator is not there yet, or busy with the transaction before.
const RETRIABLE: &[i16] = &[
    code::COORDINATOR_LOAD_IN_PROGRESS,
    code::COORDINATOR_NOT_AVAILABLE,
    code::NOT_COORDINATOR,
    code::CONCURRENT_TRANSACTIONS,
];

/// A producer as the coordinator knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Producer {
    /// Its id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
}

impl Producer {
    /// No producer: what a first InitProducerId says.
    pub const NONE: Producer = Producer { id: -1, epoch: -1 };

    /// The same id with the epoch that follows `by` later.
    pub fn later(self, by: i16) -> Producer {
        Producer {
            id: self.id,
            epoch: self.epoch + by,
        }
    }
}

/// A transactional id of the crate kafka-protocol.
pub fn txn_id(id: &str) -> TransactionalId {
    TransactionalId::from(text(id))
}

/// InitProducerId of a transactional id, by a producer that has none or goes on.
pub fn init_request(id: &str, timeout_ms: i32, producer: Producer) -> InitProducerIdRequest {
    InitProducerIdRequest::default()
        .with_transactional_id(Some(txn_id(id)))
        .with_transaction_timeout_ms(timeout_ms)
        .with_producer_id(ProducerId(producer.id))
        .with_producer_epoch(producer.epoch)
}

/// AddPartitionsToTxn as clients send it, versions 0 to 3.
pub fn add_partitions_request(
    id: &str,
    producer: Producer,
    topics: &[(&str, &[i32])],
) -> AddPartitionsToTxnRequest {
    AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(txn_id(id))
        .with_v3_and_below_producer_id(ProducerId(producer.id))
        .with_v3_and_below_producer_epoch(producer.epoch)
        .with_v3_and_below_topics(topics_of(topics))
}

/// AddPartitionsToTxn as brokers send it, versions 4 and later: one transaction of the request.
pub fn transaction(
    id: &str,
    producer: Producer,
    verify_only: bool,
    topics: &[(&str, &[i32])],
) -> AddPartitionsToTxnTransaction {
    AddPartitionsToTxnTransaction::default()
        .with_transactional_id(txn_id(id))
        .with_producer_id(ProducerId(producer.id))
        .with_producer_epoch(producer.epoch)
        .with_verify_only(verify_only)
        .with_topics(topics_of(topics))
}

fn topics_of(topics: &[(&str, &[i32])]) -> Vec<AddPartitionsToTxnTopic> {
    let topic = |(topic, partitions): &(&str, &[i32])| {
        AddPartitionsToTxnTopic::default()
            .with_name(name(topic))
            .with_partitions(partitions.to_vec())
    };
    topics.iter().map(topic).collect()
}

/// AddOffsetsToTxn.
pub fn add_offsets_request(id: &str, producer: Producer, group: &str) -> AddOffsetsToTxnRequest {
    AddOffsetsToTxnRequest::default()
        .with_transactional_id(txn_id(id))
        .with_producer_id(ProducerId(producer.id))
        .with_producer_epoch(producer.epoch)
        .with_group_id(group_id(group))
}

/// TxnOffsetCommit of somebody who is no member, of partitions of one topic with their offsets.
pub fn offset_commit_request(
    id: &str,
    producer: Producer,
    group: &str,
    topic: &str,
    offsets: &[(i32, i64)],
) -> TxnOffsetCommitRequest {
    let partition = |&(partition, offset): &(i32, i64)| {
        TxnOffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(offset)
            .with_committed_metadata(Some(text("")))
    };
    TxnOffsetCommitRequest::default()
        .with_transactional_id(txn_id(id))
        .with_group_id(group_id(group))
        .with_producer_id(ProducerId(producer.id))
        .with_producer_epoch(producer.epoch)
        .with_generation_id(-1)
        .with_topics(vec![
            TxnOffsetCommitRequestTopic::default()
                .with_name(name(topic))
                .with_partitions(offsets.iter().map(partition).collect()),
        ])
}

/// EndTxn.
pub fn end_request(id: &str, producer: Producer, committed: bool) -> EndTxnRequest {
    EndTxnRequest::default()
        .with_transactional_id(txn_id(id))
        .with_producer_id(ProducerId(producer.id))
        .with_producer_epoch(producer.epoch)
        .with_committed(committed)
}

/// A Produce (by name) of one batch in a transaction, which the request names.
pub fn produce_in(id: &str, topic: &str, partition: i32, batch: &Batch) -> ProduceRequest {
    produce_request(topic, partition, -1, &batch.build()).with_transactional_id(Some(txn_id(id)))
}

/// A good batch of a transaction.
pub fn batch(producer: Producer, sequence: i32, values: &[&[u8]]) -> Batch {
    let mut batch = Batch::of(values).from_producer(producer.id, producer.epoch, sequence);
    batch.attributes |= TRANSACTIONAL;
    batch
}

/// A sessionless Fetch (by name) of one partition that does not wait.
pub fn fetch_request_of(topic: &str, partition: i32, offset: i64, isolation: i8) -> FetchRequest {
    let want = Want {
        partition,
        offset,
        max_bytes: 1 << 20,
    };
    fetch_request(topic, &[want], 0, 0).with_isolation_level(isolation)
}

/// Fetches one partition (version 12) without waiting.
pub fn fetch_of(
    connection: &mut Connection,
    topic: &str,
    partition: i32,
    offset: i64,
    isolation: i8,
) -> PartitionData {
    let response = connection.call(12, &fetch_request_of(topic, partition, offset, isolation));
    let mut topic = response.responses.into_iter().next().expect("the topic's answer");
    topic.partitions.pop().expect("the partition's answer")
}

/// A ListOffsets of one partition.
pub fn list_offsets_request(
    topic: &str,
    partition: i32,
    timestamp: i64,
    isolation: i8,
) -> ListOffsetsRequest {
    let partition = ListOffsetsPartition::default()
        .with_partition_index(partition)
        .with_timestamp(timestamp);
    ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_isolation_level(isolation)
        .with_topics(vec![
            ListOffsetsTopic::default()
                .with_name(name(topic))
                .with_partitions(vec![partition]),
        ])
}

/// The end of a partition as a reader of this isolation level sees it.
pub fn end_offset(connection: &mut Connection, topic: &str, partition: i32, isolation: i8) -> i64 {
    try_end_offset(connection, topic, partition, isolation).expect("the partition's end")
}

/// The same, of a broker that may go away meanwhile.
pub fn try_end_offset(
    connection: &mut Connection,
    topic: &str,
    partition: i32,
    isolation: i8,
) -> io::Result<i64> {
    let answer = connection.try_call(7, &list_offsets_request(topic, partition, -1, isolation))?;
    let one = &answer.topics[0].partitions[0];
    match one.error_code {
        code::NONE => Ok(one.offset),
        error => Err(io::Error::other(format!(
            "ListOffsets of {topic}-{partition}: {error}"
        ))),
    }
}

/// A batch as it was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Its first offset.
    pub base_offset: i64,
    /// Its last offset.
    pub last_offset: i64,
    /// Who wrote it.
    pub producer: Producer,
    /// Field `baseSequence`.
    pub base_sequence: i32,
    /// Part of a transaction.
    pub transactional: bool,
    /// For a marker whether it commits.
    pub marker: Option<bool>,
    /// Values of the records, of markers too; of batches that are not compressed.
    pub values: Vec<Vec<u8>>,
}

/// The whole batches in what a fetch gave.
pub fn fetched(records: &[u8]) -> Vec<Fetched> {
    let mut out = Vec::new();
    let mut rest = records;
    while rest.len() >= 61 {
        let length = be_i32(rest, 8) as usize + 12;
        if rest.len() < length {
            break;
        }
        out.push(one(&rest[..length]));
        rest = &rest[length..];
    }
    out
}

fn one(batch: &[u8]) -> Fetched {
    let attributes = be_i16(batch, 21);
    let base_offset = be_i64(batch, 0);
    let records = records_of(&batch[61..], be_i32(batch, 57));
    let control = attributes & CONTROL != 0;
    let commits = |record: &(Option<Vec<u8>>, Vec<u8>)| {
        record
            .0
            .as_ref()
            .and_then(|key| key.get(3))
            .is_some_and(|&kind| kind == 1)
    };
    Fetched {
        base_offset,
        last_offset: base_offset + i64::from(be_i32(batch, 23)),
        producer: Producer {
            id: be_i64(batch, 43),
            epoch: be_i16(batch, 51),
        },
        base_sequence: be_i32(batch, 53),
        transactional: attributes & TRANSACTIONAL != 0,
        marker: control.then(|| records.first().is_some_and(commits)),
        values: records.into_iter().map(|(_, value)| value).collect(),
    }
}

/// Keys and values of so many records.
fn records_of(mut bytes: &[u8], count: i32) -> Vec<(Option<Vec<u8>>, Vec<u8>)> {
    let mut out = Vec::new();
    for _ in 0..count {
        let length = take_varint(&mut bytes) as usize;
        let (mut record, rest) = bytes.split_at(length);
        bytes = rest;
        record = &record[1..];
        take_varint(&mut record);
        take_varint(&mut record);
        let key = take_bytes(&mut record);
        out.push((key, take_bytes(&mut record).unwrap_or_default()));
    }
    out
}

fn take_bytes(from: &mut &[u8]) -> Option<Vec<u8>> {
    let length = usize::try_from(take_varint(from)).ok()?;
    let (bytes, rest) = from.split_at(length);
    *from = rest;
    Some(bytes.to_vec())
}

fn take_varint(from: &mut &[u8]) -> i64 {
    let (mut value, mut shift) = (0u64, 0);
    loop {
        let byte = from[0];
        *from = &from[1..];
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return (value >> 1) as i64 ^ -((value & 1) as i64);
        }
    }
}

fn be_i16(bytes: &[u8], at: usize) -> i16 {
    i16::from_be_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

fn be_i32(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn be_i64(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// The values a read_committed reader shows, from this offset to the last stable one, filtered as clients do it.
pub fn committed_values(connection: &mut Connection, topic: &str, partition: i32, from: i64) -> Vec<Vec<u8>> {
    let records = committed_records(connection, topic, partition, from).expect("the partition's records");
    records.into_iter().map(|(_, value)| value).collect()
}

/// The same with their offsets, of a broker that may go away meanwhile.
pub fn committed_records(
    connection: &mut Connection,
    topic: &str,
    partition: i32,
    from: i64,
) -> io::Result<Vec<(i64, Vec<u8>)>> {
    let (mut offset, mut out) = (from, Vec::new());
    loop {
        let request = fetch_request_of(topic, partition, offset, READ_COMMITTED);
        let answer = connection.try_call(12, &request)?;
        let answer = &answer.responses[0].partitions[0];
        if answer.error_code != code::NONE {
            let error = format!("Fetch of {topic}-{partition}: {}", answer.error_code);
            return Err(io::Error::other(error));
        }
        let batches = fetched(&answer.records.clone().unwrap_or_default());
        let Some(last) = batches.last() else {
            return Ok(out);
        };
        let next = last.last_offset + 1;
        out.extend(visible(answer, batches, offset));
        offset = next;
    }
}

/// What is left of fetched batches when the records of aborted transactions and the markers are left out.
fn visible(answer: &PartitionData, batches: Vec<Fetched>, from: i64) -> Vec<(i64, Vec<u8>)> {
    let mut starts: Vec<(i64, i64)> = answer
        .aborted_transactions
        .iter()
        .flatten()
        .map(|one| (one.first_offset, one.producer_id.0))
        .collect();
    starts.sort_unstable();
    let mut starts = starts.into_iter().peekable();
    let mut aborted = std::collections::HashSet::new();
    let mut out = Vec::new();
    for batch in batches {
        while let Some((_, producer)) = starts.next_if(|&(first, _)| first <= batch.last_offset) {
            aborted.insert(producer);
        }
        if let Some(commits) = batch.marker {
            if !commits {
                aborted.remove(&batch.producer.id);
            }
        } else if !(batch.transactional && aborted.contains(&batch.producer.id)) {
            let places = (batch.base_offset..).zip(batch.values);
            out.extend(places.filter(|&(offset, _)| offset >= from));
        }
    }
    out
}

/// The answer to a request that is sent again for as long as `error` finds one in it that clients get over.
pub fn patiently<R: Request>(
    connection: &mut Connection,
    version: i16,
    request: &R,
    error: impl Fn(&R::Response) -> i16,
) -> R::Response {
    wait_for("the coordinator is not busy", PATIENCE, || {
        let answer = connection.call(version, request);
        (!RETRIABLE.contains(&error(&answer))).then_some(answer)
    })
}

/// Asks who coordinates a transactional id, until somebody does: that makes the coordinators' topic, too.
pub fn find(connection: &mut Connection, id: &str) -> io::Result<()> {
    let request = FindCoordinatorRequest::default()
        .with_key_type(1)
        .with_coordinator_keys(vec![text(id)]);
    let deadline = std::time::Instant::now() + PATIENCE;
    while connection.try_call(4, &request)?.coordinators[0].error_code != code::NONE {
        if std::time::Instant::now() > deadline {
            return Err(io::Error::other(format!("nobody coordinates {id}")));
        }
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
    Ok(())
}

/// InitProducerId until it is granted.
///
/// # Panics
/// When it is refused.
pub fn init(connection: &mut Connection, id: &str, timeout_ms: i32) -> Producer {
    find(connection, id).expect("a coordinator");
    let request = init_request(id, timeout_ms, Producer::NONE);
    let answer = patiently(connection, 4, &request, |answer| answer.error_code);
    assert_eq!(answer.error_code, code::NONE, "InitProducerId of {id}");
    Producer {
        id: answer.producer_id.0,
        epoch: answer.producer_epoch,
    }
}

/// AddPartitionsToTxn (version 3) of partitions of one topic, and the first partition's error.
pub fn add_partitions(
    connection: &mut Connection,
    id: &str,
    producer: Producer,
    topic: &str,
    partitions: &[i32],
) -> i16 {
    let request = add_partitions_request(id, producer, &[(topic, partitions)]);
    let error = |answer: &kafka_protocol::messages::AddPartitionsToTxnResponse| {
        answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
    };
    error(&patiently(connection, 3, &request, error))
}

/// A Produce in a transaction, version 11: the partition was added before. Gives error and base offset.
pub fn write(
    connection: &mut Connection,
    id: &str,
    topic: &str,
    partition: i32,
    batch: &Batch,
) -> (i16, i64) {
    write_as(connection, 11, id, topic, partition, batch)
}

/// A Produce in a transaction; from version 12 on it adds the partition. Gives error and base offset.
pub fn write_as(
    connection: &mut Connection,
    version: i16,
    id: &str,
    topic: &str,
    partition: i32,
    batch: &Batch,
) -> (i16, i64) {
    let request = produce_in(id, topic, partition, batch);
    let error = |answer: &kafka_protocol::messages::ProduceResponse| {
        answer.responses[0].partition_responses[0].error_code
    };
    let answer = patiently(connection, version, &request, error);
    let partition = &answer.responses[0].partition_responses[0];
    (partition.error_code, partition.base_offset)
}

/// EndTxn (version 4) until it is decided, and its error.
pub fn end(connection: &mut Connection, id: &str, producer: Producer, committed: bool) -> i16 {
    let request = end_request(id, producer, committed);
    patiently(connection, 4, &request, |answer| answer.error_code).error_code
}

/// EndTxn (version 5, which moves the epoch): its error, and the producer from here on.
pub fn end_and_go_on(
    connection: &mut Connection,
    id: &str,
    producer: Producer,
    committed: bool,
) -> (i16, Producer) {
    let request = end_request(id, producer, committed);
    let answer = patiently(connection, 5, &request, |answer| answer.error_code);
    let next = Producer {
        id: answer.producer_id.0,
        epoch: answer.producer_epoch,
    };
    (answer.error_code, next)
}

/// What a group has committed of a partition, once no transaction has an offset of it undecided; -1 is nothing. `Err` is the error.
pub fn stable_offset(
    connection: &mut Connection,
    group: &str,
    topic: &str,
    partition: i32,
) -> Result<i64, i16> {
    let topic = OffsetFetchRequestTopic::default()
        .with_name(name(topic))
        .with_partition_indexes(vec![partition]);
    let request = OffsetFetchRequest::default()
        .with_group_id(group_id(group))
        .with_topics(Some(vec![topic]))
        .with_require_stable(true);
    let answer = connection.call(7, &request);
    if answer.error_code != code::NONE {
        return Err(answer.error_code);
    }
    let one = &answer.topics[0].partitions[0];
    match one.error_code {
        code::NONE => Ok(one.committed_offset),
        error => Err(error),
    }
}

/// The state of a transaction, as DescribeTransactions tells it; empty when it tells an error.
pub fn state(connection: &mut Connection, id: &str) -> String {
    let request = DescribeTransactionsRequest::default().with_transactional_ids(vec![txn_id(id)]);
    let answer = connection.call(0, &request);
    answer.transaction_states[0].transaction_state.to_string()
}

/// Waits until a transaction has this state.
pub fn wait_for_state(connection: &mut Connection, id: &str, wanted: &str) {
    wait_for(&format!("{id} is {wanted}"), PATIENCE, || {
        (state(connection, id) == wanted).then_some(())
    });
}

/// Bytes of one batch, for requests put together otherwise.
pub fn records(batch: &Batch) -> Bytes {
    Bytes::from(batch.build())
}
