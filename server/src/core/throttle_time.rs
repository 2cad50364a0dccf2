//! The throttle time in a response that is encoded already: whoever answers a request need not know of quotas.

use super::calls::ReplyTo;
use crate::wire::api_versions::ApiVersionsResponse;
use crate::wire::{Api, ApiKey, Decoder};

/// The throttle time a response frame tells, in milliseconds; 0 where it has no such field.
pub fn of(to: ReplyTo, frame: &mut [u8]) -> i32 {
    field(to, frame).map_or(0, |field| i32::from_be_bytes(*field))
}

/// Writes the throttle time into a response frame. A version that has no such field stays as it is.
pub fn tell(to: ReplyTo, frame: &mut Vec<u8>, time_ms: i32) {
    if to.api_key == ApiKey::ApiVersions {
        *frame = retold(to, frame, time_ms);
    } else if let Some(field) = field(to, frame) {
        *field = time_ms.to_be_bytes();
    }
}

/// ApiVersions has its throttle time in the middle: the whole answer is written again.
fn retold(to: ReplyTo, frame: &[u8], time_ms: i32) -> Vec<u8> {
    let body = bytes::Bytes::copy_from_slice(frame.get(HEADER_BYTES..).unwrap_or_default());
    match ApiVersionsResponse::decode(&mut Decoder::new(&body), to.version) {
        Ok(response) => to.encode(&ApiVersionsResponse {
            throttle_time_ms: time_ms,
            ..response
        }),
        Err(_) => frame.to_vec(),
    }
}

/// Length and correlation id.
const HEADER_BYTES: usize = 8;

/// Where the throttle time lies in a response: in all but a few it is the first field. `None` where this version has none.
fn field(to: ReplyTo, frame: &mut [u8]) -> Option<&mut [u8; 4]> {
    let (from_version, before) = match to.api_key {
        ApiKey::ApiVersions | ApiKey::Produce | ApiKey::WriteTxnMarkers | ApiKey::DescribeQuorum => {
            return None;
        }
        ApiKey::RinglogDescribeCores | ApiKey::RinglogMovePartition => return None,
        // After its error code.
        ApiKey::OffsetDelete => (0, 2),
        ApiKey::Metadata | ApiKey::OffsetCommit | ApiKey::OffsetFetch => (3, 0),
        ApiKey::JoinGroup | ApiKey::ListOffsets | ApiKey::OffsetForLeaderEpoch => (2, 0),
        ApiKey::SyncGroup
        | ApiKey::Heartbeat
        | ApiKey::LeaveGroup
        | ApiKey::DescribeGroups
        | ApiKey::ListGroups
        | ApiKey::FindCoordinator => (1, 0),
        _ => (0, 0),
    };
    if to.version < from_version {
        return None;
    }
    let is_flexible = Api::find(to.api_key).is_some_and(|api| api.response_header(to.version) >= 1);
    let at = HEADER_BYTES + usize::from(is_flexible) + before;
    frame.get_mut(at..at + 4)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use ringlog_engine::io::ConnId;

    use super::*;
    use crate::wire::*;

    const TIME_MS: i32 = 0x0102_0304;

    fn reply(api_key: ApiKey, version: i16) -> ReplyTo {
        ReplyTo {
            core: 0,
            conn: ConnId(0),
            serial: 0,
            number: 0,
            api_key,
            version,
            correlation_id: 7,
        }
    }

    /// Checks each version of the responses that carry the time at all; gives how many requests these are.
    macro_rules! check {
        ($($name:ident $module:ident $response:ident,)*) => {{
            $(
                for version in schema::versions::<$module::$response>() {
                    let reply = reply(ApiKey::$name, version);
                    let with = |throttle_time_ms| reply.encode(&$module::$response {
                        throttle_time_ms,
                        ..Default::default()
                    });
                    let mut frame = with(0);
                    tell(reply, &mut frame, TIME_MS);
                    assert_eq!(frame, with(TIME_MS), "{} v{version}", stringify!($name));
                    if ApiKey::$name != ApiKey::ApiVersions {
                        let told = if frame == with(0) { 0 } else { TIME_MS };
                        assert_eq!(of(reply, &mut frame), told);
                    }
                }
            )*
            [$(stringify!($name),)*].len()
        }};
    }

    #[test]
    fn the_time_is_told_where_each_version_has_it() {
        let checked = check! {
            ListOffsets list_offsets ListOffsetsResponse,
            Metadata metadata MetadataResponse,
            OffsetCommit offset_commit OffsetCommitResponse,
            OffsetFetch offset_fetch OffsetFetchResponse,
            FindCoordinator find_coordinator FindCoordinatorResponse,
            JoinGroup join_group JoinGroupResponse,
            Heartbeat heartbeat HeartbeatResponse,
            LeaveGroup leave_group LeaveGroupResponse,
            SyncGroup sync_group SyncGroupResponse,
            DescribeGroups describe_groups DescribeGroupsResponse,
            ListGroups list_groups ListGroupsResponse,
            ApiVersions api_versions ApiVersionsResponse,
            CreateTopics create_topics CreateTopicsResponse,
            DeleteTopics delete_topics DeleteTopicsResponse,
            DeleteRecords delete_records DeleteRecordsResponse,
            InitProducerId init_producer_id InitProducerIdResponse,
            OffsetForLeaderEpoch offset_for_leader_epoch OffsetForLeaderEpochResponse,
            AddPartitionsToTxn add_partitions_to_txn AddPartitionsToTxnResponse,
            AddOffsetsToTxn add_offsets_to_txn AddOffsetsToTxnResponse,
            EndTxn end_txn EndTxnResponse,
            TxnOffsetCommit txn_offset_commit TxnOffsetCommitResponse,
            DescribeConfigs describe_configs DescribeConfigsResponse,
            AlterConfigs alter_configs AlterConfigsResponse,
            AlterReplicaLogDirs alter_replica_log_dirs AlterReplicaLogDirsResponse,
            DescribeLogDirs describe_log_dirs DescribeLogDirsResponse,
            CreatePartitions create_partitions CreatePartitionsResponse,
            DeleteGroups delete_groups DeleteGroupsResponse,
            ElectLeaders elect_leaders ElectLeadersResponse,
            IncrementalAlterConfigs incremental_alter_configs IncrementalAlterConfigsResponse,
            AlterPartitionReassignments alter_partition_reassignments AlterPartitionReassignmentsResponse,
            ListPartitionReassignments list_partition_reassignments ListPartitionReassignmentsResponse,
            OffsetDelete offset_delete OffsetDeleteResponse,
            DescribeClientQuotas describe_client_quotas DescribeClientQuotasResponse,
            AlterClientQuotas alter_client_quotas AlterClientQuotasResponse,
            DescribeUserScramCredentials describe_user_scram_credentials DescribeUserScramCredentialsResponse,
            UpdateFeatures update_features UpdateFeaturesResponse,
            DescribeCluster describe_cluster DescribeClusterResponse,
            DescribeProducers describe_producers DescribeProducersResponse,
            DescribeTransactions describe_transactions DescribeTransactionsResponse,
            ListTransactions list_transactions ListTransactionsResponse,
            ConsumerGroupHeartbeat consumer_group_heartbeat ConsumerGroupHeartbeatResponse,
            ConsumerGroupDescribe consumer_group_describe ConsumerGroupDescribeResponse,
            ListConfigResources list_config_resources ListConfigResourcesResponse,
            DescribeTopicPartitions describe_topic_partitions DescribeTopicPartitionsResponse,
        };
        // Produce and Fetch are told before they are encoded; WriteTxnMarkers, DescribeQuorum and our own have no such field.
        assert_eq!(checked + 2 + 2 + 2, api::TABLE.len());
    }

    #[test]
    fn what_has_no_field_and_what_is_cut_short_stays_as_it_is() {
        for key in [
            ApiKey::DescribeQuorum,
            ApiKey::WriteTxnMarkers,
            ApiKey::RinglogDescribeCores,
        ] {
            let mut frame = vec![0; 30];
            tell(reply(key, 0), &mut frame, TIME_MS);
            assert_eq!((frame.clone(), of(reply(key, 0), &mut frame)), (vec![0; 30], 0));
        }
        let mut short = vec![0; 9];
        tell(reply(ApiKey::InitProducerId, 0), &mut short, TIME_MS);
        assert_eq!(short, [0; 9]);
    }
}
