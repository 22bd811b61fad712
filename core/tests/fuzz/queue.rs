//! The queue in front of the log, with a real table behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use portcullis_core::clock::Anchor;
use portcullis_core::lease::{Command, Entry, Key, Leases, Operation, Refusal};
use portcullis_core::queue::{Answer, Config, Input, OPERATION_BYTES, Output, Queue, size};
use portcullis_core::{AskId, BatchId, GlobalTime, NodeId, Rng, Time};

use crate::world::{Ledger, World, chance, draw_of, draw_operation, draw_patience, next_ask, run};

/// Bytes of every operation that is drawn: `application-leadership`, `m`, `l0` and `x/0`.
const OPERATION: usize = OPERATION_BYTES + 22 + 1 + 2 + 3;

struct Log {
    config: Config,
    ledger: Ledger<AskId>,
    serials: u64,
    leads: bool,
    /// When each ask without an answer was asked, and how patient it is.
    asked: BTreeMap<AskId, (Time, Duration)>,
    batches: BTreeMap<BatchId, Entry>,
    table: Leases,
    index: u64,
    /// Whether the clock has just demanded an entry, and whether one came of it.
    advance: Option<bool>,
}

impl World for Log {
    type Machine = Queue;

    fn new(rng: &mut Rng) -> (Log, Queue) {
        let config = Config {
            waiting_max: rng.below(8) as usize + 1,
            waiting_bytes_max: (rng.below(6) as usize + 2) * OPERATION - rng.below(2) as usize,
            batch_max: rng.below(4) as usize + 1,
            batch_bytes_max: (rng.below(4) as usize + 2) * OPERATION - rng.below(2) as usize,
            renewals_ahead_max: rng.below(5) as u32,
            flights_max: rng.below(3) as usize + 1,
            patience_max: Duration::from_secs(30),
            retry_after: (Duration::from_millis(50), Duration::from_secs(10)),
        };
        let world = Log {
            config: config.clone(),
            ledger: Ledger::new(),
            serials: 0,
            leads: false,
            asked: BTreeMap::new(),
            batches: BTreeMap::new(),
            table: Leases::default(),
            index: 0,
            advance: None,
        };
        (world, Queue::new(config))
    }

    fn draw(&mut self, now: Time, rng: &mut Rng) -> Option<Input> {
        match rng.below(20) {
            0..8 => {
                let ask = next_ask(&mut self.serials, rng);
                let (operation, patience) = (draw_operation(rng), draw_patience(rng));
                self.ledger.owe(ask);
                self.asked.insert(ask, (now, patience.min(self.config.patience_max)));
                Some(Input::Asked { ask, operation, renews: chance(40, rng), patience })
            }
            8..10 => self.ledger.draw(rng).map(|ask| Input::Cancelled { ask }),
            10..12 => {
                self.advance = Some(false);
                Some(Input::Advance)
            }
            12..15 => self.commit(rng),
            15 => {
                let batch = self.landed(rng)?;
                Some(Input::NotProposed { batch, leader: Some(NodeId(2)) })
            }
            16 => self.landed(rng).map(|batch| Input::Lost { batch }),
            17..19 => {
                self.leads = true;
                let anchor = Anchor { local: now, global: self.table.now() };
                Some(Input::Led { anchor })
            }
            _ if chance(30, rng) => {
                self.leads = false;
                Some(Input::Followed { leader: None })
            }
            _ => None,
        }
    }

    fn see(&mut self, now: Time, orders: Vec<Output>) {
        for order in orders {
            match order {
                Output::Propose { batch, entry } => {
                    assert!(self.leads, "a follower proposed");
                    assert!(entry.commands.len() <= self.config.batch_max, "a batch is too large");
                    let bytes: usize = entry.commands.iter().map(|it| size(&it.operation)).sum();
                    assert!(bytes <= self.config.batch_bytes_max, "a batch has too many bytes");
                    for command in &*entry.commands {
                        let patience = command.void_after.since(entry.now);
                        assert!(patience <= self.config.patience_max, "void far too late");
                    }
                    self.advance = self.advance.map(|_| true);
                    assert!(self.batches.insert(batch, entry).is_none(), "{batch} came twice");
                }
                Output::Answer { ask, answer } => self.answered(now, ask, &answer),
            }
        }
    }

    fn check(&self, now: Time, machine: &Queue) {
        assert!(machine.waiting() <= self.config.waiting_max, "too many wait");
        let bytes = machine.waiting_bytes();
        assert!(bytes <= self.config.waiting_bytes_max, "too many bytes wait");
        assert_eq!(bytes, machine.waiting() * OPERATION, "bytes are lost, or found");
        assert!(machine.in_flight() <= self.config.flights_max + 1, "too many fly");
        assert_eq!(machine.in_flight(), self.batches.len());
        assert!(self.leads || machine.waiting() == 0, "nobody waits at a follower");
        for (ask, (asked_at, patience)) in &self.asked {
            assert!(now.since(*asked_at) < *patience, "{ask} is past its deadline");
        }
        let room = machine.in_flight() < self.config.flights_max;
        let flying: usize = self.batches.values().map(|entry| entry.commands.len()).sum();
        let few = machine.waiting() < flying && machine.waiting() < self.config.batch_max;
        assert!(!room || machine.waiting() == 0 || few, "asks wait although there is room");
    }

    fn closing(&mut self) -> Vec<Input> {
        std::mem::take(&mut self.batches).into_keys().map(|batch| Input::Lost { batch }).collect()
    }

    fn settled(&self, machine: &Queue) {
        assert!(self.ledger.is_settled(), "never answered: {:?}", self.ledger.open());
        assert_eq!(machine.waiting(), 0);
    }
}

impl Log {
    fn answered(&mut self, now: Time, ask: AskId, answer: &Answer) {
        self.ledger.answer(ask);
        let (asked_at, patience) = self.asked.remove(&ask).expect("it was owed");
        match answer {
            Answer::Overloaded { retry_after } => {
                let (least, most) = self.config.retry_after;
                assert!((least..=most).contains(retry_after), "come back after {retry_after:?}");
            }
            // The table answers so too, for one that came to it too late.
            Answer::Expired | Answer::Unknown | Answer::Cancelled | Answer::NotLeader { .. } => {}
            Answer::Done { index, .. } | Answer::Refused { index, .. } => {
                assert_eq!(*index, self.index, "answered from another entry");
                assert!(now.since(asked_at) <= patience, "answered past the deadline");
            }
            Answer::Released => panic!("nobody waits for a release here"),
        }
    }

    fn landed(&mut self, rng: &mut Rng) -> Option<BatchId> {
        let flying: BTreeSet<BatchId> = self.batches.keys().copied().collect();
        let batch = draw_of(&flying, rng)?;
        self.batches.remove(&batch);
        Some(batch)
    }

    fn commit(&mut self, rng: &mut Rng) -> Option<Input> {
        let flying: BTreeSet<BatchId> = self.batches.keys().copied().collect();
        let batch = draw_of(&flying, rng)?;
        let entry = self.batches.remove(&batch).expect("it was just seen");
        self.index += 1;
        let outcomes = self.table.apply(&entry).outcomes;
        assert!(self.table.now() >= entry.now, "the clock stands behind an entry");
        Some(Input::Committed { batch, index: self.index, outcomes })
    }
}

#[test]
fn queue() {
    run::<Log>("queue");
}

/// However many renewals come, whatever else waits goes after no more of them than the limit says;
/// and however many claims wait, a renewal goes after no more of them than that leaves.
#[test]
fn neither_lane_starves_the_other() {
    use portcullis_core::Machine;
    for seed in 0..200 {
        let mut rng = portcullis_core::Seed(seed).child("lanes", 0).rng();
        let ahead_max = rng.below(4) as u32 + 1;
        let batch_max = rng.below(5) as usize + 1;
        let (flights_max, renewals_ahead_max) = (1, ahead_max);
        let config = Config { flights_max, batch_max, renewals_ahead_max, ..Config::default() };
        let mut machine = Queue::new(config);
        let (mut orders, mut serials) = (Vec::new(), 0);
        let anchor = Anchor { local: Time(0), global: GlobalTime(0) };
        machine.handle(Time(0), Input::Led { anchor }, &mut orders);
        // The first entry flies at once; from then on both lanes always have somebody waiting.
        let mut ask = |machine: &mut Queue, renews: bool, orders: &mut Vec<Output>| {
            let ask = next_ask(&mut serials, &mut rng);
            let key = Key::new("", "", if renews { "renewed" } else { "other" });
            let (holder, duration) = ("x/0".into(), Duration::from_secs(60));
            let operation = Operation::Claim { key, holder, duration };
            let patience = Duration::from_secs(20);
            machine.handle(Time(0), Input::Asked { ask, operation, renews, patience }, orders);
        };
        let mut went = Vec::new();
        for batch in 1..40 {
            for renews in [true, true, true, true, true, false, false, false] {
                ask(&mut machine, renews, &mut orders);
            }
            let entries = orders.drain(..).filter_map(|order| match order {
                Output::Propose { entry, .. } => Some(entry),
                Output::Answer { .. } => None,
            });
            let commands: Vec<_> = entries.flat_map(|entry| entry.commands.to_vec()).collect();
            let held = Refusal::NotHeld;
            let outcomes = vec![Err(held); commands.len()];
            let renewed = |command: &Command| command.operation.key().lease() == "renewed";
            went.extend(commands.iter().map(renewed));
            let (batch, index) = (BatchId(batch), batch);
            machine.handle(Time(0), Input::Committed { batch, index, outcomes }, &mut orders);
        }
        // The very first went alone; whatever was proposed after it had both lanes to choose from.
        let most = ahead_max as usize;
        for window in went[1..].windows(most + 1) {
            assert!(window.contains(&false), "seed {seed}: a claim starves: {went:?}");
            let claims = window.iter().filter(|renewed| !**renewed).count();
            assert!(claims <= 1, "seed {seed}: renewals wait behind claims: {went:?}");
        }
    }
}

/// However full the queue is, the clock gets its entry at once, with the time of asking.
#[test]
fn an_advance_never_waits_behind_claims() {
    crate::mistakes::choose();
    use portcullis_core::Machine;
    for seed in 0..200 {
        let mut rng = portcullis_core::Seed(seed).child("advance", 0).rng();
        let (mut world, mut machine) = Log::new(&mut rng);
        let mut orders = Vec::new();
        let anchor = Anchor { local: Time(0), global: GlobalTime(0) };
        machine.handle(Time(0), Input::Led { anchor }, &mut orders);
        for serial in 0..rng.below(60) {
            let ask = next_ask(&mut world.serials, &mut rng);
            let (operation, patience) = (draw_operation(&mut rng), Duration::from_secs(20));
            let input = Input::Asked { ask, operation, renews: serial % 3 == 0, patience };
            machine.handle(Time(serial), input, &mut orders);
        }
        orders.clear();
        machine.handle(Time(1_000_000), Input::Advance, &mut orders);
        let proposed = matches!(
            &orders[..],
            [Output::Propose { entry, .. }] if entry.now == GlobalTime(1_000_000)
        );
        assert!(proposed, "seed {seed}: the clock waits: {orders:?}");
    }
}
