//! Produce: which batches go where, and what the engine's verdict is called on the wire. Pure.
//!
//! A batch is looked at only as far as its header, but for compacted topics, whose records need keys: see [`super::keys`]. Kafka also looks at
//! the timestamps of all records: what is wrong there is not noticed here.

use bytes::Bytes;
use ringlog_engine::batch::{BatchHeader, Compression, HEADER_BYTES, MAGIC, Refusal, TimestampType};
use ringlog_engine::producers::ProducerError;
use ringlog_engine::shard::AppendError;

use crate::core::mail::{PartitionKey, Place};
use crate::metadata::controller::names;
use crate::metadata::image::MetadataImage;
use crate::wire::code::ErrorCode;
use crate::wire::produce::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceData,
    PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData, TopicProduceResponse,
};

/// The first version that may carry zstd (KIP-110).
const ZSTD_FROM: i16 = 7;
/// The first version that names topics by id (KIP-516).
const TOPIC_IDS_FROM: i16 = 13;
/// The only client that may write to the coordinators' own topics.
const ADMIN_CLIENT: &str = "__admin_client";

/// Where a batch was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendedAt {
    /// Offset of its first record.
    pub base_offset: i64,
    /// The broker's time when the topic asks for it, else -1.
    pub log_append_time_ms: i64,
    /// The partition's first offset.
    pub log_start_offset: i64,
}

/// Why a batch was not accepted, as the client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Kafka's code.
    pub code: ErrorCode,
    /// A sentence for a person.
    pub message: Option<String>,
    /// The records of the batch, by their index, that the error is about: they are named in `record_errors`.
    pub records: Vec<i32>,
    /// What is said of each of them; the message, where there is nothing else to say.
    pub record_message: Option<String>,
}

/// What became of one batch.
pub type AppendResult = Result<AppendedAt, Refused>;

impl Refused {
    /// An error with the words that go with its code.
    pub fn new(code: ErrorCode) -> Refused {
        Refused {
            code,
            message: Some(code.message().to_owned()),
            records: Vec::new(),
            record_message: None,
        }
    }

    /// An error with words of its own.
    pub fn because(code: ErrorCode, message: impl Into<String>) -> Refused {
        Refused {
            code,
            message: Some(message.into()),
            records: Vec::new(),
            record_message: None,
        }
    }
}

/// A request sorted: what can be answered already is in the response, the rest is to be appended.
#[derive(Debug)]
pub struct Admitted {
    /// All partitions of the request, in order. Those to be appended still say success at offset -1.
    pub response: ProduceResponse,
    /// What to append, in order.
    pub appends: Vec<(Place, PartitionKey, Bytes)>,
    /// Whether some partition was refused already.
    pub refused: bool,
}

/// Sorts a request.
pub fn admit(
    request: ProduceRequest,
    version: i16,
    client_id: Option<&str>,
    image: &MetadataImage,
) -> Admitted {
    let mut admitted = Admitted {
        response: ProduceResponse::default(),
        appends: Vec::new(),
        refused: false,
    };
    let whole = refuse_whole(&request);
    for (at, topic) in request.topic_data.into_iter().enumerate() {
        let TopicProduceData {
            name,
            topic_id,
            partition_data,
        } = topic;
        let found = match &whole {
            Some(refused) => Err(refused.clone()),
            None => find_topic(image, version, &name, &topic_id, client_id),
        };
        let mut answers = Vec::with_capacity(partition_data.len());
        for (within, data) in partition_data.into_iter().enumerate() {
            let index = data.index;
            let checked = found
                .clone()
                .and_then(|found| check_partition(&found, data, version));
            let mut answer = PartitionProduceResponse {
                index,
                base_offset: -1,
                ..Default::default()
            };
            match checked {
                Ok((key, records)) => admitted.appends.push(((at as u32, within as u32), key, records)),
                Err(refused) => {
                    admitted.refused = true;
                    refuse(&mut answer, refused);
                }
            }
            answers.push(answer);
        }
        admitted.response.responses.push(TopicProduceResponse {
            name,
            topic_id,
            partition_responses: answers,
        });
    }
    admitted
}

/// Reasons that concern every partition alike.
fn refuse_whole(request: &ProduceRequest) -> Option<Refused> {
    if !(-1..=1).contains(&request.acks) {
        return Some(Refused::new(ErrorCode::InvalidRequiredAcks));
    }
    // Who writes in a transaction says in which. Kafka answers as if the right to use that id were missing.
    let is_nameless = request.transactional_id.is_none() && has_transactional_records(request);
    is_nameless.then(|| Refused::new(ErrorCode::TransactionalIdAuthorizationFailed))
}

fn has_transactional_records(request: &ProduceRequest) -> bool {
    let partitions = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let mut records = partitions.filter_map(|partition| partition.records.as_ref());
    records.any(|records| BatchHeader::read(records).is_some_and(|header| header.is_transactional()))
}

/// A topic that may be written to.
#[derive(Clone, Debug)]
struct Writable {
    topic_id: crate::wire::Uuid,
    partitions: i32,
}

fn find_topic(
    image: &MetadataImage,
    version: i16,
    name: &str,
    topic_id: &crate::wire::Uuid,
    client_id: Option<&str>,
) -> Result<Writable, Refused> {
    let topic = if version >= TOPIC_IDS_FROM {
        image.topic_by_id(*topic_id)
    } else {
        image.topic(name)
    };
    let Some(topic) = topic else {
        let by_id = version >= TOPIC_IDS_FROM;
        return Err(Refused::new(if by_id {
            ErrorCode::UnknownTopicId
        } else {
            ErrorCode::UnknownTopicOrPartition
        }));
    };
    if names::is_internal(&topic.name) && client_id != Some(ADMIN_CLIENT) {
        return Err(Refused::new(ErrorCode::InvalidTopicException));
    }
    Ok(Writable {
        topic_id: topic.id,
        partitions: topic.partitions.len() as i32,
    })
}

fn check_partition(
    topic: &Writable,
    data: PartitionProduceData,
    version: i16,
) -> Result<(PartitionKey, Bytes), Refused> {
    if !(0..topic.partitions).contains(&data.index) {
        return Err(Refused::new(ErrorCode::UnknownTopicOrPartition));
    }
    let records = data
        .records
        .filter(|records| !records.is_empty())
        .ok_or_else(|| {
            let message =
                format!("produce requests of version {version} must hold one record batch per partition");
            Refused::because(ErrorCode::InvalidRecord, message)
        })?;
    let zstd = BatchHeader::read(&records).is_some_and(|header| header.compression() == Compression::Zstd);
    if zstd && version < ZSTD_FROM {
        let message = format!("produce requests of version {version} may not use zstd compression");
        return Err(Refused::because(ErrorCode::UnsupportedCompressionType, message));
    }
    let key = PartitionKey {
        topic_id: topic.topic_id,
        index: data.index,
    };
    Ok((key, tidy(records)))
}

/// Fewer bytes than this after a batch are nothing to Kafka: not even the start of another one.
const TAIL_BYTES: usize = 17;

/// Where the checksum lies, and where what it covers begins: with the attributes.
const CRC: std::ops::Range<usize> = 17..21;

/// The bit of the attributes' second byte that says that the broker has set the times.
const LOG_APPEND_TIME: u8 = 1 << 3;

/// What Kafka passes over in silence: a few bytes after the batch are dropped, and the bit with which a producer claims that
/// its times are the broker's is cleared, which makes a new checksum necessary.
fn tidy(mut records: Bytes) -> Bytes {
    let Some(header) = BatchHeader::read(&records) else {
        return records;
    };
    let size = header.size_bytes();
    if (HEADER_BYTES..records.len()).contains(&size) && records.len() - size < TAIL_BYTES {
        records.truncate(size);
    }
    // A batch that is damaged, or is no batch, is left as it is for the engine to refuse.
    let claims = header.timestamp_type() == TimestampType::LogAppendTime && header.magic == MAGIC;
    if !claims || size != records.len() || crc_fast::crc32_iscsi(&records[CRC.end..]) != header.crc {
        return records;
    }
    let mut own = records.to_vec();
    own[CRC.end + 1] &= !LOG_APPEND_TIME;
    let crc = crc_fast::crc32_iscsi(&own[CRC.end..]);
    own[CRC].copy_from_slice(&crc.to_be_bytes());
    own.into()
}

/// What the engine's refusal is called.
pub fn refusal(error: &AppendError) -> Refused {
    match error {
        AppendError::Batch(batch) => {
            let code = match batch.refusal() {
                Refusal::Corrupt => ErrorCode::CorruptMessage,
                Refusal::InvalidRecord => ErrorCode::InvalidRecord,
                Refusal::InvalidTimestamp => ErrorCode::InvalidTimestamp,
                // Codecs that do not exist: Kafka fails on them as on anything it did not expect.
                Refusal::UnsupportedCompression => ErrorCode::UnknownServerError,
            };
            Refused::because(code, batch.to_string())
        }
        AppendError::Sequence(sequence) => Refused::because(producer_code(sequence), sequence.to_string()),
        AppendError::BatchTooLarge { bytes, most } => {
            let message =
                format!("the record batch has {bytes} bytes, the topic's max.message.bytes is {most}");
            Refused::because(ErrorCode::MessageTooLarge, message)
        }
        AppendError::LargerThanSegment { bytes, most } => {
            let message = format!("the record batch has {bytes} bytes, the topic's segment.bytes is {most}");
            Refused::because(ErrorCode::RecordListTooLarge, message)
        }
        AppendError::Timestamp(timestamp) => Refused {
            records: vec![0],
            ..Refused::because(ErrorCode::InvalidTimestamp, timestamp.to_string())
        },
        AppendError::Busy => Refused::new(ErrorCode::RequestTimedOut),
        AppendError::DiskFull => Refused::because(ErrorCode::KafkaStorageError, "the disk is full"),
        AppendError::Storage(reason) => Refused::because(ErrorCode::KafkaStorageError, reason.as_str()),
        AppendError::NoSuchPartition => Refused::new(ErrorCode::NotLeaderOrFollower),
    }
}

fn producer_code(error: &ProducerError) -> ErrorCode {
    match error {
        ProducerError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
        ProducerError::InvalidEpoch { .. } => ErrorCode::InvalidProducerEpoch,
        ProducerError::OutsideTransaction { .. } | ProducerError::NotVerified { .. } => {
            ErrorCode::InvalidTxnState
        }
        ProducerError::CoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
        ProducerError::TooManyTransactions { .. } => ErrorCode::ConcurrentTransactions,
    }
}

/// Writes what became of a batch into the response.
pub fn settle(response: &mut ProduceResponse, place: Place, result: AppendResult) {
    let topic = response.responses.get_mut(place.0 as usize);
    let Some(answer) = topic.and_then(|topic| topic.partition_responses.get_mut(place.1 as usize)) else {
        return;
    };
    match result {
        Ok(at) => {
            answer.base_offset = at.base_offset;
            answer.log_append_time_ms = at.log_append_time_ms;
            answer.log_start_offset = at.log_start_offset;
        }
        Err(refused) => refuse(answer, refused),
    }
}

/// Refuses every partition that has neither an offset nor an error.
pub fn refuse_unsettled(response: &mut ProduceResponse, refused: &Refused) {
    let answers = response
        .responses
        .iter_mut()
        .flat_map(|topic| &mut topic.partition_responses);
    for answer in answers.filter(|answer| answer.error_code == 0 && answer.base_offset < 0) {
        refuse(answer, refused.clone());
    }
}

fn refuse(answer: &mut PartitionProduceResponse, refused: Refused) {
    answer.error_code = refused.code.code();
    answer.base_offset = -1;
    let each = refused.record_message.or_else(|| refused.message.clone());
    let named = refused
        .records
        .into_iter()
        .map(|batch_index| BatchIndexAndErrorMessage {
            batch_index,
            batch_index_error_message: each.clone(),
        });
    answer.record_errors = named.collect();
    answer.error_message = refused.message;
}

/// Whether some partition of the response has failed.
pub fn has_error(response: &ProduceResponse) -> bool {
    response
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses)
        .any(|answer| answer.error_code != 0)
}

/// Tells clients of version 10 and later who leads the partitions they asked the wrong broker for (KIP-951).
pub fn name_leaders(response: &mut ProduceResponse, leader: LeaderIdAndEpoch, endpoint: NodeEndpoint) {
    let wrong = ErrorCode::NotLeaderOrFollower.code();
    let answers = response
        .responses
        .iter_mut()
        .flat_map(|topic| &mut topic.partition_responses);
    let mut named = false;
    for answer in answers.filter(|answer| answer.error_code == wrong) {
        answer.current_leader = leader.clone();
        named = true;
    }
    if named {
        response.node_endpoints = vec![endpoint];
    }
}
