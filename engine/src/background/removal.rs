//! The removals thread: what is out of sight already goes when its time has come, in small steps.
//!
//! Kafka keeps the files of removed segments and topics for `file.delete.delay.ms`, under names that end in `.deleted` and `-delete`: so long
//! somebody can take them back by hand. Nothing of it is in memory after a stop, so whoever starts next removes all that it finds. A full disk
//! waits for none of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::{FileJob, JobOutput, Order, SEGMENT_SUFFIXES, folder, segment_file};
use crate::error::Error;
use crate::io::files;
use crate::spares::Spares;

/// What the name of a removed segment's file ends with.
pub const DELETED_SUFFIX: &str = ".deleted";

/// No delay is longer: it is added to the time of day.
const LONGEST: Duration = Duration::from_secs(u32::MAX as u64);

/// Gives the files of segments the names they have until they are removed. Tells these names, also of files that had them already.
///
/// # Errors
/// The system's. Some may then have their new names; trying again does the rest.
pub(super) fn hide_segments(folder: &Path, base_offsets: &[i64]) -> Result<Vec<PathBuf>, Error> {
    let mut hidden = Vec::new();
    for base in base_offsets {
        // The log first: without it none of the others is taken for a segment.
        for suffix in SEGMENT_SUFFIXES {
            let from = segment_file(folder, *base, suffix);
            let to = segment_file(folder, *base, &format!("{suffix}{DELETED_SUFFIX}"));
            if from.exists() {
                files::rename_later(&from, &to)?;
            } else if !to.exists() {
                continue;
            }
            hidden.push(to);
        }
    }
    // The partition may be gone meanwhile, and its files with it.
    if !hidden.is_empty() {
        files::sync_dir(folder)?;
    }
    Ok(hidden)
}

/// What waits for its time.
#[derive(Default)]
struct Waiting {
    orders: BTreeMap<(Instant, u64), Order>,
    next_number: u64,
}

impl Waiting {
    fn insert(&mut self, at: Instant, order: Order) {
        self.next_number += 1;
        self.orders.insert((at, self.next_number), order);
    }

    fn next_at(&self) -> Option<Instant> {
        self.orders.first_key_value().map(|(key, _)| key.0)
    }

    fn pop(&mut self) -> Option<Order> {
        self.orders.pop_first().map(|(_, order)| order)
    }

    fn pop_due(&mut self, now: Instant) -> Option<Order> {
        self.next_at().filter(|at| *at <= now).and_then(|_| self.pop())
    }
}

/// What the removals thread works with.
pub(super) struct Removals {
    orders: Receiver<Order>,
    waiting: Waiting,
    /// How many wait, for the cores.
    count: Arc<AtomicUsize>,
    spares: Arc<Spares>,
}

impl Removals {
    pub(super) fn new(orders: Receiver<Order>, count: Arc<AtomicUsize>, spares: Arc<Spares>) -> Removals {
        Removals {
            orders,
            waiting: Waiting::default(),
            count,
            spares,
        }
    }

    /// Works until nobody can ask for anything any more. What waits then is found at the next start.
    pub(super) fn run(mut self) {
        loop {
            let now = Instant::now();
            if let Some(order) = self.waiting.pop_due(now) {
                self.remove(order);
                continue;
            }
            let due = self.waiting.next_at().map(|at| at.saturating_duration_since(now));
            let patience = [due, self.spares.idle_after(now)].into_iter().flatten().min();
            let next = match patience {
                Some(patience) => self.orders.recv_timeout(patience),
                None => self.orders.recv().map_err(RecvTimeoutError::from),
            };
            match next {
                Ok(order) => self.take(order),
                Err(RecvTimeoutError::Timeout) => self.give_idle_spare_back(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Does the next thing, whatever time it is. False when there is none.
    pub(super) fn step(&mut self) -> bool {
        let next = self.orders.try_recv();
        match next {
            Ok(order) => self.take(order),
            Err(_) => match self.waiting.pop() {
                Some(order) => self.remove(order),
                None => return false,
            },
        }
        true
    }

    fn take(&mut self, order: Order) {
        let delay = match &order.job {
            FileJob::RemovePartition { delay, .. } | FileJob::RemoveFiles { delay, .. } => *delay,
            _ => Duration::ZERO,
        };
        if delay.is_zero() {
            return self.remove(order);
        }
        self.waiting.insert(Instant::now() + delay.min(LONGEST), order);
        self.note();
    }

    fn note(&self) {
        self.count.store(self.waiting.orders.len(), Ordering::Release);
    }

    /// The folder's name may belong to a new partition by now: only what was renamed goes.
    fn remove(&mut self, order: Order) {
        let result = match &order.job {
            FileJob::RemovePartition { renamed, .. } => {
                folder::keep_logs(renamed, &self.spares).and_then(|()| files::remove_dir(renamed))
            }
            FileJob::RemoveFiles { files, .. } => files.iter().try_for_each(|file| self.remove_file(file)),
            FileJob::GiveSpareBack => self.give_room(),
            job => super::run(job).map(drop),
        };
        order.done(result.map(|()| JobOutput::Done));
        self.note();
    }

    fn remove_file(&self, path: &Path) -> Result<(), Error> {
        let is_kept = is_removed_log(path) && path.exists() && self.spares.keep(path)?;
        if is_kept {
            Ok(())
        } else {
            files::remove_large_file(path)
        }
    }

    /// For a full disk: a spare, or else what would have gone next, and is not kept.
    fn give_room(&mut self) -> Result<(), Error> {
        if self.spares.give_one_back()? {
            return Ok(());
        }
        let Some(order) = self.waiting.pop() else {
            return Ok(());
        };
        let result = match &order.job {
            // The folder's own name may belong to a new partition by now.
            FileJob::RemovePartition { renamed, .. } => files::remove_dir(renamed).map(|()| JobOutput::Done),
            job => super::run(job),
        };
        order.done(result);
        Ok(())
    }

    fn give_idle_spare_back(&self) {
        let now = Instant::now();
        if self.spares.idle_after(now).is_some_and(|left| left.is_zero()) {
            // One that cannot be removed is found at the next start.
            drop(self.spares.give_one_back());
        }
    }
}

/// Whether it is a removed segment's log.
pub(super) fn is_removed_log(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(DELETED_SUFFIX);
    name.is_some_and(|name| crate::scan::segment_base(name, ".log").is_some())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::background::{Background, Inbox};
    use crate::spares::{Limits, PREFIX};

    const HOUR: Duration = Duration::from_secs(3600);

    fn names(dir: &Path) -> Vec<String> {
        let listed = files::list(dir).expect("a folder");
        listed.into_iter().map(|entry| entry.name).collect()
    }

    /// A folder with the files of two segments.
    fn two_segments() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for base in [0, 7] {
            for suffix in [".log", ".index", ".timeindex", ".snapshot"] {
                fs::write(segment_file(dir.path(), base, suffix), [7; 8192]).expect("a file");
            }
        }
        dir
    }

    fn remove(hidden: Vec<PathBuf>, delay: Duration) -> FileJob {
        FileJob::RemoveFiles { files: hidden, delay }
    }

    #[test]
    fn a_removed_segments_files_are_renamed_as_kafka_does() {
        let dir = two_segments();
        let hidden = hide_segments(dir.path(), &[0]).expect("renamed");
        assert_eq!(hidden.len(), 4);
        let log = "00000000000000000000.log.deleted";
        assert!(names(dir.path()).contains(&log.to_owned()) && !segment_file(dir.path(), 0, ".log").exists());
        assert!(segment_file(dir.path(), 7, ".snapshot").exists());
        assert_eq!(hide_segments(dir.path(), &[0]).expect("again"), hidden);
        assert_eq!(
            hide_segments(&dir.path().join("gone"), &[0]).expect("none"),
            [""; 0].map(PathBuf::from)
        );
    }

    #[test]
    fn files_stay_for_their_delay_and_go_at_once_without_one() {
        let dir = two_segments();
        let (background, backlog) = Background::by_hand(Spares::none());
        let hidden = hide_segments(dir.path(), &[0, 7]).expect("renamed");
        let (first, second) = hidden.split_at(4);
        background.submit(0, remove(first.to_vec(), HOUR), &Inbox::default(), None);
        background.submit(
            0,
            remove(second.to_vec(), Duration::ZERO),
            &Inbox::default(),
            None,
        );
        assert!(!background.has_room_to_give());
        backlog.run_jobs(2);
        assert!(backlog.run_removal() && background.has_room_to_give(), "it waits");
        assert!(backlog.run_removal());
        assert!(first.iter().all(|file| file.exists()) && !second.iter().any(|file| file.exists()));
        assert!(backlog.run_removal() && !backlog.run_removal());
        assert!(names(dir.path()).is_empty() && !background.has_room_to_give());
    }

    #[test]
    fn a_full_disk_gets_spares_first_and_then_what_waits() {
        let dir = two_segments();
        let limits = Limits {
            most_bytes: 8192,
            least_bytes: 1,
            idle: HOUR,
        };
        let (background, backlog) = Background::by_hand(Spares::open(dir.path(), limits).expect("spares"));
        let inbox = Inbox::default();
        for (base, delay) in [(0, Duration::ZERO), (7, HOUR)] {
            let hidden = hide_segments(dir.path(), &[base]).expect("renamed");
            background.submit(1, remove(hidden, delay), &inbox, None);
            backlog.run_jobs(1);
            backlog.run_removal();
        }
        let left = names(dir.path());
        assert!(left.len() == 5 && left[4] == format!("{PREFIX}0"), "{left:?}");
        for left in [4, 0] {
            assert!(background.has_room_to_give());
            background.submit(2, FileJob::GiveSpareBack, &inbox, None);
            backlog.run_jobs(1);
            assert!(backlog.run_removal());
            assert_eq!(names(dir.path()).len(), left);
        }
        assert!(!background.has_room_to_give());
        assert!(std::iter::from_fn(|| inbox.pop()).all(|done| done.result.is_ok()));
    }

    #[test]
    fn a_full_disk_leaves_a_topic_alone_that_was_made_again_under_the_name_of_one_that_waits() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (folder, renamed) = (dir.path().join("t-0"), dir.path().join("t-0.1-delete"));
        fs::create_dir(&folder).expect("a folder");
        let (background, backlog) = Background::by_hand(Spares::none());
        let job = FileJob::RemovePartition {
            folder: folder.clone(),
            renamed: renamed.clone(),
            delay: HOUR,
        };
        background.submit(1, job, &Inbox::default(), None);
        backlog.run_jobs(1);
        assert!(backlog.run_removal() && renamed.exists() && !folder.exists());
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join("new"), b"").expect("a file");
        background.submit(2, FileJob::GiveSpareBack, &Inbox::default(), None);
        backlog.run_jobs(1);
        assert!(backlog.run_removal());
        assert!(!renamed.exists() && folder.join("new").exists());
    }

    #[test]
    fn the_thread_keeps_to_the_delay() {
        let dir = two_segments();
        let background = Background::start().expect("threads");
        let hidden = hide_segments(dir.path(), &[0, 7]).expect("renamed");
        let (long, short) = hidden.split_at(4);
        let inbox = Inbox::default();
        background.submit(1, remove(long.to_vec(), HOUR), &inbox, None);
        background.submit(2, remove(short.to_vec(), Duration::from_millis(30)), &inbox, None);
        let done = loop {
            match inbox.pop() {
                Some(done) => break done,
                None => std::thread::yield_now(),
            }
        };
        assert!(done.token == 2 && done.result.is_ok());
        assert!(long.iter().all(|file| file.exists()) && !short.iter().any(|file| file.exists()));
    }
}
