//! Partitions in the forms that records, requests and responses have.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::groups::assignor::Partitions;
use crate::metadata::MetadataImage;
use crate::wire::consumer_group_heartbeat as heartbeat;
use crate::wire::consumer_protocol::{self, ConsumerProtocolAssignment};
use crate::wire::group_records::{TopicPartition, TopicPartitions};
use crate::wire::schema::Message;
use crate::wire::uuid::Uuid;

/// What a member has, by topic, and the target epoch with which it got each partition. A commit with an older epoch was meant by whoever
/// had the partition before (KIP-1251).
pub(super) type Owned = BTreeMap<Uuid, BTreeMap<i32, i32>>;

/// From a record. Those written before there were epochs have that of the member.
pub(super) fn from_record(topics: &[TopicPartitions], member_epoch: i32) -> Owned {
    let mut owned = Owned::new();
    for topic in topics {
        let epochs = topic
            .assignment_epochs
            .as_ref()
            .filter(|epochs| epochs.len() == topic.partitions.len());
        let epoch_of = |index: usize| {
            epochs
                .and_then(|epochs| epochs.get(index))
                .copied()
                .unwrap_or(member_epoch.max(0))
        };
        let partitions = topic
            .partitions
            .iter()
            .enumerate()
            .map(|(index, partition)| (*partition, epoch_of(index)));
        owned.insert(topic.topic_id, partitions.collect());
    }
    owned
}

pub(super) fn to_record(owned: &Owned) -> Vec<TopicPartitions> {
    owned
        .iter()
        .map(|(topic_id, partitions)| TopicPartitions {
            topic_id: *topic_id,
            partitions: partitions.keys().copied().collect(),
            assignment_epochs: Some(partitions.values().copied().collect()),
        })
        .collect()
}

pub(super) fn target_from_record(topics: &[TopicPartition]) -> Partitions {
    topics
        .iter()
        .map(|topic| (topic.topic_id, topic.partitions.iter().copied().collect()))
        .collect()
}

pub(super) fn target_to_record(target: &Partitions) -> Vec<TopicPartition> {
    target
        .iter()
        .map(|(topic_id, partitions)| TopicPartition {
            topic_id: *topic_id,
            partitions: partitions.iter().copied().collect(),
        })
        .collect()
}

pub(super) fn to_response(owned: &Owned) -> heartbeat::Assignment {
    let topic_partitions = owned
        .iter()
        .map(|(topic_id, partitions)| heartbeat::TopicPartitions {
            topic_id: *topic_id,
            partitions: partitions.keys().copied().collect(),
        });
    heartbeat::Assignment {
        topic_partitions: topic_partitions.collect(),
    }
}

/// The same partitions, all with one epoch.
pub(super) fn with_epoch(partitions: &Partitions, epoch: i32) -> Owned {
    partitions
        .iter()
        .map(|(topic, partitions)| {
            (
                *topic,
                partitions.iter().map(|partition| (*partition, epoch)).collect(),
            )
        })
        .collect()
}

/// The same partitions without their epochs.
pub(super) fn without_epochs(owned: &Owned) -> Partitions {
    owned
        .iter()
        .map(|(topic, partitions)| (*topic, partitions.keys().copied().collect::<BTreeSet<i32>>()))
        .collect()
}

/// The bytes that a member of the classic protocol reads, in a version of its protocol; one from the future is written as the newest. Topics
/// that are gone are left out.
pub(super) fn to_protocol(partitions: &Partitions, image: &MetadataImage, version: i16) -> Bytes {
    let assigned = partitions.iter().filter_map(|(topic, partitions)| {
        Some(consumer_protocol::TopicPartition {
            topic: image.topic_by_id(*topic)?.name.as_ref().to_owned(),
            partitions: partitions.iter().copied().collect(),
        })
    });
    let assignment = ConsumerProtocolAssignment {
        assigned_partitions: assigned.collect(),
        user_data: None,
    };
    consumer_protocol::encode(
        &assignment,
        version.clamp(0, ConsumerProtocolAssignment::MAX_VERSION),
    )
}

/// Whether two have the same partitions, whenever they got them.
pub(super) fn same_partitions(one: &Owned, other: &Owned) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .all(|((topic, partitions), (other_topic, other_partitions))| {
                topic == other_topic && partitions.keys().eq(other_partitions.keys())
            })
}

/// Whether all that a member says it has is among those. A member that says nothing may have anything.
pub(super) fn is_within(said: Option<&[heartbeat::TopicPartitions]>, owned: &Owned) -> bool {
    said.is_some_and(|said| {
        said.iter().all(|topic| {
            let owned = owned.get(&topic.topic_id);
            owned.is_some_and(|owned| {
                topic
                    .partitions
                    .iter()
                    .all(|partition| owned.contains_key(partition))
            })
        })
    })
}

/// Whether a member has any of those, as far as it says. A member that says nothing may have anything.
pub(super) fn may_have_any(said: Option<&[heartbeat::TopicPartitions]>, of: &Owned) -> bool {
    said.is_none_or(|said| {
        said.iter().any(|topic| {
            let of = of.get(&topic.topic_id);
            of.is_some_and(|of| {
                topic
                    .partitions
                    .iter()
                    .any(|partition| of.contains_key(partition))
            })
        })
    })
}
