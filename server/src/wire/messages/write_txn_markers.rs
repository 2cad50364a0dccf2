//! WriteTxnMarkers: writes the ends of transactions into partitions; what administrators end a hanging transaction with (KIP-664).

use crate::wire::schema::schema;

schema! {
    message WriteTxnMarkersRequest 1-2 flexible 1+ {
        markers: Vec<WritableTxnMarker>, 0+;
    }

    part WritableTxnMarker {
        producer_id: i64, 0+;
        producer_epoch: i16, 0+;
        transaction_result: bool, 0+;
        topics: Vec<WritableTxnMarkerTopic>, 0+;
        coordinator_epoch: i32, 0+;
        transaction_version: i8, 2+;
    }

    part WritableTxnMarkerTopic {
        name: String, 0+;
        partition_indexes: Vec<i32>, 0+;
    }

    message WriteTxnMarkersResponse 1-2 flexible 1+ {
        markers: Vec<WritableTxnMarkerResult>, 0+;
    }

    part WritableTxnMarkerResult {
        producer_id: i64, 0+;
        topics: Vec<WritableTxnMarkerTopicResult>, 0+;
    }

    part WritableTxnMarkerTopicResult {
        name: String, 0+;
        partitions: Vec<WritableTxnMarkerPartitionResult>, 0+;
    }

    part WritableTxnMarkerPartitionResult {
        partition_index: i32, 0+;
        error_code: i16, 0+;
    }
}
