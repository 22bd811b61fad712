//! As much of gRPC over HTTP/2 as three methods of etcd need: one connection, one call at a time.
//!
//! Written out because a whole gRPC library would cost the generator more than etcd's answer is
//! worth, and that time is taken from the servers. Numbers are those of RFC 9113 and RFC 7541.

use anyhow::{Result, bail, ensure};
use portcullis::tokio_env::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What a client says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The largest window there is: a run receives less, so none is ever widened again.
const WINDOW_MAX: u32 = (1 << 31) - 1;
/// The window of a connection to begin with.
const WINDOW: u32 = 65_535;
/// Length, kind, flags and stream.
const HEAD: usize = 9;
/// Bytes read at once: several answers.
const READ: usize = 4 * 1024;
/// In front of each gRPC message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Kinds of frames.
mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RESET: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GO_AWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
}

/// Flags of frames.
mod flag {
    pub const ACK: u8 = 1;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
}

/// A connection.
pub struct Http2 {
    stream: Stream,
    /// What was read; a frame is taken out only whole.
    input: Vec<u8>,
    taken: usize,
    output: Vec<u8>,
    streams: u32,
}

/// A frame that was read.
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Http2 {
    /// Says hello. What the server says to that is read with its first answer.
    pub fn start(stream: Stream) -> Http2 {
        let mut http2 =
            Http2 { stream, input: Vec::new(), taken: 0, output: PREFACE.to_vec(), streams: 0 };
        let mut settings = Vec::new();
        for (setting, value) in [(2_u16, 0_u32), (4, WINDOW_MAX)] {
            settings.extend(setting.to_be_bytes());
            settings.extend(value.to_be_bytes());
        }
        http2.put(kind::SETTINGS, 0, 0, &settings);
        http2.put(kind::WINDOW_UPDATE, 0, 0, &(WINDOW_MAX - WINDOW).to_be_bytes());
        http2
    }

    /// Calls a method with one message, and returns the one message of the answer; nothing if the
    /// server has answered with an error.
    pub async fn call(&mut self, method: &str, message: &[u8]) -> Result<Option<Vec<u8>>> {
        let stream = self.open(method);
        self.put_message(stream, flag::END_STREAM, message);
        let mut answer = None;
        loop {
            let frame = self.next(stream).await?;
            if frame.kind == kind::DATA && !frame.payload.is_empty() {
                answer = Some(unwrapped(&frame.payload)?);
            }
            if frame.flags & flag::END_STREAM != 0 {
                return Ok(answer);
            }
        }
    }

    /// Opens a stream of messages to a method.
    pub fn open(&mut self, method: &str) -> u32 {
        let first = self.streams == 0;
        self.streams = if first { 1 } else { self.streams + 2 };
        let mut headers = vec![0x83, 0x86]; // POST, http
        literal(&mut headers, 0x04, None, method); // the path, never indexed
        match first {
            true => {
                literal(&mut headers, 0x41, None, "etcd"); // the authority
                literal(&mut headers, 0x5f, None, "application/grpc"); // the content's type
                literal(&mut headers, 0x40, Some("te"), "trailers");
            }
            // What the first stream has put into the table, the last at its front.
            false => headers.extend([0x80 | 64, 0x80 | 63, 0x80 | 62]),
        }
        self.put(kind::HEADERS, flag::END_HEADERS, self.streams, &headers);
        self.streams
    }

    /// Sends a message on an open stream, and returns the next one that comes.
    pub async fn exchange(&mut self, stream: u32, message: &[u8]) -> Result<Vec<u8>> {
        self.put_message(stream, 0, message);
        loop {
            let frame = self.next(stream).await?;
            ensure!(frame.flags & flag::END_STREAM == 0, "the server has ended the stream");
            if frame.kind == kind::DATA && !frame.payload.is_empty() {
                return unwrapped(&frame.payload);
            }
        }
    }

    fn put_message(&mut self, stream: u32, flags: u8, message: &[u8]) {
        let mut data = Vec::with_capacity(PREFIX + message.len());
        data.push(0);
        data.extend((message.len() as u32).to_be_bytes());
        data.extend(message);
        self.put(kind::DATA, flags, stream, &data);
    }

    fn put(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.output.extend(&(payload.len() as u32).to_be_bytes()[1..]);
        self.output.extend([kind, flags]);
        self.output.extend(stream.to_be_bytes());
        self.output.extend(payload);
    }

    /// Sends what is to be sent, and returns the next frame of the stream.
    async fn next(&mut self, stream: u32) -> Result<Frame> {
        loop {
            if !self.output.is_empty() {
                self.stream.write_all(&self.output).await?;
                self.output.clear();
            }
            let frame = self.frame().await?;
            match frame.kind {
                kind::DATA | kind::HEADERS if frame.stream == stream => return Ok(frame),
                kind::SETTINGS if frame.flags & flag::ACK == 0 => {
                    self.put(kind::SETTINGS, flag::ACK, 0, &[]);
                }
                kind::PING if frame.flags & flag::ACK == 0 => {
                    self.put(kind::PING, flag::ACK, 0, &frame.payload);
                }
                kind::RESET => bail!("the server has reset the stream"),
                kind::GO_AWAY => bail!("the server wants no more"),
                _ => {}
            }
        }
    }

    async fn frame(&mut self) -> Result<Frame> {
        loop {
            let rest = &self.input[self.taken..];
            if let Some((head, rest)) = rest.split_at_checked(HEAD) {
                let length =
                    usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
                if let Some(payload) = rest.get(..length) {
                    self.taken += HEAD + length;
                    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
                    let (kind, flags, payload) = (head[3], head[4], payload.to_vec());
                    return Ok(Frame { kind, flags, stream, payload });
                }
            }
            self.input.drain(..self.taken);
            self.taken = 0;
            self.input.reserve(READ);
            ensure!(self.stream.read_buf(&mut self.input).await? > 0, "the connection is gone");
        }
    }
}

/// A header that is not known to the server: raw text, with the representation in the first byte.
fn literal(headers: &mut Vec<u8>, representation: u8, name: Option<&str>, value: &str) {
    headers.push(representation);
    for text in name.into_iter().chain([value]) {
        // Seven bits hold the length of everything that is said here.
        assert!(text.len() < 127, "a short header");
        headers.push(text.len() as u8);
        headers.extend(text.bytes());
    }
}

/// The message of a DATA frame; etcd's answers are never in two.
fn unwrapped(data: &[u8]) -> Result<Vec<u8>> {
    let Some((prefix, message)) = data.split_at_checked(PREFIX) else { bail!("half a message") };
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    ensure!(prefix[0] == 0 && length == message.len(), "a message in pieces");
    Ok(message.to_vec())
}
