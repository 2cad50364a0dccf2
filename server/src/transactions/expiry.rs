//! Transactions that take too long are aborted, and ids that nobody uses are forgotten.

use std::ops::Bound;
use std::sync::Arc;

use crate::wire::transaction_records::TransactionRecord;

use super::transaction::{Transaction, key};
use super::{Coordinator, Ctx, Step};

impl<T: Clone> Coordinator<T> {
    /// Aborts at most `most` transactions that have taken too long; says how many of these are left. Their producers are fenced.
    pub(super) fn abort_overdue(&mut self, ctx: &mut Ctx<'_>, most: usize, step: &mut Step<T>) -> usize {
        if ctx.now_ms < self.next_abort_ms {
            return most;
        }
        let next_ms = ctx.now_ms.saturating_add(ctx.settings.abort_interval_ms);
        let mut left = most;
        while left > 0
            && let Some(id) = self.overdue(ctx.now_ms)
        {
            left -= 1;
            match self.fence(ctx, &id, step) {
                Ok(()) => self.mark(ctx, &id, step),
                // No producer id is at hand; the next look may find one.
                Err(_) => self.postpone(&id, next_ms),
            }
        }
        if self.overdue(ctx.now_ms).is_none() {
            self.next_abort_ms = next_ms;
        }
        left
    }

    fn overdue(&self, now_ms: i64) -> Option<Arc<str>> {
        let first = self.due.first().filter(|(at_ms, _)| *at_ms <= now_ms);
        first.map(|(_, id)| id.clone())
    }

    fn postpone(&mut self, id: &Arc<str>, to_ms: i64) {
        if let Some(transaction) = self.transactions.get_mut(id)
            && let Some(at_ms) = transaction.due_ms.replace(to_ms)
        {
            self.due.remove(&(at_ms, id.clone()));
            self.due.insert((to_ms, id.clone()));
        }
    }

    /// Looks at `most` ids at most, and forgets those that nobody has used for long.
    pub(super) fn remove_unused(&mut self, ctx: &Ctx<'_>, most: usize, step: &mut Step<T>) {
        if ctx.now_ms < self.next_removal_ms || most == 0 {
            return;
        }
        let from = match self.swept.take() {
            Some(id) => Bound::Excluded(id),
            None => Bound::Unbounded,
        };
        let oldest_ms = ctx.wall_ms.saturating_sub(ctx.settings.id_expiration_ms);
        let mut unused = Vec::new();
        let mut ids = self.transactions.range::<Arc<str>, _>((from, Bound::Unbounded));
        let mut last = None;
        for (id, transaction) in ids.by_ref().take(most) {
            last = Some(id.clone());
            if is_unused(transaction, oldest_ms) {
                unused.push(id.clone());
            }
        }
        match ids.next() {
            Some(_) => self.swept = last,
            None => {
                self.next_removal_ms = ctx.now_ms.saturating_add(ctx.settings.remove_interval_ms);
            }
        }
        for id in unused {
            self.transactions.remove(&id);
            step.records.push(TransactionRecord::State(key(&id), None));
        }
    }
}

fn is_unused(transaction: &Transaction, oldest_ms: i64) -> bool {
    transaction.state.is_at_rest() && transaction.last_update_ms <= oldest_ms
}
