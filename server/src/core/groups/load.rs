//! Coordinators come to know their groups: each reads its partition of `__consumer_offsets` from front to back, in pieces, one partition
//! of a core at a time, while clients use everything else.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringlog_engine::shard::{ReadData, ReadError, ReadOutcome, ReadRequest};

use super::host::{Host, State};
use super::{Asker, OFFSETS_TOPIC, with_ctx};
use crate::cli::records::{Batches, ControlKind};
use crate::core::Core;
use crate::core::mail::{Mail, PartitionKey};
use crate::groups::Coordinator;
use crate::wire::group_records::GroupRecord;

/// Bytes that are read at once.
const PIECE_BYTES: usize = 1 << 20;
/// How long after there was no memory for a piece it is read again.
const RETRY: Duration = Duration::from_millis(100);
/// Bytes that a batch of Kafka's may unpack to: it may have been compressed, and each is at most as large as a batch may be.
const MAX_UNPACKED_BYTES: u64 = 64 << 20;

/// How far a coordinator has come.
#[derive(Debug, Default)]
pub(super) struct Loading {
    /// What it knows so far.
    pub coordinator: Coordinator<Asker>,
    /// The next offset to read; nothing before the first read.
    next: Option<i64>,
    is_reading: bool,
    records: u64,
    /// Records of types that are not served here, which are passed over.
    passed_over: u64,
    /// When it began to read.
    since: Option<Instant>,
    /// Records of transactions, by producer, that have not come to their end: those of one that was aborted, or has no end, never counted.
    pending: HashMap<i64, Vec<GroupRecord>>,
}

impl Loading {
    /// Takes up the records of whole batches, and returns the offset behind them.
    ///
    /// # Errors
    /// What is wrong with which of them.
    fn take(&mut self, bytes: Bytes, from: i64) -> Result<i64, String> {
        let mut next = from;
        for batch in Batches::new(bytes) {
            let batch = batch.map_err(|error| format!("the batch at offset {next}: {error}"))?;
            let (base, last) = (batch.header.base_offset, batch.header.last_offset());
            next = next.max(last + 1);
            let (is_control, producer_id) = (batch.header.is_control(), batch.header.producer_id);
            let wrong = |error: &dyn std::fmt::Display| format!("the batch at offset {base}: {error}");
            let records = batch.records(MAX_UNPACKED_BYTES).map_err(|error| wrong(&error))?;
            for record in records {
                let record = record.map_err(|error| wrong(&error))?;
                if is_control {
                    self.end_transaction(producer_id, record.control_kind());
                    continue;
                }
                let Some(key) = record.key.as_ref().filter(|_| record.offset >= from) else {
                    continue;
                };
                let decoded = GroupRecord::decode(key, record.value.as_ref())
                    .map_err(|error| format!("the record at offset {}: {error}", record.offset))?;
                self.records += 1;
                match decoded {
                    GroupRecord::Other(_) => self.passed_over += 1,
                    known if batch.header.is_transactional() => {
                        self.pending.entry(producer_id).or_default().push(known);
                    }
                    known => self.coordinator.replay(known),
                }
            }
        }
        Ok(next)
    }
}

impl Loading {
    /// What a producer wrote in the transaction that ends here counts if it was committed.
    fn end_transaction(&mut self, producer_id: i64, kind: Option<ControlKind>) {
        let records = self.pending.remove(&producer_id).unwrap_or_default();
        if kind == Some(ControlKind::Commit) {
            records
                .into_iter()
                .for_each(|record| self.coordinator.replay(record));
        }
    }
}

impl Core {
    /// Owner: has a coordinator for each of its partitions of the offsets topic, and none for others.
    pub(in crate::core) fn host_groups(&mut self) {
        let own = self
            .partitions
            .all()
            .filter(|(_, topic, _)| *topic == OFFSETS_TOPIC);
        let own: BTreeSet<PartitionKey> = own.map(|(key, _, _)| *key).collect();
        let gone: Vec<i32> = {
            let hosts = self.groups.hosts.iter();
            hosts
                .filter(|(_, host)| !own.contains(&host.key))
                .map(|(index, _)| *index)
                .collect()
        };
        for partition in gone {
            self.resign_host(partition, true);
            self.groups.hosts.remove(&partition);
            self.groups.loading.retain(|_, loading| *loading != partition);
        }
        let (shared, node_id) = (&self.shared, self.shared.node.id);
        let settings = self.image.topic_settings(&shared.config, node_id, OFFSETS_TOPIC);
        for key in own {
            let host = self
                .groups
                .hosts
                .entry(key.index)
                .or_insert_with(|| Host::new(key));
            host.set_max_batch_bytes(settings.max_message_bytes as usize);
        }
        self.go_on_loading();
    }

    /// Owner: a coordinator has decided what its log cannot take. It goes back to what the log has.
    pub(super) fn reload_host(&mut self, partition: i32) {
        if let Some(host) = self.groups.hosts.get_mut(&partition) {
            let replies = host.reload();
            self.send_group_replies(replies);
            self.go_on_loading();
        }
    }

    /// Owner: reads on, unless a read is under way.
    pub(in crate::core) fn go_on_loading(&mut self) {
        let mut next_one = None;
        for (partition, host) in &self.groups.hosts {
            let State::Loading(loading) = &host.state else {
                continue;
            };
            if loading.is_reading {
                return;
            }
            let slot = self.partitions.slot(&host.key);
            let Some((slot, offsets)) = slot.and_then(|slot| Some((slot, self.shard.offsets(slot)?))) else {
                continue;
            };
            let offset = loading.next.unwrap_or(offsets.log_start).max(offsets.log_start);
            // One whose rest is being committed lets the others go first.
            if offset >= offsets.log_end || offset < offsets.high_watermark {
                next_one = Some((*partition, slot, offset, offset >= offsets.log_end));
                break;
            }
        }
        let Some((partition, slot, offset, is_whole)) = next_one else {
            return;
        };
        if is_whole {
            return self.activate_host(partition);
        }
        let token = self.reads.next_id();
        let request = ReadRequest {
            offset,
            max_bytes: PIECE_BYTES,
            at_least_one: true,
            token,
        };
        self.note_loading(partition, Some(offset), true);
        match self.shard.read(&mut *self.io, slot, request) {
            ReadOutcome::Now(data) => self.on_loaded(partition, Ok(data)),
            ReadOutcome::Later => {
                self.groups.loading.insert(token, partition);
            }
            ReadOutcome::Error(error) => self.on_loaded(partition, Err(error)),
        }
    }

    fn note_loading(&mut self, partition: i32, next: Option<i64>, is_reading: bool) {
        let now = self.io.now();
        if let Some(Host {
            state: State::Loading(loading),
            ..
        }) = self.groups.hosts.get_mut(&partition)
        {
            loading.next = next.or(loading.next);
            loading.is_reading = is_reading;
            loading.since.get_or_insert(now);
        }
    }

    /// Owner: a read from disk is finished, which may be a coordinator's. Gives back what is not.
    pub(in crate::core) fn on_group_read(
        &mut self,
        token: u64,
        result: Result<ReadData, ReadError>,
    ) -> Option<Result<ReadData, ReadError>> {
        let Some(partition) = self.groups.loading.remove(&token) else {
            return Some(result);
        };
        self.on_loaded(partition, result);
        None
    }

    fn on_loaded(&mut self, partition: i32, result: Result<ReadData, ReadError>) {
        self.note_loading(partition, None, false);
        let Some(Host {
            state: State::Loading(loading),
            ..
        }) = self.groups.hosts.get_mut(&partition)
        else {
            return;
        };
        let from = loading.next.unwrap_or(0);
        let taken = match result {
            Ok(data) => {
                let mut bytes = Vec::with_capacity(data.bytes);
                data.slices
                    .iter()
                    .for_each(|slice| bytes.extend_from_slice(slice));
                loading.take(bytes.into(), from)
            }
            // Tried again when there is memory, of which nobody may tell.
            Err(ReadError::Busy) => {
                self.groups.retry_at = Some(self.io.now() + RETRY);
                return;
            }
            // Records before an offset were deleted meanwhile.
            Err(ReadError::OutOfRange { log_start_offset, .. }) if log_start_offset > from => {
                Ok(log_start_offset)
            }
            Err(error) => Err(format!("{error:?}")),
        };
        match taken {
            Ok(next) if next > from => {
                loading.next = Some(next);
                // The next piece has to wait for its turn.
                self.post(self.id, Mail::GoOnLoading);
            }
            Ok(_) => self.fail_host(partition, "no whole batch can be read"),
            Err(reason) => self.fail_host(partition, &reason),
        }
    }

    fn fail_host(&mut self, partition: i32, reason: &str) {
        crate::error!("{OFFSETS_TOPIC}-{partition} cannot be read, its groups have no coordinator: {reason}");
        if let Some(host) = self.groups.hosts.get_mut(&partition) {
            host.state = State::Resigned;
        }
        self.say_loaded();
        self.post(self.id, Mail::GoOnLoading);
    }

    fn activate_host(&mut self, partition: i32) {
        let times = self.group_times();
        let image = self.image.clone();
        if let Some(host) = self.groups.hosts.get_mut(&partition) {
            if let State::Loading(loading) = &host.state {
                let Loading {
                    records,
                    passed_over,
                    since,
                    ..
                } = **loading;
                self.groups.loaded.add(records, passed_over, since);
            }
            with_ctx(&self.groups.settings, &image, times, |ctx| {
                host.activate(ctx);
                // Topics may have gone, and the broker with them before the offsets did.
                host.topics_changed(ctx);
            });
            if host.has_decided() {
                self.groups.touched.insert(partition);
            }
        }
        self.say_loaded();
        self.say_rebalances(partition);
        self.post(self.id, Mail::GoOnLoading);
    }
}

#[cfg(test)]
mod tests {
    use ringlog_engine::batch::{BatchBuilder, control_key};

    use super::*;
    use crate::core::calls::Calls;
    use crate::groups::{Caller, Ctx, GroupRequest, GroupResponse, GroupSettings};
    use crate::metadata::image::MetadataImage;
    use crate::wire::Uuid;
    use crate::wire::group_records::{OffsetCommitKey, OffsetCommitValue};
    use crate::wire::offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};

    const ABORT: i16 = 0;
    const COMMIT: i16 = 1;

    /// A batch that commits an offset of the group, by a producer if it has an id.
    fn commit(base_offset: i64, producer_id: i64, offset: i64) -> Vec<u8> {
        let key = OffsetCommitKey {
            group: "g".into(),
            topic: "t".into(),
            partition: 0,
        };
        let value = OffsetCommitValue {
            offset,
            ..Default::default()
        };
        let (key, value) = GroupRecord::OffsetCommit(key, Some(value)).encode();
        let batch = BatchBuilder::new()
            .base_offset(base_offset)
            .record(0, Some(&key), value.as_deref());
        match producer_id {
            -1 => batch.finish(),
            id => batch.producer(id, 0, 0).transactional().finish(),
        }
    }

    fn marker(base_offset: i64, producer_id: i64, kind: i16) -> Vec<u8> {
        let batch = BatchBuilder::new()
            .base_offset(base_offset)
            .producer(producer_id, 0, -1);
        let value = [0; 6];
        batch
            .transactional()
            .control()
            .record(0, Some(&control_key(kind)), Some(&value))
            .finish()
    }

    /// The offset that the group has after these batches.
    fn offset_after(batches: &[Vec<u8>]) -> i64 {
        let mut loading = Loading::default();
        assert_eq!(loading.take(batches.concat().into(), 0), Ok(batches.len() as i64));
        let topic = OffsetFetchRequestTopics {
            name: "t".into(),
            partition_indexes: vec![0],
            ..Default::default()
        };
        let group = OffsetFetchRequestGroup {
            group_id: "g".into(),
            topics: Some(vec![topic]),
            ..Default::default()
        };
        let mut ctx = Ctx {
            now_ms: 0,
            wall_ms: 0,
            settings: &GroupSettings::default(),
            image: &MetadataImage::default(),
            new_id: &mut || Uuid::ZERO,
        };
        let caller = Caller {
            to: Asker {
                origin: 0,
                call: Calls::default().reserve_for_test(),
                place: 0,
            },
            version: 8,
            client_id: String::new(),
            client_host: String::new(),
        };
        let request = GroupRequest::Fetch {
            group,
            require_stable: false,
        };
        let step = loading.coordinator.handle(&mut ctx, caller, request);
        match step.replies.into_iter().next() {
            Some((_, GroupResponse::Fetch(answer))) => answer.topics[0].partitions[0].committed_offset,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn offsets_of_a_transaction_count_when_it_was_committed() {
        assert_eq!(
            offset_after(&[commit(0, -1, 5), commit(1, 7, 9), marker(2, 7, COMMIT)]),
            9
        );
        assert_eq!(
            offset_after(&[commit(0, -1, 5), commit(1, 7, 9), marker(2, 7, ABORT)]),
            5
        );
        assert_eq!(
            offset_after(&[commit(0, -1, 5), commit(1, 7, 9)]),
            5,
            "it has not ended"
        );
        assert_eq!(
            offset_after(&[commit(0, 7, 9), marker(1, 8, COMMIT), marker(2, 7, ABORT)]),
            -1
        );
    }

    #[test]
    fn a_damaged_record_says_where_it_is() {
        let mut batch = commit(0, -1, 5);
        let end = batch.len();
        batch.truncate(end - 1);
        assert_eq!(Loading::default().take(batch.clone().into(), 0), Ok(0), "cut off");
        let bad_key = BatchBuilder::new()
            .base_offset(3)
            .record(0, Some(&[0, 1, 0]), Some(&[0, 1]))
            .finish();
        let told = Loading::default().take(bad_key.into(), 3);
        assert!(
            told.as_ref().is_err_and(|why| why.contains("offset 3")),
            "{told:?}"
        );
    }
}
