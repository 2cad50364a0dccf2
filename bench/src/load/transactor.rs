//! A transactional producer at work: one transaction after the other, each with a batch to some of the topic's partitions and then its
//! end. What a broker says of a coordinator that is not ready yet is asked again after a short pause.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::batch::Stamp;
use super::beat::Beat;
use super::lane::next_sequence;
use super::tally::{Stream, Tag};
use super::text::Text;
use super::thread::Thread;
use super::times::Times;
use crate::client::Topic;
use crate::client::connection::{check, error_name};
use crate::client::transactions::{TransactionVersion, TransactionalProducer};
use crate::error::Error;
use crate::ledger::{Entry, Outcome};

/// How long one request may be asked again.
const RETRY_LIMIT: Duration = Duration::from_secs(60);
/// Before the load begins, between two questions.
const OPEN_PAUSE: Duration = Duration::from_millis(100);
/// Errors that say that the same may be asked again: the coordinator loads, is not available or another one, the transaction before
/// has not ended everywhere, and what brokers say of it to older clients (NOT_ENOUGH_REPLICAS).
const AGAIN: [i16; 5] = [14, 15, 16, 51, 19];
/// Those after which the coordinator is looked for.
const MOVED: [i16; 2] = [15, 16];

/// What transactions are like.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The protocol.
    pub version: TransactionVersion,
    /// Partitions that each writes a batch to.
    pub partitions: u32,
    /// Of 100 transactions, how many are aborted.
    pub abort_percent: f64,
    /// Pause before a request is asked again.
    pub retry: Duration,
    /// Transactions a second of all producers together, due whatever the broker does; `None` for each as soon as the one before has ended.
    pub per_second: Option<f64>,
}

/// What makes one producer.
#[derive(Clone, Debug)]
pub struct TransactorSpec {
    /// Its number, unique in the run.
    pub id: u32,
    /// Its place among the run's producers of transactions, and how many there are.
    pub place: (u32, u32),
    /// Its transactional id.
    pub transactional_id: String,
    /// Whom to ask for its coordinator.
    pub bootstrap: SocketAddr,
    /// What it writes to.
    pub topic: Arc<Topic>,
    /// What it does.
    pub plan: Plan,
}

/// A batch of the transaction under way.
struct Batch {
    /// Its place among the topic's partitions.
    at: usize,
    bytes: Vec<u8>,
    entry: Entry,
    /// Where it was acknowledged.
    told: Option<i64>,
}

struct Transactor {
    thread: Rc<Thread>,
    spec: TransactorSpec,
    producer: TransactionalProducer,
    random: Text,
    batches: u64,
    /// By partition.
    sequences: Vec<i32>,
    /// All partitions, in the order in which they were drawn.
    drawn: Vec<usize>,
}

/// A producer that has its identity.
///
/// # Errors
/// The broker's or the socket's; a coordinator that is not there within a minute.
pub async fn open(spec: &TransactorSpec) -> Result<TransactionalProducer, Error> {
    let until = Instant::now() + RETRY_LIMIT;
    let mut producer =
        TransactionalProducer::open(spec.bootstrap, &spec.transactional_id, spec.plan.version).await?;
    loop {
        let (what, code) = match producer.find_coordinator().await? {
            0 => ("InitProducerId", producer.init().await?),
            code => ("FindCoordinator", code),
        };
        match code {
            0 => return Ok(producer),
            code if AGAIN.contains(&code) && Instant::now() < until => tokio::time::sleep(OPEN_PAUSE).await,
            code => check(what, code, None)?,
        }
    }
}

/// Transactions until the measurement is over.
pub async fn run(thread: Rc<Thread>, spec: TransactorSpec, producer: TransactionalProducer) {
    let partitions = spec.topic.partitions.len();
    let mut transactor = Transactor {
        random: Text::new(u64::from(spec.id) + 1),
        producer,
        batches: 0,
        sequences: vec![0; partitions],
        drawn: (0..partitions).collect(),
        thread,
        spec,
    };
    let thread = Rc::clone(&transactor.thread);
    let end_ns = thread.tally.borrow().window().end_ns;
    let (number, producers) = transactor.spec.place;
    let beat = |per_second| Beat::new(per_second, number, producers, thread.clock.now_ns());
    let mut beat = transactor.spec.plan.per_second.map(beat);
    while thread.clock.now_ns() < end_ns && !thread.was_cut() {
        let due_ns = match &mut beat {
            Some(beat) if beat.next_ns() >= end_ns => break,
            Some(beat) => {
                let due_ns = beat.take();
                thread.sleep_until(due_ns).await;
                due_ns
            }
            None => thread.clock.now_ns(),
        };
        if let Err(error) = transactor.one(due_ns).await {
            let mut tally = thread.tally.borrow_mut();
            let what = format!("producer {}: {error}", transactor.spec.transactional_id);
            tally.event(thread.clock.now_ns(), what);
            tally.transactions.given_up += 1;
            break;
        }
    }
    if let Some(beat) = beat {
        count_unbegun(&thread, beat);
    }
    thread.shared.live.busy_lanes.fetch_sub(1, Ordering::Relaxed);
}

/// Counts what was due and never begun, with the time it had waited: left out, a broker that is too slow would look quick.
fn count_unbegun(thread: &Thread, mut beat: Beat) {
    thread.was_cut();
    let now_ns = thread.clock.now_ns();
    let mut tally = thread.tally.borrow_mut();
    let window = tally.window();
    while beat.next_ns() < window.end_ns {
        let due_ns = beat.take();
        if window.contains(due_ns) {
            tally.record(Tag::Transaction, now_ns, now_ns.saturating_sub(due_ns), 1);
            tally.transactions.unbegun += 1;
        }
    }
}

impl Transactor {
    /// One transaction, which was due at `begun_ns`.
    async fn one(&mut self, begun_ns: u64) -> Result<(), Error> {
        let thread = Rc::clone(&self.thread);
        let commit = self.random.fraction() * 100.0 > self.spec.plan.abort_percent;
        let records = thread.template(0, |template| template.capacity());
        let times = Times::Together {
            at_ns: begun_ns,
            records: records as u32,
        };
        let mut batches = self.batches(&times, begun_ns);
        if self.producer.version() == TransactionVersion::One {
            self.add_partitions(&batches).await?;
        }
        let asked_ns = thread.clock.now_ns();
        self.produce(&mut batches, records as u64, asked_ns).await?;
        let asked_ns = thread.clock.now_ns();
        let before = self.producer.identity;
        let until = Instant::now() + RETRY_LIMIT;
        loop {
            match self.producer.end(commit).await? {
                0 => break,
                code => self.again("EndTxn", code, until).await?,
            }
        }
        let now_ns = thread.clock.now_ns();
        if self.producer.identity != before {
            self.sequences.fill(0);
        }
        self.note(&batches, commit);
        self.count(&batches, records as u64, commit, now_ns);
        let mut tally = thread.tally.borrow_mut();
        let window = tally.window();
        if commit && window.contains(begun_ns) {
            tally.record(Tag::Transaction, now_ns, now_ns.saturating_sub(begun_ns), 1);
        }
        if commit && window.contains(asked_ns) {
            tally.record(Tag::EndTxn, now_ns, now_ns - asked_ns, 1);
        }
        Ok(())
    }

    /// One batch for each of so many partitions, drawn at random.
    fn batches(&mut self, times: &Times, now_ns: u64) -> Vec<Batch> {
        let (producer_id, producer_epoch) = self.producer.identity;
        let partitions = self.drawn.len();
        let wanted = partitions.min(self.spec.plan.partitions as usize);
        let mut batches = Vec::with_capacity(wanted);
        for place in 0..wanted {
            let other = place + (self.random.random() % (partitions - place) as u64) as usize;
            self.drawn.swap(place, other);
            let at = self.drawn[place];
            let stamp = Stamp {
                producer_id,
                producer_epoch,
                base_sequence: self.sequences[at],
                transactional: true,
                timestamp_ms: self.thread.clock.epoch().unix_ms(now_ns),
                lane: self.spec.id,
                batch: 0,
            };
            self.sequences[at] = next_sequence(self.sequences[at], times.records());
            let partition = self.spec.topic.partitions[at].partition;
            let mut bytes = Vec::new();
            let count = &mut self.batches;
            let entry = self
                .thread
                .write_batch(&mut bytes, partition, stamp, count, times);
            batches.push(Batch {
                at,
                bytes,
                entry,
                told: None,
            });
        }
        batches
    }

    async fn add_partitions(&mut self, batches: &[Batch]) -> Result<(), Error> {
        let asked_ns = self.thread.clock.now_ns();
        let until = Instant::now() + RETRY_LIMIT;
        let topic = Arc::clone(&self.spec.topic);
        let partitions = batches.iter().map(|batch| topic.partitions[batch.at].partition);
        let partitions: Vec<i32> = partitions.collect();
        loop {
            match self
                .producer
                .add_partitions(&topic.name, partitions.clone())
                .await?
            {
                0 => break,
                code => self.again("AddPartitionsToTxn", code, until).await?,
            }
        }
        let now_ns = self.thread.clock.now_ns();
        let mut tally = self.thread.tally.borrow_mut();
        if tally.window().contains(now_ns) {
            tally.record(Tag::AddPartitions, now_ns, now_ns - asked_ns, 1);
        }
        Ok(())
    }

    /// Writes all batches, those that were refused for a while again.
    async fn produce(&mut self, batches: &mut [Batch], records: u64, asked_ns: u64) -> Result<(), Error> {
        let topic = Arc::clone(&self.spec.topic);
        let until = Instant::now() + RETRY_LIMIT;
        let mut told = Vec::new();
        while let Some(first) = batches.iter().find(|batch| batch.told.is_none()) {
            let leader = topic.partitions[first.at].leader;
            let due = batches.iter().filter(|batch| batch.told.is_none());
            let due = due.filter(|batch| topic.partitions[batch.at].leader == leader);
            let due: Vec<(i32, &[u8])> = due
                .map(|batch| (topic.partitions[batch.at].partition, batch.bytes.as_slice()))
                .collect();
            self.producer
                .produce(leader, &topic.name, &due, &mut told)
                .await?;
            let expected = due.len();
            let mut refused = None;
            let mut stored = 0;
            for one in &told {
                let batch = batches
                    .iter_mut()
                    .find(|batch| topic.partitions[batch.at].partition == one.partition);
                match (batch, one.error_code) {
                    (Some(batch), 0) => {
                        batch.told = Some(one.base_offset);
                        stored += records;
                    }
                    (Some(_), code) => refused = Some(code),
                    (None, _) => {}
                }
            }
            if told.len() < expected {
                return Err(Error::failed(
                    "Produce was answered for fewer partitions than asked",
                ));
            }
            let now_ns = self.thread.clock.now_ns();
            if stored > 0 {
                let mut tally = self.thread.tally.borrow_mut();
                tally.request(Stream::Produced, now_ns);
                if tally.window().contains(now_ns) {
                    tally.record(Tag::Ack, now_ns, now_ns - asked_ns, stored);
                }
            }
            if let Some(code) = refused {
                self.again("Produce", code, until).await?;
            }
        }
        Ok(())
    }

    /// Waits before the same is asked again.
    async fn again(&mut self, what: &str, code: i16, until: Instant) -> Result<(), Error> {
        if !AGAIN.contains(&code) || Instant::now() >= until {
            return check(what, code, None);
        }
        let now_ns = self.thread.clock.now_ns();
        self.thread
            .retried(now_ns, || format!("{what} {}", error_name(code)));
        let pause_ns = self.spec.plan.retry.as_nanos() as u64;
        self.thread.clock.sleep_until(now_ns + pause_ns).await;
        if MOVED.contains(&code) {
            // whatever it says, the next question shows whether it is there
            self.producer.find_coordinator().await?;
        }
        Ok(())
    }

    /// Tells the ledger how the transaction ended.
    fn note(&self, batches: &[Batch], commit: bool) {
        let Some(ledger) = &self.thread.shared.ledger else {
            return;
        };
        for batch in batches {
            let outcome = match (commit, batch.told) {
                (true, Some(offset)) => Outcome::Acknowledged(offset),
                (true, None) => Outcome::Unknown,
                (false, _) => Outcome::Aborted,
            };
            let partition = self.spec.topic.partitions[batch.at].partition;
            ledger.outcome(partition, batch.entry, outcome);
        }
    }

    fn count(&self, batches: &[Batch], records: u64, commit: bool, now_ns: u64) {
        let mut tally = self.thread.tally.borrow_mut();
        let measured = tally.window().contains(now_ns);
        if !commit {
            tally.transactions.aborted += u64::from(measured);
            return;
        }
        tally.transactions.committed += u64::from(measured);
        let record_bytes = self.thread.shared.settings.record_bytes as u64;
        let wire_bytes: usize = batches.iter().map(|batch| batch.bytes.len()).sum();
        let records = records * batches.len() as u64;
        tally.flow(
            Stream::Produced,
            now_ns,
            records,
            records * record_bytes,
            wire_bytes as u64,
        );
        self.thread
            .shared
            .live
            .produced
            .fetch_add(records, Ordering::Relaxed);
    }
}
