//! A disk that remembers: every change in the order it was made, and from when on which of them were durable.
//!
//! A write is durable once a sync of its file that began after it ended has ended, or when it was a synced write, then it alone. A name is
//! durable once its folder was synced, whatever happened to the file it names. What a failed sync was to make durable, and a failed
//! write, never is: nobody knows.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ringlog_engine::io::files::changes::Change;
use ringlog_engine::spares::PREFIX;

use crate::state::State;

/// A file or folder, whatever it is called.
pub type Ino = usize;
/// The data directory.
pub const ROOT: Ino = 0;
/// A place in the order of changes.
pub type StepId = usize;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    pub ino: Ino,
    pub is_dir: bool,
}

/// One change, or the moment from which earlier ones are durable.
#[derive(Clone, Debug)]
pub enum Step {
    Link {
        dir: Ino,
        name: String,
        node: Node,
    },
    Unlink {
        dir: Ino,
        name: String,
    },
    Rename {
        dir: Ino,
        from: String,
        to: String,
        node: Node,
    },
    Write {
        ino: Ino,
        at: u64,
        bytes: Rc<[u8]>,
    },
    SetLen {
        ino: Ino,
        bytes: u64,
    },
    /// The file is at least so long.
    Extend {
        ino: Ino,
        bytes: u64,
    },
    Durable(Vec<StepId>),
}

/// What is made durable together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Object {
    Content(Ino),
    Names(Ino),
}

impl Step {
    pub fn object(&self) -> Option<Object> {
        match self {
            Step::Link { dir, .. } | Step::Unlink { dir, .. } | Step::Rename { dir, .. } => {
                Some(Object::Names(*dir))
            }
            Step::Write { ino, .. } | Step::SetLen { ino, .. } | Step::Extend { ino, .. } => {
                Some(Object::Content(*ino))
            }
            Step::Durable(_) => None,
        }
    }
}

/// A bug in the machine: what says that it is durable, and is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// Synced writes are reported before they are synced: the acknowledgement before the sync.
    SyncedWrites,
    /// Syncs of files do nothing.
    FileSyncs,
    /// Syncs of folders do nothing.
    DirSyncs,
}

#[derive(Debug)]
struct Pending {
    step: StepId,
    object: Object,
    landed: bool,
    lost: bool,
}

/// See the module's text.
pub struct Disk {
    root: PathBuf,
    /// What was there, durably, before the first step.
    pub start: State,
    pub steps: Vec<Step>,
    pub planted: Option<Planted>,
    names: BTreeMap<(Ino, String), Node>,
    pub next_ino: Ino,
    /// Spare files that became segments.
    pub recycled: u64,
    pending: Vec<Pending>,
}

pub type SharedDisk = Rc<RefCell<Disk>>;

impl Disk {
    /// A disk that holds `start`, which was written to the folder `root`.
    pub fn new(root: &Path, start: State) -> Disk {
        Disk {
            root: root.to_path_buf(),
            names: start.names().collect(),
            next_ino: start.next_ino(),
            start,
            steps: Vec::new(),
            planted: None,
            recycled: 0,
            pending: Vec::new(),
        }
    }

    /// Number of steps so far.
    pub fn position(&self) -> usize {
        self.steps.len()
    }

    /// The folder and the name of a path, unless the folder is gone.
    fn split(&self, path: &Path) -> Option<(Ino, String)> {
        let dir = self.find(path.parent()?)?.ino;
        let name = path.file_name()?.to_str().expect("UTF-8");
        Some((dir, name.to_owned()))
    }

    fn find(&self, path: &Path) -> Option<Node> {
        let mut node = Node {
            ino: ROOT,
            is_dir: true,
        };
        for part in path.strip_prefix(&self.root).expect("below the root") {
            let name = part.to_str().expect("UTF-8").to_owned();
            node = *self.names.get(&(node.ino, name))?;
        }
        Some(node)
    }

    /// The file at a path.
    pub fn file(&self, path: &Path) -> Ino {
        self.find(path).expect("a file that exists").ino
    }

    fn push(&mut self, step: Step, landed: bool) -> StepId {
        let id = self.steps.len();
        let object = step.object().expect("a change");
        self.pending.push(Pending {
            step: id,
            object,
            landed,
            lost: false,
        });
        self.steps.push(step);
        id
    }

    /// Gives a new file or folder its name, unless the name is taken.
    pub fn create(&mut self, path: &Path, is_dir: bool) {
        let Some((dir, name)) = self.split(path) else {
            return;
        };
        if self.names.contains_key(&(dir, name.clone())) {
            return;
        }
        let ino = self.next_ino;
        self.next_ino += 1;
        let node = Node { ino, is_dir };
        self.names.insert((dir, name.clone()), node);
        self.push(Step::Link { dir, name, node }, true);
    }

    fn remove(&mut self, path: &Path) {
        if let Some((dir, name)) = self.split(path)
            && self.names.remove(&(dir, name.clone())).is_some()
        {
            self.push(Step::Unlink { dir, name }, true);
        }
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        let (Some((dir, from)), Some((to_dir, to))) = (self.split(from), self.split(to)) else {
            return;
        };
        let Some(node) = self.names.remove(&(dir, from.clone())) else {
            return;
        };
        self.names.insert((to_dir, to.clone()), node);
        if dir == to_dir {
            self.push(Step::Rename { dir, from, to, node }, true);
            return;
        }
        // Between folders: nobody promises that both names change together.
        self.recycled += u64::from(from.starts_with(PREFIX));
        let (old, new) = (from, to);
        self.push(
            Step::Link {
                dir: to_dir,
                name: new,
                node,
            },
            true,
        );
        self.push(Step::Unlink { dir, name: old }, true);
    }

    /// A write begins.
    pub fn write(&mut self, ino: Ino, at: u64, bytes: Rc<[u8]>) -> StepId {
        self.push(Step::Write { ino, at, bytes }, false)
    }

    /// Space is allocated.
    pub fn extend(&mut self, ino: Ino, bytes: u64) {
        self.push(Step::Extend { ino, bytes }, true);
    }

    /// A write ended; from now on a sync includes it.
    pub fn landed(&mut self, step: StepId) {
        self.pending
            .iter_mut()
            .filter(|p| p.step == step)
            .for_each(|p| p.landed = true);
    }

    /// A synced write ended.
    pub fn landed_synced(&mut self, step: StepId) {
        self.landed(step);
        if self.planted != Some(Planted::SyncedWrites) {
            self.made_durable(vec![step]);
        }
    }

    /// What a sync of the file includes that begins now.
    pub fn unsynced(&self, ino: Ino) -> Vec<StepId> {
        self.covered(|object| object == Object::Content(ino))
    }

    fn covered(&self, is_meant: impl Fn(Object) -> bool) -> Vec<StepId> {
        let covered = self
            .pending
            .iter()
            .filter(|p| p.landed && !p.lost && is_meant(p.object));
        covered.map(|p| p.step).collect()
    }

    /// A sync of a file ended.
    pub fn synced(&mut self, steps: Vec<StepId>) {
        if self.planted != Some(Planted::FileSyncs) {
            self.made_durable(steps);
        }
    }

    fn made_durable(&mut self, mut steps: Vec<StepId>) {
        steps.retain(|s| self.pending.iter().any(|p| p.step == *s && !p.lost));
        self.pending.retain(|p| !steps.contains(&p.step));
        if !steps.is_empty() {
            self.steps.push(Step::Durable(steps));
        }
    }

    /// These are never durable for certain: their write, or their sync, failed.
    pub fn lost(&mut self, steps: &[StepId]) {
        self.pending
            .iter_mut()
            .filter(|p| steps.contains(&p.step))
            .for_each(|p| p.lost = true);
    }

    /// A blocking change that is about to be made.
    pub fn change(&mut self, change: &Change<'_>) {
        match *change {
            Change::CreateDir(path) => self.create(path, true),
            Change::CreateFile(path) => self.create(path, false),
            Change::Write { path, at, bytes } => {
                let step = self.write(self.file(path), at, bytes.into());
                self.landed(step);
            }
            Change::SetLen { path, bytes } => {
                let ino = self.file(path);
                self.push(Step::SetLen { ino, bytes }, true);
            }
            Change::Rename { from, to } => self.rename(from, to),
            Change::RemoveFile(path) | Change::RemoveDir(path) => self.remove(path),
            Change::SyncFile(_) | Change::SyncDir(_) | Change::SyncFilesystem(_) => {
                let covered = self.covered_by(change);
                match (self.planted, change) {
                    (Some(Planted::FileSyncs), Change::SyncFile(_))
                    | (Some(Planted::DirSyncs), Change::SyncDir(_)) => {}
                    _ => self.made_durable(covered),
                }
            }
        }
    }

    /// A blocking change that is about to fail.
    pub fn failed(&mut self, change: &Change<'_>) {
        let covered = self.covered_by(change);
        self.lost(&covered);
    }

    fn covered_by(&self, change: &Change<'_>) -> Vec<StepId> {
        match *change {
            Change::SyncFile(path) => self.unsynced(self.file(path)),
            Change::SyncDir(path) => match self.find(path) {
                Some(node) => self.covered(|object| object == Object::Names(node.ino)),
                None => Vec::new(),
            },
            Change::SyncFilesystem(_) => self.covered(|_| true),
            _ => Vec::new(),
        }
    }
}
