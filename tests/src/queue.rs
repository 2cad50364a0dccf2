//! Topics with limits: settings that change, records that go, and producers that are told so.

use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{DeleteRecordsRequest, IncrementalAlterConfigsRequest, ProduceRequest};
use kafka_protocol::protocol::StrBytes;

use crate::raw::{Batch, Connection, fetch, name, produce_request};
use crate::txn::{fetched, list_offsets_request};
use crate::{Broker, code};

/// A topic.
pub const TOPIC: i8 = 2;
/// The broker, by its number.
pub const BROKER: i8 = 4;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Sets settings of a resource, or takes them away where there is no value. The error, and what was said of it.
pub fn try_alter(broker: &Broker, kind: i8, resource: &str, pairs: &[(&str, Option<&str>)]) -> (i16, String) {
    let config = |(key, value): &(&str, Option<&str>)| {
        AlterableConfig::default()
            .with_name(text(key))
            .with_config_operation(i8::from(value.is_none()))
            .with_value(value.map(text))
    };
    let resource = AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(resource))
        .with_configs(pairs.iter().map(config).collect());
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let answer = Connection::open(broker.bootstrap())
        .call(1, &request)
        .responses
        .remove(0);
    let said = answer.error_message.map(|said| said.to_string());
    (answer.error_code, said.unwrap_or_default())
}

/// Sets settings of a topic, or takes them away.
///
/// # Panics
/// When the broker refuses.
pub fn alter(broker: &Broker, topic: &str, pairs: &[(&str, Option<&str>)]) {
    let (error, said) = try_alter(broker, TOPIC, topic, pairs);
    assert_eq!(error, code::NONE, "{said}");
}

/// Deletes the records of a partition before an offset; -1: all.
///
/// # Panics
/// When the broker refuses.
pub fn delete_before(broker: &Broker, topic: &str, partition: i32, offset: i64) {
    let partition = DeleteRecordsPartition::default()
        .with_partition_index(partition)
        .with_offset(offset);
    let topic = DeleteRecordsTopic::default()
        .with_name(name(topic))
        .with_partitions(vec![partition]);
    let request = DeleteRecordsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(10_000);
    let answer = Connection::open(broker.bootstrap()).call(2, &request);
    assert_eq!(answer.topics[0].partitions[0].error_code, code::NONE);
}

/// A produce request with a timeout.
pub fn timed(topic: &str, partition: i32, batch: &Batch, timeout_ms: i32) -> ProduceRequest {
    produce_request(topic, partition, -1, &batch.build()).with_timeout_ms(timeout_ms)
}

/// The answer to a produce of one partition that was sent before, in version 9.
pub fn answer(connection: &mut Connection, correlation: i32) -> PartitionProduceResponse {
    let mut response = connection.receive::<ProduceRequest>(9, correlation);
    response.responses.remove(0).partition_responses.remove(0)
}

/// What an answer says of its error.
pub fn said(answer: &PartitionProduceResponse) -> String {
    let said = answer.error_message.as_ref().map(ToString::to_string);
    said.unwrap_or_default()
}

/// A batch with these words.
pub fn words(words: &[&str]) -> Batch {
    let values: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    Batch::of(&values)
}

/// The values of a partition from an offset on, as text.
pub fn values(connection: &mut Connection, topic: &str, partition: i32, from: i64) -> Vec<String> {
    let mut all = Vec::new();
    let mut next = from;
    loop {
        let read = fetch(connection, topic, partition, next);
        assert_eq!(read.error_code, code::NONE, "{topic}-{partition} from {next}");
        let batches = fetched(&read.records.unwrap_or_default());
        let Some(last) = batches.last() else { return all };
        next = last.last_offset + 1;
        for batch in batches {
            let offsets = batch.base_offset..;
            let kept = offsets.zip(batch.values).filter(|(offset, _)| *offset >= from);
            all.extend(kept.map(|(_, value)| String::from_utf8(value).expect("text")));
        }
    }
}

/// The first and the next offset of a partition.
pub fn bounds(connection: &mut Connection, topic: &str, partition: i32) -> (i64, i64) {
    let [earliest, latest] = [-2, -1].map(|timestamp| {
        let request = list_offsets_request(topic, partition, timestamp, 0);
        let answer = connection.call(7, &request).topics.remove(0).partitions.remove(0);
        assert_eq!(answer.error_code, code::NONE, "{topic}-{partition}");
        answer.offset
    });
    (earliest, latest)
}
