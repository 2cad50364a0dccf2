//! What other brokers got wrong about idempotent and transactional producers, each by its number in the list of such behaviours
//! (20 to 32), against a real broker by hand. With `RINGLOG_TEST_BOOTSTRAP` against another one, such as Apache Kafka.

use std::time::Duration;

use kafka_protocol::messages::{EndTxnRequest, InitProducerIdRequest};
use ringlog_tests::admin::create;
use ringlog_tests::group::{self, group_id, text};
use ringlog_tests::raw::{Batch, Connection, produce, produce_request};
use ringlog_tests::txn::{
    Producer, READ_COMMITTED, READ_UNCOMMITTED, add_offsets_request, add_partitions, add_partitions_request,
    batch, committed_values, end, end_and_go_on, end_offset, end_request, fetch_of, fetched, init,
    init_request, offset_commit_request, patiently, stable_offset, state, wait_for_state, write, write_as,
};
use ringlog_tests::{Broker, PATIENCE, broker, code, wait_for};

const TIMEOUT_MS: i32 = 60_000;

/// A broker, a topic of two partitions, a connection and a transactional id nobody has used.
fn stage(stem: &str) -> (Broker, String, Connection, String) {
    let broker = Broker::any();
    let topic = create(&broker, stem, 2, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    let id = broker::unique(stem);
    // The coordinator's topic is there when this returns.
    init(&mut connection, &format!("{id}-first"), TIMEOUT_MS);
    (broker, topic, connection, id)
}

/// A producer without a transactional id.
fn idempotent(connection: &mut Connection) -> Producer {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(TIMEOUT_MS);
    let answer = connection.call(4, &request);
    assert_eq!(answer.error_code, code::NONE);
    Producer {
        id: answer.producer_id.0,
        epoch: answer.producer_epoch,
    }
}

/// Writes records of an idempotent producer: error and base offset.
fn plain(
    connection: &mut Connection,
    topic: &str,
    producer: Producer,
    sequence: i32,
    count: usize,
) -> (i16, i64) {
    let values = vec![&b"v"[..]; count];
    let batch = Batch::of(&values).from_producer(producer.id, producer.epoch, sequence);
    let answer = produce(connection, topic, 0, &batch.build());
    (answer.error_code, answer.base_offset)
}

/// Waits until the markers of what has ended are in a partition.
fn wait_for_markers(connection: &mut Connection, topic: &str, partition: i32) {
    wait_for("no transaction is open", PATIENCE, || {
        let mut end = |isolation| end_offset(connection, topic, partition, isolation);
        (end(READ_COMMITTED) == end(READ_UNCOMMITTED)).then_some(())
    });
}

#[test]
fn behaviour_20_each_of_the_last_five_batches_is_known_again_with_its_offset() {
    let (_broker, topic, mut connection, _) = stage("b20");
    let producer = idempotent(&mut connection);
    for sequence in 0..6 {
        assert_eq!(
            plain(&mut connection, &topic, producer, sequence, 1),
            (code::NONE, i64::from(sequence))
        );
    }
    for sequence in 1..6 {
        let again = plain(&mut connection, &topic, producer, sequence, 1);
        assert_eq!(
            again,
            (code::NONE, i64::from(sequence)),
            "batch {sequence} once more"
        );
    }
    let (error, _) = plain(&mut connection, &topic, producer, 0, 1);
    assert_eq!(
        error,
        code::OUT_OF_ORDER_SEQUENCE,
        "the sixth of the last is not known any more"
    );
    assert_eq!(end_offset(&mut connection, &topic, 0, READ_UNCOMMITTED), 6);
}

#[test]
fn behaviour_20_also_in_a_transaction_a_batch_is_known_again() {
    let (_broker, topic, mut connection, id) = stage("b20t");
    let producer = init(&mut connection, &id, TIMEOUT_MS);
    let first = batch(producer, 0, &[b"a", b"b"]);
    assert_eq!(
        write_as(&mut connection, 12, &id, &topic, 0, &first),
        (code::NONE, 0)
    );
    assert_eq!(
        write_as(&mut connection, 12, &id, &topic, 0, &first),
        (code::NONE, 0)
    );
    assert_eq!(end_and_go_on(&mut connection, &id, producer, true).0, code::NONE);
    wait_for_markers(&mut connection, &topic, 0);
    assert_eq!(committed_values(&mut connection, &topic, 0, 0), [b"a", b"b"]);
}

#[test]
fn behaviour_21_the_sequence_after_the_largest_is_0() {
    let (_broker, topic, mut connection, _) = stage("b21");
    let producer = idempotent(&mut connection);
    assert_eq!(
        plain(&mut connection, &topic, producer, i32::MAX - 1, 2),
        (code::NONE, 0)
    );
    for wrong in [i32::MAX, 1, i32::MIN] {
        let (error, _) = plain(&mut connection, &topic, producer, wrong, 1);
        assert_ne!(error, code::NONE, "{wrong} does not follow");
    }
    assert_eq!(plain(&mut connection, &topic, producer, 0, 1), (code::NONE, 2));
    let other = idempotent(&mut connection);
    let over = plain(&mut connection, &topic, other, i32::MAX - 1, 4);
    assert_eq!(over, (code::NONE, 3), "a batch goes over the largest sequence");
    assert_eq!(plain(&mut connection, &topic, other, 2, 1), (code::NONE, 7));
}

#[test]
fn behaviour_22_an_unknown_producer_begins_anywhere_and_one_of_version_2_at_0() {
    let (_broker, topic, mut connection, id) = stage("b22");
    let producer = idempotent(&mut connection);
    assert_eq!(
        plain(&mut connection, &topic, producer, 4_711, 1),
        (code::NONE, 0)
    );
    assert_eq!(
        plain(&mut connection, &topic, producer, 4_712, 1),
        (code::NONE, 1)
    );
    let producer = init(&mut connection, &id, TIMEOUT_MS);
    let (error, _) = write_as(&mut connection, 12, &id, &topic, 0, &batch(producer, 7, &[b"x"]));
    assert_eq!(error, code::OUT_OF_ORDER_SEQUENCE);
    let (error, _) = write_as(&mut connection, 12, &id, &topic, 0, &batch(producer, 0, &[b"x"]));
    assert_eq!(error, code::NONE);
}

#[test]
fn behaviour_23_a_new_epoch_begins_at_0_and_an_old_one_is_refused() {
    let (_broker, topic, mut connection, _) = stage("b23");
    let producer = idempotent(&mut connection).later(3);
    assert_eq!(plain(&mut connection, &topic, producer, 0, 1), (code::NONE, 0));
    assert_eq!(
        plain(&mut connection, &topic, producer.later(1), 1, 1).0,
        code::OUT_OF_ORDER_SEQUENCE
    );
    assert_eq!(
        plain(&mut connection, &topic, producer.later(1), 0, 1),
        (code::NONE, 1)
    );
    assert_eq!(
        plain(&mut connection, &topic, producer, 1, 1).0,
        code::INVALID_PRODUCER_EPOCH
    );
}

#[test]
fn behaviour_23_a_fenced_producer_is_told_so_in_the_words_of_each_version() {
    let (_broker, topic, mut connection, id) = stage("b23f");
    let old = init(&mut connection, &id, TIMEOUT_MS);
    let new = init(&mut connection, &id, TIMEOUT_MS);
    assert_eq!(new, old.later(1));
    for (version, wanted) in [
        (1, code::INVALID_PRODUCER_EPOCH),
        (2, code::PRODUCER_FENCED),
        (3, code::PRODUCER_FENCED),
    ] {
        let answer = connection.call(version, &add_partitions_request(&id, old, &[(&topic, &[0])]));
        let told = &answer.results_by_topic_v3_and_below[0].results_by_partition[0];
        assert_eq!(told.partition_error_code, wanted, "AddPartitionsToTxn {version}");
        let answer = connection.call(version, &add_offsets_request(&id, old, "b23-group"));
        assert_eq!(answer.error_code, wanted, "AddOffsetsToTxn {version}");
    }
    for (version, wanted) in [
        (1, code::INVALID_PRODUCER_EPOCH),
        (2, code::PRODUCER_FENCED),
        (5, code::PRODUCER_FENCED),
    ] {
        let answer = connection.call(version, &end_request(&id, old, true));
        assert_eq!(answer.error_code, wanted, "EndTxn {version}");
    }
    for (version, wanted) in [(3, code::INVALID_PRODUCER_EPOCH), (4, code::PRODUCER_FENCED)] {
        // The epoch before the last one may ask again; this one is older.
        let _ = init(&mut connection, &id, TIMEOUT_MS);
        let answer = connection.call(version, &init_request(&id, TIMEOUT_MS, old));
        assert_eq!(answer.error_code, wanted, "InitProducerId {version}");
    }
    for version in [9, 11, 12] {
        let (error, _) = write_as(&mut connection, version, &id, &topic, 0, &batch(old, 0, &[b"x"]));
        assert_eq!(error, code::INVALID_PRODUCER_EPOCH, "Produce {version}");
    }
    assert_eq!(
        end_offset(&mut connection, &topic, 0, READ_UNCOMMITTED),
        0,
        "nothing was written"
    );
}

#[test]
fn behaviour_24_a_producer_is_forgotten_after_its_time_but_never_in_a_transaction() {
    let settings = [
        ("producer.id.expiration.ms", 300),
        ("producer.id.expiration.check.interval.ms", 100),
    ];
    let mut builder = Broker::own();
    for (key, value) in settings {
        builder = builder.set(key, value);
    }
    let Some(broker) = builder.start() else { return };
    let topic = create(&broker, "b24", 2, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    let (id, other) = (broker::unique("b24"), idempotent(&mut connection));
    let producer = init(&mut connection, &id, TIMEOUT_MS);
    assert_eq!(
        add_partitions(&mut connection, &id, producer, &topic, &[1]),
        code::NONE
    );
    assert_eq!(
        write(&mut connection, &id, &topic, 1, &batch(producer, 0, &[b"open"])).0,
        code::NONE
    );
    assert_eq!(plain(&mut connection, &topic, other, 10, 1), (code::NONE, 0));
    assert_eq!(
        plain(&mut connection, &topic, other, 10, 1),
        (code::NONE, 0),
        "known again"
    );
    wait_for("the idle producer is forgotten", PATIENCE, || {
        let (error, offset) = plain(&mut connection, &topic, other, 5, 1);
        // While it is known this is out of order.
        (error == code::NONE && offset > 0).then_some(())
    });
    // The transaction is older than that, and its producer goes on.
    assert_eq!(
        write(&mut connection, &id, &topic, 1, &batch(producer, 0, &[b"open"])),
        (code::NONE, 0)
    );
    assert_eq!(
        write(&mut connection, &id, &topic, 1, &batch(producer, 1, &[b"more"])).0,
        code::NONE
    );
    assert_eq!(end(&mut connection, &id, producer, true), code::NONE);
    wait_for_markers(&mut connection, &topic, 1);
    assert_eq!(
        committed_values(&mut connection, &topic, 1, 0),
        [b"open", b"more"]
    );
}

#[test]
fn behaviour_25_ids_without_a_transactional_id_are_new_and_with_one_the_epoch_moves() {
    let (_broker, topic, mut connection, id) = stage("b25");
    let (first, second) = (idempotent(&mut connection), idempotent(&mut connection));
    assert_ne!(first.id, second.id);
    assert_eq!((first.epoch, second.epoch), (0, 0));
    let own = init(&mut connection, &id, TIMEOUT_MS);
    assert_eq!(own.epoch, 0);
    assert_eq!(init(&mut connection, &id, TIMEOUT_MS), own.later(1));
    let own = own.later(1);
    // In the middle of a transaction it is aborted first; the epoch moves for that, and for the new producer.
    assert_eq!(
        write_as(&mut connection, 12, &id, &topic, 0, &batch(own, 0, &[b"x"])).0,
        code::NONE
    );
    let next = init(&mut connection, &id, TIMEOUT_MS);
    assert_eq!(next.id, own.id);
    assert!(next.epoch > own.epoch + 1, "{next:?} after {own:?}");
    wait_for_markers(&mut connection, &topic, 0);
    assert!(committed_values(&mut connection, &topic, 0, 0).is_empty());
}

#[test]
fn behaviour_25_a_producer_resumes_with_its_own_epoch_and_not_with_an_old_one() {
    let (_broker, _, mut connection, id) = stage("b25r");
    let own = init(&mut connection, &id, TIMEOUT_MS);
    let resumed = connection.call(4, &init_request(&id, TIMEOUT_MS, own));
    assert_eq!(
        (resumed.error_code, resumed.producer_epoch),
        (code::NONE, own.epoch + 1)
    );
    let again = connection.call(4, &init_request(&id, TIMEOUT_MS, own));
    assert_eq!(
        (again.error_code, again.producer_epoch),
        (code::NONE, own.epoch + 1),
        "the answer was lost"
    );
    init(&mut connection, &id, TIMEOUT_MS);
    let old = connection.call(4, &init_request(&id, TIMEOUT_MS, own));
    assert_eq!(old.error_code, code::PRODUCER_FENCED);
}

#[test]
fn behaviour_26_a_timeout_beyond_the_largest_is_refused() {
    let (_broker, _, mut connection, id) = stage("b26");
    for (timeout_ms, wanted) in [
        (0, code::INVALID_TRANSACTION_TIMEOUT),
        (-1, code::INVALID_TRANSACTION_TIMEOUT),
        (900_001, code::INVALID_TRANSACTION_TIMEOUT),
        (900_000, code::NONE),
    ] {
        let answer = connection.call(4, &init_request(&id, timeout_ms, Producer::NONE));
        assert_eq!(answer.error_code, wanted, "{timeout_ms} ms");
    }
}

#[test]
fn behaviour_26_a_transaction_that_takes_too_long_is_aborted_and_its_producer_fenced() {
    let broker = Broker::own()
        .set("transaction.abort.timed.out.transaction.cleanup.interval.ms", 100)
        .or_external();
    let topic = create(&broker, "b26", 1, &[]);
    let (mut connection, id) = (Connection::open(broker.bootstrap()), broker::unique("b26"));
    let late = init(&mut connection, &id, 300);
    assert_eq!(
        write_as(&mut connection, 12, &id, &topic, 0, &batch(late, 0, &[b"late"])).0,
        code::NONE
    );
    wait_for_state(&mut connection, &id, "CompleteAbort");
    wait_for_markers(&mut connection, &topic, 0);
    let (error, _) = write_as(&mut connection, 12, &id, &topic, 0, &batch(late, 1, &[b"later"]));
    assert_eq!(error, code::INVALID_PRODUCER_EPOCH);
    assert_eq!(end(&mut connection, &id, late, true), code::PRODUCER_FENCED);
    assert!(committed_values(&mut connection, &topic, 0, 0).is_empty());
    let next = init(&mut connection, &id, TIMEOUT_MS);
    assert!(
        next.epoch > late.epoch + 1,
        "the abort moved the epoch: {next:?} after {late:?}"
    );
}

#[test]
fn behaviour_27_the_last_stable_offset_is_the_first_of_the_earliest_open_transaction() {
    let (_broker, topic, mut connection, id) = stage("b27");
    let (one, two) = (format!("{id}-one"), format!("{id}-two"));
    let (a, b) = (
        init(&mut connection, &one, TIMEOUT_MS),
        init(&mut connection, &two, TIMEOUT_MS),
    );
    let plain = produce(&mut connection, &topic, 0, &Batch::of(&[b"plain"]).build());
    assert_eq!(plain.base_offset, 0);
    assert_eq!(
        write_as(
            &mut connection,
            12,
            &one,
            &topic,
            0,
            &batch(a, 0, &[b"a0", b"a1"])
        ),
        (code::NONE, 1)
    );
    assert_eq!(
        write_as(&mut connection, 12, &two, &topic, 0, &batch(b, 0, &[b"b0"])),
        (code::NONE, 3)
    );
    let offsets = |connection: &mut Connection, isolation| {
        let answer = fetch_of(connection, &topic, 0, 0, isolation);
        let last = fetched(&answer.records.unwrap_or_default())
            .last()
            .map(|batch| batch.last_offset);
        let aborted = answer.aborted_transactions.map(|all| {
            let mut all: Vec<(i64, i64)> = all
                .iter()
                .map(|one| (one.producer_id.0, one.first_offset))
                .collect();
            all.sort_unstable();
            all
        });
        (answer.last_stable_offset, answer.high_watermark, last, aborted)
    };
    assert_eq!(
        offsets(&mut connection, READ_COMMITTED),
        (1, 4, Some(0), Some(vec![]))
    );
    assert_eq!(
        offsets(&mut connection, READ_UNCOMMITTED),
        (1, 4, Some(3), None),
        "null for who does not ask"
    );
    assert_eq!(end_offset(&mut connection, &topic, 0, READ_COMMITTED), 1);

    // b ends with an abort; the older a still keeps the last stable offset back.
    assert_eq!(end_and_go_on(&mut connection, &two, b, false).0, code::NONE);
    wait_for_state(&mut connection, &two, "CompleteAbort");
    let (stable, high, last, _) = offsets(&mut connection, READ_COMMITTED);
    // What is listed as aborted behind the last record given does no harm.
    assert_eq!((stable, high, last), (1, 5, Some(0)));
    assert_eq!(end_and_go_on(&mut connection, &one, a, true).0, code::NONE);
    wait_for_markers(&mut connection, &topic, 0);
    assert_eq!(
        offsets(&mut connection, READ_COMMITTED),
        (6, 6, Some(5), Some(vec![(b.id, 3)]))
    );
    assert_eq!(offsets(&mut connection, READ_UNCOMMITTED), (6, 6, Some(5), None));
    assert_eq!(
        committed_values(&mut connection, &topic, 0, 0),
        [&b"plain"[..], b"a0", b"a1"]
    );

    // The list is of those that end at or behind the offset.
    for (offset, listed) in [(3, 1), (4, 1), (5, 0), (6, 0)] {
        let answer = fetch_of(&mut connection, &topic, 0, offset, READ_COMMITTED);
        let aborted = answer.aborted_transactions.expect("a list");
        assert_eq!(aborted.len(), listed, "from {offset}");
    }
}

#[test]
fn behaviour_28_no_other_replica_is_preferred_when_there_are_records() {
    let (_broker, topic, mut connection, id) = stage("b28");
    let producer = init(&mut connection, &id, TIMEOUT_MS);
    assert_eq!(
        write_as(&mut connection, 12, &id, &topic, 0, &batch(producer, 0, &[b"x"])).0,
        code::NONE
    );
    assert_eq!(end_and_go_on(&mut connection, &id, producer, false).0, code::NONE);
    wait_for_markers(&mut connection, &topic, 0);
    for isolation in [READ_UNCOMMITTED, READ_COMMITTED] {
        let answer = fetch_of(&mut connection, &topic, 0, 0, isolation);
        assert_eq!(answer.preferred_read_replica.0, -1);
        assert!(answer.records.is_some_and(|records| !records.is_empty()));
    }
}

#[test]
fn behaviour_29_a_marker_takes_an_offset_that_readers_step_over() {
    let (_broker, topic, mut connection, id) = stage("b29");
    let mut producer = init(&mut connection, &id, TIMEOUT_MS);
    for (number, commits) in [(0, true), (1, false), (2, true)] {
        let base = number * 2;
        let written = write_as(
            &mut connection,
            12,
            &id,
            &topic,
            0,
            &batch(producer, 0, &[b"one"]),
        );
        assert_eq!(written, (code::NONE, base));
        let (error, next) = end_and_go_on(&mut connection, &id, producer, commits);
        assert_eq!(error, code::NONE);
        wait_for_markers(&mut connection, &topic, 0);
        assert_eq!(end_offset(&mut connection, &topic, 0, READ_COMMITTED), base + 2);
        let marker = fetch_of(&mut connection, &topic, 0, base + 1, READ_COMMITTED);
        let marker = fetched(&marker.records.expect("the marker"));
        assert_eq!(
            (marker[0].base_offset, marker[0].marker),
            (base + 1, Some(commits))
        );
        assert_eq!(
            marker[0].base_sequence, -1,
            "a marker has no place among the sequences"
        );
        producer = next;
    }
    assert_eq!(committed_values(&mut connection, &topic, 0, 0).len(), 2);
}

#[test]
fn behaviour_30_an_end_may_be_asked_for_again_and_only_the_same_one() {
    let (_broker, topic, mut connection, id) = stage("b30");
    for commits in [true, false] {
        let producer = init(&mut connection, &id, TIMEOUT_MS);
        assert_eq!(
            add_partitions(&mut connection, &id, producer, &topic, &[0]),
            code::NONE
        );
        for _ in 0..2 {
            assert_eq!(end(&mut connection, &id, producer, commits), code::NONE);
        }
        assert_eq!(
            end(&mut connection, &id, producer, !commits),
            code::INVALID_TXN_STATE
        );
    }
}

#[test]
fn behaviour_30_in_version_2_each_end_moves_the_epoch_also_an_empty_ones() {
    let (_broker, topic, mut connection, id) = stage("b30v");
    let producer = init(&mut connection, &id, TIMEOUT_MS);
    let (error, next) = end_and_go_on(&mut connection, &id, producer, false);
    assert_eq!(
        (error, next),
        (code::NONE, producer.later(1)),
        "an empty transaction is aborted"
    );
    assert_eq!(
        write_as(&mut connection, 12, &id, &topic, 0, &batch(next, 0, &[b"x"])).0,
        code::NONE
    );
    for _ in 0..2 {
        let (error, after) = end_and_go_on(&mut connection, &id, next, true);
        assert_eq!(
            (error, after),
            (code::NONE, producer.later(2)),
            "also when it is asked for again"
        );
    }
    let (error, _) = end_and_go_on(&mut connection, &id, producer.later(2), true);
    assert_eq!(
        error,
        code::INVALID_TXN_STATE,
        "nothing was begun that could be committed"
    );
    // Without partitions an older client may end as well, but there is nothing to end.
    let request: EndTxnRequest = end_request(&id, producer.later(2), false);
    let answer = patiently(&mut connection, 4, &request, |answer| answer.error_code);
    assert_eq!(answer.error_code, code::INVALID_TXN_STATE);
}

#[test]
fn behaviour_31_offsets_of_a_transaction_are_seen_with_its_commit() {
    let (broker, topic, _, id) = stage("b31");
    let group = broker::unique("b31");
    let mut connection = group::coordinator(&broker, &group);
    let mut producer = init(&mut connection, &id, TIMEOUT_MS);
    for (version, offset, commits, after) in [(5, 5, true, 5), (4, 9, false, 5), (3, 7, true, 7)] {
        let before = stable_offset(&mut connection, &group, &topic, 0).expect("decided");
        if version < 5 {
            let request = add_offsets_request(&id, producer, &group);
            let answer = patiently(&mut connection, 3, &request, |answer| answer.error_code);
            assert_eq!(answer.error_code, code::NONE);
        }
        let request = offset_commit_request(&id, producer, &group, &topic, &[(0, offset)]);
        let error = |answer: &kafka_protocol::messages::TxnOffsetCommitResponse| {
            answer.topics[0].partitions[0].error_code
        };
        let answer = patiently(&mut connection, version, &request, error);
        assert_eq!(error(&answer), code::NONE, "TxnOffsetCommit {version}");
        let pending = stable_offset(&mut connection, &group, &topic, 0);
        assert_eq!(pending, Err(code::UNSTABLE_OFFSET_COMMIT));
        assert_eq!(
            stable_offset(&mut connection, &group, &topic, 1),
            Ok(-1),
            "the other partition is decided"
        );
        let seen = group::committed(&mut connection, &group, &topic, &[0]).expect("offsets");
        assert_eq!(
            seen[&0], before,
            "who does not ask for decided ones gets the one before"
        );
        let (error, next) = end_and_go_on(&mut connection, &id, producer, commits);
        assert_eq!(error, code::NONE);
        producer = next;
        let decided = wait_for("the offset is decided", PATIENCE, || {
            stable_offset(&mut connection, &group, &topic, 0).ok()
        });
        assert_eq!(decided, after);
    }
}

#[test]
fn behaviour_31_offsets_of_a_transaction_are_those_of_a_member_in_its_generation() {
    let (broker, topic, _, id) = stage("b31m");
    let group = broker::unique("b31m");
    let mut connection = group::coordinator(&broker, &group);
    let (member, generation) = group::alone(&mut connection, &group, &[&topic]);
    let producer = init(&mut connection, &id, TIMEOUT_MS);
    let request = add_offsets_request(&id, producer, &group);
    let answer = patiently(&mut connection, 3, &request, |answer| answer.error_code);
    assert_eq!(answer.error_code, code::NONE);
    let good = offset_commit_request(&id, producer, &group, &topic, &[(0, 5)]);
    for (who, of, wanted) in [
        (&member[..], generation, code::NONE),
        (&member, generation - 1, code::ILLEGAL_GENERATION),
        (&member, generation + 1, code::ILLEGAL_GENERATION),
        ("nobody", generation, code::UNKNOWN_MEMBER_ID),
    ] {
        let request = good
            .clone()
            .with_group_id(group_id(&group))
            .with_member_id(text(who))
            .with_generation_id(of);
        let answer = connection.call(4, &request);
        assert_eq!(
            answer.topics[0].partitions[0].error_code, wanted,
            "{who} of generation {of}"
        );
    }
    assert_eq!(end(&mut connection, &id, producer, true), code::NONE);
}

#[test]
fn behaviour_32_a_record_outside_of_its_transaction_is_refused() {
    let (_broker, topic, mut connection, id) = stage("b32");
    let producer = init(&mut connection, &id, TIMEOUT_MS);
    assert_eq!(
        add_partitions(&mut connection, &id, producer, &topic, &[0]),
        code::NONE
    );
    let record = batch(producer, 0, &[b"x"]);
    for (version, wanted) in [
        (9, code::INVALID_TXN_STATE),
        (10, code::INVALID_TXN_STATE),
        (11, code::TRANSACTION_ABORTABLE),
    ] {
        let (error, _) = write_as(&mut connection, version, &id, &topic, 1, &record);
        assert_eq!(error, wanted, "Produce {version}");
    }
    assert_eq!(write(&mut connection, &id, &topic, 0, &record).0, code::NONE);
    assert_eq!(end(&mut connection, &id, producer, true), code::NONE);
    wait_for_markers(&mut connection, &topic, 0);
    // A late one, after the end: it would be open for ever.
    let (error, _) = write(&mut connection, &id, &topic, 0, &batch(producer, 1, &[b"late"]));
    assert_eq!(error, code::TRANSACTION_ABORTABLE);
    assert_eq!(end_offset(&mut connection, &topic, 0, READ_UNCOMMITTED), 2);
    assert_eq!(end_offset(&mut connection, &topic, 1, READ_UNCOMMITTED), 0);
    assert_eq!(state(&mut connection, &id), "CompleteCommit");
}

#[test]
fn behaviour_32_records_of_a_transaction_name_its_id() {
    let (_broker, topic, mut connection, id) = stage("b32n");
    let producer = init(&mut connection, &id, TIMEOUT_MS);
    for version in [9, 12] {
        let request = produce_request(&topic, 0, -1, &batch(producer, 0, &[b"x"]).build());
        let answer = connection.call(version, &request);
        let error = answer.responses[0].partition_responses[0].error_code;
        assert_eq!(
            error,
            code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            "Produce {version}"
        );
    }
    // Silence of the connection would be as wrong as an answer to something else.
    connection.expect_silence(Duration::from_millis(50));
}
