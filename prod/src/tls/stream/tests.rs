use portcullis_core::{NodeId, Rng, Seed};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::{TlsConnector, client};

use super::super::{Authority, KeyKind, SERVER_NAME, Validity, provider, roots};
use super::*;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// Room of the network for bytes under way.
const PIPE: usize = 4 * 1024;

/// A network that takes and gives only some bytes at a time, or none until it is asked again.
struct Torn {
    pipe: DuplexStream,
    rng: Rng,
    most: u64,
}

impl Torn {
    fn some(&mut self, context: &Context<'_>) -> Poll<usize> {
        if self.rng.below(4) == 0 {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let some = 1 + self.rng.below(self.most);
        Poll::Ready(usize::try_from(some).expect("it is small"))
    }
}

impl AsyncRead for Torn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let some = ready!(self.some(context)).min(into.remaining());
        let mut bytes = vec![0; some];
        let mut read = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.pipe).poll_read(context, &mut read))?;
        into.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Torn {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let some = ready!(self.some(context)).min(bytes.len());
        Pin::new(&mut self.pipe).poll_write(context, &bytes[..some])
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(context)
    }
}

fn server() -> (Arc<ServerConfig>, Authority) {
    let authority = Authority::make(KeyKind::Ed25519, Validity::century()).expect("an authority");
    let certificate = authority.issue(NodeId(3), &[], Validity::century()).expect("a certificate");
    (certificate.server().expect("a configuration"), authority)
}

async fn pair<S: AsyncRead + AsyncWrite + Unpin>(
    version: &'static SupportedProtocolVersion,
    near: DuplexStream,
    far: S,
) -> (client::TlsStream<DuplexStream>, TlsStream<S>) {
    let (server, authority) = server();
    let client = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .expect("a version that ring speaks")
        .with_root_certificates(roots(&[authority.certificate().clone()]).expect("roots"))
        .with_no_client_auth();
    let name = SERVER_NAME.try_into().expect("a name");
    let connector = TlsConnector::from(Arc::new(client));
    let (near, far) =
        tokio::join!(connector.connect(name, near), TlsStream::accept(server, Vec::new(), far));
    (near.expect("TLS"), far.expect("TLS"))
}

async fn whole(
    version: &'static SupportedProtocolVersion,
) -> (client::TlsStream<DuplexStream>, TlsStream<DuplexStream>) {
    let (near, far) = duplex(PIPE);
    pair(version, near, far).await
}

fn kept<S>(stream: &TlsStream<S>) -> usize {
    let Session { plain, outgoing, .. } = &*stream.session;
    stream.unfinished.capacity() + plain.capacity() + outgoing.capacity()
}

#[tokio::test]
async fn torn_bytes_come_through_whole_and_leave_nothing() {
    for number in 0..24_u64 {
        let mut rng = Seed(number).child("torn", 0).rng();
        let (near, pipe) = duplex(PIPE);
        let most = [1, 7, 300, 5_000][(number % 4) as usize];
        let torn = Torn { pipe, rng: Seed(number).child("torn", 1).rng(), most };
        let version = VERSIONS[(number / 4 % 2) as usize];
        let (mut client, mut server) = pair(version, near, torn).await;
        let lengths: Vec<u64> = (0..6).map(|_| rng.below(most * 30) + 1).collect();
        let messages: Vec<Vec<u8>> = lengths
            .iter()
            .map(|length| (0..*length).map(|_| rng.below(256) as u8).collect())
            .collect();
        let said = async {
            for message in &messages {
                client.write_all(message).await.expect("taken");
                client.flush().await.expect("sent");
                let mut back = vec![0; message.len()];
                client.read_exact(&mut back).await.expect("echoed");
                assert_eq!(back, *message);
            }
            client.shutdown().await.expect("goodbye");
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).await.expect("a goodbye in return");
            assert!(rest.is_empty());
        };
        let heard = async {
            let most = 1 + Seed(number).child("torn", 2).rng().below(3_000);
            let mut buffer = vec![0; usize::try_from(most).expect("it is small")];
            for message in &messages {
                let mut heard = Vec::new();
                while heard.len() < message.len() {
                    let length = server.read(&mut buffer).await.expect("whole records");
                    heard.extend_from_slice(&buffer[..length]);
                }
                server.write_all(&heard).await.expect("taken");
                server.flush().await.expect("sent");
            }
            assert_eq!(server.read(&mut buffer).await.expect("a goodbye"), 0);
            assert_eq!(kept(&server), 0, "nothing is under way");
            server.shutdown().await.expect("goodbye");
        };
        tokio::join!(said, heard);
        assert_eq!(kept(&server), 0);
    }
}

#[tokio::test]
async fn what_is_written_waits_for_a_network_that_is_full_and_is_bounded() {
    for version in VERSIONS {
        let (mut client, mut server) = whole(version).await;
        let flood = vec![7_u8; 1024 * 1024];
        let most = WRITE_MAX + 8 * 1024;
        let written = async {
            for part in flood.chunks(300_000) {
                let mut rest = part;
                while !rest.is_empty() {
                    let taken = server.write(rest).await.expect("taken");
                    assert!(taken > 0 && server.session.outgoing.len() < most);
                    rest = &rest[taken..];
                }
            }
            server.shutdown().await.expect("goodbye");
        };
        let read = async {
            let mut all = Vec::new();
            client.read_to_end(&mut all).await.expect("whole");
            assert!(all == flood);
        };
        tokio::join!(written, read);
    }
}

#[tokio::test]
async fn who_has_said_goodbye_still_hears() {
    for version in VERSIONS {
        let (mut client, mut server) = whole(version).await;
        client.write_all(b"last words").await.expect("taken");
        client.shutdown().await.expect("goodbye");
        let mut all = Vec::new();
        server.read_to_end(&mut all).await.expect("a goodbye");
        assert_eq!(all, b"last words");
        server.write_all(b"heard").await.expect("taken");
        server.shutdown().await.expect("goodbye");
        server.shutdown().await.expect("once is enough");
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.expect("a goodbye");
        assert_eq!(answer, b"heard");
        let late = server.write_all(b"more").await.expect_err("after the goodbye");
        assert_eq!(late.kind(), io::ErrorKind::BrokenPipe);
    }
}

#[tokio::test]
async fn who_leaves_without_goodbye_is_told_of_once() {
    for version in VERSIONS {
        let (mut client, mut server) = whole(version).await;
        client.write_all(b"cut").await.expect("taken");
        client.flush().await.expect("sent");
        drop(client);
        let mut buffer = [0; 16];
        assert_eq!(server.read(&mut buffer).await.expect("before the end"), 3);
        let cut = server.read(&mut buffer).await.expect_err("no goodbye");
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(server.read(&mut buffer).await.expect("the end"), 0);
    }
}

#[tokio::test]
async fn forged_records_are_refused_after_what_came_before_them() {
    for version in VERSIONS {
        let (mut client, mut server) = whole(version).await;
        client.write_all(b"genuine").await.expect("taken");
        client.flush().await.expect("sent");
        let (mut pipe, _) = client.into_inner();
        let forged = [&[23, 3, 3, 0, 40][..], &[9; 40]].concat();
        pipe.write_all(&forged).await.expect("sent");
        let mut buffer = [0; 16];
        assert_eq!(server.read(&mut buffer).await.expect("genuine"), 7);
        for _ in 0..2 {
            let refused = server.read(&mut buffer).await.expect_err("forged");
            assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
        }
        let refused = server.write_all(b"more").await.expect_err("forged");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
        server.shutdown().await.expect("closed");
        let mut told = Vec::new();
        pipe.read_to_end(&mut told).await.expect("closed");
        // One record and no more: the alert, which is no goodbye.
        assert_eq!(told.len(), 5 + usize::from(u16::from_be_bytes([told[3], told[4]])));
    }
}

#[tokio::test]
async fn what_is_no_handshake_is_refused_with_an_alert() {
    let endless: Vec<u8> =
        (0..8).flat_map(|_| [&[22, 3, 1, 0x40, 0][..], &[1; 16 * 1024]].concat()).collect();
    for (said, alert) in [(b"GET / HTTP/1.1\r\n\r\n".to_vec(), true), (endless, false)] {
        let (mut near, far) = duplex(PIPE);
        let client = async {
            // The server may have left before it has taken everything.
            let _ = near.write_all(&said).await;
            let mut told = Vec::new();
            near.read_to_end(&mut told).await.expect("closed");
            assert!(!alert || told[..3] == [21, 3, 3], "{told:?}");
        };
        let arrived = async { TlsStream::accept(server().0, Vec::new(), far).await.map(drop) };
        let (arrived, ()) = tokio::join!(arrived, client);
        assert_eq!(arrived.expect_err("refused").kind(), io::ErrorKind::InvalidData);
    }
    let (near, far) = duplex(PIPE);
    drop(near);
    let left =
        TlsStream::accept(server().0, Vec::new(), far).await.map(drop).expect_err("nobody there");
    assert_eq!(left.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn keys_are_changed_on_the_way() {
    let (mut client, mut server) = whole(&TLS13).await;
    for number in 0..4_u8 {
        client.get_mut().1.refresh_traffic_keys().expect("TLS 1.3");
        client.write_all(&[number]).await.expect("taken");
        client.flush().await.expect("sent");
        assert_eq!(server.read_u8().await.expect("sent"), number);
        server.write_u8(number + 100).await.expect("taken");
        server.flush().await.expect("sent");
        assert_eq!(client.read_u8().await.expect("echoed"), number + 100);
        assert_eq!(kept(&server), 0);
    }
}
