//! Waking a core that sleeps in the kernel.
//!
//! A core announces that it will sleep, then looks at its mail a last time; whoever leaves mail looks at the
//! announcement afterwards. One of the two always sees the other, so mail is never slept over, and nobody pays a
//! system call for a core that is awake.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rustix::event::{EventfdFlags, eventfd};

/// Wakes one core from any thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Waker {
    target: Arc<Target>,
}

#[derive(Debug)]
struct Target {
    asleep: AtomicBool,
    kernel: Option<Doors>,
}

/// Ways into the sleeping core. Our own duplicates, so that their numbers never come to mean something else.
#[derive(Debug)]
struct Doors {
    event: OwnedFd,
    ring: OwnedFd,
}

impl Waker {
    /// A waker that only keeps the announcement: for a machine that is simulated.
    pub fn detached() -> Waker {
        Waker {
            target: Arc::new(Target {
                asleep: AtomicBool::new(false),
                kernel: None,
            }),
        }
    }

    pub(super) fn new(ring: BorrowedFd<'_>) -> io::Result<Waker> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let ring = ring.try_clone_to_owned()?;
        Ok(Waker {
            target: Arc::new(Target {
                asleep: AtomicBool::new(false),
                kernel: Some(Doors { event, ring }),
            }),
        })
    }

    /// Wakes the core when it sleeps or is about to. Call it after leaving the message it shall find.
    pub fn wake(&self) {
        if self.claim() {
            self.ring_bell();
        }
    }

    /// Announces sleep. What was left before a [`Waker::wake`] that found the core awake is visible afterwards.
    pub fn announce_sleep(&self) {
        self.target.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// The core is awake again.
    pub fn announce_awake(&self) {
        self.target.asleep.store(false, Ordering::Relaxed);
    }

    /// Whether the core sleeps; the one caller who is told so must wake it.
    pub fn claim(&self) -> bool {
        fence(Ordering::SeqCst);
        self.target.asleep.load(Ordering::Relaxed) && self.target.asleep.swap(false, Ordering::SeqCst)
    }

    /// Wakes the core through its event counter, whatever it announced.
    pub(super) fn ring_bell(&self) {
        if let Some(doors) = &self.target.kernel {
            // The counter cannot overflow in practice, and a full one would be readable, which is all that counts.
            let _ = rustix::io::write(&doors.event, &1u64.to_ne_bytes());
        }
    }

    pub(super) fn event_fd(&self) -> Option<RawFd> {
        self.target.kernel.as_ref().map(|doors| doors.event.as_raw_fd())
    }

    pub(super) fn ring_fd(&self) -> Option<RawFd> {
        self.target.kernel.as_ref().map(|doors| doors.ring.as_raw_fd())
    }
}
