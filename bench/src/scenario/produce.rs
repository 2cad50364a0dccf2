//! `produce` and `small`: write, then read back. `tail`: write and read at once.

use super::Context;
use super::measure::{Part, measure};
use super::stage::Stage;
use super::verify::verify;
use crate::error::Error;
use crate::load::settings::{Rate, Settings};
use crate::load::tally::Stream;
use crate::report::model::Step;
use crate::report::units::whole;

/// Writes for `--seconds`, reads back afterwards.
pub fn run(context: &mut Context<'_>, steps: &mut Vec<Step>) -> Result<(), Error> {
    let mut settings = context.settings.clone();
    let stage = Stage::open(context, &mut settings, context.stated_partitions)?;
    let step = produce(context, &stage, &settings, label(&settings), 0.0);
    steps.push(step?);
    stage.close();
    Ok(())
}

/// Writes and reads for `--seconds`.
pub fn tail(context: &mut Context<'_>, steps: &mut Vec<Step>) -> Result<(), Error> {
    let mut settings = context.settings.clone();
    let stage = Stage::open(context, &mut settings, context.stated_partitions)?;
    let readers = stage.readers(
        settings.consumers,
        &stage.starts,
        None,
        Some(Stream::Consumed),
        true,
    );
    let part = Part::timed(label(&settings), 0.0, stage.lanes(&settings), readers);
    let mut step = measure(context, &stage, &settings, part)?;
    step.ledger = verify(context, &stage, &settings);
    steps.push(step);
    stage.close();
    Ok(())
}

/// One produce step with its ledger.
pub fn produce(
    context: &mut Context<'_>,
    stage: &Stage,
    settings: &Settings,
    label: String,
    x: f64,
) -> Result<Step, Error> {
    let part = Part::timed(label, x, stage.lanes(settings), Vec::new());
    let mut step = measure(context, stage, settings, part)?;
    step.ledger = verify(context, stage, settings);
    if let Some(created_ms) = stage.created_ms {
        step.figures.insert("create_topic_ms".into(), created_ms);
    }
    Ok(step)
}

/// How tables call a load.
pub fn label(settings: &Settings) -> String {
    match settings.rate {
        Rate::Max => "as fast as it goes".into(),
        Rate::PerSecond(rate) => format!("{}/s", whole(rate)),
    }
}
