//! One client: it finds a controller, logs in, keeps the connection alive, and asks.
//!
//! Serves agents and users alike: a unit's agent has a [`tracker`] for its lease; a
//! tool hands it asks of its own. Every ask ends in exactly one answer: one that had left when the
//! connection broke is [`Answer::Unknown`], one that never left by its deadline is
//! [`Answer::Expired`].

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::Machine;
use crate::controller::Request;
use crate::dialer::{self, Dialer};
use crate::ids::Address;
use crate::queue::Answer;
use crate::seed::Seed;
use crate::time::{Time, Timeout};
use crate::tracker::{self, Tracker};

/// Limits of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How to find a controller.
    pub dialer: dialer::Config,
    /// The lease to strive for, if any.
    pub tracker: Option<tracker::Config>,
    /// Time between two pings: 1 min in Juju.
    pub ping_every: Duration,
    /// Longest wait for the answer to a ping: 30 s in Juju.
    pub ping_within: Duration,
    /// Most asks of the client's user without an answer; more are answered `Overloaded`. Above
    /// zero.
    pub asks_max: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            dialer: dialer::Config::default(),
            tracker: None,
            ping_every: Duration::from_secs(60),
            ping_within: Duration::from_secs(30),
            asks_max: 1_024,
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The client's process is up.
    Started,
    /// The dial has brought a connection.
    Connected,
    /// The dial has failed.
    Failed,
    /// The controller has let the client in; `addresses` is where controllers are.
    LoggedIn { addresses: Vec<Address> },
    /// The controller tells a client that is in where controllers are by this time.
    Told { addresses: Vec<Address> },
    /// The controller does not let the client in; it may say when to come back.
    Refused { retry_after: Duration },
    /// The controller sends the client elsewhere.
    Redirected { to: Vec<Address> },
    /// The connection is gone.
    Disconnected,
    /// The ping was answered.
    Ponged,
    /// The request that was sent under this number was answered.
    Answered { serial: u64, answer: Answer },
    /// The client's user asks; `token` is the user's own name for it, never used twice.
    Asked { token: u64, request: Request, patience: Duration },
    /// The client's process ends.
    Stopped,
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::Started => f.write_str("started"),
            Input::Connected => f.write_str("connected"),
            Input::Failed => f.write_str("failed"),
            Input::LoggedIn { .. } => f.write_str("logged in"),
            Input::Told { addresses } => write!(f, "told of {} addresses", addresses.len()),
            Input::Refused { retry_after } => write!(f, "refused, retry after {retry_after:?}"),
            Input::Redirected { to } => write!(f, "redirected to {} addresses", to.len()),
            Input::Disconnected => f.write_str("disconnected"),
            Input::Ponged => f.write_str("ponged"),
            Input::Answered { serial, answer } => write!(f, "request {serial} answered: {answer}"),
            Input::Asked { token, request, patience } => {
                write!(f, "token {token} asked to {request}, patient for {patience:?}")
            }
            Input::Stopped => f.write_str("stopped"),
        }
    }
}

/// What must be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Open a connection to this address, and say how it went.
    Dial { address: Address },
    /// Log in over the connection, and say how it went.
    Login,
    /// Drop the connection, or the dial under way; nothing more need be said of it.
    Hangup,
    /// Remember beyond the end of this process that controllers are here, in this order; never
    /// nowhere.
    Remember { addresses: Vec<Address> },
    /// Send a ping, and say when it is answered.
    Ping,
    /// Send the request under this number, and say what is answered.
    Send { serial: u64, request: Request, patience: Duration },
    /// Tell the client's user.
    Answer { token: u64, answer: Answer },
    /// From here on the agent leads, with this fencing number, until told otherwise.
    Lead { fence: u64 },
    /// From here on it does not.
    Follow,
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Dial { address } => write!(f, "dial {address}"),
            Output::Login => f.write_str("log in"),
            Output::Hangup => f.write_str("hang up"),
            Output::Remember { addresses } => {
                f.write_str("remember")?;
                addresses.iter().try_for_each(|address| write!(f, " {address}"))
            }
            Output::Ping => f.write_str("ping"),
            Output::Send { serial, request, .. } => write!(f, "send request {serial}: {request}"),
            Output::Answer { token, answer } => write!(f, "answer token {token}: {answer}"),
            Output::Lead { fence } => write!(f, "lead with fence {fence}"),
            Output::Follow => f.write_str("follow"),
        }
    }
}

/// For whom a request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    Tracker,
    User(u64),
}

#[derive(Clone, Debug)]
struct Ask {
    deadline: Time,
    /// Taken out when it is sent; waits for a connection while it is there.
    request: Option<Request>,
    /// Whether it ends by its deadline; a wait for a release does not.
    bounded: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    Down,
    Up { ping_at: Time },
    Pinged { until: Time },
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Agent {
    ping_every: Duration,
    ping_within: Duration,
    asks_max: usize,
    dialer: Dialer,
    tracker: Option<Tracker>,
    line: Line,
    serials: u64,
    /// Requests that were sent over this connection and have no answer yet, in the order of their
    /// numbers. Mostly one or none, for which a tree is a large thing.
    sent: Vec<(u64, For)>,
    /// The user's asks without an answer, and those with a deadline by deadline.
    asks: BTreeMap<u64, Ask>,
    deadlines: BTreeSet<(Time, u64)>,
}

impl Agent {
    /// A client at rest that knows these addresses.
    pub fn new(config: Config, addresses: Vec<Address>, seed: Seed) -> Agent {
        assert!(config.asks_max > 0, "nobody could ever ask");
        Agent {
            ping_every: config.ping_every,
            ping_within: config.ping_within,
            asks_max: config.asks_max,
            dialer: Dialer::new(config.dialer, addresses, seed),
            tracker: config.tracker.map(|tracker| Tracker::new(tracker, seed)),
            line: Line::Down,
            serials: 0,
            sent: Vec::new(),
            asks: BTreeMap::new(),
            deadlines: BTreeSet::new(),
        }
    }

    /// Whether a controller has let the client in.
    pub fn logged_in(&self) -> bool {
        self.line != Line::Down
    }

    /// Whether the agent leads.
    pub fn leading(&self) -> bool {
        self.tracker.as_ref().is_some_and(Tracker::leading)
    }

    /// Whether the agent waits for another to release the lease.
    pub fn waiting(&self) -> bool {
        self.tracker.as_ref().is_some_and(Tracker::waiting)
    }

    /// Where controllers are, as far as known.
    pub fn addresses(&self) -> &[Address] {
        self.dialer.addresses()
    }

    /// How many random words this client has drawn.
    pub fn drawn(&self) -> u64 {
        self.dialer.drawn() + self.tracker.as_ref().map_or(0, Tracker::drawn)
    }

    fn dial(&mut self, now: Time, input: dialer::Input, out: &mut Vec<Output>) {
        let mut orders = Vec::new();
        self.dialer.handle(now, input, &mut orders);
        out.extend(orders.into_iter().map(Output::from));
    }

    fn track(&mut self, now: Time, input: tracker::Input, out: &mut Vec<Output>) {
        let Some(tracker) = &mut self.tracker else { return };
        let mut orders = Vec::new();
        tracker.handle(now, input, &mut orders);
        self.tracked(orders, out);
    }

    fn tracked(&mut self, orders: Vec<tracker::Output>, out: &mut Vec<Output>) {
        for order in orders {
            match order {
                tracker::Output::Ask { request, patience } => {
                    self.send(For::Tracker, request, patience, out);
                }
                tracker::Output::Lead { fence } => out.push(Output::Lead { fence }),
                tracker::Output::Follow => out.push(Output::Follow),
            }
        }
    }

    fn send(&mut self, whom: For, request: Request, patience: Duration, out: &mut Vec<Output>) {
        self.serials += 1;
        self.sent.push((self.serials, whom));
        out.push(Output::Send { serial: self.serials, request, patience });
    }

    /// Sends whatever waited for a connection.
    fn send_waiting(&mut self, now: Time, out: &mut Vec<Output>) {
        let waiting: Vec<(u64, Request, Duration)> = self
            .asks
            .iter_mut()
            .filter_map(|(token, ask)| {
                ask.request.take().map(|request| (*token, request, ask.deadline.since(now)))
            })
            .collect();
        for (token, request, patience) in waiting {
            self.send(For::User(token), request, patience, out);
        }
    }

    fn asked(
        &mut self,
        now: Time,
        token: u64,
        request: Request,
        patience: Duration,
        out: &mut Vec<Output>,
    ) {
        assert!(!self.asks.contains_key(&token), "an ask's name is never used twice");
        if self.asks.len() >= self.asks_max {
            let retry_after = Duration::from_secs(1);
            out.push(Output::Answer { token, answer: Answer::Overloaded { retry_after } });
            return;
        }
        let deadline = now + patience;
        let bounded = match &request {
            Request::Apply(_) => true,
            Request::Wait(_) => false,
        };
        if bounded {
            self.deadlines.insert((deadline, token));
        }
        self.asks.insert(token, Ask { deadline, request: Some(request), bounded });
        if self.logged_in() {
            self.send_waiting(now, out);
        }
    }

    fn answer(&mut self, token: u64, answer: Answer, out: &mut Vec<Output>) {
        let Some(ask) = self.asks.remove(&token) else { return };
        if ask.bounded {
            self.deadlines.remove(&(ask.deadline, token));
        }
        out.push(Output::Answer { token, answer });
    }

    fn answered(&mut self, now: Time, serial: u64, answer: Answer, out: &mut Vec<Output>) {
        let Ok(place) = self.sent.binary_search_by_key(&serial, |(serial, _)| *serial) else {
            return;
        };
        match self.sent.remove(place).1 {
            For::Tracker => self.track(now, tracker::Input::Answered { answer }, out),
            For::User(token) => self.answer(token, answer, out),
        }
    }

    /// The line is down: what was sent is unknown, and the tracker has nobody to ask.
    fn cut(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.line == Line::Down {
            return;
        }
        self.line = Line::Down;
        for (_, whom) in core::mem::take(&mut self.sent) {
            match whom {
                For::Tracker => {}
                For::User(token) => self.answer(token, Answer::Unknown, out),
            }
        }
        self.track(now, tracker::Input::Gone, out);
    }
}

impl From<dialer::Output> for Output {
    fn from(order: dialer::Output) -> Output {
        match order {
            dialer::Output::Dial { address } => Output::Dial { address },
            dialer::Output::Hangup => Output::Hangup,
            dialer::Output::Remember { addresses } => Output::Remember { addresses },
        }
    }
}

impl Machine for Agent {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Started => self.dial(now, dialer::Input::Started, out),
            Input::Connected => {
                self.dial(now, dialer::Input::Connected, out);
                out.extend(self.dialer.greeting().then_some(Output::Login));
            }
            Input::Failed => self.dial(now, dialer::Input::Failed, out),
            Input::LoggedIn { .. } if !self.dialer.greeting() => {}
            Input::LoggedIn { addresses } => {
                self.dial(now, dialer::Input::LoggedIn { addresses }, out);
                self.line = Line::Up { ping_at: now + self.ping_every };
                self.send_waiting(now, out);
                self.track(now, tracker::Input::Ready, out);
            }
            Input::Told { addresses } => {
                self.dial(now, dialer::Input::Told { addresses }, out);
            }
            Input::Refused { retry_after } => {
                self.dial(now, dialer::Input::Refused { retry_after }, out);
            }
            Input::Redirected { to } => {
                self.cut(now, out);
                self.dial(now, dialer::Input::Redirected { to }, out);
            }
            Input::Disconnected => {
                self.cut(now, out);
                self.dial(now, dialer::Input::Disconnected, out);
            }
            Input::Ponged => {
                if let Line::Pinged { .. } = self.line {
                    self.line = Line::Up { ping_at: now + self.ping_every };
                }
            }
            Input::Answered { serial, answer } => self.answered(now, serial, answer, out),
            Input::Asked { token, request, patience } => {
                self.asked(now, token, request, patience, out);
            }
            Input::Stopped => {
                self.cut(now, out);
                self.dial(now, dialer::Input::Stopped, out);
                while let Some((token, _)) = self.asks.first_key_value() {
                    self.answer(*token, Answer::Cancelled, out);
                }
            }
        }
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        let ping = match self.line {
            Line::Down => None,
            Line::Up { ping_at } => Some(Timeout { at: ping_at, why: "ping" }),
            Line::Pinged { until } => Some(Timeout { at: until, why: "no pong" }),
        };
        let ask =
            self.deadlines.first().map(|(at, _)| Timeout { at: *at, why: "an ask's deadline" });
        let tracker = self.tracker.as_ref().and_then(Machine::poll_timeout);
        [self.dialer.poll_timeout(), tracker, ping, ask].into_iter().fold(None, Timeout::earlier)
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Output>) {
        match self.line {
            Line::Up { ping_at } if ping_at <= now => {
                self.line = Line::Pinged { until: now + self.ping_within };
                out.push(Output::Ping);
            }
            Line::Pinged { until } if until <= now => {
                out.push(Output::Hangup);
                self.cut(now, out);
                self.dial(now, dialer::Input::Disconnected, out);
            }
            Line::Down | Line::Up { .. } | Line::Pinged { .. } => {}
        }
        while let Some(&(deadline, token)) = self.deadlines.first() {
            if deadline > now {
                break;
            }
            let unsent = self.asks[&token].request.is_some();
            self.answer(token, if unsent { Answer::Expired } else { Answer::Unknown }, out);
        }
        let mut orders = Vec::new();
        self.dialer.handle_timeout(now, &mut orders);
        out.extend(orders.into_iter().map(Output::from));
        let mut orders = Vec::new();
        if let Some(tracker) = &mut self.tracker {
            tracker.handle_timeout(now, &mut orders);
        }
        self.tracked(orders, out);
    }
}
