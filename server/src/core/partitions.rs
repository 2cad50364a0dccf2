//! The partitions this core owns: opening, closing and settings, as the metadata image says.
//!
//! ```text
//! core 0: records committed -> Prepare to all -> owners make folders and open, or close and remove -> Ready
//!                           -> Publish to all -> the image is swapped, settings follow             -> Ready
//! ```

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringlog_engine::background::{FileJob, Inbox};
use ringlog_engine::checkpoint;
use ringlog_engine::shard::{LogOptions, PartitionSpec, Slot};

use super::Core;
use super::control::{PartitionChange, Update};
use super::groups::Groups;
use super::mail::{Mail, PartitionKey};
use crate::config::TopicSettings;
use crate::groups::GroupSettings;
use crate::transactions::TransactionSettings;

/// The open partitions of one core, and what is under way for them.
#[derive(Debug, Default)]
pub struct Partitions {
    open: HashMap<PartitionKey, Open>,
    /// Folders being made, by the job's number.
    making: HashMap<u64, PartitionChange>,
    /// Folders that could not be made, the disk being full, say; they are tried again.
    unmade: Vec<PartitionChange>,
    retry_at: Option<Instant>,
    next_job: u64,
    /// Where results of jobs arrive.
    pub inbox: Inbox,
}

/// How long after a folder could not be made it is tried again.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Open {
    slot: Slot,
    topic: Arc<str>,
    is_compacted: bool,
}

impl Partitions {
    /// When folders that could not be made are tried again.
    pub fn deadline(&self) -> Option<Instant> {
        self.retry_at
    }

    /// The engine's name for a partition of this core.
    pub fn slot(&self, key: &PartitionKey) -> Option<Slot> {
        self.open.get(key).map(|open| open.slot)
    }

    /// The open partitions with their topics' names.
    pub fn all(&self) -> impl Iterator<Item = (&PartitionKey, &str, Slot)> {
        self.open.iter().map(|(key, open)| (key, &*open.topic, open.slot))
    }

    /// Notes a partition that is open.
    pub fn insert(&mut self, key: PartitionKey, topic: Arc<str>, slot: Slot, options: &LogOptions) {
        let is_compacted = options.may_have_gaps;
        self.open.insert(
            key,
            Open {
                slot,
                topic,
                is_compacted,
            },
        );
    }

    /// Notes that a partition is open no more.
    pub fn forget(&mut self, key: &PartitionKey) {
        self.open.remove(key);
    }

    /// Whether the partition's topic is compacted, so that every record needs a key.
    pub fn is_compacted(&self, key: &PartitionKey) -> bool {
        self.open.get(key).is_some_and(|open| open.is_compacted)
    }

    fn job(&mut self) -> u64 {
        self.next_job += 1;
        self.next_job
    }
}

/// The engine's settings of a log from the topic's.
pub fn log_options(settings: &TopicSettings) -> LogOptions {
    LogOptions {
        segment_bytes: settings.segment_bytes,
        segment_ms: settings.segment_ms,
        segment_jitter_ms: jitter(settings.segment_jitter_ms),
        index_interval_bytes: settings.index_interval_bytes,
        index_max_bytes: settings.segment_index_bytes,
        max_message_bytes: settings.max_message_bytes,
        log_append_time: settings.log_append_time,
        timestamp_before_max_ms: settings.timestamp_before_max_ms,
        timestamp_after_max_ms: settings.timestamp_after_max_ms,
        retention: settings.retention(),
        file_delete_delay: Duration::from_millis(settings.file_delete_delay_ms),
        durability: settings.durability,
        may_have_gaps: settings.compact,
    }
}

/// A random part of the most that may be taken off, so that many partitions do not roll at once.
fn jitter(most_ms: i64) -> i64 {
    match most_ms {
        ..=0 => 0,
        most => (getrandom::u64().unwrap_or(0) >> 1) as i64 % most,
    }
}

/// The folder of a partition, within the data directory.
pub fn folder_name(topic: &str, index: i32) -> String {
    format!("{topic}-{index}")
}

impl Core {
    /// Opens and closes what of the update is this core's. Ready is sent when all of it is done.
    pub(super) fn prepare(&mut self, update: &Update) {
        let (id, before) = (self.id, self.placement.clone());
        let closed = update.closed.iter();
        closed
            .filter(|change| before.owner(&change.key) == id)
            .for_each(|change| self.close_partition(change));
        let opened = update.opened.iter();
        opened
            .filter(|change| update.placement.owner(&change.key) == id)
            .for_each(|change| self.make_folder(change.clone()));
        self.preparing = Some(update.image.clone());
        self.ready_when_made();
    }

    fn make_folder(&mut self, change: PartitionChange) {
        let token = self.partitions.job();
        let job = FileJob::CreatePartition {
            folder: self.folder(&change),
            metadata: checkpoint::encode_partition_metadata(change.key.topic_id.0),
            epochs: "0\n0\n".to_owned(),
        };
        self.submit(token, job);
        self.partitions.making.insert(token, change);
    }

    /// Tries again to make the folders that could not be made. Until then their partitions have no leader to clients.
    pub(super) fn retry_folders(&mut self) {
        if self.partitions.retry_at.is_none_or(|at| self.io.now() < at) {
            return;
        }
        self.partitions.retry_at = None;
        for change in std::mem::take(&mut self.partitions.unmade) {
            if self.is_current(&change.key) {
                self.make_folder(change);
            }
        }
    }

    fn folder(&self, change: &PartitionChange) -> PathBuf {
        self.shared
            .config
            .data_dir
            .join(folder_name(&change.topic, change.key.index))
    }

    fn submit(&mut self, token: u64, job: FileJob) {
        let waker = self.io.waker();
        self.background
            .submit(token, job, &self.partitions.inbox, Some(waker));
    }

    /// Takes the results of jobs on folders.
    pub(super) fn take_job_results(&mut self) {
        while let Some(done) = self.partitions.inbox.pop() {
            if let Err(error) = &done.result {
                crate::error!("{error}");
            }
            let Some(change) = self.partitions.making.remove(&done.token) else {
                continue;
            };
            match done.result {
                Ok(_) if self.is_current(&change.key) => {
                    self.open_partition(&change);
                    // One that is opened late, after its folder could not be made at first, has a coordinator too.
                    self.host_coordinators();
                }
                Ok(_) => self.retire_folder(&change),
                Err(_) if !self.is_current(&change.key) => {}
                Err(_) => {
                    self.partitions.unmade.push(change);
                    self.partitions.retry_at = Some(self.io.now() + RETRY);
                }
            }
            self.ready_when_made();
        }
    }

    fn open_partition(&mut self, change: &PartitionChange) {
        let image = self.preparing.as_ref().unwrap_or(&self.image);
        let settings = image.topic_settings(&self.shared.config, self.shared.node.id, &change.topic);
        let spec = PartitionSpec {
            topic_id: change.key.topic_id.0,
            name: folder_name(&change.topic, change.key.index),
            leader_epoch: change.leader_epoch,
            options: log_options(&settings),
        };
        let options = spec.options;
        let slot = self.shard.add_partition(&*self.io, spec, None);
        self.partitions
            .insert(change.key, change.topic.clone(), slot, &options);
    }

    fn ready_when_made(&mut self) {
        if self.partitions.making.is_empty() && self.preparing.take().is_some() {
            self.post(0, Mail::Ready);
        }
    }

    fn close_partition(&mut self, change: &PartitionChange) {
        self.partitions.unmade.retain(|unmade| unmade.key != change.key);
        let Some(Open { slot, .. }) = self.partitions.open.remove(&change.key) else {
            return;
        };
        self.shard.remove_partition(&mut *self.io, slot);
        let fired = self.watches.closed(slot);
        self.tell_moved(fired);
        self.retire_folder(change);
    }

    /// Whether the newest image this core knows has the partition: its topic may be deleted while its folder is being made
    /// for the second time.
    fn is_current(&self, key: &PartitionKey) -> bool {
        let image = self.preparing.as_ref().unwrap_or(&self.image);
        let topic = image.topic_by_id(key.topic_id);
        topic.is_some_and(|topic| topic.partitions.contains_key(&key.index))
    }

    /// Removes the folder of a partition that is closed.
    fn retire_folder(&mut self, change: &PartitionChange) {
        let folder = self.folder(change);
        let name = folder_name(&change.topic, change.key.index);
        let unique = getrandom::u64().unwrap_or(0);
        let renamed = self
            .shared
            .config
            .data_dir
            .join(retired_name(&name, unique, "delete"));
        // The topic is gone, and its settings with it: as in Kafka the broker's is what counts.
        let settings = self
            .image
            .topic_settings(&self.shared.config, self.shared.node.id, "");
        let delay = Duration::from_millis(settings.file_delete_delay_ms);
        let token = self.partitions.job();
        let job = FileJob::RemovePartition {
            folder,
            renamed,
            delay,
        };
        self.submit(token, job);
    }

    /// Makes the update's image the one all requests see.
    pub(super) fn publish(&mut self, update: &Update) {
        self.image = update.image.clone();
        self.placement = update.placement.clone();
        let open = self.partitions.open.values_mut();
        for open in open.filter(|open| update.changes_settings_of(&open.topic)) {
            let (config, node_id) = (&self.shared.config, self.shared.node.id);
            let options = log_options(&update.image.topic_settings(config, node_id, &open.topic));
            open.is_compacted = options.may_have_gaps;
            self.shard.set_options(open.slot, options);
        }
        for change in &update.elected {
            if let Some(slot) = self.partitions.slot(&change.key) {
                self.shard.set_leader_epoch(slot, change.leader_epoch);
            }
        }
        if update.reconfigured.is_none() {
            let layers = self.image.layers(&self.shared.config, self.shared.node.id);
            self.group_settings = GroupSettings::of(&layers);
            self.transaction_settings = TransactionSettings::of(&layers);
        }
        self.let_go();
        self.host_coordinators();
        self.tell_machines_of_topics::<Groups>();
        self.post(0, Mail::Ready);
    }
}

/// What a partition's folder is called once the partition is gone: `delete` until its files are removed, at the latest
/// at the next start, or `stray` when nobody asked for its end. No longer than a file name can be.
pub fn retired_name(name: &str, unique: u64, why: &str) -> String {
    let suffix = format!(".{unique:032x}-{why}");
    let kept = name.len().min(255 - suffix.len());
    format!("{}{suffix}", &name[..kept])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retired_folders_have_names_a_file_system_takes() {
        assert_eq!(retired_name("t-0", 7, "delete"), format!("t-0.{:032x}-delete", 7));
        assert_eq!(retired_name(&"x".repeat(249), 7, "delete").len(), 255);
    }
}
