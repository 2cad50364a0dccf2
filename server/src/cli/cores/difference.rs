//! What a core did between two looks. Pure.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::cli::output::{Fields, fields};
use crate::wire::describe_cores::{CoreDescription, CoreStage, PartitionLoad};

/// One core between two looks; since its start where there was only one.
#[derive(Clone, Debug)]
pub(super) struct Difference {
    /// Its number.
    pub core: i32,
    /// Length of the time between them.
    pub seconds: f64,
    /// Share of it that the core's thread spent on a processor.
    pub busy: f64,
    /// Connections now.
    pub connections: i32,
    /// Partitions now.
    pub partitions: i32,
    /// By how much each counter grew.
    counters: BTreeMap<String, u64>,
    /// The stages in the broker's order.
    pub stages: Vec<Stage>,
    /// The partitions with most bytes, most first.
    pub busiest: Vec<Partition>,
}

/// A stage's durations between two looks.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    /// What the broker calls it.
    pub name: String,
    sum_ns: u64,
    /// Largest duration in nanoseconds and count of each bucket, ascending.
    buckets: Vec<(u64, u64)>,
}

/// A partition between two looks.
#[derive(Clone, Debug)]
pub(super) struct Partition {
    /// Its topic's name.
    pub topic: String,
    /// Its index.
    pub index: i32,
    /// Next offset to be given out.
    pub log_end: i64,
    /// Bytes in its segments.
    pub size_bytes: i64,
    /// Batches appended a second.
    pub batches_in_per_s: f64,
    /// Bytes appended a second.
    pub bytes_in_per_s: f64,
    /// Bytes read a second.
    pub bytes_out_per_s: f64,
}

impl Difference {
    /// From the earlier look, if there was one, to the later; with the `most` busiest partitions.
    pub(super) fn between(
        before: Option<&CoreDescription>,
        after: &CoreDescription,
        most: usize,
    ) -> Difference {
        // A broker that was started anew counts from the beginning.
        let nothing = CoreDescription::default();
        let before = before
            .filter(|old| old.uptime_ns <= after.uptime_ns)
            .unwrap_or(&nothing);
        let seconds = grown(before.uptime_ns, after.uptime_ns) as f64 / 1e9;
        Difference {
            core: after.core,
            seconds,
            busy: per(grown(before.cpu_ns, after.cpu_ns) as f64 / 1e9, seconds),
            connections: after.connections,
            partitions: after.partitions,
            counters: counters(before, after),
            stages: after
                .stages
                .iter()
                .map(|stage| Stage::between(before, stage))
                .collect(),
            busiest: busiest(before, after, seconds, most),
        }
    }

    /// By how much a counter grew; 0 where the broker has none of that name.
    pub(super) fn counter(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or(0)
    }

    /// The same, a second.
    pub(super) fn rate(&self, name: &str) -> f64 {
        per(self.counter(name) as f64, self.seconds)
    }

    /// A counter's growth for each request that was answered meanwhile, if there was one.
    pub(super) fn per_request(&self, name: &str) -> Option<f64> {
        let requests = self.counter("requests");
        (requests > 0).then(|| self.counter(name) as f64 / requests as f64)
    }

    fn as_json(&self) -> Fields {
        let stages = self.stages.iter().filter(|stage| stage.count() > 0);
        let stages: Fields = stages
            .map(|stage| (stage.name.clone(), Value::from(stage.as_json())))
            .collect();
        let partitions: Vec<Value> = self
            .busiest
            .iter()
            .map(|one| Value::from(one.as_json()))
            .collect();
        let counters: Fields = self
            .counters
            .iter()
            .map(|(name, value)| (name.clone(), Value::from(*value)))
            .collect();
        fields! {
            core: self.core, seconds: self.seconds, busy: self.busy, connections: self.connections,
            partitions: self.partitions, counters: counters, stages: stages, busiest: partitions,
        }
    }
}

/// All cores as one object.
pub(super) fn as_json(cores: &[Difference]) -> Fields {
    let cores: Vec<Value> = cores.iter().map(|core| Value::from(core.as_json())).collect();
    fields! { cores: cores }
}

impl Stage {
    fn between(before: &CoreDescription, after: &CoreStage) -> Stage {
        let old = before.stages.iter().find(|stage| stage.name == after.name);
        let old_counts: HashMap<i64, i64> = old
            .into_iter()
            .flat_map(|stage| {
                stage
                    .buckets
                    .iter()
                    .map(|bucket| (bucket.largest_ns, bucket.count))
            })
            .collect();
        let grew = |largest_ns: i64, count| grown(old_counts.get(&largest_ns).copied().unwrap_or(0), count);
        let buckets = after.buckets.iter();
        let buckets = buckets.map(|bucket| {
            (
                bucket.largest_ns.max(0) as u64,
                grew(bucket.largest_ns, bucket.count),
            )
        });
        Stage {
            name: after.name.clone(),
            sum_ns: grown(old.map_or(0, |stage| stage.sum_ns), after.sum_ns),
            buckets: buckets.filter(|(_, count)| *count > 0).collect(),
        }
    }

    /// How many durations there are.
    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// Their mean in microseconds.
    pub(super) fn mean_us(&self) -> f64 {
        per(self.sum_ns as f64 / 1e3, self.count() as f64)
    }

    /// The duration that this share of them (0 to 1) does not exceed, in microseconds; 0 of none.
    pub(super) fn quantile_us(&self, share: f64) -> f64 {
        let wanted = (self.count() as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        let found = self.buckets.iter().find(|(_, count)| {
            seen += count;
            seen >= wanted
        });
        found.map_or(0.0, |(largest_ns, _)| *largest_ns as f64 / 1e3)
    }

    fn as_json(&self) -> Fields {
        fields! {
            count: self.count(), mean_us: self.mean_us(), p50_us: self.quantile_us(0.5),
            p99_us: self.quantile_us(0.99), p999_us: self.quantile_us(0.999), max_us: self.quantile_us(1.0),
        }
    }
}

impl Partition {
    fn as_json(&self) -> Fields {
        fields! {
            topic: self.topic.as_str(), partition: self.index, batches_in_per_s: self.batches_in_per_s,
            bytes_in_per_s: self.bytes_in_per_s, bytes_out_per_s: self.bytes_out_per_s,
            log_end_offset: self.log_end, size_bytes: self.size_bytes,
        }
    }
}

fn counters(before: &CoreDescription, after: &CoreDescription) -> BTreeMap<String, u64> {
    let old: HashMap<&str, i64> = before
        .counters
        .iter()
        .map(|c| (c.name.as_str(), c.value))
        .collect();
    let grew = |name: &str, value| grown(old.get(name).copied().unwrap_or(0), value);
    let counters = after.counters.iter();
    counters
        .map(|c| (c.name.clone(), grew(&c.name, c.value)))
        .collect()
}

/// Partitions that moved bytes, most first. One that was not named before was not among the busiest then: what it did since
/// is not known, unless this is the first look.
fn busiest(before: &CoreDescription, after: &CoreDescription, seconds: f64, most: usize) -> Vec<Partition> {
    let key = |load: &PartitionLoad| (load.topic.clone(), load.partition_index);
    let old: HashMap<_, &PartitionLoad> = before.busiest.iter().map(|load| (key(load), load)).collect();
    let first = before.busiest.is_empty();
    let nothing = PartitionLoad::default();
    let moved = after.busiest.iter().filter_map(|load| {
        let then = match old.get(&key(load)) {
            Some(then) => *then,
            None if first => &nothing,
            None => return None,
        };
        let rate = |before, after| per(grown(before, after) as f64, seconds);
        Some(Partition {
            topic: load.topic.clone(),
            index: load.partition_index,
            log_end: load.log_end_offset,
            size_bytes: load.size_bytes,
            batches_in_per_s: rate(then.batches_in, load.batches_in),
            bytes_in_per_s: rate(then.bytes_in, load.bytes_in),
            bytes_out_per_s: rate(then.bytes_out, load.bytes_out),
        })
    });
    let bytes = |one: &Partition| one.bytes_in_per_s + one.bytes_out_per_s;
    let mut moved: Vec<Partition> = moved.filter(|one| bytes(one) > 0.0).collect();
    moved.sort_by(|a, b| bytes(b).total_cmp(&bytes(a)));
    moved.truncate(most);
    moved
}

fn grown(before: i64, after: i64) -> u64 {
    after.saturating_sub(before).max(0) as u64
}

fn per(value: f64, of: f64) -> f64 {
    if of > 0.0 { value / of } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::describe_cores::{CoreCounter, StageBucket};

    fn look(seconds: i64, requests: i64, buckets: &[(i64, i64)], loads: &[(i32, i64)]) -> CoreDescription {
        let bucket = |&(largest_ns, count): &(i64, i64)| StageBucket { largest_ns, count };
        let load = |&(partition_index, bytes_in): &(i32, i64)| PartitionLoad {
            topic: "t".to_owned(),
            partition_index,
            bytes_in,
            ..Default::default()
        };
        CoreDescription {
            core: 1,
            uptime_ns: seconds * 1_000_000_000,
            cpu_ns: seconds * 500_000_000,
            counters: vec![CoreCounter {
                name: "requests".to_owned(),
                value: requests,
            }],
            stages: vec![CoreStage {
                name: "commit".to_owned(),
                sum_ns: requests * 1000,
                buckets: buckets.iter().map(bucket).collect(),
            }],
            busiest: loads.iter().map(load).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn what_was_before_is_taken_away() {
        let before = look(10, 100, &[(1_000, 90), (2_000, 10)], &[(0, 500), (1, 100)]);
        let after = look(
            12,
            300,
            &[(1_000, 90), (2_000, 208), (9_000, 2)],
            &[(0, 500), (2, 400), (1, 300)],
        );
        let found = Difference::between(Some(&before), &after, 9);
        assert_eq!((found.core, found.seconds, found.busy), (1, 2.0, 0.5));
        assert_eq!((found.counter("requests"), found.rate("requests")), (200, 100.0));
        assert_eq!(
            (found.per_request("requests"), found.counter("none")),
            (Some(1.0), 0)
        );
        let stage = &found.stages[0];
        assert_eq!((stage.count(), stage.mean_us()), (200, 1.0));
        let quantiles = [0.5, 0.99, 0.995, 1.0].map(|share| stage.quantile_us(share));
        assert_eq!(quantiles, [2.0, 2.0, 9.0, 9.0]);
        // The first one stands still, and of the second nothing is known.
        let busiest: Vec<_> = found
            .busiest
            .iter()
            .map(|one| (one.index, one.bytes_in_per_s))
            .collect();
        assert_eq!(busiest, [(1, 100.0)]);
    }

    #[test]
    fn a_broker_started_anew_counts_from_its_start() {
        let before = look(10, 100, &[(1_000, 100)], &[(0, 500)]);
        let after = look(2, 4, &[(1_000, 4)], &[(0, 10), (1, 20)]);
        for found in [
            Difference::between(Some(&before), &after, 1),
            Difference::between(None, &after, 1),
        ] {
            assert_eq!(
                (found.seconds, found.counter("requests"), found.stages[0].count()),
                (2.0, 4, 4)
            );
            let busiest: Vec<_> = found.busiest.iter().map(|one| one.index).collect();
            assert_eq!(busiest, [1]);
        }
    }

    #[test]
    fn nothing_gives_zeroes() {
        let found = Difference::between(None, &CoreDescription::default(), 3);
        assert_eq!(
            (found.busy, found.rate("requests"), found.per_request("enters")),
            (0.0, 0.0, None)
        );
        let stage = Stage::between(&CoreDescription::default(), &CoreStage::default());
        assert_eq!((stage.quantile_us(0.5), stage.mean_us()), (0.0, 0.0));
    }
}
