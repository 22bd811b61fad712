//! One connection: to its backend, and then bytes until it ends.

use std::io;
use std::sync::Arc;

use portcullis_core::front::{Fault, Input};
use portcullis_core::{BackendId, ConnectionId};
use rustix::io::Errno;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::counters::count;
use super::relay::Relay;
use super::shell::Arrival;
use super::{Backend, Serve, proxy};
use crate::env::Env;

/// A connection that is to be joined with a backend.
pub struct Join<E: Env> {
    pub serve: Arc<Serve<E>>,
    pub connection: ConnectionId,
    pub id: BackendId,
    pub backend: Backend,
    pub stream: E::Stream,
    /// Hangs up.
    pub cut: CancellationToken,
}

impl<E: Env> Join<E> {
    /// Connects, and leaves the bytes to a task of their own, which needs far less memory.
    pub async fn run(self) {
        let Join { serve, connection, id, backend, stream, cut } = self;
        let address = &backend.address;
        let until = serve.env.now() + serve.connect_within;
        let connected = tokio::select! {
            biased;
            () = cut.cancelled() => Err(io::ErrorKind::ConnectionAborted.into()),
            connected = serve.env.connect(address) => connected,
            () = serve.env.sleep_until(until) => Err(io::ErrorKind::TimedOut.into()),
        };
        let far = match connected {
            Ok(far) => far,
            Err(error) => {
                count(&serve.counters.missed);
                let fault = if cut.is_cancelled() { Fault::Here } else { fault(&error) };
                info!(%connection, backend = %address, %error, "not connected");
                return serve.arrive(Arrival::NotJoined { connection, stream, fault }).await;
            }
        };
        count(&serve.counters.joined);
        let ends = serve.env.ends(&stream);
        debug!(%connection, backend = %address, from = ?ends.map(|ends| ends.from), "joined");
        let first = match backend.proxy_protocol {
            true => proxy::header(ends),
            false => Vec::new(),
        };
        serve.tell(Input::Joined { connection }).await;
        let relay = Relay::new(stream, far, first, serve.counters.clone());
        let env = serve.env.clone();
        env.spawn(carry(serve, id, relay, cut));
    }
}

/// Carries the bytes. Why a connection has ended is the business of its two ends.
async fn carry<E: Env>(
    serve: Arc<Serve<E>>,
    backend: BackendId,
    relay: Relay<E::Stream, E::Stream>,
    cut: CancellationToken,
) {
    tokio::select! {
        biased;
        () = cut.cancelled() => count(&serve.counters.hung_up),
        _ = relay => {}
    }
    serve.tell(Input::Ended { backend }).await;
}

/// Whether the backend is to blame. No file, no memory, and no local port (28,232 of them for each
/// backend, unless `net.ipv4.ip_local_port_range` says otherwise) are this host's own faults.
fn fault(error: &io::Error) -> Fault {
    let ours = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::ADDRNOTAVAIL,
        Errno::AGAIN,
    ];
    match error.raw_os_error().is_some_and(|raw| ours.contains(&Errno::from_raw_os_error(raw))) {
        true => Fault::Here,
        false => Fault::Backend,
    }
}
