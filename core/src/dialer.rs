//! Which controller a client tries next, and when.
//!
//! Seeds 000, 001 and 003: agents try the addresses in random order, shuffled anew for each round;
//! users try the last address that worked first. One dial at a time with a gap between them; a
//! round without success is followed by a [`backoff`], and so is a lost connection,
//! with the very first dial of an agent drawn too, so that a herd that lost its controller together
//! does not come back together. A redirect is followed a bounded number of times.
//!
//! A list of addresses never makes a client forget a good one: an empty list is ignored, and if
//! nobody answers at the addresses that were learned last, the next rounds try those too by which
//! the client got in before. A controller that lags behind may tell a list that is long out of date.
//!
//! ```text
//!          Started             timeout                Connected      LoggedIn
//!  Idle ──────────▶ Pausing ──────────▶ Dialing ────────────▶ Greeting ───────▶ Connected
//!                     ▲  ▲    next address │ Failed, too slow      │ Refused        │
//!                     │  └─────────────────┘                       │                │ Disconnected
//!                     └────────────────────────────────────────────┴────────────────┘
//! ```

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::Machine;
use crate::backoff::{self, Backoff};
use crate::ids::Address;
use crate::mistake::Mistake;
use crate::seed::{Rng, Seed};
use crate::time::{Time, Timeout};

/// Whose manner of dialing it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Random order, shuffled for each round; the first dial waits a drawn time too.
    Agent,
    /// The last address that worked first, then the list's order; the first dial is at once.
    User,
    /// The list's order; the first dial waits a drawn time too. Agents before Juju 2.4 did so, and
    /// can only be steered by the order that controllers tell them (seed 001).
    Listed,
}

/// Limits of dialing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whose manner.
    pub manner: Manner,
    /// Time between two dials of one round: 200 ms for Juju's agents.
    pub gap: Duration,
    /// Longest time for one dial, greeting included: 3 s to dial for Juju's agents.
    pub dial_within: Duration,
    /// Wait after a round without success, a refusal or a loss.
    pub backoff: backoff::Config,
    /// A connection that lasted this long makes the next wait a first one: 1 min in Juju.
    pub steady_after: Duration,
    /// Most redirects followed without a steady connection between them; more count as a failed
    /// round.
    pub redirects_max: u32,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            manner: Manner::Agent,
            gap: Duration::from_millis(200),
            dial_within: Duration::from_secs(10),
            backoff: backoff::Config::default(),
            steady_after: Duration::from_secs(60),
            redirects_max: 5,
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The client wants a connection from here on.
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
    /// The client wants no connection any more.
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
            Input::Stopped => f.write_str("stopped"),
        }
    }
}

/// What must be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Open a connection to this address, and say how it went.
    Dial { address: Address },
    /// Drop the connection, or the dial under way; nothing more need be said of it.
    Hangup,
    /// Remember beyond the end of this process that controllers are here, in this order; never
    /// nowhere.
    Remember { addresses: Vec<Address> },
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Dial { address } => write!(f, "dial {address}"),
            Output::Hangup => f.write_str("hang up"),
            Output::Remember { addresses } => {
                f.write_str("remember")?;
                addresses.iter().try_for_each(|address| write!(f, " {address}"))
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    /// Waiting for the time of the next dial.
    Pausing {
        until: Time,
        why: &'static str,
    },
    /// Waiting for a dial.
    Dialing {
        address: Address,
        until: Time,
    },
    /// Waiting to be let in.
    Greeting {
        address: Address,
        until: Time,
    },
    /// Let in.
    Connected {
        address: Address,
        since: Time,
    },
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Dialer {
    config: Config,
    rng: Rng,
    backoff: Backoff,
    /// Every address known, the last good one first for users.
    addresses: Vec<Address>,
    /// Addresses that are not among those, but were when the client got in by one of them.
    proven: Vec<Address>,
    /// Whether a whole round has failed since the client was last let in.
    lost: bool,
    /// What this round has yet to try, the next one last.
    round: Vec<Address>,
    redirects: u32,
    phase: Phase,
}

impl Dialer {
    /// A client at rest that knows these addresses.
    pub fn new(config: Config, addresses: Vec<Address>, seed: Seed) -> Dialer {
        assert!(!addresses.is_empty(), "a client without addresses can reach nobody");
        Dialer {
            backoff: Backoff::new(config.backoff.clone()),
            config,
            rng: seed.child("dialer", 0).rng(),
            addresses,
            proven: Vec::new(),
            lost: false,
            round: Vec::new(),
            redirects: 0,
            phase: Phase::Idle,
        }
    }

    /// Where controllers are, as far as known; for users the last good one first.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Whether a connection stands that the client has yet to log in over.
    pub fn greeting(&self) -> bool {
        matches!(self.phase, Phase::Greeting { .. })
    }

    /// How many random words this client has drawn.
    pub fn drawn(&self) -> u64 {
        self.rng.drawn()
    }

    fn steady(&self, now: Time, since: Time) -> bool {
        now.since(since) >= self.config.steady_after
    }

    fn new_round(&mut self) {
        self.round = self.addresses.clone();
        if self.lost {
            self.round.extend_from_slice(&self.proven);
        }
        match self.config.manner {
            Manner::Agent => self.rng.shuffle(&mut self.round),
            Manner::User | Manner::Listed => self.round.reverse(),
        }
    }

    /// Waits before a new round, at least as long as the server asked.
    fn back_off(&mut self, now: Time, asked: Duration) {
        self.redirects = 0;
        self.new_round();
        let until = now + self.backoff.wait(asked, &mut self.rng);
        self.phase = Phase::Pausing { until, why: "back off" };
    }

    /// Goes on to the round's next address, or backs off if there is none.
    fn next_address(&mut self, now: Time) {
        if self.round.is_empty() {
            self.lost = true;
            self.back_off(now, Duration::ZERO);
        } else {
            self.phase = Phase::Pausing { until: now + self.config.gap, why: "next address" };
        }
    }

    /// Takes the list over that was told at `address`. If that is one of those known so far, they
    /// are good, and are kept in case that the list is not.
    fn learn(&mut self, address: &Address, addresses: Vec<Address>) {
        self.lost = false;
        if addresses.is_empty() || addresses == self.addresses {
            return;
        }
        let known = core::mem::replace(&mut self.addresses, addresses);
        if known.contains(address) {
            self.proven = known;
        }
        self.proven.retain(|proven| !self.addresses.contains(proven));
    }

    /// Takes a list over as [`learn`](Dialer::learn) does; a user goes first where it is by now.
    fn remember(&mut self, address: Address, addresses: Vec<Address>, out: &mut Vec<Output>) {
        if addresses.is_empty() && Mistake::EmptyWritten.made() {
            out.push(Output::Remember { addresses: Vec::new() });
        }
        let before = self.addresses.clone();
        self.learn(&address, addresses);
        if self.config.manner == Manner::User {
            self.addresses.retain(|known| *known != address);
            self.addresses.insert(0, address);
        }
        if self.addresses != before {
            out.push(Output::Remember { addresses: self.addresses.clone() });
        }
    }
}

impl Machine for Dialer {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Started => {
                if self.phase != Phase::Idle {
                    return;
                }
                match self.config.manner {
                    Manner::Agent | Manner::Listed => self.back_off(now, Duration::ZERO),
                    Manner::User => {
                        self.new_round();
                        self.phase = Phase::Pausing { until: now, why: "first dial" };
                    }
                }
            }
            Input::Connected => {
                if let Phase::Dialing { address, until } = &self.phase {
                    self.phase = Phase::Greeting { address: address.clone(), until: *until };
                }
            }
            Input::Failed => {
                if matches!(self.phase, Phase::Dialing { .. } | Phase::Greeting { .. }) {
                    self.next_address(now);
                }
            }
            Input::LoggedIn { addresses } => {
                if let Phase::Greeting { address, .. } = &self.phase {
                    let address = address.clone();
                    self.remember(address.clone(), addresses, out);
                    self.phase = Phase::Connected { address, since: now };
                }
            }
            Input::Told { addresses } => {
                if let Phase::Connected { address, .. } = &self.phase
                    && !Mistake::ListIgnored.made()
                {
                    self.remember(address.clone(), addresses, out);
                }
            }
            Input::Refused { retry_after } => {
                if matches!(self.phase, Phase::Greeting { .. }) {
                    out.push(Output::Hangup);
                    self.back_off(now, retry_after);
                }
            }
            Input::Redirected { to } => {
                match self.phase {
                    Phase::Connected { since, .. } if self.steady(now, since) => {
                        self.backoff.reset();
                        self.redirects = 0;
                    }
                    Phase::Greeting { .. } | Phase::Connected { .. } => {}
                    Phase::Idle | Phase::Pausing { .. } | Phase::Dialing { .. } => return,
                }
                out.push(Output::Hangup);
                self.redirects += u32::from(!Mistake::RedirectsForgotten.made());
                if self.redirects > self.config.redirects_max || to.is_empty() {
                    self.back_off(now, Duration::ZERO);
                } else {
                    self.round = to;
                    self.round.reverse();
                    self.phase = Phase::Pausing { until: now, why: "follow a redirect" };
                }
            }
            Input::Disconnected => match self.phase {
                Phase::Connected { since, .. } => {
                    if self.steady(now, since) {
                        self.backoff.reset();
                    }
                    self.back_off(now, Duration::ZERO);
                }
                Phase::Dialing { .. } | Phase::Greeting { .. } => self.next_address(now),
                Phase::Idle | Phase::Pausing { .. } => {}
            },
            Input::Stopped => {
                let open = !matches!(self.phase, Phase::Idle | Phase::Pausing { .. });
                out.extend(open.then_some(Output::Hangup));
                self.phase = Phase::Idle;
            }
        }
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        match self.phase {
            Phase::Pausing { until, why } => Some(Timeout { at: until, why }),
            Phase::Dialing { until, .. } => Some(Timeout { at: until, why: "dial too slow" }),
            Phase::Greeting { until, .. } => Some(Timeout { at: until, why: "login too slow" }),
            Phase::Idle | Phase::Connected { .. } => None,
        }
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Output>) {
        match self.phase {
            Phase::Pausing { until, .. } if until <= now => {
                let address = self.round.pop().expect("a pause ends with an address to dial");
                let until = now + self.config.dial_within;
                out.push(Output::Dial { address: address.clone() });
                self.phase = Phase::Dialing { address, until };
            }
            Phase::Dialing { until, .. } | Phase::Greeting { until, .. } if until <= now => {
                out.push(Output::Hangup);
                self.next_address(now);
            }
            Phase::Idle
            | Phase::Pausing { .. }
            | Phase::Dialing { .. }
            | Phase::Greeting { .. }
            | Phase::Connected { .. } => {}
        }
    }
}
