//! What a request does to the metadata: pure functions from an image and a wish to the records that grant it, or
//! the reason why not.
//!
//! ```text
//! handler: request -> [decide here] -> records -> metadata log -> committed -> replay -> new image -> answer
//! ```
//! Nothing here changes an image. A request's records go into the log as one batch, so all of them count or none.

pub mod boot;
pub mod features;
pub mod names;
pub mod quotas;
pub mod reassignments;
pub mod settings;
pub mod topics;

use super::image::MetadataImage;
use super::records::Record;
use crate::config::Config;
use crate::wire::metadata_records::ProducerIdsRecord;
use crate::wire::{ErrorCode, Uuid};

/// Producer ids are taken in blocks of this many, one record each.
pub const PRODUCER_ID_BLOCK: i64 = 1000;
/// The most records one request may ask for; Kafka's controller has the same limit.
pub const MAX_RECORDS: usize = 10_000;

/// What decisions are made from.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The metadata.
    pub image: &'a MetadataImage,
    /// The configuration.
    pub config: &'a Config,
    /// This broker, the only one that is alive.
    pub node_id: i32,
    /// Its log directory.
    pub directory_id: Uuid,
}

/// Records to append and the answer to send once they are committed. Without records the answer goes out at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome<R> {
    /// What to append, as one batch.
    pub records: Vec<Record>,
    /// What to answer.
    pub response: R,
}

impl<R> Outcome<R> {
    /// An answer that changes nothing.
    pub fn unchanged(response: R) -> Outcome<R> {
        Outcome {
            records: Vec::new(),
            response,
        }
    }
}

/// Why a wish is not granted: a code for the client and a sentence for its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub code: ErrorCode,
    /// The sentence.
    pub message: String,
}

impl Refusal {
    /// With a sentence of its own.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal {
            code,
            message: message.into(),
        }
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Refusal {
        Refusal::new(code, code.message())
    }
}

/// The next block of producer ids: the ids in `[first, first + 1000)` belong to this broker once the record is
/// committed.
///
/// # Errors
/// All 2^63 ids have been given out.
pub fn producer_id_block(view: View<'_>) -> Result<(Record, std::ops::Range<i64>), Refusal> {
    let first = view.image.next_producer_id();
    let Some(next) = first.checked_add(PRODUCER_ID_BLOCK).filter(|_| first >= 0) else {
        return Err(Refusal::new(
            ErrorCode::UnknownServerError,
            "there are no producer ids left",
        ));
    };
    let broker_epoch = view.image.broker(view.node_id).map_or(-1, |broker| broker.epoch);
    let record = ProducerIdsRecord {
        broker_id: view.node_id,
        broker_epoch,
        next_producer_id: next,
    };
    Ok((record.into(), first..next))
}

/// An id for a topic, directory or cluster from 16 random bytes: a version 4 UUID, as Kafka makes them.
///
/// `None` for the few whose text begins with a dash, which Kafka avoids because command lines take it for an option;
/// draw again then.
pub fn random_id(random: [u8; 16]) -> Option<Uuid> {
    let mut id = random;
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    let id = Uuid(id);
    (!id.to_string().starts_with('-')).then_some(id)
}

#[cfg(test)]
pub(crate) mod testing {
    //! An image built from records, for tests of this folder and of the handlers.

    use super::*;
    use crate::metadata::replay::Replay;
    use crate::wire::metadata_records::*;

    /// The configuration with these settings.
    pub fn config(pairs: &[(&str, &str)]) -> Config {
        let pairs = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Config::from_pairs(pairs.collect()).expect("valid")
    }

    /// The id that [`topic`] gives.
    pub fn id_of(name: &str) -> Uuid {
        let mut id = [0x41; 16];
        for (to, from) in id.iter_mut().zip(name.bytes()) {
            *to = from;
        }
        Uuid(id)
    }

    /// The records of a topic led by broker 1.
    pub fn topic(name: &str, partitions: i32) -> Vec<Record> {
        let mut records = vec![
            TopicRecord {
                name: name.into(),
                topic_id: id_of(name),
            }
            .into(),
        ];
        records.extend((0..partitions).map(|index| {
            let record = PartitionRecord {
                partition_id: index,
                topic_id: id_of(name),
                replicas: vec![1],
                isr: vec![1],
                leader: 1,
                leader_epoch: 0,
                partition_epoch: 0,
                directories: vec![Uuid([9; 16])],
                ..Default::default()
            };
            Record::from(record)
        }));
        records
    }

    /// A setting of a topic (2) or broker (4).
    pub fn setting(kind: i8, resource: &str, name: &str, value: &str) -> Record {
        let record = ConfigRecord {
            resource_type: kind,
            resource_name: resource.into(),
            name: name.into(),
            value: Some(value.into()),
        };
        record.into()
    }

    /// The image these records give.
    pub fn image(records: &[Record]) -> MetadataImage {
        let mut replay = Replay::default();
        replay.apply_all(records, 0, 1).expect("valid records");
        replay.image().clone()
    }

    /// The view of broker 1.
    pub fn view<'a>(image: &'a MetadataImage, config: &'a Config) -> View<'a> {
        View {
            image,
            config,
            node_id: 1,
            directory_id: Uuid([9; 16]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::*;
    use super::*;

    #[test]
    fn producer_ids_come_in_blocks() {
        let config = config(&[]);
        let mut records = Vec::new();
        for want in [0..1000, 1000..2000] {
            let image = image(&records);
            let (record, block) = producer_id_block(view(&image, &config)).expect("some are left");
            assert_eq!(block, want);
            records.push(record);
        }
        let last = ProducerIdsRecord {
            next_producer_id: i64::MAX - 5,
            ..Default::default()
        };
        assert!(producer_id_block(view(&image(&[last.into()]), &config)).is_err());
    }

    #[test]
    fn ids_never_begin_with_a_dash() {
        assert_eq!(random_id([0xfb; 16]), None);
        let id = random_id([0; 16]).expect("fine");
        assert_eq!(id.to_string(), "AAAAAAAAQACAAAAAAAAAAA");
    }
}
