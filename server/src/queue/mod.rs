//! Topics that are queues with an end: how much is in them, whether a batch still fits, and what has to go. Pure, but for the counters that
//! the cores share.
//!
//! ```text
//! owner of a partition                 all owners of the topic
//!   PartitionQueue: what it counts ──▶ TopicQueue: bytes, records, lag of each group
//!   room is taken here first, then the batch is appended; what was not needed is given back
//! ```
//!
//! Room is taken with one compare-and-swap a limit, so that the owners together never take more than there is.

mod full;
mod marks;
mod partition;
mod topic;

pub use full::Full;
pub use marks::Marks;
pub use partition::{Extent, PartitionQueue, View};
pub use topic::{Committed, GroupLag, Queues, TopicQueue};
