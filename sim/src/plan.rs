//! Plans: what happens, when, in one run. A scenario, an engine and a seed, written out.
//!
//! Decides every time and every choice that a scenario leaves open, so that engines only execute. A
//! plan prints as text and is read back from it, and needs no scenario to be run again:
//!
//! ```text
//! set agents.count 60
//! set seed 7
//! 12.500s crash leader for 5s
//! 20.000s partition controller-1 > others for 15s
//! ```
//!
//! Each fault draws from a stream of its own and each line carries its own end, so deleting a line
//! shifts nothing else: shrinking a failure is deleting lines. Roles that only the run can know,
//! such as `leader`, stay words; [`Stage`](crate::stage::Stage) resolves them.

use std::fmt;
use std::time::Duration;

use portcullis_core::{NodeId, Rng, Seed, Time};
use serde::{Deserialize, Serialize};

pub use crate::action::{Action, Claims, Role};
use crate::action::{Second, seconds};
use crate::addresses::Addresses;
use crate::bounds::{self, Given};
use crate::chaos;
use crate::members::Members;
use crate::scenario::{Fault, Scenario, Setting, Unreadable, Work};
use crate::settings::{
    Agents, Balance, Controllers, Engine, Expect, Front, Network, Policy, Scale, Span,
};
use crate::singular::Singular;

/// All of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub settings: Settings,
    /// In the order of their times.
    pub steps: Vec<Step>,
}

/// What does not change while it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// The scenario's name: its path below `scenarios/`.
    pub scenario: String,
    pub title: String,
    /// What was set otherwise than the scenario has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instead: Vec<Setting>,
    pub engine: Engine,
    /// Below 2⁶³, as TOML has it.
    pub seed: u64,
    #[serde(with = "Span")]
    pub acts: Duration,
    #[serde(with = "Span")]
    pub settles_within: Duration,
    pub controllers: Controllers,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Members>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Addresses>,
    pub agents: Agents,
    pub network: Network,
    pub balance: Balance,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub singular: Option<Singular>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub front: Option<Front>,
    pub policy: Policy,
    pub expect: Expect,
}

/// What whoever runs a scenario chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    pub engine: Engine,
    pub seed: u64,
    /// How many agents there are, instead of what the scenario says.
    pub agents: Option<u32>,
    /// Percent of the faults that its `[chaos]` allows.
    pub intensity: u32,
}

impl Choice {
    /// The scenario as it is.
    pub fn new(engine: Engine, seed: u64) -> Choice {
        Choice { engine, seed, agents: None, intensity: 100 }
    }
}

/// One line of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub at: Time,
    pub action: Action,
    /// How long it lasts; absent, until the faults end.
    pub lasts: Option<Duration>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Second(self.at.since(Time(0))), self.action)?;
        self.lasts.map_or(Ok(()), |lasts| write!(f, " for {}", Second(lasts)))
    }
}

impl Plan {
    /// Draws the plan of one run.
    pub fn draw(name: &str, scenario: &Scenario, choice: &Choice) -> Plan {
        let Choice { engine, seed, agents, intensity } = *choice;
        let mut settings = Settings {
            scenario: name.into(),
            title: scenario.title.clone(),
            instead: scenario.instead.clone(),
            engine,
            seed,
            acts: scenario.acts,
            settles_within: scenario.settles_within,
            controllers: scenario.controllers.clone(),
            members: scenario.members.clone(),
            addresses: scenario.addresses.as_ref().map(|one| one.get_ref().clone()),
            agents: scenario.agents.clone(),
            network: scenario.network.clone(),
            balance: scenario.balance.clone(),
            singular: scenario.singular.as_ref().map(|set| set.get_ref().clone()),
            front: scenario.front.as_ref().map(|front| front.get_ref().clone()),
            policy: scenario.policy.get_ref().clone(),
            expect: scenario.expect.clone(),
        };
        settings.agents.scale(engine, agents);
        let root = Seed(seed);
        let mut steps = Vec::new();
        for (index, fault) in (0..).zip(&scenario.fault) {
            let mut rng = root.child("fault", index).rng();
            steps.push(draw_fault(fault.get_ref(), settings.controllers.count, &mut rng));
        }
        if let Some(chaos) = scenario.chaos.as_ref().map(|chaos| chaos.get_ref()) {
            let (controllers, acts) = (settings.controllers.count, settings.acts);
            let addresses = settings.addresses.as_ref();
            let run = chaos::Run { engine, controllers, addresses, acts };
            steps.extend(chaos.draw(root, &run, intensity));
        }
        for workload in &scenario.workload {
            let Work::Claims(claims) = &workload.get_ref().work;
            steps.push(Step {
                at: Time(0) + workload.get_ref().at,
                action: Action::Claims(claims.clone()),
                lasts: None,
            });
        }
        steps.sort_by_key(|step| step.at);
        Plan { settings, steps }
    }

    /// Reads a plan's text. `file` is for the messages.
    pub fn parse(file: &str, text: &str) -> Result<Plan, Unreadable> {
        let mut header = String::new();
        let mut steps: Vec<Step> = Vec::new();
        let mut places = Vec::new();
        let mut offset = 0;
        for line in text.split_inclusive('\n') {
            let trimmed = line.trim();
            match trimmed.strip_prefix("set ").map(|setting| setting.trim().split_once(' ')) {
                // As a line of TOML it stands at the same offset, so that its carets are ours.
                Some(Some((key, value))) => {
                    header.push_str(&format!("{key} = {value}"));
                }
                Some(None) => {
                    let message = "a setting is `set KEY VALUE`";
                    return Err(Unreadable::at(file, text, offset, offset + line.len(), message));
                }
                None if trimmed.is_empty() || trimmed.starts_with('#') => {}
                None => {
                    let span = offset..offset + trimmed.len();
                    steps.push(Step::parse(trimmed).map_err(|message| {
                        Unreadable::at(file, text, span.start, span.end, &message)
                    })?);
                    places.push(span);
                }
            }
            header.push('\n');
            offset += line.len();
        }
        let settings: Settings =
            toml::from_str(&header).map_err(|error| Unreadable::new(file, &header, &error))?;
        let Settings { controllers, agents, balance, network, .. } = &settings;
        let members = settings.members.as_ref();
        bounds::check(&Given { controllers, agents, balance, network, members })
            .map_err(|outside| outside.shown(file, &header))?;
        let fits = settings.policy.fits(&settings.controllers, settings.engine);
        let fronted = settings
            .front
            .as_ref()
            .map_or(Ok(()), |front| front.fits(settings.controllers.count, settings.engine));
        let singular = settings.singular.as_ref();
        let single = singular.map_or(Ok(()), |set| set.fits(settings.engine));
        fits.and(fronted)
            .and(single)
            .map_err(|message| Unreadable::at(file, text, 0, 0, message))?;
        let last = Time(0) + settings.acts;
        for (step, span) in steps.iter().zip(places) {
            let fits = match &step.action {
                _ if step.at > last => {
                    Err(format!("it would never come: `acts` is {}", Second(settings.acts)))
                }
                Action::Claims(claims) => claims.fits(settings.engine).map_err(String::from),
                action => action.fits(settings.controllers.count),
            };
            fits.map_err(|message| Unreadable::at(file, text, span.start, span.end, &message))?;
        }
        steps.sort_by_key(|step| step.at);
        Ok(Plan { settings, steps })
    }

    /// When the faults end and everything heals.
    pub fn acts_until(&self) -> Time {
        Time(0) + self.settings.acts
    }

    /// When everything must have converged.
    pub fn ends(&self) -> Time {
        self.acts_until() + self.settings.settles_within
    }

    /// Every controller, in order.
    pub fn controllers(&self) -> impl Iterator<Item = NodeId> + use<> {
        (1..=self.settings.controllers.count).map(NodeId)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = toml::Table::try_from(&self.settings).map_err(|_| fmt::Error)?;
        settings_lines(f, "", &table)?;
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

fn settings_lines(f: &mut fmt::Formatter<'_>, prefix: &str, table: &toml::Table) -> fmt::Result {
    for (key, value) in table {
        match value.as_table() {
            Some(table) => settings_lines(f, &format!("{prefix}{key}."), table)?,
            None => writeln!(f, "set {prefix}{key} {value}")?,
        }
    }
    Ok(())
}

fn draw_fault(fault: &Fault, controllers: u64, rng: &mut Rng) -> Step {
    let at = match (fault.at, fault.between) {
        (Some(at), _) => at,
        (None, Some((first, last))) => {
            // Whole milliseconds: turmoil knows no finer.
            let span = u64::try_from((last - first).as_millis()).unwrap_or(u64::MAX - 1);
            first + Duration::from_millis(rng.below(span + 1))
        }
        (None, None) => Duration::ZERO,
    };
    let action = fault.action.clone().cast(|| NodeId(1 + rng.below(controllers)));
    Step { at: Time(0) + at, action, lasts: fault.lasts }
}

impl Step {
    fn parse(line: &str) -> Result<Step, String> {
        let (at, rest) = line.split_once(' ').ok_or("a step is `TIME ACTION`")?;
        let at = Time(0) + seconds(at)?;
        let (action, lasts) = match rest.rsplit_once(" for ") {
            Some((action, lasts)) => (action, Some(seconds(lasts)?)),
            None => (rest, None),
        };
        Ok(Step { at, action: action.parse()?, lasts })
    }
}

impl Agents {
    /// Settles on the size for one engine, so that a plan names one size alone.
    fn scale(&mut self, engine: Engine, count: Option<u32>) {
        let (direct, turmoil) = (self.direct.take(), self.turmoil.take());
        let madsim = self.madsim.take();
        let scale = match engine {
            Engine::Direct => direct,
            Engine::Turmoil => turmoil,
            Engine::Madsim => madsim,
        };
        if let Some(Scale { count, leases }) = scale {
            self.count = count;
            self.leases = leases;
        }
        if let Some(count) = count {
            let leases = u64::from(self.leases) * u64::from(count) / u64::from(self.count.max(1));
            self.leases = u32::try_from(leases).unwrap_or(u32::MAX).clamp(1, count.max(1));
            self.count = count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORY: &str = r#"
title = "t"
why = "w"
source = "s"
engines = ["direct", "turmoil"]
acts = "100s"
settles-within = "10s"

[members]

[agents]
turmoil = { count = 6, leases = 2 }
madsim = { count = 12, leases = 4 }

[[fault]]
between = ["10s", "20s"]
for = "1s 500ms"
do = { crash = { node = "random" } }

[[fault]]
between = ["10s", "20s"]
do = { partition = { from = "random", to = "others agents", one-way = true } }

[[fault]]
at = "30s"
for = "5s"
do = { hold = { from = "leader", to = "others" } }

[[fault]]
at = "31s"
do = { slow-link = { from = "all", to = "agents", by = "250ms" } }

[[fault]]
at = "32s"
do = "herd"

[[fault]]
at = "32s"
do = { remove = { node = "leader" } }

[[fault]]
at = "32s"
for = "2s"
do = { stop = { node = "leader" } }

[[fault]]
between = ["32s", "33s"]
do = { restart = { node = "leader" } }

[[fault]]
at = "34s"
do = { oom-limit = { memory = "64MiB" } }

[[fault]]
at = "35s"
for = "2s"
do = { slow-disk = { node = "leader", by = "750ms" } }

[[fault]]
at = "36s"
do = "restart-agents"

[[fault]]
between = ["37s", "38s"]
for = "2s"
do = { disk-full = { node = "random" } }

[[fault]]
at = "37s"
do = { io-error = { node = "leader", at = "sync" } }

[[fault]]
at = "37s"
do = { io-error = { node = "all", at = "write" } }

[[fault]]
at = "38s"
do = { clock = { who = "agents", drift = -5000 } }

[[fault]]
at = "38s"
for = "9s"
do = { clock = { who = "random", drift = 50000, offset = "30days 1ms" } }

[[fault]]
at = "39s"
do = { redeploy = { nodes = "leader controller-1 all", down = "1500ms" } }

[[workload]]
at = "40s"
do = { claims = { count = 10, concurrency = 2, patience = "1s", cancel-percent = 50 } }

[expect]
sometimes = ["granted"]
settles = ["connected"]
"#;

    fn story() -> Scenario {
        Scenario::parse("story", STORY).expect("the story is right")
    }

    #[test]
    fn every_plan_reads_back_as_it_was_printed() {
        for seed in 0..200 {
            for engine in [Engine::Direct, Engine::Turmoil, Engine::Madsim] {
                let plan = Plan::draw("a/story", &story(), &Choice::new(engine, seed));
                let text = plan.to_string();
                assert_eq!(Plan::parse("plan", &text).as_ref(), Ok(&plan), "{text}");
            }
        }
    }

    #[test]
    fn a_seed_changes_what_is_drawn_and_nothing_else() {
        let plan = |seed| Plan::draw("a/story", &story(), &Choice::new(Engine::Direct, seed));
        assert_eq!(plan(1), plan(1));
        let steps = |seed| plan(seed).steps;
        assert_ne!(steps(1)[..2], steps(2)[..2]);
        assert_eq!(steps(1)[2..5], steps(2)[2..5]);
    }

    #[test]
    fn a_fault_less_moves_no_other() {
        let whole = Plan::draw("a/story", &story(), &Choice::new(Engine::Direct, 7));
        let text = whole.to_string();
        for step in &whole.steps {
            let shrunk = text.replace(&format!("{step}\n"), "");
            let shrunk = Plan::parse("plan", &shrunk).expect("a plan without a line is one");
            let mut left = whole.steps.clone();
            left.retain(|other| other != step);
            assert_eq!(shrunk.steps, left);
        }
    }

    #[test]
    fn an_engine_has_its_own_scale() {
        let plan = |engine| Plan::draw("a", &story(), &Choice::new(engine, 1));
        let agents = |engine| plan(engine).settings.agents.count;
        let agents = [Engine::Direct, Engine::Turmoil, Engine::Madsim].map(agents);
        assert_eq!(agents, [30, 6, 12]);
    }

    #[test]
    fn pins_are_written_down_and_refused_where_nobody_pins() {
        let of = |engine: &str, percent: u32| {
            let text = format!(
                "title = \"t\"\nwhy = \"w\"\nsource = \"s\"\nengines = [\"{engine}\"]\n\
                 acts = \"9s\"\nsettles-within = \"1s\"\n[[workload]]\nat = \"1s\"\n\
                 do = {{ claims = {{ count = 9, concurrency = 4, patience = \"1s\", \
                 cancel-percent = 0, pin-percent = {percent} }} }}\n"
            );
            Scenario::parse("pins", &text).map_err(|error| error.to_string())
        };
        let scenario = of("turmoil", 50).expect("it is right");
        let text = Plan::draw("pins", &scenario, &Choice::new(Engine::Turmoil, 1)).to_string();
        assert!(text.contains("cancel 0% pin 50%\n"), "{text}");
        let plan = Plan::parse("pins.plan", &text).expect("it is what was printed");
        assert_eq!(plan.to_string(), text);
        let says = "on `direct` nobody pins a lease";
        let moved = text.replace("set engine \"turmoil\"", "set engine \"direct\"");
        assert_ne!(moved, text);
        let error = Plan::parse("pins.plan", &moved).expect_err("it is refused");
        assert!(error.to_string().contains(says), "{error}");
        assert!(of("direct", 50).is_err_and(|error| error.contains(says)));
        assert!(of("turmoil", 101).is_err_and(|error| error.contains("at most 100 percent")));
    }

    #[test]
    fn what_cannot_fail_or_drift_is_refused() {
        let text = Plan::draw("a/story", &story(), &Choice::new(Engine::Direct, 1)).to_string();
        let refused = |line: &str| {
            let error = Plan::parse("my.plan", &format!("{text}50.000s {line}\n"));
            error.expect_err("it is refused").to_string()
        };
        let said = [
            ("io-error leader read", "`read` cannot fail: a `write` or a `sync` can"),
            ("io-error leader", "is not `io-error WHO write|sync`"),
            ("disk-full agents", "`agents` is no controller"),
            ("clock leader by 50001ppm", "no clock drifts by more than 50000 millionths"),
            ("clock leader by a lot", "is not `clock WHO by NUMBERppm`"),
            ("clock others by 1ppm", "`others` than whom?"),
            ("redeploy all", "`redeploy` needs `down TIME`"),
            ("redeploy agents down 1.000s", "`agents` is no controller"),
        ];
        for (line, says) in said {
            assert!(refused(line).contains(says), "{line}: {}", refused(line));
        }
    }

    #[test]
    fn a_class_that_an_engine_has_not_is_refused() {
        let refused = |classes: &str| {
            let chaos = format!("[chaos]\nfaults = 1\nlongest = \"1s\"\nclasses = [{classes}]\n\n");
            let text = STORY.replace("[members]", &format!("{chaos}[members]"));
            Scenario::parse("story", &text).map(drop).map_err(|error| error.to_string())
        };
        let says = |classes: &str, says: &str| {
            let error = refused(classes).expect_err("it is refused");
            assert!(error.contains(says), "{error}");
        };
        says("\"crash\", \"pause\"", "`turmoil` has no faults of the class `pause`");
        says("\"slow-disk\"", "`turmoil` has no faults of the class `slow-disk`");
        assert_eq!(refused("\"disk-full\", \"io-error\", \"clock\", \"redeploy\""), Ok(()));
    }

    #[test]
    fn a_bad_line_is_shown() {
        let text = Plan::draw("a/story", &story(), &Choice::new(Engine::Direct, 1)).to_string();
        let broken = text.replace("30.000s hold leader", "30.000s hold leeder");
        let error = Plan::parse("my.plan", &broken).expect_err("nobody is called leeder");
        let error = error.to_string();
        assert!(error.starts_with("my.plan:"), "{error}");
        assert!(error.contains("`leeder` is nobody"), "{error}");
        assert!(error.contains("^^^^"), "{error}");
    }
}
