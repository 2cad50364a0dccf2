//! Offsets: committed by members and without, fetched in every version.

use ringlog::wire::Uuid;
use ringlog::wire::offset_commit::OffsetCommitRequest;
use ringlog::wire::offset_fetch::OffsetFetchRequest;

use crate::requests::*;
use crate::script::Script;

/// The most that a commit may say about itself.
const METADATA_BYTES: usize = 4_096;

/// A topic that is not there.
const NO_TOPIC: Uuid = Uuid([9; 16]);

/// Commits of every version, good and bad.
pub fn commits(script: &mut Script, t: Uuid) {
    const GROUP: &str = "offsets";
    script.part("commit");
    for version in 2..=9i16 {
        let rows = [
            (0, i64::from(version), Some("said")),
            (1, 0, None),
            (2, 7, Some("")),
        ];
        script.ask("three offsets", version, &commit(GROUP, "t", &rows));
        let bad = [(0, 1, None), (3, 1, None), (-1, 1, None)];
        script.ask(
            "partitions that are not there",
            version,
            &commit("bad", "t", &bad),
        );
        script.ask(
            "a topic that is not there",
            version,
            &commit(GROUP, "nope", &[(0, 1, None)]),
        );
        script.ask(
            "a topic without a name",
            version,
            &commit(GROUP, "", &[(0, 1, None)]),
        );
        script.ask("no group", version, &commit("", "t", &[(0, 1, None)]));
    }
    let by_id = |group: &str, id, rows| commit_by_id(id, commit(group, "", rows));
    script.ask(
        "three offsets",
        10,
        &by_id(GROUP, t, &[(0, 10, Some("by id")), (1, 1, None), (2, 2, None)]),
    );
    script.ask(
        "partitions that are not there",
        10,
        &by_id("bad", t, &[(0, 1, None), (3, 1, None)]),
    );
    script.ask(
        "an unknown id",
        10,
        &by_id(GROUP, NO_TOPIC, &[(0, 1, None), (1, 1, None)]),
    );
    script.ask("no id", 10, &by_id(GROUP, Uuid::ZERO, &[(0, 1, None)]));
    script.ask("no group", 10, &by_id("", t, &[(0, 1, None)]));

    let most = "m".repeat(METADATA_BYTES);
    let more = "m".repeat(METADATA_BYTES + 1);
    let wide = "ü".repeat(METADATA_BYTES / 2 + 1);
    let rows = [
        (0, 1, Some(most.as_str())),
        (1, 1, Some(&more)),
        (2, 1, Some(&wide)),
    ];
    for version in [2, 9] {
        script.ask(
            "metadata of 4096 and 4097 bytes, and of wide characters",
            version,
            &commit("said", "t", &rows),
        );
    }
    script.ask("what came of it", 7, &fetch("said", None));
    for offset in [-1, -2, i64::MIN, i64::MAX] {
        script.ask(
            &format!("offset {offset}"),
            9,
            &commit("edges", "t", &[(0, offset, None)]),
        );
        script.ask("what came of it", 7, &fetch("edges", None));
    }
    let mut leader = commit("edges", "t", &[(1, 5, None), (2, 5, None)]);
    leader.topics[0].partitions[0].committed_leader_epoch = 3;
    leader.topics[0].partitions[1].committed_leader_epoch = -5;
    script.ask("a leader epoch", 6, &leader);
    script.ask("what came of it", 5, &fetch("edges", None));
    script.ask(
        "one partition twice",
        9,
        &commit("twice", "t", &[(0, 1, Some("first")), (0, 2, Some("second"))]),
    );
    script.ask("what came of it", 7, &fetch("twice", None));
    script.ask(
        "nothing",
        9,
        &OffsetCommitRequest {
            topics: Vec::new(),
            ..commit("nothing", "t", &[])
        },
    );
    script.ask("no partitions", 9, &commit("nothing", "t", &[]));
    let retained = OffsetCommitRequest {
        retention_time_ms: 1,
        ..commit("retained", "t", &[(0, 1, None)])
    };
    script.ask("to be kept for a millisecond", 4, &retained);
    script.ask(
        "the broker's own topic",
        9,
        &commit("own", "__consumer_offsets", &[(0, 1, None), (50, 1, None)]),
    );
    for version in [2, 9] {
        script.ask(
            "a member of no group",
            version,
            &commit_as("nobody", 1, commit("none", "t", &[(0, 1, None)])),
        );
        script.ask(
            "a generation of no group",
            version,
            &commit_as("", 1, commit("none", "t", &[(0, 1, None)])),
        );
        script.ask(
            "a member without a generation",
            version,
            &commit_as("nobody", -1, commit("none", "t", &[(0, 1, None)])),
        );
        script.ask(
            "a member of a group without members",
            version,
            &commit_as("nobody", 1, commit(GROUP, "t", &[(0, 1, None)])),
        );
        script.ask(
            "generation 0 of a group without members",
            version,
            &commit_as("", 0, commit(GROUP, "t", &[(0, 1, None)])),
        );
        script.ask(
            "generation -2",
            version,
            &commit_as("", -2, commit(GROUP, "t", &[(0, 1, None)])),
        );
    }
    let mut instance = commit(GROUP, "t", &[(0, 99, None)]);
    instance.group_instance_id = Some("nowhere".to_owned());
    script.ask("an instance of a group without members", 9, &instance);
    script.ask(
        "the groups that there are",
        6,
        &describe(&[GROUP, "bad", "none", "nothing", "twice", "own"]),
    );
    script.ask("the groups that there are", 5, &list(&[], &[]));
}

/// Commits to a group that has a classic member.
pub fn commits_of_members(script: &mut Script) {
    const GROUP: &str = "committing";
    script.part("members' commits");
    let member = script.ask("A joins", 3, &join(GROUP, "", &["a"])).member_id;
    let rows: &[(i32, i64, Option<&str>)] = &[(0, 1, None)];
    for state in ["before the sync", "after it"] {
        for version in [2, 9] {
            for (who, generation) in [
                (member.as_str(), 1),
                (&member, 0),
                (&member, 2),
                (&member, -1),
                ("nobody", 1),
                ("", -1),
                ("", 1),
            ] {
                let name = if who == member {
                    "A"
                } else if who.is_empty() {
                    "no one"
                } else {
                    who
                };
                let what = format!("{name} in generation {generation}, {state}");
                script.ask(
                    &what,
                    version,
                    &commit_as(who, generation, commit(GROUP, "t", rows)),
                );
            }
        }
        script.ask("the sync", 4, &sync(GROUP, 1, &member, &[]));
    }
    let as_member = |epoch| fetch_groups(&[fetch_as(&member, epoch, of_group(GROUP, None))]);
    for epoch in [1, 0, 2, -1] {
        script.ask(
            &format!("the offsets for A in generation {epoch}"),
            9,
            &as_member(epoch),
        );
    }
    script.ask(
        "the offsets for nobody",
        9,
        &fetch_groups(&[fetch_as("nobody", 1, of_group(GROUP, None))]),
    );
    script.ask("deleting an offset", 0, &delete_offsets(GROUP, &[("t", &[0])]));
    script.ask("A leaves", 0, &leave(GROUP, &member));
    script.ask("a commit to what is left", 9, &commit(GROUP, "t", rows));
    script.ask("described", 6, &describe(&[GROUP]));
}

/// Fetches of every version.
pub fn fetches(script: &mut Script, t: Uuid) {
    const GROUP: &str = "offsets";
    script.part("fetch");
    let asked: &[(&str, &[i32])] = &[("t", &[0, 1, 2, 3, -1]), ("u", &[0]), ("nope", &[0]), ("", &[0])];
    for version in 1..=7 {
        script.ask("these", version, &fetch(GROUP, Some(asked)));
        script.ask("of an unknown group", version, &fetch("none", Some(asked)));
        script.ask("of no group", version, &fetch("", Some(asked)));
        script.ask("none", version, &fetch(GROUP, Some(&[])));
        script.ask("no partitions", version, &fetch(GROUP, Some(&[("t", &[])])));
        if version >= 2 {
            script.ask("all", version, &fetch(GROUP, None));
            script.ask("all of an unknown group", version, &fetch("none", None));
            script.ask("all of no group", version, &fetch("", None));
        }
    }
    let stable = OffsetFetchRequest {
        require_stable: true,
        ..fetch(GROUP, None)
    };
    script.ask("all that is stable", 7, &stable);
    let asked: &[(&str, Uuid, &[i32])] = &[("t", t, &[0, 1, 9]), ("nope", NO_TOPIC, &[0])];
    for version in 8..=10 {
        let groups = [
            of_group(GROUP, Some(asked)),
            of_group("none", Some(asked)),
            of_group("", Some(asked)),
            of_group("said", Some(&[("t", t, &[2])])),
        ];
        script.ask("of four groups", version, &fetch_groups(&groups));
        let groups = [of_group("none", None), of_group(GROUP, None), of_group("", None)];
        script.ask("all of three groups", version, &fetch_groups(&groups));
        script.ask(
            "the same group twice",
            version,
            &fetch_groups(&[of_group(GROUP, None), of_group(GROUP, Some(asked))]),
        );
        script.ask("of nothing", version, &fetch_groups(&[]));
        script.ask(
            "nothing of a group",
            version,
            &fetch_groups(&[of_group(GROUP, Some(&[]))]),
        );
        script.ask(
            "no id and no name",
            version,
            &fetch_groups(&[of_group(GROUP, Some(&[("", Uuid::ZERO, &[0])]))]),
        );
        let member = fetch_as("nobody", 3, of_group(GROUP, None));
        script.ask(
            "for a member of a group without members",
            version,
            &fetch_groups(&[member]),
        );
        let member = fetch_as("nobody", 3, of_group("none", None));
        script.ask(
            "for a member of an unknown group",
            version,
            &fetch_groups(&[member]),
        );
        let epoch = fetch_as("", 3, of_group(GROUP, None));
        script.ask("for an epoch without a member", version, &fetch_groups(&[epoch]));
    }
}
