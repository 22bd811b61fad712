//! The front of the log: a bounded queue of lease operations, batched into raft entries.
//!
//! Decides what is proposed, what is refused, and what every asker is told (seeds 002 and 004:
//! queues without bound, dropped messages, and work that goes on for callers who have left). Each
//! ask ends in exactly one [`Answer`]. Only the leader's queue proposes. What goes first: an advance
//! of the clock goes at once, beyond every limit of what flies; renewals go before claims, which
//! keep a share of every entry; when the queue is full, the newest claim makes way for a renewal.
//!
//! ```text
//!          Asked                    room in flight                Committed
//!   ask ──────────▶ waiting ──────────────────────▶ in flight ──────────────▶ Done | Refused
//!            │         ├─ Cancelled ─▶ Cancelled        ├─ Cancelled, deadline, Lost ─▶ Unknown
//!            │         ├─ deadline ──▶ Expired          └─ NotProposed ──────────────▶ NotLeader
//!            │         └─ Followed ──▶ NotLeader
//!            └─ full (by count or by bytes), or too slow for its deadline ─▶ Overloaded
//! ```

mod lanes;
mod words;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use crate::Machine;
use crate::clock::Anchor;
use crate::ids::{AskId, BatchId, NodeId};
use crate::lease::{Command, Done, Entry, Refusal};
use crate::mistake::Mistake;
use crate::time::{GlobalTime, Time, Timeout, micros};
use lanes::{Lanes, Turn, Waiting};
pub use lanes::{OPERATION_BYTES, renews, size};
pub use words::{Answer, Config, Input, Output};

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
    Waiting { turn: Turn },
    InFlight,
}

#[derive(Clone, Debug)]
struct Flight {
    asks: Vec<AskId>,
    since: Time,
    /// Whether it carries as much as it may.
    full: bool,
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
    /// Those that wait.
    waiting: Lanes,
    flights: BTreeMap<BatchId, Flight>,
    /// Commands in flight.
    flying: usize,
    batches: u64,
    /// The clock's own entry, which may fly beyond `flights_max`.
    advance: Option<BatchId>,
    /// When the last batch came home.
    committed_at: Time,
    /// Time that one command takes, smoothed over about eight full batches.
    drain: Duration,
}

impl Queue {
    /// An empty queue of a follower.
    pub fn new(config: Config) -> Queue {
        assert!(config.waiting_max > 0, "a queue without room answers nothing but overloaded");
        assert!(config.batch_max > 0 && config.flights_max > 0, "nothing could ever be proposed");
        Queue {
            waiting: Lanes::new(config.renewals_ahead_max),
            config,
            role: Role::Follower(None),
            asks: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            flights: BTreeMap::new(),
            flying: 0,
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

    /// How large what waits is, by [`size`]; at most `waiting_bytes_max`.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting.bytes()
    }

    /// Time that the log takes for one command, smoothed over about eight full batches; zero until
    /// there was one.
    pub fn drain(&self) -> Duration {
        self.drain
    }

    /// When a batch in flight was proposed.
    pub fn proposed_at(&self, batch: BatchId) -> Option<Time> {
        self.flights.get(&batch).map(|flight| flight.since)
    }

    /// How many entries are in flight; at most `flights_max`, and one more for the clock.
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    fn asked(
        &mut self,
        now: Time,
        waiting: Waiting,
        renews: bool,
        patience: Duration,
        out: &mut Vec<Output>,
    ) {
        let ask = waiting.ask;
        assert!(!self.asks.contains_key(&ask), "an ask's name is never used twice");
        let patience = patience.min(self.config.patience_max);
        let refusal = match self.role {
            Role::Follower(leader) => Some(Answer::NotLeader { leader }),
            Role::Leader(_) => {
                let in_time = self.wait_behind(renews) <= patience;
                let fits = in_time && self.room(size(&waiting.operation), renews, out);
                (!fits).then(|| self.overloaded(renews))
            }
        };
        if let Some(answer) = refusal {
            out.push(Output::Answer { ask, answer });
            return;
        }
        let deadline = now + patience;
        let turn = self.waiting.push(waiting, renews);
        self.asks.insert(ask, Ask { deadline, place: Place::Waiting { turn } });
        self.deadlines.insert((deadline, ask));
        self.propose_while_room(now, out);
    }

    /// Whether there is room for one more of this size. A renewal makes some: the newest of the
    /// others are told to come back, as long as those have more than their share of it.
    fn room(&mut self, bytes: usize, renews: bool, out: &mut Vec<Output>) -> bool {
        let Config { waiting_max, waiting_bytes_max, batch_bytes_max, .. } = self.config;
        if bytes > batch_bytes_max.min(waiting_bytes_max) {
            return false;
        }
        loop {
            let full = self.waiting.len() >= waiting_max
                || self.waiting.bytes() + bytes > waiting_bytes_max;
            let full = full && !Mistake::QueueUnlimited.made();
            let newest = self.waiting.makes_way().filter(|_| full && renews);
            let Some(newest) = newest else { return !full };
            self.answer(newest, self.overloaded(false), out);
        }
    }

    fn propose_while_room(&mut self, now: Time, out: &mut Vec<Output>) {
        let taken = |queue: &Queue| queue.flights.len() - usize::from(queue.advance.is_some());
        while taken(self) < self.config.flights_max && self.worth_an_entry() {
            if self.propose(now, out).is_none() {
                break;
            }
        }
    }

    /// Whether what waits should leave now. An entry costs about the same however little it carries,
    /// so another one leaves once as much waits as is in flight, or as it could carry. So entries
    /// grow with the load (measured with 64 claimers: 27 commands each instead of 10), and nobody
    /// waits longer for this than an entry takes.
    fn worth_an_entry(&self) -> bool {
        let waiting = self.waiting.len();
        waiting > 0 && (waiting >= self.flying || self.full())
    }

    /// Whether what waits fills an entry.
    fn full(&self) -> bool {
        self.waiting.len() >= self.config.batch_max
            || self.waiting.bytes() >= self.config.batch_bytes_max
    }

    /// Proposes one entry with as much of what waits as it may carry, if this controller leads.
    fn propose(&mut self, now: Time, out: &mut Vec<Output>) -> Option<BatchId> {
        let Role::Leader(anchor) = self.role else { return None };
        self.batches += 1;
        let batch = BatchId(self.batches);
        let most = if Mistake::BatchUnlimited.made() { usize::MAX } else { self.config.batch_max };
        let count = self.waiting.len().min(most);
        let mut room = self.config.batch_bytes_max;
        let full = self.full();
        let mut flight = Flight { asks: Vec::with_capacity(count), since: now, full };
        let clockless = Mistake::ClockWaits.made() && count > 0;
        let global = if clockless { anchor.global } else { anchor.global_at(now) };
        let mut commands = Vec::with_capacity(count);
        while commands.len() < count {
            let Some(Waiting { ask, operation }) = self.waiting.pop(room) else { break };
            room -= size(&operation);
            let state = self.asks.get_mut(&ask).expect("what waits has no answer yet");
            state.place = Place::InFlight;
            let void_after = anchor.global_at(state.deadline);
            commands.push(Command { operation, void_after });
            flight.asks.push(ask);
        }
        self.flying += flight.asks.len();
        self.flights.insert(batch, flight);
        if Mistake::EarlyGrant.made() {
            self.grant_early(batch, out);
        }
        let entry = Entry { now: global, commands: commands.into() };
        out.push(Output::Propose { batch, entry });
        Some(batch)
    }

    /// See [`Mistake::EarlyGrant`].
    fn grant_early(&mut self, batch: BatchId, out: &mut Vec<Output>) {
        let asks = self.flights.get(&batch).map(|flight| flight.asks.clone());
        for ask in asks.unwrap_or_default() {
            let done = Done::Granted { fence: batch.0, expiry: GlobalTime(u64::MAX) };
            self.answer(ask, Answer::Done { index: 0, done }, out);
        }
    }

    /// Takes a batch out of flight.
    fn land(&mut self, batch: BatchId) -> Option<Flight> {
        if self.advance == Some(batch) {
            self.advance = None;
        }
        let flight = self.flights.remove(&batch)?;
        self.flying -= flight.asks.len();
        Some(flight)
    }

    fn answer(&mut self, ask: AskId, answer: Answer, out: &mut Vec<Output>) {
        let Some(state) = self.asks.remove(&ask) else { return };
        self.deadlines.remove(&(state.deadline, ask));
        if let Place::Waiting { turn } = state.place {
            self.waiting.remove(turn);
        }
        if Mistake::DoubleAnswer.made() {
            out.push(Output::Answer { ask, answer: answer.clone() });
        }
        out.push(Output::Answer { ask, answer });
    }

    /// Measures the drain: the time since the last batch came home, or since this one left if that
    /// was later, over its commands. Only a full entry shows what the log can do; a smaller one shows
    /// that it can do at least that. (Taken for more, the small entries that a herd begins with had
    /// it told to come back in ten seconds, when all of it was done within one.)
    fn measure(&mut self, now: Time, flight: &Flight) {
        if let Ok(count @ 1..) = u32::try_from(flight.asks.len()) {
            let sample = now.since(self.committed_at.max(flight.since)) / count;
            self.drain = match (flight.full, self.drain.is_zero()) {
                (true, true) => sample,
                (true, false) => (self.drain * 7 + sample) / 8,
                (false, _) => self.drain.min(sample),
            };
        }
        self.committed_at = now;
    }

    /// How long one that comes now will wait, by the measured drain.
    fn wait_behind(&self, renews: bool) -> Duration {
        let wait = micros(self.drain).saturating_mul(self.waiting.before(renews) as u64);
        Duration::from_micros(wait)
    }

    fn overloaded(&self, renews: bool) -> Answer {
        let (least, most) = self.config.retry_after;
        Answer::Overloaded { retry_after: self.wait_behind(renews).clamp(least, most) }
    }
}

/// See [`Mistake::DeadlineForgotten`] and [`Mistake::VoidDone`].
fn forgets_deadlines() -> bool {
    Mistake::DeadlineForgotten.made() || Mistake::VoidDone.made()
}

impl Machine for Queue {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Asked { ask, operation, renews, patience } => {
                self.asked(now, Waiting { ask, operation }, renews, patience, out);
            }
            Input::Cancelled { .. } if Mistake::CancelLost.made() => {}
            Input::Cancelled { ask } => {
                let answer = match self.asks.get(&ask).map(|ask| &ask.place) {
                    Some(Place::Waiting { .. }) => Answer::Cancelled,
                    Some(Place::InFlight) => Answer::Unknown,
                    None => return,
                };
                self.answer(ask, answer, out);
            }
            Input::Advance => {
                let waits = Mistake::ClockWaits.made() && !self.flights.is_empty();
                if self.advance.is_none() && !waits {
                    self.advance = self.propose(now, out);
                }
            }
            Input::Led { anchor } => self.role = Role::Leader(anchor),
            Input::Followed { leader } => {
                self.role = Role::Follower(leader);
                while let Some(ask) = self.waiting.first() {
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
                let denied = Mistake::UnknownDenied.made();
                for ask in flight.asks {
                    let answer = if denied { Answer::Expired } else { Answer::Unknown };
                    self.answer(ask, answer, out);
                }
                self.propose_while_room(now, out);
            }
        }
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        let first = self.deadlines.first().filter(|_| !forgets_deadlines());
        first.map(|(at, _)| Timeout { at: *at, why: "an ask's deadline" })
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Output>) {
        while let Some(&(deadline, ask)) = self.deadlines.first() {
            if deadline > now || forgets_deadlines() {
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
