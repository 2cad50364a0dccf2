//! What readers of both kinds see of open, committed and aborted transactions.

use kafka_protocol::messages::FetchRequest;
use ringlog_tests::raw::{Batch, produce_request, topic_id};
use ringlog_tests::txn::{
    self, READ_COMMITTED, READ_UNCOMMITTED, batch, fetch_request_of, list_offsets_request,
};

use crate::script::Script;

/// Three transactions in one partition, one of them long.
pub fn isolation(script: &mut Script) {
    script.part("isolation");
    let begin = script.next_offset(0);
    let (a, b, c) = (
        script.init("reads-a"),
        script.init("reads-b"),
        script.init("reads-c"),
    );
    let connection = script.quietly();
    let plain = produce_request("t", 0, -1, &Batch::of(&[b"plain"]).build());
    let mut offsets = Vec::new();
    let mut write = |id: &str, producer, sequence, values: &[&[u8]]| {
        offsets.push(txn::write_as(
            connection,
            12,
            id,
            "t",
            0,
            &batch(producer, sequence, values),
        ));
    };
    write("reads-a", a, 0, &[b"a0", b"a1"]);
    write("reads-b", b, 0, &[b"b0"]);
    write("reads-c", c, 0, &[b"c0", b"c1", b"c2"]);
    write("reads-a", a, 2, &[b"a2"]);
    script.line("written", "t-0", &format!("{offsets:?}"));
    script.ask("a plain one", 9, &plain);
    ends(script, "all open");
    script.partition("all open", 0);
    let (error, b) = txn::end_and_go_on(script.quietly(), "reads-b", b, false);
    script.line("b aborts", "", &format!("{error}"));
    script.settled("b aborted", "reads-b");
    ends(script, "b aborted");
    script.partition("b aborted", 0);
    let (error, _) = txn::end_and_go_on(script.quietly(), "reads-a", a, true);
    script.line("a commits", "", &format!("{error}"));
    script.settled("a committed", "reads-a");
    ends(script, "a committed");
    script.partition("a committed", 0);
    let again = txn::write_as(script.quietly(), 12, "reads-b", "t", 0, &batch(b, 0, &[b"b1"]));
    script.line("b again", "", &format!("{again:?}"));
    let (error, _) = txn::end_and_go_on(script.quietly(), "reads-c", c, false);
    script.line("c aborts", "", &format!("{error}"));
    script.settled("c aborted", "reads-c");
    ends(script, "c aborted");
    script.partition("c aborted", 0);
    let (error, _) = txn::end_and_go_on(script.quietly(), "reads-b", b, false);
    script.line("b aborts again", "", &format!("{error}"));
    script.settled("b aborted again", "reads-b");
    ends(script, "all ended");
    script.partition("all ended", 0);
    each_offset(script, begin);
}

/// Both ends, and lookups by time, for both kinds of readers.
fn ends(script: &mut Script, what: &str) {
    for isolation in [READ_UNCOMMITTED, READ_COMMITTED] {
        for timestamp in [-1, -2, i64::MAX] {
            let request = list_offsets_request("t", 0, timestamp, isolation);
            script.ask(
                &format!("{what}, isolation {isolation}, at {timestamp}"),
                7,
                &request,
            );
        }
    }
}

/// From each offset what is listed as aborted.
fn each_offset(script: &mut Script, begin: i64) {
    let end = script.next_offset(0);
    let id = topic_id(script.quietly(), "t");
    for version in [4, 11, 12, 13, 17] {
        for offset in begin..=end + 1 {
            let mut request: FetchRequest = fetch_request_of("t", 0, offset, READ_COMMITTED);
            request.topics[0].topic_id = id;
            let answer = script.quietly().call(version, &request);
            let one = &answer.responses[0].partitions[0];
            let aborted: Option<Vec<(i64, String)>> = one.aborted_transactions.as_ref().map(|list| {
                list.iter()
                    .map(|aborted| {
                        let producer = txn::Producer {
                            id: aborted.producer_id.0,
                            epoch: 0,
                        };
                        (aborted.first_offset, script.name(producer))
                    })
                    .collect()
            });
            let told = format!(
                "error {}, high watermark {}, last stable {}, replica {:?}, aborted {aborted:?}",
                one.error_code, one.high_watermark, one.last_stable_offset, one.preferred_read_replica
            );
            script.line(&format!("from {offset}"), &format!("Fetch {version}"), &told);
        }
    }
}
