//! Markers in a partition of `__consumer_offsets`, to which its coordinator of groups writes at the same time.

use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use kafka_protocol::messages::{OffsetCommitRequest, ProducerId, WriteTxnMarkersRequest};
use ringlog_tests::admin::create;
use ringlog_tests::group::{COMMIT_VERSION, commit_request, coordinator};
use ringlog_tests::raw::{Connection, name};
use ringlog_tests::{Broker, code};

const OFFSETS_TOPIC: &str = "__consumer_offsets";
const MARKERS_VERSION: i16 = 1;
const ROUNDS: i64 = 100;
/// Connections of each kind, so that requests of both are there in one turn of the broker's core.
const CONNECTIONS: usize = 4;

fn abort(producer_id: i64) -> WriteTxnMarkersRequest {
    let topic = WritableTxnMarkerTopic::default()
        .with_name(name(OFFSETS_TOPIC))
        .with_partition_indexes(vec![0]);
    let marker = WritableTxnMarker::default()
        .with_producer_id(ProducerId(producer_id))
        .with_topics(vec![topic]);
    WriteTxnMarkersRequest::default().with_markers(vec![marker])
}

#[test]
fn a_marker_does_not_wait_for_more_than_what_was_committed_before_it() {
    let one = Broker::own().cores(1).set("offsets.topic.num.partitions", 1);
    let Some(broker) = one.start() else { return };
    let topic = create(&broker, "offsets", 1, &[]);
    let mut groups: Vec<Connection> = (0..CONNECTIONS).map(|_| coordinator(&broker, "group")).collect();
    let open = |_| Connection::open(broker.bootstrap());
    let mut admins: Vec<Connection> = (0..CONNECTIONS).map(open).collect();
    for round in 0..ROUNDS {
        let commit = commit_request("group", -1, "", &topic, round);
        let (mut commits, mut markers) = (Vec::new(), Vec::new());
        for (producer_id, (group, admin)) in (1_000..).zip(groups.iter_mut().zip(&mut admins)) {
            commits.push(group.send(COMMIT_VERSION, &commit));
            markers.push(admin.send(MARKERS_VERSION, &abort(producer_id)));
        }
        for (group, correlation) in groups.iter_mut().zip(commits) {
            let answer = group.receive::<OffsetCommitRequest>(COMMIT_VERSION, correlation);
            assert_eq!(
                answer.topics[0].partitions[0].error_code,
                code::NONE,
                "round {round}"
            );
        }
        for (admin, correlation) in admins.iter_mut().zip(markers) {
            let answer = admin.receive::<WriteTxnMarkersRequest>(MARKERS_VERSION, correlation);
            let partition = &answer.markers[0].topics[0].partitions[0];
            assert_eq!(partition.error_code, code::NONE, "round {round}");
        }
    }
}
