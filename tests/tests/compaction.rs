//! Compacted topics with librdkafka: of each key the newest record stays, whatever happens meanwhile.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use kafka_protocol::messages::IncrementalAlterConfigsRequest;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::protocol::StrBytes;
use rdkafka::Offset;
use ringlog_tests::admin::create;
use ringlog_tests::broker::{Builder, unique};
use ringlog_tests::client::{Incoming, Outgoing, Producer, read_partition};
use ringlog_tests::files::{checkpoint, with_suffix};
use ringlog_tests::group::{commit, committed, coordinator};
use ringlog_tests::raw::Connection;
use ringlog_tests::{Broker, PATIENCE, code, wait_for};

const COMPACT: (&str, &str) = ("cleanup.policy", "compact");
/// Some twenty records fill a segment.
const SMALL: (&str, &str) = ("internal.segment.bytes", "20000");
const VALUE_BYTES: usize = 900;
/// However little of it is dirty.
const EAGER: (&str, &str) = ("min.cleanable.dirty.ratio", "0.01");

/// A broker that looks for what is to be cleaned all the time.
fn cleaning() -> Builder {
    Broker::own().set("log.cleaner.backoff.ms", 50).cores(1)
}

fn record(key: &str, value: &str) -> Outgoing {
    let mut value = value.as_bytes().to_vec();
    value.resize(VALUE_BYTES, b'.');
    Outgoing {
        key: Some(key.as_bytes().to_vec()),
        ..Outgoing::value(value)
    }
}

fn tombstone(key: &str) -> Outgoing {
    Outgoing {
        key: Some(key.as_bytes().to_vec()),
        ..Outgoing::default()
    }
}

/// Sends records in batches of a few, less than a segment holds.
fn send(broker: &Broker, topic: &str, records: impl IntoIterator<Item = Outgoing>) {
    let producer = Producer::new(broker.bootstrap(), &[("batch.num.messages", "3")]);
    let records: Vec<Outgoing> = records.into_iter().collect();
    let sent = producer.send_all(topic, 0, &records);
    assert_eq!(sent.len(), records.len());
}

/// So many records, of ten keys in turn; their values are numbered.
fn fill(broker: &Broker, topic: &str, numbers: std::ops::Range<usize>) {
    fill_keys(broker, topic, 10, numbers);
}

/// The same of so many keys.
fn fill_keys(broker: &Broker, topic: &str, keys: usize, numbers: std::ops::Range<usize>) {
    let numbered = |n: usize| record(&format!("key-{}", n % keys), &n.to_string());
    send(broker, topic, numbers.map(numbered));
}

fn all(broker: &Broker, topic: &str) -> Vec<Incoming> {
    read_partition(broker.bootstrap(), topic, 0, Offset::Beginning)
}

/// The newest value of each key, the padding taken off.
fn newest(records: &[Incoming]) -> BTreeMap<String, Option<String>> {
    let text = |bytes: &Vec<u8>| {
        let text = String::from_utf8_lossy(bytes);
        text.trim_end_matches('.').to_owned()
    };
    let pairs = records.iter().map(|record| {
        let key = record.key.as_ref().map(text).unwrap_or_default();
        (key, record.value.as_ref().map(text))
    });
    pairs.collect()
}

/// What is the newest after [`fill`] up to there.
fn filled(end: usize) -> BTreeMap<String, Option<String>> {
    filled_keys(10, end)
}

/// The same after [`fill_keys`].
fn filled_keys(keys: usize, end: usize) -> BTreeMap<String, Option<String>> {
    let numbered = (end - keys..end).map(|n| (format!("key-{}", n % keys), Some(n.to_string())));
    numbered.collect()
}

/// Waits until no more than so many records are left; gives them.
fn shrinks_to(broker: &Broker, topic: &str, most: usize) -> Vec<Incoming> {
    wait_for(&format!("{topic} has at most {most} records"), PATIENCE, || {
        Some(all(broker, topic)).filter(|records| records.len() <= most)
    })
}

fn alter(broker: &Broker, topic: &str, key: &str, value: &str) {
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let config = AlterableConfig::default()
        .with_name(text(key))
        .with_config_operation(0)
        .with_value(Some(text(value)));
    let resource = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text(topic))
        .with_configs(vec![config]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let answer = Connection::open(broker.bootstrap()).call(1, &request);
    assert_eq!(answer.responses[0].error_code, code::NONE);
}

fn cleaned_to(data: &Path, topic: &str) -> i64 {
    let entries = checkpoint(&data.join("cleaner-offset-checkpoint"));
    entries.get(&(topic.to_owned(), 0)).copied().unwrap_or(-1)
}

/// Files that only a swap has.
fn unfinished(folder: &Path) -> usize {
    [".cleaned", ".swap"]
        .iter()
        .map(|end| with_suffix(folder, end).len())
        .sum()
}

#[test]
fn overwritten_values_go_and_the_newest_stay_whatever_restart() {
    let Some(mut broker) = cleaning().start() else {
        return;
    };
    let topic = create(&broker, "compact", 1, &[COMPACT, SMALL, EAGER]);
    fill(&broker, &topic, 0..305);
    // What is in the active segment is not looked at.
    let records = shrinks_to(&broker, &topic, 60);
    assert_eq!(newest(&records), filled(305));
    assert!(records.is_sorted_by_key(|record| record.offset));
    assert_eq!(records.last().map(|record| record.offset), Some(304));
    // A consumer that stands where nothing is any more goes on behind it.
    let from_100 = read_partition(broker.bootstrap(), &topic, 0, Offset::Offset(100));
    let rest: Vec<_> = records
        .iter()
        .filter(|record| record.offset >= 100)
        .cloned()
        .collect();
    assert_eq!(from_100, rest);
    broker.wait_for_log(&format!("{topic}-0 is clean up to offset"));
    wait_for("the pass is noted", PATIENCE, || {
        (cleaned_to(broker.data(), &topic) > 200).then_some(())
    });
    for round in 0..3 {
        match round {
            0 => broker.kill(),
            _ => broker.stop(),
        }
        broker.restart();
        let found = all(&broker, &topic);
        assert_eq!(newest(&found), filled(305 + round * 50), "round {round}");
        fill(&broker, &topic, 305 + round * 50..355 + round * 50);
        shrinks_to(&broker, &topic, 60);
    }
    assert!(!broker.log().contains("damaged"), "{}", broker.log());
}

#[test]
fn deleted_keys_go_with_their_tombstones() {
    let Some(broker) = cleaning().start() else {
        return;
    };
    let topic = create(
        &broker,
        "tombstones",
        1,
        &[COMPACT, SMALL, EAGER, ("delete.retention.ms", "100")],
    );
    fill(&broker, &topic, 0..10);
    send(&broker, &topic, (0..5).map(|n| tombstone(&format!("key-{n}"))));
    // What stays of those keys: at first the tombstones, then nothing.
    let mut number = 0;
    let mut had_tombstones = false;
    wait_for("the tombstones go", PATIENCE, || {
        let others = (number..number + 30).map(|n| record(&format!("other-{}", n % 3), &n.to_string()));
        send(&broker, &topic, others);
        number += 30;
        let newest = newest(&all(&broker, &topic));
        let deleted: Vec<_> = (0..5).filter_map(|n| newest.get(&format!("key-{n}"))).collect();
        had_tombstones |= deleted.len() == 5;
        assert!(deleted.iter().all(|value| value.is_none()), "{newest:?}");
        deleted.is_empty().then_some(())
    });
    assert!(had_tombstones);
    let newest = newest(&all(&broker, &topic));
    for n in 5..10 {
        assert_eq!(newest[&format!("key-{n}")], Some(n.to_string()));
    }
}

#[test]
fn a_broker_killed_while_it_cleans_has_the_newest_of_each_key() {
    let Some(mut broker) = cleaning()
        .set("log.cleaner.io.max.bytes.per.second", 150_000)
        .start()
    else {
        return;
    };
    let topic = create(&broker, "killed", 1, &[COMPACT, SMALL, EAGER]);
    let folder = broker.partition_folder(&topic, 0);
    let (keys, mut end) = (150, 0);
    for round in 0..5_u64 {
        fill_keys(&broker, &topic, keys, end..end + 200);
        end += 200;
        // A pass takes a second and more; what comes meanwhile is for the next one.
        wait_for("it is being cleaned", PATIENCE, || {
            fill_keys(&broker, &topic, keys, end..end + 1);
            end += 1;
            (unfinished(&folder) > 0).then_some(())
        });
        std::thread::sleep(Duration::from_millis(round * 70));
        broker.kill();
        broker.restart();
        let found = newest(&all(&broker, &topic));
        assert_eq!(found, filled_keys(keys, end), "round {round}");
    }
    broker.stop();
    assert_eq!(unfinished(&folder), 0, "a clean stop leaves nothing of a pass");
    broker.set("log.cleaner.io.max.bytes.per.second", 1e9);
    broker.restart();
    let records = shrinks_to(&broker, &topic, keys + 50);
    assert_eq!(newest(&records), filled_keys(keys, end));
}

#[test]
fn the_policy_changes_while_the_broker_runs_and_gaps_are_no_damage_ever_after() {
    let Some(mut broker) = cleaning().start() else {
        return;
    };
    let topic = create(&broker, "altered", 1, &[SMALL, EAGER]);
    let canary = create(&broker, "canary", 1, &[COMPACT, SMALL, EAGER]);
    fill(&broker, &topic, 0..100);
    fill(&broker, &canary, 0..100);
    shrinks_to(&broker, &canary, 45);
    assert_eq!(all(&broker, &topic).len(), 100, "nobody asked for it");
    alter(&broker, &topic, "cleanup.policy", "compact");
    let cleaned = shrinks_to(&broker, &topic, 45);
    alter(&broker, &topic, "cleanup.policy", "delete");
    fill(&broker, &topic, 100..200);
    fill(&broker, &canary, 100..200);
    shrinks_to(&broker, &canary, 45);
    let count = cleaned.len() + 100;
    for round in 0..3 {
        assert_eq!(all(&broker, &topic).len(), count, "round {round}");
        match round {
            0 => broker.kill(),
            _ => broker.stop(),
        }
        broker.restart();
    }
    assert!(!broker.log().contains("damaged"), "{}", broker.log());
}

#[test]
fn the_offsets_of_groups_survive_the_cleaning_of_their_topic() {
    let Some(mut broker) = cleaning()
        .set("offsets.topic.num.partitions", 1)
        .set("offsets.topic.segment.bytes", 1 << 20)
        .set("log.cleaner.min.cleanable.ratio", 0.01)
        .start()
    else {
        return;
    };
    let groups: Vec<String> = (0..3).map(|_| unique("group")).collect();
    let topic = create(&broker, "read", 1, &[]);
    fill(&broker, &topic, 0..10);
    let folder = broker.partition_folder("__consumer_offsets", 0);
    let mut connections: Vec<Connection> = groups.iter().map(|group| coordinator(&broker, group)).collect();
    let mut offset = 0;
    let mut more = |connections: &mut [Connection], logs: usize| {
        while with_suffix(&folder, ".log").len() < logs {
            for _ in 0..200 {
                offset += 1;
                for (connection, group) in connections.iter_mut().zip(&groups) {
                    let error = commit(connection, 8, group, -1, "", &topic, offset);
                    assert_eq!(error, code::NONE);
                }
            }
        }
        offset
    };
    let last = more(&mut connections, 2);
    broker.wait_for_log("__consumer_offsets-0 is clean up to offset");
    for round in 0..2 {
        match round {
            0 => broker.kill(),
            _ => broker.stop(),
        }
        broker.restart();
        for group in &groups {
            let mut connection = coordinator(&broker, group);
            let found = wait_for("the group is loaded", PATIENCE, || {
                committed(&mut connection, group, &topic, &[0]).ok()
            });
            assert_eq!(found, BTreeMap::from([(0, last)]), "{group}, round {round}");
        }
    }
}
