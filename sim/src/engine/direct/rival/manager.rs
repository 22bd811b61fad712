//! Juju's lease manager: each claim in a goroutine of its own, up to ten attempts, no bound.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use portcullis_core::controller::Output;
use portcullis_core::lease::{Operation, Refusal};
use portcullis_core::queue::Answer;
use portcullis_core::{AskId, GlobalTime, NodeId, Rng, Time};

use super::super::raft::Node;
use super::Config;
use super::line::{Lane, extends};

/// Most attempts at one claim.
const ATTEMPTS_MAX: u32 = 10;
/// Most attempts more for an extension whose deadline passed; a claim has none.
const DEADLINE_RETRIES_MAX: u32 = 3;
/// The wait before the second attempt is drawn below this; each bound is 1.6 times the last.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_GROWTH: u32 = 160;
/// How long a message may take to be delivered, and then to be answered.
const FORWARD_WITHIN: Duration = Duration::from_secs(5);
/// Time that the hub takes for a message: encoded as YAML, handed from subscriber to subscriber.
const MESSAGE_COST: Duration = Duration::from_micros(100);
/// Where retries are kept within a share of first tries: that share in percent, and how many may be
/// saved up.
const BUDGET_PERCENT: u64 = 10;
const BUDGET_MAX: u64 = 10;

/// Why an attempt has failed, as Juju tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Timeout,
    Dropped,
    DeadlineExceeded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// In the outbox.
    Publishing,
    /// On its way, or in the leader's line.
    Waiting,
    /// Between two attempts.
    Sleeping,
}

struct Claim {
    operation: Operation,
    attempts: u32,
    deadline_retries: u32,
    /// Whether the claimant held the lease when the present attempt began.
    extends: bool,
    /// When the present attempt began.
    since: Time,
    phase: Phase,
    /// When the phase is given up, if ever.
    until: Option<Time>,
}

/// See the module.
pub struct Manager {
    config: Config,
    rng: Rng,
    leads: bool,
    leader: Option<NodeId>,
    /// How far this controller's copy of the table has come.
    applied: u64,
    claims: BTreeMap<AskId, Claim>,
    timers: BTreeSet<(Time, AskId)>,
    /// Messages, each with the time at which it is delivered.
    outbox: VecDeque<(Time, AskId, Operation)>,
    delivered_until: Time,
    delivered: Vec<(AskId, Operation)>,
    /// Retries that may be made, in hundredths.
    budget: u64,
}

impl Manager {
    /// A manager that nobody has asked.
    pub fn new(config: Config, rng: Rng) -> Manager {
        Manager {
            config,
            rng,
            leads: false,
            leader: None,
            applied: 0,
            claims: BTreeMap::new(),
            timers: BTreeSet::new(),
            outbox: VecDeque::new(),
            delivered_until: Time(0),
            delivered: Vec::new(),
            budget: BUDGET_MAX * 100,
        }
    }

    /// Claims without an answer, and messages in the outbox.
    pub fn under_way(&self) -> usize {
        self.claims.len() + self.outbox.len()
    }

    /// When it wants [`Manager::timeout`].
    pub fn due(&self) -> Option<Time> {
        let timer = self.timers.first().map(|(at, _)| *at);
        let message = self.outbox.front().map(|(at, _, _)| *at);
        timer.into_iter().chain(message).min()
    }

    /// This controller leads.
    pub fn led(&mut self) {
        (self.leads, self.leader) = (true, None);
    }

    /// This controller does not lead.
    pub fn followed(&mut self, leader: Option<NodeId>) {
        (self.leads, self.leader) = (false, leader);
    }

    /// This controller's copy of the table has come so far.
    pub fn applied(&mut self, index: u64) {
        self.applied = self.applied.max(index);
    }

    /// What was delivered to this controller's own line.
    pub fn delivered(&mut self) -> Vec<(AskId, Operation)> {
        std::mem::take(&mut self.delivered)
    }

    /// Somebody asks. However many have asked before, it is tried at once.
    pub fn asked(
        &mut self,
        now: Time,
        ask: AskId,
        operation: Operation,
        raft: Option<&Node>,
        out: &mut Vec<Output>,
    ) {
        let claim = Claim {
            operation,
            attempts: 0,
            deadline_retries: 0,
            extends: false,
            since: now,
            phase: Phase::Sleeping,
            until: None,
        };
        self.claims.insert(ask, claim);
        self.budget = (self.budget + BUDGET_PERCENT).min(BUDGET_MAX * 100);
        self.attempt(now, ask, raft, out);
    }

    /// The leader has answered.
    pub fn answered(&mut self, now: Time, ask: AskId, answer: &Answer, out: &mut Vec<Output>) {
        if self.claims.get(&ask).is_none_or(|claim| claim.phase != Phase::Waiting) {
            return;
        }
        match answer {
            Answer::Done { .. } | Answer::Refused { .. } => self.end(ask, answer.clone(), out),
            Answer::Expired => self.failed(now, ask, Failure::DeadlineExceeded, out),
            Answer::Unknown => match self.config.lane {
                // Nobody answers on the hub what nobody knows.
                Lane::Hub => {}
                Lane::Facade { .. } => self.failed(now, ask, Failure::DeadlineExceeded, out),
            },
            Answer::NotLeader { .. }
            | Answer::Overloaded { .. }
            | Answer::Cancelled
            | Answer::Released => self.failed(now, ask, Failure::Timeout, out),
        }
    }

    /// There was no connection. The hub drops the message and says nothing.
    pub fn not_sent(&mut self, now: Time, ask: AskId, out: &mut Vec<Output>) {
        match self.config.lane {
            Lane::Hub => {}
            Lane::Facade { .. } => self.failed(now, ask, Failure::Dropped, out),
        }
    }

    /// The connection broke. On the hub, nobody hears of it either.
    pub fn lost(&mut self, now: Time, ask: AskId, out: &mut Vec<Output>) {
        let waits = self.claims.get(&ask).is_some_and(|claim| claim.phase == Phase::Waiting);
        if waits {
            self.not_sent(now, ask, out);
        }
    }

    /// Does what is due.
    pub fn timeout(&mut self, now: Time, raft: Option<&Node>, out: &mut Vec<Output>) {
        while self.outbox.front().is_some_and(|(at, _, _)| *at <= now) {
            let Some((_, ask, operation)) = self.outbox.pop_front() else { break };
            self.deliver(now, ask, operation, out);
        }
        while let Some(&(at, ask)) = self.timers.first() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            let Some(claim) = self.claims.get_mut(&ask) else { continue };
            claim.until = None;
            match claim.phase {
                Phase::Sleeping => self.attempt(now, ask, raft, out),
                // The message is still delivered, and the work still done.
                Phase::Publishing | Phase::Waiting => {
                    self.failed(now, ask, Failure::Timeout, out);
                }
            }
        }
    }

    /// One attempt: what this controller's own copy of the table says comes first.
    fn attempt(&mut self, now: Time, ask: AskId, raft: Option<&Node>, out: &mut Vec<Output>) {
        let Some(claim) = self.claims.get_mut(&ask) else { return };
        claim.attempts += 1;
        claim.since = now;
        claim.extends = extends(&claim.operation, raft);
        if let Operation::Claim { key, .. } = &claim.operation
            && !claim.extends
            && let Some(lease) = raft.and_then(|raft| raft.lease(key))
        {
            let refusal = Refusal::Held { holder: lease.holder, expiry: lease.expiry };
            return self.end(ask, Answer::Refused { index: self.applied, refusal }, out);
        }
        match self.config.lane {
            Lane::Hub => {
                claim.phase = Phase::Publishing;
                let operation = claim.operation.clone();
                self.delivered_until = self.delivered_until.max(now) + MESSAGE_COST;
                self.outbox.push_back((self.delivered_until, ask, operation));
                self.set(ask, now + FORWARD_WITHIN);
            }
            Lane::Facade { .. } => {
                claim.phase = Phase::Waiting;
                let operation = claim.operation.clone();
                self.send(now, ask, operation, out);
            }
        }
    }

    /// A message leaves the outbox. Its sender may have given up; that changes nothing.
    fn deliver(&mut self, now: Time, ask: AskId, operation: Operation, out: &mut Vec<Output>) {
        if let Some(claim) = self.claims.get_mut(&ask)
            && claim.phase == Phase::Publishing
        {
            claim.phase = Phase::Waiting;
            self.set(ask, now + FORWARD_WITHIN);
        }
        self.send(now, ask, operation, out);
    }

    fn send(&mut self, now: Time, ask: AskId, operation: Operation, out: &mut Vec<Output>) {
        match (self.leads, self.leader) {
            (true, _) => self.delivered.push((ask, operation)),
            (false, Some(to)) => {
                out.push(Output::Send { ask, to, operation, patience: FORWARD_WITHIN });
            }
            (false, None) => self.not_sent(now, ask, out),
        }
    }

    fn failed(&mut self, now: Time, ask: AskId, failure: Failure, out: &mut Vec<Output>) {
        let Some(claim) = self.claims.get_mut(&ask) else { return };
        let again = match failure {
            Failure::Timeout | Failure::Dropped => claim.attempts < ATTEMPTS_MAX,
            Failure::DeadlineExceeded => {
                claim.deadline_retries += 1;
                claim.extends && claim.deadline_retries <= DEADLINE_RETRIES_MAX
            }
        };
        if !again || (self.config.retry_budget && self.budget < 100) {
            return self.give_up(ask, failure, out);
        }
        let growth = (1..claim.attempts).fold(RETRY_FIRST, |bound, _| bound * RETRY_GROWTH / 100);
        let bound = u64::try_from(growth.as_micros()).unwrap_or(u64::MAX);
        let drawn = Duration::from_micros(self.rng.below(bound));
        let until = if self.config.retry_budget {
            self.budget -= 100;
            now + drawn
        } else {
            (claim.since + drawn).max(now)
        };
        claim.phase = Phase::Sleeping;
        self.set(ask, until);
    }

    /// The caller is told: of a timeout that nobody knows, and of all else that it is denied.
    fn give_up(&mut self, ask: AskId, failure: Failure, out: &mut Vec<Output>) {
        let answer = match failure {
            Failure::Dropped | Failure::DeadlineExceeded if !self.config.definite_denials => {
                let refusal =
                    Refusal::Held { holder: "somebody".into(), expiry: GlobalTime::default() };
                Answer::Refused { index: self.applied, refusal }
            }
            Failure::Timeout | Failure::Dropped | Failure::DeadlineExceeded => Answer::Unknown,
        };
        self.end(ask, answer, out);
    }

    fn set(&mut self, ask: AskId, until: Time) {
        let Some(claim) = self.claims.get_mut(&ask) else { return };
        if let Some(before) = claim.until.replace(until) {
            self.timers.remove(&(before, ask));
        }
        self.timers.insert((until, ask));
    }

    fn end(&mut self, ask: AskId, answer: Answer, out: &mut Vec<Output>) {
        let Some(claim) = self.claims.remove(&ask) else { return };
        if let Some(until) = claim.until {
            self.timers.remove(&(until, ask));
        }
        out.push(Output::Answer { ask, answer });
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::lease::Key;
    use portcullis_core::{ConnectionId, Seed};

    use super::*;

    const ASK: AskId = AskId { connection: ConnectionId(1), serial: 1 };
    const MENDED: Config = Config { lane: Lane::Hub, retry_budget: true, definite_denials: true };
    const FACADE: Lane = Lane::Facade { extend_deadline: true };

    /// One claim, with nothing to answer it; says when it is handed to the leader, and the answer.
    fn alone(config: Config) -> (Vec<Time>, Vec<Answer>) {
        let mut manager = Manager::new(config, Seed(1).rng());
        manager.followed(Some(NodeId(2)));
        let (key, holder) = (Key::default(), "a".into());
        let operation = Operation::Claim { key, holder, duration: Duration::from_secs(60) };
        let (mut now, mut out) = (Time(0), Vec::new());
        manager.asked(now, ASK, operation, None, &mut out);
        let (mut sent, mut answers) = (Vec::new(), Vec::new());
        loop {
            for order in out.drain(..) {
                match order {
                    Output::Send { .. } => sent.push(now),
                    Output::Answer { answer, .. } => answers.push(answer),
                    order => panic!("{order}"),
                }
            }
            let Some(due) = manager.due() else { return (sent, answers) };
            now = due;
            manager.timeout(now, None, &mut out);
        }
    }

    #[test]
    fn a_wait_that_counts_from_the_start_is_none_after_a_timeout() {
        let (sent, answers) = alone(Config { retry_budget: false, ..MENDED });
        let gaps: Vec<Duration> = sent.windows(2).map(|two| two[1].since(two[0])).collect();
        assert_eq!(gaps, [FORWARD_WITHIN + MESSAGE_COST; 9]);
        assert_eq!(answers, [Answer::Unknown]);
    }

    #[test]
    fn a_wait_that_counts_from_the_end_grows() {
        let (sent, _) = alone(MENDED);
        let gaps: Vec<Duration> = sent.windows(2).map(|two| two[1].since(two[0])).collect();
        assert_eq!(gaps.len(), 9);
        assert!(gaps[5..].iter().all(|gap| *gap > FORWARD_WITHIN + MESSAGE_COST * 10), "{gaps:?}");
    }

    #[test]
    fn a_budget_that_is_spent_ends_the_retries() {
        let mut manager = Manager::new(MENDED, Seed(1).rng());
        let mut out = Vec::new();
        for serial in 0..100 {
            let ask = AskId { serial, ..ASK };
            let operation = Operation::Revoke { key: Key::default(), holder: "a".into() };
            manager.asked(Time(0), ask, operation, None, &mut out);
            manager.failed(Time(1), ask, Failure::Timeout, &mut out);
        }
        let refused = out.iter().filter(|order| matches!(order, Output::Answer { .. })).count();
        // Ten that were saved up, and one for each ten that asked.
        assert!((80..=82).contains(&refused), "{refused}");
    }

    #[test]
    fn what_was_dropped_on_the_way_is_denied_or_unknown() {
        for definite_denials in [false, true] {
            let config = Config { lane: FACADE, retry_budget: false, definite_denials };
            let mut manager = Manager::new(config, Seed(1).rng());
            manager.followed(Some(NodeId(2)));
            let mut out = Vec::new();
            let operation = Operation::Revoke { key: Key::default(), holder: "a".into() };
            manager.asked(Time(0), ASK, operation, None, &mut out);
            while manager.under_way() > 0 {
                manager.lost(Time(1), ASK, &mut out);
                let due = manager.due().unwrap_or(Time(1));
                manager.timeout(due, None, &mut out);
            }
            let Some(Output::Answer { answer, .. }) = out.last() else { panic!("{out:?}") };
            assert_eq!(*answer == Answer::Unknown, definite_denials, "{answer:?}");
        }
    }
}
