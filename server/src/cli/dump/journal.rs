//! Ringlog's own files: the journal of a core, and the checkpoint that says from where it counts.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use ringlog_engine::journal::format::{
    self, Entry, EntryKind, FRAME_HEADER_BYTES, FRAMES_START, FileHeader, FrameHeader,
};
use ringlog_engine::journal::states::{self, CheckpointFault};
use ringlog_records::Batches;

use super::record::Records;
use super::{Report, cannot_read, read_all};
use crate::cli::args::DumpArgs;
use crate::cli::error::{CliError, CliResult};
use crate::cli::output::fields;
use crate::wire::Uuid;

/// The index interval matters to who goes on writing, not to who reads.
const INDEX_INTERVAL_BYTES: u32 = 4096;
/// Frames begin at multiples of this.
const STEP_BYTES: u64 = FRAMES_START;

/// Prints every frame of the journal's present life, in the order of the file, which is that of writing but for the
/// place where the newest frame meets the oldest.
pub(super) fn dump(path: &Path, args: &DumpArgs, report: &mut Report) -> CliResult<()> {
    let mut journal = Journal::open(path)?;
    let page = journal.read(0, STEP_BYTES)?;
    let id = match format::read_file_header(&page) {
        FileHeader::Journal(id) => id,
        FileHeader::Unwritten => {
            return report.item(&fields! { kind: "end", note: "no journal was begun here" });
        }
        FileHeader::Newer(version) => return Err(newer(path, version)),
    };
    report.item(&fields! { kind: "journal", journal_id: id, version: format::VERSION })?;
    while journal.position < journal.size_bytes {
        journal.frame(id, args, report)?;
    }
    journal.verdict(report)
}

fn newer(path: &Path, version: u16) -> CliError {
    CliError::refused(format!(
        "{}: written in format version {version} by a newer Ringlog; this one reads up to {}",
        path.display(),
        format::VERSION
    ))
}

struct Journal<'a> {
    path: &'a Path,
    file: File,
    size_bytes: u64,
    position: u64,
    intact: BTreeSet<u64>,
    /// Position and sequence of frames that are not as they were written.
    damaged: Vec<(u64, u64)>,
}

impl<'a> Journal<'a> {
    fn open(path: &'a Path) -> CliResult<Self> {
        let open = || {
            let file = File::open(path)?;
            let size_bytes = file.metadata()?.len();
            Ok((file, size_bytes))
        };
        let (file, size_bytes) = open().map_err(|error| cannot_read(path, &error))?;
        Ok(Self {
            path,
            file,
            size_bytes,
            position: FRAMES_START,
            intact: BTreeSet::new(),
            damaged: Vec::new(),
        })
    }

    /// Up to `count` bytes, as far as the file goes.
    fn read(&self, at: u64, count: u64) -> CliResult<Vec<u8>> {
        let count = count.min(self.size_bytes.saturating_sub(at));
        let mut bytes = vec![0; usize::try_from(count).unwrap_or(0)];
        self.file
            .read_exact_at(&mut bytes, at)
            .map_err(|error| cannot_read(self.path, &error))?;
        Ok(bytes)
    }

    fn frame(&mut self, id: u64, args: &DumpArgs, report: &mut Report) -> CliResult<()> {
        let position = self.position;
        let head = self.read(position, FRAME_HEADER_BYTES as u64)?;
        let Some(header) = FrameHeader::decode(&head).filter(|header| header.journal_id == id) else {
            self.position += STEP_BYTES;
            return Ok(());
        };
        let frame = self.read(position, u64::from(header.frame_bytes))?;
        if !header.is_intact(&frame) {
            self.damaged.push((position, header.sequence));
            self.position += STEP_BYTES;
            return Ok(());
        }
        self.intact.insert(header.sequence);
        self.position += u64::from(header.frame_bytes).max(STEP_BYTES);
        report.item(&fields! {
            kind: "frame", position: position, sequence: header.sequence, size_bytes: header.frame_bytes,
            payload_bytes: header.payload_bytes, entries: header.entries,
        })?;
        let payload = &frame[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + header.payload_bytes as usize];
        for entry in format::entries(payload) {
            match entry {
                Ok(entry) => dump_entry(&entry, position, args, report)?,
                Err(error) => report.corrupt(position, error)?,
            }
        }
        Ok(())
    }

    /// Frames are written one at a time: a damaged one is corrupt when a later one was begun. Only the last may be
    /// one that was cut off, which nobody was told about.
    fn verdict(&self, report: &mut Report) -> CliResult<()> {
        let damaged = self.damaged.iter().map(|(_, sequence)| sequence);
        let newest = damaged.chain(self.intact.last()).max();
        for (position, sequence) in &self.damaged {
            if newest.is_some_and(|newest| sequence < newest) {
                report.corrupt(
                    *position,
                    format!("frame {sequence} is damaged, and a later one is there"),
                )?;
            } else {
                report.item(&fields! {
                    kind: "torn", position: *position, sequence: *sequence, note: "begun and not finished",
                })?;
            }
        }
        let mut end = fields! { kind: "end", frames: self.intact.len() as u64 };
        if let (Some(first), Some(last)) = (self.intact.first(), self.intact.last()) {
            end.extend(fields! { first_sequence: *first, last_sequence: *last });
        }
        report.item(&end)
    }
}

fn dump_entry(entry: &Entry<'_>, position: u64, args: &DumpArgs, report: &mut Report) -> CliResult<()> {
    let kind = match entry.kind {
        EntryKind::Batch => "batch",
        EntryKind::LogStart => "log-start",
    };
    report.inner(&fields! {
        kind: kind, partition: entry.name, topic_id: Uuid(entry.topic_id).to_string(),
        base_offset: entry.base_offset, segment_base: entry.segment_base, segment_position: entry.position,
        size_bytes: entry.data.len() as u64,
    })?;
    if entry.kind != EntryKind::Batch || !args.records {
        return Ok(());
    }
    let records = Records::of_partition(entry.name, args);
    for batch in Batches::new(Bytes::copy_from_slice(entry.data)) {
        match batch.and_then(|batch| batch.check_crc().map(|()| batch)) {
            Ok(batch) => records.dump(&batch, position, report)?,
            Err(error) => report.corrupt(position, error)?,
        }
    }
    Ok(())
}

/// Prints what a core's checkpoint says of each partition.
pub(super) fn dump_checkpoint(path: &Path, report: &mut Report) -> CliResult<()> {
    let bytes = read_all(path)?;
    if bytes.is_empty() {
        return report.item(&fields! { kind: "end", partitions: 0 });
    }
    let checkpoint = match states::decode_file(&bytes, INDEX_INTERVAL_BYTES) {
        Ok(checkpoint) => checkpoint,
        Err(CheckpointFault::Newer(version)) => return Err(newer(path, version)),
        Err(CheckpointFault::Damaged(how)) => return report.corrupt(0, how),
    };
    report.item(&fields! {
        kind: "checkpoint", journal_id: checkpoint.journal_id, first_frame: checkpoint.first_frame,
        frame_position: checkpoint.position,
    })?;
    for state in &checkpoint.partitions {
        let active = state.active();
        report.inner(&fields! {
            kind: "partition", partition: state.name.as_str(), topic_id: Uuid(state.topic_id).to_string(),
            log_start_offset: state.log_start_offset, log_end_offset: state.end_offset,
            segment_base: active.base_offset, segment_bytes: active.size_bytes,
            leader_epoch: state.epochs.latest().map_or(-1, |entry| entry.epoch),
            producers: state.producers.len() as u64,
        })?;
    }
    report.item(&fields! { kind: "end", partitions: checkpoint.partitions.len() as u64 })
}
