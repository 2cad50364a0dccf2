//! `storm`: producers at a rate, first alone, then while the groups of a broker are never at rest: one large group and many small
//! ones, of which a share of the members leaves after each rebalance and joins again, so that all others have to. The storm has a
//! rate of its own, in requests a second: what is measured is what the producers feel of it.

mod classic;
mod consumer;
mod counts;
mod gale;
mod group;
mod plan;

use super::Context;
use super::measure::{Part, measure};
use super::stage::Stage;
use super::verify::verify;
use crate::client::admin::resolve;
use crate::error::Error;
use crate::report::model::Step;
use gale::Gale;
pub use plan::{Plan, Protocol};

/// Two steps, alike but for the storm.
pub fn run(context: &mut Context<'_>, steps: &mut Vec<Step>) -> Result<(), Error> {
    let plan = context.flags.storm.plan()?;
    let mut settings = context.settings.clone();
    let stage = Stage::open(context, &mut settings, context.stated_partitions)?;
    let alone = Part::timed("alone", 0.0, stage.lanes(&settings), Vec::new());
    let mut step = measure(context, &stage, &settings, alone)?;
    add_cores(&mut step);
    steps.push(step);
    if !context.console.interrupted() {
        let gale = begin(context, &stage, &plan)?;
        let part = Part {
            beside: Some(gale.beside()),
            ..Part::timed("in the storm", 1.0, stage.lanes(&settings), Vec::new())
        };
        let measured = measure(context, &stage, &settings, part);
        let ended = gale.end();
        let mut step = measured?;
        add_cores(&mut step);
        step.ledger = verify(context, &stage, &settings);
        steps.push(step);
        ended?;
    }
    stage.close();
    Ok(())
}

/// Returns once every group has been together.
fn begin(context: &mut Context<'_>, stage: &Stage, plan: &Plan) -> Result<Gale, Error> {
    context.console.begin("the groups come together", None, None);
    let first = context.target.bootstrap.split(',').next().unwrap_or_default();
    let console = &context.console;
    let gale = resolve(first.trim())
        .and_then(|bootstrap| Gale::begin(plan.clone(), bootstrap, &stage.topic, || console.interrupted()));
    context.console.end();
    gale
}

/// How busy the two sides of the conversation were: on one machine they share its cores.
fn add_cores(step: &mut Step) {
    let seconds = step.seconds.max(0.001);
    let mut add = |name: &str, used: Option<f64>| {
        if let Some(used_s) = used {
            step.figures.insert(name.into(), used_s / seconds);
        }
    };
    add("client_cores", Some(step.client.user_s + step.client.system_s));
    let broker = step.broker.as_ref();
    add(
        "broker_cores",
        broker.map(|broker| broker.user_s + broker.system_s),
    );
}
