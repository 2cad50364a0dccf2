//! WriteTxnMarkers: an administrator ends transactions that hang (KIP-664). Pure.

use ringlog_engine::shard::{Marker, MarkerKind};

use crate::core::mail::PartitionKey;
use crate::metadata::image::MetadataImage;
use crate::wire::ErrorCode;
use crate::wire::write_txn_markers::*;

/// Marker, topic of it and partition of that, each by its index.
pub type MarkPlace = (u32, u32, u32);

/// Where one marker goes: the index of its partition among all of the request, the partition, and the marker.
pub type MarkItem = (u32, PartitionKey, Marker);

/// What is to be written, and the response under construction.
#[derive(Debug)]
pub struct Asked {
    /// Every partition of the request, those to be written with no error yet.
    pub response: WriteTxnMarkersResponse,
    /// Where in the response each partition is.
    pub places: Vec<MarkPlace>,
    /// The markers, each with the index of its partition among all of the response.
    pub items: Vec<MarkItem>,
}

/// Sorts a request.
pub fn handle(request: &WriteTxnMarkersRequest, image: &MetadataImage) -> Asked {
    let mut items = Vec::new();
    let mut count = 0u32;
    let mut partition = |marker: &WritableTxnMarker, topic: &str, index: i32| {
        let at = count;
        count += 1;
        let found = image
            .topic(topic)
            .filter(|topic| topic.partitions.contains_key(&index));
        let error_code = match found {
            None => ErrorCode::UnknownTopicOrPartition,
            // What Kafka does not expect.
            Some(_) if marker.producer_epoch < 0 => ErrorCode::UnknownServerError,
            Some(topic) => {
                let key = PartitionKey {
                    topic_id: topic.id,
                    index,
                };
                items.push((at, key, marker_of(marker)));
                ErrorCode::None
            }
        };
        WritableTxnMarkerPartitionResult {
            partition_index: index,
            error_code: error_code.code(),
        }
    };
    let markers = request
        .markers
        .iter()
        .filter(|marker| names_partitions(marker))
        .map(|marker| {
            let topics = marker.topics.iter().map(|topic| {
                let indexes = topic.partition_indexes.iter();
                WritableTxnMarkerTopicResult {
                    name: topic.name.clone(),
                    partitions: indexes
                        .map(|index| partition(marker, &topic.name, *index))
                        .collect(),
                }
            });
            WritableTxnMarkerResult {
                producer_id: marker.producer_id,
                topics: topics.collect(),
            }
        });
    let response = WriteTxnMarkersResponse {
        markers: markers.collect(),
    };
    let mut places = Vec::new();
    for (marker, result) in (0..).zip(&response.markers) {
        for (topic, result) in (0..).zip(&result.topics) {
            places.extend((0..result.partitions.len() as u32).map(|partition| (marker, topic, partition)));
        }
    }
    Asked {
        response,
        places,
        items,
    }
}

/// Of a marker for no partition there is nothing to tell.
fn names_partitions(marker: &WritableTxnMarker) -> bool {
    marker
        .topics
        .iter()
        .any(|topic| !topic.partition_indexes.is_empty())
}

fn marker_of(marker: &WritableTxnMarker) -> Marker {
    Marker {
        producer_id: marker.producer_id,
        producer_epoch: marker.producer_epoch,
        kind: MarkerKind::of(marker.transaction_result),
        coordinator_epoch: marker.coordinator_epoch,
        transaction_version: marker.transaction_version,
    }
}

/// Writes what became of a marker into the response.
pub fn settle(response: &mut WriteTxnMarkersResponse, place: MarkPlace, code: ErrorCode) {
    let (marker, topic, partition) = place;
    let marker = response.markers.get_mut(marker as usize);
    let topic = marker.and_then(|marker| marker.topics.get_mut(topic as usize));
    if let Some(partition) = topic.and_then(|topic| topic.partitions.get_mut(partition as usize)) {
        partition.error_code = code.code();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::controller::testing::{image, topic};

    #[test]
    fn what_is_there_is_written_and_the_rest_is_unknown() {
        let image = image(&topic("t", 2));
        let of = |name: &str, partition_indexes: &[i32]| WritableTxnMarkerTopic {
            name: name.into(),
            partition_indexes: partition_indexes.to_vec(),
        };
        let marker = |producer_id, transaction_result, topics| WritableTxnMarker {
            producer_id,
            transaction_result,
            topics,
            coordinator_epoch: -1,
            ..Default::default()
        };
        let request = WriteTxnMarkersRequest {
            markers: vec![
                marker(7, true, vec![of("no", &[0]), of("t", &[2, 1])]),
                marker(8, false, vec![of("t", &[0])]),
            ],
        };
        let Asked {
            mut response,
            places,
            items,
        } = handle(&request, &image);
        let written: Vec<_> = items
            .iter()
            .map(|(at, key, marker)| (*at, key.index, marker.producer_id, marker.kind))
            .collect();
        assert_eq!(
            written,
            [(2, 1, 7, MarkerKind::Commit), (3, 0, 8, MarkerKind::Abort)]
        );
        settle(&mut response, places[3], ErrorCode::InvalidProducerEpoch);
        let topics = response.markers.iter().flat_map(|marker| &marker.topics);
        let codes: Vec<_> = topics
            .flat_map(|topic| &topic.partitions)
            .map(|partition| partition.error_code)
            .collect();
        assert_eq!(codes, [3, 3, 0, 47]);
    }
}
