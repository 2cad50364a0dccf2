//! Writes to some partitions, one batch after the other, at a rate. A partition is written by one writer alone, so that the model knows which
//! offset comes next.

use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};

use super::course::{Course, Peers, Place, add, now_ms};
use super::plan::Keys;
use crate::client::admin::topic_name;
use crate::client::connection::check;
use crate::day::Written;
use crate::day::batch::{Draft, encode};
use crate::error::Error;
use crate::load::settings::Settings;
use crate::load::text::Text;

/// Newest Produce that names topics.
const PRODUCE_VERSION: i16 = 12;
const TIMEOUT_MS: i32 = 30_000;
/// Values are cut from so much text.
const TEXT_BYTES: usize = 64 << 10;
/// Of so many records one is a tombstone, where there are any.
const TOMBSTONES: u64 = 32;
/// Keys in use at a time where they move on, and records a partition has for each new one.
const MOVING_KEYS: u64 = 100;
const RECORDS_A_KEY: u64 = 3;

/// One writer.
pub struct Writer {
    course: Rc<Course>,
    places: Vec<Place>,
    /// Records written to each of its places.
    written: Vec<u64>,
    /// Batches written.
    batches: u64,
    random: Text,
    text: Vec<u8>,
    keys: u64,
    value_bytes: usize,
    batch_records: u64,
    between: Duration,
}

/// What becomes a [`Draft`].
struct Record {
    key: u64,
    value: Option<Vec<u8>>,
    timestamp_ms: i64,
}

impl Writer {
    /// Number `number` of `settings.producers`, with its share of the partitions and of the rate.
    pub fn new(course: Rc<Course>, number: usize, settings: &Settings, per_second: f64) -> Writer {
        let writers = settings.producers as usize;
        let places = course.places().into_iter().skip(number).step_by(writers);
        let places: Vec<Place> = places.collect();
        let mut random = Text::new(number as u64 + 1);
        let mut text = Vec::new();
        random.write(&mut text, TEXT_BYTES);
        let batch_records = settings.batch_records.max(1) as u64;
        let share = places.len() as f64 / course.places().len() as f64;
        Writer {
            written: vec![0; places.len()],
            places,
            course,
            batches: 0,
            random,
            text,
            keys: settings.keys.max(1) as u64,
            value_bytes: settings.value_bytes().min(TEXT_BYTES / 2),
            batch_records,
            between: Duration::from_secs_f64(batch_records as f64 / (per_second * share).max(0.001)),
        }
    }

    /// Writes until writing is over.
    pub async fn run(mut self) {
        let outcome = self.write().await;
        self.course.ended(outcome);
    }

    async fn write(&mut self) -> Result<(), Error> {
        let mut peers = Peers::default();
        let mut due = Instant::now();
        while !self.course.writing_is_over.get() && !self.places.is_empty() {
            tokio::time::sleep_until(due.into()).await;
            // what a broker that stood still did not take is not made up for
            due = (due + self.between).max(Instant::now());
            let at = (self.random.random() % self.places.len() as u64) as usize;
            self.one(&mut peers, at).await?;
        }
        Ok(())
    }

    async fn one(&mut self, peers: &mut Peers, at: usize) -> Result<(), Error> {
        let course = Rc::clone(&self.course);
        let place = self.places[at];
        let plan = &course.topics[place.0].plan;
        let codec = plan.codecs[self.batches as usize % plan.codecs.len()];
        self.batches += 1;
        let records = self.records(at, plan.keys, plan.tombstones, plan.rules.late_ms);
        let drafts: Vec<Draft<'_>> = records.iter().map(Record::draft).collect();
        let written: Vec<Written> = drafts.iter().map(Draft::written).collect();
        let batch = encode(&drafts, codec);
        let (topic, partition, leader) = course.address(place);
        let connection = peers.to(leader).await?;
        let wire_bytes = batch.len() as u64;
        course.log(place).borrow_mut().sending(&written, wire_bytes);
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
        let begun = Instant::now();
        let (answer, _) = connection.call(&request, PRODUCE_VERSION).await?;
        let took_ns = begun.elapsed().as_nanos() as u64;
        let told = answer
            .responses
            .iter()
            .flat_map(|topic| &topic.partition_responses)
            .next();
        let told = told.ok_or_else(|| Error::failed("an answer to Produce without its partition"))?;
        check(
            &format!("Produce to {topic}-{partition}"),
            told.error_code,
            told.error_message.as_ref(),
        )?;
        let mut verdict = course.verdict.borrow_mut();
        course
            .log(place)
            .borrow_mut()
            .acknowledged(told.base_offset, now_ms(), &mut verdict);
        self.written[at] += records.len() as u64;
        let bytes = records
            .iter()
            .map(|record| 8 + record.value.as_ref().map_or(0, Vec::len));
        self.count(
            records.len() as u64,
            bytes.sum::<usize>() as u64,
            wire_bytes,
            took_ns,
        );
        Ok(())
    }

    fn count(&self, records: u64, bytes: u64, wire_bytes: u64, took_ns: u64) {
        let counts = &self.course.counts;
        add(&counts.requests, 1);
        add(&counts.records, records);
        add(&counts.bytes, bytes);
        add(&counts.wire_bytes, wire_bytes);
        let mut ack = counts.ack.borrow_mut();
        ack.saturating_record_n(took_ns, records);
        let second = counts.begun.elapsed().as_secs() as usize;
        let mut per_second = counts.per_second.borrow_mut();
        if per_second.len() <= second {
            per_second.resize(second + 1, 0);
        }
        per_second[second] += records;
    }

    fn records(&mut self, at: usize, keys: Keys, tombstones: bool, late_ms: i64) -> Vec<Record> {
        let now_ms = now_ms();
        let count = 1 + self.random.random() % (2 * self.batch_records - 1);
        (0..count)
            .map(|n| {
                let key = match keys {
                    // some far more often than others
                    Keys::Same => (self.random.fraction().powi(3) * self.keys as f64) as u64,
                    Keys::Moving => {
                        (self.written[at] + n) / RECORDS_A_KEY + self.random.random() % MOVING_KEYS
                    }
                };
                let is_tombstone = tombstones && self.random.random().is_multiple_of(TOMBSTONES);
                Record {
                    key,
                    value: (!is_tombstone).then(|| self.value(at, n)),
                    // out of order, within a batch and among them
                    timestamp_ms: now_ms - (self.random.random() % (late_ms as u64 + 1)) as i64,
                }
            })
            .collect()
    }

    /// A value that no other record of the partition has.
    fn value(&mut self, at: usize, n: u64) -> Vec<u8> {
        let mut value = (self.written[at] + n).to_be_bytes().to_vec();
        let from = (self.random.random() % (TEXT_BYTES - self.value_bytes).max(1) as u64) as usize;
        value.extend_from_slice(&self.text[from..from + self.value_bytes]);
        value.truncate(self.value_bytes.max(8));
        value
    }
}

impl Record {
    fn draft(&self) -> Draft<'_> {
        Draft {
            key: self.key,
            value: self.value.as_deref(),
            timestamp_ms: self.timestamp_ms,
        }
    }
}
