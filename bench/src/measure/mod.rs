//! What a report says about the machine: [`machine()`] itself, the [`disk`] below the brokers, and what a process used.

pub mod busy;
pub mod disk;
pub mod listener;
pub mod machine;
pub mod mounts;
pub mod page_cache;
pub mod proc;
pub mod process;
pub mod stages;

pub use listener::listener_pid;
pub use machine::machine;
pub use process::{ProcessSampler, own};
