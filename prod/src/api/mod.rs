//! The API port: what agents, users and tools speak to a controller.
//!
//! Decides nothing about leases: it turns what Juju's clients send into asks, and answers into what
//! they understand. One task serves one connection: it reads, runs each request beside the others,
//! and writes the answers in the order in which they are ready. What times out a connection is the
//! controller's machine, through `hangup`.

mod changes;
mod facades;
mod high_availability;
mod history;
mod http;
mod invitations;
mod leadership;
mod leases;
mod method;
mod models;
mod operate;
mod outcome;
pub(crate) mod pages;
mod pins;
mod raft_lease;
mod session;
mod singular;
mod told;
mod watchers;
mod whereabouts;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use portcullis_core::addresses::{self, HostPort};
use portcullis_core::controller::{Request, Status};
use portcullis_core::lease::{Key, Lease};
use portcullis_core::members::{self, Command, Token, TokenHash};
use portcullis_core::queue::Answer;
use portcullis_core::{AskId, ConnectionId, GlobalTime, NodeId};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use crate::credentials::Identity;
use crate::env::Env;
use crate::join::{Asked as Joining, Granted, Refused};
use crate::metrics::Metrics;
use crate::peer::NotLed;
use crate::raft::NotWritten;
use crate::raft::membership::Seen;
use crate::rpc::{self, Farewell};

pub use facades::FACADES;
pub use history::{CHANGES_MAX, Found, History, Mark};
pub use invitations::{INVITED_FOR_MAX, Invitation, Invitations, Invited};
pub use leases::{
    Asked, ConditionReport, LeaseItem, LeaseList, NAME_MAX, Named, Responsibility, StatusReport,
};
pub use operate::{MemberReport, MembersReport, Role, Target, WantedParams};
pub use outcome::Outcome;

/// The version that clients are told. libjuju refuses any whose major is not 3.
pub const SERVER_VERSION: &str = "3.6.4";
/// Name of the model that the controllers' own machines belong to, as in Juju.
pub const CONTROLLER_MODEL: &str = "controller";
/// Most leases in one page of a list. With names of [`NAME_MAX`] bytes, a page stays under 256 KiB.
pub const PAGE_MAX: usize = 200;

/// Most bytes of all names in an answer about pins, which has no pages in Juju.
pub const PINNED_MAX: usize = 1024 * 1024;

/// Limits of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What a message may be, and how many answers may wait for a slow reader.
    pub socket: rpc::Limits,
    /// Most requests without an answer; more are answered `try again` at once. Above zero.
    pub requests_max: usize,
    /// Most items in a bulk call; more are refused as a whole.
    pub items_max: usize,
    /// Most watchers at a time; the next is refused.
    pub watchers_max: usize,
    /// How long an ask may take if its asker does not say.
    pub patience: Duration,
    /// What a `try again` about `requests_max` names as the time to come back.
    pub retry_after: Duration,
    /// Longest time to say goodbye in.
    pub close_within: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            socket: rpc::Limits { message_max: 256 * 1024, outbox_max: 64 },
            requests_max: 64,
            items_max: 64,
            watchers_max: 64,
            patience: Duration::from_secs(10),
            retry_after: Duration::from_secs(1),
            close_within: Duration::from_secs(1),
        }
    }
}

/// What a connection is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The controller itself: `/api`.
    Controller,
    /// The model with this UUID: `/model/UUID/api`.
    Model(String),
}

/// Somebody who wants to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// What they connected to.
    pub place: Place,
    /// Who they say they are.
    pub tag: String,
    /// How they prove it.
    pub password: String,
    /// What a machine was given when it was made; empty for others.
    pub nonce: String,
}

/// What becomes of somebody who wants to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They are in. `runs_controller` says that they are the machine of a controller, which may
    /// claim what only one controller at a time may do, and leases in everybody's name. Of the
    /// controllers they are told of, `first` comes first.
    Welcome { identity: Identity, runs_controller: bool, first: Option<NodeId> },
    /// There is no such name, or the password is wrong: they shall not know which.
    Refused,
    /// There is no such model.
    NoModel { uuid: String },
    /// They may be let in later.
    TryAgain { retry_after: Duration },
    /// What they want lives elsewhere.
    Redirect(Elsewhere),
}

/// Where a model lives that is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// Its controllers, each with its addresses. libjuju follows `public` ones only.
    pub servers: Vec<Vec<HostPort>>,
    /// Certificates of the authority that proves them, in PEM.
    pub authority: String,
    /// The UUID of their cluster, if known.
    pub controller: Option<String>,
    /// Whether clients do not go there by themselves but leave it to whoever uses them, as they
    /// must when it is to strangers.
    pub consent: bool,
}

/// A model, which leases and agents belong to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// Its UUID, in lower case.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// The applications that have units on a machine, by the machine's tag.
    pub applications: BTreeMap<String, BTreeSet<String>>,
}

/// What clients may know of the whole. The operator may change all but its name and authority while
/// the controller runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// The cluster's own name, a UUID.
    pub uuid: String,
    /// Certificates of the authority that every controller's certificate comes from, in PEM.
    pub authority: String,
    /// Every controller, with its addresses for agents and users. Clients go by this order.
    pub servers: BTreeMap<NodeId, Vec<HostPort>>,
    /// The network that agents are to reach controllers by (`juju-mgmt-space`).
    pub space: Option<String>,
    /// The models that there are.
    pub models: Vec<Model>,
    /// The models that are not here any more, by UUID. Users are sent after them; agents have no
    /// such path in Juju, and find no model.
    pub moved: BTreeMap<String, Elsewhere>,
}

impl Cluster {
    /// The model with this UUID.
    pub fn model(&self, uuid: &str) -> Option<&Model> {
        self.models.iter().find(|model| model.uuid == uuid)
    }

    /// The model that the controllers' own machines belong to.
    pub fn controller_model(&self) -> Option<&Model> {
        self.models.iter().find(|model| model.is_controller())
    }

    /// The machines of the controllers, by their tags.
    pub fn machines(&self) -> Vec<String> {
        self.servers.keys().map(|node| format!("machine-{}", node.0)).collect()
    }

    /// What a party is told of where controllers are: one list each, those of one controller
    /// before the others if it is named. Agents are told the addresses in their space alone.
    pub fn addresses(&self, to: &Identity, first: Option<NodeId>) -> Vec<Vec<HostPort>> {
        let usable = |all: &Vec<HostPort>| match to {
            Identity::User(_) => addresses::for_clients(all),
            Identity::Unit { .. } | Identity::Machine(_) | Identity::Controller(_) => {
                addresses::for_agents(all, self.space.as_deref())
            }
        };
        let others = self.servers.iter().filter(|(node, _)| Some(**node) != first);
        let first = first.and_then(|node| self.servers.get(&node));
        let servers = first.into_iter().chain(others.map(|(_, addresses)| addresses)).map(usable);
        servers.filter(|server| !server.is_empty()).collect()
    }
}

impl Model {
    /// Whether it is the one that the controllers' own machines belong to.
    pub fn is_controller(&self) -> bool {
        self.name == CONTROLLER_MODEL
    }
}

/// Which leases somebody wants to see, from where in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Only those of this namespace.
    pub namespace: Option<String>,
    /// Only those of this model.
    pub model: Option<String>,
    /// Only those that come after this one.
    pub after: Option<Key>,
    /// At most so many; at most [`PAGE_MAX`].
    pub most: usize,
}

impl Query {
    /// Whether it is about this lease, wherever it begins.
    pub fn wants(&self, key: &Key) -> bool {
        self.namespace.as_ref().is_none_or(|namespace| key.namespace() == &**namespace)
            && self.model.as_ref().is_none_or(|model| key.model() == &**model)
    }
}

/// A part of the leases, as this controller's copy of the table has them.
///
/// Each lease is shown as it was at some moment after the asking, with everything acknowledged
/// anywhere before that; but not all of them at the same moment, since the table is not locked for
/// longer than a part of it takes to look at. One that was held all the while is not missed, and
/// none is shown twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The time of the copy when the last of them was looked at.
    pub now: GlobalTime,
    /// The leases, in order.
    pub leases: Vec<(Key, Lease)>,
    /// Whether there are more after these.
    pub more: bool,
}

/// Who pins leaderships of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pins {
    /// By application, in order.
    All(BTreeMap<String, Vec<String>>),
    /// Their names are over [`PINNED_MAX`] bytes.
    TooMany,
}

/// Which changes somebody wants to hear of, from where on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// Only those of this namespace.
    pub namespace: Option<String>,
    /// Only those of this model.
    pub model: Option<String>,
    /// Only those from here on; without it, none, but where the next will be.
    pub from: Option<Mark>,
    /// At most so many leases; at most [`PAGE_MAX`].
    pub most: usize,
    /// How long to wait for the first.
    pub patience: Duration,
}

impl Watch {
    /// Whether it is about this lease.
    pub fn wants(&self, key: &Key) -> bool {
        self.namespace.as_ref().is_none_or(|namespace| key.namespace() == &**namespace)
            && self.model.as_ref().is_none_or(|model| key.model() == &**model)
    }
}

/// The leases that have changed, as this controller's copy of the table has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The time of the copy.
    pub now: GlobalTime,
    /// The leases; those without more are free.
    pub leases: Vec<(Key, Option<Lease>)>,
    /// Where to go on.
    pub next: Mark,
    /// Whether there were changes between `from` and `next` that nobody remembers.
    pub forgotten: bool,
}

/// How a controller is, for `/health`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// In a word.
    pub standing: Standing,
    /// What the API door does, or waits for.
    pub api_door: &'static str,
    /// What it must be to be ready, by name, and whether it is; in the order in which it comes true.
    pub conditions: Vec<(String, bool)>,
    /// What is wrong with the file that says where the controller door is to be bound, if anything.
    pub lack: Option<String>,
    /// Connections through the API door, for whoever stands before several controllers.
    pub connections: u64,
}

/// How a controller is, in Juju's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Not yet ready to serve agents.
    Starting,
    /// Serving.
    Running,
    /// Shutting down.
    Stopping,
}

/// What becomes of somebody who wants to look inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Introspected {
    /// The metrics, as Prometheus reads them.
    Metrics(String),
    /// There is no such name, or the password is wrong.
    Refused,
    /// It is not for them.
    Forbidden,
}

/// What becomes of somebody who wants a copy of the cluster's tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Copy {
    /// Everything that was acknowledged before the asking.
    Whole(Bytes),
    /// There is no such name, or the password is wrong.
    Refused,
    /// It is not for them.
    Forbidden,
    /// Another is being taken.
    Busy,
    /// There is no leader to ask how far the log is.
    Leaderless,
}

/// What the API port needs of the controller behind it.
pub trait Handler: Send + Sync + 'static {
    /// Decides about somebody who wants to log in; tells the machine if they are in.
    fn login(&self, connection: ConnectionId, login: Login)
    -> impl Future<Output = Verdict> + Send;

    /// The party on the connection has said that it is there.
    fn pinged(&self, connection: ConnectionId) -> impl Future<Output = ()> + Send;

    /// Asks, and waits for the one answer. Dropped with the connection; whoever serves that tells
    /// the machine that it is gone, with all that it asked.
    fn ask(
        &self,
        ask: AskId,
        request: Request,
        patience: Duration,
    ) -> impl Future<Output = Answer> + Send;

    /// What clients may know of the whole, and every change of it.
    fn cluster(&self) -> watch::Receiver<Arc<Cluster>>;

    /// Reads leases, with everything that was acknowledged anywhere before; none if there is no
    /// leader to ask how far that is.
    fn leases(&self, query: Query) -> impl Future<Output = Option<Page>> + Send;

    /// Reads who pins which leadership in a model, with everything that was acknowledged anywhere
    /// before; none if there is no leader to ask how far that is.
    fn pins(&self, model: &str) -> impl Future<Output = Option<Pins>> + Send;

    /// Waits for changes of leases; none if there is no leader to ask where to begin.
    fn changes(&self, watch: Watch) -> impl Future<Output = Option<Changed>> + Send;

    /// The controller's figures; none while it closes.
    fn status(&self) -> impl Future<Output = Option<Status>> + Send;

    /// How the cluster stands, by its leader; nothing if there is none, or it gives no answer.
    fn members(&self) -> impl Future<Output = Option<Seen>> + Send;

    /// Has a command about the members done.
    fn change_members(
        &self,
        command: Command,
    ) -> impl Future<Output = Result<members::Outcome, NotWritten>> + Send;

    /// Has the lead handed over to that voter; whether it took it, [`members`](Handler::members) says.
    fn lead(&self, to: NodeId) -> impl Future<Output = Result<(), NotLed>> + Send;

    /// What must run on one controller and may run on this one; nothing where that is of no
    /// interest.
    fn responsible(&self) -> Vec<Responsibility> {
        Vec::new()
    }

    /// Lets one more controller into the cluster, or says why not; nobody, where controllers are no
    /// members.
    fn join(&self, asked: Joining) -> impl Future<Output = Result<Granted, Refused>> + Send {
        let what = format!("nobody joins {} here", asked.cluster);
        async { Err(Refused::Broken { what }) }
    }

    /// The invitations that there are, and the time of the table, with everything acknowledged
    /// before; none if there is no leader to ask how far that is.
    fn invitations(
        &self,
    ) -> impl Future<Output = Option<(GlobalTime, Vec<(TokenHash, Token)>)>> + Send {
        async { None }
    }

    /// How the controller is.
    fn health(&self) -> Health;

    /// Shows the controller's metrics to somebody who may see them.
    fn introspect(&self, login: Login) -> impl Future<Output = Introspected> + Send;

    /// Copies the cluster's tables for a user; nothing where there are none.
    fn copy(&self, _: Login) -> impl Future<Output = Copy> + Send {
        async { Copy::Leaderless }
    }

    /// Where what happens at the port is counted.
    fn metrics(&self) -> &Metrics;
}

/// Serves one connection after its handshake, until either side ends it.
///
/// `hangup` resolves to what is said when the controller wants the connection gone.
pub async fn serve<E, H, S>(
    env: E,
    handler: Arc<H>,
    config: Arc<Config>,
    connection: ConnectionId,
    stream: S,
    hangup: impl Future<Output = Farewell> + Send,
) where
    E: Env,
    H: Handler,
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut hangup = std::pin::pin!(hangup);
    let upgraded = tokio::select! {
        biased;
        _ = &mut hangup => None,
        upgraded = Box::pin(http::greet(&*handler, stream, config.socket)) => upgraded,
    };
    if let Some((place, mut socket)) = upgraded {
        let visit = session::Visit { handler: &*handler, config: &config, connection, place };
        visit.run(env, &mut socket, hangup).await;
    }
}
