//! The inside of a broker that tells of it: quantiles of its stages, rounds put together, and how many calls a request took.

use std::collections::BTreeMap;

use super::figures::main_flow;
use super::model::{CoreUse, Inside, StageTime, Step};

/// A stage with its quantiles; `buckets` is the largest duration of each in nanoseconds -> count.
pub fn stage_time(name: &str, sum_ns: u64, buckets: BTreeMap<u64, u64>) -> StageTime {
    let count = buckets
        .values()
        .fold(0, |sum: u64, count| sum.saturating_add(*count));
    let quantile_us = |share: f64| {
        let wanted = ((count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0u64;
        let mut found = buckets.iter().skip_while(|(_, count)| {
            seen = seen.saturating_add(**count);
            seen < wanted
        });
        found
            .next()
            .map_or(0.0, |(largest_ns, _)| *largest_ns as f64 / 1e3)
    };
    StageTime {
        name: name.to_owned(),
        count,
        mean_us: if count > 0 {
            sum_ns as f64 / count as f64 / 1e3
        } else {
            0.0
        },
        p50_us: quantile_us(0.5),
        p99_us: quantile_us(0.99),
        p999_us: quantile_us(0.999),
        max_us: quantile_us(1.0),
        buckets: buckets
            .into_iter()
            .map(|(largest_ns, count)| [largest_ns, count])
            .collect(),
    }
}

/// Rounds as if they had been one long measurement. `None` of nothing.
pub fn merge(rounds: &[&Inside]) -> Option<Inside> {
    let first = *rounds.first()?;
    let mut counters: BTreeMap<String, u64> = BTreeMap::new();
    for (name, value) in rounds.iter().flat_map(|round| &round.counters) {
        let sum = counters.entry(name.clone()).or_default();
        *sum = sum.saturating_add(*value);
    }
    let core = |of: &CoreUse| {
        let same = rounds.iter().flat_map(|round| &round.cores);
        let same: Vec<&CoreUse> = same.filter(|core| core.core == of.core).collect();
        CoreUse {
            seconds: same.iter().map(|core| core.seconds).sum(),
            cpu_s: same.iter().map(|core| core.cpu_s).sum(),
            ..of.clone()
        }
    };
    let stage = |of: &StageTime| {
        let same = rounds.iter().flat_map(|round| &round.stages);
        let (mut sum_ns, mut buckets) = (0.0, BTreeMap::new());
        for stage in same.filter(|stage| stage.name == of.name) {
            sum_ns += stage.mean_us * 1e3 * stage.count as f64;
            for [largest_ns, count] in &stage.buckets {
                let sum: &mut u64 = buckets.entry(*largest_ns).or_default();
                *sum = sum.saturating_add(*count);
            }
        }
        stage_time(&of.name, sum_ns as u64, buckets)
    };
    Some(Inside {
        seconds: rounds.iter().map(|round| round.seconds).sum(),
        counters,
        cores: first.cores.iter().map(core).collect(),
        stages: first.stages.iter().map(stage).collect(),
    })
}

/// How often the broker did something for each request it took, and for each record of the step: name, a request, a record.
/// What there was none of is left out.
pub fn per_request(step: &Step) -> Vec<(&'static str, f64, Option<f64>)> {
    const SHOWN: [(&str, &str); 3] = [
        ("enters", "system calls (io_uring_enter)"),
        ("submissions", "operations"),
        ("journal_commits", "journal commits"),
    ];
    let Some(inside) = &step.inside else {
        return Vec::new();
    };
    let counter = |name: &str| inside.counters.get(name).copied().unwrap_or(0);
    let requests = counter("requests");
    let records = main_flow(step)
        .map(|flow| flow.records)
        .filter(|records| *records > 0);
    let shown = SHOWN
        .into_iter()
        .filter(|(name, _)| requests > 0 && counter(name) > 0);
    shown
        .map(|(name, shown)| {
            let count = counter(name) as f64;
            (
                shown,
                count / requests as f64,
                records.map(|records| count / records as f64),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::Flow;

    fn inside(buckets: &[(u64, u64)], enters: u64) -> Inside {
        let sum_ns = buckets.iter().map(|(ns, count)| ns * count).sum();
        Inside {
            seconds: 2.0,
            counters: BTreeMap::from([("enters".to_owned(), enters), ("requests".to_owned(), 10)]),
            cores: vec![CoreUse {
                core: 3,
                seconds: 2.0,
                cpu_s: 0.5,
                ..CoreUse::default()
            }],
            stages: vec![stage_time("commit", sum_ns, buckets.iter().copied().collect())],
        }
    }

    #[test]
    fn quantiles_are_the_largest_of_their_bucket() {
        let stage = stage_time(
            "x",
            100_000,
            BTreeMap::from([(1_000, 50), (2_000, 49), (9_000, 1)]),
        );
        let quantiles = (stage.p50_us, stage.p99_us, stage.p999_us, stage.max_us);
        assert_eq!(
            (stage.count, stage.mean_us, quantiles),
            (100, 1.0, (1.0, 2.0, 9.0, 9.0))
        );
        assert_eq!(stage_time("x", 0, BTreeMap::new()).max_us, 0.0);
    }

    #[test]
    fn rounds_are_added_up() {
        let (a, b) = (inside(&[(1_000, 9)], 30), inside(&[(1_000, 1), (4_000, 10)], 20));
        let both = merge(&[&a, &b]).expect("two rounds");
        assert_eq!((both.seconds, both.counters["enters"]), (4.0, 50));
        assert_eq!(
            (both.cores[0].core, both.cores[0].seconds, both.cores[0].cpu_s),
            (3, 4.0, 1.0)
        );
        let commit = &both.stages[0];
        assert_eq!(
            (commit.count, commit.p50_us, commit.p99_us, commit.mean_us),
            (20, 1.0, 4.0, 2.5)
        );
        assert_eq!(merge(&[]), None);
    }

    #[test]
    fn calls_are_told_by_request_and_record() {
        let flow = Flow {
            records: 100,
            ..Flow::default()
        };
        let mut step = Step {
            inside: Some(inside(&[], 25)),
            produced: Some(flow),
            ..Step::default()
        };
        assert_eq!(
            per_request(&step),
            [("system calls (io_uring_enter)", 2.5, Some(0.25))]
        );
        step.produced = None;
        assert_eq!(per_request(&step)[0].2, None);
        step.inside = None;
        assert!(per_request(&step).is_empty());
    }
}
