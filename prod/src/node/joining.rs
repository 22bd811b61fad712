//! Answering whoever wants to join the cluster: core's table of members decides, the authority's key
//! issues.
//!
//! In this order, so that nothing is lost wherever it breaks off: the token is looked up, the key is
//! proved, the member is written into the log under the token and the key, and only then is a
//! certificate issued, for the name that the log gave. Whoever asks again with the same key gets the
//! same name and another certificate; nobody else gets anything by that token.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use portcullis_core::members::{Command, Done, Member, Members, Refusal, Token, TokenHash};
use portcullis_core::pace::{self, Pace};
use portcullis_core::{Address, NodeId, Time};
use tracing::info;

use super::Serve;
use crate::env::Env;
use crate::join::{Asked, FAILED_EVERY, FAILED_MAX, Granted, Peer, Refused, key_hash, token};
use crate::metrics::Limit;
use crate::raft::NotWritten;
use crate::tls::{self, Authority, Validity};

/// Most other controllers that whoever joins is told of: it needs one that it reaches, and the log
/// says who the others are. One fewer than a configuration may list.
const PEERS_TOLD_MAX: usize = 6;

/// How a controller came into its cluster, and how others do.
#[derive(Debug, Default)]
pub struct Joining {
    /// Whether it has joined by a token: then it founds nothing, even by an empty log.
    pub joined: bool,
    /// What it lets others join with; without it, it refuses.
    pub issuer: Option<Issuer>,
}

/// What a controller needs to let others join.
#[derive(Clone)]
pub struct Issuer {
    authority: Arc<Authority>,
    shared: Arc<dyn Fn() -> Result<String, String> + Send + Sync>,
}

impl Issuer {
    /// Issues by this authority. `shared` says at each time what all configurations have in common,
    /// in TOML.
    pub fn new(
        authority: Authority,
        shared: impl Fn() -> Result<String, String> + Send + Sync + 'static,
    ) -> Issuer {
        Issuer { authority: Arc::new(authority), shared: Arc::new(shared) }
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Issuer")
    }
}

/// Where whoever wants to join is answered.
pub struct Desk {
    issuer: Option<Issuer>,
    /// Who comes with a token that nobody knows takes of it.
    failed: Mutex<Pace>,
}

impl Desk {
    /// Nobody has failed yet.
    pub fn new(issuer: Option<Issuer>) -> Desk {
        let config = pace::Config { burst: FAILED_MAX, interval: FAILED_EVERY };
        Desk { issuer, failed: Mutex::new(Pace::new(config)) }
    }

    /// How many have failed of late: at [`FAILED_MAX`] the next is told to come back.
    pub fn failed(&self, now: Time) -> u32 {
        // The bucket tells when it has one again, not how many: what it takes to empty is counted.
        let mut bucket = self.locked().clone();
        let left = (0..FAILED_MAX).take_while(|_| bucket.take(now)).count();
        FAILED_MAX - u32::try_from(left).unwrap_or(FAILED_MAX)
    }

    /// Lets one more look a token up, or says how long there are too many.
    fn look_up(&self, now: Time) -> Result<(), Duration> {
        let mut bucket = self.locked();
        if bucket.take(now) { Ok(()) } else { Err(bucket.ready_at().since(now)) }
    }

    fn locked(&self) -> MutexGuard<'_, Pace> {
        // Nothing panics under the lock.
        self.failed.lock().expect("the lock is never poisoned")
    }
}

impl<E: Env> Serve<E> {
    /// Lets one more controller into the cluster, or says why not.
    pub async fn join(&self, asked: Asked) -> Result<Granted, Refused> {
        let address = asked.controller_address.clone();
        let joined = self.admit(asked).await;
        match &joined {
            Ok(granted) => info!(node = granted.node, address, "joined, with a certificate"),
            // The door paces how often this can be said.
            Err(refused) => info!(address, "nobody joins: {refused}"),
        }
        joined
    }

    async fn admit(&self, asked: Asked) -> Result<Granted, Refused> {
        let cluster = self.cluster.borrow().clone();
        if asked.cluster != cluster.uuid {
            return Err(Refused::OtherCluster { cluster: cluster.uuid.clone() });
        }
        let Some(issuer) = self.joining.issuer.clone() else {
            let others = cluster.servers.iter().filter(|(node, _)| **node != self.node);
            let first = others.filter_map(|(_, addresses)| Some(addresses.first()?.joined()));
            return Err(Refused::NoKey { others: first.collect::<Vec<_>>().join(", ") });
        };
        let malformed = |what: &str| Refused::Malformed { what: what.into() };
        let secret = <[u8; 32]>::try_from(&*asked.secret);
        let secret = secret.map_err(|_| malformed("a secret has 32 bytes"))?;
        let token = token::hash(&secret);
        let found = self.known(token).await?;
        let key = asked.key.proved(&asked.secret);
        let key = key.ok_or_else(|| malformed("the key is not proved"))?;
        if found.used_by.is_some() && found.key != key_hash(&key) {
            return Err(Refused::UsedToken);
        }
        let member = member(&asked).ok_or_else(|| malformed("an address is not host:port"))?;
        let shared = (issuer.shared)().map_err(|what| Refused::Broken { what })?;
        let validity = self.env.today().map_or_else(Validity::century, Validity::ten_years);
        let issue = |node| issuer.authority.issue_to(&key, node, &hosts(&asked), validity);
        // Once before there is a member: its addresses may be no names that a certificate can have.
        issue(self.node).map_err(|error| malformed(&error.to_string()))?;
        let join = Command::Join { token, member, key: key_hash(&key) };
        let node = match self.change_members(join).await {
            Ok(Ok(Done::Joined { node })) => node,
            Ok(Ok(Done::Noted)) => unreachable!("whoever joins is told its name"),
            Ok(Err(refusal)) => return Err(refused(refusal)),
            Err(NotWritten::Definite { .. }) => return Err(Refused::NoLeader),
            Err(error @ NotWritten::TooNew { .. }) => {
                return Err(Refused::Refused { what: error.to_string() });
            }
            Err(NotWritten::Unknown) => return Err(Refused::Unknown),
        };
        let chain = issue(node).map_err(|error| Refused::Broken { what: error.to_string() })?;
        Ok(Granted {
            node: node.0,
            certificate: tls::to_pem(&chain),
            authority: cluster.authority.clone(),
            authority_key: issuer.authority.key_pem(),
            peers: peers(self.leases.view().members(), node),
            shared,
        })
    }

    /// The invitation by this token, as far as the leader knows.
    async fn known(&self, token: TokenHash) -> Result<Token, Refused> {
        let known = || {
            let view = self.leases.view();
            let now = view.now();
            let mut tokens = view.members().tokens();
            let found = tokens.find(|(hash, one)| *hash == token && one.void_after >= now);
            found.map(|(_, one)| *one)
        };
        if let Some(found) = known() {
            return Ok(found);
        }
        // This copy of the table may be behind, and only then is the leader troubled.
        if let Err(wait) = self.joining.look_up(self.env.now()) {
            self.metrics.refused(Limit::FailedJoins);
            return Err(Refused::TryAgain { seconds: wait.as_secs() + 1 });
        }
        self.caught_up().await.ok_or(Refused::NoLeader)?;
        known().ok_or(Refused::NoToken)
    }
}

/// What the log is to say of whoever joins; nothing if an address is none.
fn member(asked: &Asked) -> Option<Member> {
    let Asked { controller_address, api_addresses, domain, reads, .. } = asked;
    let all = api_addresses.iter().chain([controller_address]);
    let sound = |text: &String| host(text).is_some();
    let sound = !api_addresses.is_empty() && all.clone().all(sound);
    sound.then(|| Member {
        address: Address::new(controller_address),
        api: api_addresses.iter().map(|text| Address::new(text)).collect(),
        domain: domain.as_str().into(),
        reads: *reads,
    })
}

/// The host of `host:port`, without brackets.
fn host(text: &str) -> Option<&str> {
    let (host, port) = text.rsplit_once(':')?;
    port.parse::<u16>().ok().filter(|port| *port > 0)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    Some(bare.unwrap_or(host)).filter(|host| !host.is_empty())
}

/// The names of whoever joins that its certificate is for, besides those that all have.
fn hosts(asked: &Asked) -> Vec<String> {
    let all = asked.api_addresses.iter().chain([&asked.controller_address]);
    all.filter_map(|text| host(text)).map(str::to_owned).collect()
}

/// The other members, the ones that have been there longest first.
fn peers(members: &Members, node: NodeId) -> Vec<Peer> {
    let others = members.iter().filter(|(other, _)| *other != node);
    let peer = |(node, member): (NodeId, &Member)| {
        let api: Vec<String> = member.api.iter().map(ToString::to_string).collect();
        let address = member.address.to_string();
        let api_addresses = if api.is_empty() { vec![address.clone()] } else { api };
        Peer { id: node.0, controller_address: address, api_addresses }
    };
    others.take(PEERS_TOLD_MAX).map(peer).collect()
}

/// In the words of whoever wants to join.
fn refused(refusal: Refusal) -> Refused {
    match refusal {
        Refusal::NoToken => Refused::NoToken,
        Refusal::UsedToken => Refused::UsedToken,
        Refusal::NotFounded => Refused::NoLeader,
        Refusal::Founded
        | Refusal::Full
        | Refusal::TooLarge
        | Refusal::NotMember
        | Refusal::Last
        | Refusal::AddressTaken
        | Refusal::Unreadable { .. }
        | Refusal::Unwanted
        | Refusal::Needed
        | Refusal::Voters => Refused::Refused { what: refusal.to_string() },
    }
}
