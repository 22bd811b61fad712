//! A whole client against a controller that may do anything.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_core::agent::{Agent, Config, Input, Output};
use portcullis_core::controller::Request;
use portcullis_core::lease::{Done, Key, Refusal};
use portcullis_core::queue::Answer;
use portcullis_core::{Address, GlobalTime, Rng, Seed, Time, backoff, dialer, tracker};

use crate::world::{Ledger, World, chance, draw_key, draw_of, draw_operation, draw_patience, run};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Line {
    Down,
    Dialed,
    Open,
    LoggedIn,
}

struct Server {
    config: Config,
    key: Key,
    started: bool,
    line: Line,
    tokens: Ledger<u64>,
    token: u64,
    /// Every token's deadline, unless it is a wait.
    deadlines: BTreeMap<u64, Time>,
    /// What came over this connection and has no answer: for the lease, or for somebody else.
    requests: BTreeMap<u64, (Request, Time)>,
    /// Requests of lines that are down; a late answer to one of them must do nothing.
    stale: Vec<u64>,
    surely_until: Time,
    leads: bool,
    pinged_at: Option<Time>,
}

impl World for Server {
    type Machine = Agent;

    fn new(rng: &mut Rng) -> (Server, Agent) {
        let backoff = backoff::Config {
            first: Duration::from_millis(500),
            most: Duration::from_secs(8),
            growth: 200,
        };
        let key = Key::new("n", "m", "own");
        let tracker = tracker::Config::new(key.clone(), "x/0".into());
        let config = Config {
            dialer: dialer::Config { backoff, ..dialer::Config::default() },
            tracker: chance(70, rng).then_some(tracker),
            asks_max: rng.below(4) as usize + 1,
            ..Config::default()
        };
        let world = Server {
            config: config.clone(),
            key,
            started: false,
            line: Line::Down,
            tokens: Ledger::new(),
            token: 0,
            deadlines: BTreeMap::new(),
            requests: BTreeMap::new(),
            stale: Vec::new(),
            surely_until: Time(0),
            leads: false,
            pinged_at: None,
        };
        let addresses = ["a:1", "b:1"].map(Address::new).to_vec();
        (world, Agent::new(config, addresses, Seed(rng.draw())))
    }

    fn draw(&mut self, now: Time, rng: &mut Rng) -> Option<Input> {
        if !self.started {
            self.started = true;
            return Some(Input::Started);
        }
        match (rng.below(12), self.line) {
            (0..3, _) => Some(self.ask(now, rng)),
            (3..7, Line::Dialed) if chance(70, rng) => {
                self.line = Line::Open;
                Some(Input::Connected)
            }
            (3..7, Line::Dialed) => {
                self.line = Line::Down;
                Some(Input::Failed)
            }
            (3..6, Line::Open) => {
                self.line = Line::LoggedIn;
                Some(Input::LoggedIn { addresses: vec![Address::new("c:1")] })
            }
            (6, Line::Open) => Some(Input::Refused { retry_after: Duration::from_secs(1) }),
            (3..8, Line::LoggedIn) => self.answer(rng),
            (8, Line::LoggedIn) => self.pinged_at.take().map(|_| Input::Ponged),
            (9, Line::LoggedIn) if chance(30, rng) => {
                let addresses = ["c:1", "d:1"].map(Address::new);
                Some(Input::Told { addresses: addresses[..rng.below(3) as usize].to_vec() })
            }
            (9, Line::Open | Line::LoggedIn) if chance(30, rng) => {
                self.hang_up_quietly();
                Some(Input::Disconnected)
            }
            (10, Line::Open | Line::LoggedIn) if chance(20, rng) => {
                Some(Input::Redirected { to: vec![Address::new("d:1")] })
            }
            (11, _) => {
                let serial = self.stale.pop()?;
                Some(Input::Answered { serial, answer: granted() })
            }
            (_, Line::Down | Line::Dialed | Line::Open | Line::LoggedIn) => None,
        }
    }

    fn see(&mut self, now: Time, orders: Vec<Output>) {
        for order in orders {
            match order {
                Output::Dial { .. } => {
                    assert_eq!(self.line, Line::Down, "one line at a time");
                    self.line = Line::Dialed;
                }
                Output::Login => assert_eq!(self.line, Line::Open, "there is no line"),
                Output::Hangup => {
                    assert_ne!(self.line, Line::Down, "there is nothing to drop");
                    self.hang_up_quietly();
                }
                Output::Remember { addresses } => {
                    assert_eq!(self.line, Line::LoggedIn, "nobody has told of any");
                    assert!(!addresses.is_empty(), "nowhere is nothing to remember");
                }
                Output::Ping => {
                    assert_eq!(self.line, Line::LoggedIn, "there is nobody to ping");
                    assert_eq!(self.pinged_at.replace(now), None, "one ping at a time");
                }
                Output::Send { serial, request, .. } => {
                    assert_eq!(self.line, Line::LoggedIn, "there is nobody to ask");
                    let twice = self.requests.insert(serial, (request, now));
                    assert!(twice.is_none(), "request {serial} was sent twice");
                }
                Output::Answer { token, .. } => {
                    self.tokens.answer(token);
                    self.deadlines.remove(&token);
                }
                Output::Lead { .. } => self.leads = true,
                Output::Follow => self.leads = false,
            }
        }
    }

    fn check(&self, now: Time, machine: &Agent) {
        assert_eq!(machine.logged_in(), self.line == Line::LoggedIn);
        assert_eq!(machine.leading(), self.leads);
        assert!(!self.leads || now < self.surely_until, "leads without a lease");
        assert!(self.tokens.open().len() <= self.config.asks_max, "too many asks");
        assert!(self.deadlines.values().all(|deadline| *deadline > now), "past its deadline");
        let within = self.config.ping_within;
        assert!(self.pinged_at.is_none_or(|at| now.since(at) < within), "the line is dead");
    }

    fn closing(&mut self) -> Vec<Input> {
        vec![Input::Stopped]
    }

    fn settled(&self, _: &Agent) {
        assert!(self.tokens.is_settled(), "never answered: {:?}", self.tokens.open());
        assert_eq!(self.line, Line::Down, "a line was left open");
        assert!(!self.leads, "leads for ever");
    }
}

impl Server {
    fn ask(&mut self, now: Time, rng: &mut Rng) -> Input {
        self.token += 1;
        let (token, patience) = (self.token, draw_patience(rng));
        self.tokens.owe(token);
        let request = if chance(70, rng) {
            self.deadlines.insert(token, now + patience);
            Request::Apply(draw_operation(rng))
        } else {
            Request::Wait(draw_key(rng))
        };
        Input::Asked { token, request, patience }
    }

    fn answer(&mut self, rng: &mut Rng) -> Option<Input> {
        let serials = self.requests.keys().copied().collect();
        let serial = draw_of(&serials, rng)?;
        let (request, asked_at) = self.requests.remove(&serial)?;
        let answer = match request {
            Request::Apply(operation) => match rng.below(4) {
                0..2 => {
                    if *operation.key() == self.key {
                        self.surely_until = asked_at + Duration::from_secs(60);
                    }
                    granted()
                }
                2 => {
                    let refusal = Refusal::Held { holder: "x/1".into(), expiry: GlobalTime(1) };
                    Answer::Refused { index: 1, refusal }
                }
                _ => Answer::Unknown,
            },
            Request::Wait(_) => Answer::Released,
        };
        Some(Input::Answered { serial, answer })
    }

    fn hang_up_quietly(&mut self) {
        self.line = Line::Down;
        self.pinged_at = None;
        self.stale.extend(std::mem::take(&mut self.requests).into_keys());
    }
}

fn granted() -> Answer {
    Answer::Done { index: 1, done: Done::Granted { fence: 1, expiry: GlobalTime(1) } }
}

#[test]
fn agent() {
    run::<Server>("agent");
}
