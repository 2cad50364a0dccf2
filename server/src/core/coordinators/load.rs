//! Machines come to know what they knew: each reads its partition from front to back, in pieces, one partition of a core at a time, while
//! clients use everything else.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringlog_engine::shard::{Isolation, ReadData, ReadError, ReadOutcome, ReadRequest};
use ringlog_records::{Batches, ControlKind};

use super::host::{Host, State};
use super::{Machine, Replayed};
use crate::core::Core;
use crate::core::mail::{Mail, PartitionKey};

/// Bytes that are read at once.
const PIECE_BYTES: usize = 1 << 20;
/// How long after there was no memory for a piece it is read again.
const RETRY: Duration = Duration::from_millis(100);
/// Bytes that a batch of Kafka's may unpack to: it may have been compressed, and each is at most as large as a batch may be.
const MAX_UNPACKED_BYTES: u64 = 64 << 20;

/// How far a machine has come.
#[derive(Debug, Default)]
pub(super) struct Loading<M> {
    /// What it knows so far.
    pub machine: M,
    /// The next offset to read; nothing before the first read.
    next: Option<i64>,
    is_reading: bool,
    records: u64,
    /// Records of types that are not served here, which are passed over.
    passed_over: u64,
    /// When it began to read.
    since: Option<Instant>,
}

impl<M: Machine> Loading<M> {
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
            let in_transaction = batch.header.is_transactional().then_some(producer_id);
            let wrong = |error: &dyn std::fmt::Display| format!("the batch at offset {base}: {error}");
            let records = batch.records(MAX_UNPACKED_BYTES).map_err(|error| wrong(&error))?;
            for record in records {
                let record = record.map_err(|error| wrong(&error))?;
                if is_control {
                    match record.control_kind() {
                        Some(ControlKind::Commit) => self.machine.replay_end(producer_id, true),
                        Some(ControlKind::Abort) => self.machine.replay_end(producer_id, false),
                        _ => {}
                    }
                    continue;
                }
                let Some(key) = record.key.as_ref().filter(|_| record.offset >= from) else {
                    continue;
                };
                let replayed = Replayed {
                    key,
                    value: record.value.as_ref(),
                    producer_id: in_transaction,
                };
                self.records += 1;
                match self.machine.replay(replayed) {
                    Ok(true) => {}
                    Ok(false) => self.passed_over += 1,
                    Err(error) => return Err(format!("the record at offset {}: {error}", record.offset)),
                }
            }
        }
        Ok(next)
    }
}

impl Core {
    /// Owner: has a machine for each of its partitions of the topic, and none for others.
    pub(in crate::core) fn host_machines<M: Machine>(&mut self) {
        let own = self.partitions.all().filter(|(_, topic, _)| *topic == M::TOPIC);
        let own: BTreeSet<PartitionKey> = own.map(|(key, _, _)| *key).collect();
        let gone: Vec<i32> = {
            let hosts = M::hosts(self).by_partition.iter();
            hosts
                .filter(|(_, host)| !own.contains(&host.key))
                .map(|(index, _)| *index)
                .collect()
        };
        for partition in gone {
            self.resign_host::<M>(partition, true);
            let hosts = M::hosts(self);
            hosts.by_partition.remove(&partition);
            hosts.loading.retain(|_, loading| *loading != partition);
        }
        let (shared, node_id) = (&self.shared, self.shared.node.id);
        let settings = self.image.topic_settings(&shared.config, node_id, M::TOPIC);
        for key in own {
            let host = M::hosts(self)
                .by_partition
                .entry(key.index)
                .or_insert_with(|| Host::new(key));
            host.set_max_batch_bytes(settings.max_message_bytes as usize);
        }
        self.go_on_loading::<M>();
    }

    /// Owner: a machine has decided what its log cannot take. It goes back to what the log has.
    pub(super) fn reload_host<M: Machine>(&mut self, partition: i32) {
        if let Some(host) = M::hosts(self).by_partition.get_mut(&partition) {
            let outcomes = host.reload();
            M::act(self, partition, outcomes);
            self.go_on_loading::<M>();
        }
    }

    /// Owner: reads on, unless a read is under way.
    pub(in crate::core) fn go_on_loading<M: Machine>(&mut self) {
        let mut next_one = None;
        let hosts = M::hosts(self).by_partition.iter();
        let mut loading = Vec::new();
        for (partition, host) in hosts {
            match &host.state {
                State::Loading(loading) if loading.is_reading => return,
                State::Loading(state) => loading.push((*partition, host.key, state.next)),
                _ => {}
            }
        }
        for (partition, key, next) in loading {
            let slot = self.partitions.slot(&key);
            let Some((slot, offsets)) = slot.and_then(|slot| Some((slot, self.shard.offsets(slot)?))) else {
                continue;
            };
            let offset = next.unwrap_or(offsets.log_start).max(offsets.log_start);
            // One whose rest is being committed lets the others go first.
            if offset >= offsets.log_end || offset < offsets.high_watermark {
                next_one = Some((partition, slot, offset, offset >= offsets.log_end));
                break;
            }
        }
        let Some((partition, slot, offset, is_whole)) = next_one else {
            return;
        };
        if is_whole {
            return self.activate_host::<M>(partition);
        }
        let token = self.reads.next_id();
        let request = ReadRequest {
            offset,
            max_bytes: PIECE_BYTES,
            at_least_one: true,
            isolation: Isolation::Uncommitted,
            token,
        };
        self.note_loading::<M>(partition, Some(offset), true);
        match self.shard.read(&mut *self.io, slot, request) {
            ReadOutcome::Now(data) => self.on_loaded::<M>(partition, Ok(data)),
            ReadOutcome::Later => {
                M::hosts(self).loading.insert(token, partition);
            }
            ReadOutcome::Error(error) => self.on_loaded::<M>(partition, Err(error)),
        }
    }

    fn note_loading<M: Machine>(&mut self, partition: i32, next: Option<i64>, is_reading: bool) {
        let now = self.io.now();
        if let Some(Host {
            state: State::Loading(loading),
            ..
        }) = M::hosts(self).by_partition.get_mut(&partition)
        {
            loading.next = next.or(loading.next);
            loading.is_reading = is_reading;
            loading.since.get_or_insert(now);
        }
    }

    pub(super) fn on_loaded<M: Machine>(&mut self, partition: i32, result: Result<ReadData, ReadError>) {
        self.note_loading::<M>(partition, None, false);
        let Some(Host {
            state: State::Loading(loading),
            ..
        }) = M::hosts(self).by_partition.get_mut(&partition)
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
                let at = self.io.now() + RETRY;
                M::hosts(self).retry_at = Some(at);
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
            Ok(_) => self.fail_host::<M>(partition, "no whole batch can be read"),
            Err(reason) => self.fail_host::<M>(partition, &reason),
        }
    }

    fn fail_host<M: Machine>(&mut self, partition: i32, reason: &str) {
        crate::error!(
            "{}-{partition} cannot be read, its {} have no coordinator: {reason}",
            M::TOPIC,
            M::SUBJECT
        );
        if let Some(host) = M::hosts(self).by_partition.get_mut(&partition) {
            host.state = State::Resigned;
        }
        self.say_loaded::<M>();
        self.post(self.id, Mail::GoOnLoading);
    }

    /// Says what was loaded, if nothing more is being.
    fn say_loaded<M: Machine>(&mut self) {
        let now = self.io.now();
        let hosts = M::hosts(self);
        let is_loading = |host: &Host<M>| matches!(host.state, State::Loading(_));
        if !hosts.by_partition.values().any(is_loading)
            && let Some(line) = hosts.loaded.line(M::SUBJECT, now)
        {
            crate::info!("{line}");
        }
    }

    fn activate_host<M: Machine>(&mut self, partition: i32) {
        let hosts = M::hosts(self);
        if let Some(Host {
            state: State::Loading(loading),
            ..
        }) = hosts.by_partition.get(&partition)
        {
            hosts
                .loaded
                .add(loading.records, loading.passed_over, loading.since);
        }
        M::with_world(self, partition, |host, world| {
            host.activate(world);
            // Topics may have gone, and the broker with them before it was noticed.
            host.step(world, |machine, world| machine.topics_changed(world));
        });
        self.note_decided::<M>(partition);
        self.say_loaded::<M>();
        self.post(self.id, Mail::GoOnLoading);
    }
}

#[cfg(test)]
mod tests {
    use ringlog_engine::batch::{BatchBuilder, control_key};

    use super::*;
    use crate::core::calls::Calls;
    use crate::core::groups::{Asker, Groups};
    use crate::groups::{Caller, Ctx, GroupRequest, GroupResponse, GroupSettings};
    use crate::metadata::image::MetadataImage;
    use crate::wire::Uuid;
    use crate::wire::group_records::{GroupRecord, OffsetCommitKey, OffsetCommitValue};
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
        let mut loading = Loading::<Groups>::default();
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
        let step = loading.machine.handle(&mut ctx, caller, request);
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
        assert_eq!(
            Loading::<Groups>::default().take(batch.clone().into(), 0),
            Ok(0),
            "cut off"
        );
        let bad_key = BatchBuilder::new()
            .base_offset(3)
            .record(0, Some(&[0, 1, 0]), Some(&[0, 1]))
            .finish();
        let told = Loading::<Groups>::default().take(bad_key.into(), 3);
        assert!(
            told.as_ref().is_err_and(|why| why.contains("offset 3")),
            "{told:?}"
        );
    }
}
