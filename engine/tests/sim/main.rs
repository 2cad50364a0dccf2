//! The simulated disk: power cuts at every step, and disks that fail.
//!
//! A run lives the cores' storage through on a simulated machine. [`machine`] is an implementation of the engine's `Io` with a clock of its
//! own; the engine's blocking jobs are run by hand, between events, and their changes are seen by a witness (`io::files::changes`).
//! Everything that happens follows from one seed: latencies, the order of completions, short and late ones, errors, when jobs run.
//!
//! The bytes are in a real directory, so that the real recovery can open it; [`disk`] remembers every change in order, and from when on which
//! were durable. So the engine runs as it is, to the last blocking call, and what a power cut leaves is computed afterwards, for every prefix of
//! the changes ([`cuts`]): nothing that was not synced, everything, or a random part of it, in any order, writes torn at any 512 bytes, names
//! apart from what they name. [`explore`] writes each of these states to a directory, opens it with the real recovery, reads all of it as a
//! client would, and has [`history`] judge: what was acknowledged is there, offsets are dense and never given to another record, nothing is
//! served that fails its CRC, and nothing stands there that was never appended. [`txns`] does the same for readers of what is committed. Some states are lived in again, under the same eyes, so that
//! recovery itself is cut too, and fails.
//!
//! `RINGLOG_SEED=<seed>` runs that seed alone; `RINGLOG_SIM_SECONDS=<n>` goes on with new seeds for so long. A failure names its seed.

#![allow(clippy::unwrap_used)]

mod compaction;
mod cuts;
mod disk;
mod explore;
mod faults;
mod folders;
mod handover;
mod history;
mod journal;
mod life;
mod machine;
mod random;
mod removed;
mod state;
mod story;
mod txns;

use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use disk::{Disk, Planted};
use explore::{Effort, Explorer, Tally};
use faults::{Fault, Faults, Verb};
use history::History;
use life::{Life, Setup, shared};
use random::Random;
use state::State;

/// One life, cut after every step; some are lived on in, twice.
const POWER_CUTS: Effort = Effort {
    steps: 40,
    cuts_percent: 100,
    fates: 2,
    lives_per_mille: 8,
    depth: 3,
    faults_percent: 0,
    restless: false,
    expiring: false,
    compacting: false,
    planted: None,
};

/// Lives on disks that fail, cut here and there.
const FAULTS: Effort = Effort {
    steps: 60,
    cuts_percent: 10,
    fates: 2,
    lives_per_mille: 30,
    depth: 3,
    faults_percent: 90,
    restless: false,
    expiring: false,
    compacting: false,
    planted: None,
};

fn run(seed: u64, effort: Effort) -> Result<Tally, String> {
    let mut random = Random::new(seed);
    let mut setup = Setup {
        restless: effort.restless,
        expiring: effort.expiring,
        compacting: effort.compacting,
        ..story::setup(&mut random)
    };
    if effort.compacting {
        // Only what is in a checkpoint is cleaned.
        setup.checkpoint_idle_ms = random.pick(&[1, 5, 20]);
    }
    run_with(seed, setup, effort, random)
}

fn run_with(seed: u64, setup: Setup, effort: Effort, random: Random) -> Result<Tally, String> {
    // In memory where there is such a place: what is durable is ours to say, and a real disk would only take its time.
    let memory = Path::new("/dev/shm");
    let dir = tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")));
    let dir = dir.unwrap();
    let mut explorer = Explorer::new(dir.path().to_path_buf(), setup, effort, random);
    let seed = Named(seed);
    let result = explorer.run();
    let named = result.map_err(|wrong| format!("RINGLOG_SEED={}: {wrong}", seed.0));
    named.map(|()| explorer.tally)
}

/// A panic inside the engine is told with its seed too.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("RINGLOG_SEED={}", self.0);
        }
    }
}

/// Runs the seeds from `first` on, `count` of them, or as many as the environment says.
fn run_all(first: u64, count: u64, effort: Effort) -> Tally {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let (mut seed, begun) = (first, Instant::now());
    let mut sum = Tally::default();
    if let Some(only) = number("RINGLOG_SEED") {
        sum = run(only, effort).unwrap_or_else(|wrong| panic!("{wrong}"));
    } else {
        let longer = number("RINGLOG_SIM_SECONDS").map(Duration::from_secs);
        while seed < first + count || longer.is_some_and(|time| begun.elapsed() < time) {
            sum = sum.plus(run(seed, effort).unwrap_or_else(|wrong| panic!("{wrong}")));
            seed += 1;
        }
    }
    println!("{sum:?}");
    sum
}

#[test]
fn what_was_acknowledged_survives_a_power_cut_after_any_step() {
    let tried = run_all(1, 5, POWER_CUTS);
    let is_all = tried.folders > 0
        && tried.rolls > 0
        && tried.checkpoints > 0
        && tried.wraps > 0
        && tried.recycled > 0
        && tried.aborts > 0;
    assert!(is_all || std::env::var("RINGLOG_SEED").is_ok(), "{tried:?}");
}

#[test]
fn what_was_acknowledged_survives_a_disk_that_fails() {
    let tried = run_all(1_000, 20, FAULTS);
    assert!(
        tried.faults > 0 || std::env::var("RINGLOG_SEED").is_ok(),
        "{tried:?}"
    );
}

/// The first of a few seeds that finds the bug.
fn find(planted: Planted) -> Option<String> {
    let effort = Effort {
        planted: Some(planted),
        lives_per_mille: 0,
        ..POWER_CUTS
    };
    (1..20).find_map(|seed| run(seed, effort).err())
}

#[test]
fn an_acknowledgement_before_the_sync_is_caught() {
    let wrong = find(Planted::SyncedWrites).unwrap();
    assert!(wrong.contains("was acknowledged"), "{wrong}");
}

#[test]
fn syncs_of_files_that_do_nothing_are_caught() {
    assert!(find(Planted::FileSyncs).is_some());
}

#[test]
fn syncs_of_folders_that_do_nothing_are_caught() {
    assert!(find(Planted::DirSyncs).is_some());
}

#[test]
fn a_seal_whose_sync_finds_the_disk_full_is_final() {
    let mut random = Random::new(1);
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let setup = story::setup(&mut random);
    let disk = shared(Disk::new(dir.path(), State::default()));
    let faults = shared(Faults::default());
    let machine = (Some(disk), faults.clone(), random);
    let new = Rc::new(History::default());
    let (mut life, _) = Life::open(dir.path(), &setup, &new, 0, machine).unwrap();
    faults
        .borrow_mut()
        .set(vec![Fault::full_once(Verb::JobSync, ".log")]);
    life.create();
    for _ in 0..300 {
        life.append();
        life.turn();
    }
    let why = life.failed.clone().unwrap_or_default();
    assert!(why.contains("cannot be synced"), "{why:?}");
}

/// Partitions that go from core to core, cut after every step: to, fro, on to a third, with appends in between or without.
const RESTLESS: Effort = Effort {
    steps: 30,
    lives_per_mille: 5,
    restless: true,
    ..POWER_CUTS
};

#[test]
fn what_was_acknowledged_survives_a_power_cut_while_partitions_change_cores() {
    let tried = run_all(2_000, 8, RESTLESS);
    let is_all = tried.moves > 20 && tried.checkpoints > 0 && tried.wraps > 0;
    assert!(is_all || std::env::var("RINGLOG_SEED").is_ok(), "{tried:?}");
}

#[test]
fn what_was_acknowledged_survives_a_disk_that_fails_while_partitions_change_cores() {
    let effort = Effort {
        restless: true,
        ..FAULTS
    };
    let tried = run_all(3_000, 12, effort);
    let is_all = tried.moves > 20 && tried.faults > 0;
    assert!(is_all || std::env::var("RINGLOG_SEED").is_ok(), "{tried:?}");
}

/// Topics with limits, cut after every step, while segments past them go.
const EXPIRING: Effort = Effort {
    expiring: true,
    lives_per_mille: 5,
    ..POWER_CUTS
};

#[test]
fn what_was_acknowledged_and_is_to_stay_survives_a_power_cut_while_segments_expire() {
    let tried = run_all(4_000, 8, EXPIRING);
    let is_all = tried.expired > 10 && tried.rolls > 0 && tried.checkpoints > 0;
    assert!(is_all || std::env::var("RINGLOG_SEED").is_ok(), "{tried:?}");
}

#[test]
fn what_was_acknowledged_and_is_to_stay_survives_a_disk_that_fails_while_segments_expire() {
    let effort = Effort {
        expiring: true,
        ..FAULTS
    };
    let tried = run_all(5_000, 12, effort);
    let is_all = tried.expired > 10 && tried.faults > 0;
    assert!(is_all || std::env::var("RINGLOG_SEED").is_ok(), "{tried:?}");
}

/// Compacted topics, cut after every step by which cleaned segments take their places, and some others.
const COMPACTING: Effort = Effort {
    steps: 60,
    cuts_percent: 3,
    fates: 1,
    lives_per_mille: 10,
    compacting: true,
    ..POWER_CUTS
};

#[test]
fn the_newest_of_each_key_survives_a_power_cut_while_logs_are_cleaned() {
    let tried = run_all(6_001, 1, COMPACTING);
    let is_all = tried.swaps > 10 && tried.rolls > 0 && tried.checkpoints > 0;
    assert!(is_all || std::env::var("RINGLOG_SEED").is_ok(), "{tried:?}");
}

#[test]
fn the_newest_of_each_key_survives_a_disk_that_fails_while_logs_are_cleaned() {
    let effort = Effort {
        cuts_percent: 1,
        faults_percent: 90,
        ..COMPACTING
    };
    let tried = run_all(7_000, 3, effort);
    let is_all = tried.swaps > 10 && tried.faults > 0;
    assert!(is_all || std::env::var("RINGLOG_SEED").is_ok(), "{tried:?}");
}

#[test]
fn the_newest_of_each_key_survives_while_what_is_cleaned_changes_cores() {
    let effort = Effort {
        restless: true,
        ..COMPACTING
    };
    let tried = run_all(8_005, 2, effort);
    let is_all = tried.swaps > 5 && tried.moves > 0;
    assert!(is_all || std::env::var("RINGLOG_SEED").is_ok(), "{tried:?}");
}

#[test]
fn a_core_that_forgets_what_it_gave_away_too_early_is_caught() {
    let caught = (1..40).find_map(|seed| {
        let mut random = Random::new(seed);
        let setup = Setup {
            restless: true,
            forgets_early: true,
            checkpoint_idle_ms: 1,
            ..story::setup(&mut random)
        };
        // In a second life: what is in no checkpoint at all is read from front to back, and found.
        let effort = Effort {
            cuts_percent: 15,
            lives_per_mille: 100,
            fates: 1,
            depth: 2,
            ..RESTLESS
        };
        run_with(seed, setup, effort, random).err()
    });
    assert!(caught.is_some());
}

#[test]
fn the_same_seed_is_the_same_run() {
    let effort = Effort {
        cuts_percent: 5,
        ..POWER_CUTS
    };
    let tally = |seed| format!("{:?}", run(seed, effort));
    assert_eq!(tally(5), tally(5));
    assert_ne!(tally(5), tally(6));
}
