//! Compacted topics and records without a key.
//!
//! Every answer expected here was seen on Apache Kafka 4.3.1 first: set `RINGLOG_TEST_BOOTSTRAP` to the address of a
//! Kafka broker to see it again.

use ringlog_records::{BatchBuilder, Codec, NewRecord, Producer};
use ringlog_tests::admin::create;
use ringlog_tests::raw::{Connection, produce};
use ringlog_tests::{Broker, PATIENCE, code, wait_for};

fn batch(codec: Codec, keys: &[Option<&str>]) -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    for key in keys {
        builder.push(&NewRecord {
            timestamp_ms: 1_700_000_000_000,
            key: key.map(Into::into),
            value: Some(b"value".to_vec()),
            headers: Vec::new(),
        });
    }
    builder.finish(codec, Producer::NONE).expect("packs")
}

#[test]
fn a_compacted_topic_refuses_records_without_a_key_in_every_codec() {
    let broker = Broker::any();
    let mut connection = Connection::open(broker.bootstrap());
    for policy in ["compact", "compact,delete"] {
        let topic = create(&broker, "keys", 1, &[("cleanup.policy", policy)]);
        for codec in Codec::ALL {
            let sound = batch(codec, &[Some("a"), Some("")]);
            // Kafka creates a topic before its leader knows of it.
            wait_for("records with keys taken", PATIENCE, || {
                let answer = produce(&mut connection, &topic, 0, &sound);
                (answer.error_code == code::NONE).then_some(())
            });

            let answer = produce(
                &mut connection,
                &topic,
                0,
                &batch(codec, &[None, Some("a"), None]),
            );
            assert_eq!(answer.error_code, code::INVALID_RECORD, "{codec}");
            let each =
                format!("Compacted topic cannot accept message without key in topic partition {topic}-0");
            let errors = answer.record_errors.iter();
            let named: Vec<_> = errors
                .map(|error| (error.batch_index, error.batch_index_error_message.as_deref()))
                .collect();
            assert_eq!(named, [(0, Some(each.as_str())), (2, Some(each.as_str()))]);
            let message = format!(
                "One or more records have been rejected due to 2 record errors in total, and only showing the first three errors at most: \
                 [RecordError(batchIndex=0, message='{each}'), RecordError(batchIndex=2, message='{each}')]"
            );
            assert_eq!(answer.error_message.as_deref(), Some(message.as_str()));
        }
    }
}

#[test]
fn other_topics_take_records_without_a_key() {
    let broker = Broker::any();
    let mut connection = Connection::open(broker.bootstrap());
    let topic = create(&broker, "keyless", 1, &[]);
    for codec in Codec::ALL {
        wait_for("records without a key taken", PATIENCE, || {
            let answer = produce(&mut connection, &topic, 0, &batch(codec, &[None]));
            (answer.error_code == code::NONE).then_some(())
        });
    }
}
