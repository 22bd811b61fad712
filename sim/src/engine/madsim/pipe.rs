//! Connections: two pipes of bytes, one each way.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use portcullis_core::Time;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::network::Net;
use super::runtime::Sleep;
use crate::engine::network::Passage;
use crate::engine::shell::locked;
use crate::stage::Place;

/// Bytes that may be on their way or unread, one way of a connection: what Linux gives a socket to
/// receive into before it has measured anything.
const UNREAD_MAX: usize = 131_072;
/// How long what was lost stays unacknowledged before it is sent again, doubling each time up to
/// the longest: Linux's least and most.
const RESEND_AFTER: Duration = Duration::from_millis(200);
const RESEND_AFTER_MOST: Duration = Duration::from_secs(120);

/// One way of a connection.
pub struct Pipe {
    from: Place,
    to: Place,
    /// In the order in which they were sent; `unread` bytes in all.
    segments: VecDeque<Segment>,
    unread: usize,
    /// When the last one arrives: nothing overtakes on a connection.
    arrival: Time,
    /// Whether whoever wrote has said that nothing more comes.
    ended: bool,
    /// Whether nobody will read any more.
    deaf: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct Segment {
    what: What,
    way: Way,
}

enum What {
    /// Bytes, of which so many have been read.
    Data(Vec<u8>, usize),
    /// There are no more bytes.
    End,
    /// The other end is there no more, neither to write nor to read.
    Gone,
}

#[derive(Clone, Copy)]
enum Way {
    Arrives(Time),
    /// It stands still until the route is released.
    Held,
    /// It was lost at this time, and is sent again and again.
    Lost(Time),
}

impl Pipe {
    fn new(from: Place, to: Place) -> Arc<Mutex<Pipe>> {
        Arc::new(Mutex::new(Pipe {
            from,
            to,
            segments: VecDeque::new(),
            unread: 0,
            arrival: Time(0),
            ended: false,
            deaf: false,
            reader: None,
            writer: None,
        }))
    }

    /// Sends on what waits for its route, as far as that lets it. Whether anything still waits.
    pub fn resume(
        &mut self,
        now: Time,
        mut pass: impl FnMut(Time, Place, Place) -> Passage,
    ) -> bool {
        let mut stuck = false;
        for segment in &mut self.segments {
            let at = match segment.way {
                Way::Arrives(_) => continue,
                Way::Held => now,
                Way::Lost(at) => sent_again(at, now),
            };
            match pass(at, self.from, self.to) {
                Passage::Arrives(at) if !stuck => {
                    self.arrival = self.arrival.max(at);
                    segment.way = Way::Arrives(self.arrival);
                }
                Passage::Arrives(_) | Passage::Held | Passage::Lost => stuck = true,
            }
        }
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        stuck
    }

    /// Whether the other end is known to be gone.
    fn gone(&self, now: Time) -> bool {
        let last = self.segments.back();
        last.is_some_and(|last| match (&last.what, last.way) {
            (What::Gone, Way::Arrives(at)) => at <= now,
            (What::Gone, Way::Held | Way::Lost(_)) | (What::Data(..) | What::End, _) => false,
        })
    }
}

/// When something that was lost `at` some time is sent again for the first time from `now` on.
fn sent_again(at: Time, now: Time) -> Time {
    let (mut at, mut wait) = (at + RESEND_AFTER, RESEND_AFTER);
    while at < now {
        wait = (wait * 2).min(RESEND_AFTER_MOST);
        at = at + wait;
    }
    at
}

/// One end of a connection.
pub struct Stream {
    net: Net,
    incoming: Arc<Mutex<Pipe>>,
    outgoing: Arc<Mutex<Pipe>>,
    /// Until what is read next has arrived.
    arrives: Option<(Time, Sleep)>,
}

impl Stream {
    /// Both ends of a connection between two places.
    pub fn pair(net: &Net, near: Place, far: Place) -> (Stream, Stream) {
        let (there, back) = (Pipe::new(near, far), Pipe::new(far, near));
        let end = |incoming: &Arc<Mutex<Pipe>>, outgoing: &Arc<Mutex<Pipe>>| Stream {
            net: net.clone(),
            incoming: incoming.clone(),
            outgoing: outgoing.clone(),
            arrives: None,
        };
        (end(&back, &there), end(&there, &back))
    }

    fn send(&self, what: What) {
        let mut pipe = locked(&self.outgoing);
        let now = self.net.now();
        let before = pipe.segments.back().map(|last| last.way);
        let way = match (self.net.pass(pipe.from, pipe.to), before) {
            // It waits behind what waits.
            (_, Some(Way::Held)) => Way::Held,
            (_, Some(Way::Lost(at))) => Way::Lost(at),
            (Passage::Arrives(at), Some(Way::Arrives(_)) | None) => {
                pipe.arrival = pipe.arrival.max(at);
                Way::Arrives(pipe.arrival)
            }
            (Passage::Held, Some(Way::Arrives(_)) | None) => Way::Held,
            (Passage::Lost, Some(Way::Arrives(_)) | None) => Way::Lost(now),
        };
        let first_that_waits = matches!(before, Some(Way::Arrives(_)) | None);
        if first_that_waits && matches!(way, Way::Held | Way::Lost(_)) {
            self.net.wait(&self.outgoing);
        }
        pipe.segments.push_back(Segment { what, way });
        if let Some(reader) = pipe.reader.take() {
            reader.wake();
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let incoming = self.incoming.clone();
            let mut pipe = locked(&incoming);
            let at = match pipe.segments.front().map(|segment| segment.way) {
                Some(Way::Arrives(at)) => at,
                Some(Way::Held | Way::Lost(_)) | None => {
                    pipe.reader = Some(context.waker().clone());
                    return Poll::Pending;
                }
            };
            if at > self.net.now() {
                if self.arrives.as_ref().is_none_or(|(until, _)| *until != at) {
                    self.arrives = Some((at, self.net.sleep_until(at)));
                }
                let arrives = self.arrives.as_mut().expect("it was set above");
                if Pin::new(&mut arrives.1).poll(context).is_pending() {
                    return Poll::Pending;
                }
                continue;
            }
            let Some(Segment { what: What::Data(data, read), .. }) = pipe.segments.front_mut()
            else {
                return Poll::Ready(Ok(()));
            };
            let count = out.remaining().min(data.len() - *read);
            out.put_slice(&data[*read..*read + count]);
            *read += count;
            if *read == data.len() {
                pipe.segments.pop_front();
            }
            pipe.unread -= count;
            if let Some(writer) = pipe.writer.take() {
                writer.wake();
            }
            return Poll::Ready(Ok(()));
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = locked(&self.outgoing);
        if pipe.ended || locked(&self.incoming).gone(self.net.now()) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if pipe.deaf {
            return Poll::Ready(Ok(data.len()));
        }
        let count = data.len().min(UNREAD_MAX - pipe.unread);
        if count == 0 && !data.is_empty() {
            pipe.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        pipe.unread += count;
        drop(pipe);
        self.send(What::Data(data[..count].to_vec(), 0));
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = std::mem::replace(&mut locked(&self.outgoing).ended, true);
        if !ended {
            self.send(What::End);
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.send(What::Gone);
        let mut pipe = locked(&self.incoming);
        pipe.deaf = true;
        pipe.segments.clear();
        if let Some(writer) = pipe.writer.take() {
            writer.wake();
        }
    }
}
