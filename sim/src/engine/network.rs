//! The network: how long a message takes, and which are lost or held back.

use std::time::Duration;

use portcullis_core::{Seed, Time};

use crate::plan::Plan;
use crate::stage::Place;

/// One direction between two places.
#[derive(Clone, Debug, Default)]
struct Route {
    cut: bool,
    held: bool,
    slow: Duration,
}

/// What becomes of a message that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It arrives then, if nothing that was sent before it is slower.
    Arrives(Time),
    /// It waits until the route is released.
    Held,
    Lost,
}

/// See the module.
#[derive(Debug)]
pub struct Network {
    /// Controllers in order, then all agents.
    routes: Vec<Route>,
    places: usize,
    least: Duration,
    /// How many microseconds a message may take beyond the least, plus one.
    span: u64,
    seed: Seed,
    messages: u64,
}

impl Network {
    /// A network in which nothing is wrong.
    pub fn new(plan: &Plan) -> Network {
        let network = &plan.settings.network;
        let places = plan.controllers().count() + 1;
        let span = network.latency_most.saturating_sub(network.latency_least);
        Network {
            routes: vec![Route::default(); places * places],
            places,
            least: network.latency_least,
            span: u64::try_from(span.as_micros()).unwrap_or(u64::MAX - 1) + 1,
            seed: Seed(plan.settings.seed).child("network", 0),
            messages: 0,
        }
    }

    /// What becomes of a message that is sent at `now`.
    ///
    /// Each draws its latency by its number: a generator's buffer would save nothing.
    pub fn pass(&mut self, now: Time, from: Place, to: Place) -> Passage {
        let route = self.route(from, to);
        let (cut, held, slow) = (route.cut, route.held, route.slow);
        if cut {
            Passage::Lost
        } else if held {
            Passage::Held
        } else {
            self.messages += 1;
            let drawn = self.seed.child("message", self.messages).0 % self.span;
            Passage::Arrives(now + self.least + Duration::from_micros(drawn) + slow)
        }
    }

    /// How many latencies were drawn.
    pub fn drawn(&self) -> u64 {
        self.messages
    }

    /// Whether what `from` sends to `to` is lost.
    pub fn is_cut(&mut self, from: Place, to: Place) -> bool {
        self.route(from, to).cut
    }

    /// Loses what `from` sends to `to`, or loses it no more.
    pub fn cut(&mut self, from: Place, to: Place, cut: bool) {
        self.route(from, to).cut = cut;
    }

    /// Holds what `from` sends to `to`, or lets it pass.
    pub fn hold(&mut self, from: Place, to: Place, held: bool) {
        self.route(from, to).held = held;
    }

    /// Lets what `from` sends to `to` take this much longer.
    pub fn slow(&mut self, from: Place, to: Place, by: Duration) {
        self.route(from, to).slow = by;
    }

    fn route(&mut self, from: Place, to: Place) -> &mut Route {
        let place = |place| match place {
            Place::Controller(node) => node.0 as usize - 1,
            Place::Agents => self.places - 1,
        };
        let route = place(from) * self.places + place(to);
        &mut self.routes[route]
    }
}
