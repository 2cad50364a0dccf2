//! ListOffsets, OffsetForLeaderEpoch and DeleteRecords: what they ask of a partition, and their responses. Pure.

use std::collections::HashSet;

use ringlog_engine::producers::ActiveProducer;
use ringlog_engine::shard::Isolation;

use crate::core::mail::{PartitionKey, Place};
use crate::handlers::fetch::{check_epoch, isolation};
use crate::metadata::image::MetadataImage;
use crate::wire::code::ErrorCode;
use crate::wire::delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use crate::wire::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use crate::wire::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};

/// What is asked of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The first record at or after this time, of those that consumers of this isolation see.
    Time(i64, Isolation),
    /// The end of what they see.
    Latest(Isolation),
    /// The first offset.
    Earliest,
    /// The record with the largest timestamp, of those that consumers of this isolation see.
    LargestTime(Isolation),
    /// Where this epoch, or the largest one before it, ended.
    EpochEnd(i32),
    /// Delete what is before this offset; -1 for the high watermark.
    DeleteBefore(i64),
    /// Bytes on disk.
    Size,
    /// The producers it remembers.
    Producers,
}

/// What an owner answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A timestamp and an offset, each -1 for none.
    Offset {
        /// Milliseconds since 1970.
        timestamp_ms: i64,
        /// The offset.
        offset: i64,
        /// The epoch the offset was written in, -1 when unknown.
        leader_epoch: i32,
    },
    /// An epoch and its end offset, each -1 for none.
    Epoch(i32, i64),
    /// The log's first offset now.
    LogStart(i64),
    /// Bytes on disk.
    Size(u64),
    /// Producers, by id.
    Producers(Vec<ActiveProducer>),
    /// It could not be done.
    Failed(ErrorCode),
}

/// The questions a request comes to; what needs no question is in its response already.
#[derive(Debug)]
pub struct Asked<R> {
    /// The response, complete but for the questions.
    pub response: R,
    /// One for each partition that is there.
    pub questions: Vec<(Place, PartitionKey, Question)>,
}

/// Special timestamps of ListOffsets and the version that introduced each.
const SPECIAL: [(i64, i16, Special); 6] = [
    (-1, 1, Special::Latest),
    (-2, 1, Special::Earliest),
    (-3, 7, Special::LargestTime),
    (-4, 8, Special::Earliest),
    // The latest tiered and the earliest not yet tiered offset: there is no tiered storage.
    (-5, 9, Special::Nothing),
    (-6, 11, Special::Nothing),
];

#[derive(Clone, Copy)]
enum Special {
    Latest,
    Earliest,
    LargestTime,
    Nothing,
}

/// Finds a partition by its topic's name and checks the epoch its client believes in.
fn find(image: &MetadataImage, topic: &str, index: i32, epoch: i32) -> Result<PartitionKey, ErrorCode> {
    let topic = image.topic(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let partition = topic
        .partitions
        .get(&index)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    check_epoch(epoch, partition.leader_epoch)?;
    Ok(PartitionKey {
        topic_id: topic.id,
        index,
    })
}

/// ListOffsets.
pub fn list(request: &ListOffsetsRequest, version: i16, image: &MetadataImage) -> Asked<ListOffsetsResponse> {
    let mut asked = Asked {
        response: ListOffsetsResponse::default(),
        questions: Vec::new(),
    };
    let isolation = isolation(request.isolation_level);
    let mut seen = HashSet::new();
    let mut twice = HashSet::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            let key = (topic.name.as_str(), partition.partition_index);
            if !seen.insert(key) {
                twice.insert(key);
            }
        }
    }
    for (at, topic) in request.topics.iter().enumerate() {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for (within, partition) in topic.partitions.iter().enumerate() {
            let index = partition.partition_index;
            let mut answer = ListOffsetsPartitionResponse {
                partition_index: index,
                ..Default::default()
            };
            let found = match twice.contains(&(topic.name.as_str(), index)) {
                true => Err(ErrorCode::InvalidRequest),
                false => question(partition.timestamp, version, isolation).and_then(|question| {
                    let key = find(image, &topic.name, index, partition.current_leader_epoch)?;
                    Ok(question.map(|question| (key, question)))
                }),
            };
            match found {
                Ok(Some((key, question))) => {
                    asked.questions.push(((at as u32, within as u32), key, question))
                }
                Ok(None) => {}
                Err(code) => answer.error_code = code.code(),
            }
            partitions.push(answer);
        }
        asked.response.topics.push(ListOffsetsTopicResponse {
            name: topic.name.clone(),
            partitions,
        });
    }
    asked
}

/// What a timestamp asks for; nothing when the answer is always -1.
fn question(timestamp_ms: i64, version: i16, isolation: Isolation) -> Result<Option<Question>, ErrorCode> {
    if timestamp_ms >= 0 {
        return Ok(Some(Question::Time(timestamp_ms, isolation)));
    }
    match SPECIAL.iter().find(|(special, _, _)| *special == timestamp_ms) {
        Some((_, from, _)) if version < *from => Err(ErrorCode::UnsupportedVersion),
        Some((_, _, Special::Latest)) => Ok(Some(Question::Latest(isolation))),
        Some((_, _, Special::Earliest)) => Ok(Some(Question::Earliest)),
        Some((_, _, Special::LargestTime)) => Ok(Some(Question::LargestTime(isolation))),
        Some((_, _, Special::Nothing)) => Ok(None),
        // A special one of a version to come.
        None => Err(ErrorCode::UnsupportedVersion),
    }
}

/// Puts an owner's answer into a ListOffsets response.
pub fn settle_list(response: &mut ListOffsetsResponse, place: Place, told: Told) {
    let topic = response.topics.get_mut(place.0 as usize);
    let Some(answer) = topic.and_then(|topic| topic.partitions.get_mut(place.1 as usize)) else {
        return;
    };
    match told {
        Told::Offset {
            timestamp_ms,
            offset,
            leader_epoch,
        } => {
            answer.timestamp = timestamp_ms;
            answer.offset = offset;
            answer.leader_epoch = leader_epoch;
        }
        Told::Failed(code) => answer.error_code = code.code(),
        _ => answer.error_code = ErrorCode::UnknownServerError.code(),
    }
}

/// OffsetForLeaderEpoch.
pub fn epochs(
    request: &OffsetForLeaderEpochRequest,
    image: &MetadataImage,
) -> Asked<OffsetForLeaderEpochResponse> {
    let mut asked = Asked {
        response: OffsetForLeaderEpochResponse::default(),
        questions: Vec::new(),
    };
    for (at, topic) in request.topics.iter().enumerate() {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for (within, partition) in topic.partitions.iter().enumerate() {
            let mut answer = EpochEndOffset {
                partition: partition.partition,
                ..Default::default()
            };
            match find(
                image,
                &topic.topic,
                partition.partition,
                partition.current_leader_epoch,
            ) {
                Ok(key) => {
                    let question = Question::EpochEnd(partition.leader_epoch);
                    asked.questions.push(((at as u32, within as u32), key, question));
                }
                Err(code) => answer.error_code = code.code(),
            }
            partitions.push(answer);
        }
        asked.response.topics.push(OffsetForLeaderTopicResult {
            topic: topic.topic.clone(),
            partitions,
        });
    }
    asked
}

/// Puts an owner's answer into an OffsetForLeaderEpoch response.
pub fn settle_epochs(response: &mut OffsetForLeaderEpochResponse, place: Place, told: Told) {
    let topic = response.topics.get_mut(place.0 as usize);
    let Some(answer) = topic.and_then(|topic| topic.partitions.get_mut(place.1 as usize)) else {
        return;
    };
    match told {
        Told::Epoch(epoch, end_offset) => {
            answer.leader_epoch = epoch;
            answer.end_offset = end_offset;
        }
        Told::Failed(code) => answer.error_code = code.code(),
        _ => answer.error_code = ErrorCode::UnknownServerError.code(),
    }
}

/// DeleteRecords. Internal topics and topics that are only compacted are not deleted from by offset, as in Kafka.
pub fn delete(
    request: &DeleteRecordsRequest,
    image: &MetadataImage,
    deletable: impl Fn(&str) -> bool,
) -> Asked<DeleteRecordsResponse> {
    let mut asked = Asked {
        response: DeleteRecordsResponse::default(),
        questions: Vec::new(),
    };
    for (at, topic) in request.topics.iter().enumerate() {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for (within, partition) in topic.partitions.iter().enumerate() {
            let index = partition.partition_index;
            let mut answer = DeleteRecordsPartitionResult {
                partition_index: index,
                low_watermark: -1,
                ..Default::default()
            };
            let found = find(image, &topic.name, index, -1).and_then(|key| match deletable(&topic.name) {
                true => Ok(key),
                false => Err(ErrorCode::PolicyViolation),
            });
            match found {
                Ok(key) => {
                    let question = Question::DeleteBefore(partition.offset);
                    asked.questions.push(((at as u32, within as u32), key, question));
                }
                Err(code) => answer.error_code = code.code(),
            }
            partitions.push(answer);
        }
        asked.response.topics.push(DeleteRecordsTopicResult {
            name: topic.name.clone(),
            partitions,
        });
    }
    asked
}

/// Puts an owner's answer into a DeleteRecords response.
pub fn settle_delete(response: &mut DeleteRecordsResponse, place: Place, told: Told) {
    let topic = response.topics.get_mut(place.0 as usize);
    let Some(answer) = topic.and_then(|topic| topic.partitions.get_mut(place.1 as usize)) else {
        return;
    };
    match told {
        Told::LogStart(offset) => answer.low_watermark = offset,
        Told::Failed(code) => answer.error_code = code.code(),
        _ => answer.error_code = ErrorCode::UnknownServerError.code(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_timestamps_have_their_versions() {
        let cases = [
            (5, 1, Ok(Some(Question::Time(5, Isolation::Committed)))),
            (-1, 1, Ok(Some(Question::Latest(Isolation::Committed)))),
            (-2, 1, Ok(Some(Question::Earliest))),
            (-3, 6, Err(ErrorCode::UnsupportedVersion)),
            (-3, 7, Ok(Some(Question::LargestTime(Isolation::Committed)))),
            (-4, 7, Err(ErrorCode::UnsupportedVersion)),
            (-4, 8, Ok(Some(Question::Earliest))),
            (-5, 8, Err(ErrorCode::UnsupportedVersion)),
            (-5, 9, Ok(None)),
            (-6, 10, Err(ErrorCode::UnsupportedVersion)),
            (-6, 11, Ok(None)),
            (-7, 11, Err(ErrorCode::UnsupportedVersion)),
            (i64::MIN, 1, Err(ErrorCode::UnsupportedVersion)),
        ];
        for (timestamp, version, expected) in cases {
            assert_eq!(
                question(timestamp, version, Isolation::Committed),
                expected,
                "{timestamp} in version {version}"
            );
        }
    }
}
