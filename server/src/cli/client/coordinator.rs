//! Asking about groups: their coordinators are found first, asked for many groups at a time, and looked for again when they have moved.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};
use std::time::Instant;

use super::{Backoff, CallError, Client, describe, is_retriable};
use crate::cli::error::{CliError, CliResult};
use crate::wire::Request;
use crate::wire::code::ErrorCode;
use crate::wire::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};

/// Groups in one request: few requests for many groups, and none whose answer takes long.
const MOST_GROUPS: usize = 200;
/// The version from which FindCoordinator carries many keys (KIP-699).
const MANY_KEYS_FROM: i16 = 4;
/// What FindCoordinator calls a group.
const GROUP_KEY: i8 = 0;

/// What can be asked of a coordinator about several groups at once.
pub trait GroupQuestion {
    /// The request that carries it.
    type Asked: Request;
    /// What is learnt of one group.
    type Answer;
    /// The newest version to ask in.
    const NEWEST: i16;
    /// The version from which a request carries more than one group.
    const MANY_FROM: i16;

    /// Asks for these groups: one only, in versions before [`GroupQuestion::MANY_FROM`].
    fn request(&self, groups: &[String]) -> Self::Asked;

    /// What the response says of the groups asked for.
    fn answers(
        &self,
        groups: &[String],
        response: <Self::Asked as Request>::Response,
    ) -> Vec<GroupAnswer<Self::Answer>>;
}

/// One group's part of a response.
pub type GroupAnswer<T> = (String, Outcome<T>);

/// What came of a question about one group.
pub type Outcome<T> = Result<T, GroupRefusal>;

/// Why a coordinator does not answer for a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRefusal {
    /// Kafka's error number.
    pub code: i16,
    /// The broker's own words, where it sent some.
    pub message: Option<String>,
}

impl GroupRefusal {
    /// A refusal without words.
    pub fn new(code: ErrorCode) -> Self {
        Self {
            code: code.code(),
            message: None,
        }
    }

    /// `outcome`, unless the response carries an error for the group.
    pub fn or<T>(code: i16, message: Option<String>, outcome: T) -> Outcome<T> {
        match code {
            0 => Ok(outcome),
            code => Err(Self { code, message }),
        }
    }

    /// The error by name.
    pub fn error(&self) -> ErrorCode {
        ErrorCode::from_code(self.code)
    }
}

impl Display for GroupRefusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&describe(self.code, self.message.as_deref()))
    }
}

impl Client {
    /// What the coordinators say of each of these groups. A coordinator that does not know the request at all refuses with
    /// `UNSUPPORTED_VERSION`; whatever passes by itself is waited for, within the timeout.
    pub fn ask_groups<Q: GroupQuestion>(
        &mut self,
        question: &Q,
        groups: &BTreeSet<String>,
    ) -> CliResult<BTreeMap<String, Outcome<Q::Answer>>> {
        let mut round = Round {
            question,
            waiting: groups.clone(),
            answered: BTreeMap::new(),
            obstacle: "it has no coordinator".to_owned(),
        };
        let mut backoff = Backoff::new(self.timeout());
        loop {
            round.find(self, backoff.deadline())?;
            round.ask(self, backoff.deadline())?;
            let Some(first) = round.waiting.first() else {
                return Ok(round.answered);
            };
            if !backoff.pause() {
                return Err(CliError::Unreachable(format!(
                    "nothing learnt of group {first:?} in time: {}",
                    round.obstacle
                )));
            }
        }
    }

    /// What the coordinator says of one group.
    pub fn ask_group<Q: GroupQuestion>(
        &mut self,
        question: &Q,
        group: &str,
    ) -> CliResult<Outcome<Q::Answer>> {
        let groups = BTreeSet::from([group.to_owned()]);
        let missing = || GroupRefusal::new(ErrorCode::CoordinatorNotAvailable);
        let mut answered = self.ask_groups(question, &groups)?;
        Ok(answered.remove(group).unwrap_or_else(|| Err(missing())))
    }

    /// The number of the broker that was last seen to coordinate a group.
    pub fn coordinator_of(&self, group: &str) -> Option<i32> {
        self.coordinators.get(group).copied()
    }

    /// Asks any broker who coordinates these groups.
    fn find_coordinators(
        &mut self,
        groups: &[String],
        deadline: Instant,
    ) -> Result<Vec<Coordinator>, CallError> {
        let address = self.any(deadline)?;
        self.with(&address, deadline, |connection| {
            let version = connection.version_of::<FindCoordinatorRequest>(i16::MAX)?;
            let at_once = if version >= MANY_KEYS_FROM { MOST_GROUPS } else { 1 };
            let mut found = Vec::new();
            for keys in groups.chunks(at_once) {
                let response = connection.call(&find_request(keys), deadline)?;
                found.extend(coordinators(keys, response));
            }
            Ok(found)
        })
    }
}

fn find_request(keys: &[String]) -> FindCoordinatorRequest {
    FindCoordinatorRequest {
        key: keys.first().cloned().unwrap_or_default(),
        key_type: GROUP_KEY,
        coordinator_keys: keys.to_vec(),
    }
}

/// The answers, those of versions before 4 in the form of later ones.
fn coordinators(keys: &[String], response: FindCoordinatorResponse) -> Vec<Coordinator> {
    if !response.coordinators.is_empty() {
        return response.coordinators;
    }
    vec![Coordinator {
        key: keys.first().cloned().unwrap_or_default(),
        node_id: response.node_id,
        host: response.host,
        port: response.port,
        error_code: response.error_code,
        error_message: response.error_message,
    }]
}

/// The groups not answered for yet, and the last reason why.
struct Round<'a, Q: GroupQuestion> {
    question: &'a Q,
    waiting: BTreeSet<String>,
    answered: BTreeMap<String, Outcome<Q::Answer>>,
    obstacle: String,
}

impl<Q: GroupQuestion> Round<'_, Q> {
    /// Looks for the coordinators that are not known.
    fn find(&mut self, client: &mut Client, deadline: Instant) -> CliResult<()> {
        let unknown = |group: &&String| client.coordinator_of(group).is_none();
        let unknown: Vec<String> = self.waiting.iter().filter(unknown).cloned().collect();
        if unknown.is_empty() {
            return Ok(());
        }
        match client.find_coordinators(&unknown, deadline) {
            Ok(found) => {
                for coordinator in found {
                    self.take_coordinator(client, coordinator);
                }
            }
            Err(error) if error.is_retriable() => self.obstacle = error.to_string(),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn take_coordinator(&mut self, client: &mut Client, found: Coordinator) {
        match GroupRefusal::or(found.error_code, found.error_message, found.node_id) {
            Ok(id) => {
                client.learn_broker(id, &found.host, found.port);
                client.coordinators.insert(found.key, id);
            }
            Err(refusal) => self.take_refusal(found.key, refusal),
        }
    }

    /// Asks each coordinator for its groups. One that cannot be reached may not be the coordinator any more.
    fn ask(&mut self, client: &mut Client, deadline: Instant) -> CliResult<()> {
        let mut by_coordinator: BTreeMap<i32, Vec<String>> = BTreeMap::new();
        for group in &self.waiting {
            if let Some(id) = client.coordinator_of(group) {
                by_coordinator.entry(id).or_default().push(group.clone());
            }
        }
        for (id, groups) in by_coordinator {
            match self.ask_one(client, id, &groups, deadline) {
                Ok(()) => {}
                Err(error @ CallError::Version { .. }) => self.refuse_all(&groups, &error),
                Err(error) if error.is_retriable() => {
                    self.obstacle = error.to_string();
                    client.coordinators.retain(|_, coordinator| *coordinator != id);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn ask_one(
        &mut self,
        client: &mut Client,
        id: i32,
        groups: &[String],
        deadline: Instant,
    ) -> Result<(), CallError> {
        let mut answers = Vec::new();
        let result = client.with_broker(id, deadline, |connection| {
            let version = connection.version_of::<Q::Asked>(Q::NEWEST)?;
            let at_once = if version >= Q::MANY_FROM { MOST_GROUPS } else { 1 };
            for groups in groups.chunks(at_once) {
                let pending = connection.send(&self.question.request(groups), Q::NEWEST, deadline)?;
                let response = connection.receive(&pending, deadline)?;
                answers.extend(self.question.answers(groups, response));
            }
            Ok(())
        });
        // What was answered before a connection broke is not asked again: a group is deleted once.
        for (group, outcome) in answers {
            self.take(client, group, outcome);
        }
        result
    }

    fn take(&mut self, client: &mut Client, group: String, outcome: Outcome<Q::Answer>) {
        match outcome {
            Ok(answer) if self.waiting.remove(&group) => drop(self.answered.insert(group, Ok(answer))),
            Ok(_) => {}
            Err(refusal) => {
                if is_retriable(refusal.code) {
                    client.coordinators.remove(&group);
                }
                self.take_refusal(group, refusal);
            }
        }
    }

    fn take_refusal(&mut self, group: String, refusal: GroupRefusal) {
        if is_retriable(refusal.code) {
            self.obstacle = refusal.to_string();
        } else if self.waiting.remove(&group) {
            self.answered.insert(group, Err(refusal));
        }
    }

    fn refuse_all(&mut self, groups: &[String], error: &CallError) {
        for group in groups {
            let refusal = GroupRefusal {
                code: ErrorCode::UnsupportedVersion.code(),
                message: Some(error.to_string()),
            };
            self.take_refusal(group.clone(), refusal);
        }
    }
}
