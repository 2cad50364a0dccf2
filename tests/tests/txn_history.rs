//! Transactional clients on a broker that is killed again and again: what they did and saw has no anomaly (see `ringlog_tests::history`).
//!
//! Each run prints its seed. A few runs, many, one again (its threads' timing is another one), and on a broker that somebody else
//! started, which is not killed, to see that Apache Kafka's histories pass, too:
//!
//! ```text
//! cargo test -p ringlog-tests --test txn_history
//! RINGLOG_TXN_RUNS=200 cargo test -p ringlog-tests --test txn_history -- --nocapture
//! RINGLOG_TXN_SEED=4711 cargo test -p ringlog-tests --test txn_history -- --nocapture
//! RINGLOG_TEST_BOOTSTRAP=127.0.0.1:9092 cargo test -p ringlog-tests --test txn_history
//! ```

use std::time::{Duration, Instant};

use ringlog_tests::Broker;
use ringlog_tests::history::run::{Plan, run};
use ringlog_tests::history::{Outcome, check};

/// How many runs; a few when it is not set.
const RUNS_VARIABLE: &str = "RINGLOG_TXN_RUNS";
/// The seed of the only run.
const SEED_VARIABLE: &str = "RINGLOG_TXN_SEED";
const FEW_RUNS: u64 = 3;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is {text}, no number")),
    )
}

fn one(seed: u64) {
    let begin = Instant::now();
    println!("seed {seed}");
    let mut broker = Broker::own()
        .cores(1 + seed as usize % 2)
        .same_port()
        .set("transaction.abort.timed.out.transaction.cleanup.interval.ms", 500)
        .set("group.initial.rebalance.delay.ms", 0)
        .or_external();
    let plan = Plan {
        seed,
        time: Duration::from_millis(2_500 + seed % 7 * 250),
        kills: 1 + seed as usize % 3,
    };
    let history = run(&mut broker, plan);
    let ended = |wanted| {
        let transactions = history.transactions.iter();
        transactions.filter(|one| one.outcome == wanted).count()
    };
    println!(
        "seed {seed}: {} transactions committed, {} aborted, {} unknown; {} records in the end, {} polled; {:.1} s",
        ended(Outcome::Committed),
        ended(Outcome::Aborted),
        ended(Outcome::Unknown),
        history.finals.values().map(Vec::len).sum::<usize>(),
        history.polls.len(),
        begin.elapsed().as_secs_f64()
    );
    assert!(
        ended(Outcome::Committed) > 0,
        "seed {seed}: nothing was committed"
    );
    let found = check(&history);
    assert!(
        found.is_empty(),
        "seed {seed}: {} anomalies: {:#?}",
        found.len(),
        &found[..found.len().min(10)]
    );
}

#[test]
fn no_anomaly_in_what_transactional_clients_see() {
    if let Some(seed) = number(SEED_VARIABLE) {
        one(seed);
        return;
    }
    let clock = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("a clock after 1970");
    let first = clock.as_secs() * 1_000;
    for seed in first..first + number(RUNS_VARIABLE).unwrap_or(FEW_RUNS) {
        one(seed);
    }
}
