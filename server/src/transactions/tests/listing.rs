//! DescribeTransactions and ListTransactions.

use super::requests::{adding, initialized, initializing};
use super::world::START_MS;
use super::*;
use crate::transactions::{TxnRequest, TxnResponse};
use crate::wire::list_transactions::{ListTransactionsRequest, ListTransactionsResponse};

/// Ids `a-1` with nothing begun, `a-2` ongoing for a second, and `b-1` ongoing for ten.
fn some() -> World {
    let mut world = World::new();
    for id in ["b-1", "a-2", "a-1"] {
        let answer = world.ask(INIT, TxnRequest::InitProducerId(initializing(id)));
        let producer = initialized(answer).expect("a producer");
        if id != "a-1" {
            world.ask(ADD, adding(id, producer, &[0], false));
        }
        world.pass(match id {
            "b-1" => 9_000,
            "a-2" => 1_000,
            _ => 0,
        });
    }
    world
}

fn list(world: &mut World, request: ListTransactionsRequest) -> ListTransactionsResponse {
    match world.ask(2, TxnRequest::List(request)) {
        TxnResponse::List(listed) => listed,
        other => panic!("{other:?}"),
    }
}

fn ids(world: &mut World, request: ListTransactionsRequest) -> Vec<String> {
    let states = list(world, request).transaction_states;
    states.into_iter().map(|row| row.transactional_id).collect()
}

fn any() -> ListTransactionsRequest {
    ListTransactionsRequest {
        duration_filter: -1,
        ..Default::default()
    }
}

#[test]
fn all_ids_are_listed_with_their_producer_and_state() {
    let mut world = some();
    let listed = list(&mut world, any()).transaction_states;
    let rows: Vec<_> = listed
        .iter()
        .map(|row| {
            (
                row.transactional_id.as_str(),
                row.producer_id,
                row.transaction_state.as_str(),
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            ("a-1", 1_003, "Empty"),
            ("a-2", 1_002, "Ongoing"),
            ("b-1", 1_001, "Ongoing")
        ]
    );
}

#[test]
fn ids_are_listed_by_state_and_names_of_no_state_are_told() {
    let mut world = some();
    let states = ["Ongoing", "Dead", "ongoing", "x"].map(str::to_owned).to_vec();
    let listed = list(
        &mut world,
        ListTransactionsRequest {
            state_filters: states,
            ..any()
        },
    );
    assert_eq!(listed.unknown_state_filters, ["ongoing", "x"]);
    assert_eq!(listed.transaction_states.len(), 2);
    let none = ListTransactionsRequest {
        state_filters: vec!["x".to_owned()],
        ..any()
    };
    assert!(
        ids(&mut world, none).is_empty(),
        "a state nobody is in is not no filter"
    );
}

#[test]
fn ids_are_listed_by_producer() {
    let mut world = some();
    let request = ListTransactionsRequest {
        producer_id_filters: vec![1_002, 1_003, 7],
        ..any()
    };
    assert_eq!(ids(&mut world, request), ["a-1", "a-2"]);
}

#[test]
fn ids_are_listed_by_how_long_their_transaction_has_lasted() {
    let mut world = some();
    for (duration_filter, want) in [
        (-1, &["a-1", "a-2", "b-1"][..]),
        (999, &["a-1", "a-2", "b-1"]),
        (1_000, &["a-1", "b-1"]),
        (9_999, &["a-1", "b-1"]),
        (10_000, &["a-1"]),
        (START_MS + 20_000, &[]),
    ] {
        let request = ListTransactionsRequest {
            duration_filter,
            ..any()
        };
        assert_eq!(ids(&mut world, request), want, "{duration_filter}");
    }
}

#[test]
fn ids_are_listed_by_an_expression_that_matches_them_as_a_whole() {
    let mut world = some();
    for (pattern, want) in [
        ("", &["a-1", "a-2", "b-1"][..]),
        ("a", &[]),
        ("a-.*", &["a-1", "a-2"]),
        (".*1", &["a-1", "b-1"]),
        ("\\Qa-1\\E|b-1", &["a-1", "b-1"]),
    ] {
        let request = ListTransactionsRequest {
            transactional_id_pattern: Some(pattern.to_owned()),
            ..any()
        };
        assert_eq!(ids(&mut world, request), want, "{pattern}");
    }
    for pattern in ["(", "a{1001}", "(?=a)"] {
        let request = ListTransactionsRequest {
            transactional_id_pattern: Some(pattern.to_owned()),
            ..any()
        };
        let listed = list(&mut world, request);
        assert_eq!(
            listed.error_code,
            ErrorCode::InvalidRegularExpression.code(),
            "{pattern}"
        );
        assert!(listed.transaction_states.is_empty());
    }
}

#[test]
fn a_transaction_is_described_with_its_producer_and_partitions() {
    let mut world = World::new();
    let producer = with_ongoing(&mut world);
    world.add(ADD, producer, &[3, 1]);
    let described = world.describe();
    assert_eq!(described.error_code, 0);
    assert_eq!(described.transactional_id, ID);
    assert_eq!(described.transaction_state, "Ongoing");
    assert_eq!(
        (described.producer_id, described.producer_epoch),
        (producer.0, producer.1)
    );
    assert_eq!(described.transaction_timeout_ms, super::world::TIMEOUT_MS);
    assert_eq!(described.transaction_start_time_ms, START_MS);
    let topics: Vec<_> = described
        .topics
        .iter()
        .map(|topic| (topic.topic.as_str(), topic.partitions.as_slice()))
        .collect();
    assert_eq!(topics, [("t", &[0, 1, 3][..])]);
}

#[test]
fn an_id_nobody_has_is_not_found_and_one_without_letters_is_malformed() {
    let mut world = World::new();
    for (id, want) in [
        ("unknown", ErrorCode::TransactionalIdNotFound),
        ("", ErrorCode::InvalidRequest),
    ] {
        match world.ask(0, TxnRequest::Describe(id.to_owned())) {
            TxnResponse::Describe(described) => {
                assert_eq!(described.error_code, want.code());
                assert_eq!(described.transactional_id, id);
            }
            other => panic!("{other:?}"),
        }
    }
}
