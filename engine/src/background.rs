//! A thread for what may take long and must not hold up a core: creating, sealing and removing files and folders.
//!
//! Jobs run in the order they were given, so a folder is created before what is put in it and taken away after.
//! Removing is slow on purpose (large files go in steps), and seals and checkpoints must not wait for it, or the journals
//! would fill up: what is out of sight already is removed by a thread of its own.
//! What became of a job arrives in the submitter's [`Inbox`], and its core is woken.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use crossbeam_queue::SegQueue;

use crate::error::Error;
use crate::index::{OFFSET_ENTRY_BYTES, SparseIndex, TIME_ENTRY_BYTES};
use crate::io::files;
use crate::io::{Token, Waker};

/// Where the indexes of a segment are continued, and with what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexTail {
    /// Bytes of `.index` that are in the file already; anything behind them is overwritten.
    pub offset_at: u64,
    /// Offset entries to put there.
    pub offset_bytes: Vec<u8>,
    /// The same for `.timeindex`.
    pub time_at: u64,
    /// Time entries to put there.
    pub time_bytes: Vec<u8>,
}

impl IndexTail {
    /// How many offset and time entries the files have that end with this piece.
    pub fn end_counts(&self) -> (u32, u32) {
        let count = |at: u64, bytes: &[u8], entry: usize| ((at as usize + bytes.len()) / entry) as u32;
        (
            count(self.offset_at, &self.offset_bytes, OFFSET_ENTRY_BYTES),
            count(self.time_at, &self.time_bytes, TIME_ENTRY_BYTES),
        )
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.offset_bytes.is_empty() && self.time_bytes.is_empty()
    }
}

/// A piece of slow work on files. All of them are durable when reported done.
#[derive(Clone, Debug)]
pub enum FileJob {
    /// Makes a partition's folder with its `partition.metadata`, empty epoch checkpoint and empty first segment.
    /// Nothing happens to what exists.
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
    /// Removes segments that lie wholly before the log start, and their indexes and snapshots.
    RemoveSegments {
        /// The partition's folder.
        folder: PathBuf,
        /// Their base offsets.
        base_offsets: Vec<i64>,
    },
    /// Replaces a small file as a whole: after a crash it is the old one or the new one.
    Replace {
        /// The file.
        path: PathBuf,
        /// Its new content.
        content: Vec<u8>,
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
}

/// What a job has found out.
#[derive(Debug)]
pub enum JobOutput {
    /// It is done.
    Done,
    /// A segment's indexes.
    Index(Box<SparseIndex>),
    /// The batch a search found.
    Batch(Vec<u8>),
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
}

impl Background {
    /// Starts the thread.
    pub fn start() -> std::io::Result<Background> {
        let (orders, arriving) = channel::<Order>();
        let (removals, to_remove) = channel::<Order>();
        let thread = |name: &str| std::thread::Builder::new().name(name.into());
        thread("removals").spawn(move || {
            for order in to_remove {
                // The folder's name may belong to a new partition by now.
                let result = match &order.job {
                    FileJob::RemovePartition { renamed, .. } => {
                        files::remove_dir(renamed).map(|()| JobOutput::Done)
                    }
                    job => run(job),
                };
                order.done(result);
            }
        })?;
        thread("files").spawn(move || {
            for order in arriving {
                let result = match &order.job {
                    FileJob::RemoveSegments { .. } => None,
                    FileJob::RemovePartition { folder, renamed } => hide(folder, renamed).err().map(Err),
                    job => Some(run(job)),
                };
                match result {
                    Some(result) => order.done(result),
                    None => {
                        if let Err(lost) = removals.send(order) {
                            lost.0.done(Err(ended()));
                        }
                    }
                }
            }
        })?;
        Ok(Background { orders })
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

/// Runs one job, here and now.
pub fn run(job: &FileJob) -> Result<JobOutput, Error> {
    match job {
        FileJob::CreatePartition {
            folder,
            metadata,
            epochs,
        } => create_partition(folder, metadata, epochs)?,
        FileJob::RemovePartition { folder, renamed } => remove_partition(folder, renamed)?,
        FileJob::Seal {
            folder,
            base_offset,
            size_bytes,
            index,
            snapshot,
            epochs,
            next_base,
        } => {
            // Before the seal, which ends with a sync of the folder.
            if let Some(next) = next_base {
                create_segment(folder, *next)?;
            }
            seal(folder, *base_offset, *size_bytes, index, snapshot, epochs)?;
        }
        FileJob::ExtendIndex {
            folder,
            base_offset,
            index,
        } => extend_index(folder, *base_offset, index, false)?,
        FileJob::RemoveSegments { folder, base_offsets } => {
            base_offsets
                .iter()
                .try_for_each(|base| remove_segment(folder, *base))?;
        }
        FileJob::Replace { path, content } => files::replace(path, content)?,
        FileJob::Prewrite { path, from, to } => {
            // On a full disk the last of its space is left to the segments.
            files::prewrite(path, *from, *to).inspect_err(|_| drop(files::truncate(path, *from)))?;
        }
        FileJob::LoadIndex {
            folder,
            base_offset,
            size_bytes,
            interval_bytes,
        } => {
            let index = crate::scan::load_index(folder, *base_offset, *size_bytes, *interval_bytes)?;
            return Ok(JobOutput::Index(Box::new(index)));
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

fn remove_partition(folder: &Path, renamed: &Path) -> Result<(), Error> {
    hide(folder, renamed)?;
    files::remove_dir(renamed)
}

/// Takes a folder out of sight; one that is already is fine.
fn hide(folder: &Path, renamed: &Path) -> Result<(), Error> {
    if folder.exists() {
        files::rename(folder, renamed)?;
    }
    Ok(())
}

/// The path of one of a segment's files: the base offset in 20 digits, and what it holds.
pub fn segment_file(folder: &Path, base_offset: i64, suffix: &str) -> PathBuf {
    folder.join(format!("{base_offset:020}{suffix}"))
}

fn create_partition(folder: &Path, metadata: &str, epochs: &str) -> Result<(), Error> {
    files::create_dir(folder)?;
    let metadata_path = folder.join(crate::checkpoint::PARTITION_METADATA_FILE);
    if !metadata_path.exists() {
        files::replace(&metadata_path, metadata.as_bytes())?;
    }
    let epochs_path = folder.join(crate::checkpoint::LEADER_EPOCH_FILE);
    if !epochs_path.exists() {
        files::replace(&epochs_path, epochs.as_bytes())?;
    }
    let is_new = !files::list(folder)?.iter().any(|e| e.name.ends_with(".log"));
    for suffix in [".timeindex", ".index", ".log"].iter().filter(|_| is_new) {
        files::create_file(&segment_file(folder, 0, suffix))?;
    }
    files::sync_dir(folder)
}

fn create_segment(folder: &Path, base_offset: i64) -> Result<(), Error> {
    for suffix in [".timeindex", ".index", ".log"] {
        let path = segment_file(folder, base_offset, suffix);
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(Error::io("create", &path))?;
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
) -> Result<(), Error> {
    files::truncate(&segment_file(folder, base_offset, ".log"), size_bytes)?;
    extend_index(folder, base_offset, index, true)?;
    files::replace(&segment_file(folder, snapshot.0, ".snapshot"), &snapshot.1)?;
    files::replace(
        &folder.join(crate::checkpoint::LEADER_EPOCH_FILE),
        epochs.as_bytes(),
    )
}

fn extend_index(folder: &Path, base_offset: i64, index: &IndexTail, whole: bool) -> Result<(), Error> {
    let parts = [
        (".index", index.offset_at, &index.offset_bytes),
        (".timeindex", index.time_at, &index.time_bytes),
    ];
    for (suffix, at, bytes) in parts {
        if whole || !bytes.is_empty() {
            files::write_tail(&segment_file(folder, base_offset, suffix), at, bytes)?;
        }
    }
    Ok(())
}

/// Removes a segment's files.
pub(crate) fn remove_segment(folder: &Path, base_offset: i64) -> Result<(), Error> {
    for suffix in [".log", ".index", ".timeindex", ".txnindex", ".snapshot"] {
        files::remove_large_file(&segment_file(folder, base_offset, suffix))?;
    }
    Ok(())
}
