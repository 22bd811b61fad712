//! TLS of both ports: one authority, one certificate a controller, mutual between controllers.
//!
//! Decides who has arrived on a connection: a controller is whoever proves it by a certificate of
//! our own authority that names it, everybody else speaks HTTP and logs in. The names in the
//! certificates are those that Juju's clients look for. Always `ring`, never rustls's process-wide
//! default; TLS 1.2 stays on because `jujuclient` speaks nothing newer.

mod authority;
mod files;
mod hello;
mod key;
mod newcomer;
mod stream;
mod validity;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use portcullis_core::NodeId;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client};

pub use authority::{Authority, KeyKind, Validity};
pub use files::{load_certificates, to_pem, write_public, write_secret};
pub use hello::{HELLO_MAX, Hello};
pub use key::{OwnKey, PublicKey};
pub use newcomer::{fingerprint, pinned_client, unproved_client};
pub use stream::TlsStream;
pub use validity::mistrust;
use validity::shown;

/// The protocol that controllers speak among themselves, as ALPN names it.
pub const ALPN_PEER: &[u8] = b"portcullis-peer/1";
/// HTTP as ALPN names it; whoever names nothing speaks it too, as most Juju clients do.
pub const ALPN_HTTP: &[u8] = b"http/1.1";
/// The name that Juju's agents verify a controller by, whatever address they dialled.
pub const SERVER_NAME: &str = "juju-apiserver";

/// What is wrong with a certificate, a key or their files.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File { path: String, source: io::Error },
    /// A file could be read but is not what it must be.
    #[error("{path}: {what}")]
    Content { path: String, what: String },
    /// A key or certificate could not be made.
    #[error("making a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// Certificate and key do not go together, or with the authority.
    #[error("certificate refused: {0}")]
    Refused(#[from] rustls::Error),
    /// The authority's certificate cannot be what others are verified by.
    #[error("authority refused: {0}")]
    Authority(rustls::server::VerifierBuilderError),
    /// Its time is over.
    #[error(
        "the certificate of {subject} has expired: it is valid from {} until {}, and by this \
         host's clock it is {}",
        shown(validity.from), shown(validity.until), shown(*now)
    )]
    Expired { subject: String, validity: Validity, now: SystemTime },
    /// Its time has not come.
    #[error(
        "the certificate of {subject} is not valid yet: it is valid from {} until {}, and by this \
         host's clock it is {}; is the clock right?",
        shown(validity.from), shown(validity.until), shown(*now)
    )]
    NotYetValid { subject: String, validity: Validity, now: SystemTime },
    /// Nobody would believe it, whatever the time.
    #[error("the certificate of {subject} is of no use: {what}")]
    Untrusted { subject: String, what: String },
}

/// The certificate of one controller with its key, and the authority that it is proved by.
#[derive(Debug)]
pub struct Certificate {
    /// The controller's own certificate first, then those up to the authority, itself included:
    /// `juju login` looks for the authority in what is served.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key of the first of `chain`.
    pub key: PrivateKeyDer<'static>,
    /// The authority's certificates: whoever they vouch for is believed.
    pub authority: Vec<CertificateDer<'static>>,
}

impl Certificate {
    /// What a server serves: client certificates are asked for but optional, and no sessions are
    /// kept or tickets given, so nothing of a connection outlives it.
    pub fn server(&self) -> Result<Arc<ServerConfig>, Error> {
        let roots = Arc::new(roots(&self.authority)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
            .allow_unauthenticated()
            .build()
            .map_err(Error::Authority)?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![ALPN_PEER.to_vec(), ALPN_HTTP.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// What this controller dials other controllers with: it proves itself by its certificate.
    pub fn peer_client(&self) -> Result<Arc<ClientConfig>, Error> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots(&self.authority)?)
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![ALPN_PEER.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

/// What agents and users dial controllers with: they know the authority and prove nothing.
pub fn agent_client(authority: &[CertificateDer<'static>]) -> Result<Arc<ClientConfig>, Error> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(authority)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_HTTP.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Reads every certificate of a text in PEM; `name` is what complaints call it.
pub fn from_pem(text: &str, name: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    files::certificates(text.as_bytes(), Path::new(name))
}

/// As [`agent_client`], for an authority in PEM, as a controller that sends a client elsewhere names it.
pub fn trusting(authority: &str) -> Result<Arc<ClientConfig>, Error> {
    agent_client(&from_pem(authority, "ca-cert")?)
}

/// Who has arrived on a connection, as far as TLS can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// A controller, proved by its certificate, that speaks the peer protocol.
    Peer(NodeId),
    /// Somebody who speaks HTTP and has proved nothing yet.
    Http,
}

/// Shakes hands as the server, and says who has arrived.
///
/// Refuses the peer protocol to whoever has no certificate of a controller. The caller bounds the
/// time: nothing here waits for less than the client takes.
pub async fn arrive<S>(config: &Arc<ServerConfig>, stream: S) -> io::Result<(TlsStream<S>, Arrived)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    arrived(TlsStream::accept(Arc::clone(config), Vec::new(), stream).await?)
}

/// Who is at the other end of a finished handshake.
fn arrived<S>(stream: TlsStream<S>) -> io::Result<(TlsStream<S>, Arrived)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if stream.agreed().alpn_protocol() != Some(ALPN_PEER) {
        return Ok((stream, Arrived::Http));
    }
    match stream.agreed().peer_certificates().and_then(named) {
        Some(node) => Ok((stream, Arrived::Peer(node))),
        None => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the peer protocol is for controllers, and no controller's certificate was shown",
        )),
    }
}

/// Shakes hands as a controller that dials the controller `node`, and no other.
pub async fn dial_peer<S>(
    config: &Arc<ClientConfig>,
    node: NodeId,
    stream: S,
) -> io::Result<client::TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let stream = dial(config, &node.to_string(), stream).await?;
    if stream.get_ref().1.alpn_protocol() == Some(ALPN_PEER) {
        return Ok(stream);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("{node} speaks no peer protocol")))
}

/// Shakes hands as somebody who dials any controller at all.
pub async fn dial_api<S>(config: &Arc<ClientConfig>, stream: S) -> io::Result<client::TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    dial(config, SERVER_NAME, stream).await
}

/// Whether the first of these verified certificates names the controller `node`.
///
/// For what a peer claims about itself after the handshake.
pub fn proves(certificates: &[CertificateDer<'_>], node: NodeId) -> bool {
    let Ok(name) = ServerName::try_from(node.to_string()) else { return false };
    certificates
        .first()
        .and_then(|certificate| webpki::EndEntityCert::try_from(certificate).ok())
        .is_some_and(|entity| entity.verify_is_valid_for_subject_name(&name).is_ok())
}

/// The one controller that a verified certificate names; nobody if it names none or several.
fn named(certificates: &[CertificateDer<'_>]) -> Option<NodeId> {
    let entity = webpki::EndEntityCert::try_from(certificates.first()?).ok()?;
    let mut nodes = entity.valid_dns_names().filter_map(|name| {
        let number = name.strip_prefix("controller-")?.parse().ok()?;
        Some(NodeId(number)).filter(|node| node.to_string() == name)
    });
    let node = nodes.next()?;
    let proved = nodes.next().is_none() && proves(certificates, node);
    proved.then_some(node)
}

async fn dial<S>(
    config: &Arc<ClientConfig>,
    name: &str,
    stream: S,
) -> io::Result<client::TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(Arc::clone(config)).connect(name, stream).await
}

fn roots(authority: &[CertificateDer<'static>]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in authority {
        roots.add(certificate.clone())?;
    }
    Ok(roots)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

#[cfg(test)]
mod tests;
