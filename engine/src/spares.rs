//! Spare files: log files of removed segments, kept to become new ones.
//!
//! Removing a large file stalls commits where the filesystem is mounted with `discard`, and writing into space that was never
//! written takes three times as long as into space that was. So a removed segment's log goes to the data directory as
//! `ringlog-spare-<number>`, and takes the place of a new segment's empty file by being renamed. Apache Kafka ignores files of such a name.
//!
//! What a spare holds are batches of another time, perhaps of another topic. Its first page is zeroed, and synced, before it takes its place: nobody
//! finds an old batch at the start of a segment. Behind a log's end stand any bytes at all; checkpoint and journal say where the end is. So only
//! a partition that is in a checkpoint on disk gets a spare: any other one with bytes would be read at a restart, as somebody else's.
//!
//! Blocking, but for the questions of a core: everything is done by the threads of [`crate::background`].

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::io::ALIGN;
use crate::io::files::changes::{Changing, How};
use crate::io::files::{self, Sync};

/// How a spare's name begins.
pub const PREFIX: &str = "ringlog-spare-";

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of all spares together; 0 keeps none.
    pub most_bytes: u64,
    /// Smaller files are removed: that costs no more than one step of a slow removal.
    pub least_bytes: u64,
    /// After so long without a use one spare after the other is removed.
    pub idle: Duration,
}

impl Limits {
    /// No spare is kept.
    pub const NONE: Limits = Limits {
        most_bytes: 0,
        least_bytes: u64::MAX,
        idle: Duration::MAX,
    };
    /// Sixteen segments of Kafka's default size: what retention takes away at one time, and some ten seconds of a fast disk's writes.
    const MOST_BYTES: u64 = 16 << 30;
    /// No more than this part of the filesystem.
    const MOST_PART: u64 = 20;
    const LEAST_BYTES: u64 = 4 << 20;
    const IDLE: Duration = Duration::from_secs(600);

    /// What suits the filesystem of a data directory: a twentieth of it, at most 16 GiB.
    ///
    /// # Errors
    /// The system's.
    pub fn of(data_dir: &Path) -> Result<Limits, Error> {
        let bytes = files::filesystem_bytes(data_dir)?;
        Ok(Limits {
            most_bytes: (bytes / Limits::MOST_PART).min(Limits::MOST_BYTES),
            least_bytes: Limits::LEAST_BYTES,
            idle: Limits::IDLE,
        })
    }
}

/// A file in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spare {
    number: u64,
    /// Its length, all of it written once; a multiple of [`ALIGN`].
    bytes: u64,
}

#[derive(Debug, Default)]
struct Pool {
    spares: Vec<Spare>,
    next_number: u64,
    closed: bool,
    used: Option<Instant>,
}

/// See the module's text. Shared by the cores, which ask, and the threads that do.
#[derive(Debug)]
pub struct Spares {
    data_dir: PathBuf,
    limits: Limits,
    pool: Mutex<Pool>,
    /// The shortest spare's bytes, the bytes of all, and their number: for the cores.
    shortest: AtomicU64,
    bytes: AtomicU64,
    count: AtomicUsize,
    /// Writes under way on files of partitions that were closed meanwhile.
    strays: AtomicUsize,
}

impl Spares {
    /// Nothing is kept.
    pub fn none() -> Spares {
        Spares {
            data_dir: PathBuf::new(),
            limits: Limits::NONE,
            pool: Mutex::default(),
            shortest: AtomicU64::new(u64::MAX),
            bytes: AtomicU64::new(0),
            count: AtomicUsize::new(0),
            strays: AtomicUsize::new(0),
        }
    }

    /// Takes over what a killed predecessor left; what is too much, or too small, stays until a clean stop, or until it is given back.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn open(data_dir: &Path, limits: Limits) -> Result<Spares, Error> {
        let mut pool = Pool::default();
        for entry in files::list(data_dir)?.into_iter().filter(|e| !e.is_dir) {
            let Some(number) = entry.name.strip_prefix(PREFIX).and_then(|n| n.parse().ok()) else {
                continue;
            };
            let path = data_dir.join(&entry.name);
            // A power cut while it became a segment may have left both names: the file is that segment's.
            let is_segment = std::fs::metadata(&path)
                .map_err(Error::io("stat", &path))?
                .nlink()
                > 1;
            if is_segment {
                files::remove_file(&path)?;
                continue;
            }
            let bytes = files::written_bytes(&path)? / ALIGN as u64 * ALIGN as u64;
            pool.next_number = pool.next_number.max(number + 1);
            pool.spares.push(Spare { number, bytes });
        }
        let spares = Spares {
            data_dir: data_dir.to_path_buf(),
            limits,
            ..Spares::none()
        };
        spares.note(&pool);
        *spares.lock() = pool;
        Ok(spares)
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        // A thread that died holding it left a list that is whole.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, pool: &Pool) {
        let shortest = pool.spares.iter().map(|s| s.bytes).min().filter(|_| !pool.closed);
        self.shortest
            .store(shortest.unwrap_or(u64::MAX), Ordering::Relaxed);
        let bytes = pool.spares.iter().map(|s| s.bytes).sum();
        self.bytes.store(bytes, Ordering::Relaxed);
        self.count.store(pool.spares.len(), Ordering::Relaxed);
    }

    fn path(&self, spare: Spare) -> PathBuf {
        self.data_dir.join(format!("{PREFIX}{}", spare.number))
    }

    /// Bytes of all spares.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether there is none, also none of no bytes.
    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Whether there is one for a segment of at most so many bytes. It may be gone when it is asked for.
    pub fn has_one_for(&self, segment_bytes: u64) -> bool {
        self.shortest.load(Ordering::Relaxed) <= segment_bytes.next_multiple_of(ALIGN as u64)
    }

    /// A partition is closed while a write to its file is under way: until that has ended nothing that is removed is kept, as the write
    /// might end in what has become another partition's segment.
    pub fn stray_begins(&self) {
        self.strays.fetch_add(1, Ordering::AcqRel);
    }

    /// Such a write has ended.
    pub fn stray_ended(&self) {
        self.strays.fetch_sub(1, Ordering::AcqRel);
    }

    /// Keeps a log file that nobody uses any more, if there is room for it. False when it is the caller's to remove.
    ///
    /// # Errors
    /// The system's. The file may then have its new name already, and will be found at the next start.
    pub fn keep(&self, log: &Path) -> Result<bool, Error> {
        if self.limits.most_bytes == 0 || self.strays.load(Ordering::Acquire) > 0 {
            return Ok(false);
        }
        // What was only allocated is as slow as a new file.
        let bytes = files::written_bytes(log)? / ALIGN as u64 * ALIGN as u64;
        let fits = bytes >= self.limits.least_bytes && self.bytes() + bytes <= self.limits.most_bytes;
        if !fits {
            return Ok(false);
        }
        let spare = {
            let mut pool = self.lock();
            if pool.closed {
                return Ok(false);
            }
            pool.next_number += 1;
            Spare {
                number: pool.next_number - 1,
                bytes,
            }
        };
        files::cut(log, bytes, Sync::Later)?;
        // Both folders are synced: the old name must be gone for good before other bytes are written.
        files::rename(log, &self.path(spare))?;
        let mut pool = self.lock();
        pool.spares.push(spare);
        pool.used = Some(Instant::now());
        self.note(&pool);
        Ok(true)
    }

    /// Makes the longest spare of at most `segment_bytes` the file at `to`, in place of an empty one; gives its bytes, 0 when there is none.
    /// From then on its first page is zeroes.
    ///
    /// # Errors
    /// Of the syncs that make the new name durable: then nobody knows which file has it. Whatever fails before costs a spare.
    pub fn take(&self, to: &Path, segment_bytes: u64) -> Result<u64, Error> {
        let most = segment_bytes.next_multiple_of(ALIGN as u64);
        let spare = {
            let mut pool = self.lock();
            let is_open = !pool.closed;
            let fitting = pool
                .spares
                .iter()
                .enumerate()
                .filter(|(_, s)| is_open && s.bytes <= most);
            let Some((i, _)) = fitting.max_by_key(|(_, s)| s.bytes) else {
                return Ok(0);
            };
            let spare = pool.spares.swap_remove(i);
            pool.used = Some(Instant::now());
            self.note(&pool);
            spare
        };
        let path = self.path(spare);
        let is_clean = Changing::open(&path, How::Existing).and_then(|file| {
            file.write(&[0; ALIGN], 0)?;
            file.sync()
        });
        if is_clean.is_err() {
            return Ok(0);
        }
        files::rename(&path, to)?;
        Ok(spare.bytes)
    }

    /// Removes the longest spare, in small steps. False when there is none.
    ///
    /// # Errors
    /// The system's; the spare is not used any more.
    pub fn give_one_back(&self) -> Result<bool, Error> {
        let spare = {
            let mut pool = self.lock();
            let longest = (0..pool.spares.len()).max_by_key(|i| pool.spares[*i].bytes);
            let Some(longest) = longest else { return Ok(false) };
            let spare = pool.spares.swap_remove(longest);
            self.note(&pool);
            spare
        };
        files::remove_large_file(&self.path(spare))?;
        Ok(true)
    }

    /// When the next spare is to be given back because nobody has used one for long.
    pub fn idle_after(&self, now: Instant) -> Option<Duration> {
        if self.is_empty() {
            return None;
        }
        let since = *self.lock().used.get_or_insert(now);
        Some(
            self.limits
                .idle
                .saturating_sub(now.saturating_duration_since(since)),
        )
    }

    /// From now on nothing is kept and nothing taken: the broker stops, and [`remove_all`] follows. Until then a full disk can still have them.
    pub fn close(&self) {
        let mut pool = self.lock();
        pool.closed = true;
        self.note(&pool);
    }
}

/// Removes all spares of a data directory, at a clean stop.
///
/// # Errors
/// The system's.
pub fn remove_all(data_dir: &Path) -> Result<(), Error> {
    for entry in files::list(data_dir)? {
        if entry.name.starts_with(PREFIX) && !entry.is_dir {
            // At once: nobody waits for a commit.
            files::remove_file(&data_dir.join(&entry.name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const LIMITS: Limits = Limits {
        most_bytes: 3 * MIB,
        least_bytes: 8192,
        idle: Duration::from_secs(5),
    };
    const MIB: u64 = 1 << 20;

    fn names(dir: &Path) -> Vec<String> {
        files::list(dir).unwrap().into_iter().map(|e| e.name).collect()
    }

    fn log(dir: &Path, name: &str, bytes: u64) -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, vec![7; bytes as usize]).unwrap();
        path
    }

    #[test]
    fn a_removed_log_becomes_a_new_one_with_a_clean_first_page() {
        let dir = tempfile::tempdir().unwrap();
        let spares = Spares::open(dir.path(), LIMITS).unwrap();
        assert!(spares.keep(&log(dir.path(), "a", MIB + 100)).unwrap());
        assert_eq!(names(dir.path()), ["ringlog-spare-0"]);
        assert_eq!((spares.bytes(), spares.is_empty()), (MIB, false));
        assert!(spares.has_one_for(MIB) && !spares.has_one_for(MIB - ALIGN as u64));
        let to = log(dir.path(), "b", 0);
        assert_eq!(spares.take(&to, MIB / 2).unwrap(), 0, "too long for the segment");
        assert_eq!(spares.take(&to, MIB).unwrap(), MIB);
        let content = fs::read(&to).unwrap();
        assert_eq!(content.len(), MIB as usize);
        assert!(content[..ALIGN].iter().all(|b| *b == 0) && content[ALIGN..].iter().all(|b| *b == 7));
        assert!(spares.is_empty() && names(dir.path()) == ["b"]);
        assert_eq!(spares.take(&to, MIB).unwrap(), 0);
    }

    #[test]
    fn a_spare_that_is_a_segment_too_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let segment = log(dir.path(), "a", MIB);
        fs::hard_link(&segment, dir.path().join("ringlog-spare-4")).unwrap();
        let spares = Spares::open(dir.path(), LIMITS).unwrap();
        assert!(spares.is_empty());
        assert_eq!(names(dir.path()), ["a"]);
        assert_eq!(fs::metadata(&segment).unwrap().len(), MIB);
    }

    #[test]
    fn no_more_is_kept_than_the_limits_say() {
        let dir = tempfile::tempdir().unwrap();
        let spares = Spares::open(dir.path(), LIMITS).unwrap();
        assert!(!spares.keep(&log(dir.path(), "small", 8191)).unwrap());
        assert!(spares.keep(&log(dir.path(), "a", 2 * MIB)).unwrap());
        let b = log(dir.path(), "b", 2 * MIB);
        assert!(!spares.keep(&b).unwrap(), "above the limit");
        assert!(b.exists());
        assert!(spares.give_one_back().unwrap() && !spares.give_one_back().unwrap());
        spares.stray_begins();
        assert!(!spares.keep(&b).unwrap(), "a write may end in any file");
        spares.stray_ended();
        assert!(spares.keep(&b).unwrap());
        spares.close();
        assert!(!spares.keep(&log(dir.path(), "c", MIB)).unwrap());
        remove_all(dir.path()).unwrap();
        assert_eq!(names(dir.path()), ["c", "small"]);
        assert!(!Spares::none().keep(&dir.path().join("c")).unwrap());
    }

    #[test]
    fn what_was_never_written_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let spares = Spares::open(dir.path(), LIMITS).unwrap();
        let path = log(dir.path(), "a", MIB);
        files::truncate(&path, 2 * MIB, Sync::Now).unwrap();
        assert!(spares.keep(&path).unwrap());
        // A filesystem that does not tell holes has none.
        assert!([MIB, 2 * MIB].contains(&spares.bytes()), "{}", spares.bytes());
    }

    #[test]
    fn a_predecessors_spares_are_found_and_given_back_when_idle() {
        let dir = tempfile::tempdir().unwrap();
        let spares = Spares::open(dir.path(), LIMITS).unwrap();
        let now = Instant::now();
        assert_eq!(spares.idle_after(now), None);
        assert!(spares.keep(&log(dir.path(), "a", MIB)).unwrap());
        let spares = Spares::open(dir.path(), LIMITS).unwrap();
        assert_eq!(spares.bytes(), MIB);
        assert_eq!(spares.idle_after(now), Some(LIMITS.idle));
        assert_eq!(spares.idle_after(now + LIMITS.idle), Some(Duration::ZERO));
        assert!(spares.keep(&log(dir.path(), "b", MIB)).unwrap());
        assert_eq!(names(dir.path()), ["ringlog-spare-0", "ringlog-spare-1"]);
    }
}
