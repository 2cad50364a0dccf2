//! The process under test: builds the binary once, starts it on a free port, reads its ready line, ends it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long a start may take before the test fails.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How long a clean stop may take before the test fails.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// Names a broker that runs already, `HOST:PORT`.
const BOOTSTRAP_VARIABLE: &str = "RINGLOG_TEST_BOOTSTRAP";
/// Names a binary to test instead of the one cargo builds.
const BINARY_VARIABLE: &str = "RINGLOG_TEST_BINARY";

/// Where the binary `ringlog` of this workspace is, in the profile the tests were built with. Built when missing or old.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| std::env::var_os(BINARY_VARIABLE).map_or_else(build, PathBuf::from))
}

/// Builds the binary beside the running test (`<target>/<profile>/deps/<test>`).
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("the path of the running test");
    let folder = test
        .ancestors()
        .nth(2)
        .expect("<target>/<profile>/deps/<test>")
        .to_path_buf();
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let target = folder.parent().expect("the target directory");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "build",
            "--quiet",
            "--workspace",
            "--bin",
            "ringlog",
            "--profile",
            profile,
            "--target-dir",
        ])
        .arg(target)
        .current_dir(
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .parent()
                .expect("the workspace"),
        )
        .status()
        .expect("cargo starts");
    assert!(status.success(), "cargo build --bin ringlog: {status}");
    folder.join("ringlog")
}

/// The broker named by `RINGLOG_TEST_BOOTSTRAP`, if any.
pub fn external() -> Option<String> {
    std::env::var(BOOTSTRAP_VARIABLE).ok()
}

/// A name no other test uses, also not in an earlier run against the same broker.
pub fn unique(stem: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let clock = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("a clock after 1970");
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{stem}-{:x}-{:x}-{number}", clock.as_millis(), std::process::id())
}

/// How to start a broker.
#[derive(Debug)]
pub struct Builder {
    settings: Vec<(String, String)>,
    cores: Option<usize>,
    data: Option<PathBuf>,
    wrapper: Vec<String>,
    same_port: bool,
}

impl Builder {
    fn new() -> Builder {
        Builder {
            settings: Vec::new(),
            cores: None,
            data: None,
            wrapper: Vec::new(),
            same_port: false,
        }
    }

    /// `--set key=value`.
    pub fn set(mut self, key: &str, value: impl ToString) -> Builder {
        self.settings.push((key.to_owned(), value.to_string()));
        self
    }

    /// `--cores n`.
    pub fn cores(mut self, cores: usize) -> Builder {
        self.cores = Some(cores);
        self
    }

    /// A data directory that exists already. It is not removed afterwards.
    pub fn data(mut self, directory: &Path) -> Builder {
        self.data = Some(directory.to_path_buf());
        self
    }

    /// A command to put before the binary, which must end by executing what follows it.
    pub fn wrapper(mut self, words: &[&str]) -> Builder {
        self.wrapper = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Later starts listen on the port the first one found, so that clients find the broker again.
    pub fn same_port(mut self) -> Builder {
        self.same_port = true;
        self
    }

    /// Starts a broker of the test's own; `None`, with a printed line, when the tests run against a broker
    /// that somebody else started.
    ///
    /// # Panics
    /// When the broker does not become ready.
    pub fn start(self) -> Option<Broker> {
        if external().is_some() {
            println!("skipped: needs a broker of its own, and {BOOTSTRAP_VARIABLE} names another");
            return None;
        }
        match self.try_start() {
            Ok(broker) => Some(broker),
            Err(failure) => panic!("the broker did not become ready: {failure}"),
        }
    }

    /// Starts a broker, or gives the one `RINGLOG_TEST_BOOTSTRAP` names, whose settings are what they are.
    pub fn or_external(self) -> Broker {
        let Some(bootstrap) = external() else {
            return self.start().expect("no other broker is named");
        };
        Broker {
            settings: Vec::new(),
            cores: None,
            wrapper: Vec::new(),
            same_port: false,
            data: PathBuf::new(),
            logs: TempDir::new().expect("a temporary directory"),
            starts: 0,
            running: None,
            bootstrap,
            _temporary: None,
        }
    }

    /// Starts a broker that is expected to refuse: `Err` says how it ended.
    pub fn try_start(self) -> Result<Broker, Failure> {
        let temporary = self
            .data
            .is_none()
            .then(|| TempDir::new().expect("a temporary directory"));
        let data = self.data.clone().unwrap_or_else(|| {
            temporary
                .as_ref()
                .map(|directory| directory.path().join("data"))
                .expect("one of the two")
        });
        let logs = TempDir::new().expect("a temporary directory");
        let mut broker = Broker {
            settings: self.settings,
            cores: self.cores,
            wrapper: self.wrapper,
            same_port: self.same_port,
            data,
            logs,
            starts: 0,
            running: None,
            bootstrap: String::new(),
            _temporary: temporary,
        };
        broker.try_restart()?;
        Ok(broker)
    }
}

/// Why a broker did not become ready.
#[derive(Debug)]
pub struct Failure {
    /// How the process ended; `None` when it hung and was killed.
    pub status: Option<ExitStatus>,
    /// All it wrote to standard error.
    pub stderr: String,
    /// All it wrote to standard output.
    pub stdout: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "status {:?}\nstdout:\n{}\nstderr:\n{}",
            self.status, self.stdout, self.stderr
        )
    }
}

/// A broker process, or one that somebody else started. Dropping it kills the process it started.
#[derive(Debug)]
pub struct Broker {
    settings: Vec<(String, String)>,
    cores: Option<usize>,
    wrapper: Vec<String>,
    same_port: bool,
    data: PathBuf,
    logs: TempDir,
    starts: u32,
    running: Option<Running>,
    bootstrap: String,
    _temporary: Option<TempDir>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    ready: BTreeMap<String, String>,
    lines: Mutex<Receiver<String>>,
}

impl Broker {
    /// A fresh broker with default settings, or the one `RINGLOG_TEST_BOOTSTRAP` names.
    pub fn any() -> Broker {
        Builder::new().or_external()
    }

    /// A broker of the test's own, for tests that change its settings, stop it, or look into its directory.
    pub fn own() -> Builder {
        Builder::new()
    }

    /// `127.0.0.1:PORT`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The folder of one partition.
    pub fn partition_folder(&self, topic: &str, partition: i32) -> PathBuf {
        self.data.join(format!("{topic}-{partition}"))
    }

    /// A field of the ready line: `listener`, `cores`, `partitions`, ...
    pub fn ready(&self, field: &str) -> Option<&str> {
        self.running.as_ref()?.ready.get(field).map(String::as_str)
    }

    /// The process id.
    ///
    /// # Panics
    /// When no process of this test runs.
    pub fn pid(&self) -> u32 {
        self.running.as_ref().expect("a running broker").child.id()
    }

    /// Changes a setting for the next start.
    pub fn set(&mut self, key: &str, value: impl ToString) {
        self.settings.retain(|(other, _)| other != key);
        self.settings.push((key.to_owned(), value.to_string()));
    }

    /// Changes the number of cores for the next start.
    pub fn set_cores(&mut self, cores: usize) {
        self.cores = Some(cores);
    }

    /// Starts the process again on the same directory, on a new port.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn restart(&mut self) {
        if let Err(failure) = self.try_restart() {
            panic!("the broker did not start again: {failure}");
        }
    }

    /// Starts the process again; `Err` says how it ended instead.
    pub fn try_restart(&mut self) -> Result<(), Failure> {
        assert!(self.running.is_none(), "stop or kill it first");
        self.starts += 1;
        let stderr_path = self.stderr_path();
        let stderr = File::create(&stderr_path).expect("a file for standard error");
        let mut child = self
            .command()
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("the binary starts");
        let lines = read_lines(&mut child);
        let mut stdout = String::new();
        let deadline = Instant::now() + START_PATIENCE;
        let fields = loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(fields) = ready_fields(&line) {
                        break fields;
                    }
                    stdout.push_str(&line);
                    stdout.push('\n');
                }
                Err(why) => {
                    let status = match why {
                        RecvTimeoutError::Timeout => None,
                        RecvTimeoutError::Disconnected => wait(&mut child, STOP_PATIENCE),
                    };
                    end(&mut child);
                    let stderr = std::fs::read_to_string(stderr_path).unwrap_or_default();
                    return Err(Failure {
                        status,
                        stderr,
                        stdout,
                    });
                }
            }
        };
        self.bootstrap = fields.get("listener").expect("ready names its listener").clone();
        self.running = Some(Running {
            child,
            ready: fields,
            lines: Mutex::new(lines),
        });
        Ok(())
    }

    /// Starts the process and kills it after this time, ready or not.
    pub fn start_and_kill(&mut self, after: Duration) {
        assert!(self.running.is_none(), "stop or kill it first");
        self.starts += 1;
        let stderr = File::create(self.stderr_path()).expect("a file for standard error");
        let mut child = self
            .command()
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .expect("the binary starts");
        assert!(
            wait(&mut child, after).is_none(),
            "it ended by itself:\n{}",
            self.log()
        );
        end(&mut child);
    }

    fn command(&self) -> Command {
        let mut words: Vec<std::ffi::OsString> = self.wrapper.iter().map(Into::into).collect();
        words.push(binary().into());
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .arg("serve")
            .arg("--data-dir")
            .arg(&self.data);
        let again = self.same_port && !self.bootstrap.is_empty();
        command.args(["--listen", if again { &self.bootstrap } else { "127.0.0.1:0" }]);
        if let Some(cores) = self.cores {
            command.args(["--cores", &cores.to_string()]);
        }
        for (key, value) in &self.settings {
            command.args(["--set", &format!("{key}={value}")]);
        }
        command.stdin(Stdio::null());
        command
    }

    fn stderr_path(&self) -> PathBuf {
        self.logs.path().join(format!("stderr-{}", self.starts))
    }

    /// What the present (or last) process wrote to standard error so far: its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.stderr_path()).unwrap_or_default()
    }

    /// Waits until the log holds the text.
    pub fn wait_for_log(&self, text: &str) -> String {
        crate::wait_for(&format!("the log says {text:?}"), crate::PATIENCE, || {
            Some(self.log()).filter(|log| log.contains(text))
        })
    }

    /// SIGTERM, and waits for exit code 0.
    ///
    /// # Panics
    /// When it ends otherwise, or not at all.
    pub fn stop(&mut self) {
        let status = self.terminate(Signal::TERM);
        assert!(
            status.success(),
            "a clean stop ended with {status}\n{}",
            self.log()
        );
    }

    /// Sends the signal and waits for the end.
    pub fn terminate(&mut self, signal: Signal) -> ExitStatus {
        let mut running = self.running.take().expect("a running broker");
        send(&running.child, signal);
        let Some(status) = wait(&mut running.child, STOP_PATIENCE) else {
            end(&mut running.child);
            panic!("the broker did not stop within {STOP_PATIENCE:?}\n{}", self.log());
        };
        status
    }

    /// SIGKILL: the process gets no chance to write anything more.
    pub fn kill(&mut self) {
        let mut running = self.running.take().expect("a running broker");
        end(&mut running.child);
    }

    /// Sends a signal and does not wait.
    pub fn signal(&self, signal: Signal) {
        send(&self.running.as_ref().expect("a running broker").child, signal);
    }

    /// Whether the process still runs.
    pub fn alive(&mut self) -> bool {
        self.running
            .as_mut()
            .is_some_and(|running| matches!(running.child.try_wait(), Ok(None)))
    }

    /// Further lines on standard output since the ready line.
    pub fn stdout(&self) -> Vec<String> {
        let Some(running) = &self.running else {
            return Vec::new();
        };
        running
            .lines
            .lock()
            .expect("no panic while held")
            .try_iter()
            .collect()
    }

    /// A line of `/proc/<pid>/status` in bytes: `VmRSS`, `VmHWM`, ...; `None` for a broker not ours.
    pub fn memory(&self, field: &str) -> Option<u64> {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.running.as_ref()?.child.id())).ok()?;
        let line = status
            .lines()
            .find(|line| line.split(':').next() == Some(field))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    }

    /// CPU time the process used since it started, user and system; `None` for a broker not ours.
    pub fn cpu(&self) -> Option<Duration> {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.running.as_ref()?.child.id())).ok()?;
        let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
        let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        // USER_HZ is 100 on every architecture Linux runs on.
        Some(Duration::from_millis(ticks * 10))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            end(&mut running.child);
        }
        if std::thread::panicking() && self.starts > 0 {
            println!("--- the broker's log ---\n{}", self.log());
        }
    }
}

/// `ready key=value key=value ...`
fn ready_fields(line: &str) -> Option<BTreeMap<String, String>> {
    let rest = line.strip_prefix("ready")?;
    let pairs = rest.split_whitespace().filter_map(|word| word.split_once('='));
    Some(
        pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
    )
}

/// A thread that reads standard output, so that a deadline can be kept. It ends with the process.
fn read_lines(child: &mut Child) -> Receiver<String> {
    let stdout = child.stdout.take().expect("standard output is a pipe");
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn send(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .expect("a process id");
    kill_process(pid, signal).expect("the signal is sent");
}

fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait().expect("the process can be waited for") {
            return Some(status);
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
