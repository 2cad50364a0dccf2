//! One measured load: a topic, lanes and readers on it, the processes watched meanwhile, and the step that comes of it.

use std::sync::Arc;

use super::Context;
use super::observer::{Beside, Observer, STUCK_S};
use super::stage::Stage;
use super::transactions;
use crate::error::Error;
use crate::load::lane::LaneSpec;
use crate::load::reader::ReaderSpec;
use crate::load::run::{Done, Work, run};
use crate::load::settings::{Rate, Settings};
use crate::load::tally::{Stream, Tally};
use crate::load::thread::{Live, Shared, keys_by_partition};
use crate::load::transactor::TransactorSpec;
use crate::report::figures::machine_use;
use crate::report::model::{Event, ProcessUse, Step};

/// How the event begins of work that was not brought to its end because nothing moved.
pub const GIVEN_UP: &str = "given up";

/// The person or program that started us.
pub trait Console {
    /// A load begins; with `seconds` it ends by the clock, with `records` by its work.
    fn begin(&mut self, what: &str, seconds: Option<f64>, records: Option<u64>);
    /// Called every 50 ms; `at_s` counts from the measurement's start.
    fn progress(&mut self, at_s: f64, live: &Live);
    /// The load is over.
    fn end(&mut self);
    /// Whether all should end early.
    fn interrupted(&self) -> bool;
    /// Whether a histogram a second is wanted.
    fn keeps_seconds(&self) -> bool;
    /// The histograms of a finished step.
    ///
    /// # Errors
    /// The `.hlog` cannot be written.
    fn seconds(&mut self, label: &str, tally: &Tally) -> Result<(), Error>;
}

/// What one measured load consists of.
pub struct Part {
    /// The step's label.
    pub label: String,
    /// The step's place on the x-axis.
    pub x: f64,
    /// Producers.
    pub lanes: Vec<LaneSpec>,
    /// Producers of transactions.
    pub transactors: Vec<TransactorSpec>,
    /// Consumers.
    pub readers: Vec<ReaderSpec>,
    /// Ends by the clock, after `--warmup-seconds` and `--seconds`.
    pub timed: bool,
    /// Records of each lane where the work ends it.
    pub records_per_lane: Option<u64>,
    /// Records that are expected to be read or written in all, for the progress bar.
    pub records: Option<u64>,
    /// Whether due times are kept until a record is read.
    pub end_to_end: bool,
    /// Whether an interrupt ends it.
    pub interruptible: bool,
    /// What runs beside it and is counted: each of its totals becomes a figure a second.
    pub beside: Option<Arc<dyn Beside>>,
}

impl Part {
    /// Producers and consumers for `--seconds`.
    pub fn timed(label: impl Into<String>, x: f64, lanes: Vec<LaneSpec>, readers: Vec<ReaderSpec>) -> Part {
        let end_to_end = readers.iter().any(|reader| reader.ledger);
        Part {
            label: label.into(),
            x,
            lanes,
            transactors: Vec::new(),
            readers,
            timed: true,
            records_per_lane: None,
            records: None,
            end_to_end,
            interruptible: true,
            beside: None,
        }
    }

    /// Work that ends when it is done: writing a fixed number of records, or reading up to known ends.
    pub fn whole(
        label: impl Into<String>,
        lanes: Vec<LaneSpec>,
        readers: Vec<ReaderSpec>,
        records: u64,
    ) -> Part {
        let records_per_lane = (!lanes.is_empty()).then(|| records.div_ceil(lanes.len() as u64));
        Part {
            label: label.into(),
            x: 0.0,
            lanes,
            transactors: Vec::new(),
            readers,
            timed: false,
            records_per_lane,
            records: Some(records),
            end_to_end: false,
            interruptible: true,
            beside: None,
        }
    }
}

/// Runs `part` and returns its step, without a ledger's verdict.
///
/// # Errors
/// The broker cannot be reached at the start.
pub fn measure(
    context: &mut Context<'_>,
    stage: &Stage,
    settings: &Settings,
    part: Part,
) -> Result<Step, Error> {
    let seconds = part.timed.then_some(settings.seconds + settings.warmup_seconds);
    context.console.begin(&part.label, seconds, part.records);
    let shared = Arc::new(Shared {
        settings: settings.clone(),
        topic: stage.topic.name.clone(),
        ledger: stage.ledger.clone(),
        end_to_end: part.end_to_end,
        give_up_ns: (settings.drain_seconds * 1e9) as u64,
        live: Arc::new(Live::default()),
        keys: keys_by_partition(settings),
    });
    let writes = !part.lanes.is_empty();
    let work = Work {
        lanes: part.lanes,
        transactors: part.transactors,
        records_per_lane: part.records_per_lane,
        readers: part.readers,
        timed: part.timed,
        keep_seconds: context.console.keeps_seconds(),
    };
    let mut observer = Observer::new(
        &mut *context.console,
        context.target.pid,
        context.target.probe(),
        part.timed.then_some(settings.seconds),
        part.interruptible,
    )
    .with_beside(part.beside);
    let done = run(Arc::clone(&shared), work, &mut observer);
    let seen = observer.finish();
    context.console.end();
    let Done { tally, seconds } = done?;
    context.console.seconds(&part.label, &tally)?;
    let mut step = step(&tally, settings, seconds, writes);
    (step.label, step.x) = (part.label, part.x);
    (step.client, step.broker, step.inside) = (seen.client, seen.broker, seen.inside);
    price(&mut step, seen.less_client_s);
    for (name, count) in seen.done_beside {
        step.figures
            .insert(format!("{name}_per_s"), count as f64 / seconds);
    }
    transactions::account(&mut step, &tally.transactions);
    if seen.stuck {
        let what = format!("{GIVEN_UP}: nothing moved for {STUCK_S} s");
        step.events.push(Event { at_s: seconds, what });
    }
    Ok(step)
}

fn step(tally: &Tally, settings: &Settings, seconds: f64, writes: bool) -> Step {
    let mut latencies = tally.latencies();
    let offered_per_s = match settings.rate {
        Rate::PerSecond(rate) if writes => Some(rate),
        _ => None,
    };
    if offered_per_s.is_none() {
        // without a schedule a record is due when it is sent: the two are one
        latencies.remove("ack_service");
    }
    Step {
        offered_per_s,
        seconds,
        produced: tally.stream(Stream::Produced, seconds),
        consumed: tally.stream(Stream::Consumed, seconds),
        cold: tally.stream(Stream::Cold, seconds),
        latencies,
        schedule: offered_per_s.map(|_| tally.schedule.clone()),
        events: tally.events.clone(),
        ..Step::default()
    }
}

/// Processor time by GiB of what the step is about: written, else read.
fn price(step: &mut Step, less_client_s: Option<f64>) {
    let flow = step
        .produced
        .as_ref()
        .filter(|flow| flow.bytes > 0)
        .or(step.consumed.as_ref());
    step.machine = less_client_s.map(|seconds| machine_use(seconds, flow));
    let gib = flow.map_or(0.0, |flow| flow.bytes as f64 / (1u64 << 30) as f64);
    let per_gib = |of: &ProcessUse| (gib > 0.0).then(|| (of.user_s + of.system_s) / gib);
    step.client.cpu_s_per_gib = per_gib(&step.client);
    if let Some(broker) = &mut step.broker {
        broker.cpu_s_per_gib = per_gib(broker);
    }
}
