//! What a folder says of aborted transactions: counted where the files are believed, found again in the log where they are not.

use std::ops::ControlFlow;
use std::path::Path;

use super::{Listing, Report, snapshot_at};
use crate::aborted::{ABORTED_ENTRY_BYTES, AbortedTxns, most_entries};
use crate::background::segment_file;
use crate::batch::EndTxn;
use crate::error::Error;
use crate::io::files;
use crate::journal::states::Checkpoint;
use crate::producers::ProducerStates;
use crate::scan;

/// How many entries the index of a segment has whose files are believed. One that cannot be is built again.
pub(super) fn count_sealed(
    folder: &Path,
    listing: &Listing,
    base: i64,
    size: u64,
    report: &mut Report,
) -> Result<u32, Error> {
    let bytes = listing.aborted_bytes(base);
    let (count, rest) = (
        bytes / ABORTED_ENTRY_BYTES as u64,
        bytes % ABORTED_ENTRY_BYTES as u64,
    );
    if rest == 0 && count <= most_entries(size) {
        return Ok(count as u32);
    }
    report.scanned_segments += 1;
    match rebuild(folder, listing, base, size, report)? {
        Some(mut aborted) => {
            scan::write_whole_aborted(folder, base, &mut aborted)?;
            Ok(aborted.count())
        }
        None => Ok(unknown(listing, base).count()),
    }
}

/// An index of which nobody knows what it should have: it counts more than the file has, so that whoever must know is refused.
pub(super) fn unknown(listing: &Listing, base: i64) -> AbortedTxns {
    let count = listing.aborted_bytes(base) / ABORTED_ENTRY_BYTES as u64;
    AbortedTxns::in_file(u32::try_from(count + 1).unwrap_or(u32::MAX))
}

/// Finds the aborted transactions of a segment in its log. None of them is written. `None` where the log is damaged: then the caller counts what the
/// file does not have, so that whoever must know them is refused.
pub(super) fn rebuild(
    folder: &Path,
    listing: &Listing,
    base: i64,
    size: u64,
    report: &mut Report,
) -> Result<Option<AbortedTxns>, Error> {
    let mut aborted = AbortedTxns::default();
    let before = producers_before(folder, listing, base);
    match before.and_then(|before| scan::aborted::find(folder, base, size, before)) {
        Ok(entries) => entries.into_iter().for_each(|entry| aborted.push(entry)),
        Err(Error::Corrupt { path, detail }) => {
            let path = path.display();
            report.notices.push(format!(
                "which transactions were aborted is not known: {path} is damaged, {detail}"
            ));
            return Ok(None);
        }
        Err(other) => return Err(other),
    }
    Ok(Some(aborted))
}

/// The producers at the front of a segment: from the newest snapshot before it, and the log in between.
fn producers_before(folder: &Path, listing: &Listing, base: i64) -> Result<ProducerStates, Error> {
    let mut producers = ProducerStates::new();
    let mut known_to = i64::MIN;
    for at in listing.snapshots.iter().rev().filter(|at| **at <= base) {
        if let Some(found) = snapshot_at(folder, *at)? {
            (producers, known_to) = (found, *at);
            break;
        }
    }
    for (i, &(from, size)) in listing.logs.iter().enumerate() {
        let next = listing.logs.get(i + 1).map_or(i64::MAX, |l| l.0);
        if from >= base || next <= known_to {
            continue;
        }
        let log = segment_file(folder, from, ".log");
        let end = scan::walk(&log, 0, size, |_, header, bytes| {
            if header.base_offset >= known_to {
                let marker = EndTxn::read(header, bytes);
                producers.record(header, header.base_offset, header.max_timestamp_ms, marker);
            }
            ControlFlow::Continue(())
        })?;
        if let Some(fault) = end.fault {
            let detail = format!("at byte {}: {fault}", end.position);
            return Err(Error::Corrupt { path: log, detail });
        }
    }
    Ok(producers)
}

/// Where a checkpoint does not say how many transactions were aborted, the file says it: no marker was written when such checkpoints were.
pub(in crate::recover) fn count_aborted(data_dir: &Path, checkpoint: &mut Checkpoint) -> Result<(), Error> {
    if checkpoint.counts_aborted {
        return Ok(());
    }
    for state in &mut checkpoint.partitions {
        let (folder, active) = (data_dir.join(&state.name), state.active_mut());
        let path = segment_file(&folder, active.base_offset, ".txnindex");
        let bytes = files::read_small(&path)?.unwrap_or_default().len();
        active.aborted = AbortedTxns::in_file((bytes / ABORTED_ENTRY_BYTES) as u32);
    }
    Ok(())
}
