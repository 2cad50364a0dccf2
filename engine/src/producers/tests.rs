//! What a producer may send next, and what survives snapshot, truncation and expiry.

use super::*;
use crate::batch::{BatchBuilder, MarkerKind};
use proptest::prelude::*;

mod txns;

const DAY_MS: i64 = 86_400_000;

/// A batch of `count` records.
fn batch(id: i64, epoch: i16, sequence: i32, count: i32) -> BatchHeader {
    let mut header = BatchHeader::read(&BatchBuilder::new().producer(id, epoch, sequence).finish()).unwrap();
    (header.record_count, header.last_offset_delta) = (count, count - 1);
    header.max_timestamp_ms = 1_000 + i64::from(sequence);
    header
}

fn transactional(mut header: BatchHeader) -> BatchHeader {
    header.attributes |= 1 << 4;
    header
}

fn marker(id: i64, epoch: i16) -> BatchHeader {
    BatchHeader {
        attributes: 0b11_0000,
        base_sequence: -1,
        ..batch(id, epoch, 0, 1)
    }
}

/// What the marker in it says, if it is one: a commit by coordinator epoch 8.
fn committed(header: &BatchHeader) -> Option<EndTxn> {
    header.is_control().then_some(EndTxn {
        kind: MarkerKind::Commit,
        coordinator_epoch: 8,
    })
}

/// A client whose transactions the coordinator knows.
const VERIFIED: Producing = Producing {
    origin: Origin::Client,
    is_verified: true,
    bumps_epochs: false,
};

/// A log: batches get the next offset.
struct Log {
    states: ProducerStates,
    next: i64,
}

impl Log {
    fn new() -> Log {
        Log {
            states: ProducerStates::new(),
            next: 0,
        }
    }

    fn append(&mut self, header: BatchHeader) -> i64 {
        let base = self.next;
        self.states.record(&header, base, base, committed(&header));
        self.next = base + i64::from(header.last_offset_delta) + 1;
        base
    }

    /// Judges, and appends when allowed.
    fn send(&mut self, header: BatchHeader) -> Result<Verdict, ProducerError> {
        let verdict = self.states.check(&header, VERIFIED)?;
        if verdict == Verdict::Accept {
            self.append(header);
        }
        Ok(verdict)
    }
}

fn out_of_order(result: Result<Verdict, ProducerError>) -> bool {
    matches!(result, Err(ProducerError::OutOfOrderSequence { .. }))
}

#[test]
fn sequences_go_on_where_they_ended() {
    let mut log = Log::new();
    assert_eq!(log.send(batch(1, 0, 0, 3)), Ok(Verdict::Accept));
    assert_eq!(log.send(batch(1, 0, 3, 1)), Ok(Verdict::Accept));
    assert!(out_of_order(log.send(batch(1, 0, 5, 1))));
    assert!(
        out_of_order(log.send(batch(1, 0, 2, 1))),
        "inside an earlier batch, yet not the same"
    );
    assert_eq!(log.send(batch(1, 0, 4, 1)), Ok(Verdict::Accept));
    assert_eq!(log.states.end_offset(), 5);
}

/// Behaviour 20.
#[test]
fn the_last_five_batches_are_recognised() {
    let mut log = Log::new();
    for sequence in 0..7 {
        log.append(batch(1, 0, sequence * 2, 2));
    }
    assert!(out_of_order(log.send(batch(1, 0, 2, 2))));
    for sequence in 2..7i32 {
        let base_offset = i64::from(sequence) * 2;
        let duplicate = Verdict::Duplicate {
            base_offset,
            last_offset: base_offset + 1,
            timestamp_ms: 1_000 + base_offset,
        };
        assert_eq!(log.send(batch(1, 0, sequence * 2, 2)), Ok(duplicate));
    }
    assert!(
        out_of_order(log.send(batch(1, 0, 12, 1))),
        "the same start with fewer records is another batch"
    );
}

/// Behaviour 21.
#[test]
fn sequences_wrap_to_zero() {
    let mut log = Log::new();
    log.append(batch(1, 0, i32::MAX - 1, 2));
    assert!(out_of_order(log.send(batch(1, 0, i32::MIN, 1))));
    assert_eq!(log.send(batch(1, 0, 0, 1)), Ok(Verdict::Accept));
    let mut log = Log::new();
    log.append(batch(1, 0, i32::MAX - 1, 4));
    assert!(matches!(
        log.send(batch(1, 0, i32::MAX - 1, 4)),
        Ok(Verdict::Duplicate { base_offset: 0, .. })
    ));
    assert_eq!(log.send(batch(1, 0, 2, 1)), Ok(Verdict::Accept));
}

/// Behaviour 23.
#[test]
fn a_higher_epoch_begins_at_zero_and_a_lower_is_refused() {
    let mut log = Log::new();
    log.append(batch(1, 3, 0, 5));
    assert!(out_of_order(log.send(batch(1, 4, 5, 1))));
    let lower = ProducerError::InvalidEpoch {
        producer_id: 1,
        epoch: 2,
        current_epoch: 3,
    };
    assert_eq!(log.send(batch(1, 2, 5, 1)), Err(lower));
    assert_eq!(log.send(batch(1, 4, 0, 1)), Ok(Verdict::Accept));
    assert_eq!(
        log.send(batch(1, 3, 0, 5)),
        Err(ProducerError::InvalidEpoch {
            producer_id: 1,
            epoch: 3,
            current_epoch: 4
        })
    );
    assert_eq!(log.send(batch(1, 4, 1, 1)), Ok(Verdict::Accept));
}

/// Behaviour 22.
#[test]
fn an_unknown_producer_may_begin_anywhere() {
    let mut log = Log::new();
    assert_eq!(log.send(batch(9, 5, 1_234, 1)), Ok(Verdict::Accept));
    assert!(out_of_order(log.send(batch(9, 5, 1_236, 1))));
}

#[test]
fn batches_without_a_producer_only_move_the_end() {
    let mut log = Log::new();
    for _ in 0..3 {
        assert_eq!(log.send(batch(-1, -1, -1, 2)), Ok(Verdict::Accept));
    }
    assert!(log.states.is_empty());
    assert_eq!(log.states.end_offset(), 6);
    log.states.advance_to(4);
    assert_eq!(log.states.end_offset(), 6);
}

#[test]
fn transactions_are_carried() {
    let mut log = Log::new();
    log.append(batch(1, 0, 0, 1));
    log.append(transactional(batch(1, 0, 1, 2)));
    log.append(transactional(batch(1, 0, 3, 2)));
    let outside = ProducerError::OutsideTransaction {
        producer_id: 1,
        txn_first_offset: 1,
    };
    assert_eq!(log.send(batch(1, 0, 5, 1)), Err(outside));
    assert_eq!(
        log.states.expire(i64::MAX, 0),
        0,
        "an open transaction keeps its producer"
    );
    log.append(marker(1, 0));
    assert_eq!(
        log.send(batch(1, 0, 5, 1)),
        Ok(Verdict::Accept),
        "a marker of the same epoch leaves the sequences"
    );
    log.append(marker(1, 1));
    assert!(out_of_order(log.send(batch(1, 1, 6, 1))));
    assert_eq!(log.send(batch(1, 1, 0, 1)), Ok(Verdict::Accept));
}

/// Behaviour 24.
#[test]
fn idle_producers_expire_by_the_time_of_their_last_append() {
    let mut states = ProducerStates::new();
    states.record(&batch(1, 0, 0, 1), 0, 1_000, None);
    states.record(&batch(2, 0, 0, 1), 1, 2_000, None);
    assert_eq!(states.expire(999 + DAY_MS, DAY_MS), 0);
    assert_eq!(states.expire(1_000 + DAY_MS, DAY_MS), 1);
    assert_eq!(states.check(&batch(1, 0, 77, 1), VERIFIED), Ok(Verdict::Accept));
    assert!(out_of_order(states.check(&batch(2, 0, 77, 1), VERIFIED)));
}

#[test]
fn old_timestamps_in_a_snapshot_do_not_expire_a_producer_at_the_start() {
    let mut states = ProducerStates::new();
    states.record(&batch(1, 0, 0, 1), 0, 90 * DAY_MS, None);
    let mut loaded = ProducerStates::decode_snapshot(&states.encode_snapshot(), 1).unwrap();
    assert_eq!(loaded.clone().expire(90 * DAY_MS, DAY_MS), 1);
    loaded.assume_active(90 * DAY_MS);
    assert_eq!(loaded.expire(91 * DAY_MS - 1, DAY_MS), 0);
    assert_eq!(loaded.expire(91 * DAY_MS, DAY_MS), 1);
}

#[test]
fn a_flood_of_ids_forgets_the_longest_idle() {
    let mut states = ProducerStates::with_limit(160);
    states.record(&transactional(batch(0, 0, 0, 1)), 0, 0, None);
    for id in 1..10_000 {
        states.record(&batch(id, 0, 0, 1), id, id, None);
        assert!(states.len() <= 160);
    }
    assert!(
        out_of_order(states.check(&batch(9_999, 0, 5, 1), VERIFIED)),
        "the newest is known"
    );
    assert!(out_of_order(states.check(&batch(9_999 - 149, 0, 5, 1), VERIFIED)));
    assert!(
        states
            .check(&batch(0, 0, 0, 1), VERIFIED)
            .is_ok_and(|v| v != Verdict::Accept),
        "an open transaction is not forgotten"
    );
    assert!(states.memory_bytes() < 160 * 600);
}

#[test]
fn truncation_takes_batches_back() {
    let mut log = Log::new();
    log.append(batch(1, 0, 0, 2));
    log.append(batch(1, 0, 2, 2));
    log.append(batch(2, 0, 0, 2));
    log.states.truncate_to(3);
    assert_eq!(log.states.end_offset(), 3);
    assert_eq!(
        log.states.check(&batch(1, 0, 2, 2), VERIFIED),
        Ok(Verdict::Accept)
    );
    assert_eq!(
        log.states.check(&batch(2, 0, 50, 2), VERIFIED),
        Ok(Verdict::Accept)
    );
    log.states.remove_before(10);
    assert_eq!((log.states.end_offset(), log.states.len()), (10, 1));
    log.states.reset(4);
    assert_eq!((log.states.end_offset(), log.states.len()), (4, 0));
}

#[test]
fn a_snapshot_keeps_the_last_batch_and_a_window_all() {
    let mut log = Log::new();
    for sequence in 0..6 {
        log.append(batch(1, 2, sequence, 1));
    }
    log.append(transactional(batch(40, 0, 0, 3)));
    log.append(marker(3, 0));
    let bytes = log.states.encode_snapshot();
    assert_eq!(bytes.len(), 10 + 3 * 46);
    let loaded = ProducerStates::decode_snapshot(&bytes, log.states.end_offset()).unwrap();
    assert_eq!(loaded.encode_snapshot(), bytes);
    assert!(matches!(
        loaded.check(&batch(1, 2, 5, 1), VERIFIED),
        Ok(Verdict::Duplicate { base_offset: 5, .. })
    ));
    assert!(out_of_order(loaded.check(&batch(1, 2, 4, 1), VERIFIED)));
    assert!(
        loaded.check(&batch(40, 0, 3, 1), VERIFIED).is_err(),
        "its transaction is still open"
    );
    let bytes = log.states.encode_window();
    let loaded = ProducerStates::decode_window(&bytes).unwrap();
    assert_eq!(loaded, log.states);
    assert!(matches!(
        loaded.check(&batch(1, 2, 1, 1), VERIFIED),
        Ok(Verdict::Duplicate { base_offset: 1, .. })
    ));
}

#[test]
fn an_empty_snapshot_has_ten_bytes() {
    let bytes = ProducerStates::new().encode_snapshot();
    assert_eq!(bytes.len(), 10);
    assert!(ProducerStates::decode_snapshot(&bytes, 0).unwrap().is_empty());
}

#[test]
fn damaged_snapshots_are_refused() {
    let mut log = Log::new();
    log.append(batch(1, 0, 0, 1));
    let good = log.states.encode_snapshot();
    let decode = |change: fn(&mut Vec<u8>), sum: bool| {
        let mut bytes = good.clone();
        change(&mut bytes);
        if sum {
            let crc = crc_fast::crc32_iscsi(&bytes[6..]);
            bytes[2..6].copy_from_slice(&crc.to_be_bytes());
        }
        ProducerStates::decode_snapshot(&bytes, 1).unwrap_err()
    };
    assert_eq!(decode(|b| b[1] = 2, true), SnapshotError::Version(2));
    assert!(matches!(decode(|b| b[20] ^= 1, false), SnapshotError::Crc { .. }));
    assert_eq!(
        decode(|b| b.truncate(40), true),
        SnapshotError::Length { have_bytes: 40 }
    );
    assert_eq!(
        decode(|b| b.push(0), true),
        SnapshotError::Length { have_bytes: 57 }
    );
    assert_eq!(
        decode(|b| b[6..10].fill(0x7f), true),
        SnapshotError::Length { have_bytes: 56 }
    );
    assert_eq!(
        decode(|b| b[32] = 0x80, true),
        SnapshotError::Value { producer_id: 1 }
    );
    assert!(matches!(
        ProducerStates::decode_snapshot(&[0], 0),
        Err(SnapshotError::Length { have_bytes: 1 })
    ));
    let window = log.states.encode_window();
    for cut in 0..window.len() {
        assert!(
            ProducerStates::decode_window(&window[..cut]).is_err(),
            "cut at {cut}"
        );
    }
}

proptest! {
    #[test]
    fn nothing_panics_on_arbitrary_bytes(mut bytes in prop::collection::vec(any::<u8>(), 0..200), end in any::<i64>()) {
        let _ = ProducerStates::decode_window(&bytes);
        let _ = ProducerStates::decode_snapshot(&bytes, end);
        if bytes.len() >= 10 {
            bytes[..2].copy_from_slice(&1i16.to_be_bytes());
            let entries = (bytes.len() - 10) / 46;
            bytes.truncate(10 + entries * 46);
            bytes[6..10].copy_from_slice(&(entries as i32).to_be_bytes());
            let crc = crc_fast::crc32_iscsi(&bytes[6..]);
            bytes[2..6].copy_from_slice(&crc.to_be_bytes());
            if let Ok(mut states) = ProducerStates::decode_snapshot(&bytes, end) {
                states.truncate_to(0);
                states.expire(end, 1);
            }
        }
    }

    #[test]
    fn nothing_panics_on_arbitrary_headers(
        ids in prop::collection::vec((-2..3i64, any::<i16>(), any::<i32>(), any::<i32>(), any::<i16>(), any::<i64>()), 0..40),
    ) {
        let mut states = ProducerStates::with_limit(2);
        for (id, epoch, sequence, count, attributes, offset) in ids {
            let mut header = batch(id, epoch, 0, 1);
            (header.base_sequence, header.last_offset_delta, header.attributes) = (sequence, count, attributes);
            let _ = states.check(&header, VERIFIED);
            states.record(&header, offset, offset, committed(&header));
        }
        let _ = ProducerStates::decode_window(&states.encode_window());
    }

    /// However batches are sent again and reordered, each record is in the log once and in order.
    #[test]
    fn each_record_is_written_once(resends in prop::collection::vec(0..5usize, 1..200), start in prop_oneof![Just(0), Just(i32::MAX - 50)]) {
        let mut log = Log::new();
        let mut sent: Vec<(BatchHeader, i64)> = Vec::new();
        let mut sequence = start;
        for (i, back) in resends.into_iter().enumerate() {
            if let Some((header, base)) = sent.len().checked_sub(back + 1).and_then(|at| sent.get(at)) {
                let verdict = log.states.check(header, VERIFIED);
                let is_duplicate = matches!(verdict, Ok(Verdict::Duplicate { base_offset, .. }) if base_offset == *base);
                prop_assert!(is_duplicate, "{:?}", verdict);
            }
            let count = 1 + (i % 7) as i32;
            let header = batch(1, 0, sequence, count);
            let skipped = batch(1, 0, crate::batch::advance_sequence(sequence, 1), count);
            if i > 0 {
                prop_assert!(out_of_order(log.states.check(&skipped, VERIFIED)));
            }
            let base = log.next;
            prop_assert_eq!(log.send(header), Ok(Verdict::Accept));
            sent.push((header, base));
            sequence = crate::batch::advance_sequence(sequence, count);
        }
    }
}

#[test]
fn every_producer_is_told_with_its_last_batch_and_open_transaction() {
    let mut log = Log::new();
    log.append(batch(7, 2, 0, 3));
    log.append(batch(7, 2, 3, 2));
    let first = log.append(transactional(batch(9, 0, 0, 1)));
    let mut told: Vec<_> = log.states.active().collect();
    told.sort_by_key(|producer| producer.producer_id);
    let producer = |producer_id, epoch, last_sequence, last_timestamp_ms, txn_first_offset| ActiveProducer {
        producer_id,
        epoch,
        last_sequence,
        last_timestamp_ms,
        coordinator_epoch: -1,
        txn_first_offset,
    };
    let want = [
        producer(7, 2, 4, 1_003, NO_TXN_OFFSET),
        producer(9, 0, 0, 1_000, first),
    ];
    assert_eq!(told, want);
}
