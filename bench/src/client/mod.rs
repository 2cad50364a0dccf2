//! The client: connections that speak Kafka's protocol over tokio-uring, and the few administrative calls a benchmark needs.
//!
//! Versions are negotiated with each broker. Topics are named, not identified (Produce and Fetch up to version 12), which every
//! broker in use understands.

pub mod admin;
pub mod configs;
pub mod connection;
pub mod cores;
pub mod facts;
pub mod groups;
pub mod log_dirs;
pub mod topic;
pub mod transactions;

pub use connection::{Connection, Versions};
pub use topic::{PartitionLeader, Topic};
