//! RinglogMovePartition: a partition goes to another core of the broker. Ringlog's own; answered when it is there. A message
//! without an error says that it was there already.

use crate::wire::schema::schema;

schema! {
    message RinglogMovePartitionRequest 0-0 flexible 0+ {
        topic: String, 0+;
        partition_index: i32, 0+;
        core: i32, 0+;
    }

    message RinglogMovePartitionResponse 0-0 flexible 0+ {
        error_code: i16, 0+;
        error_message: Option<String>, 0+ null 0+;
    }
}
