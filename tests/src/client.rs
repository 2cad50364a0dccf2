//! librdkafka, held so that a test reads as what it checks: send these records, read those back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use crate::PATIENCE;
use crate::oracle::{Acknowledged, digest};

/// A record to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// The key, or none.
    pub key: Option<Vec<u8>>,
    /// The value, or none.
    pub value: Option<Vec<u8>>,
    /// Milliseconds since 1970; none lets the client take the present.
    pub timestamp_ms: Option<i64>,
    /// Names and values, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Outgoing {
    /// A record with only a value.
    pub fn value(value: impl Into<Vec<u8>>) -> Outgoing {
        Outgoing {
            value: Some(value.into()),
            ..Outgoing::default()
        }
    }

    /// The same record with this timestamp.
    pub fn at(mut self, timestamp_ms: i64) -> Outgoing {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }
}

/// A record as a consumer got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The key, or none.
    pub key: Option<Vec<u8>>,
    /// The value, or none.
    pub value: Option<Vec<u8>>,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Names and values, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// What became of a record: acknowledged, or the error of its delivery.
pub type Delivery = Result<Acknowledged, RDKafkaErrorCode>;

/// Collects what became of every record, in the order the client learned it.
#[derive(Debug, Default)]
pub struct Deliveries {
    done: Mutex<Vec<Delivery>>,
}

impl ClientContext for Deliveries {
    fn error(&self, _: KafkaError, _: &str) {
        // A broker that is killed on purpose makes the client complain; what counts is each delivery.
    }
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let entry = match result {
            Ok(message) => Ok(Acknowledged {
                topic: message.topic().to_owned(),
                partition: message.partition(),
                offset: message.offset(),
                digest: digest(message.key(), message.payload()),
            }),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)),
        };
        self.done.lock().expect("no panic while held").push(entry);
    }
}

/// A producer of librdkafka, with a ledger of its deliveries.
pub struct Producer {
    inner: ThreadedProducer<Deliveries>,
}

impl Producer {
    /// Connects with these settings on top of short time-outs.
    pub fn new(bootstrap: &str, settings: &[(&str, &str)]) -> Producer {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap)
            .set("linger.ms", "1")
            .set("message.timeout.ms", "30000");
        config
            .set("broker.address.family", "v4")
            .set("reconnect.backoff.max.ms", "200");
        for (key, value) in settings {
            config.set(*key, *value);
        }
        Producer {
            inner: config
                .create_with_context(Deliveries::default())
                .expect("settings librdkafka knows"),
        }
    }

    /// Hands a record to the client; waits for room in its queue.
    pub fn send(&self, topic: &str, partition: i32, record: &Outgoing) -> Result<(), RDKafkaErrorCode> {
        let mut base = BaseRecord::<[u8], [u8]>::to(topic);
        if partition >= 0 {
            base = base.partition(partition);
        }
        base.key = record.key.as_deref();
        base.payload = record.value.as_deref();
        base.timestamp = record.timestamp_ms;
        base.headers = owned_headers(&record.headers);
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.inner.send(base) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                    if Instant::now() < deadline =>
                {
                    base = back;
                    std::thread::park_timeout(Duration::from_millis(2));
                }
                Err((error, _)) => {
                    return Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown));
                }
            }
        }
    }

    /// Waits until everything sent was delivered or failed.
    pub fn flush(&self) {
        self.inner
            .flush(Duration::from_secs(60))
            .expect("everything is delivered or failed in time");
    }

    /// Forgets what is not delivered: each fails at once.
    pub fn abandon(&self) {
        self.inner
            .purge(rdkafka::producer::PurgeConfig::default().queue().inflight());
        let _ = self.inner.flush(Duration::from_secs(10));
    }

    /// What became of the records so far; later calls give only what is new.
    pub fn take(&self) -> Vec<Delivery> {
        std::mem::take(&mut *self.inner.context().done.lock().expect("no panic while held"))
    }

    /// How many deliveries were acknowledged since the last [`take`](Producer::take).
    pub fn acknowledged(&self) -> usize {
        self.inner
            .context()
            .done
            .lock()
            .expect("no panic while held")
            .iter()
            .filter(|d| d.is_ok())
            .count()
    }

    /// How many records the client holds: in its queue, or sent and not answered.
    pub fn on_the_way(&self) -> usize {
        usize::try_from(self.inner.in_flight_count()).unwrap_or(0)
    }

    /// Sends the records to one partition and waits; each must be acknowledged.
    ///
    /// # Panics
    /// When one is not.
    pub fn send_all(&self, topic: &str, partition: i32, records: &[Outgoing]) -> Vec<Acknowledged> {
        for record in records {
            self.send(topic, partition, record)
                .expect("the client takes the record");
        }
        self.flush();
        self.take()
            .into_iter()
            .map(|delivery| delivery.expect("acknowledged"))
            .collect()
    }

    /// Sends one record and says what became of it.
    pub fn send_one(&self, topic: &str, partition: i32, record: &Outgoing) -> Delivery {
        self.send(topic, partition, record)?;
        self.flush();
        self.take().pop().expect("one delivery")
    }
}

fn owned_headers(headers: &[(String, Option<Vec<u8>>)]) -> Option<OwnedHeaders> {
    if headers.is_empty() {
        return None;
    }
    let start = OwnedHeaders::new();
    Some(headers.iter().fold(start, |all, (key, value)| {
        all.insert(Header {
            key,
            value: value.as_ref(),
        })
    }))
}

/// A consumer without a group's membership: librdkafka wants a `group.id`, but `assign` never joins it.
pub fn consumer(bootstrap: &str, settings: &[(&str, &str)]) -> BaseConsumer<Quiet> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "unused")
        .set("enable.auto.commit", "false");
    config
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error");
    config
        .set("fetch.wait.max.ms", "100")
        .set("broker.address.family", "v4")
        .set("check.crcs", "true");
    config.set("reconnect.backoff.max.ms", "200");
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config
        .create_with_context(Quiet)
        .expect("settings librdkafka knows")
}

/// A context that says nothing.
#[derive(Debug)]
pub struct Quiet;

impl ClientContext for Quiet {
    fn error(&self, _: KafkaError, _: &str) {}
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}
}
impl rdkafka::consumer::ConsumerContext for Quiet {}

/// Log start offset and high watermark of a partition.
pub fn watermarks(bootstrap: &str, topic: &str, partition: i32) -> (i64, i64) {
    let consumer = consumer(bootstrap, &[]);
    consumer
        .fetch_watermarks(topic, partition, PATIENCE)
        .expect("watermarks")
}

/// Every record of one partition from `from` up to the present high watermark.
pub fn read_partition(bootstrap: &str, topic: &str, partition: i32, from: Offset) -> Vec<Incoming> {
    read(bootstrap, topic, &[partition], from, &[])
        .remove(&partition)
        .unwrap_or_default()
}

/// Every record of these partitions from `from` up to their present high watermarks.
pub fn read(
    bootstrap: &str,
    topic: &str,
    partitions: &[i32],
    from: Offset,
    settings: &[(&str, &str)],
) -> BTreeMap<i32, Vec<Incoming>> {
    try_read(bootstrap, topic, partitions, from, settings).expect("every record can be read")
}

/// As [`read`], but gives the first error a partition answers with.
pub fn try_read(
    bootstrap: &str,
    topic: &str,
    partitions: &[i32],
    from: Offset,
    settings: &[(&str, &str)],
) -> Result<BTreeMap<i32, Vec<Incoming>>, KafkaError> {
    let consumer = consumer(bootstrap, settings);
    let mut ends = BTreeMap::new();
    for &partition in partitions {
        let (start, end) = consumer.fetch_watermarks(topic, partition, PATIENCE)?;
        let first = if let Offset::Offset(offset) = from {
            offset
        } else {
            start
        };
        if first < end && from != Offset::End {
            ends.insert(partition, end);
        }
    }
    let mut list = TopicPartitionList::new();
    for &partition in partitions {
        list.add_partition_offset(topic, partition, from)?;
    }
    consumer.assign(&list)?;
    drain(&consumer, ends)
}

/// Polls until each partition's record before its end offset has arrived.
fn drain(
    consumer: &BaseConsumer<Quiet>,
    mut ends: BTreeMap<i32, i64>,
) -> Result<BTreeMap<i32, Vec<Incoming>>, KafkaError> {
    let mut records: BTreeMap<i32, Vec<Incoming>> = BTreeMap::new();
    let mut deadline = Instant::now() + PATIENCE;
    while !ends.is_empty() {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let record = incoming(&message);
                if ends
                    .get(&record.partition)
                    .is_some_and(|&end| record.offset + 1 >= end)
                {
                    ends.remove(&record.partition);
                }
                records.entry(record.partition).or_default().push(record);
                deadline = Instant::now() + PATIENCE;
            }
            Some(Err(error)) if transient(&error) => {}
            Some(Err(error)) => return Err(error),
            None => assert!(
                Instant::now() < deadline,
                "no record in {PATIENCE:?}; still to come up to {ends:?}"
            ),
        }
    }
    Ok(records)
}

fn transient(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::PartitionEOF
        )
    )
}

/// A message of librdkafka as a plain value.
pub fn incoming(message: &impl Message<Headers = rdkafka::message::BorrowedHeaders>) -> Incoming {
    let headers = message.headers().map(|headers| {
        headers
            .iter()
            .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
            .collect()
    });
    Incoming {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
        headers: headers.unwrap_or_default(),
    }
}

/// Collects deliveries of several producers into one list.
pub fn acknowledged(producers: &[Arc<Producer>]) -> Vec<Acknowledged> {
    producers
        .iter()
        .flat_map(|producer| producer.take())
        .filter_map(Result::ok)
        .collect()
}
