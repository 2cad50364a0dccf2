//! B against A: one row a figure and step, with the spread over rounds and of the ratios paired by round.

use super::figures::{Figure, figures};
use super::merged::{labels, spread};
use super::model::{Ratio, Report, Side, Step};

/// Fills [`Report::ratios`] when there are two sides; what only one of them has is left out.
pub fn fill(report: &mut Report) {
    report.ratios = match &report.sides[..] {
        [a, b] => rows(a, b),
        _ => Vec::new(),
    };
}

fn rows(a: &Side, b: &Side) -> Vec<Ratio> {
    let shared: Vec<_> = labels(a)
        .into_iter()
        .filter(|label| labels(b).contains(label))
        .collect();
    let one = shared.len() == 1;
    let of_step = |label: &&str| {
        let shown = if one { "" } else { *label };
        step_rows(&by_round(a, label), &by_round(b, label), shown)
    };
    shared.iter().flat_map(of_step).collect()
}

/// The figures worth a ratio: while records are written, a fetch mostly waits for the next of them.
fn compared(step: &Step) -> Vec<Figure> {
    let waits = step.latencies.contains_key("end_to_end");
    let mut all = figures(step);
    all.retain(|figure| !(waits && figure.key.starts_with("fetch")));
    all
}

/// A side's figures of one step, with the round.
type Rounds = Vec<(u32, Vec<Figure>)>;

fn by_round(side: &Side, label: &str) -> Rounds {
    let step_of = |steps: &[Step]| steps.iter().find(|step| step.label == label).map(compared);
    side.runs
        .iter()
        .filter_map(|run| Some((run.round, step_of(&run.steps)?)))
        .collect()
}

fn step_rows(a: &Rounds, b: &Rounds, step: &str) -> Vec<Ratio> {
    let mut seen: Vec<&Figure> = Vec::new();
    let shown = |figure: &&Figure| !figure.key.ends_with(".p90");
    for figure in a.iter().flat_map(|round| &round.1).filter(shown) {
        if !seen.iter().any(|other| other.key == figure.key) {
            seen.push(figure);
        }
    }
    seen.into_iter()
        .filter_map(|figure| row(figure, a, b, step))
        .collect()
}

fn row(figure: &Figure, a: &Rounds, b: &Rounds, step: &str) -> Option<Ratio> {
    let (of_a, of_b) = (values(a, &figure.key), values(b, &figure.key));
    let paired = of_a.iter().filter_map(|&(round, a)| {
        let b = of_b.iter().find(|other| other.0 == round)?.1;
        (a != 0.0).then_some(b / a)
    });
    let paired: Vec<f64> = paired.collect();
    let only = |values: &[(u32, f64)]| values.iter().map(|value| value.1).collect::<Vec<_>>();
    let (a, b) = (spread(&only(&of_a))?, spread(&only(&of_b))?);
    let mut ratio = spread(&paired)?;
    // the columns beside it must give it: a mean of ratios may point the other way
    ratio.median = b.median / a.median;
    ratio.min = ratio.min.min(ratio.median);
    ratio.max = ratio.max.max(ratio.median);
    Some(Ratio {
        figure: figure.name.clone(),
        step: step.to_owned(),
        unit: figure.unit.to_owned(),
        lower_is_better: figure.lower_is_better,
        a,
        b,
        ratio,
    })
}

fn values(rounds: &Rounds, key: &str) -> Vec<(u32, f64)> {
    let value_of = |figures: &[Figure]| figures.iter().find(|figure| figure.key == key).map(|f| f.value);
    rounds
        .iter()
        .filter_map(|(round, figures)| Some((*round, value_of(figures)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::report::model::{Flow, Run, Spread};
    use crate::report::sample;

    fn side(rates: &[(u32, &str, f64)]) -> Side {
        let run = |&(round, label, rate): &(u32, &str, f64)| {
            let flow = Flow {
                records_per_s: rate,
                ..Flow::default()
            };
            let figures = BTreeMap::from([("ready_ms".to_owned(), 0.0)]);
            let step = Step {
                label: label.to_owned(),
                produced: Some(flow),
                figures,
                ..Step::default()
            };
            Run {
                round,
                steps: vec![step],
            }
        };
        Side {
            runs: rates.iter().map(run).collect(),
            ..Side::default()
        }
    }

    fn filled(sides: Vec<Side>) -> Vec<Ratio> {
        let mut report = Report {
            sides,
            ratios: vec![Ratio::default()],
            ..Report::default()
        };
        fill(&mut report);
        report.ratios
    }

    #[test]
    fn ratios_are_paired_by_round() {
        let a = side(&[(1, "s", 100.0), (2, "s", 200.0)]);
        let b = side(&[(2, "s", 100.0), (1, "s", 300.0), (3, "s", 900.0)]);
        let rows = filled(vec![a, b]);
        let row = rows.iter().find(|row| row.figure == "records").expect("a row");
        assert_eq!(
            row.ratio,
            Spread {
                median: 2.0,
                min: 0.5,
                max: 3.0
            }
        );
        assert_eq!(
            row.a,
            Spread {
                median: 150.0,
                min: 100.0,
                max: 200.0
            }
        );
        assert_eq!(row.b.max, 900.0);
        assert!(!row.lower_is_better);
    }

    #[test]
    fn what_is_missing_or_zero_is_skipped() {
        let rows = filled(vec![
            side(&[(1, "s", 1.0), (1, "only a", 1.0)]),
            side(&[(1, "s", 2.0)]),
        ]);
        assert!(
            rows.iter()
                .all(|row| row.step.is_empty() && row.figure == "records"),
            "{rows:?}"
        );
        assert_eq!(rows.len(), 1);
        assert!(filled(vec![side(&[(1, "s", 1.0)]), side(&[(2, "s", 2.0)])]).is_empty());
        assert!(filled(vec![side(&[(1, "s", 1.0)])]).is_empty());
    }

    #[test]
    fn a_whole_report_has_every_kind_of_row() {
        let report = sample::versus();
        for name in [
            "records",
            "data",
            "ack p50",
            "ack p99.99",
            "end to end max",
            "broker CPU",
            "client CPU",
        ] {
            assert!(report.ratios.iter().any(|row| row.figure == name), "{name}");
        }
        assert!(!report.ratios.iter().any(|row| row.figure.contains("service")));
    }
}
