//! Waits for a release, before a copy of the table that lags, catches up and skips.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_core::lease::Key;
use portcullis_core::queue::Answer;
use portcullis_core::waits::{Config, Input, Output, Waits};
use portcullis_core::{AskId, Rng, Time};

use crate::world::{Ledger, World, chance, draw_key, draw_of, next_ask, run};

struct Wait {
    key: Key,
    /// The log entry that the copy must reach before it may tell.
    after: u64,
}

struct Copy {
    config: Config,
    ledger: Ledger<AskId>,
    serials: u64,
    applied: u64,
    answered: u64,
    waits: BTreeMap<AskId, Wait>,
    /// Those of one lease, oldest first.
    rooms: BTreeMap<Key, Vec<AskId>>,
    /// The leases that are held, as the copy has it.
    held: BTreeSet<Key>,
    /// What was looked at, with what was seen at that moment; told at any time later.
    looks: Vec<(AskId, bool)>,
    /// When a lease's waiters were last woken, if some were left.
    woken: BTreeMap<Key, Time>,
    /// Since when a lease is free, nothing is being looked at, and somebody may be told.
    owed_since: BTreeMap<Key, Time>,
    cancelled: Option<AskId>,
    looked: Option<(AskId, bool)>,
}

impl World for Copy {
    type Machine = Waits;

    fn new(rng: &mut Rng) -> (Copy, Waits) {
        let waits_max = rng.below(12) as usize + 1;
        let wakes_max = rng.below(3) as usize + 1;
        let config = Config { waits_max, wakes_max, ..Config::default() };
        let world = Copy {
            config: config.clone(),
            ledger: Ledger::new(),
            serials: 0,
            applied: 0,
            answered: 0,
            waits: BTreeMap::new(),
            rooms: BTreeMap::new(),
            held: (0..20).map(|_| draw_key(rng)).collect(),
            looks: Vec::new(),
            woken: BTreeMap::new(),
            owed_since: BTreeMap::new(),
            cancelled: None,
            looked: None,
        };
        (world, Waits::new(config))
    }

    fn draw(&mut self, now: Time, rng: &mut Rng) -> Option<Input> {
        (self.cancelled, self.looked) = (None, None);
        let input = match rng.below(12) {
            0..5 => {
                let (ask, key) = (next_ask(&mut self.serials, rng), draw_key(rng));
                self.ledger.owe(ask);
                self.rooms.entry(key.clone()).or_default().push(ask);
                self.waits.insert(ask, Wait { key: key.clone(), after: self.answered });
                Some(Input::Waited { ask, key })
            }
            5 => {
                self.cancelled = self.ledger.draw(rng);
                self.cancelled.map(|ask| Input::Cancelled { ask })
            }
            6..9 => self.tell_a_look(rng),
            9..11 => {
                self.applied += 1;
                Some(Input::Applied { index: self.applied, released: self.change(rng) })
            }
            _ if chance(20, rng) => {
                self.applied += rng.below(6);
                self.change(rng);
                Some(Input::Restored { index: self.applied })
            }
            _ => {
                self.answered = self.answered.max(self.applied + rng.below(4));
                Some(Input::Answered { index: self.answered })
            }
        };
        self.note_debts(now);
        input
    }

    fn see(&mut self, now: Time, orders: Vec<Output>) {
        let mut woken: BTreeMap<Key, usize> = BTreeMap::new();
        for order in orders {
            match order {
                Output::Look { ask, key } => {
                    let wait = &self.waits[&ask];
                    assert_eq!(wait.key, key);
                    assert!(wait.after <= self.applied, "{ask} looks at a copy that lags");
                    self.looks.push((ask, self.held.contains(&key)));
                }
                Output::Answer { ask, answer } => {
                    self.ledger.answer(ask);
                    let wait = self.waits.remove(&ask).expect("it was owed");
                    let room = self.rooms.get_mut(&wait.key).expect("it waits there");
                    let place = room.iter().position(|other| *other == ask).expect("it does");
                    room.remove(place);
                    match answer {
                        Answer::Released => {
                            assert_eq!(place, 0, "{ask} is woken before an older one");
                            assert!(wait.after <= self.applied, "{ask} is told by a lagging copy");
                            *woken.entry(wait.key).or_default() += 1;
                        }
                        Answer::Cancelled => assert_eq!(self.cancelled, Some(ask)),
                        other => assert!(matches!(other, Answer::Overloaded { .. }), "{other}"),
                    }
                }
            }
        }
        for (key, count) in woken {
            assert!(matches!(self.looked, Some((_, false))), "nobody saw that {key} is free");
            assert!(count <= self.config.wakes_max, "{count} are woken at once");
            if let Some(before) = self.woken.insert(key, now) {
                assert!(now.since(before) >= self.config.wake_gap, "the gap was not kept");
            }
        }
        let rooms = &self.rooms;
        self.woken.retain(|key, _| rooms.get(key).is_some_and(|room| !room.is_empty()));
        self.note_debts(now);
    }

    fn check(&self, now: Time, machine: &Waits) {
        assert!(machine.parked() <= self.config.waits_max, "too many wait");
        assert_eq!(machine.parked(), self.waits.len());
        for (key, since) in &self.owed_since {
            let waited = now.since(*since);
            // The runner is late by up to eight tenths of a second.
            let most = self.config.wake_gap + std::time::Duration::from_secs(1);
            assert!(waited <= most, "nobody looks at {key}: a wake-up is lost");
        }
    }

    fn closing(&mut self) -> Vec<Input> {
        // What was seen is told, the copy catches up, and everything is free and stays so.
        let looked = |(ask, held)| Input::Looked { ask, held };
        let mut inputs: Vec<Input> = self.looks.drain(..).map(looked).collect();
        self.applied = self.applied.max(self.answered) + 1;
        self.held.clear();
        inputs.push(Input::Restored { index: self.applied });
        self.looked = Some((AskId::default(), false));
        inputs
    }

    fn settled(&self, machine: &Waits) {
        // Nobody tells the looks of the end, so those who were looked at wait on.
        assert_eq!(machine.parked(), self.ledger.open().len());
    }
}

impl Copy {
    /// Some leases are granted and some released; says which were released.
    fn change(&mut self, rng: &mut Rng) -> Vec<Key> {
        let mut released = Vec::new();
        for _ in 0..rng.below(4) {
            let key = draw_key(rng);
            if self.held.remove(&key) {
                released.push(key);
            } else {
                self.held.insert(key);
            }
        }
        released
    }

    fn tell_a_look(&mut self, rng: &mut Rng) -> Option<Input> {
        let places: BTreeSet<usize> = (0..self.looks.len()).collect();
        let (ask, held) = self.looks.remove(draw_of(&places, rng)?);
        self.looked = Some((ask, held));
        Some(Input::Looked { ask, held })
    }

    /// A lease that is free, with somebody whom the copy may tell so, must be looked at, or be
    /// within a gap.
    fn note_debts(&mut self, now: Time) {
        let Copy { waits, rooms, held, looks, owed_since, applied, .. } = self;
        for (key, room) in rooms {
            let judged = room.first().is_some_and(|ask| waits[ask].after <= *applied);
            let looked_at = looks.iter().any(|(ask, _)| room.contains(ask));
            if judged && !looked_at && !held.contains(key) {
                owed_since.entry(key.clone()).or_insert(now);
            } else {
                owed_since.remove(key);
            }
        }
    }
}

#[test]
fn waits() {
    run::<Copy>("waits");
}

/// Whoever waits for a lease that stays free is woken, the oldest first, a few at a time.
#[test]
fn a_lease_that_stays_free_wakes_everybody_in_time() {
    crate::mistakes::choose();
    use portcullis_core::Machine;
    for seed in 0..100 {
        let mut rng = portcullis_core::Seed(seed).child("wakes", 0).rng();
        let many = rng.below(30) + 1;
        let config = Config { wakes_max: rng.below(4) as usize + 1, ..Config::default() };
        let rounds = (many as usize).div_ceil(config.wakes_max) as u32;
        let (gap, mut machine) = (config.wake_gap, Waits::new(config));
        let (mut serials, mut asks, mut now) = (0, Vec::new(), Time(0));
        let key = draw_key(&mut rng);
        let mut looks = Vec::new();
        for _ in 0..many {
            let ask = next_ask(&mut serials, &mut rng);
            asks.push(ask);
            machine.handle(now, Input::Waited { ask, key: key.clone() }, &mut looks);
        }
        for ask in &asks {
            machine.handle(now, Input::Looked { ask: *ask, held: true }, &mut looks);
        }
        let (mut orders, mut woken) = (Vec::new(), Vec::new());
        let released = vec![key.clone()];
        machine.handle(now, Input::Applied { index: 1, released }, &mut orders);
        loop {
            while let Some(order) = orders.pop() {
                match order {
                    Output::Look { ask, .. } => {
                        let mut more = Vec::new();
                        machine.handle(now, Input::Looked { ask, held: false }, &mut more);
                        more.reverse();
                        orders.extend(more);
                    }
                    Output::Answer { ask, .. } => woken.push(ask),
                }
            }
            let Some(due) = machine.poll_timeout() else { break };
            now = due.at;
            assert!(now.since(Time(0)) <= gap * rounds, "seed {seed}: somebody is never woken");
            machine.handle_timeout(now, &mut orders);
        }
        assert_eq!(woken, asks, "seed {seed}: not all, or not the oldest first");
        assert_eq!(now.since(Time(0)), gap * (rounds - 1), "seed {seed}: not in time");
    }
}
