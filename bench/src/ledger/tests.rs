//! The ledger notices what it is for.

use super::*;

const FIRST: Identity = Identity(1);
const SECOND: Identity = Identity(2);

fn sent(batch: u64) -> Sent {
    Sent {
        lane: 7,
        batch,
        records: 10,
        times: None,
    }
}

fn fetched(identity: Identity, base_offset: i64) -> Fetched {
    Fetched {
        base_offset,
        next_offset: base_offset + 10,
        records: 10,
        bytes: 1000,
        identity,
        control: false,
        transaction_of: None,
    }
}

/// Sends a batch whose fate is known.
fn send(ledger: &Ledger, identity: Identity, batch: u64, outcome: Outcome) {
    let entry = ledger.sent(0, identity, sent(batch)).expect("a place");
    ledger.outcome(0, entry, outcome);
}

/// Two batches, acknowledged at 0 and 10.
fn two() -> Ledger {
    let ledger = Ledger::new(1, -1, false);
    send(&ledger, FIRST, 0, Outcome::Acknowledged(0));
    send(&ledger, SECOND, 1, Outcome::Acknowledged(10));
    ledger
}

#[test]
fn all_there_passes() {
    let ledger = two();
    ledger.found(0, &fetched(FIRST, 0), true);
    assert_eq!(ledger.missing(), 10);
    ledger.found(0, &fetched(SECOND, 10), true);
    let result = ledger.conclude();
    assert!(result.passed && result.notes.is_empty(), "{result:?}");
    assert_eq!((result.acknowledged, result.verified), (20, 20));
}

#[test]
fn a_missing_batch_is_lost_and_fails_the_run() {
    let ledger = two();
    ledger.found(0, &fetched(FIRST, 0), true);
    let result = ledger.conclude();
    assert!(!result.passed);
    assert_eq!((result.lost, result.verified), (10, 10));
    assert_eq!(
        result.notes,
        ["partition 0: 10 records of producer 7 are missing, acknowledged at offset 10"]
    );
}

#[test]
fn what_was_aborted_is_no_loss_and_must_not_be_seen() {
    let ledger = Ledger::new(1, -1, false);
    send(&ledger, FIRST, 0, Outcome::Acknowledged(0));
    send(&ledger, SECOND, 1, Outcome::Aborted);
    assert_eq!(ledger.missing(), 10);
    ledger.found(0, &fetched(FIRST, 0), true);
    let result = ledger.conclude();
    assert!(result.passed && ledger.missing() == 0, "{result:?}");
    assert_eq!((result.acknowledged, result.aborted), (10, 0));
    ledger.found(0, &fetched(SECOND, 10), true);
    let result = ledger.conclude();
    assert!(!result.passed);
    assert_eq!((result.aborted, result.unacknowledged_found), (10, 0));
    assert_eq!(
        result.notes,
        ["partition 0: 10 records of an aborted transaction of producer 7 at offset 10"]
    );
}

#[test]
fn a_batch_at_two_offsets_is_a_duplicate_and_one_read_twice_is_not() {
    let ledger = two();
    ledger.found(0, &fetched(FIRST, 0), true);
    ledger.found(0, &fetched(SECOND, 10), true);
    assert_eq!(ledger.found(0, &fetched(SECOND, 10), true), Finding::Reread);
    assert!(ledger.conclude().passed);
    assert_eq!(ledger.found(0, &fetched(FIRST, 20), true), Finding::Again);
    let result = ledger.conclude();
    assert!(!result.passed && result.duplicated == 10);
}

#[test]
fn batches_in_another_order_than_sent_are_reordered() {
    let ledger = Ledger::new(1, 1, false);
    send(&ledger, FIRST, 0, Outcome::Acknowledged(10));
    send(&ledger, SECOND, 1, Outcome::Acknowledged(0));
    ledger.found(0, &fetched(SECOND, 0), true);
    ledger.found(0, &fetched(FIRST, 10), true);
    let result = ledger.conclude();
    assert!(!result.passed && result.reordered == 10, "{result:?}");
}

#[test]
fn a_batch_elsewhere_than_acknowledged_fails() {
    let ledger = two();
    ledger.found(0, &fetched(FIRST, 0), true);
    ledger.found(0, &fetched(SECOND, 11), true);
    let result = ledger.conclude();
    assert!(!result.passed && result.reordered == 10);
}

#[test]
fn damage_and_strangers_are_corrupt() {
    let ledger = two();
    assert_eq!(ledger.found(0, &fetched(FIRST, 0), false), Finding::Foreign);
    assert_eq!(
        ledger.found(0, &fetched(Identity(99), 10), true),
        Finding::Foreign
    );
    let result = ledger.conclude();
    assert!(!result.passed);
    assert_eq!((result.corrupt, result.lost), (20, 20));
}

#[test]
fn what_was_not_acknowledged_may_be_there_or_not() {
    let ledger = Ledger::new(1, 1, false);
    send(&ledger, FIRST, 0, Outcome::Unknown);
    send(&ledger, SECOND, 1, Outcome::Refused);
    ledger.found(0, &fetched(FIRST, 0), true);
    let result = ledger.conclude();
    assert!(result.passed && result.unacknowledged_found == 10, "{result:?}");
}

#[test]
fn without_acknowledgements_loss_is_told_and_allowed() {
    let ledger = Ledger::new(1, 0, false);
    ledger.sent(0, FIRST, sent(0));
    let result = ledger.conclude();
    assert!(
        result.passed && result.lost == 10 && result.notes.len() == 2,
        "{result:?}"
    );
}

#[test]
fn twins_are_refused_before_they_are_sent() {
    let ledger = two();
    assert_eq!(ledger.sent(0, FIRST, sent(2)), None);
}

#[test]
fn in_a_topic_of_others_whole_batches_of_theirs_are_no_damage() {
    let ledger = Ledger::new(1, 1, true);
    assert_eq!(ledger.found(0, &fetched(Identity(99), 0), true), Finding::Foreign);
    assert!(ledger.conclude().passed);
    ledger.found(0, &fetched(Identity(98), 10), false);
    assert!(!ledger.conclude().passed);
}

#[test]
fn damage_that_is_read_twice_counts_once() {
    let ledger = two();
    for _ in 0..2 {
        ledger.found(0, &fetched(FIRST, 0), true);
        ledger.found(0, &fetched(SECOND, 10), false);
        ledger.found(0, &fetched(FIRST, 20), true);
    }
    let result = ledger.conclude();
    assert_eq!((result.corrupt, result.duplicated), (10, 10));
}

#[test]
fn what_no_reader_found_is_handed_over_once() {
    let ledger = Ledger::new(1, 1, false);
    let timed = |batch| Sent {
        times: Some(Times::Each([5, 6].into())),
        ..sent(batch)
    };
    ledger.sent(0, FIRST, timed(0));
    ledger.sent(0, SECOND, timed(1));
    ledger.found(0, &fetched(FIRST, 0), true);
    let mut unread = Vec::new();
    for _ in 0..2 {
        ledger.take_unread(|times| times.each(|at_ns, _| unread.push(at_ns)));
    }
    assert_eq!(unread, [5, 6]);
}

#[test]
fn what_is_missing_is_counted_whichever_comes_first() {
    let ledger = Ledger::new(1, -1, false);
    let entry = ledger.sent(0, FIRST, sent(0)).expect("a place");
    assert_eq!(ledger.missing(), 0);
    ledger.found(0, &fetched(FIRST, 0), true);
    ledger.outcome(0, entry, Outcome::Acknowledged(0));
    send(&ledger, SECOND, 1, Outcome::Refused);
    assert_eq!(ledger.missing(), 0);
    let unpromised = Ledger::new(1, 0, false);
    unpromised.sent(0, FIRST, sent(0));
    assert_eq!(unpromised.missing(), 10);
    unpromised.found(0, &fetched(FIRST, 0), true);
    assert_eq!(unpromised.missing(), 0);
}

#[test]
fn a_batch_looked_up_is_ours_whole_and_where_it_was_acknowledged() {
    let ledger = two();
    assert!(ledger.is_as_sent(0, &fetched(SECOND, 10), true));
    assert!(!ledger.is_as_sent(0, &fetched(SECOND, 10), false));
    assert!(!ledger.is_as_sent(0, &fetched(SECOND, 0), true));
    assert!(!ledger.is_as_sent(0, &fetched(Identity(99), 10), true));
    assert_eq!(ledger.missing(), 20);
}
