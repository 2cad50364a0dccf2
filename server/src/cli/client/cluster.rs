//! The cluster as a client sees it: brokers, topics, leaders, and a connection to each broker used.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::{Backoff, CallError, Connection, describe, is_retriable, unknown_topic};
use crate::cli::args::ConnectArgs;
use crate::cli::error::{CliError, CliResult};
use crate::wire::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponsePartition, MetadataResponseTopic,
};
use crate::wire::{Request, Uuid};

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const NO_LEADER: i32 = -1;
/// How long a broker may not know a topic that another one has just made. Longer, and the name is wrong.
const NEWS_TIMEOUT: Duration = Duration::from_millis(500);

/// A topic as Metadata told it last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topic {
    /// Its id; zero at brokers that have none.
    pub id: Uuid,
    /// Whether the broker keeps its own state in it.
    pub is_internal: bool,
    /// By number.
    pub partitions: BTreeMap<i32, Partition>,
}

/// A partition as Metadata told it last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // Kafka's field names
pub struct Partition {
    pub leader_id: i32,
    pub leader_epoch: i32,
    pub replica_nodes: Vec<i32>,
    pub isr_nodes: Vec<i32>,
}

/// Connections to a cluster, and what is known of it.
#[derive(Debug)]
pub struct Client {
    bootstrap: Vec<String>,
    timeout: Duration,
    connections: HashMap<String, Connection>,
    brokers: BTreeMap<i32, String>,
    controller_id: i32,
    topics: HashMap<String, Topic>,
    pub(super) coordinators: HashMap<String, i32>,
}

impl Client {
    /// Connects to the first broker of `--bootstrap` that answers. Does not wait for one that is not there.
    pub fn connect(args: &ConnectArgs) -> CliResult<Self> {
        let mut client = Self {
            bootstrap: args.bootstrap.iter().map(|address| with_port(address)).collect(),
            timeout: args.timeout,
            connections: HashMap::new(),
            brokers: BTreeMap::new(),
            controller_id: NO_LEADER,
            topics: HashMap::new(),
            coordinators: HashMap::new(),
        };
        let deadline = Instant::now() + args.timeout;
        client.any(deadline).map_err(|error| no_broker(&error))?;
        client.refresh(Some(&[]))?;
        Ok(client)
    }

    /// How long one operation may take, its retries included.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Asks any broker, and others when it fails, within the timeout.
    pub fn call<R: Request>(&mut self, request: &R) -> CliResult<R::Response> {
        self.call_where(request, |client, deadline| client.any(deadline))
    }

    /// Asks the controller, or any broker when Metadata names none.
    pub fn call_controller<R: Request>(&mut self, request: &R) -> CliResult<R::Response> {
        self.call_where(request, |client, deadline| match client.controller_id {
            NO_LEADER => client.any(deadline),
            id => client.address_of(id),
        })
    }

    fn call_where<R: Request>(
        &mut self,
        request: &R,
        choose: impl Fn(&mut Self, Instant) -> Result<String, CallError>,
    ) -> CliResult<R::Response> {
        let mut backoff = Backoff::new(self.timeout);
        loop {
            let answer = choose(self, backoff.deadline())
                .and_then(|address| self.call_at(&address, request, backoff.deadline()));
            match answer {
                Ok(response) => return Ok(response),
                Err(error) if !error.is_retriable() || !backoff.pause() => return Err(error.into()),
                Err(_) => {}
            }
        }
    }

    /// Asks one broker once.
    pub fn call_broker<R: Request>(
        &mut self,
        id: i32,
        request: &R,
        deadline: Instant,
    ) -> Result<R::Response, CallError> {
        let address = self.address_of(id)?;
        self.call_at(&address, request, deadline)
    }

    fn call_at<R: Request>(
        &mut self,
        address: &str,
        request: &R,
        deadline: Instant,
    ) -> Result<R::Response, CallError> {
        self.with(address, deadline, |connection| connection.call(request, deadline))
    }

    /// Uses the connection to this broker, which is dropped when that fails: what it would bring next is unknown.
    pub fn with_broker<T>(
        &mut self,
        id: i32,
        deadline: Instant,
        act: impl FnOnce(&mut Connection) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let address = self.address_of(id)?;
        self.with(&address, deadline, act)
    }

    /// Uses the connection to this address, as [`Client::with_broker`] does.
    pub(super) fn with<T>(
        &mut self,
        address: &str,
        deadline: Instant,
        act: impl FnOnce(&mut Connection) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        self.open(address, deadline)?;
        let Some(connection) = self.connections.get_mut(address) else {
            return Err(CallError::Timeout {
                address: address.to_owned(),
            });
        };
        let result = act(connection);
        if result
            .as_ref()
            .is_err_and(|error| !matches!(error, CallError::Version { .. }))
        {
            self.connections.remove(address);
        }
        result
    }

    fn open(&mut self, address: &str, deadline: Instant) -> Result<(), CallError> {
        if !self.connections.contains_key(address) {
            self.connections
                .insert(address.to_owned(), Connection::open(address, deadline)?);
        }
        Ok(())
    }

    /// The address of a broker that answers: one in use, one known, or one of the command line.
    pub(super) fn any(&mut self, deadline: Instant) -> Result<String, CallError> {
        if let Some(address) = self.connections.keys().next() {
            return Ok(address.clone());
        }
        let known: Vec<String> = self.brokers.values().chain(&self.bootstrap).cloned().collect();
        let mut last = CallError::Timeout {
            address: self.bootstrap.join(","),
        };
        for address in known {
            match self.open(&address, deadline) {
                Ok(()) => return Ok(address),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The numbers of the brokers there are.
    pub fn broker_ids(&self) -> Vec<i32> {
        self.brokers.keys().copied().collect()
    }

    /// A broker that an answer named; Metadata may not have told of it.
    pub(super) fn learn_broker(&mut self, id: i32, host: &str, port: i32) {
        self.brokers.insert(id, format!("{}:{port}", bracketed(host)));
    }

    /// Where a broker listens, `HOST:PORT`.
    pub fn address_of(&self, id: i32) -> Result<String, CallError> {
        let unknown = || CallError::Connect {
            address: format!("broker {id}"),
            why: "the cluster's metadata does not say where it is".to_owned(),
        };
        self.brokers.get(&id).cloned().ok_or_else(unknown)
    }

    /// Asks for metadata of these topics (`None`: of all) and keeps what it says of brokers and sound topics.
    pub fn refresh(&mut self, topics: Option<&[&str]>) -> CliResult<MetadataResponse> {
        let named = |name: &&str| MetadataRequestTopic {
            name: Some((*name).to_owned()),
            ..Default::default()
        };
        let response = self.call(&MetadataRequest {
            topics: topics.map(|names| names.iter().map(named).collect()),
            allow_auto_topic_creation: false,
            ..Default::default()
        })?;
        if response.error_code != 0 {
            return Err(CliError::refused(describe(response.error_code, None)));
        }
        self.controller_id = response.controller_id;
        self.brokers = response
            .brokers
            .iter()
            .map(|broker| {
                (
                    broker.node_id,
                    format!("{}:{}", bracketed(&broker.host), broker.port),
                )
            })
            .collect();
        for topic in response.topics.iter().filter(|topic| topic.error_code == 0) {
            self.topics
                .insert(topic.name.clone().unwrap_or_default(), topic_of(topic));
        }
        Ok(response)
    }

    /// Looks a topic up, waiting for it to get over whatever passes by itself.
    pub fn load_topic(&mut self, name: &str) -> CliResult<&Topic> {
        let mut backoff = Backoff::new(self.timeout);
        let mut news = Backoff::new(NEWS_TIMEOUT.min(self.timeout));
        loop {
            let response = self.refresh(Some(&[name]))?;
            let found = response
                .topics
                .iter()
                .find(|topic| topic.name.as_deref() == Some(name));
            match found.map_or(UNKNOWN_TOPIC_OR_PARTITION, |topic| topic.error_code) {
                0 => return Ok(self.topics.entry(name.to_owned()).or_default()),
                UNKNOWN_TOPIC_OR_PARTITION if news.pause() => {}
                UNKNOWN_TOPIC_OR_PARTITION => return Err(unknown_topic(name)),
                code if is_retriable(code) && backoff.pause() => {}
                code => {
                    return Err(CliError::refused(format!(
                        "topic {name:?}: {}",
                        describe(code, None)
                    )));
                }
            }
        }
    }

    /// Waits until every broker knows the topic and the leaders of its partitions, so that whoever comes next, and
    /// asks any of them, finds it. Brokers that cannot be reached are not waited for.
    pub fn await_topic(&mut self, name: &str) -> CliResult<()> {
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some(name.to_owned()),
                ..Default::default()
            }]),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        self.refresh(Some(&[]))?;
        let mut backoff = Backoff::new(self.timeout);
        for broker in self.broker_ids() {
            while let Ok(response) = self.call_broker(broker, &request, backoff.deadline()) {
                if response.topics.iter().all(is_led) || !backoff.pause() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// What was last known of a topic.
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    /// These partitions by the broker that leads them; those without a leader are left out.
    pub fn by_leader(
        &self,
        topic: &str,
        partitions: impl IntoIterator<Item = i32>,
    ) -> BTreeMap<i32, Vec<i32>> {
        let mut leaders: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        let known = self.topic(topic).map(|topic| &topic.partitions);
        for index in partitions {
            match known.and_then(|known| known.get(&index)) {
                Some(partition) if partition.leader_id != NO_LEADER => {
                    leaders.entry(partition.leader_id).or_default().push(index);
                }
                _ => {}
            }
        }
        leaders
    }

    /// The epoch under which a partition's leader leads, for brokers to refuse what is meant for another.
    pub fn leader_epoch(&self, topic: &str, partition: i32) -> i32 {
        let known = self
            .topic(topic)
            .and_then(|topic| topic.partitions.get(&partition));
        known.map_or(-1, |partition| partition.leader_epoch)
    }
}

fn is_led(topic: &MetadataResponseTopic) -> bool {
    let led = |partition: &MetadataResponsePartition| partition.leader_id != NO_LEADER;
    topic.error_code == 0 && topic.partitions.iter().all(led)
}

fn topic_of(topic: &MetadataResponseTopic) -> Topic {
    let partition = |partition: &MetadataResponsePartition| Partition {
        leader_id: partition.leader_id,
        leader_epoch: partition.leader_epoch,
        replica_nodes: partition.replica_nodes.clone(),
        isr_nodes: partition.isr_nodes.clone(),
    };
    Topic {
        id: topic.topic_id,
        is_internal: topic.is_internal,
        partitions: topic
            .partitions
            .iter()
            .map(|p| (p.partition_index, partition(p)))
            .collect(),
    }
}

/// Kafka's port where none is named.
pub fn with_port(address: &str) -> String {
    let has_port = address
        .rsplit_once(':')
        .is_some_and(|(host, _)| !host.contains(':') || host.ends_with(']'));
    if has_port {
        address.to_owned()
    } else {
        format!("{}:9092", bracketed(address))
    }
}

/// An IPv6 address in brackets, as it must be before a port.
fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

fn no_broker(error: &CallError) -> CliError {
    match error {
        CallError::Connect { .. } | CallError::Timeout { .. } => CliError::Unreachable(format!(
            "{error}\nStart a broker with `ringlog serve`, or name another one with --bootstrap HOST:PORT."
        )),
        _ => error.clone().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_port_gets_kafkas() {
        for (given, expected) in [
            ("localhost", "localhost:9092"),
            ("localhost:1", "localhost:1"),
            ("::1", "[::1]:9092"),
            ("[::1]", "[::1]:9092"),
            ("[::1]:5", "[::1]:5"),
        ] {
            assert_eq!(with_port(given), expected);
        }
    }
}
