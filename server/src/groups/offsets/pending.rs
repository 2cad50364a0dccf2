//! Offsets of transactions that have not ended (KIP-98): nobody reads them until they count.
//!
//! The same partition of a group may be waiting for several producers, and be committed to without a transaction meanwhile. The one that counts in
//! the end is the one whose record is the newest in the log, not the one whose transaction ended last: compaction keeps the newest record only, and
//! a restart must come to the same. So each record gets a number as it comes.
//!
//! What is kept here is bounded by what clients commit in transactions that they leave open: an entry for each producer and partition, with as
//! much metadata as `offset.metadata.max.bytes` allows. A transaction is open for `transaction.max.timeout.ms` at most.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::wire::group_records::OffsetCommitValue;

/// Group, topic and partition.
pub type Place = (Arc<str>, Arc<str>, i32);

/// What waits for transactions of one group, by topic and partition.
pub type GroupPending = BTreeMap<Arc<str>, BTreeMap<i32, Waiting>>;

/// Offsets that wait for the end of their transactions.
#[derive(Debug, Default)]
pub struct Pending {
    groups: HashMap<Arc<str>, GroupPending>,
    producers: HashMap<i64, BTreeSet<Place>>,
    /// The number of the newest record.
    newest: u64,
}

/// Offsets that wait for one partition of a group: at least one.
#[derive(Debug, Default)]
pub struct Waiting {
    /// The number of the record that counts; nothing while that is older than all that wait.
    counts: Option<u64>,
    /// Numbers and offsets by producer.
    offsets: BTreeMap<i64, (u64, OffsetCommitValue)>,
}

impl Waiting {
    /// What waits, of all producers.
    pub fn values(&self) -> impl Iterator<Item = &OffsetCommitValue> {
        self.offsets.values().map(|(_, value)| value)
    }
}

impl Pending {
    /// Whether anything waits for a partition.
    pub fn contains(&self, group: &str, topic: &str, partition: i32) -> bool {
        let topics = self.of_group(group);
        let partitions = topics.and_then(|topics| topics.get(topic));
        partitions.is_some_and(|partitions| partitions.contains_key(&partition))
    }

    /// What waits for a group; `None` if nothing does.
    pub fn of_group(&self, group: &str) -> Option<&GroupPending> {
        self.groups.get(group)
    }

    /// The groups for which something waits.
    pub fn groups(&self) -> impl Iterator<Item = &Arc<str>> {
        self.groups.keys()
    }

    /// Whether nothing is kept.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.producers.is_empty()
    }

    /// A record of a transaction.
    pub fn put(&mut self, place: Place, producer_id: i64, value: OffsetCommitValue) {
        self.newest += 1;
        let (group, topic, partition) = &place;
        let topics = self.groups.entry(group.clone()).or_default();
        let waiting = topics
            .entry(topic.clone())
            .or_default()
            .entry(*partition)
            .or_default();
        waiting.offsets.insert(producer_id, (self.newest, value));
        self.producers.entry(producer_id).or_default().insert(place);
    }

    /// A record that counts at once: what waits for the partition is older than it.
    pub fn overtake(&mut self, group: &str, topic: &str, partition: i32) {
        self.newest += 1;
        let topics = self.groups.get_mut(group);
        let partitions = topics.and_then(|topics| topics.get_mut(topic));
        if let Some(waiting) = partitions.and_then(|partitions| partitions.get_mut(&partition)) {
            waiting.counts = Some(self.newest);
        }
    }

    /// Takes out what waits for the end of a producer's transaction, with the offsets that count from now on: none if it was aborted, or where a newer
    /// one counts already.
    pub fn end(&mut self, producer_id: i64, is_commit: bool) -> Vec<(Place, Option<OffsetCommitValue>)> {
        let places = self.producers.remove(&producer_id).unwrap_or_default();
        let mut ended = Vec::with_capacity(places.len());
        for place in places {
            let value = self.change(&place.0, &place.1, place.2, |waiting| {
                let (number, value) = waiting.offsets.remove(&producer_id)?;
                let counts = is_commit && waiting.counts.is_none_or(|other| other < number);
                counts.then(|| {
                    waiting.counts = Some(number);
                    value
                })
            });
            ended.push((place, value.flatten()));
        }
        ended
    }

    /// Forgets all that waits for a partition.
    pub fn remove(&mut self, group: &str, topic: &str, partition: i32) {
        let offsets = self.change(group, topic, partition, |waiting| {
            std::mem::take(&mut waiting.offsets)
        });
        for producer_id in offsets.unwrap_or_default().into_keys() {
            let Some(places) = self.producers.get_mut(&producer_id) else {
                continue;
            };
            places.remove(&(Arc::from(group), Arc::from(topic), partition));
            if places.is_empty() {
                self.producers.remove(&producer_id);
            }
        }
    }

    /// Changes what waits for a partition, if anything does, and keeps no more than what waits then.
    fn change<R>(
        &mut self,
        group: &str,
        topic: &str,
        partition: i32,
        change: impl FnOnce(&mut Waiting) -> R,
    ) -> Option<R> {
        let topics = self.groups.get_mut(group)?;
        let partitions = topics.get_mut(topic)?;
        let waiting = partitions.get_mut(&partition)?;
        let changed = change(waiting);
        if waiting.offsets.is_empty() {
            partitions.remove(&partition);
        }
        if partitions.is_empty() {
            topics.remove(topic);
        }
        if topics.is_empty() {
            self.groups.remove(group);
        }
        Some(changed)
    }
}
