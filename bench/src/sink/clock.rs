//! The clock: one thread that wakes tasks when their time has come, since tokio-uring brings no timer.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::thread::JoinHandle;
use std::time::Instant;

use super::lock;

/// Wakes tasks of any thread. Dropping it joins its thread; what still waits then is never woken.
pub(super) struct Clock {
    alarms: Arc<Alarms>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Alarms {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: BinaryHeap<Reverse<Alarm>>,
    stopped: bool,
}

struct Alarm {
    at: Instant,
    waker: Waker,
}

impl Clock {
    pub(super) fn start() -> io::Result<Clock> {
        let alarms = Arc::new(Alarms::default());
        let theirs = alarms.clone();
        let thread = std::thread::Builder::new()
            .name("sink-clock".to_owned())
            .spawn(move || theirs.run())?;
        Ok(Clock {
            alarms,
            thread: Some(thread),
        })
    }

    /// Wakes `waker` at `at`, or soon when that has passed.
    pub(super) fn wake_at(&self, at: Instant, waker: Waker) {
        lock(&self.alarms.state).queue.push(Reverse(Alarm { at, waker }));
        self.alarms.changed.notify_one();
    }

    /// Returns at `at` or a little later.
    pub(super) async fn sleep_until(&self, at: Instant) {
        let mut asked = false;
        std::future::poll_fn(|context| {
            if Instant::now() >= at {
                return Poll::Ready(());
            }
            // A task keeps its waker for life, so that asking once is enough.
            if !std::mem::replace(&mut asked, true) {
                self.wake_at(at, context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        lock(&self.alarms.state).stopped = true;
        self.alarms.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Alarms {
    fn run(&self) {
        let mut state = lock(&self.state);
        while !state.stopped {
            let now = Instant::now();
            let next = state.queue.peek().map(|Reverse(alarm)| alarm.at);
            state = match next {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(at) if at > now => {
                    let waited = self.changed.wait_timeout(state, at - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                Some(_) => {
                    let due = state.queue.pop();
                    drop(state);
                    if let Some(Reverse(alarm)) = due {
                        alarm.waker.wake();
                    }
                    lock(&self.state)
                }
            };
        }
    }
}

impl PartialEq for Alarm {
    fn eq(&self, other: &Alarm) -> bool {
        self.at == other.at
    }
}

impl Eq for Alarm {}

impl PartialOrd for Alarm {
    fn partial_cmp(&self, other: &Alarm) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Alarm {
    fn cmp(&self, other: &Alarm) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}
