//! Who waits for which lease to be released (`BlockUntilLeadershipReleased`).
//!
//! A wait is parked on the controller that it was asked of, and ends when that controller's copy of
//! the table says that the lease is free. The trap: that copy may lag behind the answer which told
//! the asker that somebody else holds the lease, and an early "released" makes it claim, be denied
//! and wait again, in a tight circle. So a wait is only judged by a copy that has reached every log
//! entry this controller had answered from when the wait began; earlier releases do not end it
//! either. The bar is each wait's own: answers that are given later never push it further away.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::Machine;
use crate::ids::AskId;
use crate::lease::Key;
use crate::queue::Answer;
use crate::time::{Time, Timeout};

/// Limits of waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Most waits parked at once; more are answered `Overloaded`. Above zero.
    pub waits_max: usize,
    /// What an `Overloaded` answer names as the time to come back.
    pub retry_after: Duration,
}

impl Default for Config {
    /// Room for the 120,000 losers of seed 002's largest run on one controller.
    fn default() -> Config {
        Config { waits_max: 200_000, retry_after: Duration::from_secs(5) }
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
    /// This controller's copy has reached log entry `index`, which released these.
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
    /// The log entry that the copy must have reached before it can tell.
    after: u64,
}

/// The machine. It has no timeouts: a wait may take as long as the lease is held.
#[derive(Clone, Debug)]
pub struct Waits {
    config: Config,
    asks: BTreeMap<AskId, Wait>,
    /// The same, by lease.
    keys: BTreeMap<Key, BTreeSet<AskId>>,
    /// Those not looked at yet, for the copy lags behind the log entry that stands first.
    unlooked: BTreeSet<(u64, AskId)>,
    applied: u64,
    answered: u64,
}

impl Waits {
    /// Nobody waits.
    pub fn new(config: Config) -> Waits {
        assert!(config.waits_max > 0, "nobody could ever wait");
        Waits {
            config,
            asks: BTreeMap::new(),
            keys: BTreeMap::new(),
            unlooked: BTreeSet::new(),
            applied: 0,
            answered: 0,
        }
    }

    /// How many wait; at most `waits_max`.
    pub fn parked(&self) -> usize {
        self.asks.len()
    }

    fn look(&mut self, out: &mut Vec<Output>) {
        while let Some(&(after, ask)) = self.unlooked.first() {
            if after > self.applied {
                break;
            }
            self.unlooked.pop_first();
            out.push(Output::Look { ask, key: self.asks[&ask].key.clone() });
        }
    }

    fn end(&mut self, ask: AskId, answer: Answer, out: &mut Vec<Output>) {
        let Some(Wait { key, after }) = self.asks.remove(&ask) else { return };
        self.unlooked.remove(&(after, ask));
        if let Some(asks) = self.keys.get_mut(&key) {
            asks.remove(&ask);
            if asks.is_empty() {
                self.keys.remove(&key);
            }
        }
        out.push(Output::Answer { ask, answer });
    }
}

impl Machine for Waits {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, _: Time, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Waited { ask, key } => {
                assert!(!self.asks.contains_key(&ask), "an ask's name is never used twice");
                if self.asks.len() >= self.config.waits_max {
                    let retry_after = self.config.retry_after;
                    out.push(Output::Answer { ask, answer: Answer::Overloaded { retry_after } });
                    return;
                }
                self.keys.entry(key.clone()).or_default().insert(ask);
                self.asks.insert(ask, Wait { key, after: self.answered });
                self.unlooked.insert((self.answered, ask));
                self.look(out);
            }
            Input::Cancelled { ask } => self.end(ask, Answer::Cancelled, out),
            Input::Looked { held: true, .. } => {}
            Input::Looked { ask, held: false } => self.end(ask, Answer::Released, out),
            Input::Applied { index, released } => {
                self.applied = self.applied.max(index);
                for key in released {
                    for ask in self.keys.get(&key).cloned().unwrap_or_default() {
                        if self.asks[&ask].after < index {
                            self.end(ask, Answer::Released, out);
                        }
                    }
                }
                self.look(out);
            }
            Input::Restored { index } => {
                self.applied = self.applied.max(index);
                self.unlooked = self.asks.iter().map(|(ask, wait)| (wait.after, *ask)).collect();
                self.look(out);
            }
            Input::Answered { index } => self.answered = self.answered.max(index),
        }
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        None
    }

    fn handle_timeout(&mut self, _: Time, _: &mut Vec<Output>) {}
}
