//! A coordinator with a log that is durable when a test says so, and partitions that take batches and markers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::ID;
use super::requests::{added, adding, ended, ending, initialized, initializing, resuming};
use crate::transactions::state::TxnState;
use crate::transactions::{
    Caller, Coordinator, Ctx, Ending, Outcome, Step, TransactionSettings, TxnRequest, TxnResponse,
};
use crate::wire::ErrorCode;
use crate::wire::describe_transactions::TransactionState as Described;
use crate::wire::init_producer_id::InitProducerIdRequest;
use crate::wire::transaction_records::{TransactionLogValue, TransactionRecord};

/// The newest versions of the requests, and the newest of clients that know nothing of transaction version 2.
pub const INIT: i16 = 5;
pub const ADD: i16 = 5;
pub const OLD_ADD: i16 = 3;
pub const END: i16 = 5;
pub const OLD_END: i16 = 4;
/// How a transaction ends.
pub const COMMIT: bool = true;
/// When tests begin, on the clock on the wall.
pub const START_MS: i64 = 1_700_000_000_000;
/// The timeout producers ask for.
pub const TIMEOUT_MS: i32 = 60_000;

/// What a partition knows of a producer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Producer {
    pub epoch: i16,
    /// Of the coordinator that wrote the last marker.
    pub coordinator_epoch: i32,
    /// The transaction whose batches have not ended, by a number of the test's.
    pub open: Option<usize>,
}

/// An order for markers, and how many of them are written.
#[derive(Clone, Debug)]
pub struct Marking {
    pub ending: Ending,
    pub written: usize,
}

pub struct World {
    pub coordinator: Coordinator<u32>,
    /// What the records say.
    shadow: Coordinator<u32>,
    pub log: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    pub durable: usize,
    waiting: VecDeque<(usize, Outcome<u32>)>,
    pub answers: BTreeMap<u32, TxnResponse>,
    pub marks: Vec<Marking>,
    /// By partition of topic `t`, then by producer id.
    pub partitions: BTreeMap<i32, BTreeMap<i64, Producer>>,
    /// How transactions ended, as the markers of each partition say.
    pub decided: BTreeMap<usize, BTreeSet<bool>>,
    pub settings: TransactionSettings,
    pub now_ms: i64,
    pub wall_ms: i64,
    pub version: i16,
    pub epoch: i32,
    pub has_ids: bool,
    pub last_id: i64,
    asked: u32,
}

impl World {
    pub fn new() -> World {
        World::with_log(Vec::new())
    }

    /// One that reads a log when it begins.
    pub fn with_log(log: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> World {
        let mut world = World {
            coordinator: Coordinator::default(),
            shadow: Coordinator::default(),
            durable: log.len(),
            log,
            waiting: VecDeque::new(),
            answers: BTreeMap::new(),
            marks: Vec::new(),
            partitions: BTreeMap::new(),
            decided: BTreeMap::new(),
            settings: TransactionSettings::default(),
            now_ms: 5_000,
            wall_ms: START_MS,
            version: 2,
            epoch: 0,
            has_ids: true,
            last_id: 1_000,
            asked: 0,
        };
        world.crash(world.durable);
        world
    }

    pub fn step(&mut self, act: impl FnOnce(&mut Coordinator<u32>, &mut Ctx<'_>) -> Step<u32>) {
        let (last_id, has_ids) = (&mut self.last_id, self.has_ids);
        let mut new_producer_id = || {
            has_ids.then(|| {
                *last_id += 1;
                *last_id
            })
        };
        let mut ctx = Ctx {
            now_ms: self.now_ms,
            wall_ms: self.wall_ms,
            settings: &self.settings,
            coordinator_epoch: self.epoch,
            transaction_version: self.version,
            new_producer_id: &mut new_producer_id,
        };
        let step = act(&mut self.coordinator, &mut ctx);
        for record in step.records {
            let bytes = record.encode();
            self.shadow.replay(decode(&bytes));
            self.log.push(bytes);
        }
        let at = self.log.len();
        self.waiting
            .extend(step.outcomes.into_iter().map(|outcome| (at, outcome)));
        assert_eq!(
            stored(&self.coordinator),
            stored(&self.shadow),
            "the records say the same"
        );
    }

    /// The log is durable up to here.
    pub fn release(&mut self, durable: usize) {
        self.durable = self.durable.max(durable);
        while let Some((_, outcome)) = self.waiting.pop_front_if(|(at, _)| *at <= self.durable) {
            match outcome {
                Outcome::Reply(to, answer) => {
                    let earlier = self.answers.insert(to, answer);
                    assert_eq!(earlier, None, "request {to} was answered twice");
                }
                Outcome::Mark(ending) => self.marks.push(Marking { ending, written: 0 }),
            }
        }
    }

    pub fn flush(&mut self) {
        self.release(self.log.len());
    }

    /// The broker starts anew and finds so many records. Answers and orders that waited are lost.
    pub fn crash(&mut self, keep: usize) {
        self.marks.clear();
        self.reload(keep);
    }

    /// The coordinator goes to another core, or its records could not be stored. What it has ordered may still be done.
    pub fn reload(&mut self, keep: usize) {
        assert!(
            keep >= self.durable && keep <= self.log.len(),
            "what was durable stays"
        );
        self.log.truncate(keep);
        self.durable = keep;
        self.waiting.clear();
        self.epoch += 1;
        self.coordinator = replayed(&self.log);
        self.shadow = replayed(&self.log);
        self.step(|coordinator, ctx| coordinator.loaded(ctx));
    }

    pub fn send(&mut self, version: i16, request: TxnRequest) -> u32 {
        self.asked += 1;
        let to = self.asked;
        self.step(|coordinator, ctx| coordinator.handle(ctx, Caller { to, version }, request));
        to
    }

    /// What is answered once the log has caught up.
    pub fn decided_answer(&self, to: u32) -> &TxnResponse {
        let mut answers = self.waiting.iter().filter_map(|(_, outcome)| match outcome {
            Outcome::Reply(other, answer) if *other == to => Some(answer),
            _ => None,
        });
        answers.next_back().expect("an answer")
    }

    /// Asks, and has the log durable for the answer.
    pub fn ask(&mut self, version: i16, request: TxnRequest) -> TxnResponse {
        let to = self.send(version, request);
        self.flush();
        self.answers.remove(&to).expect("an answer")
    }

    pub fn init(&mut self, id: &str) -> Result<(i64, i16), ErrorCode> {
        self.init_with(INIT, initializing(id))
    }

    /// A producer asks for its next epoch.
    pub fn resume(&mut self, version: i16, producer: (i64, i16)) -> Result<(i64, i16), ErrorCode> {
        self.init_with(version, resuming(ID, producer))
    }

    pub fn init_with(
        &mut self,
        version: i16,
        request: InitProducerIdRequest,
    ) -> Result<(i64, i16), ErrorCode> {
        initialized(self.ask(version, TxnRequest::InitProducerId(request)))
    }

    /// Adds partitions of topic `t`.
    pub fn add(&mut self, version: i16, producer: (i64, i16), partitions: &[i32]) -> ErrorCode {
        added(self.ask(version, adding(ID, producer, partitions, false)))[0]
    }

    pub fn verify(&mut self, producer: (i64, i16), partitions: &[i32]) -> Vec<ErrorCode> {
        added(self.ask(ADD, adding(ID, producer, partitions, true)))
    }

    pub fn end(
        &mut self,
        version: i16,
        producer: (i64, i16),
        is_commit: bool,
    ) -> Result<(i64, i16), ErrorCode> {
        ended(self.ask(version, ending(ID, producer, is_commit)))
    }

    pub fn describe(&mut self) -> Described {
        match self.ask(0, TxnRequest::Describe(ID.to_owned())) {
            TxnResponse::Describe(described) => described,
            other => panic!("{other:?}"),
        }
    }

    pub fn state(&mut self) -> String {
        self.describe().transaction_state
    }

    /// What the records say from one of them on; nothing where an id is forgotten.
    pub fn values(&self, from: usize) -> Vec<Option<TransactionLogValue>> {
        let records = self.log[from..].iter().map(decode);
        let value = |record| match record {
            TransactionRecord::State(_, value) => value,
            other => panic!("{other:?}"),
        };
        records.map(value).collect()
    }

    /// The states that records put down from one of them on.
    pub fn states(&self, from: usize) -> Vec<&'static str> {
        let values = self.values(from).into_iter();
        let name = |value: Option<TransactionLogValue>| {
            let state = value.and_then(|value| TxnState::of(value.transaction_status));
            state.map_or("forgotten", TxnState::name)
        };
        values.map(name).collect()
    }

    /// Writes the next marker of an order. The last one of it is told.
    pub fn write_marker(&mut self, index: usize) {
        let marking = &mut self.marks[index];
        let ending = marking.ending.clone();
        let (_, partition) = ending.partitions[marking.written];
        marking.written += 1;
        let is_last = marking.written == ending.partitions.len();
        let producers = self.partitions.entry(partition).or_default();
        let producer = producers.entry(ending.producer_id).or_default();
        if ending.coordinator_epoch < producer.coordinator_epoch {
            // The partition has heard of a later coordinator, and this one's order is void.
            self.marks.remove(index);
            return;
        }
        producer.coordinator_epoch = ending.coordinator_epoch;
        assert!(
            ending.producer_epoch >= producer.epoch,
            "a marker that a partition refuses: {ending:?}"
        );
        producer.epoch = ending.producer_epoch;
        if let Some(transaction) = producer.open.take() {
            let decisions = self.decided.entry(transaction).or_default();
            decisions.insert(ending.is_commit);
            assert_eq!(decisions.len(), 1, "both committed and aborted: {ending:?}");
        }
        if is_last {
            self.marks.remove(index);
            self.step(|coordinator, ctx| coordinator.completed(ctx, &ending));
        }
    }

    /// Everything that is ordered is done.
    pub fn finish(&mut self) {
        self.flush();
        while !self.marks.is_empty() {
            self.write_marker(0);
            self.flush();
        }
    }

    /// Time passes, and what is due is done, one id at a time.
    pub fn pass(&mut self, ms: i64) {
        self.now_ms += ms;
        self.wall_ms += ms;
        for _ in 0..100 {
            if self
                .coordinator
                .deadline()
                .is_none_or(|at_ms| at_ms > self.now_ms)
            {
                return;
            }
            self.step(|coordinator, ctx| coordinator.expire(ctx, 1));
        }
        panic!("what is due is never done");
    }
}

/// All that the records of a coordinator hold.
pub fn stored(coordinator: &Coordinator<u32>) -> Vec<TransactionRecord> {
    let all = coordinator.transactions.iter();
    all.map(|(id, transaction)| transaction.record(id)).collect()
}

fn decode((key, value): &(Vec<u8>, Option<Vec<u8>>)) -> TransactionRecord {
    let key = Bytes::copy_from_slice(key);
    let value = value.as_ref().map(|value| Bytes::copy_from_slice(value));
    TransactionRecord::decode(&key, value.as_ref()).expect("a record")
}

fn replayed(log: &[(Vec<u8>, Option<Vec<u8>>)]) -> Coordinator<u32> {
    let mut coordinator = Coordinator::default();
    log.iter().for_each(|bytes| coordinator.replay(decode(bytes)));
    coordinator
}
