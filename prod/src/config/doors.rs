//! The ways in which a controller lets its own kind in before its agents (seed 000).

use std::fmt;
use std::net::SocketAddr;

use portcullis_core::Address;
use serde::Deserialize;

use super::{Config, Peer};
use crate::node::{At, Doors};

/// Who dials the controller door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ControllerDoor {
    /// Every controller.
    Peers,
    /// This controller alone.
    #[serde(rename = "self")]
    Itself,
}

/// How a controller starts up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One door, open at once for everybody, as Juju without `controller-api-port`.
    OneDoor,
    /// One door, at which controllers go first.
    ControllersFirst,
    /// A door for controllers, and one for everybody that is bound later.
    TwoDoors,
    /// A door for controllers, and one for everybody at which controllers go first: while not every
    /// site has opened the port of the other.
    TwoDoorsControllersFirst,
    /// A port for this controller alone, and a door for everybody at which controllers go first.
    OwnPort,
    /// The same with a socket in the file system.
    OwnSocket,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::OneDoor => "one door: everybody comes in at once, controllers among them",
            Mode::ControllersFirst => {
                "controllers first: at the one door controllers come in at once, everybody else is \
                 held until this controller is stable"
            }
            Mode::TwoDoors => {
                "two doors: controllers come in at theirs at once, the door for everybody else is \
                 bound once this controller is stable"
            }
            Mode::TwoDoorsControllersFirst => {
                "two doors, controllers first: controllers come in at either at once, everybody \
                 else is held until this controller is stable"
            }
            Mode::OwnPort => {
                "a port of its own: this controller reaches itself there, other controllers come \
                 in at the api door at once, everybody else is held there until this one is stable"
            }
            Mode::OwnSocket => {
                "a socket of its own: this controller reaches itself there, other controllers come \
                 in at the api door at once, everybody else is held there until this one is stable"
            }
        })
    }
}

impl Mode {
    /// Whether controllers go first at the API door.
    pub fn controllers_first(self) -> bool {
        match self {
            Mode::OneDoor | Mode::TwoDoors => false,
            Mode::ControllersFirst
            | Mode::TwoDoorsControllersFirst
            | Mode::OwnPort
            | Mode::OwnSocket => true,
        }
    }

    /// Whether other controllers are to be found at the API door before all.
    pub(super) fn peers_at_api_door(self) -> bool {
        match self {
            Mode::TwoDoors | Mode::TwoDoorsControllersFirst => false,
            Mode::OneDoor | Mode::ControllersFirst | Mode::OwnPort | Mode::OwnSocket => true,
        }
    }
}

impl Config {
    /// How this controller starts up.
    pub fn mode(&self) -> Mode {
        let first = self.controllers_first == Some(true);
        let own = self.controller_door == Some(ControllerDoor::Itself);
        match (&self.controller_socket, self.controller_api_port) {
            (Some(_), _) => Mode::OwnSocket,
            (None, 0) if first => Mode::ControllersFirst,
            (None, 0) => Mode::OneDoor,
            (None, _) if own => Mode::OwnPort,
            (None, _) if first => Mode::TwoDoorsControllersFirst,
            (None, _) => Mode::TwoDoors,
        }
    }

    /// Where the doors are to be bound.
    pub fn doors(&self) -> Doors {
        let at = |port| SocketAddr::new(self.bind_address, port);
        Doors {
            api: at(self.api_port),
            controller: self.controller_at(),
            controllers_first: self.mode().controllers_first(),
        }
    }

    fn controller_at(&self) -> Option<At> {
        // What is for this controller alone is nobody else's to reach.
        let own = if self.bind_address.is_ipv6() {
            std::net::Ipv6Addr::LOCALHOST.into()
        } else {
            std::net::Ipv4Addr::LOCALHOST.into()
        };
        let socket = || self.controller_socket.clone().map(At::Socket);
        match self.mode() {
            Mode::OneDoor | Mode::ControllersFirst => None,
            Mode::OwnSocket => socket(),
            Mode::TwoDoors | Mode::TwoDoorsControllersFirst => {
                Some(At::Port(SocketAddr::new(self.bind_address, self.controller_api_port)))
            }
            Mode::OwnPort => Some(At::Port(SocketAddr::new(own, self.controller_api_port))),
        }
    }

    /// Where another controller is dialled, best first: where it is said to be, and then where its
    /// agents find it, so that no link hangs on a door that is being put up or taken down.
    pub(super) fn addresses(&self, peer: &Peer) -> Vec<Address> {
        let named = [&peer.controller_address];
        let api = peer.api_addresses.iter().map(|api| &api.address);
        let ordered: Vec<&String> = match self.mode().peers_at_api_door() {
            true => api.chain(named).collect(),
            false => named.into_iter().chain(api).collect(),
        };
        let mut addresses: Vec<Address> = Vec::new();
        for address in ordered.into_iter().map(|text| Address::new(text)) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses
    }
}
