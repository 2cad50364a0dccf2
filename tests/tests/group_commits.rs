//! Commits racing a rebalance: which are taken, and that each that was taken stays.
//!
//! Every answer expected here was seen on Apache Kafka 4.3.1 first: set `RINGLOG_TEST_BOOTSTRAP` to the address of a
//! Kafka broker to see it again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::thread::Scope;
use std::time::{Duration, Instant};

use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupRequest, SyncGroupRequest,
};
use ringlog_tests::admin::create;
use ringlog_tests::broker::unique;
use ringlog_tests::group::{
    COMMIT_VERSION, Commits, JOIN_VERSION, SYNC_VERSION, alone, commit, commit_request, committed,
    coordinator, group_id, heartbeat, join_request, sync, sync_request, text,
};
use ringlog_tests::raw::{Connection, name, topic_id};
use ringlog_tests::{Broker, PATIENCE, code, wait_for};
use uuid::Uuid;

/// As many as there are members at most, so that each gets one.
const PARTITIONS: i32 = 4;
/// Members that stay to the end.
const RESIDENTS: usize = 2;
/// Members that come and go side by side, and how often each does.
const VISITORS: usize = 2;
const VISITS: usize = 8;
/// A visitor commits so often before it goes.
const COMMITS_OF_A_VISIT: usize = 3;
/// Between two heartbeats of a member.
const BETWEEN_HEARTBEATS: Duration = Duration::from_millis(5);
/// The version of ConsumerGroupHeartbeat.
const BEAT_VERSION: i16 = 1;

/// A broker that lets members in, and assigns, at once.
fn broker() -> Broker {
    Broker::own()
        .cores(2)
        .set("group.initial.rebalance.delay.ms", 0)
        .set("group.consumer.assignment.interval.ms", 0)
        .or_external()
}

#[test]
fn a_commit_between_the_join_of_another_and_the_sync() {
    let broker = broker();
    let (group, topic) = (unique("between"), create(&broker, "between", 1, &[]));
    let mut one = coordinator(&broker, &group);
    let (leader, generation) = alone(&mut one, &group, &[&topic]);
    let mut two = Connection::open(broker.bootstrap());
    let follower = two.call(JOIN_VERSION, &join_request(&group, "")).member_id;
    let joining = two.send(JOIN_VERSION, &join_request(&group, &follower));
    wait_for("the leader is told to join again", PATIENCE, || {
        let answer = heartbeat(&mut one, &group, generation, &leader);
        (answer == code::REBALANCE_IN_PROGRESS).then_some(())
    });
    // Commits come by connections of their own, as from another thread of the same client.
    let mut other = Connection::open(broker.bootstrap());
    let mut says = |generation: i32, member: &str, offset: i64| {
        let error = commit(
            &mut other,
            COMMIT_VERSION,
            &group,
            generation,
            member,
            &topic,
            offset,
        );
        let offsets = committed(&mut other, &group, &topic, &[0]).expect("offsets");
        (error, offsets[&0])
    };
    // The generation is not over until all have joined again.
    assert_eq!(says(generation, &leader, 5), (code::NONE, 5));
    assert_eq!(says(generation + 1, &leader, 6), (code::ILLEGAL_GENERATION, 5));
    let joined = one.call(JOIN_VERSION, &join_request(&group, &leader));
    let followed = two.receive::<JoinGroupRequest>(JOIN_VERSION, joining);
    assert_eq!(
        (joined.generation_id, followed.generation_id),
        (generation + 1, generation + 1)
    );
    // Now it is, and nobody may commit in the next one before the leader has said who reads what.
    assert_eq!(says(generation, &leader, 6), (code::ILLEGAL_GENERATION, 5));
    for member in [leader.as_str(), follower.as_str()] {
        assert_eq!(says(generation + 1, member, 6), (code::REBALANCE_IN_PROGRESS, 5));
    }
    assert_eq!(says(-1, "", 6), (code::UNKNOWN_MEMBER_ID, 5));
    let syncing = two.send(
        SYNC_VERSION,
        &sync_request(&group, generation + 1, &follower, &[]),
    );
    let assignments: [(&str, &[u8]); 1] = [(&follower, b"all")];
    sync(&mut one, &group, generation + 1, &leader, &assignments);
    let synced = two.receive::<SyncGroupRequest>(SYNC_VERSION, syncing);
    assert_eq!(&synced.assignment[..], b"all");
    assert_eq!(says(generation, &leader, 6), (code::ILLEGAL_GENERATION, 5));
    assert_eq!(says(generation + 1, &follower, 6), (code::NONE, 6));
}

/// A group whose members commit while others join and leave. Each that gets a partition commits the offset after the one that it finds
/// committed, and then one after the other: so taken offsets follow one another without a gap, and no offset is taken twice.
struct Race<'a> {
    broker: &'a Broker,
    group: String,
    topic: String,
    topic_id: Uuid,
    /// By partition, the offsets that were taken.
    taken: Mutex<BTreeMap<i32, Vec<i64>>>,
    /// What commits were refused for.
    refusals: Mutex<BTreeSet<i16>>,
    /// Residents are to go.
    over: AtomicBool,
    /// A member failed, and the others need not go on.
    failed: AtomicBool,
}

/// Notes that the thread that holds it failed.
struct NotesFailure<'a>(&'a AtomicBool);

impl Drop for NotesFailure<'_> {
    fn drop(&mut self) {
        self.0.fetch_or(std::thread::panicking(), Ordering::AcqRel);
    }
}

impl<'a> Race<'a> {
    fn new(broker: &'a Broker, stem: &str) -> Race<'a> {
        let (group, topic) = (unique(stem), create(broker, stem, PARTITIONS, &[]));
        let topic_id = topic_id(&mut coordinator(broker, &group), &topic);
        Race {
            broker,
            group,
            topic,
            topic_id,
            taken: Mutex::default(),
            refusals: Mutex::default(),
            over: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        }
    }

    /// Lets residents and visitors run. Each is given when to go: asked between two heartbeats, with how often it has committed.
    fn run(
        &self,
        member: impl for<'s> Fn(&'s Scope<'s, '_>, &'s Race<'a>, &dyn Fn(usize) -> bool) + Copy + Send,
    ) where
        Self: Sync,
    {
        let watched = Commits::watch(self.broker.bootstrap(), &self.group, &self.topic, PARTITIONS);
        std::thread::scope(|scope| {
            let run = move |goes: &dyn Fn(usize) -> bool| {
                let _notes = NotesFailure(&self.failed);
                member(scope, self, &|commits| {
                    goes(commits) || self.failed.load(Ordering::Acquire)
                });
            };
            for _ in 0..RESIDENTS {
                scope.spawn(move || run(&|_| self.over.load(Ordering::Acquire)));
            }
            let visit = move || {
                let begin = Instant::now();
                run(&|commits| {
                    assert!(begin.elapsed() < PATIENCE, "a visitor committed {commits} times");
                    commits >= COMMITS_OF_A_VISIT
                });
            };
            let visits = move || (0..VISITS).for_each(|_| visit());
            let visitors: Vec<_> = (0..VISITORS).map(|_| scope.spawn(visits)).collect();
            let ended: Vec<_> = visitors.into_iter().map(|visitor| visitor.join()).collect();
            self.over.store(true, Ordering::Release);
            assert!(ended.iter().all(Result::is_ok), "a visitor failed");
        });
        watched.finish();
        let mut connection = Connection::open(self.broker.bootstrap());
        let all: Vec<i32> = (0..PARTITIONS).collect();
        let last = committed(&mut connection, &self.group, &self.topic, &all).expect("offsets");
        let taken = self.taken.lock().expect("no panic while held");
        assert_eq!(taken.len(), all.len(), "each partition had its turn");
        for (partition, offsets) in taken.iter() {
            let mut offsets = offsets.clone();
            offsets.sort_unstable();
            let expected: Vec<i64> = (0..=last[partition]).collect();
            assert_eq!(offsets, expected, "partition {partition}");
        }
    }

    /// Commits an offset: the error.
    fn commit(
        &self,
        connection: &mut Connection,
        member: &str,
        generation: i32,
        partition: i32,
        offset: i64,
    ) -> i16 {
        let mut request = commit_request(&self.group, generation, member, &self.topic, offset);
        request.topics[0].partitions[0].partition_index = partition;
        let answer = connection.call(COMMIT_VERSION, &request);
        let error = answer.topics[0].partitions[0].error_code;
        if error == code::NONE {
            let mut taken = self.taken.lock().expect("no panic while held");
            taken.entry(partition).or_default().push(offset);
        } else {
            self.refusals.lock().expect("no panic while held").insert(error);
        }
        error
    }

    /// The offsets to be committed next.
    fn next(&self, connection: &mut Connection, partitions: &[i32]) -> BTreeMap<i32, i64> {
        let found = committed(connection, &self.group, &self.topic, partitions).expect("offsets");
        found
            .into_iter()
            .map(|(partition, offset)| (partition, offset + 1))
            .collect()
    }

    fn refusals(&self) -> Vec<i16> {
        let refusals = self.refusals.lock().expect("no panic while held");
        refusals.iter().copied().collect()
    }
}

#[test]
fn of_a_classic_group_no_commit_is_lost_or_goes_back_while_members_come_and_go() {
    let broker = broker();
    let race = Race::new(&broker, "classic");
    race.run(classic_member);
    // A generation ends while somebody commits, and those who left go on committing until they are told.
    let refusals = race.refusals();
    assert!(refusals.contains(&code::UNKNOWN_MEMBER_ID), "{refusals:?}");
    let of_generations = [code::ILLEGAL_GENERATION, code::REBALANCE_IN_PROGRESS];
    assert!(
        of_generations.iter().any(|code| refusals.contains(code)),
        "{refusals:?}"
    );
    let expected = |code: &i16| of_generations.contains(code) || *code == code::UNKNOWN_MEMBER_ID;
    assert!(refusals.iter().all(expected), "{refusals:?}");
}

/// Joins and joins again until it shall go. Its commits have a connection and a thread of their own in each generation, which go on until
/// one is refused: the member does not wait for them.
fn classic_member<'s>(scope: &'s Scope<'s, '_>, race: &'s Race<'_>, goes: &dyn Fn(usize) -> bool) {
    let mut connection = Connection::open(race.broker.bootstrap());
    let mut member = String::new();
    let commits = std::sync::Arc::new(AtomicUsize::new(0));
    loop {
        let joined = connection.call(JOIN_VERSION, &join_request(&race.group, &member));
        member = joined.member_id.to_string();
        match joined.error_code {
            code::NONE => {}
            code::MEMBER_ID_REQUIRED => continue,
            error => panic!("the join of {member}: {error}"),
        }
        let generation = joined.generation_id;
        let shares = shares(&joined);
        let shares: Vec<(&str, &[u8])> = shares
            .iter()
            .map(|(id, share)| (id.as_str(), &share[..]))
            .collect();
        let synced = sync(&mut connection, &race.group, generation, &member, &shares);
        match synced.error_code {
            code::NONE => {}
            code::REBALANCE_IN_PROGRESS => continue,
            error => panic!("the sync of {member}: {error}"),
        }
        let (id, count) = (member.clone(), commits.clone());
        scope.spawn(move || {
            let mut connection = Connection::open(race.broker.bootstrap());
            let partitions: Vec<i32> = synced.assignment.iter().map(|&one| one.into()).collect();
            let mut next = race.next(&mut connection, &partitions);
            while !next.is_empty() && !race.failed.load(Ordering::Acquire) {
                for (partition, offset) in &mut next {
                    if race.commit(&mut connection, &id, generation, *partition, *offset) != code::NONE {
                        return;
                    }
                    *offset += 1;
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        while heartbeat(&mut connection, &race.group, generation, &member) == code::NONE {
            if goes(commits.load(Ordering::Relaxed)) {
                let identity = MemberIdentity::default().with_member_id(text(&member));
                let leave = LeaveGroupRequest::default()
                    .with_group_id(group_id(&race.group))
                    .with_members(vec![identity]);
                assert_eq!(connection.call(5, &leave).error_code, code::NONE);
                return;
            }
            std::thread::park_timeout(BETWEEN_HEARTBEATS);
        }
    }
}

/// What the leader assigns: to each member some partitions, a byte for each; nothing by others.
fn shares(joined: &JoinGroupResponse) -> Vec<(String, Vec<u8>)> {
    let ids = joined.members.iter().map(|member| member.member_id.to_string());
    let mut shares: Vec<(String, Vec<u8>)> = ids.map(|id| (id, Vec::new())).collect();
    let count = shares.len();
    for partition in (0..PARTITIONS as u8).take_while(|_| count > 0) {
        shares[usize::from(partition) % count].1.push(partition);
    }
    shares
}

#[test]
fn of_consumers_no_commit_is_lost_or_goes_back_while_members_come_and_go() {
    let broker = broker();
    let race = Race::new(&broker, "consumers");
    race.run(consumer);
    // An epoch rises while somebody commits, and what it had before it may commit in the epoch before (KIP-1251).
    assert_eq!(race.refusals(), [code::UNKNOWN_MEMBER_ID]);
}

/// What a consumer has and its epoch, for the thread that commits. While that waits for an answer nothing is given back, as clients do it.
#[derive(Default)]
struct Reads {
    epoch: AtomicI32,
    /// By partition, the offset to be committed next.
    next: Mutex<BTreeMap<i32, i64>>,
    commits: AtomicUsize,
}

/// Joins, follows its assignment until it shall go, and leaves while it commits.
fn consumer<'s>(scope: &'s Scope<'s, '_>, race: &'s Race<'_>, goes: &dyn Fn(usize) -> bool) {
    let member = unique("consumer");
    let mut connection = Connection::open(race.broker.bootstrap());
    let reads = std::sync::Arc::new(Reads::default());
    let mut request = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group_id(&race.group))
        .with_member_id(text(&member))
        .with_rebalance_timeout_ms(10_000)
        .with_subscribed_topic_names(Some(vec![name(&race.topic)]))
        .with_topic_partitions(Some(Vec::new()));
    let joined = connection.call(BEAT_VERSION, &request);
    follow(race, &mut connection, &reads, &joined);
    let (id, theirs) = (member.clone(), reads.clone());
    scope.spawn(move || commit_what_it_has(race, &id, &theirs));
    request = request
        .with_rebalance_timeout_ms(-1)
        .with_subscribed_topic_names(None);
    while !goes(reads.commits.load(Ordering::Relaxed)) {
        std::thread::park_timeout(BETWEEN_HEARTBEATS);
        let partitions = reads
            .next
            .lock()
            .expect("no panic while held")
            .keys()
            .copied()
            .collect();
        let owned = TopicPartitions::default()
            .with_topic_id(race.topic_id)
            .with_partitions(partitions);
        request = request
            .with_member_epoch(reads.epoch.load(Ordering::Acquire))
            .with_topic_partitions(Some(vec![owned]));
        let answer = connection.call(BEAT_VERSION, &request);
        follow(race, &mut connection, &reads, &answer);
    }
    let leave = request.with_member_epoch(-1).with_topic_partitions(None);
    assert_eq!(connection.call(BEAT_VERSION, &leave).error_code, code::NONE);
}

/// Gives up what it is no longer assigned, and takes what is new.
fn follow(
    race: &Race<'_>,
    connection: &mut Connection,
    reads: &Reads,
    answer: &ConsumerGroupHeartbeatResponse,
) {
    assert_eq!(answer.error_code, code::NONE, "{:?}", answer.error_message);
    reads.epoch.store(answer.member_epoch, Ordering::Release);
    let Some(assignment) = &answer.assignment else {
        return;
    };
    let topics = assignment.topic_partitions.iter();
    let assigned: Vec<i32> = topics
        .flat_map(|topic| topic.partitions.iter().copied())
        .collect();
    let found = race.next(connection, &assigned);
    let mut next = reads.next.lock().expect("no panic while held");
    next.retain(|partition, _| assigned.contains(partition));
    for (partition, offset) in found {
        next.entry(partition).or_insert(offset);
    }
}

/// Commits until the member is not known any more, or another failed.
fn commit_what_it_has(race: &Race<'_>, member: &str, reads: &Reads) {
    let mut connection = Connection::open(race.broker.bootstrap());
    let mut last = -1;
    while !race.failed.load(Ordering::Acquire) {
        let mut next = reads.next.lock().expect("no panic while held");
        let partition = next.range(last + 1..).next().or(next.first_key_value());
        let Some(partition) = partition.map(|(partition, _)| *partition) else {
            drop(next);
            std::thread::park_timeout(BETWEEN_HEARTBEATS);
            continue;
        };
        let epoch = reads.epoch.load(Ordering::Acquire);
        let offset = next.get_mut(&partition).expect("it was found");
        if race.commit(&mut connection, member, epoch, partition, *offset) != code::NONE {
            return;
        }
        *offset += 1;
        last = partition;
        reads.commits.fetch_add(1, Ordering::Relaxed);
    }
}
