//! Data directories Apache Kafka 4.3.1 wrote, one left by a clean stop and one by kill -9: we start on them.

use std::path::Path;

use rdkafka::Offset;
use ringlog_tests::Broker;
use ringlog_tests::client::{Outgoing, Producer, read, read_partition};
use ringlog_tests::fixture::{
    CODEC_RECORDS, CODECS, EMPTY, IDEMPOTENT, IDEMPOTENT_BATCHES, IDEMPOTENT_LIMIT, ROLLED, ROLLED_RECORDS,
    codec_record, codec_topic, idempotent_value, rolled_value, unpack,
};
use ringlog_tests::raw::{Batch, Connection, fetch, metadata, produce, topic_id};

fn property(text: &str, key: &str) -> String {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('=').map(str::to_owned));
    line.expect("the property is there")
}

#[test]
fn after_a_clean_stop() {
    start_on("kafka-4.3.1-clean.tar.gz");
}

#[test]
fn after_a_kill() {
    start_on("kafka-4.3.1-killed.tar.gz");
}

fn start_on(archive: &str) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let data = folder.path().join("data");
    unpack(archive, &data);
    // The fixture grows old; its producers must still be known.
    let expiry = i32::MAX;
    let Some(mut broker) = Broker::own()
        .data(&data)
        .set("producer.id.expiration.ms", expiry)
        .start()
    else {
        return;
    };
    let before = std::fs::read_to_string(data.join("meta.properties")).expect("readable");
    assert_identity(&broker, &before, &data);
    assert_records(&broker);
    assert_producers(&broker);
    let mut ends = Vec::new();
    let producer = Producer::new(broker.bootstrap(), &[]);
    for codec in CODECS {
        let more = [Outgoing::value("one more")];
        ends.push(producer.send_all(&codec_topic(codec), 0, &more)[0].offset);
    }
    assert_eq!(ends, [CODEC_RECORDS as i64; CODECS.len()]);
    for kill in [true, false] {
        if kill {
            broker.kill();
        } else {
            broker.stop();
        }
        broker.restart();
        assert_identity(&broker, &before, &data);
        assert_records(&broker);
    }
    broker.stop();
}

/// Cluster, node and topics are who they were.
fn assert_identity(broker: &Broker, before: &str, data: &Path) {
    let mut connection = Connection::open(broker.bootstrap());
    let listed = metadata(&mut connection, 12, &[IDEMPOTENT, EMPTY]);
    assert_eq!(
        listed.cluster_id.as_deref(),
        Some(property(before, "cluster.id").as_str())
    );
    assert_eq!(
        listed.brokers[0].node_id.0.to_string(),
        property(before, "node.id")
    );
    assert_eq!(listed.topics[0].partitions.len(), 3);
    assert_eq!(listed.topics[1].partitions.len(), 2);
    let after = std::fs::read_to_string(data.join("meta.properties")).expect("readable");
    for key in ["cluster.id", "node.id", "directory.id"] {
        assert_eq!(property(&after, key), property(before, key), "{key}");
    }
    let id = topic_id(&mut connection, ROLLED);
    assert!(!id.is_nil());
    let record =
        std::fs::read_to_string(data.join(format!("{ROLLED}-0/partition.metadata"))).expect("readable");
    assert!(record.contains("topic_id: "), "{record}");
    // The topic's own limit still holds.
    let limit: usize = IDEMPOTENT_LIMIT.parse().expect("a number");
    let answer = produce(&mut connection, IDEMPOTENT, 0, &Batch::sized(limit + 1).build());
    assert_eq!(answer.error_code, 10, "MESSAGE_TOO_LARGE");
}

fn assert_records(broker: &Broker) {
    for codec in CODECS {
        let back = read_partition(broker.bootstrap(), &codec_topic(codec), 0, Offset::Beginning);
        assert!(back.len() >= CODEC_RECORDS, "{codec}: {} records", back.len());
        for (offset, record) in back.iter().take(CODEC_RECORDS).enumerate() {
            let expected = codec_record(codec, offset);
            assert_eq!(record.offset, offset as i64, "{codec}");
            assert_eq!(
                (&record.key, &record.value),
                (&expected.key, &expected.value),
                "{codec}"
            );
            assert_eq!(Some(record.timestamp_ms), expected.timestamp_ms, "{codec}");
            assert_eq!(record.headers, expected.headers, "{codec}");
        }
    }
    let rolled = read_partition(broker.bootstrap(), ROLLED, 0, Offset::Beginning);
    assert_eq!(rolled.len(), ROLLED_RECORDS);
    assert!(
        rolled
            .iter()
            .enumerate()
            .all(|(offset, record)| record.value == Some(rolled_value(offset)))
    );
    let middle = read_partition(broker.bootstrap(), ROLLED, 0, Offset::Offset(31));
    assert_eq!((middle[0].offset, middle.len()), (31, ROLLED_RECORDS - 31));
    let back = read(broker.bootstrap(), IDEMPOTENT, &[0, 1, 2], Offset::Beginning, &[]);
    for partition in 0..3 {
        for offset in 0..IDEMPOTENT_BATCHES {
            let value = &back[&partition][offset as usize].value;
            assert_eq!(*value, Some(idempotent_value(partition, offset)));
        }
    }
}

/// The idempotent producer of the fixture may go on where it was, and only there.
fn assert_producers(broker: &Broker) {
    let mut connection = Connection::open(broker.bootstrap());
    for partition in 0..3 {
        let stored = fetch(
            &mut connection,
            IDEMPOTENT,
            partition,
            i64::from(IDEMPOTENT_BATCHES) - 1,
        );
        let stored = stored.records.expect("the last batch");
        let id = i64::from_be_bytes(stored[43..51].try_into().expect("eight bytes"));
        let epoch = i16::from_be_bytes(stored[51..53].try_into().expect("two bytes"));
        let mut send = |sequence| {
            let batch = Batch::of(&[b"x"]).from_producer(id, epoch, sequence);
            let answer = produce(&mut connection, IDEMPOTENT, partition, &batch.build());
            (answer.error_code, answer.base_offset)
        };
        let last = IDEMPOTENT_BATCHES - 1;
        assert_eq!(send(last + 2), (45, -1), "a gap");
        assert_eq!(send(last), (0, i64::from(last)), "a duplicate");
        assert_eq!(send(last + 1), (0, i64::from(last) + 1), "the next");
    }
}
