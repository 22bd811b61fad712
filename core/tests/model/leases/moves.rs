//! What may happen next.

use super::world::{Ask, Fate, World};
use super::{Action, Bounds, Leaders, Verb};

impl World {
    /// Everything that may happen next.
    pub fn moves(&self, bounds: &Leaders, actions: &mut Vec<Action>) {
        for leader in [0, 1] {
            actions.extend(self.due(leader).then_some(Action::Timeout { leader }));
        }
        if self.now == bounds.end || self.broken.is_some() {
            return;
        }
        let in_time = self.now + bounds.patience <= bounds.end;
        let asks = self.asks.len() < bounds.asks && in_time;
        for holder in [0, 1].into_iter().filter(|_| asks) {
            let open = |ask: &Ask| ask.holder == holder && ask.answer.is_none();
            // The two are alike, so the first to ask is the first.
            if self.asks.iter().any(open) || holder > self.asks.len() {
                continue;
            }
            let asked = self.asks.iter().any(|ask| ask.holder == holder);
            let verbs = [Verb::Claim, Verb::Extend, Verb::Revoke];
            for verb in verbs.into_iter().filter(|verb| asked || *verb == Verb::Claim) {
                let leaders = [0, 1].into_iter().filter(|leader| self.believes[*leader]);
                actions.extend(leaders.map(|leader| Action::Ask { holder, verb, leader }));
            }
        }
        let Bounds { losses, cancels, advances, delays } = self.left;
        for (number, ask) in self.asks.iter().enumerate() {
            let cancel = ask.answer.is_none() && cancels > 0;
            actions.extend(cancel.then_some(Action::Cancel { ask: number }));
        }
        for leader in [0, 1].into_iter().filter(|_| advances > 0) {
            actions.extend(self.believes[leader].then_some(Action::Advance { leader }));
        }
        actions.extend(self.next_flight().map(|_| Action::Apply));
        for flight in self.flights.iter().filter(|flight| !flight.told) {
            let (leader, batch) = (flight.leader, flight.batch.0);
            let known = !matches!(flight.fate, Fate::Pending);
            actions.extend(known.then_some(Action::Report { leader, batch }));
            actions.extend((losses > 0).then_some(Action::Lose { leader, batch }));
        }
        actions.extend((self.leader == 0).then_some(Action::TakeOver));
        let deposed = self.leader == 1 && self.believes[0];
        actions.extend(deposed.then_some(Action::StepDown));
        actions.extend((!self.late() || delays > 0).then_some(Action::Tick));
    }
}
