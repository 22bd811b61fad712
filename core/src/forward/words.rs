//! What forwarding is told and orders, and its limits.

use core::fmt;
use core::time::Duration;

use crate::backoff;
use crate::ids::{AskId, NodeId};
use crate::lease::Operation;
use crate::queue::Answer;

/// Limits of forwarding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Most asks without an answer at once, resting or handed on; more are answered `Overloaded`.
    /// Above zero.
    pub asks_max: usize,
    /// What that answer names as the time to come back.
    pub retry_after: Duration,
    /// Longest time an ask may take, whatever it asks for.
    pub patience_max: Duration,
    /// Longest time that an ask rests for want of a leader, or of a connection to it, after which
    /// it is told so: an election takes one to four seconds.
    pub leaderless_max: Duration,
    /// How long a leader may go on to answer once another leads.
    pub deposed_within: Duration,
    /// The law of the waits between two tries. What a leader asks for comes on top.
    pub backoff: backoff::Config,
    /// What may be tried again.
    pub budget: super::budget::Config,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            asks_max: 65_536,
            retry_after: Duration::from_secs(1),
            patience_max: Duration::from_secs(30),
            leaderless_max: Duration::from_secs(5),
            deposed_within: Duration::from_millis(500),
            // Juju's lease manager starts at 50 ms too, but counts from the start of a try, so that
            // one that has timed out is repeated at once.
            backoff: backoff::Config {
                first: Duration::from_millis(50),
                most: Duration::from_secs(2),
                growth: 200,
            },
            budget: super::budget::Config::default(),
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Somebody asks for an operation, which `renews` what the asker holds, as far as known here.
    Asked { ask: AskId, operation: Operation, renews: bool, patience: Duration },
    /// This controller, or another, leads from here on, as far as known.
    Led { leader: Option<NodeId> },
    /// The leader's queue has answered.
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
            Input::Asked { ask, operation, renews, patience } => {
                let held = if *renews { ", which it holds" } else { "" };
                write!(f, "{ask} asked to {operation}{held}, patient for {patience:?}")
            }
            Input::Led { leader: Some(leader) } => write!(f, "{leader} leads"),
            Input::Led { leader: None } => f.write_str("nobody leads"),
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
    /// Hand the ask to the queue of that controller, or say that it was not sent.
    Send { ask: AskId, to: NodeId, operation: Operation, renews: bool, patience: Duration },
    /// Tell that controller that nobody waits for this try any more. What comes of it is not
    /// reported, unless it is this controller itself that was told.
    Recall { ask: AskId, to: NodeId },
    /// Tell the asker.
    Answer { ask: AskId, answer: Answer },
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Send { ask, to, operation, patience, .. } => {
                write!(f, "send {ask} to {to}: {operation}, patient for {patience:?}")
            }
            Output::Recall { ask, to } => write!(f, "recall {ask} from {to}"),
            Output::Answer { ask, answer } => write!(f, "answer {ask}: {answer}"),
        }
    }
}
