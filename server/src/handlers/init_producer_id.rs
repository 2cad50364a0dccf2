//! InitProducerId: without a transactional id the next producer id, at epoch 0; with one it is the coordinator's to answer.

use crate::wire::ErrorCode;
use crate::wire::init_producer_id::*;

/// What the request comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It gets a producer id; [`granted`] makes the response.
    Allocate,
    /// The coordinator of its transactional id answers it.
    Coordinate,
    /// It gets this response.
    Now(InitProducerIdResponse),
}

/// Checks the request.
pub fn handle(request: &InitProducerIdRequest) -> Answer {
    if request.transactional_id.as_deref() == Some("") {
        return Answer::Now(refused(ErrorCode::InvalidRequest));
    }
    // Id and epoch come together or not at all (KIP-360).
    if (request.producer_id == -1) != (request.producer_epoch == -1) {
        return Answer::Now(refused(ErrorCode::InvalidRequest));
    }
    match request.transactional_id {
        Some(_) => Answer::Coordinate,
        None => Answer::Allocate,
    }
}

/// The response that hands out an id.
pub fn granted(producer_id: i64) -> InitProducerIdResponse {
    InitProducerIdResponse {
        producer_id,
        producer_epoch: 0,
        ..Default::default()
    }
}

/// The response that hands out none.
pub fn refused(code: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse {
        error_code: code.into(),
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_a_transactional_id_it_is_the_coordinators_question() {
        let request = |id: Option<&str>, producer_id, producer_epoch| InitProducerIdRequest {
            transactional_id: id.map(str::to_owned),
            producer_id,
            producer_epoch,
            ..Default::default()
        };
        for (request, want) in [
            (request(None, -1, -1), None),
            (request(None, 5, 1), None),
            (request(None, 5, -1), Some(42)),
            (request(Some(""), -1, -1), Some(42)),
            (request(Some("t"), -1, -1), Some(-1)),
            (request(Some("t"), 5, -1), Some(42)),
        ] {
            let found = match handle(&request) {
                Answer::Allocate => None,
                Answer::Coordinate => Some(-1),
                Answer::Now(response) => Some(response.error_code),
            };
            assert_eq!(found, want, "{request:?}");
        }
    }
}
