//! `mixed`: tail, and then tail while another consumer reads old data from the start.

use super::Context;
use super::consume::{DEFAULT_FILL_MIB, fill};
use super::measure::{Part, measure};
use super::stage::Stage;
use super::verify::verify;
use crate::error::Error;
use crate::load::reader::{ReaderSpec, Repeat};
use crate::load::tally::Stream;
use crate::report::model::Step;

/// Two steps, alike but for the cold reader.
pub fn run(context: &mut Context<'_>, steps: &mut Vec<Step>) -> Result<(), Error> {
    let mut settings = context.settings.clone();
    let stage = Stage::open(context, &mut settings, false)?;
    let mib = context.flags.fill_mib.unwrap_or(DEFAULT_FILL_MIB);
    fill(context, &stage, &settings, mib)?;
    let filled = stage.ends()?;
    for (label, x, cold) in [("alone", 0.0, false), ("with a cold reader", 1.0, true)] {
        if context.console.interrupted() {
            break;
        }
        let now = stage.ends()?;
        let mut readers = stage.readers(settings.consumers, &now, None, Some(Stream::Consumed), true);
        if cold {
            let cold = stage.readers(1, &stage.starts, Some(&filled), Some(Stream::Cold), false);
            // over and over: once through may be done before the warm-up is
            readers.extend(cold.into_iter().map(|reader| ReaderSpec {
                repeat: Repeat::SameRange,
                max_bytes_per_s: context.flags.cold_bytes_per_s(),
                ..reader
            }));
        }
        let part = Part::timed(label, x, stage.lanes(&settings), readers);
        let mut step = measure(context, &stage, &settings, part)?;
        if cold {
            step.ledger = verify(context, &stage, &settings);
            if let Some(flow) = &step.cold {
                step.figures
                    .insert("cold_mib".into(), flow.bytes as f64 / (1 << 20) as f64);
            }
        }
        steps.push(step);
    }
    stage.close();
    Ok(())
}
