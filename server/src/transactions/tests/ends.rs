//! EndTxn.

use super::requests::ending;
use super::world::START_MS;
use super::*;
use crate::transactions::Ending;

type Answer = Result<(i64, i16), ErrorCode>;

const INVALID: Answer = Err(ErrorCode::InvalidTxnState);
const FENCED: Answer = Err(ErrorCode::ProducerFenced);
const CONCURRENT: Answer = Err(ErrorCode::ConcurrentTransactions);
const MAPPING: Answer = Err(ErrorCode::InvalidProducerIdMapping);
/// What an older client is told.
const DONE: Answer = Ok((-1, -1));

#[test]
fn behaviour_30_an_older_client_that_asks_again_for_the_end_there_was_is_told_it_is_done() {
    for is_commit in [true, false] {
        let mut world = World::new();
        let producer = world.init(ID).expect("a producer");
        assert_eq!(
            world.end(OLD_END, producer, is_commit),
            INVALID,
            "nothing is begun"
        );
        assert_eq!(world.add(OLD_ADD, producer, &[0]), ErrorCode::None);
        assert_eq!(world.end(OLD_END, producer, is_commit), DONE);
        assert_eq!(world.end(OLD_END, producer, is_commit), CONCURRENT);
        assert_eq!(world.end(OLD_END, producer, !is_commit), INVALID);
        assert_eq!(world.marks.len(), 1, "markers are ordered once");
        world.finish();
        assert_eq!(world.end(OLD_END, producer, is_commit), DONE);
        assert_eq!(world.end(OLD_END, producer, !is_commit), INVALID);
        let (producer_id, epoch) = producer;
        for other in [epoch - 1, epoch + 1] {
            assert_eq!(world.end(OLD_END, (producer_id, other), is_commit), FENCED);
        }
        assert_eq!(
            world.add(OLD_ADD, producer, &[0]),
            ErrorCode::None,
            "the epoch is the same"
        );
    }
}

/// A producer of transaction version 2 in a state at rest, and the epoch before the last end of its.
fn at_rest(state: &str) -> (World, (i64, i16), (i64, i16)) {
    let mut world = World::new();
    world.init(ID).expect("a producer");
    let before = world.init(ID).expect("a producer");
    let now = match state {
        "Empty" => return (world, (before.0, before.1 - 1), before),
        _ => {
            world.add(ADD, before, &[0]);
            world.end(END, before, state == "CompleteCommit")
        }
    };
    world.finish();
    (world, before, now.expect("ended"))
}

#[test]
fn behaviour_30_the_epoch_tells_a_request_that_comes_again_from_the_next() {
    fn done(now: (i64, i16)) -> Answer {
        Ok(now)
    }
    fn ends((producer_id, epoch): (i64, i16)) -> Answer {
        Ok((producer_id, epoch + 1))
    }
    fn fenced(_: (i64, i16)) -> Answer {
        FENCED
    }
    fn invalid(_: (i64, i16)) -> Answer {
        INVALID
    }
    type Want = fn((i64, i16)) -> Answer;
    let table: [(&str, [Want; 4]); 3] = [
        ("Empty", [fenced, fenced, ends, invalid]),
        ("CompleteAbort", [done, invalid, ends, invalid]),
        ("CompleteCommit", [invalid, done, ends, invalid]),
    ];
    for (state, wants) in table {
        for (index, want) in wants.into_iter().enumerate() {
            let (mut world, before, now) = at_rest(state);
            assert_eq!(world.state(), state);
            let producer = if index < 2 { before } else { now };
            let is_commit = index % 2 == 1;
            let records = world.log.len();
            let said = world.end(END, producer, is_commit);
            assert_eq!(said, want(now), "{state} {producer:?} {is_commit}");
            let is_end = index == 2;
            assert_eq!(
                world.states(records),
                ["PrepareAbort", "CompleteAbort"][..if is_end { 2 } else { 0 }]
            );
        }
    }
}

#[test]
fn behaviour_30_each_end_brings_a_newer_client_the_next_epoch() {
    let mut world = World::new();
    let (producer_id, epoch) = with_ongoing(&mut world);
    assert_eq!(
        world.end(END, (producer_id, epoch), COMMIT),
        Ok((producer_id, epoch + 1))
    );
    assert_eq!(
        world.marks[0].ending,
        Ending {
            transactional_id: ID.to_owned(),
            producer_id,
            producer_epoch: epoch + 1,
            coordinator_epoch: world.epoch,
            is_commit: true,
            transaction_version: 2,
            partitions: vec![("t".to_owned(), 0)],
        }
    );
    world.finish();
    assert_eq!(world.add(ADD, (producer_id, epoch + 1), &[1]), ErrorCode::None);
    assert_eq!(
        world.end(END, (producer_id, epoch), COMMIT),
        FENCED,
        "the next has begun"
    );
}

#[test]
fn while_markers_are_written_a_newer_client_knows_its_epoch_of_before() {
    for is_commit in [true, false] {
        let mut world = World::new();
        let producer = with_ongoing(&mut world);
        let next = world.end(END, producer, is_commit).expect("ended");
        assert_eq!(world.end(END, producer, is_commit), CONCURRENT);
        assert_eq!(world.end(END, producer, !is_commit), INVALID);
        assert_eq!(world.end(END, next, is_commit), FENCED);
        assert_eq!(world.marks.len(), 1);
    }
}

#[test]
fn the_last_epoch_of_a_producer_ends_with_another_producer_id() {
    for is_commit in [true, false] {
        let (mut world, last) = with_epoch(LAST_PRODUCER_EPOCH);
        assert_eq!(world.add(ADD, last, &[0]), ErrorCode::None);
        let next = world.end(END, last, is_commit);
        assert_eq!(next, Ok((world.last_id, 0)));
        let ending = world.marks[0].ending.clone();
        assert_eq!((ending.producer_id, ending.producer_epoch), (last.0, i16::MAX));
        assert_eq!(world.end(END, last, is_commit), CONCURRENT);
        world.crash(world.durable);
        world.finish();
        assert_eq!(world.end(END, last, is_commit), next, "asked again");
        assert_eq!(world.end(END, last, !is_commit), INVALID);
        assert_eq!(world.end(END, (last.0, last.1 - 1), is_commit), MAPPING);
        assert_eq!(world.add(ADD, (world.last_id, 0), &[0]), ErrorCode::None);
        assert_eq!(world.end(END, last, is_commit), MAPPING, "the next has begun");
    }
}

#[test]
fn an_older_client_keeps_the_last_epoch() {
    let (mut world, last) = with_epoch(LAST_PRODUCER_EPOCH);
    assert_eq!(world.add(OLD_ADD, last, &[0]), ErrorCode::None);
    assert_eq!(world.end(OLD_END, last, COMMIT), DONE);
    world.finish();
    assert_eq!(world.add(OLD_ADD, last, &[0]), ErrorCode::None);
}

#[test]
fn an_end_of_nothing_is_complete_at_once_and_counts_from_now() {
    let mut world = World::new();
    let producer = world.init(ID).expect("a producer");
    world.pass(5);
    let records = world.log.len();
    world.end(END, producer, !COMMIT).expect("ended");
    let values: Vec<_> = world.values(records).into_iter().flatten().collect();
    assert_eq!(world.states(records), ["PrepareAbort", "CompleteAbort"]);
    assert!(world.marks.is_empty());
    assert!(
        values
            .iter()
            .all(|value| value.transaction_start_timestamp_ms == START_MS + 5)
    );
    assert!(
        values
            .iter()
            .all(|value| value.transaction_partitions == Some(Vec::new()))
    );
}

#[test]
fn an_id_or_a_producer_that_is_not_known_has_no_transaction() {
    let mut world = World::new();
    let (producer_id, epoch) = with_ongoing(&mut world);
    for version in [OLD_END, END] {
        assert_eq!(world.end(version, (producer_id + 1, epoch), COMMIT), MAPPING);
        for (id, want) in [
            ("", Err(ErrorCode::InvalidRequest)),
            ("unknown", Err(ErrorCode::InvalidProducerIdMapping)),
        ] {
            let answer = world.ask(version, ending(id, (producer_id, epoch), COMMIT));
            assert_eq!(super::requests::ended(answer), want);
        }
        for other in [epoch - 1, epoch + 1] {
            assert_eq!(world.end(version, (producer_id, other), COMMIT), FENCED);
        }
    }
}

#[test]
fn the_answer_waits_for_the_decision_and_not_for_the_markers() {
    for version in [OLD_END, END] {
        let mut world = World::new();
        let producer = with_ongoing(&mut world);
        let to = world.send(version, ending(ID, producer, COMMIT));
        assert!(
            world.answers.is_empty() && world.marks.is_empty(),
            "nothing is durable"
        );
        world.flush();
        assert!(world.answers.contains_key(&to) && world.marks.len() == 1);
        assert_eq!(world.state(), "PrepareCommit");
    }
}

#[test]
fn markers_end_only_what_was_ordered_by_this_coordinator_and_is_under_way() {
    let mut world = World::new();
    let producer = with_ongoing(&mut world);
    world.end(OLD_END, producer, COMMIT).expect("committed");
    let ordered = world.marks[0].ending.clone();
    let others = [
        Ending {
            coordinator_epoch: ordered.coordinator_epoch - 1,
            ..ordered.clone()
        },
        Ending {
            is_commit: false,
            ..ordered.clone()
        },
        Ending {
            producer_epoch: ordered.producer_epoch - 1,
            ..ordered.clone()
        },
        Ending {
            transactional_id: "unknown".to_owned(),
            ..ordered.clone()
        },
    ];
    for other in others {
        world.step(|coordinator, ctx| coordinator.completed(ctx, &other));
        assert_eq!(world.state(), "PrepareCommit");
    }
    world.finish();
    assert_eq!(world.state(), "CompleteCommit");
    let records = world.log.len();
    world.step(|coordinator, ctx| coordinator.completed(ctx, &ordered));
    assert_eq!(world.log.len(), records, "told twice");
}

#[test]
fn a_producer_of_before_does_not_take_the_end_of_a_later_one_for_its_own() {
    let mut world = World::new();
    let before = world.init(ID).expect("a producer");
    let later = with_ongoing(&mut world);
    world.end(OLD_END, later, COMMIT).expect("committed");
    assert_eq!(world.end(END, before, COMMIT), FENCED);
    world.finish();
    assert_eq!(world.end(END, before, COMMIT), FENCED);
}

#[test]
fn a_producer_that_was_fenced_learns_that_its_transaction_was_aborted_and_not_that_it_was_committed() {
    let mut world = World::new();
    let producer = with_ongoing(&mut world);
    assert_eq!(world.init(ID), CONCURRENT);
    assert_eq!(world.end(END, producer, COMMIT), INVALID);
    world.finish();
    assert_eq!(world.end(END, producer, COMMIT), INVALID);
    assert_eq!(
        world.end(END, producer, !COMMIT),
        Ok((producer.0, producer.1 + 1))
    );
    world.init(ID).expect("a producer");
    assert_eq!(world.end(END, producer, !COMMIT), FENCED);
}

#[test]
fn an_id_is_taken_over_once_its_transaction_has_ended() {
    let mut world = World::new();
    let first = with_ongoing(&mut world);
    assert_eq!(take_over(&mut world), (first.0, first.1 + 2));
}
