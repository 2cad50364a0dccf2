//! Up to where each partition was cleaned by key: Kafka's `cleaner-offset-checkpoint`.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::Report;
use crate::checkpoint::{self, OffsetEntry};
use crate::error::Error;
use crate::io::files;
use crate::log::LogState;

/// Tells each log what the checkpoint says of it. Entries of partitions that are no more go.
///
/// Where the file cannot be read, any log may have been cleaned, and nobody knows how far: all of them are dirty from their starts on, and may have
/// gaps. That is written down, for the next start to know it too.
///
/// # Errors
/// The system's.
pub(super) fn read(
    data_dir: &Path,
    logs: &mut HashMap<String, LogState>,
    report: &mut Report,
) -> Result<(), Error> {
    let path = data_dir.join(checkpoint::CLEANER_OFFSET_FILE);
    let Some(bytes) = files::read_small(&path)? else {
        return Ok(());
    };
    let parsed = parse(&bytes);
    let is_whole = parsed.is_ok();
    let entries = parsed.unwrap_or_else(|why| {
        let path = path.display();
        report.notices.push(format!(
            "{path} cannot be read ({why}): compacted partitions are cleaned from their starts on"
        ));
        let starts = logs
            .iter()
            .map(|(name, log)| (name.clone(), log.log_start_offset));
        starts.collect()
    });
    let mut kept = Vec::with_capacity(entries.len());
    let count = entries.len();
    for (name, offset) in entries {
        let (Some(log), Some((topic, partition))) = (logs.get_mut(&name), super::split_name(&name)) else {
            continue;
        };
        log.cleaned_to = Some(offset);
        let topic = topic.to_owned();
        kept.push(OffsetEntry {
            topic,
            partition,
            offset,
        });
    }
    if is_whole && kept.len() == count {
        return Ok(());
    }
    kept.sort();
    files::replace(&path, checkpoint::encode_offsets(&kept).as_bytes())
}

fn parse(bytes: &[u8]) -> Result<BTreeMap<String, i64>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let entries = checkpoint::parse_offsets(text).map_err(|e| e.to_string())?;
    let named = |e: OffsetEntry| (format!("{}-{}", e.topic, e.partition), e.offset);
    Ok(entries.into_iter().map(named).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recover::{Left, Replayed};

    fn found(text: &[u8]) -> (Vec<(String, Option<i64>)>, usize, String) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join(checkpoint::CLEANER_OFFSET_FILE);
        std::fs::write(&path, text).expect("written");
        let log = |name: &str| {
            (
                name.to_owned(),
                LogState::empty(name.to_owned(), [1; 16], 4096, 0),
            )
        };
        let mut logs = HashMap::from([log("a-0"), log("a-b-1")]);
        let mut report = Report {
            left: Left::Clean,
            replayed: Replayed::default(),
            restored_batches: 0,
            restored_bytes: 0,
            orphaned_entries: 0,
            scanned_segments: 0,
            notices: Vec::new(),
        };
        read(dir.path(), &mut logs, &mut report).expect("read");
        let mut told: Vec<_> = logs
            .into_iter()
            .map(|(name, log)| (name, log.cleaned_to))
            .collect();
        told.sort();
        let text = std::fs::read_to_string(&path).expect("read back");
        (told, report.notices.len(), text)
    }

    #[test]
    fn each_partition_hears_of_its_entry_and_those_of_nobody_go() {
        let (told, notices, text) = found(b"0\n2\na-b 1 77\ngone 0 5\n");
        assert_eq!(told, [("a-0".to_owned(), None), ("a-b-1".to_owned(), Some(77))]);
        assert_eq!((notices, text.as_str()), (0, "0\n1\na-b 1 77\n"));
    }

    #[test]
    fn where_it_cannot_be_read_everything_may_have_been_cleaned() {
        let (told, notices, text) = found(b"0\n1\na-b one 77\n");
        assert_eq!(told, [("a-0".to_owned(), Some(0)), ("a-b-1".to_owned(), Some(0))]);
        assert_eq!((notices, text.as_str()), (1, "0\n2\na 0 0\na-b 1 0\n"));
    }
}
