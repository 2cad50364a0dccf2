//! One life of the cores' storage on simulated machines: opened as the broker opens it, driven as its cores drive it. Each core has a
//! machine of its own; the directory, the disk and the thread for slow jobs are one for all.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use ringlog_engine::background::{self, Background, Backlog, FileJob, Inbox};
use ringlog_engine::cleaner::{CleanBacklog, Cleaners, Crew};
use ringlog_engine::handover::Released;
use ringlog_engine::io::files::{self, changes};
use ringlog_engine::io::{Durability, Io};
use ringlog_engine::log::LogState;
use ringlog_engine::recover::boot::JournalFile;
use ringlog_engine::recover::{self, boot};
use ringlog_engine::shard::*;
use ringlog_engine::spares::{Limits, Spares};
use ringlog_engine::{batch, checkpoint};

use crate::disk::SharedDisk;
use crate::faults::{SharedFaults, Verb, path_of};
use crate::history::{Found, History, Topic};
use crate::machine::Machine;
use crate::random::Random;

/// Turns after which nobody should wait any more.
const PATIENCE: usize = 100_000;

/// Settings of a life.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What of the journal's file is used at first: small, so that it is soon gone round.
    pub journal_bytes: u64,
    pub journal_max_bytes: u64,
    pub checkpoint_idle_ms: u64,
    pub memory_bytes: usize,
    /// Files of removed segments that are kept.
    pub spare_bytes: u64,
    /// Such files that a predecessor left.
    pub spares_at_first: u64,
    /// Cores, at most.
    pub most_cores: u64,
    /// Topics go from core to core all the time.
    pub restless: bool,
    /// Topics have limits, and cores look for what is past them.
    pub expiring: bool,
    /// Topics are compacted, and cores look for what is to be cleaned.
    pub compacting: bool,
    /// A planted bug: who gives a partition away forgets it before the other core has it in a checkpoint.
    pub forgets_early: bool,
}

/// What a ticket stands for: the topic, and its log's new end or start.
#[derive(Clone, Copy)]
pub enum Promise {
    End(usize, i64),
    Start(usize, i64),
}

/// Blocking changes of this thread are seen by the disk as long as this lives.
struct Watch;

impl Watch {
    fn start(disk: SharedDisk, faults: SharedFaults) -> Watch {
        changes::watch(Some(Box::new(move |change| {
            let fault = faults.borrow_mut().ask(Verb::of(change), path_of(change));
            match fault {
                Some(error) => {
                    disk.borrow_mut().failed(change);
                    Err(error)
                }
                None => {
                    disk.borrow_mut().change(change);
                    Ok(())
                }
            }
        })));
        Watch
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        changes::watch(None);
    }
}

/// One core.
pub struct Side {
    pub machine: Machine,
    pub shard: Shard,
    promises: VecDeque<(Ticket, Promise)>,
}

/// A topic on its way from one core to another.
#[derive(Debug)]
pub struct Travel {
    topic: usize,
    from: usize,
    to: usize,
    /// The core where it is, or was last, and its slot there.
    at: (usize, Slot),
}

/// See the module's text.
pub struct Life {
    pub sides: Vec<Side>,
    pub history: History,
    pub random: Random,
    /// The core and the slot of each topic that is open.
    pub slots: Vec<Option<(usize, Slot)>>,
    /// Topics that are in no slot because they are being handed over.
    pub travels: Vec<Travel>,
    /// Topics that arrived at another core.
    pub moves: u64,
    /// Times that retention moved a log's start.
    pub expired: u64,
    /// Why nothing is acknowledged any more, by one core at least.
    pub failed: Option<String>,
    pub dir: PathBuf,
    pub background: Background,
    pub inbox: Inbox,
    pub restless: bool,
    pub expiring: bool,
    pub compacting: bool,
    forgets_early: bool,
    backlog: Backlog,
    pub cleaning: CleanBacklog,
    reads: HashMap<u64, Result<ReadData, ReadError>>,
    next_read: u64,
    _watch: Option<Watch>,
}

impl Life {
    /// Opens the directory, which should have the topics that `history` has at this step. The disk, if there is one, sees all of it.
    pub fn open(
        dir: &Path,
        setup: &Setup,
        history: &Rc<History>,
        at: usize,
        machine: (Option<SharedDisk>, SharedFaults, Random),
    ) -> Result<(Life, Vec<Option<Found>>), String> {
        let (disk, faults, mut random) = machine;
        let watch = disk.clone().map(|disk| Watch::start(disk, faults.clone()));
        let topics = history.topics_at(at);
        let (states, prepared) = prepare(dir, setup, &topics, &mut random).map_err(|e| e.to_string())?;
        let limits = Limits {
            most_bytes: setup.spare_bytes,
            least_bytes: 4096,
            idle: Duration::MAX,
        };
        let spares = Spares::open(dir, limits).map_err(|e| e.to_string())?;
        let (background, backlog) = Background::by_hand(spares);
        let (cleaners, cleaning) = Cleaners::by_hand(crate::compaction::cleaner());
        let crew = Crew::new(cleaners, 2);
        let mut sides = Vec::new();
        for (core, prepared) in prepared.into_iter().enumerate() {
            let mut machine = Machine::new(setup.memory_bytes, disk.clone(), faults.clone(), random.split());
            let journal = boot::open_journal(&mut machine, dir, core, prepared).map_err(|e| e.to_string())?;
            let config = ShardConfig {
                data_dir: dir.to_path_buf(),
                core,
                journal_max_bytes: setup.journal_max_bytes,
                checkpoint_idle_ms: setup.checkpoint_idle_ms,
            };
            let mut shard = Shard::new(config, journal, background.clone());
            shard.set_crew(crew.clone());
            sides.push(Side {
                shard,
                machine,
                promises: VecDeque::new(),
            });
        }
        let mut life = Life {
            sides,
            history: History::default(),
            random,
            slots: Vec::new(),
            travels: Vec::new(),
            moves: 0,
            expired: 0,
            failed: None,
            dir: dir.to_path_buf(),
            background,
            inbox: Inbox::default(),
            restless: setup.restless,
            expiring: setup.expiring,
            compacting: setup.compacting,
            forgets_early: setup.forgets_early,
            backlog,
            cleaning,
            reads: HashMap::new(),
            next_read: 0,
            _watch: watch,
        };
        // All of them before the first turn, as in the broker: a checkpoint has what is open.
        let mut opened = Vec::new();
        for (topic, state) in topics.iter().zip(states) {
            let is_there = state.is_some();
            let slot = life.add(topic, state);
            life.slots.push(Some(slot));
            opened.push((slot, is_there));
        }
        let mut found = Vec::new();
        for (slot, is_there) in opened {
            let read = is_there.then(|| life.read_all(slot)).transpose()?;
            found.push(read);
        }
        history.judge(&found, at)?;
        life.history = history.resumed(at, &found, life.position());
        if !life.compacting {
            life.check_all_committed()?;
        }
        Ok((life, found))
    }

    /// Opens a topic at some core.
    pub fn add(&mut self, topic: &Topic, state: Option<LogState>) -> (usize, Slot) {
        let core = self.random.below(self.sides.len() as u64) as usize;
        let spec = PartitionSpec {
            topic_id: topic.id,
            name: topic.name.clone(),
            leader_epoch: 0,
            options: topic.options,
        };
        let Side { machine, shard, .. } = &mut self.sides[core];
        (core, shard.add_partition(machine, spec, state))
    }

    /// Steps of the disk so far.
    pub fn position(&self) -> usize {
        self.sides[0]
            .machine
            .disk
            .as_ref()
            .map_or(0, |d| d.borrow().position())
    }

    /// One turn of some core's loop. The other threads do some of their work, or do not get to it.
    pub fn turn(&mut self) {
        let at = self.position();
        let core = self.random.below(self.sides.len() as u64) as usize;
        let Side { machine, shard, .. } = &mut self.sides[core];
        let mut out = Vec::new();
        shard.tick(machine, &mut out);
        if self.random.percent(40) {
            self.backlog.run_jobs(1 + self.random.below(12) as usize);
        }
        if self.random.percent(20) {
            self.backlog.run_removal();
        }
        if self.compacting && self.random.percent(20) {
            self.cleaning.run_one();
        }
        let soon = machine.now() + Duration::from_millis(2);
        let deadline = shard.next_deadline().map_or(soon, |at| at.min(soon));
        let mut events = Vec::new();
        machine.turn(Some(deadline), &mut || shard.has_mail(), &mut events);
        for event in events {
            shard.on_event(machine, event, &mut out);
        }
        for event in out {
            self.on_event(core, event);
        }
        self.note_starts(core, at);
        while let Some(done) = self.inbox.pop() {
            self.made(done.token as usize, done.result.is_ok());
        }
    }

    fn on_event(&mut self, core: usize, event: ShardEvent) {
        match event {
            ShardEvent::Committed(ticket) => self.committed(core, ticket),
            ShardEvent::Released { slot, released } => self.released(core, slot, *released),
            ShardEvent::Kept { slot, .. } => {
                if let Some(travel) = self.arrived(core, slot) {
                    self.slots[travel.topic] = Some((core, slot));
                }
            }
            ShardEvent::Adopted { slot, is_durable } => {
                if let Some(travel) = self.arrived(core, slot) {
                    let topic = &self.history.topics[travel.topic];
                    if is_durable {
                        self.sides[travel.from]
                            .shard
                            .forget_released(topic.id, &topic.name);
                    }
                    self.slots[travel.topic] = Some((core, slot));
                    self.moves += 1;
                }
            }
            ShardEvent::GivenBack { slot, released, .. } => {
                if let Some(travel) = self.arrived(core, slot) {
                    let Side { machine, shard, .. } = &mut self.sides[travel.from];
                    let slot = shard.reinstate(machine, *released);
                    self.slots[travel.topic] = Some((travel.from, slot));
                }
            }
            ShardEvent::ReadDone { token, result } => drop(self.reads.insert(token, result)),
            ShardEvent::Failed(why) => self.failed = Some(why),
            _ => {}
        }
    }

    /// Sends a topic to another core.
    pub fn depart(&mut self, topic: usize, to: usize) {
        let Some((from, slot)) = self.slots[topic].filter(|at| at.0 != to) else {
            return;
        };
        let Side { machine, shard, .. } = &mut self.sides[from];
        if shard.release(machine, slot).is_ok() {
            self.slots[topic] = None;
            let at = (from, slot);
            self.travels.push(Travel { topic, from, to, at });
        }
    }

    fn released(&mut self, core: usize, slot: Slot, released: Released) {
        if self.forgets_early {
            let (topic_id, name) = (released.topic_id(), released.name().to_owned());
            self.sides[core].shard.forget_released(topic_id, &name);
        }
        let left = |t: &&mut Travel| t.at == (core, slot);
        let travel = self.travels.iter_mut().find(left).expect("a departure");
        let Side { machine, shard, .. } = &mut self.sides[travel.to];
        travel.at = (travel.to, shard.take_over(machine, released));
        // What it says at once, because it has failed, say, is heard with its next tick.
    }

    /// The topic's journey that ends at this core.
    fn arrived(&mut self, core: usize, slot: Slot) -> Option<Travel> {
        let at = self.travels.iter().position(|t| t.at == (core, slot))?;
        Some(self.travels.remove(at))
    }

    fn committed(&mut self, core: usize, ticket: Ticket) {
        let at = self.position();
        while let Some((_, promise)) = self.sides[core].promises.pop_front_if(|p| p.0 <= ticket) {
            match promise {
                Promise::End(topic, end) => self.history.topics[topic].acknowledged.push((at, end)),
                Promise::Start(topic, start) => self.history.topics[topic].starts.push((at, start)),
            }
        }
    }

    /// Notes what a core's ticket will mean once it is committed.
    pub fn promise(&mut self, core: usize, ticket: Ticket, promise: Promise) {
        self.sides[core].promises.push_back((ticket, promise));
    }

    /// Notes log starts that retention has moved since this step.
    fn note_starts(&mut self, core: usize, at: usize) {
        // While a life is opened it has no history yet.
        for topic in 0..self.slots.len().min(self.history.topics.len()) {
            let Some((_, slot)) = self.slots[topic].filter(|place| place.0 == core) else {
                continue;
            };
            let start = self.offsets((core, slot)).map_or(0, |offsets| offsets.log_start);
            let known = self.history.topics[topic]
                .starts_asked
                .iter()
                .map(|asked| asked.1);
            if start <= known.max().unwrap_or(0) {
                continue;
            }
            self.expired += 1;
            let Side { machine, shard, .. } = &mut self.sides[core];
            // Asked for again it is as durable as that move.
            if let Ok((_, ticket)) = shard.delete_records(machine, slot, start) {
                self.started(topic, core, at, start, ticket);
            }
        }
    }

    /// A topic's log start was moved, at this step or later.
    pub fn started(&mut self, topic: usize, core: usize, at: usize, start: i64, ticket: Ticket) {
        let there = &mut self.history.topics[topic];
        there.starts_asked.push((at, start));
        if there.options.durability == Durability::Synced {
            self.promise(core, ticket, Promise::Start(topic, start));
        }
    }

    /// Whether everything promised was committed.
    pub fn is_quiet(&self) -> bool {
        self.sides.iter().all(|side| side.promises.is_empty())
    }

    fn made(&mut self, topic: usize, is_made: bool) {
        let at = self.position();
        let topics = &mut self.history.topics;
        if is_made && topics[topic].removed_at.is_none() {
            topics[topic].made_at = Some(at);
            let topic_there = self.history.topics[topic].clone();
            self.slots[topic] = Some(self.add(&topic_there, None));
        }
    }

    /// Turns until something is so.
    pub fn until<T>(&mut self, mut so: impl FnMut(&mut Life) -> Option<T>) -> Result<T, String> {
        for _ in 0..PATIENCE {
            if let Some(found) = so(self) {
                return Ok(found);
            }
            self.turn();
        }
        Err(format!("waited for ever; on the way: {:?}", self.travels))
    }

    /// Reads as a client does.
    pub fn read(&mut self, slot: (usize, Slot), offset: i64, max_bytes: usize) -> Result<Vec<u8>, ReadError> {
        let data = self.read_with(slot, offset, max_bytes, Isolation::Uncommitted)?;
        Ok(data.slices.iter().flat_map(|s| s.to_vec()).collect())
    }

    pub fn read_with(
        &mut self,
        (core, slot): (usize, Slot),
        offset: i64,
        max_bytes: usize,
        isolation: Isolation,
    ) -> Result<ReadData, ReadError> {
        self.next_read += 1;
        let request = ReadRequest {
            offset,
            max_bytes,
            at_least_one: true,
            isolation,
            token: self.next_read,
        };
        let Side { machine, shard, .. } = &mut self.sides[core];
        match shard.read(machine, slot, request) {
            ReadOutcome::Now(data) => Ok(data),
            ReadOutcome::Error(error) => Err(error),
            ReadOutcome::Later => self
                .until(|life| life.reads.remove(&request.token))
                .map_err(ReadError::Io)?,
        }
    }

    /// Everything that is served, in order and without a gap.
    pub fn read_all(&mut self, slot: (usize, Slot)) -> Result<Found, String> {
        let offsets = self.offsets(slot).ok_or("not open")?;
        let (start, end) = (offsets.log_start, offsets.high_watermark);
        let mut batches = Vec::new();
        let mut offset = start;
        while offset < end {
            let max_bytes = 1 << self.random.below(18);
            let bytes = match self.read(slot, offset, max_bytes) {
                Ok(bytes) => bytes,
                Err(ReadError::Busy) => {
                    self.turn();
                    continue;
                }
                Err(error) => return Err(format!("reading at {offset} of [{start}, {end}): {error:?}")),
            };
            let before = offset;
            for (header, bytes) in whole_batches(&bytes)? {
                if offset >= end {
                    // Appended meanwhile.
                    break;
                }
                if header.base_offset > offset && !self.compacting {
                    return Err(format!("a gap before {}, {offset} wanted", header.base_offset));
                }
                if header.last_offset() >= offset {
                    offset = header.last_offset() + 1;
                    batches.push((header.base_offset, bytes));
                }
            }
            if offset == before {
                return Err(format!("nothing at {offset} of [{start}, {end})"));
            }
        }
        Ok(Found { start, end, batches })
    }

    /// The topic's offsets, if it is open.
    pub fn offsets(&self, (core, slot): (usize, Slot)) -> Option<Offsets> {
        self.sides[core].shard.offsets(slot)
    }

    /// Stops as the broker does. False when that cannot be.
    pub fn stop(&mut self) -> Result<bool, String> {
        let at_once = self.random.percent(50);
        let all_there = self.until(|life| (at_once || life.travels.is_empty()).then_some(()));
        if let (Err(why), 0) = (all_there, self.sides[0].machine.faults.borrow().injected) {
            return Err(why);
        }
        for Side { machine, shard, .. } in &mut self.sides {
            shard.begin_stop(machine);
        }
        let is_stopped = self.until(|life| {
            let stopped = life.sides.iter().all(|side| side.shard.is_stopped()) && life.travels.is_empty();
            (life.failed.is_some() || stopped).then_some(stopped)
        });
        match is_stopped {
            Ok(true) => {}
            // A broker ends all the same, and the journal says the rest.
            Err(_) if self.sides[0].machine.faults.borrow().injected > 0 => return Ok(false),
            is_stopped => return is_stopped,
        }
        while self.backlog.run_jobs(1) {}
        while let Some(done) = self.inbox.pop() {
            self.made(done.token as usize, done.result.is_ok());
        }
        let stopped: Vec<_> = self.sides.iter().flat_map(|s| s.shard.stopped()).collect();
        if boot::finish_stop(&self.dir, &stopped, 1).is_err() {
            return Ok(false);
        }
        let at = self.position();
        for topic in self.history.topics.iter_mut().filter(|t| t.made_at.is_some()) {
            let end = topic.end();
            topic.acknowledged.push((at, end));
        }
        Ok(true)
    }
}

/// The whole batches at the start of what was read; each must be intact.
pub fn whole_batches(bytes: &[u8]) -> Result<Vec<(batch::BatchHeader, Vec<u8>)>, String> {
    let mut rest = bytes;
    let mut batches = Vec::new();
    while let Some(Ok(size)) = batch::peek_size(rest)
        && size <= rest.len()
    {
        let header = batch::check_stored(&rest[..size]).map_err(|e| format!("served though damaged: {e}"))?;
        batches.push((header, rest[..size].to_vec()));
        rest = &rest[size..];
    }
    Ok(batches)
}

/// What the broker does before its cores start: recovery, folders of other topics put aside, those that are missing made, journals.
fn prepare(
    dir: &Path,
    setup: &Setup,
    topics: &[Topic],
    random: &mut Random,
) -> Result<(Vec<Option<LogState>>, Vec<JournalFile>), ringlog_engine::Error> {
    let mut recovered = recover::open(dir)?;
    let states: Vec<Option<LogState>> = topics
        .iter()
        .map(|topic| match recovered.logs.get(&topic.name) {
            Some(state) if state.topic_id == topic.id => recovered.logs.remove(&topic.name),
            _ => None,
        })
        .collect();
    let mut strays: Vec<&String> = recovered.logs.keys().collect();
    strays.sort();
    for name in strays {
        let aside = format!("{name}.{:016x}-stray", random.next());
        files::rename(&dir.join(name), &dir.join(aside))?;
    }
    for (topic, _) in topics.iter().zip(&states).filter(|(_, state)| state.is_none()) {
        background::run(&create_job(dir, topic))?;
    }
    for path in recovered.leftovers {
        background::run(&FileJob::of_leftover(path))?;
    }
    let cores = 1 + random.below(setup.most_cores);
    let ids: Vec<u64> = (0..cores).map(|_| random.next()).collect();
    let there: Vec<&LogState> = states.iter().flatten().collect();
    let capacity = setup.journal_bytes;
    let journals = boot::prepare(dir, &ids, &there)?.into_iter();
    let journals = journals.map(|made| JournalFile { capacity, ..made });
    Ok((states, journals.collect()))
}

/// The job that makes a topic's folder.
pub fn create_job(dir: &Path, topic: &Topic) -> FileJob {
    FileJob::CreatePartition {
        folder: dir.join(&topic.name),
        metadata: checkpoint::encode_partition_metadata(topic.id),
        epochs: "0\n0\n".into(),
    }
}

/// A disk that can be seen by a machine and by blocking code.
pub fn shared<T>(value: T) -> Rc<RefCell<T>> {
    Rc::new(RefCell::new(value))
}
