//! Clients that do not have the authority: one that was told its fingerprint, and one that believes
//! any certificate, for questions whose answer anybody may know.

use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};

use super::{ALPN_HTTP, Error, provider};

/// The SHA-256 of a certificate.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, certificate).as_ref());
    bytes
}

/// What whoever has nothing but a token dials with: a controller shows its authority in what it
/// serves, and is believed if that has this [`fingerprint`] and vouches for it.
pub fn pinned_client(authority: [u8; 32]) -> Result<Arc<ClientConfig>, Error> {
    client(Belief::Pinned(authority))
}

/// What a front probes backends with when it was not told their authority.
///
/// Nothing secret is said and nothing that is heard is trusted with more than where the next
/// connection goes: whoever could answer in a backend's place could as well take the connection,
/// and there the client checks the certificate itself, since a front passes TLS through.
pub fn unproved_client() -> Result<Arc<ClientConfig>, Error> {
    client(Belief::Anybody)
}

fn client(belief: Belief) -> Result<Arc<ClientConfig>, Error> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { belief, provider: provider() }))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_HTTP.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Who answers belongs to another cluster than the token, or pretends to belong to this one.
#[derive(Debug, thiserror::Error)]
#[error("its certificate comes from another authority than the token names")]
struct OtherAuthority;

/// Whom a client believes.
#[derive(Debug)]
enum Belief {
    /// Whoever the authority with this fingerprint vouches for.
    Pinned([u8; 32]),
    /// Whoever they say they are; but not that a key is theirs which is not.
    Anybody,
}

#[derive(Debug)]
struct Verifier {
    belief: Belief,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let authority = match &self.belief {
            Belief::Pinned(authority) => authority,
            Belief::Anybody => return Ok(ServerCertVerified::assertion()),
        };
        let pinned = intermediates.iter().find(|one| fingerprint(one) == *authority);
        let Some(pinned) = pinned else {
            let other = OtherError(Arc::new(OtherAuthority));
            return Err(CertificateError::Other(other).into());
        };
        let mut roots = RootCertStore::empty();
        roots.add(pinned.clone().into_owned())?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
                .build()
                .map_err(|error| rustls::Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
