//! Metadata: the brokers, and topics with the leaders of their partitions.

use std::collections::HashSet;

use super::context::{CLUSTER_OPERATIONS, Context, TOPIC_OPERATIONS};
use super::create_topics::may_be_created;
use crate::metadata::controller::names;
use crate::metadata::image::{Partition, Topic};
use crate::wire::ErrorCode;
use crate::wire::metadata::*;

/// The first version that can ask for topics by id.
const IDS_FROM: i16 = 12;

/// What the request comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The response.
    Now(MetadataResponse),
    /// These topics are to be created first ([`super::create_topics::auto_create`]); then the request is to be
    /// handled again, with `may_create` false.
    CreateFirst(Vec<String>),
}

/// Answers a request. `may_create` is false once creating what it asks for has been tried.
pub fn handle(ctx: &Context<'_>, request: &MetadataRequest, version: i16, may_create: bool) -> Answer {
    if let Some(topics) = named(request, version) {
        let missing = missing(ctx, topics);
        let wanted = request.allow_auto_topic_creation && ctx.config.auto_create_topics;
        if may_create && wanted && !missing.is_empty() {
            return Answer::CreateFirst(missing);
        }
    }
    Answer::Now(answer(ctx, request, version))
}

/// The topics a request names; `None` when it asks for all.
fn named(request: &MetadataRequest, version: i16) -> Option<&[MetadataRequestTopic]> {
    match request.topics.as_deref() {
        // Before null could be sent, an empty list asked for all.
        Some([]) if version == 0 => None,
        topics => topics,
    }
}

/// Names of the request that no topic has and one could have.
fn missing(ctx: &Context<'_>, topics: &[MetadataRequestTopic]) -> Vec<String> {
    let by_name = topics
        .iter()
        .filter(|topic| topic.topic_id.is_zero())
        .filter_map(|topic| topic.name.as_ref());
    let can_be = |name: &&String| may_be_created(name) && names::check_new(ctx.image, name).is_ok();
    let mut seen = HashSet::new();
    by_name
        .filter(can_be)
        .filter(|name| seen.insert(name.as_str()))
        .cloned()
        .collect()
}

fn answer(ctx: &Context<'_>, request: &MetadataRequest, version: i16) -> MetadataResponse {
    let operations = match request.include_topic_authorized_operations {
        true => TOPIC_OPERATIONS,
        false => i32::MIN,
    };
    let mut topics = match named(request, version) {
        None => ctx.image.topics().map(|topic| known(ctx, topic)).collect(),
        Some(topics) if version < IDS_FROM && topics.iter().any(is_by_id) => topics
            .iter()
            .map(|topic| unknown(topic, ErrorCode::InvalidRequest))
            .collect(),
        Some(topics) => distinct(topics).map(|topic| find(ctx, topic)).collect::<Vec<_>>(),
    };
    for topic in &mut topics {
        topic.topic_authorized_operations = operations;
    }
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: ctx.node.id,
            host: ctx.node.host.clone(),
            port: i32::from(ctx.node.port),
            rack: ctx.node.rack.clone(),
        }],
        cluster_id: Some(ctx.node.cluster_id.clone()),
        controller_id: ctx.node.id,
        topics,
        cluster_authorized_operations: match request.include_cluster_authorized_operations {
            true => CLUSTER_OPERATIONS,
            false => i32::MIN,
        },
        ..Default::default()
    }
}

fn is_by_id(topic: &MetadataRequestTopic) -> bool {
    topic.name.is_none() || !topic.topic_id.is_zero()
}

fn distinct(topics: &[MetadataRequestTopic]) -> impl Iterator<Item = &MetadataRequestTopic> {
    let mut seen = HashSet::new();
    topics
        .iter()
        .filter(move |topic| seen.insert((topic.topic_id, topic.name.as_deref())))
}

fn find(ctx: &Context<'_>, topic: &MetadataRequestTopic) -> MetadataResponseTopic {
    if !topic.topic_id.is_zero() {
        return match ctx.image.topic_by_id(topic.topic_id) {
            Some(found) => known(ctx, found),
            None => MetadataResponseTopic {
                name: None,
                ..unknown(topic, ErrorCode::UnknownTopicId)
            },
        };
    }
    let name = topic.name.as_deref().unwrap_or_default();
    match ctx.image.topic(name) {
        Some(found) => known(ctx, found),
        None if names::check(name).is_err() => unknown(topic, ErrorCode::InvalidTopicException),
        None => unknown(topic, ErrorCode::UnknownTopicOrPartition),
    }
}

fn unknown(topic: &MetadataRequestTopic, code: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic {
        error_code: code.into(),
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        is_internal: topic.name.as_deref().is_some_and(names::is_internal),
        ..Default::default()
    }
}

fn known(ctx: &Context<'_>, topic: &Topic) -> MetadataResponseTopic {
    MetadataResponseTopic {
        error_code: ErrorCode::None.into(),
        name: Some(topic.name.to_string()),
        topic_id: topic.id,
        is_internal: names::is_internal(&topic.name),
        partitions: topic
            .partitions
            .iter()
            .map(|(index, found)| partition(ctx, *index, found))
            .collect(),
        ..Default::default()
    }
}

fn partition(ctx: &Context<'_>, partition_index: i32, found: &Partition) -> MetadataResponsePartition {
    let (leader_id, error) = ctx.leader_of(found);
    MetadataResponsePartition {
        error_code: error.into(),
        partition_index,
        leader_id,
        leader_epoch: found.leader_epoch,
        replica_nodes: found.replicas.clone(),
        isr_nodes: found.isr.clone(),
        offline_replicas: ctx.offline_replicas(found),
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::testing::*;
    use super::*;
    use crate::metadata::controller::testing::{id_of, topic};
    use crate::wire::Uuid;

    fn by_name(name: &str) -> MetadataRequestTopic {
        MetadataRequestTopic {
            name: Some(name.into()),
            topic_id: Uuid::ZERO,
        }
    }

    fn by_id(id: Uuid) -> MetadataRequestTopic {
        MetadataRequestTopic {
            name: None,
            topic_id: id,
        }
    }

    fn ask(topics: Option<Vec<MetadataRequestTopic>>, version: i16) -> Vec<String> {
        let world = World::new(&[topic("a", 2), topic("b", 1)].concat(), &[]);
        let request = MetadataRequest {
            topics,
            ..Default::default()
        };
        let Answer::Now(response) = handle(&world.context(), &request, version, false) else {
            panic!("an answer was due");
        };
        assert_eq!((response.brokers[0].port, response.controller_id), (9092, 1));
        let shape = |topic: &MetadataResponseTopic| {
            let (name, count) = (topic.name.as_deref().unwrap_or("-"), topic.partitions.len());
            format!("{name} {} {count}", topic.error_code)
        };
        response.topics.iter().map(shape).collect()
    }

    #[test]
    fn topics_are_found() {
        let lists = |topics: Vec<MetadataRequestTopic>| Some(topics);
        for (topics, version, want) in [
            (None, 13, vec!["a 0 2", "b 0 1"]),
            (lists(vec![]), 0, vec!["a 0 2", "b 0 1"]),
            (lists(vec![]), 1, vec![]),
            (
                lists(vec![by_name("b"), by_name("b"), by_name("x"), by_name("a b")]),
                9,
                vec!["b 0 1", "x 3 0", "a b 17 0"],
            ),
            (
                lists(vec![by_id(id_of("a")), by_id(Uuid([1; 16]))]),
                12,
                vec!["a 0 2", "- 100 0"],
            ),
            (
                lists(vec![MetadataRequestTopic {
                    name: Some("a".into()),
                    topic_id: id_of("a"),
                }]),
                10,
                vec!["a 42 0"],
            ),
        ] {
            assert_eq!(ask(topics.clone(), version), want, "{topics:?} v{version}");
        }
    }

    #[test]
    fn missing_topics_are_created_first() {
        let topics = || {
            Some(
                ["new", "new", "a", "a b", "__consumer_offsets"]
                    .map(by_name)
                    .to_vec(),
            )
        };
        for (setting, allow, may_create, want) in [
            ("true", true, true, true),
            ("true", true, false, false),
            ("true", false, true, false),
            ("false", true, true, false),
        ] {
            let world = World::new(&topic("a", 2), &[("auto.create.topics.enable", setting)]);
            let request = MetadataRequest {
                topics: topics(),
                allow_auto_topic_creation: allow,
                ..Default::default()
            };
            match handle(&world.context(), &request, 9, may_create) {
                Answer::CreateFirst(names) => {
                    assert!(want && names == ["new", "__consumer_offsets"], "{names:?}")
                }
                Answer::Now(response) => assert!(!want && response.topics.len() == 4),
            }
        }
    }

    #[test]
    fn a_leader_elsewhere_is_not_available() {
        use crate::wire::metadata_records::PartitionChangeRecord;
        let mut log = topic("a", 1);
        let replicas = Some(vec![2, 1]);
        log.push(
            PartitionChangeRecord {
                topic_id: id_of("a"),
                partition_id: 0,
                leader: 2,
                replicas,
                ..Default::default()
            }
            .into(),
        );
        let world = World::new(&log, &[]);
        let Answer::Now(response) = handle(&world.context(), &MetadataRequest::default(), 9, true) else {
            panic!("an answer was due");
        };
        let partition = &response.topics[0].partitions[0];
        assert_eq!((partition.error_code, partition.leader_id), (5, -1));
        assert_eq!(partition.offline_replicas, [2]);
    }
}
