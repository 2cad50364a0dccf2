//! InitProducerId: a producer takes a transactional id, and whoever had it before is fenced (KIP-98, KIP-360).

use crate::wire::ErrorCode;
use crate::wire::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

use super::state::TxnState;
use super::transaction::{BUMPS_EPOCH, LAST_PRODUCER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, Transaction};
use super::{Coordinator, Ctx, Outcome, Step, TxnResponse};

/// From this version on clients know PRODUCER_FENCED.
const FENCED_FROM: i16 = 4;

/// The id and epoch a producer says it has.
type Expected = Option<(i64, i16)>;

impl<T: Clone> Coordinator<T> {
    /// InitProducerId with a transactional id.
    pub(super) fn init_producer_id(
        &mut self,
        ctx: &mut Ctx<'_>,
        to: T,
        version: i16,
        request: &InitProducerIdRequest,
    ) -> Step<T> {
        let mut step = Step::default();
        let answer = self.init(ctx, request, &mut step);
        let (error, (producer_id, producer_epoch)) = match answer {
            Ok(producer) => (ErrorCode::default(), producer),
            Err(error) => (error, (NO_PRODUCER_ID, NO_PRODUCER_EPOCH)),
        };
        let answer = InitProducerIdResponse {
            error_code: known_to(version, FENCED_FROM, error).code(),
            producer_id,
            producer_epoch,
            ..Default::default()
        };
        step.outcomes
            .push(Outcome::Reply(to, TxnResponse::InitProducerId(answer)));
        // What had to be aborted first is ended after the answer: the producer is to come again, and may find it done.
        self.mark_if_new(ctx, request, &mut step);
        step
    }

    fn init(
        &mut self,
        ctx: &mut Ctx<'_>,
        request: &InitProducerIdRequest,
        step: &mut Step<T>,
    ) -> Result<(i64, i16), ErrorCode> {
        let id = request.transactional_id.as_deref().unwrap_or_default();
        let timeout_ms = request.transaction_timeout_ms;
        let expected = expected(request)?;
        if id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        if timeout_ms <= 0 || timeout_ms > ctx.settings.max_timeout_ms {
            return Err(ErrorCode::InvalidTransactionTimeout);
        }
        let Some(transaction) = self.transactions.get(id) else {
            let producer_id = new_producer_id(ctx)?;
            self.transactions
                .insert(id.into(), Transaction::new(producer_id, timeout_ms));
            self.change(ctx, id, step, |transaction, wall_ms| {
                transaction.begin_empty((producer_id, 0), NO_PRODUCER_EPOCH, timeout_ms, wall_ms);
            });
            return Ok((producer_id, 0));
        };
        check_producer(transaction, expected)?;
        match transaction.state {
            TxnState::PrepareCommit | TxnState::PrepareAbort => Err(ErrorCode::ConcurrentTransactions),
            TxnState::Ongoing => {
                self.fence(ctx, id, step)?;
                Err(ErrorCode::ConcurrentTransactions)
            }
            TxnState::Empty | TxnState::CompleteCommit | TxnState::CompleteAbort => {
                let (producer, last) = next_producer(ctx, transaction, expected)?;
                self.change(ctx, id, step, |transaction, wall_ms| {
                    transaction.begin_empty(producer, last, timeout_ms, wall_ms);
                });
                Ok(producer)
            }
        }
    }

    /// Aborts the transaction under way, with an epoch that no producer has. The markers are not ordered yet.
    ///
    /// # Errors
    /// No producer id is at hand, and the next producer needs one.
    pub(super) fn fence(&mut self, ctx: &mut Ctx<'_>, id: &str, step: &mut Step<T>) -> Result<(), ErrorCode> {
        let client_version = match ctx.transaction_version >= BUMPS_EPOCH {
            true => BUMPS_EPOCH,
            false => 0,
        };
        self.decide(ctx, id, false, client_version, true, step).map(drop)
    }

    fn mark_if_new(&mut self, ctx: &Ctx<'_>, request: &InitProducerIdRequest, step: &mut Step<T>) {
        if !step.records.is_empty() {
            let id = request.transactional_id.as_deref().unwrap_or_default();
            self.mark(ctx, id, step);
        }
    }
}

/// What the producer says it has, which is both or none.
fn expected(request: &InitProducerIdRequest) -> Result<Expected, ErrorCode> {
    match (request.producer_id, request.producer_epoch) {
        (NO_PRODUCER_ID, NO_PRODUCER_EPOCH) => Ok(None),
        (NO_PRODUCER_ID, _) | (_, NO_PRODUCER_EPOCH) => Err(ErrorCode::InvalidRequest),
        both => Ok(Some(both)),
    }
}

/// Refuses a producer that says it has what another has by now.
fn check_producer(transaction: &Transaction, expected: Expected) -> Result<(), ErrorCode> {
    let Some((producer_id, epoch)) = expected else {
        return Ok(());
    };
    // Its epochs may have been used up by what it asks again.
    let is_previous = producer_id == transaction.previous_producer_id && epoch >= LAST_PRODUCER_EPOCH;
    // Only who has the epoch may have begun what is under way. Kafka aborts it before it refuses a producer that is fenced.
    let is_fenced = transaction.state == TxnState::Ongoing && epoch != transaction.producer_epoch;
    match (producer_id == transaction.producer_id || is_previous) && !is_fenced {
        true => Ok(()),
        false => Err(ErrorCode::ProducerFenced),
    }
}

/// The producer that has the id from now on, and the epoch it may ask again with.
fn next_producer(
    ctx: &mut Ctx<'_>,
    transaction: &Transaction,
    expected: Expected,
) -> Result<((i64, i16), i16), ErrorCode> {
    let current = (transaction.producer_id, transaction.producer_epoch);
    let last = match expected {
        None => NO_PRODUCER_EPOCH,
        Some((_, epoch)) if epoch == transaction.producer_epoch => epoch,
        // It did not hear of the answer it had.
        Some((_, epoch)) if epoch == transaction.last_producer_epoch => return Ok((current, epoch)),
        Some(_) => return Err(ErrorCode::ProducerFenced),
    };
    match transaction.is_exhausted() {
        true => Ok(((new_producer_id(ctx)?, 0), last)),
        false => Ok(((current.0, current.1.saturating_add(1)), last)),
    }
}

/// A producer id nobody has.
pub(super) fn new_producer_id(ctx: &mut Ctx<'_>) -> Result<i64, ErrorCode> {
    (ctx.new_producer_id)().ok_or(ErrorCode::CoordinatorLoadInProgress)
}

/// The error as a client of this version knows it.
pub(super) fn known_to(version: i16, fenced_from: i16, error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::ProducerFenced if version < fenced_from => ErrorCode::InvalidProducerEpoch,
        error => error,
    }
}
