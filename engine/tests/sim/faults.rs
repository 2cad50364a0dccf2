//! What goes wrong, and when.

use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::rc::Rc;

use ringlog_engine::io::files::changes::Change;

use crate::random::Random;

const EIO: i32 = 5;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;

/// What is asked of the machine: by the ring first, by blocking code then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Open,
    Read,
    Write,
    Sync,
    Allocate,
    JobCreate,
    JobWrite,
    JobSetLen,
    JobSync,
    JobSyncDir,
    JobRename,
    JobRemove,
}

impl Verb {
    pub fn of(change: &Change<'_>) -> Verb {
        match change {
            Change::CreateDir(_) | Change::CreateFile(_) => Verb::JobCreate,
            Change::Write { .. } => Verb::JobWrite,
            Change::SetLen { .. } => Verb::JobSetLen,
            Change::SyncFile(_) | Change::SyncFilesystem(_) => Verb::JobSync,
            Change::SyncDir(_) => Verb::JobSyncDir,
            Change::Rename { .. } => Verb::JobRename,
            Change::RemoveFile(_) | Change::RemoveDir(_) => Verb::JobRemove,
        }
    }
}

/// The path a change is made at.
pub fn path_of<'a>(change: &Change<'a>) -> &'a Path {
    match *change {
        Change::CreateDir(path)
        | Change::CreateFile(path)
        | Change::Write { path, .. }
        | Change::SetLen { path, .. }
        | Change::SyncFile(path)
        | Change::SyncDir(path)
        | Change::SyncFilesystem(path)
        | Change::Rename { from: path, .. }
        | Change::RemoveFile(path)
        | Change::RemoveDir(path) => path,
    }
}

/// One fault: after `skip` calls that it would fit, `times` of them fail.
#[derive(Clone, Debug)]
pub struct Fault {
    verb: Verb,
    /// Part of the path.
    place: &'static str,
    skip: u64,
    times: u64,
    errno: i32,
}

impl Fault {
    /// The disk is full the first time that this is asked at such a path.
    pub fn full_once(verb: Verb, place: &'static str) -> Fault {
        Fault {
            verb,
            place,
            skip: 0,
            times: 1,
            errno: ENOSPC,
        }
    }

    /// This fails so many times at such a path.
    pub fn failing(verb: Verb, place: &'static str, times: u64) -> Fault {
        Fault {
            verb,
            place,
            skip: 0,
            times,
            errno: EIO,
        }
    }

    /// Any fault a disk can have.
    pub fn any(random: &mut Random) -> Fault {
        let (verb, errnos): (Verb, &[i32]) = random.pick(&[
            (Verb::Open, &[EIO, EMFILE, ENOSPC][..]),
            (Verb::Read, &[EIO]),
            (Verb::Write, &[EIO, ENOSPC]),
            (Verb::Write, &[EIO, ENOSPC]),
            (Verb::Sync, &[EIO, ENOSPC]),
            (Verb::Sync, &[EIO, ENOSPC]),
            (Verb::Allocate, &[ENOSPC, EIO]),
            (Verb::Allocate, &[ENOSPC]),
            (Verb::JobCreate, &[EIO, ENOSPC]),
            (Verb::JobWrite, &[EIO, ENOSPC]),
            (Verb::JobSetLen, &[EIO, ENOSPC]),
            (Verb::JobSync, &[EIO, ENOSPC]),
            (Verb::JobSyncDir, &[EIO]),
            (Verb::JobRename, &[EIO, ENOSPC]),
            (Verb::JobRemove, &[EIO]),
        ]);
        Fault {
            verb,
            place: random.pick(&["", "", "", ".log", "journal", "checkpoint"]),
            skip: random.pick(&[0, 0, 1, 2, 5, 12]),
            times: random.pick(&[1, 1, 3, u64::MAX]),
            errno: random.pick(errnos),
        }
    }
}

/// The faults of a run.
#[derive(Debug, Default)]
pub struct Faults {
    faults: Vec<Fault>,
    /// How many calls failed.
    pub injected: u64,
}

pub type SharedFaults = Rc<RefCell<Faults>>;

impl Faults {
    pub fn set(&mut self, faults: Vec<Fault>) {
        self.faults = faults;
    }

    /// Whether this call fails, and how.
    pub fn ask(&mut self, verb: Verb, path: &Path) -> Option<io::Error> {
        let path = path.to_string_lossy();
        for fault in &mut self.faults {
            if fault.verb != verb || !path.contains(fault.place) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
            } else if fault.times > 0 {
                fault.times -= 1;
                self.injected += 1;
                return Some(io::Error::from_raw_os_error(fault.errno));
            }
        }
        None
    }
}
