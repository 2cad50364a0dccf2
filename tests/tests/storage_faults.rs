//! Disks that are full, wrong or unusual: no damage spreads, nothing wrong is handed out, and the rest goes on.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use ringlog_tests::admin::create;
use ringlog_tests::files::{flip_bit, walk_log, with_suffix};
use ringlog_tests::mounts::{Kind, Mount};
use ringlog_tests::oracle::{Acknowledged, Ledger, digest};
use ringlog_tests::raw::{Batch, Connection, batches, crc32c, fetch, produce};
use ringlog_tests::{Broker, PATIENCE, Random, wait_for};

/// The disk is to be full indeed.
const NO_WATERMARK: (&str, &str) = ("ringlog.disk.min.free.bytes", "0");
const KAFKA_STORAGE_ERROR: i16 = 56;
const CORRUPT_MESSAGE: i16 = 2;

/// Produces one record of its own content and enters it when it is acknowledged; gives the error code.
fn send(connection: &mut Connection, topic: &str, partition: i32, value: &[u8], ledger: &mut Ledger) -> i16 {
    let answer = produce(connection, topic, partition, &Batch::of(&[value]).build());
    if answer.error_code == 0 {
        let topic = topic.to_owned();
        ledger.enter([Acknowledged {
            topic,
            partition,
            offset: answer.base_offset,
            digest: digest(None, Some(value)),
        }]);
    }
    answer.error_code
}

/// Writes until the filesystem has no more room.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("a file");
    let mut chunk = vec![0xa5; 1 << 20];
    while !chunk.is_empty() {
        if file.write_all(&chunk).is_err() {
            chunk.truncate(chunk.len() / 2);
        }
    }
    let _ = file.sync_all();
}

#[test]
fn a_full_disk_stops_producers_only_and_only_for_a_while() {
    let Some(mount) = Mount::new(Kind::Ext4 { mib: 400 }) else {
        return;
    };
    let mut broker = mount.start(&[NO_WATERMARK]);
    let topic = create(&broker, "full", 2, &[("segment.bytes", "1048576")]);
    let mut ledger = Ledger::new();
    let mut random = Random::new(21);
    let mut connection = Connection::open(broker.bootstrap());
    for number in 0..100 {
        assert_eq!(
            send(
                &mut connection,
                &topic,
                number % 2,
                &random.bytes(10_000),
                &mut ledger
            ),
            0
        );
    }
    for round in 0..2 {
        let filler = mount.outside(&broker, &mount.data().with_file_name("filler"));
        fill(&filler);
        let code = fill_up(&mut connection, &topic, &mut random, &mut ledger);
        assert_eq!(code, KAFKA_STORAGE_ERROR, "round {round}");
        // Consumers go on.
        ledger.check(broker.bootstrap(), true);
        std::fs::remove_file(&filler).expect("removed");
        wait_for("producing goes on when there is space again", PATIENCE, || {
            let codes = [0, 1]
                .map(|partition| send(&mut connection, &topic, partition, &random.bytes(64), &mut ledger));
            (codes == [0, 0]).then_some(())
        });
        ledger.check(broker.bootstrap(), true);
    }
    broker.stop();
    let mut broker = mount.start(&[NO_WATERMARK]);
    ledger.check(broker.bootstrap(), true);
    broker.stop();
}

/// Produces until the broker refuses (journal and pre-allocated space take some) and gives its error code.
fn fill_up(connection: &mut Connection, topic: &str, random: &mut Random, ledger: &mut Ledger) -> i16 {
    for number in 0..1000 {
        let code = send(connection, topic, number % 2, &random.bytes(500_000), ledger);
        if code != 0 {
            return code;
        }
    }
    panic!("500 MB were acknowledged on a full disk");
}

#[test]
fn a_disk_that_was_full_when_the_process_was_killed() {
    let Some(mount) = Mount::new(Kind::Ext4 { mib: 400 }) else {
        return;
    };
    let mut broker = mount.start(&[NO_WATERMARK]);
    let topic = create(&broker, "killed", 2, &[("segment.bytes", "1048576")]);
    let mut ledger = Ledger::new();
    let mut random = Random::new(22);
    let filler = mount.outside(&broker, &mount.data().with_file_name("filler"));
    let mut connection = Connection::open(broker.bootstrap());
    fill(&filler);
    assert_eq!(
        fill_up(&mut connection, &topic, &mut random, &mut ledger),
        KAFKA_STORAGE_ERROR
    );
    // Room for the next start, which may want to write what it replays.
    std::fs::remove_file(&filler).expect("removed");
    broker.kill();
    let mut broker = mount.start(&[NO_WATERMARK]);
    ledger.check(broker.bootstrap(), true);
    broker.stop();
}

/// Fetches batch after batch from the beginning; every byte handed out must be true. Gives where and how it ended:
/// the next offset and the error code, 0 at the end of the log.
fn read_true(connection: &mut Connection, topic: &str, partition: i32) -> (i64, i16) {
    let mut next = 0;
    loop {
        let answer = fetch(connection, topic, partition, next);
        if answer.error_code != 0 {
            return (next, answer.error_code);
        }
        let records = answer.records.unwrap_or_default();
        assert_true(&records, next);
        let found = batches(&records);
        let Some(&(base, count)) = found.last() else {
            assert!(
                next >= answer.high_watermark,
                "no records at {next}, and the end is {}",
                answer.high_watermark
            );
            return (next, 0);
        };
        next = base + i64::from(count);
    }
}

/// Checksum and content of every whole batch: record `n` is its own offset in decimal, again and again.
fn assert_true(mut records: &[u8], from: i64) {
    while let Some(&(base, _)) = batches(records).first() {
        let length = i32::from_be_bytes(records[8..12].try_into().expect("four bytes")) as usize + 12;
        let crc = u32::from_be_bytes(records[17..21].try_into().expect("four bytes"));
        assert_eq!(
            crc32c(&records[21..length]),
            crc,
            "the batch at {base}, read from {from}"
        );
        records = &records[length..];
    }
}

/// A topic of two partitions with 60 batches of 100 kB each in segments of 1 MiB.
fn stored(broker: &Broker) -> String {
    let topic = create(broker, "stored", 2, &[("segment.bytes", "1048576")]);
    let mut connection = Connection::open(broker.bootstrap());
    for number in 0..120 {
        let value = format!("{:06}", number / 2).repeat(100_000 / 6);
        assert_eq!(
            produce(
                &mut connection,
                &topic,
                number % 2,
                &Batch::of(&[value.as_bytes()]).build()
            )
            .error_code,
            0
        );
    }
    topic
}

#[test]
fn a_bit_flipped_while_stopped_is_never_handed_out() {
    let Some(mut broker) = Broker::own().start() else {
        return;
    };
    let topic = stored(&broker);
    broker.stop();
    let segment = with_suffix(&broker.partition_folder(&topic, 0), ".log").remove(2);
    // The records of the segment's fourth batch.
    flip_bit(&segment, 3 * (walk_log(&segment).0 / 10) + 5000);
    let damaged = ringlog_tests::files::base_offset(&segment) + 3;
    broker.restart();
    let mut connection = Connection::open(broker.bootstrap());
    let (offset, code) = read_true(&mut connection, &topic, 0);
    assert_eq!(
        offset, damaged,
        "all before the damaged batch can be read, and nothing of it"
    );
    assert!(
        [CORRUPT_MESSAGE, KAFKA_STORAGE_ERROR].contains(&code),
        "code {code}"
    );
    let name = segment
        .file_name()
        .and_then(|name| name.to_str())
        .expect("a name")
        .to_owned();
    let log = broker.wait_for_log(&name);
    assert!(log.contains(&format!("{topic}-0")), "{log}");
    // Again the same, and the others go on.
    assert_eq!(read_true(&mut connection, &topic, 0), (offset, code));
    assert_eq!(read_true(&mut connection, &topic, 1), (60, 0));
    let answer = produce(&mut connection, &topic, 1, &Batch::of(&[b"goes on"]).build());
    assert_eq!((answer.error_code, answer.base_offset), (0, 60));
    broker.stop();
    broker.restart();
    let mut connection = Connection::open(broker.bootstrap());
    assert_eq!(read_true(&mut connection, &topic, 0).0, damaged);
}

#[test]
fn a_bit_flipped_while_running_is_never_handed_out() {
    // So little memory, on one core, that what was written first is no longer in it.
    let Some(mut broker) = Broker::own().cores(1).set("ringlog.memory", 64 << 20).start() else {
        return;
    };
    let topic = stored(&broker);
    let other = create(&broker, "pushes", 1, &[("segment.bytes", "1048576")]);
    let mut connection = Connection::open(broker.bootstrap());
    for _ in 0..130 {
        produce(&mut connection, &other, 0, &Batch::sized(1_000_000).build());
    }
    let folder = broker.partition_folder(&topic, 0);
    let segment = with_suffix(&folder, ".log").remove(1);
    let (bytes, _) = walk_log(&segment);
    flip_bit(&segment, 2 * (bytes / 10) + 5000);
    let damaged = ringlog_tests::files::base_offset(&segment) + 2;
    let (offset, code) = read_true(&mut connection, &topic, 0);
    assert_eq!(offset, damaged);
    assert!(
        [CORRUPT_MESSAGE, KAFKA_STORAGE_ERROR].contains(&code),
        "code {code}"
    );
    assert_eq!(read_true(&mut connection, &topic, 1), (60, 0));
    assert_eq!(read_true(&mut connection, &other, 0), (130, 0));
    assert!(broker.alive());
    broker.stop();
}

#[test]
fn damage_to_lengths_and_headers_is_seen_too() {
    // Position within the segment's second batch: length, magic, checksum, count.
    for field in [8, 9, 16, 17, 57] {
        let Some(mut broker) = Broker::own().start() else {
            return;
        };
        let topic = stored(&broker);
        broker.stop();
        let segment = with_suffix(&broker.partition_folder(&topic, 0), ".log").remove(1);
        flip_bit(&segment, walk_log(&segment).0 / 10 + field);
        let damaged = ringlog_tests::files::base_offset(&segment) + 1;
        broker.restart();
        let mut connection = Connection::open(broker.bootstrap());
        let (offset, code) = read_true(&mut connection, &topic, 0);
        assert_eq!(offset, damaged, "field at {field}");
        assert!(
            [CORRUPT_MESSAGE, KAFKA_STORAGE_ERROR].contains(&code),
            "field at {field}: code {code}"
        );
        assert_eq!(read_true(&mut connection, &topic, 1), (60, 0));
    }
}

#[test]
fn a_segment_that_is_gone_or_cut_does_not_stop_the_start() {
    for cut in [false, true] {
        let Some(mut broker) = Broker::own().start() else {
            return;
        };
        let topic = stored(&broker);
        broker.stop();
        let segment = with_suffix(&broker.partition_folder(&topic, 0), ".log").remove(2);
        if cut {
            File::options()
                .write(true)
                .open(&segment)
                .and_then(|file| file.set_len(150_000))
                .expect("cut");
        } else {
            std::fs::remove_file(&segment).expect("removed");
        }
        broker.restart();
        let mut connection = Connection::open(broker.bootstrap());
        let first_missing = ringlog_tests::files::base_offset(&segment) + i64::from(cut);
        let (offset, _) = read_true(&mut connection, &topic, 0);
        assert!(
            offset >= first_missing,
            "what is before the damage can be read: {offset}, {first_missing}"
        );
        assert_eq!(read_true(&mut connection, &topic, 1), (60, 0));
    }
}

#[test]
fn a_filesystem_without_direct_io() {
    for kind in [Kind::Ramfs, Kind::Tmpfs] {
        let Some(mount) = Mount::new(kind) else { return };
        let mut broker = mount.start(&[]);
        let topic = create(&broker, "buffered", 2, &[("segment.bytes", "1048576")]);
        let mut ledger = Ledger::new();
        let mut random = Random::new(31);
        let mut connection = Connection::open(broker.bootstrap());
        for number in 0..400 {
            let size = 1 + random.below(20_000);
            assert_eq!(
                send(
                    &mut connection,
                    &topic,
                    number % 2,
                    &random.bytes(size),
                    &mut ledger
                ),
                0
            );
        }
        ledger.check(broker.bootstrap(), true);
        broker.stop();
        if kind == Kind::Ramfs {
            assert!(
                broker.log().to_lowercase().contains("direct"),
                "the log says so: {}",
                broker.log()
            );
        }
    }
}
