//! Transactions: which producer writes under a transactional id, which partitions take part, and how it ends.
//!
//! ```text
//! request ─▶ Coordinator (one for each partition of __transaction_state) ─▶ records, replies, markers to be written
//! records ─▶ replay, when the partition is opened or comes from another core
//! markers written ─▶ completed ─▶ records
//! ```
//! A [`Coordinator`] is a pure state machine, as those of groups are: it knows no socket, disk or clock. Whoever runs it appends the
//! records of a [`Step`] in order, and does its outcomes, which are replies and orders for markers, once those are durable. State that
//! a restart must not lose is in the records, which are Kafka's own.

pub mod coordinator;
mod end;
mod expiry;
mod init;
mod listing;
mod partitions;
pub mod settings;
pub mod state;
pub mod step;
#[cfg(test)]
mod tests;
mod transaction;

pub use coordinator::Coordinator;
pub use listing::unknown_states;
pub use settings::TransactionSettings;
pub use step::{Caller, Ctx, Ending, Outcome, Step, TxnRequest, TxnResponse};
