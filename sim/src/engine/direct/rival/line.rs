//! What waits for raft on the leader: the hub's subscriber and its goroutines, or the op queue.
//!
//! Raft takes up to 64 entries at once, which share a sync, and each carries one command: the batch
//! of `batch-raft-fsm` never was one. An entry does not move the clock; only the clock's own does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use portcullis_core::controller::Output;
use portcullis_core::lease::{Command, Entry, Operation, Outcome};
use portcullis_core::queue::Answer;
use portcullis_core::{AskId, BatchId, GlobalTime, NodeId, Time};

use super::super::raft::Node;

/// Most entries in raft at once: hashicorp/raft commits so many applies as a group.
const IN_RAFT_MAX: usize = 64;
/// Facade: how long an operation may wait for its turn, and an extension where that is told apart.
const TURN_WITHIN: Duration = Duration::from_secs(3);
const EXTENSION_WITHIN: Duration = Duration::from_secs(5);
/// Facade: when the mediator gives an operation up, wherever it is.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The line's own batches are named from here on, above all of core's.
const OWN: u64 = 1 << 63;

/// How asks come to the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Over juju/pubsub's hub.
    Hub,
    /// Over the RaftLease facade into the op queue. With `extend_deadline`, an operation is told to
    /// be an extension by its kind; Juju looked at the lease's name.
    Facade { extend_deadline: bool },
}

/// Who is told what became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// This controller's own manager.
    Here(AskId),
    /// Another controller, through this ask.
    There(AskId),
}

enum Waiting {
    Operation { source: Source, operation: Operation, turn_by: Option<Time> },
    Clock { batch: BatchId, entry: Entry },
}

/// See the module.
pub struct Line {
    lane: Lane,
    waiting: VecDeque<Waiting>,
    /// What is in raft; the clock's entries tell nobody.
    in_raft: BTreeMap<BatchId, Option<Source>>,
    batches: u64,
    /// The global time of the last entry that was proposed: the log's order is that of this.
    stamp: GlobalTime,
    /// Facade: those without an answer, by when the mediator gives them up.
    bounds: BTreeSet<(Time, AskId)>,
    /// Asks of other controllers without an answer.
    open: BTreeMap<AskId, Option<Time>>,
    /// What the manager is to be told.
    settled: Vec<(AskId, Answer)>,
}

/// Whether a batch is of a line, and not core's.
pub fn is_own(batch: BatchId) -> bool {
    batch.0 >= OWN
}

impl Line {
    /// An empty line.
    pub fn new(lane: Lane) -> Line {
        Line {
            lane,
            waiting: VecDeque::new(),
            in_raft: BTreeMap::new(),
            batches: OWN,
            stamp: GlobalTime(0),
            bounds: BTreeSet::new(),
            open: BTreeMap::new(),
            settled: Vec::new(),
        }
    }

    /// How much waits.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// When it wants [`Line::timeout`].
    pub fn due(&self) -> Option<Time> {
        self.bounds.first().map(|(at, _)| *at)
    }

    /// Another controller asks.
    pub fn asked(&mut self, now: Time, ask: AskId, operation: Operation, raft: Option<&Node>) {
        let bound = match self.lane {
            Lane::Hub => None,
            Lane::Facade { .. } => Some(now + ANSWER_WITHIN),
        };
        self.bounds.extend(bound.map(|at| (at, ask)));
        self.open.insert(ask, bound);
        self.join(now, Source::There(ask), operation, raft);
    }

    /// This controller's manager asks.
    pub fn delivered(&mut self, now: Time, ask: AskId, operation: Operation, raft: Option<&Node>) {
        self.join(now, Source::Here(ask), operation, raft);
    }

    fn join(&mut self, now: Time, source: Source, operation: Operation, raft: Option<&Node>) {
        let turn_by = match self.lane {
            Lane::Hub => None,
            Lane::Facade { extend_deadline } => {
                let lease = operation.key();
                let what = match (extend_deadline, extends(&operation, raft)) {
                    (true, true) => "extend",
                    (true, false) => "claim",
                    (false, _) => lease.lease(),
                };
                let within = if what == "extend" { EXTENSION_WITHIN } else { TURN_WITHIN };
                Some(now + within)
            }
        };
        self.waiting.push_back(Waiting::Operation { source, operation, turn_by });
    }

    /// Core wants the clock to move: over the hub after all that waits, over the facade at once.
    pub fn clock(&mut self, batch: BatchId, entry: Entry, out: &mut Vec<Output>) {
        match self.lane {
            Lane::Hub => self.waiting.push_back(Waiting::Clock { batch, entry }),
            Lane::Facade { .. } => self.propose_clock(batch, entry, out),
        }
    }

    fn propose_clock(&mut self, batch: BatchId, entry: Entry, out: &mut Vec<Output>) {
        self.stamp = self.stamp.max(entry.now);
        self.in_raft.insert(batch, None);
        let entry = Entry { now: self.stamp, ..entry };
        out.push(Output::Propose { batch, entry });
    }

    /// Proposes as much as raft takes.
    pub fn dispatch(&mut self, now: Time, raft: Option<&Node>, out: &mut Vec<Output>) {
        while self.in_raft.len() < IN_RAFT_MAX {
            let Some(waiting) = self.waiting.pop_front() else { return };
            match waiting {
                Waiting::Clock { batch, entry } => self.propose_clock(batch, entry, out),
                Waiting::Operation { source, turn_by: Some(by), .. } if by < now => {
                    self.tell(source, Answer::Expired, out);
                }
                Waiting::Operation { source, operation, .. } => {
                    self.batches += 1;
                    let batch = BatchId(self.batches);
                    self.in_raft.insert(batch, Some(source));
                    self.stamp = self.stamp.max(raft.map(Node::global).unwrap_or_default());
                    let command = Command { operation, void_after: GlobalTime(u64::MAX) };
                    let entry = Entry { now: self.stamp, commands: [command].into() };
                    out.push(Output::Propose { batch, entry });
                }
            }
        }
    }

    /// Something became of a batch: who asked for it is told. Harmless if it is not the line's.
    pub fn landed(&mut self, batch: BatchId, answer: Answer, out: &mut Vec<Output>) {
        if let Some(Some(source)) = self.in_raft.remove(&batch) {
            self.tell(source, answer, out);
        }
    }

    /// This controller leads no more, so raft refuses all that waits.
    pub fn followed(&mut self, leader: Option<NodeId>, out: &mut Vec<Output>) {
        for waiting in std::mem::take(&mut self.waiting) {
            match waiting {
                Waiting::Operation { source, .. } => {
                    self.tell(source, Answer::NotLeader { leader }, out);
                }
                Waiting::Clock { batch, entry } => self.propose_clock(batch, entry, out),
            }
        }
    }

    /// The mediator gives up what has taken too long, in raft or not.
    pub fn timeout(&mut self, now: Time, out: &mut Vec<Output>) {
        while let Some(&(at, ask)) = self.bounds.first() {
            if at > now {
                break;
            }
            self.tell(Source::There(ask), Answer::Unknown, out);
        }
    }

    /// What the manager is to be told.
    pub fn settled(&mut self) -> Vec<(AskId, Answer)> {
        std::mem::take(&mut self.settled)
    }

    fn tell(&mut self, source: Source, answer: Answer, out: &mut Vec<Output>) {
        match source {
            Source::Here(ask) => self.settled.push((ask, answer)),
            Source::There(ask) => {
                let Some(bound) = self.open.remove(&ask) else { return };
                if let Some(bound) = bound {
                    self.bounds.remove(&(bound, ask));
                }
                out.push(Output::Answer { ask, answer });
            }
        }
    }
}

/// What the asker of an entry's one command is told; the clock's has none.
pub fn committed(index: u64, outcomes: &[Outcome]) -> Answer {
    match outcomes.first() {
        Some(Ok(done)) => Answer::Done { index, done: done.clone() },
        Some(Err(refusal)) => Answer::Refused { index, refusal: refusal.clone() },
        None => Answer::Unknown,
    }
}

/// Whether an operation is by the holder of its lease.
pub fn extends(operation: &Operation, raft: Option<&Node>) -> bool {
    match operation {
        Operation::Extend { .. } => true,
        Operation::Claim { key, holder, .. } => {
            raft.and_then(|raft| raft.lease(key)).is_some_and(|lease| lease.holder == *holder)
        }
        Operation::Revoke { .. } | Operation::Pin { .. } | Operation::Unpin { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::ConnectionId;
    use portcullis_core::lease::Key;

    use super::*;

    const OLD: Lane = Lane::Facade { extend_deadline: false };
    const MENDED: Lane = Lane::Facade { extend_deadline: true };

    fn extend(lease: &str) -> Operation {
        let key = Key::new("", "", lease);
        Operation::Extend { key, holder: "a".into(), duration: Duration::from_secs(60) }
    }

    /// What becomes of an extension that waits for four seconds.
    fn waits_four_seconds(lane: Lane, lease: &str) -> Vec<(AskId, Answer)> {
        let (mut line, mut out) = (Line::new(lane), Vec::new());
        let ask = AskId { connection: ConnectionId(1), serial: 1 };
        line.delivered(Time(0), ask, extend(lease), None);
        line.dispatch(Time(4_000_000), None, &mut out);
        line.settled()
    }

    #[test]
    fn an_extension_has_five_seconds_only_where_it_is_told_apart() {
        assert_eq!(waits_four_seconds(MENDED, "app").len(), 0);
        let expired = waits_four_seconds(OLD, "app");
        assert!(matches!(&expired[..], [(_, Answer::Expired)]), "{expired:?}");
        // What Juju looks at is the lease's name.
        assert_eq!(waits_four_seconds(OLD, "extend").len(), 0);
    }

    #[test]
    fn the_clock_waits_for_its_turn_on_the_hub_alone() {
        for (lane, first) in [(Lane::Hub, OWN + 1), (MENDED, 7)] {
            let (mut line, mut out) = (Line::new(lane), Vec::new());
            for serial in 0..100 {
                let ask = AskId { connection: ConnectionId(1), serial };
                line.asked(Time(0), ask, extend("app"), None);
            }
            line.clock(BatchId(7), Entry::default(), &mut out);
            line.dispatch(Time(1), None, &mut out);
            let batches = out.iter().map(|order| match order {
                Output::Propose { batch, .. } => batch.0,
                order => panic!("{order}"),
            });
            let batches: Vec<u64> = batches.collect();
            assert_eq!((batches.len(), batches[0]), (IN_RAFT_MAX, first));
        }
    }

    #[test]
    fn whoever_asked_a_leader_that_was_is_told_so_once() {
        let (mut line, mut out) = (Line::new(OLD), Vec::new());
        let ask = AskId { connection: ConnectionId(1), serial: 1 };
        line.asked(Time(0), ask, extend("app"), None);
        line.followed(None, &mut out);
        line.timeout(Time(60_000_000), &mut out);
        let answer = Answer::NotLeader { leader: None };
        assert_eq!(out, [Output::Answer { ask, answer }]);
        assert_eq!(line.due(), None);
    }
}
