//! The history of a run: one list of events, which every engine writes and every check reads.
//!
//! Decides nothing. Each event is folded into the hash that tells two runs apart, counted, shown to
//! the checks and, if asked for, printed. Nothing is kept but the last lines, for the page of a run
//! that failed, so forty million events cost no memory.

mod event;
mod hash;

use std::array;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::mem;

use portcullis_core::{NodeId, Time};

use crate::check::{self, Check};
use crate::counts::Counts;
use crate::coverage::Coverage;
use crate::facts::Facts;
use crate::logs::{Line, Log, Weight};
use crate::outcome::{Break, Half};
use crate::plan::Plan;
use crate::report::{Gauges, Record};
use crate::stage::Parts;
use crate::watch::{Live, Scene};
pub use event::{Event, Fronted, Kind, Kinds, Who};
pub use hash::Hash;

/// How many of the last lines a failure shows.
pub const LINES_KEPT: usize = 200;
/// With more agents than this their events are hashed and checked, but not kept as lines.
pub const AGENTS_KEPT: u32 = 1_000;

/// A check and what came of it.
struct Watched {
    check: Box<dyn Check>,
    always: bool,
    settles: bool,
    broke: Option<Break>,
}

/// Who hears events of each kind. Whether a check has settled is known to it by what it was told, so
/// those that are asked for that alone hear as much.
fn hearing(watched: &[Watched]) -> [Vec<usize>; Kind::COUNT] {
    let mut hearing = array::from_fn(|_| Vec::new());
    for (place, one) in watched.iter().enumerate().filter(|(_, one)| one.always || one.settles) {
        let kinds = one.check.hears();
        for kind in Kind::EACH.into_iter().filter(|kind| kinds.has(*kind)) {
            hearing[kind as usize].push(place);
        }
    }
    hearing
}

/// See the module.
pub struct History {
    watched: Vec<Watched>,
    /// By kind of event, the places of those that hear it.
    hearing: [Vec<usize>; Kind::COUNT],
    /// Whether so much broke that the run need not go on.
    enough: bool,
    /// Whether it goes on all the same, until all has settled or time is up.
    whole: bool,
    breaks: Vec<&'static str>,
    acts_until: Time,
    facts: Facts,
    counts: Counts,
    events: u64,
    hash: Hash,
    /// The last lines, oldest first; their memory is used again.
    lines: VecDeque<Line>,
    /// What the present event says, if it is spelt out.
    text: String,
    agents_kept: bool,
    /// Whether the plan has anything to say of the members.
    members: bool,
    /// Where events are printed, if they are.
    log: Option<Log>,
    converged: Option<Time>,
    /// What a report needs, if there is to be one.
    record: Option<Box<Record>>,
    /// Which states it goes through, if anybody wants to know.
    coverage: Option<Coverage>,
    /// What shows it to somebody while it goes on.
    live: Option<Box<Live>>,
}

impl History {
    /// A history in which nothing has happened.
    pub fn new(plan: &Plan) -> History {
        let expect = &plan.settings.expect;
        let wanted = |names: &Option<Vec<crate::settings::CheckName>>, name: &str| {
            names.as_ref().is_none_or(|names| names.iter().any(|wanted| wanted.0 == name))
        };
        let made = check::ALL.iter().filter_map(|(name, make)| Some((*name, make(plan)?)));
        let watched = made.map(|(name, check)| Watched {
            check,
            always: wanted(&expect.always, name),
            settles: wanted(&expect.settles, name),
            broke: None,
        });
        let watched: Vec<Watched> = watched.collect();
        History {
            hearing: hearing(&watched),
            watched,
            enough: false,
            whole: false,
            breaks: expect.breaks.iter().map(|name| name.0).collect(),
            acts_until: plan.acts_until(),
            facts: Facts::new(plan.settings.agents.count),
            counts: Counts::new(plan),
            events: 0,
            hash: Hash::default(),
            lines: VecDeque::new(),
            text: String::new(),
            members: plan.settings.members.is_some(),
            agents_kept: plan.settings.agents.count <= AGENTS_KEPT,
            log: None,
            converged: None,
            record: None,
            coverage: None,
            live: None,
        }
    }

    /// Has the run go on whatever breaks.
    pub fn whole(self) -> History {
        History { whole: true, ..self }
    }

    /// Has events printed.
    pub fn logged(self, log: Option<Log>) -> History {
        History { log, ..self }
    }

    /// Where events are printed, if they are.
    pub fn log(&self) -> Option<&Log> {
        self.log.as_ref()
    }

    /// Keeps what a report needs.
    pub fn recorded(self, plan: &Plan) -> History {
        History { record: Some(Box::new(Record::new(plan))), ..self }
    }

    /// Shows it to somebody while it goes on, if it is recorded.
    pub fn live(self, live: Live) -> History {
        History { live: Some(Box::new(live)), ..self }
    }

    /// Whether anybody wants to be shown [`Gauges`].
    pub fn is_recorded(&self) -> bool {
        self.record.is_some()
    }

    /// Takes note of what no event tells. It is no part of the history: no check sees it.
    pub fn show(&mut self, at: Time, node: NodeId, gauges: Gauges) {
        if let Some(record) = &mut self.record {
            record.show(at, node, gauges);
        }
    }

    /// Has it take note of the states that it goes through.
    pub fn covering(self, plan: &Plan) -> History {
        History { coverage: Some(Coverage::new(plan.controllers())), ..self }
    }

    /// Takes note of one event. `at` is real time since the run began, and never goes back.
    pub fn record(&mut self, at: Time, who: Who, event: Event<'_>) {
        if matches!(event, Event::Cluster(_)) && !self.members {
            return;
        }
        if self.live.as_mut().is_some_and(|live| live.is_due(at)) {
            self.show_to(at, Live::look);
        }
        self.events += 1;
        let of_agent = matches!(event, Event::AgentTold(_) | Event::AgentOrdered(_));
        let weight = Weight::of(&event);
        let logged = self.log.as_ref().is_some_and(|log| {
            log.turn(at);
            log.wants(who, weight)
        });
        let spelt = logged || self.agents_kept || !of_agent;
        if spelt {
            self.text.clear();
            // Writing to a string does not fail.
            let _ = write!(self.text, "{event}");
        }
        self.hash.event(at, who, &event, &self.text);
        self.facts.note(at, who, &event);
        if let (Some(coverage), Who::Controller(node), Event::Told(_)) =
            (&mut self.coverage, who, &event)
        {
            coverage.note(node, &self.text, &self.facts);
        }
        if spelt {
            self.keep(at, who, weight, logged);
        }
        self.counts.note(at, who, &event, &self.facts);
        if let Some(record) = &mut self.record {
            record.note(at, who, &event, &self.facts);
        }
        for place in &self.hearing[event.kind() as usize] {
            let watched = &mut self.watched[*place];
            if watched.broke.is_some() {
                continue;
            }
            if let Err(message) = watched.check.always(at, who, &event, &self.facts)
                && watched.always
            {
                let broke = Break { at, half: Half::Always, message };
                if let Some(record) = &mut self.record {
                    record.broke(watched.check.name(), &broke, &self.lines);
                }
                watched.broke = Some(broke);
                self.enough = true;
            }
        }
        if self.enough && !self.breaks.is_empty() {
            let broke = |name: &&'static str| {
                let of_name = |one: &Watched| one.check.name() == *name && one.broke.is_some();
                self.watched.iter().any(of_name)
            };
            self.enough = self.breaks.iter().all(broke);
        }
    }

    /// Whether there is nothing more to see: what had to break broke, or everything has converged
    /// after the faults. Engines ask at least once a simulated second.
    pub fn over(&mut self, now: Time) -> bool {
        if self.enough && !self.whole {
            return true;
        }
        if now < self.acts_until || (!self.breaks.is_empty() && !self.whole) {
            return false;
        }
        let settled =
            |one: &mut Watched| !one.settles || one.check.settled(now, &self.facts).is_ok();
        let settled = self.watched.iter_mut().all(settled);
        if settled {
            self.converged = Some(now);
        }
        settled
    }

    /// Who leads, as far as the controllers say.
    pub fn leader(&self) -> Option<NodeId> {
        self.facts.leader()
    }

    /// Who has the parts of a plan that only the run can give.
    pub fn parts(&self) -> Parts {
        let (leader, holder) = (self.facts.leader(), self.facts.holder());
        Parts { leader, holder, serving: self.facts.serving() }
    }

    /// Ends the run: asks the checks' other half, and gives up what was found.
    pub fn end(mut self, now: Time) -> Found {
        for one in self.watched.iter_mut().filter(|one| one.settles && one.broke.is_none()) {
            if let Err(message) = one.check.settled(now, &self.facts) {
                one.broke = Some(Break { at: now, half: Half::Settled, message });
            }
        }
        if let Some(record) = &mut self.record {
            record.end(now);
        }
        self.show_to(now, Live::end);
        let checks = self.watched.into_iter().map(|one| check::Found {
            name: one.check.name(),
            sentence: one.check.sentence(),
            always: one.always,
            broke: one.broke,
        });
        Found {
            checks: checks.collect(),
            counts: self.counts,
            converged: self.converged,
            events: self.events,
            hash: self.hash,
            coverage: self.coverage,
            lines: self.lines.iter().map(Line::to_string).collect(),
            record: self.record,
        }
    }

    /// Shows itself to whoever looks on, before anything happens at this time.
    fn show_to(&mut self, at: Time, look: fn(&mut Live, Time, &Scene<'_>)) {
        let (Some(live), Some(record)) = (&mut self.live, &self.record) else { return };
        let checks = self.watched.iter().map(|one| (one.check.name(), one.broke.as_ref()));
        let (facts, checks, events) = (&self.facts, checks.collect(), self.events);
        look(live, at, &Scene { record, facts, checks, events });
    }

    /// Keeps the present event as a line. Its columns are made once somebody wants to read it.
    fn keep(&mut self, at: Time, who: Who, weight: Weight, logged: bool) {
        let oldest = if self.lines.len() == LINES_KEPT { self.lines.pop_front() } else { None };
        let spare = oldest.map(|line| line.text).unwrap_or_default();
        let line = Line { at, who, weight, text: mem::replace(&mut self.text, spare) };
        if let Some(log) = self.log.as_ref().filter(|_| logged) {
            log.print(&line);
        }
        if let Some(live) = &mut self.live {
            live.line(&line);
        }
        if let Some(record) = self.record.as_mut().filter(|record| record.reads()) {
            record.line(&line);
        }
        self.lines.push_back(line);
    }
}

/// What a run leaves behind.
pub struct Found {
    pub checks: Vec<check::Found>,
    pub counts: Counts,
    /// When everything had converged after the faults; none if it had not.
    pub converged: Option<Time>,
    pub events: u64,
    pub hash: Hash,
    pub coverage: Option<Coverage>,
    pub lines: Vec<String>,
    pub record: Option<Box<Record>>,
}
