//! The broker as a whole: what happens between the command and the first request, and from the signal to the exit.
//!
//! ```text
//! start: probe -> folder, lock, identity -> addresses -> recovery -> metadata -> cores -> boot records -> listeners -> ready
//! stop:  cores drain -> shards stop -> checkpoints -> clean-shutdown file -> lock released
//! ```

mod identity;
mod sockets;
mod storage;
mod threads;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use ringlog_engine::io::{files, probe};
use ringlog_engine::recover::boot;

use crate::config::{Config, Listener};
use crate::core::mail::Mail;
use crate::handlers::context::{Context, NodeInfo};
use crate::handlers::log_dirs::Directory;
use crate::metadata::image::MetadataImage;
use crate::pressure::connections::Connections;
use crate::queue::Queues;
use crate::quotas::creation::Creation;
use crate::quotas::tracked::Tracked;
use crate::watermark::Watermark;
pub use identity::Identity;
use threads::Cores;

/// Why the broker does not start. Displayed as one sentence with the cause and what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError(String);

impl StartError {
    fn because(cause: impl fmt::Display) -> StartError {
        StartError(cause.to_string())
    }

    fn io(operation: &str, path: &Path, error: &std::io::Error) -> StartError {
        StartError(format!("cannot {operation} {}: {error}", path.display()))
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// What all cores share. But for rates, queues, watermark and connections it never changes while the broker runs.
#[derive(Debug)]
pub struct Shared {
    /// The configuration.
    pub config: Config,
    /// Who this broker is.
    pub node: NodeInfo,
    /// Where connections are accepted, in the order of the listeners.
    pub bound: Vec<SocketAddr>,
    /// The absolute path of the data directory.
    pub data_dir: String,
    /// How fast clients with quotas are.
    pub rates: Tracked,
    /// How much topics with limits hold.
    pub queues: Queues,
    /// Whether the disk has room.
    pub watermark: Watermark,
    /// How many connections are open.
    pub connections: Connections,
    /// How many connections are opened.
    pub creation: Creation,
}

impl Shared {
    /// Name, host and port of each listener, as clients are told.
    pub fn endpoints(&self) -> Vec<(&str, &str, u16)> {
        let all = self.config.listeners.iter().zip(&self.bound);
        all.map(|(listener, bound)| {
            (
                listener.name.as_str(),
                listener.advertised_host.as_str(),
                port(listener, *bound),
            )
        })
        .collect()
    }

    /// What requests are answered from.
    pub fn context<'a>(&'a self, image: &'a MetadataImage) -> Context<'a> {
        Context {
            image,
            config: &self.config,
            node: &self.node,
        }
    }

    /// The data directory with its space.
    pub fn directory(&self) -> Directory {
        let space = rustix::fs::statvfs(&self.config.data_dir).ok();
        let bytes = |blocks: u64, of: u64| i64::try_from(blocks.saturating_mul(of)).unwrap_or(i64::MAX);
        Directory {
            path: self.data_dir.clone(),
            total_bytes: space
                .as_ref()
                .map_or(-1, |space| bytes(space.f_blocks, space.f_frsize)),
            usable_bytes: space
                .as_ref()
                .map_or(-1, |space| bytes(space.f_bavail, space.f_frsize)),
        }
    }
}

/// The port clients are told.
fn port(listener: &Listener, bound: SocketAddr) -> u16 {
    if listener.advertised_port == 0 {
        bound.port()
    } else {
        listener.advertised_port
    }
}

/// What a core tells the thread that started it.
#[derive(Debug)]
pub enum Report {
    /// Core 0: the records of the start are in force.
    Booted,
    /// The core cannot go on.
    Failed(String),
    /// It accepts connections, or cannot.
    Listening(std::io::Result<()>),
}

/// A running broker.
#[derive(Debug)]
pub struct Broker {
    cores: Cores,
    shared: Arc<Shared>,
    partitions: usize,
    started_in_ms: u128,
    // Released last.
    _lock: identity::DirectoryLock,
}

impl Broker {
    /// Starts a broker. At return it accepts connections.
    ///
    /// # Errors
    /// One sentence: what stands in the way, and what to change.
    pub fn start(config: Config) -> Result<Broker, StartError> {
        let begun = Instant::now();
        probe::raise_limits();
        probe::check().map_err(StartError::because)?;
        let mut config = config;
        config.data_dir = folder(&config.data_dir)?;
        let lock = identity::lock(&config.data_dir)?;
        let reserved = sockets::reserve(&config.listeners)?;
        let identity = identity::identify(&config.data_dir, config.node_id)?;
        let storage = storage::open(&config, &identity, config.cores)?;
        let bound: Vec<SocketAddr> = reserved.iter().map(|one| one.address).collect();
        let shared = Arc::new(Shared {
            node: node(identity, &config, &bound),
            bound,
            data_dir: config.data_dir.display().to_string(),
            rates: Tracked::new(config.quota_windows, begun),
            queues: Queues::default(),
            watermark: Watermark::default(),
            connections: Connections::new(&config.limits),
            creation: Creation::new(config.max_connection_creation_rate, config.quota_windows),
            config,
        });
        let partitions = storage.partitions;
        let (mut cores, reports) = threads::spawn(&shared, storage)?;
        await_boot(&reports)?;
        listen(&mut cores, &shared, &reports)?;
        drop(reserved);
        let started_in_ms = begun.elapsed().as_millis();
        Ok(Broker {
            cores,
            shared,
            partitions,
            started_in_ms,
            _lock: lock,
        })
    }

    /// Where the first listener accepts connections.
    pub fn addr(&self) -> SocketAddr {
        self.shared.bound[0]
    }

    /// The line that says that clients can come.
    pub fn ready_line(&self) -> String {
        format!(
            "ready listener={} cores={} partitions={} ms={}",
            self.addr(),
            self.shared.config.cores,
            self.partitions,
            self.started_in_ms
        )
    }

    /// Answers what is in progress, brings everything to disk and ends.
    ///
    /// # Errors
    /// Something could not be written; the next start recovers.
    pub fn stop(mut self) -> Result<(), StartError> {
        self.cores.tell_all(|| Mail::Stop);
        let ended = self.cores.join()?;
        let broker_epoch = ended.first().map_or(-1, |core| core.broker_epoch);
        let mut stopped = Vec::new();
        for core in ended {
            match core.stopped {
                Some(partitions) => stopped.extend(partitions),
                None => {
                    return Err(StartError(
                        "not everything could be written: the next start recovers".into(),
                    ));
                }
            }
        }
        boot::finish_stop(&self.shared.config.data_dir, &stopped, broker_epoch).map_err(StartError::because)
    }
}

/// Makes the data directory if it is new. Its absolute path.
fn folder(data_dir: &Path) -> Result<PathBuf, StartError> {
    // The file may also be on the way to it.
    let is_file = |path: &&Path| path.exists() && !path.is_dir();
    if let Some(file) = data_dir.ancestors().find(is_file) {
        return Err(StartError(format!(
            "cannot use {} as the data directory: {} is a file; name a directory with --data-dir or log.dirs",
            data_dir.display(),
            if file == data_dir {
                "it".to_owned()
            } else {
                file.display().to_string()
            },
        )));
    }
    std::fs::create_dir_all(data_dir).map_err(|error| StartError::io("create", data_dir, &error))?;
    files::create_dir(data_dir).map_err(StartError::because)?;
    std::fs::canonicalize(data_dir).map_err(|error| StartError::io("open", data_dir, &error))
}

/// Who this broker is, seen through its first listener.
fn node(identity: Identity, config: &Config, bound: &[SocketAddr]) -> NodeInfo {
    let Identity {
        node_id,
        cluster_id,
        directory_id,
    } = identity;
    let first = config.listeners.first().zip(bound.first());
    NodeInfo {
        id: node_id,
        host: first
            .map(|(listener, _)| listener.advertised_host.clone())
            .unwrap_or_default(),
        port: first.map_or(0, |(listener, bound)| port(listener, *bound)),
        rack: config.rack.clone(),
        cluster_id,
        directory_id,
    }
}

fn await_boot(reports: &Receiver<Report>) -> Result<(), StartError> {
    match reports.recv() {
        Ok(Report::Booted) => Ok(()),
        Ok(Report::Failed(reason)) => Err(StartError(reason)),
        Ok(Report::Listening(_)) | Err(_) => Err(StartError("a core ended while the broker started".into())),
    }
}

fn listen(cores: &mut Cores, shared: &Shared, reports: &Receiver<Report>) -> Result<(), StartError> {
    cores.tell_all(|| Mail::Listen(shared.bound.clone()));
    for _ in 0..shared.config.cores {
        match reports.recv() {
            Ok(Report::Listening(Ok(()))) => {}
            Ok(Report::Listening(Err(error))) => return Err(StartError(format!("cannot listen: {error}"))),
            Ok(Report::Failed(reason)) => return Err(StartError(reason)),
            Ok(Report::Booted) | Err(_) => {
                return Err(StartError("a core ended while the broker started".into()));
            }
        }
    }
    Ok(())
}
