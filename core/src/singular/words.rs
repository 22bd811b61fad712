//! What a [`Singular`](super::Singular) is told and what it orders, with the words for each.

use core::fmt;
use core::time::Duration;

use crate::controller::Request;
use crate::queue::Answer;
use crate::time::Time;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// There is a lease service to ask.
    Ready,
    /// The ask under way was answered. Every ask is, if only by `Unknown`.
    Answered { answer: Answer },
    /// Nothing runs under the flag any more, and nothing shall. Not to be said while it may still
    /// run: the lease is given up at once.
    Ended,
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::Ready => f.write_str("ready"),
            Input::Answered { answer } => write!(f, "answered: {answer}"),
            Input::Ended => f.write_str("ended"),
        }
    }
}

/// What must be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Ask the lease service; one ask at a time.
    Ask { request: Request, patience: Duration },
    /// Raise the flag: what must run once may run here under this fence, until told otherwise.
    /// Whatever happens, it must have ended by `until` on this clock.
    Raise { fence: u64, until: Time },
    /// The flag stays raised under the same fence, and what runs may run up to a later time.
    Prolong { until: Time },
    /// Lower the flag: what runs must end, in the time that `stop_within` says.
    Lower,
    /// Nothing is held, or it runs out by itself; nothing more will be ordered.
    Leave,
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Ask { request, .. } => write!(f, "ask to {request}"),
            Output::Raise { fence, until } => write!(f, "raise with fence {fence}, until {until}"),
            Output::Prolong { until } => write!(f, "prolong until {until}"),
            Output::Lower => f.write_str("lower"),
            Output::Leave => f.write_str("leave"),
        }
    }
}
