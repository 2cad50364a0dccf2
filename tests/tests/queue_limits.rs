//! Topics that are bounded in bytes, records or lag, with librdkafka and raw requests: what is refused, in which words, what makes room again,
//! and what goes where the oldest records do. Producers that wait are in `queue_waiting.rs`.

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::{CreatePartitionsRequest, DescribeConfigsRequest};
use kafka_protocol::protocol::StrBytes;
use rdkafka::Offset;
use rdkafka::error::RDKafkaErrorCode;
use ringlog_tests::admin::{create, try_create};
use ringlog_tests::broker::unique;
use ringlog_tests::client::{Outgoing, Producer, read_partition};
use ringlog_tests::queue::{TOPIC, alter, bounds, delete_before, said, timed, try_alter, values, words};
use ringlog_tests::raw::{Batch, Connection, fetch, name, produce};
use ringlog_tests::{Broker, PATIENCE, code, group, tool, txn, wait_for};

const BYTES: &str = "ringlog.queue.max.bytes";
const RECORDS: &str = "ringlog.queue.max.records";
const LAG: &str = "ringlog.queue.max.lag";
const GROUPS: &str = "ringlog.queue.lag.groups";
const WHEN_FULL: &str = "ringlog.queue.when.full";
const DROP: (&str, &str) = (WHEN_FULL, "drop-oldest");

fn two_cores() -> Broker {
    Broker::own().cores(2).or_external()
}

#[test]
fn a_full_topic_refuses_a_batch_in_words_that_say_why() {
    let broker = two_cores();
    let topic = create(&broker, "full", 3, &[(BYTES, "10000")]);
    let mut connection = Connection::open(broker.bootstrap());
    for partition in [0, 1] {
        let answer = produce(&mut connection, &topic, partition, &Batch::sized(4000).build());
        assert_eq!(answer.error_code, code::NONE);
    }
    let batch = Batch::sized(2001);
    let refused = produce(&mut connection, &topic, 2, &batch.build());
    assert_eq!(
        (refused.error_code, refused.base_offset),
        (code::POLICY_VIOLATION, -1)
    );
    let words = said(&refused);
    for part in [
        &*topic,
        BYTES,
        "is 10000",
        "8000 bytes are in it",
        "the batch has 2001",
    ] {
        assert!(words.contains(part), "{words}");
    }
    // Old clients get the code alone.
    let old = connection.call(3, &timed(&topic, 2, &batch, 10_000));
    let old = &old.responses[0].partition_responses[0];
    assert_eq!((old.error_code, old.base_offset), (code::POLICY_VIOLATION, -1));
    assert_eq!(bounds(&mut connection, &topic, 2), (0, 0), "nothing was stored");
    let answer = produce(&mut connection, &topic, 2, &Batch::sized(2000).build());
    assert_eq!(answer.error_code, code::NONE, "exactly full");
    assert_eq!(
        produce(&mut connection, &topic, 0, &Batch::sized(100).build()).error_code,
        code::POLICY_VIOLATION
    );
    // What a partition on any core loses is room for all.
    delete_before(&broker, &topic, 0, 1);
    for partition in [1, 2, 0, 1] {
        let answer = produce(&mut connection, &topic, partition, &Batch::sized(1000).build());
        assert_eq!(answer.error_code, code::NONE, "{}", said(&answer));
    }
    assert_eq!(
        produce(&mut connection, &topic, 0, &Batch::sized(100).build()).error_code,
        code::POLICY_VIOLATION
    );
}

#[test]
fn a_batch_is_taken_as_a_whole_or_not_at_all() {
    let broker = two_cores();
    let topic = create(&broker, "whole", 2, &[(RECORDS, "5")]);
    let mut connection = Connection::open(broker.bootstrap());
    let mut send = |partition, all: &[&str]| produce(&mut connection, &topic, partition, &words(all).build());
    assert_eq!(send(0, &["a", "b", "c"]).error_code, code::NONE);
    let refused = send(1, &["d", "e", "f"]);
    assert_eq!(refused.error_code, code::POLICY_VIOLATION);
    assert!(said(&refused).contains("3 records are in it, and the batch has 3"));
    assert_eq!(send(1, &["d", "e"]).error_code, code::NONE);
    assert_eq!(send(0, &["f"]).error_code, code::POLICY_VIOLATION);
    // What is wrong with a batch is said whether the topic is full or not.
    let mut wrong = words(&["f"]);
    wrong.wrong_crc = true;
    let answer = produce(&mut connection, &topic, 0, &wrong.build());
    assert_eq!(answer.error_code, code::CORRUPT_MESSAGE);
    assert_eq!(values(&mut connection, &topic, 0, 0), ["a", "b", "c"]);
    assert_eq!(values(&mut connection, &topic, 1, 0), ["d", "e"]);
}

#[test]
fn without_an_answer_the_connection_is_closed() {
    let broker = two_cores();
    let topic = create(&broker, "unanswered", 1, &[(RECORDS, "1")]);
    let mut connection = Connection::open(broker.bootstrap());
    let request = timed(&topic, 0, &words(&["a"]), 10_000).with_acks(0);
    connection.send(9, &request);
    wait_for("the record is there", PATIENCE, || {
        let bounds = bounds(&mut Connection::open(broker.bootstrap()), &topic, 0);
        (bounds == (0, 1)).then_some(())
    });
    connection.send(9, &request);
    connection.expect_closed();
}

#[test]
fn producers_of_librdkafka_are_told_and_go_on() {
    let broker = two_cores();
    for idempotent in ["false", "true"] {
        let topic = create(&broker, "goes-on", 1, &[(RECORDS, "10")]);
        let settings = [("enable.idempotence", idempotent), ("linger.ms", "0")];
        let producer = Producer::new(broker.bootstrap(), &settings);
        let send = |n: usize| producer.send_one(&topic, 0, &Outgoing::value(format!("v{n}")));
        for n in 0..10 {
            assert_eq!(send(n).expect("taken").offset, n as i64);
        }
        for n in 10..13 {
            assert_eq!(send(n), Err(RDKafkaErrorCode::PolicyViolation), "{n}");
        }
        delete_before(&broker, &topic, 0, 8);
        for n in 13..21 {
            assert_eq!(send(n).expect("there is room again").offset, n as i64 - 3, "{n}");
        }
        assert_eq!(send(21), Err(RDKafkaErrorCode::PolicyViolation));
        let kept = read_partition(broker.bootstrap(), &topic, 0, Offset::Offset(8));
        let kept: Vec<_> = kept.into_iter().filter_map(|record| record.value).collect();
        let sent = [8, 9].into_iter().chain(13..21);
        assert_eq!(
            kept,
            sent.map(|n: usize| format!("v{n}").into_bytes())
                .collect::<Vec<_>>()
        );
    }
}

#[test]
fn a_batch_sent_again_is_a_duplicate_though_the_topic_is_full() {
    let broker = two_cores();
    let topic = create(&broker, "again", 1, &[(RECORDS, "2")]);
    let mut connection = Connection::open(broker.bootstrap());
    let batch = |sequence| words(&["a"]).from_producer(4000, 0, sequence).build();
    let mut send = |sequence| {
        let answer = produce(&mut connection, &topic, 0, &batch(sequence));
        (answer.error_code, answer.base_offset)
    };
    assert_eq!([send(0), send(1)], [(code::NONE, 0), (code::NONE, 1)]);
    assert_eq!(send(2), (code::POLICY_VIOLATION, -1));
    assert_eq!([send(0), send(1)], [(code::NONE, 0), (code::NONE, 1)]);
    assert_eq!(send(7).0, code::OUT_OF_ORDER_SEQUENCE, "full or not");
    delete_before(&broker, &topic, 0, 1);
    assert_eq!(
        send(2),
        (code::NONE, 2),
        "the refused one was not counted as sent"
    );
}

#[test]
fn ends_of_transactions_are_always_taken() {
    let broker = two_cores();
    let topic = create(&broker, "txn", 1, &[(RECORDS, "3")]);
    let id = unique("txn");
    let mut connection = Connection::open(broker.bootstrap());
    let mut producer = txn::init(&mut connection, &id, 60_000);
    let mut sequence = 0;
    let mut write = |connection: &mut Connection, producer, value: &str| {
        let batch = txn::batch(producer, sequence, &[value.as_bytes()]);
        let answer = txn::write_as(connection, 12, &id, &topic, 0, &batch);
        sequence += i32::from(answer.0 == code::NONE);
        answer
    };
    assert_eq!(write(&mut connection, producer, "a"), (code::NONE, 0));
    assert_eq!(write(&mut connection, producer, "b"), (code::NONE, 1));
    assert_eq!(write(&mut connection, producer, "c"), (code::NONE, 2));
    assert_eq!(write(&mut connection, producer, "d").0, code::POLICY_VIOLATION);
    let (error, next) = txn::end_and_go_on(&mut connection, &id, producer, true);
    assert_eq!(error, code::NONE, "the marker has room");
    producer = next;
    wait_for("the transaction is over", PATIENCE, || {
        let end = txn::end_offset(&mut connection, &topic, 0, txn::READ_COMMITTED);
        (end == 4).then_some(())
    });
    // The first batch of the next one is refused, too: nothing of it is to be ended.
    let refused = txn::batch(producer, 0, &[b"e"]);
    assert_eq!(
        txn::write_as(&mut connection, 12, &id, &topic, 0, &refused).0,
        code::POLICY_VIOLATION
    );
    let (error, producer) = txn::end_and_go_on(&mut connection, &id, producer, false);
    assert_eq!(error, code::NONE);
    delete_before(&broker, &topic, 0, 3);
    let batch = txn::batch(producer, 0, &[b"f"]);
    let (error, base_offset) = txn::write_as(&mut connection, 12, &id, &topic, 0, &batch);
    assert_eq!(error, code::NONE);
    assert!(base_offset >= 4);
    assert_eq!(
        txn::end_and_go_on(&mut connection, &id, producer, true).0,
        code::NONE
    );
    wait_for("it is committed", PATIENCE, || {
        let values = txn::committed_values(&mut connection, &topic, 0, 3);
        (values == [b"f"]).then_some(())
    });
}

#[test]
fn what_is_there_counts_after_a_restart_and_after_a_kill() {
    let Some(mut broker) = Broker::own().cores(2).start() else {
        return;
    };
    let topic = create(&broker, "restart", 4, &[(BYTES, "10000"), (RECORDS, "1000")]);
    let mut connection = Connection::open(broker.bootstrap());
    for partition in 0..4 {
        let answer = produce(&mut connection, &topic, partition, &Batch::sized(2000).build());
        assert_eq!(answer.error_code, code::NONE);
    }
    delete_before(&broker, &topic, 3, 1);
    for by_kill in [false, true] {
        match by_kill {
            true => broker.kill(),
            false => broker.stop(),
        }
        broker.restart();
        let mut connection = Connection::open(broker.bootstrap());
        let refused = produce(&mut connection, &topic, 0, &Batch::sized(4001).build());
        assert_eq!(refused.error_code, code::POLICY_VIOLATION);
        assert!(
            said(&refused).contains("6000 bytes are in it"),
            "{}",
            said(&refused)
        );
    }
    let mut connection = Connection::open(broker.bootstrap());
    let answer = produce(&mut connection, &topic, 3, &Batch::sized(4000).build());
    assert_eq!(answer.error_code, code::NONE);
}

#[test]
fn retention_makes_room() {
    let looking = Broker::own()
        .cores(2)
        .set("log.retention.check.interval.ms", 100)
        .set("log.initial.task.delay.ms", 0);
    let Some(broker) = looking.start() else { return };
    let topic = create(&broker, "retention", 1, &[(RECORDS, "1"), ("retention.ms", "-1")]);
    let mut connection = Connection::open(broker.bootstrap());
    let mut old = words(&["old"]);
    old.timestamp_ms = 1000;
    assert_eq!(
        produce(&mut connection, &topic, 0, &old.build()).error_code,
        code::NONE
    );
    let new = words(&["new"]).build();
    assert_eq!(
        produce(&mut connection, &topic, 0, &new).error_code,
        code::POLICY_VIOLATION
    );
    alter(&broker, &topic, &[("retention.ms", Some("3600000"))]);
    wait_for("there is room", PATIENCE, || {
        (produce(&mut connection, &topic, 0, &new).error_code == code::NONE).then_some(())
    });
    assert_eq!(bounds(&mut connection, &topic, 0), (1, 2));
}

#[test]
fn a_partition_that_moves_takes_its_count_along() {
    let Some(broker) = Broker::own().cores(2).start() else {
        return;
    };
    let topic = create(&broker, "moves", 2, &[(BYTES, "10000")]);
    let mut connection = Connection::open(broker.bootstrap());
    let mut send = |partition, bytes| {
        let answer = produce(&mut connection, &topic, partition, &Batch::sized(bytes).build());
        (answer.error_code, said(&answer))
    };
    assert_eq!([send(0, 3000).0, send(1, 3000).0], [code::NONE; 2]);
    for core in ["0", "1", "0"] {
        for partition in ["0", "1"] {
            tool::ok(tool::run(&broker, &["cores", "move", &topic, partition, core]));
        }
        let (error, words) = send(0, 4001);
        assert_eq!(error, code::POLICY_VIOLATION);
        assert!(words.contains("6000 bytes are in it"), "{words}");
    }
    assert_eq!([send(0, 2000).0, send(1, 2000).0], [code::NONE; 2]);
    assert_eq!(send(0, 100).0, code::POLICY_VIOLATION);
    delete_before(&broker, &topic, 0, 1);
    assert_eq!(send(1, 3000).0, code::NONE);
}

#[test]
fn limits_change_while_the_topic_is_in_use() {
    let broker = two_cores();
    let topic = create(&broker, "changes", 2, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    let mut send = |partition| {
        let answer = produce(&mut connection, &topic, partition, &words(&["a"]).build());
        answer.error_code
    };
    assert_eq!([send(0), send(0), send(1), send(1), send(1)], [code::NONE; 5]);
    // Below what is stored: nothing goes, nothing is taken until it has been drained.
    alter(&broker, &topic, &[(RECORDS, Some("3"))]);
    assert_eq!([send(0), send(1)], [code::POLICY_VIOLATION; 2]);
    delete_before(&broker, &topic, 1, 2);
    assert_eq!([send(0), send(1)], [code::POLICY_VIOLATION; 2]);
    delete_before(&broker, &topic, 0, 1);
    assert_eq!([send(1), send(0)], [code::NONE, code::POLICY_VIOLATION]);
    alter(&broker, &topic, &[(RECORDS, Some("0"))]);
    delete_before(&broker, &topic, 0, -1);
    delete_before(&broker, &topic, 1, -1);
    assert_eq!([send(0), send(1)], [code::POLICY_VIOLATION; 2], "0 takes nothing");
    alter(&broker, &topic, &[(RECORDS, Some("1"))]);
    assert_eq!([send(0), send(1)], [code::NONE, code::POLICY_VIOLATION]);
    alter(&broker, &topic, &[(RECORDS, None)]);
    assert_eq!([send(0), send(1), send(1)], [code::NONE; 3]);
    // The oldest go at once when that is what is to happen, and each partition keeps its share.
    alter(
        &broker,
        &topic,
        &[(RECORDS, Some("2")), (WHEN_FULL, Some("drop-oldest"))],
    );
    for partition in [0, 1] {
        let (start, end) = bounds(&mut Connection::open(broker.bootstrap()), &topic, partition);
        assert_eq!(end - start, 1, "{partition}");
    }
}

#[test]
fn new_partitions_count_too() {
    let broker = two_cores();
    let topic = create(&broker, "grows", 1, &[(RECORDS, "4"), DROP]);
    let mut connection = Connection::open(broker.bootstrap());
    for value in ["a", "b", "c", "d", "e"] {
        assert_eq!(
            produce(&mut connection, &topic, 0, &words(&[value]).build()).error_code,
            code::NONE
        );
    }
    wait_for("one has gone", PATIENCE, || {
        (bounds(&mut connection, &topic, 0) == (1, 5)).then_some(())
    });
    let grow = CreatePartitionsTopic::default()
        .with_name(name(&topic))
        .with_count(4)
        .with_assignments(None);
    let request = CreatePartitionsRequest::default()
        .with_topics(vec![grow])
        .with_timeout_ms(10_000);
    assert_eq!(connection.call(3, &request).results[0].error_code, code::NONE);
    assert_eq!(
        bounds(&mut connection, &topic, 0),
        (4, 5),
        "its share is a quarter"
    );
    alter(&broker, &topic, &[(WHEN_FULL, Some("reject"))]);
    let mut send = |partition| {
        let answer = produce(&mut connection, &topic, partition, &words(&["f"]).build());
        answer.error_code
    };
    assert_eq!([send(1), send(2), send(3)], [code::NONE; 3]);
    assert_eq!(send(3), code::POLICY_VIOLATION);
}

#[test]
fn the_oldest_records_make_room_for_the_newest() {
    let Some(mut broker) = Broker::own().cores(2).start() else {
        return;
    };
    let settings = [(RECORDS, "20"), DROP, ("segment.bytes", "1048576")];
    let topic = create(&broker, "drops", 2, &settings);
    let producer = Producer::new(
        broker.bootstrap(),
        &[("linger.ms", "0"), ("enable.idempotence", "true")],
    );
    let value = |n: usize| Outgoing::value([n.to_string().into_bytes(), vec![b'.'; 50_000]].concat());
    for n in 0..100 {
        assert_eq!(
            producer.send_one(&topic, 0, &value(n)).expect("taken").offset,
            n as i64
        );
    }
    let mut connection = Connection::open(broker.bootstrap());
    wait_for("the oldest have gone", PATIENCE, || {
        (bounds(&mut connection, &topic, 0) == (90, 100)).then_some(())
    });
    let gone = fetch(&mut connection, &topic, 0, 89);
    assert_eq!(gone.error_code, code::OFFSET_OUT_OF_RANGE);
    let kept = read_partition(broker.bootstrap(), &topic, 0, Offset::Beginning);
    assert!((90..100).eq(kept.iter().map(|record| record.offset)));
    // Files of whole segments go as well.
    wait_for("their files have gone", PATIENCE, || {
        let files = std::fs::read_dir(broker.partition_folder(&topic, 0)).ok()?;
        let names = files.filter_map(|file| file.ok()?.file_name().into_string().ok());
        let logs = names.filter(|name| name.ends_with(".log")).count();
        (logs <= 2).then_some(())
    });
    broker.kill();
    broker.restart();
    let mut connection = Connection::open(broker.bootstrap());
    let (start, end) = bounds(&mut connection, &topic, 0);
    assert!(start >= 80 && end == 100, "{start} {end}");
    let mut last = produce(&mut connection, &topic, 0, &words(&["last"]).build());
    assert_eq!((last.error_code, last.base_offset), (code::NONE, 100));
    wait_for("room was made for it", PATIENCE, || {
        (bounds(&mut connection, &topic, 0) == (91, 101)).then_some(())
    });
    // A batch that is more than its share stays whole.
    let many: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    last = produce(&mut connection, &topic, 0, &words(&many).build());
    assert_eq!((last.error_code, last.base_offset), (code::NONE, 101));
    wait_for("it is alone", PATIENCE, || {
        (bounds(&mut connection, &topic, 0) == (101, 131)).then_some(())
    });
    assert_eq!(values(&mut connection, &topic, 0, 101), many);
}

#[test]
fn the_oldest_bytes_make_room_for_the_newest() {
    let broker = two_cores();
    let settings = [(BYTES, "20000"), ("max.message.bytes", "9000"), DROP];
    let topic = create(&broker, "drops-bytes", 2, &settings);
    let mut connection = Connection::open(broker.bootstrap());
    let mut sent = 0;
    for bytes in [2000, 2000, 3000, 3000, 500, 1500, 9000, 1000, 80, 80] {
        sent += 1;
        let batch = Batch::sized(bytes).build();
        let answer = produce(&mut connection, &topic, 1, &batch);
        assert_eq!((answer.error_code, answer.base_offset), (code::NONE, sent - 1));
        if sent == 4 {
            assert_eq!(bounds(&mut connection, &topic, 1), (0, 4), "exactly its share");
        }
    }
    // 9000 + 1000 are the share; the last two took the place of the large one.
    wait_for("the large one has gone", PATIENCE, || {
        (bounds(&mut connection, &topic, 1) == (7, 10)).then_some(())
    });
    assert_eq!(bounds(&mut connection, &topic, 0), (0, 0));
}

/// Commits where a group is in partition 0.
fn commit(broker: &Broker, group: &str, topic: &str, offset: i64) {
    let mut connection = group::coordinator(broker, group);
    let error = group::commit(&mut connection, 8, group, -1, "", topic, offset);
    assert_eq!(error, code::NONE);
}

#[test]
fn a_topic_is_full_when_a_group_is_too_far_behind() {
    let Some(mut broker) = Broker::own().cores(2).start() else {
        return;
    };
    let (fast, slow) = (unique("fast"), unique("slow"));
    let groups = format!("{fast},{slow}");
    let topic = create(&broker, "lag", 2, &[(LAG, "4"), (GROUPS, &groups)]);
    let send = |broker: &Broker, partition, count: usize| {
        let all = vec!["a"; count];
        let mut connection = Connection::open(broker.bootstrap());
        produce(&mut connection, &topic, partition, &words(&all).build())
    };
    let refused = |broker: &Broker, partition, count, part: &str| {
        wait_for("it is refused", PATIENCE, || {
            let answer = send(broker, partition, count);
            (answer.error_code == code::POLICY_VIOLATION && said(&answer).contains(part)).then_some(())
        });
    };
    let taken = |broker: &Broker, partition, count| {
        wait_for("it is taken", PATIENCE, || {
            (send(broker, partition, count).error_code == code::NONE).then_some(())
        });
    };
    // Groups nobody has heard of have read nothing.
    refused(&broker, 0, 5, &format!("{LAG} is 4"));
    assert_eq!(send(&broker, 0, 3).error_code, code::NONE);
    refused(&broker, 1, 2, "is 3 records behind, and the batch has 2");
    commit(&broker, &fast, &topic, 3);
    refused(&broker, 1, 2, &format!("group {slow} is 3 records behind"));
    commit(&broker, &slow, &topic, 2);
    taken(&broker, 1, 2);
    refused(&broker, 0, 2, &format!("group {slow} is 3 records behind"));
    // After a start the coordinators read first what the groups have committed; until then they do not count. Of these topics nothing is taken
    // once they do.
    let known = [&fast, &slow].map(|group| create(&broker, "known", 2, &[(LAG, "0"), (GROUPS, group)]));
    broker.stop();
    broker.restart();
    for topic in &known {
        for partition in [0, 1] {
            wait_for("the group is known", PATIENCE, || {
                let mut connection = Connection::open(broker.bootstrap());
                let answer = produce(&mut connection, topic, partition, &words(&["a"]).build());
                (answer.error_code == code::POLICY_VIOLATION).then_some(())
            });
        }
    }
    refused(&broker, 0, 2, &format!("group {slow} is 3 records behind"));
    // Who is not named any more does not count.
    alter(&broker, &topic, &[(GROUPS, Some(&fast))]);
    taken(&broker, 0, 2);
    refused(&broker, 0, 1, &format!("group {fast} is 4 records behind"));
    alter(&broker, &topic, &[(LAG, None), (GROUPS, None)]);
    assert_eq!(send(&broker, 0, 100).error_code, code::NONE);
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let broker = two_cores();
    let refused = |settings: &[(&str, &str)]| {
        try_create(broker.bootstrap(), &unique("contradiction"), 1, settings)
            == Err(RDKafkaErrorCode::InvalidConfig)
    };
    assert!(refused(&[(WHEN_FULL, "block")]));
    assert!(refused(&[(LAG, "5")]));
    assert!(refused(&[(GROUPS, "g")]));
    assert!(refused(&[(RECORDS, "-2")]));
    assert!(refused(&[(WHEN_FULL, "explode"), (RECORDS, "5")]));
    assert!(refused(&[DROP, (BYTES, "1000")]));
    assert!(refused(&[DROP, (RECORDS, "0")]));
    assert!(refused(&[DROP, (RECORDS, "1"), ("cleanup.policy", "compact")]));
    let topic = create(&broker, "agreement", 1, &[(RECORDS, "5"), (WHEN_FULL, "block")]);
    let (error, words) = try_alter(&broker, TOPIC, &topic, &[(RECORDS, None)]);
    assert_eq!(error, code::INVALID_CONFIG);
    assert!(words.contains(WHEN_FULL) && words.contains(RECORDS), "{words}");
    alter(&broker, &topic, &[(RECORDS, None), (WHEN_FULL, None)]);
    let (error, words) = try_alter(&broker, TOPIC, "__consumer_offsets", &[(RECORDS, Some("5"))]);
    assert_eq!(error, code::INVALID_CONFIG, "{words}");
}

#[test]
fn combinations_that_kafka_takes_are_taken() {
    let broker = Broker::any();
    for settings in [
        &[("retention.ms", "1"), ("segment.ms", "604800000")][..],
        &[("retention.bytes", "1"), ("segment.bytes", "1073741824")],
        &[("retention.bytes", "0"), ("retention.ms", "0")],
        &[("segment.bytes", "1048576"), ("max.message.bytes", "2000000")],
        &[("max.message.bytes", "0")],
        &[("local.retention.ms", "1000"), ("retention.ms", "10")],
        &[("local.retention.bytes", "1000"), ("retention.bytes", "10")],
        &[("min.compaction.lag.ms", "5"), ("max.compaction.lag.ms", "5")],
        &[("cleanup.policy", "compact"), ("delete.retention.ms", "0")],
        &[("segment.jitter.ms", "100"), ("segment.ms", "1")],
    ] {
        assert_eq!(
            try_create(broker.bootstrap(), &unique("taken"), 1, settings),
            Ok(()),
            "{settings:?}"
        );
    }
    for settings in [
        &[("min.compaction.lag.ms", "6"), ("max.compaction.lag.ms", "5")][..],
        &[("remote.storage.enable", "true")],
        &[("segment.bytes", "1000")],
    ] {
        let refused = try_create(broker.bootstrap(), &unique("refused"), 1, settings);
        assert_eq!(refused, Err(RDKafkaErrorCode::InvalidConfig), "{settings:?}");
    }
}

#[test]
fn administrators_see_the_limits() {
    let Some(broker) = Broker::own().start() else {
        return;
    };
    let topic = create(&broker, "described", 1, &[(BYTES, "1000"), (WHEN_FULL, "block")]);
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let resource = DescribeConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text(&topic))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_documentation(true);
    let answer = Connection::open(broker.bootstrap()).call(4, &request);
    let of = |key: &str| {
        let found = answer.results[0]
            .configs
            .iter()
            .find(|config| *config.name == *key);
        let config = found.expect("it is there");
        assert!(
            config
                .documentation
                .as_ref()
                .is_some_and(|words| words.len() > 50),
            "{key}"
        );
        assert!(
            !config
                .documentation
                .as_ref()
                .is_some_and(|words| words.contains("no effect"))
        );
        let value = config.value.as_ref().map(ToString::to_string);
        (
            value.unwrap_or_default(),
            config.config_source,
            config.config_type,
        )
    };
    for (key, value, source, kind) in [
        (BYTES, "1000", 1, 5),
        (WHEN_FULL, "block", 1, 2),
        (RECORDS, "-1", 5, 5),
        (LAG, "-1", 5, 5),
        (GROUPS, "", 5, 7),
    ] {
        assert_eq!(of(key), (value.to_owned(), source, kind), "{key}");
    }
}
