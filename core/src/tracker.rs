//! How an agent strives for one lease and keeps it.
//!
//! Claims; when granted, claims again in time (a claim by the holder extends); when another holds
//! it, waits for the release and claims again. Leads only while it surely holds: from the answer
//! until the lease's duration after the *asking*, less the part that is never counted on ([`SKEW`]), by
//! its own clock, whatever becomes of the connection. An unknown answer is resolved by asking again, never by guessing, and a time to come
//! back is honoured.
//!
//! ```text
//!          Ready              Granted                       renewal due
//!   Idle ────────▶ Claiming ────────────▶ Holding ──────────────────────▶ Claiming
//!                  ▲  ▲  │ Held                                              (still leading)
//!        Released  │  │  └──────▶ Waiting ──┐
//!        ──────────┼──┼─────────────────────┘
//!                  │  └── timeout ── Resting ◀── any other answer
//! ```

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::Machine;
use crate::backoff::{self, Backoff};
use crate::controller::Request;
use crate::lease::{Done, Key, Operation, Refusal};
use crate::mistake::Mistake;
use crate::queue::Answer;
use crate::seed::{Rng, Seed};
use crate::singular::SKEW;
use crate::time::{Time, Timeout};

/// What to strive for, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The lease.
    pub key: Key,
    /// Who is to hold it.
    pub holder: Arc<str>,
    /// For how long to claim: Juju's units claim a minute.
    pub duration: Duration,
    /// When to claim again after a grant: Juju's units after half a minute. Below `duration`.
    pub renew_after: Duration,
    /// How long to wait for one answer.
    pub patience: Duration,
    /// Wait after an answer that settles nothing.
    pub backoff: backoff::Config,
}

impl Config {
    /// Juju's numbers for a unit that strives for the leadership of its application.
    pub fn new(key: Key, holder: Arc<str>) -> Config {
        Config {
            key,
            holder,
            duration: Duration::from_secs(60),
            renew_after: Duration::from_secs(30),
            patience: Duration::from_secs(10),
            backoff: backoff::Config {
                first: Duration::from_millis(200),
                most: Duration::from_secs(10),
                growth: 200,
            },
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// There is a controller to ask.
    Ready,
    /// There is none.
    Gone,
    /// The ask under way was answered.
    Answered { answer: Answer },
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::Ready => f.write_str("ready"),
            Input::Gone => f.write_str("gone"),
            Input::Answered { answer } => write!(f, "answered: {answer}"),
        }
    }
}

/// What must be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Ask the controller; one ask at a time.
    Ask { request: Request, patience: Duration },
    /// From here on the agent leads, with this fencing number, until told otherwise.
    Lead { fence: u64 },
    /// From here on it does not.
    Follow,
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Ask { request, .. } => write!(f, "ask to {request}"),
            Output::Lead { fence } => write!(f, "lead with fence {fence}"),
            Output::Follow => f.write_str("follow"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Claiming { asked_at: Time },
    Holding { renew_at: Time },
    Waiting,
    Resting { until: Time },
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Tracker {
    config: Config,
    rng: Rng,
    backoff: Backoff,
    phase: Phase,
    /// While leading: until when it surely holds, and with which fence.
    leads: Option<(Time, u64)>,
}

impl Tracker {
    /// A tracker that has nobody to ask.
    pub fn new(config: Config, seed: Seed) -> Tracker {
        assert!(config.renew_after < config.duration, "a renewal after the expiry renews nothing");
        Tracker {
            backoff: Backoff::new(config.backoff.clone()),
            rng: seed.child("tracker", 0).rng(),
            config,
            phase: Phase::Idle,
            leads: None,
        }
    }

    /// Whether the agent leads.
    pub fn leading(&self) -> bool {
        self.leads.is_some()
    }

    /// Whether the agent waits for another to release the lease.
    pub fn waiting(&self) -> bool {
        self.phase == Phase::Waiting
    }

    /// How many random words this tracker has drawn.
    pub fn drawn(&self) -> u64 {
        self.rng.drawn()
    }

    fn claim(&mut self, now: Time, out: &mut Vec<Output>) {
        let Config { key, holder, duration, patience, .. } = &self.config;
        let (key, holder) = (key.clone(), holder.clone());
        let request = Request::Apply(Operation::Claim { key, holder, duration: *duration });
        self.phase = Phase::Claiming { asked_at: now };
        out.push(Output::Ask { request, patience: *patience });
    }

    fn rest(&mut self, now: Time, asked: Duration) {
        let until = now + self.backoff.wait(asked, &mut self.rng);
        self.phase = Phase::Resting { until };
    }

    fn follow(&mut self, out: &mut Vec<Output>) {
        if self.leads.take().is_some() {
            out.push(Output::Follow);
        }
    }

    fn granted(&mut self, now: Time, asked_at: Time, fence: u64, out: &mut Vec<Output>) {
        self.backoff.reset();
        self.phase = Phase::Holding { renew_at: asked_at + self.config.renew_after };
        let Config { duration, .. } = &self.config;
        let times = 1 + u32::from(Mistake::LeadsTooLong.made());
        let until = asked_at + (*duration - *duration / SKEW) * times;
        if until <= now {
            // The grant was so slow that it may be over.
            self.follow(out);
            self.claim(now, out);
        } else if self.leads.replace((until, fence)).map(|(_, fence)| fence) != Some(fence) {
            out.push(Output::Lead { fence });
        }
    }

    fn answered(&mut self, now: Time, answer: Answer, out: &mut Vec<Output>) {
        match (&self.phase, answer) {
            (
                Phase::Claiming { asked_at },
                Answer::Done { done: Done::Granted { fence, .. }, .. },
            ) => self.granted(now, *asked_at, fence, out),
            (Phase::Claiming { .. }, Answer::Refused { refusal: Refusal::Held { .. }, .. }) => {
                self.backoff.reset();
                self.follow(out);
                self.phase = Phase::Waiting;
                let request = Request::Wait(self.config.key.clone());
                out.push(Output::Ask { request, patience: self.config.patience });
            }
            (Phase::Waiting, Answer::Released) => self.claim(now, out),
            (Phase::Claiming { .. } | Phase::Waiting, Answer::Overloaded { retry_after }) => {
                self.rest(now, retry_after);
            }
            (
                Phase::Claiming { .. } | Phase::Waiting,
                Answer::Done { .. }
                | Answer::Refused { .. }
                | Answer::Released
                | Answer::NotLeader { .. }
                | Answer::Expired
                | Answer::Cancelled
                | Answer::Unknown,
            ) => self.rest(now, Duration::ZERO),
            (Phase::Idle | Phase::Holding { .. } | Phase::Resting { .. }, _) => {}
        }
    }
}

impl Machine for Tracker {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Ready => self.claim(now, out),
            Input::Gone => self.phase = Phase::Idle,
            Input::Answered { answer } => self.answered(now, answer, out),
        }
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        let lapse = self.leads.map(|(at, _)| Timeout { at, why: "the lease may be over" });
        let next = match self.phase {
            Phase::Holding { renew_at } => Some(Timeout { at: renew_at, why: "renew" }),
            Phase::Resting { until } => Some(Timeout { at: until, why: "claim again" }),
            Phase::Idle | Phase::Claiming { .. } | Phase::Waiting => None,
        };
        Timeout::earlier(lapse, next)
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.leads.is_some_and(|(until, _)| until <= now) {
            self.follow(out);
        }
        match self.phase {
            Phase::Holding { renew_at: at } | Phase::Resting { until: at } if at <= now => {
                self.claim(now, out);
            }
            Phase::Idle
            | Phase::Claiming { .. }
            | Phase::Holding { .. }
            | Phase::Waiting
            | Phase::Resting { .. } => {}
        }
    }
}
