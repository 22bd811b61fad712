//! Whether the checks catch what they are for: core makes a mistake on purpose, one at a time.
//!
//! Decides where each mistake should be noticed: the first scenario named is the one that is about
//! it, on the first of its engines. What comes of it is a table, and the last column of the table of
//! checks in `sim/README.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use portcullis_core::mistake::Mistake;

use crate::check;
use crate::cli::jobs::{Progress, Said, child, each};
use crate::cli::load;
use crate::plan::{Choice, Plan};
use crate::scenario;

/// Why nothing can be validated by a release.
pub const RELEASE: &str = "this build makes no mistakes: only one with debug assertions does";

/// The exit code for a mistake that nobody caught.
const SURVIVED: u8 = 2;

/// The scenarios that should notice a mistake, the one that is about it first.
fn scenarios(mistake: Mistake) -> &'static [&'static str] {
    match mistake {
        Mistake::LateExpiry
        | Mistake::EarlyExpiry
        | Mistake::FenceStill
        | Mistake::DoubleAdvance => &["lease/partitioned-leader", "lease/cancel-storm"],
        Mistake::ClaimTakes
        | Mistake::EarlyGrant
        | Mistake::QueueUnlimited
        | Mistake::DoubleAnswer
        | Mistake::BudgetIgnored => &["lease/cancel-storm"],
        Mistake::ExtensionTakes => &["ha/extension-comes-late"],
        Mistake::VoidDone | Mistake::CancelLost | Mistake::DeadlineForgotten => {
            &["lease/stalled-log"]
        }
        Mistake::ClockWaits => &["lease/clock-starved"],
        Mistake::UnknownDenied => &["lease/acks-lost"],
        Mistake::LeadsTooLong => &["lease/partitioned-leader", "lease/slow-and-held-links"],
        Mistake::FlagTooLong => &["ha/singular-fails-over"],
        Mistake::HoldForgotten => &["startup/controllers-first"],
        Mistake::DelayForgotten | Mistake::PermitLeak | Mistake::PaceIgnored => {
            &["startup/two-phase"]
        }
        Mistake::LossIgnored => &["startup/lost-itself"],
        Mistake::LoginLeak => &["herd/slow-login"],
        Mistake::AdmissionOff => &["herd/few-at-once"],
        Mistake::NoBackoff | Mistake::NoJitter | Mistake::WaiterForgotten => {
            &["herd/gone-for-minutes"]
        }
        Mistake::RedirectsForgotten => &["balance/each-sends-on"],
        Mistake::NoHysteresis => &["balance/comes-back", "balance/redirect"],
        Mistake::StaleCount => &["balance/stale-counts", "balance/comes-back"],
        Mistake::SurplusToFullest | Mistake::MovedAtOnce => &["balance/redirect"],
        Mistake::QuorumForgotten | Mistake::DemotesItself => &["ha/voters-apart"],
        Mistake::NameReused => &["ha/join-three"],
        Mistake::DrainForgets => &["startup/drain"],
        Mistake::BatchUnlimited => &["lease/slow-log"],
        Mistake::ListIgnored => &["ha/addresses-move"],
        Mistake::EmptyWritten => &["ha/nobody-in-the-space"],
        Mistake::AmbiguousBound => &["ha/bind-address-late"],
        Mistake::RemovedStays => &["ha/removed-node-returns"],
        Mistake::FrontBlind => &["balance/front-proxy"],
        Mistake::ExpiriesLeftOut | Mistake::FenceOfHeld => &["ha/snapshot-loses-nothing"],
        Mistake::PinsLeftOut | Mistake::PinnedExpire => &["ha/snapshot-has-pins"],
    }
}

/// Parses a mistake's name.
pub fn mistake(name: &str) -> Result<Mistake, String> {
    let known = || Mistake::ALL.map(|mistake| mistake.to_string()).join(", ");
    Mistake::named(name).ok_or_else(|| format!("there are these: {}", known()))
}

/// One run under a mistake.
struct Trial {
    mistake: Mistake,
    scenario: &'static str,
    seed: u64,
    plan: Plan,
}

/// By whom a mistake was caught, where, and how many runs that took.
struct Catch {
    scenario: &'static str,
    seeds: u64,
    by: String,
}

/// Makes the mistakes, or all of them, prints a row for each, and writes into `readme` which check
/// catches which.
pub fn run(chosen: &[Mistake], seeds: u64, readme: Option<&Path>) -> anyhow::Result<u8> {
    if !cfg!(debug_assertions) {
        bail!("{RELEASE}");
    }
    if readme.is_some() && !chosen.is_empty() {
        bail!("only all mistakes say what each check catches");
    }
    let chosen = if chosen.is_empty() { &Mistake::ALL } else { chosen };
    let mut caught: BTreeMap<Mistake, Catch> = BTreeMap::new();
    let most = chosen.iter().map(|mistake| scenarios(*mistake).len()).max().unwrap_or_default();
    for place in 0..most {
        for seed in 1..=seeds {
            let open = chosen.iter().filter(|mistake| !caught.contains_key(mistake));
            let trials: Vec<Trial> = open
                .filter_map(|mistake| Some((*mistake, *scenarios(*mistake).get(place)?)))
                .map(|(mistake, scenario)| trial(mistake, scenario, seed))
                .collect::<Result<_, _>>()?;
            caught.extend(round(&trials)?);
        }
    }
    print!("{}", page(chosen, &caught));
    if let Some(readme) = readme {
        let text = fs::read_to_string(readme)
            .with_context(|| format!("cannot read {}", readme.display()))?;
        let text = with_catches(&text, &caught);
        fs::write(readme, text).with_context(|| format!("cannot write {}", readme.display()))?;
    }
    let survived = chosen.iter().any(|mistake| !caught.contains_key(mistake));
    Ok(if survived { SURVIVED } else { 0 })
}

fn trial(mistake: Mistake, scenario: &'static str, seed: u64) -> anyhow::Result<Trial> {
    let settings = load(&scenario::find(Path::new(scenario)))?;
    let Some(engine) = settings.engines.first() else { bail!("{scenario} is on no engine") };
    let choice = Choice { engine: *engine, seed, agents: None, intensity: 100 };
    let plan = Plan::draw(scenario, &settings, &choice);
    Ok(Trial { mistake, scenario, seed, plan })
}

/// Runs each trial in a process of its own.
fn round(trials: &[Trial]) -> anyhow::Result<Vec<(Mistake, Catch)>> {
    let mut progress = Progress::new(trials.len());
    let mut results = Vec::new();
    each(
        trials,
        |trial| child(&trial.plan, &["--mistake", &trial.mistake.to_string()]),
        |index, said| {
            progress.tick();
            results.push((index, said));
        },
    );
    progress.finish();
    let mut caught = Vec::new();
    for (index, said) in results {
        let Trial { mistake, scenario, seed, .. } = &trials[index];
        if let Some(by) = catcher(&said?)? {
            caught.push((*mistake, Catch { scenario, seeds: *seed, by }));
        }
    }
    Ok(caught)
}

/// What caught a mistake: the checks that its verdict names, or an assertion of the program.
fn catcher(said: &Said) -> anyhow::Result<Option<String>> {
    let verdict = said.text.lines().rev().find_map(|line| line.strip_prefix("verdict "));
    match (said.code, verdict) {
        (0, _) => Ok(None),
        (1, _) => bail!("the child did not understand: {}", said.text.trim_end()),
        (_, Some(verdict)) => {
            let (what, _when) = verdict.rsplit_once(", ").unwrap_or((verdict, ""));
            Ok(Some(what.trim_start_matches("broke ").to_string()))
        }
        (_, None) => Ok(Some("an assertion of core's".into())),
    }
}

/// The table, as Markdown.
fn page(chosen: &[Mistake], caught: &BTreeMap<Mistake, Catch>) -> String {
    let mut page = String::from(
        "| mistake | caught by | in | seeds | test of core's |\n|---|---|---|---|---|\n",
    );
    for mistake in chosen {
        let proof =
            mistake.proof().map(|(suite, test)| format!("{suite}: {test}")).unwrap_or_default();
        let row = match caught.get(mistake) {
            Some(Catch { scenario, seeds, by }) => format!("{by} | {scenario} | {seeds}"),
            None => "NOBODY | |".to_string(),
        };
        // Writing to a string does not fail.
        let _ = writeln!(page, "| `{mistake}` | {row} | {proof} |");
    }
    page
}

/// The page with the table of checks, whose last column is written anew: what each check caught, in
/// which scenario, and with how many seeds.
fn with_catches(text: &str, caught: &BTreeMap<Mistake, Catch>) -> String {
    let mut page = String::with_capacity(text.len());
    for line in text.lines() {
        let name = line.strip_prefix("| `").and_then(|rest| rest.split_once('`'));
        let check = name.and_then(|(name, _)| check::ALL.iter().find(|(of, _)| *of == name));
        match (check, line.trim_end_matches('|').rsplit_once('|')) {
            (Some((name, _)), Some((row, _))) => {
                let catches = catches(name, caught);
                let _ = writeln!(
                    page,
                    "{row}| {catches}{}|",
                    if catches.is_empty() { "" } else { " " }
                );
            }
            (Some(_) | None, _) => {
                let _ = writeln!(page, "{line}");
            }
        }
    }
    page
}

/// What one check caught.
fn catches(check: &str, caught: &BTreeMap<Mistake, Catch>) -> String {
    let by = |catch: &Catch| catch.by.split([' ', ',']).any(|word| word == check);
    let theirs = caught.iter().filter(|(_, catch)| by(catch));
    let theirs = theirs.map(|(mistake, Catch { scenario, seeds, .. })| {
        let seeds = if *seeds == 1 { String::new() } else { format!(", {seeds} seeds") };
        format!("`{mistake}` in {scenario}{seeds}")
    });
    theirs.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_column_is_written_anew_for_checks_alone() {
        let catch = |by: &str, seeds| Catch { scenario: "lease/a", seeds, by: by.into() };
        let caught = BTreeMap::from([
            (Mistake::LateExpiry, catch("one_holder, expires", 1)),
            (Mistake::EarlyExpiry, catch("not settled: expires", 3)),
        ]);
        let before = "# A\n| check | catches |\n| `expires` | holds | seed | old |\n\
                      | `even` | holds | seed | |\n| `other` | stays |\n";
        let after = "# A\n| check | catches |\n| `expires` | holds | seed | `late-expiry` in \
                     lease/a; `early-expiry` in lease/a, 3 seeds |\n\
                     | `even` | holds | seed | |\n| `other` | stays |\n";
        assert_eq!(with_catches(before, &caught), after);
        assert_eq!(with_catches(after, &caught), after, "once written it stays");
    }
}
