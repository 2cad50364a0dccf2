//! The command line's grammar: every command, its options, their defaults and their help.
//!
//! Nothing here does anything. `main.rs` parses into [`Cli`] and matches on [`Command`].

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ringlog_records::Codec;

use super::group::args::{EXAMPLES as GROUP_EXAMPLES, GroupCommand};
use super::values::{ConfigPair, HeaderPair, StartAt, parse_acks, parse_seconds};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the broker or the file said no: unknown topic, refused record, corrupt batch
  2  the command line is wrong
  3  no broker could be reached, or none answered in time";

const SERVE_EXAMPLES: &str = "\
Examples:
  ringlog serve
  ringlog serve --data-dir /var/lib/ringlog --listen 0.0.0.0:9092
  ringlog serve --config server.properties --set log.segment.bytes=268435456

When ready, one line on stdout says so. SIGTERM or SIGINT stop the broker cleanly.";

const TOPIC_EXAMPLES: &str = "\
Examples:
  ringlog topic create orders --partitions 6 --config retention.ms=86400000
  ringlog topic list --json
  ringlog topic describe orders
  ringlog topic delete orders";

const PRODUCE_EXAMPLES: &str = "\
Examples:
  echo hello | ringlog produce orders
  ringlog produce orders --key 42 --value '{\"total\":10}' --header source=shop
  ringlog produce orders --key-separator : --compression zstd < pairs.txt
  ringlog produce orders --file invoice.pdf --partition 3
  ringlog produce orders --key 42 --tombstone

Each line of stdin is a record. With acks=all (the default) records are sent by an idempotent producer: a
retry cannot write a record twice. With --acks 1 or 0 it can. Records with a key go to the partition the
Java client would choose.";

const CONSUME_EXAMPLES: &str = "\
Examples:
  ringlog consume orders
  ringlog consume orders --from end
  ringlog consume orders --from 1200 --partition 0 -n 10
  ringlog consume orders --from @1735689600000 --until-end --json
  ringlog consume orders --from -5 --until-end --format '%p:%o %k=%v\\n'

Format directives:
  %v value   %k key   %t topic   %p partition   %o offset   %T timestamp in ms   %h headers
  %S value's length   %K key's length (-1: null)   %% percent   \\n \\t \\r \\0 \\\\

No consumer group is used, and nothing is committed.";

const CORES_EXAMPLES: &str = "\
Examples:
  ringlog cores
  ringlog cores --watch 5 --partitions 20
  ringlog cores --json
  ringlog cores move orders 3 1       partition 3 of orders goes to core 1

Everything shown is of one second, or of the time between two looks with --watch. Stages of a produce request:
  frame      first byte received to the request decoded
  hand_over  on the way to another core, or back
  room       waiting for memory or room in the journal
  validate   checked, stamped and copied
  write      waiting in the open frame for the frame before it
  commit     on the way to stable storage
  respond    durable to the answer taken by the socket
  total      first byte received to the answer taken by the socket
Of a fetch: fetch_read from memory, fetch_cold from disk, fetch_parked waiting for more, fetch_respond as above.";

const DUMP_EXAMPLES: &str = "\
Reads: *.log *.index *.timeindex *.txnindex *.snapshot *.checkpoint, leader-epoch-checkpoint and the other
text checkpoints, partition.metadata, meta.properties, ringlog-journal-* and ringlog-checkpoint-*.

Examples:
  ringlog dump ringlog-data/orders-0/00000000000000000000.log
  ringlog dump --records --json ringlog-data/orders-0/00000000000000000000.log
  ringlog dump ringlog-data/orders-0/*

Exit code 1 when anything read is corrupt.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "ringlog",
    version,
    about = "A message broker that speaks Apache Kafka's protocol, and its tools"
)]
#[command(after_help = EXIT_CODES, arg_required_else_help = true, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands; `main.rs` has one match over them.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the broker
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(ServeArgs),
    /// Create, list, describe and delete topics of any Kafka broker
    #[command(subcommand, after_help = TOPIC_EXAMPLES)]
    Topic(TopicCommand),
    /// List, describe, reset and delete consumer groups of any Kafka broker
    #[command(subcommand, after_help = GROUP_EXAMPLES)]
    Group(GroupCommand),
    /// Send records to a topic of any Kafka broker
    #[command(after_help = PRODUCE_EXAMPLES)]
    Produce(ProduceArgs),
    /// Read a topic's records from any Kafka broker
    #[command(after_help = CONSUME_EXAMPLES)]
    Consume(ConsumeArgs),
    /// Show what the cores of a Ringlog broker do, and where the time of its requests goes; move partitions between them
    #[command(after_help = CORES_EXAMPLES)]
    Cores(CoresCommand),
    /// Print and check the files of a data directory, Ringlog's or Apache Kafka's
    #[command(after_help = DUMP_EXAMPLES)]
    Dump(DumpArgs),
}

/// `ringlog serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// A properties file with Kafka's broker settings
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting, over the file's; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<ConfigPair>,
    /// Where the logs are kept; created when missing (default: log.dirs of the file, else ./ringlog-data)
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address to listen on (default: listeners of the file, else 127.0.0.1:9092)
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// How many cores to use, one thread each (default: all this process may run on)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub cores: Option<u16>,
}

/// What every command that talks to a broker takes.
#[derive(Clone, Debug, Args)]
pub struct ConnectArgs {
    /// Brokers to ask first, separated by commas
    #[arg(
        short,
        long,
        visible_alias = "bootstrap-server",
        value_name = "HOST:PORT",
        value_delimiter = ',',
        default_value = "127.0.0.1:9092"
    )]
    pub bootstrap: Vec<String>,
    /// Give up on a request, its retries included, after this many seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = parse_seconds)]
    pub timeout: Duration,
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
}

/// `ringlog topic ...`.
#[derive(Debug, Subcommand)]
pub enum TopicCommand {
    /// Create a topic
    Create(TopicCreateArgs),
    /// List topics
    #[command(visible_alias = "ls")]
    List(TopicListArgs),
    /// Show partitions, leaders, offsets and settings
    Describe(TopicDescribeArgs),
    /// Delete topics and their records
    #[command(visible_alias = "rm")]
    Delete(TopicDeleteArgs),
}

/// `ringlog topic create`.
#[derive(Clone, Debug, Args)]
pub struct TopicCreateArgs {
    /// The topic's name: letters, digits, '.', '_' and '-', at most 249
    pub topic: String,
    /// How many partitions (default: the broker's num.partitions)
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pub partitions: Option<i32>,
    /// How many copies (default: the broker's default.replication.factor)
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i16).range(1..))]
    pub replication_factor: Option<i16>,
    /// A topic setting; may be repeated
    #[arg(short, long = "config", value_name = "KEY=VALUE")]
    pub configs: Vec<ConfigPair>,
    /// Succeed when the topic exists already
    #[arg(long)]
    pub if_not_exists: bool,
    /// Only ask whether it would be created
    #[arg(long)]
    pub validate_only: bool,
    /// The brokers.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// `ringlog topic list`.
#[derive(Clone, Debug, Args)]
pub struct TopicListArgs {
    /// Internal topics too
    #[arg(long)]
    pub internal: bool,
    /// The brokers.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// `ringlog topic describe`.
#[derive(Clone, Debug, Args)]
pub struct TopicDescribeArgs {
    /// Which topics
    #[arg(required = true, value_name = "TOPIC")]
    pub topics: Vec<String>,
    /// All settings, not only those set on the topic
    #[arg(long)]
    pub all_configs: bool,
    /// The brokers.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// `ringlog topic delete`.
#[derive(Clone, Debug, Args)]
pub struct TopicDeleteArgs {
    /// Which topics
    #[arg(required = true, value_name = "TOPIC")]
    pub topics: Vec<String>,
    /// Succeed when a topic does not exist
    #[arg(long)]
    pub if_exists: bool,
    /// The brokers.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// How a batch's records are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)] // the names say all
pub enum Compression {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl From<Compression> for Codec {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::None,
            Compression::Gzip => Self::Gzip,
            Compression::Snappy => Self::Snappy,
            Compression::Lz4 => Self::Lz4,
            Compression::Zstd => Self::Zstd,
        }
    }
}

/// `ringlog produce`.
#[derive(Clone, Debug, Args)]
pub struct ProduceArgs {
    /// The topic
    pub topic: String,
    /// One record with this value, instead of stdin's lines; may be repeated
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["files", "tombstone"])]
    pub value: Vec<String>,
    /// One record whose value is the file's bytes, instead of stdin's lines; may be repeated
    #[arg(long = "file", value_name = "FILE", conflicts_with = "tombstone")]
    pub files: Vec<PathBuf>,
    /// One record with a null value, which deletes the key from a compacted topic
    #[arg(long, requires = "key")]
    pub tombstone: bool,
    /// The key of every record
    #[arg(short, long, value_name = "TEXT")]
    pub key: Option<String>,
    /// Each line is KEY, this separator, VALUE
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["key", "value", "files", "tombstone"])]
    pub key_separator: Option<String>,
    /// A header of every record; may be repeated
    #[arg(short = 'H', long = "header", value_name = "KEY=VALUE")]
    pub headers: Vec<HeaderPair>,
    /// The partition of every record (default: by key as the Java client, else spread by batch)
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: Option<i32>,
    /// The time of every record, in ms since 1970 (default: now)
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(i64).range(0..))]
    pub timestamp: Option<i64>,
    /// How batches are packed
    #[arg(short = 'z', long, value_enum, default_value = "none")]
    pub compression: Compression,
    /// Who must have a record before it counts as sent: all, 1 (the leader) or 0 (nobody is asked)
    #[arg(long, value_name = "all|1|0", default_value = "all", value_parser = parse_acks)]
    pub acks: i16,
    /// A batch is sent when its records reach this many bytes, or no more lines are waiting
    #[arg(long, value_name = "BYTES", default_value = "65536", value_parser = clap::value_parser!(u32).range(1..=1 << 28))]
    pub batch_bytes: u32,
    /// The brokers.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Which records of transactions are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Isolation {
    /// All records, those of open and aborted transactions too.
    #[default]
    ReadUncommitted,
    /// Only records of committed transactions, and those without one.
    ReadCommitted,
}

/// `ringlog consume`.
#[derive(Clone, Debug, Args)]
pub struct ConsumeArgs {
    /// The topic
    pub topic: String,
    /// Where to start: beginning, end, an offset, -N (the last N offsets), or @MS (first record at or after that time)
    #[arg(
        long,
        value_name = "WHERE",
        default_value = "beginning",
        allow_hyphen_values = true
    )]
    pub from: StartAt,
    /// Only this partition; may be repeated
    #[arg(short, long = "partition", value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub partitions: Vec<i32>,
    /// Stop after this many records
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_records: Option<u64>,
    /// Wait for new records at the end; this is the default
    #[arg(long, conflicts_with = "until_end")]
    pub follow: bool,
    /// Stop at the end each partition had when the command started
    #[arg(short = 'e', long)]
    pub until_end: bool,
    /// How to print a record (default: its value and a newline)
    #[arg(short, long, value_name = "FORMAT", conflicts_with = "json")]
    pub format: Option<String>,
    /// Which records of transactions to show
    #[arg(long, value_enum, default_value = "read_uncommitted")]
    pub isolation: Isolation,
    /// Refuse a batch that unpacks to more bytes than this
    #[arg(long, value_name = "BYTES", default_value = "1073741824")]
    pub max_unpacked_bytes: u64,
    /// The brokers.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// `ringlog cores`, alone or with a command.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct CoresCommand {
    /// What to do, other than to show them.
    #[command(subcommand)]
    pub command: Option<CoresChange>,
    /// What to show.
    #[command(flatten)]
    pub show: CoresArgs,
}

/// What can be done about cores.
#[derive(Clone, Debug, Subcommand)]
pub enum CoresChange {
    /// Move a partition to another core, while its clients go on
    Move(CoresMoveArgs),
}

/// `ringlog cores move`.
#[derive(Clone, Debug, Args)]
pub struct CoresMoveArgs {
    /// The topic
    pub topic: String,
    /// Which of its partitions
    #[arg(value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: i32,
    /// The core that is to own it
    pub core: u16,
    /// The brokers.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// `ringlog cores`.
#[derive(Clone, Debug, Args)]
pub struct CoresArgs {
    /// How many of its busiest partitions to show for each core
    #[arg(long, value_name = "N", default_value = "5", value_parser = parse_partitions)]
    pub partitions: usize,
    /// Look again every so many seconds, until interrupted
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub watch: Option<Duration>,
    /// The brokers.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// No more partitions than a broker names.
fn parse_partitions(text: &str) -> Result<usize, String> {
    let most = crate::handlers::describe_cores::MOST_PARTITIONS as usize;
    text.parse()
        .ok()
        .filter(|count| *count <= most)
        .ok_or_else(|| format!("expected a number from 0 to {most}"))
}

/// `ringlog dump`.
#[derive(Clone, Debug, Args)]
pub struct DumpArgs {
    /// Which files; what a file is follows from its name
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Unpack batches and print their records
    #[arg(short, long)]
    pub records: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Refuse a batch that unpacks to more bytes than this
    #[arg(long, value_name = "BYTES", default_value = "1073741824")]
    pub max_unpacked_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_grammar_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults_are_those_documented() {
        let cli = Cli::try_parse_from(["ringlog", "consume", "t", "--from", "-5"]).expect("parses");
        let Command::Consume(args) = cli.command else {
            panic!("consume")
        };
        assert_eq!(args.from, StartAt::Last(5));
        assert_eq!(args.connect.bootstrap, ["127.0.0.1:9092"]);
        assert_eq!(args.connect.timeout, Duration::from_secs(30));
    }

    #[test]
    fn bootstrap_goes_by_the_name_it_has_in_kafkas_tools_too() {
        let words = ["ringlog", "topic", "list", "--bootstrap-server", "a:1,b:2"];
        let Command::Topic(TopicCommand::List(args)) = Cli::try_parse_from(words).expect("parses").command
        else {
            panic!("topic list")
        };
        assert_eq!(args.connect.bootstrap, ["a:1", "b:2"]);
    }

    #[test]
    fn contradictions_are_refused() {
        for line in [
            &["ringlog", "produce", "t", "--tombstone"][..],
            &["ringlog", "produce", "t", "--key", "k", "--key-separator", ":"],
            &["ringlog", "produce", "t", "--acks", "2"],
            &["ringlog", "consume", "t", "--follow", "--until-end"],
            &["ringlog", "consume", "t", "--from", "yesterday"],
            &["ringlog", "topic", "create", "t", "--config", "novalue"],
            &["ringlog", "cores", "--partitions", "1001"],
            &["ringlog", "cores", "--watch", "0"],
            &["ringlog", "cores", "move", "t", "0"],
            &["ringlog", "cores", "move", "t", "-1", "0"],
            &["ringlog", "cores", "move", "t", "0", "65536"],
            &["ringlog", "cores", "--watch", "1", "move", "t", "0", "1"],
        ] {
            assert!(Cli::try_parse_from(line).is_err(), "{line:?}");
        }
    }
}
