//! Chaos: faults that nobody chose.
//!
//! Decides how a seed's share of a scenario's `[chaos]` becomes lines of its plan. Swarm testing: a
//! seed has about half of the classes and never heard of the others, because what one fault brings
//! about another often covers up (Groce et al., "Swarm Testing", 2012).

mod class;

use std::time::Duration;

use portcullis_core::{NodeId, Rng, Seed, Time};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::action::{Action, Group, Role};
use crate::addresses::{Addresses, Hosts, Written};
use crate::clock::DRIFT_BORNE;
use crate::disk::Touch;
use crate::plan::Step;
use crate::settings::{Engine, Span};
pub use class::Class;
use class::{CLASSES, Needs};

/// What a scenario says of faults that a seed may draw.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Chaos {
    /// Most faults in one run; `--intensity` is percent of this.
    pub faults: u32,
    /// Longest that one lasts.
    #[serde(with = "Span")]
    pub longest: Duration,
    /// What may go wrong; absent, everything that the engine knows.
    #[serde(default)]
    pub classes: Option<Vec<Class>>,
}

/// How often a flapping link goes away.
const FLAPS: u32 = 4;
/// Most by which a link or a disk becomes slower: half of raft's election timeout, and well above.
const SLOWER_MOST: Duration = Duration::from_secs(2);

/// Longest that a host was up before its processes start: a month.
const OFFSET_MOST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What a run is, as far as it matters to what may go wrong in it.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    pub engine: Engine,
    pub controllers: u64,
    pub addresses: Option<&'a Addresses>,
    /// How long faults may act.
    pub acts: Duration,
}

impl Run<'_> {
    /// Whether a class of faults means anything here.
    fn knows(&self, class: Class) -> bool {
        let there = match class.needs() {
            Needs::Nothing => true,
            Needs::Addresses => self.addresses.is_some(),
            Needs::BindFiles => self.addresses.is_some_and(|addresses| addresses.bind_files),
        };
        there && class.runs_on(self.engine)
    }
}

impl Chaos {
    /// Whether all classes that are named mean something on an engine; if not, why.
    pub fn fits(&self, engine: Engine, addresses: Option<&Addresses>) -> Result<(), String> {
        for class in self.classes.iter().flatten() {
            let run = Run { engine, controllers: 0, addresses, acts: Duration::ZERO };
            if !class.runs_on(engine) {
                return Err(format!("`{engine}` has no faults of the class `{}`", class.name()));
            }
            if !run.knows(*class) {
                let lacks = match class.needs() {
                    Needs::BindFiles => "`bind-files = true` in a table `addresses`",
                    Needs::Nothing | Needs::Addresses => "a table `addresses`",
                };
                return Err(format!("the class `{}` needs {lacks}", class.name()));
            }
        }
        Ok(())
    }

    /// The lines of one seed. `intensity` is percent of the faults that the scenario allows.
    pub fn draw(&self, root: Seed, run: &Run<'_>, intensity: u32) -> Vec<Step> {
        let Run { controllers, acts, .. } = *run;
        let allowed = |class: &Class| {
            let named = self.classes.as_ref().is_none_or(|classes| classes.contains(class));
            named && run.knows(*class)
        };
        let mut swarm = root.child("swarm", 0).rng();
        let known: Vec<Class> = CLASSES.into_iter().filter(allowed).collect();
        let some = known.iter().copied().filter(|_| swarm.below(2) == 0);
        let mut classes: Vec<Class> = some.collect();
        if let (true, Some(one)) = (classes.is_empty(), pick(&known, &mut swarm)) {
            classes.push(one);
        }
        let most = u64::from(self.faults) * u64::from(intensity) / 100;
        let count = if most == 0 { 0 } else { 1 + swarm.below(most) };
        let mut steps = Vec::new();
        for index in 0..count {
            let mut rng = root.child("chaos", index).rng();
            if let Some(class) = pick(&classes, &mut rng) {
                let mut fault = Fault { rng, controllers, acts, longest: self.longest };
                steps.extend(fault.steps(class));
            }
        }
        steps
    }
}

fn pick(classes: &[Class], rng: &mut Rng) -> Option<Class> {
    let count = u64::try_from(classes.len()).ok().filter(|count| *count > 0)?;
    classes.get(usize::try_from(rng.below(count)).ok()?).copied()
}

/// One fault as it is drawn, from a stream of its own.
struct Fault {
    rng: Rng,
    controllers: u64,
    acts: Duration,
    longest: Duration,
}

impl Fault {
    fn steps(&mut self, class: Class) -> Vec<Step> {
        let (at, lasts) = (self.within(self.acts), Some(self.within(self.longest)));
        let one = |action| vec![Step { at: Time(0) + at, action, lasts }];
        let over = |action| vec![Step { at: Time(0) + at, action, lasts: None }];
        match class {
            Class::Crash => one(Action::Crash { node: self.node() }),
            Class::Restart => over(Action::Restart { node: self.node() }),
            Class::Stop => one(Action::Stop { node: self.node() }),
            Class::Redeploy => {
                let nodes = self.shuffled().into_iter().map(Role::Controller).collect();
                let down = self.within(self.longest);
                over(Action::Redeploy { nodes: Group(nodes), down })
            }
            Class::Partition => one(cut(self.node(), Role::Others, false)),
            Class::OneWay => match self.rng.below(2) {
                0 => one(cut(self.node(), Role::Others, true)),
                _ => one(cut(Role::Others, self.node(), true)),
            },
            Class::Partial => match self.shuffled()[..] {
                [first, second, ..] => {
                    one(cut(Role::Controller(first), Role::Controller(second), false))
                }
                [_] | [] => Vec::new(),
            },
            Class::Flapping => self.flapping(at),
            Class::Swizzle => self.swizzle(at),
            Class::AgentsCut => one(cut(self.node(), Role::Agents, false)),
            Class::Hold => one(Action::Hold { from: side(self.node()), to: side(Role::Others) }),
            Class::SlowLink => {
                let others = if self.rng.below(2) == 0 { Role::Others } else { Role::Agents };
                let (from, to) = (side(self.node()), side(others));
                one(Action::SlowLink { from, to, by: self.within(SLOWER_MOST) })
            }
            Class::SlowDisk => {
                one(Action::SlowDisk { node: self.node(), by: self.within(SLOWER_MOST) })
            }
            Class::DiskFull => one(Action::DiskFull { node: self.node() }),
            Class::IoError => {
                let at = if self.rng.below(2) == 0 { Touch::Write } else { Touch::Sync };
                over(Action::IoError { node: self.node(), at })
            }
            Class::Clock => {
                let who = if self.rng.below(4) == 0 { Role::Agents } else { self.node() };
                one(Action::Clock { who, drift: self.drift(), offset: self.within(OFFSET_MOST) })
            }
            Class::LoseItself => one(Action::LoseItself { node: self.node() }),
            Class::Pause => one(Action::Pause { node: self.node() }),
            Class::ApiAddresses => {
                let are = Hosts(vec![(self.host(), None)]);
                // The first stays: who was told of no move in time must find somebody at home.
                match self.controllers.checked_sub(1).filter(|others| *others > 0) {
                    Some(others) => {
                        let node = Role::Controller(NodeId(2 + self.rng.below(others)));
                        over(Action::ApiAddresses { node, are })
                    }
                    None => Vec::new(),
                }
            }
            Class::BindFile => {
                let says = match self.rng.below(4) {
                    0 => Written::Garbled,
                    _ => Written::Hosts(vec![self.host()]),
                };
                over(Action::BindFile { node: self.node(), says })
            }
            Class::Herd => over(Action::Herd),
            Class::RestartAgents => over(Action::RestartAgents),
        }
    }

    fn flapping(&mut self, first: Duration) -> Vec<Step> {
        let node = self.node();
        let each = self.within(self.longest / (2 * FLAPS));
        let flap = |index| Step {
            at: Time(0) + (first + 2 * each * index).min(self.acts),
            action: cut(node.clone(), Role::Others, false),
            lasts: Some(each),
        };
        (0..FLAPS).map(flap).collect()
    }

    fn swizzle(&mut self, first: Duration) -> Vec<Step> {
        let (going, span) = (self.shuffled(), self.longest / 2);
        let mut steps = Vec::new();
        for node in going {
            let (later, lasts) = (self.within(span), self.within(span));
            steps.push(Step {
                at: Time(0) + (first + later).min(self.acts),
                action: cut(Role::Controller(node), Role::Others, false),
                lasts: Some(lasts),
            });
        }
        steps
    }

    /// Millionths of a second, fast or slow.
    fn drift(&mut self) -> i32 {
        let borne = i64::from(DRIFT_BORNE);
        let drawn = self.rng.below(2 * u64::from(DRIFT_BORNE) + 1);
        // Both are far below 2³¹.
        (drawn as i64 - borne) as i32
    }

    /// Somebody, or whoever leads by then: faults of leaders find most.
    fn node(&mut self) -> Role {
        match self.rng.below(2) {
            0 => Role::Leader,
            _ => Role::Controller(NodeId(1 + self.rng.below(self.controllers))),
        }
    }

    /// A host that nobody had before, short of one chance in millions.
    fn host(&mut self) -> String {
        let [high, middle, low] = [(); 3].map(|()| 1 + self.rng.below(254));
        format!("10.{high}.{middle}.{low}")
    }

    fn shuffled(&mut self) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = (1..=self.controllers).map(NodeId).collect();
        self.rng.shuffle(&mut nodes);
        nodes
    }

    /// A time of at most this. Whole milliseconds: turmoil knows no finer.
    fn within(&mut self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX - 1);
        Duration::from_millis(self.rng.below(most + 1))
    }
}

fn side(role: Role) -> Group {
    Group(vec![role])
}

fn cut(from: Role, to: Role, one_way: bool) -> Action {
    Action::Partition { from: side(from), to: side(to), one_way }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const ACTS: Duration = Duration::from_secs(60);

    fn steps(seed: u64, engine: Engine, intensity: u32) -> Vec<Step> {
        let chaos = Chaos { faults: 8, longest: Duration::from_secs(10), classes: None };
        let addresses = Addresses { bind_files: true, ..Addresses::default() };
        let run = Run { engine, controllers: 3, addresses: Some(&addresses), acts: ACTS };
        chaos.draw(Seed(seed), &run, intensity)
    }

    fn verbs(steps: &[Step]) -> BTreeSet<String> {
        let verb = |step: &Step| step.action.to_string().split(' ').next().map(String::from);
        steps.iter().filter_map(verb).collect()
    }

    #[test]
    fn every_line_fits_and_all_verbs_come_up() {
        let mut seen = BTreeSet::new();
        for seed in 0..500 {
            let steps = steps(seed, Engine::Direct, 100);
            assert!(!steps.is_empty());
            for step in &steps {
                assert_eq!(step.action.fits(3), Ok(()), "{step}");
                assert!(step.at <= Time(0) + ACTS, "{step}");
                assert_eq!(step.lasts.is_some(), step.action.lasts(), "{step}");
            }
            seen.extend(verbs(&steps));
        }
        let all = "api-addresses bind-file clock crash disk-full herd hold io-error lose-itself \
                   partition pause redeploy restart restart-agents slow-disk slow-link stop";
        assert_eq!(seen.into_iter().collect::<Vec<_>>().join(" "), all);
    }

    #[test]
    fn a_seed_leaves_whole_classes_out() {
        let kinds: Vec<usize> =
            (0..200).map(|seed| verbs(&steps(seed, Engine::Direct, 1_000)).len()).collect();
        assert!(kinds.iter().all(|kinds| *kinds < 17), "some seed has everything: {kinds:?}");
        assert!(kinds.contains(&1), "no seed has one kind alone: {kinds:?}");
    }

    #[test]
    fn an_engine_gets_what_it_knows() {
        let known = |engine| {
            let all = (0..500).flat_map(|seed| steps(seed, engine, 100));
            let verbs = verbs(&all.collect::<Vec<_>>());
            ["slow-disk", "lose-itself", "pause"].map(|verb| verbs.contains(verb))
        };
        assert_eq!(known(Engine::Turmoil), [false, false, false]);
        assert_eq!(known(Engine::Madsim), [false, true, true]);
    }

    #[test]
    fn intensity_is_percent_of_the_faults() {
        assert_eq!(steps(1, Engine::Direct, 0), []);
        let sum = |percent| (0..100).map(|seed| steps(seed, Engine::Direct, percent).len()).sum();
        let (half, whole, five): (usize, usize, usize) = (sum(50), sum(100), sum(500));
        assert!(half < whole && whole < five, "{half} {whole} {five}");
    }
}
