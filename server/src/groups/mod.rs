//! Consumer groups: who is in a group, what each member reads, and how far the group has read.
//!
//! ```text
//! request ─▶ Coordinator (one for each partition of __consumer_offsets) ─▶ records, replies
//! records ─▶ replay, when the partition is opened or comes from another core
//! markers ─▶ end_transaction, when one is appended, and among the records that are replayed
//! ```
//! A [`Coordinator`] is a pure state machine: it knows no socket, disk or clock. Whoever runs it appends the records of a [`Step`] in
//! order, sends its replies once those are durable, and calls [`Coordinator::expire`] when [`Coordinator::deadline`] has come.
//! All state that a restart must not lose is in the records, which are Kafka's own.

pub mod assignor;
pub mod classic;
pub mod consumer;
mod consumers;
pub mod coordinator;
pub mod group;
mod listing;
mod members;
pub mod offsets;
pub mod rebalances;
pub mod refusal;
pub mod settings;
pub mod step;
#[cfg(test)]
mod tests;
pub mod timers;
pub mod work;

pub use coordinator::Coordinator;
pub use rebalances::Rebalance;
pub use settings::GroupSettings;
pub use step::{Caller, Ctx, GroupRequest, GroupResponse, Step};
