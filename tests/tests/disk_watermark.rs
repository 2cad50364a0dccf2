//! A disk that is nearly full: producers are refused in clear words, everything else goes on, and they are served again once there is room.

use rdkafka::error::RDKafkaErrorCode;
use ringlog_tests::admin::create;
use ringlog_tests::broker::unique;
use ringlog_tests::client::{Outgoing, Producer};
use ringlog_tests::mounts::{Kind, Mount};
use ringlog_tests::queue::{BROKER, bounds, delete_before, said, try_alter, values, words};
use ringlog_tests::raw::{Batch, Connection, produce};
use ringlog_tests::{Broker, PATIENCE, code, group, txn, wait_for};

const MIN_FREE: &str = "ringlog.disk.min.free.bytes";
/// More than any disk has.
const ALL: &str = "1000000000000000000";

/// Changes the limit, and waits until it is in force.
fn keep_free(broker: &Broker, bytes: Option<&str>, said: &str) {
    let before = broker.log().matches(said).count();
    let (error, words) = try_alter(broker, BROKER, "1", &[(MIN_FREE, bytes)]);
    assert_eq!(error, code::NONE, "{words}");
    wait_for(said, PATIENCE, || {
        (broker.log().matches(said).count() > before).then_some(())
    });
}

const REFUSED: &str = "producers are refused: the disk is nearly full";
const SERVED: &str = "the disk has room again";

#[test]
fn producers_are_refused_and_everything_else_goes_on() {
    let Some(broker) = Broker::own().cores(2).set("node.id", 1).start() else {
        return;
    };
    let topic = create(&broker, "low", 2, &[]);
    let (id, group) = (unique("txn"), unique("group"));
    let mut connection = Connection::open(broker.bootstrap());
    let first = words(&["a", "b"]).from_producer(4000, 0, 0).build();
    assert_eq!(produce(&mut connection, &topic, 0, &first).error_code, code::NONE);
    let producer = txn::init(&mut connection, &id, 60_000);
    let batch = txn::batch(producer, 0, &[b"t"]);
    assert_eq!(
        txn::write_as(&mut connection, 12, &id, &topic, 1, &batch).0,
        code::NONE
    );

    keep_free(&broker, Some(ALL), REFUSED);
    let next = words(&["c"]).from_producer(4000, 0, 2).build();
    let refused = produce(&mut connection, &topic, 0, &next);
    assert_eq!(
        (refused.error_code, refused.base_offset),
        (code::KAFKA_STORAGE_ERROR, -1)
    );
    let words = said(&refused);
    for part in [MIN_FREE, ALL, "bytes are free"] {
        assert!(words.contains(part), "{words}");
    }
    let again = produce(&mut connection, &topic, 0, &first);
    assert_eq!(
        (again.error_code, again.base_offset),
        (code::NONE, 0),
        "it is there already"
    );
    // Reading, deleting, administration, groups and the ends of transactions.
    assert_eq!(values(&mut connection, &topic, 0, 0), ["a", "b"]);
    delete_before(&broker, &topic, 0, 1);
    assert_eq!(bounds(&mut connection, &topic, 0), (1, 2));
    create(&broker, "new", 1, &[]);
    let mut coordinator = group::coordinator(&broker, &group);
    assert_eq!(
        group::commit(&mut coordinator, 8, &group, -1, "", &topic, 2),
        code::NONE
    );
    assert_eq!(
        txn::end_and_go_on(&mut connection, &id, producer, true).0,
        code::NONE
    );
    wait_for("the transaction is over", PATIENCE, || {
        let end = txn::end_offset(&mut connection, &topic, 1, txn::READ_COMMITTED);
        (end == 2).then_some(())
    });
    assert_eq!(broker.log().matches(REFUSED).count(), 1, "said once");

    keep_free(&broker, Some("0"), SERVED);
    let answer = produce(&mut connection, &topic, 0, &next);
    assert_eq!((answer.error_code, answer.base_offset), (code::NONE, 2));
}

#[test]
fn a_producer_that_was_refused_goes_on_in_order() {
    let Some(broker) = Broker::own().cores(2).set("node.id", 1).start() else {
        return;
    };
    let topic = create(&broker, "order", 1, &[]);
    keep_free(&broker, Some(ALL), REFUSED);
    let settings = [("enable.idempotence", "true"), ("linger.ms", "0")];
    let patient = Producer::new(broker.bootstrap(), &settings);
    let hasty = Producer::new(broker.bootstrap(), &[("message.send.max.retries", "0")]);
    assert_eq!(
        hasty.send_one(&topic, 0, &Outgoing::value("hasty")),
        Err(RDKafkaErrorCode::KafkaStorageError)
    );
    for n in 0..50 {
        patient
            .send(&topic, 0, &Outgoing::value(n.to_string()))
            .expect("queued");
    }
    // It has been refused at least once.
    let mut connection = Connection::open(broker.bootstrap());
    let refused = produce(&mut connection, &topic, 0, &words(&["x"]).build());
    assert_eq!(refused.error_code, code::KAFKA_STORAGE_ERROR);
    keep_free(&broker, Some("0"), SERVED);
    patient.flush();
    let expected: Vec<String> = (0..50).map(|n: i32| n.to_string()).collect();
    assert_eq!(values(&mut connection, &topic, 0, 0), expected);
}

#[test]
fn a_first_batch_that_was_refused_comes_before_those_behind_it() {
    let Some(broker) = Broker::own().cores(2).set("node.id", 1).start() else {
        return;
    };
    let topic = create(&broker, "first", 1, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    let mut send = |sequence| {
        let batch = words(&["a"]).from_producer(4000, 0, sequence);
        produce(&mut connection, &topic, 0, &batch.build()).error_code
    };
    keep_free(&broker, Some(ALL), REFUSED);
    assert_eq!(send(0), code::KAFKA_STORAGE_ERROR);
    keep_free(&broker, Some("0"), SERVED);
    assert_eq!(send(1), code::OUT_OF_ORDER_SEQUENCE);
    assert_eq!([send(0), send(1)], [code::NONE; 2]);
}

#[test]
fn a_disk_that_fills_up_stops_producers_before_it_is_full() {
    let Some(mount) = Mount::new(Kind::Ext4 { mib: 400 }) else {
        return;
    };
    // More than is taken between two looks, and than is on its way to the disk then.
    let small = [("ringlog.memory", "32M"), ("ringlog.journal.bytes", "8M")];
    let broker = mount.start(&[(MIN_FREE, "200M"), small[0], small[1]]);
    let topic = create(&broker, "fills", 1, &[("segment.bytes", "16777216")]);
    let mut connection = Connection::open(broker.bootstrap());
    let batch = Batch::sized(1_000_000).build();
    let refused = (0..1000).find_map(|_| {
        let answer = produce(&mut connection, &topic, 0, &batch);
        (answer.error_code != code::NONE).then_some(answer)
    });
    let refused = refused.expect("the disk is not that large");
    assert_eq!(refused.error_code, code::KAFKA_STORAGE_ERROR);
    assert!(said(&refused).contains(MIN_FREE), "{}", said(&refused));
    assert!(!broker.log().contains("the disk is full"), "{}", broker.log());
    let (_, end) = bounds(&mut connection, &topic, 0);
    delete_before(&broker, &topic, 0, end);
    wait_for("producers are served again", PATIENCE, || {
        (produce(&mut connection, &topic, 0, &batch).error_code == code::NONE).then_some(())
    });
    assert!(broker.log().contains(SERVED));
}
