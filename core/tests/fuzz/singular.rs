//! The responsible flag.
//!
//! The table of its world grants, refuses and forgets as it likes; what the machine may believe is
//! worked out from the moments of asking alone.

use std::time::Duration;

use portcullis_core::controller::Request;
use portcullis_core::lease::{Done, Key, Operation, Refusal};
use portcullis_core::queue::Answer;
use portcullis_core::singular::{Config, Input, Output, Singular};
use portcullis_core::{GlobalTime, Machine, Rng, Seed, Time};

use crate::world::{World, run};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Claim(Time),
    Extend(Time),
    Revoke,
    Wait,
}

struct Service {
    config: Config,
    ready: bool,
    ended: bool,
    left: bool,
    asked: Option<Asked>,
    /// Up to when the machine has been promised the lease, and under which fence.
    surely_until: Time,
    fence: u64,
    /// The flag: its fence, and when what runs must have ended.
    raised: Option<(u64, Time)>,
    /// The highest fence under which anything ran.
    ran: u64,
    /// Whether the table may hold on to a grant.
    granted: bool,
}

impl Service {
    fn grant(&mut self, asked_at: Time) -> Answer {
        self.granted = true;
        self.surely_until = asked_at + self.config.duration;
        let done = Done::Granted { fence: self.fence, expiry: GlobalTime(1) };
        Answer::Done { index: 1, done }
    }

    fn lost(&mut self, refusal: Refusal) -> Answer {
        self.granted = false;
        self.surely_until = Time(0);
        // Whoever has it next has a higher fence, and so has this one after it.
        self.fence += 2;
        Answer::Refused { index: 1, refusal }
    }

    fn neither(rng: &mut Rng) -> Answer {
        match rng.below(5) {
            0 => Answer::Overloaded { retry_after: Duration::from_millis(rng.below(9_000)) },
            1 => Answer::NotLeader { leader: None },
            2 => Answer::Expired,
            3 => Answer::Cancelled,
            _ => Answer::Unknown,
        }
    }

    fn answer(&mut self, asked: Asked, rng: &mut Rng) -> Answer {
        let held = Refusal::Held { holder: "other".into(), expiry: GlobalTime(1) };
        match (asked, rng.below(6)) {
            (Asked::Claim(at) | Asked::Extend(at), 0..3) => self.grant(at),
            (Asked::Claim(_), 3) => self.lost(held),
            (Asked::Extend(_), 3) => self.lost(Refusal::NotHeld),
            (Asked::Revoke, 0..4) => {
                self.granted = false;
                Answer::Done { index: 1, done: Done::Revoked }
            }
            (Asked::Wait, 0..4) => Answer::Released,
            (Asked::Claim(_) | Asked::Extend(_) | Asked::Revoke | Asked::Wait, _) => {
                Service::neither(rng)
            }
        }
    }
}

impl World for Service {
    type Machine = Singular;

    fn new(rng: &mut Rng) -> (Service, Singular) {
        let key = Key::new("n", "m", "l");
        let duration = Duration::from_secs(rng.below(60) + 2);
        let mut config = Config::new(key, "x".into(), duration);
        config.stop_within = duration * rng.below(40) as u32 / 100;
        assert_eq!(config.fault(), None);
        let world = Service {
            config: config.clone(),
            ready: false,
            ended: false,
            left: false,
            asked: None,
            surely_until: Time(0),
            fence: 1,
            raised: None,
            ran: 0,
            granted: false,
        };
        (world, Singular::new(config, Seed(rng.draw())))
    }

    fn draw(&mut self, _: Time, rng: &mut Rng) -> Option<Input> {
        match rng.below(400) {
            0 => {
                self.ended = true;
                Some(Input::Ended)
            }
            1..20 => {
                self.ready = true;
                Some(Input::Ready)
            }
            20..240 => {
                let asked = self.asked.take()?;
                Some(Input::Answered { answer: self.answer(asked, rng) })
            }
            _ => None,
        }
    }

    fn see(&mut self, now: Time, orders: Vec<Output>) {
        for order in orders {
            assert!(!self.left, "ordered after leaving: {order}");
            match order {
                Output::Ask { request, .. } => {
                    let over = self.ended && self.asked == Some(Asked::Wait);
                    assert!(self.asked.is_none() || over, "one ask at a time");
                    let asked = match request {
                        Request::Wait(_) => Asked::Wait,
                        Request::Apply(Operation::Claim { .. }) => Asked::Claim(now),
                        Request::Apply(Operation::Extend { .. }) => Asked::Extend(now),
                        Request::Apply(Operation::Revoke { .. }) => Asked::Revoke,
                        Request::Apply(operation) => panic!("what for: {operation}"),
                    };
                    assert_eq!(asked == Asked::Revoke, self.ended, "{asked:?}");
                    self.asked = Some(asked);
                }
                Output::Raise { fence, until } => {
                    assert_eq!(self.raised.replace((fence, until)), None, "raised twice");
                    assert!(fence >= self.ran, "the fence fell");
                    self.ran = fence;
                }
                Output::Prolong { until } => {
                    let (_, before) = self.raised.as_mut().expect("nothing to prolong");
                    assert!(until > *before, "prolonged to an earlier time");
                    *before = until;
                }
                Output::Lower => assert!(self.raised.take().is_some(), "lowered twice"),
                Output::Leave => {
                    self.left = true;
                    assert!(self.raised.is_none(), "left with the flag up");
                }
            }
        }
    }

    fn check(&self, now: Time, machine: &Singular) {
        assert_eq!(machine.fence(), self.raised.map(|(fence, _)| fence));
        if let Some((fence, until)) = self.raised {
            assert_eq!(fence, self.fence);
            assert!(until <= self.surely_until, "runs on for longer than it holds");
            assert!(now + self.config.stop_within < until, "no time is left to end in");
            assert!(!self.ended, "raised after the end");
        }
        let due = machine.poll_timeout().is_some();
        let busy = self.asked.is_some() || due || !self.ready || self.left;
        assert!(busy || self.ended, "it has given up");
    }

    fn closing(&mut self) -> Vec<Input> {
        self.ended = true;
        let unknown = || Input::Answered { answer: Answer::Unknown };
        self.asked = None;
        vec![Input::Ended, unknown(), unknown()]
    }

    fn settled(&self, machine: &Singular) {
        assert!(self.left, "it never left");
        assert_eq!(machine.fence(), None);
        assert_eq!(machine.poll_timeout(), None);
    }
}

#[test]
fn singular() {
    run::<Service>("singular");
}
