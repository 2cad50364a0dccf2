//! Topics, partitions, records and settings as administrators change them. Checked on Apache Kafka 4.3.1.

use std::collections::BTreeSet;

use bytes::Bytes;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    DescribeClusterRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest, MetadataRequest,
};
use kafka_protocol::protocol::StrBytes;
use rdkafka::Offset;
use ringlog_tests::admin::create;
use ringlog_tests::broker::unique;
use ringlog_tests::client::{Outgoing, Producer, read_partition, watermarks};
use ringlog_tests::code;
use ringlog_tests::raw::{Batch, Connection, fetch, metadata, name, produce, topic_id};
use ringlog_tests::{Broker, PATIENCE, assert_settled, wait_for};
use uuid::Uuid;

/// The topic configs of Kafka 4.3, less the internal one, which is not shown.
const TOPIC_CONFIGS: usize = 33;

/// Whether the config is one that Kafka does not have.
fn is_own(name: &str) -> bool {
    name.starts_with("ringlog.")
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn wanted(topic: &str, partitions: i32, replicas: i16, configs: &[(&str, &str)]) -> CreatableTopic {
    let configs = configs
        .iter()
        .map(|(key, value)| {
            CreatableTopicConfig::default()
                .with_name(text(key))
                .with_value(Some(text(value)))
        })
        .collect();
    CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(replicas)
        .with_configs(configs)
}

fn create_topics(
    connection: &mut Connection,
    topics: Vec<CreatableTopic>,
    check: bool,
) -> Vec<CreatableTopicResult> {
    let request = CreateTopicsRequest::default()
        .with_topics(topics)
        .with_timeout_ms(10_000);
    connection.call(7, &request.with_validate_only(check)).topics
}

#[test]
fn topics_that_cannot_be_created() {
    let broker = Broker::any();
    let mut connection = Connection::open(broker.bootstrap());
    let existing = create(&broker, "existing", 1, &[]);
    let fresh = || unique("fresh");
    let long = "x".repeat(250);
    let cases = [
        (wanted("", 1, 1, &[]), code::INVALID_TOPIC),
        (wanted(".", 1, 1, &[]), code::INVALID_TOPIC),
        (wanted("..", 1, 1, &[]), code::INVALID_TOPIC),
        (wanted("a/b", 1, 1, &[]), code::INVALID_TOPIC),
        (wanted("../etc", 1, 1, &[]), code::INVALID_TOPIC),
        (wanted("a b", 1, 1, &[]), code::INVALID_TOPIC),
        (wanted("naïve", 1, 1, &[]), code::INVALID_TOPIC),
        (wanted("a\0", 1, 1, &[]), code::INVALID_TOPIC),
        (wanted(&long, 1, 1, &[]), code::INVALID_TOPIC),
        (wanted(&existing, 1, 1, &[]), code::TOPIC_ALREADY_EXISTS),
        (wanted(&existing.replace('-', "."), 1, 1, &[]), code::NONE),
        (wanted(&fresh(), 0, 1, &[]), code::INVALID_PARTITIONS),
        (wanted(&fresh(), -2, 1, &[]), code::INVALID_PARTITIONS),
        (wanted(&fresh(), 1, 0, &[]), code::INVALID_REPLICATION_FACTOR),
        (wanted(&fresh(), 1, 3, &[]), code::INVALID_REPLICATION_FACTOR),
        (
            wanted(&fresh(), 1, 1, &[("no.such.config", "1")]),
            code::INVALID_CONFIG,
        ),
        (
            wanted(&fresh(), 1, 1, &[("retention.ms", "soon")]),
            code::INVALID_CONFIG,
        ),
        (
            wanted(&fresh(), 1, 1, &[("segment.bytes", "1")]),
            code::INVALID_CONFIG,
        ),
        (
            wanted(&fresh(), 1, 1, &[("cleanup.policy", "burn")]),
            code::INVALID_CONFIG,
        ),
        (
            wanted(&fresh(), 1, 1, &[("max.message.bytes", "-1")]),
            code::INVALID_CONFIG,
        ),
        (wanted(&fresh(), -1, -1, &[]), code::NONE),
    ];
    for (topic, expected) in cases {
        let what = format!("{topic:?}");
        let answer = create_topics(&mut connection, vec![topic], false).remove(0);
        println!(
            "{}: {} {:?}",
            answer.name.as_str(),
            answer.error_code,
            answer.error_message
        );
        assert_eq!(answer.error_code, expected, "{what}");
        assert_eq!(
            answer.error_message.is_some(),
            expected != code::NONE,
            "an error says why: {what}"
        );
    }
}

#[test]
fn names_that_collide() {
    let broker = Broker::any();
    let mut connection = Connection::open(broker.bootstrap());
    let stem = unique("collide").replace('-', "_");
    assert_eq!(
        create_topics(&mut connection, vec![wanted(&stem, 1, 1, &[])], false)[0].error_code,
        code::NONE
    );
    let dotted = stem.replace('_', ".");
    let answer = create_topics(&mut connection, vec![wanted(&dotted, 1, 1, &[])], false);
    assert_eq!(answer[0].error_code, code::INVALID_TOPIC);
}

#[test]
fn the_same_topic_twice_in_one_request() {
    let broker = Broker::any();
    let mut connection = Connection::open(broker.bootstrap());
    let (twice, once) = (unique("twice"), unique("once"));
    let topics = vec![
        wanted(&twice, 1, 1, &[]),
        wanted(&once, 1, 1, &[]),
        wanted(&twice, 2, 1, &[]),
    ];
    let answers = create_topics(&mut connection, topics, false);
    for answer in &answers {
        let expected = if answer.name.as_str() == once {
            code::NONE
        } else {
            code::INVALID_REQUEST
        };
        assert_eq!(answer.error_code, expected, "{}", answer.name.as_str());
    }
}

#[test]
fn creating_reports_id_size_and_all_settings() {
    let broker = Broker::any();
    let mut connection = Connection::open(broker.bootstrap());
    let topic = unique("reported");
    let dry = create_topics(
        &mut connection,
        vec![wanted(&topic, 3, 1, &[("retention.ms", "5")])],
        true,
    );
    assert_eq!((dry[0].error_code, dry[0].num_partitions), (code::NONE, 3));
    assert_eq!(
        metadata(&mut connection, 9, &[&topic]).topics[0].error_code,
        code::UNKNOWN_TOPIC_OR_PARTITION
    );
    let real = create_topics(
        &mut connection,
        vec![wanted(&topic, 3, 1, &[("retention.ms", "5")])],
        false,
    )
    .remove(0);
    assert_eq!(
        (real.error_code, real.num_partitions, real.replication_factor),
        (code::NONE, 3, 1)
    );
    assert_settled("the id", real.topic_id, || topic_id(&mut connection, &topic));
    assert_ne!(real.topic_id, Uuid::nil());
    let configs = real.configs.expect("all settings");
    println!(
        "{}",
        configs
            .iter()
            .map(|config| config.name.as_str())
            .collect::<Vec<_>>()
            .join(" ")
    );
    assert_eq!(configs.iter().filter(|c| !is_own(&c.name)).count(), TOPIC_CONFIGS);
    let retention = configs
        .iter()
        .find(|config| config.name.as_str() == "retention.ms")
        .expect("retention.ms");
    assert_eq!(
        (retention.value.as_deref(), retention.config_source),
        (Some("5"), 1)
    );
    let segment = configs
        .iter()
        .find(|config| config.name.as_str() == "segment.bytes")
        .expect("segment.bytes");
    assert_eq!(
        (segment.value.as_deref(), segment.config_source),
        (Some("1073741824"), 5)
    );
}

#[test]
fn a_new_topic_can_be_used_at_once_from_every_connection() {
    let broker = Broker::any();
    let mut connections: Vec<Connection> = (0..8).map(|_| Connection::open(broker.bootstrap())).collect();
    for round in 0..20 {
        let topic = create(&broker, "atonce", 4, &[]);
        for (index, connection) in connections.iter_mut().enumerate() {
            let records = Batch::of(&[b"x"]).build();
            assert_settled(&format!("round {round}, connection {index}"), code::NONE, || {
                produce(connection, &topic, index as i32 % 4, &records).error_code
            });
        }
    }
}

#[test]
fn deleting_a_topic_and_creating_it_again() {
    let broker = Broker::any();
    let topic = create(&broker, "deleted", 2, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    let first_id = topic_id(&mut connection, &topic);
    for partition in [0, 1] {
        produce(&mut connection, &topic, partition, &Batch::of(&[b"old"]).build());
    }
    let state = DeleteTopicState::default().with_name(Some(name(&topic)));
    assert_eq!(delete(&mut connection, state.clone()), code::NONE);
    assert_eq!(delete(&mut connection, state), code::UNKNOWN_TOPIC_OR_PARTITION);
    assert_settled("the topic is gone", code::UNKNOWN_TOPIC_OR_PARTITION, || {
        produce(&mut connection, &topic, 0, &Batch::of(&[b"gone"]).build()).error_code
    });
    assert_eq!(
        create_topics(&mut connection, vec![wanted(&topic, 1, 1, &[])], false)[0].error_code,
        code::NONE
    );
    assert_settled("the topic is there again, and empty", (code::NONE, 0), || {
        let fresh = fetch(&mut connection, &topic, 0, 0);
        (fresh.error_code, fresh.high_watermark)
    });
    assert_ne!(topic_id(&mut connection, &topic), first_id);
    let answer = produce(&mut connection, &topic, 0, &Batch::of(&[b"new"]).build());
    assert_eq!((answer.error_code, answer.base_offset), (code::NONE, 0));
    let old = DeleteTopicState::default()
        .with_name(None)
        .with_topic_id(first_id);
    assert_eq!(delete(&mut connection, old), code::UNKNOWN_TOPIC_ID);
    let id = topic_id(&mut connection, &topic);
    let by_id = DeleteTopicState::default().with_name(None).with_topic_id(id);
    assert_eq!(delete(&mut connection, by_id), code::NONE);
}

fn delete(connection: &mut Connection, topic: DeleteTopicState) -> i16 {
    let request = DeleteTopicsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(10_000);
    connection.call(6, &request).responses[0].error_code
}

#[test]
fn the_folders_of_a_deleted_topic_go_away() {
    let Some(broker) = Broker::own().set("log.segment.delete.delay.ms", 100).start() else {
        return;
    };
    let topic = create(&broker, "swept", 3, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    produce(&mut connection, &topic, 0, &Batch::of(&[b"x"]).build());
    assert!(broker.partition_folder(&topic, 0).is_dir());
    let state = DeleteTopicState::default().with_name(Some(name(&topic)));
    assert_eq!(delete(&mut connection, state), code::NONE);
    wait_for("no folder of the topic is left", PATIENCE, || {
        let names = std::fs::read_dir(broker.data()).expect("the data directory");
        let mut left = names.filter_map(Result::ok).map(|entry| entry.file_name());
        left.all(|name| !name.to_string_lossy().contains(&topic))
            .then_some(())
    });
}

#[test]
fn partitions_grow_and_never_shrink() {
    let broker = Broker::any();
    let topic = create(&broker, "grows", 2, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    for (count, expected) in [
        (1, code::INVALID_PARTITIONS),
        (2, code::INVALID_PARTITIONS),
        (0, code::INVALID_PARTITIONS),
        (5, code::NONE),
        (4, code::INVALID_PARTITIONS),
    ] {
        assert_eq!(grow(&mut connection, &topic, count), expected, "{count}");
    }
    assert_eq!(
        grow(&mut connection, &unique("absent"), 5),
        code::UNKNOWN_TOPIC_OR_PARTITION
    );
    for partition in 0..5 {
        assert_settled(&format!("partition {partition}"), code::NONE, || {
            produce(&mut connection, &topic, partition, &Batch::of(&[b"x"]).build()).error_code
        });
        assert_eq!(
            fetch(&mut connection, &topic, partition, 0).high_watermark,
            1,
            "{partition}"
        );
    }
}

fn grow(connection: &mut Connection, topic: &str, count: i32) -> i16 {
    let topic = CreatePartitionsTopic::default()
        .with_name(name(topic))
        .with_count(count)
        .with_assignments(None);
    let request = CreatePartitionsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(10_000);
    connection.call(3, &request).results[0].error_code
}

#[test]
fn deleting_records_moves_the_start_of_the_log() {
    let broker = Broker::any();
    let topic = create(&broker, "trimmed", 1, &[]);
    let producer = Producer::new(broker.bootstrap(), &[("batch.num.messages", "3")]);
    let records: Vec<Outgoing> = (0..20)
        .map(|number| Outgoing::value(number.to_string()))
        .collect();
    producer.send_all(&topic, 0, &records);
    let mut connection = Connection::open(broker.bootstrap());
    for (before, expected) in [
        (7, (code::NONE, 7)),
        (3, (code::NONE, 7)),
        (21, (code::OFFSET_OUT_OF_RANGE, -1)),
        (-2, (code::OFFSET_OUT_OF_RANGE, -1)),
    ] {
        assert_eq!(
            delete_records(&mut connection, &topic, 0, before),
            expected,
            "{before}"
        );
    }
    assert_eq!(watermarks(broker.bootstrap(), &topic, 0), (7, 20));
    assert_eq!(
        fetch(&mut connection, &topic, 0, 6).error_code,
        code::OFFSET_OUT_OF_RANGE
    );
    let back = read_partition(broker.bootstrap(), &topic, 0, Offset::Beginning);
    assert_eq!((back[0].offset, back.len()), (7, 13));
    assert_eq!(delete_records(&mut connection, &topic, 0, -1), (code::NONE, 20));
    assert_eq!(watermarks(broker.bootstrap(), &topic, 0), (20, 20));
    assert_eq!(
        delete_records(&mut connection, &topic, 9, 0).0,
        code::UNKNOWN_TOPIC_OR_PARTITION
    );
    let answer = produce(&mut connection, &topic, 0, &Batch::of(&[b"next"]).build());
    assert_eq!((answer.base_offset, answer.log_start_offset), (20, 20));
}

fn delete_records(connection: &mut Connection, topic: &str, partition: i32, before: i64) -> (i16, i64) {
    let partition = DeleteRecordsPartition::default()
        .with_partition_index(partition)
        .with_offset(before);
    let topic = DeleteRecordsTopic::default()
        .with_name(name(topic))
        .with_partitions(vec![partition]);
    let request = DeleteRecordsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(10_000);
    let answer = connection.call(2, &request).topics[0].partitions[0].clone();
    (answer.error_code, answer.low_watermark)
}

fn describe(
    connection: &mut Connection,
    kind: i8,
    resource: &str,
) -> (i16, Vec<DescribeConfigsResourceResult>) {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(resource))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let request = request
        .with_include_synonyms(true)
        .with_include_documentation(true);
    let answer = connection.call(4, &request).results.remove(0);
    (answer.error_code, answer.configs)
}

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

#[test]
fn every_topic_config_is_described() {
    let broker = Broker::any();
    let settings = [("cleanup.policy", "compact"), ("max.message.bytes", "2000000")];
    let topic = create(&broker, "described", 1, &settings);
    let mut connection = Connection::open(broker.bootstrap());
    let (error, configs) = describe(&mut connection, TOPIC, &topic);
    let kafkas = configs.iter().filter(|c| !is_own(&c.name)).count();
    assert_eq!((error, kafkas), (code::NONE, TOPIC_CONFIGS));
    for config in &configs {
        assert!(
            config.documentation.as_ref().is_some_and(|text| text.len() > 10),
            "{}",
            config.name.as_str()
        );
        assert!(
            config.config_type > 0 && !config.is_sensitive && !config.read_only,
            "{}",
            config.name.as_str()
        );
    }
    let find = |name: &str| {
        configs
            .iter()
            .find(|config| config.name.as_str() == name)
            .expect("a topic config")
    };
    let policy = find("cleanup.policy");
    assert_eq!(
        (policy.value.as_deref(), policy.config_source),
        (Some("compact"), 1)
    );
    assert_eq!(policy.synonyms.first().map(|synonym| synonym.source), Some(1));
    let retention = find("retention.ms");
    assert_eq!(
        (retention.value.as_deref(), retention.config_source),
        (Some("604800000"), 5)
    );
    assert_eq!(
        describe(&mut connection, TOPIC, &unique("absent")).0,
        code::UNKNOWN_TOPIC_OR_PARTITION
    );
}

#[test]
fn the_broker_describes_itself() {
    let broker = Broker::any();
    let mut connection = Connection::open(broker.bootstrap());
    let listed = metadata(&mut connection, 9, &[]);
    let id = listed.brokers[0].node_id.0.to_string();
    let (error, configs) = describe(&mut connection, BROKER, &id);
    assert_eq!(error, code::NONE);
    let names: BTreeSet<&str> = configs.iter().map(|config| config.name.as_str()).collect();
    for name in [
        "log.segment.bytes",
        "num.partitions",
        "message.max.bytes",
        "log.retention.ms",
    ] {
        assert!(names.contains(name), "{name}");
    }
    let cluster = connection.call(1, &DescribeClusterRequest::default().with_endpoint_type(1));
    assert_eq!(Some(&cluster.cluster_id), listed.cluster_id.as_ref());
    assert_eq!(cluster.brokers.len(), 1);
    assert_eq!(
        format!("{}:{}", cluster.brokers[0].host.as_str(), cluster.brokers[0].port),
        broker.bootstrap()
    );
}

#[test]
fn settings_change_one_at_a_time() {
    let broker = Broker::any();
    let topic = create(&broker, "altered", 1, &[("retention.ms", "1000000")]);
    let mut connection = Connection::open(broker.bootstrap());
    const SET: i8 = 0;
    const DELETE: i8 = 1;
    const APPEND: i8 = 2;
    assert_eq!(
        alter(
            &mut connection,
            &topic,
            &[("max.message.bytes", SET, Some("500"))]
        ),
        code::NONE
    );
    assert_settled("the new limit holds at once", code::MESSAGE_TOO_LARGE, || {
        produce(&mut connection, &topic, 0, &Batch::sized(501).build()).error_code
    });
    assert_eq!(
        alter(&mut connection, &topic, &[("retention.ms", DELETE, None)]),
        code::NONE
    );
    assert_eq!(
        alter(
            &mut connection,
            &topic,
            &[("cleanup.policy", APPEND, Some("compact"))]
        ),
        code::NONE
    );
    for bad in [
        ("retention.ms", SET, Some("soon")),
        ("no.such.config", SET, Some("1")),
        ("retention.ms", APPEND, Some("1")),
    ] {
        assert_eq!(
            alter(&mut connection, &topic, &[bad]),
            code::INVALID_CONFIG,
            "{bad:?}"
        );
    }
    let (_, configs) = describe(&mut connection, TOPIC, &topic);
    let value = |name: &str| {
        configs
            .iter()
            .find(|config| config.name.as_str() == name)
            .and_then(|config| config.value.clone())
    };
    assert_eq!(value("max.message.bytes").as_deref(), Some("500"));
    assert_eq!(value("retention.ms").as_deref(), Some("604800000"));
    assert_eq!(value("cleanup.policy").as_deref(), Some("delete,compact"));
    let absent = alter(
        &mut connection,
        &unique("absent"),
        &[("retention.ms", SET, Some("1"))],
    );
    assert_eq!(absent, code::UNKNOWN_TOPIC_OR_PARTITION);
}

fn alter(connection: &mut Connection, topic: &str, changes: &[(&str, i8, Option<&str>)]) -> i16 {
    let configs = changes
        .iter()
        .map(|(key, operation, value)| {
            AlterableConfig::default()
                .with_name(text(key))
                .with_config_operation(*operation)
                .with_value(value.map(text))
        })
        .collect();
    let resource = AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text(topic))
        .with_configs(configs);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    connection.call(1, &request).responses[0].error_code
}

#[test]
fn all_topics_or_none() {
    let broker = Broker::any();
    let topic = create(&broker, "listed", 2, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    let all = connection.call(9, &MetadataRequest::default().with_topics(None));
    let found = all
        .topics
        .iter()
        .find(|other| other.name.as_ref().is_some_and(|name| name.as_str() == topic));
    assert_eq!(found.map(|topic| topic.partitions.len()), Some(2));
    let none = connection.call(9, &MetadataRequest::default().with_topics(Some(Vec::new())));
    assert!(none.topics.is_empty() && !none.brokers.is_empty());
    let zero = connection.call(0, &MetadataRequest::default().with_topics(Some(Vec::new())));
    assert!(!zero.topics.is_empty(), "in version 0 an empty list asks for all");
    assert!(all.brokers.iter().any(|other| other.node_id == all.controller_id));
}

#[test]
fn topics_and_settings_survive_a_restart() {
    let Some(mut broker) = Broker::own().start() else {
        return;
    };
    let topic = create(&broker, "kept", 3, &[("max.message.bytes", "777")]);
    let deleted = create(&broker, "dropped", 1, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    let id = topic_id(&mut connection, &topic);
    let cluster = metadata(&mut connection, 9, &[]).cluster_id;
    assert_eq!(grow(&mut connection, &topic, 4), code::NONE);
    assert_eq!(
        alter(&mut connection, &topic, &[("retention.ms", 0, Some("12345"))]),
        code::NONE
    );
    assert_eq!(
        delete(
            &mut connection,
            DeleteTopicState::default().with_name(Some(name(&deleted)))
        ),
        code::NONE
    );
    for kill in [false, true] {
        if kill {
            broker.kill();
        } else {
            broker.stop();
        }
        broker.restart();
        let mut connection = Connection::open(broker.bootstrap());
        let listed = metadata(&mut connection, 12, &[&topic, &deleted]);
        assert_eq!(
            (listed.topics[0].topic_id, listed.topics[0].partitions.len()),
            (id, 4)
        );
        assert_eq!(listed.topics[1].error_code, code::UNKNOWN_TOPIC_OR_PARTITION);
        assert_eq!(listed.cluster_id, cluster);
        let (_, configs) = describe(&mut connection, TOPIC, &topic);
        let value = |name: &str| {
            configs
                .iter()
                .find(|config| config.name.as_str() == name)
                .and_then(|config| config.value.clone())
        };
        assert_eq!(value("max.message.bytes").as_deref(), Some("777"));
        assert_eq!(value("retention.ms").as_deref(), Some("12345"));
        let records = Bytes::from(Batch::sized(778).build());
        assert_eq!(produce(&mut connection, &topic, 3, &records).error_code, 10);
    }
}
