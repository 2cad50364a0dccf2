//! The engine alone: what checking a batch costs, and what a durable append costs by size and by how many share a commit.
//!
//! `cargo bench -p ringlog-bench` runs all of it in about ten seconds, in a directory below the build's (a real disk,
//! for direct I/O). `SYNC=flag` or `SYNC=fsync` picks one way of syncing for all sizes. Appends are a closed loop: `in flight` batches wait for their commit at any time.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use ringlog_engine::background::{Background, FileJob, run};
use ringlog_engine::batch::{self, BatchBuilder};
use ringlog_engine::checkpoint::encode_partition_metadata;
use ringlog_engine::io::{Io, Ring, RingConfig, SyncMethod};
use ringlog_engine::recover::{self, boot};
use ringlog_engine::shard::*;

/// How long each figure is measured.
const MEASURE: Duration = Duration::from_secs(1);

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    check();
    println!(
        "{:>12} {:>10} {:>12} {:>10} {:>10} {:>10} {:>12}",
        "batch bytes", "in flight", "appends/s", "MiB/s", "p50 us", "p99 us", "commits/s"
    );
    for (bytes, in_flight) in [
        (1 << 10, 1),
        (1 << 10, 80),
        (16 << 10, 16),
        (64 << 10, 8),
        (256 << 10, 8),
    ] {
        append(bytes, in_flight)?;
    }
    Ok(())
}

fn sample(bytes: usize) -> Vec<u8> {
    let value: Vec<u8> = (0..bytes.saturating_sub(75))
        .map(|i| (i * 31 % 251) as u8)
        .collect();
    BatchBuilder::new()
        .timestamp(1)
        .record(0, None, Some(&value))
        .finish()
}

fn check() {
    for bytes in [1 << 10, 64 << 10, 1 << 20] {
        let sample = sample(bytes);
        let begun = Instant::now();
        let mut rounds = 0u64;
        while begun.elapsed() < MEASURE / 4 {
            let _ = black_box(batch::validate(black_box(&sample)));
            rounds += 1;
        }
        let gigabytes = rounds as f64 * sample.len() as f64 / 1e9;
        println!(
            "validate {:>8} bytes: {:6.1} GB/s",
            sample.len(),
            gigabytes / begun.elapsed().as_secs_f64()
        );
    }
}

struct Engine {
    ring: Ring,
    shard: Shard,
    slot: Slot,
}

fn open(data_dir: &Path) -> Result<Engine, Failure> {
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
    Ok(Engine { ring, shard, slot })
}

fn append(bytes: usize, in_flight: usize) -> Result<(), Failure> {
    let data_dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut engine = open(data_dir.path())?;
    let sample = sample(bytes);
    let (mut waiting, mut latencies) = (std::collections::VecDeque::new(), Vec::new());
    let (mut disk, mut events, mut committed, mut commits) = (Vec::new(), Vec::new(), 0, 0u64);
    let begun = Instant::now();
    while begun.elapsed() < MEASURE {
        while waiting.len() < in_flight {
            match engine.shard.append(&mut engine.ring, engine.slot, &sample) {
                Ok(appended) => waiting.push_back((appended.ticket, Instant::now())),
                Err(AppendError::Busy) => break,
                Err(e) => return Err(format!("{e:?}").into()),
            }
        }
        engine.shard.tick(&mut engine.ring, &mut events);
        let shard = &engine.shard;
        engine.ring.turn(
            Some(Instant::now() + MEASURE),
            &mut || shard.has_mail(),
            &mut disk,
        );
        disk.drain(..)
            .for_each(|event| engine.shard.on_event(&mut engine.ring, event, &mut events));
        for event in events.drain(..) {
            match event {
                ShardEvent::Committed(ticket) => (committed, commits) = (ticket, commits + 1),
                ShardEvent::Failed(reason) => return Err(reason.into()),
                _ => {}
            }
        }
        while waiting.front().is_some_and(|w| w.0 <= committed) {
            latencies.extend(waiting.pop_front().map(|w| w.1.elapsed()));
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    latencies.sort();
    let at = |share: f64| {
        latencies
            .get((latencies.len() as f64 * share) as usize)
            .map_or(0, Duration::as_micros)
    };
    let per_second = latencies.len() as f64 / seconds;
    println!(
        "{bytes:>12} {in_flight:>10} {per_second:>12.0} {:>10.0} {:>10} {:>10} {:>12.0}",
        per_second * sample.len() as f64 / (1 << 20) as f64,
        at(0.5),
        at(0.99),
        commits as f64 / seconds
    );
    Ok(())
}
