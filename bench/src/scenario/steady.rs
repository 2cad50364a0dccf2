//! `steady`: for minutes, one load with tailing consumers, a cold one and old records being deleted, on a log that keeps its size;
//! on request beside busy neighbours. What was acknowledged must have been read by the tailing consumers: later it may be deleted.

use super::Context;
use super::consume::fill;
use super::measure::{Part, measure};
use super::stage::Stage;
use super::trim::{DELETE_RECORDS, Trim};
use super::verify::verify;
use crate::error::Error;
use crate::launch::Neighbours;
use crate::load::reader::{ReaderSpec, Repeat};
use crate::load::settings::Settings;
use crate::load::tally::Stream;
use crate::report::model::{Event, Step};

/// MiB kept where `--keep-mib` says nothing.
const DEFAULT_KEEP_MIB: u64 = 4096;
const MIB: f64 = (1u64 << 20) as f64;

/// One long step.
pub fn run(context: &mut Context<'_>, steps: &mut Vec<Step>) -> Result<(), Error> {
    let mut settings = context.settings.clone();
    let stage = Stage::open(context, &mut settings, context.stated_partitions)?;
    let keep_mib = context.flags.keep_mib.unwrap_or(DEFAULT_KEEP_MIB);
    if keep_mib > 0 && !stage.serves(DELETE_RECORDS)? {
        return Err(Error::failed(
            "the broker does not serve DeleteRecords: with --keep-mib 0 nothing is deleted",
        ));
    }
    let begun_with = context.flags.fill_mib.unwrap_or(keep_mib);
    if begun_with > 0 {
        fill(context, &stage, &settings, begun_with)?;
        // later it may be deleted
        if let Some(failed) = verify(context, &stage, &settings).filter(|ledger| !ledger.passed) {
            return Err(Error::failed(format!(
                "the log it begins with could not be read back: {}",
                failed.notes.join("; ")
            )));
        }
    }
    let mut step = under_load(context, &stage, &settings, keep_mib)?;
    // all that was acknowledged had until now to be read by the tailing consumers
    step.ledger = stage.ledger.as_ref().map(|ledger| ledger.conclude());
    steps.push(step);
    stage.close();
    Ok(())
}

fn under_load(
    context: &mut Context<'_>,
    stage: &Stage,
    settings: &Settings,
    keep_mib: u64,
) -> Result<Step, Error> {
    let now = stage.ends()?;
    let mut readers = stage.readers(settings.consumers, &now, None, Some(Stream::Consumed), true);
    let cold = stage.readers(1, &stage.starts, None, Some(Stream::Cold), false);
    readers.extend(cold.into_iter().map(|reader| ReaderSpec {
        repeat: Repeat::OldHalf,
        max_bytes_per_s: context.flags.cold_bytes_per_s(),
        // the first range is asked for like all others
        spans: reader.spans.iter().map(|span| span.ended_at(span.next)).collect(),
        ..reader
    }));
    let neighbours = context.flags.neighbours.unwrap_or(0);
    let _neighbours = Neighbours::start(neighbours)?;
    let kept_records = (keep_mib << 20) / settings.record_bytes.max(1) as u64 / settings.partitions as u64;
    let trim = (keep_mib > 0).then(|| Trim::start(&stage.topic, kept_records as i64));
    let part = Part::timed("steady", 0.0, stage.lanes(settings), readers);
    let measured = measure(context, stage, settings, part);
    let trimmed = trim.map(Trim::finish);
    let mut step = measured?;
    if neighbours > 0 {
        // their time is not the broker's
        step.machine = None;
    }
    if let Some(flow) = &step.cold {
        step.figures.insert("cold_mib".into(), flow.bytes as f64 / MIB);
    }
    if let Some(trimmed) = trimmed {
        let bytes = trimmed.records as f64 * settings.record_bytes as f64;
        step.figures.insert("deleted_mib".into(), bytes / MIB);
        let longest_ms = trimmed.longest.as_secs_f64() * 1e3;
        step.figures.insert("longest_deletion_ms".into(), longest_ms);
        step.events.extend(trimmed.refused.map(|what| Event {
            at_s: step.seconds,
            what: format!("deleting old records: {what}"),
        }));
    }
    Ok(step)
}
