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

/// A line of Kafka's by its beginning, a part of it, ours in its place, and why it is another. Where the part is empty ours is only looked for.
const DIFFERENCES: &[(&str, &str, &str, &str)] = &[
    (
        "resumed: then | DescribeTransactions",
        "",
        "\"Ongoing\"",
        "Kafka aborts the transaction of the producer that goes on before it refuses one that is fenced",
    ),
    (
        "batched: nothing | AddPartitionsToTxn",
        "",
        "results_by_transaction: []",
        "Kafka never answers",
    ),
    (
        "batched: are they there | AddPartitionsToTxn",
        "",
        "PRODUCER_FENCED",
        "of an id that is named twice Kafka looks at the last partitions only, and answers with them twice",
    ),
    (
        "refused: a marker | Produce",
        "",
        "INVALID_RECORD",
        "what no producer may send is refused before any coordinator is asked",
    ),
    (
        "verified: the same again | Produce",
        "",
        "log_append_time_ms: -1",
        "Kafka tells the time of a batch that came again though the topic does not keep the broker's time",
    ),
    (
        "sequences: the fifth of the last again | Produce",
        "",
        "log_append_time_ms: -1",
        "Kafka tells the time of a batch that came again though the topic does not keep the broker's time",
    ),
    (
        "transactions: some | DescribeTransactions",
        "",
        "\"list-open\"",
        "an id that is named twice is told once",
    ),
    (
        "sequences: near the end again | Produce",
        "",
        "log_append_time_ms: -1",
        "Kafka tells the time of a batch that came again though the topic does not keep the broker's time",
    ),
];

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
        if alike(wanted, found) {
            continue;
        }
        let named = |(start, theirs, ours, _): &&(&str, &'static str, &str, &str)| {
            let is_ours = match theirs.is_empty() {
                true => found.starts_with(start) && found.contains(ours),
                false => wanted.replace(theirs, ours) == found,
            };
            wanted.starts_with(start) && wanted.contains(theirs) && is_ours
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

/// Whether two answers say the same: sentences for people and the log's start beside a refusal aside, rows that come out of a hash table in any
/// order, and no more aborted transactions than Kafka lists, which names some behind what it returns.
fn alike(kafkas: &str, ours: &str) -> bool {
    let (theirs, theirs_aborted) = without_aborted(kafkas);
    let (own, own_aborted) = without_aborted(ours);
    let is_listed = |aborted: &String| theirs_aborted.contains(aborted);
    let bare = |line: &str| in_order(&without_log_start(&without_sentences(line)));
    bare(&theirs) == bare(&own) && own_aborted.iter().all(is_listed)
}

/// The line with all sentences for people alike.
fn without_sentences(line: &str) -> String {
    const FIELD: &str = "error_message: ";
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once(FIELD) {
        out.push_str(before);
        out.push_str(FIELD);
        rest = match after.strip_prefix("Some(\"") {
            Some(sentence) => sentence.split_once("\")").map_or("", |(_, rest)| rest),
            None => after.strip_prefix("None").unwrap_or(after),
        };
    }
    out + rest
}

/// The line without the start of the log where a batch was refused: Kafka tells it with some refusals.
fn without_log_start(line: &str) -> String {
    match line.contains("base_offset: -1") {
        true => line.replace("log_start_offset: 0", "log_start_offset: -1"),
        false => line.to_owned(),
    }
}

/// The line without its list of aborted transactions, and those.
fn without_aborted(line: &str) -> (String, Vec<String>) {
    let Some((before, after)) = line.split_once("aborted Some([") else {
        return (line.to_owned(), Vec::new());
    };
    let (list, rest) = after.split_once("])").unwrap_or((after, ""));
    let listed = list.split(", ").filter(|aborted| !aborted.is_empty());
    (
        format!("{before}aborted listed{rest}"),
        listed.map(str::to_owned).collect(),
    )
}

/// The line with the rows of every list in the order of their text.
fn in_order(line: &str) -> String {
    let mut lists: Vec<Vec<String>> = vec![vec![String::new()]];
    let mut depths = vec![0usize];
    for c in line.chars() {
        let at_top = depths.last() == Some(&0);
        match c {
            '[' => {
                lists.push(vec![String::new()]);
                depths.push(0);
                continue;
            }
            ']' if lists.len() > 1 => {
                let mut rows = lists.pop().unwrap_or_default();
                depths.pop();
                rows.iter_mut().for_each(|row| *row = row.trim().to_owned());
                rows.sort();
                push(&mut lists, &format!("[{}]", rows.join(", ")));
                continue;
            }
            '{' | '(' => depths.iter_mut().last().into_iter().for_each(|depth| *depth += 1),
            '}' | ')' => depths
                .iter_mut()
                .last()
                .into_iter()
                .for_each(|depth| *depth = depth.saturating_sub(1)),
            ',' if at_top && lists.len() > 1 => {
                lists
                    .last_mut()
                    .into_iter()
                    .for_each(|rows| rows.push(String::new()));
                continue;
            }
            _ => {}
        }
        push(&mut lists, &c.to_string());
    }
    lists.into_iter().flatten().collect::<Vec<_>>().join("[")
}

fn push(lists: &mut [Vec<String>], text: &str) {
    if let Some(row) = lists.last_mut().and_then(|rows| rows.last_mut()) {
        row.push_str(text);
    }
}

#[test]
fn answers_are_alike_in_what_matters() {
    assert!(alike("x [a { b: 1 }, c]", "x [c, a { b: 1 }]"));
    assert!(!alike("x [a { b: 1 }, c]", "x [c, a { b: 2 }]"));
    assert!(alike(
        "error_message: None, [1]",
        "error_message: Some(\"why, [so]\"), [1]"
    ));
    assert!(!alike(
        "error_message: None, [1]",
        "error_message: Some(\"why\"), [2]"
    ));
    assert!(alike(
        "aborted Some([\"P1 from 2\", \"P2 from 9\"]), x",
        "aborted Some([\"P1 from 2\"]), x"
    ));
    assert!(!alike("aborted Some([]), x", "aborted Some([\"P1 from 2\"]), x"));
}
