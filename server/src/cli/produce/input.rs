//! Where records come from: stdin's lines, files, or the command line.

use std::fs;
use std::io::{self, BufRead, IsTerminal};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use ringlog_records::NewRecord;

use crate::cli::args::ProduceArgs;
use crate::cli::error::{CliError, CliResult};

/// Records read ahead of the network, at most.
const READ_AHEAD_RECORDS: usize = 1024;

/// Reads records on a thread of its own: a terminal may wait for minutes, and what has been typed must not.
pub(super) fn start(args: &ProduceArgs) -> Receiver<CliResult<NewRecord>> {
    let (to, records) = sync_channel(READ_AHEAD_RECORDS);
    let args = args.clone();
    // When the receiver is gone, the program is about to end: then so does the thread.
    thread::spawn(move || drop(read_all(&args, &to)));
    records
}

type To = SyncSender<CliResult<NewRecord>>;
type Gone = Result<(), std::sync::mpsc::SendError<CliResult<NewRecord>>>;

fn read_all(args: &ProduceArgs, to: &To) -> Gone {
    if args.tombstone {
        return to.send(Ok(record(args, args.key.clone().map(String::into_bytes), None)));
    }
    if args.value.is_empty() && args.files.is_empty() {
        return read_lines(args, to);
    }
    for value in &args.value {
        to.send(Ok(keyed(args, value.clone().into_bytes())))?;
    }
    for path in &args.files {
        let read = fs::read(path).map(|value| keyed(args, value));
        to.send(read.map_err(|error| CliError::refused(format!("cannot read {}: {error}", path.display()))))?;
    }
    Ok(())
}

fn read_lines(args: &ProduceArgs, to: &To) -> Gone {
    let mut stdin = io::stdin().lock();
    if stdin.is_terminal() {
        eprintln!("each line becomes a record of {}; Ctrl-D ends", args.topic);
    }
    let mut number = 0u64;
    loop {
        let mut line = Vec::new();
        number += 1;
        match stdin.read_until(b'\n', &mut line) {
            Ok(0) => return Ok(()),
            Ok(_) => to.send(line_record(args, strip_newline(line), number))?,
            Err(error) => return to.send(Err(CliError::refused(format!("cannot read stdin: {error}")))),
        }
    }
}

/// Without the newline, and without the carriage return of a file from Windows.
fn strip_newline(mut line: Vec<u8>) -> Vec<u8> {
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    line
}

fn line_record(args: &ProduceArgs, line: Vec<u8>, number: u64) -> CliResult<NewRecord> {
    let Some(separator) = args.key_separator.as_deref().filter(|text| !text.is_empty()) else {
        return Ok(keyed(args, line));
    };
    match find(&line, separator.as_bytes()) {
        Some(at) => {
            let value = line[at + separator.len()..].to_vec();
            Ok(record(args, Some(line[..at].to_vec()), Some(value)))
        }
        None => Err(CliError::refused(format!(
            "line {number} has no key separator {separator:?}"
        ))),
    }
}

fn find(line: &[u8], separator: &[u8]) -> Option<usize> {
    line.windows(separator.len())
        .position(|window| window == separator)
}

fn keyed(args: &ProduceArgs, value: Vec<u8>) -> NewRecord {
    record(args, args.key.clone().map(String::into_bytes), Some(value))
}

fn record(args: &ProduceArgs, key: Option<Vec<u8>>, value: Option<Vec<u8>>) -> NewRecord {
    let header = |pair: &crate::cli::values::HeaderPair| {
        (pair.key.clone(), pair.value.clone().map(String::into_bytes))
    };
    NewRecord {
        timestamp_ms: args.timestamp.unwrap_or_else(now_ms),
        key,
        value,
        headers: args.headers.iter().map(header).collect(),
    }
}

fn now_ms() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::{Cli, Command};

    fn args(options: &[&str]) -> ProduceArgs {
        let line = ["ringlog", "produce", "t"].iter().chain(options);
        match Cli::try_parse_from(line).expect("parses").command {
            Command::Produce(args) => args,
            _ => unreachable!("produce was asked for"),
        }
    }

    type OptionBytes = Option<Vec<u8>>;

    fn pair(options: &[&str], line: &[u8]) -> Option<(OptionBytes, OptionBytes)> {
        let record = line_record(&args(options), line.to_vec(), 1).ok()?;
        Some((record.key, record.value))
    }

    #[test]
    fn lines_split_at_the_first_separator() {
        let bytes = |text: &[u8]| Some(text.to_vec());
        assert_eq!(pair(&[], b"a:b"), Some((None, bytes(b"a:b"))));
        assert_eq!(pair(&["--key", "k"], b"v"), Some((bytes(b"k"), bytes(b"v"))));
        assert_eq!(
            pair(&["--key-separator", ":"], b"a:b:c"),
            Some((bytes(b"a"), bytes(b"b:c")))
        );
        assert_eq!(
            pair(&["--key-separator", "::"], b"a:b::"),
            Some((bytes(b"a:b"), bytes(b"")))
        );
        assert_eq!(pair(&["--key-separator", ":"], b"ab"), None);
    }

    #[test]
    fn a_line_ends_before_its_newline() {
        for (line, expected) in [
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a", "a"),
            ("a\r", "a\r"),
            ("\n", ""),
        ] {
            assert_eq!(strip_newline(line.as_bytes().to_vec()), expected.as_bytes());
        }
    }

    #[test]
    fn values_and_tombstones_come_from_the_command_line() {
        let all = |options: &[&str]| -> Vec<NewRecord> {
            start(&args(options))
                .iter()
                .map(|record| record.expect("record"))
                .collect()
        };
        let values = all(&[
            "--value",
            "a",
            "--value",
            "b",
            "-H",
            "h=1",
            "-H",
            "null",
            "--timestamp",
            "5",
        ]);
        assert_eq!(values.len(), 2);
        assert_eq!(
            values[1].headers,
            [("h".to_owned(), Some(b"1".to_vec())), ("null".to_owned(), None)]
        );
        assert_eq!(values[1].timestamp_ms, 5);
        let tombstone = all(&["--key", "k", "--tombstone"]);
        assert_eq!(
            (tombstone[0].key.as_deref(), tombstone[0].value.as_deref()),
            (Some(&b"k"[..]), None)
        );
    }
}
