//! The log and the ring: what Ringlog stores, and how it gets to disk and back.
//!
//! The engine knows bytes, batches, files and cores. It knows no topic, group, client or request, and never looks at the records
//! inside a batch.
//!
//! # The promise
//!
//! An append whose [`Ticket`](shard::Ticket) was reported committed is on stable storage (or, with
//! [`Durability::Written`](io::Durability), safe from a killed process). It is read back byte for byte, at the offset it was given,
//! after any restart, or refused with an error; it is never read back changed. Readers see nothing that is not committed.
//!
//! # The offsets of a partition
//!
//! ```text
//!     log start           high watermark      log end
//!        │                      │                │
//!   ─────▼──────────────────────▼────────────────▼─────▶
//!        │ on stable storage,   │ in the journal's│ next offset
//!        │ served to readers    │ open frames     │ to be given out
//! ```
//!
//! # Where a batch goes
//!
//! ```text
//!   append ─▶ tail (memory) ─────────────▶ segment file    large aligned direct writes, in the background
//!          └▶ journal's open frame ─▶ journal              one synced write for all partitions of the core: the acknowledgement
//! ```
//!
//! [`shard::Shard`] is one core's storage and the entrance to all of it; [`io`] is the seam to the machine; [`recover`] opens a
//! directory.
//!
//! # Example
//!
//! A shard by hand, as a broker's core drives it:
//!
//! ```no_run
//! use ringlog_engine::background::{Background, FileJob};
//! use ringlog_engine::batch::BatchBuilder;
//! use ringlog_engine::io::{Io, Ring, RingConfig};
//! use ringlog_engine::recover::{self, boot};
//! use ringlog_engine::shard::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let data_dir = std::path::PathBuf::from("data");
//! let mut recovered = recover::open(&data_dir)?;
//! let journals = boot::prepare(&data_dir, &[42], &recovered.logs.values().collect::<Vec<_>>())?;
//! let mut ring = Ring::new(&RingConfig::default())?;
//! let journal = boot::open_journal(&mut ring, &data_dir, 0, journals[0])?;
//! let config = ShardConfig { data_dir, core: 0, journal_max_bytes: 128 << 20, checkpoint_idle_ms: 5000 };
//! let mut shard = Shard::new(config, journal, Background::start()?);
//! let name = "orders-0".to_owned();
//! let state = recovered.logs.remove(&name);
//! let spec = PartitionSpec { topic_id: [1; 16], name, leader_epoch: 0, options: LogOptions::default() };
//! let slot = shard.add_partition(&ring, spec, state);
//!
//! let batch = BatchBuilder::new().record(0, None, Some(b"hello")).finish();
//! let appended = shard.append(&mut ring, slot, &batch).map_err(|e| format!("{e:?}"))?;
//! let (mut disk, mut events) = (Vec::new(), Vec::new());
//! while !events.iter().any(|e| matches!(e, ShardEvent::Committed(t) if *t >= appended.ticket)) {
//!     shard.tick(&mut ring, &mut events);
//!     ring.turn(None, &mut || shard.has_mail(), &mut disk);
//!     disk.drain(..).for_each(|event| shard.on_event(&mut ring, event, &mut events));
//! }
//! # Ok(())
//! # }
//! ```

pub mod aborted;
pub mod background;
pub mod batch;
pub mod checkpoint;
pub mod checkpointer;
pub mod cleaner;
pub mod epochs;
pub mod error;
pub mod flush;
pub mod handover;
pub mod index;
pub mod io;
pub mod journal;
pub mod log;
pub mod ops;
pub mod producers;
pub mod read;
pub mod recover;
pub mod retention;
pub mod scan;
pub mod segment;
pub mod shard;
pub mod spares;
pub mod stable;
pub mod stats;
pub mod stop;
pub mod tail;
pub mod times;

pub use error::Error;
