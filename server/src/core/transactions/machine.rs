//! Coordinators of transactions as machines of the partitions of `__transaction_state`.

use super::{Asker, TxnOrder};
use crate::core::Core;
use crate::core::coordinators::{Decision, Host, Hosts, Machine, Replayed};
use crate::core::mail::Mail;
use crate::handlers::transactions::TRANSACTIONS_TOPIC;
use crate::transactions::{Coordinator, Ctx, Ending, Outcome, Step};
use crate::wire::transaction_records::TransactionRecord;
use crate::wire::{ErrorCode, WireError};

/// The coordinator of one partition.
pub type Transactions = Coordinator<Asker>;

fn decision(step: Step<Asker>) -> Decision<Outcome<Asker>> {
    Decision {
        records: step.records.iter().map(TransactionRecord::encode).collect(),
        producer: None,
        outcomes: step.outcomes,
    }
}

/// The markers of a transaction are durable everywhere.
pub(super) fn completed(
    coordinator: &mut Transactions,
    ctx: &mut Ctx<'_>,
    ending: &Ending,
) -> Decision<Outcome<Asker>> {
    decision(coordinator.completed(ctx, ending))
}

impl Machine for Transactions {
    const TOPIC: &'static str = TRANSACTIONS_TOPIC;
    const SUBJECT: &'static str = "transactions";
    type Order = TxnOrder;
    type Outcome = Outcome<Asker>;
    type World<'a> = Ctx<'a>;

    fn take(&mut self, ctx: &mut Ctx<'_>, order: TxnOrder) -> Decision<Outcome<Asker>> {
        decision(self.handle(ctx, order.caller, order.request))
    }

    fn deadline_ms(&self) -> Option<i64> {
        self.deadline()
    }

    fn expire(&mut self, ctx: &mut Ctx<'_>, most: usize) -> Decision<Outcome<Asker>> {
        decision(Coordinator::expire(self, ctx, most))
    }

    fn replay(&mut self, record: Replayed<'_>) -> Result<bool, WireError> {
        let record = TransactionRecord::decode(record.key, record.value)?;
        let is_known = !matches!(record, TransactionRecord::Other(_));
        Coordinator::replay(self, record);
        Ok(is_known)
    }

    // Nobody's transaction writes here.
    fn replay_end(&mut self, _producer_id: i64, _is_commit: bool) {}

    fn loaded(&mut self, ctx: &mut Ctx<'_>) -> Decision<Outcome<Asker>> {
        decision(Coordinator::loaded(self, ctx))
    }

    fn topics_changed(&mut self, _ctx: &mut Ctx<'_>) -> Decision<Outcome<Asker>> {
        decision(Step::default())
    }

    fn resign(&mut self) -> Vec<Outcome<Asker>> {
        Coordinator::resign(self).outcomes
    }

    fn refuse(order: &TxnOrder, code: ErrorCode) -> Option<Outcome<Asker>> {
        Some(Outcome::Reply(order.caller.to, order.request.refuse(code)))
    }

    fn refused(outcome: Outcome<Asker>, code: ErrorCode) -> Option<Outcome<Asker>> {
        match outcome {
            Outcome::Reply(to, answer) => Some(Outcome::Reply(to, answer.refused(code))),
            Outcome::Mark(_) => None,
        }
    }

    fn too_large(outcome: Outcome<Asker>) -> Option<Outcome<Asker>> {
        Self::refused(outcome, ErrorCode::UnknownServerError)
    }

    fn hosts(core: &mut Core) -> &mut Hosts<Self> {
        &mut core.transactions
    }

    fn with_world<R>(
        core: &mut Core,
        partition: i32,
        step: impl FnOnce(&mut Host<Self>, &mut Ctx<'_>) -> R,
    ) -> Option<R> {
        let now_ms = core.transactions.now_ms(core.io.now());
        let wall_ms = core.io.wall_ms();
        let host = core.transactions.by_partition.get_mut(&partition)?;
        let slot = core.partitions.slot(&host.key);
        let offsets = slot.and_then(|slot| core.shard.offsets(slot));
        let ids = &mut core.producer_ids;
        let mut ctx = Ctx {
            now_ms,
            wall_ms,
            settings: &core.transaction_settings,
            coordinator_epoch: offsets.map_or(0, |offsets| offsets.leader_epoch),
            transaction_version: core.image.transaction_version(),
            new_producer_id: &mut || ids.take(),
        };
        let result = step(host, &mut ctx);
        core.refill_producer_ids();
        Some(result)
    }

    fn act(core: &mut Core, partition: i32, outcomes: Vec<Outcome<Asker>>) {
        for outcome in outcomes {
            match outcome {
                Outcome::Mark(ending) => core.begin_ending(partition, ending),
                Outcome::Reply(Asker::Client { origin, call, place }, answer) => {
                    let answers = vec![(place, answer)];
                    core.post(origin, Mail::Transacted { call, answers });
                }
                Outcome::Reply(Asker::Owner { core: owner, check }, answer) => {
                    core.post(owner, Mail::Checked { check, answer });
                }
            }
        }
    }
}
