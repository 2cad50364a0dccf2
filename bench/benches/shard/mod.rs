//! One shard with one partition on a ring of its own, in a fresh directory: the engine as a broker's core drives it.

use std::path::Path;
use std::time::{Duration, Instant};

use ringlog_engine::background::{Background, FileJob, run};
use ringlog_engine::batch::BatchBuilder;
use ringlog_engine::checkpoint::encode_partition_metadata;
use ringlog_engine::io::{Event, Io, Ring, RingConfig, SyncMethod};
use ringlog_engine::recover::{self, boot};
use ringlog_engine::shard::*;

pub type Failure = Box<dyn std::error::Error>;

/// How long a turn of the ring waits when nothing happens.
const PATIENCE: Duration = Duration::from_secs(1);

pub struct Engine {
    ring: Ring,
    shard: Shard,
    slot: Slot,
    disk: Vec<Event>,
    events: Vec<ShardEvent>,
    /// The highest ticket committed.
    pub committed: Ticket,
    /// Commits so far.
    pub commits: u64,
}

impl Engine {
    /// `SYNC=flag` or `SYNC=fsync` in the environment picks one way of syncing for all sizes.
    pub fn open(data_dir: &Path) -> Result<Engine, Failure> {
        let name = "bench-0".to_owned();
        run(&FileJob::CreatePartition {
            folder: data_dir.join(&name),
            metadata: encode_partition_metadata([1; 16]),
            epochs: "0\n0\n".into(),
        })?;
        let recovered = recover::open(data_dir)?;
        let journals = boot::prepare(data_dir, &[7], &recovered.logs.values().collect::<Vec<_>>())?;
        let sync_method = match std::env::var("SYNC").as_deref() {
            Ok("flag") => SyncMethod::Flag,
            Ok("fsync") => SyncMethod::Fsync,
            _ => SyncMethod::default(),
        };
        let mut ring = Ring::new(&RingConfig {
            sync_method,
            ..RingConfig::default()
        })?;
        let journal = boot::open_journal(&mut ring, data_dir, 0, journals[0])?;
        let config = ShardConfig {
            data_dir: data_dir.into(),
            core: 0,
            journal_max_bytes: 128 << 20,
            checkpoint_idle_ms: 5000,
        };
        let mut shard = Shard::new(config, journal, Background::start()?);
        let spec = PartitionSpec {
            topic_id: [1; 16],
            name,
            leader_epoch: 0,
            options: LogOptions::default(),
        };
        let slot = shard.add_partition(&ring, spec, None);
        let (disk, events) = (Vec::new(), Vec::new());
        Ok(Engine {
            ring,
            shard,
            slot,
            disk,
            events,
            committed: 0,
            commits: 0,
        })
    }

    /// Appends a batch; `None` when the shard takes no more until something is committed.
    pub fn append(&mut self, batch: &[u8]) -> Result<Option<Ticket>, Failure> {
        match self.shard.append(&mut self.ring, self.slot, batch) {
            Ok(appended) => Ok(Some(appended.ticket)),
            Err(AppendError::Busy) => Ok(None),
            Err(e) => Err(format!("{e:?}").into()),
        }
    }

    /// Goes once around: submits, waits for the disk, notes what was committed.
    pub fn turn(&mut self) -> Result<(), Failure> {
        self.shard.tick(&mut self.ring, &mut self.events);
        let shard = &self.shard;
        let deadline = Some(Instant::now() + PATIENCE);
        self.ring.turn(deadline, &mut || shard.has_mail(), &mut self.disk);
        for event in self.disk.drain(..) {
            self.shard.on_event(&mut self.ring, event, &mut self.events);
        }
        for event in self.events.drain(..) {
            match event {
                ShardEvent::Committed(ticket) => {
                    (self.committed, self.commits) = (ticket, self.commits + 1);
                }
                ShardEvent::Failed(reason) => return Err(reason.into()),
                _ => {}
            }
        }
        Ok(())
    }
}

/// A batch of one record, about `bytes` long.
pub fn sample(bytes: usize) -> Vec<u8> {
    let value: Vec<u8> = (0..bytes.saturating_sub(75))
        .map(|i| (i * 31 % 251) as u8)
        .collect();
    BatchBuilder::new()
        .timestamp(1)
        .record(0, None, Some(&value))
        .finish()
}
