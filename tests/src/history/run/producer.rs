//! A transactional producer of librdkafka that remembers where its records were acknowledged to be.

use std::collections::HashMap;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};

use super::Shared;
use crate::history::record::{Outcome, Write};

/// How long one call may take: longer than a restart of the broker.
pub const CALL: Duration = Duration::from_secs(10);
/// How often a call is repeated that ended with an error after which it may be.
const REPEATS: usize = 4;
/// After this the coordinator aborts what a producer left open.
const TRANSACTION_TIMEOUT_MS: &str = "10000";

/// Offsets by what was written there.
#[derive(Default)]
pub struct Places {
    offsets: Mutex<HashMap<Vec<u8>, i64>>,
}

impl ClientContext for Places {
    fn error(&self, _: KafkaError, _: &str) {
        // A broker that is killed on purpose makes the client complain; what counts is each call.
    }
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}
}

impl ProducerContext for Places {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Ok(message) = result
            && let Some(payload) = message.payload()
        {
            let mut offsets = self.offsets.lock().expect("no panic while held");
            offsets.insert(payload.to_vec(), message.offset());
        }
    }
}

/// One producer with a transactional id.
pub struct Producer {
    /// Always there, until it is dropped.
    inner: Option<Arc<ThreadedProducer<Places>>>,
}

impl Drop for Producer {
    /// librdkafka may take for ever to destroy a producer whose broker went away in the midst of a transaction: nobody waits for it.
    fn drop(&mut self) {
        let inner = self.inner.take();
        std::thread::spawn(move || drop(inner));
    }
}

/// A client's settings for a broker that comes and goes.
pub fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("broker.address.family", "v4")
        .set("reconnect.backoff.ms", "20")
        .set("reconnect.backoff.max.ms", "200")
        .set("retry.backoff.ms", "20")
        .set("retry.backoff.max.ms", "200")
        .set("topic.metadata.refresh.fast.interval.ms", "50");
    config
}

impl Producer {
    /// Takes over the transactional id; whoever had it before is fenced, and what it left open aborted.
    pub fn open(shared: &Shared, id: &str) -> KafkaResult<Producer> {
        let inner: ThreadedProducer<Places> = config(&shared.bootstrap)
            .set("transactional.id", id)
            .set("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS)
            .set("message.timeout.ms", TRANSACTION_TIMEOUT_MS)
            .set("linger.ms", "1")
            .create_with_context(Places::default())?;
        let producer = Producer {
            inner: Some(Arc::new(inner)),
        };
        producer.raw().init_transactions(CALL)?;
        Ok(producer)
    }

    /// The producer itself.
    pub fn raw(&self) -> &ThreadedProducer<Places> {
        self.inner.as_deref().expect("not dropped")
    }

    /// Sends what a transaction writes.
    pub fn send(&self, writes: &[Write]) -> KafkaResult<()> {
        for write in writes {
            let payload = write.value.encode();
            let record: BaseRecord<'_, (), str> = BaseRecord::to(&write.key.topic)
                .partition(write.key.partition)
                .payload(&payload);
            self.raw().send(record).map_err(|(error, _)| error)?;
        }
        Ok(())
    }

    /// Enters where the writes were acknowledged to be.
    pub fn locate(&self, writes: &mut [Write]) {
        let offsets = self.raw().context().offsets.lock().expect("no panic while held");
        for write in writes {
            write.offset = offsets.get(write.value.encode().as_bytes()).copied();
        }
    }

    /// Sends offsets with the transaction; whether that was acknowledged. After the broker was away librdkafka may keep them for ever,
    /// whatever time it is given: then it is left alone with them.
    pub fn send_offsets(&self, offsets: TopicPartitionList, group: ConsumerGroupMetadata) -> bool {
        let Some(inner) = self.inner.clone() else {
            return false;
        };
        let (done, outcome) = channel();
        std::thread::spawn(move || {
            let _ = done.send(inner.send_offsets_to_transaction(&offsets, &group, CALL).is_ok());
        });
        outcome.recv_timeout(2 * CALL).unwrap_or(false)
    }

    /// Commits; `true` beside the outcome when the producer can go on.
    pub fn commit(&self) -> (Outcome, bool) {
        for _ in 0..REPEATS {
            match self.raw().commit_transaction(CALL) {
                Ok(()) => return (Outcome::Committed, true),
                Err(KafkaError::Transaction(error)) if error.is_retriable() && !error.is_fatal() => {}
                // Its abort is refused when the commit has been decided nevertheless.
                Err(KafkaError::Transaction(error)) if error.txn_requires_abort() && !error.is_fatal() => {
                    let aborted = self.raw().abort_transaction(CALL).is_ok();
                    return (
                        if aborted {
                            Outcome::Aborted
                        } else {
                            Outcome::Unknown
                        },
                        aborted,
                    );
                }
                Err(_) => return (Outcome::Unknown, false),
            }
        }
        (Outcome::Unknown, false)
    }

    /// Aborts; `true` when the producer can go on. Nobody has asked for the commit, so there is none even when this fails.
    pub fn abort(&self) -> bool {
        self.raw().abort_transaction(CALL).is_ok()
    }
}
