//! The grammar of `ringlog group`.

use std::str::FromStr;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};

use super::time::parse_time_ms;
use crate::cli::args::ConnectArgs;

/// What is shown below the help of `ringlog group`.
pub const EXAMPLES: &str = "\
Examples:
  ringlog group list --state stable --type consumer
  ringlog group describe billing
  ringlog group describe --all --state --members --json
  ringlog group reset-offsets billing --topic orders:0,1 --to-earliest
  ringlog group reset-offsets billing --all-topics --to-time 2026-03-01T06:00:00Z --execute
  ringlog group delete billing";

const DESCRIBE_EXAMPLES: &str = "\
Offsets: a group goes on from the committed one, the log end is the next that is written, and the lag lies between;
a dash where nothing is committed. Members: with the consumer protocol each has a target too, which it comes to by
its heartbeats; one that is the present assignment is shown as `same`.

Examples:
  ringlog group describe billing
  ringlog group describe billing shipping --members
  ringlog group describe --all --state --members --offsets --json";

const RESET_EXAMPLES: &str = "\
Without --execute nothing is changed: what would be set is shown. Offsets outside of a partition are moved to its
start or end, with a warning. The group must have no members.

Examples:
  ringlog group reset-offsets billing --topic orders --to-earliest
  ringlog group reset-offsets billing --topic orders:0-2,5 --topic returns --shift-by -100 --execute
  ringlog group reset-offsets billing --all-topics --to-time 1735689600000 --execute";

/// `ringlog group ...`.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// List groups
    #[command(visible_alias = "ls")]
    List(GroupListArgs),
    /// Show how far groups have read, who their members are, and what state they are in
    #[command(after_help = DESCRIBE_EXAMPLES)]
    Describe(GroupDescribeArgs),
    /// Set where a group without members goes on reading
    #[command(after_help = RESET_EXAMPLES)]
    ResetOffsets(GroupResetArgs),
    /// Delete groups without members, and their offsets
    #[command(visible_alias = "rm")]
    Delete(GroupDeleteArgs),
}

/// States of groups of either protocol, by Kafka's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
#[allow(missing_docs)] // Kafka's names
pub enum GroupState {
    PreparingRebalance,
    CompletingRebalance,
    Stable,
    Dead,
    Empty,
    Assigning,
    Reconciling,
}

/// By which protocol the members of a group share its partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GroupType {
    /// JoinGroup and SyncGroup: a member assigns.
    Classic,
    /// ConsumerGroupHeartbeat: the coordinator assigns (KIP-848).
    Consumer,
}

/// `ringlog group list`.
#[derive(Clone, Debug, Args)]
pub struct GroupListArgs {
    /// Only groups in one of these states
    #[arg(long, value_name = "STATE", value_enum, ignore_case = true, num_args = 1.., value_delimiter = ',')]
    pub state: Vec<GroupState>,
    /// Only groups of these types
    #[arg(long = "type", value_name = "TYPE", value_enum, ignore_case = true, num_args = 1.., value_delimiter = ',')]
    pub types: Vec<GroupType>,
    /// The brokers.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// `ringlog group describe`.
#[derive(Clone, Debug, Args)]
pub struct GroupDescribeArgs {
    /// Which groups
    #[arg(value_name = "GROUP", required_unless_present = "all", conflicts_with = "all")]
    pub groups: Vec<String>,
    /// All groups
    #[arg(long)]
    pub all: bool,
    /// Members, what is assigned to them, and with the consumer protocol what is going to be
    #[arg(long)]
    pub members: bool,
    /// Offsets and lag by partition; this is the default
    #[arg(long)]
    pub offsets: bool,
    /// State, coordinator, assignor and number of members
    #[arg(long)]
    pub state: bool,
    /// The brokers.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// `ringlog group reset-offsets`.
#[derive(Clone, Debug, Args)]
#[command(group(ArgGroup::new("topics").required(true).args(["topic", "all_topics"])))]
#[command(group(ArgGroup::new("target").required(true).args(
    ["to_earliest", "to_latest", "to_offset", "shift_by", "to_time", "to_current"]
)))]
pub struct GroupResetArgs {
    /// Which group; one that does not exist yet is made
    pub group: String,
    /// A topic, or some of its partitions, as orders:0,1 or orders:0-2,5; may be repeated
    #[arg(long, value_name = "TOPIC[:PARTITIONS]")]
    pub topic: Vec<TopicChoice>,
    /// All partitions the group has committed an offset for
    #[arg(long)]
    pub all_topics: bool,
    /// To the first offset still kept
    #[arg(long)]
    pub to_earliest: bool,
    /// To the end: only new records will be read
    #[arg(long)]
    pub to_latest: bool,
    /// To this offset
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    pub to_offset: Option<i64>,
    /// By so many offsets from the committed one: back when negative
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub shift_by: Option<i64>,
    /// To the first record at or after a time: ISO 8601, in UTC where it names no zone, or ms since 1970
    #[arg(long, value_name = "TIME", value_parser = parse_time_ms)]
    pub to_time: Option<i64>,
    /// To the committed offsets, or the end where there is none
    #[arg(long)]
    pub to_current: bool,
    /// Only show what would be set; this is the default
    #[arg(long, conflicts_with = "execute")]
    pub dry_run: bool,
    /// Set the offsets
    #[arg(long)]
    pub execute: bool,
    /// The brokers.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Where offsets are to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetTo {
    /// The first offset still kept.
    Earliest,
    /// After the last record.
    Latest,
    /// This offset.
    Offset(i64),
    /// This many offsets from the committed one.
    Shift(i64),
    /// The first record whose timestamp is at or after this, ms since 1970.
    TimeMs(i64),
    /// The committed offset itself.
    Current,
}

impl GroupResetArgs {
    /// The one target that was given.
    pub fn target(&self) -> ResetTo {
        match self {
            Self {
                to_earliest: true, ..
            } => ResetTo::Earliest,
            Self { to_latest: true, .. } => ResetTo::Latest,
            Self {
                to_offset: Some(offset),
                ..
            } => ResetTo::Offset(*offset),
            Self {
                shift_by: Some(count),
                ..
            } => ResetTo::Shift(*count),
            Self {
                to_time: Some(time_ms),
                ..
            } => ResetTo::TimeMs(*time_ms),
            _ => ResetTo::Current,
        }
    }
}

/// `ringlog group delete`.
#[derive(Clone, Debug, Args)]
pub struct GroupDeleteArgs {
    /// Which groups
    #[arg(required = true, value_name = "GROUP")]
    pub groups: Vec<String>,
    /// The brokers.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// A topic, and which of its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicChoice {
    /// Its name.
    pub topic: String,
    /// First and last of each range; all partitions when empty.
    pub partitions: Vec<(i32, i32)>,
}

impl FromStr for TopicChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (topic, partitions) = match text.split_once(':') {
            None => (text, Vec::new()),
            Some((topic, list)) => {
                let ranges: Option<Vec<_>> = list.split(',').map(partition_range).collect();
                let ranges = ranges.ok_or("expected TOPIC:PARTITIONS, as orders:0,1 or orders:0-2,5")?;
                (topic, ranges)
            }
        };
        match topic {
            "" => Err("expected a topic's name".to_owned()),
            _ => Ok(Self {
                topic: topic.to_owned(),
                partitions,
            }),
        }
    }
}

/// `5` or `0-2`.
fn partition_range(text: &str) -> Option<(i32, i32)> {
    let number = |digits: &str| {
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse().ok()).flatten()
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = (number(first)?, number(last)?);
    (range.0 <= range.1).then_some(range)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::{Cli, Command};

    fn parsed(words: &[&str]) -> Result<GroupCommand, clap::Error> {
        let command = Cli::try_parse_from(["ringlog", "group"].iter().chain(words))?.command;
        let Command::Group(command) = command else {
            panic!("group")
        };
        Ok(command)
    }

    fn reset(words: &[&str]) -> Option<GroupResetArgs> {
        let start = ["reset-offsets", "g"];
        match parsed(&[&start[..], words].concat()) {
            Ok(GroupCommand::ResetOffsets(args)) => Some(args),
            _ => None,
        }
    }

    #[test]
    fn partitions_of_a_topic_are_numbers_and_ranges() {
        let cases = [
            ("orders", Some(vec![])),
            ("orders:0", Some(vec![(0, 0)])),
            ("orders:0-2,5", Some(vec![(0, 2), (5, 5)])),
            ("orders:", None),
            ("orders:0,", None),
            ("orders:2-0", None),
            ("orders:-1", None),
            ("orders:+1", None),
            ("orders:2147483648", None),
            (":0", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let found = text.parse::<TopicChoice>().ok();
            let expected = expected.map(|partitions| TopicChoice {
                topic: "orders".to_owned(),
                partitions,
            });
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn a_reset_has_one_target() {
        let cases = [
            (&["--to-earliest"][..], Some(ResetTo::Earliest)),
            (&["--to-latest"], Some(ResetTo::Latest)),
            (&["--to-offset", "7"], Some(ResetTo::Offset(7))),
            (&["--shift-by", "-3"], Some(ResetTo::Shift(-3))),
            (
                &["--to-time", "1970-01-01T00:00:01Z"],
                Some(ResetTo::TimeMs(1000)),
            ),
            (&["--to-current"], Some(ResetTo::Current)),
            (&[], None),
            (&["--to-earliest", "--to-latest"], None),
            (&["--to-offset", "-1"], None),
            (&["--to-time", "yesterday"], None),
        ];
        for (target, expected) in cases {
            let words = [&["--topic", "t"][..], target].concat();
            assert_eq!(reset(&words).map(|args| args.target()), expected, "{words:?}");
        }
    }

    #[test]
    fn contradictions_are_refused() {
        for words in [
            &["describe"][..],
            &["describe", "g", "--all"],
            &["list", "--state", "asleep"],
            &["list", "--type", "share"],
            &["delete"],
            &["reset-offsets", "g", "--to-earliest"],
            &[
                "reset-offsets",
                "g",
                "--to-earliest",
                "--topic",
                "t",
                "--all-topics",
            ],
            &[
                "reset-offsets",
                "g",
                "--to-earliest",
                "--all-topics",
                "--dry-run",
                "--execute",
            ],
        ] {
            assert!(parsed(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn states_have_kafkas_names_in_any_case() {
        let line = [
            "list",
            "--state",
            "stable",
            "PreparingRebalance",
            "--type",
            "classic,consumer",
        ];
        let Ok(GroupCommand::List(args)) = parsed(&line) else {
            panic!("parses")
        };
        assert_eq!(args.state, [GroupState::Stable, GroupState::PreparingRebalance]);
        assert_eq!(args.types, [GroupType::Classic, GroupType::Consumer]);
    }
}
