//! Nobody waits for ever: little memory, a small journal, many partitions.

use std::cell::Cell;
use std::rc::Rc;

use ringlog_engine::io::{Class, Io};
use ringlog_engine::shard::*;

use crate::faulty::Verb;
use crate::world::*;
use crate::{dir, small_segments};

fn names(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("t-{i}")).collect()
}

#[test]
fn a_checkpoint_of_more_partitions_than_files_are_kept_open_ends() {
    let dir = dir();
    let setup = Setup {
        partitions: names(1_100),
        bare_folders: true,
        checkpoint_idle_ms: 50,
        ..Setup::default()
    };
    let mut w = World::open(dir.path(), &setup);
    let opened = Rc::new(Cell::new(0));
    let count = opened.clone();
    w.ring.set_fault(Some(Box::new(move |verb, _| {
        count.set(count.get() + u32::from(verb == Verb::Open));
        None
    })));
    let bytes = batch(1, 10);
    let tickets: Vec<Ticket> = (0..1_100).map(|p| w.append(p, &bytes).ticket).collect();
    w.until(|w| (w.committed >= tickets[1_099]).then_some(()));
    w.until(|w| {
        assert!(opened.get() <= 1_200, "files are closed before they were used");
        (w.shard.journal_live_bytes() == 0).then_some(())
    });
}

#[test]
fn more_partitions_than_memory_has_blocks_for_take_turns() {
    let dir = dir();
    let setup = Setup {
        partitions: names(500),
        bare_folders: true,
        memory_bytes: 4 << 20,
        ..Setup::default()
    };
    let mut w = World::open(dir.path(), &setup);
    let bytes = batch(1, 100);
    for round in 0..3 {
        for p in 0..500 {
            w.append(p, &bytes);
        }
        assert_eq!(
            w.append(round, &bytes).base_offset,
            i64::from(round) + 1,
            "round {round}"
        );
        w.append(round + 10, &batch(1, 200_000));
        w.append(round + 10, &batch(1, 900_000));
    }
}

#[test]
fn memory_that_comes_back_unannounced_is_noticed() {
    let dir = dir();
    let mut w = World::open(dir.path(), &Setup::default());
    let bytes = batch(1, 100);
    w.produce(0, &bytes);
    // As answers do that clients have not taken yet.
    let mut held = Vec::new();
    for class in [Class::Huge, Class::Large, Class::Medium, Class::Small] {
        held.extend(std::iter::from_fn(|| w.ring.block(class)));
    }
    let large = batch(1, 100_000);
    assert_eq!(w.try_append(0, &large), Err(AppendError::Busy));
    let busy_at = w.progress;
    w.until(|w| (w.progress > busy_at).then_some(()));
    assert_eq!(w.try_append(0, &large), Err(AppendError::Busy));
    held.clear();
    w.append(0, &large);
    let idle_at = w.progress;
    (0..5).for_each(|_| w.turn());
    assert!(w.progress <= idle_at + 1, "nobody waits any more");
}

#[test]
fn frames_that_wait_for_a_small_journal_get_it_though_nobody_appends_any_more() {
    let dir = dir();
    let setup = Setup {
        journal_max_bytes: 4 << 20,
        ..Setup::default()
    };
    let mut w = World::open(dir.path(), &setup);
    let bytes = batch(1, 100_000);
    let mut last = w.append(0, &bytes);
    while let Ok(appended) = w.try_append(0, &bytes) {
        last = appended;
    }
    w.until(|w| (w.committed >= last.ticket).then_some(()));
}

#[test]
fn a_stop_with_a_full_journal_and_a_checkpoint_under_way_ends() {
    let dir = dir();
    let setup = Setup {
        journal_max_bytes: 4 << 20,
        ..small_segments()
    };
    let mut w = World::open(dir.path(), &setup);
    let bytes = batch(1, 100_000);
    let mut appended = 0;
    while w.try_append(0, &bytes).is_ok() {
        appended += 1;
    }
    w.stop();
    let names = std::fs::read_dir(dir.path()).unwrap();
    let ours = names.filter(|e| {
        let name = e.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with("ringlog-")
    });
    assert_eq!(ours.count(), 0);
    let mut w = World::open(dir.path(), &setup);
    assert_eq!(w.read_all(0, 0, 1 << 20).len(), appended);
}

#[test]
fn an_index_that_holds_no_entry_does_not_make_two_segments_of_one() {
    let dir = dir();
    let options = LogOptions {
        index_max_bytes: 8,
        ..LogOptions::default()
    };
    let setup = Setup {
        options,
        ..Setup::default()
    };
    let mut w = World::open(dir.path(), &setup);
    for _ in 0..5 {
        w.produce(0, &batch(1, 100));
    }
    assert_eq!(w.read_all(0, 0, 1 << 20).len(), 5);
    w.stop();
    let mut w = World::open(dir.path(), &setup);
    assert_eq!(w.read_all(0, 0, 1 << 20).len(), 5);
}

#[test]
fn a_batch_whose_index_entry_is_on_disk_before_itself_is_read_from_memory() {
    let dir = dir();
    let setup = Setup {
        checkpoint_idle_ms: 1,
        ..small_segments()
    };
    let mut w = World::open(dir.path(), &setup);
    // The log cannot be written yet, its index can.
    w.ring
        .set_fault(Some(Box::new(|verb, _| (verb == Verb::Allocate).then_some(28))));
    // All before the first turn: once the disk is known to be full nothing more is taken.
    let tickets = [(); 4].map(|()| w.append(0, &batch(1, 5_000)).ticket);
    w.until(|w| (w.committed >= tickets[3]).then_some(()));
    w.until(|_| {
        let index = dir.path().join("t-0/00000000000000000000.index");
        std::fs::metadata(index).is_ok_and(|m| m.len() > 0).then_some(())
    });
    (0..20).for_each(|_| w.turn());
    assert_eq!(w.read_all(0, 0, 1).len(), 4);
}
