//! The small text files of a data directory: how they read and how they are written. No I/O.
//!
//! Offset checkpoints are lines: the version 0, how many entries follow, and then `topic partition offset` for each.
//! A missing or empty file has no entries. What does not read as it was written is refused with the number of its
//! line: a broker that guesses at its own state loses data.

use std::collections::HashSet;
use std::fmt;

mod identity;

pub use identity::{
    MetaProperties, Property, Uuid, ZERO_UUID, encode_clean_shutdown, encode_partition_metadata, encode_uuid,
    parse_clean_shutdown, parse_partition_metadata, parse_properties, parse_uuid,
};

/// Offsets up to which each partition's files were synced; recovery starts there.
pub const RECOVERY_POINT_FILE: &str = "recovery-point-offset-checkpoint";
/// High watermark of each partition.
pub const REPLICATION_OFFSET_FILE: &str = "replication-offset-checkpoint";
/// First offset of each partition whose first segment holds earlier, deleted records.
pub const LOG_START_OFFSET_FILE: &str = "log-start-offset-checkpoint";
/// First offset of each partition that was not yet compacted.
pub const CLEANER_OFFSET_FILE: &str = "cleaner-offset-checkpoint";
/// In each partition's directory: see [`crate::epochs`].
pub const LEADER_EPOCH_FILE: &str = "leader-epoch-checkpoint";
/// In each partition's directory: the topic's id.
pub const PARTITION_METADATA_FILE: &str = "partition.metadata";
/// Whose data directory it is.
pub const META_PROPERTIES_FILE: &str = "meta.properties";
/// There after a clean stop, and taken away at the next start.
pub const CLEAN_SHUTDOWN_FILE: &str = ".kafka_cleanshutdown";
/// Locked by the broker that runs on the directory.
pub const LOCK_FILE: &str = ".lock";
/// Records the metadata log starts from, written by Kafka's formatter.
pub const BOOTSTRAP_FILE: &str = "bootstrap.checkpoint";

const VERSION: i32 = 0;

/// A text file that does not read as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointError {
    /// The line, counted from 1; 0 when it is the file as a whole.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl CheckpointError {
    fn new(line: usize, reason: impl Into<String>) -> CheckpointError {
        CheckpointError {
            line,
            reason: reason.into(),
        }
    }
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.reason),
            line => write!(f, "line {line}: {}", self.reason),
        }
    }
}

impl std::error::Error for CheckpointError {}

/// One line of an offset checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OffsetEntry {
    /// The topic's name.
    pub topic: String,
    /// The partition's index.
    pub partition: i32,
    /// The offset; what it means depends on the file.
    pub offset: i64,
}

/// The text of an offset checkpoint.
pub fn encode_offsets(entries: &[OffsetEntry]) -> String {
    encode_lines(
        entries
            .iter()
            .map(|e| format!("{} {} {}", e.topic, e.partition, e.offset)),
    )
}

/// Reads the text of an offset checkpoint.
///
/// A partition listed twice is refused. (Kafka never writes that, and would take the last one.)
pub fn parse_offsets(text: &str) -> Result<Vec<OffsetEntry>, CheckpointError> {
    let mut seen = HashSet::new();
    let mut entries = Vec::new();
    for line in parse_lines(text)? {
        let [topic, partition, offset] = line.fields()?;
        let (partition, offset) = (line.number(partition)?, line.number(offset)?);
        if topic.is_empty() || partition < 0 {
            return Err(line.error("expected a topic and a partition that is not negative"));
        }
        if !seen.insert((topic, partition)) {
            return Err(line.error(format!("{topic} {partition} was listed before")));
        }
        entries.push(OffsetEntry {
            topic: topic.to_owned(),
            partition,
            offset,
        });
    }
    Ok(entries)
}

/// Version, count and lines of a checkpoint file.
pub(crate) fn encode_lines(lines: impl ExactSizeIterator<Item = String>) -> String {
    let mut text = format!("{VERSION}\n{}\n", lines.len());
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// The entries of a checkpoint file, once its version and its count are right.
pub(crate) fn parse_lines(text: &str) -> Result<Vec<Line<'_>>, CheckpointError> {
    let mut lines = text
        .lines()
        .enumerate()
        .map(|(i, text)| Line { number: i + 1, text });
    let Some(version) = lines.next() else {
        return Ok(Vec::new());
    };
    if version.number::<i32>(version.text)? != VERSION {
        return Err(version.error(format!("version {:?} is not known, only {VERSION}", version.text)));
    }
    let Some(count) = lines.next() else {
        return Ok(Vec::new());
    };
    let expected: usize = count.number(count.text)?;
    let entries: Vec<_> = lines.collect();
    if entries.len() != expected {
        return Err(count.error(format!(
            "{expected} entries were announced, but there are {}",
            entries.len()
        )));
    }
    Ok(entries)
}

/// A line of a text file and its number, counted from 1.
#[derive(Clone, Copy)]
pub(crate) struct Line<'a> {
    number: usize,
    text: &'a str,
}

impl<'a> Line<'a> {
    /// Exactly `N` fields with white space between them. White space after the last one does no harm.
    pub(crate) fn fields<const N: usize>(&self) -> Result<[&'a str; N], CheckpointError> {
        let is_space = |c: char| matches!(c, ' ' | '\t' | '\r' | '\x0b' | '\x0c');
        let fields: Vec<&str> = self
            .text
            .split(is_space)
            .filter(|field| !field.is_empty())
            .collect();
        match fields.try_into() {
            Ok(fields) if !self.text.starts_with(is_space) => Ok(fields),
            _ => Err(self.error(format!("expected {N} fields, found {:?}", self.text))),
        }
    }

    /// A field as a number.
    pub(crate) fn number<T: std::str::FromStr>(&self, field: &str) -> Result<T, CheckpointError> {
        field
            .parse()
            .map_err(|_| self.error(format!("expected a number, found {field:?}")))
    }

    pub(crate) fn error(&self, reason: impl Into<String>) -> CheckpointError {
        CheckpointError::new(self.number, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(topic: &str, partition: i32, offset: i64) -> OffsetEntry {
        OffsetEntry {
            topic: topic.to_owned(),
            partition,
            offset,
        }
    }

    #[test]
    fn offsets_text_form() {
        let entries = [entry("a.b_c-d", 0, 12), entry("__consumer_offsets", 49, 0)];
        let text = encode_offsets(&entries);
        assert_eq!(text, "0\n2\na.b_c-d 0 12\n__consumer_offsets 49 0\n");
        assert_eq!(parse_offsets(&text), Ok(entries.to_vec()));
        assert_eq!(encode_offsets(&[]), "0\n0\n");
    }

    #[test]
    fn missing_parts_mean_no_entries() {
        for text in ["", "0", "0\n", "0\n0", "0\n0\n"] {
            assert_eq!(parse_offsets(text), Ok(Vec::new()), "{text:?}");
        }
    }

    #[test]
    fn faults_name_their_line() {
        let table = [
            ("1\n0\n", 1),
            ("x\n0\n", 1),
            ("\n0\n", 1),
            (" 0\n0\n", 1),
            ("0\n-1\n", 2),
            ("0\n2\na 0 1\n", 2),
            ("0\n1\na 0 1\nb 0 1\n", 2),
            ("0\n99999999999999999999\n", 2),
            ("0\n1\na 0\n", 3),
            ("0\n1\n a 0 1\n", 3),
            ("0\n1\na 0 1 2\n", 3),
            ("0\n1\na -1 1\n", 3),
            ("0\n1\na 0 9223372036854775808\n", 3),
            ("0\n2\na 0 1\n\n", 4),
            ("0\n2\na 0 1\na 0 2\n", 4),
        ];
        for (text, line) in table {
            assert_eq!(parse_offsets(text).map_err(|e| e.line), Err(line), "{text:?}");
        }
    }

    #[test]
    fn windows_line_ends_and_trailing_blanks_are_read() {
        assert_eq!(
            parse_offsets("0\r\n1\r\na  0\t1 \r\n"),
            Ok(vec![entry("a", 0, 1)])
        );
    }

    proptest! {
        #[test]
        fn read_back(names in prop::collection::hash_set(("[a-zA-Z0-9._-]{1,20}", 0..i32::MAX), 0..20), offset in any::<i64>()) {
            let entries: Vec<_> = names.iter().map(|(topic, partition)| entry(topic, *partition, offset)).collect();
            prop_assert_eq!(parse_offsets(&encode_offsets(&entries)), Ok(entries));
        }

        #[test]
        fn never_panics(text in "(0\n)?[0-9]{0,3}\n?[a-z0-9 \t\r\n+-]{0,60}|\\PC{0,40}") {
            let _ = parse_offsets(&text);
        }
    }
}
