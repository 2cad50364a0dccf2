//! A member of a group that consumes, writes and commits its offsets in transactions.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message;
use rdkafka::producer::Producer as _;
use rdkafka::{Offset, TopicPartitionList};

use super::producer::{CALL, Producer, config};
use super::{HOPS, PARTITIONS, Shared};
use crate::Random;
use crate::history::record::{Key, Outcome, Read, Transaction, Value, Write};

/// How many records a transaction consumes at most.
const MOST_READS: usize = 20;
/// How long records are gathered.
const GATHER: Duration = Duration::from_millis(30);

/// Counts rebalances.
#[derive(Default)]
struct Told {
    rebalances: AtomicU64,
}

impl ClientContext for Told {
    fn error(&self, _: KafkaError, _: &str) {}
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}
}

impl ConsumerContext for Told {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, _: &Rebalance<'_>) {
        self.rebalances.fetch_add(1, Ordering::SeqCst);
    }
}

/// Works until the run is over. `direction` 0 goes from the first topic to the second, 1 back.
pub fn link(shared: &Shared, direction: usize, number: usize, mut random: Random) {
    let id = format!("{}-link-{number}", shared.topics[0]);
    while !shared.over() {
        // An error ends the session: producer and consumer begin anew.
        let _ = session(shared, direction, &id, number, &mut random);
    }
}

fn session(
    shared: &Shared,
    direction: usize,
    id: &str,
    number: usize,
    random: &mut Random,
) -> KafkaResult<()> {
    let producer = Producer::open(shared, id)?;
    let consumer: BaseConsumer<Told> = config(&shared.bootstrap)
        .set("group.id", &shared.groups[direction])
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "500")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "50")
        .create_with_context(Told::default())?;
    consumer.subscribe(&[&shared.topics[direction]])?;
    while !shared.over() {
        let reads = gather(&consumer);
        if reads.is_empty() {
            continue;
        }
        let (begin, mut writes) = (shared.tick(), outputs(shared, direction, &reads, random));
        let ended = transaction(&producer, &consumer, &reads, &writes, random);
        let (outcome, good) = ended.unwrap_or((Outcome::Aborted, false));
        producer.locate(&mut writes);
        if outcome == Outcome::Aborted {
            writes.iter_mut().for_each(|write| write.offset = None);
        }
        let again = reads.clone();
        shared.enter(Transaction {
            client: format!("link {number}"),
            begin,
            end: shared.tick(),
            reads,
            writes,
            outcome,
        });
        if !good {
            return Ok(());
        }
        if outcome != Outcome::Committed {
            rewind(&consumer, &again)?;
        }
    }
    Ok(())
}

/// Some records, all of the same generation: after a rebalance each partition is read from its committed offset once more.
fn gather(consumer: &BaseConsumer<Told>) -> Vec<Read> {
    let rebalances = || consumer.context().rebalances.load(Ordering::SeqCst);
    let (mut reads, deadline) = (Vec::new(), Instant::now() + GATHER);
    while reads.len() < MOST_READS && Instant::now() < deadline {
        let before = rebalances();
        let polled = consumer.poll(Duration::from_millis(10));
        if rebalances() != before {
            reads.clear();
        }
        let Some(Ok(message)) = polled else { continue };
        let Some(value) = message.payload().and_then(Value::decode) else {
            continue;
        };
        reads.push(Read {
            key: Key {
                topic: message.topic().to_owned(),
                partition: message.partition(),
            },
            offset: message.offset(),
            value,
        });
    }
    reads
}

fn outputs(shared: &Shared, direction: usize, reads: &[Read], random: &mut Random) -> Vec<Write> {
    let due = reads.iter().filter(|read| read.value.hops < HOPS);
    due.map(|read| Write {
        key: Key {
            topic: shared.topics[1 - direction].clone(),
            partition: random.below(PARTITIONS as usize) as i32,
        },
        value: shared.value(Some(&read.value)),
        offset: None,
    })
    .collect()
}

/// `true` beside the outcome when the session can go on. An error is one before the commit was asked for.
fn transaction(
    producer: &Producer,
    consumer: &BaseConsumer<Told>,
    reads: &[Read],
    writes: &[Write],
    random: &mut Random,
) -> KafkaResult<(Outcome, bool)> {
    producer.raw().begin_transaction()?;
    producer.send(writes)?;
    let mut offsets = TopicPartitionList::new();
    for (key, read) in reads
        .iter()
        .map(|read| (&read.key, read))
        .collect::<BTreeMap<_, _>>()
    {
        offsets.add_partition_offset(&key.topic, key.partition, Offset::Offset(read.offset + 1))?;
    }
    let Some(group) = consumer.group_metadata() else {
        return Ok((Outcome::Aborted, false));
    };
    if !producer.send_offsets(offsets, group) {
        // Another generation, or no broker. Nobody has asked for the commit.
        return Ok((Outcome::Aborted, false));
    }
    match random.below(12) {
        0 => Ok((Outcome::Aborted, producer.abort())),
        // Left open, by a client that goes.
        1 => Ok((Outcome::Aborted, false)),
        _ => Ok(producer.commit()),
    }
}

/// Goes back to what an aborted transaction had consumed.
fn rewind(consumer: &BaseConsumer<Told>, reads: &[Read]) -> KafkaResult<()> {
    let mut starts: BTreeMap<&Key, i64> = BTreeMap::new();
    for read in reads {
        starts.entry(&read.key).or_insert(read.offset);
    }
    for (key, offset) in starts {
        consumer.seek(&key.topic, key.partition, Offset::Offset(offset), CALL)?;
    }
    Ok(())
}
