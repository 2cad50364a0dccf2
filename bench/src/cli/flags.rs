//! The flags that the scenarios share, their defaults by scenario, and what contradicts what.

use std::path::PathBuf;

use clap::Args;

use super::cleaning::CleaningFlags;
use super::day::DayFlags;
use super::defaults::Defaults;
use super::overload::OverloadFlags;
use super::relevance::is_of_use;
use super::storm::StormFlags;
use super::transactions::TransactionFlags;
use crate::error::Error;
use crate::load::codec::Codec;
use crate::load::schedule::Arrivals;
use crate::load::settings::{Rate, Settings};
use crate::scenario::Scenario;

/// Records a batch may hold at most, so that the smallest record cannot make a batch of billions.
const MAX_BATCH_BYTES: usize = 8 << 20;

/// Neither a broker nor this machine's sockets are asked for more partitions or connections.
const MAX_COUNT: u64 = 50_000;

/// Flags of every scenario. What is not given is chosen by the scenario; the report states every value in force.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Load")]
pub struct Flags {
    /// Brokers to ask first, HOST:PORT[,HOST:PORT...] [default: 127.0.0.1:9092]
    #[arg(long, value_name = "LIST")]
    pub bootstrap: Option<String>,
    /// An existing topic to use; without it one is created and removed
    #[arg(long, value_name = "NAME")]
    pub topic: Option<String>,
    /// A setting of the topic that is made, as `segment.bytes=67108864`; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_config)]
    pub topic_config: Vec<(String, String)>,
    /// Partitions of the topic [default: 8; small: 64; day: 2 of each topic]
    #[arg(long, value_name = "N")]
    pub partitions: Option<i32>,
    /// Producers, each a connection of its own to every broker it needs [default: 4; small: 100; transactions: 16]
    #[arg(long, value_name = "N")]
    pub producers: Option<u32>,
    /// Consumers; partitions are dealt out among them [default: 2; steady: 1, beside the cold one; cleaning: 1; day: 2 that read at random places]
    #[arg(long, value_name = "N")]
    pub consumers: Option<u32>,
    /// Bytes of a record's key and value [default: 1024; small: 100; day: 512]
    #[arg(long, value_name = "BYTES")]
    pub record_bytes: Option<usize>,
    /// Bytes of a batch at most [default: 65536; small: 16384]
    #[arg(long, value_name = "BYTES")]
    pub batch_bytes: Option<usize>,
    /// Records of a batch at most; with 1 each request carries one record of one partition [default: as many as --batch-bytes holds; transactions: 1; day: 20 in the mean]
    #[arg(long, value_name = "N")]
    pub records_per_batch: Option<usize>,
    /// How long a record waits for others to share its batch, in milliseconds; part of its latency [default: 1]
    #[arg(long, value_name = "MS")]
    pub linger_ms: Option<f64>,
    /// Requests a connection may have unanswered [default: 5]
    #[arg(long, value_name = "N")]
    pub in_flight: Option<usize>,
    /// Records a second over all producers (open loop), or `max` (closed loop) [default: produce, consume: max; tail, mixed, small, storm: 20000; steady, cleaning: 100000; day: 4000;
    /// overload: 1000;
    /// partitions, connections: 10000; sweep: 5000, where it starts]
    #[arg(long, value_name = "N|max", value_parser = parse_rate)]
    pub rate: Option<Rate>,
    /// How records are spaced at a given rate [default: constant]
    #[arg(long, value_enum)]
    pub arrivals: Option<Arrivals>,
    /// Seconds measured [default: 20; steady, day: 600; cleaning: 30 each; overload: 60 in the flood; sweep, partitions, connections: 5 each]
    #[arg(long, value_name = "S")]
    pub seconds: Option<f64>,
    /// Seconds before, at the same load, that do not count [default: 5; cleaning: 15; sweep, partitions, connections: 2]
    #[arg(long, value_name = "S")]
    pub warmup_seconds: Option<f64>,
    /// Seconds after, to wait for answers and readers that are behind [default: 30]
    #[arg(long, value_name = "S")]
    pub drain_seconds: Option<f64>,
    /// Acknowledgement: 0, 1 or all [default: all]
    #[arg(long, value_name = "0|1|all", value_parser = parse_acks)]
    pub acks: Option<i16>,
    /// Compression [default: none]
    #[arg(long, value_enum)]
    pub codec: Option<Codec>,
    /// Number of different keys, 0 for records without [default: 0; small: 10000; day: 1000 of each partition]
    #[arg(long, value_name = "N")]
    pub keys: Option<usize>,
    /// Idempotent producers (implies acks=all)
    #[arg(long)]
    pub idempotent: bool,
    /// Threads of the client, each with its own io_uring [default: half the cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Process id of the broker, for its processor time and memory; `auto` finds whoever listens on this machine, `none` does not look
    #[arg(long, value_name = "PID", default_value = "auto", value_parser = parse_pid)]
    pub pid: Pid,
    /// Where results go.
    #[command(flatten)]
    pub output: Output,
    /// Flags of single scenarios.
    #[command(flatten)]
    pub scenario: ScenarioFlags,
}

/// Where results go.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Output")]
pub struct Output {
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the report as one self-contained HTML page
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write a histogram for each second, as HdrHistogram's tools read them
    #[arg(long, value_name = "FILE")]
    pub hlog: Option<PathBuf>,
    /// No progress on the terminal
    #[arg(long)]
    pub quiet: bool,
}

impl Output {
    /// Looks whether the files can be written, before hours go into what they are to hold.
    ///
    /// # Errors
    /// [`Error::Failed`] for a file whose directory does not exist.
    pub fn check(&self) -> Result<(), Error> {
        for path in [&self.json, &self.html, &self.hlog].into_iter().flatten() {
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            if directory.is_some_and(|directory| !directory.is_dir()) || path.is_dir() {
                let name = path.display();
                return Err(Error::failed(format!(
                    "cannot write {name}: its directory does not exist, or it is one"
                )));
            }
        }
        Ok(())
    }
}

/// Flags that only some scenarios have a use for.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Scenarios")]
pub struct ScenarioFlags {
    /// consume, mixed, steady: MiB written before reading starts [default: 1024; steady: what it keeps]
    #[arg(long, value_name = "MIB")]
    pub fill_mib: Option<u64>,
    /// steady: MiB of the log that are kept; older records are deleted meanwhile. 0: nothing is deleted [default: 4096]; cleaning: the
    /// retention.bytes of all partitions together [default: 1024]
    #[arg(long, value_name = "MIB")]
    pub keep_mib: Option<u64>,
    /// mixed, steady: MiB a second that the cold reader reads at most [default: no limit]
    #[arg(long, value_name = "MIB")]
    pub cold_mib_per_s: Option<f64>,
    /// steady: processes that do nothing but use a processor, one pinned to each core in turn [default: 0]
    #[arg(long, value_name = "N")]
    pub neighbours: Option<u32>,
    /// lookup: fetches at each size [default: 1000]
    #[arg(long, value_name = "N")]
    pub lookups: Option<u64>,
    /// sweep: the p99.9 of acknowledgements, in milliseconds, that ends it [default: 20]
    #[arg(long, value_name = "MS")]
    pub limit_ms: Option<f64>,
    /// sweep: each rate over the one before [default: 1.5]
    #[arg(long, value_name = "FACTOR")]
    pub growth: Option<f64>,
    /// partitions, connections: how many, in turn [default: 1,10,100,1000,10000 and 1,10,100,1000,5000]; restart, lookup: MiB in the log [default:
    /// 0,256,1024 and 64,256,1024]
    #[arg(long, value_name = "N,N,...", value_delimiter = ',')]
    pub steps: Option<Vec<u64>>,
    /// storm's own.
    #[command(flatten)]
    pub storm: StormFlags,
    /// overload's own.
    #[command(flatten)]
    pub overload: OverloadFlags,
    /// The ones of transactions.
    #[command(flatten)]
    pub transactions: TransactionFlags,
    /// day's own.
    #[command(flatten)]
    pub day: DayFlags,
    /// cleaning's own.
    #[command(flatten)]
    pub cleaning: CleaningFlags,
    /// restart: command that runs the broker in the foreground; {port} and {dir} are filled in [default: ringlog serve]
    #[arg(long, value_name = "CMD")]
    pub start: Option<String>,
    /// Run the load against a listener of our own that stores nothing: the client's and the network's ceiling. With --bootstrap the broker
    /// too, after it, in one report
    #[arg(long)]
    pub sink: bool,
    /// Directory whose disk is measured, and where versus and restart keep their brokers' data [default: ./ringlog-bench-data]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// What an acknowledgement means there, where the broker's settings do not tell (a cluster: quorum)
    #[arg(long, value_name = "TEXT")]
    pub durability: Option<String>,
}

impl ScenarioFlags {
    /// The cold reader's limit.
    pub fn cold_bytes_per_s(&self) -> Option<f64> {
        self.cold_mib_per_s.map(|mib| mib * (1 << 20) as f64)
    }
}

/// Whose process to watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pid {
    /// Whoever listens on the bootstrap port, if that is this machine.
    #[default]
    Auto,
    /// Nobody's.
    None,
    /// This one's.
    Of(u32),
}

fn parse_rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate::Max);
    }
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && (0.1..=1e9).contains(&rate) => Ok(Rate::PerSecond(rate)),
        _ => Err("a number of records a second from 0.1 to 1e9, or max".into()),
    }
}

/// `KEY=VALUE` in its two parts.
pub fn parse_config(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("KEY=VALUE, as in segment.bytes=67108864".into()),
    }
}

fn parse_acks(text: &str) -> Result<i16, String> {
    match text {
        "0" => Ok(0),
        "1" => Ok(1),
        "all" | "-1" => Ok(-1),
        _ => Err("0, 1 or all".into()),
    }
}

fn parse_pid(text: &str) -> Result<Pid, String> {
    match text {
        "auto" => Ok(Pid::Auto),
        "none" => Ok(Pid::None),
        _ => text
            .parse()
            .map(Pid::Of)
            .map_err(|_| "a process id, auto or none".into()),
    }
}

impl Flags {
    /// The load in force for `scenario`.
    ///
    /// # Errors
    /// [`Error::Usage`] for values that are out of range or contradict each other.
    pub fn settings(&self, scenario: Scenario) -> Result<Settings, Error> {
        self.check_relevance(scenario)?;
        let default = Defaults::of(scenario);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let most_consumers = self.partitions.unwrap_or(default.partitions).max(1) as u32;
        let settings = Settings {
            partitions: self.partitions.unwrap_or(default.partitions),
            producers: self.producers.unwrap_or(default.producers),
            consumers: self.consumers.unwrap_or(default.consumers.min(most_consumers)),
            record_bytes: self.record_bytes.unwrap_or(default.record_bytes),
            batch_bytes: self.batch_bytes.unwrap_or(default.batch_bytes),
            batch_records: self.records_per_batch.unwrap_or(default.batch_records),
            linger_ns: (self.linger_ms.unwrap_or(1.0).clamp(0.0, 1e7) * 1e6) as u64,
            in_flight: self.in_flight.unwrap_or(5),
            rate: self.rate.unwrap_or(default.rate),
            arrivals: self.arrivals.unwrap_or_default(),
            seconds: self.seconds.unwrap_or(default.seconds),
            warmup_seconds: self.warmup_seconds.unwrap_or(default.warmup_seconds),
            drain_seconds: self.drain_seconds.unwrap_or(30.0),
            acks: self.acks.unwrap_or(-1),
            codec: self.codec.unwrap_or_default(),
            keys: self.keys.unwrap_or(default.keys),
            idempotent: self.idempotent,
            threads: self.threads.unwrap_or((cores / 2).max(1)),
        };
        self.check(&settings)?;
        if scenario == Scenario::Transactions {
            self.scenario.transactions.plan(settings.partitions)?;
            if settings.acks != -1 {
                return Err(Error::usage("transactions need --acks all (KIP-98)"));
            }
        }
        Ok(settings)
    }

    /// The brokers to ask first.
    pub fn bootstrap(&self) -> String {
        self.bootstrap.clone().unwrap_or_else(|| "127.0.0.1:9092".into())
    }

    /// Directory for data and for the disk's floor.
    pub fn dir(&self) -> PathBuf {
        self.scenario
            .dir
            .clone()
            .unwrap_or_else(|| "ringlog-bench-data".into())
    }

    fn check(&self, settings: &Settings) -> Result<(), Error> {
        let rules = [
            (
                settings.partitions < 1 || settings.partitions > 100_000,
                "--partitions is from 1 to 100000",
            ),
            (
                settings.producers < 1 || settings.producers > 50_000,
                "--producers is from 1 to 50000",
            ),
            (
                settings.consumers < 1 || settings.consumers > 50_000,
                "--consumers is from 1 to 50000",
            ),
            (
                settings.consumers as i64 > i64::from(settings.partitions),
                "more --consumers than --partitions: some would have nothing to read",
            ),
            (
                settings.record_bytes > MAX_BATCH_BYTES,
                "--record-bytes is at most 8 MiB",
            ),
            (
                settings.batch_bytes < 128 || settings.batch_bytes > MAX_BATCH_BYTES,
                "--batch-bytes is from 128 to 8388608",
            ),
            (
                settings.record_bytes > settings.batch_bytes,
                "--record-bytes is larger than --batch-bytes: no batch would hold a record",
            ),
            (self.records_per_batch == Some(0), "--records-per-batch is from 1"),
            (
                settings.keys > 0 && settings.record_bytes < Settings::KEY_BYTES,
                "a record with a key has at least 8 --record-bytes, those of the key",
            ),
            (settings.keys > 1_000_000, "--keys is at most 1000000"),
            (
                settings.in_flight < 1 || settings.in_flight > 10_000,
                "--in-flight is from 1 to 10000",
            ),
            (
                settings.idempotent && settings.acks != -1,
                "--idempotent needs --acks all (KIP-98)",
            ),
            (
                settings.idempotent && settings.in_flight > 5,
                "--idempotent allows at most 5 requests --in-flight: brokers remember the last five batches",
            ),
            (
                !(0.1..=86_400.0).contains(&settings.seconds),
                "--seconds is from 0.1 to 86400",
            ),
            (
                !(0.0..=86_400.0).contains(&settings.warmup_seconds),
                "--warmup-seconds is from 0 to 86400",
            ),
            (
                !(0.0..=86_400.0).contains(&settings.drain_seconds),
                "--drain-seconds is from 0 to 86400",
            ),
            (
                settings.threads < 1 || settings.threads > 1024,
                "--threads is from 1 to 1024",
            ),
            (
                self.linger_ms
                    .is_some_and(|linger| !(0.0..=1e7).contains(&linger)),
                "--linger-ms is from 0 to 10000000",
            ),
            (
                settings.rate == Rate::Max && self.arrivals.is_some(),
                "--arrivals needs a --rate: at `max` the next batch leaves when an answer arrives",
            ),
        ];
        match rules.iter().find(|(broken, _)| *broken) {
            Some((_, why)) => Err(Error::usage(*why)),
            None => Ok(()),
        }
    }

    /// Flags that the scenario has no use for are refused rather than ignored.
    fn check_relevance(&self, scenario: Scenario) -> Result<(), Error> {
        use Scenario::*;
        let flags = &self.scenario;
        let given = [
            (flags.fill_mib.is_some(), "fill-mib"),
            (flags.keep_mib.is_some(), "keep-mib"),
            (flags.cold_mib_per_s.is_some(), "cold-mib-per-s"),
            (flags.neighbours.is_some(), "neighbours"),
            (flags.lookups.is_some(), "lookups"),
            (flags.limit_ms.is_some(), "limit-ms"),
            (flags.growth.is_some(), "growth"),
            (flags.steps.is_some(), "steps"),
            (flags.start.is_some(), "start"),
            (flags.sink, "sink"),
            (self.bootstrap.is_some(), "bootstrap"),
            (self.topic.is_some(), "topic"),
            (self.seconds.is_some(), "seconds"),
            (self.warmup_seconds.is_some(), "warmup-seconds"),
            (self.rate.is_some(), "rate"),
            (!self.topic_config.is_empty(), "topic-config"),
            (self.batch_bytes.is_some(), "batch-bytes"),
            (self.linger_ms.is_some(), "linger-ms"),
            (self.in_flight.is_some(), "in-flight"),
            (self.drain_seconds.is_some(), "drain-seconds"),
            (self.arrivals.is_some(), "arrivals"),
            (self.acks.is_some(), "acks"),
            (self.codec.is_some(), "codec"),
            (self.idempotent, "idempotent"),
            (self.threads.is_some(), "threads"),
        ];
        let of_storm = flags.storm.given();
        let of_overload = flags.overload.given();
        let of_transactions = flags.transactions.given();
        let (of_day, of_cleaning) = (flags.day.given(), flags.cleaning.given());
        let useless = given
            .iter()
            .chain(&of_storm)
            .chain(&of_overload)
            .chain(&of_transactions)
            .chain(&of_day)
            .chain(&of_cleaning)
            .find(|(given, flag)| *given && !is_of_use(flag, scenario));
        if let Some((_, flag)) = useless {
            let name = scenario.name();
            return Err(Error::usage(format!("--{flag} has no meaning for {name}")));
        }
        flags.day.check()?;
        flags.cleaning.check()?;
        if matches!(scenario, Day | Cleaning) && self.rate == Some(Rate::Max) {
            return Err(Error::usage("day and cleaning need a --rate"));
        }
        if scenario == Storm {
            flags.storm.plan()?;
            if self.rate == Some(Rate::Max) {
                return Err(Error::usage(
                    "storm needs a --rate: as fast as it goes there is no latency to hold up",
                ));
            }
        }
        if scenario == Overload {
            flags.overload.plan()?;
            if self.rate == Some(Rate::Max) {
                return Err(Error::usage(
                    "overload needs a --rate: the modest client's latency is what is looked at",
                ));
            }
        }
        let many = 1 << 26;
        if flags.keep_mib.or(flags.fill_mib).is_some_and(|mib| mib > many) {
            return Err(Error::usage("--keep-mib and --fill-mib are at most 67108864"));
        }
        if flags.neighbours.is_some_and(|count| count > 1024) {
            return Err(Error::usage("--neighbours is at most 1024"));
        }
        if flags
            .lookups
            .is_some_and(|count| !(1..=100_000_000).contains(&count))
        {
            return Err(Error::usage("--lookups is from 1 to 100000000"));
        }
        if flags
            .cold_mib_per_s
            .is_some_and(|mib| !(0.001..=1e6).contains(&mib))
        {
            return Err(Error::usage("--cold-mib-per-s is from 0.001 to 1000000"));
        }
        if scenario == Sweep && self.rate == Some(Rate::Max) {
            return Err(Error::usage(
                "sweep raises the rate itself: --rate is where it starts, not max",
            ));
        }
        if self.topic.is_some() && !self.topic_config.is_empty() {
            return Err(Error::usage(
                "--topic-config is for a topic that is made, and --topic names one that exists",
            ));
        }
        if flags.sink && self.topic.is_some() {
            return Err(Error::usage(
                "--topic names an existing topic, and --sink has none",
            ));
        }
        if flags
            .growth
            .is_some_and(|growth| !(1.01..=100.0).contains(&growth))
        {
            return Err(Error::usage("--growth is from 1.01 to 100"));
        }
        if flags
            .limit_ms
            .is_some_and(|limit| !(0.001..=600_000.0).contains(&limit))
        {
            return Err(Error::usage("--limit-ms is from 0.001 to 600000"));
        }
        let mut counts = flags.steps.iter().flatten();
        if !matches!(scenario, Restart | Lookup) && counts.any(|count| !(1..=MAX_COUNT).contains(count)) {
            return Err(Error::usage(format!("--steps are from 1 to {MAX_COUNT}")));
        }
        if scenario == Partitions && self.partitions.is_some() {
            return Err(Error::usage(
                "the partitions scenario takes its numbers from --steps, not --partitions",
            ));
        }
        if scenario == Connections && self.producers.is_some() {
            return Err(Error::usage(
                "the connections scenario takes its numbers from --steps, not --producers",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
