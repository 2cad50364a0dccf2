//! A client that writes, and ends its transactions in every way there is.

use std::sync::atomic::Ordering;

use rdkafka::producer::Producer as _;

use super::producer::{CALL, Producer};
use super::{PARTITIONS, Shared};
use crate::Random;
use crate::history::record::{Key, Outcome, Transaction, Write};

/// How many records a transaction writes at most.
const MOST_WRITES: usize = 5;

/// Writes until the run is closing.
pub fn write(shared: &Shared, number: usize, mut random: Random) {
    let id = format!("{}-writer-{number}", shared.topics[0]);
    let mut producer = None;
    while !shared.closing() {
        let Some(one) = producer.take().or_else(|| Producer::open(shared, &id).ok()) else {
            continue;
        };
        let begin = shared.tick();
        let mut writes = writes(shared, &mut random);
        let (outcome, next) = transaction(shared, &id, one, &mut writes, &mut random);
        producer = next;
        shared.enter(Transaction {
            client: format!("writer {number}"),
            begin,
            end: shared.tick(),
            reads: Vec::new(),
            writes,
            outcome,
        });
    }
    // What is still open is aborted by whoever has the id next.
    drop(producer);
    while Producer::open(shared, &id).is_err() && !shared.over() {}
    shared.writing.fetch_sub(1, Ordering::SeqCst);
}

fn writes(shared: &Shared, random: &mut Random) -> Vec<Write> {
    (0..=random.below(MOST_WRITES))
        .map(|_| Write {
            key: Key {
                topic: shared.topics[0].clone(),
                partition: random.below(PARTITIONS as usize) as i32,
            },
            value: shared.value(None),
            offset: None,
        })
        .collect()
}

/// One transaction, and the producer of the next one, if there is one already.
fn transaction(
    shared: &Shared,
    id: &str,
    producer: Producer,
    writes: &mut [Write],
    random: &mut Random,
) -> (Outcome, Option<Producer>) {
    if producer.raw().begin_transaction().is_err() || producer.send(writes).is_err() {
        return (Outcome::Aborted, None);
    }
    if random.below(2) == 0 {
        let _ = producer.raw().flush(CALL);
    }
    let (outcome, next) = match random.below(20) {
        0..14 => {
            let (outcome, good) = producer.commit();
            producer.locate(writes);
            return (outcome, good.then_some(producer));
        }
        14..17 => {
            let good = producer.abort();
            return (Outcome::Aborted, good.then_some(producer));
        }
        // Left open.
        17 => (Outcome::Aborted, None),
        // Another one takes the id; from then on this one must not commit, whatever it is told.
        _ => match Producer::open(shared, id) {
            Ok(second) => match producer.raw().commit_transaction(CALL) {
                Ok(()) => (Outcome::Committed, Some(second)),
                Err(_) => (Outcome::Aborted, Some(second)),
            },
            Err(_) => (Outcome::Aborted, None),
        },
    };
    (outcome, next)
}
