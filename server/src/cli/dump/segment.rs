//! Segments (`.log`), and the metadata log's snapshots (`.checkpoint`): batches one after the other.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use bytes::Bytes;
use ringlog_engine::batch::{BatchHeader, HEADER_BYTES, TimestampType};
use ringlog_records::{Batch, Batches, whole_size_bytes};

use super::record::Records;
use super::{Report, base_offset_of, cannot_read};
use crate::cli::args::DumpArgs;
use crate::cli::error::CliResult;
use crate::cli::output::{Fields, fields};

/// Prints every batch, and with `--records` its records; then how many there were.
pub(super) fn dump(path: &Path, args: &DumpArgs, report: &mut Report) -> CliResult<()> {
    let records = Records::of_path(path, args);
    let mut reader = LogReader::open(path)?;
    let is_open_ended = is_open_ended(path);
    let mut totals = Totals {
        next_offset: base_offset_of(path).unwrap_or(0),
        ..Totals::default()
    };
    loop {
        let position = reader.position;
        match reader.next(path)? {
            Found::Batch(batch) if is_open_ended && batch.header.base_offset != totals.next_offset => {
                let note = "behind the log's end: left from a removed segment";
                report.item(&fields! { kind: "unused", position: position, note: note })?;
                break;
            }
            Found::Batch(batch) => dump_batch(&batch, position, records, &mut totals, report)?,
            Found::End => break,
            Found::Zeroes(bytes) => {
                report.item(
                    &fields! { kind: "zeroes", position: position, bytes: bytes, note: "not written yet" },
                )?;
                break;
            }
            Found::Damage(error) if is_open_ended => {
                let hint = "unless the log ends here, and a removed segment's bytes follow";
                report.corrupt(position, format!("{error}; {hint}"))?;
                break;
            }
            Found::Damage(error) => {
                report.corrupt(position, error)?;
                break;
            }
        }
    }
    report.item(&fields! {
        kind: "end", position: reader.position, batches: totals.batches, records: totals.records,
        next_offset: totals.next_offset,
    })
}

/// Whether this is the newest segment of a partition of ours that was not stopped cleanly: its file may be a removed segment's, whose bytes
/// follow the log's end. Our logs have no gap, so a batch that does not follow the one before is such a byte's.
fn is_open_ended(path: &Path) -> bool {
    let newer = || {
        let folder = path.parent()?;
        let base = base_offset_of(path)?;
        let mut there = std::fs::read_dir(folder.parent()?).ok()?.flatten();
        let is_ours = |name: &str| name.starts_with("ringlog-checkpoint-");
        let is_running = there.any(|entry| entry.file_name().to_str().is_some_and(is_ours));
        let mut logs = std::fs::read_dir(folder).ok()?.flatten();
        let is_newer = |path: &Path| {
            path.extension().is_some_and(|e| e == "log") && base_offset_of(path).is_some_and(|b| b > base)
        };
        Some(is_running && !logs.any(|entry| is_newer(&entry.path())))
    };
    path.extension().is_some_and(|e| e == "log") && newer().unwrap_or(false)
}

#[derive(Debug, Default)]
struct Totals {
    batches: u64,
    records: u64,
    next_offset: i64,
}

/// What lies at a position of the file.
#[derive(Debug)]
enum Found {
    Batch(Batch),
    /// Nothing: the file ends with a batch.
    End,
    /// Zeroes to the end of the file: room the writer made and has not used.
    Zeroes(u64),
    /// Neither.
    Damage(String),
}

/// Reads a file batch by batch: a segment may be larger than memory.
#[derive(Debug)]
struct LogReader {
    file: BufReader<File>,
    position: u64,
    size_bytes: u64,
}

impl LogReader {
    fn open(path: &Path) -> CliResult<Self> {
        let open = || {
            let file = File::open(path)?;
            let size_bytes = file.metadata()?.len();
            Ok(Self {
                file: BufReader::with_capacity(1 << 18, file),
                position: 0,
                size_bytes,
            })
        };
        open().map_err(|error| cannot_read(path, &error))
    }

    fn next(&mut self, path: &Path) -> CliResult<Found> {
        let head = self.read(path, HEADER_BYTES as u64)?;
        if head.is_empty() {
            return Ok(Found::End);
        }
        if head.iter().all(|byte| *byte == 0) {
            return self.zeroes(path, head.len() as u64);
        }
        let Some(header) = BatchHeader::read(&head) else {
            return Ok(Found::Damage(format!(
                "{} bytes at the end are no batch",
                head.len()
            )));
        };
        match whole_size_bytes(&header) {
            Ok(size_bytes) => self.batch(path, head, size_bytes as u64),
            Err(error) => Ok(Found::Damage(error.to_string())),
        }
    }

    fn batch(&mut self, path: &Path, mut bytes: Vec<u8>, size_bytes: u64) -> CliResult<Found> {
        let left = self.size_bytes.saturating_sub(self.position);
        bytes.extend(self.read(path, size_bytes - bytes.len() as u64)?);
        // The walk stops after the one batch these bytes hold, or at once when they are fewer.
        Ok(match Batches::new(Bytes::from(bytes)).next() {
            Some(Ok(batch)) => {
                self.position += size_bytes;
                Found::Batch(batch)
            }
            Some(Err(error)) => Found::Damage(error.to_string()),
            None => Found::Damage(format!("a batch of {size_bytes} bytes, cut off after {left}")),
        })
    }

    /// Up to `count` bytes: less only at the end of the file.
    fn read(&mut self, path: &Path, count: u64) -> CliResult<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = self.file.by_ref().take(count).read_to_end(&mut bytes);
        read.map_err(|error| cannot_read(path, &error))?;
        Ok(bytes)
    }

    fn zeroes(&mut self, path: &Path, mut count: u64) -> CliResult<Found> {
        loop {
            let bytes = self.read(path, 1 << 16)?;
            if bytes.is_empty() {
                return Ok(Found::Zeroes(count));
            }
            if let Some(index) = bytes.iter().position(|byte| *byte != 0) {
                return Ok(Found::Damage(format!(
                    "bytes follow {} zeroes",
                    count + index as u64
                )));
            }
            count += bytes.len() as u64;
        }
    }
}

fn dump_batch(
    batch: &Batch,
    position: u64,
    records: Records,
    totals: &mut Totals,
    report: &mut Report,
) -> CliResult<()> {
    let crc = batch.check_crc();
    report.item(&batch_fields(batch, position, crc.is_ok()))?;
    check_order(&batch.header, position, totals.next_offset, report)?;
    totals.batches += 1;
    totals.records += u64::try_from(batch.header.record_count).unwrap_or(0);
    totals.next_offset = batch.header.last_offset().saturating_add(1);
    match crc {
        Err(error) => report.corrupt(position, error),
        Ok(()) => records.dump(batch, position, report),
    }
}

fn check_order(header: &BatchHeader, position: u64, next_offset: i64, report: &mut Report) -> CliResult<()> {
    if header.base_offset < next_offset {
        let base = header.base_offset;
        report.corrupt(
            position,
            format!("base offset {base}, where {next_offset} is the lowest possible"),
        )?;
    }
    if header.last_offset_delta < 0 {
        report.corrupt(
            position,
            format!("last offset delta {}", header.last_offset_delta),
        )?;
    }
    Ok(())
}

fn batch_fields(batch: &Batch, position: u64, crc_ok: bool) -> Fields {
    let header = &batch.header;
    fields! {
        kind: "batch",
        position: position,
        size_bytes: batch.size_bytes() as u64,
        base_offset: header.base_offset,
        last_offset: header.last_offset(),
        records: header.record_count,
        partition_leader_epoch: header.partition_leader_epoch,
        magic: header.magic,
        crc: header.crc,
        crc_ok: crc_ok,
        codec: batch.codec().map_or_else(|_| (header.attributes & 0b111).to_string(), |codec| codec.name().to_owned()),
        timestamp_type: timestamp_type(header),
        transactional: header.is_transactional(),
        control: header.is_control(),
        delete_horizon: header.attributes & 1 << 6 != 0,
        attributes: header.attributes,
        last_offset_delta: header.last_offset_delta,
        base_timestamp_ms: header.base_timestamp_ms,
        max_timestamp_ms: header.max_timestamp_ms,
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
    }
}

fn timestamp_type(header: &BatchHeader) -> &'static str {
    match header.timestamp_type() {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}
