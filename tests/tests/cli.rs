//! The command line's tools against a running broker: what they print, what they refuse, and how they end.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;

use rdkafka::Offset;
use ringlog_tests::broker::{binary, unique};
use ringlog_tests::client::{Outgoing, Producer, read_partition};
use ringlog_tests::tool::{command, created, fails, finish, json_lines, ok, run, run_with, spawn};
use ringlog_tests::{Broker, PATIENCE, wait_for};

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

#[test]
fn every_command_explains_itself() {
    for words in [
        &["--help"][..],
        &["serve", "--help"],
        &["topic", "--help"],
        &["topic", "create", "--help"],
        &["group", "--help"],
        &["produce", "--help"],
        &["consume", "--help"],
        &["dump", "--help"],
    ] {
        let help = ok(finish(Command::new(binary()).args(words), b""));
        let expected = if words.len() == 2 { "Examples:" } else { "Usage:" };
        assert!(help.contains(expected), "{words:?}: {help}");
    }
}

#[test]
fn nobody_listening_is_said_with_what_to_do() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    drop(listener);
    for words in [
        &["topic", "list"][..],
        &["produce", "t", "--value", "v"],
        &["consume", "t"],
    ] {
        let output = finish(Command::new(binary()).args(words).args(["-b", &address]), b"");
        let stderr = fails(output, 3);
        assert!(
            stderr.contains(&address) && stderr.contains("ringlog serve"),
            "{stderr}"
        );
    }
}

#[test]
fn a_topic_s_life() {
    let broker = Broker::any();
    let topic = unique("cli-life");
    let created = run(
        &broker,
        &[
            "topic",
            "create",
            &topic,
            "-p",
            "3",
            "-c",
            "retention.ms=86400000",
            "--json",
        ],
    );
    let created = json_lines(&ok(created)).remove(0);
    assert_eq!(
        (&created["topic"], &created["partitions"]),
        (&topic.as_str().into(), &3.into())
    );

    let again = fails(run(&broker, &["topic", "create", &topic]), 1);
    assert!(again.contains("exists already"), "{again}");
    ok(run(&broker, &["topic", "create", &topic, "--if-not-exists"]));

    let listed = json_lines(&ok(run(&broker, &["topic", "list", "--json"])));
    assert!(listed.iter().any(|listed| listed["topic"] == topic.as_str()));

    let described = json_lines(&ok(run(&broker, &["topic", "describe", &topic, "--json"]))).remove(0);
    assert_eq!(described["topic_id"], created["topic_id"]);
    assert_eq!(described["configs"]["retention.ms"]["value"], "86400000");
    let partitions = described["partitions"].as_array().expect("partitions");
    assert_eq!(partitions.len(), 3);
    assert!(partitions.iter().all(|partition| partition["end_offset"] == 0));

    ok(run(&broker, &["topic", "delete", &topic]));
    let unknown = wait_for("the topic is gone", PATIENCE, || {
        let output = run(&broker, &["topic", "describe", &topic]);
        (!output.status.success()).then_some(output)
    });
    let unknown = fails(unknown, 1);
    assert!(
        unknown.contains(&format!("ringlog topic create {topic}")),
        "{unknown}"
    );
    ok(run(&broker, &["topic", "delete", &topic, "--if-exists"]));
    fails(run(&broker, &["topic", "delete", &topic]), 1);
}

#[test]
fn a_refused_topic_says_why() {
    let broker = Broker::any();
    let name = fails(run(&broker, &["topic", "create", "no spaces"]), 1);
    assert!(name.contains("INVALID_TOPIC_EXCEPTION"), "{name}");
    let topic = unique("cli-config");
    let config = fails(
        run(&broker, &["topic", "create", &topic, "-c", "retention.ms=soon"]),
        1,
    );
    assert!(config.contains("retention.ms"), "{config}");
}

#[test]
fn unknown_topics_and_partitions_are_named() {
    let broker = Broker::any();
    let topic = unique("cli-unknown");
    for words in [&["produce", &topic, "--value", "v"][..], &["consume", &topic]] {
        let stderr = fails(run(&broker, words), 1);
        assert!(
            stderr.contains(&format!("ringlog topic create {topic}")),
            "{stderr}"
        );
    }
    let topic = created(&broker, "cli-partition", 2);
    for words in [
        &["produce", &topic, "--value", "v", "-p", "2"][..],
        &["consume", &topic, "-p", "2"],
    ] {
        let stderr = fails(run(&broker, words), 1);
        assert!(stderr.contains("no partition 2"), "{stderr}");
    }
    let stderr = fails(run(&broker, &["consume", &topic, "--from", "1"]), 1);
    assert!(stderr.contains("no offset 1"), "{stderr}");
}

#[test]
fn what_is_produced_is_consumed_in_every_codec() {
    let broker = Broker::any();
    for codec in CODECS {
        let topic = created(&broker, "cli-codec", 1);
        let lines: String = (0..5000).map(|n| format!("key{n}:value {n}\n")).collect();
        let sent = run_with(
            &broker,
            &[
                "produce",
                &topic,
                "-z",
                codec,
                "--key-separator",
                ":",
                "-H",
                "a=1",
                "-H",
                "null",
            ],
            lines.as_bytes(),
        );
        let sent = ok(sent);
        assert!(
            sent.contains("5000 records") && sent.contains("offsets 0 to 4999"),
            "{sent}"
        );
        let read = ok(run(
            &broker,
            &["consume", &topic, "--until-end", "--format", "%k:%v\\n"],
        ));
        assert_eq!(read, lines, "{codec}");
        let one = json_lines(&ok(run(
            &broker,
            &["consume", &topic, "-n", "1", "--from", "4321", "--json"],
        )));
        assert_eq!(one[0]["offset"], 4321);
        assert_eq!(one[0]["value"], "value 4321");
        assert_eq!(
            one[0]["headers"].to_string(),
            r#"[{"key":"a","value":"1"},{"key":"null","value":null}]"#
        );
    }
}

#[test]
fn librdkafka_and_the_tools_read_each_other() {
    let broker = Broker::any();
    for codec in CODECS {
        let topic = created(&broker, "cli-rdkafka", 1);
        let settings = [("compression.codec", codec), ("linger.ms", "20")];
        let records: Vec<Outgoing> = (0..500)
            .map(|n| Outgoing::value(format!("librdkafka {n}")))
            .collect();
        Producer::new(broker.bootstrap(), &settings).send_all(&topic, 0, &records);
        let lines: String = (0..500).map(|n| format!("ringlog {n}\n")).collect();
        ok(run_with(
            &broker,
            &["produce", &topic, "-z", codec],
            lines.as_bytes(),
        ));

        let ours = ok(run(&broker, &["consume", &topic, "-e"]));
        let theirs = read_partition(broker.bootstrap(), &topic, 0, Offset::Beginning);
        let theirs: Vec<u8> = theirs
            .iter()
            .flat_map(|record| [record.value.as_deref().unwrap_or_default(), b"\n"].concat())
            .collect();
        assert_eq!(ours.as_bytes(), theirs, "{codec}");
        assert_eq!(ours.lines().count(), 1000, "{codec}");
    }
}

#[test]
fn binary_values_tombstones_and_empty_values_differ() {
    let broker = Broker::any();
    let topic = created(&broker, "cli-null", 1);
    let file = tempfile::NamedTempFile::new().expect("a file");
    let bytes: Vec<u8> = (0..=255).collect();
    std::fs::write(file.path(), &bytes).expect("written");
    let path = file.path().to_str().expect("text");
    ok(run(&broker, &["produce", &topic, "--file", path]));
    ok(run(&broker, &["produce", &topic, "--key", "k", "--tombstone"]));
    ok(run(&broker, &["produce", &topic, "--key", "", "--value", ""]));
    let records = read_partition(broker.bootstrap(), &topic, 0, Offset::Beginning);
    let pairs: Vec<_> = records
        .iter()
        .map(|record| (record.key.as_deref(), record.value.as_deref()))
        .collect();
    assert_eq!(
        pairs,
        [
            (None, Some(&bytes[..])),
            (Some(&b"k"[..]), None),
            (Some(&b""[..]), Some(&b""[..]))
        ]
    );
    let sizes = ok(run(&broker, &["consume", &topic, "-e", "--format", "%K %S\\n"]));
    assert_eq!(sizes, "-1 256\n1 -1\n0 0\n");
    let raw = run(&broker, &["consume", &topic, "-n", "1"]);
    assert_eq!(raw.stdout, [&bytes[..], b"\n"].concat());
}

#[test]
fn acks_say_what_they_promise() {
    let broker = Broker::any();
    let topic = created(&broker, "cli-acks", 1);
    for (acks, promise) in [("all", "idempotent"), ("1", "the leader"), ("0", "nobody said")] {
        let said = ok(run(
            &broker,
            &["produce", &topic, "--value", acks, "--acks", acks],
        ));
        assert!(said.contains(promise), "{said}");
    }
    let read = ok(run(&broker, &["consume", &topic, "-n", "3"]));
    assert_eq!(read, "all\n1\n0\n");
}

#[test]
fn a_record_too_large_says_what_to_change() {
    let broker = Broker::any();
    let topic = unique("cli-large");
    ok(run(
        &broker,
        &[
            "topic",
            "create",
            &topic,
            "-p",
            "1",
            "-c",
            "max.message.bytes=1000",
        ],
    ));
    let stderr = fails(run_with(&broker, &["produce", &topic], &[b'x'; 2000]), 1);
    assert!(stderr.contains("max.message.bytes"), "{stderr}");
}

#[test]
fn a_start_can_be_an_offset_a_time_or_counted_from_the_end() {
    let broker = Broker::any();
    let topic = created(&broker, "cli-from", 1);
    for n in 0..5 {
        let (value, time) = (n.to_string(), (1_700_000_000_000i64 + n * 1000).to_string());
        ok(run(
            &broker,
            &["produce", &topic, "--value", &value, "--timestamp", &time],
        ));
    }
    for (from, expected) in [
        ("beginning", "0\n1\n2\n3\n4\n"),
        ("3", "3\n4\n"),
        ("-2", "3\n4\n"),
        ("-99", "0\n1\n2\n3\n4\n"),
        ("@1700000002000", "2\n3\n4\n"),
        ("@1700000002001", "3\n4\n"),
        ("@1900000000000", ""),
        ("end", ""),
        ("5", ""),
    ] {
        let read = ok(run(&broker, &["consume", &topic, "--until-end", "--from", from]));
        assert_eq!(read, expected, "{from}");
    }
}

#[test]
fn following_shows_what_comes_later() {
    let broker = Broker::any();
    let topic = created(&broker, "cli-follow", 3);
    let mut consumer = spawn(&mut command(&broker, &["consume", &topic, "-n", "3"]));
    let mut lines = BufReader::new(consumer.stdout.take().expect("piped")).lines();
    for value in ["one", "two", "three"] {
        ok(run(&broker, &["produce", &topic, "--value", value]));
        assert_eq!(lines.next().expect("a line").expect("text"), value);
    }
    assert!(consumer.wait().expect("it ends").success());
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let broker = Broker::any();
    let topic = created(&broker, "cli-head", 1);
    let lines: String = (0..50_000)
        .map(|n| format!("a line to fill the pipe with, number {n}\n"))
        .collect();
    ok(run_with(&broker, &["produce", &topic], lines.as_bytes()));
    let mut consumer = spawn(&mut command(&broker, &["consume", &topic]));
    let mut first = String::new();
    let mut reader = BufReader::new(consumer.stdout.take().expect("piped"));
    reader.read_line(&mut first).expect("a line");
    drop(reader);
    assert!(consumer.wait().expect("it ends").success());
}

#[test]
fn a_restart_in_the_middle_loses_and_repeats_nothing() {
    let Some(mut broker) = Broker::own().same_port().start() else {
        return;
    };
    let topic = created(&broker, "cli-restart", 2);
    let mut producer = spawn(&mut command(&broker, &["produce", &topic, "--json"]));
    let consumer = spawn(&mut command(&broker, &["consume", &topic, "-n", "200"]));
    let mut input = producer.stdin.take().expect("piped");
    let mut acknowledged = BufReader::new(producer.stdout.take().expect("piped")).lines();
    for round in 0..4 {
        for n in 0..50 {
            writeln!(input, "{}", round * 50 + n).expect("it reads");
        }
        acknowledged.next().expect("a line").expect("text");
        broker.kill();
        broker.restart();
    }
    drop(input);
    assert!(producer.wait().expect("it ends").success());
    let read = ok(consumer.wait_with_output().expect("it ends"));
    let mut numbers: Vec<u32> = read.lines().map(|line| line.parse().expect("a number")).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
}

#[test]
fn dump_finds_nothing_wrong_with_what_was_written_and_finds_a_flipped_bit() {
    let settings = ("log.segment.bytes", 1 << 20);
    let Some(mut broker) = Broker::own().set(settings.0, settings.1).start() else {
        return;
    };
    let topic = created(&broker, "cli-dump", 1);
    let lines: String = (0..100_000)
        .map(|n| format!("some value or other, number {n}\n"))
        .collect();
    ok(run_with(&broker, &["produce", &topic], lines.as_bytes()));
    broker.stop();
    let folder = broker.partition_folder(&topic, 0);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the partition's folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.extend(
        std::fs::read_dir(broker.data())
            .expect("the data directory")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.is_file() && path.file_name().is_some_and(|name| name != ".lock")),
    );
    files.sort();
    let dumped = ok(finish(
        Command::new(binary())
            .args(["dump", "--records", "--json"])
            .args(&files),
        b"",
    ));
    let records = json_lines(&dumped)
        .iter()
        .filter(|line| line["kind"] == "record")
        .count();
    assert_eq!(records, 100_000);

    let log = files
        .iter()
        .find(|path| path.extension().is_some_and(|end| end == "log"))
        .expect("a segment");
    let mut bytes = std::fs::read(log).expect("read");
    bytes[65] ^= 1; // in the first record, right behind the header
    std::fs::write(log, bytes).expect("written");
    let found = finish(Command::new(binary()).arg("dump").arg(log), b"");
    assert!(String::from_utf8_lossy(&found.stdout).contains("corrupt position=0"));
    fails(found, 1);
}
