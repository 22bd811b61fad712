//! Shrinking: the least of a plan that still breaks the same check.
//!
//! Decides what may be left out or made smaller, in which order, and when there is no less: lines by
//! delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input",
//! 2002), then sizes and times by halving, again and again until nothing gives way. Which plan is
//! tried next hangs on no clock, so the same plan shrinks to the same.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::bail;
use portcullis_core::Time;

use super::findings::{self, Broken};
use super::jobs::{Progress, each, jobs};
use crate::plan::{Action, Plan, Step};
use crate::settings::CheckName;

/// Times are cut no further than to this.
const TIME_LEAST: Duration = Duration::from_millis(100);

/// What is left, and of what.
pub struct Shrunk {
    pub plan: Plan,
    broken: Broken,
    before: Plan,
    runs: usize,
}

/// Cuts a plan down. `check` names the check to break; without it, the first that this plan breaks.
pub fn run(plan: &Plan, check: Option<&str>) -> anyhow::Result<Shrunk> {
    let found = findings::run(plan)?;
    let is = |one: &&Broken| check.is_none_or(|check| one.check == check);
    let Some(broken) = found.broken.iter().find(is) else {
        match check {
            Some(check) => bail!("this plan does not break {check}: {}", found.verdict),
            None => bail!("this plan breaks no check: {}", found.verdict),
        }
    };
    let mut search = Search { broken, progress: Progress::new(None), runs: 1 };
    let mut best = aimed(plan, broken);
    if search.breaks(std::slice::from_ref(&best))?.is_none() {
        bail!("{} breaks together with other checks, but not by itself", broken.check);
    }
    loop {
        let before = best.clone();
        best = search.fewer_lines(best)?;
        best = search.smaller(best)?;
        if best == before {
            break;
        }
    }
    search.progress.finish();
    let found = findings::run(&best)?;
    let broken = found.broken.into_iter().find(|one| one.is_alike(broken));
    let Some(broken) = broken else { bail!("the same plan broke, and then did not") };
    Ok(Shrunk { plan: best, broken, before: plan.clone(), runs: search.runs })
}

impl Shrunk {
    /// The plan as a file, with what it is.
    pub fn file(&self) -> String {
        let Broken { check, at, message, .. } = &self.broken;
        let Shrunk { plan, before, .. } = self;
        let settings = &before.settings;
        let mut text = String::new();
        let _ = writeln!(text, "# breaks {check} at {at}: {message}");
        let _ = writeln!(
            text,
            "# the least of {} on {}, seed {}: {} lines of {}, {} agents of {}",
            settings.scenario,
            settings.engine,
            settings.seed,
            plan.steps.len(),
            before.steps.len(),
            plan.settings.agents.count,
            settings.agents.count,
        );
        text + &plan.to_string()
    }

    /// What came of it, in a few lines.
    pub fn page(&self) -> String {
        let heads = self.file();
        let heads = heads.lines().take(2).map(|line| line.trim_start_matches("# "));
        let steps = self.plan.steps.iter().map(|step| format!("  {step}"));
        let lines: Vec<String> = heads.map(String::from).chain(steps).collect();
        format!("{}\n{} runs\n", lines.join("\n"), self.runs)
    }
}

/// The same plan with an eye for one check alone, so that nothing else ends a run before it breaks.
fn aimed(plan: &Plan, broken: &Broken) -> Plan {
    let mut plan = plan.clone();
    let known = crate::check::ALL.iter().map(|(name, _)| *name);
    let name: Vec<CheckName> = known.filter(|name| **name == broken.check).map(CheckName).collect();
    let expect = &mut plan.settings.expect;
    match broken.always {
        true => expect.always = Some(name.clone()),
        false => (expect.always, expect.settles) = (Some(Vec::new()), Some(name.clone())),
    }
    // A failed design is to break, and goes on until it does.
    if !expect.breaks.is_empty() {
        expect.breaks = name;
    }
    (expect.sometimes, expect.never) = (Vec::new(), Vec::new());
    plan
}

struct Search<'a> {
    broken: &'a Broken,
    progress: Progress,
    runs: usize,
}

impl Search<'_> {
    /// The first of some plans that still breaks the check.
    fn breaks(&mut self, plans: &[Plan]) -> anyhow::Result<Option<usize>> {
        for (index, some) in plans.chunks(jobs()).enumerate() {
            self.runs += some.len();
            let mut codes = Vec::new();
            each(some, findings::run, |index, result| codes.push((index, result)));
            codes.sort_by_key(|(index, _)| *index);
            for (within, found) in codes {
                self.progress.done_quietly();
                if found?.broken.iter().any(|one| one.is_alike(self.broken)) {
                    return Ok(Some(index * jobs() + within));
                }
            }
        }
        Ok(None)
    }

    /// Leaves lines out, in ever smaller parts, until each single one is needed.
    fn fewer_lines(&mut self, mut best: Plan) -> anyhow::Result<Plan> {
        let mut parts = 1;
        while !best.steps.is_empty() {
            let size = best.steps.len().div_ceil(parts);
            let without = |from: usize| {
                let mut plan = best.clone();
                plan.steps.drain(from..(from + size).min(plan.steps.len()));
                plan
            };
            let less: Vec<Plan> = (0..best.steps.len()).step_by(size).map(without).collect();
            match self.breaks(&less)? {
                Some(index) => {
                    best = less[index].clone();
                    parts = parts.saturating_sub(1).max(1);
                }
                None if size == 1 => break,
                None => parts = (parts * 2).min(best.steps.len()),
            }
        }
        Ok(best)
    }

    /// Halves whatever can be halved, each by itself, until nothing gives way.
    fn smaller(&mut self, mut best: Plan) -> anyhow::Result<Plan> {
        loop {
            let less = halves(&best);
            let Some(index) = self.breaks(&less)? else { return Ok(best) };
            best = less[index].clone();
        }
    }
}

/// The plan with one of its sizes or times halved, each that can be.
fn halves(plan: &Plan) -> Vec<Plan> {
    let mut less = Vec::new();
    let mut with = |change: &dyn Fn(&mut Plan)| {
        let mut plan = plan.clone();
        change(&mut plan);
        less.push(plan);
    };
    let settings = &plan.settings;
    if settings.agents.count > 0 {
        with(&|plan| {
            let agents = &mut plan.settings.agents;
            agents.count /= 2;
            agents.leases = agents.leases.min(agents.count.max(1));
        });
    }
    if settings.agents.leases > 1 {
        with(&|plan| plan.settings.agents.leases /= 2);
    }
    if let Some(acts) = half(settings.acts) {
        with(&|plan| cut_short(plan, acts));
    }
    for (line, step) in plan.steps.iter().enumerate() {
        if let Some(lasts) = step.lasts.and_then(half) {
            with(&|plan| plan.steps[line].lasts = Some(lasts));
        }
        if matches!(&step.action, Action::Claims(claims) if claims.count > 1) {
            with(&|plan| fewer_claims(&mut plan.steps[line]));
        }
    }
    less
}

fn fewer_claims(step: &mut Step) {
    if let Action::Claims(claims) = &mut step.action {
        claims.count /= 2;
        claims.concurrency = claims.concurrency.min(claims.count);
    }
}

/// Ends the faults earlier; lines that would come later come then.
fn cut_short(plan: &mut Plan, acts: Duration) {
    plan.settings.acts = acts;
    let last = Time(0) + acts;
    plan.steps.iter_mut().for_each(|step| step.at = step.at.min(last));
}

/// Half of a time, in whole milliseconds; none if it is short enough.
fn half(time: Duration) -> Option<Duration> {
    let half = u64::try_from(time.as_millis() / 2).ok().map(Duration::from_millis)?;
    (half >= TIME_LEAST).then_some(half)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::plan;

    #[test]
    fn each_half_is_smaller_and_ends() {
        let fault =
            "[[fault]]\nat = \"9s\"\nfor = \"1s\"\ndo = { crash = { node = \"leader\" } }\n";
        let claims = "[[workload]]\nat = \"1s\"\n\
                      do = { claims = { count = 9, concurrency = 4, patience = \"1s\", cancel-percent = 0 } }\n";
        let mut left = vec![plan(&format!("{fault}{claims}"))];
        let mut seen = 0;
        while let Some(plan) = left.pop() {
            for less in halves(&plan) {
                assert_ne!(less, plan);
                let text = less.to_string();
                assert_eq!(Plan::parse("less", &text).as_ref(), Ok(&less), "{text}");
                assert!(less.steps.iter().all(|step| step.at <= less.acts_until()), "{text}");
            }
            left.extend(halves(&plan).into_iter().next());
            seen += 1;
        }
        assert!(seen > 5, "{seen}");
    }
}
