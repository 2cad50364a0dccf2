//! How far groups have read: the offsets they committed.
//!
//! They stand beside the groups, not in them: a group may change its protocol, or be no more than its offsets. Those of a transaction that
//! has not ended would be a second store of the same form, by producer; nothing here depends on there being one.

mod commit;
mod delete;
mod expire;
mod fetch;

pub use expire::GROUPS_AT_ONCE;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::metadata::image::MetadataImage;
use crate::wire::Uuid;
use crate::wire::group_records::{GroupRecord, OffsetCommitKey, OffsetCommitValue};

/// The offsets of one group, by topic and partition.
pub type GroupOffsets = BTreeMap<Arc<str>, BTreeMap<i32, OffsetCommitValue>>;

/// Committed offsets, as the log has them.
#[derive(Debug, Default)]
pub struct Offsets {
    groups: HashMap<Arc<str>, GroupOffsets>,
    topics: HashMap<Arc<str>, TopicUse>,
}

/// Who has offsets of a topic.
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

    /// The groups that have offsets.
    pub fn groups(&self) -> impl Iterator<Item = &Arc<str>> {
        self.groups.keys()
    }

    /// All offsets of a group.
    pub fn of_group(&self, group: &str) -> Option<&GroupOffsets> {
        self.groups.get(group)
    }

    /// Takes up an offset.
    pub fn put(&mut self, group: &Arc<str>, topic: &str, partition: i32, value: OffsetCommitValue) {
        let topics = self.groups.entry(group.clone()).or_default();
        if let Some(partitions) = topics.get_mut(topic) {
            partitions.insert(partition, value);
            return;
        }
        let topic = match self.topics.get_key_value(topic) {
            Some((topic, _)) => topic.clone(),
            None => Arc::from(topic),
        };
        topics.insert(topic.clone(), BTreeMap::from([(partition, value)]));
        self.topics.entry(topic).or_default().groups.insert(group.clone());
    }

    /// Forgets an offset.
    pub fn remove(&mut self, group: &str, topic: &str, partition: i32) {
        let Some(topics) = self.groups.get_mut(group) else {
            return;
        };
        let Some(partitions) = topics.get_mut(topic) else {
            return;
        };
        partitions.remove(&partition);
        if !partitions.is_empty() {
            return;
        }
        topics.remove(topic);
        if topics.is_empty() {
            self.groups.remove(group);
        }
        if let Some(used) = self.topics.get_mut(topic) {
            used.groups.remove(group);
            if used.groups.is_empty() {
                self.topics.remove(topic);
            }
        }
    }

    /// What removes all offsets of a group.
    pub fn tombstones(&self, group: &str) -> Vec<GroupRecord> {
        let mut records = Vec::new();
        for (topic, partitions) in self.of_group(group).into_iter().flatten() {
            let all = partitions
                .keys()
                .map(|partition| tombstone(group, topic, *partition));
            records.extend(all);
        }
        records
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
            for group in &used.groups {
                let partitions = self.groups.get(group).and_then(|topics| topics.get(topic));
                for (partition, value) in partitions.into_iter().flatten() {
                    let is_orphan = match value.topic_id.is_zero() {
                        true => is_gone,
                        false => value.topic_id != id,
                    };
                    if is_orphan {
                        records.push(tombstone(group, topic, *partition));
                    }
                }
            }
            used.seen = id;
        }
        records
    }
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
