//! The small text files: checkpoints, properties, JSON.

use std::path::Path;

use serde_json::Value;

use super::{Report, read_all};
use crate::cli::error::CliResult;
use crate::cli::output::{Fields, fields};

/// A checkpoint: a line `0`, a line with the count, then a line for each entry, `epoch offset` or
/// `topic partition offset`. An empty file has no entries.
pub(super) fn dump_checkpoint(path: &Path, report: &mut Report) -> CliResult<()> {
    let Some(text) = read_text(path, report)? else {
        return Ok(());
    };
    let mut lines = text.lines();
    let (Some(version), count) = (lines.next(), lines.next()) else {
        return report.item(&fields! { kind: "end", entries: 0 });
    };
    if version != "0" {
        return report.corrupt(0, format!("version {version:?}; only 0 is known"));
    }
    let mut entries = 0u64;
    for line in lines {
        entries += 1;
        match entry(line) {
            Some(entry) => report.item(&entry)?,
            None => report.corrupt(0, format!("line {:?} is no entry", line))?,
        }
    }
    if count.and_then(|count| count.parse().ok()) != Some(entries) {
        report.corrupt(
            0,
            format!(
                "its second line says {:?}, but entries are {entries}",
                count.unwrap_or("")
            ),
        )?;
    }
    report.item(&fields! { kind: "end", entries: entries })
}

fn entry(line: &str) -> Option<Fields> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        [epoch, offset] => Some(fields! {
            kind: "epoch", leader_epoch: epoch.parse::<i32>().ok()?, start_offset: offset.parse::<i64>().ok()?,
        }),
        [topic, partition, offset] => Some(fields! {
            kind: "partition", topic: topic, partition: partition.parse::<i32>().ok()?,
            offset: offset.parse::<i64>().ok()?,
        }),
        _ => None,
    }
}

/// `key=value` or `key: value` lines; `#` begins a comment.
pub(super) fn dump_properties(path: &Path, report: &mut Report) -> CliResult<()> {
    let Some(text) = read_text(path, report)? else {
        return Ok(());
    };
    for line in text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        match line.split_once(['=', ':']) {
            Some((key, value)) => {
                report.item(&fields! { kind: "property", key: key.trim(), value: value.trim() })?;
            }
            None => report.corrupt(0, format!("line {line:?} is no property"))?,
        }
    }
    Ok(())
}

/// One JSON object.
pub(super) fn dump_json(path: &Path, report: &mut Report) -> CliResult<()> {
    let Some(text) = read_text(path, report)? else {
        return Ok(());
    };
    match serde_json::from_str(&text) {
        Ok(Value::Object(fields)) => report.item(&fields),
        Ok(_) => report.corrupt(0, "JSON, but no object"),
        Err(error) => report.corrupt(0, error),
    }
}

fn read_text(path: &Path, report: &mut Report) -> CliResult<Option<String>> {
    match String::from_utf8(read_all(path)?) {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            report.corrupt(error.utf8_error().valid_up_to() as u64, "not UTF-8")?;
            Ok(None)
        }
    }
}
