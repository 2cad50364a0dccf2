//! One test for each rule.

use super::*;

#[test]
fn the_last_record_of_each_key_stays_at_its_offset() {
    let mut world = World::of_keys(&[&["a", "b", "a"], &["b", "c"]]);
    let done = world.clean();
    assert_eq!(world.keys(), pairs(&[(2, "a"), (3, "b"), (4, "c")]));
    assert_eq!(done.cleaned_to, 5);
    assert_eq!(
        (done.stats.keys, done.stats.records_read, done.stats.records_kept),
        (3, 5, 3)
    );
}

#[test]
fn the_active_segment_is_neither_read_nor_written() {
    let mut world = World::of_keys(&[&["a"]]);
    world.put("a", Some("newer"));
    world.clean();
    assert_eq!(world.keys(), pairs(&[(0, "a"), (1, "a")]));
}

#[test]
fn a_record_of_the_clean_part_goes_when_the_dirty_part_has_its_key() {
    let mut world = World::of_keys(&[&["a", "b"]]);
    world.clean();
    world.put("a", Some("newer"));
    world.roll();
    world.clean();
    assert_eq!(world.keys(), pairs(&[(1, "b"), (2, "a")]));
}

#[test]
fn a_log_that_is_clean_is_left_as_it_is() {
    let mut world = World::of_keys(&[&["a", "b"], &["c"]]);
    world.limits.segment_bytes = 1;
    let done = world.clean();
    assert_eq!(done.groups, [], "nothing is written where nothing changes");
    assert_eq!(done.cleaned_to, 3);
}

#[test]
fn a_batch_of_which_nothing_goes_keeps_its_bytes() {
    let mut world = World::of_keys(&[&["a"], &["b", "a"]]);
    let stays = world.segments[&1].clone();
    world.clean();
    assert_eq!(world.segments[&0], stays);
}

#[test]
fn a_batch_that_loses_records_keeps_everything_else() {
    for codec in Codec::ALL {
        let mut world = World::new();
        let how = How {
            codec,
            ..idempotent(7, 100)
        };
        world.append(
            how,
            &[
                record("a", Some("1"), NOW_MS + 5),
                record("b", Some("2"), NOW_MS - 3),
                record("c", Some("3"), NOW_MS + 9),
            ],
        );
        world.put("a", Some("4"));
        world.put("c", Some("5"));
        world.roll();
        let before = world.header_to(2).unwrap();
        world.clean();
        let after = world.header_to(2).unwrap();
        assert_eq!(
            (after.base_offset, after.last_offset_delta, after.base_sequence),
            (0, 2, 100)
        );
        assert_eq!((after.producer_id, after.producer_epoch), (7, 3));
        assert_eq!(
            (after.partition_leader_epoch, after.attributes),
            (5, before.attributes)
        );
        assert_eq!(
            (
                after.record_count,
                after.base_timestamp_ms,
                after.max_timestamp_ms
            ),
            (1, NOW_MS - 3, NOW_MS - 3)
        );
        let seen = world.seen();
        assert_eq!(seen[0], (1, Some("b".into()), Some("2".into()), NOW_MS - 3));
        let headers = world.batches()[0]
            .records(1 << 20)
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .headers;
        assert_eq!(headers.len(), 2, "headers of records stay");
    }
}

#[test]
fn records_with_the_time_of_their_append_keep_it() {
    let mut world = World::new();
    let mut bytes = batch(PLAIN, &[record("a", Some("1"), 5), record("b", None, 6)]);
    change(&mut bytes, |header| {
        header.attributes |= 1 << 3;
        header.max_timestamp_ms = NOW_MS;
    });
    world.append_bytes(bytes);
    world.put("a", Some("2"));
    world.roll();
    world.clean();
    assert_eq!(world.seen()[0], (1, Some("b".into()), None, NOW_MS));
    let header = world.header_to(1).unwrap();
    assert_eq!(
        (header.max_timestamp_ms, header.base_timestamp_ms),
        (NOW_MS, NOW_MS + DELETE_RETENTION_MS)
    );
}

#[test]
fn a_tombstone_stays_until_the_horizon_that_its_first_pass_sets() {
    let mut world = World::of_keys(&[&["a", "b"]]);
    world.put("a", None);
    world.roll();
    let done = world.clean();
    assert_eq!(
        world.keys(),
        pairs(&[(1, "b"), (2, "a")]),
        "what it deletes is gone"
    );
    let horizon = NOW_MS + DELETE_RETENTION_MS;
    assert_eq!(done.delete_horizon, Some(horizon));
    assert_eq!(world.header_to(2).unwrap().delete_horizon_ms(), Some(horizon));
    assert_eq!(world.seen()[1].3, NOW_MS, "its time is what it was");

    world.now_ms = horizon - 1;
    world.put("x", Some("1"));
    world.roll();
    assert_eq!(
        world.clean().delete_horizon,
        Some(horizon),
        "a later pass does not move it"
    );
    assert!(world.keys().contains(&(2, "a".into())));

    world.now_ms = horizon;
    world.put("x", Some("2"));
    world.roll();
    assert_eq!(world.clean().delete_horizon, None);
    assert_eq!(world.keys(), pairs(&[(1, "b"), (4, "x")]));
}

#[test]
fn a_record_without_a_key_goes_and_is_counted() {
    let mut world = World::new();
    let keyless = NewRecord {
        key: None,
        ..record("", Some("1"), NOW_MS)
    };
    world.append(PLAIN, &[keyless, record("a", Some("2"), NOW_MS)]);
    world.put("b", Some("3"));
    world.roll();
    let done = world.clean();
    assert_eq!(done.stats.records_without_key, 1);
    assert_eq!(world.keys(), pairs(&[(1, "a"), (2, "b")]));
}

#[test]
fn an_empty_key_is_a_key() {
    let mut world = World::of_keys(&[&["", "a", ""]]);
    world.clean();
    assert_eq!(world.keys(), pairs(&[(1, "a"), (2, "")]));
}

#[test]
fn what_lies_behind_a_full_map_stays_for_the_next_pass() {
    let mut world = World::of_keys(&[&["a", "b"], &["a", "b", "c"], &["a", "b", "c"]]);
    // Two keys.
    (world.settings.dedupe_buffer_bytes, world.settings.load_factor) = (4 * 24, 0.5);
    let done = world.clean();
    assert_eq!(done.cleaned_to, 2);
    assert_eq!(world.keys().len(), 8, "two keys, each once so far");
    let mut passes = 1;
    while world.first_dirty_offset < world.next_offset {
        let before = world.first_dirty_offset;
        world.clean();
        passes += 1;
        assert!(world.first_dirty_offset > before);
    }
    assert!(passes > 2);
    assert_eq!(world.keys(), pairs(&[(5, "a"), (6, "b"), (7, "c")]));
}

#[test]
fn records_before_the_log_start_go() {
    let mut world = World::of_keys(&[&["a", "b", "c"]]);
    world.log_start_offset = 2;
    world.clean();
    assert_eq!(world.keys(), pairs(&[(2, "c")]));
}

#[test]
fn small_segments_become_one() {
    let mut world = World::of_keys(&[&["a"], &["b"], &["c"], &["d"]]);
    world.limits.segment_bytes = world.segments[&0].len() as u32 * 2;
    let done = world.clean();
    let replaces: Vec<Vec<i64>> = done.groups.iter().map(|group| group.replaces.clone()).collect();
    assert_eq!(replaces, [[0, 1], [2, 3]]);
    assert_eq!(world.keys().len(), 4);
}

#[test]
fn a_new_segment_is_as_old_as_the_last_one_it_replaces() {
    let mut world = World::of_keys(&[&["a", "a"], &["b"]]);
    let order = world.order();
    let then = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    let file = std::fs::File::options()
        .write(true)
        .open(world.path(2, ".log"))
        .unwrap();
    file.set_modified(then).unwrap();
    world.run(order).unwrap();
    let modified = std::fs::metadata(world.path(0, ".log.cleaned"))
        .unwrap()
        .modified();
    assert_eq!(modified.unwrap(), then);
    world.segments.clear();
}

#[test]
fn a_cancelled_pass_leaves_no_file() {
    let world = World::of_keys(&[&["a", "a"], &["b"]]);
    let order = world.order();
    order.cancelled.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(matches!(world.run(order), Err(CleanError::Cancelled)));
    assert_eq!(world.unfinished(), 0);
}

#[test]
fn what_a_killed_pass_left_does_not_show() {
    let mut world = World::of_keys(&[&["a", "b", "a"], &["b"]]);
    for suffix in [
        ".log.cleaned",
        ".index.cleaned",
        ".timeindex.cleaned",
        ".txnindex.cleaned",
    ] {
        std::fs::write(world.path(0, suffix), [1; 10_000]).unwrap();
    }
    world.clean();
    assert_eq!(world.keys(), pairs(&[(2, "a"), (3, "b")]));
}

#[test]
fn an_order_without_segments_does_nothing() {
    let world = World::of_keys(&[]);
    let done = world.try_clean().unwrap();
    assert_eq!((done.groups.len(), done.cleaned_to), (0, 0));
}

#[test]
fn threads_do_what_is_submitted_and_say_so() {
    let world = World::of_keys(&[&["a", "a"]]);
    let settings = CleanerSettings {
        threads: 2,
        ..world.settings
    };
    let cleaners = Cleaners::start(settings).unwrap();
    let inbox = CleanInbox::default();
    cleaners.submit(5, world.order(), &inbox, None);
    let report = loop {
        match inbox.pop() {
            Some(report) => break report,
            None => std::thread::yield_now(),
        }
    };
    assert_eq!((report.token, report.result.unwrap().groups.len()), (5, 1));
}
