//! Offsets committed in a transaction.

use kafka_protocol::messages::OffsetFetchRequest;
use kafka_protocol::messages::TxnOffsetCommitRequest;
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use ringlog_tests::group::{self, group_id, text};
use ringlog_tests::raw::name;
use ringlog_tests::txn::{Producer, add_offsets_request, end_request, offset_commit_request};

use crate::script::{NOBODY, Script};

/// Adding a group's offsets to a transaction.
pub fn adding(script: &mut Script) {
    script.part("add offsets");
    for version in 0..=4 {
        let id = format!("add-offsets-{version}");
        let ask = |script: &mut Script, what: &str, id: &str, producer, group: &str| {
            script.ask(what, version, &add_offsets_request(id, producer, group));
        };
        ask(script, "an empty id", "", NOBODY, "g");
        ask(script, "an unknown id", &id, NOBODY, "g");
        let own = script.init(&id);
        ask(script, "another producer", &id, NOBODY, "g");
        ask(script, "an earlier epoch", &id, own.later(-1), "g");
        ask(script, "a later epoch", &id, own.later(1), "g");
        ask(script, "no group", &id, own, "");
        ask(script, "a group", &id, own, "add-offsets");
        ask(script, "the same group", &id, own, "add-offsets");
        script.settled("in the end", &id);
        script.ask("committed", version.min(4), &end_request(&id, own, true));
        script.settled("committed", &id);
    }
}

/// Commits of a transaction that the group's partition was added to, by a producer of before version 2.
pub fn committing(script: &mut Script) {
    script.part("txn offsets");
    for version in 0..=4 {
        let (id, group) = (
            format!("txn-offsets-{version}"),
            format!("txn-offsets-group-{version}"),
        );
        let own = script.init(&id);
        script.ask("added", 3, &add_offsets_request(&id, own, &group));
        script.ask(
            "some",
            version,
            &offset_commit_request(&id, own, &group, "t", &[(0, 5), (1, 6)]),
        );
        reads(script, "open", &group);
        refused(script, version, &id, own, &group);
        script.ask(
            "later",
            version,
            &offset_commit_request(&id, own, &group, "t", &[(0, 7)]),
        );
        script.ask("committed", 3, &end_request(&id, own, true));
        script.settled("committed", &id);
        reads(script, "committed", &group);

        script.ask("added", 3, &add_offsets_request(&id, own, &group));
        script.ask(
            "others",
            version,
            &offset_commit_request(&id, own, &group, "t", &[(1, 60), (2, 61)]),
        );
        reads(script, "open again", &group);
        script.ask("aborted", 3, &end_request(&id, own, false));
        script.settled("aborted", &id);
        reads(script, "aborted", &group);
    }
}

fn refused(script: &mut Script, version: i16, id: &str, own: Producer, group: &str) {
    let ask = |script: &mut Script, what: &str, request: TxnOffsetCommitRequest| {
        script.ask(what, version, &request);
    };
    let good = offset_commit_request(id, own, group, "t", &[(2, 9)]);
    ask(
        script,
        "an empty id",
        good.clone().with_transactional_id(ringlog_tests::txn::txn_id("")),
    );
    ask(script, "no group", good.clone().with_group_id(group_id("")));
    ask(
        script,
        "another group",
        good.clone().with_group_id(group_id("not added")),
    );
    ask(
        script,
        "another producer",
        offset_commit_request(id, NOBODY, group, "t", &[(2, 9)]),
    );
    ask(
        script,
        "an earlier epoch",
        offset_commit_request(id, own.later(-1), group, "t", &[(2, 9)]),
    );
    ask(
        script,
        "a later epoch",
        offset_commit_request(id, own.later(1), group, "t", &[(2, 9)]),
    );
    ask(
        script,
        "an unknown topic",
        offset_commit_request(id, own, group, "none", &[(2, 9)]),
    );
    ask(
        script,
        "an unknown partition",
        offset_commit_request(id, own, group, "t", &[(9, 9), (2, 8)]),
    );
    ask(
        script,
        "a negative offset",
        offset_commit_request(id, own, group, "t", &[(2, -1)]),
    );
    let mut long = good.clone();
    long.topics[0].partitions[0].committed_metadata = Some(text(&"m".repeat(4_097)));
    ask(script, "long metadata", long);
    ask(script, "nothing", good.clone().with_topics(vec![]));
    if version >= 3 {
        ask(
            script,
            "an unknown member",
            good.clone().with_member_id(text("nobody")).with_generation_id(1),
        );
        ask(script, "a generation alone", good.clone().with_generation_id(1));
        let instance = good
            .with_group_instance_id(Some(text("i")))
            .with_member_id(text("nobody"));
        ask(script, "an unknown instance", instance);
    }
}

/// Version 5 adds the group's partition by the way; before, it must have been added.
pub fn committing_unverified(script: &mut Script) {
    script.part("unverified offsets");
    for version in 0..=5 {
        let (id, group) = (
            format!("unverified-{version}"),
            format!("unverified-group-{version}"),
        );
        script.ask(
            "an unknown id",
            version,
            &offset_commit_request(&id, NOBODY, &group, "t", &[(0, 5)]),
        );
        let own = script.init(&id);
        script.ask(
            "not added",
            version,
            &offset_commit_request(&id, own, &group, "t", &[(0, 5)]),
        );
        script.settled("then", &id);
        reads(script, "then", &group);
        if version == 5 {
            refused(script, version, &id, own, &group);
            script.ask("committed", 5, &end_request(&id, own, true));
        } else {
            script.ask("committed", 4, &end_request(&id, own, true));
        }
        script.settled("committed", &id);
        reads(script, "committed", &group);
    }
}

/// Commits of members of a group.
pub fn of_members(script: &mut Script) {
    script.part("members' offsets");
    let (id, group) = ("member-offsets", "member-offsets-group");
    let (member, generation) = group::alone(script.quietly(), group, &["t"]);
    let own = script.init(id);
    script.ask("added", 3, &add_offsets_request(id, own, group));
    let good = offset_commit_request(id, own, group, "t", &[(0, 5)]);
    for version in 0..=5 {
        script.ask("by nobody", version, &good);
        if version < 3 {
            continue;
        }
        let as_member = good
            .clone()
            .with_member_id(text(&member))
            .with_generation_id(generation);
        script.ask("by the member", version, &as_member);
        script.ask(
            "of an old generation",
            version,
            &as_member.clone().with_generation_id(generation - 1),
        );
        script.ask(
            "of a later generation",
            version,
            &as_member.clone().with_generation_id(generation + 1),
        );
        script.ask(
            "of no generation",
            version,
            &as_member.clone().with_generation_id(-1),
        );
        script.ask(
            "by another",
            version,
            &as_member.clone().with_member_id(text("nobody")),
        );
        let instance = as_member.with_group_instance_id(Some(text("i")));
        script.ask("by an unknown instance", version, &instance);
    }
    script.ask("committed", 4, &end_request(id, own, true));
    script.settled("committed", id);
    reads(script, "committed", group);
}

/// What a group has committed, for who takes what is there and for who wants it decided.
fn reads(script: &mut Script, what: &str, group: &str) {
    let partitions = vec![0, 1, 2];
    for stable in [false, true] {
        let topic = OffsetFetchRequestTopic::default()
            .with_name(name("t"))
            .with_partition_indexes(partitions.clone());
        let request = OffsetFetchRequest::default()
            .with_group_id(group_id(group))
            .with_topics(Some(vec![topic]))
            .with_require_stable(stable);
        let how = if stable { "decided" } else { "what is there" };
        script.ask(&format!("{what}, {how}"), 7, &request);
        let topic = OffsetFetchRequestTopics::default()
            .with_name(name("t"))
            .with_partition_indexes(partitions.clone());
        let one = OffsetFetchRequestGroup::default()
            .with_group_id(group_id(group))
            .with_member_epoch(-1)
            .with_topics(Some(vec![topic]));
        let request = OffsetFetchRequest::default()
            .with_groups(vec![one.clone(), one.with_topics(None)])
            .with_require_stable(stable);
        if group.ends_with('4') {
            script.ask(&format!("{what}, {how}, also of all topics"), 9, &request);
        }
    }
}
