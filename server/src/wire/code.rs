//! Kafka's error codes, each with its name, whether trying again can help, and what it means here.
//!
//! The one place where an error becomes a number. Numbers and names are Kafka's, and clients act on them; the
//! sentences are ours, for people.

/// Declares the codes: number, variant, Kafka's name, `retriable` or `lasting`, meaning.
macro_rules! codes {
    ($($(#[$default:ident])? $code:literal $variant:ident $name:ident $kind:ident $message:literal;)*) => {
        /// What a response's `error_code` says.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i16)]
        pub enum ErrorCode { $(
            #[doc = concat!("`", stringify!($name), "`: ", $message, ".")]
            $(#[$default])?
            $variant = $code,
        )* }

        impl ErrorCode {
            /// Kafka's name, in capitals.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => stringify!($name), )* }
            }

            /// One sentence without capital or full stop.
            pub const fn message(self) -> &'static str {
                match self { $( Self::$variant => $message, )* }
            }

            /// Whether the same request may succeed later, by Kafka's judgement.
            pub const fn is_retriable(self) -> bool {
                match self { $( Self::$variant => codes!(@ $kind), )* }
            }

            /// The code of a number; [`ErrorCode::UnknownServerError`] for one that Kafka 4.3 does not know.
            pub const fn from_code(code: i16) -> Self {
                match code {
                    $( $code => Self::$variant, )*
                    _ => Self::UnknownServerError,
                }
            }
        }
    };
    (@ retriable) => { true };
    (@ lasting) => { false };
}

codes! {
    -1 UnknownServerError UNKNOWN_SERVER_ERROR lasting "the server failed in a way it did not expect";
    #[default] 0 None NONE lasting "success";
    1 OffsetOutOfRange OFFSET_OUT_OF_RANGE lasting "the offset is outside the partition's log";
    2 CorruptMessage CORRUPT_MESSAGE retriable "the record batch is damaged: its checksum, size or contents are wrong";
    3 UnknownTopicOrPartition UNKNOWN_TOPIC_OR_PARTITION retriable "no such topic or partition here";
    4 InvalidFetchSize INVALID_FETCH_SIZE lasting "the number of bytes to fetch is not valid";
    5 LeaderNotAvailable LEADER_NOT_AVAILABLE retriable "the partition has no leader at the moment";
    6 NotLeaderOrFollower NOT_LEADER_OR_FOLLOWER retriable "this broker does not lead the partition, or holds no replica of it";
    7 RequestTimedOut REQUEST_TIMED_OUT retriable "the request was not finished within its time";
    8 BrokerNotAvailable BROKER_NOT_AVAILABLE lasting "the broker is not available";
    9 ReplicaNotAvailable REPLICA_NOT_AVAILABLE retriable "the replica is not available";
    10 MessageTooLarge MESSAGE_TOO_LARGE lasting "the record batch is larger than the topic's max.message.bytes";
    11 StaleControllerEpoch STALE_CONTROLLER_EPOCH lasting "the controller has moved to another broker";
    12 OffsetMetadataTooLarge OFFSET_METADATA_TOO_LARGE lasting "the metadata stored with a committed offset is too long";
    13 NetworkException NETWORK_EXCEPTION retriable "the connection closed before the response arrived";
    14 CoordinatorLoadInProgress COORDINATOR_LOAD_IN_PROGRESS retriable "the coordinator is still loading its state";
    15 CoordinatorNotAvailable COORDINATOR_NOT_AVAILABLE retriable "the coordinator is not available";
    16 NotCoordinator NOT_COORDINATOR retriable "this broker is not the coordinator";
    17 InvalidTopicException INVALID_TOPIC_EXCEPTION lasting "the topic's name is not valid, or it may not be used this way";
    18 RecordListTooLarge RECORD_LIST_TOO_LARGE lasting "the record batch is larger than a log segment may be";
    19 NotEnoughReplicas NOT_ENOUGH_REPLICAS retriable "fewer replicas are in sync than min.insync.replicas asks for";
    20 NotEnoughReplicasAfterAppend NOT_ENOUGH_REPLICAS_AFTER_APPEND retriable "the records were written, but to fewer in-sync replicas than required";
    21 InvalidRequiredAcks INVALID_REQUIRED_ACKS lasting "acks must be -1, 0 or 1";
    22 IllegalGeneration ILLEGAL_GENERATION lasting "the group has moved on to another generation";
    23 InconsistentGroupProtocol INCONSISTENT_GROUP_PROTOCOL lasting "the member shares no assignment protocol with the group";
    24 InvalidGroupId INVALID_GROUP_ID lasting "the group's id is not valid";
    25 UnknownMemberId UNKNOWN_MEMBER_ID lasting "the group has no such member";
    26 InvalidSessionTimeout INVALID_SESSION_TIMEOUT lasting "the session timeout is outside the broker's limits";
    27 RebalanceInProgress REBALANCE_IN_PROGRESS lasting "the group is rebalancing: join again";
    28 InvalidCommitOffsetSize INVALID_COMMIT_OFFSET_SIZE lasting "the offsets to commit are too large";
    29 TopicAuthorizationFailed TOPIC_AUTHORIZATION_FAILED lasting "not authorized for the topic";
    30 GroupAuthorizationFailed GROUP_AUTHORIZATION_FAILED lasting "not authorized for the group";
    31 ClusterAuthorizationFailed CLUSTER_AUTHORIZATION_FAILED lasting "not authorized for the cluster";
    32 InvalidTimestamp INVALID_TIMESTAMP lasting "the record's timestamp is outside the accepted range";
    33 UnsupportedSaslMechanism UNSUPPORTED_SASL_MECHANISM lasting "the SASL mechanism is not enabled here";
    34 IllegalSaslState ILLEGAL_SASL_STATE lasting "the request does not fit the state of the SASL exchange";
    35 UnsupportedVersion UNSUPPORTED_VERSION lasting "this version of the request is not supported";
    36 TopicAlreadyExists TOPIC_ALREADY_EXISTS lasting "a topic of this name exists";
    37 InvalidPartitions INVALID_PARTITIONS lasting "the number of partitions is not valid";
    38 InvalidReplicationFactor INVALID_REPLICATION_FACTOR lasting "the replication factor is below one or above the number of brokers";
    39 InvalidReplicaAssignment INVALID_REPLICA_ASSIGNMENT lasting "the assignment of replicas is not valid";
    40 InvalidConfig INVALID_CONFIG lasting "the configuration is not valid";
    41 NotController NOT_CONTROLLER retriable "this broker is not the controller";
    42 InvalidRequest INVALID_REQUEST lasting "the request is malformed or contradicts itself";
    43 UnsupportedForMessageFormat UNSUPPORTED_FOR_MESSAGE_FORMAT lasting "the format of the stored records does not allow this request";
    44 PolicyViolation POLICY_VIOLATION lasting "a policy of this cluster forbids the request";
    45 OutOfOrderSequenceNumber OUT_OF_ORDER_SEQUENCE_NUMBER lasting "the batch's sequence number does not follow the producer's last one";
    46 DuplicateSequenceNumber DUPLICATE_SEQUENCE_NUMBER lasting "the batch's sequence number was used before";
    47 InvalidProducerEpoch INVALID_PRODUCER_EPOCH lasting "the producer's epoch is older than the newest one";
    48 InvalidTxnState INVALID_TXN_STATE lasting "the transaction's state does not allow this operation";
    49 InvalidProducerIdMapping INVALID_PRODUCER_ID_MAPPING lasting "the producer id is not the one its transactional id has now";
    50 InvalidTransactionTimeout INVALID_TRANSACTION_TIMEOUT lasting "the transaction timeout is above transaction.max.timeout.ms";
    51 ConcurrentTransactions CONCURRENT_TRANSACTIONS retriable "another operation on the same transaction is under way";
    52 TransactionCoordinatorFenced TRANSACTION_COORDINATOR_FENCED lasting "a newer transaction coordinator has taken over";
    53 TransactionalIdAuthorizationFailed TRANSACTIONAL_ID_AUTHORIZATION_FAILED lasting "not authorized for the transactional id";
    54 SecurityDisabled SECURITY_DISABLED lasting "no authorizer is configured";
    55 OperationNotAttempted OPERATION_NOT_ATTEMPTED lasting "not tried, because another part of the request failed";
    56 KafkaStorageError KAFKA_STORAGE_ERROR retriable "the log's storage failed";
    57 LogDirNotFound LOG_DIR_NOT_FOUND lasting "the broker has no such log directory";
    58 SaslAuthenticationFailed SASL_AUTHENTICATION_FAILED lasting "authentication failed";
    59 UnknownProducerId UNKNOWN_PRODUCER_ID lasting "nothing is known of this producer any more: its records have expired";
    60 ReassignmentInProgress REASSIGNMENT_IN_PROGRESS lasting "the partition is being reassigned";
    61 DelegationTokenAuthDisabled DELEGATION_TOKEN_AUTH_DISABLED lasting "delegation tokens are not enabled";
    62 DelegationTokenNotFound DELEGATION_TOKEN_NOT_FOUND lasting "no such delegation token";
    63 DelegationTokenOwnerMismatch DELEGATION_TOKEN_OWNER_MISMATCH lasting "the principal neither owns nor renews the delegation token";
    64 DelegationTokenRequestNotAllowed DELEGATION_TOKEN_REQUEST_NOT_ALLOWED lasting "delegation tokens are not available on this kind of connection";
    65 DelegationTokenAuthorizationFailed DELEGATION_TOKEN_AUTHORIZATION_FAILED lasting "not authorized for the delegation token";
    66 DelegationTokenExpired DELEGATION_TOKEN_EXPIRED lasting "the delegation token has expired";
    67 InvalidPrincipalType INVALID_PRINCIPAL_TYPE lasting "the type of the principal is not supported";
    68 NonEmptyGroup NON_EMPTY_GROUP lasting "the group still has members";
    69 GroupIdNotFound GROUP_ID_NOT_FOUND lasting "no such group";
    70 FetchSessionIdNotFound FETCH_SESSION_ID_NOT_FOUND retriable "no such fetch session";
    71 InvalidFetchSessionEpoch INVALID_FETCH_SESSION_EPOCH retriable "the fetch session's epoch is not the next one";
    72 ListenerNotFound LISTENER_NOT_FOUND retriable "the leader has no listener of this name";
    73 TopicDeletionDisabled TOPIC_DELETION_DISABLED lasting "topics may not be deleted here";
    74 FencedLeaderEpoch FENCED_LEADER_EPOCH retriable "the request's leader epoch is older than the broker's";
    75 UnknownLeaderEpoch UNKNOWN_LEADER_EPOCH retriable "the request's leader epoch is newer than the broker's";
    76 UnsupportedCompressionType UNSUPPORTED_COMPRESSION_TYPE lasting "the client's version cannot carry this compression";
    77 StaleBrokerEpoch STALE_BROKER_EPOCH lasting "the broker's registration has a newer epoch";
    78 OffsetNotAvailable OFFSET_NOT_AVAILABLE retriable "the high watermark has not caught up with the last election yet";
    79 MemberIdRequired MEMBER_ID_REQUIRED lasting "join again with the member id given here";
    80 PreferredLeaderNotAvailable PREFERRED_LEADER_NOT_AVAILABLE retriable "the preferred leader is not available";
    81 GroupMaxSizeReached GROUP_MAX_SIZE_REACHED lasting "the group has as many members as it may have";
    82 FencedInstanceId FENCED_INSTANCE_ID lasting "another member uses the same group.instance.id now";
    83 EligibleLeadersNotAvailable ELIGIBLE_LEADERS_NOT_AVAILABLE retriable "no replica is eligible to lead";
    84 ElectionNotNeeded ELECTION_NOT_NEEDED retriable "the partition needs no election";
    85 NoReassignmentInProgress NO_REASSIGNMENT_IN_PROGRESS lasting "no reassignment is under way";
    86 GroupSubscribedToTopic GROUP_SUBSCRIBED_TO_TOPIC lasting "the group is subscribed to the topic";
    87 InvalidRecord INVALID_RECORD lasting "the record is not valid";
    88 UnstableOffsetCommit UNSTABLE_OFFSET_COMMIT retriable "the offset belongs to a transaction that has not ended";
    89 ThrottlingQuotaExceeded THROTTLING_QUOTA_EXCEEDED retriable "the quota is used up: wait, then try again";
    90 ProducerFenced PRODUCER_FENCED lasting "a newer producer with this transactional id has taken over";
    91 ResourceNotFound RESOURCE_NOT_FOUND lasting "no such resource";
    92 DuplicateResource DUPLICATE_RESOURCE lasting "the request names the same resource twice";
    93 UnacceptableCredential UNACCEPTABLE_CREDENTIAL lasting "the credential is not acceptable";
    94 InconsistentVoterSet INCONSISTENT_VOTER_SET lasting "sender or receiver is not one of the expected voters";
    95 InvalidUpdateVersion INVALID_UPDATE_VERSION lasting "the feature cannot change to this version";
    96 FeatureUpdateFailed FEATURE_UPDATE_FAILED lasting "the features could not be updated";
    97 PrincipalDeserializationFailure PRINCIPAL_DESERIALIZATION_FAILURE lasting "the forwarded principal could not be read";
    98 SnapshotNotFound SNAPSHOT_NOT_FOUND lasting "no such snapshot";
    99 PositionOutOfRange POSITION_OUT_OF_RANGE lasting "the position is outside the snapshot";
    100 UnknownTopicId UNKNOWN_TOPIC_ID retriable "no topic has this id here";
    101 DuplicateBrokerRegistration DUPLICATE_BROKER_REGISTRATION lasting "a broker with this id is registered and alive";
    102 BrokerIdNotRegistered BROKER_ID_NOT_REGISTERED lasting "no broker with this id is registered";
    103 InconsistentTopicId INCONSISTENT_TOPIC_ID retriable "the topic's id is another one here";
    104 InconsistentClusterId INCONSISTENT_CLUSTER_ID lasting "the request is meant for another cluster";
    105 TransactionalIdNotFound TRANSACTIONAL_ID_NOT_FOUND lasting "no such transactional id";
    106 FetchSessionTopicIdError FETCH_SESSION_TOPIC_ID_ERROR retriable "the fetch session mixes topic names and ids";
    107 IneligibleReplica INELIGIBLE_REPLICA lasting "a replica of the proposed in-sync set is not eligible";
    108 NewLeaderElected NEW_LEADER_ELECTED lasting "the change was made, and the partition has a new leader";
    109 OffsetMovedToTieredStorage OFFSET_MOVED_TO_TIERED_STORAGE lasting "the offset has moved to tiered storage";
    110 FencedMemberEpoch FENCED_MEMBER_EPOCH lasting "the member's epoch is fenced: give up all partitions and join again";
    111 UnreleasedInstanceId UNRELEASED_INSTANCE_ID lasting "the instance id is still in use";
    112 UnsupportedAssignor UNSUPPORTED_ASSIGNOR lasting "the group's protocol lacks this assignor";
    113 StaleMemberEpoch STALE_MEMBER_EPOCH lasting "the member's epoch is out of date";
    114 MismatchedEndpointType MISMATCHED_ENDPOINT_TYPE lasting "the request went to the wrong type of endpoint";
    115 UnsupportedEndpointType UNSUPPORTED_ENDPOINT_TYPE lasting "this type of endpoint is not supported";
    116 UnknownControllerId UNKNOWN_CONTROLLER_ID lasting "no controller has this id";
    117 UnknownSubscriptionId UNKNOWN_SUBSCRIPTION_ID lasting "the telemetry subscription is unknown or out of date";
    118 TelemetryTooLarge TELEMETRY_TOO_LARGE lasting "the telemetry is larger than the broker accepts";
    119 InvalidRegistration INVALID_REGISTRATION lasting "the broker's registration is not valid";
    120 TransactionAbortable TRANSACTION_ABORTABLE lasting "the transaction must be aborted; its id may then be used again";
    121 InvalidRecordState INVALID_RECORD_STATE lasting "the record's state does not allow this acknowledgement";
    122 ShareSessionNotFound SHARE_SESSION_NOT_FOUND retriable "no such share session";
    123 InvalidShareSessionEpoch INVALID_SHARE_SESSION_EPOCH retriable "the share session's epoch is not the next one";
    124 FencedStateEpoch FENCED_STATE_EPOCH lasting "the share group's state has a newer epoch";
    125 InvalidVoterKey INVALID_VOTER_KEY lasting "the voter's key is not this replica's";
    126 DuplicateVoter DUPLICATE_VOTER lasting "the voter is one already";
    127 VoterNotFound VOTER_NOT_FOUND lasting "no such voter";
    128 InvalidRegularExpression INVALID_REGULAR_EXPRESSION lasting "the regular expression is not valid";
    129 RebootstrapRequired REBOOTSTRAP_REQUIRED lasting "the client's metadata is too old: bootstrap again";
    130 StreamsInvalidTopology STREAMS_INVALID_TOPOLOGY lasting "the topology is not valid";
    131 StreamsInvalidTopologyEpoch STREAMS_INVALID_TOPOLOGY_EPOCH lasting "the topology's epoch is not valid";
    132 StreamsTopologyFenced STREAMS_TOPOLOGY_FENCED lasting "the topology's epoch is out of date";
    133 ShareSessionLimitReached SHARE_SESSION_LIMIT_REACHED retriable "there are as many share sessions as there may be";
}

impl ErrorCode {
    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Whether this is [`ErrorCode::None`].
    pub const fn is_none(self) -> bool {
        matches!(self, Self::None)
    }
}

impl From<ErrorCode> for i16 {
    fn from(code: ErrorCode) -> Self {
        code.code()
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}): {}", self.name(), self.code(), self.message())
    }
}

impl std::error::Error for ErrorCode {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip() {
        for code in -1..=133 {
            assert_eq!(ErrorCode::from_code(code).code(), code);
        }
        assert_eq!(ErrorCode::from_code(134), ErrorCode::UnknownServerError);
        assert_eq!(ErrorCode::from_code(-2), ErrorCode::UnknownServerError);
        assert_eq!(ErrorCode::default(), ErrorCode::None);
    }

    #[test]
    fn names_and_retries_are_kafkas() {
        assert_eq!(
            ErrorCode::UnknownTopicOrPartition.name(),
            "UNKNOWN_TOPIC_OR_PARTITION"
        );
        assert!(ErrorCode::UnknownTopicOrPartition.is_retriable());
        assert!(!ErrorCode::InvalidRecord.is_retriable());
        assert_eq!(
            (-1..=133)
                .filter(|&code| ErrorCode::from_code(code).is_retriable())
                .count(),
            RETRIABLE
        );
    }

    const RETRIABLE: usize = 32;
}
