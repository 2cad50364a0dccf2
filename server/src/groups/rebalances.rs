//! That a rebalance of a classic group begins, and why: what an operator looks for when a group does not come to rest. Clients give reasons of their own
//! (KIP-800). A coordinator writes no log: it gives these out with a [`Step`](super::Step).

use std::fmt;
use std::sync::Arc;

use super::classic::State;

/// Rebalances that one step tells of at most. Many groups may begin one together, when a broker has started with a lower maximum of members.
pub const MOST_TOLD: usize = 64;
/// Letters that are kept of what a client says. Kafka's own clients send no more.
const MOST_LETTERS: usize = 255;

/// What made a rebalance begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A new member.
    Joined,
    /// A member that says something new of itself, or did not hear what it was told.
    JoinedAgain,
    /// The leader wants one: partitions of topics have changed, say.
    LeaderJoinedAgain,
    /// A static member came back and says something else, or came back during a rebalance.
    StaticCameBack,
    /// LeaveGroup, by the member or by an administrator.
    Left,
    /// A member was not heard of in time.
    SessionEnded,
    /// Members did not ask for their assignment in time.
    NotSynced,
    /// The assignment could not be stored.
    NotStored,
    /// The group has more members than the broker allows since it was started.
    TooLarge,
    /// The last member of the new protocol left, and the group is a classic one again.
    Downgraded,
}

impl Cause {
    /// Behind the member, if there is one.
    const fn text(self) -> &'static str {
        match self {
            Cause::Joined => "joined",
            Cause::JoinedAgain => "joined again",
            Cause::LeaderJoinedAgain => "joined again, which leads the group",
            Cause::StaticCameBack => "took the place of the static member it was before",
            Cause::Left => "left, or was removed",
            Cause::SessionEnded => "was not heard of in time",
            Cause::NotSynced => "members did not ask for their assignment in time",
            Cause::NotStored => "the assignment could not be stored",
            Cause::TooLarge => "there are more members than group.max.size",
            Cause::Downgraded => "the last member of the consumer protocol left",
        }
    }

    /// Whether the client may have given a reason.
    const fn is_asked_for(self) -> bool {
        matches!(
            self,
            Cause::Joined
                | Cause::JoinedAgain
                | Cause::LeaderJoinedAgain
                | Cause::StaticCameBack
                | Cause::Left
        )
    }
}

/// Why a rebalance begins, as long as it is not clear whether it does.
#[derive(Clone, Copy, Debug)]
pub struct Why<'a> {
    /// What happened.
    pub cause: Cause,
    /// To whom.
    pub member_id: Option<&'a str>,
    /// What the client says.
    pub reason: Option<&'a str>,
}

impl Why<'_> {
    /// A cause that is no member's.
    pub const fn only(cause: Cause) -> Self {
        Why {
            cause,
            member_id: None,
            reason: None,
        }
    }
}

/// A rebalance that begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebalance {
    /// Of which group.
    pub group_id: Arc<str>,
    /// The generation that ends.
    pub generation: i32,
    /// Where the group stood.
    pub state: State,
    /// What happened.
    pub cause: Cause,
    /// To whom.
    pub member_id: Option<String>,
    /// What the client says.
    pub reason: Option<String>,
}

impl Rebalance {
    /// A rebalance of this group, as it stands before.
    pub fn new(group_id: Arc<str>, generation: i32, state: State, why: Why<'_>) -> Self {
        let kept = |text: &str| text.chars().take(MOST_LETTERS).collect();
        Rebalance {
            group_id,
            generation,
            state,
            cause: why.cause,
            member_id: why.member_id.map(kept),
            reason: why.reason.filter(|text| !text.is_empty()).map(kept),
        }
    }
}

/// One line. What comes from clients is quoted: it may hold a line of its own.
impl fmt::Display for Rebalance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group_id: String = self.group_id.chars().take(MOST_LETTERS).collect();
        write!(
            f,
            "group {group_id:?} rebalances: state={} generation={}, ",
            self.state.name(),
            self.generation
        )?;
        if let Some(member_id) = &self.member_id {
            write!(f, "member {member_id:?} ")?;
        }
        f.write_str(self.cause.text())?;
        match &self.reason {
            Some(reason) => write!(f, "; client reason: {reason:?}"),
            None if self.cause.is_asked_for() => f.write_str("; client reason: not provided"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_group_member_and_reason() {
        let why = Why {
            cause: Cause::Left,
            member_id: Some("c-1"),
            reason: Some("the consumer is being closed"),
        };
        let told = Rebalance::new("g".into(), 3, State::Stable, why);
        assert_eq!(
            told.to_string(),
            "group \"g\" rebalances: state=Stable generation=3, member \"c-1\" left, or was removed; \
             client reason: \"the consumer is being closed\""
        );
        let why = Why { reason: None, ..why };
        let told = Rebalance::new("g".into(), 3, State::Stable, why).to_string();
        assert!(told.ends_with("client reason: not provided"), "{told}");
        let told = Rebalance::new("g".into(), 3, State::Stable, Why::only(Cause::NotSynced)).to_string();
        assert!(
            told.ends_with("members did not ask for their assignment in time"),
            "{told}"
        );
    }

    #[test]
    fn what_clients_say_stays_on_the_line_and_is_cut() {
        let long = format!("a\nWARN b{}", "x".repeat(40_000));
        let why = Why {
            cause: Cause::Joined,
            member_id: Some(&long),
            reason: Some(&long),
        };
        let told = Rebalance::new(long.as_str().into(), 0, State::Empty, why).to_string();
        assert!(!told.contains('\n') && told.len() < 1_000, "{told}");
    }
}
