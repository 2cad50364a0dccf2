//! Each fault, as a reader of the log and a waiter for the answer see it.

use std::time::{Duration, Instant};

use kafka_protocol::messages::ApiVersionsRequest;
use kafka_protocol::records::RecordBatchDecoder;

use super::client::{Client, batch, expected, produce, records, sink};
use crate::sink::{Fault, Keep};

/// The offsets answered for five batches of one record, and what is read back from the start.
fn five(fault: Fault) -> (Vec<i64>, Vec<(i64, String)>) {
    let sink = sink(Keep::Everything, Some(fault));
    let mut client = Client::with_topic(&sink, 1);
    let answered = client.produce_each(&["a", "b", "c", "d", "e"]);
    (answered, records(&client.fetch(0, 0)))
}

#[test]
fn a_dropped_batch_was_acknowledged() {
    let (answered, read) = five(Fault::Drop { every: 2 });
    assert_eq!(answered, [0, 1, 2, 3, 4]);
    assert_eq!(read, expected(&[(0, "a"), (2, "c"), (4, "e")]));
}

#[test]
fn a_dropped_batch_at_the_end_leaves_an_empty_tail() {
    let sink = sink(Keep::Everything, Some(Fault::Drop { every: 2 }));
    let mut client = Client::with_topic(&sink, 1);
    client.produce_each(&["a", "b"]);
    assert_eq!(client.offset_at(8, -1).offset, 2);
    let tail = client.fetch(1, 0);
    assert_eq!((tail.error_code, records(&tail).len()), (0, 0));
}

#[test]
fn a_duplicate_is_read_twice() {
    let (answered, read) = five(Fault::Duplicate { every: 3 });
    assert_eq!(answered, [0, 1, 2, 4, 5]);
    assert_eq!(
        read,
        expected(&[(0, "a"), (1, "b"), (2, "c"), (3, "c"), (4, "d"), (5, "e")])
    );
}

#[test]
fn swapped_neighbours_were_answered_in_order() {
    let (answered, read) = five(Fault::Swap { every: 2 });
    assert_eq!(answered, [0, 1, 2, 3, 4]);
    // The fourth is swapped with the fifth.
    assert_eq!(
        read,
        expected(&[(0, "a"), (1, "c"), (2, "b"), (3, "e"), (4, "d")])
    );
}

#[test]
fn swapped_neighbours_of_different_sizes_stay_dense() {
    let sink = sink(Keep::Everything, Some(Fault::Swap { every: 1 }));
    let mut client = Client::with_topic(&sink, 1);
    assert_eq!(client.produce(0, &batch(&["a", "b"])).base_offset, 0);
    assert_eq!(client.produce(0, &batch(&["c"])).base_offset, 2);
    assert_eq!(
        records(&client.fetch(0, 0)),
        expected(&[(0, "c"), (1, "a"), (2, "b")])
    );
}

#[test]
fn a_batch_whose_neighbour_does_not_come_is_read_after_a_wait() {
    let sink = sink(Keep::Everything, Some(Fault::Swap { every: 1 }));
    let mut client = Client::with_topic(&sink, 1);
    client.produce_each(&["a"]);
    assert_eq!(records(&client.fetch(0, 20)), expected(&[(0, "a")]));
}

#[test]
fn a_flipped_bit_is_in_the_value_and_breaks_the_checksum() {
    let sink = sink(Keep::Everything, Some(Fault::FlipBit { every: 2 }));
    let mut client = Client::with_topic(&sink, 1);
    let sent = [batch(&["first-value"]), batch(&["other-value"])];
    for batch in &sent {
        assert_eq!(client.produce(0, batch).error_code, 0);
    }
    let mut stored = client.fetch(0, 0).records.unwrap();
    let mut damaged = stored.split_off(sent[0].len());
    // Outside the base offset, the leader epoch and one bit in the middle of the value nothing differs.
    let differing: Vec<usize> = (16..damaged.len())
        .filter(|at| damaged[*at] != sent[1][*at])
        .collect();
    let value = sent[1]
        .windows(11)
        .position(|window| window == b"other-value")
        .unwrap();
    assert_eq!(differing, [value + 5]);
    assert_eq!((damaged[differing[0]] ^ sent[1][differing[0]]).count_ones(), 1);
    assert!(RecordBatchDecoder::decode_all(&mut stored).is_ok());
    assert!(RecordBatchDecoder::decode_all(&mut damaged).is_err());
}

#[test]
fn a_wrong_offset_is_answered_and_not_stored() {
    let (answered, read) = five(Fault::WrongOffset { every: 2 });
    assert_eq!(answered, [0, 2, 2, 4, 4]);
    assert_eq!(
        read,
        expected(&[(0, "a"), (1, "b"), (2, "c"), (3, "d"), (4, "e")])
    );
}

#[test]
fn a_refused_batch_is_not_stored_unless_it_is() {
    let refuse = Fault::Refuse { every: 2, error: 19 };
    let refuse_but_store = Fault::RefuseButStore { every: 2, error: 19 };
    for (fault, left) in [(refuse, vec![0, 2]), (refuse_but_store, vec![0, 1, 2])] {
        let sink = sink(Keep::Everything, Some(fault));
        let mut client = Client::with_topic(&sink, 1);
        let values = ["a", "b", "c"];
        let errors = values.map(|value| client.produce(0, &batch(&[value])).error_code);
        assert_eq!(errors, [0, 19, 0]);
        let read: Vec<String> = records(&client.fetch(0, 0))
            .into_iter()
            .map(|(_, value)| value)
            .collect();
        let left: Vec<&str> = left.into_iter().map(|index: usize| values[index]).collect();
        assert_eq!(read, left, "{fault:?}");
        assert_eq!(sink.counts().batches, 2);
    }
}

#[test]
fn periods_are_counted_by_partition() {
    let sink = sink(Keep::Everything, Some(Fault::Refuse { every: 2, error: 7 }));
    let mut client = Client::with_topic(&sink, 2);
    let errors = [0, 1, 0, 1].map(|partition| client.produce(partition, &batch(&["a"])).error_code);
    assert_eq!(errors, [0, 0, 7, 7]);
}

#[test]
fn a_disconnect_takes_all_connections_once() {
    for keep in [Keep::Nothing, Keep::Everything] {
        let sink = sink(keep, Some(Fault::Disconnect { after_batches: 2 }));
        let mut client = Client::with_topic(&sink, 1);
        let mut idle: Vec<Client> = (0..8).map(|_| Client::connect(&sink)).collect();
        for client in &mut idle {
            client.call(0, &ApiVersionsRequest::default());
        }
        assert_eq!(client.produce_each(&["a", "b"]), [0, 1]);
        assert!(client.try_call(9, &produce(0, &batch(&["c"]), -1)).is_err());
        assert!(idle.iter_mut().all(Client::is_closed));
        let mut client = Client::connect(&sink);
        assert_eq!(client.produce_each(&["c", "d", "e"]), [2, 3, 4]);
    }
}

#[test]
fn a_stall_keeps_every_answer_back_once() {
    let stall = Duration::from_millis(300);
    let fault = Fault::Stall {
        after_batches: 1,
        stall_ms: 300,
    };
    let sink = sink(Keep::Nothing, Some(fault));
    let mut client = Client::with_topic(&sink, 1);
    let mut other = Client::connect(&sink);
    assert_eq!(client.produce_each(&["a"]), [0]);
    let started = Instant::now();
    assert_eq!(client.produce_each(&["b"]), [1]);
    assert!(started.elapsed() >= stall);
    // Once: it is over for good, and for everyone. Twenty stalls would take twice the limit.
    let started = Instant::now();
    for index in 0..20 {
        assert_eq!(client.produce_each(&["c"]), [2 + index]);
        other.call(0, &ApiVersionsRequest::default());
    }
    assert!(started.elapsed() < 10 * stall);
}

#[test]
fn a_stall_is_felt_on_other_connections() {
    let fault = Fault::Stall {
        after_batches: 0,
        stall_ms: 300,
    };
    let sink = sink(Keep::Everything, Some(fault));
    let mut client = Client::with_topic(&sink, 1);
    let mut other = Client::connect(&sink);
    let started = Instant::now();
    // Without acks the batch sets the stall off unseen; the request after it on the same connection proves it has come.
    client.send(9, &produce(0, &batch(&["a"]), 0));
    client.call(0, &ApiVersionsRequest::default());
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert_eq!(other.offset_at(8, -1).offset, 1);
}
