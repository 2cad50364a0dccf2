//! Transactions, and readers of what is committed.

use std::fs;
use std::path::Path;

use ringlog_engine::aborted::ABORTED_ENTRY_BYTES;
use ringlog_engine::batch::{BatchBuilder, BatchHeader};
use ringlog_engine::producers::ProducerError;
use ringlog_engine::recover::Left;
use ringlog_engine::shard::*;

use crate::world::*;
use crate::{bases, dir, small_segments};

const VERIFIED: Producing = Producing {
    origin: Origin::Client,
    is_verified: true,
    bumps_epochs: false,
};

/// The records of these tests are old, the markers are of now: no segment is full because of that.
fn timeless(setup: Setup) -> Setup {
    let options = LogOptions {
        segment_ms: i64::MAX,
        ..setup.options
    };
    Setup { options, ..setup }
}

fn settings() -> Setup {
    timeless(Setup::default())
}

fn settings_with_segments() -> Setup {
    timeless(small_segments())
}

/// A batch of a transaction, one record.
fn part(id: i64, sequence: i32, value_bytes: usize) -> Vec<u8> {
    BatchBuilder::new()
        .timestamp(1_000_000)
        .producer(id, 0, sequence)
        .transactional()
        .record(0, None, Some(&vec![id as u8; value_bytes]))
        .finish()
}

fn marker(producer_id: i64, kind: MarkerKind) -> Marker {
    Marker {
        producer_id,
        producer_epoch: 0,
        kind,
        coordinator_epoch: 0,
        transaction_version: 1,
    }
}

impl World {
    /// Appends a batch of a transaction and waits for the commit; gives its offset.
    fn transact(&mut self, bytes: &[u8]) -> i64 {
        let appended = self.until(
            |w| match w.shard.append_as(&mut w.ring, Slot(0), bytes, VERIFIED) {
                Err(AppendError::Busy) => None,
                outcome => Some(outcome.unwrap()),
            },
        );
        self.until(|w| (w.committed >= appended.ticket).then_some(()));
        appended.base_offset
    }

    /// Ends a transaction and waits for the commit; gives the marker's offset.
    fn end(&mut self, id: i64, kind: MarkerKind) -> i64 {
        let marker = marker(id, kind);
        let appended = self.until(|w| match w.shard.append_marker(&mut w.ring, Slot(0), &marker) {
            Err(AppendError::Busy) => None,
            outcome => Some(outcome.unwrap()),
        });
        self.until(|w| (w.committed >= appended.ticket).then_some(()));
        appended.base_offset
    }

    /// The batches that a reader of what is committed gets, and the answer.
    fn committed_at(
        &mut self,
        offset: i64,
        max_bytes: usize,
    ) -> Result<(Vec<BatchHeader>, ReadData), ReadError> {
        let request = ReadRequest {
            offset,
            max_bytes,
            at_least_one: true,
            isolation: Isolation::Committed,
            token: rand(),
        };
        let data = match self.shard.read(&mut self.ring, Slot(0), request) {
            ReadOutcome::Now(data) => data,
            ReadOutcome::Error(e) => return Err(e),
            ReadOutcome::Later => self.until(|w| {
                let done =
                    |e: &ShardEvent| matches!(e, ShardEvent::ReadDone { token, .. } if *token == request.token);
                let i = w.events.iter().position(done)?;
                match w.events.remove(i) {
                    ShardEvent::ReadDone { result, .. } => Some(result),
                    _ => None,
                }
            })?,
        };
        let bytes: Vec<u8> = data.slices.iter().flat_map(|s| s.to_vec()).collect();
        Ok((batches(&bytes), data))
    }

    /// Reads all that is committed, and gathers the aborted transactions that are told with it: first offset and marker.
    fn all_committed(&mut self, max_bytes: usize) -> (i64, Vec<(i64, i64)>) {
        let (mut offset, mut told) = (self.offsets().log_start, Vec::new());
        loop {
            let (headers, data) = self.committed_at(offset, max_bytes).unwrap();
            for aborted in &data.aborted {
                let entry = (aborted.first_offset, aborted.last_offset);
                if !told.contains(&entry) {
                    told.push(entry);
                }
            }
            match headers.last() {
                Some(last) => offset = last.last_offset() + 1,
                None => return (offset, told),
            }
        }
    }

    fn offsets(&self) -> Offsets {
        self.shard.offsets(Slot(0)).unwrap()
    }
}

fn aborted(data: &ReadData) -> Vec<(i64, i64, i64, i64)> {
    let all = data.aborted.iter();
    all.map(|a| (a.producer_id, a.first_offset, a.last_offset, a.last_stable_offset))
        .collect()
}

/// Behaviour 27: the last stable offset is the first offset of the earliest open transaction, and readers of what is committed stop there.
/// Behaviour 29: a marker takes an offset, which the high watermark and the last stable offset pass.
#[test]
fn readers_of_what_is_committed_stop_before_the_first_open_transaction() {
    let dir = dir();
    let mut w = World::open(dir.path(), &settings());
    w.produce(0, &batch(1, 10));
    assert_eq!(w.offsets().last_stable, 1, "nothing is open: the high watermark");
    assert_eq!(w.transact(&part(5, 0, 10)), 1);
    assert_eq!(w.transact(&part(6, 0, 10)), 2);
    w.produce(0, &batch(1, 10));
    let offsets = w.offsets();
    assert_eq!((offsets.high_watermark, offsets.last_stable), (4, 1));
    let (headers, data) = w.committed_at(0, 1 << 20).unwrap();
    assert_eq!(
        (headers.len(), data.last_stable_offset, data.high_watermark),
        (1, 1, 4)
    );
    assert_eq!(data.aborted, []);
    for offset in 1..=4 {
        let (headers, data) = w.committed_at(offset, 1 << 20).unwrap();
        assert_eq!((headers.len(), data.aborted.len()), (0, 0), "at {offset}");
    }
    let out = ReadError::OutOfRange {
        log_start_offset: 0,
        high_watermark: 4,
        last_stable: 1,
    };
    assert_eq!(w.committed_at(5, 100).unwrap_err(), out);
    assert_eq!(w.read_all(0, 0, 1 << 20).len(), 4, "others read on");

    assert_eq!(w.end(5, MarkerKind::Abort), 4);
    assert_eq!(w.offsets().last_stable, 2);
    assert_eq!(w.end(6, MarkerKind::Commit), 5);
    let offsets = w.offsets();
    assert_eq!(
        (offsets.high_watermark, offsets.last_stable, offsets.log_end),
        (6, 6, 6)
    );
    let (headers, data) = w.committed_at(0, 1 << 20).unwrap();
    let control: Vec<bool> = headers.iter().map(BatchHeader::is_control).collect();
    assert_eq!(control, [false, false, false, false, true, true]);
    assert_eq!(aborted(&data), [(5, 1, 4, 2)]);
    let (_, data) = w.committed_at(5, 1 << 20).unwrap();
    assert_eq!(aborted(&data), [], "it ended before");
    let (headers, data) = w.committed_at(0, 1).unwrap();
    assert_eq!((headers.len(), aborted(&data)), (1, vec![]), "it begins behind");
}

#[test]
fn a_marker_that_is_not_committed_decides_nothing() {
    let dir = dir();
    let mut w = World::open(dir.path(), &settings());
    w.transact(&part(5, 0, 10));
    let appended = w
        .shard
        .append_marker(&mut w.ring, Slot(0), &marker(5, MarkerKind::Commit))
        .unwrap();
    assert!(!w.shard.has_open_txn(Slot(0), 5, 0));
    assert_eq!(w.offsets().last_stable, 0);
    w.until(|w| (w.committed >= appended.ticket).then_some(()));
    assert_eq!(w.offsets().last_stable, 2);
}

#[test]
fn what_may_not_be_appended_changes_nothing() {
    let dir = dir();
    let mut w = World::open(dir.path(), &settings());
    let refused = |error| Err(AppendError::Sequence(error));
    let not_verified = ProducerError::NotVerified { producer_id: 5 };
    assert_eq!(w.try_append(0, &part(5, 0, 10)), refused(not_verified));
    w.transact(&part(5, 0, 10));
    let late = Marker {
        transaction_version: 2,
        ..marker(5, MarkerKind::Commit)
    };
    let fenced = ProducerError::InvalidEpoch {
        producer_id: 5,
        epoch: 0,
        current_epoch: 0,
    };
    assert_eq!(
        w.shard.append_marker(&mut w.ring, Slot(0), &late),
        refused(fenced)
    );
    assert!(w.shard.has_open_txn(Slot(0), 5, 0));
    assert_eq!(w.offsets().log_end, 1);
    assert_eq!(w.end(99, MarkerKind::Abort), 1, "nobody has begun that one");
    assert_eq!(w.offsets().last_stable, 0);
    let sequence = ProducerError::CoordinatorFenced {
        coordinator_epoch: -1,
        current_epoch: 0,
    };
    let old = Marker {
        coordinator_epoch: -1,
        ..marker(99, MarkerKind::Abort)
    };
    assert_eq!(
        w.shard.append_marker(&mut w.ring, Slot(0), &old),
        refused(sequence)
    );
}

#[test]
fn a_coordinators_batches_need_no_sequence() {
    let dir = dir();
    let mut w = World::open(dir.path(), &settings());
    let bytes = BatchBuilder::new()
        .timestamp(1_000_000)
        .producer(5, 0, -1)
        .transactional()
        .record(0, None, Some(b"offsets"))
        .finish();
    assert!(matches!(w.try_append(0, &bytes), Err(AppendError::Batch(_))));
    let own = Producing {
        origin: Origin::Coordinator,
        ..VERIFIED
    };
    for _ in 0..2 {
        w.until(|w| w.shard.append_as(&mut w.ring, Slot(0), &bytes, own).ok());
    }
    assert_eq!(w.offsets().log_end, 2, "it is no batch sent twice");
    assert!(w.shard.has_open_txn(Slot(0), 5, 0));
}

/// Transactions over several segments, of which every fourth is aborted, and one that stays open. What is told of those that are.
fn several(w: &mut World) -> Vec<(i64, i64)> {
    let mut told = Vec::new();
    for round in 0..24_i32 {
        let first = w.transact(&part(1, 3 * round, 20_000));
        w.transact(&part(1, 3 * round + 1, 40_000));
        w.produce(0, &batch(1, 50_000));
        w.transact(&part(1, 3 * round + 2, 20_000));
        match round % 4 {
            1 => told.push((first, w.end(1, MarkerKind::Abort))),
            _ => drop(w.end(1, MarkerKind::Commit)),
        }
    }
    w.transact(&part(2, 0, 10));
    w.produce(0, &batch(1, 10));
    told
}

/// Segments whose index of aborted transactions is there, and how many entries those have together.
fn indexed(folder: &Path) -> (Vec<i64>, usize) {
    let there = bases(folder, ".txnindex");
    let bytes = |base: &i64| {
        fs::read(folder.join(format!("{base:020}.txnindex")))
            .unwrap()
            .len()
    };
    let entries = there.iter().map(|b| bytes(b) / ABORTED_ENTRY_BYTES).sum();
    (there, entries)
}

fn check_several(w: &mut World, told: &[(i64, i64)]) {
    let offsets = w.offsets();
    assert_eq!(offsets.last_stable, offsets.high_watermark - 2, "{offsets:?}");
    for max_bytes in [1, 30_000, 1 << 20] {
        assert_eq!(w.all_committed(max_bytes), (offsets.last_stable, told.to_vec()));
    }
    assert!(w.shard.has_open_txn(Slot(0), 2, 0));
}

/// Behaviour 27, over restarts: what is open, what was aborted, and where readers stop is the same after a kill and after a clean stop.
#[test]
fn transactions_are_the_same_after_a_kill_and_after_a_clean_stop() {
    for checkpoint_idle_ms in [1, 60_000] {
        let dir = dir();
        let folder = dir.path().join("t-0");
        let setup = Setup {
            checkpoint_idle_ms,
            ..settings_with_segments()
        };
        let mut w = World::open(dir.path(), &setup);
        let told = several(&mut w);
        check_several(&mut w, &told);
        drop(w);
        let mut w = World::open(dir.path(), &setup);
        assert_eq!((w.report.left, w.report.scanned_segments), (Left::Killed, 0));
        check_several(&mut w, &told);
        w.stop();
        let (there, entries) = indexed(&folder);
        assert_eq!(entries, told.len());
        assert!(there.len() < bases(&folder, ".log").len(), "{there:?}");
        let mut w = World::open(dir.path(), &setup);
        assert_eq!((w.report.left, w.report.scanned_segments), (Left::Clean, 0));
        check_several(&mut w, &told);
        // It goes on where it was.
        let last = w.end(2, MarkerKind::Commit);
        assert_eq!(w.offsets().last_stable, last + 1);
    }
}

#[test]
fn a_folder_that_somebody_else_left_is_read_for_its_transactions() {
    let dir = dir();
    let folder = dir.path().join("t-0");
    let mut w = World::open(dir.path(), &settings_with_segments());
    let told = several(&mut w);
    let end = w.offsets().log_end;
    w.stop();
    let (there, _) = indexed(&folder);
    // Killed, with its recovery point in the middle, or at the end: behind it nothing but the log counts, before it an index may have been cut.
    for recovery_point in [bases(&folder, ".log")[4], end] {
        fs::remove_file(dir.path().join(".kafka_cleanshutdown")).unwrap();
        let points = format!("0\n1\nt 0 {recovery_point}\n");
        fs::write(dir.path().join("recovery-point-offset-checkpoint"), points).unwrap();
        for base in &there {
            let path = folder.join(format!("{base:020}.txnindex"));
            match *base < recovery_point {
                true => fs::write(path, [0; 50]).unwrap(),
                false => fs::remove_file(path).unwrap(),
            }
        }
        let mut w = World::open(dir.path(), &settings_with_segments());
        assert_eq!(w.report.left, Left::Foreign);
        assert_eq!(indexed(&folder), (there.clone(), told.len()));
        check_several(&mut w, &told);
        w.stop();
    }
}

#[test]
fn a_damaged_index_is_built_again_or_its_readers_are_refused() {
    let dir = dir();
    let folder = dir.path().join("t-0");
    let mut w = World::open(dir.path(), &settings_with_segments());
    let told = several(&mut w);
    w.stop();
    let (there, _) = indexed(&folder);
    let (first, last) = (there[0], there[there.len() - 1]);
    for base in [first, last] {
        let path = folder.join(format!("{base:020}.txnindex"));
        let mut bytes = fs::read(&path).unwrap();
        bytes[1] = 9;
        fs::write(&path, bytes).unwrap();
    }
    let mut w = World::open(dir.path(), &settings_with_segments());
    check_several(&mut w, &told);
    w.stop();
    // Now there is nothing to build it from.
    let mut w = World::open(dir.path(), &settings_with_segments());
    fs::remove_file(folder.join(format!("{last:020}.snapshot"))).unwrap();
    let (before, end) = (told[0].0 - 1, told[told.len() - 1].1);
    let refused = w.committed_at(end, 1 << 20).unwrap_err();
    assert!(matches!(refused, ReadError::Corrupt { .. }), "{refused:?}");
    assert!(w.notices().contains(".txnindex"), "{}", w.notices());
    assert!(w.try_read(0, end, 1 << 20).is_ok(), "others read on");
    assert!(w.committed_at(before, 1).is_ok(), "and what lies before");
}

#[test]
fn the_index_goes_with_its_segment() {
    let dir = dir();
    let folder = dir.path().join("t-0");
    let setup = Setup {
        checkpoint_idle_ms: 1,
        ..settings_with_segments()
    };
    let mut w = World::open(dir.path(), &setup);
    let told = several(&mut w);
    let start = told[3].1 + 1;
    let logs = bases(&folder, ".log");
    let kept = logs.into_iter().rev().find(|base| *base <= start).unwrap();
    w.until(|_| {
        bases(&folder, ".txnindex")
            .first()
            .is_some_and(|b| *b < kept)
            .then_some(())
    });
    w.shard.delete_records(&mut w.ring, Slot(0), start).unwrap();
    w.until(|_| {
        bases(&folder, ".txnindex")
            .iter()
            .all(|b| *b >= kept)
            .then_some(())
    });
    let offsets = w.offsets();
    assert_eq!(
        w.all_committed(1 << 20),
        (offsets.last_stable, told[4..].to_vec())
    );
    // Also the open one.
    w.shard
        .delete_records(&mut w.ring, Slot(0), offsets.high_watermark)
        .unwrap();
    let offsets = w.offsets();
    assert_eq!(
        (offsets.log_start, offsets.last_stable),
        (offsets.high_watermark, offsets.high_watermark)
    );
    assert!(w.shard.has_open_txn(Slot(0), 2, 0));
}

#[test]
fn an_answer_that_waits_for_an_index_when_its_segment_is_removed_is_none() {
    let dir = dir();
    let mut w = World::open(dir.path(), &settings_with_segments());
    let told = several(&mut w);
    w.stop();
    let mut w = World::open(dir.path(), &settings_with_segments());
    let request = ReadRequest {
        offset: told[0].0,
        max_bytes: 100,
        at_least_one: true,
        isolation: Isolation::Committed,
        token: 7,
    };
    // Everything but the aborted transactions is known.
    w.try_read(0, told[0].0, 100).unwrap();
    let outcome = w.shard.read(&mut w.ring, Slot(0), request);
    assert!(matches!(outcome, ReadOutcome::Later), "{outcome:?}");
    let high_watermark = w.offsets().high_watermark;
    w.shard
        .delete_records(&mut w.ring, Slot(0), high_watermark)
        .unwrap();
    let result = w.until(|w| {
        let i = w
            .events
            .iter()
            .position(|e| matches!(e, ShardEvent::ReadDone { .. }))?;
        match w.events.remove(i) {
            ShardEvent::ReadDone { result, .. } => Some(result),
            _ => None,
        }
    });
    assert!(matches!(result, Err(ReadError::OutOfRange { .. })), "{result:?}");
    assert!(!w.notices().contains("damaged"), "{}", w.notices());
}
