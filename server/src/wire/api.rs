//! The table: every request this broker serves, its versions, and how its headers are encoded.
//!
//! ApiVersions is answered from [`TABLE`] (all of it but our own requests), headers are decoded by it, and nothing is dispatched that it
//! lacks. Versions come from the declarations in [`crate::wire::messages`], which are those of Kafka 4.3.1.

use super::error::WireError;
use super::schema::Message;

/// Declares the keys, with their names.
macro_rules! keys {
    ($($name:ident = $key:literal,)*) => {
        /// A request's number, for every request of Kafka 4.3, served here or not, and for our own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i16)]
        pub enum ApiKey { $(
            #[doc = concat!("`", stringify!($name), "`.")]
            $name = $key,
        )* }

        impl ApiKey {
            /// Kafka's name of the request.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$name => stringify!($name), )* }
            }
        }

        impl TryFrom<i16> for ApiKey {
            type Error = WireError;

            fn try_from(key: i16) -> Result<Self, WireError> {
                match key {
                    $( $key => Ok(Self::$name), )*
                    _ => Err(WireError::UnknownType(i32::from(key))),
                }
            }
        }
    };
}

keys! {
    Produce = 0,
    Fetch = 1,
    ListOffsets = 2,
    Metadata = 3,
    LeaderAndIsr = 4,
    StopReplica = 5,
    UpdateMetadata = 6,
    ControlledShutdown = 7,
    OffsetCommit = 8,
    OffsetFetch = 9,
    FindCoordinator = 10,
    JoinGroup = 11,
    Heartbeat = 12,
    LeaveGroup = 13,
    SyncGroup = 14,
    DescribeGroups = 15,
    ListGroups = 16,
    SaslHandshake = 17,
    ApiVersions = 18,
    CreateTopics = 19,
    DeleteTopics = 20,
    DeleteRecords = 21,
    InitProducerId = 22,
    OffsetForLeaderEpoch = 23,
    AddPartitionsToTxn = 24,
    AddOffsetsToTxn = 25,
    EndTxn = 26,
    WriteTxnMarkers = 27,
    TxnOffsetCommit = 28,
    DescribeAcls = 29,
    CreateAcls = 30,
    DeleteAcls = 31,
    DescribeConfigs = 32,
    AlterConfigs = 33,
    AlterReplicaLogDirs = 34,
    DescribeLogDirs = 35,
    SaslAuthenticate = 36,
    CreatePartitions = 37,
    CreateDelegationToken = 38,
    RenewDelegationToken = 39,
    ExpireDelegationToken = 40,
    DescribeDelegationToken = 41,
    DeleteGroups = 42,
    ElectLeaders = 43,
    IncrementalAlterConfigs = 44,
    AlterPartitionReassignments = 45,
    ListPartitionReassignments = 46,
    OffsetDelete = 47,
    DescribeClientQuotas = 48,
    AlterClientQuotas = 49,
    DescribeUserScramCredentials = 50,
    AlterUserScramCredentials = 51,
    Vote = 52,
    BeginQuorumEpoch = 53,
    EndQuorumEpoch = 54,
    DescribeQuorum = 55,
    AlterPartition = 56,
    UpdateFeatures = 57,
    Envelope = 58,
    FetchSnapshot = 59,
    DescribeCluster = 60,
    DescribeProducers = 61,
    BrokerRegistration = 62,
    BrokerHeartbeat = 63,
    UnregisterBroker = 64,
    DescribeTransactions = 65,
    ListTransactions = 66,
    AllocateProducerIds = 67,
    ConsumerGroupHeartbeat = 68,
    ConsumerGroupDescribe = 69,
    ControllerRegistration = 70,
    GetTelemetrySubscriptions = 71,
    PushTelemetry = 72,
    AssignReplicasToDirs = 73,
    ListConfigResources = 74,
    DescribeTopicPartitions = 75,
    ShareGroupHeartbeat = 76,
    ShareGroupDescribe = 77,
    ShareFetch = 78,
    ShareAcknowledge = 79,
    AddRaftVoter = 80,
    RemoveRaftVoter = 81,
    UpdateRaftVoter = 82,
    InitializeShareGroupState = 83,
    ReadShareGroupState = 84,
    WriteShareGroupState = 85,
    DeleteShareGroupState = 86,
    ReadShareGroupStateSummary = 87,
    StreamsGroupHeartbeat = 88,
    StreamsGroupDescribe = 89,
    DescribeShareGroupOffsets = 90,
    AlterShareGroupOffsets = 91,
    DeleteShareGroupOffsets = 92,
    RinglogDescribeCores = 31000,
    RinglogMovePartition = 31001,
}

/// Requests from this number on are Ringlog's own. Kafka's numbers are far from it.
const PRIVATE_FROM: i16 = 31_000;

impl ApiKey {
    /// Whether the request is Ringlog's own. Such are served and not advertised: Kafka's clients need not see them.
    pub const fn is_private(self) -> bool {
        self as i16 >= PRIVATE_FROM
    }
}

impl std::fmt::Display for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// One served request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Api {
    /// Its number.
    pub key: ApiKey,
    /// The oldest version answered.
    pub min_version: i16,
    /// The newest version answered.
    pub max_version: i16,
    /// The oldest version ApiVersions names, where it is not `min_version`.
    pub advertised_min: i16,
    /// The first version in the flexible encoding.
    pub flexible_from: i16,
}

impl Api {
    /// The row of a request type.
    pub const fn of<R: Request>() -> Self {
        Self {
            key: R::KEY,
            min_version: R::MIN_VERSION,
            max_version: R::MAX_VERSION,
            advertised_min: if matches!(R::KEY, ApiKey::Produce) {
                PRODUCE_ADVERTISED_MIN
            } else {
                R::MIN_VERSION
            },
            flexible_from: R::FLEXIBLE_FROM,
        }
    }

    /// The row of a request, if it is served.
    pub fn find(key: ApiKey) -> Option<&'static Self> {
        TABLE
            .binary_search_by_key(&key, |api| api.key)
            .ok()
            .map(|row| &TABLE[row])
    }

    /// Whether requests of this version are answered.
    pub const fn serves(&self, version: i16) -> bool {
        self.min_version <= version && version <= self.max_version
    }

    /// The version of the header before a request of this version.
    pub const fn request_header(&self, version: i16) -> i16 {
        if version >= self.flexible_from { 2 } else { 1 }
    }

    /// The version of the header before the response. ApiVersions' is 0 always: its client may not know yet
    /// whether the broker speaks the flexible encoding.
    pub const fn response_header(&self, version: i16) -> i16 {
        if version >= self.flexible_from && !matches!(self.key, ApiKey::ApiVersions) {
            1
        } else {
            0
        }
    }
}

/// Produce 0 to 2 are refused but advertised: librdkafka before 2.8 takes a higher minimum for "no
/// compression" and silently sends uncompressed (KAFKA-18659).
const PRODUCE_ADVERTISED_MIN: i16 = 0;

/// A request, its number and its response.
pub trait Request: Message {
    /// The request's number.
    const KEY: ApiKey;
    /// What answers it.
    type Response: Message;
}

/// Does something with every row's types; see [`visit`].
pub trait Visitor {
    /// Called once for each served request.
    fn request<R: Request>(&mut self);
}

/// Names the served requests, in the order of their keys.
macro_rules! table {
    ($($name:ident $module:ident $request:ident $response:ident,)*) => {
        $(
            impl Request for super::messages::$module::$request {
                const KEY: ApiKey = ApiKey::$name;
                type Response = super::messages::$module::$response;
            }
        )*

        /// Every served request, by key.
        pub const TABLE: &[Api] = &[ $( Api::of::<super::messages::$module::$request>(), )* ];

        /// Shows every served request's type to a visitor, by key.
        pub fn visit(visitor: &mut impl Visitor) {
            $( visitor.request::<super::messages::$module::$request>(); )*
        }
    };
}

table! {
    Produce produce ProduceRequest ProduceResponse,
    Fetch fetch FetchRequest FetchResponse,
    ListOffsets list_offsets ListOffsetsRequest ListOffsetsResponse,
    Metadata metadata MetadataRequest MetadataResponse,
    OffsetCommit offset_commit OffsetCommitRequest OffsetCommitResponse,
    OffsetFetch offset_fetch OffsetFetchRequest OffsetFetchResponse,
    FindCoordinator find_coordinator FindCoordinatorRequest FindCoordinatorResponse,
    JoinGroup join_group JoinGroupRequest JoinGroupResponse,
    Heartbeat heartbeat HeartbeatRequest HeartbeatResponse,
    LeaveGroup leave_group LeaveGroupRequest LeaveGroupResponse,
    SyncGroup sync_group SyncGroupRequest SyncGroupResponse,
    DescribeGroups describe_groups DescribeGroupsRequest DescribeGroupsResponse,
    ListGroups list_groups ListGroupsRequest ListGroupsResponse,
    ApiVersions api_versions ApiVersionsRequest ApiVersionsResponse,
    CreateTopics create_topics CreateTopicsRequest CreateTopicsResponse,
    DeleteTopics delete_topics DeleteTopicsRequest DeleteTopicsResponse,
    DeleteRecords delete_records DeleteRecordsRequest DeleteRecordsResponse,
    InitProducerId init_producer_id InitProducerIdRequest InitProducerIdResponse,
    OffsetForLeaderEpoch offset_for_leader_epoch OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse,
    AddPartitionsToTxn add_partitions_to_txn AddPartitionsToTxnRequest AddPartitionsToTxnResponse,
    AddOffsetsToTxn add_offsets_to_txn AddOffsetsToTxnRequest AddOffsetsToTxnResponse,
    EndTxn end_txn EndTxnRequest EndTxnResponse,
    WriteTxnMarkers write_txn_markers WriteTxnMarkersRequest WriteTxnMarkersResponse,
    TxnOffsetCommit txn_offset_commit TxnOffsetCommitRequest TxnOffsetCommitResponse,
    DescribeConfigs describe_configs DescribeConfigsRequest DescribeConfigsResponse,
    AlterConfigs alter_configs AlterConfigsRequest AlterConfigsResponse,
    AlterReplicaLogDirs alter_replica_log_dirs AlterReplicaLogDirsRequest AlterReplicaLogDirsResponse,
    DescribeLogDirs describe_log_dirs DescribeLogDirsRequest DescribeLogDirsResponse,
    CreatePartitions create_partitions CreatePartitionsRequest CreatePartitionsResponse,
    DeleteGroups delete_groups DeleteGroupsRequest DeleteGroupsResponse,
    ElectLeaders elect_leaders ElectLeadersRequest ElectLeadersResponse,
    IncrementalAlterConfigs incremental_alter_configs
        IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse,
    AlterPartitionReassignments alter_partition_reassignments
        AlterPartitionReassignmentsRequest AlterPartitionReassignmentsResponse,
    ListPartitionReassignments list_partition_reassignments
        ListPartitionReassignmentsRequest ListPartitionReassignmentsResponse,
    OffsetDelete offset_delete OffsetDeleteRequest OffsetDeleteResponse,
    DescribeClientQuotas describe_client_quotas DescribeClientQuotasRequest DescribeClientQuotasResponse,
    AlterClientQuotas alter_client_quotas AlterClientQuotasRequest AlterClientQuotasResponse,
    DescribeUserScramCredentials describe_user_scram_credentials
        DescribeUserScramCredentialsRequest DescribeUserScramCredentialsResponse,
    DescribeQuorum describe_quorum DescribeQuorumRequest DescribeQuorumResponse,
    UpdateFeatures update_features UpdateFeaturesRequest UpdateFeaturesResponse,
    DescribeCluster describe_cluster DescribeClusterRequest DescribeClusterResponse,
    DescribeProducers describe_producers DescribeProducersRequest DescribeProducersResponse,
    DescribeTransactions describe_transactions DescribeTransactionsRequest DescribeTransactionsResponse,
    ListTransactions list_transactions ListTransactionsRequest ListTransactionsResponse,
    ConsumerGroupHeartbeat consumer_group_heartbeat
        ConsumerGroupHeartbeatRequest ConsumerGroupHeartbeatResponse,
    ConsumerGroupDescribe consumer_group_describe
        ConsumerGroupDescribeRequest ConsumerGroupDescribeResponse,
    ListConfigResources list_config_resources ListConfigResourcesRequest ListConfigResourcesResponse,
    DescribeTopicPartitions describe_topic_partitions
        DescribeTopicPartitionsRequest DescribeTopicPartitionsResponse,
    RinglogDescribeCores describe_cores RinglogDescribeCoresRequest RinglogDescribeCoresResponse,
    RinglogMovePartition move_partition RinglogMovePartitionRequest RinglogMovePartitionResponse,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows a client negotiates by: key, oldest advertised, newest, first flexible version.
    const KAFKA_4_3_1: &[(i16, i16, i16, i16)] = &[
        (0, 0, 13, 9),
        (1, 4, 18, 12),
        (2, 1, 11, 6),
        (3, 0, 13, 9),
        (8, 2, 10, 8),
        (9, 1, 10, 6),
        (10, 0, 6, 3),
        (11, 0, 9, 6),
        (12, 0, 4, 4),
        (13, 0, 5, 4),
        (14, 0, 5, 4),
        (15, 0, 6, 5),
        (16, 0, 5, 3),
        (18, 0, 4, 3),
        (19, 2, 7, 5),
        (20, 1, 6, 4),
        (21, 0, 2, 2),
        (22, 0, 5, 2),
        (23, 2, 4, 4),
        (24, 0, 5, 3),
        (25, 0, 4, 3),
        (26, 0, 5, 3),
        (27, 1, 2, 1),
        (28, 0, 5, 3),
        (32, 1, 4, 4),
        (33, 0, 2, 2),
        (34, 1, 2, 2),
        (35, 1, 5, 2),
        (37, 0, 3, 2),
        (42, 0, 2, 2),
        (43, 0, 2, 2),
        (44, 0, 1, 1),
        (45, 0, 1, 0),
        (46, 0, 0, 0),
        (47, 0, 0, i16::MAX),
        (48, 0, 1, 1),
        (49, 0, 1, 1),
        (50, 0, 0, 0),
        (55, 0, 2, 0),
        (57, 0, 2, 0),
        (60, 0, 2, 0),
        (61, 0, 0, 0),
        (65, 0, 0, 0),
        (66, 0, 2, 0),
        (68, 0, 1, 0),
        (69, 0, 1, 0),
        (74, 0, 1, 0),
        (75, 0, 0, 0),
    ];

    #[test]
    fn rows_are_sorted_and_kafkas() {
        let rows: Vec<_> = TABLE
            .iter()
            .filter(|api| !api.key.is_private())
            .map(|api| {
                (
                    api.key as i16,
                    api.advertised_min,
                    api.max_version,
                    api.flexible_from,
                )
            })
            .collect();
        assert_eq!(rows, KAFKA_4_3_1);
        assert!(TABLE.is_sorted_by_key(|api| api.key));
    }

    #[test]
    fn our_own_requests_are_told_from_kafkas() {
        let own: Vec<_> = TABLE.iter().filter(|api| api.key.is_private()).collect();
        let row = |api: &Api| {
            (
                api.key as i16,
                api.min_version,
                api.max_version,
                api.flexible_from,
            )
        };
        let rows = [(31000, 0, 0, 0), (31001, 0, 0, 0)];
        assert_eq!(own.into_iter().map(row).collect::<Vec<_>>(), rows);
        assert!(!ApiKey::DeleteShareGroupOffsets.is_private());
    }

    #[test]
    fn request_and_response_have_the_same_versions() {
        struct Same;
        impl Visitor for Same {
            fn request<R: Request>(&mut self) {
                let response = (
                    R::Response::MIN_VERSION,
                    R::Response::MAX_VERSION,
                    R::Response::FLEXIBLE_FROM,
                );
                assert_eq!(
                    (R::MIN_VERSION, R::MAX_VERSION, R::FLEXIBLE_FROM),
                    response,
                    "{}",
                    R::NAME
                );
            }
        }
        visit(&mut Same);
    }

    #[test]
    fn api_versions_answers_in_the_oldest_header() {
        let api = Api::find(ApiKey::ApiVersions).copied();
        assert_eq!(
            api.map(|api| (api.request_header(99), api.response_header(99))),
            Some((2, 0))
        );
        assert_eq!(Api::find(ApiKey::Vote), None);
    }
}
