//! A simulated host: the [`Env`] of the production shell, over madsim's tasks and clock.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use portcullis::env::{Env, Fact};
use portcullis_core::{Address, Seed, Time};
use tracing::Instrument as _;

use super::network::{Listener, Net, Port};
use super::pipe::Stream;
use super::runtime::Runtime;
use crate::clock::Watch;
use crate::disk::Disk;
use crate::engine::shell::{self, Book, Disks, Play, locked};
use crate::history::Who;
use crate::logs;
use crate::stage::Place;

/// One process of a host, from its start.
#[derive(Clone)]
pub struct Host {
    who: Who,
    place: Place,
    seed: Seed,
    watch: Watch,
    spawned: Arc<AtomicU64>,
    disks: Disks,
    book: Book,
    net: Net,
}

impl Host {
    /// A process that starts now, at a place of the network.
    pub fn start(play: &Play, place: Place, seed: Seed, net: Net) -> Host {
        let (who, disks) = match place {
            Place::Controller(node) => (Who::Controller(node), play.disks(node).clone()),
            Place::Agents => (Who::World, Disks::default()),
        };
        let watch = Watch::start(play.clocks.clone(), place, net.now());
        let (spawned, book) = (Arc::default(), play.book.clone());
        Host { who, place, seed, watch, spawned, disks, book, net }
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
    type Stream = Stream;
    type Listener = Listener;
    type Disk = Disk;

    fn now(&self) -> Time {
        self.watch.shows(self.net.now())
    }

    async fn sleep_until(&self, at: Time) {
        // Its clock may have become slower meanwhile.
        while self.now() < at {
            self.net.sleep_until(self.watch.when(at)).await;
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(madsim::task::spawn(self.scope(task)));
    }

    fn seed(&self) -> Seed {
        self.seed
    }

    async fn bind(&self, address: SocketAddr) -> io::Result<(Listener, SocketAddr)> {
        let listener = self.net.bind(self.place, Port::Number(address.port()))?;
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let bound = SocketAddr::new(any, listener.number());
        Ok((listener, bound))
    }

    async fn accept(&self, listener: &mut Listener) -> io::Result<Stream> {
        Ok(listener.accept().await)
    }

    async fn connect(&self, address: &Address) -> io::Result<Stream> {
        self.net.connect(self.place, address).await
    }

    async fn bind_local(&self, _: &Path) -> io::Result<Listener> {
        self.net.bind(self.place, Port::Local)
    }

    async fn connect_local(&self, _: &Path) -> io::Result<Stream> {
        self.net.knock(self.place, self.place, Port::Local).await
    }

    fn open(&self, file: &str) -> io::Result<Disk> {
        Ok(locked(&self.disks).entry(file.into()).or_default().opened())
    }

    fn saw(&self, fact: Fact<'_>) {
        self.book.turn(self.net.now());
        self.book.saw(self.who, fact);
    }
}
