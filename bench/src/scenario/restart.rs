//! `restart`: write, kill -9 under load, start again, and see how long the first answer and the first acknowledgement take and how much
//! memory that needs; then read everything back. One step a log size, each on a fresh directory.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use kafka_protocol::messages::ProduceRequest;

use super::consume::fill;
use super::measure::{Part, measure};
use super::stage::{Stage, talk};
use super::verify::verify;
use super::{Context, Target};
use crate::client::connection::{Connection, check, decode};
use crate::error::Error;
use crate::launch::{Launch, Running, free_port, ringlog_command, start};
use crate::ledger::{Outcome, Sent};
use crate::load::batch::{Stamp, Template};
use crate::load::codec::Codec;
use crate::load::frame::{Frame, PRODUCE_VERSIONS};
use crate::load::settings::{Rate, Settings};
use crate::load::text::Text;
use crate::measure::ProcessSampler;
use crate::measure::disk::free_bytes;
use crate::report::model::Step;
use crate::report::units;

const DEFAULT_MIB: [u64; 3] = [0, 256, 1024];
/// The producer number of the first record after the restart; no lane has it.
const AFTERWARDS: u32 = u32::MAX;
/// A broker that acknowledges nothing for this long after it answered is not back.
const FIRST_ACK_LIMIT: Duration = Duration::from_secs(120);
/// The load that the broker is killed under, in records a second, and for how long: half of it before.
const LOAD_RATE: f64 = 10_000.0;
const LOAD_S: f64 = 1.0;
/// What a broker needs besides its log: a journal, segments made in advance.
const SPARE_MIB: u64 = 512;

/// One step a size.
pub fn run(context: &mut Context<'_>, steps: &mut Vec<Step>) -> Result<(), Error> {
    let command = match &context.flags.start {
        Some(command) => command.clone(),
        None => ringlog_command()?,
    };
    let sizes = context
        .flags
        .steps
        .clone()
        .unwrap_or_else(|| DEFAULT_MIB.to_vec());
    for mib in sizes {
        if !context.console.interrupted() {
            steps.push(step(context, &command, mib)?);
        }
    }
    Ok(())
}

fn step(context: &mut Context<'_>, command: &str, mib: u64) -> Result<Step, Error> {
    let directory = context.directory.join(format!("restart-{mib}-mib"));
    let cleared = |error: std::io::Error| Error::failed(format!("{}: {error}", directory.display()));
    if directory.exists() {
        fs::remove_dir_all(&directory).map_err(cleared)?;
    }
    check_space(&context.directory, mib)?;
    let launch = Launch {
        name: "broker".into(),
        command: command.to_owned(),
    };
    let mut broker = start(&launch, &directory, free_port()?)?;
    let facts = context.target.facts.take();
    context.target = Target {
        name: "broker".into(),
        bootstrap: broker.address().to_string(),
        pid: Some(broker.pid()),
        start_command: command.to_owned(),
        facts,
        keeps_records: true,
        stated_durability: context.target.stated_durability.clone(),
    };
    let mut settings = context.settings.clone();
    let stage = Stage::open(context, &mut settings, false)?;
    let records = fill(context, &stage, &settings, mib)?;
    match mib {
        0 => broker.kill()?,
        _ => kill_under_load(context, &stage, &settings, &mut broker)?,
    }
    let begun = Instant::now();
    broker.start_again()?;
    context.target.pid = Some(broker.pid());
    talk(first_acknowledgement(&stage, settings.acks, FIRST_ACK_LIMIT))?;
    let first_ack_ms = begun.elapsed().as_secs_f64() * 1e3;
    let used = ProcessSampler::start(broker.pid()).ok();
    let mut step = Step {
        broker: used.map(|sampler| sampler.finish(None)),
        label: units::bytes(mib << 20),
        x: (mib << 20) as f64,
        ..Step::default()
    };
    step.ledger = verify(context, &stage, &settings);
    step.figures.insert("ready_ms".into(), broker.ready_ms());
    step.figures.insert("first_ack_ms".into(), first_ack_ms);
    step.figures.insert("records_before".into(), records as f64);
    if let Some(used) = &step.broker {
        let peak_mib = used.peak_rss_bytes as f64 / f64::from(1 << 20);
        step.figures.insert("peak_memory_mib".into(), peak_mib);
    }
    broker.stop()?;
    fs::remove_dir_all(&directory).map_err(cleared)?;
    Ok(step)
}

/// Kills the broker while records are on their way to it: some are acknowledged, some are not.
fn kill_under_load(
    context: &mut Context<'_>,
    stage: &Stage,
    settings: &Settings,
    broker: &mut Running,
) -> Result<(), Error> {
    let settings = Settings {
        rate: Rate::PerSecond(LOAD_RATE),
        seconds: LOAD_S,
        warmup_seconds: 0.0,
        ..settings.clone()
    };
    let part = Part::timed("killing it under load", 0.0, stage.lanes(&settings), Vec::new());
    std::thread::scope(|scope| {
        let killer = scope.spawn(|| {
            std::thread::sleep(Duration::from_secs_f64(LOAD_S / 2.0));
            broker.kill()
        });
        let measured = measure(context, stage, &settings, part);
        let killed = killer
            .join()
            .map_err(|_| Error::failed("the thread that kills the broker panicked"))?;
        // that it ended badly is meant
        measured.map(|_| ()).and(killed)
    })
}

/// Refuses a log that the disk has no room for, before hours go into writing it.
fn check_space(directory: &Path, mib: u64) -> Result<(), Error> {
    let free_mib = free_bytes(directory)? >> 20;
    let needed_mib = mib.saturating_add(mib / 20).saturating_add(SPARE_MIB);
    match free_mib < needed_mib && mib > 0 {
        true => Err(Error::usage(format!(
            "a log of {mib} MiB needs {needed_mib} MiB in {}, which has {free_mib} left",
            directory.display()
        ))),
        false => Ok(()),
    }
}

/// Writes one record to partition 0 as soon as the broker takes it, and notes it in the ledger.
async fn first_acknowledgement(stage: &Stage, acks: i16, limit: Duration) -> Result<(), Error> {
    let begun = Instant::now();
    for attempt in 0.. {
        let silent = |_| {
            Err(Error::failed(
                "the broker does not answer the first record after the restart",
            ))
        };
        let write = tokio::time::timeout(limit, try_to_write(stage, acks, attempt));
        match write.await.unwrap_or_else(silent) {
            Ok(()) => return Ok(()),
            Err(error) if begun.elapsed() > limit => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
    Ok(())
}

async fn try_to_write(stage: &Stage, acks: i16, attempt: u64) -> Result<(), Error> {
    let at = stage
        .topic
        .partitions
        .first()
        .ok_or_else(|| Error::failed("a topic without partitions"))?;
    let mut connection = Connection::open(at.leader).await?;
    let version = connection.versions.choose(0, "Produce", PRODUCE_VERSIONS)?;
    let mut template = Template::new(Codec::None, 1 << 10, 1, 100, &[], &mut Text::new(attempt));
    let stamp = Stamp {
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        transactional: false,
        timestamp_ms: 1,
        lane: AFTERWARDS,
        batch: attempt,
    };
    let mut out = Vec::new();
    let acks = if acks == 0 { 1 } else { acks };
    let mut frame = Frame::begin(&mut out, version, 1, acks, &stage.topic.name, 1);
    let bytes = template.batch_bytes(1);
    let identity = frame.batch(at.partition, bytes, |out| {
        template.write(out, at.partition, 1, stamp)
    });
    frame.finish();
    let sent = Sent {
        lane: AFTERWARDS,
        batch: attempt,
        records: 1,
        times: None,
    };
    let ledger = stage.ledger.as_ref();
    let entry = ledger.and_then(|ledger| ledger.sent(at.partition, identity, sent));
    let broken = |error: std::io::Error| Error::failed(format!("{}: {error}", at.leader));
    connection.stream.write_all(out).await.0.map_err(broken)?;
    let answer = connection.reader.next().await.map_err(broken)?;
    let answer = answer.ok_or_else(|| Error::failed(format!("{} closed the connection", at.leader)))?;
    let answer = decode::<ProduceRequest>(answer, version, 1)?;
    for told in answer
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses)
    {
        check("the first record after the restart", told.error_code, None)?;
        if let (Some(ledger), Some(entry)) = (ledger, entry) {
            ledger.outcome(at.partition, entry, Outcome::Acknowledged(told.base_offset));
        }
    }
    Ok(())
}
