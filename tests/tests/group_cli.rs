//! `ringlog group` against a running broker, with groups of librdkafka's consumers of both protocols.

use std::process::Command;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use ringlog_tests::broker::{binary, external, unique};
use ringlog_tests::client::{Outgoing, Producer, Quiet, consumer, incoming};
use ringlog_tests::tool::{fails, finish, json_lines, ok, run};
use ringlog_tests::{Broker, PATIENCE, wait_for};
use serde_json::Value;

const CONSUMER_PROTOCOL: (&str, &str) = ("group.protocol", "consumer");

/// A broker that does not wait for more members before a group starts.
fn broker() -> Broker {
    match external() {
        Some(_) => Broker::any(),
        None => Broker::own()
            .set("group.initial.rebalance.delay.ms", 0)
            .start()
            .expect("no other broker is named"),
    }
}

/// A consumer in a group, which leaves it when dropped.
fn member(broker: &Broker, group: &str, topic: &str, settings: &[(&str, &str)]) -> BaseConsumer<Quiet> {
    let own = [
        ("group.id", group),
        ("client.id", "a client"),
        ("auto.offset.reset", "earliest"),
    ];
    let consumer = consumer(broker.bootstrap(), &[&own[..], settings].concat());
    consumer.subscribe(&[topic]).expect("a topic's name");
    consumer
}

/// Polls until every member has partitions, `count` together.
fn await_assigned(members: &[&BaseConsumer<Quiet>], count: usize) {
    wait_for("the members have their partitions", PATIENCE, || {
        let assigned: Vec<usize> = members
            .iter()
            .map(|member| {
                drop(member.poll(Duration::from_millis(20)));
                member.assignment().map_or(0, |assignment| assignment.count())
            })
            .collect();
        (assigned.iter().sum::<usize>() == count && !assigned.contains(&0)).then_some(())
    });
}

/// Offsets as a consumer without membership commits them.
fn commit(broker: &Broker, group: &str, topic: &str, offsets: &[(i32, i64)]) {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset))
            .expect("an offset");
    }
    let consumer = consumer(broker.bootstrap(), &[("group.id", group)]);
    // librdkafka does not ask again while a coordinator that was just made finds its feet.
    wait_for("the offsets are committed", PATIENCE, || {
        consumer.commit(&list, CommitMode::Sync).ok()
    });
}

/// A topic with so many records in each of its partitions, the n-th at n seconds after a start.
fn filled(broker: &Broker, stem: &str, partitions: u32, records: i64) -> String {
    let topic = unique(stem);
    // Records as old as these would be gone soon.
    let words = [
        "topic",
        "create",
        &topic,
        "-c",
        "retention.ms=-1",
        "-p",
        &partitions.to_string(),
    ];
    ok(run(broker, &words));
    let producer = Producer::new(broker.bootstrap(), &[]);
    for partition in 0..partitions as i32 {
        let records: Vec<Outgoing> = (0..records)
            .map(|n| Outgoing::value(n.to_string()).at(START_MS + n * 1000))
            .collect();
        producer.send_all(&topic, partition, &records);
    }
    topic
}

/// 2025-01-01T00:00:00Z.
const START_MS: i64 = 1_735_689_600_000;

fn json(broker: &Broker, words: &[&str]) -> Vec<Value> {
    json_lines(&ok(run(broker, &[&["group"], words, &["--json"]].concat())))
}

fn text(broker: &Broker, words: &[&str]) -> String {
    ok(run(broker, &[&["group"], words].concat()))
}

fn refused(broker: &Broker, words: &[&str]) -> String {
    fails(run(broker, &[&["group"], words].concat()), 1)
}

/// The one line of `group list` that is of this group.
fn listed(broker: &Broker, group: &str, filter: &[&str]) -> Option<Value> {
    let lines = json(broker, &[&["list"], filter].concat());
    lines.into_iter().find(|line| line["group"] == group)
}

fn await_state(broker: &Broker, group: &str, state: &str) {
    wait_for(state, PATIENCE, || {
        let lines = json(broker, &["describe", group, "--state"]);
        (lines[0]["state"] == state).then_some(())
    });
}

/// Partition, committed offset, log end and lag.
type OffsetLine = (i64, Option<i64>, Option<i64>, Option<i64>);

fn offsets(broker: &Broker, group: &str) -> Vec<OffsetLine> {
    let number = |line: &Value, name: &str| line[name].as_i64();
    json(broker, &["describe", group])
        .iter()
        .map(|line| {
            (
                number(line, "partition").expect("a number"),
                number(line, "committed_offset"),
                number(line, "log_end_offset"),
                number(line, "lag"),
            )
        })
        .collect()
}

fn committed(broker: &Broker, group: &str) -> Vec<(i64, Option<i64>)> {
    offsets(broker, group)
        .iter()
        .map(|line| (line.0, line.1))
        .collect()
}

#[test]
fn every_group_command_explains_itself_and_says_that_nobody_listens() {
    let broker = broker();
    for words in [
        &["list"][..],
        &["describe", "g"],
        &["reset-offsets", "g", "--all-topics", "--to-latest"],
        &["delete", "g"],
    ] {
        let help = text(&broker, &[words, &["--help"]].concat());
        assert!(help.contains("Usage: ringlog group"), "{help}");
        let words = [&["group"], words, &["-b", "127.0.0.1:1"]].concat();
        let output = finish(Command::new(binary()).args(words), b"");
        assert!(fails(output, 3).contains("ringlog serve"));
    }
}

#[test]
fn a_classic_group_is_listed_described_and_deleted() {
    let broker = broker();
    let topic = filled(&broker, "group-classic", 3, 5);
    let group = unique("classic");
    commit(&broker, &group, &topic, &[(0, 2), (1, 5)]);
    let consumer = member(
        &broker,
        &group,
        &topic,
        &[("partition.assignment.strategy", "range")],
    );
    await_assigned(&[&consumer], 3);

    let line = listed(&broker, &group, &[]).expect("listed");
    assert_eq!(
        (&line["protocol_type"], &line["state"], &line["type"]),
        (&"consumer".into(), &"Stable".into(), &"classic".into())
    );
    assert!(
        listed(
            &broker,
            &group,
            &["--state", "stable", "empty", "--type", "classic"]
        )
        .is_some()
    );
    assert!(listed(&broker, &group, &["--state", "Empty"]).is_none());
    assert!(listed(&broker, &group, &["--type", "consumer"]).is_none());
    assert!(text(&broker, &["list"]).starts_with("group "));

    let expected = [
        (0, Some(2), Some(5), Some(3)),
        (1, Some(5), Some(5), Some(0)),
        (2, None, Some(5), None),
    ];
    assert_eq!(offsets(&broker, &group), expected);
    let line = json(&broker, &["describe", &group]).remove(0);
    assert_eq!(
        (&line["topic"], &line["client_id"], &line["host"]),
        (&topic.as_str().into(), &"a client".into(), &"127.0.0.1".into())
    );
    let lines = text(&broker, &["describe", &group]);
    let words: Vec<Vec<&str>> = lines
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        words[0].join(" "),
        "group topic partition committed log end lag member host client"
    );
    assert_eq!(words[3][..6], [group.as_str(), &topic, "2", "-", "5", "-"]);

    let members = json(&broker, &["describe", &group, "--members"]);
    assert_eq!(members.len(), 1);
    assert_eq!(members[0]["member_id"], line["member_id"]);
    assert_eq!(members[0]["assignment"][&topic], Value::from(vec![0, 1, 2]));
    assert_eq!(members[0]["epoch"], Value::Null);
    assert!(text(&broker, &["describe", &group, "--members"]).contains(&format!("{topic}:0-2")));

    let state = json(&broker, &["describe", &group, "--state"]).remove(0);
    assert_eq!(
        (
            &state["type"],
            &state["state"],
            &state["assignor"],
            &state["members"]
        ),
        (&"classic".into(), &"Stable".into(), &"range".into(), &1.into())
    );
    assert_eq!(state["coordinator"], broker.bootstrap());

    let stderr = refused(&broker, &["delete", &group]);
    assert!(stderr.contains("it has members; stop them first"), "{stderr}");
    drop(consumer);
    await_state(&broker, &group, "Empty");
    let lines = text(&broker, &["describe", &group]);
    assert!(
        lines.lines().next().is_some_and(|head| head.ends_with("lag")),
        "{lines}"
    );
    assert_eq!(committed(&broker, &group), [(0, Some(2)), (1, Some(5))]);
    assert_eq!(json(&broker, &["delete", &group])[0]["group"], group);
    assert!(listed(&broker, &group, &[]).is_none());
}

#[test]
fn a_group_of_the_consumer_protocol_shows_epochs_and_targets() {
    let broker = broker();
    let topic = filled(&broker, "group-consumer", 4, 1);
    let group = unique("consumer");
    let settings = [CONSUMER_PROTOCOL, ("group.instance.id", "first")];
    let first = member(&broker, &group, &topic, &settings);
    await_assigned(&[&first], 4);
    let second = member(&broker, &group, &topic, &[CONSUMER_PROTOCOL]);
    await_assigned(&[&first, &second], 4);
    await_state(&broker, &group, "Stable");

    assert_eq!(listed(&broker, &group, &[]).expect("listed")["type"], "consumer");
    assert!(listed(&broker, &group, &["--type", "consumer", "--state", "Stable"]).is_some());
    assert!(listed(&broker, &group, &["--type", "classic"]).is_none());

    let lines = json(&broker, &["describe", &group, "--state", "--members"]);
    let (state, members) = lines.split_first().expect("a state");
    assert_eq!(
        (&state["kind"], &state["type"]),
        (&"group".into(), &"consumer".into())
    );
    assert_eq!(
        (&state["assignor"], &state["members"]),
        (&"uniform".into(), &2.into())
    );
    assert_eq!(state["epoch"], state["target_epoch"]);
    for member in members {
        assert_eq!(
            (&member["kind"], &member["epoch"]),
            (&"member".into(), &state["epoch"])
        );
        assert_eq!(member["assignment"], member["target_assignment"]);
        assert_eq!(member["assignment"][&topic].as_array().map(Vec::len), Some(2));
    }
    assert!(members.iter().any(|member| member["instance_id"] == "first"));
    let table = text(&broker, &["describe", &group, "--members"]);
    assert!(
        table.contains("target epoch") && table.contains("same"),
        "{table}"
    );
    assert_eq!(offsets(&broker, &group).len(), 4);
}

#[test]
fn a_group_that_does_not_exist_does_not_hide_the_others() {
    let broker = broker();
    let topic = filled(&broker, "group-some", 1, 1);
    let (group, absent) = (unique("some"), unique("absent"));
    commit(&broker, &group, &topic, &[(0, 1)]);
    let output = run(&broker, &["group", "describe", &absent, &group]);
    assert!(String::from_utf8_lossy(&output.stdout).contains(&topic));
    let stderr = fails(output, 1);
    assert!(
        stderr.contains(&absent) && stderr.contains("ringlog group list"),
        "{stderr}"
    );
    let all = json(&broker, &["describe", "--all", "--state"]);
    assert!(all.iter().any(|line| line["group"] == group));

    let output = run(&broker, &["group", "delete", &absent, &group]);
    assert!(String::from_utf8_lossy(&output.stdout).contains(&format!("deleted group={group}")));
    assert!(fails(output, 1).contains(&absent));
}

#[test]
fn offsets_of_a_deleted_topic_are_shown_without_an_end() {
    let broker = broker();
    let (kept, gone) = (
        filled(&broker, "group-kept", 1, 1),
        filled(&broker, "group-gone", 1, 1),
    );
    let group = unique("gone");
    commit(&broker, &group, &kept, &[(0, 0)]);
    commit(&broker, &group, &gone, &[(0, 1)]);
    ok(run(&broker, &["topic", "delete", &gone]));
    let lines = wait_for("the topic is gone", PATIENCE, || {
        let lines = json(&broker, &["describe", &group]);
        let of_gone = lines.iter().find(|line| line["topic"] == gone.as_str());
        // A broker may drop the offsets of a topic with it.
        of_gone
            .is_none_or(|line| line["log_end_offset"].is_null())
            .then_some(lines)
    });
    assert!(
        lines
            .iter()
            .any(|line| line["topic"] == kept.as_str() && line["lag"] == 1)
    );
    let reset = json(&broker, &["reset-offsets", &group, "--all-topics", "--to-latest"]);
    assert_eq!(reset.len(), 1);
    assert_eq!(reset[0]["topic"], kept.as_str());
}

#[test]
fn a_reset_is_a_dry_run_until_it_is_to_be_carried_out() {
    let broker = broker();
    let topic = filled(&broker, "group-reset", 2, 10);
    let group = unique("reset");
    commit(&broker, &group, &topic, &[(0, 4), (1, 6)]);
    let words = [
        "group",
        "reset-offsets",
        &group,
        "--topic",
        &topic,
        "--to-earliest",
    ];
    for dry in [&[][..], &["--dry-run"]] {
        let output = run(&broker, &[&words[..], dry].concat());
        assert!(String::from_utf8_lossy(&output.stderr).contains("--execute"));
        let shown = ok(output);
        let rows: Vec<Vec<&str>> = shown
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(rows[0].join(" "), "group topic partition old offset new offset");
        assert_eq!(rows[1], [&group, topic.as_str(), "0", "4", "0"]);
        assert_eq!(rows[2], [&group, topic.as_str(), "1", "6", "0"]);
        assert_eq!(committed(&broker, &group), [(0, Some(4)), (1, Some(6))]);
    }
    ok(run(&broker, &[&words[..], &["--execute"]].concat()));
    assert_eq!(committed(&broker, &group), [(0, Some(0)), (1, Some(0))]);
}

#[test]
fn offsets_are_set_to_what_was_asked_for_and_never_outside_of_the_log() {
    let broker = broker();
    let topic = filled(&broker, "group-targets", 2, 10);
    let group = unique("targets");
    let first = format!("{topic}:0");
    let both = format!("{topic}:0-1");
    let cases: [(&str, &[&str], [i64; 2], &str); 11] = [
        (&topic, &["--to-latest"], [10, 10], ""),
        (&first, &["--to-offset", "3"], [3, 10], ""),
        (&both, &["--shift-by", "-2"], [1, 8], ""),
        (&topic, &["--shift-by=-5"], [0, 3], "is before the first one"),
        (&topic, &["--shift-by", "9"], [9, 10], "is after the end"),
        (&topic, &["--to-current"], [9, 10], ""),
        (&topic, &["--to-offset", "99"], [10, 10], "is after the end"),
        (&topic, &["--to-time", "2025-01-01T00:00:04Z"], [4, 4], ""),
        (&topic, &["--to-time", "1735689605001"], [6, 6], ""),
        (
            &topic,
            &["--to-time", "2030-01-01"],
            [10, 10],
            "no record is at or after that time",
        ),
        (&first, &["--to-earliest"], [0, 10], ""),
    ];
    for (topics, target, expected, warning) in cases {
        let words = [
            &["group", "reset-offsets", &group, "--execute", "--topic", topics],
            target,
        ]
        .concat();
        let output = run(&broker, &words);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            stderr.contains("warning"),
            !warning.is_empty(),
            "{target:?}: {stderr}"
        );
        assert!(stderr.contains(warning), "{target:?}: {stderr}");
        ok(output);
        let expected = [(0, Some(expected[0])), (1, Some(expected[1]))];
        assert_eq!(committed(&broker, &group), expected, "{target:?}");
    }
    let lines = json(
        &broker,
        &[
            "reset-offsets",
            &group,
            "--all-topics",
            "--to-offset",
            "5",
            "--execute",
        ],
    );
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (
            &lines[1]["kind"],
            &lines[1]["old_offset"],
            &lines[1]["new_offset"]
        ),
        (&"reset".into(), &10.into(), &5.into())
    );

    // Who joins goes on from there.
    let consumer = member(&broker, &group, &topic, &[]);
    let record = wait_for("a record", PATIENCE, || consumer.poll(Duration::from_millis(50)));
    let record = incoming(&record.expect("a record"));
    assert_eq!(record.offset, 5);
}

#[test]
fn a_group_in_use_is_not_reset() {
    let broker = broker();
    let topic = filled(&broker, "group-used", 1, 3);
    for protocol in [("group.protocol", "classic"), CONSUMER_PROTOCOL] {
        let group = unique("used");
        commit(&broker, &group, &topic, &[(0, 1)]);
        let consumer = member(&broker, &group, &topic, &[protocol]);
        await_assigned(&[&consumer], 1);
        let words = [
            "reset-offsets",
            &group,
            "--topic",
            &topic,
            "--to-latest",
            "--execute",
        ];
        let stderr = refused(&broker, &words);
        assert!(
            stderr.contains("is in use") && stderr.contains("one member"),
            "{stderr}"
        );
        assert_eq!(committed(&broker, &group), [(0, Some(1))]);
        drop(consumer);
        await_state(&broker, &group, "Empty");
        text(&broker, &words);
        assert_eq!(committed(&broker, &group), [(0, Some(3))]);
    }
}

#[test]
fn a_reset_that_cannot_be_says_why() {
    let broker = broker();
    let topic = filled(&broker, "group-why", 1, 1);
    let (group, absent) = (unique("why"), unique("no-topic"));
    let third = format!("{topic}:0,3");
    for (words, expected) in [
        (&["--topic", &absent, "--to-latest"][..], "does not exist"),
        (&["--topic", &third, "--to-latest"], "no partition 3"),
        (
            &["--topic", &topic, "--shift-by", "1"],
            "no committed offset that could be shifted",
        ),
        (
            &["--all-topics", "--to-latest"],
            "no committed offsets; name topics with --topic",
        ),
    ] {
        let stderr = refused(&broker, &[&["reset-offsets", &group], words].concat());
        assert!(stderr.contains(expected), "{stderr}");
    }
    assert!(listed(&broker, &group, &[]).is_none(), "made by a refused reset");
}
