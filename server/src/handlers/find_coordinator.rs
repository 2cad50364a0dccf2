//! FindCoordinator. There are no groups, transactions or share groups yet, so no key has a coordinator: the answer
//! is COORDINATOR_NOT_AVAILABLE, which clients take as "not yet" and ask again until they give up.

use crate::wire::ErrorCode;
use crate::wire::find_coordinator::*;

/// The first version that asks for many keys at once.
const MANY_FROM: i16 = 4;
/// Kinds of keys: groups, transactions, and share groups as the last.
const LAST_KIND: i8 = 2;
const WHY: &str = "groups and transactions are not supported yet";

/// Answers for every key and kind.
pub fn handle(request: &FindCoordinatorRequest, version: i16) -> FindCoordinatorResponse {
    let (error, why) = match request.key_type {
        0..=LAST_KIND => (ErrorCode::CoordinatorNotAvailable, WHY),
        _ => (ErrorCode::InvalidRequest, "unknown kind of key"),
    };
    let (error_code, error_message) = (error.into(), Some(why.to_owned()));
    if version < MANY_FROM {
        let (node_id, port) = (-1, -1);
        return FindCoordinatorResponse {
            error_code,
            error_message,
            node_id,
            port,
            ..Default::default()
        };
    }
    let coordinators = request.coordinator_keys.iter().map(|key| Coordinator {
        key: key.clone(),
        node_id: -1,
        host: String::new(),
        port: -1,
        error_code,
        error_message: error_message.clone(),
    });
    FindCoordinatorResponse {
        coordinators: coordinators.collect(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_has_a_coordinator() {
        let request = FindCoordinatorRequest {
            key: "g".into(),
            coordinator_keys: vec!["g".into(), "h".into()],
            ..Default::default()
        };
        assert_eq!(handle(&request, 3).error_code, 15);
        let many = handle(&request, 4);
        let codes: Vec<_> = many
            .coordinators
            .iter()
            .map(|c| (c.key.as_str(), c.error_code))
            .collect();
        assert_eq!((many.error_code, codes), (0, vec![("g", 15), ("h", 15)]));
        assert_eq!(
            handle(
                &FindCoordinatorRequest {
                    key_type: 3,
                    ..request
                },
                3
            )
            .error_code,
            42
        );
    }
}
