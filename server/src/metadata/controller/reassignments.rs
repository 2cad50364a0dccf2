//! Which brokers hold a partition (KIP-455). This broker is the only one there is: a partition can be given to it alone, as far as it holds all
//! of the partition. What is left to decide comes from logs that other brokers had a part in.

use super::{Refusal, View, boot};
use crate::metadata::image::{Partition, Topic};
use crate::metadata::records::Record;
use crate::wire::ErrorCode;
use crate::wire::metadata_records::PartitionChangeRecord;

/// Whether the partition's replicas are changing.
pub fn is_in_progress(partition: &Partition) -> bool {
    !partition.adding_replicas.is_empty() || !partition.removing_replicas.is_empty()
}

/// Decides about new replicas for a partition, or, without any, about going back to the old ones.
///
/// # Errors
/// UNKNOWN_TOPIC_OR_PARTITION, NO_REASSIGNMENT_IN_PROGRESS, INVALID_REPLICA_ASSIGNMENT, INVALID_REPLICATION_FACTOR.
pub fn reassign(
    view: View<'_>,
    topic: &str,
    index: i32,
    replicas: Option<&[i32]>,
    may_change_factor: bool,
) -> Result<Option<Record>, Refusal> {
    let unknown = |what: String| Refusal::new(ErrorCode::UnknownTopicOrPartition, what);
    let found = view.image.topic(topic);
    let found = found.ok_or_else(|| unknown(format!("Unable to find a topic named {topic}.")))?;
    let partition = view.image.partition(found, index);
    let partition = partition.ok_or_else(|| unknown(format!("Unable to find partition {topic}:{index}.")))?;
    match replicas {
        None => revert(view, found, index, partition),
        Some(replicas) => change(view, found, index, partition, replicas, may_change_factor),
    }
}

fn change(
    view: View<'_>,
    topic: &Topic,
    index: i32,
    partition: &Partition,
    wanted: &[i32],
    may_change_factor: bool,
) -> Result<Option<Record>, Refusal> {
    check_assignment(wanted, view.node_id)?;
    let now = settled(partition);
    if !may_change_factor && now.len() != wanted.len() {
        let message = format!(
            "The replication factor is changed from {} to {}",
            now.len(),
            wanted.len()
        );
        return Err(Refusal::new(ErrorCode::InvalidReplicationFactor, message));
    }
    if !is_in_progress(partition) && partition.replicas == wanted {
        return Ok(None);
    }
    take_over(view, topic, index, partition, vec![view.node_id]).map(Some)
}

/// The replicas without what a reassignment under way adds.
fn revert(
    view: View<'_>,
    topic: &Topic,
    index: i32,
    partition: &Partition,
) -> Result<Option<Record>, Refusal> {
    if !is_in_progress(partition) {
        let message = "No partition reassignment is in progress.";
        return Err(Refusal::new(ErrorCode::NoReassignmentInProgress, message));
    }
    let is_old = |id: &i32| !partition.adding_replicas.contains(id);
    let old = partition.replicas.iter().copied().filter(is_old).collect();
    take_over(view, topic, index, partition, old).map(Some)
}

/// The replicas there were before a reassignment under way, or will be after it, whichever its client counts.
fn settled(partition: &Partition) -> Vec<i32> {
    let stays = |id: &i32| !partition.removing_replicas.contains(id);
    partition.replicas.iter().copied().filter(stays).collect()
}

fn check_assignment(wanted: &[i32], me: i32) -> Result<(), Refusal> {
    let refused = |what: String| {
        let message = format!("The manual partition assignment includes {what}");
        Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message))
    };
    let mut sorted = wanted.to_vec();
    sorted.sort_unstable();
    if sorted.is_empty() {
        return refused("an empty replica list.".to_owned());
    }
    let mut before = None;
    for id in sorted {
        if id != me {
            // One that another log knows is not there either.
            return refused(format!("broker {id}, but no such broker is registered."));
        }
        if before == Some(id) {
            return refused(format!("the broker {id} more than once."));
        }
        before = Some(id);
    }
    Ok(())
}

/// The record that gives the partition these replicas, with this broker in the lead.
fn take_over(
    view: View<'_>,
    topic: &Topic,
    index: i32,
    partition: &Partition,
    replicas: Vec<i32>,
) -> Result<Record, Refusal> {
    let me = view.node_id;
    if !partition.isr.contains(&me) || !replicas.contains(&me) {
        let message = format!(
            "Unable to change the replicas of {}:{index}: this broker, the only one there is, does not hold all of it.",
            topic.name
        );
        return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
    }
    let directory = |id: &i32| {
        let at = partition.replicas.iter().position(|one| one == id);
        at.and_then(|at| partition.directories.get(at))
            .copied()
            .unwrap_or(view.directory_id)
    };
    let change = PartitionChangeRecord {
        partition_id: index,
        topic_id: topic.id,
        isr: Some(vec![me]),
        directories: Some(replicas.iter().map(directory).collect()),
        replicas: Some(replicas),
        removing_replicas: Some(Vec::new()),
        adding_replicas: Some(Vec::new()),
        ..Default::default()
    };
    Ok(match partition.leader == me {
        true => change.into(),
        false => boot::lead_with(change, partition, me),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::wire::Uuid;

    /// Partition 0 as it should be; 1 with a replica elsewhere; 2 that is being moved from here to elsewhere; 3 elsewhere alone.
    fn log() -> Vec<Record> {
        let change = |partition_id, replicas: &[i32], isr: &[i32], adding: &[i32], removing: &[i32]| {
            let record = PartitionChangeRecord {
                partition_id,
                topic_id: id_of("t"),
                replicas: Some(replicas.to_vec()),
                isr: Some(isr.to_vec()),
                adding_replicas: Some(adding.to_vec()),
                removing_replicas: Some(removing.to_vec()),
                directories: Some(vec![Uuid([9; 16]); replicas.len()]),
                ..Default::default()
            };
            Record::from(record)
        };
        let changes = vec![
            change(1, &[1, 2], &[1], &[], &[]),
            change(2, &[1, 2], &[1], &[2], &[1]),
            change(3, &[2], &[2], &[], &[]),
        ];
        [topic("t", 4), changes].concat()
    }

    fn run(
        index: i32,
        replicas: Option<&[i32]>,
        may_change_factor: bool,
    ) -> Result<Option<Vec<i32>>, (i16, String)> {
        let (log, config) = (log(), config(&[]));
        let now = image(&log);
        let decided = reassign(view(&now, &config), "t", index, replicas, may_change_factor);
        let record = decided.map_err(|refusal| (refusal.code.code(), refusal.message))?;
        Ok(record.map(|record| {
            let then = image(&[log, vec![record]].concat());
            let topic = then.topic("t").expect("there");
            let partition = then.partition(topic, index).expect("there");
            assert!(!is_in_progress(partition) && partition.isr == [1] && partition.leader == 1);
            assert_eq!(partition.directories.len(), partition.replicas.len());
            partition.replicas.clone()
        }))
    }

    #[test]
    fn a_partition_can_be_given_to_this_broker_alone() {
        assert_eq!(run(0, Some(&[1]), true), Ok(None), "it has it");
        assert_eq!(run(1, Some(&[1]), true), Ok(Some(vec![1])));
        assert_eq!(run(2, Some(&[1]), true), Ok(Some(vec![1])));
        assert_eq!(run(2, None, true), Ok(Some(vec![1])), "as it was before");
    }

    #[test]
    fn what_one_broker_cannot_do_is_refused_in_kafkas_words() {
        let assignment = |what: &str| (39, format!("The manual partition assignment includes {what}"));
        for (index, replicas, may_change_factor, want) in [
            (9, Some(&[1][..]), true, (3, "Unable to find partition t:9.".to_owned())),
            (0, None, true, (85, "No partition reassignment is in progress.".to_owned())),
            (0, Some(&[]), true, assignment("an empty replica list.")),
            (0, Some(&[1, 2]), true, assignment("broker 2, but no such broker is registered.")),
            (0, Some(&[-1]), true, assignment("broker -1, but no such broker is registered.")),
            (0, Some(&[1, 1]), true, assignment("the broker 1 more than once.")),
            (1, Some(&[1]), false, (38, "The replication factor is changed from 2 to 1".to_owned())),
            (
                3,
                Some(&[1]),
                true,
                (
                    39,
                    "Unable to change the replicas of t:3: this broker, the only one there is, does not hold all of it."
                        .to_owned(),
                ),
            ),
        ] {
            assert_eq!(run(index, replicas, may_change_factor), Err(want), "{index} {replicas:?}");
        }
        let (now, config) = (image(&[]), config(&[]));
        let refusal = reassign(view(&now, &config), "u", 0, None, true).expect_err("no such topic");
        assert_eq!(
            (refusal.code.code(), refusal.message.as_str()),
            (3, "Unable to find a topic named u.")
        );
    }
}
