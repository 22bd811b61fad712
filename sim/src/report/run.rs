//! A run as a page knows it: whole, so that it can come from another process.

use portcullis_core::Time;
use serde::{Deserialize, Serialize};

use super::draw;
use super::leases::Selection;
use super::panel::Panel;
use super::record::{Moment, Record};
use crate::action::Second;
use crate::check;
use crate::engine::Ran;
use crate::history::Found;
use crate::outcome::{self, Break, Half, Outcome, Verdict};
use crate::plan::{Action, Plan};
use crate::scenario;
use crate::settings::SometimesName;

/// What somebody must know of a run, and the outcome does not: where it comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The scenario's `why` and `source`, if its file is at hand.
    pub why: String,
    pub source: String,
    /// What runs it again.
    pub command: String,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub scenario: String,
    pub title: String,
    /// What was set otherwise than the scenario has it; empty if nothing was.
    pub instead: String,
    pub engine: String,
    pub seed: u64,
    pub origin: Origin,
    /// Controllers, agents and the like: names and figures.
    pub size: Vec<(String, String)>,
    pub passed: bool,
    pub verdict: String,
    /// The verdict in sentences.
    pub words: Vec<String>,
    /// Milliseconds: when the run ended, when the faults did, and when everything had converged.
    pub ended: u64,
    pub settle: u64,
    pub converged: Option<u64>,
    /// The plan's text, which is all that is needed for running it again.
    pub plan: String,
    pub lines: Vec<PlanLine>,
    pub panels: Vec<Panel>,
    pub moments: Vec<Moment>,
    pub checks: Vec<Checked>,
    pub sights: Vec<Sight>,
    /// As the outcome page has them, and as `compare` prints them.
    pub figures: Vec<(String, String)>,
    pub column: Vec<(String, String)>,
    pub leases: Selection,
}

/// One line of the plan: from when to when it is in force, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanLine {
    pub text: String,
    pub from: u64,
    pub until: u64,
    /// Whether it is a fault, and no workload.
    pub fault: bool,
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    pub name: String,
    pub state: CheckState,
    /// When and how it broke; empty if it did not.
    pub message: String,
    /// Who asks for it.
    pub sentence: String,
}

/// See [`Checked`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckState {
    Held,
    Broke,
    /// It was only wanted in the end, and did not hold then.
    NeverHeld,
    /// The scenario does not ask for it.
    NotAskedFor,
    /// This plan gives it nothing to say.
    NotApplicable,
}

/// Something that had to be seen, or must not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    pub name: String,
    pub wanted: bool,
    pub seen: bool,
}

impl Run {
    /// What it is called where several runs stand beside each other.
    pub fn name(&self) -> String {
        match self.instead.as_str() {
            "" => self.scenario.clone(),
            instead => format!("{} with {instead}", self.scenario),
        }
    }

    /// All that a page needs of an outcome.
    ///
    /// Its history must have been [`recorded`](crate::history::History::recorded).
    pub fn new(outcome: &Outcome<'_>, origin: Origin) -> Run {
        let (plan, ran, found) = (outcome.plan(), outcome.ran(), outcome.found());
        let record = found.record.as_deref().expect("the history was recorded");
        let settings = &plan.settings;
        let steps = plan.steps.iter().map(|step| {
            let (from, until) = draw::lasts(plan, step);
            let fault = !matches!(step.action, Action::Claims(_));
            PlanLine { text: step.to_string(), from, until, fault }
        });
        let named = record.moments.iter().map(|moment| moment.message.as_str());
        let named = named.collect::<Vec<_>>().join("\n");
        let column = outcome.column().into_iter().map(|(name, figure)| (name.into(), figure));
        Run {
            scenario: settings.scenario.clone(),
            title: settings.title.clone(),
            instead: scenario::words(&settings.instead),
            engine: settings.engine.to_string(),
            seed: settings.seed,
            origin,
            size: size(plan, ran, found),
            passed: *outcome.verdict() == Verdict::Passed,
            verdict: outcome.verdict().to_string(),
            words: words(plan, ran, found, outcome.verdict()),
            ended: ran.ended.0 / 1_000,
            settle: plan.acts_until().0 / 1_000,
            converged: found.converged.map(|at| at.0 / 1_000),
            plan: plan.to_string(),
            lines: steps.collect(),
            panels: draw::panels(plan, record, ran.ended),
            moments: moments(record, found),
            checks: checks(found),
            sights: sights(plan, found),
            figures: figures(&found.counts.to_string()),
            column: column.collect(),
            leases: record.leases.select(&named),
        }
    }
}

fn size(plan: &Plan, ran: Ran, found: &Found) -> Vec<(String, String)> {
    let settings = &plan.settings;
    let size = [
        ("engine", settings.engine.to_string()),
        ("seed", settings.seed.to_string()),
        ("controllers", settings.controllers.count.to_string()),
        ("agents", settings.agents.count.to_string()),
        ("leases", settings.agents.leases.to_string()),
        ("simulated", Second(ran.ended.since(Time(0))).to_string()),
        ("events", found.events.to_string()),
        ("draws", ran.draws.to_string()),
        ("hash", found.hash.to_string()),
    ];
    size.map(|(name, figure)| (name.to_string(), figure)).into()
}

/// The verdict as one would tell it.
fn words(plan: &Plan, ran: Ran, found: &Found, verdict: &Verdict) -> Vec<String> {
    let broken = found.checks.iter().filter_map(|one| Some((one, one.broke.as_ref()?)));
    let mut broken: Vec<(&check::Found, &Break)> = broken.collect();
    broken.sort_by_key(|(_, broke)| broke.at);
    let how = |(one, broke): (&check::Found, &Break)| match broke.half {
        Half::Always => format!("{} broke at {}: {}.", one.name, broke.at, broke.message),
        Half::Settled => {
            format!("{} did not come to hold by {}: {}.", one.name, broke.at, broke.message)
        }
    };
    let mut words = Vec::new();
    match verdict {
        Verdict::Passed if plan.settings.expect.breaks.is_empty() => {
            let settled = match found.converged {
                Some(at) => format!("everything had settled at {}", Second(at.since(Time(0)))),
                None => format!("the run ended at {}", Second(ran.ended.since(Time(0)))),
            };
            words.push(format!("No check broke, {settled}, and all was seen that had to be."));
        }
        Verdict::Passed => {
            words.push("This is a design that failed: it has to be caught, and it was.".into());
        }
        Verdict::Broke(_) => words.push("What must always hold did not.".into()),
        Verdict::NotSettled(_) => words.push(format!(
            "At {}, {} after the faults had ended, not everything was as it should be.",
            Second(ran.ended.since(Time(0))),
            Second(ran.ended.since(plan.acts_until())),
        )),
        Verdict::Saw(names) => {
            words.push(format!("This must not be seen here, and was: {}.", names.join(", ")));
        }
        Verdict::NeverSeen(names) if plan.settings.expect.breaks.is_empty() => {
            words.push(format!("This had to be seen, and never was: {}.", names.join(", ")));
        }
        Verdict::NeverSeen(names) => words.push(format!(
            "This is a design that failed, but it was not caught: {} did not break.",
            names.join(", ")
        )),
    }
    words.extend(broken.into_iter().map(how));
    words
}

/// The moments that were kept, and those of what did not hold in the end.
fn moments(record: &Record, found: &Found) -> Vec<Moment> {
    let mut moments = record.moments.clone();
    let late = found.checks.iter().filter_map(|one| {
        let broke = one.broke.as_ref().filter(|broke| broke.half == Half::Settled)?;
        let lines = &found.lines;
        let before = lines[lines.len().saturating_sub(super::record::LINES_BEFORE)..].to_vec();
        let (check, message) = (one.name.into(), broke.message.clone());
        let at = broke.at.0;
        Some(Moment { check, at, settled: true, message, before, after: Vec::new() })
    });
    // One page of the last lines is enough.
    moments.extend(late.take(1));
    moments
}

fn checks(found: &Found) -> Vec<Checked> {
    let of = |name: &'static str| found.checks.iter().find(|one| one.name == name);
    let checked = check::ALL.iter().map(|(name, _)| {
        let Some(one) = of(name) else {
            return Checked {
                name: (*name).into(),
                state: CheckState::NotApplicable,
                message: String::new(),
                sentence: String::new(),
            };
        };
        let (state, message) = match &one.broke {
            Some(Break { at, half: Half::Always, message }) => {
                (CheckState::Broke, format!("at {at}: {message}"))
            }
            Some(Break { at, half: Half::Settled, message }) => {
                (CheckState::NeverHeld, format!("by {at}: {message}"))
            }
            None if one.always => (CheckState::Held, String::new()),
            None => (CheckState::NotAskedFor, String::new()),
        };
        Checked { name: (*name).into(), state, message, sentence: one.sentence.to_string() }
    });
    checked.collect()
}

fn sights(plan: &Plan, found: &Found) -> Vec<Sight> {
    let expect = &plan.settings.expect;
    let sight = |wanted: bool| {
        move |name: &SometimesName| {
            let seen = outcome::seen(name.0, &found.counts);
            Sight { name: name.0.into(), wanted, seen }
        }
    };
    let sometimes = expect.sometimes.iter().map(sight(true));
    sometimes.chain(expect.never.iter().map(sight(false))).collect()
}

/// The lines of a page, cut where their names end. A line without a figure begins a part.
fn figures(page: &str) -> Vec<(String, String)> {
    let cut = |line: &str| {
        let line = line.trim();
        let (name, figure) = line.split_at_checked(22).unwrap_or((line, ""));
        (name.trim().to_string(), figure.trim().to_string())
    };
    page.lines().filter(|line| !line.trim().is_empty()).map(cut).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_cut_where_their_names_end() {
        let page = "  leadership            terms 2, changes 1\n\nwaits\n\
                    \x20 claims                      319  p50 1s\n";
        let expected =
            [("leadership", "terms 2, changes 1"), ("waits", ""), ("claims", "319  p50 1s")];
        assert_eq!(figures(page), expected.map(|(name, figure)| (name.into(), figure.into())));
    }
}
