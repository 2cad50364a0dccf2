//! What clients of protocol type `consumer` put into JoinGroup and SyncGroup: opaque to a classic group, but for the topics' names, by which offsets expire,
//! and read when members of both protocols are in one group.
//!
//! ```text
//! | version int16 | the message, never flexible |
//! ```
//! A version from the future is read as the newest one known, as Kafka's `ConsumerProtocol` does.

use bytes::Bytes;

use crate::wire::error::Result;
use crate::wire::primitives::Decoder;
use crate::wire::schema::{Message, schema};

schema! {
    message ConsumerProtocolSubscription 0-3 flexible 32767+ {
        topics: Vec<String>, 0+;
        user_data: Option<Bytes>, 0+;
        owned_partitions: Vec<TopicPartition>, 1+;
        generation_id: i32 = -1, 2+;
        rack_id: Option<String>, 3+;
    }

    message ConsumerProtocolAssignment 0-3 flexible 32767+ {
        assigned_partitions: Vec<TopicPartition>, 0+;
        user_data: Option<Bytes>, 0+;
    }

    part TopicPartition {
        topic: String, 0+;
        partitions: Vec<i32>, 0+;
    }
}

/// Reads a subscription.
///
/// # Errors
/// Whatever is malformed; a negative version too.
pub fn subscription(bytes: &Bytes) -> Result<ConsumerProtocolSubscription> {
    versioned(bytes)
}

/// Reads the topics of a subscription, whatever follows them: as much as all versions have in common.
///
/// # Errors
/// Whatever is malformed; a negative version too.
pub fn subscribed_topics(bytes: &Bytes) -> Result<Vec<String>> {
    let mut from = Decoder::new(bytes);
    let version = from.get_i16()?.min(0);
    Ok(ConsumerProtocolSubscription::decode_as(&mut from, version)?.topics)
}

/// Reads an assignment.
///
/// # Errors
/// Whatever is malformed; a negative version too.
pub fn assignment(bytes: &Bytes) -> Result<ConsumerProtocolAssignment> {
    versioned(bytes)
}

/// The bytes of a message in one of its versions.
pub fn encode<M: Message>(message: &M, version: i16) -> Bytes {
    let mut out = version.to_be_bytes().to_vec();
    message.encode_as(&mut out, version);
    out.into()
}

fn versioned<M: Message>(bytes: &Bytes) -> Result<M> {
    let mut from = Decoder::new(bytes);
    let version = from.get_i16()?.min(M::MAX_VERSION);
    M::decode_as(&mut from, version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_from_the_future_is_read_as_the_newest() {
        let sent = ConsumerProtocolSubscription {
            topics: vec!["t".to_owned()],
            generation_id: 3,
            rack_id: Some("r".to_owned()),
            ..Default::default()
        };
        let mut bytes = encode(&sent, 3).to_vec();
        bytes[1] = 9;
        bytes.push(7);
        let bytes = Bytes::from(bytes);
        assert_eq!(subscribed_topics(&bytes), Ok(sent.topics.clone()));
        assert_eq!(subscription(&bytes), Ok(sent));
        assert!(subscription(&Bytes::from_static(&[0xff, 0xff])).is_err());
        assert!(subscribed_topics(&Bytes::from_static(&[0xff, 0xff])).is_err());
        assert!(subscription(&Bytes::new()).is_err());
    }
}
