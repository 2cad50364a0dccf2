//! All files and folders of the filesystem, whether it has power, and what was asked of it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::time::SystemTime;

use fuser::Errno;

use super::file::File;
use super::folder::Folder;
use super::loss::Loss;

/// The node of the root folder, by FUSE's rule.
pub(super) const ROOT: u64 = 1;

/// What an operation gives, or how it fails.
pub(super) type Answer<T> = Result<T, Errno>;

/// A file or a folder.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    File(File),
    Folder(Folder),
}

/// A node, whatever its names are.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) changed: SystemTime,
}

impl Node {
    fn new(kind: Kind) -> Node {
        Node {
            kind,
            changed: SystemTime::now(),
        }
    }
}

/// What was asked of the filesystem since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Writes.
    pub writes: u64,
    /// Of them, through a descriptor for direct I/O.
    pub direct_writes: u64,
    /// Of them, with O_DSYNC or O_SYNC, by their descriptor or by themselves (RWF_DSYNC).
    pub synced_writes: u64,
    /// What the kernel sent behind those: an fsync for each part of a write that asked for it.
    pub syncs_behind_writes: u64,
    /// fsync and fdatasync of files.
    pub file_syncs: u64,
    /// fsync of folders.
    pub folder_syncs: u64,
    /// Operations refused because the power was off.
    pub refused: u64,
}

/// The filesystem.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    pub(super) seen: Seen,
    /// Which mount may ask: requests of an earlier one come too late.
    pub(super) session: u64,
    is_on: bool,
    /// Changes until the power goes by itself.
    left: Option<u64>,
    /// Syncs are answered and not done.
    pub(super) is_lying: bool,
    /// Syncs and synced writes fail; what they were to make durable is not, and stays live.
    pub(super) fails_syncs: bool,
}

impl Tree {
    pub(super) fn new() -> Tree {
        Tree {
            nodes: BTreeMap::from([(ROOT, Node::new(Kind::Folder(Folder::default())))]),
            next: ROOT + 1,
            seen: Seen::default(),
            session: 0,
            is_on: true,
            left: None,
            is_lying: false,
            fails_syncs: false,
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_on
    }

    /// From now on every operation fails and nothing becomes durable.
    pub(super) fn power_off(&mut self) {
        self.is_on = false;
    }

    /// The power goes with this many further changes and syncs, the last of which is not answered.
    pub(super) fn power_off_after(&mut self, changes: u64) {
        self.left = Some(changes);
    }

    /// Forgets what was not durable, as `loss` says, and gives power again: to a later mount.
    pub(super) fn cut(&mut self, loss: &mut Loss) {
        for node in self.nodes.values_mut() {
            match &mut node.kind {
                Kind::File(file) => file.cut(loss),
                Kind::Folder(folder) => folder.cut(loss),
            }
        }
        self.collect();
        self.session += 1;
        self.is_on = true;
        self.left = None;
    }

    /// Drops nodes without a name.
    fn collect(&mut self) {
        let mut kept = BTreeMap::new();
        let mut open = vec![ROOT];
        while let Some(number) = open.pop() {
            if let Some(node) = self.nodes.remove(&number) {
                if let Kind::Folder(folder) = &node.kind {
                    open.extend(folder.live().values());
                }
                kept.insert(number, node);
            }
        }
        self.nodes = kept;
    }

    /// Refuses whoever asks through an earlier mount, and everybody when the power is off.
    pub(super) fn admit(&mut self, session: u64) -> Answer<()> {
        if self.is_on && session == self.session {
            return Ok(());
        }
        self.seen.refused += 1;
        Err(Errno::EIO)
    }

    /// Counts a change that was made, or a sync about to be made; the one with which the power goes is not answered.
    pub(super) fn step(&mut self) -> Answer<()> {
        match &mut self.left {
            Some(0 | 1) => {
                self.is_on = false;
                Err(Errno::EIO)
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(super) fn node(&self, number: u64) -> Answer<&Node> {
        self.nodes.get(&number).ok_or(Errno::ENOENT)
    }

    fn changing(&mut self, number: u64) -> Answer<&mut Node> {
        let node = self.nodes.get_mut(&number).ok_or(Errno::ENOENT)?;
        node.changed = SystemTime::now();
        Ok(node)
    }

    fn folder(&self, number: u64) -> Answer<&Folder> {
        match &self.node(number)?.kind {
            Kind::Folder(folder) => Ok(folder),
            Kind::File(_) => Err(Errno::ENOTDIR),
        }
    }

    fn folder_mut(&mut self, number: u64) -> Answer<&mut Folder> {
        match &mut self.changing(number)?.kind {
            Kind::Folder(folder) => Ok(folder),
            Kind::File(_) => Err(Errno::ENOTDIR),
        }
    }

    pub(super) fn file(&self, number: u64) -> Answer<&File> {
        match &self.node(number)?.kind {
            Kind::File(file) => Ok(file),
            Kind::Folder(_) => Err(Errno::EISDIR),
        }
    }

    fn file_mut(&mut self, number: u64) -> Answer<&mut File> {
        match &mut self.changing(number)?.kind {
            Kind::File(file) => Ok(file),
            Kind::Folder(_) => Err(Errno::EISDIR),
        }
    }

    pub(super) fn lookup(&self, parent: u64, name: &OsStr) -> Answer<u64> {
        self.folder(parent)?
            .live()
            .get(name)
            .copied()
            .ok_or(Errno::ENOENT)
    }

    /// Names and nodes of a folder.
    pub(super) fn list(&self, folder: u64) -> Answer<Vec<(OsString, u64)>> {
        let names = self.folder(folder)?.live();
        Ok(names.iter().map(|(name, node)| (name.clone(), *node)).collect())
    }

    pub(super) fn make(&mut self, parent: u64, name: &OsStr, kind: Kind) -> Answer<u64> {
        if self.lookup(parent, name).is_ok() {
            return Err(Errno::EEXIST);
        }
        let number = self.next;
        self.folder_mut(parent)?.put(name, number);
        self.next += 1;
        self.nodes.insert(number, Node::new(kind));
        self.step().map(|()| number)
    }

    pub(super) fn remove(&mut self, parent: u64, name: &OsStr, is_folder: bool) -> Answer<()> {
        let number = self.lookup(parent, name)?;
        match (&self.node(number)?.kind, is_folder) {
            (Kind::Folder(folder), true) if !folder.live().is_empty() => return Err(Errno::ENOTEMPTY),
            (Kind::Folder(_), true) | (Kind::File(_), false) => {}
            (Kind::Folder(_), false) => return Err(Errno::EISDIR),
            (Kind::File(_), true) => return Err(Errno::ENOTDIR),
        }
        self.folder_mut(parent)?.take(name);
        self.step()
    }

    pub(super) fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) -> Answer<()> {
        let number = self.lookup(from.0, from.1)?;
        if let Ok(replaced) = self.lookup(to.0, to.1)
            && !self.folder(replaced).map_or(true, |f| f.live().is_empty())
        {
            return Err(Errno::ENOTEMPTY);
        }
        if from.0 == to.0 {
            self.folder_mut(from.0)?.rename(from.1, to.1, number);
        } else {
            self.folder_mut(to.0)?.put(to.1, number);
            self.folder_mut(from.0)?.take(from.1);
        }
        self.step()
    }

    pub(super) fn write(&mut self, number: u64, at: u64, bytes: &[u8], is_synced: bool) -> Answer<()> {
        let is_last = self.step().is_err();
        let is_failing = is_last || is_synced && self.fails_syncs;
        let is_synced = is_synced && !is_failing && !self.is_lying;
        self.file_mut(number)?.write(at, bytes, is_synced);
        if is_failing { Err(Errno::EIO) } else { Ok(()) }
    }

    pub(super) fn resize(&mut self, number: u64, len: u64) -> Answer<()> {
        self.file_mut(number)?.resize(len);
        self.step()
    }

    /// fsync of a file or a folder.
    pub(super) fn sync(&mut self, number: u64) -> Answer<()> {
        self.step()?;
        if self.fails_syncs {
            return Err(Errno::EIO);
        }
        let is_lying = self.is_lying;
        let node = self.nodes.get_mut(&number).ok_or(Errno::ENOENT)?;
        match &mut node.kind {
            _ if is_lying => {}
            Kind::File(file) => file.sync(),
            Kind::Folder(folder) => folder.sync(),
        }
        Ok(())
    }

    /// Everything becomes durable that is live now.
    pub(super) fn sync_all(&mut self) {
        for node in self.nodes.values_mut() {
            match &mut node.kind {
                Kind::File(file) => file.sync(),
                Kind::Folder(folder) => folder.sync(),
            }
        }
    }
}
