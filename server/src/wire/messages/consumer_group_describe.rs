//! ConsumerGroupDescribe: state, members and assignments of groups of the new protocol (KIP-848).

use crate::wire::schema::schema;
use crate::wire::uuid::Uuid;

schema! {
    message ConsumerGroupDescribeRequest 0-1 flexible 0+ {
        group_ids: Vec<String>, 0+;
        include_authorized_operations: bool, 0+;
    }

    message ConsumerGroupDescribeResponse 0-1 flexible 0+ {
        throttle_time_ms: i32, 0+;
        groups: Vec<DescribedGroup>, 0+;
    }

    part DescribedGroup {
        error_code: i16, 0+;
        error_message: Option<String>, 0+;
        group_id: String, 0+;
        group_state: String, 0+;
        group_epoch: i32, 0+;
        assignment_epoch: i32, 0+;
        assignor_name: String, 0+;
        members: Vec<Member>, 0+;
        authorized_operations: i32 = -2147483648, 0+;
    }

    part Member {
        member_id: String, 0+;
        instance_id: Option<String>, 0+;
        rack_id: Option<String>, 0+;
        member_epoch: i32, 0+;
        client_id: String, 0+;
        client_host: String, 0+;
        subscribed_topic_names: Vec<String>, 0+;
        subscribed_topic_regex: Option<String>, 0+;
        assignment: Assignment, 0+;
        target_assignment: Assignment, 0+;
        member_type: i8 = -1, 1+;
    }

    part Assignment {
        topic_partitions: Vec<TopicPartitions>, 0+;
    }

    part TopicPartitions {
        topic_id: Uuid, 0+;
        topic_name: String, 0+;
        partitions: Vec<i32>, 0+;
    }
}
