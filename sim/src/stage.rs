//! The stage: turns a plan's lines into single deeds, as the engines are to do them, in time.
//!
//! Decides who `leader` is (whoever leads when the line falls due, and still that one when the line
//! ends), how overlapping faults add up, and that everything heals when the faults end. Engines do
//! no more than what a [`Deed`] says.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use portcullis_core::{NodeId, Time};

use crate::action::{Action, Claims, Group, Role, Second};
use crate::addresses::{Hosts, Written};
use crate::disk::Touch;
use crate::plan::Plan;
use crate::settings::Bytes;

/// One end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Controller(NodeId),
    /// All agents: they share their fate.
    Agents,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Controller(node) => write!(f, "{node}"),
            Place::Agents => f.write_str("agents"),
        }
    }
}

/// Who has the parts that only the run can give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Who leads.
    pub leader: Option<NodeId>,
    /// Who runs the first of the workers that run on one controller alone, or ran it last.
    pub holder: Option<NodeId>,
    /// Who lets agents in.
    pub serving: Nodes,
}

/// Some of the controllers; those beyond the 128th are never among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nodes(u128);

impl Nodes {
    fn bit(node: NodeId) -> u128 {
        u32::try_from(node.0).ok().and_then(|place| 1u128.checked_shl(place - 1)).unwrap_or(0)
    }

    /// Whether it is among them.
    pub fn has(self, node: NodeId) -> bool {
        self.0 & Nodes::bit(node) != 0
    }

    /// Counts it among them from now on, or no more.
    pub fn set(&mut self, node: NodeId, among: bool) {
        self.0 &= !Nodes::bit(node);
        self.0 |= if among { Nodes::bit(node) } else { 0 };
    }
}

/// One thing for an engine to do. Links have a direction: a partition both ways is two deeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// The running process dies.
    Crash(NodeId),
    /// A controller is invited, joins, and its process starts.
    Join(NodeId),
    /// A controller is removed from the cluster for ever.
    Remove(NodeId),
    /// The process has ended by itself: it was told to stop, or its controller was removed. No plan
    /// says so: the engine does.
    Left(NodeId),
    /// The dead process starts again on the disk that it left.
    Restart(NodeId),
    /// The running process is told to stop. It starts again by `Restart`.
    Stop(NodeId),
    /// From now on the running process does nothing; it is told afterwards what it missed.
    Pause(NodeId),
    /// It goes on.
    Resume(NodeId),
    /// The operator switches the controller port on or off.
    ControllerPort { node: NodeId, on: bool },
    /// Somebody writes the file that says where the controller door is to be bound.
    BindFile { node: NodeId, says: Written },
    /// From now on the controller has these hosts, and no others.
    ApiAddresses { node: NodeId, are: Hosts },
    /// From now on the controller cannot reach itself.
    LoseItself(NodeId),
    /// It can again.
    FindItself(NodeId),
    /// From now on what `from` sends to `to` is lost.
    Cut { from: Place, to: Place },
    /// It arrives again.
    Mend { from: Place, to: Place },
    /// From now on what `from` sends to `to` waits.
    Hold { from: Place, to: Place },
    /// What waited is delivered.
    Release { from: Place, to: Place },
    /// From now on what `from` sends to `to` takes this much longer than the network does; zero is
    /// as usual.
    Slow { from: Place, to: Place, by: Duration },
    /// From now on every sync of the node's disk takes this much longer than a disk does; zero is
    /// as usual.
    SlowDisk { node: NodeId, by: Duration },
    /// From now on the node's disk has no room.
    FillDisk(NodeId),
    /// It has room again.
    FreeDisk(NodeId),
    /// The next write or sync of the node's disk fails.
    BreakDisk { node: NodeId, at: Touch },
    /// From now on the clock there is fast by so many millionths, and processes start at `offset` on
    /// it, if that is not zero.
    Drift { place: Place, by: i32, offset: Duration },
    /// The process has ended by itself, because its disk failed. No plan says so: the engine does.
    Failed(NodeId),
    /// Every agent drops its connection and returns.
    Herd,
    /// Every agent's process dies and starts again.
    RestartAgents,
    /// From now on processes are killed at this much memory.
    Limit(Bytes),
    /// Clients make these claims.
    Claim(Claims),
    /// The faults are over: everything has healed.
    Settle,
}

/// What can be wrong with a link, each by itself: what mends one mends no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    Cut,
    Held,
    Slow,
}

impl Deed {
    /// Whether the deed makes something wrong with a link, or ends it, and with which.
    pub fn link(&self) -> Option<(Wrong, Place, Place, bool)> {
        match self {
            Deed::Cut { from, to } => Some((Wrong::Cut, *from, *to, true)),
            Deed::Mend { from, to } => Some((Wrong::Cut, *from, *to, false)),
            Deed::Hold { from, to } => Some((Wrong::Held, *from, *to, true)),
            Deed::Release { from, to } => Some((Wrong::Held, *from, *to, false)),
            Deed::Slow { from, to, by } => Some((Wrong::Slow, *from, *to, !by.is_zero())),
            Deed::Crash(_)
            | Deed::Join(_)
            | Deed::Remove(_)
            | Deed::Left(_)
            | Deed::Restart(_)
            | Deed::Stop(_)
            | Deed::Pause(_)
            | Deed::Resume(_)
            | Deed::ControllerPort { .. }
            | Deed::BindFile { .. }
            | Deed::ApiAddresses { .. }
            | Deed::LoseItself(_)
            | Deed::FindItself(_)
            | Deed::SlowDisk { .. }
            | Deed::FillDisk(_)
            | Deed::FreeDisk(_)
            | Deed::BreakDisk { .. }
            | Deed::Failed(_)
            | Deed::Drift { .. }
            | Deed::Herd
            | Deed::RestartAgents
            | Deed::Limit(_)
            | Deed::Claim(_)
            | Deed::Settle => None,
        }
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Deed::Crash(node) => write!(f, "crash {node}"),
            Deed::Restart(node) => write!(f, "restart {node}"),
            Deed::Stop(node) => write!(f, "stop {node}"),
            Deed::Join(node) => write!(f, "join {node}"),
            Deed::Remove(node) => write!(f, "remove {node}"),
            Deed::Left(node) => write!(f, "{node} has left"),
            Deed::Pause(node) => write!(f, "pause {node}"),
            Deed::Resume(node) => write!(f, "resume {node}"),
            Deed::ControllerPort { node, on: true } => write!(f, "controller port of {node} on"),
            Deed::ControllerPort { node, on: false } => write!(f, "controller port of {node} off"),
            Deed::BindFile { node, says } => write!(f, "bind file of {node} says {says}"),
            Deed::ApiAddresses { node, are } => write!(f, "api addresses of {node} are {are}"),
            Deed::LoseItself(node) => write!(f, "{node} loses itself"),
            Deed::FindItself(node) => write!(f, "{node} finds itself"),
            Deed::Cut { from, to } => write!(f, "cut {from} > {to}"),
            Deed::Mend { from, to } => write!(f, "mend {from} > {to}"),
            Deed::Hold { from, to } => write!(f, "hold {from} > {to}"),
            Deed::Release { from, to } => write!(f, "release {from} > {to}"),
            Deed::Slow { from, to, by } => write!(f, "slow {from} > {to} by {}", Second(*by)),
            Deed::SlowDisk { node, by } => write!(f, "slow the disk of {node} by {}", Second(*by)),
            Deed::FillDisk(node) => write!(f, "fill the disk of {node}"),
            Deed::FreeDisk(node) => write!(f, "free the disk of {node}"),
            Deed::BreakDisk { node, at } => write!(f, "break the next {at} of {node}"),
            Deed::Drift { place, by, offset: Duration::ZERO } => {
                write!(f, "clock of {place} by {by}ppm")
            }
            Deed::Drift { place, by, offset } => {
                write!(f, "clock of {place} by {by}ppm from {}", Second(*offset))
            }
            Deed::Failed(node) => write!(f, "{node} has failed with its disk"),
            Deed::Herd => f.write_str("herd"),
            Deed::RestartAgents => f.write_str("restart agents"),
            Deed::Limit(bytes) => write!(f, "limit memory to {bytes}"),
            Deed::Claim(claims) => write!(f, "{claims}"),
            Deed::Settle => f.write_str("settle"),
        }
    }
}

/// What holds, while anything asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Down(NodeId),
    Stopped(NodeId),
    Paused(NodeId),
    LostItself(NodeId),
    Cut(Place, Place),
    Held(Place, Place),
    Slow(Place, Place),
    SlowDisk(NodeId),
    FullDisk(NodeId),
    Drifts(Place),
    Limit,
}

/// Where a redeployment stands.
#[derive(Clone, Debug)]
struct Turn {
    /// Who was the last to have a turn, and is waited for.
    before: Option<NodeId>,
    /// Whose turn is still to come.
    left: VecDeque<NodeId>,
    down: Duration,
}

/// How often a redeployment looks whether the last controller is back.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(250);

/// Where a plan stands.
#[derive(Clone, Debug)]
pub struct Stage {
    controllers: Vec<NodeId>,
    memory_limit: Bytes,
    /// What begins, by time and line.
    begins: BTreeMap<(Time, usize), Action>,
    lasts: BTreeMap<usize, Time>,
    /// What ends, by time and line.
    ends: BTreeMap<(Time, usize), Vec<State>>,
    /// How many lines ask for each state, and what they ask for in sum.
    counts: BTreeMap<State, u32>,
    slowness: BTreeMap<usize, Duration>,
    limits: BTreeMap<usize, Bytes>,
    drifts: BTreeMap<usize, (i32, Duration)>,
    /// Redeployments, by when they are looked at next and line.
    turns: BTreeMap<(Time, usize), Turn>,
    until: Time,
    settle: Option<Time>,
}

impl Stage {
    /// The stage before anything has happened.
    pub fn new(plan: &Plan) -> Stage {
        let settle = plan.acts_until();
        let steps = plan.steps.iter().enumerate();
        let end = |lasts: Option<Duration>, at: Time| {
            lasts.map_or(settle, |lasts| (at + lasts).min(settle))
        };
        Stage {
            controllers: plan.controllers().collect(),
            memory_limit: plan.settings.controllers.memory_limit,
            begins: steps
                .clone()
                .map(|(line, step)| ((step.at.min(settle), line), step.action.clone()))
                .collect(),
            lasts: steps.map(|(line, step)| (line, end(step.lasts, step.at))).collect(),
            ends: BTreeMap::new(),
            counts: BTreeMap::new(),
            slowness: BTreeMap::new(),
            limits: BTreeMap::new(),
            drifts: BTreeMap::new(),
            turns: BTreeMap::new(),
            until: settle,
            settle: Some(settle),
        }
    }

    /// When the next deed is due; none once everything has healed.
    pub fn next(&self) -> Option<Time> {
        let begins = self.begins.first_key_value().map(|((at, _), _)| *at);
        let ends = self.ends.first_key_value().map(|((at, _), _)| *at);
        let turns = self.turns.first_key_value().map(|((at, _), _)| *at);
        [begins, ends, turns, self.settle].into_iter().flatten().min()
    }

    /// Pushes what is due by `now`, in order. If nobody leads, the leader's part falls to the first
    /// controller; if nobody runs the first worker, the holder's falls to the leader.
    pub fn due(&mut self, now: Time, parts: Parts, out: &mut Vec<Deed>) {
        while let Some(at) = self.next().filter(|at| *at <= now) {
            let end = self.ends.first_key_value().map(|((end, line), _)| (*end, *line));
            let begin = self.begins.first_key_value().map(|((begin, line), _)| (*begin, *line));
            if let Some(key) = end.filter(|(end, _)| *end == at) {
                let states = self.ends.remove(&key).unwrap_or_default();
                self.slowness.remove(&key.1);
                self.limits.remove(&key.1);
                self.drifts.remove(&key.1);
                states.into_iter().for_each(|state| self.leave(state, out));
            } else if let Some(key) = begin.filter(|(begin, _)| *begin == at) {
                if let Some(action) = self.begins.remove(&key) {
                    self.begin(key, &action, parts, out);
                }
            } else if let Some(turn) = self.turns.first_entry().filter(|turn| turn.key().0 == at) {
                let ((_, line), turn) = turn.remove_entry();
                self.turn(at, line, turn, parts, out);
            } else {
                self.settle = None;
                out.push(Deed::Settle);
            }
        }
    }

    /// Looks whether the next controller of a redeployment has its turn, and gives it that.
    fn turn(&mut self, at: Time, line: usize, mut turn: Turn, parts: Parts, out: &mut Vec<Deed>) {
        if at >= self.until {
            return;
        }
        if turn.before.is_some_and(|before| !parts.serving.has(before)) {
            self.turns.insert((at + LOOKED_AT_EVERY, line), turn);
        } else if let Some(node) = turn.left.pop_front() {
            let back = (at + turn.down).min(self.until);
            self.ends.entry((back, line)).or_default().push(State::Stopped(node));
            self.enter(State::Stopped(node), out);
            turn.before = Some(node);
            self.turns.insert((back + LOOKED_AT_EVERY, line), turn);
        }
    }

    fn begin(
        &mut self,
        (at, line): (Time, usize),
        action: &Action,
        parts: Parts,
        out: &mut Vec<Deed>,
    ) {
        let nodes = |role: &Role, state: fn(NodeId) -> State| -> Vec<State> {
            self.nodes(role, parts).map(state).collect()
        };
        let states: Vec<State> = match action {
            Action::Crash { node } => nodes(node, State::Down),
            Action::Stop { node } => nodes(node, State::Stopped),
            Action::Pause { node } => nodes(node, State::Paused),
            Action::Redeploy { nodes, down } => {
                let places = nodes.0.iter().flat_map(|role| self.nodes(role, parts));
                let turn = Turn { before: None, left: places.collect(), down: *down };
                self.turns.insert((at, line), turn);
                return;
            }
            Action::Join { node } => return out.extend(self.nodes(node, parts).map(Deed::Join)),
            Action::Remove { node } => {
                return out.extend(self.nodes(node, parts).map(Deed::Remove));
            }
            Action::LoseItself { node } => nodes(node, State::LostItself),
            Action::ControllerPort { node, on } => {
                let port = |node| Deed::ControllerPort { node, on: *on };
                return out.extend(self.nodes(node, parts).map(port));
            }
            Action::BindFile { node, says } => {
                let written = |node| Deed::BindFile { node, says: says.clone() };
                return out.extend(self.nodes(node, parts).map(written));
            }
            Action::ApiAddresses { node, are } => {
                let moved = |node| Deed::ApiAddresses { node, are: are.clone() };
                return out.extend(self.nodes(node, parts).map(moved));
            }
            Action::Restart { node } => {
                let states = nodes(node, State::Down);
                states.iter().for_each(|state| self.enter(*state, out));
                states.into_iter().for_each(|state| self.leave(state, out));
                return;
            }
            Action::Partition { from, to, one_way } => {
                self.links(from, to, !one_way, parts, State::Cut)
            }
            Action::Hold { from, to } => self.links(from, to, true, parts, State::Held),
            Action::SlowLink { from, to, by } => {
                self.slowness.insert(line, *by);
                self.links(from, to, true, parts, State::Slow)
            }
            Action::SlowDisk { node, by } => {
                let states = nodes(node, State::SlowDisk);
                self.slowness.insert(line, *by);
                states
            }
            Action::DiskFull { node } => nodes(node, State::FullDisk),
            Action::Clock { who, drift, offset } => {
                self.drifts.insert(line, (*drift, *offset));
                let places = self.places(&Group(vec![who.clone()]), None, parts);
                places.into_iter().map(State::Drifts).collect()
            }
            Action::IoError { node, at } => {
                let breaks = |node| Deed::BreakDisk { node, at: *at };
                return out.extend(self.nodes(node, parts).map(breaks));
            }
            Action::OomLimit { memory } => {
                self.limits.insert(line, *memory);
                vec![State::Limit]
            }
            Action::Herd => return out.push(Deed::Herd),
            Action::RestartAgents => return out.push(Deed::RestartAgents),
            Action::Claims(claims) => return out.push(Deed::Claim(claims.clone())),
        };
        self.ends.insert((self.lasts[&line], line), states.clone());
        states.iter().for_each(|state| self.enter(*state, out));
    }

    fn enter(&mut self, state: State, out: &mut Vec<Deed>) {
        let count = self.counts.entry(state).or_default();
        *count += 1;
        let first = *count == 1;
        match state {
            State::Down(node) if first => out.push(Deed::Crash(node)),
            State::Stopped(node) if first => out.push(Deed::Stop(node)),
            State::Paused(node) if first => out.push(Deed::Pause(node)),
            State::LostItself(node) if first => out.push(Deed::LoseItself(node)),
            State::FullDisk(node) if first => out.push(Deed::FillDisk(node)),
            State::Cut(from, to) if first => out.push(Deed::Cut { from, to }),
            State::Held(from, to) if first => out.push(Deed::Hold { from, to }),
            State::Down(_) | State::Stopped(_) | State::Paused(_) | State::LostItself(_) => {}
            State::Cut(..) | State::Held(..) | State::FullDisk(_) => {}
            State::Slow(from, to) => {
                out.push(Deed::Slow { from, to, by: self.slowest(state) });
            }
            State::SlowDisk(node) => {
                out.push(Deed::SlowDisk { node, by: self.slowest(state) });
            }
            State::Drifts(place) => out.push(self.drift(place)),
            State::Limit => out.push(self.limit()),
        }
    }

    fn leave(&mut self, state: State, out: &mut Vec<Deed>) {
        let count = self.counts.entry(state).or_default();
        *count -= 1;
        let last = *count == 0;
        match state {
            State::Down(node) | State::Stopped(node) if last => out.push(Deed::Restart(node)),
            State::Paused(node) if last => out.push(Deed::Resume(node)),
            State::LostItself(node) if last => out.push(Deed::FindItself(node)),
            State::FullDisk(node) if last => out.push(Deed::FreeDisk(node)),
            State::Cut(from, to) if last => out.push(Deed::Mend { from, to }),
            State::Held(from, to) if last => out.push(Deed::Release { from, to }),
            State::Down(_) | State::Stopped(_) | State::Paused(_) | State::LostItself(_) => {}
            State::Cut(..) | State::Held(..) | State::FullDisk(_) => {}
            State::Slow(from, to) => {
                out.push(Deed::Slow { from, to, by: self.slowest(state) });
            }
            State::SlowDisk(node) => {
                out.push(Deed::SlowDisk { node, by: self.slowest(state) });
            }
            State::Drifts(place) => out.push(self.drift(place)),
            State::Limit => out.push(self.limit()),
        }
    }

    /// The slowest line that is in force and touches the link or the disk decides.
    fn slowest(&self, state: State) -> Duration {
        let lines = self.slowness.iter().filter(|(line, _)| self.touches(**line, state));
        lines.map(|(_, by)| *by).max().unwrap_or_default()
    }

    /// The line that is in force and bends the clock most decides.
    fn drift(&self, place: Place) -> Deed {
        let state = State::Drifts(place);
        let lines = self.drifts.iter().filter(|(line, _)| self.touches(**line, state));
        let most = lines.map(|(_, drift)| *drift).max_by_key(|(by, _)| by.unsigned_abs());
        let (by, offset) = most.unwrap_or_default();
        Deed::Drift { place, by, offset }
    }

    /// Whether a line that is in force asks for it.
    fn touches(&self, line: usize, state: State) -> bool {
        let mut ends = self.ends.iter();
        ends.any(|((_, other), states)| *other == line && states.contains(&state))
    }

    /// The lowest limit in force decides.
    fn limit(&self) -> Deed {
        Deed::Limit(self.limits.values().copied().min().unwrap_or(self.memory_limit))
    }

    /// The directed links between two groups.
    fn links(
        &self,
        from: &Group,
        to: &Group,
        both_ways: bool,
        parts: Parts,
        state: fn(Place, Place) -> State,
    ) -> Vec<State> {
        let (sources, targets) =
            (self.places(from, Some(to), parts), self.places(to, Some(from), parts));
        let mut states = Vec::new();
        for source in &sources {
            for target in targets.iter().filter(|target| *target != source) {
                states.push(state(*source, *target));
                if both_ways {
                    states.push(state(*target, *source));
                }
            }
        }
        states.sort();
        states.dedup();
        states
    }

    /// The controllers that are meant.
    fn nodes(&self, role: &Role, parts: Parts) -> impl Iterator<Item = NodeId> + use<> {
        let places = self.places(&Group(vec![role.clone()]), None, parts);
        places.into_iter().filter_map(controller)
    }

    /// Who is meant. `opposite` says who the others are not.
    fn places(&self, group: &Group, opposite: Option<&Group>, parts: Parts) -> Vec<Place> {
        let mut places = Vec::new();
        let first = self.controllers.first().copied();
        for role in &group.0 {
            match role {
                Role::Controller(node) => places.push(Place::Controller(*node)),
                // Plans are drawn with `random` filled in; written by hand it means the leader.
                Role::Leader | Role::Random => {
                    places.extend(parts.leader.or(first).map(Place::Controller));
                }
                Role::Holder => {
                    let holder = parts.holder.or(parts.leader).or(first);
                    places.extend(holder.map(Place::Controller));
                }
                Role::All => places.extend(self.controllers.iter().copied().map(Place::Controller)),
                Role::Others => {
                    let named = opposite.map(|group| self.places(group, None, parts));
                    let named = named.unwrap_or_default();
                    let all = self.controllers.iter().copied().map(Place::Controller);
                    places.extend(all.filter(|place| !named.contains(place)));
                }
                Role::Agents => places.push(Place::Agents),
            }
        }
        places.sort();
        places.dedup();
        places
    }
}

fn controller(place: Place) -> Option<NodeId> {
    match place {
        Place::Controller(node) => Some(node),
        Place::Agents => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::plan;

    /// Every deed of these faults with its time, in milliseconds, under a leader that changes from
    /// controller-2 to controller-3 after five seconds.
    fn deeds(faults: &str) -> Vec<String> {
        let mut stage = Stage::new(&plan(faults));
        let mut told = Vec::new();
        while let Some(at) = stage.next() {
            let leader = NodeId(if at < Time(5_000_000) { 2 } else { 3 });
            let mut out = Vec::new();
            stage.due(
                at,
                Parts { leader: Some(leader), holder: Some(NodeId(1)), ..Parts::default() },
                &mut out,
            );
            told.extend(out.iter().map(|deed| format!("{} {deed}", at.0 / 1_000)));
        }
        told
    }

    #[test]
    fn the_leader_that_crashed_is_the_one_that_starts_again() {
        let faults = "[[fault]]\nat = \"1s\"\nfor = \"6s\"\ndo = { crash = { node = \"leader\" } }";
        let told = ["1000 crash controller-2", "7000 restart controller-2", "10000 settle"];
        assert_eq!(deeds(faults), told);
    }

    #[test]
    fn a_node_that_is_down_twice_starts_once() {
        let fault = |at, lasts| {
            let node = "{ crash = { node = \"controller-1\" } }";
            format!("[[fault]]\nat = \"{at}s\"\nfor = \"{lasts}s\"\ndo = {node}\n")
        };
        let told = ["1000 crash controller-1", "5000 restart controller-1", "10000 settle"];
        assert_eq!(deeds(&(fault(1, 3) + &fault(2, 3))), told);
    }

    #[test]
    fn what_has_no_end_heals_when_the_faults_end() {
        let one_way = "{ from = \"leader\", to = \"others\", one-way = true }";
        let faults = format!("[[fault]]\nat = \"1s\"\ndo = {{ partition = {one_way} }}");
        let told = [
            "1000 cut controller-2 > controller-1",
            "1000 cut controller-2 > controller-3",
            "10000 mend controller-2 > controller-1",
            "10000 mend controller-2 > controller-3",
            "10000 settle",
        ];
        assert_eq!(deeds(&faults), told);
    }

    #[test]
    fn the_slower_of_two_lines_decides() {
        let fault = |at, lasts, by| {
            let link = "from = \"controller-1\", to = \"agents\"";
            let link = format!("{{ slow-link = {{ {link}, by = \"{by}ms\" }} }}");
            format!("[[fault]]\nat = \"{at}s\"\nfor = \"{lasts}s\"\ndo = {link}\n")
        };
        let told = deeds(&(fault(1, 5, 100) + &fault(2, 2, 300)));
        let out: Vec<_> = told.iter().filter(|line| line.contains("> agents")).collect();
        let expected = [
            "1000 slow controller-1 > agents by 0.100s",
            "2000 slow controller-1 > agents by 0.300s",
            "4000 slow controller-1 > agents by 0.100s",
            "6000 slow controller-1 > agents by 0.000s",
        ];
        assert_eq!(out, expected);
    }

    #[test]
    fn the_disk_that_was_slowed_is_the_one_that_is_as_usual_again() {
        let disk = "{ slow-disk = { node = \"leader\", by = \"500ms\" } }";
        let faults = format!("[[fault]]\nat = \"1s\"\nfor = \"6s\"\ndo = {disk}");
        let told = [
            "1000 slow the disk of controller-2 by 0.500s",
            "7000 slow the disk of controller-2 by 0.000s",
            "10000 settle",
        ];
        assert_eq!(deeds(&faults), told);
    }

    #[test]
    fn the_holder_that_was_paused_is_the_one_that_goes_on() {
        let pause = "{ pause = { node = \"holder\" } }";
        let faults = format!("[[fault]]\nat = \"2s\"\nfor = \"3s\"\ndo = {pause}");
        let told = ["2000 pause controller-1", "5000 resume controller-1", "10000 settle"];
        assert_eq!(deeds(&faults), told);
    }

    #[test]
    fn the_disk_that_was_filled_is_the_one_that_has_room_again() {
        let fault = |at, lasts| {
            let full = "{ disk-full = { node = \"leader\" } }";
            format!("[[fault]]\nat = \"{at}s\"\nfor = \"{lasts}s\"\ndo = {full}\n")
        };
        let once =
            "[[fault]]\nat = \"4s\"\ndo = { io-error = { node = \"leader\", at = \"sync\" } }\n";
        let told = [
            "1000 fill the disk of controller-2",
            "4000 break the next sync of controller-2",
            "7000 free the disk of controller-2",
            "10000 settle",
        ];
        assert_eq!(deeds(&(fault(1, 3) + &fault(2, 5) + once)), told);
    }

    #[test]
    fn the_line_that_bends_a_clock_most_decides() {
        let fault = |at, lasts, drift, more: &str| {
            let clock = format!("{{ clock = {{ who = \"agents\", drift = {drift}{more} }} }}");
            format!("[[fault]]\nat = \"{at}s\"\nfor = \"{lasts}s\"\ndo = {clock}\n")
        };
        let told = [
            "1000 clock of agents by 100ppm",
            "2000 clock of agents by -300ppm from 60.000s",
            "4000 clock of agents by 100ppm",
            "6000 clock of agents by 0ppm",
            "10000 settle",
        ];
        let faults = fault(1, 5, 100, "") + &fault(2, 2, -300, ", offset = \"1m\"");
        assert_eq!(deeds(&faults), told);
    }

    #[test]
    fn a_redeployment_waits_until_the_one_before_is_back() {
        let redeploy = "{ redeploy = { nodes = \"controller-3 controller-1\", down = \"1s\" } }";
        let faults = format!("[[fault]]\nat = \"1s\"\ndo = {redeploy}");
        let told = |back: Time| {
            let mut stage = Stage::new(&plan(&faults));
            let mut told = Vec::new();
            while let Some(at) = stage.next() {
                let mut parts = Parts::default();
                (1..=3).for_each(|node| parts.serving.set(NodeId(node), true));
                parts.serving.set(NodeId(3), at < Time(1_000_000) || at >= back);
                let mut out = Vec::new();
                stage.due(at, parts, &mut out);
                told.extend(out.iter().map(|deed| format!("{} {deed}", at.0 / 1_000)));
            }
            told
        };
        let expected = [
            "1000 stop controller-3",
            "2000 restart controller-3",
            "4000 stop controller-1",
            "5000 restart controller-1",
            "10000 settle",
        ];
        assert_eq!(told(Time(4_000_000)), expected);
        // One that does not come back keeps the others from having their turns.
        assert_eq!(
            told(Time(u64::MAX)),
            ["1000 stop controller-3", "2000 restart controller-3", "10000 settle"]
        );
    }

    #[test]
    fn a_set_of_controllers_has_those_that_were_put_in() {
        let mut nodes = Nodes::default();
        for node in [1, 7, 128].map(NodeId) {
            nodes.set(node, true);
            assert!(nodes.has(node) && !nodes.has(NodeId(2)), "{node}");
            nodes.set(node, false);
            assert_eq!(nodes, Nodes::default());
        }
        nodes.set(NodeId(129), true);
        assert!(!nodes.has(NodeId(129)));
    }
}
