//! Busy neighbours: processes of ours that do nothing but use a processor, one pinned to each in turn.

use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::error::Error;
use crate::launch::family::Family;
use crate::launch::registry::{BROKERS, Entry};

/// What each of them does, at the usual priority, until it is killed.
const BUSY: &str = "while :; do :; done";

/// The neighbours. Dropping it kills them; so does our own end, however it comes.
pub struct Neighbours {
    processes: Vec<(Child, Entry<'static>)>,
}

impl Neighbours {
    /// Starts `count` of them.
    ///
    /// # Errors
    /// The shell cannot be started.
    pub fn start(count: u32) -> Result<Neighbours, Error> {
        let mut neighbours = Neighbours {
            processes: Vec::new(),
        };
        let cores = cores();
        for number in 0..count as usize {
            let mut command = Command::new("sh");
            command
                .args(["-c", BUSY])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            let started = BROKERS
                .spawn(&mut command)
                .map_err(|e| Error::failed(format!("a busy neighbour cannot be started: {e}")))?;
            if let Some(core) = cores.get(number % cores.len().max(1)) {
                pin(&started.0, *core);
            }
            neighbours.processes.push(started);
        }
        Ok(neighbours)
    }
}

/// The processors we may run on.
fn cores() -> Vec<usize> {
    let allowed = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
    (0..CpuSet::MAX_CPU)
        .filter(|core| allowed.is_set(*core))
        .collect()
}

/// One that cannot be pinned is busy somewhere else.
fn pin(child: &Child, core: usize) {
    let mut one = CpuSet::new();
    one.set(core);
    let _ = sched_setaffinity(Pid::from_raw(child.id() as i32), &one);
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        for (child, _) in &mut self.processes {
            Family::new(child.id()).signal(Signal::KILL);
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::tests::wait_until;
    use crate::measure::ProcessSampler;

    #[test]
    fn neighbours_are_busy_and_end() {
        let neighbours = Neighbours::start(2).expect("two");
        let pids: Vec<u32> = neighbours.processes.iter().map(|(child, _)| child.id()).collect();
        for pid in &pids {
            wait_until("a neighbour has used a processor", || {
                let busy = ProcessSampler::start(*pid).expect("alive");
                let since = std::time::Instant::now();
                while since.elapsed().as_millis() < 50 {
                    std::thread::yield_now();
                }
                busy.finish(None).user_s > 0.0
            });
        }
        drop(neighbours);
        assert!(pids.iter().all(|pid| ProcessSampler::start(*pid).is_err()));
    }
}
