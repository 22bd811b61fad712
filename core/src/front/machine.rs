//! How the front takes what happened, and what it waits for.

use alloc::vec::Vec;

use super::backend::Backend;
use super::{Fault, Front, Held, Input, Output, Permit, Phase, Tried, Verdict, announce};
use crate::Machine;
use crate::time::{Time, Timeout};

impl Machine for Front {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        if self.phase == Phase::Stopped {
            // A probe that was under way may still be reported.
            return;
        }
        match input {
            Input::BackendsSet { addresses } => self.set(now, addresses, out),
            Input::Probed { backend, verdict } => {
                // One that is gone by then is of no interest.
                if let Some(probed) = self.backends.get_mut(&backend) {
                    let change = probed.probed(now, verdict, &self.config);
                    announce(backend, probed, change, out);
                    if matches!(verdict, Verdict::Healthy { .. }) {
                        self.forgive(backend);
                    }
                }
            }
            Input::Accepted { connection } => {
                self.permit = Permit::None;
                self.connections += 1;
                let held = Held { tried: Tried::default(), until: now + self.config.hold };
                assert!(self.held.insert(connection, held).is_none(), "a name is never used twice");
            }
            Input::Withdrawn => self.permit = Permit::None,
            Input::Joined { connection } => {
                let joined = self.joining.remove(&connection).expect("it was to be connected");
                self.backend(joined.backend).reached();
            }
            Input::NotJoined { connection, fault } => {
                let joining = self.joining.remove(&connection).expect("it was to be connected");
                let id = joining.backend;
                let backend = self.backends.get_mut(&id).expect("it has this connection");
                backend.ended();
                let change = match fault {
                    Fault::Backend => backend.missed(now, &self.config),
                    Fault::Here => None,
                };
                announce(id, backend, change, out);
                let refused = self.again(now, connection, joining);
                out.extend(refused.map(|why| Output::Refuse { connection, why }));
            }
            Input::Ended { backend } => {
                self.backend(backend).ended();
                self.connections -= 1;
            }
            Input::Stopping => match self.phase {
                Phase::Serving => {
                    self.phase = Phase::Stopping { until: Some(now + self.config.drain) };
                    if self.permit == Permit::Out {
                        self.permit = Permit::Withdrawing;
                    }
                    out.push(Output::Shut);
                }
                Phase::Stopping { until: Some(_) } => self.hang_up(out),
                Phase::Stopping { until: None } | Phase::Stopped => {}
            },
        }
        self.settle(now, out);
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        let stopping = match self.phase {
            Phase::Stopped => return None,
            Phase::Stopping { until } => until.map(|at| Timeout { at, why: "end of the drain" }),
            Phase::Serving => None,
        };
        let room = self.room_at().map(|at| Timeout { at, why: "next permit" });
        let backends = self.backends.values().filter_map(Backend::poll_timeout);
        let held = self.held.values().map(|held| {
            let open = self.backends.iter().filter(|(id, _)| !held.tried.at.contains(id));
            let open = open.filter_map(|(_, backend)| backend.open_at(&self.config)).min();
            let turn = open.map(|at| Timeout { at, why: "a held connection's turn" });
            let until = Timeout { at: held.until, why: "a held connection's patience" };
            Timeout::earlier(turn, Some(until)).unwrap_or(until)
        });
        let dues = backends.chain(held).map(Some);
        dues.fold(Timeout::earlier(stopping, room), Timeout::earlier)
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.phase == Phase::Stopped {
            return;
        }
        for (id, backend) in &mut self.backends {
            if backend.is_due_for_probe(now) {
                out.push(Output::Probe { backend: *id, address: backend.address.clone() });
            }
        }
        self.settle(now, out);
    }
}
