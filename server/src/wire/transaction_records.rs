//! The records of `__transaction_state`: how far each transactional id has come.
//!
//! ```text
//! key    | type int16 = 0 | transactional id, never flexible |
//! value  | version int16 | the value |             null: the id has expired
//! ```

use bytes::Bytes;

use super::error::{Result, WireError};
use super::primitives::Decoder;
use super::schema::{Message, schema};

schema! {
    message TransactionLogKey 0-0 flexible 32767+ {
        transactional_id: String, 0+;
    }

    message TransactionLogValue 0-1 flexible 1+ {
        producer_id: i64, 0+;
        previous_producer_id: i64 = -1, 1+ tag 0;
        next_producer_id: i64 = -1, 1+ tag 1;
        client_transaction_version: i16, 1+ tag 2;
        next_producer_epoch: i16 = -1, 1+ tag 3;
        producer_epoch: i16, 0+;
        transaction_timeout_ms: i32, 0+;
        transaction_status: i8, 0+;
        transaction_partitions: Option<Vec<PartitionsSchema>>, 0+;
        transaction_last_update_timestamp_ms: i64, 0+;
        transaction_start_timestamp_ms: i64, 0+;
    }

    part PartitionsSchema {
        topic: String, 0+;
        partition_ids: Vec<i32>, 0+;
    }
}

/// The only type of record there is.
const TRANSACTION_LOG: i16 = 0;
/// The version values are written in, as by a Kafka whose `transaction.version` is 1 or more.
const WRITTEN: i16 = 1;

/// One record. Without a value it is a tombstone: the id is known no more.
#[derive(Clone, Debug, PartialEq)]
pub enum TransactionRecord {
    /// What is known of a transactional id.
    State(TransactionLogKey, Option<TransactionLogValue>),
    /// Of a type that is not known, by its number.
    Other(i16),
}

impl TransactionRecord {
    /// Reads a record from its key and value.
    ///
    /// # Errors
    /// A version of the value that Kafka 4.3.1 does not have, or whatever is malformed.
    pub fn decode(key: &Bytes, value: Option<&Bytes>) -> Result<Self> {
        let mut key = Decoder::new(key);
        match key.get_i16()? {
            TRANSACTION_LOG => {
                let key = TransactionLogKey::decode(&mut key, 0)?;
                Ok(TransactionRecord::State(key, value.map(value_of).transpose()?))
            }
            number => Ok(TransactionRecord::Other(number)),
        }
    }

    /// The record's key and value. One of a type that is not known has an empty key and no value: nobody writes it.
    pub fn encode(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        let TransactionRecord::State(key, value) = self else {
            return (Vec::new(), None);
        };
        let mut bytes = TRANSACTION_LOG.to_be_bytes().to_vec();
        key.encode(&mut bytes, 0);
        let value = value.as_ref().map(|value| {
            let mut bytes = WRITTEN.to_be_bytes().to_vec();
            value.encode(&mut bytes, WRITTEN);
            bytes
        });
        (bytes, value)
    }
}

fn value_of(value: &Bytes) -> Result<TransactionLogValue> {
    let mut from = Decoder::new(value);
    let version = from.get_i16()?;
    match version {
        0..=WRITTEN => TransactionLogValue::decode_as(&mut from, version),
        other => Err(WireError::UnknownType(i32::from(other))),
    }
}
