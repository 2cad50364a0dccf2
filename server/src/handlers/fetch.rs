//! Fetch: what a request wants, what stands in its way, and the response around the record bytes. Pure.
//!
//! The response is scattered: its own bytes are written here, the records between them are slices of the engine's
//! buffers, and nothing copies them on the way to the socket.

use ringlog_engine::io::{Piece, Slice};
use ringlog_engine::shard::{AbortedTxn, Isolation};

use crate::core::calls::ReplyTo;
use crate::core::mail::{PartRead, PartitionKey, ReadFailure};
use crate::metadata::image::MetadataImage;
use crate::sessions::{Outcome, SessionError, TopicRef, Wanted};
use crate::wire::code::ErrorCode;
use crate::wire::fetch::{
    AbortedTransaction, EpochEndOffset, FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData,
};
use crate::wire::{FetchResponseWriter, Uuid};

/// The first version that names topics by id (KIP-516).
const TOPIC_IDS_FROM: i16 = 13;

/// What the request names, in its order: partitions wanted, and partitions the session is to forget.
pub fn wanted(request: &FetchRequest, version: i16) -> (Vec<Wanted>, Vec<(TopicRef, i32)>) {
    let by_id = version >= TOPIC_IDS_FROM;
    let topic_ref = |name: &str, id: Uuid| {
        if by_id {
            TopicRef::Id(id)
        } else {
            TopicRef::Name(name.to_owned())
        }
    };
    let mut wanted = Vec::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            wanted.push(Wanted {
                topic: topic_ref(&topic.topic, topic.topic_id),
                partition: partition.partition,
                current_leader_epoch: partition.current_leader_epoch,
                fetch_offset: partition.fetch_offset,
                last_fetched_epoch: partition.last_fetched_epoch,
                max_bytes: partition.partition_max_bytes,
            });
        }
    }
    let mut forgotten = Vec::new();
    for topic in &request.forgotten_topics_data {
        let topic_ref = topic_ref(&topic.topic, topic.topic_id);
        forgotten.extend(
            topic
                .partitions
                .iter()
                .map(|partition| (topic_ref.clone(), *partition)),
        );
    }
    (wanted, forgotten)
}

/// Whether topics are named by id.
pub fn by_id(version: i16) -> bool {
    version >= TOPIC_IDS_FROM
}

/// The broker that fetches as a replica, or -1 for a consumer.
pub fn replica_id(request: &FetchRequest, version: i16) -> i32 {
    if version >= 15 {
        request.replica_state.replica_id
    } else {
        request.replica_id
    }
}

/// Which partition is meant, or why it cannot be read.
pub fn resolve(wanted: &Wanted, image: &MetadataImage) -> Result<PartitionKey, ErrorCode> {
    let (topic, missing) = match &wanted.topic {
        TopicRef::Id(id) => (image.topic_by_id(*id), ErrorCode::UnknownTopicId),
        TopicRef::Name(name) => (image.topic(name), ErrorCode::UnknownTopicOrPartition),
    };
    let topic = topic.ok_or(missing)?;
    let partition = topic
        .partitions
        .get(&wanted.partition)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    check_epoch(wanted.current_leader_epoch, partition.leader_epoch)?;
    Ok(PartitionKey {
        topic_id: topic.id,
        index: wanted.partition,
    })
}

/// Compares the epoch a client believes in (-1: it does not say) with the one that holds.
pub fn check_epoch(believed: i32, holds: i32) -> Result<(), ErrorCode> {
    match believed {
        -1 => Ok(()),
        old if old < holds => Err(ErrorCode::FencedLeaderEpoch),
        new if new > holds => Err(ErrorCode::UnknownLeaderEpoch),
        _ => Ok(()),
    }
}

/// What a session error is called.
pub fn session_code(error: SessionError) -> ErrorCode {
    match error {
        SessionError::NotFound => ErrorCode::FetchSessionIdNotFound,
        SessionError::Epoch => ErrorCode::InvalidFetchSessionEpoch,
        SessionError::TopicId => ErrorCode::FetchSessionTopicIdError,
    }
}

/// The isolation level of a request: 1 is for those who want nothing but what is committed.
pub fn isolation(level: i8) -> Isolation {
    match level {
        1 => Isolation::Committed,
        _ => Isolation::Uncommitted,
    }
}

/// What a failed read is called.
pub fn read_code(failure: ReadFailure) -> ErrorCode {
    match failure {
        ReadFailure::OutOfRange => ErrorCode::OffsetOutOfRange,
        ReadFailure::NoSuchPartition => ErrorCode::NotLeaderOrFollower,
        ReadFailure::Corrupt => ErrorCode::CorruptMessage,
        ReadFailure::Storage => ErrorCode::KafkaStorageError,
    }
}

/// One partition of the answer.
#[derive(Debug)]
pub struct Part {
    /// Kafka's code.
    pub code: ErrorCode,
    /// One past the last offset consumers see, -1 when unknown.
    pub high_watermark: i64,
    /// One past the last offset before which every transaction has ended, -1 when unknown.
    pub last_stable: i64,
    /// The first offset, -1 when unknown.
    pub log_start: i64,
    /// Where the logs part, as epoch and its end offset.
    pub diverging: Option<(i32, i64)>,
    /// Whole batches.
    pub slices: Vec<Slice>,
    /// Their bytes.
    pub bytes: usize,
    /// Aborted transactions among them, when only what is committed was wanted.
    pub aborted: Vec<AbortedTxn>,
}

impl Part {
    /// A partition of which nothing is known but why.
    pub fn failed(code: ErrorCode) -> Part {
        Part {
            code,
            high_watermark: -1,
            last_stable: -1,
            log_start: -1,
            diverging: None,
            slices: Vec::new(),
            bytes: 0,
            aborted: Vec::new(),
        }
    }

    /// From what an owner read.
    pub fn read(read: PartRead) -> Part {
        Part {
            code: read.error.map_or(ErrorCode::None, read_code),
            high_watermark: read.high_watermark,
            last_stable: read.last_stable,
            log_start: read.log_start,
            diverging: read.diverging,
            slices: read.slices,
            bytes: read.bytes,
            aborted: read.aborted,
        }
    }

    /// Leaves out the records, and what was told about them.
    pub fn give_up_records(&mut self) {
        self.slices = Vec::new();
        self.aborted = Vec::new();
        self.bytes = 0;
    }

    /// Whether the answer must not wait for more.
    pub fn is_urgent(&self) -> bool {
        self.code != ErrorCode::None || self.diverging.is_some()
    }

    /// What the session is to remember.
    pub fn outcome(&self) -> Outcome {
        Outcome {
            has_records: self.bytes > 0,
            must_tell: self.is_urgent(),
            high_watermark: self.high_watermark,
            log_start_offset: self.log_start,
        }
    }
}

/// Keeps the answer within `max_bytes`: owners read side by side, so together they may have found more. The first
/// partition with records keeps them whatever their size; later ones that no longer fit give theirs up.
pub fn fit(parts: &mut [Part], max_bytes: usize) {
    let mut total = 0;
    for part in parts.iter_mut().filter(|part| part.bytes > 0) {
        if total > 0 && total + part.bytes > max_bytes {
            part.give_up_records();
        }
        total += part.bytes;
    }
}

/// A whole response.
#[derive(Debug)]
pub struct Response<'a> {
    /// Error of the session.
    pub code: ErrorCode,
    /// The session, or 0.
    pub session_id: i32,
    /// How long the client has to wait, in milliseconds.
    pub throttle_time_ms: i32,
    /// Whether aborted transactions are listed, if there are any, rather than null.
    pub isolation: Isolation,
    /// The partitions, with their names.
    pub parts: Vec<(&'a Wanted, Part)>,
}

/// Writes the response frame: its own bytes, and the records where they lie.
pub fn encode(reply: &ReplyTo, response: Response<'_>) -> Vec<Piece> {
    let (error_code, session_id) = (response.code.code(), response.session_id);
    let head = FetchResponse {
        error_code,
        session_id,
        throttle_time_ms: response.throttle_time_ms,
        ..Default::default()
    };
    let runs: Vec<usize> = response
        .parts
        .chunk_by(|a, b| a.0.topic == b.0.topic)
        .map(<[_]>::len)
        .collect();
    let mut writer = FetchResponseWriter::new(reply.version, reply.correlation_id, &head, runs.len());
    let mut parts = response.parts.into_iter();
    for run in runs {
        for (at, (wanted, part)) in parts.by_ref().take(run).enumerate() {
            if at == 0 {
                writer.topic(&topic_head(&wanted.topic), run);
            }
            let data = partition_data(wanted.partition, &part, response.isolation);
            writer.partition(&data, part.slices, part.bytes);
        }
    }
    writer.finish(&Vec::new()).parts.into_iter().map(piece).collect()
}

fn piece(part: crate::wire::Part<Slice>) -> Piece {
    match part {
        crate::wire::Part::Bytes(bytes) => Piece::Bytes(bytes),
        crate::wire::Part::Records(slice) => Piece::Slice(slice),
    }
}

fn topic_head(topic: &TopicRef) -> FetchableTopicResponse {
    match topic {
        TopicRef::Id(topic_id) => FetchableTopicResponse {
            topic_id: *topic_id,
            ..Default::default()
        },
        TopicRef::Name(topic) => FetchableTopicResponse {
            topic: topic.clone(),
            ..Default::default()
        },
    }
}

fn partition_data(partition_index: i32, part: &Part, isolation: Isolation) -> PartitionData {
    let aborted = part.aborted.iter().map(|aborted| AbortedTransaction {
        producer_id: aborted.producer_id,
        first_offset: aborted.first_offset,
    });
    // Nothing is read where something is wrong.
    let tells_aborted = isolation == Isolation::Committed && part.code == ErrorCode::None;
    let (epoch, end_offset) = part.diverging.unwrap_or((-1, -1));
    PartitionData {
        partition_index,
        error_code: part.code.code(),
        high_watermark: part.high_watermark,
        last_stable_offset: part.last_stable,
        log_start_offset: part.log_start,
        aborted_transactions: tells_aborted.then(|| aborted.collect()),
        diverging_epoch: EpochEndOffset { epoch, end_offset },
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ringlog_engine::io::ConnId;

    use super::*;
    use crate::wire::header::ResponseHeader;
    use crate::wire::{ApiKey, Decoder};

    fn reply(version: i16) -> ReplyTo {
        let (core, conn, serial, number) = (0, ConnId(1), 1, 0);
        ReplyTo {
            core,
            conn,
            serial,
            number,
            api_key: ApiKey::Fetch,
            version,
            correlation_id: 77,
        }
    }

    fn wanted(topic: u8, partition: i32, version: i16) -> Wanted {
        let topic = match version {
            13.. => TopicRef::Id(Uuid([topic; 16])),
            _ => TopicRef::Name(format!("topic-{topic}")),
        };
        let (current_leader_epoch, last_fetched_epoch) = (-1, -1);
        Wanted {
            topic,
            partition,
            current_leader_epoch,
            fetch_offset: 0,
            last_fetched_epoch,
            max_bytes: 1,
        }
    }

    fn part(bytes: usize) -> Part {
        Part {
            high_watermark: 9,
            last_stable: 7,
            log_start: 2,
            bytes,
            aborted: vec![AbortedTxn {
                producer_id: 4,
                first_offset: 5,
                last_offset: 6,
                last_stable_offset: 7,
            }],
            ..Part::failed(ErrorCode::None)
        }
    }

    fn flat(pieces: &[Piece]) -> Bytes {
        let mut out = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Bytes(bytes) => out.extend_from_slice(bytes),
                Piece::Slice(_) => {}
            }
        }
        out.into()
    }

    fn data(partition_index: i32, code: ErrorCode, offsets: (i64, i64), version: i16) -> PartitionData {
        let aborted = match offsets.0 {
            -1 => Vec::new(),
            _ => vec![AbortedTransaction {
                producer_id: 4,
                first_offset: 5,
            }],
        };
        PartitionData {
            partition_index,
            error_code: code.code(),
            high_watermark: offsets.0,
            last_stable_offset: if offsets.0 < 0 { -1 } else { 7 },
            log_start_offset: if version >= 5 { offsets.1 } else { -1 },
            aborted_transactions: code.is_none().then_some(aborted),
            records: Some(Bytes::new()),
            ..Default::default()
        }
    }

    #[test]
    fn every_version_decodes_as_declared() {
        for version in 4..=18 {
            let names: Vec<Wanted> = [(1, 0), (1, 3), (2, 0)]
                .map(|(t, p)| wanted(t, p, version))
                .into();
            let diverging = Part {
                diverging: Some((3, 44)),
                ..part(0)
            };
            let parts = vec![part(0), Part::failed(ErrorCode::OffsetOutOfRange), diverging];
            let parts = names.iter().zip(parts).collect();
            let response = Response {
                throttle_time_ms: 0,
                code: ErrorCode::None,
                session_id: 5,
                isolation: Isolation::Committed,
                parts,
            };
            let frame = flat(&encode(&reply(version), response));
            assert_eq!(
                frame.first_chunk().map(|b| u32::from_be_bytes(*b)),
                Some(frame.len() as u32 - 4)
            );

            let body = frame.slice(4..);
            let mut from = Decoder::new(&body);
            let header = ResponseHeader::decode(&mut from, i16::from(version >= 12));
            assert_eq!(header.map(|h| h.correlation_id), Ok(77));
            let topic = |t: u8, partitions| FetchableTopicResponse {
                topic: if version < 13 {
                    format!("topic-{t}")
                } else {
                    String::new()
                },
                topic_id: if version < 13 { Uuid::ZERO } else { Uuid([t; 16]) },
                partitions,
            };
            let mut last = data(0, ErrorCode::None, (9, 2), version);
            if version >= 12 {
                last.diverging_epoch = EpochEndOffset {
                    epoch: 3,
                    end_offset: 44,
                };
            }
            let first = data(0, ErrorCode::None, (9, 2), version);
            let second = data(3, ErrorCode::OffsetOutOfRange, (-1, -1), version);
            let expected = FetchResponse {
                session_id: if version >= 7 { 5 } else { 0 },
                responses: vec![topic(1, vec![first, second]), topic(2, vec![last])],
                ..Default::default()
            };
            assert_eq!(
                FetchResponse::decode(&mut from, version),
                Ok(expected),
                "version {version}"
            );
            assert_eq!(from.remaining(), 0);
        }
    }

    #[test]
    fn the_first_records_stay_and_later_ones_must_fit() {
        let kept = |sizes: &[usize], max| {
            let mut parts: Vec<Part> = sizes.iter().map(|bytes| part(*bytes)).collect();
            fit(&mut parts, max);
            parts.iter().map(|part| part.bytes).collect::<Vec<_>>()
        };
        assert_eq!(kept(&[0, 50, 10], 20), [0, 50, 0]);
        assert_eq!(kept(&[10, 50, 10], 20), [10, 0, 10]);
        assert_eq!(kept(&[10, 10, 0], 20), [10, 10, 0]);
    }

    #[test]
    fn epochs_are_compared_as_kafka_does() {
        let cases = [
            (-1, 5, None),
            (5, 5, None),
            (4, 5, Some(ErrorCode::FencedLeaderEpoch)),
            (6, 5, Some(ErrorCode::UnknownLeaderEpoch)),
        ];
        for (believed, holds, error) in cases {
            assert_eq!(check_epoch(believed, holds).err(), error);
        }
    }
}
