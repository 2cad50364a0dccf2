//! Records of transactions.

use kafka_protocol::messages::ProduceRequest;
use ringlog_tests::raw::{Batch, produce_request, topic_id};
use ringlog_tests::txn::{
    CONTROL, Producer, TRANSACTIONAL, add_partitions_request, batch, end_request, produce_in,
};

use crate::script::{NOBODY, Script};

/// One partition's answer is enough to tell.
fn ask(script: &mut Script, what: &str, version: i16, request: ProduceRequest) {
    let request = if version >= 13 {
        let id = topic_id(script.quietly(), "t");
        let mut request = request;
        request.topic_data[0].topic_id = id;
        request
    } else {
        request
    };
    script.ask(what, version, &request);
}

/// What is refused in every version.
pub fn refused(script: &mut Script) {
    script.part("refused");
    for version in [3, 8, 9, 11, 12] {
        let id = format!("refused-{version}");
        script.init(&id);
        let own = script.init(&id);
        let good = batch(own, 0, &[b"never seen"]);
        ask(
            script,
            "no transactional id",
            version,
            produce_request("t", 0, -1, &good.build()),
        );
        ask(
            script,
            "an empty transactional id",
            version,
            produce_in("", "t", 0, &good),
        );
        ask(
            script,
            "an unknown transactional id",
            version,
            produce_in("nowhere", "t", 0, &good),
        );
        ask(
            script,
            "another producer",
            version,
            produce_in(&id, "t", 0, &batch(NOBODY, 0, &[b"x"])),
        );
        // In a topic of its own: it is taken, and moves the offsets.
        ask(
            script,
            "no producer",
            version,
            produce_in(&id, "r", 0, &batch(Producer::NONE, 0, &[b"x"])),
        );
        ask(
            script,
            "an earlier epoch",
            version,
            produce_in(&id, "t", 0, &batch(own.later(-1), 0, &[b"x"])),
        );
        ask(
            script,
            "a later epoch",
            version,
            produce_in(&id, "t", 0, &batch(own.later(1), 0, &[b"x"])),
        );
        ask(
            script,
            "an unknown topic",
            version,
            produce_in(&id, "none", 0, &good),
        );
        let mut marker = good.clone();
        marker.attributes |= CONTROL;
        ask(script, "a marker", version, produce_in(&id, "t", 0, &marker));
        let mut acks = produce_in(&id, "t", 0, &good);
        acks.acks = 1;
        ask(script, "acks of the leader alone", version, acks);
        script.settled("in the end", &id);
    }
}

/// Versions up to 11: a partition must have been added.
pub fn verified(script: &mut Script) {
    script.part("verified");
    for version in [3, 9, 10, 11] {
        let id = format!("verified-{version}");
        let own = script.init(&id);
        ask(
            script,
            "before the transaction",
            version,
            produce_in(&id, "t", 0, &batch(own, 0, &[b"x"])),
        );
        script.ask(
            "another partition",
            3,
            &add_partitions_request(&id, own, &[("t", &[1])]),
        );
        ask(
            script,
            "not added",
            version,
            produce_in(&id, "t", 0, &batch(own, 0, &[b"x"])),
        );
        ask(
            script,
            "added",
            version,
            produce_in(&id, "t", 1, &batch(own, 0, &[b"v1", b"v2"])),
        );
        ask(
            script,
            "the same again",
            version,
            produce_in(&id, "t", 1, &batch(own, 0, &[b"v1", b"v2"])),
        );
        ask(
            script,
            "the next",
            version,
            produce_in(&id, "t", 1, &batch(own, 2, &[b"v3"])),
        );
        let plain = Batch::of(&[b"plain"]).from_producer(own.id, own.epoch, 3);
        ask(
            script,
            "the next outside of it",
            version,
            produce_request("t", 1, -1, &plain.build()),
        );
        script.ask("committed", 3, &end_request(&id, own, true));
        script.settled("committed", &id);
        ask(
            script,
            "the next after the end",
            version,
            produce_in(&id, "t", 1, &batch(own, 3, &[b"x"])),
        );
        let plain = Batch::of(&[b"plain"]).from_producer(own.id, own.epoch, 3);
        ask(
            script,
            "the next outside, after the end",
            version,
            produce_request("t", 1, -1, &plain.build()),
        );
        script.partition("in the end", 1);
    }
}

/// From version 12 on Produce adds the partition.
pub fn added_by_the_way(script: &mut Script) {
    script.part("by the way");
    for version in [12, 13] {
        let id = format!("by-the-way-{version}");
        let own = script.init(&id);
        ask(
            script,
            "a first record",
            version,
            produce_in(&id, "t", 2, &batch(own, 0, &[b"w1"])),
        );
        script.settled("then", &id);
        ask(
            script,
            "a second",
            version,
            produce_in(&id, "t", 2, &batch(own, 1, &[b"w2"])),
        );
        ask(
            script,
            "a gap",
            version,
            produce_in(&id, "t", 2, &batch(own, 5, &[b"w5"])),
        );
        ask(
            script,
            "elsewhere with a gap",
            version,
            produce_in(&id, "t", 0, &batch(own, 5, &[b"w5"])),
        );
        script.settled("then", &id);
        ask(
            script,
            "by an old client",
            9,
            produce_in(&id, "t", 2, &batch(own, 2, &[b"w3"])),
        );
        ask(
            script,
            "elsewhere by an old client",
            9,
            produce_in(&id, "t", 1, &batch(own, 0, &[b"w3"])),
        );
        let answer = script.ask("committed", 5, &end_request(&id, own, true));
        let next = answer.map_or(own, |answer| Producer {
            id: answer.producer_id.0,
            epoch: answer.producer_epoch,
        });
        script.settled("committed", &id);
        ask(
            script,
            "with the old epoch",
            version,
            produce_in(&id, "t", 2, &batch(own, 3, &[b"x"])),
        );
        ask(
            script,
            "not from 0",
            version,
            produce_in(&id, "t", 2, &batch(next, 3, &[b"x"])),
        );
        ask(
            script,
            "from 0",
            version,
            produce_in(&id, "t", 2, &batch(next, 0, &[b"w4"])),
        );
        script.ask("aborted", 5, &end_request(&id, next, false));
        script.settled("aborted", &id);
        script.partition("in the end", 2);
    }
}

/// Sequences, by producers without transactions too.
pub fn sequences(script: &mut Script) {
    script.part("sequences");
    let unknown = |epoch| Producer {
        id: crate::script::MADE_UP + 77,
        epoch,
    };
    let plain = |producer: Producer, sequence, count: usize| {
        let values = vec![&b"s"[..]; count];
        let one = Batch::of(&values).from_producer(producer.id, producer.epoch, sequence);
        assert_eq!(one.attributes & TRANSACTIONAL, 0);
        produce_request("u", 0, -1, &one.build())
    };
    ask(script, "unknown, from 100", 9, plain(unknown(3), 100, 1));
    for sequence in [101, 102, 103, 104, 105] {
        ask(script, "next", 9, plain(unknown(3), sequence, 1));
    }
    ask(
        script,
        "the fifth of the last again",
        9,
        plain(unknown(3), 101, 1),
    );
    ask(
        script,
        "the sixth of the last again",
        9,
        plain(unknown(3), 100, 1),
    );
    ask(script, "a gap", 9, plain(unknown(3), 107, 1));
    ask(script, "an earlier epoch", 9, plain(unknown(2), 0, 1));
    ask(script, "a later epoch, not from 0", 9, plain(unknown(4), 1, 1));
    ask(script, "a later epoch", 9, plain(unknown(4), 0, 1));
    ask(script, "the epoch before", 9, plain(unknown(3), 106, 1));
    let other = |epoch| Producer {
        id: crate::script::MADE_UP + 78,
        epoch,
    };
    ask(script, "near the end", 9, plain(other(0), i32::MAX - 1, 2));
    ask(script, "past the end", 9, plain(other(0), 0, 1));
    ask(script, "near the end again", 9, plain(other(0), i32::MAX - 1, 2));
    let third = Producer {
        id: crate::script::MADE_UP + 79,
        epoch: 0,
    };
    ask(script, "over the end", 9, plain(third, i32::MAX - 1, 4));
    ask(script, "after it", 9, plain(third, 2, 1));
}
