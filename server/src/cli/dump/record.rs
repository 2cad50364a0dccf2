//! Records inside a batch, with what control and metadata records mean.

use std::fmt::Debug;
use std::path::Path;

use ringlog_records::{Batch, Record, RecordError};

use super::Report;
use crate::cli::args::DumpArgs;
use crate::cli::error::{CliResult, unreadable};
use crate::cli::output::{fields, insert_record};
use crate::wire::WireError;
use crate::wire::control_records::ControlRecord;
use crate::wire::metadata_records::MetadataRecord;

/// The folder of the metadata log begins so.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// How the records of a file are shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Records {
    wanted: bool,
    are_metadata: bool,
    max_unpacked_bytes: u64,
}

impl Records {
    /// Of a segment in its partition's folder, or of a snapshot of the metadata log.
    pub(super) fn of_path(path: &Path, args: &DumpArgs) -> Self {
        let folder = path
            .parent()
            .and_then(Path::file_name)
            .map(|name| name.to_string_lossy());
        let is_snapshot = path
            .extension()
            .is_some_and(|extension| extension == "checkpoint");
        let mut records = Self::of_partition(&folder.unwrap_or_default(), args);
        records.are_metadata |= is_snapshot;
        records
    }

    /// Of the partition with this folder.
    pub(super) fn of_partition(folder: &str, args: &DumpArgs) -> Self {
        Self {
            wanted: args.records,
            are_metadata: folder.starts_with(METADATA_TOPIC),
            max_unpacked_bytes: args.max_unpacked_bytes,
        }
    }

    /// Prints a batch's records, if they are wanted.
    pub(super) fn dump(&self, batch: &Batch, position: u64, report: &mut Report) -> CliResult<()> {
        if !self.wanted {
            return Ok(());
        }
        let records = match batch.records(self.max_unpacked_bytes) {
            Ok(records) => records,
            // A batch that is merely larger than the limit is not damaged.
            Err(error @ RecordError::TooLarge { .. }) => {
                return report
                    .inner(&fields! { kind: "skipped", position: position, note: unreadable(&error) });
            }
            Err(error) => return report.corrupt(position, error),
        };
        for record in records {
            match record {
                Ok(record) => self.dump_one(batch, &record, report)?,
                Err(error) => report.corrupt(position, error)?,
            }
        }
        Ok(())
    }

    fn dump_one(&self, batch: &Batch, record: &Record, report: &mut Report) -> CliResult<()> {
        let mut shown = fields! { kind: "record" };
        insert_record(&mut shown, record);
        if let Some(meaning) = self.meaning(batch, record) {
            shown.extend(fields! { meaning: meaning });
        }
        report.inner(&shown)
    }

    /// What a control or metadata record says, or why it cannot be read; `None` for all others.
    fn meaning(&self, batch: &Batch, record: &Record) -> Option<String> {
        let value = record.value.as_ref()?;
        if batch.header.is_control() {
            return Some(shown(ControlRecord::decode(record.key.as_ref()?, value)));
        }
        self.are_metadata.then(|| shown(MetadataRecord::decode(value)))
    }
}

fn shown<T: Debug>(decoded: Result<T, WireError>) -> String {
    match decoded {
        Ok(record) => format!("{record:?}"),
        Err(error) => format!("cannot be read: {error}"),
    }
}
