//! The classic protocol: joining, generations, two members, static members.

use ringlog::wire::find_coordinator::FindCoordinatorRequest;
use ringlog::wire::heartbeat::HeartbeatRequest;
use ringlog::wire::join_group::JoinGroupRequest;
use ringlog::wire::sync_group::SyncGroupRequest;

use crate::requests::*;
use crate::script::Script;

/// Who coordinates a group.
pub fn find(script: &mut Script) {
    script.part("find");
    for version in 0..=3 {
        let request = FindCoordinatorRequest {
            key: "g".to_owned(),
            ..Default::default()
        };
        script.ask("a group", version, &request);
    }
    for version in 4..=6 {
        let request = FindCoordinatorRequest {
            coordinator_keys: words(&["g", "h", ""]),
            ..Default::default()
        };
        script.ask("three groups", version, &request);
    }
    for version in [2, 6] {
        let request = FindCoordinatorRequest {
            key: "g".to_owned(),
            key_type: 9,
            coordinator_keys: words(&["g"]),
        };
        script.ask("of no known type", version, &request);
    }
    script.ask("nothing", 4, &FindCoordinatorRequest::default());
}

/// One member in every version.
pub fn alone(script: &mut Script) {
    script.part("alone");
    for version in 0..=9i16 {
        let group = format!("alone-{version}");
        let mut joined = script.ask("a first join", version, &join(&group, "", &["a", "b"]));
        if version >= 4 {
            let given = joined.member_id.clone();
            script.ask(
                "a heartbeat of a member that was only named",
                4,
                &heartbeat(&group, -1, &given),
            );
            script.ask(
                "a sync of a member that was only named",
                5,
                &sync(&group, -1, &given, &[]),
            );
            joined = script.ask(
                "a join with the given id",
                version,
                &join(&group, &given, &["a", "b"]),
            );
        }
        let (member, generation) = (joined.member_id, joined.generation_id);
        script.ask(
            "a heartbeat before the sync",
            version.min(4),
            &heartbeat(&group, generation, &member),
        );
        let assigned: &[(&str, &[u8])] = &[(&member, b"mine"), ("nobody", b"another's")];
        script.ask(
            "the leader's sync",
            version.min(5),
            &typed("script", "a", sync(&group, generation, &member, assigned)),
        );
        script.ask("described", version.min(6), &describe(&[&group]));
        script.ask(
            "a heartbeat",
            version.min(4),
            &heartbeat(&group, generation, &member),
        );
        script.ask(
            "the leader joins again",
            version,
            &join(&group, &member, &["b", "c"]),
        );
        script.ask(
            "a sync of the old generation",
            version.min(5),
            &typed("script", "b", sync(&group, generation, &member, &[])),
        );
        script.ask(
            "a sync without an assignment",
            version.min(5),
            &typed("script", "b", sync(&group, generation + 1, &member, &[])),
        );
        if version < 3 {
            script.ask("leaves", version, &leave(&group, &member));
            script.ask("leaves again", version, &leave(&group, &member));
        } else {
            let all = leave_all(&group, &[(&member, None), ("nobody", None), (&member, None)]);
            script.ask("leaves with others", version.min(5), &all);
        }
        script.ask("described when empty", version.min(6), &describe(&[&group]));
    }
}

/// Joins that are refused.
pub fn refused_joins(script: &mut Script) {
    script.part("refused");
    for version in [0, 3, 5, 9] {
        script.ask("no group id", version, &join("", "", &["a"]));
        if version >= 4 {
            script.ask("blank group id", version, &join(" ", "", &["a"]));
        }
        script.ask(
            "an unknown member of no group",
            version,
            &join("none", "nobody", &["a"]),
        );
        let short = JoinGroupRequest {
            session_timeout_ms: 5_999,
            ..join("timeouts", "", &["a"])
        };
        script.ask("a session that is too short", version, &short);
        let long = JoinGroupRequest {
            session_timeout_ms: 1_800_001,
            ..join("timeouts", "", &["a"])
        };
        script.ask("a session that is too long", version, &long);
        let negative = JoinGroupRequest {
            session_timeout_ms: -1,
            ..join("timeouts", "", &["a"])
        };
        script.ask("a negative session", version, &negative);
        script.ask("no protocols", version, &join("protocols", "", &[]));
        let typeless = JoinGroupRequest {
            protocol_type: String::new(),
            ..join("protocols", "", &["a"])
        };
        script.ask("no protocol type", version, &typeless);
    }
    script.ask(
        "what is left of the refused",
        6,
        &describe(&["none", "timeouts", "protocols", " "]),
    );

    let first = script.ask("a member to disagree with", 3, &join("disagree", "", &["a", "b"]));
    for version in [0, 3, 5, 9] {
        script.ask("other protocols", version, &join("disagree", "", &["c"]));
        script.ask("no protocols", version, &join("disagree", "", &[]));
        let other = JoinGroupRequest {
            protocol_type: "other".to_owned(),
            ..join("disagree", "", &["a"])
        };
        script.ask("another type", version, &other);
        script.ask("an unknown member", version, &join("disagree", "nobody", &["a"]));
        let unknown = fixed("nowhere", join("disagree", "nobody", &["a"]));
        script.ask("an unknown instance", version, &unknown);
    }
    script.ask(
        "the member disagrees with itself",
        3,
        &join("disagree", &first.member_id, &["z"]),
    );
    script.ask("a joined member leaves", 0, &leave("disagree", &first.member_id));
}

/// Requests of members that are none.
pub fn strangers(script: &mut Script) {
    script.part("strangers");
    for group in ["", "none"] {
        for version in [0, 2, 4] {
            script.ask("heartbeat", version, &heartbeat(group, 0, "nobody"));
        }
        for version in [0, 3, 5] {
            script.ask("sync", version, &sync(group, 0, "nobody", &[]));
            let typed = typed("script", "a", sync(group, 0, "nobody", &[]));
            script.ask("sync with a protocol", version, &typed);
        }
        for version in [0, 2] {
            script.ask("leave", version, &leave(group, "nobody"));
        }
        for version in [3, 5] {
            script.ask(
                "leave",
                version,
                &leave_all(group, &[("nobody", None), ("", Some("i"))]),
            );
            script.ask("nobody leaves", version, &leave_all(group, &[]));
        }
    }
}

/// Two members, from the first join of the second to its end.
pub fn two(script: &mut Script) {
    const GROUP: &str = "two";
    script.part("two");
    let named = script.ask("A asks for an id", 9, &join(GROUP, "", &["range", "robin"]));
    let a = named.member_id;
    script.ask("A joins", 9, &join(GROUP, &a, &["range", "robin"]));
    script.ask("A leads", 4, &sync(GROUP, 1, &a, &[(&a, b"all")]));
    let named = script.ask("B asks for an id", 9, &join(GROUP, "", &["robin"]));
    let b = named.member_id;
    script.ask("before B joins", 6, &describe(&[GROUP]));
    let waiting_b = script.send(9, &join(GROUP, &b, &["robin"]));
    script.until(GROUP, "PreparingRebalance", 2);
    script.ask("B waits", 6, &describe(&[GROUP]));
    script.ask("B waits", 5, &list(&[], &[]));
    script.ask("A shall join", 4, &heartbeat(GROUP, 1, &a));
    script.ask("A shall join", 0, &heartbeat(GROUP, 1, &a));
    script.ask("A with a wrong generation", 4, &heartbeat(GROUP, 7, &a));
    script.ask("A syncs too early", 4, &sync(GROUP, 1, &a, &[]));
    script.ask(
        "A commits what it read",
        9,
        &commit_as(&a, 1, commit(GROUP, "t", &[(0, 5, None)])),
    );
    script.ask(
        "A commits with a wrong generation",
        9,
        &commit_as(&a, 2, commit(GROUP, "t", &[(0, 6, None)])),
    );
    script.ask("A joins again", 9, &join(GROUP, &a, &["range", "robin"]));
    script.receive("B joined", waiting_b);
    script.ask("all joined", 6, &describe(&[GROUP]));
    script.ask("A before the sync", 4, &heartbeat(GROUP, 2, &a));
    script.ask(
        "A commits before the sync",
        9,
        &commit_as(&a, 2, commit(GROUP, "t", &[(0, 7, None)])),
    );
    script.ask(
        "A commits the last generation's before the sync",
        2,
        &commit_as(&a, 1, commit(GROUP, "t", &[(0, 7, None)])),
    );
    let other_name = typed("script", "range", sync(GROUP, 2, &a, &[]));
    script.ask("A syncs another protocol", 5, &other_name);
    let other_type = typed("consumer", "robin", sync(GROUP, 2, &a, &[]));
    script.ask("A syncs another type", 5, &other_type);
    script.ask(
        "A syncs another generation",
        5,
        &typed("script", "robin", sync(GROUP, 3, &a, &[])),
    );
    let waiting_b = script.send(4, &sync(GROUP, 2, &b, &[]));
    let right = typed(
        "script",
        "robin",
        sync(GROUP, 2, &a, &[(&a, b"half"), (&b, b"the other half")]),
    );
    script.ask("A leads", 5, &right);
    script.receive("B follows", waiting_b);
    for version in [0, 4, 5, 6] {
        script.ask("stable", version, &describe(&[GROUP]));
    }
    script.ask("B syncs again", 3, &sync(GROUP, 2, &b, &[(&b, b"ignored")]));
    script.ask("B syncs again", 5, &sync(GROUP, 2, &b, &[]));
    script.ask("B joins as it is", 9, &join(GROUP, &b, &["robin"]));
    script.ask("B joins as it is", 3, &join(GROUP, &b, &["robin"]));
    script.ask("a heartbeat of B", 4, &heartbeat(GROUP, 2, &b));
    let instance = HeartbeatRequest {
        group_instance_id: Some("nowhere".to_owned()),
        ..heartbeat(GROUP, 2, &b)
    };
    script.ask("a heartbeat of B with an instance", 4, &instance);

    let waiting_b = script.send(9, &join(GROUP, &b, &["range", "robin"]));
    script.until(GROUP, "PreparingRebalance", 2);
    script.ask("A joins a third time", 9, &join(GROUP, &a, &["range", "robin"]));
    script.receive("B joined otherwise", waiting_b);
    let waiting_b = script.send(4, &sync(GROUP, 3, &b, &[]));
    script.ask("A leads", 4, &sync(GROUP, 3, &a, &[(&b, b"all")]));
    script.receive("B follows", waiting_b);
    script.ask(
        "A leaves and nobody too",
        5,
        &leave_all(GROUP, &[(&a, None), ("nobody", None)]),
    );
    script.ask("B shall join", 4, &heartbeat(GROUP, 3, &b));
    script.ask("B joins alone", 9, &join(GROUP, &b, &["range", "robin"]));
    script.ask("B leads", 4, &sync(GROUP, 4, &b, &[(&b, b"all")]));
    script.ask("deleted too early", 2, &delete(&[GROUP]));
    script.ask("B leaves", 0, &leave(GROUP, &b));
    script.ask("nobody is left", 6, &describe(&[GROUP]));
    script.ask("what A read", 7, &fetch(GROUP, None));
}

/// Members that keep their place by an instance id.
pub fn fixed_members(script: &mut Script) {
    const GROUP: &str = "fixed";
    script.part("static");
    let joined = script.ask("I joins", 5, &fixed("I", join(GROUP, "", &["a", "b"])));
    let old = joined.member_id;
    let as_i = |request: SyncGroupRequest| SyncGroupRequest {
        group_instance_id: Some("I".to_owned()),
        ..request
    };
    let beat_of_i = |request: HeartbeatRequest| HeartbeatRequest {
        group_instance_id: Some("I".to_owned()),
        ..request
    };
    script.ask("I leads", 4, &as_i(sync(GROUP, 1, &old, &[(&old, b"all")])));
    script.ask("described", 4, &describe(&[GROUP]));
    let mut new = old.clone();
    for version in [5, 8, 9] {
        let before = new;
        let joined = script.ask("I comes back", version, &fixed("I", join(GROUP, "", &["a", "b"])));
        new = joined.member_id;
        script.ask("the old I", 4, &beat_of_i(heartbeat(GROUP, 1, &before)));
        script.ask("the old I without its name", 4, &heartbeat(GROUP, 1, &before));
        script.ask("I", 4, &beat_of_i(heartbeat(GROUP, 1, &new)));
        script.ask("I takes its part", 4, &as_i(sync(GROUP, 1, &new, &[])));
    }
    script.ask("the old I syncs", 4, &as_i(sync(GROUP, 1, &old, &[])));
    script.ask("the old I joins", 9, &fixed("I", join(GROUP, &old, &["a", "b"])));
    let commit_of = |member: &str, instance: &str| {
        let mut request = commit_as(member, 1, commit(GROUP, "t", &[(0, 1, Some("by I"))]));
        request.group_instance_id = Some(instance.to_owned());
        request
    };
    script.ask("the old I commits", 7, &commit_of(&old, "I"));
    script.ask("an unknown instance commits", 8, &commit_of(&new, "nowhere"));
    script.ask("I commits", 9, &commit_of(&new, "I"));
    script.ask(
        "nobody by the name of J",
        4,
        &HeartbeatRequest {
            group_instance_id: Some("J".to_owned()),
            ..heartbeat(GROUP, 1, &new)
        },
    );
    let waiting_j = script.send(9, &fixed("J", join(GROUP, "", &["b"])));
    script.until(GROUP, "PreparingRebalance", 2);
    script.ask("I shall join", 4, &beat_of_i(heartbeat(GROUP, 1, &new)));
    script.ask("I joins again", 9, &fixed("I", join(GROUP, &new, &["a", "b"])));
    let j = script.receive("J joined", waiting_j).member_id;
    let waiting_j = script.send(4, &sync(GROUP, 2, &j, &[]));
    script.ask(
        "I leads",
        4,
        &as_i(sync(GROUP, 2, &new, &[(&new, b"I's"), (&j, b"J's")])),
    );
    script.receive("J follows", waiting_j);
    let joined = script.ask("J comes back", 6, &fixed("J", join(GROUP, "", &["b"])));
    script.ask("described", 6, &describe(&[GROUP]));
    let newest_j = joined.member_id;
    let batch: &[(&str, Option<&str>)] = &[
        (&j, Some("J")),
        ("", Some("nowhere")),
        ("nobody", None),
        (&newest_j, None),
        ("", Some("J")),
    ];
    script.ask("some leave", 3, &leave_all(GROUP, batch));
    script.ask("I shall join", 4, &beat_of_i(heartbeat(GROUP, 2, &new)));
    let joined = script.ask(
        "I comes back with other protocols",
        9,
        &fixed("I", join(GROUP, "", &["c"])),
    );
    script.ask(
        "I leads",
        4,
        &as_i(sync(GROUP, joined.generation_id, &joined.member_id, &[])),
    );
    script.ask("I is sent away", 5, &leave_all(GROUP, &[("", Some("I"))]));
    script.ask("described when empty", 5, &describe(&[GROUP]));
}
