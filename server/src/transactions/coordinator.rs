//! The coordinator of the transactional ids whose records are in one partition of `__transaction_state`.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::sync::Arc;

use crate::wire::transaction_records::TransactionRecord;

use super::transaction::Transaction;
use super::{Caller, Ctx, Ending, Outcome, Step, TxnRequest, TxnResponse};

/// Transactional ids and their transactions. `T` says where an answer goes.
///
/// State is ahead of the log: what a [`Step`] appends holds for the next request already. Whoever is answered is answered once the log has
/// caught up, so nobody hears of what a crash takes back.
#[derive(Debug)]
pub struct Coordinator<T> {
    pub(super) transactions: BTreeMap<Arc<str>, Transaction>,
    /// Transactions under way, by when they have taken too long.
    pub(super) due: BTreeSet<(i64, Arc<str>)>,
    /// Not before this those that have taken too long are looked for.
    pub(super) next_abort_ms: i64,
    /// Not before this ids that nobody uses are looked for.
    pub(super) next_removal_ms: i64,
    /// The last id that was looked at, while others are to be.
    pub(super) swept: Option<Arc<str>>,
    to: PhantomData<T>,
}

impl<T> Default for Coordinator<T> {
    fn default() -> Self {
        Coordinator {
            transactions: BTreeMap::new(),
            due: BTreeSet::new(),
            next_abort_ms: 0,
            next_removal_ms: 0,
            swept: None,
            to: PhantomData,
        }
    }
}

impl<T: Clone> Coordinator<T> {
    /// Answers a request.
    pub fn handle(&mut self, ctx: &mut Ctx<'_>, caller: Caller<T>, request: TxnRequest) -> Step<T> {
        let Caller { to, version } = caller;
        match request {
            TxnRequest::InitProducerId(request) => self.init_producer_id(ctx, to, version, &request),
            TxnRequest::AddPartitions(asked) if asked.verify_only => {
                Step::reply(to, TxnResponse::AddPartitions(self.verify_partitions(&asked)))
            }
            TxnRequest::AddPartitions(asked) => self.add_partitions(ctx, to, version, &asked),
            TxnRequest::End(request) => self.end(ctx, to, version, &request),
            TxnRequest::Describe(id) => Step::reply(to, TxnResponse::Describe(self.describe(id))),
            TxnRequest::List(request) => Step::reply(to, TxnResponse::List(self.list(ctx, request))),
        }
    }

    /// The markers of a transaction are durable in all its partitions. Of an ending that is not under way (any more) nothing follows: what
    /// another coordinator ordered, before this one read the log, may be behind what this one ordered.
    pub fn completed(&mut self, ctx: &mut Ctx<'_>, ending: &Ending) -> Step<T> {
        let mut step = Step::default();
        let id = ending.transactional_id.as_str();
        let under_way = self
            .transactions
            .get(id)
            .and_then(|transaction| transaction.ending(id, ctx.coordinator_epoch));
        if under_way.as_ref() == Some(ending) {
            self.change(ctx, id, &mut step, |transaction, wall_ms| {
                transaction.complete(wall_ms);
            });
        }
        step
    }

    /// Whether InitProducerId of this id takes a producer id nobody has.
    pub fn needs_producer_id(&self, transactional_id: &str) -> bool {
        let known = self.transactions.get(transactional_id);
        known.is_none_or(|transaction| transaction.is_exhausted())
    }

    /// When [`Coordinator::expire`] has something to do next, on the clock of [`Ctx::now_ms`].
    pub fn deadline(&self) -> Option<i64> {
        let due = self.due.first();
        let abort_ms = due.map(|(at_ms, _)| self.next_abort_ms.max(*at_ms));
        let removal_ms = (!self.transactions.is_empty()).then_some(self.next_removal_ms);
        abort_ms.into_iter().chain(removal_ms).min()
    }

    /// Does what was due by now, at most `most` ids' worth; [`Coordinator::deadline`] tells whether there is more.
    pub fn expire(&mut self, ctx: &mut Ctx<'_>, most: usize) -> Step<T> {
        let mut step = Step::default();
        let left = self.abort_overdue(ctx, most, &mut step);
        self.remove_unused(ctx, left, &mut step);
        step
    }

    /// All records were replayed: endings under way when the broker stopped are to be finished, and time passes for the rest.
    pub fn loaded(&mut self, ctx: &mut Ctx<'_>) -> Step<T> {
        let mut step = Step::default();
        let ids: Vec<Arc<str>> = self.transactions.keys().cloned().collect();
        for id in ids {
            self.watch(ctx, &id);
            self.mark(ctx, &id, &mut step);
        }
        self.next_abort_ms = ctx.now_ms;
        self.next_removal_ms = ctx.now_ms.saturating_add(ctx.settings.remove_interval_ms);
        step
    }

    /// Another core coordinates these ids from now on. Nothing is left here.
    pub fn resign(&mut self) -> Step<T> {
        *self = Self::default();
        Step::default()
    }

    /// Changes what is known of an id, and puts it down.
    pub(super) fn change(
        &mut self,
        ctx: &Ctx<'_>,
        id: &str,
        step: &mut Step<T>,
        change: impl FnOnce(&mut Transaction, i64),
    ) {
        if let Some(transaction) = self.transactions.get_mut(id) {
            change(transaction, ctx.wall_ms);
            step.records.push(transaction.record(id));
            self.watch(ctx, id);
        }
    }

    /// Has the markers of a transaction that ends written. One without partitions has none, and is complete.
    pub(super) fn mark(&mut self, ctx: &Ctx<'_>, id: &str, step: &mut Step<T>) {
        let ending = self
            .transactions
            .get(id)
            .and_then(|transaction| transaction.ending(id, ctx.coordinator_epoch));
        match ending {
            Some(ending) if ending.partitions.is_empty() => {
                self.change(ctx, id, step, |transaction, wall_ms| {
                    transaction.complete(wall_ms);
                });
            }
            Some(ending) => step.outcomes.push(Outcome::Mark(ending)),
            None => {}
        }
    }

    /// Has an id among those that are due some day, or not any more.
    fn watch(&mut self, ctx: &Ctx<'_>, id: &str) {
        let Some((id, _)) = self.transactions.get_key_value(id) else {
            return;
        };
        let id = id.clone();
        let Some(transaction) = self.transactions.get_mut(&id) else {
            return;
        };
        let due_ms = transaction.due_at(ctx.now_ms, ctx.wall_ms);
        match (transaction.due_ms, due_ms) {
            // It began earlier.
            (Some(_), Some(_)) | (None, None) => {}
            (None, Some(at_ms)) => {
                transaction.due_ms = due_ms;
                self.due.insert((at_ms, id));
            }
            (Some(at_ms), None) => {
                transaction.due_ms = None;
                self.due.remove(&(at_ms, id));
            }
        }
    }
}

impl<T> Coordinator<T> {
    /// Does what a record of the log says.
    pub fn replay(&mut self, record: TransactionRecord) {
        let TransactionRecord::State(key, value) = record else {
            return;
        };
        let id = key.transactional_id;
        match value.map(Transaction::of) {
            Some(Some(transaction)) => {
                let replaced = self.transactions.insert(id.as_str().into(), transaction);
                self.forget_due(&id, replaced);
            }
            // Of a state that is never stored.
            Some(None) => {}
            None => {
                let removed = self.transactions.remove(id.as_str());
                self.forget_due(&id, removed);
            }
        }
    }

    fn forget_due(&mut self, id: &str, transaction: Option<Transaction>) {
        if let Some(at_ms) = transaction.and_then(|transaction| transaction.due_ms) {
            self.due.remove(&(at_ms, id.into()));
        }
    }
}
