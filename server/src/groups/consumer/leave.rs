//! A member leaves: for good, or, if it is static, for a while.

use super::group::ConsumerGroup;
use super::heartbeat::refuse_other_member;
use super::{LEAVE_STATIC_EPOCH, Refusal};
use crate::groups::Ctx;
use crate::groups::timers::{Timer, Timers};
use crate::wire::code::ErrorCode;
use crate::wire::consumer_group_heartbeat::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use crate::wire::group_records::GroupRecord;

impl ConsumerGroup {
    pub(super) fn leave(
        &mut self,
        ctx: &Ctx<'_>,
        timers: &mut Timers,
        request: &ConsumerGroupHeartbeatRequest,
        records: &mut Vec<GroupRecord>,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        if !self.exists() {
            return Err(Refusal::new(
                ErrorCode::GroupIdNotFound,
                format!("Group {} not found.", self.id),
            ));
        }
        let member = match &request.instance_id {
            None => self.member(&request.member_id)?,
            Some(instance_id) => {
                let member = self.static_member(instance_id).ok_or_else(|| {
                    Refusal::new(
                        ErrorCode::UnknownMemberId,
                        format!("Instance id {instance_id} is unknown."),
                    )
                })?;
                refuse_other_member(member, &request.member_id, instance_id)?;
                member
            }
        };
        let member_id = member.id.clone();
        if request.instance_id.is_some() && request.member_epoch == LEAVE_STATIC_EPOCH {
            self.leave_for_a_while(timers, &member_id, records);
        } else {
            self.fence(ctx, timers, records, &[member_id]);
        }
        Ok(ConsumerGroupHeartbeatResponse {
            member_id: Some(request.member_id.clone()),
            member_epoch: request.member_epoch,
            ..Default::default()
        })
    }

    /// Keeps a static member's partitions for when it is back, which must be before its session ends. What it was giving back it has given
    /// back. It begins again at epoch 0, and with that epoch it may commit what it keeps.
    fn leave_for_a_while(&mut self, timers: &mut Timers, member_id: &str, records: &mut Vec<GroupRecord>) {
        let Some(member) = self.members.get(member_id) else {
            return;
        };
        let mut member = member.clone();
        member.epoch = LEAVE_STATIC_EPOCH;
        member.pending_revocation.clear();
        for epoch in member
            .assigned
            .values_mut()
            .flat_map(|partitions| partitions.values_mut())
        {
            *epoch = 0;
        }
        let record = self.progress_record(member_id, Some(&member));
        self.write(records, record);
        timers.cancel(&Timer::Rebalance(self.id.clone(), member_id.into()));
    }
}
