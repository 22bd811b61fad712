//! What may happen next.

use portcullis_core::Door;
use portcullis_core::listener::Kind;

use super::world::State;
use super::{Action, Bounds, Doors};

impl State {
    /// Everything that may happen next.
    pub fn moves(&self, doors: &Doors, actions: &mut Vec<Action>) {
        if self.broken.is_some() {
            return;
        }
        let binding = |door: &Door| self.ports[*door as usize].binding;
        for door in [Door::Controller, Door::Api].into_iter().filter(binding) {
            actions.push(Action::Bind { door, done: true });
            let fails = self.left.failures > 0;
            actions.extend(fails.then_some(Action::Bind { door, done: false }));
        }
        actions.extend(self.due().then_some(Action::Timeout));
        if self.now < doors.end {
            self.go_on(doors, actions);
        }
    }

    /// What the world may do while time goes on.
    fn go_on(&self, doors: &Doors, actions: &mut Vec<Action>) {
        let Bounds { flips, visits, switches, failures: _, delays, stops } = self.left;
        let may = |allowed: bool, action| allowed.then_some(action);
        actions.extend(may(flips > 0, Action::Ready(self.law.ready.is_none())));
        actions.extend(may(switches > 0, Action::Switch));
        actions.extend(may(stops > 0, Action::Stop));
        for door in [Door::Controller, Door::Api] {
            let holds = door == Door::Api && doors.controllers_first;
            let action = if holds { Action::Knock } else { Action::Come { door } };
            actions.extend(may(self.ports[door as usize].permit && visits > 0, action));
        }
        for (&visit, stands) in &self.standing {
            actions.push(Action::Leave { visit });
            if stands.controller.is_none() {
                let kinds = [Kind::Controller, Kind::Other];
                actions.extend(kinds.map(|kind| Action::Arrive { visit, kind }));
            }
        }
        let go = |door, logged_in| Action::Go { door, logged_in };
        actions.extend(may(self.logging_in > 0, Action::LogIn));
        actions.extend(may(self.logging_in > 0, go(Door::Api, false)));
        actions.extend(may(self.logged_in > 0, go(Door::Api, true)));
        actions.extend(may(self.controllers > 0, go(Door::Controller, false)));
        let owed = self.ports.iter().any(|port| port.binding) || self.due() && delays == 0;
        actions.extend(may(!owed, Action::Tick));
    }
}
