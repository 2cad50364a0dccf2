//! A broker that stands still for a while is seen as an open loop must see it: every record that was due meanwhile has waited.

mod common;

use std::sync::{Mutex, OnceLock, PoisonError};

use common::{Ended, against, broker};
use ringlog_bench::report::latency::decode;
use ringlog_bench::report::model::Latency;
use ringlog_bench::sink::Fault;

const RATE: f64 = 2000.0;
const SECONDS: f64 = 2.0;
const STALL_MS: u64 = 300;

/// One at a time, so that only the stall is long.
static ALONE: Mutex<()> = Mutex::new(());

/// A run of 4,000 records in two seconds, in which the broker stands still for 300 ms or does not.
fn run(scenario: &str, stall: bool) -> Ended {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let fault = stall.then_some(Fault::Stall {
        after_batches: 500,
        stall_ms: STALL_MS,
    });
    let broker = broker(fault);
    let load = format!("{scenario} --rate {RATE} --seconds {SECONDS} --warmup-seconds 0.2 --producers 2");
    let ended = against(&broker, &load);
    ended.passed();
    ended
}

/// Values of at least `from_ms`.
fn at_least(latency: &Latency, from_ms: u64) -> u64 {
    let histogram = decode(latency).expect("a histogram");
    histogram.count_between(from_ms * 1_000_000, histogram.high().max(histogram.max()))
}

/// The records due during the stall are an even sample of it: as many waited longer than half of it as were due in its first half.
fn shows_the_stall(latency: &Latency, ended: &Ended) {
    let share = |from_ms| at_least(latency, from_ms) as f64 / latency.count as f64;
    let whole = STALL_MS as f64 / 1000.0 / SECONDS;
    assert_eq!(latency.count, (RATE * SECONDS) as u64, "{ended}");
    assert!(latency.p99_us >= 200_000.0, "p99 {} us\n{ended}", latency.p99_us);
    assert!(
        latency.max_us >= 0.97e3 * STALL_MS as f64,
        "max {} us\n{ended}",
        latency.max_us
    );
    for (from_ms, expected) in [(75, 0.75), (150, 0.5), (225, 0.25)] {
        let (found, expected) = (share(from_ms), whole * expected);
        assert!(
            found > 0.66 * expected && found < 1.34 * expected + 0.02,
            "{found} of the records waited {from_ms} ms, expected {expected}\n{ended}"
        );
    }
}

fn latency<'a>(ended: &'a Ended, name: &str) -> &'a Latency {
    let latencies = &ended.step().latencies;
    latencies
        .get(name)
        .unwrap_or_else(|| panic!("no {name}: {ended}"))
}

/// The run that most tests look at.
fn stalled_tail() -> &'static Ended {
    static RUN: OnceLock<Ended> = OnceLock::new();
    RUN.get_or_init(|| run("tail", true))
}

/// The same load without a stall.
fn smooth_tail() -> &'static Ended {
    static RUN: OnceLock<Ended> = OnceLock::new();
    RUN.get_or_init(|| run("tail", false))
}

#[test]
fn every_record_due_during_a_stall_has_waited() {
    let ended = stalled_tail();
    shows_the_stall(latency(ended, "ack"), ended);
    shows_the_stall(latency(ended, "end_to_end"), ended);
    let schedule = ended.step().schedule.as_ref().expect("a schedule");
    assert_eq!((schedule.unsent, schedule.unanswered), (0, 0), "{ended}");
    // Those that had to wait for room did so because of the broker, and the report says so.
    let due_meanwhile = RATE * STALL_MS as f64 / 1000.0;
    assert!(schedule.late_by_broker as f64 > 0.66 * due_meanwhile, "{ended}");
}

#[test]
fn a_closed_loop_would_have_hidden_it() {
    let ended = run("produce --in-flight 1", true);
    let (open, closed) = (latency(&ended, "ack"), latency(&ended, "ack_service"));
    shows_the_stall(open, &ended);
    // what is measured of the one is due in the measurement, of the other sent in it
    assert!(open.count.abs_diff(closed.count) * 50 < open.count, "{ended}");
    let half = STALL_MS / 2;
    assert!(
        at_least(closed, half) * 5 < at_least(open, half),
        "{} of the closed loop, {} of the open\n{ended}",
        at_least(closed, half),
        at_least(open, half)
    );
}

#[test]
fn without_a_stall_there_is_none() {
    for name in ["ack", "end_to_end"] {
        let (with, without) = (latency(stalled_tail(), name), latency(smooth_tail(), name));
        let long = |latency| at_least(latency, STALL_MS / 2);
        assert!(long(without) * 4 < long(with), "{name}: {}", smooth_tail());
        assert!(without.p99_us * 2.0 < with.p99_us, "{name}: {}", smooth_tail());
    }
}

/// Every record that the schedule had is in the distribution, once.
fn is_whole(ended: &Ended, slack: f64) {
    let (step, wanted) = (ended.step(), RATE * SECONDS);
    let schedule = step.schedule.as_ref().expect("a schedule");
    let intended = schedule.intended as f64;
    assert!((intended - wanted).abs() <= slack, "{intended}\n{ended}");
    assert_eq!(latency(ended, "ack").count, schedule.intended, "{ended}");
    let produced = step.produced.as_ref().expect("a flow");
    assert_eq!(
        produced.per_second.iter().sum::<u64>(),
        produced.records,
        "{ended}"
    );
}

#[test]
fn a_schedule_is_kept_to_the_record() {
    is_whole(smooth_tail(), 0.0);
    is_whole(stalled_tail(), 0.0);
    // five standard deviations of a Poisson count
    is_whole(
        &run("produce --arrivals poisson --keys 100", false),
        5.0 * (RATE * SECONDS).sqrt(),
    );
}
