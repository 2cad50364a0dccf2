//! The topic in which groups are kept: damage in one of its partitions, and what would make groups lose their offsets.

use std::collections::BTreeMap;

use kafka_protocol::messages::CreatePartitionsRequest;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use ringlog_tests::admin::create;
use ringlog_tests::files::{flip_bit, with_suffix};
use ringlog_tests::group::{COMMIT_VERSION, commit, committed, coordinator};
use ringlog_tests::raw::{Connection, name};
use ringlog_tests::{Broker, PATIENCE, code, wait_for};

const OFFSETS_TOPIC: &str = "__consumer_offsets";
const INVALID_REQUEST: i16 = 42;

/// The partition whose log has bytes.
fn written(broker: &Broker, partitions: impl Iterator<Item = i32>) -> Option<i32> {
    let bytes = |partition: &i32| {
        let logs = with_suffix(&broker.partition_folder(OFFSETS_TOPIC, *partition), ".log");
        logs.iter()
            .filter_map(|log| std::fs::metadata(log).ok())
            .map(|log| log.len())
            .sum::<u64>()
    };
    partitions.into_iter().find(|partition| bytes(partition) > 0)
}

#[test]
fn a_damaged_partition_of_groups_refuses_and_the_others_serve() {
    let Some(mut broker) = Broker::own().set("offsets.topic.num.partitions", 5).start() else {
        return;
    };
    let topic = create(&broker, "read", 1, &[]);
    let first = "first";
    let mut connection = coordinator(&broker, first);
    assert_eq!(
        commit(&mut connection, COMMIT_VERSION, first, -1, "", &topic, 10),
        code::NONE
    );
    broker.stop();
    let damaged = written(&broker, 0..5).expect("the group's partition");
    broker.restart();
    // Groups until one is kept elsewhere.
    let mut connection = Connection::open(broker.bootstrap());
    let others: Vec<String> = (0..20).map(|number| format!("other-{number}")).collect();
    for other in &others {
        wait_for("the coordinator is loaded", PATIENCE, || {
            let code = commit(&mut connection, COMMIT_VERSION, other, -1, "", &topic, 20);
            (code == code::NONE).then_some(())
        });
    }
    broker.stop();
    let log = with_suffix(&broker.partition_folder(OFFSETS_TOPIC, damaged), ".log").remove(0);
    // In the first record, whose batch has a checksum.
    flip_bit(&log, 75);
    broker.restart();
    let log = broker.wait_for_log("its groups have no coordinator");
    assert!(
        log.contains(&format!("{OFFSETS_TOPIC}-{damaged} cannot be read")),
        "{log}"
    );

    let mut connection = Connection::open(broker.bootstrap());
    assert_eq!(
        committed(&mut connection, first, &topic, &[0]),
        Err(code::NOT_COORDINATOR)
    );
    assert_eq!(
        commit(&mut connection, COMMIT_VERSION, first, -1, "", &topic, 11),
        code::NOT_COORDINATOR
    );
    let answers = |connection: &mut Connection| -> Vec<_> {
        others
            .iter()
            .map(|other| committed(connection, other, &topic, &[0]))
            .collect()
    };
    let answers = wait_for("the others are loaded", PATIENCE, || {
        let answers = answers(&mut connection);
        let is_loading = |answer: &Result<_, i16>| *answer == Err(code::COORDINATOR_LOAD_IN_PROGRESS);
        (!answers.iter().any(is_loading)).then_some(answers)
    });
    let served = Ok(BTreeMap::from([(0, 20)]));
    assert!(answers.contains(&served), "{answers:?}");
    let is_right = |answer: &_| *answer == served || *answer == Err(code::NOT_COORDINATOR);
    assert!(
        answers.iter().all(is_right),
        "a group was told that it has no offset: {answers:?}"
    );
}

#[test]
fn the_topic_of_groups_gets_no_more_partitions() {
    let Some(broker) = Broker::own().start() else {
        return;
    };
    let mut connection = coordinator(&broker, "group");
    let topic = CreatePartitionsTopic::default()
        .with_name(name(OFFSETS_TOPIC))
        .with_count(60)
        .with_assignments(None);
    let request = CreatePartitionsRequest::default().with_topics(vec![topic]);
    let answer = connection.call(3, &request);
    assert_eq!(answer.results[0].error_code, INVALID_REQUEST);
    let why = answer.results[0]
        .error_message
        .as_ref()
        .map(|why| why.to_string());
    assert!(why.is_some_and(|why| why.contains("lose their offsets")));
}
