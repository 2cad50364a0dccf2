//! FindCoordinator: this broker coordinates every group and every transaction. Share groups are refused as by a Kafka that has them turned
//! off.

use super::context::Context;
use super::{groups, transactions};
use crate::wire::ErrorCode;
use crate::wire::find_coordinator::*;

/// The first version that asks for many keys at once.
const MANY_FROM: i16 = 4;
/// The kind of key that names a group.
const GROUP: i8 = 0;
/// The kind of key that names a transaction.
const TRANSACTION: i8 = 1;

/// The topic that it takes to answer.
pub fn topic_needed(request: &FindCoordinatorRequest, version: i16) -> Option<&'static str> {
    let topic = match request.key_type {
        GROUP => groups::OFFSETS_TOPIC,
        TRANSACTION => transactions::TRANSACTIONS_TOPIC,
        _ => return None,
    };
    (version < MANY_FROM || !request.coordinator_keys.is_empty()).then_some(topic)
}

/// Answers for every key and kind.
pub fn handle(ctx: &Context<'_>, request: &FindCoordinatorRequest, version: i16) -> FindCoordinatorResponse {
    let found = find(ctx, request.key_type);
    if version < MANY_FROM {
        let mut one = answer(ctx, String::new(), &found);
        // Kafka says so, even where there is nothing to say.
        if found.is_ok() {
            one.error_message = Some(ErrorCode::None.name().to_owned());
        }
        return FindCoordinatorResponse {
            error_code: one.error_code,
            error_message: one.error_message,
            node_id: one.node_id,
            host: one.host,
            port: one.port,
            ..Default::default()
        };
    }
    let keys = request.coordinator_keys.iter();
    FindCoordinatorResponse {
        coordinators: keys.map(|key| answer(ctx, key.clone(), &found)).collect(),
        ..Default::default()
    }
}

fn find(ctx: &Context<'_>, key_type: i8) -> Result<(), (ErrorCode, &'static str)> {
    match key_type {
        GROUP if groups::offsets_topic(ctx.image).is_some() => Ok(()),
        GROUP => Err((
            ErrorCode::CoordinatorNotAvailable,
            "the topic for groups could not be made",
        )),
        TRANSACTION if transactions::transactions_topic(ctx.image).is_some() => Ok(()),
        TRANSACTION => Err((
            ErrorCode::CoordinatorNotAvailable,
            "the topic for transactions could not be made",
        )),
        _ => Err((ErrorCode::InvalidRequest, "unknown or unsupported kind of key")),
    }
}

fn answer(ctx: &Context<'_>, key: String, found: &Result<(), (ErrorCode, &'static str)>) -> Coordinator {
    let (node_id, host, port, error_code, error_message) = match found {
        Ok(()) => (
            ctx.node.id,
            ctx.node.host.clone(),
            i32::from(ctx.node.port),
            ErrorCode::None,
            Some(String::new()),
        ),
        Err((code, why)) => (-1, String::new(), -1, *code, Some((*why).to_owned())),
    };
    Coordinator {
        key,
        node_id,
        host,
        port,
        error_code: error_code.into(),
        error_message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::context::testing::World;
    use crate::metadata::controller::testing::topic;

    fn request(key_type: i8) -> FindCoordinatorRequest {
        FindCoordinatorRequest {
            key: "g".into(),
            key_type,
            coordinator_keys: vec!["g".into(), "h".into()],
        }
    }

    #[test]
    fn every_group_is_coordinated_here() {
        let world = World::new(&topic(groups::OFFSETS_TOPIC, 50), &[]);
        let one = handle(&world.context(), &request(0), 3);
        assert_eq!(
            (one.error_code, one.node_id, &one.host[..], one.port),
            (0, 1, "h", 9092)
        );
        let many = handle(&world.context(), &request(0), 4);
        let rows: Vec<_> = many
            .coordinators
            .iter()
            .map(|c| (c.key.as_str(), c.error_code, c.node_id))
            .collect();
        assert_eq!((many.error_code, rows), (0, vec![("g", 0, 1), ("h", 0, 1)]));
        // What Kafka says when there is nothing to say.
        assert_eq!(one.error_message.as_deref(), Some("NONE"));
        assert_eq!(many.coordinators[0].error_message.as_deref(), Some(""));
    }

    #[test]
    fn nobody_coordinates_share_groups() {
        let world = World::new(&topic(groups::OFFSETS_TOPIC, 50), &[]);
        let code = |key_type| handle(&world.context(), &request(key_type), 3).error_code;
        assert_eq!([1, 2, 3].map(code), [15, 42, 42]);
    }

    #[test]
    fn without_their_topic_groups_have_no_coordinator() {
        let world = World::new(&[], &[]);
        assert_eq!(handle(&world.context(), &request(0), 3).error_code, 15);
        let needed = |key_type, version| topic_needed(&request(key_type), version);
        assert_eq!([needed(0, 3), needed(0, 4)], [Some(groups::OFFSETS_TOPIC); 2]);
        assert_eq!(needed(1, 4), Some(transactions::TRANSACTIONS_TOPIC));
        assert_eq!(needed(2, 6), None);
        assert_eq!(topic_needed(&FindCoordinatorRequest::default(), 4), None);
    }
}
