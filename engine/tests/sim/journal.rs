//! A journal that is made larger while it holds frames that were not synced, on a disk that fails.

use std::path::Path;
use std::rc::Rc;

use ringlog_engine::io::Durability;

use crate::cuts::{Cursor, Fate};
use crate::disk::{Disk, SharedDisk};
use crate::faults::{Fault, Faults, SharedFaults, Verb};
use crate::history::History;
use crate::life::{Life, Setup, Side, shared};
use crate::random::Random;
use crate::state::State;
use crate::story;

fn setup() -> Setup {
    Setup {
        most_cores: 1,
        journal_bytes: 24 << 10,
        journal_max_bytes: 2 << 20,
        checkpoint_idle_ms: 10_000,
        ..story::setup(&mut Random::new(1))
    }
}

/// One core with a topic that is not synced, the first, and one that is.
fn two_topics(dir: &Path) -> (Life, SharedDisk, SharedFaults) {
    let disk = shared(Disk::new(dir, State::default()));
    let faults = shared(Faults::default());
    let machine = (Some(disk.clone()), faults.clone(), Random::new(1));
    let new = Rc::new(History::default());
    let (mut life, _) = Life::open(dir, &setup(), &new, 0, machine).unwrap();
    while life.slots.len() < 2 {
        life.create();
    }
    for (i, durability) in [Durability::Written, Durability::Synced].into_iter().enumerate() {
        let (core, slot) = life.until(|life| life.slots[i]).unwrap();
        let options = &mut life.history.topics[i].options;
        options.durability = durability;
        let Side { shard, .. } = &mut life.sides[core];
        shard.set_options(slot, *options);
    }
    (life, disk, faults)
}

#[test]
fn a_failed_sync_of_a_larger_journal_is_final_for_frames_that_were_not_synced() {
    let dir = tempfile::tempdir().unwrap();
    let (mut life, _, faults) = two_topics(dir.path());
    let failing = Fault::failing(Verb::JobSync, "journal", 1);
    faults.borrow_mut().set(vec![failing]);
    life.until(|life| {
        life.append_to(0);
        (faults.borrow().injected > 0).then_some(())
    })
    .unwrap();
    // The journal's own next sync would find nothing wrong.
    life.append_to(1);
    life.until(|life| life.failed.clone()).unwrap();
    let why = life.failed.clone().unwrap();
    assert!(why.contains("the journal cannot be synced"), "{why}");
    assert_eq!(life.history.topics[1].acknowledged, []);
}

#[test]
fn a_journal_that_cannot_be_made_larger_loses_no_frame() {
    let dir = tempfile::tempdir().unwrap();
    let (mut life, disk, faults) = two_topics(dir.path());
    let failing = [Verb::JobWrite, Verb::JobSync].map(|verb| Fault::failing(verb, "journal", 1));
    faults.borrow_mut().set(failing.to_vec());
    life.until(|life| {
        life.append_to(0);
        (faults.borrow().injected > 0).then_some(())
    })
    .unwrap();
    life.append_to(1);
    life.until(|life| life.is_quiet().then_some(())).unwrap();
    assert_eq!(life.failed, None);
    let history = Rc::new(life.history.clone());
    assert_ne!(history.topics[1].acknowledged, []);
    // It watches all that this thread does.
    drop(life);
    let disk = disk.borrow();
    let mut cursor = Cursor::new(&disk);
    while cursor.advance() {}
    let left = tempfile::tempdir().unwrap();
    cursor.state(Fate::Nothing).write_to(left.path());
    let machine = (None, shared(Faults::default()), Random::new(1));
    Life::open(left.path(), &setup(), &history, cursor.position(), machine).unwrap();
}
