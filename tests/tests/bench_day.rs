//! A day in half a minute: whatever is asked of topics whose data ends, by time, by size and by being overwritten, the real broker's answers are among
//! those that the load generator's model allows.

use ringlog_bench::cli::day::DayFlags;
use ringlog_bench::cli::flags::{Pid, ScenarioFlags};
use ringlog_bench::error::Error;
use ringlog_bench::load::codec::Codec;
use ringlog_bench::load::schedule::Arrivals;
use ringlog_bench::load::settings::{Rate, Settings};
use ringlog_bench::load::tally::Tally;
use ringlog_bench::load::thread::Live;
use ringlog_bench::report::model::Step;
use ringlog_bench::scenario::{self, Console, Context, Scenario, Target};
use ringlog_tests::Broker;

const SECONDS: f64 = 30.0;

/// Nobody looks, and nobody interrupts.
struct Silence;

impl Console for Silence {
    fn begin(&mut self, _what: &str, _seconds: Option<f64>, _records: Option<u64>) {}

    fn progress(&mut self, _at_s: f64, _live: &Live) {}

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
        partitions: 1,
        producers: 2,
        consumers: 1,
        record_bytes: 512,
        batch_bytes: 64 << 10,
        batch_records: 20,
        linger_ns: 0,
        in_flight: 1,
        rate: Rate::PerSecond(3000.0),
        arrivals: Arrivals::Constant,
        seconds: SECONDS,
        warmup_seconds: 0.0,
        drain_seconds: 30.0,
        acks: -1,
        codec: Codec::None,
        keys: 200,
        idempotent: false,
        threads: 1,
    }
}

fn day(broker: &Broker) -> Result<Step, Error> {
    let mut console = Silence;
    let mut context = Context {
        scenario: Scenario::Day,
        settings: settings(),
        flags: ScenarioFlags {
            day: DayFlags::default(),
            ..ScenarioFlags::default()
        },
        topic: None,
        topic_configs: Vec::new(),
        stated_partitions: false,
        target: Target::running(broker.bootstrap(), Pid::None),
        directory: broker.data().to_path_buf(),
        console: &mut console,
    };
    let mut steps = Vec::new();
    scenario::run(&mut context, &mut steps)?;
    Ok(steps.pop().expect("a step"))
}

#[test]
fn a_day_in_half_a_minute_has_every_record_that_must_be_there_and_none_that_may_not() {
    let looking = Broker::own()
        .set("log.retention.check.interval.ms", 200)
        .set("log.initial.task.delay.ms", 0)
        .set("log.cleaner.backoff.ms", 200);
    let Some(broker) = looking.start() else {
        return;
    };
    let step = day(&broker).expect("the day runs");
    let ledger = step.ledger.as_ref().expect("a ledger");
    assert!(
        ledger.passed,
        "{ledger:#?}\n{:?}\n{:#?}",
        step.figures, step.events
    );
    let figure = |name: &str| step.figures[name];
    assert!(ledger.verified > ledger.acknowledged / 2, "{ledger:#?}");
    assert!(figure("deleted_by_retention") > 1000.0, "{:?}", step.figures);
    assert!(figure("lookups_per_s") > 5.0, "{:?}", step.figures);
}

#[test]
fn a_broker_that_looks_for_old_segments_too_seldom_is_refused_with_what_it_needs() {
    let Some(broker) = Broker::own().start() else {
        return;
    };
    let refused = day(&broker).expect_err("five minutes are too long").to_string();
    assert!(refused.contains("log.retention.check.interval.ms="), "{refused}");
}
