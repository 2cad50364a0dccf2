//! Between recovery and the first append: every core gets an empty journal and a first checkpoint.
//! And the reverse, at a clean stop: both go, and Kafka's own checkpoints take their place.
//!
//! The order matters. First checkpoint, then journal: a crash in between leaves a journal whose id is in no checkpoint, and is
//! set aside; all it had lies in segments that were synced before. Each core's first checkpoint has the partitions of all cores,
//! so that it does not matter after how many of them the crash came.

use std::path::Path;

use super::{checkpoint_path, journal_path};
use crate::checkpoint::{self, OffsetEntry};
use crate::error::Error;
use crate::io::files::changes::{Changing, How};
use crate::io::{ALIGN, FileId, Io, Open, files};
use crate::journal::commit::Journal;
use crate::journal::{format, states};
use crate::log::LogState;

/// Size of a new journal in bytes: small, so that a first start is fast. It grows when it is used.
pub const FIRST_JOURNAL_BYTES: u64 = 4 << 20;

/// What a core's journal starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalFile {
    /// Its random id.
    pub id: u64,
    /// Bytes that are pre-written.
    pub capacity: u64,
}

/// Prepares journals and checkpoints for `ids.len()` cores, and takes away those of cores that are no more. `ids` are random.
pub fn prepare(data_dir: &Path, ids: &[u64], logs: &[&LogState]) -> Result<Vec<JournalFile>, Error> {
    let parts: Vec<Vec<u8>> = logs.iter().map(|l| states::encode(l)).collect();
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    for (core, id) in ids.iter().enumerate() {
        let content = states::encode_file(*id, 1, format::FRAMES_START, &parts);
        files::replace(&checkpoint_path(data_dir, core), &content)?;
    }
    let journals = ids
        .iter()
        .enumerate()
        .map(|(core, id)| prepare_journal(data_dir, core, *id))
        .collect();
    for entry in files::list(data_dir)? {
        for prefix in [super::JOURNAL_PREFIX, super::CHECKPOINT_PREFIX] {
            let core = entry
                .name
                .strip_prefix(prefix)
                .and_then(|n| n.parse::<usize>().ok());
            if core.is_some_and(|c| c >= ids.len()) {
                files::remove_file(&data_dir.join(&entry.name))?;
            }
        }
    }
    files::remove_file(&data_dir.join(checkpoint::CLEAN_SHUTDOWN_FILE))?;
    files::sync_dir(data_dir)?;
    journals
}

fn prepare_journal(data_dir: &Path, core: usize, id: u64) -> Result<JournalFile, Error> {
    let path = journal_path(data_dir, core);
    files::settle(&path)?;
    let file = Changing::open(&path, How::Missing).map_err(Error::io("open", &path))?;
    let mut capacity = file.size_bytes().map_err(Error::io("stat", &path))? / ALIGN as u64 * ALIGN as u64;
    if capacity < FIRST_JOURNAL_BYTES {
        files::prewrite(&path, capacity, FIRST_JOURNAL_BYTES)?;
        capacity = FIRST_JOURNAL_BYTES;
    }
    file.write(&format::file_header(id), 0)
        .map_err(Error::io("write", &path))?;
    file.sync().map_err(Error::io("sync", &path))?;
    Ok(JournalFile { id, capacity })
}

/// Opens a core's prepared journal on the core's own thread.
pub fn open_journal(
    io: &mut dyn Io,
    data_dir: &Path,
    core: usize,
    prepared: JournalFile,
) -> Result<Journal, Error> {
    let path = journal_path(data_dir, core);
    let file = open_now(io, &path)?;
    Ok(Journal::new(file, prepared.id, prepared.capacity))
}

fn open_now(io: &mut dyn Io, path: &Path) -> Result<FileId, Error> {
    io.open(path.to_path_buf(), Open::Write, 0);
    let mut events = Vec::new();
    loop {
        io.turn(None, &mut || false, &mut events);
        for event in events.drain(..) {
            if let crate::io::Event::Opened { result, .. } = event {
                return result.map_err(Error::io("open", path));
            }
        }
    }
}

/// A partition at a clean stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The folder's name.
    pub name: String,
    /// End of the log, all of it synced.
    pub end_offset: i64,
    /// End of what consumers saw.
    pub high_watermark: i64,
    /// Oldest offset.
    pub log_start_offset: i64,
}

/// Ends a clean stop, once every shard has stopped: Kafka's text checkpoints are written, the clean-shutdown file says that
/// all of it holds, and our own files go.
pub fn finish_stop(data_dir: &Path, stopped: &[Stopped], broker_epoch: i64) -> Result<(), Error> {
    // The shards' last seals left this to be done once for all of them.
    files::sync_filesystem(data_dir)?;
    let lines = |offset: &dyn Fn(&Stopped) -> Option<i64>| {
        let mut entries: Vec<OffsetEntry> = stopped
            .iter()
            .filter_map(|s| entry(&s.name, offset(s)?))
            .collect();
        entries.sort();
        checkpoint::encode_offsets(&entries).into_bytes()
    };
    // Also where no older segment is left: what a power cut brings back of one must not be where the log starts.
    let starts = |s: &Stopped| (s.log_start_offset > 0).then_some(s.log_start_offset);
    let texts = [
        (checkpoint::RECOVERY_POINT_FILE, lines(&|s| Some(s.end_offset))),
        (
            checkpoint::REPLICATION_OFFSET_FILE,
            lines(&|s| Some(s.high_watermark)),
        ),
        (checkpoint::LOG_START_OFFSET_FILE, lines(&starts)),
    ];
    for (name, content) in texts {
        files::replace(&data_dir.join(name), &content)?;
    }
    // Before any of our own files goes: a crash that left only some of them, without this one, would have the next start
    // believe a checkpoint that is out of date.
    let epoch = checkpoint::encode_clean_shutdown(broker_epoch);
    files::replace(&data_dir.join(checkpoint::CLEAN_SHUTDOWN_FILE), epoch.as_bytes())?;
    for found in files::list(data_dir)? {
        if found.name.starts_with(super::CHECKPOINT_PREFIX) || found.name.starts_with(super::JOURNAL_PREFIX) {
            files::remove_large_file(&data_dir.join(&found.name))?;
        }
    }
    crate::spares::remove_all(data_dir)?;
    files::sync_dir(data_dir)
}

fn entry(name: &str, offset: i64) -> Option<OffsetEntry> {
    let (topic, partition) = super::split_name(name)?;
    Some(OffsetEntry {
        topic: topic.to_owned(),
        partition,
        offset,
    })
}
