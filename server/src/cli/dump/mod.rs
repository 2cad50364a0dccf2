//! `ringlog dump`: prints and checks the files of a data directory. What a file is follows from its name.

mod index;
mod journal;
mod record;
mod segment;
mod snapshot;
mod text;

use std::fs;
use std::io;
use std::path::Path;

use super::args::DumpArgs;
use super::error::{CliError, CliResult};
use super::output::{Fields, Output, fields};

/// Prints every file; fails at the end if one was corrupt, unknown or unreadable.
pub fn run(args: &DumpArgs) -> CliResult<()> {
    let mut report = Report {
        out: Output::stdout(args.json),
        corrupt: 0,
    };
    let mut failed = 0;
    for path in &args.files {
        match dump_file(path, args, &mut report) {
            Ok(()) => {}
            Err(error @ CliError::Refused(_)) => {
                report.out.flush()?;
                eprintln!("ringlog: {error}");
                failed += 1;
            }
            Err(error) => return Err(error),
        }
    }
    report.out.flush()?;
    report.verdict(failed, args.files.len())
}

/// Where findings go, and how many of them are bad.
struct Report {
    out: Output,
    corrupt: u64,
}

impl Report {
    /// Something found.
    fn item(&mut self, fields: &Fields) -> CliResult<()> {
        self.out.fields_line("", fields)
    }

    /// Something found inside the last item.
    fn inner(&mut self, fields: &Fields) -> CliResult<()> {
        self.out.fields_line("  ", fields)
    }

    /// Something that cannot be right at this byte of the file.
    fn corrupt(&mut self, position: u64, error: impl ToString) -> CliResult<()> {
        self.corrupt += 1;
        self.item(&fields! { kind: "corrupt", position: position, error: error.to_string() })
    }

    fn verdict(&self, failed: usize, files: usize) -> CliResult<()> {
        match (self.corrupt, failed) {
            (0, 0) => Ok(()),
            (0, _) => Err(CliError::refused(format!(
                "{failed} of {files} files could not be read"
            ))),
            (corrupt, _) => Err(CliError::refused(format!(
                "corrupt: {corrupt} finding(s), marked \"corrupt\" above"
            ))),
        }
    }
}

/// The kinds of file in a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Segment,
    OffsetIndex,
    TimeIndex,
    TransactionIndex,
    ProducerSnapshot,
    Checkpoint,
    Properties,
    Json,
    Journal,
    JournalCheckpoint,
}

impl Kind {
    fn of(name: &str) -> Option<Self> {
        // A file being replaced or deleted keeps its format under a longer name.
        let name = [".deleted", ".cleaned", ".swap"]
            .iter()
            .fold(name, |name, end| name.strip_suffix(end).unwrap_or(name));
        match name {
            "meta.properties" | "partition.metadata" => return Some(Self::Properties),
            "quorum-state" | ".kafka_cleanshutdown" => return Some(Self::Json),
            "leader-epoch-checkpoint" => return Some(Self::Checkpoint),
            _ if name.starts_with("ringlog-journal-") => return Some(Self::Journal),
            _ if name.starts_with("ringlog-checkpoint-") => return Some(Self::JournalCheckpoint),
            _ if name.ends_with("-offset-checkpoint") => {
                return Some(Self::Checkpoint);
            }
            _ => {}
        }
        Some(match name.rsplit_once('.')?.1 {
            // A snapshot of the metadata log is a file of batches too.
            "log" | "checkpoint" => Self::Segment,
            "index" => Self::OffsetIndex,
            "timeindex" => Self::TimeIndex,
            "txnindex" => Self::TransactionIndex,
            "snapshot" => Self::ProducerSnapshot,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Segment => "segment",
            Self::OffsetIndex => "offset index",
            Self::TimeIndex => "time index",
            Self::TransactionIndex => "transaction index",
            Self::ProducerSnapshot => "producer snapshot",
            Self::Checkpoint => "checkpoint",
            Self::Properties => "properties",
            Self::Json => "json",
            Self::Journal => "journal",
            Self::JournalCheckpoint => "journal checkpoint",
        }
    }
}

fn dump_file(path: &Path, args: &DumpArgs, report: &mut Report) -> CliResult<()> {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy())
        .unwrap_or_default();
    let size_bytes = size_of_file(path)?;
    let kind = Kind::of(&name).ok_or_else(|| unknown(path))?;
    report.item(&fields! {
        kind: "file", path: path.display().to_string(), format: kind.name(), size_bytes: size_bytes,
    })?;
    match kind {
        Kind::Segment => segment::dump(path, args, report),
        Kind::OffsetIndex => index::dump_offsets(path, report),
        Kind::TimeIndex => index::dump_times(path, report),
        Kind::TransactionIndex => index::dump_transactions(path, report),
        Kind::ProducerSnapshot => snapshot::dump(path, report),
        Kind::Checkpoint => text::dump_checkpoint(path, report),
        Kind::Properties => text::dump_properties(path, report),
        Kind::Json => text::dump_json(path, report),
        Kind::Journal => journal::dump(path, args, report),
        Kind::JournalCheckpoint => journal::dump_checkpoint(path, report),
    }
}

fn size_of_file(path: &Path) -> CliResult<u64> {
    let metadata = fs::metadata(path).map_err(|error| cannot_read(path, &error))?;
    match metadata.is_dir() {
        true => Err(CliError::refused(format!(
            "{} is a directory; name the files in it: ringlog dump {}/*",
            path.display(),
            path.display()
        ))),
        false => Ok(metadata.len()),
    }
}

fn unknown(path: &Path) -> CliError {
    CliError::refused(format!(
        "{}: nothing in a data directory has such a name; see `ringlog dump --help` for what can be read",
        path.display()
    ))
}

fn cannot_read(path: &Path, error: &io::Error) -> CliError {
    CliError::refused(format!("cannot read {}: {error}", path.display()))
}

/// The whole file, for the formats that are small.
fn read_all(path: &Path) -> CliResult<Vec<u8>> {
    fs::read(path).map_err(|error| cannot_read(path, &error))
}

/// The base offset in a segment file's name: the 20 digits before the first dot or dash.
fn base_offset_of(path: &Path) -> Option<i64> {
    let name = path.file_name()?.to_str()?;
    name.split(['.', '-']).next()?.parse().ok()
}

#[cfg(test)]
mod tests;
