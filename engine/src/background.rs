//! A thread for what may take long and must not hold up a core: creating, sealing and removing files and folders.
//!
//! Jobs run in the order they were given, so a folder is created before what is put in it and taken away after.
//! Removing is slow on purpose (large files go in steps), and seals and checkpoints must not wait for it, or the journals
//! would fill up: what is out of sight already is removed by a thread of its own (`background/removal`).
//! What became of a job arrives in the submitter's [`Inbox`], and its core is woken.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use crossbeam_queue::SegQueue;

use crate::aborted::AbortedTxn;
use crate::error::Error;
use crate::index::SparseIndex;
use crate::io::files::changes::{Changing, How};
use crate::io::files::{self, Sync};
use crate::io::{Token, Waker};
use crate::spares::Spares;

mod folder;
mod indexes;
mod removal;
pub mod swap;

pub use indexes::IndexTail;
pub(crate) use indexes::extend_aborted;
use indexes::extend_index;
pub use removal::DELETED_SUFFIX;
use removal::Removals;

/// A piece of slow work on files. All of them are durable when reported done.
#[derive(Clone, Debug)]
pub enum FileJob {
    /// Makes a partition's folder with its `partition.metadata`, empty epoch checkpoint and empty first segment.
    /// Nothing happens to what exists of the same topic; a folder that another one left in its place is taken out of sight first, and removed
    /// when the files thread does the job.
    CreatePartition {
        /// The folder.
        folder: PathBuf,
        /// Content of `partition.metadata`.
        metadata: String,
        /// Content of `leader-epoch-checkpoint`.
        epochs: String,
    },
    /// Takes a partition's folder out of sight (renamed to end in `-delete`), then removes it.
    RemovePartition {
        /// The folder.
        folder: PathBuf,
        /// The name it gets first.
        renamed: PathBuf,
        /// How long it keeps that name.
        delay: Duration,
    },
    /// Gives a segment that will not be appended to its exact length, its whole indexes, and the producers' snapshot at its end.
    Seal {
        /// The partition's folder.
        folder: PathBuf,
        /// The segment's base offset.
        base_offset: i64,
        /// Exact bytes of the log file.
        size_bytes: u64,
        /// The rest of the indexes; both files end with it.
        index: IndexTail,
        /// Producers' snapshot: its offset and bytes.
        snapshot: (i64, Vec<u8>),
        /// Content of `leader-epoch-checkpoint`.
        epochs: String,
        /// Base offset of the segment behind it, whose empty files are made so that their names are synced too.
        next_base: Option<i64>,
        /// When all of it is durable: at a clean stop one sync serves all partitions.
        sync: Sync,
    },
    /// Continues the indexes of an active segment.
    ExtendIndex {
        /// The partition's folder.
        folder: PathBuf,
        /// The segment's base offset.
        base_offset: i64,
        /// What to write where.
        index: IndexTail,
    },
    /// Takes the files of segments that lie wholly before the log start out of sight: their logs, indexes and snapshots get names that end in
    /// [`DELETED_SUFFIX`]. Gives [`JobOutput::Hidden`]. Done in its turn, so that a folder of the same name that is made later loses nothing.
    HideSegments {
        /// The partition's folder.
        folder: PathBuf,
        /// Their base offsets.
        base_offsets: Vec<i64>,
    },
    /// Removes files that are out of sight. Logs may become spares: see [`crate::spares`].
    RemoveFiles {
        /// The files.
        files: Vec<PathBuf>,
        /// How long they stay.
        delay: Duration,
    },
    /// What the cleaner wrote for a group of segments is to take their place, also if a start finds it so. Where it says up to where the
    /// partition was clean so far, that is noted before: see [`FileJob::NoteCleaned`].
    PrepareSwap {
        /// The partition's folder.
        folder: PathBuf,
        /// Its base offset.
        base_offset: i64,
        /// Whether it has an index of aborted transactions.
        has_aborted: bool,
        /// Up to where the partition was clean so far, if its entry is not there yet.
        cleaned_to: Option<i64>,
    },
    /// It takes their place. The old logs wait to be removed, with names that end in `.deleted`.
    Swap {
        /// The partition's folder.
        folder: PathBuf,
        /// Base offsets of the group.
        replaces: Vec<i64>,
    },
    /// Removes what the cleaner wrote and nobody is going to use.
    DropCleaned {
        /// The partition's folder.
        folder: PathBuf,
        /// Base offsets of the groups.
        base_offsets: Vec<i64>,
    },
    /// Notes in the cleaner's checkpoint, Kafka's `cleaner-offset-checkpoint`, up to where a partition is clean.
    NoteCleaned {
        /// The partition's folder.
        folder: PathBuf,
        /// First offset that is not clean.
        cleaned_to: i64,
    },
    /// Looks for the largest timestamps of the first batches of segments. Gives [`JobOutput::Firsts`].
    FirstTimes {
        /// The partition's folder.
        folder: PathBuf,
        /// Base offset of each segment; none of them is empty.
        segments: Vec<i64>,
    },
    /// Replaces a small file as a whole: after a crash it is the old one or the new one.
    Replace {
        /// The file.
        path: PathBuf,
        /// Its new content.
        content: Vec<u8>,
        /// Whether the whole filesystem is synced before, because the content speaks of what was left to [`Sync::Later`].
        after_sync: bool,
    },
    /// Writes zeroes to `[from, to)` of a file and syncs them, so that later synced writes there change no metadata.
    Prewrite {
        /// The file.
        path: PathBuf,
        /// First byte.
        from: u64,
        /// One past the last byte.
        to: u64,
    },
    /// Makes a spare file the log of a new segment, if there is one that fits: see [`crate::spares`]. Gives [`JobOutput::Recycled`].
    Recycle {
        /// The partition's folder.
        folder: PathBuf,
        /// The segment's base offset.
        base_offset: i64,
        /// Most bytes of a segment.
        segment_bytes: u64,
    },
    /// Gives back a spare file, or else what waits to be removed, because the disk is full.
    GiveSpareBack,
    /// Looks how much room a filesystem has. Gives [`JobOutput::Room`].
    LookAtRoom {
        /// A file or folder on it.
        path: PathBuf,
    },
    /// Reads a sealed segment's indexes, or builds them again from its log where they are missing or cannot be believed.
    LoadIndex {
        /// The partition's folder.
        folder: PathBuf,
        /// The segment's base offset.
        base_offset: i64,
        /// Bytes of its log.
        size_bytes: u64,
        /// Bytes of log between two entries, where they are built again.
        interval_bytes: u32,
    },
    /// Reads a segment's index of aborted transactions, or builds it again from its log where it cannot be believed.
    LoadAborted {
        /// The partition's folder.
        folder: PathBuf,
        /// The segment's base offset.
        base_offset: i64,
        /// Bytes of its log.
        size_bytes: u64,
        /// How many entries to read.
        count: u32,
        /// Whether it is the oldest segment of its log.
        is_first: bool,
    },
    /// Looks for the first batch with a timestamp at or after `timestamp_ms`.
    FindTime {
        /// The partition's folder.
        folder: PathBuf,
        /// Base offset and bytes to look at of each segment, in order.
        segments: Vec<(i64, u64)>,
        /// No batch that ends before this offset counts.
        from_offset: i64,
        /// The target.
        timestamp_ms: i64,
    },
    /// Looks how old sealed segments are: see [`crate::scan::newest_time`].
    NewestTimes {
        /// The partition's folder.
        folder: PathBuf,
        /// Base offset and bytes of each.
        segments: Vec<(i64, u64)>,
        /// Bytes of log between two entries, where an index is built again.
        interval_bytes: u32,
    },
    /// Looks for the largest timestamp in sealed segments: see [`crate::scan::largest_time`].
    LargestTime {
        /// The partition's folder.
        folder: PathBuf,
        /// Base offset and bytes of each.
        segments: Vec<(i64, u64)>,
        /// Bytes of log between two entries, where an index is built again.
        interval_bytes: u32,
    },
}

/// What a job has found out.
#[derive(Debug)]
pub enum JobOutput {
    /// It is done.
    Done,
    /// A partition's folder is made, and another topic's was in its place: its new name.
    Displaced(PathBuf),
    /// The new names of segments' files.
    Hidden(Vec<PathBuf>),
    /// A spare of so many bytes has become a segment's log; 0 when there was none.
    Recycled(u64),
    /// How much room a filesystem has.
    Room(files::Room),
    /// A segment's indexes.
    Index(Box<SparseIndex>),
    /// A segment's aborted transactions.
    Aborted(Vec<AbortedTxn>),
    /// The batch a search found.
    Batch(Vec<u8>),
    /// The largest timestamp, if there is any.
    Largest(Option<i64>),
    /// The base offset of each segment, and how old it is; of those that could be read.
    Newest(Vec<(i64, i64)>),
    /// The base offset of each segment, and the largest timestamp of its first batch, -1 where that has none or cannot be read.
    Firsts(Vec<(i64, i64)>),
    /// A search found none before this place, the start of a batch: a segment's base offset and a position in it.
    NoBatchBefore(i64, u64),
}

/// What became of a job.
#[derive(Debug)]
pub struct JobDone {
    /// The submitter's.
    pub token: Token,
    /// Done and durable, or why not.
    pub result: Result<JobOutput, Error>,
}

/// Where a core finds what became of its jobs.
pub type Inbox = Arc<SegQueue<JobDone>>;

/// Most jobs worked off together.
const MAX_TOGETHER: usize = 512;
/// From this many on, jobs that end with a sync share one: a sync of the whole filesystem also waits for other people's writes.
const MIN_GROUPED: usize = 5;

struct Order {
    token: Token,
    job: FileJob,
    inbox: Inbox,
    waker: Option<Waker>,
}

impl Order {
    fn done(self, result: Result<JobOutput, Error>) {
        self.inbox.push(JobDone {
            token: self.token,
            result,
        });
        if let Some(waker) = self.waker {
            waker.wake();
        }
    }
}

fn ended() -> Error {
    let source = std::io::Error::other("the files thread has ended");
    Error::io("work on", Path::new("files"))(source)
}

/// The thread's entrance; it ends when the last of these is gone.
#[derive(Clone)]
pub struct Background {
    orders: Sender<Order>,
    spares: Arc<Spares>,
    /// How much of what was removed waits for its time.
    waiting: Arc<AtomicUsize>,
}

/// What was submitted and waits to be done: by the threads of [`Background::start`], or, in a simulation, when its owner says so.
pub struct Backlog {
    arriving: Receiver<Order>,
    removals: Sender<Order>,
    to_remove: RefCell<Removals>,
    spares: Arc<Spares>,
}

impl Backlog {
    /// Works off what waits, at most so many jobs together, as the files thread would. False when nothing waits.
    pub fn run_jobs(&self, most: usize) -> bool {
        let orders: Vec<Order> = self.arriving.try_iter().take(most).collect();
        let some = !orders.is_empty();
        work_off(orders, &self.removals, &self.spares);
        some
    }

    /// Does the next step of removing, as the other thread would, but without regard to delays. False when there is none.
    pub fn run_removal(&self) -> bool {
        self.to_remove.borrow_mut().step()
    }
}

impl Background {
    /// Starts the threads. No spare file is kept.
    pub fn start() -> std::io::Result<Background> {
        Background::start_with(Spares::none())
    }

    /// Starts the threads.
    pub fn start_with(spares: Spares) -> std::io::Result<Background> {
        let (background, backlog) = Background::by_hand(spares);
        let Backlog {
            arriving,
            removals,
            to_remove,
            spares,
        } = backlog;
        let thread = |name: &str| std::thread::Builder::new().name(name.into());
        thread("removals").spawn(move || to_remove.into_inner().run())?;
        thread("files").spawn(move || {
            while let Ok(first) = arriving.recv() {
                let waiting = arriving.try_iter().take(MAX_TOGETHER - 1);
                let orders: Vec<Order> = std::iter::once(first).chain(waiting).collect();
                work_off(orders, &removals, &spares);
            }
        })?;
        Ok(background)
    }

    /// Without a thread: jobs are done by whoever holds the backlog, and when they choose.
    pub fn by_hand(spares: Spares) -> (Background, Backlog) {
        let (orders, arriving) = channel();
        let (removals, to_remove) = channel();
        let (spares, waiting) = (Arc::new(spares), Arc::new(AtomicUsize::new(0)));
        let to_remove = Removals::new(to_remove, waiting.clone(), spares.clone());
        let backlog = Backlog {
            arriving,
            removals,
            to_remove: RefCell::new(to_remove),
            spares: spares.clone(),
        };
        let background = Background {
            orders,
            spares,
            waiting,
        };
        (background, backlog)
    }

    /// The spare files.
    pub fn spares(&self) -> &Spares {
        &self.spares
    }

    /// Whether [`FileJob::GiveSpareBack`] finds something to give back to a full disk.
    pub fn has_room_to_give(&self) -> bool {
        !self.spares.is_empty() || self.waiting.load(Ordering::Acquire) > 0
    }

    /// Gives the thread a job; what became of it goes to `inbox`, then `waker` is woken.
    pub fn submit(&self, token: Token, job: FileJob, inbox: &Inbox, waker: Option<Waker>) {
        let order = Order {
            token,
            job,
            inbox: inbox.clone(),
            waker,
        };
        if let Err(lost) = self.orders.send(order) {
            lost.0.done(Err(ended()));
        }
    }
}

/// Jobs run one after the other. Where many of them end with a sync, one sync of the filesystem serves them all.
fn work_off(orders: Vec<Order>, removals: &Sender<Order>, spares: &Spares) {
    let is_grouped = orders.iter().filter(|o| o.job.ends_with_sync()).count() >= MIN_GROUPED;
    let sync = if is_grouped { Sync::Later } else { Sync::Now };
    let mut unsynced = Vec::new();
    for order in orders {
        let result = match &order.job {
            FileJob::RemoveFiles { .. } | FileJob::GiveSpareBack => None,
            // Nothing that others count on, and no reason to sync what they do together.
            job @ FileJob::HideSegments { .. } => Some(run(job)),
            FileJob::Recycle {
                folder,
                base_offset,
                segment_bytes,
            } => {
                let log = segment_file(folder, *base_offset, ".log");
                Some(spares.take(&log, *segment_bytes).map(JobOutput::Recycled))
            }
            FileJob::RemovePartition { folder, renamed, .. } => {
                let hidden = folder::hide(folder, renamed);
                // An entry that stays goes with the next start.
                drop(swap::note_cleaned(folder, None));
                hidden.err().map(Err)
            }
            job if is_grouped && job.ends_with_sync() => {
                let result = run_with(job, sync);
                remove_displaced(&result, removals);
                unsynced.push((order, result));
                continue;
            }
            job => {
                // A checkpoint counts on what was asked for before it.
                finish(&mut unsynced);
                Some(run(job))
            }
        };
        match result {
            Some(result) => {
                remove_displaced(&result, removals);
                order.done(result);
            }
            None => {
                if let Err(lost) = removals.send(order) {
                    lost.0.done(Err(ended()));
                }
            }
        }
    }
    finish(&mut unsynced);
}

/// What stood in the place of a new folder goes. Nobody waits for it: one that cannot be removed is found at the next start.
fn remove_displaced(result: &Result<JobOutput, Error>, removals: &Sender<Order>) {
    if let Ok(JobOutput::Displaced(renamed)) = result {
        let job = FileJob::RemovePartition {
            folder: renamed.clone(),
            renamed: renamed.clone(),
            delay: Duration::ZERO,
        };
        let order = Order {
            token: 0,
            job,
            inbox: Inbox::default(),
            waker: None,
        };
        drop(removals.send(order));
    }
}

/// Syncs what was done, then says so.
fn finish(unsynced: &mut Vec<(Order, Result<JobOutput, Error>)>) {
    // The folder above: the partition's own may have been renamed meanwhile.
    let Some(folder) = unsynced
        .first()
        .and_then(|(order, _)| order.job.folder()?.parent())
    else {
        return;
    };
    let synced = files::sync_filesystem(folder).map_err(|e| e.to_string());
    let path = folder.to_path_buf();
    for (order, result) in unsynced.drain(..) {
        let result = match &synced {
            Ok(()) => result,
            Err(why) => {
                result.and_then(|_| Err(Error::io("sync", &path)(std::io::Error::other(why.clone()))))
            }
        };
        order.done(result);
    }
}

impl FileJob {
    /// Removes what an earlier run took out of sight: a folder or a file.
    pub fn of_leftover(path: PathBuf) -> FileJob {
        let delay = Duration::ZERO;
        match path.is_dir() {
            true => FileJob::RemovePartition {
                folder: path.clone(),
                renamed: path,
                delay,
            },
            false => FileJob::RemoveFiles {
                files: vec![path],
                delay,
            },
        }
    }

    /// Whether the job is small work and a sync that several such jobs can share.
    fn ends_with_sync(&self) -> bool {
        let is_small = matches!(
            self,
            FileJob::CreatePartition { .. } | FileJob::ExtendIndex { .. }
        );
        is_small || matches!(self, FileJob::Seal { sync: Sync::Now, .. })
    }

    /// The partition's folder, of a job that [`FileJob::ends_with_sync`].
    fn folder(&self) -> Option<&Path> {
        match self {
            FileJob::CreatePartition { folder, .. }
            | FileJob::ExtendIndex { folder, .. }
            | FileJob::Seal { folder, .. } => Some(folder),
            _ => None,
        }
    }
}

/// Runs one job, here and now.
pub fn run(job: &FileJob) -> Result<JobOutput, Error> {
    run_with(job, Sync::Now)
}

/// Runs one job. With [`Sync::Later`] the caller syncs the filesystem before anybody counts on it.
fn run_with(job: &FileJob, sync: Sync) -> Result<JobOutput, Error> {
    let grouped = sync;
    match job {
        FileJob::CreatePartition {
            folder,
            metadata,
            epochs,
        } => {
            if let Some(renamed) = folder::create(folder, metadata, epochs, sync)? {
                return Ok(JobOutput::Displaced(renamed));
            }
        }
        FileJob::RemovePartition { folder, renamed, .. } => {
            folder::hide(folder, renamed)?;
            drop(swap::note_cleaned(folder, None));
            files::remove_dir(renamed)?;
        }
        FileJob::Seal {
            folder,
            base_offset,
            size_bytes,
            index,
            snapshot,
            epochs,
            next_base,
            sync,
        } => {
            // Before the seal, which ends with a sync of the folder.
            if let Some(next) = next_base {
                create_segment(folder, *next)?;
            }
            // A recycled file may be much longer. At a clean stop nobody waits for a commit.
            if *sync == Sync::Now {
                files::cut(
                    &segment_file(folder, *base_offset, ".log"),
                    *size_bytes,
                    Sync::Later,
                )?;
            }
            let sync = if grouped == Sync::Later { grouped } else { *sync };
            seal(folder, *base_offset, *size_bytes, index, snapshot, epochs, sync)?;
        }
        FileJob::ExtendIndex {
            folder,
            base_offset,
            index,
        } => extend_index(folder, *base_offset, index, false, grouped)?,
        FileJob::HideSegments { folder, base_offsets } => {
            return removal::hide_segments(folder, base_offsets).map(JobOutput::Hidden);
        }
        FileJob::RemoveFiles { files, .. } => {
            files.iter().try_for_each(|file| files::remove_large_file(file))?;
        }
        FileJob::PrepareSwap {
            folder,
            base_offset,
            has_aborted,
            cleaned_to,
        } => {
            if cleaned_to.is_some() {
                swap::note_cleaned(folder, *cleaned_to)?;
            }
            swap::prepare(folder, *base_offset, *has_aborted)?;
        }
        FileJob::Swap { folder, replaces } => swap::exchange(folder, replaces)?,
        FileJob::DropCleaned { folder, base_offsets } => swap::discard(folder, base_offsets)?,
        FileJob::NoteCleaned { folder, cleaned_to } => swap::note_cleaned(folder, Some(*cleaned_to))?,
        FileJob::FirstTimes { folder, segments } => {
            let first_time = |base: &i64| {
                let header = crate::scan::first_header(&segment_file(folder, *base, ".log"));
                (*base, header.map_or(-1, |header| header.max_timestamp_ms))
            };
            return Ok(JobOutput::Firsts(segments.iter().map(first_time).collect()));
        }
        FileJob::Replace {
            path,
            content,
            after_sync,
        } => {
            if let Some(folder) = path.parent().filter(|_| *after_sync) {
                files::sync_filesystem(folder)?;
            }
            files::replace(path, content)?;
        }
        FileJob::Prewrite { path, from, to } => {
            // On a full disk the last of its space is left to the segments. Not synced: a failure of that would be told nobody who waits for
            // what else was written to the file.
            files::prewrite(path, *from, *to)
                .inspect_err(|_| drop(files::truncate(path, *from, Sync::Later)))?;
        }
        // Without a pool there is no spare.
        FileJob::Recycle { .. } => return Ok(JobOutput::Recycled(0)),
        FileJob::GiveSpareBack => {}
        FileJob::LookAtRoom { path } => return files::filesystem_room(path).map(JobOutput::Room),
        FileJob::LoadIndex {
            folder,
            base_offset,
            size_bytes,
            interval_bytes,
        } => {
            let index = crate::scan::load_index(folder, *base_offset, *size_bytes, *interval_bytes)?;
            return Ok(JobOutput::Index(Box::new(index)));
        }
        FileJob::LoadAborted {
            folder,
            base_offset,
            size_bytes,
            count,
            is_first,
        } => {
            let entries = crate::scan::aborted::load(folder, *base_offset, *size_bytes, *count, *is_first)?;
            return Ok(JobOutput::Aborted(entries));
        }
        FileJob::NewestTimes {
            folder,
            segments,
            interval_bytes,
        } => {
            return crate::scan::newest_times(folder, segments, *interval_bytes).map(JobOutput::Newest);
        }
        FileJob::LargestTime {
            folder,
            segments,
            interval_bytes,
        } => {
            let mut largest = None;
            for &(base_offset, size_bytes) in segments {
                let found = crate::scan::largest_time(folder, base_offset, size_bytes, *interval_bytes)?;
                largest = largest.max(found);
            }
            return Ok(JobOutput::Largest(largest));
        }
        FileJob::FindTime {
            folder,
            segments,
            from_offset,
            timestamp_ms,
        } => {
            return crate::scan::find_time(folder, segments, *from_offset, *timestamp_ms);
        }
    }
    Ok(JobOutput::Done)
}

/// The path of one of a segment's files: the base offset in 20 digits, and what it holds.
pub fn segment_file(folder: &Path, base_offset: i64, suffix: &str) -> PathBuf {
    folder.join(format!("{base_offset:020}{suffix}"))
}

fn create_segment(folder: &Path, base_offset: i64) -> Result<(), Error> {
    for suffix in [".timeindex", ".index", ".log"] {
        let path = segment_file(folder, base_offset, suffix);
        Changing::open(&path, How::Missing).map_err(Error::io("create", &path))?;
    }
    Ok(())
}

fn seal(
    folder: &Path,
    base_offset: i64,
    size_bytes: u64,
    index: &IndexTail,
    snapshot: &(i64, Vec<u8>),
    epochs: &str,
    sync: Sync,
) -> Result<(), Error> {
    files::truncate(&segment_file(folder, base_offset, ".log"), size_bytes, sync)?;
    extend_index(folder, base_offset, index, true, sync)?;
    files::replace_with(&segment_file(folder, snapshot.0, ".snapshot"), &snapshot.1, sync)?;
    files::replace_with(
        &folder.join(crate::checkpoint::LEADER_EPOCH_FILE),
        epochs.as_bytes(),
        sync,
    )
}

/// How the names of a segment's files end.
pub(crate) const SEGMENT_SUFFIXES: [&str; 5] = [".log", ".index", ".timeindex", ".txnindex", ".snapshot"];

/// Removes a segment's files.
pub(crate) fn remove_segment(folder: &Path, base_offset: i64) -> Result<(), Error> {
    for suffix in SEGMENT_SUFFIXES {
        files::remove_large_file(&segment_file(folder, base_offset, suffix))?;
    }
    Ok(())
}
