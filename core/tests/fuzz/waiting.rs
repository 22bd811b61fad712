//! Asks that were handed on, and waits for a release.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_core::forward::{self, Forward};
use portcullis_core::lease::Key;
use portcullis_core::queue::Answer;
use portcullis_core::waits::{self, Waits};
use portcullis_core::{AskId, NodeId, Rng, Time};

use crate::world::{
    Ledger, World, chance, draw_key, draw_of, draw_operation, draw_patience, next_ask, run,
};

struct Leader {
    config: forward::Config,
    ledger: Ledger<AskId>,
    serials: u64,
    sent: BTreeSet<AskId>,
    under_way: BTreeMap<AskId, Time>,
}

impl World for Leader {
    type Machine = Forward;

    fn new(rng: &mut Rng) -> (Leader, Forward) {
        let config =
            forward::Config { asks_max: rng.below(6) as usize + 1, ..forward::Config::default() };
        let world = Leader {
            config: config.clone(),
            ledger: Ledger::new(),
            serials: 0,
            sent: BTreeSet::new(),
            under_way: BTreeMap::new(),
        };
        (world, Forward::new(config))
    }

    fn draw(&mut self, now: Time, rng: &mut Rng) -> Option<forward::Input> {
        let any = self.ledger.draw(rng);
        match rng.below(10) {
            0..5 => {
                let ask = next_ask(&mut self.serials, rng);
                let (operation, patience) = (draw_operation(rng), draw_patience(rng));
                self.ledger.owe(ask);
                self.under_way.insert(ask, now + patience.min(self.config.patience_max));
                let leader = NodeId(rng.below(3) + 1);
                Some(forward::Input::Asked { ask, operation, patience, leader })
            }
            5..7 => any.map(|ask| forward::Input::Answered { ask, answer: Answer::Expired }),
            7 => any.map(|ask| forward::Input::NotSent { ask }),
            8 => any.map(|ask| forward::Input::Lost { ask }),
            _ => any.map(|ask| forward::Input::Cancelled { ask }),
        }
    }

    fn see(&mut self, _: Time, orders: Vec<forward::Output>) {
        for order in orders {
            match order {
                forward::Output::Send { ask, patience, .. } => {
                    assert!(patience <= self.config.patience_max);
                    assert!(self.sent.insert(ask), "{ask} was sent twice");
                }
                forward::Output::Recall { ask, .. } => {
                    assert!(self.sent.contains(&ask), "{ask} was never sent");
                    assert!(!self.under_way.contains_key(&ask), "{ask} is still wanted");
                }
                forward::Output::Answer { ask, answer } => {
                    self.ledger.answer(ask);
                    self.under_way.remove(&ask);
                    let overloaded = matches!(answer, Answer::Overloaded { .. });
                    assert_eq!(overloaded, !self.sent.contains(&ask), "{ask}: {answer}");
                }
            }
        }
    }

    fn check(&self, now: Time, machine: &Forward) {
        assert!(machine.under_way() <= self.config.asks_max, "too many are under way");
        assert_eq!(machine.under_way(), self.under_way.len());
        assert!(self.under_way.values().all(|deadline| *deadline > now), "a deadline has passed");
    }

    fn closing(&mut self) -> Vec<forward::Input> {
        Vec::new()
    }

    fn settled(&self, _: &Forward) {
        assert!(self.ledger.is_settled(), "never answered: {:?}", self.ledger.open());
    }
}

#[test]
fn forward() {
    run::<Leader>("forward");
}

struct Copy {
    config: waits::Config,
    ledger: Ledger<AskId>,
    serials: u64,
    applied: u64,
    answered: u64,
    /// Each wait's lease, and the log entry that the copy must reach before it may tell.
    waits: BTreeMap<AskId, (Key, u64)>,
    looks: BTreeSet<AskId>,
    /// What is told next, so that orders can be checked against it.
    released: Vec<Key>,
    free: Option<AskId>,
    cancelled: Option<AskId>,
}

impl World for Copy {
    type Machine = Waits;

    fn new(rng: &mut Rng) -> (Copy, Waits) {
        let waits_max = rng.below(8) as usize + 1;
        let config = waits::Config { waits_max, ..waits::Config::default() };
        let world = Copy {
            config: config.clone(),
            ledger: Ledger::new(),
            serials: 0,
            applied: 0,
            answered: 0,
            waits: BTreeMap::new(),
            looks: BTreeSet::new(),
            released: Vec::new(),
            free: None,
            cancelled: None,
        };
        (world, Waits::new(config))
    }

    fn draw(&mut self, _: Time, rng: &mut Rng) -> Option<waits::Input> {
        (self.released, self.free, self.cancelled) = (Vec::new(), None, None);
        match rng.below(10) {
            0..4 => {
                let (ask, key) = (next_ask(&mut self.serials, rng), draw_key(rng));
                self.ledger.owe(ask);
                self.waits.insert(ask, (key.clone(), self.answered));
                Some(waits::Input::Waited { ask, key })
            }
            4 => {
                self.cancelled = self.ledger.draw(rng);
                self.cancelled.map(|ask| waits::Input::Cancelled { ask })
            }
            5..7 => {
                let ask = draw_of(&self.looks, rng)?;
                self.looks.remove(&ask);
                let held = chance(70, rng);
                self.free = (!held).then_some(ask);
                Some(waits::Input::Looked { ask, held })
            }
            7..9 => {
                self.applied += 1;
                self.released = (0..rng.below(3)).map(|_| draw_key(rng)).collect();
                let released = self.released.clone();
                Some(waits::Input::Applied { index: self.applied, released })
            }
            _ if chance(20, rng) => {
                self.applied += rng.below(6);
                Some(waits::Input::Restored { index: self.applied })
            }
            _ => {
                self.answered = self.answered.max(self.applied + rng.below(4));
                Some(waits::Input::Answered { index: self.answered })
            }
        }
    }

    fn see(&mut self, _: Time, orders: Vec<waits::Output>) {
        for order in orders {
            match order {
                waits::Output::Look { ask, key } => {
                    let (wanted, after) = &self.waits[&ask];
                    assert_eq!(*wanted, key);
                    assert!(*after <= self.applied, "{ask} looks at a copy that lags");
                    self.looks.insert(ask);
                }
                waits::Output::Answer { ask, answer } => {
                    self.ledger.answer(ask);
                    let (key, after) = self.waits.remove(&ask).expect("it was owed");
                    match answer {
                        Answer::Released => {
                            let applied = self.released.contains(&key) && after < self.applied;
                            assert!(applied || self.free == Some(ask), "{ask}: it is not free");
                        }
                        Answer::Cancelled => assert_eq!(self.cancelled, Some(ask)),
                        other => assert!(matches!(other, Answer::Overloaded { .. }), "{other}"),
                    }
                }
            }
        }
    }

    fn check(&self, _: Time, machine: &Waits) {
        assert!(machine.parked() <= self.config.waits_max, "too many wait");
        assert_eq!(machine.parked(), self.waits.len());
        let overlooked = |(ask, (key, after)): (&AskId, &(Key, u64))| {
            self.released.contains(key) && *after < self.applied && !self.looks.contains(ask)
        };
        assert!(!self.waits.iter().any(overlooked), "a release was missed");
    }

    fn closing(&mut self) -> Vec<waits::Input> {
        // A copy that has caught up is looked at by everybody, and everything is free.
        self.answered = self.answered.max(self.applied);
        self.applied = self.answered;
        let mut inputs = vec![waits::Input::Restored { index: self.applied }];
        let open = self.ledger.open();
        self.released = open.iter().map(|ask| self.waits[ask].0.clone()).collect();
        self.applied += 1;
        inputs.push(waits::Input::Applied { index: self.applied, released: self.released.clone() });
        inputs
    }

    fn settled(&self, machine: &Waits) {
        assert!(self.ledger.is_settled(), "never answered: {:?}", self.ledger.open());
        assert_eq!(machine.parked(), 0);
    }
}

#[test]
fn waits() {
    run::<Copy>("waits");
}
