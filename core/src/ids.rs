//! What things are called: controllers, connections, asks, batches, doors and addresses.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

use serde::{Deserialize, Serialize};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $word:literal;)*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize,
            Deserialize,
        )]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($word, "-{}"), self.0)
            }
        }
    )*};
}

ids! {
    /// One controller of the cluster, for its whole life; never used again for another.
    NodeId = "controller";
    /// One connection at one controller, numbered from the start of that process.
    ConnectionId = "connection";
    /// One raft entry proposed by one controller, numbered from the start of that process.
    BatchId = "batch";
    /// One backend of a front, numbered from the start of that process; never used again for
    /// another.
    BackendId = "backend";
}

impl ConnectionId {
    /// No connection: what asks is the controller itself. Those of clients start from one.
    pub const OWN: ConnectionId = ConnectionId(0);
}

/// One request of one connection; `serial` is the connection's own count.
///
/// Ordered by connection first, so all asks of a connection stand together.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct AskId {
    /// The connection that asks.
    pub connection: ConnectionId,
    /// The connection's own number for the ask; never used twice on one connection.
    pub serial: u64,
}

impl fmt::Display for AskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ask-{}.{}", self.connection.0, self.serial)
    }
}

/// The two listeners of a controller (seed 000).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Door {
    /// `controller-api-port`: controllers among themselves. Open from the start, never paced.
    Controller,
    /// `api-port`: agents and users. Opens once the controller is stable; paced.
    Api,
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Door::Controller => "controller door",
            Door::Api => "api door",
        })
    }
}

/// Where a controller can be reached, as `host:port`; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address(Arc<str>);

impl Address {
    /// Takes the text as it is: whoever dials it finds out whether it means anything.
    pub fn new(text: &str) -> Address {
        Address(Arc::from(text))
    }

    /// The text as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What an operator calls something, such as a worker; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Name(Arc<str>);

impl Name {
    /// Takes the text as it is.
    pub fn new(text: &str) -> Name {
        Name(Arc::from(text))
    }

    /// The text as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for Address {
    fn from(text: String) -> Address {
        Address(Arc::from(text))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
