//! A crash at every point of an end: after each record, and after each marker. What was decided stays decided, and everybody learns of it.

use std::collections::BTreeSet;

use super::requests::{added, adding};
use super::world::{OLD_ADD, OLD_END};
use super::*;
use crate::transactions::TxnRequest;

/// The number of the only transaction.
const FIRST: usize = 1;
const PARTITIONS: [i32; 3] = [0, 1, 2];

/// How a transaction is ended: by a client that commits or aborts, or by somebody who fences it.
#[derive(Clone, Copy, Debug)]
enum End {
    Asked { version: i16, is_commit: bool },
    TakenOver,
    TimedOut,
}

const ENDS: [End; 6] = [
    End::Asked {
        version: END,
        is_commit: true,
    },
    End::Asked {
        version: END,
        is_commit: false,
    },
    End::Asked {
        version: OLD_END,
        is_commit: true,
    },
    End::Asked {
        version: OLD_END,
        is_commit: false,
    },
    End::TakenOver,
    End::TimedOut,
];

impl End {
    fn is_commit(self) -> bool {
        matches!(self, End::Asked { is_commit: true, .. })
    }

    /// Begins the end: nothing is durable of it yet.
    fn begin(self, world: &mut World, producer: (i64, i16)) {
        match self {
            End::Asked { version, is_commit } => {
                world.send(version, super::requests::ending(ID, producer, is_commit));
            }
            End::TakenOver => {
                let request = TxnRequest::InitProducerId(super::requests::initializing(ID));
                world.send(INIT, request);
            }
            End::TimedOut => world.pass(i64::from(super::world::TIMEOUT_MS) + 1),
        }
    }
}

/// A world in which a producer with this epoch has written to three partitions.
fn written(epoch: i16, version: i16) -> (World, (i64, i16)) {
    let (mut world, producer) = with_epoch(epoch);
    world.version = version;
    let answer = world.ask(OLD_ADD, adding(ID, producer, &PARTITIONS, false));
    assert_eq!(added(answer), [ErrorCode::None; 3]);
    for partition in PARTITIONS {
        let producers = world.partitions.entry(partition).or_default();
        let row = producers.entry(producer.0).or_default();
        (row.epoch, row.open) = (producer.1, Some(FIRST));
    }
    (world, producer)
}

/// A crash after so many of the steps of an end: its record, each of its markers, and the record that they are written. Returns whether there
/// were as many.
fn crash_after(end: End, steps: usize, epoch: i16, version: i16, keeps_more: bool) -> bool {
    let (mut world, producer) = written(epoch, version);
    let context = format!("{end:?} {steps} {epoch} {version} {keeps_more}");
    end.begin(&mut world, producer);
    let mut done = 0;
    if steps > 0 {
        done += 1;
        world.flush();
        while done < steps && !world.marks.is_empty() {
            world.write_marker(0);
            done += 1;
        }
        if done < steps && world.durable < world.log.len() {
            world.flush();
            done += 1;
        }
    }
    // What was not durable may have reached the disk all the same.
    let keep = if keeps_more {
        world.log.len()
    } else {
        world.durable
    };
    world.crash(keep);
    let is_decided = keep > 2;
    world.finish();
    let state = world.state();
    if is_decided {
        let want = if end.is_commit() {
            "CompleteCommit"
        } else {
            "CompleteAbort"
        };
        assert_eq!(state, want, "{context}");
    } else {
        assert_eq!(state, "Ongoing", "{context}");
    }
    // Whoever did not hear of the end asks again.
    if let End::Asked {
        version: asked,
        is_commit,
    } = end
    {
        world.end(asked, producer, is_commit).expect(&context);
    } else if !is_decided {
        end.begin(&mut world, producer);
    }
    world.finish();
    assert_eq!(
        world.decided,
        [(FIRST, BTreeSet::from([end.is_commit()]))].into(),
        "{context}"
    );
    let open = world.partitions.values().flat_map(|producers| producers.values());
    assert!(
        open.clone().all(|row| row.open.is_none()),
        "{context}: a partition waits for its marker"
    );
    assert!(world.state().starts_with("Complete"), "{context}");
    world.init(ID).expect(&context);
    done == steps
}

#[test]
fn a_crash_after_any_step_of_an_end_leaves_one_decision_that_all_partitions_learn() {
    let mut crashes = 0;
    for end in ENDS {
        for epoch in [0, 7, LAST_PRODUCER_EPOCH - 1, LAST_PRODUCER_EPOCH] {
            for version in 0..=2 {
                for keeps_more in [false, true] {
                    let mut steps = 0;
                    while crash_after(end, steps, epoch, version, keeps_more) {
                        steps += 1;
                    }
                    assert_eq!(
                        steps, 6,
                        "a decision, three markers, the record that they are written"
                    );
                    crashes += steps;
                }
            }
        }
    }
    assert_eq!(crashes, 6 * 4 * 3 * 2 * 6);
}

#[test]
fn an_abort_of_nothing_that_was_half_put_down_is_complete_after_the_load() {
    let mut world = World::new();
    let producer = world.init(ID).expect("a producer");
    world.send(END, super::requests::ending(ID, producer, false));
    assert_eq!(world.log.len(), 3);
    world.crash(2);
    world.flush();
    assert_eq!(world.state(), "CompleteAbort");
    assert_eq!(world.end(END, producer, false), Ok((producer.0, producer.1 + 1)));
}

#[test]
fn markers_are_ordered_anew_after_a_load_with_the_new_epoch_of_the_coordinator() {
    for is_commit in [true, false] {
        let mut world = World::new();
        let producer = with_ongoing(&mut world);
        world.end(END, producer, is_commit).expect("ended");
        let before = world.marks[0].ending.clone();
        world.crash(world.durable);
        assert!(world.marks.is_empty(), "not before a load is done");
        world.flush();
        let after = world.marks[0].ending.clone();
        assert_eq!(after.coordinator_epoch, before.coordinator_epoch + 1);
        assert_eq!(
            crate::transactions::Ending {
                coordinator_epoch: before.coordinator_epoch,
                ..after
            },
            before
        );
        // Those of the coordinator before do not end what this one has ordered.
        world.step(|coordinator, ctx| coordinator.completed(ctx, &before));
        assert!(world.state().starts_with("Prepare"));
    }
}

#[test]
fn a_record_of_a_state_that_is_never_stored_says_nothing() {
    let (world, _) = with_epoch(3);
    let mut log = world.log;
    let mut strange = Transaction::new(1, 1).record(ID).encode().1.expect("a value");
    // Version, producer id, epoch, timeout: then the state.
    strange[2 + 8 + 2 + 4] = 7;
    log.push((log[0].0.clone(), Some(strange)));
    let mut world = World::with_log(log);
    assert_eq!(world.describe().producer_epoch, 3);
}

#[test]
fn who_resigns_knows_nothing_and_has_nothing_to_do() {
    let mut world = World::new();
    with_ongoing(&mut world);
    let step = world.coordinator.resign();
    assert!(step.records.is_empty() && step.outcomes.is_empty());
    assert_eq!(world.coordinator.deadline(), None);
    assert!(world.coordinator.transactions.is_empty());
}
