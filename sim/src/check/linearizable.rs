//! Every acknowledged operation took effect once, between being asked and being answered.
//!
//! The log is the witness: it is replayed through a table of the check's own, so every replica must
//! say what that table says; each answer must name the entry that holds its operation, with that
//! outcome; and an ask that began after an answer was given must land behind it. What was told to
//! have had no effect, or was never asked, must not be in the log. A claim or an extension may be
//! there more than once, if it was proposed before its deadline: controllers repeat those when an
//! answer is lost, and what is proposed may take effect however late the log commits it. Beside it
//! stands a [`BlackBox`] for a sample of the leases, which does not believe in logs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::controller::{Input, Output};
use portcullis_core::lease::{Applied, Entry, Key, Leases, Operation, Outcome, Refusal};
use portcullis_core::queue::{self, Answer};
use portcullis_core::{NodeId, Time};

use super::black_box::BlackBox;
use super::effects::{self, Effects};
use super::one_answer::LATE_MAX;
use super::{Check, Sentence};
use crate::facts::{Ask, Facts};
use crate::history::{Event, Kind, Kinds, Who};
use crate::late::Deadline;
use crate::lookup::Lookup;
use crate::plan::Plan;

/// How many leases have a black box: the first ones that anybody asks for.
pub const BOXES_MAX: usize = 64;
/// How many of the last log entries answers are compared with. An ask lives for 30 s at most; a log
/// of more than 100 entries a second for so long drops the comparison, never the replay.
pub const ENTRIES_KEPT: usize = 4_096;

/// See the module.
struct Linearizable {
    table: Leases,
    index: u64,
    /// What each of the last entries did.
    entries: BTreeMap<u64, Effects>,
    /// By lease and operation: how often it was asked for and may have an effect, less the effects.
    /// What comes to nothing is left out.
    owed: Lookup<Key, Vec<(Operation, i64)>>,
    patience_max: Duration,
    /// Claims and extensions by the serial of their ask, until when they may be proposed again.
    repeatable: BTreeMap<u64, (Deadline, Arc<Operation>)>,
    boxes: Lookup<Key, BlackBox>,
    /// Whether claims are denied by what a controller's own copy of the table says, as the old way
    /// does: such a denial names no entry, but is a denial all the same.
    copies_deny: bool,
}

pub(super) fn make(plan: &Plan) -> Option<Box<dyn Check>> {
    Some(Box::new(Linearizable {
        table: Leases::default(),
        index: 0,
        entries: BTreeMap::new(),
        owed: Lookup::default(),
        patience_max: queue::Config::default().patience_max,
        repeatable: BTreeMap::new(),
        boxes: Lookup::default(),
        copies_deny: plan.settings.policy.old_way(&plan.settings.controllers),
    }))
}

impl Check for Linearizable {
    fn name(&self) -> &'static str {
        "linearizable"
    }

    fn sentence(&self) -> Sentence {
        Sentence {
            seed: "002",
            text: "we try again for a claim, not knowing if we actually successfully made a claim",
        }
    }

    fn hears(&self) -> Kinds {
        Kinds::of(&[Kind::Applied, Kind::Told, Kind::Ordered])
    }

    fn always(
        &mut self,
        at: Time,
        who: Who,
        event: &Event<'_>,
        facts: &Facts,
    ) -> Result<(), String> {
        match (who, event) {
            (_, Event::Applied { index, entry, applied }) => {
                self.applied(facts, *index, entry, applied)
            }
            (Who::Controller(node), Event::Told(Input::Asked { ask, patience, .. })) => {
                if let Some(ask) = facts.ask(node, *ask).filter(|ask| ask.edge)
                    && let Some(operation) = &ask.operation
                {
                    let until = at + *patience.min(&self.patience_max) + LATE_MAX;
                    self.forget(facts);
                    self.asked(at, ask.serial, operation, facts.late().deadline(until));
                }
                Ok(())
            }
            (Who::Controller(node), Event::Ordered(Output::Answer { answer, .. })) => {
                match facts.ended() {
                    Some(ask) => self.answered(at, node, ask, answer, facts),
                    None => Ok(()),
                }
            }
            (_, Event::Told(_) | Event::Ordered(_) | Event::Did(_) | Event::Memory(_))
            | (_, Event::AgentTold(_) | Event::AgentOrdered(_))
            | (_, Event::Cluster(_) | Event::Singular(_))
            | (_, Event::Front(_) | Event::BacklogFull | Event::Killed(_) | Event::Error(_)) => {
                Ok(())
            }
        }
    }
}

impl Linearizable {
    fn applied(
        &mut self,
        facts: &Facts,
        index: u64,
        entry: &Entry,
        applied: &Applied,
    ) -> Result<(), String> {
        let mark = effects::mark(entry, applied);
        if index <= self.index {
            return match self.entries.get(&index) {
                Some(first) if first.mark != mark => {
                    Err(format!("two replicas differ in what entry {index} did"))
                }
                Some(_) | None => Ok(()),
            };
        }
        self.index = index;
        if self.table.apply(entry) != *applied {
            return Err(format!("entry {index} did not do what its replay does"));
        }
        for (command, outcome) in entry.commands.iter().zip(&applied.outcomes) {
            let operation = &command.operation;
            if outcome.is_ok() && self.owe(operation, -1) < 0 && !self.repeated(facts, operation) {
                return Err(format!("entry {index} does what nobody may still ask: {operation}"));
            }
        }
        self.entries.insert(index, Effects::new(mark, entry, &applied.outcomes));
        if self.entries.len() > ENTRIES_KEPT {
            self.entries.pop_first();
        }
        Ok(())
    }

    /// Changes how often an operation may yet have an effect, and says what is left.
    fn owe(&mut self, operation: &Operation, change: i64) -> i64 {
        let key = operation.key();
        let owed = self.owed.at(key);
        let place = owed.iter().position(|(other, _)| other == operation).unwrap_or(owed.len());
        if place == owed.len() {
            owed.push((operation.clone(), 0));
        }
        owed[place].1 += change;
        let left = owed[place].1;
        if left == 0 {
            owed.swap_remove(place);
        }
        left
    }

    /// Whether what was done once too often is owed to a repetition that could be proposed when the
    /// last entry was; if so, it is forgiven.
    fn repeated(&mut self, facts: &Facts, operation: &Operation) -> bool {
        let mut repeatable = self.repeatable.values();
        let repeated = repeatable.any(|(deadline, other)| {
            facts.late().until(*deadline) >= facts.clock() && **other == *operation
        });
        if repeated {
            self.owe(operation, 1);
        }
        repeated
    }

    /// Forgets which claims could be proposed again before what was applied last was proposed. They
    /// are nearly in the order of their ends, which is enough for that.
    fn forget(&mut self, facts: &Facts) {
        while let Some((_, (deadline, _))) = self.repeatable.first_key_value()
            && facts.late().until(*deadline) < facts.clock()
        {
            self.repeatable.pop_first();
        }
    }

    fn asked(&mut self, at: Time, serial: u64, operation: &Arc<Operation>, until: Deadline) {
        self.owe(operation, 1);
        if let Operation::Claim { .. } | Operation::Extend { .. } = **operation {
            self.repeatable.insert(serial, (until, Arc::clone(operation)));
        }
        let key = operation.key();
        if self.boxes.len() < BOXES_MAX && !self.boxes.contains(key) {
            self.boxes.insert(key.clone(), BlackBox::new());
        }
        if let Some(lease) = self.boxes.get_mut(key) {
            lease.invoked(at, serial, Operation::clone(operation));
        }
    }

    fn answered(
        &mut self,
        at: Time,
        node: NodeId,
        ask: &Ask,
        answer: &Answer,
        facts: &Facts,
    ) -> Result<(), String> {
        let Some(operation) = &ask.operation else { return Ok(()) };
        let told = match answer {
            Answer::Done { index, done } => Some((*index, Ok(done.clone()))),
            Answer::Refused { refusal: Refusal::Held { .. }, .. } if self.copies_deny => None,
            Answer::Refused { index, refusal } => Some((*index, Err(refusal.clone()))),
            Answer::Released => return Err(format!("{node} released what was no wait")),
            Answer::Overloaded { .. }
            | Answer::NotLeader { .. }
            | Answer::Expired
            | Answer::Cancelled => None,
            Answer::Unknown => return Ok(()),
        };
        if let Some((index, outcome)) = &told {
            self.witnessed(node, ask, operation, *index, outcome)?;
        }
        if !ask.edge {
            return Ok(());
        }
        let outcome = told.map(|(_, outcome)| outcome);
        let outcome = outcome.filter(|outcome| *outcome != Err(Refusal::Void));
        if !matches!(outcome, Some(Ok(_))) {
            self.repeatable.remove(&ask.serial);
            if self.owe(operation, -1) < 0 && !self.repeated(facts, operation) {
                return Err(format!("{node} denies what was done: {operation}: {answer}"));
            }
        }
        let Some(lease) = self.boxes.get_mut(operation.key()) else { return Ok(()) };
        let explained = match &outcome {
            Some(outcome) => {
                // By so much sooner the longest lease is over where the leader's clock is fast.
                let longest = lease.longest();
                let sooner = longest - facts.shrunk(longest);
                lease.returned(at + sooner, ask.serial, outcome)
            }
            None => lease.void(ask.serial),
        };
        if explained || lease.abandoned() {
            return Ok(());
        }
        Err(format!("no order explains the answers about {}", operation.key()))
    }

    /// Compares an answer with the log.
    fn witnessed(
        &self,
        node: NodeId,
        ask: &Ask,
        operation: &Operation,
        index: u64,
        outcome: &Outcome,
    ) -> Result<(), String> {
        if index <= ask.floor {
            let floor = ask.floor;
            return Err(format!(
                "{operation} is said to be entry {index}, but was asked after {floor} was known"
            ));
        }
        let Some(effects) = self.entries.get(&index) else {
            return match self.entries.first_key_value() {
                Some((first, _)) if index < *first => Ok(()),
                Some(_) | None => Err(format!("{node} answered from entry {index}: there is none")),
            };
        };
        if effects.hold(operation, outcome) {
            Ok(())
        } else {
            Err(format!("{node} answered {operation} otherwise than entry {index} did"))
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::controller::Request;
    use portcullis_core::lease::{Command, Done};
    use portcullis_core::{AskId, ConnectionId, GlobalTime};

    use super::*;
    use crate::check::tests::{ONE, Story, TWO};

    fn claim(holder: &str) -> Operation {
        let duration = Duration::from_secs(60);
        Operation::Claim { key: Key::default(), holder: holder.into(), duration }
    }

    fn ask(story: &mut Story, at: u64, serial: u64, holder: &str) {
        let ask = AskId { connection: ConnectionId(2), serial };
        let (request, patience) = (Request::Apply(claim(holder)), Duration::from_secs(5));
        let input = Input::Asked { ask, request, renews: false, patience };
        story.told(at, ONE, input).expect("asking is fine");
    }

    fn apply(story: &mut Story, who: Who, index: u64, holder: &str) -> Result<Applied, String> {
        let now = GlobalTime(1_000);
        let command = Command { operation: claim(holder), void_after: now };
        let entry = Entry { now, commands: [command].into() };
        let applied = Leases::default().apply(&entry);
        story.event(1, who, Event::Applied { index, entry: &entry, applied: &applied })?;
        Ok(applied)
    }

    /// The claim of `a`, done as the entries 5 and 6: when the first is.
    fn done_twice(story: &mut Story, at: u64) -> Result<(), String> {
        let now = GlobalTime(1_000);
        let commands = [Command { operation: claim("a"), void_after: now }].into();
        let (entry, mut leases) = (Entry { now, commands }, Leases::default());
        for index in [5, 6] {
            let applied = leases.apply(&entry);
            let applied = Event::Applied { index, entry: &entry, applied: &applied };
            story.event(at, ONE, applied)?;
        }
        Ok(())
    }

    fn answer(story: &mut Story, serial: u64, answer: Answer) -> Result<(), String> {
        let ask = AskId { connection: ConnectionId(2), serial };
        story.ordered(2, ONE, Output::Answer { ask, answer })
    }

    fn done(index: u64, fence: u64) -> Answer {
        let expiry = GlobalTime(1_000) + Duration::from_secs(60);
        Answer::Done { index, done: Done::Granted { fence, expiry } }
    }

    fn story() -> Story {
        let mut story = Story::new(make, "");
        story.serving(ONE);
        story
    }

    #[test]
    fn an_answer_that_the_log_bears_out_is_fine() {
        let mut story = story();
        ask(&mut story, 0, 1, "a");
        assert!(apply(&mut story, ONE, 5, "a").is_ok());
        assert!(answer(&mut story, 1, done(5, 1)).is_ok());
    }

    #[test]
    fn an_answer_that_the_log_does_not_bear_out_is_caught() {
        let mut story = story();
        ask(&mut story, 0, 1, "a");
        assert!(apply(&mut story, ONE, 5, "a").is_ok());
        assert!(answer(&mut story, 1, done(5, 2)).is_err());
    }

    #[test]
    fn an_answer_from_before_the_ask_is_caught() {
        let mut story = story();
        ask(&mut story, 0, 1, "a");
        assert!(apply(&mut story, ONE, 5, "a").is_ok());
        assert!(answer(&mut story, 1, done(5, 1)).is_ok());
        ask(&mut story, 3, 2, "a");
        assert!(answer(&mut story, 2, done(5, 1)).is_err());
    }

    #[test]
    fn a_claim_that_nobody_made_is_caught() {
        let mut story = story();
        assert!(apply(&mut story, ONE, 5, "a").is_err());
    }

    #[test]
    fn a_claim_may_be_repeated_until_its_deadline() {
        let mut story = story();
        ask(&mut story, 0, 1, "a");
        assert!(done_twice(&mut story, 1).is_ok());
    }

    #[test]
    fn a_repetition_after_the_deadline_is_caught() {
        let mut story = story();
        ask(&mut story, 0, 1, "a");
        assert!(done_twice(&mut story, 7_000).is_err());
    }

    #[test]
    fn a_repetition_from_before_the_deadline_may_be_done_late() {
        let mut story = story();
        ask(&mut story, 0, 1, "a");
        let entry = Entry { now: GlobalTime(1_000), commands: Default::default() };
        let propose = Output::Propose { batch: Default::default(), entry };
        assert!(story.ordered(5_000, ONE, propose).is_ok());
        assert!(done_twice(&mut story, 7_000).is_ok());
    }

    #[test]
    fn an_effect_after_a_definite_no_is_caught() {
        let mut story = story();
        ask(&mut story, 0, 1, "a");
        assert!(answer(&mut story, 1, Answer::Expired).is_ok());
        assert!(apply(&mut story, ONE, 5, "a").is_err());
    }

    #[test]
    fn a_no_after_the_effect_is_caught() {
        let mut story = story();
        ask(&mut story, 0, 1, "a");
        assert!(apply(&mut story, ONE, 5, "a").is_ok());
        assert!(answer(&mut story, 1, Answer::Cancelled).is_err());
    }

    #[test]
    fn replicas_that_differ_are_caught() {
        let mut story = story();
        ask(&mut story, 0, 1, "a");
        assert!(apply(&mut story, ONE, 5, "a").is_ok());
        let entry = Entry { now: GlobalTime(1_000), commands: Default::default() };
        let applied = Applied::default();
        let event = Event::Applied { index: 5, entry: &entry, applied: &applied };
        assert!(story.event(2, TWO, event).is_err());
    }

    #[test]
    fn an_effect_that_the_replay_does_not_have_is_caught() {
        let mut story = story();
        ask(&mut story, 0, 1, "a");
        let now = GlobalTime(1_000);
        let command = Command { operation: claim("a"), void_after: now };
        let entry = Entry { now, commands: [command].into() };
        let outcomes = vec![Ok(Done::Granted { fence: 9, expiry: now })];
        let applied = Applied { outcomes, released: Vec::new() };
        let event = Event::Applied { index: 5, entry: &entry, applied: &applied };
        assert!(story.event(2, ONE, event).is_err());
    }
}
