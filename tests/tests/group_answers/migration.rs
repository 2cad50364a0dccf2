//! Groups that change their protocol, with members and without.

use ringlog::wire::Uuid;
use ringlog::wire::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;

use crate::requests::*;
use crate::script::Script;

/// A classic group of consumers that a member of the consumer protocol joins, up to the last classic member's end.
pub fn up(script: &mut Script, t: Uuid) {
    const GROUP: &str = "up";
    script.part("up");
    let c = script
        .ask("C joins", 3, &consumer_join(GROUP, "", &["t"], &[]))
        .member_id;
    let all = assignment(&[0, 1, 2]);
    script.ask("C leads", 4, &sync(GROUP, 1, &c, &[(&c, &all)]));
    script.ask("X joins", 1, &enter(GROUP, "m-x", &["t"]));
    script.ask("described", 1, &describe_consumers(&[GROUP]));
    script.ask("described as a classic group", 6, &describe(&[GROUP]));
    script.ask("C shall join", 4, &heartbeat(GROUP, 1, &c));
    script.ask(
        "C commits",
        9,
        &commit_as(&c, 1, commit(GROUP, "t", &[(0, 2, None)])),
    );
    let joined = script.ask("C joins again", 9, &consumer_join(GROUP, &c, &["t"], &[0, 1, 2]));
    script.ask(
        "C heartbeats before the sync",
        4,
        &heartbeat(GROUP, joined.generation_id, &c),
    );
    script.ask("C syncs", 4, &sync(GROUP, joined.generation_id, &c, &[]));
    script.ask("C heartbeats", 4, &heartbeat(GROUP, joined.generation_id, &c));
    script.ask("X hears nothing yet", 1, &beat(GROUP, "m-x", 2));
    let joined = script.ask("C joins with less", 9, &consumer_join(GROUP, &c, &["t"], &[0, 1]));
    script.ask("C syncs", 4, &sync(GROUP, joined.generation_id, &c, &[]));
    script.ask("X", 1, &beat(GROUP, "m-x", 2));
    script.ask("described", 1, &describe_consumers(&[GROUP]));
    script.ask("C in a wrong generation", 4, &heartbeat(GROUP, 77, &c));
    script.ask("C syncs in a wrong generation", 4, &sync(GROUP, 77, &c, &[]));
    script.ask("C joins with other protocols", 9, &join(GROUP, &c, &["a"]));
    script.ask(
        "an unknown classic member joins",
        9,
        &consumer_join(GROUP, "nobody", &["t"], &[]),
    );
    script.ask(
        "a classic member asks for an id",
        9,
        &consumer_join(GROUP, "", &["t"], &[]),
    );
    script.ask("C leaves", 5, &leave_all(GROUP, &[(&c, None), ("nobody", None)]));
    let alone = script.ask("X alone", 1, &beat(GROUP, "m-x", 2));
    script.ask(
        "X owns all",
        1,
        &owning(&[(t, &[0, 1, 2])], beat(GROUP, "m-x", alone.member_epoch)),
    );
    script.ask("described", 1, &describe_consumers(&[GROUP]));
}

/// A group of the consumer protocol that a classic member joins, up to the last other member's end.
pub fn down(script: &mut Script, t: Uuid) {
    const GROUP: &str = "down";
    script.part("down");
    script.ask("X joins", 1, &enter(GROUP, "m-x", &["t"]));
    script.ask(
        "X owns all",
        1,
        &owning(&[(t, &[0, 1, 2])], beat(GROUP, "m-x", 2)),
    );
    script.ask("a classic member of another kind", 3, &join(GROUP, "", &["a"]));
    script.ask(
        "a classic member without protocols",
        9,
        &consumer_join_without(GROUP),
    );
    let c = script
        .ask("C asks for an id", 9, &consumer_join(GROUP, "", &["t"], &[]))
        .member_id;
    script.ask("C joins", 9, &consumer_join(GROUP, &c, &["t"], &[]));
    let generation = script
        .ask("C joins again", 9, &consumer_join(GROUP, &c, &["t"], &[]))
        .generation_id;
    script.ask("C syncs", 4, &sync(GROUP, generation, &c, &[]));
    script.ask("C heartbeats", 4, &heartbeat(GROUP, generation, &c));
    script.ask("described", 1, &describe_consumers(&[GROUP]));
    script.ask("X hears of C", 1, &beat(GROUP, "m-x", 2));
    script.ask("X leaves", 1, &beat(GROUP, "m-x", -1));
    script.ask("described", 1, &describe_consumers(&[GROUP]));
    script.until(GROUP, "PreparingRebalance", 1);
    script.ask("described as a classic group", 6, &describe(&[GROUP]));
    script.ask("listed", 5, &list(&[], &["consumer"]));
    script.ask("C shall join", 4, &heartbeat(GROUP, generation, &c));
    let joined = script.ask(
        "C joins as a classic member",
        9,
        &consumer_join(GROUP, &c, &["t"], &[]),
    );
    script.ask(
        "C leads",
        4,
        &sync(GROUP, joined.generation_id, &c, &[(&c, &assignment(&[0]))]),
    );
    script.ask("C heartbeats", 4, &heartbeat(GROUP, joined.generation_id, &c));
    script.ask("described as a classic group", 6, &describe(&[GROUP]));
    script.ask("C leaves", 5, &leave_all(GROUP, &[(&c, None)]));
}

fn consumer_join_without(group: &str) -> ringlog::wire::join_group::JoinGroupRequest {
    ringlog::wire::join_group::JoinGroupRequest {
        protocols: Vec::new(),
        ..consumer_join(group, "", &["t"], &[])
    }
}

/// A classic group that is in the midst of a rebalance when a member of the consumer protocol comes. It wants nothing, so that it does not
/// matter whose turn it is first.
pub fn early(script: &mut Script) {
    const GROUP: &str = "early";
    script.part("early");
    let c = script
        .ask("C joins", 3, &consumer_join(GROUP, "", &["t"], &[]))
        .member_id;
    let waiting_d = script.send(3, &consumer_join(GROUP, "", &["u"], &[]));
    script.until(GROUP, "PreparingRebalance", 2);
    script.ask("X joins before C and D have", 1, &enter(GROUP, "m-x", &["nope"]));
    script.receive("D", waiting_d);
    script.ask("what it did", 6, &describe(&[GROUP]));
    script.ask("C leads", 4, &sync(GROUP, 1, &c, &[(&c, &assignment(&[0]))]));
    script.ask("C heartbeats", 4, &heartbeat(GROUP, 1, &c));
}

/// Groups without members, and groups that are of another kind.
pub fn others(script: &mut Script) {
    script.part("other kinds");
    let member = script
        .ask("a group that is not of consumers", 3, &join("kind", "", &["a"]))
        .member_id;
    script.ask("a consumer joins", 1, &enter("kind", "m-x", &["t"]));
    script.ask("its sync", 4, &sync("kind", 1, &member, &[]));
    script.ask("a consumer joins", 1, &enter("kind", "m-x", &["t"]));
    script.ask("a consumer in an epoch", 1, &beat("kind", "m-x", 1));
    script.ask("a consumer leaves", 1, &beat("kind", "m-x", -1));
    script.ask("the member leaves", 0, &leave("kind", &member));
    script.ask("a consumer in an epoch", 1, &beat("kind", "m-x", 1));
    script.ask(
        "a consumer joins the empty group",
        1,
        &enter("kind", "m-x", &["t"]),
    );
    script.ask("described", 1, &describe_consumers(&["kind"]));
    script.ask("it leaves", 1, &beat("kind", "m-x", -1));
    script.ask(
        "a classic member joins the empty group",
        3,
        &join("kind", "", &["a"]),
    );
    script.ask("described", 6, &describe(&["kind"]));
    script.ask("described", 1, &describe_consumers(&["kind"]));
    script.ask(
        "offsets without members",
        9,
        &commit("kind-2", "t", &[(0, 8, None)]),
    );
    script.ask(
        "a consumer comes to the offsets",
        1,
        &enter("kind-2", "m-x", &["u"]),
    );
    script.ask("the offsets", 7, &fetch("kind-2", None));
    script.ask("a simple commit", 9, &commit("kind-2", "t", &[(0, 9, None)]));
    script.ask(
        "offsets of a topic nobody is subscribed to",
        0,
        &delete_offsets("kind-2", &[("t", &[0]), ("u", &[0])]),
    );
    script.ask("rubbish in a subscription", 3, &rubbish("kind-3"));
    script.ask(
        "a consumer comes to rubbish",
        1,
        &ConsumerGroupHeartbeatRequest {
            server_assignor: None,
            ..enter("kind-3", "m-x", &["t"])
        },
    );
    script.ask("rubbish comes to a consumer", 3, &rubbish("kind-2"));
    script.ask("all groups", 5, &list(&[], &[]));
}

/// A consumer's join whose subscription cannot be read.
fn rubbish(group: &str) -> ringlog::wire::join_group::JoinGroupRequest {
    let mut request = consumer_join(group, "", &["t"], &[]);
    for protocol in &mut request.protocols {
        protocol.metadata = bytes::Bytes::from_static(b"\x00\x01\x7f");
    }
    request
}
