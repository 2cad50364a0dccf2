//! A shard as a whole, on the real ring and real files: what was acknowledged is there, in order, after whatever stop.

#![allow(clippy::unwrap_used)]

mod cleaning;
mod counters;
mod faults;
mod faulty;
mod liveness;
mod model;
mod reading;
mod restart;
mod retention;
mod spares;
mod txns;
mod world;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use ringlog_engine::batch::BatchBuilder;
use ringlog_engine::io::Durability;
use ringlog_engine::recover::Left;
use ringlog_engine::shard::*;
use world::*;

pub(crate) fn small_segments() -> Setup {
    let options = LogOptions {
        segment_bytes: 300_000,
        ..LogOptions::default()
    };
    Setup {
        options,
        ..Setup::default()
    }
}

/// A partition of several segments, with nothing left in the journal.
pub(crate) fn checkpointed(dir: &Path) -> (Setup, World) {
    let setup = Setup {
        checkpoint_idle_ms: 1,
        ..small_segments()
    };
    let mut w = World::open(dir, &setup);
    for _ in 0..60 {
        w.produce(0, &batch(1, 20_000));
    }
    w.until(|w| (w.shard.journal_live_bytes() == 0).then_some(()));
    (setup, w)
}

pub(crate) fn dir() -> tempfile::TempDir {
    // Beside the build, not in /tmp: direct I/O wants a real disk.
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

pub(crate) fn bases(folder: &Path, suffix: &str) -> Vec<i64> {
    let mut bases: Vec<i64> = fs::read_dir(folder)
        .unwrap()
        .filter_map(|e| {
            e.unwrap()
                .file_name()
                .to_str()?
                .strip_suffix(suffix)?
                .parse()
                .ok()
        })
        .collect();
    bases.sort();
    bases
}

#[test]
fn what_was_committed_is_read_back_from_memory() {
    let dir = dir();
    let mut w = World::open(dir.path(), &Setup::default());
    assert_eq!(w.report.left, Left::New);
    let a = w.produce(0, &batch(3, 10));
    let b = w.produce(0, &batch(2, 100));
    assert_eq!(
        (a.base_offset, a.last_offset, b.base_offset, b.last_offset),
        (0, 2, 3, 4)
    );
    let headers = w.read_all(0, 0, 1 << 20);
    assert_eq!(headers.iter().map(|h| h.base_offset).collect::<Vec<_>>(), [0, 3]);
    assert_eq!(
        w.read_all(0, 4, 10).len(),
        1,
        "from the middle of a batch the whole batch comes"
    );
    assert_eq!(w.try_read(0, 5, 10).unwrap(), b"");
    let out = w.try_read(0, 6, 10);
    assert_eq!(
        out,
        Err(ReadError::OutOfRange {
            log_start_offset: 0,
            high_watermark: 5,
            last_stable: 5,
        })
    );
}

#[test]
fn nothing_is_seen_before_it_is_committed() {
    let dir = dir();
    let mut w = World::open(dir.path(), &Setup::default());
    w.produce(0, &batch(1, 10));
    let a = w.append(0, &batch(1, 10));
    assert!(a.ticket > w.committed);
    assert_eq!(w.shard.offsets(Slot(0)).unwrap().high_watermark, 1);
    assert_eq!(w.shard.offsets(Slot(0)).unwrap().log_end, 2);
}

#[test]
fn many_partitions_share_one_write() {
    let dir = dir();
    let partitions = (0..50).map(|i| format!("t-{i}")).collect();
    let mut w = World::open(
        dir.path(),
        &Setup {
            partitions,
            ..Setup::default()
        },
    );
    let tickets: Vec<Ticket> = (0..50).map(|p| w.append(p, &batch(1, 10)).ticket).collect();
    assert!(tickets.iter().all(|t| *t == tickets[0]), "{tickets:?}");
}

#[test]
fn a_killed_shard_comes_back_with_every_committed_batch() {
    let dir = dir();
    let setup = Setup {
        partitions: vec!["t-0".into(), "t-1".into()],
        ..small_segments()
    };
    let mut sizes = Vec::new();
    for round in 0..4 {
        let mut w = World::open(dir.path(), &setup);
        if round > 0 {
            assert_eq!(w.report.left, Left::Killed);
        }
        for p in 0..2 {
            let headers = w.read_all(p, 0, 50_000);
            assert_eq!(headers.len() as i64, round * 40, "partition {p}");
        }
        for i in 0..40 {
            let bytes = batch(1 + i % 3, 1000 * (i + 1));
            sizes.push(bytes.len());
            w.produce(0, &bytes);
            w.produce(1, &bytes);
        }
        drop(w);
    }
    assert!(bases(&dir.path().join("t-0"), ".log").len() > 3);
}

#[test]
fn a_restart_after_a_kill_replays_the_journal_and_reads_nothing_else() {
    let dir = dir();
    let (setup, mut w) = checkpointed(dir.path());
    w.produce(0, &batch(1, 10));
    drop(w);
    let mut w = World::open(dir.path(), &setup);
    assert!(w.report.restored_batches <= 2, "{:?}", w.report);
    assert_eq!(w.report.scanned_segments, 0, "{:?}", w.report);
    assert_eq!(w.read_all(0, 0, 100_000).len(), 61);
}

#[test]
fn a_clean_stop_leaves_kafkas_files_and_nothing_is_scanned() {
    let dir = dir();
    let mut w = World::open(dir.path(), &small_segments());
    let mut bytes = 0;
    for i in 0..50 {
        let b = BatchBuilder::new()
            .timestamp(5_000 + i)
            .producer(7, 0, i as i32)
            .record(0, None, Some(&[1; 9_000]));
        let b = b.finish();
        bytes += b.len() as u64;
        w.produce(0, &b);
    }
    w.stop();
    let folder = dir.path().join("t-0");
    let logs = bases(&folder, ".log");
    let total: u64 = logs
        .iter()
        .map(|b| fs::metadata(folder.join(format!("{b:020}.log"))).unwrap().len())
        .sum();
    assert_eq!(total, bytes, "exact lengths");
    assert_eq!(bases(&folder, ".index"), logs);
    assert_eq!(bases(&folder, ".timeindex"), logs);
    assert_eq!(bases(&folder, ".snapshot").last(), Some(&50));
    assert!(dir.path().join(".kafka_cleanshutdown").exists());
    assert!(!dir.path().join("ringlog-journal-0").exists());
    let points = fs::read_to_string(dir.path().join("recovery-point-offset-checkpoint")).unwrap();
    assert_eq!(points, "0\n1\nt 0 50\n");
    let mut w = World::open(dir.path(), &small_segments());
    assert_eq!((w.report.left, w.report.scanned_segments), (Left::Clean, 0));
    assert!(!dir.path().join(".kafka_cleanshutdown").exists());
    assert_eq!(w.read_all(0, 0, 100_000).len(), 50);
    let again = BatchBuilder::new()
        .producer(7, 0, 49)
        .record(0, None, Some(b"x"))
        .finish();
    assert!(
        w.produce(0, &again).duplicate,
        "the producer's last batch is remembered"
    );
    assert_eq!(w.produce(0, &batch(1, 5)).base_offset, 50);
}

#[test]
fn old_data_is_read_from_disk_and_checked() {
    let dir = dir();
    let mut w = World::open(dir.path(), &small_segments());
    for _ in 0..60 {
        w.produce(0, &batch(2, 10_000));
    }
    w.stop();
    let mut w = World::open(dir.path(), &small_segments());
    assert_eq!(w.read_all(0, 0, 30_000).len(), 60);
    for offset in [119, 0, 60, 7, 118] {
        assert_eq!(
            w.read_all(0, offset, 1).first().unwrap().base_offset,
            offset / 2 * 2
        );
    }
    drop(w);
    let log = dir
        .path()
        .join("t-0")
        .join(format!("{:020}.log", bases(&dir.path().join("t-0"), ".log")[1]));
    let file = fs::OpenOptions::new().read(true).write(true).open(&log).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 70_000).unwrap();
    file.write_all_at(&[byte[0] ^ 4], 70_000).unwrap();
    let mut w = World::open(dir.path(), &small_segments());
    let results: Vec<_> = (0..120).map(|o| w.try_read(0, o, 1).is_ok()).collect();
    // The batch itself, and the offset whose lookup starts at it.
    assert_eq!(results.iter().filter(|ok| !**ok).count(), 3, "{results:?}");
    assert!(w.notices().contains("damaged on disk"), "{}", w.notices());
}

#[test]
fn a_flipped_bit_in_an_offset_is_seen_although_the_checksum_does_not_cover_it() {
    let dir = dir();
    let mut w = World::open(dir.path(), &Setup::default());
    for _ in 0..4 {
        w.produce(0, &batch(1, 10_000));
    }
    w.stop();
    let log = dir.path().join("t-0/00000000000000000000.log");
    let second = batch(1, 10_000).len() as u64;
    let file = fs::OpenOptions::new().write(true).open(&log).unwrap();
    file.write_all_at(&[9], second + 7).unwrap();
    let mut w = World::open(dir.path(), &Setup::default());
    assert_eq!(batches(&w.try_read(0, 0, 1 << 20).unwrap()).len(), 1);
    assert!(matches!(
        w.try_read(0, 1, 1 << 20),
        Err(ReadError::Corrupt { .. })
    ));
}

#[test]
fn a_segment_cut_short_after_a_clean_stop_is_noticed_and_appended_to_where_it_ends() {
    let dir = dir();
    let mut w = World::open(dir.path(), &Setup::default());
    for _ in 0..4 {
        w.produce(0, &batch(1, 10_000));
    }
    w.stop();
    let log = dir.path().join("t-0/00000000000000000000.log");
    let file = fs::OpenOptions::new().write(true).open(&log).unwrap();
    file.set_len(file.metadata().unwrap().len() - 5).unwrap();
    let mut w = World::open(dir.path(), &Setup::default());
    assert!(
        w.report.notices.concat().contains("cut short"),
        "{:?}",
        w.report.notices
    );
    assert_eq!(w.produce(0, &batch(1, 10)).base_offset, 3);
    assert_eq!(w.read_all(0, 0, 1 << 20).len(), 4);
}

#[test]
fn a_producers_batch_sent_twice_is_appended_once() {
    let dir = dir();
    let mut w = World::open(dir.path(), &Setup::default());
    let sent = |sequence| {
        BatchBuilder::new()
            .producer(9, 0, sequence)
            .record(0, None, Some(b"v"))
            .finish()
    };
    for s in 0..5 {
        w.produce(0, &sent(s));
    }
    let is_duplicate = |w: &World, batch: &[u8]| {
        let producing = Producing::default();
        w.shard.is_duplicate(&w.ring, Slot(0), batch, producing)
    };
    assert_eq!(is_duplicate(&w, &sent(5)), Ok(false));
    assert!(is_duplicate(&w, &sent(7)).is_err() && is_duplicate(&w, b"no batch").is_err());
    for s in 0..5 {
        assert_eq!(is_duplicate(&w, &sent(s)), Ok(true));
        let again = w.produce(0, &sent(s));
        assert_eq!((again.duplicate, again.base_offset), (true, i64::from(s)));
    }
    assert!(matches!(w.try_append(0, &sent(7)), Err(AppendError::Sequence(_))));
    drop(w);
    let mut w = World::open(dir.path(), &Setup::default());
    for s in 0..5 {
        assert!(w.produce(0, &sent(s)).duplicate, "the window outlives a kill");
    }
    assert_eq!(w.produce(0, &sent(5)).base_offset, 5);
}

#[test]
fn a_torn_frame_is_cut_and_counted() {
    let dir = dir();
    let mut w = World::open(dir.path(), &Setup::default());
    w.produce(0, &batch(1, 100));
    w.produce(0, &batch(1, 100));
    drop(w);
    // The last frame was the second; damage it as a write that did not finish would.
    let path = dir.path().join("ringlog-journal-0");
    let bytes = fs::read(&path).unwrap();
    let second = bytes
        .windows(4)
        .enumerate()
        .filter(|(i, m)| i % 4096 == 0 && m == b"RLJF")
        .nth(1)
        .unwrap()
        .0;
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0; 100], second as u64 + 80).unwrap();
    let mut w = World::open(dir.path(), &Setup::default());
    assert_eq!((w.report.replayed.frames, w.report.replayed.torn_frames), (1, 1));
    assert_eq!(w.read_all(0, 0, 1000).len(), 1);
    assert_eq!(w.produce(0, &batch(1, 5)).base_offset, 1);
}

#[test]
fn the_journal_wraps_and_memory_is_given_back_under_load() {
    let dir = dir();
    let setup = Setup {
        memory_bytes: 16 << 20,
        journal_max_bytes: 8 << 20,
        ..Setup::default()
    };
    let mut w = World::open(dir.path(), &setup);
    let bytes = batch(1, 60_000);
    for _ in 0..1500 {
        w.append(0, &bytes);
    }
    let last = w.append(0, &bytes);
    w.until(|w| (w.committed >= last.ticket).then_some(()));
    assert!(fs::metadata(dir.path().join("ringlog-journal-0")).unwrap().len() <= 9 << 20);
    assert_eq!(w.read_all(0, 0, 1 << 20).len(), 1501);
    drop(w);
    let mut w = World::open(dir.path(), &setup);
    assert_eq!(w.read_all(0, 0, 1 << 20).len(), 1501);
}

#[test]
fn batches_larger_than_every_buffer_class_pass() {
    let dir = dir();
    let options = LogOptions {
        max_message_bytes: 8 << 20,
        ..LogOptions::default()
    };
    let setup = Setup {
        options,
        ..Setup::default()
    };
    let mut w = World::open(dir.path(), &setup);
    w.produce(0, &batch(1, 3 << 20));
    w.produce(0, &batch(1, 10));
    drop(w);
    let mut w = World::open(dir.path(), &setup);
    assert_eq!(w.read_all(0, 0, 100).len(), 2);
}

#[test]
fn deleted_records_stay_deleted() {
    let dir = dir();
    let mut w = World::open(dir.path(), &small_segments());
    for _ in 0..60 {
        w.produce(0, &batch(1, 20_000));
    }
    w.until(|w| {
        let folder = w.shard.offsets(Slot(0)).map(|_| dir.path().join("t-0")).unwrap();
        (bases(&folder, ".snapshot").len() >= 3).then_some(())
    });
    let (start, ticket) = w.shard.delete_records(&mut w.ring, Slot(0), 33).unwrap();
    assert_eq!(start, 33);
    let again = w.shard.delete_records(&mut w.ring, Slot(0), 33).unwrap();
    assert_eq!(
        again,
        (33, ticket),
        "asked for twice, it is no more durable than once"
    );
    w.until(|w| (w.committed >= ticket).then_some(()));
    let shortened = |event: &&ShardEvent| matches!(event, ShardEvent::Shortened(Slot(0)));
    assert_eq!(w.events.iter().filter(shortened).count(), 1, "told once");
    assert!(matches!(
        w.try_read(0, 32, 10),
        Err(ReadError::OutOfRange {
            log_start_offset: 33,
            ..
        })
    ));
    w.until(|_| (bases(&dir.path().join("t-0"), ".log")[0] > 0).then_some(()));
    drop(w);
    let mut w = World::open(dir.path(), &small_segments());
    assert_eq!(w.shard.offsets(Slot(0)).unwrap().log_start, 33);
    assert_eq!(w.read_all(0, 33, 1 << 20).len(), 27);
    w.stop();
    let w = World::open(dir.path(), &small_segments());
    assert_eq!(w.shard.offsets(Slot(0)).unwrap().log_start, 33);
}

#[test]
fn a_timestamp_is_found_on_disk_and_in_memory() {
    let dir = dir();
    let mut w = World::open(dir.path(), &small_segments());
    for i in 0..40 {
        w.produce(0, &stamped_batch(1, 20_000, 1000 + i * 10));
    }
    w.stop();
    let mut w = World::open(dir.path(), &small_segments());
    assert_eq!(find(&mut w, LARGEST), Some(39), "of an earlier run");
    for i in 40..80 {
        w.produce(0, &stamped_batch(1, 20_000, 1000 + i * 10));
    }
    for (time, offset) in [(0, 0), (1000, 0), (1001, 1), (1395, 40), (1200, 20), (1790, 79)] {
        assert_eq!(find(&mut w, time), Some(offset), "time {time}");
    }
    assert_eq!(find(&mut w, 1791), None);
    assert_eq!(find(&mut w, LARGEST), Some(79));
}

/// Asks for the largest timestamp.
const LARGEST: i64 = i64::MAX;

pub(crate) fn find(w: &mut World, timestamp_ms: i64) -> Option<i64> {
    let token = rand();
    let outcome = match timestamp_ms {
        LARGEST => w.shard.offset_for_largest_timestamp(&mut w.ring, Slot(0), token),
        _ => w
            .shard
            .offset_for_timestamp(&mut w.ring, Slot(0), timestamp_ms, 0, token),
    };
    let hit = match outcome {
        TimeOutcome::Now(hit) => hit,
        TimeOutcome::Error(e) => panic!("{e:?}"),
        TimeOutcome::Later => w.until(|w| {
            let at = w
                .events
                .iter()
                .position(|e| matches!(e, ShardEvent::TimeDone { token: t, .. } if *t == token))?;
            match w.events.remove(at) {
                ShardEvent::TimeDone { result, .. } => Some(result.unwrap()),
                _ => None,
            }
        }),
    };
    hit.map(|h| batches(&h.batch)[0].base_offset)
}

#[test]
fn written_durability_still_survives_a_kill() {
    let dir = dir();
    let options = LogOptions {
        durability: Durability::Written,
        ..LogOptions::default()
    };
    let setup = Setup {
        options,
        ..Setup::default()
    };
    let mut w = World::open(dir.path(), &setup);
    for _ in 0..10 {
        w.produce(0, &batch(1, 100));
    }
    drop(w);
    let mut w = World::open(dir.path(), &setup);
    assert_eq!(w.read_all(0, 0, 1000).len(), 10);
}

#[test]
fn a_file_of_a_newer_version_is_refused() {
    let dir = dir();
    let mut w = World::open(dir.path(), &Setup::default());
    w.produce(0, &batch(1, 100));
    drop(w);
    for name in ["ringlog-journal-0", "ringlog-checkpoint-0"] {
        let path = dir.path().join(name);
        let file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        file.write_all_at(&[77], 8).unwrap();
        let Err(e) = ringlog_engine::recover::open(dir.path()) else {
            panic!("{name} was accepted")
        };
        assert!(e.to_string().contains("format version 77"), "{e}");
        file.write_all_at(&[1], 8).unwrap();
    }
}

#[test]
fn missing_indexes_and_snapshots_are_built_again() {
    for clean in [true, false] {
        let dir = dir();
        let mut w = World::open(dir.path(), &small_segments());
        for i in 0..40 {
            let b = BatchBuilder::new()
                .producer(7, 0, i)
                .record(0, None, Some(&[1; 20_000]))
                .finish();
            w.produce(0, &b);
        }
        if clean {
            w.stop()
        } else {
            drop(w)
        }
        let folder = dir.path().join("t-0");
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if matches!(
                path.extension().and_then(|e| e.to_str()),
                Some("index" | "timeindex" | "snapshot")
            ) {
                fs::remove_file(path).unwrap();
            }
        }
        let mut w = World::open(dir.path(), &small_segments());
        assert_eq!(w.read_all(0, 0, 100_000).len(), 40);
        let again = BatchBuilder::new()
            .producer(7, 0, 39)
            .record(0, None, Some(b"x"))
            .finish();
        assert!(w.produce(0, &again).duplicate, "clean {clean}");
        w.stop();
        assert_eq!(bases(&folder, ".index"), bases(&folder, ".log"));
    }
}

#[test]
fn a_directory_without_journal_is_cut_at_the_first_damaged_batch() {
    let dir = dir();
    let mut w = World::open(dir.path(), &small_segments());
    for _ in 0..40 {
        w.produce(0, &batch(1, 20_000));
    }
    w.stop();
    // As Apache Kafka leaves it when it is killed: no clean-shutdown file, a recovery point of the past.
    fs::remove_file(dir.path().join(".kafka_cleanshutdown")).unwrap();
    fs::write(
        dir.path().join("recovery-point-offset-checkpoint"),
        "0\n1\nt 0 3\n",
    )
    .unwrap();
    let folder = dir.path().join("t-0");
    let last = *bases(&folder, ".log").last().unwrap();
    let log = folder.join(format!("{last:020}.log"));
    let file = fs::OpenOptions::new().write(true).open(&log).unwrap();
    file.write_all_at(&[255; 10], 30_000).unwrap();
    let mut w = World::open(dir.path(), &small_segments());
    assert_eq!(w.report.left, Left::Foreign);
    assert_eq!(w.read_all(0, 0, 100_000).len() as i64, last + 1);
    assert_eq!(w.produce(0, &batch(1, 5)).base_offset, last + 1);
}
