//! The records of `__cluster_metadata`: what KRaft's controller decided, in Kafka's own format.
//!
//! A record's value is framed, all numbers unsigned varints, and always in the flexible encoding:
//!
//! ```text
//! | frame version 1 | type | version | the record |
//! ```
//! Every type of Kafka 4.3.1 is here in all its versions, so that a directory written by Apache Kafka
//! replays.

use bytes::Bytes;

use crate::wire::error::{Result, WireError};
use crate::wire::primitives::{Decoder, put_uvarint};
use crate::wire::schema::{Message, schema};
use crate::wire::uuid::Uuid;

schema! {
    message RegisterBrokerRecord 0-4 flexible 0+ {
        broker_id: i32, 0+;
        is_migrating_zk_broker: bool, 2+;
        incarnation_id: Uuid, 0+;
        broker_epoch: i64, 0+;
        end_points: Vec<BrokerEndpoint>, 0+;
        features: Vec<BrokerFeature>, 0+;
        rack: Option<String>, 0+;
        fenced: bool = true, 0+;
        in_controlled_shutdown: bool, 1+;
        log_dirs: Vec<Uuid>, 3+ tag 0;
        cordoned_log_dirs: Option<Vec<Uuid>>, 4+ tag 1;
    }

    part BrokerEndpoint {
        name: String, 0+;
        host: String, 0+;
        port: u16, 0+;
        security_protocol: i16, 0+;
    }

    part BrokerFeature {
        name: String, 0+;
        min_supported_version: i16, 0+;
        max_supported_version: i16, 0+;
    }

    message UnregisterBrokerRecord 0-0 flexible 0+ {
        broker_id: i32, 0+;
        broker_epoch: i64, 0+;
    }

    message TopicRecord 0-0 flexible 0+ {
        name: String, 0+;
        topic_id: Uuid, 0+;
    }

    message PartitionRecord 0-2 flexible 0+ {
        partition_id: i32 = -1, 0+;
        topic_id: Uuid, 0+;
        replicas: Vec<i32>, 0+;
        isr: Vec<i32>, 0+;
        removing_replicas: Vec<i32>, 0+;
        adding_replicas: Vec<i32>, 0+;
        leader: i32 = -1, 0+;
        leader_epoch: i32 = -1, 0+;
        partition_epoch: i32 = -1, 0+;
        directories: Vec<Uuid>, 1+;
        leader_recovery_state: i8, 0+ tag 0;
        eligible_leader_replicas: Option<Vec<i32>>, 2+ tag 1;
        last_known_elr: Option<Vec<i32>>, 2+ tag 2;
    }

    message ConfigRecord 0-0 flexible 0+ {
        resource_type: i8, 0+;
        resource_name: String, 0+;
        name: String, 0+;
        value: Option<String>, 0+;
    }

    message PartitionChangeRecord 0-2 flexible 0+ {
        partition_id: i32 = -1, 0+;
        topic_id: Uuid, 0+;
        isr: Option<Vec<i32>>, 0+ tag 0;
        leader: i32 = -2, 0+ tag 1;
        replicas: Option<Vec<i32>>, 0+ tag 2;
        removing_replicas: Option<Vec<i32>>, 0+ tag 3;
        adding_replicas: Option<Vec<i32>>, 0+ tag 4;
        leader_recovery_state: i8 = -1, 0+ tag 5;
        eligible_leader_replicas: Option<Vec<i32>>, 2+ tag 6;
        last_known_elr: Option<Vec<i32>>, 2+ tag 7;
        directories: Option<Vec<Uuid>>, 1+ tag 8;
    }

    message FenceBrokerRecord 0-0 flexible 0+ {
        id: i32, 0+;
        epoch: i64, 0+;
    }

    message UnfenceBrokerRecord 0-0 flexible 0+ {
        id: i32, 0+;
        epoch: i64, 0+;
    }

    message RemoveTopicRecord 0-0 flexible 0+ {
        topic_id: Uuid, 0+;
    }

    message DelegationTokenRecord 0-0 flexible 0+ {
        owner: String, 0+;
        requester: String, 0+;
        renewers: Vec<String>, 0+;
        issue_timestamp: i64, 0+;
        max_timestamp: i64, 0+;
        expiration_timestamp: i64, 0+;
        token_id: String, 0+;
    }

    message UserScramCredentialRecord 0-0 flexible 0+ {
        name: String, 0+;
        mechanism: i8, 0+;
        salt: Bytes, 0+;
        stored_key: Bytes, 0+;
        server_key: Bytes, 0+;
        iterations: i32, 0+;
    }

    message FeatureLevelRecord 0-0 flexible 0+ {
        name: String, 0+;
        feature_level: i16, 0+;
    }

    message ClientQuotaRecord 0-0 flexible 0+ {
        entity: Vec<EntityData>, 0+;
        key: String, 0+;
        value: f64, 0+;
        remove: bool, 0+;
    }

    part EntityData {
        entity_type: String, 0+;
        entity_name: Option<String>, 0+;
    }

    message ProducerIdsRecord 0-0 flexible 0+ {
        broker_id: i32, 0+;
        broker_epoch: i64 = -1, 0+;
        next_producer_id: i64, 0+;
    }

    message BrokerRegistrationChangeRecord 0-3 flexible 0+ {
        broker_id: i32, 0+;
        broker_epoch: i64, 0+;
        fenced: i8, 0+ tag 0;
        in_controlled_shutdown: i8, 1+ tag 1;
        log_dirs: Vec<Uuid>, 2+ tag 2;
        cordoned_log_dirs: Option<Vec<Uuid>>, 3+ tag 3;
    }

    message AccessControlEntryRecord 0-0 flexible 0+ {
        id: Uuid, 0+;
        resource_type: i8, 0+;
        resource_name: String, 0+;
        pattern_type: i8, 0+;
        principal: String, 0+;
        host: String, 0+;
        operation: i8, 0+;
        permission_type: i8, 0+;
    }

    message RemoveAccessControlEntryRecord 0-0 flexible 0+ {
        id: Uuid, 0+;
    }

    message NoOpRecord 0-0 flexible 0+ {}

    message ZkMigrationStateRecord 0-0 flexible 0+ {
        zk_migration_state: i8, 0+;
    }

    message RemoveUserScramCredentialRecord 0-0 flexible 0+ {
        name: String, 0+;
        mechanism: i8, 0+;
    }

    message BeginTransactionRecord 0-0 flexible 0+ {
        name: Option<String>, 0+ tag 0;
    }

    message EndTransactionRecord 0-0 flexible 0+ {}

    message AbortTransactionRecord 0-0 flexible 0+ {
        reason: Option<String>, 0+ tag 0;
    }

    message RemoveDelegationTokenRecord 0-0 flexible 0+ {
        token_id: String, 0+;
    }

    message RegisterControllerRecord 0-0 flexible 0+ {
        controller_id: i32, 0+;
        incarnation_id: Uuid, 0+;
        zk_migration_ready: bool, 0+;
        end_points: Vec<ControllerEndpoint>, 0+;
        features: Vec<ControllerFeature>, 0+;
    }

    part ControllerEndpoint {
        name: String, 0+;
        host: String, 0+;
        port: u16, 0+;
        security_protocol: i16, 0+;
    }

    part ControllerFeature {
        name: String, 0+;
        min_supported_version: i16, 0+;
        max_supported_version: i16, 0+;
    }

    message ClearElrRecord 0-0 flexible 0+ {
        topic_name: String, 0+;
    }
}

/// The only way to frame a record so far.
const FRAME_VERSION: u32 = 1;

/// Declares the enum over all record types.
macro_rules! records {
    ($($variant:ident = $number:literal $record:ident,)*) => {
        /// A record of any type.
        #[derive(Clone, Debug, PartialEq)]
        pub enum MetadataRecord { $(
            #[doc = concat!("Type ", $number, ".")]
            $variant($record),
        )* }

        $(
            impl From<$record> for MetadataRecord {
                fn from(record: $record) -> Self {
                    Self::$variant(record)
                }
            }
        )*

        impl MetadataRecord {
            /// The type's number.
            pub const fn number(&self) -> u32 {
                match self { $( Self::$variant(_) => $number, )* }
            }

            /// Kafka's name of the type.
            pub const fn name(&self) -> &'static str {
                match self { $( Self::$variant(_) => $record::NAME, )* }
            }

            /// The newest version of the type; what may be written also depends on `metadata.version`.
            pub const fn max_version(&self) -> i16 {
                match self { $( Self::$variant(_) => $record::MAX_VERSION, )* }
            }

            fn decode_type(from: &mut Decoder<'_>, number: u32, version: i16) -> Result<Self> {
                match number {
                    $( $number => $record::decode(from, version).map(Self::$variant), )*
                    _ => Err(WireError::UnknownType(number as i32)),
                }
            }

            fn encode_body(&self, out: &mut Vec<u8>, version: i16) {
                match self { $( Self::$variant(record) => record.encode(out, version), )* }
            }
        }
    };
}

records! {
    RegisterBroker = 0 RegisterBrokerRecord,
    UnregisterBroker = 1 UnregisterBrokerRecord,
    Topic = 2 TopicRecord,
    Partition = 3 PartitionRecord,
    Config = 4 ConfigRecord,
    PartitionChange = 5 PartitionChangeRecord,
    FenceBroker = 7 FenceBrokerRecord,
    UnfenceBroker = 8 UnfenceBrokerRecord,
    RemoveTopic = 9 RemoveTopicRecord,
    DelegationToken = 10 DelegationTokenRecord,
    UserScramCredential = 11 UserScramCredentialRecord,
    FeatureLevel = 12 FeatureLevelRecord,
    ClientQuota = 14 ClientQuotaRecord,
    ProducerIds = 15 ProducerIdsRecord,
    BrokerRegistrationChange = 17 BrokerRegistrationChangeRecord,
    AccessControlEntry = 18 AccessControlEntryRecord,
    RemoveAccessControlEntry = 19 RemoveAccessControlEntryRecord,
    NoOp = 20 NoOpRecord,
    ZkMigrationState = 21 ZkMigrationStateRecord,
    RemoveUserScramCredential = 22 RemoveUserScramCredentialRecord,
    BeginTransaction = 23 BeginTransactionRecord,
    EndTransaction = 24 EndTransactionRecord,
    AbortTransaction = 25 AbortTransactionRecord,
    RemoveDelegationToken = 26 RemoveDelegationTokenRecord,
    RegisterController = 27 RegisterControllerRecord,
    ClearElr = 28 ClearElrRecord,
}

impl MetadataRecord {
    /// Reads the framed value of a record.
    ///
    /// # Errors
    /// A frame, type or version that Kafka 4.3.1 does not have, bytes left over, or whatever is malformed.
    pub fn decode(value: &Bytes) -> Result<Self> {
        let mut from = Decoder::new(value);
        let frame = from.get_uvarint()?;
        if frame != FRAME_VERSION {
            let version = i16::try_from(frame).unwrap_or(i16::MAX);
            return Err(WireError::UnsupportedVersion {
                message: "metadata record frame",
                version,
            });
        }
        let number = from.get_uvarint()?;
        let version = i16::try_from(from.get_uvarint()?).unwrap_or(i16::MAX);
        let record = Self::decode_type(&mut from, number, version)?;
        from.finish()?;
        Ok(record)
    }

    /// Appends the framed value of a record.
    pub fn encode(&self, out: &mut Vec<u8>, version: i16) {
        put_uvarint(out, FRAME_VERSION);
        put_uvarint(out, self.number());
        put_uvarint(out, version as u32);
        self.encode_body(out, version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing_is_kafkas() {
        let record = MetadataRecord::from(FeatureLevelRecord {
            name: "a".to_owned(),
            feature_level: 7,
        });
        let mut out = Vec::new();
        record.encode(&mut out, 0);
        assert_eq!(out, [1, 12, 0, 2, b'a', 0, 7, 0]);
        assert_eq!(MetadataRecord::decode(&Bytes::from(out.clone())), Ok(record));
        out.push(0);
        assert_eq!(
            MetadataRecord::decode(&Bytes::from(out)),
            Err(WireError::BytesLeft(1))
        );
    }

    #[test]
    fn what_kafka_does_not_have_is_refused() {
        let refused = |bytes: &'static [u8]| MetadataRecord::decode(&Bytes::from_static(bytes)).is_err();
        assert!(refused(&[2, 12, 0, 2, b'a', 0, 7, 0]), "frame version 2");
        assert!(refused(&[1, 6, 0, 0]), "type 6 was never used");
        assert!(refused(&[1, 12, 1, 2, b'a', 0, 7, 0]), "version 1");
        assert!(refused(&[1, 12, 0xff, 0xff, 0xff, 0xff, 0x0f]), "version -1");
        assert!(refused(&[]));
    }

    #[test]
    fn a_change_writes_only_what_changed() {
        let change = PartitionChangeRecord {
            partition_id: 1,
            leader: 3,
            ..Default::default()
        };
        let mut out = Vec::new();
        change.encode(&mut out, 2);
        assert_eq!(out[..20], [&[0, 0, 0, 1][..], &[0; 16]].concat());
        assert_eq!(out[20..], [1, 1, 4, 0, 0, 0, 3]);
    }
}
