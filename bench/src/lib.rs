//! `ringlog-bench`: load on any broker that speaks Kafka's wire protocol, measured from the time each record was due, and every
//! acknowledged record read back.
#![forbid(unsafe_code)]

pub mod cli;
pub mod client;
pub mod day;
pub mod error;
pub mod launch;
pub mod ledger;
pub mod load;
pub mod measure;
pub mod net;
pub mod report;
pub mod scenario;
pub mod sink;
