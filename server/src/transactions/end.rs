//! EndTxn: a transaction is committed or aborted.
//!
//! Up to version 4 an end leaves the epoch, and who asks again for the end there was is answered as before. From version 5 on each end brings the
//! next epoch, so the epoch tells a request that comes again from the next one (KIP-890):
//!
//! ```text
//!                 the epoch before the end   the epoch there is
//!                 abort     commit           abort       commit
//! Empty           fenced    fenced           ends        invalid
//! CompleteAbort   done      invalid          ends        invalid
//! CompleteCommit  invalid   done             ends        invalid
//! ```
//! An abort of nothing ends, too: a client that does not know whether its first batch arrived has a new epoch after it.

use crate::wire::ErrorCode;
use crate::wire::end_txn::{EndTxnRequest, EndTxnResponse};

use super::init::{known_to, new_producer_id};
use super::state::TxnState;
use super::transaction::{BUMPS_EPOCH, LAST_PRODUCER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, Transaction};
use super::{Coordinator, Ctx, Outcome, Step, TxnResponse};

/// From this version on clients know PRODUCER_FENCED.
const FENCED_FROM: i16 = 2;
/// From this version on the client speaks transaction version 2.
const BUMPS_EPOCH_FROM: i16 = 5;

/// What an EndTxn that is not refused asks for.
enum Asked {
    /// The end there was.
    Again,
    /// An end.
    End,
}

impl<T: Clone> Coordinator<T> {
    /// Decides how a transaction ends. The answer does not wait for the markers.
    pub(super) fn end(&mut self, ctx: &mut Ctx<'_>, to: T, version: i16, request: &EndTxnRequest) -> Step<T> {
        let mut step = Step::default();
        let bumps = version >= BUMPS_EPOCH_FROM;
        let none = (NO_PRODUCER_ID, NO_PRODUCER_EPOCH);
        let (error, (producer_id, producer_epoch)) = match self.try_end(ctx, bumps, request, &mut step) {
            Ok(producer) if bumps => (ErrorCode::None, producer),
            Ok(_) => (ErrorCode::None, none),
            Err(error) => (error, none),
        };
        let answer = EndTxnResponse {
            error_code: known_to(version, FENCED_FROM, error).code(),
            producer_id,
            producer_epoch,
            ..Default::default()
        };
        step.outcomes.push(Outcome::Reply(to, TxnResponse::End(answer)));
        if !step.records.is_empty() {
            self.mark(ctx, &request.transactional_id, &mut step);
        }
        step
    }

    /// The producer from then on.
    fn try_end(
        &mut self,
        ctx: &mut Ctx<'_>,
        bumps: bool,
        request: &EndTxnRequest,
        step: &mut Step<T>,
    ) -> Result<(i64, i16), ErrorCode> {
        let id = request.transactional_id.as_str();
        if id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        let transaction = self
            .transactions
            .get(id)
            .ok_or(ErrorCode::InvalidProducerIdMapping)?;
        let asked = match bumps {
            true => check(transaction, request)?,
            false => check_without_bumps(transaction, request)?,
        };
        match asked {
            Asked::Again => Ok((transaction.producer_id, transaction.producer_epoch)),
            Asked::End => {
                let client_version = if bumps { BUMPS_EPOCH } else { 0 };
                self.decide(ctx, id, request.committed, client_version, false, step)
            }
        }
    }

    /// Puts down how a transaction ends, which nothing changes any more. Gives the producer from the end on; markers are to be ordered.
    ///
    /// # Errors
    /// No producer id is at hand, and the next producer needs one.
    pub(super) fn decide(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: &str,
        is_commit: bool,
        client_version: i16,
        is_fence: bool,
        step: &mut Step<T>,
    ) -> Result<(i64, i16), ErrorCode> {
        let is_exhausted = self.transactions.get(id).is_some_and(Transaction::is_exhausted);
        let next_producer_id = match is_exhausted && client_version >= BUMPS_EPOCH {
            true => new_producer_id(ctx)?,
            false => NO_PRODUCER_ID,
        };
        self.change(ctx, id, step, |transaction, wall_ms| {
            transaction.prepare(is_commit, client_version, is_fence, next_producer_id, wall_ms);
        });
        let transaction = self.transactions.get(id);
        transaction
            .map(Transaction::after_end)
            .ok_or(ErrorCode::InvalidProducerIdMapping)
    }
}

/// Up to version 4: the state alone tells what has been asked already.
fn check_without_bumps(transaction: &Transaction, request: &EndTxnRequest) -> Result<Asked, ErrorCode> {
    if transaction.producer_id != request.producer_id {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    if transaction.producer_epoch != request.producer_epoch {
        return Err(ErrorCode::ProducerFenced);
    }
    match (transaction.state, transaction.state.decision()) {
        (TxnState::Ongoing, _) => Ok(Asked::End),
        (state, Some(decision)) if decision == request.committed => match state.is_ending() {
            true => Err(ErrorCode::ConcurrentTransactions),
            false => Ok(Asked::Again),
        },
        _ => Err(ErrorCode::InvalidTxnState),
    }
}

/// From version 5 on: the epoch tells.
fn check(transaction: &Transaction, request: &EndTxnRequest) -> Result<Asked, ErrorCode> {
    let epoch = request.producer_epoch;
    let is_before_rotation = transaction.previous_producer_id == request.producer_id
        && epoch == LAST_PRODUCER_EPOCH
        && transaction.producer_epoch == 0;
    if transaction.producer_id != request.producer_id && !is_before_rotation {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    let is_before_bump = i32::from(transaction.producer_epoch) == i32::from(epoch) + 1;
    // Only an end of this kind has moved the epoch. Kafka takes the epoch's word for it, and so the end of a later producer that speaks an earlier
    // version for that of this one.
    let is_end = transaction.client_version >= BUMPS_EPOCH && transaction.state.decision().is_some();
    let is_again = is_end && (is_before_rotation || is_before_bump);
    // While markers are written the epoch is that of the end already.
    let is_current = epoch == transaction.producer_epoch
        && transaction.producer_id == request.producer_id
        && !transaction.state.is_ending();
    if !is_again && !is_current {
        return Err(ErrorCode::ProducerFenced);
    }
    match transaction.state {
        TxnState::Ongoing => Ok(Asked::End),
        state if is_again && state.decision() == Some(request.committed) => match state.is_ending() {
            true => Err(ErrorCode::ConcurrentTransactions),
            false => Ok(Asked::Again),
        },
        // What there was ended otherwise; or nothing is there to be committed.
        _ if is_again || request.committed => Err(ErrorCode::InvalidTxnState),
        _ => Ok(Asked::End),
    }
}
