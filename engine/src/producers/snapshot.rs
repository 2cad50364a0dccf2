//! Producers' state as bytes: Kafka's `.snapshot` file, and a fuller form for our own checkpoints.
//!
//! ```text
//! .snapshot | version i16 = 1 | CRC-32C u32 of all that follows | count i32 | entries, 46 bytes each
//! entry     | producer id i64 | epoch i16 | last sequence i32 | last offset i64 | offset delta i32 | timestamp i64
//!           | coordinator epoch i32 | first offset of the open transaction i64, or -1 |
//!
//! window    | version u8 = 1 | end offset i64 | count u32 | producers
//! producer  | id i64 | epoch i16 | coordinator epoch i32 | last timestamp i64 | last append i64
//!           | first offset of the open transaction i64 | batches u8 | batches, 24 bytes each, oldest first
//! batch     | last sequence i32 | offset delta i32 | last offset i64 | timestamp i64 |
//! ```
//!
//! All big-endian, producers in the order of their ids. The window form has no checksum of its own: what holds it has.

use std::collections::HashMap;
use std::fmt;

use super::window::{Producer, Sent, Window};
use super::{BATCHES_RETAINED, NO_SEQUENCE, NO_TXN_OFFSET, ProducerStates};

const SNAPSHOT_VERSION: i16 = 1;
const SNAPSHOT_HEAD_BYTES: usize = 10;
const SNAPSHOT_ENTRY_BYTES: usize = 46;
/// The checksum covers everything behind itself.
const SNAPSHOT_SUMMED_FROM: usize = 6;
const WINDOW_VERSION: u8 = 1;

/// Why bytes are no state of producers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// A version nobody here knows.
    Version(i16),
    /// The bytes end before they should, or go on behind.
    Length {
        /// Bytes there are.
        have_bytes: usize,
    },
    /// The bytes are not those the checksum was computed over.
    Crc {
        /// What the file says.
        expected: u32,
        /// What the bytes give.
        computed: u32,
    },
    /// A value that cannot be, of this producer.
    Value {
        /// Id of the producer.
        producer_id: i64,
    },
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SnapshotError::Version(version) => write!(f, "producer snapshot version {version} is not known"),
            SnapshotError::Length { have_bytes } => {
                write!(f, "{have_bytes} bytes are no whole producer snapshot")
            }
            SnapshotError::Crc { expected, computed } => {
                write!(
                    f,
                    "the producer snapshot is damaged: its CRC-32C is {computed:#010x}, not {expected:#010x}"
                )
            }
            SnapshotError::Value { producer_id } => {
                write!(f, "the state of producer {producer_id} cannot be")
            }
        }
    }
}

impl std::error::Error for SnapshotError {}

impl ProducerStates {
    /// The bytes of Kafka's `<end offset>.snapshot`. Only the last batch of each producer fits in.
    pub fn encode_snapshot(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SNAPSHOT_HEAD_BYTES + self.len() * SNAPSHOT_ENTRY_BYTES);
        out.extend(SNAPSHOT_VERSION.to_be_bytes());
        out.extend([0; 4]);
        out.extend((self.len() as i32).to_be_bytes());
        for (id, producer) in self.by_id() {
            let none = Sent {
                last_sequence: NO_SEQUENCE,
                offset_delta: 0,
                last_offset: -1,
                timestamp_ms: -1,
            };
            let last = producer.window.last().unwrap_or(&none);
            out.extend(id.to_be_bytes());
            out.extend(producer.epoch.to_be_bytes());
            out.extend(last.last_sequence.to_be_bytes());
            out.extend(last.last_offset.to_be_bytes());
            out.extend(last.offset_delta.to_be_bytes());
            out.extend(producer.last_timestamp_ms.to_be_bytes());
            out.extend(producer.coordinator_epoch.to_be_bytes());
            out.extend(producer.txn_first_offset.to_be_bytes());
        }
        let crc = crc_fast::crc32_iscsi(&out[SNAPSHOT_SUMMED_FROM..]);
        out[2..SNAPSHOT_SUMMED_FROM].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// Reads the bytes of a `.snapshot` file; `end_offset` is the number in its name. Idleness is counted from each
    /// producer's last timestamp, as nothing else is known. Of more producers than the limit the longest idle are dropped.
    pub fn decode_snapshot(bytes: &[u8], end_offset: i64) -> Result<ProducerStates, SnapshotError> {
        let mut input = Input {
            bytes,
            have_bytes: bytes.len(),
        };
        let version = i16::from_be_bytes(input.take()?);
        if version != SNAPSHOT_VERSION {
            return Err(SnapshotError::Version(version));
        }
        let expected = u32::from_be_bytes(input.take()?);
        let computed = crc_fast::crc32_iscsi(input.bytes);
        if expected != computed {
            return Err(SnapshotError::Crc { expected, computed });
        }
        let count = i32::from_be_bytes(input.take()?);
        let mut producers = HashMap::new();
        for _ in 0..count {
            let (id, producer) = input.snapshot_entry()?;
            producers.insert(id, producer);
        }
        input.end()?;
        Ok(ProducerStates::loaded(producers, end_offset))
    }

    /// All that is known of the producers, for our own checkpoints.
    pub fn encode_window(&self) -> Vec<u8> {
        let mut out = vec![WINDOW_VERSION];
        out.extend(self.end_offset.to_be_bytes());
        out.extend((self.len() as u32).to_be_bytes());
        for (id, producer) in self.by_id() {
            out.extend(id.to_be_bytes());
            out.extend(producer.epoch.to_be_bytes());
            out.extend(producer.coordinator_epoch.to_be_bytes());
            out.extend(producer.last_timestamp_ms.to_be_bytes());
            out.extend(producer.last_append_ms.to_be_bytes());
            out.extend(producer.txn_first_offset.to_be_bytes());
            out.push(producer.window.count);
            for sent in producer.window.as_slice() {
                out.extend(sent.last_sequence.to_be_bytes());
                out.extend(sent.offset_delta.to_be_bytes());
                out.extend(sent.last_offset.to_be_bytes());
                out.extend(sent.timestamp_ms.to_be_bytes());
            }
        }
        out
    }

    /// Reads what [`ProducerStates::encode_window`] wrote.
    pub fn decode_window(bytes: &[u8]) -> Result<ProducerStates, SnapshotError> {
        let mut input = Input {
            bytes,
            have_bytes: bytes.len(),
        };
        let [version] = input.take()?;
        if version != WINDOW_VERSION {
            return Err(SnapshotError::Version(i16::from(version)));
        }
        let end_offset = i64::from_be_bytes(input.take()?);
        let count = u32::from_be_bytes(input.take()?);
        let mut producers = HashMap::new();
        for _ in 0..count {
            let (id, producer) = input.window_entry()?;
            producers.insert(id, producer);
        }
        input.end()?;
        Ok(ProducerStates::loaded(producers, end_offset))
    }

    fn loaded(producers: HashMap<i64, Producer>, end_offset: i64) -> ProducerStates {
        let open = producers.iter().filter(|(_, p)| p.has_open_txn());
        let mut states = ProducerStates {
            open: open.map(|(id, p)| (p.txn_first_offset, *id)).collect(),
            producers,
            end_offset,
            ..ProducerStates::new()
        };
        while states.producers.len() > states.max_producers && states.evict() {}
        states
    }

    fn by_id(&self) -> Vec<(i64, &Producer)> {
        let mut all: Vec<_> = self
            .producers
            .iter()
            .map(|(id, producer)| (*id, producer))
            .collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }
}

/// Bytes still to be read. No count in them is believed before its entries are there.
struct Input<'a> {
    bytes: &'a [u8],
    have_bytes: usize,
}

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let length = SnapshotError::Length {
            have_bytes: self.have_bytes,
        };
        let (taken, rest) = self.bytes.split_first_chunk().ok_or(length)?;
        self.bytes = rest;
        Ok(*taken)
    }

    fn end(&self) -> Result<(), SnapshotError> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(SnapshotError::Length {
                have_bytes: self.have_bytes,
            })
        }
    }

    fn snapshot_entry(&mut self) -> Result<(i64, Producer), SnapshotError> {
        let id = i64::from_be_bytes(self.take()?);
        let mut producer = Producer::new(i16::from_be_bytes(self.take()?));
        let mut sent = Sent {
            last_sequence: i32::from_be_bytes(self.take()?),
            ..Sent::default()
        };
        sent.last_offset = i64::from_be_bytes(self.take()?);
        sent.offset_delta = i32::from_be_bytes(self.take()?);
        sent.timestamp_ms = i64::from_be_bytes(self.take()?);
        (producer.last_timestamp_ms, producer.last_append_ms) = (sent.timestamp_ms, sent.timestamp_ms);
        producer.coordinator_epoch = i32::from_be_bytes(self.take()?);
        producer.txn_first_offset = i64::from_be_bytes(self.take()?).max(NO_TXN_OFFSET);
        if sent.last_offset >= 0 {
            check_sent(id, &sent)?;
            producer.window.push(sent);
        }
        Ok((id, producer))
    }

    fn window_entry(&mut self) -> Result<(i64, Producer), SnapshotError> {
        let producer_id = i64::from_be_bytes(self.take()?);
        let mut producer = Producer::new(i16::from_be_bytes(self.take()?));
        producer.coordinator_epoch = i32::from_be_bytes(self.take()?);
        producer.last_timestamp_ms = i64::from_be_bytes(self.take()?);
        producer.last_append_ms = i64::from_be_bytes(self.take()?);
        producer.txn_first_offset = i64::from_be_bytes(self.take()?).max(NO_TXN_OFFSET);
        let [count] = self.take()?;
        if usize::from(count) > BATCHES_RETAINED {
            return Err(SnapshotError::Value { producer_id });
        }
        producer.window = self.window(producer_id, count)?;
        Ok((producer_id, producer))
    }

    fn window(&mut self, producer_id: i64, count: u8) -> Result<Window, SnapshotError> {
        let mut window = Window::default();
        for _ in 0..count {
            let sent = Sent {
                last_sequence: i32::from_be_bytes(self.take()?),
                offset_delta: i32::from_be_bytes(self.take()?),
                last_offset: i64::from_be_bytes(self.take()?),
                timestamp_ms: i64::from_be_bytes(self.take()?),
            };
            check_sent(producer_id, &sent)?;
            window.push(sent);
        }
        Ok(window)
    }
}

/// A batch that may have been: nothing below zero. Sequences are -1 where the group coordinator writes with a producer id.
fn check_sent(producer_id: i64, sent: &Sent) -> Result<(), SnapshotError> {
    let is_possible = sent.last_sequence >= NO_SEQUENCE && sent.offset_delta >= 0 && sent.last_offset >= 0;
    if is_possible {
        Ok(())
    } else {
        Err(SnapshotError::Value { producer_id })
    }
}
