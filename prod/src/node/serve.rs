//! Serving whoever was let in: other controllers by their certificate, everybody else by login.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use portcullis_core::addresses::HostPort;
use portcullis_core::controller::{self, Input, Request, Status};
use portcullis_core::listener::Kind;
use portcullis_core::members::Standing;
use portcullis_core::queue::Answer;
use portcullis_core::sessions::Party;
use portcullis_core::{AskId, ConnectionId, Door, NodeId, roles};
use rustls::ServerConfig;
use tokio::io::AsyncReadExt;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::bound::BindFile;
use super::certificates::Seldom;
use super::desk::Desk;
use super::news::News;
use super::own::Own;
use super::peers::Peers;
use super::worker::Workers;
use super::{Addresses, Arrival, Cut, Doors, Net, Ports, Readiness, Whereabouts, metrics_port};
use crate::api::{self, Cluster, Login, Place};
use crate::credentials::{Credentials, Identity};
use crate::env::Env;
use crate::metrics::Metrics;
use crate::peer::{self, Received, Reply};
use crate::raft::{self, Leases, Raft, Store};
use crate::tls::{Arrived, Hello, Validity};

/// Longest time for the first words of a connection that is held at the door; whoever needs longer is
/// hung up on. A dial of Juju's agents, with everything, takes 10 s at most before they try again.
const HELLO_WITHIN: Duration = Duration::from_secs(10);

/// What all connections of a controller share.
pub struct Serve<E: Env> {
    pub env: E,
    pub node: NodeId,
    /// Whether this controller is none of those that found the cluster.
    pub joins: bool,
    /// Where whoever wants to join is answered.
    pub joining: super::joining::Desk,
    /// From when until when its certificate is believed, where hosts have a calendar.
    pub validity: Option<Validity>,
    /// When it was last said that somebody's certificate is not believed.
    pub mistrusts: Seldom,
    /// Those of the machine.
    pub limits: controller::Config,
    pub metrics: Arc<Metrics>,
    pub inbox: mpsc::Sender<Arrival>,
    /// Cancelled when the controller is told to stop.
    pub stopping: CancellationToken,
    /// Cancelled when nobody is connected any more, or the time for that is over.
    pub stopped: CancellationToken,
    /// Cancelled when the controller closes.
    pub closing: CancellationToken,
    /// Fronts, whose connections to the API door begin with a PROXY header.
    pub proxied: Vec<Net>,
    pub tls: Arc<ServerConfig>,
    /// Cancelled when another controller says that this one was removed.
    pub disowned: CancellationToken,
    /// Who has answered raft within this is heard.
    pub heard_within: Duration,
    /// Where the machine that gives out roles is told.
    pub roles: mpsc::Sender<roles::Input>,
    pub peer: peer::Config,
    pub peers: Peers<E>,
    pub raft: Raft<E::Runtime>,
    pub store: Store<E::Runtime>,
    /// When this process first had the snapshot that is kept.
    pub snapshot_since: AtomicU64,
    /// Who makes a copy of the tables: one at a time, for each is as large as they are.
    pub copying: Semaphore,
    /// What has come in of a snapshot.
    pub received: Received,
    pub leases: Leases,
    pub news: News,
    pub own: Own,
    pub ports: watch::Receiver<Ports>,
    /// The file that says where the controller door is to be bound, if one does.
    pub bind_file: Option<BindFile>,
    /// Where that door is bound by it; nowhere yet, or never.
    pub bound: watch::Sender<Option<SocketAddr>>,
    /// Where controllers are by the configuration.
    pub whereabouts: watch::Sender<Whereabouts>,
    /// How ready the machine said it is.
    pub readiness: watch::Sender<Readiness>,
    /// Where controllers are dialled.
    pub addresses: watch::Sender<Addresses>,
    /// Whom of the program around the API door waits for.
    pub workers: Workers,
    /// Where the doors are to be.
    pub doors: watch::Sender<Doors>,
    pub api: Arc<api::Config>,
    pub credentials: Arc<Credentials>,
    pub cluster: watch::Sender<Arc<Cluster>>,
}

impl<E: Env> Serve<E> {
    /// Tells the machine; waits while its inbox is full.
    pub async fn tell(&self, input: Input) {
        self.arrive(Arrival::Told(input)).await;
    }

    /// Puts something into the machine's inbox; waits while that is full.
    pub async fn arrive(&self, arrival: Arrival) {
        // Refused only when the controller is closing, and then nobody is to be told anything.
        let _ = self.inbox.send(arrival).await;
    }

    /// Runs a task of the controller until it closes.
    pub async fn until_closing(self: Arc<Self>, task: impl Future<Output = ()>) {
        tokio::select! {
            biased;
            () = self.closing.cancelled() => {}
            () = task => {}
        }
    }

    /// Whether this controller has yet to hear who belongs to the cluster: then it believes whoever
    /// has a certificate.
    pub fn knows_nobody(&self) -> bool {
        self.joins && !self.leases.view().members().founded()
    }

    /// Whether a controller was removed from the cluster and has no part in the log any more.
    pub fn gone(&self, node: NodeId) -> bool {
        self.leases.view().members().standing(node) == Standing::Removed
            && !raft::membership::knows(&self.raft, node)
    }

    /// Returns once that is so. It may know nothing of it: the log is kept from it from then on.
    async fn parted(&self, node: NodeId) {
        let mut metrics = self.raft.metrics();
        while !self.gone(node) {
            if metrics.changed().await.is_err() {
                // It closes, and everything with it.
                return;
            }
        }
    }

    /// Where agents and users are to be told that controllers are by now.
    pub fn servers(&self) -> BTreeMap<NodeId, Vec<HostPort>> {
        let own = self.bound.borrow().map(|at| at.ip().to_string());
        let view = self.leases.view();
        self.whereabouts.borrow().now(view.members(), self.node, own.as_deref())
    }

    /// Tells agents and users where controllers are, if that is another place than before.
    pub fn tell_servers(&self) {
        let servers = self.servers();
        self.cluster.send_if_modified(|cluster| {
            let changed = servers != cluster.servers;
            if changed {
                *cluster = Arc::new(Cluster { servers, ..(**cluster).clone() });
            }
            changed
        });
    }

    /// What the controller is doing.
    pub async fn status(&self) -> Option<Status> {
        let (reply, status) = oneshot::channel();
        self.arrive(Arrival::Status { reply }).await;
        status.await.ok()
    }

    /// Serves a connection that was let in, on a task of its own.
    pub async fn connected(
        self: Arc<Self>,
        connection: ConnectionId,
        door: Door,
        stream: E::Stream,
    ) {
        let cut = Cut::new(&self.closing);
        self.arrive(Arrival::Connected { connection, door, cut: cut.clone() }).await;
        let serve = self.clone();
        self.env.spawn(async move {
            serve.attend(connection, door, None, stream, cut).await;
            serve.tell(Input::Disconnected { connection }).await;
        });
    }

    /// Holds a connection at the door, on a task of its own, until the machine lets it in, and then
    /// serves it. Until then nothing is read of it but its first words, and nothing is computed.
    pub async fn knocked(self: Arc<Self>, connection: ConnectionId, door: Door, stream: E::Stream) {
        let cut = Cut::new(&self.closing);
        let (admit, admitted) = oneshot::channel();
        self.arrive(Arrival::Knocked { connection, door, cut: cut.clone(), admit }).await;
        let serve = self.clone();
        self.env.spawn(async move {
            let mut stream = stream;
            let stood = tokio::select! {
                biased;
                _ = cut.made() => None,
                stood = Box::pin(serve.stand(connection, door, &mut stream, admitted)) => stood,
            };
            if let Some(hello) = stood {
                let counts_at = kind(&hello).counts_at();
                serve.attend(connection, counts_at, Some(hello), stream, cut).await;
            }
            serve.tell(Input::Disconnected { connection }).await;
        });
    }

    /// Hears who is at the door, and waits with them until they are let in; nothing if they leave.
    async fn stand(
        &self,
        connection: ConnectionId,
        door: Door,
        stream: &mut E::Stream,
        admitted: oneshot::Receiver<()>,
    ) -> Option<Hello> {
        let until = self.env.now() + HELLO_WITHIN;
        let heard = async {
            self.introduced(connection, door, stream).await?;
            Hello::read(stream).await
        };
        let heard = tokio::select! {
            biased;
            heard = heard => heard,
            () = self.env.sleep_until(until) => Err(io::ErrorKind::TimedOut.into()),
        };
        let hello = match heard {
            Ok(hello) => Box::new(hello),
            Err(error) => {
                debug!(%connection, %door, %error, "no first words");
                return None;
            }
        };
        let kind = kind(&hello);
        self.tell(Input::Arrived { connection, door, kind }).await;
        // Nothing can be said before the first words are answered: whatever is heard is the end.
        let mut more = [0];
        tokio::select! {
            biased;
            admitted = admitted => admitted.ok().map(|()| *hello),
            _ = stream.read(&mut more) => None,
        }
    }

    /// Serves whoever was let in, from the handshake on.
    async fn attend(
        self: &Arc<Self>,
        connection: ConnectionId,
        door: Door,
        hello: Option<Hello>,
        stream: E::Stream,
        cut: Cut,
    ) {
        // Each stretch of a connection's life is on the heap by itself, and gone with its end: a
        // connection that idles keeps what idling takes, not what its longest stretch took.
        let since = self.env.now();
        let arrived = tokio::select! {
            biased;
            _ = cut.made() => None,
            arrived = Box::pin(self.greet(connection, door, hello, stream)) => Some(arrived),
        };
        let result = match &arrived {
            Some(Ok((_, Arrived::Peer(_)))) => "controller",
            Some(Ok((_, Arrived::Http))) => "client",
            Some(Err(_)) => "failed",
            None => "cut",
        };
        self.metrics.greeted(result, self.env.now().since(since));
        let Some(arrived) = arrived else { return };
        match arrived {
            Ok((stream, Arrived::Peer(peer))) => {
                let party = Party::Controller(peer);
                self.tell(Input::LoggedIn { connection, party }).await;
                let desk = Arc::new(Desk { serve: self.clone(), connection, peer });
                tokio::select! {
                    biased;
                    _ = cut.made() => {}
                    ended = Box::pin(peer::serve(&self.env, &self.peer, stream, desk)) => {
                        debug!(%connection, %peer, %ended, "peer gone");
                    }
                    // It dials again, and is told.
                    () = self.parted(peer) => debug!(%connection, %peer, "peer removed"),
                }
            }
            // The controller door is for controllers, and for whoever asks how this one is.
            Ok((stream, Arrived::Http)) if door == Door::Controller => tokio::select! {
                biased;
                _ = cut.made() => {}
                () = Box::pin(metrics_port::tell_health(self, stream)) => {}
            },
            Ok((stream, Arrived::Http)) => {
                let hangup = async move { cut.made().await };
                let handler = self.clone();
                let (env, config) = (self.env.clone(), self.api.clone());
                Box::pin(api::serve(env, handler, config, connection, stream, hangup)).await;
            }
            // It was said where it happened.
            Err(_) => {}
        }
    }

    pub(super) async fn ask(&self, ask: AskId, request: Request, patience: Duration) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.arrive(Arrival::Asked { ask, request, patience, reply }).await;
        // No answer means that the controller closes; the ask may have been proposed.
        answer.await.unwrap_or(Answer::Unknown)
    }

    /// Who somebody is, if they are who they say, and whether they are a controller's machine.
    pub async fn verify(&self, cluster: &Cluster, login: Login) -> Option<(Identity, bool)> {
        let _attempt = self.metrics.logging_in();
        // The machines of controllers belong to a model of their own, and have to do with all.
        let machine = cluster.machines().contains(&login.tag);
        let model = cluster.controller_model().filter(|_| machine);
        let home = model.map(|model| Place::Model(model.uuid.clone()));
        let credentials = self.credentials.clone();
        let verified = self
            .env
            .compute(move || {
                let Login { place, tag, password, .. } = &login;
                let at = |place: &Place| credentials.verify(place, tag, password);
                let as_controller = home.as_ref().and_then(at).map(|identity| (identity, true));
                as_controller.or_else(|| at(place).map(|identity| (identity, false)))
            })
            .await;
        self.metrics.logged_in(if verified.is_some() { "welcome" } else { "refused" });
        verified
    }

    /// Waits until this controller's table shows everything that was acknowledged anywhere before
    /// this call; nothing if no leader could be asked how far that is.
    pub(super) async fn caught_up(&self) -> Option<()> {
        let caught_up = async {
            let index = self.read_index().await?;
            raft::await_applied(&self.raft, index).await.then_some(())
        };
        tokio::select! {
            biased;
            caught_up = caught_up => caught_up,
            () = self.env.sleep_until(self.env.now() + self.api.patience) => None,
        }
    }

    /// The index up to which this controller's table must be applied to show everything that was
    /// acknowledged anywhere before this call.
    pub async fn read_index(&self) -> Option<u64> {
        match raft::read_index(&self.raft).await {
            Ok(index) => Some(index),
            Err(raft::NotLeader { leader }) => {
                let link = self.peers.get(leader?)?;
                match link.call(&peer::Request::ReadIndex, self.api.patience).await {
                    Ok(Reply::ReadIndex(Ok(index))) => Some(index),
                    Ok(_) | Err(_) => None,
                }
            }
        }
    }
}

/// Who stands at the door, by its first words alone.
fn kind(hello: &Hello) -> Kind {
    if hello.is_peers() { Kind::Controller } else { Kind::Other }
}
