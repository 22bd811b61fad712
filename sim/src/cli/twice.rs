//! Determinism: one plan in two processes must print the same bytes.

use crate::cli::jobs::{Progress, child, each};
use crate::cli::print;
use crate::plan::Plan;

/// The exit code for two runs of one plan that differed.
const DIFFERED: u8 = 5;

/// Runs every plan twice. What a run showed does not matter here, only that it shows it again.
pub fn run(plans: &[Plan]) -> anyhow::Result<u8> {
    let mut progress = Progress::new(plans.len());
    let mut differed = 0;
    let mut trouble = None;
    each(plans, compare, |index, result| {
        let settings = &plans[index].settings;
        let what = match result {
            Ok(None) => "identical".to_string(),
            Ok(Some(difference)) => {
                differed += 1;
                format!("different\n{difference}")
            }
            Err(error) => {
                trouble = Some(error);
                return;
            }
        };
        let engine = settings.engine.to_string();
        let (name, seed) = (&settings.scenario, settings.seed);
        progress.done(&format!("{name:<26} {engine:<8} seed {seed:<4} {what}"));
    });
    let took = progress.finish();
    if let Some(error) = trouble {
        return Err(error);
    }
    let identical = plans.len() - differed;
    print(&format!("\n{identical} identical, {differed} different, in {took:.1?}\n"));
    Ok(if differed > 0 { DIFFERED } else { 0 })
}

/// What differs first, if anything does: of the pages, and if they differ, of the events.
fn compare(plan: &Plan) -> anyhow::Result<Option<String>> {
    let (one, other) = (child(plan, &[])?, child(plan, &[])?);
    if one.text == other.text && one.code == other.code {
        return Ok(None);
    }
    let (one_log, other_log) = (child(plan, &["--log"])?, child(plan, &["--log"])?);
    let difference = first(&one_log.text, &other_log.text);
    let difference = difference.or_else(|| first(&one.text, &other.text));
    Ok(Some(difference.unwrap_or_else(|| "exit codes alone differ".into())))
}

/// The first line that differs, of both, with its number.
fn first(one: &str, other: &str) -> Option<String> {
    let (mut lines, mut others) = (one.lines(), other.lines());
    let mut number = 1;
    loop {
        match (lines.next(), others.next()) {
            (None, None) => return None,
            (line, other) if line == other => number += 1,
            (line, other) => {
                let end = "(the end)";
                return Some(format!(
                    "line {number}\n- {}\n+ {}",
                    line.unwrap_or(end),
                    other.unwrap_or(end)
                ));
            }
        }
    }
}
