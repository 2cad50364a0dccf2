//! Reading everything back for the ledger, where the scenario itself did not.

use super::Context;
use super::measure::{GIVEN_UP, Part, measure};
use super::stage::Stage;
use crate::load::settings::Settings;
use crate::report::model::LedgerResult;

/// Reads what the ledger has not seen, and gives its verdict. A broker that cannot be read is a failed ledger, not an error:
/// the report is written all the same.
pub fn verify(context: &mut Context<'_>, stage: &Stage, settings: &Settings) -> Option<LedgerResult> {
    let Some(ledger) = stage.ledger.clone() else {
        let note = "the sink stores nothing: there is nothing to read back".into();
        return Some(LedgerResult {
            notes: vec![note],
            ..LedgerResult::default()
        });
    };
    if let Err(error) = read_back(context, stage, settings) {
        let mut result = ledger.conclude();
        result.checked = false;
        result.passed = false;
        result.notes.insert(0, format!("could not be read back: {error}"));
        return Some(result);
    }
    Some(ledger.conclude())
}

fn read_back(
    context: &mut Context<'_>,
    stage: &Stage,
    settings: &Settings,
) -> Result<(), crate::error::Error> {
    let ends = stage.ends()?;
    let readers = stage.readers(settings.consumers, &stage.starts, Some(&ends), None, true);
    let records = ends
        .iter()
        .zip(&stage.starts)
        .map(|(end, start)| (end - start).max(0) as u64)
        .sum();
    // what an interrupted run has written is read back all the same: else it would count as lost
    let part = Part {
        interruptible: false,
        beside: None,
        ..Part::whole("reading back", Vec::new(), readers, records)
    };
    let step = measure(context, stage, settings, part)?;
    match step.events.iter().find(|event| event.what.starts_with(GIVEN_UP)) {
        // a broker that answers still has no more to give: what was not read is lost
        Some(event) if stage.ends().is_err() => Err(crate::error::Error::failed(&event.what)),
        Some(_) => Ok(()),
        None => Ok(()),
    }
}
