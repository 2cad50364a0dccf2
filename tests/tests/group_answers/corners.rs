//! What seldom happens: answers that wait when their member goes or is replaced, joins in the midst of a rebalance, topics that come later.

use ringlog::wire::Uuid;
use ringlog::wire::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use ringlog::wire::heartbeat::HeartbeatRequest;
use ringlog::wire::sync_group::SyncGroupRequest;
use ringlog_tests::admin::try_create;

use crate::requests::*;
use crate::script::Script;

/// Joins before the sync, and members that are only named.
pub fn before_the_sync(script: &mut Script) {
    const GROUP: &str = "corner-1";
    script.part("before the sync");
    let a = script
        .ask("A asks for an id", 9, &join(GROUP, "", &["a"]))
        .member_id;
    script.ask("deleted while A is only named", 2, &delete(&[GROUP]));
    script.ask(
        "A leaves without having joined",
        5,
        &leave_all(GROUP, &[(&a, None), ("", None)]),
    );
    script.ask("A joins nevertheless", 9, &join(GROUP, &a, &["a"]));
    let a = script
        .ask("A asks for another id", 9, &join(GROUP, "", &["a"]))
        .member_id;
    script.ask(
        "A commits without having joined",
        9,
        &commit_as(&a, -1, commit(GROUP, "t", &[(0, 1, None)])),
    );
    script.ask("A joins", 9, &join(GROUP, &a, &["a", "b"]));
    script.ask("A joins as it is", 9, &join(GROUP, &a, &["a", "b"]));
    script.ask("A joins otherwise", 9, &join(GROUP, &a, &["b", "a"]));
    script.ask("A leads, for nobody", 4, &sync(GROUP, 2, &a, &[]));
    script.ask("described", 6, &describe(&[GROUP]));
    script.ask("A leaves", 5, &leave_all(GROUP, &[(&a, None)]));
    let mut other = join(GROUP, "", &["z"]);
    other.protocol_type = "other".to_owned();
    script.ask("another type in the empty group", 3, &other);
    script.ask("the first type again", 3, &join(GROUP, "", &["a"]));
    script.ask("described", 6, &describe(&[GROUP]));
    script.ask("listed", 5, &list(&["CompletingRebalance"], &[]));
}

/// Members that go while they wait for an answer.
pub fn gone_while_waiting(script: &mut Script) {
    const GROUP: &str = "corner-2";
    script.part("gone while waiting");
    let a = script.ask("A joins", 3, &join(GROUP, "", &["a"])).member_id;
    script.ask("A leads", 4, &sync(GROUP, 1, &a, &[(&a, b"all")]));
    let b = script
        .ask("B asks for an id", 9, &join(GROUP, "", &["a"]))
        .member_id;
    let waiting_b = script.send(9, &join(GROUP, &b, &["a"]));
    script.until(GROUP, "PreparingRebalance", 2);
    script.ask("B shall wait", 4, &heartbeat(GROUP, 1, &b));
    script.ask("B leaves", 5, &leave_all(GROUP, &[(&b, None)]));
    script.receive("B's join", waiting_b);
    script.ask("A joins again", 9, &join(GROUP, &a, &["a"]));
    script.ask("A leads", 4, &sync(GROUP, 2, &a, &[(&a, b"all")]));

    let waiting_j = script.send(9, &fixed("J", join(GROUP, "", &["a"])));
    script.until(GROUP, "PreparingRebalance", 2);
    let waiting_new_j = script.send(9, &fixed("J", join(GROUP, "", &["a"])));
    script.receive("the old J's join", waiting_j);
    script.ask("A joins again", 9, &join(GROUP, &a, &["a"]));
    let j = script.receive("the new J's join", waiting_new_j).member_id;
    // The answer is the same if the new J comes first: the broker sees two connections.
    let sync_of_j = SyncGroupRequest {
        group_instance_id: Some("J".to_owned()),
        ..sync(GROUP, 3, &j, &[])
    };
    let waiting_j = script.send(4, &sync_of_j);
    let waiting_new_j = script.send(9, &fixed("J", join(GROUP, "", &["a"])));
    script.receive("the old J's sync", waiting_j);
    script.until(GROUP, "PreparingRebalance", 2);
    script.ask("A shall join", 4, &heartbeat(GROUP, 3, &a));
    script.ask("A joins again", 9, &join(GROUP, &a, &["a"]));
    let j = script.receive("the new J's join", waiting_new_j).member_id;
    let waiting_j = script.send(4, &sync(GROUP, 4, &j, &[]));
    script.ask("A leaves, who would lead", 5, &leave_all(GROUP, &[(&a, None)]));
    script.receive("J's sync", waiting_j);
    let old_j = HeartbeatRequest {
        group_instance_id: Some("J".to_owned()),
        ..heartbeat(GROUP, 4, &j)
    };
    script.ask("J shall join", 4, &old_j);
    script.ask("J joins alone", 9, &fixed("J", join(GROUP, &j, &["a"])));
    script.ask("described", 6, &describe(&[GROUP]));
    script.ask("J leaves", 3, &leave_all(GROUP, &[(&j, Some("J"))]));
}

/// Ranges of two topics for two members; offsets by id; names and an expression together.
pub fn ranges(script: &mut Script, t: Uuid, u: Uuid) {
    const GROUP: &str = "corner-3";
    script.part("ranges");
    let ranged = |request| ConsumerGroupHeartbeatRequest {
        server_assignor: Some("range".to_owned()),
        rack_id: Some("rack".to_owned()),
        ..request
    };
    let both: &[(Uuid, &[i32])] = &[(t, &[0, 1, 2]), (u, &[0, 1])];
    script.ask("A joins", 1, &ranged(enter(GROUP, "m-a", &["u", "t"])));
    script.ask("A owns all", 1, &owning(both, beat(GROUP, "m-a", 2)));
    script.ask("B joins", 1, &ranged(enter(GROUP, "m-b", &["t", "u"])));
    script.ask("A hears of B", 1, &beat(GROUP, "m-a", 2));
    script.ask(
        "A gives",
        1,
        &owning(&[(t, &[0, 1]), (u, &[0])], beat(GROUP, "m-a", 2)),
    );
    script.ask("B takes", 1, &beat(GROUP, "m-b", 3));
    script.ask("C joins and wants t", 1, &ranged(enter(GROUP, "m-c", &["t"])));
    script.ask("A hears of C", 1, &beat(GROUP, "m-a", 3));
    script.ask(
        "A gives what it must",
        1,
        &owning(&[(t, &[0]), (u, &[0])], beat(GROUP, "m-a", 3)),
    );
    script.ask("B hears of C", 1, &beat(GROUP, "m-b", 3));
    script.ask(
        "B gives what it must",
        1,
        &owning(&[(u, &[1])], beat(GROUP, "m-b", 3)),
    );
    script.ask("B takes", 1, &beat(GROUP, "m-b", 4));
    script.ask("C takes", 1, &beat(GROUP, "m-c", 4));
    script.ask("described", 1, &describe_consumers(&[GROUP]));
    for epoch in [3, 4, 5] {
        let rows: &[(i32, i64, Option<&str>)] = &[(0, 4, Some("a")), (1, 5, None), (7, 5, None)];
        let request = commit_by_id(t, commit_as("m-a", epoch, commit(GROUP, "", rows)));
        script.ask(&format!("A commits in epoch {epoch}"), 10, &request);
        let asked = fetch_as("m-a", epoch, of_group(GROUP, Some(&[("t", t, &[0, 1])])));
        script.ask(
            &format!("A fetches in epoch {epoch}"),
            10,
            &fetch_groups(&[asked]),
        );
    }
    let wide = ConsumerGroupHeartbeatRequest {
        subscribed_topic_regex: Some("u.*".to_owned()),
        ..beat(GROUP, "m-c", 4)
    };
    script.ask("C also wants what begins with u", 1, &wide);
    for member in ["m-a", "m-b", "m-c"] {
        script.ask("leaves", 1, &beat(GROUP, member, -1));
    }
}

/// A topic that comes after its members.
pub fn later(script: &mut Script) {
    const GROUP: &str = "corner-4";
    script.part("later");
    script.ask("joins", 1, &enter(GROUP, "m", &["later"]));
    script.ask("waits", 1, &beat(GROUP, "m", 2));
    try_create(script.bootstrap(), "later", 2, &[]).expect("the topic is created");
    script.topic_id("later");
    script.ask_until(
        "is given the topic",
        1,
        &enter(GROUP, "m", &["later"]),
        |answer| answer.member_epoch == 3,
    );
    script.ask("described", 1, &describe_consumers(&[GROUP]));
    script.ask("leaves", 1, &beat(GROUP, "m", -1));
}

/// A group of both protocols: offsets, and members that change sides.
pub fn mixed(script: &mut Script, t: Uuid) {
    const GROUP: &str = "corner-5";
    script.part("mixed");
    script.ask("X joins", 1, &enter(GROUP, "m-x", &["t"]));
    script.ask(
        "X owns all",
        1,
        &owning(&[(t, &[0, 1, 2])], beat(GROUP, "m-x", 2)),
    );
    let i = script
        .ask("I joins", 9, &fixed("I", consumer_join(GROUP, "", &["t"], &[])))
        .member_id;
    script.ask("I syncs", 4, &sync(GROUP, 3, &i, &[]));
    script.ask(
        "I syncs with the wrong protocol",
        5,
        &typed("consumer", "cooperative", sync(GROUP, 3, &i, &[])),
    );
    script.ask(
        "I syncs with its protocol",
        5,
        &typed("consumer", "range", sync(GROUP, 3, &i, &[])),
    );
    for (generation, version) in [(3, 8), (3, 9), (2, 9), (4, 9), (-1, 9)] {
        let request = commit_as(&i, generation, commit(GROUP, "t", &[(0, 1, None)]));
        script.ask(
            &format!("I commits in generation {generation}"),
            version,
            &request,
        );
    }
    script.ask("X hears of I", 1, &beat(GROUP, "m-x", 2));
    script.ask("X gives", 1, &owning(&[(t, &[0, 1])], beat(GROUP, "m-x", 2)));
    script.ask("I heartbeats", 4, &heartbeat(GROUP, 3, &i));
    script.ask(
        "I joins again",
        9,
        &fixed("I", consumer_join(GROUP, &i, &["t"], &[])),
    );
    script.ask("I syncs", 4, &sync(GROUP, 3, &i, &[]));
    script.ask("described", 1, &describe_consumers(&[GROUP]));
    let new = script
        .ask(
            "I comes back under another id",
            9,
            &fixed("I", consumer_join(GROUP, "", &["t"], &[])),
        )
        .member_id;
    script.ask("the old I", 4, &heartbeat(GROUP, 3, &i));
    script.ask(
        "the old I by its name",
        4,
        &HeartbeatRequest {
            group_instance_id: Some("I".to_owned()),
            ..heartbeat(GROUP, 3, &i)
        },
    );
    script.ask("the new I", 4, &heartbeat(GROUP, 3, &new));
    script.ask("the new I syncs", 4, &sync(GROUP, 3, &new, &[]));
    script.ask(
        "I leaves with the old id",
        5,
        &leave_all(GROUP, &[(&i, Some("I")), ("", Some("K"))]),
    );
    script.ask(
        "X comes again, as a classic member",
        9,
        &consumer_join(GROUP, "m-x", &["t"], &[0, 1]),
    );
    script.ask("described", 1, &describe_consumers(&[GROUP]));
    script.ask("described", 6, &describe(&[GROUP]));
    script.ask("the new I shall join", 4, &heartbeat(GROUP, 3, &new));
    script.ask(
        "all leave",
        5,
        &leave_all(GROUP, &[("", Some("I")), ("m-x", None)]),
    );
    script.ask("described", 6, &describe(&[GROUP]));
}
