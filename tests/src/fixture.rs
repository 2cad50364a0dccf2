//! What is in the data directories under `tests/fixtures`, which Apache Kafka 4.3.1 wrote: one rule for who fills
//! them (`examples/fill_fixture.rs`) and who reads them back.

use std::path::Path;
use std::process::Command;

use kafka_protocol::messages::InitProducerIdRequest;

use crate::client::{Outgoing, Producer};
use crate::raw::{Batch, Connection, produce};
use crate::{PATIENCE, admin, code, wait_for};

/// Topics of one partition, each with [`CODEC_RECORDS`] records in the codec it is named after.
pub const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
/// Records in each topic of [`CODECS`].
pub const CODEC_RECORDS: usize = 300;
/// A topic of one partition and several segments.
pub const ROLLED: &str = "rolled";
/// Records in [`ROLLED`], each of [`ROLLED_BYTES`].
pub const ROLLED_RECORDS: usize = 60;
/// Bytes of a record in [`ROLLED`].
pub const ROLLED_BYTES: usize = 50_000;
/// A topic of three partitions from an idempotent producer, with settings of its own.
pub const IDEMPOTENT: &str = "idempotent";
/// Batches of one record in each partition of [`IDEMPOTENT`].
pub const IDEMPOTENT_BATCHES: i32 = 8;
/// `max.message.bytes` of [`IDEMPOTENT`].
pub const IDEMPOTENT_LIMIT: &str = "123456";
/// A topic that has no record.
pub const EMPTY: &str = "empty";

/// The name of a topic of [`CODECS`].
pub fn codec_topic(codec: &str) -> String {
    format!("codec-{codec}")
}

/// The record at an offset of a topic of [`CODECS`].
pub fn codec_record(codec: &str, offset: usize) -> Outgoing {
    Outgoing {
        key: Some(format!("key-{offset}").into_bytes()),
        value: Some(format!("{codec} {offset} {}", "abc".repeat(offset % 20)).into_bytes()),
        timestamp_ms: Some(1_700_000_000_000 + offset as i64),
        headers: vec![("offset".to_owned(), Some(offset.to_string().into_bytes()))],
    }
}

/// The value at an offset of [`ROLLED`].
pub fn rolled_value(offset: usize) -> Vec<u8> {
    vec![b'a' + (offset % 26) as u8; ROLLED_BYTES]
}

/// The value at an offset of a partition of [`IDEMPOTENT`].
pub fn idempotent_value(partition: i32, offset: i32) -> Vec<u8> {
    format!("{partition}/{offset}").into_bytes()
}

/// Creates the topics on a broker and fills them.
///
/// # Panics
/// When the broker refuses something.
pub fn fill(bootstrap: &str) {
    let forever = ("retention.ms", "-1");
    for codec in CODECS {
        let topic = codec_topic(codec);
        admin::try_create(bootstrap, &topic, 1, &[forever]).expect("created");
        let producer = Producer::new(bootstrap, &[("compression.codec", codec), ("linger.ms", "20")]);
        let records: Vec<Outgoing> = (0..CODEC_RECORDS)
            .map(|offset| codec_record(codec, offset))
            .collect();
        producer.send_all(&topic, 0, &records);
    }
    admin::try_create(bootstrap, ROLLED, 1, &[forever, ("segment.bytes", "1048576")]).expect("created");
    // A batch for each record, so that the indexes have entries.
    let producer = Producer::new(bootstrap, &[("linger.ms", "0"), ("batch.size", "60000")]);
    let records: Vec<Outgoing> = (0..ROLLED_RECORDS)
        .map(|offset| Outgoing::value(rolled_value(offset)))
        .collect();
    producer.send_all(ROLLED, 0, &records);
    let settings = [forever, ("max.message.bytes", IDEMPOTENT_LIMIT)];
    admin::try_create(bootstrap, IDEMPOTENT, 3, &settings).expect("created");
    admin::try_create(bootstrap, EMPTY, 2, &[forever]).expect("created");
    let mut connection = Connection::open(bootstrap);
    let id = wait_for("a producer id", PATIENCE, || {
        let answer = connection.call(4, &InitProducerIdRequest::default().with_transactional_id(None));
        (answer.error_code == code::NONE).then_some(answer)
    });
    for partition in 0..3 {
        for sequence in 0..IDEMPOTENT_BATCHES {
            let batch = Batch::of(&[&idempotent_value(partition, sequence)]);
            let batch = batch.from_producer(id.producer_id.0, id.producer_epoch, sequence);
            let answer = produce(&mut connection, IDEMPOTENT, partition, &batch.build());
            assert_eq!((answer.error_code, answer.base_offset), (0, i64::from(sequence)));
        }
    }
}

/// Unpacks a fixture into a folder that does not exist yet.
///
/// # Panics
/// When there is no `tar`.
pub fn unpack(name: &str, into: &Path) {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    std::fs::create_dir(into).expect("a folder");
    let status = Command::new("tar")
        .arg("-xzf")
        .arg(archive)
        .arg("-C")
        .arg(into)
        .status()
        .expect("tar");
    assert!(status.success(), "tar: {status}");
}
