//! The ledger tells the truth: what a broker gets wrong is found and named, and one that keeps its word passes under every load.

mod common;

use common::{against, broker, each};
use ringlog_bench::report::model::LedgerResult;
use ringlog_bench::sink::Fault;

/// One partition, so that a fault that strikes every so many batches of a partition strikes often enough, and small batches.
const LOAD: &str = "--partitions 1 --producers 2 --rate 2000 --record-bytes 100";
/// REQUEST_TIMED_OUT
const ERROR: i16 = 7;

/// What the ledger must count with a fault, and that the run fails.
fn fails(fault: Fault, scenario: &str, is_noticed: impl Fn(&LedgerResult) -> bool) {
    let broker = broker(Some(fault));
    let ended = against(&broker, &format!("{scenario} {LOAD}"));
    ended.failed();
    assert!(is_noticed(ended.ledger()), "{ended}");
    assert!(!ended.ledger().notes.is_empty(), "{ended}");
}

#[test]
fn a_record_that_was_dropped_is_lost() {
    each(&["produce", "tail"], |scenario| {
        fails(Fault::Drop { every: 97 }, scenario, |ledger| {
            ledger.lost > 0
                && ledger.verified > ledger.lost
                && ledger.verified + ledger.lost == ledger.acknowledged
                && ledger.duplicated + ledger.reordered + ledger.corrupt == 0
        });
    });
}

#[test]
fn a_record_that_is_there_twice_is_duplicated() {
    each(&["produce", "tail"], |scenario| {
        fails(Fault::Duplicate { every: 29 }, scenario, |ledger| {
            ledger.duplicated > 0
                && ledger.verified == ledger.acknowledged
                && ledger.lost + ledger.reordered + ledger.corrupt == 0
        });
    });
}

#[test]
fn records_elsewhere_than_acknowledged_are_reordered() {
    let faults = [Fault::Swap { every: 29 }, Fault::WrongOffset { every: 29 }];
    each(&faults, |fault| {
        fails(*fault, "produce", |ledger| {
            // The last batch may wait for a neighbour that never comes, until after the reading back.
            ledger.reordered > 0
                && ledger.lost <= 1
                && ledger.verified + ledger.lost == ledger.acknowledged
                && ledger.duplicated + ledger.corrupt == 0
        });
    });
}

#[test]
fn records_whose_bits_flipped_are_corrupt_and_not_there() {
    each(&["none", "lz4"], |codec| {
        let scenario = format!("produce --codec {codec}");
        fails(Fault::FlipBit { every: 29 }, &scenario, |ledger| {
            ledger.corrupt > 0 && ledger.corrupt == ledger.lost && ledger.duplicated + ledger.reordered == 0
        });
    });
}

#[test]
fn the_summary_names_each_damage_with_its_count() {
    let broker = broker(Some(Fault::Drop { every: 97 }));
    let ended = against(&broker, &format!("produce {LOAD}"));
    let first = ended.failed().stdout.lines().next().unwrap_or_default();
    assert!(
        first.contains(" lost of ") && first.contains("acknowledged"),
        "{ended}"
    );
    assert!(ended.stdout.contains("acknowledged at offset"), "{ended}");
}

#[test]
fn what_was_refused_is_an_error_and_no_loss() {
    each(&["", "--idempotent"], |flags| {
        let broker = broker(Some(Fault::Refuse {
            every: 29,
            error: ERROR,
        }));
        let ended = against(&broker, &format!("produce {LOAD} {flags}"));
        let produced = ended.passed().step().produced.clone().expect("a flow");
        assert!(produced.errors["REQUEST_TIMED_OUT"] > 0, "{ended}");
        assert!(!ended.stderr.contains("panicked"), "{ended}");
        // An idempotent producer gives up what it sent behind a refused batch; this broker may have stored it.
        let given_up = produced
            .errors
            .get("after a refused batch")
            .copied()
            .unwrap_or_default();
        assert!(flags.contains("idempotent") || given_up == 0, "{ended}");
        assert!(ended.ledger().unacknowledged_found <= given_up, "{ended}");
        assert!(ended.stdout.contains("REQUEST_TIMED_OUT"), "{ended}");
    });
}

#[test]
fn what_was_refused_and_stored_all_the_same_is_told_and_allowed() {
    let broker = broker(Some(Fault::RefuseButStore {
        every: 29,
        error: ERROR,
    }));
    let ended = against(&broker, &format!("produce {LOAD}"));
    let ledger = ended.passed().ledger();
    let produced = ended.step().produced.clone().expect("a flow");
    assert!(ledger.unacknowledged_found > 0, "{ended}");
    assert_eq!(
        ledger.unacknowledged_found, produced.errors["REQUEST_TIMED_OUT"],
        "{ended}"
    );
}

#[test]
fn a_run_goes_on_after_a_broken_connection() {
    let cases = ["produce", "tail", "produce --idempotent"];
    each(&cases, |scenario| {
        let broker = broker(Some(Fault::Disconnect { after_batches: 100 }));
        let ended = against(&broker, &format!("{scenario} {LOAD}"));
        let events = &ended.passed().step().events;
        let mut said = events.iter().map(|event| event.what.as_str());
        assert!(
            said.any(|what| what.starts_with("the broker stopped answering")),
            "{events:?}"
        );
        assert!(said.any(|what| what == "the broker answers again"), "{events:?}");
        // The batch that broke it and those behind it never got an answer; most of the load came after.
        let batches = broker.counts().batches;
        assert!(batches > 200, "{batches} batches, {ended}");
    });
}

#[test]
fn without_acknowledgements_a_loss_is_told_and_allowed() {
    let broker = broker(Some(Fault::Drop { every: 97 }));
    let ended = against(&broker, &format!("produce {LOAD} --acks 0"));
    assert!(ended.passed().ledger().lost > 0, "{ended}");
    assert!(
        ended.ledger().notes.iter().any(|note| note.contains("acks=0")),
        "{ended}"
    );
}

#[test]
fn a_broker_that_keeps_its_word_passes_under_every_load() {
    let cases = [
        "produce --rate 3000",
        "produce --rate max --producers 2 --in-flight 2",
        "produce --rate 3000 --acks 0",
        "produce --rate 3000 --acks 1 --codec lz4",
        "produce --rate 3000 --codec zstd --arrivals poisson",
        "produce --rate 3000 --codec gzip --keys 100",
        "produce --rate 3000 --codec snappy --idempotent",
        "produce --rate 3000 --partitions 500",
        "produce --rate 3000 --record-bytes 0",
        "produce --rate 3000 --record-bytes 1 --producers 8 --threads 2 --partitions 1",
        "produce --rate 3000 --record-bytes 15 --codec zstd",
        "produce --rate 3000 --record-bytes 8 --keys 50",
        "produce --rate 1000 --record-bytes 1024 --batch-bytes 1100",
        "produce --rate 1000 --linger-ms 0 --in-flight 1",
        "tail --rate 3000",
        "tail --rate 3000 --acks 0 --codec lz4 --arrivals poisson",
        "tail --rate 3000 --idempotent --keys 1000 --consumers 8",
        "tail --rate 3000 --record-bytes 0 --producers 8",
        "consume --fill-mib 4",
        "consume --fill-mib 1 --codec zstd --keys 100 --consumers 1",
        "small --rate 3000",
        "small --rate 3000 --codec lz4 --acks 1",
    ];
    each(&cases, |line| {
        let broker = broker(None);
        let ended = against(&broker, line);
        let ledger = ended.passed().ledger();
        let counts = broker.counts();
        assert_eq!(ledger.lost + ledger.unacknowledged_found, 0, "{line}: {ended}");
        assert_eq!(ledger.verified, counts.records, "{line}: {ended}");
        assert!(ledger.notes.is_empty(), "{line}: {ended}");
    });
}

#[test]
fn the_cold_reader_of_mixed_reads_as_long_as_is_measured() {
    let broker = broker(None);
    let ended = against(&broker, "mixed --rate 2000 --fill-mib 2 --drain-seconds 30");
    let steps = &ended.passed().report().sides[0].runs[0].steps;
    let [alone, with_cold] = &steps[..] else {
        panic!("{ended}")
    };
    assert!(alone.cold.is_none() && alone.ledger.is_none(), "{ended}");
    let cold = with_cold.cold.as_ref().expect("a cold reader");
    assert!(cold.bytes > 4 << 20, "{cold:?}");
    assert_eq!(ended.ledger().verified, broker.counts().records, "{ended}");
    // Nobody waits for the fill to be read by those that read what is new.
    assert!(ended.took.as_secs() < 30, "{ended}");
}
