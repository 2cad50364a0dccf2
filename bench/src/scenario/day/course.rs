//! What the tasks of a day share: the topics with what the model knows of them, the verdict, the counts, and when it is over.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;

use super::plan::TopicPlan;
use crate::client::{Connection, Topic};
use crate::day::{Asked, Log, Verdict};
use crate::error::Error;
use crate::report::latency::new_histogram;

/// Records that the models remember at most, all together.
pub const MAX_RECORDS: usize = 2_000_000;

/// A topic of the day.
pub struct Played {
    /// Where it is.
    pub topic: Topic,
    /// What it is like.
    pub plan: TopicPlan,
    /// What is known of each partition.
    pub logs: Vec<RefCell<Log>>,
}

/// A partition: position of the topic, and its number.
pub type Place = (usize, usize);

/// A day under way.
pub struct Course {
    /// All topics.
    pub topics: Vec<Played>,
    /// What was judged.
    pub verdict: RefCell<Verdict>,
    /// What was done.
    pub counts: Counts,
    /// No more is to be written.
    pub writing_is_over: Cell<bool>,
    /// Nor read or asked.
    pub is_over: Cell<bool>,
    failed: RefCell<Option<Error>>,
}

/// What was done, and how long it took.
pub struct Counts {
    /// Requests of producers, and the records and bytes of values and keys they were acknowledged with.
    pub requests: Cell<u64>,
    pub records: Cell<u64>,
    pub bytes: Cell<u64>,
    pub wire_bytes: Cell<u64>,
    /// Records of each second since the start.
    pub per_second: RefCell<Vec<u64>>,
    /// Records read.
    pub read: Cell<u64>,
    /// Most records remembered.
    pub most_remembered: Cell<usize>,
    /// Durations, in nanoseconds.
    pub ack: RefCell<Histogram<u64>>,
    pub fetch: RefCell<Histogram<u64>>,
    pub lookup: RefCell<Histogram<u64>>,
    pub begun: Instant,
}

impl Course {
    /// Before anything was written.
    pub fn new(topics: Vec<Played>) -> Course {
        let histogram = || RefCell::new(new_histogram());
        Course {
            topics,
            verdict: RefCell::default(),
            counts: Counts {
                requests: Cell::new(0),
                records: Cell::new(0),
                bytes: Cell::new(0),
                wire_bytes: Cell::new(0),
                per_second: RefCell::default(),
                read: Cell::new(0),
                most_remembered: Cell::new(0),
                ack: histogram(),
                fetch: histogram(),
                lookup: histogram(),
                begun: Instant::now(),
            },
            writing_is_over: Cell::new(false),
            is_over: Cell::new(false),
            failed: RefCell::new(None),
        }
    }

    /// All partitions.
    pub fn places(&self) -> Vec<Place> {
        let topics = self.topics.iter().enumerate();
        let of =
            |(at, played): (usize, &Played)| (0..played.logs.len()).map(move |partition| (at, partition));
        topics.flat_map(of).collect()
    }

    /// A partition's log.
    pub fn log(&self, place: Place) -> &RefCell<Log> {
        &self.topics[place.0].logs[place.1]
    }

    /// The topic's name, the partition and its leader.
    pub fn address(&self, place: Place) -> (&str, i32, SocketAddr) {
        let topic = &self.topics[place.0].topic;
        let at = topic.partitions[place.1];
        (&topic.name, at.partition, at.leader)
    }

    /// The outcome of a task: the first error ends the day.
    pub fn ended(&self, outcome: Result<(), Error>) {
        if let Err(error) = outcome {
            self.failed.borrow_mut().get_or_insert(error);
            self.writing_is_over.set(true);
            self.is_over.set(true);
        }
    }

    /// Why it ended early.
    pub fn failure(&self) -> Option<Error> {
        self.failed.borrow().clone()
    }

    /// Once a second: forgets what nobody can find any more.
    ///
    /// # Errors
    /// There is too much to remember.
    pub fn forget(&self) -> Result<(), Error> {
        let now_ms = now_ms();
        let logs = || self.topics.iter().flat_map(|played| &played.logs);
        logs().for_each(|log| log.borrow_mut().forget(now_ms));
        let held = logs().map(|log| log.borrow().len()).sum();
        let most = &self.counts.most_remembered;
        most.set(most.get().max(held));
        match held > MAX_RECORDS {
            true => Err(Error::failed(format!(
                "more than {MAX_RECORDS} records may be there at once, which is more than are remembered: a lower --rate, or a broker that \
                 removes what is due"
            ))),
            false => Ok(()),
        }
    }
}

/// The wall clock, milliseconds since 1970.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as i64
}

/// A question that is asked now.
pub struct Question {
    asked_ms: i64,
    begun: Instant,
}

impl Question {
    /// Now.
    pub fn now() -> Question {
        Question {
            asked_ms: now_ms(),
            begun: Instant::now(),
        }
    }

    /// It was answered now; how long that took goes to `histogram`.
    pub fn answered(&self, histogram: &RefCell<Histogram<u64>>) -> Asked {
        let took_ns = self.begun.elapsed().as_nanos() as u64;
        histogram.borrow_mut().saturating_record(took_ns);
        Asked {
            asked_ms: self.asked_ms,
            answered_ms: now_ms(),
        }
    }
}

/// Adds to a count.
pub fn add(count: &Cell<u64>, more: u64) {
    count.set(count.get() + more);
}

/// Waits.
pub async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// Connections of one task, one a broker.
#[derive(Default)]
pub struct Peers(Vec<(SocketAddr, Connection)>);

impl Peers {
    /// The connection to a broker, opened if it is the first time.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn to(&mut self, leader: SocketAddr) -> Result<&mut Connection, Error> {
        let at = match self.0.iter().position(|(address, _)| *address == leader) {
            Some(at) => at,
            None => {
                self.0.push((leader, Connection::open(leader).await?));
                self.0.len() - 1
            }
        };
        Ok(&mut self.0[at].1)
    }
}
