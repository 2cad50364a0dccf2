//! The topics of a sink: names, and a locked log for each partition.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::lock;
use super::log::Log;

/// No such topic or partition.
pub(super) const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const INVALID_TOPIC: i16 = 17;
const TOPIC_ALREADY_EXISTS: i16 = 36;
const INVALID_PARTITIONS: i16 = 37;

/// Partitions of all topics together.
pub(super) const MAX_PARTITIONS: usize = 100_000;
/// The longest topic name, as in Kafka.
const MAX_NAME_BYTES: usize = 249;

/// All topics by name.
#[derive(Default)]
pub(super) struct Topics {
    by_name: RwLock<HashMap<String, Topic>>,
}

/// One topic's partitions, by index.
pub(super) struct Topic {
    partitions: Vec<Mutex<Log>>,
}

impl Topics {
    /// The topics for as long as a request takes. Nothing may wait while it holds this.
    pub(super) fn read(&self) -> View<'_> {
        View(self.by_name.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Topic>> {
        self.by_name.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates a topic, or with `only_validate` says whether it could be. Otherwise Kafka's number for the error.
    pub(super) fn create(&self, name: &str, partitions: i32, only_validate: bool) -> Result<(), i16> {
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return Err(INVALID_TOPIC);
        }
        let mut topics = self.write();
        let held: usize = topics.values().map(|topic| topic.partitions.len()).sum();
        let Entry::Vacant(place) = topics.entry(name.to_owned()) else {
            return Err(TOPIC_ALREADY_EXISTS);
        };
        let partitions = usize::try_from(partitions).map_err(|_| INVALID_PARTITIONS)?;
        if partitions == 0 || partitions > MAX_PARTITIONS - held {
            return Err(INVALID_PARTITIONS);
        }
        if !only_validate {
            let partitions = (0..partitions).map(|_| Mutex::default()).collect();
            place.insert(Topic { partitions });
        }
        Ok(())
    }

    /// Removes a topic and wakes who waits for it. Otherwise Kafka's number for the error.
    pub(super) fn delete(&self, name: &str) -> Result<(), i16> {
        let topic = self.write().remove(name).ok_or(UNKNOWN_TOPIC_OR_PARTITION)?;
        for partition in &topic.partitions {
            lock(partition).wake_waiters();
        }
        Ok(())
    }
}

/// The topics as they are while this is held.
pub(super) struct View<'a>(RwLockReadGuard<'a, HashMap<String, Topic>>);

impl View<'_> {
    pub(super) fn partition(&self, topic: &str, index: i32) -> Option<&Mutex<Log>> {
        let partitions = &self.0.get(topic)?.partitions;
        partitions.get(usize::try_from(index).ok()?)
    }

    /// How many partitions a topic has; `None` when there is no such topic.
    pub(super) fn partitions(&self, topic: &str) -> Option<usize> {
        Some(self.0.get(topic)?.partitions.len())
    }

    /// All names, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.0.keys().cloned().collect();
        names.sort_unstable();
        names
    }
}
