//! How messages travel: cut into parts, so that a long one does not hold up a heartbeat.
//!
//! A frame is a length (four bytes, big-endian, of what follows), the version, a flag that says
//! whether the message goes on, the id of the request, and a part of the message's postcard bytes:
//!
//! ```text
//! │length 4│version 1│more 1│id 8 (little-endian)│part, at most PART_MAX│
//! ```
//!
//! Messages with parts left take turns. The id ties a reply to its request.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

use super::{Error, VERSION};
use crate::raft::codec;

/// Most bytes of a message in one frame: about 2 ms of a gigabit network.
pub const PART_MAX: usize = 256 << 10;
/// Most bytes of one message, and of all messages of a connection whose parts are still coming in.
/// Room for an entry of a whole queue of usual size; snapshots come in chunks.
pub const MESSAGE_MAX: usize = 64 << 20;
/// Most messages that wait to be written; who has another one waits.
pub(super) const OUTBOX_MAX: usize = 1_024;
const HEAD: usize = 10;

/// One message, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) id: u64,
    pub(super) bytes: Bytes,
}

impl Message {
    pub(super) fn new<T: Serialize>(id: u64, value: &T) -> Message {
        Message { id, bytes: Bytes::from(codec::encode(VERSION, value)) }
    }

    pub(super) fn decode<T: DeserializeOwned>(&self) -> Result<T, Error> {
        Ok(codec::decode(VERSION, &self.bytes)?)
    }
}

fn frames() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().max_frame_length(HEAD + PART_MAX).new_codec()
}

/// The incoming half.
pub(super) struct Inbox<S> {
    frames: FramedRead<S, LengthDelimitedCodec>,
    /// What has come of the messages that are not complete.
    parts: BTreeMap<u64, BytesMut>,
    bytes: usize,
}

impl<S: AsyncRead + Unpin> Inbox<S> {
    pub(super) fn new(stream: S) -> Inbox<S> {
        Inbox { frames: FramedRead::new(stream, frames()), parts: BTreeMap::new(), bytes: 0 }
    }

    /// The next complete message. `heard` is called for every frame.
    ///
    /// Safe to drop and to call again: parts are kept.
    pub(super) async fn next(&mut self, mut heard: impl FnMut()) -> Result<Message, Error> {
        loop {
            let frame = match self.frames.next().await {
                Some(frame) => frame?,
                None => return Err(Error::Io(io::ErrorKind::UnexpectedEof.into())),
            };
            heard();
            if let Some(message) = self.take(frame)? {
                return Ok(message);
            }
        }
    }

    fn take(&mut self, mut frame: BytesMut) -> Result<Option<Message>, Error> {
        if frame.len() < HEAD {
            return Err(Error::Framing);
        }
        let version = frame.get_u8();
        if version != VERSION {
            return Err(codec::Error::Version { found: version, wanted: VERSION }.into());
        }
        let more = frame.get_u8() != 0;
        let id = frame.get_u64_le();
        if !more && !self.parts.contains_key(&id) {
            return Ok(Some(Message { id, bytes: frame.freeze() }));
        }
        self.bytes += frame.len();
        if self.bytes > MESSAGE_MAX || frame.is_empty() {
            return Err(Error::Framing);
        }
        self.parts.entry(id).or_default().extend_from_slice(&frame);
        if more {
            return Ok(None);
        }
        Ok(self.parts.remove(&id).map(|bytes| {
            self.bytes -= bytes.len();
            Message { id, bytes: bytes.freeze() }
        }))
    }
}

/// The outgoing half.
pub(super) struct Outbox<S> {
    frames: FramedWrite<S, LengthDelimitedCodec>,
    /// Messages with parts left, the next to be served first.
    turns: VecDeque<Message>,
}

impl<S: AsyncWrite + Unpin> Outbox<S> {
    pub(super) fn new(stream: S) -> Outbox<S> {
        Outbox { frames: FramedWrite::new(stream, frames()), turns: VecDeque::new() }
    }

    /// Writes everything that comes out of the queue, until its senders are gone.
    pub(super) async fn run(&mut self, queue: &mut mpsc::Receiver<Message>) -> Result<(), Error> {
        loop {
            if self.turns.is_empty() {
                self.flush().await?;
                match queue.recv().await {
                    Some(message) => self.turns.push_back(message),
                    None => return Ok(()),
                }
            }
            while self.turns.len() < OUTBOX_MAX
                && let Ok(message) = queue.try_recv()
            {
                self.turns.push_back(message);
            }
            self.turn().await?;
        }
    }

    /// Writes one message whole.
    pub(super) async fn send(&mut self, message: Message) -> Result<(), Error> {
        self.turns.push_back(message);
        while !self.turns.is_empty() {
            self.turn().await?;
        }
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), Error> {
        Ok(SinkExt::<Bytes>::flush(&mut self.frames).await?)
    }

    async fn turn(&mut self) -> Result<(), Error> {
        let Some(mut message) = self.turns.pop_front() else { return Ok(()) };
        let part = message.bytes.split_to(message.bytes.len().min(PART_MAX));
        let more = !message.bytes.is_empty();
        let mut frame = BytesMut::with_capacity(HEAD + part.len());
        frame.put_u8(VERSION);
        frame.put_u8(u8::from(more));
        frame.put_u64_le(message.id);
        frame.put_slice(&part);
        if more {
            self.turns.push_back(message);
        }
        Ok(self.frames.feed(frame.freeze()).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn small_messages_overtake_large_ones() {
        let (near, far) = tokio::io::duplex(4 * PART_MAX);
        let (send, mut queue) = mpsc::channel(8);
        let large = Bytes::from(vec![7; 3 * PART_MAX + 1]);
        let small = Bytes::from_static(b"small");
        for (id, bytes) in [(1, large.clone()), (2, small.clone())] {
            send.send(Message { id, bytes }).await.unwrap();
        }
        drop(send);
        let mut outbox = Outbox::new(near);
        let writing = outbox.run(&mut queue);
        let mut inbox = Inbox::new(far);
        let mut frames = 0;
        let reading = async {
            let first = inbox.next(|| frames += 1).await.unwrap();
            let second = inbox.next(|| frames += 1).await.unwrap();
            (first, second)
        };
        let (written, (first, second)) = tokio::join!(biased; writing, reading);
        written.unwrap();
        assert_eq!(first, Message { id: 2, bytes: small });
        assert_eq!(second, Message { id: 1, bytes: large });
        assert_eq!(frames, 5);
    }

    #[tokio::test]
    async fn frames_keep_their_bytes() {
        let (near, mut far) = tokio::io::duplex(1_024);
        Outbox::new(near).send(Message { id: 3, bytes: Bytes::from_static(b"hi") }).await.unwrap();
        let mut bytes = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut far, &mut bytes).await.unwrap();
        assert_eq!(bytes, [0, 0, 0, 12, 3, 0, 3, 0, 0, 0, 0, 0, 0, 0, b'h', b'i']);
    }

    #[test]
    fn messages_keep_their_bytes() {
        use crate::peer::{Hello, Reply, Request};
        use openraft::impls::TokioRuntime;
        use portcullis_core::NodeId;
        let hello = Hello { from: NodeId(1), to: NodeId(2), cluster: "c".into(), removed: false };
        assert_eq!(Message::new(0, &hello).bytes, [3, 1, 2, 1, b'c', 0].as_slice());
        let recall = Request::<TokioRuntime>::Recall { serial: 300 };
        assert_eq!(Message::new(0, &recall).bytes, [3, 8, 0xac, 2].as_slice());
        let index = Reply::<TokioRuntime>::ReadIndex(Err(Some(NodeId(3))));
        assert_eq!(Message::new(0, &index).bytes, [3, 5, 1, 1, 3].as_slice());
    }

    #[tokio::test]
    async fn other_versions_are_refused() {
        let (mut near, far) = tokio::io::duplex(1_024);
        let frame = [0, 0, 0, 10, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        tokio::io::AsyncWriteExt::write_all(&mut near, &frame).await.unwrap();
        let refused = Inbox::new(far).next(|| {}).await;
        assert!(matches!(refused, Err(Error::Codec(codec::Error::Version { found: 9, .. }))));
    }
}
