//! The asking end: one lasting connection to one peer, and many calls on it at a time.
//!
//! A call never waits for a connection: without one it fails at once, so that raft turns to the
//! peers that are there. Reconnecting goes on by itself, with core's backoff.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use openraft::AsyncRuntime;
use portcullis_core::backoff::Backoff;
use portcullis_core::{NodeId, Time};
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot, watch};

use super::frame::{Inbox, MESSAGE_MAX, Message, OUTBOX_MAX, Outbox};
use super::{Config, Error, Hello, Reply, Request};
use crate::env::Env;
use crate::tls;

/// Id of every ping: nobody waits for the pong, it is enough that it is heard.
const PING: u64 = 0;

/// Shortest time between two warnings that a peer's certificate, or this controller's, is not
/// believed: one link tries several times a second.
pub const MISTRUST_EVERY: Duration = Duration::from_secs(60);

/// Why a call has no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// There is no connection: the request was never sent.
    #[error("peer is unreachable")]
    Unreachable,
    /// [`Config::calls_max`] calls wait already: the request was never sent.
    #[error("too many calls to peer")]
    Busy,
    /// It is above [`MESSAGE_MAX`]: the request was never sent.
    #[error("message to peer is too large")]
    TooLarge,
    /// The connection broke: the request may have been acted on.
    #[error("connection to peer was lost")]
    Lost,
    /// No reply came in time: the request may have been acted on, or may yet be.
    #[error("peer did not reply in time")]
    Timeout,
}

impl Failure {
    /// Whether the request never left, so that it has not been acted on and never will be.
    pub fn never_sent(self) -> bool {
        match self {
            Failure::Unreachable | Failure::Busy | Failure::TooLarge => true,
            Failure::Lost | Failure::Timeout => false,
        }
    }
}

/// A handle on the connection to one peer; clones share it. It is closed when the last one is gone.
pub struct Link<E: Env>(Arc<Shared<E>>);

impl<E: Env> Clone for Link<E> {
    fn clone(&self) -> Self {
        Link(Arc::clone(&self.0))
    }
}

struct Shared<E: Env> {
    env: E,
    peer: NodeId,
    calls_max: usize,
    session: Mutex<Option<Session<E::Runtime>>>,
    /// Whether there is one.
    up: watch::Sender<bool>,
}

/// One connection while it lasts.
struct Session<R: AsyncRuntime> {
    outbox: mpsc::Sender<Message>,
    calls: Arc<Calls<R>>,
}

impl<R: AsyncRuntime> Clone for Session<R> {
    fn clone(&self) -> Self {
        Session { outbox: self.outbox.clone(), calls: Arc::clone(&self.calls) }
    }
}

/// The calls that wait for replies on one connection.
struct Calls<R: AsyncRuntime> {
    waiting: Mutex<BTreeMap<u64, oneshot::Sender<Reply<R>>>>,
    ids: AtomicU64,
}

impl<E: Env> Link<E> {
    /// Starts dialling, and goes on for as long as there is a handle. `dial` is told how many dials
    /// have failed in a row, so that it can go through several addresses.
    pub fn start<D, F, S>(env: &E, config: &Config, peer: NodeId, dial: D) -> Link<E>
    where
        D: Fn(usize) -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shared = Arc::new(Shared {
            env: env.clone(),
            peer,
            calls_max: config.calls_max,
            session: Mutex::new(None),
            up: watch::Sender::new(false),
        });
        let (weak, config) = (Arc::downgrade(&shared), config.clone());
        env.spawn(keep(env.clone(), config, peer, dial, weak));
        Link(shared)
    }

    /// Who is at the other end.
    pub fn peer(&self) -> NodeId {
        self.0.peer
    }

    /// Whether there is a connection.
    pub fn connected(&self) -> bool {
        locked(&self.0.session).is_some()
    }

    /// Whether there is a connection, as it changes.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.0.up.subscribe()
    }

    /// How many calls wait for their replies; at most [`Config::calls_max`].
    pub fn calls(&self) -> usize {
        locked(&self.0.session).as_ref().map_or(0, |session| locked(&session.calls.waiting).len())
    }

    /// Asks, and waits for the reply no longer than `patience`.
    pub async fn call(
        &self,
        request: &Request<E::Runtime>,
        patience: Duration,
    ) -> Result<Reply<E::Runtime>, Failure> {
        let env = &self.0.env;
        let deadline = env.now() + patience;
        let session = locked(&self.0.session).clone().ok_or(Failure::Unreachable)?;
        let (id, reply) = session.calls.wait(self.0.calls_max).ok_or(Failure::Busy)?;
        let calls = Arc::clone(&session.calls);
        let _forgotten = Forget { calls, id };
        let message = Message::new(id, request);
        if message.bytes.len() > MESSAGE_MAX {
            return Err(Failure::TooLarge);
        }
        let answer = async {
            session.outbox.send(message).await.map_err(|_| Failure::Lost)?;
            // So that a connection can end while calls still wait for it.
            drop(session);
            reply.await.map_err(|_| Failure::Lost)
        };
        tokio::select! {
            biased;
            answer = answer => answer,
            () = env.sleep_until(deadline) => Err(Failure::Timeout),
        }
    }
}

impl<R: AsyncRuntime> Calls<R> {
    fn wait(&self, calls_max: usize) -> Option<(u64, oneshot::Receiver<Reply<R>>)> {
        let mut waiting = locked(&self.waiting);
        if waiting.len() >= calls_max {
            return None;
        }
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        waiting.insert(id, sender);
        Some((id, receiver))
    }

    fn resolve(&self, message: &Message) -> Result<(), Error> {
        // Nobody waits for a pong, nor for a reply that comes too late.
        if let Some(call) = locked(&self.waiting).remove(&message.id) {
            // A reply that does not decode breaks the connection, and the call with it.
            let _ = call.send(message.decode()?);
        }
        Ok(())
    }
}

/// Takes a call off the list however it ends.
struct Forget<R: AsyncRuntime> {
    calls: Arc<Calls<R>>,
    id: u64,
}

impl<R: AsyncRuntime> Drop for Forget<R> {
    fn drop(&mut self) {
        locked(&self.calls.waiting).remove(&self.id);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics under these locks.
    mutex.lock().expect("the lock is never poisoned")
}

/// Dials, converses, waits, and dials again.
async fn keep<E, D, F, S>(env: E, config: Config, peer: NodeId, dial: D, link: Weak<Shared<E>>)
where
    E: Env,
    D: Fn(usize) -> F + Send + Sync + 'static,
    F: Future<Output = io::Result<S>> + Send,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut failed, mut quiet_until) = (0, Time(0));
    let mut backoff = Backoff::new(config.backoff.clone());
    let mut rng = env.seed().child("peer backoff", peer.0).rng();
    while link.strong_count() > 0 {
        let deadline = env.now() + config.greeting;
        let greeted = tokio::select! {
            biased;
            greeted = greet(&config, peer, dial(failed)) => greeted,
            () = env.sleep_until(deadline) => Err(Error::Greeting),
        };
        let ended = match greeted {
            Ok((inbox, outbox)) => {
                backoff.reset();
                failed = 0;
                tracing::debug!(%peer, "connected to peer");
                converse(&env, &config, inbox, outbox, &link).await
            }
            Err(error) => {
                failed += 1;
                Err(error)
            }
        };
        match ended {
            Ok(()) => break,
            Err(
                error @ (Error::Stranger(_) | Error::Codec(_) | Error::Framing | Error::Removed(_)),
            ) => {
                tracing::warn!(%peer, %error, "peer refused");
            }
            Err(error @ (Error::Io(_) | Error::Greeting | Error::Silent)) => {
                tracing::debug!(%peer, %error, "no connection to peer");
                if let Error::Io(error) = &error
                    && let Some(what) = tls::mistrust(error)
                    && env.now() >= quiet_until
                {
                    quiet_until = env.now() + MISTRUST_EVERY;
                    tracing::warn!(%peer, "no connection to peer: {what}");
                }
            }
        }
        let wait = backoff.wait(Duration::ZERO, &mut rng);
        env.sleep_until(env.now() + wait).await;
    }
}

type Halves<S> = (Inbox<ReadHalf<S>>, Outbox<WriteHalf<S>>);

async fn greet<S>(
    config: &Config,
    peer: NodeId,
    dialled: impl Future<Output = io::Result<S>>,
) -> Result<Halves<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (read, write) = tokio::io::split(dialled.await?);
    let (mut inbox, mut outbox) = (Inbox::new(read), Outbox::new(write));
    let cluster = config.cluster.clone();
    let hello = Hello { from: config.me, to: peer, cluster, removed: false };
    outbox.send(Message::new(PING, &hello)).await?;
    let found: Hello = inbox.next(|| {}).await?.decode()?;
    if found.from != peer || found.to != config.me || found.cluster != config.cluster {
        return Err(Error::Stranger(found));
    }
    if found.removed {
        config.disowned.cancel();
        return Err(Error::Removed(config.me));
    }
    Ok((inbox, outbox))
}

/// Carries calls and replies until the connection breaks, or well until the link is dropped.
async fn converse<E: Env, S: AsyncRead + AsyncWrite + Unpin>(
    env: &E,
    config: &Config,
    mut inbox: Inbox<ReadHalf<S>>,
    mut outbox: Outbox<WriteHalf<S>>,
    link: &Weak<Shared<E>>,
) -> Result<(), Error> {
    let (sender, mut queue) = mpsc::channel(OUTBOX_MAX);
    let pings = sender.downgrade();
    let calls = Arc::new(Calls { waiting: Mutex::new(BTreeMap::new()), ids: AtomicU64::new(1) });
    match link.upgrade() {
        Some(link) => {
            let session = Session { outbox: sender, calls: Arc::clone(&calls) };
            *locked(&link.session) = Some(session);
            link.up.send_replace(true);
        }
        None => return Ok(()),
    }
    let heard = AtomicU64::new(env.now().0);
    let reading = async {
        loop {
            let message = inbox.next(|| heard.store(env.now().0, Ordering::Relaxed)).await?;
            calls.resolve(&message)?;
        }
    };
    let pinging = async {
        loop {
            env.sleep_until(env.now() + config.ping).await;
            // With no handle left there is nothing to ping, and with a full queue no need.
            if let Some(outbox) = pings.upgrade() {
                let _ = outbox.try_send(ping::<E::Runtime>());
            }
        }
    };
    let ended = tokio::select! {
        biased;
        ended = reading => ended,
        ended = outbox.run(&mut queue) => ended,
        ended = silence(env, &heard, config.silence_max) => ended,
        ended = pinging => ended,
    };
    if let Some(link) = link.upgrade() {
        *locked(&link.session) = None;
        link.up.send_replace(false);
    }
    // Whoever still waits is told by the senders going away; closed first, so that nobody joins
    // them.
    queue.close();
    locked(&calls.waiting).clear();
    ended
}

fn ping<R: AsyncRuntime>() -> Message {
    Message::new(PING, &Request::<R>::Ping)
}

/// Ends when nothing was heard for too long.
pub(super) async fn silence<E: Env>(
    env: &E,
    heard: &AtomicU64,
    silence_max: Duration,
) -> Result<(), Error> {
    loop {
        let until = Time(heard.load(Ordering::Relaxed)) + silence_max;
        if until <= env.now() {
            return Err(Error::Silent);
        }
        env.sleep_until(until).await;
    }
}
