//! A world of one process: tokio's clock, in-memory disks, and pipes instead of a network.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use openraft::impls::TokioRuntime;
use portcullis::env::{Env, Fact};
use portcullis_core::{Address, Seed, Time};
use redb::backends::InMemoryBackend;
use tokio::io::DuplexStream;
use tokio::time::Instant;

/// One host.
#[derive(Clone, Debug)]
pub struct World {
    started: Instant,
    seed: Seed,
}

impl World {
    pub fn new(seed: u64) -> World {
        World { started: Instant::now(), seed: Seed(seed) }
    }
}

impl Env for World {
    type Runtime = TokioRuntime;
    type Stream = DuplexStream;
    type Listener = ();
    type Disk = InMemoryBackend;

    fn now(&self) -> Time {
        Time(self.started.elapsed().as_micros() as u64)
    }

    async fn sleep_until(&self, at: Time) {
        tokio::time::sleep_until(self.started + Duration::from_micros(at.0)).await;
    }

    #[expect(clippy::disallowed_methods, reason = "this is where Env::spawn ends")]
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }

    fn seed(&self) -> Seed {
        self.seed
    }

    async fn bind(&self, _: SocketAddr) -> io::Result<((), SocketAddr)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn accept(&self, (): &mut ()) -> io::Result<DuplexStream> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn connect(&self, _: &Address) -> io::Result<DuplexStream> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn open(&self, _: &str) -> io::Result<InMemoryBackend> {
        Ok(InMemoryBackend::new())
    }

    fn saw(&self, _: Fact<'_>) {}
}
