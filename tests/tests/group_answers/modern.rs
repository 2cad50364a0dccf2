//! The consumer protocol: what is refused, one member, two that reconcile.

use ringlog::wire::Uuid;
use ringlog::wire::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};

use crate::requests::*;
use crate::script::Script;

/// Heartbeats that make no sense, by themselves or to a group that is not there.
pub fn refused(script: &mut Script, t: Uuid) {
    script.part("refused heartbeats");
    let good = || enter("m0", "m", &["t"]);
    let cases: &[(&str, ConsumerGroupHeartbeatRequest)] = &[
        ("no group", enter("", "m", &["t"])),
        ("a blank group", enter(" ", "m", &["t"])),
        ("a blank member", enter("m0", " ", &["t"])),
        ("no member in an epoch", beat("m0", "", 1)),
        ("no member that leaves", beat("m0", "", -1)),
        (
            "no rebalance timeout",
            ConsumerGroupHeartbeatRequest {
                rebalance_timeout_ms: -1,
                ..good()
            },
        ),
        (
            "a rebalance timeout of nothing",
            ConsumerGroupHeartbeatRequest {
                rebalance_timeout_ms: 0,
                subscribed_topic_names: None,
                ..good()
            },
        ),
        (
            "a rebalance timeout of -2",
            ConsumerGroupHeartbeatRequest {
                rebalance_timeout_ms: -2,
                ..good()
            },
        ),
        (
            "no partitions",
            ConsumerGroupHeartbeatRequest {
                topic_partitions: None,
                ..good()
            },
        ),
        ("partitions from nowhere", owning(&[(t, &[0])], good())),
        (
            "no subscription",
            ConsumerGroupHeartbeatRequest {
                subscribed_topic_names: None,
                ..good()
            },
        ),
        ("an empty instance", fixed_beat("", good())),
        ("a blank instance", fixed_beat(" ", good())),
        (
            "an empty rack",
            ConsumerGroupHeartbeatRequest {
                rack_id: Some(String::new()),
                ..good()
            },
        ),
        (
            "an empty assignor",
            ConsumerGroupHeartbeatRequest {
                server_assignor: Some(String::new()),
                ..good()
            },
        ),
        (
            "an unknown assignor",
            ConsumerGroupHeartbeatRequest {
                server_assignor: Some("sticky".to_owned()),
                ..good()
            },
        ),
        (
            "an assignor in capitals",
            ConsumerGroupHeartbeatRequest {
                server_assignor: Some("UNIFORM".to_owned()),
                ..good()
            },
        ),
        ("epoch -2 without an instance", beat("m0", "m", -2)),
        ("epoch -3", beat("m0", "m", -3)),
        ("epoch -3 with an instance", fixed_beat("i", beat("m0", "m", -3))),
        ("an epoch of no group", beat("m0", "m", 5)),
        ("leaving no group", beat("m0", "m", -1)),
        (
            "an instance that leaves no group",
            fixed_beat("i", beat("m0", "m", -2)),
        ),
    ];
    for version in [0, 1] {
        for (what, request) in cases {
            script.ask(what, version, request);
        }
    }
    script.ask("no member that joins", 1, &enter("m0", "", &["t"]));
    for expression in ["(", "[z-a]", "(?=x)", "\\1", "a{1001}", "*", "(?P<n>"] {
        let request = ConsumerGroupHeartbeatRequest {
            subscribed_topic_names: None,
            subscribed_topic_regex: Some(expression.to_owned()),
            ..good()
        };
        script.ask(&format!("the expression {expression:?}"), 1, &request);
    }
    script.ask(
        "an epoch of a group that is not there",
        1,
        &beat("none-1", "m", 5),
    );
    script.ask("leaving a group that is not there", 1, &beat("none-1", "m", -1));
    let long_name = "n".repeat(250);
    for version in [0, 1] {
        script.ask(
            "a name that no topic has",
            version,
            &enter("m0-names", "m", &["no topic", "", &long_name]),
        );
        script.ask("it leaves", version, &beat("m0-names", "m", -1));
    }
    script.ask(
        "what is left of them",
        1,
        &describe_consumers(&["m0", "m0-names"]),
    );
    script.ask("what is left of them", 6, &describe(&["m0", "m0-names"]));
}

/// One member that the broker names, then its life to the end.
pub fn alone(script: &mut Script, t: Uuid, u: Uuid) {
    const GROUP: &str = "m1";
    script.part("one consumer");
    let joined = script.ask("joins without a name", 0, &enter(GROUP, "", &["t"]));
    let member = joined.member_id.unwrap_or_default();
    let m = member.as_str();
    script.ask("joins again", 0, &enter(GROUP, m, &["t"]));
    script.ask(
        "joins again with partitions it has not",
        0,
        &owning(&[(u, &[0])], enter(GROUP, m, &["t"])),
    );
    script.ask("says nothing new", 0, &beat(GROUP, m, 2));
    script.ask("owns one of three", 0, &owning(&[(t, &[0])], beat(GROUP, m, 2)));
    script.ask("owns them all", 0, &owning(&[(t, &[0, 1, 2])], beat(GROUP, m, 2)));
    script.ask(
        "says everything",
        1,
        &owning(
            &[(t, &[0, 1, 2])],
            ConsumerGroupHeartbeatRequest {
                member_epoch: 2,
                ..enter(GROUP, m, &["t"])
            },
        ),
    );
    for epoch in [0, 1, 3, 99, i32::MAX] {
        script.ask(&format!("in epoch {epoch}"), 0, &beat(GROUP, m, epoch));
    }
    script.ask("somebody else", 0, &beat(GROUP, "nobody", 2));
    script.ask("somebody else leaves", 0, &beat(GROUP, "nobody", -1));
    script.ask("leaves as an instance", 0, &fixed_beat("i", beat(GROUP, m, -2)));
    script.ask(
        "owns what it was not given",
        0,
        &owning(&[(t, &[0, 1, 2]), (u, &[0])], beat(GROUP, m, 2)),
    );
    script.ask(
        "subscribes to another topic",
        1,
        &ConsumerGroupHeartbeatRequest {
            subscribed_topic_names: Some(words(&["u", "t"])),
            ..beat(GROUP, m, 2)
        },
    );
    script.ask(
        "in the epoch before, and owns less",
        0,
        &owning(&[(t, &[0])], beat(GROUP, m, 2)),
    );
    script.ask(
        "in the epoch before, and owns more",
        0,
        &owning(
            &[(t, &[0, 1, 2]), (u, &[0, 1]), (Uuid([7; 16]), &[0])],
            beat(GROUP, m, 2),
        ),
    );
    script.ask(
        "in its epoch",
        0,
        &owning(&[(t, &[0, 1, 2]), (u, &[0, 1])], beat(GROUP, m, 3)),
    );
    script.ask(
        "another assignor",
        0,
        &ConsumerGroupHeartbeatRequest {
            server_assignor: Some("range".to_owned()),
            ..beat(GROUP, m, 3)
        },
    );
    script.ask(
        "another rack",
        0,
        &ConsumerGroupHeartbeatRequest {
            rack_id: Some("r".to_owned()),
            ..beat(GROUP, m, 4)
        },
    );
    script.ask(
        "no topics",
        0,
        &ConsumerGroupHeartbeatRequest {
            subscribed_topic_names: Some(Vec::new()),
            ..beat(GROUP, m, 4)
        },
    );
    script.ask("and owns none", 0, &owning(&[], beat(GROUP, m, 5)));
    script.ask(
        "t alone",
        0,
        &ConsumerGroupHeartbeatRequest {
            subscribed_topic_names: Some(words(&["t", "nope"])),
            ..beat(GROUP, m, 5)
        },
    );
    for version in [0, 1] {
        script.ask("described", version, &describe_consumers(&[GROUP, "none"]));
    }
    for version in [0, 5, 6] {
        script.ask("described as a classic group", version, &describe(&[GROUP]));
    }
    script.ask("listed", 5, &list(&[], &["consumer"]));
    script.ask("listed without a type", 4, &list(&["Stable", "Reconciling"], &[]));

    for (who, epoch) in [
        (m, 6),
        (m, 5),
        (m, 7),
        (m, 0),
        (m, -1),
        ("nobody", 6),
        ("", -1),
        ("", 6),
    ] {
        let name = if who == m {
            "it"
        } else if who.is_empty() {
            "no one"
        } else {
            who
        };
        for version in [8, 9] {
            script.ask(
                &format!("{name} commits in epoch {epoch}"),
                version,
                &commit_as(who, epoch, commit(GROUP, "t", &[(0, 3, None)])),
            );
        }
        for version in [8, 9] {
            script.ask(
                &format!("{name} fetches in epoch {epoch}"),
                version,
                &fetch_groups(&[fetch_as(who, epoch, of_group(GROUP, None))]),
            );
        }
    }
    script.ask("its offsets", 5, &fetch(GROUP, None));
    script.ask(
        "an offset of a subscribed topic",
        0,
        &delete_offsets(GROUP, &[("t", &[0]), ("u", &[0])]),
    );
    script.ask("the group", 2, &delete(&[GROUP]));
    script.ask("a classic heartbeat", 4, &heartbeat(GROUP, 6, m));
    script.ask("a classic sync", 5, &sync(GROUP, 6, m, &[]));
    script.ask(
        "it leaves as a classic member",
        5,
        &leave_all(GROUP, &[("nobody", None)]),
    );
    script.ask("leaves", 0, &beat(GROUP, m, -1));
    script.ask("leaves again", 0, &beat(GROUP, m, -1));
    script.ask("described when empty", 1, &describe_consumers(&[GROUP]));
    script.ask("described as a classic group when empty", 6, &describe(&[GROUP]));
    script.ask(
        "commits without a member",
        9,
        &commit(GROUP, "t", &[(1, 9, None)]),
    );
    script.ask("its offsets", 8, &fetch_groups(&[of_group(GROUP, None)]));
    script.ask("the group", 2, &delete(&[GROUP]));
    script.ask("the group again", 2, &delete(&[GROUP]));
}

/// Two members that give and take partitions.
pub fn two(script: &mut Script, t: Uuid) {
    const GROUP: &str = "m2";
    script.part("two consumers");
    script.ask("A joins", 1, &enter(GROUP, "m-a", &["t"]));
    script.ask(
        "A owns all",
        1,
        &owning(&[(t, &[0, 1, 2])], beat(GROUP, "m-a", 2)),
    );
    script.ask("B joins", 1, &enter(GROUP, "m-b", &["t"]));
    script.ask("B waits", 1, &beat(GROUP, "m-b", 3));
    script.ask("before A knows", 1, &describe_consumers(&[GROUP]));
    let told = script.ask("A shall give", 1, &beat(GROUP, "m-a", 2));
    let kept = partitions(&told);
    script.ask(
        "A commits what it read",
        9,
        &commit_as("m-a", 2, commit(GROUP, "t", &[(0, 5, None)])),
    );
    script.ask(
        "A still owns all",
        1,
        &owning(&[(t, &[0, 1, 2])], beat(GROUP, "m-a", 2)),
    );
    script.ask("A asks again", 1, &beat(GROUP, "m-a", 2));
    script.ask("in the midst of it", 1, &describe_consumers(&[GROUP]));
    script.ask("A gave", 1, &owning(&[(t, &kept)], beat(GROUP, "m-a", 2)));
    script.ask(
        "A commits in its last epoch",
        9,
        &commit_as("m-a", 2, commit(GROUP, "t", &[(0, 5, None)])),
    );
    let told = script.ask("B takes", 1, &beat(GROUP, "m-b", 3));
    script.ask(
        "B owns",
        1,
        &owning(&[(t, &partitions(&told))], beat(GROUP, "m-b", 3)),
    );
    script.ask("stable", 1, &describe_consumers(&[GROUP]));
    script.ask(
        "A again in its last epoch, as if the answer was lost",
        1,
        &owning(&[(t, &kept)], beat(GROUP, "m-a", 2)),
    );
    script.ask(
        "C joins with ranges",
        1,
        &ConsumerGroupHeartbeatRequest {
            server_assignor: Some("range".to_owned()),
            ..enter(GROUP, "m-c", &["t", "u"])
        },
    );
    script.ask("A hears of C", 1, &beat(GROUP, "m-a", 3));
    script.ask("B hears of C", 1, &beat(GROUP, "m-b", 3));
    script.ask("three", 1, &describe_consumers(&[GROUP]));
    script.ask("C leaves", 1, &beat(GROUP, "m-c", -1));
    script.ask("two again", 1, &describe_consumers(&[GROUP]));
    script.ask("A comes back with nothing", 1, &enter(GROUP, "m-a", &["t"]));
    script.ask("B leaves", 1, &beat(GROUP, "m-b", -1));
    script.ask("A leaves", 1, &beat(GROUP, "m-a", -1));
    script.ask("nobody is left", 1, &describe_consumers(&[GROUP]));
}

/// The partitions of an answer's assignment, of all topics.
pub fn partitions(answer: &ConsumerGroupHeartbeatResponse) -> Vec<i32> {
    let topics = answer
        .assignment
        .iter()
        .flat_map(|assignment| &assignment.topic_partitions);
    topics.flat_map(|topic| topic.partitions.clone()).collect()
}
