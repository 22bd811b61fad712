//! The front of the log: a bounded queue of lease operations, batched into raft entries.
//!
//! Decides what is proposed, what is refused, and what every asker is told (seeds 002 and 004:
//! queues without bound, dropped messages, and work that goes on for callers who have left). Each
//! ask ends in exactly one [`Answer`]. Only the leader's queue proposes.
//!
//! ```text
//!          Asked                    room in flight                Committed
//!   ask ──────────▶ waiting ──────────────────────▶ in flight ──────────────▶ Done | Refused
//!            │         ├─ Cancelled ─▶ Cancelled        ├─ Cancelled, deadline, Lost ─▶ Unknown
//!            │         ├─ deadline ──▶ Expired          └─ NotProposed ──────────────▶ NotLeader
//!            │         └─ Followed ──▶ NotLeader
//!            └─ full, or too slow for its deadline ─▶ Overloaded (with a time to come back)
//! ```

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Machine;
use crate::clock::Anchor;
use crate::ids::{AskId, BatchId, NodeId};
use crate::lease::{Command, Done, Entry, Operation, Outcome, Refusal};
use crate::time::{Time, Timeout, micros};

/// How an ask ended. Every ask ends in exactly one of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It was done, by the log entry `index`.
    Done { index: u64, done: Done },
    /// It was refused by the table at log entry `index`; it had no effect.
    Refused { index: u64, refusal: Refusal },
    /// The lease that was waited for is free.
    Released,
    /// There is no room, or no time left after all that waits; it had no effect. Come back after
    /// `retry_after`.
    Overloaded { retry_after: Duration },
    /// This controller does not lead, and could not hand the ask on; it had no effect. `leader` is
    /// who leads as far as known.
    NotLeader { leader: Option<NodeId> },
    /// Its deadline passed while it waited; it had no effect and never will.
    Expired,
    /// Its asker went away or took it back while it waited; it had no effect and never will.
    Cancelled,
    /// It may have been done, or may yet be, but not after its deadline. Ask again to find out.
    Unknown,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Done { index, done } => write!(f, "done at {index}: {done}"),
            Answer::Refused { index, refusal } => write!(f, "refused at {index}: {refusal}"),
            Answer::Released => f.write_str("released"),
            Answer::Overloaded { retry_after } => {
                write!(f, "overloaded, retry after {retry_after:?}")
            }
            Answer::NotLeader { leader: Some(leader) } => write!(f, "not leader, try {leader}"),
            Answer::NotLeader { leader: None } => f.write_str("not leader"),
            Answer::Expired => f.write_str("expired"),
            Answer::Cancelled => f.write_str("cancelled"),
            Answer::Unknown => f.write_str("unknown"),
        }
    }
}

/// Limits of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Most asks that wait to be proposed; more are answered `Overloaded`. Above zero.
    pub waiting_max: usize,
    /// Most commands in one raft entry. Above zero. A batching raft is measured fastest at 256 to
    /// 1,024 commands an entry.
    pub batch_max: usize,
    /// Most entries in flight; a clock advance may make it one more. Above zero.
    pub flights_max: usize,
    /// Longest time an ask may take, whatever it asks for.
    pub patience_max: Duration,
    /// Shortest and longest time to come back that an `Overloaded` answer names.
    pub retry_after: (Duration, Duration),
}

impl Default for Config {
    fn default() -> Config {
        Config {
            waiting_max: 16_384,
            batch_max: 1_024,
            flights_max: 4,
            patience_max: Duration::from_secs(30),
            retry_after: (Duration::from_millis(50), Duration::from_secs(10)),
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Somebody asks for an operation, and will not wait longer than `patience`.
    Asked { ask: AskId, operation: Operation, patience: Duration },
    /// The asker has left or lost interest. Harmless if the ask has ended.
    Cancelled { ask: AskId },
    /// The clock demands an entry at once.
    Advance,
    /// This controller leads, and global time is known by this anchor.
    Led { anchor: Anchor },
    /// This controller does not lead.
    Followed { leader: Option<NodeId> },
    /// The batch was committed and applied at log entry `index`.
    Committed { batch: BatchId, index: u64, outcomes: Vec<Outcome> },
    /// The batch never reached the log.
    NotProposed { batch: BatchId, leader: Option<NodeId> },
    /// Nobody can say what became of the batch.
    Lost { batch: BatchId },
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::Asked { ask, operation, patience } => {
                write!(f, "{ask} asked to {operation}, patient for {patience:?}")
            }
            Input::Cancelled { ask } => write!(f, "{ask} cancelled"),
            Input::Advance => f.write_str("advance"),
            Input::Led { anchor } => write!(f, "led from {}", anchor.global),
            Input::Followed { leader: Some(leader) } => write!(f, "followed {leader}"),
            Input::Followed { leader: None } => f.write_str("followed nobody"),
            Input::Committed { batch, index, .. } => write!(f, "{batch} committed at {index}"),
            Input::NotProposed { batch, .. } => write!(f, "{batch} not proposed"),
            Input::Lost { batch } => write!(f, "{batch} lost"),
        }
    }
}

/// What must be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Propose the entry, and say what came of it under this name.
    Propose { batch: BatchId, entry: Entry },
    /// Tell the asker.
    Answer { ask: AskId, answer: Answer },
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Propose { batch, entry } => write!(f, "propose {batch}: {entry}"),
            Output::Answer { ask, answer } => write!(f, "answer {ask}: {answer}"),
        }
    }
}

#[derive(Clone, Debug)]
enum Role {
    Leader(Anchor),
    Follower(Option<NodeId>),
}

#[derive(Clone, Debug)]
struct Ask {
    deadline: Time,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Waiting { turn: u64 },
    InFlight,
}

#[derive(Clone, Debug)]
struct Flight {
    asks: Vec<AskId>,
    since: Time,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Queue {
    config: Config,
    role: Role,
    /// Every ask without an answer.
    asks: BTreeMap<AskId, Ask>,
    /// The same asks by deadline.
    deadlines: BTreeSet<(Time, AskId)>,
    /// Those that wait, in the order of their turns.
    waiting: BTreeMap<u64, (AskId, Operation)>,
    turns: u64,
    flights: BTreeMap<BatchId, Flight>,
    batches: u64,
    /// The clock's own entry, which may fly beyond `flights_max`.
    advance: Option<BatchId>,
    /// When the last batch came home.
    committed_at: Time,
    /// Time that one command takes, smoothed over about eight batches.
    drain: Duration,
}

impl Queue {
    /// An empty queue of a follower.
    pub fn new(config: Config) -> Queue {
        assert!(config.waiting_max > 0, "a queue without room answers nothing but overloaded");
        assert!(config.batch_max > 0 && config.flights_max > 0, "nothing could ever be proposed");
        Queue {
            config,
            role: Role::Follower(None),
            asks: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            waiting: BTreeMap::new(),
            turns: 0,
            flights: BTreeMap::new(),
            batches: 0,
            advance: None,
            committed_at: Time(0),
            drain: Duration::ZERO,
        }
    }

    /// How many asks wait to be proposed; at most `waiting_max`.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many entries are in flight; at most `flights_max`, and one more for the clock.
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    fn asked(
        &mut self,
        now: Time,
        ask: AskId,
        operation: Operation,
        patience: Duration,
        out: &mut Vec<Output>,
    ) {
        assert!(!self.asks.contains_key(&ask), "an ask's name is never used twice");
        let patience = patience.min(self.config.patience_max);
        let answer = match self.role {
            Role::Follower(leader) => Some(Answer::NotLeader { leader }),
            Role::Leader(_) if self.waiting.len() >= self.config.waiting_max => {
                Some(self.overloaded())
            }
            Role::Leader(_) if self.wait_ahead() > patience => Some(self.overloaded()),
            Role::Leader(_) => None,
        };
        if let Some(answer) = answer {
            out.push(Output::Answer { ask, answer });
            return;
        }
        let deadline = now + patience;
        self.turns += 1;
        self.waiting.insert(self.turns, (ask, operation));
        self.asks.insert(ask, Ask { deadline, place: Place::Waiting { turn: self.turns } });
        self.deadlines.insert((deadline, ask));
        self.propose_while_room(now, out);
    }

    fn propose_while_room(&mut self, now: Time, out: &mut Vec<Output>) {
        let taken = |queue: &Queue| queue.flights.len() - usize::from(queue.advance.is_some());
        while !self.waiting.is_empty() && taken(self) < self.config.flights_max {
            if self.propose(now, out).is_none() {
                break;
            }
        }
    }

    /// Proposes one entry with as much of what waits as it may carry, if this controller leads.
    fn propose(&mut self, now: Time, out: &mut Vec<Output>) -> Option<BatchId> {
        let Role::Leader(anchor) = self.role else { return None };
        self.batches += 1;
        let batch = BatchId(self.batches);
        let count = self.waiting.len().min(self.config.batch_max);
        let mut flight = Flight { asks: Vec::with_capacity(count), since: now };
        let mut entry = Entry { now: anchor.global_at(now), commands: Vec::with_capacity(count) };
        for _ in 0..count {
            let (_, (ask, operation)) = self.waiting.pop_first().expect("counted above");
            let state = self.asks.get_mut(&ask).expect("what waits has no answer yet");
            state.place = Place::InFlight;
            let void_after = anchor.global_at(state.deadline);
            entry.commands.push(Command { operation, void_after });
            flight.asks.push(ask);
        }
        self.flights.insert(batch, flight);
        out.push(Output::Propose { batch, entry });
        Some(batch)
    }

    /// Takes a batch out of flight.
    fn land(&mut self, batch: BatchId) -> Option<Flight> {
        if self.advance == Some(batch) {
            self.advance = None;
        }
        self.flights.remove(&batch)
    }

    fn answer(&mut self, ask: AskId, answer: Answer, out: &mut Vec<Output>) {
        let Some(state) = self.asks.remove(&ask) else { return };
        self.deadlines.remove(&(state.deadline, ask));
        if let Place::Waiting { turn } = state.place {
            self.waiting.remove(&turn);
        }
        out.push(Output::Answer { ask, answer });
    }

    /// Measures the drain: the time since the last batch came home, or since this one left if that
    /// was later, over its commands.
    fn measure(&mut self, now: Time, flight: &Flight) {
        if let Ok(count @ 1..) = u32::try_from(flight.asks.len()) {
            let sample = now.since(self.committed_at.max(flight.since)) / count;
            self.drain = if self.drain.is_zero() { sample } else { (self.drain * 7 + sample) / 8 };
        }
        self.committed_at = now;
    }

    /// How long all that waits will take, by the measured drain.
    fn wait_ahead(&self) -> Duration {
        let wait = micros(self.drain).saturating_mul(self.waiting.len() as u64);
        Duration::from_micros(wait)
    }

    fn overloaded(&self) -> Answer {
        let (least, most) = self.config.retry_after;
        Answer::Overloaded { retry_after: self.wait_ahead().clamp(least, most) }
    }
}

impl Machine for Queue {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Asked { ask, operation, patience } => {
                self.asked(now, ask, operation, patience, out);
            }
            Input::Cancelled { ask } => {
                let answer = match self.asks.get(&ask).map(|ask| &ask.place) {
                    Some(Place::Waiting { .. }) => Answer::Cancelled,
                    Some(Place::InFlight) => Answer::Unknown,
                    None => return,
                };
                self.answer(ask, answer, out);
            }
            Input::Advance => {
                if self.advance.is_none() {
                    self.advance = self.propose(now, out);
                }
            }
            Input::Led { anchor } => self.role = Role::Leader(anchor),
            Input::Followed { leader } => {
                self.role = Role::Follower(leader);
                while let Some((_, (ask, _))) = self.waiting.pop_first() {
                    self.answer(ask, Answer::NotLeader { leader }, out);
                }
            }
            Input::Committed { batch, index, outcomes } => {
                let Some(flight) = self.land(batch) else { return };
                self.measure(now, &flight);
                assert_eq!(flight.asks.len(), outcomes.len(), "one outcome a command");
                for (ask, outcome) in flight.asks.into_iter().zip(outcomes) {
                    let answer = match outcome {
                        Ok(done) => Answer::Done { index, done },
                        Err(Refusal::Void) => Answer::Expired,
                        Err(refusal) => Answer::Refused { index, refusal },
                    };
                    self.answer(ask, answer, out);
                }
                self.propose_while_room(now, out);
            }
            Input::NotProposed { batch, leader } => {
                let Some(flight) = self.land(batch) else { return };
                for ask in flight.asks {
                    self.answer(ask, Answer::NotLeader { leader }, out);
                }
                self.propose_while_room(now, out);
            }
            Input::Lost { batch } => {
                let Some(flight) = self.land(batch) else { return };
                for ask in flight.asks {
                    self.answer(ask, Answer::Unknown, out);
                }
                self.propose_while_room(now, out);
            }
        }
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        self.deadlines.first().map(|(at, _)| Timeout { at: *at, why: "an ask's deadline" })
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Output>) {
        while let Some(&(deadline, ask)) = self.deadlines.first() {
            if deadline > now {
                break;
            }
            let answer = match self.asks[&ask].place {
                Place::Waiting { .. } => Answer::Expired,
                Place::InFlight => Answer::Unknown,
            };
            self.answer(ask, answer, out);
        }
    }
}
