//! Outcomes on their way, which are answers for the most part: they wait until their records are durable, and leave a few at a time.
//!
//! When a large group is together all of its members are answered at once. Each answer is a message to a core and a send on a socket: a
//! thousand of them in one turn would hold up every produce and fetch behind them by milliseconds.

use std::collections::VecDeque;

use ringlog_engine::shard::Ticket;

/// Outcomes that a core does in one turn: about half a millisecond's worth of sends.
pub(super) const OUTCOMES_AT_ONCE: usize = 64;

/// What is to be done, in order. As many as requests are unanswered, and transactions are ending, at most.
#[derive(Debug)]
pub(super) struct Outcomes<A> {
    /// Those whose records are not durable yet. Tickets ascend.
    waiting: VecDeque<(Ticket, Vec<A>)>,
    /// Those that nothing holds up.
    due: VecDeque<A>,
    /// How many may still leave in this turn.
    left: usize,
}

impl<A> Default for Outcomes<A> {
    fn default() -> Self {
        Outcomes {
            waiting: VecDeque::new(),
            due: VecDeque::new(),
            left: OUTCOMES_AT_ONCE,
        }
    }
}

impl<A> Outcomes<A> {
    /// Takes up answers that may leave once everything up to the ticket is durable.
    pub fn wait(&mut self, ticket: Ticket, answers: Vec<A>) {
        let last = self.waiting.back().map_or(ticket, |last| last.0.max(ticket));
        self.waiting.push_back((last, answers));
    }

    /// Takes up answers that may leave.
    pub fn add(&mut self, answers: Vec<A>) {
        self.due.extend(answers);
    }

    /// Everything up to the ticket is durable.
    pub fn committed(&mut self, ticket: Ticket) {
        while self.waiting.front().is_some_and(|first| first.0 <= ticket) {
            if let Some((_, answers)) = self.waiting.pop_front() {
                self.due.extend(answers);
            }
        }
    }

    /// A turn begins.
    pub fn begin_turn(&mut self) {
        self.left = OUTCOMES_AT_ONCE;
    }

    /// The next to leave in this turn.
    pub fn next(&mut self) -> Option<A> {
        if self.left == 0 {
            return None;
        }
        let next = self.due.pop_front()?;
        self.left -= 1;
        Some(next)
    }

    /// Whether some may leave: in the next turn, if not in this one.
    pub fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.due.is_empty()
    }

    /// Takes out those whose records will never be durable.
    pub fn take_waiting(&mut self) -> Vec<A> {
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_iter().flat_map(|(_, answers)| answers).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handed_out(answers: &mut Outcomes<usize>) -> Vec<usize> {
        std::iter::from_fn(|| answers.next()).collect()
    }

    #[test]
    fn a_thousand_answers_leave_in_order_and_some_in_each_turn() {
        let mut answers = Outcomes::default();
        answers.add((0..1_000).collect());
        let mut all = Vec::new();
        let mut turns = 0;
        while answers.has_due() {
            answers.begin_turn();
            let some = handed_out(&mut answers);
            assert!(!some.is_empty() && some.len() <= OUTCOMES_AT_ONCE);
            assert_eq!(answers.next(), None, "no more in this turn");
            all.extend(some);
            turns += 1;
        }
        assert_eq!(all, (0..1_000).collect::<Vec<_>>());
        assert_eq!(turns, 1_000_usize.div_ceil(OUTCOMES_AT_ONCE));
        assert!(answers.is_empty());
    }

    #[test]
    fn an_answer_leaves_when_its_ticket_is_committed_and_no_earlier_one_waits() {
        let mut answers = Outcomes::default();
        answers.wait(5, vec![1, 2]);
        answers.wait(3, vec![3]);
        answers.wait(9, vec![4]);
        answers.committed(4);
        assert_eq!((answers.has_due(), answers.is_empty()), (false, false));
        answers.committed(5);
        assert_eq!(handed_out(&mut answers), [1, 2, 3]);
        assert_eq!(answers.take_waiting(), [4]);
        assert!(answers.is_empty());
    }
}
