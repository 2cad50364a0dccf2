//! Consumer groups of librdkafka: members that share, join, leave and are killed, static ones, and a broker that is killed in between.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use ringlog_tests::admin::{admin, block_on, create, options};
use ringlog_tests::broker::{Builder, unique};
use ringlog_tests::client::{Outgoing, Producer, consumer};
use ringlog_tests::group::{Commits, coordinator};
use ringlog_tests::member::{Diary, Member, Move, Protocol, value, wait_for_shares};
use ringlog_tests::{Broker, PATIENCE, wait_for};

const PARTITIONS: i32 = 6;

/// A broker that gives silent members up after 6 s, and does not wait for a group's first members.
fn quick() -> Builder {
    Broker::own()
        .set("group.initial.rebalance.delay.ms", 200)
        .set("group.consumer.min.session.timeout.ms", 6000)
        .set("group.consumer.session.timeout.ms", 6000)
        .set("group.consumer.min.heartbeat.interval.ms", 500)
        .set("group.consumer.heartbeat.interval.ms", 500)
}

/// A topic and a group, and members of it.
struct Place {
    broker: Broker,
    topic: String,
    group: String,
    protocol: Protocol,
}

impl Place {
    fn of(broker: Broker, protocol: Protocol) -> Place {
        Place {
            topic: create(&broker, "shared", PARTITIONS, &[]),
            group: unique("group"),
            broker,
            protocol,
        }
    }

    fn join(&self) -> Member {
        self.join_with(&[])
    }

    fn join_with(&self, settings: &[(&str, &str)]) -> Member {
        let binary = env!("CARGO_BIN_EXE_group_member");
        let bootstrap = self.broker.bootstrap();
        Member::start(
            binary,
            bootstrap,
            &self.group,
            &self.topic,
            self.protocol,
            settings,
        )
    }

    /// Writes the next records of every partition.
    fn write(&self, from: i64, to: i64) {
        let producer = Producer::new(self.broker.bootstrap(), &[("enable.idempotence", "true")]);
        for partition in 0..PARTITIONS {
            let records: Vec<Outgoing> = (from..to)
                .map(|offset| Outgoing::value(value(partition, offset)))
                .collect();
            producer.send_all(&self.topic, partition, &records);
        }
    }
}

/// Waits until the members have seen every partition up to the offset before `end`.
fn wait_for_ends(members: &[&Member], end: i64) {
    wait_for(
        &format!("offset {} of every partition is seen", end - 1),
        PATIENCE,
        || {
            (0..PARTITIONS)
                .all(|partition| {
                    members
                        .iter()
                        .any(|member| member.top(partition) == Some(end - 1))
                })
                .then_some(())
        },
    );
}

/// Every record was seen by somebody, and nobody saw one out of order.
fn check(diaries: &[Diary], end: i64) {
    for diary in diaries {
        assert!(diary.wrong.is_empty(), "{:?}", diary.wrong);
    }
    for partition in 0..PARTITIONS {
        let seen: BTreeSet<i64> = diaries
            .iter()
            .filter_map(|diary| diary.seen.get(&partition))
            .flatten()
            .copied()
            .collect();
        assert!(
            seen.iter().copied().eq(0..end),
            "partition {partition}: saw {seen:?} of 0..{end}"
        );
    }
}

/// All of them were taken away from the member at some time.
fn taken(diary: &Diary) -> BTreeSet<i32> {
    let moves = diary.moves.iter().filter_map(|one| match one {
        Move::Taken(partitions) => Some(partitions),
        Move::Given(_) => None,
    });
    moves.flatten().copied().collect()
}

#[test]
fn members_share_partitions_as_they_come_and_go() {
    for protocol in Protocol::ALL {
        let place = Place::of(quick().or_external(), protocol);
        place.write(0, 20);
        let first = place.join();
        wait_for_shares(&[&first], PARTITIONS);
        wait_for_ends(&[&first], 20);
        let second = place.join();
        wait_for_shares(&[&first, &second], PARTITIONS);
        place.write(20, 40);
        wait_for_ends(&[&first, &second], 40);
        let third = place.join();
        wait_for_shares(&[&first, &second, &third], PARTITIONS);
        place.write(40, 60);
        wait_for_ends(&[&first, &second, &third], 60);
        let first = first.leave();
        wait_for_shares(&[&second, &third], PARTITIONS);
        place.write(60, 80);
        wait_for_ends(&[&second, &third], 80);
        let (second, third) = (second.leave(), third.leave());
        // All were committed by whoever left, so nothing was seen twice.
        let total: usize = [&first, &second, &third]
            .iter()
            .flat_map(|diary| diary.seen.values())
            .map(BTreeSet::len)
            .sum();
        assert_eq!(total, 80 * PARTITIONS as usize, "{protocol:?}");
        check(&[first, second, third], 80);
    }
}

#[test]
fn only_what_moves_is_taken_away_from_members_that_cooperate() {
    for protocol in [Protocol::Cooperative, Protocol::Consumer] {
        let place = Place::of(quick().or_external(), protocol);
        let first = place.join();
        wait_for_shares(&[&first], PARTITIONS);
        let second = place.join();
        let shares = wait_for_shares(&[&first, &second], PARTITIONS);
        let moved: BTreeSet<i32> = shares[1].iter().copied().collect();
        assert_eq!(taken(&first.diary()), moved, "{protocol:?}");
    }
}

#[test]
fn a_member_that_is_killed_loses_its_partitions_to_the_others() {
    for protocol in Protocol::ALL {
        let place = Place::of(quick().or_external(), protocol);
        place.write(0, 20);
        let (first, second) = (place.join(), place.join());
        wait_for_shares(&[&first, &second], PARTITIONS);
        wait_for_ends(&[&first, &second], 20);
        let first = first.kill();
        place.write(20, 40);
        wait_for_shares(&[&second], PARTITIONS);
        wait_for_ends(&[&second], 40);
        check(&[first, second.leave()], 40);
    }
}

#[test]
fn a_static_member_comes_back_to_its_partitions_and_nobody_notices() {
    for protocol in Protocol::ALL {
        let place = Place::of(quick().or_external(), protocol);
        let stays = place.join_with(&[("group.instance.id", "stays")]);
        let goes = place.join_with(&[("group.instance.id", "goes")]);
        let shares = wait_for_shares(&[&stays, &goes], PARTITIONS);
        let before = stays.diary().moves;
        // A static member that ends does not leave: it may be back before its session is over.
        goes.leave();
        place.write(0, 20);
        let back = place.join_with(&[("group.instance.id", "goes")]);
        let again = wait_for_shares(&[&stays, &back], PARTITIONS);
        assert_eq!(again, shares, "{protocol:?}");
        wait_for_ends(&[&stays, &back], 20);
        assert_eq!(stays.diary().moves, before, "{protocol:?}");
    }
}

#[test]
fn of_two_members_with_one_instance_id_a_classic_group_keeps_the_later() {
    for protocol in [Protocol::Eager, Protocol::Cooperative] {
        let place = Place::of(quick().or_external(), protocol);
        let instance = [("group.instance.id", "the one")];
        let first = place.join_with(&instance);
        wait_for_shares(&[&first], PARTITIONS);
        let second = place.join_with(&instance);
        let ended = first.fatal();
        let reason = ended.fatal.expect("a reason");
        assert!(reason.contains("instance"), "{reason}");
        wait_for_shares(&[&second], PARTITIONS);
    }
}

#[test]
fn a_new_partition_is_given_to_a_member() {
    for protocol in Protocol::ALL {
        let place = Place::of(quick().or_external(), protocol);
        let first = place.join();
        wait_for_shares(&[&first], PARTITIONS);
        let more = rdkafka::admin::NewPartitions::new(&place.topic, PARTITIONS as usize + 2);
        let grown = block_on(admin(place.broker.bootstrap()).create_partitions([&more], &options()));
        grown
            .expect("the broker answers")
            .pop()
            .expect("one answer")
            .expect("it grows");
        wait_for_shares(&[&first], PARTITIONS + 2);
    }
}

/// Everything at once: records all the time, members that join, leave and are killed, and a broker that is killed twice.
fn storm(protocol: Protocol) {
    let Some(broker) = quick().same_port().start() else {
        return;
    };
    let mut place = Place::of(broker, protocol);
    let commits = Commits::watch(place.broker.bootstrap(), &place.group, &place.topic, PARTITIONS);
    let writing = Arc::new(AtomicBool::new(true));
    let writer = write_on(&place, &writing);
    let mut gone = Vec::new();
    let (first, second) = (place.join(), place.join());
    wait_for_shares(&[&first, &second], PARTITIONS);
    place.broker.kill();
    place.broker.restart();
    let third = place.join();
    wait_for_shares(&[&first, &second, &third], PARTITIONS);
    gone.push(first.kill());
    wait_for_shares(&[&second, &third], PARTITIONS);
    let fourth = place.join();
    gone.push(second.leave());
    wait_for_shares(&[&third, &fourth], PARTITIONS);
    place.broker.kill();
    place.broker.restart();
    writing.store(false, Ordering::Release);
    let end = writer.join().expect("every record is acknowledged");
    assert!(end > 0, "nothing was written");
    wait_for_ends(&[&third, &fourth], end);
    gone.extend([third.leave(), fourth.leave()]);
    check(&gone, end);
    let before = commits.answers();
    wait_for("committed offsets are asked for once more", PATIENCE, || {
        (commits.answers() > before + 1).then_some(())
    });
    assert!(
        commits.finish().into_values().all(|offset| offset == end),
        "{protocol:?}"
    );
}

/// Writes to every partition until told to stop; gives the offset all partitions end at.
fn write_on(place: &Place, writing: &Arc<AtomicBool>) -> std::thread::JoinHandle<i64> {
    let producer = Producer::new(
        place.broker.bootstrap(),
        &[("enable.idempotence", "true"), ("message.timeout.ms", "60000")],
    );
    let (topic, writing) = (place.topic.clone(), Arc::clone(writing));
    std::thread::spawn(move || {
        let mut offset = 0;
        while writing.load(Ordering::Acquire) {
            for partition in 0..PARTITIONS {
                let record = Outgoing::value(value(partition, offset));
                producer
                    .send(&topic, partition, &record)
                    .expect("the client takes it");
            }
            offset += 1;
            std::thread::park_timeout(Duration::from_millis(20));
        }
        producer.flush();
        assert!(
            producer.take().iter().all(Result::is_ok),
            "a record was not acknowledged"
        );
        offset
    })
}

#[test]
fn nothing_is_lost_in_a_storm_of_eager_members() {
    storm(Protocol::Eager);
}

#[test]
fn nothing_is_lost_in_a_storm_of_cooperative_members() {
    storm(Protocol::Cooperative);
}

#[test]
fn nothing_is_lost_in_a_storm_of_members_of_the_new_protocol() {
    storm(Protocol::Consumer);
}

/// Offsets 0 up to 5 of the partitions, `by` higher.
fn offsets(topic: &str, by: i64) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(topic, partition, Offset::Offset(i64::from(partition) + by))
            .expect("an offset");
    }
    list
}

#[test]
fn committed_offsets_outlive_stops_and_kills() {
    let Some(mut broker) = quick().same_port().start() else {
        return;
    };
    let topic = create(&broker, "kept", PARTITIONS, &[]);
    let group = unique("group");
    for round in 0..4 {
        let client = consumer(broker.bootstrap(), &[("group.id", &group)]);
        let given = offsets(&topic, round * 100);
        client.commit(&given, CommitMode::Sync).expect("committed");
        if round % 2 == 0 {
            broker.kill();
        } else {
            broker.stop();
        }
        broker.restart();
        let client = consumer(broker.bootstrap(), &[("group.id", &group)]);
        let kept = client
            .committed_offsets(offsets(&topic, 0), PATIENCE)
            .expect("an answer");
        assert_eq!(kept, given, "round {round}");
    }
}

#[test]
fn groups_are_listed_described_and_deleted() {
    let place = Place::of(quick().or_external(), Protocol::Eager);
    let member = place.join_with(&[("client.id", "reader")]);
    wait_for_shares(&[&member], PARTITIONS);
    let client = consumer(place.broker.bootstrap(), &[]);
    let described = |state: &str| {
        wait_for(&format!("the group is {state}"), PATIENCE, || {
            let list = client.fetch_group_list(Some(&place.group), PATIENCE).ok()?;
            let group = list.groups().iter().find(|one| one.state() == state)?;
            let members = group.members().iter().map(|one| one.client_id().to_owned());
            Some((
                group.protocol_type().to_owned(),
                group.protocol().to_owned(),
                members.collect::<Vec<_>>(),
            ))
        })
    };
    let stable = (
        "consumer".to_owned(),
        "range".to_owned(),
        vec!["reader".to_owned()],
    );
    assert_eq!(described("Stable"), stable);
    let delete = || {
        let answers = block_on(admin(place.broker.bootstrap()).delete_groups(&[&place.group], &options()));
        let answer = answers.expect("the broker answers").pop().expect("one answer");
        answer.map(|_| ()).map_err(|(_, code)| code)
    };
    assert_eq!(delete(), Err(RDKafkaErrorCode::NonEmptyGroup));
    member.leave();
    assert_eq!(described("Empty").2, Vec::<String>::new());
    assert_eq!(delete(), Ok(()));
    assert_eq!(delete(), Err(RDKafkaErrorCode::GroupIdNotFound));
    let mut connection = coordinator(&place.broker, &place.group);
    assert!(
        ringlog_tests::group::fetch_all(&mut connection, &place.group)
            .topics
            .is_empty()
    );
}
