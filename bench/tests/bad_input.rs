//! What goes wrong is said in a sentence, with the right exit code, and a report that was promised is written.

mod common;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{Ended, against, arguments, broker, directory, each, file, run, tool, wait_until};
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use ringlog_bench::report::write_json;
use ringlog_bench::sink::Sink;
use rustix::process::{Pid, Signal, kill_process};

/// Far less than what waiting for an answer may take.
const QUICK: Duration = Duration::from_secs(20);

/// One sentence on standard error, nothing on standard output, no report.
fn one_sentence(ended: &Ended, code: i32, part: &str) {
    let lines: Vec<&str> = ended.stderr.lines().collect();
    let told = matches!(&lines[..], [line] if line.starts_with("ringlog-bench: ") && line.contains(part));
    assert!(
        told && ended.code == Some(code) && ended.stdout.is_empty(),
        "{part}: {ended}"
    );
    assert!(ended.report.is_none() && ended.took < QUICK, "{ended}");
}

#[test]
fn an_unreachable_broker() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    drop(listener);
    for scenario in ["produce", "consume", "tail", "small", "sweep"] {
        let ended = run(&format!("{scenario} --bootstrap {address}"));
        one_sentence(
            &ended,
            1,
            &format!("{address} cannot be reached: Connection refused"),
        );
    }
    one_sentence(&run("produce --bootstrap 127.0.0.1"), 1, "127.0.0.1");
    one_sentence(&run("produce --bootstrap ,"), 1, "--bootstrap names no broker");
    one_sentence(
        &run("produce --bootstrap no-such-host.invalid:9092"),
        1,
        "no-such-host.invalid:9092",
    );
}

#[test]
fn somebody_else_answers() {
    let answers: [&[u8]; 4] = [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"",
        b"\0\0\0\x04abcd",
        b"\xff\xff\xff\xff",
    ];
    each(&answers, |answer| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let answer = answer.to_vec();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let mut asked = [0; 256];
                let read = stream.read(&mut asked).expect("a request");
                assert!(read > 0);
                // a peer that went away already has seen enough
                let _ = stream.write_all(&answer);
            }
        });
        let ended = run(&format!("produce --bootstrap {address}"));
        one_sentence(
            &ended,
            1,
            &format!("{address} does not answer as a Kafka broker does"),
        );
    });
}

#[test]
fn a_topic_that_does_not_exist() {
    let broker = broker(None);
    for scenario in ["produce", "tail"] {
        let ended = against(&broker, &format!("{scenario} --topic nowhere"));
        one_sentence(&ended, 1, "topic nowhere does not exist");
    }
}

#[test]
fn contradictory_options() {
    let cases = [
        ("produce --idempotent --acks 1", "--idempotent needs --acks all"),
        ("produce --idempotent --in-flight 6", "at most 5"),
        (
            "tail --consumers 9 --partitions 8",
            "more --consumers than --partitions",
        ),
        (
            "produce --rate max --arrivals poisson",
            "--arrivals needs a --rate",
        ),
        ("produce --record-bytes 7 --keys 3", "at least 8 --record-bytes"),
        (
            "produce --record-bytes 2000 --batch-bytes 1000",
            "no batch would hold a record",
        ),
        ("sweep --rate max", "sweep raises the rate itself"),
        ("consume --topic x", "--topic has no meaning for consume"),
        (
            "restart --bootstrap x:1",
            "--bootstrap has no meaning for restart",
        ),
        ("produce --sink --topic x", "--sink has none"),
        ("produce --seconds 0", "--seconds is from"),
        ("partitions --steps 0", "--steps"),
        ("versus", "versus what?"),
        ("versus kafka --a true", "both say what A is"),
        ("versus --a true --b true --rounds 0", "--rounds is from 1"),
        (
            "versus --a true --b true --bootstrap x:1",
            "--bootstrap has no meaning",
        ),
    ];
    each(&cases, |(line, part)| {
        // nobody listens there: what makes no sense is said before anybody is asked
        one_sentence(&run(line), 2, part);
    });
    for line in [
        "produce --acks 2",
        "produce --rate fast",
        "produce --rate 0",
        "conquer",
        "",
    ] {
        let ended = run(line);
        assert!(ended.code == Some(2) && ended.report.is_none(), "{ended}");
    }
}

#[test]
fn a_rate_the_client_cannot_reach() {
    let line =
        "produce --sink --rate 1e9 --seconds 1 --warmup-seconds 0 --record-bytes 100 --drain-seconds 1";
    let ended = run(line);
    assert_eq!(ended.code, Some(0), "{ended}");
    let warnings = &ended.report().warnings;
    let achieved = ended.step().produced.as_ref().expect("a flow").records_per_s;
    let said = |part: &str| warnings.iter().any(|warning| warning.contains(part));
    assert!(achieved > 0.0 && achieved < 1e9, "{ended}");
    assert!(said("client-bound"), "{ended}");
    assert!(said("1,000,000,000 records/s were asked for and "), "{ended}");
    let schedule = ended.step().schedule.as_ref().expect("a schedule");
    // every record of the schedule is accounted for, sent or not
    assert!((schedule.intended as f64 - 1e9).abs() < 1e3, "{ended}");
    assert_eq!(ended.step().latencies["ack"].count, schedule.intended, "{ended}");
    assert!(
        ended.step().produced.as_ref().expect("a flow").errors.is_empty(),
        "{ended}"
    );
    assert!(ended.took < QUICK, "{ended}");
}

/// Starts `line` against `broker` and, once so many records came in, does `then`.
fn disturb(broker: Sink, line: &str, records: u64, then: impl FnOnce(Sink, u32)) -> Ended {
    let folder = directory();
    let json = folder.path().join("report.json");
    let begun = Instant::now();
    let address = broker.address();
    let more = arguments(folder.path(), &json);
    let child = tool(&format!("{line} --bootstrap {address}{more}"))
        .spawn()
        .expect("the tool starts");
    wait_until("records", || broker.counts().records >= records);
    then(broker, child.id());
    let output = child.wait_with_output().expect("it ends");
    Ended::new(output, &json, begun)
}

#[test]
fn a_broker_that_dies() {
    each(
        &["produce", "tail --drain-seconds 1", "produce --rate 500000"],
        |line| {
            let line = match line.contains("--rate") {
                true => format!("{line} --seconds 1.5 --warmup-seconds 0"),
                false => format!("{line} --rate 2000 --seconds 1.5 --warmup-seconds 0"),
            };
            let ended = disturb(broker(None), &line, 500, |broker, _| drop(broker));
            assert_eq!(ended.code, Some(1), "{ended}");
            let gone = ended
                .step()
                .events
                .iter()
                .find(|event| event.what.starts_with("the broker stopped answering"));
            assert!(
                gone.is_some_and(|gone| gone.at_s > -0.1 && gone.at_s < 1.6),
                "{ended}"
            );
            let ledger = ended.ledger();
            assert!(!ledger.passed && !ledger.checked, "{ended}");
            assert!(ended.stdout.contains("could not be read back"), "{ended}");
            assert!(ended.took < QUICK, "{ended}");
        },
    );
}

#[test]
fn an_interrupt_ends_a_run_early_with_its_report() {
    each(
        &[
            "produce --rate 2000",
            "tail --rate 2000",
            "produce --rate 0.2 --producers 1",
            "produce",
        ],
        |line| {
            let line = format!("{line} --seconds 600 --warmup-seconds 0 --record-bytes 100");
            let interrupt = |sink: Sink, tool: u32| {
                let pid = Pid::from_raw(tool as i32).expect("a process id");
                kill_process(pid, Signal::INT).expect("it runs");
                // the broker lives on, for what was acknowledged is read back
                std::mem::forget(sink);
            };
            // a lane that sleeps for seconds until its next record is woken too
            let records = if line.contains("0.2 ") { 1 } else { 500 };
            let ended = disturb(broker(None), &line, records, interrupt);
            let ledger = ended.passed().ledger();
            assert_eq!(ledger.lost, 0, "{ended}");
            let report = ended.report();
            assert!(
                report
                    .warnings
                    .iter()
                    .any(|warning| warning.contains("interrupted")),
                "{ended}"
            );
            let step = ended.step();
            assert!(step.seconds < 60.0 && ended.took < QUICK, "{ended}");
            let produced = step.produced.as_ref().expect("a flow");
            let rate = produced.records as f64 / step.seconds;
            assert!((produced.records_per_s / rate - 1.0).abs() < 0.01, "{ended}");
            if let Some(schedule) = &step.schedule {
                let intended = schedule.intended as f64 / step.seconds;
                assert!(intended < 2400.0, "{intended} records/s were intended\n{ended}");
            }
        },
    );
}

#[test]
fn a_report_that_cannot_be_written() {
    let broker = broker(None);
    let before = broker.counts().records;
    let folder = directory();
    for flag in ["json", "html", "hlog"] {
        let path = folder.path().join("nowhere").join("report");
        let line = format!(
            "produce --rate 1000 --seconds 0.2 --warmup-seconds 0 --pid none --dir {} --bootstrap {} --{flag} {}",
            folder.path().display(),
            broker.address(),
            path.display()
        );
        let output = tool(&line).output().expect("the tool starts");
        let ended = Ended::new(output, &path, Instant::now());
        one_sentence(&ended, 1, &path.display().to_string());
    }
    assert_eq!(broker.counts().records, before, "said before the load, not after");
}

fn compare(base: &Path, new: &Path, rules: &str) -> Ended {
    let begun = Instant::now();
    let line = format!("compare {} {} {rules}", base.display(), new.display());
    let output = tool(&line).output().expect("the tool starts");
    Ended::new(output, Path::new("/nonexistent"), begun)
}

#[test]
fn reports_that_are_none() {
    let broker = broker(None);
    let folder = directory();
    let good = folder.path().join("good.json");
    let line = format!(
        "produce --rate 2000 --record-bytes 100 --seconds 0.5 --warmup-seconds 0 --bootstrap {}{}",
        broker.address(),
        arguments(folder.path(), &good)
    );
    assert!(tool(&line).status().expect("the tool starts").success());
    let text = std::fs::read_to_string(&good).expect("a report");
    let bad = [
        folder.path().join("missing.json"),
        folder.path().to_path_buf(),
        file(&folder, "empty.json", ""),
        file(&folder, "cut.json", &text[..text.len() / 2]),
        file(&folder, "foreign.json", "{\"benchmark\": 1}"),
        file(&folder, "array.json", "[1, 2]"),
        file(&folder, "text.json", "no report at all"),
        file(
            &folder,
            "newer.json",
            &text.replace("ringlog-bench/1", "ringlog-bench/9"),
        ),
    ];
    for path in &bad {
        for (base, new) in [(path, &good), (&good, path)] {
            one_sentence(
                &compare(base, new, "--fail p99>5%"),
                1,
                &path.display().to_string(),
            );
        }
    }
    for rule in ["p99", "p99>5", "p99=5%", ">5%", "p99>-5%", "p99>NaN%"] {
        let ended = compare(&good, &good, &format!("--fail {rule}"));
        assert_eq!(ended.code, Some(2), "{rule}: {ended}");
    }
    one_sentence(
        &compare(&good, &good, "--fail p99.x>5%"),
        1,
        "neither report has the figure \"p99.x\"",
    );
    for rule in ["p99>0%", "records_per_s<0%", "ack.p99.9>100%"] {
        let ended = compare(&good, &good, &format!("--fail {rule}"));
        assert_eq!(ended.code, Some(0), "{rule}: {ended}");
    }
}

#[test]
fn a_rule_that_fails() {
    let broker = broker(None);
    let base = against(&broker, "produce --rate 1000 --seconds 0.3");
    let mut new = base.passed().report().clone();
    let produced = new.sides[0].runs[0].steps[0].produced.as_mut().expect("a flow");
    produced.records_per_s *= 0.75;
    let folder = directory();
    let [base_json, new_json] = ["base.json", "new.json"].map(|name| folder.path().join(name));
    write_json(&base_json, base.report()).expect("written");
    write_json(&new_json, &new).expect("written");
    let ended = compare(&base_json, &new_json, "--fail records_per_s<20%");
    assert!(
        ended.code == Some(1) && ended.stdout.contains("records_per_s<20%"),
        "{ended}"
    );
    let both = "--fail p99>5% --fail records_per_s<20%";
    assert_eq!(compare(&base_json, &new_json, both).code, Some(1));
    assert_eq!(
        compare(&base_json, &new_json, "--fail records_per_s<30%").code,
        Some(0)
    );
    assert_eq!(compare(&base_json, &new_json, "").code, Some(0));
}

/// Whether a process is gone, or dead and waiting for whoever adopted it.
fn is_gone(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.map_or(true, |stat| stat.contains(") Z "))
}

#[test]
fn a_broker_that_does_not_start() {
    let folder = directory();
    let script = file(
        &folder,
        "broker.sh",
        "sleep 600 & echo $! > \"$1/child\"\necho one line\necho no licence found\nexit 3\n",
    );
    let child = folder.path().join("child");
    let begun = Instant::now();
    let json = folder.path().join("report.json");
    let command = format!("sh {} {}", script.display(), folder.path().display());
    let output = tool(&format!(
        "versus --condition-mib 0{}",
        arguments(&folder.path().join("data"), &json)
    ))
    .args(["--a", &command, "--b", &command])
    .output()
    .expect("the tool starts");
    let ended = Ended::new(output, &json, begun);
    assert!(
        ended.code == Some(1) && ended.report.is_none() && ended.took < QUICK,
        "{ended}"
    );
    assert!(
        ended
            .stderr
            .starts_with("ringlog-bench: `sh` ended before it answered"),
        "{ended}"
    );
    assert!(ended.stderr.contains("one line\nno licence found"), "{ended}");
    let child = std::fs::read_to_string(child).expect("its child's id");
    let child = Pid::from_raw(child.trim().parse().expect("a number")).expect("a process id");
    wait_until("the end of its child", || is_gone(child));
}

#[test]
fn the_hlog_holds_what_the_report_holds() {
    let broker = broker(None);
    let folder = directory();
    let hlog = folder.path().join("run.hlog");
    let line = format!("tail --rate 2000 --seconds 1.2 --hlog {}", hlog.display());
    let ended = against(&broker, &line);
    let bytes = std::fs::read(&hlog).expect("a log");
    let mut counts = std::collections::BTreeMap::<String, (u64, u64)>::new();
    let mut last_s = 0.0;
    for entry in IntervalLogIterator::new(&bytes) {
        let LogEntry::Interval(interval) = entry.expect("an entry") else {
            continue;
        };
        let encoded = base64::Engine::decode(
            &base64::engine::general_purpose::STANDARD,
            interval.encoded_histogram(),
        );
        let histogram: hdrhistogram::Histogram<u64> = Deserializer::new()
            .deserialize(&mut &encoded.expect("base64")[..])
            .expect("a histogram");
        let tag = interval.tag().expect("a tag").as_str().to_owned();
        let (count, max) = counts.entry(tag).or_default();
        *count += histogram.len();
        *max = (*max).max(histogram.max());
        let start_s = interval.start_timestamp().as_secs_f64();
        assert!(
            start_s >= last_s && start_s < ended.took.as_secs_f64(),
            "{start_s}"
        );
        last_s = start_s;
    }
    let step = ended.passed().step();
    for (name, latency) in &step.latencies {
        let found = counts.remove(&format!("2_000_s.{name}"));
        let expected = Some((latency.count, (latency.max_us * 1e3).round() as u64));
        assert_eq!(found, expected, "{name}: {ended}");
    }
    // and nothing else, but for the reading back
    assert!(counts.keys().all(|tag| tag.starts_with("reading")), "{counts:?}");
}
