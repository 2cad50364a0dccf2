//! Deletions, lists and descriptions of groups, and ids that are too long.

use crate::requests::*;
use crate::script::Script;

/// A group id that is still a text, and leaves room for a sentence with it.
const LONG_ID_BYTES: usize = 32_000;

/// Deletions of offsets and of groups.
pub fn deletions(script: &mut Script) {
    script.part("delete");
    script.ask("offsets of no group", 0, &delete_offsets("", &[("t", &[0])]));
    script.ask(
        "offsets of an unknown group",
        0,
        &delete_offsets("none", &[("t", &[0])]),
    );
    script.ask(
        "offsets that are there and that are not",
        0,
        &delete_offsets("offsets", &[("t", &[0, 0, 1, 9]), ("u", &[0]), ("nope", &[0])]),
    );
    script.ask("nothing", 0, &delete_offsets("offsets", &[]));
    script.ask("what is left", 8, &fetch_groups(&[of_group("offsets", None)]));

    let member = script
        .ask(
            "a consumer of t joins",
            3,
            &consumer_join("subscribed", "", &["t"], &[]),
        )
        .member_id;
    script.ask(
        "the sync",
        3,
        &sync("subscribed", 1, &member, &[(&member, &assignment(&[0, 1, 2]))]),
    );
    let both = |topic: &str| commit_as(&member, 1, commit("subscribed", topic, &[(0, 4, None)]));
    script.ask("it commits", 9, &both("t"));
    script.ask("it commits", 9, &both("u"));
    script.ask(
        "offsets of subscribed topics and others",
        0,
        &delete_offsets("subscribed", &[("t", &[0, 1]), ("u", &[0]), ("nope", &[0])]),
    );
    script.ask("what is left", 8, &fetch_groups(&[of_group("subscribed", None)]));

    for version in 0..=2 {
        script.ask(
            "groups that cannot be deleted",
            version,
            &delete(&["none", "subscribed", ""]),
        );
    }
    script.ask("nothing", 2, &delete(&[]));
    script.ask("a group twice", 1, &delete(&["edges", "edges", "none"]));
    script.ask("a group again", 2, &delete(&["edges"]));
    script.ask("a group without members", 2, &delete(&["alone-1", "two"]));
    script.ask(
        "what is left of them",
        8,
        &fetch_groups(&[of_group("edges", None), of_group("two", None)]),
    );
    script.ask("what is left of them", 5, &describe(&["edges", "two", "alone-1"]));
    script.ask("the consumer leaves", 0, &leave("subscribed", &member));
    script.ask(
        "offsets of topics that were subscribed to",
        0,
        &delete_offsets("subscribed", &[("t", &[0])]),
    );
}

/// Lists by state and type, descriptions of what there is not, and ids that are too long.
pub fn lists(script: &mut Script) {
    script.part("list");
    for version in 0..=5 {
        script.ask("all", version, &list(&[], &[]));
    }
    for state in [
        "Empty",
        "empty",
        "EMPTY",
        "Stable",
        "Dead",
        "PreparingRebalance",
        "CompletingRebalance",
        "Assigning",
        "Reconciling",
        "Unknown",
        "",
        "nonsense",
    ] {
        script.ask(&format!("in state {state:?}"), 4, &list(&[state], &[]));
    }
    for kind in [
        "classic", "CLASSIC", "Consumer", "share", "streams", "unknown", "", "nonsense",
    ] {
        script.ask(&format!("of type {kind:?}"), 5, &list(&[], &[kind]));
    }
    script.ask(
        "by state and type",
        5,
        &list(&["Empty", "Stable", "nonsense"], &["classic", "nonsense"]),
    );
    script.part("describe");
    for version in 0..=6 {
        script.ask("unknown groups", version, &describe(&["none", "", "none"]));
    }
    script.ask("nothing", 5, &describe(&[]));
    for version in 0..=1 {
        script.ask("unknown groups", version, &describe_consumers(&["none", ""]));
        script.ask("a classic group", version, &describe_consumers(&["offsets"]));
        script.ask("nothing", version, &describe_consumers(&[]));
    }
}

/// Group ids as long as they can be, and longer.
pub fn long_ids(script: &mut Script) {
    script.part("long ids");
    let long = "g".repeat(LONG_ID_BYTES);
    script.ask("commit", 9, &commit(&long, "t", &[(0, 1, None)]));
    script.ask("fetch", 7, &fetch(&long, None));
    script.ask("join", 4, &join(&long, "", &["a"]));
    script.ask("join", 9, &join(&long, "", &["a"]));
    script.ask("enter", 1, &enter(&long, "long", &["t"]));
    script.ask("describe", 6, &describe(&[&long]));
    script.ask("delete", 2, &delete(&[&long]));
    let length = 1 << 16;
    script.ask_with_text("commit", 9, &commit("", "t", &[(0, 1, None)]), 0, length);
    script.ask_with_text("fetch", 7, &fetch("", None), 0, length);
    script.ask_with_text("fetch", 8, &fetch_groups(&[of_group("", None)]), 1, length);
    script.ask_with_text("join", 9, &join("", "", &["a"]), 0, length);
    script.ask_with_text("sync", 5, &sync("", 1, "m", &[]), 0, length);
    script.ask_with_text("heartbeat", 4, &heartbeat("", 1, "m"), 0, length);
    script.ask_with_text("leave", 4, &leave_all("", &[]), 0, length);
    script.ask_with_text("enter", 1, &enter("", "m", &["t"]), 0, length);
    script.ask_with_text("describe", 5, &describe(&[""]), 1, length);
    script.ask_with_text("describe", 1, &describe_consumers(&[""]), 1, length);
    script.ask_with_text("delete", 2, &delete(&[""]), 1, length);
}
