//! Compaction: of records with the same key the last one stays. The one place in the engine that looks at records; it runs beside the cores, on
//! threads of its own ([`Cleaners`]).

mod filter;
mod group;
mod keys;
mod mapping;
mod order;
mod output;
mod pace;
mod pass;
mod rewrite;
mod source;
#[cfg(test)]
mod tests;
mod threads;
mod transactions;

pub use order::{
    CleanDone, CleanError, CleanLimits, CleanOrder, CleanSegment, CleanStats, Cleaned, LastBatch,
};
pub use output::{CLEANED, remove as remove_cleaned};
pub use threads::{CleanBacklog, CleanInbox, CleanReport, CleanerSettings, Cleaners};
