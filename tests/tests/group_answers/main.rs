//! What groups are answered, by Apache Kafka 4.3.1 and here: one script of requests, and each answer as a line.
//!
//! `golden/groups-4.3.1.txt` holds what Kafka answers. To write it anew, start a Kafka that has no groups yet, and name it:
//!
//! ```text
//! bench/peers/kafka/up 9092 DATADIR group.consumer.assignment.interval.ms=0
//! RINGLOG_GROUP_ANSWERS_FROM=127.0.0.1:9092 cargo test -p ringlog-tests --test group_answers
//! ```
//!
//! Ids that a broker makes up are printed as numbers in the order of their appearance; throttle times and ports are left out.

mod answers;
mod classic;
mod corners;
mod instances;
mod listing;
mod migration;
mod modern;
mod offsets;
mod racing;
mod requests;
mod script;

use std::collections::HashSet;
use std::fmt::Write as _;

use ringlog_tests::Broker;
use ringlog_tests::admin::try_create;

use crate::script::Script;

/// Names a running Kafka whose answers become the golden file.
const KAFKA_VARIABLE: &str = "RINGLOG_GROUP_ANSWERS_FROM";
/// Where Kafka's answers are.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/groups-4.3.1.txt");

/// Settings that are not Kafka's defaults, for both.
const SETTINGS: &[(&str, i32)] = &[
    ("group.initial.rebalance.delay.ms", 0),
    ("group.consumer.assignment.interval.ms", 0),
];

/// A sentence of Kafka's in an answer, ours in its place, and why it is another.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    (
        "This most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker. \
         See the broker logs for more details.",
        "unknown or unsupported kind of key",
        "Kafka's sentence for any INVALID_REQUEST, ours names what is wrong",
    ),
    ("missing closing )", "unclosed group", REGEX_LIBRARY),
    (
        "invalid character class range",
        "invalid character class range, the start must be <= the end",
        REGEX_LIBRARY,
    ),
    (
        "invalid or unsupported Perl syntax",
        "look-around, including look-ahead and look-behind, is not supported",
        REGEX_LIBRARY,
    ),
    (
        "invalid escape sequence",
        "backreferences are not supported",
        REGEX_LIBRARY,
    ),
    (
        "missing argument to repetition operator",
        "repetition operator missing expression",
        REGEX_LIBRARY,
    ),
];

/// Why an expression is refused with another sentence.
const REGEX_LIBRARY: &str = "another library of regular expressions says why it does not take one";

fn answers(bootstrap: &str) -> Vec<String> {
    for (topic, partitions) in [("t", 3), ("u", 2)] {
        try_create(bootstrap, topic, partitions, &[]).expect("the topic is created");
    }
    let mut script = Script::new(bootstrap);
    let (t, u) = (script.topic_id("t"), script.topic_id("u"));
    classic::find(&mut script);
    classic::alone(&mut script);
    classic::refused_joins(&mut script);
    classic::strangers(&mut script);
    classic::two(&mut script);
    classic::fixed_members(&mut script);
    offsets::commits(&mut script, t);
    offsets::commits_of_members(&mut script);
    offsets::fetches(&mut script, t);
    listing::deletions(&mut script);
    listing::lists(&mut script);
    listing::long_ids(&mut script);
    modern::refused(&mut script, t);
    modern::alone(&mut script, t, u);
    modern::two(&mut script, t);
    instances::fixed_members(&mut script, t);
    instances::expressions(&mut script, t, u);
    migration::up(&mut script, t);
    migration::early(&mut script);
    migration::down(&mut script, t);
    migration::others(&mut script);
    corners::before_the_sync(&mut script);
    corners::gone_while_waiting(&mut script);
    corners::ranges(&mut script, t, u);
    corners::later(&mut script);
    corners::mixed(&mut script, t);
    racing::classic(&mut script);
    racing::modern(&mut script, t);
    racing::mixed(&mut script, t);
    script.into_lines()
}

#[test]
fn groups_are_answered_as_by_kafka() {
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
        let named = |(theirs, ours, _): &&(&'static str, &str, &str)| {
            wanted.contains(theirs) && wanted.replace(theirs, ours) == found
        };
        match DIFFERENCES.iter().find(named) {
            Some((theirs, ..)) => {
                used.insert(*theirs);
            }
            None => {
                let _ = writeln!(told, "line {}\n  Kafka   {wanted}\n  Ringlog {found}", row + 1);
            }
        }
    }
    assert!(told.is_empty(), "answers differ from Kafka's:\n{told}");
    for (theirs, _, why) in DIFFERENCES {
        assert!(
            used.contains(theirs),
            "named as a difference ({why}), and is none: {theirs}"
        );
    }
}
