//! What a balancer is told and orders, and its limits.

use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{ConnectionId, NodeId};

/// What is done about a controller that has more agents than its share: the options of seed 001,
/// apart from a balancer in front of it all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Nothing, as in Juju: whoever comes stays.
    #[default]
    None,
    /// One login in `refuse_one_in` is refused, whatever the counts: "reject one in three
    /// connections on the basis that the clients will try another controller".
    RandomRefusal,
    /// Agents that are too many are disconnected, to find another controller themselves.
    Shed,
    /// Agents that are too many are sent to a named controller that has fewer, at login and later.
    Redirect,
    /// Agents are told of a controller that has few before the others, for when they dial next;
    /// moves nobody.
    Order,
}

impl Policy {
    /// Whether controllers tell each other how many agents they have.
    pub fn counts(self) -> bool {
        match self {
            Policy::None | Policy::RandomRefusal => false,
            Policy::Shed | Policy::Redirect | Policy::Order => true,
        }
    }
}

/// Limits of the balance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What is done.
    pub policy: Policy,
    /// One login in so many is refused by [`Policy::RandomRefusal`]. Above one.
    pub refuse_one_in: u64,
    /// So many agents above the even share are too many, however large that is: 500 to 1000 in
    /// seed 001.
    pub surplus: u64,
    /// So many percent above it are too many where that is fewer than `surplus`. Above zero.
    pub surplus_percent: u64,
    /// But fewer than this are never too many. Above zero.
    pub surplus_least: u64,
    /// Least time from one move to the next. The pace of the doors that the moved come to
    /// (`agent-ratelimit-rate` in Juju), so that they need not wait outside. Above zero.
    pub moves_rate: Duration,
    /// Least time from the login of an agent to its being moved, and so between two moves of one.
    /// Longer than `dialer::Config::steady_after`, so that whoever is moved may follow redirects.
    pub move_again_after: Duration,
    /// Time from one telling of the count to the next. Above zero.
    pub tell_every: Duration,
    /// A count is believed for this long. Longer than `tell_every`.
    pub stale_after: Duration,
    /// An agent that was sent elsewhere and is still here after this long is disconnected.
    pub leave_within: Duration,
    /// Of the agents sent to a controller, half must have been counted there after this long.
    pub arrive_within: Duration,
    /// A controller where they were not is sent nobody for this long.
    pub avoid_for: Duration,
    /// Memory in use, in percent of the limit, from which on agents are made to leave.
    pub relief_from: u64,
    /// Memory in use, in percent of the limit, below which that ends. Below `relief_from`.
    pub relief_until: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            policy: Policy::default(),
            refuse_one_in: 3,
            surplus: 500,
            surplus_percent: 10,
            surplus_least: 5,
            moves_rate: Duration::from_millis(250),
            move_again_after: Duration::from_secs(120),
            tell_every: Duration::from_secs(1),
            stale_after: Duration::from_secs(5),
            leave_within: Duration::from_secs(10),
            arrive_within: Duration::from_secs(15),
            avoid_for: Duration::from_secs(60),
            relief_from: 95,
            relief_until: 90,
        }
    }
}

impl Config {
    /// How many agents above an even share of `share` are too many.
    pub fn surplus_of(&self, share: u64) -> u64 {
        let scaled = share.saturating_mul(self.surplus_percent) / 100;
        scaled.min(self.surplus).max(self.surplus_least)
    }
}

/// What one controller tells the others of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Agents that are logged in and not on their way elsewhere.
    pub agents: u64,
    /// How many more it would let in; none while its API door is shut or its memory is short.
    pub room: u64,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} agents and room for {}", self.agents, self.room)
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The process is up.
    Started,
    /// An agent has proved who it is, and wants to be let in.
    LoggedIn { connection: ConnectionId },
    /// A connection is gone, whoever ended it.
    Disconnected { connection: ConnectionId },
    /// Another controller has told its load.
    Heard { from: NodeId, load: Load },
    /// The process uses so many bytes of memory, and dies at the limit, which is above zero.
    Memory { used: u64, limit: u64 },
    /// The process shuts down.
    Stopping,
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::Started => f.write_str("started"),
            Input::LoggedIn { connection } => write!(f, "{connection} logs in"),
            Input::Disconnected { connection } => write!(f, "{connection} gone"),
            Input::Heard { from, load } => write!(f, "{from} has {load}"),
            Input::Memory { used, limit } => write!(f, "memory {used} of {limit}"),
            Input::Stopping => f.write_str("stopping"),
        }
    }
}

/// What must be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Let the agent in. Of the controllers it is told about, `first` comes first.
    Welcome { connection: ConnectionId, first: Option<NodeId> },
    /// Do not let the agent in; it tries elsewhere, or here again.
    Refuse { connection: ConnectionId },
    /// Send the agent to that controller, whether it was let in or only asked to be.
    Redirect { connection: ConnectionId, to: NodeId },
    /// Disconnect the agent.
    Shed { connection: ConnectionId },
    /// Tell every other controller that this one has so many agents.
    Tell { agents: u64 },
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Welcome { connection, first: None } => write!(f, "welcome {connection}"),
            Output::Welcome { connection, first: Some(first) } => {
                write!(f, "welcome {connection}, {first} first")
            }
            Output::Refuse { connection } => write!(f, "refuse {connection}"),
            Output::Redirect { connection, to } => write!(f, "redirect {connection} to {to}"),
            Output::Shed { connection } => write!(f, "shed {connection}"),
            Output::Tell { agents } => write!(f, "tell of {agents} agents"),
        }
    }
}
