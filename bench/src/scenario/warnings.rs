//! What a reader must know before believing a step's figures.

use crate::load::settings::{Rate, Settings};
use crate::report::model::Step;
use crate::report::units::whole;

/// More late records than this share are worth a word.
const LATE_SHARE: f64 = 0.01;
/// Less than this share of the offered rate is not keeping up.
const KEPT_UP: f64 = 0.97;
/// More of the machine's time than this, used by others than the broker's process and the client, is more than the kernel does for them.
const OTHERS_SHARE: f64 = 0.2;
/// A client thread busier than this is likely what limits.
const BUSY: f64 = 0.9;

/// The warnings of one step, each a sentence that begins with the step's label. A sink is never what limits.
pub fn warnings(step: &Step, settings: &Settings, is_sink: bool) -> Vec<String> {
    let mut all = Vec::new();
    client_bound(step, settings, &mut all);
    others(step, &mut all);
    rate_missed(step, is_sink || busy(step, settings) > BUSY, &mut all);
    ledger(step, &mut all);
    if let Some(flow) = &step.produced {
        for (name, records) in &flow.errors {
            all.push(format!(
                "{}: {} records failed: {name}",
                step.label,
                whole(*records as f64)
            ));
        }
    }
    all
}

/// The word by which a warning about the client is known.
const CLIENT_BOUND: &str = "client-bound: ";

/// Of warnings that only say again, for another step, that the client was what limited, the first, with how many more there are.
pub fn once(all: Vec<String>) -> Vec<String> {
    let is_bound = |warning: &&String| warning.contains(CLIENT_BOUND);
    let more = all.iter().filter(is_bound).count().saturating_sub(1);
    let mut said = false;
    let mut kept = Vec::new();
    for mut warning in all {
        if is_bound(&&warning) {
            if std::mem::replace(&mut said, true) {
                continue;
            }
            if more > 0 {
                warning += &format!("; and so in {more} more");
            }
        }
        kept.push(warning);
    }
    kept
}

fn client_bound(step: &Step, settings: &Settings, all: &mut Vec<String>) {
    let label = &step.label;
    if let Some(schedule) = step.schedule.as_ref().filter(|schedule| schedule.intended > 0) {
        let share = schedule.late_by_client as f64 / schedule.intended as f64;
        if share > LATE_SHARE {
            all.push(format!(
                "{label}: client-bound: {:.1} % of the records left more than 1 ms late because this client was; the figures are \
                 the client's as much as the broker's (more --threads, or a machine of its own?)",
                share * 100.0
            ));
        }
    }
    let busy = busy(step, settings);
    if settings.rate == Rate::Max && busy > BUSY {
        all.push(format!(
            "{label}: client-bound: the client's {} threads were busy {:.0} % of the time; the broker may be able to do more",
            settings.threads,
            busy.min(1.0) * 100.0
        ));
    }
}

/// Says so when others used the machine: then its processor time less the client's is not the broker's, and the latencies may be theirs.
fn others(step: &Step, all: &mut Vec<String>) {
    let (Some(machine), Some(broker)) = (&step.machine, &step.broker) else {
        return;
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let others_s = machine.less_client_s - broker.user_s - broker.system_s;
    let share = others_s / (cores * step.seconds).max(0.001);
    if share > OTHERS_SHARE {
        all.push(format!(
            "{}: the machine was not idle: neither the client nor the broker's process used {:.0} % of its processor time",
            step.label,
            share * 100.0
        ));
    }
}

/// How much of its threads' time the client used: 1 is all of it.
fn busy(step: &Step, settings: &Settings) -> f64 {
    (step.client.user_s + step.client.system_s) / step.seconds.max(0.001) / settings.threads as f64
}

fn rate_missed(step: &Step, by_client: bool, all: &mut Vec<String>) {
    let (Some(offered), Some(schedule)) = (step.offered_per_s, &step.schedule) else {
        return;
    };
    let achieved = step.produced.as_ref().map_or(0.0, |flow| flow.records_per_s);
    if achieved >= offered * KEPT_UP {
        return;
    }
    let whose = if by_client || schedule.late_by_client > schedule.late_by_broker {
        "the client could not send faster: client-bound"
    } else {
        "the broker did not keep up"
    };
    all.push(format!(
        "{}: {} records/s were asked for and {} achieved: {whose}; {} records were never sent",
        step.label,
        whole(offered),
        whole(achieved),
        whole(schedule.unsent as f64)
    ));
}

fn ledger(step: &Step, all: &mut Vec<String>) {
    let Some(ledger) = &step.ledger else { return };
    if !ledger.checked {
        let why = ledger.notes.first().cloned().unwrap_or_default();
        all.push(format!("{}: nothing was verified: {why}", step.label));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::{MachineUse, ProcessUse};

    #[test]
    fn others_on_the_machine_are_told_of() {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let step = |less_client_s: f64| Step {
            seconds: 10.0,
            machine: Some(MachineUse {
                less_client_s,
                ..MachineUse::default()
            }),
            broker: Some(ProcessUse {
                user_s: 2.0,
                ..ProcessUse::default()
            }),
            ..Step::default()
        };
        let mut all = Vec::new();
        others(&step(2.0 + cores), &mut all);
        assert!(all.is_empty(), "{all:?}");
        others(&step(2.0 + cores * 5.0), &mut all);
        assert!(all[0].contains("50 % of its processor time"), "{all:?}");
    }

    #[test]
    fn that_the_client_limits_is_said_once_with_how_often() {
        let all = [
            "a: client-bound: x",
            "b: lost",
            "c: client-bound: y",
            "d: client-bound: z",
        ];
        let said = once(all.map(str::to_owned).to_vec());
        assert_eq!(said, ["a: client-bound: x; and so in 2 more", "b: lost"]);
        assert_eq!(once(vec!["a: client-bound: x".into()]), ["a: client-bound: x"]);
    }
}
