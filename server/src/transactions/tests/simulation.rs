//! Producers of both kinds share transactional ids, crash, lose answers and come again, transactions take too long, ids expire, and the broker
//! starts anew. Whatever the order: no transaction is both committed and aborted, what a producer was told holds, epochs never go back, a producer
//! that was fenced succeeds with nothing, and once everything is quiet nothing waits for markers.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::requests::{added, adding, ended, ending, initialized, initializing, resuming};
use super::world::{ADD, END, INIT, OLD_ADD, OLD_END, World};
use crate::transactions::TxnRequest;
use crate::transactions::transaction::{LAST_PRODUCER_EPOCH, Transaction};
use crate::wire::ErrorCode;

const IDS: [&str; 2] = ["a", "b"];
const TIMEOUT_MS: i32 = 3_000;

#[derive(Clone, Debug)]
enum Event {
    /// The client does what comes next, most often once it has heard of what it did last.
    Act {
        client: usize,
        choice: u8,
    },
    Init(usize),
    Resume(usize),
    Add(usize, i32),
    Write(usize, i32),
    End(usize, bool),
    Forget(usize),
    Durable(usize),
    Marker(usize),
    Crash {
        kept: usize,
        is_lost: bool,
    },
    Pass(i64),
    ProducerIds(bool),
}

fn event() -> impl Strategy<Value = Event> {
    let client = || 0..4usize;
    prop_oneof![
        40 => (client(), any::<u8>()).prop_map(|(client, choice)| Event::Act { client, choice }),
        2 => client().prop_map(Event::Init),
        1 => client().prop_map(Event::Resume),
        8 => (client(), 0..3i32).prop_map(|(client, partition)| Event::Add(client, partition)),
        6 => (client(), 0..3i32).prop_map(|(client, partition)| Event::Write(client, partition)),
        8 => (client(), any::<bool>()).prop_map(|(client, is_commit)| Event::End(client, is_commit)),
        1 => client().prop_map(Event::Forget),
        20 => (1..4usize).prop_map(Event::Durable),
        12 => any::<usize>().prop_map(Event::Marker),
        2 => (0..4usize, any::<bool>()).prop_map(|(kept, is_lost)| Event::Crash { kept, is_lost }),
        3 => (0..2_500i64).prop_map(Event::Pass),
        1 => prop::bool::weighted(0.8).prop_map(Event::ProducerIds),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Asked {
    Init,
    Add(i32),
    End(bool),
}

/// A producer as its program sees it.
#[derive(Debug)]
struct Client {
    id: &'static str,
    /// Whether it speaks transaction version 2.
    is_new: bool,
    producer: Option<(i64, i16)>,
    /// Its transaction, by a number of the test's.
    transaction: usize,
    added: BTreeSet<i32>,
    /// The end it wants and has not heard of.
    end: Option<bool>,
    asked: Option<(u32, Asked)>,
}

struct Simulation {
    world: World,
    clients: Vec<Client>,
    transactions: usize,
    /// Who was given an id by which record, in order.
    owners: BTreeMap<&'static str, Vec<(usize, usize)>>,
    /// The last producer of an id that anybody was told of.
    told: BTreeMap<&'static str, (i64, i16)>,
    /// The ends that producers were told of.
    ends: BTreeMap<usize, bool>,
    /// The producers there were after the last step, since the last crash.
    seen: BTreeMap<&'static str, (i64, i16)>,
}

impl Simulation {
    fn new(version: i16, new_clients: [bool; 4], epochs_left: i16) -> Simulation {
        let known = IDS.iter().zip(900i64..).map(|(id, producer_id)| {
            let mut known = Transaction::new(producer_id, TIMEOUT_MS);
            let producer = (producer_id, LAST_PRODUCER_EPOCH - epochs_left);
            known.begin_empty(producer, -1, TIMEOUT_MS, super::world::START_MS);
            known.record(id).encode()
        });
        let mut world = World::with_log(known.collect());
        world.version = version;
        world.settings.abort_interval_ms = 1_000;
        world.settings.id_expiration_ms = 20_000;
        world.settings.remove_interval_ms = 2_000;
        let clients = new_clients.into_iter().enumerate();
        Simulation {
            world,
            clients: clients
                .map(|(index, is_new)| Client {
                    id: IDS[index % IDS.len()],
                    is_new,
                    producer: None,
                    transaction: index,
                    added: BTreeSet::new(),
                    end: None,
                    asked: None,
                })
                .collect(),
            transactions: 100,
            owners: BTreeMap::new(),
            told: BTreeMap::new(),
            ends: BTreeMap::new(),
            seen: BTreeMap::new(),
        }
    }

    fn act(&mut self, event: &Event) {
        match *event {
            Event::Act { client, choice } => self.step(client, choice),
            Event::Init(client) => self.init(client, false),
            Event::Resume(client) => self.init(client, true),
            Event::Add(client, partition) => self.add(client, partition),
            Event::Write(client, partition) => self.write(client, partition),
            Event::End(client, is_commit) => self.end(client, is_commit),
            // Its program is started anew.
            Event::Forget(client) => {
                let client = &mut self.clients[client];
                (client.producer, client.asked) = (None, None);
            }
            Event::Durable(records) => {
                let durable = (self.world.durable + records).min(self.world.log.len());
                self.world.release(durable);
            }
            Event::Marker(index) => {
                let orders = self.world.marks.len();
                if orders > 0 {
                    self.world.write_marker(index % orders);
                }
            }
            Event::Crash { kept, is_lost } => self.crash(kept, is_lost),
            Event::Pass(ms) => self.world.pass(ms),
            Event::ProducerIds(has_ids) => self.world.has_ids = has_ids,
        }
        self.hear();
        self.check();
    }

    /// Takes the id, adds some partitions, writes to them, and ends the transaction; markers are written meanwhile.
    fn step(&mut self, index: usize, choice: u8) {
        if !choice.is_multiple_of(8) {
            self.world.flush();
            self.hear();
        }
        if !choice.is_multiple_of(4) && !self.world.marks.is_empty() {
            self.world
                .write_marker(usize::from(choice) % self.world.marks.len());
        }
        let partition = i32::from(choice % 3);
        let client = &self.clients[index];
        match (client.producer, client.end) {
            (None, _) => self.init(index, false),
            (_, Some(is_commit)) => self.end(index, is_commit),
            _ if client.added.contains(&partition) && choice < 128 => self.write(index, partition),
            _ if client.added.len() > 1 => self.end(index, choice.is_multiple_of(5)),
            _ => self.add(index, partition),
        }
    }

    /// What was ordered is lost, or is done later all the same.
    fn crash(&mut self, kept: usize, is_lost: bool) {
        let keep = (self.world.durable + kept).min(self.world.log.len());
        match is_lost {
            true => self.world.crash(keep),
            false => self.world.reload(keep),
        }
        self.clients.iter_mut().for_each(|client| client.asked = None);
        for owners in self.owners.values_mut() {
            owners.retain(|(at, _)| *at <= keep);
        }
        self.seen.clear();
    }

    fn init(&mut self, index: usize, is_resume: bool) {
        let client = &self.clients[index];
        let mut request = match client.producer {
            Some(producer) if is_resume => resuming(client.id, producer),
            _ => initializing(client.id),
        };
        request.transaction_timeout_ms = TIMEOUT_MS;
        let was_resume = request.producer_id >= 0;
        let was_known = self.world.coordinator.transactions.contains_key(client.id);
        let owner = self.owner(client.id);
        let Some(to) = self.send(index, INIT, TxnRequest::InitProducerId(request), Asked::Init) else {
            return;
        };
        if initialized(self.world.decided_answer(to).clone()).is_ok() {
            assert!(
                !was_resume || !was_known || owner == Some(index),
                "who was fenced resumed: {:?}",
                self.clients[index]
            );
            let at = self.world.log.len();
            let id = self.clients[index].id;
            self.owners.entry(id).or_default().push((at, index));
        }
    }

    fn add(&mut self, index: usize, partition: i32) {
        let client = &self.clients[index];
        let (Some(producer), None) = (client.producer, client.end) else {
            return;
        };
        let version = if client.is_new { ADD } else { OLD_ADD };
        let request = adding(client.id, producer, &[partition], false);
        let id = client.id;
        if let Some(to) = self.send(index, version, request, Asked::Add(partition))
            && added(self.world.decided_answer(to).clone()) == [ErrorCode::None]
        {
            assert_eq!(self.owner(id), Some(index), "who was fenced added a partition");
        }
    }

    fn end(&mut self, index: usize, is_commit: bool) {
        let client = &mut self.clients[index];
        let Some(producer) = client.producer else { return };
        if client.asked.is_some() {
            return;
        }
        let is_commit = *client.end.get_or_insert(is_commit);
        let version = if client.is_new { END } else { OLD_END };
        let (id, request) = (client.id, ending(client.id, producer, is_commit));
        if let Some(to) = self.send(index, version, request, Asked::End(is_commit))
            && ended(self.world.decided_answer(to).clone()).is_ok()
        {
            assert_eq!(self.owner(id), Some(index), "who was fenced ended a transaction");
        }
    }

    /// A batch, as the owner of a partition takes it: what is not open there is asked about first.
    fn write(&mut self, index: usize, partition: i32) {
        self.world.flush();
        self.hear();
        let client = &self.clients[index];
        let (Some(producer), None) = (client.producer, client.end) else {
            return;
        };
        if !client.added.contains(&partition) {
            return;
        }
        let verifying = adding(client.id, producer, &[partition], true);
        let (id, transaction) = (client.id, client.transaction);
        if added(self.world.ask(ADD, verifying)) != [ErrorCode::None] {
            return;
        }
        assert_eq!(self.owner(id), Some(index), "who was fenced writes");
        let producers = self.world.partitions.entry(partition).or_default();
        let row = producers.entry(producer.0).or_default();
        assert!(producer.1 >= row.epoch, "the partition knows of a later epoch");
        assert!(
            row.open.is_none_or(|open| open == transaction),
            "the transaction before has not ended here"
        );
        (row.epoch, row.open) = (producer.1, Some(transaction));
    }

    /// Asks, unless the client waits for an answer.
    fn send(&mut self, index: usize, version: i16, request: TxnRequest, asked: Asked) -> Option<u32> {
        if self.clients[index].asked.is_some() {
            return None;
        }
        let to = self.world.send(version, request);
        self.clients[index].asked = Some((to, asked));
        Some(to)
    }

    fn owner(&self, id: &str) -> Option<usize> {
        let owners = self.owners.get(id)?;
        owners.last().map(|(_, client)| *client)
    }

    /// Clients hear what they are answered.
    fn hear(&mut self) {
        while let Some((to, answer)) = self.world.answers.pop_first() {
            let of_client = |client: &Client| client.asked.is_some_and(|(waits_for, _)| waits_for == to);
            let Some(index) = self.clients.iter().position(of_client) else {
                continue;
            };
            let Some((_, asked)) = self.clients[index].asked else {
                continue;
            };
            self.clients[index].asked = None;
            let said = match asked {
                Asked::Init => initialized(answer).map(Some),
                Asked::End(_) => ended(answer).map(|producer| Some(producer).filter(|(id, _)| *id >= 0)),
                Asked::Add(_) => match added(answer)[..] {
                    [ErrorCode::None] => Ok(None),
                    [error] => Err(error),
                    _ => panic!("one partition was asked for"),
                },
            };
            match said {
                Ok(producer) => self.succeed(index, asked, producer),
                Err(ErrorCode::ConcurrentTransactions | ErrorCode::CoordinatorLoadInProgress) => {}
                Err(_) => self.clients[index].producer = None,
            }
        }
    }

    fn succeed(&mut self, index: usize, asked: Asked, producer: Option<(i64, i16)>) {
        let client = &mut self.clients[index];
        if let Some(producer) = producer {
            let before = self.told.insert(client.id, producer);
            assert!(before <= Some(producer), "{before:?} before {producer:?}");
            client.producer = Some(producer);
        }
        match asked {
            Asked::Add(partition) => {
                client.added.insert(partition);
                return;
            }
            Asked::End(is_commit) => {
                let earlier = self.ends.insert(client.transaction, is_commit);
                assert_eq!(earlier, None, "a transaction has one end");
            }
            Asked::Init => {}
        }
        self.transactions += 1;
        client.transaction = self.transactions;
        client.added.clear();
        client.end = None;
    }

    fn check(&mut self) {
        for (transaction, is_commit) in &self.ends {
            let decided = self.world.decided.get(transaction);
            assert!(
                decided.is_none_or(|decided| *decided == BTreeSet::from([*is_commit])),
                "what a producer was told does not hold"
            );
        }
        for id in IDS {
            let transaction = self.world.coordinator.transactions.get(id);
            let producer =
                transaction.map(|transaction| (transaction.producer_id, transaction.producer_epoch));
            if let Some(producer) = producer {
                let before = self.seen.insert(id, producer);
                assert!(before <= Some(producer), "{before:?} before {producer:?}");
            }
        }
    }

    /// Everything that can be done is done; nobody asks for anything.
    fn settle(&mut self) {
        self.world.has_ids = true;
        for _ in 0..4 {
            self.world.finish();
            self.world.pass(i64::from(TIMEOUT_MS) + 1_001);
            self.hear();
            self.check();
        }
        self.world.finish();
        let states = self.world.coordinator.transactions.values();
        assert!(
            states
                .into_iter()
                .all(|transaction| transaction.state.is_at_rest()),
            "something waits forever"
        );
        let rows = self.world.partitions.values();
        let mut rows = rows.flat_map(|producers| producers.values());
        assert!(
            rows.all(|row| row.open.is_none()),
            "a partition waits for a marker forever"
        );
        for id in IDS {
            self.world.init(id).expect("a producer at once");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_torn_whatever_happens(
        version in 0..=2i16,
        new_clients in any::<[bool; 4]>(),
        epochs_left in prop_oneof![Just(0i16), 1..6i16, Just(30_000i16)],
        events in prop::collection::vec(event(), 1..400),
    ) {
        let mut simulation = Simulation::new(version, new_clients, epochs_left);
        events.iter().for_each(|event| simulation.act(event));
        simulation.settle();
    }
}
