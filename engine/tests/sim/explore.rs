//! A power cut after every step of a life, with every fate of what was not durable that the effort allows: each directory that may then be
//! left is opened by the real recovery, read as a client reads, and judged. Some are lived in instead, and cut again, recovery included.

use std::path::PathBuf;
use std::rc::Rc;

use ringlog_engine::journal::format::FRAMES_START;

use crate::cuts::{Cursor, Fate};
use crate::disk::{Disk, Planted, SharedDisk, Step};
use crate::faults::{Fault, Faults, SharedFaults};
use crate::history::{Found, History, Topic};
use crate::life::{Life, Setup, shared};
use crate::random::Random;
use crate::state::State;

/// How much of what could be tried is.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Things that happen in a life.
    pub steps: u64,
    /// Of a hundred steps of the disk, those after which the power is cut.
    pub cuts_percent: u64,
    /// Random fates at each cut.
    pub fates: u64,
    /// Of a thousand states, those that are lived in.
    pub lives_per_mille: u64,
    /// Lives after one another.
    pub depth: u32,
    /// Of a hundred lives, those whose disk has faults.
    pub faults_percent: u64,
    /// Topics go from core to core all the time.
    pub restless: bool,
    /// Topics have limits, and cores look for what is past them.
    pub expiring: bool,
    /// Topics are compacted, and cores look for what is to be cleaned.
    pub compacting: bool,
    pub planted: Option<Planted>,
}

/// What was tried.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub lives: u64,
    pub cuts: u64,
    pub states: u64,
    pub faults: u64,
    pub failed_recoveries: u64,
    pub clean_stops: u64,
    /// Folders made, segments sealed, checkpoints, and times a journal began at its front again, in steps that were cut between.
    pub folders: u64,
    pub rolls: u64,
    pub checkpoints: u64,
    pub wraps: u64,
    /// Topics that arrived at another core.
    pub moves: u64,
    /// Times that retention moved a log's start.
    pub expired: u64,
    /// Spare files that became segments.
    pub recycled: u64,
    /// Times that an index of aborted transactions was written.
    pub aborts: u64,
    /// Cleaned segments that took their places.
    pub swaps: u64,
}

impl Tally {
    pub fn plus(self, other: Tally) -> Tally {
        Tally {
            lives: self.lives + other.lives,
            cuts: self.cuts + other.cuts,
            states: self.states + other.states,
            faults: self.faults + other.faults,
            failed_recoveries: self.failed_recoveries + other.failed_recoveries,
            clean_stops: self.clean_stops + other.clean_stops,
            folders: self.folders + other.folders,
            rolls: self.rolls + other.rolls,
            checkpoints: self.checkpoints + other.checkpoints,
            wraps: self.wraps + other.wraps,
            moves: self.moves + other.moves,
            expired: self.expired + other.expired,
            recycled: self.recycled + other.recycled,
            aborts: self.aborts + other.aborts,
            swaps: self.swaps + other.swaps,
        }
    }
}

impl Tally {
    /// Counts what the steps of a life are.
    fn count(&mut self, disk: &Disk) {
        let mut has_frames = false;
        self.recycled += disk.recycled;
        for step in &disk.steps {
            match step {
                Step::Link { node, name, .. } => {
                    self.folders += u64::from(node.is_dir);
                    self.aborts += u64::from(name.ends_with(".txnindex"));
                }
                Step::Rename { from, to, .. } => {
                    self.swaps += u64::from(from.ends_with(".log.swap"));
                    self.rolls += u64::from(to.ends_with(".snapshot"));
                    self.checkpoints += u64::from(to == "ringlog-checkpoint-0");
                }
                Step::Write { at, bytes, .. } if bytes.starts_with(b"RLJF") => {
                    self.wraps += u64::from(has_frames && *at == FRAMES_START);
                    has_frames = true;
                }
                _ => {}
            }
        }
    }
}

/// See the module's text.
pub struct Explorer {
    pub setup: Setup,
    pub effort: Effort,
    pub tally: Tally,
    root: PathBuf,
    random: Random,
    folders: u64,
}

/// A state that was opened before, and what was found in it.
struct Known {
    count: usize,
    topics: Vec<[u8; 16]>,
    found: Vec<Option<Found>>,
}

impl Explorer {
    /// Works in folders below `root`.
    pub fn new(root: PathBuf, setup: Setup, effort: Effort, random: Random) -> Explorer {
        Explorer {
            setup,
            effort,
            tally: Tally::default(),
            root,
            random,
            folders: 0,
        }
    }

    /// Lives once in a new directory, then cuts the power everywhere.
    pub fn run(&mut self) -> Result<(), String> {
        let history = Rc::new(History::default());
        let (effort, spares) = (self.effort, self.setup.spares_at_first);
        let files = crate::story::spares(&mut self.random, spares);
        self.life(&State::with_files(&files), &history, 0, effort)
    }

    fn folder(&mut self, state: &State) -> PathBuf {
        self.folders += 1;
        let path = self.root.join(self.folders.to_string());
        std::fs::create_dir(&path).expect("a folder");
        state.write_to(&path);
        path
    }

    /// One life from a state on, and what a power cut leaves of it.
    fn life(
        &mut self,
        state: &State,
        history: &Rc<History>,
        at: usize,
        effort: Effort,
    ) -> Result<(), String> {
        self.tally.lives += 1;
        let dir = self.folder(state);
        let mut disk = Disk::new(&dir, state.clone());
        disk.planted = effort.planted;
        let disk = shared(disk);
        let lived = self.live(&dir, (history, at), &disk, effort);
        std::fs::remove_dir_all(&dir).expect("a folder to remove");
        let history = Rc::new(lived?);
        let disk = disk.borrow();
        self.cut_everywhere(&disk, &history, effort)
    }

    fn live(
        &mut self,
        dir: &std::path::Path,
        (history, at): (&Rc<History>, usize),
        disk: &SharedDisk,
        effort: Effort,
    ) -> Result<History, String> {
        let faults: SharedFaults = shared(Faults::default());
        let has_faults = self.random.percent(effort.faults_percent);
        let count = 1 + self.random.below(3);
        let mut planned: Vec<Fault> = (0..count).map(|_| Fault::any(&mut self.random)).collect();
        planned.retain(|_| has_faults);
        let in_recovery = self.random.percent(30);
        if in_recovery {
            faults.borrow_mut().set(planned.clone());
        }
        let machine = (Some(disk.clone()), faults.clone(), self.random.split());
        let opened = Life::open(dir, &self.setup, history, at, machine);
        let mut life = match opened {
            Ok((life, _)) => life,
            Err(_) if faults.borrow().injected > 0 => {
                // A disk that fails may refuse to be opened, as long as it loses nothing.
                self.tally.failed_recoveries += 1;
                self.tally.faults += faults.borrow().injected;
                return Ok(History {
                    topics: Vec::new(),
                    opened_at: usize::MAX,
                    before: Some((history.clone(), at)),
                });
            }
            Err(wrong) => return Err(wrong),
        };
        if !in_recovery {
            faults.borrow_mut().set(planned);
        }
        life.create();
        life.live(effort.steps / 2 + self.random.below(effort.steps))?;
        let stops = self.random.percent(30);
        if stops && life.stop()? {
            self.tally.clean_stops += 1;
        }
        self.tally.faults += faults.borrow().injected;
        self.tally.moves += life.moves;
        self.tally.expired += life.expired;
        Ok(life.history.clone())
    }

    fn cut_everywhere(&mut self, disk: &Disk, history: &Rc<History>, effort: Effort) -> Result<(), String> {
        self.tally.count(disk);
        let mut cursor = Cursor::new(disk);
        let (mut nothing, mut everything) = (None, None);
        loop {
            let is_wanted = cursor.is_swap() || cursor.position() == disk.steps.len();
            if is_wanted || self.random.percent(effort.cuts_percent) {
                self.tally.cuts += 1;
                let count = cursor.durable_count();
                self.reopen(&cursor, &Fate::Nothing, count, &mut nothing, history)?;
                let count = cursor.change_count();
                self.reopen(&cursor, &Fate::Everything, count, &mut everything, history)?;
                for _ in 0..effort.fates {
                    if !cursor.is_certain() {
                        let fate = Fate::Random(self.random.split());
                        self.open(&cursor, &fate, history)?;
                    }
                }
                if effort.depth > 1 && self.random.below(1000) < effort.lives_per_mille {
                    self.live_on(&cursor, history, effort)?;
                }
            }
            if !cursor.advance() {
                return Ok(());
            }
        }
    }

    /// Another life in what is left here.
    fn live_on(&mut self, cursor: &Cursor<'_>, history: &Rc<History>, effort: Effort) -> Result<(), String> {
        let effort = Effort {
            steps: effort.steps / 2 + 2,
            cuts_percent: effort.cuts_percent.min(15),
            fates: 1,
            depth: effort.depth - 1,
            ..effort
        };
        let fate = Fate::Random(self.random.split());
        let state = cursor.state(fate.clone());
        self.life(&state, history, cursor.position(), effort)
            .map_err(|wrong| told(cursor, &fate, &format!("then {wrong}")))
    }

    /// Opens the state unless it is the same as at the last cut; judges what is, or was, found.
    fn reopen(
        &mut self,
        cursor: &Cursor<'_>,
        fate: &Fate,
        count: usize,
        known: &mut Option<Known>,
        history: &Rc<History>,
    ) -> Result<(), String> {
        let topics = history.topics_at(cursor.position());
        let topics: Vec<[u8; 16]> = topics.iter().map(|t| t.id).collect();
        if let Some(known) = known
            && (known.count, &known.topics) == (count, &topics)
        {
            return history
                .judge(&known.found, cursor.position())
                .map_err(|wrong| told(cursor, fate, &wrong));
        }
        let found = self.open(cursor, fate, history)?;
        *known = Some(Known { count, topics, found });
        Ok(())
    }

    /// Opens what is left after a power cut here; judges it; uses it a little.
    fn open(
        &mut self,
        cursor: &Cursor<'_>,
        fate: &Fate,
        history: &Rc<History>,
    ) -> Result<Vec<Option<Found>>, String> {
        self.tally.states += 1;
        let dir = self.folder(&cursor.state(fate.clone()));
        let machine = (None, shared(Faults::default()), self.random.split());
        let opened = Life::open(&dir, &self.setup, history, cursor.position(), machine);
        let found = opened.and_then(|(mut life, found)| {
            if life.random.percent(20) {
                go_on(&mut life)?;
            }
            Ok(found)
        });
        let found = found.map_err(|wrong| told(cursor, fate, &wrong))?;
        std::fs::remove_dir_all(&dir).expect("a folder to remove");
        Ok(found)
    }
}

/// The next offset is the one behind the last that is there, and what is appended is read back.
fn go_on(life: &mut Life) -> Result<(), String> {
    (0..3).for_each(|_| life.append());
    life.transact_somewhere();
    life.clean_somewhere();
    life.until(|life| (life.failed.is_some() || life.is_quiet()).then_some(()))?;
    if let Some(why) = &life.failed {
        return Err(why.clone());
    }
    let topics: Vec<Topic> = life.history.topics.clone();
    for (topic, slot) in topics.iter().zip(life.slots.clone()) {
        let Some(slot) = slot else { continue };
        let offsets = life.offsets(slot).ok_or("not open")?;
        let found = life.read_all(slot)?;
        if offsets.log_end != topic.end().max(offsets.log_start) || found.end > offsets.log_end {
            return Err(format!(
                "{}: ends at {}, {} appended",
                topic.name,
                offsets.log_end,
                topic.end()
            ));
        }
    }
    match life.compacting {
        true => Ok(()),
        false => life.check_all_committed(),
    }
}

fn told(cursor: &Cursor<'_>, fate: &Fate, wrong: &str) -> String {
    let fate = match fate {
        Fate::Nothing => "without what was not synced",
        Fate::Everything => "with everything",
        Fate::Random(_) => "with some of what was not synced",
    };
    format!(
        "cut after {} ({}), {fate}: {wrong}",
        cursor.position(),
        cursor.last_step()
    )
}
