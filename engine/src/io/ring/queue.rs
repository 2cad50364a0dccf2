//! Submission and completion: the io_uring itself, an overflow list before it, and the meaning of `user_data`.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, squeue};

use crate::io::IoCounters;

/// Entries handed to the kernel at once. More wait in the overflow list of [`Queue`].
const SUBMISSION_ENTRIES: u32 = 1024;
/// Completions the kernel can keep before it starts to chain them up. Multishot operations complete many times.
const COMPLETION_ENTRIES: u32 = 8192;

const ENTER_GETEVENTS: u32 = 1;
const ENTER_EXT_ARG: u32 = 8;

/// What a completion belongs to. The kind is the upper half of `user_data`, an index of that kind the lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Kind {
    /// Something whose outcome nobody waits for.
    Ignore = 0,
    /// A message or a bell: the core is awake, which is all it said.
    Wake,
    /// The poll of the bell. Index: none.
    Bell,
    /// A message to another core. Index: in the ring's list of messages.
    Message,
    /// Index: listener.
    Accept,
    /// Index: connection.
    Receive,
    /// Stops a receive. Index: connection.
    ReceiveCancel,
    /// Index: connection.
    Send,
    /// Index: in the list of zero-copy sends.
    SendZeroCopy,
    /// Breaks off everything on a socket. Index: connection.
    SocketCancel,
    /// Index: connection.
    SocketClose,
    /// Gives a socket of the table a number in the process. Index: connection.
    SocketInstall,
    /// Index: disk operation.
    Disk,
    /// A write that was not whole, instead of the pair it was the first half of. Index: disk operation.
    DiskLinked,
    /// Index: file.
    FileClose,
}

impl Kind {
    const ALL: [Kind; 15] = [
        Kind::Ignore,
        Kind::Wake,
        Kind::Bell,
        Kind::Message,
        Kind::Accept,
        Kind::Receive,
        Kind::ReceiveCancel,
        Kind::Send,
        Kind::SendZeroCopy,
        Kind::SocketCancel,
        Kind::SocketClose,
        Kind::SocketInstall,
        Kind::Disk,
        Kind::DiskLinked,
        Kind::FileClose,
    ];

    /// The `user_data` of operation `index` of this kind.
    pub(super) fn tag(self, index: u32) -> u64 {
        (self as u64) << 32 | u64::from(index)
    }

    fn of(user_data: u64) -> Kind {
        Kind::ALL
            .get((user_data >> 32) as usize)
            .copied()
            .unwrap_or(Kind::Ignore)
    }
}

/// One completion, taken apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    pub(super) kind: Kind,
    pub(super) index: u32,
    pub(super) result: i32,
    pub(super) flags: u32,
}

impl Completion {
    /// Whether the operation goes on and completes again.
    pub(super) fn more(&self) -> bool {
        cqueue::more(self.flags)
    }

    /// Whether it says that a zero-copy send needs its memory no more.
    pub(super) fn is_notification(&self) -> bool {
        cqueue::notif(self.flags)
    }

    /// The provided buffer the bytes are in.
    pub(super) fn buffer(&self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }

    /// The result as a count, or the error.
    pub(super) fn outcome(&self) -> io::Result<u32> {
        u32::try_from(self.result).map_err(|_| io::Error::from_raw_os_error(-self.result))
    }
}

/// An entry that waits for room.
struct Waiting {
    entry: squeue::Entry,
    /// The next one must reach the kernel together with it.
    linked: bool,
}

/// The io_uring and what does not fit into it.
pub(super) struct Queue {
    pub(super) uring: IoUring,
    /// Entries waiting for room, oldest first. While it is not empty, all new entries go through it: order matters.
    overflow: VecDeque<Waiting>,
    /// Operations the kernel owes a last completion for.
    outstanding: usize,
    /// Submissions of which the kernel took a part only: it was out of memory.
    splits: u64,
    pub(super) counters: IoCounters,
}

impl Queue {
    /// Creates the io_uring. The calling thread is the only one that may use it.
    pub(super) fn new() -> io::Result<Queue> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(COMPLETION_ENTRIES)
            .dontfork()
            .build(SUBMISSION_ENTRIES)?;
        Ok(Queue {
            uring,
            overflow: VecDeque::new(),
            outstanding: 0,
            splits: 0,
            counters: IoCounters::default(),
        })
    }

    /// Queues an operation for the next [`Queue::enter`].
    ///
    /// # Safety
    /// All memory the entry points to stays valid and where it is, and is not touched against the operation's
    /// meaning, until its last completion.
    pub(super) unsafe fn push(&mut self, entry: squeue::Entry, kind: Kind, index: u32) {
        let entry = entry.user_data(kind.tag(index));
        self.outstanding += 1;
        self.counters.submissions += 1;
        match kind {
            Kind::Send | Kind::SendZeroCopy => self.counters.sends += 1,
            Kind::Message => self.counters.wakes_sent += 1,
            _ => {}
        }
        // SAFETY: the caller's promise.
        unsafe { self.queue(entry, false) };
    }

    /// Queues two operations of which the second starts once the first has ended well, and without telling of the first then
    /// (IOSQE_IO_LINK, IOSQE_CQE_SKIP_SUCCESS). When the first fails or comes up short it completes as [`Kind::DiskLinked`], the second is
    /// cancelled, and nothing is told of that: the pair completes once, either way.
    ///
    /// # Safety
    /// As for [`Queue::push`], for both until the second's completion.
    pub(super) unsafe fn push_linked(&mut self, first: squeue::Entry, second: squeue::Entry, index: u32) {
        let flags = squeue::Flags::IO_LINK | squeue::Flags::SKIP_SUCCESS;
        let first = first.flags(flags).user_data(Kind::DiskLinked.tag(index));
        let second = second.user_data(Kind::Disk.tag(index));
        self.outstanding += 1;
        self.counters.submissions += 2;
        // A link ends with the submission it is in: both go, or both wait.
        let submission = self.uring.submission();
        let room = submission.capacity() - submission.len();
        drop(submission);
        if room < 2 {
            self.overflow.push_back(Waiting {
                entry: first,
                linked: true,
            });
            self.overflow.push_back(Waiting {
                entry: second,
                linked: false,
            });
        } else {
            // SAFETY: the caller's promise.
            unsafe {
                self.queue(first, true);
                self.queue(second, false);
            }
        }
    }

    /// Puts an entry behind those that wait, or into the ring where none does.
    ///
    /// # Safety
    /// As for [`Queue::push`].
    unsafe fn queue(&mut self, entry: squeue::Entry, linked: bool) {
        // SAFETY: the caller's promise.
        if !self.overflow.is_empty() || unsafe { self.uring.submission().push(&entry) }.is_err() {
            self.overflow.push_back(Waiting { entry, linked });
        }
    }

    /// How often the kernel took only a part of what was submitted. A pair that was under way meanwhile may have been torn apart.
    pub(super) fn splits(&self) -> u64 {
        self.splits
    }

    /// Operations whose last completion is still to come.
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Whether completions can be taken without entering the kernel.
    pub(super) fn has_completions(&mut self) -> bool {
        !self.uring.completion().is_empty()
    }

    /// Hands everything queued to the kernel, lets it finish what it has ready, and waits for one completion, at
    /// most `wait` long: `Some(None)` waits without end, `None` not at all.
    pub(super) fn enter(&mut self, wait: Option<Option<Duration>>) {
        loop {
            self.refill();
            let wait = if self.overflow.is_empty() { wait } else { None };
            let finished = self.enter_once(wait);
            if self.overflow.is_empty() || !finished {
                return;
            }
        }
    }

    /// `false` when the kernel took nothing and completions must be taken first.
    fn enter_once(&mut self, wait: Option<Option<Duration>>) -> bool {
        let mut submission = self.uring.submission();
        submission.sync();
        let (count, idle) = (
            submission.len(),
            !submission.taskrun() && !submission.cq_overflow(),
        );
        drop(submission);
        if count == 0 && wait.is_none() && idle {
            return true;
        }
        let timespec = wait.flatten().map(Timespec::from);
        let args = match &timespec {
            Some(timespec) => SubmitArgs::new().timespec(timespec),
            None => SubmitArgs::new(),
        };
        let want = u32::from(wait.is_some());
        self.counters.enters += 1;
        // SAFETY: `args` is the argument that EXT_ARG announces and outlives the call; entries were checked by `push`.
        let entered = unsafe {
            self.uring
                .submitter()
                .enter(count as u32, want, ENTER_GETEVENTS | ENTER_EXT_ARG, Some(&args))
        };
        match entered {
            Ok(taken) => {
                self.splits += u64::from(taken < count);
                true
            }
            // ETIME: the wait is over. EINTR: a signal; the caller looks around and comes back. EBUSY and EAGAIN:
            // the kernel has no room for more until completions are taken.
            Err(error) => matches!(error.raw_os_error(), Some(libc::ETIME)),
        }
    }

    fn refill(&mut self) {
        let mut submission = self.uring.submission();
        submission.sync();
        while let Some(Waiting { entry, linked }) = self.overflow.front() {
            let room = submission.capacity() - submission.len();
            // SAFETY: promised by the caller of `push` when the entry came in.
            if room < 1 + usize::from(*linked) || unsafe { submission.push(entry) }.is_err() {
                break;
            }
            self.overflow.pop_front();
        }
    }

    /// The next completion, if one is there.
    pub(super) fn next(&mut self) -> Option<Completion> {
        let entry = self.uring.completion().next()?;
        let (user_data, flags) = (entry.user_data(), entry.flags());
        let kind = Kind::of(user_data);
        // Messages from other rings were never pushed here.
        if kind != Kind::Wake && !cqueue::more(flags) {
            self.outstanding -= 1;
        }
        self.counters.completions += 1;
        match kind {
            Kind::Accept => self.counters.accepts += 1,
            Kind::Receive => self.counters.receives += 1,
            Kind::Wake | Kind::Bell => self.counters.wakes_received += 1,
            _ => {}
        }
        Some(Completion {
            kind,
            index: user_data as u32,
            result: entry.result(),
            flags,
        })
    }
}
