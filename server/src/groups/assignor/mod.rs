//! Who gets which partition of a group of the new protocol (KIP-848): pure functions from members, the topics they want and the partitions
//! they have, to the partitions they shall have.

mod mixed;
mod range;
#[cfg(test)]
mod tests;
mod uniform;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::settings::Assignor;
use crate::wire::uuid::Uuid;

/// Partitions by the id of their topic. A topic without any is not in it.
pub type Partitions = BTreeMap<Uuid, BTreeSet<i32>>;

/// A member as an assignor sees it.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// Its id.
    pub id: &'a str,
    /// What a static member is called.
    pub instance_id: Option<&'a str>,
    /// The topics it wants. Members that want the same share the set.
    pub topics: Arc<BTreeSet<Uuid>>,
    /// The partitions it was to have before.
    pub has: &'a Partitions,
}

/// What is to be shared out, and among whom.
#[derive(Clone, Debug)]
pub struct Sharing<'a> {
    /// The members, by id.
    pub members: Vec<Candidate<'a>>,
    /// How many partitions each topic has; topics that do not exist are not in it, and nobody gets any of them.
    pub partition_counts: BTreeMap<Uuid, i32>,
    /// Whether all members want the same topics.
    pub homogeneous: bool,
}

/// What each member shall have, in the order of the members. Every partition that somebody wants goes to exactly one member.
pub fn assign(assignor: Assignor, sharing: &Sharing<'_>) -> Vec<Partitions> {
    match assignor {
        Assignor::Range => range::assign(sharing),
        Assignor::Uniform if sharing.homogeneous => uniform::assign(sharing),
        Assignor::Uniform => mixed::assign(sharing),
    }
}
