//! A classic group as DescribeGroups and ListGroups show it.

use bytes::Bytes;

use crate::wire::describe_groups::{DescribedGroup, DescribedGroupMember};

use super::{ClassicGroup, State};

impl<T> ClassicGroup<T> {
    /// State and members. What members say is shown while the group is stable: until then it may be of no use to whoever reads it.
    pub fn describe(&self) -> DescribedGroup {
        let protocol = self.protocol.as_deref().filter(|_| self.state == State::Stable);
        let members = self.members.iter().map(|member| DescribedGroupMember {
            member_id: member.id.to_string(),
            group_instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            member_metadata: protocol.map_or_else(Bytes::new, |protocol| member.metadata(protocol)),
            member_assignment: member.assignment.clone(),
        });
        DescribedGroup {
            group_id: self.id.to_string(),
            group_state: self.state.name().to_owned(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol_data: protocol.unwrap_or_default().to_owned(),
            members: members.collect(),
            ..Default::default()
        }
    }
}
