//! The history of a run: one list of events, which every engine writes and every check reads.
//!
//! Decides nothing. Each event is folded into the hash that tells two runs apart, counted, shown to
//! the checks and, if asked for, printed. Nothing is kept but the last lines, for the page of a run
//! that failed, so forty million events cost no memory.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::mem;

use portcullis::env::Affair;
use portcullis_core::lease::{Applied, Entry};
use portcullis_core::{NodeId, Time, agent, controller, front};

use crate::check::{self, Check};
use crate::counts::Counts;
use crate::coverage::Coverage;
use crate::facts::Facts;
use crate::logs::{Line, Log, Weight};
use crate::outcome::{Break, Half};
use crate::plan::Plan;
use crate::report::{Gauges, Record};
use crate::settings::Bytes;
use crate::singular::Single;
use crate::stage::{Deed, Parts};
use crate::watch::{Live, Scene};

/// How many of the last lines a failure shows.
pub const LINES_KEPT: usize = 200;
/// With more agents than this their events are hashed and checked, but not kept as lines.
pub const AGENTS_KEPT: u32 = 1_000;

/// To whom something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// Nobody alone: the plan's deeds.
    World,
    Controller(NodeId),
    /// The one before the controllers.
    Front,
    /// From zero. Those from `agents.count` on are the clients of a workload.
    Agent(u32),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::World => f.pad("world"),
            Who::Controller(node) => f.pad(&node.to_string()),
            Who::Front => f.pad("front"),
            Who::Agent(number) => f.pad(&format!("agent-{number}")),
        }
    }
}

/// One thing that happened.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The engine did a deed of the plan.
    Did(&'a Deed),
    /// A controller's machine was told.
    Told(&'a controller::Input),
    /// A controller's machine gave an order.
    Ordered(&'a controller::Output),
    /// An agent's machine was told.
    AgentTold(&'a agent::Input),
    /// An agent's machine gave an order.
    AgentOrdered(&'a agent::Output),
    /// Something at the front's machine.
    Front(Fronted<'a>),
    /// A controller's copy of the table applied a log entry.
    Applied { index: u64, entry: &'a Entry, applied: &'a Applied },
    /// Something about the cluster itself.
    Cluster(Affair<'a>),
    /// Something about a worker that runs on one controller alone.
    Singular(Single<'a>),
    /// A controller's process uses this much memory. Said whenever it grows.
    Memory(Bytes),
    /// A listener's backlog was full, so a connection was dropped.
    BacklogFull,
    /// The process was killed for its memory.
    Killed(Bytes),
    /// Something logged an error, which means a bug.
    Error(&'a str),
}

/// What a front's machine was told, or ordered.
#[derive(Clone, Copy, Debug)]
pub enum Fronted<'a> {
    Told(&'a front::Input),
    Ordered(&'a front::Output),
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Did(deed) => write!(f, "* {deed}"),
            Event::Told(input) => write!(f, "< {input}"),
            Event::Ordered(output) => write!(f, "> {output}"),
            Event::AgentTold(input) => write!(f, "< {input}"),
            Event::AgentOrdered(output) => write!(f, "> {output}"),
            Event::Front(Fronted::Told(input)) => write!(f, "< {input}"),
            Event::Front(Fronted::Ordered(output)) => write!(f, "> {output}"),
            Event::Applied { index, entry, applied } => {
                write!(f, "= applied {index}, {entry}, released {}", applied.released.len())
            }
            Event::Cluster(affair) => affair.fmt(f),
            Event::Singular(single) => single.fmt(f),
            Event::Memory(bytes) => write!(f, "* memory {}", bytes.0),
            Event::BacklogFull => f.write_str("* backlog full"),
            Event::Killed(bytes) => write!(f, "* killed at memory {}", bytes.0),
            Event::Error(line) => write!(f, "! {line}"),
        }
    }
}

/// FNV-1a over words of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash(u64);

impl Default for Hash {
    fn default() -> Hash {
        Hash(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    /// Folds bytes, eight at a time: the lines of a large run come to gigabytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.word(u64::from(*byte));
        }
    }

    /// What it has come to.
    pub fn value(self) -> u64 {
        self.0
    }

    /// Folds a word in one step.
    pub fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        self.0 ^= self.0 >> 29;
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A check and what came of it.
struct Watched {
    check: Box<dyn Check>,
    always: bool,
    settles: bool,
    broke: Option<Break>,
}

/// See the module.
pub struct History {
    watched: Vec<Watched>,
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
        History {
            watched: watched.collect(),
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
        self.fold(at, who, &event);
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
        // Whether a check has settled is known to it by what it was told, asked for always or not.
        let asked_for = |one: &&mut Watched| (one.always || one.settles) && one.broke.is_none();
        for watched in self.watched.iter_mut().filter(asked_for) {
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

    /// Folds the event into the hash: its line, but for an agent's only what tells it apart.
    fn fold(&mut self, at: Time, who: Who, event: &Event<'_>) {
        self.hash.word(at.0);
        self.hash.word(match who {
            Who::World => 0,
            Who::Controller(node) => node.0 << 1,
            Who::Front => u64::MAX - 1,
            Who::Agent(number) => u64::from(number) << 1 | 1,
        });
        match event {
            Event::AgentTold(input) => self.hash.word(told(input)),
            Event::AgentOrdered(output) => self.hash.word(ordered(output)),
            Event::Did(_)
            | Event::Told(_)
            | Event::Ordered(_)
            | Event::Front(_)
            | Event::Applied { .. }
            | Event::Memory(_)
            | Event::BacklogFull
            | Event::Cluster(_)
            | Event::Singular(_)
            | Event::Killed(_)
            | Event::Error(_) => self.hash.bytes(self.text.as_bytes()),
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

/// A number for what an agent was told. What it leaves out, its controller was told in full.
fn told(input: &agent::Input) -> u64 {
    match input {
        agent::Input::Started => 1,
        agent::Input::Connected => 2,
        agent::Input::Failed => 3,
        agent::Input::LoggedIn { addresses } => 4 | (addresses.len() as u64) << 8,
        agent::Input::Refused { retry_after } => 5 | (retry_after.as_micros() as u64) << 8,
        agent::Input::Redirected { to } => 6 | (to.len() as u64) << 8,
        agent::Input::Disconnected => 7,
        agent::Input::Ponged => 8,
        agent::Input::Answered { serial, answer } => 9 | kind(answer) << 8 | serial << 16,
        agent::Input::Asked { token, .. } => 10 | token << 8,
        agent::Input::Stopped => 11,
        agent::Input::Told { addresses } => 12 | (addresses.len() as u64) << 8,
    }
}

/// A number for what an agent ordered.
fn ordered(output: &agent::Output) -> u64 {
    match output {
        agent::Output::Dial { address } => {
            let mut hash = Hash::default();
            hash.bytes(address.as_str().as_bytes());
            hash.0
        }
        agent::Output::Login => 33,
        agent::Output::Hangup => 34,
        agent::Output::Ping => 35,
        agent::Output::Send { serial, .. } => 36 | serial << 8,
        agent::Output::Answer { token, answer } => 37 | kind(answer) << 8 | token << 16,
        agent::Output::Lead { fence } => 38 | fence << 8,
        agent::Output::Follow => 39,
        agent::Output::Remember { addresses } => 40 | (addresses.len() as u64) << 8,
    }
}

fn kind(answer: &portcullis_core::queue::Answer) -> u64 {
    use portcullis_core::queue::Answer;
    match answer {
        Answer::Done { .. } => 0,
        Answer::Refused { .. } => 1,
        Answer::Released => 2,
        Answer::Overloaded { .. } => 3,
        Answer::NotLeader { .. } => 4,
        Answer::Expired => 5,
        Answer::Cancelled => 6,
        Answer::Unknown => 7,
    }
}
