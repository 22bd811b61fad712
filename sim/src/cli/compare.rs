//! Runs beside each other: a column for each plan, a row for each figure.

use std::fmt::Write as _;

use anyhow::bail;

use super::files::Drawn;
use super::jobs::{child, each};
use crate::plan::Plan;
use crate::report::Run;

/// What one run came to: names and figures, in the order of the page.
type Column = Vec<(String, String)>;

/// Executes every plan to its end, whatever breaks, and lays their figures side by side.
pub fn page(plans: &[Drawn]) -> anyhow::Result<String> {
    let mut columns: Vec<Option<anyhow::Result<Column>>> = plans.iter().map(|_| None).collect();
    each(plans, |drawn| column(&drawn.plan), |index, result| columns[index] = Some(result));
    let columns = columns.into_iter().flatten().collect::<anyhow::Result<Vec<Column>>>()?;
    let heads = plans.iter().map(|drawn| {
        let settings = &drawn.plan.settings;
        Head {
            scenario: settings.scenario.clone(),
            run: format!("{}, seed {}", settings.engine, settings.seed),
            instead: crate::scenario::words(&settings.instead),
        }
    });
    lay_out(heads.collect(), &columns)
}

/// The same of runs that are at hand.
pub fn of_runs(runs: &[Run]) -> anyhow::Result<String> {
    let heads = runs.iter().map(|run| Head {
        scenario: run.scenario.clone(),
        run: format!("{}, seed {}", run.engine, run.seed),
        instead: run.instead.clone(),
    });
    let columns: Vec<Column> = runs.iter().map(|run| run.column.clone()).collect();
    lay_out(heads.collect(), &columns)
}

/// What stands above a column.
struct Head {
    scenario: String,
    run: String,
    /// What was set otherwise, if anything was.
    instead: String,
}

fn lay_out(heads: Vec<Head>, columns: &[Column]) -> anyhow::Result<String> {
    let mut text = String::new();
    let row = |part: fn(&Head) -> &String| ("", heads.iter().map(part).cloned().collect());
    let mut rows: Vec<(&str, Vec<String>)> = vec![row(|head| &head.scenario)];
    if heads.iter().any(|head| !head.instead.is_empty()) {
        rows.push(row(|head| &head.instead));
    }
    rows.push(row(|head| &head.run));
    for (name, _) in columns.iter().flatten() {
        if rows.iter().any(|(known, _)| known == name) {
            continue;
        }
        // A check may have nothing to say of some of the runs.
        let figure = |column: &Column| {
            let there = column.iter().find(|(other, _)| other == name);
            there.map_or("-".into(), |(_, figure)| figure.clone())
        };
        rows.push((name, columns.iter().map(figure).collect()));
    }
    let widths: Vec<usize> = (0..columns.len())
        .map(|place| rows.iter().map(|(_, row)| row[place].len()).max().unwrap_or_default())
        .collect();
    for (name, row) in rows {
        write!(text, "{name:<22}")?;
        for (figure, width) in row.iter().zip(&widths) {
            write!(text, "  {figure:>width$}")?;
        }
        text.push('\n');
    }
    Ok(text)
}

/// Executes one plan in a child of its own.
fn column(plan: &Plan) -> anyhow::Result<Column> {
    let said = child(plan, &["--column"])?;
    if said.code != 0 {
        bail!("{} did not come to an end\n{}", plan.settings.scenario, said.text.trim_end());
    }
    let rows = said.text.lines().filter_map(|line| line.split_once('\t'));
    Ok(rows.map(|(name, figure)| (name.to_string(), figure.to_string())).collect())
}
