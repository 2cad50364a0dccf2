//! `transactions`: producers, each with a transactional id of its own, that write to some partitions and commit, one transaction after
//! the other, a share of them aborted instead. Afterwards everything is read as a consumer of what is committed reads it: every
//! committed record must be there once, and no aborted one.

use std::sync::Arc;

use super::Context;
use super::measure::{Part, measure};
use super::stage::{Stage, talk};
use super::verify::verify;
use crate::client::admin::{bootstrap, resolve};
use crate::client::facts;
use crate::error::Error;
use crate::load::tally::Transactions;
use crate::load::transactor::{Plan, TransactorSpec};
use crate::report::model::{Event, Step};

/// The figure of producers that gave up before their time.
const GIVEN_UP: &str = "producers_that_gave_up";

/// One step.
pub fn run(context: &mut Context<'_>, steps: &mut Vec<Step>) -> Result<(), Error> {
    let mut settings = context.settings.clone();
    let flags = &context.flags.transactions;
    let (plan, is_read) = (flags.plan(settings.partitions)?, flags.txn_read);
    let mut stage = Stage::open(context, &mut settings, context.stated_partitions)?;
    stage.read_committed = true;
    let readers = match is_read {
        true => stage.readers(
            1,
            &stage.starts,
            None,
            Some(crate::load::tally::Stream::Consumed),
            true,
        ),
        false => Vec::new(),
    };
    let part = Part {
        transactors: transactors(context, &stage, settings.producers, &plan)?,
        ..Part::timed("transactions", f64::from(settings.producers), Vec::new(), readers)
    };
    let mut step = measure(context, &stage, &settings, part)?;
    state_durability(context);
    step.ledger = verify(context, &stage, &settings);
    let given_up = step.figures.get(GIVEN_UP).copied().unwrap_or(0.0);
    steps.push(step);
    stage.close();
    match given_up > 0.0 {
        true => Err(Error::failed(format!(
            "{given_up} of {} producers gave up",
            settings.producers
        ))),
        false => Ok(()),
    }
}

fn transactors(
    context: &Context<'_>,
    stage: &Stage,
    producers: u32,
    plan: &Plan,
) -> Result<Vec<TransactorSpec>, Error> {
    let first = context.target.bootstrap.split(',').next().unwrap_or_default();
    let bootstrap = resolve(first.trim())?;
    let topic = Arc::new(stage.topic.clone());
    let specs = (0..producers).map(|number| {
        let id = stage.lane_id();
        TransactorSpec {
            id,
            place: (number, producers),
            transactional_id: format!("{}-{id}", topic.name),
            bootstrap,
            topic: Arc::clone(&topic),
            plan: plan.clone(),
        }
    });
    Ok(specs.collect())
}

/// A commit is as durable as the topic that keeps transactions, whatever the topic of the records is.
fn state_durability(context: &mut Context<'_>) {
    let Some(facts) = context.target.facts.as_mut() else {
        return;
    };
    let list = context.target.bootstrap.clone();
    talk(async {
        if let Ok(mut connection) = bootstrap(&list).await {
            facts::add_transaction_state(facts, &mut connection).await;
        }
    });
}

/// Puts what was counted into the step.
pub fn account(step: &mut Step, counted: &Transactions) {
    let ended = (counted.committed + counted.aborted) as f64;
    if ended > 0.0 {
        let mut add = |name: &str, value: f64| step.figures.insert(name.into(), value);
        add("transactions_per_s", counted.committed as f64 / step.seconds);
        if counted.aborted > 0 {
            add("aborted_per_s", counted.aborted as f64 / step.seconds);
        }
        let retries: u64 = counted.retries.values().sum();
        add("retries_per_transaction", retries as f64 / ended);
        if let Some(broker) = &step.broker {
            let used_us = (broker.user_s + broker.system_s) * 1e6;
            add("broker_per_transaction_us", used_us / ended);
        }
        if let Some(machine) = &step.machine {
            let used_us = machine.less_client_s * 1e6;
            add("machine_less_client_per_transaction_us", used_us / ended);
        }
    }
    if counted.given_up > 0 {
        step.figures.insert(GIVEN_UP.into(), counted.given_up as f64);
    }
    let answers = counted.retries.iter();
    let answers =
        answers.map(|(name, count)| format!("{count} answers {name}, each asked again after a pause"));
    let unbegun = (counted.unbegun > 0).then(|| {
        let count = counted.unbegun;
        format!(
            "{count} transactions were due and not begun by the end; they count with the time they had waited"
        )
    });
    let at_s = step.seconds;
    let events = answers.chain(unbegun).map(|what| Event { at_s, what });
    step.events.extend(events);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::report::model::ProcessUse;

    #[test]
    fn what_was_counted_becomes_figures_by_second_and_by_transaction() {
        let mut step = Step {
            seconds: 2.0,
            broker: Some(ProcessUse {
                user_s: 0.003,
                system_s: 0.001,
                ..ProcessUse::default()
            }),
            ..Step::default()
        };
        let counted = Transactions {
            committed: 30,
            aborted: 10,
            retries: BTreeMap::from([("Produce X".into(), 15), ("EndTxn Y".into(), 5)]),
            ..Transactions::default()
        };
        account(&mut step, &counted);
        let figures: Vec<_> = step
            .figures
            .iter()
            .map(|(name, value)| (name.as_str(), *value))
            .collect();
        assert_eq!(
            figures,
            [
                ("aborted_per_s", 5.0),
                ("broker_per_transaction_us", 100.0),
                ("retries_per_transaction", 0.5),
                ("transactions_per_s", 15.0)
            ]
        );
        assert_eq!(
            step.events[1].what,
            "15 answers Produce X, each asked again after a pause"
        );
    }

    #[test]
    fn a_step_without_transactions_is_left_alone() {
        let mut step = Step::default();
        account(&mut step, &Transactions::default());
        assert_eq!(step, Step::default());
    }
}
