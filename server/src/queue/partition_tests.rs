use super::*;
use crate::queue::{Committed, Queues};
use crate::wire::Uuid;

/// A log of which only the sizes are kept.
struct Log {
    view: View,
    queue: PartitionQueue,
}

impl Log {
    fn new(queues: &Queues, index: i32) -> Log {
        let topic = queues.topic(Uuid::ZERO, &"t".into());
        let view = View {
            log_start: 0,
            log_end: 0,
            appended_bytes: 0,
        };
        let queue = PartitionQueue::new(topic, index, view, [(0, 0)].into_iter());
        Log { view, queue }
    }

    fn limited(mut self, limits: QueueLimits, partitions: usize) -> Log {
        self.queue.set_limits(Some(limits), partitions);
        self
    }

    fn grow(&mut self, bytes: i64, records: i64) {
        self.view.appended_bytes += bytes;
        self.view.log_end += records;
        self.queue.settle(self.view);
    }

    fn append(&mut self, bytes: i64, records: i64) -> Result<(), Box<Full>> {
        self.queue.take_room(bytes, records)?;
        self.grow(bytes, records);
        Ok(())
    }

    fn delete(&mut self, offset: i64) -> bool {
        self.view.log_start = offset;
        self.queue.settle(self.view)
    }

    /// Drops what is to be dropped, and tells from where the log starts then.
    fn trim(&mut self) -> i64 {
        if let Some(offset) = self.queue.trim_to() {
            self.delete(offset);
        }
        assert_eq!(self.queue.trim_to(), None, "once is enough");
        self.view.log_start
    }
}

fn limits(max_bytes: i64, max_records: i64, when_full: WhenFull) -> QueueLimits {
    QueueLimits {
        max_bytes: Some(max_bytes).filter(|most| *most >= 0),
        max_records: Some(max_records).filter(|most| *most >= 0),
        max_lag: None,
        lag_groups: Vec::new(),
        when_full,
    }
}

fn lag_limit(most: i64, when_full: WhenFull) -> QueueLimits {
    QueueLimits {
        max_lag: Some(most),
        lag_groups: vec!["g".into(), "h".into()],
        ..limits(-1, -1, when_full)
    }
}

fn tell(queues: &Queues, group: &str, offsets: &[(i32, i64)]) {
    for topic in queues.all() {
        for known in topic.groups().iter().filter(|known| &**known.group() == group) {
            known.tell(offsets.iter().copied().collect::<Committed>());
        }
    }
}

#[test]
fn partitions_share_one_limit() {
    let queues = Queues::default();
    let reject = limits(100, 10, WhenFull::Reject);
    let mut a = Log::new(&queues, 0).limited(reject.clone(), 2);
    let mut b = Log::new(&queues, 1).limited(reject, 2);
    assert_eq!(a.append(60, 1), Ok(()));
    let full = b.append(41, 1).expect_err("one byte too many");
    assert_eq!(
        (full.limit, full.most, full.held, full.asked),
        (MAX_BYTES, 100, 60, 41)
    );
    assert_eq!(b.append(40, 1), Ok(()));
    assert!(a.append(1, 1).is_err());
    assert!(a.delete(1), "there is room again");
    assert_eq!(b.append(8, 8), Ok(()));
    let full = a.append(1, 2).expect_err("one record too many");
    assert_eq!((full.limit, full.held, full.asked), (MAX_RECORDS, 9, 2));
    assert_eq!(
        queues.topic(Uuid::ZERO, &"t".into()).held(),
        (48, 9),
        "a refusal leaves nothing behind"
    );
    drop(b);
    assert_eq!(a.append(100, 10), Ok(()), "what a closed partition had is free");
}

#[test]
fn room_that_was_not_needed_is_given_back() {
    let queues = Queues::default();
    let mut log = Log::new(&queues, 0).limited(limits(100, -1, WhenFull::Block), 1);
    assert_eq!(log.queue.take_room(100, 5), Ok(()));
    assert!(log.queue.take_room(1, 1).is_err());
    assert!(log.queue.settle(log.view), "nothing was appended");
    assert_eq!(log.append(100, 1), Ok(()));
    // The end of a transaction is not asked.
    log.grow(78, 1);
    let full = log.append(1, 1).expect_err("full");
    assert_eq!((full.held, full.may_wait), (178, true));
    assert!(!log.append(101, 1).expect_err("never fits").may_wait);
}

#[test]
fn a_limit_below_what_is_stored_refuses_until_it_is_drained() {
    let queues = Queues::default();
    let mut log = Log::new(&queues, 0).limited(limits(-1, 100, WhenFull::Reject), 1);
    for _ in 0..10 {
        assert_eq!(log.append(50, 10), Ok(()));
    }
    log.queue.set_limits(Some(limits(-1, 20, WhenFull::Reject)), 1);
    assert_eq!(log.queue.trim_to(), None, "nothing is dropped");
    assert_eq!(log.append(1, 1).expect_err("full").held, 100);
    log.delete(79);
    assert!(log.append(1, 1).is_err());
    log.delete(81);
    assert_eq!(log.append(1, 1), Ok(()));
    log.queue.set_limits(Some(limits(-1, 0, WhenFull::Reject)), 1);
    log.delete(101);
    assert!(log.append(1, 1).is_err(), "0 takes nothing");
}

#[test]
fn what_is_found_at_a_start_counts() {
    let queues = Queues::default();
    let topic = queues.topic(Uuid::ZERO, &"t".into());
    let view = View {
        log_start: 25,
        log_end: 120,
        appended_bytes: 0,
    };
    let extents = [(0, 1000), (50, 500), (100, 80)];
    let mut queue = PartitionQueue::new(topic.clone(), 0, view, extents.into_iter());
    assert_eq!(topic.held(), (500 + 500 + 80, 95));
    // Batches may be missing in between: the bytes are those of the segments that are left.
    assert!(queue.survey(view, [(0, 100), (100, 80)].into_iter()));
    assert_eq!(topic.held(), (75 + 80, 95));
    let moved = View {
        appended_bytes: 7_000,
        ..view
    };
    queue.move_to(moved);
    assert_eq!(topic.held(), (155, 95), "another core counts anew");
    queue.settle(View {
        appended_bytes: 7_010,
        log_end: 121,
        ..view
    });
    assert_eq!(topic.held(), (165, 96));
    drop(queue);
    assert_eq!(topic.held(), (0, 0));
}

#[test]
fn the_largest_lag_counts() {
    let queues = Queues::default();
    let limit = lag_limit(10, WhenFull::Reject);
    let mut a = Log::new(&queues, 0).limited(limit.clone(), 2);
    let mut b = Log::new(&queues, 1).limited(limit, 2);
    assert_eq!(a.append(1, 15), Ok(()), "no coordinator has told anything yet");
    tell(&queues, "g", &[(0, 14)]);
    tell(&queues, "h", &[]);
    a.queue.settle(a.view);
    b.queue.settle(b.view);
    let full = b.append(1, 1).expect_err("h has read nothing");
    assert_eq!(
        (full.limit, full.most, full.held, full.group.as_deref()),
        (MAX_LAG, 10, 15, Some("h"))
    );
    assert!(a.delete(12), "what is gone is nobody's to read");
    assert_eq!(b.append(1, 7), Ok(()));
    assert!(a.append(1, 1).is_err());
    tell(&queues, "h", &[(0, 15), (1, 2)]);
    assert!(a.queue.settle(a.view), "it has read on");
    b.queue.settle(b.view);
    // g: 1 + 7, h: 0 + 5.
    assert_eq!(
        a.append(1, 3).expect_err("g is behind now").group.as_deref(),
        Some("g")
    );
    assert_eq!(a.append(1, 2), Ok(()));
    tell(&queues, "g", &[(0, 1_000_000), (1, 1_000_000)]);
    a.queue.settle(a.view);
    b.queue.settle(b.view);
    let lag = |name: &str| {
        let groups = queues.all()[0].groups();
        groups
            .iter()
            .find(|known| &**known.group() == name)
            .map(|known| known.lag())
    };
    assert_eq!(
        (lag("g"), lag("h")),
        (Some(0), Some(7)),
        "nobody is ahead of the end"
    );
}

#[test]
fn groups_that_are_no_longer_named_do_not_count() {
    let queues = Queues::default();
    let mut log = Log::new(&queues, 0).limited(lag_limit(10, WhenFull::Reject), 1);
    tell(&queues, "g", &[]);
    tell(&queues, "h", &[(0, 5)]);
    log.queue.settle(log.view);
    assert_eq!(log.append(1, 10), Ok(()));
    let mut limit = lag_limit(10, WhenFull::Reject);
    limit.lag_groups = vec!["h".into()];
    log.queue.set_limits(Some(limit), 1);
    assert_eq!(log.append(1, 5), Ok(()));
    assert!(log.append(1, 1).is_err());
}

#[test]
fn the_oldest_go_no_further_than_is_needed() {
    let queues = Queues::default();
    let mut log = Log::new(&queues, 0).limited(limits(1000, -1, WhenFull::DropOldest), 2);
    for batch in 0..5 {
        assert_eq!(log.append(100, 10), Ok(()));
        assert_eq!(log.trim(), 0, "batch {batch} fits into half of the limit");
    }
    assert_eq!(log.append(20, 1), Ok(()));
    assert_eq!(log.trim(), 2, "two records of ten bytes each");
    assert_eq!(log.append(500, 1), Ok(()));
    assert_eq!(log.trim(), 51, "the newest fills the share");
    assert_eq!(log.append(900, 9), Ok(()));
    assert_eq!(log.trim(), 52, "and stays, even where it is more");
    assert_eq!(log.queue.topic().held(), (900, 9));
}

#[test]
fn a_share_is_at_least_one_record() {
    let queues = Queues::default();
    let mut log = Log::new(&queues, 0).limited(limits(-1, 3, WhenFull::DropOldest), 8);
    assert_eq!(log.append(1, 1), Ok(()));
    assert_eq!(log.append(1, 1), Ok(()));
    assert_eq!(log.trim(), 1);
    // Growth makes shares smaller, a limit that is raised larger.
    log.queue
        .set_limits(Some(limits(-1, 80, WhenFull::DropOldest)), 8);
    for _ in 0..20 {
        assert_eq!(log.append(1, 1), Ok(()));
    }
    assert_eq!(log.trim(), 12);
    log.queue
        .set_limits(Some(limits(-1, 80, WhenFull::DropOldest)), 16);
    assert_eq!(log.trim(), 17);
}

#[test]
fn what_slow_groups_have_not_read_goes_by_lag() {
    let queues = Queues::default();
    let mut log = Log::new(&queues, 0).limited(lag_limit(10, WhenFull::DropOldest), 1);
    tell(&queues, "g", &[(0, 12)]);
    for _ in 0..20 {
        assert_eq!(log.append(1, 1), Ok(()));
    }
    assert_eq!(log.trim(), 0, "h is not known");
    tell(&queues, "h", &[(0, 10)]);
    log.queue.settle(log.view);
    assert_eq!(log.trim(), 0, "it is ten behind");
    assert_eq!(log.append(1, 1), Ok(()));
    assert_eq!(log.trim(), 11);
}
