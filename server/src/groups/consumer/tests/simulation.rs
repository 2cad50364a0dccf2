//! Members of both protocols come, go, crash and change their minds, topics grow, answers are lost and the broker starts anew. Whatever the
//! order: no partition is worked on by two members at once, epochs never go back, the records give the same group again, and once everything
//! is quiet every partition is worked on.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::classic_client::ClassicClient;
use super::client::{Client, Owned};
use super::world::{World, id_of};
use crate::groups::settings::Migration;
use crate::wire::uuid::Uuid;

pub(super) const TOPICS: [&str; 3] = ["ta", "tb", "u"];

#[derive(Clone, Debug)]
enum Event {
    Join { topics: u8, by_regex: bool },
    JoinClassic { topics: u8, eager: bool },
    ActClassic(usize),
    CrashClassic(usize),
    Leave(usize),
    Crash(usize),
    Beat(usize),
    AnswerLost(usize),
    Reconcile(usize),
    Subscribe(usize, u8),
    Pass(i64),
    Grow(usize),
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (any::<u8>(), any::<bool>()).prop_map(|(topics, by_regex)| Event::Join { topics, by_regex }),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(topics, eager)| Event::JoinClassic { topics, eager }),
        8 => any::<usize>().prop_map(Event::ActClassic),
        1 => any::<usize>().prop_map(Event::CrashClassic),
        1 => any::<usize>().prop_map(Event::Leave),
        1 => any::<usize>().prop_map(Event::Crash),
        12 => any::<usize>().prop_map(Event::Beat),
        1 => any::<usize>().prop_map(Event::AnswerLost),
        8 => any::<usize>().prop_map(Event::Reconcile),
        1 => (any::<usize>(), any::<u8>()).prop_map(|(client, topics)| Event::Subscribe(client, topics)),
        5 => (0i64..2_500).prop_map(Event::Pass),
        1 => any::<usize>().prop_map(Event::Grow),
        1 => Just(Event::Restart),
    ]
}

struct Simulation {
    world: World,
    /// Those of the new protocol.
    clients: Vec<Client>,
    classic: Vec<ClassicClient>,
    partitions: BTreeMap<&'static str, i32>,
    joined: usize,
    group_epoch: i32,
}

impl Simulation {
    fn new() -> Simulation {
        let partitions = BTreeMap::from([("ta", 3), ("tb", 2), ("u", 4)]);
        let topics: Vec<(&str, i32)> = partitions.iter().map(|(topic, count)| (*topic, *count)).collect();
        let mut world = World::new(&topics);
        // The group stays one of the new protocol, even with classic members alone.
        world.settings.consumer_migration = Migration::Upgrade;
        Simulation {
            world,
            clients: Vec::new(),
            classic: Vec::new(),
            partitions,
            joined: 0,
            group_epoch: 0,
        }
    }

    fn act(&mut self, event: Event) {
        let index = |number: usize, count: usize| (count > 0).then(|| number % count);
        let client = |number: usize| index(number, self.clients.len());
        match event {
            Event::Join { topics, by_regex } if self.clients.len() < 6 => self.join(topics, by_regex),
            Event::JoinClassic { topics, eager } if self.classic.len() < 4 => {
                self.classic.push(ClassicClient::new(some_topics(topics), eager));
            }
            Event::Join { .. } | Event::JoinClassic { .. } => {}
            Event::ActClassic(number) => index(number, self.classic.len())
                .into_iter()
                .for_each(|client| self.classic[client].act(&mut self.world)),
            Event::CrashClassic(number) => {
                drop(index(number, self.classic.len()).map(|client| self.classic.remove(client)));
            }
            Event::Leave(number) => {
                if let Some(client) = client(number).map(|client| self.clients.remove(client))
                    && client.epoch > 0
                {
                    self.world.send(&super::world::at(&client.id, -1));
                }
            }
            Event::Crash(number) => drop(client(number).map(|client| self.clients.remove(client))),
            Event::Beat(number) => client(number)
                .into_iter()
                .for_each(|client| self.clients[client].beat(&mut self.world, false)),
            Event::AnswerLost(number) => client(number)
                .into_iter()
                .for_each(|client| self.clients[client].beat(&mut self.world, true)),
            Event::Reconcile(number) => client(number)
                .into_iter()
                .for_each(|client| self.clients[client].reconcile(self.world.now_ms)),
            Event::Subscribe(number, topics) => {
                if let Some(client) = client(number) {
                    self.clients[client].subscribe(some_topics(topics));
                }
            }
            Event::Pass(ms) => self.pass(ms),
            Event::Grow(number) => self.grow(TOPICS[number % TOPICS.len()]),
            Event::Restart => self.world.restart(),
        }
        self.check();
    }

    fn join(&mut self, topics: u8, by_regex: bool) {
        self.joined += 1;
        let (topics, regex) = match by_regex {
            true => (Vec::new(), Some("t.".to_owned())),
            false => (some_topics(topics), None),
        };
        self.clients
            .push(Client::new(format!("m{}", self.joined), topics, regex));
    }

    fn grow(&mut self, topic: &'static str) {
        let count = self.partitions.entry(topic).or_default();
        self.world.add_partitions(topic, *count..*count + 1);
        *count += 1;
        self.world.tell_of_topics();
    }

    /// Nobody is silent for longer than a session or a rebalance lasts.
    fn pass(&mut self, ms: i64) {
        self.world.pass(ms);
        for client in &mut self.clients {
            if self.world.now_ms - client.last_beat_ms.min(client.last_reconciled_ms) > 20_000 {
                client.reconcile(self.world.now_ms);
                client.beat(&mut self.world, false);
            }
        }
        for client in &mut self.classic {
            if self.world.now_ms - client.last_act_ms > 20_000 {
                (0..4).for_each(|_| client.act(&mut self.world));
            }
        }
    }

    fn check(&mut self) {
        let mut all = Owned::new();
        for (id, partition) in self.owned() {
            assert!(
                all.insert(partition),
                "{id} works on what somebody else does: {partition:?}"
            );
        }
        let described = self.world.describe();
        assert!(
            described.group_epoch >= self.group_epoch && described.assignment_epoch <= described.group_epoch
        );
        self.group_epoch = described.group_epoch;
        let replayed = self.world.replayed();
        assert_eq!(self.world.with(|_, ctx, _| replayed.describe(ctx)), described);
    }

    /// Everything that is worked on, with the client that does.
    fn owned(&self) -> impl Iterator<Item = (&str, (Uuid, i32))> {
        let clients = self.clients.iter().map(|client| (&client.id, &client.owned));
        let classic = self.classic.iter().map(|client| (&client.id, &client.owned));
        clients
            .chain(classic)
            .flat_map(|(id, owned)| owned.iter().map(|partition| (id.as_str(), *partition)))
    }

    /// Everybody follows until nothing changes any more.
    fn settle(&mut self) {
        for _ in 0..40 {
            self.world.pass(3_000);
            for client in &mut self.clients {
                client.beat(&mut self.world, false);
                client.reconcile(self.world.now_ms);
                client.beat(&mut self.world, false);
            }
            for client in &mut self.classic {
                (0..4).for_each(|_| client.act(&mut self.world));
            }
            self.check();
        }
    }

    fn wanted(&self) -> Owned {
        let matched = |client: &Client, topic: &str| client.regex.is_some() && topic.starts_with('t');
        let named = |topics: &[String], topic: &str| topics.iter().any(|wanted| wanted == topic);
        let wants = |topic: &str| {
            self.clients
                .iter()
                .any(|client| named(&client.topics, topic) || matched(client, topic))
                || self.classic.iter().any(|client| named(&client.topics, topic))
        };
        let wanted = self.partitions.iter().filter(|(topic, _)| wants(topic));
        wanted
            .flat_map(|(topic, count)| (0..*count).map(|partition| (id_of(topic), partition)))
            .collect()
    }
}

fn some_topics(mask: u8) -> Vec<String> {
    let wanted = TOPICS.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1);
    wanted.map(|(_, topic)| (*topic).to_owned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn partitions_have_one_owner_and_in_the_end_all_have_one(events in prop::collection::vec(event(), 0..120)) {
        let mut simulation = Simulation::new();
        for event in events {
            simulation.act(event);
        }
        simulation.settle();
        let owned: Owned = simulation.owned().map(|(_, partition)| partition).collect();
        prop_assert_eq!(owned, simulation.wanted());
        let nobody = simulation.clients.is_empty() && simulation.classic.is_empty();
        let expected = if nobody { "Empty" } else { "Stable" };
        prop_assert_eq!(simulation.world.group.state_name(), expected);
        simulation.world.restart();
    }
}

#[test]
fn a_thousand_members_of_one_group_write_what_changes_and_no_more() {
    let mut world = World::new(&[("t", 1_000)]);
    let mut clients: Vec<Client> = (0..1_000)
        .map(|number| Client::new(format!("{number:04}"), vec!["t".to_owned()], None))
        .collect();
    for _ in 0..4 {
        for client in &mut clients {
            client.beat(&mut world, false);
            client.reconcile(world.now_ms);
        }
        world.pass(1_000);
    }
    assert!(clients.iter().all(|client| client.owned.len() == 1));
    // Each member's own record, epoch, target and progress; nobody's again and again.
    assert!(world.log.len() < 8_000, "{}", world.log.len());
    let before = world.log.len();
    clients
        .iter_mut()
        .for_each(|client| client.beat(&mut world, false));
    assert_eq!(world.log.len(), before);
}
