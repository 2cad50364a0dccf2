//! Markers that administrators (and coordinators elsewhere) write.

use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use kafka_protocol::messages::{ProducerId, WriteTxnMarkersRequest};
use ringlog_tests::admin::try_create;
use ringlog_tests::raw::name;
use ringlog_tests::txn::{Producer, batch, end_request, produce_in};

use crate::script::{NOBODY, Script};

fn marker(
    producer: Producer,
    commits: bool,
    coordinator_epoch: i32,
    topics: &[(&str, &[i32])],
) -> WritableTxnMarker {
    let topics = topics
        .iter()
        .map(|(topic, partitions)| {
            WritableTxnMarkerTopic::default()
                .with_name(name(topic))
                .with_partition_indexes(partitions.to_vec())
        })
        .collect();
    WritableTxnMarker::default()
        .with_producer_id(ProducerId(producer.id))
        .with_producer_epoch(producer.epoch)
        .with_transaction_result(commits)
        .with_coordinator_epoch(coordinator_epoch)
        .with_topics(topics)
}

/// Markers past the coordinator, as the tool against hanging transactions writes them.
pub fn written(script: &mut Script) {
    script.part("markers");
    try_create(script.bootstrap(), "m", 2, &[]).expect("the topic is created");
    let ask = |script: &mut Script, what: &str, markers: Vec<WritableTxnMarker>| {
        script.ask(what, 1, &WriteTxnMarkersRequest::default().with_markers(markers));
    };
    ask(script, "nothing", vec![]);
    ask(
        script,
        "of nobody",
        vec![marker(NOBODY, false, 0, &[("m", &[0])])],
    );
    ask(
        script,
        "of nobody, commit",
        vec![marker(NOBODY, true, 0, &[("m", &[0])])],
    );
    ask(
        script,
        "of an earlier epoch of nobody",
        vec![marker(NOBODY.later(-1), true, 0, &[("m", &[0])])],
    );
    ask(
        script,
        "in an unknown topic",
        vec![marker(NOBODY, true, 0, &[("none", &[0]), ("m", &[7])])],
    );
    ask(script, "nowhere", vec![marker(NOBODY, true, 0, &[])]);
    let id = "markers";
    script.init(id);
    let own = script.init(id);
    for partition in 0..2 {
        script.ask(
            "a record",
            12,
            &produce_in(id, "m", partition, &batch(own, 0, &[b"x"])),
        );
    }
    ask(
        script,
        "of an earlier epoch",
        vec![marker(own.later(-1), false, 0, &[("m", &[0])])],
    );
    ask(script, "abort", vec![marker(own, false, 0, &[("m", &[0])])]);
    ask(script, "abort again", vec![marker(own, false, 0, &[("m", &[0])])]);
    ask(
        script,
        "of a coordinator of before",
        vec![marker(own, false, -1, &[("m", &[0, 1])])],
    );
    ask(
        script,
        "two at once",
        vec![
            marker(own, true, 0, &[("m", &[1])]),
            marker(NOBODY.later(3), false, 0, &[("m", &[0, 1])]),
        ],
    );
    script.ask(
        "the record after it",
        12,
        &produce_in(id, "m", 0, &batch(own, 1, &[b"y"])),
    );
    script.ask("its end", 5, &end_request(id, own, true));
    script.settled("committed", id);
    // Only now: a coordinator whose marker has an epoch below the partition's never gets its transaction done.
    ask(
        script,
        "of a later epoch",
        vec![marker(own.later(4), false, 0, &[("m", &[1])])],
    );
    script.topic("in the end", "m", 0);
    script.topic("in the end", "m", 1);
}
