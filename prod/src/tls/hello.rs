//! The first words of a TLS connection, read and looked at before anything is computed for it.
//!
//! A controller names the peer protocol in them (ALPN), everybody else does not: enough to tell who
//! may go first (seed 000), and no proof. The proof is the handshake, which comes later as always.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{Accepted, Acceptor};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::server::{StartHandshake, TlsStream};

use super::{ALPN_PEER, Arrived, arrived};

/// Most bytes that a ClientHello may take. Those of Juju's clients have about 300, those with
/// post-quantum keys about 1,800; beyond this somebody wants memory.
pub const HELLO_MAX: usize = 16 * 1024;
/// Bytes that are read at a time: room for most.
const PART: usize = 2 * 1024;

/// Somebody's first words.
pub struct Hello(Accepted);

impl Hello {
    /// Reads no more than the first words, and at most [`HELLO_MAX`] bytes. The caller bounds the
    /// time. What is not TLS is told so by an alert.
    pub async fn read<S>(stream: &mut S) -> io::Result<Hello>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut acceptor = Acceptor::default();
        let (mut part, mut read) = ([0; PART], 0);
        while read < HELLO_MAX {
            let room = PART.min(HELLO_MAX - read);
            let came = stream.read(&mut part[..room]).await?;
            if came == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            read += came;
            let mut unread = &part[..came];
            while !unread.is_empty() {
                acceptor.read_tls(&mut unread)?;
                match acceptor.accept() {
                    // Nothing can follow the first words before they are answered.
                    Ok(Some(_)) if !unread.is_empty() => {
                        return Err(io::ErrorKind::InvalidData.into());
                    }
                    Ok(Some(accepted)) => return Ok(Hello(accepted)),
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
        self.0.client_hello().alpn().is_some_and(|mut names| names.any(|name| name == ALPN_PEER))
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
        let handshake = StartHandshake::from_parts(self.0, stream);
        arrived(handshake.into_stream(Arc::clone(config)).await?)
    }
}
