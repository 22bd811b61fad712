//! Who is let in, and who is sent elsewhere.

use alloc::vec::Vec;

use super::{Controller, Output};
use crate::Machine;
use crate::admission;
use crate::balancer::{self, Load};
use crate::ids::{ConnectionId, Door, NodeId};
use crate::listener;
use crate::readiness;
use crate::sessions::{self, Party, Why};
use crate::time::Time;

impl Controller {
    /// Whoever proved who it is wants to be let in. Agents may be sent elsewhere instead: then they
    /// count as not logged in, and are cut like everybody who never does.
    pub(super) fn logged_in(
        &mut self,
        now: Time,
        connection: ConnectionId,
        party: Party,
        out: &mut Vec<Output>,
    ) {
        let Some((_, None)) = self.sessions.get(connection) else { return };
        match party {
            Party::Agent | Party::User if self.drain.is_some() => {
                self.turn_away(connection, party, out);
            }
            Party::Agent => self.weigh(now, balancer::Input::LoggedIn { connection }, out),
            Party::User | Party::Controller(_) => {
                self.welcome(now, connection, party, None, out);
            }
        }
        if party == Party::Controller(self.node) {
            self.self_connected = Some(connection);
            self.prepare(now, readiness::Input::Reached { itself: true }, out);
        }
    }

    fn welcome(
        &mut self,
        now: Time,
        connection: ConnectionId,
        party: Party,
        first: Option<NodeId>,
        out: &mut Vec<Output>,
    ) {
        let input = sessions::Input::LoggedIn { connection, party };
        self.sessions.handle(now, input, &mut Vec::new());
        out.push(Output::Welcome { connection, first });
        if let Some((Door::Api, _)) = self.sessions.get(connection) {
            self.measure(now, admission::Input::LoggedIn { connection }, out);
            self.listen(now, listener::Input::LoggedIn, out);
        }
    }

    pub(super) fn measure(&mut self, now: Time, input: admission::Input, out: &mut Vec<Output>) {
        let mut orders = Vec::new();
        self.admission.handle(now, input, &mut orders);
        self.measured(now, orders, out);
    }

    pub(super) fn measured(
        &mut self,
        now: Time,
        orders: Vec<admission::Output>,
        out: &mut Vec<Output>,
    ) {
        for order in orders {
            match order {
                admission::Output::Allow { logins } => {
                    self.listen(now, listener::Input::Allowed { logins }, out);
                }
            }
        }
    }

    pub(super) fn weigh(&mut self, now: Time, input: balancer::Input, out: &mut Vec<Output>) {
        let mut orders = Vec::new();
        self.balancer.handle(now, input, &mut orders);
        self.weighed(now, orders, out);
    }

    pub(super) fn weighed(
        &mut self,
        now: Time,
        orders: Vec<balancer::Output>,
        out: &mut Vec<Output>,
    ) {
        for order in orders {
            match order {
                balancer::Output::Welcome { connection, first } => {
                    self.welcome(now, connection, Party::Agent, first, out);
                }
                balancer::Output::Refuse { connection } => out.push(Output::Refuse { connection }),
                balancer::Output::Redirect { connection, to } => {
                    out.push(Output::Redirect { connection, to });
                }
                balancer::Output::Shed { connection } => {
                    out.push(Output::Hangup { connection, why: Why::Surplus });
                }
                balancer::Output::Tell { agents } => {
                    let load = Load { agents, room: self.listener.room_left() as u64 };
                    out.push(Output::Tell { load });
                }
            }
        }
    }
}
