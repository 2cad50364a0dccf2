//! Each anomaly, planted in a history that is sound without it, is found by its name.

use super::Anomaly;
use super::check;
use super::record::{History, Key, Outcome, Poll, Read, Transaction, Value, Write};

fn key(topic: &str, partition: i32) -> Key {
    Key {
        topic: topic.to_owned(),
        partition,
    }
}

fn value(origin: u64, hops: u32) -> Value {
    Value {
        origin,
        hops,
        attempt: 0,
    }
}

fn write(key: &Key, offset: i64, value: &Value) -> Write {
    Write {
        key: key.clone(),
        value: value.clone(),
        offset: Some(offset),
    }
}

fn transaction(
    client: &str,
    begin: u64,
    outcome: Outcome,
    reads: Vec<Read>,
    writes: Vec<Write>,
) -> Transaction {
    Transaction {
        client: client.to_owned(),
        begin,
        end: begin + 5,
        reads,
        writes,
        outcome,
    }
}

fn poll(stretch: u64, key: &Key, offset: i64, value: &Value) -> Poll {
    Poll {
        stretch: ("reader".to_owned(), stretch),
        key: key.clone(),
        offset,
        value: value.clone(),
    }
}

/// Two writers into two partitions, an abort, an unanswered commit that took effect, and a consumer that writes into a third partition.
fn sound() -> History {
    let (a0, a1, b0) = (key("a", 0), key("a", 1), key("b", 0));
    let v = |origin| value(origin, 0);
    let read = |offset, origin| Read {
        key: a0.clone(),
        offset,
        value: v(origin),
    };
    let transactions = vec![
        transaction(
            "w0",
            10,
            Outcome::Committed,
            vec![],
            vec![write(&a0, 0, &v(1)), write(&a1, 0, &v(2))],
        ),
        transaction("w1", 20, Outcome::Aborted, vec![], vec![write(&a0, 2, &v(3))]),
        transaction("w0", 30, Outcome::Committed, vec![], vec![write(&a0, 4, &v(4))]),
        transaction(
            "w1",
            40,
            Outcome::Unknown,
            vec![],
            vec![write(&a0, 6, &v(5)), write(&a1, 2, &v(6))],
        ),
        transaction(
            "c",
            50,
            Outcome::Committed,
            vec![read(0, 1), read(4, 4)],
            vec![write(&b0, 0, &value(1, 1)), write(&b0, 1, &value(4, 1))],
        ),
        transaction(
            "c",
            60,
            Outcome::Committed,
            vec![read(6, 5)],
            vec![write(&b0, 3, &value(5, 1))],
        ),
    ];
    let polls = vec![
        poll(0, &a0, 0, &v(1)),
        poll(0, &a0, 4, &v(4)),
        poll(0, &a1, 0, &v(2)),
        poll(0, &a0, 6, &v(5)),
        poll(1, &a0, 0, &v(1)),
    ];
    let finals = [
        (a0.clone(), vec![(0, v(1)), (4, v(4)), (6, v(5))]),
        (a1, vec![(0, v(2)), (2, v(6))]),
        (b0, vec![(0, value(1, 1)), (1, value(4, 1)), (3, value(5, 1))]),
    ];
    let committed = [(("g".to_owned(), a0), vec![0, 1, 5, 5, 7])];
    History {
        transactions,
        polls,
        finals: finals.into_iter().collect(),
        committed: committed.into_iter().collect(),
        hops: 0,
    }
}

fn planted(plant: impl FnOnce(&mut History)) -> Vec<Anomaly> {
    let mut history = sound();
    plant(&mut history);
    check(&history)
}

#[track_caller]
fn assert_found(found: &[Anomaly], wanted: &Anomaly) {
    assert!(found.contains(wanted), "no {wanted:?} in {found:?}");
}

#[test]
fn a_sound_history_has_no_anomaly() {
    assert_eq!(check(&sound()), []);
}

#[test]
fn overlapping_transactions_may_interleave_their_writes() {
    let found = planted(|history| {
        history.transactions[2].begin = 12;
        let (a0, a1) = (key("a", 0), key("a", 1));
        history.transactions[2].writes.push(write(&a1, -1, &value(7, 0)));
        history.transactions[2].writes[1].offset = None;
        history
            .finals
            .get_mut(&a1)
            .expect("a1")
            .insert(0, (-1, value(7, 0)));
        assert_eq!(history.finals[&a0].len(), 3);
    });
    assert_eq!(found, []);
}

#[test]
fn g0_a_write_below_one_that_had_ended_is_found() {
    let found = planted(|history| {
        // The second transaction of w0 began when its first had ended, and is below it in partition 1.
        let a1 = key("a", 1);
        history.transactions[2].writes.push(write(&a1, -1, &value(7, 0)));
        history
            .finals
            .get_mut(&a1)
            .expect("a1")
            .insert(0, (-1, value(7, 0)));
    });
    assert!(
        found
            .iter()
            .any(|one| matches!(one, Anomaly::WriteCycle(names) if names.len() == 2)),
        "{found:?}"
    );
}

#[test]
fn g0_a_circle_over_three_partitions_is_found() {
    let (p, q, r) = (key("p", 0), key("q", 0), key("r", 0));
    let v = |origin| value(origin, 0);
    let one = |client: &str, begin, end, writes| Transaction {
        end,
        ..transaction(client, begin, Outcome::Committed, vec![], writes)
    };
    // x before y in p, y before z in q by time and place, z before x in r.
    let history = History {
        transactions: vec![
            one("x", 10, 11, vec![write(&p, 0, &v(1)), write(&r, 1, &v(2))]),
            one("y", 20, 21, vec![write(&p, 1, &v(3)), write(&q, 0, &v(4))]),
            one("z", 30, 31, vec![write(&q, 1, &v(5)), write(&r, 0, &v(6))]),
        ],
        finals: [
            (p, vec![(0, v(1)), (1, v(3))]),
            (q, vec![(0, v(4)), (1, v(5))]),
            (r, vec![(0, v(6)), (1, v(2))]),
        ]
        .into_iter()
        .collect(),
        ..History::default()
    };
    assert!(
        check(&history)
            .iter()
            .any(|one| matches!(one, Anomaly::WriteCycle(_)))
    );
}

#[test]
fn g1a_an_aborted_record_is_found_in_polls_reads_and_the_end() {
    let a0 = key("a", 0);
    let wanted = Anomaly::AbortedRead(a0.clone(), value(3, 0));
    let found = planted(|history| history.polls.push(poll(2, &a0, 2, &value(3, 0))));
    assert_found(&found, &wanted);
    let found = planted(|history| {
        history.transactions[4].reads.push(Read {
            key: a0.clone(),
            offset: 2,
            value: value(3, 0),
        });
    });
    assert_found(&found, &wanted);
    let found = planted(|history| {
        history
            .finals
            .get_mut(&a0)
            .expect("a0")
            .insert(1, (2, value(3, 0)))
    });
    assert_found(&found, &wanted);
}

#[test]
fn g1b_a_transaction_that_is_there_in_one_partition_only_is_found() {
    let found = planted(|history| {
        history.finals.get_mut(&key("a", 1)).expect("a1").pop();
    });
    assert_eq!(found, [Anomaly::IntermediateRead(vec![value(5, 0), value(6, 0)])]);
}

#[test]
fn g1b_a_record_that_was_seen_and_is_gone_is_found() {
    let found = planted(|history| {
        history.polls.push(poll(2, &key("a", 1), 4, &value(8, 0)));
        let never = transaction(
            "w1",
            70,
            Outcome::Unknown,
            vec![],
            vec![write(&key("a", 1), 4, &value(8, 0))],
        );
        history.transactions.push(never);
    });
    assert_eq!(found, [Anomaly::IntermediateRead(vec![value(8, 0)])]);
}

#[test]
fn g1c_two_transactions_that_read_from_each_other_are_found() {
    let (a, b) = (key("a", 0), key("b", 0));
    let read = |key: &Key, origin| Read {
        key: key.clone(),
        offset: 0,
        value: value(origin, 0),
    };
    let history = History {
        transactions: vec![
            transaction(
                "x",
                10,
                Outcome::Committed,
                vec![read(&b, 2)],
                vec![write(&a, 0, &value(1, 0))],
            ),
            transaction(
                "y",
                12,
                Outcome::Committed,
                vec![read(&a, 1)],
                vec![write(&b, 0, &value(2, 0))],
            ),
        ],
        finals: [
            (a.clone(), vec![(0, value(1, 0))]),
            (b.clone(), vec![(0, value(2, 0))]),
        ]
        .into_iter()
        .collect(),
        ..History::default()
    };
    let found = check(&history);
    assert!(
        matches!(&found[..], [Anomaly::Circular(names)] if names.len() == 2),
        "{found:?}"
    );
}

#[test]
fn g1c_a_read_of_what_is_written_later_is_found() {
    let found = planted(|history| history.transactions[4].begin = 1);
    assert_eq!(found, [], "it overlaps what it read");
    let found = planted(|history| {
        (history.transactions[4].begin, history.transactions[4].end) = (1, 2);
    });
    assert!(matches!(&found[..], [Anomaly::Circular(_)]), "{found:?}");
}

#[test]
fn a_lost_write_is_found() {
    let found = planted(|history| {
        history.finals.get_mut(&key("a", 0)).expect("a0").remove(1);
        history.polls.retain(|poll| poll.offset != 4);
        history.transactions[4].reads.pop();
    });
    assert_eq!(found, [Anomaly::LostWrite(key("a", 0), value(4, 0))]);
}

#[test]
fn an_unseen_write_at_the_end_is_found() {
    let found = planted(|history| {
        history.finals.get_mut(&key("b", 0)).expect("b0").pop();
    });
    assert_eq!(found, [Anomaly::Unseen(key("b", 0), value(5, 1))]);
}

#[test]
fn a_duplicate_is_found() {
    let found = planted(|history| {
        let records = history.finals.get_mut(&key("a", 0)).expect("a0");
        records.push((9, value(4, 0)));
    });
    assert_found(&found, &Anomaly::Duplicate(value(4, 0)));
}

#[test]
fn a_second_output_of_a_consumed_record_is_found() {
    let again = Value {
        attempt: 1,
        ..value(4, 1)
    };
    let found = planted(|history| {
        let b0 = key("b", 0);
        let one = transaction("c", 70, Outcome::Unknown, vec![], vec![write(&b0, 5, &again)]);
        history.transactions.push(one);
        history.finals.get_mut(&b0).expect("b0").push((5, again.clone()));
    });
    assert!(
        matches!(&found[..], [Anomaly::DoubleOutput(value)] if value.origin == 4),
        "{found:?}"
    );
}

#[test]
fn a_missing_output_is_found() {
    let found = planted(|history| history.hops = 1);
    let missing: Vec<u64> = found
        .iter()
        .filter_map(|one| match one {
            Anomaly::NoOutput(value) => Some(value.origin),
            _ => None,
        })
        .collect();
    assert_eq!(
        missing,
        [2, 6],
        "the records of partition 1, which nobody consumed: {found:?}"
    );
}

#[test]
fn a_record_elsewhere_than_acknowledged_is_found() {
    let found = planted(|history| history.transactions[2].writes[0].offset = Some(3));
    assert_eq!(found, [Anomaly::Misplaced(key("a", 0), 4)]);
}

#[test]
fn two_values_at_one_place_are_found() {
    let found = planted(|history| history.polls.push(poll(2, &key("a", 0), 0, &value(2, 0))));
    assert_found(&found, &Anomaly::Misplaced(key("a", 0), 0));
}

#[test]
fn what_nobody_wrote_is_found() {
    let found = planted(|history| history.polls.push(poll(2, &key("a", 1), 9, &value(99, 0))));
    assert_eq!(found, [Anomaly::Unwritten(key("a", 1), 9)]);
}

#[test]
fn a_reader_that_goes_back_is_found() {
    let found = planted(|history| history.polls.push(poll(0, &key("a", 0), 4, &value(4, 0))));
    assert_eq!(found, [Anomaly::Backwards("reader".to_owned(), key("a", 0), 4)]);
}

#[test]
fn a_reader_that_skips_a_committed_record_is_found() {
    let found = planted(|history| history.polls.push(poll(1, &key("a", 0), 6, &value(5, 0))));
    assert_eq!(found, [Anomaly::Skipped("reader".to_owned(), key("a", 0), 4)]);
}

#[test]
fn a_committed_offset_that_goes_back_is_found() {
    let found = planted(|history| {
        let offsets = history.committed.values_mut().next().expect("one");
        offsets.push(6);
    });
    assert_eq!(found, [Anomaly::Backwards("g".to_owned(), key("a", 0), 6)]);
}
