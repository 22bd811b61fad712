//! A websocket whose writing never keeps it from reading.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Sink, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::farewell::{Farewell, REASON_MAX};

/// Bytes read at once, which an idle connection keeps: the default is 128 KiB. An agent's request is
/// shorter; the room for a longer one is made when its length is known.
const READ_BUFFER: usize = 512;

/// How much one side takes and keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest message taken, in bytes, whether in one frame or in fragments. A buffer that has
    /// grown is kept, so this bounds what a connection costs for as long as it lives.
    pub message_max: usize,
    /// Most messages that wait to be written. Above zero.
    pub outbox_max: usize,
}

impl Limits {
    /// The settings of the websocket beneath. Nothing is kept back for later, so what is written is
    /// one message and a control frame or two.
    pub fn websocket(self) -> WebSocketConfig {
        /// Room in the write buffer: the largest answer, which is a page of leases or a list of
        /// servers, and control frames.
        const WRITE_BUFFER_MAX: usize = 2 * 1024 * 1024;
        WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BUFFER_MAX)
            .max_message_size(Some(self.message_max))
            .max_frame_size(Some(self.message_max))
    }
}

/// What came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A whole message.
    Text(String),
    /// The other side broke the rules; [`Socket::close`] is to say so.
    Foul { code: CloseCode, what: String },
    /// The outbox was full, and there is room in it.
    Room,
    /// There is nothing more to come.
    Gone,
}

/// One side of a websocket.
///
/// [`next`](Socket::next) reads, and writes meanwhile what was [pushed](Socket::push), in order.
/// Everything is done by whoever awaits `next`: there is no second task, and dropping the future
/// loses nothing.
pub struct Socket<S> {
    websocket: WebSocketStream<S>,
    limits: Limits,
    /// What waits to be written, each with the number it was pushed under.
    outbox: VecDeque<(u64, String)>,
    unflushed: bool,
    /// What the other side has said at the end.
    farewell: Option<Farewell>,
}

impl<S> Socket<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// A server's side, on a stream of which `read` was read too far.
    pub async fn server(stream: S, read: &Bytes, limits: Limits) -> Socket<S> {
        let config = Some(limits.websocket());
        let read = read.to_vec();
        let stream = WebSocketStream::from_partially_read(stream, read, Role::Server, config).await;
        Socket::new(stream, limits)
    }

    /// Either side, after the handshake.
    pub fn new(websocket: WebSocketStream<S>, limits: Limits) -> Socket<S> {
        assert!(limits.outbox_max > 0, "nothing could ever be written");
        Socket { websocket, limits, outbox: VecDeque::new(), unflushed: false, farewell: None }
    }

    /// How many more messages may be pushed.
    pub fn room(&self) -> usize {
        self.limits.outbox_max - self.outbox.len()
    }

    /// Puts a message in line, under a number that it can be withdrawn by.
    pub fn push(&mut self, number: u64, text: String) {
        assert!(self.room() > 0, "whoever pushes has looked for room");
        self.outbox.push_back((number, text));
    }

    /// Takes a message back if it is still in line; says whether it was, and so was never sent.
    pub fn withdraw(&mut self, number: u64) -> bool {
        let before = self.outbox.len();
        self.outbox.retain(|(other, _)| *other != number);
        self.outbox.len() < before
    }

    /// Writes what waits until something comes in. While the outbox is full, nothing is read: who
    /// does not take answers asks no more.
    pub async fn next(&mut self) -> Incoming {
        let full = self.room() == 0;
        poll_fn(|context| {
            let write = self.poll_write(context);
            if let Poll::Ready(Err(_)) = write {
                return Poll::Ready(Incoming::Gone);
            }
            match (full, self.room()) {
                (true, 0) => Poll::Pending,
                (true, _) => Poll::Ready(Incoming::Room),
                (false, _) => self.poll_read(context),
            }
        })
        .await
    }

    /// What the other side has said at the end, once there is nothing more to come.
    pub fn farewell(&mut self) -> Option<Farewell> {
        self.farewell.take()
    }

    /// Says why the connection ends, and waits for the other side to have heard it. Bounded by the
    /// caller; what waits to be written is given up.
    pub async fn close(&mut self, code: CloseCode, reason: &str) {
        let mut length = reason.len().min(REASON_MAX);
        while !reason.is_char_boundary(length) {
            length -= 1;
        }
        let frame = CloseFrame { code, reason: reason[..length].to_owned().into() };
        if self.websocket.close(Some(frame)).await.is_ok() {
            while let Some(Ok(_)) = self.websocket.next().await {}
        }
        end(self.websocket.get_mut()).await;
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut websocket = Pin::new(&mut self.websocket);
        while !self.outbox.is_empty() {
            std::task::ready!(websocket.as_mut().poll_ready(context))?;
            let Some((_, text)) = self.outbox.pop_front() else { break };
            self.unflushed = true;
            websocket.as_mut().start_send(Message::text(text))?;
        }
        if self.unflushed {
            std::task::ready!(websocket.poll_flush(context))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Incoming> {
        loop {
            let message = std::task::ready!(Pin::new(&mut self.websocket).poll_next(context));
            return Poll::Ready(match message {
                // The protocol beneath answers pings and closes by itself.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Close(frame))) => {
                    let read = |frame: CloseFrame| Farewell::read(frame.code, &frame.reason);
                    self.farewell = frame.map(read);
                    continue;
                }
                Some(Ok(Message::Text(text))) => Incoming::Text(text.as_str().to_owned()),
                // Juju reads JSON out of whatever frame it comes in.
                Some(Ok(Message::Binary(bytes))) => match String::from_utf8(bytes.into()) {
                    Ok(text) => Incoming::Text(text),
                    Err(_) => foul(CloseCode::Invalid, "bytes that are not UTF-8"),
                },
                Some(Err(Error::Capacity(CapacityError::MessageTooLong { size, max_size }))) => {
                    let what = format!("a message of {size} bytes is over the {max_size} allowed");
                    foul(CloseCode::Size, &what)
                }
                Some(Err(Error::Capacity(error))) => foul(CloseCode::Size, &error.to_string()),
                Some(Err(Error::Utf8(_))) => foul(CloseCode::Invalid, "text that is not UTF-8"),
                Some(Err(Error::Protocol(error))) => foul(CloseCode::Protocol, &error.to_string()),
                Some(Err(_)) | None => Incoming::Gone,
            });
        }
    }
}

/// Ends a stream for good: says so, and takes in whatever the other side still writes, since a
/// stream that is cut with bytes unread loses what was said last. Bounded by the caller.
pub(crate) async fn end(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    // The other side may be gone already, which is what is wanted.
    let _ = stream.shutdown().await;
    let _ = tokio::io::copy(stream, &mut tokio::io::sink()).await;
}

fn foul(code: CloseCode, what: &str) -> Incoming {
    Incoming::Foul { code, what: what.into() }
}
