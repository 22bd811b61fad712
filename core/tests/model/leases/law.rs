//! The lease as a plain rule has it.

use std::time::Duration;

use portcullis_core::GlobalTime;
use portcullis_core::lease::{APPLICATION_LEADERSHIP, Done, Entry, Key, Outcome, Refusal};

use super::Verb;

/// Who holds it until when, and by which fence.
#[derive(Clone, Debug, Default)]
pub struct Law {
    now: GlobalTime,
    pub fence: u64,
    held: Option<(usize, GlobalTime, u64)>,
}

pub fn key() -> Key {
    Key::new(APPLICATION_LEADERSHIP, "m", "app")
}

pub fn name(holder: usize) -> &'static str {
    ["app/0", "app/1"][holder]
}

impl Law {
    pub fn apply(
        &mut self,
        entry: &Entry,
        asks: &[(usize, Verb)],
        lasts: Duration,
    ) -> Vec<Outcome> {
        self.now = self.now.max(entry.now);
        self.held = self.held.filter(|(_, expiry, _)| self.now < *expiry);
        let commands = entry.commands.iter().zip(asks);
        let outcomes = commands.map(|(command, (holder, verb))| {
            if command.void_after < self.now {
                return Err(Refusal::Void);
            }
            self.perform(*holder, *verb, lasts)
        });
        outcomes.collect()
    }

    fn perform(&mut self, holder: usize, verb: Verb, lasts: Duration) -> Outcome {
        let until = self.now + lasts;
        match (verb, self.held) {
            (Verb::Claim | Verb::Extend, Some((present, expiry, fence))) if present == holder => {
                let expiry = expiry.max(until);
                self.held = Some((holder, expiry, fence));
                Ok(Done::Granted { fence, expiry })
            }
            (Verb::Claim, Some((present, expiry, _))) => {
                Err(Refusal::Held { holder: name(present).into(), expiry })
            }
            (Verb::Claim, None) => {
                self.fence += 1;
                self.held = Some((holder, until, self.fence));
                Ok(Done::Granted { fence: self.fence, expiry: until })
            }
            (Verb::Revoke, Some((present, _, _))) if present == holder => {
                self.held = None;
                Ok(Done::Revoked)
            }
            (Verb::Extend | Verb::Revoke, _) => Err(Refusal::NotHeld),
        }
    }
}
