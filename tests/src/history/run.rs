//! Makes a history: writers, chains and readers of librdkafka on a broker that is killed and started again meanwhile.
//!
//! Writers write into the partitions of one topic, in transactions that they commit, abort, leave open, or are fenced in the middle of by
//! another producer of the same id. Chains consume it in groups, write each record once more into a second topic, and from there back into the
//! first, until a record has taken three hops. Readers read both topics. Clients that fail begin anew; so they also do after a broker's end.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::record::{History, Key, Poll, Transaction, Value};
use crate::raw::Connection;
use crate::txn::{READ_COMMITTED, READ_UNCOMMITTED, committed_records, try_end_offset};
use crate::{Broker, Random, broker, group, wait_for};

mod chain;
mod producer;
mod reader;
mod writer;

/// Partitions of each of the two topics.
const PARTITIONS: i32 = 2;
/// How often a record is written once more.
const HOPS: u32 = 3;
/// How many clients write.
const WRITERS: usize = 3;
/// How many clients are in each of the two groups.
const LINKS: usize = 2;
/// How many clients only read.
const READERS: usize = 2;
/// How long it may take until all is consumed, once nobody is killed any more.
const DRAIN: Duration = Duration::from_secs(60);
/// How long between two looks at the committed offsets.
const LOOK: Duration = Duration::from_millis(50);

/// What one run does.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// All randomness of the run comes from it; its threads' timing does not.
    pub seed: u64,
    /// For how long records are written.
    pub time: Duration,
    /// How often the broker is killed, when it is the test's own.
    pub kills: usize,
}

/// What the clients of a run share.
struct Shared {
    bootstrap: String,
    topics: [String; 2],
    groups: [String; 2],
    clock: AtomicU64,
    origins: AtomicU64,
    attempts: AtomicU64,
    /// Nothing more is written into the first topic by writers.
    closing: AtomicBool,
    /// Everything is consumed.
    over: AtomicBool,
    /// Writers that have not ended their last transaction.
    writing: AtomicUsize,
    transactions: Mutex<Vec<Transaction>>,
    polls: Mutex<Vec<Poll>>,
}

impl Shared {
    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    fn over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// A value no other write has.
    fn value(&self, from: Option<&Value>) -> Value {
        let attempt = self.attempts.fetch_add(1, Ordering::SeqCst);
        match from {
            Some(value) => Value {
                hops: value.hops + 1,
                attempt,
                ..value.clone()
            },
            None => Value {
                origin: self.origins.fetch_add(1, Ordering::SeqCst),
                hops: 0,
                attempt,
            },
        }
    }

    fn enter(&self, transaction: Transaction) {
        self.transactions
            .lock()
            .expect("no panic while held")
            .push(transaction);
    }

    fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        let of_topic = |topic: &String| {
            let topic = topic.clone();
            (0..PARTITIONS).map(move |partition| Key {
                topic: topic.clone(),
                partition,
            })
        };
        self.topics.iter().flat_map(of_topic)
    }
}

/// Runs the plan, and gives what happened.
///
/// # Panics
/// When the broker does not come back, or what was written is not consumed in the end.
pub fn run(broker: &mut Broker, plan: Plan) -> History {
    let topics = [(); 2].map(|()| crate::admin::create(broker, "history", PARTITIONS, &[]));
    let shared = Shared {
        bootstrap: broker.bootstrap().to_owned(),
        topics,
        groups: [broker::unique("forth"), broker::unique("back")],
        clock: AtomicU64::new(0),
        origins: AtomicU64::new(0),
        attempts: AtomicU64::new(0),
        closing: AtomicBool::new(false),
        over: AtomicBool::new(false),
        writing: AtomicUsize::new(WRITERS),
        transactions: Mutex::default(),
        polls: Mutex::default(),
    };
    let mut random = Random::new(plan.seed);
    let committed = std::thread::scope(|scope| {
        let shared = &shared;
        // Set also when the main thread panics: the scope waits for the others.
        let _end = End(shared);
        for number in 0..WRITERS {
            let random = Random::new(random.next_u64());
            scope.spawn(move || writer::write(shared, number, random));
        }
        for number in 0..2 * LINKS {
            let random = Random::new(random.next_u64());
            scope.spawn(move || chain::link(shared, number % 2, number, random));
        }
        for number in 0..READERS {
            let random = Random::new(random.next_u64());
            scope.spawn(move || reader::read(shared, number, random));
        }
        let watch = scope.spawn(move || watch(shared));
        nemesis(broker, plan, &mut random);
        shared.closing.store(true, Ordering::SeqCst);
        wait_for("everything is consumed", DRAIN, || drained(shared).then_some(()));
        shared.over.store(true, Ordering::SeqCst);
        watch.join().expect("it watches to the end")
    });
    let finals = wait_for("every transaction has ended", DRAIN, || {
        ended(&shared).then(|| finals(&shared))
    })
    .expect("a broker that is not killed");
    History {
        transactions: shared.transactions.into_inner().expect("no panic while held"),
        polls: shared.polls.into_inner().expect("no panic while held"),
        finals,
        committed,
        hops: HOPS,
    }
}

/// Ends all clients when it goes.
struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.closing.store(true, Ordering::SeqCst);
        self.0.over.store(true, Ordering::SeqCst);
    }
}

/// Kills the broker now and then, for as long as the plan says.
fn nemesis(broker: &mut Broker, plan: Plan, random: &mut Random) {
    let begin = Instant::now();
    let kills = if broker::external().is_some() {
        0
    } else {
        plan.kills
    };
    let mut times: Vec<Duration> = (0..kills)
        .map(|_| {
            plan.time
                .mul_f64(0.1 + 0.8 * random.below(1_000) as f64 / 1_000.0)
        })
        .collect();
    times.sort_unstable();
    for time in times {
        std::thread::park_timeout(time.saturating_sub(begin.elapsed()));
        broker.kill();
        if random.below(4) == 0 {
            broker.start_and_kill(Duration::from_millis(random.below(60) as u64));
        }
        broker.restart();
    }
    while begin.elapsed() < plan.time {
        std::thread::park_timeout(plan.time.saturating_sub(begin.elapsed()));
    }
}

/// Looks at the committed offsets of both groups all the time.
fn watch(shared: &Shared) -> BTreeMap<(String, Key), Vec<i64>> {
    let mut seen: BTreeMap<(String, Key), Vec<i64>> = BTreeMap::new();
    let partitions: Vec<i32> = (0..PARTITIONS).collect();
    while !shared.over() {
        for (group, topic) in shared.groups.iter().zip(&shared.topics) {
            // A connection for each question: the broker may be killed in between.
            let asked = Connection::try_open(&shared.bootstrap)
                .and_then(|mut connection| group::try_committed(&mut connection, group, topic, &partitions));
            let Ok(Ok(offsets)) = asked else { continue };
            for (partition, offset) in offsets {
                let key = Key {
                    topic: topic.clone(),
                    partition,
                };
                let all = seen.entry((group.clone(), key)).or_default();
                if all.last() != Some(&offset) {
                    all.push(offset);
                }
            }
        }
        std::thread::park_timeout(LOOK);
    }
    seen
}

/// Every record that is to be seen has been written once more, as often as it is to be.
fn drained(shared: &Shared) -> bool {
    std::thread::park_timeout(LOOK);
    // What is still being written is not among the records yet, and nobody would consume it.
    if shared.writing.load(Ordering::SeqCst) > 0 || !ended(shared) {
        return false;
    }
    let Ok(finals) = finals(shared) else { return false };
    let all: std::collections::HashSet<(u64, u32)> = finals
        .values()
        .flatten()
        .map(|(_, value)| (value.origin, value.hops))
        .collect();
    all.iter()
        .all(|&(origin, hops)| hops >= HOPS || all.contains(&(origin, hops + 1)))
}

/// No transaction is open.
fn ended(shared: &Shared) -> bool {
    let ends = || -> std::io::Result<bool> {
        let mut connection = Connection::try_open(&shared.bootstrap)?;
        for key in shared.keys() {
            let stable = try_end_offset(&mut connection, &key.topic, key.partition, READ_COMMITTED)?;
            if stable != try_end_offset(&mut connection, &key.topic, key.partition, READ_UNCOMMITTED)? {
                return Ok(false);
            }
        }
        Ok(true)
    };
    ends().unwrap_or(false)
}

/// What is in each partition, read without librdkafka.
fn finals(shared: &Shared) -> std::io::Result<BTreeMap<Key, Vec<(i64, Value)>>> {
    let mut connection = Connection::try_open(&shared.bootstrap)?;
    let mut out = BTreeMap::new();
    for key in shared.keys() {
        let records = committed_records(&mut connection, &key.topic, key.partition, 0)?;
        let decoded = |(offset, bytes): (i64, Vec<u8>)| {
            let value = Value::decode(&bytes);
            (
                offset,
                value.unwrap_or_else(|| panic!("{key:?} holds {bytes:?} at {offset}")),
            )
        };
        let records = records.into_iter().map(decoded).collect();
        out.insert(key, records);
    }
    Ok(out)
}
