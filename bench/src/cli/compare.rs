//! Reports that were written before: `compare base.json new.json --fail RULE` for CI, and `report` to see one again.

use std::path::PathBuf;

use clap::Args;

use crate::error::Error;
use crate::report::compare::{Rule, compare};
use crate::report::{ratios, read_json, text, write_html, write_json};

/// Two reports and what must not have become worse.
#[derive(Args, Debug)]
pub struct CompareFlags {
    /// The report to compare with
    pub base: PathBuf,
    /// The report that may be worse
    pub new: PathBuf,
    /// Fail when a figure moved: `p99>5%` (acknowledgements' p99 rose by more than 5 %), `end_to_end.p99.9>10%`, `records_per_s<5%` (fell),
    /// `cpu_s_per_gib>5%`, `rss>20%`; may be repeated
    #[arg(long = "fail", value_name = "RULE")]
    pub rules: Vec<String>,
}

/// A report and what to make of it.
#[derive(Args, Debug)]
pub struct ReportFlags {
    /// The report
    pub file: PathBuf,
    /// Write its page
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write it again, its ratios worked out by this version
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Prints the summary of a report, and writes what was asked for.
pub fn show(flags: &ReportFlags) -> Result<bool, Error> {
    let mut report = read_json(&flags.file)?;
    ratios::fill(&mut report);
    print!("{}", text::summary(&report, false));
    if let Some(path) = &flags.html {
        write_html(path, &report)?;
    }
    if let Some(path) = &flags.json {
        write_json(path, &report)?;
    }
    Ok(true)
}

/// Prints the comparison; false when a rule failed.
pub fn run(flags: &CompareFlags) -> Result<bool, Error> {
    let rules = flags
        .rules
        .iter()
        .map(|rule| rule.parse())
        .collect::<Result<Vec<Rule>, Error>>()?;
    let (base, new) = (read_json(&flags.base)?, read_json(&flags.new)?);
    let comparison = compare(&base, &new, &rules)?;
    print!("{comparison}");
    Ok(comparison.passed())
}
