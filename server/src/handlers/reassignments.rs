//! AlterPartitionReassignments and ListPartitionReassignments (KIP-455).

use super::context::Context;
use crate::metadata::controller::reassignments::{is_in_progress, reassign};
use crate::metadata::controller::{MAX_RECORDS, Outcome, Refusal};
use crate::metadata::image::Topic;
use crate::metadata::records::Record;
use crate::wire::ErrorCode;
use crate::wire::alter_partition_reassignments::*;
use crate::wire::list_partition_reassignments::*;

/// AlterPartitionReassignments: about every partition by itself.
pub fn alter(
    ctx: &Context<'_>,
    request: &AlterPartitionReassignmentsRequest,
) -> Outcome<AlterPartitionReassignmentsResponse> {
    let mut outcome = Outcome::unchanged(AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: request.allow_replication_factor_change,
        ..Default::default()
    });
    for topic in &request.topics {
        let mut answer = ReassignableTopicResponse {
            name: topic.name.clone(),
            ..Default::default()
        };
        for partition in &topic.partitions {
            let mut row = ReassignablePartitionResponse {
                partition_index: partition.partition_index,
                ..Default::default()
            };
            let may_change_factor = request.allow_replication_factor_change;
            let so_far = outcome.records.len();
            match decide(ctx, &topic.name, partition, may_change_factor, so_far) {
                Ok(record) => outcome.records.extend(record),
                Err(refusal) => {
                    row.error_code = refusal.code.into();
                    // Kafka says nothing beside this code, which says it all.
                    let is_plain = refusal.code == ErrorCode::NoReassignmentInProgress;
                    row.error_message = (!is_plain).then_some(refusal.message);
                }
            }
            answer.partitions.push(row);
        }
        outcome.response.responses.push(answer);
    }
    outcome
}

fn decide(
    ctx: &Context<'_>,
    topic: &str,
    wanted: &ReassignablePartition,
    may_change_factor: bool,
    so_far: usize,
) -> Result<Option<Record>, Refusal> {
    let replicas = wanted.replicas.as_deref();
    let record = reassign(
        ctx.view(),
        topic,
        wanted.partition_index,
        replicas,
        may_change_factor,
    )?;
    if so_far + usize::from(record.is_some()) > MAX_RECORDS {
        let message = format!("at most {MAX_RECORDS} partitions can be changed in one request");
        return Err(Refusal::new(ErrorCode::PolicyViolation, message));
    }
    Ok(record)
}

/// ListPartitionReassignments: of all topics, or of the partitions named.
pub fn list(
    ctx: &Context<'_>,
    request: &ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let topics: Vec<OngoingTopicReassignment> = match &request.topics {
        None => {
            let all = |topic: &Topic| ongoing(topic, topic.partitions.iter().map(|(index, _)| *index));
            ctx.image.topics().filter_map(all).collect()
        }
        Some(wanted) => {
            let named = |one: &ListPartitionReassignmentsTopics| {
                ongoing(ctx.image.topic(&one.name)?, one.partition_indexes.iter().copied())
            };
            wanted.iter().filter_map(named).collect()
        }
    };
    ListPartitionReassignmentsResponse {
        topics,
        ..Default::default()
    }
}

fn ongoing(topic: &Topic, indexes: impl Iterator<Item = i32>) -> Option<OngoingTopicReassignment> {
    let row = |index: i32| {
        let partition = topic
            .partitions
            .get(&index)
            .filter(|partition| is_in_progress(partition))?;
        Some(OngoingPartitionReassignment {
            partition_index: index,
            replicas: partition.replicas.clone(),
            adding_replicas: partition.adding_replicas.clone(),
            removing_replicas: partition.removing_replicas.clone(),
        })
    };
    let partitions: Vec<_> = indexes.filter_map(row).collect();
    (!partitions.is_empty()).then(|| OngoingTopicReassignment {
        name: topic.name.to_string(),
        partitions,
    })
}

#[cfg(test)]
mod tests {
    use super::super::context::testing::*;
    use super::*;
    use crate::metadata::controller::testing::{id_of, topic};
    use crate::wire::metadata_records::PartitionChangeRecord;

    fn log() -> Vec<Record> {
        let change = PartitionChangeRecord {
            partition_id: 1,
            topic_id: id_of("t"),
            replicas: Some(vec![1, 2]),
            adding_replicas: Some(vec![2]),
            ..Default::default()
        };
        [topic("s", 1), topic("t", 2), vec![change.into()]].concat()
    }

    #[test]
    fn every_partition_gets_its_own_answer() {
        let partition = |partition_index, replicas: Option<&[i32]>| ReassignablePartition {
            partition_index,
            replicas: replicas.map(<[i32]>::to_vec),
        };
        let wanted = |name: &str, partitions| ReassignableTopic {
            name: name.into(),
            partitions,
        };
        let request = AlterPartitionReassignmentsRequest {
            topics: vec![
                wanted(
                    "t",
                    vec![
                        partition(0, Some(&[1])),
                        partition(0, Some(&[2])),
                        partition(1, None),
                    ],
                ),
                wanted("s", vec![partition(0, None), partition(5, None)]),
                wanted("u", vec![partition(0, None)]),
            ],
            ..Default::default()
        };
        let outcome = alter(&World::new(&log(), &[]).context(), &request);
        let rows = outcome
            .response
            .responses
            .iter()
            .flat_map(|topic| &topic.partitions);
        assert_eq!(
            rows.map(|row| row.error_code).collect::<Vec<_>>(),
            [0, 39, 0, 85, 3, 3]
        );
        let then = World::after(&log(), &outcome.records);
        let request = ListPartitionReassignmentsRequest::default();
        assert!(list(&then.context(), &request).topics.is_empty());
    }

    #[test]
    fn what_is_under_way_is_listed() {
        let world = World::new(&log(), &[]);
        let ask = |topics: Option<&[(&str, &[i32])]>| {
            let named = |(name, indexes): &(&str, &[i32])| ListPartitionReassignmentsTopics {
                name: (*name).into(),
                partition_indexes: indexes.to_vec(),
            };
            let request = ListPartitionReassignmentsRequest {
                topics: topics.map(|topics| topics.iter().map(named).collect()),
                ..Default::default()
            };
            let response = list(&world.context(), &request);
            let row = |topic: &OngoingTopicReassignment| (topic.name.clone(), topic.partitions.clone());
            response.topics.iter().map(row).collect::<Vec<_>>()
        };
        let partition = OngoingPartitionReassignment {
            partition_index: 1,
            replicas: vec![1, 2],
            adding_replicas: vec![2],
            removing_replicas: vec![],
        };
        let want = vec![("t".to_owned(), vec![partition])];
        assert_eq!(ask(None), want);
        assert_eq!(ask(Some(&[("t", &[0, 1, 2]), ("u", &[0]), ("s", &[0])])), want);
        assert_eq!(ask(Some(&[("t", &[0])])), vec![]);
    }
}
