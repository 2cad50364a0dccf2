//! A producer that another one, or time, has put out.

use ringlog_tests::txn::{
    Producer, add_offsets_request, add_partitions_request, batch, end_request, init_request,
    offset_commit_request, produce_in, wait_for_state,
};

use crate::script::{Script, TIMEOUT_MS};

/// All that a producer may still ask for.
fn asks(script: &mut Script, id: &str, old: Producer, sequence: i32) {
    for version in [1, 2, 3] {
        script.ask(
            "partitions",
            version,
            &add_partitions_request(id, old, &[("t", &[1])]),
        );
        script.ask("offsets", version, &add_offsets_request(id, old, "fenced-group"));
    }
    for version in [2, 3, 5] {
        let request = offset_commit_request(id, old, "fenced-group", "t", &[(0, 1)]);
        script.ask("offsets of a group", version, &request);
    }
    for version in [8, 11, 12] {
        script.ask(
            "a record",
            version,
            &produce_in(id, "t", 1, &batch(old, sequence, &[b"x"])),
        );
        script.ask(
            "a record elsewhere",
            version,
            &produce_in(id, "t", 2, &batch(old, 0, &[b"x"])),
        );
    }
    for version in [1, 2, 4, 5] {
        script.ask("an abort", version, &end_request(id, old, false));
        script.ask("a commit", version, &end_request(id, old, true));
    }
    for version in [3, 4] {
        script.ask("going on", version, &init_request(id, TIMEOUT_MS, old));
    }
}

/// A second producer with the same transactional id.
pub fn by_another(script: &mut Script) {
    for (part, open) in [("fenced", false), ("fenced in a transaction", true)] {
        script.part(part);
        let id = if open { "fenced-open" } else { "fenced" };
        let old = script.init(id);
        if open {
            script.ask(
                "a record",
                12,
                &produce_in(id, "t", 1, &batch(old, 0, &[b"put out"])),
            );
        }
        let new = script.init(id);
        let name = script.name(new);
        script.line("the new one", "", &name);
        script.settled("then", id);
        asks(script, id, old, 1);
        script.settled("in the end", id);
        script.ask(
            "the new one goes on",
            12,
            &produce_in(id, "t", 1, &batch(new, 0, &[b"new"])),
        );
        script.ask("and commits", 5, &end_request(id, new, true));
        script.settled("committed", id);
    }
}

/// A transaction that took too long.
pub fn by_time(script: &mut Script) {
    for (part, version) in [("timed out", 11), ("timed out in version 2", 12)] {
        script.part(part);
        let id = if version == 12 { "timed-out-2" } else { "timed-out" };
        let old = script.init_for(id, 300);
        script.ask("a partition", 3, &add_partitions_request(id, old, &[("t", &[1])]));
        script.ask(
            "a record",
            version,
            &produce_in(id, "t", 1, &batch(old, 0, &[b"late"])),
        );
        wait_for_state(script.quietly(), id, "CompleteAbort");
        script.settled("aborted", id);
        asks(script, id, old, 1);
        script.settled("in the end", id);
        let new = script.init(id);
        let name = script.name(new);
        script.line("a new one", "", &name);
    }
}
