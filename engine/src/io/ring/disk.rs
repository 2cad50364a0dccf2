//! Files: opening, direct reads and writes, syncing, allocating.
//!
//! Reads and writes in flight are capped below the device's own queue, beyond which submitting would block the
//! loop. Synced writes go first, because a producer waits for each of them.

use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

use io_uring::types::{self, DestinationSlot, FsyncFlags};
use io_uring::{opcode, squeue};

use super::SyncMethod;
use super::queue::{Completion, Kind, Queue};
use super::slab::Slab;
use super::sync_choice::{Way, Ways};
use crate::io::{ALIGN, Block, Durability, Event, FileId, IoCounters, Open, Slice, Token, probe};

/// Reads and writes in flight at once. Devices queue 256 by default, shared by all cores.
const TRANSFERS: usize = 64;
/// Part of them that only synced writes may use.
const TRANSFERS_RESERVED: usize = 16;
/// Since this kernel a linked pair whose first half is not told of completes also with DEFER_TASKRUN.
const LINK_KERNEL: (u32, u32) = (6, 12);
/// Rights of a new file, before the umask.
const CREATE_MODE: libc::mode_t = 0o644;

struct File {
    slot: u32,
    direct: bool,
    /// Operations queued or under way. The slot is closed when there is none.
    pending: u32,
    closing: bool,
}

struct Operation {
    token: Token,
    work: Work,
    /// Bytes already read or written.
    done: usize,
    /// A write and the sync behind it are under way as one: [`Queue::splits`] when they were submitted.
    pair: Option<u64>,
    /// A synced write: when it was handed to the ring, and which way.
    begun: Option<(Instant, Way)>,
}

/// How a write becomes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Syncing {
    /// It does not.
    No,
    /// It carries the flag.
    Flag,
    /// A sync is to follow.
    Behind,
    /// That is under way.
    Now,
}

enum Work {
    Open {
        path: CString,
        how: Open,
        direct: bool,
    },
    Read {
        file: u32,
        position: u64,
        len: usize,
        block: Block,
    },
    Write {
        file: u32,
        position: u64,
        slice: Slice,
        sync: Syncing,
    },
    Sync {
        file: u32,
    },
    Allocate {
        file: u32,
        position: u64,
        len: u64,
    },
}

/// All files of one core.
pub(super) struct Disk {
    files: Slab<File>,
    operations: Slab<Operation>,
    in_flight: usize,
    urgent: VecDeque<u32>,
    waiting: VecDeque<u32>,
    ways: Ways,
    /// A sync is submitted together with its write.
    link_syncs: bool,
    /// Cleared for good by the first file whose filesystem refuses direct I/O.
    pub(super) direct: bool,
    direct_checked: bool,
}

impl Disk {
    pub(super) fn new(sync_method: SyncMethod, direct: bool) -> Disk {
        let (files, operations) = (Slab::new(), Slab::new());
        let (urgent, waiting) = (VecDeque::new(), VecDeque::new());
        Disk {
            files,
            operations,
            in_flight: 0,
            urgent,
            waiting,
            ways: Ways::new(sync_method),
            link_syncs: probe::kernel_version() >= LINK_KERNEL,
            direct,
            direct_checked: false,
        }
    }

    pub(super) fn open(&mut self, queue: &mut Queue, path: &Path, how: Open, token: Token) -> io::Result<()> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let work = Work::Open {
            path,
            how,
            direct: self.direct,
        };
        let index = self.operations.insert(Operation::new(token, work));
        self.submit(queue, index);
        Ok(())
    }

    pub(super) fn close(&mut self, queue: &mut Queue, file: FileId) {
        let entry = self.file(file.0);
        assert!(!entry.closing, "a file closed twice");
        entry.closing = true;
        self.close_when_quiet(queue, file.0);
    }

    pub(super) fn read(
        &mut self,
        queue: &mut Queue,
        file: FileId,
        position: u64,
        len: usize,
        block: Block,
        token: Token,
    ) {
        assert!(
            len <= block.capacity() && block.is_empty(),
            "a read of {len} bytes into {block:?}"
        );
        assert!(
            len.is_multiple_of(ALIGN) && position.is_multiple_of(ALIGN as u64),
            "an unaligned read"
        );
        let work = Work::Read {
            file: file.0,
            position,
            len,
            block,
        };
        self.begin(queue, file, token, work);
    }

    pub(super) fn write(
        &mut self,
        queue: &mut Queue,
        file: FileId,
        position: u64,
        slice: Slice,
        durability: Durability,
        token: Token,
    ) {
        let aligned = slice.padded_len().is_multiple_of(ALIGN) && slice.position().is_multiple_of(ALIGN);
        assert!(
            aligned && position.is_multiple_of(ALIGN as u64),
            "an unaligned write at {position}"
        );
        let work = Work::Write {
            file: file.0,
            position,
            slice,
            sync: match durability {
                Durability::Synced => Syncing::Behind,
                Durability::Written => Syncing::No,
            },
        };
        self.begin(queue, file, token, work);
    }

    pub(super) fn sync(&mut self, queue: &mut Queue, file: FileId, token: Token) {
        self.begin(queue, file, token, Work::Sync { file: file.0 });
    }

    pub(super) fn allocate(
        &mut self,
        queue: &mut Queue,
        file: FileId,
        position: u64,
        len: u64,
        token: Token,
    ) {
        self.begin(
            queue,
            file,
            token,
            Work::Allocate {
                file: file.0,
                position,
                len,
            },
        );
    }

    /// Starts an operation on an open file, or queues it behind those in flight.
    fn begin(&mut self, queue: &mut Queue, file: FileId, token: Token, work: Work) {
        let entry = self.file(file.0);
        assert!(!entry.closing, "a verb on a file that is closed");
        entry.pending += 1;
        let index = self.operations.insert(Operation::new(token, work));
        match &self.operation(index).work {
            Work::Write {
                sync: Syncing::Behind,
                ..
            } => self.urgent.push_back(index),
            Work::Read { .. } | Work::Write { .. } => self.waiting.push_back(index),
            _ => return self.submit(queue, index),
        }
        self.feed(queue);
    }

    /// Starts what is queued, as far as the cap allows.
    fn feed(&mut self, queue: &mut Queue) {
        while self.in_flight < TRANSFERS {
            let next = match self.urgent.pop_front() {
                None if self.in_flight < TRANSFERS - TRANSFERS_RESERVED => self.waiting.pop_front(),
                urgent => urgent,
            };
            let Some(index) = next else { return };
            self.in_flight += 1;
            self.submit(queue, index);
        }
    }

    /// Hands an operation, or what is left of it, to the ring.
    fn submit(&mut self, queue: &mut Queue, index: u32) {
        let link_syncs = self.link_syncs;
        let Disk {
            operations,
            files,
            ways,
            ..
        } = self;
        let Some(operation) = operations.get_mut(index) else {
            return;
        };
        operation.choose(ways);
        let pair = link_syncs && operation.wants_sync_behind();
        let mut slot = |file: u32| types::Fixed(files.get_mut(file).map_or(u32::MAX, |file| file.slot));
        let done = operation.done;
        operation.work.count(&mut queue.counters);
        let entry = match &mut operation.work {
            Work::Open { path, how, direct } => open_entry(path, *how, *direct),
            Work::Read {
                file,
                position,
                len,
                block,
            } => read_entry(slot(*file), *position + done as u64, *len - done, block),
            Work::Write {
                file,
                sync: Syncing::Now,
                ..
            } => datasync_entry(slot(*file)),
            Work::Write {
                file,
                position,
                slice,
                sync,
            } => write_entry(
                slot(*file),
                *position + done as u64,
                slice,
                done,
                *sync == Syncing::Flag,
            ),
            Work::Sync { file } => datasync_entry(slot(*file)),
            Work::Allocate { file, position, len } => opcode::Fallocate::new(slot(*file), *len)
                .offset(*position)
                .build(),
        };
        if let (true, Some(file)) = (pair, operation.work.file()) {
            let sync = datasync_entry(slot(file));
            queue.counters.syncs += 1;
            operation.pair = Some(queue.splits());
            // SAFETY: as below.
            return unsafe { queue.push_linked(entry, sync, index) };
        }
        // SAFETY: path, block and slice belong to the operation, which stays in the slab until its completion; their
        // memory is on the heap or in a mapping and does not move with it. A block has no other reader or writer; a
        // slice's bytes do not change. The file's slot stays open while `pending`.
        unsafe { queue.push(entry, Kind::Disk, index) };
    }

    pub(super) fn on_disk(&mut self, queue: &mut Queue, done: Completion, events: &mut Vec<Event>) {
        let Some(operation) = self.operations.get_mut(done.index) else {
            return;
        };
        let file = operation.work.file();
        let direct = file
            .and_then(|file| self.files.get_mut(file))
            .is_some_and(|file| file.direct);
        let outcome = match operation.pair.take() {
            Some(splits) => operation.end_pair(done.outcome(), splits == queue.splits()),
            None => done.outcome(),
        };
        let next = match outcome {
            Err(error) if is_passing(&error) => Next::Again,
            outcome => operation.advance(outcome, direct),
        };
        match next {
            Next::Again => self.submit(queue, done.index),
            Next::Done(Ok(slot)) if self.is_unfit(done.index) => {
                self.reopen_buffered(queue, done.index, slot)
            }
            Next::Done(result) => self.finish(queue, done.index, result, events),
        }
    }

    /// The write of a pair was not whole; the sync behind it was not done.
    pub(super) fn on_linked(&mut self, queue: &mut Queue, done: Completion, events: &mut Vec<Event>) {
        if let Some(operation) = self.operations.get_mut(done.index) {
            operation.pair = None;
        }
        self.on_disk(queue, done, events);
    }

    /// Whether a file just opened for direct I/O cannot have it in multiples of [`ALIGN`]. Asked until the first file
    /// that can: the data directory is one filesystem.
    fn is_unfit(&mut self, index: u32) -> bool {
        let Some(Work::Open {
            path, direct: true, ..
        }) = self.operations.get_mut(index).map(|o| &o.work)
        else {
            return false;
        };
        if self.direct_checked {
            return false;
        }
        self.direct_checked = has_direct_io(path);
        !self.direct_checked
    }

    fn reopen_buffered(&mut self, queue: &mut Queue, index: u32, slot: u32) {
        if let Work::Open { direct, .. } = &mut self.operation(index).work {
            *direct = false;
        }
        // SAFETY: the entry points to no memory; nobody else knows the slot.
        unsafe { queue.push(opcode::Close::new(types::Fixed(slot)).build(), Kind::Ignore, 0) };
        self.submit(queue, index);
    }

    fn finish(&mut self, queue: &mut Queue, index: u32, result: io::Result<u32>, events: &mut Vec<Event>) {
        let Some(Operation {
            token, work, begun, ..
        }) = self.operations.remove(index)
        else {
            return;
        };
        if let (Some((begun, way)), Work::Write { slice, .. }, Ok(_)) = (begun, &work, &result) {
            self.ways.took(slice.padded_len(), way, begun.elapsed());
        }
        let file = work.file();
        let plain = result.as_ref().map(drop).map_err(copy_of);
        if matches!(work, Work::Read { .. } | Work::Write { .. }) {
            self.in_flight -= 1;
            self.feed(queue);
        }
        events.push(match work {
            Work::Open { direct, .. } => {
                self.direct &= direct || result.is_err();
                let opened = |slot| File {
                    slot,
                    direct,
                    pending: 0,
                    closing: false,
                };
                Event::Opened {
                    token,
                    result: result.map(|slot| FileId(self.files.insert(opened(slot)))),
                }
            }
            Work::Read { block, .. } => Event::Read {
                token,
                block,
                result: plain,
            },
            Work::Write { .. } => Event::Wrote { token, result: plain },
            Work::Sync { .. } => Event::Synced { token, result: plain },
            Work::Allocate { .. } => Event::Allocated {
                token,
                result: allocated(plain),
            },
        });
        if let Some(file) = file {
            self.file(file).pending -= 1;
            self.close_when_quiet(queue, file);
        }
    }

    fn close_when_quiet(&mut self, queue: &mut Queue, index: u32) {
        let Some(file) = self.files.get_mut(index) else {
            return;
        };
        if file.closing && file.pending == 0 {
            let entry = opcode::Close::new(types::Fixed(file.slot)).build();
            // SAFETY: the entry points to no memory; nothing else is under way on the slot.
            unsafe { queue.push(entry, Kind::FileClose, index) };
        }
    }

    pub(super) fn on_close(&mut self, done: Completion) {
        self.files.remove(done.index);
    }

    /// Forgets what was not started: the ring is about to go.
    pub(super) fn drop_queued(&mut self) {
        for index in self.urgent.drain(..).chain(self.waiting.drain(..)) {
            self.operations.remove(index);
        }
    }

    /// Leaves all memory the kernel may still use where it is, for good.
    pub(super) fn leak(&mut self) {
        std::mem::forget(std::mem::replace(&mut self.operations, Slab::new()));
    }

    fn operation(&mut self, index: u32) -> &mut Operation {
        self.operations
            .get_mut(index)
            .expect("an operation that is under way")
    }

    fn file(&mut self, index: u32) -> &mut File {
        self.files
            .get_mut(index)
            .expect("a verb on a file that is closed")
    }
}

/// What follows a completion.
enum Next {
    Again,
    Done(io::Result<u32>),
}

impl Work {
    fn count(&self, counters: &mut IoCounters) {
        match self {
            Work::Read { .. } => counters.reads += 1,
            Work::Write {
                sync: Syncing::Now, ..
            }
            | Work::Sync { .. } => counters.syncs += 1,
            Work::Write { .. } => counters.writes += 1,
            Work::Open { .. } | Work::Allocate { .. } => {}
        }
    }

    fn file(&self) -> Option<u32> {
        match self {
            Work::Open { .. } => None,
            Work::Read { file, .. } | Work::Write { file, .. } => Some(*file),
            Work::Sync { file } | Work::Allocate { file, .. } => Some(*file),
        }
    }
}

impl Operation {
    fn new(token: Token, work: Work) -> Operation {
        Operation {
            token,
            work,
            done: 0,
            pair: None,
            begun: None,
        }
    }

    /// Chooses the way of a synced write when it is first handed to the ring.
    fn choose(&mut self, ways: &mut Ways) {
        if let Work::Write { slice, sync, .. } = &mut self.work
            && *sync == Syncing::Behind
            && self.begun.is_none()
        {
            let way = ways.next(slice.padded_len());
            if way == Way::Flag {
                *sync = Syncing::Flag;
            }
            self.begun = Some((Instant::now(), way));
        }
    }

    /// Whether this is a write that a sync has to follow.
    fn wants_sync_behind(&self) -> bool {
        matches!(
            &self.work,
            Work::Write {
                sync: Syncing::Behind,
                ..
            }
        )
    }

    /// The sync of a pair has ended, so the write before it was whole. Gives the outcome to go on from.
    fn end_pair(&mut self, synced: io::Result<u32>, together: bool) -> io::Result<u32> {
        if let Work::Write { sync, .. } = &mut self.work {
            // From here on it is the sync that may have to be done again.
            *sync = Syncing::Now;
        }
        if !together {
            let torn = "the kernel was out of memory while a write and its sync were submitted: their order is not known";
            return Err(io::Error::other(torn));
        }
        synced
    }

    fn advance(&mut self, outcome: io::Result<u32>, file_is_direct: bool) -> Next {
        let count = match outcome {
            Ok(count) => count,
            Err(error) => return self.fail(error),
        };
        match &mut self.work {
            Work::Read { len, block, .. } => {
                block.filled(count as usize);
                self.done += count as usize;
                // A direct read stops between sectors only at the end of the file.
                let at_end = count == 0 || (file_is_direct && !self.done.is_multiple_of(ALIGN));
                if at_end || self.done == *len {
                    Next::Done(Ok(0))
                } else {
                    Next::Again
                }
            }
            Work::Write {
                sync: Syncing::Now, ..
            } => Next::Done(Ok(0)),
            Work::Write { slice, sync, .. } => {
                let whole = self.done + count as usize == slice.padded_len();
                if !whole {
                    let before = self.done;
                    // Direct I/O goes on at an aligned position; what lies before is written twice.
                    self.done = (self.done + count as usize) / ALIGN * ALIGN;
                    let stuck = self.done == before;
                    return if stuck {
                        Next::Done(Err(io::ErrorKind::WriteZero.into()))
                    } else {
                        Next::Again
                    };
                }
                match sync {
                    Syncing::Behind => {
                        *sync = Syncing::Now;
                        Next::Again
                    }
                    _ => Next::Done(Ok(0)),
                }
            }
            Work::Open { .. } | Work::Sync { .. } | Work::Allocate { .. } => Next::Done(Ok(count)),
        }
    }

    fn fail(&mut self, error: io::Error) -> Next {
        match &mut self.work {
            Work::Open { direct, .. } if *direct && error.raw_os_error() == Some(libc::EINVAL) => {
                *direct = false;
                Next::Again
            }
            _ => Next::Done(Err(error)),
        }
    }
}

fn open_entry(path: &CString, how: Open, direct: bool) -> squeue::Entry {
    let access = match how {
        Open::Read => libc::O_RDONLY,
        Open::Write => libc::O_RDWR,
        Open::Create => libc::O_RDWR | libc::O_CREAT,
    };
    let flags = access | if direct { libc::O_DIRECT } else { 0 };
    opcode::OpenAt::new(types::Fd(libc::AT_FDCWD), path.as_ptr())
        .flags(flags)
        .mode(CREATE_MODE)
        .file_index(Some(DestinationSlot::auto_target()))
        .build()
}

/// Whether the filesystem takes direct I/O in multiples of [`ALIGN`]. One that does not say is believed.
fn has_direct_io(path: &CStr) -> bool {
    // SAFETY: a statx of zeroes is valid; the kernel fills it, and the path ends with a zero byte.
    let (outcome, found) = unsafe {
        let mut found: libc::statx = std::mem::zeroed();
        (
            libc::statx(libc::AT_FDCWD, path.as_ptr(), 0, libc::STATX_DIOALIGN, &mut found),
            found,
        )
    };
    let says = outcome == 0 && found.stx_mask & libc::STATX_DIOALIGN != 0;
    let (memory, offset) = (
        found.stx_dio_mem_align as usize,
        found.stx_dio_offset_align as usize,
    );
    !says || (offset != 0 && offset <= ALIGN && memory <= ALIGN)
}

fn read_entry(fd: types::Fixed, position: u64, len: usize, block: &mut Block) -> squeue::Entry {
    let (start, len) = (block.fill_pointer(), transfer_len(len));
    match block.registered() {
        Some(buffer) => opcode::ReadFixed::new(fd, start, len, buffer)
            .offset(position)
            .build(),
        None => opcode::Read::new(fd, start, len).offset(position).build(),
    }
}

/// The write of a slice from byte `done` on.
fn write_entry(fd: types::Fixed, position: u64, slice: &Slice, done: usize, flagged: bool) -> squeue::Entry {
    let start = slice.pointer().wrapping_add(done);
    let len = transfer_len(slice.padded_len() - done);
    let flags = if flagged { libc::RWF_DSYNC } else { 0 };
    match slice.registered() {
        Some(buffer) => opcode::WriteFixed::new(fd, start, len, buffer)
            .offset(position)
            .rw_flags(flags)
            .build(),
        None => opcode::Write::new(fd, start, len)
            .offset(position)
            .rw_flags(flags)
            .build(),
    }
}

fn datasync_entry(fd: types::Fixed) -> squeue::Entry {
    opcode::Fsync::new(fd).flags(FsyncFlags::DATASYNC).build()
}

/// What one transfer moves at most: 1 GiB, aligned; the rest is continued.
fn transfer_len(len: usize) -> u32 {
    len.min(1 << 30) as u32
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN))
}

/// Errors from the kernel are numbers, which can be had twice.
fn copy_of(error: &io::Error) -> io::Error {
    error
        .raw_os_error()
        .map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

/// A filesystem that cannot allocate space ahead gets it as the file is written.
fn allocated(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
        other => other,
    }
}
