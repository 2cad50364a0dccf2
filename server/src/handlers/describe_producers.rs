//! DescribeProducers: the producers that each partition remembers (KIP-664). Pure.

use std::collections::HashSet;

use ringlog_engine::producers::{ActiveProducer, ProducerStates};

use crate::core::mail::{PartitionKey, Place};
use crate::handlers::offsets::{Asked, Question, Told};
use crate::metadata::controller::{Refusal, names};
use crate::metadata::image::MetadataImage;
use crate::wire::code::ErrorCode;
use crate::wire::describe_producers::*;

/// The most producers one core tells in answer to a request: eight partitions full of them, or some 10 MiB.
pub const MAX_TOLD: usize = 8 * ringlog_engine::producers::MAX_PRODUCERS;

/// Asks for the producers of the partitions named. One that is named again is not asked again: its answer may be far larger than its name.
pub fn describe(
    request: &DescribeProducersRequest,
    image: &MetadataImage,
) -> Asked<DescribeProducersResponse> {
    let mut asked = Asked {
        response: DescribeProducersResponse::default(),
        questions: Vec::new(),
    };
    let mut seen = HashSet::new();
    for (at, wanted) in request.topics.iter().enumerate() {
        let topic = names::check(&wanted.name).and_then(|()| {
            let topic = image.topic(&wanted.name);
            topic.ok_or_else(|| Refusal::from(ErrorCode::UnknownTopicOrPartition))
        });
        let mut partitions = Vec::with_capacity(wanted.partition_indexes.len());
        for index in &wanted.partition_indexes {
            if !seen.insert((wanted.name.as_str(), *index)) {
                continue;
            }
            let mut answer = PartitionResponse {
                partition_index: *index,
                ..Default::default()
            };
            match &topic {
                Ok(topic) if topic.partitions.contains_key(index) => {
                    let key = PartitionKey {
                        topic_id: topic.id,
                        index: *index,
                    };
                    let place = (at as u32, partitions.len() as u32);
                    asked.questions.push((place, key, Question::Producers));
                }
                Ok(_) => answer.error_code = ErrorCode::UnknownTopicOrPartition.code(),
                Err(refusal) => {
                    answer.error_code = refusal.code.code();
                    answer.error_message = Some(refusal.message.clone());
                }
            }
            partitions.push(answer);
        }
        asked.response.topics.push(TopicResponse {
            name: wanted.name.clone(),
            partitions,
        });
    }
    asked
}

/// An owner's answer. `room` is how many producers it may still tell in answer to this request.
pub fn tell(producers: Option<&ProducerStates>, room: &mut usize) -> Told {
    let Some(producers) = producers else {
        return Told::Failed(ErrorCode::NotLeaderOrFollower);
    };
    match room.checked_sub(producers.len()) {
        Some(left) => *room = left,
        None => return Told::Failed(ErrorCode::InvalidRequest),
    }
    let mut active: Vec<ActiveProducer> = producers.active().collect();
    active.sort_unstable_by_key(|producer| producer.producer_id);
    Told::Producers(active)
}

/// Puts an owner's answer into the response.
pub fn settle(response: &mut DescribeProducersResponse, place: Place, told: Told) {
    let topic = response.topics.get_mut(place.0 as usize);
    let Some(answer) = topic.and_then(|topic| topic.partitions.get_mut(place.1 as usize)) else {
        return;
    };
    match told {
        Told::Producers(active) => answer.active_producers = active.into_iter().map(row).collect(),
        Told::Failed(code) => {
            answer.error_code = code.code();
            answer.error_message = (code == ErrorCode::InvalidRequest).then(|| {
                "these are more producers than one answer holds: ask about fewer partitions".to_owned()
            });
        }
        _ => answer.error_code = ErrorCode::UnknownServerError.code(),
    }
}

fn row(producer: ActiveProducer) -> ProducerState {
    ProducerState {
        producer_id: producer.producer_id,
        producer_epoch: producer.epoch.into(),
        last_sequence: producer.last_sequence,
        last_timestamp: producer.last_timestamp_ms,
        coordinator_epoch: producer.coordinator_epoch,
        current_txn_start_offset: producer.txn_first_offset,
    }
}

#[cfg(test)]
mod tests {
    use ringlog_engine::batch::{BatchBuilder, BatchHeader};

    use super::*;
    use crate::metadata::controller::testing::{id_of, image, topic};

    fn states(ids: &[i64]) -> ProducerStates {
        let mut states = ProducerStates::new();
        for (offset, id) in ids.iter().enumerate() {
            let batch = BatchBuilder::new()
                .producer(*id, 1, 0)
                .record(0, None, Some(b"a"))
                .finish();
            let header = BatchHeader::read(&batch).expect("a batch");
            states.record(&header, offset as i64, 0, None);
        }
        states
    }

    #[test]
    fn partitions_that_are_there_are_asked_once() {
        let wanted = |name: &str, indexes: &[i32]| TopicRequest {
            name: name.into(),
            partition_indexes: indexes.to_vec(),
        };
        let request = DescribeProducersRequest {
            topics: vec![
                wanted("t", &[1, 0, 1, 2]),
                wanted("u", &[0]),
                wanted("a b", &[0]),
                wanted("t", &[0]),
            ],
        };
        let asked = describe(&request, &image(&topic("t", 2)));
        let key = |index| PartitionKey {
            topic_id: id_of("t"),
            index,
        };
        let questions = [
            ((0, 0), key(1), Question::Producers),
            ((0, 1), key(0), Question::Producers),
        ];
        assert_eq!(asked.questions, questions);
        let codes = |topic: &TopicResponse| -> Vec<(i32, i16)> {
            topic
                .partitions
                .iter()
                .map(|one| (one.partition_index, one.error_code))
                .collect()
        };
        let codes: Vec<_> = asked.response.topics.iter().map(codes).collect();
        assert_eq!(
            codes,
            [vec![(1, 0), (0, 0), (2, 3)], vec![(0, 3)], vec![(0, 17)], vec![]]
        );
    }

    #[test]
    fn producers_come_by_id_and_no_more_than_there_is_room_for() {
        let mut room = 3;
        let told = tell(Some(&states(&[9, 7])), &mut room);
        let Told::Producers(active) = &told else {
            panic!("{told:?}")
        };
        assert_eq!(
            active.iter().map(|one| one.producer_id).collect::<Vec<_>>(),
            [7, 9]
        );
        let full = tell(Some(&states(&[1, 2])), &mut room);
        assert_eq!((&full, room), (&Told::Failed(ErrorCode::InvalidRequest), 1));
        assert_eq!(
            tell(None, &mut room),
            Told::Failed(ErrorCode::NotLeaderOrFollower)
        );

        let partitions = vec![PartitionResponse::default(); 2];
        let topics = vec![TopicResponse {
            name: "t".into(),
            partitions,
        }];
        let mut response = DescribeProducersResponse {
            topics,
            ..Default::default()
        };
        settle(&mut response, (0, 0), told);
        settle(&mut response, (0, 1), full);
        settle(&mut response, (5, 0), Told::Size(1));
        let [first, second] = &response.topics[0].partitions[..] else {
            panic!("{response:?}");
        };
        let producer = &first.active_producers[0];
        let found = (
            producer.producer_id,
            producer.producer_epoch,
            producer.last_sequence,
            producer.coordinator_epoch,
        );
        assert_eq!((found, producer.current_txn_start_offset), ((7, 1, 0, -1), -1));
        assert!(second.error_code == 42 && second.error_message.is_some());
    }
}
