//! A partition that goes from one core to another, step by step: what goes along, and what happens where it cannot.

use std::path::Path;
use std::rc::Rc;

use ringlog_engine::batch::BatchBuilder;
use ringlog_engine::shard::*;

use crate::disk::Disk;
use crate::faults::{Fault, Faults, SharedFaults, Verb};
use crate::history::History;
use crate::life::{Life, Setup, Side, shared};
use crate::random::Random;
use crate::state::State;
use crate::story;

/// A new directory with two cores and one topic, or more.
fn two_cores(dir: &Path) -> (Life, SharedFaults) {
    (1..)
        .find_map(|seed| {
            let mut random = Random::new(seed);
            let setup = Setup {
                most_cores: 2,
                ..story::setup(&mut random)
            };
            let dir = dir.join(seed.to_string());
            std::fs::create_dir(&dir).unwrap();
            let disk = shared(Disk::new(&dir, State::default()));
            let faults = shared(Faults::default());
            let machine = (Some(disk), faults.clone(), random);
            let new = Rc::new(History::default());
            let (mut life, _) = Life::open(&dir, &setup, &new, 0, machine).unwrap();
            (life.sides.len() == 2).then(|| {
                life.create();
                life.until(|life| life.slots[0].map(|_| ())).unwrap();
                (life, faults)
            })
        })
        .unwrap()
}

fn dir() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn batch(sequence: i32) -> Vec<u8> {
    let new = BatchBuilder::new().timestamp(1_000_000).producer(9, 0, sequence);
    new.record(0, None, Some(&[sequence as u8; 500])).finish()
}

/// Appends where the topic is now; waits for room.
fn append(life: &mut Life, sequence: i32) -> Result<Appended, AppendError> {
    let bytes = batch(sequence);
    life.until(|life| {
        let (core, slot) = life.slots[0]?;
        let Side { machine, shard, .. } = &mut life.sides[core];
        match shard.append(machine, slot, &bytes) {
            Err(AppendError::Busy) => None,
            outcome => Some(outcome),
        }
    })
    .unwrap()
}

fn settle(life: &mut Life) {
    life.until(|life| life.travels.is_empty().then_some(())).unwrap();
}

#[test]
fn offsets_and_producers_go_along() {
    let dir = dir();
    let (mut life, _) = two_cores(dir.path());
    for sequence in 0..6 {
        assert_eq!(
            append(&mut life, sequence).unwrap().base_offset,
            i64::from(sequence)
        );
        if sequence % 2 == 1 {
            let (at, _) = life.slots[0].unwrap();
            life.depart(0, 1 - at);
            settle(&mut life);
            let there = life.slots[0].unwrap();
            assert_eq!(there.0, 1 - at);
            let offsets = life.offsets(there).unwrap();
            let end = i64::from(sequence) + 1;
            assert_eq!((offsets.high_watermark, offsets.log_end), (end, end));
            let again = append(&mut life, sequence).unwrap();
            assert_eq!((again.duplicate, again.base_offset), (true, end - 1));
            let overtaken = append(&mut life, sequence + 2);
            assert!(
                matches!(overtaken, Err(AppendError::Sequence(_))),
                "{overtaken:?}"
            );
        }
    }
    assert_eq!(life.moves, 3);
    let slot = life.slots[0].unwrap();
    let found = life.read_all(slot).unwrap();
    let offsets: Vec<i64> = found.batches.iter().map(|b| b.0).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn nothing_is_appended_to_what_leaves() {
    let dir = dir();
    let (mut life, _) = two_cores(dir.path());
    append(&mut life, 0).unwrap();
    let (core, slot) = life.slots[0].unwrap();
    life.depart(0, 1 - core);
    let Side { machine, shard, .. } = &mut life.sides[core];
    let refused = shard.append(machine, slot, &batch(1));
    assert_eq!(refused.unwrap_err(), AppendError::Busy);
    assert_eq!(shard.delete_records(machine, slot, 0).unwrap().0, 0);
    assert_eq!(
        shard.release(machine, slot),
        Err(AppendError::Busy),
        "under way already"
    );
    assert_eq!(
        shard.release(machine, Slot(99)),
        Err(AppendError::NoSuchPartition)
    );
    settle(&mut life);
    assert!(life.offsets((core, slot)).is_none(), "it is gone here");
    assert_eq!(append(&mut life, 1).unwrap().base_offset, 1);
}

#[test]
fn a_log_start_that_is_not_durable_yet_stays_until_it_is() {
    let dir = dir();
    let (mut life, _) = two_cores(dir.path());
    for round in 0..10 {
        append(&mut life, round).unwrap();
        let (from, _) = life.slots[0].unwrap();
        // Everything of it is on disk then, and in the index files.
        life.depart(0, 1 - from);
        settle(&mut life);
        life.until(|life| life.is_quiet().then_some(())).unwrap();
        let (core, slot) = life.slots[0].unwrap();
        let Side { machine, shard, .. } = &mut life.sides[core];
        let (start, ticket) = shard.delete_records(machine, slot, i64::from(round) + 1).unwrap();
        life.started(0, core, 0, start, ticket);
        life.depart(0, 1 - core);
        life.until(|life| life.offsets((core, slot)).is_none().then_some(()))
            .unwrap();
        assert!(
            life.is_quiet(),
            "round {round}: it left before its log start was durable"
        );
        settle(&mut life);
        let at = life.slots[0].unwrap();
        assert_eq!(life.offsets(at).unwrap().log_start, start);
    }
}

#[test]
fn what_cannot_be_taken_over_goes_back_and_is_appended_to_there() {
    let dir = dir();
    let (mut life, faults) = two_cores(dir.path());
    append(&mut life, 0).unwrap();
    let (core, _) = life.slots[0].unwrap();
    life.until(|life| life.is_quiet().then_some(())).unwrap();
    let checkpoint = ["ringlog-checkpoint-1", "ringlog-checkpoint-0"][core];
    faults
        .borrow_mut()
        .set(vec![Fault::full_once(Verb::JobRename, checkpoint)]);
    life.depart(0, 1 - core);
    settle(&mut life);
    assert_eq!(faults.borrow().injected, 1);
    assert_eq!((life.slots[0].unwrap().0, life.moves), (core, 0), "it went back");
    assert_eq!(append(&mut life, 1).unwrap().base_offset, 1);
    // The next attempt finds room.
    life.depart(0, 1 - core);
    settle(&mut life);
    assert_eq!((life.slots[0].unwrap().0, life.moves), (1 - core, 1));
    assert_eq!(append(&mut life, 2).unwrap().base_offset, 2);
}

#[test]
fn a_stop_keeps_what_leaves_where_it_is() {
    let dir = dir();
    let (mut life, _) = two_cores(dir.path());
    append(&mut life, 0).unwrap();
    let (core, _) = life.slots[0].unwrap();
    life.depart(0, 1 - core);
    for Side { machine, shard, .. } in &mut life.sides {
        shard.begin_stop(machine);
    }
    life.until(|life| {
        let is_over = life.sides.iter().all(|side| side.shard.is_stopped());
        is_over.then_some(())
    })
    .unwrap();
    settle(&mut life);
    assert_eq!((life.slots[0].unwrap().0, life.moves), (core, 0));
    let name = life.history.topics[0].name.clone();
    let stopped = life.sides.iter().flat_map(|side| side.shard.stopped());
    let ends: Vec<i64> = stopped.filter(|s| s.name == name).map(|s| s.end_offset).collect();
    assert_eq!(ends, [1], "in one shard, once");
}
