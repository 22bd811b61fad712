//! Two processes that want to run what must run once, over one lease table.
//!
//! Asks are done at any time, answers come late or are lost, and each goes by its own clock.

use std::time::Duration;

use portcullis_core::controller::Request;
use portcullis_core::lease::{
    Command, Entry, Key, Leases, Operation, Outcome, Refusal, SINGULAR_CONTROLLER,
};
use portcullis_core::queue::Answer;
use portcullis_core::singular::{Config, Input, Output, Singular};
use portcullis_core::{GlobalTime, Machine, Seed};
use stateright::{Model, Property};

use crate::explore::{Judged, Shown, Tick, demand, holds, kept, time};

const ONE_FLAG: &str = "no two flags are raised at one time, nor until what ran has ended";
const HELD: &str = "a flag is raised only while its lease is held, under the lease's fence";
const FENCE: &str = "no fence falls, and whose flag goes up after another's has a higher one";
const ONE_ASK: &str = "one ask at a time";
const LEFT: &str = "whoever has ended asks for nothing more than to give the lease up";
const RAISED: &str = "somebody is responsible in the end, unless both have ended";

const DURATION: Tick = 4;
const STOP_WITHIN: Tick = 1;

/// The bounds of one model.
#[derive(Clone, Debug)]
struct Pair {
    end: Tick,
    /// How many answers are lost, how many asks never get anywhere, and how many of the two end.
    left: Bounds,
}

#[derive(Clone, Copy, Debug)]
struct Bounds {
    losses: u8,
    ends: u8,
    /// Until when something may go wrong.
    heals: Tick,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Action {
    /// The ask is done.
    Do(usize),
    /// Its outcome is told; or what becomes of it never is, done or not.
    Answer(usize),
    Lose(usize),
    End(usize),
    Timeout(usize),
    Tick,
}

#[derive(Clone, Debug)]
enum Asked {
    Nothing,
    Open(Operation),
    Done { outcome: Outcome },
    Waits,
}

#[derive(Clone, Debug)]
struct One {
    machine: Singular,
    asked: Asked,
    /// Under which fence the flag is up, and until when what runs under it may run on.
    flag: Option<u64>,
    runs_until: Tick,
    ended: bool,
    left: bool,
}

#[derive(Clone, Debug)]
struct World {
    now: Tick,
    table: Leases,
    pair: [One; 2],
    /// The last fence that a flag went up under, and whose.
    fence: (u64, usize),
    left: Bounds,
    broken: Option<&'static str>,
}

impl Judged for World {
    fn broken(&self) -> Option<&'static str> {
        self.broken
    }
}

fn key() -> Key {
    Key::new(SINGULAR_CONTROLLER, "m", "worker")
}

fn name(who: usize) -> &'static str {
    ["one", "two"][who]
}

impl World {
    fn new(bounds: Bounds) -> World {
        let one = |who: usize| {
            let mut config = Config::new(key(), name(who).into(), Duration::from_secs(DURATION));
            config.stop_within = Duration::from_secs(STOP_WITHIN);
            config.renew_after = Duration::from_secs(2);
            let machine = Singular::new(config, Seed(who as u64));
            let (asked, flag, runs_until) = (Asked::Nothing, None, 0);
            One { machine, asked, flag, runs_until, ended: false, left: false }
        };
        let (table, pair) = (Leases::default(), [one(0), one(1)]);
        let mut world = World { now: 0, table, pair, fence: (0, 0), left: bounds, broken: None };
        world.tell(0, Input::Ready);
        world.tell(1, Input::Ready);
        world
    }

    fn tell(&mut self, who: usize, input: Input) {
        let mut orders = Vec::new();
        self.pair[who].machine.handle(time(self.now), input, &mut orders);
        self.see(who, orders);
    }

    fn see(&mut self, who: usize, orders: Vec<Output>) {
        for order in orders {
            let verdict = self.obey(who, order);
            self.broken = self.broken.or(verdict.err());
        }
    }

    fn obey(&mut self, who: usize, order: Output) -> Result<(), &'static str> {
        let one = &mut self.pair[who];
        match order {
            Output::Ask { request, .. } => {
                demand(matches!(one.asked, Asked::Nothing), ONE_ASK)?;
                match request {
                    Request::Apply(operation) => {
                        let gives_up = matches!(operation, Operation::Revoke { .. });
                        demand(!one.left && (!one.ended || gives_up), LEFT)?;
                        one.asked = Asked::Open(operation);
                    }
                    Request::Wait(_) => one.asked = Asked::Waits,
                }
                Ok(())
            }
            Output::Raise { fence, .. } => {
                demand(one.flag.is_none() && !one.ended, ONE_FLAG)?;
                one.flag = Some(fence);
                let (before, last) = self.fence;
                self.fence = (fence, who);
                demand(fence > before || fence == before && last == who, FENCE)?;
                Ok(())
            }
            Output::Prolong { .. } => demand(one.flag.is_some(), ONE_FLAG),
            Output::Lower => {
                one.runs_until = self.now + if one.ended { 0 } else { STOP_WITHIN };
                demand(one.flag.take().is_some(), ONE_FLAG)
            }
            Output::Leave => {
                one.left = true;
                demand(one.ended, LEFT)
            }
        }
    }

    fn due(&self, who: usize) -> bool {
        let timeout = self.pair[who].machine.poll_timeout();
        timeout.is_some_and(|due| due.at <= time(self.now))
    }

    fn perform(&mut self, who: usize) {
        if let Asked::Open(operation) = &self.pair[who].asked {
            let now = GlobalTime(time(self.now).0);
            let command =
                Command { operation: operation.clone(), void_after: GlobalTime(u64::MAX) };
            let mut applied = self.table.apply(&Entry { now, commands: [command].into() });
            let outcome = applied.outcomes.pop().unwrap_or(Err(Refusal::Void));
            self.pair[who].asked = Asked::Done { outcome };
        }
    }

    fn answer(&mut self, who: usize) {
        let asked = std::mem::replace(&mut self.pair[who].asked, Asked::Nothing);
        let answer = match asked {
            Asked::Done { outcome: Ok(done) } => Answer::Done { index: 1, done },
            Asked::Done { outcome: Err(refusal) } => Answer::Refused { index: 1, refusal },
            Asked::Waits if self.free() => Answer::Released,
            Asked::Nothing | Asked::Open(_) | Asked::Waits => Answer::Unknown,
        };
        self.tell(who, Input::Answered { answer });
    }

    /// Whether the lease is free, or would be if the clock moved.
    fn free(&self) -> bool {
        let lease = self.table.get(&key());
        lease.is_none_or(|lease| lease.expiry.0 <= time(self.now).0)
    }

    fn moves(&self, end: Tick, actions: &mut Vec<Action>) {
        if self.broken.is_some() {
            return;
        }
        let Bounds { losses, ends, heals } = self.left;
        let calm = self.now >= heals;
        for who in [0, 1] {
            actions.extend(self.due(who).then_some(Action::Timeout(who)));
            match self.pair[who].asked {
                Asked::Nothing => {}
                Asked::Open(_) => {
                    actions.push(Action::Do(who));
                    actions.extend((losses > 0 && !calm).then_some(Action::Lose(who)));
                }
                Asked::Done { .. } => {
                    actions.push(Action::Answer(who));
                    actions.extend((losses > 0 && !calm).then_some(Action::Lose(who)));
                }
                Asked::Waits => actions.extend(self.free().then_some(Action::Answer(who))),
            }
            let ends = ends > 0 && !calm && !self.pair[who].ended;
            actions.extend(ends.then_some(Action::End(who)));
        }
        let owed = (0..2).any(|who| {
            let answer = match self.pair[who].asked {
                Asked::Nothing => false,
                Asked::Open(_) | Asked::Done { .. } => calm,
                Asked::Waits => calm && self.free(),
            };
            answer || self.due(who)
        });
        actions.extend((self.now < end && !owed).then_some(Action::Tick));
    }

    fn step(&mut self, action: Action) {
        match action {
            Action::Do(who) => self.perform(who),
            Action::Answer(who) => self.answer(who),
            Action::Lose(who) => {
                self.left.losses -= 1;
                self.pair[who].asked = Asked::Nothing;
                self.tell(who, Input::Answered { answer: Answer::Unknown });
            }
            Action::End(who) => {
                self.left.ends -= 1;
                // Nothing runs under the flag any more: only then may that be said.
                (self.pair[who].ended, self.pair[who].runs_until) = (true, self.now);
                self.tell(who, Input::Ended);
            }
            Action::Timeout(who) => {
                let mut orders = Vec::new();
                self.pair[who].machine.handle_timeout(time(self.now), &mut orders);
                self.see(who, orders);
            }
            Action::Tick => self.now += 1,
        }
        let verdict = self.rest();
        self.broken = self.broken.or(verdict.err());
    }

    fn rest(&self) -> Result<(), &'static str> {
        let runs = |one: &One| one.flag.is_some() || one.runs_until > self.now;
        demand(!(runs(&self.pair[0]) && runs(&self.pair[1])), ONE_FLAG)?;
        for (who, one) in self.pair.iter().enumerate() {
            if let Some(fence) = one.flag {
                let lease = self.table.get(&key());
                let held = lease.is_some_and(|lease| {
                    let lasts = lease.expiry.0 > time(self.now).0;
                    &*lease.holder == name(who) && lease.fence == fence && lasts
                });
                demand(held && one.machine.fence() == Some(fence), HELD)?;
            }
        }
        Ok(())
    }
}

impl Model for Pair {
    type State = Shown<World>;
    type Action = Action;

    fn init_states(&self) -> Vec<Shown<World>> {
        vec![Shown(World::new(self.left))]
    }

    fn actions(&self, state: &Shown<World>, actions: &mut Vec<Action>) {
        state.0.moves(self.end, actions);
    }

    fn next_state(&self, before: &Shown<World>, action: Action) -> Option<Shown<World>> {
        let mut state = before.clone();
        state.0.step(action);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Pair>> {
        vec![
            kept(),
            Property::eventually(RAISED, |pair: &Pair, state: &Shown<World>| {
                let world = &state.0;
                let raised = world.pair.iter().any(|one| one.flag.is_some());
                let ended = world.pair.iter().all(|one| one.ended);
                world.now == pair.end && (raised || ended)
            }),
            Property::sometimes("the flag passes on", |_, state: &Shown<World>| {
                state.0.fence.0 > 1
            }),
            Property::sometimes("somebody has left", |_, state: &Shown<World>| {
                state.0.pair.iter().any(|one| one.left)
            }),
        ]
    }
}

#[test]
fn two_that_want_one_flag() {
    let left = Bounds { losses: 1, ends: 1, heals: 5 };
    holds("one flag", 10_000, Pair { end: 11, left });
}
