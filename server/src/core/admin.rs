//! What administrators ask of the cluster as a whole, answered by any core from what it has.

use super::Core;
use super::dispatch::Incoming;
use crate::conn::Answer;
use crate::handlers::context::Context;
use crate::handlers::{
    alter_log_dirs, client_quotas, describe_quorum, list_config_resources, reassignments, scram_credentials,
};
use crate::wire::{ApiKey, WireError};

impl Core {
    /// The answer, if it is such a request.
    pub(super) fn answer_administrator(
        &self,
        ctx: &Context<'_>,
        incoming: &mut Incoming<'_>,
    ) -> Result<Option<Answer>, WireError> {
        let reply = incoming.reply;
        let version = reply.version;
        Ok(Some(Answer::Bytes(match reply.api_key {
            ApiKey::DescribeClientQuotas => reply.encode(&client_quotas::describe(ctx, &incoming.decode()?)),
            ApiKey::ListConfigResources => {
                reply.encode(&list_config_resources::handle(ctx, &incoming.decode()?, version))
            }
            ApiKey::ListPartitionReassignments => {
                reply.encode(&reassignments::list(ctx, &incoming.decode()?))
            }
            ApiKey::AlterReplicaLogDirs => {
                let directory = &self.shared.data_dir;
                reply.encode(&alter_log_dirs::handle(ctx, &incoming.decode()?, directory))
            }
            ApiKey::DescribeUserScramCredentials => {
                reply.encode(&scram_credentials::describe(&incoming.decode()?))
            }
            ApiKey::DescribeQuorum => reply.encode(&describe_quorum::handle(
                ctx,
                &incoming.decode()?,
                self.io.wall_ms(),
            )),
            _ => return Ok(None),
        })))
    }
}
