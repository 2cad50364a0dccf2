//! `cleaning`: what producers and tailing consumers feel of data that ends. Three parts in turn, over and over, with the same records on the same
//! number of topics: nothing ends; old segments of the load's topic are deleted all the time; the keys of a topic beside it are overwritten
//! and cleaned. That topic is written to in all three.

mod overwriter;

use super::Context;
use super::day::plan::Broker;
use super::measure::{Part, measure};
use super::stage::{Stage, talk};
use crate::client::{Topic, admin, configs, log_dirs};
use crate::error::Error;
use crate::load::settings::Settings;
use crate::load::tally::Stream;
use crate::report::model::{Event, Step};
use overwriter::{Overwriter, Overwrites};

/// Of both topics in all parts, so that as many segments begin.
const SEGMENT_BYTES: u64 = 16 << 20;
/// Of the load's topic with retention, where `--keep-mib` says nothing.
const DEFAULT_KEEP_MIB: u64 = 1024;
/// Partitions of the topic beside the load.
const BESIDE_PARTITIONS: i32 = 2;
/// A segment of the topic beside is cleaned when it is so old, whatever its share of dirt is.
const MAX_LAG_MS: u64 = 2000;
const MIB: f64 = (1u64 << 20) as f64;
/// More of what was written than this is left of a topic that was hardly cleaned.
const HARDLY: f64 = 0.9;

/// What ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Nothing,
    OldSegments,
    OverwrittenRecords,
}

impl Ends {
    fn label(self) -> &'static str {
        match self {
            Ends::Nothing => "without limits",
            Ends::OldSegments => "with retention",
            Ends::OverwrittenRecords => "with the cleaner",
        }
    }

    /// Settings of the load's topic.
    fn of_load(self, keep_mib: u64, partitions: i32) -> Vec<(String, String)> {
        let kept = (keep_mib << 20) / partitions.max(1) as u64;
        let all = match self {
            Ends::OldSegments => vec![("retention.bytes", kept)],
            _ => Vec::new(),
        };
        with_segments(all)
    }

    /// Settings of the topic beside.
    fn of_beside(self) -> Vec<(String, String)> {
        let mut all = match self {
            Ends::OverwrittenRecords => with_segments(vec![("max.compaction.lag.ms", MAX_LAG_MS)]),
            _ => with_segments(Vec::new()),
        };
        if self == Ends::OverwrittenRecords {
            all.push(("cleanup.policy".to_owned(), "compact".to_owned()));
            all.push(("min.cleanable.dirty.ratio".to_owned(), "0.1".to_owned()));
        }
        all
    }
}

fn with_segments(mut all: Vec<(&str, u64)>) -> Vec<(String, String)> {
    all.push(("segment.bytes", SEGMENT_BYTES));
    let owned = all
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_string()));
    owned.collect()
}

/// `--turns` times the parts; those of one label are put together in the report.
pub fn run(context: &mut Context<'_>, steps: &mut Vec<Step>) -> Result<(), Error> {
    let broker = ask(context)?;
    let given = std::mem::take(&mut context.topic_configs);
    let mut parts = vec![Ends::Nothing, Ends::OldSegments];
    if broker.does_not_clean.is_none() {
        parts.push(Ends::OverwrittenRecords);
    }
    for _ in 0..context.flags.cleaning.turns() {
        let mut without: Option<Step> = None;
        for ends in &parts {
            if context.console.interrupted() {
                return Ok(());
            }
            let mut step = one(context, *ends, &given)?;
            compare(&mut step, without.as_ref());
            without.get_or_insert(step.clone());
            steps.push(step);
        }
    }
    if let (Some(why), Some(step)) = (&broker.does_not_clean, steps.last_mut()) {
        let what =
            format!("there is no part with the cleaner: this broker does not clean compacted topics ({why})");
        let at_s = step.seconds;
        step.events.push(Event { at_s, what });
    }
    Ok(())
}

/// Whether the broker looks for old segments often enough, and whether it cleans.
fn ask(context: &Context<'_>) -> Result<Broker, Error> {
    let (list, seconds) = (&context.target.bootstrap, context.settings.seconds);
    talk(async {
        let mut connection = admin::bootstrap(list).await?;
        let told = configs::of_broker(&mut connection).await?;
        let probe = format!("ringlog-bench-{:08x}-probe", random());
        admin::create_topic(&mut connection, &probe, 1, &[]).await?;
        let asked = async {
            admin::wait_for_leaders(&mut connection, &probe, 1).await?;
            configs::of_topic(&mut connection, &probe).await
        };
        let of_topic = asked.await;
        admin::delete_topic(&mut connection, &probe).await?;
        Broker::from(&told, &of_topic?, seconds)
    })
}

fn one(context: &mut Context<'_>, ends: Ends, given: &[(String, String)]) -> Result<Step, Error> {
    let mut settings = context.settings.clone();
    let keep_mib = context.flags.keep_mib.unwrap_or(DEFAULT_KEEP_MIB);
    let mut configs = ends.of_load(keep_mib, settings.partitions);
    configs.retain(|(key, _)| given.iter().all(|(other, _)| other != key));
    configs.extend(given.iter().cloned());
    context.topic_configs = configs;
    let stage = Stage::open(context, &mut settings, false)?;
    let beside = Besides::make(&context.target.bootstrap, &stage.topic.name, ends)?;
    let overwrites = Overwrites {
        topic: beside.topic.clone(),
        record_bytes: settings.record_bytes,
        keys: context.flags.cleaning.beside_keys(),
        per_second: context.flags.cleaning.beside_rate(),
    };
    let overwriter = Overwriter::start(overwrites);
    let part = Part {
        beside: Some(overwriter.beside()),
        ..part(ends, &stage, &settings)?
    };
    let measured = measure(context, &stage, &settings, part);
    let written = overwriter.end();
    let mut step = measured?;
    // all that was acknowledged had until now to be read by the tailing consumers: later it may be deleted
    step.ledger = stage.ledger.as_ref().map(|ledger| ledger.conclude());
    evidence(&mut step, &stage, &beside, written?, &settings)?;
    let at_s = step.seconds;
    let what = in_vain(ends, &step);
    step.events.extend(what.map(|what| Event { at_s, what }));
    stage.close();
    Ok(step)
}

fn part(ends: Ends, stage: &Stage, settings: &Settings) -> Result<Part, Error> {
    let now = stage.ends()?;
    let readers = stage.readers(settings.consumers, &now, None, Some(Stream::Consumed), true);
    let x = match ends {
        Ends::Nothing => 0.0,
        Ends::OldSegments => 1.0,
        Ends::OverwrittenRecords => 2.0,
    };
    Ok(Part::timed(ends.label(), x, stage.lanes(settings), readers))
}

/// That something was deleted and cleaned, and how much.
fn evidence(
    step: &mut Step,
    stage: &Stage,
    beside: &Besides,
    written: u64,
    settings: &Settings,
) -> Result<(), Error> {
    let (deleted, left) = talk(async {
        let mut deleted = 0;
        for (leader, partitions) in stage.topic.by_leader() {
            let mut connection = crate::client::Connection::open(leader).await?;
            let starts =
                admin::offsets(&mut connection, &stage.topic.name, &partitions, admin::EARLIEST).await?;
            deleted += starts.iter().sum::<i64>();
        }
        let left = log_dirs::size_bytes(&beside.topic).await?;
        Ok::<_, Error>((deleted.max(0) as u64, left))
    })?;
    let mib = |records: u64| (records * settings.record_bytes as u64) as f64 / MIB;
    let figures = [
        ("deleted_mib", mib(deleted)),
        ("beside_written_mib", mib(written)),
        ("beside_left_mib", left as f64 / MIB),
    ];
    let owned = figures.map(|(name, value)| (name.to_owned(), value));
    step.figures.extend(owned);
    Ok(())
}

/// Says so of a part in which what it is about did not happen.
fn in_vain(ends: Ends, step: &Step) -> Option<String> {
    let figure = |name: &str| step.figures.get(name).copied().unwrap_or(0.0);
    match ends {
        Ends::OldSegments if figure("deleted_mib") == 0.0 => {
            Some("nothing was deleted: less --keep-mib, or more --seconds".into())
        }
        Ends::OverwrittenRecords if figure("beside_left_mib") > HARDLY * figure("beside_written_mib") => {
            Some("hardly anything was cleaned: fewer --beside-keys, or more --seconds".into())
        }
        _ => None,
    }
}

/// The tails of acknowledgements, which the table of steps has not; and what they are over those of the part without limits of the same turn.
fn compare(step: &mut Step, without: Option<&Step>) {
    let tails = |step: &Step| {
        step.latencies
            .get("ack")
            .map(|ack| [("p99", ack.p99_us), ("p99.9", ack.p999_us)])
    };
    let Some(now) = tails(step) else {
        return;
    };
    for (which, us) in now {
        step.figures.insert(format!("ack_{which}_ms"), us / 1e3);
    }
    let then = without.and_then(tails).unwrap_or_default();
    for ((which, now), (_, then)) in now.into_iter().zip(then).filter(|(_, then)| then.1 > 0.0) {
        step.figures.insert(format!("ack_{which}_ratio"), now / then);
    }
}

/// The topic beside the load. Dropping it removes it.
struct Besides {
    bootstrap: String,
    topic: Topic,
}

impl Besides {
    fn make(bootstrap: &str, load: &str, ends: Ends) -> Result<Besides, Error> {
        let name = format!("{load}-beside");
        let topic = talk(async {
            let mut connection = admin::bootstrap(bootstrap).await?;
            admin::create_topic(&mut connection, &name, BESIDE_PARTITIONS, &ends.of_beside()).await?;
            let led = admin::wait_for_leaders(&mut connection, &name, BESIDE_PARTITIONS as usize).await;
            if led.is_err() {
                // the topic exists, and nobody would remove it
                let _ = admin::delete_topic(&mut connection, &name).await;
            }
            led
        })?;
        Ok(Besides {
            bootstrap: bootstrap.to_owned(),
            topic,
        })
    }
}

impl Drop for Besides {
    fn drop(&mut self) {
        // a broker that is gone keeps it
        let _ = talk(async {
            let mut connection = admin::bootstrap(&self.bootstrap).await?;
            admin::delete_topic(&mut connection, &self.topic.name).await
        });
    }
}

fn random() -> u32 {
    // a name that is taken is refused by the broker, so a failed source of randomness does no harm
    getrandom::u32().unwrap_or_else(|_| std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::Latency;

    #[test]
    fn the_parts_differ_in_what_ends_and_in_nothing_else() {
        let of = |ends: Ends| (ends.of_load(1024, 8), ends.of_beside());
        let has = |configs: &[(String, String)], key: &str| configs.iter().any(|(name, _)| name == key);
        for ends in [Ends::Nothing, Ends::OldSegments, Ends::OverwrittenRecords] {
            let (load, beside) = of(ends);
            assert_eq!(has(&load, "retention.bytes"), ends == Ends::OldSegments);
            assert_eq!(has(&beside, "cleanup.policy"), ends == Ends::OverwrittenRecords);
            assert!(has(&load, "segment.bytes") && has(&beside, "segment.bytes"));
        }
        let limit = ("retention.bytes".to_owned(), (128u64 << 20).to_string());
        assert!(of(Ends::OldSegments).0.contains(&limit));
    }

    #[test]
    fn a_part_in_which_nothing_ended_says_so() {
        let step = |deleted: f64, left: f64| Step {
            figures: [
                ("deleted_mib".to_owned(), deleted),
                ("beside_written_mib".to_owned(), 100.0),
                ("beside_left_mib".to_owned(), left),
            ]
            .into(),
            ..Step::default()
        };
        for (ends, deleted, left, says) in [
            (Ends::Nothing, 0.0, 100.0, false),
            (Ends::OldSegments, 0.0, 100.0, true),
            (Ends::OldSegments, 5.0, 100.0, false),
            (Ends::OverwrittenRecords, 0.0, 95.0, true),
            (Ends::OverwrittenRecords, 0.0, 20.0, false),
        ] {
            assert_eq!(
                in_vain(ends, &step(deleted, left)).is_some(),
                says,
                "{ends:?} {deleted} {left}"
            );
        }
    }

    #[test]
    fn tails_are_told_over_those_without_limits() {
        let step = |p99_us: f64| Step {
            latencies: [(
                "ack".to_owned(),
                Latency {
                    p99_us,
                    p999_us: 2.0 * p99_us,
                    ..Latency::default()
                },
            )]
            .into(),
            ..Step::default()
        };
        let mut with = step(300.0);
        compare(&mut with, Some(&step(200.0)));
        let figure = |name: &str| with.figures.get(name).copied();
        assert_eq!(
            (figure("ack_p99_ratio"), figure("ack_p99.9_ms")),
            (Some(1.5), Some(0.6))
        );
        let mut alone = step(300.0);
        compare(&mut alone, None);
        assert_eq!(alone.figures.len(), 2);
    }
}
