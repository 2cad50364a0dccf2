//! What a handler may look at: the metadata as of now, the configuration, and who this broker is.

use crate::config::Config;
use crate::metadata::controller::{View, random_id};
use crate::metadata::image::{MetadataImage, Partition};
use crate::wire::{ErrorCode, Uuid};

/// Who this broker is, as seen through one listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its number.
    pub id: i32,
    /// The host clients are told.
    pub host: String,
    /// The port clients are told.
    pub port: u16,
    /// Where it stands.
    pub rack: Option<String>,
    /// The cluster it belongs to.
    pub cluster_id: String,
    /// Its log directory.
    pub directory_id: Uuid,
}

/// What a request is answered from.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The metadata.
    pub image: &'a MetadataImage,
    /// The configuration.
    pub config: &'a Config,
    /// This broker.
    pub node: &'a NodeInfo,
}

impl<'a> Context<'a> {
    /// What the controller decides from.
    pub fn view(&self) -> View<'a> {
        View {
            image: self.image,
            config: self.config,
            node_id: self.node.id,
            directory_id: self.node.directory_id,
        }
    }

    /// The leader a client is told, and the error beside it: a leader other than this broker is out of reach.
    pub fn leader_of(&self, partition: &Partition) -> (i32, ErrorCode) {
        if partition.leader == self.node.id {
            (partition.leader, ErrorCode::None)
        } else {
            (-1, ErrorCode::LeaderNotAvailable)
        }
    }

    /// The replicas that are out of reach: all but this broker's.
    pub fn offline_replicas(&self, partition: &Partition) -> Vec<i32> {
        partition
            .replicas
            .iter()
            .copied()
            .filter(|id| *id != self.node.id)
            .collect()
    }
}

/// The operations on a topic that an unrestricted client may do, one bit each: read, write, create, delete, alter,
/// describe, describe and alter settings (KIP-430).
pub const TOPIC_OPERATIONS: i32 = bits(&[3, 4, 5, 6, 7, 8, 10, 11]);
/// The operations on the cluster, one bit each: create, alter, describe, act, describe and alter settings, write
/// idempotently (KIP-430).
pub const CLUSTER_OPERATIONS: i32 = bits(&[5, 7, 8, 9, 10, 11, 12]);

const fn bits(operations: &[u8]) -> i32 {
    let mut all = 0;
    let mut index = 0;
    while index < operations.len() {
        all |= 1 << operations[index];
        index += 1;
    }
    all
}

/// An id nobody has: for a topic, a directory, a cluster, a run of the broker.
///
/// # Errors
/// The system has no random bytes to give.
pub fn fresh_id() -> std::io::Result<Uuid> {
    loop {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(std::io::Error::other)?;
        if let Some(id) = random_id(random) {
            return Ok(id);
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! A broker 1 at h:9092 with some topics, for the handlers' tests.

    use super::*;
    use crate::metadata::controller::testing;
    use crate::metadata::records::Record;

    /// What a [`Context`] borrows.
    pub struct World {
        pub image: MetadataImage,
        pub config: Config,
        pub node: NodeInfo,
    }

    impl World {
        /// With these records and broker settings.
        pub fn new(records: &[Record], settings: &[(&str, &str)]) -> World {
            let node = NodeInfo {
                id: 1,
                host: "h".into(),
                port: 9092,
                cluster_id: "cluster".into(),
                directory_id: Uuid([9; 16]),
                ..Default::default()
            };
            World {
                image: testing::image(records),
                config: testing::config(settings),
                node,
            }
        }

        /// The world after these records, too.
        pub fn after(records: &[Record], more: &[Record]) -> World {
            World::new(&[records, more].concat(), &[])
        }

        pub fn context(&self) -> Context<'_> {
            Context {
                image: &self.image,
                config: &self.config,
                node: &self.node,
            }
        }
    }

    /// Ids that count upwards.
    pub fn counting() -> impl FnMut() -> Uuid {
        let mut next = 0;
        move || {
            next += 1;
            Uuid([next; 16])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_kafkas_bits() {
        assert_eq!((TOPIC_OPERATIONS, CLUSTER_OPERATIONS), (3576, 8096));
        assert_ne!(fresh_id().expect("random"), fresh_id().expect("random"));
    }
}
