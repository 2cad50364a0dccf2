//! What the tool says: [`model`] is the report itself, as JSON holds it; the rest makes its figures and shows them.
//!
//! [`latency`] turns histograms into the report's distributions and back, [`merged`] puts the rounds of a side together,
//! [`figures`] names every single figure once for [`ratios`], [`compare`] and [`text`], and [`html`] is the page.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::error::Error;

pub mod compare;
pub mod figures;
pub mod floor;
pub mod hlog;
pub mod html;
pub mod inside;
pub mod latency;
pub mod merged;
pub mod model;
pub mod ratios;
#[cfg(test)]
mod sample;
mod table;
pub mod text;
pub mod units;

use model::{FORMAT, Report};

/// Writes `report` as JSON, replacing the file only when all of it is written.
///
/// # Errors
/// The path and what the system said.
pub fn write_json(path: &Path, report: &Report) -> Result<(), Error> {
    let text = serde_json::to_string(report)
        .map_err(|error| Error::failed(format!("cannot put the report into JSON: {error}")))?;
    write_whole(path, &(text + "\n"))
}

/// Writes the page of [`html::render`], replacing the file only when all of it is written.
///
/// # Errors
/// The path and what the system said.
pub fn write_html(path: &Path, report: &Report) -> Result<(), Error> {
    write_whole(path, &html::render(report))
}

/// Reads a report that [`write_json`] wrote.
///
/// # Errors
/// A file that cannot be read, that is cut short, that is no report of this tool, or of another format version.
pub fn read_json(path: &Path) -> Result<Report, Error> {
    let name = path.display();
    let text =
        fs::read_to_string(path).map_err(|error| Error::failed(format!("cannot read {name}: {error}")))?;
    let about = |what: String| Error::failed(format!("{name} {what}"));
    check_format(&text).map_err(about)?;
    serde_json::from_str(&text).map_err(|error| about(format!("is no whole report: {error}")))
}

/// The one field every version has.
#[derive(Deserialize)]
struct FormatOnly {
    format: Option<String>,
}

fn check_format(text: &str) -> Result<(), String> {
    let head: FormatOnly = serde_json::from_str(text).map_err(|error| match ends_at(text, &error) {
        true => "is empty or cut short".to_owned(),
        false => format!("is not a report of ringlog-bench: {error}"),
    })?;
    match head.format.as_deref() {
        Some(FORMAT) => Ok(()),
        Some(other) if other.starts_with("ringlog-bench/") => Err(format!(
            "is in format {other:?}; this version reads {FORMAT:?} only"
        )),
        _ => Err(format!(
            "is not a report of ringlog-bench: it does not say \"format\": {FORMAT:?}"
        )),
    }
}

/// Whether what is wrong with `text` is its end.
fn ends_at(text: &str, error: &serde_json::Error) -> bool {
    let last = text.lines().last().map_or(0, str::len);
    error.is_eof() || (error.line() >= text.lines().count() && error.column() >= last)
}

fn write_whole(path: &Path, text: &str) -> Result<(), Error> {
    // a terminal, a pipe or a device is written to, not replaced by a file
    if fs::metadata(path).is_ok_and(|known| !known.is_file()) {
        return fs::write(path, text)
            .map_err(|error| Error::failed(format!("cannot write {}: {error}", path.display())));
    }
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    let written = fs::write(partial, text).and_then(|()| fs::rename(partial, path));
    written.map_err(|error| {
        let _ = fs::remove_file(partial);
        Error::failed(format!("cannot write {}: {error}", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Report, Error> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("r.json");
        fs::write(&path, text).expect("written");
        read_json(&path)
    }

    #[test]
    fn a_report_comes_back_as_it_was_written() {
        let dir = tempfile::tempdir().expect("a folder");
        for (name, report) in sample::all() {
            let path = dir.path().join(name);
            write_json(&path, &report).expect("written");
            let read = read_json(&path).expect("read");
            assert_eq!(
                text::summary(&read, false),
                text::summary(&report, false),
                "{name}"
            );
            let latencies = |report: &Report| report.sides[0].runs[0].steps[0].latencies.clone();
            for (name, latency) in latencies(&report) {
                assert_eq!(
                    latency::decode(&latencies(&read)[&name]),
                    latency::decode(&latency),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_report_is_told_apart() {
        let whole = serde_json::to_string(&sample::produce()).expect("JSON");
        let in_a_number = whole.find("0.999").expect("a quantile") + 2;
        for (text, expected) in [
            ("", "cut short"),
            (&whole[..whole.len() / 2], "cut short"),
            (&whole[..in_a_number], "cut short"),
            (&whole[..whole.len() - 1], "cut short"),
            ("[1,2]", "not a report"),
            ("{}", "not a report"),
            ("hello", "not a report"),
            (r#"{"format":"ringlog-bench/7"}"#, "ringlog-bench/7"),
            (r#"{"format":"ringlog-bench/1","sides":7}"#, "no whole report"),
        ] {
            let error = read_text(text).expect_err("refused").to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let error = write_json(Path::new("/nowhere/r.json"), &Report::default()).expect_err("refused");
        assert!(error.to_string().contains("/nowhere/r.json"), "{error}");
        let dir = tempfile::tempdir().expect("a folder");
        let link = dir.path().join("out");
        std::os::unix::fs::symlink("/dev/full", &link).expect("a link");
        let error = write_json(&link, &Report::default()).expect_err("refused");
        assert!(
            error.to_string().contains("No space") && link.is_symlink(),
            "{error}"
        );
    }
}
