//! The command line's tools, run as a person runs them: the binary with words, what it prints, and how it ends.

use std::io::Write;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::Broker;
use crate::broker::{binary, unique};

/// `ringlog WORDS --bootstrap ...`.
pub fn command(broker: &Broker, words: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(words).args(["--bootstrap", broker.bootstrap()]);
    command
}

/// Runs it to its end.
pub fn run(broker: &Broker, words: &[&str]) -> Output {
    run_with(broker, words, b"")
}

/// Runs it to its end with this on its standard input.
pub fn run_with(broker: &Broker, words: &[&str], stdin: &[u8]) -> Output {
    finish(&mut command(broker, words), stdin)
}

/// Starts it, hands it its input, and waits.
///
/// # Panics
/// When it does not start, or does not read.
pub fn finish(command: &mut Command, stdin: &[u8]) -> Output {
    let mut child = spawn(command);
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(stdin)
        .expect("it reads");
    child.wait_with_output().expect("it ends")
}

/// Starts it with pipes.
///
/// # Panics
/// When it does not start.
pub fn spawn(command: &mut Command) -> Child {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts")
}

/// Stdout of a command that must succeed.
///
/// # Panics
/// When it does not.
pub fn ok(output: Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{stderr}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

/// Stderr of a command that must end with this code.
///
/// # Panics
/// When it ends with another.
pub fn fails(output: Output, code: i32) -> String {
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    stderr
}

/// What a command with `--json` printed.
///
/// # Panics
/// When a line is no JSON.
pub fn json_lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

/// A new topic with a name of its own.
///
/// # Panics
/// When it cannot be made.
pub fn created(broker: &Broker, stem: &str, partitions: u32) -> String {
    let topic = unique(stem);
    ok(run(
        broker,
        &["topic", "create", &topic, "--partitions", &partitions.to_string()],
    ));
    topic
}
