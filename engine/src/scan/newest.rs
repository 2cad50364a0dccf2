//! How old a sealed segment is: the largest timestamp of its records, which is the last entry of its time index.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use crate::background::segment_file;
use crate::error::Error;
use crate::index::{TIME_ENTRY_BYTES, TimeEntry};

/// [`newest_time`] of each of these segments (base offset and bytes of its log); those that cannot be read are left out.
///
/// # Errors
/// Of the first, when none can be read.
pub fn newest_times(
    folder: &Path,
    segments: &[(i64, u64)],
    interval_bytes: u32,
) -> Result<Vec<(i64, i64)>, Error> {
    let mut found = Vec::with_capacity(segments.len());
    let mut failed = None;
    for &(base_offset, size_bytes) in segments {
        match newest_time(folder, base_offset, size_bytes, interval_bytes) {
            Ok(newest_ms) => found.push((base_offset, newest_ms)),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    match failed {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found),
    }
}

/// The largest timestamp in a sealed segment, or when its log was changed last where no record has one, in milliseconds since 1970.
///
/// Reads two entries of the time index. One that cannot be believed is built again from the log.
///
/// # Errors
/// The system's.
pub fn newest_time(
    folder: &Path,
    base_offset: i64,
    size_bytes: u64,
    interval_bytes: u32,
) -> Result<i64, Error> {
    match largest_time(folder, base_offset, size_bytes, interval_bytes)? {
        // No record's timestamp is said by -1.
        Some(timestamp_ms) if timestamp_ms >= 0 => Ok(timestamp_ms),
        _ => {
            let log = segment_file(folder, base_offset, ".log");
            modified_ms(&log).map_err(Error::io("stat", &log))
        }
    }
}

/// The largest timestamp in a sealed segment, if any of its records has one; otherwise as [`newest_time`].
///
/// # Errors
/// The system's.
pub fn largest_time(
    folder: &Path,
    base_offset: i64,
    size_bytes: u64,
    interval_bytes: u32,
) -> Result<Option<i64>, Error> {
    let path = segment_file(folder, base_offset, ".timeindex");
    let found = match last_time(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Nonsense,
        found => found.map_err(Error::io("read", &path))?,
    };
    let log = segment_file(folder, base_offset, ".log");
    let is_timed = || super::first_header(&log).is_some_and(|header| header.max_timestamp_ms >= 0);
    Ok(match found {
        Found::Time(timestamp_ms) => Some(timestamp_ms),
        Found::None if !is_timed() => None,
        Found::None | Found::Nonsense => {
            let index = super::rebuild_index(folder, base_offset, size_bytes, interval_bytes)?;
            index.largest_timestamp().map(|entry| entry.timestamp_ms)
        }
    })
}

enum Found {
    Time(i64),
    /// There is no entry: no record has a timestamp, unless the file was emptied.
    None,
    /// It is no time index, or one that was not brought to its end.
    Nonsense,
}

fn last_time(path: &Path) -> io::Result<Found> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let entry_bytes = TIME_ENTRY_BYTES as u64;
    if bytes == 0 {
        return Ok(Found::None);
    }
    if !bytes.is_multiple_of(entry_bytes) {
        return Ok(Found::Nonsense);
    }
    let read = |at: u64| -> io::Result<TimeEntry> {
        let mut entry = [0; TIME_ENTRY_BYTES];
        file.read_exact_at(&mut entry, at)?;
        Ok(TimeEntry::decode(&entry))
    };
    let (first, last) = (read(0)?, read(bytes - entry_bytes)?);
    let is_in_order = bytes == entry_bytes || first.timestamp_ms < last.timestamp_ms;
    let is_inside = last.relative_offset <= i32::MAX as u32 && first.relative_offset <= last.relative_offset;
    Ok(match is_in_order && is_inside {
        true => Found::Time(last.timestamp_ms),
        false => Found::Nonsense,
    })
}

fn modified_ms(path: &Path) -> io::Result<i64> {
    let modified = std::fs::metadata(path)?.modified()?;
    let ms = |time: std::time::Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    Ok(match modified.duration_since(UNIX_EPOCH) {
        Ok(since) => ms(since),
        Err(before) => -ms(before.duration()),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::batch::{self, BatchBuilder};

    const BASE: i64 = 40;

    /// A sealed segment with one record at each of these times; its index is built from its log.
    fn segment(times: &[i64]) -> (tempfile::TempDir, u64) {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Vec::new();
        for (i, timestamp_ms) in times.iter().enumerate() {
            let new = BatchBuilder::new().timestamp(*timestamp_ms);
            let mut bytes = new.record(0, None, Some(b"value")).finish();
            batch::stamp(&mut bytes, BASE + i as i64, 0);
            log.extend(bytes);
        }
        fs::write(segment_file(dir.path(), BASE, ".log"), &log).unwrap();
        let bytes = log.len() as u64;
        super::super::load_index(dir.path(), BASE, bytes, 1).unwrap();
        (dir, bytes)
    }

    fn newest(segment: &(tempfile::TempDir, u64)) -> i64 {
        newest_time(segment.0.path(), BASE, segment.1, 1).unwrap()
    }

    #[test]
    fn the_last_entry_of_the_time_index_says_how_old_a_segment_is() {
        for (times, expected) in [
            (&[5, 9, 7, 8][..], 9),
            (&[7][..], 7),
            // One entry of nothing but zeroes.
            (&[0][..], 0),
            (&[0, 0, 3][..], 3),
            (&[i64::MAX, 4][..], i64::MAX),
        ] {
            assert_eq!(newest(&segment(times)), expected, "{times:?}");
        }
    }

    #[test]
    fn an_index_that_cannot_be_believed_is_built_again() {
        for damage in [&[0; 5][..], &[0; 120][..]] {
            let segment = segment(&[5, 6, 9]);
            let path = segment_file(segment.0.path(), BASE, ".timeindex");
            let mut bytes = fs::read(&path).unwrap();
            bytes.extend(damage);
            fs::write(&path, bytes).unwrap();
            assert_eq!(newest(&segment), 9, "{damage:?}");
        }
        let segment = segment(&[5, 6, 9]);
        fs::remove_file(segment_file(segment.0.path(), BASE, ".timeindex")).unwrap();
        assert_eq!(newest(&segment), 9);
    }

    #[test]
    fn without_a_timestamp_the_file_says_it() {
        let segment = segment(&[-1, -1]);
        let now = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let age_ms = now.as_millis() as i64 - newest(&segment);
        assert!((0..600_000).contains(&age_ms), "{age_ms}");
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let (dir, bytes) = segment(&[5, 6, 9]);
        let two = [(BASE, bytes), (77, 1)];
        assert_eq!(newest_times(dir.path(), &two, 1).unwrap(), [(BASE, 9)]);
        assert!(newest_times(dir.path(), &two[1..], 1).is_err());
    }
}
