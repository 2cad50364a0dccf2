//! A disk whose syncs fail: nothing is acknowledged from then on, and nothing is tried again as if it were clean.

use rdkafka::Offset;
use ringlog_tests::admin::create;
use ringlog_tests::client::{Outgoing, Producer, read_partition};
use ringlog_tests::oracle::Ledger;
use ringlog_tests::powercut::{Disk, Loss};
use ringlog_tests::raw::{Batch, Connection, produce};

const KAFKA_STORAGE_ERROR: i16 = 56;

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_even_when_the_disk_is_well_again() {
    let Some(mut disk) = Disk::new() else { return };
    let mut broker = disk.broker().cores(1).start().expect("no other broker is named");
    let topic = create(&broker, "failing", 1, &[]);
    let mut ledger = Ledger::new();
    let before: Vec<Outgoing> = (0..50)
        .map(|number| Outgoing::value(format!("before {number}")))
        .collect();
    ledger.enter(Producer::new(broker.bootstrap(), &[]).send_all(&topic, 0, &before));

    let mut connection = Connection::open(broker.bootstrap());
    let mut send =
        |value: &[u8]| produce(&mut connection, &topic, 0, &Batch::of(&[value]).build()).error_code;
    disk.fail_syncs(true);
    assert_eq!(send(b"while it fails"), KAFKA_STORAGE_ERROR);
    disk.fail_syncs(false);
    // What the journal holds now nobody knows: a sync that succeeds would say nothing about the one that did not.
    assert_eq!(send(b"afterwards"), KAFKA_STORAGE_ERROR);
    let log = broker.wait_for_log("nothing can be acknowledged any more");
    assert!(
        log.contains("Input/output error"),
        "the log does not say why:\n{log}"
    );
    // Consumers go on, and see what was acknowledged and nothing else.
    assert_eq!(
        read_partition(broker.bootstrap(), &topic, 0, Offset::Beginning).len(),
        50
    );

    broker.kill();
    disk.cut(Loss::everything());
    broker.restart();
    ledger.check(broker.bootstrap(), true);
    ledger.enter(Producer::new(broker.bootstrap(), &[]).send_all(&topic, 0, &[Outgoing::value("after")]));
    ledger.check(broker.bootstrap(), true);
}
