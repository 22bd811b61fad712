//! Whether this process may run what must run on exactly one controller: the responsible flag.
//!
//! Claims a lease and extends it, and raises a flag only while it surely holds (seed 003: the worker
//! "only sets the flag if it is the current lease holder"). How long that is, is counted from the
//! *asking* by the own clock alone: a grant that took its time leaves that much less, and when
//! answers stop the flag is lowered without one. It goes down `stop_within` before the lease may be
//! over, so that whatever runs under it has time to end. The fence says which grant it runs under.
//!
//! Unlike a [`tracker`](crate::tracker), which renews by claiming, it extends: if the lease went to
//! somebody else in between, that is refused, and never mistaken for having held on.
//!
//! ```text
//!          Ready             Granted: Raise             renewal due
//!   Idle ────────▶ Asking ────────────────▶ Holding ──────────────────▶ Asking
//!                  ▲  ▲ │ Held                                    (the flag stays)
//!        Released  │  │ └──────▶ Waiting ─────┐
//!        ──────────┼──┼───────────────────────┘
//!                  │  └── timeout ── Resting ◀── any other answer
//!
//!   any ── Ended ──▶ Leaving (revokes what may be held) ──▶ Left
//! ```

mod words;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::Machine;
use crate::backoff::{self, Backoff};
use crate::controller::Request;
use crate::lease::{Done, Key, Operation, Refusal};
use crate::mistake::Mistake;
use crate::queue::Answer;
use crate::seed::{Rng, Seed};
use crate::time::{Time, Timeout};

pub use words::{Input, Output};

/// The part of a lease's duration, as one in so many, that is never counted on: two machines' clocks
/// may run apart by as much. Crystals differ by less than one in 1,000.
pub const SKEW: u32 = 100;

/// What to be responsible for, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The lease.
    pub key: Key,
    /// Who is to hold it. Two that go by one name are one holder to the table: both would be
    /// granted it, so each process needs a name of its own.
    pub holder: Arc<str>,
    /// For how long to claim: a minute in Juju, which allows 1 s to 1 min.
    pub duration: Duration,
    /// When to extend, counted from the asking: after half the duration in Juju. Below what is left
    /// of `duration` without `stop_within`.
    pub renew_after: Duration,
    /// How long before the lease may be over the flag goes down: what runs under it has so long to
    /// end. Below `duration`.
    pub stop_within: Duration,
    /// How long to wait for one answer.
    pub patience: Duration,
    /// Wait after an answer that settles nothing.
    pub backoff: backoff::Config,
}

/// Juju's duration of the leases behind its single workers; it extends them after half of it.
pub const DURATION: Duration = Duration::from_secs(60);

impl Config {
    /// A lease of this duration: extended after half of it, with a sixth of it to end what runs.
    pub fn new(key: Key, holder: Arc<str>, duration: Duration) -> Config {
        let first = (duration / 300).max(Duration::from_millis(1));
        Config {
            key,
            holder,
            duration,
            renew_after: duration / 2,
            stop_within: duration / 6,
            patience: duration / 6,
            backoff: backoff::Config { first, most: first * 25, growth: 200 },
        }
    }

    /// What is wrong with these times, in words for whoever chose them.
    pub fn fault(&self) -> Option<&'static str> {
        let lasts = self.duration - self.duration / SKEW;
        if self.duration < Duration::from_millis(100) {
            Some("a lease shorter than 100ms is over before it is granted")
        } else if self.stop_within >= lasts {
            Some("the time to stop in must be below the lease's duration")
        } else if self.renew_after >= lasts - self.stop_within {
            Some("the lease must be extended before it is time to stop")
        } else if self.patience.is_zero() {
            Some("no answer comes in no time")
        } else {
            None
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Asking { asked_at: Time },
    Holding { renew_at: Time },
    Waiting,
    Resting { until: Time },
    Leaving,
    Left,
}

/// A flag that is raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Raised {
    fence: u64,
    /// When the lease may be over.
    until: Time,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Singular {
    config: Config,
    rng: Rng,
    backoff: Backoff,
    phase: Phase,
    raised: Option<Raised>,
    /// Whether the table may say that this process holds the lease.
    may_hold: bool,
    /// Whether to leave once the ask under way is answered.
    ended: bool,
}

impl Singular {
    /// Somebody who has nobody to ask. The times must be without [`fault`](Config::fault).
    pub fn new(config: Config, seed: Seed) -> Singular {
        assert_eq!(config.fault(), None, "the times contradict each other");
        Singular {
            backoff: Backoff::new(config.backoff.clone()),
            rng: seed.child("singular", 0).rng(),
            config,
            phase: Phase::Idle,
            raised: None,
            may_hold: false,
            ended: false,
        }
    }

    /// The lease that it strives for.
    pub fn key(&self) -> &Key {
        &self.config.key
    }

    /// The fence of the flag, while it is raised.
    pub fn fence(&self) -> Option<u64> {
        self.raised.map(|raised| raised.fence)
    }

    /// Whether another holds the lease, and its release is waited for.
    pub fn waiting(&self) -> bool {
        self.phase == Phase::Waiting
    }

    /// How many random words it has drawn.
    pub fn drawn(&self) -> u64 {
        self.rng.drawn()
    }

    /// Asks for the lease: to hold on while the flag is raised, to get it otherwise.
    fn ask(&mut self, now: Time, out: &mut Vec<Output>) {
        let Config { key, holder, duration, patience, .. } = &self.config;
        let (key, holder, duration) = (key.clone(), holder.clone(), *duration);
        let operation = match self.raised {
            Some(_) => Operation::Extend { key, holder, duration },
            None => Operation::Claim { key, holder, duration },
        };
        self.may_hold = true;
        self.phase = Phase::Asking { asked_at: now };
        out.push(Output::Ask { request: Request::Apply(operation), patience: *patience });
    }

    fn rest(&mut self, now: Time, asked: Duration) {
        let until = now + self.backoff.wait(asked, &mut self.rng);
        self.phase = Phase::Resting { until };
    }

    fn lower(&mut self, out: &mut Vec<Output>) {
        if self.raised.take().is_some() {
            out.push(Output::Lower);
        }
    }

    fn granted(&mut self, now: Time, asked_at: Time, fence: u64, out: &mut Vec<Output>) {
        let Config { duration, renew_after, stop_within, .. } = &self.config;
        let times = 1 + u32::from(Mistake::FlagTooLong.made());
        let until = asked_at + (*duration - *duration / SKEW) * times;
        if until - *stop_within <= now {
            // So slow that nothing may be begun under it. What is raised is lowered by its own time.
            return self.rest(now, Duration::ZERO);
        }
        self.backoff.reset();
        self.phase = Phase::Holding { renew_at: asked_at + *renew_after };
        match self.raised.replace(Raised { fence, until }) {
            Some(before) if before.fence == fence => out.push(Output::Prolong { until }),
            Some(_) => out.extend([Output::Lower, Output::Raise { fence, until }]),
            None => out.push(Output::Raise { fence, until }),
        }
    }

    fn answered(&mut self, now: Time, asked_at: Time, answer: Answer, out: &mut Vec<Output>) {
        match answer {
            Answer::Done { done: Done::Granted { fence, .. }, .. } => {
                self.granted(now, asked_at, fence, out);
            }
            Answer::Refused { refusal: Refusal::Held { .. }, .. } => {
                self.may_hold = false;
                self.backoff.reset();
                self.lower(out);
                self.phase = Phase::Waiting;
                let request = Request::Wait(self.config.key.clone());
                out.push(Output::Ask { request, patience: self.config.patience });
            }
            Answer::Refused { refusal: Refusal::NotHeld, .. } => {
                self.may_hold = false;
                self.lower(out);
                self.ask(now, out);
            }
            Answer::Overloaded { retry_after } => self.rest(now, retry_after),
            Answer::Done { done: Done::Revoked | Done::Pinned | Done::Unpinned, .. }
            | Answer::Refused { refusal: Refusal::Void | Refusal::Full, .. }
            | Answer::Released
            | Answer::NotLeader { .. }
            | Answer::Expired
            | Answer::Cancelled
            | Answer::Unknown => self.rest(now, Duration::ZERO),
        }
    }

    /// Gives up what may be held, once: if that is lost, the lease runs out by itself.
    fn leave(&mut self, out: &mut Vec<Output>) {
        if !self.may_hold {
            self.phase = Phase::Left;
            return out.push(Output::Leave);
        }
        let Config { key, holder, patience, .. } = &self.config;
        let operation = Operation::Revoke { key: key.clone(), holder: holder.clone() };
        self.phase = Phase::Leaving;
        out.push(Output::Ask { request: Request::Apply(operation), patience: *patience });
    }
}

impl Machine for Singular {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        match (input, &self.phase) {
            (Input::Ready, Phase::Idle) => self.ask(now, out),
            (Input::Ready, _) => {}
            // Its answer may be a grant, and that must not be left behind.
            (Input::Ended, Phase::Asking { .. }) => {
                self.ended = true;
                self.lower(out);
            }
            (Input::Ended, Phase::Leaving | Phase::Left) => {}
            (Input::Ended, _) => {
                self.lower(out);
                self.leave(out);
            }
            (Input::Answered { answer }, Phase::Asking { .. }) if self.ended => {
                let held = matches!(answer, Answer::Refused { refusal: Refusal::Held { .. }, .. });
                self.may_hold &= !held;
                self.leave(out);
            }
            (Input::Answered { answer }, &Phase::Asking { asked_at }) => {
                self.answered(now, asked_at, answer, out);
            }
            (Input::Answered { answer: Answer::Released }, Phase::Waiting) => self.ask(now, out),
            (Input::Answered { answer: Answer::Overloaded { retry_after } }, Phase::Waiting) => {
                self.rest(now, retry_after);
            }
            (Input::Answered { .. }, Phase::Waiting) => self.rest(now, Duration::ZERO),
            (Input::Answered { .. }, Phase::Leaving) => {
                self.phase = Phase::Left;
                out.push(Output::Leave);
            }
            (
                Input::Answered { .. },
                Phase::Idle | Phase::Holding { .. } | Phase::Resting { .. } | Phase::Left,
            ) => {}
        }
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        let lower = self.raised.map(|raised| Timeout {
            at: raised.until - self.config.stop_within,
            why: "time to stop, for the lease may soon be over",
        });
        let next = match self.phase {
            Phase::Holding { renew_at } => Some(Timeout { at: renew_at, why: "extend" }),
            Phase::Resting { until } => Some(Timeout { at: until, why: "ask again" }),
            Phase::Idle | Phase::Asking { .. } | Phase::Waiting | Phase::Leaving | Phase::Left => {
                None
            }
        };
        Timeout::earlier(lower, next)
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Output>) {
        let stop_within = self.config.stop_within;
        if self.raised.is_some_and(|raised| raised.until - stop_within <= now) {
            self.lower(out);
        }
        match self.phase {
            Phase::Holding { renew_at: at } | Phase::Resting { until: at } if at <= now => {
                self.ask(now, out);
            }
            Phase::Idle
            | Phase::Asking { .. }
            | Phase::Holding { .. }
            | Phase::Waiting
            | Phase::Resting { .. }
            | Phase::Leaving
            | Phase::Left => {}
        }
    }
}
