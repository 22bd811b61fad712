//! Whoever holds a lease and asks in time to keep it, keeps it, however many others ask.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::Time;
use portcullis_core::controller::{Input, Request};
use portcullis_core::lease::{Applied, Done, Entry, Key, Operation};

use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Who};
use crate::plan::Plan;

/// How long before the expiry a holder must have asked, with nothing wrong since: the patience of
/// one ask, and some time to come back.
pub const ASKED_BEFORE: Duration = Duration::from_secs(15);

/// See the module.
#[derive(Default)]
struct Kept {
    index: u64,
    /// By lease, who holds it, and since when they have asked in vain to keep it.
    held: BTreeMap<Key, (Arc<str>, Option<Time>)>,
}

pub(super) fn make(_: &Plan) -> Option<Box<dyn Check>> {
    Some(Box::<Kept>::default())
}

impl Check for Kept {
    fn name(&self) -> &'static str {
        "kept"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "002",
            text: "to see if it was possible to reduce the number of restarts required and allow \
                   Juju to continue working, even under load",
        }
    }

    fn always(
        &mut self,
        at: Time,
        who: Who,
        event: &Event<'_>,
        facts: &Facts,
    ) -> Result<(), String> {
        match (who, event) {
            (Who::Controller(node), Event::Told(Input::Asked { ask, request, .. })) => {
                if let Request::Apply(operation) = request
                    && facts.ask(node, *ask).is_some_and(|ask| ask.edge)
                {
                    self.asked(at, operation);
                }
                Ok(())
            }
            (_, Event::Applied { index, entry, applied }) if *index > self.index => {
                self.index = *index;
                self.applied(at, entry, applied, facts)
            }
            (_, Event::Told(_) | Event::Ordered(_) | Event::Did(_) | Event::Memory(_))
            | (_, Event::AgentTold(_) | Event::AgentOrdered(_) | Event::Applied { .. })
            | (_, Event::BacklogFull | Event::Killed(_) | Event::Error(_)) => Ok(()),
        }
    }
}

impl Kept {
    fn asked(&mut self, at: Time, operation: &Operation) {
        let (Operation::Claim { key, holder, .. } | Operation::Extend { key, holder, .. }) =
            operation
        else {
            return;
        };
        if let Some((present, since)) = self.held.get_mut(key)
            && present == holder
        {
            since.get_or_insert(at);
        }
    }

    fn applied(
        &mut self,
        at: Time,
        entry: &Entry,
        applied: &Applied,
        facts: &Facts,
    ) -> Result<(), String> {
        let mut lost = Ok(());
        let revoked = applied.outcomes.iter().filter(|one| matches!(one, Ok(Done::Revoked)));
        let expired = applied.released.len() - revoked.count();
        for key in &applied.released[..expired] {
            let Some((holder, Some(since))) = self.held.remove(key) else { continue };
            let calm = facts.calm_since().is_some_and(|calm| calm <= since);
            if calm && at.since(since) >= ASKED_BEFORE {
                let vain = at.since(since);
                lost = Err(format!("{holder} lost {key}, asking in vain for {vain:?} to keep it"));
            }
        }
        for (command, outcome) in entry.commands.iter().zip(&applied.outcomes) {
            match (&command.operation, outcome) {
                (
                    Operation::Claim { key, holder, .. } | Operation::Extend { key, holder, .. },
                    Ok(_),
                ) => {
                    self.held.insert(key.clone(), (holder.clone(), None));
                }
                (Operation::Revoke { key, .. }, Ok(_)) => {
                    self.held.remove(key);
                }
                (Operation::Pin { .. } | Operation::Unpin { .. }, _) | (_, Err(_)) => {}
            }
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::lease::{Command, Leases};
    use portcullis_core::{AskId, ConnectionId, GlobalTime};

    use super::*;
    use crate::check::tests::{ONE, Story};

    fn claim() -> Operation {
        let (holder, duration) = ("a".into(), Duration::from_secs(60));
        Operation::Claim { key: Key::default(), holder, duration }
    }

    fn apply(story: &mut Story, table: &mut Leases, at: u64, claims: bool) -> Result<(), String> {
        let now = GlobalTime(at * 1_000);
        let command = Command { operation: claim(), void_after: now };
        let entry = Entry { now, commands: claims.then_some(command).into_iter().collect() };
        let applied = table.apply(&entry);
        story.event(at, ONE, Event::Applied { index: at + 1, entry: &entry, applied: &applied })
    }

    /// Whether a lease that is asked for again at so many milliseconds, and once more at 59 s, may be
    /// over after 60 s.
    fn lost_after(asked: u64) -> Result<(), String> {
        let (mut story, mut table) = (Story::new(make, ""), Leases::default());
        story.serving(ONE);
        apply(&mut story, &mut table, 0, true)?;
        for (serial, at) in [(1, asked), (2, 59_000)] {
            let ask = AskId { connection: ConnectionId(2), serial };
            let (request, patience) = (Request::Apply(claim()), Duration::from_secs(5));
            story.told(at, ONE, Input::Asked { ask, request, patience })?;
        }
        apply(&mut story, &mut table, 60_000, false)
    }

    #[test]
    fn a_lease_lost_while_its_holder_asks_is_caught() {
        assert!(lost_after(45_000).is_err());
    }

    #[test]
    fn a_lease_asked_for_too_late_may_be_lost() {
        assert!(lost_after(45_001).is_ok());
    }
}
