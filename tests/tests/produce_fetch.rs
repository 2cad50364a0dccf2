//! What goes in comes out: librdkafka producers and consumers against the real binary.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Message, Offset, TopicPartitionList};
use ringlog_tests::admin::create;
use ringlog_tests::broker::unique;
use ringlog_tests::client::{self, Outgoing, Producer, consumer, read, read_partition, watermarks};
use ringlog_tests::oracle::Ledger;
use ringlog_tests::{Broker, PATIENCE, Random, wait_for};

/// Values `<prefix>0`, `<prefix>1`, ...
fn numbered(prefix: &str, count: usize) -> Vec<Outgoing> {
    (0..count)
        .map(|number| Outgoing::value(format!("{prefix}{number}")))
        .collect()
}

fn values(records: &[client::Incoming]) -> Vec<Vec<u8>> {
    records
        .iter()
        .map(|record| record.value.clone().unwrap_or_default())
        .collect()
}

fn sent(records: &[Outgoing]) -> Vec<Vec<u8>> {
    records
        .iter()
        .map(|record| record.value.clone().unwrap_or_default())
        .collect()
}

#[test]
fn one_record_goes_in_and_comes_out() {
    let broker = Broker::any();
    let topic = create(&broker, "one", 1, &[]);
    let producer = Producer::new(broker.bootstrap(), &[]);
    let acknowledged = producer
        .send_one(&topic, 0, &Outgoing::value("hello"))
        .expect("acknowledged");
    assert_eq!(acknowledged.offset, 0);
    let records = read_partition(broker.bootstrap(), &topic, 0, Offset::Beginning);
    assert_eq!(values(&records), [b"hello".to_vec()]);
}

#[test]
fn every_codec_comes_back_as_it_went_in() {
    let broker = Broker::any();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = create(&broker, codec, 1, &[]);
        let settings = [("compression.codec", codec), ("linger.ms", "20")];
        let producer = Producer::new(broker.bootstrap(), &settings);
        let records = numbered("the same words again and again, number ", 2000);
        producer.send_all(&topic, 0, &records);
        let back = read_partition(broker.bootstrap(), &topic, 0, Offset::Beginning);
        assert_eq!(values(&back), sent(&records), "{codec}");
        assert!(
            back.iter()
                .enumerate()
                .all(|(index, record)| record.offset == index as i64),
            "{codec}"
        );
    }
}

#[test]
fn keys_headers_timestamps_and_nulls_are_kept() {
    let broker = Broker::any();
    let topic = create(&broker, "fields", 1, &[]);
    let headers = vec![
        ("trace".to_owned(), Some(b"\x00\xff".to_vec())),
        ("empty".to_owned(), Some(Vec::new())),
        ("null".to_owned(), None),
        ("trace".to_owned(), Some(b"again".to_vec())),
    ];
    let records = [
        Outgoing {
            key: Some(b"k".to_vec()),
            value: Some(b"v".to_vec()),
            timestamp_ms: Some(1),
            headers,
        },
        Outgoing {
            key: Some(b"tombstone".to_vec()),
            timestamp_ms: Some(2),
            ..Outgoing::default()
        },
        Outgoing {
            key: Some(Vec::new()),
            value: Some(Vec::new()),
            timestamp_ms: Some(3),
            headers: Vec::new(),
        },
        Outgoing {
            timestamp_ms: Some(1_700_000_000_123),
            ..Outgoing::default()
        },
    ];
    let producer = Producer::new(broker.bootstrap(), &[]);
    producer.send_all(&topic, 0, &records);
    let back = read_partition(broker.bootstrap(), &topic, 0, Offset::Beginning);
    assert_eq!(back.len(), records.len());
    for (record, out) in back.iter().zip(&records) {
        assert_eq!(record.value, out.value);
        assert_eq!(record.key, out.key);
        assert_eq!(Some(record.timestamp_ms), out.timestamp_ms);
        assert_eq!(record.headers, out.headers);
    }
}

#[test]
fn sizes_from_nothing_to_the_largest_message() {
    let broker = Broker::any();
    let topic = create(&broker, "sizes", 1, &[]);
    let producer = Producer::new(
        broker.bootstrap(),
        &[("message.max.bytes", "2000000"), ("linger.ms", "0")],
    );
    let mut random = Random::new(7);
    let sizes = [
        0,
        1,
        2,
        61,
        100,
        4095,
        4096,
        4097,
        16_384,
        65_536,
        262_144,
        700_001,
        1_048_576 - 200,
    ];
    let records: Vec<Outgoing> = sizes
        .iter()
        .map(|&size| Outgoing::value(random.bytes(size)))
        .collect();
    for record in &records {
        producer.send_one(&topic, 0, record).expect("acknowledged");
    }
    let back = read_partition(broker.bootstrap(), &topic, 0, Offset::Beginning);
    assert_eq!(values(&back), sent(&records));
    let refused = producer.send_one(&topic, 0, &Outgoing::value(random.bytes(1_048_588)));
    assert_eq!(refused, Err(RDKafkaErrorCode::MessageSizeTooLarge));
    assert_eq!(watermarks(broker.bootstrap(), &topic, 0), (0, sizes.len() as i64));
}

#[test]
fn a_topic_with_a_larger_limit_takes_a_larger_message() {
    let broker = Broker::any();
    let topic = create(&broker, "large", 1, &[("max.message.bytes", "8000000")]);
    let producer = Producer::new(broker.bootstrap(), &[("message.max.bytes", "9000000")]);
    let mut random = Random::new(8);
    let records = [Outgoing::value(random.bytes(7_900_000)), Outgoing::value("small")];
    for record in &records {
        producer.send_one(&topic, 0, record).expect("acknowledged");
    }
    // A consumer that asks for less than one batch still gets one: it must be able to go on.
    let settings = [
        ("max.partition.fetch.bytes", "1000"),
        ("fetch.max.bytes", "9000000"),
        ("message.max.bytes", "9000000"),
    ];
    let back = read(broker.bootstrap(), &topic, &[0], Offset::Beginning, &settings);
    assert!(values(&back[&0]) == sent(&records), "the large record differs");
}

#[test]
fn sixty_four_partitions_each_in_its_own_order() {
    let broker = Broker::any();
    let topic = create(&broker, "wide", 64, &[]);
    let producer = Producer::new(broker.bootstrap(), &[]);
    for number in 0..64 * 50 {
        let record = Outgoing::value(format!("{}:{}", number % 64, number / 64));
        producer.send(&topic, number % 64, &record).expect("queued");
    }
    producer.flush();
    assert_eq!(producer.acknowledged(), 64 * 50);
    let partitions: Vec<i32> = (0..64).collect();
    let back = read(broker.bootstrap(), &topic, &partitions, Offset::Beginning, &[]);
    for partition in partitions {
        let expected: Vec<Vec<u8>> = (0..50)
            .map(|number| format!("{partition}:{number}").into_bytes())
            .collect();
        assert_eq!(values(&back[&partition]), expected);
    }
}

#[test]
fn keyed_records_keep_their_order_and_their_partition() {
    let broker = Broker::any();
    let topic = create(&broker, "keyed", 7, &[]);
    let producer = Producer::new(broker.bootstrap(), &[]);
    for number in 0..700 {
        let key = Some(format!("key-{}", number % 20).into_bytes());
        let record = Outgoing {
            key,
            ..Outgoing::value(number.to_string())
        };
        producer.send(&topic, -1, &record).expect("queued");
    }
    producer.flush();
    let back = read(
        broker.bootstrap(),
        &topic,
        &[0, 1, 2, 3, 4, 5, 6],
        Offset::Beginning,
        &[],
    );
    let mut seen = BTreeSet::new();
    for records in back.values() {
        let mut last = std::collections::BTreeMap::new();
        for record in records {
            let value: u32 = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default())
                .parse()
                .expect("a number");
            let before = last.insert(record.key.clone(), value);
            assert!(before.is_none_or(|before| before < value), "order of one key");
            assert!(seen.insert(value), "{value} came twice");
        }
    }
    assert_eq!(seen.len(), 700);
}

#[test]
fn idempotent_producers_with_five_requests_in_flight() {
    let broker = Broker::any();
    let topic = create(&broker, "idempotent", 3, &[]);
    let settings = [
        ("enable.idempotence", "true"),
        ("max.in.flight.requests.per.connection", "5"),
        ("batch.num.messages", "10"),
        ("linger.ms", "0"),
    ];
    let producer = Producer::new(broker.bootstrap(), &settings);
    for number in 0..3000 {
        producer
            .send(&topic, number % 3, &Outgoing::value(number.to_string()))
            .expect("queued");
    }
    producer.flush();
    let deliveries = producer.take();
    let mut ledger = Ledger::new();
    ledger.enter(
        deliveries
            .into_iter()
            .map(|delivery| delivery.expect("acknowledged")),
    );
    assert_eq!(ledger.len(), 3000);
    ledger.check(broker.bootstrap(), true);
    for partition in 0..3 {
        let back = read_partition(broker.bootstrap(), &topic, partition, Offset::Beginning);
        let expected: Vec<Vec<u8>> = (0..1000)
            .map(|n| (n * 3 + partition).to_string().into_bytes())
            .collect();
        assert_eq!(values(&back), expected);
    }
}

#[test]
fn acknowledgements_none_one_and_all() {
    let broker = Broker::any();
    let topic = create(&broker, "acks", 3, &[]);
    for (partition, acks) in [(0, "0"), (1, "1"), (2, "all")] {
        let producer = Producer::new(broker.bootstrap(), &[("acks", acks)]);
        let records = numbered(acks, 200);
        for record in &records {
            producer.send(&topic, partition, record).expect("queued");
        }
        producer.flush();
        assert_eq!(producer.acknowledged(), 200, "acks={acks}");
        wait_for("the records are there", PATIENCE, || {
            (watermarks(broker.bootstrap(), &topic, partition) == (0, 200)).then_some(())
        });
        let back = read_partition(broker.bootstrap(), &topic, partition, Offset::Beginning);
        assert_eq!(values(&back), sent(&records), "acks={acks}");
    }
}

#[test]
fn reading_starts_where_it_is_asked_to() {
    let broker = Broker::any();
    let topic = create(&broker, "positions", 1, &[]);
    let producer = Producer::new(broker.bootstrap(), &[("batch.num.messages", "7")]);
    producer.send_all(&topic, 0, &numbered("", 100));
    for from in [0, 1, 6, 7, 50, 98, 99] {
        let back = read_partition(broker.bootstrap(), &topic, 0, Offset::Offset(from));
        assert_eq!(back.first().map(|record| record.offset), Some(from));
        assert_eq!(back.len() as i64, 100 - from);
    }
    let reader = consumer(broker.bootstrap(), &[]);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::End)
        .expect("a new list");
    reader.assign(&list).expect("assigned");
    assert!(
        reader.poll(Duration::from_millis(500)).is_none(),
        "nothing is after the end"
    );
    producer
        .send_one(&topic, 0, &Outgoing::value("later"))
        .expect("acknowledged");
    let message = wait_for("the record after the end", PATIENCE, || {
        reader.poll(Duration::from_millis(100))
    });
    assert_eq!(message.expect("a record").offset(), 100);
}

#[test]
fn an_offset_outside_the_log_is_an_error() {
    let broker = Broker::any();
    let topic = create(&broker, "outside", 1, &[]);
    Producer::new(broker.bootstrap(), &[]).send_all(&topic, 0, &numbered("", 3));
    let reader = consumer(broker.bootstrap(), &[]);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::Offset(4))
        .expect("a new list");
    reader.assign(&list).expect("assigned");
    let answer = wait_for("an answer", PATIENCE, || reader.poll(Duration::from_millis(100)));
    let error = answer.map(|message| message.offset()).expect_err("no record");
    // With auto.offset.reset=error the client reports the broker's OFFSET_OUT_OF_RANGE in its own words.
    let expected = [
        RDKafkaErrorCode::AutoOffsetReset,
        RDKafkaErrorCode::OffsetOutOfRange,
    ];
    assert!(
        error
            .rdkafka_error_code()
            .is_some_and(|code| expected.contains(&code)),
        "{error}"
    );
}

#[test]
fn offsets_by_time() {
    let broker = Broker::any();
    for codec in ["none", "lz4"] {
        let topic = create(&broker, "times", 1, &[]);
        let settings = [("compression.codec", codec), ("linger.ms", "50")];
        let producer = Producer::new(broker.bootstrap(), &settings);
        let base = 1_700_000_000_000;
        let records: Vec<Outgoing> = (0..50).map(|n| Outgoing::value("t").at(base + n * 10)).collect();
        producer.send_all(&topic, 0, &records);
        let reader = consumer(broker.bootstrap(), &[]);
        for (wanted, expected) in [
            (base - 5, Offset::Offset(0)),
            (base, Offset::Offset(0)),
            (base + 1, Offset::Offset(1)),
            (base + 250, Offset::Offset(25)),
            (base + 490, Offset::Offset(49)),
            (base + 491, Offset::End),
        ] {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(&topic, 0, Offset::Offset(wanted))
                .expect("a new list");
            let found = reader.offsets_for_times(list, PATIENCE).expect("an answer");
            assert_eq!(
                found.elements()[0].offset(),
                expected,
                "{codec}: {}",
                wanted - base
            );
        }
    }
}

#[test]
fn log_append_time_is_the_brokers() {
    let broker = Broker::any();
    let topic = create(
        &broker,
        "appended",
        1,
        &[("message.timestamp.type", "LogAppendTime")],
    );
    let producer = Producer::new(broker.bootstrap(), &[("compression.codec", "lz4")]);
    let before = now_ms();
    producer.send_all(
        &topic,
        0,
        &[Outgoing::value("a").at(5), Outgoing::value("b").at(6)],
    );
    let after = now_ms();
    let back = read_partition(broker.bootstrap(), &topic, 0, Offset::Beginning);
    assert_eq!(values(&back), [b"a".to_vec(), b"b".to_vec()]);
    assert!(
        back.iter()
            .all(|record| (before..=after).contains(&record.timestamp_ms)),
        "{back:?}"
    );
}

fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("a clock after 1970").as_millis() as i64
}

#[test]
fn a_waiting_consumer_is_woken_by_a_record() {
    let broker = Broker::any();
    let topic = create(&broker, "woken", 1, &[]);
    let settings = [
        ("fetch.wait.max.ms", "20000"),
        ("socket.timeout.ms", "60000"),
        ("fetch.min.bytes", "1"),
    ];
    let reader = consumer(broker.bootstrap(), &settings);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::Beginning)
        .expect("a new list");
    reader.assign(&list).expect("assigned");
    assert!(
        reader.poll(Duration::from_millis(700)).is_none(),
        "the topic is empty"
    );
    let producer = Producer::new(broker.bootstrap(), &[]);
    let start = Instant::now();
    producer
        .send_one(&topic, 0, &Outgoing::value("now"))
        .expect("acknowledged");
    let message = wait_for("the record", PATIENCE, || reader.poll(Duration::from_millis(50)));
    message.expect("a record");
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "the fetch waited {:?}",
        start.elapsed()
    );
}

#[test]
fn a_missing_topic_is_created_when_a_producer_asks() {
    let broker = Broker::any();
    let topic = unique("automatic");
    let producer = Producer::new(broker.bootstrap(), &[]);
    producer.send_all(&topic, 0, &numbered("", 10));
    assert_eq!(
        values(&read_partition(broker.bootstrap(), &topic, 0, Offset::Beginning)),
        sent(&numbered("", 10))
    );
}

#[test]
fn a_consumer_does_not_create_a_topic() {
    let broker = Broker::any();
    let topic = unique("absent");
    let reader = consumer(broker.bootstrap(), &[("allow.auto.create.topics", "false")]);
    let metadata = reader.fetch_metadata(Some(&topic), PATIENCE).expect("an answer");
    assert!(metadata.topics()[0].error().is_some(), "the topic must not exist");
    let all = reader.fetch_metadata(None, PATIENCE).expect("an answer");
    assert!(all.topics().iter().all(|other| other.name() != topic));
}

#[test]
fn many_topics() {
    let broker = Broker::any();
    let topics: Vec<String> = (0..40).map(|_| create(&broker, "many", 2, &[])).collect();
    let producer = Producer::new(broker.bootstrap(), &[]);
    for (index, topic) in topics.iter().enumerate() {
        for partition in 0..2 {
            producer
                .send(topic, partition, &Outgoing::value(format!("{index}/{partition}")))
                .expect("queued");
        }
    }
    producer.flush();
    assert_eq!(producer.acknowledged(), 80);
    for (index, topic) in topics.iter().enumerate() {
        let back = read(broker.bootstrap(), topic, &[0, 1], Offset::Beginning, &[]);
        for partition in 0..2 {
            assert_eq!(
                values(&back[&partition]),
                [format!("{index}/{partition}").into_bytes()]
            );
        }
    }
}

#[test]
fn large_fetches_over_many_partitions() {
    let broker = Broker::any();
    let topic = create(&broker, "bulk", 16, &[]);
    let producer = Producer::new(
        broker.bootstrap(),
        &[("batch.size", "300000"), ("linger.ms", "20")],
    );
    let mut random = Random::new(11);
    let mut ledger = Ledger::new();
    for number in 0..1600 {
        producer
            .send(&topic, number % 16, &Outgoing::value(random.bytes(20_000)))
            .expect("queued");
    }
    producer.flush();
    ledger.enter(
        producer
            .take()
            .into_iter()
            .map(|delivery| delivery.expect("acknowledged")),
    );
    assert_eq!(ledger.len(), 1600);
    let settings = [
        ("fetch.max.bytes", "50000000"),
        ("max.partition.fetch.bytes", "3000000"),
        ("fetch.min.bytes", "1000000"),
    ];
    let partitions: Vec<i32> = (0..16).collect();
    let back = read(
        broker.bootstrap(),
        &topic,
        &partitions,
        Offset::Beginning,
        &settings,
    );
    assert!(back.values().all(|records| records.len() == 100));
    ledger.check(broker.bootstrap(), true);
}

#[test]
fn producers_and_consumers_at_the_same_time() {
    let broker = Broker::any();
    let topic = create(&broker, "together", 4, &[("segment.bytes", "1048576")]);
    const EACH: usize = 4000;
    let producers: Vec<Arc<Producer>> = (0..3)
        .map(|_| Arc::new(Producer::new(broker.bootstrap(), &[])))
        .collect();
    std::thread::scope(|scope| {
        for (index, producer) in producers.iter().enumerate() {
            let topic = &topic;
            scope.spawn(move || {
                for number in 0..EACH {
                    let value = format!("{index}-{number}-{}", "x".repeat(number % 500));
                    producer
                        .send(topic, (number % 4) as i32, &Outgoing::value(value))
                        .expect("queued");
                }
                producer.flush();
            });
        }
        for _ in 0..2 {
            scope.spawn(|| tail(&broker, &topic, 3 * EACH));
        }
    });
    let mut ledger = Ledger::new();
    ledger.enter(client::acknowledged(&producers));
    assert_eq!(ledger.len(), 3 * EACH);
    ledger.check(broker.bootstrap(), true);
}

/// Follows all four partitions from the beginning until `count` records have come, in order and without holes.
fn tail(broker: &Broker, topic: &str, count: usize) {
    let reader = consumer(broker.bootstrap(), &[]);
    let mut list = TopicPartitionList::new();
    for partition in 0..4 {
        list.add_partition_offset(topic, partition, Offset::Beginning)
            .expect("a new list");
    }
    reader.assign(&list).expect("assigned");
    let mut next = [0; 4];
    let deadline = Instant::now() + Duration::from_secs(60);
    while next.iter().sum::<i64>() < count as i64 {
        assert!(Instant::now() < deadline, "only {next:?} came");
        if let Some(message) = reader.poll(Duration::from_millis(100)) {
            let message = message.expect("a record");
            let place = &mut next[message.partition() as usize];
            assert_eq!(message.offset(), *place);
            *place += 1;
        }
    }
}
