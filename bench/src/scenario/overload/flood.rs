//! A flood under way: a load of its own, on threads of its own, with a topic and a ledger of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::load::run::{Done, Watch, Work, run};
use crate::load::settings::{Rate, Settings};
use crate::load::tally::Stream;
use crate::load::thread::{Live, Shared, keys_by_partition};
use crate::report::model::{Event, Step};
use crate::report::units::whole;
use crate::scenario::observer::{Beside, Totals};
use crate::scenario::stage::Stage;

/// The flood lasts so much longer than what is measured beside it, so that it is there from the first moment to the last.
pub const LEAD_SECONDS: f64 = 3.0;
/// How often the caller looks whether it has begun, and for how long.
const LOOK: Duration = Duration::from_millis(20);
const BEGIN_LIMIT: Duration = Duration::from_secs(60);

/// The flood's threads. Dropping it ends it.
pub struct Flood {
    stop: Arc<AtomicBool>,
    live: Arc<Live>,
    thread: Option<JoinHandle<Result<Done, Error>>>,
}

struct UntilStopped(Arc<AtomicBool>);

impl Watch for UntilStopped {
    fn look(&mut self, _: f64, _: &Shared) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

struct Counted(Arc<Live>);

impl Beside for Counted {
    fn totals(&self) -> Totals {
        let count = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        Totals::from([
            ("flood_acknowledged", count(&self.0.produced)),
            ("flood_refused", count(&self.0.failed)),
        ])
    }
}

impl Flood {
    /// Begins, and returns once all are connected and something of it is acknowledged, or an error says why not. `is_over` may end the waiting.
    ///
    /// # Errors
    /// The broker cannot be reached, or takes nothing for a minute.
    pub fn begin(stage: &Stage, settings: &Settings, is_over: impl Fn() -> bool) -> Result<Flood, Error> {
        let (stop, live) = (Arc::new(AtomicBool::new(false)), Arc::new(Live::default()));
        let shared = Arc::new(Shared {
            settings: settings.clone(),
            topic: stage.topic.name.clone(),
            ledger: stage.ledger.clone(),
            end_to_end: false,
            give_up_ns: (settings.drain_seconds * 1e9) as u64,
            live: Arc::clone(&live),
            keys: keys_by_partition(settings),
        });
        let work = Work {
            lanes: stage.lanes(settings),
            records_per_lane: None,
            transactors: Vec::new(),
            readers: Vec::new(),
            timed: true,
            keep_seconds: false,
        };
        let mut watch = UntilStopped(Arc::clone(&stop));
        let thread = std::thread::spawn(move || run(shared, work, &mut watch));
        let flood = Flood {
            stop,
            live,
            thread: Some(thread),
        };
        let begun = Instant::now();
        while flood.live.produced.load(Ordering::Relaxed) == 0 {
            if flood.thread.as_ref().is_none_or(JoinHandle::is_finished) || is_over() {
                flood.end(true)?;
                return Err(Error::failed("the flood was ended before it had begun"));
            }
            if begun.elapsed() > BEGIN_LIMIT {
                return Err(Error::failed("of the flood nothing was acknowledged in a minute"));
            }
            std::thread::sleep(LOOK);
        }
        Ok(flood)
    }

    /// What it gets through.
    pub fn beside(&self) -> Arc<dyn Beside> {
        Arc::new(Counted(Arc::clone(&self.live)))
    }

    /// Waits for its end, or ends it `now`.
    ///
    /// # Errors
    /// Why it had ended before.
    pub fn end(mut self, now: bool) -> Result<Done, Error> {
        self.stop.store(now, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome.map_err(|error| Error::failed(format!("the flood ended: {error}"))),
            _ => Err(Error::failed("the flood's thread panicked")),
        }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // What it says was asked for by nobody.
            let _ = thread.join();
        }
    }
}

/// Puts what became of the flood into the step that was measured beside it.
pub fn account(step: &mut Step, done: &Done, settings: &Settings) {
    let mut add = |name: &str, value: f64| step.figures.insert(name.into(), value);
    if let Rate::PerSecond(rate) = settings.rate {
        add("flood_offered_per_s", rate);
    }
    let errors = done
        .tally
        .stream(Stream::Produced, done.seconds)
        .map(|flow| flow.errors)
        .unwrap_or_default();
    add("flood_refused", errors.values().sum::<u64>() as f64);
    if let Some(latency) = done.tally.latencies().get("ack_service") {
        // Over all who were served, from a request's leaving to its answer.
        add("flood_answer_p50_ms", latency.p50_us / 1e3);
        add("flood_answer_p99_ms", latency.p99_us / 1e3);
        add("flood_answer_max_ms", latency.max_us / 1e3);
    }
    add("flood_unsent", done.tally.schedule.unsent as f64);
    if let Some(broker) = &step.broker {
        let peak = broker.samples.iter().map(|sample| sample[2]).fold(0.0, f64::max);
        step.figures.insert("broker_peak_mib".into(), peak);
    }
    let at_s = step.seconds;
    let said = errors
        .iter()
        .map(|(name, records)| format!("of the flood {} records: {name}", whole(*records as f64)));
    let lost = done
        .tally
        .events
        .iter()
        .map(|event| format!("flood: {}", event.what));
    let events = said.chain(lost).map(|what| Event { at_s, what });
    step.events.extend(events);
}
