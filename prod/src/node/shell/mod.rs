//! What surrounds the controller's machine: doors, replies, the log and the other controllers.

mod asks;

use std::collections::BTreeMap;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::bind::{Bind, Lack};
use portcullis_core::controller::{self, Controller, Input, Output, Request, Status};
use portcullis_core::queue::Answer;
use portcullis_core::sessions::Party;
use portcullis_core::{Address, AskId, ConnectionId, Door, NodeId, Time};
use tokio::sync::{oneshot, watch};
use tracing::{debug, info, warn};

use super::door::{Connections, Opened, Permit};
use super::{At, Cut, Doors, Ports, Readiness, Serve};
use crate::drive::Shell;
use crate::env::Env;
use crate::metrics::{Limit, Metrics, labels};
use crate::raft::Line;
use crate::rpc::Farewell;
use asks::Pending;

/// What arrives at a controller.
pub enum Arrival {
    /// Something for the machine alone.
    Told(Input),
    /// A door is bound.
    Bound { door: Door, at: At },
    /// A connection was let in, and can be ended.
    Connected { connection: ConnectionId, door: Door, cut: Cut },
    /// A connection stands at the door: tell it by `admit` when it is let in.
    Knocked { connection: ConnectionId, door: Door, cut: Cut, admit: Admit },
    /// A party has proved who it is, and listens for what becomes of it.
    LoggedIn { connection: ConnectionId, party: Party, reply: oneshot::Sender<Greeting> },
    /// Somebody asks, and listens for the answer.
    Asked { ask: AskId, request: Request, patience: Duration, reply: oneshot::Sender<Answer> },
    /// Somebody wants to know what the controller is doing.
    Status { reply: oneshot::Sender<Status> },
}

/// The way to let somebody in who stands at the door.
pub type Admit = oneshot::Sender<()>;

/// What becomes of a party that has proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// It is in. Of the controllers that it is told about, `first` comes first.
    Welcome { first: Option<NodeId> },
    /// It is not let in this time.
    Refuse,
    /// It belongs to that controller.
    Redirect { to: NodeId },
}

/// Somebody who stands at the door.
struct Standing {
    cut: Cut,
    admit: Admit,
    /// Which door's limits it counts for, by what it has said.
    counts_at: Door,
}

/// Somebody who was let in and is not gone.
struct Guest {
    door: Door,
    cut: Cut,
    party: Option<Party>,
    /// How many asks it has without an answer.
    asks: usize,
}

/// The shell of one controller.
pub struct Surroundings<E: Env> {
    serve: Arc<Serve<E>>,
    opened: BTreeMap<Door, Opened>,
    /// Where the controller door is to be bound, if a file has said it.
    host: Option<IpAddr>,
    /// That door where it is to be, while it listens where it was.
    next: Option<Opened>,
    connections: Connections,
    standing: BTreeMap<ConnectionId, Standing>,
    guests: BTreeMap<ConnectionId, Guest>,
    /// Who has proved who it is, and waits to be let in.
    logins: BTreeMap<ConnectionId, (Party, oneshot::Sender<Greeting>)>,
    asks: BTreeMap<AskId, Pending>,
    /// The order in which the machine proposed.
    proposals: Line,
    ports: watch::Sender<Ports>,
    /// Whether a condition has changed that nobody was told of.
    unsaid: bool,
}

impl<E: Env> Surroundings<E> {
    /// Nobody is connected and no door is open.
    pub fn new(serve: Arc<Serve<E>>, ports: watch::Sender<Ports>) -> Self {
        Surroundings {
            serve,
            opened: BTreeMap::new(),
            host: None,
            next: None,
            connections: Connections::default(),
            standing: BTreeMap::new(),
            guests: BTreeMap::new(),
            logins: BTreeMap::new(),
            asks: BTreeMap::new(),
            proposals: Line::default(),
            ports,
            unsaid: true,
        }
    }

    fn open(&mut self, door: Door) {
        let Doors { api, controller, .. } = self.serve.doors.borrow().clone();
        let at = match door {
            // The machine was told that there is one, and the operator may have changed that since.
            Door::Controller => controller.map(|at| self.at(at)),
            Door::Api => Some(At::Port(api)),
        };
        let Some(at) = at else { return };
        let opened = Opened::open(self.serve.clone(), door, at, self.connections.clone());
        if self.opened.contains_key(&door) && door == Door::Controller {
            self.next = Some(opened);
        } else {
            self.opened.insert(door, opened);
        }
    }

    /// Where the controller door is to be: at the port that the configuration says.
    fn at(&self, at: At) -> At {
        match (at, self.host) {
            (At::Port(configured), Some(ip)) => At::Port(SocketAddr::new(ip, configured.port())),
            (at @ (At::Port(_) | At::Socket(_)), _) => at,
        }
    }

    /// A door is bound. If that is where it has moved to, it is shut where it was.
    fn bound(&mut self, door: Door, at: At) {
        if door == Door::Controller
            && let Some(next) = self.next.take()
            && let Some(former) = self.opened.insert(door, next)
        {
            former.shut();
        }
        if let (Door::Controller, Some(_), At::Port(address)) = (door, self.host, &at) {
            self.serve.bound.send_replace(Some(*address));
            self.serve.tell_servers();
        }
        self.ports.send_modify(|ports| ports.open(door, at));
    }

    /// What is wrong with the file that says where to be bound, for whoever looks after it.
    fn complain(&mut self, lack: &Lack) {
        let Some(file) = &self.serve.bind_file else { return };
        match self.serve.bound.borrow().as_ref() {
            Some(bound) => warn!(%bound, "{}; the address stays", file.worded(lack)),
            None => warn!("no bind-address yet: {}", file.worded(lack)),
        }
        self.unsaid = true;
    }

    fn permit(&self, door: Door, permit: Permit) {
        if let Some(opened) = self.opened.get(&door) {
            opened.permit(permit);
        }
    }

    fn cut(&self, connection: ConnectionId, farewell: Farewell) {
        if let Some(guest) = self.guests.get(&connection) {
            guest.cut.make(farewell);
        } else if let Some(standing) = self.standing.get(&connection) {
            standing.cut.make(farewell);
        }
    }

    /// Ends the connection of somebody who was let in, with where to go instead.
    fn send_on(&self, connection: ConnectionId, to: NodeId) {
        debug!(%connection, %to, "sent on");
        let cluster = self.serve.cluster.borrow();
        let addresses = cluster.servers.get(&to).into_iter().flatten();
        let to = addresses.map(|address| Address::from(address.joined())).collect();
        self.cut(connection, Farewell::Redirect(to));
    }

    /// Answers a login; false if there is none to be answered.
    fn greet(&mut self, connection: ConnectionId, greeting: Greeting) -> bool {
        let Some((party, reply)) = self.logins.remove(&connection) else { return false };
        if let Greeting::Welcome { .. } = greeting {
            self.note(&Input::LoggedIn { connection, party });
        }
        // Whoever waited may be gone by this time; the machine will be told so.
        let _ = reply.send(greeting);
        true
    }

    fn metrics(&self) -> &Metrics {
        &self.serve.metrics
    }

    /// Notes what the machine is told of connections.
    fn note(&mut self, input: &Input) {
        let metrics = &self.serve.metrics;
        if let Input::LoggedIn { connection, party } = input
            && let Some(guest) = self.guests.get_mut(connection)
            && guest.party.is_none()
        {
            guest.party = Some(*party);
            if guest.door == Door::Api {
                metrics.less(Limit::Logins);
            }
        } else if let Input::Disconnected { connection } = input
            && self.standing.remove(connection).is_some()
        {
            metrics.less(Limit::Held);
        } else if let Input::Disconnected { connection } = input
            && let Some(Guest { door, party, .. }) = self.guests.remove(connection)
        {
            metrics.disconnected(labels::door(door));
            if door == Door::Api {
                metrics.less(Limit::Connections);
                if party.is_none() {
                    metrics.less(Limit::Logins);
                }
            }
        }
    }

    fn connected(&mut self, connection: ConnectionId, door: Door, cut: Cut) {
        self.guests.insert(connection, Guest { door, cut, party: None, asks: 0 });
        self.metrics().connected(labels::door(door));
        if door == Door::Api {
            self.metrics().more(Limit::Connections);
            self.metrics().more(Limit::Logins);
        }
    }

    /// Lets somebody in who stands at the door.
    fn let_in(&mut self, connection: ConnectionId) {
        let Some(Standing { cut, admit, counts_at }) = self.standing.remove(&connection) else {
            return;
        };
        self.metrics().less(Limit::Held);
        self.connected(connection, counts_at, cut);
        // They may be gone by this time; the machine will be told so.
        let _ = admit.send(());
    }
}

impl<E: Env> Shell<Controller> for Surroundings<E> {
    type Arrival = Arrival;

    fn admit(&mut self, machine: &Controller, arrival: Arrival) -> Option<Input> {
        match arrival {
            Arrival::Told(input) => {
                if let Input::Disconnected { connection } = &input {
                    self.logins.remove(connection);
                } else if let Input::NotOpened { door: Door::Controller } = &input {
                    // Where it was it goes on.
                    self.next = None;
                } else if let Input::Offered { .. } = &input {
                    // What is wrong with the file may be mended, which orders nothing.
                    self.unsaid = true;
                } else if let Input::Arrived { connection, kind, .. } = &input
                    && let Some(standing) = self.standing.get_mut(connection)
                {
                    standing.counts_at = kind.counts_at();
                }
                self.note(&input);
                Some(input)
            }
            Arrival::Bound { door, at } => {
                self.bound(door, at);
                Some(Input::Opened { door })
            }
            Arrival::Connected { connection, door, cut } => {
                self.connected(connection, door, cut);
                Some(Input::Connected { connection, door })
            }
            Arrival::Knocked { connection, door, cut, admit } => {
                self.standing.insert(connection, Standing { cut, admit, counts_at: door });
                self.metrics().more(Limit::Held);
                Some(Input::Knocked { connection, door })
            }
            Arrival::LoggedIn { connection, party, reply } => {
                self.logins.insert(connection, (party, reply));
                Some(Input::LoggedIn { connection, party })
            }
            Arrival::Asked { ask, request, patience, reply } => {
                let renews = self.renews(&request);
                self.asked(ask, &request, reply);
                Some(Input::Asked { ask, request, renews, patience })
            }
            Arrival::Status { reply } => {
                // Whoever asked may have left.
                let _ = reply.send(machine.status(self.serve.env.now()));
                None
            }
        }
    }

    fn act(&mut self, machine: &Controller, now: Time, output: Output) -> Option<Input> {
        match output {
            Output::Open { door } => self.open(door),
            Output::Accept { door } => self.permit(door, Permit::Accept),
            Output::Hold { door } => self.permit(door, Permit::Hold),
            Output::Admit { connection } => self.let_in(connection),
            Output::Condition { name, met } => {
                info!(condition = %name, "{}", if met { "met" } else { "not met" });
                self.unsaid = true;
            }
            Output::Bind { host } => {
                info!(%host, "bind-address");
                self.host = host.parse().ok();
            }
            Output::Complain { lack } => self.complain(&lack),
            Output::Stopped => self.serve.stopped.cancel(),
            Output::Shut { door } => {
                if let Some(opened) = self.opened.remove(&door) {
                    info!(%door, "shut");
                    opened.shut();
                    self.ports.send_modify(|ports| ports.shut(door));
                }
            }
            Output::Welcome { connection, first } => {
                self.greet(connection, Greeting::Welcome { first });
            }
            Output::Refuse { connection } => {
                self.greet(connection, Greeting::Refuse);
            }
            Output::Redirect { connection, to } => {
                // Juju's protocol has a word for this at the login and none later.
                if !self.greet(connection, Greeting::Redirect { to }) {
                    self.send_on(connection, to);
                }
            }
            Output::Tell { load } => self.serve.peers.tell(&self.serve.env, load),
            Output::Hangup { connection, why } => {
                debug!(%connection, %why, "hang up");
                self.metrics().cut(why);
                self.cut(connection, Farewell::Closed(why.to_string()));
            }
            Output::Propose { batch, entry } => self.propose(batch, entry),
            Output::Send { ask, to, operation, patience } => {
                self.send(ask, to, operation, patience);
            }
            Output::Recall { ask, to } => self.serve.peers.recall(&self.serve.env, to, ask),
            Output::Look { ask, key } => {
                let held = self.serve.leases.view().get(&key).is_some();
                return Some(controller::Input::Looked { ask, held });
            }
            Output::Answer { ask, answer } => self.answer(machine, now, ask, answer),
        }
        None
    }

    fn done(&mut self, machine: &Controller) {
        // Conditions are told of when they change; the phase is looked at, for it also changes where
        // nothing is to be done.
        let phase = self.serve.readiness.borrow().api_door;
        if mem::take(&mut self.unsaid) || phase != machine.listener().phase() {
            let mut next = Readiness::of(machine);
            let lack = machine.bind().and_then(Bind::lack);
            next.lack =
                self.serve.bind_file.as_ref().zip(lack).map(|(file, lack)| file.worded(lack));
            self.serve.readiness.send_if_modified(|said| mem::replace(said, next.clone()) != next);
        }
    }
}
