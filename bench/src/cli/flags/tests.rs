//! Contradictions are refused with a sentence, defaults are sensible.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    flags: Flags,
}

fn settings(scenario: Scenario, line: &str) -> Result<Settings, Error> {
    let words = std::iter::once("x").chain(line.split_whitespace());
    let line = Line::try_parse_from(words).map_err(|e| Error::usage(e.to_string()))?;
    line.flags.settings(scenario)
}

#[test]
fn every_scenario_has_defaults_that_hold() {
    for scenario in <Scenario as clap::ValueEnum>::value_variants() {
        assert!(settings(*scenario, "").is_ok(), "{}", scenario.name());
    }
    let small = settings(Scenario::Small, "").expect("defaults");
    assert_eq!(
        (small.record_bytes, small.producers, small.keys),
        (100, 100, 10_000)
    );
    let transactions = settings(Scenario::Transactions, "--partitions 1").expect("defaults");
    assert_eq!((transactions.producers, transactions.batch_records), (16, 1));
    assert_eq!(
        settings(Scenario::Tail, "--partitions 1")
            .expect("defaults")
            .consumers,
        1
    );
}

#[test]
fn contradictions_are_usage_errors() {
    let contradictions = [
        (Scenario::Produce, "--idempotent --acks 1"),
        (Scenario::Produce, "--idempotent --in-flight 6"),
        (Scenario::Produce, "--record-bytes 70000"),
        (Scenario::Produce, "--rate max --arrivals poisson"),
        (Scenario::Tail, "--partitions 2 --consumers 3"),
        (Scenario::Tail, "--sink"),
        (Scenario::Produce, "--sink --topic t"),
        (Scenario::Sweep, "--rate max"),
        (Scenario::Produce, "--limit-ms 5"),
        (Scenario::Consume, "--rate 100"),
        (Scenario::Connections, "--producers 5"),
        (Scenario::Restart, "--bootstrap 127.0.0.1:9092"),
        (Scenario::Small, "--record-bytes 7"),
        (Scenario::Groups, "--members 5"),
        (Scenario::Day, "--rate max"),
        (Scenario::Day, "--turns 2"),
        (Scenario::Day, "--topic-config retention.ms=5"),
        (Scenario::Day, "--acks 1"),
        (Scenario::Day, "--slack-seconds -1"),
        (Scenario::Cleaning, "--turns 0"),
        (Scenario::Steady, "--lookup-rate 5"),
        (Scenario::Storm, "--members 1"),
        (
            Scenario::Storm,
            "--members 30000 --groups 10000 --storm-rate 1000000",
        ),
        (Scenario::Storm, "--members 1000 --storm-rate 100"),
        (Scenario::Storm, "--churn 0"),
        (Scenario::Storm, "--rate max"),
        (Scenario::Overload, "--rate max"),
        (Scenario::Overload, "--flood-factor 0"),
        (Scenario::Overload, "--flood-connections 0"),
        (Scenario::Storm, "--flood-factor 3"),
        (Scenario::Groups, "--txn-version 1"),
        (Scenario::Transactions, "--txn-version 3"),
        (Scenario::Transactions, "--txn-partitions 9"),
        (Scenario::Transactions, "--txn-partitions 0"),
        (Scenario::Transactions, "--abort-percent 101"),
        (Scenario::Transactions, "--txn-retry-ms 0"),
        (Scenario::Transactions, "--txn-rate 0"),
        (Scenario::Transactions, "--acks 1"),
        (Scenario::Transactions, "--rate 100"),
        (Scenario::Produce, "--rate -5"),
        (Scenario::Produce, "--rate NaN"),
        (Scenario::Produce, "--acks 2"),
        (Scenario::Produce, "--seconds 0"),
        (Scenario::Produce, "--partitions 0"),
        (Scenario::Produce, "--linger-ms -1"),
        (Scenario::Produce, "--codec brotli"),
    ];
    for (scenario, line) in contradictions {
        assert!(
            matches!(settings(scenario, line), Err(Error::Usage(_))),
            "{} {line}",
            scenario.name()
        );
    }
}

#[test]
fn the_help_names_every_default_it_promises() {
    use clap::CommandFactory;
    let help = Line::command().render_long_help().to_string();
    for flag in [
        "--bootstrap",
        "--linger-ms",
        "--in-flight",
        "--warmup-seconds",
        "--hlog",
        "--pid",
    ] {
        assert!(help.contains(flag), "{flag}");
    }
}
