//! DescribeLogDirs: the one data directory, its space, and the partitions in it. Pure but for the directory's
//! space, which the caller asks the system for.

use crate::core::mail::{PartitionKey, Place};
use crate::handlers::offsets::{Asked, Question, Told};
use crate::metadata::image::{MetadataImage, Topic};
use crate::wire::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeLogDirsResult,
    DescribeLogDirsTopic,
};

/// The data directory.
#[derive(Clone, Debug)]
pub struct Directory {
    /// Its absolute path.
    pub path: String,
    /// Size of its file system, -1 when unknown.
    pub total_bytes: i64,
    /// What of it is free for this process, -1 when unknown.
    pub usable_bytes: i64,
}

/// Asks for the sizes of the partitions wanted: all, or those the request names that are there.
pub fn describe(
    request: &DescribeLogDirsRequest,
    image: &MetadataImage,
    directory: Directory,
) -> Asked<DescribeLogDirsResponse> {
    let mut wanted: Vec<(&Topic, Vec<i32>)> = Vec::new();
    match &request.topics {
        None => wanted.extend(
            image
                .topics()
                .map(|topic| (topic, topic.partitions.iter().map(|(i, _)| *i).collect())),
        ),
        Some(topics) => {
            for named in topics {
                let Some(topic) = image.topic(&named.topic) else {
                    continue;
                };
                let there = named
                    .partitions
                    .iter()
                    .copied()
                    .filter(|index| topic.partitions.contains_key(index));
                wanted.push((topic, there.collect()));
            }
        }
    }
    let mut questions = Vec::new();
    let mut topics = Vec::with_capacity(wanted.len());
    for (at, (topic, indexes)) in wanted.into_iter().enumerate() {
        let mut partitions = Vec::with_capacity(indexes.len());
        for (within, index) in indexes.into_iter().enumerate() {
            let key = PartitionKey {
                topic_id: topic.id,
                index,
            };
            questions.push(((at as u32, within as u32), key, Question::Size));
            partitions.push(DescribeLogDirsPartition {
                partition_index: index,
                ..Default::default()
            });
        }
        topics.push(DescribeLogDirsTopic {
            name: topic.name.to_string(),
            partitions,
        });
    }
    let Directory {
        path: log_dir,
        total_bytes,
        usable_bytes,
    } = directory;
    let result = DescribeLogDirsResult {
        log_dir,
        topics,
        total_bytes,
        usable_bytes,
        ..Default::default()
    };
    Asked {
        response: DescribeLogDirsResponse {
            results: vec![result],
            ..Default::default()
        },
        questions,
    }
}

/// Puts an owner's answer into the response. A partition that is just being opened or closed has no size.
pub fn settle(response: &mut DescribeLogDirsResponse, place: Place, told: Told) {
    let topic = response
        .results
        .first_mut()
        .and_then(|result| result.topics.get_mut(place.0 as usize));
    let Some(answer) = topic.and_then(|topic| topic.partitions.get_mut(place.1 as usize)) else {
        return;
    };
    if let Told::Size(bytes) = told {
        answer.partition_size = bytes as i64;
    }
}
