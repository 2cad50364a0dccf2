//! The script: topics with records of all times, and questions about them.

use bytes::Bytes;
use ringlog::wire::api::{Api, Request};
use ringlog::wire::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use ringlog::wire::header::{RequestHeader, ResponseHeader};
use ringlog::wire::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ringlog::wire::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use ringlog::wire::{Decoder, ErrorCode};
use ringlog_records::{BatchBuilder, Codec, NewRecord, Producer};
use ringlog_tests::admin::try_create;
use ringlog_tests::raw::{self, Connection};
use ringlog_tests::txn;
use ringlog_tests::{PATIENCE, code, wait_for};

/// The newest version that both have.
const NEWEST: i16 = 11;
/// Somewhere in 2999.
const YEAR_2999: i64 = 32_480_000_000_000;
/// Times between these are the run's own.
const OF_TODAY: std::ops::Range<i64> = 1_600_000_000_000..10_000_000_000_000;
const FOREVER: (&str, &str) = ("retention.ms", "-1");
const ANY_TIME: (&str, &str) = ("message.timestamp.after.max.ms", "9223372036854775807");
const TOPICS: &[(&str, &[(&str, &str)])] = &[
    ("empty", &[FOREVER]),
    ("plain", &[FOREVER, ANY_TIME]),
    ("packed", &[FOREVER, ANY_TIME]),
    ("stamped", &[FOREVER, ("message.timestamp.type", "LogAppendTime")]),
    ("untimed", &[FOREVER]),
    ("segments", &[FOREVER, ANY_TIME, ("segment.bytes", "1048576")]),
    ("deleted", &[FOREVER]),
    ("emptied", &[FOREVER]),
    ("open", &[FOREVER]),
];
const TIMES: &[i64] = &[
    0, 1, 99, 100, 101, 150, 199, 200, 201, 300, 301, 400, 401, 499, 500, 501, 700, 900, 901, 1_000, 1_001,
];

/// See the module's text.
pub struct Script {
    bootstrap: String,
    connection: Connection,
    correlation: i32,
    lines: Vec<String>,
}

impl Script {
    pub fn new(bootstrap: &str) -> Script {
        Script {
            bootstrap: bootstrap.to_owned(),
            connection: Connection::open(bootstrap),
            correlation: 0,
            lines: Vec::new(),
        }
    }

    fn exchange<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.correlation += 1;
        let header = RequestHeader {
            api_key: R::KEY,
            api_version: version,
            correlation_id: self.correlation,
            client_id: Some("script".to_owned()),
        };
        let mut frame = Vec::new();
        header.encode(&mut frame);
        request.encode_as(&mut frame, version);
        self.connection.send_frame(&frame).expect("the request is sent");
        let bytes = Bytes::from(self.connection.read_frame().expect("an answer"));
        let mut from = Decoder::new(&bytes);
        let header = ResponseHeader::decode(&mut from, Api::of::<R>().response_header(version));
        assert_eq!(header.expect("a header").correlation_id, self.correlation);
        ringlog::wire::Message::decode_as(&mut from, version).expect("a response body")
    }

    /// Appends a batch of records with these times.
    fn send(&mut self, topic: &str, codec: Codec, times: &[i64], value_bytes: usize) {
        let mut batch = BatchBuilder::default();
        for time in times {
            batch.push(&NewRecord {
                timestamp_ms: *time,
                value: Some(vec![b'v'; value_bytes]),
                ..NewRecord::default()
            });
        }
        let batch = batch.finish(codec, Producer::NONE).expect("a batch");
        let answer = raw::produce(&mut self.connection, topic, 0, &batch);
        assert_eq!(answer.error_code, code::NONE, "{topic} {times:?}");
    }

    fn list(&mut self, version: i16, topic: &str, timestamp: i64, isolation_level: i8, epoch: i32) {
        let partition = ListOffsetsPartition {
            partition_index: 0,
            current_leader_epoch: epoch,
            timestamp,
        };
        let request = ListOffsetsRequest {
            replica_id: -1,
            isolation_level,
            topics: vec![ListOffsetsTopic {
                name: topic.to_owned(),
                partitions: vec![partition],
            }],
            timeout_ms: 10_000,
        };
        let answer = self.exchange(version, &request);
        let one = &answer.topics[0].partitions[0];
        let time = match OF_TODAY.contains(&one.timestamp) {
            true => "now".to_owned(),
            false => one.timestamp.to_string(),
        };
        let error = ErrorCode::from_code(one.error_code);
        let line = format!(
            "{topic} at {timestamp} as {isolation_level} in {epoch} | {version} | {} {time} {} {}",
            error.name(),
            one.offset,
            one.leader_epoch
        );
        self.lines.push(line);
    }

    /// What is found by all these times, and by those that mean something else.
    fn search(&mut self, topic: &str, times: &[i64]) {
        for isolation in [0, 1] {
            for special in -6..0 {
                self.list(NEWEST, topic, special, isolation, -1);
            }
            for time in times {
                self.list(NEWEST, topic, *time, isolation, -1);
            }
        }
    }

    fn epoch(&mut self, version: i16, topic: &str, leader_epoch: i32, current: i32) {
        let partition = OffsetForLeaderPartition {
            partition: 0,
            current_leader_epoch: current,
            leader_epoch,
        };
        let request = OffsetForLeaderEpochRequest {
            replica_id: -1,
            topics: vec![OffsetForLeaderTopic {
                topic: topic.to_owned(),
                partitions: vec![partition],
            }],
        };
        let answer = self.exchange(version, &request);
        let one = &answer.topics[0].partitions[0];
        let error = ErrorCode::from_code(one.error_code);
        let line = format!(
            "{topic} epoch {leader_epoch} in {current} | {version} | {} {} {}",
            error.name(),
            one.leader_epoch,
            one.end_offset
        );
        self.lines.push(line);
    }

    fn delete(&mut self, topic: &str, offset: i64) {
        let request = DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic {
                name: topic.to_owned(),
                partitions: vec![DeleteRecordsPartition {
                    partition_index: 0,
                    offset,
                }],
            }],
            timeout_ms: 10_000,
        };
        let answer = self.exchange(2, &request);
        assert_eq!(answer.topics[0].partitions[0].error_code, code::NONE);
    }

    fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }
}

/// The whole script.
pub fn everything(script: &mut Script) -> Vec<String> {
    for (topic, settings) in TOPICS {
        try_create(&script.bootstrap, topic, 1, settings).expect("the topic is created");
    }
    wait_for("all have leaders", PATIENCE, || {
        let found = raw::metadata(&mut script.connection, 12, &TOPICS.map_names());
        let is_led = |t: &kafka_protocol::messages::metadata_response::MetadataResponseTopic| {
            t.error_code == 0
                && t.partitions
                    .iter()
                    .all(|p| p.error_code == 0 && p.leader_id.0 >= 0)
        };
        found.topics.iter().all(is_led).then_some(())
    });
    fill(script);
    versions(script);
    for topic in ["empty", "plain", "packed", "untimed"] {
        script.search(topic, TIMES);
    }
    script.search("plain", &[YEAR_2999 - 1, YEAR_2999, YEAR_2999 + 1, i64::MAX]);
    script.search("stamped", &[0, 1, 1_000, YEAR_2999]);
    script.search("segments", TIMES);
    open(script);
    deleted(script);
    epochs(script);
    script.take()
}

/// What is asked again after a restart, when epochs have changed: no line tells one.
pub fn restarted(script: &mut Script) -> Vec<String> {
    script.take();
    for topic in ["plain", "packed", "untimed", "segments", "deleted", "emptied"] {
        script.search(topic, TIMES);
    }
    let bare = |line: String| line.rsplit_once(' ').map(|(rest, _)| rest.to_owned());
    script.take().into_iter().filter_map(bare).collect()
}

trait Names {
    fn map_names(&self) -> Vec<&str>;
}

impl Names for [(&str, &[(&str, &str)])] {
    fn map_names(&self) -> Vec<&str> {
        self.iter().map(|(name, _)| *name).collect()
    }
}

fn fill(script: &mut Script) {
    for times in [
        &[100, 150, 120][..],
        &[90],
        &[300, 200, 400],
        &[YEAR_2999],
        &[500],
        &[0, 1],
        &[YEAR_2999, 900],
        &[-1],
    ] {
        script.send("plain", Codec::None, times, 10);
        if times[0] != YEAR_2999 {
            script.send("stamped", Codec::None, times, 10);
        }
    }
    for (codec, times) in [
        (Codec::Gzip, &[100, 200, 150][..]),
        (Codec::Snappy, &[300, 250, 301]),
        (Codec::Lz4, &[50, 400, 400]),
        (Codec::Zstd, &[900, 700, 1_000, 1_000]),
        (Codec::Zstd, &[10]),
    ] {
        script.send("packed", codec, times, 1_000);
    }
    for times in [&[-1, -1][..], &[-1]] {
        script.send("untimed", Codec::None, times, 10);
    }
    // Ten batches a segment, most of the later ones older.
    for number in 0..45 {
        let time = match number {
            12 => 1_000,
            31 => 900,
            _ => 500 - number * 10,
        };
        script.send("segments", Codec::None, &[time, time - 5], 50_000);
    }
    for time in [500, 100, 200, 300] {
        script.send("deleted", Codec::Gzip, &[time, time + 10, time + 20], 10);
    }
    script.send("emptied", Codec::None, &[100, 200], 10);
}

/// Each special time in each version, what is no special time, epochs that are not the leader's, and what is not there.
fn versions(script: &mut Script) {
    for version in 1..=NEWEST {
        for special in [-1, -2, -3, -4, -5, -6, -7, -100, i64::MIN] {
            script.list(version, "plain", special, 0, -1);
        }
        script.list(version, "plain", 200, 0, -1);
        script.list(version, "nowhere", 200, 0, -1);
        script.list(version, "nowhere", -7, 0, -1);
    }
    for epoch in [0, 1, 7] {
        script.list(NEWEST, "plain", 200, 0, epoch);
        script.list(NEWEST, "plain", -5, 0, epoch);
    }
}

/// A transaction is open, then committed: the marker is a record with a time too.
fn open(script: &mut Script) {
    script.send("open", Codec::None, &[100], 10);
    let mut connection = Connection::open(&script.bootstrap);
    wait_for("transactions are coordinated", PATIENCE, || {
        txn::find(&mut connection, "times").ok()
    });
    let producer = txn::init(&mut connection, "times", 60_000);
    txn::add_partitions(&mut connection, "times", producer, "open", &[0]);
    let batch = raw::Batch {
        timestamp_ms: 300,
        ..txn::batch(producer, 0, &[b"a", b"b"])
    };
    txn::write(&mut connection, "times", "open", 0, &batch);
    script.send("open", Codec::None, &[200], 10);
    script.search("open", &[50, 100, 101, 200, 250, 300, 301]);
    assert_eq!(txn::end(&mut connection, "times", producer, true), code::NONE);
    txn::wait_for_state(&mut connection, "times", "CompleteCommit");
    script.search("open", &[50, 100, 101, 200, 250, 300, 301]);
}

/// Records before the log start are not found; those of a batch that it cuts are told apart.
fn deleted(script: &mut Script) {
    for start in [1, 4, 5] {
        script.delete("deleted", start);
        script.search(
            "deleted",
            &[0, 100, 110, 120, 121, 200, 300, 310, 320, 321, 500, 510, 520, 521],
        );
    }
    script.delete("emptied", -1);
    script.search("emptied", &[0, 100, 200, 201]);
    script.send("emptied", Codec::None, &[150], 10);
    script.search("emptied", &[0, 100, 150, 151, 200]);
}

fn epochs(script: &mut Script) {
    for topic in ["empty", "plain", "deleted", "emptied", "nowhere"] {
        for epoch in [-1, 0, 1, 7] {
            script.epoch(4, topic, epoch, -1);
        }
    }
    for version in 2..=4 {
        for current in [0, 1] {
            script.epoch(version, "plain", 0, current);
        }
    }
}
