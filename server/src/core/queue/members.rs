//! Which partitions count for the limits of their topic: as they open and close, as settings change, and as they move between cores.
//!
//! A topic that gets limits is counted by all owners first (Prepare), and limited then (Publish): so nobody limits by half a count.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use ringlog_engine::shard::Slot;

use super::waiting::Held;
use crate::config::queue::{PREFIX, QueueLimits};
use crate::core::Core;
use crate::core::control::Update;
use crate::core::mail::{Mail, PartitionKey};
use crate::metadata::image::{MetadataImage, ResourceType, Topic};
use crate::queue::PartitionQueue;
use crate::wire::Uuid;

/// What goes with a partition to another core.
#[derive(Debug, Default)]
pub struct QueueInTransit {
    queue: Option<Box<PartitionQueue>>,
    waiting: Vec<Held>,
}

impl Core {
    /// The limits of a topic in an image.
    fn limits_in(&self, image: &MetadataImage, topic: &str) -> Option<QueueLimits> {
        let own = image.settings(ResourceType::Topic, topic)?;
        if !own.keys().any(|key| key.starts_with(PREFIX)) {
            return None;
        }
        let settings = image.topic_settings(&self.shared.config, self.shared.node.id, topic);
        settings.queue
    }

    /// At start: all partitions that are open already.
    pub(in crate::core) fn open_queues(&mut self) {
        let open = self.partitions.all();
        let open: Vec<(PartitionKey, Arc<str>)> =
            open.map(|(key, topic, _)| (*key, Arc::from(topic))).collect();
        for (key, topic) in open {
            self.open_queue(&key, &topic);
        }
    }

    /// Owner: a partition is open, or its settings may differ from now on. It is limited at once unless an image is being prepared for.
    pub(in crate::core) fn open_queue(&mut self, key: &PartitionKey, topic: &Arc<str>) {
        let image = self.preparing.clone();
        let limits = self.limits_in(image.as_ref().unwrap_or(&self.image), topic);
        let Some(limits) = limits else { return };
        self.begin_counting(key, topic);
        if image.is_none() {
            self.limit(key, limits);
        }
    }

    /// Owner: counts a partition, if it does not yet.
    fn begin_counting(&mut self, key: &PartitionKey, topic: &Arc<str>) {
        let Some((slot, false)) = self.partitions.bounded_slot(key) else {
            return;
        };
        let Some(view) = self.view(slot) else { return };
        let topic = self.shared.queues.topic(key.topic_id, topic);
        let extents = self.shard.segment_sizes(slot);
        let queue = PartitionQueue::new(topic, key.index, view, extents);
        self.partitions.set_queue(key, Some(Box::new(queue)));
        self.queues.by_slot.insert(slot, *key);
    }

    fn limit(&mut self, key: &PartitionKey, limits: QueueLimits) {
        let topic = self.image.topic_by_id(key.topic_id);
        let partitions = topic.map_or(1, |topic| topic.partitions.len());
        if let Some((_, queue)) = self.partitions.queue(key) {
            queue.set_limits(Some(limits), partitions);
        }
        self.settle_queue(key);
    }

    /// Every core, while an update is prepared: its partitions of topics with limits are counted, and it tells where groups are that are to be
    /// looked at from then on.
    pub(in crate::core) fn prepare_queues(&mut self, update: &Update) {
        let changed: Vec<&Topic> = match &update.reconfigured {
            Some(topics) if topics.is_empty() => return,
            Some(topics) => topics
                .iter()
                .filter_map(|name| update.image.topic(name))
                .collect(),
            None => update.image.topics().collect(),
        };
        for topic in changed {
            let limits = self.limits_in(&update.image, &topic.name);
            if let Some(limits) = limits.filter(|limits| !limits.lag_groups.is_empty()) {
                let queue = self.shared.queues.topic(topic.id, &topic.name);
                queue.set_groups(&limits.lag_groups);
                self.queues.preparing.push(queue);
            }
        }
        if !self.queues.preparing.is_empty() {
            self.tell_lags();
        }
        for (key, topic) in self.own_partitions(|_, topic| update.changes_settings_of(topic)) {
            self.open_queue(&key, &topic);
        }
    }

    fn own_partitions(
        &self,
        is_meant: impl Fn(&PartitionKey, &Arc<str>) -> bool,
    ) -> Vec<(PartitionKey, Arc<str>)> {
        let all = self.partitions.all_named();
        let meant = all.filter(|(key, topic)| is_meant(key, topic));
        meant.map(|(key, topic)| (*key, topic.clone())).collect()
    }

    /// Every core, with a new image in force: its limits hold, and the shares of topics that have grown.
    pub(in crate::core) fn publish_queues(&mut self, update: &Update) {
        let is_settled = update.reconfigured.as_ref().is_some_and(HashSet::is_empty);
        if is_settled && self.queues.by_slot.is_empty() {
            return;
        }
        let grown: HashSet<Uuid> = update.opened.iter().map(|change| change.key.topic_id).collect();
        let is_meant = |key: &PartitionKey, topic: &Arc<str>| {
            update.changes_settings_of(topic) || grown.contains(&key.topic_id)
        };
        let mut changed = BTreeSet::new();
        for (key, topic) in self.own_partitions(is_meant) {
            match self.limits_in(&update.image, &topic) {
                Some(limits) => {
                    self.begin_counting(&key, &topic);
                    self.limit(&key, limits);
                }
                None if self.partitions.set_queue(&key, None).is_none() => continue,
                None => self.queues.by_slot.retain(|_, own| *own != key),
            }
            changed.insert(key.topic_id);
        }
        self.queues.preparing.clear();
        for topic_id in changed {
            self.post(self.id, Mail::QueueRoom(topic_id));
        }
    }

    /// Owner: a partition is closed, and what it held is gone.
    pub(in crate::core) fn close_queue(&mut self, key: &PartitionKey, slot: Slot) {
        self.queues.behind.remove(&slot);
        if self.queues.by_slot.remove(&slot).is_some() {
            self.refuse_waiting_for(key);
            self.tell_of_room(key.topic_id);
        }
    }

    /// Old owner: what it counts goes with the partition, and who waits for room in it.
    pub(in crate::core) fn release_queue(&mut self, key: &PartitionKey, slot: Slot) -> QueueInTransit {
        self.queues.behind.remove(&slot);
        self.queues.by_slot.remove(&slot);
        QueueInTransit {
            queue: self.partitions.set_queue(key, None),
            waiting: self.take_waiting_for(key),
        }
    }

    /// New owner: goes on counting. Who waited for room in the partition does so before all that comes.
    pub(in crate::core) fn adopt_queue(&mut self, key: &PartitionKey, slot: Slot, transit: QueueInTransit) {
        let QueueInTransit { queue, waiting } = transit;
        if let (Some(mut queue), Some(view)) = (queue, self.view(slot)) {
            queue.move_to(view);
            let topic = queue.topic().clone();
            self.partitions.set_queue(key, Some(queue));
            self.queues.by_slot.insert(slot, *key);
            self.resume_waiting(topic, waiting);
        }
    }
}
