//! The consumer protocol: static members, and subscriptions by expression.

use ringlog::wire::Uuid;
use ringlog::wire::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;

use crate::modern::partitions;
use crate::requests::*;
use crate::script::Script;

/// Static members.
pub fn fixed_members(script: &mut Script, t: Uuid) {
    const GROUP: &str = "m3";
    script.part("static consumers");
    let as_i = |request| fixed_beat("I", request);
    script.ask("I joins", 1, &as_i(enter(GROUP, "m-1", &["t"])));
    script.ask(
        "I owns all",
        1,
        &as_i(owning(&[(t, &[0, 1, 2])], beat(GROUP, "m-1", 2))),
    );
    script.ask(
        "another I joins while it is here",
        1,
        &as_i(enter(GROUP, "m-2", &["t"])),
    );
    script.ask("I under another name", 1, &as_i(beat(GROUP, "m-2", 2)));
    script.ask("an unknown instance", 1, &fixed_beat("J", beat(GROUP, "m-1", 2)));
    script.ask("I without its instance", 1, &beat(GROUP, "m-1", 2));
    script.ask(
        "another leaves for a while as I",
        1,
        &as_i(beat(GROUP, "m-2", -2)),
    );
    script.ask("another leaves for good as I", 1, &as_i(beat(GROUP, "m-2", -1)));
    script.ask("I leaves for a while", 1, &as_i(beat(GROUP, "m-1", -2)));
    script.ask("while I is away", 1, &describe_consumers(&[GROUP]));
    script.ask("the old I", 1, &as_i(beat(GROUP, "m-1", 2)));
    script.ask(
        "I comes back under another name",
        1,
        &as_i(enter(GROUP, "m-3", &["t"])),
    );
    script.ask("the old I", 1, &as_i(beat(GROUP, "m-1", 2)));
    script.ask(
        "the new I",
        1,
        &as_i(owning(&[(t, &[0, 1, 2])], beat(GROUP, "m-3", 2))),
    );
    script.ask("I joins again", 1, &as_i(enter(GROUP, "m-3", &["t"])));
    script.ask("leaves for a while again", 1, &as_i(beat(GROUP, "m-3", -2)));
    script.ask(
        "and comes back with another subscription",
        1,
        &as_i(enter(GROUP, "m-4", &["u"])),
    );
    script.ask("described", 1, &describe_consumers(&[GROUP]));
    script.ask(
        "some leave as classic members do",
        5,
        &leave_all(GROUP, &[("m-1", Some("I")), ("", Some("J"))]),
    );
    script.ask("I leaves for good", 1, &as_i(beat(GROUP, "m-4", -1)));
    script.ask("described when empty", 1, &describe_consumers(&[GROUP]));
}

/// Subscriptions by expression.
pub fn expressions(script: &mut Script, t: Uuid, u: Uuid) {
    const GROUP: &str = "m4";
    script.part("expressions");
    let matching = |expression: &str, request: ConsumerGroupHeartbeatRequest| ConsumerGroupHeartbeatRequest {
        subscribed_topic_regex: Some(expression.to_owned()),
        ..request
    };
    let first = ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: None,
        ..enter(GROUP, "m-r", &[])
    };
    script.ask("joins", 1, &matching("[tu]", first));
    let whole = |epoch| ConsumerGroupHeartbeatRequest {
        member_epoch: epoch,
        subscribed_topic_names: None,
        ..enter(GROUP, "m-r", &[])
    };
    let answer = script.ask_until(
        "joins until both are found",
        1,
        &matching("[tu]", whole(0)),
        |answer| answer.error_code == 0 && !partitions(answer).is_empty(),
    );
    script.ask(
        "owns them",
        1,
        &owning(
            &[(t, &[0, 1, 2]), (u, &[0, 1])],
            beat(GROUP, "m-r", answer.member_epoch),
        ),
    );
    script.ask("described", 1, &describe_consumers(&[GROUP]));
    script.ask(
        "a bad expression",
        1,
        &matching("(", beat(GROUP, "m-r", answer.member_epoch)),
    );
    script.ask(
        "no expression",
        1,
        &matching("", beat(GROUP, "m-r", answer.member_epoch)),
    );
    script.ask("described", 1, &describe_consumers(&[GROUP]));
    script.ask("leaves", 1, &beat(GROUP, "m-r", -1));
    let named = matching("", enter("m5", "m-n", &["t"]));
    script.ask("topics and an empty expression", 1, &named);
    script.ask(
        "only an empty expression",
        1,
        &ConsumerGroupHeartbeatRequest {
            subscribed_topic_names: None,
            ..matching("", enter("m6", "m-n", &[]))
        },
    );
}
