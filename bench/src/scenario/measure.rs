//! One measured load: a topic, lanes and readers on it, the processes watched meanwhile, and the step that comes of it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Context, Target};
use crate::client::{Topic, admin, facts};
use crate::error::Error;
use crate::ledger::Ledger;
use crate::load::lane::LaneSpec;
use crate::load::reader::{ReaderSpec, Span};
use crate::load::run::{Done, Watch, Work, run};
use crate::load::settings::{Rate, Settings, partition_of};
use crate::load::tally::{Stream, Tally};
use crate::load::thread::{Live, Shared};
use crate::measure::process::{ProcessSampler, own};
use crate::report::model::{ProcessUse, Step};

/// A run whose end is its work's is given up when nothing moves for this long.
const STUCK_S: f64 = 30.0;
/// What the leaders of a new topic may take to know of it.
const LEADERS_LIMIT: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_millis(20);

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

/// Runs a conversation with a broker on a small ring of its own.
pub fn talk<T>(conversation: impl Future<Output = T>) -> T {
    tokio_uring::start(conversation)
}

/// A topic under load.
pub struct Stage {
    /// The topic.
    pub topic: Topic,
    /// End of each partition when the stage was opened.
    pub starts: Vec<i64>,
    /// The batches sent.
    pub ledger: Option<Arc<Ledger>>,
    /// How long creating it took, until all leaders were known; `None` for a topic that was there.
    pub created_ms: Option<f64>,
}

impl Stage {
    /// Creates the topic (or takes the one named), and asks the broker what it is.
    ///
    /// # Errors
    /// Unreachable, refused; a named topic that does not exist or has another number of partitions than `--partitions` says.
    pub fn open(
        context: &mut Context<'_>,
        settings: &mut Settings,
        stated_partitions: bool,
    ) -> Result<Stage, Error> {
        let bootstrap = context.target.bootstrap.clone();
        let existing = context.topic.clone();
        let acks = settings.acks;
        let partitions = settings.partitions;
        let (topic, starts, created_ms, facts) = talk(async move {
            let mut connection = admin::bootstrap(&bootstrap).await?;
            let begun = Instant::now();
            let (topic, created_ms) = match &existing {
                None => {
                    let name = format!("ringlog-bench-{:08x}", random());
                    admin::create_topic(&mut connection, &name, partitions).await?;
                    let topic = admin::wait_for_leaders(&mut connection, &name, partitions as usize).await?;
                    (topic, Some(begun.elapsed().as_secs_f64() * 1e3))
                }
                Some(name) => {
                    let topic = admin::describe(&mut connection, name).await?.ok_or_else(|| {
                        Error::failed(format!(
                            "topic {name} does not exist; without --topic one is created and removed"
                        ))
                    })?;
                    (topic, None)
                }
            };
            let facts = facts::ask(&mut connection, &topic.name, acks).await;
            let starts = ends_once_led(&topic).await?;
            Ok::<_, Error>((topic, starts, created_ms, facts))
        })?;
        if stated_partitions && topic.partitions.len() != partitions as usize {
            let has = topic.partitions.len();
            return Err(Error::usage(format!(
                "topic {} has {has} partitions, --partitions says {partitions}",
                topic.name
            )));
        }
        settings.partitions = topic.partitions.len() as i32;
        context.target.facts.get_or_insert(facts);
        let ledger = context
            .target
            .keeps_records
            .then(|| Arc::new(Ledger::new(topic.partitions.len(), acks)));
        Ok(Stage {
            topic,
            starts,
            ledger,
            created_ms,
        })
    }

    /// Removes the topic if it is ours; returns how long the broker took. A broker that is gone keeps it.
    pub fn close(self, target: &Target) -> Option<f64> {
        self.created_ms?;
        let bootstrap = target.bootstrap.clone();
        let begun = Instant::now();
        let removed = talk(async move {
            let mut connection = admin::bootstrap(&bootstrap).await?;
            admin::delete_topic(&mut connection, &self.topic.name).await
        });
        removed.ok().map(|()| begun.elapsed().as_secs_f64() * 1e3)
    }

    /// One lane a producer and broker.
    pub fn lanes(&self, settings: &Settings) -> Vec<LaneSpec> {
        let mut has_key = vec![settings.keys == 0; settings.partitions as usize];
        for number in 0..settings.keys {
            has_key[partition_of(&Settings::key(number), settings.partitions) as usize] = true;
        }
        let leaders = self.topic.by_leader();
        let mut lanes = Vec::new();
        for _ in 0..settings.producers {
            for (leader, partitions) in &leaders {
                let partitions: Vec<i32> = partitions
                    .iter()
                    .copied()
                    .filter(|at| has_key[*at as usize])
                    .collect();
                if !partitions.is_empty() {
                    lanes.push(LaneSpec {
                        id: lanes.len() as u32,
                        leader: *leader,
                        partitions,
                    });
                }
            }
        }
        lanes
    }

    /// One reader a consumer and broker, over `[starts, ends)` of every partition.
    pub fn readers(
        &self,
        consumers: u32,
        starts: &[i64],
        ends: Option<&[i64]>,
        stream: Option<Stream>,
        ledger: bool,
    ) -> Vec<ReaderSpec> {
        let mut readers = Vec::new();
        for consumer in 0..consumers as usize {
            for (leader, partitions) in self.topic.by_leader() {
                let own = partitions
                    .into_iter()
                    .filter(|at| *at as usize % consumers as usize == consumer);
                let spans: Vec<Span> = own
                    .map(|partition| Span {
                        partition,
                        next: starts[partition as usize],
                        end: ends.map_or(i64::MAX, |ends| ends[partition as usize]),
                    })
                    .filter(|span| span.next < span.end)
                    .collect();
                if !spans.is_empty() {
                    readers.push(ReaderSpec {
                        leader,
                        spans,
                        stream,
                        ledger,
                    });
                }
            }
        }
        readers
    }

    /// The end of each partition now.
    ///
    /// # Errors
    /// The broker's.
    pub fn ends(&self) -> Result<Vec<i64>, Error> {
        talk(ends(&self.topic))
    }
}

/// The ends of a topic that may be so new that its leaders do not know of it yet.
async fn ends_once_led(topic: &Topic) -> Result<Vec<i64>, Error> {
    let begun = Instant::now();
    loop {
        match ends(topic).await {
            Err(_) if begun.elapsed() < LEADERS_LIMIT => tokio::time::sleep(RETRY).await,
            answer => return answer,
        }
    }
}

async fn ends(topic: &Topic) -> Result<Vec<i64>, Error> {
    let mut all = vec![0; topic.partitions.len()];
    for (leader, partitions) in topic.by_leader() {
        let mut connection = crate::client::Connection::open(leader).await?;
        let found = admin::end_offsets(&mut connection, &topic.name, &partitions).await?;
        for (partition, end) in partitions.iter().zip(found) {
            all[*partition as usize] = end;
        }
    }
    Ok(all)
}

fn random() -> u32 {
    // a name that is taken is refused by the broker, so a failed source of randomness does no harm
    getrandom::u32().unwrap_or_else(|_| std::process::id())
}

/// What one measured load consists of.
pub struct Part {
    /// The step's label.
    pub label: String,
    /// The step's place on the x-axis.
    pub x: f64,
    /// Producers.
    pub lanes: Vec<LaneSpec>,
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
}

impl Part {
    /// Producers and consumers for `--seconds`.
    pub fn timed(label: impl Into<String>, x: f64, lanes: Vec<LaneSpec>, readers: Vec<ReaderSpec>) -> Part {
        let end_to_end = readers.iter().any(|reader| reader.ledger);
        Part {
            label: label.into(),
            x,
            lanes,
            readers,
            timed: true,
            records_per_lane: None,
            records: None,
            end_to_end,
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
            readers,
            timed: false,
            records_per_lane,
            records: Some(records),
            end_to_end: false,
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
    });
    let writes = !part.lanes.is_empty();
    let work = Work {
        lanes: part.lanes,
        records_per_lane: part.records_per_lane,
        readers: part.readers,
        timed: part.timed,
        keep_seconds: context.console.keeps_seconds(),
    };
    let mut observer = Observer::new(
        &mut *context.console,
        context.target.pid,
        part.timed.then_some(settings.seconds),
    );
    let done = run(Arc::clone(&shared), work, &mut observer);
    let (client, broker, stuck) = observer.finish();
    context.console.end();
    let Done { tally, seconds } = done?;
    context.console.seconds(&part.label, &tally)?;
    let mut step = step(&tally, settings, seconds, writes);
    (step.label, step.x) = (part.label, part.x);
    (step.client, step.broker) = (client, broker);
    price(&mut step);
    if stuck {
        let what = format!("given up: nothing moved for {STUCK_S} s");
        step.events
            .push(crate::report::model::Event { at_s: seconds, what });
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
fn price(step: &mut Step) {
    let flow = step
        .produced
        .as_ref()
        .filter(|flow| flow.bytes > 0)
        .or(step.consumed.as_ref());
    let gib = flow.map_or(0.0, |flow| flow.bytes as f64 / (1u64 << 30) as f64);
    let per_gib = |of: &ProcessUse| (gib > 0.0).then(|| (of.user_s + of.system_s) / gib);
    step.client.cpu_s_per_gib = per_gib(&step.client);
    if let Some(broker) = &mut step.broker {
        broker.cpu_s_per_gib = per_gib(broker);
    }
}

/// Samples the two processes and shows the progress.
struct Observer<'a> {
    console: &'a mut dyn Console,
    client: Option<ProcessSampler>,
    broker: Option<ProcessSampler>,
    client_use: Option<ProcessUse>,
    broker_use: Option<ProcessUse>,
    /// Length of the measurement where the clock ends it.
    seconds: Option<f64>,
    marked: bool,
    next_sample_s: f64,
    moved: (u64, f64),
    stuck: bool,
}

impl<'a> Observer<'a> {
    fn new(console: &'a mut dyn Console, pid: Option<u32>, seconds: Option<f64>) -> Observer<'a> {
        Observer {
            console,
            client: own().ok(),
            broker: pid.and_then(|pid| ProcessSampler::start(pid).ok()),
            client_use: None,
            broker_use: None,
            seconds,
            marked: false,
            next_sample_s: 1.0,
            moved: (0, 0.0),
            stuck: false,
        }
    }

    fn samplers(&mut self) -> impl Iterator<Item = &mut ProcessSampler> {
        self.client.iter_mut().chain(self.broker.iter_mut())
    }

    fn close(&mut self) {
        if let Some(sampler) = self.client.take() {
            self.client_use = Some(sampler.finish(None));
        }
        if let Some(sampler) = self.broker.take() {
            self.broker_use = Some(sampler.finish(None));
        }
    }

    fn finish(mut self) -> (ProcessUse, Option<ProcessUse>, bool) {
        self.close();
        (self.client_use.unwrap_or_default(), self.broker_use, self.stuck)
    }
}

impl Watch for Observer<'_> {
    fn look(&mut self, at_s: f64, shared: &Shared) -> bool {
        if !self.marked && at_s >= 0.0 {
            self.marked = true;
            self.samplers().for_each(ProcessSampler::mark);
        }
        if self.marked && at_s >= self.next_sample_s {
            self.next_sample_s += 1.0;
            self.samplers().for_each(ProcessSampler::sample);
        }
        if self.seconds.is_some_and(|seconds| at_s >= seconds) {
            self.close();
        }
        self.console.progress(at_s, &shared.live);
        let live = &shared.live;
        let moved = live.produced.load(Ordering::Relaxed) + live.consumed.load(Ordering::Relaxed);
        if moved != self.moved.0 {
            self.moved = (moved, at_s);
        }
        self.stuck |= self.seconds.is_none() && at_s - self.moved.1 > STUCK_S;
        self.stuck || self.console.interrupted()
    }
}
