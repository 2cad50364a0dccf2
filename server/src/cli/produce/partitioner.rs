//! Which partition a record goes to: the Java client's choice for a key, one after the other without.

use crate::cli::args::ProduceArgs;
use crate::cli::client::{Topic, no_such_partition};
use crate::cli::error::{CliError, CliResult};

/// Chooses partitions of one topic.
#[derive(Debug)]
pub(super) struct Partitioner {
    fixed: Option<i32>,
    count: u32,
    /// Where records without a key go at the moment: a whole batch to one partition packs best.
    sticky: u32,
}

impl Partitioner {
    /// For a topic as it is now.
    pub(super) fn new(topic: &Topic, args: &ProduceArgs) -> CliResult<Self> {
        let count = topic.partitions.len();
        if let Some(partition) = args
            .partition
            .filter(|partition| !topic.partitions.contains_key(partition))
        {
            return Err(no_such_partition(&args.topic, partition, count));
        }
        if count == 0 {
            return Err(CliError::refused(format!(
                "topic {:?} has no partitions yet",
                args.topic
            )));
        }
        let sticky = getrandom::u32().unwrap_or_else(|_| std::process::id());
        Ok(Self {
            fixed: args.partition,
            count: u32::try_from(count).unwrap_or(u32::MAX),
            sticky,
        })
    }

    /// The partition for a record with this key.
    pub(super) fn choose(&self, key: Option<&[u8]>) -> i32 {
        let hashed = key.map_or(self.sticky, murmur2);
        // The sign bit goes first, as in Kafka: a negative hash must not give a negative partition.
        self.fixed.unwrap_or(((hashed & 0x7fff_ffff) % self.count) as i32)
    }

    /// Lets the records without a key of the next batch go elsewhere.
    pub(super) fn next_batch(&mut self) {
        self.sticky = self.sticky.wrapping_add(1) & 0x7fff_ffff;
    }
}

/// The hash by which the Java client, and all that follow it, place keys: 32-bit MurmurHash2 with Kafka's seed.
fn murmur2(key: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let (words, rest) = key.as_chunks::<4>();
    let mut hash = SEED ^ key.len() as u32;
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        let tail = rest
            .iter()
            .rev()
            .fold(0, |tail, byte| tail << 8 | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are those of Kafka's own test of `Utils.murmur2`.
    #[test]
    fn keys_hash_as_in_the_java_client() {
        for (key, expected) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, expected, "{key}");
        }
    }

    #[test]
    fn every_choice_is_a_partition() {
        let mut partitioner = Partitioner {
            fixed: None,
            count: 7,
            sticky: u32::MAX,
        };
        for key in 0..1000u32 {
            partitioner.next_batch();
            assert!((0..7).contains(&partitioner.choose(Some(&key.to_be_bytes()))));
            assert!((0..7).contains(&partitioner.choose(None)));
        }
    }
}
