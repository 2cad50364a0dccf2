//! EndTxn, of producers of before version 2 and of that version.

use ringlog_tests::txn::{Producer, add_partitions_request, batch, end_request, produce_in};

use crate::script::{NOBODY, Script};

fn ask(
    script: &mut Script,
    what: &str,
    version: i16,
    id: &str,
    producer: Producer,
    committed: bool,
) -> Producer {
    let how = if committed { "commit" } else { "abort" };
    let answer = script.ask(
        &format!("{what}, {how}"),
        version,
        &end_request(id, producer, committed),
    );
    answer.map_or(Producer::NONE, |answer| Producer {
        id: answer.producer_id.0,
        epoch: answer.producer_epoch,
    })
}

fn strangers(script: &mut Script, version: i16, id: &str, own: Producer) {
    for committed in [true, false] {
        ask(script, "an empty id", version, "", NOBODY, committed);
        ask(script, "an unknown id", version, "nowhere", NOBODY, committed);
        ask(script, "another producer", version, id, NOBODY, committed);
        ask(script, "an earlier epoch", version, id, own.later(-1), committed);
        ask(script, "a later epoch", version, id, own.later(1), committed);
    }
}

/// Versions 0 to 4, where the epoch stays.
pub fn before_version_2(script: &mut Script) {
    script.part("end");
    for version in 0..=4 {
        let id = format!("end-{version}");
        script.init(&id);
        let own = script.init(&id);
        strangers(script, version, &id, own);
        for committed in [true, false] {
            ask(script, "nothing begun", version, &id, own, committed);
        }
        for first in [true, false] {
            script.ask(
                "a partition",
                3,
                &add_partitions_request(&id, own, &[("t", &[0]), ("u", &[1])]),
            );
            ask(script, "with partitions", version, &id, own, first);
            script.settled("then", &id);
            for second in [true, false] {
                ask(script, "again", version, &id, own, second);
            }
            strangers(script, version, &id, own);
        }
    }
}

/// Version 5, where each end moves the epoch.
pub fn version_2(script: &mut Script) {
    script.part("end 5");
    let id = "end-5";
    script.init(id);
    let own = script.init(id);
    strangers(script, 5, id, own);
    ask(script, "nothing begun", 5, id, own, true);
    let own = script.init(id);
    let own = ask(script, "nothing begun", 5, id, own, false);
    script.settled("then", id);
    for first in [true, false] {
        let own = if first { own } else { script.init(id) };
        script.ask("a record", 12, &produce_in(id, "t", 1, &batch(own, 0, &[b"r"])));
        let next = ask(script, "with a record", 5, id, own, first);
        script.settled("then", id);
        for second in [true, false] {
            ask(script, "again with the old epoch", 5, id, own, second);
        }
        ask(script, "again with the new epoch", 5, id, next, true);
        script.settled("then", id);
        ask(script, "again with the new epoch", 5, id, next, false);
        script.settled("then", id);
        ask(script, "with the old epoch by an old client", 4, id, own, first);
    }
    let own = script.init(id);
    let next = ask(script, "an empty one", 5, id, own, false);
    script.settled("then", id);
    ask(
        script,
        "an empty one once more with the old epoch",
        5,
        id,
        own,
        false,
    );
    ask(script, "an empty one after an empty one", 5, id, next, false);
    script.settled("in the end", id);
    let name = script.name(next);
    script.line("the last producer", "", &name);
}
