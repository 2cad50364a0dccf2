//! Reports with made-up but realistic figures, for tests and for looking at the page.

use std::collections::BTreeMap;

use super::model::*;
use super::ratios;

mod broker;

use broker::Broker;

const RINGLOG: Broker = Broker {
    seed: 1,
    median_us: 310.0,
    sigma: 0.25,
    stall_ms: 0.0,
    rate: 50_000.0,
    seconds: 30,
    cpu_s_per_gib: 0.71,
    rss_mib: 92,
};

const KAFKA: Broker = Broker {
    seed: 2,
    median_us: 1_450.0,
    sigma: 0.5,
    stall_ms: 180.0,
    rate: 50_000.0,
    seconds: 30,
    cpu_s_per_gib: 4.9,
    rss_mib: 1_310,
};

/// Every sample with the name of its file.
pub(super) fn all() -> Vec<(&'static str, Report)> {
    vec![
        ("produce", produce()),
        ("versus", versus()),
        ("sweep", sweep()),
        ("restart", restart()),
        ("failed", failed()),
    ]
}

/// One broker, one load.
pub(super) fn produce() -> Report {
    let mut step = RINGLOG.step("50,000/s", &["ack"]);
    step.inside = Some(inside());
    report(
        "produce",
        vec![side("ringlog", "stable storage", vec![vec![step]])],
    )
}

/// What a broker of two cores tells of its inside.
fn inside() -> Inside {
    let stage = |(name, typical_us, rare_us): (&str, u64, u64)| {
        let buckets = BTreeMap::from([(typical_us * 1_000, 93_000), (rare_us * 1_000, 830)]);
        super::inside::stage_time(name, typical_us * 93_830_000, buckets)
    };
    let core = |core| CoreUse {
        core,
        seconds: 30.0,
        cpu_s: 9.0 + f64::from(core),
        connections: 2,
        partitions: 6,
    };
    let counters = [("requests", 93_830), ("enters", 61_200), ("submissions", 140_400)];
    Inside {
        seconds: 30.0,
        counters: counters.map(|(name, value)| (name.to_owned(), value)).into(),
        cores: vec![core(0), core(1)],
        stages: [
            ("frame", 9, 40),
            ("hand_over", 21, 160),
            ("validate", 4, 22),
            ("write", 31, 240),
            ("commit", 140, 690),
            ("respond", 18, 75),
            ("total", 240, 1_100),
        ]
        .map(stage)
        .into(),
    }
}

/// Two brokers, `tail`, two rounds.
pub(super) fn versus() -> Report {
    let names = ["ack", "end_to_end"];
    let rounds = |broker: Broker| {
        let round = |n: u64| {
            vec![
                Broker {
                    seed: broker.seed + n * 10,
                    ..broker
                }
                .step("50,000/s", &names),
            ]
        };
        vec![round(0), round(1)]
    };
    let mut report = report(
        "tail",
        vec![
            side("kafka", "page cache", rounds(KAFKA)),
            side("ringlog", "stable storage", rounds(RINGLOG)),
        ],
    );
    report.command = [
        "ringlog-bench",
        "versus",
        "kafka",
        "--scenario",
        "tail",
        "--rate",
        "50000",
    ]
    .map(str::to_owned)
    .into();
    report.warnings.push(
        "the two brokers promise different things: kafka acknowledges from the page cache, ringlog from stable \
         storage"
            .to_owned(),
    );
    ratios::fill(&mut report);
    report
}

/// One broker at rising rates.
pub(super) fn sweep() -> Report {
    let step = |(at, rate): (usize, f64)| {
        let load: f64 = rate / 420_000.0;
        let broker = Broker {
            seed: at as u64,
            median_us: 250.0 / (1.02 - load.min(1.0)).powf(0.6),
            sigma: 0.25 + load * 0.3,
            rate: rate.min(404_000.0),
            seconds: 10,
            ..RINGLOG
        };
        let mut step = broker.step(&format!("{}/s", super::units::whole(rate)), &["ack"]);
        step.offered_per_s = Some(rate);
        step.x = rate;
        step
    };
    let rates = [20e3, 50e3, 100e3, 150e3, 200e3, 250e3, 300e3, 350e3, 400e3, 450e3];
    let steps = rates.into_iter().enumerate().map(step).collect();
    let mut report = report("sweep", vec![side("ringlog", "stable storage", vec![steps])]);
    report.load.insert("limit-ms".to_owned(), "5".to_owned());
    report
        .warnings
        .push("the broker did not keep up at 450,000/s: 404,000/s were acknowledged".to_owned());
    report
}

/// kill -9 and start again, against the size of the log.
pub(super) fn restart() -> Report {
    let step = |gib: f64, slow: f64| Step {
        label: format!("{gib} GiB"),
        x: gib * (1u64 << 30) as f64,
        seconds: 10.0,
        figures: BTreeMap::from([
            ("ready_ms".to_owned(), 38.0 + gib * slow),
            ("first_ack_ms".to_owned(), 55.0 + gib * slow * 1.2),
            ("recovered_bytes".to_owned(), gib * 1e9),
        ]),
        ledger: Some(passed(500_000)),
        events: vec![Event {
            at_s: 4.0,
            what: "kill -9".to_owned(),
        }],
        ..Step::default()
    };
    let steps = |slow| {
        [1.0, 2.0, 4.0, 8.0, 16.0]
            .into_iter()
            .map(|gib| step(gib, slow))
            .collect()
    };
    let mut report = report(
        "restart",
        vec![
            side("kafka", "page cache", vec![steps(310.0)]),
            side("ringlog", "stable storage", vec![steps(1.5)]),
        ],
    );
    ratios::fill(&mut report);
    report
}

/// A broker that lost records and died, with names that try to be HTML and to steer a terminal.
pub(super) fn failed() -> Report {
    let mut step = Broker {
        stall_ms: 900.0,
        ..KAFKA
    }
    .step("50,000/s", &["ack", "end_to_end"]);
    step.events.push(Event {
        at_s: 21.4,
        what: "the broker stopped answering (connection reset)".to_owned(),
    });
    step.ledger = Some(LedgerResult {
        passed: false,
        verified: 1_402_110,
        lost: 17,
        notes: vec!["partition 3: offsets 41207 to 41223 were acknowledged and are not there".to_owned()],
        ..passed(1_402_127)
    });
    if let Some(flow) = &mut step.produced {
        flow.errors.insert("connection lost".to_owned(), 4_211);
        flow.per_second.truncate(22);
    }
    let hostile = "</script><img src=x onerror=alert(1)><!--\u{1b}[2J{{script}}";
    let mut report = report("tail", vec![side(hostile, "page cache", vec![vec![step]])]);
    report.sides[0]
        .settings
        .insert("log.dirs".to_owned(), hostile.to_owned());
    report.sides[0].durability_reason = hostile.to_owned();
    report.load.insert("topic".to_owned(), hostile.to_owned());
    report
        .warnings
        .push("the broker died 21.4 s into the measurement; the figures are of the time before".to_owned());
    report
}

fn report(scenario: &str, sides: Vec<Side>) -> Report {
    let load = [
        ("acks", "all"),
        ("batch-bytes", "16384"),
        ("codec", "none"),
        ("in-flight", "5"),
        ("linger-ms", "1"),
        ("partitions", "12"),
        ("producers", "2"),
        ("rate", "50000"),
        ("record-bytes", "1024"),
        ("seconds", "30"),
        ("warmup-seconds", "5"),
    ];
    Report {
        format: FORMAT.to_owned(),
        tool_version: "0.1.0".to_owned(),
        command: ["ringlog-bench", scenario, "--rate", "50000", "--acks", "all"]
            .map(str::to_owned)
            .into(),
        started_unix_ms: 1_790_000_000_000,
        scenario: scenario.to_owned(),
        load: load.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        machine: Machine {
            kernel: "6.12.41".to_owned(),
            cpu: "AMD EPYC 9R14".to_owned(),
            cores: 8,
            memory_bytes: 32 << 30,
            virtual_machine: true,
            governor: String::new(),
        },
        disk: Some(DiskFloor {
            directory: "/var/lib/ringlog".to_owned(),
            filesystem: "ext4 rw,relatime".to_owned(),
            device: "nvme0n1".to_owned(),
            write_4k: Floor {
                count: 2_000,
                p50_us: 41.0,
                p99_us: 97.0,
            },
            write_128k: Floor {
                count: 1_000,
                p50_us: 138.0,
                p99_us: 290.0,
            },
        }),
        sides,
        ..Report::default()
    }
}

fn side(name: &str, durability: &str, rounds: Vec<Vec<Step>>) -> Side {
    let settings = match durability {
        "page cache" => ("log.flush.interval.messages", "9223372036854775807"),
        _ => ("acks.durable", "true"),
    };
    Side {
        name: name.to_owned(),
        bootstrap: "127.0.0.1:9092".to_owned(),
        start_command: format!("{name}-up --port 9092"),
        durability: durability.to_owned(),
        durability_reason: format!("{} is {}", settings.0, settings.1),
        settings: BTreeMap::from([(settings.0.to_owned(), settings.1.to_owned())]),
        runs: rounds
            .into_iter()
            .zip(1..)
            .map(|(steps, round)| Run { round, steps })
            .collect(),
    }
}

fn passed(acknowledged: u64) -> LedgerResult {
    LedgerResult {
        passed: true,
        checked: true,
        acknowledged,
        verified: acknowledged,
        ..Default::default()
    }
}
