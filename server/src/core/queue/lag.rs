//! How far groups have read, from their coordinators to the owners of the partitions; and the clock of all that has to do with limits.
//!
//! Nobody is asked when something is appended: each core with coordinators looks a few times a second where the groups are, and what is new goes
//! to all owners.

use std::time::{Duration, Instant};

use crate::core::Core;
use crate::handlers::groups::{offsets_topic, partition_of};
use crate::queue::{Committed, GroupLag, TopicQueue};
use crate::wire::Uuid;

/// How often committed offsets are looked at, and who waits for room looks for it unasked.
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Core {
    /// When there is something to do.
    pub(in crate::core) fn queue_deadline(&self, now: Instant) -> Option<Instant> {
        let queues = &self.queues;
        let is_idle =
            queues.waiting.is_empty() && queues.behind.is_empty() && !self.shared.queues.has_groups();
        if is_idle {
            return None;
        }
        let next = queues.next_look.unwrap_or(now);
        Some(queues.waiting.deadline().map_or(next, |at| at.min(next)))
    }

    /// Does what is due.
    pub(in crate::core) fn tend_queues(&mut self, now: Instant) {
        if self.queue_deadline(now).is_none_or(|at| at > now) {
            return;
        }
        self.expire_waiting(now);
        if self.queues.next_look.is_some_and(|at| at > now) {
            return;
        }
        self.queues.next_look = Some(now + LOOK_EVERY);
        let behind: Vec<_> = self.queues.behind.iter().copied().collect();
        behind.into_iter().for_each(|slot| self.on_queue_shortened(slot));
        self.tell_lags();
        self.retry_waiting();
    }

    /// Tells all owners what the coordinators of this core know of groups whose lag is limited.
    pub(super) fn tell_lags(&mut self) {
        if !self.shared.queues.has_groups() {
            return;
        }
        let mut news: Vec<Uuid> = Vec::new();
        for topic in self.shared.queues.all() {
            let groups = topic.groups();
            let told = groups.iter().filter(|group| {
                let committed = self.committed_of(&topic, group);
                committed.is_some_and(|committed| group.tell(committed))
            });
            if told.count() > 0 {
                news.push(topic.id());
            }
        }
        news.into_iter().for_each(|topic_id| self.tell_of_room(topic_id));
    }

    /// What a group has committed, where its coordinator is on this core and has loaded. Without the topic for offsets no group has any.
    fn committed_of(&self, topic: &TopicQueue, group: &GroupLag) -> Option<Committed> {
        let Some(offsets) = offsets_topic(&self.image) else {
            return (self.id == 0).then(Committed::new);
        };
        let partition = partition_of(group.group(), offsets.partitions.len());
        let host = self.groups.by_partition.get(&partition)?;
        let committed = host.machine()?.committed(group.group(), topic.name());
        Some(committed.collect())
    }
}
