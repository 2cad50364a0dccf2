//! The engine alone: what checking a batch costs, and what a durable append costs by size and by how many share a commit.
//!
//! `cargo bench -p ringlog-bench` runs all of it in about ten seconds, in a directory below the build's (a real disk,
//! for direct I/O). `SYNC=flag` or `SYNC=fsync` picks one way of syncing for all sizes. Appends are a closed loop: `in flight` batches wait for their commit at any time.

mod shard;

use std::hint::black_box;
use std::time::{Duration, Instant};

use ringlog_engine::batch;

use shard::{Engine, Failure, sample};

/// How long each figure is measured.
const MEASURE: Duration = Duration::from_secs(1);

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

fn append(bytes: usize, in_flight: usize) -> Result<(), Failure> {
    let data_dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut engine = Engine::open(data_dir.path())?;
    let sample = sample(bytes);
    let (mut waiting, mut latencies) = (std::collections::VecDeque::new(), Vec::new());
    let begun = Instant::now();
    while begun.elapsed() < MEASURE {
        while waiting.len() < in_flight {
            match engine.append(&sample)? {
                Some(ticket) => waiting.push_back((ticket, Instant::now())),
                None => break,
            }
        }
        engine.turn()?;
        while waiting.front().is_some_and(|w| w.0 <= engine.committed) {
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
        engine.commits as f64 / seconds
    );
    Ok(())
}
