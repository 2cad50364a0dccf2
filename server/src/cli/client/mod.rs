//! A small blocking Kafka client: finds brokers and leaders, asks, asks again within a bound.
//!
//! It does one thing at a time and keeps one connection for each broker. Nothing waits without a deadline.

mod answer;
mod backoff;
mod cluster;
mod connection;
mod coordinator;
mod error;
mod offsets;

pub use answer::{describe, is_retriable, no_such_partition, unknown_topic};
pub use backoff::Backoff;
pub use cluster::{Client, Topic, with_port};
pub use connection::{Connection, Pending};
pub use coordinator::{GroupAnswer, GroupQuestion, GroupRefusal, Outcome};
pub use error::CallError;
pub use offsets::{EARLIEST, LATEST, Listed};

#[cfg(test)]
mod coordinator_tests;
#[cfg(test)]
mod tests;
