//! What the owners of a topic's partitions count together.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::wire::Uuid;

/// Committed offsets of a group, by partition.
pub type Committed = BTreeMap<i32, i64>;

/// Nothing in here panics half-way; what another thread left behind is whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds an amount unless that makes more than `most`, then tells how much there is.
fn try_add(counter: &AtomicI64, amount: i64, most: i64) -> Result<(), i64> {
    let added = |held: i64| held.checked_add(amount).filter(|sum| *sum <= most);
    counter
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, added)
        .map(drop)
}

/// One topic with limits.
#[derive(Debug)]
pub struct TopicQueue {
    id: Uuid,
    name: Arc<str>,
    bytes: AtomicI64,
    records: AtomicI64,
    /// Cores on which producers wait for room.
    waiting: AtomicUsize,
    groups: Mutex<Vec<Arc<GroupLag>>>,
    /// Topics with groups, of the broker.
    lagged: Arc<AtomicUsize>,
}

impl TopicQueue {
    fn new(id: Uuid, name: Arc<str>, lagged: Arc<AtomicUsize>) -> TopicQueue {
        TopicQueue {
            id,
            name,
            bytes: AtomicI64::new(0),
            records: AtomicI64::new(0),
            waiting: AtomicUsize::new(0),
            groups: Mutex::default(),
            lagged,
        }
    }

    /// Its id.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Bytes and records in it.
    pub fn held(&self) -> (i64, i64) {
        (
            self.bytes.load(Ordering::Acquire),
            self.records.load(Ordering::Acquire),
        )
    }

    /// Counts bytes and records, which may be fewer than before.
    pub fn add(&self, bytes: i64, records: i64) {
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        self.records.fetch_add(records, Ordering::AcqRel);
    }

    /// Takes room for bytes.
    ///
    /// # Errors
    /// How many there are, when it would be more than `most`.
    pub fn take_bytes(&self, bytes: i64, most: i64) -> Result<(), i64> {
        try_add(&self.bytes, bytes, most)
    }

    /// Takes room for records.
    ///
    /// # Errors
    /// How many there are, when it would be more than `most`.
    pub fn take_records(&self, records: i64, most: i64) -> Result<(), i64> {
        try_add(&self.records, records, most)
    }

    /// The groups whose lag is looked at, all others forgotten.
    pub fn set_groups(&self, names: &[Arc<str>]) -> Vec<Arc<GroupLag>> {
        let mut groups = locked(&self.groups);
        let had_any = !groups.is_empty();
        groups.retain(|known| names.contains(&known.group));
        for name in names {
            if groups.iter().all(|known| known.group != *name) {
                groups.push(Arc::new(GroupLag::new(name.clone())));
            }
        }
        match (had_any, groups.is_empty()) {
            (false, false) => drop(self.lagged.fetch_add(1, Ordering::AcqRel)),
            (true, true) => drop(self.lagged.fetch_sub(1, Ordering::AcqRel)),
            _ => {}
        }
        groups.clone()
    }

    /// The groups whose lag is looked at.
    pub fn groups(&self) -> Vec<Arc<GroupLag>> {
        locked(&self.groups).clone()
    }

    /// Producers begin to wait on one more core. They must look for room once more afterwards: who makes some looks here.
    pub fn begin_waiting(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
    }

    /// On one core nobody waits any more.
    pub fn end_waiting(&self) {
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether producers wait on some core.
    pub fn has_waiting(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }
}

impl Drop for TopicQueue {
    fn drop(&mut self) {
        self.set_groups(&[]);
    }
}

/// How far one group is behind.
#[derive(Debug)]
pub struct GroupLag {
    group: Arc<str>,
    /// Offsets, over all partitions whose owners know where the group is.
    lag: AtomicI64,
    committed: Mutex<Arc<Committed>>,
    /// How often its coordinator has told something new; 0: it has not yet.
    version: AtomicU64,
}

impl GroupLag {
    fn new(group: Arc<str>) -> GroupLag {
        GroupLag {
            group,
            lag: AtomicI64::new(0),
            committed: Mutex::default(),
            version: AtomicU64::new(0),
        }
    }

    /// The group.
    pub fn group(&self) -> &Arc<str> {
        &self.group
    }

    /// Its coordinator tells what it has committed. True when that is news.
    pub fn tell(&self, told: Committed) -> bool {
        let mut committed = locked(&self.committed);
        if self.version.load(Ordering::Acquire) > 0 && **committed == told {
            return false;
        }
        *committed = Arc::new(told);
        self.version.fetch_add(1, Ordering::AcqRel);
        true
    }

    /// What was told last, if that is newer than the version given.
    pub fn told_since(&self, version: u64) -> Option<(u64, Arc<Committed>)> {
        if self.version.load(Ordering::Acquire) == version {
            return None;
        }
        let committed = locked(&self.committed);
        Some((self.version.load(Ordering::Acquire), committed.clone()))
    }

    /// Counts offsets, which may be fewer than before.
    pub fn add(&self, offsets: i64) {
        self.lag.fetch_add(offsets, Ordering::AcqRel);
    }

    /// Takes room for records that the group has not read.
    ///
    /// # Errors
    /// How far it is behind, when that would become more than `most`.
    pub fn take(&self, records: i64, most: i64) -> Result<(), i64> {
        try_add(&self.lag, records, most)
    }

    /// How far it is behind.
    pub fn lag(&self) -> i64 {
        self.lag.load(Ordering::Acquire)
    }
}

/// All topics with limits. Looked up when partitions open and when settings change, not when something is appended: only that takes the lock.
#[derive(Debug, Default)]
pub struct Queues {
    topics: Mutex<HashMap<Uuid, Weak<TopicQueue>>>,
    lagged: Arc<AtomicUsize>,
}

impl Queues {
    /// The topic's: the one there is, or a new one.
    pub fn topic(&self, id: Uuid, name: &Arc<str>) -> Arc<TopicQueue> {
        let mut topics = locked(&self.topics);
        if let Some(topic) = topics.get(&id).and_then(Weak::upgrade) {
            return topic;
        }
        topics.retain(|_, topic| topic.strong_count() > 0);
        let topic = Arc::new(TopicQueue::new(id, name.clone(), self.lagged.clone()));
        topics.insert(id, Arc::downgrade(&topic));
        topic
    }

    /// Whether the lag of any group is looked at.
    pub fn has_groups(&self) -> bool {
        self.lagged.load(Ordering::Acquire) > 0
    }

    /// All there are.
    pub fn all(&self) -> Vec<Arc<TopicQueue>> {
        locked(&self.topics).values().filter_map(Weak::upgrade).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_together_never_take_more_than_there_is() {
        let queues = Queues::default();
        let topic = queues.topic(Uuid::ZERO, &"t".into());
        let taken: i64 = std::thread::scope(|scope| {
            let take = || {
                (0..10_000)
                    .filter(|_| topic.take_bytes(7, 10_000).is_ok())
                    .count()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("counted") as i64)
                .sum()
        });
        assert_eq!((taken, topic.held().0), (10_000 / 7, 9_996));
        assert_eq!(topic.take_bytes(5, 10_000), Err(9_996));
        assert_eq!(topic.take_bytes(4, 10_000), Ok(()));
        assert_eq!(
            topic.take_bytes(i64::MAX, i64::MAX),
            Err(10_000),
            "without overflowing"
        );
    }

    #[test]
    fn a_topic_is_one_as_long_as_anybody_has_it() {
        let queues = Queues::default();
        let topic = queues.topic(Uuid::ZERO, &"t".into());
        assert!(Arc::ptr_eq(&topic, &queues.topic(Uuid::ZERO, &"t".into())));
        assert!(!queues.has_groups());
        let groups = topic.set_groups(&["g".into()]);
        assert!(queues.has_groups());
        assert!(Arc::ptr_eq(
            &groups[0],
            &topic.set_groups(&["h".into(), "g".into()])[0]
        ));
        topic.add(5, 5);
        drop(topic);
        assert!(queues.all().is_empty() && !queues.has_groups());
        assert_eq!(queues.topic(Uuid::ZERO, &"t".into()).held(), (0, 0));
    }

    #[test]
    fn only_news_is_told() {
        let group = GroupLag::new("g".into());
        assert!(group.told_since(0).is_none(), "its coordinator is still loading");
        assert!(
            group.tell(Committed::new()),
            "it has committed nothing, which is news"
        );
        assert!(!group.tell(Committed::new()));
        let (version, committed) = group.told_since(0).expect("news");
        assert!(committed.is_empty() && group.told_since(version).is_none());
        assert!(group.tell(Committed::from([(0, 7)])));
        assert_eq!(group.told_since(version).map(|(_, told)| told[&0]), Some(7));
    }
}
