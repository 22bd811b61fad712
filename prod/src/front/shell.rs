//! What surrounds the front's machine: the port, the probes, and those on their way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use portcullis_core::front::{Fault, Front, Input, News, Output, Verdict, Why};
use portcullis_core::{Address, BackendId, ConnectionId, Time};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::connection::Join;
use super::counters::count;
use super::door::Door;
use super::probe::probe;
use super::{Backend, Report, Serve};
use crate::drive::Shell;
use crate::env::Env;

/// What arrives at a front.
pub enum Arrival<S> {
    /// Something for the machine alone.
    Told(Input),
    /// These are the backends from here on.
    Set { backends: Vec<Backend> },
    /// A connection was let in.
    Accepted { connection: ConnectionId, stream: S },
    /// It could not reach its backend.
    NotJoined { connection: ConnectionId, stream: S, fault: Fault },
    /// A probe is over, and was told this.
    Probed { backend: BackendId, verdict: Verdict, said: String },
    /// Somebody wants to know how the front is.
    Asked { reply: oneshot::Sender<Report> },
}

/// The shell of one front.
pub struct Surroundings<E: Env> {
    serve: Arc<Serve<E>>,
    door: Door,
    /// By their addresses; the removed ones stay, since connections may be on their way to them.
    backends: BTreeMap<Address, Backend>,
    /// Connections that the machine knows and no task has.
    held: BTreeMap<ConnectionId, E::Stream>,
    /// What hangs up the connections of a backend.
    cuts: BTreeMap<BackendId, CancellationToken>,
    /// What each backend's last probe has said.
    said: BTreeMap<BackendId, String>,
    phase: &'static str,
    ended: CancellationToken,
}

impl<E: Env> Surroundings<E> {
    /// Nobody is connected.
    pub fn new(serve: Arc<Serve<E>>, door: Door, ended: CancellationToken) -> Self {
        Surroundings {
            serve,
            door,
            backends: BTreeMap::new(),
            held: BTreeMap::new(),
            cuts: BTreeMap::new(),
            said: BTreeMap::new(),
            phase: "",
            ended,
        }
    }

    fn report(&self, front: &Front) -> Report {
        let backends = front
            .backends()
            .map(|(id, status)| (status, self.said.get(&id).cloned().unwrap_or_default()));
        Report {
            phase: front.phase(),
            serves: front.serves(),
            connections: front.connections(),
            joining: front.joining(),
            scrapes: self.serve.scrapes.load(Ordering::Relaxed),
            backends: backends.collect(),
            counters: self.serve.counters.clone(),
        }
    }

    fn backend(&self, address: &Address) -> Backend {
        self.backends.get(address).expect("the machine knows those it was told of").clone()
    }

    fn probe(&self, id: BackendId, backend: Backend) {
        let serve = self.serve.clone();
        self.serve.env.spawn(async move {
            let (verdict, said) = probe(&serve, &backend).await;
            serve.arrive(Arrival::Probed { backend: id, verdict, said }).await;
        });
    }

    fn connect(&mut self, connection: ConnectionId, id: BackendId, backend: Backend) {
        let stream = self.held.remove(&connection).expect("it was let in, and is not on its way");
        let cut = self.cuts.entry(id).or_default().clone();
        let serve = self.serve.clone();
        self.serve.env.spawn(Join { serve, connection, id, backend, stream, cut }.run());
    }

    fn announce(&mut self, id: BackendId, address: &Address, news: News) {
        let said = self.said.get(&id).map(String::as_str).unwrap_or_default();
        match news {
            News::Up | News::Leaving | News::Gone => info!(backend = %address, said, "{news}"),
            News::Down | News::Unready => warn!(backend = %address, said, "{news}"),
        }
        if news == News::Gone {
            self.cuts.remove(&id);
            self.said.remove(&id);
        }
    }
}

impl<E: Env> Shell<Front> for Surroundings<E> {
    type Arrival = Arrival<E::Stream>;

    fn admit(&mut self, front: &Front, arrival: Arrival<E::Stream>) -> Option<Input> {
        match arrival {
            Arrival::Told(input) => Some(input),
            Arrival::Set { backends } => {
                let addresses = backends.iter().map(|backend| backend.address.clone()).collect();
                let named = |backend: Backend| (backend.address.clone(), backend);
                self.backends.extend(backends.into_iter().map(named));
                Some(Input::BackendsSet { addresses })
            }
            Arrival::Accepted { connection, stream } => {
                self.held.insert(connection, stream);
                Some(Input::Accepted { connection })
            }
            Arrival::NotJoined { connection, stream, fault } => {
                self.held.insert(connection, stream);
                Some(Input::NotJoined { connection, fault })
            }
            Arrival::Probed { backend, verdict, said } => {
                count(match verdict {
                    Verdict::Healthy { .. } => &self.serve.counters.probes_healthy,
                    Verdict::Unready | Verdict::Failed => &self.serve.counters.probes_unhealthy,
                });
                self.said.insert(backend, said);
                Some(Input::Probed { backend, verdict })
            }
            Arrival::Asked { reply } => {
                // Who has gone away meanwhile does not want to know any more.
                let _ = reply.send(self.report(front));
                None
            }
        }
    }

    fn act(&mut self, front: &Front, _: Time, output: Output) -> Option<Input> {
        if self.phase != front.phase() {
            self.phase = front.phase();
            info!(connections = front.connections(), "{}", self.phase);
        }
        match output {
            Output::Accept => self.door.permit(),
            Output::Withdraw => self.door.withdraw(),
            Output::Shut => self.door.shut(),
            Output::Probe { backend, address } => self.probe(backend, self.backend(&address)),
            Output::Connect { connection, backend, address } => {
                self.connect(connection, backend, self.backend(&address));
            }
            Output::Refuse { connection, why } => {
                count(match why {
                    Why::NoBackend => &self.serve.counters.refused_held,
                    Why::Unreachable => &self.serve.counters.refused_tried,
                    Why::Stopping => &self.serve.counters.refused_stopping,
                });
                let stream = self.held.remove(&connection);
                let ends = stream.and_then(|stream| self.serve.env.ends(&stream));
                warn!(%connection, from = ?ends.map(|ends| ends.from), "refused: {why}");
            }
            Output::HangUp { backend } => {
                // Whoever comes to it later, if it is given back, is not meant.
                if let Some(cut) = self.cuts.remove(&backend) {
                    cut.cancel();
                }
            }
            Output::Announce { backend, address, news } => self.announce(backend, &address, news),
            Output::Exit => self.ended.cancel(),
        }
        None
    }
}
