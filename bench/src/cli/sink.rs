//! The sink as a process of its own, so that what it uses is not taken for the client's.

use std::path::Path;

use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::Error;
use crate::launch::command::quote;
use crate::launch::{Launch, Running, free_port, start};
use crate::sink::{Keep, Sink, SinkConfig};

/// What the sink is called in reports.
pub const SINK: &str = "sink";

/// A listener that answers and stores nothing.
#[derive(Args, Debug)]
pub struct SinkFlags {
    /// Port of 127.0.0.1; 0 for a free one, which is printed
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub port: u16,
    /// Threads that serve
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub threads: usize,
}

/// Serves until SIGINT or SIGTERM.
pub fn run(flags: &SinkFlags) -> Result<bool, Error> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(|e| Error::failed(format!("signals: {e}")))?;
    let config = SinkConfig {
        threads: flags.threads,
        keep: Keep::Nothing,
        fault: None,
    };
    let sink = Sink::start_on(flags.port, config)?;
    println!("sink on {}", sink.address());
    signals.forever().next();
    Ok(true)
}

/// Starts one beside this process, with its log below `directory`.
pub fn launch(directory: &Path, threads: usize) -> Result<Running, Error> {
    let program =
        std::env::current_exe().map_err(|e| Error::failed(format!("this program's own file: {e}")))?;
    let program = quote(&program.to_string_lossy());
    let launch = Launch {
        name: SINK.into(),
        command: format!("exec {program} sink --port {{port}} --threads {threads}"),
    };
    start(&launch, &directory.join(SINK), free_port()?)
}
