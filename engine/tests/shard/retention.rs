//! Segments that have outlived their time or their room.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringlog_engine::batch::{BatchBuilder, BatchHeader};
use ringlog_engine::producers::ProducerError;
use ringlog_engine::recover;
use ringlog_engine::shard::*;

use crate::world::*;
use crate::{bases, dir, find, small_segments};

const HOUR_MS: i64 = 3_600_000;
/// Somewhere in 2999.
const YEAR_2999: i64 = 32_480_000_000_000;

fn kept(ms: i64, bytes: i64) -> Setup {
    let setup = small_segments();
    let options = LogOptions {
        retention: Limits { ms, bytes },
        timestamp_after_max_ms: i64::MAX,
        ..setup.options
    };
    Setup { options, ..setup }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_millis() as i64
}

/// Ten batches fill a segment of [`small_segments`].
fn fill(w: &mut World, segments: usize, timestamp_ms: i64) {
    for _ in 0..segments * 10 {
        w.produce(0, &stamped_batch(1, 29_000, timestamp_ms));
    }
}

fn offsets(w: &World) -> Offsets {
    w.shard.offsets(Slot(0)).unwrap()
}

fn logs(dir: &Path) -> Vec<i64> {
    bases(&dir.join("t-0"), ".log")
}

/// Looks for segments to delete until the log starts there, and its files are all that is left.
fn start_becomes(w: &mut World, dir: &Path, start: i64) {
    w.until(|w| {
        w.shard.check_retention();
        (0..5).for_each(|_| w.turn());
        let first = logs(dir).first().copied();
        (offsets(w).log_start >= start && first == Some(start)).then_some(())
    });
    assert_eq!(offsets(w).log_start, start);
}

/// Many looks that change nothing.
fn start_stays(w: &mut World, start: i64) {
    for _ in 0..20 {
        w.shard.check_retention();
        (0..5).for_each(|_| w.turn());
    }
    assert_eq!(offsets(w).log_start, start);
}

#[test]
fn old_segments_go_and_a_restart_finds_what_is_left() {
    for clean in [false, true] {
        let dir = dir();
        let mut w = World::open(dir.path(), &kept(HOUR_MS, -1));
        fill(&mut w, 3, 1_000);
        fill(&mut w, 1, now_ms());
        start_becomes(&mut w, dir.path(), 30);
        assert!(w.notices().is_empty(), "{}", w.notices());
        let said = w.events.iter().find_map(|e| match e {
            ShardEvent::Info(line) => Some(line.clone()),
            _ => None,
        });
        let said = said.unwrap();
        assert!(
            said.contains("t-0: ")
                && said.contains("retention.ms=3600000")
                && said.contains("starts at offset 30"),
            "{said}"
        );
        if clean {
            w.stop();
        } else {
            drop(w);
        }
        let mut w = World::open(dir.path(), &kept(HOUR_MS, -1));
        assert_eq!(offsets(&w).log_start, 30);
        assert_eq!(w.read_all(0, 30, 1 << 20).len(), 10);
        start_stays(&mut w, 30);
    }
}

#[test]
fn of_segments_of_an_earlier_run_the_index_file_says_how_old_they_are() {
    for clean in [false, true] {
        let dir = dir();
        let mut w = World::open(dir.path(), &kept(-1, -1));
        fill(&mut w, 2, 1_000);
        fill(&mut w, 2, now_ms());
        if clean {
            w.stop();
        } else {
            drop(w);
        }
        let mut w = World::open(dir.path(), &kept(HOUR_MS, -1));
        start_becomes(&mut w, dir.path(), 20);
        start_stays(&mut w, 20);
    }
}

#[test]
fn a_log_past_its_size_loses_whole_segments_and_no_more() {
    let dir = dir();
    let mut w = World::open(dir.path(), &kept(-1, 600_000));
    fill(&mut w, 4, now_ms());
    let size = w.shard.size_bytes(Slot(0));
    start_becomes(&mut w, dir.path(), 10);
    let left = w.shard.size_bytes(Slot(0));
    assert!((600_000..size).contains(&left) && left < 900_000, "{left}");
    start_stays(&mut w, 10);
    // Settings of a running broker change.
    let setup = kept(-1, 300_000);
    w.shard.set_options(Slot(0), setup.options);
    start_becomes(&mut w, dir.path(), 20);
}

#[test]
fn all_of_it_goes_when_all_is_too_old_and_the_log_goes_on_where_it_was() {
    for (ms, bytes) in [(0, -1), (-1, 0)] {
        let dir = dir();
        let setup = kept(ms, bytes);
        let mut w = World::open(dir.path(), &kept(-1, -1));
        let sent = |sequence| {
            let new = BatchBuilder::new().timestamp(5).producer(7, 0, sequence);
            new.record(0, None, Some(b"value")).finish()
        };
        fill(&mut w, 2, 1_000);
        w.produce(0, &sent(0));
        // In the middle of the newest segment.
        w.shard.delete_records(&mut w.ring, Slot(0), 15).unwrap();
        w.shard.set_options(Slot(0), setup.options);
        start_becomes(&mut w, dir.path(), 21);
        start_stays(&mut w, 21);
        assert_eq!((offsets(&w).log_end, w.shard.size_bytes(Slot(0))), (21, 0));
        // Producers are known though all they sent is gone.
        assert!(w.produce(0, &sent(0)).duplicate);
        let gap = w.try_append(0, &sent(2));
        assert!(
            matches!(
                gap,
                Err(AppendError::Sequence(ProducerError::OutOfOrderSequence { .. }))
            ),
            "{gap:?}"
        );
        drop(w);
        let mut w = World::open(dir.path(), &kept(-1, -1));
        assert_eq!((offsets(&w).log_start, offsets(&w).log_end), (21, 21));
        assert!(w.produce(0, &sent(0)).duplicate);
        w.stop();
        let mut w = World::open(dir.path(), &kept(-1, -1));
        assert_eq!((offsets(&w).log_start, offsets(&w).log_end), (21, 21));
        assert!(w.produce(0, &sent(0)).duplicate);
        assert_eq!(w.produce(0, &sent(1)).base_offset, 21);
        assert_eq!(w.read_all(0, 21, 1 << 20).len(), 1);
    }
}

#[test]
fn a_record_of_the_future_keeps_its_segment_and_those_behind_it() {
    let dir = dir();
    let mut w = World::open(dir.path(), &kept(HOUR_MS, -1));
    fill(&mut w, 1, 0);
    fill(&mut w, 1, YEAR_2999);
    fill(&mut w, 1, 0);
    start_becomes(&mut w, dir.path(), 10);
    start_stays(&mut w, 10);
    let said = w.notices();
    assert!(
        said.matches("future").count() == 1 && said.contains("offset 10"),
        "told once: {said}"
    );
    w.shard.set_options(Slot(0), kept(HOUR_MS, 250_000).options);
    start_becomes(&mut w, dir.path(), 30);
}

#[test]
fn a_record_without_a_timestamp_is_as_old_as_its_file() {
    let dir = dir();
    let mut w = World::open(dir.path(), &kept(HOUR_MS, -1));
    fill(&mut w, 2, -1);
    start_stays(&mut w, 0);
    w.stop();
    let path = dir.path().join("t-0/00000000000000000000.log");
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(UNIX_EPOCH).unwrap();
    let mut w = World::open(dir.path(), &kept(HOUR_MS, -1));
    start_becomes(&mut w, dir.path(), 10);
    start_stays(&mut w, 10);
}

#[test]
fn nothing_goes_that_is_not_on_stable_storage() {
    let dir = dir();
    let mut w = World::open(dir.path(), &kept(0, 0));
    for _ in 0..30 {
        w.append(0, &stamped_batch(1, 29_000, 1_000));
    }
    let mut seen = Vec::new();
    w.shard.check_retention();
    let last = w.append(0, &stamped_batch(1, 10, 1_000));
    while w.committed < last.ticket {
        w.turn();
        let Offsets {
            log_start,
            high_watermark,
            ..
        } = offsets(&w);
        assert!(log_start <= high_watermark);
        seen.push(log_start);
        w.shard.check_retention();
    }
    start_becomes(&mut w, dir.path(), 31);
}

#[test]
fn an_open_transaction_is_no_longer_than_what_is_left_of_it() {
    let dir = dir();
    let mut w = World::open(dir.path(), &kept(-1, 300_000));
    let part = |sequence| {
        let new = BatchBuilder::new()
            .timestamp(1_000)
            .producer(7, 0, sequence)
            .transactional();
        new.record(0, None, Some(&[1; 29_000])).finish()
    };
    let verified = Producing {
        is_verified: true,
        ..Producing::default()
    };
    let mut last = 0;
    for sequence in 0..25 {
        last = w.until(
            |w| match w.shard.append_as(&mut w.ring, Slot(0), &part(sequence), verified) {
                Ok(appended) => Some(appended.ticket),
                Err(AppendError::Busy) => None,
                Err(e) => panic!("{e:?}"),
            },
        );
    }
    w.until(|w| (w.committed >= last).then_some(()));
    assert_eq!(offsets(&w).last_stable, 0);
    start_becomes(&mut w, dir.path(), 10);
    assert_eq!(
        offsets(&w).last_stable,
        10,
        "readers of what is committed see nothing of it"
    );
    drop(w);
    let mut w = World::open(dir.path(), &kept(-1, 300_000));
    assert_eq!(offsets(&w).last_stable, 10);
    let marker = Marker {
        producer_id: 7,
        producer_epoch: 0,
        kind: MarkerKind::Abort,
        coordinator_epoch: 0,
        transaction_version: 1,
    };
    let ended = w.shard.append_marker(&mut w.ring, Slot(0), &marker);
    let ended = match ended {
        Err(AppendError::Busy) => w.until(|w| w.shard.append_marker(&mut w.ring, Slot(0), &marker).ok()),
        ended => ended.unwrap(),
    };
    w.until(|w| (w.committed >= ended.ticket).then_some(()));
    assert_eq!(offsets(&w).last_stable, 26);
    let request = ReadRequest {
        offset: 10,
        max_bytes: 1 << 20,
        at_least_one: true,
        isolation: Isolation::Committed,
        token: 1,
    };
    let data = match w.shard.read(&mut w.ring, Slot(0), request) {
        ReadOutcome::Now(data) => data,
        ReadOutcome::Error(e) => panic!("{e:?}"),
        ReadOutcome::Later => w.until(|w| {
            w.events
                .iter()
                .position(|e| matches!(e, ShardEvent::ReadDone { token: 1, .. }))
                .map(|at| match w.events.remove(at) {
                    ShardEvent::ReadDone { result, .. } => result.unwrap(),
                    _ => unreachable!(),
                })
        }),
    };
    let told: Vec<_> = data
        .aborted
        .iter()
        .map(|a| (a.producer_id, a.first_offset, a.last_offset))
        .collect();
    assert_eq!(told, [(7, 0, 25)], "where it began is in no segment any more");
}

#[test]
fn many_segments_go_a_few_at_a_time() {
    let dir = dir();
    let setup = kept(-1, -1);
    let options = LogOptions {
        segment_bytes: 5_000,
        ..setup.options
    };
    let mut w = World::open(dir.path(), &Setup { options, ..setup });
    for _ in 0..50 {
        w.append(0, &stamped_batch(1, 4_000, 1_000));
    }
    let last = w.append(0, &stamped_batch(1, 4_000, now_ms()));
    w.until(|w| (w.committed >= last.ticket).then_some(()));
    let retention = Limits {
        ms: HOUR_MS,
        bytes: -1,
    };
    w.shard.set_options(Slot(0), LogOptions { retention, ..options });
    let mut starts = vec![0];
    w.shard.check_retention();
    w.until(|w| {
        let start = offsets(w).log_start;
        if starts.last() != Some(&start) {
            starts.push(start);
        }
        (start == 50).then_some(())
    });
    let steps: Vec<i64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(steps, [16, 16, 16, 2], "by one look");
    assert_eq!(
        w.read_all(0, 50, 1 << 20),
        [BatchHeader::read(&w.try_read(0, 50, 10).unwrap()).unwrap()]
    );
}

#[test]
fn what_a_killed_run_left_below_the_log_start_goes_too() {
    let dir = dir();
    let mut w = World::open(dir.path(), &kept(-1, -1));
    fill(&mut w, 3, 1_000);
    w.stop();
    let first = dir.path().join("t-0/00000000000000000000.log");
    let bytes = fs::read(&first).unwrap();
    let mut w = World::open(dir.path(), &kept(HOUR_MS, -1));
    start_becomes(&mut w, dir.path(), 30);
    drop(w);
    // Removed, and back after a power cut.
    fs::write(&first, bytes).unwrap();
    let mut w = World::open(dir.path(), &kept(-1, -1));
    assert_eq!(offsets(&w).log_start, 30);
    start_becomes(&mut w, dir.path(), 30);
}

#[test]
fn epochs_whose_records_are_gone_are_forgotten_and_those_left_begin_at_the_log_start() {
    for clean in [false, true] {
        let dir = dir();
        let mut w = World::open(dir.path(), &Setup::default());
        for epoch in [0, 2, 5] {
            w.shard.set_leader_epoch(Slot(0), epoch);
            for _ in 0..4 {
                w.produce(0, &batch(1, 100));
            }
        }
        let ends = |w: &World| [0, 1, 2, 4, 5, 6].map(|epoch| w.shard.epoch_end_offset(Slot(0), epoch));
        assert_eq!(ends(&w), [(0, 4), (0, 4), (2, 8), (2, 8), (5, 12), (-1, -1)]);
        let mut wanted = ends(&w);
        for (start, changed) in [
            (3, [(0, 4), (0, 4), (2, 8), (2, 8), (5, 12), (-1, -1)]),
            (4, [(0, 4), (1, 4), (2, 8), (2, 8), (5, 12), (-1, -1)]),
            (7, [(0, 7), (1, 7), (2, 8), (2, 8), (5, 12), (-1, -1)]),
            (12, [(0, 12), (1, 12), (2, 12), (4, 12), (5, 12), (-1, -1)]),
        ] {
            let (_, ticket) = w.shard.delete_records(&mut w.ring, Slot(0), start).unwrap();
            w.until(|w| (w.committed >= ticket).then_some(()));
            wanted = changed;
            assert_eq!(ends(&w), wanted, "from {start}");
            // The next one begins where the journal, or the stop, has left it.
            if clean {
                w.stop();
            } else {
                drop(w);
            }
            w = World::open(dir.path(), &Setup::default());
            w.shard.set_leader_epoch(Slot(0), 5);
            assert_eq!(ends(&w), wanted, "from {start}, after a restart");
        }
        assert_eq!(wanted[5], (-1, -1));
    }
}

#[test]
fn a_removed_segments_files_are_renamed_and_stay_for_the_topics_delay() {
    let dir = dir();
    let setup = kept(HOUR_MS, -1);
    let options = LogOptions {
        file_delete_delay: Duration::from_secs(3600),
        ..setup.options
    };
    let setup = Setup { options, ..setup };
    let mut w = World::open(dir.path(), &setup);
    fill(&mut w, 2, 1_000);
    fill(&mut w, 1, now_ms());
    start_becomes(&mut w, dir.path(), 20);
    let deleted = |suffix: &str| bases(&dir.path().join("t-0"), suffix);
    w.until(|_| (deleted(".log.deleted").len() == 2).then_some(()));
    for suffix in [".log.deleted", ".index.deleted", ".timeindex.deleted"] {
        assert_eq!(deleted(suffix), [0, 10], "{suffix}");
    }
    assert_eq!(deleted(".snapshot.deleted"), [10]);
    assert!(
        w.background.has_room_to_give(),
        "a full disk would not wait for them"
    );
    drop(w);
    // The next run has all that was left as something to remove, and nothing else.
    let recovered = recover::open(dir.path()).unwrap();
    let left: Vec<String> = recovered
        .leftovers
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(left.len(), 7, "{left:?}");
    assert!(left.iter().all(|name| name.ends_with(".deleted")), "{left:?}");
}

#[test]
fn what_a_kill_left_of_a_half_removed_segment_is_found() {
    let dir = dir();
    let mut w = World::open(dir.path(), &kept(HOUR_MS, -1));
    fill(&mut w, 1, 1_000);
    fill(&mut w, 1, now_ms());
    start_becomes(&mut w, dir.path(), 10);
    drop(w);
    let folder = dir.path().join("t-0");
    for name in [
        "00000000000000000000.index",
        "00000000000000000000.snapshot",
        "00000000000000000000.log.deleted",
    ] {
        fs::write(folder.join(name), "left").unwrap();
    }
    let found = recover::open(dir.path()).unwrap().leftovers;
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found.iter().all(|path| fs::read(path).unwrap() == b"left"));
}

#[test]
fn a_segment_begun_for_all_others_to_go_is_believed_though_another_cores_checkpoint_does_not_know_it() {
    let dir = dir();
    let setup = Setup {
        cores: 2,
        ..kept(-1, -1)
    };
    let mut w = World::open(dir.path(), &setup);
    for _ in 0..5 {
        w.produce(0, &batch(1, 100));
    }
    let (_, ticket) = w.shard.delete_records(&mut w.ring, Slot(0), 5).unwrap();
    w.until(|w| (w.committed >= ticket).then_some(()));
    drop(w);
    // Both cores' first checkpoints have a log of one segment, all of it before the log start.
    let mut w = World::open(dir.path(), &setup);
    w.shard.set_options(Slot(0), kept(-1, 0).options);
    w.until(|w| {
        w.shard.check_retention();
        (0..5).for_each(|_| w.turn());
        (logs(dir.path()) == [5]).then_some(())
    });
    drop(w);
    let mut w = World::open(dir.path(), &setup);
    assert_eq!((offsets(&w).log_start, offsets(&w).log_end), (5, 5));
    assert_eq!(w.produce(0, &batch(1, 100)).base_offset, 5);
}

#[test]
fn a_clock_that_is_set_back_deletes_nothing_and_finds_everything() {
    let dir = dir();
    let setup = kept(HOUR_MS, -1);
    let options = LogOptions {
        log_append_time: true,
        ..setup.options
    };
    let setup = Setup { options, ..setup };
    let mut w = World::open(dir.path(), &setup);
    let begun = now_ms();
    for shift in [0, -48 * HOUR_MS, -2 * HOUR_MS] {
        w.ring.clock_shift_ms = shift;
        fill(&mut w, 1, 1);
        start_stays(&mut w, 0);
    }
    // By a clock two hours back the first segment is of the future, and what is behind it stays as long as it does.
    let at = |hours: i64| begun + hours * HOUR_MS;
    assert_eq!([-50, -1].map(|hours| find(&mut w, at(hours))), [Some(0); 2]);
    assert_eq!(find(&mut w, at(1)), None);
    assert_eq!(w.read_all(0, 0, 1 << 20).len(), 30);
    // Set right, what is an hour old in truth goes from the front: the first one is not.
    w.ring.clock_shift_ms = 0;
    start_stays(&mut w, 0);
    w.ring.clock_shift_ms = 2 * HOUR_MS;
    start_becomes(&mut w, dir.path(), 30);
    assert_eq!(w.produce(0, &batch(1, 10)).base_offset, 30);
    assert_eq!(find(&mut w, at(1)), Some(30));
}
