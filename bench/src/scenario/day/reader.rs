//! Reads: behind the writers, from random places, and over and over from the start; every answer is judged.

use std::rc::Rc;

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{BrokerId, FetchRequest};

use super::asker::start;
use super::course::{Course, Peers, Place, Question, add, pause};
use crate::client::admin::topic_name;
use crate::client::connection::check;
use crate::day::{Answer, Kind, ReadAnswer, batch::decode};
use crate::error::Error;
use crate::load::batch::{Batches, intact};
use crate::load::text::Text;

/// Newest Fetch that names topics.
const FETCH_VERSION: i16 = 12;
/// How long the broker may hold a fetch for which it has nothing.
const MAX_WAIT_MS: i32 = 100;
const MAX_BYTES: i32 = 1 << 20;
const OFFSET_OUT_OF_RANGE: i16 = 1;
/// What a fetch asks for at most, at random: brokers send a whole batch all the same (KIP-74).
const SIZES: [i32; 4] = [1, 4 << 10, 64 << 10, 256 << 10];
/// Fetches one after the other from a random place.
const IN_A_ROW: u64 = 4;
/// Random places may be so far beside what is remembered.
const BESIDE: i64 = 20;
/// Between two fetches that need not hurry.
const PAUSE_MS: u64 = 10;

/// Reads what is new in all partitions of a topic.
pub async fn tail(course: Rc<Course>, topic: usize) {
    let outcome = follow(&course, topic).await;
    course.ended(outcome);
}

async fn follow(course: &Course, topic: usize) -> Result<(), Error> {
    let mut peers = Peers::default();
    let mut positions = vec![0; course.topics[topic].logs.len()];
    while !course.is_over.get() {
        let mut moved = false;
        for (partition, position) in positions.iter_mut().enumerate() {
            let place = (topic, partition);
            if course.log(place).borrow().range().1 <= *position {
                continue;
            }
            moved = true;
            *position = match fetch(course, &mut peers, place, *position, MAX_BYTES).await? {
                Some(next) => next,
                None => start(course, &mut peers, place).await?,
            };
        }
        pause(if moved { 1 } else { PAUSE_MS }).await;
    }
    Ok(())
}

/// Reads a little from one random place after the other.
pub async fn wander(course: Rc<Course>, seed: u64) {
    let outcome = jump(&course, seed).await;
    course.ended(outcome);
}

async fn jump(course: &Course, seed: u64) -> Result<(), Error> {
    let mut peers = Peers::default();
    let mut random = Text::new(seed);
    let places = course.places();
    while !course.is_over.get() {
        let place = places[(random.random() % places.len() as u64) as usize];
        let (first, end) = course.log(place).borrow().range();
        let span = (end - first + 2 * BESIDE) as u64;
        let mut next = Some((first - BESIDE + (random.random() % span) as i64).max(0));
        for _ in 0..1 + random.random() % IN_A_ROW {
            let size = SIZES[(random.random() % SIZES.len() as u64) as usize];
            let Some(from) = next else { break };
            next = fetch(course, &mut peers, place, from, size).await?;
        }
        pause(PAUSE_MS).await;
    }
    Ok(())
}

/// Reads partitions from where they start to where they end, over and over.
pub async fn sweep(course: Rc<Course>, places: Vec<Place>) {
    let outcome = again(&course, &places).await;
    course.ended(outcome);
}

async fn again(course: &Course, places: &[Place]) -> Result<(), Error> {
    let mut peers = Peers::default();
    while !course.is_over.get() {
        for place in places {
            whole(course, &mut peers, *place, PAUSE_MS).await?;
        }
        pause(PAUSE_MS).await;
    }
    Ok(())
}

/// Reads a partition from where it starts to where it ended when that was asked. With a pause between fetches it ends when the day does.
///
/// # Errors
/// The broker's, or the connection's.
pub async fn whole(course: &Course, peers: &mut Peers, place: Place, pause_ms: u64) -> Result<(), Error> {
    let end = course.log(place).borrow().range().1;
    let mut from = start(course, peers, place).await?;
    while from < end && !(pause_ms > 0 && course.is_over.get()) {
        from = match fetch(course, peers, place, from, MAX_BYTES).await? {
            // what should be there is not: that was judged
            Some(next) if next == from => return Ok(()),
            Some(next) => next,
            None => start(course, peers, place).await?.max(from + 1),
        };
        pause(pause_ms).await;
    }
    Ok(())
}

/// Fetches from an offset, and judges what came. The offset after it; `None` when the log does not have the one asked for.
async fn fetch(
    course: &Course,
    peers: &mut Peers,
    place: Place,
    from: i64,
    max_bytes: i32,
) -> Result<Option<i64>, Error> {
    let (topic, partition, leader) = course.address(place);
    let connection = peers.to(leader).await?;
    let asked = FetchPartition::default()
        .with_partition(partition)
        .with_current_leader_epoch(-1)
        .with_fetch_offset(from)
        .with_log_start_offset(-1)
        .with_partition_max_bytes(max_bytes);
    let asked = FetchTopic::default()
        .with_topic(topic_name(topic))
        .with_partitions(vec![asked]);
    let request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(MAX_WAIT_MS)
        .with_min_bytes(1)
        .with_max_bytes(MAX_BYTES)
        .with_session_epoch(-1)
        .with_topics(vec![asked]);
    let question = Question::now();
    let (answer, _) = connection.call(&request, FETCH_VERSION).await?;
    let at = question.answered(&course.counts.fetch);
    check("Fetch", answer.error_code, None)?;
    let data = answer.responses.iter().flat_map(|topic| &topic.partitions).next();
    let data = data.ok_or_else(|| Error::failed("an answer to Fetch without its partition"))?;
    let answer = match data.error_code {
        OFFSET_OUT_OF_RANGE => Answer::OutOfRange,
        code => {
            check(&format!("Fetch of {topic}-{partition} at {from}"), code, None)?;
            records(course, place, from, data.records.clone().unwrap_or_default())
        }
    };
    let next = match &answer {
        Answer::Records { next, found } => {
            add(&course.counts.read, found.len() as u64);
            Some(*next)
        }
        Answer::OutOfRange => None,
    };
    let read = ReadAnswer {
        from,
        log_start: data.log_start_offset,
        answer,
    };
    let mut verdict = course.verdict.borrow_mut();
    course.log(place).borrow_mut().judge_read(&read, at, &mut verdict);
    Ok(next)
}

/// The records of a section, up to the first batch that is damaged.
fn records(course: &Course, place: Place, from: i64, section: Bytes) -> Answer {
    let (mut found, mut next) = (Vec::new(), from);
    for (head, batch) in Batches(&section) {
        let records = Some(batch).filter(|batch| intact(batch)).and_then(decode);
        let Some(records) = records else {
            let (topic, partition, _) = course.address(place);
            course.verdict.borrow_mut().add(Kind::Corrupt, || {
                format!(
                    "{topic}-{partition}: the batch at offset {} is damaged",
                    head.base_offset
                )
            });
            break;
        };
        found.extend(records);
        next = next.max(head.next_offset);
    }
    Answer::Records { found, next }
}
