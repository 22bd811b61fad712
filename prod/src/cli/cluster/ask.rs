//! A way to whichever controller answers, for questions that may be asked again.

use std::time::Duration;

use portcullis::api::MembersReport;
use portcullis::client::Client;
use portcullis::client::wire::{self, Line};
use portcullis::env::Env;
use portcullis::rpc::{Error, code};
use portcullis_core::Rng;
use portcullis_core::backoff::{self, Backoff};
use serde_json::{Value, json};

use super::super::client::Asking;
use super::super::exit::{Exit, Failure};

/// Waits between two tries.
const AGAIN: backoff::Config = backoff::Config {
    first: Duration::from_millis(100),
    most: Duration::from_secs(1),
    growth: 200,
};

/// The facade `Cluster`, at whichever controller answers.
pub struct Desk {
    pub asking: Asking,
    open: Option<(Client, Line)>,
    rng: Rng,
}

impl Desk {
    pub fn new(asking: Asking) -> Desk {
        let rng = asking.env.seed().child("cluster", 0).rng();
        Desk { asking, open: None, rng }
    }

    /// From now on there is so much time.
    pub fn allow(&mut self, time: Duration) {
        self.asking.deadline = self.asking.env.now() + time;
    }

    /// Asks until there is an answer that asking again would not change, or no time for it. Whatever
    /// is asked here may be asked twice.
    pub async fn call(&mut self, method: &str, params: Value) -> Result<Value, Failure> {
        let mut backoff = Backoff::new(AGAIN);
        loop {
            let line = match &self.open {
                Some((_, line)) => line.clone(),
                None => {
                    let (client, line) = self.asking.connect().await?;
                    self.open.insert((client, line)).1.clone()
                }
            };
            let until = self.asking.deadline;
            let answered = line.call("Cluster", 1, method, params.clone(), Some(until)).await;
            let failure = match answered {
                Ok(answer) => return Ok(answer),
                Err(wire::Failure::Answered(error)) => match told(&error) {
                    (exit, false) => return Err(Failure::new(exit, error.message)),
                    (exit, true) => Failure::new(exit, error.message),
                },
                Err(wire::Failure::NotSent) => {
                    Failure::new(Exit::Unreachable, "the controller gave no answer in time")
                }
                Err(wire::Failure::Unknown) => {
                    let says = "no answer: nobody can say whether it was done; ask again";
                    Failure::new(Exit::Unknown, says)
                }
            };
            // Another controller may know better.
            self.open = None;
            let at = self.asking.env.now() + backoff.wait(Duration::ZERO, &mut self.rng);
            if at >= until {
                return Err(failure);
            }
            self.asking.env.sleep_until(at).await;
        }
    }

    /// How the cluster stands.
    pub async fn members(&mut self) -> Result<MembersReport, Failure> {
        let told = self.call("Members", json!({})).await?;
        serde_json::from_value(told).map_err(|error| {
            let says = format!("the controller's answer makes no sense: {error}");
            Failure::new(Exit::Unreachable, says)
        })
    }
}

/// How a command ends by this error, and whether asking again may change it.
fn told(error: &Error) -> (Exit, bool) {
    match error.code.as_str() {
        code::NOT_LEADER | code::TRY_AGAIN => (Exit::Unreachable, true),
        code::DEADLINE => (Exit::Unknown, true),
        code::NOT_IMPLEMENTED => (Exit::Refused, true),
        _ => (Exit::Refused, false),
    }
}
