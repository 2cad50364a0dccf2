//! What transactional producers are answered, by Apache Kafka 4.3.1 and here: one script of requests, and each answer as a line.
//!
//! `golden/transactions-4.3.1.txt` holds what Kafka answers. To write it anew, start a fresh Kafka, and name it:
//!
//! ```text
//! bench/peers/kafka/up 9092 DATADIR transaction.abort.timed.out.transaction.cleanup.interval.ms=200
//! RINGLOG_TXN_ANSWERS_FROM=127.0.0.1:9092 cargo test -p ringlog-tests --test txn_answers
//! ```
//!
//! Producer ids are printed as numbers in the order of their appearance; times and ports are left out. A request is sent again while the
//! answer is that the coordinator is busy, as clients do.

mod admin;
mod answers;
mod ends;
mod fencing;
mod init;
mod markers;
mod offsets;
mod partitions;
mod produce;
mod reads;
mod script;
mod versions;

use std::collections::HashSet;
use std::fmt::Write as _;

use ringlog_tests::Broker;
use ringlog_tests::admin::try_create;

use crate::script::Script;

/// Names a running Kafka whose answers become the golden file.
const KAFKA_VARIABLE: &str = "RINGLOG_TXN_ANSWERS_FROM";
/// Where Kafka's answers are.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/transactions-4.3.1.txt");
/// Settings that are not Kafka's defaults, for both.
const SETTINGS: &[(&str, i32)] = &[("transaction.abort.timed.out.transaction.cleanup.interval.ms", 200)];

/// A line of Kafka's by its beginning, a part of it, ours in its place, and why it is another.
const DIFFERENCES: &[(&str, &str, &str, &str)] = &[];

fn answers(bootstrap: &str) -> Vec<String> {
    for (topic, partitions) in [("t", 3), ("u", 2), ("r", 1)] {
        try_create(bootstrap, topic, partitions, &[]).expect("the topic is created");
    }
    let mut script = Script::new(bootstrap);
    init::find(&mut script);
    init::without_id(&mut script);
    init::with_id(&mut script);
    init::resumed(&mut script);
    partitions::by_clients(&mut script);
    partitions::by_brokers(&mut script);
    offsets::adding(&mut script);
    offsets::committing(&mut script);
    offsets::committing_unverified(&mut script);
    offsets::of_members(&mut script);
    ends::before_version_2(&mut script);
    ends::version_2(&mut script);
    produce::refused(&mut script);
    produce::verified(&mut script);
    produce::added_by_the_way(&mut script);
    produce::sequences(&mut script);
    reads::isolation(&mut script);
    fencing::by_another(&mut script);
    fencing::by_time(&mut script);
    versions::mixed(&mut script);
    admin::producers(&mut script);
    admin::transactions(&mut script);
    markers::written(&mut script);
    script.into_lines()
}

#[test]
fn transactions_are_answered_as_by_kafka() {
    if let Ok(kafka) = std::env::var(KAFKA_VARIABLE) {
        let mut text = answers(&kafka).join("\n");
        text.push('\n');
        std::fs::write(GOLDEN, text).expect("the golden file is written");
        return;
    }
    let golden = std::fs::read_to_string(GOLDEN).expect("the golden file");
    for cores in [1, 2] {
        let mut broker = Broker::own().cores(cores);
        for (key, value) in SETTINGS {
            broker = broker.set(key, value);
        }
        let Some(broker) = broker.start() else { return };
        compare(&golden, &answers(broker.bootstrap()));
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
        let named = |(start, theirs, ours, _): &&(&str, &'static str, &str, &str)| {
            wanted.starts_with(start) && wanted.contains(theirs) && wanted.replace(theirs, ours) == found
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
    for (start, _, _, why) in DIFFERENCES {
        assert!(
            used.contains(start),
            "named as a difference ({why}), and is none: {start}"
        );
    }
}
