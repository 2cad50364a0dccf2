//! `groups`: as many members as there are producers, each the only one of its group and on a connection of its own, first commit offsets,
//! then heartbeat, one request after the other. What was committed last must be what the broker tells afterwards.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{OffsetCommitRequest, OffsetFetchRequest};
use kafka_protocol::protocol::StrBytes;

use super::Context;
use super::stage::{Stage, talk};
use crate::client::admin::{resolve, topic_name};
use crate::client::connection::{Connection, check};
use crate::client::groups::{self, About, coordinator, group_id, is_not_yet};
use crate::error::Error;
use crate::measure::ProcessSampler;
use crate::report::latency::{latency, new_histogram};
use crate::report::model::{Heat, LedgerResult, Step};

/// The newest versions that name groups and topics one at a time.
const COMMIT_VERSION: i16 = 7;
const FETCH_VERSION: i16 = 5;
/// How long a coordinator may refuse a member because it is not there yet.
const COORDINATOR_LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);
/// Nobody heartbeats while commits are measured.
const SESSION_MS: i32 = 600_000;

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

/// A member, where its coordinator is, and of what it commits offsets.
#[derive(Clone, Debug)]
struct Member {
    coordinator: SocketAddr,
    topic: String,
    own: groups::Member,
}

/// What a member's requests took, and the last offset that was committed.
struct Done {
    histogram: Histogram<u64>,
    committed: Option<i64>,
    found: Option<i64>,
}

async fn join_all(bootstrap: SocketAddr, topic: &str, count: u32) -> Result<Vec<Member>, Error> {
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
async fn join(bootstrap: SocketAddr, topic: &str, group: &str) -> Result<Member, Error> {
    let until = Instant::now() + COORDINATOR_LIMIT;
    loop {
        let coordinator = coordinator(&mut Connection::open(bootstrap).await?, group).await?;
        let mut connection = Connection::open(coordinator).await?;
        let mut own = groups::Member::new(group);
        match try_join(&mut connection, &mut own).await? {
            0 => {
                return Ok(Member {
                    coordinator,
                    topic: topic.to_owned(),
                    own,
                });
            }
            code if is_not_yet(code) && Instant::now() < until => tokio::time::sleep(PAUSE).await,
            code => check("joining a group", code, None)?,
        }
    }
}

/// Joins and brings itself its assignment. The error, 0 for none.
async fn try_join(connection: &mut Connection, own: &mut groups::Member) -> Result<i16, Error> {
    let about = About {
        session_timeout_ms: SESSION_MS,
        rebalance_timeout_ms: SESSION_MS,
        protocol_type: "bench",
        protocol: "none",
        metadata: Bytes::new(),
    };
    if let Err(code) = own.join(connection, &about).await? {
        return Ok(code);
    }
    own.sync(connection, vec![(own.id.clone(), Bytes::new())]).await
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
            .with_group_id(group_id(&self.own.group))
            .with_generation_id_or_member_epoch(self.own.generation)
            .with_member_id(self.own.id.clone())
            .with_topics(vec![topic]);
        let (answer, _) = connection.call(&request, COMMIT_VERSION).await?;
        let codes = answer.topics.iter().flat_map(|topic| &topic.partitions);
        codes
            .map(|partition| partition.error_code)
            .try_for_each(|code| check("OffsetCommit", code, None))
    }

    async fn heartbeat(&self, connection: &mut Connection) -> Result<(), Error> {
        check("Heartbeat", self.own.heartbeat(connection).await?, None)
    }

    async fn fetch(&self, connection: &mut Connection) -> Result<i64, Error> {
        let topic = OffsetFetchRequestTopic::default()
            .with_name(topic_name(&self.topic))
            .with_partition_indexes(vec![0]);
        let request = OffsetFetchRequest::default()
            .with_group_id(group_id(&self.own.group))
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
