//! `partitions` and `connections`: one load, spread over more and more of them.

use super::Context;
use super::produce::produce;
use super::stage::Stage;
use crate::error::Error;
use crate::load::settings::Settings;
use crate::report::model::Step;
use crate::report::units::whole;

const PARTITIONS: [u64; 5] = [1, 10, 100, 1_000, 10_000];
const CONNECTIONS: [u64; 5] = [1, 10, 100, 1_000, 5_000];

/// One step a number of partitions.
pub fn partitions(context: &mut Context<'_>, steps: &mut Vec<Step>) -> Result<(), Error> {
    for count in counts(context, &PARTITIONS) {
        let consumers = context.settings.consumers.min(count as u32);
        let settings = Settings {
            partitions: count as i32,
            consumers,
            ..context.settings.clone()
        };
        step(context, settings, "partition", count, steps)?;
    }
    Ok(())
}

/// One step a number of connections, each a producer of its own.
pub fn connections(context: &mut Context<'_>, steps: &mut Vec<Step>) -> Result<(), Error> {
    for count in counts(context, &CONNECTIONS) {
        let settings = Settings {
            producers: count as u32,
            ..context.settings.clone()
        };
        step(context, settings, "connection", count, steps)?;
    }
    Ok(())
}

fn counts(context: &Context<'_>, default: &[u64]) -> Vec<u64> {
    context.flags.steps.clone().unwrap_or_else(|| default.to_vec())
}

fn step(
    context: &mut Context<'_>,
    mut settings: Settings,
    noun: &str,
    count: u64,
    steps: &mut Vec<Step>,
) -> Result<(), Error> {
    if context.console.interrupted() {
        return Ok(());
    }
    let stage = Stage::open(context, &mut settings, false)?;
    let plural = if count == 1 { "" } else { "s" };
    let label = format!("{} {noun}{plural}", whole(count as f64));
    let step = produce(context, &stage, &settings, label, count as f64);
    let removed_ms = stage.close();
    let mut step = step?;
    if let Some(removed_ms) = removed_ms {
        step.figures.insert("delete_topic_ms".into(), removed_ms);
    }
    steps.push(step);
    Ok(())
}
