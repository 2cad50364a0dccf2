//! Producer snapshots: the idempotent producers' state at the offset in the file's name.
//!
//! ```text
//! i16 version 1 | u32 CRC-32C of byte 6 to the end | i32 count | count times 46 B:
//! i64 producer id, i16 epoch, i32 last sequence, i64 last offset, i32 offset delta, i64 timestamp,
//! i32 coordinator epoch, i64 first offset of the open transaction (-1: none)
//! ```

use std::path::Path;

use bytes::Buf;

use super::{Report, read_all};
use crate::cli::error::CliResult;
use crate::cli::output::fields;

const HEADER_BYTES: usize = 10;
const ENTRY_BYTES: usize = 46;
/// Where the bytes under the checksum begin.
const CRC_FROM: usize = 6;

/// Prints every producer.
pub(super) fn dump(path: &Path, report: &mut Report) -> CliResult<()> {
    let bytes = read_all(path)?;
    if bytes.len() < HEADER_BYTES {
        return report.corrupt(
            0,
            format!(
                "{} bytes, where a snapshot has at least {HEADER_BYTES}",
                bytes.len()
            ),
        );
    }
    let mut buf = &bytes[..];
    let (version, stored, count) = (buf.get_i16(), buf.get_u32(), buf.get_i32());
    let computed = crc_fast::crc32_iscsi(&bytes[CRC_FROM..]);
    report.item(&fields! {
        kind: "snapshot", version: version, crc: stored, crc_ok: stored == computed, producers: count,
    })?;
    if let Some(error) = fault(version, stored, computed, count, buf.len()) {
        return report.corrupt(0, error);
    }
    buf.chunks_exact(ENTRY_BYTES)
        .try_for_each(|entry| dump_producer(entry, report))
}

fn fault(version: i16, stored: u32, computed: u32, count: i32, left: usize) -> Option<String> {
    if version != 1 {
        return Some(format!("version {version}; only 1 is known"));
    }
    if stored != computed {
        return Some(format!(
            "CRC mismatch: the header says {stored:#010x}, the bytes give {computed:#010x}"
        ));
    }
    let fits = usize::try_from(count).is_ok_and(|count| count.checked_mul(ENTRY_BYTES) == Some(left));
    (!fits).then(|| format!("{count} producers do not make {left} bytes"))
}

fn dump_producer(mut entry: &[u8], report: &mut Report) -> CliResult<()> {
    report.inner(&fields! {
        kind: "producer",
        producer_id: entry.get_i64(),
        producer_epoch: entry.get_i16(),
        last_sequence: entry.get_i32(),
        last_offset: entry.get_i64(),
        offset_delta: entry.get_i32(),
        timestamp_ms: entry.get_i64(),
        coordinator_epoch: entry.get_i32(),
        current_txn_first_offset: entry.get_i64(),
    })
}
