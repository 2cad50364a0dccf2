//! RinglogDescribeCores: what one core says of itself, and the answer that all cores' words come to. Pure.
//!
//! Everything is counted since the core started and only grows: whoever asks twice subtracts. The answer is bounded: at
//! most [`MOST_PARTITIONS`] partitions a core, and distributions of at most 9,216 buckets.

use ringlog_engine::io::IoCounters;
use ringlog_engine::stats::{Load, ShardCounters};

use crate::core::stages::{Stage, Stages};
use crate::wire::ErrorCode;
use crate::wire::describe_cores::*;

/// The most partitions a core may be asked to name.
pub const MOST_PARTITIONS: i32 = 1000;

/// How many partitions each core is to name, or the answer that says why not.
///
/// # Errors
/// The response to a number that is negative or too large.
pub fn check(request: &RinglogDescribeCoresRequest) -> Result<usize, RinglogDescribeCoresResponse> {
    let asked = request.max_partitions;
    if (0..=MOST_PARTITIONS).contains(&asked) {
        return Ok(asked as usize);
    }
    let message = format!("max_partitions is {asked}, and must be from 0 to {MOST_PARTITIONS}");
    Err(RinglogDescribeCoresResponse {
        error_code: ErrorCode::InvalidRequest.into(),
        error_message: Some(message),
        cores: Vec::new(),
    })
}

/// A response for so many cores, still to be filled.
pub fn begin(cores: usize) -> RinglogDescribeCoresResponse {
    RinglogDescribeCoresResponse {
        cores: Vec::with_capacity(cores),
        ..Default::default()
    }
}

/// Puts one core's words into the response, in the order of their numbers.
pub fn settle(response: &mut RinglogDescribeCoresResponse, description: CoreDescription) {
    let at = response
        .cores
        .partition_point(|core| core.core < description.core);
    response.cores.insert(at, description);
}

/// A core's counters by their names.
pub fn counters(requests: u64, io: &IoCounters, shard: &ShardCounters) -> Vec<CoreCounter> {
    let journal = &shard.journal;
    let named = [
        ("requests", requests),
        ("asleep_ns", io.asleep_ns),
        ("enters", io.enters),
        ("registrations", io.registrations),
        ("submissions", io.submissions),
        ("completions", io.completions),
        ("accepts", io.accepts),
        ("receives", io.receives),
        ("sends", io.sends),
        ("reads", io.reads),
        ("writes", io.writes),
        ("syncs", io.syncs),
        ("wakes_sent", io.wakes_sent),
        ("wakes_received", io.wakes_received),
        ("appends", shard.appends),
        ("appended_bytes", shard.appended_bytes),
        ("read_bytes", shard.read_bytes),
        ("cold_reads", shard.cold_reads),
        ("journal_commits", journal.commits),
        ("journal_bytes", journal.bytes),
        ("journal_entries", journal.entries),
        ("flushes", shard.flushes),
        ("flushed_bytes", shard.flushed_bytes),
        ("checkpoints", shard.checkpoints),
    ];
    let counter = |(name, value): (&str, u64)| CoreCounter {
        name: name.to_owned(),
        value: number(value),
    };
    named.map(counter).into()
}

/// A core's distributions; those that are empty, too, so that whoever reads them knows what there is.
pub fn stages(stages: &Stages) -> Vec<CoreStage> {
    let described = |stage: Stage| {
        let histogram = stages.histogram(stage);
        let bucket = |(largest_ns, count)| StageBucket {
            largest_ns: number(largest_ns),
            count: number(count),
        };
        CoreStage {
            name: stage.name().to_owned(),
            sum_ns: number(histogram.sum_ns()),
            buckets: histogram.buckets().map(bucket).collect(),
        }
    };
    Stage::ALL.map(described).into()
}

/// The `most` partitions with the largest load, the largest first. Only those are sorted: there may be very many others.
pub fn busiest<T>(mut loads: Vec<(Load, T)>, most: usize) -> Vec<(Load, T)> {
    let largest_first = |of: &(Load, T)| std::cmp::Reverse(of.0.bytes());
    if most < loads.len() {
        loads.select_nth_unstable_by_key(most, largest_first);
        loads.truncate(most);
    }
    loads.sort_by_key(largest_first);
    loads
}

/// One partition's line.
pub fn partition(topic: &str, index: i32, log_end: i64, size_bytes: u64, load: &Load) -> PartitionLoad {
    PartitionLoad {
        topic: topic.to_owned(),
        partition_index: index,
        log_end_offset: log_end,
        size_bytes: number(size_bytes),
        batches_in: number(load.batches_in),
        bytes_in: number(load.bytes_in),
        bytes_out: number(load.bytes_out),
    }
}

/// The wire's numbers have a sign.
pub fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn request(max_partitions: i32) -> RinglogDescribeCoresRequest {
        RinglogDescribeCoresRequest {
            max_partitions,
            topic: None,
        }
    }

    #[test]
    fn numbers_of_partitions_are_bounded() {
        for (asked, want) in [(0, Some(0)), (1000, Some(1000)), (-1, None), (1001, None)] {
            assert_eq!(check(&request(asked)).ok(), want, "{asked}");
        }
        for asked in [i32::MIN, i32::MAX] {
            let refused = check(&request(asked)).expect_err("refused");
            assert_eq!(refused.error_code, ErrorCode::InvalidRequest.code());
            assert!(
                refused
                    .error_message
                    .is_some_and(|text| text.contains(&asked.to_string()))
            );
        }
    }

    #[test]
    fn cores_stand_in_order() {
        let mut response = begin(3);
        for core in [2, 0, 1] {
            let description = CoreDescription {
                core,
                ..Default::default()
            };
            settle(&mut response, description);
        }
        let order: Vec<i32> = response.cores.iter().map(|core| core.core).collect();
        assert_eq!(order, [0, 1, 2]);
    }

    #[test]
    fn the_busiest_come_first_and_no_more_than_asked_for() {
        let load = |bytes_in, bytes_out| Load {
            batches_in: 1,
            bytes_in,
            bytes_out,
        };
        let loads = || {
            vec![
                (load(1, 0), 'a'),
                (load(2, 7), 'b'),
                (load(8, 0), 'c'),
                (load(1, 0), 'd'),
            ]
        };
        let names = |most| {
            busiest(loads(), most)
                .iter()
                .map(|(_, name)| *name)
                .collect::<String>()
        };
        assert_eq!(
            (names(0), names(2), names(9)),
            ("".into(), "bc".into(), "bcad".into())
        );
    }

    #[test]
    fn every_stage_is_named_with_its_buckets() {
        let now = Instant::now();
        let mut recorded = Stages::new(now);
        recorded.record(Stage::Commit, now, now + Duration::from_nanos(100));
        let described = stages(&recorded);
        assert_eq!(described.len(), Stage::ALL.len());
        let full: Vec<_> = described
            .iter()
            .filter(|stage| !stage.buckets.is_empty())
            .collect();
        let bucket = StageBucket {
            largest_ns: 127,
            count: 1,
        };
        assert_eq!((full[0].name.as_str(), full[0].sum_ns), ("commit", 100));
        assert_eq!((full.len(), &full[0].buckets), (1, &vec![bucket]));
        assert_eq!(number(u64::MAX), i64::MAX);
    }
}
