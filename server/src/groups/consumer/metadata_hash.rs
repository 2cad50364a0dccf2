//! The hash of the topics a group wants (KIP-1101): when it changes, partitions are assigned anew.
//!
//! It is in records, so it is computed as Kafka does: XXH3 of 64 bits over
//! ```text
//! topic: | 0 | id, high int64 | id, low int64 | name | partitions int32 | for each partition: | index int32 | for each rack: | length int32 | rack |
//! group: | hash of each topic int64, in the order of their names |
//! ```
//! with numbers little-endian, and texts in UTF-16, each followed by its length in units of two bytes.

use twox_hash::XxHash3_64;

use crate::metadata::{MetadataImage, Topic};

/// Of topics in the order of their names. Those that do not exist do not count; 0 if none does.
pub(super) fn of_group<'a>(topics: impl Iterator<Item = &'a String>, image: &MetadataImage) -> i64 {
    let mut bytes = Vec::new();
    for topic in topics.filter_map(|topic| image.topic(topic)) {
        bytes.extend_from_slice(&of_topic(topic, image).to_le_bytes());
    }
    if bytes.is_empty() { 0 } else { hash(&bytes) }
}

fn of_topic(topic: &Topic, image: &MetadataImage) -> i64 {
    let mut bytes = vec![0];
    let (high, low) = topic.id.0.split_at(8);
    bytes.extend(high.iter().rev());
    bytes.extend(low.iter().rev());
    put_text(&mut bytes, &topic.name);
    put_length(&mut bytes, topic.partitions.len());
    for (index, partition) in topic.partitions.iter() {
        bytes.extend_from_slice(&index.to_le_bytes());
        let brokers = partition
            .replicas
            .iter()
            .filter_map(|replica| image.broker(*replica));
        let mut racks: Vec<&str> = brokers.filter_map(|broker| broker.rack.as_deref()).collect();
        racks.sort_unstable();
        for rack in racks {
            put_length(&mut bytes, rack.encode_utf16().count());
            put_text(&mut bytes, rack);
        }
    }
    hash(&bytes)
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    put_length(bytes, text.encode_utf16().count());
}

fn put_length(bytes: &mut Vec<u8>, length: usize) {
    bytes.extend_from_slice(&i32::try_from(length).unwrap_or(i32::MAX).to_le_bytes());
}

fn hash(bytes: &[u8]) -> i64 {
    XxHash3_64::oneshot(bytes).cast_signed()
}
