//! Transactions that take too long, and ids that nobody uses.

use super::requests::{adding, initialized, initializing};
use super::world::TIMEOUT_MS;
use super::*;
use crate::transactions::TxnRequest;

const TIMEOUT: i64 = TIMEOUT_MS as i64;

#[test]
fn behaviour_26_a_transaction_that_takes_too_long_is_aborted_and_its_producer_fenced() {
    for version in 0..=2 {
        let mut world = World::new();
        world.version = version;
        let producer = with_ongoing(&mut world);
        world.pass(TIMEOUT);
        assert_eq!(world.state(), "Ongoing", "not longer than it said");
        world.pass(1);
        assert_eq!(world.state(), "PrepareAbort");
        world.finish();
        let described = world.describe();
        assert_eq!(described.transaction_state, "CompleteAbort");
        assert_eq!(
            (described.producer_id, described.producer_epoch),
            (producer.0, producer.1 + 1)
        );
        assert_eq!(world.add(ADD, producer, &[0]), ErrorCode::ProducerFenced);
        assert_eq!(
            world.end(OLD_END, producer, COMMIT),
            Err(ErrorCode::ProducerFenced)
        );
        assert_eq!(world.marks.len(), 0);
    }
}

#[test]
fn behaviour_26_transactions_that_take_too_long_are_looked_for_every_ten_seconds() {
    let mut world = World::new();
    with_ongoing(&mut world);
    world.pass(TIMEOUT + 1);
    assert_eq!(world.state(), "PrepareAbort");
    world.finish();
    // One that is over soon after that look waits for the next.
    let looked_ms = world.now_ms;
    let mut request = initializing(ID);
    request.transaction_timeout_ms = 1;
    let producer = world.init_with(INIT, request).expect("a producer");
    world.add(ADD, producer, &[0]);
    assert_eq!(world.coordinator.deadline(), Some(looked_ms + 10_000));
    world.pass(9_999);
    assert_eq!(world.state(), "Ongoing");
    world.pass(1);
    assert_eq!(world.state(), "PrepareAbort");
}

#[test]
fn more_partitions_do_not_make_a_transaction_last_longer() {
    let mut world = World::new();
    let producer = with_ongoing(&mut world);
    world.pass(TIMEOUT - 1);
    world.add(ADD, producer, &[1]);
    world.pass(2);
    assert_eq!(world.state(), "PrepareAbort");
}

#[test]
fn a_transaction_that_took_too_long_while_the_broker_was_away_is_aborted_right_after_the_load() {
    let mut world = World::new();
    with_ongoing(&mut world);
    // The clock that nobody sets begins anew.
    world.now_ms = 3;
    world.wall_ms += TIMEOUT + 1;
    world.crash(world.durable);
    assert_eq!(world.coordinator.deadline(), Some(3));
    world.pass(0);
    assert_eq!(world.state(), "PrepareAbort");
}

#[test]
fn what_is_left_of_the_timeout_counts_after_a_load() {
    let mut world = World::new();
    with_ongoing(&mut world);
    world.wall_ms += TIMEOUT - 10;
    world.crash(world.durable);
    world.pass(10);
    assert_eq!(world.state(), "Ongoing");
    world.pass(1);
    assert_eq!(world.state(), "PrepareAbort");
}

#[test]
fn a_clock_that_was_set_does_not_end_a_transaction_and_does_not_keep_it_forever() {
    let mut world = World::new();
    with_ongoing(&mut world);
    world.wall_ms += 1_000_000_000;
    world.pass(TIMEOUT - 1);
    assert_eq!(world.state(), "Ongoing");
    world.wall_ms -= 2_000_000_000;
    world.crash(world.durable);
    world.pass(TIMEOUT + 1);
    assert_eq!(world.state(), "PrepareAbort");
}

#[test]
fn a_transaction_that_ended_in_time_is_left_alone() {
    for end in [OLD_END, END] {
        let mut world = World::new();
        let producer = with_ongoing(&mut world);
        world.end(end, producer, COMMIT).expect("committed");
        world.pass(2 * TIMEOUT);
        assert_eq!(world.state(), "PrepareCommit", "its markers are not written yet");
        world.finish();
        assert_eq!(world.state(), "CompleteCommit");
    }
}

#[test]
fn without_a_producer_id_at_hand_the_abort_is_tried_again_later() {
    let (mut world, producer) = with_epoch(LAST_PRODUCER_EPOCH);
    world.add(ADD, producer, &[0]);
    world.has_ids = false;
    world.pass(TIMEOUT + 1);
    assert_eq!(world.state(), "Ongoing");
    world.has_ids = true;
    world.pass(10_000);
    assert_eq!(world.state(), "PrepareAbort");
}

#[test]
fn no_more_is_done_at_once_than_is_asked_for() {
    let mut world = World::new();
    for id in ["a", "b", "c"] {
        let answer = world.ask(INIT, TxnRequest::InitProducerId(initializing(id)));
        let producer = initialized(answer).expect("a producer");
        world.ask(ADD, adding(id, producer, &[0], false));
    }
    world.now_ms += TIMEOUT + 1;
    for (done, is_due) in [(2, true), (3, false)] {
        world.step(|coordinator, ctx| coordinator.expire(ctx, 2));
        world.flush();
        assert_eq!(world.marks.len(), done);
        let deadline_ms = world.coordinator.deadline().expect("ids may expire");
        assert_eq!(deadline_ms <= world.now_ms, is_due);
    }
}

/// A week.
const WEEK_MS: i64 = 7 * 24 * 3_600_000;

#[test]
fn an_id_that_nobody_uses_is_forgotten_after_a_week() {
    let mut world = World::new();
    world.init(ID).expect("a producer");
    world.pass(WEEK_MS - 1);
    assert_eq!(world.state(), "Empty");
    let records = world.log.len();
    world.pass(3_600_000);
    assert_eq!(
        world.describe().error_code,
        ErrorCode::TransactionalIdNotFound.code()
    );
    assert_eq!(world.states(records), ["forgotten"]);
    assert_eq!(world.coordinator.deadline(), None, "nothing is left to be done");
    assert_eq!(world.init(ID), Ok((world.last_id, 0)));
}

#[test]
fn ids_are_forgotten_in_every_state_at_rest_and_in_no_other() {
    let mut world = World::new();
    world.settings.max_timeout_ms = i32::MAX;
    for (id, ends) in [
        ("committed", Some((COMMIT, true))),
        ("aborted", Some((!COMMIT, true))),
        ("committing", Some((COMMIT, false))),
        ("aborting", Some((!COMMIT, false))),
        ("ongoing", None),
    ] {
        let mut request = initializing(id);
        request.transaction_timeout_ms = i32::MAX - 1;
        let producer = world.init_with(INIT, request).expect("a producer");
        world.ask(ADD, adding(id, producer, &[0], false));
        if let Some((is_commit, is_complete)) = ends {
            world.ask(END, super::requests::ending(id, producer, is_commit));
            if is_complete {
                world.finish();
            }
        }
    }
    world.pass(WEEK_MS + 3_600_000);
    let left: Vec<&str> = world.coordinator.transactions.keys().map(AsRef::as_ref).collect();
    assert_eq!(left, ["aborting", "committing", "ongoing"]);
}

#[test]
fn ids_are_looked_at_some_at_a_time() {
    let mut world = World::new();
    for id in ["a", "b", "c", "d", "e"] {
        world.init(id).expect("a producer");
    }
    world.now_ms += 3_600_000;
    world.wall_ms += WEEK_MS;
    for left in [3, 1, 0] {
        assert!(
            world
                .coordinator
                .deadline()
                .is_some_and(|at_ms| at_ms <= world.now_ms)
        );
        world.step(|coordinator, ctx| coordinator.expire(ctx, 2));
        assert_eq!(world.coordinator.transactions.len(), left);
    }
    assert_eq!(world.coordinator.deadline(), None);
}
