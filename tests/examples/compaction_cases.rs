//! Writes the logs that `golden/Compaction.java` cleans to a folder.

use std::path::PathBuf;

use ringlog_tests::compaction::{CASES, Case};

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).map(PathBuf::from);
    let folder = folder.ok_or_else(|| std::io::Error::other("usage: compaction_cases FOLDER"))?;
    (0..CASES).try_for_each(|number| Case::new(number).write(&folder, number))
}
