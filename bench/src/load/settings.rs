//! What a load is, after defaults and checks: read by every lane and reader.

use super::codec::Codec;
use super::schedule::Arrivals;

/// How fast records are produced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// Open loop: records a second over all producers.
    PerSecond(f64),
    /// Closed loop: as many as `--in-flight` full requests a connection allow.
    Max,
}

/// A load. Every field is one flag; see the flags' help.
#[derive(Clone, Debug, PartialEq)]
#[allow(
    missing_docs,
    reason = "the flags of the same names are documented in one place, the command line"
)]
pub struct Settings {
    pub partitions: i32,
    pub producers: u32,
    pub consumers: u32,
    pub record_bytes: usize,
    pub batch_bytes: usize,
    /// Records of a batch at most, however many more `batch_bytes` has room for; 0: as many as fit.
    pub batch_records: usize,
    pub linger_ns: u64,
    pub in_flight: usize,
    pub rate: Rate,
    pub arrivals: Arrivals,
    pub seconds: f64,
    pub warmup_seconds: f64,
    pub drain_seconds: f64,
    pub acks: i16,
    pub codec: Codec,
    /// Number of keys; 0: records without.
    pub keys: usize,
    pub idempotent: bool,
    pub threads: usize,
}

impl Settings {
    /// Bytes of a key, when there are keys.
    pub const KEY_BYTES: usize = 8;

    /// Bytes of a value: `--record-bytes` counts the key too.
    pub fn value_bytes(&self) -> usize {
        match self.keys {
            0 => self.record_bytes,
            _ => self.record_bytes.saturating_sub(Settings::KEY_BYTES),
        }
    }

    /// The key of that number.
    pub fn key(number: usize) -> Vec<u8> {
        format!("k{number:07}").into_bytes()
    }
}

/// The partition Kafka's clients choose for a key: murmur2, made positive, modulo.
pub fn partition_of(key: &[u8], partitions: i32) -> i32 {
    (murmur2(key) & 0x7fff_ffff) as i32 % partitions
}

/// MurmurHash2 (Austin Appleby) with the seed of Kafka's Java client.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes(word.try_into().unwrap_or_default()).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = words.remainder();
    for (at, byte) in rest.iter().enumerate().rev() {
        hash ^= u32::from(*byte) << (8 * at);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hash_as_in_kafkas_own_test() {
        // UtilsTest.testMurmur2 of Apache Kafka
        let cases: [(&[u8], i32); 5] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"abc", 479_470_107),
        ];
        for (key, hash) in cases {
            assert_eq!(murmur2(key) as i32, hash, "{}", String::from_utf8_lossy(key));
        }
    }
}
