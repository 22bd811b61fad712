//! Every limit of a controller under one name, so that its bound, its use and its refusals can be
//! drawn alike.

/// A limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// Connections through the API door.
    Connections,
    /// Those of them that have not logged in yet.
    Logins,
    /// Connections that stand at the API door.
    Held,
    /// Asks without an answer on one connection.
    AsksPerConnection,
    /// Asks that wait to be proposed.
    Waiting,
    /// Bytes of them.
    WaitingBytes,
    /// Commands in one raft entry.
    Batch,
    /// Bytes of their names.
    BatchBytes,
    /// Raft entries in flight.
    Flights,
    /// Asks under way to the leader.
    Forwards,
    /// Parked waits for a release.
    Waits,
    /// Leases in the table.
    Leases,
    /// Those who pin one lease, or leases that are pinned.
    Pins,
    /// Requests without an answer on one connection.
    Requests,
    /// Items of one bulk call.
    Items,
    /// Watchers of one connection.
    Watchers,
    /// Bytes of one message from a client.
    Message,
    /// Arrivals that wait for the machine.
    Inbox,
    /// Calls that wait for one other controller.
    PeerCalls,
    /// Connections to the metrics address.
    Scrapes,
    /// Joins with a token that nobody knows, of late.
    FailedJoins,
    /// Files that the process has open.
    Files,
    /// Bytes of memory that the process uses.
    Memory,
    /// How long asks are willing to wait: refused are those that all before them would outlast.
    Patience,
    /// Members of the cluster.
    Members,
    /// Tokens that somebody may join by, or has, and that are not void.
    Tokens,
}

impl Limit {
    /// Each of them, in the order of the type.
    pub const ALL: [Limit; 26] = [
        Limit::Connections,
        Limit::Logins,
        Limit::Held,
        Limit::AsksPerConnection,
        Limit::Waiting,
        Limit::WaitingBytes,
        Limit::Batch,
        Limit::BatchBytes,
        Limit::Flights,
        Limit::Forwards,
        Limit::Waits,
        Limit::Leases,
        Limit::Pins,
        Limit::Requests,
        Limit::Items,
        Limit::Watchers,
        Limit::Message,
        Limit::Inbox,
        Limit::PeerCalls,
        Limit::Scrapes,
        Limit::FailedJoins,
        Limit::Files,
        Limit::Memory,
        Limit::Patience,
        Limit::Members,
        Limit::Tokens,
    ];

    /// The label's value: the name that the limit has in configuration or code.
    pub fn name(self) -> &'static str {
        match self {
            Limit::Connections => "connections_max",
            Limit::Logins => "logins_max",
            Limit::Held => "held_max",
            Limit::AsksPerConnection => "asks_per_connection_max",
            Limit::Waiting => "waiting_max",
            Limit::WaitingBytes => "waiting_bytes_max",
            Limit::Batch => "batch_max",
            Limit::BatchBytes => "batch_bytes_max",
            Limit::Flights => "flights_max",
            Limit::Forwards => "forwards_max",
            Limit::Waits => "waits_max",
            Limit::Leases => "leases_max",
            Limit::Pins => "pins_max",
            Limit::Requests => "requests_max",
            Limit::Items => "items_max",
            Limit::Watchers => "watchers_max",
            Limit::Message => "message_max",
            Limit::Inbox => "inbox_max",
            Limit::PeerCalls => "calls_max",
            Limit::Scrapes => "scrapes_max",
            Limit::FailedJoins => "failed_joins_max",
            Limit::Files => "files_max",
            Limit::Memory => "memory_max",
            Limit::Patience => "patience_max",
            Limit::Members => "members_max",
            Limit::Tokens => "tokens_max",
        }
    }

    /// What becomes of the next one when the limit is reached.
    pub fn refuses(self) -> bool {
        match self {
            Limit::AsksPerConnection
            | Limit::Waiting
            | Limit::WaitingBytes
            | Limit::Forwards
            | Limit::Waits
            | Limit::Leases
            | Limit::Pins
            | Limit::Requests
            | Limit::Items
            | Limit::Watchers
            | Limit::Message
            | Limit::PeerCalls
            | Limit::FailedJoins
            | Limit::Patience
            | Limit::Members
            | Limit::Tokens => true,
            // These let it wait instead, in the backlog, in the queue or with whoever sends it; or
            // the kernel sees to them.
            Limit::Connections
            | Limit::Logins
            | Limit::Held
            | Limit::Batch
            | Limit::BatchBytes
            | Limit::Flights
            | Limit::Inbox
            | Limit::Scrapes
            | Limit::Files
            | Limit::Memory => false,
        }
    }
}
