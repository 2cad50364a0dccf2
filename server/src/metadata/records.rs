//! Which version of a metadata record may be written, given the level of the feature `metadata.version`.
//!
//! Kafka raises record versions together with that feature, so that older members of a cluster can still read the
//! log. A directory taken over from an older Kafka is written to in its own versions.

pub use crate::wire::metadata_records::MetadataRecord as Record;

/// Levels of the feature `metadata.version` at which the format of the log changed.
pub mod level {
    /// 3.3-IV3: the oldest level Kafka 4 reads.
    pub const OLDEST: i16 = 7;
    /// 3.4-IV0: brokers register with the migration flag.
    pub const V3_4: i16 = 8;
    /// 3.7-IV2: replicas name their log directory (KIP-858).
    pub const DIRECTORIES: i16 = 17;
    /// 4.0-IV1: eligible leader replicas (KIP-966).
    pub const ELR: i16 = 23;
    /// 4.3-IV0: cordoned log directories. The newest level this broker reads and writes.
    pub const V4_3: i16 = 30;
}

/// Appends the framed record, in the version that readers at this `metadata.version` level understand.
pub fn encode(record: &Record, out: &mut Vec<u8>, metadata_version: i16) {
    record.encode(out, version_at(record, metadata_version));
}

fn version_at(record: &Record, metadata_version: i16) -> i16 {
    let passed = |steps: &[i16]| steps.iter().filter(|step| metadata_version >= **step).count() as i16;
    match record {
        Record::RegisterBroker(_) => 1 + passed(&[level::V3_4, level::DIRECTORIES, level::V4_3]),
        Record::BrokerRegistrationChange(_) => 1 + passed(&[level::DIRECTORIES, level::V4_3]),
        Record::Partition(_) | Record::PartitionChange(_) => passed(&[level::DIRECTORIES, level::ELR]),
        other => other.max_version(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::metadata_records::*;

    #[test]
    fn older_levels_get_older_versions() {
        for (at, broker, partition) in [(7, 1, 0), (8, 2, 0), (17, 3, 1), (23, 3, 2), (30, 4, 2)] {
            assert_eq!(version_at(&RegisterBrokerRecord::default().into(), at), broker);
            assert_eq!(version_at(&PartitionRecord::default().into(), at), partition);
            assert_eq!(version_at(&TopicRecord::default().into(), at), 0);
        }
    }

    #[test]
    fn kafkas_bytes_are_ours() {
        // The first record of a log formatted by Kafka 4.3.1.
        let kafkas = b"\x01\x0c\x00\x11metadata.version\x00\x1e\x00";
        let record = Record::from(FeatureLevelRecord {
            name: "metadata.version".into(),
            feature_level: 30,
        });
        let mut out = Vec::new();
        encode(&record, &mut out, level::V4_3);
        assert_eq!(out, kafkas);
        assert_eq!(Record::decode(&out.into()), Ok(record));
    }
}
