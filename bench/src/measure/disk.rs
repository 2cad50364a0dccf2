//! The disk's own floor: direct, synchronous writes into a file that is written already, the fastest durable write there is.
//!
//! The file has its final size and no unwritten extents, so a write changes no metadata but a time stamp; its bytes are random, so no
//! device can store them as "zero" or squeeze them. Any broker that waits for stable storage is slower than this.

use std::fs::{File, OpenOptions, canonicalize, read_to_string, remove_file};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::fs::OFlags;

use crate::error::Error;
use crate::measure::mounts::{Mount, mount_of};
use crate::report::model::{DiskFloor, Floor};

const FILE_BYTES: u64 = 64 << 20;
const SMALL_BYTES: usize = 4 << 10;
const LARGE_BYTES: usize = 128 << 10;
/// What a direct write's memory and position must be a multiple of, on every disk in use.
const ALIGNMENT_BYTES: usize = 4096;
/// Written before the clock runs: the first writes wake the device and fill the filesystem's caches.
const WARMUP_WRITES: u64 = 8;
/// Slower writes count as this: a minute. (A histogram without bounds that saturates holds no more than 2.)
const MAX_NS: u64 = 60_000_000_000;
/// Written at least, however long it takes.
const MIN_WRITES: u64 = 20;

/// Bytes that an ordinary user may still write below `directory`, or below its nearest parent that exists.
///
/// # Errors
/// The kernel does not tell.
pub fn free_bytes(directory: &Path) -> Result<u64, Error> {
    let existing = directory.ancestors().find(|parent| parent.is_dir());
    let existing = existing.unwrap_or(Path::new("."));
    let space = rustix::fs::statvfs(existing)
        .map_err(|e| Error::failed(format!("the space in {}: {e}", existing.display())))?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

/// Measures writes of 4 KiB, then of 128 KiB, each for `seconds_each`, one at a time, in a file of 64 MiB in `directory` that is
/// removed afterwards.
///
/// # Errors
/// A sentence when the directory is missing or not writable, and when its filesystem has no direct writes, as tmpfs has not.
pub fn floor(directory: &Path, seconds_each: f64) -> Result<DiskFloor, Error> {
    let told = |error: io::Error| {
        Error::failed(format!(
            "the disk below {} cannot be measured: {error}",
            directory.display()
        ))
    };
    let directory = canonicalize(directory).map_err(told)?;
    let mount = mount_of(&read_to_string("/proc/self/mountinfo").map_err(told)?, &directory);
    if let Some(mount) = mount.as_ref().filter(|mount| mount.is_memory()) {
        return Err(no_direct_writes(&directory, &mount.kind));
    }
    let file = WrittenFile::create(&directory).map_err(told)?;
    let direct = file.open_direct().map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => no_direct_writes(&directory, kind_of(&mount)),
        _ => told(error),
    })?;
    let limit = Duration::try_from_secs_f64(seconds_each)
        .map_err(|_| Error::usage("the time to measure the disk for is not a number of seconds"))?;
    let measure = |bytes| measure(&direct, bytes, limit).map_err(told);
    let (write_4k, write_128k) = (measure(SMALL_BYTES)?, measure(LARGE_BYTES)?);
    Ok(DiskFloor {
        directory: directory.display().to_string(),
        filesystem: mount
            .as_ref()
            .map_or_else(String::new, |m| format!("{} {}", m.kind, m.options)),
        device: mount.map_or_else(String::new, |m| m.source),
        write_4k,
        write_128k,
    })
}

fn kind_of(mount: &Option<Mount>) -> &str {
    mount.as_ref().map_or("this filesystem", |mount| &mount.kind)
}

fn no_direct_writes(directory: &Path, kind: &str) -> Error {
    Error::failed(format!(
        "the disk below {} cannot be measured: {kind} has no direct writes (O_DIRECT); choose a directory on a disk",
        directory.display()
    ))
}

/// Writes at consecutive positions, around and around, one at a time.
fn measure(file: &File, bytes: usize, limit: Duration) -> io::Result<Floor> {
    let mut memory = vec![0; bytes + ALIGNMENT_BYTES];
    let start = memory.as_ptr().align_offset(ALIGNMENT_BYTES);
    let block = memory
        .get_mut(start..start + bytes)
        .ok_or(io::ErrorKind::OutOfMemory)?;
    getrandom::fill(block).map_err(io::Error::other)?;
    let mut histogram = Histogram::<u64>::new_with_bounds(1, MAX_NS, 3).map_err(io::Error::other)?;
    let blocks = FILE_BYTES / bytes as u64;
    let mut begun = Instant::now();
    for number in 0u64.. {
        if number == WARMUP_WRITES {
            begun = Instant::now();
        }
        let before = Instant::now();
        if number >= WARMUP_WRITES + MIN_WRITES && before - begun >= limit {
            break;
        }
        file.write_all_at(block, number % blocks * bytes as u64)?;
        if number >= WARMUP_WRITES {
            histogram.saturating_record(u64::try_from(before.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
    }
    let at_us = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    Ok(Floor {
        count: histogram.len(),
        p50_us: at_us(0.5),
        p99_us: at_us(0.99),
    })
}

/// A file full of zeroes that are on the disk. Dropping it removes it.
struct WrittenFile {
    path: PathBuf,
}

impl WrittenFile {
    fn create(directory: &Path) -> io::Result<WrittenFile> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!(".ringlog-bench-{}-{number}.floor", std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        let made = WrittenFile { path };
        let zeroes = vec![0; 1 << 20];
        for position in (0..FILE_BYTES).step_by(zeroes.len()) {
            file.write_all_at(&zeroes, position)?;
        }
        file.sync_all()?;
        Ok(made)
    }

    fn open_direct(&self) -> io::Result<File> {
        let flags = OFlags::DIRECT | OFlags::DSYNC;
        OpenOptions::new()
            .write(true)
            .custom_flags(flags.bits() as i32)
            .open(&self.path)
    }
}

impl Drop for WrittenFile {
    fn drop(&mut self) {
        let _ = remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory on the disk that holds the build, or none where that is no disk.
    fn on_disk() -> tempfile::TempDir {
        let build = std::env::current_exe().unwrap();
        tempfile::tempdir_in(build.parent().unwrap()).unwrap()
    }

    fn is_empty(directory: &Path) -> bool {
        directory.read_dir().unwrap().next().is_none()
    }

    #[test]
    fn measures_both_sizes_and_leaves_nothing_behind() {
        let directory = on_disk();
        let begun = Instant::now();
        match floor(directory.path(), 0.05) {
            Ok(found) => {
                let elapsed_us = begun.elapsed().as_micros() as f64;
                for size in [&found.write_4k, &found.write_128k] {
                    assert!(size.count >= MIN_WRITES && size.p99_us >= size.p50_us);
                    // half of them took the median or longer; no device finishes a write in a microsecond
                    assert!(
                        size.p50_us > 1.0 && size.count as f64 / 2.0 * size.p50_us <= elapsed_us,
                        "{size:?}"
                    );
                }
                assert!(!found.filesystem.is_empty() && !found.device.is_empty());
            }
            Err(error) => assert!(error.to_string().contains("no direct writes"), "{error}"),
        }
        assert!(is_empty(directory.path()));
    }

    #[test]
    fn memory_is_no_disk() {
        let Ok(directory) = tempfile::tempdir_in("/dev/shm") else {
            return;
        };
        let error = floor(directory.path(), 0.01).unwrap_err().to_string();
        assert!(error.contains("tmpfs has no direct writes"), "{error}");
        assert!(is_empty(directory.path()));
    }

    #[test]
    fn what_cannot_be_measured_is_said_and_cleaned_up() {
        let directory = on_disk();
        let missing = directory.path().join("missing");
        assert!(floor(&missing, 0.01).unwrap_err().to_string().contains("missing"));
        assert!(floor(directory.path(), f64::NAN).is_err());
        assert!(is_empty(directory.path()));
    }
}
