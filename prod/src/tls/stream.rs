//! The server's side of a TLS connection, which keeps no buffer while nothing is under way.
//!
//! Decides where bytes wait. Most connections of a controller are silent at any moment, and what
//! each of them costs is what a controller's memory is made of (seed 000): records are read into
//! the stack, decrypted there, and only what makes no whole record yet, what nobody has taken and
//! what the network has not taken is on the heap, for as long as it is so. Rules of the protocol
//! are rustls's; what a caller sees is what tokio-rustls shows.

use std::io;
use std::mem::{self, MaybeUninit};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes read at once: a record of the longest kind takes two reads, a claim's a part of one.
const READ_MAX: usize = 16 * 1024;
/// Bytes of plain text that are encrypted at once, and so, with 22 for each 16 KiB, the most that
/// waits for the network.
const WRITE_MAX: usize = 64 * 1024;
/// Most bytes that may wait for the end of a handshake's message or of a record, which is what
/// rustls takes for its own buffers. Whoever sends more without an end is refused.
const UNFINISHED_MAX: usize = 65_535;

/// A connection on which the handshake is done, from the server's side.
///
/// Dropping it says no goodbye; `shutdown` does. The end of the stream without the other side's
/// goodbye is an error once, [`UnexpectedEof`](io::ErrorKind::UnexpectedEof), and an end after.
pub struct TlsStream<S> {
    stream: S,
    /// On the heap by itself: what serves a connection is moved about, and is not to be large.
    session: Box<Session>,
    /// The beginning of a record or of a handshake's message.
    unfinished: Vec<u8>,
}

/// The protocol, without the network.
struct Session {
    rules: UnbufferedServerConnection,
    /// Plain text that nobody has taken, from `taken` on.
    plain: Vec<u8>,
    taken: usize,
    /// Records that the network has not taken, from `sent` on.
    outgoing: Vec<u8>,
    sent: usize,
    /// Whether nothing more will come.
    ended: bool,
    /// Whether we have said goodbye.
    closed: bool,
    /// What the other side did wrong; nothing is read or written after that.
    broken: Option<rustls::Error>,
}

/// What is to be said as soon as the protocol allows it.
#[derive(Clone, Copy)]
enum Say<'a> {
    Nothing,
    Plain(&'a [u8]),
    Goodbye,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// Shakes hands; `heard` is what was read of the stream before. The caller bounds the time.
    pub(super) async fn accept(
        config: Arc<ServerConfig>,
        heard: Vec<u8>,
        stream: S,
    ) -> io::Result<TlsStream<S>> {
        let rules = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        let session = Box::new(Session {
            rules,
            plain: Vec::new(),
            taken: 0,
            outgoing: Vec::new(),
            sent: 0,
            ended: false,
            closed: false,
            broken: None,
        });
        let mut arriving = TlsStream { stream, session, unfinished: heard };
        if let Err(error) = arriving.process_unfinished(Say::Nothing, None) {
            // Whoever is at fault is told what it is.
            std::future::poll_fn(|context| arriving.poll_drain(context)).await?;
            return Err(error);
        }
        std::future::poll_fn(|context| arriving.poll_handshake(context)).await?;
        Ok(arriving)
    }

    /// What was agreed on.
    pub(super) fn agreed(&self) -> &rustls::CommonState {
        &self.session.rules
    }

    fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_drain(context))?;
            if !self.session.rules.is_handshaking() {
                return Pin::new(&mut self.stream).poll_flush(context);
            }
            if self.session.ended || ready!(self.poll_records(context, None))? == 0 {
                let what = "the other side left during the TLS handshake";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, what)));
            }
        }
    }

    /// Reads from the network once; plain text goes to `into` as far as there is room. Says how
    /// many bytes came, 0 for the end.
    fn poll_records(
        &mut self,
        context: &mut Context<'_>,
        into: Option<&mut ReadBuf<'_>>,
    ) -> Poll<io::Result<usize>> {
        let mut space = [const { MaybeUninit::uninit() }; READ_MAX];
        let mut read = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
        let came = read.filled().len();
        if came == 0 {
            return Poll::Ready(Ok(0));
        }
        let processed = if self.unfinished.is_empty() {
            let records = read.filled_mut();
            let (used, processed) = self.session.process(records, Say::Nothing, into);
            self.unfinished = records[used..].to_vec();
            processed
        } else {
            self.unfinished.extend_from_slice(read.filled());
            self.process_unfinished(Say::Nothing, into)
        };
        if let Err(error) = processed {
            // Whoever is at fault is told what it is, if the network takes it at once.
            let _ = self.poll_drain(context);
            return Poll::Ready(Err(error));
        }
        if self.unfinished.len() > UNFINISHED_MAX {
            let what = "a TLS message without an end";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, what)));
        }
        Poll::Ready(Ok(came))
    }

    /// Processes what was read before, to read or to say something.
    fn process_unfinished(
        &mut self,
        say: Say<'_>,
        into: Option<&mut ReadBuf<'_>>,
    ) -> io::Result<()> {
        let (used, processed) = self.session.process(&mut self.unfinished, say, into);
        if used == self.unfinished.len() {
            self.unfinished = Vec::new();
        } else {
            self.unfinished.drain(..used);
        }
        processed
    }

    /// Writes what waits for the network; ready when nothing does.
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Session { outgoing, sent, .. } = &mut *self.session;
        while *sent < outgoing.len() {
            let stream = Pin::new(&mut self.stream);
            match ready!(stream.poll_write(context, &outgoing[*sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => *sent += written,
            }
        }
        (*outgoing, *sent) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }
}

impl Session {
    /// Goes through whole records, and says something. Says how many bytes of the records are done
    /// with; the others must be there again the next time.
    fn process(
        &mut self,
        records: &mut [u8],
        say: Say<'_>,
        mut into: Option<&mut ReadBuf<'_>>,
    ) -> (usize, io::Result<()>) {
        let (mut used, mut result) = (0, Ok(()));
        // Once something is wrong, the records are not looked at again: the alert is all that is
        // left to be encoded.
        while self.broken.is_none() || self.rules.wants_write() {
            let UnbufferedStatus { discard, state } =
                self.rules.process_tls_records(&mut records[used..]);
            used += discard;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        used += record.discard;
                        let space = into.as_ref().map_or(0, |into| into.remaining());
                        let direct = if self.plain.is_empty() { space } else { 0 };
                        let (now, later) =
                            record.payload.split_at(direct.min(record.payload.len()));
                        if let Some(into) = &mut into {
                            into.put_slice(now);
                        }
                        self.plain.extend_from_slice(later);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    let encoded = append(&mut self.outgoing, 0, |space| match data.encode(space) {
                        Ok(written) => Ok(written),
                        Err(EncodeError::InsufficientSize(size)) => Err(Some(size.required_size)),
                        Err(EncodeError::AlreadyEncoded) => Err(None),
                    });
                    assert!(encoded, "rustls gives out what is to be encoded once");
                }
                // It is on its way in `outgoing`, before everything that is encoded later.
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.ended = true,
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let said = append(&mut self.outgoing, say.room(), |space| {
                        let said = match say {
                            Say::Nothing => Ok(0),
                            Say::Plain(plain) => traffic.encrypt(plain, space),
                            Say::Goodbye => traffic.queue_close_notify(space),
                        };
                        said.map_err(|error| match error {
                            EncryptError::InsufficientSize(size) => Some(size.required_size),
                            EncryptError::EncryptExhausted => None,
                        })
                    });
                    let exhausted = || io::Error::other("the keys of the connection are used up");
                    return (used, if said { result } else { Err(exhausted()) });
                }
                // Early data is not offered, so this is before the greeting or after both goodbyes.
                Ok(_) => {
                    let result = match say {
                        Say::Nothing => result,
                        Say::Plain(_) | Say::Goodbye => Err(io::ErrorKind::BrokenPipe.into()),
                    };
                    return (used, result);
                }
                Err(error) => {
                    result = Err(wrong(&error));
                    self.broken = Some(error);
                }
            }
        }
        (used, result)
    }

    /// Hands out plain text that came before; says whether there was any.
    fn take(&mut self, into: &mut ReadBuf<'_>) -> bool {
        let waiting = &self.plain[self.taken..];
        let taken = waiting.len().min(into.remaining());
        into.put_slice(&waiting[..taken]);
        self.taken += taken;
        if self.taken == self.plain.len() {
            (self.plain, self.taken) = (Vec::new(), 0);
        }
        taken > 0
    }

    fn sound(&self) -> io::Result<()> {
        self.broken.as_ref().map_or(Ok(()), |error| Err(wrong(error)))
    }
}

impl Say<'_> {
    /// Bytes that it takes as records, or more.
    fn room(self) -> usize {
        /// Of plain text in one record, and of what a record has besides, with either version.
        const RECORD: (usize, usize) = (16 * 1024, 32);
        match self {
            Say::Nothing => 0,
            Say::Plain(plain) => plain.len() + plain.len().div_ceil(RECORD.0) * RECORD.1,
            Say::Goodbye => 2 + RECORD.1,
        }
    }
}

/// Lets something be written to the end of `bytes`, where there is this much room: `write` is asked
/// again if it names how much more it needs, and fails with nothing. Says whether it was written.
fn append(
    bytes: &mut Vec<u8>,
    room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
) -> bool {
    let start = bytes.len();
    bytes.resize(start + room, 0);
    loop {
        match write(&mut bytes[start..]) {
            Ok(written) => {
                bytes.truncate(start + written);
                return true;
            }
            Err(Some(room)) if start + room > bytes.len() => bytes.resize(start + room, 0),
            Err(_) => {
                bytes.truncate(start);
                return false;
            }
        }
    }
}

fn wrong(error: &rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.clone())
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let tls = self.get_mut();
        let before = into.filled().len();
        while !tls.session.take(into) && into.remaining() > 0 && !tls.session.ended {
            tls.session.sound()?;
            let came = ready!(tls.poll_records(context, Some(into)));
            if into.filled().len() > before {
                // What came before something wrong is heard; what is wrong, the next time.
                break;
            }
            if came? == 0 {
                tls.session.ended = true;
                let what = "the other side left without TLS's goodbye";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, what)));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        plain: &[u8],
    ) -> Poll<io::Result<usize>> {
        let tls = self.get_mut();
        tls.session.sound()?;
        if tls.session.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        // What waits is bounded by letting nothing more in before it has gone.
        ready!(tls.poll_drain(context))?;
        let plain = &plain[..plain.len().min(WRITE_MAX)];
        tls.process_unfinished(Say::Plain(plain), None)?;
        // Taken is taken: an error of the network is told to whoever writes or flushes next.
        match tls.poll_drain(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(plain.len())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tls = self.get_mut();
        ready!(tls.poll_drain(context))?;
        Pin::new(&mut tls.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tls = self.get_mut();
        if !mem::replace(&mut tls.session.closed, true) && tls.session.broken.is_none() {
            tls.process_unfinished(Say::Goodbye, None)?;
        }
        ready!(tls.poll_drain(context))?;
        Pin::new(&mut tls.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
