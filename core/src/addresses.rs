//! Which addresses of controllers agents and clients are told, and in what order.
//!
//! Seed 003: "When machines in the control plane change, the api-address-updater worker for each
//! agent re-writes the agent's configuration file with usable API addresses from all controllers."
//! Agents are told those in the space of `juju-mgmt-space` alone, so that their traffic can be kept
//! to a network of its own; clients are told every usable one. Whoever is told nothing could reach
//! nobody, so a rule that leaves a controller without an address does not count for it.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::ids::Address;
use crate::mistake::Mistake;

/// From where an address can be reached, in Juju's words.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// From everywhere.
    Public,
    /// From within the cloud or the site.
    LocalCloud,
    /// From within the cloud, by its fan network.
    LocalFan,
    /// From the machine itself.
    #[serde(alias = "machine-local")]
    LocalMachine,
    /// From the same link, and only with the name of an interface: of no use to others.
    LinkLocal,
    /// Nobody knows.
    #[default]
    #[serde(rename = "", other)]
    Unknown,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scope::Public => "public",
            Scope::LocalCloud => "local-cloud",
            Scope::LocalFan => "local-fan",
            Scope::LocalMachine => "local-machine",
            Scope::LinkLocal => "link-local",
            Scope::Unknown => "unknown",
        })
    }
}

impl Scope {
    /// The scope that a host's address shows by itself: private ranges are the cloud's own (RFC
    /// 1918, RFC 4193), a name may be known anywhere.
    pub fn of(host: &str) -> Scope {
        match host.parse::<IpAddr>() {
            Ok(ip) if ip.is_loopback() => Scope::LocalMachine,
            Ok(IpAddr::V4(ip)) if ip.is_link_local() => Scope::LinkLocal,
            Ok(IpAddr::V4(ip)) if ip.is_private() => Scope::LocalCloud,
            Ok(IpAddr::V6(ip)) if ip.is_unicast_link_local() => Scope::LinkLocal,
            Ok(IpAddr::V6(ip)) if ip.is_unique_local() => Scope::LocalCloud,
            Ok(IpAddr::V4(_) | IpAddr::V6(_)) | Err(_) => Scope::Public,
        }
    }
}

/// What an address looks like, in Juju's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Four numbers.
    Ipv4,
    /// Eight, in hexadecimal.
    Ipv6,
    /// A name to be looked up.
    Hostname,
}

impl Kind {
    /// What this host's address looks like.
    pub fn of(host: &str) -> Kind {
        match host.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => Kind::Ipv4,
            Ok(IpAddr::V6(_)) => Kind::Ipv6,
            Err(_) => Kind::Hostname,
        }
    }
}

/// One address of one controller's API, as Juju's clients store it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HostPort {
    /// An IP address or a host name.
    pub value: String,
    /// What it looks like.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// From where it can be reached. libjuju follows a redirect to public ones only.
    pub scope: Scope,
    /// The network that it belongs to, by the operator's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space_name: Option<String>,
    /// The API port.
    pub port: u16,
}

impl HostPort {
    /// A host's address with all that it shows by itself.
    pub fn new(host: &str, port: u16) -> HostPort {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let (kind, scope) = (Kind::of(host), Scope::of(host));
        HostPort { value: host.into(), kind, scope, space_name: None, port }
    }

    /// Both in one, as URLs have them.
    pub fn joined(&self) -> String {
        let HostPort { value, kind, port, .. } = self;
        match kind {
            Kind::Ipv6 => format!("[{value}]:{port}"),
            Kind::Ipv4 | Kind::Hostname => format!("{value}:{port}"),
        }
    }

    /// Where it stands among the addresses of its controller: what is in the same cloud is nearest,
    /// and IPv4 goes first within a scope, as Juju's agents prefer them.
    fn rank(&self) -> (u8, bool) {
        let scope = match self.scope {
            Scope::LocalCloud => 0,
            Scope::LocalFan => 1,
            Scope::Public | Scope::Unknown => 2,
            Scope::LocalMachine => 3,
            Scope::LinkLocal => 4,
        };
        (scope, self.kind != Kind::Ipv4)
    }

    /// Whether hosts other than the controller's own can reach it.
    fn travels(&self) -> bool {
        match self.scope {
            Scope::Public | Scope::LocalCloud | Scope::LocalFan | Scope::Unknown => true,
            Scope::LocalMachine | Scope::LinkLocal => false,
        }
    }
}

/// What clients are told of one controller: each usable address once, the nearest first.
///
/// Link-local addresses are left out, since nobody could dial them. So are those of the machine
/// itself, unless there are no others, as on a machine that hosts a whole cluster for trial.
pub fn for_clients(all: &[HostPort]) -> Vec<HostPort> {
    let mut seen = BTreeSet::new();
    let mut usable: Vec<HostPort> = all
        .iter()
        .filter(|address| address.scope != Scope::LinkLocal && seen.insert(address.joined()))
        .cloned()
        .collect();
    if usable.iter().any(HostPort::travels) {
        usable.retain(HostPort::travels);
    }
    usable.sort_by_key(HostPort::rank);
    usable
}

/// What agents are told of one controller: of the usable addresses those in the space, or all of
/// them if none is in it, as Juju falls back for each controller by itself.
pub fn for_agents(all: &[HostPort], space: Option<&str>) -> Vec<HostPort> {
    let mut usable = for_clients(all);
    let inside = |address: &HostPort| space.is_some() && address.space_name.as_deref() == space;
    let bare = Mistake::EmptyWritten.made() && space.is_some();
    if usable.iter().any(inside) || bare {
        usable.retain(inside);
    }
    usable
}

/// A controller's addresses once its host `from` has become `to`: those at other hosts stay, and each
/// that is left twice is told once. Space and port stay too, and so does a scope that the former host
/// did not show by itself.
pub fn moved(all: &[HostPort], from: &str, to: &str) -> Vec<HostPort> {
    let mut addresses: Vec<HostPort> = Vec::with_capacity(all.len());
    for address in all {
        let mut next = address.clone();
        if next.value == from {
            let shown = HostPort::new(to, next.port);
            next.scope = if next.scope == Scope::of(from) { shown.scope } else { next.scope };
            (next.value, next.kind) = (shown.value, shown.kind);
        }
        if !addresses.iter().any(|known| known.value == next.value && known.port == next.port) {
            addresses.push(next);
        }
    }
    addresses
}

/// The addresses to dial, of all controllers: every first one before every second one, so that a
/// client that goes by the order meets each controller soon.
pub fn to_dial(servers: &[Vec<HostPort>]) -> Vec<Address> {
    let most = servers.iter().map(Vec::len).max().unwrap_or(0);
    let in_turn = (0..most).flat_map(|at| servers.iter().filter_map(move |of| of.get(at)));
    in_turn.map(|address| Address::from(address.joined())).collect()
}
