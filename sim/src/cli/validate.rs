//! Whether the checks catch what they are for: core makes a mistake on purpose, one at a time.
//!
//! Decides where each mistake should be noticed: the first scenario named is the one that is about
//! it. What no scenario shows must be caught by a test of core's, a model or a fuzz, and its row
//! says so.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::bail;
use portcullis_core::mistake::Mistake;

use crate::cli::jobs::{Progress, Said, child, each};
use crate::cli::load;
use crate::plan::{Choice, Plan};
use crate::scenario;
use crate::settings::Engine;

/// Why nothing can be validated by a release.
pub const RELEASE: &str = "this build makes no mistakes: only one with debug assertions does";

/// The exit code for a mistake that nobody caught.
const SURVIVED: u8 = 2;

/// The scenarios that should notice a mistake, the one that is about it first.
fn scenarios(mistake: Mistake) -> &'static [&'static str] {
    match mistake {
        Mistake::EarlyExpiry => &["lease/partitioned-leader", "lease/cancel-storm"],
        Mistake::FenceStill => &["lease/partitioned-leader"],
        Mistake::ClaimTakes => &["lease/cancel-storm"],
        Mistake::DoubleAdvance => &["lease/partitioned-leader"],
        Mistake::EarlyGrant => &["lease/cancel-storm"],
        Mistake::QueueUnlimited => &["lease/cancel-storm"],
        Mistake::BudgetIgnored => &["lease/cancel-storm"],
        Mistake::LeadsTooLong => &["lease/partitioned-leader", "lease/slow-and-held-links"],
        Mistake::HoldForgotten => &["startup/controllers-first"],
        Mistake::DelayForgotten => &["startup/two-phase"],
        Mistake::LossIgnored => &["startup/lost-itself"],
        Mistake::PermitLeak => &["startup/two-phase"],
        Mistake::LoginLeak => &["herd/slow-login"],
        Mistake::PaceIgnored => &["startup/two-phase"],
        Mistake::NoHysteresis => &["balance/comes-back", "balance/redirect"],
        Mistake::MovedAtOnce => &["balance/redirect"],
        Mistake::NameReused => &["ha/join-three"],
        Mistake::DrainForgets => &["startup/drain"],
        Mistake::BatchUnlimited => &["lease/slow-log"],
        // No scenario shows these: the rest of the system makes good for them, or it takes an order
        // of events that is too rare.
        Mistake::LateExpiry
        | Mistake::ExtensionTakes
        | Mistake::VoidDone
        | Mistake::ClockWaits
        | Mistake::DoubleAnswer
        | Mistake::CancelLost
        | Mistake::DeadlineForgotten
        | Mistake::UnknownDenied
        | Mistake::WaiterForgotten
        | Mistake::AdmissionOff
        | Mistake::FlagTooLong
        | Mistake::NoBackoff
        | Mistake::NoJitter
        | Mistake::RedirectsForgotten
        | Mistake::StaleCount
        | Mistake::SurplusToFullest
        | Mistake::QuorumForgotten
        | Mistake::DemotesItself => &[],
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

/// Makes the mistakes, or all of them, and prints a row for each.
pub fn run(chosen: &[Mistake], seeds: u64) -> anyhow::Result<u8> {
    if !cfg!(debug_assertions) {
        bail!("{RELEASE}");
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
    let open = |mistake: &&Mistake| !caught.contains_key(mistake) && mistake.proof().is_none();
    Ok(if chosen.iter().any(|mistake| open(&mistake)) { SURVIVED } else { 0 })
}

fn trial(mistake: Mistake, scenario: &'static str, seed: u64) -> anyhow::Result<Trial> {
    let settings = load(&scenario::find(Path::new(scenario)))?;
    let choice = Choice { engine: Engine::Direct, seed, agents: None, intensity: 100 };
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
        let row = match (caught.get(mistake), mistake.proof()) {
            (Some(Catch { scenario, seeds, by }), _) => format!("{by} | {scenario} | {seeds}"),
            (None, Some(_)) => "tests of core's | |".to_string(),
            (None, None) => "NOBODY | |".to_string(),
        };
        // Writing to a string does not fail.
        let _ = writeln!(page, "| `{mistake}` | {row} | {proof} |");
    }
    page
}
