//! Transactions, and what is kept of producers: one test for each rule.

use super::*;

#[test]
fn records_of_an_aborted_transaction_go_and_do_not_count_as_the_last_of_their_keys() {
    let mut world = World::of_keys(&[&["a"]]);
    world.append(transactional(7, 0), &[record("a", Some("aborted"), NOW_MS)]);
    world.append(transactional(8, 0), &[record("b", Some("committed"), NOW_MS)]);
    world.end(7, MarkerKind::Abort);
    world.end(8, MarkerKind::Commit);
    world.put("z", Some("end"));
    world.roll();
    world.clean();
    assert_eq!(world.keys(), pairs(&[(0, "a"), (2, "b"), (5, "z")]));
    assert!(
        world.header_to(3).is_some() && world.header_to(4).is_some(),
        "markers stay with their data's first pass"
    );
}

#[test]
fn an_aborted_transaction_whose_marker_lies_behind_the_pass_goes_too() {
    let mut world = World::new();
    world.append(transactional(7, 0), &[record("a", Some("aborted"), NOW_MS)]);
    world.put("b", Some("1"));
    world.roll();
    world.end(7, MarkerKind::Abort);
    world.clean();
    assert_eq!(world.keys(), pairs(&[(1, "b")]));
}

#[test]
fn an_entry_of_an_aborted_transaction_goes_in_the_pass_after_its_data() {
    let mut world = World::new();
    world.append(transactional(7, 0), &[record("a", Some("aborted"), NOW_MS)]);
    let marker = world.end(7, MarkerKind::Abort);
    world.put("b", Some("1"));
    world.roll();
    world.clean();
    assert_eq!(world.entries(0).len(), 1);
    assert_eq!(
        world.header_to(marker).unwrap().delete_horizon_ms(),
        None,
        "data was there"
    );

    world.put("b", Some("2"));
    world.roll();
    let done = world.clean();
    assert_eq!(world.entries(0).len(), 0);
    let horizon = NOW_MS + DELETE_RETENTION_MS;
    assert_eq!(
        world.header_to(marker).unwrap().delete_horizon_ms(),
        Some(horizon)
    );
    assert_eq!(done.delete_horizon, Some(horizon));

    world.now_ms = horizon;
    world.put("b", Some("3"));
    world.roll();
    world.clean();
    assert_eq!(world.header_to(marker), None, "the marker goes past its horizon");
}

#[test]
fn the_marker_of_a_committed_transaction_stays_while_it_has_data() {
    let mut world = World::new();
    world.append(transactional(7, 0), &[record("a", Some("1"), NOW_MS)]);
    let marker = world.end(7, MarkerKind::Commit);
    for pass in 0..3 {
        world.now_ms += DELETE_RETENTION_MS * 10;
        world.put("b", Some(&pass.to_string()));
        world.roll();
        world.clean();
        assert_eq!(world.header_to(marker).unwrap().delete_horizon_ms(), None);
    }
    world.put("a", Some("2"));
    for pass in 0..3 {
        world.put("b", Some(&pass.to_string()));
        world.roll();
        world.clean();
        world.now_ms += DELETE_RETENTION_MS;
    }
    assert_eq!(world.header_to(marker), None);
}

#[test]
fn a_transaction_across_segments_is_judged_as_a_whole() {
    let mut world = World::new();
    world.limits.segment_bytes = 1;
    world.append(transactional(7, 0), &[record("a", Some("aborted"), NOW_MS)]);
    world.roll();
    world.append(transactional(7, 1), &[record("b", Some("aborted"), NOW_MS)]);
    world.roll();
    world.end(7, MarkerKind::Abort);
    world.append(transactional(7, 2), &[record("c", Some("committed"), NOW_MS)]);
    world.end(7, MarkerKind::Commit);
    world.roll();
    let done = world.clean();
    assert_eq!(world.keys(), pairs(&[(3, "c")]));
    assert_eq!(
        done.groups.len(),
        2,
        "two segments are empty now, the third is as it was"
    );
    assert_eq!(done.groups[0].size_bytes, 0);
}

#[test]
fn the_last_batch_of_a_producer_stays_without_its_records() {
    let mut world = World::new();
    for sequence in 0..3 {
        world.append(idempotent(7, sequence), &[record("a", Some("1"), NOW_MS)]);
    }
    world.put("a", Some("2"));
    world.put("z", Some("2"));
    world.roll();
    world.last_batches.insert(7, LastBatch::Data(2));
    world.clean();
    assert_eq!(world.header_to(1), None);
    let last = world.header_to(2).unwrap();
    assert_eq!(
        (last.record_count, last.base_sequence, last.producer_epoch),
        (0, 2, 3)
    );
    assert_eq!(
        (last.base_offset, last.max_timestamp_ms, last.base_timestamp_ms),
        (2, NOW_MS, -1)
    );
    assert_eq!(last.size_bytes(), HEADER_BYTES);

    world.last_batches.clear();
    world.put("z", Some("3"));
    world.roll();
    world.clean();
    assert_eq!(world.header_to(2), None, "once the producer has expired it goes");
}

#[test]
fn the_last_marker_of_a_producer_without_data_stays_empty() {
    let mut world = World::new();
    let marker = world.end(7, MarkerKind::Commit);
    world.put("z", Some("1"));
    world.roll();
    world.last_batches.insert(7, LastBatch::Marker(3));
    for pass in 0..3 {
        world.put("z", Some(&pass.to_string()));
        world.roll();
        world.clean();
        world.now_ms += DELETE_RETENTION_MS;
    }
    let header = world.header_to(marker).unwrap();
    assert_eq!((header.record_count, header.producer_epoch), (0, 3));
    assert!(header.is_control() && header.is_transactional());
    world.last_batches.insert(7, LastBatch::Marker(4));
    world.put("z", Some("4"));
    world.roll();
    world.clean();
    assert_eq!(world.header_to(marker), None, "another epoch's is not the last");
}

#[test]
fn the_last_batch_of_a_pass_stays_empty_so_that_its_end_is_known() {
    let mut world = World::new();
    world.append(
        transactional(7, 0),
        &[record("a", Some("1"), NOW_MS), record("b", Some("1"), NOW_MS)],
    );
    world.roll();
    world.end(7, MarkerKind::Abort);
    world.clean();
    let last = world.header_to(1).unwrap();
    assert_eq!((last.base_offset, last.record_count), (0, 0));
    world.put("c", Some("1"));
    world.roll();
    world.clean();
    assert_eq!(world.header_to(1), None, "it goes with the pass behind it");
}
