//! `consume`: catch up from the start of a topic. Also the writing of a fixed amount, which `mixed` and `restart` need too.

use super::Context;
use super::measure::{Part, measure};
use super::stage::Stage;
use super::verify::verify;
use crate::error::Error;
use crate::load::settings::{Rate, Settings};
use crate::load::tally::Stream;
use crate::report::model::Step;

/// MiB written where `--fill-mib` says nothing.
pub const DEFAULT_FILL_MIB: u64 = 1024;
/// A fill that got less than this through is no base for a measurement.
const ENOUGH: f64 = 0.95;

/// Writes `--fill-mib`, then reads all of it.
pub fn run(context: &mut Context<'_>, steps: &mut Vec<Step>) -> Result<(), Error> {
    let mut settings = context.settings.clone();
    let stage = Stage::open(context, &mut settings, false)?;
    let mib = context.flags.fill_mib.unwrap_or(DEFAULT_FILL_MIB);
    let records = fill(context, &stage, &settings, mib)?;
    let ends = stage.ends()?;
    let readers = stage.readers(
        settings.consumers,
        &stage.starts,
        Some(&ends),
        Some(Stream::Consumed),
        true,
    );
    let part = Part::whole("catching up", Vec::new(), readers, records);
    let mut step = measure(context, &stage, &settings, part)?;
    step.ledger = verify(context, &stage, &settings);
    steps.push(step);
    stage.close();
    Ok(())
}

/// Writes `mib` MiB of records as fast as it goes; returns how many.
///
/// # Errors
/// The broker took less than 95 % of them.
pub fn fill(context: &mut Context<'_>, stage: &Stage, settings: &Settings, mib: u64) -> Result<u64, Error> {
    let records = (mib << 20) / settings.record_bytes.max(1) as u64;
    if records == 0 {
        return Ok(0);
    }
    let settings = Settings {
        rate: Rate::Max,
        ..settings.clone()
    };
    let part = Part::whole("writing", stage.lanes(&settings), Vec::new(), records);
    let step = measure(context, stage, &settings, part)?;
    if context.console.interrupted() {
        return Err(Error::failed("interrupted before there was enough to read"));
    }
    let written = step.produced.unwrap_or_default();
    if (written.records as f64) < records as f64 * ENOUGH {
        let errors: Vec<String> = written
            .errors
            .iter()
            .map(|(name, count)| format!("{name}: {count}"))
            .collect();
        let got = written.records;
        return Err(Error::failed(format!(
            "only {got} of {records} records could be written ({})",
            errors.join(", ")
        )));
    }
    Ok(written.records)
}
