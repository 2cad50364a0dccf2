//! A member of a classic group in a storm: at each of its turns it does what a consumer would have to do next.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;

use super::counts::{Counts, count};
use super::group::Group;
use crate::client::connection::{Connection, check};
use crate::client::groups::{self, is_not_yet};
use crate::error::Error;

/// What a member is told when it has to join again: as itself, or as somebody new.
const ILLEGAL_GENERATION: i16 = 22;
const REBALANCE_IN_PROGRESS: i16 = 27;
const UNKNOWN_MEMBER_ID: i16 = 25;

/// How far a member is in its generation.
enum Stand {
    /// It has to join.
    Out,
    /// It has joined; what it hands out, if it leads.
    Joined(Vec<(StrBytes, Bytes)>),
    /// It has its assignment.
    Stable,
}

/// A member.
pub struct ClassicMember {
    group: Rc<Group>,
    counts: Arc<Counts>,
    number: u32,
    own: groups::Member,
    stand: Stand,
}

impl ClassicMember {
    /// Member `number` of a group, which has not joined.
    pub fn new(group: Rc<Group>, counts: Arc<Counts>, number: u32) -> ClassicMember {
        ClassicMember {
            own: groups::Member::new(&group.name),
            group,
            counts,
            number,
            stand: Stand::Out,
        }
    }

    /// One request and its answer.
    ///
    /// # Errors
    /// The connection broke, or the member was told something that no member should be.
    pub async fn turn(&mut self, connection: &mut Connection) -> Result<(), Error> {
        // whatever it is refused, it joins again
        let code = match std::mem::replace(&mut self.stand, Stand::Out) {
            Stand::Out => self.join(connection).await?,
            Stand::Joined(assignments) => self.sync(connection, assignments).await?,
            Stand::Stable if self.group.churn.leaves(self.number, self.own.generation) => {
                self.leave(connection).await?
            }
            Stand::Stable => self.heartbeat(connection).await?,
        };
        match code {
            0 | ILLEGAL_GENERATION | REBALANCE_IN_PROGRESS => Ok(()),
            UNKNOWN_MEMBER_ID => {
                self.own = groups::Member::new(&self.group.name);
                Ok(())
            }
            code if is_not_yet(code) => Ok(()),
            code => check(&format!("a member of group {}", self.group.name), code, None),
        }
    }

    async fn join(&mut self, connection: &mut Connection) -> Result<i16, Error> {
        let joined = match self.own.join(connection, &self.group.about).await? {
            Ok(joined) => joined,
            Err(code) => return Ok(code),
        };
        count(&self.counts.joins);
        // only the leader is told who the others are
        let members = joined.members.into_iter().map(|member| member.member_id);
        self.stand = Stand::Joined(self.group.deal(members)?);
        Ok(0)
    }

    async fn sync(
        &mut self,
        connection: &mut Connection,
        assignments: Vec<(StrBytes, Bytes)>,
    ) -> Result<i16, Error> {
        let code = self.own.sync(connection, assignments).await?;
        if code == 0 {
            count(&self.counts.syncs);
            self.group.came_to(self.own.generation);
            self.stand = Stand::Stable;
        }
        Ok(code)
    }

    async fn heartbeat(&mut self, connection: &mut Connection) -> Result<i16, Error> {
        let code = self.own.heartbeat(connection).await?;
        count(&self.counts.heartbeats);
        if code == 0 {
            self.stand = Stand::Stable;
        }
        Ok(code)
    }

    async fn leave(&mut self, connection: &mut Connection) -> Result<i16, Error> {
        let code = self.own.leave(connection).await?;
        if code == 0 {
            count(&self.counts.leaves);
            self.own = groups::Member::new(&self.group.name);
        }
        Ok(code)
    }
}
