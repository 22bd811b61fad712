//! Asks that this controller handed to the leader, and what their askers are told.
//!
//! Seed 004: without a connection the old way dropped messages and returned no error. Here an ask
//! that cannot be handed on is answered at once, one that was handed on and whose answer is lost
//! ends as [`Answer::Unknown`], and an asker that leaves is followed by a recall, so that the
//! leader drops the work too.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::Machine;
use crate::ids::{AskId, NodeId};
use crate::lease::Operation;
use crate::queue::Answer;
use crate::time::{Time, Timeout};

/// Limits of forwarding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Most asks under way to the leader at once; more are answered `Overloaded`. Above zero.
    pub asks_max: usize,
    /// What an `Overloaded` answer names as the time to come back.
    pub retry_after: Duration,
    /// Longest time an ask may take, whatever it asks for.
    pub patience_max: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            asks_max: 65_536,
            retry_after: Duration::from_secs(1),
            patience_max: Duration::from_secs(30),
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Somebody asks for an operation, which `leader` must decide.
    Asked { ask: AskId, operation: Operation, patience: Duration, leader: NodeId },
    /// The leader has answered.
    Answered { ask: AskId, answer: Answer },
    /// There was no connection: the ask never left.
    NotSent { ask: AskId },
    /// The connection broke after the ask had left.
    Lost { ask: AskId },
    /// The asker has left or lost interest. Harmless if the ask has ended.
    Cancelled { ask: AskId },
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::Asked { ask, operation, patience, leader } => {
                write!(f, "{ask} asked {leader} to {operation}, patient for {patience:?}")
            }
            Input::Answered { ask, answer } => write!(f, "{ask} answered: {answer}"),
            Input::NotSent { ask } => write!(f, "{ask} not sent"),
            Input::Lost { ask } => write!(f, "{ask} lost"),
            Input::Cancelled { ask } => write!(f, "{ask} cancelled"),
        }
    }
}

/// What must be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Hand the ask to that controller, or say that it was not sent.
    Send { ask: AskId, to: NodeId, operation: Operation, patience: Duration },
    /// Tell that controller that nobody waits for the ask any more.
    Recall { ask: AskId, to: NodeId },
    /// Tell the asker.
    Answer { ask: AskId, answer: Answer },
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Send { ask, to, operation, patience } => {
                write!(f, "send {ask} to {to}: {operation}, patient for {patience:?}")
            }
            Output::Recall { ask, to } => write!(f, "recall {ask} from {to}"),
            Output::Answer { ask, answer } => write!(f, "answer {ask}: {answer}"),
        }
    }
}

#[derive(Clone, Debug)]
struct Ask {
    leader: NodeId,
    deadline: Time,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Forward {
    config: Config,
    asks: BTreeMap<AskId, Ask>,
    deadlines: BTreeSet<(Time, AskId)>,
}

impl Forward {
    /// Nothing is under way.
    pub fn new(config: Config) -> Forward {
        assert!(config.asks_max > 0, "nothing could ever be handed on");
        Forward { config, asks: BTreeMap::new(), deadlines: BTreeSet::new() }
    }

    /// How many asks are under way; at most `asks_max`.
    pub fn under_way(&self) -> usize {
        self.asks.len()
    }

    fn end(&mut self, ask: AskId, answer: Answer, out: &mut Vec<Output>) -> Option<NodeId> {
        let ended = self.asks.remove(&ask)?;
        self.deadlines.remove(&(ended.deadline, ask));
        out.push(Output::Answer { ask, answer });
        Some(ended.leader)
    }
}

impl Machine for Forward {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Asked { ask, operation, patience, leader } => {
                assert!(!self.asks.contains_key(&ask), "an ask's name is never used twice");
                if self.asks.len() >= self.config.asks_max {
                    let retry_after = self.config.retry_after;
                    out.push(Output::Answer { ask, answer: Answer::Overloaded { retry_after } });
                    return;
                }
                let patience = patience.min(self.config.patience_max);
                let deadline = now + patience;
                self.asks.insert(ask, Ask { leader, deadline });
                self.deadlines.insert((deadline, ask));
                // A tenth is kept for the way back, so that the leader's definite "expired" arrives
                // before this end must say "unknown".
                let patience = patience * 9 / 10;
                out.push(Output::Send { ask, to: leader, operation, patience });
            }
            Input::Answered { ask, answer } => {
                self.end(ask, answer, out);
            }
            Input::NotSent { ask } => {
                self.end(ask, Answer::NotLeader { leader: None }, out);
            }
            Input::Lost { ask } => {
                self.end(ask, Answer::Unknown, out);
            }
            Input::Cancelled { ask } => {
                if let Some(to) = self.end(ask, Answer::Unknown, out) {
                    out.push(Output::Recall { ask, to });
                }
            }
        }
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        self.deadlines.first().map(|(at, _)| Timeout { at: *at, why: "the leader's answer" })
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Output>) {
        while let Some(&(deadline, ask)) = self.deadlines.first() {
            if deadline > now {
                break;
            }
            if let Some(to) = self.end(ask, Answer::Unknown, out) {
                out.push(Output::Recall { ask, to });
            }
        }
    }
}
