//! Cleaning that was interrupted: what was complete takes its place, what was not goes. The rules are Apache Kafka's (`LogLoader`), whose directories
//! these may be too; see [`crate::background::swap`] for the steps.
//!
//! | there is | what it is | what is done |
//! |---|---|---|
//! | `.cleaned` | being written, or about to be complete | it goes, and every `.swap` at or above the lowest of them |
//! | `.log.swap` | complete | the segments it was made of go, it and its indexes take their places |
//! | `.swap` of an index alone | its log is in place | it takes its place |
//! | `.deleted` | replaced | it goes |

use std::ops::ControlFlow;
use std::path::Path;

use crate::background::segment_file;
use crate::background::swap::{CLEANED, DELETED, INDEXES, SWAP, base_of};
use crate::error::Error;
use crate::io::files::{self, Entry, changes};
use crate::scan;

/// Brings a partition's folder, whose entries these are, to where no cleaning is under way. False when there was nothing to do.
///
/// # Errors
/// The system's.
pub(super) fn settle(folder: &Path, entries: &[Entry]) -> Result<bool, Error> {
    let is_any = |e: &Entry| [CLEANED, SWAP, DELETED].iter().any(|end| e.name.ends_with(end));
    if !entries.iter().any(is_any) {
        return Ok(false);
    }
    let named = |end: &'static str| {
        entries
            .iter()
            .filter_map(move |e| Some((base_of(&e.name, end)?, e.name.as_str())))
    };
    let incomplete_from = named(CLEANED).map(|(base, _)| base).min().unwrap_or(i64::MAX);
    // No .cleaned goes before the .swap that do not count because of it have gone for good.
    remove_all(folder, named(SWAP).filter(|(base, _)| *base >= incomplete_from))?;
    let snapshot_end = format!(".snapshot{DELETED}");
    let snapshots = entries
        .iter()
        .filter_map(|e| Some((scan::segment_base(&e.name, &snapshot_end)?, e.name.as_str())));
    remove_all(folder, named(CLEANED).chain(named(DELETED)).chain(snapshots))?;
    let swaps: Vec<(i64, &str)> = named(SWAP).filter(|(base, _)| *base < incomplete_from).collect();
    let log_end = format!(".log{SWAP}");
    let logs: Vec<i64> = swaps
        .iter()
        .filter(|(_, name)| name.ends_with(&log_end))
        .map(|(base, _)| *base)
        .collect();
    if let (Some(&first), Some(&last)) = (logs.iter().min(), logs.iter().max()) {
        let mut end = first;
        for base in [first, last] {
            end = end.max(end_of(folder, base)?);
        }
        remove_replaced(folder, entries, first, end)?;
        for base in &logs {
            rename(folder, *base, ".log")?;
        }
        files::sync_dir(folder)?;
    }
    for (base, name) in &swaps {
        if let Some(suffix) = INDEXES
            .iter()
            .find(|suffix| name.ends_with(&format!("{suffix}{SWAP}")))
        {
            rename(folder, *base, suffix)?;
        }
    }
    files::sync_dir(folder)?;
    Ok(true)
}

/// The offset behind the last batch of a segment that is complete.
fn end_of(folder: &Path, base: i64) -> Result<i64, Error> {
    let name = segment_file(folder, base, &format!(".log{SWAP}"));
    let bytes = std::fs::metadata(&name).map_err(Error::io("stat", &name))?.len();
    let mut end = base;
    scan::walk(&name, 0, bytes, |_, header, _| {
        end = header.last_offset() + 1;
        ControlFlow::Continue(())
    })?;
    Ok(end)
}

/// Removes the segments that begin in `[first, end)`, and the snapshots between them. The first one's log is replaced as it is renamed over.
fn remove_replaced(folder: &Path, entries: &[Entry], first: i64, end: i64) -> Result<(), Error> {
    for Entry { name, .. } in entries {
        let replaced = base_of(name, "").is_some_and(|base| base == first || (first..end).contains(&base));
        let snapshot = scan::segment_base(name, ".snapshot");
        let is_between = snapshot.is_some_and(|offset| first < offset && offset < end);
        if replaced || is_between {
            remove(folder, name)?;
        }
    }
    files::sync_dir(folder)
}

fn remove_all<'a>(folder: &Path, named: impl Iterator<Item = (i64, &'a str)>) -> Result<(), Error> {
    let mut is_changed = false;
    for (_, name) in named {
        remove(folder, name)?;
        is_changed = true;
    }
    match is_changed {
        true => files::sync_dir(folder),
        false => Ok(()),
    }
}

fn remove(folder: &Path, name: &str) -> Result<(), Error> {
    let path = folder.join(name);
    changes::remove_file(&path).map_err(Error::io("remove", &path))
}

fn rename(folder: &Path, base: i64, suffix: &str) -> Result<(), Error> {
    let (from, to) = (
        segment_file(folder, base, &format!("{suffix}{SWAP}")),
        segment_file(folder, base, suffix),
    );
    changes::rename(&from, &to).map_err(Error::io("rename", &from))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::batch::BatchBuilder;

    fn batch(offset: i64) -> Vec<u8> {
        let mut batch = BatchBuilder::new().record(0, Some(b"k"), Some(b"v")).finish();
        batch[..8].copy_from_slice(&offset.to_be_bytes());
        batch
    }

    /// Segments at 0, 10 and 20, of which the first two were cleaned: a batch at 15 is left.
    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        for base in [0, 10, 20] {
            let file = |suffix: &str| segment_file(dir.path(), base, suffix);
            fs::write(file(".log"), batch(base)).expect("written");
            for suffix in [".index", ".timeindex", ".snapshot"] {
                fs::write(file(suffix), b"old").expect("written");
            }
        }
        for suffix in [".index", ".timeindex", ".txnindex"] {
            let path = segment_file(dir.path(), 0, &format!("{suffix}{CLEANED}"));
            fs::write(path, b"new").expect("written");
        }
        fs::write(segment_file(dir.path(), 0, ".log.cleaned"), batch(15)).expect("written");
        dir
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = files::list(folder).expect("a list");
        entries
            .into_iter()
            .map(|e| e.name.trim_start_matches('0').to_owned())
            .collect()
    }

    fn settled(folder: &Path) {
        let entries = files::list(folder).expect("a list");
        settle(folder, &entries).expect("settled");
    }

    const OLD: [&str; 12] = [
        ".index",
        ".log",
        ".snapshot",
        ".timeindex",
        "10.index",
        "10.log",
        "10.snapshot",
        "10.timeindex",
        "20.index",
        "20.log",
        "20.snapshot",
        "20.timeindex",
    ];
    const NEW: [&str; 9] = [
        ".index",
        ".log",
        ".snapshot",
        ".timeindex",
        ".txnindex",
        "20.index",
        "20.log",
        "20.snapshot",
        "20.timeindex",
    ];

    /// Makes the first so many of the changes that a swap makes. False when it made fewer.
    fn swap_in_part(folder: &Path, most: usize) -> bool {
        let mut left = most;
        let witness = move |_: &changes::Change<'_>| match left.checked_sub(1) {
            Some(rest) => {
                left = rest;
                Ok(())
            }
            None => Err(std::io::Error::other("killed")),
        };
        let before = changes::watch(Some(Box::new(witness)));
        let run = crate::background::run;
        let prepare = crate::background::FileJob::PrepareSwap {
            folder: folder.to_path_buf(),
            base_offset: 0,
            has_aborted: true,
            cleaned_to: None,
        };
        let swap = crate::background::FileJob::Swap {
            folder: folder.to_path_buf(),
            replaces: vec![0, 10],
        };
        let is_whole = run(&prepare).and_then(|_| run(&swap)).is_ok();
        changes::watch(before);
        !is_whole
    }

    #[test]
    fn a_swap_that_is_killed_after_any_change_is_completed_or_dropped() {
        let mut outcomes = Vec::new();
        for most in 0.. {
            let dir = folder();
            let was_killed = swap_in_part(dir.path(), most);
            let is_done_by_itself = !was_killed;
            settled(dir.path());
            let found = names(dir.path());
            let log = fs::read(segment_file(dir.path(), 0, ".log")).expect("a log");
            let index = fs::read(segment_file(dir.path(), 0, ".index")).expect("an index");
            if found == OLD {
                assert_eq!((log, index), (batch(0), b"old".to_vec()), "after {most} changes");
            } else {
                assert_eq!(found, NEW, "after {most} changes");
                assert_eq!((log, index), (batch(15), b"new".to_vec()), "after {most} changes");
            }
            outcomes.push(found == NEW);
            if is_done_by_itself {
                break;
            }
        }
        assert!(!outcomes[0] && outcomes.last() == Some(&true));
        assert!(outcomes.is_sorted(), "{outcomes:?}");
    }

    #[test]
    fn a_swap_above_something_that_is_not_complete_is_dropped() {
        let dir = folder();
        fs::rename(
            segment_file(dir.path(), 0, ".index.cleaned"),
            segment_file(dir.path(), 0, ".index.swap"),
        )
        .expect("renamed");
        fs::write(segment_file(dir.path(), 10, ".log.swap"), batch(10)).expect("written");
        settled(dir.path());
        assert_eq!(names(dir.path()), OLD);
    }

    #[test]
    fn what_was_replaced_goes_and_nothing_else() {
        let dir = folder();
        settled(dir.path());
        fs::write(segment_file(dir.path(), 10, ".log.deleted"), b"x").expect("written");
        fs::write(dir.path().join("partition.metadata"), b"x").expect("written");
        settled(dir.path());
        let mut expected: Vec<&str> = OLD.to_vec();
        expected.push("partition.metadata");
        assert_eq!(names(dir.path()), expected);
        let entries = files::list(dir.path()).expect("a list");
        assert!(
            !settle(dir.path(), &entries).expect("settled"),
            "a second time there is nothing to do"
        );
    }
}
