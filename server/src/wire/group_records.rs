//! The records of `__consumer_offsets`: how far groups have read, and what their members agreed on.
//!
//! ```text
//! key    | type int16 | the key, never flexible |
//! value  | version int16 | the value |             null: it is no more
//! ```
//! Those of classic groups and of groups whose partitions the broker assigns (KIP-848) are here. Records of share and streams
//! groups, which are not served, decode as [`GroupRecord::Other`], so that a directory Kafka wrote opens.

use bytes::Bytes;

use crate::wire::error::Result;
use crate::wire::primitives::Decoder;
use crate::wire::schema::{Message, schema};
use crate::wire::uuid::Uuid;

schema! {
    message OffsetCommitKey 0-0 flexible 32767+ {
        group: String, 0+;
        topic: String, 0+;
        partition: i32, 0+;
    }

    message OffsetCommitValue 0-4 flexible 4+ {
        offset: i64, 0+;
        leader_epoch: i32 = -1, 3+;
        metadata: String, 0+;
        commit_timestamp: i64, 0+;
        expire_timestamp: i64 = -1, 1-1;
        topic_id: Uuid, 4+ tag 0;
    }

    message GroupMetadataKey 0-0 flexible 32767+ {
        group: String, 0+;
    }

    message GroupMetadataValue 0-4 flexible 4+ {
        protocol_type: String, 0+;
        generation: i32, 0+;
        protocol: Option<String>, 0+;
        leader: Option<String>, 0+;
        current_state_timestamp: i64 = -1, 2+;
        members: Vec<MemberMetadata>, 0+;
    }

    part MemberMetadata {
        member_id: String, 0+;
        group_instance_id: Option<String>, 3+;
        client_id: String, 0+;
        client_host: String, 0+;
        rebalance_timeout: i32 = -1, 1+;
        session_timeout: i32, 0+;
        subscription: Bytes, 0+;
        assignment: Bytes, 0+;
    }

    message ConsumerGroupMetadataKey 0-0 flexible 32767+ {
        group_id: String, 0+;
    }

    message ConsumerGroupMetadataValue 0-0 flexible 0+ {
        epoch: i32, 0+;
        metadata_hash: i64, 0+ tag 0;
    }

    message ConsumerGroupPartitionMetadataKey 0-0 flexible 32767+ {
        group_id: String, 0+;
    }

    message ConsumerGroupPartitionMetadataValue 0-0 flexible 0+ {
        topics: Vec<TopicMetadata>, 0+;
    }

    part TopicMetadata {
        topic_id: Uuid, 0+;
        topic_name: String, 0+;
        num_partitions: i32, 0+;
        partition_metadata: Vec<PartitionMetadata>, 0+;
    }

    part PartitionMetadata {
        partition: i32, 0+;
        racks: Vec<String>, 0+;
    }

    message ConsumerGroupMemberMetadataKey 0-0 flexible 32767+ {
        group_id: String, 0+;
        member_id: String, 0+;
    }

    message ConsumerGroupMemberMetadataValue 0-0 flexible 0+ {
        instance_id: Option<String>, 0+;
        rack_id: Option<String>, 0+;
        client_id: String, 0+;
        client_host: String, 0+;
        subscribed_topic_names: Vec<String>, 0+;
        subscribed_topic_regex: Option<String>, 0+;
        rebalance_timeout_ms: i32 = -1, 0+;
        server_assignor: Option<String>, 0+;
        classic_member_metadata: Option<ClassicMemberMetadata>, 0+ tag 0;
    }

    nullable ClassicMemberMetadata {
        session_timeout_ms: i32, 0+;
        supported_protocols: Vec<ClassicProtocol>, 0+;
    }

    part ClassicProtocol {
        name: String, 0+;
        metadata: Bytes, 0+;
    }

    message ConsumerGroupTargetAssignmentMetadataKey 0-0 flexible 32767+ {
        group_id: String, 0+;
    }

    message ConsumerGroupTargetAssignmentMetadataValue 0-0 flexible 0+ {
        assignment_epoch: i32, 0+;
        assignment_timestamp: i64, 0+ tag 0;
    }

    message ConsumerGroupTargetAssignmentMemberKey 0-0 flexible 32767+ {
        group_id: String, 0+;
        member_id: String, 0+;
    }

    message ConsumerGroupTargetAssignmentMemberValue 0-0 flexible 0+ {
        topic_partitions: Vec<TopicPartition>, 0+;
    }

    part TopicPartition {
        topic_id: Uuid, 0+;
        partitions: Vec<i32>, 0+;
    }

    message ConsumerGroupCurrentMemberAssignmentKey 0-0 flexible 32767+ {
        group_id: String, 0+;
        member_id: String, 0+;
    }

    message ConsumerGroupCurrentMemberAssignmentValue 0-0 flexible 0+ {
        member_epoch: i32, 0+;
        previous_member_epoch: i32, 0+;
        state: i8, 0+;
        assigned_partitions: Vec<TopicPartitions>, 0+;
        partitions_pending_revocation: Vec<TopicPartitions>, 0+;
    }

    part TopicPartitions {
        topic_id: Uuid, 0+;
        partitions: Vec<i32>, 0+;
        assignment_epochs: Option<Vec<i32>>, 0+ tag 0;
    }

    message ConsumerGroupRegularExpressionKey 0-0 flexible 32767+ {
        group_id: String, 0+;
        regular_expression: String, 0+;
    }

    message ConsumerGroupRegularExpressionValue 0-0 flexible 0+ {
        topics: Vec<String>, 0+;
        version: i64, 0+;
        timestamp: i64, 0+;
    }
}

impl OffsetCommitValue {
    /// Whether it says itself when it expires. Only one version can: it has neither leader epoch nor topic id.
    fn expires(&self) -> bool {
        self.expire_timestamp != -1
    }
}

/// Declares the records: their type, the version their value is written in, and sometimes another, their key and their value.
macro_rules! records {
    ($( $(#[$note:meta])* $name:ident = $number:literal written $version:literal $([or $other:literal if $when:ident])?
        $key:ident $value:ident, )*) => {
        /// One record. A value that is `None` is a tombstone: what the key names is no more.
        #[derive(Clone, Debug, PartialEq)]
        pub enum GroupRecord {
            $( $(#[$note])* $name($key, Option<$value>), )*
            /// Of a type that is not served here, by its number.
            Other(i16),
        }

        impl GroupRecord {
            /// Reads a record from its key and value.
            ///
            /// # Errors
            /// A version of the value that Kafka 4.3.1 does not have, or whatever is malformed.
            pub fn decode(key: &Bytes, value: Option<&Bytes>) -> Result<Self> {
                let mut key = Decoder::new(key);
                Ok(match key.get_i16()? {
                    // An older form of the next type's key, which is the same on the wire.
                    LEGACY_OFFSET_COMMIT => Self::OffsetCommit(OffsetCommitKey::decode(&mut key, 0)?, value_of(value)?),
                    $( $number => Self::$name($key::decode(&mut key, 0)?, value_of(value)?), )*
                    number => Self::Other(number),
                })
            }

            /// The record's key and value. One of a type that is not served has an empty key and no value: nobody writes it.
            pub fn encode(&self) -> (Vec<u8>, Option<Vec<u8>>) {
                match self {
                    $( Self::$name(key, value) => {
                        let mut bytes = i16::to_be_bytes($number).to_vec();
                        key.encode(&mut bytes, 0);
                        (bytes, value.as_ref().map(|value| {
                            let version = $version;
                            $( let version = if value.$when() { $other } else { version }; )?
                            let mut bytes = i16::to_be_bytes(version).to_vec();
                            value.encode(&mut bytes, version);
                            bytes
                        }))
                    } )*
                    Self::Other(_) => (Vec::new(), None),
                }
            }
        }
    };
}

/// The type of offsets before there was a leader epoch.
const LEGACY_OFFSET_COMMIT: i16 = 0;

records! {
    /// How far a group has read one partition.
    OffsetCommit = 1 written 4 [or 1 if expires] OffsetCommitKey OffsetCommitValue,
    /// A generation of a classic group.
    GroupMetadata = 2 written 3 GroupMetadataKey GroupMetadataValue,
    /// The epoch of a group.
    ConsumerGroupMetadata = 3 written 0 ConsumerGroupMetadataKey ConsumerGroupMetadataValue,
    /// The topics a group was subscribed to, as Kafka before 4.1 wrote them.
    ConsumerGroupPartitionMetadata = 4 written 0 ConsumerGroupPartitionMetadataKey ConsumerGroupPartitionMetadataValue,
    /// What a member says of itself.
    ConsumerGroupMemberMetadata = 5 written 0 ConsumerGroupMemberMetadataKey ConsumerGroupMemberMetadataValue,
    /// The epoch for which partitions were assigned.
    ConsumerGroupTargetAssignmentMetadata = 6 written 0
        ConsumerGroupTargetAssignmentMetadataKey ConsumerGroupTargetAssignmentMetadataValue,
    /// The partitions that a member shall have.
    ConsumerGroupTargetAssignmentMember = 7 written 0
        ConsumerGroupTargetAssignmentMemberKey ConsumerGroupTargetAssignmentMemberValue,
    /// The partitions that a member has, and those it is giving back.
    ConsumerGroupCurrentMemberAssignment = 8 written 0
        ConsumerGroupCurrentMemberAssignmentKey ConsumerGroupCurrentMemberAssignmentValue,
    /// The topics that a regular expression of a group's members matches.
    ConsumerGroupRegularExpression = 16 written 0 ConsumerGroupRegularExpressionKey ConsumerGroupRegularExpressionValue,
}

/// A value: its version, and itself.
fn value_of<M: Message>(value: Option<&Bytes>) -> Result<Option<M>> {
    let Some(value) = value else { return Ok(None) };
    let mut from = Decoder::new(value);
    let version = from.get_i16()?;
    M::decode_as(&mut from, version).map(Some)
}
