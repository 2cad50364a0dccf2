//! Nothing is left behind: every family alive is on one list, and has a guard that outlives this process by a moment.
//!
//! The guard is a shell that waits for the end of a pipe only we hold. However we end, be it by SIGKILL, the pipe ends with us, and
//! the guard kills the family. (`PR_SET_PDEATHSIG` would spare the shell's children, and strikes when the *thread* ends that started
//! the broker.)

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::Signal;

use crate::launch::family::Family;

/// Collects targets until the pipe ends. `kill -9` because not every shell's `kill -KILL` takes a group.
const GUARD: &str = r#"while read -r target; do targets="$targets $target"; done; kill -9 $targets"#;

/// The brokers of this process.
pub static BROKERS: Registry = Registry::new();

/// Kills every broker this process started, at once, and lets no further one start. For the thread that handles SIGINT and
/// SIGTERM, before it ends the process.
pub fn kill_all() {
    BROKERS.kill_all();
}

/// Families alive, by a number of their own.
pub struct Registry {
    state: Mutex<State>,
}

struct State {
    closed: bool,
    next: u64,
    families: BTreeMap<u64, Family>,
}

impl Registry {
    /// An empty one.
    pub const fn new() -> Registry {
        let families = BTreeMap::new();
        Registry {
            state: Mutex::new(State {
                closed: false,
                next: 0,
                families,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a shell as the leader of a new group and notes the family, in one step as seen by [`Registry::kill_all`].
    ///
    /// # Errors
    /// Those of starting a process; `Interrupted` when everything was killed already.
    pub fn spawn(&self, command: &mut Command) -> io::Result<(Child, Entry<'_>)> {
        let mut state = self.state();
        if state.closed {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let mut guard = Guard::start()?;
        let child = command.process_group(0).spawn()?;
        let family = Family::new(child.id());
        guard.watch(&family);
        let number = state.next;
        state.next += 1;
        state.families.insert(number, family);
        let entry = Entry {
            registry: self,
            number,
            guard,
        };
        Ok((child, entry))
    }

    /// Kills all families noted and refuses new ones.
    pub fn kill_all(&self) {
        let mut state = self.state();
        state.closed = true;
        for family in state.families.values() {
            family.signal(Signal::KILL);
        }
    }
}

impl Default for Registry {
    fn default() -> Registry {
        Registry::new()
    }
}

/// A family's place on the list; dropping it says that the family is gone.
pub struct Entry<'a> {
    registry: &'a Registry,
    number: u64,
    guard: Guard,
}

impl Entry<'_> {
    /// The family changed: it has an outsider now.
    pub fn update(&mut self, family: Family) {
        self.guard.watch(&family);
        self.registry.state().families.insert(self.number, family);
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.registry.state().families.remove(&self.number);
    }
}

struct Guard {
    shell: Child,
}

impl Guard {
    fn start() -> io::Result<Guard> {
        let shell = Command::new("sh")
            .args(["-c", GUARD])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Guard { shell })
    }

    /// A guard that was killed by somebody cannot be told anything; the broker runs without one then.
    fn watch(&mut self, family: &Family) {
        if let Some(pipe) = &mut self.shell.stdin {
            let lines = family.targets().join("\n") + "\n";
            let _ = pipe.write_all(lines.as_bytes());
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // killed before the pipe ends: it must not kill anybody any more
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    fn sleeper() -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000 & wait"]).stdin(Stdio::null());
        command
    }

    #[test]
    fn all_are_killed_and_none_starts_afterwards() {
        let registry = Registry::new();
        let (mut child, _entry) = registry.spawn(&mut sleeper()).unwrap();
        let family = Family::new(child.id());
        assert!(family.is_alive());
        registry.kill_all();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        crate::launch::tests::wait_until("the sleeper is gone", || !family.is_alive());
        assert!(registry.spawn(&mut sleeper()).is_err());
    }

    #[test]
    fn the_guard_kills_when_its_pipe_ends() {
        let registry = Registry::new();
        let (mut child, mut entry) = registry.spawn(&mut sleeper()).unwrap();
        let family = Family::new(child.id());
        entry.guard.shell.stdin = None;
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        crate::launch::tests::wait_until("the sleeper is gone", || !family.is_alive());
    }

    #[test]
    fn a_dropped_entry_lets_its_family_live() {
        let registry = Registry::new();
        let (mut child, entry) = registry.spawn(&mut sleeper()).unwrap();
        drop(entry);
        registry.kill_all();
        assert_eq!(child.try_wait().unwrap(), None);
        Family::new(child.id()).signal(Signal::KILL);
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }
}
