//! Groups of the new protocol (KIP-848): the broker assigns partitions, members say what they want and follow.
//!
//! ```text
//! heartbeat ─▶ group epoch       what members want, and what topics are, has changed
//!              target            who shall have which partition, computed for a group epoch
//!              member epoch      the target a member has come to: first it gives back, then it gets what others gave back
//! ```
//! A [`ConsumerGroup`] changes by replaying its own records alone, in the order in which they are returned; what is not in a record
//! (timers, whether topics have changed) may be lost. Members of the classic protocol can be in such a group too ([`classic`]), and a group
//! goes from one protocol to the other with its members in it ([`migration`]).

mod check;
pub mod classic;
mod classic_join;
mod describe;
mod fence;
mod group;
mod heartbeat;
mod index;
mod leave;
mod member;
mod metadata_hash;
pub mod migration;
mod partitions;
mod reconcile;
mod records;
mod refusal;
mod regexes;
mod replay;
mod subscription;
mod target;
#[cfg(test)]
mod tests;
mod timeouts;

pub use check::CommitCheck;
pub use group::ConsumerGroup;
pub use heartbeat::validate;
pub use refusal::Refusal;

/// The epoch with which a member joins, or joins again.
pub const JOIN_EPOCH: i32 = 0;
/// The epoch with which a member leaves.
pub const LEAVE_EPOCH: i32 = -1;
/// The epoch with which a static member leaves for a while, and which it has until it is back.
pub const LEAVE_STATIC_EPOCH: i32 = -2;
