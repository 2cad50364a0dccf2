//! What can go wrong in a command, in sentences a person can act on, and the exit code of each.

use std::fmt::{self, Display};
use std::io;
use std::process::ExitCode;

use ringlog_records::RecordError;

/// A command's failure. The message is complete: it says what was tried and, where there is one, what to do.
#[derive(Debug)]
pub enum CliError {
    /// The broker or a file said no: exit code 1.
    Refused(String),
    /// The command line asks for something impossible: exit code 2, as clap's own.
    Usage(String),
    /// No broker reached, or no answer in time: exit code 3.
    Unreachable(String),
    /// Whoever reads our output went away (`| head`): not an error.
    OutputClosed,
}

/// What a command returns.
pub type CliResult<T> = Result<T, CliError>;

impl CliError {
    /// The process' exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::OutputClosed => 0,
            Self::Refused(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
        }
    }

    /// A refusal from anything that has a message.
    pub fn refused(message: impl Display) -> Self {
        Self::Refused(message.to_string())
    }

    /// An error of writing to stdout.
    pub fn output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Refused(format!("cannot write to stdout: {error}")),
        }
    }
}

impl Display for CliError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(message) | Self::Usage(message) | Self::Unreachable(message) => {
                out.write_str(message)
            }
            Self::OutputClosed => out.write_str("the reader of the output has gone"),
        }
    }
}

impl std::error::Error for CliError {}

/// Prints the error, if any, to stderr, and gives the exit code.
pub fn finish(result: CliResult<()>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    if !matches!(error, CliError::OutputClosed) {
        eprintln!("ringlog: {error}");
    }
    ExitCode::from(error.exit_code())
}

/// Why a batch cannot be read, and which flag would let it.
pub(super) fn unreadable(error: &RecordError) -> String {
    match error {
        RecordError::TooLarge { .. } => format!("{error} (the limit: --max-unpacked-bytes)"),
        _ => error.to_string(),
    }
}
