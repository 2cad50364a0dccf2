//! Offsets by time, and where epochs end, as Apache Kafka 4.3.1 tells them and as they are told here: one script of requests, and each answer as
//! a line.
//!
//! `golden/times-4.3.1.txt` holds what Kafka answers. To write it anew, start a fresh Kafka, and name it:
//!
//! ```text
//! bench/peers/kafka/up 9092 DATADIR
//! RINGLOG_TIME_ANSWERS_FROM=127.0.0.1:9092 cargo test -p ringlog-tests --test time_answers
//! ```
//!
//! Times of the run itself are printed as one word.

mod script;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;

use ringlog_tests::Broker;
use ringlog_tests::broker::Builder;

use crate::script::{Script, everything, restarted};

/// Names a running Kafka whose answers become the golden file.
const KAFKA_VARIABLE: &str = "RINGLOG_TIME_ANSWERS_FROM";
/// Where Kafka's answers are.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/times-4.3.1.txt");

/// The beginning of a line of Kafka's, our answer, and why it is another.
const DIFFERENCES: &[(&str, &str, &str)] = &[];

#[test]
fn offsets_by_time_are_told_as_by_kafka() {
    if let Ok(kafka) = std::env::var(KAFKA_VARIABLE) {
        let mut text = everything(&mut Script::new(&kafka)).join("\n");
        text.push('\n');
        std::fs::write(GOLDEN, text).expect("the golden file is written");
        return;
    }
    let golden = std::fs::read_to_string(GOLDEN).expect("the golden file");
    for cores in [1, 2] {
        let Some(broker) = Broker::own().cores(cores).start() else {
            return;
        };
        compare(&golden, &everything(&mut Script::new(broker.bootstrap())));
    }
}

fn compare(golden: &str, found: &[String]) {
    let mut told = String::new();
    let mut used = HashSet::new();
    let wanted: Vec<&str> = golden.lines().collect();
    for row in 0..wanted.len().max(found.len()) {
        let wanted = wanted.get(row).copied().unwrap_or("nothing more");
        let found = found.get(row).map_or("nothing more", String::as_str);
        if wanted == found {
            continue;
        }
        let named = |(start, ours, _): &&(&'static str, &str, &str)| {
            wanted.starts_with(start) && found.starts_with(start) && found.ends_with(ours)
        };
        match DIFFERENCES.iter().find(named) {
            Some((start, ..)) => {
                used.insert(*start);
            }
            None => {
                let _ = writeln!(told, "line {}\n  Kafka   {wanted}\n  Ringlog {found}", row + 1);
            }
        }
    }
    assert!(told.is_empty(), "answers differ from Kafka's:\n{told}");
    for (start, _, why) in DIFFERENCES {
        assert!(
            used.contains(start),
            "named as a difference ({why}), and is none: {start}"
        );
    }
}

fn on(data: &Path) -> Builder {
    Broker::own().cores(1).data(data)
}

/// What becomes of the time indexes between two runs.
fn damage(folder: &Path, how: usize) {
    let entries = std::fs::read_dir(folder).expect("the partition's folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let indexes: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|kind| kind == "timeindex"))
        .collect();
    assert!(indexes.len() > 2, "{indexes:?}");
    for path in indexes {
        let done = match how {
            0 => std::fs::remove_file(&path),
            1 => std::fs::write(&path, b"no index"),
            3 => std::fs::write(&path, b""),
            2 => std::fs::write(&path, [0xff; 120]),
            _ => Ok(()),
        };
        done.expect("the index is damaged");
    }
}

#[test]
fn the_answers_outlive_restarts_and_damaged_time_indexes() {
    let data = tempfile::tempdir().expect("a directory");
    let Some(broker) = on(data.path()).start() else {
        return;
    };
    let mut script = Script::new(broker.bootstrap());
    everything(&mut script);
    let wanted = restarted(&mut script);
    assert!(wanted.len() > 50, "{}", wanted.len());
    let mut broker = Some(broker);
    for how in 0..6 {
        let mut running = broker.take().expect("a broker");
        match how {
            5 => running.kill(),
            _ => running.stop(),
        }
        drop(running);
        damage(&data.path().join("segments-0"), how);
        let next = on(data.path()).start().expect("a broker");
        let found = restarted(&mut Script::new(next.bootstrap()));
        for (wanted, found) in wanted.iter().zip(&found) {
            assert_eq!(found, wanted, "round {how}");
        }
        broker = Some(next);
    }
}
