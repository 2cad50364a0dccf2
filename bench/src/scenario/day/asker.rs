//! Asks where logs start and end, and which record is the first of a time; every answer is judged.

use std::rc::Rc;
use std::time::{Duration, Instant};

use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, ListOffsetsRequest};

use super::course::{Course, Peers, Place, Question, now_ms};
use crate::client::admin::{EARLIEST, LATEST, topic_name};
use crate::client::connection::check;
use crate::day::{Asked, Hit};
use crate::error::Error;
use crate::load::text::Text;

const LIST_OFFSETS: i16 = 2;
/// The first that knows [`LARGEST`], and the newest that is spoken.
const VERSIONS: (i16, i16) = (7, 9);
/// ListOffsets' timestamp that asks for the record with the largest timestamp (KIP-734).
const LARGEST: i64 = -3;
/// Times asked for are up to so far in the future.
const AHEAD_MS: i64 = 500;

/// Asks so many questions a second until the day is over.
pub async fn ask(course: Rc<Course>, per_second: f64) {
    let outcome = wonder(&course, per_second).await;
    course.ended(outcome);
}

async fn wonder(course: &Course, per_second: f64) -> Result<(), Error> {
    let mut peers = Peers::default();
    let mut random = Text::new(77);
    let (places, between) = (course.places(), Duration::from_secs_f64(1.0 / per_second));
    let mut due = Instant::now();
    while !course.is_over.get() {
        due = (due + between).max(Instant::now());
        let place = places[(random.random() % places.len() as u64) as usize];
        match random.random() % 10 {
            0 => drop(start(course, &mut peers, place).await?),
            1 => end(course, &mut peers, place).await?,
            2 => largest(course, &mut peers, place).await?,
            _ => {
                let timestamp_ms = some_time(course, place, &mut random);
                time(course, &mut peers, place, timestamp_ms).await?;
            }
        }
        tokio::time::sleep_until(due.into()).await;
    }
    Ok(())
}

/// The timestamp of a record, or right behind it; or any time since the first that is remembered, and a little before and after.
fn some_time(course: &Course, place: Place, random: &mut Text) -> i64 {
    let log = course.log(place).borrow();
    let (first, end) = log.range();
    let offset = first + (random.random() % (end - first).max(1) as u64) as i64;
    let now_ms = now_ms();
    let from_ms = log.timestamp_from(first).unwrap_or(now_ms);
    match (random.random() % 2, log.timestamp_from(offset)) {
        (0, Some(timestamp_ms)) => timestamp_ms + (random.random() % 2) as i64,
        _ => {
            let span_ms = (now_ms - from_ms).max(0) + 2 * AHEAD_MS;
            from_ms - AHEAD_MS + (random.random() % span_ms as u64) as i64
        }
    }
}

/// Where a log starts; judged.
///
/// # Errors
/// The broker's, or the connection's.
pub async fn start(course: &Course, peers: &mut Peers, place: Place) -> Result<i64, Error> {
    let (hit, at) = list(course, peers, place, EARLIEST).await?;
    let start = hit.map_or(-1, |hit| hit.offset);
    let mut verdict = course.verdict.borrow_mut();
    course
        .log(place)
        .borrow_mut()
        .judge_start(start, at, &mut verdict);
    Ok(start.max(0))
}

async fn end(course: &Course, peers: &mut Peers, place: Place) -> Result<(), Error> {
    let acknowledged = course.log(place).borrow().range().1;
    let (hit, _) = list(course, peers, place, LATEST).await?;
    let end = hit.map_or(-1, |hit| hit.offset);
    let mut verdict = course.verdict.borrow_mut();
    course
        .log(place)
        .borrow_mut()
        .judge_end(end, acknowledged, &mut verdict);
    Ok(())
}

async fn largest(course: &Course, peers: &mut Peers, place: Place) -> Result<(), Error> {
    let (hit, at) = list(course, peers, place, LARGEST).await?;
    let mut verdict = course.verdict.borrow_mut();
    course
        .log(place)
        .borrow_mut()
        .judge_largest(hit, at, &mut verdict);
    Ok(())
}

async fn time(course: &Course, peers: &mut Peers, place: Place, timestamp_ms: i64) -> Result<(), Error> {
    let (hit, at) = list(course, peers, place, timestamp_ms).await?;
    let mut verdict = course.verdict.borrow_mut();
    course
        .log(place)
        .borrow_mut()
        .judge_time(timestamp_ms, hit, at, &mut verdict);
    Ok(())
}

/// Asks ListOffsets; an offset of -1 is none.
async fn list(
    course: &Course,
    peers: &mut Peers,
    place: Place,
    timestamp_ms: i64,
) -> Result<(Option<Hit>, Asked), Error> {
    let (topic, partition, leader) = course.address(place);
    let connection = peers.to(leader).await?;
    connection
        .versions
        .choose(LIST_OFFSETS, "ListOffsets", VERSIONS)?;
    let asked = ListOffsetsPartition::default()
        .with_partition_index(partition)
        .with_current_leader_epoch(-1)
        .with_timestamp(timestamp_ms);
    let asked = ListOffsetsTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![asked]);
    let request = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_topics(vec![asked]);
    let question = Question::now();
    let (answer, _) = connection.call(&request, VERSIONS.1).await?;
    let at = question.answered(&course.counts.lookup);
    let told = answer.topics.iter().flat_map(|topic| &topic.partitions).next();
    let told = told.ok_or_else(|| Error::failed("an answer to ListOffsets without its partition"))?;
    let what = format!("the offset of {timestamp_ms} in {topic}-{partition}");
    check(&what, told.error_code, None)?;
    let hit = Hit {
        offset: told.offset,
        timestamp_ms: told.timestamp,
    };
    Ok((Some(hit).filter(|hit| hit.offset >= 0), at))
}
