//! The log, those who ask, and what they were promised.

use std::time::Duration;

use portcullis_core::clock::Anchor;
use portcullis_core::lease::{Done, Entry, Leases, Operation, Outcome};
use portcullis_core::queue::{Answer, Config, Input, Output, Queue, renews};
use portcullis_core::{AskId, BatchId, ConnectionId, GlobalTime, Machine, NodeId};

use super::law::{Law, key, name};
use super::{Action, Bounds, Leaders, Verb};
use crate::explore::{Judged, Tick, demand, time};

const ONE_HOLDER: &str = "no two believe at one time that they hold the lease";
const NOT_LOST: &str =
    "whoever was told that it holds the lease does, for as long as it may believe";
const TRUE: &str = "an answer says what was done";
const ONCE: &str = "an ask is answered once";
const UNDONE: &str = "what was refused, expired or cancelled is not done, then or later";
const RULE: &str = "the table grants, refuses, expires and numbers as a plain rule does";
const CLOCK: &str = "global time never runs faster than real time";
const LIMIT: &str = "what waits, flies and goes into one entry is limited";
const LEADER: &str = "only who believes that it leads proposes";
const TAKEN_BACK: &str = "whoever takes its ask back is answered at once";
const IDLE: &str = "nothing waits while nothing flies";

#[derive(Clone, Debug)]
pub enum Fate {
    Pending,
    Applied { index: u64, outcomes: Vec<Outcome> },
    Dropped,
}

#[derive(Clone, Debug)]
pub struct Flight {
    pub leader: usize,
    pub batch: BatchId,
    pub entry: Entry,
    pub asks: Vec<usize>,
    pub fate: Fate,
    pub told: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Ask {
    pub leader: usize,
    pub holder: usize,
    pub verb: Verb,
    pub asked_at: Tick,
    pub flown: bool,
    pub outcome: Option<Outcome>,
    pub answer: Option<Answer>,
}

#[derive(Clone, Debug)]
pub struct World {
    pub now: Tick,
    pub table: Leases,
    pub law: Law,
    pub index: u64,
    pub queues: [Queue; 2],
    /// Who believes that it leads.
    pub believes: [bool; 2],
    /// Whom raft has as its leader.
    pub leader: usize,
    pub flights: Vec<Flight>,
    pub asks: Vec<Ask>,
    /// Until when each holder believes that it holds the lease, and by which fence.
    pub holds: [Option<(Tick, u64)>; 2],
    pub lasts: Tick,
    pub left: Bounds,
    /// Whether something was done of which its asker does not know.
    pub done_unknown: bool,
    pub broken: Option<&'static str>,
}

impl Judged for World {
    fn broken(&self) -> Option<&'static str> {
        self.broken
    }
}

impl World {
    pub fn new(bounds: &Leaders) -> World {
        let config = || Config {
            waiting_max: bounds.waiting_max,
            batch_max: bounds.batch_max,
            flights_max: bounds.flights_max,
            ..Config::default()
        };
        let mut queues = [Queue::new(config()), Queue::new(config())];
        let anchor = Anchor { local: time(0), global: GlobalTime(0) };
        queues[0].handle(time(0), Input::Led { anchor }, &mut Vec::new());
        World {
            now: 0,
            table: Leases::default(),
            law: Law::default(),
            index: 0,
            queues,
            believes: [true, false],
            leader: 0,
            flights: Vec::new(),
            asks: Vec::new(),
            holds: [None, None],
            lasts: bounds.duration,
            left: bounds.bounds,
            done_unknown: false,
            broken: None,
        }
    }

    pub fn step(&mut self, bounds: &Leaders, action: Action) {
        match action {
            Action::Ask { holder, verb, leader } => {
                self.ask(holder, verb, leader, bounds.patience);
            }
            Action::Cancel { ask } => self.cancel(ask),
            Action::Advance { leader } => {
                self.left.advances -= 1;
                self.tell(leader, Input::Advance);
            }
            Action::Apply => self.apply(),
            Action::Report { leader, batch } => self.report(leader, BatchId(batch), false),
            Action::Lose { leader, batch } => self.report(leader, BatchId(batch), true),
            Action::TakeOver => self.take_over(),
            Action::StepDown => self.step_down(),
            Action::Timeout { leader } => self.timeout(leader),
            Action::Tick => {
                self.left.delays -= u8::from(self.late());
                self.now += 1;
            }
        }
        let verdict = self.rest(bounds);
        self.broken = self.broken.or(verdict.err());
        self.forget();
    }

    /// Forgets what can matter no more, so that fewer states differ.
    fn forget(&mut self) {
        for (number, ask) in self.asks.iter_mut().enumerate() {
            let flies = self.flights.iter().any(|flight| flight.asks.contains(&number));
            let done = matches!(ask.outcome, Some(Ok(_)));
            self.done_unknown |= done && ask.answer == Some(Answer::Unknown);
            if ask.answer.is_some() && !flies {
                let (holder, answer) = (ask.holder, Some(Answer::Unknown));
                *ask = Ask { holder, answer, ..Ask::default() };
            }
        }
        let now = self.now;
        for holds in &mut self.holds {
            *holds = holds.filter(|(until, _)| *until > now);
        }
    }

    fn tell(&mut self, leader: usize, input: Input) {
        let mut orders = Vec::new();
        self.queues[leader].handle(time(self.now), input, &mut orders);
        self.see(leader, orders);
    }

    fn see(&mut self, leader: usize, orders: Vec<Output>) {
        for order in orders {
            let verdict = self.obey(leader, order);
            self.broken = self.broken.or(verdict.err());
        }
    }

    fn obey(&mut self, leader: usize, order: Output) -> Result<(), &'static str> {
        match order {
            Output::Propose { batch, entry } => {
                demand(self.believes[leader], LEADER)?;
                let asks = entry.commands.iter().map(|command| self.flies(&command.operation));
                let asks: Option<Vec<usize>> = asks.collect();
                // What has its answer already must not fly.
                let asks = asks.ok_or(ONCE)?;
                asks.iter().for_each(|ask| self.asks[*ask].flown = true);
                let fate = if leader == self.leader { Fate::Pending } else { Fate::Dropped };
                self.flights.push(Flight { leader, batch, entry, asks, fate, told: false });
                Ok(())
            }
            Output::Answer { ask, answer } => self.answered(ask.serial as usize, answer),
        }
    }

    /// Whose operation this is: a holder has one open ask at a time.
    fn flies(&self, operation: &Operation) -> Option<usize> {
        let (who, verb) = match operation {
            Operation::Claim { holder, .. } => (holder, Verb::Claim),
            Operation::Extend { holder, .. } => (holder, Verb::Extend),
            Operation::Revoke { holder, .. } => (holder, Verb::Revoke),
            Operation::Pin { .. } | Operation::Unpin { .. } => return None,
        };
        self.asks.iter().position(|ask| {
            let same = name(ask.holder) == &**who && ask.verb == verb;
            same && ask.answer.is_none() && !ask.flown
        })
    }

    fn answered(&mut self, number: usize, answer: Answer) -> Result<(), &'static str> {
        let ask = &mut self.asks[number];
        demand(ask.answer.is_none(), ONCE)?;
        ask.answer = Some(answer.clone());
        let (holder, outcome) = (ask.holder, ask.outcome.clone());
        match answer {
            Answer::Done { done, .. } => {
                demand(outcome == Some(Ok(done.clone())), TRUE)?;
                let until = ask.asked_at + self.lasts;
                if let Done::Granted { fence, .. } = done {
                    let before = self.holds[holder].filter(|(_, before)| *before == fence);
                    let until = before.map_or(until, |(before, _)| before.max(until));
                    self.holds[holder] = Some((until, fence));
                }
                Ok(())
            }
            Answer::Refused { refusal, .. } => demand(outcome == Some(Err(refusal)), TRUE),
            Answer::Unknown => demand(ask.flown, TRUE),
            Answer::Expired
            | Answer::Cancelled
            | Answer::NotLeader { .. }
            | Answer::Overloaded { .. } => demand(!matches!(outcome, Some(Ok(_))), UNDONE),
            Answer::Released => Err(TRUE),
        }
    }

    fn operation(&self, holder: usize, verb: Verb) -> Operation {
        let (key, holder, duration) = (key(), name(holder).into(), self.duration());
        match verb {
            Verb::Claim => Operation::Claim { key, holder, duration },
            Verb::Extend => Operation::Extend { key, holder, duration },
            Verb::Revoke => Operation::Revoke { key, holder },
        }
    }

    fn duration(&self) -> Duration {
        Duration::from_secs(self.lasts)
    }

    fn ask(&mut self, holder: usize, verb: Verb, leader: usize, patience: Tick) {
        let operation = self.operation(holder, verb);
        let ask = AskId { connection: ConnectionId(1), serial: self.asks.len() as u64 };
        let (asked_at, flown, outcome, answer) = (self.now, false, None, None);
        self.asks.push(Ask { leader, holder, verb, asked_at, flown, outcome, answer });
        if verb == Verb::Revoke {
            // Whoever gives the lease up does not lead any more.
            self.holds[holder] = None;
        }
        let renews = renews(&operation, self.table.get(&key()));
        let patience = Duration::from_secs(patience);
        self.tell(leader, Input::Asked { ask, operation, renews, patience });
    }

    fn cancel(&mut self, number: usize) {
        self.left.cancels -= 1;
        let ask = AskId { connection: ConnectionId(1), serial: number as u64 };
        self.tell(self.asks[number].leader, Input::Cancelled { ask });
        let verdict = demand(self.asks[number].answer.is_some(), TAKEN_BACK);
        self.broken = self.broken.or(verdict.err());
    }

    /// What raft will apply next.
    pub fn next_flight(&self) -> Option<usize> {
        self.flights.iter().position(|flight| matches!(flight.fate, Fate::Pending))
    }

    fn apply(&mut self) {
        let Some(next) = self.next_flight() else { return };
        let (entry, asks) = (self.flights[next].entry.clone(), self.flights[next].asks.clone());
        let applied = self.table.apply(&entry);
        let verbs = asks.iter().map(|ask| (self.asks[*ask].holder, self.asks[*ask].verb));
        let verbs: Vec<(usize, Verb)> = verbs.collect();
        let expected = self.law.apply(&entry, &verbs, self.duration());
        let mut verdict = demand(applied.outcomes == expected, RULE);
        for (ask, outcome) in asks.iter().zip(&applied.outcomes) {
            let ask = &mut self.asks[*ask];
            let refused = match &ask.answer {
                None | Some(Answer::Unknown) => false,
                Some(_) => true,
            };
            verdict = verdict.and(demand(!refused || outcome.is_err(), UNDONE));
            ask.outcome = Some(outcome.clone());
        }
        self.index += 1;
        let outcomes = applied.outcomes;
        self.flights[next].fate = Fate::Applied { index: self.index, outcomes };
        self.flights.retain(|flight| !flight.told || matches!(flight.fate, Fate::Pending));
        self.broken = self.broken.or(verdict.err());
    }

    /// The queue hears what became of its entry, or that nobody knows.
    fn report(&mut self, leader: usize, batch: BatchId, lost: bool) {
        let mine = |flight: &Flight| flight.leader == leader && flight.batch == batch;
        let Some(place) = self.flights.iter().position(mine) else { return };
        self.flights[place].told = true;
        let fate = self.flights[place].fate.clone();
        let input = match fate {
            Fate::Pending | Fate::Applied { .. } | Fate::Dropped if lost => Input::Lost { batch },
            Fate::Applied { index, outcomes } => Input::Committed { batch, index, outcomes },
            Fate::Pending | Fate::Dropped => {
                let leader = Some(NodeId(self.leader as u64));
                Input::NotProposed { batch, leader }
            }
        };
        self.left.losses -= u8::from(lost);
        self.flights.retain(|flight| !flight.told || matches!(flight.fate, Fate::Pending));
        self.tell(leader, input);
    }

    fn take_over(&mut self) {
        self.leader = 1;
        for flight in &mut self.flights {
            if matches!(flight.fate, Fate::Pending) {
                flight.fate = Fate::Dropped;
            }
        }
        self.flights.retain(|flight| !flight.told);
        self.believes[1] = true;
        let anchor = Anchor { local: time(self.now), global: self.table.now() };
        self.tell(1, Input::Led { anchor });
    }

    fn step_down(&mut self) {
        self.believes[0] = false;
        self.tell(0, Input::Followed { leader: Some(NodeId(1)) });
    }

    fn timeout(&mut self, leader: usize) {
        let mut orders = Vec::new();
        self.queues[leader].handle_timeout(time(self.now), &mut orders);
        self.see(leader, orders);
    }

    pub fn due(&self, leader: usize) -> bool {
        self.queues[leader].poll_timeout().is_some_and(|due| due.at <= time(self.now))
    }

    pub fn late(&self) -> bool {
        self.due(0) || self.due(1)
    }

    /// What holds after every move.
    fn rest(&self, bounds: &Leaders) -> Result<(), &'static str> {
        demand(self.table.now().0 <= time(self.now).0, CLOCK)?;
        let believes = |holder: usize| self.holds[holder].filter(|(until, _)| *until > self.now);
        demand(believes(0).is_none() || believes(1).is_none(), ONE_HOLDER)?;
        for holder in [0, 1] {
            if let Some((_, fence)) = believes(holder) {
                let lease = self.table.get(&key());
                let his = lease.is_some_and(|lease| &*lease.holder == name(holder));
                demand(his && lease.is_some_and(|lease| lease.fence == fence), NOT_LOST)?;
            }
        }
        let large = |flight: &Flight| flight.entry.commands.len() > bounds.batch_max;
        demand(!self.flights.iter().any(large), LIMIT)?;
        for (leader, queue) in self.queues.iter().enumerate() {
            let within = queue.waiting() <= bounds.waiting_max
                && queue.in_flight() <= bounds.flights_max + 1;
            demand(within, LIMIT)?;
            let idle = self.believes[leader] && queue.in_flight() == 0;
            demand(!idle || queue.waiting() == 0, IDLE)?;
        }
        Ok(())
    }

    pub fn open(&self) -> bool {
        self.asks.iter().any(|ask| ask.answer.is_none())
    }

    pub fn over(&self, bounds: &Leaders) -> bool {
        self.now == bounds.end && !self.late()
    }

    pub fn both_believe(&self) -> bool {
        self.believes == [true, true]
    }

    /// How often the lease was granted anew.
    pub fn grants(&self) -> u64 {
        self.law.fence
    }

    pub fn done_unknown(&self) -> bool {
        self.done_unknown
    }
}
