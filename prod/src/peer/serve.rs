//! The answering end of one connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openraft::AsyncRuntime;
use openraft::storage::Snapshot;
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::frame::{Inbox, Message, OUTBOX_MAX, Outbox};
use super::link::silence;
use super::{Config, Error, Hello, Reply, Request};
use crate::env::Env;
use crate::raft::{self, Raft};

/// Most appends of one connection that wait their turn; openraft sends one at a time.
const APPENDS_MAX: usize = 16;

/// Whether a peer may ask anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Welcome,
    /// It is not who it says, or nobody that is known.
    Stranger,
    /// It belonged to the cluster once. It is told so.
    Removed,
}

/// Whoever answers the requests of one connection.
pub trait Handler<R: AsyncRuntime>: Send + Sync + 'static {
    /// Whether the peer is who it says, going by its certificate. The cluster and the addressee
    /// have been checked.
    fn admit(&self, hello: &Hello) -> Admission;

    /// Answers one request. Called for many at a time.
    fn handle(&self, request: Request<R>) -> impl Future<Output = Reply<R>> + Send;
}

/// Answers what a peer asks until the connection ends; the error says why it did.
///
/// Each request is answered in a task of its own, but appends that carry entries are taken one
/// after the other. Heartbeats overtake them, so that a slow disk does not look like a dead leader.
/// What is being answered when the connection ends is answered to nobody.
pub async fn serve<E, S, H>(env: &E, config: &Config, stream: S, handler: Arc<H>) -> Error
where
    E: Env,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler<E::Runtime>,
{
    let deadline = env.now() + config.greeting;
    let greeted = tokio::select! {
        biased;
        greeted = greet(config, stream, &*handler) => greeted,
        () = env.sleep_until(deadline) => Err(Error::Greeting),
    };
    let (inbox, mut outbox) = match greeted {
        Ok(halves) => halves,
        Err(error) => return error,
    };
    let (replies, mut queue) = mpsc::channel(OUTBOX_MAX);
    let heard = AtomicU64::new(env.now().0);
    let ended = tokio::select! {
        biased;
        ended = read(env, config, inbox, &heard, replies, handler) => ended,
        ended = outbox.run(&mut queue) => ended,
        ended = silence(env, &heard, config.silence_max) => ended,
    };
    match ended {
        Err(error) => error,
        // The reader holds a sender of replies, so the writer does not run out of them before it.
        Ok(()) => unreachable!("a connection ends by an error"),
    }
}

type Halves<S> = (Inbox<ReadHalf<S>>, Outbox<WriteHalf<S>>);

async fn greet<R, S, H>(config: &Config, stream: S, handler: &H) -> Result<Halves<S>, Error>
where
    R: AsyncRuntime,
    S: AsyncRead + AsyncWrite + Unpin,
    H: Handler<R>,
{
    let (read, write) = tokio::io::split(stream);
    let (mut inbox, mut outbox) = (Inbox::new(read), Outbox::new(write));
    let message = inbox.next(|| {}).await?;
    let found: Hello = message.decode()?;
    let expected = found.to == config.me && found.cluster == config.cluster;
    let admission = if expected { handler.admit(&found) } else { Admission::Stranger };
    let removed = match admission {
        Admission::Stranger => return Err(Error::Stranger(found)),
        Admission::Welcome => false,
        Admission::Removed => true,
    };
    let (to, cluster) = (found.from, config.cluster.clone());
    let hello = Hello { from: config.me, to, cluster, removed };
    outbox.send(Message::new(message.id, &hello)).await?;
    if removed { Err(Error::Removed(to)) } else { Ok((inbox, outbox)) }
}

/// A request on its way to the handler, with its place among those that may be answered at a time.
struct Asked<R: AsyncRuntime> {
    id: u64,
    request: Request<R>,
    replies: mpsc::Sender<Message>,
    _place: OwnedSemaphorePermit,
}

impl<R: AsyncRuntime> Asked<R> {
    async fn answer(self, handler: &impl Handler<R>) {
        let reply = handler.handle(self.request).await;
        // If the connection has ended, nobody waits for it.
        let _ = self.replies.send(Message::new(self.id, &reply)).await;
    }
}

async fn read<E, S, H>(
    env: &E,
    config: &Config,
    mut inbox: Inbox<ReadHalf<S>>,
    heard: &AtomicU64,
    replies: mpsc::Sender<Message>,
    handler: Arc<H>,
) -> Result<(), Error>
where
    E: Env,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler<E::Runtime>,
{
    let places = Arc::new(Semaphore::new(config.calls_max));
    let (appends, mut turns) = mpsc::channel::<Asked<E::Runtime>>(APPENDS_MAX);
    let worker = Arc::clone(&handler);
    env.spawn(async move {
        while let Some(asked) = turns.recv().await {
            asked.answer(&*worker).await;
        }
    });
    loop {
        let message = inbox.next(|| heard.store(env.now().0, Ordering::Relaxed)).await?;
        let request = message.decode::<Request<E::Runtime>>()?;
        // Never closed; a peer with our limits never waits here.
        let place = Arc::clone(&places).acquire_owned().await.expect("places are not closed");
        let replies = replies.clone();
        let ordered = matches!(&request, Request::Append(append) if !append.entries.is_empty());
        let asked = Asked { id: message.id, request, replies, _place: place };
        if ordered {
            // The worker lives as long as the sender.
            let _ = appends.send(asked).await;
        } else {
            let handler = Arc::clone(&handler);
            env.spawn(async move { asked.answer(&*handler).await });
        }
    }
}

/// Answers what is for raft; gives back what is for the controller.
pub async fn raft_reply<R: AsyncRuntime>(
    raft: &Raft<R>,
    request: Request<R>,
) -> Result<Reply<R>, Request<R>> {
    let reply = match request {
        Request::Ping => Some(Reply::Pong),
        Request::Append(append) => raft.append_entries(append).await.map(Reply::Appended).ok(),
        Request::Vote(vote) => raft.vote(vote).await.map(Reply::Voted).ok(),
        Request::PreVote(vote) => raft.pre_vote(vote).await.map(Reply::Voted).ok(),
        Request::Snapshot { vote, meta, data } => {
            let snapshot = Snapshot { meta, snapshot: data };
            raft.install_full_snapshot(vote, snapshot).await.map(Reply::Restored).ok()
        }
        Request::TransferLeader(transfer) => {
            raft.handle_transfer_leader(transfer).await.map(Reply::Transferred).ok()
        }
        Request::ReadIndex => {
            let index = raft::read_index(raft).await;
            Some(Reply::ReadIndex(index.map_err(|not_leader| not_leader.leader)))
        }
        request @ (Request::Ask { .. }
        | Request::Recall { .. }
        | Request::Load(_)
        | Request::Members(_)
        | Request::Leaving
        | Request::Look
        | Request::Lead { .. }) => {
            return Err(request);
        }
    };
    Ok(reply.unwrap_or(Reply::Stopped))
}
