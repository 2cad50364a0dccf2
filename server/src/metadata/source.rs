//! Reading a metadata log from a data directory at start, Apache Kafka's or our own.
//!
//! ```text
//! <data>/__cluster_metadata-0/<offset, 20 digits>-<epoch, 10 digits>.checkpoint   snapshot: everything before <offset>
//! <data>/__cluster_metadata-0/<base offset, 20 digits>.log                        the log from there on
//! <data>/bootstrap.checkpoint                                                     records for an empty log
//! ```
//! All three hold record batches. A snapshot is complete when it has its name: it is written under another.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::batches::{self, LogError};
use super::records::Record;
use super::replay::{Replay, ReplayError};
use crate::wire::Uuid;

/// The directory of the metadata log.
pub const LOG_DIRECTORY: &str = "__cluster_metadata-0";
/// The topic of the metadata log.
pub const LOG_TOPIC: &str = "__cluster_metadata";
const BOOTSTRAP: &str = "bootstrap.checkpoint";

/// What a directory holds before its log is read.
#[derive(Debug, Default)]
pub struct Start {
    /// The newest snapshot, applied.
    pub replay: Replay,
    /// The offset from which the log is to be read.
    pub next_offset: i64,
    /// The leader epoch at that offset.
    pub epoch: i32,
    /// Records to append to the log if it proves to be empty.
    pub bootstrap: Vec<Record>,
    /// Topics that the log deletes: what is in a folder of theirs is nobody's.
    pub deleted_topics: HashSet<Uuid>,
}

/// Why a directory's metadata cannot be read.
#[derive(Debug)]
pub enum SourceError {
    /// The file system failed.
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Its error.
        error: io::Error,
    },
    /// The file's contents cannot be used.
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: ReplayError,
    },
    /// Segments do not follow each other.
    Gap {
        /// The later segment.
        path: PathBuf,
        /// The offset before it ends.
        end: i64,
    },
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Content { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Gap { path, end } => {
                write!(
                    f,
                    "{}: records are missing, the log before it ends at offset {end}",
                    path.display()
                )
            }
        }
    }
}

impl std::error::Error for SourceError {}

/// Reads the newest snapshot, or without one `bootstrap.checkpoint`. A directory that does not exist is empty.
///
/// # Errors
/// A file cannot be read, or holds what this broker does not understand.
pub fn start(data_dir: &Path) -> Result<Start, SourceError> {
    let mut start = Start::default();
    let mut snapshots = Vec::new();
    for path in list(&data_dir.join(LOG_DIRECTORY))? {
        snapshots.extend(snapshot_name(&path).map(|(offset, epoch)| (offset, epoch, path)));
    }
    if let Some((offset, epoch, path)) = snapshots.into_iter().max() {
        let bytes = read(&path)?;
        start
            .replay
            .feed(&bytes, 0)
            .map_err(|error| SourceError::Content { path, error })?;
        (start.next_offset, start.epoch) = (offset, epoch);
    }
    if start.next_offset == 0 {
        start.bootstrap = bootstrap(&data_dir.join(BOOTSTRAP))?;
    }
    Ok(start)
}

/// Reads the log files from `start.next_offset` on and moves it to their end. Stops without an error at a batch
/// that is torn, damaged or out of place: whoever owns the log decides about its tail.
///
/// # Errors
/// A file cannot be read, a segment is missing, or a record is unknown or contradicts those before it.
pub fn read_log(data_dir: &Path, start: &mut Start) -> Result<(), SourceError> {
    let mut segments = Vec::new();
    for path in list(&data_dir.join(LOG_DIRECTORY))? {
        segments.extend(segment_name(&path).map(|base| (base, path)));
    }
    segments.sort();
    let covering = segments
        .partition_point(|(base, _)| *base <= start.next_offset)
        .saturating_sub(1);
    for (base, path) in segments.split_off(covering.min(segments.len())) {
        if base > start.next_offset {
            return Err(SourceError::Gap {
                path,
                end: start.next_offset,
            });
        }
        let bytes = read(&path)?;
        let from = start.next_offset;
        let (replay, deleted) = (&mut start.replay, &mut start.deleted_topics);
        let read = batches::decode::<ReplayError>(&sound(&bytes, base), &mut |placed| {
            if placed.offset < from {
                return Ok(());
            }
            if let Record::RemoveTopic(record) = &placed.record {
                deleted.insert(record.topic_id);
            }
            replay.apply(placed)
        });
        if let Err(error) = read {
            return Err(SourceError::Content { path, error });
        }
        if let Ok(Some((end, epoch))) = batches::end(&sound(&bytes, base)) {
            (start.next_offset, start.epoch) = (from.max(end), epoch.max(start.epoch));
        }
    }
    Ok(())
}

/// The front of a segment up to the first batch that is damaged or does not follow the one before.
fn sound(bytes: &Bytes, base: i64) -> Bytes {
    let mut position = 0;
    let mut next = base;
    loop {
        let rest = bytes.slice(position..);
        match batches::first(&rest) {
            Ok(Some((length, first, end))) if first == next => {
                position += length;
                next = end;
            }
            _ => return bytes.slice(..position),
        }
    }
}

fn bootstrap(path: &Path) -> Result<Vec<Record>, SourceError> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let mut records = Vec::new();
    let bytes = read(path)?;
    let each = &mut |placed: batches::Placed| {
        records.push(placed.record);
        Ok(())
    };
    batches::decode::<LogError>(&bytes, each).map_err(|error| SourceError::Content {
        path: path.to_owned(),
        error: error.into(),
    })?;
    Ok(records)
}

fn list(directory: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let failed = |error| SourceError::Io {
        path: directory.to_owned(),
        error,
    };
    match std::fs::read_dir(directory) {
        Ok(entries) => entries
            .map(|entry| entry.map(|e| e.path()).map_err(failed))
            .collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed(error)),
    }
}

fn read(path: &Path) -> Result<Bytes, SourceError> {
    let bytes = std::fs::read(path).map_err(|error| SourceError::Io {
        path: path.to_owned(),
        error,
    })?;
    Ok(bytes.into())
}

fn snapshot_name(path: &Path) -> Option<(i64, i32)> {
    let (offset, epoch) = path
        .file_name()?
        .to_str()?
        .strip_suffix(".checkpoint")?
        .split_once('-')?;
    Some((digits(offset, 20)?, i32::try_from(digits(epoch, 10)?).ok()?))
}

fn segment_name(path: &Path) -> Option<i64> {
    digits(path.file_name()?.to_str()?.strip_suffix(".log")?, 20)
}

fn digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::records::level;
    use crate::wire::Uuid;
    use crate::wire::metadata_records::*;

    fn batch(base: i64, name: &str) -> Vec<u8> {
        let id = Uuid([name.len() as u8; 16]);
        let mut bytes = batches::encode(
            &[TopicRecord {
                name: name.into(),
                topic_id: id,
            }
            .into()],
            level::V4_3,
            3,
            0,
        );
        bytes[..8].copy_from_slice(&base.to_be_bytes());
        bytes
    }

    fn directory(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("tempdir");
        std::fs::create_dir(dir.path().join(LOG_DIRECTORY)).expect("created");
        for (name, bytes) in files {
            std::fs::write(dir.path().join(name), bytes).expect("written");
        }
        dir
    }

    fn names(start: &Start) -> Vec<String> {
        start
            .replay
            .image()
            .topics()
            .map(|topic| topic.name.to_string())
            .collect()
    }

    fn load(files: &[(&str, Vec<u8>)]) -> Result<Start, SourceError> {
        let dir = directory(files);
        let mut begun = start(dir.path())?;
        read_log(dir.path(), &mut begun)?;
        Ok(begun)
    }

    const SNAPSHOT: &str = "__cluster_metadata-0/00000000000000000002-0000000003.checkpoint";
    const FIRST: &str = "__cluster_metadata-0/00000000000000000000.log";
    const SECOND: &str = "__cluster_metadata-0/00000000000000000002.log";

    #[test]
    fn an_empty_directory_is_an_empty_image() {
        let dir = tempfile::tempdir().expect("tempdir");
        let begun = start(&dir.path().join("nothing")).expect("read");
        assert!(begun.next_offset == 0 && begun.bootstrap.is_empty());
    }

    #[test]
    fn the_log_goes_on_where_the_snapshot_ends() {
        let first = [batch(0, "a"), batch(1, "bb")].concat();
        let second = [batch(2, "ccc"), batch(3, "dddd")].concat();
        let files = [(SNAPSHOT, batch(0, "a")), (FIRST, first), (SECOND, second)];
        let begun = load(&files).expect("read");
        assert_eq!(names(&begun), ["a", "ccc", "dddd"]);
        assert_eq!((begun.next_offset, begun.epoch), (4, 3));
    }

    #[test]
    fn a_torn_or_stale_tail_is_left_alone() {
        let mut torn = [batch(0, "a"), batch(1, "bb")].concat();
        torn.truncate(torn.len() - 3);
        let stale = [batch(0, "a"), batch(7, "bb")].concat();
        for bytes in [torn, stale] {
            let begun = load(&[(FIRST, bytes)]).expect("read");
            assert_eq!((names(&begun), begun.next_offset), (vec!["a".to_owned()], 1));
        }
    }

    #[test]
    fn a_missing_segment_is_an_error() {
        let said = load(&[(FIRST, batch(0, "a")), (SECOND, batch(2, "ccc"))]).expect_err("gap");
        assert!(said.to_string().contains("records are missing"), "{said}");
    }

    #[test]
    fn bootstrap_records_are_for_an_empty_log() {
        let begun = load(&[("bootstrap.checkpoint", batch(0, "a"))]).expect("read");
        assert_eq!((begun.bootstrap.len(), names(&begun).len()), (1, 0));
    }
}
