use super::*;
use crate::config::queue::MAX_BYTES;
use crate::core::calls::Calls;
use crate::queue::Queues;

fn held(calls: &mut Calls, index: i32, until: Instant) -> Held {
    let key = PartitionKey {
        topic_id: Uuid::ZERO,
        index,
    };
    let item = AppendItem {
        place: (0, 0),
        key,
        records: bytes::Bytes::new(),
    };
    let order = AppendOrder {
        origin: 0,
        call: calls.reserve_for_test(),
        wait: true,
        deadline: until,
        since: until,
        turn: None,
        transaction: None,
        meter: None,
        items: vec![item],
    };
    let full = Full {
        topic: "t".into(),
        limit: MAX_BYTES,
        most: 1,
        held: 1,
        asked: 1,
        group: None,
        may_wait: true,
    };
    Held {
        order,
        until,
        full: Box::new(full),
    }
}

#[test]
fn who_waits_is_known_to_the_topic_until_nobody_does() {
    let (topic, mut calls) = (Queues::default().topic(Uuid::ZERO, &"t".into()), Calls::default());
    let (now, mut waiting) = (Instant::now(), Waiting::default());
    let at = |ms| now + Duration::from_millis(ms);
    assert!(waiting.put(&topic, held(&mut calls, 1, at(20)), false));
    assert!(!waiting.put(&topic, held(&mut calls, 2, at(10)), false));
    assert!(!waiting.put(&topic, held(&mut calls, 3, at(30)), true));
    assert!(topic.has_waiting());
    assert_eq!((waiting.count, waiting.deadline()), (3, Some(at(10))));
    let index = |held: &Held| held.key().map(|key| key.index);
    let expired = waiting.take(|held| held.until <= at(10));
    assert_eq!(expired.iter().map(index).collect::<Vec<_>>(), [Some(2)]);
    assert_eq!(waiting.deadline(), Some(at(20)));
    let mut next = || waiting.pop(Uuid::ZERO).as_ref().and_then(index);
    assert_eq!([next(), next(), next()], [Some(3), Some(1), None]);
    assert!(topic.has_waiting(), "the last one has its turn");
    waiting.end_lines();
    assert!(!topic.has_waiting() && waiting.is_empty());
    assert_eq!((waiting.count, waiting.deadline()), (0, None));
}

#[test]
fn nobody_goes_before_the_first_while_its_coordinator_is_asked() {
    let (topic, mut calls) = (Queues::default().topic(Uuid::ZERO, &"t".into()), Calls::default());
    let (now, mut waiting) = (Instant::now(), Waiting::default());
    assert!(waiting.put(&topic, held(&mut calls, 1, now), false));
    let first = waiting.pop(Uuid::ZERO).expect("the first");
    waiting.stand_still(Uuid::ZERO, 7);
    waiting.end_lines();
    assert!(
        topic.has_waiting() && !waiting.is_empty(),
        "others still come behind it"
    );
    assert!(!waiting.put(&topic, held(&mut calls, 2, now), false));
    assert!(waiting.pop(Uuid::ZERO).is_none());
    // The answer to an earlier question is nothing to it.
    waiting.go_on(Uuid::ZERO, 6);
    assert!(waiting.pop(Uuid::ZERO).is_none());
    assert!(!waiting.put(&topic, first, true));
    waiting.go_on(Uuid::ZERO, 7);
    let index = |held: &Held| held.key().map(|key| key.index);
    let mut next = || waiting.pop(Uuid::ZERO).as_ref().and_then(index);
    assert_eq!([next(), next(), next()], [Some(1), Some(2), None]);
    waiting.stand_still(Uuid::ZERO, 8);
    waiting.go_on(Uuid::ZERO, 8);
    assert!(!topic.has_waiting() && waiting.is_empty());
}

#[test]
fn a_client_hears_of_it_before_it_gives_up() {
    let ms = Duration::from_millis;
    for (left, waits) in [(0, 0), (100, 90), (5_000, 4_500), (30_000, 29_000)] {
        assert_eq!(patience(ms(left)), ms(waits), "{left}");
    }
}
