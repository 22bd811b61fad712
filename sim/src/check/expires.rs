//! A lease ends at its expiry by global time: until then nobody is rid of it but by giving it up, and
//! from then on it is denied to nobody.
//!
//! It does not ask the table. From the outcomes of the log alone it keeps until when each lease was
//! promised. Leases that were pinned once are left out.

use std::collections::BTreeSet;

use portcullis_core::lease::{Applied, Done, Entry, Key, Operation, Outcome, Refusal};
use portcullis_core::{GlobalTime, Time};

use super::{Check, Sentence};
use crate::dues::Dues;
use crate::facts::Facts;
use crate::history::{Event, Kind, Kinds, Who};
use crate::lookup::Lookup;
use crate::plan::Plan;

/// See the module.
#[derive(Default)]
struct Expires {
    /// The highest log index seen; what a second replica applies is no news.
    index: u64,
    now: GlobalTime,
    promises: Lookup<Key, GlobalTime>,
    /// The same by time.
    dues: Dues<Key>,
    pinned: BTreeSet<Key>,
}

pub(super) fn make(_: &Plan) -> Option<Box<dyn Check>> {
    Some(Box::new(Expires::default()))
}

impl Check for Expires {
    fn name(&self) -> &'static str {
        "expires"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "002",
            text: "hold the leader status (akin to a distributed lock that expires) via an \
                   election process.",
        }
    }

    fn hears(&self) -> Kinds {
        Kinds::of(&[Kind::Applied])
    }

    fn always(&mut self, _: Time, _: Who, event: &Event<'_>, _: &Facts) -> Result<(), String> {
        match event {
            Event::Applied { index, entry, applied } if *index > self.index => {
                self.index = *index;
                self.applied(*index, entry, applied)
            }
            Event::Told(_)
            | Event::Ordered(_)
            | Event::AgentTold(_)
            | Event::AgentOrdered(_)
            | Event::Did(_)
            | Event::Applied { .. }
            | Event::Memory(_)
            | Event::Front(_)
            | Event::BacklogFull
            | Event::Cluster(_)
            | Event::Singular(_)
            | Event::Killed(_)
            | Event::Error(_) => Ok(()),
        }
    }
}

impl Expires {
    fn applied(&mut self, index: u64, entry: &Entry, applied: &Applied) -> Result<(), String> {
        self.now = self.now.max(entry.now);
        let now = self.now;
        let released: BTreeSet<&Key> = applied.released.iter().collect();
        let Expires { promises, dues, .. } = self;
        while let Some((expiry, key)) =
            dues.overdue(now.0 + 1, |expiry, key| promises.get(key) == Some(&GlobalTime(expiry)))
        {
            if !released.contains(key) {
                let expiry = GlobalTime(*expiry);
                return Err(format!("entry {index} at {now} keeps {key}, over at {expiry}"));
            }
            promises.remove(key);
            dues.settle();
        }
        let outcomes = || entry.commands.iter().zip(&applied.outcomes);
        let given_up = outcomes().filter_map(|(command, outcome)| match &command.operation {
            Operation::Revoke { key, .. } if outcome.is_ok() => Some(key),
            Operation::Revoke { .. } | Operation::Claim { .. } | Operation::Extend { .. } => None,
            Operation::Pin { .. } | Operation::Unpin { .. } => None,
        });
        let given_up: BTreeSet<&Key> = given_up.collect();
        for key in released {
            if let Some(expiry) = self.promises.get(key).filter(|_| !given_up.contains(key)) {
                return Err(format!("entry {index} at {now} ends {key}, promised to {expiry}"));
            }
        }
        outcomes().try_for_each(|(command, outcome)| self.done(&command.operation, outcome))
    }

    fn done(&mut self, operation: &Operation, outcome: &Outcome) -> Result<(), String> {
        let (key, now) = (operation.key(), self.now);
        match outcome {
            Ok(Done::Granted { expiry, .. }) => {
                if !self.pinned.contains(key) {
                    *self.promises.at(key) = *expiry;
                    self.dues.add(expiry.0, key.clone());
                }
            }
            Ok(Done::Revoked) => {
                self.promises.remove(key);
            }
            Ok(Done::Pinned | Done::Unpinned) => {
                self.promises.remove(key);
                self.pinned.insert(key.clone());
            }
            Err(Refusal::Held { holder, expiry })
                if *expiry <= now && !self.pinned.contains(key) =>
            {
                return Err(format!("{key} is denied at {now} for {holder}, over at {expiry}"));
            }
            Err(Refusal::Held { .. } | Refusal::NotHeld | Refusal::Void | Refusal::Full) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portcullis_core::lease::Command;

    use super::*;
    use crate::check::tests::{ONE, Story};

    fn second(second: u64) -> GlobalTime {
        GlobalTime(second * 1_000_000)
    }

    /// The only lease is granted at once, for a minute.
    fn story() -> Story {
        let mut story = Story::new(make, "");
        let granted = Ok(Done::Granted { fence: 1, expiry: second(60) });
        assert!(claims(&mut story, 1, 0, granted, false).is_ok());
        story
    }

    fn claims(
        story: &mut Story,
        index: u64,
        now: u64,
        outcome: Outcome,
        released: bool,
    ) -> Result<(), String> {
        let (key, duration) = (Key::default(), Duration::from_secs(60));
        let operation = Operation::Claim { key: key.clone(), holder: "a".into(), duration };
        let command = Command { operation, void_after: second(now) };
        let entry = Entry { now: second(now), commands: [command].into() };
        let released = released.then_some(key).into_iter().collect();
        let applied = Applied { outcomes: vec![outcome], released };
        story.event(0, ONE, Event::Applied { index, entry: &entry, applied: &applied })
    }

    fn held() -> Outcome {
        Err(Refusal::Held { holder: "b".into(), expiry: second(60) })
    }

    #[test]
    fn a_lease_that_ends_too_early_is_caught() {
        assert!(claims(&mut story(), 2, 59, held(), false).is_ok());
        assert!(claims(&mut story(), 2, 59, held(), true).is_err());
    }

    #[test]
    fn a_lease_that_outlives_its_expiry_is_caught() {
        let anew = || Ok(Done::Granted { fence: 2, expiry: second(120) });
        assert!(claims(&mut story(), 2, 60, anew(), true).is_ok());
        assert!(claims(&mut story(), 2, 60, anew(), false).is_err());
    }

    #[test]
    fn a_denial_for_a_lease_that_is_over_is_caught() {
        assert!(claims(&mut story(), 2, 60, held(), true).is_err());
    }

    #[test]
    fn an_extension_moves_the_end() {
        let mut story = story();
        let longer = Ok(Done::Granted { fence: 1, expiry: second(90) });
        assert!(claims(&mut story, 2, 30, longer, false).is_ok());
        let longer = Err(Refusal::Held { holder: "b".into(), expiry: second(90) });
        assert!(claims(&mut story, 3, 60, longer, false).is_ok());
    }
}
