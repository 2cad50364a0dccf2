//! Overwrites the keys of a topic at a rate, beside a load, on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};

use crate::client::admin::topic_name;
use crate::client::connection::check;
use crate::client::{Connection, Topic};
use crate::day::batch::{Draft, encode};
use crate::error::Error;
use crate::load::codec::Codec;
use crate::load::text::Text;
use crate::scenario::observer::{Beside, Totals};

const RING_ENTRIES: u32 = 64;
/// Newest Produce that names topics.
const PRODUCE_VERSION: i16 = 12;
const TIMEOUT_MS: i32 = 30_000;
/// Records of a batch.
const BATCH_RECORDS: usize = 64;
const KEY_BYTES: usize = 8;

/// What is written.
#[derive(Clone, Debug)]
pub struct Overwrites {
    /// Where.
    pub topic: Topic,
    /// Bytes of a key and its value.
    pub record_bytes: usize,
    /// Different keys, drawn at random.
    pub keys: u64,
    /// Records a second.
    pub per_second: f64,
}

#[derive(Debug, Default)]
struct Counts {
    records: AtomicU64,
}

impl Beside for Counts {
    fn totals(&self) -> Totals {
        Totals::from([("overwrites", self.records.load(Ordering::Relaxed))])
    }
}

/// The thread. Dropping it ends it.
pub struct Overwriter {
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

impl Overwriter {
    /// Begins.
    pub fn start(overwrites: Overwrites) -> Overwriter {
        let (stop, counts) = (Arc::new(AtomicBool::new(false)), Arc::new(Counts::default()));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&counts));
        let thread = std::thread::spawn(move || {
            crate::net::ring(RING_ENTRIES).start(overwrite(overwrites, &stopped, &counted))
        });
        Overwriter {
            stop,
            counts,
            thread: Some(thread),
        }
    }

    /// What it does.
    pub fn beside(&self) -> Arc<dyn Beside> {
        Arc::clone(&self.counts) as Arc<dyn Beside>
    }

    /// Ends it: the records written.
    ///
    /// # Errors
    /// Why it had ended before.
    pub fn end(mut self) -> Result<u64, Error> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => {
                outcome
                    .map_err(|error| Error::failed(format!("the writer beside the load ended: {error}")))?;
            }
            Some(Err(_)) => return Err(Error::failed("the writer beside the load panicked")),
            None => {}
        }
        Ok(self.counts.records.load(Ordering::Relaxed))
    }
}

impl Drop for Overwriter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn overwrite(overwrites: Overwrites, stop: &AtomicBool, counts: &Counts) -> Result<(), Error> {
    let mut connections = Vec::new();
    for leader in overwrites.topic.by_leader().into_keys() {
        connections.push((leader, Connection::open(leader).await?));
    }
    let mut random = Text::new(3);
    let mut value = Vec::new();
    random.write(&mut value, overwrites.record_bytes.saturating_sub(KEY_BYTES));
    let between = Duration::from_secs_f64(BATCH_RECORDS as f64 / overwrites.per_second);
    let (mut due, partitions) = (Instant::now(), &overwrites.topic.partitions);
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep_until(due.into()).await;
        // what a broker that stood still did not take is not made up for
        due = (due + between).max(Instant::now());
        let at = partitions[(random.random() % partitions.len() as u64) as usize];
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let drafts: Vec<Draft<'_>> = (0..BATCH_RECORDS)
            .map(|_| Draft {
                key: random.random() % overwrites.keys.max(1),
                value: Some(&value),
                timestamp_ms: now.as_millis() as i64,
            })
            .collect();
        let batch = encode(&drafts, Codec::None);
        let connection = connections.iter_mut().find(|(leader, _)| *leader == at.leader);
        if let Some((_, connection)) = connection {
            produce(connection, &overwrites.topic.name, at.partition, batch).await?;
            counts.records.fetch_add(BATCH_RECORDS as u64, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Sends a batch and waits until it is acknowledged.
async fn produce(
    connection: &mut Connection,
    topic: &str,
    partition: i32,
    batch: Vec<u8>,
) -> Result<(), Error> {
    let data = PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(Bytes::from(batch)));
    let data = TopicProduceData::default()
        .with_name(topic_name(topic))
        .with_partition_data(vec![data]);
    let request = ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(TIMEOUT_MS)
        .with_topic_data(vec![data]);
    let (answer, _) = connection.call(&request, PRODUCE_VERSION).await?;
    let what = format!("Produce to {topic}-{partition}");
    let mut told = answer
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses);
    told.try_for_each(|told| check(&what, told.error_code, told.error_message.as_ref()))
}
