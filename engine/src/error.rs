//! The engine's one error type. Every variant that comes from the system carries the path and the system's own error.

use std::path::{Path, PathBuf};

/// What can go wrong below the server. Errors of single appends and reads have types of their own
/// ([`crate::shard::AppendError`], [`crate::shard::ReadError`]); these are the ones that stop an operation on files.
#[derive(Debug)]
pub enum Error {
    /// The system refused an operation on a file or folder.
    Io {
        /// What was tried: "open", "write", "sync", …
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// One of our own files was written by a newer version of this program: nothing was changed.
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its version marker.
        found: u16,
        /// The newest version this program reads.
        supported: u16,
    },
    /// A file does not hold what its format promises, and guessing would risk data.
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where and what.
        detail: String,
    },
}

impl Error {
    /// An [`Error::Io`] in the making: `map_err(Error::io("open", &path))`.
    pub fn io(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_path_buf();
        move |source| Error::Io {
            operation,
            path,
            source,
        }
    }

    /// Whether the cause is a full disk (or quota), which passes without a restart.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Error::Io { source, .. } if is_disk_full(source))
    }
}

/// Whether the system's error says that the disk or the quota is full.
pub fn is_disk_full(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::StorageFull
            | std::io::ErrorKind::QuotaExceeded
            | std::io::ErrorKind::FileTooLarge
    )
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Io {
                operation,
                path,
                source,
            } => write!(f, "cannot {operation} {}: {source}", path.display()),
            Error::NewerFormat {
                path,
                found,
                supported,
            } => write!(
                f,
                "{} has format version {found}, this program knows versions up to {supported}: \
                 start the newer version that wrote it and stop that one cleanly",
                path.display()
            ),
            Error::Corrupt { path, detail } => write!(f, "{} is damaged: {detail}", path.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
