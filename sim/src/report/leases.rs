//! Leases: what happened to each, for whoever looks one up on a page.
//!
//! Decides what is kept of them. All are followed, each with its last events; when all together
//! come to [`EVENTS_MAX`], each keeps half as many from then on. A page shows those with the most
//! trouble.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use portcullis_core::controller::{Input, Output, Request};
use portcullis_core::lease::{Applied, Done, Entry, Key, Operation, Outcome, Refusal};
use portcullis_core::{NodeId, Time};
use serde::{Deserialize, Serialize};

use super::happening::{Happening, What, asker, without_effect};
use crate::facts::Facts;
use crate::history::{Event, Who};

/// Most events that are kept of all leases while a run goes on: some 30 MB.
const EVENTS_MAX: usize = 1 << 19;
/// Most that are kept of one.
const EVENTS_EACH: usize = 64;
/// Most leases on a page, and most events of all of them there: 1 MB at the worst.
pub const LEASES_SHOWN: usize = 300;
/// See [`LEASES_SHOWN`].
pub const EVENTS_SHOWN: usize = 10_000;

/// What is kept of one lease.
#[derive(Clone, Debug, Default)]
struct History {
    kept: VecDeque<Happening>,
    left_out: u64,
    trouble: u64,
    holder: Option<Holder>,
}

/// Who holds a lease.
#[derive(Clone, Debug, Default)]
struct Holder {
    who: Arc<str>,
    fence: u64,
    /// The log index of its grant.
    granted: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Leases {
    all: BTreeMap<Key, History>,
    /// The highest log index; what a second replica applies is no news.
    index: u64,
    kept: usize,
    each: usize,
}

impl Default for Leases {
    /// Nothing happened to any.
    fn default() -> Leases {
        Leases { all: BTreeMap::new(), index: 0, kept: 0, each: EVENTS_EACH }
    }
}

/// What a page shows of one lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    pub name: String,
    pub trouble: u64,
    /// How many events before those below are not shown.
    pub left_out: u64,
    pub events: Vec<Happening>,
}

/// What a page shows of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// How many leases there were.
    pub of: usize,
    pub leases: Vec<Shown>,
}

impl Leases {
    /// Takes note of one event, after the facts have.
    pub fn note(&mut self, at: Time, who: Who, event: &Event<'_>, facts: &Facts) {
        match (who, event) {
            (Who::Controller(node), Event::Told(Input::Asked { ask, request, .. })) => {
                let edge = facts.ask(node, *ask).is_some_and(|ask| ask.edge);
                if let (true, Request::Apply(operation)) = (edge, request) {
                    self.add(at, node, operation, What::Asked);
                }
            }
            (Who::Controller(node), Event::Ordered(Output::Answer { answer, .. })) => {
                let ask = facts.ended().filter(|ask| ask.edge);
                if let Some(operation) = ask.and_then(|ask| ask.operation.as_deref())
                    && let Some(what) = without_effect(answer)
                {
                    self.add(at, node, operation, what);
                }
            }
            (_, Event::Applied { index, entry, applied }) if *index > self.index => {
                self.index = *index;
                self.applied(at, entry, applied);
            }
            (_, Event::Told(_) | Event::Ordered(_) | Event::Applied { .. })
            | (_, Event::AgentTold(_) | Event::AgentOrdered(_) | Event::Did(_))
            | (_, Event::Cluster(_) | Event::Memory(_) | Event::BacklogFull | Event::Singular(_))
            | (_, Event::Front(_) | Event::Killed(_) | Event::Error(_)) => {}
        }
    }

    /// Whether log entry `index` gave a lease to whoever held it already, under this fence.
    pub fn extends(&self, key: &Key, fence: u64, index: u64) -> bool {
        let holder = self.all.get(key).and_then(|history| history.holder.as_ref());
        holder.is_some_and(|holder| holder.fence == fence && holder.granted < index)
    }

    /// Those to show: with the most trouble first, and before them those that `named` speaks of.
    pub fn select(&self, named: &str) -> Selection {
        let mut order: Vec<(bool, u64, &Key)> = self
            .all
            .iter()
            .map(|(key, history)| (named.contains(key.lease()), history.trouble, key))
            .collect();
        // Names that end in numbers are in the order of these.
        let rank = |one: &(bool, u64, &Key)| (Reverse(one.0), Reverse(one.1), one.2.lease().len());
        order.sort_by(|one, other| rank(one).cmp(&rank(other)).then(one.2.cmp(other.2)));
        let mut leases = Vec::new();
        let mut room = EVENTS_SHOWN;
        for (_, trouble, key) in order.into_iter().take(LEASES_SHOWN) {
            let history = &self.all[key];
            if history.kept.len() > room {
                break;
            }
            room -= history.kept.len();
            leases.push(Shown {
                name: key.to_string(),
                trouble,
                left_out: history.left_out,
                events: history.kept.iter().cloned().collect(),
            });
        }
        Selection { of: self.all.len(), leases }
    }

    fn applied(&mut self, at: Time, entry: &Entry, applied: &Applied) {
        // What expired goes before the commands are done, what is revoked by them: so a lease that
        // is released and has a holder at the start of the entry has lapsed.
        let revoked: Vec<&Key> = entry
            .commands
            .iter()
            .zip(&applied.outcomes)
            .filter(|(_, outcome)| **outcome == Ok(Done::Revoked))
            .map(|(command, _)| command.operation.key())
            .collect();
        let lapsed = applied.released.len().saturating_sub(revoked.len());
        for key in applied.released.iter().take(lapsed) {
            let holder = self.all.get_mut(key).and_then(|history| history.holder.take());
            let Holder { who, fence, .. } = holder.unwrap_or_default();
            let lapse = Happening { at: at.0, what: What::Lapsed, who, node: 0, fence, until: 0 };
            self.push(key, lapse);
        }
        for (command, outcome) in entry.commands.iter().zip(&applied.outcomes) {
            self.came_of(at, &command.operation, outcome);
        }
    }

    fn came_of(&mut self, at: Time, operation: &Operation, outcome: &Outcome) {
        let key = operation.key();
        let who = asker(operation);
        let held = self.all.get(key).and_then(|history| history.holder.as_ref());
        let mut happening =
            Happening { at: at.0, what: What::Granted, who, node: 0, fence: 0, until: 0 };
        match outcome {
            Ok(Done::Granted { fence, expiry }) => {
                (happening.fence, happening.until) = (*fence, expiry.0);
                if held.is_some_and(|holder| holder.fence == *fence) {
                    happening.what = What::Extended;
                } else {
                    let (who, granted) = (happening.who.clone(), self.index);
                    let holder = Some(Holder { who, fence: *fence, granted });
                    self.all.entry(key.clone()).or_default().holder = holder;
                }
            }
            Ok(Done::Revoked) => {
                happening.what = What::Revoked;
                self.all.entry(key.clone()).or_default().holder = None;
            }
            Ok(Done::Pinned) => happening.what = What::Pinned,
            Ok(Done::Unpinned) => happening.what = What::Unpinned,
            Err(Refusal::Held { expiry, .. }) => {
                (happening.what, happening.until) = (What::Denied, expiry.0);
            }
            Err(Refusal::NotHeld) => happening.what = What::NotHeld,
            Err(Refusal::Void) => happening.what = What::Void,
            Err(Refusal::Full) => happening.what = What::Full,
        }
        self.push(key, happening);
    }

    fn add(&mut self, at: Time, node: NodeId, operation: &Operation, what: What) {
        let who = asker(operation);
        let happening = Happening { at: at.0, what, who, node: node.0, fence: 0, until: 0 };
        self.push(operation.key(), happening);
    }

    fn push(&mut self, key: &Key, happening: Happening) {
        let history = self.all.entry(key.clone()).or_default();
        history.trouble += happening.what.trouble();
        history.kept.push_back(happening);
        self.kept += 1;
        if history.kept.len() > self.each {
            history.kept.pop_front();
            history.left_out += 1;
            self.kept -= 1;
        }
        if self.kept > EVENTS_MAX {
            self.each = (self.each / 2).max(1);
            self.kept = 0;
            for history in self.all.values_mut() {
                let surplus = history.kept.len().saturating_sub(self.each);
                history.kept.drain(..surplus);
                history.left_out += surplus as u64;
                self.kept += history.kept.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portcullis_core::GlobalTime;
    use portcullis_core::lease::Command;

    use super::*;

    fn key(name: &str) -> Key {
        Key::new("", "", name)
    }

    fn claim(name: &str, holder: &str) -> Operation {
        Operation::Claim { key: key(name), holder: holder.into(), duration: Duration::ZERO }
    }

    fn granted(fence: u64) -> Outcome {
        Ok(Done::Granted { fence, expiry: GlobalTime(60_000_000) })
    }

    fn apply(leases: &mut Leases, index: u64, did: &[(Operation, Outcome)], released: &[Key]) {
        let commands = did.iter().map(|(operation, _)| Command {
            operation: operation.clone(),
            void_after: GlobalTime(u64::MAX),
        });
        let entry = Entry { now: GlobalTime(index), commands: commands.collect() };
        let outcomes = did.iter().map(|(_, outcome)| outcome.clone()).collect();
        let applied = Applied { outcomes, released: released.to_vec() };
        let event = Event::Applied { index, entry: &entry, applied: &applied };
        let who = Who::Controller(NodeId(1));
        leases.note(Time(index), who, &event, &Facts::new(0));
        // The second replica says nothing new.
        leases.note(Time(index), who, &event, &Facts::new(0));
    }

    fn told(leases: &Leases) -> Vec<(What, String, u64)> {
        let selection = leases.select("");
        let events = selection.leases.first().map(|shown| shown.events.clone());
        let events = events.unwrap_or_default().into_iter();
        events.map(|event| (event.what, event.who.to_string(), event.fence)).collect()
    }

    #[test]
    fn a_lease_is_granted_extended_denied_and_lapses() {
        let mut leases = Leases::default();
        apply(&mut leases, 1, &[(claim("a", "a/0"), granted(1))], &[]);
        let held = Refusal::Held { holder: "a/0".into(), expiry: GlobalTime(60) };
        apply(&mut leases, 2, &[(claim("a", "a/1"), Err(held))], &[]);
        apply(&mut leases, 3, &[(claim("a", "a/0"), granted(1))], &[]);
        apply(&mut leases, 4, &[(claim("a", "a/1"), granted(2))], &[key("a")]);
        let expected = [
            (What::Granted, "a/0", 1),
            (What::Denied, "a/1", 0),
            (What::Extended, "a/0", 1),
            (What::Lapsed, "a/0", 1),
            (What::Granted, "a/1", 2),
        ];
        assert_eq!(told(&leases), expected.map(|(what, who, fence)| (what, who.into(), fence)));
        assert!(!leases.extends(&key("a"), 2, 4) && leases.extends(&key("a"), 2, 5));
        assert!(!leases.extends(&key("a"), 1, 5));
    }

    #[test]
    fn what_is_given_up_has_not_lapsed() {
        let mut leases = Leases::default();
        apply(&mut leases, 1, &[(claim("a", "a/0"), granted(1))], &[]);
        let revoke = Operation::Revoke { key: key("a"), holder: "a/0".into() };
        apply(&mut leases, 2, &[(revoke, Ok(Done::Revoked))], &[key("a")]);
        let whats: Vec<What> = told(&leases).into_iter().map(|(what, ..)| what).collect();
        assert_eq!(whats, [What::Granted, What::Revoked]);
    }

    #[test]
    fn those_named_come_first_and_then_those_with_trouble() {
        let mut leases = Leases::default();
        let names = ["calm", "named", "troubled"];
        let claims = names.map(|name| (claim(name, "x"), granted(1)));
        apply(&mut leases, 1, &claims, &[]);
        apply(&mut leases, 2, &[], &[key("troubled")]);
        let shown = leases.select("two hold application named at once");
        let shown: Vec<&str> = shown.leases.iter().map(|shown| &shown.name[2..]).collect();
        assert_eq!(shown, ["named", "troubled", "calm"]);
    }

    #[test]
    fn many_leases_keep_little_each() {
        let mut leases = Leases::default();
        for round in 0..20 {
            for lease in 0..40_000 {
                let claim = claim(&format!("a-{lease}"), "x");
                leases.came_of(Time(round), &claim, &granted(1));
            }
        }
        assert!(leases.kept <= EVENTS_MAX, "{}", leases.kept);
        let shown = leases.select("");
        let sum = |count: fn(&Shown) -> usize| shown.leases.iter().map(count).sum::<usize>();
        assert_eq!((shown.of, shown.leases.len()), (40_000, LEASES_SHOWN));
        assert!(sum(|shown| shown.events.len()) <= EVENTS_SHOWN);
        assert_eq!(shown.leases[0].left_out + shown.leases[0].events.len() as u64, 20);
    }
}
