//! The record: what a page needs of a run, taken while the run goes on.
//!
//! Decides nothing: it follows the events that the checks are shown, and keeps series, not events.

use std::collections::{BTreeMap, VecDeque};

use portcullis_core::controller::Output;
use portcullis_core::lease::{Done, Operation, Refusal};
use portcullis_core::queue::Answer;
use portcullis_core::{GlobalTime, NodeId, Time};
use serde::{Deserialize, Serialize};

use super::controller::Controller;
use super::front::Front;
use super::leases::Leases;
use super::series::{Delays, Level, Rate};
use crate::facts::{Ask, Facts};
use crate::history::{Event, Who};
use crate::logs::Line;
use crate::outcome::Break;
use crate::plan::Plan;
use crate::settings::Bytes;
use crate::stage::Deed;

/// How many lines before and after the moment that a check broke a page shows.
pub const LINES_BEFORE: usize = 40;
/// See [`LINES_BEFORE`].
pub const LINES_AFTER: usize = 12;
/// Most such moments on a page: what breaks later follows from what broke first.
const MOMENTS_MAX: usize = 4;

/// What engines alone can tell, and no event does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauges {
    /// Connections in the kernel's backlogs, of both doors together.
    pub backlog: u64,
    pub memory: Bytes,
}

/// When a check broke, with the lines around it, as `--log` prints them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    pub check: String,
    /// Microseconds.
    pub at: u64,
    /// Whether it only had to come to hold in the end, and did not.
    pub settled: bool,
    pub message: String,
    pub before: Vec<String>,
    pub after: Vec<String>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Record {
    pub controllers: BTreeMap<NodeId, Controller>,
    pub agents: Level,
    /// Answers that settled who holds a lease, or that said nothing of it.
    pub granted: Rate,
    pub extended: Rate,
    pub denied: Rate,
    pub without_effect: Rate,
    /// How long askers waited for the first three of these.
    pub delays: Delays,
    /// Microseconds by which the global clock is behind, at its turning points.
    pub lag: Level,
    clock: Time,
    /// The time of the last entry that any table has applied.
    global: GlobalTime,
    /// Bytes at which a process is killed.
    pub limit: Level,
    pub leases: Leases,
    /// If there is one.
    pub front: Option<Front>,
    pub moments: Vec<Moment>,
    terms: u64,
}

impl Record {
    /// Nothing has happened.
    pub fn new(plan: &Plan) -> Record {
        let mut limit = Level::default();
        limit.set(Time(0), plan.settings.controllers.memory_limit.0);
        Record {
            controllers: plan.controllers().map(|node| (node, Controller::new())).collect(),
            agents: Level::default(),
            granted: Rate::default(),
            extended: Rate::default(),
            denied: Rate::default(),
            without_effect: Rate::default(),
            delays: Delays::default(),
            lag: Level::default(),
            clock: Time(0),
            global: GlobalTime(0),
            limit,
            leases: Leases::default(),
            front: plan.settings.front.as_ref().map(|_| Front::default()),
            moments: Vec::new(),
            terms: 0,
        }
    }

    /// Takes note of one event, after the facts have.
    pub fn note(&mut self, at: Time, who: Who, event: &Event<'_>, facts: &Facts) {
        self.leases.note(at, who, event, facts);
        match (who, event) {
            (Who::Controller(node), Event::Told(input)) => {
                let of = self.controllers.entry(node).or_insert_with(Controller::new);
                of.told(at, node, input, &mut self.terms, facts);
            }
            (Who::Controller(node), Event::Ordered(output)) => {
                self.ordered(at, node, output, facts);
            }
            (Who::Controller(node), Event::Memory(bytes)) => {
                self.of(node).memory.set(at, bytes.0);
            }
            (Who::Controller(node), Event::Killed(bytes)) => {
                self.of(node).memory.set(at, bytes.0);
                self.of(node).died(at, node, facts);
            }
            (_, Event::Did(Deed::Crash(node) | Deed::Left(node) | Deed::Failed(node))) => {
                self.of(*node).died(at, *node, facts);
            }
            (_, Event::Did(Deed::Limit(bytes))) => self.limit.set(at, bytes.0),
            (who, Event::Applied { entry, .. }) => {
                self.global = self.global.max(entry.now);
                if let Who::Controller(node) = who {
                    self.of(node).global = entry.now;
                }
                self.clock_moved(at, facts.clock());
            }
            (_, Event::Front(event)) => {
                if let Some(front) = &mut self.front {
                    front.note(at, event);
                }
            }
            (Who::Agent(_), Event::AgentTold(_) | Event::AgentOrdered(_)) => {
                self.agents.set(at, facts.agents_connected() as u64);
            }
            (_, Event::Told(_) | Event::Ordered(_) | Event::Did(_) | Event::Memory(_))
            | (_, Event::AgentTold(_) | Event::AgentOrdered(_))
            | (_, Event::Cluster(_) | Event::Killed(_) | Event::Singular(_))
            | (_, Event::BacklogFull | Event::Error(_)) => {}
        }
    }

    /// Microseconds by which a controller's copy of the table is behind: as the global clock is, and
    /// by as much as its last entry is older than the last of all.
    pub fn lag_of(&self, node: NodeId, at: Time) -> u64 {
        let applied = self.controllers.get(&node).map_or(GlobalTime(0), |of| of.global);
        micros(at, self.clock).saturating_add(self.global.0.saturating_sub(applied.0))
    }

    /// Takes note of what an engine shows of one controller.
    pub fn show(&mut self, at: Time, node: NodeId, gauges: Gauges) {
        let controller = self.of(node);
        controller.backlog.set(at, gauges.backlog);
        controller.memory.set(at, gauges.memory.0);
    }

    /// A check broke, at the last of these lines if its event was written.
    pub fn broke(&mut self, check: &str, broke: &Break, lines: &VecDeque<Line>) {
        if self.moments.len() < MOMENTS_MAX {
            let before = lines.iter().skip(lines.len().saturating_sub(LINES_BEFORE));
            let before = before.map(Line::to_string).collect();
            self.moments.push(Moment {
                check: check.into(),
                at: broke.at.0,
                settled: false,
                message: broke.message.clone(),
                before,
                after: Vec::new(),
            });
        }
    }

    /// Whether a line that is written is of any use here.
    pub fn reads(&self) -> bool {
        self.moments.iter().any(|moment| moment.after.len() < LINES_AFTER)
    }

    /// A line was written.
    pub fn line(&mut self, line: &Line) {
        let open = self.moments.iter_mut().filter(|moment| moment.after.len() < LINES_AFTER);
        open.for_each(|moment| moment.after.push(line.to_string()));
    }

    /// The run is over.
    pub fn end(&mut self, at: Time) {
        self.lag.add(at, micros(at, self.clock));
    }

    fn of(&mut self, node: NodeId) -> &mut Controller {
        self.controllers.entry(node).or_insert_with(Controller::new)
    }

    fn ordered(&mut self, at: Time, node: NodeId, output: &Output, facts: &Facts) {
        if let Output::Answer { answer, .. } = output
            && let Some(ask) = facts.ended().filter(|ask| ask.edge)
        {
            self.answered(at, ask, answer);
        }
        self.of(node).ordered(at, node, output, facts);
    }

    fn answered(&mut self, at: Time, ask: &Ask, answer: &Answer) {
        let key = ask.operation.as_deref().map(Operation::key);
        let rate = match answer {
            Answer::Done { index, done: Done::Granted { fence, .. } } => {
                match key.is_some_and(|key| self.leases.extends(key, *fence, *index)) {
                    true => &mut self.extended,
                    false => &mut self.granted,
                }
            }
            Answer::Done { done: Done::Revoked | Done::Pinned | Done::Unpinned, .. }
            | Answer::Released => return,
            Answer::Refused { refusal: Refusal::Held { .. } | Refusal::NotHeld, .. } => {
                &mut self.denied
            }
            Answer::Refused { refusal: Refusal::Void | Refusal::Full, .. }
            | Answer::Overloaded { .. }
            | Answer::NotLeader { .. }
            | Answer::Expired
            | Answer::Cancelled
            | Answer::Unknown => {
                self.without_effect.count(at);
                return;
            }
        };
        rate.count(at);
        self.delays.add(at, at.since(ask.since));
    }

    /// The clock was behind until an entry moved it; what is left is how old that entry's time is.
    fn clock_moved(&mut self, at: Time, right: Time) {
        if right > self.clock {
            self.lag.add(at, micros(at, self.clock));
            self.lag.add(at, micros(at, right));
            self.clock = right;
        }
    }
}

fn micros(at: Time, since: Time) -> u64 {
    at.0.saturating_sub(since.0)
}

#[cfg(test)]
mod tests {
    use portcullis_core::controller::Input;
    use portcullis_core::lease::{Applied, Entry};
    use portcullis_core::listener::Kind;
    use portcullis_core::{ConnectionId, Door, GlobalTime};

    use super::*;
    use crate::check::tests::{ONE, plan};
    use crate::logs::Weight;
    use crate::report::panel::Track;

    /// A record and its facts, told by hand, in milliseconds.
    struct Told(Record, Facts);

    impl Told {
        fn new() -> Told {
            Told(Record::new(&plan("")), Facts::new(30))
        }

        fn event(&mut self, at: u64, event: Event<'_>) {
            self.1.note(Time(at * 1_000), ONE, &event);
            self.0.note(Time(at * 1_000), ONE, &event, &self.1);
        }

        fn one(&mut self) -> &Controller {
            &self.0.controllers[&NodeId(1)]
        }
    }

    fn labels(track: &Track) -> Vec<(u64, String)> {
        let lane = track.lane("it", Time(100_000_000));
        lane.spans.into_iter().map(|span| (span.from, span.label)).collect()
    }

    #[test]
    fn a_controller_starts_leads_and_dies() {
        let mut told = Told::new();
        told.event(1_000, Event::Told(&Input::Started));
        told.event(2_000, Event::Told(&Input::Led { global: GlobalTime(0) }));
        told.event(3_000, Event::Told(&Input::Opened { door: Door::Api }));
        let connected = Input::Connected { connection: ConnectionId(1), door: Door::Api };
        told.event(4_000, Event::Told(&connected));
        told.event(9_000, Event::Killed(Bytes(7)));
        let expected = [(0, "down"), (1_000, "follows"), (2_000, "leads, term 1"), (9_000, "down")];
        assert_eq!(labels(&told.one().leads), expected.map(|(at, label)| (at, label.into())));
        let expected = [(0, "shut"), (3_000, "open"), (4_000, "lets in"), (9_000, "shut")];
        assert_eq!(labels(&told.one().api_door), expected.map(|(at, label)| (at, label.into())));
        let expected = [(0, Some(0)), (4_000, Some(1)), (9_000, Some(0))];
        assert_eq!(told.one().connections.points(), expected);
        let memory = told.one().memory.points();
        assert_eq!(memory, [(0, Some(0)), (9_000, Some(7)), (9_000, Some(0))]);
    }

    #[test]
    fn who_stands_at_the_door_is_held_until_admitted() {
        let mut told = Told::new();
        let (door, connection) = (Door::Api, ConnectionId(1));
        told.event(0, Event::Told(&Input::Opened { door }));
        told.event(1, Event::Ordered(&Output::Hold { door }));
        told.event(1_000, Event::Told(&Input::Knocked { connection, door }));
        told.event(2_000, Event::Told(&Input::Arrived { connection, door, kind: Kind::Other }));
        told.event(5_000, Event::Ordered(&Output::Admit { connection }));
        told.event(6_000, Event::Ordered(&Output::Hold { door }));
        assert_eq!(told.one().held.points(), [(0, Some(0)), (1_000, Some(1)), (5_000, Some(0))]);
        let expected = [(0, "open"), (1, "holds"), (5_000, "lets in")];
        assert_eq!(labels(&told.one().api_door), expected.map(|(at, label)| (at, label.into())));
    }

    #[test]
    fn the_clock_lags_until_an_entry_moves_it() {
        let mut told = Told::new();
        let entry = Entry { now: GlobalTime(900_000), commands: Default::default() };
        let batch = portcullis_core::BatchId(1);
        told.event(900, Event::Ordered(&Output::Propose { batch, entry: entry.clone() }));
        let applied = Applied::default();
        told.event(1_000, Event::Applied { index: 1, entry: &entry, applied: &applied });
        assert_eq!(told.0.lag_of(NodeId(1), Time(2_000_000)), 1_100_000);
        assert_eq!(told.0.lag_of(NodeId(2), Time(2_000_000)), 2_000_000);
        told.0.end(Time(3_000_000));
        let expected = [
            (0, Some(0)),
            (1_000, Some(1_000_000)),
            (1_000, Some(100_000)),
            (3_000, Some(2_100_000)),
        ];
        assert_eq!(told.0.lag.points(), expected);
    }

    #[test]
    fn a_moment_keeps_what_came_before_and_a_little_after() {
        let mut told = Told::new();
        assert!(!told.0.reads());
        let broke =
            |at| Break { at: Time(at), half: crate::outcome::Half::Always, message: "m".into() };
        let weight = Weight { level: tracing::Level::INFO, target: "table" };
        let line = |at| Line { at: Time(at), who: ONE, weight, text: "it happened".into() };
        let lines: VecDeque<Line> = (1..100).map(line).collect();
        (1..=9).for_each(|at| told.0.broke("bounded", &broke(at), &lines));
        (100..200).for_each(|at| told.0.line(&line(at)));
        assert!(!told.0.reads());
        assert_eq!(told.0.moments.len(), MOMENTS_MAX);
        let moment = &told.0.moments[0];
        assert_eq!((moment.before.len(), moment.after.len()), (LINES_BEFORE, LINES_AFTER));
        assert_eq!(moment.before.last(), Some(&line(99).to_string()));
        assert_eq!(moment.after.first(), Some(&line(100).to_string()));
    }
}
