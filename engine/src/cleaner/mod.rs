//! Compaction: of records with the same key the last one stays. The one place in the engine that looks at records; it runs beside the cores, on
//! threads of its own ([`Cleaners`]).

pub mod choice;
mod crew;
mod order;
mod pace;
mod pass;
mod threads;

pub use crew::Crew;
pub use order::{
    CleanDone, CleanError, CleanLimits, CleanOrder, CleanSegment, CleanStats, Cleaned, LastBatch,
};
pub use threads::{CleanBacklog, CleanInbox, CleanReport, CleanerSettings, Cleaners};
