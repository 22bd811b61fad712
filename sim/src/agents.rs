//! What the agents live through: how long they wait for an answer to their claims, how long their
//! renewals take, and which leases they lose.
//!
//! Decides nothing. A claim's wait begins when it is first sent and ends with a definite answer,
//! whatever came between: refusals, lost answers, lost connections. A renewal's wait begins when it
//! falls due.

use std::time::Duration;

use portcullis_core::Time;
use portcullis_core::agent::{Input, Output};
use portcullis_core::controller::Request;
use portcullis_core::lease::{Done, Refusal};
use portcullis_core::queue::Answer;

use crate::plan::Plan;
use crate::spread::Spread;

/// No time.
const NEVER: Time = Time(u64::MAX);

/// One agent.
#[derive(Clone, Copy, Debug)]
struct One {
    /// Since when it waits for a definite answer.
    waits: Time,
    /// When it sent its last claim.
    sent: Time,
    /// When its next renewal falls due, while it leads.
    due: Time,
    /// Whether it had a definite answer since it is connected.
    answered: bool,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Agents {
    renew: Duration,
    /// A renewal that takes longer than this is late: half of the lease's rest is gone.
    late_after: Duration,
    each: Vec<One>,
    answered: usize,
    /// How long agents that did not lead waited until they knew whether they do.
    pub claims: Spread,
    /// How long leaders waited from a renewal falling due until it was granted.
    pub renewals: Spread,
    pub late: u64,
    /// Leases that their leaders lost.
    pub lost: u64,
    /// When all agents had a definite answer for the first time and, after the faults, again.
    pub all_answered: Option<Time>,
    pub all_answered_again: Option<Time>,
}

impl Agents {
    /// Nothing has happened to them. The clients of workloads are not counted.
    pub fn new(plan: &Plan) -> Agents {
        let agents = &plan.settings.agents;
        let one = One { waits: NEVER, sent: NEVER, due: NEVER, answered: false };
        Agents {
            renew: agents.renew,
            late_after: agents.claim.saturating_sub(agents.renew) / 2,
            each: vec![one; agents.count as usize],
            ..Agents::default()
        }
    }

    /// An agent was told. Says whether that was a definite answer to its claim.
    pub fn told(&mut self, at: Time, agent: u32, input: &Input) -> bool {
        match input {
            Input::Answered { answer, .. } => return self.answered(at, agent, answer),
            Input::Started => {
                self.forget(agent);
                if let Some(one) = self.each.get_mut(agent as usize) {
                    (one.waits, one.due) = (NEVER, NEVER);
                }
            }
            Input::Disconnected | Input::Stopped => self.forget(agent),
            Input::Connected
            | Input::Failed
            | Input::LoggedIn { .. }
            | Input::Told { .. }
            | Input::Refused { .. }
            | Input::Redirected { .. }
            | Input::Ponged
            | Input::Asked { .. } => {}
        }
        false
    }

    /// An agent gave an order.
    pub fn ordered(&mut self, at: Time, agent: u32, output: &Output) {
        let Some(one) = self.each.get_mut(agent as usize) else { return };
        match output {
            Output::Send { request: Request::Apply(_), .. } => {
                one.waits = one.waits.min(at).min(one.due);
                one.sent = at;
            }
            Output::Follow => {
                one.due = NEVER;
                self.lost += 1;
            }
            Output::Send { request: Request::Wait(_), .. }
            | Output::Dial { .. }
            | Output::Login
            | Output::Hangup
            | Output::Ping
            | Output::Remember { .. }
            | Output::Answer { .. }
            | Output::Lead { .. } => {}
        }
    }

    fn answered(&mut self, at: Time, agent: u32, answer: &Answer) -> bool {
        let Some(one) = self.each.get_mut(agent as usize) else { return false };
        let granted = match answer {
            Answer::Done { done: Done::Granted { .. }, .. } => true,
            Answer::Refused { refusal: Refusal::Held { .. }, .. } => false,
            Answer::Done { done: Done::Revoked | Done::Pinned | Done::Unpinned, .. }
            | Answer::Refused {
                refusal: Refusal::NotHeld | Refusal::Void | Refusal::Full, ..
            }
            | Answer::Released
            | Answer::Overloaded { .. }
            | Answer::NotLeader { .. }
            | Answer::Expired
            | Answer::Cancelled
            | Answer::Unknown => return false,
        };
        if one.waits == NEVER {
            return false;
        }
        let took = at.since(one.waits);
        one.waits = NEVER;
        if granted && one.due != NEVER {
            self.renewals.add(took);
            self.late += u64::from(took > self.late_after);
        } else {
            self.claims.add(took);
        }
        one.due = if granted { one.sent + self.renew } else { NEVER };
        if !std::mem::replace(&mut one.answered, true) {
            self.answered += 1;
            if self.answered == self.each.len() {
                self.all_answered.get_or_insert(at);
                self.all_answered_again.get_or_insert(at);
            }
        }
        true
    }

    /// What an agent was told last is of no worth any more.
    fn forget(&mut self, agent: u32) {
        let Some(one) = self.each.get_mut(agent as usize) else { return };
        if std::mem::take(&mut one.answered) {
            self.answered -= 1;
            self.all_answered_again = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::GlobalTime;
    use portcullis_core::lease::{Key, Operation};

    use super::*;
    use crate::check::tests::plan;

    const CLAIM: Duration = Duration::from_secs(60);

    fn second(second: u64) -> Time {
        Time(second * 1_000_000)
    }

    fn claims(agents: &mut Agents, at: u64) {
        let operation =
            Operation::Claim { key: Key::default(), holder: "a/0".into(), duration: CLAIM };
        let request = Request::Apply(operation);
        let send = Output::Send { serial: 1, request, patience: CLAIM };
        agents.ordered(second(at), 0, &send);
    }

    fn answered(agents: &mut Agents, at: u64, answer: Answer) -> bool {
        agents.told(second(at), 0, &Input::Answered { serial: 1, answer })
    }

    fn granted() -> Answer {
        Answer::Done { index: 1, done: Done::Granted { fence: 1, expiry: GlobalTime(0) } }
    }

    #[test]
    fn a_wait_goes_on_until_the_answer_is_definite() {
        let mut agents = Agents::new(&plan("[agents]\ncount = 1\nleases = 1\n"));
        claims(&mut agents, 1);
        assert!(!answered(&mut agents, 2, Answer::Unknown));
        claims(&mut agents, 3);
        assert!(answered(&mut agents, 5, granted()));
        assert_eq!(agents.claims.longest(), Duration::from_secs(4));
        assert_eq!(agents.all_answered, Some(second(5)));
    }

    #[test]
    fn a_renewal_waits_from_when_it_fell_due_and_may_be_late() {
        let mut agents = Agents::new(&plan("[agents]\ncount = 1\nleases = 1\n"));
        claims(&mut agents, 1);
        answered(&mut agents, 2, granted());
        // Due at 31 s; there was no connection.
        claims(&mut agents, 40);
        answered(&mut agents, 47, granted());
        assert_eq!(agents.renewals.longest(), Duration::from_secs(16));
        assert_eq!((agents.late, agents.lost), (1, 0));
        agents.ordered(second(100), 0, &Output::Follow);
        assert_eq!(agents.lost, 1);
    }

    #[test]
    fn an_agent_that_starts_again_has_no_answer() {
        let mut agents = Agents::new(&plan("[agents]\ncount = 1\nleases = 1\n"));
        claims(&mut agents, 1);
        answered(&mut agents, 2, granted());
        agents.told(second(3), 0, &Input::Started);
        assert_eq!(agents.all_answered_again, None);
        claims(&mut agents, 4);
        answered(&mut agents, 5, granted());
        assert_eq!(
            (agents.all_answered, agents.all_answered_again),
            (Some(second(2)), Some(second(5)))
        );
        assert_eq!(agents.renewals.longest(), Duration::ZERO);
    }
}
