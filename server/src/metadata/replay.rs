//! Records of the metadata log, applied one by one to an image.
//!
//! A record that does not fit what is there is an error, and so is one this broker does not know: whoever goes on
//! after either serves a state that nobody wrote.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::batches::{self, LogError, Placed};
use super::chunked::ChunkedMap;
use super::image::{Broker, METADATA_VERSION, MetadataImage, Partition, ResourceType, Topic, unify};
use super::records::{Record, level};
use crate::config::Settings;
use crate::wire::Uuid;
use crate::wire::metadata_records::*;

/// A change that leaves the leader, and its epoch, as they are.
const SAME_LEADER: i32 = -2;

/// An image in the making. Records between Begin and End are held back until the End, and dropped at an Abort.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    image: MetadataImage,
    transaction: Option<Vec<Placed>>,
}

impl Replay {
    /// From an image.
    pub fn new(image: MetadataImage) -> Replay {
        Replay {
            image,
            transaction: None,
        }
    }

    /// The image as of the last whole transaction.
    pub fn image(&self) -> &MetadataImage {
        &self.image
    }

    /// Whether a transaction has begun and not ended: whoever wrote it did not finish, and the next writer has to
    /// abort it.
    pub fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// Applies one record.
    ///
    /// # Errors
    /// The record contradicts the image. The image is then of no use.
    pub fn apply(&mut self, placed: Placed) -> Result<(), ReplayError> {
        let Placed { offset, epoch, .. } = placed;
        let wrong = |reason: &str| {
            Err(ReplayError::Contradiction {
                offset,
                reason: reason.to_owned(),
            })
        };
        match (&placed.record, self.transaction.take()) {
            (Record::BeginTransaction(_), Some(_)) => return wrong("a transaction begins within another"),
            (Record::BeginTransaction(_), None) => self.transaction = Some(Vec::new()),
            (Record::EndTransaction(_), Some(held)) => {
                for placed in held {
                    self.image.apply(placed)?;
                }
            }
            (Record::AbortTransaction(_), Some(_)) => {}
            (Record::EndTransaction(_) | Record::AbortTransaction(_), None) => {
                return wrong("the end of a transaction that has not begun");
            }
            (_, Some(mut held)) => {
                held.push(placed);
                self.transaction = Some(held);
                return Ok(());
            }
            (_, None) => return self.image.apply(placed),
        }
        if self.transaction.is_none() {
            self.image.applied = Some((offset, epoch));
        }
        Ok(())
    }

    /// Applies every record of the whole batches at the front of `bytes` from offset `from` on, and returns how many
    /// bytes those batches took.
    ///
    /// # Errors
    /// Damage, a record this broker does not know, or one that contradicts the image.
    pub fn feed(&mut self, bytes: &Bytes, from: i64) -> Result<usize, ReplayError> {
        batches::decode::<ReplayError>(bytes, &mut |placed| match placed.offset < from {
            true => Ok(()),
            false => self.apply(placed),
        })
    }

    /// Applies records that were appended in order from `base_offset` on, in leader epoch `epoch`.
    ///
    /// # Errors
    /// As [`Replay::apply`].
    pub fn apply_all(&mut self, records: &[Record], base_offset: i64, epoch: i32) -> Result<(), ReplayError> {
        for (offset, record) in (base_offset..).zip(records) {
            self.apply(Placed {
                offset,
                epoch,
                timestamp_ms: 0,
                record: record.clone(),
            })?;
        }
        Ok(())
    }
}

/// Why a record does not fit the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayError {
    /// The log cannot be read.
    Log(LogError),
    /// A record about something that is not there, or in a place where it may not stand.
    Contradiction {
        /// The record's offset.
        offset: i64,
        /// What does not fit.
        reason: String,
    },
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(error) => write!(f, "{error}"),
            Self::Contradiction { offset, reason } => write!(f, "metadata log, offset {offset}: {reason}"),
        }
    }
}

impl std::error::Error for ReplayError {}

impl From<LogError> for ReplayError {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

impl MetadataImage {
    fn apply(&mut self, placed: Placed) -> Result<(), ReplayError> {
        let Placed {
            offset,
            epoch,
            record,
            ..
        } = placed;
        self.change(record, offset)
            .map_err(|reason| ReplayError::Contradiction { offset, reason })?;
        self.applied = Some((offset, epoch));
        Ok(())
    }

    fn change(&mut self, record: Record, offset: i64) -> Result<(), String> {
        match record {
            Record::Topic(record) => self.add_topic(record),
            Record::RemoveTopic(record) => return self.remove_topic(record.topic_id),
            Record::Partition(record) => return self.add_partition(record),
            Record::PartitionChange(record) => return self.change_partition(record),
            Record::ClearElr(record) => self.clear_elr(&record.topic_name),
            Record::Config(record) => self.set_config(record),
            Record::FeatureLevel(record) => return self.set_feature(record),
            Record::ProducerIds(record) => self.next_producer_id = record.next_producer_id,
            Record::RegisterBroker(record) => self.add_broker(record),
            Record::UnregisterBroker(record) => {
                self.brokers.remove(&record.broker_id);
            }
            Record::FenceBroker(record) => self.edit_broker(record.id, |broker| broker.fenced = true),
            Record::UnfenceBroker(record) => self.edit_broker(record.id, |broker| broker.fenced = false),
            Record::BrokerRegistrationChange(record) => self.change_broker(record),
            Record::AccessControlEntry(_) => self.count_unserved("access control entries", 1),
            Record::RemoveAccessControlEntry(_) => self.count_unserved("access control entries", -1),
            Record::UserScramCredential(_) => self.count_unserved("SCRAM credentials", 1),
            Record::RemoveUserScramCredential(_) => self.count_unserved("SCRAM credentials", -1),
            Record::DelegationToken(_) => self.count_unserved("delegation tokens", 1),
            Record::RemoveDelegationToken(_) => self.count_unserved("delegation tokens", -1),
            Record::ClientQuota(record) => self.set_quota(record),
            Record::NoOp(_) | Record::ZkMigrationState(_) | Record::RegisterController(_) => {}
            Record::BeginTransaction(_) | Record::EndTransaction(_) | Record::AbortTransaction(_) => {
                return Err(format!(
                    "{} applied at offset {offset} outside replay",
                    record.name()
                ));
            }
        }
        Ok(())
    }

    fn add_topic(&mut self, record: TopicRecord) {
        let name: Arc<str> = record.name.into();
        if let Some(unified) = unify(&name) {
            self.unified.insert(unified, name.clone());
        }
        self.names.insert(record.topic_id, name.clone());
        let topic = Topic {
            id: record.topic_id,
            name: name.clone(),
            partitions: ChunkedMap::default(),
        };
        self.topics.insert(name, topic);
    }

    fn remove_topic(&mut self, id: Uuid) -> Result<(), String> {
        let name = self
            .names
            .remove(&id)
            .ok_or_else(|| format!("removal of an unknown topic id {id}"))?;
        if let Some(topic) = self.topics.remove(name.as_ref()) {
            self.partition_count -= topic.partitions.len();
        }
        if let Some(unified) = unify(&name)
            && self.unified.get(unified.as_str()) == Some(&name)
        {
            self.unified.remove(unified.as_str());
        }
        self.configs
            .remove(&(ResourceType::Topic as i8, name.to_string()));
        Ok(())
    }

    fn topic_mut(&mut self, id: Uuid) -> Result<&mut Topic, String> {
        let name = self.names.get(&id).cloned();
        name.and_then(|name| self.topics.get_mut(name.as_ref()))
            .ok_or_else(|| format!("a partition of an unknown topic id {id}"))
    }

    fn add_partition(&mut self, record: PartitionRecord) -> Result<(), String> {
        let index = record.partition_id;
        if index < 0 {
            return Err(format!("a partition with the index {index}"));
        }
        let replaced = self
            .topic_mut(record.topic_id)?
            .partitions
            .insert(index, Partition::from(record));
        self.partition_count += usize::from(replaced.is_none());
        Ok(())
    }

    fn change_partition(&mut self, record: PartitionChangeRecord) -> Result<(), String> {
        let (id, index) = (record.topic_id, record.partition_id);
        let partition = self.topic_mut(id)?.partitions.get_mut(&index);
        partition
            .ok_or_else(|| format!("a change of partition {index}, which topic {id} lacks"))?
            .merge(record);
        Ok(())
    }

    fn clear_elr(&mut self, topic: &str) {
        let names: Vec<Arc<str>> = match topic {
            "" => self.topics.iter().map(|(name, _)| name.clone()).collect(),
            name => vec![name.into()],
        };
        for name in names {
            let Some(topic) = self.topics.get_mut(name.as_ref()) else {
                continue;
            };
            let with_elr = topic
                .partitions
                .iter()
                .filter(|(_, p)| p.has_elr())
                .map(|(index, _)| *index);
            for index in with_elr.collect::<Vec<_>>() {
                let Some(partition) = topic.partitions.get_mut(&index) else {
                    continue;
                };
                partition.eligible_leader_replicas.clear();
                partition.last_known_elr.clear();
                partition.partition_epoch += 1;
            }
        }
    }

    fn set_config(&mut self, record: ConfigRecord) {
        let resource = (record.resource_type, record.resource_name);
        if self.configs.get(&resource).is_none() {
            self.configs.insert(resource.clone(), Settings::new());
        }
        let Some(settings) = self.configs.get_mut(&resource) else {
            return;
        };
        match record.value {
            Some(value) => settings.insert(record.name, value),
            None => settings.remove(&record.name),
        };
        if settings.is_empty() {
            self.configs.remove(&resource);
        }
    }

    fn set_feature(&mut self, record: FeatureLevelRecord) -> Result<(), String> {
        let FeatureLevelRecord { name, feature_level } = record;
        if name == METADATA_VERSION && !(level::OLDEST..=level::V4_3).contains(&feature_level) {
            let (oldest, newest) = (level::OLDEST, level::V4_3);
            return Err(format!(
                "metadata.version {feature_level} is outside {oldest} to {newest}, the levels this broker reads"
            ));
        }
        match feature_level {
            0 => self.features.remove(&name),
            level => self.features.insert(name, level),
        };
        Ok(())
    }

    fn add_broker(&mut self, record: RegisterBrokerRecord) {
        let broker = Broker {
            id: record.broker_id,
            epoch: record.broker_epoch,
            incarnation_id: record.incarnation_id,
            endpoints: record.end_points,
            rack: record.rack,
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
            log_dirs: record.log_dirs,
        };
        self.brokers.insert(broker.id, Arc::new(broker));
    }

    fn edit_broker(&mut self, id: i32, edit: impl FnOnce(&mut Broker)) {
        if let Some(broker) = self.brokers.get_mut(&id) {
            edit(Arc::make_mut(broker));
        }
    }

    fn change_broker(&mut self, record: BrokerRegistrationChangeRecord) {
        self.edit_broker(record.broker_id, |broker| {
            match record.fenced {
                1 => broker.fenced = true,
                -1 => broker.fenced = false,
                _ => {}
            }
            broker.in_controlled_shutdown |= record.in_controlled_shutdown == 1;
            if !record.log_dirs.is_empty() {
                broker.log_dirs = record.log_dirs;
            }
        });
    }

    pub(super) fn count_unserved(&mut self, what: &'static str, change: isize) {
        let count = self.unserved.entry(what).or_default();
        *count = count.saturating_add_signed(change);
        if *count == 0 {
            self.unserved.remove(what);
        }
    }
}

impl From<PartitionRecord> for Partition {
    fn from(record: PartitionRecord) -> Partition {
        Partition {
            replicas: record.replicas,
            isr: record.isr,
            removing_replicas: record.removing_replicas,
            adding_replicas: record.adding_replicas,
            leader: record.leader,
            leader_recovery_state: record.leader_recovery_state,
            leader_epoch: record.leader_epoch,
            partition_epoch: record.partition_epoch,
            directories: record.directories,
            eligible_leader_replicas: record.eligible_leader_replicas.unwrap_or_default(),
            last_known_elr: record.last_known_elr.unwrap_or_default(),
        }
    }
}

impl Partition {
    /// Takes over the fields the change carries. Naming a leader, even the same, begins a new leader epoch.
    fn merge(&mut self, change: PartitionChangeRecord) {
        let take = |field: &mut Vec<i32>, new: Option<Vec<i32>>| {
            if let Some(new) = new {
                *field = new;
            }
        };
        take(&mut self.isr, change.isr);
        take(&mut self.replicas, change.replicas);
        take(&mut self.removing_replicas, change.removing_replicas);
        take(&mut self.adding_replicas, change.adding_replicas);
        take(
            &mut self.eligible_leader_replicas,
            change.eligible_leader_replicas,
        );
        take(&mut self.last_known_elr, change.last_known_elr);
        if let Some(directories) = change.directories {
            self.directories = directories;
        }
        if change.leader_recovery_state >= 0 {
            self.leader_recovery_state = change.leader_recovery_state;
        }
        if change.leader != SAME_LEADER {
            self.leader = change.leader;
            self.leader_epoch += 1;
        }
        self.partition_epoch += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::image::NO_LEADER;

    const ID: Uuid = Uuid([3; 16]);

    fn topic(name: &str, id: Uuid) -> Record {
        TopicRecord {
            name: name.into(),
            topic_id: id,
        }
        .into()
    }

    fn partition(index: i32, leader: i32) -> Record {
        let record = PartitionRecord {
            partition_id: index,
            topic_id: ID,
            replicas: vec![1],
            isr: vec![1],
            leader,
            leader_epoch: 4,
            partition_epoch: 7,
            ..Default::default()
        };
        record.into()
    }

    fn setting(kind: ResourceType, resource: &str, name: &str, value: Option<&str>) -> Record {
        let (resource_name, name, value) = (resource.to_owned(), name.to_owned(), value.map(str::to_owned));
        ConfigRecord {
            resource_type: kind as i8,
            resource_name,
            name,
            value,
        }
        .into()
    }

    fn replay(records: &[Record]) -> Result<MetadataImage, ReplayError> {
        let mut replay = Replay::default();
        replay.apply_all(records, 0, 1)?;
        Ok(replay.image().clone())
    }

    fn find(image: &MetadataImage, index: i32) -> &Partition {
        let topic = image.topic("t").expect("there");
        image.partition(topic, index).expect("there")
    }

    #[test]
    fn topics_come_and_go() {
        let set = setting(ResourceType::Topic, "a.b", "retention.ms", Some("5"));
        let mut records = vec![topic("a.b", ID), set, partition(0, 1), partition(1, 1)];
        let image = replay(&records).expect("valid");
        assert_eq!((image.topic_count(), image.partition_count()), (1, 2));
        assert_eq!(image.topic_by_id(ID), image.topic("a.b"));
        assert_eq!(image.colliding_topic("a_b"), Some("a.b"));
        assert_eq!(
            image.settings(ResourceType::Topic, "a.b").map(Settings::len),
            Some(1)
        );
        assert_eq!(image.applied(), Some((3, 1)));
        records.push(RemoveTopicRecord { topic_id: ID }.into());
        let gone = replay(&records).expect("valid");
        assert_eq!((gone.topic_count(), gone.partition_count()), (0, 0));
        assert!(gone.topic_by_id(ID).is_none() && gone.colliding_topic("a_b").is_none());
        assert_eq!(gone.settings(ResourceType::Topic, "a.b"), None);
        assert_eq!(image.topic_count(), 1, "the earlier image is untouched");
    }

    #[test]
    fn epochs_follow_kafkas_rules() {
        let change = |leader| PartitionChangeRecord {
            partition_id: 0,
            topic_id: ID,
            leader,
            ..Default::default()
        };
        for (leader, want) in [(SAME_LEADER, (1, 4, 8)), (1, (1, 5, 8)), (NO_LEADER, (-1, 5, 8))] {
            let records = [topic("t", ID), partition(0, 1), change(leader).into()];
            let image = replay(&records).expect("valid");
            let found = find(&image, 0);
            assert_eq!((found.leader, found.leader_epoch, found.partition_epoch), want);
        }
    }

    #[test]
    fn settings_are_set_and_unset() {
        let set = |value| setting(ResourceType::Broker, "", "log.segment.bytes", value);
        let image = replay(&[set(Some("1")), set(Some("2"))]).expect("valid");
        let found = image
            .settings(ResourceType::Broker, "")
            .and_then(|s| s.get("log.segment.bytes"));
        assert_eq!(found.map(String::as_str), Some("2"));
        assert_eq!(
            replay(&[set(Some("1")), set(None)])
                .expect("valid")
                .settings(ResourceType::Broker, ""),
            None
        );
    }

    #[test]
    fn transactions_apply_at_their_end_or_not_at_all() {
        let begin = || Record::from(BeginTransactionRecord::default());
        let mut records = vec![begin(), topic("t", ID)];
        let mut open = Replay::default();
        open.apply_all(&records, 0, 1).expect("valid");
        assert!(open.in_transaction() && open.image().topic_count() == 0 && open.image().applied().is_none());
        records.push(EndTransactionRecord {}.into());
        let image = replay(&records).expect("valid");
        assert_eq!((image.topic_count(), image.applied()), (1, Some((2, 1))));
        records.pop();
        records.push(AbortTransactionRecord::default().into());
        assert_eq!(replay(&records).expect("valid").topic_count(), 0);
    }

    #[test]
    fn contradictions_are_errors() {
        for (records, part) in [
            (vec![partition(0, 1)], "unknown topic id"),
            (vec![topic("t", ID), partition(-1, 1)], "index -1"),
            (
                vec![RemoveTopicRecord { topic_id: ID }.into()],
                "removal of an unknown topic",
            ),
            (
                vec![
                    topic("t", ID),
                    PartitionChangeRecord {
                        topic_id: ID,
                        ..Default::default()
                    }
                    .into(),
                ],
                "lacks",
            ),
            (vec![EndTransactionRecord {}.into()], "has not begun"),
            (
                vec![
                    BeginTransactionRecord::default().into(),
                    BeginTransactionRecord::default().into(),
                ],
                "begins within another",
            ),
            (
                vec![
                    FeatureLevelRecord {
                        name: METADATA_VERSION.into(),
                        feature_level: 31,
                    }
                    .into(),
                ],
                "metadata.version 31 is outside 7 to 30",
            ),
        ] {
            let said = replay(&records).expect_err(part).to_string();
            assert!(
                said.contains(part) && said.starts_with("metadata log, offset"),
                "{said}"
            );
        }
    }

    #[test]
    fn what_is_not_enforced_is_counted() {
        let entry = || Record::from(AccessControlEntryRecord::default());
        let image =
            replay(&[entry(), entry(), RemoveAccessControlEntryRecord::default().into()]).expect("valid");
        assert_eq!(image.unserved().get("access control entries"), Some(&1));
    }

    #[test]
    fn ten_thousand_partitions_replay_and_copy_cheaply() {
        let mut records = vec![topic("t", ID)];
        records.extend((0..10_000).map(|index| partition(index, 1)));
        let image = replay(&records).expect("valid");
        let mut changed = Replay::new(image.clone());
        let change = PartitionChangeRecord {
            partition_id: 5000,
            topic_id: ID,
            leader: 1,
            ..Default::default()
        };
        changed.apply_all(&[change.into()], 10_001, 1).expect("valid");
        assert_eq!(find(&image, 5000).leader_epoch, 4);
        assert_eq!(find(changed.image(), 5000).leader_epoch, 5);
    }
}
