//! Fetch in every version: what it returns, how much, and how long it waits.

use std::time::{Duration, Instant};

use kafka_protocol::messages::{DeleteTopicsRequest, FetchRequest, ProduceRequest};

use super::client::{Client, batch, expected, fetch, name, produce, records, sink, until_awaited};
use crate::sink::Keep;

/// Longer than a client's patience: a test that has to wait this out fails.
const LONG_MS: i32 = 60_000;

#[test]
fn what_was_produced_is_fetched_in_every_version() {
    let sink = sink(Keep::Everything, None);
    let mut client = Client::with_topic(&sink, 1);
    client.produce(0, &batch(&["a", "b"]));
    client.produce(0, &batch(&["c"]));
    for version in 4..=12 {
        let answer = client.call(version, &fetch(&[(0, 0)], 0));
        let partition = &answer.responses[0].partitions[0];
        assert_eq!((partition.error_code, partition.high_watermark), (0, 3));
        assert_eq!(records(partition), expected(&[(0, "a"), (1, "b"), (2, "c")]));
    }
    assert_eq!(records(&client.fetch(2, 0)), expected(&[(2, "c")]));
    // The whole batch comes, also for its second record.
    assert_eq!(records(&client.fetch(1, 0)).len(), 3);
    assert!(records(&client.fetch(3, 0)).is_empty());
    assert_eq!(client.fetch(4, 0).error_code, 1);
    assert_eq!(client.fetch(-1, 0).error_code, 1);
}

#[test]
fn an_answer_keeps_to_its_bytes_but_holds_one_batch() {
    let sink = sink(Keep::Everything, None);
    let mut client = Client::with_topic(&sink, 2);
    let bytes = batch(&["a"]);
    for partition in [0, 0, 0, 1, 1, 1] {
        client.produce(partition, &bytes);
    }
    let mut request = fetch(&[(0, 0), (1, 0)], 0);
    let mut lengths = |request: &FetchRequest| -> Vec<usize> {
        let answer = client.call(12, request);
        let partitions = answer.responses[0].partitions.iter();
        partitions.map(|partition| records(partition).len()).collect()
    };
    assert_eq!(lengths(&request), [3, 3]);
    request.max_bytes = (bytes.len() * 4) as i32;
    assert_eq!(lengths(&request), [3, 1]);
    request.max_bytes = 1;
    assert_eq!(lengths(&request), [1, 0]);
    request.max_bytes = 1 << 20;
    request.topics[0].partitions[0].partition_max_bytes = (bytes.len() * 2) as i32;
    assert_eq!(lengths(&request), [2, 3]);
}

#[test]
fn a_fetch_waits_for_the_bytes_it_wants() {
    let sink = sink(Keep::Everything, None);
    let mut reader = Client::with_topic(&sink, 2);
    let mut writer = Client::connect(&sink);
    let bytes = batch(&["a"]);
    let mut request = fetch(&[(0, 0), (1, 0)], LONG_MS);
    // Not a multiple of a batch: three are needed.
    request.min_bytes = (bytes.len() * 2 + 1) as i32;
    reader.send(12, &request);
    until_awaited(&sink);
    for partition in [0, 1, 1] {
        writer.produce(partition, &bytes);
    }
    let (_, answer) = reader.receive::<FetchRequest>(12).unwrap();
    let lengths = answer.responses[0]
        .partitions
        .iter()
        .map(|partition| records(partition).len());
    assert_eq!(lengths.collect::<Vec<usize>>(), [1, 2]);
}

#[test]
fn a_fetch_returns_empty_when_its_time_is_up() {
    let sink = sink(Keep::Everything, None);
    let mut client = Client::with_topic(&sink, 1);
    let started = Instant::now();
    assert!(records(&client.fetch(0, 80)).is_empty());
    assert!(started.elapsed() >= Duration::from_millis(80));
}

#[test]
fn a_waiting_fetch_keeps_no_earlier_answer_back() {
    let sink = sink(Keep::Everything, None);
    let mut client = Client::with_topic(&sink, 1);
    let first = client.frame(9, &produce(0, &batch(&["a"]), 1));
    let second = client.frame(12, &fetch(&[(0, 1)], LONG_MS));
    // In one write, so that the fetch is at hand before the first answer goes out.
    client.send_raw(&[first, second].concat());
    let (_, answer) = client.receive::<ProduceRequest>(9).unwrap();
    assert_eq!(answer.responses[0].partition_responses[0].base_offset, 0);
    Client::connect(&sink).produce(0, &batch(&["b"]));
    let (_, answer) = client.receive::<FetchRequest>(12).unwrap();
    assert_eq!(records(&answer.responses[0].partitions[0]), expected(&[(1, "b")]));
}

#[test]
fn a_waiting_fetch_hears_of_a_deleted_topic() {
    let sink = sink(Keep::Everything, None);
    let mut client = Client::with_topic(&sink, 1);
    client.send(12, &fetch(&[(0, 0)], LONG_MS));
    until_awaited(&sink);
    let request = DeleteTopicsRequest::default().with_topic_names(vec![name("t")]);
    assert_eq!(
        Client::connect(&sink).call(5, &request).responses[0].error_code,
        0
    );
    let (_, answer) = client.receive::<FetchRequest>(12).unwrap();
    assert_eq!(answer.responses[0].partitions[0].error_code, 3);
}

#[test]
fn there_are_no_fetch_sessions() {
    let sink = sink(Keep::Everything, None);
    let mut client = Client::with_topic(&sink, 1);
    let request = fetch(&[(0, 0)], 0).with_session_epoch(0);
    assert_eq!(client.call(12, &request).session_id, 0);
    let request = request.with_session_id(5).with_session_epoch(1);
    let answer = client.call(12, &request);
    assert_eq!((answer.error_code, answer.responses.len()), (70, 0));
}

#[test]
fn a_sink_that_stores_nothing_serves_copies_at_dense_offsets() {
    let sink = sink(Keep::Nothing, None);
    let mut client = Client::with_topic(&sink, 1);
    let bytes = batch(&["a", "b", "c"]);
    for _ in 0..1500 {
        client.produce(0, &bytes);
    }
    let mut request = fetch(&[(0, 0)], 0);
    request.max_bytes = (bytes.len() * 400) as i32;
    let mut offset = 0;
    let mut answers = 0;
    while offset < 4500 {
        request.topics[0].partitions[0].fetch_offset = offset;
        let answer = client.call(12, &request);
        let partition = &answer.responses[0].partitions[0];
        assert_eq!(partition.high_watermark, 4500);
        for (found, _) in records(partition) {
            assert_eq!(found, offset);
            offset += 1;
        }
        answers += 1;
    }
    assert_eq!((offset, answers), (4500, 4));
    request.max_bytes = 1;
    request.topics[0].partitions[0].fetch_offset = 0;
    let answer = client.call(12, &request);
    assert_eq!(records(&answer.responses[0].partitions[0]).len(), 3);
    assert!(records(&client.fetch(4500, 0)).is_empty());
}

#[test]
fn uneven_batches_reach_past_the_end_and_no_further() {
    let sink = sink(Keep::Nothing, None);
    let mut client = Client::with_topic(&sink, 1);
    client.produce(0, &batch(&["a", "b", "c"]));
    client.produce(0, &batch(&["d"]));
    assert_eq!(records(&client.fetch(0, 0)).last().unwrap().0, 5);
    let past = client.fetch(6, 0);
    assert_eq!(past.error_code, 0);
    assert!(records(&past).is_empty());
}
