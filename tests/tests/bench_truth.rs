//! The load generator against the real broker: a process that is stopped for a tenth of a second is seen as an open loop must see it.

use std::time::{Duration, Instant};

use ringlog_bench::cli::flags::{Pid, ScenarioFlags};
use ringlog_bench::cli::storm::StormFlags;
use ringlog_bench::cli::transactions::TransactionFlags;
use ringlog_bench::client::transactions::TransactionVersion;
use ringlog_bench::error::Error;
use ringlog_bench::load::codec::Codec;
use ringlog_bench::load::schedule::Arrivals;
use ringlog_bench::load::settings::{Rate, Settings};
use ringlog_bench::load::tally::Tally;
use ringlog_bench::load::thread::Live;
use ringlog_bench::report::latency::decode;
use ringlog_bench::report::model::{Latency, Step};
use ringlog_bench::scenario::storm::Protocol;
use ringlog_bench::scenario::{self, Console, Context, Scenario, Target};
use ringlog_tests::Broker;
use rustix::process::{Signal, kill_process};

const RATE: f64 = 2000.0;
const SECONDS: f64 = 2.0;
/// When the broker is stopped, in seconds of the measurement, and for how long at least.
const STOP_AT_S: f64 = 0.8;
const STOP: Duration = Duration::from_millis(100);

/// Stops the broker in the middle of the measurement and lets it go on; the load calls it every 50 ms.
struct Stopper {
    broker: Option<rustix::process::Pid>,
    stopped: Option<Instant>,
    /// How long the broker stood still, at least.
    stood_still: Duration,
}

impl Stopper {
    /// Stops process `broker`, or nobody.
    fn new(broker: Option<u32>) -> Stopper {
        Stopper {
            broker: broker.and_then(|pid| rustix::process::Pid::from_raw(pid as i32)),
            stopped: None,
            stood_still: Duration::ZERO,
        }
    }
}

impl Console for Stopper {
    fn begin(&mut self, _what: &str, _seconds: Option<f64>, _records: Option<u64>) {}

    fn progress(&mut self, at_s: f64, _live: &Live) {
        let (Some(broker), Duration::ZERO) = (self.broker, self.stood_still) else {
            return;
        };
        match self.stopped {
            None if at_s >= STOP_AT_S => {
                kill_process(broker, Signal::STOP).expect("the broker runs");
                self.stopped = Some(Instant::now());
            }
            Some(stopped) if stopped.elapsed() >= STOP => {
                self.stood_still = stopped.elapsed();
                kill_process(broker, Signal::CONT).expect("the broker is there");
            }
            _ => {}
        }
    }

    fn end(&mut self) {}

    fn interrupted(&self) -> bool {
        false
    }

    fn keeps_seconds(&self) -> bool {
        false
    }

    fn seconds(&mut self, _label: &str, _tally: &Tally) -> Result<(), Error> {
        Ok(())
    }
}

fn settings() -> Settings {
    Settings {
        partitions: 4,
        producers: 2,
        consumers: 1,
        record_bytes: 100,
        batch_bytes: 16 << 10,
        batch_records: 0,
        linger_ns: 1_000_000,
        in_flight: 5,
        rate: Rate::PerSecond(RATE),
        arrivals: Arrivals::Constant,
        seconds: SECONDS,
        warmup_seconds: 0.5,
        drain_seconds: 30.0,
        acks: -1,
        codec: Codec::None,
        keys: 0,
        idempotent: false,
        threads: 1,
    }
}

/// Produces and consumes; the step, after its ledger passed.
fn tail(broker: &Broker, stopper: &mut Stopper) -> Step {
    let mut steps = run(broker, Scenario::Tail, ScenarioFlags::default(), stopper);
    steps.pop().expect("a step")
}

/// All steps of a scenario, after the last one's ledger passed.
fn run(broker: &Broker, scenario: Scenario, flags: ScenarioFlags, stopper: &mut Stopper) -> Vec<Step> {
    let mut context = Context {
        scenario,
        settings: settings(),
        flags,
        topic: None,
        topic_configs: Vec::new(),
        stated_partitions: false,
        target: Target::running(broker.bootstrap(), Pid::None),
        directory: broker.data().to_path_buf(),
        console: stopper,
    };
    let mut steps = Vec::new();
    scenario::run(&mut context, &mut steps).expect("the load runs");
    let ledger = steps.last().and_then(|step| step.ledger.as_ref());
    let ledger = ledger.expect("a step with a ledger");
    assert!(ledger.passed && ledger.verified > 0, "{ledger:?}");
    steps
}

/// Values of at least `from_s`.
fn at_least(latency: &Latency, from_s: f64) -> f64 {
    let histogram = decode(latency).expect("a histogram");
    histogram.count_between((from_s * 1e9) as u64, histogram.high()) as f64
}

/// Of the records due while the broker stood still the first waited all of it, and one in two more than half.
fn shows(name: &str, latency: &Latency, stood_still: Duration) {
    let stop_s = stood_still.as_secs_f64();
    let us = stop_s * 1e6;
    let figures = (latency.p99_us, latency.p999_us, latency.max_us);
    assert_eq!(latency.count as f64, RATE * SECONDS, "{name}");
    assert!(latency.max_us > 0.95 * us, "{name}: {figures:?} in {us} us");
    assert!(latency.p999_us > 0.9 * us, "{name}: {figures:?} in {us} us");
    assert!(latency.p99_us > 0.7 * us, "{name}: {figures:?} in {us} us");
    let (long, expected) = (at_least(latency, stop_s / 2.0), RATE * stop_s / 2.0);
    assert!(
        long > 0.66 * expected && long < 2.0 * expected,
        "{name}: {long} records waited half of the stop, expected {expected}"
    );
}

#[test]
fn a_stopped_broker_is_in_the_latency_of_every_record_due_meanwhile() {
    let Some(broker) = Broker::own().start() else {
        return;
    };
    let smooth = tail(&broker, &mut Stopper::new(None));
    let mut stopper = Stopper::new(Some(broker.pid()));
    let stopped = tail(&broker, &mut stopper);
    let stood_still = stopper.stood_still;
    assert!(stood_still >= STOP, "it was stopped");
    for name in ["ack", "end_to_end"] {
        let latency = &stopped.latencies[name];
        shows(name, latency, stood_still);
        let half_s = stood_still.as_secs_f64() / 2.0;
        let without = at_least(&smooth.latencies[name], half_s);
        assert!(
            2.0 * without < at_least(latency, half_s),
            "{name}: {without} without a stop"
        );
    }
    // A closed loop has only what it had sent before: the requests in flight.
    let half_s = stood_still.as_secs_f64() / 2.0;
    let closed = at_least(&stopped.latencies["ack_service"], half_s);
    assert!(
        2.0 * closed < at_least(&stopped.latencies["ack"], half_s),
        "{closed} in a closed loop"
    );
}

#[test]
fn the_broker_s_own_account_of_the_measurement_is_in_the_step() {
    let Some(broker) = Broker::own().start() else {
        return;
    };
    let step = tail(&broker, &mut Stopper::new(None));
    let inside = step.inside.as_ref().expect("a Ringlog tells");
    let stage = |name: &str| inside.stages.iter().find(|stage| stage.name == name).expect(name);
    // Only what lies between two looks: the looks are up to 50 ms off, the warm-up is four times that.
    let seconds = inside.seconds;
    assert!((SECONDS - 0.2..SECONDS + 10.0).contains(&seconds), "{seconds}");
    let (commit, total) = (stage("commit"), stage("total"));
    assert!(commit.count > 0 && total.count > 0 && total.mean_us >= stage("frame").mean_us);
    let appends = inside.counters["appends"];
    // What was on its way at the first look is committed after it.
    let on_the_way = settings().producers as u64 * settings().in_flight as u64;
    assert!(commit.count <= appends + on_the_way, "{} {appends}", commit.count);
    assert!(appends <= 2 * RATE as u64 * seconds.ceil() as u64, "{appends}");
    assert!(inside.counters["enters"] > 0 && inside.counters["requests"] > 0);
    assert!(
        inside
            .cores
            .iter()
            .all(|core| core.cpu_s > 0.0 && core.cpu_s <= core.seconds)
    );
    let read = inside.counters["read_bytes"];
    assert!(
        read > step.produced.as_ref().expect("records").bytes / 2,
        "{read}"
    );
}

#[test]
fn in_a_storm_groups_never_rest() {
    let Some(broker) = Broker::own().set("group.initial.rebalance.delay.ms", 100).start() else {
        return;
    };
    for protocol in [Protocol::Classic, Protocol::Consumer] {
        let flags = ScenarioFlags {
            storm: StormFlags {
                members: Some(20),
                groups: Some(3),
                group_members: Some(2),
                storm_rate: Some(400.0),
                churn: Some(10.0),
                group_protocol: Some(protocol),
            },
            ..ScenarioFlags::default()
        };
        let steps = run(&broker, Scenario::Storm, flags, &mut Stopper::new(None));
        let [alone, storm] = &steps[..] else {
            panic!("two steps: {steps:?}")
        };
        for step in [alone, storm] {
            assert_eq!(
                step.latencies["ack"].count as f64,
                RATE * SECONDS,
                "{}",
                step.label
            );
        }
        let did = |what: &str| storm.figures[&format!("{what}_per_s")];
        assert!(!alone.figures.contains_key("joins_per_s"));
        let assigned = if protocol == Protocol::Classic {
            "syncs"
        } else {
            "heartbeats"
        };
        for what in [
            "storm_requests",
            "joins",
            "leaves",
            "heartbeats",
            "large_group_rebalances",
            "small_group_rebalances",
            assigned,
        ] {
            assert!(did(what) > 0.0, "{protocol:?}: {what}: {:?}", storm.figures);
        }
    }
}

#[test]
fn of_transactions_all_that_was_committed_is_read_and_nothing_that_was_aborted() {
    let Some(broker) = Broker::own().start() else {
        return;
    };
    for version in [TransactionVersion::One, TransactionVersion::Two] {
        let flags = ScenarioFlags {
            transactions: TransactionFlags {
                txn_version: Some(version),
                txn_partitions: Some(3),
                abort_percent: Some(30.0),
                txn_read: version == TransactionVersion::Two,
                ..TransactionFlags::default()
            },
            ..ScenarioFlags::default()
        };
        let steps = run(&broker, Scenario::Transactions, flags, &mut Stopper::new(None));
        let [step] = &steps[..] else {
            panic!("one step: {steps:?}")
        };
        let figure = |name: &str| step.figures[name];
        let (committed, aborted) = (figure("transactions_per_s"), figure("aborted_per_s"));
        // 30 of 100, within what so few of them can be off
        let share = aborted / (committed + aborted);
        assert!((0.1..0.5).contains(&share), "{version:?}: {share}");
        let ledger = step.ledger.as_ref().expect("a ledger");
        assert_eq!(
            (ledger.aborted, ledger.unacknowledged_found),
            (0, 0),
            "{ledger:?}"
        );
        let latency = |name: &str| step.latencies.get(name).filter(|latency| latency.count > 0);
        let (whole, end) = (
            latency("transaction").expect("some"),
            latency("end_txn").expect("some"),
        );
        assert!(whole.mean_us > end.mean_us, "{version:?}");
        let adds = latency("add_partitions").is_some();
        assert_eq!(adds, version == TransactionVersion::One);
        assert_eq!(latency("end_to_end").is_some(), !adds);
    }
}
