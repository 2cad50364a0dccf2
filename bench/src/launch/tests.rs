//! Brokers that are this very test program: it listens and answers when the environment says so.

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::ready::tests::{right_answer, serve_one};
use super::running::start_within;
use super::*;
use crate::measure::listener_pid;

/// Names the port to listen on, in the environment of a test program that is to be a broker.
const ROLE: &str = "RINGLOG_BENCH_TEST_BROKER_PORT";
const LIMIT: Duration = Duration::from_secs(20);

/// Waits for a condition another process brings about.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LIMIT, "{what}");
        std::thread::yield_now();
    }
}

/// No test by itself: where the environment says so, this process is a broker until it is killed.
#[test]
fn broker() {
    let Some(port) = std::env::var(ROLE).ok().and_then(|port| port.parse::<u16>().ok()) else {
        return;
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    loop {
        let _ = serve_one(&listener, right_answer);
    }
}

fn broker_command(around: &str) -> String {
    let program = command::quote(&std::env::current_exe().unwrap().to_string_lossy());
    let broker = format!("{program} --exact launch::tests::broker --nocapture --test-threads 1");
    format!("export {ROLE}={{port}}; {}", around.replace("BROKER", &broker))
}

fn launch(command: &str) -> Launch {
    Launch {
        name: "test broker".into(),
        command: command.into(),
    }
}

fn start_here(folder: &tempfile::TempDir, command: &str) -> Result<Running, crate::error::Error> {
    let port = free_port()?;
    start_within(&launch(command), &folder.path().join("data"), port, LIMIT)
}

fn failure(command: &str, limit: Duration) -> String {
    let folder = tempfile::tempdir().unwrap();
    let started = start_within(
        &launch(command),
        &folder.path().join("d"),
        free_port().unwrap(),
        limit,
    );
    started.err().unwrap().to_string()
}

fn is_there(pid: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    crate::measure::proc::parse_stat(&state).is_some_and(|stat| !stat.has_ended())
}

#[test]
fn starts_is_killed_and_starts_again() {
    let folder = tempfile::tempdir().unwrap();
    // the broker is the shell's child here, the shell waits for it
    let mut running = start_here(&folder, &broker_command("echo in {dir}; BROKER; exit 1")).unwrap();
    let first = running.pid();
    assert_eq!(listener_pid(running.address()), Some(first));
    assert!(running.ready_ms() > 0.0 && running.is_alive() && is_there(first));
    assert!(running.last_lines().contains("/data"), "{}", running.last_lines());
    assert_eq!(
        running.log(),
        folder.path().canonicalize().unwrap().join("test-broker.log")
    );
    let again = running.start_again().unwrap_err().to_string();
    assert_eq!(again, "`test broker` is running already");

    running.kill().unwrap();
    assert!(!running.is_alive() && !is_there(first));
    assert_eq!(running.pid(), 0);
    running.start_again().unwrap();
    let second = running.pid();
    assert!(second != first && is_there(second));

    running.stop().unwrap();
    assert!(!is_there(second));
    running.start_again().unwrap();
    let third = running.pid();
    drop(running);
    assert!(!is_there(third), "dropped");
}

#[test]
fn a_broker_that_leaves_the_group_is_found_and_killed() {
    let folder = tempfile::tempdir().unwrap();
    let until_it_listens = "until grep -q \":$(printf %04X {port}) .* 0A \" /proc/net/tcp; do :; done";
    let command = broker_command(&format!("setsid BROKER & {until_it_listens}; exit 0"));
    let mut running = start_here(&folder, &command).unwrap();
    let pid = running.pid();
    assert!(is_there(pid) && running.is_alive());
    running.kill().unwrap();
    assert!(!is_there(pid));
}

#[test]
fn one_that_died_is_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = start_here(&folder, &broker_command("exec BROKER")).unwrap();
    let pid = Pid::from_raw(running.pid() as i32).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    wait_until("it is gone", || !running.is_alive());
    assert!(test_kill_process(pid).is_err(), "reaped");
    running.start_again().unwrap();
    assert!(running.is_alive());
}

#[test]
fn one_that_hears_no_sigterm_is_killed_and_a_stopped_one_hears_it() {
    let folder = tempfile::tempdir().unwrap();
    let deaf = broker_command("trap '' TERM; BROKER; exit 1");
    let mut running = start_here(&folder, &deaf).unwrap();
    let pid = running.pid();
    let error = running.stop_within(Duration::from_millis(100)).unwrap_err();
    assert!(error.to_string().contains("did not stop within"), "{error}");
    assert!(!is_there(pid));

    let mut running = start_here(&folder, &broker_command("exec BROKER")).unwrap();
    kill_process(Pid::from_raw(running.pid() as i32).unwrap(), Signal::STOP).unwrap();
    running.stop_within(LIMIT).unwrap();
}

#[test]
fn one_that_ends_early_is_quoted() {
    let error = failure("echo first; echo the reason >&2; exit 3", LIMIT);
    assert!(
        error.contains("`test broker` ended before it answered (exit status: 3)"),
        "{error}"
    );
    assert!(error.ends_with("first\nthe reason"), "{error}");
    let error = failure("no-such-program --port {port}", LIMIT);
    assert!(
        error.contains("no-such-program") && error.contains("not found"),
        "{error}"
    );
    assert!(failure("exit 0", LIMIT).contains("ended before it answered"));
    assert!(failure("kill -9 $$", LIMIT).contains("signal: 9"));
    let long = failure("seq 1000 >&2; exit 1", LIMIT);
    assert!(
        long.ends_with("\n1000") && long.lines().count() == 1 + 10,
        "{long}"
    );
}

#[test]
fn one_that_never_answers_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pids");
    let command = format!(
        "sleep 1000 & echo $! > {}; wait",
        command::quote(&file.to_string_lossy())
    );
    let error = failure(&command, Duration::from_secs(1));
    assert!(error.contains("did not answer on port"), "{error}");
    let sleeper = std::fs::read_to_string(file).unwrap().trim().parse().unwrap();
    assert!(!is_there(sleeper));
}

#[test]
fn a_taken_port_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let error = start(&launch("exit 1"), &folder.path().join("d"), port)
        .err()
        .unwrap();
    assert!(
        error.to_string().ends_with(&format!("port {port} is taken")),
        "{error}"
    );
}

#[test]
fn a_directory_that_cannot_be_made_is_said() {
    let error = start(&launch("exit 1"), std::path::Path::new("/proc/x/y"), 1)
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("cannot be started in /proc/x/y"),
        "{error}"
    );
}
