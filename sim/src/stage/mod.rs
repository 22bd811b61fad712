//! The stage: turns a plan's lines into single deeds, as the engines are to do them, in time.
//!
//! Decides who `leader` is (whoever leads when the line falls due, and still that one when the line
//! ends), how overlapping faults add up, and that everything heals when the faults end. Engines do
//! no more than what a [`Deed`] says.

mod deed;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use portcullis_core::{NodeId, Time};

use crate::action::{Action, Group, Role};
use crate::plan::Plan;
use crate::settings::Bytes;
pub use deed::{Deed, Nodes, Parts, Place, Wrong};

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
mod tests;
