//! What administrators ask of the cluster as a whole: quotas, settings of groups, the quorum, producers, replicas, features.
//! Checked on Apache Kafka 4.3.1.

use std::collections::BTreeMap;

use kafka_protocol::messages::alter_client_quotas_request as quota_request;
use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::{
    AlterClientQuotasRequest, AlterPartitionReassignmentsRequest, AlterReplicaLogDirsRequest, BrokerId,
    DescribeClientQuotasRequest, DescribeConfigsRequest, DescribeLogDirsRequest, DescribeProducersRequest,
    DescribeQuorumRequest, DescribeUserScramCredentialsRequest, IncrementalAlterConfigsRequest,
    ListConfigResourcesRequest, ListPartitionReassignmentsRequest, UpdateFeaturesRequest,
};
use kafka_protocol::protocol::StrBytes;
use rdkafka::admin::{AlterConfig, OwnedResourceSpecifier, ResourceSpecifier};
use ringlog_tests::admin::{admin, block_on, create, options};
use ringlog_tests::broker::unique;
use ringlog_tests::code;
use ringlog_tests::raw::{Batch, Connection, metadata, name, produce};
use ringlog_tests::{Broker, assert_settled};

/// Kinds of resources with settings.
const BROKER: i8 = 4;
const TOPIC: i8 = 2;
const GROUP: i8 = 32;
const BROKER_LOGGER: i8 = 8;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Kinds of entities and a name of each.
type Entity<'a> = &'a [(&'a str, Option<&'a str>)];
/// Limits, or `None` to remove them.
type Limits<'a> = &'a [(&'a str, Option<f64>)];

fn alter_quotas(
    connection: &mut Connection,
    wishes: &[(Entity<'_>, Limits<'_>)],
    check: bool,
) -> Vec<(i16, String)> {
    let name = |(kind, name): &(&str, Option<&str>)| {
        quota_request::EntityData::default()
            .with_entity_type(text(kind))
            .with_entity_name(name.map(text))
    };
    let op = |(key, value): &(&str, Option<f64>)| {
        quota_request::OpData::default()
            .with_key(text(key))
            .with_value(value.unwrap_or_default())
            .with_remove(value.is_none())
    };
    let wish = |(entity, limits): &(Entity<'_>, Limits<'_>)| {
        quota_request::EntryData::default()
            .with_entity(entity.iter().map(name).collect())
            .with_ops(limits.iter().map(op).collect())
    };
    let request = AlterClientQuotasRequest::default()
        .with_entries(wishes.iter().map(wish).collect())
        .with_validate_only(check);
    let answers = connection.call(1, &request).entries;
    let told = answers.into_iter().map(|answer| {
        (
            answer.error_code,
            answer.error_message.unwrap_or_default().to_string(),
        )
    });
    told.collect()
}

/// The quotas that match, by entity as text.
fn quotas(
    connection: &mut Connection,
    filter: &[(&str, i8, Option<&str>)],
    strict: bool,
) -> Result<BTreeMap<String, BTreeMap<String, f64>>, (i16, String)> {
    let component = |(kind, how, name): &(&str, i8, Option<&str>)| {
        ComponentData::default()
            .with_entity_type(text(kind))
            .with_match_type(*how)
            .with_match(name.map(text))
    };
    let request = DescribeClientQuotasRequest::default()
        .with_components(filter.iter().map(component).collect())
        .with_strict(strict);
    let response = connection.call(1, &request);
    let Some(entries) = response.entries else {
        return Err((
            response.error_code,
            response.error_message.unwrap_or_default().to_string(),
        ));
    };
    assert_eq!(response.error_code, code::NONE);
    let told = entries.into_iter().map(|entry| {
        let mut entity: Vec<_> = entry
            .entity
            .iter()
            .map(|one| {
                format!(
                    "{}={}",
                    one.entity_type.as_str(),
                    one.entity_name.as_deref().unwrap_or("*")
                )
            })
            .collect();
        entity.sort();
        let values = entry
            .values
            .into_iter()
            .map(|value| (value.key.to_string(), value.value));
        (entity.join(" "), values.collect())
    });
    Ok(told.collect())
}

#[test]
fn quotas_are_stored_told_and_removed() {
    let broker = Broker::any();
    let mut connection = Connection::open(broker.bootstrap());
    let (user, client) = (unique("user"), unique("client"));
    let both: Entity<'_> = &[("user", Some(&user)), ("client-id", Some(&client))];
    let alone: Entity<'_> = &[("user", Some(&user))];
    let wishes: [(Entity<'_>, Limits<'_>); 2] = [
        (
            both,
            &[
                ("producer_byte_rate", Some(1024.0)),
                ("request_percentage", Some(12.5)),
            ],
        ),
        (alone, &[("consumer_byte_rate", Some(2048.0))]),
    ];
    let none = (code::NONE, String::new());
    assert_eq!(
        alter_quotas(&mut connection, &wishes, true),
        [none.clone(), none.clone()]
    );
    let of_user = [("user", 0, Some(user.as_str()))];
    assert_settled("only checked", Ok(BTreeMap::new()), || {
        quotas(&mut connection, &of_user, false)
    });
    assert_eq!(
        alter_quotas(&mut connection, &wishes, false),
        [none.clone(), none.clone()]
    );
    let limits = |pairs: &[(&str, f64)]| {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), *value))
            .collect::<BTreeMap<_, _>>()
    };
    let (both_name, alone_name) = (format!("client-id={client} user={user}"), format!("user={user}"));
    let of_both = limits(&[("producer_byte_rate", 1024.0), ("request_percentage", 12.5)]);
    let of_alone = limits(&[("consumer_byte_rate", 2048.0)]);
    let all = BTreeMap::from([(both_name, of_both), (alone_name.clone(), of_alone.clone())]);
    assert_settled("all of the user's", Ok(all), || {
        quotas(&mut connection, &of_user, false)
    });
    let only = Ok(BTreeMap::from([(alone_name, of_alone)]));
    assert_eq!(quotas(&mut connection, &of_user, true), only);
    let removal: [(Entity<'_>, Limits<'_>); 1] = [(
        both,
        &[
            ("producer_byte_rate", None),
            ("request_percentage", None),
            ("consumer_byte_rate", None),
        ],
    )];
    assert_eq!(alter_quotas(&mut connection, &removal, false), [none]);
    assert_settled("the user's alone", only, || {
        quotas(&mut connection, &of_user, false)
    });
}

#[test]
fn quotas_survive_a_restart() {
    let Some(mut broker) = Broker::own().start() else {
        return;
    };
    let mut connection = Connection::open(broker.bootstrap());
    let entity: Entity<'_> = &[("ip", Some("10.1.2.3"))];
    let told = alter_quotas(
        &mut connection,
        &[(entity, &[("connection_creation_rate", Some(7.0))])],
        false,
    );
    assert_eq!(told, [(code::NONE, String::new())]);
    let before = quotas(&mut connection, &[], false).expect("all quotas");
    broker.kill();
    broker.restart();
    let mut connection = Connection::open(broker.bootstrap());
    assert_eq!(before.len(), 1);
    assert_eq!(quotas(&mut connection, &[], false), Ok(before));
}

#[test]
fn quotas_that_cannot_be_are_refused_in_kafkas_words() {
    let broker = Broker::any();
    let mut connection = Connection::open(broker.bootstrap());
    let user = unique("user");
    let entity: Entity<'_> = &[("user", Some(&user))];
    let cases: [(Entity<'_>, Limits<'_>, &str); 9] = [
        (
            &[],
            &[("producer_byte_rate", Some(1.0))],
            "Invalid empty client quota entity",
        ),
        (
            &[("group", Some("g"))],
            &[("producer_byte_rate", Some(1.0))],
            "Unhandled client quota entity type: group",
        ),
        (
            &[("user", Some(""))],
            &[("producer_byte_rate", Some(1.0))],
            "Empty user not supported",
        ),
        (
            &[("user", Some("u")), ("ip", Some("10.0.0.1"))],
            &[("producer_byte_rate", Some(1.0))],
            "Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId",
        ),
        (
            &[("ip", Some("not an address"))],
            &[],
            "not an address is not a valid IP or resolvable host.",
        ),
        (
            entity,
            &[("no.such", Some(1.0))],
            "Invalid configuration key no.such",
        ),
        (
            entity,
            &[("producer_byte_rate", Some(0.0))],
            "Quota producer_byte_rate must be greater than 0",
        ),
        (
            entity,
            &[("producer_byte_rate", Some(1.5))],
            "producer_byte_rate cannot be a fractional value.",
        ),
        (
            &[("ip", Some("10.0.0.1"))],
            &[("connection_creation_rate", Some(3e9))],
            "Proposed value for connection_creation_rate is too large for an INT.",
        ),
    ];
    for (entity, limits, want) in cases {
        let told = alter_quotas(&mut connection, &[(entity, limits)], false);
        assert_eq!(
            told,
            [(code::INVALID_REQUEST, want.to_owned())],
            "{entity:?} {limits:?}"
        );
    }
    let twice = [
        ("producer_byte_rate", Some(1.0)),
        ("producer_byte_rate", Some(2.0)),
    ];
    let want = format!("Ignoring duplicate entity ClientQuotaEntity(entries={{user={user}}})");
    assert_eq!(
        alter_quotas(&mut connection, &[(entity, &twice)], false),
        [(code::INVALID_REQUEST, want)]
    );
    for (filter, want, part) in [
        (
            &[("", 0, Some("a"))][..],
            code::INVALID_REQUEST,
            "Invalid empty entity type.",
        ),
        (
            &[("group", 0, Some("a"))],
            code::UNSUPPORTED_VERSION,
            "Unsupported entity type group",
        ),
        (&[("user", 0, None)], code::INVALID_REQUEST, "MATCH_TYPE_EXACT"),
        (
            &[("user", 9, None)],
            code::INVALID_REQUEST,
            "Unknown match type 9",
        ),
        (
            &[("user", 1, None), ("user", 2, None)],
            code::INVALID_REQUEST,
            "cannot appear more than once",
        ),
        (
            &[("user", 1, None), ("ip", 2, None)],
            code::INVALID_REQUEST,
            "IP filter component should not be used",
        ),
    ] {
        let (found, message) = quotas(&mut connection, filter, false).expect_err(part);
        assert!(found == want && message.contains(part), "{found} {message}");
    }
}

#[test]
fn groups_have_settings_of_their_own() {
    let broker = Broker::any();
    let group = unique("group");
    let wish = AlterConfig::new(ResourceSpecifier::Group(&group)).set("consumer.session.timeout.ms", "50000");
    let client = admin(broker.bootstrap());
    let answers = block_on(client.alter_configs([&wish], &options())).expect("the broker answers");
    assert_eq!(answers, [Ok(OwnedResourceSpecifier::Group(group.clone()))]);

    let mut connection = Connection::open(broker.bootstrap());
    for (group, key, value, want, part) in [
        (
            &group[..],
            "consumer.session.timeout.ms",
            "1",
            code::INVALID_CONFIG,
            "group.consumer.min.session.timeout.ms",
        ),
        (
            &group,
            "consumer.session.timeout.ms",
            "soon",
            code::INVALID_CONFIG,
            "Not a number of type INT",
        ),
        (
            &group,
            "no.such",
            "1",
            code::INVALID_CONFIG,
            "Unknown group config name: no.such",
        ),
        (
            "",
            "consumer.session.timeout.ms",
            "50000",
            code::INVALID_REQUEST,
            "Default group resources are not allowed.",
        ),
    ] {
        let config = AlterableConfig::default()
            .with_name(text(key))
            .with_value(Some(text(value)));
        let resource = AlterConfigsResource::default()
            .with_resource_type(GROUP)
            .with_resource_name(text(group))
            .with_configs(vec![config]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        let answer = connection.call(1, &request).responses.remove(0);
        let said = answer.error_message.unwrap_or_default().to_string();
        assert!(
            answer.error_code == want && said.contains(part),
            "{} {said}",
            answer.error_code
        );
    }
    let resource = DescribeConfigsResource::default()
        .with_resource_type(GROUP)
        .with_resource_name(text(&group))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true);
    let described = |connection: &mut Connection| -> Vec<(String, String, i8, usize)> {
        let result = connection.call(4, &request).results.remove(0);
        assert_eq!(result.error_code, code::NONE);
        let mut rows: Vec<_> = result
            .configs
            .into_iter()
            .filter(|row| row.name.starts_with("consumer."))
            .map(|row| {
                let value = row.value.unwrap_or_default().to_string();
                (row.name.to_string(), value, row.config_source, row.synonyms.len())
            })
            .collect();
        rows.sort();
        rows
    };
    let row =
        |name: &str, value: &str, source, synonyms| (name.to_owned(), value.to_owned(), source, synonyms);
    let want = vec![
        row("consumer.assignment.interval.ms", "1000", 5, 1),
        row("consumer.heartbeat.interval.ms", "5000", 5, 1),
        row("consumer.session.timeout.ms", "50000", 8, 2),
    ];
    assert_settled("the group's settings", want, || described(&mut connection));
    let listed = resources(&mut connection, 1, &[GROUP]).expect("groups are listed");
    assert!(listed.contains(&(GROUP, group)));
}

/// What has settings: kind and name.
fn resources(connection: &mut Connection, version: i16, kinds: &[i8]) -> Result<Vec<(i8, String)>, i16> {
    let request = ListConfigResourcesRequest::default().with_resource_types(kinds.to_vec());
    let response = connection.call(version, &request);
    let row = |one: kafka_protocol::messages::list_config_resources_response::ConfigResource| {
        (one.resource_type, one.resource_name.to_string())
    };
    match response.error_code {
        code::NONE => Ok(response.config_resources.into_iter().map(row).collect()),
        error => Err(error),
    }
}

#[test]
fn what_has_settings_is_listed() {
    let broker = Broker::any();
    let mut connection = Connection::open(broker.bootstrap());
    let topic = create(&broker, "listed", 1, &[]);
    let node = i32::from(metadata(&mut connection, 12, &[]).brokers[0].node_id).to_string();
    let topics = resources(&mut connection, 1, &[TOPIC]).expect("topics");
    assert!(topics.contains(&(TOPIC, topic.clone())) && topics.iter().all(|(kind, _)| *kind == TOPIC));
    assert_eq!(
        resources(&mut connection, 1, &[BROKER]),
        Ok(vec![(BROKER, node.clone())])
    );
    let all = resources(&mut connection, 1, &[]).expect("all");
    assert!(all.contains(&(TOPIC, topic)) && all.contains(&(BROKER, node)));
    assert_eq!(
        resources(&mut connection, 1, &[TOPIC, 3]),
        Err(code::UNSUPPORTED_VERSION)
    );
    assert_eq!(
        resources(&mut connection, 0, &[]),
        Ok(vec![]),
        "no telemetry subscription"
    );
}

#[test]
fn producers_of_a_partition_are_told() {
    let broker = Broker::any();
    let mut connection = Connection::open(broker.bootstrap());
    let topic = create(&broker, "producers", 2, &[]);
    let id = 4_000_000 + i64::from(std::process::id());
    for (partition, sequence) in [(0, 0), (0, 1), (1, 0)] {
        let batch = Batch::of(&[b"a"]).from_producer(id, 3, sequence).build();
        assert_eq!(
            produce(&mut connection, &topic, partition, &batch).error_code,
            code::NONE
        );
    }
    let wanted = |topic: &str, indexes: &[i32]| {
        TopicRequest::default()
            .with_name(name(topic))
            .with_partition_indexes(indexes.to_vec())
    };
    let topics = vec![
        wanted(&topic, &[0, 1, 5]),
        wanted("no-such-topic", &[0]),
        wanted("a b", &[0]),
    ];
    let response = connection.call(0, &DescribeProducersRequest::default().with_topics(topics));
    let row = |one: &kafka_protocol::messages::describe_producers_response::PartitionResponse| {
        let producers: Vec<_> = one
            .active_producers
            .iter()
            .map(|producer| {
                assert!(producer.last_timestamp > 0);
                let transaction = (producer.coordinator_epoch, producer.current_txn_start_offset);
                (
                    i64::from(producer.producer_id),
                    producer.producer_epoch,
                    producer.last_sequence,
                    transaction,
                )
            })
            .collect();
        (one.partition_index, one.error_code, producers)
    };
    let rows: Vec<_> = response
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(row))
        .collect();
    let want = [
        (0, code::NONE, vec![(id, 3, 1, (-1, -1))]),
        (1, code::NONE, vec![(id, 3, 0, (-1, -1))]),
        (5, code::UNKNOWN_TOPIC_OR_PARTITION, vec![]),
        (0, code::UNKNOWN_TOPIC_OR_PARTITION, vec![]),
        (0, code::INVALID_TOPIC, vec![]),
    ];
    assert_eq!(rows, want);
}

#[test]
fn one_node_is_the_quorum() {
    let broker = Broker::any();
    let mut connection = Connection::open(broker.bootstrap());
    create(&broker, "quorum", 1, &[]);
    let ask = |connection: &mut Connection, topic: &str, index| {
        let partition = PartitionData::default().with_partition_index(index);
        let topic = TopicData::default()
            .with_topic_name(name(topic))
            .with_partitions(vec![partition]);
        connection.call(2, &DescribeQuorumRequest::default().with_topics(vec![topic]))
    };
    let node = metadata(&mut connection, 12, &[]).brokers[0].node_id;
    let mut response = ask(&mut connection, "__cluster_metadata", 0);
    assert_eq!((response.error_code, response.nodes.len()), (code::NONE, 1));
    assert_eq!(
        (response.nodes[0].node_id, response.nodes[0].listeners.len()),
        (node, 1)
    );
    let partition = response.topics.remove(0).partitions.remove(0);
    let messages = [&response.error_message, &partition.error_message];
    assert_eq!(
        messages.map(|one| one.as_deref()),
        [Some(""); 2],
        "empty, not none"
    );
    assert_eq!((partition.error_code, partition.leader_id), (code::NONE, node));
    assert!(partition.high_watermark > 0 && partition.leader_epoch > 0);
    assert_eq!(
        (partition.current_voters.len(), partition.observers.len()),
        (1, 0)
    );
    let voter = &partition.current_voters[0];
    assert_eq!(voter.replica_id, node);
    assert!(voter.log_end_offset >= partition.high_watermark && voter.last_caught_up_timestamp > 0);
    let wrong = ask(&mut connection, "other", 0);
    assert_eq!(
        (wrong.error_code, wrong.topics[0].partitions[0].error_code),
        (code::NONE, code::UNKNOWN_TOPIC_OR_PARTITION)
    );
    assert_eq!(wrong.nodes.len(), 0);
}

#[test]
fn replicas_stay_in_the_one_directory() {
    let broker = Broker::any();
    let mut connection = Connection::open(broker.bootstrap());
    let topic = create(&broker, "directory", 1, &[]);
    let long = create(&broker, &"x".repeat(220), 1, &[]);
    let own = connection
        .call(1, &DescribeLogDirsRequest::default().with_topics(None))
        .results[0]
        .log_dir
        .clone();
    let mut ask = |path: &str, topic: &str, index| {
        let wanted = AlterReplicaLogDirTopic::default()
            .with_name(name(topic))
            .with_partitions(vec![index]);
        let dir = AlterReplicaLogDir::default()
            .with_path(text(path))
            .with_topics(vec![wanted]);
        let response = connection.call(2, &AlterReplicaLogDirsRequest::default().with_dirs(vec![dir]));
        response.results[0].partitions[0].error_code
    };
    assert_eq!(ask(&own, &topic, 0), code::NONE);
    assert_eq!(ask("/no/such/directory", &topic, 0), code::LOG_DIR_NOT_FOUND);
    assert_eq!(ask(&own, &topic, 9), code::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(ask(&own, "no-such-topic", 0), code::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(ask(&own, &long, 0), code::INVALID_TOPIC);
}

#[test]
fn partitions_can_be_given_to_this_broker_only() {
    let broker = Broker::any();
    let mut connection = Connection::open(broker.bootstrap());
    let topic = create(&broker, "reassigned", 1, &[]);
    let node = metadata(&mut connection, 12, &[]).brokers[0].node_id;
    let mut ask = |topic: &str, index, replicas: Option<&[i32]>, change_factor: bool| {
        let replicas = replicas.map(|ids| ids.iter().map(|id| BrokerId(*id)).collect());
        let partition = ReassignablePartition::default()
            .with_partition_index(index)
            .with_replicas(replicas);
        let wanted = ReassignableTopic::default()
            .with_name(name(topic))
            .with_partitions(vec![partition]);
        let request = AlterPartitionReassignmentsRequest::default()
            .with_topics(vec![wanted])
            .with_allow_replication_factor_change(change_factor);
        let mut response = connection.call(1, &request);
        assert_eq!(response.error_code, code::NONE);
        let answer = response.responses.remove(0).partitions.remove(0);
        (
            answer.error_code,
            answer.error_message.map(|message| message.to_string()),
        )
    };
    let me = node.0;
    let refused = |code, message: &str| (code, Some(message.to_owned()));
    assert_eq!(ask(&topic, 0, Some(&[me]), true), (code::NONE, None));
    assert_eq!(ask(&topic, 0, Some(&[me]), false), (code::NONE, None));
    assert_eq!(
        ask(&topic, 0, None, true),
        (code::NO_REASSIGNMENT_IN_PROGRESS, None)
    );
    let start = "The manual partition assignment includes";
    for (replicas, what) in [
        (&[][..], "an empty replica list.".to_owned()),
        (
            &[me, 99],
            "broker 99, but no such broker is registered.".to_owned(),
        ),
        (&[me, me], format!("the broker {me} more than once.")),
    ] {
        let want = refused(code::INVALID_REPLICA_ASSIGNMENT, &format!("{start} {what}"));
        assert_eq!(ask(&topic, 0, Some(replicas), true), want);
    }
    let unknown = format!("Unable to find partition {topic}:7.");
    assert_eq!(
        ask(&topic, 7, None, true),
        refused(code::UNKNOWN_TOPIC_OR_PARTITION, &unknown)
    );
    let unknown = "Unable to find a topic named no-such-topic.";
    assert_eq!(
        ask("no-such-topic", 0, None, true),
        refused(code::UNKNOWN_TOPIC_OR_PARTITION, unknown)
    );
    let all = connection.call(0, &ListPartitionReassignmentsRequest::default().with_topics(None));
    assert_eq!((all.error_code, all.topics.len()), (code::NONE, 0));
}

#[test]
fn features_do_not_go_where_they_cannot() {
    let broker = Broker::any();
    let mut connection = Connection::open(broker.bootstrap());
    let mut ask = |version, feature: &str, level, direction| {
        let mut update = FeatureUpdateKey::default()
            .with_feature(text(feature))
            .with_max_version_level(level);
        if version > 0 {
            update = update.with_upgrade_type(direction);
        }
        let request = UpdateFeaturesRequest::default().with_feature_updates(vec![update]);
        let response = connection.call(version, &request);
        (
            response.error_code,
            response.error_message.map(|message| message.to_string()),
            response.results.len(),
        )
    };
    assert_eq!(
        ask(2, "metadata.version", 30, 1),
        (code::NONE, None, 0),
        "as it is"
    );
    assert_eq!(ask(1, "metadata.version", 30, 1), (code::NONE, None, 1));
    let all = "The update failed for all features since the following feature had an error: ";
    for (feature, level, direction, what) in [
        (
            "metadata.version",
            999,
            1,
            "Invalid update version 999 for feature metadata.version. Local controller 1 only supports versions 7-30",
        ),
        (
            "metadata.version",
            6,
            2,
            "Invalid update version 6 for feature metadata.version. Local controller 1 only supports versions 7-30",
        ),
        (
            "metadata.version",
            7,
            1,
            "Invalid update version 7 for feature metadata.version. Can't downgrade the version of this feature without \
             setting the upgrade type to either safe or unsafe downgrade.",
        ),
        (
            "metadata.version",
            7,
            2,
            "Unsupported metadata.version downgrade from 30 to 7. Refusing to perform the requested downgrade because it \
             might delete metadata information.",
        ),
        (
            "no.such",
            1,
            1,
            "Invalid update version 1 for feature no.such. Local controller 1 does not support this feature.",
        ),
    ] {
        let want = (code::INVALID_UPDATE_VERSION, Some(format!("{all}{what}")), 0);
        assert_eq!(ask(2, feature, level, direction), want);
    }
}

#[test]
fn no_user_has_scram_credentials() {
    let broker = Broker::any();
    let mut connection = Connection::open(broker.bootstrap());
    let mut told = |users: Option<&[&str]>| {
        let user = |name: &&str| {
            kafka_protocol::messages::describe_user_scram_credentials_request::UserName::default()
                .with_name(text(name))
        };
        let users = users.map(|users| users.iter().map(user).collect());
        let response = connection.call(
            0,
            &DescribeUserScramCredentialsRequest::default().with_users(users),
        );
        assert_eq!(
            (response.error_code, response.error_message.as_deref()),
            (code::NONE, Some(""))
        );
        let mut rows: Vec<_> = response
            .results
            .into_iter()
            .map(|one| {
                assert!(one.credential_infos.is_empty());
                (one.error_code, one.error_message.unwrap_or_default().to_string())
            })
            .collect();
        rows.sort();
        rows
    };
    let absent = |name| {
        (
            91,
            format!("Attempt to describe a user credential that does not exist: {name}"),
        )
    };
    let twice = |name| {
        (
            92,
            format!("Cannot describe SCRAM credentials for the same user twice in a single request: {name}"),
        )
    };
    assert_eq!((told(None), told(Some(&[]))), (vec![], vec![]));
    assert_eq!(told(Some(&["bob", "al"])), [absent("al"), absent("bob")]);
    assert_eq!(told(Some(&["bob", "al", "bob"])), [absent("al"), twice("bob")]);
}

#[test]
fn a_broker_s_loggers_have_levels() {
    let broker = Broker::any();
    let mut connection = Connection::open(broker.bootstrap());
    let node = i32::from(metadata(&mut connection, 12, &[]).brokers[0].node_id);
    let mut told = |name: &str| {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(BROKER_LOGGER)
            .with_resource_name(text(name));
        let request = DescribeConfigsRequest::default()
            .with_resources(vec![resource])
            .with_include_synonyms(true);
        connection.call(4, &request).results.remove(0)
    };
    let mine = told(&node.to_string());
    assert_eq!(mine.error_code, code::NONE, "{:?}", mine.error_message);
    let root = mine.configs.iter().find(|row| row.name.as_str() == "root");
    let root = root.expect("the root logger has a level");
    assert_eq!(
        (root.config_source, root.synonyms.len(), root.config_type),
        (6, 0, 0)
    );
    assert!(["ERROR", "WARN", "INFO", "DEBUG"].contains(&root.value.as_deref().unwrap_or_default()));
    let other = format!("Unexpected broker id, expected {node} but received {}", node + 1);
    for (name, why) in [
        ("", "Broker id must not be empty"),
        ("x", "Broker id must be an integer, but it is: x"),
        (&(node + 1).to_string(), other.as_str()),
    ] {
        let refused = told(name);
        assert_eq!(
            (refused.error_code, refused.error_message.as_deref()),
            (code::INVALID_REQUEST, Some(why))
        );
    }
    let listed = resources(&mut connection, 1, &[BROKER_LOGGER]);
    assert_eq!(listed, Ok(vec![(BROKER_LOGGER, node.to_string())]));
}
