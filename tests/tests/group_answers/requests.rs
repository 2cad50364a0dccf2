//! Requests with everything in them that a step does not care about.

use bytes::Bytes;
use ringlog::wire::Uuid;
use ringlog::wire::consumer_group_describe::ConsumerGroupDescribeRequest;
use ringlog::wire::consumer_group_heartbeat::{ConsumerGroupHeartbeatRequest, TopicPartitions};
use ringlog::wire::consumer_protocol::{
    self, ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicPartition,
};
use ringlog::wire::delete_groups::DeleteGroupsRequest;
use ringlog::wire::describe_groups::DescribeGroupsRequest;
use ringlog::wire::heartbeat::HeartbeatRequest;
use ringlog::wire::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use ringlog::wire::leave_group::{LeaveGroupRequest, MemberIdentity};
use ringlog::wire::list_groups::ListGroupsRequest;
use ringlog::wire::offset_commit::*;
use ringlog::wire::offset_delete::*;
use ringlog::wire::offset_fetch::*;
use ringlog::wire::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};

/// Long enough that nobody is forgotten while the script runs.
const TIMEOUT_MS: i32 = 120_000;

/// A join with the protocols of the opaque kind.
pub fn join(group: &str, member: &str, protocols: &[&str]) -> JoinGroupRequest {
    let protocol = |name: &&str| JoinGroupRequestProtocol {
        name: (*name).to_owned(),
        metadata: Bytes::from(format!("about {name}")),
    };
    JoinGroupRequest {
        group_id: group.to_owned(),
        session_timeout_ms: TIMEOUT_MS,
        rebalance_timeout_ms: TIMEOUT_MS,
        member_id: member.to_owned(),
        protocol_type: "script".to_owned(),
        protocols: protocols.iter().map(protocol).collect(),
        ..Default::default()
    }
}

/// A join of a consumer, subscribed to topics and owning partitions of `t`.
pub fn consumer_join(group: &str, member: &str, topics: &[&str], owned: &[i32]) -> JoinGroupRequest {
    let subscription = ConsumerProtocolSubscription {
        topics: topics.iter().map(|&topic| topic.to_owned()).collect(),
        owned_partitions: partitions_of_t(owned),
        ..Default::default()
    };
    let protocol = JoinGroupRequestProtocol {
        name: "range".to_owned(),
        metadata: consumer_protocol::encode(&subscription, 1),
    };
    JoinGroupRequest {
        protocol_type: "consumer".to_owned(),
        protocols: vec![protocol],
        ..join(group, member, &[])
    }
}

/// What a consumer is assigned of the topic `t`.
pub fn assignment(partitions: &[i32]) -> Bytes {
    let assignment = ConsumerProtocolAssignment {
        assigned_partitions: partitions_of_t(partitions),
        ..Default::default()
    };
    consumer_protocol::encode(&assignment, 1)
}

fn partitions_of_t(partitions: &[i32]) -> Vec<TopicPartition> {
    let of_t = TopicPartition {
        topic: "t".to_owned(),
        partitions: partitions.to_vec(),
    };
    Some(of_t)
        .filter(|topic| !topic.partitions.is_empty())
        .into_iter()
        .collect()
}

/// The same join by a static member.
pub fn fixed(instance: &str, request: JoinGroupRequest) -> JoinGroupRequest {
    JoinGroupRequest {
        group_instance_id: Some(instance.to_owned()),
        ..request
    }
}

/// A sync; of a leader if it assigns something.
pub fn sync(group: &str, generation: i32, member: &str, assigned: &[(&str, &[u8])]) -> SyncGroupRequest {
    let assign = |&(member, bytes): &(&str, &[u8])| SyncGroupRequestAssignment {
        member_id: member.to_owned(),
        assignment: Bytes::copy_from_slice(bytes),
    };
    SyncGroupRequest {
        group_id: group.to_owned(),
        generation_id: generation,
        member_id: member.to_owned(),
        assignments: assigned.iter().map(assign).collect(),
        ..Default::default()
    }
}

/// The same sync with what version 5 must name: the protocol's type and name.
pub fn typed(kind: &str, protocol: &str, request: SyncGroupRequest) -> SyncGroupRequest {
    SyncGroupRequest {
        protocol_type: Some(kind.to_owned()),
        protocol_name: Some(protocol.to_owned()),
        ..request
    }
}

/// A heartbeat of a classic member.
pub fn heartbeat(group: &str, generation: i32, member: &str) -> HeartbeatRequest {
    HeartbeatRequest {
        group_id: group.to_owned(),
        generation_id: generation,
        member_id: member.to_owned(),
        ..Default::default()
    }
}

/// One member leaves, as up to version 2.
pub fn leave(group: &str, member: &str) -> LeaveGroupRequest {
    LeaveGroupRequest {
        group_id: group.to_owned(),
        member_id: member.to_owned(),
        ..Default::default()
    }
}

/// Members leave, by id and by instance.
pub fn leave_all(group: &str, members: &[(&str, Option<&str>)]) -> LeaveGroupRequest {
    let identity = |&(member, instance): &(&str, Option<&str>)| MemberIdentity {
        member_id: member.to_owned(),
        group_instance_id: instance.map(str::to_owned),
        ..Default::default()
    };
    LeaveGroupRequest {
        group_id: group.to_owned(),
        members: members.iter().map(identity).collect(),
        ..Default::default()
    }
}

/// A commit of partitions of one topic: partition, offset, metadata.
pub fn commit(group: &str, topic: &str, rows: &[(i32, i64, Option<&str>)]) -> OffsetCommitRequest {
    let row = |&(partition_index, committed_offset, metadata): &(i32, i64, Option<&str>)| {
        OffsetCommitRequestPartition {
            partition_index,
            committed_offset,
            committed_metadata: metadata.map(str::to_owned),
            ..Default::default()
        }
    };
    OffsetCommitRequest {
        group_id: group.to_owned(),
        topics: vec![OffsetCommitRequestTopic {
            name: topic.to_owned(),
            partitions: rows.iter().map(row).collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// The same commit by a member.
pub fn commit_as(member: &str, generation: i32, request: OffsetCommitRequest) -> OffsetCommitRequest {
    OffsetCommitRequest {
        member_id: member.to_owned(),
        generation_id_or_member_epoch: generation,
        ..request
    }
}

/// The same commit with the topic's id.
pub fn commit_by_id(id: Uuid, mut request: OffsetCommitRequest) -> OffsetCommitRequest {
    for topic in &mut request.topics {
        topic.topic_id = id;
    }
    request
}

/// A fetch of offsets as up to version 7; none for all.
pub fn fetch(group: &str, topics: Option<&[(&str, &[i32])]>) -> OffsetFetchRequest {
    let topic = |&(name, partitions): &(&str, &[i32])| OffsetFetchRequestTopic {
        name: name.to_owned(),
        partition_indexes: partitions.to_vec(),
    };
    OffsetFetchRequest {
        group_id: group.to_owned(),
        topics: topics.map(|topics| topics.iter().map(topic).collect()),
        ..Default::default()
    }
}

/// What is asked of one group from version 8 on: by name and id; none for all.
pub fn of_group(group: &str, topics: Option<&[(&str, Uuid, &[i32])]>) -> OffsetFetchRequestGroup {
    let topic = |&(name, topic_id, partitions): &(&str, Uuid, &[i32])| OffsetFetchRequestTopics {
        name: name.to_owned(),
        topic_id,
        partition_indexes: partitions.to_vec(),
    };
    OffsetFetchRequestGroup {
        group_id: group.to_owned(),
        topics: topics.map(|topics| topics.iter().map(topic).collect()),
        ..Default::default()
    }
}

/// The same by a member.
pub fn fetch_as(member: &str, epoch: i32, group: OffsetFetchRequestGroup) -> OffsetFetchRequestGroup {
    OffsetFetchRequestGroup {
        member_id: Some(member.to_owned()),
        member_epoch: epoch,
        ..group
    }
}

/// A fetch of offsets from version 8 on.
pub fn fetch_groups(groups: &[OffsetFetchRequestGroup]) -> OffsetFetchRequest {
    OffsetFetchRequest {
        groups: groups.to_vec(),
        ..Default::default()
    }
}

/// A deletion of offsets.
pub fn delete_offsets(group: &str, topics: &[(&str, &[i32])]) -> OffsetDeleteRequest {
    let topic = |&(name, partitions): &(&str, &[i32])| OffsetDeleteRequestTopic {
        name: name.to_owned(),
        partitions: partitions
            .iter()
            .map(|&partition_index| OffsetDeleteRequestPartition { partition_index })
            .collect(),
    };
    OffsetDeleteRequest {
        group_id: group.to_owned(),
        topics: topics.iter().map(topic).collect(),
    }
}

/// A description of groups, with the operations that are allowed.
pub fn describe(groups: &[&str]) -> DescribeGroupsRequest {
    DescribeGroupsRequest {
        groups: words(groups),
        include_authorized_operations: true,
    }
}

/// A description of groups of the consumer protocol.
pub fn describe_consumers(groups: &[&str]) -> ConsumerGroupDescribeRequest {
    ConsumerGroupDescribeRequest {
        group_ids: words(groups),
        include_authorized_operations: true,
    }
}

/// A list of groups of these states and types.
pub fn list(states: &[&str], types: &[&str]) -> ListGroupsRequest {
    ListGroupsRequest {
        states_filter: words(states),
        types_filter: words(types),
    }
}

/// A deletion of groups.
pub fn delete(groups: &[&str]) -> DeleteGroupsRequest {
    DeleteGroupsRequest {
        groups_names: words(groups),
    }
}

/// A first heartbeat: everything that a member says when it joins.
pub fn enter(group: &str, member: &str, topics: &[&str]) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        rebalance_timeout_ms: TIMEOUT_MS,
        subscribed_topic_names: Some(words(topics)),
        topic_partitions: Some(Vec::new()),
        ..beat(group, member, 0)
    }
}

/// A heartbeat that says nothing new.
pub fn beat(group: &str, member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group.to_owned(),
        member_id: member.to_owned(),
        member_epoch: epoch,
        ..Default::default()
    }
}

/// The same heartbeat with the partitions that the member owns.
pub fn owning(
    owned: &[(Uuid, &[i32])],
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatRequest {
    let topic = |&(topic_id, partitions): &(Uuid, &[i32])| TopicPartitions {
        topic_id,
        partitions: partitions.to_vec(),
    };
    ConsumerGroupHeartbeatRequest {
        topic_partitions: Some(owned.iter().map(topic).collect()),
        ..request
    }
}

/// The same heartbeat by a static member.
pub fn fixed_beat(instance: &str, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        instance_id: Some(instance.to_owned()),
        ..request
    }
}

/// The words as owned text.
pub fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}
