//! `sweep`: the rate is raised until the p99.9 of acknowledgements passes a limit, or the broker takes less than is offered.

use super::Context;
use super::produce::produce;
use super::stage::Stage;
use crate::error::Error;
use crate::load::settings::{Rate, Settings};
use crate::report::model::Step;
use crate::report::units::whole;

const DEFAULT_LIMIT_MS: f64 = 20.0;
const DEFAULT_GROWTH: f64 = 1.5;
/// A broker that takes less than this of what is offered is past its knee, whatever the latency.
const KEPT_UP: f64 = 0.97;
/// No sweep has more steps: at the default growth this is a factor of 50,000.
const MAX_STEPS: usize = 28;

/// One step a rate; the last one is the first that was too much.
pub fn run(context: &mut Context<'_>, steps: &mut Vec<Step>) -> Result<(), Error> {
    let limit_us = context.flags.limit_ms.unwrap_or(DEFAULT_LIMIT_MS) * 1e3;
    let growth = context.flags.growth.unwrap_or(DEFAULT_GROWTH);
    let Rate::PerSecond(mut rate) = context.settings.rate else {
        return Err(Error::usage(
            "sweep raises the rate itself: --rate is where it starts, not max",
        ));
    };
    for _ in 0..MAX_STEPS {
        let mut settings = Settings {
            rate: Rate::PerSecond(rate),
            ..context.settings.clone()
        };
        let stage = Stage::open(context, &mut settings, false)?;
        let label = format!("{}/s", whole(rate));
        let step = produce(context, &stage, &settings, label, rate);
        stage.close();
        let step = step?;
        let good = is_good(&step, rate, limit_us);
        steps.push(step);
        if !good || context.console.interrupted() {
            break;
        }
        rate *= growth;
    }
    mark_knee(steps, limit_us);
    Ok(())
}

fn is_good(step: &Step, rate: f64, limit_us: f64) -> bool {
    let kept_up = step
        .produced
        .as_ref()
        .is_some_and(|flow| flow.records_per_s >= rate * KEPT_UP);
    let quick = step
        .latencies
        .get("ack")
        .is_some_and(|ack| ack.p999_us <= limit_us);
    kept_up && quick
}

/// The highest rate within the limit, noted on its step.
fn mark_knee(steps: &mut [Step], limit_us: f64) {
    let knee = steps
        .iter_mut()
        .rev()
        .find(|step| is_good(step, step.x, limit_us));
    if let Some(step) = knee {
        step.figures.insert("knee_per_s".into(), step.x);
    }
}
