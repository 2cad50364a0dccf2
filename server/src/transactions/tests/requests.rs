//! Requests as producers send them, and what is in the answers.

use super::world::TIMEOUT_MS;
use crate::transactions::{TxnRequest, TxnResponse};
use crate::wire::ErrorCode;
use crate::wire::add_partitions_to_txn::{AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction};
use crate::wire::end_txn::EndTxnRequest;
use crate::wire::init_producer_id::InitProducerIdRequest;

fn code_of(code: i16) -> Result<(), ErrorCode> {
    match ErrorCode::from_code(code) {
        ErrorCode::None => Ok(()),
        error => Err(error),
    }
}

pub fn initializing(id: &str) -> InitProducerIdRequest {
    InitProducerIdRequest {
        transactional_id: Some(id.to_owned()),
        transaction_timeout_ms: TIMEOUT_MS,
        ..Default::default()
    }
}

pub fn resuming(id: &str, (producer_id, producer_epoch): (i64, i16)) -> InitProducerIdRequest {
    InitProducerIdRequest {
        producer_id,
        producer_epoch,
        ..initializing(id)
    }
}

pub fn initialized(answer: TxnResponse) -> Result<(i64, i16), ErrorCode> {
    match answer {
        TxnResponse::InitProducerId(answer) => {
            code_of(answer.error_code).map(|()| (answer.producer_id, answer.producer_epoch))
        }
        other => panic!("{other:?}"),
    }
}

pub fn adding(id: &str, producer: (i64, i16), partitions: &[i32], verify_only: bool) -> TxnRequest {
    TxnRequest::AddPartitions(AddPartitionsToTxnTransaction {
        transactional_id: id.to_owned(),
        producer_id: producer.0,
        producer_epoch: producer.1,
        verify_only,
        topics: vec![AddPartitionsToTxnTopic {
            name: "t".to_owned(),
            partitions: partitions.to_vec(),
        }],
    })
}

pub fn added(answer: TxnResponse) -> Vec<ErrorCode> {
    let TxnResponse::AddPartitions(topics) = answer else {
        panic!("{answer:?}")
    };
    let rows = topics.iter().flat_map(|topic| &topic.results_by_partition);
    rows.map(|row| ErrorCode::from_code(row.partition_error_code))
        .collect()
}

pub fn ending(id: &str, producer: (i64, i16), committed: bool) -> TxnRequest {
    TxnRequest::End(EndTxnRequest {
        transactional_id: id.to_owned(),
        producer_id: producer.0,
        producer_epoch: producer.1,
        committed,
    })
}

pub fn ended(answer: TxnResponse) -> Result<(i64, i16), ErrorCode> {
    match answer {
        TxnResponse::End(answer) => {
            code_of(answer.error_code).map(|()| (answer.producer_id, answer.producer_epoch))
        }
        other => panic!("{other:?}"),
    }
}
