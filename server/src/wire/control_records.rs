//! Control records: what stands in control batches instead of messages.
//!
//! The key says which one it is, and the value starts with its own version:
//!
//! ```text
//! key    | key version int16 = 0 | type int16 |
//! value  | record version int16 | the rest |
//! ```
//! Types 0 and 1, which end a transaction, are in the partitions of topics; the others in
//! `__cluster_metadata` and its snapshots.

use bytes::Bytes;

use super::error::{Result, WireError};
use super::primitives::Decoder;
use super::schema::schema;
use super::uuid::Uuid;

pub use leader_change::LeaderChangeMessage;

/// Type 2, in a module of its own because its voters are not those of [`VotersRecord`].
pub mod leader_change {
    use super::*;

    schema! {
        message LeaderChangeMessage 0-1 flexible 0+ {
            version: i16, 0+;
            leader_id: i32, 0+;
            voters: Vec<Voter>, 0+;
            granting_voters: Vec<Voter>, 0+;
        }

        part Voter {
            voter_id: i32, 0+;
            voter_directory_id: Uuid, 1+;
        }
    }
}

schema! {
    message SnapshotHeaderRecord 0-0 flexible 0+ {
        version: i16, 0+;
        last_contained_log_timestamp: i64, 0+;
    }

    message SnapshotFooterRecord 0-0 flexible 0+ {
        version: i16, 0+;
    }

    message KRaftVersionRecord 0-0 flexible 0+ {
        version: i16, 0+;
        kraft_version: i16, 0+;
    }

    message VotersRecord 0-0 flexible 0+ {
        version: i16, 0+;
        voters: Vec<Voter>, 0+;
    }

    part Voter {
        voter_id: i32, 0+;
        voter_directory_id: Uuid, 0+;
        endpoints: Vec<Endpoint>, 0+;
        kraft_version_feature: KRaftVersionFeature, 0+;
    }

    part Endpoint {
        name: String, 0+;
        host: String, 0+;
        port: u16, 0+;
    }

    part KRaftVersionFeature {
        min_supported_version: i16, 0+;
        max_supported_version: i16, 0+;
    }
}

schema! {
    message EndTransactionMarker 0-0 flexible 32767+ {
        version: i16, 0+;
        coordinator_epoch: i32, 0+;
    }
}

/// A control record of any type.
#[derive(Clone, Debug, PartialEq)]
pub enum ControlRecord {
    /// Type 0: the transaction of the batch's producer was aborted.
    Abort(EndTransactionMarker),
    /// Type 1: it was committed.
    Commit(EndTransactionMarker),
    /// Type 2: a new leader and its voters.
    LeaderChange(LeaderChangeMessage),
    /// Type 3: the first record of a snapshot.
    SnapshotHeader(SnapshotHeaderRecord),
    /// Type 4: the last record of a snapshot.
    SnapshotFooter(SnapshotFooterRecord),
    /// Type 5: the finalized `kraft.version`.
    KraftVersion(KRaftVersionRecord),
    /// Type 6: the voters from here on.
    Voters(VotersRecord),
}

impl ControlRecord {
    /// The type's number.
    pub const fn number(&self) -> i16 {
        match self {
            Self::Abort(_) => 0,
            Self::Commit(_) => 1,
            Self::LeaderChange(_) => 2,
            Self::SnapshotHeader(_) => 3,
            Self::SnapshotFooter(_) => 4,
            Self::KraftVersion(_) => 5,
            Self::Voters(_) => 6,
        }
    }

    /// Reads a record. A value of a version not known here is an error, bytes after it are passed over.
    ///
    /// # Errors
    /// [`WireError::UnknownType`], or whatever is malformed.
    pub fn decode(key: &Bytes, value: &Bytes) -> Result<Self> {
        let mut key = Decoder::new(key);
        let (_, number) = (key.get_i16()?, key.get_i16()?);
        let version = Decoder::new(value).get_i16()?;
        let from = &mut Decoder::new(value);
        Ok(match number {
            0 => Self::Abort(EndTransactionMarker::decode(from, version)?),
            1 => Self::Commit(EndTransactionMarker::decode(from, version)?),
            2 => Self::LeaderChange(LeaderChangeMessage::decode(from, version)?),
            3 => Self::SnapshotHeader(SnapshotHeaderRecord::decode(from, version)?),
            4 => Self::SnapshotFooter(SnapshotFooterRecord::decode(from, version)?),
            5 => Self::KraftVersion(KRaftVersionRecord::decode(from, version)?),
            6 => Self::Voters(VotersRecord::decode(from, version)?),
            _ => return Err(WireError::UnknownType(i32::from(number))),
        })
    }

    /// The record's key.
    pub fn key(&self) -> [u8; 4] {
        let [high, low] = self.number().to_be_bytes();
        [0, 0, high, low]
    }

    /// Appends the record's value, in the version its own first field says.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Abort(record) | Self::Commit(record) => record.encode(out, record.version),
            Self::LeaderChange(record) => record.encode(out, record.version),
            Self::SnapshotHeader(record) => record.encode(out, record.version),
            Self::SnapshotFooter(record) => record.encode(out, record.version),
            Self::KraftVersion(record) => record.encode(out, record.version),
            Self::Voters(record) => record.encode(out, record.version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_start_with_their_version() {
        let record = ControlRecord::LeaderChange(LeaderChangeMessage {
            version: 1,
            leader_id: 3,
            voters: vec![leader_change::Voter {
                voter_id: 3,
                voter_directory_id: Uuid([7; 16]),
            }],
            ..Default::default()
        });
        let mut value = Vec::new();
        record.encode(&mut value);
        assert_eq!(value[..7], [0, 1, 0, 0, 0, 3, 2]);
        let key = Bytes::copy_from_slice(&record.key());
        assert_eq!(ControlRecord::decode(&key, &Bytes::from(value)), Ok(record));
    }

    #[test]
    fn markers_are_classic() {
        let marker = EndTransactionMarker {
            version: 0,
            coordinator_epoch: 5,
        };
        let mut value = Vec::new();
        ControlRecord::Commit(marker.clone()).encode(&mut value);
        assert_eq!(value, [0, 0, 0, 0, 0, 5]);
        let decoded = ControlRecord::decode(&Bytes::from_static(&[0, 0, 0, 0]), &Bytes::from(value));
        assert_eq!(decoded, Ok(ControlRecord::Abort(marker)));
        let unknown = ControlRecord::decode(&Bytes::from_static(&[0, 0, 0, 9]), &Bytes::from_static(&[0, 0]));
        assert_eq!(unknown, Err(WireError::UnknownType(9)));
    }
}
