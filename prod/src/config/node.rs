//! The configuration in the words of the node.

use portcullis_core::NodeId;
use portcullis_core::addresses::HostPort;

use super::{Config, shared};
use crate::api;
use crate::credentials::{Credentials, Hashed, Identity};
use crate::tls::{self, Authority, Certificate};
use crate::{node, raft, rpc};

impl Config {
    /// What a node is started with. Reads the certificates.
    pub fn node(&self) -> Result<node::Config, tls::Error> {
        let node::Live { peers, doors, servers, space, models, moved, .. } = self.live()?;
        let limits = &self.limits;
        Ok(node::Config {
            controller: self.controller(),
            raft: raft::Config {
                heartbeat: self.raft.heartbeat,
                election: (self.raft.election_min, self.raft.election_max),
                ..raft::Config::default()
            },
            writer: raft::Writer::Thread,
            api: api::Config {
                socket: rpc::Limits {
                    message_max: limits.message_max,
                    outbox_max: limits.answers_waiting_max,
                },
                requests_max: limits.requests_per_connection_max,
                items_max: limits.items_per_call_max,
                watchers_max: limits.watchers_per_connection_max,
                patience: limits.patience,
                ..api::Config::default()
            },
            doors,
            bind_file: self.bind_address_file.clone(),
            metrics: self.metrics_address,
            proxied: self.proxy_protocol.clone(),
            cluster: self.controller_uuid.clone(),
            membership: Some(self.members.membership(NodeId(self.controller_id))),
            joining: self.joining()?,
            peers,
            servers,
            space,
            certificate: Certificate::load(&self.tls.cert, &self.tls.key, &self.tls.ca)?,
            credentials: self.credentials(),
            models,
            moved,
        })
    }

    /// How this controller came in, and what it lets others join with.
    fn joining(&self) -> Result<node::Joining, tls::Error> {
        let issuer = match &self.tls.ca_key {
            Some(key) => Some(Authority::load(&self.tls.ca, key)?),
            None => None,
        };
        let file = self.file.clone();
        let shared = move || shared(&file).map_err(|error| error.to_string());
        let issuer = issuer.map(|authority| node::Issuer::new(authority, shared));
        Ok(node::Joining { joined: self.joined, issuer })
    }

    /// Everybody who may log in.
    fn credentials(&self) -> Credentials {
        let mut credentials = Credentials::default();
        for (_, model, tag, hash) in self.logins() {
            let identity = Identity::from_tag(&tag).expect("names were checked on loading");
            let hashed = Hashed::parse(hash).expect("hashes were checked on loading");
            credentials.insert(model, identity, hashed);
        }
        for units in &self.signed {
            credentials.insert_signed(units.credentials());
        }
        credentials
    }
}

/// What agents are told of a `host:port`.
pub(super) fn host_port(text: &str) -> HostPort {
    let (host, port) = text.rsplit_once(':').expect("addresses were checked on loading");
    HostPort::new(host, port.parse().expect("addresses were checked on loading"))
}
