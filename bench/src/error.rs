//! The crate's one error: a sentence for the person at the terminal, and the exit code it ends with.

use std::fmt;

/// Why a run could not be done, or did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Options that contradict each other or make no sense. Exit code 2.
    Usage(String),
    /// The broker cannot be reached, refuses, or the machine lacks something. Exit code 1.
    Failed(String),
}

impl Error {
    /// [`Error::Failed`] from a sentence.
    pub fn failed(what: impl Into<String>) -> Error {
        Error::Failed(what.into())
    }

    /// [`Error::Usage`] from a sentence.
    pub fn usage(what: impl Into<String>) -> Error {
        Error::Usage(what.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Usage(what) | Error::Failed(what) => out.write_str(what),
        }
    }
}

impl std::error::Error for Error {}
