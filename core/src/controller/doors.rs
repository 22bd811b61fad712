//! Who comes and goes through the doors, and when this controller is ready for agents.

use alloc::vec::Vec;

use super::{Controller, Output, all_of};
use crate::Machine;
use crate::ids::{ConnectionId, Door, NodeId};
use crate::sessions::{self, Why};
use crate::time::Time;
use crate::{admission, balancer, bind, listener, readiness};

impl Controller {
    /// Somebody was let in; whoever slips in while this controller stops is hung up.
    pub(super) fn connected(
        &mut self,
        now: Time,
        connection: ConnectionId,
        door: Door,
        out: &mut Vec<Output>,
    ) {
        let input = sessions::Input::Connected { connection, door };
        self.sessions.handle(now, input, &mut Vec::new());
        self.logs_in(now, connection, door, out);
        self.listen(now, listener::Input::Connected { door }, out);
        if self.drain.is_some() && door == Door::Api {
            out.push(Output::Hangup { connection, why: Why::Stopping });
        }
    }

    /// From here on it is measured how long the login takes of whoever comes in by the API door.
    fn logs_in(&mut self, now: Time, connection: ConnectionId, door: Door, out: &mut Vec<Output>) {
        if door == Door::Api {
            self.measure(now, admission::Input::Connected { connection }, out);
        }
    }

    pub(super) fn disconnected(
        &mut self,
        now: Time,
        connection: ConnectionId,
        out: &mut Vec<Output>,
    ) {
        let Some((door, party)) = self.sessions.get(connection) else {
            self.listen(now, listener::Input::Left { connection }, out);
            return;
        };
        self.sessions.handle(now, sessions::Input::Disconnected { connection }, &mut Vec::new());
        self.weigh(now, balancer::Input::Disconnected { connection }, out);
        for ask in self.unanswered(all_of(connection)) {
            self.cancel(now, ask, out);
        }
        if self.self_connected == Some(connection) {
            self.self_connected = None;
            self.prepare(now, readiness::Input::Reached { itself: false }, out);
        }
        if let Some(drain) = &mut self.drain {
            drain.gone(connection);
        }
        let logged_in = party.is_some();
        if door == Door::Api {
            self.measure(now, admission::Input::Disconnected { connection }, out);
        }
        self.listen(now, listener::Input::Disconnected { door, logged_in }, out);
    }

    pub(super) fn linked(&mut self, now: Time, to: NodeId, up: bool, out: &mut Vec<Output>) {
        self.prepare(now, readiness::Input::Linked { to, up }, out);
        if let Some(drain) = &mut self.drain
            && !up
        {
            drain.unreachable(to);
        }
    }

    /// Tells what this controller is ready by, and the listener whether it is.
    pub(super) fn prepare(&mut self, now: Time, input: readiness::Input, out: &mut Vec<Output>) {
        let before = self.readiness.ready();
        let mut orders = Vec::new();
        self.readiness.handle(now, input, &mut orders);
        out.extend(orders.into_iter().map(Output::from));
        let input = match (before, self.readiness.ready()) {
            (false, true) => listener::Input::Stable,
            (true, false) => listener::Input::Unstable,
            (false, false) | (true, true) => return,
        };
        self.listen(now, input, out);
    }

    /// The file that says where the controller door is to be bound was looked at.
    pub(super) fn offered(&mut self, now: Time, offer: bind::Input, out: &mut Vec<Output>) {
        let mut orders = Vec::new();
        if let Some(bind) = &mut self.bind {
            bind.handle(now, offer, &mut orders);
        }
        self.addressed(now, orders, out);
    }

    /// Passes on where the controller door is to be, before it is ordered open there.
    pub(super) fn addressed(
        &mut self,
        now: Time,
        orders: Vec<bind::Output>,
        out: &mut Vec<Output>,
    ) {
        for order in orders {
            match order {
                bind::Output::Bind { host } => {
                    out.push(Output::Bind { host });
                    self.prepare(now, readiness::Input::Addressed, out);
                    self.listen(now, listener::Input::Addressed, out);
                }
                bind::Output::Complain { lack } => out.push(Output::Complain { lack }),
            }
        }
    }

    pub(super) fn listen(&mut self, now: Time, input: listener::Input, out: &mut Vec<Output>) {
        let mut orders = Vec::new();
        self.listener.handle(now, input, &mut orders);
        self.listened(now, orders, out);
    }

    pub(super) fn listened(
        &mut self,
        now: Time,
        orders: Vec<listener::Output>,
        out: &mut Vec<Output>,
    ) {
        for order in orders {
            // Only whoever is let in has a session: it has as long to log in as everybody else.
            if let listener::Output::Admit { connection, kind } = order {
                let door = kind.counts_at();
                let input = sessions::Input::Connected { connection, door };
                self.sessions.handle(now, input, &mut Vec::new());
                self.logs_in(now, connection, door, out);
            }
            out.push(Output::from(order));
        }
    }
}
