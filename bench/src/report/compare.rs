//! Two reports, figure by figure, and the rules that make a comparison fail: `p99>5%`, `records_per_s<5%`.
//!
//! The rounds of a side are merged before they are compared. Sides are matched by name, else by position.

use super::figures::{Figure, figures};
use super::merged::merged;
use super::model::{Machine, Report, Side, Step};
use super::units::{change, digits3, with_unit};
use crate::error::Error;

mod rule;
mod shown;

pub use rule::Rule;

/// A figure of both reports.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Name of the side in the new report.
    pub side: String,
    /// Label of the step.
    pub step: String,
    /// What rules call the figure.
    pub key: String,
    /// What tables call it.
    pub figure: String,
    /// Unit of `base` and `new`.
    pub unit: &'static str,
    /// Whether less is better.
    pub lower_is_better: bool,
    /// In the base.
    pub base: f64,
    /// In the new report.
    pub new: f64,
    /// From base to new in percent; infinite from zero.
    pub change_percent: f64,
}

/// What one rule found on one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The rule.
    pub rule: Rule,
    /// Whether it held.
    pub passed: bool,
    /// The figures in a sentence.
    pub what: String,
}

/// Two reports compared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// All figures both have.
    pub rows: Vec<Row>,
    /// One a rule and row it is about.
    pub verdicts: Vec<Verdict>,
    /// Ledgers of the new report that failed; one is enough to fail.
    pub failed_ledgers: Vec<String>,
    /// What makes the two hard to compare.
    pub warnings: Vec<String>,
}

impl Comparison {
    /// Whether every rule held and no ledger of the new report failed.
    pub fn passed(&self) -> bool {
        self.failed_ledgers.is_empty() && self.verdicts.iter().all(|verdict| verdict.passed)
    }
}

/// Compares `new` with `base`.
///
/// # Errors
/// Reports of different formats or scenarios, without a side or step in common, with damaged histograms, or a rule about a
/// figure that they do not both have.
pub fn compare(base: &Report, new: &Report, rules: &[Rule]) -> Result<Comparison, Error> {
    must_match("formats", &base.format, &new.format)?;
    must_match("scenarios", &base.scenario, &new.scenario)?;
    let mut found = Comparison {
        warnings: differences(base, new),
        ..Comparison::default()
    };
    for (base_side, new_side) in pair_sides(base, new, &mut found.warnings) {
        let (base_steps, new_steps) = (merged(base_side)?, merged(new_side)?);
        found.failed_ledgers.extend(failed_ledgers(new_side, &new_steps));
        compare_steps(&mut found, &new_side.name, &base_steps, &new_steps);
    }
    if found.rows.is_empty() && found.failed_ledgers.is_empty() {
        return Err(Error::failed("the two reports have no figure in common"));
    }
    for rule in rules {
        let verdicts = verdicts(rule, &found.rows);
        if verdicts.is_empty() && found.failed_ledgers.is_empty() {
            return Err(unknown_figure(rule, base, new, &found.rows)?);
        }
        found.verdicts.extend(verdicts);
    }
    Ok(found)
}

fn must_match(what: &str, base: &str, new: &str) -> Result<(), Error> {
    match base == new {
        true => Ok(()),
        false => Err(Error::failed(format!(
            "the reports are of different {what}: {base:?} and {new:?}"
        ))),
    }
}

fn pair_sides<'a>(
    base: &'a Report,
    new: &'a Report,
    warnings: &mut Vec<String>,
) -> Vec<(&'a Side, &'a Side)> {
    let named = |side: &Side| base.sides.iter().find(|other| other.name == side.name);
    let by_name: Vec<_> = new
        .sides
        .iter()
        .filter_map(|side| Some((named(side)?, side)))
        .collect();
    if base.sides.len() != new.sides.len() {
        warnings.push(format!(
            "the base has {} sides, the new {}",
            base.sides.len(),
            new.sides.len()
        ));
    }
    if by_name.len() == new.sides.len() || by_name.len() == base.sides.len() {
        return by_name;
    }
    let by_position: Vec<_> = base.sides.iter().zip(&new.sides).collect();
    for (base, new) in by_position.iter().filter(|(base, new)| base.name != new.name) {
        warnings.push(format!(
            "{} is compared with {}, by position",
            new.name, base.name
        ));
    }
    by_position
}

fn compare_steps(found: &mut Comparison, side: &str, base: &[Step], new: &[Step]) {
    let has = |steps: &[Step], label: &str| steps.iter().any(|step| step.label == label);
    for step in base.iter().filter(|step| !has(new, &step.label)) {
        found
            .warnings
            .push(format!("{side}: only the base has {}", step.label));
    }
    for step in new {
        match base.iter().find(|other| other.label == step.label) {
            Some(other) => found.rows.extend(rows(side, other, step)),
            None => found
                .warnings
                .push(format!("{side}: only the new report has {}", step.label)),
        }
    }
}

fn rows(side: &str, base: &Step, new: &Step) -> Vec<Row> {
    let of_base = figures(base);
    let row = |figure: Figure| {
        let base = of_base.iter().find(|other| other.key == figure.key)?.value;
        Some(Row {
            side: side.to_owned(),
            step: new.label.clone(),
            key: figure.key,
            figure: figure.name,
            unit: figure.unit,
            lower_is_better: figure.lower_is_better,
            base,
            new: figure.value,
            change_percent: if base == figure.value {
                0.0
            } else {
                (figure.value / base - 1.0) * 100.0
            },
        })
    };
    figures(new).into_iter().filter_map(row).collect()
}

fn verdicts(rule: &Rule, rows: &[Row]) -> Vec<Verdict> {
    let verdict = |row: &Row| Verdict {
        rule: rule.clone(),
        passed: rule.allows(row.change_percent),
        what: format!(
            "{} {} {}: {} -> {} ({})",
            row.side,
            row.step,
            row.figure,
            with_unit(row.base, row.unit),
            with_unit(row.new, row.unit),
            change(row.change_percent)
        ),
    };
    rows.iter()
        .filter(|row| row.key == rule.key)
        .map(verdict)
        .collect()
}

fn failed_ledgers(side: &Side, steps: &[Step]) -> Vec<String> {
    let failed = steps
        .iter()
        .filter_map(|step| Some((step, step.ledger.as_ref()?)));
    let failed = failed.filter(|(_, ledger)| ledger.checked && !ledger.passed);
    let sentence = |(step, ledger): (&Step, &super::model::LedgerResult)| {
        format!(
            "{} {}: {}",
            side.name,
            step.label,
            super::text::ledger_counts(ledger)
        )
    };
    failed.map(sentence).collect()
}

/// Says which of the reports lacks the figure, and what there is instead.
fn unknown_figure(rule: &Rule, base: &Report, new: &Report, rows: &[Row]) -> Result<Error, Error> {
    let key = &rule.key;
    let who = match (has_figure(base, key)?, has_figure(new, key)?) {
        (true, true) => "no step of both reports has",
        (true, false) => "the new report does not have",
        (false, true) => "the base does not have",
        (false, false) => "neither report has",
    };
    let mut known: Vec<&str> = Vec::new();
    for row in rows
        .iter()
        .filter(|row| !known.contains(&row.key.as_str()))
        .collect::<Vec<_>>()
    {
        if !known.contains(&row.key.as_str()) {
            known.push(&row.key);
        }
    }
    Ok(Error::usage(format!(
        "{who} the figure {key:?} of the rule {rule}; both have {}",
        known.join(", ")
    )))
}

fn has_figure(report: &Report, key: &str) -> Result<bool, Error> {
    for side in &report.sides {
        if merged(side)?
            .iter()
            .flat_map(figures)
            .any(|figure| figure.key == key)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn differences(base: &Report, new: &Report) -> Vec<String> {
    let mut all = Vec::new();
    let mut differ = |what: &str, base: &str, new: &str| {
        if base != new {
            let (base, new) = (
                if base.is_empty() { "-" } else { base },
                if new.is_empty() { "-" } else { new },
            );
            all.push(format!(
                "{what} differs: {base} in the base, {new} in the new report"
            ));
        }
    };
    let empty = String::new();
    for key in base
        .load
        .keys()
        .chain(new.load.keys().filter(|key| !base.load.contains_key(*key)))
    {
        let of = |report: &Report| report.load.get(key).unwrap_or(&empty).clone();
        differ(&format!("--{key}"), &of(base), &of(new));
    }
    differ("the kernel", &base.machine.kernel, &new.machine.kernel);
    differ("the machine", &hardware(&base.machine), &hardware(&new.machine));
    differ("the tool's version", &base.tool_version, &new.tool_version);
    all
}

fn hardware(machine: &Machine) -> String {
    let gib = digits3(machine.memory_bytes as f64 / (1u64 << 30) as f64);
    format!("{}, {} cores, {gib} GiB", machine.cpu, machine.cores)
}

#[cfg(test)]
mod tests;
