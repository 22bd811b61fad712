//! `Invitations` version 1: how a user lets one more controller into the cluster.
//!
//! | method | params | response |
//! |---|---|---|
//! | `Invite` | `token`: a hash in hex, `for`: seconds | [`Invited`] |
//! | `List` | none | [`Invitations`] |
//! | `Revoke` | `token`: a hash in hex, or how one begins | none |
//!
//! The secret is drawn by the client and never comes here: a controller knows its hash alone. Users
//! may do this, as they may `EnableHA`; no agent may.

use std::time::Duration;

use data_encoding::HEXLOWER;
use portcullis_core::GlobalTime;
use portcullis_core::members::{Command, Outcome, Refusal, TOKENS_MAX, Token, TokenHash};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Handler;
use super::session::Caller;
use super::told::denied;
use crate::credentials::Identity;
use crate::join::token::ADDRESSES_MAX;
use crate::raft::NotWritten;
use crate::rpc::{self, Error, Request, code, nullable};
use crate::tls;

/// Longest time that a token counts: a week. One that lies about for longer is found by somebody.
pub const INVITED_FOR_MAX: Duration = Duration::from_secs(7 * 86_400);

#[derive(Deserialize)]
struct Asked {
    #[serde(default, deserialize_with = "nullable")]
    token: String,
    #[serde(default, rename = "for", deserialize_with = "nullable")]
    lasts: f64,
}

/// What a token must say besides its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Invited {
    /// The cluster's UUID.
    pub cluster: String,
    /// The SHA-256 of the authority's certificate, in hex.
    pub authority: String,
    /// `host:port` of the controllers' API doors, of each controller one before the next of any; at
    /// most [`ADDRESSES_MAX`].
    pub addresses: Vec<String>,
}

/// The tokens that are not void.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Invitations {
    /// In the order of their hashes; at most [`TOKENS_MAX`].
    pub invitations: Vec<Invitation>,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Invitation {
    /// Its hash in hex.
    pub token: String,
    /// Seconds since it was made.
    pub age: f64,
    /// Seconds until it is void.
    pub left: f64,
    /// The number of the controller that has joined by it.
    pub used_by: Option<u64>,
}

/// `Invite`: one controller may join by this token.
pub(super) async fn invite<H: Handler>(caller: &Caller<'_, H>, request: &Request) -> rpc::Outcome {
    allowed(caller)?;
    let asked: Asked = request.given()?;
    let lasts = Duration::try_from_secs_f64(asked.lasts).unwrap_or_default();
    if lasts.is_zero() || lasts > INVITED_FOR_MAX {
        let most = humantime::format_duration(INVITED_FOR_MAX);
        let message = format!("a token counts for more than nothing, and for {most} at most");
        return Err(Error::new(message, code::NOT_VALID));
    }
    let hash = HEXLOWER.decode(asked.token.as_bytes()).ok();
    let hash = hash.and_then(|hash| <[u8; 32]>::try_from(hash).ok());
    let Some(hash) = hash else {
        return Err(Error::new("a token is named by its SHA-256 in hex", code::NOT_VALID));
    };
    let (now, _) = all(caller).await?;
    let invite = Command::Invite { token: TokenHash(hash), void_after: now + lasts };
    told(caller.handler.change_members(invite).await)?;
    let cluster = caller.cluster();
    let authority = tls::from_pem(&cluster.authority, "ca-cert").ok();
    let authority = authority.as_ref().and_then(|all| all.first()).map(tls::fingerprint);
    Ok(json!(Invited {
        authority: HEXLOWER.encode(&authority.unwrap_or_default()),
        addresses: addresses(&cluster.addresses(&caller.identity, None)),
        cluster: cluster.uuid.clone(),
    }))
}

/// The first of each controller, then the second of each, and so on.
fn addresses(servers: &[Vec<portcullis_core::addresses::HostPort>]) -> Vec<String> {
    let longest = servers.iter().map(Vec::len).max().unwrap_or_default();
    let nth = |nth: usize| servers.iter().filter_map(move |server| server.get(nth));
    let all = (0..longest).flat_map(nth).map(|address| address.joined());
    all.take(ADDRESSES_MAX).collect()
}

/// `List`: the tokens that are not void, used ones among them.
pub(super) async fn list<H: Handler>(caller: &Caller<'_, H>) -> rpc::Outcome {
    allowed(caller)?;
    let (now, tokens) = all(caller).await?;
    let shown = tokens.iter().map(|(hash, token)| shown(now, *hash, token));
    Ok(json!(Invitations { invitations: shown.collect() }))
}

fn shown(now: GlobalTime, hash: TokenHash, token: &Token) -> Invitation {
    Invitation {
        token: HEXLOWER.encode(&hash.0),
        age: now.since(token.made).as_secs_f64(),
        left: token.void_after.since(now).as_secs_f64(),
        used_by: token.used_by.map(|node| node.0),
    }
}

/// `Revoke`: nobody may join by this token any more.
pub(super) async fn revoke<H: Handler>(caller: &Caller<'_, H>, request: &Request) -> rpc::Outcome {
    allowed(caller)?;
    let Asked { token, .. } = request.given()?;
    let (_, tokens) = all(caller).await?;
    let named = |(hash, _): &&(TokenHash, Token)| {
        !token.is_empty() && HEXLOWER.encode(&hash.0).starts_with(&token)
    };
    let mut named = tokens.iter().filter(named);
    match (named.next(), named.next()) {
        (Some((hash, _)), None) => {
            told(caller.handler.change_members(Command::Uninvite { token: *hash }).await)?;
            Ok(json!({}))
        }
        (None, _) => Err(Error::new(format!("there is no token {token:?}"), code::NOT_FOUND)),
        (Some(_), Some(_)) => {
            let message = format!("there are several tokens that begin with {token:?}");
            Err(Error::new(message, code::NOT_VALID))
        }
    }
}

async fn all<H: Handler>(
    caller: &Caller<'_, H>,
) -> Result<(GlobalTime, Vec<(TokenHash, Token)>), Error> {
    caller.handler.invitations().await.ok_or_else(no_leader)
}

fn allowed<H: Handler>(caller: &Caller<'_, H>) -> Result<(), Error> {
    match &*caller.identity {
        Identity::User(_) => Ok(()),
        Identity::Unit { .. } | Identity::Machine(_) | Identity::Controller(_) => Err(denied()),
    }
}

/// What came of a command.
fn told(outcome: Result<Outcome, NotWritten>) -> Result<(), Error> {
    match outcome {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(Refusal::Full)) => {
            let message = format!(
                "there are {TOKENS_MAX} tokens that are not void; revoke some, or wait for them to \
                 expire"
            );
            Err(Error::new(message, code::QUOTA))
        }
        Ok(Err(refusal)) => Err(Error::new(refusal.to_string(), code::NOT_VALID)),
        Err(NotWritten::Definite { .. }) => Err(no_leader()),
        Err(error @ NotWritten::TooNew { .. }) => {
            Err(Error::new(error.to_string(), code::NOT_SUPPORTED))
        }
        Err(NotWritten::Unknown) => {
            let message = "nobody can say whether it was done; look at the list of tokens";
            Err(Error::new(message, code::DEADLINE))
        }
    }
}

fn no_leader() -> Error {
    Error::new("the cluster has no leader at the moment; nothing was done", code::NOT_LEADER)
}
