//! Bytes from one connection to another, both ways, until both have ended.
//!
//! An idle pair keeps no buffer: bytes are read into one that the thread's pairs share, and only
//! what the other side does not take at once is kept, until it does. Nothing more is read before.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::counters::Counters;

/// Most bytes that are read at once, and so that one direction of a pair can keep. A TLS record is
/// at most 16 KiB.
const SCRATCH: usize = 32 * 1024;

thread_local! {
    /// Holds no bytes between two calls.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// One direction.
enum Flow {
    /// Bytes come through, and these wait from the place on.
    Open {
        left: Box<[u8]>,
        at: usize,
    },
    /// The source has ended; the other side must be told.
    Ending,
    Ended,
}

/// Two connections that are one. Ends well when both directions have ended, each by itself; ends
/// with an error as soon as either connection breaks, and then both must go.
pub struct Relay<A, B> {
    near: A,
    far: B,
    up: Flow,
    down: Flow,
    counters: Arc<Counters>,
}

impl<A, B> Relay<A, B> {
    /// What comes from `near` goes to `far`, after the `first` bytes, and back.
    pub fn new(near: A, far: B, first: Vec<u8>, counters: Arc<Counters>) -> Relay<A, B> {
        let flow = |left: Vec<u8>| Flow::Open { left: left.into_boxed_slice(), at: 0 };
        Relay { near, far, up: flow(first), down: flow(Vec::new()), counters }
    }
}

impl<A, B> Future for Relay<A, B>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Relay { near, far, up, down, counters } = &mut *self;
        let mut count = 0;
        let went = up.poll(context, near, far, &mut count);
        counters.bytes_up.fetch_add(mem::take(&mut count), Ordering::Relaxed);
        let came = down.poll(context, far, near, &mut count);
        counters.bytes_down.fetch_add(count, Ordering::Relaxed);
        match (went?, came?) {
            (Poll::Ready(()), Poll::Ready(())) => Poll::Ready(Ok(())),
            (Poll::Ready(()) | Poll::Pending, _) => Poll::Pending,
        }
    }
}

impl Flow {
    fn poll<R, W>(
        &mut self,
        context: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        count: &mut u64,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            match self {
                Flow::Ended => return Poll::Ready(Ok(())),
                Flow::Ending => {
                    ready!(Pin::new(&mut *to).poll_shutdown(context))?;
                    *self = Flow::Ended;
                }
                Flow::Open { left, at } if *at < left.len() => {
                    let written = ready!(Pin::new(&mut *to).poll_write(context, &left[*at..]))?;
                    if written == 0 {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    *at += written;
                    *count += written as u64;
                }
                Flow::Open { .. } => {
                    let next =
                        BUFFER.with_borrow_mut(|buffer| pass(context, from, to, buffer, count));
                    *self = ready!(next)?;
                }
            }
        }
    }
}

/// Reads once, and writes as much of it as is taken at once.
fn pass<R, W>(
    context: &mut Context<'_>,
    from: &mut R,
    to: &mut W,
    buffer: &mut [u8],
    count: &mut u64,
) -> Poll<io::Result<Flow>>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut read = ReadBuf::new(buffer);
    ready!(Pin::new(from).poll_read(context, &mut read))?;
    if read.filled().is_empty() {
        return Poll::Ready(Ok(Flow::Ending));
    }
    let written = match Pin::new(to).poll_write(context, read.filled()) {
        Poll::Ready(written) => written?,
        Poll::Pending => 0,
    };
    *count += written as u64;
    Poll::Ready(Ok(Flow::Open { left: read.filled()[written..].into(), at: 0 }))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    /// The two outer ends of a relay through pipes that hold so many bytes.
    fn relay(pipe: usize, first: &[u8]) -> (DuplexStream, DuplexStream, Relayed) {
        let ((client, near), (far, backend)) = (duplex(pipe), duplex(pipe));
        let counters = Arc::new(Counters::default());
        (client, backend, Relay::new(near, far, first.to_vec(), counters))
    }

    type Relayed = Relay<DuplexStream, DuplexStream>;

    #[tokio::test]
    async fn all_bytes_come_through_however_slow_the_other_side() {
        let (client, backend, relay) = relay(7, b"first");
        let counters = relay.counters.clone();
        let bytes: Vec<u8> = (0..100_000_u32).map(|number| number as u8).collect();
        let (mut client_in, mut client_out) = tokio::io::split(client);
        let (mut backend_in, mut backend_out) = tokio::io::split(backend);
        let (mut up, mut down) = (Vec::new(), Vec::new());
        let talk = async {
            let sent = async {
                client_out.write_all(&bytes).await.expect("open");
                client_out.shutdown().await.expect("open");
            };
            let answered = async {
                backend_in.read_to_end(&mut up).await.expect("open");
                // The other direction outlives the first.
                backend_out.write_all(&bytes[1..]).await.expect("open");
                backend_out.shutdown().await.expect("open");
            };
            tokio::join!(sent, answered, client_in.read_to_end(&mut down))
        };
        let (ended, _) = tokio::join!(relay, talk);
        ended.expect("both have ended");
        assert_eq!(up, [b"first", &*bytes].concat());
        assert_eq!(down, bytes[1..]);
        assert_eq!(counters.bytes_up.load(Ordering::Relaxed), 100_005);
        assert_eq!(counters.bytes_down.load(Ordering::Relaxed), 99_999);
    }

    #[tokio::test]
    async fn a_slow_reader_holds_the_writer_back() {
        let (mut client, backend, relay) = relay(64 * 1024, b"");
        let mut relay = Box::pin(relay);
        let chunk = vec![7; 1024];
        let mut sent = 0;
        // Until neither the pipes nor the relay take any more.
        loop {
            tokio::select! {
                biased;
                ended = &mut relay => panic!("{ended:?}"),
                written = client.write(&chunk) => sent += written.expect("open"),
                () = tokio::task::yield_now() => {
                    if futures_util::poll!(&mut relay).is_pending()
                        && futures_util::poll!(Box::pin(client.write(&chunk))).is_pending()
                    {
                        break;
                    }
                }
            }
        }
        assert!(sent <= 2 * 64 * 1024 + 2 * SCRATCH, "{sent} bytes are kept");
        drop(backend);
        relay.await.expect_err("the backend is gone");
    }
}
