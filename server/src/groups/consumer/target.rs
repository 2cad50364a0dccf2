//! The target of a group: computed when the group's epoch has risen, and not more often than the assignment interval allows (KIP-1263).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::group::ConsumerGroup;
use super::member::Member;
use crate::groups::Ctx;
use crate::groups::assignor::{self, Candidate, Partitions, Sharing};
use crate::groups::settings::Assignor;
use crate::metadata::MetadataImage;
use crate::wire::group_records::GroupRecord;
use crate::wire::uuid::Uuid;

impl ConsumerGroup {
    /// Brings the target to the group's epoch, if it is due.
    pub(super) fn update_target(&mut self, ctx: &Ctx<'_>, records: &mut Vec<GroupRecord>) {
        if self.target.epoch >= self.group_epoch() || !self.target_is_due(ctx) {
            return;
        }
        let changed: Vec<GroupRecord> = self
            .compute_target(ctx)
            .into_iter()
            .filter(|(member, target)| self.target.members.get(member) != Some(target))
            .map(|(member, target)| self.target_record(&member, Some(&target)))
            .collect();
        for record in changed {
            self.write(records, record);
        }
        let record = self.target_epoch_record(Some((self.group_epoch(), ctx.wall_ms)));
        self.write(records, record);
    }

    /// The assignor that most members ask for, or the broker's first.
    pub(super) fn preferred_assignor(&self, ctx: &Ctx<'_>) -> Assignor {
        let supported = &ctx.settings.consumer_assignors;
        let wished = self.index.assignors.iter().max_by_key(|(_, members)| **members);
        wished
            .and_then(|(name, _)| supported.iter().find(|assignor| assignor.name() == name))
            .or(supported.first())
            .copied()
            .unwrap_or(Assignor::Uniform)
    }

    /// Whether the last one is an interval old, or from the future, as after a clock was set back.
    pub(super) fn target_is_due(&self, ctx: &Ctx<'_>) -> bool {
        let age_ms = ctx.wall_ms.saturating_sub(self.target.timestamp_ms);
        !(0..self.assignment_interval_ms(ctx)).contains(&age_ms)
    }

    fn compute_target(&self, ctx: &Ctx<'_>) -> Vec<(Arc<str>, Partitions)> {
        let none = Partitions::new();
        let mut wishes = Wishes::new(self, ctx.image);
        let members: Vec<Candidate<'_>> = self
            .members
            .values()
            .map(|member| Candidate {
                id: &member.id,
                instance_id: member.instance_id.as_deref(),
                topics: wishes.of(member),
                has: self.target.members.get(&member.id).unwrap_or(&none),
            })
            .collect();
        let sharing = Sharing {
            partition_counts: wishes.partition_counts,
            homogeneous: self.index.is_homogeneous(members.len()),
            members,
        };
        let shares = assignor::assign(self.preferred_assignor(ctx), &sharing);
        self.members.keys().cloned().zip(shares).collect()
    }
}

/// Names and a regular expression.
type Wish<'a> = (&'a BTreeSet<String>, Option<&'a str>);

/// The topics that members want, by id. Members that want the same, which most do, share one set.
struct Wishes<'a> {
    group: &'a ConsumerGroup,
    image: &'a MetadataImage,
    known: BTreeMap<Wish<'a>, Arc<BTreeSet<Uuid>>>,
    partition_counts: BTreeMap<Uuid, i32>,
}

impl<'a> Wishes<'a> {
    fn new(group: &'a ConsumerGroup, image: &'a MetadataImage) -> Wishes<'a> {
        Wishes {
            group,
            image,
            known: BTreeMap::new(),
            partition_counts: BTreeMap::new(),
        }
    }

    fn of(&mut self, member: &'a Member) -> Arc<BTreeSet<Uuid>> {
        let wish = (&member.topic_names, member.regex());
        if let Some(topics) = self.known.get(&wish) {
            return topics.clone();
        }
        let resolved = wish.1.and_then(|regex| self.group.index.resolved.get(regex));
        let matched = resolved.into_iter().flat_map(|resolved| &resolved.topics);
        let mut topics = BTreeSet::new();
        for topic in member
            .topic_names
            .iter()
            .chain(matched)
            .filter_map(|name| self.image.topic(name))
        {
            let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
            self.partition_counts.insert(topic.id, count);
            topics.insert(topic.id);
        }
        let topics = Arc::new(topics);
        self.known.insert(wish, topics.clone());
        topics
    }
}
