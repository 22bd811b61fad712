//! The workload of claims: clients that ask, and take back what they asked by hanging up.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use portcullis::client::{self, Client};
use portcullis_core::Rng;
use portcullis_core::controller::Request;
use portcullis_core::lease::{Done, Key, Operation};
use portcullis_core::queue::Answer;

use super::Host;
use crate::engine::configuration;
use crate::history::Who;
use crate::plan::{Claims, Plan};

/// How long a client keeps its pins once it has made its last claim: long enough for snapshots to
/// have them and for leases to outlive their time.
const PINNED_FOR: Duration = Duration::from_secs(30);
/// From one try to take a pin away to the next.
const AGAIN: Duration = Duration::from_secs(1);

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
    /// Claims one lease after the other, as long as there are claims left, and takes its pins away
    /// in the end.
    async fn run(mut self, host: impl Host, client: Client) {
        let holder: Arc<str> = format!("client/{}", self.number).into();
        let mut pinned = BTreeSet::new();
        let take = |left: u32| left.checked_sub(1);
        while self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            let application = self.rng.below(self.leases.into());
            let key = configuration::leadership(u32::try_from(application).unwrap_or(0));
            let duration = Duration::from_secs(5);
            let patience = self.claims.patience;
            let claim = Operation::Claim { key: key.clone(), holder: holder.clone(), duration };
            let ask = client.ask(Request::Apply(claim), patience);
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
            } else if let Answer::Done { done: Done::Granted { .. }, .. } = ask.await
                && self.pins()
            {
                let pin = Operation::Pin { key: key.clone(), entity: holder.clone() };
                // A pin that may have been made is taken away as well.
                client.ask(Request::Apply(pin), patience).await;
                pinned.insert(key);
            }
        }
        if !pinned.is_empty() {
            host.sleep_until(host.now() + PINNED_FOR).await;
        }
        for key in pinned {
            self.unpin(&host, &client, key, &holder).await;
        }
    }

    fn pins(&mut self) -> bool {
        let percent = self.claims.pin_percent.into();
        percent > 0 && self.rng.below(100) < percent
    }

    /// Takes a pin away, however long that takes.
    async fn unpin(&self, host: &impl Host, client: &Client, key: Key, entity: &Arc<str>) {
        let unpin = Operation::Unpin { key, entity: entity.clone() };
        loop {
            let answer = client.ask(Request::Apply(unpin.clone()), self.claims.patience).await;
            if let Answer::Done { .. } = answer {
                return;
            }
            host.sleep_until(host.now() + AGAIN).await;
        }
    }
}
