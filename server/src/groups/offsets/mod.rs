//! How far groups have read: the offsets they committed.
//!
//! They stand beside the groups, not in them: a group may change its protocol, or be no more than its offsets. Those of transactions that
//! have not ended are kept apart ([`pending`]) until they count or are forgotten.

mod commit;
mod delete;
mod expire;
mod fetch;
pub mod pending;
mod txn_commit;

pub use expire::GROUPS_AT_ONCE;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::metadata::image::MetadataImage;
use crate::wire::Uuid;
use crate::wire::group_records::{GroupRecord, OffsetCommitKey, OffsetCommitValue};

use pending::{GroupPending, Pending};

/// The offsets of one group, by topic and partition.
pub type GroupOffsets = BTreeMap<Arc<str>, BTreeMap<i32, OffsetCommitValue>>;

/// Committed offsets, as the log has them.
#[derive(Debug, Default)]
pub struct Offsets {
    groups: HashMap<Arc<str>, GroupOffsets>,
    pending: Pending,
    topics: HashMap<Arc<str>, TopicUse>,
}

/// Who has offsets of a topic, pending ones among them.
#[derive(Debug, Default)]
struct TopicUse {
    groups: BTreeSet<Arc<str>>,
    /// The id the topic had when it was last seen; none if it was not seen yet.
    seen: Uuid,
}

impl Offsets {
    /// The offset of a partition.
    pub fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&OffsetCommitValue> {
        self.groups.get(group)?.get(topic)?.get(&partition)
    }

    /// Whether a partition has an offset, or may get one from a transaction.
    pub fn has(&self, group: &str, topic: &str, partition: i32) -> bool {
        self.get(group, topic, partition).is_some() || self.is_pending(group, topic, partition)
    }

    /// Whether a transaction that has not ended has an offset for the partition.
    pub fn is_pending(&self, group: &str, topic: &str, partition: i32) -> bool {
        self.pending.contains(group, topic, partition)
    }

    /// Whether a transaction that has not ended has offsets of the group.
    pub fn has_pending(&self, group: &str) -> bool {
        self.pending.of_group(group).is_some()
    }

    /// The groups that have offsets, or pending ones; who has both comes twice.
    pub fn groups(&self) -> impl Iterator<Item = &Arc<str>> {
        self.groups.keys().chain(self.pending.groups())
    }

    /// All offsets of a group.
    pub fn of_group(&self, group: &str) -> Option<&GroupOffsets> {
        self.groups.get(group)
    }

    /// The offsets of a group that belong to transactions that have not ended.
    pub fn pending_of_group(&self, group: &str) -> Option<&GroupPending> {
        self.pending.of_group(group)
    }

    /// Takes up an offset. Pending ones of the partition are older than it.
    pub fn put(&mut self, group: &Arc<str>, topic: &str, partition: i32, value: OffsetCommitValue) {
        self.pending.overtake(group, topic, partition);
        self.store(group, topic, partition, value);
    }

    fn store(&mut self, group: &Arc<str>, topic: &str, partition: i32, value: OffsetCommitValue) {
        let topics = self.groups.entry(group.clone()).or_default();
        if let Some(partitions) = topics.get_mut(topic) {
            partitions.insert(partition, value);
            return;
        }
        let topic = used(&mut self.topics, group, topic);
        topics.insert(topic, BTreeMap::from([(partition, value)]));
    }

    /// Takes up an offset that counts when the transaction of a producer is committed, in place of an earlier one of the same transaction.
    pub fn put_pending(
        &mut self,
        group: &Arc<str>,
        topic: &str,
        partition: i32,
        producer_id: i64,
        value: OffsetCommitValue,
    ) {
        let topic = used(&mut self.topics, group, topic);
        self.pending
            .put((group.clone(), topic, partition), producer_id, value);
    }

    /// What was pending of a producer counts now, unless a newer offset does already; or it is forgotten.
    pub fn end_transaction(&mut self, producer_id: i64, is_commit: bool) {
        for ((group, topic, partition), value) in self.pending.end(producer_id, is_commit) {
            match value {
                Some(value) => self.store(&group, &topic, partition, value),
                None => self.unuse(&group, &topic),
            }
        }
    }

    /// Forgets an offset, and those of transactions that have not ended with it.
    pub fn remove(&mut self, group: &str, topic: &str, partition: i32) {
        self.pending.remove(group, topic, partition);
        if let Some(topics) = self.groups.get_mut(group)
            && let Some(partitions) = topics.get_mut(topic)
        {
            partitions.remove(&partition);
            if partitions.is_empty() {
                topics.remove(topic);
            }
            if topics.is_empty() {
                self.groups.remove(group);
            }
        }
        self.unuse(group, topic);
    }

    /// A group may have lost its last offset of a topic.
    fn unuse(&mut self, group: &str, topic: &str) {
        let counts = self
            .of_group(group)
            .is_some_and(|topics| topics.contains_key(topic));
        let is_pending = self
            .pending_of_group(group)
            .is_some_and(|topics| topics.contains_key(topic));
        if counts || is_pending {
            return;
        }
        if let Some(used) = self.topics.get_mut(topic) {
            used.groups.remove(group);
            if used.groups.is_empty() {
                self.topics.remove(topic);
            }
        }
    }

    /// What removes all offsets of a group, pending ones too.
    pub fn tombstones(&self, group: &str) -> Vec<GroupRecord> {
        let mut places = BTreeSet::new();
        for (topic, partitions) in self.of_group(group).into_iter().flatten() {
            places.extend(partitions.keys().map(|partition| (topic, *partition)));
        }
        for (topic, partitions) in self.pending_of_group(group).into_iter().flatten() {
            places.extend(partitions.keys().map(|partition| (topic, *partition)));
        }
        let places = places.into_iter();
        places
            .map(|(topic, partition)| tombstone(group, topic, partition))
            .collect()
    }

    /// Whether nothing is pending, and no topic is watched that nobody has offsets of.
    #[cfg(test)]
    pub fn has_no_leftovers(&self) -> bool {
        let has = |group: &Arc<str>, topic| {
            self.of_group(group)
                .is_some_and(|topics| topics.contains_key(topic))
        };
        let mut topics = self.topics.iter();
        self.pending.is_empty()
            && topics.all(|(topic, used)| {
                !used.groups.is_empty() && used.groups.iter().all(|group| has(group, topic))
            })
    }

    /// What removes the offsets of topics that are no more, or are other ones under the same name. Only topics whose id is not the one last seen are
    /// looked at.
    pub fn orphans(&mut self, image: &MetadataImage) -> Vec<GroupRecord> {
        let mut records = Vec::new();
        for (topic, used) in &mut self.topics {
            let id = image.topic(topic).map_or(Uuid::ZERO, |topic| topic.id);
            if id == used.seen && !id.is_zero() {
                continue;
            }
            // An offset without an id was committed to whatever topic was seen before.
            let is_gone = id.is_zero() || !used.seen.is_zero();
            let is_orphan = |value: &OffsetCommitValue| match value.topic_id.is_zero() {
                true => is_gone,
                false => value.topic_id != id,
            };
            for group in &used.groups {
                let counting = self.groups.get(group).and_then(|topics| topics.get(topic));
                let counting = counting.into_iter().flatten();
                let counting = counting.filter(|(_, value)| is_orphan(value));
                let pending = self.pending.of_group(group).and_then(|topics| topics.get(topic));
                let pending = pending.into_iter().flatten();
                let pending = pending.filter(|(_, waiting)| waiting.values().any(is_orphan));
                let partitions: BTreeSet<i32> = counting
                    .map(|(partition, _)| *partition)
                    .chain(pending.map(|(partition, _)| *partition))
                    .collect();
                let gone = partitions.into_iter();
                records.extend(gone.map(|partition| tombstone(group, topic, partition)));
            }
            used.seen = id;
        }
        records
    }
}

/// Notes that a group has an offset of a topic, and returns the one copy of its name.
fn used(topics: &mut HashMap<Arc<str>, TopicUse>, group: &Arc<str>, topic: &str) -> Arc<str> {
    let topic = match topics.get_key_value(topic) {
        Some((topic, _)) => topic.clone(),
        None => Arc::from(topic),
    };
    let used = topics.entry(topic.clone()).or_default();
    used.groups.insert(group.clone());
    topic
}

/// What removes one offset.
fn tombstone(group: &str, topic: &str, partition: i32) -> GroupRecord {
    GroupRecord::OffsetCommit(key(group, topic, partition), None)
}

fn key(group: &str, topic: &str, partition: i32) -> OffsetCommitKey {
    OffsetCommitKey {
        group: group.to_owned(),
        topic: topic.to_owned(),
        partition,
    }
}
