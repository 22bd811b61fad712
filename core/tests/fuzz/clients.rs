//! Clock, dialer and tracker.

use std::time::Duration;

use portcullis_core::clock::{self, Clock};
use portcullis_core::controller::Request;
use portcullis_core::dialer::{self, Dialer, Manner};
use portcullis_core::lease::{Done, Key, Refusal};
use portcullis_core::queue::Answer;
use portcullis_core::singular::SKEW;
use portcullis_core::tracker::{self, Tracker};
use portcullis_core::{Address, GlobalTime, Machine as _, Rng, Seed, Time, backoff};

use crate::world::{World, chance, run};

struct Office {
    config: clock::Config,
    leads: bool,
    /// When the log last had an entry, or was told to have one.
    moved_at: Time,
}

impl World for Office {
    type Machine = Clock;

    fn new(_: &mut Rng) -> (Office, Clock) {
        let config = clock::Config::default();
        (Office { config: config.clone(), leads: false, moved_at: Time(0) }, Clock::new(config))
    }

    fn draw(&mut self, now: Time, rng: &mut Rng) -> Option<clock::Input> {
        match rng.below(6) {
            0 => {
                self.leads = true;
                Some(clock::Input::Led { global: GlobalTime(rng.below(1_000)) })
            }
            1 => {
                self.leads = false;
                Some(clock::Input::Followed)
            }
            _ => {
                self.moved_at = now;
                Some(clock::Input::Proposed)
            }
        }
    }

    fn see(&mut self, now: Time, orders: Vec<clock::Output>) {
        for clock::Output::Advance in orders {
            assert!(self.leads, "a follower moves the clock");
            self.moved_at = now;
        }
    }

    fn check(&self, now: Time, _: &Clock) {
        let still = now.since(self.moved_at);
        assert!(!self.leads || still < self.config.interval, "the clock stood for {still:?}");
    }

    fn closing(&mut self) -> Vec<clock::Input> {
        self.leads = false;
        vec![clock::Input::Followed]
    }

    fn settled(&self, machine: &Clock) {
        assert_eq!(portcullis_core::Machine::poll_timeout(machine), None);
    }
}

#[test]
fn clock() {
    run::<Office>("clock");
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Line {
    Down,
    Dialed,
    Open,
    LoggedIn,
}

struct Network {
    line: Line,
    started: bool,
    dials: Vec<Time>,
    gap: Duration,
    redirects_max: u32,
    /// Where the next process would look.
    remembered: Vec<Address>,
}

impl Network {
    fn addresses(rng: &mut Rng) -> Vec<Address> {
        (0..rng.below(4)).map(|_| Address::new(&format!("host{}:1", rng.below(6)))).collect()
    }
}

impl World for Network {
    type Machine = Dialer;

    fn new(rng: &mut Rng) -> (Network, Dialer) {
        let config = dialer::Config {
            manner: if chance(50, rng) { Manner::Agent } else { Manner::User },
            backoff: backoff::Config {
                first: Duration::from_millis(rng.below(3_000) + 500),
                most: Duration::from_secs(20),
                growth: 200,
            },
            redirects_max: rng.below(4) as u32,
            ..dialer::Config::default()
        };
        let addresses = ["a:1", "b:1", "c:1"].map(Address::new).to_vec();
        let world = Network {
            line: Line::Down,
            started: false,
            dials: Vec::new(),
            gap: config.gap,
            redirects_max: config.redirects_max,
            remembered: addresses.clone(),
        };
        (world, Dialer::new(config, addresses, Seed(rng.draw())))
    }

    fn draw(&mut self, _: Time, rng: &mut Rng) -> Option<dialer::Input> {
        use dialer::Input;
        if !self.started || chance(3, rng) {
            self.started = true;
            return Some(Input::Started);
        }
        match (rng.below(10), self.line) {
            (1, _) if chance(20, rng) => {
                self.started = false;
                Some(Input::Stopped)
            }
            (1..5, Line::Dialed) => {
                self.line = Line::Open;
                Some(Input::Connected)
            }
            (5..7, Line::Dialed) => {
                self.line = Line::Down;
                Some(Input::Failed)
            }
            (1..5, Line::Open) => {
                self.line = Line::LoggedIn;
                Some(Input::LoggedIn { addresses: Network::addresses(rng) })
            }
            (5, Line::Open) => {
                Some(Input::Refused { retry_after: Duration::from_millis(rng.below(9_000)) })
            }
            (6..8, Line::Open | Line::LoggedIn) => {
                Some(Input::Redirected { to: Network::addresses(rng) })
            }
            (8, Line::Open | Line::LoggedIn) => {
                self.line = Line::Down;
                Some(Input::Disconnected)
            }
            (9, Line::LoggedIn) => Some(Input::Told { addresses: Network::addresses(rng) }),
            // What comes late, or out of turn, is harmless.
            (9, Line::Down) => Some(match rng.below(7) {
                0 => Input::Connected,
                1 => Input::Failed,
                2 => Input::LoggedIn { addresses: Network::addresses(rng) },
                3 => Input::Refused { retry_after: Duration::ZERO },
                4 => Input::Redirected { to: Network::addresses(rng) },
                5 => Input::Told { addresses: Network::addresses(rng) },
                _ => Input::Disconnected,
            }),
            (_, Line::Down | Line::Dialed | Line::Open | Line::LoggedIn) => None,
        }
    }

    fn see(&mut self, now: Time, orders: Vec<dialer::Output>) {
        for order in orders {
            match order {
                dialer::Output::Dial { .. } => {
                    assert_eq!(self.line, Line::Down, "one dial at a time");
                    assert!(self.started, "nobody wants a connection");
                    self.line = Line::Dialed;
                    self.dials.push(now);
                }
                dialer::Output::Hangup => {
                    assert_ne!(self.line, Line::Down, "there is nothing to drop");
                    self.line = Line::Down;
                }
                dialer::Output::Remember { addresses } => {
                    assert_eq!(self.line, Line::LoggedIn, "nobody has told of any");
                    assert_ne!(self.remembered, addresses, "that is remembered already");
                    self.remembered = addresses;
                }
            }
        }
    }

    fn check(&self, _: Time, machine: &Dialer) {
        assert!(!machine.addresses().is_empty(), "all addresses are forgotten");
        assert_eq!(machine.addresses(), self.remembered, "what is known is remembered");
        assert_eq!(machine.greeting(), self.line == Line::Open);
        // However it is redirected and refused, dials come no faster than one a gap, but for those
        // redirects that are followed at once and the lucky draws of a backoff.
        let window = self.redirects_max as usize + 2;
        let lucky = self.dials.windows(window * 4);
        let crowded = lucky.filter(|dials| dials[dials.len() - 1].since(dials[0]) < self.gap);
        assert_eq!(crowded.count(), 0, "a storm of dials");
    }

    fn closing(&mut self) -> Vec<dialer::Input> {
        self.started = false;
        vec![dialer::Input::Stopped]
    }

    fn settled(&self, machine: &Dialer) {
        assert_eq!(self.line, Line::Down, "a line was left open");
        assert_eq!(portcullis_core::Machine::poll_timeout(machine), None);
    }
}

#[test]
fn dialer() {
    run::<Network>("dialer");
}

/// Controllers that send a client round in a circle have it wait in the end.
#[test]
fn nobody_follows_redirects_without_end() {
    crate::mistakes::choose();
    let config = dialer::Config::default();
    let (most, to) = (config.redirects_max, vec![Address::new("a:1")]);
    let (mut machine, mut orders) = (Dialer::new(config, to.clone(), Seed(1)), Vec::new());
    machine.handle(Time(0), dialer::Input::Started, &mut orders);
    let due = |machine: &Dialer| machine.poll_timeout().expect("it dials again");
    let now = due(&machine).at;
    for _ in 0..=most {
        machine.handle_timeout(now, &mut orders);
        machine.handle(now, dialer::Input::Connected, &mut orders);
        machine.handle(now, dialer::Input::Redirected { to: to.clone() }, &mut orders);
    }
    assert_eq!(due(&machine).why, "back off", "{most} redirects are enough");
}

struct Rival {
    config: tracker::Config,
    /// Whether there is a controller, and what was asked of it when.
    ready: bool,
    asked: Option<(bool, Time)>,
    /// Until when the agent may lead, and whether it says that it does.
    surely_until: Time,
    leads: Option<u64>,
    fence: u64,
}

impl Rival {
    fn claim(&mut self, rng: &mut Rng, asked_at: Time) -> Answer {
        match rng.below(6) {
            0..3 => {
                let lasts = self.config.duration - self.config.duration / SKEW;
                self.surely_until = asked_at + lasts;
                self.fence += u64::from(chance(20, rng));
                let done = Done::Granted { fence: self.fence, expiry: GlobalTime(1) };
                Answer::Done { index: 1, done }
            }
            3 => {
                self.surely_until = Time(0);
                let refusal = Refusal::Held { holder: "x/1".into(), expiry: GlobalTime(1) };
                Answer::Refused { index: 1, refusal }
            }
            _ => Rival::neither(rng),
        }
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
}

impl World for Rival {
    type Machine = Tracker;

    fn new(rng: &mut Rng) -> (Rival, Tracker) {
        let key = Key::new("n", "m", "l");
        let mut config = tracker::Config::new(key, "x/0".into());
        config.duration = Duration::from_secs(rng.below(60) + 2);
        config.renew_after = config.duration / 2;
        let world = Rival {
            config: config.clone(),
            ready: false,
            asked: None,
            surely_until: Time(0),
            leads: None,
            fence: 1,
        };
        (world, Tracker::new(config, Seed(rng.draw())))
    }

    fn draw(&mut self, _: Time, rng: &mut Rng) -> Option<tracker::Input> {
        match (rng.below(12), self.ready) {
            (0..6, true) => {
                let (claims, asked_at) = self.asked.take()?;
                let answer = match (claims, chance(70, rng)) {
                    (true, _) => self.claim(rng, asked_at),
                    (false, true) => Answer::Released,
                    (false, false) => Rival::neither(rng),
                };
                Some(tracker::Input::Answered { answer })
            }
            (6, true) => {
                (self.ready, self.asked) = (false, None);
                Some(tracker::Input::Gone)
            }
            (_, true) => None,
            (0..4, false) => {
                self.ready = true;
                Some(tracker::Input::Ready)
            }
            (_, false) => None,
        }
    }

    fn see(&mut self, now: Time, orders: Vec<tracker::Output>) {
        for order in orders {
            match order {
                tracker::Output::Ask { request, .. } => {
                    assert!(self.ready, "nobody is there to ask");
                    assert_eq!(self.asked, None, "one ask at a time");
                    let claims = match request {
                        Request::Apply(_) => true,
                        Request::Wait(_) => false,
                    };
                    self.asked = Some((claims, now));
                }
                tracker::Output::Lead { fence } => {
                    assert_ne!(self.leads.replace(fence), Some(fence), "told to lead twice");
                    assert_eq!(fence, self.fence);
                }
                tracker::Output::Follow => {
                    assert!(self.leads.take().is_some(), "told to follow twice");
                }
            }
        }
    }

    fn check(&self, now: Time, machine: &Tracker) {
        assert_eq!(machine.leading(), self.leads.is_some());
        assert!(!machine.leading() || now < self.surely_until, "leads without a lease");
        assert!(machine.leading() || now >= self.surely_until, "holds without leading");
        let due = portcullis_core::Machine::poll_timeout(machine).is_some();
        assert!(!self.ready || self.asked.is_some() || due, "it has given up");
    }

    fn closing(&mut self) -> Vec<tracker::Input> {
        (self.ready, self.asked) = (false, None);
        vec![tracker::Input::Gone]
    }

    fn settled(&self, machine: &Tracker) {
        assert!(!machine.leading(), "leads for ever");
    }
}

#[test]
fn tracker() {
    run::<Rival>("tracker");
}
