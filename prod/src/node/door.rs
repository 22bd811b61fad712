//! One door: a bound port that lets in one connection for each permit.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use portcullis_core::{ConnectionId, Door, controller};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Arrival, At, Serve};
use crate::env::Env;

/// Wait after a failed accept, such as for want of file descriptors, before the permit is tried
/// again. The permit is kept: an error here must not cost the next connection its turn.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The numbers of a process's connections, through all doors.
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<AtomicU64>);

impl Connections {
    fn next(&self) -> ConnectionId {
        ConnectionId(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// What may be done with the next connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// It is let in.
    Accept,
    /// It stands at the door until the machine lets it in.
    Hold,
}

/// A door that the machine has ordered open.
pub struct Opened {
    permits: mpsc::Sender<Permit>,
    shut: CancellationToken,
}

impl Opened {
    /// Binds the port and lets connections in as permitted, on a task of its own.
    pub fn open<E: Env>(
        serve: Arc<Serve<E>>,
        door: Door,
        at: At,
        connections: Connections,
    ) -> Opened {
        // The machine has one permit out at a time; a second has room until the first is used up.
        let (permits, permitted) = mpsc::channel(2);
        let shut = CancellationToken::new();
        let task = Task { serve: serve.clone(), door, at, connections, shut: shut.clone() };
        serve.env.spawn(task.run(permitted));
        Opened { permits, shut }
    }

    /// Lets exactly one connection in, or come to stand at the door.
    pub fn permit(&self, permit: Permit) {
        // Full or closed only if the port could not be bound, and then the machine opens it anew.
        let _ = self.permits.try_send(permit);
    }

    /// Stops listening.
    pub fn shut(&self) {
        self.shut.cancel();
    }
}

struct Task<E: Env> {
    serve: Arc<Serve<E>>,
    door: Door,
    at: At,
    connections: Connections,
    shut: CancellationToken,
}

impl<E: Env> Task<E> {
    async fn run(self, mut permitted: mpsc::Receiver<Permit>) {
        let door = self.door;
        let (mut listener, at) = match self.bind().await {
            Ok(bound) => bound,
            Err(error) => {
                warn!(%door, at = %self.at, %error, "door not bound, trying again");
                return self.serve.tell(controller::Input::NotOpened { door }).await;
            }
        };
        info!(%door, %at, "open");
        self.serve.arrive(Arrival::Bound { door, at }).await;
        while let Some(permit) = self.until_shut(permitted.recv()).await.flatten() {
            let Some(stream) = self.until_shut(self.accept(&mut listener)).await else { return };
            let (connection, serve) = (self.connections.next(), self.serve.clone());
            match permit {
                Permit::Accept => serve.connected(connection, door, stream).await,
                Permit::Hold => serve.knocked(connection, door, stream).await,
            }
        }
    }

    async fn bind(&self) -> io::Result<(E::Listener, At)> {
        let env = &self.serve.env;
        match &self.at {
            At::Port(address) => {
                let (listener, bound) = env.bind(*address).await?;
                Ok((listener, At::Port(bound)))
            }
            At::Socket(path) => Ok((env.bind_local(path).await?, self.at.clone())),
        }
    }

    async fn accept(&self, listener: &mut E::Listener) -> E::Stream {
        let env = &self.serve.env;
        loop {
            match env.accept(listener).await {
                Ok(stream) => return stream,
                Err(error) => {
                    warn!(door = %self.door, %error, "accept failed, trying again");
                    env.sleep_until(env.now() + ACCEPT_AGAIN).await;
                }
            }
        }
    }

    async fn until_shut<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.shut.cancelled() => None,
            value = future => Some(value),
        }
    }
}
