//! `groups`: as many members as there are producers, each the only one of its group and on a connection of its own, first commit offsets,
//! then heartbeat, one request after the other. What was committed last must be what the broker tells afterwards.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    FindCoordinatorRequest, GroupId, HeartbeatRequest, JoinGroupRequest, OffsetCommitRequest,
    OffsetFetchRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::Context;
use super::stage::{Stage, talk};
use crate::client::admin::{resolve, topic_name};
use crate::client::connection::{Connection, check};
use crate::error::Error;
use crate::measure::ProcessSampler;
use crate::report::latency::{latency, new_histogram};
use crate::report::model::{Heat, LedgerResult, Step};

/// The newest versions that need no answer before the first (KIP-394), and name groups and topics one at a time.
const FIND_VERSION: i16 = 2;
const JOIN_VERSION: i16 = 3;
const COMMIT_VERSION: i16 = 7;
const FETCH_VERSION: i16 = 5;
const OTHERS_VERSION: i16 = 3;
/// How long a coordinator may take to be there: the topic for groups is made when the first is looked for.
const COORDINATOR_LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);
/// Nobody heartbeats while commits are measured.
const SESSION_MS: i32 = 600_000;
/// Kafka's errors of a coordinator that is not there yet: loading, not available, not the one.
const NOT_YET: [i16; 3] = [14, 15, 16];

/// Two steps: `commits` and `heartbeats`.
pub fn run(context: &mut Context<'_>, steps: &mut Vec<Step>) -> Result<(), Error> {
    let mut settings = context.settings.clone();
    let stage = Stage::open(context, &mut settings, context.stated_partitions)?;
    let bootstrap = resolve(&context.target.bootstrap)?;
    let members = talk(join_all(bootstrap, &stage.topic.name, settings.producers))?;
    let (warmup_s, seconds) = (settings.warmup_seconds, settings.seconds);
    for kind in [Kind::Commit, Kind::Heartbeat] {
        if context.console.interrupted() {
            break;
        }
        context.console.begin(kind.label(), None, None);
        let measured = measure(context, &members, kind, warmup_s, seconds);
        context.console.end();
        steps.push(measured?);
    }
    stage.close();
    Ok(())
}

/// What members do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Commit,
    Heartbeat,
}

impl Kind {
    fn label(self) -> &'static str {
        match self {
            Kind::Commit => "commits",
            Kind::Heartbeat => "heartbeats",
        }
    }
}

/// A member, as its group knows it.
#[derive(Clone, Debug)]
struct Member {
    coordinator: std::net::SocketAddr,
    topic: String,
    group: String,
    id: StrBytes,
    generation: i32,
}

/// What a member's requests took, and the last offset that was committed.
struct Done {
    histogram: Histogram<u64>,
    committed: Option<i64>,
    found: Option<i64>,
}

fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

fn group_id(value: &str) -> GroupId {
    GroupId(text(value))
}

async fn join_all(bootstrap: std::net::SocketAddr, topic: &str, count: u32) -> Result<Vec<Member>, Error> {
    // All at once: an empty group waits for others before it is put together.
    let tasks: Vec<_> = (0..count)
        .map(|number| (topic.to_owned(), format!("{topic}-{number}")))
        .map(|(topic, group)| tokio_uring::spawn(async move { join(bootstrap, &topic, &group).await }))
        .collect();
    let mut members = Vec::new();
    for task in tasks {
        members.push(task.await.map_err(|error| Error::failed(error.to_string()))??);
    }
    Ok(members)
}

/// Makes a group of one member.
async fn join(bootstrap: std::net::SocketAddr, topic: &str, group: &str) -> Result<Member, Error> {
    let until = Instant::now() + COORDINATOR_LIMIT;
    loop {
        match try_join(bootstrap, topic, group).await? {
            Ok(member) => return Ok(member),
            Err(code) if NOT_YET.contains(&code) && Instant::now() < until => tokio::time::sleep(PAUSE).await,
            Err(code) => check("joining a group", code, None)?,
        }
    }
}

async fn try_join(
    bootstrap: std::net::SocketAddr,
    topic: &str,
    group: &str,
) -> Result<Result<Member, i16>, Error> {
    let mut connection = Connection::open(bootstrap).await?;
    let find = FindCoordinatorRequest::default().with_key(text(group));
    let (found, _) = connection.call(&find, FIND_VERSION).await?;
    if found.error_code != 0 {
        return Ok(Err(found.error_code));
    }
    let coordinator = resolve(&format!("{}:{}", found.host, found.port))?;
    let mut connection = Connection::open(coordinator).await?;
    let request = JoinGroupRequest::default()
        .with_group_id(group_id(group))
        .with_session_timeout_ms(SESSION_MS)
        .with_rebalance_timeout_ms(SESSION_MS)
        .with_protocol_type(text("bench"))
        .with_protocols(vec![JoinGroupRequestProtocol::default().with_name(text("none"))]);
    let (joined, _) = connection.call(&request, JOIN_VERSION).await?;
    if joined.error_code != 0 {
        return Ok(Err(joined.error_code));
    }
    let assignment = SyncGroupRequestAssignment::default().with_member_id(joined.member_id.clone());
    let request = SyncGroupRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_assignments(vec![assignment]);
    let (synced, _) = connection.call(&request, OTHERS_VERSION.min(2)).await?;
    Ok(match synced.error_code {
        0 => Ok(Member {
            coordinator,
            topic: topic.to_owned(),
            group: group.to_owned(),
            id: joined.member_id,
            generation: joined.generation_id,
        }),
        code => Err(code),
    })
}

fn measure(
    context: &mut Context<'_>,
    members: &[Member],
    kind: Kind,
    warmup_s: f64,
    seconds: f64,
) -> Result<Step, Error> {
    let begun = Instant::now() + Duration::from_secs_f64(warmup_s);
    let until = begun + Duration::from_secs_f64(seconds);
    let mut broker = context.target.pid.and_then(|pid| ProcessSampler::start(pid).ok());
    let done = talk(async {
        let tasks: Vec<_> = members
            .iter()
            .cloned()
            .map(|member| tokio_uring::spawn(member.work(kind, begun, until)))
            .collect();
        tokio::time::sleep_until(begun.into()).await;
        broker.iter_mut().for_each(ProcessSampler::mark);
        let mut done = Vec::new();
        for task in tasks {
            done.push(task.await.map_err(|error| Error::failed(error.to_string()))??);
        }
        Ok::<_, Error>(done)
    })?;
    let mut histogram = new_histogram();
    let mut ledger = LedgerResult {
        checked: kind == Kind::Commit,
        passed: true,
        ..LedgerResult::default()
    };
    for one in &done {
        histogram
            .add(&one.histogram)
            .map_err(|error| Error::failed(error.to_string()))?;
        if let Some(committed) = one.committed {
            ledger.acknowledged += 1;
            match one.found == Some(committed) {
                true => ledger.verified += 1,
                false => {
                    ledger.lost += 1;
                    ledger.passed = false;
                    ledger
                        .notes
                        .push(format!("committed {committed}, and told {:?}", one.found));
                }
            }
        }
    }
    let mut step = Step {
        label: kind.label().to_owned(),
        x: members.len() as f64,
        seconds,
        broker: broker.map(|sampler| sampler.finish(None)),
        ..Step::default()
    };
    let requests = histogram.len() as f64;
    step.figures.insert("requests_per_s".into(), requests / seconds);
    if let Some(broker) = &step.broker {
        let used_us = (broker.user_s + broker.system_s) * 1e6;
        step.figures
            .insert("broker_per_request_us".into(), used_us / requests.max(1.0));
    }
    let heat = Heat {
        interval_s: 1.0,
        ..Heat::default()
    };
    step.latencies.insert("ack".into(), latency(&histogram, heat));
    step.ledger = ledger.checked.then_some(ledger);
    Ok(step)
}

impl Member {
    async fn work(self, kind: Kind, begun: Instant, until: Instant) -> Result<Done, Error> {
        let mut connection = Connection::open(self.coordinator).await?;
        let mut done = Done {
            histogram: new_histogram(),
            committed: None,
            found: None,
        };
        let mut next = 0;
        while Instant::now() < until {
            let asked = Instant::now();
            match kind {
                Kind::Commit => {
                    next += 1;
                    self.commit(&mut connection, next).await?;
                    done.committed = Some(next);
                }
                Kind::Heartbeat => self.heartbeat(&mut connection).await?,
            }
            if asked >= begun {
                done.histogram
                    .saturating_record(asked.elapsed().as_nanos() as u64);
            }
        }
        if kind == Kind::Commit {
            done.found = Some(self.fetch(&mut connection).await?);
        }
        Ok(done)
    }

    async fn commit(&self, connection: &mut Connection, offset: i64) -> Result<(), Error> {
        let partition = OffsetCommitRequestPartition::default()
            .with_committed_offset(offset)
            .with_committed_metadata(Some(StrBytes::default()));
        let topic = OffsetCommitRequestTopic::default()
            .with_name(topic_name(&self.topic))
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(group_id(&self.group))
            .with_generation_id_or_member_epoch(self.generation)
            .with_member_id(self.id.clone())
            .with_topics(vec![topic]);
        let (answer, _) = connection.call(&request, COMMIT_VERSION).await?;
        let codes = answer.topics.iter().flat_map(|topic| &topic.partitions);
        codes
            .map(|partition| partition.error_code)
            .try_for_each(|code| check("OffsetCommit", code, None))
    }

    async fn heartbeat(&self, connection: &mut Connection) -> Result<(), Error> {
        let request = HeartbeatRequest::default()
            .with_group_id(group_id(&self.group))
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone());
        let (answer, _) = connection.call(&request, OTHERS_VERSION).await?;
        check("Heartbeat", answer.error_code, None)
    }

    async fn fetch(&self, connection: &mut Connection) -> Result<i64, Error> {
        let topic = OffsetFetchRequestTopic::default()
            .with_name(topic_name(&self.topic))
            .with_partition_indexes(vec![0]);
        let request = OffsetFetchRequest::default()
            .with_group_id(group_id(&self.group))
            .with_topics(Some(vec![topic]));
        let (answer, _) = connection.call(&request, FETCH_VERSION).await?;
        check("OffsetFetch", answer.error_code, None)?;
        let found = answer.topics.iter().flat_map(|topic| &topic.partitions).next();
        found.map_or(Ok(-1), |partition| {
            check("OffsetFetch", partition.error_code, None)?;
            Ok(partition.committed_offset)
        })
    }
}
