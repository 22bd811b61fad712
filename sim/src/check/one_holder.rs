//! At most one holds a lease at any global time, and at most one believes so at any real time.
//!
//! It does not ask the table. From the outcomes of the log alone it keeps who was promised what,
//! and refuses two promises that overlap; and from the agents' own words, who acts as leader.

use std::sync::Arc;

use portcullis_core::lease::{Applied, Done, Entry, Key, Operation};
use portcullis_core::{GlobalTime, Time, agent};

use super::{Check, Sentence};
use crate::facts::Facts;
use crate::history::{Event, Kind, Kinds, Who};
use crate::lookup::Lookup;
use crate::plan::Plan;

/// See the module.
struct OneHolder {
    agents: u32,
    leases: u32,
    /// The highest log index seen; what a second replica applies is no news.
    index: u64,
    promises: Lookup<Key, Promise>,
    /// By lease, who acts as its leader.
    acting: Lookup<u32, u32>,
}

struct Promise {
    holder: Arc<str>,
    fence: u64,
    /// Up to but not including.
    expiry: GlobalTime,
}

pub(super) fn make(plan: &Plan) -> Option<Box<dyn Check>> {
    Some(Box::new(OneHolder {
        agents: plan.settings.agents.count,
        leases: plan.settings.agents.leases,
        index: 0,
        promises: Lookup::default(),
        acting: Lookup::default(),
    }))
}

impl Check for OneHolder {
    fn name(&self) -> &'static str {
        "one_holder"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "003",
            text: "there are some workers that must run on exactly one controller instance",
        }
    }

    fn hears(&self) -> Kinds {
        Kinds::of(&[Kind::Applied]).and(Kinds::OF_AGENTS)
    }

    fn always(&mut self, _: Time, who: Who, event: &Event<'_>, _: &Facts) -> Result<(), String> {
        match (who, event) {
            (_, Event::Applied { index, entry, applied }) if *index > self.index => {
                self.index = *index;
                self.applied(*index, entry, applied)
            }
            (Who::Agent(agent), Event::AgentOrdered(agent::Output::Lead { .. })) => {
                self.leads(agent)
            }
            (
                Who::Agent(agent),
                Event::AgentOrdered(agent::Output::Follow)
                | Event::AgentTold(agent::Input::Started | agent::Input::Stopped),
            ) => {
                if let Some(lease) = self.lease(agent)
                    && self.acting.get(&lease) == Some(&agent)
                {
                    self.acting.remove(&lease);
                }
                Ok(())
            }
            (_, Event::Told(_) | Event::Ordered(_) | Event::Did(_) | Event::Memory(_))
            | (_, Event::AgentTold(_) | Event::AgentOrdered(_) | Event::Applied { .. })
            | (_, Event::Cluster(_) | Event::Singular(_))
            | (_, Event::Front(_) | Event::BacklogFull | Event::Killed(_) | Event::Error(_)) => {
                Ok(())
            }
        }
    }
}

impl OneHolder {
    /// The application of an agent; none for the clients of a workload.
    fn lease(&self, agent: u32) -> Option<u32> {
        (agent < self.agents).then_some(agent).and_then(|agent| agent.checked_rem(self.leases))
    }

    fn leads(&mut self, agent: u32) -> Result<(), String> {
        let Some(lease) = self.lease(agent) else { return Ok(()) };
        match self.acting.insert(lease, agent) {
            Some(other) if other != agent => Err(format!(
                "agent-{other} and agent-{agent} both act as leader of application {lease}"
            )),
            Some(_) | None => Ok(()),
        }
    }

    fn applied(&mut self, index: u64, entry: &Entry, applied: &Applied) -> Result<(), String> {
        for (command, outcome) in entry.commands.iter().zip(&applied.outcomes) {
            let Ok(done) = outcome else { continue };
            match (&command.operation, done) {
                (
                    Operation::Claim { key, holder, .. } | Operation::Extend { key, holder, .. },
                    Done::Granted { fence, expiry },
                ) => self.promised(index, entry.now, key, holder, *fence, *expiry)?,
                (Operation::Revoke { key, .. }, Done::Revoked) => {
                    // Given up by its holder; whether it was, linearizable finds out.
                    if let Some(promise) = self.promises.get_mut(key) {
                        promise.expiry = promise.expiry.min(entry.now);
                    }
                }
                (_, Done::Granted { .. } | Done::Revoked | Done::Pinned | Done::Unpinned) => {}
            }
        }
        Ok(())
    }

    fn promised(
        &mut self,
        index: u64,
        now: GlobalTime,
        key: &Key,
        holder: &Arc<str>,
        fence: u64,
        expiry: GlobalTime,
    ) -> Result<(), String> {
        let Some(promise) = self.promises.get_mut(key) else {
            self.promises.insert(key.clone(), Promise { holder: holder.clone(), fence, expiry });
            return Ok(());
        };
        let same = promise.holder == *holder && promise.fence == fence;
        if promise.holder != *holder && promise.expiry > now {
            let (other, until) = (&promise.holder, promise.expiry);
            return Err(format!(
                "entry {index} at {now} grants {key} to {holder}; {other} holds it until {until}"
            ));
        }
        if !same && fence <= promise.fence {
            return Err(format!("entry {index} grants {key} with fence {fence} again"));
        }
        if same && expiry < promise.expiry {
            return Err(format!("entry {index} shortens {key} of {holder}"));
        }
        if promise.holder != *holder {
            promise.holder = holder.clone();
        }
        (promise.fence, promise.expiry) = (fence, expiry);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portcullis_core::lease::Command;

    use super::*;
    use crate::check::tests::{ONE, Story};

    fn grant(
        story: &mut Story,
        index: u64,
        now: u64,
        holder: &str,
        fence: u64,
    ) -> Result<(), String> {
        let now = GlobalTime(now * 1_000_000);
        let duration = Duration::from_secs(60);
        let operation = Operation::Claim { key: Key::default(), holder: holder.into(), duration };
        let entry = Entry { now, commands: [Command { operation, void_after: now }].into() };
        let outcomes = vec![Ok(Done::Granted { fence, expiry: now + duration })];
        let applied = Applied { outcomes, released: Vec::new() };
        story.event(0, ONE, Event::Applied { index, entry: &entry, applied: &applied })
    }

    #[test]
    fn a_grant_before_the_other_has_expired_is_caught() {
        let mut story = Story::new(make, "");
        assert!(grant(&mut story, 1, 0, "a", 1).is_ok());
        assert!(grant(&mut story, 2, 59, "b", 2).is_err());
    }

    #[test]
    fn a_grant_once_the_other_has_expired_is_fine() {
        let mut story = Story::new(make, "");
        assert!(grant(&mut story, 1, 0, "a", 1).is_ok());
        assert!(grant(&mut story, 2, 60, "b", 2).is_ok());
    }

    #[test]
    fn a_fence_that_does_not_grow_is_caught() {
        let mut story = Story::new(make, "");
        assert!(grant(&mut story, 1, 0, "a", 1).is_ok());
        assert!(grant(&mut story, 2, 60, "b", 1).is_err());
    }

    #[test]
    fn two_agents_that_act_as_leader_are_caught() {
        let mut story = Story::new(make, "[agents]\ncount = 2\nleases = 1\n");
        let lead = agent::Output::Lead { fence: 1 };
        assert!(story.event(0, Who::Agent(0), Event::AgentOrdered(&lead)).is_ok());
        assert!(story.event(1, Who::Agent(1), Event::AgentOrdered(&lead)).is_err());
    }
}
