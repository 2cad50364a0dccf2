//! A scenario that measures its parts several times in turn: each turn is a round of the report, which puts those of one label together.

use crate::report::model::{Run, Step};

/// The steps of one run as rounds: the first of each label, then the second of each, and so on. `round` is the run's own number, of runs with as
/// many turns.
pub fn by_turn(steps: Vec<Step>, round: u32) -> Vec<Run> {
    let mut turns: Vec<Vec<Step>> = vec![Vec::new()];
    for step in steps {
        let is_new = |turn: &Vec<Step>| turn.iter().all(|other| other.label != step.label);
        match turns.iter_mut().find(|turn| is_new(turn)) {
            Some(turn) => turn.push(step),
            None => turns.push(vec![step]),
        }
    }
    let before = round.saturating_sub(1) * turns.len() as u32;
    let rounds = (before + 1..).zip(turns);
    rounds.map(|(round, steps)| Run { round, steps }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_in_turn_is_in_rounds() {
        let steps = |labels: &str| {
            let step = |label: char| Step {
                label: label.into(),
                ..Step::default()
            };
            labels.chars().map(step).collect()
        };
        for (labels, round, expected) in [
            ("abab", 1, vec![(1, "ab"), (2, "ab")]),
            ("abab", 3, vec![(5, "ab"), (6, "ab")]),
            ("aba", 1, vec![(1, "ab"), (2, "a")]),
            ("abc", 2, vec![(2, "abc")]),
            ("", 4, vec![(4, "")]),
        ] {
            let runs = by_turn(steps(labels), round);
            let found = runs.iter().map(|run| {
                let labels: String = run.steps.iter().map(|step| step.label.as_str()).collect();
                (run.round, labels)
            });
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(round, labels)| (round, labels.to_owned()))
                .collect();
            assert_eq!(found.collect::<Vec<_>>(), expected, "{labels} {round}");
        }
    }
}
