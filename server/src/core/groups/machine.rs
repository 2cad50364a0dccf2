//! Coordinators of groups as machines of the partitions of `__consumer_offsets`.

use super::{Asker, GroupOrder, told};
use crate::core::Core;
use crate::core::cluster::new_id;
use crate::core::coordinators::{Decision, Host, Hosts, Machine, Replayed};
use crate::core::mail::Mail;
use crate::groups::{Coordinator, Ctx, GroupRequest, GroupResponse, Rebalance, Step};
use crate::handlers::groups::{OFFSETS_TOPIC, Told};
use crate::handlers::produce::refusal;
use crate::wire::group_records::GroupRecord;
use crate::wire::{ErrorCode, WireError};

/// The coordinator of one partition.
pub type Groups = Coordinator<Asker>;

/// What a coordinator sees of the world, and what it tells the operator.
pub struct World<'a> {
    ctx: Ctx<'a>,
    rebalances: Vec<Rebalance>,
}

impl World<'_> {
    fn decision(&mut self, step: Step<Asker>) -> Decision<(Asker, Told)> {
        self.rebalances.extend(step.rebalances);
        Decision {
            records: step.records.iter().map(GroupRecord::encode).collect(),
            producer: step.producer,
            outcomes: answers(step.replies),
        }
    }
}

fn answers(replies: Vec<(Asker, GroupResponse)>) -> Vec<(Asker, Told)> {
    let replies = replies.into_iter();
    replies
        .map(|(asker, answer)| (asker, Told::Answer(answer)))
        .collect()
}

impl Machine for Groups {
    const TOPIC: &'static str = OFFSETS_TOPIC;
    const SUBJECT: &'static str = "groups";
    type Order = GroupOrder;
    type Outcome = (Asker, Told);
    type World<'a> = World<'a>;

    /// Offsets of a transaction go into the log: if that does not take them, the coordinator must not, either.
    fn admit(core: &Core, partition: i32, order: &GroupOrder) -> Result<(), ErrorCode> {
        let GroupRequest::TxnCommit(request) = &order.request else {
            return Ok(());
        };
        let host = core.groups.by_partition.get(&partition);
        let slot = host.and_then(|host| core.partitions.slot(&host.key));
        let slot = slot.ok_or(ErrorCode::NotCoordinator)?;
        let taken = core
            .shard
            .takes_txn(slot, request.producer_id, request.producer_epoch);
        taken.map_err(|error| refusal(&error).code)
    }

    fn take(&mut self, world: &mut World<'_>, order: GroupOrder) -> Decision<(Asker, Told)> {
        let step = self.handle(&mut world.ctx, order.caller, order.request);
        world.decision(step)
    }

    fn deadline_ms(&self) -> Option<i64> {
        self.deadline()
    }

    fn expire(&mut self, world: &mut World<'_>, most: usize) -> Decision<(Asker, Told)> {
        let step = Coordinator::expire(self, &mut world.ctx, most);
        world.decision(step)
    }

    fn replay(&mut self, record: Replayed<'_>) -> Result<bool, WireError> {
        let decoded = GroupRecord::decode(record.key, record.value)?;
        let is_known = !matches!(decoded, GroupRecord::Other(_));
        Coordinator::replay(self, decoded, record.producer_id);
        Ok(is_known)
    }

    fn replay_end(&mut self, producer_id: i64, is_commit: bool) {
        self.end_transaction(producer_id, is_commit);
    }

    fn loaded(&mut self, world: &mut World<'_>) -> Decision<(Asker, Told)> {
        let step = Coordinator::loaded(self, &mut world.ctx);
        world.decision(step)
    }

    fn topics_changed(&mut self, world: &mut World<'_>) -> Decision<(Asker, Told)> {
        let step = self.on_topics_changed(&mut world.ctx);
        world.decision(step)
    }

    fn resign(&mut self) -> Vec<(Asker, Told)> {
        answers(Coordinator::resign(self).replies)
    }

    fn refuse(order: &GroupOrder, code: ErrorCode) -> Option<(Asker, Told)> {
        Some((order.caller.to, told(&order.request, code)))
    }

    fn refused((asker, told): (Asker, Told), code: ErrorCode) -> Option<(Asker, Told)> {
        Some(match told {
            Told::Answer(answer) => (asker, Told::Answer(answer.refused(code))),
            told => (asker, told),
        })
    }

    fn too_large((asker, told): (Asker, Told)) -> Option<(Asker, Told)> {
        let code = match told {
            Told::Answer(GroupResponse::Commit(_)) => ErrorCode::InvalidCommitOffsetSize,
            _ => ErrorCode::UnknownServerError,
        };
        Self::refused((asker, told), code)
    }

    fn hosts(core: &mut Core) -> &mut Hosts<Self> {
        &mut core.groups
    }

    fn with_world<R>(
        core: &mut Core,
        partition: i32,
        step: impl FnOnce(&mut Host<Self>, &mut World<'_>) -> R,
    ) -> Option<R> {
        let now_ms = core.groups.now_ms(core.io.now());
        let wall_ms = core.io.wall_ms();
        let image = core.image.clone();
        let host = core.groups.by_partition.get_mut(&partition)?;
        let mut world = World {
            ctx: Ctx {
                now_ms,
                wall_ms,
                settings: &core.group_settings,
                image: &image,
                new_id: &mut new_id,
            },
            rebalances: Vec::new(),
        };
        let result = step(host, &mut world);
        for rebalance in world.rebalances {
            if let Some(line) = core.rebalance_log.line(now_ms, &rebalance) {
                crate::info!("{line}");
            }
        }
        Some(result)
    }

    fn act(core: &mut Core, _partition: i32, outcomes: Vec<(Asker, Told)>) {
        for (asker, told) in outcomes {
            let Asker { origin, call, place } = asker;
            let answers = vec![(place, told)];
            core.post(origin, Mail::Grouped { call, answers });
        }
    }
}
