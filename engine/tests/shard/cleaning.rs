//! Cleaning by key: what is under way beside a pass, and what is left after it.

use std::fs;
use std::path::Path;

use ringlog_engine::batch::{BatchBuilder, BatchHeader, peek_size};
use ringlog_engine::cleaner::{CleanBacklog, CleanerSettings, Cleaners, Crew};
use ringlog_engine::io::files::changes::{self, Change};
use ringlog_engine::shard::*;

use crate::world::*;
use crate::{bases, dir};

const NOW_MS: i64 = 1_000_000;

/// Four batches of [`keyed`] fill a segment; whatever is dirty is cleaned.
fn settings() -> Setup {
    let options = LogOptions {
        segment_bytes: 20_000,
        segment_ms: i64::MAX,
        compaction: Some(Compaction {
            min_cleanable_ratio: 0.0,
            ..Compaction::default()
        }),
        ..LogOptions::default()
    };
    Setup {
        options,
        checkpoint_idle_ms: 1,
        ..Setup::default()
    }
}

/// A batch of one record. Its timestamp says which: so many milliseconds after [`NOW_MS`].
fn keyed(key: &str, number: i64) -> Vec<u8> {
    BatchBuilder::new()
        .timestamp(NOW_MS + number)
        .record(0, Some(key.as_bytes()), Some(&[number as u8; 4_500]))
        .finish()
}

/// A shard whose cleaner works when the test says so.
struct Cleaning {
    w: World,
    backlog: CleanBacklog,
}

impl Cleaning {
    fn open(dir: &Path, setup: &Setup) -> Cleaning {
        let mut w = World::open(dir, setup);
        let (cleaners, backlog) = Cleaners::by_hand(CleanerSettings::default());
        w.shard.set_crew(Crew::new(cleaners, 1));
        Cleaning { w, backlog }
    }

    /// So many records of three keys in turn, and all of the log but the end in a checkpoint.
    fn fill(&mut self, count: i64) {
        let from = self.w.shard.offsets(Slot(0)).unwrap().log_end;
        for number in from..from + count {
            self.w.produce(0, &keyed(&format!("k{}", number % 3), number));
        }
        self.w
            .until(|w| (w.shard.journal_live_bytes() == 0).then_some(()));
    }

    /// Turns until the cleaner has a pass to make.
    fn ordered(&mut self) {
        self.w.until(|w| {
            w.shard.check_cleaning(&w.ring);
            w.turn();
            w.shard.is_cleaning(Slot(0)).then_some(())
        });
    }

    /// Passes are made until this many are over.
    fn cleaned(&mut self, passes: usize) {
        let (w, backlog) = (&mut self.w, &self.backlog);
        w.until(|w| {
            w.shard.check_cleaning(&w.ring);
            w.turn();
            backlog.run_one();
            (said(w, "is clean up to") >= passes).then_some(())
        });
    }

    /// Turns that change nothing, as far as a test can know.
    fn idle(&mut self) {
        for _ in 0..30 {
            self.w.shard.check_cleaning(&self.w.ring);
            self.w.turn();
            self.backlog.run_one();
        }
    }
}

fn said(w: &World, part: &str) -> usize {
    let lines = w.events.iter().filter(|e| match e {
        ShardEvent::Info(line) | ShardEvent::Notice(line) => line.contains(part),
        _ => false,
    });
    lines.count()
}

/// The headers of all batches from an offset on.
fn read_from(w: &mut World, mut offset: i64) -> Vec<BatchHeader> {
    let mut found = Vec::new();
    while offset < w.shard.offsets(Slot(0)).unwrap().high_watermark {
        let bytes = w.try_read(0, offset, 10_000).unwrap();
        let mut rest = &bytes[..];
        while let Some(Ok(size)) = peek_size(rest)
            && size <= rest.len()
        {
            let header = BatchHeader::read(rest).unwrap();
            assert!(header.last_offset() >= offset, "{} again", header.base_offset);
            offset = header.last_offset() + 1;
            found.push(header);
            rest = &rest[size..];
        }
    }
    found
}

/// Offsets of the records that are left.
fn left(w: &mut World) -> Vec<i64> {
    let start = w.shard.offsets(Slot(0)).unwrap().log_start;
    let batches = read_from(w, start);
    let with_records = batches.iter().filter(|header| header.record_count > 0);
    with_records.map(|header| header.base_offset).collect()
}

fn logs(dir: &Path) -> Vec<i64> {
    bases(&dir.join("t-0"), ".log")
}

fn checkpoint(dir: &Path) -> String {
    fs::read_to_string(dir.join("cleaner-offset-checkpoint")).unwrap_or_default()
}

/// Files of passes that have not come to their ends.
fn unfinished(dir: &Path) -> usize {
    let names = fs::read_dir(dir.join("t-0")).unwrap();
    let names = names.map(|e| e.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| name.ends_with(".cleaned") || name.ends_with(".swap"))
        .count()
}

#[test]
fn a_pass_leaves_the_newest_of_each_key_and_a_restart_finds_them() {
    for clean in [false, true] {
        let dir = dir();
        let mut c = Cleaning::open(dir.path(), &settings());
        c.fill(42);
        assert_eq!(logs(dir.path()).len(), 11);
        c.cleaned(1);
        // 40 and 41 are in the active segment, of which the pass knows nothing.
        assert_eq!(left(&mut c.w), [37, 38, 39, 40, 41]);
        // As in Kafka, what was full is joined with others by the next pass.
        assert_eq!(logs(dir.path()).len(), 11);
        assert_eq!(checkpoint(dir.path()), "0\n1\nt 0 40\n");
        assert!(c.w.notices().is_empty(), "{}", c.w.notices());
        // There is nothing more to do.
        c.idle();
        assert_eq!(said(&c.w, "is clean up to"), 1);
        match clean {
            true => c.w.stop(),
            false => drop(c),
        }
        let mut c = Cleaning::open(dir.path(), &settings());
        assert_eq!(left(&mut c.w), [37, 38, 39, 40, 41]);
        // What was cleaned is known to be, and what is new is cleaned with it.
        c.idle();
        assert_eq!(said(&c.w, "is clean up to"), 0);
        c.fill(4);
        c.cleaned(1);
        assert_eq!(left(&mut c.w), [41, 42, 43, 44, 45]);
        assert_eq!(checkpoint(dir.path()), "0\n1\nt 0 44\n");
        c.w.until(|w| {
            w.turn();
            (logs(dir.path()) == [0, 40, 44]).then_some(())
        });
    }
}

#[test]
fn readers_go_on_where_they_were_and_times_are_found() {
    let dir = dir();
    let mut c = Cleaning::open(dir.path(), &settings());
    c.fill(42);
    // A reader in the middle of an old segment, with what it comes to next in memory.
    let first = read_from(&mut c.w, 0);
    assert_eq!(first.len(), 42);
    let bytes = c.w.try_read(0, 16, 5_000).unwrap();
    assert_eq!(BatchHeader::read(&bytes).unwrap().base_offset, 16);
    c.cleaned(1);
    for from in [0, 16, 17, 20, 36] {
        let bytes = c.w.try_read(0, from, 5_000).unwrap();
        // The first that is left, which may be one without records.
        let header = BatchHeader::read(&bytes).unwrap();
        assert!(header.base_offset >= 36, "{header:?}");
    }
    let mut at = |timestamp_ms| {
        let token = rand();
        let found = match c
            .w
            .shard
            .offset_for_timestamp(&mut c.w.ring, Slot(0), timestamp_ms, 0, token)
        {
            TimeOutcome::Now(found) => found,
            TimeOutcome::Error(e) => panic!("{e:?}"),
            TimeOutcome::Later => c.w.until(|w| {
                let is_it =
                    |e: &ShardEvent| matches!(e, ShardEvent::TimeDone { token: t, .. } if *t == token);
                let i = w.events.iter().position(is_it)?;
                match w.events.remove(i) {
                    ShardEvent::TimeDone { result, .. } => Some(result.unwrap()),
                    _ => None,
                }
            }),
        };
        found.map(|hit| BatchHeader::read(&hit.batch).unwrap().base_offset)
    };
    assert_eq!(at(NOW_MS + 5), Some(37));
    assert_eq!(at(NOW_MS + 38), Some(38));
    assert_eq!(at(NOW_MS + 41), Some(41));
    assert_eq!(at(NOW_MS + 42), None);
}

#[test]
fn what_is_not_in_a_checkpoint_is_not_cleaned_before_there_is_one() {
    let dir = dir();
    let setup = Setup {
        checkpoint_idle_ms: 600_000,
        ..settings()
    };
    let mut c = Cleaning::open(dir.path(), &setup);
    for number in 0..42 {
        c.w.produce(0, &keyed(&format!("k{}", number % 3), number));
    }
    assert!(c.w.shard.journal_live_bytes() > 0);
    c.w.shard.check_cleaning(&c.w.ring);
    c.w.turn();
    assert!(
        !c.w.shard.is_cleaning(Slot(0)),
        "a restart would put the journal's batches there"
    );
    // One is asked for, however long ago the last append was.
    c.w.until(|w| {
        w.shard.check_cleaning(&w.ring);
        (w.shard.journal_live_bytes() == 0).then_some(())
    });
    c.cleaned(1);
    assert_eq!(left(&mut c.w), [37, 38, 39, 40, 41]);
}

#[test]
fn nothing_is_deleted_from_what_is_being_cleaned() {
    let dir = dir();
    let mut c = Cleaning::open(dir.path(), &settings());
    c.fill(42);
    c.ordered();
    c.w.shard.delete_records(&mut c.w.ring, Slot(0), 38).unwrap();
    let all = logs(dir.path());
    (0..20).for_each(|_| c.w.turn());
    assert_eq!(logs(dir.path()), all, "the cleaner reads them");
    c.cleaned(1);
    assert_eq!(left(&mut c.w), [38, 39, 40, 41]);
    c.w.until(|w| {
        w.shard.check_retention();
        w.turn();
        (logs(dir.path()).len() == 2).then_some(())
    });
}

#[test]
fn a_topic_that_is_deleted_or_changed_while_it_is_cleaned_leaves_no_trace_of_that() {
    for delete in [false, true] {
        let dir = dir();
        let mut c = Cleaning::open(dir.path(), &settings());
        c.fill(42);
        c.ordered();
        match delete {
            true => c.w.shard.remove_partition(&mut c.w.ring, Slot(0)),
            false => {
                let options = LogOptions {
                    compaction: None,
                    ..settings().options
                };
                c.w.shard.set_options(Slot(0), options);
            }
        }
        c.backlog.run_one();
        (0..20).for_each(|_| c.w.turn());
        assert_eq!(
            (unfinished(dir.path()), checkpoint(dir.path())),
            (0, String::new())
        );
        assert_eq!(logs(dir.path()).len(), 11);
        assert!(c.w.notices().is_empty(), "{}", c.w.notices());
    }
}

#[test]
fn gaps_are_no_damage_also_when_the_topic_is_not_compacted_any_more() {
    let dir = dir();
    let mut c = Cleaning::open(dir.path(), &settings());
    c.fill(42);
    c.cleaned(1);
    c.w.stop();
    let deleting = Setup {
        options: LogOptions {
            compaction: None,
            ..settings().options
        },
        ..settings()
    };
    for clean in [true, false] {
        let mut c = Cleaning::open(dir.path(), &deleting);
        assert_eq!(left(&mut c.w), [37, 38, 39, 40, 41]);
        match clean {
            true => c.w.stop(),
            false => drop(c),
        }
    }
}

#[test]
fn a_damaged_segment_is_told_of_once_and_the_log_stays_as_it_is() {
    let dir = dir();
    let mut c = Cleaning::open(dir.path(), &settings());
    c.fill(42);
    let log = dir.path().join(format!("t-0/{:020}.log", 8));
    let mut bytes = fs::read(&log).unwrap();
    bytes[5_000] ^= 1;
    fs::write(&log, bytes).unwrap();
    c.ordered();
    c.backlog.run_one();
    c.idle();
    c.fill(12);
    c.idle();
    assert_eq!(said(&c.w, "is not cleaned any more before the next start"), 1);
    assert!(
        c.w.notices().contains(&format!("{:020}.log", 8)),
        "{}",
        c.w.notices()
    );
    assert_eq!(logs(dir.path()).len(), 14);
    assert_eq!(unfinished(dir.path()), 0);
}

#[test]
fn a_full_disk_leaves_the_log_as_it_is() {
    let dir = dir();
    let mut c = Cleaning::open(dir.path(), &settings());
    c.fill(42);
    c.ordered();
    // The cleaner works on this thread, the files thread does not.
    changes::watch(Some(Box::new(|change| match change {
        Change::Write { path, .. } if path.to_string_lossy().ends_with(".cleaned") => {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        _ => Ok(()),
    })));
    c.backlog.run_one();
    changes::watch(None);
    c.idle();
    assert_eq!(said(&c.w, "is not cleaned for now"), 1, "{}", c.w.notices());
    assert_eq!((left(&mut c.w).len(), unfinished(dir.path())), (42, 0));
    // It is tried again later, or by the next start.
    drop(c);
    let mut c = Cleaning::open(dir.path(), &settings());
    c.cleaned(1);
    assert_eq!(left(&mut c.w), [37, 38, 39, 40, 41]);
}

/// A record of a producer's transaction.
fn part(c: &mut Cleaning, id: i64, sequence: i32, key: &str) -> i64 {
    let bytes = BatchBuilder::new()
        .timestamp(NOW_MS)
        .producer(id, 0, sequence)
        .transactional()
        .record(0, Some(key.as_bytes()), Some(&[id as u8; 4_500]))
        .finish();
    let verified = Producing {
        is_verified: true,
        ..Producing::default()
    };
    let w = &mut c.w;
    let appended = w.until(|w| w.shard.append_as(&mut w.ring, Slot(0), &bytes, verified).ok());
    w.until(|w| (w.committed >= appended.ticket).then_some(()));
    appended.base_offset
}

fn end(c: &mut Cleaning, id: i64, kind: MarkerKind) {
    let marker = Marker {
        producer_id: id,
        producer_epoch: 0,
        kind,
        coordinator_epoch: 0,
        transaction_version: 1,
    };
    let w = &mut c.w;
    let appended = w.until(|w| w.shard.append_marker(&mut w.ring, Slot(0), &marker).ok());
    w.until(|w| (w.committed >= appended.ticket).then_some(()));
}

/// Offsets of the records that a reader of what is committed takes, from the log's start.
fn committed(w: &mut World) -> Vec<i64> {
    let (mut offset, mut found) = (0, Vec::new());
    while offset < w.shard.offsets(Slot(0)).unwrap().last_stable {
        let request = ReadRequest {
            offset,
            max_bytes: 10_000,
            at_least_one: true,
            isolation: Isolation::Committed,
            token: rand(),
        };
        let data = match w.shard.read(&mut w.ring, Slot(0), request) {
            ReadOutcome::Now(data) => data,
            ReadOutcome::Error(e) => panic!("{e:?}"),
            ReadOutcome::Later => w.until(|w| {
                let is_it =
                    |e: &ShardEvent| matches!(e, ShardEvent::ReadDone { token, .. } if *token == request.token);
                let i = w.events.iter().position(is_it)?;
                match w.events.remove(i) {
                    ShardEvent::ReadDone { result, .. } => Some(result.unwrap()),
                    _ => None,
                }
            }),
        };
        let bytes: Vec<u8> = data.slices.iter().flat_map(|s| s.to_vec()).collect();
        for header in batches(&bytes) {
            let is_aborted = |txn: &AbortedTxn| {
                txn.producer_id == header.producer_id
                    && (txn.first_offset..=txn.last_offset).contains(&header.base_offset)
            };
            let is_data = header.record_count > 0 && !header.is_control();
            if is_data && !data.aborted.iter().any(is_aborted) {
                found.push(header.base_offset);
            }
            offset = header.last_offset() + 1;
        }
    }
    found
}

#[test]
fn what_was_aborted_goes_and_what_is_open_stays_undecided() {
    let dir = dir();
    let mut c = Cleaning::open(dir.path(), &settings());
    c.fill(3);
    // Producer 7 has an older value of a key, commits a newer one, and begins anew; 8 aborts over segments; 9 is open for long.
    part(&mut c, 7, 0, "a");
    end(&mut c, 7, MarkerKind::Commit);
    for sequence in 0..9 {
        part(&mut c, 8, sequence, &format!("k{}", sequence % 3));
    }
    end(&mut c, 8, MarkerKind::Abort);
    let kept = part(&mut c, 7, 1, "a");
    end(&mut c, 7, MarkerKind::Commit);
    let open = part(&mut c, 9, 0, "k0");
    c.fill(12);
    let before = committed(&mut c.w);
    assert_eq!(before, [0, 1, 2, 3, kept], "nothing behind the open one");
    c.cleaned(1);
    assert_eq!(
        committed(&mut c.w),
        before,
        "what is newer in the transaction that is open does not count"
    );
    let there = left(&mut c.w);
    assert!(there.contains(&open) && !there.contains(&5), "{there:?}");
    end(&mut c, 9, MarkerKind::Abort);
    c.fill(12);
    c.cleaned(2);
    let found = committed(&mut c.w);
    let log_end = c.w.shard.offsets(Slot(0)).unwrap().log_end;
    assert_eq!(found.first(), Some(&kept), "{found:?}");
    assert!(!left(&mut c.w).contains(&open));
    assert_eq!(found.iter().filter(|at| **at >= log_end - 3).count(), 3);
    drop(c);
    let mut c = Cleaning::open(dir.path(), &settings());
    assert_eq!(committed(&mut c.w), found);
}

#[test]
fn a_stop_ends_a_pass() {
    let dir = dir();
    let mut w = World::open(dir.path(), &settings());
    let slow = CleanerSettings {
        max_bytes_per_second: 1000.0,
        ..CleanerSettings::default()
    };
    w.shard.set_crew(Crew::new(Cleaners::start(slow).unwrap(), 1));
    for number in 0..42 {
        w.produce(0, &keyed(&format!("k{}", number % 3), number));
    }
    w.until(|w| (w.shard.journal_live_bytes() == 0).then_some(()));
    w.shard.check_cleaning(&w.ring);
    (0..5).for_each(|_| w.turn());
    w.stop();
    assert_eq!(unfinished(dir.path()), 0);
    let mut c = Cleaning::open(dir.path(), &settings());
    assert_eq!(left(&mut c.w).len(), 42);
    c.cleaned(1);
    assert_eq!(left(&mut c.w).len(), 5);
}

#[test]
fn a_partition_that_leaves_is_not_cleaned_meanwhile() {
    let dir = dir();
    let mut c = Cleaning::open(dir.path(), &settings());
    c.fill(42);
    c.ordered();
    c.w.shard.release(&c.w.ring, Slot(0)).unwrap();
    (0..20).for_each(|_| c.w.turn());
    let is_released = |w: &World| w.events.iter().any(|e| matches!(e, ShardEvent::Released { .. }));
    assert!(!is_released(&c.w), "its pass is not over");
    c.backlog.run_one();
    c.w.until(|w| is_released(w).then_some(()));
    assert_eq!(unfinished(dir.path()), 0);
    let at = |e: &ShardEvent| matches!(e, ShardEvent::Released { .. });
    let i = c.w.events.iter().position(at).unwrap();
    let ShardEvent::Released { released, .. } = c.w.events.remove(i) else {
        unreachable!()
    };
    let slot = c.w.shard.reinstate(&c.w.ring, *released);
    assert_eq!(slot, Slot(1));
    c.cleaned(1);
    assert_eq!(checkpoint(dir.path()), "0\n1\nt 0 40\n");
}

#[test]
fn reads_under_way_when_segments_are_exchanged_are_answered() {
    let dir = dir();
    let mut c = Cleaning::open(dir.path(), &settings());
    c.fill(42);
    c.w.stop();
    // Nothing of it is in memory.
    let mut c = Cleaning::open(dir.path(), &settings());
    c.ordered();
    c.backlog.run_one();
    // From now on something is read in every turn, until the pass is over.
    let mut asked = Vec::new();
    let mut number = 0;
    c.w.until(|w| {
        for offset in [number % 40, (number * 7) % 40] {
            let request = ReadRequest {
                offset,
                max_bytes: 5_000,
                at_least_one: true,
                isolation: Isolation::Uncommitted,
                token: rand(),
            };
            match w.shard.read(&mut w.ring, Slot(0), request) {
                ReadOutcome::Now(data) => assert!(data.bytes > 0),
                ReadOutcome::Later => asked.push((request.token, offset)),
                ReadOutcome::Error(e) => panic!("{offset}: {e:?}"),
            }
        }
        number += 1;
        (said(w, "is clean up to") == 1).then_some(())
    });
    for (token, offset) in asked {
        let result = c.w.until(|w| {
            let is_it = |e: &ShardEvent| matches!(e, ShardEvent::ReadDone { token: t, .. } if *t == token);
            let i = w.events.iter().position(is_it)?;
            match w.events.remove(i) {
                ShardEvent::ReadDone { result, .. } => Some(result),
                _ => None,
            }
        });
        let data = result.unwrap_or_else(|e| panic!("{offset}: {e:?}"));
        let bytes: Vec<u8> = data.slices.iter().flat_map(|s| s.to_vec()).collect();
        let header = BatchHeader::read(&bytes).unwrap();
        assert!(header.last_offset() >= offset, "{offset}: {header:?}");
    }
    assert!(c.w.notices().is_empty(), "{}", c.w.notices());
}
