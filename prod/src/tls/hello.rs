//! The first words of a TLS connection, read and looked at before anything is computed for it.
//!
//! A controller names the peer protocol in them (ALPN), everybody else does not: enough to tell who
//! may go first (seed 000), and no proof. The proof is the handshake, which comes later as always.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{Accepted, Acceptor};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{ALPN_PEER, Arrived, TlsStream, arrived};

/// Most bytes that a ClientHello may take. Those of Juju's clients have about 300, those with
/// post-quantum keys about 1,800; beyond this somebody wants memory.
pub const HELLO_MAX: usize = 16 * 1024;
/// Bytes that are read at a time: room for most.
const PART: usize = 2 * 1024;

/// Somebody's first words, as they came: who waits at the door for long costs no more.
pub struct Hello {
    bytes: Vec<u8>,
    peers: bool,
}

impl Hello {
    /// Reads no more than the first words, and at most [`HELLO_MAX`] bytes. The caller bounds the
    /// time. What is not TLS is told so by an alert.
    pub async fn read<S>(stream: &mut S) -> io::Result<Hello>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut acceptor = Acceptor::default();
        let (mut part, mut bytes) = ([0; PART], Vec::new());
        while bytes.len() < HELLO_MAX {
            let room = PART.min(HELLO_MAX - bytes.len());
            let came = stream.read(&mut part[..room]).await?;
            if came == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            bytes.extend_from_slice(&part[..came]);
            let mut unread = &part[..came];
            while !unread.is_empty() {
                acceptor.read_tls(&mut unread)?;
                match acceptor.accept() {
                    // Nothing can follow the first words before they are answered.
                    Ok(Some(_)) if !unread.is_empty() => {
                        return Err(io::ErrorKind::InvalidData.into());
                    }
                    Ok(Some(accepted)) => {
                        bytes.shrink_to_fit();
                        return Ok(Hello { bytes, peers: names_peers(&accepted) });
                    }
                    Ok(None) => {}
                    Err((error, mut alert)) => {
                        let mut bytes = Vec::new();
                        alert.write_all(&mut bytes)?;
                        stream.write_all(&bytes).await?;
                        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                    }
                }
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "the first words have no end"))
    }

    /// Whether they are those of a controller.
    pub fn is_peers(&self) -> bool {
        self.peers
    }

    /// Goes on with the handshake, as [`arrive`](super::arrive) does from the start.
    pub async fn shake<S>(
        self,
        config: &Arc<ServerConfig>,
        stream: S,
    ) -> io::Result<(TlsStream<S>, Arrived)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        arrived(TlsStream::accept(Arc::clone(config), self.bytes, stream).await?)
    }
}

fn names_peers(accepted: &Accepted) -> bool {
    accepted.client_hello().alpn().is_some_and(|mut names| names.any(|name| name == ALPN_PEER))
}
