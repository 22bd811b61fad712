//! Readiness against a reckoning of its own.

use std::collections::BTreeMap;

use portcullis_core::readiness::{Config, Input, Output, Readiness};
use portcullis_core::{Name, NodeId, Rng, Time};

use crate::world::{World, chance, run};

const SELF: NodeId = NodeId(1);

struct Surroundings {
    behind_max: u64,
    /// Whether there is an address; none where none is waited for.
    addressed: Option<bool>,
    itself: bool,
    up: BTreeMap<NodeId, bool>,
    leader: Option<NodeId>,
    committed: Option<u64>,
    applied: u64,
    led: bool,
    workers: BTreeMap<Name, bool>,
    /// What the operator was told last.
    told: BTreeMap<Name, bool>,
}

impl World for Surroundings {
    type Machine = Readiness;

    fn new(rng: &mut Rng) -> (Surroundings, Readiness) {
        let behind_max = rng.below(5);
        let address_awaited = chance(50, rng);
        let world = Surroundings {
            behind_max,
            addressed: address_awaited.then_some(false),
            itself: false,
            up: BTreeMap::new(),
            leader: None,
            committed: None,
            applied: 0,
            led: false,
            workers: BTreeMap::new(),
            told: BTreeMap::new(),
        };
        (world, Readiness::new(Config { behind_max, address_awaited }, SELF))
    }

    fn draw(&mut self, _: Time, rng: &mut Rng) -> Option<Input> {
        Some(match rng.below(7) {
            6 => {
                self.addressed = self.addressed.map(|_| true);
                Input::Addressed
            }
            0 => {
                self.itself = chance(80, rng);
                Input::Reached { itself: self.itself }
            }
            1 => {
                let (to, up) = (NodeId(rng.below(3) + 1), chance(80, rng));
                self.up.insert(to, up);
                Input::Linked { to, up }
            }
            2 => {
                self.leader = [None, Some(SELF), Some(NodeId(2))][rng.below(3) as usize];
                self.led |= self.leader == Some(SELF);
                Input::Led { leader: self.leader }
            }
            3 => {
                let index = self.committed.unwrap_or(0).max(self.applied) + rng.below(6);
                self.committed = Some(index);
                Input::Committing { index }
            }
            4 => {
                let most = self.committed.unwrap_or(0).max(self.applied);
                self.applied += rng.below(most - self.applied + 1);
                Input::Applied { index: self.applied }
            }
            _ => {
                let worker = Name::new(["metrics", "store"][rng.below(2) as usize]);
                let stable = chance(90, rng);
                self.workers.insert(worker.clone(), stable);
                Input::Working { worker, stable }
            }
        })
    }

    fn see(&mut self, _: Time, orders: Vec<Output>) {
        for Output::Condition { name, met } in orders {
            let before = self.told.insert(name.clone(), met);
            assert_ne!(before, Some(met), "{name} is told again");
        }
    }

    fn check(&self, _: Time, machine: &Readiness) {
        for condition in machine.conditions() {
            let told = self.told.get(&Name::new(&condition.name)).copied().unwrap_or(false);
            assert_eq!(condition.met, told, "nobody was told of {}", condition.name);
        }
        if machine.ready() {
            let up = |node| self.up.get(&node).copied().unwrap_or(true);
            assert!(self.itself && up(SELF), "not connected to itself");
            assert_ne!(self.addressed, Some(false), "without an address");
            let leader = self.leader.expect("somebody leads");
            assert!(leader == SELF || up(leader), "the leader cannot be reached");
            assert!(self.workers.values().all(|stable| *stable), "a worker is not stable");
            let heard = self.led || self.committed.is_some();
            let behind = self.committed.unwrap_or(0).saturating_sub(self.applied);
            assert!(heard && behind <= self.behind_max, "far behind");
        }
    }

    fn closing(&mut self) -> Vec<Input> {
        let most = self.committed.unwrap_or(0).max(self.applied);
        let workers = self.workers.keys().cloned();
        let workers = workers.map(|worker| Input::Working { worker, stable: true });
        [
            Input::Addressed,
            Input::Reached { itself: true },
            Input::Linked { to: SELF, up: true },
            Input::Led { leader: Some(SELF) },
            Input::Applied { index: most },
        ]
        .into_iter()
        .chain(workers)
        .collect()
    }

    fn settled(&self, machine: &Readiness) {
        assert!(machine.ready(), "all is well, and it is not ready: {:?}", machine.conditions());
    }
}

#[test]
fn readiness() {
    run::<Surroundings>("readiness");
}
