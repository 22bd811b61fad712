//! Asks of clients on their way to whoever leads.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_core::backoff;
use portcullis_core::forward::{Config, Forward, Input, Output, budget};
use portcullis_core::lease::{Done, Operation, Refusal};
use portcullis_core::queue::Answer;
use portcullis_core::{AskId, GlobalTime, NodeId, Rng, Seed, Time};

use crate::world::{Ledger, World, chance, draw_of, draw_operation, draw_patience, next_ask, run};

const SELF: NodeId = NodeId(1);

/// What the world knows of one ask.
struct Known {
    operation: Operation,
    asked_at: Time,
    deadline: Time,
    /// Where a try is under way.
    at: Option<NodeId>,
    tries: u64,
    /// Whether the last try never left.
    unsent: bool,
    /// Whether a try may have been made without an answer.
    doubt: bool,
    /// Before when it may not be tried again.
    not_before: Time,
    /// Since when it was recalled from this controller's own queue.
    recalled: bool,
}

struct Cluster {
    config: Config,
    ledger: Ledger<AskId>,
    serials: u64,
    leader: Option<NodeId>,
    asks: BTreeMap<AskId, Known>,
    first_tries: u64,
    retries: u64,
    /// What this controller's own queue has yet to say of a recall.
    own: Option<AskId>,
    /// What was told last, so that answers can be checked against it.
    told: Option<(AskId, Told)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Told {
    Ended(Answer),
    Cancelled,
}

impl World for Cluster {
    type Machine = Forward;

    fn new(rng: &mut Rng) -> (Cluster, Forward) {
        let reserve = rng.below(5) as u32;
        let saved_max = reserve + rng.below(5) as u32;
        let config = Config {
            asks_max: rng.below(6) as usize + 1,
            leaderless_max: Duration::from_millis(rng.below(8_000) + 1),
            deposed_within: Duration::from_millis(rng.below(2_000)),
            budget: budget::Config { share: rng.below(60) as u32, reserve, saved_max },
            backoff: backoff::Config {
                first: Duration::from_millis(rng.below(200) + 1),
                most: Duration::from_secs(2),
                growth: 200,
            },
            ..Config::default()
        };
        let world = Cluster {
            config: config.clone(),
            ledger: Ledger::new(),
            serials: 0,
            leader: None,
            asks: BTreeMap::new(),
            first_tries: 0,
            retries: 0,
            own: None,
            told: None,
        };
        (world, Forward::new(config, SELF, Seed(rng.draw())))
    }

    fn draw(&mut self, now: Time, rng: &mut Rng) -> Option<Input> {
        self.told = None;
        if let Some(ask) = self.own.take() {
            // The queue of this very controller answers a recall at once.
            let answer = [Answer::Cancelled, Answer::Unknown][rng.below(2) as usize].clone();
            self.told = Some((ask, Told::Ended(answer.clone())));
            return Some(Input::Answered { ask, answer });
        }
        match rng.below(12) {
            0..5 => {
                let ask = next_ask(&mut self.serials, rng);
                let (operation, patience) = (draw_operation(rng), draw_patience(rng));
                self.ledger.owe(ask);
                let known = Known {
                    operation: operation.clone(),
                    asked_at: now,
                    deadline: now + patience.min(self.config.patience_max),
                    at: None,
                    tries: 0,
                    unsent: false,
                    doubt: false,
                    not_before: now,
                    recalled: false,
                };
                self.asks.insert(ask, known);
                self.first_tries += 1;
                Some(Input::Asked { ask, operation, renews: chance(30, rng), patience })
            }
            5..9 => self.end_a_try(now, rng),
            9 => {
                self.leader =
                    [None, Some(SELF), Some(NodeId(2)), Some(NodeId(3))][rng.below(4) as usize];
                Some(Input::Led { leader: self.leader })
            }
            _ => {
                let ask = self.ledger.draw(rng)?;
                self.told = Some((ask, Told::Cancelled));
                Some(Input::Cancelled { ask })
            }
        }
    }

    fn see(&mut self, now: Time, orders: Vec<Output>) {
        for order in orders {
            match order {
                Output::Send { ask, to, patience, .. } => {
                    assert_eq!(self.leader, Some(to), "{ask} goes to one that does not lead");
                    let known = self.asks.get_mut(&ask).expect("it has no answer yet");
                    assert!(now + patience <= known.deadline, "{ask} outlives its deadline");
                    assert!(now >= known.not_before, "{ask} comes back before it was asked to");
                    assert_eq!(known.at, None, "{ask} is under way already");
                    known.at = Some(to);
                    // What never left is no try.
                    if !std::mem::take(&mut known.unsent) {
                        known.tries += 1;
                        self.retries += u64::from(known.tries > 1);
                    }
                }
                Output::Recall { ask, to } => self.recalled(now, ask, to),
                Output::Answer { ask, answer } => self.answered(now, ask, &answer),
            }
        }
        let Config { budget, .. } = &self.config;
        let earned = self.first_tries * u64::from(budget.share) / 100;
        let most = u64::from(budget.reserve) + earned;
        assert!(self.retries <= most, "{} retries outrun the budget of {most}", self.retries);
    }

    fn check(&self, now: Time, machine: &Forward) {
        assert!(machine.open() <= self.config.asks_max, "too many are open");
        assert_eq!(machine.open(), self.asks.len());
        let away = self.asks.values().filter(|ask| ask.at.is_some_and(|to| to != SELF));
        assert_eq!(machine.under_way(), away.count());
        let resting = self.asks.values().filter(|ask| ask.at.is_none()).count();
        assert_eq!(machine.resting(), resting);
        assert!(self.asks.values().all(|ask| ask.deadline > now), "a deadline has passed");
    }

    fn closing(&mut self) -> Vec<Input> {
        Vec::new()
    }

    fn settled(&self, machine: &Forward) {
        assert!(self.ledger.is_settled(), "never answered: {:?}", self.ledger.open());
        assert_eq!(machine.resting(), 0);
    }
}

impl Cluster {
    /// Something becomes of a try that is under way.
    fn end_a_try(&mut self, now: Time, rng: &mut Rng) -> Option<Input> {
        let under_way = |(ask, known): (&AskId, &Known)| {
            (known.at.is_some() && !known.recalled).then_some(*ask)
        };
        let ask = draw_of(&self.asks.iter().filter_map(under_way).collect(), rng)?;
        let known = self.asks.get_mut(&ask)?;
        let elsewhere = known.at != Some(SELF);
        known.at = None;
        let retry_after = Duration::from_millis(rng.below(3_000));
        let expiry = GlobalTime(1);
        let answer = match rng.below(8) {
            0 => Answer::Done { index: 1, done: Done::Granted { fence: 1, expiry } },
            1 => Answer::Refused { index: 1, refusal: Refusal::NotHeld },
            2 => Answer::Expired,
            3 => Answer::NotLeader { leader: None },
            4 => {
                known.not_before = now + retry_after;
                Answer::Overloaded { retry_after }
            }
            5 if elsewhere => {
                known.unsent = true;
                self.told = Some((ask, Told::Ended(Answer::NotLeader { leader: None })));
                return Some(Input::NotSent { ask });
            }
            6 if elsewhere => {
                known.doubt = true;
                self.told = Some((ask, Told::Ended(Answer::Unknown)));
                return Some(Input::Lost { ask });
            }
            _ => {
                known.doubt = true;
                Answer::Unknown
            }
        };
        self.told = Some((ask, Told::Ended(answer.clone())));
        Some(Input::Answered { ask, answer })
    }

    fn recalled(&mut self, now: Time, ask: AskId, to: NodeId) {
        let Some(known) = self.asks.get_mut(&ask) else { return };
        assert_eq!(known.at, Some(to), "{ask} was not there");
        if to == SELF && self.told == Some((ask, Told::Cancelled)) {
            known.recalled = true;
            self.own = Some(ask);
            return;
        }
        assert!(self.leader != Some(to), "{ask} is recalled from the one who leads");
        (known.at, known.doubt, known.not_before) = (None, true, now);
    }

    fn answered(&mut self, now: Time, ask: AskId, answer: &Answer) {
        self.ledger.answer(ask);
        let known = self.asks.remove(&ask).expect("it was owed");
        let told = self.told.clone().filter(|(about, _)| *about == ask).map(|(_, told)| told);
        if known.tries == 0 && now == known.asked_at && told != Some(Told::Cancelled) {
            let full = matches!(answer, Answer::Overloaded { .. });
            assert!(full || known.deadline <= now, "{ask}: {answer} at once");
        }
        let ended = match &told {
            Some(Told::Ended(ended)) => Some(ended),
            Some(Told::Cancelled) | None => None,
        };
        match answer {
            Answer::Done { .. } => assert_eq!(Some(answer), ended, "{ask} was not done"),
            _ if known.doubt => assert_eq!(*answer, Answer::Unknown, "{ask} may have been done"),
            Answer::Unknown => {
                let deposed = |at| self.leader != Some(at);
                let over = known.deadline <= now || told.is_some();
                let cut = known.at.is_some_and(|at| over || deposed(at));
                assert!(cut || ended == Some(answer), "{ask} is certain, not unknown");
            }
            Answer::Cancelled => {
                assert!(told == Some(Told::Cancelled) || ended == Some(answer), "{ask}: why?");
            }
            Answer::Refused { .. } | Answer::Expired => assert_eq!(Some(answer), ended),
            // As its last try ended, or because none could be made.
            Answer::Overloaded { .. } | Answer::NotLeader { .. } => {}
            Answer::Released => panic!("nobody waits for a release here"),
        }
        let repeatable =
            matches!(known.operation, Operation::Claim { .. } | Operation::Extend { .. });
        assert!(repeatable || !known.doubt || known.at.is_none() || known.deadline <= now);
    }
}

#[test]
fn forward() {
    run::<Cluster>("forward");
}
