//! `overload`: a modest client at a rate, first alone, then while many other connections offer a multiple of what the broker was measured to
//! take, then alone again. What the modest client feels of it, what the others are told, what memory the broker takes, and whether anything
//! that was acknowledged, to either, is missing afterwards.

mod flood;
mod plan;

use super::Context;
use super::measure::{Part, measure};
use super::stage::Stage;
use super::verify::verify;
use crate::error::Error;
use crate::load::settings::{Rate, Settings};
use crate::load::tally::Stream;
use crate::report::model::{LedgerResult, Step};
use flood::{Flood, account};
pub use plan::Plan;

/// The first step: what the others get through as fast as they go.
const TAKES: &str = "what it takes";

/// Four steps: what the broker takes, and the modest client before, during and after the flood.
pub fn run(context: &mut Context<'_>, steps: &mut Vec<Step>) -> Result<(), Error> {
    let plan = context.flags.overload.plan()?;
    let mut modest = context.settings.clone();
    let mut flooding = plan.flood(&modest);
    let stage = Stage::open(context, &mut modest, false)?;
    let crowd = Stage::open(context, &mut flooding, false)?;
    let taken_per_s = measure_capacity(context, &crowd, &flooding, &plan, steps)?;
    flooding.rate = Rate::PerSecond((taken_per_s * plan.factor).max(1.0));
    let short = Settings {
        seconds: plan.calm_seconds(modest.seconds),
        ..modest.clone()
    };
    calm(context, &stage, &short, ("before", 1.0), steps)?;
    if !context.console.interrupted() {
        during(context, (&stage, &modest), (&crowd, flooding), steps)?;
    }
    calm(context, &stage, &short, ("after", 3.0), steps)?;
    let both = [verify(context, &stage, &modest), verify(context, &crowd, &short)];
    if let Some(last) = steps.last_mut() {
        last.ledger = both.into_iter().flatten().reduce(together);
    }
    stage.close();
    crowd.close();
    Ok(())
}

/// Records a second that the broker acknowledges to all connections of the flood as fast as they go.
fn measure_capacity(
    context: &mut Context<'_>,
    crowd: &Stage,
    flooding: &Settings,
    plan: &Plan,
    steps: &mut Vec<Step>,
) -> Result<f64, Error> {
    let settings = Settings {
        rate: Rate::Max,
        seconds: plan.probe_seconds,
        ..flooding.clone()
    };
    let part = Part::timed(TAKES, 0.0, crowd.lanes(&settings), Vec::new());
    let step = measure(context, crowd, &settings, part)?;
    let taken_per_s = step.produced.as_ref().map_or(0.0, |flow| flow.records_per_s);
    steps.push(step);
    match taken_per_s > 0.0 {
        true => Ok(taken_per_s),
        false => Err(Error::failed(
            "the broker took nothing: there is no load to multiply",
        )),
    }
}

fn calm(
    context: &mut Context<'_>,
    stage: &Stage,
    settings: &Settings,
    (label, x): (&str, f64),
    steps: &mut Vec<Step>,
) -> Result<(), Error> {
    let part = modest_part(stage, settings, (label, x))?;
    let step = measure(context, stage, settings, part)?;
    steps.push(step);
    Ok(())
}

fn modest_part(stage: &Stage, settings: &Settings, (label, x): (&str, f64)) -> Result<Part, Error> {
    let ends = stage.ends()?;
    let readers = stage.readers(settings.consumers, &ends, None, Some(Stream::Consumed), true);
    Ok(Part::timed(label, x, stage.lanes(settings), readers))
}

/// The modest client beside the flood, which begins before its warm-up and ends after its last second.
fn during(
    context: &mut Context<'_>,
    (stage, modest): (&Stage, &Settings),
    (crowd, mut flooding): (&Stage, Settings),
    steps: &mut Vec<Step>,
) -> Result<(), Error> {
    flooding.warmup_seconds = 0.0;
    flooding.seconds = modest.warmup_seconds + modest.seconds + flood::LEAD_SECONDS;
    context.console.begin("the flood begins", None, None);
    let console = &context.console;
    let flood = Flood::begin(crowd, &flooding, || console.interrupted());
    context.console.end();
    let flood = flood?;
    let measured = modest_part(stage, modest, ("in the flood", 2.0)).and_then(|part| {
        let part = Part {
            beside: Some(flood.beside()),
            ..part
        };
        measure(context, stage, modest, part)
    });
    let ended = flood.end(measured.is_err() || context.console.interrupted());
    let mut step = measured?;
    account(&mut step, &ended?, &flooding);
    steps.push(step);
    Ok(())
}

/// One verdict of two.
fn together(a: LedgerResult, b: LedgerResult) -> LedgerResult {
    LedgerResult {
        passed: a.passed && b.passed,
        checked: a.checked && b.checked,
        acknowledged: a.acknowledged + b.acknowledged,
        verified: a.verified + b.verified,
        lost: a.lost + b.lost,
        duplicated: a.duplicated + b.duplicated,
        reordered: a.reordered + b.reordered,
        corrupt: a.corrupt + b.corrupt,
        aborted: a.aborted + b.aborted,
        overstayed: a.overstayed + b.overstayed,
        misplaced: a.misplaced + b.misplaced,
        unacknowledged_found: a.unacknowledged_found + b.unacknowledged_found,
        notes: a.notes.into_iter().chain(b.notes).collect(),
        held: a.held,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_either_lost_is_lost() {
        let fine = LedgerResult {
            passed: true,
            checked: true,
            acknowledged: 7,
            verified: 7,
            ..LedgerResult::default()
        };
        let bad = LedgerResult {
            passed: false,
            checked: true,
            acknowledged: 3,
            verified: 2,
            lost: 1,
            notes: vec!["one is missing".into()],
            ..LedgerResult::default()
        };
        let both = together(fine.clone(), bad);
        assert!(!both.passed && both.checked);
        assert_eq!((both.acknowledged, both.verified, both.lost), (10, 9, 1));
        assert_eq!(both.notes, ["one is missing"]);
        assert!(together(fine.clone(), fine).passed);
    }
}
