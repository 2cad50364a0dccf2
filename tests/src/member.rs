//! Members of consumer groups: librdkafka in a process of its own, which shares, leaves, or is killed, and what it was given and saw.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::{PATIENCE, wait_for};

/// How members of a group agree on who reads what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// JoinGroup and SyncGroup; a member of the group assigns, and everybody gives up everything first.
    Eager,
    /// The same, and only what moves is given up.
    Cooperative,
    /// ConsumerGroupHeartbeat (KIP-848); the broker assigns.
    Consumer,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Protocol; 3] = [Protocol::Eager, Protocol::Cooperative, Protocol::Consumer];

    /// librdkafka's settings. Sessions of classic members end after 6 s, the least that Kafka allows.
    pub fn settings(self) -> Vec<(&'static str, &'static str)> {
        let classic = [("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "500")];
        match self {
            Protocol::Eager => [&classic[..], &[("partition.assignment.strategy", "range")]].concat(),
            Protocol::Cooperative => [
                &classic[..],
                &[("partition.assignment.strategy", "cooperative-sticky")],
            ]
            .concat(),
            Protocol::Consumer => vec![("group.protocol", "consumer")],
        }
    }
}

/// What a member told about itself.
#[derive(Clone, Debug, Default)]
pub struct Diary {
    /// The partitions it owns; with each the offset it saw last since it was given it.
    pub owned: BTreeMap<i32, Option<i64>>,
    /// The offsets it saw of each partition.
    pub seen: BTreeMap<i32, BTreeSet<i64>>,
    /// What it was given, and what was taken away, in order.
    pub moves: Vec<Move>,
    /// The offsets out of order, and the partitions seen without being owned.
    pub wrong: Vec<String>,
    /// The error that ended it.
    pub fatal: Option<String>,
}

/// A change of what a member owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// It was given these partitions.
    Given(Vec<i32>),
    /// It gave up these partitions.
    Taken(Vec<i32>),
}

impl Diary {
    fn enter(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let numbers = || {
            rest.split(',')
                .filter_map(|number| number.parse().ok())
                .collect::<Vec<i32>>()
        };
        match word {
            "assigned" => {
                self.owned
                    .extend(numbers().into_iter().map(|partition| (partition, None)));
                self.moves.push(Move::Given(numbers()));
            }
            "revoked" => {
                self.owned.retain(|partition, _| !numbers().contains(partition));
                self.moves.push(Move::Taken(numbers()));
            }
            "seen" => self.see(rest),
            "fatal" => self.fatal = Some(rest.to_owned()),
            _ => self.wrong.push(format!("said {line:?}")),
        }
    }

    /// A record must be the next one of a partition that the member owns, and hold what [`value`] says.
    fn see(&mut self, line: &str) {
        let mut words = line.splitn(3, ' ');
        let mut number = || words.next().and_then(|word| word.parse::<i64>().ok());
        let (Some(partition), Some(offset)) = (number(), number()) else {
            self.wrong.push(format!("saw {line:?}"));
            return;
        };
        let partition = partition as i32;
        if words.next() != Some(value(partition, offset).as_str()) {
            self.wrong.push(format!("saw {line:?}"));
        }
        match self.owned.insert(partition, Some(offset)) {
            None => self.wrong.push(format!("does not own {line:?}")),
            Some(Some(before)) if offset != before + 1 => self.wrong.push(format!("{line:?} after {before}")),
            Some(_) => {}
        }
        self.seen.entry(partition).or_default().insert(offset);
    }
}

/// What the record at this place holds.
pub fn value(partition: i32, offset: i64) -> String {
    format!("{partition}-{offset}")
}

/// A member. Dropping it kills the process.
#[derive(Debug)]
pub struct Member {
    child: Child,
    input: Option<ChildStdin>,
    diary: Arc<Mutex<Diary>>,
    reader: Option<JoinHandle<()>>,
}

impl Member {
    /// Starts a member of `binary` (a test names it with `env!("CARGO_BIN_EXE_group_member")`).
    pub fn start(
        binary: &str,
        bootstrap: &str,
        group: &str,
        topic: &str,
        protocol: Protocol,
        settings: &[(&str, &str)],
    ) -> Member {
        let settings = protocol.settings().into_iter().chain(settings.iter().copied());
        let mut child = Command::new(Path::new(binary))
            .args([bootstrap, group, topic])
            .args(settings.map(|(key, value)| format!("{key}={value}")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the member starts");
        let diary = Arc::new(Mutex::new(Diary::default()));
        let output = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
        let written = Arc::clone(&diary);
        let reader = std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                written.lock().expect("no panic while held").enter(&line);
            }
        });
        Member {
            input: child.stdin.take(),
            child,
            diary,
            reader: Some(reader),
        }
    }

    /// What it told so far.
    pub fn diary(&self) -> Diary {
        self.diary.lock().expect("no panic while held").clone()
    }

    /// The partitions it owns.
    pub fn owned(&self) -> Vec<i32> {
        self.diary
            .lock()
            .expect("no panic while held")
            .owned
            .keys()
            .copied()
            .collect()
    }

    /// The highest offset it saw of a partition.
    pub fn top(&self, partition: i32) -> Option<i64> {
        let diary = self.diary.lock().expect("no panic while held");
        diary.seen.get(&partition)?.last().copied()
    }

    /// Leaves the group and ends.
    ///
    /// # Panics
    /// When it ends with an error, or not at all.
    pub fn leave(mut self) -> Diary {
        self.input = None;
        let status = wait_for("the member ends", PATIENCE, || {
            self.child.try_wait().expect("the process can be waited for")
        });
        assert!(status.success(), "the member ended with {status}");
        self.rest()
    }

    /// Waits until it ends with a fatal error.
    pub fn fatal(mut self) -> Diary {
        wait_for("the member is refused for good", PATIENCE, || {
            self.child.try_wait().expect("the process can be waited for")
        });
        self.rest()
    }

    /// kill -9.
    pub fn kill(mut self) -> Diary {
        self.end();
        self.rest()
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// All it told, to the last line.
    fn rest(&mut self) -> Diary {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader does not panic");
        }
        self.diary()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits until these members own every partition of `0..partitions` between them, each about as many.
pub fn wait_for_shares(members: &[&Member], partitions: i32) -> Vec<Vec<i32>> {
    wait_for(
        &format!("{} members share {partitions} partitions", members.len()),
        PATIENCE,
        || {
            let shares: Vec<Vec<i32>> = members.iter().map(|member| member.owned()).collect();
            let mut all: Vec<i32> = shares.concat();
            all.sort_unstable();
            let even = partitions as usize / members.len();
            let fair = shares
                .iter()
                .all(|share| (even..=even + 1).contains(&share.len()));
            (fair && all.into_iter().eq(0..partitions)).then_some(shares)
        },
    )
}
