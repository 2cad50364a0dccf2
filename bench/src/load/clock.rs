//! Time within a run, and timers fine enough for it: tokio's wheel turns once a millisecond, a timerfd fires within
//! tens of microseconds.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

/// Where a run's time begins; the same for all its threads.
#[derive(Clone, Copy, Debug)]
pub struct Epoch {
    instant: Instant,
    unix_ns: u64,
}

impl Epoch {
    /// Now is 0.
    pub fn begin() -> Epoch {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Epoch {
            instant: Instant::now(),
            unix_ns: unix.as_nanos() as u64,
        }
    }

    /// Nanoseconds since the epoch, by the monotonic clock.
    pub fn now_ns(&self) -> u64 {
        self.instant.elapsed().as_nanos() as u64
    }

    /// The wall-clock time of a moment of the run, milliseconds since 1970.
    pub fn unix_ms(&self, at_ns: u64) -> i64 {
        ((self.unix_ns + at_ns) / 1_000_000) as i64
    }
}

/// The timers of one thread.
pub struct Clock {
    epoch: Epoch,
    timer: rustix::fd::OwnedFd,
    deadlines: RefCell<BinaryHeap<Reverse<(u64, u64)>>>,
    wakers: RefCell<HashMap<u64, Waker>>,
    next_id: Cell<u64>,
}

impl Clock {
    /// Starts the thread's timers. Must run within a tokio-uring runtime.
    ///
    /// # Errors
    /// No descriptor left for the timer.
    pub fn start(epoch: Epoch) -> io::Result<Rc<Clock>> {
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        let fired = tokio_uring::fs::File::from_std(timer.try_clone()?.into());
        let clock = Rc::new(Clock {
            epoch,
            timer,
            deadlines: RefCell::default(),
            wakers: RefCell::default(),
            next_id: Cell::new(0),
        });
        let driven = Rc::downgrade(&clock);
        tokio_uring::spawn(async move {
            let mut buffer = vec![0; 8];
            loop {
                let (read, returned) = fired.read_at(buffer, 0).await;
                buffer = returned;
                let Some(clock) = driven.upgrade() else { return };
                if read.is_err() {
                    return;
                }
                clock.fire();
            }
        });
        Ok(clock)
    }

    /// Nanoseconds since the run's epoch.
    pub fn now_ns(&self) -> u64 {
        self.epoch.now_ns()
    }

    /// The run's epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Completes at `deadline_ns` or as soon after as the kernel wakes us; at once when that is past.
    pub fn sleep_until(self: &Rc<Self>, deadline_ns: u64) -> Sleep {
        Sleep {
            clock: Rc::clone(self),
            deadline_ns,
            id: None,
        }
    }

    fn register(&self, deadline_ns: u64, waker: Waker) -> u64 {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        let mut deadlines = self.deadlines.borrow_mut();
        let earliest = deadlines
            .peek()
            .is_none_or(|Reverse((first, _))| deadline_ns < *first);
        deadlines.push(Reverse((deadline_ns, id)));
        self.wakers.borrow_mut().insert(id, waker);
        if earliest {
            self.arm(deadline_ns);
        }
        id
    }

    fn fire(&self) {
        let now_ns = self.now_ns();
        let mut deadlines = self.deadlines.borrow_mut();
        while let Some(&Reverse((deadline_ns, id))) = deadlines.peek() {
            let waker = self.wakers.borrow_mut();
            if deadline_ns > now_ns && waker.contains_key(&id) {
                self.arm(deadline_ns);
                return;
            }
            drop(waker);
            deadlines.pop();
            if let Some(waker) = self.wakers.borrow_mut().remove(&id) {
                waker.wake();
            }
        }
    }

    fn arm(&self, deadline_ns: u64) {
        // zero would disarm the timer
        let wait = Duration::from_nanos(deadline_ns.saturating_sub(self.now_ns()).max(1));
        let value = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: Timespec {
                tv_sec: wait.as_secs() as i64,
                tv_nsec: i64::from(wait.subsec_nanos()),
            },
        };
        // cannot fail: the descriptor is a timer and the value is in range
        let _ = rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &value);
    }
}

/// See [`Clock::sleep_until`].
pub struct Sleep {
    clock: Rc<Clock>,
    deadline_ns: u64,
    id: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.clock.now_ns() >= self.deadline_ns {
            return Poll::Ready(());
        }
        match self.id {
            Some(id) => {
                self.clock.wakers.borrow_mut().insert(id, context.waker().clone());
            }
            None => self.id = Some(self.clock.register(self.deadline_ns, context.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.clock.wakers.borrow_mut().remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleepers_wake_in_the_order_of_their_deadlines_and_not_before() {
        tokio_uring::start(async {
            let clock = Clock::start(Epoch::begin()).expect("a timer");
            let woken = Rc::new(RefCell::new(Vec::new()));
            let sleepers: Vec<_> = [3_000_000u64, 1_000_000, 2_000_000, 1_000_000]
                .into_iter()
                .map(|deadline| {
                    let (clock, woken) = (Rc::clone(&clock), Rc::clone(&woken));
                    tokio_uring::spawn(async move {
                        clock.sleep_until(deadline).await;
                        woken.borrow_mut().push((deadline, clock.now_ns()));
                    })
                })
                .collect();
            for sleeper in sleepers {
                sleeper.await.expect("no panic");
            }
            let woken = woken.borrow();
            assert!(woken.iter().all(|(deadline, at)| at >= deadline));
            let deadlines: Vec<u64> = woken.iter().map(|(deadline, _)| *deadline).collect();
            assert_eq!(deadlines, [1_000_000, 1_000_000, 2_000_000, 3_000_000]);
        });
    }

    #[test]
    fn a_sleeper_given_up_does_not_keep_others_from_waking() {
        tokio_uring::start(async {
            let clock = Clock::start(Epoch::begin()).expect("a timer");
            let given_up = tokio::time::timeout(Duration::from_micros(10), clock.sleep_until(1 << 40));
            assert!(given_up.await.is_err());
            let now = clock.now_ns();
            clock.sleep_until(now + 500_000).await;
            assert!(clock.now_ns() >= now + 500_000);
        });
    }
}
