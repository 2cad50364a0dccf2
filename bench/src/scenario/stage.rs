//! A topic under load: made or taken, its lanes and readers, its ends, and its removal.

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Context;
use crate::client::{Topic, admin, facts};
use crate::error::Error;
use crate::ledger::Ledger;
use crate::load::lane::LaneSpec;
use crate::load::reader::{ReaderSpec, Repeat, Span};
use crate::load::settings::Settings;
use crate::load::tally::Stream;
use crate::load::thread::keys_by_partition;

/// What the leaders of a new topic may take to know of it.
const LEADERS_LIMIT: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_millis(20);

/// Runs a conversation with a broker on a small ring of its own.
pub fn talk<T>(conversation: impl Future<Output = T>) -> T {
    tokio_uring::start(conversation)
}

/// A topic under load.
pub struct Stage {
    /// The topic.
    pub topic: Topic,
    /// End of each partition when the stage was opened.
    pub starts: Vec<i64>,
    /// The batches sent.
    pub ledger: Option<Arc<Ledger>>,
    /// How long creating it took, until all leaders were known; `None` for a topic that was there.
    pub created_ms: Option<f64>,
    /// Whether its readers read what is committed.
    pub read_committed: bool,
    own: Option<Own>,
    /// Number of the next lane: lanes of a later load are producers of their own in the ledger.
    next_lane: Cell<u32>,
}

/// A topic that we made, and that is removed when nobody needs it any more, also after an error.
struct Own {
    bootstrap: String,
    name: String,
}

impl Own {
    async fn remove(self) -> Result<(), Error> {
        let mut connection = admin::bootstrap(&self.bootstrap).await?;
        admin::delete_topic(&mut connection, &self.name).await
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.remove();
    }
}

impl Stage {
    /// Creates the topic (or takes the one named), and asks the broker what it is.
    ///
    /// # Errors
    /// Unreachable, refused; a named topic that does not exist or has another number of partitions than `--partitions` says.
    pub fn open(
        context: &mut Context<'_>,
        settings: &mut Settings,
        stated_partitions: bool,
    ) -> Result<Stage, Error> {
        let bootstrap = context.target.bootstrap.clone();
        let existing = context.topic.clone();
        let configs = context.topic_configs.clone();
        let acks = settings.acks;
        let partitions = settings.partitions;
        let (topic, starts, created_ms, facts) = talk(async move {
            let mut connection = admin::bootstrap(&bootstrap).await?;
            let begun = Instant::now();
            let (topic, created_ms) = match &existing {
                None => {
                    let name = format!("ringlog-bench-{:08x}", random());
                    admin::create_topic(&mut connection, &name, partitions, &configs).await?;
                    let led = admin::wait_for_leaders(&mut connection, &name, partitions as usize).await;
                    if led.is_err() {
                        // the topic exists, and nobody would remove it
                        let _ = admin::delete_topic(&mut connection, &name).await;
                    }
                    (led?, Some(begun.elapsed().as_secs_f64() * 1e3))
                }
                Some(name) => {
                    let topic = admin::describe(&mut connection, name).await?.ok_or_else(|| {
                        Error::failed(format!(
                            "topic {name} does not exist; without --topic one is created and removed"
                        ))
                    })?;
                    (topic, None)
                }
            };
            let facts = facts::ask(&mut connection, &topic.name, acks).await;
            let starts = ends_once_led(&topic).await?;
            Ok::<_, Error>((topic, starts, created_ms, facts))
        })?;
        if stated_partitions && topic.partitions.len() != partitions as usize {
            let has = topic.partitions.len();
            return Err(Error::usage(format!(
                "topic {} has {has} partitions, --partitions says {partitions}",
                topic.name
            )));
        }
        let stated = created_ms.is_none() || !context.topic_configs.is_empty();
        let rewrites = facts.rewrites.clone().filter(|_| stated);
        settings.partitions = topic.partitions.len() as i32;
        let own = created_ms.map(|_| Own {
            bootstrap: context.target.bootstrap.clone(),
            name: topic.name.clone(),
        });
        context.target.facts.get_or_insert(facts);
        let ledger = context
            .target
            .keeps_records
            .then(|| Arc::new(Ledger::new(topic.partitions.len(), acks, created_ms.is_none())));
        let stage = Stage {
            topic,
            starts,
            ledger,
            created_ms,
            read_committed: false,
            own,
            next_lane: Cell::new(0),
        };
        match rewrites {
            // the stage removes the topic if it is ours
            Some(setting) => Err(Error::failed(format!(
                "topic {} has {setting}: its batches would not come back as they were sent, and the ledger could not tell them",
                stage.topic.name
            ))),
            None => Ok(stage),
        }
    }

    /// Removes the topic if it is ours; returns how long the broker took. A broker that is gone keeps it.
    pub fn close(mut self) -> Option<f64> {
        self.remove()
    }

    fn remove(&mut self) -> Option<f64> {
        let own = self.own.take()?;
        let begun = Instant::now();
        talk(own.remove())
            .ok()
            .map(|()| begun.elapsed().as_secs_f64() * 1e3)
    }

    /// One lane a producer and broker, none of them numbered as another one of this stage.
    pub fn lanes(&self, settings: &Settings) -> Vec<LaneSpec> {
        let keys = keys_by_partition(settings);
        let has_key = |partition: &i32| keys.get(*partition as usize).is_none_or(|keys| !keys.is_empty());
        let leaders = self.topic.by_leader();
        let mut lanes = Vec::new();
        for _ in 0..settings.producers {
            for (leader, partitions) in &leaders {
                let partitions: Vec<i32> = partitions.iter().copied().filter(has_key).collect();
                if !partitions.is_empty() {
                    lanes.push(LaneSpec {
                        id: self.lane_id(),
                        leader: *leader,
                        partitions,
                    });
                }
            }
        }
        lanes
    }

    /// The number of a producer that no other one of this stage has.
    pub fn lane_id(&self) -> u32 {
        self.next_lane.replace(self.next_lane.get() + 1)
    }

    /// One reader a consumer and broker, over `[starts, ends)` of every partition.
    pub fn readers(
        &self,
        consumers: u32,
        starts: &[i64],
        ends: Option<&[i64]>,
        stream: Option<Stream>,
        ledger: bool,
    ) -> Vec<ReaderSpec> {
        let mut readers = Vec::new();
        for consumer in 0..consumers as usize {
            for (leader, partitions) in self.topic.by_leader() {
                let own = partitions
                    .into_iter()
                    .filter(|at| *at as usize % consumers as usize == consumer);
                let spans: Vec<Span> = own
                    .map(|partition| Span {
                        partition,
                        next: starts[partition as usize],
                        end: ends.map_or(i64::MAX, |ends| ends[partition as usize]),
                    })
                    .filter(|span| span.next < span.end)
                    .collect();
                if !spans.is_empty() {
                    readers.push(ReaderSpec {
                        leader,
                        spans,
                        stream,
                        ledger,
                        repeat: Repeat::Once,
                        max_bytes_per_s: None,
                        read_committed: self.read_committed,
                    });
                }
            }
        }
        readers
    }

    /// The end of each partition now.
    ///
    /// # Errors
    /// The broker's.
    pub fn ends(&self) -> Result<Vec<i64>, Error> {
        talk(ends(&self.topic))
    }

    /// Whether the broker serves an API.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn serves(&self, key: i16) -> Result<bool, Error> {
        let leader = self.topic.partitions.first().map(|at| at.leader);
        let leader = leader.ok_or_else(|| Error::failed("a topic without partitions"))?;
        let connection = talk(crate::client::Connection::open(leader))?;
        Ok(connection.versions.serves(key))
    }
}

/// The ends of a topic that may be so new that its leaders do not know of it yet.
async fn ends_once_led(topic: &Topic) -> Result<Vec<i64>, Error> {
    let begun = Instant::now();
    loop {
        match ends(topic).await {
            Err(_) if begun.elapsed() < LEADERS_LIMIT => tokio::time::sleep(RETRY).await,
            answer => return answer,
        }
    }
}

async fn ends(topic: &Topic) -> Result<Vec<i64>, Error> {
    let mut all = vec![0; topic.partitions.len()];
    for (leader, partitions) in topic.by_leader() {
        let mut connection = crate::client::Connection::open(leader).await?;
        let found = admin::offsets(&mut connection, &topic.name, &partitions, admin::LATEST).await?;
        for (partition, end) in partitions.iter().zip(found) {
            all[*partition as usize] = end;
        }
    }
    Ok(all)
}

fn random() -> u32 {
    // a name that is taken is refused by the broker, so a failed source of randomness does no harm
    getrandom::u32().unwrap_or_else(|_| std::process::id())
}
