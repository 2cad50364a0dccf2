//! The kernel's requests, answered from the tree. One request at a time, each seen as a whole by a cut.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use rustix::fs::OFlags;

use super::file::File;
use super::folder::Folder;
use super::tree::{Answer, Kind, Tree};

/// The kernel may remember nothing about names and attributes: it asks again.
const NOT_AT_ALL: Duration = Duration::ZERO;
const ONLY_ONE: Generation = Generation(0);
/// Size of the filesystem in blocks of 4 KiB: 16 GiB, of which it always says that all are free.
const BLOCKS: u64 = 4 << 20;

/// The bit of Linux's O_DSYNC, which O_SYNC has too. (What `OFlags` calls so is O_SYNC.)
const O_DSYNC: u32 = 0o10000;

/// A listing: names and nodes.
type Listing = Vec<(OsString, u64)>;

/// The filesystem as one mount of it sees it.
#[derive(Debug)]
pub(super) struct Server {
    tree: Arc<Mutex<Tree>>,
    session: u64,
    /// Listings of open folders: a reader that removes what it reads must not miss names.
    listings: Mutex<(u64, HashMap<u64, Listing>)>,
    /// By thread: the file that its last write asked to be synced of. The kernel then sends an fsync of the whole file, but all
    /// that was asked for is that write.
    syncing: Mutex<HashMap<u32, u64>>,
}

impl Server {
    pub(super) fn new(tree: Arc<Mutex<Tree>>, session: u64) -> Server {
        Server {
            tree,
            session,
            listings: Mutex::default(),
            syncing: Mutex::default(),
        }
    }

    /// Whether this fsync of the file is what the kernel sends behind a synced write.
    fn belongs_to_write(&self, thread: u32, file: u64) -> bool {
        let mut syncing = self.syncing.lock().expect("no panic while held");
        syncing.remove(&thread) == Some(file)
    }

    fn tree(&self) -> Answer<MutexGuard<'_, Tree>> {
        let mut tree = self.tree.lock().map_err(|_| Errno::EIO)?;
        tree.admit(self.session)?;
        Ok(tree)
    }

    fn make(&self, parent: INodeNo, name: &OsStr, kind: Kind) -> Answer<FileAttr> {
        let mut tree = self.tree()?;
        let number = tree.make(parent.0, name, kind)?;
        attributes(&tree, number)
    }
}

fn attributes(tree: &Tree, number: u64) -> Answer<FileAttr> {
    let node = tree.node(number)?;
    let (kind, perm, nlink, size, allocated) = match &node.kind {
        Kind::Folder(_) => (FileType::Directory, 0o755, 2, 4096, 4096),
        Kind::File(file) => {
            let live = file.live();
            (FileType::RegularFile, 0o644, 1, live.len(), live.allocated())
        }
    };
    Ok(FileAttr {
        ino: INodeNo(number),
        size,
        blocks: allocated / 512,
        atime: node.changed,
        mtime: node.changed,
        ctime: node.changed,
        crtime: node.changed,
        kind,
        perm,
        nlink,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        rdev: 0,
        blksize: 4096,
        flags: 0,
    })
}

fn entry(answer: Answer<FileAttr>, reply: ReplyEntry) {
    match answer {
        Ok(attributes) => reply.entry(&NOT_AT_ALL, &attributes, ONLY_ONE),
        Err(error) => reply.error(error),
    }
}

fn empty(answer: Answer<()>, reply: ReplyEmpty) {
    match answer {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

impl Filesystem for Server {
    fn init(&mut self, _: &Request, _: &mut KernelConfig) -> std::io::Result<()> {
        // Neither FUSE_WRITEBACK_CACHE (writes would wait in the kernel) nor FUSE_ASYNC_DIO (the kernel then answers a
        // direct write with RWF_DSYNC before the sync that it asks for).
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.tree().and_then(|tree| {
            let number = tree.lookup(parent.0, name)?;
            attributes(&tree, number)
        });
        entry(found, reply);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.tree().and_then(|tree| attributes(&tree, ino.0)) {
            Ok(attributes) => reply.attr(&NOT_AT_ALL, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let answer = self.tree().and_then(|mut tree| {
            if let Some(len) = size {
                tree.resize(ino.0, len)?;
            }
            attributes(&tree, ino.0)
        });
        match answer {
            Ok(attributes) => reply.attr(&NOT_AT_ALL, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        entry(self.make(parent, name, Kind::Folder(Folder::default())), reply);
    }

    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        match self.make(parent, name, Kind::File(File::default())) {
            Ok(attributes) => reply.created(
                &NOT_AT_ALL,
                &attributes,
                ONLY_ONE,
                FileHandle(0),
                FopenFlags::empty(),
            ),
            Err(error) => reply.error(error),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(
            self.tree()
                .and_then(|mut tree| tree.remove(parent.0, name, false)),
            reply,
        );
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(
            self.tree().and_then(|mut tree| tree.remove(parent.0, name, true)),
            reply,
        );
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let answer = if flags.is_empty() {
            self.tree()
                .and_then(|mut tree| tree.rename((parent.0, name), (new_parent.0, new_name)))
        } else {
            Err(Errno::EINVAL)
        };
        empty(answer, reply);
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.tree().and_then(|tree| tree.node(ino.0).map(|_| ())) {
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = |tree: MutexGuard<'_, Tree>| Ok(tree.file(ino.0)?.live().read(offset, size as usize));
        match self.tree().and_then(read) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        request: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let flags = OFlags::from_bits_retain(u32::from_ne_bytes(flags.0.to_ne_bytes()));
        let is_synced = flags.bits() & O_DSYNC != 0;
        if is_synced {
            let mut syncing = self.syncing.lock().expect("no panic while held");
            syncing.insert(request.pid(), ino.0);
        }
        let answer = self.tree().and_then(|mut tree| {
            tree.seen.writes += 1;
            tree.seen.direct_writes += u64::from(flags.contains(OFlags::DIRECT));
            tree.seen.synced_writes += u64::from(is_synced);
            tree.write(ino.0, offset, data, is_synced)
        });
        match answer {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // Closing a file makes nothing durable.
        empty(self.tree().map(|_| ()), reply);
    }

    fn fsync(&self, request: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let answer = self.tree().and_then(|mut tree| {
            if self.belongs_to_write(request.pid(), ino.0) {
                tree.seen.syncs_behind_writes += 1;
                return Ok(());
            }
            tree.seen.file_syncs += 1;
            tree.sync(ino.0)
        });
        empty(answer, reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let answer = self.tree().and_then(|mut tree| {
            tree.seen.folder_syncs += 1;
            tree.sync(ino.0)
        });
        empty(answer, reply);
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let listing = self.tree().and_then(|tree| tree.list(ino.0));
        match (listing, self.listings.lock()) {
            (Ok(listing), Ok(mut listings)) => {
                listings.0 += 1;
                let handle = listings.0;
                listings.1.insert(handle, listing);
                reply.opened(FileHandle(handle), FopenFlags::empty());
            }
            (Err(error), _) => reply.error(error),
            (_, Err(_)) => reply.error(Errno::EIO),
        }
    }

    fn readdir(&self, _: &Request, _: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let Ok(tree) = self.tree() else {
            return reply.error(Errno::EIO);
        };
        let listings = self.listings.lock().expect("no panic while held");
        let listing = listings.1.get(&fh.0).map_or(&[][..], Vec::as_slice);
        for (index, (name, number)) in listing.iter().enumerate().skip(offset as usize) {
            let kind = match tree.node(*number).map(|node| &node.kind) {
                Ok(Kind::Folder(_)) => FileType::Directory,
                _ => FileType::RegularFile,
            };
            if reply.add(INodeNo(*number), index as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, fh: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        if let Ok(mut listings) = self.listings.lock() {
            listings.1.remove(&fh.0);
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(BLOCKS, BLOCKS, BLOCKS, 1 << 20, 1 << 20, 4096, 255, 4096);
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let answer = if mode == 0 {
            self.tree().and_then(|mut tree| {
                let end = offset + length;
                if end > tree.file(ino.0)?.live().len() {
                    tree.resize(ino.0, end)?;
                }
                Ok(())
            })
        } else {
            Err(Errno::EOPNOTSUPP)
        };
        empty(answer, reply);
    }
}
