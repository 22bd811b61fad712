//! Keys that are made where they are used, and public ones that somebody wants a certificate for.

use std::path::Path;

use rcgen::{KeyPair, PublicKeyData, SignatureAlgorithm, SigningKey};
use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey};
use rustls::pki_types::PrivateKeyDer;

use super::authority::{make_key, read_key};
use super::files::write_secret;
use super::{Error, KeyKind};

/// A controller's private key that has no certificate yet.
pub struct OwnKey(KeyPair);

impl OwnKey {
    /// Makes one from the operating system's randomness: over P-256, which every client knows.
    pub fn make() -> Result<OwnKey, Error> {
        Ok(OwnKey(make_key(KeyKind::P256)?))
    }

    /// Loads one that was [saved](OwnKey::save).
    pub fn load(path: &Path) -> Result<OwnKey, Error> {
        Ok(OwnKey(read_key(path)?.0))
    }

    /// Writes it; it can be read by its owner alone.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        write_secret(path, self.0.serialize_pem().as_bytes())
    }

    /// The public one, as certificates have it.
    pub fn public(&self) -> PublicKey {
        let kind = match self.0.algorithm() {
            ed if ed == &rcgen::PKCS_ED25519 => KeyKind::Ed25519,
            _ => KeyKind::P256,
        };
        PublicKey { kind, bytes: self.0.der_bytes().to_vec() }
    }

    /// The private one, as TLS takes it.
    pub fn private(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.0.serialize_der().into())
    }

    /// Signs something.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.0.sign(message)?)
    }
}

/// A public key whose owner has proved to have the private one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    kind: KeyKind,
    bytes: Vec<u8>,
}

impl PublicKey {
    /// The key, if the signature of the message was made with it.
    pub fn proved(
        kind: KeyKind,
        bytes: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Option<PublicKey> {
        let verified = match kind {
            KeyKind::Ed25519 => UnparsedPublicKey::new(&ED25519, bytes).verify(message, signature),
            KeyKind::P256 => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, bytes).verify(message, signature)
            }
        };
        verified.ok().map(|()| PublicKey { kind, bytes: bytes.to_vec() })
    }

    /// Of what kind it is.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The key itself, as certificates have it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self.kind {
            KeyKind::Ed25519 => &rcgen::PKCS_ED25519,
            KeyKind::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        }
    }
}
