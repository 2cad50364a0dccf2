//! Creating and deleting topics, and adding partitions, on the one broker that is alive.

use super::settings;
use super::{MAX_RECORDS, Refusal, View, names};
use crate::config::Settings;
use crate::metadata::image::{ResourceType, Topic};
use crate::metadata::records::Record;
use crate::metadata::source::LOG_TOPIC;
use crate::wire::metadata_records::{ConfigRecord, PartitionRecord, RemoveTopicRecord, TopicRecord};
use crate::wire::{ErrorCode, Uuid};

/// A partition's place in a request: its index and the brokers that shall hold it.
pub type Assignment<'a> = (i32, &'a [i32]);

/// A topic to be created. -1 asks for the default (KIP-464).
#[derive(Clone, Debug)]
pub struct NewTopic<'a> {
    /// Its name.
    pub name: &'a str,
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas of each.
    pub replication_factor: i16,
    /// Places chosen by the client, instead of both numbers. Empty: the broker chooses.
    pub assignments: Vec<Assignment<'a>>,
    /// Settings of its own.
    pub settings: Settings,
}

/// A topic that can be created.
#[derive(Clone, Debug, PartialEq)]
pub struct Created {
    /// Its id.
    pub id: Uuid,
    /// How many partitions it has.
    pub partitions: i32,
    /// How many replicas each has.
    pub replication_factor: i16,
    /// The records that create it.
    pub records: Vec<Record>,
}

/// How many partitions a wish to create a topic counts for, before anything about it is checked.
pub fn partitions_asked(view: View<'_>, partitions: i32, assignments: usize) -> usize {
    match (assignments, partitions) {
        (0, -1) => view.config.num_partitions.max(0) as usize,
        (0, count) => count.max(0) as usize,
        (count, _) => count,
    }
}

/// Decides about one topic.
///
/// # Errors
/// INVALID_TOPIC_EXCEPTION, TOPIC_ALREADY_EXISTS, INVALID_CONFIG, INVALID_REQUEST, INVALID_REPLICA_ASSIGNMENT,
/// INVALID_REPLICATION_FACTOR, INVALID_PARTITIONS.
pub fn create(view: View<'_>, wish: &NewTopic<'_>, id: Uuid) -> Result<Created, Refusal> {
    if wish.name == LOG_TOPIC {
        let message = format!("Creation of internal topic {LOG_TOPIC} is prohibited.");
        return Err(Refusal::new(ErrorCode::InvalidRequest, message));
    }
    names::check_new(view.image, wish.name)?;
    settings::check_internal(wish.name, &wish.settings)?;
    settings::check_topic(view, &wish.settings)?;
    let partitions = if wish.assignments.is_empty() {
        placed_by_broker(view, wish.partitions, wish.replication_factor)?
    } else {
        placed_by_client(view, wish)?
    };
    let mut records: Vec<Record> = vec![
        TopicRecord {
            name: wish.name.to_owned(),
            topic_id: id,
        }
        .into(),
    ];
    records.extend(
        wish.settings
            .iter()
            .map(|(name, value)| setting(wish.name, name, value)),
    );
    records.extend((0..partitions).map(|index| partition(view, id, index)));
    Ok(Created {
        id,
        partitions,
        replication_factor: 1,
        records,
    })
}

/// Decides about the deletion of a topic.
pub fn delete(topic: &Topic) -> Record {
    RemoveTopicRecord { topic_id: topic.id }.into()
}

/// Decides about more partitions for a topic; `count` is the new total.
///
/// # Errors
/// UNKNOWN_TOPIC_OR_PARTITION, INVALID_PARTITIONS, INVALID_REPLICA_ASSIGNMENT, POLICY_VIOLATION.
pub fn add_partitions(
    view: View<'_>,
    name: &str,
    count: i32,
    assignments: Option<Vec<&[i32]>>,
) -> Result<Vec<Record>, Refusal> {
    let topic = view.image.topic(name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let now = topic.partitions.len() as i32;
    let added = count.saturating_sub(now);
    if added <= 0 {
        return Err(Refusal::new(
            ErrorCode::InvalidPartitions,
            no_increase(name, now, count),
        ));
    }
    if let Some(assignments) = assignments {
        if assignments.len() != added as usize {
            let message = format!(
                "Attempted to add {added} additional partition(s), but only {} assignment(s) were specified.",
                assignments.len()
            );
            return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
        }
        for replicas in assignments {
            check_replicas(view, replicas)?;
        }
    }
    if added as usize > MAX_RECORDS {
        let message = format!("at most {MAX_RECORDS} partitions can be added in one request");
        return Err(Refusal::new(ErrorCode::PolicyViolation, message));
    }
    Ok((now..count)
        .map(|index| partition(view, topic.id, index))
        .collect())
}

fn no_increase(name: &str, now: i32, count: i32) -> String {
    if count == now {
        return format!("Topic already has {now} partition(s).");
    }
    format!("The topic {name} currently has {now} partition(s); {count} would not be an increase.")
}

fn placed_by_broker(view: View<'_>, partitions: i32, replication_factor: i16) -> Result<i32, Refusal> {
    let factor = match replication_factor {
        -1 => view.config.default_replication_factor,
        other => i32::from(other),
    };
    if factor < 1 {
        let message = "Replication factor must be larger than 0, or -1 to use the default value.";
        return Err(Refusal::new(ErrorCode::InvalidReplicationFactor, message));
    }
    let partitions = if partitions == -1 {
        view.config.num_partitions
    } else {
        partitions
    };
    if partitions < 1 {
        let message = "Number of partitions was set to an invalid non-positive value.";
        return Err(Refusal::new(ErrorCode::InvalidPartitions, message));
    }
    if factor > 1 {
        let message = format!(
            "Unable to replicate the partition {factor} time(s): The target replication factor of {factor} cannot be \
             reached because only 1 broker(s) are registered."
        );
        return Err(Refusal::new(ErrorCode::InvalidReplicationFactor, message));
    }
    Ok(partitions)
}

fn placed_by_client(view: View<'_>, wish: &NewTopic<'_>) -> Result<i32, Refusal> {
    for (name, number) in [
        ("replication factor", i32::from(wish.replication_factor)),
        ("numPartitions", wish.partitions),
    ] {
        if number != -1 {
            let message =
                format!("A manual partition assignment was specified, but {name} was not set to -1.");
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
    }
    let mut indexes: Vec<i32> = wish.assignments.iter().map(|(index, _)| *index).collect();
    indexes.sort_unstable();
    let wrong = |message: String| Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
    if let Some(pair) = indexes.windows(2).find(|pair| pair[0] == pair[1]) {
        return wrong(format!(
            "Found multiple manual partition assignments for partition {}",
            pair[0]
        ));
    }
    for (_, replicas) in &wish.assignments {
        check_replicas(view, replicas)?;
    }
    if !(0..).zip(&indexes).all(|(want, index)| want == *index) {
        return wrong("partitions should be a consecutive 0-based integer sequence".to_owned());
    }
    Ok(indexes.len() as i32)
}

/// The only valid place for a partition is this broker, once.
fn check_replicas(view: View<'_>, replicas: &[i32]) -> Result<(), Refusal> {
    let what = match replicas {
        [id] if *id == view.node_id => return Ok(()),
        [] => "an empty replica list.".to_owned(),
        ids => match ids.iter().find(|id| **id != view.node_id) {
            Some(id) => format!("broker {id}, but no such broker is registered."),
            None => format!("the broker {} more than once.", view.node_id),
        },
    };
    let message = format!("The manual partition assignment includes {what}");
    Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message))
}

fn setting(topic: &str, name: &str, value: &str) -> Record {
    let record = ConfigRecord {
        resource_type: ResourceType::Topic as i8,
        resource_name: topic.to_owned(),
        name: name.to_owned(),
        value: Some(value.to_owned()),
    };
    record.into()
}

fn partition(view: View<'_>, topic_id: Uuid, index: i32) -> Record {
    let record = PartitionRecord {
        partition_id: index,
        topic_id,
        replicas: vec![view.node_id],
        isr: vec![view.node_id],
        leader: view.node_id,
        leader_epoch: 0,
        partition_epoch: 0,
        directories: vec![view.directory_id],
        ..Default::default()
    };
    record.into()
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    const ID: Uuid = Uuid([5; 16]);

    fn wish(
        partitions: i32,
        replication_factor: i16,
        assignments: Vec<Assignment<'static>>,
    ) -> NewTopic<'static> {
        NewTopic {
            name: "t",
            partitions,
            replication_factor,
            assignments,
            settings: Settings::new(),
        }
    }

    #[test]
    fn wishes_are_granted_or_refused_as_kafka_does() {
        use ErrorCode as E;
        let config = config(&[("num.partitions", "3")]);
        let image = image(&[]);
        let me: &[i32] = &[1];
        for (wish, want) in [
            (wish(1, 1, vec![]), Ok(1)),
            (wish(-1, -1, vec![]), Ok(3)),
            (wish(5, -1, vec![]), Ok(5)),
            (wish(-1, -1, vec![(1, me), (0, me)]), Ok(2)),
            (wish(0, 1, vec![]), Err(E::InvalidPartitions)),
            (wish(-2, 1, vec![]), Err(E::InvalidPartitions)),
            (wish(1, 0, vec![]), Err(E::InvalidReplicationFactor)),
            (wish(1, -2, vec![]), Err(E::InvalidReplicationFactor)),
            (wish(1, 2, vec![]), Err(E::InvalidReplicationFactor)),
            (wish(1, -1, vec![(0, me)]), Err(E::InvalidRequest)),
            (wish(-1, 1, vec![(0, me)]), Err(E::InvalidRequest)),
            (
                wish(-1, -1, vec![(0, me), (0, me)]),
                Err(E::InvalidReplicaAssignment),
            ),
            (
                wish(-1, -1, vec![(0, me), (2, me)]),
                Err(E::InvalidReplicaAssignment),
            ),
            (wish(-1, -1, vec![(0, &[])]), Err(E::InvalidReplicaAssignment)),
            (wish(-1, -1, vec![(0, &[1, 1])]), Err(E::InvalidReplicaAssignment)),
            (wish(-1, -1, vec![(0, &[2])]), Err(E::InvalidReplicaAssignment)),
            (wish(-1, -1, vec![(-1, me)]), Err(E::InvalidReplicaAssignment)),
        ] {
            let found = create(view(&image, &config), &wish, ID);
            assert_eq!(
                found.map(|created| created.partitions).map_err(|r| r.code),
                want,
                "{wish:?}"
            );
        }
    }

    #[test]
    fn the_records_create_the_topic() {
        let config = config(&[]);
        let empty = image(&[]);
        let mut wish = wish(2, 1, vec![]);
        wish.settings.insert("retention.ms".into(), "5".into());
        let created = create(view(&empty, &config), &wish, ID).expect("granted");
        let image = image(&created.records);
        let topic = image.topic_by_id(ID).expect("there");
        assert_eq!((topic.name.as_ref(), topic.partitions.len()), ("t", 2));
        let partition = image.partition(topic, 1).expect("there");
        assert_eq!((partition.leader, partition.leader_epoch), (1, 0));
        assert_eq!(
            (&partition.isr[..], &partition.directories[..]),
            (&[1][..], &[Uuid([9; 16])][..])
        );
        assert_eq!(image.topic_settings(&config, 1, "t").retention_ms, 5);
        let gone = [created.records, vec![delete(topic)]].concat();
        assert_eq!(super::super::testing::image(&gone).topic_count(), 0);
    }

    #[test]
    fn settings_and_names_are_checked() {
        let config = config(&[]);
        let image = image(&[]);
        let mut bad = wish(1, 1, vec![]);
        bad.settings.insert("no.such".into(), "5".into());
        let code = |wish: &NewTopic<'_>| create(view(&image, &config), wish, ID).expect_err("refused").code;
        assert_eq!(code(&bad), ErrorCode::InvalidConfig);
        let name = "__cluster_metadata";
        assert_eq!(
            code(&NewTopic {
                name,
                ..wish(1, 1, vec![])
            }),
            ErrorCode::InvalidRequest
        );
        assert_eq!(
            code(&NewTopic {
                name: "a b",
                ..wish(1, 1, vec![])
            }),
            ErrorCode::InvalidTopicException
        );
    }

    #[test]
    fn partitions_are_only_added() {
        use ErrorCode as E;
        let config = config(&[]);
        let image = image(&topic("t", 2));
        let me: &[i32] = &[1];
        for (name, count, assignments, want) in [
            ("t", 5, None, Ok(3)),
            ("t", 3, Some(vec![me]), Ok(1)),
            ("t", 2, None, Err(E::InvalidPartitions)),
            ("t", 1, None, Err(E::InvalidPartitions)),
            ("t", i32::MIN, None, Err(E::InvalidPartitions)),
            ("t", i32::MAX, None, Err(E::PolicyViolation)),
            ("t", 4, Some(vec![me]), Err(E::InvalidReplicaAssignment)),
            ("t", 3, Some(vec![&[7][..]]), Err(E::InvalidReplicaAssignment)),
            ("u", 4, None, Err(E::UnknownTopicOrPartition)),
        ] {
            let found = add_partitions(view(&image, &config), name, count, assignments);
            assert_eq!(
                found.map(|records| records.len()).map_err(|r| r.code),
                want,
                "{name} {count}"
            );
        }
    }
}
