//! The command line's tools: a small Kafka client, and a reader of a data directory's files.
//!
//! Everything here is blocking and single-threaded, and knows only Kafka's protocol and formats: it works with
//! any Kafka broker. The broker itself uses nothing of it but [`args`].

pub mod args;
mod client;
pub mod consume;
pub mod cores;
pub mod dump;
pub mod error;
pub mod group;
pub mod output;
pub mod produce;
mod table;
pub mod topic;
pub mod values;

pub use error::finish;
