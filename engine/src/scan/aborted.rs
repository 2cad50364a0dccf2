//! Indexes of aborted transactions: read from their files, and built again from the log.

use std::ops::ControlFlow;
use std::path::Path;

use super::walk;
use crate::aborted::{ABORTED_ENTRY_BYTES, AbortedTxn, most_entries, read_entries};
use crate::background::segment_file;
use crate::batch::EndTxn;
use crate::error::Error;
use crate::io::files::{self, Sync};
use crate::producers::{ProducerStates, TxnStep};

/// The first `count` entries of a segment's index. Where the file is not what it must be they are found again in the log. Nothing is written.
///
/// # Errors
/// The system's, and [`Error::Corrupt`] where file and log are damaged, or nobody knows which transactions were open when the segment began.
pub fn load(
    folder: &Path,
    base_offset: i64,
    size_bytes: u64,
    count: u32,
    is_first: bool,
) -> Result<Vec<AbortedTxn>, Error> {
    let path = segment_file(folder, base_offset, ".txnindex");
    let bytes = match u64::from(count) > most_entries(size_bytes) {
        true => Some(Vec::new()),
        false => files::read_front(&path, count as usize * ABORTED_ENTRY_BYTES)?,
    };
    let fault = match bytes {
        Some(bytes) => match read_entries(&bytes, count, base_offset, size_bytes) {
            Ok(entries) => return Ok(entries),
            Err(fault) => fault.to_string(),
        },
        None => "it is missing".to_owned(),
    };
    let corrupt = |detail: String| Error::Corrupt {
        path: path.clone(),
        detail: format!("{fault}; {detail}"),
    };
    let before = producers_at(folder, base_offset, is_first)?;
    let before = before.ok_or_else(|| corrupt("no snapshot says which transactions were open".into()))?;
    let mut entries = find(folder, base_offset, size_bytes, before)?;
    if entries.len() < count as usize {
        return Err(corrupt(format!(
            "the log has {} of {count} entries",
            entries.len()
        )));
    }
    entries.truncate(count as usize);
    Ok(entries)
}

/// The producers at the front of a segment; `None` when nobody knows.
fn producers_at(folder: &Path, offset: i64, is_first: bool) -> Result<Option<ProducerStates>, Error> {
    let bytes = files::read_small(&segment_file(folder, offset, ".snapshot"))?;
    let snapshot = bytes.and_then(|b| ProducerStates::decode_snapshot(&b, offset).ok());
    Ok(snapshot.or_else(|| is_first.then(ProducerStates::new)))
}

/// The aborted transactions whose markers are in a segment, found in its log. `before`: the producers at its front.
///
/// # Errors
/// The system's, and [`Error::Corrupt`] where the log is damaged.
pub fn find(
    folder: &Path,
    base_offset: i64,
    size_bytes: u64,
    mut before: ProducerStates,
) -> Result<Vec<AbortedTxn>, Error> {
    let log = segment_file(folder, base_offset, ".log");
    let mut entries = Vec::new();
    let end = walk(&log, 0, size_bytes, |_, header, bytes| {
        let marker = EndTxn::read(header, bytes);
        let step = before.record(header, header.base_offset, header.max_timestamp_ms, marker);
        if let TxnStep::Ended {
            aborted: Some(aborted),
            ..
        } = step
        {
            entries.push(aborted);
        }
        ControlFlow::Continue(())
    })?;
    match end.fault {
        Some(fault) => Err(Error::Corrupt {
            path: log,
            detail: format!("at byte {}: {fault}", end.position),
        }),
        None => Ok(entries),
    }
}

/// Makes a segment's file hold exactly these entries; without one there is no file.
///
/// # Errors
/// The system's.
pub fn write(folder: &Path, base_offset: i64, entries: &[AbortedTxn]) -> Result<(), Error> {
    let tail = crate::aborted::AbortedTail {
        at: 0,
        bytes: entries.iter().flat_map(AbortedTxn::encode).collect(),
    };
    crate::background::extend_aborted(folder, base_offset, &tail, true, Sync::Later)
}
