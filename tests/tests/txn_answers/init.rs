//! Finding the coordinator, and producer ids.

use kafka_protocol::messages::{FindCoordinatorRequest, InitProducerIdRequest, ProducerId, TransactionalId};
use ringlog_tests::group::text;
use ringlog_tests::txn::{Producer, add_partitions_request, init_request};

use crate::script::{MADE_UP, Script, TIMEOUT_MS};

/// Who coordinates a transactional id.
pub fn find(script: &mut Script) {
    script.part("find");
    for version in 1..=3 {
        let request = FindCoordinatorRequest::default()
            .with_key(text("id"))
            .with_key_type(1);
        script.ask("an id", version, &request);
    }
    for version in 4..=6 {
        let request = FindCoordinatorRequest::default()
            .with_key_type(1)
            .with_coordinator_keys(vec![text("id"), text("another"), text("")]);
        script.ask("three ids", version, &request);
    }
}

/// A producer without a transactional id.
pub fn without_id(script: &mut Script) {
    script.part("no id");
    for version in 0..=5 {
        for timeout_ms in [TIMEOUT_MS, 0, -1, i32::MAX] {
            let request = InitProducerIdRequest::default()
                .with_transactional_id(None)
                .with_transaction_timeout_ms(timeout_ms);
            script.ask(&format!("a timeout of {timeout_ms} ms"), version, &request);
        }
    }
    for version in 3..=5 {
        for (id, epoch) in [(MADE_UP, 0), (MADE_UP, -1), (-1, 0), (-7, 3)] {
            let request = InitProducerIdRequest::default()
                .with_transactional_id(None)
                .with_transaction_timeout_ms(TIMEOUT_MS)
                .with_producer_id(ProducerId(id))
                .with_producer_epoch(epoch);
            script.ask(&format!("going on as {id}/{epoch}"), version, &request);
        }
    }
}

/// A producer with a transactional id, in each version.
pub fn with_id(script: &mut Script) {
    script.part("init");
    for version in 0..=5 {
        let id = format!("init-{version}");
        let empty = init_request("", TIMEOUT_MS, Producer::NONE);
        script.ask("an empty id", version, &empty);
        for timeout_ms in [0, -1, 900_001, i32::MAX] {
            let request = init_request(&id, timeout_ms, Producer::NONE);
            script.ask(&format!("a timeout of {timeout_ms} ms"), version, &request);
        }
        script.settled("after what was refused", &id);
        script.ask(
            "the longest timeout",
            version,
            &init_request(&id, 900_000, Producer::NONE),
        );
        script.ask(
            "the shortest timeout",
            version,
            &init_request(&id, 1, Producer::NONE),
        );
        script.ask(
            "a third time",
            version,
            &init_request(&id, TIMEOUT_MS, Producer::NONE),
        );
        script.settled("in the end", &id);
    }
    let mut kept = init_request("init-5", TIMEOUT_MS, Producer::NONE);
    kept.transactional_id = Some(TransactionalId::from(text(&"long".repeat(2_000))));
    script.ask("an id of 8000 bytes", 5, &kept);
}

/// A producer that goes on with the id it had.
pub fn resumed(script: &mut Script) {
    script.part("resumed");
    for version in 3..=5 {
        let id = format!("resumed-{version}");
        let strangers = [
            Producer {
                id: MADE_UP,
                epoch: 0,
            },
            Producer {
                id: MADE_UP,
                epoch: -1,
            },
            Producer { id: -1, epoch: 0 },
        ];
        for producer in strangers {
            let what = format!("an unknown id as {}/{}", producer.id, producer.epoch);
            let unknown = format!("{id}-{}-{}", producer.id, producer.epoch);
            script.ask(&what, version, &init_request(&unknown, TIMEOUT_MS, producer));
        }
        let first = script.init(&id);
        script.ask("as itself", version, &init_request(&id, TIMEOUT_MS, first));
        script.ask("as it was before", version, &init_request(&id, TIMEOUT_MS, first));
        script.ask(
            "as itself",
            version,
            &init_request(&id, TIMEOUT_MS, first.later(1)),
        );
        script.ask(
            "as it was long ago",
            version,
            &init_request(&id, TIMEOUT_MS, first),
        );
        script.ask(
            "with a later epoch",
            version,
            &init_request(&id, TIMEOUT_MS, first.later(7)),
        );
        for stranger in strangers {
            let what = format!("as {}/{}", stranger.id, stranger.epoch);
            script.ask(&what, version, &init_request(&id, TIMEOUT_MS, stranger));
        }
        let now = script.init(&id);
        script.ask(
            "a partition",
            3,
            &add_partitions_request(&id, now, &[("t", &[0])]),
        );
        script.ask(
            "as it was, in a transaction",
            version,
            &init_request(&id, TIMEOUT_MS, now.later(-1)),
        );
        script.settled("then", &id);
        script.ask(
            "as itself, in a transaction",
            version,
            &init_request(&id, TIMEOUT_MS, now),
        );
        script.settled("in the end", &id);
    }
}
