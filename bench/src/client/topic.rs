//! A topic as a load needs it: its partitions and where each is served.

use std::collections::BTreeMap;
use std::net::SocketAddr;

/// One partition and the broker that leads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionLeader {
    /// Index within the topic.
    pub partition: i32,
    /// Address of its leader.
    pub leader: SocketAddr,
}

/// A topic and its leaders at the time it was asked for.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// By partition, ascending and dense from 0.
    pub partitions: Vec<PartitionLeader>,
}

impl Topic {
    /// The partitions of each broker, broker by broker.
    pub fn by_leader(&self) -> BTreeMap<SocketAddr, Vec<i32>> {
        let mut leaders: BTreeMap<SocketAddr, Vec<i32>> = BTreeMap::new();
        for at in &self.partitions {
            leaders.entry(at.leader).or_default().push(at.partition);
        }
        leaders
    }
}
