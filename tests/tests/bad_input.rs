//! Requests for what does not exist: offsets, epochs, sessions, names.
//!
//! Every answer expected here was seen on Apache Kafka 4.3.1 first: set `RINGLOG_TEST_BOOTSTRAP` to the address of a
//! Kafka broker to see it again.

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{BrokerId, FetchRequest, ListOffsetsRequest, ProduceRequest};
use ringlog_tests::admin::create;
use ringlog_tests::broker::unique;
use ringlog_tests::raw::{
    Batch, Connection, Want, ask_metadata, batches, fetch, fetch_request, metadata, name, produce, topic_id,
};
use ringlog_tests::{Broker, code};
use uuid::Uuid;
#[test]
fn fetches_outside_the_log() {
    let broker = Broker::any();
    let topic = create(&broker, "range", 1, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    produce(
        &mut connection,
        &topic,
        0,
        &Batch::of(&[b"a", b"b", b"c"]).build(),
    );
    for (offset, expected) in [
        (0, code::NONE),
        (3, code::NONE),
        (4, code::OFFSET_OUT_OF_RANGE),
        (-1, code::OFFSET_OUT_OF_RANGE),
        (i64::MAX, code::OFFSET_OUT_OF_RANGE),
        (i64::MIN, code::OFFSET_OUT_OF_RANGE),
    ] {
        let answer = fetch(&mut connection, &topic, 0, offset);
        println!(
            "{offset}: {} {} {}",
            answer.error_code, answer.high_watermark, answer.log_start_offset
        );
        assert_eq!(answer.error_code, expected, "{offset}");
        assert!(expected == code::NONE || answer.records.unwrap_or_default().is_empty());
    }
    // From within a batch the whole batch is given.
    let inside = fetch(&mut connection, &topic, 0, 2);
    assert_eq!(batches(&inside.records.unwrap_or_default()), [(0, 3)]);
}

#[test]
fn fetches_with_a_foreign_epoch_or_session() {
    let broker = Broker::any();
    let topic = create(&broker, "epochs", 1, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    let want = Want {
        partition: 0,
        offset: 0,
        max_bytes: 1 << 20,
    };
    let mut request = fetch_request(&topic, &[want], 0, 0);
    request.topics[0].partitions[0].current_leader_epoch = 99;
    let answer = connection.call(12, &request);
    assert_eq!(
        answer.responses[0].partitions[0].error_code,
        code::UNKNOWN_LEADER_EPOCH
    );
    let request = fetch_request(&topic, &[want], 0, 0)
        .with_session_id(123_456)
        .with_session_epoch(5);
    let answer = connection.call(12, &request);
    assert_eq!(answer.error_code, code::FETCH_SESSION_ID_NOT_FOUND);
    assert!(answer.responses.is_empty());
}

#[test]
fn the_first_batch_comes_whole_whatever_the_limits_say() {
    let broker = Broker::any();
    let topic = create(&broker, "atleastone", 2, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    for partition in [0, 1] {
        produce(&mut connection, &topic, partition, &Batch::sized(50_000).build());
    }
    let wants = [
        Want {
            partition: 0,
            offset: 0,
            max_bytes: 1,
        },
        Want {
            partition: 1,
            offset: 0,
            max_bytes: 1,
        },
    ];
    let answer = connection.call(12, &fetch_request(&topic, &wants, 0, 0).with_max_bytes(1));
    let sizes: Vec<usize> = answer.responses[0]
        .partitions
        .iter()
        .map(|p| p.records.as_ref().map_or(0, Bytes::len))
        .collect();
    assert_eq!(sizes, [50_000, 0]);
}

#[test]
fn list_offsets_of_what_does_not_exist() {
    let broker = Broker::any();
    let topic = create(&broker, "listed", 1, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    let produced_ms = Batch::of(&[b"x"]).timestamp_ms;
    produce(&mut connection, &topic, 0, &Batch::of(&[b"x"]).build());
    // (partition, timestamp, version, code, offset)
    let cases = [
        (0, -1, 7, code::NONE, 1),
        (0, -2, 7, code::NONE, 0),
        (0, -3, 7, code::NONE, 0),
        (0, -4, 8, code::NONE, 0),
        (0, -5, 9, code::NONE, -1),
        (0, -3, 6, code::UNSUPPORTED_VERSION, -1),
        (0, -4, 7, code::UNSUPPORTED_VERSION, -1),
        (0, -5, 8, code::UNSUPPORTED_VERSION, -1),
        (0, 0, 7, code::NONE, 0),
        (0, produced_ms + 3_600_000, 7, code::NONE, -1),
        (1, -1, 7, code::UNKNOWN_TOPIC_OR_PARTITION, -1),
    ];
    for (partition, timestamp, version, expected, offset) in cases {
        let answer = list_offsets(&mut connection, version, &topic, &[(partition, timestamp)]);
        assert_eq!(
            answer,
            [(expected, offset)],
            "partition {partition}, timestamp {timestamp}, v{version}"
        );
    }
    let twice = list_offsets(&mut connection, 7, &topic, &[(0, -1), (0, -1)]);
    assert!(
        twice.iter().all(|&(code, _)| code == code::INVALID_REQUEST),
        "{twice:?}"
    );
    let absent = list_offsets(&mut connection, 7, &unique("absent"), &[(0, -1)]);
    assert_eq!(absent, [(code::UNKNOWN_TOPIC_OR_PARTITION, -1)]);
}

fn list_offsets(
    connection: &mut Connection,
    version: i16,
    topic: &str,
    wants: &[(i32, i64)],
) -> Vec<(i16, i64)> {
    let partitions = wants
        .iter()
        .map(|&(partition, timestamp)| {
            ListOffsetsPartition::default()
                .with_partition_index(partition)
                .with_timestamp(timestamp)
        })
        .collect();
    let topic = ListOffsetsTopic::default()
        .with_name(name(topic))
        .with_partitions(partitions);
    let request = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_topics(vec![topic]);
    let answer = connection.call(version, &request);
    answer
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .map(|p| (p.error_code, p.offset))
        .collect()
}

#[test]
fn metadata_of_names_that_cannot_be() {
    let broker = Broker::any();
    let mut connection = Connection::open(broker.bootstrap());
    let long = "x".repeat(250);
    for bad in ["", ".", "..", "a/b", "a b", "täg", "a\0b", &long] {
        let mut request = ask_metadata(bad);
        request.allow_auto_topic_creation = true;
        let answer = connection.call(9, &request);
        assert_eq!(answer.topics[0].error_code, code::INVALID_TOPIC, "{bad:?}");
        assert!(answer.topics[0].partitions.is_empty());
    }
}

#[test]
fn topics_and_partitions_that_do_not_exist() {
    let broker = Broker::any();
    let topic = create(&broker, "exists", 1, &[]);
    let absent = unique("absent");
    let good = Batch::of(&[b"x"]).build();
    let mut connection = Connection::open(broker.bootstrap());
    for (name, partition) in [(&absent, 0), (&topic, 1), (&topic, -1), (&topic, i32::MAX)] {
        let produced = produce(&mut connection, name, partition, &good);
        assert_eq!(
            produced.error_code,
            code::UNKNOWN_TOPIC_OR_PARTITION,
            "{name} {partition}"
        );
        let fetched = fetch(&mut connection, name, partition, 0);
        assert_eq!(
            fetched.error_code,
            code::UNKNOWN_TOPIC_OR_PARTITION,
            "{name} {partition}"
        );
        assert_eq!((fetched.high_watermark, fetched.log_start_offset), (-1, -1));
    }
    // Produce never creates a topic.
    let listed = metadata(&mut connection, 9, &[&absent]);
    assert_eq!(listed.topics[0].error_code, code::UNKNOWN_TOPIC_OR_PARTITION);
}

#[test]
fn topic_ids_that_do_not_exist() {
    let broker = Broker::any();
    let topic = create(&broker, "ids", 1, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    let id = topic_id(&mut connection, &topic);
    let unknown = Uuid::from_u128(0x1234_5678_9abc_def0_1122_3344_5566_7788);
    for (id, expected) in [
        (id, code::NONE),
        (unknown, code::UNKNOWN_TOPIC_ID),
        (Uuid::nil(), code::UNKNOWN_TOPIC_ID),
    ] {
        let records = Bytes::from(Batch::of(&[b"x"]).build());
        let data = PartitionProduceData::default().with_records(Some(records));
        let data = TopicProduceData::default()
            .with_topic_id(id)
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(1000)
            .with_topic_data(vec![data]);
        let produced = connection.call(13, &request);
        assert_eq!(
            produced.responses[0].partition_responses[0].error_code, expected,
            "produce {id}"
        );
        assert_eq!(produced.responses[0].topic_id, id);

        let wanted = FetchPartition::default().with_partition_max_bytes(1 << 20);
        let wanted = FetchTopic::default()
            .with_topic_id(id)
            .with_partitions(vec![wanted]);
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_session_epoch(-1);
        let fetched = connection.call(17, &request.with_max_bytes(1 << 20).with_topics(vec![wanted]));
        assert_eq!(
            fetched.responses[0].partitions[0].error_code, expected,
            "fetch {id}"
        );
    }
}
