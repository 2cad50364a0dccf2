//! Coordinators come to know their groups: each reads its partition of `__consumer_offsets` from front to back, in pieces, one partition
//! of a core at a time, while clients use everything else.

use std::collections::BTreeSet;
use std::time::Instant;

use bytes::Bytes;
use ringlog_engine::shard::{ReadData, ReadError, ReadOutcome, ReadRequest};

use super::host::{Host, State};
use super::{Asker, OFFSETS_TOPIC, with_ctx};
use crate::cli::records::Batches;
use crate::core::Core;
use crate::core::mail::{Mail, PartitionKey};
use crate::groups::Coordinator;
use crate::wire::group_records::GroupRecord;

/// Bytes that are read at once.
const PIECE_BYTES: usize = 1 << 20;
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
    since: Option<Instant>,
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
            if batch.header.is_control() {
                continue;
            }
            let wrong = |error: &dyn std::fmt::Display| format!("the batch at offset {base}: {error}");
            let records = batch.records(MAX_UNPACKED_BYTES).map_err(|error| wrong(&error))?;
            for record in records {
                let record = record.map_err(|error| wrong(&error))?;
                let Some(key) = record.key.as_ref().filter(|_| record.offset >= from) else {
                    continue;
                };
                let decoded = GroupRecord::decode(key, record.value.as_ref())
                    .map_err(|error| format!("the record at offset {}: {error}", record.offset))?;
                self.records += 1;
                match decoded {
                    GroupRecord::Other(_) => self.passed_over += 1,
                    known => self.coordinator.replay(known),
                }
            }
        }
        Ok(next)
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
        }
        for key in own {
            self.groups
                .hosts
                .entry(key.index)
                .or_insert_with(|| Host::new(key));
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
        let is_loading = |(index, host): (&i32, &Host)| match &host.state {
            State::Loading(loading) => Some((*index, host.key, loading.next, loading.is_reading)),
            _ => None,
        };
        let Some((partition, key, next, is_reading)) = self.groups.hosts.iter().find_map(is_loading) else {
            return;
        };
        let Some(slot) = self.partitions.slot(&key).filter(|_| !is_reading) else {
            return;
        };
        let Some(offsets) = self.shard.offsets(slot) else {
            return;
        };
        let offset = next.unwrap_or(offsets.log_start).max(offsets.log_start);
        if offset >= offsets.log_end {
            return self.activate_host(partition);
        }
        if offset >= offsets.high_watermark {
            // The rest is being committed.
            return;
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
            // Tried again when there is memory.
            Err(ReadError::Busy) => return,
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
        self.post(self.id, Mail::GoOnLoading);
    }

    fn activate_host(&mut self, partition: i32) {
        let now = self.io.now();
        let now_ms = self.groups.now_ms(now);
        let image = self.image.clone();
        if let Some(host) = self.groups.hosts.get_mut(&partition) {
            if let State::Loading(loading) = &host.state
                && loading.records > 0
            {
                let took = loading
                    .since
                    .map_or(0, |since| now.saturating_duration_since(since).as_millis());
                crate::info!(
                    "groups loaded partition={OFFSETS_TOPIC}-{partition} records={} passed_over={} ms={took}",
                    loading.records,
                    loading.passed_over
                );
            }
            with_ctx(&self.groups.settings, &image, now_ms, |ctx| {
                host.activate(ctx);
                // Topics may have gone, and the broker with them before the offsets did.
                host.topics_changed(ctx);
            });
            if host.has_decided() {
                self.groups.touched.insert(partition);
            }
        }
        self.post(self.id, Mail::GoOnLoading);
    }
}
