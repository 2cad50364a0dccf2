//! Reads on the owner of the partitions: many at once, within one budget of bytes, from memory or from disk.
//!
//! A job is what one fetch wants of this core. Each read takes its most out of the budget when it starts and gives
//! back what it did not use, so reads from disk run side by side and still never bring more than was asked for.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use ringlog_engine::shard::{Isolation, Offsets, ReadData, ReadError, ReadOutcome, ReadRequest, Slot};

use super::Core;
use super::mail::{Mail, PartRead, PartitionKey, ReadFailure, ReadItem, ReadOrder};
use super::stages::Stage;
use crate::parked::{Waiter, Watched};

/// What an owner holds of reads.
#[derive(Debug, Default)]
pub struct Reads {
    jobs: HashMap<u64, Job>,
    /// Which job, and which of its partitions, a read from disk is for, and what it took out of the budget.
    by_token: HashMap<u64, (u64, usize, usize)>,
    /// Jobs that wait for memory.
    stalled: VecDeque<u64>,
    next_id: u64,
}

#[derive(Debug)]
struct Job {
    order: ReadOrder,
    /// Parallel to the order's items, filled from the front.
    parts: Vec<PartRead>,
    slots: Vec<Option<Slot>>,
    in_flight: usize,
    budget: usize,
    found: usize,
    since: Instant,
    /// Whether something had to come from disk.
    cold: bool,
}

impl Reads {
    /// A number that no read has.
    pub(super) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Since when the first that waits for memory has been under way.
    pub fn stalled_since(&self) -> Option<Instant> {
        let first = self.stalled.front()?;
        self.jobs.get(first).map(|job| job.since)
    }

    /// Whether a read of the partition waits for memory.
    pub fn has_stalled(&self, key: &PartitionKey) -> bool {
        let left = |job: &Job| {
            job.order.items[job.parts.len()..]
                .iter()
                .any(|item| item.key == *key)
        };
        self.jobs.values().any(left)
    }

    /// The fetch is over: what is still being read for it must not begin to watch when it ends.
    pub fn stop_watching(&mut self, waiter: Waiter) {
        let jobs = self.jobs.values_mut();
        for job in jobs.filter(|job| (job.order.origin, job.order.call) == waiter) {
            job.order.watch_bytes = 0;
        }
    }
}

/// What the next partition of a job needs.
enum Step {
    /// It is answered.
    Done,
    /// No memory now.
    Stalled,
}

impl Core {
    /// Owner: starts reading for a fetch.
    pub(super) fn take_read(&mut self, order: ReadOrder) {
        let id = self.reads.next_id();
        let timing = self.begin_owner_timing(&order.meter);
        let budget = order.max_bytes;
        let (parts, slots) = (
            Vec::with_capacity(order.items.len()),
            Vec::with_capacity(order.items.len()),
        );
        let job = Job {
            order,
            parts,
            slots,
            in_flight: 0,
            budget,
            found: 0,
            since: self.stages.now(),
            cold: false,
        };
        self.run_job(id, job);
        self.end_timing(timing);
    }

    fn run_job(&mut self, id: u64, mut job: Job) {
        while job.parts.len() < job.order.items.len() {
            if let Step::Stalled = self.read_next(id, &mut job) {
                self.reads.stalled.push_back(id);
                self.reads.jobs.insert(id, job);
                return;
            }
        }
        match job.in_flight {
            0 => self.end_job(job),
            _ => {
                self.reads.jobs.insert(id, job);
            }
        }
    }

    fn read_next(&mut self, id: u64, job: &mut Job) -> Step {
        let index = job.parts.len();
        let item = job.order.items[index].clone();
        let slot = self.partitions.slot(&item.key);
        let offsets = slot.and_then(|slot| Some((slot, self.shard.offsets(slot)?)));
        let Some((slot, offsets)) = offsets else {
            job.push(None, PartRead::failed(item.at, ReadFailure::NoSuchPartition));
            return Step::Done;
        };
        let mut part = self.look(&item, slot, &offsets);
        let end = offsets.visible_end(job.order.isolation);
        let readable = part.error.is_none() && part.diverging.is_none() && item.fetch_offset < end;
        let at_least_one = job.found == 0 && job.in_flight == 0;
        let max_bytes = item.max_bytes.min(job.budget);
        if !readable || (max_bytes == 0 && !at_least_one) {
            job.push(Some(slot), part);
            return Step::Done;
        }
        let token = self.reads.next_id();
        let request = ReadRequest {
            offset: item.fetch_offset,
            max_bytes,
            at_least_one,
            isolation: job.order.isolation,
            token,
        };
        match self.shard.read(&mut *self.io, slot, request) {
            ReadOutcome::Now(data) => {
                self.shard.note_read(slot, data.bytes);
                job.take(&mut part, data);
            }
            ReadOutcome::Later => {
                job.cold = true;
                job.in_flight += 1;
                job.budget -= max_bytes;
                self.reads.by_token.insert(token, (id, index, max_bytes));
            }
            ReadOutcome::Error(ReadError::Busy) => return Step::Stalled,
            ReadOutcome::Error(error) => fail(&mut part, &error),
        }
        job.push(Some(slot), part);
        Step::Done
    }

    /// What can be said without reading: offsets, out of range, diverging epoch.
    fn look(&self, item: &ReadItem, slot: Slot, offsets: &Offsets) -> PartRead {
        let mut part = PartRead {
            at: item.at,
            error: None,
            high_watermark: offsets.high_watermark,
            last_stable: offsets.last_stable,
            log_start: offsets.log_start,
            slices: Vec::new(),
            bytes: 0,
            aborted: Vec::new(),
            diverging: None,
        };
        if item.last_fetched_epoch >= 0 {
            let (epoch, end_offset) = self.shard.epoch_end_offset(slot, item.last_fetched_epoch);
            if end_offset < 0 {
                return PartRead::failed(item.at, ReadFailure::OutOfRange);
            }
            if epoch < item.last_fetched_epoch || end_offset < item.fetch_offset {
                part.diverging = Some((epoch, end_offset));
                return part;
            }
        }
        if !(offsets.log_start..=offsets.log_end).contains(&item.fetch_offset) {
            return PartRead::failed(item.at, ReadFailure::OutOfRange);
        }
        part
    }

    /// Owner: a read from disk is finished.
    pub(super) fn on_disk_read(&mut self, token: u64, result: Result<ReadData, ReadError>) {
        let Some((id, index, reserved)) = self.reads.by_token.remove(&token) else {
            return;
        };
        let Some(mut job) = self.reads.jobs.remove(&id) else {
            return;
        };
        job.in_flight -= 1;
        job.budget += reserved;
        let mut part = std::mem::replace(&mut job.parts[index], PartRead::failed(0, ReadFailure::Storage));
        match result {
            Ok(data) => {
                if let Some(Some(slot)) = job.slots.get(index) {
                    self.shard.note_read(*slot, data.bytes);
                }
                job.take(&mut part, data);
            }
            // Memory ran out after the read had begun: the client asks again.
            Err(ReadError::Busy) => {}
            Err(error) => fail(&mut part, &error),
        }
        job.parts[index] = part;
        let stalled = self.reads.stalled.contains(&id);
        if job.in_flight > 0 || stalled {
            self.reads.jobs.insert(id, job);
        } else {
            self.run_job(id, job);
        }
    }

    /// Owner: there is memory again.
    pub(super) fn retry_stalled_reads(&mut self) {
        for id in std::mem::take(&mut self.reads.stalled) {
            if let Some(job) = self.reads.jobs.remove(&id) {
                self.run_job(id, job);
            }
        }
    }

    fn end_job(&mut self, job: Job) {
        let stage = if job.cold {
            Stage::FetchCold
        } else {
            Stage::FetchRead
        };
        self.stages.record(stage, job.since, self.io.clock());
        let ReadOrder {
            origin,
            call,
            round,
            watch_bytes,
            owners,
            ..
        } = job.order;
        let urgent = job
            .parts
            .iter()
            .any(|part| part.error.is_some() || part.diverging.is_some());
        if watch_bytes > job.found && !urgent {
            self.watch(&job, (watch_bytes - job.found).div_ceil(owners) as u64);
        }
        self.post(
            origin,
            Mail::ReadDone {
                call,
                round,
                parts: job.parts,
            },
        );
    }

    /// Watches the job's partitions from where they stood when they were read. A high watermark that moved since, while
    /// other partitions came from disk, is not missed: then the fetch is told at once.
    fn watch(&mut self, job: &Job, needed_bytes: u64) {
        let ReadOrder {
            origin, call, round, ..
        } = job.order;
        let (mut slots, mut needed, mut moved) = (Vec::with_capacity(job.slots.len()), needed_bytes, false);
        for (slot, part) in job.slots.iter().zip(&job.parts) {
            let Some(slot) = *slot else { continue };
            let Some(offsets) = self.shard.offsets(slot) else {
                // Gone meanwhile, to another core perhaps: to be looked for at once.
                moved = true;
                continue;
            };
            let is_committed = job.order.isolation == Isolation::Committed;
            let last_stable = is_committed.then_some(offsets.last_stable);
            moved |= match is_committed {
                true => offsets.last_stable > part.last_stable,
                false => offsets.high_watermark > part.high_watermark,
            };
            let visible_end = last_stable.unwrap_or(offsets.high_watermark);
            if offsets.log_end > visible_end {
                // The size counts bytes that are not visible yet, so growth cannot be told from it.
                needed = 1;
            }
            slots.push(Watched {
                slot,
                size_bytes: self.shard.size_bytes(slot),
                last_stable,
            });
        }
        if moved {
            let owner = self.id;
            self.post(origin, Mail::Moved { owner, call, round });
        } else {
            self.watches.add((origin, call), round, needed, slots);
        }
    }

    /// Owner: a partition's high watermark moved.
    pub(super) fn on_advanced(&mut self, slot: Slot) {
        let last_stable = self.shard.offsets(slot).map_or(0, |offsets| offsets.last_stable);
        let fired = self.watches.moved(slot, self.shard.size_bytes(slot), last_stable);
        self.tell_moved(fired);
    }

    /// Tells fetches that what they watch has moved.
    pub(super) fn tell_moved(&mut self, fired: Vec<(Waiter, u32)>) {
        let owner = self.id;
        for ((origin, call), round) in fired {
            self.post(origin, Mail::Moved { owner, call, round });
        }
    }
}

impl Job {
    fn push(&mut self, slot: Option<Slot>, part: PartRead) {
        self.slots.push(slot);
        self.parts.push(part);
    }

    fn take(&mut self, part: &mut PartRead, data: ReadData) {
        part.bytes = data.bytes;
        part.slices = data.slices;
        part.aborted = data.aborted;
        self.found += data.bytes;
        self.budget = self.budget.saturating_sub(data.bytes);
    }
}

fn fail(part: &mut PartRead, error: &ReadError) {
    let failure = match error {
        ReadError::OutOfRange { .. } => ReadFailure::OutOfRange,
        // The shard has said where, once; consumers ask again and again.
        ReadError::Corrupt { .. } => ReadFailure::Corrupt,
        ReadError::Io(reason) => {
            crate::error!("cannot read: {reason}");
            ReadFailure::Storage
        }
        ReadError::Busy => ReadFailure::Storage,
        ReadError::NoSuchPartition => ReadFailure::NoSuchPartition,
    };
    *part = PartRead::failed(part.at, failure);
}
