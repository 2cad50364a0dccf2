//! InitProducerId.

use super::requests::{initializing, resuming};
use super::world::START_MS;
use super::*;
use crate::wire::init_producer_id::InitProducerIdRequest;

const FENCED: Result<(i64, i16), ErrorCode> = Err(ErrorCode::ProducerFenced);

#[test]
fn behaviour_25_a_new_id_gets_a_producer_and_a_known_one_the_next_epoch() {
    let mut world = World::new();
    let (producer_id, epoch) = world.init(ID).expect("a producer");
    assert_eq!(epoch, 0);
    assert_eq!(world.init(ID), Ok((producer_id, 1)));
    assert_ne!(
        world.init("other").expect("a producer").0,
        producer_id,
        "nobody else has it"
    );
    for is_commit in [COMMIT, !COMMIT] {
        for (add, end) in [(OLD_ADD, OLD_END), (ADD, END)] {
            let before = with_ongoing(&mut world);
            assert!(
                world.add(add, before, &[1]) == ErrorCode::None && world.end(end, before, is_commit).is_ok()
            );
            world.finish();
            let bumped = if end == END { 2 } else { 1 };
            assert_eq!(world.init(ID), Ok((before.0, before.1 + bumped)));
            assert_eq!(world.state(), "Empty");
        }
    }
}

#[test]
fn behaviour_25_an_ongoing_transaction_is_aborted_before_another_producer_has_its_id() {
    for version in 0..=2 {
        let mut world = World::new();
        world.version = version;
        let first = with_ongoing(&mut world);
        assert_eq!(
            world.init(ID),
            Err(ErrorCode::ConcurrentTransactions),
            "version {version}"
        );
        let ending = world.marks[0].ending.clone();
        assert!(!ending.is_commit);
        assert_eq!(
            (ending.producer_id, ending.producer_epoch),
            (first.0, first.1 + 1)
        );
        assert_eq!(ending.transaction_version, if version == 2 { 2 } else { 0 });
        assert_eq!(
            world.init(ID),
            Err(ErrorCode::ConcurrentTransactions),
            "markers are being written"
        );
        assert_eq!(world.marks.len(), 1, "they are ordered once");
        world.finish();
        assert_eq!(world.state(), "CompleteAbort");
        assert_eq!(world.init(ID), Ok((first.0, first.1 + 2)));
        assert_eq!(world.add(ADD, first, &[0]), ErrorCode::ProducerFenced);
        assert_eq!(world.end(END, first, COMMIT), FENCED);
    }
}

#[test]
fn behaviour_25_a_producer_resumes_with_its_id_and_epoch_and_who_is_older_does_not() {
    let mut world = World::new();
    let first = world.init(ID).expect("a producer");
    let second = world.resume(INIT, first).expect("the next epoch");
    assert_eq!(second, (first.0, 1));
    assert_eq!(
        world.resume(INIT, first),
        Ok(second),
        "it did not hear the answer and asks again"
    );
    let third = world.resume(INIT, second).expect("the next epoch");
    assert_eq!(third, (first.0, 2));
    assert_eq!(world.resume(INIT, first), FENCED);
    assert_eq!(world.resume(INIT, (third.0, 7)), FENCED, "an epoch nobody has");
    assert_eq!(world.resume(INIT, (5, 2)), FENCED, "another producer id");
    let other = world.init(ID).expect("the next epoch");
    assert_eq!(world.resume(INIT, third), FENCED, "another has taken the id over");
    assert_eq!(world.resume(INIT, other), Ok((first.0, 4)));
}

#[test]
fn behaviour_23_older_clients_are_told_invalid_producer_epoch_when_they_are_fenced() {
    let mut world = World::new();
    let first = world.init(ID).expect("a producer");
    world.init(ID).expect("another");
    let (old, new) = (ErrorCode::InvalidProducerEpoch, ErrorCode::ProducerFenced);
    assert_eq!(
        [world.resume(3, first), world.resume(4, first)],
        [Err(old), Err(new)]
    );
    assert_eq!([world.add(1, first, &[0]), world.add(2, first, &[0])], [old, new]);
    assert_eq!(
        [world.end(1, first, COMMIT), world.end(2, first, COMMIT)],
        [Err(old), Err(new)]
    );
}

#[test]
fn a_producer_that_resumes_aborts_its_own_transaction_and_has_the_next_epoch() {
    let mut world = World::new();
    let producer = with_ongoing(&mut world);
    assert_eq!(
        world.resume(INIT, producer),
        Err(ErrorCode::ConcurrentTransactions)
    );
    world.finish();
    assert_eq!(world.resume(INIT, producer), Ok((producer.0, producer.1 + 1)));
}

#[test]
fn a_fenced_producer_that_resumes_does_not_end_the_transaction_of_the_one_that_fenced_it() {
    let mut world = World::new();
    let first = world.init(ID).expect("a producer");
    let second = with_ongoing(&mut world);
    assert_eq!(world.resume(INIT, first), FENCED);
    assert_eq!(world.state(), "Ongoing");
    assert_eq!(world.end(END, second, COMMIT), Ok((second.0, second.1 + 1)));
}

#[test]
fn a_producer_whose_id_was_forgotten_gets_another() {
    let mut world = World::new();
    assert_eq!(world.resume(INIT, (77, 5)), Ok((world.last_id, 0)));
}

#[test]
fn a_timeout_beyond_the_brokers_or_none_is_refused() {
    let mut world = World::new();
    world.settings.max_timeout_ms = 1_000;
    for (timeout_ms, is_good) in [
        (-1, false),
        (0, false),
        (1, true),
        (1_000, true),
        (1_001, false),
        (i32::MAX, false),
    ] {
        let request = InitProducerIdRequest {
            transaction_timeout_ms: timeout_ms,
            ..initializing(ID)
        };
        let want = match is_good {
            true => None,
            false => Some(ErrorCode::InvalidTransactionTimeout),
        };
        assert_eq!(world.init_with(INIT, request).err(), want, "{timeout_ms}");
    }
}

#[test]
fn behaviour_26_a_timeout_above_the_brokers_limit_is_invalid() {
    let mut world = World::new();
    let asking = |timeout_ms| InitProducerIdRequest {
        transaction_timeout_ms: timeout_ms,
        ..initializing(ID)
    };
    assert_eq!(world.init_with(INIT, asking(900_000)).map(|got| got.1), Ok(0));
    assert_eq!(
        world.init_with(INIT, asking(900_001)),
        Err(ErrorCode::InvalidTransactionTimeout)
    );
}

#[test]
fn a_request_without_an_id_or_with_half_a_producer_is_malformed() {
    let mut world = World::new();
    for request in [initializing(""), resuming(ID, (-1, 3)), resuming(ID, (3, -1))] {
        assert_eq!(world.init_with(INIT, request), Err(ErrorCode::InvalidRequest));
    }
    assert!(world.log.is_empty());
}

#[test]
fn the_timeout_is_that_of_the_last_producer() {
    let mut world = World::new();
    world.init(ID).expect("a producer");
    let request = InitProducerIdRequest {
        transaction_timeout_ms: 7,
        ..initializing(ID)
    };
    world.init_with(INIT, request).expect("a producer");
    assert_eq!(world.describe().transaction_timeout_ms, 7);
}

#[test]
fn behaviour_25_a_producer_without_epochs_left_gets_another_id() {
    let (mut world, last) = with_epoch(LAST_PRODUCER_EPOCH);
    let next = world.init(ID).expect("a producer");
    assert_eq!(next, (world.last_id, 0));
    assert_eq!(
        world.resume(INIT, last),
        FENCED,
        "it did not ask itself for the next"
    );
}

#[test]
fn a_producer_that_asked_itself_for_the_next_id_may_ask_again() {
    let (mut world, last) = with_epoch(LAST_PRODUCER_EPOCH);
    let next = world.resume(INIT, last).expect("a producer");
    assert_eq!(next, (world.last_id, 0));
    assert_eq!(world.resume(INIT, last), Ok(next));
    assert_eq!(world.resume(INIT, (last.0, last.1 - 1)), FENCED);
}

#[test]
fn the_last_epoch_is_given_again_to_who_asks_again() {
    let (mut world, last_but_one) = with_epoch(LAST_PRODUCER_EPOCH - 1);
    let last = world.resume(INIT, last_but_one).expect("the last epoch");
    assert_eq!(world.resume(INIT, last_but_one), Ok(last));
}

#[test]
fn who_fences_a_producer_without_epochs_left_gets_another_id() {
    for version in [0, 2] {
        let (mut world, last) = with_epoch(LAST_PRODUCER_EPOCH);
        world.version = version;
        assert_eq!(world.add(ADD, last, &[0]), ErrorCode::None);
        assert_eq!(world.init(ID), Err(ErrorCode::ConcurrentTransactions));
        let ending = world.marks[0].ending.clone();
        assert_eq!((ending.producer_id, ending.producer_epoch), (last.0, i16::MAX));
        world.finish();
        let (producer_id, _) = world.init(ID).expect("a producer");
        assert_eq!(producer_id, world.last_id, "version {version}");
    }
}

#[test]
fn nothing_happens_while_no_producer_id_is_at_hand() {
    let mut world = World::new();
    world.has_ids = false;
    assert_eq!(world.init(ID), Err(ErrorCode::CoordinatorLoadInProgress));
    assert!(world.log.is_empty());
    let (mut world, last) = with_epoch(LAST_PRODUCER_EPOCH);
    world.add(ADD, last, &[0]);
    world.has_ids = false;
    assert_eq!(world.init(ID), Err(ErrorCode::CoordinatorLoadInProgress));
    assert_eq!(
        world.end(END, last, COMMIT),
        Err(ErrorCode::CoordinatorLoadInProgress)
    );
    assert_eq!(world.state(), "Ongoing");
    world.has_ids = true;
    assert_eq!(world.end(END, last, COMMIT), Ok((world.last_id, 0)));
}

#[test]
fn an_id_that_is_taken_has_begun_nothing() {
    let mut world = World::new();
    let producer = with_ongoing(&mut world);
    assert_eq!(world.describe().transaction_start_time_ms, START_MS);
    world.end(END, producer, COMMIT).expect("committed");
    world.finish();
    world.init(ID).expect("a producer");
    let described = world.describe();
    assert_eq!(
        (described.transaction_start_time_ms, described.topics.len()),
        (-1, 0)
    );
}
