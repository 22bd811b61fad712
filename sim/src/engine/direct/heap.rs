//! What happens next, in exact order.
//!
//! A queue of the far and a heap of the near: most of what is due is the timer of an agent half a
//! minute ahead, and a heap of them all would be searched through at every event. So what is due
//! within the next minute lies unsorted in the slot of its millisecond, and comes onto the heap when
//! the time comes to that slot; the heap stays as small as one millisecond. What is due later has a
//! heap of its own until the minute reaches it. Equal times keep the order in which they were
//! pushed, so a run depends on nothing but its plan.
//!
//! ```text
//!   now         a millisecond          67 s
//!    │    near         │      slots      │      far
//!    ▼  (a heap)       ▼   (unsorted)    ▼   (a heap)
//!   ─┴─────────────────┴─────────────────┴──────────────▶
//! ```

use portcullis_core::Time;

/// Bits of a key for the place of the event, and for its turn among equal times.
const PLACE_BITS: u32 = 32;
const TURN_BITS: u32 = 40;
/// Microseconds of a slot, as a power of two: about a millisecond, a tick of the engine.
const SLOT_BITS: u32 = 10;
/// Slots: they reach as far as a ping or a renewal of an agent, 67 s.
const SLOTS: u64 = 1 << 16;

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub enum Due<E> {
    /// The timer of this agent: there are too many of them to lie beside the heap.
    Timer(u32),
    Event(E),
}

/// See the module.
#[derive(Debug)]
pub struct Heap<E> {
    /// All that is due up to the end of `slot`; empty only if nothing is due at all.
    near: Keys,
    /// Up to which slot, counted from the beginning, all is near.
    slot: u64,
    /// What is due in the [`SLOTS`] slots after that, by the lowest bits of their numbers.
    slots: Vec<Vec<u128>>,
    /// How many keys lie in slots.
    slotted: usize,
    /// What is due after those.
    far: Keys,
    events: Vec<Option<E>>,
    free: Vec<u32>,
    turns: u64,
}

/// Places from here on are timers.
const TIMERS: u32 = 1 << 31;

impl<E> Heap<E> {
    /// A heap in which nothing is due.
    pub fn new() -> Heap<E> {
        Heap {
            near: Keys::default(),
            slot: 0,
            slots: vec![Vec::new(); SLOTS as usize],
            slotted: 0,
            far: Keys::default(),
            events: Vec::new(),
            free: Vec::new(),
            turns: 0,
        }
    }

    /// When something is due next.
    pub fn next(&self) -> Option<Time> {
        self.near.first().map(time)
    }

    /// Makes the event due at a time.
    pub fn push(&mut self, at: Time, event: E) {
        let place = match self.free.pop() {
            Some(place) => {
                self.events[place as usize] = Some(event);
                place
            }
            None => {
                self.events.push(Some(event));
                self.events.len() as u32 - 1
            }
        };
        assert!(place < TIMERS, "two thousand million events are due at once");
        self.insert(at, place);
    }

    /// Makes the timer of an agent due at a time.
    pub fn push_timer(&mut self, at: Time, agent: u32) {
        assert!(agent < TIMERS, "agents are numbered below two thousand million");
        self.insert(at, agent | TIMERS);
    }

    /// Takes what is due next.
    pub fn pop(&mut self) -> Option<(Time, Due<E>)> {
        let key = self.near.pop()?;
        self.come_near();
        let (at, place) = (time(key), key as u32);
        if place >= TIMERS {
            return Some((at, Due::Timer(place - TIMERS)));
        }
        self.free.push(place);
        let event = self.events[place as usize].take().expect("a key points at its event");
        Some((at, Due::Event(event)))
    }

    fn insert(&mut self, at: Time, place: u32) {
        self.turns += 1;
        let key = u128::from(at.0) << (PLACE_BITS + TURN_BITS)
            | u128::from(self.turns) << PLACE_BITS
            | u128::from(place);
        let slot = slot(key);
        if slot <= self.slot {
            self.near.push(key);
        } else if slot <= self.slot + SLOTS {
            self.slots[(slot % SLOTS) as usize].push(key);
            self.slotted += 1;
        } else {
            self.far.push(key);
        }
        self.come_near();
    }

    /// Goes on to the next slot in which something is due, if nothing is near any more.
    fn come_near(&mut self) {
        while self.near.is_empty() {
            let far = self.far.first().map(slot);
            self.slot = match (self.slotted, far) {
                (0, None) => return,
                (0, Some(far)) => far,
                (_, _) => self.slot + 1,
            };
            let due = std::mem::take(&mut self.slots[(self.slot % SLOTS) as usize]);
            self.slotted -= due.len();
            due.into_iter().for_each(|key| self.near.push(key));
            while let Some(key) = self.far.first().filter(|key| slot(*key) <= self.slot + SLOTS) {
                self.far.pop();
                if slot(key) <= self.slot {
                    self.near.push(key);
                } else {
                    self.slots[(slot(key) % SLOTS) as usize].push(key);
                    self.slotted += 1;
                }
            }
        }
    }
}

fn time(key: u128) -> Time {
    Time((key >> (PLACE_BITS + TURN_BITS)) as u64)
}

fn slot(key: u128) -> u64 {
    time(key).0 >> SLOT_BITS
}

/// Time, turn and place of what is due, from the highest bit to the lowest.
///
/// A heap with four children to a node, so that with keys of sixteen bytes a level is one line of
/// cache; what happens lies beside it and never moves.
#[derive(Debug, Default)]
struct Keys(Vec<u128>);

impl Keys {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn first(&self) -> Option<u128> {
        self.0.first().copied()
    }

    fn push(&mut self, key: u128) {
        let mut hole = self.0.len();
        self.0.push(key);
        while hole > 0 {
            let parent = (hole - 1) / 4;
            if self.0[parent] <= key {
                break;
            }
            self.0[hole] = self.0[parent];
            hole = parent;
        }
        self.0[hole] = key;
    }

    fn pop(&mut self) -> Option<u128> {
        let first = self.first()?;
        let last = self.0.pop()?;
        if !self.0.is_empty() {
            self.sink(last);
        }
        Some(first)
    }

    /// Puts a key where the first one was, and then as deep as it belongs.
    fn sink(&mut self, key: u128) {
        let mut hole = 0;
        loop {
            let first = hole * 4 + 1;
            if first >= self.0.len() {
                break;
            }
            let mut least = first;
            for child in first + 1..self.0.len().min(first + 4) {
                if self.0[child] < self.0[least] {
                    least = child;
                }
            }
            if self.0[least] >= key {
                break;
            }
            self.0[hole] = self.0[least];
            hole = least;
        }
        self.0[hole] = key;
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::Seed;

    use super::*;

    #[test]
    fn events_come_in_order_of_time_and_then_of_pushing() {
        let mut heap = Heap::new();
        let mut rng = Seed(1).rng();
        let mut expected = Vec::new();
        for turn in 0..10_000_u64 {
            let at = Time(rng.below(500));
            heap.push(at, turn);
            expected.push((at, turn));
        }
        expected.sort();
        for (at, turn) in expected {
            assert_eq!(heap.next(), Some(at));
            assert_eq!(heap.pop(), Some((at, Due::Event(turn))));
        }
        assert_eq!(heap.pop(), None);
    }

    #[test]
    fn timers_and_events_share_the_order() {
        let mut heap = Heap::new();
        heap.push_timer(Time(5), 7);
        heap.push(Time(5), "later");
        heap.push(Time(4), "earlier");
        assert_eq!(heap.pop(), Some((Time(4), Due::Event("earlier"))));
        assert_eq!(heap.pop(), Some((Time(5), Due::Timer(7))));
        assert_eq!(heap.pop(), Some((Time(5), Due::Event("later"))));
    }

    #[test]
    fn what_is_far_comes_when_its_time_comes() {
        let mut heap = Heap::new();
        let mut rng = Seed(2).rng();
        let mut expected = std::collections::BTreeSet::new();
        let mut now = Time(0);
        for turn in 0..100_000_u64 {
            // From at once to an hour ahead, of all lengths.
            let most = 1 << rng.below(32);
            let ahead = rng.below(most);
            heap.push(Time(now.0 + ahead), turn);
            expected.insert((Time(now.0 + ahead), turn));
            // It grows, and then it shrinks to nothing.
            for _ in 0..rng.below(2 + turn / 20_000) {
                let first = expected.pop_first();
                assert_eq!(heap.next(), first.map(|(at, _)| at));
                assert_eq!(heap.pop(), first.map(|(at, turn)| (at, Due::Event(turn))));
                now = first.map_or(now, |(at, _)| at);
            }
        }
        for first in expected {
            assert_eq!(heap.pop(), Some((first.0, Due::Event(first.1))));
        }
        assert_eq!(heap.next(), None);
    }
}
