//! The command `ringlog serve` itself: its ready line, its settings, its signals, its manners at rest.

use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use ringlog_tests::Broker;
use ringlog_tests::admin::create;
use ringlog_tests::broker::binary;
use ringlog_tests::client::{Outgoing, Producer};
use ringlog_tests::files::names;
use ringlog_tests::raw::{Batch, Connection, metadata, produce};
use rustix::process::Signal;

#[test]
fn the_ready_line_says_where_and_how_fast() {
    let Some(mut broker) = Broker::own().cores(2).start() else {
        return;
    };
    let port = broker
        .bootstrap()
        .strip_prefix("127.0.0.1:")
        .and_then(|port| port.parse::<u16>().ok());
    assert!(port.is_some_and(|port| port > 0), "{}", broker.bootstrap());
    assert_eq!(broker.ready("cores"), Some("2"));
    assert_eq!(broker.ready("partitions"), Some("0"));
    create(&broker, "counted", 5, &[]);
    assert!(
        broker.stdout().is_empty(),
        "nothing but the ready line goes to standard output"
    );
    broker.stop();
    broker.restart();
    assert_eq!(broker.ready("partitions"), Some("5"));
}

#[test]
fn it_listens_when_it_says_so() {
    for _ in 0..5 {
        let Some(broker) = Broker::own().start() else {
            return;
        };
        let mut connection = Connection::open(broker.bootstrap());
        let listed = metadata(&mut connection, 9, &[]);
        let own = &listed.brokers[0];
        assert_eq!(format!("{}:{}", own.host.as_str(), own.port), broker.bootstrap());
    }
}

#[test]
fn term_and_interrupt_end_it_cleanly() {
    for signal in [Signal::TERM, Signal::INT] {
        let Some(mut broker) = Broker::own().start() else {
            return;
        };
        let topic = create(&broker, "stopped", 1, &[]);
        Producer::new(broker.bootstrap(), &[]).send_all(&topic, 0, &[Outgoing::value("x")]);
        let _open = Connection::open(broker.bootstrap());
        let status = broker.terminate(signal);
        assert_eq!(status.code(), Some(0), "{signal:?}\n{}", broker.log());
        assert!(
            names(broker.data())
                .iter()
                .any(|name| name == ".kafka_cleanshutdown")
        );
    }
}

#[test]
fn it_stops_while_clients_are_busy() {
    let Some(mut broker) = Broker::own().start() else {
        return;
    };
    let topic = create(&broker, "busy", 4, &[]);
    let producer = Producer::new(broker.bootstrap(), &[("message.timeout.ms", "3000")]);
    for number in 0..20_000 {
        producer
            .send(&topic, number % 4, &Outgoing::value(vec![b'x'; 500]))
            .expect("queued");
    }
    let mut silent = Connection::open(broker.bootstrap());
    silent.send_bytes(&[0, 0]).expect("sent");
    broker.stop();
    producer.abandon();
}

/// A bad setting is refused before anything is touched: exit code 1, its name, and what would be allowed.
#[test]
fn bad_settings_are_refused() {
    for (key, value, hints) in [
        ("log.segment.bytes", "5", &["1048576"][..]),
        ("log.segment.bytes", "many", &["1048576"]),
        ("socket.request.max.bytes", "-1", &[]),
        ("num.partitions", "0", &["1"]),
        ("auto.create.topics.enable", "perhaps", &["true", "false"]),
        (
            "log.message.timestamp.type",
            "Yesterday",
            &["CreateTime", "LogAppendTime"],
        ),
        ("ringlog.durability", "hoped", &["written"]),
        ("ringlog.memory", "lots", &[]),
    ] {
        let Err(failure) = Broker::own().set(key, value).try_start() else {
            panic!("{key}={value} was accepted");
        };
        assert_eq!(
            failure.status.and_then(|status| status.code()),
            Some(1),
            "{key}={value}: {failure}"
        );
        for part in [key, value].iter().chain(hints) {
            assert!(
                failure.stderr.contains(part),
                "{key}={value} should name {part}: {failure}"
            );
        }
        assert!(
            !failure.stderr.contains("panicked") && failure.stderr.lines().count() <= 3,
            "{failure}"
        );
    }
}

#[test]
fn a_slip_in_a_setting_of_our_own_says_what_was_meant() {
    let failure = Broker::own()
        .set("ringlog.memroy", "1G")
        .try_start()
        .expect_err("unknown");
    assert!(
        failure
            .stderr
            .contains("unknown setting ringlog.memroy; did you mean ringlog.memory?"),
        "{failure}"
    );
}

#[test]
fn settings_it_does_not_have_are_listed() {
    let Some(broker) = Broker::own()
        .set("zookeeper.connect", "nowhere:2181")
        .set("no.such.key", 1)
        .start()
    else {
        return;
    };
    let log = broker.log();
    assert!(
        log.contains("zookeeper.connect") && log.contains("no.such.key"),
        "{log}"
    );
}

#[test]
fn a_cleaner_that_is_turned_off_is_said() {
    let Some(broker) = Broker::own()
        .set("log.cleaner.enable", false)
        .set("log.cleaner.min.compaction.lag.ms", 24)
        .set("log.cleanup.policy", "compact")
        .start()
    else {
        return;
    };
    let log = broker.log();
    let named: Vec<_> = log
        .lines()
        .filter(|line| line.contains("log.cleaner") || line.contains("log.cleanup.policy"))
        .collect();
    assert!(
        named.len() == 1 && named[0].contains("WARN") && named[0].contains("log.cleaner.enable=false"),
        "{log}"
    );
}

#[test]
fn settings_come_from_a_file_and_the_command_line_wins() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("server.properties");
    let text = "# a comment\nnum.partitions=7\n  socket.request.max.bytes = 50000\n\n! another\nlog.segment.bytes=2097152\n";
    std::fs::write(&file, text).expect("written");
    let data = folder.path().join("data");
    let mut child = Command::new(binary())
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--set",
            "num.partitions=3",
            "--config",
        ])
        .arg(&file)
        .arg("--data-dir")
        .arg(&data)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("a line");
    let bootstrap = line
        .split_whitespace()
        .find_map(|word| word.strip_prefix("listener="))
        .map(str::to_owned);
    let partitions = bootstrap.map(|bootstrap| {
        let topic = "automatic";
        Producer::new(&bootstrap, &[]).send_all(topic, 0, &[Outgoing::value("x")]);
        metadata(&mut Connection::open(&bootstrap), 9, &[topic]).topics[0]
            .partitions
            .len()
    });
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert_eq!(partitions, Some(3), "{line:?}");
}

#[test]
fn mistakes_on_the_command_line_are_explained() {
    for words in [
        &["serve", "--no-such-option"][..],
        &["serve", "--listen", "nowhere"],
        &["serve", "--listen", "9092"],
        &["serve", "--set", "novalue"],
        &["serve", "--cores", "0"],
        &["serve", "--config", "/no/such/file"],
        &["frobnicate"],
    ] {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let output = Command::new(binary())
            .args(words)
            .current_dir(folder.path())
            .output()
            .expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            matches!(output.status.code(), Some(1 | 2)),
            "{words:?}: {:?}\n{stderr}",
            output.status
        );
        assert!(
            !stderr.is_empty() && !stderr.contains("panicked"),
            "{words:?}: {stderr}"
        );
    }
    let help = Command::new(binary())
        .args(["serve", "--help"])
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&help.stdout);
    for option in ["--data-dir", "--listen", "--cores", "--set", "--config"] {
        assert!(
            help.status.success() && text.contains(option),
            "{option} in {text}"
        );
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let Some(broker) = Broker::own().start() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary directory");
    // The other listener does not share its port.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let output = Command::new(binary())
        .args(["serve", "--listen", &address, "--data-dir"])
        .arg(folder.path().join("data"))
        .output()
        .expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains(&address) && stderr.contains("another address with --listen"),
        "{stderr}"
    );
    drop(broker);
}

#[test]
fn it_does_nothing_when_there_is_nothing_to_do() {
    let Some(broker) = Broker::own().start() else {
        return;
    };
    let topic = create(&broker, "idle", 20, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    for partition in 0..20 {
        produce(&mut connection, &topic, partition, &Batch::of(&[b"x"]).build());
    }
    // Work behind the acknowledgements may go on for a moment: the best of three seconds counts.
    let least = (0..3)
        .map(|_| cpu_of_a_second(&broker))
        .min()
        .expect("three measurements");
    assert!(
        least <= Duration::from_millis(30),
        "{least:?} of CPU in an idle second"
    );
}

fn cpu_of_a_second(broker: &Broker) -> Duration {
    let before = broker.cpu().expect("a process of ours");
    let end = Instant::now() + Duration::from_secs(1);
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
    broker.cpu().expect("a process of ours") - before
}

#[test]
fn an_empty_broker_is_small() {
    let Some(broker) = Broker::own().cores(2).start() else {
        return;
    };
    let used = broker.memory("VmRSS").expect("a process of ours");
    println!("{} KiB resident", used >> 10);
    // The goal is 15 MiB; a debug build on another machine may have somewhat more.
    assert!(used < 40 << 20, "{} MiB", used >> 20);
}

#[test]
fn a_small_memlock_limit_is_enough_or_explained() {
    // bash's ulimit sets the limit and becomes the broker.
    let words = [
        "bash",
        "-c",
        "ulimit -l 64 && exec setpriv --bounding-set=-ipc_lock --inh-caps=-ipc_lock \"$@\"",
        "bash",
    ];
    if Command::new("setpriv").arg("--version").output().is_err() {
        println!("skipped: no setpriv, and root is above the limit");
        return;
    }
    match Broker::own().cores(1).wrapper(&words).try_start() {
        Ok(broker) => {
            let topic = create(&broker, "locked", 1, &[]);
            Producer::new(broker.bootstrap(), &[]).send_all(&topic, 0, &[Outgoing::value("x")]);
        }
        Err(failure) => {
            assert_eq!(
                failure.status.and_then(|status| status.code()),
                Some(1),
                "{failure}"
            );
            assert!(failure.stderr.to_lowercase().contains("memlock"), "{failure}");
        }
    }
}

#[test]
fn a_data_directory_that_cannot_be_is_explained() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("file");
    std::fs::File::create(&file)
        .and_then(|mut file| file.write_all(b"x"))
        .expect("written");
    let failure = Broker::own()
        .data(&file)
        .try_start()
        .expect_err("a file is no directory");
    assert_eq!(
        failure.status.and_then(|status| status.code()),
        Some(1),
        "{failure}"
    );
    assert!(
        failure.stderr.contains(&file.display().to_string())
            && failure.stderr.contains("name a directory with --data-dir"),
        "{failure}"
    );
    let failure = Broker::own()
        .data(&file.join("below"))
        .try_start()
        .expect_err("a file has nothing below it");
    assert!(
        failure.stderr.contains("file is a file; name a directory"),
        "{failure}"
    );
}
