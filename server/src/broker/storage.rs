//! From a data directory to what the cores start with: recovery, metadata, and every partition's share.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringlog_engine::background::{self, FileJob};
use ringlog_engine::checkpoint;
use ringlog_engine::io::files;
use ringlog_engine::log::LogState;
use ringlog_engine::recover::boot::{self, JournalFile};
use ringlog_engine::recover::{self, Left};
use ringlog_engine::shard::{LogOptions, PartitionSpec};

use super::{Identity, StartError};
use crate::config::Config;
use crate::core::mail::PartitionKey;
use crate::core::partitions::{folder_name, log_options, retired_name};
use crate::metadata::batches;
use crate::metadata::image::MetadataImage;
use crate::metadata::source::{self, LOG_DIRECTORY, Start};
use crate::placement::Placement;
use crate::wire::Uuid;

/// The id of the metadata log's topic, the same in every cluster.
pub const METADATA_TOPIC_ID: Uuid = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

/// A partition to open: its key (none for the metadata log), its topic, and what recovery knows of it.
pub struct Opening {
    /// Which; nothing for the metadata log.
    pub key: Option<PartitionKey>,
    /// Its topic's name.
    pub topic: Arc<str>,
    /// What the engine is told.
    pub spec: PartitionSpec,
    /// What is in its folder, unless that is new.
    pub state: Option<LogState>,
}

/// What the cores start with.
pub struct Storage {
    /// The metadata as the log has it.
    pub start: Start,
    /// Which core owns which partition.
    pub placement: Placement,
    /// For each core, its partitions and its journal.
    pub cores: Vec<(Vec<Opening>, JournalFile)>,
    /// Number of partitions, the metadata log not counted.
    pub partitions: usize,
}

/// Recovers the directory and sorts its partitions by core.
///
/// # Errors
/// Something in the directory cannot be read, understood or written.
pub fn open(config: &Config, identity: &Identity, cores: usize) -> Result<Storage, StartError> {
    let data_dir = &config.data_dir;
    let recovered = recover::open(data_dir).map_err(StartError::because)?;
    let report = &recovered.report;
    report.notices.iter().for_each(|notice| crate::warn!("{notice}"));
    if report.left != Left::New {
        crate::info!(
            "recovered {}: left {:?}, {} journal frames ({} torn), {} batches restored, {} segments read",
            data_dir.display(),
            report.left,
            report.replayed.frames,
            report.replayed.torn_frames,
            report.restored_batches,
            report.scanned_segments
        );
    }
    // Reads what recovery has written, so only after it.
    let mut start = source::start(data_dir).map_err(StartError::because)?;
    source::read_log(data_dir, &mut start).map_err(StartError::because)?;
    let image = start.replay.image().clone();
    let mut logs = recovered.logs;
    let openings = openings(config, identity, &image, start.epoch, &mut logs);
    let mut leftovers = recovered.leftovers;
    leftovers.extend(set_strays_aside(data_dir, logs.values(), &start.deleted_topics)?);
    make_folders(data_dir, &openings)?;
    remove_leftovers(leftovers);
    let partitions = openings.len() - 1;
    let journals = journals(data_dir, cores, &openings)?;
    let mut shares: Vec<(Vec<Opening>, JournalFile)> =
        journals.into_iter().map(|j| (Vec::new(), j)).collect();
    let mut placement = Placement::new(cores);
    placement.place(openings.iter().filter_map(|opening| opening.key), &[]);
    for opening in openings {
        let owner = opening.key.map_or(0, |key| placement.owner(&key));
        shares[owner].0.push(opening);
    }
    Ok(Storage {
        start,
        placement,
        cores: shares,
        partitions,
    })
}

/// Every partition of the image, and the metadata log; takes what it finds out of `logs`.
fn openings(
    config: &Config,
    identity: &Identity,
    image: &MetadataImage,
    epoch: i32,
    logs: &mut HashMap<String, LogState>,
) -> Vec<Opening> {
    // Epoch 0 is no quorum's: the first leader's is 1.
    let mut openings = vec![metadata_log(epoch.max(1), logs.remove(LOG_DIRECTORY))];
    for topic in image.topics() {
        let options = log_options(&image.topic_settings(config, identity.node_id, &topic.name));
        for (index, partition) in topic.partitions.iter() {
            let name = folder_name(&topic.name, *index);
            // A folder of an older topic of the same name stays among the strays.
            let is_its = logs.get(&name).is_some_and(|state| state.topic_id == topic.id.0);
            let state = if is_its { logs.remove(&name) } else { None };
            let spec = PartitionSpec {
                topic_id: topic.id.0,
                name,
                leader_epoch: partition.leader_epoch,
                options,
            };
            let key = Some(PartitionKey {
                topic_id: topic.id,
                index: *index,
            });
            openings.push(Opening {
                key,
                topic: topic.name.clone(),
                spec,
                state,
            });
        }
    }
    openings
}

/// Renames what the metadata log does not know, as Kafka does: nothing is deleted, and a new topic of the same name
/// starts empty. What it says was deleted, when a kill came before the folder was out of sight, is to be removed: those folders are given back.
fn set_strays_aside<'a>(
    data_dir: &Path,
    logs: impl Iterator<Item = &'a LogState>,
    deleted_topics: &HashSet<Uuid>,
) -> Result<Vec<PathBuf>, StartError> {
    let mut deleted = Vec::new();
    for LogState { name, topic_id, .. } in logs {
        let unique = getrandom::u64().unwrap_or(0);
        let is_deleted = deleted_topics.contains(&Uuid(*topic_id));
        let aside = retired_name(name, unique, if is_deleted { "delete" } else { "stray" });
        let path = data_dir.join(&aside);
        files::rename(&data_dir.join(name), &path).map_err(StartError::because)?;
        match is_deleted {
            true => deleted.push(path),
            false => crate::warn!("{name}: not in the metadata log; set aside as {aside}"),
        }
    }
    Ok(deleted)
}

fn metadata_log(epoch: i32, state: Option<LogState>) -> Opening {
    let options = LogOptions {
        max_message_bytes: batches::MAX_BATCH_BYTES as u32,
        ..LogOptions::default()
    };
    let name = LOG_DIRECTORY.to_owned();
    let spec = PartitionSpec {
        topic_id: METADATA_TOPIC_ID.0,
        name,
        leader_epoch: epoch,
        options,
    };
    Opening {
        key: None,
        topic: Arc::from(source::LOG_TOPIC),
        spec,
        state,
    }
}

/// Makes the folders that a crash between record and folder left out.
fn make_folders(data_dir: &Path, openings: &[Opening]) -> Result<(), StartError> {
    for opening in openings.iter().filter(|opening| opening.state.is_none()) {
        if opening.key.is_some() {
            crate::warn!("{}: its folder is missing; it starts empty", opening.spec.name);
        }
        let job = FileJob::CreatePartition {
            folder: data_dir.join(&opening.spec.name),
            metadata: checkpoint::encode_partition_metadata(opening.spec.topic_id),
            epochs: "0\n0\n".to_owned(),
        };
        background::run(&job).map_err(StartError::because)?;
    }
    Ok(())
}

/// What was deleted before the last stop, and not gone yet. Nobody waits for it.
fn remove_leftovers(paths: Vec<PathBuf>) {
    if paths.is_empty() {
        return;
    }
    let work = move || paths.into_iter().for_each(remove_leftover);
    if let Err(error) = std::thread::Builder::new().name("leftovers".into()).spawn(work) {
        crate::warn!("files of deleted topics and segments stay until the next start: {error}");
    }
}

fn remove_leftover(path: PathBuf) {
    if let Err(error) = background::run(&FileJob::of_leftover(path)) {
        crate::warn!("{error}");
    }
}

fn journals(data_dir: &Path, cores: usize, openings: &[Opening]) -> Result<Vec<JournalFile>, StartError> {
    let logs: Vec<&LogState> = openings
        .iter()
        .filter_map(|opening| opening.state.as_ref())
        .collect();
    let mut ids = Vec::with_capacity(cores);
    for _ in 0..cores {
        ids.push(getrandom::u64().map_err(|error| StartError(format!("no random numbers: {error}")))?);
    }
    boot::prepare(data_dir, &ids, &logs).map_err(StartError::because)
}
