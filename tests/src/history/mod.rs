//! What transactional clients did and saw, and whether exactly-once allows it.
//!
//! [`record`] is the history: transactions with their writes and reads, polls of readers, and what is in each partition in the end.
//! [`check()`] judges it without a clock, a broker or randomness, and names each [`Anomaly`] it finds, after Adya's G0 to G1c and after
//! what Jepsen's workload for Kafka looks for. [`run`] makes histories with librdkafka.

pub mod anomaly;
pub mod check;
pub mod cycles;
pub mod record;
pub mod run;
#[cfg(test)]
mod tests;

pub use anomaly::Anomaly;
pub use check::check;
pub use record::{History, Outcome, Poll, Read, Transaction, Write};
