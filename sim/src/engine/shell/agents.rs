//! The agents' host: who arrives when, and what becomes of all of them.

use std::sync::Arc;

use portcullis::client::Client;
use portcullis::tls::{self, agent_client};
use portcullis_core::Time;
use rustls::ClientConfig;

use super::{Cue, Host, Play, claims, locked};
use crate::engine::configuration;

impl Play {
    /// Runs all agents on their host. Fails only if their trust cannot be set up, which is a bug.
    pub async fn act(self: Arc<Play>, host: impl Host) -> Result<(), tls::Error> {
        let mut cued = locked(&self.cued).take().expect("the agents' host starts once");
        let tls = agent_client(std::slice::from_ref(self.authority.certificate()))?;
        let seed = host.seed();
        let mut arriving = self.arrivals(&host).into_iter().peekable();
        let mut clients: Vec<(u32, Client)> = Vec::new();
        let mut claimers = self.plan.settings.agents.count;
        loop {
            let next = arriving.peek().map(|(at, _)| *at);
            let arrives = host.sleep_until(next.unwrap_or(Time(u64::MAX / 2)));
            let cue = tokio::select! {
                biased;
                () = arrives, if next.is_some() => None,
                cue = cued.recv() => Some(cue),
            };
            match cue {
                None => {
                    let Some((_, number)) = arriving.next() else { continue };
                    let seed = seed.child("agent", number.into());
                    clients.push((number, self.agent(&host, number, seed, &tls)));
                }
                Some(Some(Cue::Restart)) => {
                    for (number, client) in &mut clients {
                        let seed = seed.child("agent", u64::from(*number));
                        let seed = seed.child("life", host.now().0);
                        *client = self.agent(&host, *number, seed, &tls);
                    }
                }
                Some(Some(Cue::Herd)) => {
                    for (_, client) in &clients {
                        client.cut().await;
                    }
                }
                Some(Some(Cue::Claim(workload))) => {
                    let config = self.claimer(&tls);
                    claimers = claims::start(&host, &self.plan, &workload, &config, claimers);
                }
                Some(None) => std::future::pending().await,
            }
        }
    }

    fn arrivals(&self, host: &impl Host) -> Vec<(Time, u32)> {
        let mut rng = host.seed().child("arrivals", 0).rng();
        let agents = &self.plan.settings.agents;
        let span = u64::try_from(agents.arrive.as_micros()).unwrap_or(u64::MAX - 1);
        let mut arriving: Vec<(Time, u32)> =
            (0..agents.count).map(|number| (Time(rng.below(span + 1)), number)).collect();
        self.drew(&rng);
        arriving.sort_unstable();
        arriving
    }

    /// What a workload's clients are.
    fn claimer(&self, tls: &Arc<ClientConfig>) -> portcullis::client::Config {
        self.client(
            configuration::claimer(&self.plan),
            configuration::addresses(&self.plan),
            "user-claimer".into(),
            tls,
        )
    }
}
