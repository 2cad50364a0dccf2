//! OffsetDelete (KIP-496).

use std::collections::HashMap;

use crate::groups::group::Group;
use crate::groups::{Caller, Coordinator, Ctx, GroupResponse, Step};
use crate::wire::ErrorCode;
use crate::wire::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};

use super::tombstone;

impl<T> Coordinator<T> {
    /// OffsetDelete. A partition without an offset is deleted as well; with one go those of transactions that have not ended.
    pub(in crate::groups) fn delete_offsets(
        &mut self,
        ctx: &Ctx<'_>,
        caller: Caller<T>,
        request: OffsetDeleteRequest,
    ) -> Step<T> {
        if let Err(error) = self.check_delete_offsets(&request.group_id) {
            let response = OffsetDeleteResponse {
                error_code: error.code(),
                ..Default::default()
            };
            return Step::reply(caller.to, GroupResponse::DeleteOffsets(response));
        }
        let mut step = Step::default();
        let mut topics = Vec::new();
        let mut places = HashMap::new();
        for topic in request.topics {
            let known = ctx.image.topic(&topic.name);
            let is_subscribed = self
                .groups
                .get(request.group_id.as_str())
                .is_some_and(|group| group.is_subscribed(&topic.name));
            let place = *places.entry(topic.name.clone()).or_insert(topics.len());
            if place == topics.len() {
                topics.push(OffsetDeleteResponseTopic {
                    name: topic.name.clone(),
                    partitions: Vec::new(),
                });
            }
            for partition in topic.partitions {
                let index = partition.partition_index;
                let exists = known.is_some_and(|known| ctx.image.partition(known, index).is_some());
                let error = match (exists, is_subscribed) {
                    (false, _) => ErrorCode::UnknownTopicOrPartition,
                    (true, true) => ErrorCode::GroupSubscribedToTopic,
                    (true, false) => ErrorCode::None,
                };
                if error.is_none() && self.offsets.has(&request.group_id, &topic.name, index) {
                    self.apply(tombstone(&request.group_id, &topic.name, index), &mut step);
                }
                topics[place].partitions.push(OffsetDeleteResponsePartition {
                    partition_index: index,
                    error_code: error.code(),
                });
            }
        }
        let response = OffsetDeleteResponse {
            topics,
            ..Default::default()
        };
        step.replies
            .push((caller.to, GroupResponse::DeleteOffsets(response)));
        step
    }

    fn check_delete_offsets(&self, group_id: &str) -> Result<(), ErrorCode> {
        if group_id.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        match self.groups.get(group_id) {
            None => Err(ErrorCode::GroupIdNotFound),
            Some(Group::Classic(group)) => group.check_delete_offsets(),
            Some(Group::Consumer(_)) => Ok(()),
        }
    }
}
