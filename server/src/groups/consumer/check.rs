//! Whether a member may commit or fetch offsets.

use super::group::ConsumerGroup;
use super::member::Member;
use crate::wire::code::ErrorCode;
use crate::wire::uuid::Uuid;

/// The version of OffsetCommit and OffsetFetch from which on a member says its epoch.
const FIRST_VERSION_WITH_EPOCH: i16 = 9;

/// No epoch was given.
const NO_EPOCH: i32 = -1;

/// A commit that is right as a whole; each of its partitions has to be asked about.
#[derive(Debug)]
#[must_use = "a commit with an older epoch is right for some partitions only"]
pub struct CommitCheck<'a> {
    /// The member and the older epoch it came with, if it did.
    older: Option<(&'a Member, i32)>,
}

impl CommitCheck<'_> {
    /// Whether the offset of a partition may be committed: with an older epoch only if the member has had the partition since (KIP-1251).
    ///
    /// # Errors
    /// STALE_MEMBER_EPOCH, or ILLEGAL_GENERATION for a member of the classic protocol.
    pub fn partition(&self, topic: Uuid, partition: i32) -> Result<(), ErrorCode> {
        let Some((member, epoch)) = self.older else {
            return Ok(());
        };
        let since = |owned: &super::partitions::Owned| {
            owned
                .get(&topic)
                .and_then(|partitions| partitions.get(&partition))
                .copied()
        };
        match since(&member.assigned).or_else(|| since(&member.pending_revocation)) {
            Some(since) if epoch >= since => Ok(()),
            _ => Err(member.stale()),
        }
    }
}

impl ConsumerGroup {
    /// Whether a commit may be made. A negative epoch is that of a commit without a group, which an empty group allows. The instance id matters
    /// to classic groups alone.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID; UNSUPPORTED_VERSION of a version that has no epochs; STALE_MEMBER_EPOCH, or ILLEGAL_GENERATION for a member of the
    /// classic protocol.
    pub fn check_commit(
        &self,
        member_id: &str,
        _group_instance_id: Option<&str>,
        epoch: i32,
        version: i16,
    ) -> Result<CommitCheck<'_>, ErrorCode> {
        if epoch < 0 && self.members.is_empty() {
            return Ok(CommitCheck { older: None });
        }
        let member = self.members.get(member_id).ok_or(ErrorCode::UnknownMemberId)?;
        if !member.uses_classic_protocol() && version < FIRST_VERSION_WITH_EPOCH {
            return Err(ErrorCode::UnsupportedVersion);
        }
        member.check_epoch(epoch)
    }

    /// Whether a commit of a transaction may be made (KIP-447). A producer need not say for which member it commits; whoever names nobody may.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID; STALE_MEMBER_EPOCH, or ILLEGAL_GENERATION for a member of the classic protocol.
    pub fn check_txn_commit(
        &self,
        member_id: &str,
        group_instance_id: Option<&str>,
        epoch: i32,
    ) -> Result<CommitCheck<'_>, ErrorCode> {
        let names_nobody = epoch == NO_EPOCH && member_id.is_empty() && group_instance_id.is_none();
        if names_nobody || (epoch < 0 && self.members.is_empty()) {
            return Ok(CommitCheck { older: None });
        }
        let member = self.members.get(member_id).ok_or(ErrorCode::UnknownMemberId)?;
        member.check_epoch(epoch)
    }

    /// Whether offsets may be fetched. Whoever names neither member nor epoch may.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID; STALE_MEMBER_EPOCH, or ILLEGAL_GENERATION for a member of the classic protocol.
    pub fn check_fetch(&self, member_id: Option<&str>, epoch: i32) -> Result<(), ErrorCode> {
        if member_id.is_none() && epoch < 0 {
            return Ok(());
        }
        let member = member_id
            .and_then(|member_id| self.members.get(member_id))
            .ok_or(ErrorCode::UnknownMemberId)?;
        if epoch == member.epoch {
            Ok(())
        } else {
            Err(member.stale())
        }
    }
}

impl Member {
    /// Whether a commit with this epoch may be made, and for which partitions.
    fn check_epoch(&self, epoch: i32) -> Result<CommitCheck<'_>, ErrorCode> {
        match epoch {
            epoch if epoch == self.epoch => Ok(CommitCheck { older: None }),
            epoch if epoch > self.epoch => Err(self.stale()),
            epoch => Ok(CommitCheck {
                older: Some((self, epoch)),
            }),
        }
    }

    /// The error of an epoch that is not the member's.
    fn stale(&self) -> ErrorCode {
        if self.uses_classic_protocol() {
            ErrorCode::IllegalGeneration
        } else {
            ErrorCode::StaleMemberEpoch
        }
    }
}
