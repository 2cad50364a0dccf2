//! DescribeQuorum: the metadata log's voters (KIP-595). There is one, this node, and it leads.

use super::context::Context;
use crate::wire::ErrorCode;
use crate::wire::describe_quorum::*;

/// The one topic with a quorum.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// Describes the metadata log's only partition; a request for anything else is refused. The end of the log is that of this core's image.
pub fn handle(ctx: &Context<'_>, request: &DescribeQuorumRequest, now_ms: i64) -> DescribeQuorumResponse {
    let wanted = match &request.topics[..] {
        [topic] if topic.topic_name == METADATA_TOPIC => &topic.partitions[..],
        _ => &[],
    };
    if !matches!(wanted, [partition] if partition.partition_index == 0) {
        return unknown(request);
    }
    let (offset, leader_epoch) = ctx.image.applied().unwrap_or((-1, 0));
    let me = ReplicaState {
        replica_id: ctx.node.id,
        replica_directory_id: ctx.node.directory_id,
        log_end_offset: offset + 1,
        last_fetch_timestamp: now_ms,
        last_caught_up_timestamp: now_ms,
    };
    // Kafka sends empty messages, not none, with success.
    let partition = PartitionData {
        error_message: Some(String::new()),
        leader_id: ctx.node.id,
        leader_epoch,
        high_watermark: offset + 1,
        current_voters: vec![me],
        ..Default::default()
    };
    let topic = TopicData {
        topic_name: METADATA_TOPIC.to_owned(),
        partitions: vec![partition],
    };
    // The controller has no listener of its own: it is reached through the broker's.
    let listener = Listener {
        name: ctx
            .config
            .listeners
            .first()
            .map(|one| one.name.clone())
            .unwrap_or_default(),
        host: ctx.node.host.clone(),
        port: ctx.node.port,
    };
    DescribeQuorumResponse {
        error_message: Some(String::new()),
        topics: vec![topic],
        nodes: vec![Node {
            node_id: ctx.node.id,
            listeners: vec![listener],
        }],
        ..Default::default()
    }
}

fn unknown(request: &DescribeQuorumRequest) -> DescribeQuorumResponse {
    let code = ErrorCode::UnknownTopicOrPartition;
    let partition = |wanted: &AskedPartition| PartitionData {
        partition_index: wanted.partition_index,
        error_code: code.into(),
        error_message: Some(code.message().to_owned()),
        ..Default::default()
    };
    let topic = |wanted: &AskedTopic| TopicData {
        topic_name: wanted.topic_name.clone(),
        partitions: wanted.partitions.iter().map(partition).collect(),
    };
    DescribeQuorumResponse {
        topics: request.topics.iter().map(topic).collect(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::testing::*;
    use super::*;
    use crate::metadata::controller::testing::topic;

    fn ask(topics: &[(&str, &[i32])]) -> DescribeQuorumResponse {
        let topic_of = |(name, indexes): &(&str, &[i32])| AskedTopic {
            topic_name: (*name).into(),
            partitions: indexes
                .iter()
                .map(|index| AskedPartition {
                    partition_index: *index,
                })
                .collect(),
        };
        let request = DescribeQuorumRequest {
            topics: topics.iter().map(topic_of).collect(),
        };
        let world = World::new(&topic("t", 2), &[]);
        handle(&world.context(), &request, 77)
    }

    #[test]
    fn this_node_is_the_quorum() {
        let response = ask(&[(METADATA_TOPIC, &[0])]);
        let partition = &response.topics[0].partitions[0];
        assert_eq!(
            (
                partition.leader_id,
                partition.leader_epoch,
                partition.high_watermark
            ),
            (1, 1, 3)
        );
        let [voter] = &partition.current_voters[..] else {
            panic!("{partition:?}");
        };
        assert_eq!(
            (
                voter.replica_id,
                voter.log_end_offset,
                voter.last_caught_up_timestamp
            ),
            (1, 3, 77)
        );
        assert!(partition.observers.is_empty());
        let listener = &response.nodes[0].listeners[0];
        assert_eq!(
            (listener.name.as_str(), listener.host.as_str(), listener.port),
            ("PLAINTEXT", "h", 9092)
        );
    }

    #[test]
    fn other_topics_have_no_quorum() {
        for topics in [
            &[("t", &[0][..])][..],
            &[(METADATA_TOPIC, &[1])],
            &[(METADATA_TOPIC, &[0, 0])],
            &[(METADATA_TOPIC, &[0]), ("t", &[0])],
        ] {
            let response = ask(topics);
            let mut codes = response
                .topics
                .iter()
                .flat_map(|topic| &topic.partitions)
                .map(|one| one.error_code);
            assert!(
                codes.all(|code| code == 3) && response.nodes.is_empty(),
                "{topics:?}"
            );
        }
        assert_eq!(ask(&[]), DescribeQuorumResponse::default());
    }
}
