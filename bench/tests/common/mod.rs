//! The built tool against a broker in this process: start it, read its report back.

#![allow(dead_code, reason = "each test program uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ringlog_bench::report::model::{LedgerResult, Report, Step};
use ringlog_bench::report::read_json;
use ringlog_bench::sink::{Fault, Keep, Sink, SinkConfig};
use tempfile::TempDir;

/// Long enough for anything that works, on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Runs at a time: most of a short run is waiting.
const AT_ONCE: usize = 3;

/// A broker in memory that gets `fault` wrong.
pub fn broker(fault: Option<Fault>) -> Sink {
    sink(Keep::Everything, fault)
}

/// A listener that keeps what `keep` says.
fn sink(keep: Keep, fault: Option<Fault>) -> Sink {
    let config = SinkConfig {
        threads: 1,
        keep,
        fault,
    };
    Sink::start(config).expect("a sink")
}

/// A directory of the test's own, in memory where that can be: there the disk's floor is refused at once, and not measured for
/// seconds in every test.
pub fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a directory")
}

/// The tool with `line` as its arguments.
pub fn tool(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringlog-bench"));
    command
        .args(line.split_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A run that is over.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// What `--json` brought, if it was written.
    pub report: Option<Report>,
    pub took: Duration,
}

impl Ended {
    pub fn new(output: Output, json: &Path, begun: Instant) -> Ended {
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("text"),
            stderr: String::from_utf8(output.stderr).expect("text"),
            report: json.exists().then(|| read_json(json).expect("a report")),
            took: begun.elapsed(),
        }
    }

    /// The report, which must be there.
    pub fn report(&self) -> &Report {
        self.report
            .as_ref()
            .unwrap_or_else(|| panic!("no report: {self}"))
    }

    /// The last step of the only side.
    pub fn step(&self) -> &Step {
        let [side] = &self.report().sides[..] else {
            panic!("one side: {self}")
        };
        side.runs[0].steps.last().expect("a step")
    }

    pub fn ledger(&self) -> &LedgerResult {
        self.step().ledger.as_ref().expect("a ledger")
    }

    /// Fails unless the run ended well and the ledger found every acknowledged record, of which there must be some.
    pub fn passed(&self) -> &Ended {
        let ledger = self.ledger();
        let all = ledger.passed && ledger.checked && ledger.acknowledged == ledger.verified + ledger.lost;
        assert!(self.code == Some(0) && all && ledger.verified > 0, "{self}");
        self
    }

    /// Fails unless the exit code is 1 and a failed ledger is the first thing said.
    pub fn failed(&self) -> &Ended {
        let first = self.stdout.lines().next().unwrap_or_default();
        let said = first.starts_with("LEDGER FAILED");
        assert!(self.code == Some(1) && said && !self.ledger().passed, "{self}");
        self
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ledger = self.report.as_ref().map(|report| {
            let steps = report.sides.iter().flat_map(|side| &side.runs);
            steps
                .flat_map(|run| &run.steps)
                .map(|step| &step.ledger)
                .collect::<Vec<_>>()
        });
        write!(
            out,
            "exit code {:?} after {:?}\n{}\n{}\n{ledger:#?}",
            self.code, self.took, self.stdout, self.stderr
        )
    }
}

/// The arguments that every run here has: short, quiet, in a directory of its own.
pub fn arguments(folder: &Path, json: &Path) -> String {
    format!(
        " --pid none --quiet --dir {} --json {}",
        folder.display(),
        json.display()
    )
}

/// Runs `line` to its end.
pub fn run(line: &str) -> Ended {
    let folder = directory();
    let json = folder.path().join("report.json");
    let begun = Instant::now();
    let line = format!("{line}{}", arguments(folder.path(), &json));
    let output = tool(&line).output().expect("the tool starts");
    Ended::new(output, &json, begun)
}

/// Runs a scenario against `broker` for a second, or as long as `line` says.
pub fn against(broker: &Sink, line: &str) -> Ended {
    let mut line = format!("{line} --bootstrap {}", broker.address());
    for (flag, default) in [("seconds", 0.8), ("warmup-seconds", 0.1), ("drain-seconds", 2.0)] {
        // catching up ends with its work
        let has_meaning = flag == "drain-seconds" || !line.starts_with("consume");
        if has_meaning && !line.contains(&format!("--{flag} ")) {
            line += &format!(" --{flag} {default}");
        }
    }
    run(&line)
}

/// Does `work` for each case, a few at a time. A case that fails is named.
pub fn each<T: Sync + std::fmt::Debug>(cases: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(case)));
                    assert!(done.is_ok(), "{case:?}");
                }
            });
        }
    });
}

/// Waits for a condition another thread or process brings about.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A file in `folder` with `text`.
pub fn file(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("written");
    path
}

/// Far less than what waiting for an answer may take.
pub const QUICK: Duration = Duration::from_secs(20);

/// One sentence on standard error, nothing on standard output, no report.
pub fn one_sentence(ended: &Ended, code: i32, part: &str) {
    let lines: Vec<&str> = ended.stderr.lines().collect();
    let told = matches!(&lines[..], [line] if line.starts_with("ringlog-bench: ") && line.contains(part));
    assert!(
        told && ended.code == Some(code) && ended.stdout.is_empty(),
        "{part}: {ended}"
    );
    assert!(ended.report.is_none() && ended.took < QUICK, "{ended}");
}
