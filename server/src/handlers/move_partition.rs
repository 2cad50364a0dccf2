//! RinglogMovePartition: which partition goes where, or why not. Pure.

use std::sync::Arc;

use crate::core::mail::PartitionKey;
use crate::core::relocate::Relocation;
use crate::metadata::controller::names;
use crate::metadata::image::MetadataImage;
use crate::metadata::source::LOG_TOPIC;
use crate::placement::Placement;
use crate::wire::ErrorCode;
use crate::wire::move_partition::{RinglogMovePartitionRequest, RinglogMovePartitionResponse};

/// What there is to do: nothing where the partition is at that core already.
///
/// # Errors
/// The response to a request that names what is not there or may not move.
pub fn handle(
    request: &RinglogMovePartitionRequest,
    image: &MetadataImage,
    placement: &Placement,
) -> Result<Option<Relocation>, RinglogMovePartitionResponse> {
    let RinglogMovePartitionRequest {
        topic: name,
        partition_index: index,
        core,
    } = request;
    if name == LOG_TOPIC || names::is_internal(name) {
        let why = format!("{name} belongs to the broker itself: its partitions stay where they are");
        return Err(refused(ErrorCode::InvalidRequest, why));
    }
    let cores = placement.counts().len();
    let to = usize::try_from(*core).ok().filter(|core| *core < cores);
    let Some(to) = to else {
        let why = format!("core {core} is not one of this broker's {cores}, which are numbered from 0");
        return Err(refused(ErrorCode::InvalidRequest, why));
    };
    let found = image
        .topic(name)
        .filter(|topic| topic.partitions.contains_key(index));
    let Some(topic) = found else {
        let why = match image.topic(name) {
            None => format!("there is no topic {name:?}"),
            Some(topic) => format!(
                "topic {name:?} has {} partitions and none {index}",
                topic.partitions.len()
            ),
        };
        return Err(refused(ErrorCode::UnknownTopicOrPartition, why));
    };
    let key = PartitionKey {
        topic_id: topic.id,
        index: *index,
    };
    let from = placement.owner(&key);
    let topic: Arc<str> = topic.name.clone();
    Ok((from != to).then_some(Relocation { key, topic, from, to }))
}

/// The answer once the partition is where it was to go, or stays for this reason.
pub fn done(result: Result<(), String>) -> RinglogMovePartitionResponse {
    match result {
        Ok(()) => RinglogMovePartitionResponse::default(),
        Err(why) => refused(
            ErrorCode::KafkaStorageError,
            format!("the partition stays where it was: {why}"),
        ),
    }
}

/// The answer for a partition that is at that core: no error, and a message that says so.
pub fn already_there(request: &RinglogMovePartitionRequest) -> RinglogMovePartitionResponse {
    let RinglogMovePartitionRequest {
        topic,
        partition_index,
        core,
    } = request;
    refused(
        ErrorCode::None,
        format!("partition {partition_index} of {topic:?} is on core {core} already"),
    )
}

fn refused(code: ErrorCode, message: String) -> RinglogMovePartitionResponse {
    RinglogMovePartitionResponse {
        error_code: code.into(),
        error_message: Some(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::controller::testing::{id_of, image, topic};

    fn asked(topic: &str, partition_index: i32, core: i32) -> RinglogMovePartitionRequest {
        RinglogMovePartitionRequest {
            topic: topic.to_owned(),
            partition_index,
            core,
        }
    }

    #[test]
    fn a_partition_goes_from_its_owner_to_the_core_named() {
        let image = image(&topic("a", 2));
        let mut placement = Placement::new(3);
        let topic_id = id_of("a");
        placement.put(PartitionKey { topic_id, index: 0 }, 2);
        placement.put(PartitionKey { topic_id, index: 1 }, 1);
        let way = |index, core| {
            let found = handle(&asked("a", index, core), &image, &placement).expect("fine");
            found.map(|r| (r.key.index, r.from, r.to))
        };
        assert_eq!(way(0, 0), Some((0, 2, 0)));
        assert_eq!(way(1, 2), Some((1, 1, 2)));
        assert_eq!((way(0, 2), way(1, 1)), (None, None), "there already");
    }

    #[test]
    fn what_is_not_there_or_may_not_move_is_refused() {
        let image = image(&topic("a", 2));
        let placement = Placement::new(2);
        let (unknown, invalid) = (ErrorCode::UnknownTopicOrPartition, ErrorCode::InvalidRequest);
        for (request, code) in [
            (asked("b", 0, 0), unknown),
            (asked("a", 2, 0), unknown),
            (asked("a", -1, 0), unknown),
            (asked("a", i32::MIN, 0), unknown),
            (asked("", 0, 0), unknown),
            (asked("a", 0, 2), invalid),
            (asked("a", 0, -1), invalid),
            (asked("a", 0, i32::MAX), invalid),
            (asked("__cluster_metadata", 0, 1), invalid),
            (asked("__consumer_offsets", 0, 1), invalid),
        ] {
            let refused = handle(&request, &image, &placement).expect_err("refused");
            assert_eq!(refused.error_code, code.code(), "{request:?}");
            assert!(refused.error_message.is_some_and(|why| why.len() > 10));
        }
    }
}
