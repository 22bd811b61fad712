//! The runner, and what the worlds share.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use portcullis_core::lease::{Key, Operation};
use portcullis_core::{AskId, ConnectionId, Machine, Rng, Seed, Time};

use crate::mistakes::choose;

/// Worlds drawn for each machine.
const SEEDS: u64 = 150;
/// Inputs told in each.
const STEPS: u64 = 200;
/// Timeouts at one instant after which a machine counts as spinning.
const TIMEOUTS_AT_ONCE_MAX: u32 = 300;

/// What surrounds one machine: it draws what happens, and checks what is ordered.
pub trait World: Sized {
    type Machine: Machine<Input: Clone + Debug, Output: Debug + PartialEq> + Clone + Debug;

    /// A fresh machine with small limits, and its world.
    fn new(rng: &mut Rng) -> (Self, Self::Machine);

    /// Something that may happen, or nothing.
    fn draw(&mut self, now: Time, rng: &mut Rng) -> Option<<Self::Machine as Machine>::Input>;

    /// Takes note of the orders that an input, or a timeout, has brought.
    fn see(&mut self, now: Time, orders: Vec<<Self::Machine as Machine>::Output>);

    /// Checks the machine after each step, with everything due already fired.
    fn check(&self, now: Time, machine: &Self::Machine);

    /// What happens at the very end, so that nothing stays open.
    fn closing(&mut self) -> Vec<<Self::Machine as Machine>::Input>;

    /// Checks that nothing is owed any more, an hour after the last input.
    fn settled(&self, machine: &Self::Machine);
}

/// Puts many worlds of one kind through their steps.
pub fn run<W: World>(name: &str) {
    choose();
    for seed in 0..SEEDS {
        let mut rng = Seed(seed).child(name, 0).rng();
        let (world, machine) = W::new(&mut rng);
        let mut run = Run { world, twin: machine.clone(), machine, now: Time(0), seed };
        for step in 0..STEPS {
            let idle = Duration::from_micros(draw_idle(&mut rng));
            run.sleep(idle, &mut rng);
            run.world.check(run.now, &run.machine);
            if let Some(input) = run.world.draw(run.now, &mut rng) {
                run.tell(input);
            }
            run.disturb(step % 8 == 0);
            run.world.check(run.now, &run.machine);
        }
        for input in run.world.closing() {
            run.tell(input);
        }
        run.sleep(Duration::from_secs(3_600), &mut rng);
        run.world.settled(&run.machine);
        let (machine, twin) = (format!("{:?}", run.machine), format!("{:?}", run.twin));
        assert_eq!(machine, twin, "seed {seed}: a clone went its own way");
    }
}

/// Mostly nothing, then moments, then seconds, at times minutes.
fn draw_idle(rng: &mut Rng) -> u64 {
    match rng.below(8) {
        0..4 => 0,
        4..6 => rng.below(300_000),
        6 => rng.below(5_000_000),
        _ => rng.below(90_000_000),
    }
}

struct Run<W: World> {
    world: W,
    machine: W::Machine,
    /// A clone that is told the same, and must order the same.
    twin: W::Machine,
    now: Time,
    seed: u64,
}

impl<W: World> Run<W> {
    fn tell(&mut self, input: <W::Machine as Machine>::Input) {
        let (mut orders, mut twins) = (Vec::new(), Vec::new());
        self.machine.handle(self.now, input.clone(), &mut orders);
        self.twin.handle(self.now, input, &mut twins);
        assert_eq!(orders, twins, "seed {}: a clone ordered otherwise", self.seed);
        self.world.see(self.now, orders);
        self.fire();
    }

    /// Fires whatever is due, as long as there is any.
    fn fire(&mut self) {
        let mut fired = 0;
        while self.machine.poll_timeout().is_some_and(|due| due.at <= self.now) {
            fired += 1;
            assert!(fired < TIMEOUTS_AT_ONCE_MAX, "seed {}: spins at {}", self.seed, self.now);
            let (mut orders, mut twins) = (Vec::new(), Vec::new());
            self.machine.handle_timeout(self.now, &mut orders);
            self.twin.handle_timeout(self.now, &mut twins);
            assert_eq!(orders, twins, "seed {}: a clone ordered otherwise", self.seed);
            self.world.see(self.now, orders);
        }
    }

    /// Lets time pass; at times late, as a busy shell would be, so that several timeouts are due.
    fn sleep(&mut self, idle: Duration, rng: &mut Rng) {
        let end = self.now + idle;
        while let Some(due) = self.machine.poll_timeout().filter(|due| due.at <= end) {
            let late = Duration::from_micros(rng.below(3) * rng.below(400_000));
            self.now = self.now.max(due.at + late).min(end.max(due.at));
            self.fire();
            self.world.check(self.now, &self.machine);
        }
        self.now = self.now.max(end);
        self.fire();
    }

    /// Early and repeated calls of `handle_timeout` order nothing and change nothing.
    fn disturb(&mut self, thorough: bool) {
        let due = self.machine.poll_timeout();
        assert_eq!(due, self.machine.poll_timeout(), "asking for the timeout changed it");
        assert!(due.is_none_or(|due| due.at > self.now), "everything due has fired");
        let mut probe = self.machine.clone();
        let mut orders = Vec::new();
        probe.handle_timeout(self.now, &mut orders);
        probe.handle_timeout(self.now, &mut orders);
        assert_eq!(orders, Vec::new(), "seed {}: an early timeout ordered something", self.seed);
        if thorough {
            let (before, after) = (format!("{:?}", self.machine), format!("{probe:?}"));
            assert_eq!(before, after, "seed {}: an early timeout left a trace", self.seed);
        }
    }
}

/// What is owed: each thing once, and to those alone who asked.
#[derive(Debug)]
pub struct Ledger<K> {
    open: BTreeSet<K>,
    asked: BTreeSet<K>,
}

impl<K: Ord + Copy + Debug> Ledger<K> {
    pub fn new() -> Ledger<K> {
        Ledger { open: BTreeSet::new(), asked: BTreeSet::new() }
    }

    pub fn owe(&mut self, name: K) {
        assert!(self.asked.insert(name), "the world used {name:?} twice");
        self.open.insert(name);
    }

    pub fn answer(&mut self, name: K) {
        assert!(self.open.remove(&name), "{name:?} was answered twice, or never asked");
    }

    pub fn open(&self) -> Vec<K> {
        self.open.iter().copied().collect()
    }

    pub fn is_settled(&self) -> bool {
        self.open.is_empty()
    }

    /// One of those asked so far, whether open or not.
    pub fn draw(&self, rng: &mut Rng) -> Option<K> {
        draw_of(&self.asked, rng)
    }
}

/// One of a set, or nothing if it is empty.
pub fn draw_of<K: Ord + Copy>(set: &BTreeSet<K>, rng: &mut Rng) -> Option<K> {
    let place = rng.below(set.len().max(1) as u64) as usize;
    set.iter().nth(place).copied()
}

pub fn chance(percent: u64, rng: &mut Rng) -> bool {
    rng.below(100) < percent
}

pub fn draw_key(rng: &mut Rng) -> Key {
    let lease = format!("l{}", rng.below(3));
    Key::new("application-leadership", "m", &lease)
}

pub fn draw_operation(rng: &mut Rng) -> Operation {
    let (key, holder) = (draw_key(rng), format!("x/{}", rng.below(3)).into());
    let duration = Duration::from_secs(rng.below(60) + 1);
    match rng.below(6) {
        0..4 => Operation::Claim { key, holder, duration },
        4 => Operation::Extend { key, holder, duration },
        _ => Operation::Revoke { key, holder },
    }
}

/// From none at all to longer than any limit allows.
pub fn draw_patience(rng: &mut Rng) -> Duration {
    Duration::from_millis(rng.below(4) * rng.below(20_000))
}

/// The next ask of one of three connections.
pub fn next_ask(serials: &mut u64, rng: &mut Rng) -> AskId {
    *serials += 1;
    AskId { connection: ConnectionId(rng.below(3)), serial: *serials }
}
