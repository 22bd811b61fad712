//! The configuration in the words of the node.

use std::net::{IpAddr, SocketAddr};

use portcullis_core::{Address, NodeId};

use super::{Config, Peer};
use crate::api::{self, HostPort};
use crate::credentials::{Credentials, Hashed, Identity};
use crate::tls::{self, Certificate};
use crate::{node, raft, rpc};

impl Config {
    /// What a node is started with. Reads the certificates.
    pub fn node(&self) -> Result<node::Config, tls::Error> {
        let at = |port| SocketAddr::new(self.bind_address, port);
        let address = |peer: &Peer| Address::new(&peer.controller_address);
        let node::Live { servers, models, moved, .. } = self.live()?;
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
            doors: node::Doors {
                api: at(self.api_port),
                controller: self.has_controller_door().then(|| at(self.controller_api_port)),
            },
            metrics: self.metrics_address,
            cluster: self.controller_uuid.clone(),
            membership: Some(self.members.membership(NodeId(self.controller_id))),
            peers: self.peers.iter().map(|peer| (NodeId(peer.id), address(peer))).collect(),
            servers,
            certificate: Certificate::load(&self.tls.cert, &self.tls.key, &self.tls.ca)?,
            credentials: self.credentials(),
            models,
            moved,
        })
    }

    /// Everybody who may log in.
    fn credentials(&self) -> Credentials {
        let mut credentials = Credentials::default();
        for (_, model, tag, hash) in self.logins() {
            let identity = Identity::from_tag(&tag).expect("names were checked on loading");
            let hashed = Hashed::parse(hash).expect("hashes were checked on loading");
            credentials.insert(model, identity, hashed);
        }
        credentials
    }
}

/// What agents are told of a `host:port`.
pub(super) fn host_port(text: &str) -> HostPort {
    HostPort::parse(&Address::new(text)).expect("addresses were checked on loading")
}

impl HostPort {
    /// What agents are told of a `host:port`; nothing if it is none.
    pub fn parse(address: &Address) -> Option<HostPort> {
        let (host, port) = address.as_str().rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let (kind, scope) = match host.parse::<IpAddr>() {
            Ok(ip) if ip.is_loopback() => {
                (if ip.is_ipv4() { "ipv4" } else { "ipv6" }, "local-machine")
            }
            Ok(IpAddr::V4(ip)) => ("ipv4", if ip.is_private() { "local-cloud" } else { "public" }),
            Ok(IpAddr::V6(ip)) => {
                ("ipv6", if ip.is_unique_local() { "local-cloud" } else { "public" })
            }
            Err(_) => ("hostname", "public"),
        };
        Some(HostPort {
            value: host.to_owned(),
            kind: kind.to_owned(),
            scope: scope.to_owned(),
            port: port.parse().ok()?,
        })
    }
}
