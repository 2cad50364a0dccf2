//! One broker, from its start until nothing of it is left.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::error::Error;
use crate::launch::Launch;
use crate::launch::command::{file_name, fill};
use crate::launch::family::Family;
use crate::launch::ready;
use crate::launch::registry::{BROKERS, Entry};
use crate::measure::listener::{is_listening, listener_pid};

/// How long a broker may take until it answers.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// How long a broker may take from SIGTERM to its end.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// How long the kernel may take to clear away what was killed: memory, and sockets that a ring still held.
const GONE_LIMIT: Duration = Duration::from_secs(30);
/// Between two looks. Short, for the time to the first answer is one of the figures.
const PAUSE: Duration = Duration::from_millis(1);
/// How much of a broker's log goes into an error.
const LAST_LINES: usize = 10;
const LAST_BYTES: u64 = 2000;

/// A broker of ours that answers, or that was stopped and can be started again. Dropping it kills it.
pub struct Running {
    launch: Launch,
    directory: PathBuf,
    port: u16,
    log: PathBuf,
    ready_limit: Duration,
    ready_ms: f64,
    process: Option<Process>,
}

/// What there is while it runs.
struct Process {
    shell: Child,
    ended: Option<ExitStatus>,
    family: Family,
    pid: u32,
    log_start: u64,
    entry: Entry<'static>,
}

/// Starts a broker on `directory`, created when missing, and 127.0.0.1:`port`, and waits until it answers an ApiVersions request.
/// What it prints is appended to `<directory>/../<name>.log`.
///
/// # Errors
/// A sentence when the port is taken, the shell cannot be started, or the broker ends (with its last lines) or does not answer
/// within 120 s; then nothing of it is left running.
pub fn start(launch: &Launch, directory: &Path, port: u16) -> Result<Running, Error> {
    start_within(launch, directory, port, READY_LIMIT)
}

pub(super) fn start_within(
    launch: &Launch,
    directory: &Path,
    port: u16,
    ready_limit: Duration,
) -> Result<Running, Error> {
    let told = |error: io::Error| {
        let directory = directory.display();
        Error::failed(format!(
            "`{}` cannot be started in {directory}: {error}",
            launch.name
        ))
    };
    fs::create_dir_all(directory).map_err(told)?;
    let directory = directory.canonicalize().map_err(told)?;
    let beside = directory.parent().unwrap_or(&directory);
    let mut running = Running {
        launch: launch.clone(),
        port,
        log: beside.join(format!("{}.log", file_name(&launch.name))),
        ready_limit,
        ready_ms: 0.0,
        process: None,
        directory,
    };
    running.start_again()?;
    Ok(running)
}

impl Running {
    /// The process that listens on the port, which may be a child of the shell or have left its group. When the kernel does not
    /// tell (a container's), the largest process of the group. 0 when it was stopped or killed.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, |process| process.pid)
    }

    /// From the start of the shell to the first answer, in milliseconds; of the latest start. For a broker that formats its new
    /// directory, that is in the first start.
    pub fn ready_ms(&self) -> f64 {
        self.ready_ms
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// The command line with port and directory filled in.
    pub fn command_line(&self) -> String {
        fill(&self.launch.command, &self.directory, self.port)
    }

    /// Its directory, absolute.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file with all it printed.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Whether any process of it is alive.
    pub fn is_alive(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_alive)
    }

    /// The last lines it printed since its latest start.
    pub fn last_lines(&self) -> String {
        let from = self.process.as_ref().map_or(0, |process| process.log_start);
        last_lines(&self.log, from).unwrap_or_default()
    }

    /// Stops it with SIGTERM, and waits for its end. Nothing happens when it is gone already.
    ///
    /// # Errors
    /// A sentence when it had to be killed after 60 s.
    pub fn stop(&mut self) -> Result<(), Error> {
        self.stop_within(STOP_LIMIT)
    }

    pub(super) fn stop_within(&mut self, limit: Duration) -> Result<(), Error> {
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        process.family.signal(Signal::TERM);
        // a stopped one cannot hear the first
        process.family.signal(Signal::CONT);
        if wait(limit, || !process.is_alive()) {
            return self.kill();
        }
        self.kill()?;
        let (name, seconds) = (&self.launch.name, limit.as_secs());
        Err(Error::failed(format!(
            "`{name}` did not stop within {seconds} s of SIGTERM and was killed"
        )))
    }

    /// Kills it with SIGKILL, the listening process and its group, and waits until nothing of it is left and its port is free. Nothing
    /// happens when it is gone already.
    ///
    /// # Errors
    /// A sentence when the kernel still has it after 30 s.
    pub fn kill(&mut self) -> Result<(), Error> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        process.family.signal(Signal::KILL);
        let address = self.address();
        if wait(GONE_LIMIT, || !process.is_alive() && !is_listening(address)) {
            return Ok(());
        }
        let (name, seconds) = (&self.launch.name, GONE_LIMIT.as_secs());
        Err(Error::failed(format!(
            "`{name}` or its port {} is still there {seconds} s after SIGKILL",
            self.port
        )))
    }

    /// Starts it again on the same directory and port, once it was stopped or killed, or died by itself.
    ///
    /// # Errors
    /// As [`start`]; and when it is still alive.
    pub fn start_again(&mut self) -> Result<(), Error> {
        if self.is_alive() {
            return Err(Error::failed(format!(
                "`{}` is running already",
                self.launch.name
            )));
        }
        self.kill()?;
        if is_listening(self.address()) {
            let (name, port) = (&self.launch.name, self.port);
            return Err(Error::failed(format!(
                "`{name}` cannot be started: port {port} is taken"
            )));
        }
        let begun = Instant::now();
        self.process =
            Some(self.spawn().map_err(|error| {
                Error::failed(format!("`{}` cannot be started: {error}", self.launch.name))
            })?);
        if let Err(why) = self.wait_ready(begun) {
            let said = self.last_lines();
            let address = self.address();
            if let Some(process) = &mut self.process {
                process.find_listener(address);
            }
            self.kill()?;
            let colon = if said.is_empty() { "" } else { ":\n" };
            return Err(Error::failed(format!(
                "`{}` {why}{colon}{said}",
                self.launch.name
            )));
        }
        Ok(())
    }

    fn spawn(&self) -> io::Result<Process> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let log_start = log.metadata()?.len();
        let mut command = Command::new("sh");
        command
            .args(["-c", &self.command_line()])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let (shell, entry) = BROKERS.spawn(&mut command)?;
        Ok(Process {
            family: Family::new(shell.id()),
            pid: shell.id(),
            ended: None,
            shell,
            log_start,
            entry,
        })
    }

    /// Asks until there is an answer; else what went wrong.
    fn wait_ready(&mut self, begun: Instant) -> Result<(), String> {
        let (address, limit) = (self.address(), self.ready_limit);
        let Some(process) = &mut self.process else {
            return Err("was not started".to_owned());
        };
        while !ready::answers(address) {
            process.check_start(address)?;
            if begun.elapsed() >= limit {
                let seconds = limit.as_secs();
                return Err(format!(
                    "did not answer on port {} within {seconds} s",
                    address.port()
                ));
            }
            sleep(PAUSE);
        }
        self.ready_ms = begun.elapsed().as_secs_f64() * 1000.0;
        process.find_listener(address);
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

impl Process {
    /// What is wrong when the shell has ended and left nothing that could answer.
    fn check_start(&mut self, address: SocketAddr) -> Result<(), String> {
        self.reap();
        match self.ended {
            Some(status) if !status.success() || (!self.family.is_alive() && !is_listening(address)) => {
                Err(format!("ended before it answered ({status})"))
            }
            _ => Ok(()),
        }
    }

    fn find_listener(&mut self, address: SocketAddr) {
        if let Some(pid) = listener_pid(address) {
            self.family.adopt(pid);
            self.entry.update(self.family);
            self.pid = pid;
        } else if let Some(pid) = self.family.largest() {
            self.pid = pid;
        }
    }

    fn reap(&mut self) {
        if self.ended.is_none() {
            self.ended = self.shell.try_wait().ok().flatten();
        }
    }

    fn is_alive(&mut self) -> bool {
        self.reap();
        self.ended.is_none() || self.family.is_alive()
    }
}

/// Looks until it is so; false when the time is up.
fn wait(limit: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while !is_so() {
        if begun.elapsed() >= limit {
            return false;
        }
        sleep(PAUSE);
    }
    true
}

fn last_lines(log: &Path, from: u64) -> io::Result<String> {
    let mut file = File::open(log)?;
    let end = file.metadata()?.len();
    file.seek(SeekFrom::Start(from.max(end.saturating_sub(LAST_BYTES))))?;
    let mut bytes = Vec::new();
    file.take(LAST_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.trim().lines().collect();
    Ok(lines[lines.len().saturating_sub(LAST_LINES)..].join("\n"))
}
