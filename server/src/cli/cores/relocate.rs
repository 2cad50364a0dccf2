//! `ringlog cores move`: a partition goes to another core, while its clients go on.

use std::time::Instant;

use super::{connect, no_ringlog};
use crate::cli::args::CoresMoveArgs;
use crate::cli::client::describe;
use crate::cli::error::{CliError, CliResult};
use crate::cli::output::{Output, fields};
use crate::wire::move_partition::{RinglogMovePartitionRequest, RinglogMovePartitionResponse};

/// Has the broker move it, and waits until it is there.
pub(super) fn run(args: &CoresMoveArgs) -> CliResult<()> {
    let mut connection = connect(&args.connect)?;
    let request = RinglogMovePartitionRequest {
        topic: args.topic.clone(),
        partition_index: args.partition,
        core: i32::from(args.core),
    };
    let begun = Instant::now();
    let RinglogMovePartitionResponse {
        error_code,
        error_message,
    } = connection
        .call(&request, begun + args.connect.timeout)
        .map_err(no_ringlog)?;
    if error_code != 0 {
        let (topic, partition) = (&args.topic, args.partition);
        let reason = describe(error_code, error_message.as_deref());
        return Err(CliError::refused(format!(
            "cannot move partition {partition} of {topic:?} to core {}: {reason}",
            args.core
        )));
    }
    let mut out = Output::stdout(args.connect.json);
    // A message without an error: there was nothing to do.
    let kind = match error_message {
        Some(_) => "already-there",
        None => "moved",
    };
    let moved = fields! {
        kind: kind, topic: args.topic.as_str(), partition: args.partition, core: args.core,
        took_ms: begun.elapsed().as_millis() as u64,
    };
    out.fields_line("", &moved)?;
    out.flush()
}
