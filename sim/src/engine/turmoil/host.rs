//! A simulated host: the [`Env`] of the production shell, over turmoil's network and clock.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openraft::impls::TokioRuntime;
use openraft_rt::deterministic_rng::DeterministicRng;
use portcullis::env::{Env, Fact};
use portcullis_core::{Address, Seed, Time};
use tokio::time::Instant;
use tracing::Instrument as _;
use turmoil::net::{TcpListener, TcpStream};

use crate::clock::Watch;
use crate::disk::Disk;
use crate::engine::shell::{self, Book, Disks, Play, locked};
use crate::history::Who;
use crate::logs;
use crate::stage::Place;

/// The port of a host's own that stands for its socket in the file system: turmoil has none, but
/// nobody from outside reaches a loopback port either.
const LOCAL_PORT: u16 = 1;

/// What openraft runs on: tokio, with randomness from a seed instead of the thread.
pub type Runtime = DeterministicRng<TokioRuntime>;

/// One process of a host, from its start.
#[derive(Clone)]
pub struct Host {
    who: Who,
    seed: Seed,
    /// When it started, by its runtime and by the run.
    started: Instant,
    began: Time,
    watch: Watch,
    spawned: Arc<AtomicU64>,
    disks: Disks,
    book: Book,
}

impl Host {
    /// A process that starts now; must be called within its host.
    pub fn start(play: &Play, place: Place, seed: Seed) -> Host {
        let (who, disks) = match place {
            Place::Controller(node) => (Who::Controller(node), play.disks(node).clone()),
            Place::Agents => (Who::World, Disks::default()),
        };
        let began = Time(0) + turmoil::sim_elapsed().unwrap_or_default();
        let watch = Watch::start(play.clocks.clone(), place, began);
        let (started, spawned, book) = (Instant::now(), Arc::default(), play.book.clone());
        Host { who, seed, started, began, watch, spawned, disks, book }
    }

    /// Runs the process's first future with this host's randomness.
    pub fn scope<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        let number = self.spawned.fetch_add(1, Ordering::Relaxed);
        Runtime::scope(self.seed.child("task", number).0, future.instrument(logs::of(self.who)))
    }
}

impl shell::Host for Host {
    fn beside(&self, who: Who, seed: Seed) -> Host {
        Host { who, seed, spawned: Arc::default(), ..self.clone() }
    }
}

impl Env for Host {
    type Runtime = Runtime;
    type Stream = TcpStream;
    type Listener = TcpListener;
    type Disk = Disk;

    fn now(&self) -> Time {
        self.watch.shows(self.began + self.started.elapsed())
    }

    async fn sleep_until(&self, at: Time) {
        // Its clock may have become slower meanwhile.
        while self.now() < at {
            let wait = self.watch.when(at).since(self.began);
            tokio::time::sleep_until(self.started + wait).await;
        }
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
        Ok(locked(&self.disks).entry(file.into()).or_default().opened())
    }

    fn saw(&self, fact: Fact<'_>) {
        self.book.saw(self.who, fact);
    }
}
