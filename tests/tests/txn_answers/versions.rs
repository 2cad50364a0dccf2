//! A transactional id in the hands of producers of different versions.

use ringlog_tests::txn::{
    Producer, add_offsets_request, add_partitions_request, batch, end_request, offset_commit_request,
    produce_in,
};

use crate::script::Script;

/// Old and new requests in turn.
pub fn mixed(script: &mut Script) {
    script.part("mixed");
    let id = "mixed";
    let own = script.init(id);
    script.ask(
        "an old one adds",
        3,
        &add_partitions_request(id, own, &[("t", &[0])]),
    );
    script.ask(
        "a new one writes",
        12,
        &produce_in(id, "t", 0, &batch(own, 0, &[b"m0"])),
    );
    script.ask(
        "and elsewhere",
        12,
        &produce_in(id, "t", 1, &batch(own, 0, &[b"m1"])),
    );
    script.ask(
        "a new one commits offsets",
        5,
        &offset_commit_request(id, own, "mixed-group", "t", &[(0, 1)]),
    );
    script.settled("then", id);
    script.ask("an old one ends", 4, &end_request(id, own, true));
    script.settled("ended", id);
    script.ask("a new one ends again", 5, &end_request(id, own, true));
    script.settled("then", id);

    let own = script.init(id);
    script.ask(
        "a new one writes",
        12,
        &produce_in(id, "t", 0, &batch(own, 0, &[b"m2"])),
    );
    script.ask(
        "an old one adds",
        3,
        &add_partitions_request(id, own, &[("t", &[2])]),
    );
    script.ask(
        "an old one adds offsets",
        3,
        &add_offsets_request(id, own, "mixed-group"),
    );
    script.ask(
        "an old one writes",
        11,
        &produce_in(id, "t", 2, &batch(own, 0, &[b"m3"])),
    );
    let answer = script.ask("a new one ends", 5, &end_request(id, own, false));
    let next = answer.map_or(own, |answer| Producer {
        id: answer.producer_id.0,
        epoch: answer.producer_epoch,
    });
    script.settled("ended", id);
    script.ask(
        "an old one adds with the new epoch",
        3,
        &add_partitions_request(id, next, &[("t", &[0])]),
    );
    script.ask(
        "an old one writes",
        11,
        &produce_in(id, "t", 0, &batch(next, 0, &[b"m4"])),
    );
    script.ask("an old one ends", 3, &end_request(id, next, true));
    script.settled("ended", id);
    script.ask(
        "an old one adds again",
        3,
        &add_partitions_request(id, next, &[("t", &[0])]),
    );
    script.ask(
        "an old one goes on",
        11,
        &produce_in(id, "t", 0, &batch(next, 1, &[b"m5"])),
    );
    script.ask("an old one ends again", 3, &end_request(id, next, false));
    script.settled("in the end", id);
    for partition in 0..3 {
        script.partition("in the end", partition);
    }
}
