//! A balancing front: one port before several backends, which need know nothing of it.
//!
//! It carries bytes and never decrypts them, so clients prove backends by their own certificates
//! and a front needs none. Which backend a connection goes to, who is healthy and whom it lets in
//! is decided by core's [`front`](portcullis_core::front) (seeds 000 and 001); here are the port,
//! the probes and the bytes.
//!
//! ```text
//!  clients ──▶ door ──▶ shell: drive(Front) ──▶ connection: connect, then relay ──▶ backends
//!            (permits)        ▲───── probe ◀──────────────────────────┘ (each, by itself)
//! ```

mod connection;
pub mod counters;
mod door;
mod figures;
mod probe;
pub mod proxy;
pub mod relay;
mod shell;
mod shown;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use futures_util::FutureExt;
use portcullis_core::Address;
use portcullis_core::front::{self, Front as Machine, Input, Status};
use rustls::ClientConfig;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::drive::drive;
use crate::env::Env;
use counters::Counters;
use door::Door;
use shell::{Arrival, Surroundings};

/// Most arrivals that wait for the machine; who has another one waits.
const INBOX_MAX: usize = 4_096;
/// Most connections to the metrics address at a time; the next waits in the backlog.
const SCRAPES_MAX: usize = 8;

/// How a backend is asked how it is.
#[derive(Clone, Debug)]
pub enum Health {
    /// `GET /health` over TLS: 2xx is healthy, 503 says that it starts or stops. A line
    /// `connections N` in the answer's body is its own count of connections.
    Https { tls: Arc<ClientConfig> },
    /// Whether it can be connected to: for servers that tell nothing of themselves.
    Tcp,
}

/// One backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// `host:port` that connections go to.
    pub address: Address,
    /// `host:port` that is probed; `address` unless said. The controller door of a Portcullis node
    /// is the better choice: it is never paced, while a probe of the API door waits with the herd.
    pub health: Option<Address>,
    /// Whether each connection begins with a PROXY header (see [`proxy`]).
    pub proxy_protocol: bool,
}

/// Everything a front needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; with port 0 the kernel chooses.
    pub listen: SocketAddr,
    /// Where to show metrics and health to whoever asks, by plain HTTP; see [`Front::shown`].
    pub metrics: Option<SocketAddr>,
    /// The backends, each address once.
    pub backends: Vec<Backend>,
    /// How they are asked how they are.
    pub health: Health,
    /// Longest time that a probe may take.
    pub probe_within: Duration,
    /// Longest time that connecting to a backend may take.
    pub connect_within: Duration,
    /// Limits of the machine.
    pub limits: front::Config,
}

/// How a front is.
#[derive(Clone, Debug)]
pub struct Report {
    /// What it does, in words.
    pub phase: &'static str,
    /// Whether a backend is up, and nobody has told it to stop.
    pub serves: bool,
    /// Connections that were let in and are not over.
    pub connections: usize,
    /// Those of them that have not reached a backend.
    pub joining: usize,
    /// Connections to the metrics address.
    pub scrapes: usize,
    /// Each backend, and what its last probe has said.
    pub backends: Vec<(Status, String)>,
    /// What was done so far.
    pub counters: Arc<Counters>,
}

impl fmt::Display for Report {
    /// A line for the front, and one for each backend.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: connections={}", self.phase, self.connections)?;
        write!(f, " joining={}{}", self.joining, self.counters)?;
        self.backends.iter().try_for_each(|(backend, said)| {
            let Status { address, standing, connections, elsewhere } = backend;
            write!(f, "\n  {address} {standing}: connections={connections}")?;
            write!(f, " elsewhere={elsewhere} probe={said:?}")
        })
    }
}

/// What every task of a front needs.
struct Serve<E: Env> {
    env: E,
    inbox: mpsc::Sender<Arrival<E::Stream>>,
    counters: Arc<Counters>,
    health: Health,
    probe_within: Duration,
    connect_within: Duration,
    limits: front::Config,
    scrapes: AtomicUsize,
}

impl<E: Env> Serve<E> {
    async fn arrive(&self, arrival: Arrival<E::Stream>) {
        // The machine goes with the front, and then nobody needs to know.
        let _ = self.inbox.send(arrival).await;
    }

    async fn tell(&self, input: Input) {
        self.arrive(Arrival::Told(input)).await;
    }

    async fn report(&self) -> Option<Report> {
        let (reply, report) = oneshot::channel();
        self.arrive(Arrival::Asked { reply }).await;
        report.await.ok()
    }
}

/// A running front. It stops when [`Front::stop`] is called, not when this is dropped.
pub struct Front<E: Env> {
    serve: Arc<Serve<E>>,
    bound: SocketAddr,
    shown: Option<SocketAddr>,
    ended: CancellationToken,
}

impl<E: Env> Front<E> {
    /// Binds the ports and probes the backends; lets somebody in once one of them is healthy. Fails
    /// if a port cannot be bound.
    pub async fn start(env: E, config: Config) -> io::Result<Front<E>> {
        let (listener, bound) = bind(&env, config.listen).await?;
        let metrics = match config.metrics {
            Some(address) => Some(bind(&env, address).await?),
            None => None,
        };
        let shown = metrics.as_ref().map(|(_, bound)| *bound);
        let (inbox, arrivals) = mpsc::channel(INBOX_MAX);
        let Config { health, probe_within, connect_within, backends, limits, .. } = config;
        let machine = Machine::new(limits.clone(), env.seed().child("front", 0));
        let serve = Arc::new(Serve {
            env,
            inbox,
            counters: Arc::default(),
            health,
            probe_within,
            connect_within,
            limits,
            scrapes: AtomicUsize::new(0),
        });
        let ended = CancellationToken::new();
        let door = Door::open(serve.clone(), listener);
        let surroundings = Surroundings::new(serve.clone(), door, ended.clone());
        let driven = drive(serve.env.clone(), machine, surroundings, arrivals);
        serve.env.spawn(ended.clone().run_until_cancelled_owned(driven).map(drop));
        if let Some((listener, _)) = metrics {
            let shows = shown::run(serve.clone(), listener);
            serve.env.spawn(ended.clone().run_until_cancelled_owned(shows).map(drop));
        }
        serve.arrive(Arrival::Set { backends }).await;
        Ok(Front { serve, bound, shown, ended })
    }

    /// The port that is bound.
    pub fn bound(&self) -> SocketAddr {
        self.bound
    }

    /// Where metrics and health are shown, if they are.
    pub fn shown(&self) -> Option<SocketAddr> {
        self.shown
    }

    /// Goes on with these backends. Connections of those that are removed may go on for `drain`.
    pub async fn set(&self, backends: Vec<Backend>) {
        self.serve.arrive(Arrival::Set { backends }).await;
    }

    /// How the front is; nothing if it has ended.
    pub async fn report(&self) -> Option<Report> {
        self.serve.report().await
    }

    /// Stops listening and lets the connections end, for `drain` at most; said again, hangs up.
    pub async fn stop(&self) {
        self.serve.tell(Input::Stopping).await;
    }

    /// Returns when the front was stopped and its last connection is gone.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

async fn bind<E: Env>(env: &E, address: SocketAddr) -> io::Result<(E::Listener, SocketAddr)> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{address}: {error}"));
    env.bind(address).await.map_err(named)
}
