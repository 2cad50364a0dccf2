//! The cores' threads: each makes its own ring and shard, and runs until the broker stops.
//!
//! A thread's first act is to make its ring, because only that thread can use it. What others need of it, the way to wake it, is handed
//! round before any core runs.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use ringlog_engine::background::Background;
use ringlog_engine::cleaner::{Cleaners, Crew};
use ringlog_engine::io::{Io, Ring, RingConfig, Waker, probe};
use ringlog_engine::recover::boot;
use ringlog_engine::shard::{Shard, ShardConfig};
use ringlog_engine::spares::{Limits, Spares};
use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

use super::storage::{Opening, Storage};
use super::{Report, Shared, StartError};
use crate::core::control::Control;
use crate::core::mail::Mail;
use crate::core::partitions::Partitions;
use crate::core::stop::Ended;
use crate::core::{Core, Seed};
use crate::mesh::{self, Inlet, Port};
use crate::metadata::controller::boot as registration;
use crate::metadata::image::MetadataImage;
use crate::metadata::source::Start;
use crate::placement::Placement;

/// An append that lies in the journal only is brought to its segment after this much idleness.
const CHECKPOINT_IDLE_MS: u64 = 1000;

/// All cores, from outside.
#[derive(Debug)]
pub struct Cores {
    threads: Vec<JoinHandle<Result<Ended, StartError>>>,
    inlets: Vec<Inlet<Mail>>,
    wakers: Arc<Vec<Waker>>,
}

impl Cores {
    /// Sends every core a message.
    pub fn tell_all(&mut self, message: impl Fn() -> Mail) {
        for (inlet, waker) in self.inlets.iter_mut().zip(self.wakers.iter()) {
            if inlet.send(message()).is_err() {
                crate::error!("a core does not take messages");
            }
            waker.wake();
        }
    }

    /// Waits until every core has ended.
    ///
    /// # Errors
    /// A core could not start, or panicked.
    pub fn join(&mut self) -> Result<Vec<Ended>, StartError> {
        let ended = self.threads.drain(..).map(|thread| match thread.join() {
            Ok(ended) => ended,
            Err(_) => Err(StartError("a core's thread has panicked".into())),
        });
        ended.collect()
    }
}

/// What a core's thread is made of before it has a ring.
struct Plan {
    id: usize,
    shared: Arc<Shared>,
    openings: Vec<Opening>,
    journal: boot::JournalFile,
    port: Port<Mail>,
    background: Background,
    crew: Option<Crew>,
    image: Arc<MetadataImage>,
    placement: Arc<Placement>,
    /// Core 0 only.
    start: Option<Start>,
    reports: Sender<Report>,
}

/// Starts the threads. They run once all of them have a ring.
///
/// # Errors
/// A thread or a ring cannot be made.
pub fn spawn(shared: &Arc<Shared>, storage: Storage) -> Result<(Cores, Receiver<Report>), StartError> {
    let data_dir = &shared.config.data_dir;
    let spares = Limits::of(data_dir)
        .and_then(|limits| Spares::open(data_dir, limits))
        .map_err(StartError::because)?;
    let background = Background::start_with(spares)
        .map_err(|error| StartError(format!("cannot start a thread: {error}")))?;
    let crew = crew(shared)?;
    let (reports, from_cores) = channel();
    let image = Arc::new(storage.start.replay.image().clone());
    let placement = Arc::new(storage.placement);
    let mut start = Some(storage.start);
    let ports = mesh::build(storage.cores.len(), 1);
    let (mut threads, mut inlets, mut starters) = (Vec::new(), Vec::new(), Vec::new());
    let (made, rings) = channel();
    for (id, ((openings, journal), (port, inlet))) in storage.cores.into_iter().zip(ports).enumerate() {
        let plan = Plan {
            id,
            shared: shared.clone(),
            openings,
            journal,
            port,
            background: background.clone(),
            crew: crew.clone(),
            image: image.clone(),
            placement: placement.clone(),
            start: start.take(),
            reports: reports.clone(),
        };
        let (starter, wakers) = channel();
        let made = made.clone();
        let thread = std::thread::Builder::new()
            .name(format!("core-{id}"))
            .spawn(move || plan.run(&made, &wakers));
        threads.push(thread.map_err(|error| StartError(format!("cannot start a thread: {error}")))?);
        inlets.extend(inlet);
        starters.push(starter);
    }
    drop(made);
    let wakers = Arc::new(gather(&rings, threads.len())?);
    for starter in starters {
        // A thread that has ended meanwhile says why when it is joined.
        let _ = starter.send(wakers.clone());
    }
    Ok((
        Cores {
            threads,
            inlets,
            wakers,
        },
        from_cores,
    ))
}

/// The cleaner's threads, unless nothing is to be cleaned.
fn crew(shared: &Shared) -> Result<Option<Crew>, StartError> {
    let cleaner = &shared.config.cleaner;
    if !cleaner.is_enabled {
        return Ok(None);
    }
    let cleaners = Cleaners::start(cleaner.settings)
        .map_err(|error| StartError(format!("cannot start a thread: {error}")))?;
    Ok(Some(Crew::new(cleaners, cleaner.settings.threads)))
}

/// Waits for every core's waker, in the order of the cores.
fn gather(
    rings: &Receiver<Result<(usize, Waker), StartError>>,
    cores: usize,
) -> Result<Vec<Waker>, StartError> {
    let mut wakers = Vec::with_capacity(cores);
    for _ in 0..cores {
        wakers.push(
            rings
                .recv()
                .map_err(|_| StartError("a core ended while the broker started".into()))??,
        );
    }
    wakers.sort_by_key(|(id, _)| *id);
    Ok(wakers.into_iter().map(|(_, waker)| waker).collect())
}

impl Plan {
    fn run(
        self,
        made: &Sender<Result<(usize, Waker), StartError>>,
        wakers: &Receiver<Arc<Vec<Waker>>>,
    ) -> Result<Ended, StartError> {
        self.pin();
        let ring = match self.ring() {
            Ok(ring) => ring,
            Err(error) => {
                let _ = made.send(Err(error.clone()));
                return Err(error);
            }
        };
        let _ = made.send(Ok((self.id, ring.waker())));
        let Ok(wakers) = wakers.recv() else {
            return Err(StartError("the broker did not start".into()));
        };
        let reports = self.reports.clone();
        let core = self.core(ring, wakers).inspect_err(|error| {
            let _ = reports.send(Report::Failed(error.to_string()));
        })?;
        Ok(core.run())
    }

    /// Binds the thread to one processor when there is one for each core.
    fn pin(&self) {
        let Ok(allowed) = sched_getaffinity(None) else {
            return;
        };
        let processors: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
        if processors.len() != self.shared.config.cores {
            return;
        }
        let mut own = CpuSet::new();
        own.set(processors[self.id]);
        let this_thread: Option<Pid> = None;
        if let Err(error) = sched_setaffinity(this_thread, &own) {
            crate::debug!("not bound to a processor: {error}");
        }
    }

    fn ring(&self) -> Result<Ring, StartError> {
        let config = &self.shared.config;
        let memory_bytes = config.memory_bytes as usize / config.cores;
        let ring = Ring::new(&RingConfig {
            memory_bytes,
            zero_copy_send: config.zero_copy_send,
            ..RingConfig::default()
        });
        ring.map_err(|error| StartError::because(probe::explain(error)))
    }

    fn core(self, mut ring: Ring, wakers: Arc<Vec<Waker>>) -> Result<Core, StartError> {
        let Plan {
            id,
            shared,
            openings,
            journal,
            port,
            background,
            crew,
            image,
            placement,
            start,
            reports,
        } = self;
        let config = ShardConfig {
            data_dir: shared.config.data_dir.clone(),
            core: id,
            journal_max_bytes: shared.config.journal_bytes,
            checkpoint_idle_ms: CHECKPOINT_IDLE_MS,
        };
        let journal =
            boot::open_journal(&mut ring, &config.data_dir, id, journal).map_err(StartError::because)?;
        if id == 0 && !ring.direct_io() {
            crate::warn!(
                "{}: this filesystem has no direct I/O; files go through the page cache",
                config.data_dir.display()
            );
        }
        let io: Box<dyn Io> = Box::new(ring);
        let mut shard = Shard::new(config, journal, background.clone());
        if let Some(crew) = crew {
            shard.set_crew(crew);
        }
        let (mut partitions, mut control) = (Partitions::default(), None);
        let mut start = start;
        for Opening {
            key,
            topic,
            spec,
            state,
        } in openings
        {
            let options = spec.options;
            let slot = shard.add_partition(&*io, spec, state);
            match (key, start.take()) {
                (Some(key), again) => {
                    partitions.insert(key, topic, slot, &options);
                    start = again;
                }
                (None, Some(start)) => control = Some(controller(&shared, start, slot)?),
                (None, None) => {}
            }
        }
        let seed = Seed {
            id,
            io,
            shard,
            partitions,
            port,
            wakers,
            shared,
            image,
            placement,
            background,
            control,
            reports,
        };
        Ok(Core::new(seed))
    }
}

/// The controller, with the records that this start adds to its log.
fn controller(
    shared: &Shared,
    start: Start,
    slot: ringlog_engine::shard::Slot,
) -> Result<Control, StartError> {
    let me = registration::Registration {
        incarnation_id: super::identity::new_id()?,
        endpoints: shared.endpoints(),
        rack: shared.config.rack.clone(),
    };
    let Start {
        replay,
        next_offset,
        epoch,
        bootstrap,
        ..
    } = start;
    let open_transaction = replay.in_transaction();
    let view = shared.context(replay.image()).view();
    let records = registration::records(view, &me, bootstrap, open_transaction, next_offset);
    Ok(Control::new(replay, slot, epoch.max(1), records))
}
