//! The checks: one property a file, each tied to the sentence that asks for it.
//!
//! A check reads the history and nothing else, so it is the same for every engine. `always` must
//! hold after every event; `settled` must come to hold once the faults are over, and stay so.

mod addresses_right;
mod batched;
pub mod black_box;
mod bounded;
mod clock_moves;
mod connected;
mod contained;
mod controllers_in;
mod door_order;
mod effects;
mod even;
mod expires;
mod follows;
mod fronted;
mod gentle;
mod kept;
mod leads_on;
mod less_loaded;
mod linearizable;
mod links_kept;
mod never_empty;
mod no_error;
mod no_ping_pong;
mod one_answer;
mod one_holder;
mod one_worker;
mod paced;
mod quorum_kept;
mod retries;
mod roles;
mod scattered;
mod taken_over;
mod timely;
mod unhurried;
mod unique_bind;
mod woken;

use std::fmt;

use portcullis_core::Time;

use crate::facts::Facts;
use crate::history::{Event, Kinds, Who};
use crate::outcome::Break;
use crate::plan::{Choice, Plan};
use crate::scenario::Scenario;
use crate::settings::Engine;

/// One property. An error is one line for people, and says who and what.
pub trait Check: Send {
    /// As scenarios name it.
    fn name(&self) -> &'static str;

    /// Who asks for it.
    fn sentence(&self) -> Sentence;

    /// Which events it looks at; it is not shown the others. Whatever goes by the time looks at all.
    fn hears(&self) -> Kinds {
        Kinds::ALL
    }

    /// Looks at one event; `facts` already know of it.
    fn always(
        &mut self,
        at: Time,
        who: Who,
        event: &Event<'_>,
        facts: &Facts,
    ) -> Result<(), String>;

    /// Whether everything is as it should be in the end.
    fn settled(&mut self, now: Time, facts: &Facts) -> Result<(), String> {
        let _ = (now, facts);
        Ok(())
    }
}

/// A sentence of a seed document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// Which document.
    pub seed: &'static str,
    /// Its words.
    pub text: &'static str,
}

impl fmt::Display for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: \"{}\"", self.seed, self.text)
    }
}

/// Makes a check for a plan, or none if the plan gives it nothing to say.
pub type Make = fn(&Plan) -> Option<Box<dyn Check>>;

/// Every check, by name.
pub const ALL: &[(&str, Make)] = &[
    ("door_order", door_order::make),
    ("controllers_in", controllers_in::make),
    ("links_kept", links_kept::make),
    ("paced", paced::make),
    ("bounded", bounded::make),
    ("gentle", gentle::make),
    ("scattered", scattered::make),
    ("one_answer", one_answer::make),
    ("one_holder", one_holder::make),
    ("expires", expires::make),
    ("one_worker", one_worker::make),
    ("kept", kept::make),
    ("clock_moves", clock_moves::make),
    ("linearizable", linearizable::make),
    ("timely", timely::make),
    ("woken", woken::make),
    ("batched", batched::make),
    ("retries", retries::make),
    ("even", even::make),
    ("fronted", fronted::make),
    ("no_ping_pong", no_ping_pong::make),
    ("less_loaded", less_loaded::make),
    ("follows", follows::make),
    ("unhurried", unhurried::make),
    ("taken_over", taken_over::make),
    ("contained", contained::make),
    ("connected", connected::make),
    ("roles", roles::make),
    ("quorum_kept", quorum_kept::make),
    ("leads_on", leads_on::make),
    ("unique_bind", unique_bind::make),
    ("addresses_right", addresses_right::make),
    ("never_empty", never_empty::make),
    ("no_error", no_error::make),
];

/// Lines of a scenario in which every check has something to say.
const ALL_CONCERNED: &str = "[controllers]\ncontroller-api-port = 17022\naccept = \"paced\"\n\
                             [members]\n[addresses]\nbind-files = true\n[singular]\n[balance]\npolicy = \"redirect\"\n[front]\n";

/// A plan of three controllers with these lines, for asking checks what they are about.
fn plan_of(lines: &str) -> Plan {
    let text = "title = \"t\"\nwhy = \"w\"\nsource = \"s\"\nengines = [\"direct\"]\n\
                acts = \"10s\"\nsettles-within = \"10s\"\n";
    let scenario = Scenario::parse("this program", &format!("{text}{lines}"));
    let scenario = scenario.expect("what is written here is a scenario");
    Plan::draw("test", &scenario, &Choice::new(Engine::Direct, 1))
}

/// What asks for each check, by its name.
pub fn sentences() -> Vec<(&'static str, Sentence)> {
    let plan = plan_of(ALL_CONCERNED);
    let checks = ALL.iter().filter_map(|(name, make)| Some((*name, make(&plan)?.sentence())));
    checks.collect()
}

/// What came of a check.
pub struct Found {
    pub name: &'static str,
    pub sentence: Sentence,
    /// Whether its `always` was asked for.
    pub always: bool,
    pub broke: Option<Break>,
}

#[cfg(test)]
pub(crate) mod tests {
    use portcullis_core::controller::{Input, Output};
    use portcullis_core::sessions::Party;
    use portcullis_core::{ConnectionId, Door, GlobalTime, NodeId};

    use super::*;

    /// A history for one check, to be told by hand. It is told twice: once as a run tells it, only
    /// what the check hears, and once all of it, which must come to the same.
    pub struct Story {
        check: Box<dyn Check>,
        all: Box<dyn Check>,
        facts: Facts,
    }

    pub const ONE: Who = Who::Controller(NodeId(1));
    pub const TWO: Who = Who::Controller(NodeId(2));

    /// A plan of three controllers, with `lines` changed.
    pub fn plan(lines: &str) -> Plan {
        plan_of(lines)
    }

    impl Story {
        pub fn new(make: Make, lines: &str) -> Story {
            let plan = plan(lines);
            let made = || make(&plan).expect("the check has something to say here");
            let facts = Facts::new(plan.settings.agents.count);
            Story { check: made(), all: made(), facts }
        }

        pub fn event(&mut self, at: u64, who: Who, event: Event<'_>) -> Result<(), String> {
            let at = Time(at * 1_000);
            self.facts.note(at, who, &event);
            let heard = match self.check.hears().has(event.kind()) {
                true => self.check.always(at, who, &event, &self.facts),
                false => Ok(()),
            };
            let all = self.all.always(at, who, &event, &self.facts);
            assert_eq!(heard, all, "it does not hear of {event}, which is a matter for it");
            heard
        }

        /// At so many milliseconds, a controller is told.
        pub fn told(&mut self, at: u64, who: Who, input: Input) -> Result<(), String> {
            self.event(at, who, Event::Told(&input))
        }

        /// At so many milliseconds, a controller orders.
        pub fn ordered(&mut self, at: u64, who: Who, output: Output) -> Result<(), String> {
            self.event(at, who, Event::Ordered(&output))
        }

        pub fn settled(&mut self, at: u64) -> Result<(), String> {
            let heard = self.check.settled(Time(at * 1_000), &self.facts);
            let all = self.all.settled(Time(at * 1_000), &self.facts);
            assert_eq!(heard, all, "it does not hear of all that is a matter for it");
            heard
        }

        /// A controller leads and has a connection to itself, number 1, and an agent's, number 2.
        pub fn serving(&mut self, who: Who) {
            let Who::Controller(node) = who else { return };
            let inputs = [
                Input::Started,
                Input::Led { global: GlobalTime(0) },
                Input::Connected { connection: ConnectionId(1), door: Door::Controller },
                Input::LoggedIn { connection: ConnectionId(1), party: Party::Controller(node) },
                Input::Connected { connection: ConnectionId(2), door: Door::Api },
                Input::LoggedIn { connection: ConnectionId(2), party: Party::Agent },
            ];
            for input in inputs {
                // What the check under test says of these is not the story.
                let _ = self.told(0, who, input);
            }
        }
    }

    #[test]
    fn every_check_goes_by_its_name() {
        for (name, make) in ALL {
            let plan = plan(ALL_CONCERNED);
            let check = make(&plan).expect("this plan concerns every check");
            assert_eq!(check.name(), *name);
        }
    }

    #[test]
    fn the_readme_ties_every_check_to_its_sentence() {
        let readme = include_str!("../../README.md");
        for (name, make) in ALL {
            let plan = plan(ALL_CONCERNED);
            let check = make(&plan).expect("this plan concerns every check");
            let row = readme.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
            let row = row.unwrap_or_else(|| panic!("the README has no row for {name}"));
            assert!(row.contains(&check.sentence().to_string()), "{row}");
        }
    }
}
