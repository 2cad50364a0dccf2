//! AddPartitionsToTxn, as clients send it and as brokers do.

use kafka_protocol::messages::AddPartitionsToTxnRequest;
use ringlog_tests::txn::{add_partitions_request, transaction};

use crate::script::{NOBODY, Script};

/// Versions 0 to 3.
pub fn by_clients(script: &mut Script) {
    script.part("partitions");
    for version in 0..=3 {
        let id = format!("partitions-{version}");
        let ask = |script: &mut Script, what: &str, id: &str, producer, topics: &[(&str, &[i32])]| {
            script.ask(what, version, &add_partitions_request(id, producer, topics));
        };
        ask(script, "an empty id", "", NOBODY, &[("t", &[0])]);
        ask(script, "an unknown id", &id, NOBODY, &[("t", &[0])]);
        let own = script.init(&id);
        ask(script, "another producer", &id, NOBODY, &[("t", &[0])]);
        ask(script, "an earlier epoch", &id, own.later(-1), &[("t", &[0])]);
        ask(script, "a later epoch", &id, own.later(1), &[("t", &[0])]);
        ask(script, "nothing", &id, own, &[]);
        ask(script, "no partition", &id, own, &[("t", &[])]);
        ask(
            script,
            "an unknown topic",
            &id,
            own,
            &[("t", &[0]), ("none", &[0, 1])],
        );
        ask(
            script,
            "an unknown partition",
            &id,
            own,
            &[("t", &[0, 9]), ("u", &[0])],
        );
        ask(script, "a negative partition", &id, own, &[("t", &[-1])]);
        ask(script, "no topic name", &id, own, &[("", &[0])]);
        script.settled("after what was refused", &id);
        ask(script, "three", &id, own, &[("t", &[0, 1]), ("u", &[1])]);
        ask(script, "some again", &id, own, &[("t", &[1, 2])]);
        ask(script, "one twice", &id, own, &[("u", &[0, 0])]);
        ask(
            script,
            "an internal topic",
            &id,
            own,
            &[("__consumer_offsets", &[3])],
        );
        script.settled("in the end", &id);
    }
}

/// Versions 4 and 5: many transactions at once, also only asked about.
pub fn by_brokers(script: &mut Script) {
    script.part("batched");
    for version in 4..=5 {
        let (a, b, c) = (
            format!("batched-{version}-a"),
            format!("batched-{version}-b"),
            format!("batched-{version}-c"),
        );
        let (of_a, of_b, of_c) = (script.init(&a), script.init(&b), script.init(&c));
        let ask = |script: &mut Script, what: &str, transactions| {
            let request = AddPartitionsToTxnRequest::default().with_transactions(transactions);
            script.ask(what, version, &request);
        };
        ask(script, "nothing", vec![]);
        ask(
            script,
            "strangers",
            vec![
                transaction("", NOBODY, false, &[("t", &[0])]),
                transaction("nowhere", NOBODY, false, &[("t", &[0])]),
                transaction(&a, NOBODY, false, &[("t", &[0])]),
                transaction(&b, of_b.later(-1), false, &[("t", &[0])]),
                transaction(&c, of_c.later(1), false, &[("t", &[0])]),
            ],
        );
        ask(
            script,
            "is it there, with nothing begun",
            vec![
                transaction(&a, of_a, true, &[("t", &[0, 1])]),
                transaction(&b, of_b, true, &[]),
            ],
        );
        ask(
            script,
            "added, and an unknown topic",
            vec![
                transaction(&a, of_a, false, &[("t", &[0, 1]), ("u", &[0])]),
                transaction(&b, of_b, false, &[("none", &[0]), ("t", &[2])]),
            ],
        );
        ask(
            script,
            "are they there",
            vec![
                transaction(&a, of_a, true, &[("t", &[0, 2]), ("u", &[0, 1])]),
                transaction(&a, of_a.later(-1), true, &[("t", &[0])]),
                transaction(&b, of_b, true, &[("t", &[2])]),
                transaction("nowhere", NOBODY, true, &[("t", &[0])]),
                transaction("", NOBODY, true, &[("t", &[0])]),
                transaction(&c, NOBODY, true, &[("t", &[0])]),
                transaction(&c, of_c, true, &[("none", &[0])]),
            ],
        );
        for id in [a, b, c] {
            script.settled("in the end", &id);
        }
    }
}
