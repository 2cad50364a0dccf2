//! Fetch sessions (KIP-227): a client names its partitions once, and after that only what changed crosses the wire. Pure.
//!
//! ```text
//! client: id 0, epoch 0, all partitions     -> answer with everything, and the id of a new session
//!         id s, epoch 1, changes, forgotten -> answer with what changed
//!         id s, epoch 2, ...
//!         id 0 or s, epoch -1               -> no session; ends s
//! ```
//!
//! A session lives on the core of the connection that began it, and its id says which core that is. A client
//! that comes back on a connection of another core is told FETCH_SESSION_ID_NOT_FOUND and starts again with a
//! full request, as after any broker's restart.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use crate::wire::Uuid;

/// A session may be dropped for a new one after being unused for so long. Kafka's MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS.
pub const EVICT_AFTER: Duration = Duration::from_secs(120);

/// How a request names a topic: by name up to version 12, by id from 13 on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TopicRef {
    /// Up to version 12.
    Name(String),
    /// From version 13 on.
    Id(Uuid),
}

/// One partition a fetch asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The topic.
    pub topic: TopicRef,
    /// Index of the partition.
    pub partition: i32,
    /// The epoch the client believes the leader has; -1 when it does not say.
    pub current_leader_epoch: i32,
    /// The first offset wanted.
    pub fetch_offset: i64,
    /// The epoch of the last record the client has; -1 when it does not say.
    pub last_fetched_epoch: i32,
    /// The most bytes wanted from this partition.
    pub max_bytes: i32,
}

/// What the session's fields of a fetch request say.
#[derive(Clone, Copy, Debug)]
pub struct SessionFields {
    /// Id the client sends; 0 for none.
    pub id: i32,
    /// 0 begins a session, -1 does without, any other continues.
    pub epoch: i32,
    /// Whether topics are named by id.
    pub by_id: bool,
}

/// What the answer is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Everything, and no session.
    Sessionless,
    /// Everything, and a new session if there is room.
    Create {
        /// Whether topics are named by id.
        by_id: bool,
    },
    /// What changed.
    Incremental {
        /// The session.
        id: i32,
    },
}

impl Plan {
    /// The session that goes on whatever the answer is, or 0.
    pub fn session_id(self) -> i32 {
        match self {
            Plan::Incremental { id } => id,
            Plan::Sessionless | Plan::Create { .. } => 0,
        }
    }
}

/// Why a session cannot be used. The client then starts again with a full request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionError {
    /// FETCH_SESSION_ID_NOT_FOUND.
    NotFound,
    /// INVALID_FETCH_SESSION_EPOCH.
    Epoch,
    /// FETCH_SESSION_TOPIC_ID_ERROR: the session began with names and goes on with ids, or the reverse.
    TopicId,
}

/// What of a partition's answer the session remembers, to tell the next time whether it changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether records are in the answer.
    pub has_records: bool,
    /// Whether there is something else that must be told: an error, a diverging epoch.
    pub must_tell: bool,
    /// High watermark, -1 when unknown.
    pub high_watermark: i64,
    /// First offset, -1 when unknown.
    pub log_start_offset: i64,
}

#[derive(Debug)]
struct Cached {
    wanted: Wanted,
    /// What was told last; -1 and -1 before the first answer.
    told: (i64, i64),
}

#[derive(Debug)]
struct Session {
    epoch: i32,
    by_id: bool,
    last_used: Instant,
    /// In the order in which the partitions are served.
    order: BTreeMap<u64, Cached>,
    places: HashMap<(TopicRef, i32), u64>,
    next_place: u64,
}

/// The sessions of one core.
#[derive(Debug)]
pub struct Sessions {
    core: i32,
    cores: i32,
    max_sessions: usize,
    max_partitions: usize,
    /// Partitions of all sessions.
    partitions: usize,
    by_id: HashMap<i32, Session>,
}

impl Sessions {
    /// `slots` is `max.incremental.fetch.session.cache.slots`, shared evenly among the cores; `max_partitions` is
    /// `ringlog.core.max.session.partitions`.
    pub fn new(core: usize, cores: usize, slots: usize, max_partitions: usize) -> Sessions {
        let max_sessions = slots.div_ceil(cores);
        Sessions {
            core: core as i32,
            cores: cores as i32,
            max_sessions,
            max_partitions,
            partitions: 0,
            by_id: HashMap::new(),
        }
    }

    /// Starts one fetch: brings the session up to date and lists the partitions to serve, in order.
    ///
    /// # Errors
    /// The session is not known here, or the request does not continue it.
    pub fn begin(
        &mut self,
        fields: SessionFields,
        changed: Vec<Wanted>,
        forgotten: &[(TopicRef, i32)],
        now: Instant,
    ) -> Result<(Plan, Vec<Wanted>), SessionError> {
        if fields.epoch <= 0 {
            // A full request ends the session it names.
            self.end(fields.id);
            let plan = if fields.epoch == 0 {
                Plan::Create { by_id: fields.by_id }
            } else {
                Plan::Sessionless
            };
            return Ok((plan, changed));
        }
        let session = self.by_id.get_mut(&fields.id).ok_or(SessionError::NotFound)?;
        if session.epoch != fields.epoch {
            return Err(SessionError::Epoch);
        }
        if session.by_id != fields.by_id {
            return Err(SessionError::TopicId);
        }
        let before = session.order.len();
        session.update(&changed, forgotten);
        let after = session.order.len();
        self.partitions = self.partitions - before + after;
        if after == 0 {
            self.end(fields.id);
            return Ok((Plan::Sessionless, changed));
        }
        if self.partitions > self.max_partitions && after > before {
            // Its client names all partitions again, and goes on without a session.
            self.end(fields.id);
            return Err(SessionError::NotFound);
        }
        let session = self.by_id.get_mut(&fields.id).ok_or(SessionError::NotFound)?;
        session.last_used = now;
        session.epoch = next_epoch(session.epoch);
        let wanted = session
            .order
            .values()
            .map(|cached| cached.wanted.clone())
            .collect();
        Ok((Plan::Incremental { id: fields.id }, wanted))
    }

    /// Ends one fetch. Returns the session id to answer with, and for each partition whether it belongs in the
    /// answer. `outcomes` are in the order of `wanted`, which is what `begin` returned.
    pub fn finish(
        &mut self,
        plan: Plan,
        wanted: &[Wanted],
        outcomes: &[Outcome],
        now: Instant,
    ) -> (i32, Vec<bool>) {
        match plan {
            Plan::Sessionless => (0, vec![true; wanted.len()]),
            Plan::Create { by_id } => {
                let id = self.create(by_id, wanted, outcomes, now).unwrap_or(0);
                (id, vec![true; wanted.len()])
            }
            Plan::Incremental { id } => match self.by_id.get_mut(&id) {
                Some(session) => (id, session.tell(wanted, outcomes)),
                // Evicted while the fetch waited: the answer is whole, and the next request starts again.
                None => (id, vec![true; wanted.len()]),
            },
        }
    }

    fn create(&mut self, by_id: bool, wanted: &[Wanted], outcomes: &[Outcome], now: Instant) -> Option<i32> {
        if wanted.is_empty() || !self.make_room(wanted.len(), now) {
            return None;
        }
        let id = self.free_id()?;
        let mut session = Session::new(by_id, now);
        session.update(wanted, &[]);
        session.tell(wanted, outcomes);
        self.partitions += session.order.len();
        self.by_id.insert(id, session);
        Some(id)
    }

    fn end(&mut self, id: i32) {
        if let Some(session) = self.by_id.remove(&id) {
            self.partitions -= session.order.len();
        }
    }

    /// Whether one more session of so many partitions fits, after dropping those longest unused that may be dropped.
    fn make_room(&mut self, partitions: usize, now: Instant) -> bool {
        loop {
            if self.by_id.len() < self.max_sessions && self.partitions + partitions <= self.max_partitions {
                return true;
            }
            let oldest = self.by_id.iter().min_by_key(|(_, session)| session.last_used);
            match oldest.map(|(id, session)| (*id, session.last_used)) {
                Some((id, last_used)) if now.saturating_duration_since(last_used) > EVICT_AFTER => {
                    self.end(id);
                }
                _ => return false,
            }
        }
    }

    /// A random positive id of this core that is not in use.
    fn free_id(&self) -> Option<i32> {
        for _ in 0..64 {
            let random = (getrandom::u32().ok()? >> 1) as i32;
            let id = (random - random % self.cores)
                .checked_add(self.core)
                .filter(|id| *id > 0);
            if let Some(id) = id.filter(|id| !self.by_id.contains_key(id)) {
                return Some(id);
            }
        }
        None
    }
}

impl Session {
    fn new(by_id: bool, now: Instant) -> Session {
        Session {
            epoch: 1,
            by_id,
            last_used: now,
            order: BTreeMap::new(),
            places: HashMap::new(),
            next_place: 0,
        }
    }

    fn update(&mut self, changed: &[Wanted], forgotten: &[(TopicRef, i32)]) {
        for wanted in changed {
            let key = (wanted.topic.clone(), wanted.partition);
            match self.places.get(&key).and_then(|place| self.order.get_mut(place)) {
                Some(cached) => cached.wanted = wanted.clone(),
                None => self.append(
                    key,
                    Cached {
                        wanted: wanted.clone(),
                        told: (-1, -1),
                    },
                ),
            }
        }
        for key in forgotten {
            if let Some(place) = self.places.remove(key) {
                self.order.remove(&place);
            }
        }
    }

    fn append(&mut self, key: (TopicRef, i32), cached: Cached) {
        self.places.insert(key, self.next_place);
        self.order.insert(self.next_place, cached);
        self.next_place += 1;
    }

    /// Remembers what is told now. Partitions that brought records go to the end, so that all get their turn.
    fn tell(&mut self, wanted: &[Wanted], outcomes: &[Outcome]) -> Vec<bool> {
        wanted
            .iter()
            .zip(outcomes)
            .map(|(wanted, outcome)| self.tell_one(wanted, outcome))
            .collect()
    }

    fn tell_one(&mut self, wanted: &Wanted, outcome: &Outcome) -> bool {
        let key = (wanted.topic.clone(), wanted.partition);
        let Some(cached) = self.places.get(&key).and_then(|place| self.order.get_mut(place)) else {
            return true;
        };
        let now = (outcome.high_watermark, outcome.log_start_offset);
        let changed = std::mem::replace(&mut cached.told, now) != now;
        if outcome.must_tell {
            // Told again with the next answer, even when nothing else moves: the error may be gone by then.
            cached.told = (-1, -1);
        }
        if outcome.has_records
            && let Some(place) = self.places.remove(&key)
            && let Some(cached) = self.order.remove(&place)
        {
            self.append(key, cached);
        }
        changed || outcome.must_tell || outcome.has_records
    }
}

/// After `i32::MAX` comes 1: 0 and -1 mean something else.
fn next_epoch(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(partition: i32, fetch_offset: i64) -> Wanted {
        Wanted {
            topic: TopicRef::Name("t".to_owned()),
            partition,
            current_leader_epoch: -1,
            fetch_offset,
            last_fetched_epoch: -1,
            max_bytes: 1 << 20,
        }
    }

    fn key(partition: i32) -> (TopicRef, i32) {
        (TopicRef::Name("t".to_owned()), partition)
    }

    fn outcome(records: bool, high_watermark: i64) -> Outcome {
        Outcome {
            has_records: records,
            must_tell: false,
            high_watermark,
            log_start_offset: 0,
        }
    }

    fn fields(id: i32, epoch: i32) -> SessionFields {
        SessionFields {
            id,
            epoch,
            by_id: false,
        }
    }

    fn partitions(wanted: &[Wanted]) -> Vec<i32> {
        wanted.iter().map(|w| w.partition).collect()
    }

    /// A session over partitions 0 to 2 whose high watermarks were told as 10.
    fn begun(sessions: &mut Sessions, now: Instant) -> i32 {
        let all: Vec<Wanted> = (0..3).map(|p| wanted(p, 0)).collect();
        let (plan, list) = sessions
            .begin(fields(0, 0), all, &[], now)
            .expect("a full request");
        assert_eq!(plan, Plan::Create { by_id: false });
        let (id, included) = sessions.finish(plan, &list, &[outcome(false, 10); 3], now);
        assert_eq!(included, [true; 3]);
        assert!(id > 0);
        id
    }

    #[test]
    fn only_changes_are_told() {
        let (mut sessions, now) = (Sessions::new(1, 2, 10, 100), Instant::now());
        let id = begun(&mut sessions, now);
        assert_eq!(id % 2, 1, "the id says on which core the session lives");
        let (plan, list) = sessions
            .begin(fields(id, 1), vec![wanted(1, 5)], &[], now)
            .expect("epoch 1");
        assert_eq!(
            (plan, partitions(&list)),
            (Plan::Incremental { id }, vec![0, 1, 2])
        );
        assert_eq!(list[1].fetch_offset, 5);
        let outcomes = [outcome(true, 10), outcome(false, 11), outcome(false, 10)];
        assert_eq!(
            sessions.finish(plan, &list, &outcomes, now),
            (id, vec![true, true, false])
        );
        // The partition that brought records went to the end; forgotten ones go.
        let (_, list) = sessions
            .begin(fields(id, 2), vec![wanted(7, 0)], &[key(1)], now)
            .expect("epoch 2");
        assert_eq!(partitions(&list), [2, 0, 7]);
    }

    #[test]
    fn errors_are_told_each_time_and_recovery_too() {
        let (mut sessions, now) = (Sessions::new(0, 1, 10, 100), Instant::now());
        let id = begun(&mut sessions, now);
        let failed = Outcome {
            must_tell: true,
            high_watermark: -1,
            log_start_offset: -1,
            ..outcome(false, 0)
        };
        for (epoch, first, told) in [
            (1, failed, true),
            (2, failed, true),
            (3, outcome(false, 10), true),
            (4, outcome(false, 10), false),
        ] {
            let (plan, list) = sessions
                .begin(fields(id, epoch), vec![], &[], now)
                .expect("continues");
            let outcomes = [first, outcome(false, 10), outcome(false, 10)];
            assert_eq!(
                sessions.finish(plan, &list, &outcomes, now).1,
                [told, false, false],
                "epoch {epoch}"
            );
        }
    }

    #[test]
    fn wrong_continuations_are_refused() {
        let (mut sessions, now) = (Sessions::new(0, 1, 10, 100), Instant::now());
        let id = begun(&mut sessions, now);
        let refused = |sessions: &mut Sessions, fields| sessions.begin(fields, vec![], &[], now).err();
        assert_eq!(
            refused(&mut sessions, fields(id.wrapping_add(1).max(1), 1)),
            Some(SessionError::NotFound)
        );
        assert_eq!(refused(&mut sessions, fields(id, 2)), Some(SessionError::Epoch));
        let by_id = SessionFields {
            by_id: true,
            ..fields(id, 1)
        };
        assert_eq!(refused(&mut sessions, by_id), Some(SessionError::TopicId));
        // Ending it makes it unknown.
        assert_eq!(
            sessions.begin(fields(id, -1), vec![], &[], now),
            Ok((Plan::Sessionless, vec![]))
        );
        assert_eq!(
            refused(&mut sessions, fields(id, 1)),
            Some(SessionError::NotFound)
        );
    }

    #[test]
    fn a_session_that_forgets_everything_ends() {
        let (mut sessions, now) = (Sessions::new(0, 1, 10, 100), Instant::now());
        let id = begun(&mut sessions, now);
        let all = [key(0), key(1), key(2)];
        assert_eq!(
            sessions.begin(fields(id, 1), vec![], &all, now),
            Ok((Plan::Sessionless, vec![]))
        );
        assert_eq!(
            sessions.begin(fields(id, 2), vec![], &[], now),
            Err(SessionError::NotFound)
        );
    }

    #[test]
    fn a_full_cache_gives_up_only_what_is_unused() {
        let (mut sessions, now) = (Sessions::new(0, 1, 1, 100), Instant::now());
        let id = begun(&mut sessions, now);
        let plan = Plan::Create { by_id: false };
        let one = [wanted(0, 0)];
        assert_eq!(
            sessions
                .finish(plan, &one, &[outcome(false, 1)], now + EVICT_AFTER)
                .0,
            0
        );
        let later = now + EVICT_AFTER + Duration::from_secs(1);
        assert!(sessions.finish(plan, &one, &[outcome(false, 1)], later).0 > 0);
        assert_eq!(
            sessions.begin(fields(id, 1), vec![], &[], later),
            Err(SessionError::NotFound)
        );
    }

    #[test]
    fn what_all_sessions_remember_is_bounded() {
        let (mut sessions, now) = (Sessions::new(0, 1, 10, 5), Instant::now());
        let id = begun(&mut sessions, now);
        let plan = Plan::Create { by_id: false };
        let three: Vec<Wanted> = (0..3).map(|p| wanted(p, 0)).collect();
        let (none, included) = sessions.finish(plan, &three, &[outcome(false, 1); 3], now);
        assert_eq!(
            (none, included),
            (0, vec![true; 3]),
            "answered, and not remembered"
        );
        // Others for those forgotten are no more than there were.
        let more = |from: i32, to: i32| (from..to).map(|p| wanted(p, 0)).collect();
        assert!(sessions.begin(fields(id, 1), more(3, 6), &[key(0)], now).is_ok());
        assert_eq!(sessions.partitions, 5);
        let grown = sessions.begin(fields(id, 2), more(6, 7), &[], now);
        assert_eq!((grown, sessions.partitions), (Err(SessionError::NotFound), 0));
        assert!(sessions.finish(plan, &three, &[outcome(false, 1); 3], now).0 > 0);
        // What is long unused makes room.
        let later = now + EVICT_AFTER + Duration::from_secs(1);
        assert!(sessions.finish(plan, &three, &[outcome(false, 1); 3], later).0 > 0);
        assert_eq!(sessions.partitions, 3);
    }

    #[test]
    fn epochs_wrap_to_one() {
        assert_eq!([next_epoch(1), next_epoch(i32::MAX)], [2, 1]);
    }
}
