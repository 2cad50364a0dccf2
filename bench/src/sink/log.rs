//! One partition: its offsets, what it keeps of its batches, and the faults that happen to them.

use std::task::Waker;

use bytes::{Bytes, BytesMut};

use super::fault::Fault;
use super::{Keep, SinkConfig, batch};

/// A sink that stores nothing renews the batch it answers fetches with this often.
const SAMPLE_EVERY: u64 = 1000;

/// A partition. Offsets start at 0.
#[derive(Default)]
pub(super) struct Log {
    /// The first offset that was not deleted.
    start: i64,
    high_watermark: i64,
    /// Batches that came, refused ones included: what periodic faults count.
    arrived: u64,
    /// With [`Keep::Everything`], in the order of their base offsets.
    batches: Vec<Batch>,
    /// With [`Keep::Nothing`], the batch that stands for all.
    sample: Option<Batch>,
    /// A batch that waits for the one it is to be swapped with; above the high watermark.
    held: Option<Batch>,
    /// Fetches that wait for more.
    waiters: Vec<Waker>,
}

#[derive(Clone)]
struct Batch {
    base_offset: i64,
    records: u32,
    /// Stamped with `base_offset`; of a sample, with whatever it had.
    bytes: Bytes,
}

/// What a fetch gets of a partition.
#[derive(Clone)]
pub(super) enum Run {
    /// Batches as they are to be sent.
    Stored(Vec<Bytes>),
    /// `copies` of one batch of so many `records`, the first at `base_offset`.
    Copies {
        batch: Bytes,
        records: u32,
        base_offset: i64,
        copies: usize,
    },
}

impl Run {
    /// Bytes on the wire.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Run::Stored(batches) => batches.iter().map(Bytes::len).sum(),
            Run::Copies { batch, copies, .. } => batch.len() * copies,
        }
    }
}

/// A fetch from an offset that is not there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OutOfRange;

impl Log {
    /// Offsets below this can be read.
    pub(super) fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// The first offset that can be read.
    pub(super) fn start(&self) -> i64 {
        self.start
    }

    /// Removes what is below `offset`, or all there is for -1; returns the new start. Batches that reach above it stay whole.
    pub(super) fn delete_below(&mut self, offset: i64) -> Result<i64, OutOfRange> {
        let offset = if offset == -1 { self.high_watermark } else { offset };
        if offset < 0 || offset > self.high_watermark {
            return Err(OutOfRange);
        }
        self.start = self.start.max(offset);
        let gone = self.batches.len() - self.from(self.start).len();
        self.batches.drain(..gone);
        Ok(self.start)
    }

    /// Takes a checked batch of so many records; the base offset to answer, or Kafka's number for an error.
    pub(super) fn append(&mut self, config: &SinkConfig, records: u32, bytes: &[u8]) -> Result<i64, i16> {
        self.arrived += 1;
        let fault = config.fault.filter(|fault| fault.strikes(self.arrived));
        if let Some(Fault::Refuse { error, .. }) = fault {
            return Err(error);
        }
        let base_offset = match config.keep {
            Keep::Nothing => self.pass(records, bytes),
            Keep::Everything => self.store(fault, records, bytes),
        };
        match fault {
            Some(Fault::RefuseButStore { error, .. }) => Err(error),
            Some(Fault::WrongOffset { .. }) => Ok(base_offset + 1),
            _ => Ok(base_offset),
        }
    }

    /// Counts a batch, and keeps one in a thousand to show.
    fn pass(&mut self, records: u32, bytes: &[u8]) -> i64 {
        let base_offset = self.high_watermark;
        if self.sample.is_none() || self.arrived.is_multiple_of(SAMPLE_EVERY) {
            self.sample = Some(Batch {
                base_offset,
                records,
                bytes: Bytes::copy_from_slice(bytes),
            });
        }
        self.high_watermark += i64::from(records);
        base_offset
    }

    fn store(&mut self, fault: Option<Fault>, records: u32, bytes: &[u8]) -> i64 {
        // A copy, because a slice would keep the whole buffer it was received in.
        let mut bytes = BytesMut::from(bytes);
        if let Some(held) = self.held.take() {
            let answered = held.base_offset + i64::from(held.records);
            self.push(records, bytes);
            self.push(held.records, BytesMut::from(held.bytes));
            return answered;
        }
        let base_offset = self.high_watermark;
        match fault {
            Some(Fault::Drop { .. }) => self.high_watermark += i64::from(records),
            Some(Fault::Swap { .. }) => {
                self.held = Some(Batch {
                    base_offset,
                    records,
                    bytes: bytes.freeze(),
                });
            }
            Some(Fault::Duplicate { .. }) => {
                self.push(records, bytes.clone());
                self.push(records, bytes);
            }
            Some(Fault::FlipBit { .. }) => {
                batch::damage(&mut bytes);
                self.push(records, bytes);
            }
            _ => self.push(records, bytes),
        }
        base_offset
    }

    fn push(&mut self, records: u32, mut bytes: BytesMut) {
        batch::stamp(&mut bytes, self.high_watermark);
        self.batches.push(Batch {
            base_offset: self.high_watermark,
            records,
            bytes: bytes.freeze(),
        });
        self.high_watermark += i64::from(records);
    }

    /// Stores the batch whose neighbour has not come in its own place.
    pub(super) fn release_held(&mut self) {
        if let Some(held) = self.held.take() {
            self.push(held.records, BytesMut::from(held.bytes));
            self.wake_waiters();
        }
    }

    /// Bytes of the batches from the one that holds `offset`, counted until they are `enough`.
    pub(super) fn available_bytes(&self, offset: i64, enough: usize) -> Result<usize, OutOfRange> {
        self.check(offset)?;
        if let Some(sample) = &self.sample {
            return Ok(sample
                .bytes
                .len()
                .saturating_mul(self.copies_from(sample, offset)));
        }
        let mut bytes = 0;
        for batch in self.from(offset) {
            bytes += batch.bytes.len();
            if bytes >= enough {
                break;
            }
        }
        Ok(bytes)
    }

    /// Batches from the one that holds `offset`, at most `max_bytes` of them, but one at least if there is any and
    /// `at_least_one` asks for it. Where the offset's batch was forgotten, from the next one.
    pub(super) fn read(&self, offset: i64, max_bytes: usize, at_least_one: bool) -> Result<Run, OutOfRange> {
        self.check(offset)?;
        if let Some(sample) = &self.sample {
            let fitting = (max_bytes / sample.bytes.len()).max(usize::from(at_least_one));
            return Ok(Run::Copies {
                batch: sample.bytes.clone(),
                records: sample.records,
                base_offset: offset,
                copies: self.copies_from(sample, offset).min(fitting),
            });
        }
        let mut run = Vec::new();
        let mut bytes = 0;
        for batch in self.from(offset) {
            bytes += batch.bytes.len();
            if bytes > max_bytes && !(at_least_one && run.is_empty()) {
                break;
            }
            run.push(batch.bytes.clone());
        }
        Ok(Run::Stored(run))
    }

    /// Offsets from the start to the high watermark can be asked for, and those after it where copies may reach beyond it.
    fn check(&self, offset: i64) -> Result<(), OutOfRange> {
        let is_there = offset >= self.start && (offset <= self.high_watermark || self.sample.is_some());
        is_there.then_some(()).ok_or(OutOfRange)
    }

    /// Stored batches from the one that holds `offset`, or the next one.
    fn from(&self, offset: i64) -> &[Batch] {
        let first = self
            .batches
            .partition_point(|batch| batch.base_offset + i64::from(batch.records) <= offset);
        &self.batches[first..]
    }

    /// Copies of the sample that reach from `offset` to the high watermark.
    fn copies_from(&self, sample: &Batch, offset: i64) -> usize {
        let left = (self.high_watermark - offset).max(0);
        usize::try_from(left)
            .unwrap_or(0)
            .div_ceil(sample.records as usize)
    }

    /// The base offset and newest timestamp of the first batch with a record at or after `timestamp_ms`.
    pub(super) fn find_time(&self, timestamp_ms: i64) -> Option<(i64, i64)> {
        self.batches.iter().find_map(|held| {
            let newest = batch::max_timestamp_ms(&held.bytes);
            (newest >= timestamp_ms).then_some((held.base_offset, newest))
        })
    }

    /// Wakes `waker` when something is appended or the topic goes.
    pub(super) fn wait(&mut self, waker: &Waker) {
        if !self.waiters.iter().any(|known| known.will_wake(waker)) {
            self.waiters.push(waker.clone());
        }
    }

    /// Whether a fetch waits for more.
    #[cfg(test)]
    pub(super) fn is_awaited(&self) -> bool {
        !self.waiters.is_empty()
    }

    /// Wakes all who wait.
    pub(super) fn wake_waiters(&mut self) {
        for waker in self.waiters.drain(..) {
            waker.wake();
        }
    }
}
