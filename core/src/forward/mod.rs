//! What becomes of every ask of a client until it is answered: who is asked, and what is asked again.
//!
//! Each controller carries the asks of its own clients to whoever leads, itself among them. Seed
//! 004: without a connection the old way dropped messages and returned no error; seed 002: it
//! retried without knowing whether the first try had been made, and fed the load with it. Here:
//!
//! * A try that certainly came to nothing (no leader there, overloaded) is repeated, whatever it
//!   asks for: after a wait with full jitter, never before the time that the leader named, within
//!   the ask's own deadline, and only out of the [`budget`].
//! * A try that may have been made is repeated if it is a claim or an extension: for the same
//!   holder they may be done twice, and then the answer tells who holds the lease. After such a try
//!   only a grant is told; a refusal is not, since the first try may yet be applied behind it: the
//!   asker is told `Unknown`. Revocations and pins are never repeated then: a late
//!   repetition would undo what was done in between.
//! * An ask that finds nobody leading, or no connection to the leader, rests until that changes, for
//!   a while: what never left has loaded nobody, so it is no retry.
//! * Whatever may not be repeated is answered at once, as it ended.
//! * An asker that leaves is followed by a recall, so that the leader drops the work too.
//!
//! ```text
//!            a leader is known                     done, refused, expired
//!   ask ──────────────────────────▶ sent ──────────────────────────────────▶ answer
//!    │                             ▲    │ not sent, not leader, overloaded, lost
//!    │ nobody leads                │    ▼
//!    └─────────▶ leaderless ───▶ resting ── no budget, no time ────────────▶ answer
//! ```

pub mod budget;
mod words;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use crate::Machine;
use crate::backoff::Backoff;
use crate::ids::{AskId, NodeId};
use crate::lease::Operation;
use crate::mistake::Mistake;
use crate::queue::Answer;
use crate::seed::Seed;
use crate::time::{Time, Timeout, micros};
use budget::Budget;
pub use words::{Config, Input, Output};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A try is under way; due at the ask's deadline, or earlier if another leads by then.
    Sent { to: NodeId },
    /// Its asker has left, and this controller's own queue is about to say what came of it.
    Recalled,
    /// Until the next try is due.
    Resting,
    /// Until somebody leads, or it is due to be told that nobody does.
    Leaderless,
}

#[derive(Clone, Debug)]
struct Ask {
    operation: Operation,
    renews: bool,
    deadline: Time,
    /// When something is next to be done about it; never after the deadline.
    due: Time,
    phase: Phase,
    /// How the last try ended; what the asker is told if there is no other.
    ended: Answer,
    /// Whether some try may have been made, or may yet be.
    doubt: bool,
    /// Since when there was no way to a leader, if there is none.
    adrift: Option<Time>,
    /// None until something went wrong.
    backoff: Option<Backoff>,
    tries: u64,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Forward {
    config: Config,
    me: NodeId,
    seed: Seed,
    leader: Option<NodeId>,
    asks: BTreeMap<AskId, Ask>,
    dues: BTreeSet<(Time, AskId)>,
    /// What every ask begins with when something goes wrong.
    backoff: Backoff,
    budget: Budget,
}

impl Forward {
    /// Nothing is under way, and nobody leads, at the controller `me`.
    pub fn new(config: Config, me: NodeId, seed: Seed) -> Forward {
        assert!(config.asks_max > 0, "nothing could ever be handed on");
        Forward {
            backoff: Backoff::new(config.backoff.clone()),
            budget: Budget::new(config.budget.clone()),
            config,
            me,
            seed: seed.child("forward", me.0),
            leader: None,
            asks: BTreeMap::new(),
            dues: BTreeSet::new(),
        }
    }

    /// How many asks have no answer; at most `asks_max`.
    pub fn open(&self) -> usize {
        self.asks.len()
    }

    /// How many of them are under way to another controller.
    pub fn under_way(&self) -> usize {
        let away = |ask: &&Ask| matches!(ask.phase, Phase::Sent { to } if to != self.me);
        self.asks.values().filter(away).count()
    }

    /// How many of them rest until the next try, or until somebody leads.
    pub fn resting(&self) -> usize {
        let rests = |ask: &&Ask| matches!(ask.phase, Phase::Resting | Phase::Leaderless);
        self.asks.values().filter(rests).count()
    }

    /// How many retries were made, and were not in the budget, so far.
    pub fn retries(&self) -> (u64, u64) {
        (self.budget.spent(), self.budget.denied())
    }

    /// Sets what an ask does next, and when.
    fn turn(&mut self, ask: AskId, phase: Phase, due: Time) {
        let Some(state) = self.asks.get_mut(&ask) else { return };
        state.phase = phase;
        let before = mem::replace(&mut state.due, due.min(state.deadline));
        if before != state.due {
            self.dues.remove(&(before, ask));
            self.dues.insert((state.due, ask));
        }
    }

    /// Hands an ask to whoever leads; without anybody it rests.
    fn send(&mut self, now: Time, ask: AskId, out: &mut Vec<Output>) {
        let Some(state) = self.asks.get_mut(&ask) else { return };
        let Some(to) = self.leader else {
            let until = *state.adrift.get_or_insert(now) + self.config.leaderless_max;
            return self.turn(ask, Phase::Leaderless, until);
        };
        state.tries += 1;
        let (deadline, operation, renews) = (state.deadline, state.operation.clone(), state.renews);
        // Of the way to another a tenth is kept for the way back, so that the leader's definite
        // "expired" arrives before this end must say "unknown".
        let left = deadline.since(now);
        let patience = if to == self.me { left } else { left * 9 / 10 };
        self.turn(ask, Phase::Sent { to }, deadline);
        out.push(Output::Send { ask, to, operation, renews, patience });
    }

    /// A try has ended so, without effect or in doubt: there is another, if the ask's nature, its
    /// deadline and the budget allow it.
    fn again(&mut self, now: Time, ask: AskId, answer: Answer, out: &mut Vec<Output>) {
        let Some(state) = self.asks.get_mut(&ask) else { return };
        let asked = match &answer {
            Answer::Overloaded { retry_after } => *retry_after,
            Answer::Done { .. }
            | Answer::Refused { .. }
            | Answer::Released
            | Answer::NotLeader { .. }
            | Answer::Expired
            | Answer::Cancelled
            | Answer::Unknown => Duration::ZERO,
        };
        state.doubt |= answer == Answer::Unknown;
        state.ended = answer;
        state.adrift = None;
        let due = now + state.wait(ask, asked, &self.backoff, self.seed);
        let may = !state.doubt || repeatable(&state.operation);
        if may && due < state.deadline && self.budget.spend() {
            self.turn(ask, Phase::Resting, due);
        } else {
            self.end(ask, None, out);
        }
    }

    /// A try never left: there is another while a way to the leader may yet be found.
    fn not_sent(&mut self, now: Time, ask: AskId, out: &mut Vec<Output>) {
        let Some(state) = self.asks.get_mut(&ask) else { return };
        let Phase::Sent { .. } = state.phase else { return };
        state.ended = Answer::NotLeader { leader: None };
        let until = *state.adrift.get_or_insert(now) + self.config.leaderless_max;
        let due = now + state.wait(ask, Duration::ZERO, &self.backoff, self.seed);
        if due < state.deadline.min(until) {
            self.turn(ask, Phase::Resting, due);
        } else {
            self.end(ask, None, out);
        }
    }

    /// Ends an ask with an answer, or as its last try has ended. What is in doubt is told as that,
    /// unless it was granted.
    fn end(&mut self, ask: AskId, answer: Option<Answer>, out: &mut Vec<Output>) {
        let Some(state) = self.asks.remove(&ask) else { return };
        self.dues.remove(&(state.due, ask));
        let answer = answer.unwrap_or(state.ended);
        let granted = matches!(answer, Answer::Done { .. });
        let answer = if state.doubt && !granted { Answer::Unknown } else { answer };
        let denied = Mistake::UnknownDenied.made() && answer == Answer::Unknown;
        let answer = if denied { Answer::Expired } else { answer };
        if Mistake::DoubleAnswer.made() {
            out.push(Output::Answer { ask, answer: answer.clone() });
        }
        out.push(Output::Answer { ask, answer });
    }

    fn asked(&mut self, now: Time, ask: AskId, state: Ask, out: &mut Vec<Output>) {
        assert!(!self.asks.contains_key(&ask), "an ask's name is never used twice");
        if self.asks.len() >= self.config.asks_max {
            let retry_after = self.config.retry_after;
            out.push(Output::Answer { ask, answer: Answer::Overloaded { retry_after } });
            return;
        }
        self.budget.earn();
        self.dues.insert((state.due, ask));
        self.asks.insert(ask, state);
        self.send(now, ask, out);
    }

    fn answered(&mut self, now: Time, ask: AskId, answer: Answer, out: &mut Vec<Output>) {
        let again = match (self.asks.get(&ask).map(|ask| ask.phase), &answer) {
            // Of a try that was recalled, for another to follow.
            (None | Some(Phase::Resting | Phase::Leaderless), _) => return,
            (Some(Phase::Recalled), _) => false,
            // Not cancelled here: the leader has lost this controller, and drops its asks.
            (Some(Phase::Sent { .. }), Answer::Cancelled) => true,
            (
                Some(Phase::Sent { .. }),
                Answer::NotLeader { .. } | Answer::Overloaded { .. } | Answer::Unknown,
            ) => true,
            (
                Some(Phase::Sent { .. }),
                Answer::Done { .. } | Answer::Refused { .. } | Answer::Released | Answer::Expired,
            ) => false,
        };
        if again {
            self.again(now, ask, answer, out);
        } else {
            self.end(ask, Some(answer), out);
        }
    }

    fn cancelled(&mut self, ask: AskId, out: &mut Vec<Output>) {
        let Some(state) = self.asks.get(&ask) else { return };
        match state.phase {
            Phase::Sent { to } if to == self.me => {
                let deadline = state.deadline;
                self.turn(ask, Phase::Recalled, deadline);
                out.push(Output::Recall { ask, to });
            }
            Phase::Sent { to } => {
                self.end(ask, Some(Answer::Unknown), out);
                out.push(Output::Recall { ask, to });
            }
            Phase::Resting | Phase::Leaderless => self.end(ask, Some(Answer::Cancelled), out),
            Phase::Recalled => {}
        }
    }

    /// Another leads, or nobody: whoever waited for that is sent after a moment of its own, and
    /// whoever was asked before is given a last moment to answer.
    fn led(&mut self, now: Time, leader: Option<NodeId>) {
        if self.leader == leader {
            return;
        }
        self.leader = leader;
        let Some(leader) = leader else { return };
        let asks: Vec<(AskId, Phase)> =
            self.asks.iter().map(|(ask, state)| (*ask, state.phase)).collect();
        for (ask, phase) in asks {
            match phase {
                Phase::Leaderless => {
                    let first = self.config.backoff.first;
                    let spread = micros(first).saturating_add(1);
                    let seed = self.seed.child("connection", ask.connection.0);
                    let wait = seed.child("led", ask.serial).rng().below(spread);
                    self.turn(ask, Phase::Resting, now + Duration::from_micros(wait));
                }
                Phase::Sent { to } if to != leader => {
                    self.turn(ask, phase, now + self.config.deposed_within);
                }
                // It may have been deposed for a moment only.
                Phase::Sent { .. } => self.turn(ask, phase, Time(u64::MAX)),
                Phase::Recalled | Phase::Resting => {}
            }
        }
    }
}

impl Ask {
    /// How long it rests, no shorter than it was asked to.
    fn wait(&mut self, ask: AskId, asked: Duration, fresh: &Backoff, seed: Seed) -> Duration {
        let seed = seed.child("connection", ask.connection.0).child("ask", ask.serial);
        let mut rng = seed.child("try", self.tries).rng();
        self.backoff.get_or_insert_with(|| fresh.clone()).wait(asked, &mut rng)
    }
}

/// Whether it may be done twice by the same asker without harm.
fn repeatable(operation: &Operation) -> bool {
    match operation {
        Operation::Claim { .. } | Operation::Extend { .. } => true,
        Operation::Revoke { .. } | Operation::Pin { .. } | Operation::Unpin { .. } => false,
    }
}

impl Machine for Forward {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Asked { ask, operation, renews, patience } => {
                let deadline = now + patience.min(self.config.patience_max);
                let state = Ask {
                    operation,
                    renews,
                    deadline,
                    due: deadline,
                    phase: Phase::Leaderless,
                    ended: Answer::NotLeader { leader: None },
                    doubt: false,
                    adrift: None,
                    backoff: None,
                    tries: 0,
                };
                self.asked(now, ask, state, out);
            }
            Input::Led { leader } => self.led(now, leader),
            Input::Answered { ask, answer } => self.answered(now, ask, answer, out),
            Input::NotSent { ask } => self.not_sent(now, ask, out),
            Input::Lost { ask } => self.answered(now, ask, Answer::Unknown, out),
            Input::Cancelled { ask } => self.cancelled(ask, out),
        }
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        let (at, ask) = self.dues.first()?;
        let why = match self.asks[ask].phase {
            Phase::Sent { .. } | Phase::Recalled => "the leader's answer",
            Phase::Resting => "try again",
            Phase::Leaderless => "a leader",
        };
        Some(Timeout { at: *at, why })
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Output>) {
        while let Some(&(due, ask)) = self.dues.first() {
            if due > now {
                break;
            }
            let state = &self.asks[&ask];
            let over = state.deadline <= now;
            match state.phase {
                Phase::Sent { to } => {
                    if over {
                        self.end(ask, Some(Answer::Unknown), out);
                    } else {
                        self.again(now, ask, Answer::Unknown, out);
                    }
                    out.push(Output::Recall { ask, to });
                }
                Phase::Recalled => self.end(ask, Some(Answer::Unknown), out),
                Phase::Resting if over => self.end(ask, None, out),
                Phase::Resting => self.send(now, ask, out),
                Phase::Leaderless => self.end(ask, None, out),
            }
        }
    }
}
