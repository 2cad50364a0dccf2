//! The scenarios that durable and flat are shown with: one record a request, a log that keeps its size, lookups at random.

mod common;

use common::{against, broker, one_sentence, run};
use ringlog_bench::sink::Fault;

#[test]
fn one_record_of_one_partition_a_request_when_asked_for() {
    let broker = broker(None);
    let line = "small --producers 8 --partitions 16 --keys 200 --in-flight 1 --records-per-batch 1";
    for rate in ["max", "2000"] {
        let ended = against(&broker, &format!("{line} --rate {rate} --linger-ms 0"));
        let produced = ended.passed().step().produced.clone().expect("a flow");
        assert!(produced.records > 100, "{ended}");
        assert_eq!(produced.requests, produced.records, "{ended}");
    }
    let counts = broker.counts();
    assert_eq!(counts.batches, counts.records);
}

#[test]
fn many_small_requests_in_flight_are_all_accounted_for() {
    let broker = broker(None);
    for flags in ["", "--idempotent --in-flight 5", "--acks 1"] {
        let in_flight = if flags.contains("in-flight") {
            ""
        } else {
            "--in-flight 10"
        };
        let line = "produce --producers 3 --partitions 2 --record-bytes 200 --batch-bytes 200 --rate max";
        let ended = against(&broker, &format!("{line} {in_flight} {flags}"));
        let step = ended.passed().step();
        let produced = step.produced.as_ref().expect("a flow");
        assert!(produced.errors.is_empty() && produced.requests > 100, "{ended}");
        let machine = step.machine.as_ref().expect("/proc/stat");
        assert!(machine.us_per_request.is_some_and(|us| us >= 0.0), "{ended}");
        assert!(ended.stdout.contains("machine less the client"), "{ended}");
    }
}

/// 2.5 seconds of 2,000 records/s of which a MiB is kept.
const STEADY: &str = "steady --rate 2000 --partitions 2 --keep-mib 1 --fill-mib 2 --seconds 2.5";

#[test]
fn a_steady_log_is_read_before_it_is_deleted_and_by_a_cold_reader_too() {
    let broker = broker(None);
    let ended = against(&broker, &format!("{STEADY} --neighbours 1 --cold-mib-per-s 20"));
    let step = ended.passed().step();
    let deleted_mib = step.figures["deleted_mib"];
    assert!(deleted_mib > 2.0 && deleted_mib < 8.0, "{deleted_mib}\n{ended}");
    let cold = step.cold.as_ref().expect("a cold reader");
    assert!(cold.records > 0 && cold.mib_per_s < 30.0, "{ended}");
    assert!(step.events.is_empty() && step.machine.is_none(), "{ended}");
    let worst = step.latencies["end_to_end"].worst_second.as_ref();
    assert!(worst.is_some_and(|worst| worst.count > 0), "{ended}");
    assert!(ended.stdout.contains("worst second: "), "{ended}");
}

#[test]
fn a_record_that_no_tailing_consumer_saw_is_lost() {
    let broker = broker(Some(Fault::Drop { every: 211 }));
    let ended = against(&broker, &STEADY.replace("--fill-mib 2", "--fill-mib 0"));
    assert!(ended.failed().ledger().lost > 0, "{ended}");
}

#[test]
fn lookups_bring_what_was_written_there() {
    let broker = broker(None);
    let load = format!(
        "--partitions 3 --batch-bytes 4096 --lookups 300 --bootstrap {}",
        broker.address()
    );
    let ended = run(&format!("lookup --steps 1,3 {load}"));
    let steps = &ended.passed().report().sides[0].runs[0].steps;
    let sizes: Vec<_> = steps
        .iter()
        .map(|step| (step.x, step.latencies["fetch"].count))
        .collect();
    assert_eq!(sizes, [(1_048_576.0, 300), (3_145_728.0, 300)], "{ended}");
    assert!(
        steps.iter().all(|step| step.figures["log_bytes"] >= step.x),
        "{ended}"
    );
}

#[test]
fn a_lookup_that_brings_something_else_fails() {
    let broker = broker(Some(Fault::FlipBit { every: 3 }));
    let load = format!("--partitions 1 --lookups 100 --bootstrap {}", broker.address());
    let ended = run(&format!("lookup --steps 1 {load}"));
    let ledger = ended.failed().ledger();
    assert!(ledger.lost > 0 && ledger.verified > 0, "{ended}");
}

#[test]
fn a_storm_needs_a_broker_that_has_groups() {
    let broker = broker(None);
    let ended = against(&broker, "storm --rate 1000 --members 5 --groups 1");
    let steps = &ended.report().sides[0].runs[0].steps;
    assert!(ended.code == Some(1) && steps.len() == 1, "{ended}");
    assert!(
        ended.stdout.contains("the broker does not serve FindCoordinator"),
        "{ended}"
    );
    assert_eq!(ended.report().load["churn"], "1", "{ended}");
}

#[test]
fn transactions_need_a_broker_that_has_them() {
    let broker = broker(None);
    let ended = against(&broker, "transactions --abort-percent 5");
    assert_eq!(ended.code, Some(1), "{ended}");
    assert!(
        ended.stderr.contains("the broker does not serve EndTxn"),
        "{ended}"
    );
    let ended = run("transactions --txn-partitions 9");
    one_sentence(&ended, 2, "--txn-partitions is from 1 to --partitions");
    let ended = run("versus --a true --kafka-config a=b");
    one_sentence(&ended, 2, "--kafka-config is for `versus kafka`");
}

#[test]
fn a_topics_settings_are_passed_on_and_reported() {
    let broker = broker(None);
    let ended = against(
        &broker,
        "produce --rate 1000 --topic-config segment.bytes=1048576 --topic-config flush.messages=1",
    );
    let load = &ended.passed().report().load;
    assert_eq!(load["topic-config"], "segment.bytes=1048576 flush.messages=1");
    let ended = run("produce --topic-config segment.bytes");
    assert!(
        ended.code == Some(2) && ended.stderr.contains("as in segment.bytes="),
        "{ended}"
    );
    let ended = run("produce --topic t --topic-config a=b --bootstrap 127.0.0.1:1");
    one_sentence(&ended, 2, "--topic-config is for a topic that is made");
}

#[test]
fn a_log_that_does_not_fit_the_disk_is_refused_before_it_is_written() {
    let ended = run("restart --steps 1000000000 --start true");
    one_sentence(&ended, 2, "a log of 1000000000 MiB needs");
}
