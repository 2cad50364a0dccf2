//! What is asked seldom: versions, metadata, topics made and removed, producer ids, configuration.

use std::sync::atomic::Ordering;

use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiVersionsResponse, BrokerId, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest,
    DeleteTopicsResponse, DescribeConfigsRequest, DescribeConfigsResponse, InitProducerIdRequest,
    InitProducerIdResponse, MetadataRequest, MetadataResponse, ProducerId, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::Shared;
use super::connection::VERSIONS;
use super::topics::{UNKNOWN_TOPIC_OR_PARTITION, View};

const UNSUPPORTED_VERSION: i16 = 35;
const INVALID_REPLICATION_FACTOR: i16 = 38;
const INVALID_REQUEST: i16 = 42;
const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: i16 = 53;
const UNKNOWN_TOPIC_ID: i16 = 100;

/// The one broker of the cluster.
const NODE: BrokerId = BrokerId(0);
/// DescribeConfigs' number for a topic.
const TOPIC_RESOURCE: i8 = 2;
/// DescribeConfigs' number for a broker.
const BROKER_RESOURCE: i8 = 4;
/// DescribeConfigs' number for a value nobody has set.
const DEFAULT_SOURCE: i8 = 5;
/// What a topic is configured with, so far as anything here is: name, value, and DescribeConfigs' number for its type.
const TOPIC_CONFIGS: [(&str, &str, i8); 6] = [
    ("cleanup.policy", "delete", 7),
    ("compression.type", "producer", 2),
    ("max.message.bytes", "134217728", 3),
    ("message.timestamp.type", "CreateTime", 2),
    ("retention.bytes", "-1", 5),
    ("retention.ms", "-1", 5),
];

/// What is spoken here; `supported` is false when the version that asked is not, and the caller then encodes version 0.
pub(super) fn api_versions(supported: bool) -> ApiVersionsResponse {
    let keys = VERSIONS.iter().map(|(key, versions)| {
        ApiVersion::default()
            .with_api_key(*key as i16)
            .with_min_version(*versions.start())
            .with_max_version(*versions.end())
    });
    ApiVersionsResponse::default()
        .with_error_code(if supported { 0 } else { UNSUPPORTED_VERSION })
        .with_api_keys(keys.collect())
}

/// The one broker, and the topics named or all of them. Nothing is created.
pub(super) fn metadata(shared: &Shared, request: &MetadataRequest) -> MetadataResponse {
    let topics = shared.topics.read();
    let answers = match &request.topics {
        None => {
            let names = topics.names().into_iter();
            names
                .map(|name| topic(&topics, TopicName(StrBytes::from_string(name))))
                .collect()
        }
        Some(asked) => {
            let asked = asked.iter().map(|asked| match &asked.name {
                Some(name) => topic(&topics, name.clone()),
                // Ours have no ids.
                None => MetadataResponseTopic::default()
                    .with_topic_id(asked.topic_id)
                    .with_name(Some(TopicName::default()))
                    .with_error_code(UNKNOWN_TOPIC_ID),
            });
            asked.collect()
        }
    };
    let broker = MetadataResponseBroker::default()
        .with_node_id(NODE)
        .with_host(StrBytes::from_string(shared.address.ip().to_string()))
        .with_port(i32::from(shared.address.port()));
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(StrBytes::from_static_str("sink")))
        .with_controller_id(NODE)
        .with_topics(answers)
}

fn topic(topics: &View, name: TopicName) -> MetadataResponseTopic {
    let Some(partitions) = topics.partitions(&name) else {
        return MetadataResponseTopic::default()
            .with_name(Some(name))
            .with_error_code(UNKNOWN_TOPIC_OR_PARTITION);
    };
    let partitions = (0..).take(partitions).map(|index| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(NODE)
            .with_leader_epoch(0)
            .with_replica_nodes(vec![NODE])
            .with_isr_nodes(vec![NODE])
    });
    MetadataResponseTopic::default()
        .with_name(Some(name))
        .with_partitions(partitions.collect())
}

/// Creates topics with as many partitions as asked for, and one where that is left to us.
pub(super) fn create_topics(shared: &Shared, request: &CreateTopicsRequest) -> CreateTopicsResponse {
    let answers = request.topics.iter().map(|asked| {
        let partitions = partitions_of(asked);
        let created = match asked.replication_factor {
            -1 | 1 => shared
                .topics
                .create(&asked.name, partitions, request.validate_only),
            _ => Err(INVALID_REPLICATION_FACTOR),
        };
        let answer = CreatableTopicResult::default().with_name(asked.name.clone());
        match created {
            Ok(()) => answer
                .with_num_partitions(partitions)
                .with_replication_factor(1)
                .with_configs(Some(Vec::new())),
            Err(error) => answer.with_error_code(error),
        }
    });
    CreateTopicsResponse::default().with_topics(answers.collect())
}

fn partitions_of(asked: &CreatableTopic) -> i32 {
    match (asked.assignments.len(), asked.num_partitions) {
        (0, -1) => 1,
        (0, partitions) => partitions,
        (assigned, _) => i32::try_from(assigned).unwrap_or(i32::MAX),
    }
}

/// Removes topics, by name only.
pub(super) fn delete_topics(shared: &Shared, request: &DeleteTopicsRequest) -> DeleteTopicsResponse {
    let by_list = request.topic_names.iter().map(Some);
    let by_state = request.topics.iter().map(|state| state.name.as_ref());
    let answers = by_list.chain(by_state).map(|name| {
        let deleted = match name {
            Some(name) => shared.topics.delete(name),
            None => Err(UNKNOWN_TOPIC_ID),
        };
        DeletableTopicResult::default()
            .with_name(name.cloned())
            .with_error_code(deleted.err().unwrap_or(0))
    });
    DeleteTopicsResponse::default().with_responses(answers.collect())
}

/// A producer id nobody else has, at epoch 0; there are no transactions.
pub(super) fn init_producer_id(shared: &Shared, request: &InitProducerIdRequest) -> InitProducerIdResponse {
    if request.transactional_id.is_some() {
        return InitProducerIdResponse::default()
            .with_error_code(TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
    }
    let id = shared.next_producer_id.fetch_add(1, Ordering::Relaxed);
    InitProducerIdResponse::default()
        .with_producer_id(ProducerId(id))
        .with_producer_epoch(0)
}

/// A short list of defaults for a topic that exists, and nothing for a broker.
pub(super) fn describe_configs(shared: &Shared, request: &DescribeConfigsRequest) -> DescribeConfigsResponse {
    let topics = shared.topics.read();
    let answers = request.resources.iter().map(|asked| {
        let answer = DescribeConfigsResult::default()
            .with_resource_type(asked.resource_type)
            .with_resource_name(asked.resource_name.clone());
        let is_known = topics.partitions(&asked.resource_name).is_some();
        match asked.resource_type {
            TOPIC_RESOURCE if is_known => {
                answer.with_configs(topic_configs(asked.configuration_keys.as_deref()))
            }
            TOPIC_RESOURCE => answer.with_error_code(UNKNOWN_TOPIC_OR_PARTITION),
            BROKER_RESOURCE => answer,
            _ => answer.with_error_code(INVALID_REQUEST),
        }
    });
    DescribeConfigsResponse::default().with_results(answers.collect())
}

fn topic_configs(keys: Option<&[StrBytes]>) -> Vec<DescribeConfigsResourceResult> {
    let is_asked = |name: &str| keys.is_none_or(|keys| keys.iter().any(|key| key.as_str() == name));
    let configs = TOPIC_CONFIGS.iter().filter(|(name, ..)| is_asked(name));
    configs
        .map(|(name, value, kind)| {
            DescribeConfigsResourceResult::default()
                .with_name(StrBytes::from_static_str(name))
                .with_value(Some(StrBytes::from_static_str(value)))
                .with_config_source(DEFAULT_SOURCE)
                .with_config_type(*kind)
        })
        .collect()
}
