//! Where a controller listens: where it is to, and where it does.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use portcullis_core::Door;

/// A place on this host where connections are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// A port; 0 lets the host choose.
    Port(SocketAddr),
    /// A socket in the file system, for the host itself.
    Socket(PathBuf),
}

impl From<SocketAddr> for At {
    fn from(address: SocketAddr) -> At {
        At::Port(address)
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Port(address) => address.fmt(f),
            At::Socket(path) => path.display().fmt(f),
        }
    }
}

impl At {
    /// How the host itself reaches it.
    pub(super) fn nearby(&self) -> At {
        match self {
            At::Port(address) if address.ip().is_unspecified() => {
                let ip: IpAddr = match address {
                    SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                    SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
                };
                At::Port(SocketAddr::new(ip, address.port()))
            }
            At::Port(_) | At::Socket(_) => self.clone(),
        }
    }
}

/// Where a controller's doors are to be bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doors {
    /// For agents and users; for controllers too, if they have no other.
    pub api: SocketAddr,
    /// For controllers alone, or for this one alone; absent in one-door modes.
    pub controller: Option<At>,
    /// Whether the API door lets controllers in at once and holds everybody else until this
    /// controller is stable, instead of being bound only then.
    pub controllers_first: bool,
}

/// What is bound; empty until it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// The API door.
    pub api: Option<SocketAddr>,
    /// The controller door.
    pub controller: Option<At>,
    /// The metrics address.
    pub metrics: Option<SocketAddr>,
}

impl Ports {
    pub(super) fn open(&mut self, door: Door, at: At) {
        match (door, at) {
            (Door::Api, At::Port(address)) => self.api = Some(address),
            (Door::Api, At::Socket(_)) => unreachable!("the api door is a port"),
            (Door::Controller, at) => self.controller = Some(at),
        }
    }

    pub(super) fn shut(&mut self, door: Door) {
        match door {
            Door::Api => self.api = None,
            Door::Controller => self.controller = None,
        }
    }
}
