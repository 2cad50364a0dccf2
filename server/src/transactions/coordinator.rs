//! The coordinator of the transactional ids whose records are in one partition of `__transaction_state`.

use std::marker::PhantomData;

use crate::wire::transaction_records::TransactionRecord;

use super::{Caller, Ctx, Ending, Step, TxnRequest};

/// Transactional ids and their transactions. `T` says where an answer goes.
#[derive(Debug)]
pub struct Coordinator<T> {
    to: PhantomData<T>,
}

impl<T> Default for Coordinator<T> {
    fn default() -> Self {
        Coordinator { to: PhantomData }
    }
}

impl<T: Clone> Coordinator<T> {
    /// Answers a request.
    pub fn handle(&mut self, _ctx: &mut Ctx<'_>, _caller: Caller<T>, _request: TxnRequest) -> Step<T> {
        Step::default()
    }

    /// The markers of a transaction are durable in all its partitions. Of an ending that is not under way (any more) nothing follows.
    pub fn completed(&mut self, _ctx: &mut Ctx<'_>, _ending: &Ending) -> Step<T> {
        Step::default()
    }

    /// When [`Coordinator::expire`] has something to do next, on the clock of [`Ctx::now_ms`].
    pub fn deadline(&self) -> Option<i64> {
        None
    }

    /// Does what was due by now, at most `most` ids' worth; [`Coordinator::deadline`] tells whether there is more.
    pub fn expire(&mut self, _ctx: &mut Ctx<'_>, _most: usize) -> Step<T> {
        Step::default()
    }

    /// All records were replayed: endings under way when the broker stopped are to be finished, and time passes for the rest.
    pub fn loaded(&mut self, _ctx: &mut Ctx<'_>) -> Step<T> {
        Step::default()
    }

    /// Another core coordinates these ids from now on. Nothing is left here.
    pub fn resign(&mut self) -> Step<T> {
        *self = Self::default();
        Step::default()
    }
}

impl<T> Coordinator<T> {
    /// Does what a record says: one of its own just now, or one of the log.
    pub fn replay(&mut self, _record: TransactionRecord) {}
}
