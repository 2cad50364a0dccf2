//! One shard on a real ring and a directory of its own, driven by hand.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ringlog_engine::background::{Background, FileJob, Inbox, IndexTail};
use ringlog_engine::batch::{BatchBuilder, BatchHeader};
use ringlog_engine::checkpoint;
use ringlog_engine::io::{Io, Ring, RingConfig};
use ringlog_engine::recover::{self, Report, boot};
use ringlog_engine::shard::*;
use ringlog_engine::spares::{Limits, Spares};

use crate::faulty::Faulty;

/// Most time a test waits for something.
const PATIENCE: Duration = Duration::from_secs(60);
/// The topic's id in all tests.
pub const TOPIC: [u8; 16] = [3; 16];

pub struct World {
    pub ring: Faulty,
    pub shard: Shard,
    pub events: Vec<ShardEvent>,
    pub committed: Ticket,
    /// Times that something busy could go on.
    pub progress: u64,
    pub report: Report,
    data_dir: PathBuf,
    pub background: Background,
}

impl Drop for World {
    /// A killed process takes its threads with it: what the files thread still has to do is not done beside the next one.
    fn drop(&mut self) {
        let inbox = Inbox::default();
        let (folder, base_offset) = (self.data_dir.clone(), 0);
        let nothing = FileJob::ExtendIndex {
            folder,
            base_offset,
            index: IndexTail::default(),
        };
        let nothing_to_remove = FileJob::RemoveFiles {
            files: Vec::new(),
            delay: Duration::ZERO,
        };
        self.background.submit(0, nothing, &inbox, None);
        self.background.submit(0, nothing_to_remove, &inbox, None);
        let begun = Instant::now();
        while inbox.len() < 2 && begun.elapsed() < PATIENCE {
            std::thread::yield_now();
        }
    }
}

/// Settings of a world.
#[derive(Clone)]
pub struct Setup {
    pub memory_bytes: usize,
    pub journal_max_bytes: u64,
    pub checkpoint_idle_ms: u64,
    pub options: LogOptions,
    pub partitions: Vec<String>,
    /// Cores that have a journal; only the first one has partitions.
    pub cores: usize,
    /// The topic's id.
    pub topic_id: [u8; 16],
    /// Folders are made without the files that a broker puts in them: faster for many.
    pub bare_folders: bool,
    /// Files of removed segments that are kept.
    pub spares: Limits,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            memory_bytes: 64 << 20,
            journal_max_bytes: 64 << 20,
            checkpoint_idle_ms: 60_000,
            options: LogOptions::default(),
            partitions: vec!["t-0".into()],
            cores: 1,
            topic_id: TOPIC,
            bare_folders: false,
            spares: Limits::NONE,
        }
    }
}

impl World {
    /// Opens the directory as a broker would. Slot `i` is partition `i` of the setup.
    pub fn open(data_dir: &Path, setup: &Setup) -> World {
        let mut recovered = recover::open(data_dir).unwrap();
        for name in &setup.partitions {
            if setup.bare_folders {
                std::fs::create_dir_all(data_dir.join(name)).unwrap();
                continue;
            }
            let job = FileJob::CreatePartition {
                folder: data_dir.join(name),
                metadata: checkpoint::encode_partition_metadata(setup.topic_id),
                epochs: "0\n0\n".into(),
            };
            ringlog_engine::background::run(&job).unwrap();
        }
        let states: Vec<_> = recovered.logs.values().collect();
        let ids: Vec<u64> = (0..setup.cores).map(|_| rand()).collect();
        let journals = boot::prepare(data_dir, &ids, &states).unwrap();
        let ring = Ring::new(&RingConfig {
            memory_bytes: setup.memory_bytes,
            ..RingConfig::default()
        })
        .unwrap();
        let mut ring = Faulty::new(ring);
        let journal = boot::open_journal(&mut ring, data_dir, 0, journals[0]).unwrap();
        let config = ShardConfig {
            data_dir: data_dir.to_path_buf(),
            core: 0,
            journal_max_bytes: setup.journal_max_bytes,
            checkpoint_idle_ms: setup.checkpoint_idle_ms,
        };
        let spares = Spares::open(data_dir, setup.spares).unwrap();
        let background = Background::start_with(spares).unwrap();
        let mut shard = Shard::new(config, journal, background.clone());
        for name in &setup.partitions {
            let spec = PartitionSpec {
                topic_id: setup.topic_id,
                name: name.clone(),
                leader_epoch: 0,
                options: setup.options,
            };
            shard.add_partition(&ring, spec, recovered.logs.remove(name));
        }
        World {
            ring,
            shard,
            events: Vec::new(),
            committed: 0,
            progress: 0,
            report: recovered.report,
            data_dir: data_dir.to_path_buf(),
            background,
        }
    }

    /// One turn of the loop.
    pub fn turn(&mut self) {
        let mut out = Vec::new();
        self.shard.tick(&mut self.ring, &mut out);
        let shard = &self.shard;
        let soon = Instant::now() + Duration::from_millis(20);
        let deadline = shard.next_deadline().map_or(soon, |at| at.min(soon));
        let mut disk = Vec::new();
        self.ring
            .turn(Some(deadline), &mut || shard.has_mail(), &mut disk);
        for event in disk {
            self.shard.on_event(&mut self.ring, event, &mut out);
        }
        for event in out {
            if let ShardEvent::Committed(ticket) = event {
                self.committed = self.committed.max(ticket);
            }
            self.progress += u64::from(matches!(event, ShardEvent::Progress));
            self.events.push(event);
        }
    }

    /// Turns until something is so.
    pub fn until<T>(&mut self, mut so: impl FnMut(&mut World) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = so(self) {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "waited too long; {}", self.notices());
            self.turn();
        }
    }

    pub fn try_append(&mut self, slot: u32, bytes: &[u8]) -> Result<Appended, AppendError> {
        self.shard.append(&mut self.ring, Slot(slot), bytes)
    }

    /// Appends; while the shard is busy, tries again each time it says that something may go on.
    pub fn append(&mut self, slot: u32, bytes: &[u8]) -> Appended {
        let mut busy_at = None;
        self.until(|w| {
            if busy_at == Some(w.progress) {
                return None;
            }
            match w.try_append(slot, bytes) {
                Ok(appended) => Some(appended),
                Err(AppendError::Busy) => {
                    busy_at = Some(w.progress);
                    None
                }
                Err(e) => panic!("{e:?}"),
            }
        })
    }

    /// Appends and waits for the commit.
    pub fn produce(&mut self, slot: u32, bytes: &[u8]) -> Appended {
        let appended = self.append(slot, bytes);
        self.until(|w| (w.committed >= appended.ticket).then_some(()));
        appended
    }

    pub fn try_read(&mut self, slot: u32, offset: i64, max_bytes: usize) -> Result<Vec<u8>, ReadError> {
        let request = ReadRequest {
            offset,
            max_bytes,
            at_least_one: true,
            isolation: Isolation::Uncommitted,
            token: rand(),
        };
        let data = match self.shard.read(&mut self.ring, Slot(slot), request) {
            ReadOutcome::Now(data) => Ok(data),
            ReadOutcome::Error(e) => Err(e),
            ReadOutcome::Later => self.until(|w| {
                let done = |e: &ShardEvent| matches!(e, ShardEvent::ReadDone { token, .. } if *token == request.token);
                let i = w.events.iter().position(done)?;
                match w.events.remove(i) {
                    ShardEvent::ReadDone { result, .. } => Some(result),
                    _ => None,
                }
            }),
        };
        data.map(|d| d.slices.iter().flat_map(|s| s.to_vec()).collect())
    }

    /// Every offset from `offset` to the high watermark, read `max_bytes` at a time; checks that they are dense.
    pub fn read_all(&mut self, slot: u32, mut offset: i64, max_bytes: usize) -> Vec<BatchHeader> {
        let mut headers = Vec::new();
        while offset < self.shard.offsets(Slot(slot)).unwrap().high_watermark {
            let bytes = self.try_read(slot, offset, max_bytes).unwrap();
            let before = headers.len();
            for header in batches(&bytes) {
                if header.last_offset() >= offset {
                    assert!(header.base_offset <= offset, "gap before {}", header.base_offset);
                    offset = header.last_offset() + 1;
                    headers.push(header);
                }
            }
            assert!(headers.len() > before, "no progress at offset {offset}");
        }
        headers
    }

    /// Stops cleanly.
    pub fn stop(mut self) {
        self.shard.begin_stop(&mut self.ring);
        self.until(|w| w.shard.is_stopped().then_some(()));
        boot::finish_stop(&self.data_dir, &self.shard.stopped(), 1).unwrap();
    }

    pub fn notices(&self) -> String {
        let text = |e: &ShardEvent| match e {
            ShardEvent::Notice(line) | ShardEvent::Failed(line) => Some(line.clone()),
            _ => None,
        };
        self.events.iter().filter_map(text).collect::<Vec<_>>().join("\n")
    }
}

/// The whole batches at the start of `bytes`, each checked.
pub fn batches(bytes: &[u8]) -> Vec<BatchHeader> {
    let mut rest = bytes;
    let mut headers = Vec::new();
    while let Some(Ok(size)) = ringlog_engine::batch::peek_size(rest)
        && size <= rest.len()
    {
        headers.push(ringlog_engine::batch::check_stored(&rest[..size]).unwrap());
        rest = &rest[size..];
    }
    headers
}

/// A batch of `records` records with `value_bytes` each.
pub fn batch(records: usize, value_bytes: usize) -> Vec<u8> {
    stamped_batch(records, value_bytes, 1_000_000)
}

/// The same with a timestamp.
pub fn stamped_batch(records: usize, value_bytes: usize, timestamp_ms: i64) -> Vec<u8> {
    let value = vec![rand() as u8; value_bytes];
    let new = BatchBuilder::new().timestamp(timestamp_ms);
    (0..records)
        .fold(new, |b, _| b.record(0, None, Some(&value)))
        .finish()
}

/// A number that differs each time.
pub fn rand() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish()
}
