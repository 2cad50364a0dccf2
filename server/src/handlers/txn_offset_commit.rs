//! TxnOffsetCommit: what old producers are told.

use crate::wire::ErrorCode;
use crate::wire::txn_offset_commit::TxnOffsetCommitResponse;

/// The first version of producers that know COORDINATOR_LOAD_IN_PROGRESS as an error to try again after. It ends those before (KAFKA-7296).
const LOADING_FROM: i16 = 2;

/// The body of the response, appended to `out`.
pub fn write(response: &TxnOffsetCommitResponse, version: i16, out: &mut Vec<u8>) {
    if version >= LOADING_FROM {
        return response.encode(out, version);
    }
    let mut response = response.clone();
    for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        if partition.error_code == ErrorCode::CoordinatorLoadInProgress.code() {
            partition.error_code = ErrorCode::CoordinatorNotAvailable.code();
        }
    }
    response.encode(out, version);
}
