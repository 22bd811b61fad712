//! The lease table against a naive reference that keeps everything in plain lists.
//!
//! The reference is written from the documentation of [`portcullis_core::lease`], and does by
//! searching what the table does by indices. Both are fed the same drawn entries, clock jumps
//! backwards and voids included, and must agree on every outcome, every release and the contents.

#[path = "mistakes/mod.rs"]
mod mistakes;

use std::sync::Arc;
use std::time::Duration;

use portcullis_core::lease::{
    Applied, Command, Done, Entry, Key, Lease, Leases, Operation, Outcome, Refusal,
};
use portcullis_core::{GlobalTime, Rng, Seed};

const SEEDS: u64 = 1_000;
const ENTRIES: u64 = 60;

#[derive(Default)]
struct Reference {
    now: GlobalTime,
    fences: u64,
    leases: Vec<(Key, Lease)>,
    pins: Vec<(Key, Arc<str>)>,
}

impl Reference {
    fn apply(&mut self, entry: &Entry) -> Applied {
        if entry.now > self.now {
            self.now = entry.now;
        }
        let mut released = self.expired();
        let mut outcomes = Vec::new();
        for command in &*entry.commands {
            if command.void_after < self.now {
                outcomes.push(Err(Refusal::Void));
            } else {
                outcomes.push(self.perform(&command.operation, &mut released));
            }
        }
        Applied { outcomes, released }
    }

    fn pinned(&self, key: &Key) -> bool {
        self.pins.iter().any(|(pinned, _)| pinned == key)
    }

    fn expired(&mut self) -> Vec<Key> {
        let (now, before) = (self.now, std::mem::take(&mut self.leases));
        let mut gone = Vec::new();
        for (key, lease) in before {
            if now >= lease.expiry && !self.pinned(&key) {
                gone.push((lease.expiry, lease.fence, key));
            } else {
                self.leases.push((key, lease));
            }
        }
        gone.sort();
        gone.into_iter().map(|(_, _, key)| key).collect()
    }

    fn held(&mut self, key: &Key) -> Option<&mut Lease> {
        self.leases.iter_mut().find(|(held, _)| held == key).map(|(_, lease)| lease)
    }

    fn perform(&mut self, operation: &Operation, released: &mut Vec<Key>) -> Outcome {
        let now = self.now;
        match operation {
            Operation::Claim { key, holder, duration } => {
                if let Some(lease) = self.held(key) {
                    if lease.holder != *holder {
                        let (holder, expiry) = (lease.holder.clone(), lease.expiry);
                        return Err(Refusal::Held { holder, expiry });
                    }
                    return Ok(hold_on(lease, now, *duration));
                }
                self.fences += 1;
                let (fence, expiry) = (self.fences, now + *duration);
                let lease = Lease { holder: holder.clone(), start: now, expiry, fence };
                self.leases.push((key.clone(), lease));
                Ok(Done::Granted { fence, expiry })
            }
            Operation::Extend { key, holder, duration } => match self.held(key) {
                Some(lease) if lease.holder == *holder => Ok(hold_on(lease, now, *duration)),
                Some(_) | None => Err(Refusal::NotHeld),
            },
            Operation::Revoke { key, holder } => match self.held(key) {
                Some(lease) if lease.holder == *holder => {
                    self.leases.retain(|(held, _)| held != key);
                    released.push(key.clone());
                    Ok(Done::Revoked)
                }
                Some(_) | None => Err(Refusal::NotHeld),
            },
            Operation::Pin { key, entity } => {
                self.pins.retain(|pin| *pin != (key.clone(), entity.clone()));
                self.pins.push((key.clone(), entity.clone()));
                Ok(Done::Pinned)
            }
            Operation::Unpin { key, entity } => {
                self.pins.retain(|pin| *pin != (key.clone(), entity.clone()));
                Ok(Done::Unpinned)
            }
        }
    }
}

fn hold_on(lease: &mut Lease, now: GlobalTime, duration: Duration) -> Done {
    if now + duration > lease.expiry {
        lease.start = now;
        lease.expiry = now + duration;
    }
    Done::Granted { fence: lease.fence, expiry: lease.expiry }
}

fn draw_operation(rng: &mut Rng) -> Operation {
    let namespace = ["application-leadership", "singular-controller"][rng.below(2) as usize];
    let key = Key::new(namespace, &format!("m{}", rng.below(2)), &format!("l{}", rng.below(3)));
    let who = format!("x/{}", rng.below(3)).into();
    let duration = Duration::from_secs(rng.below(8));
    match rng.below(10) {
        0..4 => Operation::Claim { key, holder: who, duration },
        4..6 => Operation::Extend { key, holder: who, duration },
        6 => Operation::Revoke { key, holder: who },
        7 => Operation::Pin { key, entity: who },
        _ => Operation::Unpin { key, entity: who },
    }
}

fn draw_entry(rng: &mut Rng, clock: &mut u64) -> Entry {
    *clock += rng.below(3) * 1_000_000 + rng.below(2) * rng.below(1_000_000);
    let behind = if rng.below(5) == 0 { rng.below(10_000_000) } else { 0 };
    let now = GlobalTime(clock.saturating_sub(behind));
    let commands = (0..rng.below(6))
        .map(|_| Command {
            operation: draw_operation(rng),
            void_after: GlobalTime((now.0 + rng.below(6_000_000)).saturating_sub(500_000)),
        })
        .collect();
    Entry { now, commands }
}

fn compare(table: &Leases, reference: &Reference) {
    let mut leases = reference.leases.clone();
    leases.sort_by(|one, other| one.0.cmp(&other.0));
    let held: Vec<_> = table.iter().map(|(key, lease)| (key.clone(), lease.clone())).collect();
    assert_eq!(held, leases);
    assert_eq!(table.len(), leases.len());
    assert_eq!(table.is_empty(), leases.is_empty());
    assert_eq!(table.now(), reference.now);
    for (key, lease) in &leases {
        assert_eq!(table.get(key), Some(lease));
        assert_eq!(table.pinned(key), reference.pinned(key));
    }
    let of = |key: &Key| reference.pins.iter().filter(|(pinned, _)| pinned == key).count();
    let most = reference.pins.iter().map(|(key, _)| of(key)).max();
    assert_eq!(table.pins_most(), most.unwrap_or_default());
    let snapshot = table.snapshot();
    let mut pins: Vec<_> = reference.pins.clone();
    pins.sort();
    let flat = |(key, entities): &(Key, Vec<Arc<str>>)| {
        entities.iter().map(|entity| (key.clone(), entity.clone())).collect::<Vec<_>>()
    };
    assert_eq!(snapshot.pins.iter().flat_map(flat).collect::<Vec<_>>(), pins);
    assert_eq!(snapshot.fence, reference.fences);
}

#[test]
fn every_mistake_is_caught() {
    mistakes::all_are_caught("lease_model");
}

#[test]
fn the_table_agrees_with_the_reference() {
    mistakes::choose();
    let mut seen = [0_u64; 6];
    for seed in 0..SEEDS {
        let mut rng = Seed(seed).child("lease entries", 0).rng();
        let (mut table, mut reference) = (Leases::default(), Reference::default());
        let mut clock = 0;
        for turn in 0..ENTRIES {
            let entry = draw_entry(&mut rng, &mut clock);
            let applied = table.apply(&entry);
            assert_eq!(applied, reference.apply(&entry), "seed {seed}, entry {turn}: {entry:?}");
            compare(&table, &reference);
            count(&applied, &mut seen);
            if rng.below(8) == 0 {
                let restored = Leases::restore(table.snapshot());
                assert_eq!(restored, table, "seed {seed}, entry {turn}: a snapshot lost something");
                table = restored;
            }
        }
    }
    assert!(seen.iter().all(|count| *count > 100), "the draws are too tame: {seen:?}");
}

/// Grants, held, not held, void, released, everything else.
fn count(applied: &Applied, seen: &mut [u64; 6]) {
    seen[4] += applied.released.len() as u64;
    for outcome in &applied.outcomes {
        let place = match outcome {
            Ok(Done::Granted { .. }) => 0,
            Err(Refusal::Held { .. }) => 1,
            Err(Refusal::NotHeld) => 2,
            Err(Refusal::Void) => 3,
            Ok(Done::Revoked | Done::Pinned | Done::Unpinned) => 5,
            Err(Refusal::Full) => panic!("nothing is full here"),
        };
        seen[place] += 1;
    }
}

/// At no time do two hold one lease, fences only grow, and nobody loses a lease before its expiry.
#[test]
fn a_grant_stands_until_its_expiry() {
    for seed in 0..SEEDS {
        let mut rng = Seed(seed).child("lease grants", 0).rng();
        let mut table = Leases::default();
        let mut clock = 0;
        let mut promised: Vec<(Key, Arc<str>, GlobalTime, u64)> = Vec::new();
        for _ in 0..ENTRIES {
            let entry = draw_entry(&mut rng, &mut clock);
            let applied = table.apply(&entry);
            for (command, outcome) in entry.commands.iter().zip(&applied.outcomes) {
                let key = command.operation.key();
                match (&command.operation, outcome) {
                    (
                        Operation::Claim { holder, .. } | Operation::Extend { holder, .. },
                        Ok(Done::Granted { fence, expiry }),
                    ) => {
                        if let Some((_, other, until, before)) =
                            promised.iter().find(|(promised, ..)| promised == key)
                        {
                            assert!(other == holder || *until <= table.now(), "two holders");
                            assert!(other == holder || fence > before, "a fence stood still");
                            assert!(fence >= before, "a fence fell");
                            assert!(fence > before || expiry >= until, "a grant was shortened");
                        }
                        promised.retain(|(promised, ..)| promised != key);
                        promised.push((key.clone(), holder.clone(), *expiry, *fence));
                    }
                    (Operation::Revoke { .. }, Ok(_)) => {
                        for promise in promised.iter_mut().filter(|(promise, ..)| promise == key) {
                            promise.2 = GlobalTime(0);
                        }
                    }
                    (_, Ok(_) | Err(_)) => {}
                }
            }
            for (key, holder, until, _) in &promised {
                let held = table.get(key).is_some_and(|lease| lease.holder == *holder);
                assert!(
                    held || *until <= table.now(),
                    "seed {seed}: {key} was taken from {holder}"
                );
            }
        }
    }
}
