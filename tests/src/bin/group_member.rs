//! A member of a consumer group as a process of its own, so that it can be killed: see `ringlog_tests::member`.
//!
//! ```text
//! group_member BOOTSTRAP GROUP TOPIC [librdkafka setting=value ...]
//! ```
//! It commits what it has printed, leaves the group when its standard input ends, and prints lines:
//! `assigned 0,1`, `revoked 0,1`, `seen PARTITION OFFSET VALUE`, `fatal REASON` (and ends with exit code 1).

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::{Message, TopicPartitionList};

fn main() {
    let mut words = std::env::args().skip(1);
    let (bootstrap, group, topic) = match (words.next(), words.next(), words.next()) {
        (Some(bootstrap), Some(group), Some(topic)) => (bootstrap, group, topic),
        _ => panic!("group_member BOOTSTRAP GROUP TOPIC [setting=value ...]"),
    };
    let mut config = ClientConfig::new();
    for (key, value) in [
        ("bootstrap.servers", bootstrap.as_str()),
        ("group.id", &group),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("auto.offset.reset", "earliest"),
        ("fetch.wait.max.ms", "100"),
        ("broker.address.family", "v4"),
        ("check.crcs", "true"),
        ("reconnect.backoff.max.ms", "200"),
        ("topic.metadata.refresh.interval.ms", "1000"),
    ] {
        config.set(key, value);
    }
    for word in words {
        let (key, value) = word.split_once('=').expect("setting=value");
        config.set(key, value);
    }
    let consumer: BaseConsumer<Diary> = config
        .create_with_context(Diary)
        .expect("settings librdkafka knows");
    consumer.subscribe(&[&topic]).expect("the client subscribes");
    let leaving = until_end_of_input();
    while !leaving.load(Ordering::Acquire) {
        step(&consumer);
    }
}

/// Takes what is there, prints it, then commits it: whoever dies in between leaves records that are seen twice.
fn step(consumer: &BaseConsumer<Diary>) {
    let mut seen = false;
    let mut patience = Duration::from_millis(100);
    while let Some(polled) = consumer.poll(patience) {
        match polled {
            Ok(message) => {
                let value = String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned();
                say(&format!(
                    "seen {} {} {value}",
                    message.partition(),
                    message.offset()
                ));
                // Refused for a partition that was just taken away: its next owner sees the record again.
                let _ = consumer.store_offset_from_message(&message);
                seen = true;
            }
            Err(KafkaError::MessageConsumptionFatal(code)) => {
                say(&format!("fatal {code}"));
                std::process::exit(1);
            }
            Err(_) => {}
        }
        patience = Duration::ZERO;
    }
    if seen {
        // A rebalance may refuse it, or no broker be there.
        let _ = consumer.commit_consumer_state(CommitMode::Sync);
    }
}

/// True once standard input has ended.
fn until_end_of_input() -> Arc<AtomicBool> {
    let ended = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&ended);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        flag.store(true, Ordering::Release);
    });
    ended
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody reads any more: the test is over.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Prints what the member is given and what is taken away.
struct Diary;

impl ClientContext for Diary {
    fn error(&self, error: KafkaError, reason: &str) {
        eprintln!("{error}: {reason}");
    }
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}
}

impl ConsumerContext for Diary {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => say(&format!("assigned {}", partitions(list))),
            Rebalance::Revoke(list) => say(&format!("revoked {}", partitions(list))),
            Rebalance::Error(error) => eprintln!("{error}"),
        }
    }
}

fn partitions(list: &TopicPartitionList) -> String {
    let numbers: Vec<String> = list
        .elements()
        .iter()
        .map(|element| element.partition().to_string())
        .collect();
    numbers.join(",")
}
