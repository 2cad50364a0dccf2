//! A partition's folder: made, taken out of sight, and what of it is kept.

use std::path::{Path, PathBuf};

use super::create_segment;
use super::removal::is_removed_log;
use crate::batch;
use crate::checkpoint::{self, Uuid};
use crate::error::Error;
use crate::io::files::{self, Sync};
use crate::scan;
use crate::spares::Spares;

/// Makes a folder with what a partition needs. Gives the new name of the folder that was in its place, if that was another topic's and may be
/// removed.
///
/// # Errors
/// The system's, also when the other folder cannot be taken out of sight: its files under the new topic's name would be taken for the
/// new topic's, or the new topic's for those of the old one.
pub(super) fn create(
    folder: &Path,
    metadata: &str,
    epochs: &str,
    sync: Sync,
) -> Result<Option<PathBuf>, Error> {
    let wanted = topic_id(metadata);
    let (is_its, displaced) = match read_metadata(folder)? {
        Found::Topic(id) if Some(id) == wanted => (true, None),
        // Topics whose names are taken are not made: the other one is deleted, and the disk refused to rename its folder, or it was gone before
        // its folder was made to the end.
        Found::Topic(id) => (false, Some(displace(folder, id, "delete")?)),
        Found::Unknown if has_bytes(folder)? => {
            displace(folder, checkpoint::ZERO_UUID, "stray")?;
            (false, None)
        }
        // Or what cannot be read is what a power cut left of an earlier attempt.
        Found::Nothing | Found::Unknown => (false, None),
    };
    files::create_dir_with(folder, sync)?;
    if !is_its {
        let path = folder.join(checkpoint::PARTITION_METADATA_FILE);
        files::replace_with(&path, metadata.as_bytes(), sync)?;
    }
    let path = folder.join(checkpoint::LEADER_EPOCH_FILE);
    if std::fs::metadata(&path).map_or(0, |found| found.len()) == 0 {
        files::replace_with(&path, epochs.as_bytes(), sync)?;
    }
    if !files::list(folder)?.iter().any(|e| e.name.ends_with(".log")) {
        create_segment(folder, 0)?;
    }
    if sync == Sync::Now {
        files::sync_dir(folder)?;
    }
    Ok(displaced)
}

/// Whose folder stands in a new one's place.
enum Found {
    /// There is none.
    Nothing,
    Topic(Uuid),
    /// Its `partition.metadata` is missing or cannot be read.
    Unknown,
}

fn read_metadata(folder: &Path) -> Result<Found, Error> {
    let found = files::read_small(&folder.join(checkpoint::PARTITION_METADATA_FILE))?;
    let id = found.and_then(|bytes| topic_id(std::str::from_utf8(&bytes).ok()?));
    Ok(match id {
        Some(id) => Found::Topic(id),
        None if folder.exists() => Found::Unknown,
        None => Found::Nothing,
    })
}

fn topic_id(metadata: &str) -> Option<Uuid> {
    checkpoint::parse_partition_metadata(metadata).ok()
}

/// Whether a log in the folder has as much as one batch, as far as lengths tell.
fn has_bytes(folder: &Path) -> Result<bool, Error> {
    let is_log = |e: &files::Entry| scan::segment_base(&e.name, ".log").is_some();
    let entries = files::list(folder)?;
    Ok(entries
        .iter()
        .any(|e| is_log(e) && e.bytes >= batch::HEADER_BYTES as u64))
}

/// Most bytes of a file's name.
const MOST_NAME_BYTES: usize = 255;

/// Takes the folder out of sight, under a name with its topic's id.
fn displace(folder: &Path, id: Uuid, why: &str) -> Result<PathBuf, Error> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let renamed = |number: u128| {
        let suffix = format!(".{number:032x}-{why}");
        let kept = name.floor_char_boundary(name.len().min(MOST_NAME_BYTES - suffix.len()));
        folder.with_file_name(format!("{}{suffix}", &name[..kept]))
    };
    let mut number = u128::from_be_bytes(id);
    // Of two long names the same may be kept.
    while renamed(number).exists() {
        number = number.wrapping_add(1);
    }
    let renamed = renamed(number);
    hide(folder, &renamed)?;
    Ok(renamed)
}

/// Takes a folder out of sight; one that is already is fine.
pub(super) fn hide(folder: &Path, renamed: &Path) -> Result<(), Error> {
    if folder.exists() {
        files::rename(folder, renamed)?;
    }
    Ok(())
}

/// Keeps the logs of a partition that is removed, as far as there is room.
pub(super) fn keep_logs(folder: &Path, spares: &Spares) -> Result<(), Error> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in files::list(folder)? {
        let path = folder.join(&entry.name);
        let is_log = scan::segment_base(&entry.name, ".log").is_some() || is_removed_log(&path);
        if is_log && !entry.is_dir {
            spares.keep(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::background::{FileJob, JobOutput, run, segment_file};
    use crate::io::files::changes::{self, Change};

    fn make(folder: &Path, id: u8) -> Result<JobOutput, Error> {
        run(&FileJob::CreatePartition {
            folder: folder.to_path_buf(),
            metadata: checkpoint::encode_partition_metadata([id; 16]),
            epochs: "0\n0\n".into(),
        })
    }

    /// The id in a folder, and what its first segment holds.
    fn held(folder: &Path) -> (Option<Uuid>, Vec<u8>) {
        let metadata = fs::read_to_string(folder.join(checkpoint::PARTITION_METADATA_FILE)).unwrap();
        let log = fs::read(segment_file(folder, 0, ".log")).unwrap();
        (topic_id(&metadata), log)
    }

    #[test]
    fn what_an_earlier_attempt_made_for_the_same_topic_stays() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("t-0");
        make(&folder, 1).unwrap();
        fs::write(segment_file(&folder, 0, ".log"), b"batches").unwrap();
        fs::write(folder.join(checkpoint::LEADER_EPOCH_FILE), "0\n1\n3 0\n").unwrap();
        assert!(matches!(make(&folder, 1), Ok(JobOutput::Done)));
        assert_eq!(held(&folder), (Some([1; 16]), b"batches".to_vec()));
        let epochs = fs::read_to_string(folder.join(checkpoint::LEADER_EPOCH_FILE)).unwrap();
        assert_eq!(epochs, "0\n1\n3 0\n");
    }

    #[test]
    fn another_topics_folder_gives_way() {
        let dir = tempfile::tempdir().unwrap();
        // Of the longest names only the beginning is kept, and is the same.
        let long = "x".repeat(249);
        for name in ["t-0".into(), format!("{long}-0"), format!("{long}-1")] {
            let folder = dir.path().join(name);
            make(&folder, 1).unwrap();
            fs::write(segment_file(&folder, 0, ".log"), b"batches").unwrap();
            let Ok(JobOutput::Displaced(renamed)) = make(&folder, 2) else {
                panic!("{} was taken", folder.display())
            };
            assert_eq!(held(&folder), (Some([2; 16]), Vec::new()));
            assert_eq!(held(&renamed), (Some([1; 16]), b"batches".to_vec()));
            assert!(renamed.to_string_lossy().ends_with("-delete"), "{renamed:?}");
        }
    }

    #[test]
    fn where_another_topics_folder_cannot_give_way_none_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("t-0");
        make(&folder, 1).unwrap();
        changes::watch(Some(Box::new(|change| match change {
            Change::Rename { from, .. } if from.ends_with("t-0") => Err(std::io::Error::other("refused")),
            _ => Ok(()),
        })));
        let made = make(&folder, 2);
        changes::watch(None);
        assert!(made.is_err(), "{made:?}");
        assert_eq!(held(&folder).0, Some([1; 16]));
    }

    #[test]
    fn a_folder_of_nobody_is_made_to_the_end_or_set_aside_when_it_holds_batches() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("t-0");
        for (metadata, log, gives_way) in [
            (&b""[..], &[0; 1][..], false),
            (&[0; 60], &[0; 1], false),
            (&[0; 60], &[9; 100], true),
        ] {
            make(&folder, 1).unwrap();
            fs::write(folder.join(checkpoint::PARTITION_METADATA_FILE), metadata).unwrap();
            fs::write(segment_file(&folder, 0, ".log"), log).unwrap();
            assert!(matches!(make(&folder, 1), Ok(JobOutput::Done)));
            assert_eq!(held(&folder).0, Some([1; 16]));
            // Nobody asked for its end.
            let stray = dir.path().join(format!("t-0.{:032x}-stray", 0));
            assert_eq!(stray.exists(), gives_way);
            assert_eq!(held(&folder).1 == log, !gives_way);
        }
    }
}
