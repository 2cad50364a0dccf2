//! Administrative calls on one connection: make, describe and remove a topic, its offsets, a producer id.

use std::collections::HashMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    BrokerId, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, InitProducerIdRequest,
    ListOffsetsRequest, MetadataRequest, ProducerId, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::connection::{Connection, check};
use super::topic::{PartitionLeader, Topic};
use crate::error::Error;

/// How long a new topic may take to have all its leaders.
const LEADERS_LIMIT: Duration = Duration::from_secs(60);
/// Timeout given to the broker for creating and deleting.
const BROKER_TIMEOUT_MS: i32 = 60_000;
/// ListOffsets' timestamp that asks for the end of the log.
pub const LATEST: i64 = -1;
/// ListOffsets' timestamp that asks for its start.
pub const EARLIEST: i64 = -2;
/// Error of a topic that does not exist.
const UNKNOWN_TOPIC: i16 = 3;

/// The first reachable broker of a bootstrap list `HOST:PORT[,HOST:PORT]`.
///
/// # Errors
/// No address can be resolved or reached: what each one said.
pub async fn bootstrap(list: &str) -> Result<Connection, Error> {
    let mut complaints = Vec::new();
    for entry in list.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        match resolve(entry) {
            Ok(address) => match Connection::open(address).await {
                Ok(connection) => return Ok(connection),
                Err(error) => complaints.push(error.to_string()),
            },
            Err(error) => complaints.push(error.to_string()),
        }
    }
    Err(Error::failed(if complaints.is_empty() {
        "--bootstrap names no broker".into()
    } else {
        complaints.join("; ")
    }))
}

/// The address of `HOST:PORT`, IPv4 first.
///
/// # Errors
/// The name does not resolve or the port is missing.
pub fn resolve(host_port: &str) -> Result<SocketAddr, Error> {
    let addresses: Vec<SocketAddr> = host_port
        .to_socket_addrs()
        .map_err(|e| Error::failed(format!("{host_port} is no HOST:PORT that can be resolved: {e}")))?
        .collect();
    addresses
        .iter()
        .find(|address| address.is_ipv4())
        .or_else(|| addresses.first())
        .copied()
        .ok_or_else(|| Error::failed(format!("{host_port} has no address")))
}

/// What our topics are made with: records come back byte for byte, and stay.
const TOPIC_CONFIGS: [(&str, &str); 4] = [
    ("message.timestamp.type", "CreateTime"),
    ("compression.type", "producer"),
    ("retention.ms", "-1"),
    ("max.message.bytes", "16777216"),
];

/// Creates a topic with client timestamps, the producers' compression and no retention, unless `configs` (name and value) says
/// otherwise, and with whatever else that says.
///
/// # Errors
/// The broker's, by name.
pub async fn create_topic(
    connection: &mut Connection,
    name: &str,
    partitions: i32,
    configs: &[(String, String)],
) -> Result<(), Error> {
    let config = |key: &str, value: &str| {
        CreatableTopicConfig::default()
            .with_name(StrBytes::from_string(key.to_owned()))
            .with_value(Some(StrBytes::from_string(value.to_owned())))
    };
    let ours = TOPIC_CONFIGS
        .iter()
        .filter(|(key, _)| configs.iter().all(|(asked, _)| asked != key));
    let ours = ours.map(|(key, value)| config(key, value));
    let theirs = configs.iter().map(|(key, value)| config(key, value));
    let topic = CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(partitions)
        .with_replication_factor(-1)
        .with_configs(ours.chain(theirs).collect());
    let request = CreateTopicsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(BROKER_TIMEOUT_MS);
    let (answer, _) = connection.call(&request, 6).await?;
    for topic in &answer.topics {
        let what = format!("topic {name} cannot be created");
        check(&what, topic.error_code, topic.error_message.as_ref())?;
    }
    Ok(())
}

/// Removes a topic.
///
/// # Errors
/// The broker's, by name.
pub async fn delete_topic(connection: &mut Connection, name: &str) -> Result<(), Error> {
    let request = DeleteTopicsRequest::default()
        .with_topic_names(vec![topic_name(name)])
        .with_timeout_ms(BROKER_TIMEOUT_MS);
    // version 6 names topics otherwise
    let (answer, _) = match connection.call(&request, 5).await {
        Ok(answer) => answer,
        Err(_) => {
            let state = DeleteTopicState::default().with_name(Some(topic_name(name)));
            let request = DeleteTopicsRequest::default()
                .with_topics(vec![state])
                .with_timeout_ms(BROKER_TIMEOUT_MS);
            connection.call(&request, 6).await?
        }
    };
    for topic in &answer.responses {
        check(
            &format!("topic {name} cannot be removed"),
            topic.error_code,
            topic.error_message.as_ref(),
        )?;
    }
    Ok(())
}

/// A topic's partitions and leaders, or `None` when there is no such topic.
///
/// # Errors
/// The broker's, by name; a leader whose address does not resolve; partitions that are none, or not numbered from 0.
pub async fn describe(connection: &mut Connection, name: &str) -> Result<Option<Topic>, Error> {
    let asked = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    let request = MetadataRequest::default()
        .with_topics(Some(vec![asked]))
        .with_allow_auto_topic_creation(false);
    let (answer, _) = connection.call(&request, 9).await?;
    let brokers: HashMap<i32, String> = answer
        .brokers
        .iter()
        .map(|broker| {
            // an address of IPv6 is told without its brackets
            let host = match broker.host.contains(':') {
                true => format!("[{}]", broker.host),
                false => broker.host.to_string(),
            };
            (broker.node_id.0, format!("{host}:{}", broker.port))
        })
        .collect();
    let Some(topic) = answer.topics.first() else {
        return Ok(None);
    };
    if topic.error_code == UNKNOWN_TOPIC {
        return Ok(None);
    }
    check(&format!("topic {name}"), topic.error_code, None)?;
    let mut resolved: HashMap<i32, SocketAddr> = HashMap::new();
    let mut partitions = Vec::with_capacity(topic.partitions.len());
    for partition in &topic.partitions {
        check(
            &format!("{name}-{}", partition.partition_index),
            partition.error_code,
            None,
        )?;
        let node = partition.leader_id.0;
        let leader = match (resolved.get(&node), brokers.get(&node)) {
            (Some(address), _) => *address,
            (None, Some(host_port)) => *resolved.entry(node).or_insert(resolve(host_port)?),
            (None, None) => {
                return Err(Error::failed(format!(
                    "{name}-{} is led by broker {node}, which the broker's own list does not name",
                    partition.partition_index
                )));
            }
        };
        partitions.push(PartitionLeader {
            partition: partition.partition_index,
            leader,
        });
    }
    partitions.sort_by_key(|at| at.partition);
    let dense = partitions
        .iter()
        .zip(0..)
        .all(|(at, wanted)| at.partition == wanted);
    if partitions.is_empty() || !dense {
        let count = partitions.len();
        let what = format!("the broker tells {count} partitions of {name}, which are not numbered from 0");
        return Err(Error::failed(what));
    }
    Ok(Some(Topic {
        name: name.into(),
        partitions,
    }))
}

/// Waits until a just created topic has `partitions` leaders.
///
/// # Errors
/// Still not after a minute, with what the broker said last.
pub async fn wait_for_leaders(
    connection: &mut Connection,
    name: &str,
    partitions: usize,
) -> Result<Topic, Error> {
    let begun = Instant::now();
    loop {
        let said = match describe(connection, name).await {
            Ok(Some(topic)) if topic.partitions.len() == partitions => return Ok(topic),
            Ok(Some(topic)) => format!("{} of {partitions} partitions", topic.partitions.len()),
            Ok(None) => "no such topic yet".into(),
            Err(error) => error.to_string(),
        };
        if begun.elapsed() > LEADERS_LIMIT {
            return Err(Error::failed(format!(
                "topic {name} has no leaders after a minute: {said}"
            )));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The end offset (high watermark, [`LATEST`]) or the first one ([`EARLIEST`]) of each of `partitions`, all led by the broker of
/// `connection`; in their order.
///
/// # Errors
/// The broker's, by name.
pub async fn offsets(
    connection: &mut Connection,
    topic: &str,
    partitions: &[i32],
    which: i64,
) -> Result<Vec<i64>, Error> {
    let asked = partitions.iter().map(|partition| {
        ListOffsetsPartition::default()
            .with_partition_index(*partition)
            .with_current_leader_epoch(-1)
            .with_timestamp(which)
    });
    let asked = ListOffsetsTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(asked.collect());
    let request = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_topics(vec![asked]);
    let (answer, _) = connection.call(&request, 6).await?;
    let mut found: HashMap<i32, i64> = HashMap::new();
    for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
        check(
            &format!("an end of {topic}-{}", partition.partition_index),
            partition.error_code,
            None,
        )?;
        found.insert(partition.partition_index, partition.offset);
    }
    let offset_of = |partition: &i32| {
        found
            .get(partition)
            .copied()
            .ok_or_else(|| Error::failed(format!("the broker did not tell an end of {topic}-{partition}")))
    };
    partitions.iter().map(offset_of).collect()
}

/// Removes the records below an offset of each partition (KIP-107), all led by the broker of `connection`; returns how many partitions
/// now start there, or later.
///
/// # Errors
/// The broker's, by name.
pub async fn delete_records(
    connection: &mut Connection,
    topic: &str,
    below: &[(i32, i64)],
) -> Result<usize, Error> {
    let partitions = below.iter().map(|(partition, offset)| {
        DeleteRecordsPartition::default()
            .with_partition_index(*partition)
            .with_offset(*offset)
    });
    let asked = DeleteRecordsTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(partitions.collect());
    let request = DeleteRecordsRequest::default()
        .with_topics(vec![asked])
        .with_timeout_ms(BROKER_TIMEOUT_MS);
    let (answer, _) = connection.call(&request, 2).await?;
    let mut moved = 0;
    for told in answer.topics.iter().flat_map(|topic| &topic.partitions) {
        let what = format!("records of {topic}-{} cannot be deleted", told.partition_index);
        check(&what, told.error_code, None)?;
        let wanted = below
            .iter()
            .find(|(partition, _)| *partition == told.partition_index);
        moved += usize::from(wanted.is_some_and(|(_, offset)| told.low_watermark >= *offset));
    }
    Ok(moved)
}

/// A fresh producer id and its epoch, for an idempotent producer.
///
/// # Errors
/// The broker's, by name; retriable ones (a coordinator still loading) are tried again for a minute.
pub async fn producer_id(connection: &mut Connection) -> Result<(i64, i16), Error> {
    let begun = Instant::now();
    loop {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(60_000)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
        let (answer, _) = connection.call(&request, 4).await?;
        match check("no producer id", answer.error_code, None) {
            Ok(()) => return Ok((answer.producer_id.0, answer.producer_epoch)),
            Err(error) if begun.elapsed() > LEADERS_LIMIT => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// A topic's name as the codec wants it.
pub fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}
