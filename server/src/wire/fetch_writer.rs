//! Writes a Fetch response around records that stay where they are.
//!
//! A response is mostly records, and those already lie in memory of the engine. [`FetchResponseWriter`]
//! writes everything else into one buffer and remembers where records belong in between, so that the socket
//! can be given the pieces in order and nothing is copied:
//!
//! ```text
//! | length, header, first partition | records ... | tags, next partition | records ... | tags |
//!   Part::Bytes                       Part::Records  Part::Bytes
//! ```
//! What a piece of records is, is the caller's business: a slice of the engine, an index, a test's bytes.

use bytes::Bytes;

use super::api::Api;
use super::fetch::{FetchRequest, FetchResponse, FetchableTopicResponse, NodeEndpoint, PartitionData};
use super::field::{Field, Shape};
use super::frame::{close_frame, open_frame};
use super::header::ResponseHeader;
use super::primitives::{close_tag, open_tag, put_length, put_uvarint};
use super::schema::shape;

/// A piece of a response, in the order of sending.
#[derive(Clone, Debug, PartialEq)]
pub enum Part<R> {
    /// Bytes written here.
    Bytes(Bytes),
    /// Records from elsewhere.
    Records(R),
}

/// A response in pieces.
#[derive(Clone, Debug, PartialEq)]
pub struct Scattered<R> {
    /// The pieces, in the order of sending; the first begins with the frame's length.
    pub parts: Vec<Part<R>>,
    /// All pieces together, the frame's length included, in bytes.
    pub total_bytes: usize,
}

/// Writes one response from front to back: `new`, then each topic and its partitions, then `finish`.
#[derive(Debug)]
pub struct FetchResponseWriter<R> {
    bytes: Vec<u8>,
    /// Pieces, and the position in `bytes` before which each is sent.
    records: Vec<(usize, R)>,
    records_bytes: usize,
    shape: Shape,
    topics_left: usize,
    partitions_left: usize,
}

impl<R> FetchResponseWriter<R> {
    /// Starts a response with `topics` topics. Of `head` all but `responses` and `node_endpoints` is used.
    pub fn new(version: i16, correlation_id: i32, head: &FetchResponse, topics: usize) -> Self {
        let shape = shape::<FetchResponse>(version);
        let mut bytes = open_frame();
        let header_version = Api::of::<FetchRequest>().response_header(version);
        ResponseHeader { correlation_id }.encode(&mut bytes, header_version);
        head.throttle_time_ms.write(&mut bytes, shape);
        if version >= 7 {
            head.error_code.write(&mut bytes, shape);
            head.session_id.write(&mut bytes, shape);
        }
        put_length(&mut bytes, Some(topics), shape.flexible);
        Self {
            bytes,
            records: Vec::new(),
            records_bytes: 0,
            shape,
            topics_left: topics,
            partitions_left: 0,
        }
    }

    /// Starts the next topic, of which name or id is used, with `partitions` partitions.
    pub fn topic(&mut self, topic: &FetchableTopicResponse, partitions: usize) {
        debug_assert_eq!(self.partitions_left, 0, "the topic before is not complete");
        debug_assert!(self.topics_left > 0, "one topic too many");
        self.topics_left -= 1;
        self.partitions_left = partitions;
        if self.shape.version >= 13 {
            topic.topic_id.write(&mut self.bytes, self.shape);
        } else {
            topic.topic.write(&mut self.bytes, self.shape);
        }
        put_length(&mut self.bytes, Some(partitions), self.shape.flexible);
        self.end_topic();
    }

    /// Writes the next partition of the topic. Its records are the pieces, `records_bytes` long together;
    /// `partition.records` is not used. No pieces make an empty field, as in Kafka, not a null one.
    pub fn partition(
        &mut self,
        partition: &PartitionData,
        pieces: impl IntoIterator<Item = R>,
        records_bytes: usize,
    ) {
        debug_assert!(self.partitions_left > 0, "one partition too many");
        self.partitions_left -= 1;
        self.partition_head(partition);
        put_length(&mut self.bytes, Some(records_bytes), self.shape.flexible);
        let position = self.bytes.len();
        self.records
            .extend(pieces.into_iter().map(|piece| (position, piece)));
        self.records_bytes += records_bytes;
        if self.shape.flexible {
            self.partition_tags(partition);
        }
        self.end_topic();
    }

    fn partition_head(&mut self, partition: &PartitionData) {
        let (out, shape) = (&mut self.bytes, self.shape);
        partition.partition_index.write(out, shape);
        partition.error_code.write(out, shape);
        partition.high_watermark.write(out, shape);
        partition.last_stable_offset.write(out, shape);
        if shape.version >= 5 {
            partition.log_start_offset.write(out, shape);
        }
        partition.aborted_transactions.write(out, shape);
        if shape.version >= 11 {
            partition.preferred_read_replica.write(out, shape);
        }
    }

    fn partition_tags(&mut self, partition: &PartitionData) {
        let mut tags = Vec::new();
        let count = self.tag(&mut tags, 0, &partition.diverging_epoch)
            + self.tag(&mut tags, 1, &partition.current_leader)
            + self.tag(&mut tags, 2, &partition.snapshot_id);
        put_uvarint(&mut self.bytes, count);
        self.bytes.append(&mut tags);
    }

    /// Appends a tagged field that is not its default; the number of fields appended.
    fn tag<T: Field + Default + PartialEq>(&self, out: &mut Vec<u8>, tag: u32, value: &T) -> u32 {
        if *value == T::default() {
            return 0;
        }
        let start = open_tag(out, tag);
        value.write(out, self.shape);
        close_tag(out, start);
        1
    }

    /// After its last partition a topic has no tagged fields.
    fn end_topic(&mut self) {
        if self.partitions_left == 0 && self.shape.flexible {
            put_uvarint(&mut self.bytes, 0);
        }
    }

    /// Ends the response: `node_endpoints` are where the leaders named in it live (from version 16).
    pub fn finish(mut self, node_endpoints: &Vec<NodeEndpoint>) -> Scattered<R> {
        debug_assert_eq!(
            (self.topics_left, self.partitions_left),
            (0, 0),
            "the response is not complete"
        );
        if self.shape.flexible {
            let mut tags = Vec::new();
            let count = if self.shape.version >= 16 {
                self.tag(&mut tags, 0, node_endpoints)
            } else {
                0
            };
            put_uvarint(&mut self.bytes, count);
            self.bytes.append(&mut tags);
        }
        let total_bytes = self.bytes.len() + self.records_bytes;
        let bytes = close_frame(self.bytes, self.records_bytes);
        Scattered {
            parts: interleave(&bytes, self.records),
            total_bytes,
        }
    }
}

/// Cuts `bytes` where records belong.
fn interleave<R>(bytes: &Bytes, records: Vec<(usize, R)>) -> Vec<Part<R>> {
    let mut parts = Vec::with_capacity(2 * records.len() + 1);
    let mut start = 0;
    for (position, piece) in records {
        if position > start {
            parts.push(Part::Bytes(bytes.slice(start..position)));
            start = position;
        }
        parts.push(Part::Records(piece));
    }
    if start < bytes.len() {
        parts.push(Part::Bytes(bytes.slice(start..)));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::fetch::{AbortedTransaction, EpochEndOffset, LeaderIdAndEpoch, SnapshotId};
    use crate::wire::frame::encode_response;
    use crate::wire::schema::versions;
    use crate::wire::uuid::Uuid;

    fn partition(index: i32, records: &'static [u8]) -> PartitionData {
        PartitionData {
            partition_index: index,
            high_watermark: 100 + i64::from(index),
            last_stable_offset: 99,
            log_start_offset: 3,
            aborted_transactions: (index > 0).then(|| {
                vec![AbortedTransaction {
                    producer_id: 1,
                    first_offset: 2,
                }]
            }),
            records: Some(Bytes::from_static(records)),
            ..Default::default()
        }
    }

    fn response() -> FetchResponse {
        let mut moved = partition(2, b"");
        moved.error_code = 6;
        moved.current_leader = LeaderIdAndEpoch {
            leader_id: 4,
            leader_epoch: 5,
        };
        moved.diverging_epoch = EpochEndOffset {
            epoch: 6,
            end_offset: 7,
        };
        moved.snapshot_id = SnapshotId {
            end_offset: 8,
            epoch: 9,
        };
        let topic = |name: &str, partitions| FetchableTopicResponse {
            topic: name.to_owned(),
            topic_id: Uuid([name.len() as u8; 16]),
            partitions,
        };
        FetchResponse {
            throttle_time_ms: 1,
            session_id: 2,
            responses: vec![
                topic("a", vec![partition(0, b"records"), partition(1, b"more")]),
                topic("bb", vec![]),
                topic("ccc", vec![moved, partition(3, b"!")]),
            ],
            node_endpoints: vec![NodeEndpoint {
                node_id: 4,
                host: "h".to_owned(),
                port: 9092,
                rack: None,
            }],
            ..Default::default()
        }
    }

    /// Writes the response with every record byte a piece of its own.
    fn scatter(response: &FetchResponse, version: i16) -> Scattered<u8> {
        let mut writer = FetchResponseWriter::new(version, 77, response, response.responses.len());
        for topic in &response.responses {
            writer.topic(topic, topic.partitions.len());
            for partition in &topic.partitions {
                let records = partition.records.clone().unwrap_or_default();
                writer.partition(partition, records.to_vec(), records.len());
            }
        }
        writer.finish(&response.node_endpoints)
    }

    #[test]
    fn the_pieces_are_the_message() {
        for version in versions::<FetchResponse>() {
            for response in [response(), FetchResponse::default()] {
                let scattered = scatter(&response, version);
                let mut gathered = Vec::new();
                for part in &scattered.parts {
                    match part {
                        Part::Bytes(bytes) => gathered.extend_from_slice(bytes),
                        Part::Records(byte) => gathered.push(*byte),
                    }
                }
                assert_eq!(
                    gathered,
                    encode_response::<FetchRequest>(&response, version, 77),
                    "v{version}"
                );
                assert_eq!(gathered.len(), scattered.total_bytes);
            }
        }
    }
}
