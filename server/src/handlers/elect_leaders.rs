//! ElectLeaders. One broker leads all it holds, so a preferred election is hardly ever needed; an unclean one brings
//! back a partition that this broker holds without having been in sync, at the price of what it lacks.

use super::context::Context;
use crate::metadata::controller::{Outcome, Refusal, boot};
use crate::metadata::image::{NO_LEADER, Partition, Topic};
use crate::metadata::records::Record;
use crate::wire::ErrorCode;
use crate::wire::elect_leaders::*;

/// Which election a client wants (KIP-460).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Election {
    Preferred,
    Unclean,
}

/// Decides about every partition by itself. Without names all partitions are meant, and only those that change or
/// cannot are told.
pub fn handle(ctx: &Context<'_>, request: &ElectLeadersRequest) -> Outcome<ElectLeadersResponse> {
    let mut outcome = Outcome::unchanged(ElectLeadersResponse::default());
    let election = match request.election_type {
        0 => Ok(Election::Preferred),
        1 => Ok(Election::Unclean),
        other => Err(Refusal::new(
            ErrorCode::InvalidRequest,
            format!("Unknown election type {other}"),
        )),
    };
    if let Err(refusal) = &election {
        outcome.response.error_code = refusal.code.into();
    }
    for (topic, partitions) in wishes(ctx, request) {
        let mut result = ReplicaElectionResult {
            topic,
            partition_result: Vec::new(),
        };
        for index in partitions {
            let decided = election
                .clone()
                .and_then(|election| elect(ctx, &result.topic, index, election));
            let unneeded = matches!(&decided, Err(refusal) if refusal.code == ErrorCode::ElectionNotNeeded);
            if !(unneeded && request.topic_partitions.is_none()) {
                result.partition_result.push(row(index, &decided));
            }
            outcome.records.extend(decided.ok());
        }
        outcome.response.replica_election_results.push(result);
    }
    outcome
}

fn wishes(ctx: &Context<'_>, request: &ElectLeadersRequest) -> Vec<(String, Vec<i32>)> {
    let all = |topic: &Topic| {
        (
            topic.name.to_string(),
            topic.partitions.iter().map(|(index, _)| *index).collect(),
        )
    };
    match &request.topic_partitions {
        Some(list) => list
            .iter()
            .map(|one| (one.topic.clone(), one.partitions.clone()))
            .collect(),
        None => ctx.image.topics().map(all).collect(),
    }
}

fn elect(ctx: &Context<'_>, topic: &str, index: i32, election: Election) -> Result<Record, Refusal> {
    let unknown = |what: String| Refusal::new(ErrorCode::UnknownTopicOrPartition, what);
    let found = ctx
        .image
        .topic(topic)
        .ok_or_else(|| unknown(format!("No such topic as {topic}")))?;
    let partition = ctx.image.partition(found, index);
    let partition = partition.ok_or_else(|| unknown(format!("No such partition as {topic}-{index}")))?;
    check(ctx.node.id, partition, election)?;
    Ok(boot::lead(found.id, index, partition, ctx.node.id))
}

fn check(me: i32, partition: &Partition, election: Election) -> Result<(), ErrorCode> {
    let preferred = partition.replicas.first().copied();
    match election {
        Election::Preferred if preferred == Some(partition.leader) => Err(ErrorCode::ElectionNotNeeded),
        Election::Preferred if preferred == Some(me) && partition.isr.contains(&me) => Ok(()),
        Election::Preferred => Err(ErrorCode::PreferredLeaderNotAvailable),
        Election::Unclean if partition.leader != NO_LEADER => Err(ErrorCode::ElectionNotNeeded),
        Election::Unclean if partition.replicas.contains(&me) => Ok(()),
        Election::Unclean => Err(ErrorCode::EligibleLeadersNotAvailable),
    }
}

fn row(partition_id: i32, decided: &Result<Record, Refusal>) -> PartitionResult {
    match decided {
        Ok(_) => PartitionResult {
            partition_id,
            ..Default::default()
        },
        Err(refusal) => PartitionResult {
            partition_id,
            error_code: refusal.code.into(),
            error_message: Some(refusal.message.clone()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::testing::*;
    use super::*;
    use crate::metadata::controller::testing::{id_of, topic};
    use crate::wire::metadata_records::PartitionChangeRecord;

    fn world() -> World {
        let mut log = [topic("t", 1), topic("u", 2)].concat();
        for (partition_id, isr, replicas) in [(0, vec![2], vec![2, 1]), (1, vec![1], vec![1])] {
            let change = PartitionChangeRecord {
                partition_id,
                topic_id: id_of("u"),
                leader: NO_LEADER,
                isr: Some(isr),
                replicas: Some(replicas),
                ..Default::default()
            };
            log.push(change.into());
        }
        World::new(&log, &[])
    }

    fn run(election_type: i8, names: Option<&[(&str, &[i32])]>) -> (Vec<i16>, usize) {
        let one = |(topic, partitions): &(&str, &[i32])| TopicPartitions {
            topic: (*topic).into(),
            partitions: partitions.to_vec(),
        };
        let topic_partitions = names.map(|names| names.iter().map(one).collect());
        let request = ElectLeadersRequest {
            election_type,
            topic_partitions,
            ..Default::default()
        };
        let outcome = handle(&world().context(), &request);
        let rows = outcome
            .response
            .replica_election_results
            .iter()
            .flat_map(|r| &r.partition_result);
        (rows.map(|row| row.error_code).collect(), outcome.records.len())
    }

    #[test]
    fn elections_are_held_where_needed() {
        for (election, names, want) in [
            (
                0,
                Some(&[("t", &[0, 7][..]), ("x", &[0])][..]),
                (vec![84, 3, 3], 0),
            ),
            (0, Some(&[("u", &[0, 1])]), (vec![80, 0], 1)),
            (1, Some(&[("t", &[0]), ("u", &[0])]), (vec![84, 0], 1)),
            (0, None, (vec![80, 0], 1)),
            (9, Some(&[("t", &[0])]), (vec![42], 0)),
        ] {
            assert_eq!(run(election, names), want, "{election} {names:?}");
        }
    }
}
