//! Commits of members while others join and leave.

use ringlog::wire::Uuid;

use crate::modern::partitions;
use crate::requests::*;
use crate::script::Script;

/// Versions of commits that are told what they are refused for in different ways, where that depends on the version.
const VERSIONS: [i16; 3] = [2, 8, 9];

/// Who commits, by the name that the script has for it, and in which generation.
type Commits<'a> = &'a [(&'a str, &'a str, i32)];

fn commits(script: &mut Script, group: &str, when: &str, commits: Commits<'_>) {
    for &(name, member, generation) in commits {
        for version in VERSIONS {
            script.ask(
                &format!("{name} in generation {generation}, {when}"),
                version,
                &commit_as(member, generation, commit(group, "t", &[(0, 1, None)])),
            );
        }
    }
}

/// A classic group, from the join of its third member to the second's end.
pub fn classic(script: &mut Script) {
    const GROUP: &str = "race-1";
    script.part("racing");
    let a = script.ask("A joins", 3, &join(GROUP, "", &["a"])).member_id;
    script.ask("A leads", 4, &sync(GROUP, 1, &a, &[(&a, b"all")]));
    let b = script
        .ask("B asks for an id", 9, &join(GROUP, "", &["a"]))
        .member_id;
    commits(script, GROUP, "only named", &[("B", &b, -1), ("B", &b, 1)]);
    let waiting_b = script.send(9, &join(GROUP, &b, &["a"]));
    script.until(GROUP, "PreparingRebalance", 2);
    let preparing: Commits<'_> = &[
        ("A", &a, 1),
        ("A", &a, 0),
        ("A", &a, 2),
        ("B", &b, 1),
        ("B", &b, 0),
        ("B", &b, -1),
        ("nobody", "nobody", 1),
        ("no one", "", -1),
    ];
    commits(script, GROUP, "before A has joined again", preparing);
    script.ask("A joins again", 9, &join(GROUP, &a, &["a"]));
    script.receive("B joined", waiting_b);
    let completing: Commits<'_> = &[
        ("A", &a, 2),
        ("A", &a, 1),
        ("B", &b, 2),
        ("B", &b, 3),
        ("nobody", "nobody", 2),
        ("no one", "", -1),
    ];
    commits(script, GROUP, "before the sync", completing);
    let waiting_b = script.send(4, &sync(GROUP, 2, &b, &[]));
    commits(
        script,
        GROUP,
        "perhaps after B's sync",
        &[("A", &a, 2), ("B", &b, 2)],
    );
    script.ask("A leads", 4, &sync(GROUP, 2, &a, &[(&a, b"half"), (&b, b"half")]));
    script.receive("B follows", waiting_b);
    let stable: Commits<'_> = &[("A", &a, 1), ("A", &a, 2), ("B", &b, 2)];
    commits(script, GROUP, "after the sync", stable);
    script.ask("A leaves", 5, &leave_all(GROUP, &[(&a, None)]));
    let left: Commits<'_> = &[("A", &a, 2), ("B", &b, 2), ("B", &b, 3), ("no one", "", -1)];
    commits(script, GROUP, "A has left", left);
    script.ask("B leaves", 5, &leave_all(GROUP, &[(&b, None)]));
    commits(script, GROUP, "all have left", &[("B", &b, 2), ("B", &b, 3)]);
    script.ask("what they read", 7, &fetch(GROUP, None));
}

/// Two consumers that give and take, each partition committed in each epoch there was.
pub fn modern(script: &mut Script, t: Uuid) {
    const GROUP: &str = "race-2";
    script.part("racing consumers");
    let all = |script: &mut Script, when: &str| {
        for (member, epochs) in [("m-a", 1..=4), ("m-b", 2..=4)] {
            for epoch in epochs {
                for partition in 0..3 {
                    let request = commit(GROUP, "t", &[(partition, i64::from(epoch), None)]);
                    script.ask(
                        &format!("{member} in epoch {epoch}, {when}"),
                        9,
                        &commit_as(member, epoch, request),
                    );
                }
            }
            let rows: Vec<_> = (0..3).map(|partition| (partition, 9, None)).collect();
            let request = commit_as(member, 2, commit(GROUP, "t", &rows));
            script.ask(&format!("{member} commits all in epoch 2, {when}"), 9, &request);
        }
        script.ask(&format!("what was read, {when}"), 7, &fetch(GROUP, None));
    };
    script.ask("A joins", 1, &enter(GROUP, "m-a", &["t"]));
    script.ask(
        "A owns all",
        1,
        &owning(&[(t, &[0, 1, 2])], beat(GROUP, "m-a", 2)),
    );
    script.ask("B joins", 1, &enter(GROUP, "m-b", &["t"]));
    all(script, "B has joined");
    let kept = partitions(&script.ask("A shall give", 1, &beat(GROUP, "m-a", 2)));
    all(script, "A was told");
    script.ask("A gave", 1, &owning(&[(t, &kept)], beat(GROUP, "m-a", 2)));
    all(script, "A gave");
    let taken = partitions(&script.ask("B takes", 1, &beat(GROUP, "m-b", 3)));
    script.ask("B owns", 1, &owning(&[(t, &taken)], beat(GROUP, "m-b", 3)));
    all(script, "B took");
    script.ask("A leaves", 1, &beat(GROUP, "m-a", -1));
    script.ask("B takes all", 1, &beat(GROUP, "m-b", 3));
    all(script, "A has left");
    script.ask("B leaves", 1, &beat(GROUP, "m-b", -1));
    all(script, "all have left");
}

/// A classic member of a group of consumers, whose generation rises while it keeps what it has.
pub fn mixed(script: &mut Script, t: Uuid) {
    const GROUP: &str = "race-3";
    script.part("racing in between");
    let c = script
        .ask("C joins", 3, &consumer_join(GROUP, "", &["t"], &[]))
        .member_id;
    let every = assignment(&[0, 1, 2]);
    script.ask("C leads", 4, &sync(GROUP, 1, &c, &[(&c, &every)]));
    let all = |script: &mut Script, when: &str| {
        for generation in 0..=4 {
            for partition in 0..3 {
                let request = commit(GROUP, "t", &[(partition, i64::from(generation), None)]);
                script.ask(
                    &format!("C in generation {generation}, {when}"),
                    9,
                    &commit_as(&c, generation, request),
                );
            }
        }
    };
    script.ask("X joins", 1, &enter(GROUP, "m-x", &["t"]));
    all(script, "X has joined");
    let joined = script.ask("C joins again", 9, &consumer_join(GROUP, &c, &["t"], &[0, 1, 2]));
    all(script, "C is to give");
    script.ask("C syncs", 4, &sync(GROUP, joined.generation_id, &c, &[]));
    let joined = script.ask("C joins with less", 9, &consumer_join(GROUP, &c, &["t"], &[0, 1]));
    all(script, "C gave");
    script.ask("C syncs", 4, &sync(GROUP, joined.generation_id, &c, &[]));
    all(script, "C has synced");
    script.ask("X takes", 1, &owning(&[(t, &[])], beat(GROUP, "m-x", 2)));
    script.ask("C leaves", 5, &leave_all(GROUP, &[(&c, None)]));
    all(script, "C has left");
    script.ask("what was read", 7, &fetch(GROUP, None));
    script.ask("X leaves", 1, &beat(GROUP, "m-x", -1));
}
