//! Topics and their settings, through librdkafka's admin client.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;

use crate::PATIENCE;
use crate::broker::{Broker, unique};
use crate::client::Quiet;

/// An admin client.
pub fn admin(bootstrap: &str) -> AdminClient<Quiet> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("broker.address.family", "v4");
    config
        .create_with_context(Quiet)
        .expect("settings librdkafka knows")
}

/// Options with a deadline.
pub fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(PATIENCE))
        .operation_timeout(Some(PATIENCE))
}

/// Creates a topic and says how the broker answered.
pub fn try_create(
    bootstrap: &str,
    topic: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) -> Result<(), RDKafkaErrorCode> {
    let mut wanted = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    for (key, value) in configs {
        wanted = wanted.set(key, value);
    }
    let client = admin(bootstrap);
    let answers = block_on(client.create_topics([&wanted], &options())).expect("the broker answers");
    answers
        .into_iter()
        .next()
        .expect("one answer")
        .map(|_| ())
        .map_err(|(_, code)| code)
}

/// Creates a topic of a name nobody else uses, and gives the name.
///
/// # Panics
/// When the broker refuses.
pub fn create(broker: &Broker, stem: &str, partitions: i32, configs: &[(&str, &str)]) -> String {
    let topic = unique(stem);
    try_create(broker.bootstrap(), &topic, partitions, configs).expect("the topic is created");
    topic
}

/// Runs a future on this thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}
