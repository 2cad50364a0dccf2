//! Why a call to a broker failed, and which answers are worth asking again for.

use std::fmt::{self, Display};

use crate::cli::error::CliError;

/// A call that brought no answer to act on. The broker's own errors are in its answers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // `address` is host:port, `why` the rest of the sentence
pub enum CallError {
    /// No connection.
    Connect { address: String, why: String },
    /// The connection broke; whether the request was carried out is not known.
    Lost { address: String, why: String },
    /// Nothing in time.
    Timeout { address: String },
    /// The other side does not speak Kafka's protocol, or not as it says.
    Protocol { address: String, why: String },
    /// No version of a request that both sides know.
    Version {
        address: String,
        api: &'static str,
        why: String,
    },
}

impl CallError {
    /// Whether the same call may succeed later, or at another broker.
    pub fn is_retriable(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. } | Self::Lost { .. } | Self::Timeout { .. }
        )
    }
}

impl Display for CallError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { address, why } => write!(out, "cannot connect to {address}: {why}"),
            Self::Lost { address, why } => write!(out, "lost the connection to {address}: {why}"),
            Self::Timeout { address } => write!(out, "no answer in time from {address} (see --timeout)"),
            Self::Protocol { address, why } => {
                write!(out, "{address} does not answer as a Kafka broker does: {why}")
            }
            Self::Version { address, api, why } => {
                write!(out, "cannot use {api}: the broker at {address} {why}")
            }
        }
    }
}

impl std::error::Error for CallError {}

impl From<CallError> for CliError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Version { .. } => Self::Refused(error.to_string()),
            _ => Self::Unreachable(error.to_string()),
        }
    }
}
