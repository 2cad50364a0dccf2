//! `day`: topics whose records end, by time, by size and by being overwritten, with a day's settings in the time of the run. Writers, readers at
//! random places and questions for times go on at once, and a model ([`crate::day`]) that knows which records may and must be there judges every
//! answer.
//!
//! Records have the real time, a little late and out of order, as the broker's clock is what their age is measured by: it is the settings
//! that are scaled.

mod asker;
mod course;
pub mod plan;
mod reader;
mod writer;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Context;
use super::stage::talk;
use crate::client::{admin, configs, facts};
use crate::day::{Log, RECORD_BYTES};
use crate::error::Error;
use crate::load::settings::{Rate, Settings};
use crate::load::thread::Live;
use crate::measure::process::{ProcessSampler, own};
use crate::report::figures::cpu_s_per_gib;
use crate::report::latency::latency;
use crate::report::model::{Event, Flow, Heat, Step};
use course::{Course, MAX_RECORDS, Peers, Played};
use plan::Broker;
use writer::Writer;

/// How often the terminal is looked at.
const LOOK: Duration = Duration::from_millis(50);
const MIB: f64 = (1u64 << 20) as f64;

/// One step. The topics are removed whatever happens.
pub fn run(context: &mut Context<'_>, steps: &mut Vec<Step>) -> Result<(), Error> {
    let settings = context.settings.clone();
    let slack_ms = context.flags.day.slack_ms();
    let name = format!(
        "ringlog-bench-{:08x}",
        getrandom::u32().unwrap_or_else(|_| std::process::id())
    );
    let mut made = Vec::new();
    let opened = talk(open(context, &settings, slack_ms, &name, &mut made));
    let outcome = opened.and_then(|(broker, topics)| {
        let played = talk(play(context, &settings, topics));
        let (mut step, failure) = played?;
        if let Some(why) = &broker.does_not_clean {
            step.events.push(not_cleaned(&step, why));
        }
        steps.push(step);
        failure.map_or(Ok(()), Err)
    });
    let removed = talk(remove(&context.target.bootstrap, &made));
    outcome.and(removed)
}

/// Makes the topics; `made` has their names also when one fails.
async fn open(
    context: &mut Context<'_>,
    settings: &Settings,
    slack_ms: i64,
    name: &str,
    made: &mut Vec<String>,
) -> Result<(Broker, Vec<Played>), Error> {
    let mut connection = admin::bootstrap(&context.target.bootstrap).await?;
    let told = configs::of_broker(&mut connection).await?;
    // before the first topic is made there is none to be asked of
    let probe = format!("{name}-probe");
    admin::create_topic(&mut connection, &probe, 1, &[]).await?;
    made.push(probe.clone());
    admin::wait_for_leaders(&mut connection, &probe, 1).await?;
    let of_topic = configs::of_topic(&mut connection, &probe).await?;
    let broker = Broker::from(&told, &of_topic, settings.seconds)?;
    let facts = facts::ask(&mut connection, &probe, -1).await;
    context.target.facts.get_or_insert(facts);
    let mut topics = Vec::new();
    for plan in plan::topics(&broker, settings.seconds, slack_ms) {
        let name = format!("{name}-{}", plan.name);
        admin::create_topic(&mut connection, &name, settings.partitions, &plan.configs).await?;
        made.push(name.clone());
        let topic = admin::wait_for_leaders(&mut connection, &name, settings.partitions as usize).await?;
        let log = |partition| RefCell::new(Log::new(format!("{}-{partition}", plan.name), plan.rules));
        topics.push(Played {
            logs: (0..settings.partitions).map(log).collect(),
            topic,
            plan,
        });
    }
    Ok((broker, topics))
}

async fn remove(bootstrap: &str, made: &[String]) -> Result<(), Error> {
    if made.is_empty() {
        return Ok(());
    }
    let mut connection = admin::bootstrap(bootstrap).await?;
    for name in made {
        admin::delete_topic(&mut connection, name).await?;
    }
    Ok(())
}

/// Writes, reads and asks for `--seconds`, reads everything once more, and concludes; also what ended it early.
async fn play(
    context: &mut Context<'_>,
    settings: &Settings,
    topics: Vec<Played>,
) -> Result<(Step, Option<Error>), Error> {
    let course = Rc::new(Course::new(topics));
    let rate = match settings.rate {
        Rate::PerSecond(rate) => rate,
        Rate::Max => return Err(Error::usage("day needs a --rate")),
    };
    let mut broker = context.target.pid.and_then(|pid| ProcessSampler::start(pid).ok());
    let mut client = own().ok();
    let writers = (0..settings.producers as usize)
        .map(|number| Writer::new(Rc::clone(&course), number, settings, rate))
        .map(|writer| tokio_uring::spawn(writer.run()));
    let writers: Vec<_> = writers.collect();
    let lookup_rate = context.flags.day.lookup_rate();
    let mut others = vec![tokio_uring::spawn(asker::ask(Rc::clone(&course), lookup_rate))];
    for topic in 0..course.topics.len() {
        others.push(tokio_uring::spawn(reader::tail(Rc::clone(&course), topic)));
    }
    for number in 0..u64::from(settings.consumers) {
        others.push(tokio_uring::spawn(reader::wander(
            Rc::clone(&course),
            1000 + number,
        )));
    }
    let is_cleaned = |place: &course::Place| course.topics[place.0].plan.rules.compaction.is_some();
    let cleaned = course.places().into_iter().filter(is_cleaned).collect();
    others.push(tokio_uring::spawn(reader::sweep(Rc::clone(&course), cleaned)));
    context.console.begin("day", Some(settings.seconds), None);
    let samplers = [&mut broker, &mut client];
    watch(context, &course, settings.seconds, samplers.into_iter().flatten()).await;
    let seconds = course.counts.begun.elapsed().as_secs_f64();
    course.writing_is_over.set(true);
    for task in writers {
        task.await.map_err(|_| Error::failed("a writer panicked"))?;
    }
    let (broker, client) = (broker.map(|it| it.finish(None)), client.map(|it| it.finish(None)));
    course.is_over.set(true);
    for task in others {
        task.await.map_err(|_| Error::failed("a reader panicked"))?;
    }
    if course.failure().is_none() {
        course.ended(read_all(&course).await);
    }
    context.console.end();
    let mut step = Step {
        offered_per_s: Some(rate),
        ..step(&course, seconds)
    };
    let bytes = step.produced.as_ref().map_or(0, |flow| flow.bytes);
    let priced = |used: Option<_>| {
        used.map(|mut used: crate::report::model::ProcessUse| {
            used.cpu_s_per_gib = cpu_s_per_gib(&used, bytes);
            used
        })
    };
    (step.broker, step.client) = (priced(broker), priced(client).unwrap_or_default());
    Ok((step, course.failure()))
}

/// Once more, when nothing is written any more: the newest value of each key, and all that is young.
async fn read_all(course: &Course) -> Result<(), Error> {
    let mut peers = Peers::default();
    for place in course.places() {
        reader::whole(course, &mut peers, place, 0).await?;
    }
    Ok(())
}

/// Until the time is over, the console says so, or something failed.
async fn watch<'a>(
    context: &mut Context<'_>,
    course: &Course,
    seconds: f64,
    samplers: impl Iterator<Item = &'a mut ProcessSampler>,
) {
    let mut samplers: Vec<_> = samplers.collect();
    samplers.iter_mut().for_each(|sampler| sampler.mark());
    let live = Live::default();
    let mut second = Instant::now();
    while !course.is_over.get() && !context.console.interrupted() {
        let at_s = course.counts.begun.elapsed().as_secs_f64();
        if at_s >= seconds {
            return;
        }
        live.produced
            .store(course.counts.records.get(), Ordering::Relaxed);
        live.consumed.store(course.counts.read.get(), Ordering::Relaxed);
        context.console.progress(at_s, &live);
        if second.elapsed() >= Duration::from_secs(1) {
            second += Duration::from_secs(1);
            course.ended(course.forget());
            samplers.iter_mut().for_each(|sampler| sampler.sample());
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn step(course: &Course, seconds: f64) -> Step {
    let counts = &course.counts;
    let flow = |records: u64, bytes: u64, requests: u64| Flow {
        records,
        bytes,
        requests,
        records_per_s: records as f64 / seconds,
        mib_per_s: bytes as f64 / MIB / seconds,
        ..Flow::default()
    };
    let (records, bytes) = (counts.records.get(), counts.bytes.get());
    let read = counts.read.get();
    // of one size, but for tombstones
    let read_bytes = read * bytes / records.max(1);
    let verdict = course.verdict.borrow();
    let mut step = Step {
        label: "day".into(),
        seconds,
        produced: Some(Flow {
            wire_bytes: counts.wire_bytes.get(),
            per_second: counts.per_second.borrow().clone(),
            ..flow(records, bytes, counts.requests.get())
        }),
        consumed: Some(flow(read, read_bytes, verdict.reads)),
        ledger: Some(verdict.ledger()),
        ..Step::default()
    };
    let heat = || Heat {
        interval_s: 1.0,
        ..Heat::default()
    };
    for (name, histogram) in [
        ("ack", &counts.ack),
        ("fetch", &counts.fetch),
        ("lookup", &counts.lookup),
    ] {
        step.latencies
            .insert(name.into(), latency(&histogram.borrow(), heat()));
    }
    let logs = || course.topics.iter().flat_map(|played| &played.logs);
    let sum = |of: fn(&Log) -> u64| logs().map(|log| of(&log.borrow())).sum::<u64>() as f64;
    let figures = [
        ("deleted_by_retention", sum(|log| log.start().max(0) as u64)),
        ("overwritten", sum(|log| log.overwritten().0)),
        ("overwritten_and_gone", sum(|log| log.overwritten().1)),
        ("largest_timestamp_not_told", verdict.untold as f64),
        ("lookups_per_s", verdict.lookups as f64 / seconds),
        (
            "model_mib",
            (counts.most_remembered.get() * RECORD_BYTES) as f64 / MIB,
        ),
        ("model_limit_mib", (MAX_RECORDS * RECORD_BYTES) as f64 / MIB),
    ];
    step.figures = figures.map(|(name, value)| (name.to_owned(), value)).into();
    step
}

/// Says that nothing was cleaned, or that something was though the broker says otherwise.
fn not_cleaned(step: &Step, why: &str) -> Event {
    let figure = |name: &str| step.figures.get(name).copied().unwrap_or(0.0);
    Event {
        at_s: step.seconds,
        what: format!(
            "this broker does not clean compacted topics ({why}): of {} overwritten records {} went, and none had to",
            figure("overwritten"),
            figure("overwritten_and_gone")
        ),
    }
}
