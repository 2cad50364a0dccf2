//! `ringlog serve`: configuration, broker, signals, exit code.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::broker::Broker;
use crate::cli::args::ServeArgs;
use crate::cli::error::{CliError, CliResult};
use crate::config::{Config, Origin};

/// SIGINT and SIGTERM, the signals that end the broker cleanly.
const SIGNALS: [i32; 2] = [2, 15];

/// Runs the broker until a signal ends it.
///
/// # Errors
/// The configuration is refused, the broker cannot start, or not everything could be written at the end.
pub fn run(args: &ServeArgs) -> CliResult<()> {
    let config = configure(args)?;
    for name in &config.unsupported {
        crate::warn!("{name} is not supported and has no effect");
    }
    for notice in &config.notices {
        crate::warn!("{notice}");
    }
    let signals = signals()?;
    let broker = Broker::start(config).map_err(CliError::refused)?;
    let ready = broker.ready_line();
    crate::info!("{ready}");
    // A reader of the line that has gone is no reason to stop serving.
    let _ = writeln!(std::io::stdout(), "{ready}");
    wait(signals);
    crate::info!("stopping");
    broker.stop().map_err(CliError::refused)?;
    crate::info!("stopped");
    Ok(())
}

fn configure(args: &ServeArgs) -> CliResult<Config> {
    let sets: Vec<String> = args
        .set
        .iter()
        .map(|pair| format!("{}={}", pair.key, pair.value))
        .collect();
    let data_dir = args
        .data_dir
        .as_ref()
        .map(|dir| dir.to_string_lossy().into_owned());
    let origin = Origin {
        file: args.config.as_deref(),
        sets: &sets,
        data_dir: data_dir.as_deref(),
        listen: args.listen.as_deref(),
        cores: args.cores.map(usize::from),
    };
    Config::load(&origin).map_err(CliError::refused)
}

/// Where a byte arrives with each signal.
fn signals() -> CliResult<UnixStream> {
    let (reader, writer) = UnixStream::pair().map_err(CliError::refused)?;
    for signal in SIGNALS {
        let writer = writer.try_clone().map_err(CliError::refused)?;
        signal_hook::low_level::pipe::register(signal, writer).map_err(CliError::refused)?;
    }
    Ok(reader)
}

fn wait(mut signals: UnixStream) {
    while let Err(error) = signals.read_exact(&mut [0]) {
        // Interrupted: look again. Anything else cannot happen to a pair of our own, and ending is then the safe thing.
        if error.kind() != std::io::ErrorKind::Interrupted {
            return;
        }
    }
}
