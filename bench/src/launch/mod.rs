//! Brokers as processes of ours: started from a command line, waited for, stopped, killed, started again.

pub mod command;
pub mod family;
pub mod kafka;
mod neighbours;
pub mod port;
pub mod ready;
pub mod registry;
pub mod ringlog;
mod running;
#[cfg(test)]
mod tests;

pub use kafka::kafka_command;
pub use neighbours::Neighbours;
pub use port::free_port;
pub use registry::kill_all;
pub use ringlog::ringlog_command;
pub use running::{Running, start};

/// A broker that can be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// What it is called in reports; its log is called after it.
    pub name: String,
    /// A command line for `sh -c`, with `{port}` and `{dir}` where the port and the directory go (do not quote `{dir}`). It should
    /// stay in the foreground. One that returns is understood when it returns 0 and either its broker listens by then, or is
    /// in the process group still.
    pub command: String,
}
