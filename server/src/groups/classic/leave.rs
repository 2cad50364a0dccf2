//! LeaveGroup: members go, many at once if an administrator removes them (KIP-345).

use std::sync::Arc;

use crate::wire::ErrorCode;
use crate::wire::leave_group::MemberIdentity;

use crate::groups::rebalances::{Cause, Why};
use crate::groups::work::Work;

use super::{ClassicGroup, State};

impl<T> ClassicGroup<T> {
    /// Takes members out, and begins a rebalance if any was there. What each is answered, in their order.
    pub fn leave(&mut self, work: &mut Work<'_, '_, T>, members: &[MemberIdentity]) -> Vec<ErrorCode> {
        let mut errors = Vec::with_capacity(members.len());
        let mut first: Option<(Arc<str>, Option<&str>)> = None;
        for leaving in members {
            errors.push(match self.leaver(leaving) {
                Ok(id) => {
                    self.remove(work, &id);
                    first.get_or_insert((id, leaving.reason.as_deref()));
                    ErrorCode::None
                }
                Err(error) => error,
            });
        }
        if let Some((id, reason)) = first.filter(|_| self.state != State::Empty) {
            let why = Why {
                cause: Cause::Left,
                member_id: Some(&id),
                reason,
            };
            self.rebalance(work, why);
        }
        errors
    }

    /// Who is meant. A static member may be named by its instance id alone.
    fn leaver(&self, leaving: &MemberIdentity) -> Result<Arc<str>, ErrorCode> {
        let instance_id = leaving.group_instance_id.as_deref();
        if leaving.member_id.is_empty() {
            let id = instance_id.and_then(|instance_id| self.members.instance(instance_id));
            return id.cloned().ok_or(ErrorCode::UnknownMemberId);
        }
        if !self.pending_join.contains(leaving.member_id.as_str()) {
            self.check_member(&leaving.member_id, instance_id)?;
        }
        Ok(leaving.member_id.as_str().into())
    }
}
