//! Who waits for which lease to be released (`BlockUntilLeadershipReleased`).
//!
//! A wait is parked on the controller that it was asked of, and ends when that controller's copy of
//! the table says that the lease is free. The trap: that copy may lag behind the answer which told
//! the asker that somebody else holds the lease, and an early "released" makes it claim, be denied
//! and wait again, in a tight circle. So a wait is only judged by a copy that has reached every log
//! entry this controller had answered from when the wait began. The bar is each wait's own: answers
//! that are given later never push it further away.
//!
//! Juju wakes everybody who waits for a lease at once, and all but one of them claim in vain. Here
//! the oldest few are woken, and the next few after a gap, if the lease is still free by then:
//!
//! ```text
//!            released, or the copy has caught up            free
//!   parked ─────────────────────────────────────▶ looked at ────▶ the oldest few are woken
//!      ▲                                          │    ▲                 │ others remain
//!      └──────────────── held ────────────────────┘    └──── the gap ────┘
//! ```
//!
//! No wake-up is lost: while a lease is free and somebody waits for it, either somebody is being
//! looked at or a gap is running. One who leaves while being looked at hands that on.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::Machine;
use crate::ids::AskId;
use crate::lease::Key;
use crate::mistake::Mistake;
use crate::queue::Answer;
use crate::time::{Time, Timeout};

/// Limits of waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Most waits parked at once; more are answered `Overloaded`. Above zero.
    pub waits_max: usize,
    /// What an `Overloaded` answer names as the time to come back.
    pub retry_after: Duration,
    /// Most who are woken at once for one lease. Above zero.
    pub wakes_max: usize,
    /// Time until the next are woken, if the lease is still free by then. Above zero.
    pub wake_gap: Duration,
}

impl Default for Config {
    /// Room for the 120,000 losers of seed 002's largest run on one controller. Three are woken, so
    /// that one who has died unnoticed costs nothing; the gap is longer than a claim takes, unless
    /// the log is slow, and shorter than the second that Juju adds to every expiry.
    fn default() -> Config {
        Config {
            waits_max: 200_000,
            retry_after: Duration::from_secs(5),
            wakes_max: 3,
            wake_gap: Duration::from_millis(500),
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Somebody waits for the lease to be free.
    Waited { ask: AskId, key: Key },
    /// The waiter has left. Harmless if the wait has ended.
    Cancelled { ask: AskId },
    /// Whether the lease is held, in this controller's copy of the table.
    Looked { ask: AskId, held: bool },
    /// This controller's copy has reached log entry `index`, which released these; one that was
    /// granted again since may be among them.
    Applied { index: u64, released: Vec<Key> },
    /// This controller's copy was replaced by a snapshot up to log entry `index`.
    Restored { index: u64 },
    /// Somebody was answered from log entry `index`.
    Answered { index: u64 },
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::Waited { ask, key } => write!(f, "{ask} waits for {key}"),
            Input::Cancelled { ask } => write!(f, "{ask} cancelled"),
            Input::Looked { ask, held: true } => write!(f, "{ask} looked: held"),
            Input::Looked { ask, held: false } => write!(f, "{ask} looked: free"),
            Input::Applied { index, released } => {
                write!(f, "applied {index}, released {}", released.len())
            }
            Input::Restored { index } => write!(f, "restored at {index}"),
            Input::Answered { index } => write!(f, "answered from {index}"),
        }
    }
}

/// What must be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Look whether the lease is held, in this controller's copy of the table.
    Look { ask: AskId, key: Key },
    /// Tell the waiter.
    Answer { ask: AskId, answer: Answer },
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Look { ask, key } => write!(f, "look for {ask} at {key}"),
            Output::Answer { ask, answer } => write!(f, "answer {ask}: {answer}"),
        }
    }
}

#[derive(Clone, Debug)]
struct Wait {
    key: Key,
    /// Its place among all waits, by age.
    turn: u64,
    /// The log entry that the copy must have reached before it can tell.
    after: u64,
    /// How often it is being looked at.
    looks: u32,
}

/// All who wait for one lease.
#[derive(Clone, Debug, Default)]
struct Room {
    /// By age. Whoever came later needs a copy that is no older, so those who can be judged by the
    /// copy as it is stand first.
    asks: BTreeMap<u64, AskId>,
    /// The end of the gap, if some were woken and others remain.
    next: Option<Time>,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Waits {
    config: Config,
    asks: BTreeMap<AskId, Wait>,
    rooms: BTreeMap<Key, Room>,
    /// The rooms in which a gap is running, by its end.
    gaps: BTreeSet<(Time, Key)>,
    /// Those not looked at yet, for the copy lags behind the log entry that stands first.
    unlooked: BTreeSet<(u64, AskId)>,
    turns: u64,
    applied: u64,
    answered: u64,
    wakes: u64,
}

impl Waits {
    /// Nobody waits.
    pub fn new(config: Config) -> Waits {
        assert!(config.waits_max > 0, "nobody could ever wait");
        assert!(config.wakes_max > 0, "nobody could ever be woken");
        assert!(!config.wake_gap.is_zero(), "a gap of nothing wakes all at once");
        Waits {
            config,
            asks: BTreeMap::new(),
            rooms: BTreeMap::new(),
            gaps: BTreeSet::new(),
            unlooked: BTreeSet::new(),
            turns: 0,
            applied: 0,
            answered: 0,
            wakes: 0,
        }
    }

    /// How many wait; at most `waits_max`.
    pub fn parked(&self) -> usize {
        self.asks.len()
    }

    /// How many were woken so far.
    pub fn wakes(&self) -> u64 {
        self.wakes
    }

    fn park(&mut self, ask: AskId, key: Key) {
        self.turns += 1;
        let (turn, after) = (self.turns, self.answered);
        self.rooms.entry(key.clone()).or_default().asks.insert(turn, ask);
        self.asks.insert(ask, Wait { key, turn, after, looks: 0 });
        self.unlooked.insert((after, ask));
    }

    /// Looks at everybody whom the copy can judge by this entry for the first time.
    fn catch_up(&mut self, out: &mut Vec<Output>) {
        while let Some(&(after, ask)) = self.unlooked.first() {
            if after > self.applied {
                break;
            }
            self.unlooked.pop_first();
            self.look(ask, out);
        }
    }

    /// Looks at a lease for the one who has waited longest, unless a gap is running, at whose end
    /// that is done, or the copy cannot tell yet, which is looked into once it can.
    fn look_for_oldest(&mut self, key: &Key, out: &mut Vec<Output>) {
        let Some(Room { asks, next: None }) = self.rooms.get(key) else { return };
        let oldest = asks.values().next().copied();
        if let Some(oldest) = oldest.filter(|ask| self.asks[ask].after <= self.applied) {
            self.look(oldest, out);
        }
    }

    fn look(&mut self, ask: AskId, out: &mut Vec<Output>) {
        if let Some(wait) = self.asks.get_mut(&ask) {
            wait.looks += 1;
            out.push(Output::Look { ask, key: wait.key.clone() });
        }
    }

    /// The lease is free: wakes the oldest few, unless a gap is running.
    fn wake(&mut self, now: Time, key: &Key, out: &mut Vec<Output>) {
        let Some(Room { asks, next: None }) = self.rooms.get(key) else { return };
        let judged = asks.values().filter(|ask| self.asks[ask].after <= self.applied);
        let most = if Mistake::WaiterForgotten.made() { 0 } else { self.config.wakes_max };
        let oldest: Vec<AskId> = judged.take(most).copied().collect();
        for ask in oldest {
            self.wakes += 1;
            self.end(ask, Answer::Released, out);
        }
        if let Some(room) = self.rooms.get_mut(key) {
            let next = now + self.config.wake_gap;
            room.next = Some(next);
            self.gaps.insert((next, key.clone()));
        }
    }

    fn end(&mut self, ask: AskId, answer: Answer, out: &mut Vec<Output>) -> Option<Wait> {
        let wait = self.asks.remove(&ask)?;
        self.unlooked.remove(&(wait.after, ask));
        if let Some(room) = self.rooms.get_mut(&wait.key) {
            room.asks.remove(&wait.turn);
            if room.asks.is_empty() {
                if let Some(next) = room.next {
                    self.gaps.remove(&(next, wait.key.clone()));
                }
                self.rooms.remove(&wait.key);
            }
        }
        out.push(Output::Answer { ask, answer });
        Some(wait)
    }
}

impl Machine for Waits {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Waited { ask, key } => {
                assert!(!self.asks.contains_key(&ask), "an ask's name is never used twice");
                if self.asks.len() >= self.config.waits_max {
                    let retry_after = self.config.retry_after;
                    out.push(Output::Answer { ask, answer: Answer::Overloaded { retry_after } });
                    return;
                }
                self.park(ask, key);
                self.catch_up(out);
            }
            Input::Cancelled { ask } => {
                let ended = self.end(ask, Answer::Cancelled, out);
                if let Some(wait) = ended.filter(|wait| wait.looks > 0) {
                    self.look_for_oldest(&wait.key, out);
                }
            }
            Input::Looked { ask, held } => {
                let Some(wait) = self.asks.get_mut(&ask) else { return };
                wait.looks = wait.looks.saturating_sub(1);
                if !held {
                    let key = wait.key.clone();
                    self.wake(now, &key, out);
                }
            }
            Input::Applied { index, released } => {
                self.applied = self.applied.max(index);
                for key in released {
                    self.look_for_oldest(&key, out);
                }
                self.catch_up(out);
            }
            Input::Restored { index } => {
                self.applied = self.applied.max(index);
                let keys: Vec<Key> = self.rooms.keys().cloned().collect();
                for key in keys {
                    self.look_for_oldest(&key, out);
                }
                self.catch_up(out);
            }
            Input::Answered { index } => self.answered = self.answered.max(index),
        }
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        self.gaps.first().map(|(at, _)| Timeout { at: *at, why: "wake the next" })
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Output>) {
        while self.gaps.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, key)) = self.gaps.pop_first() else { break };
            if let Some(room) = self.rooms.get_mut(&key) {
                room.next = None;
            }
            self.look_for_oldest(&key, out);
        }
    }
}
