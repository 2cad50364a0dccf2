//! Folders of topics that are deleted and made again while the disk refuses to rename them.

use std::path::Path;
use std::rc::Rc;

use crate::cuts::{Cursor, Fate};
use crate::disk::{Disk, SharedDisk};
use crate::faults::{Fault, Faults, SharedFaults, Verb};
use crate::history::History;
use crate::life::{Life, Setup, create_job, shared};
use crate::random::Random;
use crate::state::State;
use crate::story;

fn setup() -> Setup {
    Setup {
        most_cores: 1,
        ..story::setup(&mut Random::new(1))
    }
}

/// A directory with a topic that something was appended to, on a disk whose faults can be set.
fn one_topic(dir: &Path) -> (Life, SharedDisk, SharedFaults) {
    let disk = shared(Disk::new(dir, State::default()));
    let faults = shared(Faults::default());
    let machine = (Some(disk.clone()), faults.clone(), Random::new(1));
    let new = Rc::new(History::default());
    let (mut life, _) = Life::open(dir, &setup(), &new, 0, machine).unwrap();
    life.create();
    life.until(|life| life.slots[0].map(|_| ())).unwrap();
    append(&mut life, 0);
    (life, disk, faults)
}

fn append(life: &mut Life, topic: usize) {
    (0..3).for_each(|_| life.append_to(topic));
    life.until(|life| life.is_quiet().then_some(())).unwrap();
}

/// Deletes the first topic and makes one of its name. The new one's number.
fn make_again(life: &mut Life) -> usize {
    life.delete_topic(0);
    let again = life.history.topics.len();
    life.create();
    assert_eq!(life.history.topics[again].name, life.history.topics[0].name);
    again
}

/// What a power cut leaves is opened, and judged, at every step since the topic was made.
fn cut_since_made(life: Life, disk: &Disk, topic: usize) {
    let history = Rc::new(life.history.clone());
    let made_at = history.topics[topic].made_at.unwrap();
    assert!(history.topics[topic].end() > 0);
    // It watches all that this thread does.
    drop(life);
    let mut cursor = Cursor::new(disk);
    while cursor.advance() {
        if cursor.position() < made_at {
            continue;
        }
        for fate in [Fate::Nothing, Fate::Everything, Fate::Random(Random::new(3))] {
            let left = tempfile::tempdir().unwrap();
            cursor.state(fate).write_to(left.path());
            let machine = (None, shared(Faults::default()), Random::new(1));
            Life::open(left.path(), &setup(), &history, cursor.position(), machine).unwrap();
        }
    }
}

#[test]
fn a_topic_made_again_does_not_move_into_the_folder_its_predecessor_could_not_leave() {
    let dir = tempfile::tempdir().unwrap();
    let (mut life, disk, faults) = one_topic(dir.path());
    let refused = Fault::failing(Verb::JobRename, "t-0", 1);
    faults.borrow_mut().set(vec![refused]);
    let again = make_again(&mut life);
    life.until(|life| life.slots[again].map(|_| ())).unwrap();
    assert_eq!(faults.borrow().injected, 1);
    append(&mut life, again);
    // The old one's folder goes without a restart.
    let is_hidden = |name: &str| name.starts_with("t-0.") && name.ends_with("-delete");
    life.until(|_| {
        let entries = std::fs::read_dir(dir.path()).unwrap();
        let mut names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
        (!names.any(|name| is_hidden(&name))).then_some(())
    })
    .unwrap();
    cut_since_made(life, &disk.borrow(), again);
}

#[test]
fn a_topic_whose_predecessors_folder_stays_is_not_made_until_that_can_go() {
    let dir = tempfile::tempdir().unwrap();
    let (mut life, disk, faults) = one_topic(dir.path());
    let refused = Fault::failing(Verb::JobRename, "t-0", 2);
    faults.borrow_mut().set(vec![refused]);
    let again = make_again(&mut life);
    life.until(|_| (faults.borrow().injected == 2).then_some(()))
        .unwrap();
    (0..100).for_each(|_| life.turn());
    assert_eq!(life.history.topics[again].made_at, None);
    // Who asked asks again.
    let job = create_job(dir.path(), &life.history.topics[again]);
    life.background.submit(again as u64, job, &life.inbox, None);
    life.until(|life| life.slots[again].map(|_| ())).unwrap();
    append(&mut life, again);
    cut_since_made(life, &disk.borrow(), again);
}
