//! What a Ringlog broker says of its inside, at the start and at the end of a measurement, and what lies between.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::client::cores::{CoreCounts, StageCounts, decode, encode};
use crate::report::inside::stage_time;
use crate::report::model::{CoreUse, Inside};

/// How long connecting, writing or reading may take: a measurement does not wait for its attribution.
const PATIENCE: Duration = Duration::from_secs(2);
/// No answer is larger.
const MAX_FRAME_BYTES: usize = 64 << 20;

/// A connection on which nothing else is asked.
#[derive(Debug)]
pub struct StageProbe {
    address: SocketAddr,
    stream: TcpStream,
    correlation_id: i32,
    has_answered: bool,
}

impl StageProbe {
    /// Connects; `None` when nobody answers.
    pub fn open(address: SocketAddr) -> Option<StageProbe> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.set_write_timeout(Some(PATIENCE)).ok()?;
        stream.set_nodelay(true).ok()?;
        Some(StageProbe {
            address,
            stream,
            correlation_id: 0,
            has_answered: false,
        })
    }

    /// What the cores have done since they started. After `None` (closed, refused, late) the probe is of no use any more. One that
    /// was answered before asks on a new connection too: a broker closes those on which nothing came for ten minutes.
    pub fn ask(&mut self) -> Option<Vec<CoreCounts>> {
        if let Some(counts) = self.ask_once() {
            self.has_answered = true;
            return Some(counts);
        }
        if !self.has_answered {
            return None;
        }
        *self = StageProbe::open(self.address)?;
        self.ask_once()
    }

    fn ask_once(&mut self) -> Option<Vec<CoreCounts>> {
        self.correlation_id += 1;
        self.stream.write_all(&encode(self.correlation_id)).ok()?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).ok()?;
        let length = usize::try_from(i32::from_be_bytes(length)).ok()?;
        if length > MAX_FRAME_BYTES {
            return None;
        }
        let mut frame = Vec::new();
        let read = (&mut self.stream)
            .take(length as u64)
            .read_to_end(&mut frame)
            .ok()?;
        (read == length).then(|| decode(&frame, self.correlation_id))?
    }
}

/// What all cores did between two looks. `None` when the broker was started anew in between.
pub fn between(before: &[CoreCounts], after: &[CoreCounts]) -> Option<Inside> {
    let pairs: Vec<(&CoreCounts, &CoreCounts)> = after
        .iter()
        .map(|new| Some((before.iter().find(|old| old.core == new.core)?, new)))
        .collect::<Option<_>>()?;
    if pairs.iter().any(|(old, new)| old.uptime_ns > new.uptime_ns) {
        return None;
    }
    let cores: Vec<CoreUse> = pairs.iter().map(|(old, new)| core_use(old, new)).collect();
    let mut counters = BTreeMap::new();
    for (old, new) in &pairs {
        for (name, value) in &new.counters {
            let grown = value.saturating_sub(old.counters.get(name).copied().unwrap_or(0));
            *counters.entry(name.clone()).or_default() += grown;
        }
    }
    let names = pairs.first().map(|(_, new)| new.stages.iter());
    let stages = names.into_iter().flatten().map(|stage| {
        let (sum_ns, buckets) = stage_between(&pairs, &stage.name);
        stage_time(&stage.name, sum_ns, buckets)
    });
    Some(Inside {
        seconds: cores.iter().map(|core| core.seconds).fold(0.0, f64::max),
        stages: stages.collect(),
        counters,
        cores,
    })
}

fn core_use(old: &CoreCounts, new: &CoreCounts) -> CoreUse {
    let seconds = |old: u64, new: u64| new.saturating_sub(old) as f64 / 1e9;
    CoreUse {
        core: new.core,
        seconds: seconds(old.uptime_ns, new.uptime_ns),
        cpu_s: seconds(old.cpu_ns, new.cpu_ns),
        // the load may have closed its own by the second look
        connections: old.connections.max(new.connections),
        partitions: new.partitions,
    }
}

/// Sum and buckets of one stage over all cores.
fn stage_between(pairs: &[(&CoreCounts, &CoreCounts)], name: &str) -> (u64, BTreeMap<u64, u64>) {
    let of = |core: &CoreCounts| core.stages.iter().find(|stage| stage.name == name).cloned();
    let (mut sum_ns, mut buckets) = (0u64, BTreeMap::new());
    for (old, new) in pairs {
        let old: StageCounts = of(old).unwrap_or_default();
        let new: StageCounts = of(new).unwrap_or_default();
        sum_ns = sum_ns.saturating_add(new.sum_ns.saturating_sub(old.sum_ns));
        for (largest_ns, count) in new.buckets {
            let grown = count.saturating_sub(old.buckets.get(&largest_ns).copied().unwrap_or(0));
            if grown > 0 {
                *buckets.entry(largest_ns).or_default() += grown;
            }
        }
    }
    (sum_ns, buckets)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn core(core: i32, uptime_ns: u64, enters: u64, buckets: &[(u64, u64)]) -> CoreCounts {
        CoreCounts {
            core,
            uptime_ns,
            cpu_ns: uptime_ns / 4,
            counters: BTreeMap::from([("enters".to_owned(), enters)]),
            stages: vec![StageCounts {
                name: "commit".to_owned(),
                sum_ns: enters * 10,
                buckets: buckets.iter().copied().collect(),
            }],
            ..CoreCounts::default()
        }
    }

    #[test]
    fn the_first_look_is_taken_away_and_cores_are_added_up() {
        let before = [core(0, 2_000_000_000, 10, &[(1_000, 5)]), core(1, 1, 0, &[])];
        let after = [
            core(0, 6_000_000_000, 30, &[(1_000, 6), (8_000, 2)]),
            core(1, 4_000_000_001, 5, &[(8_000, 3)]),
        ];
        let inside = between(&before, &after).expect("the same run");
        assert_eq!((inside.seconds, inside.counters["enters"]), (4.0, 25));
        let cpu: Vec<f64> = inside.cores.iter().map(|core| core.cpu_s).collect();
        assert_eq!(cpu, [1.0, 1.0]);
        let commit = &inside.stages[0];
        assert_eq!(
            (commit.name.as_str(), commit.count, commit.mean_us),
            ("commit", 6, 0.25 / 6.0)
        );
        assert_eq!(commit.buckets, [[1_000, 1], [8_000, 5]]);
        assert_eq!((commit.p50_us, commit.max_us), (8.0, 8.0));
    }

    #[test]
    fn another_run_of_the_broker_cannot_be_subtracted() {
        let (young, old) = ([core(0, 5, 1, &[])], [core(0, 9, 1, &[])]);
        assert!(between(&old, &young).is_none());
        assert!(between(&[], &young).is_none());
        assert!(between(&old, &old).is_some());
    }

    #[test]
    fn a_broker_that_closes_or_talks_nonsense_has_none() {
        for answer in [&b""[..], b"\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\0\x02no"] {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = listener.local_addr().expect("its address");
            let server = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().expect("a client");
                let mut asked = vec![0; encode(1).len()];
                stream.read_exact(&mut asked).expect("a request");
                stream.write_all(answer).expect("an answer");
            });
            let mut probe = StageProbe::open(address).expect("connected");
            assert_eq!(probe.ask(), None, "{answer:?}");
            server.join().expect("served");
        }
    }

    #[test]
    fn a_connection_that_was_closed_for_idleness_is_made_again() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let server = std::thread::spawn(move || {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().expect("a client");
                let mut asked = vec![0; encode(1).len()];
                stream.read_exact(&mut asked).expect("a request");
                // correlation id 1, tags, no error, no message, no cores, tags
                stream
                    .write_all(b"\0\0\0\x0a\0\0\0\x01\0\0\0\0\x01\0")
                    .expect("an answer");
            }
        });
        let mut probe = StageProbe::open(address).expect("connected");
        assert_eq!((probe.ask(), probe.ask()), (Some(Vec::new()), Some(Vec::new())));
        server.join().expect("served");
    }
}
