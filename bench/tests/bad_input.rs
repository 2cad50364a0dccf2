//! What goes wrong is said in a sentence, with the right exit code, and a report that was promised is written.

mod common;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Instant;

use common::{
    Ended, QUICK, against, arguments, broker, directory, each, file, one_sentence, run, tool, wait_until,
};
use ringlog_bench::sink::Sink;
use rustix::process::{Pid, Signal, kill_process};

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
            assert_eq!(ended.code, Some(1), "{ended}");
            let ledger = ended.ledger();
            assert!(ledger.passed && ledger.lost == 0, "{ended}");
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
