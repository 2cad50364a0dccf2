//! Requests that are answered from the metadata, and those that change it: the former here and now, the latter by
//! core 0.

use super::Core;
use super::calls::{Call, CallId, CallKind, ReplyTo};
use super::control::{After, ControlRequest};
use super::dispatch::Incoming;
use super::mail::{ControlOrder, Mail};
use crate::conn::Answer;
use crate::handlers::context::{Context, fresh_id};
use crate::handlers::{
    alter_configs, api_versions, client_quotas, create_partitions, create_topics, delete_topics,
    describe_cluster, describe_configs, describe_topic_partitions, elect_leaders, incremental_alter_configs,
    metadata, move_partition, reassignments, update_features,
};
use crate::metadata::controller::{self, Outcome};
use crate::metadata::records::Record;
use crate::placement::Placement;
use crate::quotas::mutations::Budget;
use crate::wire::alter_client_quotas::AlterClientQuotasRequest;
use crate::wire::alter_configs::AlterConfigsRequest;
use crate::wire::alter_partition_reassignments::AlterPartitionReassignmentsRequest;
use crate::wire::create_partitions::CreatePartitionsRequest;
use crate::wire::create_topics::CreateTopicsRequest;
use crate::wire::delete_topics::DeleteTopicsRequest;
use crate::wire::elect_leaders::ElectLeadersRequest;
use crate::wire::incremental_alter_configs::IncrementalAlterConfigsRequest;
use crate::wire::metadata::MetadataRequest;
use crate::wire::move_partition::{RinglogMovePartitionRequest, RinglogMovePartitionResponse};
use crate::wire::update_features::UpdateFeaturesRequest;
use crate::wire::{ApiKey, Message, Uuid, WireError};

/// A client's request that may change the metadata.
#[derive(Debug)]
pub enum ClientRequest {
    /// CreateTopics.
    CreateTopics(CreateTopicsRequest),
    /// DeleteTopics.
    DeleteTopics(DeleteTopicsRequest),
    /// CreatePartitions.
    CreatePartitions(CreatePartitionsRequest),
    /// AlterConfigs.
    AlterConfigs(AlterConfigsRequest),
    /// IncrementalAlterConfigs.
    IncrementalAlterConfigs(IncrementalAlterConfigsRequest),
    /// ElectLeaders.
    ElectLeaders(ElectLeadersRequest),
    /// AlterClientQuotas.
    AlterClientQuotas(AlterClientQuotasRequest),
    /// AlterPartitionReassignments.
    AlterPartitionReassignments(AlterPartitionReassignmentsRequest),
    /// UpdateFeatures.
    UpdateFeatures(UpdateFeaturesRequest),
    /// RinglogMovePartition.
    MovePartition(RinglogMovePartitionRequest),
}

impl ClientRequest {
    /// Whether the client can be told that its quota of changes is used up; older ones are only made to wait (KIP-599).
    fn knows_mutation_quota(&self, version: i16) -> bool {
        match self {
            ClientRequest::CreateTopics(_) => version >= 6,
            ClientRequest::DeleteTopics(_) => version >= 5,
            ClientRequest::CreatePartitions(_) => version >= 3,
            _ => true,
        }
    }
}

/// What the controller says to a request.
pub(super) struct Decision {
    /// What is to be appended.
    pub records: Vec<Record>,
    /// What happens once that is in force.
    pub after: After,
}

impl Core {
    /// Answers an ApiVersions request of a version from the future, in the oldest one.
    pub(super) fn answer_unknown_api_versions(&mut self, reply: ReplyTo) {
        let oldest = ReplyTo { version: 0, ..reply };
        self.deliver(reply, Answer::Bytes(oldest.encode(&api_versions::unsupported())));
    }

    /// Starts every request that is about metadata.
    pub(super) fn start_metadata(&mut self, mut incoming: Incoming<'_>) -> Result<(), WireError> {
        let reply = incoming.reply;
        let (shared, image) = (self.shared.clone(), self.image.clone());
        let ctx = &shared.context(&image);
        let client = match reply.api_key {
            ApiKey::Metadata => {
                let request = incoming.decode()?;
                self.answer_metadata(reply, request, Some(incoming.client_id.unwrap_or_default()));
                return Ok(());
            }
            ApiKey::FindCoordinator => {
                let request = incoming.decode()?;
                self.start_find_coordinator(reply, request, true);
                return Ok(());
            }
            ApiKey::CreateTopics => ClientRequest::CreateTopics(incoming.decode()?),
            ApiKey::DeleteTopics => ClientRequest::DeleteTopics(incoming.decode()?),
            ApiKey::CreatePartitions => ClientRequest::CreatePartitions(incoming.decode()?),
            ApiKey::AlterConfigs => ClientRequest::AlterConfigs(incoming.decode()?),
            ApiKey::IncrementalAlterConfigs => ClientRequest::IncrementalAlterConfigs(incoming.decode()?),
            ApiKey::ElectLeaders => ClientRequest::ElectLeaders(incoming.decode()?),
            ApiKey::AlterClientQuotas => ClientRequest::AlterClientQuotas(incoming.decode()?),
            ApiKey::AlterPartitionReassignments => {
                ClientRequest::AlterPartitionReassignments(incoming.decode()?)
            }
            ApiKey::UpdateFeatures => ClientRequest::UpdateFeatures(incoming.decode()?),
            ApiKey::RinglogMovePartition => ClientRequest::MovePartition(incoming.decode()?),
            _ => {
                let answer = match self.answer_administrator(ctx, &mut incoming)? {
                    Some(answer) => answer,
                    None => answer_at_once(ctx, &mut incoming)?,
                };
                self.deliver(reply, answer);
                return Ok(());
            }
        };
        self.ask_controller(ControlRequest::Client {
            to: reply,
            client_id: incoming.client_id.unwrap_or_default(),
            request: client,
        });
        Ok(())
    }

    /// Has core 0 decide.
    pub(super) fn ask_controller(&mut self, request: ControlRequest) {
        let order = ControlOrder {
            core: self.id,
            request,
        };
        self.post(0, Mail::Control(Box::new(order)));
    }

    /// What is missing is created for this client, if one is named.
    fn answer_metadata(&mut self, reply: ReplyTo, request: MetadataRequest, creator: Option<String>) {
        let (shared, image) = (self.shared.clone(), self.image.clone());
        match metadata::handle(
            &shared.context(&image),
            &request,
            reply.version,
            creator.is_some(),
        ) {
            metadata::Answer::Now(response) => self.deliver(reply, Answer::Bytes(reply.encode(&response))),
            metadata::Answer::CreateFirst(names) => {
                let call = self.calls.insert(Call {
                    reply,
                    kind: CallKind::Metadata(Box::new(request)),
                });
                self.ask_controller(ControlRequest::AutoCreate {
                    call,
                    names,
                    client_id: creator,
                });
            }
        }
    }

    /// Connection's core: the topics a request wanted are there, or could not be made.
    pub(super) fn on_topics_ready(&mut self, id: CallId) {
        match self.calls.remove(id) {
            Some(Call {
                reply,
                kind: CallKind::Metadata(request),
            }) => self.answer_metadata(reply, *request, None),
            Some(Call {
                reply,
                kind: CallKind::Coordinator(request),
            }) => self.start_find_coordinator(reply, *request, false),
            _ => {}
        }
    }

    /// Core 0: what becomes of a request, as the metadata are now.
    pub(super) fn decide(&mut self, order: ControlOrder) -> Option<Decision> {
        let shared = self.shared.clone();
        let ctx = shared.context(self.control.as_ref()?.image());
        let ControlOrder { core, request } = order;
        let now_ms = shared.rates.ms(self.io.now());
        Some(match request {
            ControlRequest::Boot(records) => Decision {
                records,
                after: After::Booted,
            },
            ControlRequest::Client {
                to,
                client_id,
                request,
            } => {
                let is_strict = request.knows_mutation_quota(to.version);
                let mut budget = self.mutations.budget(ctx.image, &client_id, is_strict, now_ms);
                decide_client(&ctx, &self.placement, to, &request, &mut budget)
            }
            ControlRequest::AutoCreate {
                call,
                names,
                client_id,
            } => {
                let mut budget = match &client_id {
                    Some(client_id) => self.mutations.budget(ctx.image, client_id, true, now_ms),
                    None => Budget::unlimited(),
                };
                let Outcome { records, .. } =
                    create_topics::auto_create(&ctx, &names, &mut budget, &mut new_id);
                Decision {
                    records,
                    after: After::TopicsReady { core, call },
                }
            }
            ControlRequest::ProducerIds => match controller::producer_id_block(ctx.view()) {
                Ok((record, ids)) => {
                    let count = (ids.end - ids.start) as i32;
                    let after = After::ProducerIds {
                        core,
                        first: Some(ids.start),
                        count,
                    };
                    Decision {
                        records: vec![record],
                        after,
                    }
                }
                Err(refusal) => {
                    crate::error!("{}", refusal.message);
                    let after = After::ProducerIds {
                        core,
                        first: None,
                        count: 0,
                    };
                    Decision {
                        records: Vec::new(),
                        after,
                    }
                }
            },
        })
    }
}

fn answer_at_once(ctx: &Context<'_>, incoming: &mut Incoming<'_>) -> Result<Answer, WireError> {
    let reply = incoming.reply;
    let version = reply.version;
    Ok(Answer::Bytes(match reply.api_key {
        ApiKey::ApiVersions => reply.encode(&api_versions::handle(ctx, &incoming.decode()?, version)),
        ApiKey::DescribeConfigs => reply.encode(&describe_configs::handle(ctx, &incoming.decode()?)),
        ApiKey::DescribeCluster => reply.encode(&describe_cluster::handle(ctx, &incoming.decode()?)),
        ApiKey::DescribeTopicPartitions => {
            reply.encode(&describe_topic_partitions::handle(ctx, &incoming.decode()?))
        }
        // Every key of the table is dealt with; one that is not says so and does no harm.
        other => {
            crate::error!("{other} is advertised and not handled");
            return Ok(Answer::Close);
        }
    }))
}

fn decide_client(
    ctx: &Context<'_>,
    placement: &Placement,
    to: ReplyTo,
    request: &ClientRequest,
    budget: &mut Budget<'_>,
) -> Decision {
    match request {
        ClientRequest::CreateTopics(request) => {
            let mut outcome = create_topics::handle(ctx, request, budget, &mut new_id);
            outcome.response.throttle_time_ms = budget.throttle_time_ms();
            granted(to, outcome)
        }
        ClientRequest::DeleteTopics(request) => {
            let mut outcome = delete_topics::handle(ctx, request, budget, to.version);
            outcome.response.throttle_time_ms = budget.throttle_time_ms();
            granted(to, outcome)
        }
        ClientRequest::CreatePartitions(request) => {
            let mut outcome = create_partitions::handle(ctx, request, budget);
            outcome.response.throttle_time_ms = budget.throttle_time_ms();
            granted(to, outcome)
        }
        ClientRequest::AlterConfigs(request) => granted(to, alter_configs::handle(ctx, request)),
        ClientRequest::IncrementalAlterConfigs(request) => {
            granted(to, incremental_alter_configs::handle(ctx, request))
        }
        ClientRequest::ElectLeaders(request) => granted(to, elect_leaders::handle(ctx, request)),
        ClientRequest::AlterClientQuotas(request) => granted(to, client_quotas::alter(ctx, request)),
        ClientRequest::AlterPartitionReassignments(request) => {
            granted(to, reassignments::alter(ctx, request))
        }
        ClientRequest::UpdateFeatures(request) => {
            granted(to, update_features::handle(ctx, request, to.version))
        }
        ClientRequest::MovePartition(request) => decide_move(ctx, placement, to, request),
    }
}

fn decide_move(
    ctx: &Context<'_>,
    placement: &Placement,
    to: ReplyTo,
    request: &RinglogMovePartitionRequest,
) -> Decision {
    let answer =
        |response: &RinglogMovePartitionResponse| After::Answer(to, Answer::Bytes(to.encode(response)));
    let after = match move_partition::handle(request, ctx.image, placement) {
        Ok(Some(relocation)) => After::Relocate(to, relocation),
        Ok(None) => answer(&move_partition::already_there(request)),
        Err(refusal) => answer(&refusal),
    };
    Decision {
        records: Vec::new(),
        after,
    }
}

fn granted<R: Message>(to: ReplyTo, outcome: Outcome<R>) -> Decision {
    let answer = Answer::Bytes(to.encode(&outcome.response));
    Decision {
        records: outcome.records,
        after: After::Answer(to, answer),
    }
}

/// Random; a system without random bytes would have failed at start already.
pub(super) fn new_id() -> Uuid {
    fresh_id().unwrap_or(Uuid::ZERO)
}
