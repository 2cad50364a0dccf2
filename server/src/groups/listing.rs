//! DescribeGroups, ListGroups and DeleteGroups.

use std::collections::HashSet;

use crate::wire::ErrorCode;
use crate::wire::delete_groups::DeletableGroupResult;
use crate::wire::describe_groups::DescribedGroup;
use crate::wire::list_groups::ListedGroup;

use super::classic::DEAD;
use super::group::Group;
use super::{Caller, Coordinator, Ctx, GroupResponse, Step};

/// The version from which a group that is not found is an error of DescribeGroups (KIP-1043).
const NOT_FOUND_FROM: i16 = 6;

impl<T> Coordinator<T> {
    /// DescribeGroups of one group. A group of the new protocol is not found.
    pub(super) fn describe(&self, version: i16, group_id: String) -> DescribedGroup {
        let message = match self.groups.get(group_id.as_str()) {
            Some(Group::Classic(group)) => return group.describe(),
            Some(Group::Consumer(_)) => format!("Group {group_id} is not a classic group."),
            None => format!("Group {group_id} not found."),
        };
        let mut answer = DescribedGroup {
            group_id,
            group_state: DEAD.to_owned(),
            ..Default::default()
        };
        if version >= NOT_FOUND_FROM {
            answer.error_code = ErrorCode::GroupIdNotFound.code();
            answer.error_message = Some(message);
        }
        answer
    }

    /// ListGroups (KIP-518, KIP-848). Names of states and types are compared without regard to case; one that is none matches nothing.
    pub(super) fn list(&self, states: &[String], types: &[String]) -> Vec<ListedGroup> {
        let states: HashSet<String> = states.iter().map(|name| name.trim().to_lowercase()).collect();
        let types: HashSet<String> = types.iter().map(|name| name.to_lowercase()).collect();
        let wanted = |group: &Group<T>| {
            (states.is_empty() || states.contains(&group.state_name().to_lowercase()))
                && (types.is_empty() || types.contains(group.type_name()))
        };
        let listed = self.groups.iter().filter(|(_, group)| wanted(group));
        let listed = listed.map(|(id, group)| ListedGroup {
            group_id: id.to_string(),
            protocol_type: group.protocol_type().to_owned(),
            group_state: group.state_name().to_owned(),
            group_type: group.type_name().to_owned(),
        });
        listed.collect()
    }

    /// DeleteGroups of one group: its offsets go first.
    pub(super) fn delete(&mut self, ctx: &mut Ctx<'_>, caller: Caller<T>, group_id: String) -> Step<T> {
        let mut step = Step::default();
        let checked = match self.groups.get(group_id.as_str()) {
            None => Err(ErrorCode::GroupIdNotFound),
            Some(group) => group.check_delete(),
        };
        if checked.is_ok() {
            for record in self.offsets.tombstones(&group_id) {
                self.apply(record, &mut step);
            }
            self.remove_if_empty(ctx, &group_id, &mut step);
        }
        let error = checked.err().unwrap_or_default();
        let result = DeletableGroupResult {
            group_id,
            error_code: error.code(),
        };
        step.replies.push((caller.to, GroupResponse::Delete(result)));
        step
    }
}
