//! A simulated host: the [`Env`] of the production shell, over turmoil's network and clock.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use openraft::impls::TokioRuntime;
use openraft_rt::deterministic_rng::DeterministicRng;
use portcullis::env::{Env, Fact};
use portcullis_core::{Address, Seed, Time};
use tokio::time::Instant;
use turmoil::net::{TcpListener, TcpStream};

use crate::disk::Disk;
use crate::history::{Event, History, Who};
use crate::singular::{Single, What, Worker};
use crate::stage::Parts;

/// The port of a host's own that stands for its socket in the file system: turmoil has none, but
/// nobody from outside reaches a loopback port either.
const LOCAL_PORT: u16 = 1;

/// What openraft runs on: tokio, with randomness from a seed instead of the thread.
pub type Runtime = DeterministicRng<TokioRuntime>;

/// The disks of one host, by file name; they outlive its processes.
pub type Disks = Arc<Mutex<BTreeMap<String, Disk>>>;

/// Opens what the hosts of a run share. One thread runs them all, so it is never contended.
pub fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic ends the process (see main), so nobody meets a poisoned lock.
    shared.lock().expect("no holder of the lock panics")
}

/// The history that all hosts write, and the time they write it under.
///
/// The hosts take turns at every tick, each with a clock of its own; what they write down is the
/// time at which the tick began, which never goes back.
#[derive(Clone)]
pub struct Book(Arc<Mutex<(Time, History)>>);

impl Book {
    pub fn new(history: History) -> Book {
        Book(Arc::new(Mutex::new((Time(0), history))))
    }

    /// Turns to the next tick, and says who has which part.
    pub fn turn(&self, now: Time) -> Parts {
        let mut book = locked(&self.0);
        book.0 = now;
        book.1.parts()
    }

    /// Writes down what happened in this tick.
    pub fn record(&self, who: Who, event: Event<'_>) {
        let mut book = locked(&self.0);
        let (now, history) = &mut *book;
        history.record(*now, who, event);
    }

    /// Whether the run is over.
    pub fn over(&self) -> bool {
        let mut book = locked(&self.0);
        let (now, history) = &mut *book;
        history.over(*now)
    }

    /// Takes the history out; nobody may write any more.
    pub fn close(self) -> Option<History> {
        Some(Arc::into_inner(self.0)?.into_inner().ok()?.1)
    }
}

/// One process of a host, from its start.
#[derive(Clone)]
pub struct Host {
    who: Who,
    seed: Seed,
    started: Instant,
    spawned: Arc<AtomicU64>,
    disks: Disks,
    book: Book,
}

impl Host {
    /// A process that starts now; must be called within its host.
    pub fn start(who: Who, seed: Seed, disks: Disks, book: Book) -> Host {
        let spawned = Arc::default();
        Host { who, seed, started: Instant::now(), spawned, disks, book }
    }

    /// Another process on the same host, such as one more agent.
    pub fn beside(&self, who: Who, seed: Seed) -> Host {
        Host { who, seed, spawned: Arc::default(), ..self.clone() }
    }

    /// Runs the process's first future with this host's randomness.
    pub fn scope<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        let number = self.spawned.fetch_add(1, Ordering::Relaxed);
        Runtime::scope(self.seed.child("task", number).0, future)
    }
}

impl Env for Host {
    type Runtime = Runtime;
    type Stream = TcpStream;
    type Listener = TcpListener;
    type Disk = Disk;

    fn now(&self) -> Time {
        Time(0) + self.started.elapsed()
    }

    fn sleep_until(&self, at: Time) -> impl Future<Output = ()> + Send {
        tokio::time::sleep_until(self.started + at.since(Time(0)))
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // This is what Env::spawn is made of.
        #[allow(clippy::disallowed_methods)]
        drop(tokio::spawn(self.scope(task)));
    }

    fn seed(&self) -> Seed {
        self.seed
    }

    async fn bind(&self, address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let listener = TcpListener::bind((any, address.port())).await?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    }

    async fn accept(&self, listener: &mut TcpListener) -> io::Result<TcpStream> {
        listener.accept().await.map(|(stream, _)| stream)
    }

    async fn connect(&self, address: &Address) -> io::Result<TcpStream> {
        TcpStream::connect(address.as_str()).await
    }

    async fn bind_local(&self, _: &Path) -> io::Result<TcpListener> {
        TcpListener::bind((Ipv4Addr::LOCALHOST, LOCAL_PORT)).await
    }

    async fn connect_local(&self, _: &Path) -> io::Result<TcpStream> {
        TcpStream::connect((Ipv4Addr::LOCALHOST, LOCAL_PORT)).await
    }

    fn open(&self, file: &str) -> io::Result<Disk> {
        Ok(locked(&self.disks).entry(file.into()).or_default().clone())
    }

    fn saw(&self, fact: Fact<'_>) {
        let event = match fact {
            Fact::ControllerTold(input) => Event::Told(input),
            Fact::ControllerOrdered(output) => Event::Ordered(output),
            Fact::Applied { index, entry, applied } => Event::Applied { index, entry, applied },
            Fact::Cluster(affair) => Event::Cluster(affair),
            Fact::AgentTold(input) => Event::AgentTold(input),
            Fact::AgentOrdered(output) => Event::AgentOrdered(output),
            Fact::SingularTold { lease, input } => match Worker::of(lease) {
                Some(worker) => Event::Singular(Single { worker, what: What::Told(input) }),
                None => return,
            },
            Fact::SingularOrdered { lease, output } => match Worker::of(lease) {
                Some(worker) => Event::Singular(Single { worker, what: What::Ordered(output) }),
                None => return,
            },
            // No scenario has a front among its hosts.
            Fact::FrontTold(_) | Fact::FrontOrdered(_) => return,
        };
        self.book.record(self.who, event);
    }
}
