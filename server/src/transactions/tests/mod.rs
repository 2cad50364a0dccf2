//! A coordinator at work; a test that is about one of the numbered behaviours of a broker begins with its number.

mod crashes;
mod ends;
mod expiry;
mod init;
mod listing;
mod partitions;
mod requests;
mod simulation;
mod world;

use world::{ADD, COMMIT, END, INIT, OLD_ADD, OLD_END, World};

use crate::transactions::transaction::{LAST_PRODUCER_EPOCH, Transaction};
use crate::wire::ErrorCode;

/// The transactional id of most tests.
const ID: &str = "id";

/// Another producer comes, until it is told that it has the id.
fn take_over(world: &mut World) -> (i64, i16) {
    let fenced = world.init(ID);
    assert_eq!(fenced, Err(ErrorCode::ConcurrentTransactions));
    world.finish();
    world.init(ID).expect("a producer")
}

/// A producer whose transaction has partition 0 of topic `t`.
fn with_ongoing(world: &mut World) -> (i64, i16) {
    let producer = world.init(ID).expect("a producer");
    assert_eq!(world.add(ADD, producer, &[0]), ErrorCode::None);
    producer
}

/// A world whose id has a producer with this epoch, and that producer.
fn with_epoch(epoch: i16) -> (World, (i64, i16)) {
    let mut known = Transaction::new(900, world::TIMEOUT_MS);
    known.begin_empty((900, epoch), -1, world::TIMEOUT_MS, world::START_MS);
    let world = World::with_log(vec![known.record(ID).encode()]);
    (world, (900, epoch))
}
