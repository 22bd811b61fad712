//! What a controller is told and orders, its limits and its figures.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::balancer::Load;
use crate::bind::{self, Lack};
use crate::ids::{AskId, BatchId, ConnectionId, Door, Name, NodeId};
use crate::lease::{Entry, Key, Operation, Outcome};
use crate::listener::Kind;
use crate::queue::Answer;
use crate::readiness::Condition;
use crate::sessions::{Party, Why};
use crate::time::GlobalTime;
use crate::{
    admission, balancer, clock, forward, listener, pace, queue, readiness, sessions, waits,
};

/// Limits of a controller and of its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Which controller this is.
    pub node: NodeId,
    /// How many may be logging in at once.
    pub admission: admission::Config,
    /// The doors.
    pub listener: listener::Config,
    /// What the agents' door waits for.
    pub readiness: readiness::Config,
    /// How the file is followed that says where the controller door is to be bound; none where no
    /// file says it.
    pub bind: Option<bind::Config>,
    /// The connections.
    pub sessions: sessions::Config,
    /// Which agents go elsewhere.
    pub balancer: balancer::Config,
    /// The front of the log.
    pub queue: queue::Config,
    /// The way to the leader.
    pub forward: forward::Config,
    /// The waiting room.
    pub waits: waits::Config,
    /// Most asks of one agent or user without an answer; more are answered `Overloaded`. Above
    /// zero. Other controllers are bounded by their own `forward.asks_max`.
    pub asks_per_connection_max: usize,
    /// Longest time from being told to stop to [`Output::Stopped`]: within half of it agents are
    /// sent elsewhere, and what has no answer at its end is answered as it then is.
    pub drain_max: Duration,
    /// Longest time without an entry in the log.
    pub clock_interval: Duration,
}

impl Config {
    /// Every limit at its default.
    pub fn new(node: NodeId) -> Config {
        Config {
            node,
            admission: admission::Config::default(),
            listener: listener::Config::default(),
            readiness: readiness::Config::default(),
            bind: None,
            sessions: sessions::Config::default(),
            balancer: balancer::Config::default(),
            queue: queue::Config::default(),
            forward: forward::Config::default(),
            waits: waits::Config::default(),
            asks_per_connection_max: 256,
            drain_max: Duration::from_secs(10),
            clock_interval: clock::Config::default().interval,
        }
    }
}

/// What somebody asks a controller for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Do something to a lease.
    Apply(Operation),
    /// Say when the lease is free; may take as long as it is held.
    Wait(Key),
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Request::Apply(operation) => operation.fmt(f),
            Request::Wait(key) => write!(f, "wait for {key}"),
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The process is up.
    Started,
    /// The door's port is bound.
    Opened { door: Door },
    /// The door's port could not be bound.
    NotOpened { door: Door },
    /// A connection was let in by the door's permit, after [`Output::Accept`].
    Connected { connection: ConnectionId, door: Door },
    /// A connection has come to stand at the door, after [`Output::Hold`]. Nothing of it was read;
    /// if it leaves before it is admitted, it is `Disconnected` like any other.
    Knocked { connection: ConnectionId, door: Door },
    /// It that stands at the door has said who it is, by its first words alone. One whose words
    /// cannot be read, or do not come, is hung up by the shell and `Disconnected`.
    Arrived { connection: ConnectionId, door: Door, kind: Kind },
    /// Its party has proved who it is, and wants to be let in.
    LoggedIn { connection: ConnectionId, party: Party },
    /// Its party said that it is there.
    Pinged { connection: ConnectionId },
    /// It is gone, whoever ended it.
    Disconnected { connection: ConnectionId },
    /// Its party asks for something, and will not wait longer than `patience` (waits do not end by
    /// it). Whether it [`renews`](queue::renews) what its party holds is looked up in this
    /// controller's copy of the table; a wrong word costs order alone.
    Asked { ask: AskId, request: Request, renews: bool, patience: Duration },
    /// The asker has lost interest. Harmless if the ask has ended.
    Cancelled { ask: AskId },
    /// The leader has answered an ask that was handed to it.
    Answered { ask: AskId, answer: Answer },
    /// An ask could not be handed to the leader: it never left.
    NotSent { ask: AskId },
    /// The connection to the leader broke after the ask had left.
    Lost { ask: AskId },
    /// Whether the lease that was looked at is held, in this controller's copy of the table.
    Looked { ask: AskId, held: bool },
    /// This controller leads, all before its term is applied, and the table's clock says `global`.
    Led { global: GlobalTime },
    /// This controller does not lead; `leader` does, as far as known.
    Followed { leader: Option<NodeId> },
    /// The batch was committed and applied at log entry `index`.
    Committed { batch: BatchId, index: u64, outcomes: Vec<Outcome> },
    /// The batch never reached the log.
    NotProposed { batch: BatchId, leader: Option<NodeId> },
    /// Nobody can say what became of the batch.
    BatchLost { batch: BatchId },
    /// This controller's copy of the table has reached log entry `index`, which released these.
    Applied { index: u64, released: Vec<Key> },
    /// This controller's copy of the table was replaced by a snapshot up to log entry `index`.
    Restored { index: u64 },
    /// This controller's own link to another, or to itself, is up or down. Told at each change, and
    /// of those that cannot be made at first; what was never told counts as up.
    Linked { to: NodeId, up: bool },
    /// The leader has committed up to this log entry, as far as known here.
    Committing { index: u64 },
    /// A worker of the embedding program is stable, or not. The API door waits for it from its
    /// first mention on, which so belongs before `Started`.
    Working { worker: Name, stable: bool },
    /// The file that says where the controller door is to be bound was looked at. Not heard where
    /// there is none.
    Offered { offer: bind::Input },
    /// Another controller has told its load.
    Heard { from: NodeId, load: Load },
    /// The process uses so many bytes of memory, and dies at the limit, which is above zero.
    Memory { used: u64, limit: u64 },
    /// The operator has changed the pace of the API door, the delay before it opens, whether
    /// controllers have a door of their own, or whether the API door holds whoever comes.
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
            Input::Opened { door } => write!(f, "{door} opened"),
            Input::NotOpened { door } => write!(f, "{door} not opened"),
            Input::Connected { connection, door } => write!(f, "{connection} at {door}"),
            Input::Knocked { connection, door } => write!(f, "{connection} knocked at {door}"),
            Input::Arrived { connection, kind, .. } => write!(f, "{connection} is {kind}"),
            Input::LoggedIn { connection, party } => write!(f, "{connection} is {party}"),
            Input::Pinged { connection } => write!(f, "{connection} pinged"),
            Input::Disconnected { connection } => write!(f, "{connection} gone"),
            Input::Asked { ask, request, renews, patience } => {
                let held = if *renews { ", which it holds" } else { "" };
                write!(f, "{ask} asked to {request}{held}, patient for {patience:?}")
            }
            Input::Cancelled { ask } => write!(f, "{ask} cancelled"),
            Input::Answered { ask, answer } => write!(f, "{ask} answered by the leader: {answer}"),
            Input::NotSent { ask } => write!(f, "{ask} not sent"),
            Input::Lost { ask } => write!(f, "{ask} lost"),
            Input::Looked { ask, held: true } => write!(f, "{ask} looked: held"),
            Input::Looked { ask, held: false } => write!(f, "{ask} looked: free"),
            Input::Led { global } => write!(f, "led from {global}"),
            Input::Followed { leader: Some(leader) } => write!(f, "followed {leader}"),
            Input::Followed { leader: None } => f.write_str("followed nobody"),
            Input::Committed { batch, index, outcomes } => {
                write!(f, "{batch} committed at {index} with {} outcomes", outcomes.len())
            }
            Input::NotProposed { batch, .. } => write!(f, "{batch} not proposed"),
            Input::BatchLost { batch } => write!(f, "{batch} lost"),
            Input::Applied { index, released } => {
                write!(f, "applied {index}, released {}", released.len())
            }
            Input::Restored { index } => write!(f, "restored at {index}"),
            Input::Linked { to, up: true } => write!(f, "link to {to} up"),
            Input::Linked { to, up: false } => write!(f, "link to {to} down"),
            Input::Committing { index } => write!(f, "committed up to {index}"),
            Input::Working { worker, stable: true } => write!(f, "worker {worker} stable"),
            Input::Working { worker, stable: false } => write!(f, "worker {worker} not stable"),
            Input::Offered { offer } => write!(f, "bind address {offer}"),
            Input::Heard { from, load } => write!(f, "{from} has {load}"),
            Input::Memory { used, limit } => write!(f, "memory {used} of {limit}"),
            Input::Reconfigured { pace, open_delay, controller_door, controllers_first } => {
                let (pace, open_delay) = (*pace, *open_delay);
                let (controller_door, controllers_first) = (*controller_door, *controllers_first);
                listener::Input::Reconfigured {
                    pace,
                    open_delay,
                    controller_door,
                    controllers_first,
                }
                .fmt(f)
            }
            Input::Stopping => f.write_str("stopping"),
        }
    }
}

/// What must be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Bind the door's port, and say how it went.
    Open { door: Door },
    /// Let exactly one connection in at the door.
    Accept { door: Door },
    /// Let exactly one connection come to stand at the door, say so (`Knocked`), read what it says
    /// first and no more, and say who it is (`Arrived`).
    Hold { door: Door },
    /// Let it in that stands at the door: go on with its handshake.
    Admit { connection: ConnectionId },
    /// Stop listening at the door; connections stay, and so does whoever stands there.
    Shut { door: Door },
    /// Let the party in that has proved who it is. Of the controllers that it is told about, `first`
    /// comes first.
    Welcome { connection: ConnectionId, first: Option<NodeId> },
    /// Do not let it in; it tries elsewhere, or here again.
    Refuse { connection: ConnectionId },
    /// Send the party to that controller, whether it was let in or only asked to be.
    Redirect { connection: ConnectionId, to: NodeId },
    /// Tell every other controller; what is not heard is told again soon.
    Tell { load: Load },
    /// Cut the connection, and say when it is gone.
    Hangup { connection: ConnectionId, why: Why },
    /// Propose the entry, and say what came of it under this name.
    Propose { batch: BatchId, entry: Entry },
    /// Hand the ask to that controller, or say that it was not sent.
    Send { ask: AskId, to: NodeId, operation: Operation, patience: Duration },
    /// Tell that controller that nobody waits for the ask any more; what comes of it is not
    /// reported. The ask may be sent again.
    Recall { ask: AskId, to: NodeId },
    /// Look whether the lease is held, in this controller's copy of the table.
    Look { ask: AskId, key: Key },
    /// Tell the asker; its connection may be gone.
    Answer { ask: AskId, answer: Answer },
    /// Tell the operator that a condition of the API door is met, or no more.
    Condition { name: Name, met: bool },
    /// From here on the controller door is bound at this host, in place of any other: what is
    /// ordered open is opened there. Tell the other controllers once it is.
    Bind { host: String },
    /// Tell the operator what is wrong with the file that says where the controller door is to be
    /// bound: what is waited for, or what was left aside because there is an address. Once for each
    /// reason.
    Complain { lack: Lack },
    /// Nothing is left to be done, or no time to do it in: the process may end. Ordered once.
    Stopped,
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Open { door } => write!(f, "open {door}"),
            Output::Accept { door } => write!(f, "accept at {door}"),
            Output::Hold { door } => write!(f, "hold one at {door}"),
            Output::Admit { connection } => write!(f, "admit {connection}"),
            Output::Shut { door } => write!(f, "shut {door}"),
            Output::Welcome { connection, first: None } => write!(f, "welcome {connection}"),
            Output::Welcome { connection, first: Some(first) } => {
                write!(f, "welcome {connection}, {first} first")
            }
            Output::Refuse { connection } => write!(f, "refuse {connection}"),
            Output::Redirect { connection, to } => write!(f, "redirect {connection} to {to}"),
            Output::Tell { load } => write!(f, "tell of {load}"),
            Output::Hangup { connection, why } => write!(f, "hang up {connection}: {why}"),
            Output::Propose { batch, entry } => write!(f, "propose {batch}: {entry}"),
            Output::Send { ask, to, operation, patience } => {
                write!(f, "send {ask} to {to}: {operation}, patient for {patience:?}")
            }
            Output::Recall { ask, to } => write!(f, "recall {ask} from {to}"),
            Output::Look { ask, key } => write!(f, "look for {ask} at {key}"),
            Output::Answer { ask, answer } => write!(f, "answer {ask}: {answer}"),
            Output::Condition { name, met } => {
                readiness::Output::Condition { name: name.clone(), met: *met }.fmt(f)
            }
            Output::Bind { host } => write!(f, "bind {host}"),
            Output::Complain { lack } => write!(f, "complain: {lack}"),
            Output::Stopped => f.write_str("stopped"),
        }
    }
}

/// The figures an operator looks at first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Which controller this is.
    pub node: NodeId,
    /// Who leads, as far as known.
    pub leader: Option<NodeId>,
    /// What the API door does or waits for.
    pub api_door: String,
    /// What it waits for, and since when that is met or not.
    pub conditions: Vec<Condition>,
    /// Where the controller door is to be bound, if a file says so and has said it.
    pub bound: Option<String>,
    /// What is wrong with that file, if anything.
    pub lack: Option<Lack>,
    /// Connections held at the API door; at most `listener.held_max`.
    pub held: usize,
    /// Agents and users that are still here while this controller stops; none unless it does.
    pub draining: Option<usize>,
    /// Connections through both doors.
    pub connections: usize,
    /// Agents that are in and were not sent elsewhere, which is what is balanced.
    pub agents: u64,
    /// Whether this controller has so many more of them than the others that it sends some there.
    pub shedding: bool,
    /// How many at the API door are logging in; at most `logins_allowed`, or were when they came.
    pub logins: usize,
    /// How many of them there may be, from `admission.logins_min` to `listener.logins_max`.
    pub logins_allowed: usize,
    /// How long a login took lately, by the lower quartile; zero until it was measured.
    pub login_time: Duration,
    /// The same without congestion, as far as is known; zero until it was measured.
    pub login_time_least: Duration,
    /// Asks that wait to be proposed; at most `queue.waiting_max`.
    pub waiting: usize,
    /// Bytes of them, by [`queue::size`]; at most `queue.waiting_bytes_max`.
    pub waiting_bytes: usize,
    /// Raft entries in flight; at most `queue.flights_max`, and one more for the clock.
    pub in_flight: usize,
    /// Time that the log takes for one command, smoothed; zero until it was measured here.
    pub drain: Duration,
    /// Asks of this controller's clients that have no answer, waits aside; at most
    /// `forward.asks_max`.
    pub asks: usize,
    /// Those of them that are under way to the leader, unless that is this controller itself.
    pub forwarded: usize,
    /// Those of them that rest until the next try, or until somebody leads.
    pub resting: usize,
    /// Tries that were repeated out of the budget, since this controller started.
    pub retries: u64,
    /// Tries that would have been repeated, had the budget allowed it, since it started.
    pub retries_denied: u64,
    /// Parked waits for a release.
    pub parked: usize,
    /// Waits that ended because the lease was free, since this controller started.
    pub wakes: u64,
    /// How far global time stands behind real time: on the leader since the last applied entry was
    /// proposed, elsewhere since it arrived. Leases expire late by so much.
    pub clock_lag: Duration,
}

impl From<listener::Output> for Output {
    fn from(order: listener::Output) -> Output {
        match order {
            listener::Output::Open { door } => Output::Open { door },
            listener::Output::Accept { door } => Output::Accept { door },
            listener::Output::Hold { door } => Output::Hold { door },
            listener::Output::Admit { connection, .. } => Output::Admit { connection },
            listener::Output::Hangup { connection, why } => Output::Hangup { connection, why },
            listener::Output::Shut { door } => Output::Shut { door },
        }
    }
}

impl From<sessions::Output> for Output {
    fn from(order: sessions::Output) -> Output {
        match order {
            sessions::Output::Hangup { connection, why } => Output::Hangup { connection, why },
        }
    }
}

impl From<readiness::Output> for Output {
    fn from(order: readiness::Output) -> Output {
        match order {
            readiness::Output::Condition { name, met } => Output::Condition { name, met },
        }
    }
}
