//! Connections, as both ends and the kernel between them see them.
//!
//! A link begins with a knock (TCP's SYN) and ends when both ends have let go of it. What travels on
//! it arrives in order; what is lost on it is never sent again, so a link that lost something is
//! stuck in that direction until somebody breaks it.

use std::time::Duration;

use portcullis_core::balancer::Load;
use portcullis_core::controller::Request;
use portcullis_core::queue::Answer;
use portcullis_core::{Address, BackendId, ConnectionId, Door, NodeId, Time};

use crate::stage::Place;

/// Names a link; never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId {
    place: u32,
    turn: u32,
}

/// Who opened a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// An agent or a workload's client.
    Client(u32),
    /// A controller that calls another, or itself.
    Controller(NodeId),
}

/// How far a link has come at the controller that was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// The knock is under way.
    Knocking,
    /// The kernel keeps it until the controller lets it in.
    Waiting,
    /// The controller let it in.
    Accepted(ConnectionId),
    /// Turned away, or over.
    Gone,
}

/// How far a link has come at the front, if it goes through one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// There is no front in its way.
    None,
    /// On the way to the front, in its backlog, or let in and without a backend.
    Outside,
    /// The front knocks at a controller, whose kernel may have answered.
    Joining { connection: ConnectionId, backend: BackendId, answered: bool },
    /// Both halves are one.
    Joined { backend: BackendId },
    /// The front has let go of it.
    Over,
}

/// Which way something travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the controller that was called.
    Up,
    /// To the caller.
    Down,
}

/// What a caller sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Up {
    Knock,
    Login,
    Ping,
    Ask {
        serial: u64,
        request: Request,
        patience: Duration,
    },
    TakeBack {
        serial: u64,
    },
    /// From another controller: how many agents it has.
    Load(Load),
    Close,
}

/// What a controller sends, or its kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Down {
    /// The TLS handshake is done.
    Connected,
    /// The login was right, and the client is in; if there is one, it is told of this controller
    /// before the others.
    Welcome {
        first: Option<NodeId>,
    },
    /// The login was right, but the client may not come in now.
    Refused,
    /// The client shall go there, whether it was in or not.
    Redirected {
        to: NodeId,
    },
    /// Controllers are here by now.
    Told {
        addresses: Vec<Address>,
    },
    Pong,
    Answer {
        serial: u64,
        answer: Answer,
    },
    /// Refused, reset or closed.
    Closed,
}

/// Either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Up(Up),
    Down(Down),
}

impl Message {
    /// Which way it goes.
    pub fn way(&self) -> Way {
        match self {
            Message::Up(_) => Way::Up,
            Message::Down(_) => Way::Down,
        }
    }
}

/// One link.
#[derive(Debug)]
pub struct Link {
    turn: u32,
    pub caller: Caller,
    /// Who is called, and through which door; through a front, whoever the front has chosen last.
    pub node: NodeId,
    pub door: Door,
    /// Whether the caller still wants it.
    pub wanted: bool,
    /// Whether the caller was told that it is connected.
    pub greeted: bool,
    pub served: Served,
    pub hop: Hop,
    /// Knocks of the front that it has given up and that are still under way.
    pub stale: u32,
    /// When the last message arrives, each way.
    pub arrival: [Time; 2],
    /// Whether something was lost, each way.
    pub stuck: [bool; 2],
}

impl Link {
    /// Where the caller is, and where who is called.
    pub fn ends(&self) -> (Place, Place) {
        let caller = match self.caller {
            Caller::Client(_) => Place::Agents,
            Caller::Controller(node) => Place::Controller(node),
        };
        match self.hop {
            Hop::None | Hop::Joining { .. } | Hop::Joined { .. } => {
                (caller, Place::Controller(self.node))
            }
            // The front stands where the agents are.
            Hop::Outside | Hop::Over => (caller, Place::Agents),
        }
    }
}

/// Every link.
#[derive(Debug, Default)]
pub struct Links {
    links: Vec<Link>,
    free: Vec<u32>,
}

impl Links {
    /// Opens a link: its knock is under way.
    pub fn open(&mut self, caller: Caller, node: NodeId, door: Door) -> LinkId {
        self.make(caller, node, door, Hop::None)
    }

    /// Opens a link through the front, which will choose who is called.
    pub fn open_to_front(&mut self, caller: Caller) -> LinkId {
        self.make(caller, NodeId(0), Door::Api, Hop::Outside)
    }

    /// The links that the front has joined with this backend.
    pub fn joined(&self, backend: BackendId) -> Vec<LinkId> {
        let links = (0..).zip(&self.links);
        let joined = links.filter(|(_, link)| link.hop == Hop::Joined { backend });
        joined.map(|(place, link)| LinkId { place, turn: link.turn }).collect()
    }

    fn make(&mut self, caller: Caller, node: NodeId, door: Door, hop: Hop) -> LinkId {
        let link = |turn| Link {
            turn,
            caller,
            node,
            door,
            wanted: true,
            greeted: false,
            served: Served::Knocking,
            hop,
            stale: 0,
            arrival: [Time(0); 2],
            stuck: [false; 2],
        };
        match self.free.pop() {
            Some(place) => {
                let old = &mut self.links[place as usize];
                *old = link(old.turn);
                LinkId { place, turn: old.turn }
            }
            None => {
                let place = u32::try_from(self.links.len()).expect("links are counted in 32 bits");
                self.links.push(link(0));
                LinkId { place, turn: 0 }
            }
        }
    }

    /// The link, unless it is over.
    pub fn get(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.get_mut(id.place as usize).filter(|link| link.turn == id.turn)
    }

    /// Forgets the link once neither end has it.
    pub fn release(&mut self, id: LinkId) {
        if self.get(id).is_some_and(|link| !link.wanted && link.served == Served::Gone) {
            self.links[id.place as usize].turn += 1;
            self.links[id.place as usize].hop = Hop::None;
            self.free.push(id.place);
        }
    }
}
