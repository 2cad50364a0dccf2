//! A day in half a minute: whatever is asked of topics whose data ends, by time, by size and by being overwritten, the real broker's answers are among
//! those that the load generator's model allows.

use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, MetadataRequest};
use kafka_protocol::protocol::StrBytes;
use ringlog_bench::cli::day::DayFlags;
use ringlog_bench::cli::flags::{Pid, ScenarioFlags};
use ringlog_bench::error::Error;
use ringlog_bench::load::codec::Codec;
use ringlog_bench::load::schedule::Arrivals;
use ringlog_bench::load::settings::{Rate, Settings};
use ringlog_bench::load::tally::Tally;
use ringlog_bench::load::thread::Live;
use ringlog_bench::report::model::{LedgerResult, Step};
use ringlog_bench::scenario::{self, Console, Context, Scenario, Target};
use ringlog_tests::broker::Builder;
use ringlog_tests::raw::Connection;
use ringlog_tests::{Broker, code};

/// A day in which what is late is found to be.
const SECONDS: f64 = 30.0;
/// One for what shows sooner.
const SHORT_SECONDS: f64 = 12.0;
/// When somebody meddles with a topic.
const MEDDLE_AT_S: f64 = 4.0;

/// Changes the retention.ms of one of the topics behind the load generator's back, or nothing.
struct Meddler {
    broker: String,
    retention_ms: Option<&'static str>,
}

impl Meddler {
    fn meddle(&self, retention_ms: &str) {
        let mut connection = Connection::open(&self.broker);
        let all = connection
            .call(9, &MetadataRequest::default().with_topics(None))
            .topics;
        let mut names = all.iter().filter_map(|topic| topic.name.as_ref());
        let topic = names.find(|name| name.ends_with("-time") && !name.contains("compacted"));
        let config = AlterableConfig::default()
            .with_name(StrBytes::from_static_str("retention.ms"))
            .with_config_operation(0)
            .with_value(Some(StrBytes::from_string(retention_ms.to_owned())));
        let resource = AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(topic.expect("a topic by time").0.clone())
            .with_configs(vec![config]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        let answer = connection.call(1, &request);
        assert_eq!(answer.responses[0].error_code, code::NONE);
    }
}

impl Console for Meddler {
    fn begin(&mut self, _what: &str, _seconds: Option<f64>, _records: Option<u64>) {}

    fn progress(&mut self, at_s: f64, _live: &Live) {
        if let Some(retention_ms) = self.retention_ms.filter(|_| at_s >= MEDDLE_AT_S) {
            self.meddle(retention_ms);
            self.retention_ms = None;
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

fn settings(seconds: f64) -> Settings {
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
        seconds,
        warmup_seconds: 0.0,
        drain_seconds: 30.0,
        acks: -1,
        codec: Codec::None,
        keys: 200,
        idempotent: false,
        threads: 1,
    }
}

/// A broker that looks at its logs five times a second.
fn looking() -> Builder {
    Broker::own()
        .set("log.retention.check.interval.ms", 200)
        .set("log.initial.task.delay.ms", 0)
        .set("log.cleaner.backoff.ms", 200)
}

fn day(
    broker: &Broker,
    seconds: f64,
    slack_seconds: Option<f64>,
    meddled_ms: Option<&'static str>,
) -> Result<Step, Error> {
    let mut console = Meddler {
        broker: broker.bootstrap().to_owned(),
        retention_ms: meddled_ms,
    };
    let day = DayFlags {
        slack_seconds,
        ..DayFlags::default()
    };
    let mut context = Context {
        scenario: Scenario::Day,
        settings: settings(seconds),
        flags: ScenarioFlags {
            day,
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
    let Some(broker) = looking().start() else {
        return;
    };
    let step = day(&broker, SECONDS, None, None).expect("the day runs");
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

/// A day in which a topic by time keeps its records for another time than it promised.
fn meddled(slack_seconds: f64, retention_ms: &'static str) -> Option<LedgerResult> {
    let broker = looking().start()?;
    let step = day(&broker, SHORT_SECONDS, Some(slack_seconds), Some(retention_ms)).expect("the day runs");
    let ledger = step.ledger.expect("a ledger");
    assert!(ledger.checked && !ledger.passed, "{ledger:#?}");
    Some(ledger)
}

#[test]
fn a_broker_that_deletes_too_early_is_found_out() {
    let Some(ledger) = meddled(60.0, "1") else {
        return;
    };
    assert!(
        ledger.lost > 0 && ledger.corrupt + ledger.overstayed == 0,
        "{ledger:#?}"
    );
    assert!(
        ledger.notes.iter().any(|note| note.starts_with("time-0: ")),
        "{ledger:#?}"
    );
}

#[test]
fn a_broker_that_deletes_too_late_is_found_out() {
    let Some(ledger) = meddled(3.0, "-1") else {
        return;
    };
    assert!(
        ledger.overstayed > 0 && ledger.corrupt + ledger.lost == 0,
        "{ledger:#?}"
    );
    assert!(
        ledger.notes.iter().any(|note| note.starts_with("time-0: ")),
        "{ledger:#?}"
    );
}

#[test]
fn a_broker_that_looks_for_old_segments_too_seldom_is_refused_with_what_it_needs() {
    let Some(broker) = Broker::own().start() else {
        return;
    };
    let refused = day(&broker, SECONDS, None, None)
        .expect_err("five minutes are too long")
        .to_string();
    assert!(refused.contains("log.retention.check.interval.ms="), "{refused}");
}
