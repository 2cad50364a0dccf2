//! A disk that is full, fails, or lost something.

use std::cell::Cell;
use std::fs;
use std::rc::Rc;

use ringlog_engine::shard::*;

use crate::faulty::Verb;
use crate::world::*;
use crate::{bases, dir, small_segments};

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

fn is_log(path: &std::path::Path) -> bool {
    path.extension().is_some_and(|e| e == "log")
}

#[test]
fn a_segment_whose_sync_failed_is_never_taken_for_clean() {
    let dir = dir();
    let setup = Setup {
        checkpoint_idle_ms: 1,
        ..Setup::default()
    };
    let mut w = World::open(dir.path(), &setup);
    let syncs = Rc::new(Cell::new(0));
    let count = syncs.clone();
    w.ring.set_fault(Some(Box::new(move |verb, path| {
        let is_sync = verb == Verb::Sync && is_log(path);
        count.set(count.get() + u32::from(is_sync));
        (is_sync && count.get() == 1).then_some(EIO)
    })));
    w.produce(0, &batch(1, 50_000));
    w.until(|w| w.notices().contains("cannot be synced").then_some(()));
    (0..50).for_each(|_| w.turn());
    assert_eq!(syncs.get(), 1, "not tried again");
    assert!(w.shard.journal_live_bytes() > 0, "the journal keeps what it has");
    assert!(matches!(
        w.try_append(0, &batch(1, 5)),
        Err(AppendError::Storage(_))
    ));
    assert_eq!(w.read_all(0, 0, 1 << 20).len(), 1, "reads go on");
    drop(w);
    let mut w = World::open(dir.path(), &setup);
    assert_eq!(w.read_all(0, 0, 1 << 20).len(), 1);
}

#[test]
fn a_journal_that_cannot_be_written_refuses_whoever_waits_and_reads_go_on() {
    let dir = dir();
    let mut w = World::open(dir.path(), &Setup::default());
    let sent = |sequence| {
        ringlog_engine::batch::BatchBuilder::new()
            .producer(9, 0, sequence)
            .record(0, None, Some(b"v"))
            .finish()
    };
    w.produce(0, &sent(0));
    w.ring.set_fault(Some(Box::new(|verb, path| {
        (verb == Verb::Write && !is_log(path)).then_some(EIO)
    })));
    let lost = w.append(0, &sent(1));
    w.until(|w| w.notices().contains("journal cannot be written").then_some(()));
    assert!(w.committed < lost.ticket);
    assert!(matches!(w.try_append(0, &sent(2)), Err(AppendError::Storage(_))));
    let again = w.try_append(0, &sent(1));
    assert!(
        matches!(again, Err(AppendError::Storage(_))),
        "{again:?}: nobody will ever commit it"
    );
    assert!(
        w.try_append(0, &sent(0)).unwrap().duplicate,
        "that one is committed"
    );
    assert_eq!(w.read_all(0, 0, 1 << 20).len(), 1);
}

#[test]
fn a_full_disk_refuses_producers_serves_readers_and_passes_without_a_restart() {
    let dir = dir();
    let setup = Setup {
        journal_max_bytes: 4 << 20,
        memory_bytes: 24 << 20,
        ..small_segments()
    };
    let mut w = World::open(dir.path(), &setup);
    let full = Rc::new(Cell::new(true));
    let is_full = full.clone();
    w.ring.set_fault(Some(Box::new(move |verb, _| {
        (verb == Verb::Allocate && is_full.get()).then_some(ENOSPC)
    })));
    let bytes = batch(1, 30_000);
    let mut accepted = 0;
    let refused = w.until(|w| match w.try_append(0, &bytes) {
        Ok(_) => {
            accepted += 1;
            None
        }
        Err(AppendError::Busy) => None,
        Err(e) => Some(e),
    });
    assert!(matches!(refused, AppendError::DiskFull), "{refused:?}");
    w.until(|w| (w.shard.offsets(Slot(0)).unwrap().high_watermark > 0).then_some(()));
    assert!(!w.try_read(0, 0, 1 << 20).unwrap().is_empty());
    full.set(false);
    let last = w.until(|w| w.try_append(0, &bytes).ok());
    w.until(|w| (w.committed >= last.ticket).then_some(()));
    assert_eq!(w.read_all(0, 0, 1 << 20).len(), accepted + 1);
}

#[test]
fn a_full_disk_is_told_to_those_who_find_the_journal_full_behind_it() {
    let dir = dir();
    let setup = Setup {
        journal_max_bytes: 4 << 20,
        partitions: vec!["t-0".into(), "t-1".into()],
        ..Setup::default()
    };
    let mut w = World::open(dir.path(), &setup);
    // The first partition has all the space it needs; the other one has none, and holds up the checkpoint.
    w.ring.set_fault(Some(Box::new(|verb, path| {
        (verb == Verb::Allocate && path.to_string_lossy().contains("t-1")).then_some(ENOSPC)
    })));
    w.produce(1, &batch(1, 300_000));
    let bytes = batch(1, 60_000);
    w.until(|w| matches!(w.try_append(0, &bytes), Err(AppendError::DiskFull)).then_some(()));
    w.ring.set_fault(None);
    let last = w.until(|w| w.try_append(0, &bytes).ok());
    w.until(|w| (w.committed >= last.ticket).then_some(()));
}

#[test]
fn a_segment_file_that_lost_its_end_is_reported_and_not_read_for_ever() {
    let dir = dir();
    let mut w = World::open(dir.path(), &small_segments());
    for _ in 0..40 {
        w.produce(0, &batch(1, 20_000));
    }
    w.stop();
    let mut w = World::open(dir.path(), &small_segments());
    let log = dir.path().join("t-0/00000000000000000000.log");
    fs::OpenOptions::new()
        .write(true)
        .open(log)
        .unwrap()
        .set_len(50_000)
        .unwrap();
    assert!(matches!(w.try_read(0, 5, 1), Err(ReadError::Corrupt { .. })));
    assert_eq!(w.try_read(0, 0, 1).map(|b| batches(&b).len()), Ok(1));
}

#[test]
fn the_segment_appended_to_next_is_there_before_anything_is_written_to_it() {
    let dir = dir();
    let mut w = World::open(dir.path(), &small_segments());
    for _ in 0..20 {
        w.produce(0, &batch(1, 20_000));
    }
    let folder = dir.path().join("t-0");
    w.until(|_| (bases(&folder, ".snapshot").len() == 1).then_some(()));
    assert_eq!(
        bases(&folder, ".log").len(),
        2,
        "its name is synced with the seal before it"
    );
    assert_eq!(bases(&folder, ".index").len(), 2);
    assert_eq!(bases(&folder, ".timeindex").len(), 2);
}
