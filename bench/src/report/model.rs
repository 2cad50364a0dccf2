//! What a run found, as it is written to JSON and read back by `compare` and by the HTML page.
//!
//! One [`Report`] is one invocation. It has one [`Side`] a broker (two for `versus`), a side has one [`Run`] a round, and a
//! run has one [`Step`] a measured load: one for `produce`, one a rate for `sweep`, one a size for `restart`. Times
//! are in the unit their name ends with; `_s` on the time axis counts from the start of the measurement (the warm-up is before 0).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The value of [`Report::format`] that this version writes and reads.
pub const FORMAT: &str = "ringlog-bench/1";

/// One invocation of the tool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// [`FORMAT`].
    pub format: String,
    /// Version of `ringlog-bench`.
    pub tool_version: String,
    /// The command line, program first.
    pub command: Vec<String>,
    /// When it began, milliseconds since 1970, UTC.
    pub started_unix_ms: u64,
    /// The scenario's one word: `produce`, `tail`, `sweep`...
    pub scenario: String,
    /// The load in force, defaults filled in: flag name without dashes -> value.
    pub load: BTreeMap<String, String>,
    /// Where the client ran.
    pub machine: Machine,
    /// What the disk itself can do, measured before the brokers were.
    pub disk: Option<DiskFloor>,
    /// One a broker: one, or two (A then B) for `versus`.
    pub sides: Vec<Side>,
    /// B against A, one row a figure; empty unless two sides.
    pub ratios: Vec<Ratio>,
    /// What a reader must know before believing the figures: client-bound, overloaded, short run.
    pub warnings: Vec<String>,
}

/// The machine the client ran on (and, on loopback, the broker).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// `uname -r`.
    pub kernel: String,
    /// Model name of the processor.
    pub cpu: String,
    /// Processors this process may run on.
    pub cores: u32,
    /// Frequency governor, empty when the kernel shows none (virtual machines).
    pub governor: String,
    /// Physical memory.
    pub memory_bytes: u64,
    /// Whether a hypervisor is below, by the processor's own flag.
    pub virtual_machine: bool,
}

/// Direct, synchronous writes (`O_DIRECT|O_DSYNC`) into an already written file: nothing durable is faster on this disk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskFloor {
    /// Directory measured in.
    pub directory: String,
    /// Filesystem and its options, as mounted.
    pub filesystem: String,
    /// Device it is on.
    pub device: String,
    /// Writes of 4 KiB.
    pub write_4k: Floor,
    /// Writes of 128 KiB.
    pub write_128k: Floor,
}

/// One size's figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Floor {
    /// Writes timed.
    pub count: u64,
    /// Median.
    pub p50_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
}

/// One broker and all that was measured on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Side {
    /// What it is called in tables: `kafka`, `ringlog`, `sink`, or its address.
    pub name: String,
    /// Address the client was pointed at.
    pub bootstrap: String,
    /// The command that started it; empty when it was running already.
    pub start_command: String,
    /// What an acknowledgement means there: `none`, `memory`, `page cache`, `stable storage` or `unknown`.
    pub durability: String,
    /// Why the class above was concluded, in a sentence.
    pub durability_reason: String,
    /// Its settings that differ from its defaults, as it tells them.
    pub settings: BTreeMap<String, String>,
    /// One a round.
    pub runs: Vec<Run>,
}

/// One round on one broker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    /// 1-based.
    pub round: u32,
    /// Figures of the measured loads.
    pub steps: Vec<Step>,
}

/// One load, measured once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Step {
    /// How tables call it: `50,000/s`, `1,000 partitions`, `with a cold reader`.
    pub label: String,
    /// The value on the x-axis where steps form a curve: records/s for sweep, partitions, connections, log bytes for restart.
    pub x: f64,
    /// Records a second asked for; null when as many as go.
    pub offered_per_s: Option<f64>,
    /// Length of the measurement, without warm-up.
    pub seconds: f64,
    /// Acknowledged records.
    pub produced: Option<Flow>,
    /// Records read by the step's consumers.
    pub consumed: Option<Flow>,
    /// Records read by the cold reader of `mixed`.
    pub cold: Option<Flow>,
    /// Distributions by name: `ack` and `end_to_end` from the intended send time, `ack_service` from the actual send (what closed-loop tools
    /// show), `fetch` (one fetch, request to whole response); of committed transactions `transaction` (from its begin), `end_txn` and
    /// `add_partitions` (the requests of these names, with what was asked again); `lookup` (one ListOffsets, request to answer).
    pub latencies: BTreeMap<String, Latency>,
    /// How well the schedule was kept; null at `--rate max`.
    pub schedule: Option<Schedule>,
    /// What reading everything back found; null where nothing was written.
    pub ledger: Option<LedgerResult>,
    /// What the broker used during the measurement; null when its process is not known.
    pub broker: Option<ProcessUse>,
    /// What the broker told of its inside; null where it does not.
    pub inside: Option<Inside>,
    /// What the client used meanwhile.
    pub client: ProcessUse,
    /// What the whole machine used less the client: the broker and the kernel's work for it; null where others of ours were busy too.
    pub machine: Option<MachineUse>,
    /// Things that happened, in order.
    pub events: Vec<Event>,
    /// Scenario's own single figures with their unit in the name: `create_topic_ms`, `ready_ms`, `first_ack_ms`, `recovered_bytes`.
    pub figures: BTreeMap<String, f64>,
}

/// Records and bytes over the measurement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Flow {
    /// Records within the measurement.
    pub records: u64,
    /// Their bytes as `--record-bytes` counts them (key and value).
    pub bytes: u64,
    /// Bytes that crossed the wire as record batches (compressed, with headers).
    pub wire_bytes: u64,
    /// records / seconds.
    pub records_per_s: f64,
    /// bytes / seconds, in MiB.
    pub mib_per_s: f64,
    /// Requests they came with: Produce requests acknowledged, or fetches that brought some.
    pub requests: u64,
    /// Records in each second of the measurement, first second first.
    pub per_second: Vec<u64>,
    /// Records refused or without an answer, by error name (`NOT_LEADER_OR_FOLLOWER`, `connection lost`, `no answer`).
    pub errors: BTreeMap<String, u64>,
}

/// One distribution. Built from a histogram of 3 significant digits, merged over threads and seconds, never averaged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// Values recorded (records, or fetches).
    pub count: u64,
    /// Smallest.
    pub min_us: f64,
    /// Arithmetic mean.
    pub mean_us: f64,
    /// Median.
    pub p50_us: f64,
    /// 90th percentile.
    pub p90_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// 99.9th percentile.
    pub p999_us: f64,
    /// 99.99th percentile.
    pub p9999_us: f64,
    /// Largest.
    pub max_us: f64,
    /// The curve: `[quantile in 0..1, microseconds]`, ascending, denser towards 1.
    pub curve: Vec<[f64; 2]>,
    /// Counts over time and latency.
    pub heat: Heat,
    /// The second that was most out of line; null where there are not two.
    pub worst_second: Option<WorstSecond>,
    /// The whole histogram in HdrHistogram's V2 deflate encoding, base64; unit 1 ns. `compare` and rounds merge these.
    pub histogram: String,
}

/// The second of a measurement with the largest p99.9, by when values were complete. Quantiles are up to 3 % above the truth.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorstSecond {
    /// Which, from 0.
    pub second: u64,
    /// Values in it.
    pub count: u64,
    /// Its 99th percentile.
    pub p99_us: f64,
    /// Its 99.9th percentile.
    pub p999_us: f64,
    /// The 99.9th percentile of the second in the middle, for comparison.
    pub median_p999_us: f64,
}

/// A heat map: one column a second of the measurement, or a tenth of one in short ones; one row a latency bucket.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Heat {
    /// Width of a column.
    pub interval_s: f64,
    /// Lower edges of the buckets, ascending; the last bucket is open above.
    pub edges_us: Vec<f64>,
    /// Columns in time order; each lists `[bucket, count]` for the buckets that are not empty.
    pub columns: Vec<Vec<[u64; 2]>>,
}

/// The open loop's honesty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Schedule {
    /// Records the schedule had.
    pub intended: u64,
    /// Records sent more than 1 ms after they were due, or never, because the client itself was late (a free slot, a late thread).
    pub late_by_client: u64,
    /// Records sent more than 1 ms after they were due, or never, because `--in-flight` requests were unanswered, the socket was full or
    /// the connection was gone.
    pub late_by_broker: u64,
    /// Records never sent: still waiting when the measurement ended. Each counts in the distributions with the time it had waited.
    pub unsent: u64,
    /// Records sent and not answered when the wait after the end was over; counted alike.
    pub unanswered: u64,
}

/// What reading back found. Records of batches that were acknowledged, unless said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LedgerResult {
    /// Whether every acknowledged record was there, once, in order, as sent.
    pub passed: bool,
    /// False where nothing could be read back (the sink), with the reason in `note`.
    pub checked: bool,
    /// Records acknowledged (at `acks=0`: sent).
    pub acknowledged: u64,
    /// Acknowledged records found.
    pub verified: u64,
    /// Acknowledged and not found.
    pub lost: u64,
    /// Found more than once.
    pub duplicated: u64,
    /// Found before an earlier record of the same producer and partition, or elsewhere than acknowledged.
    pub reordered: u64,
    /// In a batch whose checksum is wrong or that nobody sent.
    pub corrupt: u64,
    /// Of aborted transactions, and given to a reader of what is committed.
    pub aborted: u64,
    /// Found when they had to be gone: past their retention, overwritten long ago, or back after they were gone.
    pub overstayed: u64,
    /// Time lookups with another answer than the first record at or after the time.
    pub misplaced: u64,
    /// Never acknowledged (refused, connection lost) but found: allowed.
    pub unacknowledged_found: u64,
    /// Examples and reasons, a few lines.
    pub notes: Vec<String>,
    /// What held if it passed, where that is not that every acknowledged record was read back.
    pub held: String,
}

/// What a process used during the measurement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessUse {
    /// Process id.
    pub pid: u32,
    /// Processor seconds in user mode.
    pub user_s: f64,
    /// Processor seconds in the kernel.
    pub system_s: f64,
    /// (user + system) per GiB of records acknowledged or read, whichever the step is about; null without records.
    pub cpu_s_per_gib: Option<f64>,
    /// Resident memory at the end.
    pub rss_bytes: u64,
    /// Largest resident memory of the process so far.
    pub peak_rss_bytes: u64,
    /// Voluntary and involuntary context switches of all its threads.
    pub context_switches: u64,
    /// Bytes it caused to be written to disk.
    pub disk_write_bytes: u64,
    /// Bytes it caused to be read from disk.
    pub disk_read_bytes: u64,
    /// One a second: `[seconds, cores busy, resident MiB]`.
    pub samples: Vec<[f64; 3]>,
}

/// Processor time of the whole machine (`/proc/stat`) less that of the client, over the measurement. On a machine where nothing else
/// runs it is the broker's, with what kernel threads did for it, which is in no process's time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MachineUse {
    /// Processor seconds that were not idle and not the client's.
    pub less_client_s: f64,
    /// The same per GiB of records acknowledged or read, whichever the step is about; null without records.
    pub cpu_s_per_gib: Option<f64>,
    /// The same per request, in microseconds; null without requests.
    pub us_per_request: Option<f64>,
}

/// The broker's own account of the measurement, all its cores together unless said otherwise. The two looks it is the difference
/// of are up to 50 ms apart from the measurement's start and end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Inside {
    /// Time between the two looks.
    pub seconds: f64,
    /// By how much each counter grew: `requests`, `enters` (system calls), `submissions` (operations of the ring), ...
    pub counters: BTreeMap<String, u64>,
    /// One a core.
    pub cores: Vec<CoreUse>,
    /// Where the time of requests went, in the order of a request's way: `frame`, `validate`, `write`, `commit`, `respond`, ...
    pub stages: Vec<StageTime>,
}

/// One core of the broker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CoreUse {
    /// Its number.
    pub core: i32,
    /// Time between the two looks.
    pub seconds: f64,
    /// Processor seconds of its thread.
    pub cpu_s: f64,
    /// Connections, the more of the two looks.
    pub connections: u32,
    /// Partitions at the end.
    pub partitions: u32,
}

/// How long one stage took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StageTime {
    /// What the broker calls it.
    pub name: String,
    /// Durations counted.
    pub count: u64,
    /// Arithmetic mean.
    pub mean_us: f64,
    /// Median; like all quantiles the largest duration of its bucket, which is at most 3.3 % too large.
    pub p50_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// 99.9th percentile.
    pub p999_us: f64,
    /// Largest.
    pub max_us: f64,
    /// `[largest duration of the bucket in nanoseconds, count]`, ascending.
    pub buckets: Vec<[u64; 2]>,
}

/// Something that happened during a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// Seconds from the start of the measurement; negative during warm-up.
    pub at_s: f64,
    /// A sentence: `the broker stopped answering (connection reset)`.
    pub what: String,
}

/// One figure of B over the same of A.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ratio {
    /// Name: `ack p99.9`, `broker CPU-s/GiB`.
    pub figure: String,
    /// Label of the step, when there are several.
    pub step: String,
    /// Unit of a and b.
    pub unit: String,
    /// Whether less is better.
    pub lower_is_better: bool,
    /// Over A's rounds.
    pub a: Spread,
    /// Over B's rounds.
    pub b: Spread,
    /// B over A: of the medians, and the range over the rounds, paired.
    pub ratio: Spread,
}

/// Median and range over rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spread {
    /// Median.
    pub median: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
}
