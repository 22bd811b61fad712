//! One lease seen from outside: could some order of its operations explain every answer?
//!
//! Just-in-time linearization: it walks through invocations and returns in the order in which they
//! happened, and keeps every state that the lease could be in, each with the set of open operations
//! that have already taken effect in it. When no state is left, no order explains the answers. It
//! knows nothing of the log, so it catches what a check that trusts the log cannot.
//!
//! An operation whose answer was lost stays open for ever: it may take effect at any time, or
//! never.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::Time;
use portcullis_core::lease::{Done, Operation, Outcome, Refusal};

/// Most operations open at once: the states double with each.
pub const OPEN_MAX: usize = 8;

/// Who holds the lease, and the earliest real time at which it may have expired: global time never
/// runs faster than real time, short of a leader's clock that does.
type Held = Option<(Arc<str>, Time)>;

/// The history of one lease.
#[derive(Clone, Debug, Default)]
pub struct BlackBox {
    open: BTreeMap<u64, Open>,
    /// Each state with the open operations that took effect in it.
    states: BTreeSet<(BTreeSet<u64>, Held)>,
    /// More than [`OPEN_MAX`] were open at once, so nothing more is said.
    abandoned: bool,
    /// The longest that it was ever asked for.
    longest: Duration,
}

#[derive(Clone, Debug)]
struct Open {
    operation: Operation,
    invoked: Time,
}

impl BlackBox {
    /// A lease that nobody holds.
    pub fn new() -> BlackBox {
        let states = BTreeSet::from([(BTreeSet::new(), None)]);
        BlackBox { states, ..BlackBox::default() }
    }

    /// Whether it has given up, for too many operations at once.
    pub fn abandoned(&self) -> bool {
        self.abandoned
    }

    /// The longest that it was ever asked for.
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// Somebody asks. `serial` names the operation and is never used again.
    pub fn invoked(&mut self, at: Time, serial: u64, operation: Operation) {
        if let Operation::Claim { duration, .. } | Operation::Extend { duration, .. } = &operation {
            self.longest = self.longest.max(*duration);
        }
        self.open.insert(serial, Open { operation, invoked: at });
        if self.open.len() > OPEN_MAX {
            self.abandoned = true;
            self.open.clear();
            self.states.clear();
        }
    }

    /// The operation was told to have had no effect, nor to have one ever.
    pub fn void(&mut self, serial: u64) -> bool {
        if self.open.remove(&serial).is_none() || self.abandoned {
            return true;
        }
        self.states.retain(|(done, _)| !done.contains(&serial));
        !self.states.is_empty()
    }

    /// The operation returned. Says whether any order explains all that was answered so far. What
    /// expires by `at` may have been free: a later time than that of the return where clocks are fast.
    pub fn returned(&mut self, at: Time, serial: u64, outcome: &Outcome) -> bool {
        if self.abandoned || !self.open.contains_key(&serial) {
            return true;
        }
        let mut reached = BTreeSet::new();
        let mut frontier: Vec<_> = std::mem::take(&mut self.states).into_iter().collect();
        let mut visited = BTreeSet::new();
        while let Some((done, held)) = frontier.pop() {
            if !visited.insert((done.clone(), held.clone())) {
                continue;
            }
            if done.contains(&serial) {
                let mut done = done;
                done.remove(&serial);
                reached.insert((done, held));
                continue;
            }
            for (other, open) in self.open.iter().filter(|(other, _)| !done.contains(other)) {
                let answer = (*other == serial).then_some(outcome);
                for next in effects(&held, open, at, answer) {
                    let mut done = done.clone();
                    done.insert(*other);
                    frontier.push((done, next));
                }
            }
        }
        self.open.remove(&serial);
        self.states = reached;
        !self.states.is_empty()
    }
}

/// The states that an operation may leave behind, done at some time up to `by`. Without an answer,
/// whatever it would have been told.
fn effects(held: &Held, open: &Open, by: Time, answer: Option<&Outcome>) -> Vec<Held> {
    let may_be_free = held.as_ref().is_none_or(|(_, expiry)| *expiry <= by);
    let holds = |holder: &Arc<str>| held.as_ref().is_some_and(|(held, _)| held == holder);
    let granted = |holder: &Arc<str>, duration: Duration| {
        let expiry = open.invoked + duration;
        let expiry = match held {
            Some((held, before)) if held == holder => expiry.max(*before),
            Some(_) | None => expiry,
        };
        Some((holder.clone(), expiry))
    };
    let fits = |wanted: bool| answer.is_none_or(|_| wanted);
    let done = matches!(answer, Some(Ok(_)) | None);
    let refused = matches!(answer, Some(Err(_)) | None);
    let mut states = Vec::new();
    match &open.operation {
        Operation::Claim { holder, duration, .. } => {
            if done && (may_be_free || holds(holder)) {
                states.push(granted(holder, *duration));
            }
            let by_whom = match answer {
                Some(Err(Refusal::Held { holder, .. })) => holds(holder),
                Some(Err(Refusal::NotHeld | Refusal::Void | Refusal::Full) | Ok(_)) | None => true,
            };
            if refused && by_whom && !holds(holder) {
                states.push(held.clone());
            }
        }
        Operation::Extend { holder, duration, .. } => {
            if done && holds(holder) {
                states.push(granted(holder, *duration));
            }
            if refused && (!holds(holder) || may_be_free) {
                states.push(if holds(holder) { None } else { held.clone() });
            }
        }
        Operation::Revoke { holder, .. } => {
            if done && holds(holder) && fits(matches!(answer, Some(Ok(Done::Revoked)))) {
                states.push(None);
            }
            if refused && (!holds(holder) || may_be_free) {
                states.push(if holds(holder) { None } else { held.clone() });
            }
        }
        Operation::Pin { .. } | Operation::Unpin { .. } => states.push(held.clone()),
    }
    states
}

#[cfg(test)]
mod tests {
    use portcullis_core::GlobalTime;
    use portcullis_core::lease::Key;

    use super::*;

    fn claim(holder: &str) -> Operation {
        let duration = Duration::from_secs(60);
        Operation::Claim { key: Key::default(), holder: holder.into(), duration }
    }

    fn granted(fence: u64) -> Outcome {
        Ok(Done::Granted { fence, expiry: GlobalTime(60_000_000) })
    }

    fn held(holder: &str) -> Outcome {
        Err(Refusal::Held { holder: holder.into(), expiry: GlobalTime(60_000_000) })
    }

    fn second(count: u64) -> Time {
        Time(count * 1_000_000)
    }

    #[test]
    fn a_second_grant_before_the_first_can_have_expired_is_caught() {
        let mut lease = BlackBox::new();
        lease.invoked(second(0), 1, claim("a"));
        assert!(lease.returned(second(1), 1, &granted(1)));
        lease.invoked(second(2), 2, claim("b"));
        assert!(!lease.returned(second(59), 2, &granted(2)));
    }

    #[test]
    fn a_second_grant_after_the_first_has_expired_is_fine() {
        let mut lease = BlackBox::new();
        lease.invoked(second(0), 1, claim("a"));
        assert!(lease.returned(second(1), 1, &granted(1)));
        lease.invoked(second(59), 2, claim("b"));
        assert!(lease.returned(second(61), 2, &granted(2)));
    }

    #[test]
    fn a_lost_answer_explains_a_refusal() {
        let mut lease = BlackBox::new();
        lease.invoked(second(0), 1, claim("a"));
        lease.invoked(second(2), 2, claim("b"));
        assert!(lease.returned(second(3), 2, &held("a")));
    }

    #[test]
    fn a_refusal_for_somebody_who_never_asked_is_caught() {
        let mut lease = BlackBox::new();
        lease.invoked(second(0), 1, claim("a"));
        assert!(!lease.returned(second(3), 1, &held("b")));
    }

    #[test]
    fn an_effect_of_what_was_told_to_have_none_is_caught() {
        let mut lease = BlackBox::new();
        lease.invoked(second(0), 1, claim("a"));
        assert!(lease.void(1));
        lease.invoked(second(2), 2, claim("b"));
        assert!(!lease.returned(second(3), 2, &held("a")));
    }
}
