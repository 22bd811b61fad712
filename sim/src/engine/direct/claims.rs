//! Clients of a workload: each asks for one lease after another, and takes some of it back.

use std::time::Duration;

use portcullis_core::agent::{Agent, Input};
use portcullis_core::controller::Request;
use portcullis_core::lease::Operation;
use portcullis_core::queue::Answer;
use portcullis_core::{Rng, Seed};

use super::clients::Client;
use super::link::Up;
use super::{Event, World, configuration};
use crate::action::Claims;

/// For how long a workload's client claims a lease: soon free for the next.
const DURATION: Duration = Duration::from_secs(5);

/// What is taken back is so within this part of its patience: while it still waits.
const SOON: u64 = 10;

/// What one client has yet to ask for.
pub struct Claimant {
    left: u32,
    patience: Duration,
    cancel_percent: u32,
    /// The client's own number of its claim.
    token: u64,
    rng: Rng,
}

impl World<'_> {
    /// Starts the clients of a workload, who contend with the agents for any of their leases.
    pub(super) fn start_claims(&mut self, claims: &Claims) {
        let root = Seed(self.plan.settings.seed);
        let known = match &self.places {
            Some(places) => places.at_first().to_vec(),
            None => configuration::addresses(self.plan),
        };
        for index in 0..claims.concurrency {
            let number = self.clients.len() as u32;
            let seed = root.child("client", u64::from(number));
            let extra = u32::from(index < claims.count % claims.concurrency);
            let claimant = Claimant {
                left: claims.count / claims.concurrency + extra,
                patience: claims.patience,
                cancel_percent: claims.cancel_percent,
                token: 0,
                rng: seed.child("claims", 0).rng(),
            };
            let machine = Agent::new(configuration::claimer(self.plan), known.clone(), seed);
            let client = Client::new(machine, Some(Box::new(claimant)));
            let number = self.arrive(client, Duration::ZERO);
            self.heap.push(self.now, Event::Claim(number));
        }
    }

    /// A client asks for its next claim, or leaves if it has made them all.
    pub(super) fn claim(&mut self, number: u32) {
        let Some(claimant) = &mut self.clients[number as usize].claimant else { return };
        if claimant.left == 0 {
            return self.tell_client(number, Input::Stopped);
        }
        claimant.left -= 1;
        claimant.token += 1;
        let leases = self.plan.settings.agents.leases;
        let application = claimant.rng.below(u64::from(leases.max(1))) as u32;
        let key = configuration::leadership(application);
        let holder = format!("{}/{number}", key.lease()).into();
        let operation = Operation::Claim { key, holder, duration: DURATION };
        let request = Request::Apply(operation);
        let (token, patience) = (claimant.token, claimant.patience);
        self.tell_client(number, Input::Asked { token, request, patience });
    }

    /// A request of a client is on its way: perhaps it will be taken back.
    pub(super) fn sent(&mut self, number: u32, serial: u64, patience: Duration) {
        let Some(claimant) = &mut self.clients[number as usize].claimant else { return };
        if claimant.rng.below(100) >= u64::from(claimant.cancel_percent) {
            return;
        }
        let whole = u64::try_from(patience.as_micros()).unwrap_or(u64::MAX);
        let after = Duration::from_micros(claimant.rng.below(whole / SOON + 1));
        self.heap.push(self.now + after, Event::TakeBack(number, serial));
    }

    /// A client takes a request back; harmless if it was answered.
    pub(super) fn take_back(&mut self, number: u32, serial: u64) {
        self.send_up(number, Up::TakeBack { serial });
    }

    /// A claim of a client has its answer: the next follows, in time.
    pub(super) fn claimed(&mut self, number: u32, answer: &Answer) {
        let wait = match answer {
            Answer::Overloaded { retry_after } => *retry_after,
            Answer::Done { .. }
            | Answer::Refused { .. }
            | Answer::Released
            | Answer::NotLeader { .. }
            | Answer::Expired
            | Answer::Cancelled
            | Answer::Unknown => Duration::ZERO,
        };
        self.heap.push(self.now + wait, Event::Claim(number));
    }
}
