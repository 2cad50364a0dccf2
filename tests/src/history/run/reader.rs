//! A client that reads what is committed, and now and then begins anew.

use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::Shared;
use super::producer::config;
use crate::Random;
use crate::history::record::{Key, Poll, Value};

/// After this many polls it may begin anew.
const STRETCH: usize = 400;

struct Quiet;

impl ClientContext for Quiet {
    fn error(&self, _: KafkaError, _: &str) {}
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}
}

impl ConsumerContext for Quiet {}

/// Reads both topics until the run is over.
pub fn read(shared: &Shared, number: usize, mut random: Random) {
    let mut stretch = 0;
    while !shared.over() {
        stretch += 1;
        let _ = one(shared, (format!("reader {number}"), stretch), &mut random);
    }
}

fn one(shared: &Shared, stretch: (String, u64), random: &mut Random) -> KafkaResult<()> {
    let consumer: BaseConsumer<Quiet> = config(&shared.bootstrap)
        .set("group.id", "reads without a group")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "50")
        .create_with_context(Quiet)?;
    let mut all = TopicPartitionList::new();
    for key in shared.keys() {
        all.add_partition_offset(&key.topic, key.partition, Offset::Beginning)?;
    }
    consumer.assign(&all)?;
    let polls = STRETCH + random.below(STRETCH);
    for _ in 0..polls {
        if shared.over() {
            return Ok(());
        }
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(20)) else {
            continue;
        };
        let value = message.payload().and_then(Value::decode);
        let poll = Poll {
            stretch: stretch.clone(),
            key: Key {
                topic: message.topic().to_owned(),
                partition: message.partition(),
            },
            offset: message.offset(),
            value: value.expect("what a run wrote"),
        };
        shared.polls.lock().expect("no panic while held").push(poll);
    }
    Ok(())
}
