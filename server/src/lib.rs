//! Ringlog, the broker: wire codec, connections, handlers, metadata and the command line.
#![forbid(unsafe_code)]

pub mod broker;
pub mod cli;
pub mod config;
pub mod conn;
pub mod core;
pub mod expression;
pub mod groups;
pub mod handlers;
pub mod logging;
pub mod mesh;
pub mod metadata;
pub mod parked;
pub mod placement;
pub mod pressure;
pub mod queue;
pub mod quotas;
pub mod serve;
pub mod sessions;
pub mod transactions;
pub mod watermark;
pub mod wire;
