//! The protocol over a plain socket: frames and batches put together by hand, rightly or wrongly.
//!
//! Valid messages are encoded with the crate kafka-protocol, an implementation independent of the broker's.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    BrokerId, FetchRequest, MetadataRequest, MetadataResponse, ProduceRequest, RequestHeader, ResponseHeader,
    TopicName, metadata_request::MetadataRequestTopic,
};
use kafka_protocol::protocol::{Decodable, Encodable, Request, StrBytes};
use uuid::Uuid;

/// How long a read may take before the test fails.
const READ_PATIENCE: Duration = Duration::from_secs(20);

/// What a client calls itself that is not told otherwise.
const CLIENT_ID: &str = "raw";

/// One connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    correlation: i32,
    client_id: String,
}

impl Connection {
    /// Connects.
    pub fn open(bootstrap: &str) -> Connection {
        Connection::try_open(bootstrap).expect("the broker accepts")
    }

    /// Connects to a broker that may not be there.
    pub fn try_open(bootstrap: &str) -> io::Result<Connection> {
        let stream = TcpStream::connect(bootstrap)?;
        stream.set_read_timeout(Some(READ_PATIENCE))?;
        stream.set_write_timeout(Some(READ_PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream,
            correlation: 0,
            client_id: CLIENT_ID.to_owned(),
        })
    }

    /// Connects as a client that calls itself so.
    pub fn open_as(bootstrap: &str, client_id: &str) -> Connection {
        let mut connection = Connection::open(bootstrap);
        client_id.clone_into(&mut connection.client_id);
        connection
    }

    /// The socket itself.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends one frame: the length, then the bytes.
    pub fn send_frame(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = i32::try_from(bytes.len()).expect("a frame below 2 GiB");
        let mut frame = length.to_be_bytes().to_vec();
        frame.extend_from_slice(bytes);
        self.stream.write_all(&frame)
    }

    /// Sends a request and gives its correlation id.
    pub fn send<R: Request>(&mut self, version: i16, request: &R) -> i32 {
        self.try_send(version, request).expect("the request is sent")
    }

    fn try_send<R: Request>(&mut self, version: i16, request: &R) -> io::Result<i32> {
        self.correlation += 1;
        let frame = request_bytes_of(&self.client_id, version, self.correlation, request);
        self.send_frame(&frame)?;
        Ok(self.correlation)
    }

    /// Sends a request and reads its answer.
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.try_call(version, request).expect("an answer")
    }

    /// Sends a request and reads its answer, from a broker that may go away meanwhile.
    pub fn try_call<R: Request>(&mut self, version: i16, request: &R) -> io::Result<R::Response> {
        let correlation = self.try_send(version, request)?;
        let frame = self.read_frame()?;
        Ok(decode::<R>(version, correlation, frame))
    }

    /// Reads the answer to a request sent before.
    ///
    /// # Panics
    /// When it is not the next one on this connection, or cannot be decoded to its last byte.
    pub fn receive<R: Request>(&mut self, version: i16, correlation: i32) -> R::Response {
        let frame = self.read_frame().expect("an answer");
        decode::<R>(version, correlation, frame)
    }

    /// Reads one frame, without its length.
    pub fn read_frame(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length)).map_err(io::Error::other)?;
        let mut frame = vec![0; length];
        self.stream.read_exact(&mut frame)?;
        Ok(frame)
    }

    /// Expects that the broker closes the connection without another byte.
    pub fn expect_closed(&mut self) {
        let mut byte = [0; 1];
        match self.stream.read(&mut byte) {
            Ok(0) => {}
            Ok(_) => panic!("the broker answered instead of closing the connection"),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("the broker neither answered nor closed the connection: {error}"),
        }
    }

    /// Expects that the broker says nothing for this long and keeps the connection open.
    pub fn expect_silence(&mut self, time: Duration) {
        self.stream
            .set_read_timeout(Some(time))
            .expect("a time-out can be set");
        let mut byte = [0; 1];
        match self.stream.read(&mut byte) {
            Ok(0) => panic!("the broker closed the connection"),
            Ok(_) => panic!("the broker answered"),
            Err(error) => {
                let quiet = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                assert!(quiet, "the broker closed the connection: {error}");
            }
        }
        self.stream
            .set_read_timeout(Some(READ_PATIENCE))
            .expect("a time-out can be set");
    }
}

fn decode<R: Request>(version: i16, correlation: i32, frame: Vec<u8>) -> R::Response {
    let mut frame = Bytes::from(frame);
    let header_version = <R::Response as kafka_protocol::protocol::HeaderVersion>::header_version(version);
    let header = ResponseHeader::decode(&mut frame, header_version).expect("a response header");
    assert_eq!(
        header.correlation_id, correlation,
        "answers come in the order of their requests"
    );
    let response = R::Response::decode(&mut frame, version).expect("a response body");
    assert!(frame.is_empty(), "{} bytes after the response", frame.len());
    response
}

/// A request with its header, without the length.
pub fn request_bytes<R: Request>(version: i16, correlation: i32, request: &R) -> Vec<u8> {
    request_bytes_of(CLIENT_ID, version, correlation, request)
}

fn request_bytes_of<R: Request>(client_id: &str, version: i16, correlation: i32, request: &R) -> Vec<u8> {
    let header_version = R::header_version(version);
    let mut out = header_bytes_of(client_id, R::KEY, version, correlation, header_version);
    let mut body = BytesMut::new();
    request
        .encode(&mut body, version)
        .expect("a message of a version it has");
    out.extend_from_slice(&body);
    out
}

/// A request header of any key and version, also ones that do not exist.
pub fn header_bytes(key: i16, version: i16, correlation: i32, header_version: i16) -> Vec<u8> {
    header_bytes_of(CLIENT_ID, key, version, correlation, header_version)
}

fn header_bytes_of(
    client_id: &str,
    key: i16,
    version: i16,
    correlation: i32,
    header_version: i16,
) -> Vec<u8> {
    let header = RequestHeader::default()
        .with_request_api_key(key)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(StrBytes::from_string(client_id.to_owned())));
    let mut out = BytesMut::new();
    header
        .encode(&mut out, header_version)
        .expect("a header version that exists");
    out.to_vec()
}

/// A topic name of the crate kafka-protocol.
pub fn name(topic: &str) -> TopicName {
    TopicName::from(StrBytes::from_string(topic.to_owned()))
}

/// A topic's id, as the broker reports it.
pub fn topic_id(connection: &mut Connection, topic: &str) -> Uuid {
    let response = metadata(connection, 12, &[topic]);
    response.topics.first().expect("the topic is listed").topic_id
}

/// Asks for these topics without creating them.
pub fn metadata(connection: &mut Connection, version: i16, topics: &[&str]) -> MetadataResponse {
    let topics = topics
        .iter()
        .map(|topic| MetadataRequestTopic::default().with_name(Some(name(topic))))
        .collect();
    let request = MetadataRequest::default()
        .with_topics(Some(topics))
        .with_allow_auto_topic_creation(false);
    connection.call(version, &request)
}

/// A Metadata request for one topic that may create it.
pub fn ask_metadata(topic: &str) -> MetadataRequest {
    let topic = MetadataRequestTopic::default().with_name(Some(name(topic)));
    MetadataRequest::default()
        .with_topics(Some(vec![topic]))
        .with_allow_auto_topic_creation(true)
}

/// A Produce request (by name) for one partition.
pub fn produce_request(topic: &str, partition: i32, acks: i16, records: &[u8]) -> ProduceRequest {
    let partition = PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(Bytes::copy_from_slice(records)));
    let data = TopicProduceData::default()
        .with_name(name(topic))
        .with_partition_data(vec![partition]);
    ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(10_000)
        .with_topic_data(vec![data])
}

/// Sends one Produce (by name, version 9) with acks=all and gives the partition's answer.
pub fn produce(
    connection: &mut Connection,
    topic: &str,
    partition: i32,
    records: &[u8],
) -> PartitionProduceResponse {
    let response = connection.call(9, &produce_request(topic, partition, -1, records));
    let mut topic = response.responses.into_iter().next().expect("the topic's answer");
    topic.partition_responses.pop().expect("the partition's answer")
}

/// What to fetch from one partition.
#[derive(Clone, Copy, Debug)]
pub struct Want {
    /// The partition.
    pub partition: i32,
    /// From this offset.
    pub offset: i64,
    /// At most this many bytes of it.
    pub max_bytes: i32,
}

/// A sessionless Fetch (by name) that waits at most `max_wait_ms` for `min_bytes`.
pub fn fetch_request(topic: &str, wants: &[Want], min_bytes: i32, max_wait_ms: i32) -> FetchRequest {
    let partitions = wants
        .iter()
        .map(|want| {
            FetchPartition::default()
                .with_partition(want.partition)
                .with_fetch_offset(want.offset)
                .with_partition_max_bytes(want.max_bytes)
        })
        .collect();
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(max_wait_ms)
        .with_min_bytes(min_bytes)
        .with_max_bytes(50 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![
            FetchTopic::default()
                .with_topic(name(topic))
                .with_partitions(partitions),
        ])
}

/// Fetches (version 12, by name) one partition without waiting.
pub fn fetch(connection: &mut Connection, topic: &str, partition: i32, offset: i64) -> PartitionData {
    let want = Want {
        partition,
        offset,
        max_bytes: 1 << 20,
    };
    let response = connection.call(12, &fetch_request(topic, &[want], 0, 0));
    let mut topic = response.responses.into_iter().next().expect("the topic's answer");
    topic.partitions.pop().expect("the partition's answer")
}

/// A record batch put together by hand. `build` writes what the fields say, also when they do not fit together.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Field `magic`.
    pub magic: i8,
    /// Field `attributes`.
    pub attributes: i16,
    /// Added to every record's timestamp delta 0; also `maxTimestamp`.
    pub timestamp_ms: i64,
    /// Field `producerId`.
    pub producer_id: i64,
    /// Field `producerEpoch`.
    pub producer_epoch: i16,
    /// Field `baseSequence`.
    pub base_sequence: i32,
    /// Values of the records.
    pub values: Vec<Vec<u8>>,
    /// Field `recordsCount`, when it shall differ from the number of values.
    pub claimed_count: Option<i32>,
    /// Field `lastOffsetDelta`, when it shall differ from the number of values - 1.
    pub claimed_last_delta: Option<i32>,
    /// Flips a bit of the checksum.
    pub wrong_crc: bool,
}

impl Batch {
    /// A good batch of records without keys.
    pub fn of(values: &[&[u8]]) -> Batch {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("a clock after 1970");
        Batch {
            magic: 2,
            attributes: 0,
            timestamp_ms: now.as_millis() as i64,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            values: values.iter().map(|value| value.to_vec()).collect(),
            claimed_count: None,
            claimed_last_delta: None,
            wrong_crc: false,
        }
    }

    /// A good batch of this many bytes in all, with one record.
    pub fn sized(total: usize) -> Batch {
        let mut value = vec![b'v'; total.saturating_sub(80)];
        loop {
            let batch = Batch::of(&[&value]);
            match batch.build().len().cmp(&total) {
                std::cmp::Ordering::Equal => return batch,
                std::cmp::Ordering::Less => value.push(b'v'),
                std::cmp::Ordering::Greater => panic!("no batch has {total} bytes"),
            }
        }
    }

    /// The same batch from an idempotent producer.
    pub fn from_producer(mut self, id: i64, epoch: i16, sequence: i32) -> Batch {
        (self.producer_id, self.producer_epoch, self.base_sequence) = (id, epoch, sequence);
        self
    }

    /// The bytes.
    pub fn build(&self) -> Vec<u8> {
        let count = self.values.len() as i32;
        let mut covered = Vec::new();
        covered.extend_from_slice(&self.attributes.to_be_bytes());
        covered.extend_from_slice(&self.claimed_last_delta.unwrap_or(count - 1).to_be_bytes());
        covered.extend_from_slice(&self.timestamp_ms.to_be_bytes());
        covered.extend_from_slice(&self.timestamp_ms.to_be_bytes());
        covered.extend_from_slice(&self.producer_id.to_be_bytes());
        covered.extend_from_slice(&self.producer_epoch.to_be_bytes());
        covered.extend_from_slice(&self.base_sequence.to_be_bytes());
        covered.extend_from_slice(&self.claimed_count.unwrap_or(count).to_be_bytes());
        for (index, value) in self.values.iter().enumerate() {
            put_record(&mut covered, index as i64, value);
        }
        let crc = crc32c(&covered) ^ u32::from(self.wrong_crc);
        let mut out = 0i64.to_be_bytes().to_vec();
        out.extend_from_slice(&(covered.len() as i32 + 9).to_be_bytes());
        out.extend_from_slice(&(-1i32).to_be_bytes());
        out.push(self.magic as u8);
        out.extend_from_slice(&crc.to_be_bytes());
        out.extend_from_slice(&covered);
        out
    }
}

/// One record without key and headers.
fn put_record(out: &mut Vec<u8>, offset_delta: i64, value: &[u8]) {
    let mut body = vec![0];
    put_varint(&mut body, 0);
    put_varint(&mut body, offset_delta);
    put_varint(&mut body, -1);
    put_varint(&mut body, value.len() as i64);
    body.extend_from_slice(value);
    put_varint(&mut body, 0);
    put_varint(out, body.len() as i64);
    out.extend_from_slice(&body);
}

/// A zigzag varint.
fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// CRC-32C (Castagnoli), a table at a time.
pub fn crc32c(bytes: &[u8]) -> u32 {
    static TABLE: std::sync::OnceLock<[u32; 256]> = std::sync::OnceLock::new();
    let table = TABLE.get_or_init(|| {
        std::array::from_fn(|index| {
            (0..8).fold(index as u32, |crc, _| {
                if crc & 1 == 1 {
                    (crc >> 1) ^ 0x82F6_3B78
                } else {
                    crc >> 1
                }
            })
        })
    });
    !bytes.iter().fold(!0, |crc: u32, &byte| {
        (crc >> 8) ^ table[((crc ^ u32::from(byte)) & 0xff) as usize]
    })
}

/// Base offsets and record counts of the whole batches in what a fetch gave.
pub fn batches(mut records: &[u8]) -> Vec<(i64, i32)> {
    let mut out = Vec::new();
    while records.len() >= 61 {
        let field = |at: usize| i32::from_be_bytes(records[at..at + 4].try_into().expect("four bytes"));
        let length = field(8) as usize + 12;
        if records.len() < length {
            break;
        }
        let base = i64::from_be_bytes(records[..8].try_into().expect("eight bytes"));
        out.push((base, field(57)));
        records = &records[length..];
    }
    out
}

/// The broker still serves: a good batch is taken and comes back.
///
/// # Panics
/// When it does not.
pub fn assert_serves(bootstrap: &str, topic: &str) {
    let mut connection = Connection::open(bootstrap);
    let answer = produce(&mut connection, topic, 0, &Batch::of(&[b"still here"]).build());
    assert_eq!(answer.error_code, 0);
    let back = fetch(&mut connection, topic, 0, answer.base_offset);
    assert_eq!(
        batches(&back.records.unwrap_or_default()),
        [(answer.base_offset, 1)]
    );
}
