//! A blocking client of one connection, and the batches it sends.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    CreateTopicsRequest, FetchRequest, ListOffsetsRequest, ProduceRequest, RequestHeader, ResponseHeader,
    TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

use crate::sink::{Fault, Keep, Sink, SinkConfig, lock};

/// Longer than anything here takes, so that a test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(20);

/// A sink with two threads.
pub(super) fn sink(keep: Keep, fault: Option<Fault>) -> Sink {
    let config = SinkConfig {
        threads: 2,
        keep,
        fault,
    };
    Sink::start(config).unwrap()
}

/// Returns once a fetch waits at partition 0 of topic `t`.
pub(super) fn until_awaited(sink: &Sink) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let topics = sink.shared.topics.read();
        if lock(topics.partition("t", 0).unwrap()).is_awaited() {
            return;
        }
        assert!(Instant::now() < deadline, "no fetch came to wait");
        drop(topics);
        std::thread::yield_now();
    }
}

pub(super) fn name(text: &str) -> TopicName {
    TopicName(StrBytes::from_string(text.to_owned()))
}

/// A batch of `values.len()` records without keys, at timestamps 1000, 1001 and so on.
pub(super) fn batch(values: &[&str]) -> Bytes {
    let records: Vec<Record> = (0..)
        .zip(values)
        .map(|(index, value)| record(index, value))
        .collect();
    let options = RecordEncodeOptions {
        version: 2,
        compression: Compression::None,
    };
    let mut bytes = BytesMut::new();
    RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
    bytes.freeze()
}

fn record(index: i32, value: &str) -> Record {
    Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        offset: i64::from(index),
        sequence: index,
        timestamp: 1000 + i64::from(index),
        key: None,
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: Default::default(),
    }
}

/// The offset and value of each record of some batches; panics where a checksum does not hold.
pub(super) fn records(partition: &PartitionData) -> Vec<(i64, String)> {
    let mut bytes = partition.records.clone().unwrap_or_default();
    let sets = RecordBatchDecoder::decode_all(&mut bytes).unwrap();
    let records = sets.into_iter().flat_map(|set| set.records);
    let text = |value: Option<Bytes>| String::from_utf8(value.unwrap_or_default().to_vec()).unwrap();
    records
        .map(|record| (record.offset, text(record.value)))
        .collect()
}

/// What a sequence of (offset, value) is compared with.
pub(super) fn expected(records: &[(i64, &str)]) -> Vec<(i64, String)> {
    let owned = records
        .iter()
        .map(|(offset, value)| (*offset, (*value).to_owned()));
    owned.collect()
}

/// One connection.
pub(super) struct Client {
    stream: TcpStream,
    correlation_id: i32,
}

impl Client {
    pub(super) fn connect(sink: &Sink) -> Client {
        let stream = TcpStream::connect(sink.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client {
            stream,
            correlation_id: 0,
        }
    }

    /// A connection, and a topic `t` with so many partitions.
    pub(super) fn with_topic(sink: &Sink, partitions: i32) -> Client {
        let mut client = Client::connect(sink);
        let topic = CreatableTopic::default()
            .with_name(name("t"))
            .with_num_partitions(partitions)
            .with_replication_factor(1);
        let request = CreateTopicsRequest::default().with_topics(vec![topic]);
        assert_eq!(client.call(7, &request).topics[0].error_code, 0);
        client
    }

    /// Bytes as they are.
    pub(super) fn send_raw(&mut self, bytes: &[u8]) {
        // The sink may have closed already, which the answer will tell.
        let _ = self.stream.write_all(bytes);
    }

    pub(super) fn send<R: Request>(&mut self, version: i16, request: &R) {
        let frame = self.frame(version, request);
        self.send_raw(&frame);
    }

    /// The next request as it goes over the wire.
    pub(super) fn frame<R: Request>(&mut self, version: i16, request: &R) -> Vec<u8> {
        self.correlation_id += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(StrBytes::from_static_str("test")));
        let mut frame = vec![0; 4];
        header.encode(&mut frame, R::header_version(version)).unwrap();
        request.encode(&mut frame, version).unwrap();
        let length = (frame.len() - 4) as u32;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        frame
    }

    /// A frame without its length.
    pub(super) fn receive_raw(&mut self) -> io::Result<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut frame)?;
        Ok(frame.into())
    }

    /// The next answer and its correlation id; there must be no byte too many.
    pub(super) fn receive<R: Request>(&mut self, version: i16) -> io::Result<(i32, R::Response)> {
        let mut frame = self.receive_raw()?;
        let header = ResponseHeader::decode(&mut frame, R::Response::header_version(version)).unwrap();
        let response = R::Response::decode(&mut frame, version).unwrap();
        assert!(frame.is_empty(), "{} bytes behind the answer", frame.len());
        Ok((header.correlation_id, response))
    }

    pub(super) fn try_call<R: Request>(&mut self, version: i16, request: &R) -> io::Result<R::Response> {
        self.send(version, request);
        let (correlation_id, response) = self.receive::<R>(version)?;
        assert_eq!(correlation_id, self.correlation_id);
        Ok(response)
    }

    pub(super) fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.try_call(version, request).unwrap()
    }

    /// Whether the sink has closed this connection without another answer.
    pub(super) fn is_closed(&mut self) -> bool {
        match self.stream.read(&mut [0]) {
            Ok(bytes) => bytes == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    pub(super) fn produce(&mut self, partition: i32, batch: &Bytes) -> PartitionProduceResponse {
        let answer = self.call(9, &produce(partition, batch, -1));
        answer.responses[0].partition_responses[0].clone()
    }

    /// Produces a batch of one record for each value to partition 0; the offsets answered.
    pub(super) fn produce_each(&mut self, values: &[&str]) -> Vec<i64> {
        let produced = values.iter().map(|value| self.produce(0, &batch(&[value])));
        produced.map(|answer| answer.base_offset).collect()
    }

    /// What partition 0 has from `offset`, waiting up to `max_wait_ms` for a byte.
    pub(super) fn fetch(&mut self, offset: i64, max_wait_ms: i32) -> PartitionData {
        let answer = self.call(12, &fetch(&[(0, offset)], max_wait_ms));
        answer.responses[0].partitions[0].clone()
    }

    /// ListOffsets of partition 0.
    pub(super) fn offset_at(&mut self, version: i16, timestamp: i64) -> ListOffsetsPartitionResponse {
        let partition = ListOffsetsPartition::default().with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default()
            .with_name(name("t"))
            .with_partitions(vec![partition]);
        let answer = self.call(version, &ListOffsetsRequest::default().with_topics(vec![topic]));
        answer.topics[0].partitions[0].clone()
    }
}

/// A request with one batch for topic `t`.
pub(super) fn produce(partition: i32, batch: &Bytes, acks: i16) -> ProduceRequest {
    let data = PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(batch.clone()));
    let topic = TopicProduceData::default()
        .with_name(name("t"))
        .with_partition_data(vec![data]);
    ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(1000)
        .with_topic_data(vec![topic])
}

/// A request for some partitions of topic `t`, each from an offset; one byte is enough and 1 MiB the limit.
pub(super) fn fetch(partitions: &[(i32, i64)], max_wait_ms: i32) -> FetchRequest {
    let asked = partitions.iter().map(|(partition, offset)| {
        FetchPartition::default()
            .with_partition(*partition)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(1 << 20)
    });
    let topic = FetchTopic::default()
        .with_topic(name("t"))
        .with_partitions(asked.collect());
    FetchRequest::default()
        .with_max_wait_ms(max_wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_topics(vec![topic])
}
