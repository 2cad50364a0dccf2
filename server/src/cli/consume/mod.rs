//! `ringlog consume`: a topic's records to stdout, without a consumer group.

mod fetcher;
mod format;
mod start;
mod transactions;

use ringlog_records::Record;

use super::args::ConsumeArgs;
use super::client::Client;
use super::error::{CliError, CliResult};
use super::output::{Fields, Output, fields, insert_record};
use fetcher::Fetcher;
use format::Format;

/// Prints records until the end, the count, or for ever.
pub fn run(args: &ConsumeArgs) -> CliResult<()> {
    let printer = Printer::new(args)?;
    let mut client = Client::connect(&args.connect)?;
    let cursors = start::cursors(&mut client, args)?;
    let mut fetcher = Fetcher::new(client, args, cursors);
    let mut consuming = Consuming {
        args,
        printer,
        out: Output::stdout(args.connect.json),
        left: args.max_records,
    };
    while !fetcher.is_done() && consuming.left != Some(0) {
        let fetched = fetcher.round(&mut |partition, record| consuming.show(partition, &record));
        // What came before an error is shown before it.
        consuming.out.flush()?;
        fetched?;
    }
    Ok(())
}

struct Consuming<'a> {
    args: &'a ConsumeArgs,
    printer: Printer,
    out: Output,
    /// Records still to show; `None` is no limit.
    left: Option<u64>,
}

/// Whether more records are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    More,
    Enough,
}

impl Consuming<'_> {
    fn show(&mut self, partition: i32, record: &Record) -> CliResult<Wish> {
        if self.left == Some(0) {
            return Ok(Wish::Enough);
        }
        self.printer
            .print(&mut self.out, &self.args.topic, partition, record)?;
        self.left = self.left.map(|left| left - 1);
        Ok(if self.left == Some(0) {
            Wish::Enough
        } else {
            Wish::More
        })
    }
}

/// The three ways to show a record.
#[derive(Debug)]
enum Printer {
    Value,
    Json,
    Format(Format),
}

impl Printer {
    fn new(args: &ConsumeArgs) -> CliResult<Self> {
        match &args.format {
            _ if args.connect.json => Ok(Self::Json),
            Some(text) => Format::parse(text).map(Self::Format).map_err(CliError::Usage),
            None => Ok(Self::Value),
        }
    }

    fn print(&self, out: &mut Output, topic: &str, partition: i32, record: &Record) -> CliResult<()> {
        match self {
            Self::Value => {
                out.bytes(record.value.as_deref().unwrap_or_default())?;
                out.bytes(b"\n")
            }
            Self::Json => out.json_line(&as_json(topic, partition, record)),
            Self::Format(format) => out.bytes(&format.apply(topic, partition, record)),
        }
    }
}

fn as_json(topic: &str, partition: i32, record: &Record) -> Fields {
    let mut shown = fields! { topic: topic, partition: partition };
    insert_record(&mut shown, record);
    shown
}
