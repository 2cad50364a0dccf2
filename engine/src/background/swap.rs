//! What the cleaner wrote takes the place of the segments it was made of, one group at a time, in the steps that Apache Kafka takes and its recovery
//! understands. Each is durable before the next begins:
//!
//! ```text
//!   written     <base>.index.cleaned …, <base>.log.cleaned          a start takes it away
//!   prepare     all of them renamed to .swap, the log last          as long as one is .cleaned, a start takes all of them away
//!               ── from here on a start completes it ──
//!   exchange    the old logs renamed to .deleted, their indexes and the snapshots between them removed
//!               <base>.log.swap renamed to <base>.log
//!               the indexes' .swap removed from their names
//! ```
//!
//! What a start does is [`crate::recover`]'s. Groups follow each other from the oldest on: Kafka takes what lies between two logs named `.swap` for old,
//! and a `.cleaned` below one for a sign that it is not complete.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::segment_file;
use crate::checkpoint::{self, OffsetEntry};
use crate::error::Error;
use crate::io::files::{self, changes};
use crate::scan;

pub use crate::cleaner::CLEANED;

/// The end of a file's name that takes the place of another.
pub const SWAP: &str = ".swap";
/// The end of a file's name that nobody needs any more.
pub const DELETED: &str = ".deleted";
/// A segment's indexes.
pub const INDEXES: [&str; 3] = [".index", ".timeindex", ".txnindex"];

/// The cleaned segment is to take the place of others, if a start finds it so.
///
/// # Errors
/// The system's. Unless it was a sync that failed, what the cleaner wrote is gone or cannot be taken for complete.
pub(super) fn prepare(folder: &Path, base_offset: i64, has_aborted: bool) -> Result<(), Error> {
    drop_older(folder, base_offset)?;
    if !has_aborted {
        // One of an earlier pass, which could not be removed.
        remove(&with_end(
            &segment_file(folder, base_offset, ".txnindex"),
            CLEANED,
        ))?;
    }
    let renamed = INDEXES
        .iter()
        .try_for_each(|suffix| rename_if_there(folder, base_offset, suffix, [CLEANED, SWAP]))
        .and_then(|()| rename(folder, base_offset, ".log", [CLEANED, SWAP]));
    if renamed.is_err() {
        discard(folder, &[base_offset])?;
        return renamed;
    }
    files::sync_dir(folder)
}

/// Puts the prepared segment in the place of those it was made of. What is done already is passed over.
///
/// # Errors
/// The system's. It is to be done again then, now or by the next start.
pub(super) fn exchange(folder: &Path, replaces: &[i64]) -> Result<(), Error> {
    let Some(&base_offset) = replaces.first() else {
        return Ok(());
    };
    let new = with_end(&segment_file(folder, base_offset, ".log"), SWAP);
    if new.exists() {
        for old in replaces {
            rename_if_there(folder, *old, ".log", ["", DELETED])?;
            for suffix in INDEXES {
                remove(&segment_file(folder, *old, suffix))?;
            }
            if *old != base_offset {
                remove(&segment_file(folder, *old, ".snapshot"))?;
            }
        }
        files::sync_dir(folder)?;
        rename(folder, base_offset, ".log", [SWAP, ""])?;
        files::sync_dir(folder)?;
    }
    for suffix in INDEXES {
        rename_if_there(folder, base_offset, suffix, [SWAP, ""])?;
    }
    files::sync_dir(folder)
}

/// Removes what the cleaner wrote and nobody is going to use.
///
/// # Errors
/// The system's.
pub(super) fn discard(folder: &Path, base_offsets: &[i64]) -> Result<(), Error> {
    let paths = |end: &'static str| {
        let file = move |base: &i64, suffix: &str| with_end(&segment_file(folder, *base, suffix), end);
        base_offsets.iter().flat_map(move |base| {
            INDEXES
                .iter()
                .chain(&[".log"])
                .map(move |suffix| file(base, suffix))
        })
    };
    // As long as there is a .cleaned, no .swap counts.
    for path in paths(SWAP) {
        remove(&path)?;
    }
    files::sync_dir(folder)?;
    for path in paths(CLEANED) {
        remove(&path)?;
    }
    Ok(())
}

/// Removes the logs that were replaced.
pub(super) fn remove_replaced(folder: &Path, base_offsets: &[i64]) -> Result<(), Error> {
    base_offsets
        .iter()
        .try_for_each(|base| files::remove_large_file(&replaced(folder, *base)))
}

/// The name of a log that was replaced.
pub(super) fn replaced(folder: &Path, base_offset: i64) -> PathBuf {
    with_end(&segment_file(folder, base_offset, ".log"), DELETED)
}

/// Notes in the cleaner's checkpoint up to where a partition is clean, or with `None` that there is no such partition any more.
///
/// # Errors
/// The system's.
pub(super) fn note_cleaned(folder: &Path, cleaned_to: Option<i64>) -> Result<(), Error> {
    let name = folder.file_name().and_then(|name| name.to_str());
    let partition = name.and_then(crate::recover::split_name);
    let (Some(data_dir), Some((topic, partition))) = (folder.parent(), partition) else {
        return Ok(());
    };
    let path = data_dir.join(checkpoint::CLEANER_OFFSET_FILE);
    let bytes = files::read_small(&path)?.unwrap_or_default();
    let known = std::str::from_utf8(&bytes).ok();
    // One that cannot be read was told of at the start, and is made again from what is known since.
    let mut entries = known
        .and_then(|text| checkpoint::parse_offsets(text).ok())
        .unwrap_or_default();
    let before = entries.len();
    entries.retain(|entry| (entry.topic.as_str(), entry.partition) != (topic, partition));
    match cleaned_to {
        Some(offset) => entries.push(OffsetEntry {
            topic: topic.to_owned(),
            partition,
            offset,
        }),
        None if entries.len() == before => return Ok(()),
        None => {}
    }
    entries.sort();
    files::replace(&path, checkpoint::encode_offsets(&entries).as_bytes())
}

/// What an earlier pass left below this offset would have a start take the new segment for incomplete.
fn drop_older(folder: &Path, base_offset: i64) -> Result<(), Error> {
    let mut is_changed = false;
    for entry in files::list(folder)? {
        let base = base_of(&entry.name, CLEANED);
        if base.is_some_and(|base| base < base_offset) {
            remove(&folder.join(&entry.name))?;
            is_changed = true;
        }
    }
    match is_changed {
        true => files::sync_dir(folder),
        false => Ok(()),
    }
}

/// The base offset in the name of a segment's file with this end.
pub fn base_of(name: &str, end: &str) -> Option<i64> {
    let name = name.strip_suffix(end)?;
    INDEXES
        .iter()
        .chain(&[".log"])
        .find_map(|suffix| scan::segment_base(name, suffix))
}

/// The path with something behind it.
fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Gives one of a segment's files another end of its name.
fn rename(folder: &Path, base_offset: i64, suffix: &str, ends: [&str; 2]) -> Result<(), Error> {
    let [from, to] = ends.map(|end| with_end(&segment_file(folder, base_offset, suffix), end));
    changes::rename(&from, &to).map_err(Error::io("rename", &from))
}

/// The same where there is one.
fn rename_if_there(folder: &Path, base_offset: i64, suffix: &str, ends: [&str; 2]) -> Result<(), Error> {
    match with_end(&segment_file(folder, base_offset, suffix), ends[0]).exists() {
        true => rename(folder, base_offset, suffix, ends),
        false => Ok(()),
    }
}

/// Removes a file's name, if it is there. The caller syncs the folder.
fn remove(path: &Path) -> Result<(), Error> {
    match changes::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(Error::io("remove", path)),
    }
}
