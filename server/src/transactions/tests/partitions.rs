//! AddPartitionsToTxn.

use super::requests::{added, adding};
use super::world::START_MS;
use super::*;
use crate::transactions::TxnRequest;

#[test]
fn the_first_partitions_begin_a_transaction_and_others_join_it() {
    let mut world = World::new();
    let producer = world.init(ID).expect("a producer");
    assert_eq!(world.add(OLD_ADD, producer, &[2, 0]), ErrorCode::None);
    world.pass(1_000);
    assert_eq!(world.add(OLD_ADD, producer, &[1]), ErrorCode::None);
    let described = world.describe();
    assert_eq!(described.transaction_state, "Ongoing");
    assert_eq!(described.transaction_start_time_ms, START_MS);
    assert_eq!(described.topics[0].partitions, [0, 1, 2]);
}

#[test]
fn nothing_is_put_down_for_partitions_that_take_part_already() {
    let mut world = World::new();
    let producer = with_ongoing(&mut world);
    let records = world.log.len();
    assert_eq!(world.add(ADD, producer, &[0]), ErrorCode::None);
    assert_eq!(world.log.len(), records);
    assert_eq!(world.add(ADD, producer, &[0, 1]), ErrorCode::None);
    assert_eq!(world.log.len(), records + 1);
}

#[test]
fn every_partition_has_the_error_of_the_transaction() {
    let mut world = World::new();
    let (producer_id, epoch) = world.init(ID).expect("a producer");
    for (id, producer, want) in [
        ("", (producer_id, epoch), ErrorCode::InvalidRequest),
        (
            "unknown",
            (producer_id, epoch),
            ErrorCode::InvalidProducerIdMapping,
        ),
        (ID, (producer_id + 1, epoch), ErrorCode::InvalidProducerIdMapping),
        (ID, (producer_id, epoch - 1), ErrorCode::ProducerFenced),
        (ID, (producer_id, epoch + 1), ErrorCode::ProducerFenced),
    ] {
        for verify_only in [false, true] {
            let answer = world.ask(ADD, adding(id, producer, &[0, 1], verify_only));
            assert_eq!(added(answer), [want, want], "{id} {producer:?} {verify_only}");
        }
    }
    assert_eq!(world.state(), "Empty");
}

#[test]
fn no_partition_joins_while_markers_are_written() {
    for (end, bumped) in [(OLD_END, 0), (END, 1)] {
        let mut world = World::new();
        let producer = with_ongoing(&mut world);
        world.end(end, producer, COMMIT).expect("committed");
        let next = (producer.0, producer.1 + bumped);
        assert_eq!(world.add(ADD, next, &[1]), ErrorCode::ConcurrentTransactions);
        assert_eq!(world.verify(next, &[0]), [ErrorCode::ConcurrentTransactions]);
        world.finish();
        assert_eq!(world.add(ADD, next, &[1]), ErrorCode::None);
        assert_eq!(
            world.describe().topics[0].partitions,
            [1],
            "the last transaction's are gone"
        );
    }
}

#[test]
fn who_only_asks_learns_which_partitions_take_part_and_changes_nothing() {
    let mut world = World::new();
    let producer = with_ongoing(&mut world);
    let records = world.log.len();
    assert_eq!(
        world.verify(producer, &[1, 0]),
        [ErrorCode::TransactionAbortable, ErrorCode::None]
    );
    world.end(OLD_END, producer, COMMIT).expect("committed");
    world.finish();
    assert_eq!(world.verify(producer, &[0]), [ErrorCode::TransactionAbortable]);
    assert_eq!(world.log.len(), records + 2);
}

#[test]
fn partitions_that_would_not_fit_into_one_record_are_refused() {
    let mut world = World::new();
    let producer = with_ongoing(&mut world);
    let records = world.log.len();
    let many: Vec<i32> = (0..140_000).collect();
    assert_eq!(world.add(ADD, producer, &many), ErrorCode::UnknownServerError);
    assert_eq!(world.log.len(), records);
    assert_eq!(world.add(ADD, producer, &many[..100_000]), ErrorCode::None);
    assert_eq!(
        world.add(ADD, producer, &many[100_000..]),
        ErrorCode::UnknownServerError
    );
    assert!(
        world.log[records]
            .1
            .as_ref()
            .is_some_and(|value| value.len() < 512 << 10)
    );
    assert_eq!(world.end(END, producer, COMMIT), Ok((producer.0, producer.1 + 1)));
}

#[test]
fn a_transaction_may_begin_without_partitions_and_ends_at_once() {
    let mut world = World::new();
    let producer = world.init(ID).expect("a producer");
    let TxnRequest::AddPartitions(mut nothing) = adding(ID, producer, &[], false) else {
        panic!("another request")
    };
    nothing.topics.clear();
    world.ask(ADD, TxnRequest::AddPartitions(nothing));
    assert_eq!(world.state(), "Ongoing");
    assert_eq!(world.end(OLD_END, producer, COMMIT), Ok((-1, -1)));
    assert!(world.state() == "CompleteCommit" && world.marks.is_empty());
}
