//! A commit that is cut short: the power goes, and the process is killed, after the first, the second, the third, ... change of the disk that
//! a transaction makes, up to the last. Each time everything of it is there afterwards, or nothing: the records in both partitions and the
//! committed offset agree, and what was answered holds. Then the same transactional id goes on.
//!
//! Where the filesystem cannot be mounted (needs root and /dev/fuse) the tests say so; with `RINGLOG_REQUIRE_FUSE` set they fail there.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kafka_protocol::protocol::Request;
use ringlog_tests::admin::create;
use ringlog_tests::powercut::{Disk, Loss};
use ringlog_tests::raw::Connection;
use ringlog_tests::txn::{
    Producer, READ_COMMITTED, READ_UNCOMMITTED, add_offsets_request, add_partitions_request, batch,
    committed_values, end_offset, end_request, init, offset_commit_request, produce_in, stable_offset, state,
};
use ringlog_tests::{Broker, PATIENCE, code, group, wait_for};

const ID: &str = "cut";
const GROUP: &str = "cut-group";
/// More changes than a transaction makes: a run that never comes to its end is a failure.
const MOST_CHANGES: u64 = 400;
/// How long a transaction that is not cut may take to have all its markers.
const SETTLED: Duration = Duration::from_millis(300);

/// Who commits: a client of before transaction version 2, or one of that version.
#[derive(Clone, Copy, Debug)]
enum Client {
    Old,
    New,
}

/// Which answers a transaction got before the power went.
#[derive(Debug, Default)]
struct Told {
    asked: AtomicBool,
    committed: AtomicBool,
}

/// What a transaction writes: a number into two partitions, and as the offset of a third.
struct Stage {
    topic: String,
    source: String,
}

impl Stage {
    /// The whole transaction, until an answer is an error or does not come.
    fn commit(&self, bootstrap: &str, client: Client, number: i64, told: &Told) -> io::Result<()> {
        let mut connection = Connection::try_open(bootstrap)?;
        let producer = try_init(&mut connection)?;
        let value = number.to_string();
        let record = batch(producer, 0, &[value.as_bytes()]);
        let offsets = offset_commit_request(ID, producer, GROUP, &self.source, &[(0, number)]);
        let (produce_version, commit_version, end_version) = match client {
            Client::Old => (11, 4, 4),
            Client::New => (12, 5, 5),
        };
        if matches!(client, Client::Old) {
            let request = add_partitions_request(ID, producer, &[(&self.topic, &[0, 1])]);
            good(&mut connection, 3, &request, |answer| {
                answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
            })?;
            let request = add_offsets_request(ID, producer, GROUP);
            good(&mut connection, 3, &request, |answer| answer.error_code)?;
        }
        for partition in 0..2 {
            let request = produce_in(ID, &self.topic, partition, &record);
            good(&mut connection, produce_version, &request, |answer| {
                answer.responses[0].partition_responses[0].error_code
            })?;
        }
        good(&mut connection, commit_version, &offsets, |answer| {
            answer.topics[0].partitions[0].error_code
        })?;
        told.asked.store(true, Ordering::SeqCst);
        let request = end_request(ID, producer, true);
        good(&mut connection, end_version, &request, |answer| answer.error_code)?;
        told.committed.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// What there is of the number, after a restart: all of it or nothing.
    fn is_there(&self, broker: &Broker, number: i64, before: i64) -> bool {
        let mut connection = group::coordinator(broker, GROUP);
        wait_for("the outcome is decided", PATIENCE, || {
            let state = state(&mut connection, ID);
            (!state.starts_with("Prepare")).then_some(())
        });
        // Aborts what was left open.
        init(&mut connection, ID, 60_000);
        let value = number.to_string().into_bytes();
        let there: Vec<bool> = (0..2)
            .map(|partition| {
                wait_for("no transaction is open", PATIENCE, || {
                    let mut end = |isolation| end_offset(&mut connection, &self.topic, partition, isolation);
                    (end(READ_COMMITTED) == end(READ_UNCOMMITTED)).then_some(())
                });
                let values = committed_values(&mut connection, &self.topic, partition, 0);
                let times = values.iter().filter(|one| **one == value).count();
                assert!(times < 2, "{number} is in partition {partition} {times} times");
                times == 1
            })
            .collect();
        assert_eq!(
            there[0], there[1],
            "{number} is in one partition, and not in the other"
        );
        let offset = wait_for("the offsets are decided", PATIENCE, || {
            stable_offset(&mut connection, GROUP, &self.source, 0).ok()
        });
        let due = if there[0] { number } else { before };
        assert_eq!(offset, due, "{number} is in the partitions: {}", there[0]);
        there[0]
    }
}

/// InitProducerId until it is granted, by a broker that may go away meanwhile.
fn try_init(connection: &mut Connection) -> io::Result<Producer> {
    ringlog_tests::txn::find(connection, ID)?;
    let request = ringlog_tests::txn::init_request(ID, 60_000, Producer::NONE);
    let answer = good(connection, 4, &request, |answer| answer.error_code)?;
    Ok(Producer {
        id: answer.producer_id.0,
        epoch: answer.producer_epoch,
    })
}

/// The answer without an error, asked for again while the coordinator is busy.
fn good<R: Request>(
    connection: &mut Connection,
    version: i16,
    request: &R,
    error: impl Fn(&R::Response) -> i16,
) -> io::Result<R::Response> {
    loop {
        let answer = connection.try_call(version, request)?;
        match error(&answer) {
            code::NONE => return Ok(answer),
            code::CONCURRENT_TRANSACTIONS
            | code::COORDINATOR_LOAD_IN_PROGRESS
            | code::COORDINATOR_NOT_AVAILABLE
            | code::NOT_COORDINATOR => std::thread::park_timeout(Duration::from_millis(2)),
            other => {
                return Err(io::Error::other(format!(
                    "{} {version} is answered {other}",
                    R::KEY
                )));
            }
        }
    }
}

/// One cut after another. `loss` says what a cut takes of what was not synced.
fn every_cut(client: Client, cores: usize, loss: impl Fn(u64) -> Loss) {
    let Some(mut disk) = Disk::new() else { return };
    let builder = disk
        .broker()
        .cores(cores)
        .set("group.initial.rebalance.delay.ms", 0)
        .set("transaction.state.log.num.partitions", 2)
        .set("offsets.topic.num.partitions", 2);
    let mut broker = builder.start().expect("no other broker is named");
    let stage = Stage {
        topic: create(&broker, "cut", 2, &[]),
        source: create(&broker, "source", 1, &[]),
    };
    drop(group::coordinator(&broker, GROUP));
    let first = Told::default();
    stage
        .commit(broker.bootstrap(), client, 1, &first)
        .expect("nothing is cut yet");
    assert!(stage.is_there(&broker, 1, -1), "what was acknowledged is there");
    let (mut number, mut kept) = (1, 1);
    let (mut commits, mut aborts) = (0, 0);
    for changes in 1.. {
        assert!(
            changes < MOST_CHANGES,
            "a transaction makes fewer changes of the disk"
        );
        number += 1;
        let told = Told::default();
        let bootstrap = broker.bootstrap().to_owned();
        let was_cut = std::thread::scope(|scope| {
            let (stage, told) = (&stage, &told);
            disk.power_off_after(changes);
            let client = scope.spawn(move || stage.commit(&bootstrap, client, number, told));
            let was_cut = wait_for("the power goes, or all is done", PATIENCE, || {
                let done = client.is_finished() && settled(&disk);
                (!disk.is_on() || done).then(|| !disk.is_on())
            });
            disk.power_off();
            // What was promised before is on its way to the client.
            std::thread::park_timeout(Duration::from_millis(20));
            broker.kill();
            let outcome = client.join().expect("the client does not panic");
            assert!(was_cut || outcome.is_ok(), "nothing was cut, and yet {outcome:?}");
            was_cut
        });
        disk.cut(loss(changes));
        broker.restart();
        let (asked, committed) = (
            told.asked.load(Ordering::SeqCst),
            told.committed.load(Ordering::SeqCst),
        );
        let there = stage.is_there(&broker, number, kept);
        println!(
            "cut after {changes} changes: commit asked for {asked}, acknowledged {committed}; there {there}"
        );
        assert!(
            there || !committed,
            "the commit of {number} was acknowledged, and it is gone"
        );
        assert!(
            asked || !there,
            "nobody asked for the commit of {number}, and it is there"
        );
        if there {
            (kept, commits) = (number, commits + 1);
        } else {
            aborts += 1;
        }
        number += 1;
        let after = stage.commit(broker.bootstrap(), client, number, &Told::default());
        after.expect("the same transactional id goes on");
        assert!(stage.is_there(&broker, number, kept), "{number} is there");
        kept = number;
        if !was_cut {
            break;
        }
    }
    println!("{commits} committed, {aborts} aborted");
    assert!(
        commits > 1 && aborts > 1,
        "cuts before the decision and after it: {commits} and {aborts}"
    );
}

/// Nothing has gone for a while: markers are written behind the answer.
fn settled(disk: &Disk) -> bool {
    let before = disk.seen();
    std::thread::park_timeout(SETTLED);
    before == disk.seen()
}

#[test]
fn a_commit_that_is_cut_anywhere_is_there_everywhere_or_nowhere() {
    every_cut(Client::New, 1, |_| Loss::everything());
}

#[test]
fn a_commit_of_an_old_client_that_is_cut_anywhere_is_there_everywhere_or_nowhere() {
    every_cut(Client::Old, 2, Loss::some);
}
