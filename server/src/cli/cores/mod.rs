//! `ringlog cores`: what each core does now, where the time of its requests goes, and which partitions load it.
//!
//! A broker counts since its start; what is shown is the difference of two looks.

mod difference;
mod relocate;
mod text;

use std::thread;
use std::time::{Duration, Instant};

use super::args::{ConnectArgs, CoresArgs, CoresChange, CoresCommand};
use super::client::{CallError, Connection, describe, with_port};
use super::error::{CliError, CliResult};
use super::output::Output;
use crate::handlers::describe_cores::MOST_PARTITIONS;
use crate::wire::describe_cores::{
    CoreDescription, RinglogDescribeCoresRequest, RinglogDescribeCoresResponse,
};
use difference::Difference;

/// How far the two looks are apart.
const APART: Duration = Duration::from_secs(1);

/// Shows the cores, or does something about them.
pub fn run(args: &CoresCommand) -> CliResult<()> {
    match &args.command {
        None => show(&args.show),
        Some(CoresChange::Move(args)) => relocate::run(args),
    }
}

/// Shows the cores once, or again and again with `--watch`.
fn show(args: &CoresArgs) -> CliResult<()> {
    let mut connection = connect(&args.connect)?;
    let mut out = Output::stdout(args.connect.json);
    let mut before = look(&mut connection, args)?;
    loop {
        thread::sleep(args.watch.unwrap_or(APART));
        let after = look(&mut connection, args)?;
        let cores: Vec<Difference> = after
            .iter()
            .map(|core| {
                Difference::between(
                    before.iter().find(|old| old.core == core.core),
                    core,
                    args.partitions,
                )
            })
            .collect();
        if out.is_json() {
            out.json_line(&difference::as_json(&cores))?;
        } else {
            text::print(&mut out, &cores)?;
        }
        out.flush()?;
        if args.watch.is_none() {
            return Ok(());
        }
        before = after;
    }
}

/// The first broker of `--bootstrap` that answers.
fn connect(args: &ConnectArgs) -> CliResult<Connection> {
    let mut failed = CliError::Usage("--bootstrap names no broker".to_owned());
    for address in &args.bootstrap {
        let deadline = Instant::now() + args.timeout;
        match Connection::open(&with_port(address), deadline) {
            Ok(connection) => return Ok(connection),
            Err(error) => failed = error.into(),
        }
    }
    Err(failed)
}

/// What the cores have done since they started. All partitions the broker names are asked for: those that are the busiest now
/// need not be the busiest since the start.
fn look(connection: &mut Connection, args: &CoresArgs) -> CliResult<Vec<CoreDescription>> {
    let max_partitions = if args.partitions == 0 { 0 } else { MOST_PARTITIONS };
    let request = RinglogDescribeCoresRequest {
        max_partitions,
        topic: None,
    };
    let deadline = Instant::now() + args.connect.timeout;
    let RinglogDescribeCoresResponse {
        error_code,
        error_message,
        cores,
    } = connection.call(&request, deadline).map_err(no_ringlog)?;
    match error_code {
        0 => Ok(cores),
        code => Err(CliError::refused(describe(code, error_message.as_deref()))),
    }
}

/// Kafka's brokers close the connection on a request they do not know.
fn no_ringlog(error: CallError) -> CliError {
    match error {
        CallError::Lost { address, .. } => CliError::refused(format!(
            "the broker at {address} closed the connection: only Ringlog knows this request, and only where this version does"
        )),
        other => other.into(),
    }
}
