//! How one more controller joins a cluster: what it asks, and what it is given.
//!
//! ```text
//!   cluster add ──▶ Invite(hash) ──▶ log            token, by hand
//!        └────────────────────────────────────────────┐
//!   join ── TLS, pinned to the authority of the token ▼
//!     POST /portcullis/join {secret, public key, addresses} ──▶ any controller with a ca-key
//!                                     Join(hash, member, key hash) ──▶ log
//!     ◀────────────────────── {node id, certificate, ca-key, members, shared configuration}
//! ```
//!
//! It is a page and no facade: whoever joins has no account to log in with. Nothing is lost wherever
//! one of the two dies: the key is on the joiner's disk before it is shown to anybody, who asks again
//! with the same key is told the same name, and a certificate can be issued as often as one likes.

pub mod client;
pub mod token;

use std::time::Duration;

use data_encoding::BASE64;
use portcullis_core::members::{KeyHash, Versions};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::tls::{KeyKind, PublicKey};

pub use token::Token;

/// Where it is asked at the API door.
pub const PATH: &str = "/portcullis/join";
/// Most bytes of a request: sixteen addresses of the greatest length and a key are below.
pub const REQUEST_MAX: usize = 8 * 1024;
/// Most bytes of an answer; shared configurations have an account for every agent.
pub const ANSWER_MAX: usize = 64 * 1024 * 1024;
/// Most asks with a token that nobody knows, all at once, before they are told to come back; then
/// one every [`FAILED_EVERY`]. A token cannot be guessed: this bounds what such asks cost. Tokens
/// that are known are never kept waiting by them.
pub const FAILED_MAX: u32 = 10;
/// See [`FAILED_MAX`].
pub const FAILED_EVERY: Duration = Duration::from_secs(6);

/// What whoever wants to join says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Asked {
    /// The cluster that its token is for.
    pub cluster: String,
    /// The token's secret.
    #[serde(serialize_with = "encode", deserialize_with = "decode")]
    pub secret: Vec<u8>,
    /// Its public key.
    pub key: Key,
    /// Where the other controllers dial it.
    pub controller_address: String,
    /// Where agents and users are told that it is.
    pub api_addresses: Vec<String>,
    /// What it shares the fate of; empty if nobody said.
    #[serde(default)]
    pub domain: String,
    /// The versions of log entries that it reads.
    pub reads: Versions,
}

/// A public key, with the proof that whoever shows it has the private one.
///
/// That is all that a PKCS #10 request says, without another parser of X.509 before the login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Key {
    /// Whether it is an Ed25519 key; else it is one over P-256.
    pub ed25519: bool,
    /// The key as certificates have it.
    #[serde(serialize_with = "encode", deserialize_with = "decode")]
    pub public: Vec<u8>,
    /// The token's secret, signed.
    #[serde(serialize_with = "encode", deserialize_with = "decode")]
    pub proof: Vec<u8>,
}

impl Key {
    /// The key, if whoever shows it with this secret has it.
    pub fn proved(&self, secret: &[u8]) -> Option<PublicKey> {
        let kind = if self.ed25519 { KeyKind::Ed25519 } else { KeyKind::P256 };
        PublicKey::proved(kind, &self.public, &key_statement(secret), &self.proof)
    }
}

/// What is signed as a proof: no signature for anything else says this.
pub fn key_statement(secret: &[u8]) -> Vec<u8> {
    [b"portcullis join 1\0", secret].concat()
}

/// What the log knows a key by.
pub fn key_hash(key: &PublicKey) -> KeyHash {
    KeyHash(token::sha256(key.bytes()))
}

/// What whoever has joined is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Granted {
    /// Its number, for ever.
    pub node: u64,
    /// Its certificate in PEM, and the authority's.
    pub certificate: String,
    /// The authority's certificate in PEM.
    pub authority: String,
    /// The authority's key in PEM: this controller may let others in.
    pub authority_key: String,
    /// The other members.
    pub peers: Vec<Peer>,
    /// What all configurations have in common, in TOML.
    pub shared: String,
}

/// Another member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Peer {
    /// Its number.
    pub id: u64,
    /// Where controllers dial it.
    pub controller_address: String,
    /// Where agents and users are told that it is.
    pub api_addresses: Vec<String>,
}

/// Why somebody does not join, or not here, or not yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Refused {
    /// The request is none.
    #[error("the request is malformed: {what}")]
    Malformed { what: String },
    /// The token is for another cluster.
    #[error("this token is for another cluster; this one is {cluster}")]
    OtherCluster { cluster: String },
    /// This controller issues no certificates. Others may.
    #[error("this controller has no ca-key, and so lets nobody in; ask one that has, of {others}")]
    NoKey { others: String },
    /// Nobody knows the token.
    #[error(
        "nobody is invited by this token: it has expired, was revoked or was never made; \
         `portcullis cluster add` makes another"
    )]
    NoToken,
    /// It was used by another, or by one that was removed since.
    #[error(
        "this token was used already, by another key; `portcullis cluster add` makes another one"
    )]
    UsedToken,
    /// The table of members refuses it for a reason of its own.
    #[error("the cluster refuses it: {what}")]
    Refused { what: String },
    /// Too many have failed of late.
    #[error("too many joins have failed here; try again in {seconds}s")]
    TryAgain { seconds: u64 },
    /// No leader could be asked: nothing was done.
    #[error("the cluster has no leader at the moment; nothing was done")]
    NoLeader,
    /// It may have been done: whoever asks again with the same key is told.
    #[error("nobody can say whether it was done; ask again with the same folder to find out")]
    Unknown,
    /// This controller cannot do it, for a fault of its own.
    #[error("this controller cannot: {what}")]
    Broken { what: String },
}

impl Refused {
    /// Whether another try, or another controller, may give another answer.
    pub fn passes(&self) -> bool {
        match self {
            Refused::NoKey { .. }
            | Refused::TryAgain { .. }
            | Refused::NoLeader
            | Refused::Unknown
            | Refused::Broken { .. } => true,
            Refused::Malformed { .. }
            | Refused::OtherCluster { .. }
            | Refused::NoToken
            | Refused::UsedToken
            | Refused::Refused { .. } => false,
        }
    }
}

fn encode<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&BASE64.encode(bytes))
}

fn decode<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(from)?;
    BASE64.decode(text.as_bytes()).map_err(serde::de::Error::custom)
}
