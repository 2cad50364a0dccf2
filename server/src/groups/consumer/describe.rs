//! ConsumerGroupDescribe of one group.

use super::group::ConsumerGroup;
use super::member::Member;
use super::partitions;
use crate::groups::Ctx;
use crate::groups::assignor::Partitions;
use crate::metadata::MetadataImage;
use crate::wire::consumer_group_describe as describe;

/// `member_type` of a member of the classic protocol.
const CLASSIC: i8 = 0;
/// `member_type` of a member of the new protocol.
const CONSUMER: i8 = 1;

impl ConsumerGroup {
    /// State, members, and what they have and shall have. Topics that are gone are left out.
    pub fn describe(&self, ctx: &Ctx<'_>) -> describe::DescribedGroup {
        describe::DescribedGroup {
            group_id: self.id.as_ref().to_owned(),
            group_state: self.state_name().to_owned(),
            group_epoch: self.group_epoch(),
            assignment_epoch: self.target.epoch,
            assignor_name: self.preferred_assignor(ctx).name().to_owned(),
            members: self
                .members
                .values()
                .map(|member| self.describe_member(member, ctx.image))
                .collect(),
            ..Default::default()
        }
    }

    fn describe_member(&self, member: &Member, image: &MetadataImage) -> describe::Member {
        let mut has = partitions::without_epochs(&member.assigned);
        for (topic, partitions) in &member.pending_revocation {
            has.entry(*topic).or_default().extend(partitions.keys());
        }
        let target = self.target.members.get(&member.id);
        describe::Member {
            member_id: member.id.as_ref().to_owned(),
            instance_id: member.instance_id.clone(),
            rack_id: member.rack_id.clone(),
            member_epoch: member.epoch,
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            subscribed_topic_names: member.topic_names.iter().cloned().collect(),
            subscribed_topic_regex: member.topic_regex.clone(),
            assignment: assignment(&has, image),
            target_assignment: target.map(|target| assignment(target, image)).unwrap_or_default(),
            member_type: if member.uses_classic_protocol() {
                CLASSIC
            } else {
                CONSUMER
            },
        }
    }
}

fn assignment(partitions: &Partitions, image: &MetadataImage) -> describe::Assignment {
    let topic_partitions = partitions.iter().filter_map(|(topic, partitions)| {
        let topic = image.topic_by_id(*topic)?;
        Some(describe::TopicPartitions {
            topic_id: topic.id,
            topic_name: topic.name.as_ref().to_owned(),
            partitions: partitions.iter().copied().collect(),
        })
    });
    describe::Assignment {
        topic_partitions: topic_partitions.collect(),
    }
}
