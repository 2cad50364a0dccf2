//! The three indexes of a segment. All big-endian:
//!
//! ```text
//! .index      8 B: i32 offset - base, i32 position of its batch
//! .timeindex 12 B: i64 largest timestamp so far, i32 offset - base
//! .txnindex  34 B: i16 version, i64 producer id, i64 first offset, i64 last offset, i64 last stable offset
//! ```
//!
//! The first two are made at full size and trimmed when the segment is sealed: after a kill they end in zeroes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Buf;
use ringlog_engine::batch::{BatchHeader, HEADER_BYTES, MAGIC};

use super::{Report, base_offset_of, read_all};
use crate::cli::error::{CliError, CliResult};
use crate::cli::output::fields;

/// `.index`: entries ascend, and each points at the batch that holds its offset, if the segment lies beside.
pub(super) fn dump_offsets(path: &Path, report: &mut Report) -> CliResult<()> {
    let base = base_of(path)?;
    let segment = File::open(path.with_extension("log")).ok();
    let mut previous = None;
    let entries = entries::<8>(path, report)?;
    for (index, mut entry) in entries.iter().map(|entry| &entry[..]).enumerate() {
        let (relative, position) = (entry.get_i32(), entry.get_i32());
        let at = index as u64 * 8;
        let offset = base.saturating_add(i64::from(relative));
        report.item(&fields! { kind: "entry", offset: offset, position: position })?;
        if previous.is_some_and(|(r, p)| r >= relative || p >= position) || relative < 0 || position < 0 {
            report.corrupt(at, "entries do not ascend")?;
        } else if let Some(error) = segment
            .as_ref()
            .and_then(|segment| mismatch(segment, offset, position))
        {
            report.corrupt(at, error)?;
        }
        previous = Some((relative, position));
    }
    report.item(
        &fields! { kind: "end", entries: entries.len() as u64, checked_against_segment: segment.is_some() },
    )
}

/// What is wrong with an entry, judged by the batch it points at.
fn mismatch(segment: &File, offset: i64, position: i32) -> Option<String> {
    let mut head = [0; HEADER_BYTES];
    if segment
        .read_exact_at(&mut head, u64::try_from(position).ok()?)
        .is_err()
    {
        return Some(format!("position {position} is beyond the segment"));
    }
    let header = BatchHeader::read(&head)?;
    let holds = header.magic == MAGIC && (header.base_offset..=header.last_offset()).contains(&offset);
    (!holds).then(|| format!("the segment has no batch with offset {offset} at position {position}"))
}

/// `.timeindex`: times do not descend, offsets ascend.
pub(super) fn dump_times(path: &Path, report: &mut Report) -> CliResult<()> {
    let base = base_of(path)?;
    let mut previous = None;
    let entries = entries::<12>(path, report)?;
    for (index, mut entry) in entries.iter().map(|entry| &entry[..]).enumerate() {
        let (timestamp_ms, relative) = (entry.get_i64(), entry.get_i32());
        let offset = base.saturating_add(i64::from(relative));
        report.item(&fields! { kind: "entry", timestamp_ms: timestamp_ms, offset: offset })?;
        if previous.is_some_and(|(t, r)| t > timestamp_ms || r >= relative) || relative < 0 {
            report.corrupt(index as u64 * 12, "entries do not ascend")?;
        }
        previous = Some((timestamp_ms, relative));
    }
    report.item(&fields! { kind: "end", entries: entries.len() as u64 })
}

/// `.txnindex`: the aborted transactions of the segment.
pub(super) fn dump_transactions(path: &Path, report: &mut Report) -> CliResult<()> {
    let entries = entries::<34>(path, report)?;
    for (index, mut entry) in entries.iter().map(|entry| &entry[..]).enumerate() {
        let version = entry.get_i16();
        let (producer_id, first_offset, last_offset) = (entry.get_i64(), entry.get_i64(), entry.get_i64());
        report.item(&fields! {
            kind: "aborted", version: version, producer_id: producer_id, first_offset: first_offset,
            last_offset: last_offset, last_stable_offset: entry.get_i64(),
        })?;
        if version != 0 || first_offset > last_offset {
            report.corrupt(index as u64 * 34, "no such version, or offsets do not ascend")?;
        }
    }
    report.item(&fields! { kind: "end", entries: entries.len() as u64 })
}

fn base_of(path: &Path) -> CliResult<i64> {
    base_offset_of(path).ok_or_else(|| {
        CliError::refused(format!(
            "{}: an index is named by its segment's base offset, 20 digits",
            path.display()
        ))
    })
}

/// The file's entries, less zeroes at the end; an odd size or zeroes are reported.
fn entries<const N: usize>(path: &Path, report: &mut Report) -> CliResult<Vec<[u8; N]>> {
    let bytes = read_all(path)?;
    let (whole, rest) = bytes.as_chunks::<N>();
    if !rest.is_empty() {
        let at = (bytes.len() - rest.len()) as u64;
        report.corrupt(
            at,
            format!("the size is no multiple of {N} bytes, which each entry has"),
        )?;
    }
    // An entry of zeroes is possible only as the first: later ones have a position.
    let used = whole
        .iter()
        .rposition(|entry| entry.iter().any(|byte| *byte != 0))
        .map_or(0, |last| last + 1);
    if used < whole.len() && whole.len() > 1 {
        let zeroes = ((whole.len() - used) * N) as u64;
        report.item(&fields! {
            kind: "zeroes", position: (used * N) as u64, bytes: zeroes, note: "not trimmed yet",
        })?;
    }
    Ok(whole[..used].to_vec())
}
