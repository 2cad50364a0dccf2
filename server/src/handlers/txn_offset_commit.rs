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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::{GroupRequest, GroupResponse};
    use crate::handlers::groups::{Told, apart, together};
    use crate::wire::txn_offset_commit::*;
    use crate::wire::{ApiKey, Decoder};

    const KEY: ApiKey = ApiKey::TxnOffsetCommit;

    fn request(version: i16) -> TxnOffsetCommitRequest {
        let partition = |partition_index| TxnOffsetCommitRequestPartition {
            partition_index,
            committed_offset: 5,
            committed_leader_epoch: if version >= 2 { 4 } else { -1 },
            committed_metadata: Some("note".to_owned()),
        };
        let topic = |name: &str| TxnOffsetCommitRequestTopic {
            name: name.to_owned(),
            partitions: vec![partition(0), partition(1)],
        };
        let mut request = TxnOffsetCommitRequest {
            transactional_id: "x".to_owned(),
            group_id: "g".to_owned(),
            producer_id: 7,
            producer_epoch: 3,
            topics: vec![topic("t"), topic("u")],
            ..Default::default()
        };
        if version >= 3 {
            request.generation_id = 2;
            request.member_id = "m".to_owned();
            request.group_instance_id = Some("i".to_owned());
        }
        request
    }

    /// What a client is told when its coordinator answers with these errors, one for each partition.
    fn told(version: i16, errors: [ErrorCode; 4]) -> Vec<(String, i32, ErrorCode)> {
        let mut bytes = Vec::new();
        request(version).encode(&mut bytes, version);
        let bytes = bytes.into();
        let apart = apart(KEY, version, &mut Decoder::new(&bytes), 50).expect("a good request");
        assert_eq!(apart.questions, [GroupRequest::TxnCommit(request(version))]);
        let answer = apart.questions[0].refuse(ErrorCode::None);
        let GroupResponse::TxnCommit(mut response) = answer else {
            panic!("{answer:?}");
        };
        let partitions = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        partitions
            .zip(errors)
            .for_each(|(partition, error)| partition.error_code = error.code());
        let answers = vec![Told::Answer(GroupResponse::TxnCommit(response))];
        let mut out = Vec::new();
        together(KEY, version, &apart.form, answers, &mut out);
        let response =
            TxnOffsetCommitResponse::decode(&mut Decoder::new(&out.into()), version).expect("an answer");
        let mut all = Vec::new();
        for topic in response.topics {
            all.extend(topic.partitions.iter().map(|partition| {
                let error = ErrorCode::from_code(partition.error_code);
                (topic.name.clone(), partition.partition_index, error)
            }));
        }
        all
    }

    #[test]
    fn every_version_is_one_question_and_its_answer_has_every_partition() {
        let errors = [
            ErrorCode::None,
            ErrorCode::IllegalGeneration,
            ErrorCode::FencedInstanceId,
            ErrorCode::UnknownMemberId,
        ];
        let places = [("t", 0), ("t", 1), ("u", 0), ("u", 1)];
        let expected: Vec<_> = places
            .into_iter()
            .zip(errors)
            .map(|((topic, partition), error)| (topic.to_owned(), partition, error))
            .collect();
        for version in 0..=5 {
            assert_eq!(told(version, errors), expected, "{version}");
        }
    }

    #[test]
    fn old_producers_are_not_told_that_a_coordinator_loads() {
        for version in 0..=5 {
            let all = told(version, [ErrorCode::CoordinatorLoadInProgress; 4]);
            let expected = match version {
                ..=1 => ErrorCode::CoordinatorNotAvailable,
                _ => ErrorCode::CoordinatorLoadInProgress,
            };
            assert!(
                all.iter().all(|(_, _, error)| *error == expected),
                "{version}: {all:?}"
            );
        }
    }
}
