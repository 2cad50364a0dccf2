//! What goes into a coordinator and what comes out.

use std::sync::Arc;

use crate::metadata::image::MetadataImage;
use crate::wire::consumer_group_describe as consumer_describe;
use crate::wire::consumer_group_heartbeat::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use crate::wire::delete_groups::DeletableGroupResult;
use crate::wire::describe_groups::DescribedGroup;
use crate::wire::group_records::GroupRecord;
use crate::wire::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use crate::wire::join_group::{JoinGroupRequest, JoinGroupResponse};
use crate::wire::leave_group::{LeaveGroupRequest, LeaveGroupResponse};
use crate::wire::list_groups::ListedGroup;
use crate::wire::offset_commit::{OffsetCommitRequest, OffsetCommitResponse};
use crate::wire::offset_delete::{OffsetDeleteRequest, OffsetDeleteResponse};
use crate::wire::offset_fetch::{OffsetFetchRequestGroup, OffsetFetchResponseGroup};
use crate::wire::sync_group::{SyncGroupRequest, SyncGroupResponse};
use crate::wire::txn_offset_commit::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use crate::wire::uuid::Uuid;

use super::GroupSettings;
use super::rebalances::{MOST_TOLD, Rebalance};

/// The world as a coordinator sees it during one step.
pub struct Ctx<'a> {
    /// Now, in milliseconds on a clock that nobody sets: deadlines are told by it.
    pub now_ms: i64,
    /// The time of day, in milliseconds since 1970: it stands in records, and says what is old after a restart.
    pub wall_ms: i64,
    /// The broker's settings.
    pub settings: &'a GroupSettings,
    /// Topics and their partitions; settings of groups.
    pub image: &'a MetadataImage,
    /// Makes an id nobody has.
    pub new_id: &'a mut dyn FnMut() -> Uuid,
}

/// Who asks, and where the answer goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller<T> {
    /// Where the answer goes; means nothing to a coordinator.
    pub to: T,
    /// Version of the request.
    pub version: i16,
    /// What the client calls itself; empty when it does not say.
    pub client_id: String,
    /// The client's address as Kafka writes it, `/127.0.0.1`.
    pub client_host: String,
}

/// A request about one group, or, to list them, about all groups of a coordinator. Requests about several groups are taken apart before they come
/// here.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupRequest {
    /// JoinGroup.
    Join(JoinGroupRequest),
    /// SyncGroup.
    Sync(SyncGroupRequest),
    /// Heartbeat.
    Heartbeat(HeartbeatRequest),
    /// LeaveGroup.
    Leave(LeaveGroupRequest),
    /// OffsetCommit.
    Commit(OffsetCommitRequest),
    /// TxnOffsetCommit. Whether the producer may write in this transaction is asked before it comes here: the coordinator knows of no epoch.
    TxnCommit(TxnOffsetCommitRequest),
    /// OffsetFetch of one group, in the form of version 8 and later whatever the version is.
    Fetch {
        /// The group, its member, and the partitions.
        group: OffsetFetchRequestGroup,
        /// Whether offsets that a transaction may still change are an error.
        require_stable: bool,
    },
    /// OffsetDelete.
    DeleteOffsets(OffsetDeleteRequest),
    /// DescribeGroups of one group.
    Describe(String),
    /// DeleteGroups of one group.
    Delete(String),
    /// ListGroups.
    List {
        /// Only groups in these states; all if empty.
        states: Arc<[String]>,
        /// Only groups of these types; all if empty.
        types: Arc<[String]>,
    },
    /// ConsumerGroupHeartbeat.
    ConsumerHeartbeat(ConsumerGroupHeartbeatRequest),
    /// ConsumerGroupDescribe of one group.
    ConsumerDescribe(String),
}

/// The answer to the [`GroupRequest`] of the same name.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupResponse {
    /// JoinGroup.
    Join(JoinGroupResponse),
    /// SyncGroup.
    Sync(SyncGroupResponse),
    /// Heartbeat.
    Heartbeat(HeartbeatResponse),
    /// LeaveGroup.
    Leave(LeaveGroupResponse),
    /// OffsetCommit.
    Commit(OffsetCommitResponse),
    /// TxnOffsetCommit.
    TxnCommit(TxnOffsetCommitResponse),
    /// OffsetFetch of one group.
    Fetch(OffsetFetchResponseGroup),
    /// OffsetDelete.
    DeleteOffsets(OffsetDeleteResponse),
    /// DescribeGroups of one group.
    Describe(DescribedGroup),
    /// DeleteGroups of one group.
    Delete(DeletableGroupResult),
    /// ListGroups of one coordinator.
    List(Vec<ListedGroup>),
    /// ConsumerGroupHeartbeat.
    ConsumerHeartbeat(ConsumerGroupHeartbeatResponse),
    /// ConsumerGroupDescribe of one group.
    ConsumerDescribe(consumer_describe::DescribedGroup),
}

/// What follows from a request, a deadline or a change of topics.
#[derive(Debug, PartialEq)]
pub struct Step<T> {
    /// To be appended, in order. The coordinator's state has them already.
    pub records: Vec<GroupRecord>,
    /// Id and epoch of the producer whose transaction the records belong to, all of them: they go into a transactional batch of that producer, with
    /// no others. Nothing for records that count at once.
    pub producer: Option<(i64, i16)>,
    /// To be sent once these records and all before them are durable.
    pub replies: Vec<(T, GroupResponse)>,
    /// Rebalances that begin, for the log; at most [`MOST_TOLD`] of them.
    pub rebalances: Vec<Rebalance>,
}

impl<T> Default for Step<T> {
    fn default() -> Self {
        Step {
            records: Vec::new(),
            producer: None,
            replies: Vec::new(),
            rebalances: Vec::new(),
        }
    }
}

impl<T> Step<T> {
    /// One reply, and nothing to append.
    pub fn reply(to: T, response: GroupResponse) -> Self {
        Step {
            replies: vec![(to, response)],
            ..Step::default()
        }
    }

    /// Tells of a rebalance that begins.
    pub fn tell(&mut self, rebalance: Rebalance) {
        if self.rebalances.len() < MOST_TOLD {
            self.rebalances.push(rebalance);
        }
    }

    /// Adds what follows from another. Records of a transaction are not put together with any that are not of the same one.
    pub fn and(&mut self, other: Step<T>) {
        debug_assert!(
            self.records.is_empty() || other.records.is_empty() || self.producer == other.producer,
            "records of a transaction beside others"
        );
        if !other.records.is_empty() {
            self.producer = other.producer;
        }
        self.records.extend(other.records);
        self.replies.extend(other.replies);
        other
            .rebalances
            .into_iter()
            .for_each(|rebalance| self.tell(rebalance));
    }
}
