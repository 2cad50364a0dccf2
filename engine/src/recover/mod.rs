//! Opening a data directory. Blocking; runs once, before the cores start.
//!
//! | clean-shutdown file | our checkpoints or journals | what it is | what is done |
//! |---|---|---|---|
//! | yes | none, or empty | stopped cleanly, by us or by Apache Kafka | believed: lengths and offsets from the checkpoints, nothing is scanned |
//! | yes | journal with frames | ours was killed, then Apache Kafka ran here | as above; our journal is out of date and set aside |
//! | no | some | ours was killed, or lost power | checkpoint, then the journal's frames; nothing else is read |
//! | no | none | Apache Kafka was killed | segments from the recovery point on are read and cut at the first damaged batch |
//! | no | none, no partitions | new | nothing |
//!
//! In each case a missing index or snapshot is built again for its segment. A partition that is in no checkpoint and in no
//! journal, but has bytes, is read as Apache Kafka's would be; it was made since our start, and nothing that it has was acknowledged as synced, so what is
//! left of it ends where something is missing. It holds no bytes of removed segments: only partitions in a checkpoint get
//! such files ([`crate::spares`]), and of those the journal says where they end.
//!
//! An index of aborted transactions is there only where there are any. Of an active segment the checkpoint says how many; of the others its
//! length does, and one that is missing cannot be told from none, for Apache Kafka neither. One that cannot be is built again, from the log and
//! the snapshot before it.
//!
//! Nothing here depends on which core owned a partition, or will: all checkpoints and journals are merged. A partition that moved has entries
//! in the journals of several cores; those below the end that some checkpoint knows lie in its segments already.
//!
//! Afterwards every batch lies in a synced segment file, and the cores start with fresh journals ([`boot`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use crate::checkpoint;
use crate::error::Error;
use crate::io::files;
use crate::journal::replay::{self, Replayed, Start};
use crate::journal::states::{self, Checkpoint, CheckpointFault};
use crate::log::LogState;

pub mod boot;
mod cleaned;
mod folder;
mod rewrite;
mod swaps;

/// Bytes between two index entries until the topic's own setting is known.
pub(crate) const INTERVAL_BYTES: u32 = 4096;

const JOURNAL_PREFIX: &str = "ringlog-journal-";
const CHECKPOINT_PREFIX: &str = "ringlog-checkpoint-";

/// The path of a core's journal.
pub fn journal_path(data_dir: &Path, core: usize) -> PathBuf {
    data_dir.join(format!("{JOURNAL_PREFIX}{core}"))
}

/// The path of a core's checkpoint.
pub fn checkpoint_path(data_dir: &Path, core: usize) -> PathBuf {
    data_dir.join(format!("{CHECKPOINT_PREFIX}{core}"))
}

/// How a directory was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// There was nothing.
    New,
    /// Stopped cleanly.
    Clean,
    /// We were killed: the journal says what the segments lack.
    Killed,
    /// Somebody else was killed, who has no journal.
    Foreign,
}

/// What recovery found and did, for one line in the log.
#[derive(Clone, Debug)]
pub struct Report {
    /// How the directory was left.
    pub left: Left,
    /// Journal frames and entries gone through, torn frames cut.
    pub replayed: Replayed,
    /// Batches, and their bytes, that were in the journal only.
    pub restored_batches: u64,
    /// Their bytes.
    pub restored_bytes: u64,
    /// Journal entries passed over because their partition is not there: it was removed, or its folder is missing.
    pub orphaned_entries: u64,
    /// Segments read from front to back.
    pub scanned_segments: u64,
    /// What an operator should read, a line each.
    pub notices: Vec<String>,
    /// Files of removed segments: nothing needs them.
    pub removed_files: Vec<PathBuf>,
}

/// An opened directory.
pub struct Recovered {
    /// Every partition by its folder's name.
    pub logs: HashMap<String, LogState>,
    /// What was found and done.
    pub report: Report,
    /// Folders of deleted topics, and files of removed segments, that wait to be removed.
    pub leftovers: Vec<PathBuf>,
}

/// Opens the directory, which must exist and be locked by the caller.
pub fn open(data_dir: &Path) -> Result<Recovered, Error> {
    let entries = files::list(data_dir)?;
    let names: Vec<&str> = entries
        .iter()
        .filter(|e| e.is_dir)
        .map(|e| e.name.as_str())
        .collect();
    let numbered = |prefix: &str| {
        entries
            .iter()
            .filter_map(|e| e.name.strip_prefix(prefix)?.parse().ok())
            .collect()
    };
    let (journals, checkpoints): (Vec<usize>, Vec<usize>) =
        (numbered(JOURNAL_PREFIX), numbered(CHECKPOINT_PREFIX));
    let is_clean = entries.iter().any(|e| e.name == checkpoint::CLEAN_SHUTDOWN_FILE);
    let left = match (is_clean, journals.is_empty() && checkpoints.is_empty()) {
        (true, _) => Left::Clean,
        (false, false) => Left::Killed,
        (false, true) if names.iter().any(|n| is_partition(n)) => Left::Foreign,
        (false, true) => Left::New,
    };
    let mut report = Report {
        left,
        replayed: Replayed::default(),
        restored_batches: 0,
        restored_bytes: 0,
        orphaned_entries: 0,
        scanned_segments: 0,
        notices: Vec::new(),
        removed_files: Vec::new(),
    };
    let mut logs = HashMap::new();
    let partitions = names.iter().filter(|n| is_partition(n));
    // Read also where their content does not count: a newer version's files are refused, whatever else holds.
    let chains = read_chains(data_dir, &journals, &checkpoints, &mut report)?;
    if left == Left::Killed {
        restore(data_dir, partitions, chains, &mut logs, &mut report)?;
    } else {
        if chains.iter().any(|c| c.start.is_some()) && left == Left::Clean {
            report
                .notices
                .push("a journal older than the last clean stop is set aside".into());
        }
        let points = folder::Points::read(data_dir)?;
        for name in partitions {
            let log = folder::open(data_dir, name, &points, left, &mut report)?;
            logs.insert((*name).to_owned(), log);
        }
    }
    cleaned::read(data_dir, &mut logs, &mut report)?;
    if matches!(left, Left::Killed | Left::Foreign) || report.scanned_segments > 0 {
        // What was restored or built again so far is in the page cache only.
        files::sync_filesystem(data_dir)?;
    }
    let folders = names.iter().filter(|n| n.ends_with("-delete"));
    let folders = folders.map(|n| data_dir.join(n));
    let leftovers = folders.chain(report.removed_files.drain(..)).collect();
    Ok(Recovered {
        logs,
        report,
        leftovers,
    })
}

/// Whether a folder's name is `<topic>-<index>`; those of deleted, moved or stray partitions are not.
pub fn is_partition(name: &str) -> bool {
    split_name(name).is_some()
}

/// Topic and index of a partition's folder.
pub fn split_name(name: &str) -> Option<(&str, i32)> {
    let (topic, index) = name.rsplit_once('-')?;
    let is_number = !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit());
    (!topic.is_empty() && is_number).then_some(())?;
    Some((topic, index.parse().ok()?))
}

/// One core's checkpoint and where its journal goes on from there.
struct Chain {
    journal: PathBuf,
    start: Option<Start>,
    checkpoint: Option<Checkpoint>,
}

fn read_chains(
    data_dir: &Path,
    journals: &[usize],
    checkpoints: &[usize],
    report: &mut Report,
) -> Result<Vec<Chain>, Error> {
    let cores: BTreeSet<usize> = journals.iter().chain(checkpoints).copied().collect();
    cores
        .into_iter()
        .map(|core| read_chain(data_dir, core, report))
        .collect()
}

fn read_chain(data_dir: &Path, core: usize, report: &mut Report) -> Result<Chain, Error> {
    let (journal, path) = (journal_path(data_dir, core), checkpoint_path(data_dir, core));
    let id = if journal.exists() {
        replay::journal_id(&journal)?
    } else {
        None
    };
    let checkpoint = match files::read_small(&path)? {
        None => None,
        Some(bytes) => match states::decode_file(&bytes, INTERVAL_BYTES) {
            Ok(checkpoint) => Some(checkpoint),
            Err(CheckpointFault::Newer(found)) => {
                return Err(Error::NewerFormat {
                    path,
                    found,
                    supported: states::VERSION,
                });
            }
            Err(CheckpointFault::Damaged(detail)) => {
                return Err(Error::Corrupt {
                    path,
                    detail: detail.into(),
                });
            }
        },
    };
    let start = match (&checkpoint, id) {
        (Some(c), Some(id)) if c.journal_id == id => Some(Start {
            journal_id: id,
            sequence: c.first_frame,
            position: c.position,
        }),
        (None, Some(id)) => Some(Start {
            journal_id: id,
            sequence: 1,
            position: crate::journal::format::FRAMES_START,
        }),
        (Some(_), Some(_)) => {
            report.notices.push(format!(
                "{} belongs to an earlier start and is set aside",
                journal.display()
            ));
            None
        }
        (_, None) => None,
    };
    Ok(Chain {
        journal,
        start,
        checkpoint,
    })
}

/// We were killed: what the checkpoints say, then what the journals add.
fn restore<'a>(
    data_dir: &Path,
    partitions: impl Iterator<Item = &'a &'a str>,
    mut chains: Vec<Chain>,
    logs: &mut HashMap<String, LogState>,
    report: &mut Report,
) -> Result<(), Error> {
    // A topic's id is part of the key: a core that never wrote a checkpoint of its own still has the partition of a topic that
    // was deleted, and created again at another core, since it was started.
    let mut known: HashMap<(String, [u8; 16]), LogState> = HashMap::new();
    for checkpoint in chains.iter_mut().filter_map(|c| c.checkpoint.as_mut()) {
        folder::count_aborted(data_dir, checkpoint)?;
    }
    for state in chains
        .iter_mut()
        .filter_map(|c| c.checkpoint.take())
        .flat_map(|c| c.partitions)
    {
        // Each core's first checkpoint has all partitions, and one that moved is in those of the cores it was at: the newest entry is the
        // one furthest on (see [`crate::handover`]).
        let key = (state.name.clone(), state.topic_id);
        // One that ends where another does may have begun a segment since, for all those before to go.
        let reach = |s: &LogState| (s.end_offset, s.log_start_offset, s.active().base_offset);
        if known.get(&key).is_none_or(|k| reach(k) <= reach(&state)) {
            known.insert(key, state);
        }
    }
    // In the order of names, so that the same directory is restored by the same steps.
    let mut open = BTreeMap::new();
    for name in partitions {
        open.insert(
            (*name).to_owned(),
            folder::resume(data_dir, name, &mut known, report)?,
        );
    }
    let mut orphans = BTreeSet::new();
    for chain in &chains {
        let Some(start) = chain.start else { continue };
        let replayed = replay::replay(&chain.journal, start, |entry| {
            match open.get_mut(entry.name).filter(|log| log.is_its(entry)) {
                Some(log) => log.apply(entry, report),
                None => {
                    report.orphaned_entries += 1;
                    orphans.insert((entry.name.to_owned(), entry.topic_id));
                    Ok(())
                }
            }
        })?;
        report.replayed.frames += replayed.frames;
        report.replayed.entries += replayed.entries;
        report.replayed.torn_frames += replayed.torn_frames;
    }
    if let Some((first, _)) = orphans.first() {
        report.notices.push(format!(
            "{} journal entries of {} partitions that are not there are passed over, {first} among them: they were removed, or their folders are missing",
            report.orphaned_entries,
            orphans.len()
        ));
    }
    for (name, log) in open {
        let state = log.finish(report)?;
        logs.insert(name, state);
    }
    Ok(())
}
