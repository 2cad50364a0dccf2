//! A comparison as the terminal shows it: failed ledgers, a table a side and step, warnings, verdicts.

use std::fmt;

use super::{Comparison, Verdict};
use crate::report::table::Table;
use crate::report::units::{change, plain, with_unit};

impl fmt::Display for Comparison {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for what in &self.failed_ledgers {
            writeln!(out, "LEDGER FAILED  {}", plain(what))?;
        }
        let mut group = None;
        for row in &self.rows {
            if group.replace((&row.side, &row.step)) != Some((&row.side, &row.step)) {
                writeln!(out, "{}", plain(&format!("{}  {}", row.side, row.step)))?;
                self.group_table(&row.side, &row.step)
                    .lines()
                    .iter()
                    .try_for_each(|l| writeln!(out, "  {l}"))?;
            }
        }
        for warning in &self.warnings {
            writeln!(out, "warning  {}", plain(warning))?;
        }
        for Verdict { rule, passed, what } in &self.verdicts {
            let word = if *passed { "ok     " } else { "FAILED " };
            writeln!(out, "{word}  {rule}  {}", plain(what))?;
        }
        Ok(())
    }
}

impl Comparison {
    fn group_table(&self, side: &str, step: &str) -> Table {
        let mut table = Table::new(["figure", "base", "new", "change", ""]);
        for row in self
            .rows
            .iter()
            .filter(|row| row.side == side && row.step == step)
        {
            let better = (row.change_percent < 0.0) == row.lower_is_better;
            let word = match row.change_percent.abs() {
                size if size < 1.0 => "",
                _ if better => "better",
                _ => "worse",
            };
            table.row(vec![
                row.figure.clone(),
                with_unit(row.base, row.unit),
                with_unit(row.new, row.unit),
                change(row.change_percent),
                word.to_owned(),
            ]);
        }
        table
    }
}
