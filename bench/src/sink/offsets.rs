//! ListOffsets, versions 1 to 8, and DeleteRecords, versions 0 to 2.

use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{
    DeleteRecordsRequest, DeleteRecordsResponse, ListOffsetsRequest, ListOffsetsResponse,
};

use super::topics::{UNKNOWN_TOPIC_OR_PARTITION, View};
use super::{Shared, lock};

const OFFSET_OUT_OF_RANGE: i16 = 1;

/// The timestamp that asks for the end of the log.
const LATEST: i64 = -1;
/// The timestamp that asks for its start.
const EARLIEST: i64 = -2;
/// The timestamp that asks for the record with the newest one.
const MAX_TIMESTAMP: i64 = -3;
/// Remote storage, of which there is none: its start is that of the log.
const EARLIEST_LOCAL: i64 = -4;

/// Answers by timestamp: earliest, latest, or the first batch of that time; -1 where there is none.
pub(super) fn list(shared: &Shared, request: &ListOffsetsRequest) -> ListOffsetsResponse {
    let topics = shared.topics.read();
    let answers = request.topics.iter().map(|topic| {
        let asked = topic.partitions.iter();
        ListOffsetsTopicResponse::default()
            .with_name(topic.name.clone())
            .with_partitions(asked.map(|asked| one(&topics, &topic.name, asked)).collect())
    });
    ListOffsetsResponse::default().with_topics(answers.collect())
}

/// Deletes what is asked for, partition by partition.
pub(super) fn delete_records(shared: &Shared, request: &DeleteRecordsRequest) -> DeleteRecordsResponse {
    let topics = shared.topics.read();
    let answers = request.topics.iter().map(|topic| {
        let asked = topic.partitions.iter().map(|asked| {
            let deleted = match topics.partition(&topic.name, asked.partition_index) {
                Some(partition) => lock(partition)
                    .delete_below(asked.offset)
                    .map_err(|_| OFFSET_OUT_OF_RANGE),
                None => Err(UNKNOWN_TOPIC_OR_PARTITION),
            };
            DeleteRecordsPartitionResult::default()
                .with_partition_index(asked.partition_index)
                .with_low_watermark(deleted.unwrap_or(-1))
                .with_error_code(deleted.err().unwrap_or(0))
        });
        DeleteRecordsTopicResult::default()
            .with_name(topic.name.clone())
            .with_partitions(asked.collect())
    });
    DeleteRecordsResponse::default().with_topics(answers.collect())
}

fn one(topics: &View, topic: &str, asked: &ListOffsetsPartition) -> ListOffsetsPartitionResponse {
    let answer = ListOffsetsPartitionResponse::default()
        .with_partition_index(asked.partition_index)
        .with_timestamp(-1)
        .with_offset(-1);
    let Some(partition) = topics.partition(topic, asked.partition_index) else {
        return answer.with_error_code(UNKNOWN_TOPIC_OR_PARTITION);
    };
    let log = lock(partition);
    let found = match asked.timestamp {
        LATEST => Some((log.high_watermark(), -1)),
        EARLIEST | EARLIEST_LOCAL => Some((log.start(), -1)),
        MAX_TIMESTAMP => None,
        timestamp_ms => log.find_time(timestamp_ms),
    };
    match found {
        Some((offset, timestamp_ms)) => answer.with_offset(offset).with_timestamp(timestamp_ms),
        None => answer,
    }
}
