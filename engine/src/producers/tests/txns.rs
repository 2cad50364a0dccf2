//! Who may begin a transaction, and what ends it.

use super::*;
use crate::aborted::AbortedTxn;
use crate::shard::Marker;

const UNVERIFIED: Producing = Producing {
    is_verified: false,
    ..VERIFIED
};
const BUMPING: Producing = Producing {
    bumps_epochs: true,
    ..VERIFIED
};
const COORDINATOR: Producing = Producing {
    origin: Origin::Coordinator,
    ..VERIFIED
};

fn ends(kind: MarkerKind, coordinator_epoch: i32) -> Option<EndTxn> {
    Some(EndTxn {
        kind,
        coordinator_epoch,
    })
}

fn version(transaction_version: i8, producer_epoch: i16) -> Marker {
    Marker {
        producer_id: 1,
        producer_epoch,
        kind: MarkerKind::Commit,
        coordinator_epoch: 8,
        transaction_version,
    }
}

impl Log {
    fn end(&mut self, id: i64, epoch: i16, kind: MarkerKind) -> TxnStep {
        let base = self.next;
        self.next += 1;
        self.states.record(&marker(id, epoch), base, base, ends(kind, 8))
    }
}

fn invalid_epoch<T>(result: Result<T, ProducerError>) -> bool {
    matches!(result, Err(ProducerError::InvalidEpoch { .. }))
}

/// Behaviour 32 (KIP-890): nothing begins a transaction that the coordinator does not know of.
#[test]
fn a_transaction_begins_only_when_it_is_verified_and_then_goes_on_without() {
    let mut log = Log::new();
    let first = transactional(batch(1, 0, 0, 1));
    let refused = Err(ProducerError::NotVerified { producer_id: 1 });
    assert_eq!(log.states.check(&first, UNVERIFIED), refused);
    assert_eq!(
        log.states.check(
            &first,
            Producing {
                is_verified: false,
                ..COORDINATOR
            }
        ),
        refused
    );
    log.append(first);
    assert!(log.states.has_open_txn(1, 0) && !log.states.has_open_txn(1, 1));
    assert_eq!(
        log.states.check(&transactional(batch(1, 0, 1, 1)), UNVERIFIED),
        Ok(Verdict::Accept)
    );
    assert!(
        matches!(
            log.states.check(&first, UNVERIFIED),
            Ok(Verdict::Duplicate { .. })
        ),
        "one sent twice is found first"
    );
    assert_eq!(
        log.states.check(&transactional(batch(1, 1, 0, 1)), UNVERIFIED),
        refused,
        "in a new epoch it is another transaction"
    );
    log.end(1, 0, MarkerKind::Commit);
    assert!(!log.states.has_open_txn(1, 0));
    assert_eq!(
        log.states.check(&transactional(batch(1, 0, 1, 1)), UNVERIFIED),
        refused
    );
    assert!(
        invalid_epoch({
            log.append(batch(1, 3, 0, 1));
            log.states.check(&transactional(batch(1, 2, 0, 1)), UNVERIFIED)
        }),
        "that it is too old is said first"
    );
}

/// Behaviour 22: with transaction version 2 an unknown producer begins at sequence 0, others anywhere.
#[test]
fn a_producer_whose_epoch_grows_begins_at_zero() {
    let log = Log::new();
    let later = transactional(batch(1, 0, 5, 1));
    assert_eq!(log.states.check(&later, VERIFIED), Ok(Verdict::Accept));
    assert!(out_of_order(log.states.check(&later, BUMPING)));
    assert_eq!(
        log.states.check(&transactional(batch(1, 0, 0, 1)), BUMPING),
        Ok(Verdict::Accept)
    );
    assert_eq!(
        log.states.check(&batch(1, 0, 5, 1), BUMPING),
        Ok(Verdict::Accept),
        "only in a transaction"
    );
}

/// Behaviour 23: the first batch after a marker with a new epoch has sequence 0; one of the old epoch is refused.
#[test]
fn after_a_marker_that_bumps_the_epoch_sequences_begin_again() {
    let mut log = Log::new();
    log.append(transactional(batch(1, 4, 0, 3)));
    log.end(1, 5, MarkerKind::Commit);
    for producing in [VERIFIED, BUMPING] {
        let check = |epoch, sequence| {
            log.states
                .check(&transactional(batch(1, epoch, sequence, 1)), producing)
        };
        assert!(out_of_order(check(5, 3)));
        assert!(invalid_epoch(check(4, 3)));
        assert_eq!(check(5, 0), Ok(Verdict::Accept));
    }
}

#[test]
fn a_marker_must_be_of_an_epoch_that_may_end_the_transaction() {
    let mut log = Log::new();
    for transaction_version in 0..3 {
        let unknown = log.states.check_marker(&version(transaction_version, 0));
        assert_eq!(unknown, Ok(()), "of an unknown producer");
    }
    log.append(transactional(batch(1, 4, 0, 1)));
    for transaction_version in 0..2 {
        let check = |epoch| log.states.check_marker(&version(transaction_version, epoch));
        assert!(invalid_epoch(check(3)));
        assert_eq!((check(4), check(5)), (Ok(()), Ok(())));
    }
    let check = |log: &Log, epoch| log.states.check_marker(&version(2, epoch));
    assert!(
        invalid_epoch(check(&log, 4)),
        "a late one of the transaction before"
    );
    assert_eq!(check(&log, 5), Ok(()));
    log.end(1, 5, MarkerKind::Abort);
    assert_eq!(check(&log, 5), Ok(()), "sent twice: the transaction has ended");
    assert!(invalid_epoch(check(&log, 4)));
    log.append(transactional(batch(1, i16::MAX, 0, 1)));
    assert_eq!(check(&log, i16::MAX), Ok(()), "the epoch cannot grow");
}

#[test]
fn a_coordinator_that_was_replaced_ends_nothing() {
    let mut log = Log::new();
    log.end(1, 0, MarkerKind::Commit);
    let of = |coordinator_epoch| Marker {
        coordinator_epoch,
        ..version(1, 0)
    };
    let fenced = ProducerError::CoordinatorFenced {
        coordinator_epoch: 7,
        current_epoch: 8,
    };
    assert_eq!(log.states.check_marker(&of(7)), Err(fenced));
    assert_eq!(log.states.check_marker(&of(8)), Ok(()));
    assert_eq!(log.states.check_marker(&of(9)), Ok(()));
    let mut loaded = ProducerStates::decode_snapshot(&log.states.encode_snapshot(), 1).unwrap();
    assert_eq!(loaded.check_marker(&of(7)), Err(fenced), "also after a restart");
    loaded.record(&marker(1, 0), 1, 1, ends(MarkerKind::Commit, 12));
    assert!(loaded.check_marker(&of(8)).is_err());
}

/// Behaviour 27: what the index says of an aborted transaction.
#[test]
fn the_end_of_a_transaction_tells_what_was_aborted_and_what_is_undecided_then() {
    let mut log = Log::new();
    let open = |log: &mut Log, id| log.append(transactional(batch(id, 0, 0, 2)));
    assert_eq!(
        (open(&mut log, 1), open(&mut log, 2), open(&mut log, 3)),
        (0, 2, 4)
    );
    let ended = |first_offset, marker_offset, last_stable_offset| TxnStep::Ended {
        first_offset,
        marker_offset,
        aborted: Some(AbortedTxn {
            producer_id: first_offset / 2 + 1,
            first_offset,
            last_offset: marker_offset,
            last_stable_offset,
        }),
    };
    assert_eq!(log.states.first_open(), Some(0));
    assert_eq!(
        log.end(2, 0, MarkerKind::Abort),
        ended(2, 6, 0),
        "the first is still open"
    );
    assert_eq!(log.end(1, 0, MarkerKind::Abort), ended(0, 7, 4));
    assert_eq!(log.states.first_open(), Some(4));
    let again = log.end(1, 0, MarkerKind::Abort);
    assert_eq!(again, TxnStep::None, "none was open");
    assert_eq!(log.end(3, 0, MarkerKind::Abort), ended(4, 9, 10));
    open(&mut log, 2);
    let committed = log.end(2, 0, MarkerKind::Commit);
    assert!(matches!(committed, TxnStep::Ended { aborted: None, .. }));
    assert_eq!(log.states.first_open(), None);
}

#[test]
fn open_transactions_survive_snapshot_window_and_truncation() {
    let mut log = Log::new();
    log.append(transactional(batch(1, 0, 0, 1)));
    log.append(batch(9, 0, 0, 1));
    log.append(transactional(batch(2, 0, 0, 1)));
    let states = &log.states;
    let snapshot = ProducerStates::decode_snapshot(&states.encode_snapshot(), 3).unwrap();
    let window = ProducerStates::decode_window(&states.encode_window()).unwrap();
    for loaded in [snapshot, window] {
        assert_eq!(loaded.open_firsts().collect::<Vec<_>>(), [0, 2]);
    }
    log.states.truncate_to(2);
    assert_eq!(log.states.open_firsts().collect::<Vec<_>>(), [0]);
    log.states.reset(0);
    assert_eq!(log.states.first_open(), None);
}

#[test]
fn a_marker_that_compaction_emptied_and_one_of_another_kind_end_nothing() {
    let mut log = Log::new();
    log.append(transactional(batch(1, 0, 0, 1)));
    let step = log.states.record(&marker(1, 0), 1, 1, None);
    assert_eq!((step, log.states.first_open()), (TxnStep::None, Some(0)));
}

#[test]
fn a_coordinators_records_have_no_sequence() {
    let mut log = Log::new();
    let commit = transactional(BatchHeader {
        base_sequence: -1,
        ..batch(1, 0, 0, 1)
    });
    for _ in 0..3 {
        assert_eq!(log.states.check(&commit, COORDINATOR), Ok(Verdict::Accept));
        log.append(commit);
    }
    let outside = BatchHeader {
        attributes: 0,
        ..commit
    };
    assert!(log.states.check(&outside, COORDINATOR).is_err());
    log.end(1, 1, MarkerKind::Commit);
    assert!(invalid_epoch(log.states.check(&commit, COORDINATOR)));
}

/// Behaviour 24.
#[test]
fn where_all_producers_have_a_transaction_open_none_is_forgotten_and_no_other_begins_one() {
    let mut states = ProducerStates::with_limit(4);
    for id in 0..4 {
        let first = transactional(batch(id, 0, 0, 1));
        assert_eq!(states.check(&first, VERIFIED), Ok(Verdict::Accept));
        states.record(&first, id, id, None);
    }
    let other = transactional(batch(9, 0, 0, 1));
    let refused = ProducerError::TooManyTransactions { producer_id: 9 };
    assert_eq!(states.check(&other, VERIFIED), Err(refused));
    states.record(&batch(8, 0, 0, 1), 4, 4, None);
    assert_eq!(states.expire(i64::MAX, 0), 1, "only the one without");
    assert_eq!(states.open_firsts().count(), 4);
    states.record(&marker(2, 0), 5, 5, ends(MarkerKind::Abort, 0));
    assert_eq!(states.check(&other, VERIFIED), Ok(Verdict::Accept));
}
