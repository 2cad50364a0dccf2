//! Segments that are removed while something is still under way for them.

use std::path::Path;
use std::rc::Rc;

use ringlog_engine::shard::*;

use crate::disk::Disk;
use crate::faults::Faults;
use crate::history::History;
use crate::life::{Life, Setup, Side, shared};
use crate::random::Random;
use crate::state::State;
use crate::story;

fn setup(seed: u64) -> Setup {
    Setup {
        most_cores: 1,
        spare_bytes: 0,
        checkpoint_idle_ms: 1,
        ..story::setup(&mut Random::new(seed))
    }
}

/// Base offsets of the logs in the first topic's folder.
fn logs(dir: &Path) -> Vec<i64> {
    let names = std::fs::read_dir(dir.join("t-0")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut bases: Vec<i64> = names
        .filter_map(|name| name.strip_suffix(".log")?.parse().ok())
        .collect();
    bases.sort_unstable();
    bases
}

/// All of a log goes while its end, which the last run left, is being opened to be appended to.
fn remove_while_opening(seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let machine = || (None, shared(Faults::default()), Random::new(seed));
    let first = shared(Disk::new(dir.path(), State::default()));
    let new = Rc::new(History::default());
    let (_, faults, random) = machine();
    let (mut life, _) = Life::open(dir.path(), &setup(seed), &new, 0, (Some(first), faults, random)).unwrap();
    life.create();
    life.until(|life| life.slots[0].map(|_| ())).unwrap();
    life.append_to(0);
    life.until(|life| {
        let offsets = life.offsets(life.slots[0]?)?;
        (offsets.high_watermark > 0).then_some(())
    })
    .unwrap();
    let (at, history) = (life.position(), Rc::new(life.history.clone()));
    drop(life);
    let (mut life, _) = Life::open(dir.path(), &setup(seed), &history, at, machine()).unwrap();
    let (core, slot) = life.slots[0].unwrap();
    let Side { machine, shard, .. } = &mut life.sides[core];
    let options = LogOptions {
        retention: Limits { ms: -1, bytes: 0 },
        ..history.topics[0].options
    };
    shard.set_options(slot, options);
    let bytes = history.topics[0].values[0].bytes.clone();
    assert_eq!(
        shard.append(machine, slot, &bytes).unwrap_err(),
        AppendError::Busy
    );
    shard.check_retention();
    let end = history.topics[0].end();
    life.until(|_| (logs(dir.path()) == [end]).then_some(())).unwrap();
    (0..200).for_each(|_| life.turn());
    assert_eq!(
        logs(dir.path()),
        [end],
        "seed {seed}: a removed segment's file came back"
    );
    assert!(life.failed.is_none(), "{:?}", life.failed);
}

#[test]
fn the_file_of_a_removed_segment_does_not_come_back() {
    (1..60).for_each(remove_while_opening);
}
