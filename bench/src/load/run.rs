//! Starts the threads of a load, lets all connect before the first record is due, and brings the counts together.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::clock::{Clock, Epoch};
use super::lane::{self, LaneSpec, Session};
use super::reader::{self, ReaderSpec};
use super::schedule::Plan;
use super::settings::{Rate, Settings};
use super::source::{Saturate, Source};
use super::tally::{Tag, Tally, Window};
use super::text::Text;
use super::thread::{Shared, Thread};
use super::transactor::{self, TransactorSpec};
use crate::client::Connection;
use crate::client::transactions::TransactionalProducer;
use crate::error::Error;

/// Entries of a thread's ring; more connections than this share it in turns.
const RING_ENTRIES: u32 = 4096;
/// Between all being connected and the first record's due time.
const HEAD_START_NS: u64 = 20_000_000;
/// How often the caller looks at the progress.
const WATCH: Duration = Duration::from_millis(50);
/// No request is larger than this many bytes of batches, as in Kafka's own producer.
const REQUEST_BYTES: usize = 1 << 20;

/// What a run does.
pub struct Work {
    /// Producers.
    pub lanes: Vec<LaneSpec>,
    /// Records that each lane sends at most (`--rate max` only).
    pub records_per_lane: Option<u64>,
    /// Producers of transactions.
    pub transactors: Vec<TransactorSpec>,
    /// Consumers.
    pub readers: Vec<ReaderSpec>,
    /// Whether the window ends with the clock (`--seconds`) or with the work.
    pub timed: bool,
    /// Keep a histogram a second, for the `.hlog`.
    pub keep_seconds: bool,
}

/// What a run brought.
pub struct Done {
    /// All counts.
    pub tally: Tally,
    /// Length of the measurement.
    pub seconds: f64,
}

/// The moment at which the schedule begins, once all threads have connected; `None` inside when some could not.
type Gate = Arc<OnceLock<Option<u64>>>;

struct Seat {
    number: usize,
    shared: Arc<Shared>,
    epoch: Epoch,
    gate: Gate,
    ready: Arc<Mutex<Vec<Result<(), Error>>>>,
    lanes: Vec<(LaneSpec, f64)>,
    records_per_lane: Option<u64>,
    transactors: Vec<TransactorSpec>,
    readers: Vec<ReaderSpec>,
    timed: bool,
    keep_seconds: bool,
}

/// What a seat's connections are ready for.
struct Ready {
    sessions: Vec<Session>,
    producers: Vec<TransactionalProducer>,
    connections: Vec<Connection>,
}

/// What the caller sees while a run goes on. `at_s` counts from the measurement's start and is negative during warm-up.
pub trait Watch {
    /// Called every 50 ms. True ends the run early (an interrupt).
    fn look(&mut self, at_s: f64, shared: &Shared) -> bool;
}

/// Runs `work` to its end.
///
/// # Errors
/// A connection that cannot be made at the start, or a machine without io_uring. Later troubles are events in the tally.
pub fn run(shared: Arc<Shared>, work: Work, watch: &mut dyn Watch) -> Result<Done, Error> {
    let epoch = Epoch::begin();
    let gate: Gate = Gate::default();
    let ready = Arc::new(Mutex::new(Vec::new()));
    let live = Arc::clone(&shared.live);
    let writers = work.lanes.len() + work.transactors.len();
    live.busy_lanes.store(writers as u64, Ordering::Relaxed);
    live.busy_readers
        .store(work.readers.len() as u64, Ordering::Relaxed);
    let (timed, keep_seconds) = (work.timed, work.keep_seconds);
    let threads: Vec<JoinHandle<Result<Tally, Error>>> = seats(&shared, work, epoch, &gate, &ready)
        .into_iter()
        .map(|seat| std::thread::spawn(move || seat.run()))
        .collect();
    // what earlier loads left unread is not for this one's readers
    let unread = shared.ledger.as_ref().map_or(0, |ledger| ledger.missing());
    let start_ns = open_gate(&gate, &ready, &threads, epoch);
    let window = window(&shared.settings, start_ns, timed);
    while !threads.iter().all(JoinHandle::is_finished) {
        std::thread::sleep(WATCH);
        let at_s = (epoch.now_ns() as f64 - window.start_ns as f64) / 1e9;
        if watch.look(at_s, &shared) {
            live.cut(epoch.now_ns());
        }
        if is_over(&shared, epoch, window, unread) {
            live.stop.store(true, Ordering::Relaxed);
        }
    }
    let mut tally = Tally::new(window, keep_seconds);
    for thread in threads {
        let joined = thread
            .join()
            .map_err(|_| Error::failed("a load thread panicked"))?;
        tally.add(joined?);
    }
    if shared.end_to_end {
        count_unread(&shared, &mut tally, epoch.now_ns());
    }
    // work that ends itself ends with its last record, not when its threads were seen to be gone
    let planned_ns = if timed { window.end_ns } else { tally.last_flow_ns };
    let end_ns = planned_ns.min(live.cut_at_ns().unwrap_or(u64::MAX));
    if live.cut_at_ns().is_some_and(|cut_ns| cut_ns <= window.start_ns) {
        return Err(Error::failed("interrupted before anything was measured"));
    }
    // at least something, for rates divide by it
    let measured_ns = end_ns.saturating_sub(window.start_ns).max(1000);
    tally.events.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    Ok(Done {
        tally,
        seconds: measured_ns as f64 / 1e9,
    })
}

/// Records that no reader has seen by now have waited until now: left out, a stalled broker would look quick.
fn count_unread(shared: &Shared, tally: &mut Tally, now_ns: u64) {
    let Some(ledger) = &shared.ledger else { return };
    let mut records = 0;
    ledger.take_unread(|times| {
        tally.record_since(Tag::EndToEnd, now_ns, times);
        records += times.records();
    });
    if records > 0 {
        let what = format!(
            "{records} records were sent and not read when the wait was over; they count with the time they had waited"
        );
        tally.event(now_ns, what);
    }
}

/// Waits until every thread has connected, or one could not, and lets them go.
fn open_gate(
    gate: &Gate,
    ready: &Mutex<Vec<Result<(), Error>>>,
    threads: &[JoinHandle<Result<Tally, Error>>],
    epoch: Epoch,
) -> u64 {
    loop {
        let said = ready.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = said.iter().any(Result::is_err) || threads.iter().any(JoinHandle::is_finished);
        if failed || said.len() == threads.len() {
            let start_ns = epoch.now_ns() + HEAD_START_NS;
            let _ = gate.set((!failed).then_some(start_ns));
            return start_ns;
        }
        drop(said);
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn window(settings: &Settings, start_ns: u64, timed: bool) -> Window {
    if !timed {
        return Window {
            start_ns,
            end_ns: u64::MAX,
        };
    }
    let start_ns = start_ns + (settings.warmup_seconds * 1e9) as u64;
    Window {
        start_ns,
        end_ns: start_ns + (settings.seconds * 1e9) as u64,
    }
}

/// Whether readers need not go on: all lanes are done and all that was acknowledged was read, or the wait is over.
fn is_over(shared: &Shared, epoch: Epoch, window: Window, unread: u64) -> bool {
    let live = &shared.live;
    // also when a lane is gone without a word: its thread panicked
    let given_up =
        window.end_ns != u64::MAX && epoch.now_ns() > window.end_ns.saturating_add(shared.give_up_ns);
    if live.busy_lanes.load(Ordering::Relaxed) > 0 {
        return given_up;
    }
    let readers_done = live.busy_readers.load(Ordering::Relaxed) == 0;
    let all_read = window.end_ns != u64::MAX
        && shared
            .ledger
            .as_ref()
            .is_none_or(|ledger| ledger.missing() <= unread);
    readers_done || given_up || all_read
}

/// Deals lanes and readers out to the threads, the readers from the last thread on.
fn seats(
    shared: &Arc<Shared>,
    work: Work,
    epoch: Epoch,
    gate: &Gate,
    ready: &Arc<Mutex<Vec<Result<(), Error>>>>,
) -> Vec<Seat> {
    let threads = shared.settings.threads.clamp(
        1,
        (work.lanes.len() + work.transactors.len() + work.readers.len()).max(1),
    );
    let mut seats: Vec<Seat> = (0..threads)
        .map(|number| Seat {
            number,
            shared: Arc::clone(shared),
            epoch,
            gate: Arc::clone(gate),
            ready: Arc::clone(ready),
            lanes: Vec::new(),
            records_per_lane: work.records_per_lane,
            transactors: Vec::new(),
            readers: Vec::new(),
            timed: work.timed,
            keep_seconds: work.keep_seconds,
        })
        .collect();
    let total: usize = work.lanes.iter().map(|lane| weight(shared, lane)).sum();
    for (at, lane) in work.lanes.into_iter().enumerate() {
        let share = weight(shared, &lane) as f64 / total.max(1) as f64;
        seats[at % threads].lanes.push((lane, share));
    }
    for (at, transactor) in work.transactors.into_iter().enumerate() {
        seats[at % threads].transactors.push(transactor);
    }
    for (at, reader) in work.readers.into_iter().enumerate() {
        seats[threads - 1 - at % threads].readers.push(reader);
    }
    seats
}

/// A lane's part of the rate: its keys, or its partitions.
fn weight(shared: &Shared, lane: &LaneSpec) -> usize {
    let keys = |partition: &i32| shared.keys.get(*partition as usize).map_or(0, Vec::len);
    match shared.settings.keys {
        0 => lane.partitions.len(),
        _ => lane.partitions.iter().map(keys).sum(),
    }
}

/// The slot of each of a lane's keys.
fn key_slots(shared: &Shared, partitions: &[i32]) -> Arc<[u32]> {
    let slots = partitions.iter().enumerate().flat_map(|(slot, partition)| {
        let keys = shared.keys.get(*partition as usize).map_or(0, Vec::len);
        std::iter::repeat_n(slot as u32, keys)
    });
    slots.collect()
}

impl Seat {
    fn run(self) -> Result<Tally, Error> {
        // the builder panics where the kernel refuses a ring: ask it first
        tokio_uring::uring_builder().build(8).map_err(|e| {
            Error::failed(format!(
                "no io_uring for the client: {e} (kernel.io_uring_disabled, seccomp, memlock?)"
            ))
        })?;
        crate::net::ring(RING_ENTRIES).start(self.work())
    }

    async fn work(self) -> Result<Tally, Error> {
        let connected = self.connect().await;
        let said = connected.as_ref().map(|_| ()).map_err(Error::clone);
        self.ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(said);
        let ready = connected?;
        let Some(start_ns) = self.wait_for_gate().await else {
            return Err(Error::failed("another thread could not connect"));
        };
        let window = window(&self.shared.settings, start_ns, self.timed);
        let clock = Clock::start(self.epoch).map_err(|e| Error::failed(format!("no timer: {e}")))?;
        let tally = Tally::new(window, self.keep_seconds);
        let thread = Rc::new(Thread::new(
            Arc::clone(&self.shared),
            clock,
            tally,
            self.number as u64 + 1,
        ));
        if !self.timed {
            // such work has no schedule to hold it back, and what is done before the measurement begins does not count
            thread.clock.sleep_until(start_ns).await;
        }
        let mut tasks = Vec::new();
        // lanes to the same partitions have the same keys
        let mut keys: HashMap<Vec<i32>, Arc<[u32]>> = HashMap::new();
        for ((spec, share), session) in self.lanes.iter().cloned().zip(ready.sessions) {
            let slots = keys
                .entry(spec.partitions.clone())
                .or_insert_with(|| key_slots(&self.shared, &spec.partitions));
            let source = self.source(&thread, &spec, Arc::clone(slots), share, start_ns, window);
            tasks.push(tokio_uring::spawn(lane::run(
                Rc::clone(&thread),
                spec,
                source,
                session,
            )));
        }
        for (spec, producer) in self.transactors.iter().cloned().zip(ready.producers) {
            tasks.push(tokio_uring::spawn(transactor::run(
                Rc::clone(&thread),
                spec,
                producer,
            )));
        }
        for (spec, connection) in self.readers.iter().cloned().zip(ready.connections) {
            tasks.push(tokio_uring::spawn(reader::run(
                Rc::clone(&thread),
                spec,
                connection,
            )));
        }
        for task in tasks {
            task.await.map_err(|_| Error::failed("a load task panicked"))?;
        }
        let counted = Tally::new(window, self.keep_seconds);
        Ok(thread.tally.replace(counted))
    }

    async fn connect(&self) -> Result<Ready, Error> {
        let mut sessions = Vec::with_capacity(self.lanes.len());
        for (lane, _) in &self.lanes {
            sessions.push(Session::open(lane.leader, self.shared.settings.idempotent).await?);
        }
        let mut producers = Vec::with_capacity(self.transactors.len());
        for transactor in &self.transactors {
            producers.push(transactor::open(transactor).await?);
        }
        let mut connections = Vec::with_capacity(self.readers.len());
        for reader in &self.readers {
            connections.push(Connection::open(reader.leader).await?);
        }
        Ok(Ready {
            sessions,
            producers,
            connections,
        })
    }

    async fn wait_for_gate(&self) -> Option<u64> {
        loop {
            if let Some(opened) = self.gate.get() {
                return *opened;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn source(
        &self,
        thread: &Thread,
        lane: &LaneSpec,
        key_slots: Arc<[u32]>,
        share: f64,
        start_ns: u64,
        window: Window,
    ) -> Source {
        let settings = &self.shared.settings;
        let first = lane.partitions.first().copied().unwrap_or_default();
        let batch_records = thread.template(first, |template| template.capacity());
        let slots = lane.partitions.len() as u32;
        match settings.rate {
            Rate::Max => Source::Saturate(Saturate {
                batch_records,
                slots,
                end_ns: window.end_ns,
                left: self.records_per_lane.unwrap_or(u64::MAX),
                next_slot: lane.id % slots,
                key_slots,
                random: Text::new(u64::from(lane.id) + 1),
            }),
            Rate::PerSecond(per_second) => Source::open(Plan {
                arrivals: settings.arrivals,
                per_second: per_second * share,
                start_ns,
                end_ns: window.end_ns,
                linger_ns: settings.linger_ns,
                batch_records,
                request_records: match settings.batch_records {
                    // what goes beyond a batch waits for the next request
                    1 => 1,
                    _ => batch_records * (REQUEST_BYTES / settings.batch_bytes).max(1),
                },
                slots,
                key_slots,
                seed: u64::from(lane.id) + 1,
            }),
        }
    }
}
