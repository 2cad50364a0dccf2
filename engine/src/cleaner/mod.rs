//! Compaction: of records with the same key the last one stays. The one place in the engine that looks at records; it runs beside the cores, on
//! threads of its own ([`Cleaners`]).
//!
//! A core orders a pass ([`CleanOrder`]) over sealed segments and gets new ones ([`Cleaned`]), which it puts in the place of the old ones. The pass
//!
//! 1. reads the dirty part of the log, and notes the last offset of each key in a map whose memory is bounded. When the map is full the pass ends there;
//! 2. reads every segment from the log's first to that end, decides about each batch, and writes what stays.
//!
//! ```text
//!     log start     first dirty       end of the map    first uncleanable       log end
//!   ──────▼──────────────▼──────────────────▼──────────────────▼──────────────────▼──▶
//!         │ each key     │ in the map       │ for the next     │ open             │
//!         │ once         │                  │ pass             │ transactions,    │
//!         ├── read and written by this pass ┤                  │ active segment   │
//! ```
//!
//! `keys`, `transactions`, `filter`, `rewrite` and `group` are pure: Kafka's rules. `source` reads and `output` writes, past the page cache; `mapping` and
//! `pass` bring them together.

pub mod choice;
mod crew;
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

pub use crew::Crew;
pub use order::{
    CleanDone, CleanError, CleanLimits, CleanOrder, CleanSegment, CleanStats, Cleaned, LastBatch,
};
pub use output::{CLEANED, remove as remove_cleaned};
pub use threads::{CleanBacklog, CleanInbox, CleanReport, CleanerSettings, Cleaners};
