//! What a listener is told and orders, and its limits.

use core::fmt;
use core::time::Duration;

use crate::ids::{ConnectionId, Door};
use crate::pace;
use crate::sessions::Why;

/// Limits of the doors.
///
/// `controller_door` and `controllers_first` make the four ways to start:
///
/// | `controller_door` | `controllers_first` | |
/// |---|---|---|
/// | no | no | one door, open at once, as Juju without the key |
/// | yes | no | a door for controllers; the API door opens once this one is ready |
/// | no | yes | one port: whoever comes is held, and controllers are let in first |
/// | yes | yes | the same; the controller door is for this controller itself (firewalled, socket) |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whether there is a controller door (`controller-api-port` is set, or a socket).
    pub controller_door: bool,
    /// Whether the API port is bound at once, and holds everybody but controllers until the API
    /// door is open.
    pub controllers_first: bool,
    /// Whether the controller door waits for its address before it is bound for the first time; see
    /// [`bind`](crate::bind).
    pub address_awaited: bool,
    /// Wait between stable and opening the API door (`api-port-open-delay`, 2 s in Juju). Unless
    /// there is but one door for all.
    pub open_delay: Duration,
    /// How long an open API door stays open while this controller is not stable. Longer than an
    /// election takes, or each would shut all doors. Unless there is but one door for all.
    pub lost_max: Duration,
    /// How fast the API door lets in (`agent-ratelimit-max`, `agent-ratelimit-rate`).
    pub pace: pace::Config,
    /// Most connections through the API door at once; Juju has no such limit (seed 001). Above
    /// zero.
    pub connections_max: usize,
    /// Most of those that have not logged in yet, however many
    /// [`admission`](crate::admission) allows. Above zero.
    pub logins_max: usize,
    /// Most connections held at the API door at once; whoever comes beyond waits in the kernel's
    /// backlog. Each costs a file descriptor and what it said first. Above zero.
    pub held_max: usize,
    /// Longest time at the door; then it is hung up. Longer than clients wait for one dial, so that
    /// it is mostly those who have left without a word.
    pub held_within: Duration,
    /// Memory in use, in percent of the limit, from which on the API door lets nobody in: what is
    /// left is for those inside (seed 001: too many connections lead to OOM kills). At most 100.
    pub memory_max: u64,
    /// Memory in use, in percent of the limit, below which it does again. At most `memory_max`.
    pub memory_again: u64,
    /// Most connections of controllers at once, through either door, proved or not. Above zero. A
    /// cluster needs one for each of its controllers, so this only bounds what strangers can cost.
    pub controller_connections_max: usize,
    /// Wait before a port that could not be bound is tried again.
    pub bind_again: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            controller_door: true,
            controllers_first: false,
            address_awaited: false,
            open_delay: Duration::from_secs(2),
            lost_max: Duration::from_secs(30),
            pace: pace::Config::default(),
            connections_max: 100_000,
            logins_max: 1_024,
            held_max: 100_000,
            held_within: Duration::from_secs(120),
            memory_max: 85,
            memory_again: 80,
            controller_connections_max: 1_024,
            bind_again: Duration::from_secs(1),
        }
    }
}

/// Who stands at the door, by what it said first (the protocols that its TLS `ClientHello` offers).
/// No proof: whoever lies is found out by the handshake, and has its share of
/// `controller_connections_max` only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It wants to speak as controllers do among themselves.
    Controller,
    /// Anybody else.
    Other,
}

impl Kind {
    /// The door whose limits it counts for, through whichever it came.
    pub fn counts_at(self) -> Door {
        match self {
            Kind::Controller => Door::Controller,
            Kind::Other => Door::Api,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Controller => "a controller",
            Kind::Other => "no controller",
        })
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The process is up.
    Started,
    /// This controller is ready for agents; see [`readiness`](crate::readiness).
    Stable,
    /// It is not, or no more.
    Unstable,
    /// The door's port is bound.
    Opened { door: Door },
    /// The door's port could not be bound.
    NotOpened { door: Door },
    /// A connection was let in by the door's permit.
    Connected { door: Door },
    /// A connection stands at the API door, which holds it.
    Knocked { connection: ConnectionId },
    /// It has said who it is.
    Arrived { connection: ConnectionId, kind: Kind },
    /// It left before it was let in.
    Left { connection: ConnectionId },
    /// A connection of the API door has logged in.
    LoggedIn,
    /// A connection that counts for the door is gone.
    Disconnected { door: Door, logged_in: bool },
    /// The process uses so many bytes of memory, and dies at the limit, which is above zero.
    Memory { used: u64, limit: u64 },
    /// So many may be logging in at once, by what the controller is measured to serve.
    Allowed { logins: usize },
    /// There is an address for the controller door, or another one than before.
    Addressed,
    /// The operator has changed the pace, the delay or the doors.
    Reconfigured {
        pace: pace::Config,
        open_delay: Duration,
        controller_door: bool,
        controllers_first: bool,
    },
    /// The process shuts down.
    Stopping,
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::Started => f.write_str("started"),
            Input::Stable => f.write_str("stable"),
            Input::Unstable => f.write_str("unstable"),
            Input::Opened { door } => write!(f, "{door} opened"),
            Input::NotOpened { door } => write!(f, "{door} not opened"),
            Input::Connected { door } => write!(f, "connected at {door}"),
            Input::Knocked { connection } => write!(f, "{connection} knocked"),
            Input::Arrived { connection, kind } => write!(f, "{connection} is {kind}"),
            Input::Left { connection } => write!(f, "{connection} left"),
            Input::LoggedIn => f.write_str("logged in"),
            Input::Disconnected { door, .. } => write!(f, "disconnected at {door}"),
            Input::Memory { used, limit } => write!(f, "memory {used} of {limit}"),
            Input::Allowed { logins } => write!(f, "allowed {logins} logins at once"),
            Input::Addressed => f.write_str("addressed"),
            Input::Reconfigured { pace, open_delay, controller_door, controllers_first } => {
                let pace::Config { burst, interval } = pace;
                write!(f, "reconfigured: {burst}, then one in {interval:?}, delay {open_delay:?}")?;
                let words = [(controller_door, "controller door"), (controllers_first, "holding")];
                let set = words.into_iter().filter(|(set, _)| **set);
                set.into_iter().try_for_each(|(_, word)| write!(f, ", {word}"))
            }
            Input::Stopping => f.write_str("stopping"),
        }
    }
}

/// What must be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Bind the door's port, and say how it went. One that is bound elsewhere goes on listening
    /// there until it is bound here.
    Open { door: Door },
    /// Let exactly one connection in at the door.
    Accept { door: Door },
    /// Let exactly one connection come to stand at the door, say so, and then who it is.
    Hold { door: Door },
    /// Let it in that stands at the door.
    Admit { connection: ConnectionId, kind: Kind },
    /// Hang up on it that stands at the door.
    Hangup { connection: ConnectionId, why: Why },
    /// Stop listening at the door; connections stay, and so does whoever stands there.
    Shut { door: Door },
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Open { door } => write!(f, "open {door}"),
            Output::Accept { door } => write!(f, "accept at {door}"),
            Output::Hold { door } => write!(f, "hold one at {door}"),
            Output::Admit { connection, .. } => write!(f, "admit {connection}"),
            Output::Hangup { connection, why } => write!(f, "hang up {connection}: {why}"),
            Output::Shut { door } => write!(f, "shut {door}"),
        }
    }
}
