//! What administrators see.

use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::{
    DescribeProducersRequest, DescribeTransactionsRequest, ListTransactionsRequest, ProducerId,
};
use ringlog_tests::admin::try_create;
use ringlog_tests::group::text;
use ringlog_tests::raw::{Batch, name, produce_request};
use ringlog_tests::txn::{add_partitions_request, batch, end_request, produce_in, txn_id};

use crate::script::{MADE_UP, NOBODY, Script};

/// The producers of a partition.
pub fn producers(script: &mut Script) {
    script.part("producers");
    try_create(script.bootstrap(), "p", 2, &[]).expect("the topic is created");
    let ask = |script: &mut Script, what: &str, topics: &[(&str, &[i32])]| {
        let topics = topics
            .iter()
            .map(|(topic, partitions)| {
                TopicRequest::default()
                    .with_name(name(topic))
                    .with_partition_indexes(partitions.to_vec())
            })
            .collect();
        script.ask(what, 0, &DescribeProducersRequest::default().with_topics(topics));
    };
    ask(script, "nothing", &[]);
    ask(script, "an unknown topic", &[("none", &[0])]);
    ask(script, "an unknown partition", &[("p", &[0, 9, -1])]);
    ask(script, "no partition", &[("p", &[])]);
    ask(script, "no name", &[("", &[0])]);
    let (plain, own) = (NOBODY, script.init("producers"));
    let idempotent = Batch::of(&[b"i", b"j"]).from_producer(plain.id, 5, 0);
    script.ask("idempotent", 9, &produce_request("p", 0, -1, &idempotent.build()));
    ask(script, "an idempotent one", &[("p", &[0, 1])]);
    script.ask(
        "in a transaction",
        12,
        &produce_in("producers", "p", 1, &batch(own, 0, &[b"x"])),
    );
    ask(script, "one in a transaction", &[("p", &[1])]);
    script.ask(
        "another",
        12,
        &produce_in("producers", "p", 1, &batch(own, 1, &[b"y"])),
    );
    ask(script, "with two batches", &[("p", &[1])]);
    script.ask("aborted", 5, &end_request("producers", own, false));
    script.settled("aborted", "producers");
    ask(script, "after the abort", &[("p", &[1])]);
}

/// The transactions of the coordinator.
pub fn transactions(script: &mut Script) {
    script.part("transactions");
    let empty = script.init("list-empty");
    let open = script.init("list-open");
    script.ask(
        "opened",
        3,
        &add_partitions_request("list-open", open, &[("u", &[1]), ("t", &[2, 0])]),
    );
    let done = script.init("list-done");
    script.ask(
        "opened",
        3,
        &add_partitions_request("list-done", done, &[("t", &[0])]),
    );
    script.ask("committed", 4, &end_request("list-done", done, true));
    script.settled("committed", "list-done");
    let describe = |ids: &[&str]| {
        DescribeTransactionsRequest::default()
            .with_transactional_ids(ids.iter().map(|id| txn_id(id)).collect())
    };
    script.describe("nothing", &describe(&[]));
    let all = ["list-empty", "list-open", "", "nowhere", "list-done", "list-open"];
    script.describe("some", &describe(&all));

    let ours = |version| {
        let all = ListTransactionsRequest::default().with_duration_filter(-1);
        if version >= 2 {
            all.with_transactional_id_pattern(Some(text("list-.*")))
        } else {
            all.with_producer_id_filters([empty, open, done].map(|one| ProducerId(one.id)).to_vec())
        }
    };
    for version in 0..=2 {
        list(script, "all", version, ours(version));
        let states = |states: &[&str]| {
            ours(version).with_state_filters(states.iter().map(|&state| text(state)).collect())
        };
        list(script, "ongoing", version, states(&["Ongoing"]));
        list(
            script,
            "some states",
            version,
            states(&["CompleteCommit", "Empty", "CompleteAbort"]),
        );
        list(
            script,
            "no such state",
            version,
            states(&["ongoing", "Nonsense", "Ongoing", ""]),
        );
        list(
            script,
            "states in which none is",
            version,
            states(&["Dead", "PrepareEpochFence"]),
        );
        let by_id = ours(version).with_producer_id_filters(vec![ProducerId(open.id), ProducerId(MADE_UP)]);
        list(script, "of a producer", version, by_id);
    }
    for version in 1..=2 {
        for duration_ms in [0, 3_600_000, -5] {
            let request = ours(version).with_duration_filter(duration_ms);
            list(script, &format!("running for {duration_ms} ms"), version, request);
        }
    }
    for pattern in [
        "",
        "list-o.*",
        "o",
        "(",
        "list-(open|done)",
        "list-open|x",
        "(?i)LIST-OPEN",
    ] {
        let request = ListTransactionsRequest::default()
            .with_duration_filter(-1)
            .with_producer_id_filters([empty, open, done].map(|one| ProducerId(one.id)).to_vec())
            .with_transactional_id_pattern(Some(text(pattern)));
        list(script, &format!("named {pattern:?}"), 2, request);
    }
    script.ask(
        "the open one is aborted",
        4,
        &end_request("list-open", open, false),
    );
    script.settled("aborted", "list-open");
}

/// Transactions come in no order.
fn list(script: &mut Script, what: &str, version: i16, request: ListTransactionsRequest) {
    script.ask_tidied(what, version, &request, |answer| {
        answer
            .transaction_states
            .sort_by_key(|state| state.transactional_id.to_string());
        answer.unknown_state_filters.sort();
    });
}
