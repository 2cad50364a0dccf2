//! Answers of a coordinator that is not there, still loading, or cannot store what it decided.

use super::{GroupRequest, GroupResponse};
use crate::wire::code::ErrorCode;
use crate::wire::consumer_group_describe as consumer_describe;
use crate::wire::consumer_group_heartbeat::ConsumerGroupHeartbeatResponse;
use crate::wire::delete_groups::DeletableGroupResult;
use crate::wire::describe_groups::DescribedGroup;
use crate::wire::heartbeat::HeartbeatResponse;
use crate::wire::join_group::{JoinGroupRequest, JoinGroupResponse};
use crate::wire::leave_group::LeaveGroupResponse;
use crate::wire::offset_commit::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use crate::wire::offset_delete::OffsetDeleteResponse;
use crate::wire::offset_fetch::OffsetFetchResponseGroup;
use crate::wire::sync_group::SyncGroupResponse;
use crate::wire::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition,
    TxnOffsetCommitResponseTopic,
};

impl GroupRequest {
    /// The group it is about; nothing when it is about all of them.
    pub fn group_id(&self) -> Option<&str> {
        match self {
            GroupRequest::Join(request) => Some(&request.group_id),
            GroupRequest::Sync(request) => Some(&request.group_id),
            GroupRequest::Heartbeat(request) => Some(&request.group_id),
            GroupRequest::Leave(request) => Some(&request.group_id),
            GroupRequest::Commit(request) => Some(&request.group_id),
            GroupRequest::TxnCommit(request) => Some(&request.group_id),
            GroupRequest::Fetch { group, .. } => Some(&group.group_id),
            GroupRequest::DeleteOffsets(request) => Some(&request.group_id),
            GroupRequest::ConsumerHeartbeat(request) => Some(&request.group_id),
            GroupRequest::Describe(id) | GroupRequest::Delete(id) | GroupRequest::ConsumerDescribe(id) => {
                Some(id)
            }
            GroupRequest::List { .. } => None,
        }
    }

    /// The answer that says nothing but why. For a list it is an empty one: whoever gathers lists is told otherwise.
    pub fn refuse(&self, code: ErrorCode) -> GroupResponse {
        let error_code = code.into();
        match self {
            GroupRequest::Join(request) => GroupResponse::Join(refuse_join(request, code)),
            GroupRequest::Sync(_) => GroupResponse::Sync(SyncGroupResponse {
                error_code,
                ..Default::default()
            }),
            GroupRequest::Heartbeat(_) => GroupResponse::Heartbeat(HeartbeatResponse {
                error_code,
                ..Default::default()
            }),
            GroupRequest::Leave(_) => GroupResponse::Leave(LeaveGroupResponse {
                error_code,
                ..Default::default()
            }),
            GroupRequest::Commit(request) => GroupResponse::Commit(refuse_commit(request, code)),
            GroupRequest::TxnCommit(request) => GroupResponse::TxnCommit(refuse_txn_commit(request, code)),
            GroupRequest::Fetch { group, .. } => GroupResponse::Fetch(OffsetFetchResponseGroup {
                group_id: group.group_id.clone(),
                error_code,
                ..Default::default()
            }),
            GroupRequest::DeleteOffsets(_) => GroupResponse::DeleteOffsets(OffsetDeleteResponse {
                error_code,
                ..Default::default()
            }),
            GroupRequest::Describe(group_id) => GroupResponse::Describe(DescribedGroup {
                group_id: group_id.clone(),
                error_code,
                ..Default::default()
            }),
            GroupRequest::Delete(group_id) => GroupResponse::Delete(DeletableGroupResult {
                group_id: group_id.clone(),
                error_code,
            }),
            GroupRequest::List { .. } => GroupResponse::List(Vec::new()),
            GroupRequest::ConsumerHeartbeat(_) => {
                GroupResponse::ConsumerHeartbeat(ConsumerGroupHeartbeatResponse {
                    error_code,
                    ..Default::default()
                })
            }
            GroupRequest::ConsumerDescribe(group_id) => {
                GroupResponse::ConsumerDescribe(consumer_describe::DescribedGroup {
                    group_id: group_id.clone(),
                    error_code,
                    ..Default::default()
                })
            }
        }
    }
}

impl GroupResponse {
    /// The same answer with an error instead of what it said.
    pub fn refused(self, code: ErrorCode) -> GroupResponse {
        let error_code = code.into();
        match self {
            GroupResponse::Join(said) => GroupResponse::Join(JoinGroupResponse {
                error_code,
                generation_id: -1,
                member_id: said.member_id,
                protocol_name: Some(String::new()),
                ..Default::default()
            }),
            GroupResponse::Sync(_) => GroupResponse::Sync(SyncGroupResponse {
                error_code,
                ..Default::default()
            }),
            GroupResponse::Heartbeat(_) => GroupResponse::Heartbeat(HeartbeatResponse {
                error_code,
                ..Default::default()
            }),
            GroupResponse::Leave(_) => GroupResponse::Leave(LeaveGroupResponse {
                error_code,
                ..Default::default()
            }),
            GroupResponse::Commit(mut said) => {
                let partitions = said.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
                partitions.for_each(|partition| partition.error_code = error_code);
                GroupResponse::Commit(said)
            }
            GroupResponse::TxnCommit(mut said) => {
                let partitions = said.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
                partitions.for_each(|partition| partition.error_code = error_code);
                GroupResponse::TxnCommit(said)
            }
            GroupResponse::Fetch(said) => GroupResponse::Fetch(OffsetFetchResponseGroup {
                group_id: said.group_id,
                error_code,
                ..Default::default()
            }),
            GroupResponse::DeleteOffsets(_) => GroupResponse::DeleteOffsets(OffsetDeleteResponse {
                error_code,
                ..Default::default()
            }),
            GroupResponse::Describe(said) => GroupResponse::Describe(DescribedGroup {
                group_id: said.group_id,
                error_code,
                ..Default::default()
            }),
            GroupResponse::Delete(said) => GroupResponse::Delete(DeletableGroupResult {
                group_id: said.group_id,
                error_code,
            }),
            GroupResponse::List(_) => GroupResponse::List(Vec::new()),
            GroupResponse::ConsumerHeartbeat(_) => {
                GroupResponse::ConsumerHeartbeat(ConsumerGroupHeartbeatResponse {
                    error_code,
                    ..Default::default()
                })
            }
            GroupResponse::ConsumerDescribe(said) => {
                GroupResponse::ConsumerDescribe(consumer_describe::DescribedGroup {
                    group_id: said.group_id,
                    error_code,
                    ..Default::default()
                })
            }
        }
    }
}

/// A JoinGroup answer that admits nobody; the member keeps the id it came with.
pub fn refuse_join(request: &JoinGroupRequest, code: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: code.into(),
        generation_id: -1,
        member_id: request.member_id.clone(),
        protocol_name: Some(String::new()),
        ..Default::default()
    }
}

/// An OffsetCommit answer with one error for every partition.
pub fn refuse_commit(request: &OffsetCommitRequest, code: ErrorCode) -> OffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|partition| OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: code.into(),
            })
            .collect(),
    });
    OffsetCommitResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}

/// A TxnOffsetCommit answer with one error for every partition.
pub fn refuse_txn_commit(request: &TxnOffsetCommitRequest, code: ErrorCode) -> TxnOffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| TxnOffsetCommitResponseTopic {
        name: topic.name.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| TxnOffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: code.into(),
            })
            .collect(),
    });
    TxnOffsetCommitResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}
