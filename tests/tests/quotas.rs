//! Quotas as clients feel them: throttle times, connections that are muted, requests that are refused. With a broker whose `quota.window.num` and
//! `controller.quota.window.num` are 2 these hold for Apache Kafka 4.3.1 as well; one window is what may come at once.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::{
    AlterClientQuotasRequest, ApiVersionsRequest, CreatePartitionsRequest, CreateTopicsRequest,
    DeleteTopicsRequest, DescribeClientQuotasRequest, ProduceResponse,
};
use kafka_protocol::protocol::StrBytes;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use rdkafka::statistics::Statistics;
use rdkafka::{Message, Offset, TopicPartitionList};
use ringlog_tests::admin::create;
use ringlog_tests::broker::unique;
use ringlog_tests::client::watermarks;
use ringlog_tests::code;
use ringlog_tests::raw::{
    Batch, Connection, Want, ask_metadata, fetch_request, metadata, name, produce, produce_request,
};
use ringlog_tests::{Broker, PATIENCE, wait_for};

/// THROTTLING_QUOTA_EXCEEDED.
const EXCEEDED: i16 = 89;

fn broker() -> Broker {
    let builder = Broker::own().cores(2).set("quota.window.num", 2);
    builder.set("controller.quota.window.num", 2).or_external()
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Sets a limit of one entity, or removes it.
fn limit(broker: &Broker, entity: &[(&str, Option<&str>)], key: &str, value: Option<f64>) {
    alter(&mut Connection::open(broker.bootstrap()), entity, key, value);
    // In Apache Kafka it is in force a little later.
    wait_for("the limit is in force", PATIENCE, || {
        (in_force(broker, entity, key) == value).then_some(())
    });
}

fn alter(connection: &mut Connection, entity: &[(&str, Option<&str>)], key: &str, value: Option<f64>) {
    let data = |(kind, name): &(&str, Option<&str>)| {
        EntityData::default()
            .with_entity_type(text(kind))
            .with_entity_name(name.map(text))
    };
    let op = OpData::default()
        .with_key(text(key))
        .with_value(value.unwrap_or_default())
        .with_remove(value.is_none());
    let entry = EntryData::default()
        .with_entity(entity.iter().map(data).collect())
        .with_ops(vec![op]);
    let request = AlterClientQuotasRequest::default().with_entries(vec![entry]);
    let answer = connection.call(1, &request);
    assert_eq!(answer.entries[0].error_code, code::NONE);
}

fn in_force(broker: &Broker, entity: &[(&str, Option<&str>)], key: &str) -> Option<f64> {
    let component = |(kind, name): &(&str, Option<&str>)| {
        ComponentData::default()
            .with_entity_type(text(kind))
            .with_match_type(0)
            .with_match(name.map(text))
    };
    let request = DescribeClientQuotasRequest::default()
        .with_components(entity.iter().map(component).collect())
        .with_strict(true);
    let entries = Connection::open(broker.bootstrap()).call(1, &request).entries?;
    let mut limits = entries.iter().flat_map(|entry| &entry.values);
    limits
        .find(|limit| limit.key.as_str() == key)
        .map(|limit| limit.value)
}

/// A topic of one partition that can be written.
fn topic(broker: &Broker, stem: &str) -> String {
    let topic = create(broker, stem, 1, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    wait_for("the topic has a leader", PATIENCE, || {
        let told = metadata(&mut connection, 9, &[&topic]).topics;
        (told[0].error_code == code::NONE && told[0].partitions[0].error_code == code::NONE).then_some(())
    });
    topic
}

/// A client id nobody else has, with this limit.
fn limited(broker: &Broker, key: &str, value: f64) -> String {
    let client_id = unique("limited");
    limit(broker, &[("client-id", Some(&client_id))], key, Some(value));
    client_id
}

/// Produces batches of `bytes` one after the other for so long. How many bytes were acknowledged, and the longest throttle time, in milliseconds.
fn push(connection: &mut Connection, topic: &str, bytes: usize, time: Duration) -> (usize, i32) {
    let batch = Batch::sized(bytes).build();
    let (begun, mut total, mut longest_ms) = (Instant::now(), 0, 0);
    while begun.elapsed() < time {
        let response = connection.call(9, &produce_request(topic, 0, -1, &batch));
        assert_eq!(
            response.responses[0].partition_responses[0].error_code,
            code::NONE
        );
        total += batch.len();
        longest_ms = longest_ms.max(response.throttle_time_ms);
    }
    (total, longest_ms)
}

#[test]
fn a_producer_is_slowed_to_its_quota_and_others_are_not() {
    const RATE: usize = 100_000;
    const SECONDS: usize = 4;
    let broker = broker();
    let topic = topic(&broker, "slowed");
    let client_id = limited(&broker, "producer_byte_rate", RATE as f64);
    let mut connection = Connection::open_as(broker.bootstrap(), &client_id);
    let (bytes, longest_ms) = push(
        &mut connection,
        &topic,
        10_000,
        Duration::from_secs(SECONDS as u64),
    );
    // A window's worth comes at once; then the rate holds, however slow this machine is.
    assert!((RATE..RATE * (SECONDS + 3)).contains(&bytes), "{bytes} bytes");
    assert!(longest_ms > 0);
    let mut other = Connection::open_as(broker.bootstrap(), &unique("free"));
    let batch = Batch::sized(10_000).build();
    let throttle_ms: Vec<i32> = (0..RATE * SECONDS / 10_000)
        .map(|_| {
            other
                .call(9, &produce_request(&topic, 0, -1, &batch))
                .throttle_time_ms
        })
        .collect();
    assert!(throttle_ms.iter().all(|ms| *ms == 0), "{throttle_ms:?}");
    // The quota goes, and so does the waiting.
    limit(
        &broker,
        &[("client-id", Some(&client_id))],
        "producer_byte_rate",
        None,
    );
    wait_for("a produce without a throttle time", PATIENCE, || {
        let response = connection.call(9, &produce_request(&topic, 0, -1, &batch));
        (response.throttle_time_ms == 0).then_some(())
    });
}

#[test]
fn connections_of_one_client_share_its_rate_over_all_cores() {
    const RATE: usize = 200_000;
    const CONNECTIONS: usize = 8;
    let broker = broker();
    let topic = topic(&broker, "shared");
    let client_id = limited(&broker, "producer_byte_rate", RATE as f64);
    let ready = Barrier::new(CONNECTIONS);
    let total: usize = std::thread::scope(|scope| {
        let pushed = (0..CONNECTIONS).map(|_| {
            scope.spawn(|| {
                let mut connection = Connection::open_as(broker.bootstrap(), &client_id);
                ready.wait();
                // So many that those on the other core move to the partition's, muted or not.
                push(&mut connection, &topic, 1000, Duration::from_secs(3)).0
            })
        });
        let threads: Vec<_> = pushed.collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("ended"))
            .sum()
    });
    // Each for itself would have had a window's worth at once: 8 times as much.
    assert!((RATE..RATE * 6).contains(&total), "{total} bytes");
}

#[test]
fn an_answer_leaves_at_once_and_what_follows_waits_and_is_not_lost() {
    let broker = broker();
    let topic = topic(&broker, "muted");
    let client_id = limited(&broker, "producer_byte_rate", 10_000.0);
    let batch = Batch::sized(40_000).build();
    for acks in [-1, 0] {
        let (_, before) = watermarks(broker.bootstrap(), &topic, 0);
        let mut connection = Connection::open_as(broker.bootstrap(), &client_id);
        let first = connection.send(9, &produce_request(&topic, 0, acks, &batch));
        if acks != 0 {
            let response: ProduceResponse =
                connection.receive::<kafka_protocol::messages::ProduceRequest>(9, first);
            assert!(response.throttle_time_ms > 2000, "{}", response.throttle_time_ms);
        } else {
            wait_for("the batch is stored", PATIENCE, || {
                (watermarks(broker.bootstrap(), &topic, 0).1 > before).then_some(())
            });
        }
        let second = connection.send(9, &produce_request(&topic, 0, -1, &Batch::sized(100).build()));
        connection.expect_silence(Duration::from_millis(500));
        let (_, meanwhile) = watermarks(broker.bootstrap(), &topic, 0);
        assert_eq!(meanwhile, before + 1, "the second one has not begun");
        let response = connection.receive::<kafka_protocol::messages::ProduceRequest>(9, second);
        assert_eq!(
            response.responses[0].partition_responses[0].error_code,
            code::NONE
        );
        assert_eq!(watermarks(broker.bootstrap(), &topic, 0).1, before + 2);
    }
}

#[test]
fn a_throttled_fetch_is_empty_and_nothing_is_left_out() {
    const RATE: usize = 100_000;
    const BATCHES: usize = 40;
    let broker = broker();
    let topic = topic(&broker, "fetched");
    let mut producer = Connection::open(broker.bootstrap());
    let batch = Batch::sized(10_000).build();
    for _ in 0..BATCHES {
        assert_eq!(produce(&mut producer, &topic, 0, &batch).error_code, code::NONE);
    }
    let client_id = limited(&broker, "consumer_byte_rate", RATE as f64);
    let read_all = |client_id: &str| {
        let mut connection = Connection::open_as(broker.bootstrap(), client_id);
        let (mut offset, mut answers) = (0, Vec::new());
        while offset < BATCHES as i64 {
            let want = Want {
                partition: 0,
                offset,
                max_bytes: 30_000,
            };
            let response = connection.call(12, &fetch_request(&topic, &[want], 1, 100));
            let records = response
                .responses
                .first()
                .and_then(|topic| topic.partitions[0].records.clone());
            let bytes = records.unwrap_or_default();
            offset += (bytes.len() / batch.len()) as i64;
            answers.push((response.throttle_time_ms, bytes.len()));
        }
        answers
    };
    let begun = Instant::now();
    let answers = read_all(&client_id);
    assert!(
        answers.iter().all(|(ms, bytes)| (*ms > 0) == (*bytes == 0)),
        "{answers:?}"
    );
    assert!(answers.iter().any(|(ms, _)| *ms > 0));
    // All but what comes at once takes its time.
    assert!(begun.elapsed() > Duration::from_secs(1), "{:?}", begun.elapsed());
    let free = read_all(&unique("free"));
    assert!(free.iter().all(|(ms, bytes)| *ms == 0 && *bytes > 0), "{free:?}");
}

#[test]
fn a_batch_that_is_more_than_the_windows_hold_is_fetched_all_the_same() {
    let Some(broker) = Broker::own().cores(2).set("quota.window.num", 2).start() else {
        return;
    };
    let topic = topic(&broker, "large");
    let mut producer = Connection::open(broker.bootstrap());
    let batch = Batch::sized(50_000).build();
    produce(&mut producer, &topic, 0, &batch);
    // Everybody is this user, whatever the client calls itself.
    let user = [("user", Some("ANONYMOUS"))];
    limit(&broker, &user, "consumer_byte_rate", Some(20_000.0));
    let mut connection = Connection::open_as(broker.bootstrap(), &unique("any"));
    let want = Want {
        partition: 0,
        offset: 0,
        max_bytes: 1 << 20,
    };
    let response = connection.call(12, &fetch_request(&topic, &[want], 1, 100));
    let records = response.responses[0].partitions[0].records.clone();
    assert_eq!(records.map(|records| records.len()), Some(batch.len()));
    assert!(response.throttle_time_ms > 1000, "{}", response.throttle_time_ms);
}

#[test]
fn requests_that_take_too_long_together_are_made_to_wait() {
    let broker = broker();
    let topic = topic(&broker, "timed");
    let client_id = limited(&broker, "request_percentage", 0.01);
    let mut connection = Connection::open_as(broker.bootstrap(), &client_id);
    let versions = ApiVersionsRequest::default()
        .with_client_software_name(text("raw"))
        .with_client_software_version(text("1"));
    // One window is the longest throttle time (KIP-124).
    let throttled = |what: &str, call: &mut dyn FnMut() -> i32| {
        let throttle_ms = wait_for(what, PATIENCE, || Some(call()).filter(|ms| *ms > 0));
        assert!((1..=1000).contains(&throttle_ms), "{what}: {throttle_ms}");
    };
    throttled("Metadata", &mut || {
        metadata(&mut connection, 9, &[&topic]).throttle_time_ms
    });
    throttled("ApiVersions", &mut || {
        let response = connection.call(3, &versions);
        assert!(!response.api_keys.is_empty());
        response.throttle_time_ms
    });
    let batch = Batch::sized(1000).build();
    throttled("Produce", &mut || {
        connection
            .call(9, &produce_request(&topic, 0, -1, &batch))
            .throttle_time_ms
    });
    let mut other = Connection::open_as(broker.bootstrap(), &unique("free"));
    assert_eq!(metadata(&mut other, 9, &[&topic]).throttle_time_ms, 0);
}

#[test]
fn changes_of_topics_beyond_the_quota_are_refused_or_made_to_wait() {
    let broker = broker();
    let client_id = limited(&broker, "controller_mutation_rate", 1.0);
    // Each on a connection of its own: the one before may be muted.
    let open = || Connection::open_as(broker.bootstrap(), &client_id);
    let (first, second) = (unique("first"), unique("second"));
    let creation = |topic: &str| {
        let topic = CreatableTopic::default()
            .with_name(name(topic))
            .with_num_partitions(20)
            .with_replication_factor(1);
        CreateTopicsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(10_000)
    };
    let answer = open().call(7, &creation(&first));
    assert_eq!(
        (answer.topics[0].error_code, answer.throttle_time_ms),
        (code::NONE, 0)
    );
    let answer = open().call(7, &creation(&second));
    assert_eq!(answer.topics[0].error_code, EXCEEDED);
    assert!(
        (5000..20_000).contains(&answer.throttle_time_ms),
        "{}",
        answer.throttle_time_ms
    );
    let topic = DeleteTopicState::default().with_name(Some(name(&first)));
    let deletion = DeleteTopicsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(10_000);
    let answer = open().call(6, &deletion);
    assert_eq!(answer.responses[0].error_code, EXCEEDED);
    assert!(answer.throttle_time_ms > 1000);
    let topic = CreatePartitionsTopic::default()
        .with_name(name(&first))
        .with_count(21)
        .with_assignments(None);
    let growth = CreatePartitionsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(10_000);
    let answer = open().call(3, &growth);
    assert_eq!(answer.results[0].error_code, EXCEEDED);
    // A client that does not know the code only waits.
    let mut connection = open();
    let answer = connection.call(2, &growth);
    assert_eq!(answer.results[0].error_code, code::NONE);
    assert!(answer.throttle_time_ms > 1000, "{}", answer.throttle_time_ms);
    connection.send(9, &ask_metadata(&first));
    connection.expect_silence(Duration::from_millis(500));
    // Somebody else's quota is not touched.
    let answer = Connection::open_as(broker.bootstrap(), &unique("free")).call(7, &creation(&second));
    assert_eq!(answer.topics[0].error_code, code::NONE);
}

#[test]
fn an_address_that_opens_too_many_connections_is_held_back() {
    let Some(broker) = Broker::own().cores(2).set("quota.window.num", 2).start() else {
        return;
    };
    let mut first = Connection::open(broker.bootstrap());
    alter(
        &mut first,
        &[("ip", Some("127.0.0.1"))],
        "connection_creation_rate",
        Some(2.0),
    );
    let is_served = |_| {
        let mut connection = Connection::open(broker.bootstrap());
        connection.try_call(0, &ApiVersionsRequest::default()).is_ok()
    };
    let served = (0..8).filter(|n| is_served(*n)).count();
    assert!((1..8).contains(&served), "{served} of 8");
    // Whoever is connected goes on, and takes the limit away.
    first.call(0, &ApiVersionsRequest::default());
    alter(
        &mut first,
        &[("ip", Some("127.0.0.1"))],
        "connection_creation_rate",
        None,
    );
    assert!((0..8).all(is_served));
}

/// As Kafka's acceptors, which take the next one when its time has come.
#[test]
fn connections_past_the_brokers_rate_wait_and_all_are_served() {
    let builder = Broker::own().set("max.connection.creation.rate", 5);
    let builder = builder.set("quota.window.num", 2);
    let Some(broker) = builder.set("quota.window.size.seconds", 1).start() else {
        return;
    };
    let begun = Instant::now();
    let mut connections: Vec<Connection> = (0..25).map(|_| Connection::open(broker.bootstrap())).collect();
    for connection in &mut connections {
        connection.call(0, &ApiVersionsRequest::default());
    }
    // Ten are let through at once, five more each second: the last has waited for three.
    assert!(begun.elapsed() > Duration::from_secs(2), "{:?}", begun.elapsed());
    // Those that are open are not held up by others that come.
    let _later: Vec<Connection> = (0..10).map(|_| Connection::open(broker.bootstrap())).collect();
    connections[0].call(0, &ApiVersionsRequest::default());
}

/// Remembers the longest throttle time that librdkafka tells of.
#[derive(Default)]
struct Seen {
    longest_ms: Arc<AtomicI64>,
}

impl ClientContext for Seen {
    fn stats(&self, statistics: Statistics) {
        let told = statistics
            .brokers
            .values()
            .filter_map(|broker| broker.throttle.as_ref());
        let longest_ms = told.map(|window| window.max).max().unwrap_or(0);
        self.longest_ms.fetch_max(longest_ms, Ordering::Relaxed);
    }
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: rdkafka::error::KafkaError, _: &str) {}
}

impl ConsumerContext for Seen {}

impl rdkafka::producer::ProducerContext for Seen {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &rdkafka::producer::DeliveryResult<'_>, (): ()) {
        assert!(result.is_ok(), "delivered");
    }
}

#[test]
fn librdkafka_is_told_and_delivers_and_reads_everything() {
    const RATE: f64 = 100_000.0;
    const RECORDS: usize = 400;
    let broker = broker();
    let topic = topic(&broker, "librdkafka");
    let client_id = limited(&broker, "producer_byte_rate", RATE);
    limit(
        &broker,
        &[("client-id", Some(&client_id))],
        "consumer_byte_rate",
        Some(RATE),
    );
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", broker.bootstrap())
        .set("broker.address.family", "v4")
        .set("client.id", &client_id)
        .set("statistics.interval.ms", "100");
    let seen = Arc::new(AtomicI64::new(0));
    let context = || Seen {
        longest_ms: seen.clone(),
    };
    let producer: ThreadedProducer<Seen> = config
        .clone()
        .set("linger.ms", "5")
        .set("batch.size", "20000")
        .create_with_context(context())
        .expect("settings librdkafka knows");
    let value = vec![7; 1000];
    for key in 0..RECORDS {
        let key = key.to_string();
        let record = BaseRecord::to(&topic).partition(0).key(&key).payload(&value);
        assert!(producer.send(record).is_ok());
    }
    producer.flush(PATIENCE).expect("delivered");
    wait_for("the producer is told", PATIENCE, || {
        (seen.load(Ordering::Relaxed) > 0).then_some(())
    });
    seen.store(0, Ordering::Relaxed);
    let consumer: BaseConsumer<Seen> = config
        .set("group.id", "unused")
        .set("enable.auto.commit", "false")
        .set("fetch.message.max.bytes", "50000")
        .create_with_context(context())
        .expect("settings librdkafka knows");
    let mut places = TopicPartitionList::new();
    places
        .add_partition_offset(&topic, 0, Offset::Beginning)
        .expect("a place");
    consumer.assign(&places).expect("assigned");
    let keys: Vec<usize> = (0..RECORDS)
        .map(|_| {
            wait_for("the next record", PATIENCE, || {
                let message = consumer.poll(Duration::from_millis(100))?.expect("a record");
                let key = std::str::from_utf8(message.key()?).ok()?;
                key.parse().ok()
            })
        })
        .collect();
    assert_eq!(keys, (0..RECORDS).collect::<Vec<_>>());
    wait_for("the consumer is told", PATIENCE, || {
        let _ = consumer.poll(Duration::from_millis(100));
        (seen.load(Ordering::Relaxed) > 0).then_some(())
    });
}
