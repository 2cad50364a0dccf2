//! Produce in every version, what it refuses, and what is counted.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ApiVersionsRequest, ProduceRequest};

use super::client::{Client, batch, name, produce, sink};
use crate::sink::Keep;

#[test]
fn offsets_are_dense_in_every_version() {
    for keep in [Keep::Nothing, Keep::Everything] {
        let sink = sink(keep, None);
        let mut client = Client::with_topic(&sink, 2);
        let batch = batch(&["a", "b"]);
        for (index, version) in (3..=12).enumerate() {
            let answer = client.call(version, &produce(1, &batch, 1));
            let partition = &answer.responses[0].partition_responses[0];
            assert_eq!((partition.index, partition.error_code), (1, 0));
            assert_eq!(partition.base_offset, 2 * index as i64);
        }
        let counts = sink.counts();
        assert_eq!((counts.batches, counts.records, counts.connections), (10, 20, 1));
        assert_eq!(counts.bytes, 10 * batch.len() as u64);
    }
}

#[test]
fn a_request_for_many_partitions_is_answered_for_each() {
    let sink = sink(Keep::Nothing, None);
    let mut client = Client::with_topic(&sink, 3);
    let bytes = batch(&["a"]);
    let data = |index, records: Option<Bytes>| {
        PartitionProduceData::default()
            .with_index(index)
            .with_records(records)
    };
    let partitions = vec![
        data(0, Some(bytes.clone())),
        data(2, Some(bytes.clone())),
        data(3, Some(bytes.clone())),
        data(-1, Some(bytes.clone())),
        data(1, None),
    ];
    let topic = |topic: &str| {
        TopicProduceData::default()
            .with_name(name(topic))
            .with_partition_data(partitions.clone())
    };
    let request = ProduceRequest::default()
        .with_acks(-1)
        .with_topic_data(vec![topic("t"), topic("absent")]);
    for version in [3, 8, 9, 12] {
        let answer = client.call(version, &request);
        let errors = answer.responses.iter().map(|topic| {
            let partitions = topic.partition_responses.iter();
            partitions
                .map(|partition| partition.error_code)
                .collect::<Vec<i16>>()
        });
        let errors: Vec<_> = errors.collect();
        assert_eq!(errors, [[0, 0, 3, 3, 2], [3, 3, 3, 3, 3]]);
    }
}

#[test]
fn without_acks_there_is_no_answer() {
    let sink = sink(Keep::Everything, None);
    let mut client = Client::with_topic(&sink, 1);
    for version in [3, 9, 12] {
        client.send(version, &produce(0, &batch(&["a"]), 0));
    }
    // The next answer is that of the next request, and comes after all three were taken.
    client.call(0, &ApiVersionsRequest::default());
    assert_eq!(client.offset_at(8, -1).offset, 3);
    assert_eq!(
        client.call(9, &produce(0, &batch(&["a"]), 7)).responses[0].partition_responses[0].error_code,
        21
    );
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let sink = sink(Keep::Nothing, None);
    let mut client = Client::with_topic(&sink, 1);
    let request = produce(0, &batch(&["a"]), 1);
    for _ in 0..500 {
        client.send(9, &request);
    }
    for index in 0..500 {
        let (correlation_id, answer) = client.receive::<ProduceRequest>(9).unwrap();
        // The first request made the topic.
        assert_eq!(correlation_id, index + 2);
        assert_eq!(
            answer.responses[0].partition_responses[0].base_offset,
            i64::from(index)
        );
    }
}

#[test]
fn damaged_batches_are_refused_with_the_brokers_numbers() {
    let sound = batch(&["a", "b"]);
    let changed = |at: usize, to: u8| {
        let mut bytes = BytesMut::from(&sound[..]);
        bytes[at] = to;
        bytes.freeze()
    };
    let twice = Bytes::from([&sound[..], &sound[..]].concat());
    let cases = [
        ("empty", Bytes::new(), 2),
        ("shorter than a header", sound.slice(..60), 2),
        ("cut short", sound.slice(..sound.len() - 1), 2),
        ("negative length", changed(8, 0xff), 2),
        ("checksum", changed(sound.len() - 1, 9), 2),
        ("old magic", changed(16, 1), 87),
        ("two batches", twice, 87),
        ("no records", changed(60, 0), 87),
        ("negative count", changed(57, 0xff), 87),
        ("gap in the offsets", changed(26, 5), 87),
    ];
    for keep in [Keep::Everything, Keep::Nothing] {
        let sink = sink(keep, None);
        let mut client = Client::with_topic(&sink, 1);
        for (what, bytes, error) in &cases {
            // Who stores nothing does not look at the checksum either.
            if keep == Keep::Everything || *what != "checksum" {
                let answer = client.produce(0, bytes);
                assert_eq!((answer.error_code, answer.base_offset), (*error, -1), "{what}");
            }
        }
        assert_eq!(sink.counts().batches, 0);
        assert_eq!(client.produce(0, &sound).base_offset, 0);
    }
}

#[test]
fn connections_of_all_threads_share_the_topics() {
    let sink = sink(Keep::Everything, None);
    let mut first = Client::with_topic(&sink, 1);
    let mut others: Vec<Client> = (0..16).map(|_| Client::connect(&sink)).collect();
    for (index, client) in others.iter_mut().enumerate() {
        assert_eq!(client.produce_each(&["x"]), [index as i64]);
    }
    assert_eq!(first.offset_at(8, -1).offset, 16);
    assert_eq!(sink.counts().connections, 17);
}
