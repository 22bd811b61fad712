//! The workload of claims: clients that ask, and take back what they asked by hanging up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use portcullis::client::{self, Client};
use portcullis_core::Rng;
use portcullis_core::controller::Request;
use portcullis_core::lease::Operation;

use super::Host;
use crate::engine::configuration;
use crate::history::Who;
use crate::plan::{Claims, Plan};

/// Starts the clients of a workload, numbered from `first`. Says which number is free next.
pub fn start<H: Host>(
    host: &H,
    plan: &Plan,
    claims: &Claims,
    config: &client::Config,
    first: u32,
) -> u32 {
    let left = Arc::new(AtomicU32::new(claims.count));
    for number in first..first + claims.concurrency {
        let seed = host.seed().child("claimer", number.into());
        let host = host.beside(Who::Agent(number), seed);
        let client = Client::start(&host, config.clone());
        let work = Work {
            leases: plan.settings.agents.leases,
            claims: claims.clone(),
            left: left.clone(),
            rng: seed.child("claims", 0).rng(),
            number,
        };
        host.clone().spawn(work.run(host, client));
    }
    first + claims.concurrency
}

struct Work {
    leases: u32,
    claims: Claims,
    /// Claims that no client has taken on yet.
    left: Arc<AtomicU32>,
    rng: Rng,
    number: u32,
}

impl Work {
    /// Claims one lease after the other, as long as there are claims left.
    async fn run(mut self, host: impl Host, client: Client) {
        let take = |left: u32| left.checked_sub(1);
        while self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            let application = self.rng.below(self.leases.into());
            let key = configuration::leadership(u32::try_from(application).unwrap_or(0));
            let holder = format!("client/{}", self.number).into();
            let duration = Duration::from_secs(5);
            let patience = self.claims.patience;
            let ask =
                client.ask(Request::Apply(Operation::Claim { key, holder, duration }), patience);
            if self.rng.below(100) < self.claims.cancel_percent.into() {
                let whole = u64::try_from(patience.as_micros()).unwrap_or(u64::MAX);
                let soon = Duration::from_micros(self.rng.below(whole / 10 + 1));
                let taken_back = tokio::select! {
                    biased;
                    _ = ask => false,
                    () = host.sleep_until(host.now() + soon) => true,
                };
                if taken_back {
                    client.cut().await;
                }
            } else {
                ask.await;
            }
        }
    }
}
