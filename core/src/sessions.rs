//! Who is connected, and who has been silent for too long.
//!
//! Decides when a connection is cut: one that never logs in (Juju has no such limit, and idle
//! sockets pile up until file descriptors run out), and an agent that has not pinged.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt;
use core::mem;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Machine;
use crate::ids::{ConnectionId, Door, NodeId};
use crate::time::{Time, Timeout};

/// Who a connection belongs to, once that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Party {
    /// Another controller, or this one itself.
    Controller(NodeId),
    /// A unit or machine; must ping.
    Agent,
    /// A person or a tool; may be silent.
    User,
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Party::Controller(node) => write!(f, "{node}"),
            Party::Agent => f.write_str("an agent"),
            Party::User => f.write_str("a user"),
        }
    }
}

/// Limits of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Longest time from connecting to having logged in.
    pub login_within: Duration,
    /// Longest silence of an agent: Juju closes after 3 min without a ping.
    pub silent_max: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config { login_within: Duration::from_secs(30), silent_max: Duration::from_secs(180) }
    }
}

/// Why a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It did not log in within `login_within`.
    NotLoggedIn,
    /// The agent did not ping within `silent_max`.
    Silent,
    /// The controller has more agents than its share, or than its memory can bear.
    Surplus,
    /// It was held at the door for longer than `held_within`.
    Held,
    /// The controller shuts down, and knows nobody to send it to.
    Stopping,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::NotLoggedIn => "not logged in in time",
            Why::Silent => "silent for too long",
            Why::Surplus => "too many agents",
            Why::Held => "held at the door for too long",
            Why::Stopping => "the controller stops",
        })
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A connection was let in.
    Connected { connection: ConnectionId, door: Door },
    /// Its party is known.
    LoggedIn { connection: ConnectionId, party: Party },
    /// It was heard of.
    Pinged { connection: ConnectionId },
    /// It is gone.
    Disconnected { connection: ConnectionId },
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::Connected { connection, door } => write!(f, "{connection} at {door}"),
            Input::LoggedIn { connection, party } => write!(f, "{connection} is {party}"),
            Input::Pinged { connection } => write!(f, "{connection} pinged"),
            Input::Disconnected { connection } => write!(f, "{connection} gone"),
        }
    }
}

/// What must be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Cut the connection; it is forgotten when it is reported gone.
    Hangup { connection: ConnectionId, why: Why },
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Hangup { connection, why } => write!(f, "hang up {connection}: {why}"),
        }
    }
}

#[derive(Clone, Debug)]
struct Session {
    door: Door,
    party: Option<Party>,
    heard: Time,
    /// When it is looked at next, if at all.
    look: Option<Time>,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Sessions {
    config: Config,
    sessions: BTreeMap<ConnectionId, Session>,
    /// When to look at a connection next. A ping only notes the time: the look finds out, so that
    /// 3,000 pings a second do not move 3,000 timers.
    looks: BTreeSet<(Time, ConnectionId)>,
}

impl Sessions {
    /// Nobody is connected.
    pub fn new(config: Config) -> Sessions {
        Sessions { config, sessions: BTreeMap::new(), looks: BTreeSet::new() }
    }

    /// The door a connection came through, and its party if it has logged in.
    pub fn get(&self, connection: ConnectionId) -> Option<(Door, Option<Party>)> {
        self.sessions.get(&connection).map(|session| (session.door, session.party))
    }

    /// Everybody who is connected, in the order in which they came.
    pub fn all(&self) -> impl Iterator<Item = (ConnectionId, Option<Party>)> {
        self.sessions.iter().map(|(connection, session)| (*connection, session.party))
    }

    /// How many are connected, through both doors.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Moves the one look at a connection; without a time there is none any more.
    fn look(&mut self, connection: ConnectionId, next: Option<Time>) {
        let Some(session) = self.sessions.get_mut(&connection) else { return };
        if let Some(at) = mem::replace(&mut session.look, next) {
            self.looks.remove(&(at, connection));
        }
        self.looks.extend(next.map(|at| (at, connection)));
    }
}

impl Machine for Sessions {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input, _: &mut Vec<Output>) {
        match input {
            Input::Connected { connection, door } => {
                assert!(!self.sessions.contains_key(&connection), "a name is never used twice");
                let session = Session { door, party: None, heard: now, look: None };
                self.sessions.insert(connection, session);
                self.look(connection, Some(now + self.config.login_within));
            }
            Input::LoggedIn { connection, party } => {
                let Some(session) = self.sessions.get_mut(&connection) else { return };
                session.party = Some(party);
                session.heard = now;
                let next = match party {
                    Party::Agent => Some(now + self.config.silent_max),
                    Party::Controller(_) | Party::User => None,
                };
                self.look(connection, next);
            }
            Input::Pinged { connection } => {
                if let Some(session) = self.sessions.get_mut(&connection)
                    && session.party.is_some()
                {
                    session.heard = now;
                }
            }
            Input::Disconnected { connection } => {
                self.look(connection, None);
                self.sessions.remove(&connection);
            }
        }
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        self.looks.first().map(|(at, _)| Timeout { at: *at, why: "a connection's silence" })
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Output>) {
        while let Some(&(at, connection)) = self.looks.first() {
            if at > now {
                break;
            }
            let session = &self.sessions[&connection];
            let (limit, why) = match session.party {
                None => (self.config.login_within, Why::NotLoggedIn),
                Some(_) => (self.config.silent_max, Why::Silent),
            };
            let due = session.heard + limit;
            if due <= now {
                self.look(connection, None);
                out.push(Output::Hangup { connection, why });
            } else {
                self.look(connection, Some(due));
            }
        }
    }
}
