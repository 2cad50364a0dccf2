//! Why a request to a group is refused.

use crate::wire::code::ErrorCode;

/// An error and its explanation, which clients log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The error.
    pub code: ErrorCode,
    /// What is wrong, in Kafka's words where Kafka has any.
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal {
            code,
            message: message.into(),
        }
    }

    pub(super) fn invalid(message: &str) -> Refusal {
        Refusal::new(ErrorCode::InvalidRequest, message)
    }

    pub(super) fn unknown_member(member_id: &str, group_id: &str) -> Refusal {
        Refusal::new(
            ErrorCode::UnknownMemberId,
            format!("Member {member_id} is not a member of group {group_id}."),
        )
    }
}
