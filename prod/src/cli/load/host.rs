//! The world of one connection: this machine, with a seed and a source address of its own.

use std::io;
use std::net::{IpAddr, SocketAddr};

use portcullis::env::{Env, Fact};
use portcullis::tokio_env::{Stream, Tokio};
use portcullis_core::{Address, Seed, Time};
use tokio::net::TcpSocket;

/// See the module.
#[derive(Clone, Debug)]
pub struct Host {
    pub machine: Tokio,
    pub seed: Seed,
    /// Where its connections come from; the kernel chooses if it is not said.
    pub source: Option<IpAddr>,
}

impl Env for Host {
    type Runtime = <Tokio as Env>::Runtime;
    type Stream = <Tokio as Env>::Stream;
    type Listener = <Tokio as Env>::Listener;
    type Disk = <Tokio as Env>::Disk;

    fn now(&self) -> Time {
        self.machine.now()
    }

    fn sleep_until(&self, at: Time) -> impl Future<Output = ()> + Send {
        self.machine.sleep_until(at)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.machine.spawn(task);
    }

    fn seed(&self) -> Seed {
        self.seed
    }

    fn bind(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<(Self::Listener, SocketAddr)>> + Send {
        self.machine.bind(address)
    }

    fn accept(
        &self,
        listener: &mut Self::Listener,
    ) -> impl Future<Output = io::Result<Self::Stream>> + Send {
        self.machine.accept(listener)
    }

    async fn connect(&self, address: &Address) -> io::Result<Self::Stream> {
        let Some(source) = self.source else { return self.machine.connect(address).await };
        let to: SocketAddr = address.as_str().parse().map_err(io::Error::other)?;
        let socket = match source {
            IpAddr::V4(_) => TcpSocket::new_v4()?,
            IpAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.bind(SocketAddr::new(source, 0))?;
        socket.set_nodelay(true)?;
        socket.connect(to).await.map(Stream::Port)
    }

    fn open(&self, file: &str) -> io::Result<Self::Disk> {
        self.machine.open(file)
    }

    /// Not even for the log: there are as many machines as holders.
    fn saw(&self, _: Fact<'_>) {}
}
